#include "mount/files.h"

#include <pthread.h>
#include <stdlib.h>

enum { BUCKETS = 4096 };

struct cf_file {
    cf_files *files;
    uint64_t inode;
    cf_layout *layout;
    size_t cost;
    unsigned refs;
    cf_file *chain, *older, *newer;
};

struct cf_files {
    pthread_mutex_t lock;
    size_t limit, held;
    cf_file *bucket[BUCKETS];
    cf_file *oldest, *newest;
};

cf_err *cf_files_new(size_t limit, cf_files **out) {
    cf_files *files = calloc(1, sizeof *files);
    if (!files) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for open files");
    files->limit = limit;
    pthread_mutex_init(&files->lock, NULL);
    *out = files;
    return NULL;
}

static void file_free(cf_file *file) {
    cf_layout_free(file->layout);
    free(file);
}

void cf_files_free(cf_files *files) {
    if (!files) return;
    while (files->oldest) {
        cf_file *next = files->oldest->newer;
        file_free(files->oldest);
        files->oldest = next;
    }
    pthread_mutex_destroy(&files->lock);
    free(files);
}

/* ---- With the lock held ---- */

static cf_file **bucket_of(cf_files *files, uint64_t inode) {
    return &files->bucket[(inode * 0x9E3779B97F4A7C15ull >> 32) % BUCKETS];
}

static void unlink_age(cf_files *files, cf_file *file) {
    *(file->older ? &file->older->newer : &files->oldest) = file->newer;
    *(file->newer ? &file->newer->older : &files->newest) = file->older;
}

static void append_age(cf_files *files, cf_file *file) {
    file->older = files->newest;
    file->newer = NULL;
    *(files->newest ? &files->newest->newer : &files->oldest) = file;
    files->newest = file;
}

static void shrink(cf_files *files) {
    for (cf_file *file = files->oldest, *next; file && files->held > files->limit; file = next) {
        next = file->newer;
        if (file->refs) continue;
        cf_file **link = bucket_of(files, file->inode);
        while (*link != file) link = &(*link)->chain;
        *link = file->chain;
        unlink_age(files, file);
        files->held -= file->cost;
        file_free(file);
    }
}

static cf_file *pin(cf_files *files, uint64_t inode) {
    for (cf_file *file = *bucket_of(files, inode); file; file = file->chain) {
        if (file->inode != inode) continue;
        file->refs++;
        unlink_age(files, file);
        append_age(files, file);
        return file;
    }
    return NULL;
}

/* ---- For all ---- */

cf_file *cf_files_get(cf_files *files, uint64_t inode) {
    pthread_mutex_lock(&files->lock);
    cf_file *file = pin(files, inode);
    pthread_mutex_unlock(&files->lock);
    return file;
}

cf_err *cf_files_put(cf_files *files, uint64_t inode, cf_layout *layout, cf_file **out) {
    cf_file *made = calloc(1, sizeof *made);
    if (!made) {
        cf_layout_free(layout);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for an open file");
    }
    *made = (cf_file){.files = files, .inode = inode, .layout = layout, .refs = 1};
    made->cost = sizeof *made + cf_layout_cost(layout);
    pthread_mutex_lock(&files->lock);
    cf_file *there = pin(files, inode);
    if (!there) {
        cf_file **bucket = bucket_of(files, inode);
        made->chain = *bucket;
        *bucket = made;
        append_age(files, made);
        files->held += made->cost;
        shrink(files);
    }
    pthread_mutex_unlock(&files->lock);
    if (there) file_free(made);
    *out = there ? there : made;
    return NULL;
}

cf_layout *cf_file_layout(cf_file *file) {
    return file->layout;
}

void cf_file_release(cf_file *file) {
    if (!file) return;
    cf_files *files = file->files;
    pthread_mutex_lock(&files->lock);
    file->refs--;
    shrink(files);
    pthread_mutex_unlock(&files->lock);
}
