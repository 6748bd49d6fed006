/* Compaction's rows: segments past the point of no return, objects that only wait for their addresses to expire. */
#ifndef CF_RECORDS_COMPACT_H
#define CF_RECORDS_COMPACT_H

#include "records/records.h"
#include "visible/names.h"
#include "visible/segset.h"

/* Segments of a pack that are being left out. segments: as cf_segset_encode. */
cf_err *cf_records_put_compacting(cf_records *records, const cf_id16 *server, uint64_t number, cf_span segments)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_compacting(cf_records *records, const cf_id16 *server, uint64_t number)
    __attribute__((warn_unused_result));
/* cf_records_get_compacting: set is empty when there is no row. */
cf_err *cf_records_get_compacting(cf_records *records, const cf_id16 *server, uint64_t number, bool *found,
                                  cf_segset *set) __attribute__((warn_unused_result));
/* Numbers of packs with a row, ascending; rows of packs that do not exist any more are dropped. */
cf_err *cf_records_list_compacting(cf_records *records, const cf_id16 *server, uint64_t **numbers, size_t *count)
    __attribute__((warn_unused_result));

typedef struct cf_old_object {
    char object[CF_NAME_MAX];
    int64_t remove_after;
} cf_old_object;
cf_err *cf_records_add_old_object(cf_records *records, const cf_id16 *server, const cf_old_object *row)
    __attribute__((warn_unused_result));
/* Those of a server whose time has come. */
cf_err *cf_records_list_old_objects(cf_records *records, const cf_id16 *server, int64_t now, cf_old_object **rows,
                                    size_t *count) __attribute__((warn_unused_result));
cf_err *cf_records_has_old_object(cf_records *records, const char *object, bool *found)
    __attribute__((warn_unused_result));
cf_err *cf_records_drop_old_object(cf_records *records, const char *object) __attribute__((warn_unused_result));

/* Packs of a merged object, and their bytes. */
typedef struct cf_merged_total {
    cf_id16 merged;
    uint64_t packs, bytes;
} cf_merged_total;
cf_err *cf_records_list_merged(cf_records *records, const cf_id16 *server, cf_merged_total **rows, size_t *count)
    __attribute__((warn_unused_result));

#endif
