/* The catalogue of errors as pages (docs/errors.md and man/coffer-errors.7 are made by these; a test holds the
 * committed files to them), and the search for what somebody may have meant.                           */
#ifndef CF_CLI_CATALOGUE_PAGE_H
#define CF_CLI_CATALOGUE_PAGE_H

#include <stdio.h>

#include "base/err.h"

cf_err *cf_catalogue_write_markdown(FILE *out) __attribute__((warn_unused_result));
cf_err *cf_catalogue_write_man(FILE *out) __attribute__((warn_unused_result));
/* cf_catalogue_nearest: the row whose number is closest to the one in text; NULL when text is no number. */
const cf_catalogue_row *cf_catalogue_nearest(const char *text);

#endif
