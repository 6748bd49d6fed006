#include "os/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/buf.h"
#include "base/text.h"
#include "os/fail.h"
#include "os/file.h"

enum { MOUNTINFO_MAX = 16 * 1024 * 1024 };

struct cf_mounts {
    cf_buf text; /* the strings point in here */
    cf_mount *list;
    size_t count, capacity;
};

typedef struct fs_type {
    const char *name;
    uint32_t magic; /* 0: not told apart by number, or none that is stable */
    cf_fs_kind kind;
} fs_type;

/* Kinds of what is not LOCAL, and numbers of the usual local ones. Magic numbers: linux/magic.h and the
 * file systems' own sources. */
static const fs_type fs_types[] = {
    {"ext4", 0xEF53, CF_FS_LOCAL},
    {"xfs", 0x58465342, CF_FS_LOCAL},
    {"btrfs", 0x9123683E, CF_FS_LOCAL},
    {"f2fs", 0xF2F52010, CF_FS_LOCAL},
    {"zfs", 0x2FC12FC1, CF_FS_LOCAL},
    {"vfat", 0x4d44, CF_FS_LOCAL},
    {"exfat", 0x2011BAB0, CF_FS_LOCAL},
    {"ntfs3", 0x7366746e, CF_FS_LOCAL},
    {"iso9660", 0x9660, CF_FS_LOCAL},
    {"squashfs", 0x73717368, CF_FS_LOCAL},
    {"proc", 0x9fa0, CF_FS_PSEUDO},
    {"sysfs", 0x62656572, CF_FS_PSEUDO},
    {"devtmpfs", 0, CF_FS_PSEUDO}, /* shares tmpfs's number */
    {"devpts", 0x1cd1, CF_FS_PSEUDO},
    {"cgroup", 0x27e0eb, CF_FS_PSEUDO},
    {"cgroup2", 0x63677270, CF_FS_PSEUDO},
    {"cpuset", 0, CF_FS_PSEUDO},
    {"debugfs", 0x64626720, CF_FS_PSEUDO},
    {"tracefs", 0x74726163, CF_FS_PSEUDO},
    {"securityfs", 0x73636673, CF_FS_PSEUDO},
    {"selinuxfs", 0xf97cff8c, CF_FS_PSEUDO},
    {"smackfs", 0x43415d53, CF_FS_PSEUDO},
    {"pstore", 0x6165676C, CF_FS_PSEUDO},
    {"efivarfs", 0xde5e81e4, CF_FS_PSEUDO},
    {"bpf", 0xcafe4a11, CF_FS_PSEUDO},
    {"mqueue", 0x19800202, CF_FS_PSEUDO},
    {"hugetlbfs", 0x958458f6, CF_FS_PSEUDO},
    {"configfs", 0x62656570, CF_FS_PSEUDO},
    {"fusectl", 0x65735543, CF_FS_PSEUDO},
    {"binfmt_misc", 0x42494e4d, CF_FS_PSEUDO},
    {"rpc_pipefs", 0x67596969, CF_FS_PSEUDO},
    {"nfsd", 0x6e667364, CF_FS_PSEUDO},
    {"autofs", 0x0187, CF_FS_PSEUDO},
    {"nsfs", 0x6e736673, CF_FS_PSEUDO},
    {"pidfs", 0x50494446, CF_FS_PSEUDO},
    {"sockfs", 0x534F434B, CF_FS_PSEUDO},
    {"pipefs", 0x50495045, CF_FS_PSEUDO},
    {"anon_inodefs", 0x09041934, CF_FS_PSEUDO},
    {"bdev", 0x62646576, CF_FS_PSEUDO},
    {"binder", 0x6c6f6f70, CF_FS_PSEUDO},
    {"resctrl", 0x7655821, CF_FS_PSEUDO},
    {"dlmfs", 0, CF_FS_PSEUDO},
    {"usbfs", 0x9fa2, CF_FS_PSEUDO},
    {"fuse.lxcfs", 0, CF_FS_PSEUDO},
    {"fuse.gvfsd-fuse", 0, CF_FS_PSEUDO},
    {"fuse.portal", 0, CF_FS_PSEUDO},
    {"nfs", 0x6969, CF_FS_NETWORK},
    {"nfs4", 0, CF_FS_NETWORK},
    {"cifs", 0xFF534D42, CF_FS_NETWORK},
    {"smb3", 0xFE534D42, CF_FS_NETWORK},
    {"smbfs", 0x517B, CF_FS_NETWORK},
    {"ceph", 0x00c36400, CF_FS_NETWORK},
    {"afs", 0x5346414F, CF_FS_NETWORK},
    {"kafs", 0x6B414653, CF_FS_NETWORK},
    {"coda", 0x73757245, CF_FS_NETWORK},
    {"9p", 0x01021997, CF_FS_NETWORK},
    {"ncpfs", 0x564c, CF_FS_NETWORK},
    {"lustre", 0x0BD00BD0, CF_FS_NETWORK},
    {"gpfs", 0x47504653, CF_FS_NETWORK},
    {"beegfs", 0x19830326, CF_FS_NETWORK},
    {"fuse.sshfs", 0, CF_FS_NETWORK},
    {"fuse.glusterfs", 0, CF_FS_NETWORK},
    {"fuse.s3fs", 0, CF_FS_NETWORK},
    {"fuse.rclone", 0, CF_FS_NETWORK},
    {"fuse.ceph", 0, CF_FS_NETWORK},
    {"fuse.davfs", 0, CF_FS_NETWORK},
    {"tmpfs", 0x01021994, CF_FS_MEMORY},
    {"ramfs", 0x858458f6, CF_FS_MEMORY},
    {"overlay", 0x794c7630, CF_FS_OVERLAY},
    {"aufs", 0x61756673, CF_FS_OVERLAY},
    {"fuse", 0x65735546, CF_FS_FUSE},
};
enum { FS_TYPES = sizeof fs_types / sizeof fs_types[0] };

const char *cf_fs_kind_word(cf_fs_kind kind) {
    static const char *const words[] = {"local", "pseudo", "network", "fuse", "memory", "overlay"};
    return (size_t)kind < sizeof words / sizeof words[0] ? words[kind] : "unknown";
}

cf_fs_kind cf_fs_kind_of_type(const char *type) {
    for (size_t i = 0; i < FS_TYPES; i++)
        if (strcmp(type, fs_types[i].name) == 0) return fs_types[i].kind;
    return cf_text_starts(type, "fuse.") ? CF_FS_FUSE : CF_FS_LOCAL;
}

cf_err *cf_fs_kind_of(int fd, const char *name, cf_fs_kind *kind, const char **type) {
    struct statfs fs;
    int result;
    do {
        result = fstatfs(fd, &fs);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return cf_os_fail(errno, "examine the file system of", name);
    const fs_type unknown = {"unknown", 0, CF_FS_LOCAL};
    const fs_type *found = &unknown;
    for (size_t i = 0; i < FS_TYPES && found == &unknown; i++)
        if (fs_types[i].magic && fs_types[i].magic == (uint32_t)fs.f_type) found = &fs_types[i];
    *kind = found->kind;
    if (type) *type = found->name;
    return NULL;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. In place. */
static void unescape(char *text) {
    char *out = text;
    for (const char *in = text; *in;) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' && in[3] >= '0' &&
            in[3] <= '7') {
            *out++ = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
            in += 4;
        } else {
            *out++ = *in++;
        }
    }
    *out = 0;
}

static bool has_option(const char *options, const char *wanted) {
    const size_t size = strlen(wanted);
    for (const char *at = options; *at;) {
        const char *end = strchrnul(at, ',');
        if ((size_t)(end - at) == size && memcmp(at, wanted, size) == 0) return true;
        at = *end ? end + 1 : end;
    }
    return false;
}

/* "36 35 98:0 /root /point rw,noatime [optional ...] - type source options"; false when it is not that. */
static bool parse_line(char *line, cf_mount *mount) {
    char *words[6], *rest = line;
    for (int i = 0; i < 6; i++) {
        words[i] = strsep(&rest, " ");
        if (!rest) return false;
    }
    for (const char *word = strsep(&rest, " "); strcmp(word, "-") != 0; word = strsep(&rest, " "))
        if (!rest) return false;
    char *type = strsep(&rest, " ");
    char *source = strsep(&rest, " ");
    unsigned major, minor;
    if (!type || !source || sscanf(words[2], "%u:%u", &major, &minor) != 2) return false;
    if (!cf_text_parse_u64(words[0], UINT64_MAX, &mount->id)) return false;
    if (!cf_text_parse_u64(words[1], UINT64_MAX, &mount->parent)) return false;
    unescape(words[3]);
    unescape(words[4]);
    unescape(source);
    mount->device = (uint64_t)major << 32 | minor;
    mount->root = words[3];
    mount->point = words[4];
    mount->type = type;
    mount->source = source;
    mount->kind = cf_fs_kind_of_type(type);
    mount->read_only = has_option(words[5], "ro") || (rest && has_option(rest, "ro"));
    return true;
}

static cf_err *parse_all(cf_mounts *mounts) {
    char *rest = (char *)mounts->text.data;
    while (rest && *rest) {
        char *line = strsep(&rest, "\n");
        cf_mount mount = {0};
        if (!parse_line(line, &mount)) continue; /* a later kernel's line of another form: unknown, no failure */
        if (mounts->count == mounts->capacity) {
            size_t capacity = mounts->capacity ? mounts->capacity * 2 : 64;
            cf_mount *list = reallocarray(mounts->list, capacity, sizeof *list);
            if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of mounts");
            mounts->list = list;
            mounts->capacity = capacity;
        }
        mounts->list[mounts->count++] = mount;
    }
    return NULL;
}

cf_err *cf_mounts_read(cf_mounts **out) {
    CF_AUTO(cf_mounts) mounts = calloc(1, sizeof *mounts);
    if (!mounts) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of mounts");
    cf_buf_init(&mounts->text, MOUNTINFO_MAX + 65536);
    CF_TRY(cf_file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &mounts->text));
    cf_buf_put_u8(&mounts->text, 0);
    CF_TRY(cf_buf_check(&mounts->text, "the list of mounts"));
    CF_TRY(parse_all(mounts));
    *out = cf_take(mounts);
    return NULL;
}

void cf_mounts_free(cf_mounts *mounts) {
    if (!mounts) return;
    cf_buf_wipe(&mounts->text);
    free(mounts->list);
    free(mounts);
}

const cf_mount *cf_mounts_all(const cf_mounts *mounts, size_t *count) {
    *count = mounts->count;
    return mounts->list;
}

const cf_mount *cf_mounts_find(const cf_mounts *mounts, const cf_stat *stat) {
    for (size_t i = 0; mounts && stat->mount_id && i < mounts->count; i++)
        if (mounts->list[i].id == stat->mount_id) return &mounts->list[i];
    for (size_t i = 0; mounts && !stat->mount_id && i < mounts->count; i++)
        if (mounts->list[i].device == stat->device) return &mounts->list[i];
    return NULL;
}

bool cf_mount_crossed(const cf_stat *above, const cf_stat *object) {
    if (object->mount_root) return true;
    if (above->mount_id && object->mount_id) return above->mount_id != object->mount_id;
    return above->device != object->device;
}
