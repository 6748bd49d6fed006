/* What the files of the system state share. */
#ifndef CF_SYSSTATE_INTERNAL_H
#define CF_SYSSTATE_INTERNAL_H

#include "sysstate/sysstate.h"

enum { CF_TOOL_WORDS_MAX = 12 };

typedef struct cf_collection {
    const cf_sysstate_options *options;
    cf_buf output; /* of the last tool */
    cf_buf notes, recover;
    cf_buf disks, arrays, luks, volumes; /* lines: what was found of each kind, for RECOVER.md */
    cf_buf systems;                      /* blkid's lines */
    bool efi, debian;
} cf_collection;

/* tool.c: what a tool prints, into out (reset). *ok is false, and a note is made, when it is missing, fails, takes too long or
 * prints too much. words: NULL-terminated, the first is the tool's name. */
cf_err *cf_tool_run(cf_collection *self, const char *const *words, cf_buf *out, bool *ok);
/* The content of a file of /proc or the like; *ok false: there is none. */
cf_err *cf_tool_read(cf_collection *self, const char *path, cf_buf *out, bool *ok);
void cf_collection_note(cf_collection *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* text.c: the next line of text at *at, without its end; false after the last. */
bool cf_line_next(cf_span text, size_t *at, cf_span *line);
/* The next word of a line; false after the last. */
bool cf_word_next(cf_span line, size_t *at, cf_span *word);
/* NAME="VALUE" in one of blkid's lines; empty when it is not there. */
cf_span cf_field(cf_span line, const char *name);
void cf_buf_printf(cf_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* recover.c */
cf_err *cf_recover_write(cf_collection *self);

#endif
