/* coffer policy exclude: exclusions for the files that a job could not back up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jobs.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/policy_edit.h"
#include "policy/exclude.h"

enum { ALIKE = 3 /* so many of one folder and ending become one pattern */ };

struct exclude_options {
    const char *from_job;
    bool apply;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct exclude_options, from_job, "from-job", "ID", "the job whose failed files are left out"),
    CF_OPTION_FLAG(struct exclude_options, apply, "apply", "add the exclusions to the policy, not only print them"),
    CF_OPTION_END};

/* A pattern and how many of the job's failed files it covers. */
typedef struct proposal {
    char *pattern;
    size_t files;
} proposal;

typedef struct proposals {
    proposal *item;
    size_t count;
} proposals;

static void proposals_wipe(proposals *list) {
    for (size_t i = 0; i < list->count; i++) free(list->item[i].pattern);
    free(list->item);
    *list = (proposals){0};
}
#define AUTO_PROPOSALS __attribute__((cleanup(proposals_wipe)))

/* Files that are in the point, if not as they should be, need no exclusion; nor do messages about no file. */
static bool is_failed_file(const cf_warning_row *warning) {
    if (warning->path.size == 0 || warning->path.data[0] != '/') return false;
    return warning->code != CF_ERR_META_UNREADABLE && warning->code != CF_ERR_FILE_CHANGING &&
           warning->code != CF_ERR_SOURCE_MISSING && warning->code != CF_ERR_SELECTION_CUT;
}

/* The path as a pattern that matches it alone: special characters escaped, what is not UTF-8 as '?' each byte. */
static void put_escaped(cf_span path, cf_buf *out) {
    CF_AUTO_FREE char *lossy = cf_utf8_lossy(path);
    bool exact = lossy && strlen(lossy) == path.size && memcmp(lossy, path.data, path.size) == 0;
    for (size_t i = 0; i < path.size; i++) {
        uint8_t byte = path.data[i];
        bool special = byte && strchr("*?[\\", byte) != NULL, last_blank = byte == ' ' && i + 1 == path.size;
        if (special || last_blank) cf_buf_put(out, "\\", 1);
        cf_buf_put_u8(out, !exact && byte >= 0x80 ? '?' : byte);
    }
}

static size_t slash_of(cf_span path) {
    size_t at = path.size;
    while (at > 0 && path.data[at - 1] != '/') at--;
    return at; /* behind it */
}

/* From the last dot of the name on; empty when there is none, or at its beginning. */
static cf_span ending_of(cf_span path) {
    size_t name = slash_of(path);
    for (size_t at = path.size; at > name + 1; at--)
        if (path.data[at - 1] == '.') return cf_span_of(path.data + at - 1, path.size - at + 1);
    return cf_span_of(NULL, 0);
}

static cf_err *pattern_of(cf_span path, bool by_ending, char **pattern) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 4 * CF_POLICY_TEXT_MAX);
    if (by_ending) {
        put_escaped(cf_span_of(path.data, slash_of(path)), &text);
        cf_buf_put(&text, "*", 1);
        put_escaped(ending_of(path), &text);
    } else {
        put_escaped(path, &text);
    }
    CF_TRY(cf_buf_check(&text, "a pattern"));
    *pattern = cf_span_dup_text(cf_buf_span(&text));
    return *pattern ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "a pattern");
}

static cf_span folder_of(cf_span path) {
    return cf_span_of(path.data, slash_of(path));
}

static bool alike(cf_span a, cf_span b) {
    return ending_of(a).size && cf_span_equal(folder_of(a), folder_of(b)) && cf_span_equal(ending_of(a), ending_of(b));
}

/* By folder, ending and name: those alike stand next to each other. */
static int compare_warnings(const void *a, const void *b) {
    cf_span x = cf_buf_span(&((const cf_warning_row *)a)->path), y = cf_buf_span(&((const cf_warning_row *)b)->path);
    int order = cf_span_compare(folder_of(x), folder_of(y));
    if (order == 0) order = cf_span_compare(ending_of(x), ending_of(y));
    return order ? order : cf_span_compare(x, y);
}

static cf_err *add(proposals *list, cf_span path, bool by_ending, size_t files) {
    CF_AUTO_FREE char *pattern = NULL;
    CF_TRY(pattern_of(path, by_ending, &pattern));
    proposal *grown = reallocarray(list->item, list->count + 1, sizeof *grown);
    if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the proposed exclusions");
    list->item = grown;
    grown[list->count++] = (proposal){cf_take(pattern), files};
    return NULL;
}

/* Failed files to the front, unless they are left out by now; how many. */
static cf_err *keep_failed(cf_warning_row *rows, size_t count, const cf_policy *policy, size_t *kept) {
    CF_AUTO(cf_exclude) exclude = NULL;
    size_t found = 0;
    CF_TRY(cf_exclude_from_policy(policy, &exclude));
    for (size_t i = 0; i < count; i++) {
        cf_exclude_match match = {0};
        if (!is_failed_file(&rows[i])) continue;
        CF_TRY(cf_exclude_test(exclude, cf_buf_span(&rows[i].path), false, &match));
        if (match.matched && match.excluded) continue;
        cf_warning_row row = rows[i];
        rows[i] = rows[found];
        rows[found++] = row;
    }
    *kept = found;
    return NULL;
}

/* Sorted rows, each path once at the front; how many. */
static size_t drop_repeated(cf_warning_row *rows, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept && cf_span_equal(cf_buf_span(&rows[kept - 1].path), cf_buf_span(&rows[i].path))) continue;
        cf_warning_row row = rows[i];
        rows[i] = rows[kept];
        rows[kept++] = row;
    }
    return kept;
}

static cf_err *propose(cf_warning_row *rows, size_t all, const cf_policy *policy, proposals *list) {
    size_t count = 0;
    CF_TRY(keep_failed(rows, all, policy, &count));
    qsort(rows, count, sizeof *rows, compare_warnings);
    count = drop_repeated(rows, count);
    for (size_t first = 0, next; first < count; first = next) {
        cf_span path = cf_buf_span(&rows[first].path);
        for (next = first + 1; next < count && alike(path, cf_buf_span(&rows[next].path));) next++;
        if (next - first >= ALIKE) {
            CF_TRY(add(list, path, true, next - first));
            continue;
        }
        for (size_t i = first; i < next; i++) CF_TRY(add(list, cf_buf_span(&rows[i].path), false, 1));
    }
    return NULL;
}

static cf_err *from_job(const cf_agent *agent, const char *prefix, const cf_policy *policy, proposals *list) {
    cf_job_row row = {0};
    cf_warning_row *warnings = NULL;
    size_t count = 0;
    CF_TRY(cf_jobs_find(agent->state, prefix, &row));
    cf_err *err = cf_jobs_list_warnings(agent->state, &row.id, CF_JOB_WARNINGS_MAX, &warnings, &count);
    if (!err && count) err = propose(warnings, count, policy, list);
    cf_warning_rows_free(warnings, count);
    cf_job_row_wipe(&row);
    return err;
}

static cf_err *show(const cf_cli *cli, const proposals *list) {
    json_t *items = cli->json ? json_array() : NULL;
    bool list_failed = false;
    if (!cli->json && list->count == 0 && !cli->quiet) printf("no file of this job needs an exclusion\n");
    for (size_t i = 0; i < list->count; i++) {
        const proposal *one = &list->item[i];
        if (!cli->json)
            printf("%s\n", one->pattern);
        else if (json_array_append_new(items,
                                       json_pack("{s:o, s:I}", "pattern", cf_json_text(cf_span_text(one->pattern)),
                                                 "files", (json_int_t)one->files)) != 0)
            list_failed = true;
    }
    if (list_failed) {
        json_decref(items);
        return cf_output_json(NULL);
    }
    return cli->json ? cf_output_json(items) : NULL;
}

static cf_err *apply(const cf_cli *cli, void *context, cf_policy *policy, bool exists) {
    const proposals *list = context;
    (void)cli;
    if (!exists) return cf_no_policy();
    for (size_t i = 0; i < list->count; i++)
        if (!cf_strings_has(&policy->exclude, list->item[i].pattern))
            CF_TRY(cf_strings_add(&policy->exclude, list->item[i].pattern));
    return NULL;
}

static cf_err *collect(cf_cli *cli, const char *job, proposals *list) {
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_policy policy;
    bool found = false;
    CF_TRY(cf_agent_open(cli, &agent));
    cf_err *err = cf_policy_load_current(&agent, cli, &policy, &found);
    if (!err && !found) err = cf_no_policy();
    if (!err) err = from_job(&agent, job, &policy, list);
    cf_policy_wipe(&policy);
    return err;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct exclude_options *opt = given;
    AUTO_PROPOSALS proposals list = {0};
    (void)arguments;
    if (!opt->from_job) return cf_cli_usage(cli, "--from-job ID is needed (coffer jobs lists them)");
    CF_TRY(collect(cli, opt->from_job, &list));
    if (!opt->apply || list.count == 0) return show(cli, &list);
    return cf_policy_edit(cli, apply, &list, false);
}

const cf_command cf_cmd_policy_exclude = {
    .name = "exclude",
    .summary = "propose exclusions for the files that a job could not back up",
    .description =
        "Three or more of one folder with the same ending become one pattern. Nothing is changed without --apply.\n",
    .examples = "coffer policy exclude --from-job 3f2a\ncoffer policy exclude --from-job 3f2a --apply\n",
    .options = options,
    .options_size = sizeof(struct exclude_options),
    .run = run,
};
