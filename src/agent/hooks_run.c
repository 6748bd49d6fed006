#include "agent/hooks_run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "os/child.h"
#include "os/file.h"

enum {
    WORDS_MAX = 64,
    ENV_MAX = 20,
    OUTPUT_KEPT = 1500, /* bytes of what a command printed last, for the message */
    LOOK_MS = 200,      /* how soon cancelling is noticed */
    GRACE_MS = 5000,    /* between SIGTERM and SIGKILL */
};

/* ---- who may change it ----------------------------------------------------------------------------- */

/* In a folder with the sticky bit others cannot replace what is not theirs. */
static cf_err *check_one(const char *path, bool leaf) {
    struct stat info;
    if (lstat(path, &info) < 0) return cf_fail_reason(CF_ERR_HOOK_REFUSED, "missing", "%s: %s", path, strerror(errno));
    if (S_ISLNK(info.st_mode)) info.st_mode &= ~(mode_t)022; /* a link's own mode means nothing */
    bool others = (info.st_mode & 022) && (leaf || !S_ISDIR(info.st_mode) || !(info.st_mode & S_ISVTX));
    if (info.st_uid != 0 && info.st_uid != geteuid())
        return cf_fail_reason(CF_ERR_HOOK_REFUSED, "writable", "%s belongs to user %u, who could change it", path,
                              (unsigned)info.st_uid);
    if (others)
        return cf_fail_reason(CF_ERR_HOOK_REFUSED, "writable", "%s can be changed by others than root (mode %03o)",
                              path, (unsigned)info.st_mode & 07777);
    return NULL;
}

/* The path and every folder on the way to it. */
static cf_err *check_way(const char *path) {
    char part[PATH_MAX];
    if (strlen(path) >= sizeof part) return cf_fail_reason(CF_ERR_HOOK_REFUSED, "missing", "%s: too long", path);
    CF_TRY(check_one("/", false));
    for (const char *at = path + 1; *at; at++) {
        const char *slash = strchr(at, '/');
        size_t length = slash ? (size_t)(slash - path) : strlen(path);
        memcpy(part, path, length);
        part[length] = '\0';
        CF_TRY(check_one(part, !slash));
        if (!slash) break;
        at = slash;
    }
    return NULL;
}

cf_err *cf_hooks_check_file(const char *path) {
    if (path[0] != '/') return cf_fail_reason(CF_ERR_HOOK_REFUSED, "relative", "%s is no absolute path", path);
    CF_AUTO_FREE char *real = realpath(path, NULL);
    if (!real) return cf_fail_reason(CF_ERR_HOOK_REFUSED, "missing", "%s: %s", path, strerror(errno));
    CF_TRY(check_way(path));                                 /* who may turn a link around, and ... */
    return strcmp(path, real) == 0 ? NULL : check_way(real); /* ... who may change what it leads to */
}

/* ---- running one ------------------------------------------------------------------------------------ */

typedef struct command {
    char words[CF_CONFIG_TEXT_MAX];
    const char *argv[WORDS_MAX + 1];
    char *env[ENV_MAX + 1];
    size_t env_count;
    char output[OUTPUT_KEPT + 1]; /* the end of what it printed */
    size_t output_size;
    int pipe_fd;
    bool closed; /* it, and all that it started, closed their output */
    cf_child child;
} command;

static void command_wipe(command *one) {
    for (size_t i = 0; i < one->env_count; i++) free(one->env[i]);
    if (one->pipe_fd >= 0) close(one->pipe_fd);
}
#define AUTO_COMMAND __attribute__((cleanup(command_wipe)))

static cf_err *add_env(command *one, const char *name, const char *value) {
    if (one->env_count == ENV_MAX) return cf_fail(CF_ERR_INTERNAL, "too many variables for a hook");
    char *text = cf_text_format("%s=%s", name, value);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a hook");
    one->env[one->env_count++] = text;
    return NULL;
}

static cf_err *add_end(command *one, const cf_hooks_run *run, const cf_hooks_end *end) {
    char point[CF_HEX_SIZE(32)] = "", number[24];
    if (end->point_id) cf_hex_encode(end->point_id->bytes, 32, point);
    snprintf(number, sizeof number, "%llu", (unsigned long long)cf_job_warning_count(run->job));
    CF_TRY(add_env(one, "COFFER_STATUS", end->status));
    CF_TRY(add_env(one, "COFFER_POINT", point));
    CF_TRY(add_env(one, "COFFER_WARNINGS", number));
    snprintf(number, sizeof number, "%d", end->error ? (int)cf_err_code(end->error) : 0);
    return add_env(one, "COFFER_ERROR", number);
}

/* Nothing of our own environment: a hook finds the same by hand and by schedule. */
static cf_err *make_env(command *one, const cf_hooks_run *run, const cf_hook *hook, const cf_hooks_end *end) {
    char job[CF_HEX_SIZE(16)];
    cf_hex_encode(cf_job_id(run->job)->bytes, 16, job);
    CF_TRY(add_env(one, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    CF_TRY(add_env(one, "LANG", "C.UTF-8"));
    CF_TRY(add_env(one, "COFFER_HOOK", hook->name));
    CF_TRY(add_env(one, "COFFER_PHASE", end ? "post" : "pre"));
    CF_TRY(add_env(one, "COFFER_JOB", job));
    CF_TRY(add_env(one, "COFFER_JOB_TYPE", "backup"));
    CF_TRY(add_env(one, "COFFER_SERVER", run->server ? run->server : ""));
    CF_TRY(add_env(one, "COFFER_SCHEDULED", run->scheduled ? run->scheduled : ""));
    return end ? add_end(one, run, end) : NULL;
}

static cf_err *split_words(command *one, const char *text) {
    size_t count = 0;
    snprintf(one->words, sizeof one->words, "%s", text);
    char *rest = one->words;
    for (char *word; (word = strsep(&rest, " \t")) != NULL;) {
        if (!*word) continue;
        if (count == WORDS_MAX)
            return cf_fail_reason(CF_ERR_HOOK_FAILED, "start", "more than %d words: use a script", WORDS_MAX);
        one->argv[count++] = word;
    }
    return NULL;
}

/* Keeps the end of what it prints. */
static void read_output(command *one) {
    char piece[4096];
    for (;;) {
        ssize_t got = read(one->pipe_fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        one->closed = got == 0;
        if (got <= 0) return;
        size_t size = (size_t)got, keep = size < OUTPUT_KEPT ? size : (size_t)OUTPUT_KEPT;
        size_t old = one->output_size < OUTPUT_KEPT - keep ? one->output_size : OUTPUT_KEPT - keep;
        memmove(one->output, one->output + (one->output_size - old), old);
        memcpy(one->output + old, piece + (size - keep), keep);
        one->output_size = old + keep;
    }
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void end_now(command *one, int *status) {
    cf_child_signal(&one->child, SIGTERM, true);
    if (cf_child_wait(&one->child, GRACE_MS, status)) return;
    cf_child_signal(&one->child, SIGKILL, true);
    (void)cf_child_wait(&one->child, UINT64_MAX, status);
}

/* Waits for its end, its time limit, or (cancel not NULL) for being cancelled. */
static cf_err *watch(command *one, uint32_t timeout_s, cf_cancel *cancel, int *status) {
    uint64_t until = now_ms() + (uint64_t)timeout_s * 1000;
    while (!cf_child_poll(&one->child, status)) {
        if (cancel && cf_cancel_requested(cancel)) {
            end_now(one, status);
            return cf_cancel_check(cancel);
        }
        if (now_ms() >= until) {
            end_now(one, status);
            return cf_fail_reason(CF_ERR_HOOK_FAILED, "timeout", "ran longer than its limit of %u s", timeout_s);
        }
        struct pollfd fds[] = {{one->closed ? -1 : one->pipe_fd, POLLIN, 0}, {one->child.fd, POLLIN, 0}};
        (void)poll(fds, 2, LOOK_MS);
        if (!one->closed) read_output(one);
    }
    return NULL;
}

static cf_err *start(command *one) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return cf_fail_reason(CF_ERR_HOOK_FAILED, "start", "no pipe: %s", strerror(errno));
    one->pipe_fd = ends[0];
    /* The command's own end must block as usual. */
    (void)fcntl(ends[1], F_SETFL, 0);
    cf_child_options options = {
        .argv = one->argv, .env = (const char *const *)one->env, .out = ends[1], .err = ends[1]};
    CF_AUTO(cf_err) why = cf_child_start(&options, &one->child);
    close(ends[1]);
    return why ? cf_fail_reason(CF_ERR_HOOK_FAILED, "start", "%s", cf_err_message(why)) : NULL;
}

static cf_err *judge(command *one, int status) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return NULL;
    char how[64];
    cf_child_text(status, how);
    while (one->output_size && one->output[one->output_size - 1] == '\n') one->output_size--;
    for (size_t i = 0; i < one->output_size; i++)
        if (one->output[i] == '\n' || one->output[i] == '\t') one->output[i] = ' ';
    CF_AUTO_FREE char *said = cf_text_printable(cf_span_of(one->output, one->output_size));
    return cf_fail_reason(CF_ERR_HOOK_FAILED, "exit", "%s%s%s", how, said && *said ? "; it said: " : "",
                          said ? said : "");
}

static cf_err *run_command(const cf_hooks_run *run, const cf_hook *hook, const cf_hooks_end *end) {
    AUTO_COMMAND command one = {.pipe_fd = -1, .child = {0, -1}};
    int status = 0;
    CF_TRY(split_words(&one, end ? hook->post : hook->pre));
    CF_TRY(cf_hooks_check_file(one.argv[0]));
    CF_TRY(cf_hooks_check_file(run->config_path));
    CF_TRY(make_env(&one, run, hook, end));
    cf_log(CF_LOG_INFO, "hook %s (%s): %s", hook->name, end ? "post" : "pre", one.argv[0]);
    CF_TRY(start(&one));
    cf_err *err = watch(&one, hook->timeout_s, end ? NULL : run->cancel, &status);
    read_output(&one);
    return err ? err : judge(&one, status);
}

/* ---- what a failure means --------------------------------------------------------------------------- */

static cf_err *settle(const cf_hooks_run *run, const cf_hook *hook, const char *text, cf_err *err) {
    if (!err || cf_err_is(err, CF_ERR_CANCELLED)) return err;
    err = cf_note(err, "hook %s: %s", hook->name, text);
    if (hook->on_failure == CF_HOOK_FAIL) return err;
    if (hook->on_failure == CF_HOOK_WARNING)
        cf_job_warning(run->job, cf_span_text(text), err);
    else
        cf_log_error(CF_LOG_INFO, err);
    cf_err_free(err);
    return NULL;
}

static const cf_hook *find(const cf_hooks_run *run, size_t number) {
    return cf_config_hook(run->config, run->names->item[number]);
}

/* The vault's side can name what is not defined here: that must not keep the server from being backed up. */
static void warn_unknown(const cf_hooks_run *run, const char *name) {
    CF_AUTO(cf_err)
    err = cf_fail_reason(CF_ERR_HOOK_REFUSED, "unknown",
                         "the policy names the hook %s, which agent.conf does not define", name);
    cf_job_warning(run->job, cf_span_text(name), err);
}

cf_err *cf_hooks_before(cf_hooks_run *run) {
    for (size_t i = 0; run->names && i < run->names->count; i++) {
        const cf_hook *hook = find(run, i);
        run->begun = i + 1;
        if (!hook) warn_unknown(run, run->names->item[i]);
        if (hook && *hook->pre) CF_TRY(settle(run, hook, hook->pre, run_command(run, hook, NULL)));
    }
    return NULL;
}

cf_err *cf_hooks_after(cf_hooks_run *run, const cf_hooks_end *end) {
    cf_err *first = NULL;
    while (run->begun > 0) {
        const cf_hook *hook = find(run, --run->begun);
        if (!hook || !*hook->post) continue;
        cf_err *err = settle(run, hook, hook->post, run_command(run, hook, end));
        if (!first)
            first = err;
        else
            cf_err_free(err);
    }
    return first;
}
