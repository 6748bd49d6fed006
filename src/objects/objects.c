#include "objects/objects.h"

#include <stdlib.h>
#include <string.h>

static bool key_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

/* A prefix may end in the middle of a part, or be empty. */
static bool well_formed(const char *key, bool prefix) {
    size_t size = strlen(key);
    if (size > CF_OBJECT_KEY_MAX || (!prefix && size == 0)) return false;
    bool start = true;
    for (size_t i = 0; i < size; i++) {
        if (start && (key[i] == '/' || key[i] == '.')) return false;
        if (key[i] != '/' && !key_character(key[i])) return false;
        start = key[i] == '/';
    }
    return prefix || !start;
}

static cf_err *check_key(const char *key) {
    return well_formed(key, false) ? NULL : cf_fail(CF_ERR_INTERNAL, "not an object's key: %.300s", key);
}

cf_err *cf_objects_put(cf_objects *store, const char *key, cf_span bytes, bool *created) {
    CF_AUTO(cf_object_writer) writer = NULL;
    CF_TRY(cf_objects_put_open(store, key, &writer));
    CF_TRY(cf_object_writer_write(writer, bytes));
    return cf_object_writer_commit(writer, created);
}

cf_err *cf_objects_put_open(cf_objects *store, const char *key, cf_object_writer **writer) {
    CF_TRY(check_key(key));
    return store->put_open(store, key, writer);
}

cf_err *cf_object_writer_write(cf_object_writer *writer, cf_span bytes) {
    return bytes.size ? writer->write(writer, bytes) : NULL;
}

cf_err *cf_object_writer_commit(cf_object_writer *writer, bool *created) {
    return writer->commit(writer, created);
}

void cf_object_writer_free(cf_object_writer *writer) {
    if (writer) writer->free(writer);
}

cf_err *cf_objects_has(cf_objects *store, const char *key, bool *exists, uint64_t *size) {
    CF_TRY(check_key(key));
    uint64_t ignored = 0;
    return store->has(store, key, exists, size ? size : &ignored);
}

cf_err *cf_objects_get(cf_objects *store, const char *key, uint64_t offset, void *out, size_t size, size_t *got) {
    CF_AUTO(cf_object_reader) reader = NULL;
    CF_TRY(cf_objects_open(store, key, &reader));
    return cf_object_reader_read(reader, offset, out, size, got);
}

cf_err *cf_objects_get_all(cf_objects *store, const char *key, size_t max, cf_buf *out) {
    CF_AUTO(cf_object_reader) reader = NULL;
    CF_TRY(cf_objects_open(store, key, &reader));
    if (reader->size > max) return cf_fail(CF_ERR_TOO_LARGE, "object %s has more than %zu bytes", key, max);
    size_t got = 0, size = (size_t)reader->size;
    uint8_t *room = cf_buf_reserve(out, size);
    if (!room) return cf_buf_check(out, key);
    CF_TRY(cf_object_reader_read(reader, 0, room, size, &got));
    if (got != size) return cf_fail_reason(CF_ERR_IO, "short", "object %s ends early", key);
    out->size += size;
    return NULL;
}

cf_err *cf_objects_open(cf_objects *store, const char *key, cf_object_reader **reader) {
    CF_TRY(check_key(key));
    return store->open(store, key, reader);
}

uint64_t cf_object_reader_size(const cf_object_reader *reader) {
    return reader->size;
}

int64_t cf_object_reader_stored(const cf_object_reader *reader) {
    return reader->stored;
}

cf_err *cf_object_reader_read(cf_object_reader *reader, uint64_t offset, void *out, size_t size, size_t *got) {
    if (offset >= reader->size) {
        *got = 0;
        return NULL;
    }
    if (size > reader->size - offset) size = (size_t)(reader->size - offset);
    return reader->read(reader, offset, out, size, got);
}

void cf_object_reader_free(cf_object_reader *reader) {
    if (reader) reader->free(reader);
}

cf_err *cf_objects_list(cf_objects *store, const char *prefix, const char *after, size_t limit, cf_object_page *page) {
    if (!well_formed(prefix, true) || limit == 0) return cf_fail(CF_ERR_INTERNAL, "not a prefix: %.300s", prefix);
    cf_object_page found = {0};
    cf_err *err = store->list(store, prefix, after ? after : "", limit, &found);
    if (err)
        cf_object_page_wipe(&found);
    else
        *page = found;
    return err;
}

void cf_object_page_wipe(cf_object_page *page) {
    for (size_t i = 0; i < page->count; i++) free(page->keys[i]);
    free(page->keys);
    free(page->sizes);
    *page = (cf_object_page){0};
}

cf_err *cf_object_page_add(cf_object_page *page, const char *key, uint64_t size) {
    if ((page->count & (page->count - 1)) == 0) { /* full at every power of two */
        size_t room = page->count ? 2 * page->count : 1;
        char **keys = reallocarray(page->keys, room, sizeof *keys);
        if (keys) page->keys = keys;
        uint64_t *sizes = reallocarray(page->sizes, room, sizeof *sizes);
        if (sizes) page->sizes = sizes;
        if (!keys || !sizes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of objects");
    }
    char *copy = strdup(key);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list of objects");
    page->keys[page->count] = copy;
    page->sizes[page->count++] = size;
    return NULL;
}

cf_err *cf_objects_remove(cf_objects *store, const char *key, bool *existed) {
    CF_TRY(check_key(key));
    bool ignored = false;
    return store->remove(store, key, existed ? existed : &ignored);
}

cf_err *cf_objects_presign(cf_objects *store, const cf_object_presign *request, char **url) {
    CF_TRY(check_key(request->key));
    return store->presign(store, request, url);
}

void cf_objects_free(cf_objects *store) {
    if (store) store->free(store);
}
