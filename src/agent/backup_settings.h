/* What the configuration means for a backup's threads and compression.                                       */
#ifndef CF_AGENT_BACKUP_SETTINGS_H
#define CF_AGENT_BACKUP_SETTINGS_H

#include <stddef.h>
#include <unistd.h>

#include "policy/config.h"

/* zstd levels. */
static inline int cf_job_level(cf_compression compression) {
    return compression == CF_COMPRESSION_FAST ? 1 : compression == CF_COMPRESSION_MAX ? 12 : 3;
}

/* Lanes: as configured, else one for each processor up to 16. */
static inline unsigned cf_job_lanes(const cf_config *config) {
    if (config->lanes) return config->lanes;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > 16 ? 16 : (unsigned)processors;
}

/* The size of data packs that fits the memory: four of them can be held at once (one open, two waiting, one more
 * being uploaded), besides tree packs, lanes, index and libraries.                                             */
#define CF_JOB_TREE_PACK ((size_t)4 << 20)
static inline size_t cf_job_data_pack(const cf_config *config) {
    uint64_t fixed = ((uint64_t)32 << 20) + 4 * CF_JOB_TREE_PACK + (uint64_t)cf_job_lanes(config) * ((uint64_t)6 << 20);
    uint64_t least = (uint64_t)1 << 20;
    uint64_t fits = config->memory_bytes > fixed + 4 * least ? (config->memory_bytes - fixed) / 4 : least;
    return (size_t)(fits < config->pack_size_bytes ? fits : config->pack_size_bytes);
}

#endif
