/* Recovery points: listing, finding, opening. */
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "digest/digest.h"
#include "repo/reader_internal.h"

void cf_point_close(cf_point *point) {
    if (!point) return;
    cf_root_wipe(&point->root, &point->root_storage);
    cf_buf_wipe(&point->root_storage);
    cf_map_free(point->map);
    cf_buf_wipe(&point->object);
    free(point);
}

enum { CACHED_POINT_MAX = 4 << 20 }; /* larger ones are fetched each time */

static cf_err *chain_broken(const char *reason, const cf_point_row *row, const char *what) {
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(row->id.bytes, 32, hex);
    return cf_fail_reason(CF_ERR_POINT_CHAIN, reason, "recovery point %.16s (number %llu) %s", hex,
                          (unsigned long long)row->counter, what);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(((const cf_id32 *)a)->bytes, ((const cf_id32 *)b)->bytes, 32);
}

static cf_err *check_distinct(const cf_point_row *rows, size_t count) {
    CF_AUTO_FREE cf_id32 *ids = malloc(count * sizeof *ids + 1);
    if (!ids) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu recovery points", count);
    for (size_t i = 0; i < count; i++) ids[i] = rows[i].id;
    qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 1; i < count; i++)
        if (cf_id32_equal(&ids[i - 1], &ids[i]))
            return cf_fail_reason(CF_ERR_POINT_CHAIN, "duplicate", "a recovery point is listed twice");
    return NULL;
}

static cf_err *check_chain(const cf_point_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (rows[i].counter == 0) return chain_broken("order", &rows[i], "has no number");
        if ((rows[i].counter == 1) != cf_id32_is_zero(&rows[i].previous))
            return chain_broken("previous", &rows[i], "is the first one and follows another, or the other way round");
        if (i == 0) continue;
        if (rows[i].counter <= rows[i - 1].counter)
            return chain_broken("order", &rows[i], "is not listed in its order");
        if (rows[i].counter == rows[i - 1].counter + 1 && !cf_id32_equal(&rows[i].previous, &rows[i - 1].id))
            return chain_broken("previous", &rows[i], "does not follow the one that is listed before it");
    }
    return check_distinct(rows, count);
}

cf_err *cf_reader_points(cf_reader *reader, cf_point_row **rows, size_t *count) {
    CF_AUTO_FREE cf_point_row *listed = NULL;
    size_t listed_count = 0;
    CF_TRY(reader->source->ops->points(reader->source->context, &listed, &listed_count));
    CF_TRY(check_chain(listed, listed_count));
    *rows = cf_take(listed);
    *count = listed_count;
    return NULL;
}

/* What is wrong with a point's object, as an error about the point. */
static cf_err *about(const cf_id32 *id, cf_err *err) {
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(id->bytes, 32, hex);
    if (cf_err_is(err, CF_ERR_FORMAT_VERSION)) return cf_wrap(err, CF_ERR_POINT_TOO_NEW, "recovery point %.16s", hex);
    bool other_bytes = cf_err_is(err, CF_ERR_BAD_REPLY) && strcmp(cf_err_reason(err), "digest") == 0;
    if (!cf_err_has(err, CF_F_DAMAGE) && !other_bytes) return cf_note(err, "recovery point %.16s", hex);
    return cf_wrap_reason(err, CF_ERR_POINT_DAMAGED, cf_err_reason(err), "recovery point %.16s", hex);
}

static cf_err *check_id(const cf_id32 *id, cf_span object) {
    cf_id32 sum;
    CF_TRY(cf_sha256(object, sum.bytes));
    if (!cf_id32_equal(&sum, id)) return cf_fail_reason(CF_ERR_SEAL_BROKEN, "id", "its content does not have its ID");
    return NULL;
}

static cf_err *open_object(cf_reader *reader, cf_point *point) {
    cf_span object = cf_buf_span(&point->object);
    CF_TRY(check_id(&point->id, object));
    CF_TRY(cf_point_decode(object, &point->frame));
    if (!cf_id16_equal(&point->frame.server, &reader->server))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "server", "it belongs to another server");
    const cf_secret *key;
    CF_TRY(cf_reader_session_key(reader, &point->frame.session, point->frame.key_record, &key));
    CF_TRY(cf_root_open(&point->frame, key, &point->root, &point->root_storage));
    CF_TRY(cf_summary_decode(point->frame.summary, &point->summary));
    return cf_map_peek(point->frame.map, &point->map_header);
}

static cf_err *point_new(const cf_id32 *id, cf_point **out) {
    cf_point *point = calloc(1, sizeof *point);
    if (!point) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a recovery point");
    point->id = *id;
    cf_buf_init(&point->object, CF_POINT_MAX);
    cf_buf_init(&point->root_storage, 2u * CF_POINT_ROOT_MAX);
    *out = point;
    return NULL;
}

static cf_err *opened(cf_reader *reader, cf_point *given, cf_point **out) {
    CF_AUTO(cf_point) point = given;
    cf_err *err = open_object(reader, point);
    if (err) return about(&point->id, err);
    *out = cf_take(point);
    return NULL;
}

cf_err *cf_reader_point_decode(cf_reader *reader, const cf_id32 *id, cf_span object, cf_point **out) {
    CF_AUTO(cf_point) point = NULL;
    CF_TRY(point_new(id, &point));
    cf_buf_put_span(&point->object, object);
    CF_TRY(cf_buf_check(&point->object, "a recovery point"));
    return opened(reader, cf_take(point), out);
}

/* The object, from the cache of trees when it is there and has its ID. */
static cf_err *get_object(cf_reader *reader, const cf_id32 *id, cf_buf *object) {
    char name[CF_TREE_CACHE_NAME];
    cf_tree_cache *trees = reader->trees;
    cf_tree_cache_id_name('p', cf_span_of(id->bytes, 32), name);
    if (trees && cf_tree_cache_get(trees, name, object)) {
        cf_err *err = check_id(id, cf_buf_span(object));
        if (!err) return NULL;
        cf_err_free(err);
        cf_tree_cache_drop(trees, name);
        cf_buf_reset(object);
    }
    CF_TRY(reader->source->ops->point(reader->source->context, id, object));
    CF_TRY(check_id(id, cf_buf_span(object)));
    cf_span bytes = cf_buf_span(object);
    if (trees && bytes.size <= CACHED_POINT_MAX) cf_tree_cache_put(trees, name, &bytes, 1);
    return NULL;
}

cf_err *cf_reader_point_open(cf_reader *reader, const cf_id32 *id, cf_point **out) {
    CF_AUTO(cf_point) point = NULL;
    CF_TRY(point_new(id, &point));
    cf_err *err = get_object(reader, id, &point->object);
    if (err) return cf_err_is(err, CF_ERR_POINT_NOT_FOUND) ? err : about(id, err);
    return opened(reader, cf_take(point), out);
}

cf_err *cf_reader_point_fetch(cf_reader *reader, const cf_id32 *id, cf_point **out) {
    CF_AUTO(cf_point) point = NULL;
    CF_TRY(point_new(id, &point));
    cf_err *err = reader->source->ops->point(reader->source->context, id, &point->object);
    if (err) return cf_err_is(err, CF_ERR_POINT_NOT_FOUND) ? err : about(id, err);
    return opened(reader, cf_take(point), out);
}

/* ---- The effective map ---- */

struct link {
    cf_buf object;
    cf_span map;
};

/* The maps from the point's own down to one that is no delta: fetched into links. *gone: a base is not there. */
static cf_err *fetch_chain(cf_reader *reader, const cf_point *point, struct link *links, size_t *count, bool *gone) {
    cf_map_header header = point->map_header;
    uint8_t chain_above = UINT8_MAX;
    while (header.delta) {
        if (*count >= 8 || header.chain >= chain_above)
            return cf_fail_reason(CF_ERR_FORMAT, "chain", "its liveness map builds on too many others");
        chain_above = header.chain;
        struct link *link = &links[(*count)++];
        cf_err *err = get_object(reader, &header.base, &link->object);
        if (err && (cf_err_is(err, CF_ERR_POINT_NOT_FOUND) || cf_err_is(err, CF_ERR_UNKNOWN_OBJECT)) &&
            reader->source->ops->map) {
            cf_err_free(err);
            *gone = true;
            return NULL;
        }
        CF_TRY(err);
        cf_point_frame frame;
        CF_TRY(cf_point_decode(cf_buf_span(&link->object), &frame));
        link->map = frame.map;
        CF_TRY(cf_map_peek(frame.map, &header));
    }
    return NULL;
}

static cf_err *decode_chain(const cf_point *point, const struct link *links, size_t count, cf_map **out) {
    CF_AUTO(cf_map) map = NULL;
    for (size_t i = count + 1; i > 0; i--) {
        cf_map_header header;
        cf_map *next = NULL;
        cf_span bytes = i > 1 ? links[i - 2].map : point->frame.map;
        CF_TRY(cf_map_decode(bytes, map, &header, &next));
        cf_map_free(map);
        map = next;
    }
    *out = cf_take(map);
    return NULL;
}

static cf_err *map_from_keeper(cf_reader *reader, const cf_point *point, cf_map **out) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_POINT_MAP_MAX);
    CF_TRY(reader->source->ops->map(reader->source->context, &point->id, &bytes));
    cf_map_header header;
    CF_TRY(cf_map_peek(cf_buf_span(&bytes), &header));
    if (header.delta) return cf_fail_reason(CF_ERR_FORMAT, "chain", "the vault gave a partial liveness map");
    return cf_map_decode(cf_buf_span(&bytes), NULL, &header, out);
}

cf_err *cf_reader_point_map(cf_reader *reader, cf_point *point) {
    if (point->map) return NULL;
    struct link links[8] = {0};
    for (size_t i = 0; i < 8; i++) cf_buf_init(&links[i].object, CF_POINT_MAX);
    size_t count = 0;
    bool gone = false;
    cf_err *err = fetch_chain(reader, point, links, &count, &gone);
    if (!err) err = gone ? map_from_keeper(reader, point, &point->map) : decode_chain(point, links, count, &point->map);
    for (size_t i = 0; i < 8; i++) cf_buf_wipe(&links[i].object);
    if (!err) err = cf_reader_add_extra(reader, &point->id, point->map);
    if (err) cf_map_free(cf_take(point->map));
    return err ? about(&point->id, err) : NULL;
}

/* ---- What a person means ---- */

static cf_err *not_found(const char *name) {
    return cf_fail(CF_ERR_POINT_NOT_FOUND, "no recovery point matches '%s'", name);
}

static cf_err *find_latest(const cf_point_row *rows, size_t count, size_t *index) {
    if (count == 0) return cf_fail(CF_ERR_POINT_NOT_FOUND, "there is no recovery point yet");
    *index = count - 1;
    for (size_t i = count; i > 0; i--)
        if (rows[i - 1].summary.selection == CF_SELECTION_POLICY) {
            *index = i - 1;
            break;
        }
    return NULL;
}

static cf_err *find_prefix(const cf_point_row *rows, size_t count, const char *name, size_t *index) {
    size_t size = strlen(name), hits = 0;
    char seen[200] = "";
    for (size_t i = 0; i < count; i++) {
        char hex[CF_HEX_SIZE(32)];
        cf_hex_encode(rows[i].id.bytes, 32, hex);
        if (size > 64 || strncasecmp(hex, name, size) != 0) continue;
        if (hits++ == 0) *index = i;
        size_t used = strlen(seen);
        if (used + 20 < sizeof seen) snprintf(seen + used, sizeof seen - used, "%s%.16s", used ? ", " : "", hex);
    }
    if (hits == 0) return not_found(name);
    if (hits > 1)
        return cf_fail(CF_ERR_POINT_AMBIGUOUS, "'%s' is the beginning of %zu recovery points: %s", name, hits, seen);
    return NULL;
}

/* "2026-11-20", "2026-11-20T21:00", "2026-11-20 21:00:05" in local time: the last second that it covers. */
static bool local_end(const char *name, int64_t *end) {
    static const struct {
        const char *format;
        int seconds;
    } forms[] = {{"%Y-%m-%d", 86400},
                 {"%Y-%m-%dT%H:%M", 60},
                 {"%Y-%m-%d %H:%M", 60},
                 {"%Y-%m-%dT%H:%M:%S", 1},
                 {"%Y-%m-%d %H:%M:%S", 1}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *rest = strptime(name, forms[i].format, &tm);
        if (!rest || *rest) continue;
        tm.tm_isdst = -1;
        if (forms[i].seconds == 86400) tm.tm_mday++; /* days are not all of the same length */
        time_t start = mktime(&tm);
        if (start == (time_t)-1) return false;
        *end = forms[i].seconds == 86400 ? (int64_t)start - 1 : (int64_t)start + forms[i].seconds - 1;
        return true;
    }
    return false;
}

static cf_err *find_time(const cf_point_row *rows, size_t count, const char *name, int64_t end, size_t *index) {
    bool any = false;
    for (size_t i = 0; i < count; i++)
        if (rows[i].summary.started <= INT64_MAX && (int64_t)rows[i].summary.started <= end) {
            *index = i;
            any = true;
        }
    return any ? NULL : not_found(name);
}

cf_err *cf_reader_point_find(const cf_point_row *rows, size_t count, const char *name, size_t *index) {
    if (strcmp(name, "latest") == 0) return find_latest(rows, count, index);
    cf_time time;
    int64_t end;
    if (cf_time_parse(name, &time)) return find_time(rows, count, name, time.seconds, index);
    if (local_end(name, &end)) return find_time(rows, count, name, end, index);
    size_t size = strlen(name);
    if (size < 4 || strspn(name, "0123456789abcdefABCDEF") != size)
        return cf_fail(CF_ERR_POINT_NOT_FOUND, "'%s' is not an ID (4 digits at least), a date, or latest", name);
    return find_prefix(rows, count, name, index);
}

cf_err *cf_reader_point_listed(cf_reader *reader, const cf_point_row *row, cf_point **out) {
    CF_AUTO(cf_point) point = NULL;
    CF_TRY(cf_reader_point_open(reader, &row->id, &point));
    if (point->frame.counter != row->counter || !cf_id32_equal(&point->frame.previous, &row->previous))
        return chain_broken("relabelled", row, "says another number or predecessor itself");
    CF_TRY(cf_reader_point_map(reader, point));
    *out = cf_take(point);
    return NULL;
}

cf_err *cf_reader_point_named(cf_reader *reader, const char *name, cf_point **out) {
    CF_AUTO_FREE cf_point_row *rows = NULL;
    size_t count, index = 0;
    CF_TRY(cf_reader_points(reader, &rows, &count));
    CF_TRY(cf_reader_point_find(rows, count, name, &index));
    return cf_reader_point_listed(reader, &rows[index], out);
}
