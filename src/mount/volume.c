#include "mount/volume.h"

#include <pthread.h>
#include <stdlib.h>

/* Folders that were looked at lately, so that a deep one is not walked to from the root each time. */
enum { HINTS = 4096 };

struct cf_volume {
    cf_point *point;
    cf_pages *pages;
    uint64_t end; /* of all numbers */
    pthread_mutex_t lock;
    cf_folder hint[HINTS]; /* number 0: none */
};

cf_err *cf_volume_new(cf_point *point, cf_pages *pages, cf_volume **out) {
    cf_volume *volume = calloc(1, sizeof *volume);
    if (!volume) {
        cf_point_close(point);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a recovery point");
    }
    volume->point = point;
    volume->pages = pages;
    volume->end = CF_NUMBERS_MAX;
    pthread_mutex_init(&volume->lock, NULL);
    *out = volume;
    return NULL;
}

void cf_volume_free(cf_volume *volume) {
    if (!volume) return;
    cf_point_close(volume->point);
    pthread_mutex_destroy(&volume->lock);
    free(volume);
}

const cf_point *cf_volume_point(const cf_volume *volume) {
    return volume->point;
}

void cf_place_wipe(cf_place *place) {
    cf_page_release(place->page);
    *place = (cf_place){0};
}

/* ---- Hints ---- */

static cf_folder *hint_of(cf_volume *volume, uint64_t number) {
    return &volume->hint[(number * 0x9E3779B97F4A7C15ull >> 32) % HINTS];
}

static void remember(cf_volume *volume, const cf_folder *folder) {
    if (folder->number == 0) return;
    pthread_mutex_lock(&volume->lock);
    *hint_of(volume, folder->number) = *folder;
    pthread_mutex_unlock(&volume->lock);
}

static bool recall(cf_volume *volume, uint64_t number, cf_folder *folder) {
    pthread_mutex_lock(&volume->lock);
    const cf_folder *hint = hint_of(volume, number);
    bool known = hint->number == number;
    if (known) *folder = *hint;
    pthread_mutex_unlock(&volume->lock);
    return known;
}

static cf_folder root_of(const cf_volume *volume) {
    return (cf_folder){.number = 0, .end = volume->end, .node = volume->point->root.tree};
}

static cf_folder folder_of(const cf_place *place, const cf_entry *entry) {
    return (cf_folder){.number = place->number,
                       .end = place->end,
                       .node = entry->node,
                       .unread = entry->not_read ? (entry->code ? entry->code : CF_ERR_ENTRY_NOT_BACKED_UP) : 0};
}

void cf_volume_learn(cf_volume *volume, const cf_place *place, const cf_entry *entry) {
    if (entry->meta.type != CF_TYPE_DIRECTORY) return;
    cf_folder folder = folder_of(place, entry);
    remember(volume, &folder);
}

/* ---- Within one folder ---- */

/* What is looked for: a number, or (name.data not NULL) a name. */
typedef struct cf_aim {
    uint64_t number;
    cf_span name;
} cf_aim;

/* The part of a split node that can hold it. */
static uint32_t choose_part(const cf_page *page, const cf_aim *aim, uint64_t base) {
    if (!aim->name.data) return cf_page_by_number(page, aim->number - base);
    uint32_t index = cf_page_by_name(page, aim->name);
    bool exact = index < cf_page_count(page) && cf_span_equal(cf_page_name(page, index), aim->name);
    return exact || index == 0 ? index : index - 1;
}

static cf_err *wrong_level(void) {
    return cf_fail_reason(CF_ERR_NODE_DAMAGED, "level", "a part of a split folder has the wrong level");
}

static cf_err *wrong_totals(void) {
    return cf_fail_reason(CF_ERR_NODE_DAMAGED, "totals", "a folder's totals do not fit what is in it");
}

static uint64_t total_of(const cf_page *page) {
    return cf_page_count(page) ? cf_page_end(page, cf_page_count(page) - 1) : 0;
}

/* The page of entries that holds the aim; *base is the number of its first. *page NULL: behind the last. */
static cf_err *find_page(cf_volume *volume, cf_lane *lane, const cf_folder *folder, const cf_aim *aim, cf_page **page,
                         uint64_t *base) {
    cf_ref node = folder->node;
    uint64_t first = folder->number + 1, end = folder->end;
    unsigned level = CF_DEPTH_MAX + 1; /* of the split node above; not checked for the first */
    for (bool top = true;; top = false) {
        CF_AUTO(cf_page) got = NULL;
        CF_TRY(cf_pages_get(volume->pages, lane, volume->point->map, &node, &got));
        bool split = cf_page_is_split(got);
        if (!top && (split ? cf_page_level(got) != level - 1 : level != 1)) return wrong_level();
        if (!top && total_of(got) != end - first) return wrong_totals(); /* or a part's end would go unseen */
        if (!split) {
            *base = first;
            *page = cf_take(got);
            return NULL;
        }
        uint32_t index = choose_part(got, aim, first);
        if (index >= cf_page_count(got)) {
            *page = NULL;
            return NULL;
        }
        cf_part part;
        cf_page_part(got, index, &part);
        if (cf_page_end(got, index) > end - first) return wrong_totals();
        end = first + cf_page_end(got, index);
        first += cf_page_begin(got, index);
        node = part.node;
        level = cf_page_level(got);
    }
}

/* Takes page. */
static cf_err *place_at(const cf_folder *folder, cf_page *page, uint64_t base, uint32_t index, cf_place *place) {
    CF_AUTO(cf_page) owned = page;
    if (cf_page_end(page, index) > folder->end - base) return wrong_totals();
    cf_place made = {
        .index = index, .number = base + cf_page_begin(page, index), .end = base + cf_page_end(page, index)};
    made.page = cf_take(owned);
    cf_place_wipe(place);
    *place = made;
    return NULL;
}

cf_err *cf_volume_child(cf_volume *volume, cf_lane *lane, const cf_folder *folder, cf_span name, cf_place *place,
                        bool *found) {
    cf_page *page;
    uint64_t base;
    cf_aim aim = {.name = name};
    CF_TRY(find_page(volume, lane, folder, &aim, &page, &base));
    uint32_t index = page ? cf_page_by_name(page, name) : 0;
    *found = page && index < cf_page_count(page) && cf_span_equal(cf_page_name(page, index), name);
    if (*found) return place_at(folder, page, base, index, place);
    cf_page_release(page);
    return NULL;
}

cf_err *cf_volume_from(cf_volume *volume, cf_lane *lane, const cf_folder *folder, uint64_t number, cf_place *place,
                       bool *more) {
    if (place->page && number == place->end && place->index + 1 < cf_page_count(place->page)) { /* the next one */
        uint64_t base = place->number - cf_page_begin(place->page, place->index);
        uint64_t end = cf_page_end(place->page, place->index + 1);
        if (end > folder->end - base) return wrong_totals();
        place->index++;
        place->number = place->end;
        place->end = base + end;
        *more = true;
        return NULL;
    }
    *more = false;
    if (number >= folder->end) return NULL;
    cf_page *page;
    uint64_t base;
    cf_aim aim = {.number = number <= folder->number ? folder->number + 1 : number};
    CF_TRY(find_page(volume, lane, folder, &aim, &page, &base));
    if (!page) return NULL;
    if (aim.number < base) aim.number = base;
    uint32_t index = cf_page_by_number(page, aim.number - base);
    if (index < cf_page_count(page) && base + cf_page_begin(page, index) < aim.number)
        index++; /* within it: the next */
    if (index >= cf_page_count(page)) {
        /* Behind the page: perhaps there is another part; else the end. */
        uint64_t behind = index ? base + cf_page_end(page, index - 1) : base;
        cf_page_release(page);
        if (behind <= aim.number) return NULL;
        return cf_volume_from(volume, lane, folder, behind, place, more);
    }
    CF_TRY(place_at(folder, page, base, index, place));
    *more = true;
    return NULL;
}

/* ---- From the root ---- */

/* One step down towards number: *done when the place is the one looked for, else folder is the next. */
static cf_err *step(cf_volume *volume, cf_lane *lane, cf_folder *folder, uint64_t number, cf_place *place, bool *done) {
    if (folder->unread || number <= folder->number || number >= folder->end) return wrong_totals();
    cf_page *page;
    uint64_t base;
    cf_aim aim = {.number = number};
    CF_TRY(find_page(volume, lane, folder, &aim, &page, &base));
    uint32_t index = page ? cf_page_by_number(page, number - base) : 0;
    if (!page || index >= cf_page_count(page)) {
        cf_page_release(page);
        return wrong_totals();
    }
    CF_TRY(place_at(folder, page, base, index, place));
    *done = place->number == number;
    if (*done) return NULL;
    cf_entry entry;
    cf_page_lock(place->page);
    cf_page_entry(place->page, place->index, &entry);
    bool is_folder = entry.meta.type == CF_TYPE_DIRECTORY;
    cf_folder next = {0};
    if (is_folder) next = folder_of(place, &entry);
    cf_page_unlock(place->page);
    if (!is_folder) return wrong_totals();
    *folder = next;
    return NULL;
}

cf_err *cf_volume_at_in(cf_volume *volume, cf_lane *lane, uint64_t number, cf_folder *folder, cf_place *place) {
    *folder = root_of(volume);
    for (bool done = false; !done;) CF_TRY(step(volume, lane, folder, number, place, &done));
    return NULL;
}

cf_err *cf_volume_at(cf_volume *volume, cf_lane *lane, uint64_t number, cf_place *place) {
    cf_folder folder;
    return cf_volume_at_in(volume, lane, number, &folder, place);
}

cf_err *cf_volume_folder(cf_volume *volume, cf_lane *lane, uint64_t number, cf_folder *folder, bool *is_folder) {
    *is_folder = true;
    if (number == 0) {
        *folder = root_of(volume);
        return NULL;
    }
    if (recall(volume, number, folder)) return NULL;
    CF_AUTO_PLACE cf_place place = {0};
    CF_TRY(cf_volume_at(volume, lane, number, &place));
    cf_entry entry;
    cf_page_lock(place.page);
    cf_page_entry(place.page, place.index, &entry);
    *is_folder = entry.meta.type == CF_TYPE_DIRECTORY;
    if (*is_folder) *folder = folder_of(&place, &entry);
    cf_page_unlock(place.page);
    if (*is_folder) remember(volume, folder);
    return NULL;
}

void cf_volume_path(cf_volume *volume, cf_lane *lane, uint64_t number, cf_buf *out) {
    cf_folder folder = root_of(volume);
    CF_AUTO_PLACE cf_place place = {0};
    for (bool done = number == 0; !done;) {
        cf_err *err = step(volume, lane, &folder, number, &place, &done);
        if (err) { /* it is only a message's ornament */
            cf_err_free(err);
            break;
        }
        cf_buf_put_u8(out, '/');
        cf_buf_put_span(out, cf_page_name(place.page, place.index));
    }
    if (out->size == 0) cf_buf_put_u8(out, '/');
}
