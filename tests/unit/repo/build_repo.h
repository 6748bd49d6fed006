/* Test support: builds a small repository as a folder of objects, with the product's encoders and no writer of
 * the product: so that readers can be tested with every kind of good and bad content.
 * Everything here ends the test on failure.                                                              */
#ifndef CF_TESTS_BUILD_REPO_H
#define CF_TESTS_BUILD_REPO_H

#include "repo/reader.h"
#include "repo/source_folder.h"
#include "repo/tree.h"

typedef struct build build;

/* build_new: an empty repository in a fresh folder below $TMPDIR.
 *   segments_in_pack  a pack is written when it has so many.                                             */
build *build_new(unsigned segments_in_pack);
void build_free(build *b); /* and removes the folder */
const char *build_dir(const build *b);
const cf_id16 *build_server(const build *b);
const cf_server_keys *build_keys(const build *b);

/* build_chunk: one chunk of 1 .. CF_CHUNK_MAX bytes. The point's map gets its segment. */
cf_ref build_chunk(build *b, cf_kind kind, const void *data, size_t size);
/* build_cut: the next chunk of this kind begins a new segment (a new pack: build_cut_pack). */
void build_cut(build *b, cf_kind kind);
void build_cut_pack(build *b, cf_kind kind);
/* build_content: content of size bytes in chunks of chunk_size, in lists of per_list references when there are more
 * than fit. refs: kept by the caller (cf_buf_wipe).                                                        */
cf_content build_content(build *b, const void *data, size_t size, size_t chunk_size, unsigned per_list, cf_buf *refs);

/* A folder being written: entries in ascending order. */
typedef struct build_dir_writer build_dir_writer;
build_dir_writer *build_dir_new(build *b);
void build_dir_entry(build_dir_writer *w, const cf_entry *entry);
/* Short forms. */
void build_dir_file(build_dir_writer *w, const char *name, const void *data, size_t size);
void build_dir_folder(build_dir_writer *w, const char *name, cf_ref node);
void build_dir_symlink(build_dir_writer *w, const char *name, const char *target);
cf_entry build_entry(const char *name, cf_file_type type);
/* build_dir_end: the node; split into parts of per_part entries (0: not split), parts_of_parts deep when many. */
cf_ref build_dir_end(build_dir_writer *w, unsigned per_part);

/* build_point: writes what is open, then a point whose tree this is. delta: its map builds on the point before. */
cf_id32 build_point(build *b, cf_ref tree, const char *source, bool delta);
/* Before build_point: this segment is left out of the map, although it is used. */
void build_hide(build *b, uint64_t pack, uint16_t segment);

/* build_relocation: a record for the last point that says where these chunks stand now (ascending by ID; count >= 1). */
void build_relocation(build *b, uint64_t number, const cf_ref *refs, size_t count);
/* build_merge: the pack's object becomes one of a merged object, beside a copy of another pack's number. */
void build_merge(build *b, uint64_t pack, uint32_t generation);

/* Damage, after build_point. */
char *build_pack_path(build *b, uint64_t pack);             /* the caller frees it */
void build_flip(build *b, uint64_t pack, uint16_t segment); /* one bit of the stored segment */
uint64_t build_last_pack(const build *b);

#endif
