#include "index/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#define READER_PAGES 16

uint64_t cf_page_sum(const uint8_t *page, uint64_t number) {
    return XXH3_64bits_withSeed(page + 8, CF_PAGE_SIZE - 8, number);
}

static cf_err *check_page(const cf_run *run, const uint8_t *page, uint64_t page_number) {
    if (cf_entry_load64(page + CF_PAGE_SUM) != cf_page_sum(page, run->number)) {
        return cf_iio_damaged(run->name, "a page has the wrong checksum");
    }
    /* Also catches pages of this run that were swapped. Guide and data pages have it in the same place. */
    if (cf_entry_load32(page + CF_DATA_NUMBER) != (uint32_t)page_number)
        return cf_iio_damaged(run->name, "a page is in the wrong place");
    return NULL;
}

static cf_err *check_data_page(const cf_run *run, const uint8_t *page, uint64_t index) {
    CF_TRY(check_page(run, page, 1 + run->guide_pages + index));
    uint16_t count = cf_entry_load16(page + CF_DATA_COUNT);
    if (count < 1 || count > CF_PAGE_ENTRIES) return cf_iio_damaged(run->name, "a page has an impossible count");
    return NULL;
}

static cf_err *check_guide_page(const cf_run *run, const uint8_t *page, uint64_t index) {
    CF_TRY(check_page(run, page, 1 + index));
    if (cf_entry_load16(page + CF_GUIDE_COUNT) > CF_GUIDE_FENCES || page[CF_GUIDE_SHIFT] > 31 ||
        cf_entry_load32(page + CF_GUIDE_FIRST) >= run->data_pages) {
        return cf_iio_damaged(run->name, "a guide page has impossible numbers");
    }
    return NULL;
}

static cf_err *read_pages(const cf_run *run, uint8_t *out, uint64_t page, size_t count) {
    return cf_iio_read_exact(run->fd, out, count * CF_PAGE_SIZE, page * CF_PAGE_SIZE, run->name);
}

static cf_err *read_header(cf_run *run, const uint8_t *page, const uint8_t server_id[16]) {
    if (memcmp(page + CF_HEADER_MAGIC, CF_RUN_MAGIC, 8) != 0) return cf_iio_damaged(run->name, "not a run");
    if (cf_entry_load32(page + CF_HEADER_VERSION) > CF_RUN_VERSION) {
        return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "newer", "chunk index: %s has format %u, this program knows %u",
                              run->name, cf_entry_load32(page + CF_HEADER_VERSION), CF_RUN_VERSION);
    }
    if (cf_entry_load64(page + CF_PAGE_SUM) != cf_page_sum(page, run->number)) {
        return cf_iio_damaged(run->name, "the header has the wrong checksum");
    }
    if (memcmp(page + CF_HEADER_SERVER, server_id, 16) != 0) {
        return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "other-server", "chunk index: %s belongs to another server",
                              run->name);
    }
    run->entries = cf_entry_load64(page + CF_HEADER_ENTRIES);
    run->guide_pages = cf_entry_load64(page + CF_HEADER_GUIDES);
    run->data_pages = cf_entry_load64(page + CF_HEADER_DATA);
    uint64_t size = 0;
    CF_TRY(cf_iio_size(run->fd, run->name, &size));
    uint64_t most = size / CF_PAGE_SIZE;
    bool fits = most <= UINT32_MAX && run->guide_pages >= 1 && run->guide_pages < most && run->data_pages >= 1 &&
                run->data_pages < most && 1 + run->guide_pages + run->data_pages <= most &&
                run->entries >= run->data_pages && run->entries <= run->data_pages * CF_PAGE_ENTRIES &&
                cf_entry_load64(page + CF_HEADER_NUMBER) == run->number &&
                cf_entry_load32(page + CF_HEADER_VERSION) == CF_RUN_VERSION &&
                cf_entry_load32(page + CF_HEADER_ENTRY_SIZE) == CF_ENTRY_SIZE;
    return fits ? NULL : cf_iio_damaged(run->name, "the header does not fit the file");
}

static cf_err *read_guide(const cf_run *run, uint8_t *guide) {
    CF_TRY(read_pages(run, guide, 1, (size_t)run->guide_pages));
    for (uint64_t i = 0; i < run->guide_pages; i++) CF_TRY(check_guide_page(run, guide + i * CF_PAGE_SIZE, i));
    return NULL;
}

/* Small runs are asked by every lookup: their guide pages are kept in memory while the budget lasts. */
cf_err *cf_run_keep_guide(cf_run *run) {
    if (atomic_load_explicit(&run->guide, memory_order_relaxed)) return NULL;
    size_t need = (size_t)run->guide_pages * CF_PAGE_SIZE;
    size_t left = atomic_load(run->spare);
    do {
        if (need > left) return NULL;
    } while (!atomic_compare_exchange_weak(run->spare, &left, left - need));
    CF_AUTO_FREE uint8_t *guide = malloc(need);
    cf_err *err = guide ? read_guide(run, guide) : NULL; /* without memory it is only slower */
    if (err || !guide) {
        atomic_fetch_add(run->spare, need);
        return err;
    }
    atomic_store_explicit(&run->guide, cf_take(guide), memory_order_release);
    return NULL;
}

cf_err *cf_run_attach(int fd, uint64_t number, const uint8_t server_id[16], atomic_size_t *spare, cf_run **run) {
    CF_AUTO(cf_run) made = calloc(1, sizeof *made);
    if (!made) {
        close(fd);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a run");
    }
    atomic_init(&made->references, 1);
    made->fd = fd;
    made->number = number;
    made->spare = spare;
    cf_iio_name(made->name, "run", number);
    uint8_t page[CF_PAGE_SIZE];
    CF_TRY(read_pages(made, page, 0, 1));
    CF_TRY(read_header(made, page, server_id));
    CF_TRY(cf_run_keep_guide(made));
    *run = cf_take(made);
    return NULL;
}

cf_err *cf_run_open(int dir, uint64_t number, const uint8_t server_id[16], atomic_size_t *spare, cf_run **run) {
    char name[CF_IIO_NAME_SIZE];
    cf_iio_name(name, "run", number);
    int fd = -1;
    CF_TRY(cf_iio_open(dir, name, &fd));
    return cf_run_attach(fd, number, server_id, spare, run);
}

cf_run *cf_run_ref(cf_run *run) {
    atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
    return run;
}

void cf_run_unref(cf_run *run) {
    if (!run || atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel) != 1) return;
    uint8_t *guide = atomic_load_explicit(&run->guide, memory_order_relaxed);
    if (guide) atomic_fetch_add(run->spare, (size_t)run->guide_pages * CF_PAGE_SIZE);
    free(guide);
    close(run->fd); /* everything that was written through it has been synced */
    free(run);
}

static bool bloom_has(const uint8_t *guide, const uint8_t *id) {
    for (uint32_t i = 0; i < CF_GUIDE_PROBES; i++) {
        uint32_t bit = cf_guide_bit(id, i);
        if (!(guide[CF_GUIDE_BLOOM + bit / 8] >> bit % 8 & 1)) return false;
    }
    return true;
}

/* The data pages that can hold id: nearly always exactly one. */
static void page_range(const cf_run *run, const uint8_t *guide, const uint8_t *id, uint64_t *low, uint64_t *high) {
    uint32_t key = (uint32_t)(cf_entry_top(id) >> 32);
    uint16_t count = cf_entry_load16(guide + CF_GUIDE_COUNT);
    uint16_t below = 0;
    while (below < count && cf_entry_load32(guide + CF_GUIDE_FENCE + 4 * below) < key) below++;
    uint16_t upto = below;
    while (upto < count && cf_entry_load32(guide + CF_GUIDE_FENCE + 4 * upto) <= key) upto++;
    uint64_t first = cf_entry_load32(guide + CF_GUIDE_FIRST), shift = guide[CF_GUIDE_SHIFT];
    *low = first + ((uint64_t)below << shift);
    *high = first + ((uint64_t)upto << shift) + (UINT64_C(1) << shift) - 1;
    if (*high >= run->data_pages) *high = run->data_pages - 1;
}

/* Where id stands in a data page, or the first that is greater (count when none is). */
static size_t find_in_page(const uint8_t *page, const uint8_t *id, bool *equal) {
    size_t low = 0, high = cf_entry_load16(page + CF_DATA_COUNT);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = cf_entry_compare_id(page + CF_DATA_ENTRIES + middle * CF_ENTRY_SIZE, id);
        if (order == 0) {
            *equal = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *equal = false;
    return low;
}

cf_err *cf_run_find(const cf_run *run, const uint8_t *id, bool *found, cf_index_address *address) {
    uint8_t page[CF_PAGE_SIZE];
    uint64_t index = cf_guide_of(cf_entry_top(id), run->guide_pages);
    const uint8_t *kept = atomic_load_explicit(&run->guide, memory_order_acquire);
    const uint8_t *guide = kept ? kept + index * CF_PAGE_SIZE : page;
    if (!kept) {
        CF_TRY(read_pages(run, page, 1 + index, 1));
        CF_TRY(check_guide_page(run, page, index));
    }
    *found = false;
    if (!bloom_has(guide, id)) return NULL;
    uint64_t low, high;
    page_range(run, guide, id, &low, &high);
    while (low <= high && low < run->data_pages) { /* low > high: a fence past the last page, only when damaged */
        uint64_t middle = low + (high - low) / 2;
        CF_TRY(read_pages(run, page, 1 + run->guide_pages + middle, 1));
        CF_TRY(check_data_page(run, page, middle));
        bool equal;
        size_t place = find_in_page(page, id, &equal);
        if (equal) {
            if (!cf_entry_decode(page + CF_DATA_ENTRIES + place * CF_ENTRY_SIZE, address)) {
                return cf_iio_damaged(run->name, "an entry is out of range");
            }
            *found = true;
            return NULL;
        }
        if (place > 0 && place < cf_entry_load16(page + CF_DATA_COUNT)) return NULL; /* it would stand in this page */
        if (place == 0) {
            if (middle == 0) return NULL;
            high = middle - 1;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

cf_err *cf_run_reader_init(cf_run_reader *reader, const cf_run *run) {
    *reader = (cf_run_reader){.run = run, .pages = malloc(READER_PAGES * CF_PAGE_SIZE)};
    if (!reader->pages) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a reader");
    return cf_run_reader_next(reader);
}

void cf_run_reader_wipe(cf_run_reader *reader) {
    free(reader->pages);
    *reader = (cf_run_reader){0};
}

static cf_err *load_pages(cf_run_reader *reader) {
    const cf_run *run = reader->run;
    uint64_t left = run->data_pages - reader->next_page;
    size_t count = left < READER_PAGES ? (size_t)left : READER_PAGES;
    CF_TRY(read_pages(run, reader->pages, 1 + run->guide_pages + reader->next_page, count));
    for (size_t i = 0; i < count; i++) {
        CF_TRY(check_data_page(run, reader->pages + i * CF_PAGE_SIZE, reader->next_page + i));
    }
    reader->next_page += count;
    reader->loaded = count;
    reader->page = 0;
    reader->entry = 0;
    return NULL;
}

cf_err *cf_run_reader_next(cf_run_reader *reader) {
    uint8_t before[CF_INDEX_ID_SIZE];
    bool has_before = reader->head != NULL;
    if (has_before) {
        memcpy(before, reader->head, sizeof before);
        const uint8_t *page = reader->pages + reader->page * CF_PAGE_SIZE;
        if (++reader->entry == cf_entry_load16(page + CF_DATA_COUNT)) {
            reader->entry = 0;
            reader->page++;
        }
    }
    if (reader->page == reader->loaded) {
        if (reader->next_page == reader->run->data_pages) {
            reader->head = NULL;
            return NULL;
        }
        CF_TRY(load_pages(reader));
    }
    reader->head = reader->pages + reader->page * CF_PAGE_SIZE + CF_DATA_ENTRIES + reader->entry * CF_ENTRY_SIZE;
    if (has_before && cf_entry_compare_id(before, reader->head) >= 0) {
        return cf_iio_damaged(reader->run->name, "entries are out of order");
    }
    return NULL;
}

static cf_err *check_entries(cf_run_reader *reader) {
    uint64_t count = 0;
    while (reader->head) {
        bool found = false;
        cf_index_address kept, address;
        if (!cf_entry_decode(reader->head, &kept)) return cf_iio_damaged(reader->run->name, "an entry is out of range");
        /* Asking for the first of each page proves the fences, at a 136th of the cost. */
        if (reader->entry == 0) {
            CF_TRY(cf_run_find(reader->run, reader->head, &found, &address));
            if (!found) return cf_iio_damaged(reader->run->name, "a guide page does not lead to its entries");
        }
        count++;
        CF_TRY(cf_run_reader_next(reader));
    }
    return count == reader->run->entries ? NULL : cf_iio_damaged(reader->run->name, "the count of entries is wrong");
}

cf_err *cf_run_check(const cf_run *run) {
    uint8_t page[CF_PAGE_SIZE];
    for (uint64_t i = 0; i < run->guide_pages; i++) {
        CF_TRY(read_pages(run, page, 1 + i, 1));
        CF_TRY(check_guide_page(run, page, i));
    }
    cf_run_reader reader;
    cf_err *err = cf_run_reader_init(&reader, run);
    if (!err) err = check_entries(&reader);
    cf_run_reader_wipe(&reader);
    return err;
}
