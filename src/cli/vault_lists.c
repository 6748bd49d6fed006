/* coffer-vault servers, points, jobs: the administrator's lists. They work beside a running service. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "records/damage.h"
#include "service/retention_view.h"
#include "service/service.h"
#include "service/values.h"

struct list_options {
    const char *server;
    uint64_t limit;
};

static const cf_option list_options[] = {
    CF_OPTION_TEXT(struct list_options, server, "server", "NAME", "only of this server (name or ID)"), CF_OPTION_END};
static const cf_option job_options[] = {
    CF_OPTION_TEXT(struct list_options, server, "server", "NAME", "only of this server (name or ID)"),
    CF_OPTION_NUMBER(struct list_options, limit, "limit", "N", 100, "at most so many, the newest"), CF_OPTION_END};

typedef struct view {
    cf_vault *vault;
    cf_server_row *servers;
    size_t count;
} view;

static void view_wipe(view *v) {
    free(v->servers);
    cf_vault_close(v->vault);
}
#define AUTO_VIEW __attribute__((cleanup(view_wipe)))

static cf_err *open_view(const cf_words *arguments, view *v) {
    CF_TRY(cf_vault_open(arguments->item[0], CF_VAULT_LIST, cf_clock_system(), &v->vault));
    return cf_records_list_servers(v->vault->records, &v->servers, &v->count);
}

static bool wanted(const cf_server_row *server, const char *filter) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(server->id.bytes, 16, id);
    return !filter || strcmp(server->name, filter) == 0 || strcmp(id, filter) == 0;
}

static cf_err *check_filter(const view *v, const char *filter) {
    for (size_t i = 0; i < v->count; i++)
        if (wanted(&v->servers[i], filter)) return NULL;
    return filter ? cf_fail(CF_ERR_UNKNOWN_SERVER, "no server \"%s\" is registered", filter) : NULL;
}

static const char *server_name(const view *v, const cf_id16 *id) {
    for (size_t i = 0; i < v->count; i++)
        if (cf_id16_equal(&v->servers[i].id, id)) return v->servers[i].name;
    return "?";
}

static json_t *time_or_null(bool there, int64_t seconds) {
    return there ? cf_json_time((cf_time){seconds, 0}) : json_null();
}

/* list is taken, also on failure. */
static cf_err *append(json_t **list, json_t *value) {
    if (*list && json_array_append_new(*list, value) == 0) return NULL;
    json_decref(*list);
    *list = NULL;
    return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list");
}

static cf_err *servers_json(const view *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->count; i++) {
        const cf_server_row *row = &v->servers[i];
        uint64_t packs = 0, bytes = 0, damaged = 0, points = 0;
        cf_err *err = cf_records_pack_totals(v->vault->records, &row->id, &packs, &bytes);
        if (!err) err = cf_records_count_points(v->vault->records, &row->id, &points);
        if (!err) err = cf_records_count_damage(v->vault->records, &row->id, &damaged);
        if (err) json_decref(list);
        CF_TRY(err);
        CF_TRY(append(&list,
                      json_pack("{so,ss,so,so,sI,sI,sI,sI}", "server_id", cf_json_hex(row->id.bytes, 16), "name",
                                row->name, "registered", cf_json_time((cf_time){row->registered, 0}), "last_point",
                                time_or_null(row->has_newest, row->last_point), "points", (json_int_t)points, "packs",
                                (json_int_t)packs, "bytes_stored", (json_int_t)bytes, "damaged", (json_int_t)damaged)));
    }
    return cf_output_json(list);
}

static cf_err *servers_table(const view *v) {
    static const cf_column columns[] = {{"NAME", CF_COLUMN_CUT},
                                        {"ID", 0},
                                        {"REGISTERED", 0},
                                        {"LAST POINT", 0},
                                        {"POINTS", CF_COLUMN_RIGHT},
                                        {"STORED", CF_COLUMN_RIGHT},
                                        {"DAMAGED", CF_COLUMN_RIGHT},
                                        {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    CF_TRY(cf_table_new(columns, &table));
    for (size_t i = 0; i < v->count; i++) {
        const cf_server_row *row = &v->servers[i];
        char id[CF_HEX_SIZE(16)], registered[40], last[40] = "never", points[24], size[24], damage[24];
        uint64_t packs = 0, bytes = 0, damaged = 0, current = 0;
        CF_TRY(cf_records_count_points(v->vault->records, &row->id, &current));
        CF_TRY(cf_records_count_damage(v->vault->records, &row->id, &damaged));
        snprintf(damage, sizeof damage, "%llu", (unsigned long long)damaged);
        CF_TRY(cf_records_pack_totals(v->vault->records, &row->id, &packs, &bytes));
        cf_hex_encode(row->id.bytes, 16, id);
        cf_time_local((cf_time){row->registered, 0}, registered);
        if (row->has_newest) cf_time_local((cf_time){row->last_point, 0}, last);
        snprintf(points, sizeof points, "%llu", (unsigned long long)current);
        cf_text_size(bytes, size);
        CF_TRY(cf_table_row(table, (const char *const[]){row->name, id, registered, last, points, size, damage}));
    }
    return cf_table_print(table, stdout);
}

static cf_err *run_servers(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given; /* no options */
    AUTO_VIEW view v = {0};
    CF_TRY(open_view(arguments, &v));
    return cli->json ? servers_json(&v) : servers_table(&v);
}

/* Points are listed even when the policy cannot be understood here: without tags and dates. */
static cf_err *load_retention(cf_cli *cli, const view *v, const cf_server_row *server, cf_retention_view *retention) {
    cf_err *err = cf_retention_view_load(v->vault, &server->id, cf_vault_now(v->vault), retention);
    if (cf_err_code(err) != CF_ERR_ZONE_UNKNOWN && cf_err_code(err) != CF_ERR_POLICY_INVALID) return err;
    cf_output_warning(cli, err);
    cf_err_free(err);
    return NULL;
}

/* "daily,weekly"; "-" when it has none. */
static void tags_text(const cf_retained_point *kept, char out[64]) {
    size_t used = 0;
    snprintf(out, 64, "-");
    for (unsigned bit = 0; kept && bit < CF_TAG_COUNT; bit++)
        if (kept->tags >> bit & 1)
            used += (size_t)snprintf(out + used, 64 - used, "%s%s", used ? "," : "", cf_tag_word(bit));
}

static void date_text(const cf_retained_point *kept, char out[40]) {
    snprintf(out, 40, "%s", kept && kept->for_ever ? "never" : "?");
    if (kept && !kept->for_ever) cf_time_local((cf_time){kept->expires, 0}, out);
}

static cf_err *point_rows(cf_cli *cli, const view *v, const cf_server_row *server, json_t **list, cf_table *table) {
    CF_AUTO_FREE cf_point_row *rows = NULL;
    CF_AUTO_RETENTION_VIEW cf_retention_view retention = {0};
    size_t count = 0;
    CF_TRY(load_retention(cli, v, server, &retention));
    CF_TRY(cf_records_list_points(v->vault->records, &server->id, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        const cf_retained_point *kept = cf_retention_view_find(&retention, rows[i].counter);
        if (cli->json) {
            json_t *value = cf_point_value(&rows[i], kept);
            if (value && json_object_set_new(value, "server", json_string(server->name)) != 0)
                return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list");
            CF_TRY(append(list, value));
            continue;
        }
        cf_summary summary = {0};
        char id[CF_HEX_SIZE(32)], received[40], files[24], size[24], tags[64], until[40];
        CF_AUTO(cf_err) damaged = cf_summary_decode(cf_span_of(rows[i].summary, rows[i].summary_size), &summary);
        cf_hex_encode(rows[i].id.bytes, 32, id);
        cf_time_local((cf_time){rows[i].received, 0}, received);
        snprintf(files, sizeof files, "%llu", (unsigned long long)summary.files);
        cf_text_size(summary.bytes, size);
        const char *status = damaged ? "damaged summary" : summary.with_warnings ? "with warnings" : "completed";
        tags_text(kept, tags);
        date_text(kept, until);
        CF_TRY(
            cf_table_row(table, (const char *const[]){server->name, id, received, files, size, tags, until, status}));
    }
    return NULL;
}

static cf_err *run_points(cf_cli *cli, const void *given, const cf_words *arguments) {
    static const cf_column columns[] = {{"SERVER", CF_COLUMN_CUT},
                                        {"ID", CF_COLUMN_CUT},
                                        {"RECEIVED", 0},
                                        {"FILES", CF_COLUMN_RIGHT},
                                        {"SIZE", CF_COLUMN_RIGHT},
                                        {"TAGS", 0},
                                        {"EXPIRES", 0},
                                        {"STATUS", 0},
                                        {NULL, 0}};
    const struct list_options *opt = given;
    AUTO_VIEW view v = {0};
    CF_AUTO(cf_table) table = NULL;
    CF_TRY(open_view(arguments, &v));
    CF_TRY(check_filter(&v, opt->server));
    CF_TRY(cf_table_new(columns, &table));
    json_t *list = json_array();
    cf_err *err = NULL;
    for (size_t i = 0; i < v.count && !err; i++)
        if (wanted(&v.servers[i], opt->server)) err = point_rows(cli, &v, &v.servers[i], &list, table);
    if (!err && cli->json) return cf_output_json(list);
    json_decref(list);
    return err ? err : cf_table_print(table, stdout);
}

static cf_err *job_row(cf_cli *cli, const view *v, const cf_job_row *row, json_t **list, cf_table *table) {
    if (cli->json) {
        json_t *value = cf_job_value(row);
        if (value && json_object_set_new(value, "server", json_string(server_name(v, &row->server))) != 0)
            return cf_fail(CF_ERR_OUT_OF_MEMORY, "a list");
        return append(list, value);
    }
    char id[CF_HEX_SIZE(16)], started[40], sent[24];
    cf_hex_encode(row->id.bytes, 16, id);
    cf_time_local((cf_time){row->started, 0}, started);
    cf_text_size(row->bytes_sent, sent);
    return cf_table_row(table,
                        (const char *const[]){server_name(v, &row->server), id, row->type, row->status, started, sent});
}

static cf_err *print_jobs(cf_cli *cli, const view *v, const char *filter, const cf_job_row *rows, size_t count) {
    static const cf_column columns[] = {
        {"SERVER", CF_COLUMN_CUT}, {"ID", 0}, {"TYPE", 0}, {"STATUS", 0}, {"STARTED", 0},
        {"SENT", CF_COLUMN_RIGHT}, {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    CF_TRY(cf_table_new(columns, &table));
    json_t *list = json_array();
    cf_err *err = NULL;
    for (size_t i = 0; i < count && !err; i++) {
        bool shown = !filter;
        for (size_t j = 0; j < v->count && !shown; j++)
            shown = wanted(&v->servers[j], filter) && cf_id16_equal(&v->servers[j].id, &rows[i].server);
        if (shown) err = job_row(cli, v, &rows[i], &list, table);
    }
    if (!err && cli->json) return cf_output_json(list);
    json_decref(list);
    return err ? err : cf_table_print(table, stdout);
}

static cf_err *run_jobs(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct list_options *opt = given;
    AUTO_VIEW view v = {0};
    cf_job_row *rows = NULL;
    size_t count = 0;
    int interrupted = 0;
    CF_TRY(open_view(arguments, &v));
    CF_TRY(check_filter(&v, opt->server));
    CF_TRY(cf_records_interrupt_jobs(v.vault->records, cf_vault_now(v.vault) - CF_JOB_SILENCE_SECONDS, &interrupted));
    CF_TRY(cf_records_list_jobs(v.vault->records, NULL, (size_t)opt->limit, &rows, &count));
    cf_err *err = print_jobs(cli, &v, opt->server, rows, count);
    cf_job_rows_free(rows, count);
    return err;
}

const cf_command cf_cmd_vault_servers = {
    .name = "servers",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "list the servers that are registered",
    .examples = "coffer-vault servers /srv/coffer\n",
    .run = run_servers,
};
const cf_command cf_cmd_vault_points = {
    .name = "points",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "list recovery points",
    .examples = "coffer-vault points /srv/coffer --server web1\n",
    .options = list_options,
    .options_size = sizeof(struct list_options),
    .run = run_points,
};
const cf_command cf_cmd_vault_jobs = {
    .name = "jobs",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "list the jobs that servers reported, newest first",
    .examples = "coffer-vault jobs /srv/coffer --json\n",
    .options = job_options,
    .options_size = sizeof(struct list_options),
    .run = run_jobs,
};
