#include "os/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fail.h"
#include "os/file.h"

/* Layout: byte MAIN is the lock itself. Each holder also takes one byte of the notes, exclusively, and
 * writes its line at the place of that number: so a line is true exactly as long as its byte is locked. */
enum { NOTES = 64, LINE_SIZE = 256 };
static const off_t MAIN = (off_t)1 << 40;

struct cf_lock {
    int fd;
};

static struct flock range(short type, off_t start, off_t size) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
}

static void write_note(int fd, const char *note, cf_time now) {
    char line[LINE_SIZE] = {0};
    int size = snprintf(line, sizeof line - 1, "%ld %lld %.*s", (long)getpid(), (long long)now.seconds,
                        CF_LOCK_NOTE_MAX, note);
    for (char *at = line; *at; at++)
        if (*at == '\n') *at = ' ';
    line[LINE_SIZE - 1] = '\n';
    for (int i = size; i < LINE_SIZE - 1; i++) line[i] = ' ';
    for (off_t slot = 0; slot < NOTES; slot++) {
        struct flock byte = range(F_WRLCK, MAIN + 1 + slot, 1);
        if (fcntl(fd, F_OFD_SETLK, &byte) < 0) continue;
        /* The note only helps people: a full disk must not cost us the lock. */
        cf_err_free(cf_file_write_at(fd, (uint64_t)slot * LINE_SIZE, cf_span_of(line, sizeof line), "a lock file"));
        return;
    }
}

static void parse_note(const char line[LINE_SIZE], cf_lock_holder *holder) {
    char text[LINE_SIZE];
    memcpy(text, line, LINE_SIZE);
    text[LINE_SIZE - 1] = 0;
    char *after = NULL;
    long pid = strtol(text, &after, 10);
    if (after == text || *after != ' ' || pid <= 0 || pid > INT32_MAX) return;
    char *since = after + 1;
    long long seconds = strtoll(since, &after, 10);
    if (after == since || *after != ' ') return;
    size_t size = strlen(after + 1);
    while (size > 0 && after[size] == ' ') size--;
    if (size > CF_LOCK_NOTE_MAX) size = CF_LOCK_NOTE_MAX;
    memcpy(holder->note, after + 1, size);
    holder->note[size] = 0;
    holder->pid = (pid_t)pid;
    holder->since = (cf_time){seconds, 0};
}

/* Who holds it now: the first line whose byte is locked. */
static cf_err *read_holder(int fd, const char *path, cf_lock_holder *holder) {
    cf_lock_holder found = {0};
    for (off_t slot = 0; slot < NOTES && found.pid == 0; slot++) {
        struct flock byte = range(F_WRLCK, MAIN + 1 + slot, 1);
        if (fcntl(fd, F_OFD_GETLK, &byte) < 0) return cf_os_fail(errno, "examine the lock", path);
        if (byte.l_type == F_UNLCK) continue;
        char line[LINE_SIZE];
        size_t got = 0;
        CF_TRY(cf_file_read_at(fd, (uint64_t)slot * LINE_SIZE, line, sizeof line, path, &got));
        if (got == sizeof line) parse_note(line, &found);
    }
    *holder = found;
    return NULL;
}

static cf_err *open_lock(int dirfd, const char *path, cf_lock **out) {
    cf_lock *lock = malloc(sizeof *lock);
    if (!lock) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a lock");
    do {
        lock->fd = openat(dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    } while (lock->fd < 0 && errno == EINTR);
    if (lock->fd < 0) {
        cf_err *err = cf_os_fail(errno, "open the lock", path);
        free(lock);
        return err;
    }
    *out = lock;
    return NULL;
}

static short type_of(cf_lock_kind kind) {
    return kind == CF_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
}

cf_err *cf_lock_try(int dirfd, const char *path, cf_lock_kind kind, const char *note, cf_time now, cf_lock **out,
                    cf_lock_holder *holder) {
    CF_AUTO(cf_lock) lock = NULL;
    CF_TRY(open_lock(dirfd, path, &lock));
    struct flock main_byte = range(type_of(kind), MAIN, 1);
    if (fcntl(lock->fd, F_OFD_SETLK, &main_byte) == 0) {
        write_note(lock->fd, note, now);
        *out = cf_take(lock);
        return NULL;
    }
    if (errno != EAGAIN && errno != EACCES) return cf_os_fail(errno, "take the lock", path);
    if (holder) CF_TRY(read_holder(lock->fd, path, holder));
    *out = NULL;
    return NULL;
}

cf_err *cf_lock_wait(int dirfd, const char *path, cf_lock_kind kind, const char *note, cf_time now, cf_lock **out) {
    CF_AUTO(cf_lock) lock = NULL;
    CF_TRY(open_lock(dirfd, path, &lock));
    struct flock main_byte = range(type_of(kind), MAIN, 1);
    if (fcntl(lock->fd, F_OFD_SETLKW, &main_byte) < 0) {
        if (errno == EINTR) return cf_fail(CF_ERR_CANCELLED, "while waiting for the lock %s", path);
        return cf_os_fail(errno, "take the lock", path);
    }
    write_note(lock->fd, note, now);
    *out = cf_take(lock);
    return NULL;
}

cf_err *cf_lock_peek(int dirfd, const char *path, bool *held, cf_lock_holder *holder) {
    CF_AUTO_FD int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT) return cf_os_fail(errno, "open the lock", path);
    *held = false;
    if (fd < 0) return NULL;
    struct flock main_byte = range(F_WRLCK, MAIN, 1);
    if (fcntl(fd, F_OFD_GETLK, &main_byte) < 0) return cf_os_fail(errno, "examine the lock", path);
    *held = main_byte.l_type != F_UNLCK;
    return *held && holder ? read_holder(fd, path, holder) : NULL;
}

void cf_lock_free(cf_lock *lock) {
    if (!lock) return;
    close(lock->fd); /* releases; nothing that must reach the disk */
    free(lock);
}
