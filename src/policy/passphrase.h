/* The rules for a new passphrase. Pure.                                                               */
#ifndef CF_POLICY_PASSPHRASE_H
#define CF_POLICY_PASSPHRASE_H

#include "base/buf.h"
#include "base/err.h"

enum { CF_PASSPHRASE_MIN = 16, CF_PASSPHRASE_MAX = 1024 };

/* What is wrong with a passphrase: a set of these bits. */
enum {
    CF_PASSPHRASE_EMPTY = 1,
    CF_PASSPHRASE_TOO_SHORT = 2, /* fewer than 16 characters                                           */
    CF_PASSPHRASE_TOO_LONG = 4,
    CF_PASSPHRASE_NOT_ASCII = 8, /* a byte above 127: encodings differ between machines                */
    CF_PASSPHRASE_CONTROL = 16,  /* NUL, newline or another control character inside                   */
};

/* cf_passphrase_line: the passphrase within what a file or standard input held: without the one newline
 * (or CR LF) at its end.                                                                              */
cf_span cf_passphrase_line(cf_span text);
/* cf_passphrase_violations: every violated rule at once; 0 when it is good.                           */
unsigned cf_passphrase_violations(cf_span passphrase);
/* cf_passphrase_check: the same as an error: 100042 PASSPHRASE_RULE, whose message names every violation and
 * whose reason is the words joined by commas: empty, too_short, too_long, not_ascii, control_character. The
 * passphrase itself is never in it.                                                                   */
cf_err *cf_passphrase_check(cf_span passphrase) __attribute__((warn_unused_result));

#endif
