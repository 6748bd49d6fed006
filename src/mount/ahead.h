/* Reading ahead: threads that bring segments into the reader's cache before they are asked for. Neighbours in a pack
 * are fetched in one request. What fails here is tried again, and reported, by whoever really needs it.
 * Threads: any number.                                                                                    */
#ifndef CF_MOUNT_AHEAD_H
#define CF_MOUNT_AHEAD_H

#include "repo/reader.h"

typedef struct cf_ahead cf_ahead;
/* cf_ahead_new: reader is borrowed. Fewer threads than asked for will do.                                  */
cf_err *cf_ahead_new(cf_reader *reader, unsigned threads, cf_ahead **ahead) __attribute__((warn_unused_result));
void cf_ahead_free(cf_ahead *ahead); /* NULL-safe; waits for requests that are under way */
CF_DEFINE_AUTO(cf_ahead, cf_ahead_free)

/* cf_ahead_want: these segments of one pack will be needed. Those that are here, or on their way, cost nothing.
 * Accepts ahead == NULL, as the following do.                                                              */
void cf_ahead_want(cf_ahead *ahead, cf_kind kind, uint64_t pack, const uint16_t *segments, size_t count);
/* cf_ahead_touch: this segment is being used; when its pack is being read in order, the next ones are wanted.
 * map: only those of it.                                                                                   */
void cf_ahead_touch(cf_ahead *ahead, const cf_map *map, cf_kind kind, uint64_t pack, uint16_t segment);
/* cf_ahead_wait: if the segment is being fetched, until it is here.                                        */
void cf_ahead_wait(cf_ahead *ahead, uint64_t pack, uint16_t segment);

#endif
