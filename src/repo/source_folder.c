#include "repo/source_folder.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/file.h"
#include "sealed/slot.h"
#include "visible/merged.h"
#include "visible/pack.h"
#include "visible/relocation.h"

/* Where a pack stands. */
struct named {
    uint64_t number;
    uint32_t generation;
    bool merged; /* in that folder: from base on, size bytes */
    uint64_t base, size;
    char name[80]; /* of the object */
};

struct folder {
    int packs, records, points; /* descriptors */
    int merged, relocations;    /* -1: there is none */
    cf_id16 server;
    pthread_mutex_t lock; /* the list: packs may be added while we read */
    struct named *list;   /* ascending by number, then generation */
    size_t count, room;
};

/* "<16 digits>-<32 digits>" and for compacted packs ".<8 digits>". */
static bool parse_pack_name(const char *name, size_t size, struct named *out) {
    uint8_t number[8], session[16], generation[4] = {0};
    if ((size != 49 && size != 58) || name[16] != '-') return false;
    char part[33];
    memcpy(part, name, 16);
    part[16] = 0;
    if (!cf_hex_decode(part, number, 8)) return false;
    memcpy(part, name + 17, 32);
    part[32] = 0;
    if (!cf_hex_decode(part, session, 16)) return false;
    if (size == 58 && (name[49] != '.' || !cf_hex_decode(name + 50, generation, 4))) return false;
    *out = (struct named){0};
    for (int i = 0; i < 8; i++) out->number = out->number << 8 | number[i];
    for (int i = 0; i < 4; i++) out->generation = out->generation << 8 | generation[i];
    memcpy(out->name, name, size + 1);
    return true;
}

static int compare_named(const void *left, const void *right) {
    const struct named *a = left, *b = right;
    if (a->number != b->number) return a->number < b->number ? -1 : 1;
    return (a->generation > b->generation) - (a->generation < b->generation);
}

static cf_err *add_named(struct folder *folder, const struct named *found) {
    if (folder->count == folder->room) {
        size_t room = folder->room ? 2 * folder->room : 1024;
        struct named *grown = reallocarray(folder->list, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the list of packs");
        folder->list = grown;
        folder->room = room;
    }
    folder->list[folder->count++] = *found;
    return NULL;
}

static cf_err *scan_packs(struct folder *folder, cf_dir *dir) {
    CF_AUTO_FD int fd = openat(folder->packs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", "packs");
    CF_TRY(cf_dir_start(dir, fd, "packs"));
    for (;;) {
        cf_dir_entry entry;
        struct named found;
        bool more;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return NULL;
        if (parse_pack_name(entry.name, entry.size, &found)) CF_TRY(add_named(folder, &found));
    }
}

/* The packs of a merged object, from its head. */
static cf_err *add_merged(struct folder *folder, const char *name, const cf_id16 *id) {
    CF_AUTO_BUF cf_buf head;
    CF_AUTO_FREE cf_merged_pack *packs = NULL;
    uint64_t size;
    size_t count;
    CF_AUTO_FD int fd = openat(folder->merged, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return NULL; /* removed since it was listed */
    if (fd < 0) return cf_os_fail(errno, "open", name);
    cf_buf_init(&head, cf_merged_head_size(CF_MERGED_PACKS_MAX));
    CF_TRY(cf_file_size(fd, name, &size));
    uint8_t *place = cf_buf_reserve(&head, cf_merged_head_size(CF_MERGED_PACKS_MAX));
    if (!place) return cf_buf_check(&head, "the head of a merged object");
    CF_TRY(cf_file_read_exact(fd, 0, place, CF_MERGED_HEADER_SIZE, name));
    CF_TRY(cf_merged_count(cf_span_of(place, CF_MERGED_HEADER_SIZE), &folder->server, id, &count));
    CF_TRY(cf_file_read_exact(fd, 0, place, cf_merged_head_size(count), name));
    CF_TRY(cf_merged_head_decode(cf_span_of(place, cf_merged_head_size(count)), size, &folder->server, id, &packs,
                                 &count));
    for (size_t i = 0; i < count; i++) {
        struct named found = {.number = packs[i].number,
                              .generation = packs[i].generation,
                              .merged = true,
                              .base = packs[i].offset,
                              .size = packs[i].size};
        memcpy(found.name, name, CF_HEX_SIZE(16));
        CF_TRY(add_named(folder, &found));
    }
    return NULL;
}

static cf_err *scan_merged(struct folder *folder, cf_dir *dir) {
    if (folder->merged < 0) return NULL;
    CF_AUTO_FD int fd = openat(folder->merged, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", "merged");
    CF_TRY(cf_dir_start(dir, fd, "merged"));
    for (;;) {
        cf_dir_entry entry;
        cf_id16 id;
        bool more;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return NULL;
        if (entry.size != 32 || !cf_hex_decode(entry.name, id.bytes, 16)) continue;
        cf_err *err = add_merged(folder, entry.name, &id);
        if (cf_err_is(err, CF_ERR_OUT_OF_MEMORY)) return err;
        if (err) cf_log_error(CF_LOG_WARNING, err); /* its packs are missing, the rest is as readable as before */
        cf_err_free(err);
    }
}

static cf_err *scan(struct folder *folder) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    folder->count = 0;
    CF_TRY(scan_packs(folder, dir));
    CF_TRY(scan_merged(folder, dir));
    if (folder->count) qsort(folder->list, folder->count, sizeof *folder->list, compare_named);
    return NULL;
}

static bool find(const struct folder *folder, uint64_t number, struct named *out) {
    size_t low = 0, high = folder->count;
    while (low < high) { /* behind the last one with this number: the highest generation */
        size_t middle = low + (high - low) / 2;
        if (folder->list[middle].number <= number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || folder->list[low - 1].number != number) return false;
    *out = folder->list[low - 1];
    return true;
}

static cf_err *find_again(struct folder *folder, uint64_t number, bool fresh, bool *found, struct named *out) {
    pthread_mutex_lock(&folder->lock);
    *found = !fresh && find(folder, number, out);
    cf_err *err = *found ? NULL : scan(folder);
    if (!*found && !err) *found = find(folder, number, out);
    pthread_mutex_unlock(&folder->lock);
    return err;
}

/* A pack whose name is gone may have been written anew: the list is read again, once. */
static cf_err *open_pack(struct folder *folder, uint64_t number, int *fd, struct named *at) {
    bool found = true;
    for (int round = 0; round < 2 && found; round++) {
        CF_TRY(find_again(folder, number, round > 0, &found, at));
        if (!found) break;
        *fd = openat(at->merged ? folder->merged : folder->packs, at->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (*fd < 0 && errno != ENOENT) return cf_os_fail(errno, "open", at->name);
        if (*fd >= 0 && !at->merged) CF_TRY(cf_file_size(*fd, "pack", &at->size));
        if (*fd >= 0) return NULL;
    }
    return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "missing", "pack %llu is not there", (unsigned long long)number);
}

static cf_err *read_part(int fd, uint64_t offset, size_t size, uint8_t *out) {
    cf_err *err = cf_file_read_exact(fd, offset, out, size, "pack");
    if (err && strcmp(cf_err_reason(err), "short") == 0)
        return cf_wrap_reason(err, CF_ERR_PACK_UNREADABLE, "short", "the pack is shorter than it should be");
    return err;
}

static cf_err *read_piece(int fd, uint64_t offset, uint64_t size, cf_buf *out) {
    cf_buf_wipe(out);
    cf_buf_init(out, CF_PACK_MAX);
    uint8_t *place = cf_buf_reserve(out, size);
    if (!place) return cf_buf_check(out, "part of a pack");
    CF_TRY(read_part(fd, offset, size, place));
    out->size = size;
    return NULL;
}

static cf_err *read_frame(struct folder *folder, uint64_t number, cf_pack_frame *frame) {
    CF_AUTO_FD int fd = -1;
    struct named at;
    CF_TRY(open_pack(folder, number, &fd, &at));
    frame->size = at.size;
    CF_TRY(read_piece(fd, at.base, CF_PACK_HEADER_SIZE, &frame->header));
    if (frame->size < CF_PACK_HEADER_SIZE + CF_PACK_TRAILER_SIZE || frame->size > CF_PACK_MAX)
        return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "short", "the pack has %llu bytes",
                              (unsigned long long)frame->size);
    uint8_t trailer[CF_PACK_TRAILER_SIZE];
    CF_TRY(read_part(fd, at.base + frame->size - sizeof trailer, sizeof trailer, trailer));
    uint64_t table;
    uint32_t extents;
    CF_TRY(cf_pack_trailer_decode(cf_span_of(trailer, sizeof trailer), frame->size, &table, &extents));
    return read_piece(fd, at.base + table, frame->size - table, &frame->tail);
}

static cf_err *source_packs(void *context, const uint64_t *numbers, size_t count, cf_pack_frame *frames) {
    for (size_t i = 0; i < count; i++) {
        frames[i] = (cf_pack_frame){.number = numbers[i]};
        frames[i].error = read_frame(context, numbers[i], &frames[i]);
    }
    return NULL;
}

static cf_err *source_read(void *context, uint64_t pack, uint64_t offset, size_t size, uint8_t *out) {
    CF_AUTO_FD int fd = -1;
    struct named at;
    CF_TRY(open_pack(context, pack, &fd, &at));
    if (offset > at.size || size > at.size - offset)
        return cf_fail_reason(CF_ERR_PACK_UNREADABLE, "short", "the pack is shorter than it should be");
    return read_part(fd, at.base + offset, size, out);
}

static cf_err *source_record(void *context, const cf_id16 *session, cf_buf *out) {
    const struct folder *folder = context;
    char name[CF_HEX_SIZE(16)];
    cf_hex_encode(session->bytes, 16, name);
    return cf_file_read(folder->records, name, CF_RECORD_SIZE, out);
}

/* "<counter>-<id>" */
static bool parse_point_name(const char *name, size_t size, uint64_t *counter, cf_id32 *id) {
    uint8_t number[8];
    char part[17];
    if (size != 81 || name[16] != '-') return false;
    memcpy(part, name, 16);
    part[16] = 0;
    if (!cf_hex_decode(part, number, 8) || !cf_hex_decode(name + 17, id->bytes, 32)) return false;
    *counter = 0;
    for (int i = 0; i < 8; i++) *counter = *counter << 8 | number[i];
    return true;
}

static cf_err *read_row(const struct folder *folder, const char *name, cf_point_row *row) {
    CF_AUTO_BUF cf_buf object;
    cf_buf_init(&object, CF_POINT_MAX);
    CF_TRY(cf_file_read(folder->points, name, CF_POINT_MAX, &object));
    cf_point_frame frame;
    CF_TRY(cf_note(cf_point_decode(cf_buf_span(&object), &frame), "%s", name));
    row->previous = frame.previous;
    row->size = object.size;
    CF_TRY(cf_summary_decode(frame.summary, &row->summary));
    row->received.seconds = (int64_t)row->summary.finished; /* nobody noted when it came */
    return NULL;
}

static int compare_rows(const void *left, const void *right) {
    const cf_point_row *a = left, *b = right;
    return (a->counter > b->counter) - (a->counter < b->counter);
}

/* What is not the name of a point is passed over; wanted == NULL: all. */
static cf_err *each_point(const struct folder *folder, const cf_id32 *wanted, cf_buf *names) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    CF_AUTO_FD int fd = openat(folder->points, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", "points");
    CF_TRY(cf_dir_start(dir, fd, "points"));
    for (;;) {
        cf_dir_entry entry;
        bool more;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return cf_buf_check(names, "the list of points");
        uint64_t counter;
        cf_id32 id;
        if (!parse_point_name(entry.name, entry.size, &counter, &id) || (wanted && !cf_id32_equal(wanted, &id)))
            continue;
        cf_buf_put(names, entry.name, entry.size + 1);
    }
}

static cf_err *source_points(void *context, cf_point_row **rows, size_t *count) {
    const struct folder *folder = context;
    CF_AUTO_BUF cf_buf names;
    cf_buf_init(&names, 256u << 20);
    CF_TRY(each_point(folder, NULL, &names));
    size_t total = names.size / 82;
    CF_AUTO_FREE cf_point_row *list = calloc(total + 1, sizeof *list);
    if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu recovery points", total);
    for (size_t i = 0; i < total; i++) {
        const char *name = (const char *)names.data + i * 82;
        (void)parse_point_name(name, 81, &list[i].counter, &list[i].id); /* it passed once already */
        CF_TRY(read_row(folder, name, &list[i]));
    }
    qsort(list, total, sizeof *list, compare_rows);
    *rows = cf_take(list);
    *count = total;
    return NULL;
}

static cf_err *source_point(void *context, const cf_id32 *id, cf_buf *out) {
    const struct folder *folder = context;
    CF_AUTO_BUF cf_buf names;
    cf_buf_init(&names, 256u << 20);
    CF_TRY(each_point(folder, id, &names));
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(id->bytes, 32, hex);
    if (names.size == 0) return cf_fail(CF_ERR_POINT_NOT_FOUND, "recovery point %.16s is not there", hex);
    return cf_file_read(folder->points, (const char *)names.data, CF_POINT_MAX, out);
}

/* ---- Relocation records ---- */

struct record {
    uint64_t number;
    cf_id32 id;
};

static int compare_records(const void *left, const void *right) {
    const struct record *a = left, *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

/* "<number>-<id>", like the name of a point. */
static cf_err *list_records(const struct folder *folder, cf_buf *records) {
    CF_AUTO(cf_dir) dir = NULL;
    CF_TRY(cf_dir_new(&dir));
    CF_AUTO_FD int fd = openat(folder->relocations, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", "relocations");
    CF_TRY(cf_dir_start(dir, fd, "relocations"));
    for (;;) {
        cf_dir_entry entry;
        struct record found = {0};
        bool more;
        CF_TRY(cf_dir_next(dir, &entry, &more));
        if (!more) return cf_buf_check(records, "the list of relocation records");
        if (parse_point_name(entry.name, entry.size, &found.number, &found.id))
            cf_buf_put(records, &found, sizeof found);
    }
}

static cf_err *source_relocations(void *context, cf_id32 **ids, size_t *count) {
    const struct folder *folder = context;
    CF_AUTO_BUF cf_buf found;
    cf_buf_init(&found, 256u << 20);
    if (folder->relocations >= 0) CF_TRY(list_records(folder, &found));
    size_t total = found.size / sizeof(struct record);
    CF_AUTO_FREE struct record *records = calloc(total + 1, sizeof *records);
    cf_id32 *list = calloc(total + 1, sizeof *list);
    if (!records || !list) {
        free(list);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for %zu relocation records", total);
    }
    if (total) memcpy(records, found.data, found.size);
    qsort(records, total, sizeof *records, compare_records);
    for (size_t i = 0; i < total; i++) list[i] = records[i].id;
    *ids = list;
    *count = total;
    return NULL;
}

static cf_err *source_relocation(void *context, const cf_id32 *id, cf_buf *out) {
    const struct folder *folder = context;
    CF_AUTO_BUF cf_buf found;
    char name[82], hex[CF_HEX_SIZE(32)];
    cf_buf_init(&found, 256u << 20);
    cf_hex_encode(id->bytes, 32, hex);
    if (folder->relocations >= 0) CF_TRY(list_records(folder, &found));
    for (size_t at = 0; at < found.size; at += sizeof(struct record)) {
        struct record one;
        memcpy(&one, found.data + at, sizeof one);
        if (!cf_id32_equal(&one.id, id)) continue;
        snprintf(name, sizeof name, "%016llx-%s", (unsigned long long)one.number, hex);
        return cf_file_read(folder->relocations, name, CF_RELOCATION_MAX, out);
    }
    return cf_fail(CF_ERR_OBJECT_MISSING, "relocation record %.16s is not there", hex);
}

static void source_close(void *context) {
    struct folder *folder = context;
    if (folder->packs >= 0) close(folder->packs);
    if (folder->records >= 0) close(folder->records);
    if (folder->points >= 0) close(folder->points);
    if (folder->merged >= 0) close(folder->merged);
    if (folder->relocations >= 0) close(folder->relocations);
    pthread_mutex_destroy(&folder->lock);
    free(folder->list);
    free(folder);
}

static const cf_source_ops folder_ops = {
    .points = source_points,
    .point = source_point,
    .record = source_record,
    .packs = source_packs,
    .read = source_read,
    .relocations = source_relocations,
    .relocation = source_relocation,
    .close = source_close,
};

static cf_err *open_parts(struct folder *folder, const char *dir, const cf_id16 *server) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, hex);
    struct {
        const char *name;
        int *fd;
        bool may_lack;
    } parts[] = {{"packs", &folder->packs, false},
                 {"records", &folder->records, false},
                 {"points", &folder->points, false},
                 {"merged", &folder->merged, true},
                 {"relocations", &folder->relocations, true}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        CF_AUTO_FREE char *path = cf_text_format("%s/servers/%s/%s", dir, hex, parts[i].name);
        if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
        *parts[i].fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*parts[i].fd < 0 && (errno != ENOENT || !parts[i].may_lack)) return cf_os_fail(errno, "open", path);
    }
    return NULL;
}

cf_err *cf_source_folder_open(const char *dir, const cf_id16 *server, cf_source **out) {
    CF_AUTO(cf_source) source = calloc(1, sizeof *source);
    struct folder *folder = calloc(1, sizeof *folder);
    if (!source || !folder) {
        free(folder);
        free(cf_take(source));
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to open a folder of objects");
    }
    folder->packs = folder->records = folder->points = folder->merged = folder->relocations = -1;
    folder->server = *server;
    pthread_mutex_init(&folder->lock, NULL);
    *source = (cf_source){&folder_ops, folder};
    CF_TRY(open_parts(folder, dir, server));
    *out = cf_take(source);
    return NULL;
}
