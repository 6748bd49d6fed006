/* Tree nodes (format, section 7). No I/O. Encoders append to a cf_buf; decoders give entries one by one and
 * keep nothing.
 * Threads: a writer or reader belongs to one thread.                                                      */
#ifndef CF_SEALED_NODE_H
#define CF_SEALED_NODE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/meta.h"

enum {
    CF_NODE_MAX = 524288,
    CF_ENTRY_REFS_MAX = 1024,
    CF_LIST_REFS_MAX = 2048,
    CF_DEPTH_MAX = 6,
    CF_EXTENTS_MAX =
        4096, /* data extents in an entry: a writer joins neighbours (stores holes as zeros) to stay below */
    CF_XATTRS_MAX = 4096,
    CF_XATTR_VALUE_MAX = 65536,
    CF_XATTR_INLINE_MAX = 8192, /* a writer stores a larger encoding as chunks */
};
#define CF_FILE_SIZE_MAX ((1ull << 63) - 1)

typedef enum cf_node_kind { CF_NODE_ENTRIES = 0, CF_NODE_SPLIT = 1, CF_NODE_LIST = 2 } cf_node_kind;

typedef struct cf_totals { /* of everything below a directory, itself not counted */
    uint64_t files, directories, others, bytes;
} cf_totals;

/* References in encoded form, so that a list of any length is borrowed without an array of structs: count references
 * one behind the other (cf_ref_decode). */
typedef struct cf_content {
    uint8_t depth;
    uint32_t count;
    cf_span refs;
} cf_content;

typedef struct cf_data_extent { /* of a sparse file */
    uint64_t offset, length;
} cf_data_extent;

/* One entry of a directory. Everything is borrowed. */
typedef struct cf_entry {
    cf_span name;
    cf_meta meta;        /* with meta.xattrs when they are inline                                       */
    bool xattrs_chunked; /* then xattr_content instead of meta.xattrs                                   */
    cf_content xattr_content;
    bool changed;  /* flag 64 */
    bool implied;  /* flag 256 */
    bool not_read; /* flag 128, with code                                                         */
    uint32_t code;
    uint64_t link_group; /* 0: none */
    bool sparse;         /* then extents: encoded varint pairs, extent_count of them                     */
    uint32_t extent_count;
    cf_span extents;    /* encoded (gap, length) pairs: cf_extents_next                                 */
    cf_content content; /* FILE */
    cf_ref node;        /* DIRECTORY */
    cf_totals totals;   /* DIRECTORY */
} cf_entry;

void cf_ref_encode(const cf_ref *ref, cf_buf *out);
void cf_ref_decode(cf_cursor *cursor, cf_ref *ref); /* bad values fail the cursor */

/* Encoding of data extents: call for each in ascending order; *end is where the one before ended (start with 0). */
void cf_extents_add(cf_buf *out, uint64_t *end, uint64_t offset, uint64_t length);
/* Decoding: false at the end. *end as above.                                                               */
bool cf_extents_next(cf_cursor *cursor, uint64_t *end, cf_data_extent *extent);

/* Writing a node of kind 0. Owners are collected in tables, so the node is put together by _finish.          */
typedef struct cf_node_writer cf_node_writer;
cf_err *cf_node_writer_new(cf_node_writer **writer);
void cf_node_writer_free(cf_node_writer *writer);
CF_DEFINE_AUTO(cf_node_writer, cf_node_writer_free)
void cf_node_writer_reset(cf_node_writer *writer);
/* cf_node_writer_add: names must ascend. After any failure the writer is as before. Fails: TOO_LARGE when the entry
 * does not fit into what is left of the node (one entry alone always fits an empty one when it keeps the limits
 * above); INTERNAL when a reader would refuse the entry (the reason says what is wrong with it).             */
cf_err *cf_node_writer_add(cf_node_writer *writer, const cf_entry *entry);
/* Bytes that a finish would give (an upper bound), and entries so far.                                       */
size_t cf_node_writer_size(const cf_node_writer *writer);
size_t cf_node_writer_count(const cf_node_writer *writer);
/* cf_node_writer_finish: out is reset and receives the node (at most CF_NODE_MAX).                           */
cf_err *cf_node_writer_finish(cf_node_writer *writer, cf_buf *out);

/* kind 1: a part of a split directory. kind 2: a list of references.                                         */
typedef struct cf_part {
    cf_span first_name;
    cf_ref node;
    cf_totals totals;
} cf_part;
void cf_split_begin(cf_buf *out, uint8_t level, uint32_t count);
void cf_split_add(cf_buf *out, const cf_part *part);
void cf_list_encode(uint8_t depth, uint32_t count, cf_span refs, cf_buf *out);

/* Reading a node of any kind. Borrowed bytes must outlive the reader.                                        */
typedef struct cf_node_reader cf_node_reader;
/* cf_node_reader_open: checks the frame and, in one pass, every entry (names, order, limits), so that what
 * follows cannot fail on form. Fails: FORMAT, FORMAT_VERSION.                                                */
cf_err *cf_node_reader_open(cf_span node, cf_node_reader **reader);
void cf_node_reader_close(cf_node_reader *reader);
CF_DEFINE_AUTO(cf_node_reader, cf_node_reader_close)
cf_node_kind cf_node_reader_kind(const cf_node_reader *reader);
uint8_t cf_node_reader_level(const cf_node_reader *reader); /* SPLIT: level; LIST: depth */
uint32_t cf_node_reader_count(const cf_node_reader *reader);
/* kind 0: false at the end. entry is valid until the next call.                                              */
bool cf_node_reader_entry(cf_node_reader *reader, cf_entry *entry);
bool cf_node_reader_part(cf_node_reader *reader, cf_part *part); /* kind 1 */
bool cf_node_reader_ref(cf_node_reader *reader, cf_ref *ref);    /* kind 2 */
void cf_node_reader_rewind(cf_node_reader *reader);
/* Random access: _tell, asked before an element is read, says where it stands; _seek goes there again (only to places
 * that _tell gave for this reader, with the element's index). _name_at: the (first) name of the element there, of kinds
 * 0 and 1, borrowed from the node; moves nothing, so any number of threads may ask.                          */
size_t cf_node_reader_tell(const cf_node_reader *reader);
void cf_node_reader_seek(cf_node_reader *reader, size_t place, uint32_t index);
cf_span cf_node_reader_name_at(const cf_node_reader *reader, size_t place);

/* A single entry outside a node (the local tree cache keeps them; never stored in a vault): the encoding of an entry
 * in a node, in which the two owner indices are replaced by varint uid, bytes user (<= 255), varint gid, bytes group
 * (<= 255). Everything else, the type's own part and its references included, is complete.
 * Encoding fails with INTERNAL when the entry would not decode; decoding with FORMAT.                        */
cf_err *cf_entry_encode(const cf_entry *entry, cf_buf *out);
/* xattrs: room for CF_XATTRS_MAX, the caller's; entry->meta.xattrs points there.                              */
cf_err *cf_entry_decode(cf_span bytes, cf_xattr *xattrs, cf_entry *entry);
/* The xattr block of flag 2 (same as inline), for content stored as chunks.                                   */
void cf_xattrs_encode(const cf_xattr *xattrs, uint32_t count, cf_buf *out);
cf_err *cf_xattrs_decode(cf_span bytes, cf_xattr *xattrs, uint32_t *count);

#endif
