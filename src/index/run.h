/* A run: an immutable file of entries in ascending order of ID, with guide pages in front of the data. Internal to
 * the index. Layout: docs/index.md.
 *
 *   page 0          header
 *   1 .. g          guide pages; guide page i serves the IDs whose first 64 bits lie in [i, i + 1) / g of all:
 *                   a Bloom filter of them and where their data pages begin
 *   g + 1 .. g + d  data pages, up to 136 entries each
 *
 * Every page carries an XXH3-64 seeded with the run's number.
 * Threads: a run can be read by any number; a writer belongs to one.                                       */
#ifndef CF_INDEX_RUN_H
#define CF_INDEX_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "index/entry.h"
#include "index/io.h"

#define CF_PAGE_SIZE 4096
#define CF_PAGE_ENTRIES 136
#define CF_GUIDE_FENCES 48

typedef struct cf_run {
    atomic_uint references;
    int fd;
    bool merging; /* guarded by the index's writer lock */
    uint64_t number;
    uint64_t entries;
    uint64_t guide_pages;
    uint64_t data_pages;
    _Atomic(uint8_t *) guide; /* all guide pages, when they fit the budget; else NULL. Set once         */
    atomic_size_t *spare;     /* the budget that guide is taken from                                    */
    char name[CF_IIO_NAME_SIZE];
} cf_run;

/* cf_run_open: reads and checks the header; takes its guide pages into memory when *spare has room.
 * Fails: 900301. One reference is the caller's.                                                        */
cf_err *cf_run_open(int dir, uint64_t number, const uint8_t server_id[16], atomic_size_t *spare, cf_run **run)
    __attribute__((warn_unused_result));
/* cf_run_attach: the same over an open file, which is taken (closed also on failure).                  */
cf_err *cf_run_attach(int fd, uint64_t number, const uint8_t server_id[16], atomic_size_t *spare, cf_run **run)
    __attribute__((warn_unused_result));
/* cf_run_keep_guide: take the guide pages into memory when they are not and *spare has room now. One caller at a
 * time, beside any readers. Fails: 900301, nothing kept.                                               */
cf_err *cf_run_keep_guide(cf_run *run) __attribute__((warn_unused_result));
cf_run *cf_run_ref(cf_run *run);
void cf_run_unref(cf_run *run); /* NULL-safe */
CF_DEFINE_AUTO(cf_run, cf_run_unref)
static inline uint64_t cf_run_bytes(const cf_run *run) {
    return (1 + run->guide_pages + run->data_pages) * CF_PAGE_SIZE;
}
cf_err *cf_run_find(const cf_run *run, const uint8_t *id, bool *found, cf_index_address *address)
    __attribute__((warn_unused_result));
/* cf_run_check: every page, the order of entries, and that the guide leads to each.                    */
cf_err *cf_run_check(const cf_run *run) __attribute__((warn_unused_result));

/* Reads a run's entries in order, 16 pages at a time. */
typedef struct cf_run_reader {
    const cf_run *run;
    uint8_t *pages;
    uint64_t next_page;  /* data page to read next         */
    size_t loaded;       /* pages in memory                */
    size_t page;         /* of these                       */
    size_t entry;        /* in that page                   */
    const uint8_t *head; /* the current entry; NULL at the end */
} cf_run_reader;

cf_err *cf_run_reader_init(cf_run_reader *reader, const cf_run *run) __attribute__((warn_unused_result));
void cf_run_reader_wipe(cf_run_reader *reader);
cf_err *cf_run_reader_next(cf_run_reader *reader) __attribute__((warn_unused_result));

typedef struct cf_run_writer cf_run_writer;

/* cf_run_writer_new: a new run for at most max_entries. */
cf_err *cf_run_writer_new(int dir, uint64_t number, const uint8_t server_id[16], uint64_t max_entries,
                          cf_run_writer **writer) __attribute__((warn_unused_result));
/* cf_run_writer_add: IDs strictly ascending. entry: CF_ENTRY_SIZE bytes.                               */
cf_err *cf_run_writer_add(cf_run_writer *writer, const uint8_t *entry) __attribute__((warn_unused_result));
/* cf_run_writer_finish: write the rest, sync, open it as a run. *run is NULL when it has no entries.   */
cf_err *cf_run_writer_finish(cf_run_writer *writer, atomic_size_t *spare, cf_run **run)
    __attribute__((warn_unused_result));
uint64_t cf_run_writer_bytes(const cf_run_writer *writer);
/* cf_run_writer_free: removes the file unless it was finished as a run. NULL-safe.                     */
void cf_run_writer_free(cf_run_writer *writer);
CF_DEFINE_AUTO(cf_run_writer, cf_run_writer_free)

/* The pages, shared by both sides. */
uint64_t cf_page_sum(const uint8_t *page, uint64_t number);
/* Which guide page an ID belongs to. */
static inline uint64_t cf_guide_of(uint64_t top, uint64_t guide_pages) {
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)((wide)top * guide_pages >> 64);
}

enum { /* offsets in pages */
       CF_PAGE_SUM = 0,
       CF_HEADER_MAGIC = 8,
       CF_HEADER_VERSION = 16,
       CF_HEADER_ENTRY_SIZE = 20,
       CF_HEADER_NUMBER = 24,
       CF_HEADER_ENTRIES = 32,
       CF_HEADER_GUIDES = 40,
       CF_HEADER_DATA = 48,
       CF_HEADER_SERVER = 56,
       CF_GUIDE_NUMBER = 8, /* u32: page in the file                                                      */
       CF_GUIDE_FIRST = 12, /* u32: the data page in which the guide page's interval begins               */
       CF_GUIDE_COUNT = 16, /* u16: fences                                                                */
       CF_GUIDE_SHIFT = 18, /* u8: a fence for every 2^shift-th data page                                 */
       CF_GUIDE_FENCE = 20, /* u32 each: first 4 bytes of the first ID of data page first + (i + 1 << shift) */
       CF_GUIDE_BLOOM = CF_GUIDE_FENCE + 4 * CF_GUIDE_FENCES,
       CF_GUIDE_BLOOM_BITS = (CF_PAGE_SIZE - CF_GUIDE_BLOOM) * 8,
       CF_GUIDE_BITS_PER_ENTRY = 8,
       CF_GUIDE_PROBES = 5,
       CF_DATA_NUMBER = 8, /* u32: page in the file                                                        */
       CF_DATA_COUNT = 12, /* u16, then u16 zero                                                           */
       CF_DATA_ENTRIES = 16,
};
#define CF_RUN_MAGIC "CFXRUN01"
#define CF_RUN_VERSION 1

/* cf_guide_bit: the i-th Bloom bit of an ID. */
static inline uint32_t cf_guide_bit(const uint8_t *id, uint32_t i) {
    uint32_t start = cf_entry_load32(id + 8), step = cf_entry_load32(id + 12) | 1;
    return (uint32_t)((uint64_t)(start + i * step) * CF_GUIDE_BLOOM_BITS >> 32);
}

#endif
