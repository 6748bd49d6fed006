/* The system state of a machine with RAID, LUKS and LVM, from recorded output of the tools (recordings/): such disks cannot
 * be made where the tests run. The metadata of the volume group was recorded from a real one, and vgcfgrestore took it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "sysstate/sysstate.h"

enum { FILES_MAX = 64 };

typedef struct fixture {
    char bin[64];
    char *names[FILES_MAX], *texts[FILES_MAX];
    size_t count, notes;
    cf_sysstate_options options;
} fixture;

static cf_err *keep(void *context, const char *name, cf_span content) {
    fixture *f = context;
    assert_true(f->count < FILES_MAX && !strchr(name, '/'));
    for (size_t i = 0; i < f->count; i++) assert_string_not_equal(f->names[i], name);
    f->names[f->count] = strdup(name);
    f->texts[f->count++] = cf_span_dup_text(content);
    return NULL;
}

static void note(void *context, const char *text) {
    fixture *f = context;
    assert_non_null(text);
    f->notes++;
}

static const char *text_of(const fixture *f, const char *name) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->names[i], name) == 0) return f->texts[i];
    return NULL;
}

static void has(const fixture *f, const char *name, const char *text) {
    const char *whole = text_of(f, name);
    if (!whole) print_error("no %s\n", name);
    assert_non_null(whole);
    if (!strstr(whole, text)) print_error("%s has no \"%s\":\n%s\n", name, text, whole);
    assert_non_null(strstr(whole, text));
}

static void link_tool(fixture *f, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->bin, name);
    assert_int_equal(symlink(RECORDINGS "/replay", path), 0);
}

static void script(fixture *f, const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->bin, name);
    (void)unlink(path); /* it may not be there */
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int setup(void **state) {
    static const char *const tools[] = {"lsblk", "sfdisk", "blkid",  "cryptsetup", "mdadm", "pvs",        "vgs",
                                        "lvs",   "pvck",   "getent", "dmsetup",    "dpkg",  "dpkg-query", "systemctl"};
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->bin, "/tmp/coffer-state-XXXXXX");
    assert_non_null(mkdtemp(f->bin));
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) link_tool(f, tools[i]);
    f->options = (cf_sysstate_options){
        .path = f->bin, .host = "server01", .tool_ms = 5000, .file = keep, .note = note, .context = f};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    CF_AUTO(cf_err) err = cf_dir_remove_tree(AT_FDCWD, f->bin);
    assert_null(err);
    for (size_t i = 0; i < f->count; i++) {
        free(f->names[i]);
        free(f->texts[i]);
    }
    free(f);
    return 0;
}

static void collect(fixture *f) {
    CF_AUTO(cf_err) err = cf_sysstate_collect(&f->options);
    if (err) cf_err_print(stderr, err);
    assert_null(err);
}

static void disks_of_every_kind(void **state) {
    fixture *f = *state;
    collect(f);
    has(f, "partition-table.sda.sfdisk", "label-id: AEF5A2AE");
    has(f, "partition-table.sdb.sfdisk", "/dev/sdb2");
    assert_null(text_of(f, "partition-table.zram0.sfdisk"));
    has(f, "md.mdadm.conf", "ARRAY /dev/md0");
    has(f, "md.md0.txt", "Raid Level : raid1");
    has(f, "luks.md0.txt", "63c22875-d9e0-4043-9cb2-85fa0430ca7e");
    has(f, "file-systems.txt", "vg0-root");
    has(f, "lvm-volume-groups.json", "vg0");
    has(f, "device-mapper.txt", ":logon:"); /* a name in the kernel, no key */
    const char *group = text_of(f, "lvm.vg0.vgcfg");
    assert_non_null(group);
    assert_int_equal(strncmp(group, "vg0 {\n", 6), 0);
    assert_non_null(strstr(group, "contents = \"Text Format Volume Group\""));
    assert_null(strstr(group, "---"));
    has(f, "kernel-command-line.txt", "");
    has(f, "mounts.txt", " / ");
    has(f, "users.txt", "root:x:0:0");
    has(f, "units-enabled.txt", "ssh.service");
}

static void recover_says_the_order(void **state) {
    fixture *f = *state;
    collect(f);
    static const char *const steps[] = {
        "# Rebuilding server01",
        "sfdisk /dev/sda < partition-table.sda.sfdisk",
        "sfdisk /dev/sdb < partition-table.sdb.sfdisk",
        "mdadm --create /dev/md0   # see md.md0.txt",
        "cryptsetup luksFormat --uuid UUID /dev/md0   # see luks.md0.txt",
        "pvcreate --uuid PV_UUID",
        "vgcfgrestore vg0 -f lvm.vg0.vgcfg",
        "mkfs.vfat -i 1A2B3C4D /dev/sda1",
        "mkfs.ext4 -U 0f3e1f0e-8f6f-4f7e-9d52-0a7b6a6f3b10 -L 'root' /dev/mapper/vg0-root",
        "mkfs.xfs -m uuid=5b1c1a5e-6a61-4b3c-8a3e-f1c2b7a90e22 /dev/mapper/vg0-srv",
        "mkswap -U 7d7a2f64-24cb-4c3e-b2aa-90cf18a2b5a1 /dev/mapper/vg0-swap",
        "coffer restore POINT --to /mnt",
        "grub-install",
        "After the first start"};
    const char *at = text_of(f, "RECOVER.md");
    assert_non_null(at);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const char *found = strstr(at, steps[i]);
        if (!found) print_error("not there, or not in order: %s\n%s\n", steps[i], at);
        assert_non_null(found);
        at = found;
    }
    has(f, "RECOVER.md", "ip is not installed"); /* it has no recording */
    has(f, "notes.txt", "ip is not installed");
}

static void tools_that_misbehave_are_notes(void **state) {
    fixture *f = *state;
    f->options.tool_ms = 300;
    script(f, "dmsetup", "#!/bin/sh\nsleep 600\n");
    script(f, "mdadm", "#!/bin/sh\nsleep 600 & echo started; exit 0\n"); /* leaves somebody behind who holds the pipe */
    script(f, "getent", "#!/bin/sh\nexec cat /dev/zero\n");
    script(f, "blkid", "#!/bin/sh\necho half\nexit 3\n");
    script(f, "pvck", "#!/bin/sh\necho 'no such thing'\n");
    script(f, "systemctl", "not a program");
    collect(f);
    assert_null(text_of(f, "device-mapper.txt"));
    assert_null(text_of(f, "md.mdadm.conf"));
    assert_null(text_of(f, "users.txt"));
    assert_null(text_of(f, "file-systems.txt"));
    assert_null(text_of(f, "lvm.vg0.vgcfg"));
    has(f, "notes.txt", "dmsetup table: took too long");
    has(f, "notes.txt", "mdadm --detail: took too long");
    has(f, "notes.txt", "getent passwd: printed too much");
    has(f, "notes.txt", "blkid -c: exit status 3");
    has(f, "notes.txt", "pvck /dev/mapper/cr: no metadata");
    has(f, "notes.txt", "systemctl list-unit-files: could not be started");
    has(f, "partition-table.sda.sfdisk", "gpt");
    has(f, "RECOVER.md", "What could not be recorded");
}

static void no_tools_at_all(void **state) {
    fixture *f = *state;
    f->options.path = "/nonexistent";
    collect(f);
    assert_non_null(text_of(f, "RECOVER.md"));
    assert_non_null(text_of(f, "mounts.txt"));
    assert_true(f->notes > 5);
}

static void a_cancel_ends_it(void **state) {
    fixture *f = *state;
    cf_cancel cancel = {0};
    cf_cancel_request(&cancel, 15);

    f->options.cancel = &cancel;
    CF_AUTO(cf_err) err = cf_sysstate_collect(&f->options);
    assert_int_equal(cf_err_code(err), CF_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(disks_of_every_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(recover_says_the_order, setup, teardown),
        cmocka_unit_test_setup_teardown(tools_that_misbehave_are_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(no_tools_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancel_ends_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
