#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/options.h"
#include "cli/output.h"
#include "os/process.h"

/* The flag that the signal handler sets: a handler can reach only a global. Owned by cf_cli_main. */
static cf_cancel cancel;

static void on_signal(int number) {
    int saved = errno;
    if (cf_cancel_requested(&cancel) && number == SIGINT) _exit(128 + SIGINT); /* asked twice: now */
    cf_cancel_request(&cancel, number);
    static const char text[] = "\nstopping (Ctrl-C again ends at once)\n";
    if (number == SIGINT && isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, text, sizeof text - 1);
    errno = saved;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waiting calls come back */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL); /* a closed pipe is an error of write, not a silent death */
}

/* A file opened later must never land on descriptor 0, 1 or 2, where messages would go into it. */
static void open_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0) _exit(CF_EXIT_FAILED);
}

/* Keys live in this memory: no core file, no ptrace by other processes of the user. Where the system refuses, secrets
 * are still kept out of dumps page by page (base/secret.c). */
static void harden(void) {
    umask(077);
#ifndef __SANITIZE_ADDRESS__ /* the leak check at exit traces its own process */
    cf_err_free(cf_process_harden());
#endif
}

int cf_exit_status(const cf_err *err, bool warnings, int signal) {
    if (!err) return warnings ? CF_EXIT_WARNINGS : CF_EXIT_DONE;
    if (cf_err_is(err, CF_ERR_CANCELLED)) return 128 + (signal == SIGTERM ? SIGTERM : SIGINT);
    if (cf_err_has(err, CF_F_USAGE)) return CF_EXIT_USAGE;
    if (cf_err_has(err, CF_F_BUSY)) return CF_EXIT_BUSY;
    if (cf_err_has(err, CF_F_WARNING)) return CF_EXIT_WARNINGS;
    return CF_EXIT_FAILED;
}

cf_err *cf_cli_usage(const cf_cli *cli, const char *format, ...) {
    va_list args;
    va_start(args, format);
    CF_AUTO_FREE char *text = cf_text_vformat(format, args);
    va_end(args);
    return cf_fail(CF_ERR_BAD_USAGE, "%s; see %s %s --help", text ? text : "wrong usage", cli->program->name,
                   cli->command ? cli->command->name : "");
}

static const cf_command *find_command(const cf_command *const *commands, const char *word) {
    for (; *commands; commands++)
        if (strcmp((*commands)->name, word) == 0) return *commands;
    return NULL;
}

static cf_err *unknown_command(const char *prefix, const cf_command *const *commands, const char *word) {
    const char *names[64];
    size_t count = 0;
    for (; commands[count] && count < 64; count++) names[count] = commands[count]->name;
    const char *nearest = cf_text_nearest(word, names, count);
    if (nearest)
        return cf_fail(CF_ERR_BAD_USAGE, "unknown command '%s' (did you mean '%s %s'?)", word, prefix, nearest);
    return cf_fail(CF_ERR_BAD_USAGE, "unknown command '%s'; %s --help lists them", word, prefix);
}

static void take_globals(cf_cli *cli, const cf_globals *globals) {
    cli->json = globals->json;
    cli->quiet = globals->quiet;
    cli->no_progress = globals->no_progress;
    const char *from_environment = getenv("COFFER_HOME");
    if (globals->home)
        cli->home = globals->home;
    else if (from_environment && *from_environment)
        cli->home = from_environment;
}

static cf_err *run_command(cf_cli *cli, cf_globals *globals, const char *prefix, const cf_command *command, int argc,
                           char **argv) {
    cf_parsed parsed;
    int used = 0;
    cli->command = command;
    cf_err *err = cf_options_parse(cli->program, command, argc, argv, globals, &parsed, &used);
    take_globals(cli, globals);
    if (err)
        err = cf_note(err, "%s%s%s", prefix, *prefix ? " " : "", command->name);
    else if (globals->help)
        cf_help_command(stdout, cli->program, prefix, command);
    else if (globals->version)
        printf("%s %s\n", cli->program->name, CF_VERSION);
    else
        err = command->run(cli, parsed.options, &parsed.arguments);
    cf_parsed_wipe(command, &parsed);
    return err;
}

/* Goes down from `commands` by the words of argv, global options allowed between them. */
static cf_err *dispatch(cf_cli *cli, cf_globals *globals, char *prefix, size_t prefix_size, int argc, char **argv) {
    const cf_command *const *commands = cli->program->commands;
    const cf_command *group = NULL;
    for (;;) {
        cf_parsed none;
        int used = 0;
        CF_TRY(cf_options_parse(cli->program, NULL, argc, argv, globals, &none, &used));
        take_globals(cli, globals);
        argc -= used;
        argv += used;
        if (globals->version) {
            printf("%s %s\n", cli->program->name, CF_VERSION);
            return NULL;
        }
        bool asks_help = argc > 0 && !group && strcmp(argv[0], "help") == 0;
        if (asks_help) {
            globals->help = true;
            argc--;
            argv++;
        }
        if (argc == 0) {
            FILE *out = globals->help ? stdout : stderr;
            if (group) {
                *strrchr(prefix, ' ') = '\0';
                cf_help_command(out, cli->program, prefix, group);
            } else {
                cf_help_program(out, cli->program);
            }
            return globals->help ? NULL : cf_fail(CF_ERR_BAD_USAGE, "%s needs a command", cli->program->name);
        }
        const cf_command *command = find_command(commands, argv[0]);
        if (!command) return unknown_command(prefix, commands, argv[0]);
        if (!command->subcommands) return run_command(cli, globals, prefix, command, argc, argv);
        group = command;
        commands = command->subcommands;
        size_t length = strlen(prefix);
        snprintf(prefix + length, prefix_size - length, " %s", command->name);
    }
}

int cf_cli_main(const cf_program *program, int argc, char **argv) {
    open_standard_streams();
    harden();
    catch_signals();
    (void)setlocale(LC_CTYPE, ""); /* widths of characters in tables; a locale that is not installed is no error */
    cf_cli cli = {.program = program, .cancel = &cancel};
    cf_globals globals = {0};
    char prefix[128];
    snprintf(prefix, sizeof prefix, "%s", program->name);
    /* --json counts from the start, so that a wrong command line is reported as an object, too. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) cli.json = globals.json = true;
    cf_err *err = program->only ? run_command(&cli, &globals, "", program->only, argc, argv)
                                : dispatch(&cli, &globals, prefix, sizeof prefix, argc, argv);
    cf_err *flushed = cf_output_finish();
    if (!err)
        err = flushed;
    else
        cf_err_free(flushed); /* the first failure is the one to report */
    if (err) cf_output_error(&cli, err);
    int status = cf_exit_status(err, cli.warnings, cf_cancel_signal(&cancel));
    cf_err_free(err);
    return status;
}
