/* Which paths of a point are meant: paths and patterns as people give them.
 *   /etc/nginx        this file or folder and all below it
 *   /etc/n?.conf      a pattern: '*', '?' and '[...]' stay within a name, '**' does not
 *   *.conf            without '/': a name at any depth;  a/b.conf: the end of a path at any depth
 *   \*                a backslash takes the meaning from the next character
 * Paths and patterns are bytes.
 * Threads: cf_select_test marks patterns as used, so one thread.                                         */
#ifndef CF_RESTORE_SELECT_H
#define CF_RESTORE_SELECT_H

#include "base/buf.h"
#include "base/err.h"

typedef enum cf_selected {
    CF_SELECTED_NOT,
    CF_SELECTED_WAY, /* a folder below which something may be meant */
    CF_SELECTED_ALL, /* meant, with all that is below               */
} cf_selected;

typedef struct cf_select cf_select;
/* patterns: copied. None: everything is meant. Fails: BAD_USAGE (an empty one), OUT_OF_MEMORY.            */
cf_err *cf_select_new(const cf_span *patterns, size_t count, cf_select **select);
void cf_select_free(cf_select *select);
CF_DEFINE_AUTO(cf_select, cf_select_free)
/* path: absolute. Not to be asked below a folder that is meant: all of it is.                            */
cf_selected cf_select_test(cf_select *select, cf_span path);
/* cf_select_unused: a pattern that nothing has matched so far; false when there is none. *cursor starts at 0. */
bool cf_select_unused(const cf_select *select, size_t *cursor, cf_span *pattern);
/* cf_select_glob: does the whole text match?                                                             */
bool cf_select_glob(cf_span pattern, cf_span text);

#endif
