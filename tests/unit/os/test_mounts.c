#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/text.h"
#include "folder.h"
#include "os/fail.h"
#include "os/mounts.h"
#include "os/process.h"

#include <errno.h>

static void the_mounts_of_this_system_are_understood(void **state) {
    folder *in = *state;
    CF_AUTO(cf_mounts) mounts = NULL;
    assert_ok(cf_mounts_read(&mounts));
    size_t count = 0;
    const cf_mount *list = cf_mounts_all(mounts, &count);
    assert_true(count > 1);
    for (size_t i = 0; i < count; i++) assert_true(list[i].point[0] == '/' && list[i].type[0]);
    cf_stat stat;
    assert_ok(cf_os_stat(AT_FDCWD, "/proc", &stat));
    assert_true(stat.mount_root);
    const cf_mount *proc = cf_mounts_find(mounts, &stat);
    assert_non_null(proc);
    assert_string_equal(proc->type, "proc");
    assert_string_equal(proc->point, "/proc");
    assert_int_equal(proc->kind, CF_FS_PSEUDO);
    stat.mount_id = 0; /* a kernel that does not tell: by device */
    assert_ptr_equal(cf_mounts_find(mounts, &stat), proc);
    assert_ok(cf_os_stat(in->fd, "", &stat));
    bool whole = false; /* in a changed root that is no mount point itself, what holds it is not listed */
    for (size_t i = 0; i < count; i++) whole = whole || strcmp(list[i].point, "/") == 0;
    if (whole) assert_non_null(cf_mounts_find(mounts, &stat));
    cf_fs_kind kind;
    const char *type = NULL;
    CF_AUTO_FD int fd = open("/proc", O_RDONLY | O_CLOEXEC);
    assert_ok(cf_fs_kind_of(fd, "/proc", &kind, &type));
    assert_int_equal(kind, CF_FS_PSEUDO);
    assert_string_equal(type, "proc");
}

static void kinds_by_name(void **state) {
    (void)state;
    static const struct {
        const char *type;
        cf_fs_kind kind;
    } rows[] = {
        {"ext3", CF_FS_LOCAL},         {"fuseblk", CF_FS_LOCAL},      {"devtmpfs", CF_FS_PSEUDO},
        {"cgroup2", CF_FS_PSEUDO},     {"nfs4", CF_FS_NETWORK},       {"fuse.x", CF_FS_FUSE},
        {"fuse", CF_FS_FUSE},          {"fuse.sshfs", CF_FS_NETWORK}, {"tmpfs", CF_FS_MEMORY},
        {"overlay", CF_FS_OVERLAY},    {"autofs", CF_FS_PSEUDO},      {"hugetlbfs", CF_FS_PSEUDO},
        {"binfmt_misc", CF_FS_PSEUDO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(cf_fs_kind_of_type(rows[i].type), rows[i].kind);
    assert_string_equal(cf_fs_kind_word(CF_FS_NETWORK), "network");
}

static void a_bind_mount_is_crossed(void **state) {
    folder *in = *state;
    assert_ok(cf_dir_make(in->fd, "odd \\ name", 0700));
    assert_ok(cf_dir_make(in->fd, "plain", 0700));
    cf_stat above, below, plain;
    char path[300];
    snprintf(path, sizeof path, "%s/odd \\ name", in->path);
    if (mount(in->path, path, NULL, MS_BIND, NULL) < 0) skip();
    CF_AUTO(cf_mounts) mounts = NULL;
    cf_err *err = cf_mounts_read(&mounts);
    if (!err) err = cf_os_stat(in->fd, "", &above);
    if (!err) err = cf_os_stat(in->fd, "odd \\ name", &below);
    if (!err) err = cf_os_stat(in->fd, "plain", &plain);
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    assert_ok(err);
    assert_true(below.mount_root);
    assert_int_equal(above.device, below.device);
    assert_true(cf_mount_crossed(&above, &below));
    assert_false(cf_mount_crossed(&above, &plain));
    const cf_mount *found = cf_mounts_find(mounts, &below);
    assert_non_null(found);
    assert_string_equal(found->point, path); /* with its space and backslash */
    below.mount_root = false;                /* by its number alone */
    assert_true(cf_mount_crossed(&above, &below));
}

static void errno_becomes_a_code(void **state) {
    (void)state;
    assert_int_equal(cf_os_code(ENOSPC), CF_ERR_DISK_FULL);
    assert_int_equal(cf_os_code(EDQUOT), CF_ERR_DISK_FULL);
    assert_int_equal(cf_os_code(ENOENT), CF_ERR_NOT_FOUND);
    assert_int_equal(cf_os_code(EEXIST), CF_ERR_EXISTS);
    assert_int_equal(cf_os_code(EIO), CF_ERR_IO);
    CF_AUTO(cf_err) err = cf_os_fail(EACCES, "open", "a\nb");
    assert_string_equal(cf_err_reason(err), "denied");
    assert_int_equal(cf_err_errno(err), EACCES);
    assert_non_null(strstr(cf_err_message(err), "a\\x0ab"));
}

static void the_process_knows_its_machine(void **state) {
    (void)state;
    char boot[CF_BOOT_ID_SIZE], again[CF_BOOT_ID_SIZE], machine[CF_MACHINE_ID_SIZE], host[CF_HOSTNAME_SIZE];
    assert_ok(cf_process_boot_id(boot));
    assert_ok(cf_process_boot_id(again));
    assert_string_equal(boot, again);
    assert_int_equal(strlen(boot), 36);
    cf_process_machine_id(machine);
    assert_true(strlen(machine) == 0 || strlen(machine) == 32);
    cf_process_hostname(host);
    assert_true(host[0] != 0);
    assert_true(cf_process_peak_memory() > 100000);
    pid_t child = fork();
    if (child == 0) {
        CF_AUTO(cf_err) err = cf_process_harden();
        struct rlimit limit;
        _exit(err || getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_cur != 0 ? 1 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_mounts_of_this_system_are_understood),
        cmocka_unit_test(kinds_by_name),
        TEST(a_bind_mount_is_crossed),
        cmocka_unit_test(errno_becomes_a_code),
        cmocka_unit_test(the_process_knows_its_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
