/* A policy on the screen, and as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/server_zone.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/policy_edit.h"
#include "policy/policy_words.h"
#include "policy/retention.h"
#include "policy/schedule.h"
#include "policy/words.h"

enum { NEXT_RUNS = 5 };

/* A policy and what follows from it. */
typedef struct picture {
    const cf_policy *policy;
    bool pending;
    int64_t slots[NEXT_RUNS]; /* that come, without the random delay */
    size_t slot_count;
    uint64_t kept;    /* points, at most */
    cf_strings cut;   /* by the vault's side */
    cf_strings below; /* rules that keep less than the vault does */
} picture;

static void picture_wipe(picture *seen) {
    cf_strings_wipe(&seen->cut);
    cf_strings_wipe(&seen->below);
}
#define AUTO_PICTURE __attribute__((cleanup(picture_wipe)))

static cf_err *next_runs(const cf_agent *agent, picture *seen) {
    if (!cf_schedule_active(seen->policy)) return NULL;
    int64_t now = cf_clock_wall(cf_state_clock(agent->state)).seconds;
    return cf_schedule_list(seen->policy, now, NEXT_RUNS, seen->slots, &seen->slot_count);
}

static json_t *times_json(const int64_t *slots, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if (json_array_append_new(list, cf_json_time((cf_time){slots[i], 0})) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *texts_json(const cf_strings *lines) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < lines->count; i++) {
        if (json_array_append_new(list, cf_json_text(cf_span_text(lines->item[i]))) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *derived_json(const picture *seen) {
    char zone[CF_POLICY_ZONE_MAX + 1];
    CF_AUTO_FREE char *schedule = cf_schedule_text(&seen->policy->schedule);
    if (!schedule) return NULL;
    return json_pack("{s:s, s:o, s:I, s:b, s:s*, s:o, s:o}", "schedule_text", schedule, "next_runs",
                     times_json(seen->slots, seen->slot_count), "points_kept", (json_int_t)seen->kept, "pending",
                     (int)seen->pending, "server_time_zone", cf_server_zone(zone) ? zone : NULL, "cut",
                     texts_json(&seen->cut), "below_minimum", texts_json(&seen->below));
}

static cf_err *show_json(const picture *seen) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_POLICY_SIZE_MAX);
    CF_TRY(cf_policy_format(seen->policy, &text));
    json_t *document = json_loadb((const char *)text.data, text.size, 0, NULL);
    json_t *more = document ? derived_json(seen) : NULL;
    int failed = more ? json_object_update(document, more) : -1;
    json_decref(more);
    if (!failed) return cf_output_json(document);
    json_decref(document);
    return cf_output_json(NULL);
}

/* "label  text" with the label on the first line of several. */
static void line(const char *label, const char *text) {
    CF_AUTO_FREE char *clean = cf_text_printable(cf_span_text(text));
    printf("%-13s%s\n", label, clean ? clean : "");
}

static void show_selection(const cf_policy *policy) {
    const char *label = "sources";
    for (size_t i = 0; i < policy->source_count; i++, label = "") {
        line(label, policy->sources[i].path);
        for (size_t j = 0; j < policy->sources[i].exclude.count; j++) {
            CF_AUTO_FREE char *text = cf_text_format("  without %s", policy->sources[i].exclude.item[j]);
            line("", text ? text : "");
        }
    }
    if (policy->system_state) line(label, "the system state");
    label = "exclusions";
    for (size_t i = 0; i < policy->exclude.count; i++, label = "") line(label, policy->exclude.item[i]);
    if (policy->exclude_caches) {
        line(label, "folders marked by CACHEDIR.TAG");
        label = "";
    }
    if (policy->exclude_nodump) line(label, "what carries the nodump flag");
    if (!policy->one_file_system) line("file systems", "those mounted below the sources, too");
}

/* As the clock of the policy's zone shows it. */
static void local_text(const cf_zone *zone, int64_t slot, char out[40]) {
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    cf_local local = cf_zone_local(zone, slot);
    cf_date date = cf_date_of_day(local.day);
    snprintf(out, 40, "%s %04d-%02u-%02u %02u:%02u", days[cf_weekday_of_day(local.day)], (int)date.year, date.month,
             date.day, local.second / 3600, local.second / 60 % 60);
}

static cf_err *show_schedule(const picture *seen) {
    const cf_policy *policy = seen->policy;
    CF_AUTO_FREE char *schedule = cf_schedule_text(&policy->schedule);
    if (!schedule) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a schedule");
    char server[CF_POLICY_ZONE_MAX + 1], text[160];
    line("schedule", schedule);
    if (policy->schedule.kind == CF_SCHEDULE_NONE) return NULL;
    bool named = cf_server_zone(server);
    snprintf(text, sizeof text, "%s%s%s%s", policy->zone,
             named && strcmp(server, policy->zone) == 0 ? "" : " (this server is set to ",
             named && strcmp(server, policy->zone) == 0 ? "" : (named ? server : "a zone without a name"),
             named && strcmp(server, policy->zone) == 0 ? "" : ")");
    line("time zone", text);
    if (policy->random_delay_minutes) {
        snprintf(text, sizeof text, "each run up to %u minutes later", policy->random_delay_minutes);
        line("delay", text);
    }
    snprintf(text, sizeof text, "missed runs within %u h %02u min", policy->catch_up_minutes / 60,
             policy->catch_up_minutes % 60);
    line("catch up", policy->catch_up_minutes ? text : "never");
    CF_AUTO(cf_zone) zone = NULL;
    if (seen->slot_count) CF_TRY(cf_zone_open(policy->zone, &zone));
    for (size_t i = 0; i < seen->slot_count; i++) {
        char when[40];
        local_text(zone, seen->slots[i], when);
        line(i ? "" : "next runs", when);
    }
    return NULL;
}

static void show_rule(const char **label, const char *unit, cf_rule rule, uint32_t count, const cf_keep_days *on) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 1024);
    if (count == 0) return;
    char head[64];
    snprintf(head, sizeof head, "%s for %u %s, on ", unit, count,
             rule == CF_RULE_WEEKLY ? "weeks" : (rule == CF_RULE_MONTHLY ? "months" : "years"));
    cf_buf_put_span(&text, cf_span_text(head));
    cf_keep_days_put(rule, on, &text);
    cf_buf_put_u8(&text, 0);
    line(*label, text.failed ? "" : (const char *)text.data);
    *label = "";
}

static void show_retention(const picture *seen) {
    const cf_policy *policy = seen->policy;
    const cf_retention *keep = &policy->retention;
    const char *label = "kept";
    char text[80];
    if (keep->days) {
        snprintf(text, sizeof text, "every point for %u days", keep->days);
        line(label, text);
        label = "";
    }
    show_rule(&label, "weekly", CF_RULE_WEEKLY, keep->weeks, &keep->weekly_on);
    show_rule(&label, "monthly", CF_RULE_MONTHLY, keep->months, &keep->monthly_on);
    show_rule(&label, "yearly", CF_RULE_YEARLY, keep->years, &keep->yearly_on);
    for (size_t i = 0; i < seen->below.count; i++, label = "") line(label, seen->below.item[i]);
    if (policy->schedule.kind == CF_SCHEDULE_NONE) return;
    snprintf(text, sizeof text, "up to %llu recovery points in all", (unsigned long long)seen->kept);
    line(label, text);
}

static void show_rest(const cf_policy *policy) {
    static const char *const protection[] = {"on", "paused: no runs; every point is kept until it is resumed",
                                             "removed: no runs; points age out under the last rules",
                                             "removed: no runs; points stay for ever"};
    line("protection", protection[policy->protection]);
    if (policy->drill != CF_DRILL_NONE) line("drill", cf_drill_words[policy->drill]);
    for (size_t i = 0; i < policy->hooks.count; i++) line(i ? "" : "hooks", policy->hooks.item[i]);
}

static cf_err *show_text(const picture *seen) {
    char text[80];
    snprintf(text, sizeof text, "version %llu%s", (unsigned long long)seen->policy->number,
             seen->pending ? ", with a change that waits for the vault" : "");
    line("policy", text);
    show_selection(seen->policy);
    CF_TRY(show_schedule(seen));
    show_retention(seen);
    show_rest(seen->policy);
    for (size_t i = 0; i < seen->cut.count; i++) line(i ? "" : "cut by vault", seen->cut.item[i]);
    return NULL;
}

cf_err *cf_policy_show(const cf_cli *cli, const cf_agent *agent, const cf_policy *policy, bool pending) {
    AUTO_PICTURE picture seen = {.policy = policy, .pending = pending};
    cf_retention_floor minimum;
    CF_TRY(cf_policy_store_minimum(agent->state, &minimum));
    CF_TRY(cf_policy_store_cut(agent->state, &seen.cut));
    CF_TRY(cf_retention_below(policy, &minimum, &seen.below));
    seen.kept = cf_retention_count(policy, &minimum);
    cf_err *err = next_runs(agent, &seen);
    if (err && cf_err_code(err) != CF_ERR_ZONE_UNKNOWN) return err;
    if (err) cf_output_warning(cli, err); /* the rest can be shown all the same */
    cf_err_free(err);
    if (cli->json) return show_json(&seen);
    return cli->quiet ? NULL : show_text(&seen);
}
