#include "restore/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "os/fail.h"

/* Put together from the end: a deep tree must not cost a whole path for each of its folders. */
void cf_restorer_path(const cf_target *target, cf_span name, cf_buf *out) {
    if (name.size == 0 && target->parent) { /* the folder itself */
        name = cf_buf_span(&target->source);
        target = target->parent;
    }
    size_t size = name.size ? name.size + 1 : 0;
    for (const cf_target *at = target; at->parent; at = at->parent) size += at->source.size + 1;
    cf_buf_reset(out);
    if (size == 0) cf_buf_put_u8(out, '/');
    uint8_t *end = size ? cf_buf_reserve(out, size) : NULL;
    if (!end) return;
    out->size = size;
    end += size;
    for (const cf_target *at = target; name.size; at = at->parent) {
        end -= name.size;
        memcpy(end, name.data, name.size);
        *--end = '/';
        name = at->parent ? cf_buf_span(&at->source) : (cf_span){0};
    }
}

void cf_restorer_count(cf_restorer *run, uint64_t *field, uint64_t amount) {
    pthread_mutex_lock(&run->report_lock);
    *field += amount;
    pthread_mutex_unlock(&run->report_lock);
}

void cf_restorer_warn(cf_restorer *run, cf_span path, cf_err *err) {
    CF_AUTO(cf_err) owned = err;
    pthread_mutex_lock(&run->report_lock);
    run->result->warnings++;
    if (run->options->warning) run->options->warning(run->options->context, path, owned);
    pthread_mutex_unlock(&run->report_lock);
}

void cf_restorer_damaged(cf_restorer *run, cf_span path, cf_err *err) {
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    CF_AUTO_FREE char *why = strdup(cf_err_message(err));
    CF_AUTO(cf_err)
    owned = cf_wrap_reason(err, CF_ERR_FILE_DAMAGED, cf_err_reason(err), "%s: %s", printable ? printable : "",
                           why ? why : "");
    pthread_mutex_lock(&run->report_lock);
    run->result->damaged++;
    if (run->options->damaged) run->options->damaged(run->options->context, path, owned);
    pthread_mutex_unlock(&run->report_lock);
}

void cf_restorer_fatal(cf_restorer *run, cf_err *err) {
    pthread_mutex_lock(&run->lock);
    if (!run->fatal)
        run->fatal = err;
    else
        cf_err_free(err);
    atomic_store(&run->stop, true);
    pthread_cond_broadcast(&run->work);
    pthread_cond_broadcast(&run->room);
    pthread_mutex_unlock(&run->lock);
}

bool cf_restorer_stopped(cf_restorer *run) {
    if (atomic_load_explicit(&run->stop, memory_order_relaxed)) return true;
    if (!cf_cancel_requested(run->options->cancel)) return false;
    cf_restorer_fatal(run, cf_cancel_check(run->options->cancel));
    return true;
}

/* Errors about the local object itself: the file system's word, not the machine's or the network's. */
static bool local(const cf_err *err) {
    switch (cf_err_code(err)) {
    case CF_ERR_IO:
    case CF_ERR_NOT_FOUND:
    case CF_ERR_EXISTS:
    case CF_ERR_PATH_REFUSED:
    case CF_ERR_RESTORE_CONFLICT:
    case CF_ERR_FILE_NOT_RESTORED:
    case CF_ERR_ENTRY_NOT_BACKED_UP:
    case CF_ERR_TOO_LARGE:
        return true;
    default:
        return false;
    }
}

void cf_restorer_trouble(cf_restorer *run, const cf_target *target, cf_span name, cf_err *err) {
    CF_AUTO_BUF cf_buf path;
    cf_buf_init(&path, 16u << 20);
    cf_restorer_path(target, name, &path);
    if (cf_err_has(err, CF_F_DAMAGE)) {
        cf_restorer_damaged(run, cf_buf_span(&path), err);
    } else if (local(err)) {
        bool named = cf_err_code(err) == CF_ERR_RESTORE_CONFLICT || cf_err_code(err) == CF_ERR_ENTRY_NOT_BACKED_UP ||
                     cf_err_code(err) == CF_ERR_FILE_NOT_RESTORED;
        CF_AUTO_FREE char *printable = cf_text_printable(cf_buf_span(&path));
        if (!named) err = cf_wrap(err, CF_ERR_FILE_NOT_RESTORED, "%s", printable ? printable : "");
        cf_restorer_warn(run, cf_buf_span(&path), err);
    } else {
        cf_restorer_fatal(run, err);
    }
}

cf_err *cf_lane_state_init(cf_lane_state *state, cf_restorer *run) {
    *state = (cf_lane_state){.run = run};
    cf_buf_init(&state->xattr_bytes, 64u << 20);
    cf_buf_init(&state->scratch, 16u << 20);
    cf_buf_init(&state->range, CF_RANGE_MAX);
    CF_TRY(cf_lane_new(run->reader, &state->lane));
    CF_TRY(cf_meta_store_new(&state->store));
    state->xattrs = calloc(CF_XATTRS_MAX, sizeof *state->xattrs);
    state->xattrs_chunked = calloc(CF_XATTRS_MAX, sizeof *state->xattrs_chunked);
    if (!state->xattrs || !state->xattrs_chunked)
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a restoring lane");
    return NULL;
}

void cf_lane_state_wipe(cf_lane_state *state) {
    cf_lane_free(state->lane);
    cf_meta_store_free(state->store);
    free(state->xattrs);
    free(state->xattrs_chunked);
    cf_buf_wipe(&state->xattr_bytes);
    cf_buf_wipe(&state->scratch);
    cf_buf_wipe(&state->range);
    *state = (cf_lane_state){0};
}

enum { FILES_OPEN_MAX = 12288 };

/* Files that may be open at once. Asks for as many as this process may have. */
static size_t open_files_max(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 128;
    rlim_t want = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    if (limit.rlim_cur < want) {
        struct rlimit raised = {want, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.rlim_cur = want;
    }
    size_t quarter = (size_t)(limit.rlim_cur / 4);
    return quarter > FILES_OPEN_MAX ? FILES_OPEN_MAX : quarter < 32 ? 32 : quarter;
}

static void copy_prefix(const cf_point *point, char out[48]) {
    time_t when = (time_t)point->root.time.seconds;
    struct tm tm;
    if (!localtime_r(&when, &tm) || strftime(out, 48, "%Y-%m-%d %H-%M", &tm) == 0) strcpy(out, "0000-00-00 00-00");
}

static void run_init(cf_restorer *run) {
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->work, NULL);
    pthread_cond_init(&run->room, NULL);
    pthread_mutex_init(&run->report_lock, NULL);
    pthread_mutex_init(&run->links_lock, NULL);
    for (size_t i = 0; i < CF_FILE_LOCKS; i++) pthread_mutex_init(&run->file_lock[i], NULL);
    run->tail = &run->head;
    run->sync_fd = -1;
    run->files_open_max = open_files_max();
    run->apply = (cf_meta_apply_options){.no_acl = run->options->no_acl, .numeric_ids = run->options->numeric_ids};
    copy_prefix(run->point, run->copy_prefix);
}

static void run_wipe(cf_restorer *run) {
    if (run->sync_fd >= 0) close(run->sync_fd);
    cf_select_free(run->select);
    cf_links_wipe(run);
    cf_lane_state_wipe(&run->self);
    free(run->slice);
    for (size_t i = 0; i < CF_KINDS; i++) free(run->kinds.first[i]);
    for (size_t i = 0; i < CF_FILE_LOCKS; i++) pthread_mutex_destroy(&run->file_lock[i]);
    pthread_mutex_destroy(&run->links_lock);
    pthread_mutex_destroy(&run->report_lock);
    pthread_cond_destroy(&run->room);
    pthread_cond_destroy(&run->work);
    pthread_mutex_destroy(&run->lock);
}

static cf_err *prepare(cf_restorer *run) {
    const cf_restore_options *options = run->options;
    if (!run->point->map) return cf_fail(CF_ERR_INTERNAL, "a restore was begun without the point's map");
    CF_TRY(cf_select_new(options->patterns, options->pattern_count, &run->select));
    CF_TRY(cf_lane_state_init(&run->self, run));
    run->slice = calloc(CF_SLICE_PIECES, sizeof *run->slice);
    if (!run->slice) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the plan of a restore");
    if (options->pattern_count == 0)
        cf_progress_total(options->progress, run->point->root.totals.files, run->point->root.totals.bytes);
    return NULL;
}

static cf_err *check_used(const cf_restorer *run) {
    cf_span pattern;
    size_t cursor = 0;
    if (!cf_select_unused(run->select, &cursor, &pattern)) return NULL;
    CF_AUTO_FREE char *text = cf_text_printable(pattern);
    return cf_fail(CF_ERR_NOT_IN_POINT, "nothing in the recovery point matches %s", text ? text : "a pattern");
}

/* "Restored" is said of what survives a power loss. In place, other file systems may lie below. */
static cf_err *make_durable(cf_restorer *run) {
    if (run->sync_fd < 0) return NULL;
    if (syncfs(run->sync_fd) < 0) return cf_os_fail(errno, "sync", "the destination");
    if (!run->options->to) sync();
    return NULL;
}

cf_err *cf_restore(cf_reader *reader, const cf_point *point, const cf_restore_options *options,
                   cf_restore_result *result) {
    *result = (cf_restore_result){0};
    uint64_t fetched_before = cf_reader_fetched(reader);
    cf_restorer *run = calloc(1, sizeof *run);
    if (!run) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a restore");
    run->reader = reader;
    run->point = point;
    run->options = options;
    run->result = result;
    run_init(run);
    cf_err *err = prepare(run);
    if (!err) err = cf_restorer_start(run);
    if (!err) err = cf_restorer_walk(run);
    cf_restorer_join(run);
    if (!err)
        err = cf_take(run->fatal);
    else
        cf_err_free(cf_take(run->fatal));
    cf_restorer_late_apply(run);
    cf_restorer_meta_summary(run);
    if (!err) err = check_used(run);
    if (!err) err = make_durable(run);
    result->bytes_fetched = cf_reader_fetched(reader) - fetched_before;
    run_wipe(run);
    free(run);
    return err;
}
