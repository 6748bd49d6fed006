/* What a policy leaves out: patterns as in a .gitignore (gitignore(5)).
 *
 *   *.tmp        without '/': a name at any depth            /a/b, a/b   with '/': from the base on
 *   cache/       folders only                                a/ ** /b    (without spaces) any folders between, or none
 *   !keep.tmp    takes an exclusion back; the last rule that matches decides
 *   [a-z] [!0-9] [[:digit:]] ? * within a name; '\' takes the meaning from the next character
 *
 * The base of the policy's own patterns is "/", that of a source's patterns is the source. Policy rules come first,
 * then the source's; those of a source inside another come last. An excluded folder is not entered: nothing below it can be
 * taken back, except that a source is never excluded by name, nor is the way to it closed.
 * Names are bytes and compared as such.
 *
 * A walk carries a state from folder to folder, so that no path is put together and a rule costs nothing where it can
 * not match any more. Pure. Threads: a cf_exclude is immutable once built; a state belongs to one holder at a time.    */
#ifndef CF_POLICY_EXCLUDE_H
#define CF_POLICY_EXCLUDE_H

#include "base/buf.h"
#include "base/err.h"
#include "policy/policy.h"

typedef struct cf_exclude cf_exclude;
typedef struct cf_exclude_state cf_exclude_state;

/* cf_exclude_check: can this pattern ever match? Fails: BAD_USAGE, the message says why (empty, a comment, '/' alone, a
 * backslash at the end, a '[' without ']', "//", "." or ".." as a name, longer than CF_POLICY_TEXT_MAX).          */
cf_err *cf_exclude_check(const char *pattern) __attribute__((warn_unused_result));

/* Building. Patterns and paths are copied. Fails: OUT_OF_MEMORY, TOO_LARGE (more than CF_POLICY_PATTERNS_MAX). A pattern that
 * cf_exclude_check refuses matches nothing.                                                                           */
cf_err *cf_exclude_new(cf_exclude **exclude) __attribute__((warn_unused_result));
void cf_exclude_free(cf_exclude *exclude); /* NULL-safe; no state may be left */
CF_DEFINE_AUTO(cf_exclude, cf_exclude_free)
/* cf_exclude_add: a rule; source is NULL for the policy's own, else an absolute path without "//", ".", ".." or a slash at
 * its end (except "/").                                                                                              */
cf_err *cf_exclude_add(cf_exclude *exclude, const char *source, const char *pattern)
    __attribute__((warn_unused_result));
/* cf_exclude_add_source: says that this is a source, also without rules of its own. */
cf_err *cf_exclude_add_source(cf_exclude *exclude, const char *source) __attribute__((warn_unused_result));
/* cf_exclude_from_policy: all rules of a policy, with its sources as they are written there. */
cf_err *cf_exclude_from_policy(const cf_policy *policy, cf_exclude **exclude) __attribute__((warn_unused_result));
size_t cf_exclude_count(const cf_exclude *exclude); /* rules */

/* The rule that decided. */
typedef struct cf_exclude_match {
    bool matched;        /* a rule matched; else there is none below */
    bool excluded;       /* false also when a '!' rule decided */
    const char *pattern; /* as it was given; borrowed from the cf_exclude */
    const char *source;  /* whose rule; NULL: the policy's; borrowed */
    size_t index;        /* in the policy's, or that source's, list: from 0 */
    size_t path_size;    /* cf_exclude_test: how much of the path it matched (a folder above, or all of it) */
} cf_exclude_match;

/* cf_exclude_test: an absolute path, from "/" down. Cost: rules * names in the path.
 * Fails: BAD_USAGE (not absolute), OUT_OF_MEMORY.                                                                   */
cf_err *cf_exclude_test(const cf_exclude *exclude, cf_span path, bool is_folder, cf_exclude_match *match)
    __attribute__((warn_unused_result));

/* ---- Walking ---- */

/* cf_exclude_root: the state of "/". NULL (and no error) when there is nothing to match anywhere. */
cf_err *cf_exclude_root(const cf_exclude *exclude, cf_exclude_state **state) __attribute__((warn_unused_result));
/* cf_exclude_enter: the state of a folder in the folder of `above` (not consumed; may be NULL: then *state is NULL).
 *   NULL also when no rule can match below any more.                                                              */
cf_err *cf_exclude_enter(const cf_exclude_state *above, cf_span name, cf_exclude_state **state)
    __attribute__((warn_unused_result));
void cf_exclude_state_free(cf_exclude_state *state); /* NULL-safe */
/* cf_exclude_name: is this entry of the state's folder left out? match may be NULL. state may be NULL: no.
 * A source is not judged here: the caller knows it.                                                                 */
bool cf_exclude_name(const cf_exclude_state *state, cf_span name, bool is_folder, cf_exclude_match *match);
/* cf_exclude_needs_type: does it matter for cf_exclude_name whether an entry is a folder? (Else is_folder may be a guess.) */
bool cf_exclude_needs_type(const cf_exclude_state *state);

/* ---- Written down ---- */

/* cf_exclude_absolute: every rule as a pattern whose base is "/", in order, with the same meaning: what a recovery point's
 * root holds. Calls each(context, pattern) until it fails. Fails: what each fails with; TOO_LARGE: a rule does not fit
 * CF_POLICY_TEXT_MAX bytes together with its source's path.                                                           */
cf_err *cf_exclude_absolute(const cf_exclude *exclude, cf_err *(*each)(void *context, cf_span pattern), void *context)
    __attribute__((warn_unused_result));

#endif
