/* Parsing a command's options and writing its help; used by cli.c only.                               */
#ifndef CF_CLI_OPTIONS_H
#define CF_CLI_OPTIONS_H

#include <stdio.h>

#include "cli/cli.h"

/* What every command understands. */
typedef struct cf_globals {
    bool help, version, json, quiet, no_progress;
    const char *home;
} cf_globals;

/* A command's parsed words. options is zeroed memory of options_size, filled by the table. */
typedef struct cf_parsed {
    void *options;
    cf_words arguments;
} cf_parsed;

/* cf_options_parse: argv[0] is the command's own word. Only the program's global options when command is
 * NULL, and then it stops at the first word that is none: *used counts what was eaten. Fails: BAD_USAGE
 * (unknown options with the nearest known one), OUT_OF_MEMORY.                                         */
cf_err *cf_options_parse(const cf_program *program, const cf_command *command, int argc, char **argv,
                         cf_globals *globals, cf_parsed *parsed, int *used) __attribute__((warn_unused_result));
void cf_parsed_wipe(const cf_command *command, cf_parsed *parsed);

void cf_help_program(FILE *out, const cf_program *program);
/* prefix: the words before the command's name, "coffer" or "coffer passphrase"; "" for a program without commands. */
void cf_help_command(FILE *out, const cf_program *program, const char *prefix, const cf_command *command);

#endif
