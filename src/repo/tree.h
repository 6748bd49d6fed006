/* A point's tree: directories across split nodes, paths, and the references of a file's content. Depth is
 * bounded by the format; nothing here recurses on stored data. Nodes come through the lane's segment cache.
 * Threads: a reader belongs to the thread of its lane.
 * Source: docs/format.md, section 7.                                                                     */
#ifndef CF_REPO_TREE_H
#define CF_REPO_TREE_H

#include "repo/reader.h"
#include "sealed/node.h"

/* cf_dir_reader: the entries of one directory in ascending order of their names. */
typedef struct cf_dir_reader cf_dir_reader;
/* cf_dir_reader_open: node is the reference in the directory's entry (or the root's). lane and map are
 * borrowed until close. Fails as cf_lane_chunk; NODE_DAMAGED when a node is of the wrong kind or level.    */
cf_err *cf_dir_reader_open(cf_lane *lane, const cf_map *map, const cf_ref *node, cf_dir_reader **dir);
/* cf_dir_reader_next: *entry is borrowed until the next call; *more is false, and *entry unchanged, at the
 * end. After a failure the reader stands behind the damaged part, and the next call goes on there: so one
 * damaged node of a split directory costs its own entries only.                                            */
cf_err *cf_dir_reader_next(cf_dir_reader *dir, cf_entry *entry, bool *more);
/* cf_dir_reader_peek: what comes next, without taking it: an entry (borrowed until it is taken with _next), or a part of
 * a split folder that has not been read yet (_next reads it, _skip passes over all of it). Fails as _next.      */
typedef enum cf_dir_step { CF_DIR_END, CF_DIR_ENTRY, CF_DIR_PART } cf_dir_step;
cf_err *cf_dir_reader_peek(cf_dir_reader *dir, cf_dir_step *what, const cf_entry **entry, const cf_part **part);
void cf_dir_reader_skip(cf_dir_reader *dir);
/* cf_dir_reader_enter: read the part that comes next, so that what it begins with comes next. Fails as _next. */
cf_err *cf_dir_reader_enter(cf_dir_reader *dir);
/* cf_dir_reader_seek: start at the first name not below this one.                                          */
cf_err *cf_dir_reader_seek(cf_dir_reader *dir, cf_span name);
void cf_dir_reader_close(cf_dir_reader *dir);
CF_DEFINE_AUTO(cf_dir_reader, cf_dir_reader_close)

/* A copy of an entry that stays when its node is gone. Start with {0}; use again freely; end with _wipe.     */
typedef struct cf_entry_copy {
    cf_buf bytes;
    cf_xattr *xattrs;
    uint32_t xattr_room;
    cf_entry entry;
} cf_entry_copy;
cf_err *cf_entry_copy_set(cf_entry_copy *copy, const cf_entry *entry);
void cf_entry_copy_wipe(cf_entry_copy *copy);

/* cf_tree_lookup: walk from a root node along an absolute path. "/" gives a folder without a name, flagged
 * implied. *found is false, and copy unchanged, when there is no such entry (or a part of the path is none
 * that can be entered).                                                                                    */
cf_err *cf_tree_lookup(cf_lane *lane, const cf_map *map, const cf_ref *root, cf_span path, cf_entry_copy *copy,
                       bool *found);

/* cf_content_reader: the data references of a content, in order, across lists of any depth.                */
typedef struct cf_content_reader cf_content_reader;
/* content's bytes are copied. */
cf_err *cf_content_reader_open(cf_lane *lane, const cf_map *map, const cf_content *content, cf_content_reader **out);
/* cf_content_reader_next: *more false at the end. After a failure nothing more can be read.                */
cf_err *cf_content_reader_next(cf_content_reader *content, cf_ref *ref, bool *more);
void cf_content_reader_close(cf_content_reader *content);
CF_DEFINE_AUTO(cf_content_reader, cf_content_reader_close)

/* cf_content_bytes: a small content as a whole (extended attributes kept as chunks), appended to out, which
 * bounds it.                                                                                               */
cf_err *cf_content_bytes(cf_lane *lane, const cf_map *map, const cf_content *content, cf_buf *out);
/* cf_entry_xattrs: make entry->meta.xattrs complete when they are stored as chunks: storage holds the bytes,
 * xattrs has room for CF_XATTRS_MAX.                                                                        */
cf_err *cf_entry_xattrs(cf_lane *lane, const cf_map *map, cf_entry *entry, cf_buf *storage, cf_xattr *xattrs);

#endif
