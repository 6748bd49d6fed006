/* The state folder's database: jobs, warnings, head, settings, locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/jobs.h"
#include "agent/live.h"
#include "agent/runner.h"
#include "agent/state.h"
#include "base/text.h"
#include "os/dir.h"

static char folder[64];
static int64_t now = 1763683200;

static cf_time wall(void *context) {
    (void)context;
    return (cf_time){now, 0};
}
static uint64_t monotonic(void *context) {
    (void)context;
    return 0;
}
static const cf_clock clock_fake = {wall, monotonic, NULL};

static int set_up(void **state) {
    snprintf(folder, sizeof folder, "/tmp/coffer-test-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    cf_err *err = cf_state_open(folder, &clock_fake, (cf_state **)state);
    if (err) cf_err_print(stderr, err);
    return err != NULL;
}

static int tear_down(void **state) {
    cf_state_close(*state);
    cf_err *err = cf_dir_remove_tree(AT_FDCWD, folder);
    if (err) cf_err_print(stderr, err);
    cf_err_free(err);
    return 0;
}

static cf_id16 id_of(uint8_t byte) {
    cf_id16 id;
    memset(id.bytes, byte, 16);
    return id;
}

static void settings_are_kept(void **state) {
    char *value = (char *)"x";
    assert_null(cf_state_get_setting(*state, "a", &value));
    assert_null(value);
    assert_null(cf_state_set_setting(*state, "a", "one"));
    assert_null(cf_state_set_setting(*state, "a", "two"));
    assert_null(cf_state_get_setting(*state, "a", &value));
    assert_string_equal(value, "two");
    free(value);
    assert_null(cf_state_set_setting(*state, "a", NULL));
    assert_null(cf_state_get_setting(*state, "a", &value));
    assert_null(value);
}

static void the_head_does_not_go_back(void **state) {
    cf_head head;
    cf_id32 id = {{5}}, other = {{6}};
    assert_null(cf_state_get_head(*state, &head));
    assert_false(head.exists);
    assert_null(cf_state_set_head(*state, &id, 7, false));
    CF_AUTO(cf_err) err = cf_state_set_head(*state, &other, 6, false);
    assert_int_equal(cf_err_code(err), CF_ERR_INTERNAL);
    assert_null(cf_state_get_head(*state, &head));
    assert_true(head.exists && head.counter == 7 && cf_id32_equal(&head.id, &id));
    assert_null(cf_state_set_head(*state, &other, 6, true));
    assert_null(cf_state_get_head(*state, &head));
    assert_int_equal(head.counter, 6);
    assert_null(cf_state_clear_head(*state));
    assert_null(cf_state_get_head(*state, &head));
    assert_false(head.exists);
}

static void jobs_are_listed_newest_first(void **state) {
    for (uint8_t i = 1; i <= 5; i++) {
        cf_id16 id = id_of((uint8_t)(0x10 * i));
        assert_null(cf_jobs_begin(*state, i % 2 ? "backup" : "restore", &id, NULL));
    }
    cf_id16 third = id_of(0x30);
    cf_id32 point = {{9}};
    CF_AUTO(cf_err) why = cf_fail(CF_ERR_CANCELLED, "stopped");
    now += 60;
    assert_null(cf_jobs_finish(
        *state, &third, &(cf_job_end_values){.status = "cancelled", .point_id = &point, .bytes = 10, .error = why}));
    cf_job_row *rows;
    size_t count;
    assert_null(cf_jobs_list(*state, 4, &rows, &count));
    assert_int_equal(count, 4);
    assert_int_equal(rows[0].id.bytes[0], 0x50);
    assert_string_equal(rows[0].status, "running");
    assert_int_equal(rows[2].id.bytes[0], 0x30);
    assert_string_equal(rows[2].status, "cancelled");
    assert_true(rows[2].has_finished && rows[2].has_point && rows[2].point_id.bytes[0] == 9);
    assert_int_equal(rows[2].finished.seconds - rows[2].started.seconds, 60);
    assert_non_null(strstr(rows[2].error, "900004"));
    cf_jobs_free_rows(rows, count);
    cf_job_row row = {0};
    bool found;
    assert_null(cf_jobs_last(*state, "restore", "running", &row, &found));
    assert_true(found && row.id.bytes[0] == 0x40);
    cf_job_row_wipe(&row);
    assert_null(cf_jobs_last(*state, "verify", "", &row, &found));
    assert_false(found);
    assert_null(cf_jobs_list_unreported(*state, 10, &rows, &count));
    assert_int_equal(count, 1);
    cf_jobs_free_rows(rows, count);
    assert_null(cf_jobs_set_reported(*state, &third));
    assert_null(cf_jobs_list_unreported(*state, 10, &rows, &count));
    assert_int_equal(count, 0);
    cf_jobs_free_rows(rows, count);
}

static void jobs_are_found_by_the_beginning_of_the_id(void **state) {
    cf_id16 one = id_of(0xAB), two = id_of(0xAB);
    cf_job_row row = {0};
    two.bytes[15] = 0xCD;
    assert_null(cf_jobs_begin(*state, "backup", &one, NULL));
    assert_null(cf_jobs_begin(*state, "backup", &two, NULL));
    CF_AUTO(cf_err) many = cf_jobs_find(*state, "abab", &row);
    assert_int_equal(cf_err_code(many), CF_ERR_JOB_NOT_FOUND);
    assert_string_equal(cf_err_reason(many), "ambiguous");
    assert_null(cf_jobs_find(*state, "ababababababababababababababaBcd", &row));
    assert_int_equal(row.id.bytes[15], 0xCD);
    cf_job_row_wipe(&row);
    static const char *const bad[] = {"", "ac", "%", "' OR 1 --", "abababababababababababababababcdef"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CF_AUTO(cf_err) none = cf_jobs_find(*state, bad[i], &row);
        assert_int_equal(cf_err_code(none), CF_ERR_JOB_NOT_FOUND);
    }
}

static void warnings_keep_every_byte_of_a_path(void **state) {
    cf_id16 id = id_of(1);
    cf_warning_row given[2] = {{.code = CF_ERR_IO, .err_no = 13, .message = (char *)"no"},
                               {.code = CF_ERR_ITEM_FAILED}};
    cf_buf_init(&given[0].path, 64);
    cf_buf_init(&given[1].path, 64);
    cf_buf_put(&given[0].path, "/a\n\xff\x01z", 6);
    assert_null(cf_jobs_begin(*state, "backup", &id, NULL));
    assert_null(cf_jobs_add_warnings(*state, &id, given, 2));
    assert_null(cf_jobs_add_warnings(*state, &id, given, 1));
    cf_warning_row *rows;
    size_t count;
    assert_null(cf_jobs_list_warnings(*state, &id, 100, &rows, &count));
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].path.size, 6);
    assert_memory_equal(rows[0].path.data, "/a\n\xff\x01z", 6);
    assert_int_equal(rows[0].err_no, 13);
    assert_string_equal(rows[1].message, "");
    assert_int_equal(rows[2].number, 3);
    cf_warning_rows_free(rows, count);
    cf_buf_wipe(&given[0].path);
    cf_job_row row = {0};
    assert_null(cf_jobs_find(*state, "0101", &row));
    assert_int_equal(row.warnings, 3);
    cf_job_row_wipe(&row);
}

static void warnings_beyond_the_limit_are_counted(void **state) {
    enum { BATCH = 1000 };
    cf_id16 id = id_of(1);
    cf_warning_row *many = calloc(BATCH, sizeof *many);
    assert_non_null(many);
    assert_null(cf_jobs_begin(*state, "backup", &id, NULL));
    for (int i = 0; i < CF_JOB_WARNINGS_MAX / BATCH + 2; i++)
        assert_null(cf_jobs_add_warnings(*state, &id, many, BATCH));
    free(many);
    cf_warning_row *rows;
    size_t count;
    assert_null(cf_jobs_list_warnings(*state, &id, 1000000, &rows, &count));
    assert_int_equal(count, CF_JOB_WARNINGS_MAX);
    cf_warning_rows_free(rows, count);
    cf_job_row row = {0};
    assert_null(cf_jobs_find(*state, "01", &row));
    assert_int_equal(row.warnings, CF_JOB_WARNINGS_MAX + 2 * BATCH);
    cf_job_row_wipe(&row);
}

/* A child that begins a job and waits for a signal, or is gone at once. */
static pid_t child_with_job(const cf_id16 *id, bool stay) {
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cf_state *own = NULL;
        if (cf_state_open(folder, &clock_fake, &own) || cf_jobs_begin(own, "backup", id, NULL)) _exit(1);
        (void)!write(ready[1], "r", 1);
        while (stay) pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void a_job_whose_process_is_gone_is_interrupted(void **state) {
    cf_id16 dead = id_of(0xD0), alive = id_of(0xA1);
    cf_job_row row = {0};
    int status;
    unsigned count = 9;
    pid_t child = child_with_job(&dead, false), other = child_with_job(&alive, true);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_null(cf_jobs_sweep(*state, &count));
    assert_int_equal(count, 1);
    assert_null(cf_jobs_find(*state, "d0", &row));
    assert_string_equal(row.status, "interrupted");
    assert_true(row.has_finished);
    CF_AUTO(cf_err) late = cf_jobs_cancel(*state, &row);
    assert_int_equal(cf_err_code(late), CF_ERR_JOB_NOT_RUNNING);
    cf_job_row_wipe(&row);
    assert_null(cf_jobs_find(*state, "a1", &row));
    assert_string_equal(row.status, "running");
    assert_null(cf_jobs_cancel(*state, &row));
    cf_job_row_wipe(&row);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void locks_exclude_as_the_rules_say(void **state) {
    CF_AUTO(cf_state_lock) backup = NULL;
    CF_AUTO(cf_state_lock) restore = NULL;
    CF_AUTO(cf_state_lock) other = NULL;
    assert_null(cf_state_lock_take(*state, CF_STATE_LOCK_BACKUP, "backup job 12ab", &backup));
    assert_null(cf_state_lock_take(*state, CF_STATE_LOCK_SHARED, "restore job 34cd", &restore));
    CF_AUTO(cf_err) second = cf_state_lock_take(*state, CF_STATE_LOCK_BACKUP, "backup job 56ef", &other);
    assert_int_equal(cf_err_code(second), CF_ERR_JOB_RUNNING);
    assert_true(cf_err_has(second, CF_F_BUSY));
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d", (int)getpid());
    assert_non_null(strstr(cf_err_message(second), "backup job 12ab"));
    assert_non_null(strstr(cf_err_message(second), pid));
    CF_AUTO(cf_err) all = cf_state_lock_take(*state, CF_STATE_LOCK_EXCLUSIVE, "unregister", &other);
    assert_int_equal(cf_err_code(all), CF_ERR_JOB_RUNNING);
    cf_state_lock_free(cf_take(backup));
    cf_state_lock_free(cf_take(restore));
    assert_null(cf_state_lock_take(*state, CF_STATE_LOCK_EXCLUSIVE, "unregister", &other));
    CF_AUTO(cf_err) shared = cf_state_lock_take(*state, CF_STATE_LOCK_SHARED, "restore", &restore);
    assert_int_equal(cf_err_code(shared), CF_ERR_JOB_RUNNING);
}

static void two_registrations_exclude_each_other(void **state) {
    CF_AUTO(cf_state_lock) first = NULL;
    CF_AUTO(cf_state_lock) second = NULL;
    CF_AUTO(cf_state_lock) backup = NULL;
    assert_null(cf_state_lock_take(*state, CF_STATE_LOCK_REGISTER, "coffer register", &first));
    CF_AUTO(cf_err) err = cf_state_lock_take(*state, CF_STATE_LOCK_REGISTER, "coffer unregister", &second);
    assert_int_equal(cf_err_code(err), CF_ERR_REGISTRATION_RUNNING);
    assert_non_null(strstr(cf_err_message(err), "coffer register"));
    assert_null(cf_state_lock_take(*state, CF_STATE_LOCK_BACKUP, "backup", &backup));
}

static void a_job_runs_warns_and_ends(void **state) {
    cf_job *job = NULL;
    const char *status;
    const cf_job_options options = {.type = "backup", .lock = CF_STATE_LOCK_BACKUP, .failed_files = true};
    assert_null(cf_job_start(*state, &options, &job));
    CF_AUTO(cf_err) warning = cf_fail(CF_ERR_IO, "cannot be read");
    for (int i = 0; i < 600; i++) cf_job_warning(job, cf_span_text("/a\nb"), warning);
    assert_int_equal(cf_job_warning_count(job), 600);
    char hex[CF_HEX_SIZE(16)], path[256];
    cf_hex_encode(cf_job_id(job)->bytes, 16, hex);
    assert_null(cf_job_end(job, NULL, NULL, &status));
    assert_string_equal(status, "completed_with_warnings");
    cf_job_free(job);
    cf_job_row row = {0};
    assert_null(cf_jobs_find(*state, hex, &row));
    assert_string_equal(row.status, "completed_with_warnings");
    assert_int_equal(row.warnings, 600);
    cf_job_row_wipe(&row);
    snprintf(path, sizeof path, "%s/logs/LastBackupFailedFiles%s.txt", folder, hex);
    FILE *log = fopen(path, "r");
    assert_non_null(log);
    char line[256] = "";
    assert_non_null(fgets(line, sizeof line, log));
    assert_string_equal(line, "/a\\x0ab\t900101 FileError\tcannot be read\n");
    fclose(log);
}

static void a_job_that_is_given_up_is_a_failed_one(void **state) {
    cf_job *job = NULL, *next = NULL;
    const cf_job_options options = {.type = "backup", .lock = CF_STATE_LOCK_BACKUP};
    assert_null(cf_job_start(*state, &options, &job));
    CF_AUTO(cf_err) busy = cf_job_start(*state, &options, &next);
    assert_int_equal(cf_err_code(busy), CF_ERR_JOB_RUNNING);
    cf_job_free(job);
    cf_job_row row = {0};
    bool found;
    assert_null(cf_jobs_last(*state, "backup", "", &row, &found));
    assert_true(found);
    assert_string_equal(row.status, "failed");
    cf_job_row_wipe(&row);
    assert_null(cf_job_start(*state, &options, &next));
    CF_AUTO(cf_err) cancelled = cf_fail(CF_ERR_CANCELLED, "stopped");
    const char *status;
    assert_null(cf_job_end(next, cancelled, NULL, &status));
    assert_string_equal(status, "cancelled");
    cf_job_free(next);
}

static void a_newer_database_is_left_alone(void **state) {
    char path[96];
    sqlite3 *db;
    cf_state *second = NULL;
    cf_state_close(*state);
    *state = NULL;
    snprintf(path, sizeof path, "%s/coffer.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    CF_AUTO(cf_err) newer = cf_state_open(folder, &clock_fake, &second);
    assert_int_equal(cf_err_code(newer), CF_ERR_STATE_DAMAGED);
    assert_string_equal(cf_err_reason(newer), "too_new");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(
        "this is no database, and longer than its header would be: ....................................................",
        file);
    fclose(file);
    char wal[112];
    snprintf(wal, sizeof wal, "%s-wal", path);
    unlink(wal);
    CF_AUTO(cf_err) damaged = cf_state_open(folder, &clock_fake, &second);
    assert_int_equal(cf_err_code(damaged), CF_ERR_STATE_DAMAGED);
    assert_null(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void a_killed_job_ended_when_it_was_last_seen(void **state) {
    cf_id16 long_ago = id_of(0x11), lately = id_of(0x22);
    cf_job_row row = {0};
    int status;
    pid_t child = child_with_job(&long_ago, true);
    now += 3600;
    assert_null(cf_jobs_update(*state, &long_ago, 5, 3));
    int64_t seen = now;
    now += 7200; /* nobody looked for two hours */
    pid_t other = child_with_job(&lately, true);
    kill(child, SIGKILL);
    kill(other, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_null(cf_jobs_sweep(*state, NULL));
    assert_null(cf_jobs_find(*state, "11", &row));
    assert_int_equal(row.finished.seconds, seen);
    assert_null(cf_jobs_find(*state, "22", &row));
    assert_int_equal(row.finished.seconds, now);
}

static void runs_of_the_schedule_are_told_apart(void **state) {
    cf_id16 by_hand = id_of(1), run = id_of(2);
    cf_job_plan plan = {.policy = true, .has_slot = true, .slot = {now - 60, 0}};
    assert_null(cf_jobs_begin(*state, "backup", &by_hand, NULL));
    assert_null(cf_jobs_begin(*state, "backup", &run, &plan));
    assert_null(cf_jobs_merge(*state, &run, (cf_time){now + 60, 0}));
    cf_job_row *rows;
    size_t count;
    assert_null(cf_jobs_list_running(*state, &rows, &count));
    assert_int_equal(count, 2);
    assert_true(rows[0].plan.policy && rows[0].plan.has_slot && rows[0].plan.slot.seconds == now - 60);
    assert_true(rows[0].has_merged && rows[0].merged_slot.seconds == now + 60);
    assert_false(rows[1].plan.policy || rows[1].plan.has_slot || rows[1].has_merged);
    cf_jobs_free_rows(rows, count);
}

static void history_goes_after_its_time(void **state) {
    cf_id16 old = id_of(1), running = id_of(2), fresh = id_of(3);
    char hex[CF_HEX_SIZE(16)], name[160];
    cf_hex_encode(old.bytes, 16, hex);
    snprintf(name, sizeof name, "%s/logs/LastBackupFailedFiles%s.txt", folder, hex);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fclose(file);
    assert_null(cf_jobs_begin(*state, "backup", &old, NULL));
    cf_warning_row warning = {.code = 900702, .message = (char *)"gone"};
    cf_buf_init(&warning.path, 16);
    assert_null(cf_jobs_add_warnings(*state, &old, &warning, 1));
    assert_null(cf_jobs_finish(*state, &old, &(cf_job_end_values){.status = "completed"}));
    assert_null(cf_jobs_begin(*state, "mount", &running, NULL));
    cf_state_keep_history(*state, 30);
    now += 31 * 86400;
    assert_null(cf_jobs_begin(*state, "backup", &fresh, NULL));
    cf_job_row *rows;
    size_t count;
    assert_null(cf_jobs_list(*state, 10, &rows, &count));
    assert_int_equal(count, 2); /* what runs stays, however long */
    cf_jobs_free_rows(rows, count);
    assert_int_equal(access(name, F_OK), -1);
}

static void progress_can_be_looked_at(void **state) {
    cf_id16 id = id_of(7);
    cf_progress progress;
    cf_live_now seen;
    assert_false(cf_live_read(*state, &id, &seen));
    cf_progress_init(&progress);
    cf_live *live = cf_live_open(*state, &id);
    assert_non_null(live);
    cf_progress_total(&progress, 10, 1000);
    cf_progress_add(&progress, 4, 400);
    cf_progress_phase(&progress, "scanning");
    cf_progress_item(&progress, cf_span_text("/srv/a\xff\nb"));
    cf_live_write(live, &progress);
    assert_true(cf_live_read(*state, &id, &seen));
    assert_true(seen.bytes_total == 1000 && seen.bytes_done == 400 && seen.files_total == 10 && seen.files_done == 4);
    assert_string_equal(seen.phase, "scanning");
    assert_true(strncmp(seen.item, "/srv/a", 6) == 0 && !strchr(seen.item, '\n'));
    cf_progress_item(&progress, cf_span_text("x")); /* shorter than before: nothing of the old one is left */
    cf_live_write(live, &progress);
    assert_true(cf_live_read(*state, &id, &seen));
    assert_string_equal(seen.item, "x");
    cf_live_close(live);
    assert_false(cf_live_read(*state, &id, &seen));
    cf_progress_wipe(&progress);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(settings_are_kept),
        TEST(the_head_does_not_go_back),
        TEST(jobs_are_listed_newest_first),
        TEST(jobs_are_found_by_the_beginning_of_the_id),
        TEST(warnings_keep_every_byte_of_a_path),
        TEST(warnings_beyond_the_limit_are_counted),
        TEST(a_job_whose_process_is_gone_is_interrupted),
        TEST(a_killed_job_ended_when_it_was_last_seen),
        TEST(runs_of_the_schedule_are_told_apart),
        TEST(history_goes_after_its_time),
        TEST(progress_can_be_looked_at),
        TEST(locks_exclude_as_the_rules_say),
        TEST(two_registrations_exclude_each_other),
        TEST(a_job_runs_warns_and_ends),
        TEST(a_job_that_is_given_up_is_a_failed_one),
        TEST(a_newer_database_is_left_alone),
    };
    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
