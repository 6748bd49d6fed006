/* The frame of every program: option tables, help, output mode, cancelling, exit status. A command is one
 * file with one cf_command; a program is a table of commands.
 *
 *   struct backup_options { const char *retain_until; bool dry_run; };
 *   static const cf_option options[] = {
 *       CF_OPTION_TEXT(struct backup_options, retain_until, "retain-until", "DATE", "keep the point until DATE"),
 *       CF_OPTION_FLAG(struct backup_options, dry_run, "dry-run", "show what would be done"),
 *       CF_OPTION_END};
 *   static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
 *       const struct backup_options *opt = given; ...
 *   }
 *   const cf_command cf_cmd_backup = {.name = "backup", .arguments = "[PATH...]", .max_arguments = CF_ANY_COUNT,
 *       .summary = "back up the policy's selection, or PATH...", .examples = "coffer backup /etc\n",
 *       .options = options, .options_size = sizeof(struct backup_options), .run = run};
 *
 * Then: declare it in cli/commands.h, add it to the table in cli/main_coffer.c, list the file in meson.build. */
#ifndef CF_CLI_CLI_H
#define CF_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"

enum { CF_ANY_COUNT = 1 << 30 };

/* Exit statuses; see cf_exit_status. */
enum { CF_EXIT_DONE = 0, CF_EXIT_FAILED = 1, CF_EXIT_USAGE = 2, CF_EXIT_WARNINGS = 3, CF_EXIT_BUSY = 4 };

/* A list of words borrowed from the command line. */
typedef struct cf_words {
    const char **item;
    size_t count;
} cf_words;

typedef enum cf_option_kind {
    CF_OPTION_KIND_FLAG,   /* bool                                                                     */
    CF_OPTION_KIND_TEXT,   /* const char *; the last one given counts                                  */
    CF_OPTION_KIND_LIST,   /* cf_words: may be given several times                                     */
    CF_OPTION_KIND_NUMBER, /* uint64_t                                                                 */
    CF_OPTION_KIND_SIZE,   /* uint64_t bytes: 512K, 1.5GiB, 100 MB                                     */
    CF_OPTION_KIND_CHOICE, /* const char *: one of `choices`, "copy|overwrite|skip"                    */
} cf_option_kind;

/* One option. A flag is false, a text or choice NULL, a list empty and a number 0 when not given (put
 * another default into `number`).                                                                     */
typedef struct cf_option {
    const char *name; /* without the dashes; NULL ends the table                                       */
    char letter;      /* 'q', or 0                                                                     */
    cf_option_kind kind;
    size_t offset;     /* of the field in the command's options struct                                     */
    const char *value; /* how help calls the value: "DIR"; for a choice the choices                    */
    const char *help;
    uint64_t number; /* NUMBER and SIZE: the value when not given                                      */
    bool hidden;     /* not in help                                                                    */
} cf_option;

#define CF_OPTION_FLAG(type, field, name, help) \
    { name, 0, CF_OPTION_KIND_FLAG, offsetof(type, field), NULL, help, 0, false }
#define CF_OPTION_TEXT(type, field, name, value, help) \
    { name, 0, CF_OPTION_KIND_TEXT, offsetof(type, field), value, help, 0, false }
#define CF_OPTION_LIST(type, field, name, value, help) \
    { name, 0, CF_OPTION_KIND_LIST, offsetof(type, field), value, help, 0, false }
#define CF_OPTION_NUMBER(type, field, name, value, standard, help) \
    { name, 0, CF_OPTION_KIND_NUMBER, offsetof(type, field), value, help, standard, false }
#define CF_OPTION_SIZE(type, field, name, value, standard, help) \
    { name, 0, CF_OPTION_KIND_SIZE, offsetof(type, field), value, help, standard, false }
#define CF_OPTION_CHOICE(type, field, name, choices, help) \
    { name, 0, CF_OPTION_KIND_CHOICE, offsetof(type, field), choices, help, 0, false }
#define CF_OPTION_END \
    { NULL, 0, CF_OPTION_KIND_FLAG, 0, NULL, NULL, 0, false }

typedef struct cf_cli cf_cli;
typedef struct cf_command cf_command;
typedef struct cf_program cf_program;

/* A command, or a group of sub-commands (then only name, summary, description and subcommands are set). */
struct cf_command {
    const char *name;
    const char *arguments;    /* for the usage line: "POINT [PATTERN...]"; NULL: takes none             */
    const char *summary;      /* one line, lower case, no full stop                                     */
    const char *description;  /* more lines, each ending in \n; may be NULL                             */
    const char *examples;     /* lines, each ending in \n: "coffer backup /etc\n"; may be NULL          */
    const cf_option *options; /* may be NULL                                                           */
    size_t options_size;
    size_t min_arguments, max_arguments;
    cf_err *(*run)(cf_cli *cli, const void *options, const cf_words *arguments);
    const cf_command *const *subcommands; /* NULL-terminated; NULL: a plain command                    */
    bool hidden;
};

struct cf_program {
    const char *name; /* "coffer" */
    const char *summary;
    const cf_command *const *commands; /* NULL-terminated, in the order of help                        */
    bool has_home;                     /* knows --home and COFFER_HOME                                 */
    const cf_command *only;            /* a program without commands: what it does; its name is the program's     */
};

/* What a command is handed. Fields are for reading; `warnings` is set by the command.                 */
struct cf_cli {
    const cf_program *program;
    const cf_command *command;
    bool json;         /* --json: documents on stdout, see cli/output.h                                 */
    bool quiet;        /* -q                                                                            */
    bool no_progress;  /* --no-progress                                                                 */
    const char *home;  /* --home, else COFFER_HOME, else NULL; see cli/home.h                           */
    cf_cancel *cancel; /* set by Ctrl-C and SIGTERM                                                    */
    bool warnings;     /* the command was done with warnings: exit status 3                            */
};

/* cf_cli_main: parse, run, print the error if there is one, and return the exit status. Prepares the
 * process first (umask 077, no core dumps, descriptors 0-2 open, SIGPIPE ignored, signals set a flag).
 * A second Ctrl-C ends the process at once.                                                           */
int cf_cli_main(const cf_program *program, int argc, char **argv);

/* cf_exit_status: from how a command ended. signal: what asked for cancelling, 0 for nothing.         */
int cf_exit_status(const cf_err *err, bool warnings, int signal);

/* cf_cli_usage: CF_ERR_BAD_USAGE whose message ends in "see coffer COMMAND --help".                   */
cf_err *cf_cli_usage(const cf_cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

#endif
