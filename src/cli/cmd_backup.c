/* coffer backup: back up paths now. */
#include <stdlib.h>
#include <string.h>

#include "agent/backup_coverage.h"
#include "base/text.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"

struct backup_options {
    const char *retain_until, *scheduled;
    bool full_scan, cross_file_systems, exclude_caches, exclude_nodump, dry_run;
    cf_words exclude;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct backup_options, retain_until, "retain-until", "DATE",
                   "keep the recovery point until DATE (2027-01-31)"),
    CF_OPTION_FLAG(struct backup_options, full_scan, "full-scan", "read every file, also those that look unchanged"),
    CF_OPTION_FLAG(struct backup_options, cross_file_systems, "cross-file-systems",
                   "enter other file systems below PATH (never /proc and the like)"),
    CF_OPTION_LIST(struct backup_options, exclude, "exclude", "PATTERN",
                   "leave out what matches, as a line of a .gitignore in / (repeat it)"),
    CF_OPTION_FLAG(struct backup_options, exclude_caches, "exclude-caches",
                   "leave out the content of folders with a CACHEDIR.TAG"),
    CF_OPTION_FLAG(struct backup_options, exclude_nodump, "exclude-nodump", "leave out what carries the nodump flag"),
    CF_OPTION_FLAG(struct backup_options, dry_run, "dry-run", "say what would be backed up; nothing is sent"),
    /* Given by cofferd: the time at which this run was due. */
    {.name = "scheduled",
     .kind = CF_OPTION_KIND_TEXT,
     .offset = offsetof(struct backup_options, scheduled),
     .value = "TIME",
     .help = "the run of the schedule that was due at TIME",
     .hidden = true},
    CF_OPTION_END};

static void show_note(void *context, const char *text) {
    cf_output_note(context, "%s", text);
}

static json_t *summary_json(const cf_backup_outcome *outcome) {
    const cf_summary *s = &outcome->summary;
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "type",
                     "summary", "job_id", cf_json_hex(outcome->job.bytes, 16), "point_id",
                     strcmp(outcome->status, "dry_run") == 0 ? json_null() : cf_json_hex(outcome->point.bytes, 32),
                     "base_point", outcome->has_base ? cf_json_hex(outcome->base.bytes, 32) : json_null(), "scan",
                     s->tracked ? "tracked" : "full", "scan_reason", outcome->scan_reason, "status", outcome->status,
                     "files", (json_int_t)s->files, "directories", (json_int_t)s->directories, "bytes",
                     (json_int_t)s->bytes, "files_new", (json_int_t)s->files_new, "files_changed",
                     (json_int_t)s->files_changed, "files_unchanged", (json_int_t)s->files_unchanged, "bytes_read",
                     (json_int_t)s->bytes_read, "bytes_stored", (json_int_t)s->bytes_stored, "warnings",
                     (json_int_t)s->warnings, "seconds", (double)outcome->seconds_ms / 1000.0);
}

static void print_summary(const cf_backup_outcome *outcome) {
    const cf_summary *s = &outcome->summary;
    char bytes[24], read[24], stored[24], point[CF_HEX_SIZE(32)], job[CF_HEX_SIZE(16)];
    cf_text_size(s->bytes, bytes);
    cf_text_size(s->bytes_read, read);
    cf_text_size(s->bytes_stored, stored);
    cf_hex_encode(outcome->point.bytes, 32, point);
    cf_hex_encode(outcome->job.bytes, 16, job);
    printf("recovery point %.12s\n", point);
    printf("  %llu files, %llu folders, %s\n", (unsigned long long)s->files, (unsigned long long)s->directories, bytes);
    printf("  %llu new, %llu changed, %llu unchanged; %s read, %s sent in %.1f s\n", (unsigned long long)s->files_new,
           (unsigned long long)s->files_changed, (unsigned long long)s->files_unchanged, read, stored,
           (double)outcome->seconds_ms / 1000.0);
    if (s->warnings) printf("  %llu warnings: coffer jobs %.12s\n", (unsigned long long)s->warnings, job);
}

static void print_dry_run(const cf_backup_outcome *outcome) {
    const cf_summary *s = &outcome->summary;
    char bytes[24], fresh[24];
    cf_text_size(s->bytes, bytes);
    cf_text_size(s->bytes_stored, fresh);
    printf("would back up %llu files, %llu folders, %s\n", (unsigned long long)s->files,
           (unsigned long long)s->directories, bytes);
    printf("  %llu new, %llu changed, %llu unchanged; %s are not in the vault yet (before compression)\n",
           (unsigned long long)s->files_new, (unsigned long long)s->files_changed,
           (unsigned long long)s->files_unchanged, fresh);
    if (s->warnings) printf("  %llu could not be read: see above\n", (unsigned long long)s->warnings);
}

static cf_err *check_date(const char *date) {
    char text[48];
    cf_time time;
    if (!date) return NULL;
    snprintf(text, sizeof text, "%.20sT00:00:00Z", date);
    if (strlen(date) != 10 || !cf_time_parse(text, &time))
        return cf_fail(CF_ERR_BAD_USAGE, "--retain-until %s: a date such as 2027-01-31 is expected", date);
    cf_clock clock = cf_clock_system();
    if (cf_time_compare(time, cf_clock_wall(&clock)) <= 0)
        return cf_fail(CF_ERR_BAD_USAGE, "--retain-until %s: that day has begun already", date);
    return NULL;
}

/* coverage NULL: the policy's. */
static cf_err *run_job(cf_cli *cli, const cf_agent *agent, const struct backup_options *opt, cf_access *access,
                       const cf_coverage *coverage, const cf_policy *policy) {
    cf_progress progress;
    cf_progress_init(&progress);
    cf_progress_view *view = NULL;
    cf_err *err = cf_progress_show(cli, &progress, &view);
    cf_backup_outcome outcome = {.scan_reason = "", .status = "failed"};
    cf_backup_job job = {.state = agent->state,
                         .access = access,
                         .config = &agent->config,
                         .scratch = agent->home.scratch,
                         .coverage = coverage,
                         .policy = policy,
                         .hooks = policy ? &policy->hooks : NULL,
                         .config_path = agent->home.config,
                         .full_scan = opt->full_scan,
                         .scheduled = opt->scheduled,
                         .retain_until = opt->retain_until,
                         .cancel = cli->cancel,
                         .progress = &progress,
                         .note = show_note,
                         .context = cli};
    if (!err) err = opt->dry_run ? cf_backup_dry_run(&job, &outcome) : cf_backup_run(&job, &outcome);
    cf_progress_view_free(view);
    cf_progress_wipe(&progress);
    CF_TRY(err);
    cli->warnings = outcome.summary.warnings > 0 || strcmp(outcome.status, "completed_with_warnings") == 0;
    if (cli->json) return cf_output_json(summary_json(&outcome));
    if (opt->dry_run)
        print_dry_run(&outcome);
    else if (!cli->quiet)
        print_summary(&outcome);
    return NULL;
}

static cf_err *run_policy(cf_cli *cli, const cf_agent *agent, const struct backup_options *opt, cf_access *access) {
    CF_AUTO_POLICY cf_policy policy;
    cf_policy_init(&policy);
    CF_TRY(cf_backup_policy_load(agent->state, opt->dry_run ? NULL : access->remote, &policy));
    if (policy.protection == CF_PROTECTION_PAUSED && opt->scheduled)
        return cf_fail(CF_ERR_NO_POLICY, "the policy is paused: a run of the schedule does not start");
    struct backup_options now = *opt;
    bool turn = false;
    CF_TRY(cf_backup_full_turn(agent->state, &policy, &turn));
    now.full_scan = opt->full_scan || turn;
    CF_TRY(run_job(cli, agent, &now, access, NULL, &policy));
    return opt->dry_run ? NULL : cf_backup_count_run(agent->state, now.full_scan);
}

static cf_err *run_paths(cf_cli *cli, const cf_agent *agent, const struct backup_options *opt, cf_access *access,
                         const cf_words *paths) {
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    CF_TRY(cf_coverage_from_paths(paths->item, paths->count, opt->exclude.item, opt->exclude.count, &coverage));
    coverage.cross_file_systems = opt->cross_file_systems;
    coverage.exclude_caches = opt->exclude_caches;
    coverage.exclude_nodump = opt->exclude_nodump;
    return run_job(cli, agent, opt, access, &coverage, NULL);
}

static cf_err *check_words(const struct backup_options *opt, const cf_words *paths) {
    CF_TRY(check_date(opt->retain_until));
    bool about_paths = opt->cross_file_systems || opt->exclude.count || opt->exclude_caches || opt->exclude_nodump;
    if (paths->count == 0 && about_paths)
        return cf_fail(CF_ERR_BAD_USAGE,
                       "what the policy's selection leaves out is said in the policy: coffer policy set");
    if (paths->count && opt->scheduled)
        return cf_fail(CF_ERR_BAD_USAGE, "a run of the schedule backs up the policy's selection, not PATH");
    return NULL;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    static const cf_server_options own = {NULL, NULL, NULL};
    const struct backup_options *opt = given;
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_AUTO(cf_access) access = NULL;
    CF_TRY(check_words(opt, arguments));
    CF_TRY(cf_agent_open(cli, &agent));
    CF_TRY(cf_agent_access(&agent, cli, &own, CF_RETRY_JOB_MS, &access));
    return arguments->count ? run_paths(cli, &agent, opt, access, arguments) : run_policy(cli, &agent, opt, access);
}

const cf_command cf_cmd_backup = {
    .name = "backup",
    .arguments = "[PATH...]",
    .summary = "back up the policy's selection, or PATH..., now",
    .description =
        "Stores a recovery point of the policy's selection, or of every PATH. Files that have not changed since the last point of the same\n"
        "paths are not opened; what the vault has already is not sent. Ctrl-C keeps what was sent: the\n"
        "next run continues there.\n",
    .examples = "coffer backup /etc /home\n"
                "coffer backup /srv --retain-until 2027-01-31\n"
                "coffer backup /srv --dry-run\n"
                "coffer backup / --cross-file-systems --json\n",
    .options = options,
    .options_size = sizeof(struct backup_options),
    .max_arguments = CF_ANY_COUNT,
    .run = run,
};
