/* What scrubbing found damaged, where scrubbing stands, and relocation records: rows.
 * Errors and threads as in records.h.                                                                   */
#ifndef CF_RECORDS_DAMAGE_H
#define CF_RECORDS_DAMAGE_H

#include "records/records.h"
#include "visible/names.h"

enum { CF_DAMAGE_WHOLE = -1 };

/* A damaged segment of a pack, or a damaged object. */
typedef struct cf_damage_row {
    char object[CF_NAME_MAX]; /* of a pack always the name of generation 0 */
    int32_t segment;          /* CF_DAMAGE_WHOLE: the object as such       */
    bool has_server;
    cf_id16 server;
    uint64_t pack;                /* 0: no pack                                            */
    char reason[CF_WORD_MAX + 1]; /* missing, sum, short, table, id, differs, format       */
    int64_t found, changed;
    char state[CF_WORD_MAX +
               1]; /* open; healed (its chunks are elsewhere); gone (is right again, or not there any more) */
} cf_damage_row;
/* cf_records_put_damage: replaces a row of the same object and segment. */
cf_err *cf_records_put_damage(cf_records *records, const cf_damage_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_find_damage(cf_records *records, const char *object, int32_t segment, bool *found,
                               cf_damage_row *row) __attribute__((warn_unused_result));
/* server NULL: of all. Only in this state unless state is NULL; "gone" is never listed without being asked for.
 * Ascending by pack and segment. pack 0: of all packs.                                                   */
cf_err *cf_records_list_damage(cf_records *records, const cf_id16 *server, uint64_t pack, const char *state,
                               cf_damage_row **rows, size_t *count) __attribute__((warn_unused_result));
/* Open ones of a server (NULL: of all). */
cf_err *cf_records_count_damage(cf_records *records, const cf_id16 *server, uint64_t *count)
    __attribute__((warn_unused_result));

/* Where the cycle stands. */
typedef struct cf_scrub_row {
    int64_t started;         /* of the cycle at work; 0: none yet                 */
    char after[CF_NAME_MAX]; /* the last object that was read, as the store lists */
    uint64_t objects, bytes; /* of this cycle                                     */
    int64_t finished;        /* the last complete cycle; 0: none                  */
} cf_scrub_row;
cf_err *cf_records_get_scrub(cf_records *records, cf_scrub_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_set_scrub(cf_records *records, const cf_scrub_row *row) __attribute__((warn_unused_result));
/* Bytes of all packs and points that are known. */
cf_err *cf_records_stored_bytes(cf_records *records, uint64_t *bytes) __attribute__((warn_unused_result));

/* Sessions that have a key record. */
cf_err *cf_records_list_record_sessions(cf_records *records, const cf_id16 *server, cf_id16 **sessions, size_t *count)
    __attribute__((warn_unused_result));

/* Relocation records: numbers ascend from 1 for each server. */
typedef struct cf_relocation_row {
    cf_id16 server;
    uint64_t number, size;
    cf_id32 id;
} cf_relocation_row;
cf_err *cf_records_add_relocation(cf_records *records, const cf_relocation_row *row)
    __attribute__((warn_unused_result));
/* Ascending, numbers above after. */
cf_err *cf_records_list_relocations(cf_records *records, const cf_id16 *server, uint64_t after,
                                    cf_relocation_row **rows, size_t *count) __attribute__((warn_unused_result));
cf_err *cf_records_find_relocation(cf_records *records, const cf_id16 *server, const cf_id32 *id, bool *found,
                                   cf_relocation_row *row) __attribute__((warn_unused_result));
cf_err *cf_records_drop_relocation(cf_records *records, const cf_id16 *server, uint64_t number)
    __attribute__((warn_unused_result));

#endif
