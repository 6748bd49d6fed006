/* The object store: named byte strings that are written once and never changed.
 *
 * A key is what docs/format.md, section 1, names: parts of [a-z0-9.-] divided by '/', at most
 * CF_OBJECT_KEY_MAX bytes, no part empty or starting with '.'. Every implementation keeps this contract
 * (tests/contract): the folder, the memory store, and layers over another store.
 *
 * Durability: when a put returns NULL the object survives a power loss, whole; when it fails, there is
 * nothing under the key but what was there before.
 * Fails, all of these: 900101 IO, 900102 DISK_FULL, 900001 OUT_OF_MEMORY, 900006 INTERNAL (a key that is
 * none). Threads: any number use a store; a writer or a reader belongs to one at a time.               */
#ifndef CF_OBJECTS_OBJECTS_H
#define CF_OBJECTS_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { CF_OBJECT_KEY_MAX = 255 };

typedef struct cf_objects cf_objects;
typedef struct cf_object_writer cf_object_writer;
typedef struct cf_object_reader cf_object_reader;

/* cf_objects_put: create-only. *created is false, and nothing changed, when the key exists (with
 * whatever bytes: the caller compares if it cares).                                                    */
cf_err *cf_objects_put(cf_objects *store, const char *key, cf_span bytes, bool *created)
    __attribute__((warn_unused_result));
/* The streaming form: open, write, then one commit; free without commit leaves nothing.                 */
cf_err *cf_objects_put_open(cf_objects *store, const char *key, cf_object_writer **writer)
    __attribute__((warn_unused_result));
cf_err *cf_object_writer_write(cf_object_writer *writer, cf_span bytes) __attribute__((warn_unused_result));
cf_err *cf_object_writer_commit(cf_object_writer *writer, bool *created) __attribute__((warn_unused_result));
void cf_object_writer_free(cf_object_writer *writer);
CF_DEFINE_AUTO(cf_object_writer, cf_object_writer_free)

/* cf_objects_has: *size is written when *exists; may be NULL.                                           */
cf_err *cf_objects_has(cf_objects *store, const char *key, bool *exists, uint64_t *size)
    __attribute__((warn_unused_result));
/* cf_objects_get: up to size bytes from offset into out; *got is less only at the object's end.
 * Fails also: 480004 OBJECT_MISSING.                                                                   */
cf_err *cf_objects_get(cf_objects *store, const char *key, uint64_t offset, void *out, size_t size, size_t *got)
    __attribute__((warn_unused_result));
/* cf_objects_get_all: the whole object appended to out. Fails also: OBJECT_MISSING, TOO_LARGE (over max). */
cf_err *cf_objects_get_all(cf_objects *store, const char *key, size_t max, cf_buf *out)
    __attribute__((warn_unused_result));
/* An object held open: reads go on also when it is removed meanwhile. Fails also: OBJECT_MISSING.       */
cf_err *cf_objects_open(cf_objects *store, const char *key, cf_object_reader **reader)
    __attribute__((warn_unused_result));
uint64_t cf_object_reader_size(const cf_object_reader *reader);
/* When it was stored, in seconds since 1970 as the store knows it; 0 when it does not.                  */
int64_t cf_object_reader_stored(const cf_object_reader *reader);
cf_err *cf_object_reader_read(cf_object_reader *reader, uint64_t offset, void *out, size_t size, size_t *got)
    __attribute__((warn_unused_result));
void cf_object_reader_free(cf_object_reader *reader);
CF_DEFINE_AUTO(cf_object_reader, cf_object_reader_free)

/* A page of keys, ascending by byte. */
typedef struct cf_object_page {
    char **keys;
    uint64_t *sizes;
    size_t count;
    bool more; /* ask again with after = the last key */
} cf_object_page;
/* cf_objects_list: the keys that begin with prefix and come after `after` (NULL: from the start), at most
 * limit (1 or more). The caller wipes *page.                                                            */
cf_err *cf_objects_list(cf_objects *store, const char *prefix, const char *after, size_t limit, cf_object_page *page)
    __attribute__((warn_unused_result));
void cf_object_page_wipe(cf_object_page *page);
/* cf_object_page_add: for implementations; key is copied.                                               */
cf_err *cf_object_page_add(cf_object_page *page, const char *key, uint64_t size) __attribute__((warn_unused_result));

/* cf_objects_remove: durable. *existed may be NULL.                                                     */
cf_err *cf_objects_remove(cf_objects *store, const char *key, bool *existed) __attribute__((warn_unused_result));

typedef struct cf_object_presign {
    bool upload; /* else download */
    const char *key;
    uint64_t size;
    const uint8_t *xxh3; /* 16 bytes; upload only */
    int64_t expires;     /* seconds since 1970    */
} cf_object_presign;
/* cf_objects_presign: *url (fresh) under which the store itself takes or gives the bytes; NULL when it has
 * no such thing and the service must move them.                                                         */
cf_err *cf_objects_presign(cf_objects *store, const cf_object_presign *request, char **url)
    __attribute__((warn_unused_result));

void cf_objects_free(cf_objects *store); /* NULL-safe; no writer or reader may be left */
CF_DEFINE_AUTO(cf_objects, cf_objects_free)

/* For implementations: they begin with one of these, and fill every pointer. Keys are checked before.   */
struct cf_object_writer {
    cf_err *(*write)(cf_object_writer *writer, cf_span bytes);
    cf_err *(*commit)(cf_object_writer *writer, bool *created);
    void (*free)(cf_object_writer *writer);
};
struct cf_object_reader {
    uint64_t size;
    int64_t stored;
    cf_err *(*read)(cf_object_reader *reader, uint64_t offset, void *out, size_t size, size_t *got);
    void (*free)(cf_object_reader *reader);
};
struct cf_objects {
    cf_err *(*put_open)(cf_objects *store, const char *key, cf_object_writer **writer);
    cf_err *(*has)(cf_objects *store, const char *key, bool *exists, uint64_t *size); /* size is never NULL */
    cf_err *(*open)(cf_objects *store, const char *key, cf_object_reader **reader);
    cf_err *(*list)(cf_objects *store, const char *prefix, const char *after, size_t limit, cf_object_page *page);
    cf_err *(*remove)(cf_objects *store, const char *key, bool *existed); /* existed is never NULL */
    cf_err *(*presign)(cf_objects *store, const cf_object_presign *request, char **url);
    void (*free)(cf_objects *store);
};

#endif
