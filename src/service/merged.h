/* Reading the head of a merged object. */
#ifndef CF_SERVICE_MERGED_H
#define CF_SERVICE_MERGED_H

#include "objects/objects.h"
#include "visible/merged.h"

/* cf_merged_read: which packs stand in it; a fresh array, the caller frees it. Fails: FORMAT, FORMAT_VERSION, IO. */
cf_err *cf_merged_read(cf_object_reader *reader, const cf_id16 *server, const cf_id16 *id, cf_merged_pack **packs,
                       size_t *count) __attribute__((warn_unused_result));

#endif
