#include <sys/sysmacros.h>

#include "mount/fs.h"

fuse_ino_t cf_inode_of(const cf_fs *fs, size_t slot, uint64_t number) {
    if (!fs->options->all && slot == 0 && number == 0) return FUSE_ROOT_ID;
    return (fuse_ino_t)(slot + 1) << CF_NUMBER_BITS | number;
}

bool cf_inode_parse(const cf_fs *fs, fuse_ino_t inode, size_t *slot, uint64_t *number) {
    if (inode >> CF_NUMBER_BITS == 0) {
        *slot = 0;
        *number = 0;
        return !fs->options->all && inode == FUSE_ROOT_ID;
    }
    *slot = (size_t)(inode >> CF_NUMBER_BITS) - 1;
    *number = inode & (CF_NUMBERS_MAX - 1);
    return true;
}

/* Numbers of link groups stand apart from all others: their first bit is set. */
static ino_t link_inode(size_t slot, uint64_t group) {
    uint64_t mixed = group * 0x9E3779B97F4A7C15ull;
    mixed ^= mixed >> 29;
    mixed += slot * 0xBF58476D1CE4E5B9ull;
    return (ino_t)(mixed | 1ull << 63);
}

static mode_t type_bits(cf_file_type type) {
    switch (type) {
    case CF_TYPE_FILE:
        return S_IFREG;
    case CF_TYPE_DIRECTORY:
        return S_IFDIR;
    case CF_TYPE_SYMLINK:
        return S_IFLNK;
    case CF_TYPE_FIFO:
        return S_IFIFO;
    case CF_TYPE_CHARACTER:
        return S_IFCHR;
    case CF_TYPE_BLOCK:
        return S_IFBLK;
    case CF_TYPE_SOCKET:
        return S_IFSOCK;
    }
    return S_IFREG;
}

static blkcnt_t blocks_of(const cf_entry *entry) {
    uint64_t bytes = entry->meta.size;
    if (entry->sparse) {
        cf_cursor cursor = cf_cursor_of(entry->extents);
        uint64_t end = 0;
        cf_data_extent extent;
        bytes = 0;
        for (uint32_t i = 0; i < entry->extent_count && cf_extents_next(&cursor, &end, &extent); i++)
            bytes += extent.length;
    }
    return (blkcnt_t)((bytes + 4095) / 4096 * 8);
}

static void set_times(struct stat *stat, cf_time time) {
    stat->st_mtim = (struct timespec){time.seconds, (long)time.nanoseconds};
    stat->st_atim = stat->st_ctim = stat->st_mtim; /* these are not kept */
}

void cf_inode_stat(const cf_fs *fs, size_t slot, uint64_t number, const cf_entry *entry, struct stat *stat) {
    const cf_meta *meta = &entry->meta;
    *stat = (struct stat){.st_ino = cf_inode_of(fs, slot, number), .st_blksize = 131072};
    if (entry->link_group) stat->st_ino = link_inode(slot, entry->link_group);
    stat->st_mode = type_bits(meta->type) | meta->mode;
    stat->st_nlink = meta->nlink ? meta->nlink : 1;
    stat->st_uid = meta->uid;
    stat->st_gid = meta->gid;
    if (meta->type == CF_TYPE_CHARACTER || meta->type == CF_TYPE_BLOCK)
        stat->st_rdev = makedev(meta->device_major, meta->device_minor);
    if (meta->type == CF_TYPE_FILE) {
        stat->st_size = (off_t)meta->size;
        stat->st_blocks = blocks_of(entry);
    } else if (meta->type == CF_TYPE_SYMLINK) {
        stat->st_size = (off_t)meta->target.size;
    }
    set_times(stat, meta->mtime);
}

void cf_inode_stat_root(fuse_ino_t inode, int64_t seconds, struct stat *stat) {
    *stat = (struct stat){.st_ino = inode, .st_mode = S_IFDIR | 0755, .st_nlink = 1, .st_blksize = 131072};
    set_times(stat, (cf_time){seconds, 0});
}
