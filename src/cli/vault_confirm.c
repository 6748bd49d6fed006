/* coffer-vault confirm: an administrator has looked, and points may expire. Works beside a running service. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "service/reclaim.h"
#include "service/retention_run.h"

struct confirm_options {
    bool show;
};

static const cf_option options[] = {
    CF_OPTION_FLAG(struct confirm_options, show, "show", "only show what stops expiry, and which points wait"),
    CF_OPTION_END};

static const char *name_of(const cf_server_row *servers, size_t count, const cf_id16 *id) {
    for (size_t i = 0; i < count; i++)
        if (cf_id16_equal(&servers[i].id, id)) return servers[i].name;
    return "?";
}

static json_t *row_json(const char *name, const cf_retention_waiting *row) {
    return json_pack("{ss,sI,sI,sI,sI,sI,so}", "server", name, "points", (json_int_t)row->current, "due",
                     (json_int_t)row->due, "allowed", (json_int_t)row->allowed, "held", (json_int_t)row->held, "in_use",
                     (json_int_t)row->pinned, "problem", row->problem[0] ? json_string(row->problem) : json_null());
}

static cf_err *show_json(const cf_expiry_stop *stop, const cf_server_row *servers, size_t server_count,
                         const cf_retention_waiting *rows, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count && list; i++) {
        if (json_array_append_new(list, row_json(name_of(servers, server_count, &rows[i].server), &rows[i])) == 0)
            continue;
        json_decref(list);
        list = NULL;
    }
    return cf_output_json(json_pack("{so,ss,so}", "stopped", stop->reason[0] ? json_string(stop->reason) : json_null(),
                                    "why", stop->why, "servers", list));
}

static cf_err *add_row(cf_table *table, const char *name, const cf_retention_waiting *row) {
    char numbers[5][24];
    const uint64_t values[] = {row->current, row->due, row->allowed, row->held, row->pinned};
    for (size_t i = 0; i < 5; i++) snprintf(numbers[i], sizeof numbers[i], "%llu", (unsigned long long)values[i]);
    return cf_table_row(
        table, (const char *const[]){name, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], row->problem});
}

static cf_err *show_table(const cf_expiry_stop *stop, const cf_server_row *servers, size_t server_count,
                          const cf_retention_waiting *rows, size_t count) {
    static const cf_column columns[] = {
        {"SERVER", CF_COLUMN_CUT}, {"POINTS", CF_COLUMN_RIGHT}, {"DUE", CF_COLUMN_RIGHT},   {"TODAY", CF_COLUMN_RIGHT},
        {"HELD", CF_COLUMN_RIGHT}, {"IN USE", CF_COLUMN_RIGHT}, {"PROBLEM", CF_COLUMN_CUT}, {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    if (stop->reason[0]) printf("no point expires (%s): %s\n\n", stop->reason, stop->why);
    CF_TRY(cf_table_new(columns, &table));
    for (size_t i = 0; i < count; i++)
        CF_TRY(add_row(table, name_of(servers, server_count, &rows[i].server), &rows[i]));
    return cf_table_print(table, stdout);
}

static cf_err *show(cf_cli *cli, cf_vault *vault) {
    CF_AUTO_FREE cf_server_row *servers = NULL;
    CF_AUTO_FREE cf_retention_waiting *rows = NULL;
    size_t server_count = 0, count = 0;
    cf_expiry_stop stop;
    CF_TRY(cf_expiry_stopped(vault, &stop));
    CF_TRY(cf_records_list_servers(vault->records, &servers, &server_count));
    CF_TRY(cf_retention_show(vault, &rows, &count));
    return cli->json ? show_json(&stop, servers, server_count, rows, count)
                     : show_table(&stop, servers, server_count, rows, count);
}

/* Beside a running service, or, without one, with the vault's lock held and the store looked at, which the service does
 * otherwise: what an older copy of the database would let go may be needed. */
static cf_err *open_vault(const char *path, cf_vault **out) {
    CF_AUTO(cf_vault) vault = NULL;
    bool may = false;
    cf_err *err = cf_vault_open(path, CF_VAULT_SERVE, cf_clock_system(), &vault);
    if (cf_err_code(err) == CF_ERR_VAULT_IN_USE) {
        cf_err_free(err);
        return cf_vault_open(path, CF_VAULT_LIST, cf_clock_system(), out);
    }
    CF_TRY(err);
    CF_TRY(cf_reclaim_may_delete(&(cf_reclaimer){.vault = vault}, &may, NULL));
    *out = cf_take(vault);
    return NULL;
}

static cf_err *run_show(cf_cli *cli, const char *path) {
    CF_AUTO(cf_vault) vault = NULL;
    CF_TRY(cf_vault_open(path, CF_VAULT_LIST, cf_clock_system(), &vault));
    return show(cli, vault);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct confirm_options *opt = given;
    CF_AUTO(cf_vault) vault = NULL;
    cf_expiry_stop stop;
    uint64_t expired = 0;
    if (opt->show) return run_show(cli, arguments->item[0]);
    CF_TRY(open_vault(arguments->item[0], &vault));
    CF_TRY(cf_expiry_stopped(vault, &stop));
    CF_TRY(cf_retention_confirm(vault, &expired));
    if (cli->json)
        return cf_output_json(json_pack("{so,sI}", "was_stopped",
                                        stop.reason[0] ? json_string(stop.reason) : json_null(), "expired",
                                        (json_int_t)expired));
    printf("%llu recovery points have expired\n", (unsigned long long)expired);
    if (stop.reason[0]) cf_output_note(cli, "points expire again by their dates");
    return NULL;
}

const cf_command cf_cmd_vault_confirm = {
    .name = "confirm",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "let points expire again, and all those that are due, after looking",
    .examples = "coffer-vault confirm /srv/coffer --show\ncoffer-vault confirm /srv/coffer\n",
    .options = options,
    .options_size = sizeof(struct confirm_options),
    .run = run,
};
