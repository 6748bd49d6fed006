#include "cli/catalogue_page.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/text.h"

static const struct {
    int from;
    const char *title;
} groups[] = {
    {0, "Kept numbers: shared and registration (below 100000)"},
    {100000, "Kept numbers: the agent (100000)"},
    {120000, "Kept numbers: the service and its data (120000 to 899999)"},
    {900000, "General (900000)"},
    {900100, "Files and the operating system (900100)"},
    {900200, "Keys and stored forms (900200)"},
    {900300, "Index and scratch (900300)"},
    {900400, "The way to the vault (900400)"},
    {900500, "The vault service (900500)"},
    {900600, "Object stores and the vault's database (900600)"},
    {900700, "Scanning and backup (900700)"},
    {900800, "Restore and verify (900800)"},
    {900900, "Agent, configuration and jobs (900900)"},
};
enum { GROUP_COUNT = sizeof groups / sizeof groups[0] };

/* What the flags of a row mean for a caller; "" for an ordinary failure. */
static const char *consequence(unsigned flags) {
    if (flags & CF_F_USAGE) return "Wrong usage: exit status 2.";
    if (flags & CF_F_BUSY) return "Refused because a job is running: exit status 4.";
    if (flags & CF_F_WARNING) return "A warning about one object: the job goes on and ends with exit status 3.";
    if (flags & CF_F_DAMAGE) return "Stored data is damaged or missing.";
    if (flags & CF_F_RETRY) return "Passing trouble: tried again before it is reported.";
    return "";
}

static cf_err *written(FILE *out) {
    return ferror(out) ? cf_fail_errno(CF_ERR_IO, errno, "cannot write the page") : NULL;
}

/* The group that a row opens, NULL when it stands in the group of the row before it. */
static const char *group_title(int code, size_t *group) {
    size_t at = *group;
    while (at < GROUP_COUNT && groups[at].from <= code) at++;
    if (at == *group) return NULL;
    *group = at;
    return groups[at - 1].title;
}

cf_err *cf_catalogue_write_markdown(FILE *out) {
    size_t count, group = 0;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    fprintf(
        out,
        "# Errors\n\n"
        "Every failure that a person can meet, with its likely causes and what to do. Numbers below 900000 mean what they mean\n"
        "in the system that Coffer replaces; `coffer explain CODE` prints an entry (by number, hexadecimal form or name).\n"
        "This page is made from `src/base/catalogue/` by `scripts/pages`.\n");
    for (size_t i = 0; i < count; i++) {
        const cf_catalogue_row *row = rows[i];
        const char *title = group_title((int)row->code, &group);
        if (title) fprintf(out, "\n## %s\n", title);
        fprintf(out, "\n### %d %s\n\n%s", (int)row->code, row->name, row->meaning);
        if (*consequence(row->flags)) fprintf(out, " %s", consequence(row->flags));
        fprintf(out, "\n\n");
        for (size_t k = 0; row->causes[k]; k++) fprintf(out, "- cause: %s\n", row->causes[k]);
        for (size_t k = 0; row->actions[k]; k++) fprintf(out, "- do: %s\n", row->actions[k]);
    }
    return written(out);
}

/* Text in a man page: a backslash, and a dot or quote that begins a line, mean something there. */
static void put_man(FILE *out, const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
    fputc('\n', out);
}

cf_err *cf_catalogue_write_man(FILE *out) {
    size_t count, group = 0;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    fprintf(out,
            ".\\\" Made from src/base/catalogue by scripts/pages.\n"
            ".Dd November 20, 2026\n.Dt COFFER-ERRORS 7\n.Os Coffer\n.Sh NAME\n.Nm coffer-errors\n"
            ".Nd error codes of Coffer, their causes and what to do\n.Sh DESCRIPTION\n"
            "An error is printed with its number, its name, what happened to which object, causes, and what to do.\n"
            "Numbers below 900000 mean what they mean in the system that Coffer replaces.\n"
            ".Ic coffer explain\nprints an entry by number, hexadecimal form or name.\n");
    for (size_t i = 0; i < count; i++) {
        const cf_catalogue_row *row = rows[i];
        const char *title = group_title((int)row->code, &group);
        if (title) fprintf(out, "%s.Ss %s\n.Bl -tag -width Ds\n", i ? ".El\n" : "", title);
        fprintf(out, ".It Sy %d %s\n", (int)row->code, row->name);
        put_man(out, row->meaning);
        if (*consequence(row->flags)) put_man(out, consequence(row->flags));
        for (size_t k = 0; row->causes[k]; k++) {
            fputs(".br\ncause: ", out);
            put_man(out, row->causes[k]);
        }
        for (size_t k = 0; row->actions[k]; k++) {
            fputs(".br\ndo: ", out);
            put_man(out, row->actions[k]);
        }
    }
    fprintf(out, ".El\n.Sh SEE ALSO\n.Xr coffer 1 ,\n.Xr coffer-vault 8\n");
    return written(out);
}

const cf_catalogue_row *cf_catalogue_nearest(const char *text) {
    char *end = NULL;
    long long number = strtoll(text, &end, 0);
    if (end == text || *end || number <= 0) return NULL;
    size_t count;
    const cf_catalogue_row *const *rows = cf_catalogue_rows(&count);
    const cf_catalogue_row *nearest = NULL;
    long long least = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        long long distance = llabs((long long)rows[i]->code - number);
        if (distance >= least) continue;
        least = distance;
        nearest = rows[i];
    }
    return nearest;
}
