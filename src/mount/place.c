/* Where FUSE can be used, what is mounted at a folder, and ending it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "mount/mount.h"
#include "os/mounts.h"

extern char **environ;

#define DEVICE "/dev/fuse"
#define HELPER "fusermount3"

static bool helper_found(void) {
    const char *path = getenv("PATH");
    CF_AUTO_FREE char *places = cf_text_format("%s:/usr/bin:/bin", path ? path : "");
    char *rest = places;
    for (char *place; places && (place = strsep(&rest, ":"));) {
        CF_AUTO_FREE char *file = cf_text_format("%s/" HELPER, place);
        if (file && *place && access(file, X_OK) == 0) return true;
    }
    return false;
}

cf_err *cf_mount_possible(void) {
    CF_AUTO_FD int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        int err_no = errno;
        cf_err *err = cf_fail_errno(CF_ERR_FUSE_UNAVAILABLE, err_no, "%s cannot be opened", DEVICE);
        cf_err_set_reason(err, "device");
        return err;
    }
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISCHR(stat.st_mode) || stat.st_rdev != makedev(10, 229))
        return cf_fail_reason(CF_ERR_FUSE_UNAVAILABLE, "device", "%s is not the FUSE device", DEVICE);
    if (geteuid() != 0 && !helper_found())
        return cf_fail_reason(CF_ERR_FUSE_UNAVAILABLE, "fusermount", "an ordinary user needs the program " HELPER);
    return NULL;
}

/* The folder's path without links, though the folder itself may refuse every access: its parent is resolved. */
static cf_err *resolve(const char *folder, char **out) {
    CF_AUTO_FREE char *copy = strdup(folder);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    for (size_t size = strlen(copy); size > 1 && copy[size - 1] == '/'; size--) copy[size - 1] = 0;
    char *full = realpath(copy, NULL);
    if (full) {
        *out = full;
        return NULL;
    }
    int err_no = errno;
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    if (err_no == ENOENT || err_no == ENOTDIR || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return cf_fail_errno(err_no == ENOENT || err_no == ENOTDIR ? CF_ERR_NOT_FOUND : CF_ERR_IO, err_no, "%s",
                             folder);
    if (slash) *slash = 0;
    CF_AUTO_FREE char *above = realpath(slash ? (*copy ? copy : "/") : ".", NULL);
    if (!above) return cf_fail_errno(CF_ERR_IO, errno, "%s", folder);
    *out = cf_text_format("%s/%s", strcmp(above, "/") == 0 ? "" : above, name);
    return *out ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
}

cf_err *cf_mount_examine(const char *folder, cf_mount_state *state, char **path) {
    CF_AUTO_FREE char *full = NULL;
    CF_AUTO(cf_mounts) mounts = NULL;
    CF_TRY(resolve(folder, &full));
    CF_TRY(cf_mounts_read(&mounts));
    size_t count;
    const cf_mount *list = cf_mounts_all(mounts, &count);
    bool ours = false;
    for (size_t i = 0; i < count; i++) /* the last one at a folder is on top */
        if (strcmp(list[i].point, full) == 0) ours = strcmp(list[i].type, "fuse.coffer") == 0;
    struct statvfs stat; /* asks the process that serves it; the kernel has attributes even of the dead */
    *state = !ours ? CF_MOUNT_NONE : statvfs(full, &stat) != 0 && errno == ENOTCONN ? CF_MOUNT_STALE : CF_MOUNT_LIVE;
    *path = cf_take(full);
    return NULL;
}

static cf_err *busy(const char *path) {
    return cf_fail(CF_ERR_MOUNT_BUSY, "%s is in use", path);
}

static cf_err *remove_as_root(const char *path, bool force) {
    if (umount2(path, UMOUNT_NOFOLLOW | (force ? MNT_DETACH : 0)) == 0) return NULL;
    if (errno == EBUSY) return busy(path);
    return cf_fail_errno(CF_ERR_MOUNT_FAILED, errno, "%s cannot be unmounted", path);
}

/* It says why on standard error; the one who asks learns it from the state afterwards. */
static cf_err *run_helper(const char *path, bool force, int *status) {
    char *words[] = {(char[]){HELPER}, (char[]){"-q"}, (char[]){"-u"}, (char[]){"--"}, NULL, NULL};
    char lazy[] = "-uz";
    if (force) words[2] = lazy;
    CF_AUTO_FREE char *copy = strdup(path);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    words[4] = copy;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int result = posix_spawnp(&pid, HELPER, &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (result) return cf_fail_errno(CF_ERR_MOUNT_FAILED, result, "%s cannot be started", HELPER);
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR) return cf_fail_errno(CF_ERR_MOUNT_FAILED, errno, "%s", HELPER);
    return NULL;
}

cf_err *cf_mount_remove(const char *path, bool force) {
    if (geteuid() == 0) return remove_as_root(path, force);
    int status = 0;
    CF_TRY(run_helper(path, force, &status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return NULL;
    cf_mount_state state;
    CF_AUTO_FREE char *again = NULL;
    CF_TRY(cf_mount_examine(path, &state, &again));
    return state == CF_MOUNT_NONE ? NULL : busy(path);
}
