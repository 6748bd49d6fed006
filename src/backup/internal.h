/* What the files of a scan share. */
#ifndef CF_BACKUP_INTERNAL_H
#define CF_BACKUP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "backup/backup.h"
#include "backup/content.h"
#include "chunk/chunker.h"
#include "keys/keys.h"
#include "os/dir.h"
#include "os/meta.h"
#include "os/mounts.h"
#include "os/sparse.h"
#include "os/stat.h"
#include "repo/tree.h"

enum { FILE_TASK_MIN = 1 << 20, READ_BUFFER = 4 * CF_CHUNK_MAX };

typedef struct cf_scan_folder cf_scan_folder;
typedef struct cf_scan_task cf_scan_task;

/* Where the encoded parts of a slot are. */
typedef struct text_place {
    uint32_t offset, length;
} text_place;

/* One entry of a folder while it is worked on. Spans are places in the base block or in the folder's arena,
 * because both may move while they grow. */
typedef struct cf_scan_slot {
    text_place name; /* in names, with a NUL behind it */
    cf_stat stat;
    bool omit;      /* vanished while we looked, or left out */
    bool from_base; /* entry and segments stand in the base block, else in the arena */
    bool base_good; /* the base's are right: only to be refreshed, so they stay when the object cannot be read */
    text_place entry, segments;
    cf_block_place child_base; /* folders: their block in the base */
    cf_scan_folder *child;
} cf_scan_slot;

struct cf_scan_task {
    cf_scan_task *next;
    cf_scan_folder *owner; /* the folder itself (slot == SIZE_MAX), or of the file */
    size_t slot;
};

struct cf_scan_folder {
    cf_scan_task task;
    cf_scan_folder *parent;
    size_t slot_in_parent;
    cf_scan_folder *live_next, *live_previous;
    const cf_source_node *sources; /* NULL below sources where nothing is named */
    bool implied;                  /* above a source: only the named children */
    bool closed_off;               /* another file system: the folder itself, nothing in it */
    bool only_ways;                /* its content is left out, but for ways to sources */
    bool made;                     /* not on the disk: options.made fills it */
    cf_exclude_state *rules;       /* exclusions that can match in it or below; until it is listed */
    int fd;
    atomic_uint users;   /* of fd: children that were not opened yet, and the listing */
    atomic_uint pending; /* tasks below that are not finished, and the listing */
    atomic_bool dirty;   /* an entry differs from the base's */
    atomic_bool stale;   /* local facts differ: the block is written anew, the node may stay */
    cf_buf base, names, arena;
    pthread_mutex_t arena_lock; /* file tasks of several lanes */
    bool has_base;
    cf_cache_folder base_folder; /* borrows base */
    cf_scan_slot *slots;
    size_t count, room;
    cf_stat stat_now;    /* its own, from the parent's listing */
    bool meta_unchanged; /* the base's entry still tells its metadata; else own does */
    cf_buf own;          /* encoded entry of this folder, its node still a placeholder */
    cf_buf own_pairs;    /* what its attributes need, when they are stored as chunks */
    bool own_failed;     /* could not be opened or listed, for this reason: */
    bool vanished;
    cf_code failure_code;
    /* results, kept until the parent is finished */
    cf_block_place place;
    cf_totals totals;
    cf_ref node;
    bool node_changed;
};

typedef struct cf_scan_run cf_scan_run;

typedef struct cf_scan_lane {
    cf_scan_run *run;
    pthread_t thread;
    cf_writer_lane *store;
    cf_mac *mac;
    cf_map *map;
    cf_dir *dir;
    cf_meta_store *meta;
    cf_sparse_extents sparse;
    cf_content_builder *content;
    cf_node_writer *node_writer;
    cf_xattr *xattrs;
    cf_lane *vault;                  /* for what is fetched again; NULL until then */
    uint8_t *buffer, *second_buffer; /* READ_BUFFER each; the second one from the first large file on */
    cf_buf entry, scratch, block, pairs, names, path, chunk;
    uint64_t files_new, files_changed, files_unchanged, bytes_read, warnings, live_bytes, chunks_fetched;
} cf_scan_lane;

struct cf_scan_run {
    cf_backup_options options;
    cf_gear *gear;
    cf_mounts *mounts; /* NULL when the system does not tell */
    uint64_t split_seed;
    bool write_all; /* every block goes into a new cache file */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cf_scan_task *stack;
    cf_scan_folder *live; /* all folders that exist, for cleaning up after a failure */
    bool done, stopping;
    cf_err *failure;
    cf_scan_folder *root;
    cf_scan_lane *lanes;
};

/* run.c */
cf_err *cf_run_stopped(cf_scan_run *run);
void cf_run_push(cf_scan_run *run, cf_scan_task *first); /* a list; its first is taken next */
cf_err *cf_run_folder(cf_scan_run *run, cf_scan_folder *parent, size_t slot_index, cf_scan_folder **out);
void cf_folder_release_fd(cf_scan_folder *folder);
void cf_folder_free(cf_scan_run *run, cf_scan_folder *folder);
/* An object's absolute path, into lane->path. name may be NULL: the folder itself. */
cf_span cf_run_path(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name);
/* What a person knows a failed read by: the familiar code around the system's error. Takes err. */
cf_err *cf_run_file_error(cf_err *err);
/* Takes err. */
void cf_run_warn(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name, cf_err *err);
bool cf_run_pairs_alive(const cf_scan_run *run, cf_span pairs);
/* Alive, and not to be stored again either. */
bool cf_run_pairs_stay(const cf_scan_run *run, cf_span pairs);
cf_err *cf_run_mark(cf_scan_lane *lane, cf_span pairs);
static inline const char *slot_name(const cf_scan_folder *folder, const cf_scan_slot *slot) {
    return (const char *)folder->names.data + slot->name.offset;
}
static inline cf_span slot_text(const cf_scan_folder *folder, const cf_scan_slot *slot, text_place place) {
    const cf_buf *from = slot->from_base ? &folder->base : &folder->arena;
    return cf_span_of(from->data + place.offset, place.length);
}

/* filter.c: what is left out of a folder, before it is looked at more closely than its name. */
bool cf_filter_drops(const cf_scan_lane *lane, const cf_scan_folder *folder, const cf_dir_entry *entry);
/* Is the folder one with a CACHEDIR.TAG whose content is left out? Then only the tag and ways to sources stay. */
void cf_filter_cache_folder(const cf_scan_lane *lane, cf_scan_folder *folder);
/* Is this left out for its flag? */
bool cf_filter_drops_flagged(const cf_scan_run *run, const cf_scan_folder *folder, const cf_scan_slot *slot);
/* A folder on the way to a source: is all the rest of it left out? */
bool cf_filter_closes(const cf_scan_run *run, const cf_scan_folder *parent, const cf_scan_slot *slot);
/* list.c */
cf_err *cf_folder_add_name(cf_scan_folder *folder, const char *name, size_t size);
void cf_folder_sort(cf_scan_folder *folder);
/* made.c: the task of a folder that is made. */
cf_err *cf_folder_make(cf_scan_lane *lane, cf_scan_folder *folder);
void cf_made_stat(const cf_scan_run *run, cf_stat *stat); /* of the folder itself */
/* list.c: task of a cf_scan_folder */
cf_err *cf_folder_process(cf_scan_lane *lane, cf_scan_folder *folder);
/* stream.c: content, taken one data extent after the other as one stream of bytes. */
typedef struct cf_scan_stream {
    int fd;
    const char *name;
    const cf_sparse_extents *extents;
    size_t index;      /* current extent */
    uint64_t position; /* within it */
} cf_scan_stream;
/* Reads, cuts and stores all of it into lane->content; *bytes: how many there were. A failure to read is put into
 * *unreadable instead. expected: bytes that there should be. */
cf_err *cf_scan_store_content(cf_scan_lane *lane, cf_scan_stream *from, uint64_t expected, uint64_t *bytes,
                              cf_err **unreadable);
/* file.c: a new or changed object that is no folder. */
cf_err *cf_file_process(cf_scan_lane *lane, cf_scan_folder *folder, size_t slot_index);
/* again.c: an object of which the base is right, but stands in segments that are to be refreshed. *done: its slot is set.
 * cf_file_again: a file of many chunks: only those chunks are read, where the file has them, else from the vault.
 * cf_file_from_vault: what cannot be read here. What the vault does not give out either leaves *done false.      */
cf_err *cf_file_again(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_slot *slot, bool *done);
cf_err *cf_file_from_vault(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_slot *slot, bool *done);
/* finish.c: everything below is done. */
cf_err *cf_folder_finish(cf_scan_lane *lane, cf_scan_folder *folder);
/* file.c, for folders too: encodes entry (its content is set) into lane->entry, its pairs into lane->pairs. */
cf_err *cf_entry_finish(cf_scan_lane *lane, cf_entry *entry, const cf_stat *stat, cf_span content_pairs);
/* name NULL: the folder itself, opened as fd. */
cf_err *cf_meta_read_warned(cf_scan_lane *lane, const cf_scan_folder *folder, const char *name, int fd,
                            const cf_stat *stat, cf_meta *meta);
cf_err *cf_entry_for_failure(cf_scan_lane *lane, const cf_stat *stat, cf_span name, cf_code code, cf_buf *out);
cf_err *cf_slot_set(cf_scan_folder *folder, cf_scan_slot *slot, cf_span entry, cf_span segments);

#endif
