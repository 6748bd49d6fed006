/* coffer mount: recovery points as read-only folders. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/leases.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "mount/mount.h"
#include "os/dir.h"

struct mount_options {
    cf_server_options server;
    const char *idle, *patience;
    bool all, foreground;
};

static const cf_option options[] = {
    CF_OPTION_FLAG(struct mount_options, all, "all", "all recovery points, a folder each, named by their time"),
    CF_OPTION_TEXT(struct mount_options, idle, "idle", "TIME",
                   "unmount after this time without use: 90s, 30m, 6h (when not given), 2d, or never"),
    CF_OPTION_TEXT(struct mount_options, patience, "patience", "TIME",
                   "how long a program waits for a vault that is away before it gets an error: 30s (when not given)"),
    CF_OPTION_FLAG(struct mount_options, foreground, "foreground", "serve it from here; Ctrl-C unmounts"),
    CF_OPTIONS_SERVER(struct mount_options, server),
    CF_OPTION_END};

struct mounting {
    cf_cli *cli;
    const struct mount_options *options;
    const char *point; /* as given; NULL: all */
    char *folder;      /* as the list of mounts has it */
    uint64_t idle_ms, patience_ms;
    int ready_fd; /* of the process that waits; -1: none does */
    cf_reading reading;
    cf_reader *reader;
    cf_point_row *rows;
    size_t count;
    cf_leases *leases;
    cf_job *job;
    cf_progress progress;
    FILE *log;
};

/* ---- What was asked for ---- */

static cf_err *parse_time(const cf_cli *cli, const char *option, const char *text, uint64_t *ms) {
    static const struct {
        char letter;
        uint64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    if (!text) return NULL;
    size_t size = strlen(text);
    for (size_t i = 0; i < sizeof units / sizeof *units && size > 1; i++) {
        CF_AUTO_FREE char *number = strndup(text, size - 1);
        uint64_t count;
        if (text[size - 1] != units[i].letter || !number || !cf_text_parse_u64(number, 1000000, &count) || count == 0)
            continue;
        *ms = count * units[i].ms;
        return NULL;
    }
    return cf_cli_usage(cli, "--%s %s: a time like 90s, 30m, 6h or 2d is expected", option, text);
}

static cf_err *parse_times(const struct mount_options *opt, struct mounting *mounting) {
    mounting->idle_ms = 6 * 3600000ull;
    mounting->patience_ms = CF_RETRY_PERSON_MS;
    CF_TRY(parse_time(mounting->cli, "patience", opt->patience, &mounting->patience_ms));
    if (!opt->idle || strcmp(opt->idle, "never") != 0)
        return parse_time(mounting->cli, "idle", opt->idle, &mounting->idle_ms);
    mounting->idle_ms = 0;
    return NULL;
}

/* Nothing of the person's must be hidden below the mount. */
static cf_err *check_empty(const char *folder) {
    struct stat stat;
    bool empty = false;
    if (lstat(folder, &stat) != 0) return cf_fail_errno(CF_ERR_MOUNT_FAILED, errno, "%s", folder);
    if (!S_ISDIR(stat.st_mode)) return cf_fail(CF_ERR_MOUNT_FAILED, "%s is not a folder", folder);
    CF_AUTO_FD int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_fail_errno(CF_ERR_MOUNT_FAILED, errno, "%s", folder);
    CF_TRY(cf_dir_empty(fd, folder, &empty));
    return empty ? NULL : cf_fail(CF_ERR_MOUNT_FAILED, "%s is not empty: what is in it would be hidden", folder);
}

static cf_err *check_folder(const char *given, char **folder) {
    cf_mount_state state;
    CF_AUTO_FREE char *path = NULL;
    CF_TRY(cf_mount_examine(given, &state, &path));
    if (state == CF_MOUNT_LIVE)
        return cf_fail_reason(CF_ERR_MOUNT_IN_THE_WAY, "live", "recovery points are mounted at %s", path);
    if (state == CF_MOUNT_STALE)
        return cf_fail_reason(
            CF_ERR_MOUNT_IN_THE_WAY, "stale",
            "the mount at %s was left behind by a process that was killed; coffer unmount %s takes it away", path,
            path);
    CF_TRY(check_empty(path));
    *folder = cf_take(path);
    return NULL;
}

/* What does the same without a mount, for this very point. */
static cf_err *check_possible(const struct mount_options *opt, const char *point) {
    CF_AUTO(cf_err) err = cf_mount_possible();
    if (!err) return NULL;
    const char *name = opt->server.server;
    CF_AUTO_FREE char *server = name ? cf_text_format(" --server %s", name) : strdup("");
    if (!point) point = "latest";
    cf_err *told =
        cf_fail_reason(cf_err_code(err), cf_err_reason(err),
                       "%s. Without a mount: 'coffer ls %s /%s' lists what is there, 'coffer restore %s PATH "
                       "--to DIR%s' gets it back%s",
                       cf_err_message(err), point, server ? server : "", point, server ? server : "",
                       opt->all ? ", and 'coffer points' lists the recovery points" : "");
    return told;
}

/* ---- Points and leases ---- */

static cf_err *cover(struct mounting *mounting, const cf_point_row *rows, size_t count) {
    CF_AUTO_FREE cf_id32 *ids = malloc(count * sizeof *ids + 1);
    if (!ids) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a list of recovery points");
    for (size_t i = 0; i < count; i++) ids[i] = rows[i].id;
    if (mounting->leases) return cf_leases_cover(mounting->leases, ids, count);
    return cf_leases_take(mounting->reading.access->remote, "mount", ids, count, &mounting->leases);
}

static cf_err *choose_points(struct mounting *mounting) {
    cf_reading *reading = &mounting->reading;
    mounting->rows = reading->rows;
    mounting->count = reading->row_count;
    if (!mounting->point) {
        if (mounting->count == 0) return cf_fail(CF_ERR_POINT_NOT_FOUND, "there is no recovery point yet");
        return NULL;
    }
    size_t index = 0;
    CF_TRY(cf_reader_point_find(reading->rows, reading->row_count, mounting->point, &index));
    mounting->rows = &reading->rows[index];
    mounting->count = 1;
    /* Opened once before the folder changes its face: a damaged point is an error of this command. */
    CF_AUTO(cf_point) point = NULL;
    return cf_reader_point_listed(mounting->reader, mounting->rows, &point);
}

static cf_err *on_list(void *context, cf_point_row **rows, size_t *count) {
    struct mounting *mounting = context;
    CF_TRY(cf_reader_points(mounting->reader, rows, count));
    cf_err *err = cover(mounting, *rows, *count);
    if (err) free(cf_take(*rows));
    return err;
}

static void on_failed(void *context, cf_span path, const cf_err *err) {
    struct mounting *mounting = context;
    CF_AUTO_FREE char *printable = cf_text_printable(path);
    cf_err *named = cf_wrap_reason(cf_fail_reason(cf_err_code(err), cf_err_reason(err), "%s", cf_err_message(err)),
                                   cf_err_code(err), cf_err_reason(err), "%s: %s", printable ? printable : "?",
                                   cf_err_message(err));
    cf_log_error(CF_LOG_WARNING, named);
    cf_err_free(named);
    cf_job_warning(mounting->job, path, err);
}

/* ---- Into the background ---- */

/* The parent waits until the mount is ready or has failed; the child has said everything. Returns in the child; in the
 * parent only when the child did not come about. */
static cf_err *go_behind(struct mounting *mounting) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, errno, "no pipe");
    pid_t pid = fork();
    if (pid < 0) {
        int err_no = errno;
        close(ends[0]);
        close(ends[1]);
        return cf_fail_errno(CF_ERR_OUT_OF_MEMORY, err_no, "no process for the mount");
    }
    close(ends[pid == 0 ? 0 : 1]);
    if (pid == 0) {
        mounting->ready_fd = ends[1];
        return NULL;
    }
    char byte;
    ssize_t got;
    do got = read(ends[0], &byte, 1);
    while (got < 0 && errno == EINTR); /* Ctrl-C reaches the child as well */
    int status = 0;
    if (got == 1) _exit(CF_EXIT_DONE);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : CF_EXIT_FAILED);
}

/* The terminal and the working folder are given back to whoever started us. */
static cf_err *let_go(struct mounting *mounting) {
    if (mounting->ready_fd < 0) return NULL;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return cf_fail_errno(CF_ERR_IO, errno, "/dev/null");
    for (int fd = 0; fd <= 2; fd++) (void)dup2(null, fd);
    close(null);
    (void)setsid();
    if (chdir("/") != 0) return cf_fail_errno(CF_ERR_IO, errno, "/");
    if (mounting->log) cf_log_setup(mounting->log, CF_LOG_INFO);
    ssize_t sent = write(mounting->ready_fd, "", 1); /* nobody waits any more: as good */
    (void)sent;
    close(mounting->ready_fd);
    mounting->ready_fd = -1;
    return NULL;
}

static cf_err *open_log(struct mounting *mounting) {
    if (mounting->ready_fd < 0) return NULL;
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(cf_job_id(mounting->job)->bytes, 16, hex);
    CF_AUTO_FREE char *path =
        cf_text_format("%s/logs/mount-%s.log", cf_state_folder(mounting->reading.agent.state), hex);
    mounting->log = path ? fopen(path, "we") : NULL;
    if (!mounting->log) return cf_fail_errno(CF_ERR_IO, errno, "%s", path ? path : "the log");
    setvbuf(mounting->log, NULL, _IOLBF, 0);
    return NULL;
}

static cf_err *announce(struct mounting *mounting) {
    const cf_cli *cli = mounting->cli;
    char job[CF_HEX_SIZE(16)];
    cf_hex_encode(cf_job_id(mounting->job)->bytes, 16, job);
    if (cli->json)
        return cf_output_json(json_pack("{s:s, s:o, s:s, s:o, s:I, s:i}", "type", "mounted", "folder",
                                        cf_json_text(cf_span_text(mounting->folder)), "job_id", job, "point_id",
                                        mounting->point ? cf_json_hex(mounting->rows->id.bytes, 32) : json_null(),
                                        "points", (json_int_t)mounting->count, "pid", (int)getpid()));
    if (cli->quiet) return NULL;
    char when[40], id[CF_HEX_SIZE(32)];
    cf_time_local((cf_time){(int64_t)mounting->rows->summary.started, 0}, when);
    cf_hex_encode(mounting->rows->id.bytes, 32, id);
    if (mounting->point)
        printf("recovery point %.12s of %s is mounted on %s\n", id, when, mounting->folder);
    else
        printf("%zu recovery points are mounted on %s\n", mounting->count, mounting->folder);
    printf("coffer unmount %s takes it away\n", mounting->folder);
    return cf_output_finish();
}

static cf_err *on_ready(void *context) {
    struct mounting *mounting = context;
    CF_TRY(announce(mounting));
    return let_go(mounting);
}

/* ---- The job ---- */

static cf_err *serve(struct mounting *mounting, cf_mount_end *end) {
    cf_mount_options what = {.reader = mounting->reader,
                             .rows = mounting->rows,
                             .count = mounting->count,
                             .all = !mounting->point,
                             .folder = mounting->folder,
                             .server = mounting->reading.access->server_name,
                             .idle_ms = mounting->idle_ms,
                             .clock = cf_clock_system(),
                             .cancel = mounting->cli->cancel,
                             .ready = on_ready,
                             .list = mounting->point ? NULL : on_list,
                             .failed = on_failed,
                             .context = mounting};
    return cf_mount_run(&what, end);
}

static cf_err *summary(const struct mounting *mounting, const char *status, cf_mount_end end, double seconds) {
    static const char *const words[] = {"unmounted", "idle", "stopped"};
    if (!mounting->cli->json || mounting->log) return NULL; /* in the background nobody reads it */
    return cf_output_json(json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:f}", "type", "summary", "job_id",
                                    cf_json_hex(cf_job_id(mounting->job)->bytes, 16), "status", status, "ended",
                                    words[end], "bytes_fetched", (json_int_t)cf_reader_fetched(mounting->reader),
                                    "warnings", (json_int_t)cf_job_warning_count(mounting->job), "seconds", seconds));
}

static cf_err *run_job(struct mounting *mounting) {
    cf_reading *reading = &mounting->reading;
    cf_job_options job_options = {.type = "mount",
                                  .lock = CF_STATE_LOCK_SHARED,
                                  .remote = reading->access->own ? reading->access->remote : NULL,
                                  .progress = &mounting->progress,
                                  .cancel = NULL}; /* being stopped is how a mount ends */
    cf_clock clock = cf_clock_system();
    uint64_t started = cf_clock_ms(&clock);
    cf_mount_end end = CF_MOUNT_UNMOUNTED;
    const char *status;
    CF_TRY(cf_job_start(reading->agent.state, &job_options, &mounting->job));
    cf_err *err = open_log(mounting);
    if (!err) err = cover(mounting, mounting->rows, mounting->count);
    if (!err) err = serve(mounting, &end);
    cf_progress_moved(&mounting->progress, cf_reader_fetched(mounting->reader));
    cf_leases_free(cf_take(mounting->leases));
    cf_err *second = cf_job_end(mounting->job, err, mounting->point ? &mounting->rows->id : NULL, &status);
    if (!err) {
        err = second;
    } else if (second) {
        cf_log_error(CF_LOG_WARNING, second);
        cf_err_free(second);
    }
    return err ? err : summary(mounting, status, end, (double)(cf_clock_ms(&clock) - started) / 1000.0);
}

static cf_err *mount(struct mounting *mounting) {
    /* Many threads, one bound of memory: few arenas. */
    mallopt(M_ARENA_MAX, 2);
    cf_reading *reading = &mounting->reading;
    CF_TRY(cf_reading_open(mounting->cli, &mounting->options->server, mounting->patience_ms, reading));
    CF_TRY(cf_reader_open(reading->source, reading->access->keys, &reading->access->server_id, CF_MOUNT_CACHE,
                          &mounting->reader));
    CF_TRY(choose_points(mounting));
    return run_job(mounting);
}

static void mounting_wipe(struct mounting *mounting) {
    cf_leases_free(mounting->leases);
    cf_job_free(mounting->job);
    cf_reader_close(mounting->reader);
    cf_reading_close(&mounting->reading);
    cf_progress_wipe(&mounting->progress);
    if (mounting->log) {
        cf_log_setup(stderr, CF_LOG_WARNING);
        fclose(mounting->log);
    }
    free(mounting->folder);
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct mount_options *opt = given;
    if (arguments->count != (opt->all ? 1 : 2))
        return cf_cli_usage(cli, opt->all ? "with --all only the folder is named"
                                          : "a recovery point and a folder are expected");
    struct mounting mounting = {
        .cli = cli, .options = opt, .point = opt->all ? NULL : arguments->item[0], .ready_fd = -1};
    cf_err *err = parse_times(opt, &mounting);
    if (!err) err = check_possible(opt, mounting.point);
    if (!err) err = check_folder(arguments->item[arguments->count - 1], &mounting.folder);
    if (!err && !opt->foreground) err = go_behind(&mounting); /* before anything is open and any thread runs */
    cf_progress_init(&mounting.progress);
    if (!err) err = mount(&mounting);
    mounting_wipe(&mounting);
    return err;
}

const cf_command cf_cmd_mount = {
    .name = "mount",
    .arguments = "POINT DIR | --all DIR",
    .summary = "show recovery points as folders, read-only",
    .description =
        "Returns when the mount is ready; a process in the background serves it until coffer unmount DIR, or until\n"
        "nobody has used it for some hours. POINT: as for restore. Backups go on meanwhile.\n",
    .examples =
        "coffer mount latest /mnt\ncoffer mount --all /mnt --idle 2d\ncp -a /mnt/etc/nginx /tmp/; coffer unmount /mnt\n",
    .options = options,
    .options_size = sizeof(struct mount_options),
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run,
};
