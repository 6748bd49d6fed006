/* A layer that does to a store what disks and networks do: for tests of everything above it. */
#ifndef CF_OBJECTS_FAULT_H
#define CF_OBJECTS_FAULT_H

#include "objects/objects.h"

typedef enum cf_fault {
    CF_FAULT_NONE,
    CF_FAULT_LOST,    /* a put says that it is done, and nothing is there       */
    CF_FAULT_LATE,    /* ... and it is there only after cf_objects_fault_settle */
    CF_FAULT_TORN,    /* ... and only the first half is there                   */
    CF_FAULT_FLIPPED, /* a read has one bit wrong, in the middle of what it got */
    CF_FAULT_FULL,    /* a put fails: 900102 DISK_FULL, at its second half      */
    CF_FAULT_FAIL,    /* everything fails: 900101 IO                            */
} cf_fault;

/* cf_objects_fault_new: over below (taken: freed with the layer). Passes everything on until a fault is set. */
cf_err *cf_objects_fault_new(cf_objects *below, cf_objects **store) __attribute__((warn_unused_result));
/* cf_objects_fault_set: for keys that begin with prefix (copied), the next count operations that the fault is
 * about; then no more.                                                                                   */
void cf_objects_fault_set(cf_objects *store, cf_fault fault, const char *prefix, unsigned count);
/* cf_objects_fault_settle: what was late arrives.                                                        */
cf_err *cf_objects_fault_settle(cf_objects *store) __attribute__((warn_unused_result));

#endif
