/* coffer throttle: how much of the network backups and restores may take. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/pace.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"

struct set_options {
    cf_words hours;
    const char *days, *work, *other;
};

static const cf_option set_options[] = {
    CF_OPTION_LIST(struct set_options, hours, "work-hours", "HOURS",
                   "09:00-18:00; several with commas or by repeating; with days of their own: 'fri 09:00-14:00'"),
    CF_OPTION_TEXT(struct set_options, days, "work-days", "DAYS",
                   "mon-fri (when not given), sat,sun, daily: for hours that name no days"),
    CF_OPTION_TEXT(struct set_options, work, "work", "RATE", "during work hours: 64kbit, 2Mbit, 1Gbit; none: no limit"),
    CF_OPTION_TEXT(struct set_options, other, "other", "RATE", "at all other times"), CF_OPTION_END};

static json_t *days_json(uint8_t weekdays) {
    static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    json_t *list = json_array();
    for (unsigned day = 0; list && day < 7; day++)
        if ((weekdays >> day & 1) && json_array_append_new(list, json_string(names[day])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *windows_json(const cf_throttle *throttle) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < throttle->window_count; i++) {
        const cf_throttle_window *window = &throttle->window[i];
        json_t *item = json_pack("{s:o, s:o, s:o}", "days", days_json(window->weekdays), "from",
                                 json_sprintf("%02u:%02u", window->from / 60u, window->from % 60u), "to",
                                 json_sprintf("%02u:%02u", window->to / 60u, window->to % 60u));
        if (json_array_append_new(list, item) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *bits_json(uint64_t bits) {
    return bits ? json_integer((json_int_t)bits) : json_null();
}

static void show_text(const cf_throttle *throttle, bool work_time, uint64_t bits) {
    char rate[CF_THROTTLE_RATE_TEXT], days[32];
    cf_throttle_rate_text(throttle->enabled ? bits : 0, rate);
    printf("now          %s%s\n", rate,
           !throttle->enabled ? " (the throttle is off)"
           : work_time        ? " (work hours)"
                              : " (outside work hours)");
    for (size_t i = 0; i < throttle->window_count; i++) {
        const cf_throttle_window *window = &throttle->window[i];
        cf_throttle_weekdays_text(window->weekdays, days);
        printf("%s   %s %02u:%02u-%02u:%02u\n", i ? "          " : "work hours", days, window->from / 60u,
               window->from % 60u, window->to / 60u, window->to % 60u);
    }
    cf_throttle_rate_text(throttle->work_bits, rate);
    if (throttle->window_count) printf("work         %s\n", rate);
    cf_throttle_rate_text(throttle->other_bits, rate);
    if (throttle->window_count || throttle->other_bits) printf("other        %s\n", rate);
}

static cf_err *show(const cf_cli *cli, const cf_agent *agent, const cf_throttle *throttle) {
    unsigned weekday, minute;
    cf_throttle_local(cf_clock_wall(cf_state_clock(agent->state)), &weekday, &minute);
    bool work_time = cf_throttle_work_time(throttle, weekday, minute);
    uint64_t bits = cf_throttle_bits(throttle, weekday, minute);
    if (!cli->json) {
        if (!cli->quiet) show_text(throttle, work_time, bits);
        return NULL;
    }
    return cf_output_json(json_pack("{s:b, s:o, s:s, s:o, s:o, s:o}", "enabled", throttle->enabled, "bits_per_second",
                                    bits_json(bits), "now", work_time ? "work" : "other", "work",
                                    bits_json(throttle->work_bits), "other", bits_json(throttle->other_bits), "windows",
                                    windows_json(throttle)));
}

static cf_err *run_show(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_throttle throttle;
    CF_TRY(cf_agent_open(cli, &agent));
    CF_TRY(cf_throttle_load(cf_state_fd(agent.state), &throttle));
    return show(cli, &agent, &throttle);
}

static cf_err *save(const cf_cli *cli, const cf_agent *agent, const cf_throttle *throttle) {
    CF_TRY(cf_throttle_check(throttle));
    CF_TRY(cf_throttle_save(cf_state_fd(agent->state), throttle));
    return show(cli, agent, throttle);
}

static cf_err *run_off(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    (void)arguments;
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_throttle throttle;
    CF_TRY(cf_agent_open(cli, &agent));
    cf_err *err = cf_throttle_load(cf_state_fd(agent.state), &throttle);
    if (err && cf_err_code(err) != CF_ERR_CONFIG) return err;
    if (err) throttle = (cf_throttle){0}; /* a file that cannot be used must not keep it on */
    cf_err_free(err);
    throttle.enabled = false;
    return save(cli, &agent, &throttle);
}

/* What is given takes the place of what was; hours all together. */
static cf_err *change(const cf_cli *cli, const struct set_options *opt, cf_throttle *throttle) {
    uint8_t days;
    CF_TRY(cf_throttle_parse_weekdays(opt->days ? opt->days : "mon-fri", &days));
    if (opt->days && opt->hours.count == 0)
        return cf_cli_usage(cli, "--work-days goes with --work-hours: the days of which hours?");
    if (opt->hours.count) throttle->window_count = 0;
    for (size_t i = 0; i < opt->hours.count; i++) CF_TRY(cf_throttle_parse_windows(opt->hours.item[i], days, throttle));
    if (opt->work) CF_TRY(cf_throttle_parse_rate(opt->work, &throttle->work_bits));
    if (opt->other) CF_TRY(cf_throttle_parse_rate(opt->other, &throttle->other_bits));
    throttle->enabled = true;
    return NULL;
}

static cf_err *run_set(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)arguments;
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_throttle throttle;
    CF_TRY(cf_agent_open(cli, &agent));
    CF_TRY(cf_throttle_load(cf_state_fd(agent.state), &throttle));
    CF_TRY(change(cli, given, &throttle));
    return save(cli, &agent, &throttle);
}

static const cf_command cmd_show = {
    .name = "show",
    .summary = "the rates, and which one holds now",
    .examples = "coffer throttle show --json\n",
    .run = run_show,
};
static const cf_command cmd_off = {
    .name = "off",
    .summary = "no limit; the rates are remembered for the next set",
    .examples = "coffer throttle off\n",
    .run = run_off,
};
static const cf_command cmd_set = {
    .name = "set",
    .summary = "limit the rate, by hours and days of the week",
    .description =
        "Only what is given changes; --work-hours replaces all earlier hours. Rates are bits a second, 64kbit at\n"
        "least, for sending and receiving together. Hours are in this machine's time zone; 22:00-06:00 ends on\n"
        "the next day. Running jobs follow within a second.\n",
    .examples =
        "coffer throttle set --work-hours 09:00-18:00 --work-days mon-fri --work 2Mbit --other 50Mbit\n"
        "coffer throttle set --work-hours 'mon-thu 08:00-12:00,13:00-18:00' --work-hours 'fri 08:00-14:00' --work 1Mbit\n"
        "coffer throttle set --other 20Mbit\n",
    .options = set_options,
    .options_size = sizeof(struct set_options),
    .run = run_set,
};
static const cf_command *const subcommands[] = {&cmd_show, &cmd_set, &cmd_off, NULL};

const cf_command cf_cmd_throttle = {
    .name = "throttle",
    .summary = "how fast backups and restores may send and receive",
    .description = "All processes of this agent keep to the rate together: backup, restore, verify and mount.\n",
    .examples =
        "coffer throttle show\ncoffer throttle set --work-hours 09:00-18:00 --work 2Mbit\ncoffer throttle off\n",
    .subcommands = subcommands,
};
