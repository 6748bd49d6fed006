#include "agent/backup_attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/backup_coverage.h"
#include "agent/backup_settings.h"
#include "agent/backup_state.h"
#include "agent/heal.h"
#include "agent/index_upkeep.h"
#include "agent/point_build.h"
#include "agent/refresh.h"
#include "agent/runner.h"
#include "base/log.h"
#include "base/text.h"
#include "digest/digest.h"
#include "os/file.h"
#include "os/stat.h"
#include "remote/packs.h"
#include "remote/points.h"
#include "repo/source_remote.h"
#include "repo/vault_head.h"

enum { PASSES_MAX = 4 };

/* One try: everything that belongs to one session at the vault. */
typedef struct cf_attempt {
    const cf_backup_job *job;
    const cf_coverage *coverage;
    cf_backup_outcome *outcome;
    cf_job *running;
    cf_remote *remote;
    const cf_server_keys *keys;
    cf_source *source;
    cf_reader *reader;
    cf_index *index;
    bool index_fresh;
    int scratch_fd;
    cf_backup_skip skip;
    cf_id16 session;
    cf_secret *session_key;
    uint8_t record[CF_RECORD_SIZE];
    cf_remote_session opened;
    bool has_session;
    cf_point_row *rows; /* the vault's points, when they had to be asked for */
    size_t row_count;
    bool has_rows;
    bool rolled_back; /* or otherwise not what index and tree cache say: both are made anew */
    bool distrusted;  /* the session before this one was told of more losses than a list holds */
    bool resync;      /* the next session is to do so */
    cf_id16 selection_id;
    cf_cache *cache;
    cf_map *base_map;
    cf_map *dead;
    cf_heal heal;
    cf_usage *usage; /* of the base's segments; NULL: not counted */
    cf_map *refresh; /* segments to be stored again; NULL: none */
    cf_writer *writer;
    cf_time started;
} cf_attempt;

static void note(const cf_backup_job *job, const char *text) {
    if (job->note) job->note(job->context, text);
}

/* ---- The writer's way to the vault ---- */

/* Remembered where scratch cannot lose it: a vault that was put back must not hand out a number twice. */
static cf_err *remember_numbers(cf_state *state, uint64_t end) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)end);
    return cf_state_set_setting(state, "numbers_end", text);
}

static cf_err *sink_numbers(void *context, uint64_t after, uint64_t *first, uint64_t *count) {
    cf_attempt *attempt = context;
    cf_remote_numbers numbers;
    CF_TRY(cf_remote_more_numbers(attempt->remote, &attempt->session, after, &numbers));
    CF_TRY(remember_numbers(attempt->job->state, numbers.first + numbers.count));
    *first = numbers.first;
    *count = numbers.count;
    return NULL;
}

static cf_err *sink_store(void *context, const cf_stored_pack *pack) {
    cf_attempt *attempt = context;
    return cf_remote_store_pack(attempt->remote, &attempt->session, pack->number, pack->bytes, pack->xxh3, pack->tail,
                                NULL);
}

/* ---- Opening ---- */

static cf_err *open_scratch(cf_attempt *attempt) {
    attempt->scratch_fd = open(attempt->job->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (attempt->scratch_fd < 0) return cf_fail_errno(CF_ERR_IO, errno, "scratch folder %s", attempt->job->scratch);
    cf_stat stat;
    CF_TRY(cf_os_stat(attempt->scratch_fd, "", &stat));
    attempt->skip = (cf_backup_skip){stat.device, stat.inode};
    cf_tree_cache_make_room(attempt->job->scratch, &attempt->job->access->server_id);   /* the index goes first */
    CF_TRY(cf_file_remove_leftovers(attempt->scratch_fd, attempt->job->scratch, NULL)); /* of a run that was killed */
    return cf_index_upkeep_open(attempt->job->scratch, &attempt->job->access->server_id, &attempt->index,
                                &attempt->index_fresh);
}

static cf_err *highest_number(cf_attempt *attempt, uint64_t *highest) {
    CF_TRY(cf_index_upkeep_highest(attempt->index, highest));
    CF_AUTO_FREE char *text = NULL;
    CF_TRY(cf_state_get_setting(attempt->job->state, "numbers_end", &text));
    uint64_t end = 0;
    if (text && cf_text_parse_u64(text, CF_PACK_NUMBER_MAX, &end) && end > *highest + 1) *highest = end - 1;
    return NULL;
}

static cf_err *open_cache(cf_attempt *attempt) {
    cf_id16 key;
    CF_TRY(cf_selection_cache(attempt->keys, cf_job_selection(attempt->job), attempt->coverage, &key));
    return cf_cache_open(attempt->scratch_fd, &attempt->job->access->server_id, &key, &attempt->cache);
}

static cf_err *parse_epoch(const cf_remote_session *session, uint8_t epoch[16]) {
    if (cf_hex_decode(session->epoch, epoch, 16)) return NULL;
    return cf_fail_reason(CF_ERR_BAD_REPLY, "fields", "the session's epoch is not 32 hexadecimal digits");
}

/* epoch: borrowed by the request. */
static cf_err *describe_session(cf_attempt *attempt, const char *epoch, cf_remote_session_request *request) {
    *request = (cf_remote_session_request){.session = attempt->session,
                                           .epoch = epoch,
                                           .generation = cf_index_generation(attempt->index),
                                           .instance = attempt->job->access->instance,
                                           .job = *cf_job_id(attempt->running)};
    if (cf_cache_has_root(attempt->cache)) {
        request->has_base = true;
        request->base = cf_cache_get_root(attempt->cache)->point;
    }
    return highest_number(attempt, &request->numbers_after);
}

static cf_err *open_session(cf_attempt *attempt) {
    uint8_t key[CF_KEY_SIZE], epoch[16];
    char epoch_hex[CF_HEX_SIZE(16)];
    cf_remote_session_request request;
    CF_TRY(cf_random(attempt->session.bytes, 16));
    CF_TRY(cf_random(key, sizeof key));
    cf_err *err = cf_secret_from(key, sizeof key, &attempt->session_key);
    cf_wipe(key, sizeof key);
    CF_TRY(err);
    CF_TRY(cf_record_seal(attempt->keys->master, &attempt->job->access->server_id, &attempt->session,
                          attempt->session_key, attempt->record));
    cf_index_epoch(attempt->index, epoch);
    cf_hex_encode(epoch, 16, epoch_hex);
    CF_TRY(describe_session(attempt, epoch_hex, &request));
    CF_TRY(cf_remote_open_session(attempt->remote, &request, &attempt->opened));
    attempt->has_session = true;
    if (attempt->opened.numbers.first <= request.numbers_after)
        return cf_fail_reason(CF_ERR_BAD_REPLY, "numbers", "the vault handed out pack numbers that were used before");
    cf_job_set_session(attempt->running, &attempt->session);
    CF_TRY(remember_numbers(attempt->job->state, attempt->opened.numbers.first + attempt->opened.numbers.count));
    /* Before anything that it seals: whatever was uploaded can be read by a later run. */
    return cf_remote_store_record(attempt->remote, &attempt->session, cf_span_of(attempt->record, CF_RECORD_SIZE));
}

static cf_err *list_points(cf_attempt *attempt) {
    if (attempt->has_rows) return NULL;
    CF_TRY(cf_reader_points(attempt->reader, &attempt->rows, &attempt->row_count));
    attempt->has_rows = true;
    return NULL;
}

/* Does the vault still show what it showed before? A difference is a warning of the job, never a reason not to
 * back up: the index is then filled anew from what the vault really has. */
static cf_err *check_head(cf_attempt *attempt) {
    cf_head head;
    const cf_remote_newest *newest = &attempt->opened.newest;
    CF_TRY(cf_state_get_head(attempt->job->state, &head));
    if (!head.exists && !newest->exists) return NULL;
    if (head.exists && newest->exists && head.counter == newest->counter && cf_id32_equal(&head.id, &newest->id))
        return NULL;
    CF_TRY(list_points(attempt));
    cf_vault_head known = {.known = head.exists, .id = head.id, .counter = head.counter}, now;
    cf_vault_head_state state;
    cf_err *err = cf_vault_head_check(&known, attempt->rows, attempt->row_count, &state, &now);
    if (!err) return NULL;
    if (cf_err_code(err) != CF_ERR_HEAD_MISMATCH) return err;
    note(attempt->job, "the vault does not have the points that it had: comparing everything");
    cf_job_warning(attempt->running, cf_span_of(NULL, 0), err);
    cf_log_error(CF_LOG_WARNING, err);
    cf_err_free(err);
    attempt->rolled_back = true;
    return NULL;
}

static cf_err *apply_feed(cf_attempt *attempt) {
    const cf_remote_session *session = &attempt->opened;
    uint8_t epoch[16];
    CF_TRY(parse_epoch(session, epoch));
    return cf_index_upkeep_retire(attempt->index, session->generation, epoch, session->feed, session->feed_count);
}

/* A long feed comes in pieces: the same session is opened again from where the index has come to. */
static cf_err *apply_whole_feed(cf_attempt *attempt) {
    CF_TRY(apply_feed(attempt));
    while (attempt->opened.feed_more) {
        uint64_t before = attempt->opened.generation;
        cf_remote_session_request request;
        CF_TRY(cf_cancel_check(attempt->job->cancel));
        char epoch[CF_REMOTE_EPOCH_MAX + 1];
        snprintf(epoch, sizeof epoch, "%s", attempt->opened.epoch);
        CF_TRY(describe_session(attempt, epoch, &request));
        request.generation = before;
        cf_remote_session more;
        CF_TRY(cf_remote_open_session(attempt->remote, &request, &more));
        cf_remote_session_wipe(&attempt->opened);
        attempt->opened = more;
        if (attempt->opened.generation <= before)
            return cf_fail_reason(CF_ERR_BAD_REPLY, "feed", "the feed of retired segments does not go on");
        CF_TRY(apply_feed(attempt));
    }
    return NULL;
}

/* Brings the index in step with the vault. */
static cf_err *settle_index(cf_attempt *attempt) {
    uint8_t epoch[16], known[16];
    CF_TRY(parse_epoch(&attempt->opened, epoch));
    cf_index_epoch(attempt->index, known);
    static const uint8_t none[16];
    bool other_epoch = (memcmp(epoch, known, 16) != 0 && memcmp(known, none, 16) != 0) || attempt->opened.resync;
    CF_AUTO_FREE char *unclean = NULL;
    CF_TRY(cf_state_get_setting(attempt->job->state, "unclean_session", &unclean));
    if (other_epoch || attempt->rolled_back)
        CF_TRY(cf_index_upkeep_restart(attempt->job->scratch, &attempt->job->access->server_id, &attempt->index));
    CF_TRY(apply_whole_feed(attempt));
    CF_TRY(cf_state_set_setting(attempt->job->state, "unclean_session", "1"));
    if (!other_epoch && !attempt->rolled_back && !attempt->index_fresh && !unclean) return NULL;
    uint64_t added = 0;
    cf_progress_phase(attempt->job->progress, "reading pack directories");
    return cf_index_upkeep_fill(attempt->index, attempt->remote, attempt->reader, attempt->job->cancel, &added);
}

/* Segments that the vault found damaged: nothing new refers to them; files and folders that do are stored again. */
static cf_err *settle_damage(cf_attempt *attempt) {
    CF_TRY(cf_heal_learn(attempt->remote, &attempt->heal));
    if (attempt->heal.objects) {
        CF_AUTO(cf_err)
        err = cf_fail(CF_ERR_VAULT_DAMAGE, "%zu objects of this server besides segments are damaged in the vault",
                      attempt->heal.objects);
        cf_job_warning(attempt->running, cf_span_of(NULL, 0), err);
    }
    if (!attempt->heal.known) return NULL;
    if (attempt->heal.open) note(attempt->job, "the vault has found damaged data: storing again what is still here");
    CF_TRY(cf_heal_forget(attempt->heal.known, attempt->index));
    if (!attempt->dead) CF_TRY(cf_map_new(&attempt->dead));
    return cf_map_add_all(attempt->dead, attempt->heal.known);
}

/* Is the tree cache's point one that the vault still has? Otherwise nothing in the cache may be trusted. */
static cf_err *settle_cache(cf_attempt *attempt) {
    cf_backup_outcome *outcome = attempt->outcome;
    outcome->scan_reason = "no tree cache";
    if (attempt->distrusted) cf_cache_forget(attempt->cache);
    if (!cf_cache_has_root(attempt->cache)) return NULL;
    const cf_cache_root *root = cf_cache_get_root(attempt->cache);
    bool there = attempt->opened.newest.exists && cf_id32_equal(&root->point, &attempt->opened.newest.id);
    if (!there) {
        CF_TRY(list_points(attempt));
        for (size_t i = 0; i < attempt->row_count && !there; i++)
            there = cf_id32_equal(&root->point, &attempt->rows[i].id);
    }
    cf_map_header header;
    cf_err *err = there ? cf_map_decode(cf_cache_map(attempt->cache), NULL, &header, &attempt->base_map) : NULL;
    if (!there || err || attempt->job->full_scan) {
        outcome->scan_reason = !there ? "the base point is not in the vault" : err ? "damaged tree cache" : "asked for";
        cf_err_free(err);
        cf_map_free(cf_take(attempt->base_map));
        cf_cache_forget(attempt->cache);
        return NULL;
    }
    outcome->scan_reason = "no change tracking";
    outcome->base = root->point;
    outcome->has_base = true;
    return NULL;
}

/* Segments of which the base uses little: this scan stores a few of them again. */
static cf_err *settle_refresh(cf_attempt *attempt) {
    if (!attempt->base_map || !cf_cache_has_root(attempt->cache)) return NULL;
    CF_TRY(cf_usage_count(attempt->cache, attempt->base_map, &attempt->usage));
    if (attempt->usage) CF_TRY(cf_usage_sparse(attempt->usage, &attempt->refresh));
    if (!attempt->refresh) return NULL;
    cf_log(CF_LOG_INFO,
           "reading 100 bytes of the newest recovery point takes %u: storing %llu sparsely used segments again",
           cf_usage_amplification(attempt->usage), (unsigned long long)cf_map_segment_count(attempt->refresh));
    return cf_heal_forget(attempt->refresh, attempt->index);
}

static cf_err *open_writer(cf_attempt *attempt) {
    const cf_config *config = attempt->job->config;
    unsigned lanes = cf_job_lanes(config);
    cf_writer_options options = {.server = attempt->job->access->server_id,
                                 .session = attempt->session,
                                 .keys = attempt->keys,
                                 .session_key = attempt->session_key,
                                 .index = attempt->index,
                                 .sink = {sink_numbers, sink_store, attempt},
                                 .numbers_first = attempt->opened.numbers.first,
                                 .numbers_count = attempt->opened.numbers.count,
                                 .level = cf_job_level(config->compression),
                                 .verify = config->verify_uploads,
                                 .pack_target = {cf_job_data_pack(config), CF_JOB_TREE_PACK},
                                 .sealers = lanes,
                                 .uploaders = 2,
                                 .waiting = 2,
                                 .cancel = attempt->job->cancel,
                                 .progress = attempt->job->progress};
    return cf_writer_open(&options, &attempt->writer);
}

/* ---- One pass over the sources, and the commit ---- */

static void warn(void *context, cf_span path, const cf_err *why) {
    cf_attempt *attempt = context;
    cf_job_warning(attempt->running, path, why);
}

static cf_err *scan(cf_attempt *attempt, cf_backup_result *result) {
    cf_backup_made state = cf_backup_state_made(attempt->job->cancel);
    cf_backup_options options = {.keys = attempt->keys,
                                 .writer = attempt->writer,
                                 .sources = attempt->coverage->sources,
                                 .exclude = attempt->coverage->exclude,
                                 .made = attempt->coverage->system_state ? &state : NULL,
                                 .exclude_caches = attempt->coverage->exclude_caches,
                                 .exclude_nodump = attempt->coverage->exclude_nodump,
                                 .cache = attempt->cache,
                                 .dead = attempt->dead,
                                 .damaged = attempt->heal.open != NULL,
                                 .refresh = attempt->refresh,
                                 .reader = attempt->reader,
                                 .cross_file_systems = attempt->coverage->cross_file_systems,
                                 .lanes = cf_job_lanes(attempt->job->config),
                                 .started = attempt->started,
                                 .skips = &attempt->skip,
                                 .skip_count = 1,
                                 .warn = warn,
                                 .warn_context = attempt,
                                 .cancel = attempt->job->cancel,
                                 .progress = attempt->job->progress};
    cf_progress_phase(attempt->job->progress, "backing up");
    return cf_backup_scan(&options, result);
}

static void fill_summary(cf_attempt *attempt, const cf_backup_result *result) {
    cf_writer_stats stats;
    cf_writer_get_stats(attempt->writer, &stats);
    uint64_t warnings = cf_job_warning_count(attempt->running);
    attempt->outcome->summary =
        (cf_summary){.selection = cf_job_selection(attempt->job),
                     .with_warnings = warnings > 0,
                     .started = (uint64_t)attempt->started.seconds,
                     .finished = (uint64_t)cf_clock_wall(cf_state_clock(attempt->job->state)).seconds,
                     .files = result->totals.files,
                     .directories = result->totals.directories,
                     .others = result->totals.others,
                     .bytes = result->totals.bytes,
                     .files_new = result->files_new,
                     .files_changed = result->files_changed,
                     .files_unchanged = result->files_unchanged,
                     .bytes_read = result->bytes_read,
                     .bytes_stored = stats.bytes_stored,
                     .warnings = warnings,
                     .selection_id = attempt->selection_id};
}

static cf_err *build(cf_attempt *attempt, const cf_backup_result *result, const cf_pack_name *packs, size_t pack_count,
                     cf_buf *object, cf_id32 *id, uint8_t *chain) {
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0'; /* only for people to read */
    cf_point_parts parts = {.keys = attempt->keys,
                            .session_key = attempt->session_key,
                            .key_record = cf_span_of(attempt->record, CF_RECORD_SIZE),
                            .server = attempt->job->access->server_id,
                            .session = attempt->session,
                            .counter = attempt->opened.newest.exists ? attempt->opened.newest.counter + 1 : 1,
                            .time = attempt->started,
                            .summary = &attempt->outcome->summary,
                            .packs = packs,
                            .pack_count = pack_count,
                            .tree = &result->tree,
                            .totals = &result->totals,
                            .map = result->map,
                            .usage = attempt->usage,
                            .base_map = attempt->outcome->has_base ? attempt->base_map : NULL,
                            .base_point = attempt->outcome->base,
                            .base_chain = attempt->base_map ? cf_cache_get_root(attempt->cache)->map_chain : 0,
                            .host = host,
                            .coverage = attempt->coverage};
    if (attempt->opened.newest.exists) parts.previous = attempt->opened.newest.id;
    return cf_point_build(&parts, object, id, chain);
}

/* The vault lacks segments that the tree refers to: they count as lost from here on, and are stored again. */
static cf_err *take_losses(cf_attempt *attempt, const cf_remote_missing *missing) {
    uint8_t epoch[16];
    CF_TRY(parse_epoch(&attempt->opened, epoch));
    if (!attempt->dead) CF_TRY(cf_map_new(&attempt->dead));
    for (size_t i = 0; i < missing->count; i++) {
        const cf_remote_segments *lost = &missing->items[i];
        uint32_t first = 0, count = lost->all ? CF_SEGMENTS_MAX : (uint32_t)lost->count;
        CF_AUTO_FREE cf_index_segment *segments = calloc(count ? count : 1, sizeof *segments);
        if (!segments) return cf_fail(CF_ERR_OUT_OF_MEMORY, "lost segments");
        for (; first < count; first++) {
            uint16_t segment = lost->all ? (uint16_t)first : lost->segments[first];
            segments[first] = (cf_index_segment){lost->pack, segment};
            CF_TRY(cf_map_add(attempt->dead, lost->pack, segment));
        }
        CF_TRY(cf_index_apply_feed(attempt->index, attempt->opened.generation, epoch, segments, count));
    }
    return NULL;
}

static cf_err *keep_cache(cf_attempt *attempt, const cf_backup_result *result, const cf_id32 *id, uint8_t chain) {
    CF_AUTO_BUF cf_buf map;
    cf_buf_init(&map, CF_POINT_MAP_MAX);
    cf_map_header whole = {.exact = true};
    CF_TRY(cf_map_encode(result->map, &whole, NULL, NULL, NULL, &map));
    cf_cache_root root = {.point = *id,
                          .scan_started = attempt->started,
                          .block = result->block,
                          .map_chain = chain,
                          .live_bytes = result->live_bytes};
    return cf_cache_commit(attempt->cache, &root, cf_buf_span(&map));
}

static cf_err *store_point(cf_attempt *attempt, const cf_backup_result *result, const cf_pack_name *packs,
                           size_t pack_count, cf_buf *object, cf_id32 *id, uint8_t *chain, cf_remote_missing *missing) {
    CF_TRY(build(attempt, result, packs, pack_count, object, id, chain));
    return cf_remote_store_point(attempt->remote, &attempt->session, id, attempt->job->scheduled,
                                 attempt->job->retain_until, cf_buf_span(object), missing);
}

/* The base that a delta map refers to is damaged in the vault, or gone. */
static bool is_about_the_base(const cf_err *err) {
    return cf_err_code(err) == CF_ERR_POINT_DAMAGED ||
           (cf_err_code(err) == CF_ERR_BAD_REQUEST && strcmp(cf_err_reason(err), "base") == 0);
}

/* What the scan has stored again serves the older points too. The new one stands: nothing here fails the job. */
static void heal_older_points(cf_attempt *attempt) {
    cf_heal_options options = {.state = attempt->job->state,
                               .job = attempt->running,
                               .remote = attempt->remote,
                               .source = attempt->source,
                               .index = attempt->index,
                               .keys = attempt->keys,
                               .session_key = attempt->session_key,
                               .key_record = cf_span_of(attempt->record, CF_RECORD_SIZE),
                               .server = attempt->job->access->server_id,
                               .session = attempt->session,
                               .cancel = attempt->job->cancel,
                               .progress = attempt->job->progress};
    cf_heal_result result;
    CF_AUTO(cf_err) err = cf_heal_run(&attempt->heal, &options, &result);
    attempt->outcome->summary.warnings = cf_job_warning_count(attempt->running); /* the job's; the point is whole */
    if (result.healed)
        cf_log(CF_LOG_WARNING,
               "%llu damaged segments were healed: %llu chunks of older recovery points stand elsewhere",
               (unsigned long long)result.healed, (unsigned long long)result.chunks);
    if (!err) return;
    CF_AUTO(cf_err)
    told = cf_wrap(cf_take(err), CF_ERR_VAULT_DAMAGE, "healing was not finished: the next backup goes on");
    cf_job_warning(attempt->running, cf_span_of(NULL, 0), told);
    cf_log_error(CF_LOG_WARNING, told);
}

/* *again: segments were missing, go through the sources once more. */
static cf_err *commit(cf_attempt *attempt, const cf_backup_result *result, bool *again) {
    CF_AUTO_FREE cf_pack_name *packs = NULL;
    size_t pack_count = 0;
    uint8_t chain = 0;
    CF_AUTO_BUF cf_buf object;
    cf_buf_init(&object, CF_POINT_MAX);
    cf_progress_phase(attempt->job->progress, "finishing");
    CF_TRY(cf_writer_finish(attempt->writer, &packs, &pack_count));
    fill_summary(attempt, result);
    cf_id32 id;
    cf_remote_missing missing = {0};
    CF_TRY(cf_cancel_check(attempt->job->cancel));
    cf_err *err = store_point(attempt, result, packs, pack_count, &object, &id, &chain, &missing);
    if (attempt->outcome->has_base && is_about_the_base(err)) {
        cf_log_error(CF_LOG_WARNING, err); /* then the map is sent whole */
        cf_err_free(err);
        attempt->outcome->has_base = false;
        err = store_point(attempt, result, packs, pack_count, &object, &id, &chain, &missing);
    }
    if (cf_err_code(err) == CF_ERR_MISSING_SEGMENTS && missing.more) {
        attempt->resync = true; /* more than a list tells: compare everything */
    } else if (cf_err_code(err) == CF_ERR_MISSING_SEGMENTS && missing.count) {
        cf_log_error(CF_LOG_WARNING, err);
        cf_err_free(err);
        err = take_losses(attempt, &missing);
        *again = true;
    }
    cf_remote_missing_wipe(&missing);
    if (err || *again) return err;
    attempt->outcome->point = id;
    CF_TRY(cf_state_set_head(attempt->job->state, &id,
                             attempt->opened.newest.exists ? attempt->opened.newest.counter + 1 : 1,
                             attempt->rolled_back));
    /* From here on the point stands; the cache only makes the next run faster. */
    err = keep_cache(attempt, result, &id, chain);
    if (err) cf_log_error(CF_LOG_WARNING, err);
    cf_err_free(err);
    heal_older_points(attempt);
    return NULL;
}

static cf_err *passes(cf_attempt *attempt) {
    for (int pass = 1; pass <= PASSES_MAX; pass++) {
        cf_backup_result result = {0};
        bool again = false;
        cf_err *err = scan(attempt, &result);
        if (!err) err = commit(attempt, &result, &again);
        cf_map_free(result.map);
        if (err || !again) return err;
        note(attempt->job, "the vault lacks data that it had: storing it again");
        attempt->outcome->has_base = false; /* a delta against a base with missing segments could not be committed */
    }
    return cf_fail(CF_ERR_MISSING_SEGMENTS, "the vault keeps losing segments: given up after %d passes", PASSES_MAX);
}

static void close_session(cf_attempt *attempt) {
    cf_job_set_session(attempt->running, NULL);
    if (!attempt->has_session) return;
    cf_err *err = cf_remote_close_session(attempt->remote, &attempt->session);
    if (err) cf_log_error(CF_LOG_INFO, err); /* its lease runs out by itself */
    cf_err_free(err);
}

static cf_err *close_index(cf_attempt *attempt, bool clean) {
    if (!clean) {
        cf_index_discard(cf_take(attempt->index));
        return NULL;
    }
    cf_index *index = cf_take(attempt->index);
    cf_err *err = cf_index_close(index);
    if (!err) return cf_state_set_setting(attempt->job->state, "unclean_session", NULL);
    cf_log_error(CF_LOG_WARNING, err); /* a cache: the next run fills it */
    cf_err_free(err);
    return NULL;
}

static void attempt_wipe(cf_attempt *attempt) {
    cf_writer_free(attempt->writer);
    cf_cache_close(attempt->cache);
    cf_index_discard(attempt->index);
    cf_reader_close(attempt->reader);
    cf_source_close(attempt->source);
    cf_map_free(attempt->base_map);
    cf_map_free(attempt->dead);
    cf_heal_wipe(&attempt->heal);
    cf_usage_free(attempt->usage);
    cf_map_free(attempt->refresh);
    cf_secret_free(attempt->session_key);
    cf_remote_session_wipe(&attempt->opened);
    free(attempt->rows);
    if (attempt->scratch_fd >= 0) close(attempt->scratch_fd);
}

static cf_err *work(cf_attempt *attempt) {
    CF_TRY(cf_source_remote_open(attempt->remote, &attempt->source));
    CF_TRY(cf_reader_open(attempt->source, attempt->keys, &attempt->job->access->server_id, CF_CHUNK_MAX,
                          &attempt->reader));
    CF_TRY(open_scratch(attempt));
    CF_TRY(cf_selection_id(attempt->keys, cf_job_selection(attempt->job), attempt->coverage, &attempt->selection_id));
    cf_progress_phase(attempt->job->progress, "opening a session");
    CF_TRY(open_cache(attempt)); /* first: the vault is told which point must stay */
    CF_TRY(open_session(attempt));
    CF_TRY(check_head(attempt));
    CF_TRY(settle_index(attempt));
    CF_TRY(settle_damage(attempt));
    CF_TRY(settle_cache(attempt));
    CF_TRY(settle_refresh(attempt));
    CF_TRY(open_writer(attempt));
    return passes(attempt);
}

cf_err *cf_backup_attempt(const cf_backup_job *job, const cf_coverage *coverage, cf_job *running,
                          cf_backup_outcome *outcome, bool distrusted, bool *again, bool *resync) {
    cf_attempt attempt = {.job = job,
                          .coverage = coverage,
                          .outcome = outcome,
                          .running = running,
                          .remote = job->access->remote,
                          .keys = job->access->keys,
                          .scratch_fd = -1,
                          .distrusted = distrusted,
                          .rolled_back = distrusted,
                          .started = cf_clock_wall(cf_state_clock(job->state))};
    outcome->has_base = false;
    cf_err *err = work(&attempt);
    cf_writer_free(cf_take(attempt.writer)); /* its threads use the index */
    close_session(&attempt);
    if (attempt.index) {
        cf_err *closing = close_index(&attempt, !err);
        if (err)
            cf_err_free(closing);
        else
            err = closing;
    }
    attempt_wipe(&attempt);
    *resync = attempt.resync;
    *again = attempt.resync || cf_err_code(err) == CF_ERR_SESSION_LOST || cf_err_code(err) == CF_ERR_POINT_CONFLICT;
    return err;
}
