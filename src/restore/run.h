/* A restore at work; internal to this folder.
 *
 *   planner (the caller's thread)                      lanes (threads)
 *   walk the tree, make folders, links, devices
 *   files that may be there already  ----------->      compare with the local file
 *                <---- different: decide, plan it
 *   pieces of files, a slice at a time, sorted by
 *   pack and segment, ranges joined  ----------->      fetch a range, open its segments, write the pieces
 *                                                      the last piece of a file: metadata, name
 *                                                      the last file of a folder: its metadata
 *
 * A folder lives while anything refers to it, and gets its metadata when nothing in it is at work any more:
 * so the deepest come first, and nothing has to be remembered to the end.                                */
#ifndef CF_RESTORE_RUN_H
#define CF_RESTORE_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "os/beneath.h"
#include "os/meta.h"
#include "repo/tree.h"
#include "restore/restore.h"
#include "restore/select.h"

enum {
    CF_RANGE_GAP = 32 << 10, /* closer extents are fetched as one range       */
    CF_RANGE_MAX = 2 << 20,
    CF_SLICE_BYTES = 160 << 20, /* of content planned at a time                  */
    CF_SLICE_PIECES = 16384,
    CF_QUEUE_PIECES = 32768, /* planned and not written yet: the planner waits */
    CF_LANES = 12,
    CF_FILE_LOCKS = 64,
};

typedef struct cf_restorer cf_restorer;

/* A folder of the tree and where it is at the destination. */
typedef struct cf_target {
    cf_restorer *run;
    struct cf_target *parent; /* NULL: above the topmost */
    atomic_uint refs;         /* memory                                                        */
    atomic_uint busy;         /* entries at work, and the planner while it is in the folder    */
    int fd;                   /* -1: not there (dry run), or done                              */
    bool fresh;               /* made by us: nothing can be in the way                         */
    bool give_metadata;
    cf_buf entry;            /* encoded                                                       */
    cf_buf source;           /* its name in the point                                         */
    char name[CF_NAME_SIZE]; /* in parent, at the destination                                 */
} cf_target;

/* A file on its way. */
typedef struct cf_item {
    cf_target *target;
    cf_name name; /* that it will get                                              */
    bool replace; /* something there may be replaced                               */
    bool partly;  /* part is open                                                  */
    cf_partial part;
    atomic_uint pending; /* pieces not written, and the planner                           */
    atomic_bool failed, damaged;
    uint64_t size;
    uint32_t inode_flags;
    size_t weight;          /* bytes of entry                                                */
    bool set_size;          /* before anything is written                                    */
    struct cf_links *links; /* its group of hard links, or NULL                              */
    cf_buf entry;           /* encoded; without content once that is planned                 */
    cf_buf source_name;     /* the name in the point                                         */
    struct cf_item *next;   /* in the list of those found different                          */
} cf_item;

/* Bytes of one chunk that go to one place. */
typedef struct cf_piece {
    cf_item *item;
    cf_ref ref;
    uint32_t skip, length; /* part of the chunk                                             */
    uint64_t offset;       /* in the file                                                   */
} cf_piece;

/* What a lane does in one go. */
typedef struct cf_task {
    struct cf_task *next;
    cf_item *compare; /* this, or pieces                                               */
    cf_piece *pieces; /* of one pack, ascending by segment                             */
    size_t count;
} cf_task;

typedef struct cf_lane_state {
    cf_restorer *run;
    pthread_t thread;
    cf_lane *lane;
    cf_meta_store *store;
    cf_xattr *xattrs, *xattrs_chunked; /* room for CF_XATTRS_MAX each */
    cf_buf xattr_bytes, scratch, range;
} cf_lane_state;

enum { CF_KIND_DEVICE = CF_META_WARNINGS, CF_KINDS };
typedef struct cf_kinds { /* metadata that was not applied, by kind; and devices that may not be made */
    uint64_t count[CF_KINDS];
    int err_no[CF_KINDS];
    char *first[CF_KINDS]; /* path */
    char xattr[CF_KINDS][256];
} cf_kinds;

struct cf_restorer {
    cf_reader *reader;
    const cf_point *point;
    const cf_restore_options *options;
    cf_restore_result *result;
    cf_meta_apply_options apply;
    char copy_prefix[48]; /* "2026-11-20 22-30" */
    cf_select *select;
    cf_target *top;
    int sync_fd; /* the topmost folder, until what was restored is on the disk; -1 */
    size_t files_open_max;

    cf_lane_state self; /* the planner's own contexts */
    cf_lane_state *lanes;
    unsigned lane_count;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t work, room;
    cf_task *head, **tail;
    size_t queued;         /* pieces and comparisons not done yet */
    size_t open_bytes;     /* of their entries                    */
    size_t open_items;     /* files planned and not finished      */
    bool closing, waiting; /* waiting: the planner, for room      */
    atomic_bool stop;
    cf_err *fatal;
    cf_item *different; /* compared, to be planned              */
    size_t comparing;

    pthread_mutex_t report_lock; /* callbacks and result */
    cf_kinds kinds;
    pthread_mutex_t file_lock[CF_FILE_LOCKS];

    pthread_mutex_t links_lock;
    struct cf_links **links; /* open hashing by group */
    size_t links_size, links_count;
    struct cf_late *late; /* inode flags that forbid links: given at the end */

    /* The planner's slice. */
    cf_piece *slice;
    size_t slice_count;
    uint64_t slice_bytes;
    size_t slice_items; /* files begun in this slice */
};

/* ---- run.c: reports, stopping ---- */
void cf_restorer_path(const cf_target *target, cf_span name,
                      cf_buf *out); /* out: reset; target's path / name; no name: the folder's own */
void cf_restorer_warn(cf_restorer *run, cf_span path, cf_err *err);    /* err is taken */
void cf_restorer_damaged(cf_restorer *run, cf_span path, cf_err *err); /* err is taken */
/* cf_restorer_trouble: an error about one object (taken): damage, a warning, or, when it is not about the object at
 * all, the end of the run.                                                                               */
void cf_restorer_trouble(cf_restorer *run, const cf_target *target, cf_span name, cf_err *err);
void cf_restorer_fatal(cf_restorer *run, cf_err *err); /* taken */
bool cf_restorer_stopped(cf_restorer *run);
void cf_restorer_count(cf_restorer *run, uint64_t *field, uint64_t amount);
cf_err *cf_lane_state_init(cf_lane_state *state, cf_restorer *run);
void cf_lane_state_wipe(cf_lane_state *state);

/* ---- target.c: folders ---- */
cf_err *cf_target_new(cf_restorer *run, cf_target *parent, const cf_entry *entry, cf_target **target);
void cf_target_hold(cf_target *target);
void cf_target_release(cf_target *target);
/* cf_target_begin, _end: something in it is at work. The last end gives it its metadata. */
void cf_target_begin(cf_target *target);
void cf_target_end(cf_target *target, cf_lane_state *state);
/* cf_target_open: opened anew by names, from the top: also when it is done. The caller closes *fd.          */
cf_err *cf_target_open(const cf_target *target, int *fd);
/* cf_restorer_alias: a folder of the point whose content goes straight into parent (--strip). mend: it gives parent its
 * metadata, when that was made by us.                                                                       */
cf_err *cf_restorer_alias(cf_restorer *run, cf_target *parent, const cf_entry *entry, bool mend, cf_target **target);
/* cf_restorer_folder: make or enter the folder that entry describes within parent. *entered is false when the conflict
 * rule or an obstacle leaves it out (which has been reported).                                              */
cf_err *cf_restorer_folder(cf_restorer *run, cf_target *parent, const cf_entry *entry, bool meant, cf_target **target,
                           bool *entered);

/* ---- walk.c: the planner ---- */
cf_err *cf_restorer_walk(cf_restorer *run);

/* ---- meta.c ---- */
/* cf_restorer_meta: entry's metadata for an object; warnings are gathered by kind. Bytes in chunks are read.    */
cf_err *cf_restorer_meta(cf_lane_state *state, cf_entry *entry, int dirfd, const char *name, int fd, cf_span path);
/* cf_restorer_no_device: a device could not be made for lack of rights. */
void cf_restorer_no_device(cf_restorer *run, cf_span path, int err_no);
void cf_restorer_meta_summary(cf_restorer *run); /* one warning for each kind */
/* cf_restorer_late: inode flags for later (a file that gets further names). */
cf_err *cf_restorer_late(cf_restorer *run, cf_target *target, const char *name, const cf_entry *entry);
void cf_restorer_late_apply(cf_restorer *run);

/* ---- conflict.c ---- */
/* cf_restorer_copy_name: "PREFIX Copy of NAME", "PREFIX Copy (2) of NAME", cut to 255 bytes.                     */
void cf_restorer_copy_name(const cf_restorer *run, unsigned number, const char *name, cf_name *out);
/* cf_restorer_resolve: what to do about what stands at item->name: same: the content is there (name says where);
 * otherwise item->name and item->replace are set, or *skip.                                                */
cf_err *cf_restorer_resolve(cf_lane_state *state, cf_item *item, bool *same, bool *skip, cf_restore_action *action);

/* ---- item.c: files ---- */
/* content: keep the references in item->entry (it has to be compared first).                               */
cf_err *cf_item_new(cf_restorer *run, cf_target *target, const cf_entry *entry, bool content, cf_item **item);
void cf_item_free(cf_item *item, cf_lane_state *state); /* with its part; ends the target's work */
/* cf_item_write: a piece's bytes. Opens the part on first use. */
cf_err *cf_item_write(cf_item *item, uint64_t offset, cf_span bytes);
/* cf_item_done: count pending less; the last one finishes the file (metadata, name) and frees it. */
void cf_item_done(cf_item *item, unsigned count, cf_lane_state *state);
/* cf_item_fail: err (taken) is reported once per file. */
void cf_item_fail(cf_item *item, cf_err *err);
/* cf_item_skip: the conflict rule leaves it out: count, free. */
void cf_item_skip(cf_item *item, cf_lane_state *state);
/* cf_item_same: the content is there: mend the metadata, count, free. */
void cf_item_same(cf_item *item, cf_lane_state *state);

/* ---- special.c: links, devices and the like ---- */
void cf_restorer_special(cf_restorer *run, cf_target *target, const cf_entry *entry);

/* ---- links.c: hard links ---- */
typedef struct cf_links cf_links;
/* cf_links_join: *first: this entry makes the file, and cf_links_made or cf_links_failed follows. Otherwise the link
 * has been made, or will be by whoever makes the file.                                                     */
cf_err *cf_links_join(cf_restorer *run, cf_target *target, const cf_entry *entry, cf_links **links, bool *first);
void cf_links_made(cf_restorer *run, cf_links *links, cf_target *target, const char *name, cf_lane_state *state);
typedef enum cf_links_end { CF_LINKS_GOOD, CF_LINKS_FAILED, CF_LINKS_DAMAGED, CF_LINKS_SKIPPED } cf_links_end;
void cf_links_failed(cf_restorer *run, cf_links *links, cf_links_end how, cf_lane_state *state);
void cf_links_wipe(cf_restorer *run);

/* ---- lanes.c ---- */
cf_err *cf_restorer_start(cf_restorer *run);
void cf_restorer_push(cf_restorer *run, cf_task *task, size_t weight); /* waits for room */
/* cf_restorer_drain: wait until nothing is at work, or something different was found (then it returns early). */
void cf_restorer_drain(cf_restorer *run);
/* With the lock held. Only the planner waits for room; waking it for nothing is what costs. */
void cf_restorer_wait(cf_restorer *run);
void cf_restorer_wake(cf_restorer *run);
void cf_restorer_join(cf_restorer *run);

/* ---- slice.c ---- */
/* cf_restorer_plan_file: its pieces, as entry has them, into slices. Consumes one pending of item. */
void cf_restorer_plan_file(cf_restorer *run, cf_item *item, const cf_entry *entry);
void cf_restorer_flush(cf_restorer *run); /* hand out the slice */
/* cf_restorer_different: plan what lanes have found different. */
void cf_restorer_different(cf_restorer *run);
/* cf_restorer_write_pieces: by a lane. */
void cf_restorer_write_pieces(cf_lane_state *state, cf_piece *pieces, size_t count);
/* cf_restorer_compare: by a lane: decide what is to be done about a file that may be there. Takes item. */
void cf_restorer_compare(cf_lane_state *state, cf_item *item);

#endif
