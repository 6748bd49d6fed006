/* What the configuration means for a backup's threads and compression.                                       */
#ifndef CF_AGENT_BACKUP_SETTINGS_H
#define CF_AGENT_BACKUP_SETTINGS_H

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

#endif
