/* Shows a cf_progress on the terminal: one line on stderr, redrawn five times a second by a thread of its
 * own: percent, bytes, rate, files, time left, current item. Silent when stderr is no terminal, and with
 * --no-progress, -q, --json.                                                                           */
#ifndef CF_CLI_PROGRESS_H
#define CF_CLI_PROGRESS_H

#include "base/clock.h"
#include "base/progress.h"
#include "cli/cli.h"

typedef struct cf_progress_view cf_progress_view;

/* cf_progress_show: start showing progress (borrowed until the view is freed). *view is NULL when
 * nothing is to be shown; that is not an error. Fails: OUT_OF_MEMORY.                                  */
cf_err *cf_progress_show(const cf_cli *cli, cf_progress *progress, cf_progress_view **view)
    __attribute__((warn_unused_result));
/* cf_progress_view_free: stop and clear the line. NULL-safe.                                           */
void cf_progress_view_free(cf_progress_view *view);
CF_DEFINE_AUTO(cf_progress_view, cf_progress_view_free)

/* The numbers of one moment, and the line that shows them (pure, for tests). width: columns of the
 * terminal, the line stays below it. colour: the percentage in bold.                                   */
typedef struct cf_progress_moment {
    uint64_t bytes_total, bytes_done, files_total, files_done;
    uint64_t rate; /* bytes a second lately */
    const char *phase;
    cf_span item;
} cf_progress_moment;
void cf_progress_line(const cf_progress_moment *moment, size_t width, bool colour, cf_buf *out);

#endif
