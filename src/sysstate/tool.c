/* Running a tool: found in the path, with a time limit, its output bounded. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/child.h"
#include "os/file.h"
#include "sysstate/internal.h"

static const char standard_path[] = "/usr/sbin:/usr/bin:/sbin:/bin";
enum { PATH_ROOM = 4096, READ_SIZE = 65536 };

void cf_collection_note(cf_collection *self, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cf_buf_printf(&self->notes, "%s\n", text);
    if (self->options->note) self->options->note(self->options->context, text);
}

static bool find_in(const char *path, const char *name, char out[PATH_ROOM]) {
    while (path && *path) {
        size_t size = strcspn(path, ":");
        bool fits = *path == '/' && snprintf(out, PATH_ROOM, "%.*s/%s", (int)size, path, name) < PATH_ROOM;
        if (fits && access(out, X_OK) == 0) return true;
        path += size + (path[size] == ':');
    }
    return false;
}

static bool find_tool(const cf_collection *self, const char *name, char out[PATH_ROOM]) {
    if (self->options->path) return find_in(self->options->path, name, out);
    return find_in(getenv("PATH"), name, out) || find_in(standard_path, name, out);
}

/* Everything until the end of the output. *why: a literal; NULL: all of it came. */
static cf_err *read_output(const cf_collection *self, int fd, uint64_t until_ms, cf_buf *out, const char **why) {
    cf_clock clock = cf_clock_system();
    for (*why = NULL;;) {
        CF_TRY(cf_cancel_check(self->options->cancel));
        uint64_t now = cf_clock_ms(&clock);
        if (now >= until_ms) {
            *why = "took too long";
            return NULL;
        }
        uint64_t wait = until_ms - now < 200 ? until_ms - now : 200; /* so that a cancel is noticed */
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, (int)wait) <= 0) continue;
        uint8_t *room = cf_buf_reserve(out, READ_SIZE);
        if (!room) {
            if (!out->too_large) return cf_buf_check(out, "a tool's output");
            *why = "printed too much";
            return NULL;
        }
        ssize_t got = read(fd, room, READ_SIZE);
        if (got > 0) out->size += (size_t)got;
        if (got == 0) return NULL;
        if (got < 0 && errno != EINTR && errno != EAGAIN) {
            *why = "could not be read";
            return NULL;
        }
    }
}

/* The child has closed its output, or is to go. */
static void finish(cf_child *child, uint64_t until_ms, const char **why, char status_text[64]) {
    cf_clock clock = cf_clock_system();
    int status = 0;
    uint64_t now = cf_clock_ms(&clock);
    if (!*why && !cf_child_wait(child, until_ms > now ? until_ms - now : 0, &status)) *why = "took too long";
    if (child->pid) {
        cf_child_signal(child, SIGKILL, true);
        (void)cf_child_wait(child, UINT64_MAX, &status); /* it was killed: the answer is known */
    }
    if (*why || status == 0) return;
    cf_child_text(status, status_text);
    *why = status_text;
}

static cf_err *run(cf_collection *self, const char *const *argv, cf_buf *out, const char **why, char status_text[64]) {
    static const char *const env[] = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return cf_fail_errno(CF_ERR_IO, errno, "a pipe");
    cf_child child = {.fd = -1};
    cf_child_options options = {.argv = argv, .env = env, .out = ends[1], .err = -1};
    cf_clock clock = cf_clock_system();
    uint64_t until = cf_clock_ms(&clock) + (self->options->tool_ms ? self->options->tool_ms : CF_SYSSTATE_TOOL_MS);
    cf_err *err = cf_child_start(&options, &child);
    close(ends[1]);
    if (err) {
        *why = "could not be started";
        cf_err_free(err);
        err = NULL;
    } else {
        err = read_output(self, ends[0], until, out, why);
        if (err) *why = "was not finished";
        finish(&child, until, why, status_text);
    }
    close(ends[0]);
    return err;
}

cf_err *cf_tool_run(cf_collection *self, const char *const *words, cf_buf *out, bool *ok) {
    char tool[PATH_ROOM], status_text[64];
    const char *argv[CF_TOOL_WORDS_MAX + 1] = {tool};
    *ok = false;
    cf_buf_reset(out);
    CF_TRY(cf_cancel_check(self->options->cancel));
    if (!find_tool(self, words[0], tool)) {
        cf_collection_note(self, "%s is not installed: what it tells is not recorded", words[0]);
        return NULL;
    }
    for (int i = 1; i < CF_TOOL_WORDS_MAX && words[i]; i++) argv[i] = words[i];
    const char *why = NULL;
    CF_TRY(run(self, argv, out, &why, status_text));
    *ok = why == NULL;
    if (why) cf_collection_note(self, "%s %s: %s", words[0], words[1] ? words[1] : "", why);
    return NULL;
}

cf_err *cf_tool_read(cf_collection *self, const char *path, cf_buf *out, bool *ok) {
    (void)self;
    cf_buf_reset(out);
    CF_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    *ok = false;
    while (fd >= 0) {
        uint8_t *room = cf_buf_reserve(out, READ_SIZE);
        if (!room) return out->too_large ? NULL : cf_buf_check(out, path);
        ssize_t got = read(fd, room, READ_SIZE);
        if (got < 0 && errno == EINTR) continue;
        *ok = got == 0;
        if (got <= 0) break;
        out->size += (size_t)got;
    }
    return NULL;
}
