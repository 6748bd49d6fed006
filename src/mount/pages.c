#include "mount/pages.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 16384 };

struct cf_page {
    cf_pages *pages;
    cf_ref node;
    cf_buf bytes;
    cf_node_reader *reader; /* moved under the lock */
    uint32_t count;
    uint32_t *place; /* of each element in the node */
    uint64_t *end;   /* numbers up to and with it   */
    size_t cost;
    pthread_mutex_t lock;
    unsigned refs; /* this and below: under the pages' lock */
    cf_page *chain, *older, *newer;
};

struct cf_pages {
    pthread_mutex_t lock;
    cf_ahead *ahead;
    size_t limit, held;
    cf_page *bucket[BUCKETS];
    cf_page *oldest, *newest;
};

cf_err *cf_pages_new(size_t limit, cf_ahead *ahead, cf_pages **out) {
    cf_pages *pages = calloc(1, sizeof *pages);
    if (!pages) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for folders");
    pages->limit = limit;
    pages->ahead = ahead;
    pthread_mutex_init(&pages->lock, NULL);
    *out = pages;
    return NULL;
}

static void page_free(cf_page *page) {
    if (!page) return;
    cf_node_reader_close(page->reader);
    cf_buf_wipe(&page->bytes);
    free(page->place);
    free(page->end);
    pthread_mutex_destroy(&page->lock);
    free(page);
}

void cf_pages_free(cf_pages *pages) {
    if (!pages) return;
    while (pages->oldest) {
        cf_page *next = pages->oldest->newer;
        page_free(pages->oldest);
        pages->oldest = next;
    }
    pthread_mutex_destroy(&pages->lock);
    free(pages);
}

/* ---- The table; all with its lock held ---- */

static cf_page **bucket_of(cf_pages *pages, const cf_ref *node) {
    uint32_t hash; /* the ID is a hash already */
    memcpy(&hash, node->id.bytes, sizeof hash);
    return &pages->bucket[hash % BUCKETS];
}

static bool same_ref(const cf_ref *a, const cf_ref *b) {
    return cf_id32_equal(&a->id, &b->id) && a->pack == b->pack && a->segment == b->segment && a->offset == b->offset &&
           a->length == b->length;
}

static cf_page *find(cf_pages *pages, const cf_ref *node) {
    for (cf_page *page = *bucket_of(pages, node); page; page = page->chain)
        if (same_ref(&page->node, node)) return page;
    return NULL;
}

static void unlink_age(cf_pages *pages, cf_page *page) {
    *(page->older ? &page->older->newer : &pages->oldest) = page->newer;
    *(page->newer ? &page->newer->older : &pages->newest) = page->older;
}

static void append_age(cf_pages *pages, cf_page *page) {
    page->older = pages->newest;
    page->newer = NULL;
    *(pages->newest ? &pages->newest->newer : &pages->oldest) = page;
    pages->newest = page;
}

static void pin(cf_pages *pages, cf_page *page) {
    page->refs++;
    unlink_age(pages, page);
    append_age(pages, page);
}

static void shrink(cf_pages *pages) {
    for (cf_page *page = pages->oldest, *next; page && pages->held > pages->limit; page = next) {
        next = page->newer;
        if (page->refs) continue;
        cf_page **link = bucket_of(pages, &page->node);
        while (*link != page) link = &(*link)->chain;
        *link = page->chain;
        unlink_age(pages, page);
        pages->held -= page->cost;
        page_free(page);
    }
}

/* ---- Making one ---- */

static cf_err *count_element(cf_page *page, uint32_t index, uint64_t *sum) {
    cf_totals totals = {0};
    uint64_t take = 0;
    page->place[index] = (uint32_t)cf_node_reader_tell(page->reader);
    if (cf_page_is_split(page)) {
        cf_part part = {0};
        (void)cf_node_reader_part(page->reader, &part); /* there are count of them */
        totals = part.totals;
    } else {
        cf_entry entry = {0};
        (void)cf_node_reader_entry(page->reader, &entry);
        if (entry.meta.type == CF_TYPE_DIRECTORY) totals = entry.totals;
        take = 1;
    }
    /* A part counts its entries as well as what is below them. */
    const uint64_t parts[3] = {totals.files, totals.directories, totals.others};
    for (int i = 0; i < 3; i++) {
        if (parts[i] > CF_NUMBERS_MAX - take)
            return cf_fail_reason(CF_ERR_NODE_DAMAGED, "totals", "a folder claims more entries than can be");
        take += parts[i];
    }
    if (take > CF_NUMBERS_MAX - *sum)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "totals", "a folder claims more entries than can be");
    *sum += take;
    page->end[index] = *sum;
    return NULL;
}

static cf_err *fill(cf_page *page, cf_lane *lane, const cf_map *map) {
    cf_buf_init(&page->bytes, CF_NODE_MAX);
    const cf_ref *node = &page->node;
    cf_ahead_wait(page->pages->ahead, node->pack, node->segment);
    CF_TRY(cf_lane_chunk(lane, map, CF_KIND_TREE, node, &page->bytes));
    cf_ahead_touch(page->pages->ahead, map, CF_KIND_TREE, node->pack, node->segment);
    CF_TRY(cf_node_reader_open(cf_buf_span(&page->bytes), &page->reader));
    if (cf_node_reader_kind(page->reader) == CF_NODE_LIST)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "kind", "a list of references stands where a folder should");
    page->count = cf_node_reader_count(page->reader);
    page->place = malloc(page->count * sizeof *page->place + 1);
    page->end = malloc(page->count * sizeof *page->end + 1);
    if (!page->place || !page->end) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a folder");
    uint64_t sum = 0;
    for (uint32_t i = 0; i < page->count; i++) CF_TRY(count_element(page, i, &sum));
    page->cost = sizeof *page + page->bytes.capacity + page->count * (sizeof *page->place + sizeof *page->end) + 512;
    return NULL;
}

static cf_err *make(cf_pages *pages, cf_lane *lane, const cf_map *map, const cf_ref *node, cf_page **out) {
    cf_page *page = calloc(1, sizeof *page);
    if (!page) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a folder");
    page->pages = pages;
    page->node = *node;
    pthread_mutex_init(&page->lock, NULL);
    cf_err *err = fill(page, lane, map);
    if (err)
        page_free(page);
    else
        *out = page;
    return err;
}

static cf_err *check_map(const cf_map *map, const cf_ref *node) {
    if (cf_map_has(map, node->pack, node->segment)) return NULL;
    return cf_fail(CF_ERR_SEGMENT_OUTSIDE_MAP, "segment %u of pack %llu is not in the recovery point's map",
                   node->segment, (unsigned long long)node->pack);
}

cf_err *cf_pages_get(cf_pages *pages, cf_lane *lane, const cf_map *map, const cf_ref *node, cf_page **out) {
    /* Asked each time: the page may be here for the sake of another point. */
    CF_TRY(check_map(map, node));
    pthread_mutex_lock(&pages->lock);
    cf_page *page = find(pages, node);
    if (page) pin(pages, page);
    pthread_mutex_unlock(&pages->lock);
    if (page) {
        *out = page;
        return NULL;
    }
    CF_TRY(make(pages, lane, map, node, &page));
    pthread_mutex_lock(&pages->lock);
    cf_page *there = find(pages, node);
    if (there) { /* another thread was faster */
        page_free(page);
        page = there;
        pin(pages, page);
    } else {
        cf_page **bucket = bucket_of(pages, node);
        page->chain = *bucket;
        *bucket = page;
        page->refs = 1;
        append_age(pages, page);
        pages->held += page->cost;
        shrink(pages);
    }
    pthread_mutex_unlock(&pages->lock);
    *out = page;
    return NULL;
}

void cf_page_release(cf_page *page) {
    if (!page) return;
    cf_pages *pages = page->pages;
    pthread_mutex_lock(&pages->lock);
    page->refs--;
    shrink(pages);
    pthread_mutex_unlock(&pages->lock);
}

/* ---- Reading one ---- */

bool cf_page_is_split(const cf_page *page) {
    return cf_node_reader_kind(page->reader) == CF_NODE_SPLIT;
}

uint8_t cf_page_level(const cf_page *page) {
    return cf_node_reader_level(page->reader);
}

uint32_t cf_page_count(const cf_page *page) {
    return page->count;
}

uint64_t cf_page_begin(const cf_page *page, uint32_t index) {
    return index ? page->end[index - 1] : 0;
}

uint64_t cf_page_end(const cf_page *page, uint32_t index) {
    return page->end[index];
}

uint32_t cf_page_by_number(const cf_page *page, uint64_t number) {
    uint32_t low = 0, high = page->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (page->end[middle] <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

cf_span cf_page_name(const cf_page *page, uint32_t index) {
    return cf_node_reader_name_at(page->reader, page->place[index]);
}

uint32_t cf_page_by_name(const cf_page *page, cf_span name) {
    uint32_t low = 0, high = page->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cf_span_compare(cf_page_name(page, middle), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void cf_page_lock(cf_page *page) {
    pthread_mutex_lock(&page->lock);
}

void cf_page_unlock(cf_page *page) {
    pthread_mutex_unlock(&page->lock);
}

void cf_page_entry(cf_page *page, uint32_t index, cf_entry *entry) {
    cf_node_reader_seek(page->reader, page->place[index], index);
    (void)cf_node_reader_entry(page->reader, entry); /* index is below count */
}

void cf_page_part(cf_page *page, uint32_t index, cf_part *part) {
    cf_page_lock(page);
    cf_node_reader_seek(page->reader, page->place[index], index);
    (void)cf_node_reader_part(page->reader, part);
    cf_page_unlock(page);
}
