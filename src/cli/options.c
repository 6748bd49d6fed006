#include "cli/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const cf_option global_options[] = {
    CF_OPTION_TEXT(cf_globals, home, "home", "DIR", "configuration, state and scratch below DIR (or COFFER_HOME)"),
    CF_OPTION_FLAG(cf_globals, json, "json", "print JSON on standard output"),
    {"quiet", 'q', CF_OPTION_KIND_FLAG, offsetof(cf_globals, quiet), NULL, "print errors only", 0, false},
    CF_OPTION_FLAG(cf_globals, no_progress, "no-progress", "no progress line on the terminal"),
    {"help", 'h', CF_OPTION_KIND_FLAG, offsetof(cf_globals, help), NULL, "show help", 0, false},
    CF_OPTION_FLAG(cf_globals, version, "version", "show the version"),
    CF_OPTION_END};

enum { OPTIONS_MAX = 64 };

/* The options that a command understands: its own, then the global ones. */
typedef struct option_set {
    const cf_option *option[OPTIONS_MAX];
    bool global[OPTIONS_MAX];
    const char *name[OPTIONS_MAX];
    size_t count;
} option_set;

static void add_options(option_set *set, const cf_option *options, bool global, bool with_home) {
    for (; options && options->name && set->count < OPTIONS_MAX; options++) {
        if (global && !with_home && strcmp(options->name, "home") == 0) continue;
        set->option[set->count] = options;
        set->global[set->count] = global;
        set->name[set->count++] = options->name;
    }
}

static option_set options_of(const cf_program *program, const cf_command *command) {
    option_set set = {.count = 0};
    if (command) add_options(&set, command->options, false, true);
    add_options(&set, global_options, true, program->has_home);
    return set;
}

static bool takes_value(const cf_option *option) {
    return option->kind != CF_OPTION_KIND_FLAG;
}

/* The option that a word "--name" or "--name=value" spells in full. getopt_long would also take any
 * unambiguous beginning, which breaks scripts on the day that a new option shares it.                  */
static const cf_option *spelled(const option_set *set, const char *word, bool *global) {
    size_t length = strcspn(word, "=");
    for (size_t i = 0; i < set->count; i++) {
        if (strlen(set->name[i]) != length || strncmp(set->name[i], word, length) != 0) continue;
        *global = set->global[i];
        return set->option[i];
    }
    return NULL;
}

static cf_err *bad_option(const option_set *set, const char *word) {
    if (!cf_text_starts(word, "--")) return cf_fail(CF_ERR_BAD_USAGE, "unknown option or missing value: '%s'", word);
    bool global = false;
    const cf_option *option = spelled(set, word + 2, &global);
    if (option && takes_value(option))
        return cf_fail(CF_ERR_BAD_USAGE, "--%s needs a value: --%s %s", option->name, option->name, option->value);
    if (option) return cf_fail(CF_ERR_BAD_USAGE, "--%s takes no value", option->name);
    CF_AUTO_FREE char *name = strndup(word + 2, strcspn(word + 2, "="));
    const char *nearest = name ? cf_text_nearest(name, set->name, set->count) : NULL;
    if (nearest) return cf_fail(CF_ERR_BAD_USAGE, "unknown option --%s (did you mean --%s?)", name, nearest);
    return cf_fail(CF_ERR_BAD_USAGE, "unknown option --%s", name ? name : "");
}

static cf_err *add_word(cf_words *words, const char *word) {
    const char **grown = realloc(words->item, (words->count + 1) * sizeof *grown);
    if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the command line");
    words->item = grown;
    words->item[words->count++] = word;
    return NULL;
}

static cf_err *check_choice(const cf_option *option, const char *value) {
    size_t length = strlen(value);
    for (const char *at = option->value; length && at; at = strchr(at, '|'), at = at ? at + 1 : NULL)
        if (strncmp(at, value, length) == 0 && (at[length] == '|' || at[length] == '\0')) return NULL;
    return cf_fail(CF_ERR_BAD_USAGE, "--%s: '%s' is none of %s", option->name, value, option->value);
}

static cf_err *store(const cf_option *option, void *base, const char *value) {
    void *field = (char *)base + option->offset;
    switch (option->kind) {
    case CF_OPTION_KIND_FLAG:
        *(bool *)field = true;
        return NULL;
    case CF_OPTION_KIND_CHOICE:
        CF_TRY(check_choice(option, value));
        *(const char **)field = value;
        return NULL;
    case CF_OPTION_KIND_TEXT:
        *(const char **)field = value;
        return NULL;
    case CF_OPTION_KIND_LIST:
        return add_word(field, value);
    case CF_OPTION_KIND_NUMBER:
        if (cf_text_parse_u64(value, UINT64_MAX, field)) return NULL;
        return cf_fail(CF_ERR_BAD_USAGE, "--%s: '%s' is not a number", option->name, value);
    case CF_OPTION_KIND_SIZE:
        return cf_note(cf_text_parse_size(value, field), "--%s", option->name);
    }
    return cf_fail(CF_ERR_INTERNAL, "--%s has no kind", option->name);
}

static void build_getopt(const option_set *set, bool whole, struct option *longs, char *shorts) {
    /* ':' reports a missing value apart; '+' stops at the first word that is no option. */
    shorts += sprintf(shorts, "%s", whole ? ":" : "+:");
    for (size_t i = 0; i < set->count; i++) {
        const cf_option *option = set->option[i];
        longs[i] = (struct option){option->name, takes_value(option) ? required_argument : no_argument, NULL, 0};
        if (option->letter) shorts += sprintf(shorts, takes_value(option) ? "%c:" : "%c", option->letter);
    }
    longs[set->count] = (struct option){0};
}

static const cf_option *by_letter(const option_set *set, int letter, bool *global) {
    for (size_t i = 0; i < set->count; i++) {
        if (set->option[i]->letter != letter) continue;
        *global = set->global[i];
        return set->option[i];
    }
    return NULL;
}

static void set_standards(const option_set *set, void *options) {
    for (size_t i = 0; i < set->count; i++) {
        const cf_option *option = set->option[i];
        if (!set->global[i] && (option->kind == CF_OPTION_KIND_NUMBER || option->kind == CF_OPTION_KIND_SIZE))
            *(uint64_t *)(void *)((char *)options + option->offset) = option->number;
    }
}

/* The word that getopt just failed on. */
static const char *failing_word(int before, int argc, char **argv, char shown[3]) {
    if (optopt && optopt < 128 && optopt > ' ' && (optind <= before || !cf_text_starts(argv[optind - 1], "--"))) {
        snprintf(shown, 3, "-%c", optopt);
        return shown;
    }
    return optind - 1 < argc && optind > 0 ? argv[optind - 1] : "";
}

static cf_err *parse_options(const option_set *set, bool whole, int argc, char **argv, cf_globals *globals, void *own) {
    struct option longs[OPTIONS_MAX + 1];
    char shorts[2 * OPTIONS_MAX + 8];
    build_getopt(set, whole, longs, shorts);
    opterr = 0;
    optind = 0; /* glibc: start afresh, also after a parse that stopped early */
    for (;;) {
        int index = -1, before = optind > 0 ? optind : 1;
        int got = getopt_long(argc, argv, shorts, longs, &index);
        if (got == -1) return NULL;
        char shown[3];
        if (got == '?' || got == ':') return bad_option(set, failing_word(before, argc, argv, shown));
        bool global = false;
        const cf_option *option;
        if (got == 0) {
            /* The word before the next one, or two before when the value stood apart. */
            const char *word = argv[optind - 1];
            if (optarg == word && optind >= 2) word = argv[optind - 2];
            option = spelled(set, cf_text_starts(word, "--") ? word + 2 : word, &global);
            if (!option) return bad_option(set, word);
        } else {
            option = by_letter(set, got, &global);
        }
        if (!option) return cf_fail(CF_ERR_INTERNAL, "getopt found an option that is not in the table");
        CF_TRY(store(option, global ? (void *)globals : own, optarg));
    }
}

static cf_err *check_count(const cf_command *command, size_t count) {
    if (count < command->min_arguments)
        return cf_fail(CF_ERR_BAD_USAGE, "%s needs %s", command->name,
                       command->arguments ? command->arguments : "more words");
    if (count > command->max_arguments)
        return command->max_arguments == 0
                   ? cf_fail(CF_ERR_BAD_USAGE, "%s takes no arguments, only options", command->name)
                   : cf_fail(CF_ERR_BAD_USAGE, "%s takes at most %zu words: %s", command->name, command->max_arguments,
                             command->arguments ? command->arguments : "");
    return NULL;
}

cf_err *cf_options_parse(const cf_program *program, const cf_command *command, int argc, char **argv,
                         cf_globals *globals, cf_parsed *parsed, int *used) {
    option_set set = options_of(program, command);
    *parsed = (cf_parsed){0};
    if (command && command->options_size) {
        parsed->options = calloc(1, command->options_size);
        if (!parsed->options) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the command line");
        set_standards(&set, parsed->options);
    }
    CF_TRY(parse_options(&set, command != NULL, argc, argv, globals, parsed->options));
    *used = optind;
    if (!command || globals->help || globals->version) return NULL;
    for (int i = optind; i < argc; i++) CF_TRY(add_word(&parsed->arguments, argv[i]));
    return check_count(command, parsed->arguments.count);
}

void cf_parsed_wipe(const cf_command *command, cf_parsed *parsed) {
    for (const cf_option *option = command ? command->options : NULL; option && option->name && parsed->options;
         option++)
        if (option->kind == CF_OPTION_KIND_LIST)
            free(((cf_words *)(void *)((char *)parsed->options + option->offset))->item);
    free(parsed->options);
    free(parsed->arguments.item);
    *parsed = (cf_parsed){0};
}

/* Help. */

static void print_option(FILE *out, const cf_option *option) {
    char left[80];
    if (option->letter)
        snprintf(left, sizeof left, "-%c, --%s%s%s", option->letter, option->name, option->value ? " " : "",
                 option->value ? option->value : "");
    else
        snprintf(left, sizeof left, "    --%s%s%s", option->name, option->value ? " " : "",
                 option->value ? option->value : "");
    if (strlen(left) > 30)
        fprintf(out, "  %s\n  %-30s  %s\n", left, "", option->help);
    else
        fprintf(out, "  %-30s  %s\n", left, option->help);
}

static void print_options(FILE *out, const char *title, const cf_option *options, bool with_home) {
    if (!options) return;
    bool any = false;
    for (; options->name; options++) {
        if (options->hidden || (!with_home && strcmp(options->name, "home") == 0)) continue;
        if (!any) fprintf(out, "\n%s:\n", title);
        any = true;
        print_option(out, options);
    }
}

static void print_commands(FILE *out, const cf_command *const *commands) {
    fprintf(out, "\nCommands:\n");
    for (; *commands; commands++)
        if (!(*commands)->hidden) fprintf(out, "  %-16s  %s\n", (*commands)->name, (*commands)->summary);
}

void cf_help_program(FILE *out, const cf_program *program) {
    fprintf(out, "%s: %s\n\nUsage: %s COMMAND [OPTION...] [ARGUMENT...]\n", program->name, program->summary,
            program->name);
    print_commands(out, program->commands);
    print_options(out, "Options of every command", global_options, program->has_home);
    fprintf(out, "\n%s COMMAND --help shows the options of a command, with examples.\n", program->name);
}

void cf_help_command(FILE *out, const cf_program *program, const char *prefix, const cf_command *command) {
    const char *gap = *prefix ? " " : "";
    fprintf(out, "%s%s%s: %s\n\n", prefix, gap, command->name, command->summary);
    if (command->subcommands)
        fprintf(out, "Usage: %s%s%s COMMAND [OPTION...]\n", prefix, gap, command->name);
    else
        fprintf(out, "Usage: %s%s%s [OPTION...]%s%s\n", prefix, gap, command->name, command->arguments ? " " : "",
                command->arguments ? command->arguments : "");
    if (command->description) fprintf(out, "\n%s", command->description);
    if (command->subcommands) print_commands(out, command->subcommands);
    print_options(out, "Options", command->options, true);
    print_options(out, "Options of every command", global_options, program->has_home);
    if (!command->examples) return;
    fprintf(out, "\nExamples:\n");
    for (const char *line = command->examples; *line;) {
        size_t length = strcspn(line, "\n");
        fprintf(out, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}
