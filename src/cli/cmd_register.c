/* coffer register: make this server known to a vault. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/register.h"
#include "base/text.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/passphrase.h"
#include "os/dir.h"
#include "os/fail.h"

enum { CLOCK_WARN_S = 300 };

struct register_options {
    const char *passphrase_file, *generate, *name, *scratch, *proxy;
    bool is_new, check;
};

static const cf_option options[] = {
    CF_OPTION_TEXT(struct register_options, passphrase_file, "passphrase-file", "FILE",
                   "the passphrase (- for standard input); asked for when not given"),
    CF_OPTION_TEXT(struct register_options, generate, "generate-passphrase", "FILE",
                   "make a passphrase and write it to FILE, which must not exist"),
    CF_OPTION_TEXT(struct register_options, name, "name", "NAME",
                   "the server's name in the vault (default: the host name)"),
    CF_OPTION_TEXT(struct register_options, scratch, "scratch", "DIR", "keep the cache of backups in DIR"),
    CF_OPTION_TEXT(struct register_options, proxy, "proxy", "URL", "reach the vault through this proxy, now and later"),
    CF_OPTION_FLAG(struct register_options, is_new, "new", "a server of its own, although the vault knows the name"),
    CF_OPTION_FLAG(struct register_options, check, "check", "only test credentials and network, change nothing"),
    CF_OPTION_END};

typedef struct talk {
    const cf_cli *cli;
    const struct register_options *given;
} talk;

static void show_note(void *context, const char *text) {
    cf_output_note(((talk *)context)->cli, "%s", text);
}

static cf_err *make_passphrase(void *context, cf_secret **passphrase) {
    const talk *t = context;
    CF_TRY(cf_passphrase_generate(t->given->generate, passphrase));
    cf_output_note(t->cli, "the passphrase is in %s: keep a copy elsewhere, without it no backup can be read",
                   t->given->generate);
    return NULL;
}

static void check_clock(cf_cli *cli, const cf_register_result *result) {
    int64_t off = result->clock_offset;
    if (!result->has_clock_offset || (off <= CLOCK_WARN_S && off >= -CLOCK_WARN_S)) return;
    CF_AUTO(cf_err)
    err = cf_fail(CF_ERR_CLOCK_SKEW, "this machine's clock is %lld s %s the vault's", (long long)(off < 0 ? -off : off),
                  off < 0 ? "ahead of" : "behind");
    cf_output_warning(cli, err);
    cli->warnings = true;
}

static cf_err *show(cf_cli *cli, const struct register_options *given, const cf_register_result *result) {
    check_clock(cli, result);
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(result->server_id.bytes, 16, id);
    if (cli->json) {
        json_t *document =
            json_pack("{s:b, s:s, s:s, s:o, s:b, s:o, s:I}", "registered", !given->check, "server", result->server_name,
                      "vault", result->vault_name, "vault_id", cf_json_hex(result->vault_id.bytes, 16),
                      given->check ? "known" : "taken_over", result->taken_over, "expires",
                      cf_json_time(result->expires), "clock_offset", (json_int_t)result->clock_offset);
        if (document && !given->check && json_object_set_new(document, "server_id", json_string(id)) < 0) {
            json_decref(document);
            document = NULL;
        }
        return cf_output_json(document);
    }
    if (cli->quiet) return NULL;
    if (given->check)
        printf("the vault \"%s\" can be used from here; the name \"%s\" is %s\n", result->vault_name,
               result->server_name,
               result->taken_over ? "known there: its passphrase is needed to take it over" : "free");
    else
        printf("%s as \"%s\" (%s) with the vault \"%s\"\nnext: coffer backup PATH...\n",
               result->taken_over ? "taken over: registered" : "registered", result->server_name, id,
               result->vault_name);
    return NULL;
}

/* A password would stand in the shell's history and in ps. */
static cf_err *check_proxy(const char *url) {
    static const char *const schemes[] = {"http://", "https://", "socks4://", "socks4a://", "socks5://", "socks5h://"};
    if (!url || !*url) return NULL;
    bool known = false;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) known = known || cf_text_starts(url, schemes[i]);
    if (!known) return cf_fail(CF_ERR_PROXY_SETTINGS, "--proxy: an address such as http://HOST:PORT is expected");
    if (strchr(url, '@'))
        return cf_fail(CF_ERR_PROXY_SETTINGS,
                       "--proxy: user and password belong into [proxy] of agent.conf, not on the command line");
    return NULL;
}

/* Made before anything else, so that a folder that cannot be used is known at once. */
static cf_err *make_scratch(const char *folder, char **absolute) {
    if (!folder) return NULL;
    CF_TRY(cf_dir_make(AT_FDCWD, folder, 0700));
    *absolute = realpath(folder, NULL);
    return *absolute ? NULL : cf_os_fail(errno, "use", folder);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct register_options *opt = given;
    if (opt->generate && opt->passphrase_file)
        return cf_cli_usage(cli, "--passphrase-file and --generate-passphrase exclude each other");
    CF_TRY(check_proxy(opt->proxy));
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_AUTO(cf_secret) passphrase = NULL;
    CF_AUTO_FREE char *scratch = NULL;
    CF_TRY(cf_agent_open(cli, &agent));
    if (!opt->check) CF_TRY(make_scratch(opt->scratch, &scratch));
    if (!opt->check && !opt->generate) CF_TRY(cf_passphrase_get_new(cli, opt->passphrase_file, &passphrase));
    talk t = {cli, opt};
    cf_register_options request = {.credentials_path = arguments->item[0],
                                   .name = opt->name,
                                   .is_new = opt->is_new,
                                   .network = cf_agent_network(&agent, cli, opt->proxy, CF_RETRY_PERSON_MS),
                                   .passphrase = passphrase,
                                   .make_passphrase = opt->generate ? make_passphrase : NULL,
                                   .note = show_note,
                                   .context = &t,
                                   .kdf_memory_kib = (uint32_t)(agent.config.kdf_memory_bytes / 1024),
                                   .kdf_passes = agent.config.kdf_passes};
    cf_register_result result;
    CF_TRY(opt->check ? cf_register_check(agent.state, &request, &result)
                      : cf_register_server(agent.state, &request, &result));
    if (scratch) CF_TRY(cf_state_set_setting(agent.state, CF_AGENT_SCRATCH, scratch));
    return show(cli, opt, &result);
}

const cf_command cf_cmd_register = {
    .name = "register",
    .arguments = "CREDENTIALS",
    .summary = "register this server with a vault",
    .description =
        "CREDENTIALS is the file that \"coffer-vault credentials\" wrote. A name that the vault knows already is\n"
        "taken over when the passphrase opens its key. Nothing is kept here unless all of it worked.\n",
    .examples = "coffer register vault.json --generate-passphrase /root/passphrase\n"
                "coffer register vault.json --passphrase-file /root/passphrase --name web1\n"
                "coffer register vault.json --check\n",
    .options = options,
    .options_size = sizeof(struct register_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
