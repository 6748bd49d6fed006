#include "repo/point_info.h"

#include <pthread.h>
#include <stdlib.h>

#include "repo/reader_internal.h"

enum { THREADS = 4, MAC_PREFIX = 5, INFO_MAX = 4 << 20, TAG_SIZE = 32 };
static const uint8_t magic[8] = "CFINFO1";

static void info_wipe(cf_point_info *info) {
    cf_err_free(info->damaged);
    free(info->sources);
    cf_buf_wipe(&info->storage);
    *info = (cf_point_info){0};
}

void cf_point_infos_wipe(cf_point_info *infos, size_t count) {
    for (size_t i = 0; i < count; i++) info_wipe(&infos[i]);
}

/* ---- The remembered form: magic, tag, then what the tag is over: point, time, sources ---- */

static void encode(const cf_id32 *id, cf_time time, const cf_span *sources, size_t count, cf_buf *out) {
    cf_buf_put(out, id->bytes, sizeof id->bytes);
    cf_buf_put_zigzag(out, time.seconds);
    cf_buf_put_u32(out, time.nanoseconds);
    cf_buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) cf_buf_put_bytes(out, sources[i]);
}

static cf_err *decode(const cf_id32 *id, cf_point_info *info) {
    cf_cursor cursor = cf_cursor_of(cf_buf_span(&info->storage));
    cf_id32 named;
    (void)cf_cursor_take(&cursor, sizeof magic + TAG_SIZE);
    cf_cursor_copy(&cursor, named.bytes, sizeof named.bytes);
    info->time.seconds = cf_cursor_zigzag(&cursor);
    info->time.nanoseconds = cf_cursor_u32(&cursor);
    size_t count = (size_t)cf_cursor_varint_max(&cursor, CF_SOURCES_MAX);
    if (cursor.failed || !cf_id32_equal(&named, id) || info->time.nanoseconds > 999999999)
        return cf_fail(CF_ERR_FORMAT, "another point's");
    info->sources = calloc(count + 1, sizeof *info->sources);
    if (!info->sources) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a recovery point's sources");
    for (size_t i = 0; i < count; i++) info->sources[i] = cf_cursor_bytes(&cursor, INFO_MAX);
    info->source_count = count;
    return cf_cursor_done(&cursor, CF_ERR_FORMAT, "a remembered point");
}

static cf_err *check_and_decode(cf_reader *reader, const cf_id32 *id, cf_point_info *info) {
    CF_AUTO(cf_mac) mac = NULL;
    uint8_t tag[TAG_SIZE];
    cf_span bytes = cf_buf_span(&info->storage);
    if (bytes.size < sizeof magic + TAG_SIZE || memcmp(bytes.data, magic, sizeof magic) != 0)
        return cf_fail(CF_ERR_FORMAT, "not a remembered point");
    size_t head = sizeof magic + TAG_SIZE;
    CF_TRY(cf_mac_new(reader->keys->id, &mac));
    CF_TRY(cf_mac_tag(mac, MAC_PREFIX, cf_span_of(bytes.data + head, bytes.size - head), tag));
    if (memcmp(tag, bytes.data + sizeof magic, TAG_SIZE) != 0) return cf_fail(CF_ERR_FORMAT, "somebody else's work");
    return decode(id, info);
}

static bool recall(cf_reader *reader, const cf_id32 *id, cf_point_info *info) {
    char name[CF_TREE_CACHE_NAME];
    if (!reader->trees) return false;
    cf_tree_cache_id_name('i', cf_span_of(id->bytes, 32), name);
    if (!cf_tree_cache_get(reader->trees, name, &info->storage)) return false;
    cf_err *err = check_and_decode(reader, id, info);
    if (!err) return true;
    cf_err_free(err);
    cf_tree_cache_drop(reader->trees, name);
    free(info->sources);
    info->sources = NULL;
    info->source_count = 0;
    cf_buf_reset(&info->storage);
    return false;
}

/* ---- Opening ---- */

static cf_err *take_over(cf_reader *reader, const cf_point *point, cf_point_info *info) {
    CF_AUTO(cf_mac) mac = NULL;
    uint8_t tag[TAG_SIZE] = {0};
    const cf_root *root = &point->root;
    size_t head = sizeof magic + TAG_SIZE;
    cf_buf_put(&info->storage, magic, sizeof magic);
    cf_buf_put(&info->storage, tag, sizeof tag);
    encode(&point->id, root->time, root->sources, root->source_count, &info->storage);
    CF_TRY(cf_buf_check(&info->storage, "a recovery point's sources"));
    CF_TRY(cf_mac_new(reader->keys->id, &mac));
    CF_TRY(cf_mac_tag(mac, MAC_PREFIX, cf_span_of(info->storage.data + head, info->storage.size - head), tag));
    memcpy(info->storage.data + sizeof magic, tag, sizeof tag);
    if (reader->trees) {
        char name[CF_TREE_CACHE_NAME];
        cf_span bytes = cf_buf_span(&info->storage);
        cf_tree_cache_id_name('i', cf_span_of(point->id.bytes, 32), name);
        cf_tree_cache_put(reader->trees, name, &bytes, 1);
    }
    return decode(&point->id, info);
}

static cf_err *get(cf_reader *reader, const cf_point_row *row, bool open, cf_point_info *info) {
    CF_AUTO(cf_point) point = NULL;
    cf_buf_init(&info->storage, INFO_MAX);
    if (!open && recall(reader, &row->id, info)) return NULL;
    cf_err *err = cf_reader_point_fetch(reader, &row->id, &point);
    if (err && cf_err_has(err, CF_F_DAMAGE)) {
        info->damaged = err;
        return NULL;
    }
    CF_TRY(err);
    return take_over(reader, point, info);
}

struct work {
    cf_reader *reader;
    const cf_point_row *rows;
    size_t count, open_from;
    cf_cancel *cancel;
    cf_point_info *infos;
    pthread_mutex_t lock; /* of what follows */
    size_t next;
    cf_err *err; /* the first one */
};

static void *run(void *context) {
    struct work *work = context;
    pthread_mutex_lock(&work->lock);
    while (!work->err && work->next < work->count) {
        size_t i = work->next++;
        pthread_mutex_unlock(&work->lock);
        cf_err *err = cf_cancel_check(work->cancel);
        if (!err) err = get(work->reader, &work->rows[i], i >= work->open_from, &work->infos[i]);
        pthread_mutex_lock(&work->lock);
        if (!work->err)
            work->err = err;
        else
            cf_err_free(err);
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

cf_err *cf_point_infos_get(cf_reader *reader, const cf_point_row *rows, size_t count, size_t opened, cf_cancel *cancel,
                           cf_point_info *infos) {
    struct work work = {.reader = reader,
                        .rows = rows,
                        .count = count,
                        .open_from = count > opened ? count - opened : 0,
                        .cancel = cancel,
                        .infos = infos};
    pthread_t threads[THREADS];
    size_t started = 0;
    pthread_mutex_init(&work.lock, NULL);
    /* This thread works too: without any other it only takes longer. */
    while (started + 1 < THREADS && started + 1 < count && pthread_create(&threads[started], NULL, run, &work) == 0)
        started++;
    (void)run(&work);
    while (started > 0) pthread_join(threads[--started], NULL);
    pthread_mutex_destroy(&work.lock);
    return work.err;
}
