/* coffer policy test: is a path in the backup, and by which rule not? */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/output.h"
#include "cli/policy_edit.h"
#include "scan/coverage.h"

static const char *reason_of(cf_covered covered) {
    switch (covered) {
    case CF_COVERED:
        return "source";
    case CF_COVERED_WAY:
        return "on_the_way";
    case CF_NOT_IN_SOURCES:
        return "no_source";
    case CF_NOT_BY_RULE:
        return "pattern";
    case CF_NOT_CACHE_FOLDER:
        return "cachedir_tag";
    case CF_NOT_NODUMP:
        return "nodump";
    case CF_NOT_FILE_SYSTEM:
        return "file_system";
    }
    return "unknown";
}

static json_t *text_or_null(const char *text) {
    return text ? cf_json_text(cf_span_text(text)) : json_null();
}

/* The part of the path that decided: a folder above, or all of it. */
static cf_span decided(const char *path, const cf_coverage_verdict *verdict) {
    bool out =
        verdict->covered != CF_COVERED && verdict->covered != CF_COVERED_WAY && verdict->covered != CF_NOT_IN_SOURCES;
    size_t size = strlen(path);
    if (!out) return cf_span_of(NULL, 0);
    return cf_span_of(path, verdict->path_size && verdict->path_size < size ? verdict->path_size : size);
}

/* A new reference; NULL without memory. */
static json_t *verdict_json(const char *path, const cf_coverage_verdict *verdict) {
    const cf_exclude_match *rule = verdict->rule.matched ? &verdict->rule : NULL;
    cf_span at = decided(path, verdict);
    json_t *document = json_pack("{s:b, s:s, s:o, s:o, s:o, s:o, s:b}", "included", verdict->covered == CF_COVERED,
                                 "reason", reason_of(verdict->covered), "source", text_or_null(verdict->source), "rule",
                                 text_or_null(rule ? rule->pattern : NULL), "rule_of",
                                 rule ? json_string(rule->source ? "source" : "policy") : json_null(), "matched",
                                 at.size ? cf_json_text(at) : json_null(), "exists", (int)verdict->exists);
    if (document && cf_json_set_path(document, "path", cf_span_text(path)) == 0) return document;
    json_decref(document);
    return NULL;
}

static void show_text(const char *path, const cf_coverage_verdict *verdict) {
    const cf_exclude_match *rule = &verdict->rule;
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(path));
    CF_AUTO_FREE char *pattern = cf_text_printable(cf_span_text(rule->matched ? rule->pattern : ""));
    CF_AUTO_FREE char *at = cf_text_printable(decided(path, verdict));
    CF_AUTO_FREE char *source = cf_text_printable(cf_span_text(verdict->source ? verdict->source : ""));
    if (!shown || !pattern || !at || !source) return;
    const char *whose = rule->source ? "the source's" : "the policy's";
    printf("%s %s: ", verdict->covered == CF_COVERED ? "in " : "out", shown);
    switch (verdict->covered) {
    case CF_COVERED:
        printf("source %s", source);
        if (rule->matched) printf("; %s '%s' takes an exclusion back", whose, pattern);
        break;
    case CF_COVERED_WAY:
        printf("on the way to a source: only its own metadata is kept");
        break;
    case CF_NOT_IN_SOURCES:
        printf("below no source");
        break;
    case CF_NOT_BY_RULE:
        printf("%s exclusion '%s' matches %s", whose, pattern, at);
        break;
    case CF_NOT_CACHE_FOLDER:
        printf("%s is in a folder marked by CACHEDIR.TAG", at);
        break;
    case CF_NOT_NODUMP:
        printf("%s has the nodump flag", at);
        break;
    case CF_NOT_FILE_SYSTEM:
        printf("%s is on a file system that is not entered", at);
        break;
    }
    printf("\n");
}

/* Links on the way are followed as far as it exists, as they are for sources; the last name is not. Fresh, NULL without
 * memory. */
static char *resolved(const char *given) {
    CF_AUTO_FREE char *path = cf_absolute_path(given);
    if (!path) return NULL;
    for (char *end = strrchr(path, '/'); end && end != path;) {
        *end = '\0';
        CF_AUTO_FREE char *real = realpath(path, NULL);
        *end = '/';
        if (real) return cf_text_format("%s%s", strcmp(real, "/") == 0 ? "" : real, end);
        char *above = end - 1;
        while (above > path && *above != '/') above--;
        end = above;
    }
    return cf_take(path);
}

/* list: NULL, or where the answer goes as JSON. */
static cf_err *test_path(const cf_coverage *coverage, const char *given, json_t *list) {
    CF_AUTO_FREE char *path = resolved(given);
    if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
    size_t size = strlen(given);
    cf_coverage_verdict verdict;
    CF_TRY(cf_coverage_test(coverage, cf_span_text(path), size && given[size - 1] == '/', &verdict));
    if (list && json_array_append_new(list, verdict_json(path, &verdict)) != 0)
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "an answer");
    if (!list) show_text(path, &verdict);
    return NULL;
}

/* One path: an object; several: a list of them. */
static cf_err *show_list(json_t *list) {
    if (json_array_size(list) != 1) return cf_output_json(list);
    json_t *only = json_incref(json_array_get(list, 0));
    json_decref(list);
    return cf_output_json(only);
}

static cf_err *test_paths(const cf_cli *cli, const cf_policy *policy, const cf_words *paths) {
    CF_AUTO_COVERAGE cf_coverage coverage = {0};
    CF_TRY(cf_coverage_from_policy(policy, NULL, NULL, &coverage));
    json_t *list = cli->json ? json_array() : NULL;
    if (cli->json && !list) return cf_output_json(NULL);
    cf_err *err = NULL;
    for (size_t i = 0; i < paths->count && !err; i++) err = test_path(&coverage, paths->item[i], list);
    if (!err && list) return show_list(list);
    json_decref(list);
    return err;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_policy policy;
    bool found = false;
    CF_TRY(cf_agent_open(cli, &agent));
    cf_err *err = cf_policy_load_current(&agent, cli, &policy, &found);
    if (!err && !found) err = cf_no_policy();
    if (!err) err = test_paths(cli, &policy, arguments);
    cf_policy_wipe(&policy);
    return err;
}

const cf_command cf_cmd_policy_test = {
    .name = "test",
    .arguments = "PATH...",
    .summary = "is PATH in the backup? By which rule not?",
    .description = "PATH need not exist; a slash at its end says that it would be a folder.\n",
    .examples = "coffer policy test /home/anna/.cache /etc/shadow\n",
    .min_arguments = 1,
    .max_arguments = CF_ANY_COUNT,
    .run = run,
};
