/* coffer-vault settings: show what is set for the whole vault, or change it. Works beside a running service. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "service/settings.h"

static cf_err *change(cf_vault *vault, const char *text) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || equals - text > CF_SETTING_NAME_MAX)
        return cf_fail(CF_ERR_BAD_USAGE, "'%s' is not NAME=VALUE", text);
    char name[CF_SETTING_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    return cf_setting_change(vault, name, equals[1] ? equals + 1 : NULL);
}

static cf_err *show_json(cf_vault *vault) {
    size_t count;
    const cf_setting_info *info = cf_settings(&count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        bool set;
        cf_err *err = cf_setting_get(vault, info[i].name, &value, &set);
        if (!err &&
            json_array_append_new(list, json_pack("{ss,sI,sI,sb}", "name", info[i].name, "value", (json_int_t)value,
                                                  "default", (json_int_t)info[i].otherwise, "set", (int)set)) != 0)
            err = cf_fail(CF_ERR_OUT_OF_MEMORY, "a list");
        if (err) json_decref(list);
        CF_TRY(err);
    }
    return cf_output_json(list);
}

static cf_err *show_table(cf_vault *vault) {
    static const cf_column columns[] = {
        {"NAME", 0}, {"VALUE", CF_COLUMN_RIGHT}, {"DEFAULT", CF_COLUMN_RIGHT}, {"MEANING", CF_COLUMN_CUT}, {NULL, 0}};
    CF_AUTO(cf_table) table = NULL;
    size_t count;
    const cf_setting_info *info = cf_settings(&count);
    CF_TRY(cf_table_new(columns, &table));
    for (size_t i = 0; i < count; i++) {
        uint64_t number;
        char value[24], otherwise[24];
        CF_TRY(cf_setting_get(vault, info[i].name, &number, NULL));
        snprintf(value, sizeof value, "%llu", (unsigned long long)number);
        snprintf(otherwise, sizeof otherwise, "%llu", (unsigned long long)info[i].otherwise);
        CF_TRY(cf_table_row(table, (const char *const[]){info[i].name, value, otherwise, info[i].meaning}));
    }
    return cf_table_print(table, stdout);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given; /* no options */
    CF_AUTO(cf_vault) vault = NULL;
    CF_TRY(cf_vault_open(arguments->item[0], CF_VAULT_LIST, cf_clock_system(), &vault));
    for (size_t i = 1; i < arguments->count; i++) CF_TRY(change(vault, arguments->item[i]));
    return cli->json ? show_json(vault) : show_table(vault);
}

const cf_command cf_cmd_vault_settings = {
    .name = "settings",
    .arguments = "DIR [NAME=VALUE...]",
    .min_arguments = 1,
    .max_arguments = 32,
    .summary = "show or change what is set for the whole vault; NAME= puts the default back",
    .examples = "coffer-vault settings /srv/coffer\ncoffer-vault settings /srv/coffer minimum_days=14\n",
    .run = run,
};
