#include "agent/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/state_internal.h"
#include "base/text.h"
#include "os/dir.h"
#include "os/fail.h"

static cf_err *open_folder(cf_state *state, const char *folder) {
    CF_TRY(cf_dir_make_durable(AT_FDCWD, folder, 0700));
    state->folder = realpath(folder, NULL);
    if (!state->folder) return cf_os_fail(errno, "open", folder);
    state->fd = open(state->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state->fd < 0) return cf_os_fail(errno, "open", folder);
    /* Keys live below: whoever made the folder wider is corrected, if it is ours to correct. */
    struct stat info;
    if (fstat(state->fd, &info) == 0 && (info.st_mode & 077) && fchmod(state->fd, 0700) < 0)
        return cf_os_fail(errno, "take the rights of others from", folder);
    return cf_dir_make(state->fd, "logs", 0700);
}

cf_err *cf_state_open(const char *folder, const cf_clock *clock, cf_state **out) {
    CF_AUTO(cf_state) state = calloc(1, sizeof *state);
    if (!state) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the state folder");
    state->fd = -1;
    state->clock = clock ? *clock : cf_clock_system();
    state->history_days = CF_JOB_HISTORY_DAYS;
    pthread_mutex_init(&state->lock, NULL);
    CF_TRY(open_folder(state, folder));
    CF_AUTO_FREE char *path = cf_text_format("%s/coffer.db", state->folder);
    if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the state folder");
    CF_TRY(cf_sql_open(path, &state->db));
    CF_TRY(cf_agent_pace_open(state->fd, &state->clock, &state->pace));
    *out = cf_take(state);
    return NULL;
}

void cf_state_close(cf_state *state) {
    if (!state) return;
    if (state->db) (void)sqlite3_close(state->db); /* every statement was finalized by the function that made it */
    cf_agent_pace_free(state->pace);
    if (state->fd >= 0) close(state->fd);
    pthread_mutex_destroy(&state->lock);
    free(state->folder);
    free(state);
}

void cf_state_keep_history(cf_state *state, uint32_t days) {
    state->history_days = days;
}

const char *cf_state_folder(const cf_state *state) {
    return state->folder;
}

int cf_state_fd(const cf_state *state) {
    return state->fd;
}

const cf_http_pace *cf_state_pace(const cf_state *state) {
    return cf_agent_pace_http(state->pace);
}

const cf_clock *cf_state_clock(const cf_state *state) {
    return &state->clock;
}

cf_err *cf_state_begin(cf_state *state) {
    pthread_mutex_lock(&state->lock);
    cf_err *err = cf_sql_exec(state->db, "BEGIN IMMEDIATE");
    if (err) pthread_mutex_unlock(&state->lock);
    return err;
}

cf_err *cf_state_end(cf_state *state, cf_err *err) {
    if (!err) err = cf_sql_exec(state->db, "COMMIT");
    if (err && !sqlite3_get_autocommit(state->db)) {
        cf_err *undone = cf_sql_exec(state->db, "ROLLBACK");
        cf_err_free(undone); /* err is the one to tell */
    }
    pthread_mutex_unlock(&state->lock);
    return err;
}

static cf_err *read_head(cf_state *state, cf_head *head) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    bool row;
    CF_TRY(cf_sql_prepare(state->db, "SELECT id, counter, time FROM head", &statement));
    CF_TRY(cf_sql_step(state->db, statement, &row));
    if (!row) return NULL;
    if (!cf_sql_copy_bytes(statement, 0, head->id.bytes, 32))
        return cf_fail(CF_ERR_STATE_DAMAGED, "the state folder's database coffer.db: the head is malformed");
    head->counter = cf_sql_column_number(statement, 1);
    head->time = (cf_time){sqlite3_column_int64(statement, 2), 0};
    head->exists = true;
    return NULL;
}

cf_err *cf_state_get_head(cf_state *state, cf_head *out) {
    cf_head head = {0};
    CF_TRY(cf_state_begin(state));
    CF_TRY(cf_state_end(state, read_head(state, &head)));
    *out = head;
    return NULL;
}

static cf_err *write_head(cf_state *state, const cf_id32 *id, uint64_t counter, bool force) {
    cf_head head = {0};
    CF_TRY(read_head(state, &head));
    if (head.exists && counter < head.counter && !force)
        return cf_fail(CF_ERR_INTERNAL, "the head would go back from counter %llu to %llu",
                       (unsigned long long)head.counter, (unsigned long long)counter);
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db, "INSERT OR REPLACE INTO head(one, id, counter, time) VALUES(1, ?, ?, ?)",
                          &statement));
    cf_sql_bind_bytes(statement, 1, cf_span_of(id->bytes, 32));
    cf_sql_bind_number(statement, 2, counter);
    (void)sqlite3_bind_int64(statement, 3, cf_clock_wall(&state->clock).seconds);
    return cf_sql_run(state->db, statement);
}

cf_err *cf_state_set_head(cf_state *state, const cf_id32 *id, uint64_t counter, bool force) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, write_head(state, id, counter, force));
}

cf_err *cf_state_clear_head(cf_state *state) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, cf_sql_exec(state->db, "DELETE FROM head"));
}

static cf_err *read_setting(cf_state *state, const char *name, char **value) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    bool row;
    CF_TRY(cf_sql_prepare(state->db, "SELECT value FROM settings WHERE name = ?", &statement));
    cf_sql_bind_text(statement, 1, name);
    CF_TRY(cf_sql_step(state->db, statement, &row));
    *value = row ? cf_sql_column_text(statement, 0) : NULL;
    return row && !*value ? cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a setting") : NULL;
}

cf_err *cf_state_get_setting(cf_state *state, const char *name, char **out) {
    char *value = NULL;
    CF_TRY(cf_state_begin(state));
    CF_TRY(cf_state_end(state, read_setting(state, name, &value)));
    *out = value;
    return NULL;
}

static cf_err *write_setting(cf_state *state, const char *name, const char *value) {
    CF_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    CF_TRY(cf_sql_prepare(state->db,
                          value ? "INSERT OR REPLACE INTO settings(name, value) VALUES(?, ?)"
                                : "DELETE FROM settings WHERE name = ?",
                          &statement));
    cf_sql_bind_text(statement, 1, name);
    if (value) cf_sql_bind_text(statement, 2, value);
    return cf_sql_run(state->db, statement);
}

cf_err *cf_state_set_setting(cf_state *state, const char *name, const char *value) {
    CF_TRY(cf_state_begin(state));
    return cf_state_end(state, write_setting(state, name, value));
}
