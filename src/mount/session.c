/* The session with the kernel: threads that answer, and one that watches for idleness and for being asked to stop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "mount/fs.h"

enum {
    TICK_MS = 500,
    REFRESH_S = 60,
    REFRESH_LEAST_S = 2,
    STACK_BYTES = 1 << 20,
    WAKE = SIGUSR1,
    READ_AHEAD_KIB = 1024
};

struct session {
    cf_fs *fs;
    const cf_mount_options *options;
    struct fuse_session *fuse;
    bool mounted;
    pthread_t threads[CF_MOUNT_THREADS], refresher;
    unsigned thread_count;
    bool refreshing;
    int ended[2]; /* a pipe: a byte of each thread that ended */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, looked;
};

static const struct fuse_lowlevel_ops *operations(void);

static void on_init(void *context, struct fuse_conn_info *connection) {
    cf_fs *fs = context;
    connection->want &=
        ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_AUTO_INVAL_DATA |
                    FUSE_CAP_EXPLICIT_INVAL_DATA |
                    FUSE_CAP_READDIRPLUS_AUTO); /* attributes with each name: nobody has to ask for them one by one */
    connection->want |= connection->capable & FUSE_CAP_CACHE_SYMLINKS;
    fs->no_open = connection->capable & FUSE_CAP_NO_OPEN_SUPPORT;
    /* The folder of points changes: the kernel has to ask before it shows what it keeps. */
    fs->no_opendir = !fs->options->all && connection->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
    connection->max_background = 32;
    connection->congestion_threshold = 24;
    connection->time_gran = 1;
}

static const struct fuse_lowlevel_ops *operations(void) {
    static const struct fuse_lowlevel_ops ops = {
        .init = on_init,
        .lookup = cf_op_lookup,
        .getattr = cf_op_getattr,
        .readlink = cf_op_readlink,
        .open = cf_op_open,
        .read = cf_op_read,
        .lseek = cf_op_lseek,
        .opendir = cf_op_opendir,
        .readdir = cf_op_readdir,
        .readdirplus = cf_op_readdirplus,
        .statfs = cf_op_statfs,
        .getxattr = cf_op_getxattr,
        .listxattr = cf_op_listxattr,
    };
    return &ops;
}

static void on_fuse_log(enum fuse_log_level level, const char *format, va_list args) {
    CF_AUTO_FREE char *text = cf_text_vformat(format, args);
    if (!text) return;
    for (char *end = text + strlen(text); end > text && end[-1] == '\n';) *--end = 0;
    cf_log(level <= FUSE_LOG_ERR ? CF_LOG_WARNING : CF_LOG_DEBUG, "libfuse: %s", text);
}

/* ---- Mounting ---- */

/* A server's name may hold what mount options use. */
static char *mount_options(const char *server) {
    char *options = cf_text_format("ro,nosuid,nodev,noatime,subtype=coffer,fsname=coffer:%s", server);
    for (char *at = options ? strstr(options, "fsname=") + 7 : NULL; at && *at; at++)
        if (*at == ',' || *at == '\\' || *at == '"' || (unsigned char)*at <= ' ') *at = '_';
    return options;
}

static cf_err *mount_it(struct session *session) {
    CF_AUTO_FREE char *options = mount_options(session->options->server);
    if (!options) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a mount");
    char *words[] = {(char[]){"coffer"}, (char[]){"-o"}, options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    session->fuse = fuse_session_new(&args, operations(), sizeof *operations(), session->fs);
    fuse_opt_free_args(&args);
    if (!session->fuse) return cf_fail(CF_ERR_MOUNT_FAILED, "libfuse gives no session");
    if (fuse_session_mount(session->fuse, session->options->folder) != 0)
        return cf_fail_errno(CF_ERR_MOUNT_FAILED, errno, "%s cannot be mounted on", session->options->folder);
    session->mounted = true;
    return NULL;
}

/* Only root may, and it is no loss without: the threads that read ahead do most of it. */
static void widen_read_ahead(const char *folder) {
    struct stat stat;
    char path[80];
    if (lstat(folder, &stat) != 0) return;
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(stat.st_dev), minor(stat.st_dev));
    CF_AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) (void)!dprintf(fd, "%d\n", READ_AHEAD_KIB);
}

/* Gone already (fusermount3 -u) is fine. Busy: it is taken out of the folder tree, and ends with its last user. */
static void unmount_it(struct session *session) {
    if (!session->mounted) return;
    session->mounted = false;
    fuse_session_unmount(session->fuse);
}

/* ---- Threads ---- */

static void *answer(void *context) {
    struct session *session = context;
    struct fuse_buf buffer = {0};
    while (!fuse_session_exited(session->fuse)) {
        int got = fuse_session_receive_buf(session->fuse, &buffer);
        if (got > 0)
            fuse_session_process_buf(session->fuse, &buffer);
        else if (got != -EINTR && got != -EAGAIN)
            break;
    }
    free(buffer.mem);
    fuse_session_exit(session->fuse);
    (void)!write(session->ended[1], "", 1); /* the pipe has room for as many bytes as there are threads */
    return NULL;
}

static void on_wake(int number) {
    (void)number; /* its work is to end a read */
}

static cf_err *start_threads(struct session *session) {
    struct sigaction action = {.sa_handler = on_wake};
    sigemptyset(&action.sa_mask);
    sigaction(WAKE, &action, NULL);
    sigset_t mine, before; /* signals are for the thread that watches */
    sigemptyset(&mine);
    sigaddset(&mine, SIGTERM);
    sigaddset(&mine, SIGINT);
    pthread_sigmask(SIG_BLOCK, &mine, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (session->thread_count < CF_MOUNT_THREADS &&
           pthread_create(&session->threads[session->thread_count], &attributes, answer, session) == 0)
        session->thread_count++;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return session->thread_count ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no thread for a mount can be started");
}

/* A thread that waits for the kernel is woken by a signal; it may be about to wait, so more than once. */
static void join_threads(struct session *session) {
    fuse_session_exit(session->fuse);
    for (unsigned i = 0; i < session->thread_count; i++) {
        for (;;) {
            struct timespec until;
            pthread_kill(session->threads[i], WAKE);
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 20000000;
            if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
            }
            if (pthread_timedjoin_np(session->threads[i], NULL, &until) == 0) break;
        }
    }
}

/* ---- New points ---- */

static void refresh(struct session *session) {
    CF_AUTO_FREE cf_point_row *rows = NULL;
    size_t count = 0;
    bool changed = false;
    cf_err *err = session->options->list(session->options->context, &rows, &count);
    if (!err) err = cf_points_update(session->fs->points, rows, count, &changed);
    if (err) {
        cf_log(CF_LOG_INFO, "the list of recovery points could not be read again: %s", cf_err_message(err));
        cf_err_free(err);
    }
    if (!changed) return;
    /* Kernels that know nothing of the folder yet refuse: nothing is lost. */
    (void)fuse_lowlevel_notify_inval_inode(session->fuse, FUSE_ROOT_ID, 0, 0);
    (void)fuse_lowlevel_notify_inval_inode(session->fuse, CF_INODE_LATEST, 0, 0);
}

static void on_look(void *context) {
    struct session *session = context;
    pthread_mutex_lock(&session->lock);
    session->looked = true;
    pthread_cond_signal(&session->wake);
    pthread_mutex_unlock(&session->lock);
}

/* Until somebody looks at the folder of points, and at most for so many seconds. With the lock held. */
static void wait_for_look(struct session *session, int seconds, bool also_looks) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    int result = 0;
    while (!session->stopping && !(also_looks && session->looked) && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&session->wake, &session->lock, &until);
}

static void *run_refresher(void *context) {
    struct session *session = context;
    uint64_t seen = atomic_load(&session->fs->used_ms);
    pthread_mutex_lock(&session->lock);
    while (!session->stopping) {
        wait_for_look(session, REFRESH_LEAST_S, false);
        wait_for_look(session, REFRESH_S, true);
        uint64_t used = atomic_load(&session->fs->used_ms);
        if (session->stopping || used == seen) continue; /* nobody is there */
        seen = used;
        session->looked = false;
        pthread_mutex_unlock(&session->lock);
        refresh(session);
        pthread_mutex_lock(&session->lock);
    }
    pthread_mutex_unlock(&session->lock);
    return NULL;
}

static void start_refresher(struct session *session) {
    if (!session->options->list) return;
    session->fs->look_context = session;
    session->fs->look = on_look;
    session->refreshing = pthread_create(&session->refresher, NULL, run_refresher, session) == 0;
}

static void stop_refresher(struct session *session) {
    if (!session->refreshing) return;
    pthread_mutex_lock(&session->lock);
    session->stopping = true;
    pthread_cond_signal(&session->wake);
    pthread_mutex_unlock(&session->lock);
    pthread_join(session->refresher, NULL);
    session->refreshing = false;
}

/* ---- Watching ---- */

/* Is it time to go, and does the kernel agree? Somebody who only reads what the kernel keeps is not seen here, but has a
 * file or a folder open: then it is busy, and the time begins again. */
static bool idle_over(struct session *session) {
    const cf_mount_options *options = session->options;
    uint64_t now = cf_clock_ms(&options->clock), used = atomic_load(&session->fs->used_ms);
    if (options->idle_ms == 0 || now < used || now - used < options->idle_ms) return false;
    cf_err *busy = cf_mount_remove(options->folder, false);
    if (!busy) return true;
    cf_log(CF_LOG_DEBUG, "idle, but still in use: %s", cf_err_message(busy));
    cf_err_free(busy);
    atomic_store(&session->fs->used_ms, now);
    return false;
}

static cf_mount_end watch(struct session *session) {
    for (;;) {
        struct pollfd ended = {.fd = session->ended[0], .events = POLLIN};
        (void)poll(&ended, 1, TICK_MS); /* a signal ends it, too */
        if (cf_cancel_requested(session->options->cancel)) return CF_MOUNT_CANCELLED;
        if (ended.revents || fuse_session_exited(session->fuse)) return CF_MOUNT_UNMOUNTED;
        if (idle_over(session)) return CF_MOUNT_IDLE;
    }
}

static cf_err *serve(struct session *session, cf_mount_end *end) {
    const cf_mount_options *options = session->options;
    CF_TRY(mount_it(session));
    start_refresher(session);
    CF_TRY(cf_fs_push_start(session->fs, session->fuse));
    CF_TRY(start_threads(session));
    widen_read_ahead(options->folder);
    CF_TRY(options->ready(options->context));
    *end = watch(session);
    return NULL;
}

static void session_init(struct session *session, const cf_mount_options *options) {
    *session = (struct session){.options = options, .ended = {-1, -1}};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&session->lock, NULL);
    pthread_cond_init(&session->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

cf_err *cf_mount_run(const cf_mount_options *options, cf_mount_end *end) {
    struct session session;
    session_init(&session, options);
    fuse_set_log_func(on_fuse_log);
    cf_err *err = cf_fs_new(options, &session.fs);
    if (!err && pipe2(session.ended, O_CLOEXEC) != 0)
        err = cf_fail_errno(CF_ERR_OUT_OF_MEMORY, errno, "no pipe for a mount");
    cf_mount_end how = CF_MOUNT_UNMOUNTED;
    if (!err) err = serve(&session, &how);
    stop_refresher(&session);
    if (session.fs) cf_fs_push_stop(session.fs); /* while requests are still answered */
    if (session.fuse) {
        join_threads(&session); /* first: unmounting closes what they answer on */
        unmount_it(&session);
        fuse_session_destroy(session.fuse);
    }
    for (int i = 0; i < 2; i++)
        if (session.ended[i] >= 0) close(session.ended[i]);
    cf_fs_free(session.fs);
    pthread_cond_destroy(&session.wake);
    pthread_mutex_destroy(&session.lock);
    if (!err) *end = how;
    return err;
}
