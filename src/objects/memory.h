/* An object store in memory, for tests. */
#ifndef CF_OBJECTS_MEMORY_H
#define CF_OBJECTS_MEMORY_H

#include "objects/objects.h"

cf_err *cf_objects_memory_new(cf_objects **store) __attribute__((warn_unused_result));

#endif
