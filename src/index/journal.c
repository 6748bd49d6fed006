#include "index/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "index/entry.h"
#include "index/io.h"

#define MAGIC "CFXLOG01"
#define VERSION 1
#define HEADER_SIZE 48   /* magic 8, version 4, zero 4, number 8, server 16, XXH3-64 of the 40 before */
#define RECORD_HEADER 24 /* XXH3-64 of the rest, pack 8, count 4, zero 4 */
#define RECORD_ENTRY 24  /* ID 16, tail 8: see entry.h */

struct cf_journal {
    int fd;
    bool broken; /* a failed append could not be taken back */
    uint64_t number;
    uint64_t size;
    char name[CF_IIO_NAME_SIZE];
    uint8_t *record; /* encoding buffer */
    size_t capacity;
};

static cf_err *new_journal(uint64_t number, cf_journal **journal) {
    cf_journal *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a journal");
    made->fd = -1;
    made->number = number;
    cf_iio_name(made->name, "log", number);
    *journal = made;
    return NULL;
}

void cf_journal_free(cf_journal *journal) {
    if (!journal) return;
    if (journal->fd >= 0) close(journal->fd); /* whoever wants durability has synced */
    free(journal->record);
    free(journal);
}

static uint64_t header_sum(const uint8_t *header) {
    return XXH3_64bits(header, HEADER_SIZE - 8);
}

/* Bound to journal and place: an old record in a reused block is not taken for a new one. */
static uint64_t record_sum(const cf_journal *journal, uint64_t offset, const uint8_t *record, size_t size) {
    return XXH3_64bits_withSeed(record + 8, size - 8, journal->number << 40 ^ offset);
}

static cf_err *write_header(cf_journal *journal, int dir, const uint8_t server_id[16]) {
    uint8_t header[HEADER_SIZE] = {0};
    memcpy(header, MAGIC, 8);
    cf_entry_store32(header + 8, VERSION);
    cf_entry_store64(header + 16, journal->number);
    memcpy(header + 24, server_id, 16);
    cf_entry_store64(header + 40, header_sum(header));
    CF_TRY(cf_iio_create(dir, journal->name, &journal->fd));
    CF_TRY(cf_iio_write(journal->fd, header, HEADER_SIZE, 0, journal->name));
    CF_TRY(cf_iio_sync(journal->fd, journal->name));
    journal->size = HEADER_SIZE;
    return NULL;
}

cf_err *cf_journal_create(int dir, uint64_t number, const uint8_t server_id[16], cf_journal **journal) {
    CF_AUTO(cf_journal) made = NULL;
    CF_TRY(new_journal(number, &made));
    cf_err *err = write_header(made, dir, server_id);
    if (err) {
        (void)unlinkat(dir, made->name, 0); /* else the next open removes it */
        return err;
    }
    *journal = cf_take(made);
    return NULL;
}

static cf_err *make_room(cf_journal *journal, size_t size) {
    if (size <= journal->capacity) return NULL;
    uint8_t *record = realloc(journal->record, size);
    if (!record) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a journal record of %zu bytes", size);
    journal->record = record;
    journal->capacity = size;
    return NULL;
}

cf_err *cf_journal_append(cf_journal *journal, uint64_t pack, const cf_index_entry *entries, size_t count) {
    if (journal->broken) return cf_iio_fail(EIO, "write", journal->name);
    if (count > CF_JOURNAL_RECORD_MAX) return cf_fail(CF_ERR_TOO_LARGE, "chunk index: pack of %zu chunks", count);
    size_t size = RECORD_HEADER + count * RECORD_ENTRY;
    CF_TRY(make_room(journal, size));
    uint8_t *record = journal->record;
    cf_entry_store64(record + 8, pack);
    cf_entry_store32(record + 16, (uint32_t)count);
    cf_entry_store32(record + 20, 0);
    for (size_t i = 0; i < count; i++) {
        uint8_t *place = record + RECORD_HEADER + i * RECORD_ENTRY;
        memcpy(place, entries[i].id, CF_INDEX_ID_SIZE);
        cf_entry_encode_tail(place + CF_INDEX_ID_SIZE, entries[i].segment, entries[i].offset, entries[i].length);
    }
    cf_entry_store64(record, record_sum(journal, journal->size, record, size));
    cf_err *err = cf_iio_write(journal->fd, record, size, journal->size, journal->name);
    if (err) {
        /* Half a record would hide those appended after it. */
        if (ftruncate(journal->fd, (off_t)journal->size) < 0) journal->broken = true;
        return err;
    }
    journal->size += size;
    return NULL;
}

static cf_err *read_header(cf_journal *journal, const uint8_t server_id[16]) {
    uint8_t header[HEADER_SIZE];
    CF_TRY(cf_iio_read_exact(journal->fd, header, HEADER_SIZE, 0, journal->name));
    if (memcmp(header, MAGIC, 8) != 0) return cf_iio_damaged(journal->name, "not a journal");
    if (cf_entry_load32(header + 8) > VERSION) {
        return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "newer", "chunk index: %s has format %u, this program knows %d",
                              journal->name, cf_entry_load32(header + 8), VERSION);
    }
    if (cf_entry_load64(header + 40) != header_sum(header))
        return cf_iio_damaged(journal->name, "the header has the wrong checksum");
    if (cf_entry_load32(header + 8) != VERSION || cf_entry_load64(header + 16) != journal->number) {
        return cf_iio_damaged(journal->name, "the header belongs to another journal");
    }
    if (memcmp(header + 24, server_id, 16) != 0) {
        return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "other-server", "chunk index: %s belongs to another server",
                              journal->name);
    }
    return NULL;
}

/* The record at journal->size, into journal->record; *count stays untouched and *valid false when it does not check. */
static cf_err *read_record(cf_journal *journal, uint64_t file_size, bool *valid, uint64_t *pack, size_t *count) {
    *valid = false;
    uint64_t left = file_size - journal->size;
    if (left < RECORD_HEADER) return NULL;
    CF_TRY(make_room(journal, RECORD_HEADER));
    CF_TRY(cf_iio_read_exact(journal->fd, journal->record, RECORD_HEADER, journal->size, journal->name));
    uint32_t entries = cf_entry_load32(journal->record + 16);
    if (entries > CF_JOURNAL_RECORD_MAX || entries > (left - RECORD_HEADER) / RECORD_ENTRY) return NULL;
    size_t size = RECORD_HEADER + (size_t)entries * RECORD_ENTRY;
    CF_TRY(make_room(journal, size));
    CF_TRY(cf_iio_read_exact(journal->fd, journal->record + RECORD_HEADER, size - RECORD_HEADER,
                             journal->size + RECORD_HEADER, journal->name));
    if (cf_entry_load64(journal->record) != record_sum(journal, journal->size, journal->record, size)) return NULL;
    if (cf_entry_load64(journal->record + 8) > CF_INDEX_PACK_MAX) return NULL;
    *pack = cf_entry_load64(journal->record + 8);
    *count = entries;
    *valid = true;
    return NULL;
}

/* False when an entry is out of range. */
static bool decode_record(const cf_journal *journal, cf_index_entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *place = journal->record + RECORD_HEADER + i * RECORD_ENTRY;
        cf_index_address address;
        if (!cf_entry_decode_tail(place + CF_INDEX_ID_SIZE, &address)) return false;
        memcpy(entries[i].id, place, CF_INDEX_ID_SIZE);
        entries[i].segment = address.segment;
        entries[i].offset = address.offset;
        entries[i].length = address.length;
    }
    return true;
}

static cf_err *replay(cf_journal *journal, uint64_t file_size, cf_journal_record_fn *record, void *context) {
    for (;;) {
        bool valid;
        uint64_t pack;
        size_t count;
        CF_TRY(read_record(journal, file_size, &valid, &pack, &count));
        if (!valid) return NULL;
        CF_AUTO_FREE cf_index_entry *entries = calloc(count ? count : 1, sizeof *entries);
        if (!entries) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a journal record of %zu entries", count);
        if (!decode_record(journal, entries, count)) return NULL;
        CF_TRY(record(context, pack, entries, count));
        journal->size += RECORD_HEADER + count * RECORD_ENTRY;
    }
}

cf_err *cf_journal_open(int dir, uint64_t number, const uint8_t server_id[16], cf_journal_record_fn *record,
                        void *context, cf_journal **journal, uint64_t *dropped) {
    CF_AUTO(cf_journal) made = NULL;
    CF_TRY(new_journal(number, &made));
    CF_TRY(cf_iio_open(dir, made->name, &made->fd));
    CF_TRY(read_header(made, server_id));
    uint64_t file_size = 0;
    CF_TRY(cf_iio_size(made->fd, made->name, &file_size));
    made->size = HEADER_SIZE;
    CF_TRY(replay(made, file_size, record, context));
    *dropped = file_size - made->size;
    /* A torn tail is cut off now, so that it cannot make a later record look like it continues. */
    if (*dropped > 0 && ftruncate(made->fd, (off_t)made->size) < 0) return cf_iio_fail(errno, "cut", made->name);
    *journal = cf_take(made);
    return NULL;
}

cf_err *cf_journal_sync(cf_journal *journal) {
    return cf_iio_sync(journal->fd, journal->name);
}

uint64_t cf_journal_number(const cf_journal *journal) {
    return journal->number;
}

uint64_t cf_journal_bytes(const cf_journal *journal) {
    return journal->size;
}
