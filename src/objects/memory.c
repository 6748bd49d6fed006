#include "objects/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_MAX ((size_t)1 << 30)

/* Bytes live as long as anybody holds them: readers go on after a removal. */
typedef struct blob {
    size_t holders; /* under the store's lock */
    cf_buf bytes;
} blob;

typedef struct entry {
    char *key;
    blob *content;
} entry;

typedef struct memory_store {
    cf_objects base;
    pthread_mutex_t lock;
    entry *entries; /* ascending by key */
    size_t count, capacity;
} memory_store;

typedef struct memory_writer {
    cf_object_writer base;
    memory_store *store;
    char *key;
    blob *content;
} memory_writer;

typedef struct memory_reader {
    cf_object_reader base;
    memory_store *store;
    blob *content;
} memory_reader;

/* With the lock held. */
static void drop(blob *content) {
    if (!content || --content->holders > 0) return;
    cf_buf_wipe(&content->bytes);
    free(content);
}

/* Where key is or would be. With the lock held. */
static size_t find(const memory_store *store, const char *key, bool *there) {
    size_t low = 0, high = store->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(store->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *there = low < store->count && strcmp(store->entries[low].key, key) == 0;
    return low;
}

static cf_err *writer_write(cf_object_writer *base, cf_span bytes) {
    cf_buf *out = &((memory_writer *)base)->content->bytes;
    cf_buf_put_span(out, bytes);
    return cf_buf_check(out, "an object");
}

static cf_err *insert(memory_store *store, memory_writer *writer, bool *created) {
    bool there = false;
    size_t at = find(store, writer->key, &there);
    *created = !there;
    if (there) return NULL;
    if (store->count == store->capacity) {
        size_t room = store->capacity ? 2 * store->capacity : 16;
        entry *grown = reallocarray(store->entries, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object store");
        store->entries = grown;
        store->capacity = room;
    }
    memmove(&store->entries[at + 1], &store->entries[at], (store->count - at) * sizeof *store->entries);
    store->entries[at] = (entry){cf_take(writer->key), cf_take(writer->content)};
    store->count++;
    return NULL;
}

static cf_err *writer_commit(cf_object_writer *base, bool *created) {
    memory_writer *writer = (memory_writer *)base;
    pthread_mutex_lock(&writer->store->lock);
    cf_err *err = insert(writer->store, writer, created);
    pthread_mutex_unlock(&writer->store->lock);
    return err;
}

static void writer_free(cf_object_writer *base) {
    memory_writer *writer = (memory_writer *)base;
    pthread_mutex_lock(&writer->store->lock);
    drop(writer->content);
    pthread_mutex_unlock(&writer->store->lock);
    free(writer->key);
    free(writer);
}

static cf_err *memory_put_open(cf_objects *base, const char *key, cf_object_writer **out) {
    memory_writer *writer = calloc(1, sizeof *writer);
    blob *content = calloc(1, sizeof *content);
    char *copy = strdup(key);
    if (!writer || !content || !copy) {
        free(writer);
        free(content);
        free(copy);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object writer");
    }
    cf_buf_init(&content->bytes, OBJECT_MAX);
    content->holders = 1;
    *writer = (memory_writer){{writer_write, writer_commit, writer_free}, (memory_store *)base, copy, content};
    *out = &writer->base;
    return NULL;
}

static cf_err *memory_has(cf_objects *base, const char *key, bool *exists, uint64_t *size) {
    memory_store *store = (memory_store *)base;
    pthread_mutex_lock(&store->lock);
    size_t at = find(store, key, exists);
    if (*exists) *size = store->entries[at].content->bytes.size;
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static cf_err *reader_read(cf_object_reader *base, uint64_t offset, void *out, size_t size, size_t *got) {
    memcpy(out, ((memory_reader *)base)->content->bytes.data + offset, size); /* bounds: cf_object_reader_read */
    *got = size;
    return NULL;
}

static void reader_free(cf_object_reader *base) {
    memory_reader *reader = (memory_reader *)base;
    pthread_mutex_lock(&reader->store->lock);
    drop(reader->content);
    pthread_mutex_unlock(&reader->store->lock);
    free(reader);
}

static cf_err *memory_open(cf_objects *base, const char *key, cf_object_reader **out) {
    memory_store *store = (memory_store *)base;
    memory_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object reader");
    bool there = false;
    pthread_mutex_lock(&store->lock);
    size_t at = find(store, key, &there);
    if (there) {
        blob *content = store->entries[at].content;
        content->holders++;
        *reader = (memory_reader){{content->bytes.size, 0, reader_read, reader_free}, store, content};
    }
    pthread_mutex_unlock(&store->lock);
    if (!there) {
        free(reader);
        return cf_fail(CF_ERR_OBJECT_MISSING, "object %s is not in the store", key);
    }
    *out = &reader->base;
    return NULL;
}

static cf_err *memory_list(cf_objects *base, const char *prefix, const char *after, size_t limit,
                           cf_object_page *page) {
    memory_store *store = (memory_store *)base;
    cf_err *err = NULL;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->count && !err && !page->more; i++) {
        const entry *at = &store->entries[i];
        if (strncmp(at->key, prefix, strlen(prefix)) != 0 || strcmp(at->key, after) <= 0) continue;
        if (page->count == limit)
            page->more = true;
        else
            err = cf_object_page_add(page, at->key, at->content->bytes.size);
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}

static cf_err *memory_remove(cf_objects *base, const char *key, bool *existed) {
    memory_store *store = (memory_store *)base;
    pthread_mutex_lock(&store->lock);
    size_t at = find(store, key, existed);
    if (*existed) {
        free(store->entries[at].key);
        drop(store->entries[at].content);
        store->count--;
        memmove(&store->entries[at], &store->entries[at + 1], (store->count - at) * sizeof *store->entries);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static cf_err *memory_presign(cf_objects *base, const cf_object_presign *request, char **url) {
    (void)base;
    (void)request; /* memory has no address */
    *url = NULL;
    return NULL;
}

static void memory_free(cf_objects *base) {
    memory_store *store = (memory_store *)base;
    for (size_t i = 0; i < store->count; i++) {
        free(store->entries[i].key);
        drop(store->entries[i].content);
    }
    free(store->entries);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

cf_err *cf_objects_memory_new(cf_objects **out) {
    memory_store *store = calloc(1, sizeof *store);
    if (!store) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object store");
    store->base =
        (cf_objects){memory_put_open, memory_has, memory_open, memory_list, memory_remove, memory_presign, memory_free};
    pthread_mutex_init(&store->lock, NULL);
    *out = &store->base;
    return NULL;
}
