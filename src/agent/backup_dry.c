/* A dry run: the scan of a backup with a writer that only counts. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/backup_coverage.h"
#include "agent/backup_job.h"
#include "agent/backup_settings.h"
#include "agent/backup_state.h"
#include "agent/index_upkeep.h"
#include "agent/point_build.h"
#include "base/log.h"
#include "base/text.h"
#include "os/stat.h"

static cf_err *no_numbers(void *context, uint64_t after, uint64_t *first, uint64_t *count) {
    (void)context, (void)after, (void)first, (void)count;
    return cf_fail(CF_ERR_INTERNAL, "a dry run asked for pack numbers");
}

static cf_err *no_store(void *context, const cf_stored_pack *pack) {
    (void)context, (void)pack;
    return cf_fail(CF_ERR_INTERNAL, "a dry run stored a pack");
}

static void warn(void *context, cf_span path, const cf_err *why) {
    (void)context;
    CF_AUTO_FREE char *shown = cf_text_printable(path);
    cf_log(CF_LOG_WARNING, "%s: %s", shown ? shown : "?", cf_err_message(why));
}

static cf_err *scan(const cf_backup_job *job, const cf_coverage *coverage, cf_index *index, cf_cache *cache,
                    const cf_backup_skip *skip, cf_backup_outcome *outcome) {
    CF_AUTO(cf_writer) writer = NULL;
    CF_AUTO(cf_secret) key = NULL;
    CF_TRY(cf_secret_new(CF_KEY_SIZE, &key)); /* never used: nothing is sealed */
    cf_writer_options options = {.server = job->access->server_id,
                                 .keys = job->access->keys,
                                 .session_key = key,
                                 .index = index,
                                 .sink = {no_numbers, no_store, NULL},
                                 .level = cf_job_level(job->config->compression),
                                 .waiting = 1,
                                 .dry_run = true,
                                 .cancel = job->cancel};
    CF_TRY(cf_writer_open(&options, &writer));
    cf_backup_made state = cf_backup_state_made(job->cancel);
    cf_backup_options scanning = {.keys = job->access->keys,
                                  .writer = writer,
                                  .sources = coverage->sources,
                                  .exclude = coverage->exclude,
                                  .made = coverage->system_state ? &state : NULL,
                                  .exclude_caches = coverage->exclude_caches,
                                  .exclude_nodump = coverage->exclude_nodump,
                                  .cache = cache,
                                  .cross_file_systems = coverage->cross_file_systems,
                                  .lanes = cf_job_lanes(job->config),
                                  .started = cf_clock_wall(cf_state_clock(job->state)),
                                  .skips = skip,
                                  .skip_count = 1,
                                  .warn = warn,
                                  .cancel = job->cancel,
                                  .progress = job->progress};
    cf_backup_result result = {0};
    cf_err *err = cf_backup_scan(&scanning, &result);
    cf_map_free(result.map);
    CF_TRY(err);
    cf_writer_stats stats;
    cf_writer_get_stats(writer, &stats);
    outcome->summary = (cf_summary){.selection = cf_job_selection(job),
                                    .files = result.totals.files,
                                    .directories = result.totals.directories,
                                    .others = result.totals.others,
                                    .bytes = result.totals.bytes,
                                    .files_new = result.files_new,
                                    .files_changed = result.files_changed,
                                    .files_unchanged = result.files_unchanged,
                                    .bytes_read = result.bytes_read,
                                    .bytes_stored = stats.bytes_new,
                                    .warnings = result.warnings};
    return NULL;
}

static cf_err *with_scratch(const cf_backup_job *job, int scratch_fd, cf_backup_outcome *outcome) {
    CF_AUTO(cf_index) index = NULL;
    CF_AUTO(cf_cache) cache = NULL;
    cf_stat stat;
    cf_id16 selection;
    bool fresh = false;
    CF_TRY(cf_os_stat(scratch_fd, "", &stat));
    cf_backup_skip skip = {stat.device, stat.inode};
    CF_TRY(cf_index_upkeep_open(job->scratch, &job->access->server_id, &index, &fresh));
    CF_AUTO_COVERAGE cf_coverage room = {0};
    const cf_coverage *coverage = NULL;
    CF_TRY(cf_backup_coverage(job, NULL, &room, &coverage));
    CF_TRY(cf_selection_cache(job->access->keys, cf_job_selection(job), coverage, &selection));
    CF_TRY(cf_cache_open(scratch_fd, &job->access->server_id, &selection, &cache));
    if (job->full_scan) cf_cache_forget(cache);
    outcome->has_base = cf_cache_has_root(cache);
    if (outcome->has_base) outcome->base = cf_cache_get_root(cache)->point;
    outcome->scan_reason = job->full_scan ? "asked for" : outcome->has_base ? "no change tracking" : "no tree cache";
    return scan(job, coverage, index, cache, &skip, outcome);
}

cf_err *cf_backup_dry_run(const cf_backup_job *job, cf_backup_outcome *outcome) {
    *outcome = (cf_backup_outcome){.scan_reason = "", .status = "dry_run"};
    cf_clock clock = cf_clock_system();
    uint64_t before = cf_clock_ms(&clock);
    CF_AUTO(cf_state_lock) lock = NULL;
    CF_TRY(cf_state_lock_take(job->state, CF_STATE_LOCK_BACKUP, "a dry run", &lock));
    int scratch_fd = open(job->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scratch_fd < 0) return cf_fail_errno(CF_ERR_IO, errno, "scratch folder %s", job->scratch);
    cf_err *err = with_scratch(job, scratch_fd, outcome);
    close(scratch_fd);
    outcome->seconds_ms = cf_clock_ms(&clock) - before;
    return err;
}
