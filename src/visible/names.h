/* The names of stored objects (format, section 1): built and parsed. Used by every object store as keys.
 * Threads: no state.                                                                                     */
#ifndef CF_VISIBLE_NAMES_H
#define CF_VISIBLE_NAMES_H

#include "base/err.h"
#include "base/ids.h"

enum { CF_NAME_MAX = 160 }; /* room for any name and its NUL */

typedef enum cf_name_type {
    CF_NAME_PACK = 1,
    CF_NAME_RECORD,
    CF_NAME_SLOT,
    CF_NAME_POINT,
    CF_NAME_JOURNAL,
    CF_NAME_RELOCATION,
    CF_NAME_MERGED,
} cf_name_type;

/* One name taken apart. Only the members that its type has are filled. */
typedef struct cf_name {
    cf_name_type type;
    cf_id16 server;  /* all but JOURNAL                                                */
    cf_id16 session; /* PACK, RECORD; MERGED: the object's own random ID               */
    cf_id32 point;   /* POINT; RELOCATION: the record's ID                             */
    uint64_t
        number; /* PACK: pack number; SLOT: slot number; POINT: counter; JOURNAL: sequence; RELOCATION: its number */
    uint32_t generation; /* PACK: 0 as first written; 1 and higher after compaction        */
} cf_name;

/* cf_name_build: always the same name for the same parts. Numbers must be in range (format, section 1).   */
void cf_name_build(const cf_name *name, char out[CF_NAME_MAX]);
/* cf_name_parse: false when text is not exactly a name that cf_name_build gives.                          */
bool cf_name_parse(const char *text, cf_name *name);

/* The folders, for listing: "servers/<id>/packs" and so on; "journal" for JOURNAL (server is not looked at). */
void cf_name_folder(cf_name_type type, const cf_id16 *server, char out[CF_NAME_MAX]);

void cf_name_pack(const cf_id16 *server, uint64_t number, const cf_id16 *session, uint32_t generation,
                  char out[CF_NAME_MAX]);
void cf_name_record(const cf_id16 *server, const cf_id16 *session, char out[CF_NAME_MAX]);
void cf_name_slot(const cf_id16 *server, uint32_t number, char out[CF_NAME_MAX]);
void cf_name_point(const cf_id16 *server, uint64_t counter, const cf_id32 *point, char out[CF_NAME_MAX]);
void cf_name_journal(uint64_t sequence, char out[CF_NAME_MAX]);
void cf_name_relocation(const cf_id16 *server, uint64_t number, const cf_id32 *id, char out[CF_NAME_MAX]);
void cf_name_merged(const cf_id16 *server, const cf_id16 *id, char out[CF_NAME_MAX]);

#endif
