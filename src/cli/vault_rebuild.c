/* coffer-vault rebuild: the database made again from the stored objects. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "proto/error_json.h"
#include "service/rebuild.h"

typedef struct problems {
    cf_cli *cli;
    json_t *list; /* with --json; NULL when it could not be kept */
} problems;

static void note_problem(void *context, const char *object, const cf_err *err) {
    problems *all = context;
    all->cli->warnings = true;
    cf_output_note(all->cli, "not used: %s: %s", object, cf_err_message(err));
    json_t *one = json_pack("{ss,so}", "object", object, "error", cf_error_to_json(err));
    (void)json_array_append_new(all->list, one); /* the count is right in any case */
}

static cf_err *print_report(cf_cli *cli, const cf_rebuild_report *report, json_t *list) {
    if (cli->json)
        return cf_output_json(json_pack(
            "{sI,sI,sI,sI,sI,sI,sI,sI,sI,sO,s[sss]}", "servers", (json_int_t)report->servers, "tokens",
            (json_int_t)report->tokens, "credentials", (json_int_t)report->credentials, "number_blocks",
            (json_int_t)report->blocks, "slots", (json_int_t)report->slots, "records", (json_int_t)report->records,
            "packs", (json_int_t)report->packs, "bytes", (json_int_t)report->bytes, "points",
            (json_int_t)report->points, "problems", list, "unknown", "open sessions", "read leases", "job history"));
    printf("made the database again: %" PRIu64 " servers, %" PRIu64 " recovery points, %" PRIu64 " packs, %" PRIu64
           " key slots, %" PRIu64 " key records, %" PRIu64 " tokens\n",
           report->servers, report->points, report->packs, report->slots, report->records, report->tokens);
    printf(
        "not known any more: open sessions (a running backup begins a new one), read leases, the history of jobs; times "
        "at which points were received are those of the stored files\n");
    if (report->problems)
        printf("%" PRIu64 " objects were not used (listed above); they stay where they are\n", report->problems);
    cf_output_note(cli, "the database from before is kept as vault.db.old");
    return NULL;
}

struct rebuild_options {
    bool merge;
};

static const cf_option options[] = {
    CF_OPTION_FLAG(struct rebuild_options, merge, "merge",
                   "keep the database, which is an older copy, and adopt what is ahead of it"),
    CF_OPTION_END};

static cf_err *print_merge(cf_cli *cli, const cf_rebuild_report *report, json_t *list) {
    if (cli->json)
        return cf_output_json(json_pack("{sI,sI,sI,sI,sI,sI,sI,sO}", "servers", (json_int_t)report->servers, "slots",
                                        (json_int_t)report->slots, "records", (json_int_t)report->records, "packs",
                                        (json_int_t)report->packs, "bytes", (json_int_t)report->bytes, "points",
                                        (json_int_t)report->points, "lost", (json_int_t)report->lost, "problems",
                                        list));
    printf("the database took over %" PRIu64 " servers, %" PRIu64 " recovery points, %" PRIu64 " packs, %" PRIu64
           " key slots and %" PRIu64 " key records; %" PRIu64 " packs that were removed meanwhile left it\n",
           report->servers, report->points, report->packs, report->slots, report->records, report->lost);
    if (report->problems)
        printf("%" PRIu64 " objects were not used (listed above); they stay where they are\n", report->problems);
    return NULL;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct rebuild_options *opt = given;
    cf_rebuild_report report;
    problems all = {cli, json_array()};
    if (!all.list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "rebuilding");
    cf_err *err = (opt->merge ? cf_vault_merge : cf_vault_rebuild)(arguments->item[0], cf_clock_system(), cli->cancel,
                                                                   note_problem, &all, &report);
    if (!err) err = (opt->merge ? print_merge : print_report)(cli, &report, all.list);
    json_decref(all.list);
    return err;
}

const cf_command cf_cmd_vault_rebuild = {
    .name = "rebuild",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "make the database again from the stored objects",
    .description =
        "For a database that was lost, damaged, or put back to an older copy. Reads every byte that is\n"
        "stored. The service must not run meanwhile. Objects that cannot be used are listed and stay.\n"
        "With --merge the database stays and takes over what the store has ahead of it: for a database that\n"
        "was put back to an older copy, which stops expiry and deletion until this was done.\n",
    .examples = "coffer-vault rebuild /srv/coffer\ncoffer-vault rebuild --merge /srv/coffer\n",
    .options = options,
    .options_size = sizeof(struct rebuild_options),
    .run = run,
};
