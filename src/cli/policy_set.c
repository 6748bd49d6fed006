/* coffer policy set: changes only what is given, and lists everything that is wrong at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/server_zone.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/policy_edit.h"
#include "os/file.h"
#include "policy/faults.h"
#include "policy/policy_words.h"
#include "policy/schedule.h"
#include "policy/words.h"
#include "policy/zone.h"

enum { DEFAULT_DAYS = 30, DEFAULT_WEEKS = 12 };

struct set_options {
    cf_words source, add_source, remove_source;
    cf_words exclude, add_exclude, remove_exclude, add_exclude_in, remove_exclude_in;
    bool system_state, no_system_state, exclude_caches, no_exclude_caches, exclude_nodump, no_exclude_nodump;
    bool one_file_system, cross_file_systems, no_hooks, confirm;
    const char *schedule, *time_zone, *catch_up, *random_delay;
    const char *keep[4], *on[3]; /* daily, weekly, monthly, yearly; without daily */
    const char *drill, *full_every, *file;
    cf_words hook;
};

#define FLAG(field, name, help) CF_OPTION_FLAG(struct set_options, field, name, help)
#define TEXT(field, name, value, help) CF_OPTION_TEXT(struct set_options, field, name, value, help)
#define LIST(field, name, value, help) CF_OPTION_LIST(struct set_options, field, name, value, help)

static const cf_option options[] = {
    LIST(source, "source", "PATH", "a file, a folder or a file system; all of them anew (repeat it)"),
    LIST(add_source, "add-source", "PATH", "one more"),
    LIST(remove_source, "remove-source", "PATH", "no more; its points stay under their last retention"),
    FLAG(system_state, "system-state", "what it takes to rebuild this machine, too"),
    FLAG(no_system_state, "no-system-state", "no more of that"),
    LIST(exclude, "exclude", "PATTERN", "leave out, as in .gitignore; all of them anew (repeat it; '' for none)"),
    LIST(add_exclude, "add-exclude", "PATTERN", "one more"),
    LIST(remove_exclude, "remove-exclude", "PATTERN", "no more"),
    LIST(add_exclude_in, "add-exclude-in", "SOURCE:PATTERN", "one more, of one source"),
    LIST(remove_exclude_in, "remove-exclude-in", "SOURCE:PATTERN", "no more"),
    FLAG(exclude_caches, "exclude-caches", "leave out folders with a CACHEDIR.TAG"),
    FLAG(no_exclude_caches, "no-exclude-caches", "no more of that"),
    FLAG(exclude_nodump, "exclude-nodump", "leave out what has the nodump flag (chattr +d)"),
    FLAG(no_exclude_nodump, "no-exclude-nodump", "no more of that"),
    FLAG(one_file_system, "one-file-system", "do not enter file systems mounted below a source (as at first)"),
    FLAG(cross_file_systems, "cross-file-systems", "enter them (never /proc and the like)"),
    TEXT(schedule, "schedule", "WHEN", "'daily 09:00,21:00', 'weekly mon,thu 22:30', 'weekly/2 sat 02:00', none"),
    TEXT(time_zone, "time-zone", "ZONE", "of the schedule: Europe/Berlin (this server's, when not given at first)"),
    TEXT(catch_up, "catch-up", "TIME", "make up for a missed run within: 24h, 90m, none"),
    TEXT(random_delay, "random-delay", "TIME", "start each run up to so much later: 30m, none"),
    TEXT(keep[0], "keep-daily", "N", "keep every point for N days (0: no such rule)"),
    TEXT(keep[1], "keep-weekly", "N", "keep one a week for N weeks"),
    TEXT(on[0], "weekly-on", "DAYS", "sat; 'sat,sun 21:00'"),
    TEXT(keep[2], "keep-monthly", "N", "keep one a month for N months"),
    TEXT(on[1], "monthly-on", "DAYS", "'last sat'; '1,15'; 'first sun 21:00'"),
    TEXT(keep[3], "keep-yearly", "N", "keep one a year for N years"),
    TEXT(on[2], "yearly-on", "DAYS", "'jan last sun'; 'mar,sep 1'"),
    CF_OPTION_CHOICE(struct set_options, drill, "drill", "none|daily|weekly|monthly", "try out restoring so often"),
    TEXT(full_every, "full-every", "N", "every n-th run reads every file (0: as the program chooses)"),
    LIST(hook, "hook", "NAME", "a hook of agent.conf that runs around each job; all of them anew"),
    FLAG(no_hooks, "no-hooks", "none"),
    TEXT(file, "file", "FILE", "a whole policy (as policy show --json prints it), - for standard input"),
    FLAG(confirm, "confirm-selection", "what the vault's side changed in the selection is wanted here"),
    CF_OPTION_END};

typedef struct edit {
    const struct set_options *opt;
    cf_policy *policy;
    cf_faults *faults;
} edit;

/* An option whose words were not understood; gives back what is no fault of the words. */
static cf_err *option_fault(const edit *at, cf_code code, const char *option, cf_err *err) {
    return cf_faults_take(at->faults, code, option, err);
}

static cf_err *each_path(const edit *at, const cf_words *words, bool add) {
    for (size_t i = 0; i < words->count; i++) {
        CF_AUTO_FREE char *path = *words->item[i] ? cf_absolute_path(words->item[i]) : NULL;
        if (!*words->item[i]) {
            cf_faults_add(at->faults, CF_ERR_BAD_SOURCE_PATH, "a source has an empty path");
            continue;
        }
        if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
        bool there = cf_policy_find_source(at->policy, path) != NULL;
        if (add && !there) CF_TRY(cf_policy_add_source(at->policy, path, NULL));
        if (!add && !cf_policy_remove_source(at->policy, path))
            cf_faults_add(at->faults, CF_ERR_BAD_SOURCE_PATH, "--remove-source %s: it is no source", path);
    }
    return NULL;
}

/* Sources that stay keep their own exclusions. */
static cf_err *replace_sources(const edit *at) {
    const cf_words *words = &at->opt->source;
    CF_AUTO_STRINGS cf_strings wanted = {0};
    for (size_t i = 0; i < words->count; i++) {
        CF_AUTO_FREE char *path = cf_absolute_path(words->item[i]);
        if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
        CF_TRY(cf_strings_add(&wanted, path));
    }
    for (size_t i = at->policy->source_count; i-- > 0;)
        if (!cf_strings_has(&wanted, at->policy->sources[i].path))
            (void)cf_policy_remove_source(at->policy, at->policy->sources[i].path); /* it is there */
    return each_path(at, words, true);
}

static cf_err *edit_sources(const edit *at) {
    if (at->opt->source.count) CF_TRY(replace_sources(at));
    CF_TRY(each_path(at, &at->opt->add_source, true));
    return each_path(at, &at->opt->remove_source, false);
}

static cf_err *edit_list(const edit *at, const cf_words *add, const cf_words *remove, cf_strings *list,
                         const char *option) {
    for (size_t i = 0; i < add->count; i++)
        if (!cf_strings_has(list, add->item[i])) CF_TRY(cf_strings_add(list, add->item[i]));
    for (size_t i = 0; i < remove->count; i++)
        if (!cf_strings_remove(list, remove->item[i]))
            cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s '%.200s': there is none", option, remove->item[i]);
    return NULL;
}

/* SOURCE:PATTERN; a path may have colons, so the sources decide. The longest that fits. */
static cf_policy_source *source_of(const cf_policy *policy, const char *word, const char **pattern) {
    cf_policy_source *best = NULL;
    size_t best_size = 0;
    for (size_t i = 0; i < policy->source_count; i++) {
        size_t size = strlen(policy->sources[i].path);
        if (size < best_size || strncmp(word, policy->sources[i].path, size) != 0 || word[size] != ':') continue;
        best = &policy->sources[i];
        best_size = size;
        *pattern = word + size + 1;
    }
    return best;
}

static cf_err *edit_in(const edit *at, const cf_words *words, bool add) {
    const char *option = add ? "--add-exclude-in" : "--remove-exclude-in";
    for (size_t i = 0; i < words->count; i++) {
        const char *pattern = NULL;
        cf_policy_source *source = source_of(at->policy, words->item[i], &pattern);
        if (!source)
            cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s '%.200s' does not begin with a source and a colon",
                          option, words->item[i]);
        else if (add && !cf_strings_has(&source->exclude, pattern))
            CF_TRY(cf_strings_add(&source->exclude, pattern));
        else if (!add && !cf_strings_remove(&source->exclude, pattern))
            cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s '%.200s': there is none", option, words->item[i]);
    }
    return NULL;
}

static cf_err *edit_exclusions(const edit *at) {
    static const cf_words none;
    const struct set_options *opt = at->opt;
    if (opt->exclude.count) {
        bool clear = opt->exclude.count == 1 && !*opt->exclude.item[0];
        cf_strings_wipe(&at->policy->exclude);
        CF_TRY(edit_list(at, clear ? &none : &opt->exclude, &none, &at->policy->exclude, "--exclude"));
    }
    CF_TRY(edit_list(at, &opt->add_exclude, &opt->remove_exclude, &at->policy->exclude, "--remove-exclude"));
    CF_TRY(edit_in(at, &opt->add_exclude_in, true));
    return edit_in(at, &opt->remove_exclude_in, false);
}

static void edit_flag(const edit *at, bool yes, bool no, const char *name, bool *value) {
    if (yes && no) cf_faults_add(at->faults, CF_ERR_POLICY_INVALID, "%s and its opposite are given", name);
    if (yes != no) *value = yes;
}

static void edit_flags(const edit *at) {
    const struct set_options *opt = at->opt;
    cf_policy *policy = at->policy;
    edit_flag(at, opt->system_state, opt->no_system_state, "--system-state", &policy->system_state);
    edit_flag(at, opt->exclude_caches, opt->no_exclude_caches, "--exclude-caches", &policy->exclude_caches);
    edit_flag(at, opt->exclude_nodump, opt->no_exclude_nodump, "--exclude-nodump", &policy->exclude_nodump);
    edit_flag(at, opt->one_file_system, opt->cross_file_systems, "--one-file-system", &policy->one_file_system);
    for (unsigned i = 0; opt->drill && i < 4; i++)
        if (strcmp(opt->drill, cf_drill_words[i]) == 0) policy->drill = (cf_drill)i;
}

/* "90", "90m", "24h", "7d", "none", in minutes. */
static cf_err *parse_minutes(const char *text, uint32_t max, uint32_t *minutes) {
    size_t size = strlen(text);
    uint64_t unit = 1, number = 0;
    char digits[16];
    if (strcmp(text, "none") == 0 || strcmp(text, "0") == 0) {
        *minutes = 0;
        return NULL;
    }
    char last = size ? text[size - 1] : '\0';
    if (last == 'm' || last == 'h' || last == 'd') size--;
    if (last == 'h') unit = 60;
    if (last == 'd') unit = 1440;
    if (size < sizeof digits) {
        memcpy(digits, text, size);
        digits[size] = '\0';
    }
    if (size >= sizeof digits || !cf_text_parse_u64(digits, 1000000, &number) || number * unit > max)
        return cf_fail(CF_ERR_BAD_USAGE, "'%.32s' is not a time such as 30m, 24h or none, up to %u minutes", text, max);
    *minutes = (uint32_t)(number * unit);
    return NULL;
}

static cf_err *parse_count(const char *text, uint32_t *count) {
    uint64_t number = 0;
    if (!cf_text_parse_u64(text, UINT32_MAX, &number))
        return cf_fail(CF_ERR_BAD_USAGE, "'%.32s' is not a number", text);
    *count = (uint32_t)number;
    return NULL;
}

/* The day that it is in the policy's zone; in UTC when the zone is none (which is a fault anyway). */
static cf_err *today_of(const cf_policy *policy, int64_t now, int64_t *day) {
    CF_AUTO(cf_zone) zone = NULL;
    cf_err *err = cf_zone_open(policy->zone, &zone);
    if (cf_err_code(err) == CF_ERR_ZONE_UNKNOWN) {
        cf_err_free(err);
        err = cf_zone_open("UTC", &zone);
    }
    CF_TRY(err);
    *day = cf_zone_local(zone, now).day;
    return NULL;
}

/* The zone is that of the server when the first schedule is made, and then stays what it is. */
static cf_err *edit_schedule(const edit *at, int64_t now) {
    const struct set_options *opt = at->opt;
    cf_policy *policy = at->policy;
    int64_t today = 0;
    if (opt->time_zone && strlen(opt->time_zone) > CF_POLICY_ZONE_MAX)
        cf_faults_add(at->faults, CF_ERR_ZONE_UNKNOWN, "--time-zone: no zone has such a long name");
    else if (opt->time_zone)
        snprintf(policy->zone, sizeof policy->zone, "%s", opt->time_zone);
    else if (opt->schedule && policy->schedule.kind == CF_SCHEDULE_NONE && !cf_server_zone(policy->zone))
        snprintf(policy->zone, sizeof policy->zone, "UTC");
    if (opt->catch_up)
        CF_TRY(option_fault(at, CF_ERR_POLICY_INVALID, "--catch-up",
                            parse_minutes(opt->catch_up, CF_POLICY_CATCH_UP_MAX, &policy->catch_up_minutes)));
    if (opt->random_delay)
        CF_TRY(
            option_fault(at, CF_ERR_POLICY_INVALID, "--random-delay",
                         parse_minutes(opt->random_delay, CF_POLICY_RANDOM_DELAY_MAX, &policy->random_delay_minutes)));
    if (opt->full_every)
        CF_TRY(
            option_fault(at, CF_ERR_POLICY_INVALID, "--full-every", parse_count(opt->full_every, &policy->full_every)));
    if (!opt->schedule) return NULL;
    CF_TRY(today_of(policy, now, &today));
    return option_fault(at, CF_ERR_POLICY_INVALID, "--schedule",
                        cf_schedule_parse(opt->schedule, today, &policy->schedule));
}

/* The days of a rule that names none: Saturday, or the schedule's first day, and the last such of the time. */
static cf_keep_days default_days(const cf_schedule *schedule, unsigned rule) {
    enum { SATURDAY = 1 << 5, LAST = 1 << 4, DECEMBER = 1 << 11 };
    cf_keep_days days = {.weekdays = SATURDAY};
    if (schedule->kind == CF_SCHEDULE_WEEKLY && schedule->weekdays && !(schedule->weekdays & SATURDAY))
        days.weekdays = (uint8_t)(schedule->weekdays & -schedule->weekdays);
    if (rule != CF_RULE_WEEKLY) days.ordinals = LAST;
    if (rule == CF_RULE_YEARLY) days.months = DECEMBER;
    return days;
}

static cf_err *edit_retention(const edit *at) {
    static const char *const names[] = {"--keep-daily", "--keep-weekly", "--keep-monthly", "--keep-yearly"};
    static const char *const on_names[] = {"--weekly-on", "--monthly-on", "--yearly-on"};
    cf_retention *keep = &at->policy->retention;
    uint32_t *counts[] = {&keep->days, &keep->weeks, &keep->months, &keep->years};
    cf_keep_days *on[] = {&keep->weekly_on, &keep->monthly_on, &keep->yearly_on};
    for (unsigned i = 0; i < 4; i++) {
        uint32_t before = *counts[i];
        if (at->opt->keep[i])
            CF_TRY(option_fault(at, CF_ERR_RETENTION_INVALID, names[i], parse_count(at->opt->keep[i], counts[i])));
        if (i == 0) continue;
        if (at->opt->on[i - 1])
            CF_TRY(option_fault(at, CF_ERR_RETENTION_INVALID, on_names[i - 1],
                                cf_keep_days_parse((cf_rule)(i - 1), at->opt->on[i - 1], on[i - 1])));
        else if (before == 0 && *counts[i])
            *on[i - 1] = default_days(&at->policy->schedule, i - 1);
        if (at->opt->on[i - 1] && *counts[i] == 0 && !at->opt->keep[i])
            cf_faults_add(at->faults, CF_ERR_RETENTION_INVALID, "%s goes with %s N", on_names[i - 1], names[i]);
    }
    return NULL;
}

/* A first schedule without any rule gets one: points that nothing keeps would be of no use. */
static void fill_retention(cf_policy *policy) {
    cf_retention *keep = &policy->retention;
    if (keep->days || keep->weeks || keep->months || keep->years) return;
    if (policy->schedule.kind == CF_SCHEDULE_DAILY) keep->days = DEFAULT_DAYS;
    if (policy->schedule.kind != CF_SCHEDULE_WEEKLY) return;
    keep->weeks = DEFAULT_WEEKS;
    keep->weekly_on = (cf_keep_days){.weekdays = policy->schedule.weekdays};
}

static cf_err *edit_hooks(const edit *at) {
    static const cf_words none;
    if (at->opt->hook.count == 0 && !at->opt->no_hooks) return NULL;
    cf_strings_wipe(&at->policy->hooks);
    return edit_list(at, &at->opt->hook, &none, &at->policy->hooks, "--hook");
}

/* What `policy show --json` adds to the document. */
static cf_err *strip_shown(cf_span text, cf_buf *out) {
    static const char *const shown[] = {"next_runs", "points_kept",   "pending",      "server_time_zone",
                                        "cut",       "below_minimum", "schedule_text"};
    json_t *document = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    char *stripped = NULL;
    if (json_is_object(document)) {
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) (void)json_object_del(document, shown[i]);
        stripped = json_dumps(document, JSON_COMPACT);
    }
    json_decref(document);
    /* What is no object is for the policy's parser to refuse. */
    cf_buf_put_span(out, stripped ? cf_span_text(stripped) : text);
    free(stripped);
    return cf_buf_check(out, "a policy");
}

static cf_err *read_stdin(cf_buf *out) {
    for (;;) {
        uint8_t *room = cf_buf_reserve(out, 65536);
        if (!room) return cf_buf_check(out, "standard input");
        ssize_t got = read(STDIN_FILENO, room, 65536);
        if (got < 0) return cf_fail(CF_ERR_IO, "standard input cannot be read");
        if (got == 0) return NULL;
        out->size += (size_t)got;
    }
}

/* The document's number says what it was made from, not what it is to replace. */
static cf_err *read_document(const char *path, cf_policy *policy) {
    CF_AUTO_BUF cf_buf text, document;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX + 65536);
    cf_buf_init(&document, CF_POLICY_SIZE_MAX + 65536);
    if (strcmp(path, "-") == 0)
        CF_TRY(read_stdin(&text));
    else
        CF_TRY(cf_file_read(AT_FDCWD, path, CF_POLICY_SIZE_MAX, &text));
    CF_TRY(strip_shown(cf_buf_span(&text), &document));
    cf_policy read;
    CF_TRY(cf_policy_parse(cf_buf_span(&document), path, &read));
    read.number = policy->number;
    cf_policy_wipe(policy);
    *policy = read;
    return NULL;
}

static void note_missing(const cf_cli *cli, const cf_policy *policy) {
    struct stat st;
    for (size_t i = 0; i < policy->source_count; i++)
        if (lstat(policy->sources[i].path, &st) != 0)
            cf_output_note(cli, "%s does not exist now; each backup will warn of it", policy->sources[i].path);
}

struct set_context {
    const struct set_options *opt;
    int64_t now;
};

static cf_err *change(const cf_cli *cli, void *context, cf_policy *policy, bool exists) {
    const struct set_context *given = context;
    CF_AUTO_FAULTS cf_faults faults;
    cf_faults_init(&faults);
    edit at = {given->opt, policy, &faults};
    (void)exists;
    if (given->opt->file) CF_TRY(read_document(given->opt->file, policy));
    CF_TRY(edit_sources(&at));
    CF_TRY(edit_exclusions(&at));
    edit_flags(&at);
    CF_TRY(edit_schedule(&at, given->now));
    CF_TRY(edit_retention(&at));
    fill_retention(policy);
    CF_TRY(edit_hooks(&at));
    CF_TRY(cf_policy_check_into(policy, &faults));
    CF_TRY(cf_faults_done(&faults, "the policy"));
    note_missing(cli, policy);
    return NULL;
}

/* Is anything given at all? The table says where to look. */
static bool nothing_given(const struct set_options *opt) {
    static const struct set_options none;
    struct set_options copy = *opt;
    cf_words *lists[] = {&copy.source,  &copy.add_source,     &copy.remove_source,
                         &copy.exclude, &copy.add_exclude,    &copy.remove_exclude,
                         &copy.hook,    &copy.add_exclude_in, &copy.remove_exclude_in};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i]->count) return false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) *lists[i] = (cf_words){0};
    return memcmp(&copy, &none, sizeof none) == 0;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)arguments;
    if (nothing_given(given)) return cf_cli_usage(cli, "nothing to set");
    cf_clock clock = cf_clock_system();
    struct set_context context = {given, cf_clock_wall(&clock).seconds};
    return cf_policy_edit(cli, change, &context, ((const struct set_options *)given)->confirm);
}

const cf_command cf_cmd_policy_set = {
    .name = "set",
    .summary = "change the policy: only what is given",
    .description =
        "Everything that is wrong is listed at once, and nothing is changed then. A first schedule without a\n"
        "rule keeps its points for 30 days (daily) or 12 weeks (weekly).\n",
    .examples = "coffer policy set --source /etc --source /home --schedule 'daily 09:00,21:00' --keep-daily 30\n"
                "coffer policy set --keep-weekly 12 --weekly-on sat --keep-monthly 24 --monthly-on 'last sat'\n"
                "coffer policy set --add-exclude '*.tmp' --add-exclude-in /home:.cache/\n"
                "coffer policy show --json > policy.json; coffer policy set --file policy.json\n",
    .options = options,
    .options_size = sizeof(struct set_options),
    .run = run,
};
