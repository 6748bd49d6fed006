/* Getting a passphrase or another secret from a file, from standard input or from the terminal; never from
 * the command line. The rules themselves are in policy/passphrase.h.                                    */
#ifndef CF_CLI_PASSPHRASE_H
#define CF_CLI_PASSPHRASE_H

#include "base/secret.h"
#include "cli/cli.h"

/* cf_secret_read: the first line of a file, "-" for standard input; source NULL asks on the terminal with
 * "prompt: " and no echo. One newline at the end is dropped. A file that others may read gets a warning on
 * stderr. Fails: IO, 100042 PASSPHRASE_RULE (reasons empty, control_character, too_long), BAD_USAGE when
 * there is neither a source nor a terminal, CANCELLED.                                                  */
cf_err *cf_secret_read(const cf_cli *cli, const char *source, const char *prompt, cf_secret **secret)
    __attribute__((warn_unused_result));

/* cf_passphrase_get: an existing passphrase. No rules but those of cf_secret_read: whether it opens
 * something is for the key slot to say.                                                                 */
cf_err *cf_passphrase_get(const cf_cli *cli, const char *file, cf_secret **passphrase)
    __attribute__((warn_unused_result));
/* cf_passphrase_get_new: a new one: from file, "-", or asked twice. Fails also: 100042 PASSPHRASE_RULE with
 * every violation in the message, 100044 PASSPHRASE_MISMATCH.                                           */
cf_err *cf_passphrase_get_new(const cf_cli *cli, const char *file, cf_secret **passphrase)
    __attribute__((warn_unused_result));
/* cf_passphrase_generate: 32 random characters (160 bits) in groups, written to file, which is created here with
 * mode 0600 and synced before this returns. Fails: EXISTS, IO.                                           */
cf_err *cf_passphrase_generate(const char *file, cf_secret **passphrase) __attribute__((warn_unused_result));

#endif
