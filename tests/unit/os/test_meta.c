#include <errno.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <linux/fs.h>

#include "folder.h"
#include "os/meta.h"
#include "os/owner.h"

static const cf_meta_apply_options all = {0};

/* Reads name (a file) with its descriptor; the store must outlive meta. */
static void read_file(const folder *in, cf_meta_store *store, const char *name, cf_meta *meta) {
    CF_AUTO_FD int fd = -1;
    cf_stat stat;
    cf_meta_warnings warnings = {0};
    assert_ok(cf_os_open_file(in->fd, name, &fd, &stat));
    assert_ok(cf_meta_read(store, in->fd, name, fd, &stat, meta, &warnings));
    assert_int_equal(warnings.kinds, 0);
}

static void set(const folder *in, const char *name, const char *attribute, const void *value, size_t size) {
    CF_AUTO_FD int fd = openat(in->fd, name, O_RDONLY);
    if (fsetxattr(fd, attribute, value, size, 0) < 0) skip();
}

static void attributes_come_whole_and_in_order(void **state) {
    folder *in = *state;
    folder_write(in, "file", "x");
    char large[3000], name[32];
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)i;
    set(in, "file", "user.z", "", 0);
    set(in, "file", "user.large", large, 2500);
    for (int i = 40; i > 0; i--) {
        snprintf(name, sizeof name, "user.n%02d", i);
        set(in, "file", name, name, strlen(name));
    }
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    cf_meta meta;
    for (int round = 0; round < 3; round++) {
        read_file(in, store, "file", &meta);
        assert_int_equal(meta.xattr_count, 42);
        for (uint32_t i = 1; i < meta.xattr_count; i++)
            assert_true(cf_span_compare(meta.xattrs[i - 1].name, meta.xattrs[i].name) < 0);
        assert_true(cf_span_equal(meta.xattrs[0].name, cf_span_text("user.large")));
        assert_true(cf_span_equal(meta.xattrs[0].value, cf_span_of(large, 2500)));
        assert_true(cf_span_equal(meta.xattrs[7].value, cf_span_text("user.n07")));
        assert_int_equal(meta.xattrs[41].value.size, 0);
    }
}

static void a_stat_tells_what_changed(void **state) {
    folder *in = *state;
    folder_write(in, "file", "content");
    cf_stat before, now;
    assert_ok(cf_os_stat(in->fd, "file", &before));
    assert_int_equal(before.type, CF_TYPE_FILE);
    assert_int_equal(before.size, 7);
    assert_int_equal(before.mode, 0644);
    assert_int_equal(before.nlink, 1);
    assert_ok(cf_os_stat(in->fd, "file", &now));
    assert_true(cf_stat_unchanged(&before, &now));
    assert_int_equal(fchmodat(in->fd, "file", 0600, 0), 0);
    assert_ok(cf_os_stat(in->fd, "file", &now));
    assert_false(cf_stat_unchanged(&before, &now));
    assert_code(cf_os_stat(in->fd, "none", &now), CF_ERR_NOT_FOUND);
    assert_ok(cf_os_stat(in->fd, "", &now));
    assert_int_equal(now.type, CF_TYPE_DIRECTORY);
}

static void only_regular_files_are_opened(void **state) {
    folder *in = *state;
    folder_write(in, "file", "content");
    assert_int_equal(symlinkat("file", in->fd, "link"), 0);
    assert_int_equal(mkfifoat(in->fd, "fifo", 0600), 0);
    assert_ok(cf_dir_make(in->fd, "folder", 0700));
    int fd = -1;
    cf_stat stat;
    assert_reason(cf_os_open_file(in->fd, "link", &fd, &stat), CF_ERR_IO, "changed");
    assert_reason(cf_os_open_file(in->fd, "fifo", &fd, &stat), CF_ERR_IO, "changed");
    assert_reason(cf_os_open_file(in->fd, "folder", &fd, &stat), CF_ERR_IO, "changed");
    assert_reason(cf_os_open_folder(in->fd, "file", &fd, &stat), CF_ERR_IO, "changed");
    assert_reason(cf_os_open_folder(in->fd, "link", &fd, &stat), CF_ERR_IO, "changed");
    assert_code(cf_os_open_file(in->fd, "none", &fd, &stat), CF_ERR_NOT_FOUND);
    assert_int_equal(fd, -1);
}

static void all_kinds_are_made_as_described(void **state) {
    folder *in = *state;
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    const cf_file_type types[] = {CF_TYPE_FILE, CF_TYPE_DIRECTORY, CF_TYPE_SYMLINK, CF_TYPE_FIFO};
    static const char *const names[] = {"file", "directory", "symlink", "fifo"};
    for (int i = 0; i < 4; i++) {
        cf_meta meta = {.type = types[i],
                        .mode = 0517,
                        .uid = getuid(),
                        .gid = getgid(),
                        .mtime = {-86400 * 365, 123456789},
                        .target = types[i] == CF_TYPE_SYMLINK ? cf_span_text("no/where") : (cf_span){0}};
        bool made = false;
        cf_meta_warnings warnings = {0};
        assert_ok(cf_meta_create(in->fd, names[i], &meta, &made));
        assert_true(made);
        assert_ok(cf_meta_apply(store, in->fd, names[i], -1, &meta, &all, &warnings));
        assert_int_equal(warnings.kinds, 0);
        cf_stat stat;
        cf_meta back;
        assert_ok(cf_os_stat(in->fd, names[i], &stat));
        assert_ok(cf_meta_read(store, in->fd, names[i], -1, &stat, &back, &warnings));
        assert_int_equal(back.type, types[i]);
        if (types[i] != CF_TYPE_SYMLINK) assert_int_equal(back.mode, 0517);
        assert_int_equal(cf_time_compare(back.mtime, meta.mtime), 0);
        assert_true(cf_span_equal(back.target, meta.target));
        assert_code(cf_meta_create(in->fd, names[i], &meta, &made), CF_ERR_EXISTS);
    }
    const cf_meta socket = {.type = CF_TYPE_SOCKET};
    bool made = true;
    assert_ok(cf_meta_create(in->fd, "socket", &socket, &made));
    assert_false(made);
    const cf_meta bad = {.type = CF_TYPE_SYMLINK, .target = cf_span_of("a\0b", 3)};
    assert_code(cf_meta_create(in->fd, "bad", &bad, &made), CF_ERR_IO);
}

static void extra_attributes_go_unless_kept(void **state) {
    folder *in = *state;
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    folder_write(in, "file", "x");
    set(in, "file", "user.old", "old", 3);
    set(in, "file", "user.same", "before", 6);
    const cf_xattr wanted[] = {{cf_span_text("user.new"), cf_span_text("new")},
                               {cf_span_text("user.same"), cf_span_text("after")}};
    const cf_meta meta = {
        .type = CF_TYPE_FILE, .mode = 0600, .uid = getuid(), .gid = getgid(), .xattrs = wanted, .xattr_count = 2};
    const cf_meta_apply_options keep = {.keep_extra = true};
    cf_meta_warnings warnings = {0};
    cf_meta back;
    assert_ok(cf_meta_apply(store, in->fd, "file", -1, &meta, &keep, &warnings));
    read_file(in, store, "file", &back);
    assert_int_equal(back.xattr_count, 3);
    assert_ok(cf_meta_apply(store, in->fd, "file", -1, &meta, &all, &warnings));
    read_file(in, store, "file", &back);
    assert_int_equal(back.xattr_count, 2);
    assert_true(cf_span_equal(back.xattrs[1].value, cf_span_text("after")));
    assert_int_equal(warnings.kinds, 0);
}

static void no_acl_leaves_permissions_alone(void **state) {
    folder *in = *state;
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    folder_write(in, "file", "x");
    /* u::rw- u:1:rwx g::r-- m::rwx o::r-- */
    static const uint8_t acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  7,
                                  0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                                  7, 0, 255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255};
    const cf_xattr wanted[] = {{cf_span_text("system.posix_acl_access"), cf_span_of(acl, sizeof acl)},
                               {cf_span_text("user.new"), cf_span_text("new")}};
    const cf_meta meta = {.type = CF_TYPE_FILE,
                          .mode = 06777,
                          .uid = 54321,
                          .gid = 54321,
                          .xattrs = wanted,
                          .xattr_count = 2,
                          .mtime = {1000, 0}};
    const cf_meta_apply_options no_acl = {.no_acl = true};
    cf_meta_warnings warnings = {0};
    cf_meta back;
    assert_ok(cf_meta_apply(store, in->fd, "file", -1, &meta, &no_acl, &warnings));
    assert_int_equal(warnings.kinds, 0);
    read_file(in, store, "file", &back);
    assert_int_equal(back.mode, 0644);
    assert_int_equal(back.uid, getuid());
    assert_int_equal(back.xattr_count, 1);
    assert_int_equal(back.mtime.seconds, 1000);
}

/* As an ordinary user: what is not allowed is told, and no set-user-ID is given to the wrong owner. */
static int as_nobody(const folder *in) {
    if (setgid(65534) < 0 || setuid(65534) < 0) return 20;
    cf_meta_store *store = NULL;
    if (cf_meta_store_new(&store)) return 21;
    const cf_xattr wanted[] = {{cf_span_text("security.capability"), cf_span_text("xxxxxxxxxxxxxxxxxxxx")},
                               {cf_span_text("trusted.x"), cf_span_text("x")}};
    const cf_meta meta = {.type = CF_TYPE_FILE,
                          .mode = 06755,
                          .uid = 54321,
                          .gid = 54321,
                          .xattrs = wanted,
                          .xattr_count = 2,
                          .mtime = {1000, 5}};
    bool made = false;
    cf_meta_warnings warnings = {0};
    if (cf_meta_create(in->fd, "file", &meta, &made) || !made) return 22;
    if (cf_meta_apply(store, in->fd, "file", -1, &meta, &all, &warnings)) return 23;
    const uint32_t expected = 1u << CF_META_OWNER | 1u << CF_META_MODE | 1u << CF_META_CAPABILITY | 1u << CF_META_XATTR;
    if (warnings.kinds != expected || warnings.err_no[CF_META_OWNER] != EPERM) return 24;
    if (strcmp(warnings.xattr, "security.capability") != 0) return 25;
    cf_stat stat;
    if (cf_os_stat(in->fd, "file", &stat)) return 26;
    if (stat.mode != 0755 || stat.mtime.seconds != 1000) return 27;
    const cf_meta device = {.type = CF_TYPE_BLOCK, .device_major = 7};
    CF_AUTO(cf_err) err = cf_meta_create(in->fd, "device", &device, &made);
    if (strcmp(cf_err_reason(err), "denied") != 0) return 28;
    cf_meta_store_free(store);
    return 0;
}

static void without_rights_there_are_warnings(void **state) {
    folder *in = *state;
    struct stat root;
    if (getuid() != 0 || stat("/", &root) < 0 || !(root.st_mode & S_IXOTH)) skip(); /* others cannot even reach /proc */
    assert_int_equal(chmod(in->path, 0777), 0);
    pid_t child = fork();
    if (child == 0) _exit(as_nobody(in));
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void flags_come_last_and_can_be_cleared(void **state) {
    folder *in = *state;
    if (getuid() != 0) skip();
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    folder_write(in, "file", "x");
    CF_AUTO_FD int fd = openat(in->fd, "file", O_RDONLY);
    const uint32_t wanted = FS_IMMUTABLE_FL | FS_NODUMP_FL;
    const cf_meta meta = {
        .type = CF_TYPE_FILE, .mode = 0640, .mtime = {1000, 5}, .has_flags = true, .inode_flags = wanted};
    cf_meta_warnings warnings = {0};
    unsigned now = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0) skip();
    assert_ok(cf_meta_apply(store, in->fd, "file", fd, &meta, &all, &warnings));
    cf_meta back;
    read_file(in, store, "file", &back);
    uint32_t had = 0;
    assert_ok(cf_meta_clear_flags(fd, "file", &had)); /* before anything may fail: or the folder cannot go */
    assert_int_equal(warnings.kinds, 0);
    assert_true(back.has_flags);
    assert_int_equal(back.inode_flags, wanted);
    assert_int_equal(back.mode, 0640);
    assert_int_equal(back.mtime.seconds, 1000);
    assert_int_equal(had, FS_IMMUTABLE_FL);
    assert_ok(cf_meta_clear_flags(fd, "file", &had));
    assert_int_equal(had, 0);
}

static void unknown_flags_warn_and_the_rest_is_set(void **state) {
    folder *in = *state;
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    folder_write(in, "file", "x");
    CF_AUTO_FD int fd = openat(in->fd, "file", O_RDONLY);
    unsigned now = 0;
    struct stat stat;
    if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0) skip();
    fstat(fd, &stat);
    /* folded case is for folders of a file system made for it; nodump is possible everywhere */
    const cf_meta meta = {.type = CF_TYPE_FILE,
                          .mode = 0600,
                          .uid = getuid(),
                          .gid = getgid(),
                          .has_flags = true,
                          .inode_flags = FS_CASEFOLD_FL | FS_NODUMP_FL};
    cf_meta_warnings warnings = {0};
    cf_meta_apply_new(fd, &meta, &warnings);
    assert_ok(cf_meta_apply(store, in->fd, "file", fd, &meta, &all, &warnings));
    assert_true(cf_meta_warned(&warnings, CF_META_FLAGS));
    assert_int_equal(ioctl(fd, FS_IOC_GETFLAGS, &now), 0);
    assert_true(now & FS_NODUMP_FL);
}

static void owners_are_found_by_name_first(void **state) {
    (void)state;
    CF_AUTO(cf_owners) owners = NULL;
    assert_ok(cf_owners_new(&owners));
    for (int round = 0; round < 2; round++) {
        assert_true(cf_span_equal(cf_owners_user(owners, 0), cf_span_text("root")));
        assert_int_equal(cf_owners_group(owners, 3999999999u).size, 0);
        assert_int_equal(cf_owners_user_id(owners, cf_span_text("root"), 7), 0);
        assert_int_equal(cf_owners_user_id(owners, cf_span_text("no such user"), 7), 7);
        assert_int_equal(cf_owners_user_id(owners, cf_span_text("no such user"), 8), 8);
        assert_int_equal(cf_owners_group_id(owners, cf_span_text("root"), 7), 0);
        assert_int_equal(cf_owners_group_id(owners, (cf_span){0}, 7), 7);
        assert_int_equal(cf_owners_group_id(owners, cf_span_of("ro\0ot", 5), 7), 7);
    }
    for (uint32_t id = 0; id < 2000; id++) (void)cf_owners_user(owners, id); /* clashes in the cache */
    assert_true(cf_span_equal(cf_owners_user(owners, 0), cf_span_text("root")));
}

static void the_owner_is_changed_to_the_name_of_here(void **state) {
    folder *in = *state;
    if (getuid() != 0) skip();
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    folder_write(in, "file", "x");
    const cf_meta meta = {.type = CF_TYPE_FILE,
                          .mode = 0600,
                          .uid = 54321,
                          .gid = 54322,
                          .user = cf_span_text("daemon"),
                          .group = cf_span_text("nobody has this one")};
    cf_meta_warnings warnings = {0};
    struct stat now;
    assert_ok(cf_meta_apply(store, in->fd, "file", -1, &meta, &all, &warnings));
    assert_int_equal(fstatat(in->fd, "file", &now, 0), 0);
    assert_int_equal(now.st_uid, 1);
    assert_int_equal(now.st_gid, 54322);
    const cf_meta_apply_options numeric = {.numeric_ids = true};
    assert_ok(cf_meta_apply(store, in->fd, "file", -1, &meta, &numeric, &warnings));
    assert_int_equal(fstatat(in->fd, "file", &now, 0), 0);
    assert_int_equal(now.st_uid, 54321);
    assert_int_equal(warnings.kinds, 0);
}

static void times_out_of_range_warn(void **state) {
    folder *in = *state;
    CF_AUTO(cf_meta_store) store = NULL;
    assert_ok(cf_meta_store_new(&store));
    folder_write(in, "file", "x");
    const cf_meta meta = {
        .type = CF_TYPE_FILE, .mode = 0600, .uid = getuid(), .gid = getgid(), .mtime = {INT64_MAX / 2, 0}};
    cf_meta_warnings warnings = {0};
    cf_stat now;
    assert_ok(cf_meta_apply(store, in->fd, "file", -1, &meta, &all, &warnings));
    assert_ok(cf_os_stat(in->fd, "file", &now));
    assert_int_equal(cf_meta_warned(&warnings, CF_META_MTIME), now.mtime.seconds != meta.mtime.seconds);
    assert_code(cf_meta_apply(store, in->fd, "none", -1, &meta, &all, &warnings), CF_ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(attributes_come_whole_and_in_order),
        TEST(a_stat_tells_what_changed),
        TEST(only_regular_files_are_opened),
        TEST(all_kinds_are_made_as_described),
        TEST(extra_attributes_go_unless_kept),
        TEST(no_acl_leaves_permissions_alone),
        TEST(without_rights_there_are_warnings),
        TEST(flags_come_last_and_can_be_cleared),
        TEST(unknown_flags_warn_and_the_rest_is_set),
        cmocka_unit_test(owners_are_found_by_name_first),
        TEST(the_owner_is_changed_to_the_name_of_here),
        TEST(times_out_of_range_warn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
