/* Writing runs. Guide pages stand in front of the data, because their number follows from the number of entries
 * announced; both are written as the entries stream by, so the memory is a few pages, whatever the run.  */
#include <stdlib.h>
#include <unistd.h>

#include "index/run.h"

#define BUFFER_PAGES 64

struct cf_run_writer {
    int dir;
    int fd;
    uint64_t number;
    uint8_t server_id[16];
    char name[CF_IIO_NAME_SIZE];
    uint64_t guide_pages;
    uint64_t guide_at; /* the guide page being filled            */
    uint64_t data_at;  /* the data page being filled             */
    uint64_t entries;
    size_t buffered; /* whole data pages waiting in buffer       */
    bool finished;
    uint8_t last[CF_INDEX_ID_SIZE];
    uint8_t guide[CF_PAGE_SIZE];
    uint8_t buffer[BUFFER_PAGES * CF_PAGE_SIZE];
};

/* The interval of a guide page begins in the page being filled, or in the one that comes next. */
static void start_guide(cf_run_writer *writer) {
    memset(writer->guide, 0, CF_PAGE_SIZE);
    cf_entry_store32(writer->guide + CF_GUIDE_NUMBER, (uint32_t)(1 + writer->guide_at));
    const uint8_t *page = writer->buffer + writer->buffered * CF_PAGE_SIZE;
    bool begun = cf_entry_load16(page + CF_DATA_COUNT) > 0;
    uint64_t first = begun || writer->data_at == 0 ? writer->data_at : writer->data_at - 1;
    cf_entry_store32(writer->guide + CF_GUIDE_FIRST, (uint32_t)first);
}

cf_err *cf_run_writer_new(int dir, uint64_t number, const uint8_t server_id[16], uint64_t max_entries,
                          cf_run_writer **writer) {
    uint64_t per_page = CF_GUIDE_BLOOM_BITS / CF_GUIDE_BITS_PER_ENTRY;
    if (max_entries / CF_PAGE_ENTRIES + max_entries / per_page + 4 > UINT32_MAX) {
        return cf_fail(CF_ERR_TOO_LARGE, "chunk index: %llu entries", (unsigned long long)max_entries);
    }
    CF_AUTO(cf_run_writer) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a run's buffers");
    made->dir = dir;
    made->fd = -1;
    made->number = number;
    memcpy(made->server_id, server_id, 16);
    cf_iio_name(made->name, "run", number);
    made->guide_pages = max_entries / per_page + 1;
    start_guide(made);
    CF_TRY(cf_iio_create(dir, made->name, &made->fd));
    *writer = cf_take(made);
    return NULL;
}

static cf_err *write_buffer(cf_run_writer *writer) {
    if (writer->buffered == 0) return NULL;
    uint64_t first = 1 + writer->guide_pages + writer->data_at - writer->buffered;
    CF_TRY(
        cf_iio_write(writer->fd, writer->buffer, writer->buffered * CF_PAGE_SIZE, first * CF_PAGE_SIZE, writer->name));
    memset(writer->buffer, 0, sizeof writer->buffer);
    writer->buffered = 0;
    return NULL;
}

static cf_err *end_data_page(cf_run_writer *writer) {
    uint8_t *page = writer->buffer + writer->buffered * CF_PAGE_SIZE;
    cf_entry_store32(page + CF_DATA_NUMBER, (uint32_t)(1 + writer->guide_pages + writer->data_at));
    cf_entry_store64(page + CF_PAGE_SUM, cf_page_sum(page, writer->number));
    writer->buffered++;
    writer->data_at++;
    return writer->buffered == BUFFER_PAGES ? write_buffer(writer) : NULL;
}

static cf_err *end_guide_page(cf_run_writer *writer) {
    cf_entry_store64(writer->guide + CF_PAGE_SUM, cf_page_sum(writer->guide, writer->number));
    CF_TRY(cf_iio_write(writer->fd, writer->guide, CF_PAGE_SIZE, (1 + writer->guide_at) * CF_PAGE_SIZE, writer->name));
    writer->guide_at++;
    return NULL;
}

/* IDs that are not uniform can begin more data pages in one interval than there are fences: keep every second. */
static void halve_fences(uint8_t *guide) {
    for (size_t i = 0; i < CF_GUIDE_FENCES / 2; i++) {
        cf_entry_store32(guide + CF_GUIDE_FENCE + 4 * i, cf_entry_load32(guide + CF_GUIDE_FENCE + 4 * (2 * i + 1)));
    }
    memset(guide + CF_GUIDE_FENCE + 4 * (CF_GUIDE_FENCES / 2), 0, 4 * (CF_GUIDE_FENCES / 2));
    cf_entry_store16(guide + CF_GUIDE_COUNT, CF_GUIDE_FENCES / 2);
    guide[CF_GUIDE_SHIFT]++;
}

static void add_fence(uint8_t *guide, uint64_t data_page, const uint8_t *id) {
    uint64_t distance = data_page - cf_entry_load32(guide + CF_GUIDE_FIRST);
    if (distance == 0) return;
    if (cf_entry_load16(guide + CF_GUIDE_COUNT) == CF_GUIDE_FENCES &&
        (distance & ((UINT64_C(1) << guide[CF_GUIDE_SHIFT]) - 1)) == 0) {
        halve_fences(guide);
    }
    if ((distance & ((UINT64_C(1) << guide[CF_GUIDE_SHIFT]) - 1)) != 0) return;
    uint16_t count = cf_entry_load16(guide + CF_GUIDE_COUNT);
    cf_entry_store32(guide + CF_GUIDE_FENCE + 4 * count, (uint32_t)(cf_entry_top(id) >> 32));
    cf_entry_store16(guide + CF_GUIDE_COUNT, (uint16_t)(count + 1));
}

cf_err *cf_run_writer_add(cf_run_writer *writer, const uint8_t *entry) {
    if (writer->entries > 0 && cf_entry_compare_id(writer->last, entry) >= 0) {
        return cf_fail(CF_ERR_INTERNAL, "chunk index: entries for %s are out of order", writer->name);
    }
    uint64_t guide = cf_guide_of(cf_entry_top(entry), writer->guide_pages);
    while (writer->guide_at < guide) {
        CF_TRY(end_guide_page(writer));
        start_guide(writer);
    }
    uint8_t *page = writer->buffer + writer->buffered * CF_PAGE_SIZE;
    uint16_t count = cf_entry_load16(page + CF_DATA_COUNT);
    if (count == 0) add_fence(writer->guide, writer->data_at, entry);
    memcpy(page + CF_DATA_ENTRIES + (size_t)count * CF_ENTRY_SIZE, entry, CF_ENTRY_SIZE);
    cf_entry_store16(page + CF_DATA_COUNT, ++count);
    for (uint32_t i = 0; i < CF_GUIDE_PROBES; i++) {
        uint32_t bit = cf_guide_bit(entry, i);
        writer->guide[CF_GUIDE_BLOOM + bit / 8] |= (uint8_t)(1u << bit % 8);
    }
    memcpy(writer->last, entry, CF_INDEX_ID_SIZE);
    writer->entries++;
    return count == CF_PAGE_ENTRIES ? end_data_page(writer) : NULL;
}

static cf_err *write_header(cf_run_writer *writer) {
    uint8_t page[CF_PAGE_SIZE] = {0};
    memcpy(page + CF_HEADER_MAGIC, CF_RUN_MAGIC, 8);
    cf_entry_store32(page + CF_HEADER_VERSION, CF_RUN_VERSION);
    cf_entry_store32(page + CF_HEADER_ENTRY_SIZE, CF_ENTRY_SIZE);
    cf_entry_store64(page + CF_HEADER_NUMBER, writer->number);
    cf_entry_store64(page + CF_HEADER_ENTRIES, writer->entries);
    cf_entry_store64(page + CF_HEADER_GUIDES, writer->guide_pages);
    cf_entry_store64(page + CF_HEADER_DATA, writer->data_at);
    memcpy(page + CF_HEADER_SERVER, writer->server_id, 16);
    cf_entry_store64(page + CF_PAGE_SUM, cf_page_sum(page, writer->number));
    return cf_iio_write(writer->fd, page, CF_PAGE_SIZE, 0, writer->name);
}

cf_err *cf_run_writer_finish(cf_run_writer *writer, atomic_size_t *spare, cf_run **run) {
    if (writer->entries == 0) {
        *run = NULL;
        return NULL;
    }
    const uint8_t *page = writer->buffer + writer->buffered * CF_PAGE_SIZE;
    if (writer->buffered < BUFFER_PAGES && cf_entry_load16(page + CF_DATA_COUNT) > 0) CF_TRY(end_data_page(writer));
    CF_TRY(write_buffer(writer));
    while (writer->guide_at < writer->guide_pages) {
        CF_TRY(end_guide_page(writer));
        start_guide(writer);
    }
    CF_TRY(write_header(writer));
    CF_TRY(cf_iio_sync(writer->fd, writer->name));
    int fd = writer->fd;
    writer->fd = -1;
    CF_TRY(cf_run_attach(fd, writer->number, writer->server_id, spare, run));
    writer->finished = true;
    return NULL;
}

uint64_t cf_run_writer_bytes(const cf_run_writer *writer) {
    return (1 + writer->guide_pages + writer->data_at) * CF_PAGE_SIZE;
}

void cf_run_writer_free(cf_run_writer *writer) {
    if (!writer) return;
    if (writer->fd >= 0) close(writer->fd); /* an unfinished file is removed: nothing to lose */
    if (!writer->finished) (void)unlinkat(writer->dir, writer->name, 0); /* else the next open removes it */
    free(writer);
}
