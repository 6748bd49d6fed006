/* coffer status: this server, its vault and its backups on one screen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jobs.h"
#include "agent/policy_store.h"
#include "base/text.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/drill.h"
#include "cli/output.h"
#include "cli/status_policy.h"
#include "cli/status_service.h"
#include "proto/error_json.h"
#include "proto/json.h"
#include "remote/points.h"

enum { PROBLEMS_MAX = 8, CLOCK_WARN_S = 300 };
#define REMEMBERED "last_status"

typedef struct view {
    cf_identity *identity;
    bool has_backup;
    cf_job_row backup; /* the newest that made a point */
    bool has_running;
    cf_job_row running;
    bool vault_answers, knows_points;
    uint64_t points; /* as the vault says, or said at .checked */
    cf_time checked;
    cf_status_policy policy;
    bool has_drill;
    cf_drill_result drill;
    cf_err *problems[PROBLEMS_MAX];
    size_t problem_count;
} view;

static void view_wipe(view *v) {
    cf_identity_free(v->identity);
    cf_job_row_wipe(&v->backup);
    cf_job_row_wipe(&v->running);
    cf_status_policy_wipe(&v->policy);
    for (size_t i = 0; i < v->problem_count; i++) cf_err_free(v->problems[i]);
}

/* err is taken. */
static void add_problem(view *v, cf_err *err) {
    if (v->problem_count < PROBLEMS_MAX)
        v->problems[v->problem_count++] = err;
    else
        cf_err_free(err);
}

/* What the vault said last is kept for the time when it does not answer. */
static cf_err *remember(const cf_agent *agent, const view *v) {
    char time[40];
    cf_time_format(v->checked, time);
    CF_AUTO(json_t) object = json_pack("{s:s, s:I}", "checked", time, "points", (json_int_t)v->points);
    CF_AUTO_FREE char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the status");
    return cf_state_set_setting(agent->state, REMEMBERED, text);
}

static cf_err *recall(const cf_agent *agent, view *v) {
    CF_AUTO_FREE char *text = NULL;
    CF_AUTO(json_t) object = NULL;
    CF_TRY(cf_state_get_setting(agent->state, REMEMBERED, &text));
    if (!text) return NULL;
    CF_TRY(cf_json_parse(cf_span_text(text), 4096, CF_ERR_STATE_DAMAGED, REMEMBERED, &object));
    cf_json_reader reader = cf_json_reader_of(object, CF_ERR_STATE_DAMAGED, REMEMBERED);
    v->checked = cf_json_read_time(&reader, "checked");
    v->points = cf_json_read_number(&reader, "points", 0, INT64_MAX);
    CF_TRY(cf_json_done(&reader));
    v->knows_points = true;
    return NULL;
}

static void compare_head(const cf_agent *agent, view *v, const cf_remote_self *self) {
    cf_head head = {0};
    cf_err *err = cf_state_get_head(agent->state, &head);
    if (!err && head.exists && (!self->newest.exists || self->newest.counter < head.counter))
        err = cf_fail_reason(CF_ERR_HEAD_MISMATCH, self->newest.exists ? "rolled_back" : "empty",
                             "the vault's newest recovery point is number %llu, this server knows of number %llu",
                             (unsigned long long)self->newest.counter, (unsigned long long)head.counter);
    if (err) add_problem(v, err);
}

static void check_clock(const cf_remote *remote, view *v) {
    int64_t off = 0;
    if (!cf_remote_clock_offset(remote, &off) || (off <= CLOCK_WARN_S && off >= -CLOCK_WARN_S)) return;
    add_problem(v, cf_fail(CF_ERR_CLOCK_SKEW, "this machine's clock is %lld s %s the vault's",
                           (long long)(off < 0 ? -off : off), off < 0 ? "ahead of" : "behind"));
}

/* What the vault has is news here; that it could not be taken over is for the next job, which tries again. */
static void refresh_policy(const cf_agent *agent, cf_remote *remote, view *v) {
    cf_policy_sync outcome;
    cf_err *err = cf_policy_store_sync(agent->state, remote, &outcome);
    if (err) add_problem(v, cf_note(err, "the policy could not be brought up to date"));
}

static cf_err *ask(const cf_agent *agent, const cf_cli *cli, view *v) {
    CF_AUTO(cf_remote) remote = NULL;
    CF_AUTO_FREE cf_remote_point *points = NULL;
    cf_network network = cf_agent_network(agent, cli, NULL, 0);
    cf_remote_self self;
    size_t count;
    CF_TRY(cf_access_connect(agent->state, &network, &remote));
    CF_TRY(cf_remote_get_self(remote, &self));
    CF_TRY(cf_remote_list_points(remote, &points, &count));
    v->vault_answers = v->knows_points = true;
    v->points = count;
    v->checked = cf_clock_wall(cf_state_clock(agent->state));
    compare_head(agent, v, &self);
    check_clock(remote, v);
    refresh_policy(agent, remote, v);
    return remember(agent, v);
}

static bool means_unreachable(const cf_err *err) {
    cf_code code = cf_err_code(err);
    return code == CF_ERR_VAULT_UNREACHABLE || code == CF_ERR_VAULT_BUSY || code == CF_ERR_PROXY ||
           code == CF_ERR_TLS_REFUSED || code == CF_ERR_BAD_REPLY || code == CF_ERR_CLOCK_SKEW ||
           code == CF_ERR_VERSION_MISMATCH;
}

/* 100062 keeps the registration: that the vault does not answer says nothing about it. */
static cf_err *ask_or_recall(const cf_agent *agent, const cf_cli *cli, view *v) {
    cf_err *err = ask(agent, cli, v);
    if (!err) return NULL;
    if (cf_err_code(err) == CF_ERR_CANCELLED) return err;
    if (means_unreachable(err)) {
        char reason[48];
        snprintf(reason, sizeof reason, "%s", cf_err_reason(err));
        err = cf_wrap_reason(err, CF_ERR_REGISTRATION_UNVERIFIED, reason, "the vault \"%s\" at %s could not be asked",
                             v->identity->vault_name, v->identity->url);
    }
    add_problem(v, err);
    return v->knows_points ? NULL : recall(agent, v);
}

static cf_err *read_jobs(const cf_agent *agent, view *v) {
    cf_job_row failed = {0};
    bool found = false;
    CF_TRY(cf_jobs_last(agent->state, "", "running", &v->running, &v->has_running));
    CF_TRY(cf_jobs_last(agent->state, "backup", "completed", &v->backup, &v->has_backup));
    CF_TRY(cf_jobs_last(agent->state, "backup", "completed_with_warnings", &failed, &found));
    if (found && (!v->has_backup || failed.started.seconds > v->backup.started.seconds)) {
        cf_job_row_wipe(&v->backup);
        v->backup = failed;
        v->has_backup = true;
    } else {
        cf_job_row_wipe(&failed);
    }
    return NULL;
}

/* That nothing protects this server comes before everything else. */
static cf_err *read_policy(const cf_agent *agent, view *v) {
    cf_err *stopped = NULL;
    CF_TRY(cf_status_policy_read(agent, v->identity, &v->policy));
    CF_TRY(cf_status_service_check(agent, v->identity, v->policy.exists ? &v->policy.policy : NULL, &stopped));
    if (stopped) add_problem(v, stopped);
    if (v->policy.zone) add_problem(v, cf_take(v->policy.zone));
    if (!v->policy.problem) return NULL;
    if (v->problem_count == PROBLEMS_MAX) cf_err_free(v->problems[--v->problem_count]);
    memmove(v->problems + 1, v->problems, v->problem_count * sizeof *v->problems);
    v->problems[0] = cf_take(v->policy.problem);
    v->problem_count++;
    return NULL;
}

/* How the newest backup ended, when it ended badly: its own error, as the job recorded it. */
static cf_err *check_newest(const cf_agent *agent, view *v) {
    cf_job_row newest = {0};
    bool found = false;
    CF_TRY(cf_jobs_last(agent->state, "backup", "", &newest, &found));
    if (found && strcmp(newest.status, "failed") == 0 && newest.error) {
        CF_AUTO(json_t) document = json_pack("{s:o}", "error", json_loads(newest.error, 0, NULL));
        add_problem(v, cf_note(cf_error_from_json(document), "the last backup failed"));
    }
    cf_job_row_wipe(&newest);
    return NULL;
}

static json_t *problems_json(const view *v, bool in_full) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < v->problem_count; i++) {
        json_t *item = in_full ? cf_error_to_json(v->problems[i]) : json_integer(cf_err_code(v->problems[i]));
        if (json_array_append_new(list, item) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

/* When restorability was last proved, and how much of it. */
static json_t *drill_value(const view *v) {
    if (!v->has_drill) return json_null();
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I}", "time", cf_json_time(v->drill.time), "point_id",
                     cf_json_hex(v->drill.point.bytes, 32), "files", (json_int_t)v->drill.files, "files_total",
                     (json_int_t)v->drill.files_total, "bytes", (json_int_t)v->drill.bytes, "failed",
                     (json_int_t)v->drill.failed);
}

static void show_drill(const view *v) {
    char time[40], bytes[24];
    if (!v->has_drill) {
        printf("last proof   none yet: coffer drill restores a sample and compares it\n");
        return;
    }
    cf_time_local(v->drill.time, time);
    cf_text_size(v->drill.bytes, bytes);
    printf("last proof   %s: %llu of %llu files came back (%s)", time, (unsigned long long)v->drill.files,
           (unsigned long long)v->drill.files_total, bytes);
    if (v->drill.failed) printf(", %llu did NOT", (unsigned long long)v->drill.failed);
    printf("\n");
}

static cf_err *show_json(const view *v) {
    const cf_identity *identity = v->identity;
    json_t *server =
        json_pack("{s:o, s:s}", "id", cf_json_hex(identity->server_id.bytes, 16), "name", identity->server_name);
    json_t *vault =
        json_pack("{s:o, s:s, s:s, s:s, s:b}", "id", cf_json_hex(identity->vault_id.bytes, 16), "name",
                  identity->vault_name, "region", identity->region, "url", identity->url, "answers", v->vault_answers);
    return cf_output_json(
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "server", server, "vault", vault,
                  "registered", cf_json_time(identity->registered), "last_backup",
                  v->has_backup ? cf_json_time(v->backup.finished) : json_null(), "next_run",
                  v->policy.has_next ? cf_json_time((cf_time){v->policy.next_run, 0}) : json_null(), "policy_version",
                  v->policy.exists ? json_integer((json_int_t)v->policy.policy.number) : json_null(), "last_drill",
                  drill_value(v), "points", v->knows_points ? json_integer((json_int_t)v->points) : json_null(),
                  "checked", v->knows_points ? cf_json_time(v->checked) : json_null(), "running_job",
                  v->has_running ? cf_json_hex(v->running.id.bytes, 16) : json_null(), "problems",
                  problems_json(v, false), "problem_details", problems_json(v, true)));
}

static void show_points(const view *v, cf_time now) {
    char age[32];
    int64_t seconds = now.seconds - v->checked.seconds;
    cf_duration_text(seconds > 0 ? (uint64_t)seconds : 0, age);
    if (!v->knows_points)
        printf("points       not known: the vault has not been asked yet\n");
    else if (v->vault_answers)
        printf("points       %llu\n", (unsigned long long)v->points);
    else
        printf("points       %llu, as of %s ago\n", (unsigned long long)v->points, age);
}

static void show_text(const view *v, cf_time now) {
    char time[40];
    const cf_identity *identity = v->identity;
    size_t first = v->problem_count && cf_err_code(v->problems[0]) == CF_ERR_NO_POLICY;
    if (first) cf_err_print(stdout, v->problems[0]);
    cf_time_local(identity->registered, time);
    printf("server       %s\nvault        %s, %s\nregistered   %s\n", identity->server_name, identity->vault_name,
           identity->url, time);
    cf_time_local(v->backup.finished, time);
    printf("last backup  %s%s\n", v->has_backup ? time : "none yet",
           v->has_backup && v->backup.warnings ? " (with warnings)" : "");
    show_drill(v);
    cf_status_policy_print(&v->policy);
    show_points(v, now);
    if (v->has_running) {
        char id[CF_HEX_SIZE(16)];
        cf_hex_encode(v->running.id.bytes, 16, id);
        printf("running      %s job %.12s\n", v->running.type, id);
    }
    if (v->problem_count == 0) printf("problems     none\n");
    fflush(stdout);
    for (size_t i = first; i < v->problem_count; i++) cf_err_print(stdout, v->problems[i]);
}

static cf_err *collect(const cf_agent *agent, const cf_cli *cli, view *v) {
    CF_TRY(cf_registration_load_identity(cf_state_fd(agent->state), &v->identity));
    CF_AUTO(cf_server_keys) keys = NULL;
    cf_err *err = cf_registration_load_keys(cf_state_fd(agent->state), &keys);
    if (err) add_problem(v, err);
    CF_TRY(read_jobs(agent, v));
    CF_TRY(cf_drill_recall(agent->state, &v->drill, &v->has_drill));
    CF_TRY(check_newest(agent, v));
    CF_TRY(ask_or_recall(agent, cli, v));
    return read_policy(agent, v);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_TRY(cf_agent_open(cli, &agent));
    view v = {0};
    cf_err *err = collect(&agent, cli, &v);
    if (!err) {
        cli->warnings = v.problem_count > 0;
        if (cli->json)
            err = show_json(&v);
        else
            show_text(&v, cf_clock_wall(cf_state_clock(agent.state)));
    }
    view_wipe(&v);
    return err;
}

const cf_command cf_cmd_status = {
    .name = "status",
    .summary = "server, vault, last backup, points and problems on one screen",
    .description = "Works without the vault too: then it shows what was known last, and how old that is.\n",
    .examples = "coffer status\ncoffer status --json\n",
    .run = run,
};
