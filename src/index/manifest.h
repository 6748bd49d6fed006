/* The manifest: the one file that says what belongs to the index. It is replaced as a whole (write, sync, rename, sync
 * the folder), so that every change of the set of files is one step. Internal to the index.               */
#ifndef CF_INDEX_MANIFEST_H
#define CF_INDEX_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "index/ranges.h"

#define CF_MANIFEST_NAME "manifest"
#define CF_MANIFEST_VERSION 1
#define CF_MANIFEST_MAX ((size_t)256 << 20)
#define CF_MANIFEST_RUNS_MAX 64
#define CF_BOOT_ID_SIZE 64

typedef struct cf_manifest {
    uint8_t server_id[16];
    uint8_t epoch[16];
    uint64_t generation;
    bool clean;                    /* closed in good order                                              */
    char boot_id[CF_BOOT_ID_SIZE]; /* of the boot in which it was written                               */
    uint64_t next_number;          /* for files                                                         */
    uint64_t journal_number;
    uint64_t journal_bytes; /* when clean: its whole length                                             */
    bool has_dead;
    uint64_t dead_number; /* the file with the dead segments                                            */
    size_t run_count;
    uint64_t runs[CF_MANIFEST_RUNS_MAX]; /* newest first                                         */
    uint64_t run_entries[CF_MANIFEST_RUNS_MAX];
    cf_ranges packs; /* applied and in runs; those in the journal are not here                          */
} cf_manifest;

void cf_manifest_wipe(cf_manifest *manifest);
/* cf_manifest_store: placed: see cf_iio_replace. */
cf_err *cf_manifest_store(int dir, const cf_manifest *manifest, bool *placed) __attribute__((warn_unused_result));
/* cf_manifest_load: *exists is false, and nothing else changed, when there is none.                     */
cf_err *cf_manifest_load(int dir, const uint8_t server_id[16], cf_manifest *manifest, bool *exists)
    __attribute__((warn_unused_result));
cf_err *cf_manifest_decode(cf_span bytes, const uint8_t server_id[16], cf_manifest *manifest)
    __attribute__((warn_unused_result));

/* The file of dead segments. */
cf_err *cf_dead_store(int dir, uint64_t number, const cf_ranges *dead) __attribute__((warn_unused_result));
cf_err *cf_dead_load(int dir, uint64_t number, cf_ranges *dead) __attribute__((warn_unused_result));
cf_err *cf_dead_decode(cf_span bytes, uint64_t number, cf_ranges *dead) __attribute__((warn_unused_result));

#endif
