#include "mount/points.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"

struct slot {
    cf_point_row row;
    char name[CF_POINT_NAME_SIZE];
    bool gone, seen;
    pthread_mutex_t opening;
    cf_volume *volume; /* this and below: under the list's lock */
    unsigned refs;
    uint64_t used; /* in the order of use */
};

struct cf_points {
    cf_reader *reader;
    cf_pages *pages;
    pthread_mutex_t lock;
    struct slot **slots;
    size_t count, room, open;
    uint64_t uses;
};

void cf_point_name(int64_t started, char name[CF_POINT_NAME_SIZE]) {
    time_t seconds = (time_t)started;
    struct tm tm;
    if (!localtime_r(&seconds, &tm) || strftime(name, CF_POINT_NAME_SIZE, "%Y-%m-%d_%H-%M-%S", &tm) == 0)
        snprintf(name, CF_POINT_NAME_SIZE, "%lld", (long long)started);
}

static void slot_free(struct slot *slot) {
    if (!slot) return;
    cf_volume_free(slot->volume);
    pthread_mutex_destroy(&slot->opening);
    free(slot);
}

void cf_points_free(cf_points *points) {
    if (!points) return;
    for (size_t i = 0; i < points->count; i++) slot_free(points->slots[i]);
    free(points->slots);
    pthread_mutex_destroy(&points->lock);
    free(points);
}

/* With the lock held, all of these. */

static bool name_taken(const cf_points *points, const char *name) {
    for (size_t i = 0; i < points->count; i++)
        if (strcmp(points->slots[i]->name, name) == 0) return true;
    return false;
}

/* Two within a second, or in the hour that a clock change repeats: the later gets its ID behind the time. */
static void give_name(const cf_points *points, struct slot *slot) {
    cf_point_name((int64_t)slot->row.summary.started, slot->name);
    if (!name_taken(points, slot->name)) return;
    size_t used = strlen(slot->name);
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(slot->row.id.bytes, 32, hex);
    snprintf(slot->name + used, sizeof slot->name - used, "_%.12s", hex);
}

static cf_err *add(cf_points *points, const cf_point_row *row) {
    if (points->count >= CF_POINTS_MAX) return cf_fail(CF_ERR_TOO_LARGE, "more recovery points than can be mounted");
    if (points->count == points->room) {
        size_t room = points->room ? 2 * points->room : 64;
        struct slot **grown = reallocarray(points->slots, room, sizeof *grown);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for recovery points");
        points->slots = grown;
        points->room = room;
    }
    struct slot *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for recovery points");
    made->row = *row;
    made->seen = true;
    pthread_mutex_init(&made->opening, NULL);
    give_name(points, made);
    points->slots[points->count++] = made;
    return NULL;
}

/* Slots are in the order of their counters, and so are rows. */
static struct slot *by_counter(const cf_points *points, const cf_point_row *row) {
    size_t low = 0, high = points->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (points->slots[middle]->row.counter < row->counter)
            low = middle + 1;
        else
            high = middle;
    }
    struct slot *found = low < points->count ? points->slots[low] : NULL;
    return found && cf_id32_equal(&found->row.id, &row->id) ? found : NULL;
}

static cf_err *update(cf_points *points, const cf_point_row *rows, size_t count, bool *changed) {
    const uint64_t newest = points->count ? points->slots[points->count - 1]->row.counter : 0;
    for (size_t i = 0; i < points->count; i++) points->slots[i]->seen = false;
    cf_err *err = NULL;
    for (size_t i = 0; !err && i < count; i++) {
        struct slot *known = by_counter(points, &rows[i]);
        if (known) {
            known->seen = true;
        } else if (rows[i].counter > newest) { /* an older one that was not listed before stays out */
            *changed = true;
            err = add(points, &rows[i]);
        }
    }
    for (size_t i = 0; !err && i < points->count; i++) {
        if (points->slots[i]->gone == !points->slots[i]->seen) continue;
        points->slots[i]->gone = !points->slots[i]->seen;
        *changed = true;
    }
    return err;
}

cf_err *cf_points_update(cf_points *points, const cf_point_row *rows, size_t count, bool *changed) {
    *changed = false;
    pthread_mutex_lock(&points->lock);
    cf_err *err = update(points, rows, count, changed);
    pthread_mutex_unlock(&points->lock);
    return err;
}

cf_err *cf_points_new(cf_reader *reader, cf_pages *pages, const cf_point_row *rows, size_t count, cf_points **out) {
    CF_AUTO(cf_points) points = calloc(1, sizeof *points);
    if (!points) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for recovery points");
    points->reader = reader;
    points->pages = pages;
    pthread_mutex_init(&points->lock, NULL);
    bool changed;
    CF_TRY(cf_points_update(points, rows, count, &changed));
    *out = cf_take(points);
    return NULL;
}

size_t cf_points_slots(cf_points *points) {
    pthread_mutex_lock(&points->lock);
    size_t count = points->count;
    pthread_mutex_unlock(&points->lock);
    return count;
}

bool cf_points_info(cf_points *points, size_t slot, cf_point_info *info) {
    pthread_mutex_lock(&points->lock);
    bool there = slot < points->count && !points->slots[slot]->gone;
    if (there) {
        memcpy(info->name, points->slots[slot]->name, sizeof info->name);
        info->id = points->slots[slot]->row.id;
        info->summary = points->slots[slot]->row.summary;
    }
    pthread_mutex_unlock(&points->lock);
    return there;
}

bool cf_points_find(cf_points *points, cf_span name, size_t *slot) {
    bool found = false;
    pthread_mutex_lock(&points->lock);
    for (size_t i = 0; !found && i < points->count; i++) {
        found = !points->slots[i]->gone && cf_span_equal(cf_span_text(points->slots[i]->name), name);
        if (found) *slot = i;
    }
    pthread_mutex_unlock(&points->lock);
    return found;
}

bool cf_points_latest(cf_points *points, size_t *slot) {
    bool found = false, policy = false;
    pthread_mutex_lock(&points->lock);
    for (size_t i = points->count; !policy && i > 0; i--) {
        if (points->slots[i - 1]->gone) continue;
        policy = points->slots[i - 1]->row.summary.selection == CF_SELECTION_POLICY;
        if (policy || !found) *slot = i - 1;
        found = true;
    }
    pthread_mutex_unlock(&points->lock);
    return found;
}

/* ---- Opening ---- */

/* With the lock held: closes what was used longest ago. */
static void close_some(cf_points *points) {
    while (points->open > CF_POINTS_OPEN) {
        struct slot *oldest = NULL;
        for (size_t i = 0; i < points->count; i++) {
            struct slot *candidate = points->slots[i];
            if (candidate->volume && candidate->refs == 0 && (!oldest || candidate->used < oldest->used))
                oldest = candidate;
        }
        if (!oldest) return;
        cf_volume_free(cf_take(oldest->volume));
        points->open--;
    }
}

static bool pin_open(cf_points *points, struct slot *slot, cf_volume **volume) {
    pthread_mutex_lock(&points->lock);
    bool open = slot->volume != NULL;
    if (open) {
        slot->refs++;
        slot->used = ++points->uses;
        *volume = slot->volume;
    }
    pthread_mutex_unlock(&points->lock);
    return open;
}

static cf_err *open_slot(cf_points *points, struct slot *slot, cf_volume **volume) {
    if (pin_open(points, slot, volume)) return NULL; /* by another thread, meanwhile */
    cf_point *point = NULL;
    cf_volume *made = NULL;
    CF_TRY(cf_reader_point_listed(points->reader, &slot->row, &point));
    CF_TRY(cf_volume_new(point, points->pages, &made));
    pthread_mutex_lock(&points->lock);
    slot->volume = made;
    slot->refs++;
    slot->used = ++points->uses;
    points->open++;
    close_some(points);
    pthread_mutex_unlock(&points->lock);
    *volume = made;
    return NULL;
}

cf_err *cf_points_pin(cf_points *points, size_t index, cf_volume **volume) {
    pthread_mutex_lock(&points->lock);
    struct slot *slot = index < points->count ? points->slots[index] : NULL;
    pthread_mutex_unlock(&points->lock);
    if (!slot) return cf_fail(CF_ERR_POINT_NOT_FOUND, "the mount has no such recovery point");
    if (pin_open(points, slot, volume)) return NULL;
    pthread_mutex_lock(&slot->opening);
    cf_err *err = open_slot(points, slot, volume);
    pthread_mutex_unlock(&slot->opening);
    return err;
}

void cf_points_unpin(cf_points *points, size_t index) {
    pthread_mutex_lock(&points->lock);
    points->slots[index]->refs--;
    close_some(points);
    pthread_mutex_unlock(&points->lock);
}
