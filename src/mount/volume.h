/* One recovery point, opened: from numbers (mount/pages.h) and names to its entries.
 * Number 0 is the root folder, which has no entry.
 * Threads: any number; a lane belongs to one thread at a time.                                            */
#ifndef CF_MOUNT_VOLUME_H
#define CF_MOUNT_VOLUME_H

#include "mount/pages.h"

typedef struct cf_volume cf_volume;
/* cf_volume_new: point (with its map) is taken, pages is borrowed.                                        */
cf_err *cf_volume_new(cf_point *point, cf_pages *pages, cf_volume **volume) __attribute__((warn_unused_result));
void cf_volume_free(cf_volume *volume); /* NULL-safe */
CF_DEFINE_AUTO(cf_volume, cf_volume_free)
const cf_point *cf_volume_point(const cf_volume *volume);

/* An entry's place, its page pinned until _wipe. Start with {0}. */
typedef struct cf_place {
    cf_page *page;
    uint32_t index;
    uint64_t number;
    uint64_t end; /* behind the last number within it */
} cf_place;
void cf_place_wipe(cf_place *place);
#define CF_AUTO_PLACE __attribute__((cleanup(cf_place_wipe)))

/* A folder: its content has the numbers from number + 1 to end - 1. */
typedef struct cf_folder {
    uint64_t number, end;
    cf_ref node;
    uint32_t unread; /* not 0: it was not backed up, this is the code */
} cf_folder;

/* cf_volume_at: the entry with this number, not 0. Fails: NODE_DAMAGED (reason totals: nothing has it),
 * FORMAT and what reading fails with.                                                                     */
cf_err *cf_volume_at(cf_volume *volume, cf_lane *lane, uint64_t number, cf_place *place)
    __attribute__((warn_unused_result));
/* cf_volume_at_in: also gives the folder that it is in.                                                    */
cf_err *cf_volume_at_in(cf_volume *volume, cf_lane *lane, uint64_t number, cf_folder *folder, cf_place *place)
    __attribute__((warn_unused_result));
/* cf_volume_folder: *is_folder false, folder unchanged, when the entry is none.                            */
cf_err *cf_volume_folder(cf_volume *volume, cf_lane *lane, uint64_t number, cf_folder *folder, bool *is_folder)
    __attribute__((warn_unused_result));
/* cf_volume_child: by its name.                                                                            */
cf_err *cf_volume_child(cf_volume *volume, cf_lane *lane, const cf_folder *folder, cf_span name, cf_place *place,
                        bool *found) __attribute__((warn_unused_result));
/* cf_volume_from: the first entry of the folder whose number is not below this one; *more false behind the last.
 * place may hold the one before (its page is used again).                                                  */
cf_err *cf_volume_from(cf_volume *volume, cf_lane *lane, const cf_folder *folder, uint64_t number, cf_place *place,
                       bool *more) __attribute__((warn_unused_result));
/* cf_volume_learn: entry (of a folder) stands at place: so that it is found at once later.                  */
void cf_volume_learn(cf_volume *volume, const cf_place *place, const cf_entry *entry);
/* cf_volume_path: for messages: "/a/b" appended to out; as far as it can be told.                           */
void cf_volume_path(cf_volume *volume, cf_lane *lane, uint64_t number, cf_buf *out);

#endif
