/* Scanning sources and storing what differs: from a tree of files to the root node of a recovery point.
 *
 * Folders are tasks on a stack: a lane takes one, lists it beside the base's block of the same folder, keeps the
 * entries that have not changed, stores the files that have, and pushes the subfolders. A folder is finished, bottom up,
 * by whoever finishes the last thing below it: its node is stored and its block appended to the tree cache,
 * unless nothing in it changed.
 *
 * Memory: what the folders from the root to the current ones hold, whatever the tree's size; a single folder's entries
 * are held together (about 300 bytes each).
 * Threads: runs `lanes` threads of its own.                                                                  */
#ifndef CF_BACKUP_BACKUP_H
#define CF_BACKUP_BACKUP_H

#include "base/cancel.h"
#include "base/progress.h"
#include "policy/exclude.h"
#include "repo/reader.h"
#include "repo/writer.h"
#include "scan/cache.h"
#include "scan/sources.h"
#include "visible/map.h"

/* A file system object that is never part of a backup (the agent's own scratch folder). */
typedef struct cf_backup_skip {
    uint64_t device, inode;
} cf_backup_skip;

/* One object of many was not, or not fully, backed up. path: absolute bytes, borrowed for the call. Any thread. */
typedef void (*cf_backup_warn)(void *context, cf_span path, const cf_err *why);

/* A folder in "/" that is not read but made: its files are handed over by produce, in any order, each name once. A real one of
 * that name is not looked at.
 *   produce calls, from its own thread only: cf_backup_make_begin, cf_backup_make_write any number of times,
 *   cf_backup_make_end. A file whose content is the base's keeps the base's time; others get the scan's start.
 *   What produce fails with ends the scan.                                                                   */
typedef struct cf_backup_maker cf_backup_maker;
typedef struct cf_backup_made {
    const char *name;
    cf_err *(*produce)(void *context, cf_backup_maker *maker);
    void *context;
} cf_backup_made;
/* mode: the 12 bits; the owner is root. Fails as the scan does.                                              */
cf_err *cf_backup_make_begin(cf_backup_maker *maker, const char *name, uint32_t mode)
    __attribute__((warn_unused_result));
cf_err *cf_backup_make_write(cf_backup_maker *maker, cf_span bytes) __attribute__((warn_unused_result));
cf_err *cf_backup_make_end(cf_backup_maker *maker) __attribute__((warn_unused_result));

typedef struct cf_backup_options {
    const cf_server_keys *keys;
    cf_writer *writer;
    const cf_sources *sources;
    cf_cache *cache;
    const cf_map *dead;        /* segments that are not stored any more, whatever the base says; may be NULL */
    const cf_map *refresh;     /* segments whose chunks are stored again where that can be done; may be NULL */
    cf_reader *reader;         /* for what cannot be read here any more; may be NULL */
    bool damaged;              /* some of those are damaged: the base's nodes in them are stored again, too */
    bool cross_file_systems;   /* enter other file systems below a source (never pseudo ones) */
    const cf_exclude *exclude; /* what is left out; may be NULL */
    bool exclude_caches, exclude_nodump; /* folders with a CACHEDIR.TAG (they and the tag stay); what has the flag */
    const cf_backup_made *made;          /* may be NULL */
    unsigned lanes;
    cf_time started;
    const cf_backup_skip *skips;
    size_t skip_count;
    cf_backup_warn warn;
    void *warn_context;
    cf_cancel *cancel;     /* may be NULL */
    cf_progress *progress; /* may be NULL */
} cf_backup_options;

typedef struct cf_backup_result {
    cf_ref tree; /* the root node */
    cf_totals totals;
    cf_block_place block; /* of "/" in the cache; not committed yet */
    uint64_t live_bytes;
    bool unchanged; /* the tree is the base's, node for node */
    uint64_t files_new, files_changed, files_unchanged;
    uint64_t bytes_read, warnings;
    uint64_t chunks_fetched; /* from the vault, to be stored again */
    cf_map *map;             /* exactly what the tree refers to; the caller frees it */
} cf_backup_result;

/* cf_backup_scan: returns when everything was handed to the writer (cf_writer_finish makes it durable).
 * Fails: what the writer fails with (its own error, not STOPPED), CANCELLED, OUT_OF_MEMORY, IO of the cache.
 * What cannot be read is a warning, and an entry that says so.                                               */
cf_err *cf_backup_scan(const cf_backup_options *options, cf_backup_result *result);

#endif
