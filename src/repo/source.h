/* Where a repository is read from: a vault over HTTPS (repo/source_remote.h), or a folder laid out as in
 * format section 1 (repo/source_folder.h: tests, imports). Nothing here holds a key.
 * Threads: all calls may come from any number of threads at once.                                      */
#ifndef CF_REPO_SOURCE_H
#define CF_REPO_SOURCE_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ids.h"
#include "visible/point.h"

enum { CF_SOURCE_PACKS_MAX = 256 }; /* in one request */

/* A pack's visible frame. error != NULL: this one is missing or unreadable, the rest is unset.           */
typedef struct cf_pack_frame {
    uint64_t number;
    uint64_t size; /* of the object */
    cf_err *error; /* owned         */
    cf_buf header, tail;
} cf_pack_frame;
void cf_pack_frames_wipe(cf_pack_frame *frames, size_t count);

/* A recovery point as the keeper lists it: its own words, to be checked against the sealed root.         */
typedef struct cf_point_row {
    cf_id32 id;
    cf_id32 previous;
    uint64_t counter;
    uint64_t size;
    cf_time received;
    cf_time expires; /* when has_expires */
    bool has_expires;
    char tags[96];   /* "daily,weekly"; empty */
    char status[48]; /* "completed"; empty when the keeper says nothing */
    cf_summary summary;
} cf_point_row;

typedef struct cf_source_ops {
    /* All points of the server, ascending by counter; a fresh array, the caller frees it.                */
    cf_err *(*points)(void *context, cf_point_row **rows, size_t *count);
    /* The whole object, appended to out (out->max bounds it). Fails: POINT_NOT_FOUND.                     */
    cf_err *(*point)(void *context, const cf_id32 *id, cf_buf *out);
    /* A key record, 132 bytes, appended to out.                                                          */
    cf_err *(*record)(void *context, const cf_id16 *session, cf_buf *out);
    /* Frames of count <= CF_SOURCE_PACKS_MAX packs, in the order asked for; frames is the caller's, wiped
     * by cf_pack_frames_wipe. A missing pack is an error of its frame, not of the call.                   */
    cf_err *(*packs)(void *context, const uint64_t *numbers, size_t count, cf_pack_frame *frames);
    /* size bytes of a pack's object from offset into out. Fails: PACK_UNREADABLE (reasons "missing",
     * "short"), and what the way there can fail with, after its own retries.                              */
    cf_err *(*read)(void *context, uint64_t pack, uint64_t offset, size_t size, uint8_t *out);
    /* The effective liveness map of a point as a map that is no delta; asked for only when a delta's base is
     * gone. May be NULL.                                                                                  */
    cf_err *(*map)(void *context, const cf_id32 *id, cf_buf *out);
    /* IDs of the server's relocation records, in the order of their numbers; a fresh array, the caller frees it; and
     * one of them, appended to out. Both may be NULL: there are none.                                    */
    cf_err *(*relocations)(void *context, cf_id32 **ids, size_t *count);
    cf_err *(*relocation)(void *context, const cf_id32 *id, cf_buf *out);
    void (*close)(void *context);
} cf_source_ops;

typedef struct cf_source {
    const cf_source_ops *ops;
    void *context;
} cf_source;

void cf_source_close(cf_source *source); /* NULL-safe; frees it */
CF_DEFINE_AUTO(cf_source, cf_source_close)

#endif
