/* cofferd: the engine daemon. It starts `coffer`, the program beside it. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/home.h"
#include "daemon/daemon.h"
#include "os/fail.h"

struct daemon_options {
    bool foreground, verbose;
};

static const cf_option options[] = {
    CF_OPTION_FLAG(struct daemon_options, foreground, "foreground",
                   "stay in the foreground, log to stderr (it always does; for people's habits)"),
    CF_OPTION_FLAG(struct daemon_options, verbose, "verbose", "log more"), CF_OPTION_END};

static cf_err *find_coffer(char **out) {
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return cf_fail(CF_ERR_IO, "cannot read /proc/self/exe: is /proc mounted?");
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    *out = cf_text_format("%s/coffer", self);
    if (!*out) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory");
    if (access(*out, X_OK) == 0) return NULL;
    int error = errno;
    cf_err *err = cf_os_fail(error, "run", *out);
    free(*out);
    *out = NULL;
    return err;
}

static cf_err *serve(cf_cli *cli, const cf_home *home) {
    cf_config *config = malloc(sizeof *config);
    CF_AUTO(cf_state) state = NULL;
    CF_AUTO_FREE char *coffer = NULL;
    if (!config) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory");
    /* Every job reads it anew; a mistake is told at once, and must not keep the others from running. */
    cf_err *err = cf_config_load(home->config, config);
    uint32_t history_days = err ? CF_JOB_HISTORY_DAYS : config->history_days;
    free(config);
    if (err) cf_log_error(CF_LOG_ERROR, err);
    cf_err_free(err);
    CF_TRY(find_coffer(&coffer));
    CF_TRY(cf_state_open(home->state, NULL, &state));
    cf_state_keep_history(state, history_days);
    cf_daemon_options daemon = {.state = state, .coffer = coffer, .home = cli->home, .cancel = cli->cancel};
    return cf_daemon_run(&daemon);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct daemon_options *opt = given;
    CF_AUTO_HOME cf_home home = {0};
    (void)arguments;
    cf_log_setup(stderr, opt->verbose ? CF_LOG_DEBUG : cli->quiet ? CF_LOG_WARNING : CF_LOG_INFO);
    (void)signal(SIGHUP, SIG_IGN); /* a closed terminal is no reason to stop */
    CF_TRY(cf_home_resolve(cli->home, &home));
    CF_TRY(cf_home_create(&home));
    return serve(cli, &home);
}

static const cf_command command = {
    .name = "cofferd",
    .summary = "run the backups that the policy plans",
    .description =
        "Starts `coffer backup` when the schedule says so, makes up for runs that were missed, notices how jobs end\n"
        "and tells the vault, also later. Logs to stderr. SIGTERM ends it: running jobs stop and keep what was sent.\n",
    .examples = "systemctl enable --now cofferd\ncofferd --foreground\n",
    .options = options,
    .options_size = sizeof(struct daemon_options),
    .run = run,
};

static const cf_program program = {
    .name = "cofferd",
    .summary = "run the backups that the policy plans",
    .has_home = true,
    .only = &command,
};

int main(int argc, char **argv) {
    return cf_cli_main(&program, argc, argv);
}
