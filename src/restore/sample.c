#include "restore/sample.h"

#include <stdlib.h>
#include <string.h>

#include "digest/digest.h"
#include "repo/tree_walk.h"

typedef struct drawn {
    char *path; /* escaped */
    size_t path_size;
    uint64_t size;
} drawn;

typedef struct drawing {
    drawn *kept;
    size_t files, count;
    uint64_t bytes, seen;
    uint64_t random[64]; /* drawn in advance: one call for many files */
    size_t random_left;
} drawing;

static cf_err *next_random(drawing *d, uint64_t below, uint64_t *out) {
    if (d->random_left == 0) {
        CF_TRY(cf_random(d->random, sizeof d->random));
        d->random_left = sizeof d->random / sizeof *d->random;
    }
    *out = d->random[--d->random_left] % below; /* the bias of so small a divisor does not matter here */
    return NULL;
}

static bool special(uint8_t byte) {
    return byte == '*' || byte == '?' || byte == '[' || byte == '\\';
}

static cf_err *set(drawn *place, cf_span path, uint64_t size) {
    char *text = malloc(2 * path.size + 1);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a sample");
    size_t length = 0;
    for (size_t i = 0; i < path.size; i++) {
        if (special(path.data[i])) text[length++] = '\\';
        text[length++] = (char)path.data[i];
    }
    free(place->path);
    *place = (drawn){.path = text, .path_size = length, .size = size};
    return NULL;
}

/* Reservoir sampling: after n files each of them is kept with the same probability. */
static cf_err *on_entry(void *context, cf_span path, const cf_entry *entry, bool *enter) {
    (void)enter;
    drawing *d = context;
    if (entry->meta.type != CF_TYPE_FILE || entry->not_read || entry->meta.size > d->bytes) return NULL;
    d->seen++;
    if (d->count < d->files) return set(&d->kept[d->count++], path, entry->meta.size);
    uint64_t at = 0;
    CF_TRY(next_random(d, d->seen, &at));
    return at < d->files ? set(&d->kept[at], path, entry->meta.size) : NULL;
}

static void on_damaged(void *context, cf_span path, cf_err *err) {
    (void)context;
    (void)path;
    cf_err_free(err); /* the restore of the sample, and verify, name what is damaged */
}

static cf_err *shuffle(drawing *d) {
    for (size_t i = d->count; i > 1; i--) {
        uint64_t at = 0;
        CF_TRY(next_random(d, i, &at));
        drawn other = d->kept[at];
        d->kept[at] = d->kept[i - 1];
        d->kept[i - 1] = other;
    }
    return NULL;
}

/* Those that fit, in their random order. */
static cf_err *take(const drawing *d, cf_sample *sample) {
    cf_buf_init(&sample->bytes, (size_t)1 << 30);
    sample->patterns = calloc(d->count + 1, sizeof *sample->patterns);
    size_t *at = calloc(d->count + 1, sizeof *at);
    cf_err *err = sample->patterns && at ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a sample");
    for (size_t i = 0; i < d->count && !err; i++) {
        if (d->kept[i].size > d->bytes - sample->size) continue;
        at[sample->count] = sample->bytes.size;
        sample->patterns[sample->count++].size = d->kept[i].path_size;
        cf_buf_put(&sample->bytes, d->kept[i].path, d->kept[i].path_size);
        sample->size += d->kept[i].size;
    }
    if (!err) err = cf_buf_check(&sample->bytes, "a sample");
    for (size_t i = 0; i < sample->count && !err; i++) sample->patterns[i].data = sample->bytes.data + at[i];
    free(at);
    sample->files_total = d->seen;
    return err;
}

cf_err *cf_sample_draw(cf_reader *reader, const cf_point *point, size_t files, uint64_t bytes, cf_cancel *cancel,
                       cf_sample *sample) {
    CF_AUTO(cf_lane) lane = NULL;
    *sample = (cf_sample){0};
    drawing d = {.files = files, .bytes = bytes, .kept = calloc(files, sizeof *d.kept)};
    cf_tree_visitor visitor = {.entry = on_entry, .damaged = on_damaged, .context = &d, .cancel = cancel};
    cf_err *err = d.kept ? cf_lane_new(reader, &lane) : cf_fail(CF_ERR_OUT_OF_MEMORY, "a sample");
    if (!err) err = cf_tree_walk(lane, point->map, &point->root.tree, cf_span_text("/"), &visitor);
    if (!err) err = shuffle(&d);
    if (!err) err = take(&d, sample);
    for (size_t i = 0; i < d.count; i++) free(d.kept[i].path);
    free(d.kept);
    return err;
}

void cf_sample_wipe(cf_sample *sample) {
    free(sample->patterns);
    cf_buf_wipe(&sample->bytes);
    *sample = (cf_sample){0};
}
