#include "cli/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/output.h"

enum { REDRAW_MS = 200, RATE_WINDOW = 25 /* moments: five seconds */, LINE_MAX_BYTES = 4096, WIDTH_STANDARD = 80 };

struct cf_progress_view {
    cf_progress *progress;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    bool colour;
    uint64_t done[RATE_WINDOW]; /* ring of bytes_done, one each REDRAW_MS */
    size_t moments;
};

static void put_text(cf_buf *out, const char *text) {
    cf_buf_put_span(out, cf_span_text(text));
}

/* The columns that UTF-8 text takes, one for each character: exact enough to stay on one line. */
static size_t columns(const char *text) {
    size_t count = 0;
    for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* The end of a path says more than its beginning. */
static const char *last_columns(const char *text, size_t width) {
    size_t skip = columns(text);
    for (; *text && skip > width; text++)
        if (((unsigned char)text[1] & 0xc0) != 0x80) skip--;
    return text;
}

static void numbers_text(const cf_progress_moment *moment, char *out, size_t size) {
    char done[24], total[24], rate[24], left[32] = "";
    cf_text_size(moment->bytes_done, done);
    cf_text_size(moment->bytes_total, total);
    cf_text_size(moment->rate, rate);
    bool known = moment->bytes_total > 0 && moment->bytes_done <= moment->bytes_total;
    if (known && moment->rate > 0) cf_duration_text((moment->bytes_total - moment->bytes_done) / moment->rate, left);
    int used = snprintf(out, size, "%s%s%s  %s/s  %llu", done, known ? " of " : "", known ? total : "", rate,
                        (unsigned long long)moment->files_done);
    size_t at = used > 0 && (size_t)used < size ? (size_t)used : size - 1;
    if (moment->files_total)
        used = snprintf(out + at, size - at, " of %llu files", (unsigned long long)moment->files_total);
    else
        used = snprintf(out + at, size - at, " files");
    at += used > 0 && (size_t)used < size - at ? (size_t)used : 0;
    if (*left) (void)snprintf(out + at, size - at, "  %s left", left);
}

void cf_progress_line(const cf_progress_moment *moment, size_t width, bool colour, cf_buf *out) {
    char text[256], percent[16] = "";
    numbers_text(moment, text, sizeof text);
    if (moment->bytes_total > 0 && moment->bytes_done <= moment->bytes_total) {
        double part = (double)moment->bytes_done * 100.0 / (double)moment->bytes_total;
        snprintf(percent, sizeof percent, "%3.0f %%  ", part);
    } else if (moment->phase) {
        snprintf(percent, sizeof percent, "%.11s  ", moment->phase);
    }
    size_t room = width > 1 ? width - 1 : 0; /* a full last column would wrap on some terminals */
    size_t used = columns(percent) + columns(text);
    if (used > room) {
        text[room > columns(percent) ? room - columns(percent) : 0] = '\0'; /* all ASCII */
        if (columns(percent) > room) percent[room] = '\0';
        used = room;
    }
    if (colour && *percent) put_text(out, "\033[1m");
    put_text(out, percent);
    if (colour && *percent) put_text(out, "\033[0m");
    put_text(out, text);
    CF_AUTO_FREE char *item = cf_text_printable(moment->item);
    if (!item || !*item || room < used + 12) return; /* no room for a piece worth reading */
    put_text(out, "  ");
    put_text(out, last_columns(item, room - used - 2));
}

static size_t terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return WIDTH_STANDARD;
    return size.ws_col;
}

static cf_progress_moment look(cf_progress_view *view, char item[CF_PROGRESS_ITEM_MAX]) {
    cf_progress *progress = view->progress;
    cf_progress_moment moment = {
        .bytes_total = atomic_load(&progress->bytes_total),
        .bytes_done = atomic_load(&progress->bytes_done),
        .files_total = atomic_load(&progress->files_total),
        .files_done = atomic_load(&progress->files_done),
    };
    pthread_mutex_lock(&progress->lock);
    moment.phase = progress->phase;
    memcpy(item, progress->item, progress->item_size);
    moment.item = cf_span_of(item, progress->item_size);
    pthread_mutex_unlock(&progress->lock);
    size_t known = view->moments < RATE_WINDOW ? view->moments : RATE_WINDOW;
    uint64_t before = known ? view->done[(view->moments - known) % RATE_WINDOW] : moment.bytes_done;
    if (known && moment.bytes_done > before) moment.rate = (moment.bytes_done - before) * 1000 / (known * REDRAW_MS);
    view->done[view->moments++ % RATE_WINDOW] = moment.bytes_done;
    return moment;
}

/* One write for the whole line, so that it does not flicker or mix with other output. */
static void draw(cf_progress_view *view, bool clear) {
    char item[CF_PROGRESS_ITEM_MAX];
    CF_AUTO_BUF cf_buf line;
    cf_buf_init(&line, LINE_MAX_BYTES);
    put_text(&line, "\r\033[K");
    if (!clear) {
        cf_progress_moment moment = look(view, item);
        cf_progress_line(&moment, terminal_width(), view->colour, &line);
    }
    if (!line.failed) (void)!write(STDERR_FILENO, line.data, line.size); /* only decoration */
}

static void *redraw(void *argument) {
    cf_progress_view *view = argument;
    pthread_mutex_lock(&view->lock);
    while (!view->stop) {
        draw(view, false);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += REDRAW_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&view->wake, &view->lock, &until);
    }
    pthread_mutex_unlock(&view->lock);
    draw(view, true);
    return NULL;
}

/* Signals are for the thread that runs the command. */
static int start_thread(cf_progress_view *view) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&view->thread, NULL, redraw, view);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

cf_err *cf_progress_show(const cf_cli *cli, cf_progress *progress, cf_progress_view **out) {
    *out = NULL;
    if (cli->json || cli->quiet || cli->no_progress || !isatty(STDERR_FILENO)) return NULL;
    const char *term = getenv("TERM");
    if (!term || strcmp(term, "dumb") == 0) return NULL;
    cf_progress_view *view = calloc(1, sizeof *view);
    if (!view) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the progress line");
    const char *no_colour = getenv("NO_COLOR");
    view->progress = progress;
    view->colour = !no_colour || !*no_colour;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&view->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&view->lock, NULL);
    int failed = start_thread(view);
    if (failed) {
        pthread_cond_destroy(&view->wake);
        pthread_mutex_destroy(&view->lock);
        free(view);
        return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, failed, "cannot start the thread that shows progress");
    }
    *out = view;
    return NULL;
}

void cf_progress_view_free(cf_progress_view *view) {
    if (!view) return;
    pthread_mutex_lock(&view->lock);
    view->stop = true;
    pthread_cond_signal(&view->wake);
    pthread_mutex_unlock(&view->lock);
    pthread_join(view->thread, NULL);
    pthread_cond_destroy(&view->wake);
    pthread_mutex_destroy(&view->lock);
    free(view);
}
