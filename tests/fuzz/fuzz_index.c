/* Feeds bytes to the decoders of the index: the first byte says as what: a run, a journal, a manifest, dead segments. For runs
 * and journals an odd second byte makes the checksums right first, so that the fuzzer gets past them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "index/entry.h"
#include "index/journal.h"
#include "index/manifest.h"
#include "index/run.h"

#define NUMBER 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t server_id[16];

static void mend_pages(uint8_t *bytes, size_t size) {
    for (size_t at = 0; at + CF_PAGE_SIZE <= size; at += CF_PAGE_SIZE) {
        if (at > 0) cf_entry_store32(bytes + at + CF_DATA_NUMBER, (uint32_t)(at / CF_PAGE_SIZE));
        cf_entry_store64(bytes + at, cf_page_sum(bytes + at, NUMBER));
    }
}

static void try_run(const uint8_t *data, size_t size) {
    int fd = memfd_create("run", MFD_CLOEXEC);
    if (fd < 0) abort();
    if (size > 0 && write(fd, data, size) != (ssize_t)size) abort();
    atomic_size_t spare;
    atomic_init(&spare, size & 1 ? 1 << 20 : 0);
    CF_AUTO(cf_run) run = NULL;
    cf_err *err = cf_run_attach(fd, NUMBER, server_id, &spare, &run);
    for (unsigned i = 0; !err && i < 8; i++) {
        uint8_t id[16];
        cf_index_address address;
        bool found;
        memset(id, (int)(i * 37), sizeof id);
        if (size >= 8192 && i > 3) memcpy(id, data + 4096 + CF_DATA_ENTRIES + i, sizeof id);
        err = cf_run_find(run, id, &found, &address);
    }
    cf_err_free(err);
    if (run) cf_err_free(cf_run_check(run));
}

static cf_err *ignore_record(void *context, uint64_t pack, const cf_index_entry *entries, size_t count) {
    uint64_t *sum = context;
    *sum += pack;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].offset > CF_INDEX_OFFSET_MAX || entries[i].length > CF_INDEX_LENGTH_MAX) abort();
    }
    return NULL;
}

static void mend_journal(uint8_t *bytes, size_t size) {
    if (size < 48) return;
    cf_entry_store64(bytes + 40, XXH3_64bits(bytes, 40));
    size_t at = 48;
    while (size - at >= 24) {
        size_t record = 24 + (size_t)cf_entry_load32(bytes + at + 16) * 24;
        if (record > size - at) return;
        cf_entry_store64(bytes + at, XXH3_64bits_withSeed(bytes + at + 8, record - 8, (uint64_t)NUMBER << 40 ^ at));
        at += record;
    }
}

static char folder[] = "/tmp/cf-fuzz-index-XXXXXX";
static int dir = -1;

static void remove_folder(void) {
    char name[CF_IIO_NAME_SIZE];
    cf_iio_name(name, "log", NUMBER);
    (void)unlinkat(dir, name, 0); /* nobody reads what would be left */
    (void)rmdir(folder);
}

/* A journal is opened by its name, so it needs a folder. */
static void make_folder(void) {
    if (dir >= 0) return;
    if (!mkdtemp(folder) || (dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) abort();
    if (atexit(remove_folder) != 0) abort();
}

static void try_journal(const uint8_t *data, size_t size) {
    char name[CF_IIO_NAME_SIZE];
    make_folder();
    cf_iio_name(name, "log", NUMBER);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size)) abort();
    close(fd);
    CF_AUTO(cf_journal) journal = NULL;
    uint64_t sum = 0, dropped = 0;
    cf_err_free(cf_journal_open(dir, NUMBER, server_id, ignore_record, &sum, &journal, &dropped));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 1 << 18) return 0;
    uint8_t *bytes = malloc(size);
    if (!bytes) return 0;
    uint8_t kind = data[0] % 4;
    bool mend = data[1] & 1;
    size -= 2;
    memcpy(bytes, data + 2, size);
    switch (kind) {
    case 0:
        if (mend) mend_pages(bytes, size);
        try_run(bytes, size);
        break;
    case 1:
        if (mend) mend_journal(bytes, size);
        try_journal(bytes, size);
        break;
    case 2: {
        cf_manifest manifest = {0};
        if (mend && size >= 8) cf_entry_store64(bytes + size - 8, XXH3_64bits(bytes, size - 8));
        cf_err_free(cf_manifest_decode(cf_span_of(bytes, size), server_id, &manifest));
        cf_manifest_wipe(&manifest);
        break;
    }
    default: {
        cf_ranges dead = {0};
        if (mend && size >= 8) cf_entry_store64(bytes + size - 8, XXH3_64bits_withSeed(bytes, size - 8, NUMBER));
        cf_err_free(cf_dead_decode(cf_span_of(bytes, size), NUMBER, &dead));
        cf_ranges_wipe(&dead);
    }
    }
    free(bytes);
    return 0;
}
