#include "objects/fault.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_MAX ((size_t)1 << 30)

typedef struct late_object {
    char key[CF_OBJECT_KEY_MAX + 1];
    cf_buf bytes;
    struct late_object *next;
} late_object;

typedef struct fault_store {
    cf_objects base;
    cf_objects *below;
    pthread_mutex_t lock; /* the plan and what is late */
    cf_fault fault;
    char prefix[CF_OBJECT_KEY_MAX + 1];
    unsigned left;
    late_object *late;
} fault_store;

/* Keeps the whole object: what becomes of it is decided at the commit. */
typedef struct fault_writer {
    cf_object_writer base;
    fault_store *store;
    late_object *object;
    cf_fault fault;
} fault_writer;

typedef struct fault_reader {
    cf_object_reader base;
    fault_store *store;
    cf_object_reader *below;
    char key[CF_OBJECT_KEY_MAX + 1];
} fault_reader;

/* Does the planned fault hit this operation? Counts it. */
static cf_fault hit(fault_store *store, const char *key, bool put, bool read) {
    cf_fault fault = CF_FAULT_NONE;
    pthread_mutex_lock(&store->lock);
    bool about = store->fault == CF_FAULT_FAIL || (store->fault == CF_FAULT_FLIPPED ? read : put);
    if (store->left > 0 && about && strncmp(key, store->prefix, strlen(store->prefix)) == 0) {
        fault = store->fault;
        store->left--;
    }
    pthread_mutex_unlock(&store->lock);
    return fault;
}

static cf_err *fail_io(const char *key) {
    return cf_fail(CF_ERR_IO, "object %s: the test says that this fails", key);
}

static void free_object(late_object *object) {
    if (!object) return;
    cf_buf_wipe(&object->bytes);
    free(object);
}

static cf_err *writer_write(cf_object_writer *base, cf_span bytes) {
    fault_writer *writer = (fault_writer *)base;
    cf_buf_put_span(&writer->object->bytes, bytes);
    return cf_buf_check(&writer->object->bytes, "an object");
}

static cf_err *writer_commit(cf_object_writer *base, bool *created) {
    fault_writer *writer = (fault_writer *)base;
    fault_store *store = writer->store;
    const char *key = writer->object->key;
    cf_span bytes = cf_buf_span(&writer->object->bytes);
    switch (writer->fault) {
    case CF_FAULT_LOST:
        *created = true;
        return NULL;
    case CF_FAULT_LATE:
        pthread_mutex_lock(&store->lock);
        writer->object->next = store->late;
        store->late = cf_take(writer->object);
        pthread_mutex_unlock(&store->lock);
        *created = true;
        return NULL;
    case CF_FAULT_TORN:
        return cf_objects_put(store->below, key, cf_span_of(bytes.data, bytes.size / 2), created);
    case CF_FAULT_FULL:
        return cf_fail(CF_ERR_DISK_FULL, "object %s: the test says that the disk is full", key);
    case CF_FAULT_FAIL:
        return fail_io(key);
    case CF_FAULT_FLIPPED:
    case CF_FAULT_NONE:
        break;
    }
    return cf_objects_put(store->below, key, bytes, created);
}

static void writer_free(cf_object_writer *base) {
    free_object(((fault_writer *)base)->object);
    free(base);
}

static cf_err *fault_put_open(cf_objects *base, const char *key, cf_object_writer **out) {
    fault_store *store = (fault_store *)base;
    fault_writer *writer = calloc(1, sizeof *writer);
    late_object *object = calloc(1, sizeof *object);
    if (!writer || !object) {
        free(writer);
        free(object);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object writer");
    }
    snprintf(object->key, sizeof object->key, "%s", key);
    cf_buf_init(&object->bytes, OBJECT_MAX);
    *writer = (fault_writer){{writer_write, writer_commit, writer_free}, store, object, hit(store, key, true, false)};
    *out = &writer->base;
    return NULL;
}

static cf_err *fault_has(cf_objects *base, const char *key, bool *exists, uint64_t *size) {
    fault_store *store = (fault_store *)base;
    if (hit(store, key, false, false) == CF_FAULT_FAIL) return fail_io(key);
    return cf_objects_has(store->below, key, exists, size);
}

static cf_err *reader_read(cf_object_reader *base, uint64_t offset, void *out, size_t size, size_t *got) {
    fault_reader *reader = (fault_reader *)base;
    cf_fault fault = hit(reader->store, reader->key, false, true);
    if (fault == CF_FAULT_FAIL) return fail_io(reader->key);
    CF_TRY(cf_object_reader_read(reader->below, offset, out, size, got));
    if (fault == CF_FAULT_FLIPPED && *got > 0) ((uint8_t *)out)[*got / 2] ^= 1;
    return NULL;
}

static void reader_free(cf_object_reader *base) {
    cf_object_reader_free(((fault_reader *)base)->below);
    free(base);
}

static cf_err *fault_open(cf_objects *base, const char *key, cf_object_reader **out) {
    fault_store *store = (fault_store *)base;
    CF_AUTO(cf_object_reader) below = NULL;
    if (hit(store, key, false, false) == CF_FAULT_FAIL) return fail_io(key);
    CF_TRY(cf_objects_open(store->below, key, &below));
    fault_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object reader");
    reader->base = (cf_object_reader){below->size, below->stored, reader_read, reader_free};
    reader->store = store;
    reader->below = cf_take(below);
    snprintf(reader->key, sizeof reader->key, "%s", key);
    *out = &reader->base;
    return NULL;
}

static cf_err *fault_list(cf_objects *base, const char *prefix, const char *after, size_t limit, cf_object_page *page) {
    fault_store *store = (fault_store *)base;
    if (hit(store, prefix, false, false) == CF_FAULT_FAIL) return fail_io(prefix);
    return cf_objects_list(store->below, prefix, after, limit, page);
}

static cf_err *fault_remove(cf_objects *base, const char *key, bool *existed) {
    fault_store *store = (fault_store *)base;
    if (hit(store, key, false, false) == CF_FAULT_FAIL) return fail_io(key);
    return cf_objects_remove(store->below, key, existed);
}

static cf_err *fault_presign(cf_objects *base, const cf_object_presign *request, char **url) {
    return cf_objects_presign(((fault_store *)base)->below, request, url);
}

static void fault_free(cf_objects *base) {
    fault_store *store = (fault_store *)base;
    while (store->late) {
        late_object *next = store->late->next;
        free_object(store->late);
        store->late = next;
    }
    cf_objects_free(store->below);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

cf_err *cf_objects_fault_new(cf_objects *below, cf_objects **out) {
    fault_store *store = calloc(1, sizeof *store);
    if (!store) {
        cf_objects_free(below);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "an object store");
    }
    store->base =
        (cf_objects){fault_put_open, fault_has, fault_open, fault_list, fault_remove, fault_presign, fault_free};
    store->below = below;
    pthread_mutex_init(&store->lock, NULL);
    *out = &store->base;
    return NULL;
}

void cf_objects_fault_set(cf_objects *base, cf_fault fault, const char *prefix, unsigned count) {
    fault_store *store = (fault_store *)base;
    pthread_mutex_lock(&store->lock);
    store->fault = fault;
    store->left = count;
    snprintf(store->prefix, sizeof store->prefix, "%s", prefix);
    pthread_mutex_unlock(&store->lock);
}

cf_err *cf_objects_fault_settle(cf_objects *base) {
    fault_store *store = (fault_store *)base;
    pthread_mutex_lock(&store->lock);
    late_object *late = cf_take(store->late);
    pthread_mutex_unlock(&store->lock);
    cf_err *err = NULL;
    while (late) {
        late_object *next = late->next;
        bool created = false;
        if (!err) err = cf_objects_put(store->below, late->key, cf_buf_span(&late->bytes), &created);
        free_object(late);
        late = next;
    }
    return err;
}
