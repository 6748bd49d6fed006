/* The visible frame of a recovery point, its summary and pack list (format, section 8). No I/O, no keys.  */
#ifndef CF_VISIBLE_POINT_H
#define CF_VISIBLE_POINT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

enum { CF_POINT_HEADER_SIZE = 136, CF_POINT_MAP_MAX = 64 << 20, CF_POINT_ROOT_MAX = 1 << 20, CF_POINT_MAX = 100 << 20 };

typedef enum cf_selection { CF_SELECTION_POLICY = 0, CF_SELECTION_MANUAL = 1 } cf_selection;

typedef struct cf_summary {
    cf_selection selection;
    bool tracked; /* scan: changed folders only; false: full */
    bool with_warnings;
    uint64_t started, finished; /* seconds since 1970, the server's clock */
    uint64_t files, directories, others, bytes;
    uint64_t files_new, files_changed, files_unchanged;
    uint64_t bytes_read, bytes_stored;
    uint64_t warnings;
    cf_id16 selection_id;
} cf_summary;

typedef struct cf_pack_name {
    uint64_t number;
    cf_id16 session;
} cf_pack_name;

/* A point object taken apart: spans borrow from the object's bytes. */
typedef struct cf_point_frame {
    cf_id16 server, session;
    uint64_t counter;
    cf_id32 previous;
    uint8_t root_commitment[32];
    cf_span key_record, summary, pack_list, map, root;
    cf_span header; /* all 136 bytes: the first 80 and "root" are the sealed root's additional data */
} cf_point_frame;

/* cf_point_encode: sizes of the header come from the spans; frame->header is ignored.                     */
cf_err *cf_point_encode(const cf_point_frame *frame, cf_buf *out);
/* cf_point_decode: checks magic, version, sizes, sum. Fails: FORMAT, FORMAT_VERSION.                       */
cf_err *cf_point_decode(cf_span bytes, cf_point_frame *frame);
/* cf_point_header_encode: the first 80 bytes (magic .. previous), for sealing the root before the rest exists. */
void cf_point_prefix_encode(const cf_point_frame *frame, uint8_t out[80]);

void cf_summary_encode(const cf_summary *summary, cf_buf *out);
cf_err *cf_summary_decode(cf_span bytes, cf_summary *summary);
/* names ascend by number. Decoding: a fresh array, the caller frees it.                                    */
void cf_pack_list_encode(const cf_pack_name *names, size_t count, cf_buf *out);
cf_err *cf_pack_list_decode(cf_span bytes, cf_pack_name **names, size_t *count);

#endif
