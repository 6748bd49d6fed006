/* The sealed root of a recovery point (format, section 8).                                                */
#ifndef CF_SEALED_ROOT_H
#define CF_SEALED_ROOT_H

#include "base/clock.h"
#include "base/secret.h"
#include "sealed/node.h"
#include "visible/point.h"

enum { CF_SOURCES_MAX = 65536 };

typedef struct cf_root {
    cf_id16 server, session;
    uint64_t counter;
    cf_id32 previous;
    cf_selection selection;
    cf_id16 selection_id;
    cf_time time; /* when the scan began, the server's clock */
    uint8_t summary_sha256[32], pack_list_sha256[32], map_sha256[32];
    cf_ref tree; /* the root node */
    cf_totals totals;
    cf_span host, agent_version;
    cf_span *sources; /* absolute paths */
    size_t source_count;
    cf_span *exclusions;
    size_t exclusion_count;
} cf_root;

/* cf_root_seal: encodes and seals; additional = the point's first 80 header bytes || "root".
 * commitment (32 bytes) goes into the point's header.                                                       */
cf_err *cf_root_seal(const cf_root *root, const cf_secret *session_key, const uint8_t prefix[80],
                     uint8_t commitment[32], cf_buf *out);
/* cf_root_open: decodes into *root, whose spans and arrays live in *storage (wiped by the caller with
 * cf_root_wipe). Checks that server, session, counter and previous are the frame's, and that summary, pack
 * list and map have the hashes that the root names. Fails: SEAL_BROKEN (reasons "commitment", "tag",
 * "relabelled", "summary", "pack_list", "map"), FORMAT, FORMAT_VERSION.                                     */
cf_err *cf_root_open(const cf_point_frame *frame, const cf_secret *session_key, cf_root *root, cf_buf *storage);
void cf_root_wipe(cf_root *root, cf_buf *storage);

#endif
