/* Where the bytes of one file are: from a range of the file to chunks, in any order, in bounded memory. Lists of
 * references are read as far as they are needed; how far each reaches is remembered.
 * Threads: any number; a lane belongs to one thread at a time.                                            */
#ifndef CF_MOUNT_LAYOUT_H
#define CF_MOUNT_LAYOUT_H

#include "mount/volume.h"

/* A piece of a file: of a chunk, or a hole. */
typedef struct cf_stretch {
    bool hole;
    bool checked;    /* the chunk's ID was compared with its bytes before */
    uint64_t offset; /* in the file */
    uint32_t length;
    uint32_t skip; /* bytes of the chunk before the piece */
    cf_ref ref;
} cf_stretch;

typedef struct cf_layout cf_layout;
/* cf_layout_new: of a regular file that was read. Entry is copied as far as needed; nothing is fetched.     */
cf_err *cf_layout_new(const cf_entry *entry, cf_layout **layout) __attribute__((warn_unused_result));
void cf_layout_free(cf_layout *layout); /* NULL-safe */
CF_DEFINE_AUTO(cf_layout, cf_layout_free)
uint64_t cf_layout_size(const cf_layout *layout); /* of the file */
size_t cf_layout_cost(const cf_layout *layout);   /* bytes of memory at most */

/* cf_layout_map: what the file has from offset on, at most length bytes (cut at the file's end), in at most room
 * stretches; *count of them. None at the end of the file. Fails: NODE_DAMAGED (reason length: the content is not as long
 * as the file), and as cf_lane_chunk.                                                                      */
cf_err *cf_layout_map(cf_layout *layout, cf_lane *lane, const cf_map *map, uint64_t offset, uint64_t length,
                      cf_stretch *stretches, size_t room, size_t *count) __attribute__((warn_unused_result));
/* cf_layout_checked: the chunk of this stretch has the ID that it should.                                  */
void cf_layout_checked(cf_layout *layout, const cf_stretch *stretch);
/* cf_layout_next_data, _next_hole: the first data (hole) at or behind offset, as lseek(2) counts it: the file's end is
 * a hole. False: none (for data), or offset is not within the file.                                         */
bool cf_layout_next_data(const cf_layout *layout, uint64_t offset, uint64_t *found);
bool cf_layout_next_hole(const cf_layout *layout, uint64_t offset, uint64_t *found);

/* cf_layout_ahead: the file was read from offset to end; is it being read in order? Then the range that should be
 * fetched by now, up to window bytes ahead of end; each part is asked for once.                              */
bool cf_layout_ahead(cf_layout *layout, uint64_t offset, uint64_t end, uint64_t window, uint64_t *from, uint64_t *to);

#endif
