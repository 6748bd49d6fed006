/* Hard links: the first of a group that comes along makes the file, the others become links to it. While it is
 * being made, the others wait in its group.                                                             */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "os/fail.h"
#include "os/hooks.h"
#include "restore/run.h"

struct waiter {
    struct waiter *next;
    cf_target *target;
    cf_name name;
    bool file; /* counts as a regular file */
    uint64_t size;
};

struct cf_links {
    struct cf_links *chain;
    uint64_t group;
    uint64_t left;      /* names that may still come: with none, it is forgotten */
    bool made, settled; /* settled: nobody else looks at it any more */
    cf_links_end failed;
    cf_target *target; /* where the file is, once made */
    cf_name name;
    struct waiter *waiting;
};

static void links_free(cf_links *links) {
    if (links->target) cf_target_release(links->target);
    while (links->waiting) { /* only when the run was stopped */
        struct waiter *next = links->waiting->next;
        cf_target_release(links->waiting->target);
        free(links->waiting);
        links->waiting = next;
    }
    free(links);
}

void cf_links_wipe(cf_restorer *run) {
    for (size_t i = 0; i < run->links_size; i++)
        while (run->links[i]) {
            cf_links *next = run->links[i]->chain;
            links_free(run->links[i]);
            run->links[i] = next;
        }
    free(run->links);
    run->links = NULL;
    run->links_size = run->links_count = 0;
}

static cf_err *grow(cf_restorer *run) {
    size_t size = run->links_size ? 2 * run->links_size : 1024;
    cf_links **table = calloc(size, sizeof *table);
    if (!table) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for hard links");
    for (size_t i = 0; i < run->links_size; i++)
        while (run->links[i]) {
            cf_links *links = run->links[i];
            run->links[i] = links->chain;
            links->chain = table[links->group % size];
            table[links->group % size] = links;
        }
    free(run->links);
    run->links = table;
    run->links_size = size;
    return NULL;
}

static cf_links *find(cf_restorer *run, uint64_t group) {
    if (!run->links_size) return NULL;
    cf_links *links = run->links[group % run->links_size];
    while (links && links->group != group) links = links->chain;
    return links;
}

static void forget(cf_restorer *run, cf_links *links) {
    cf_links **link = &run->links[links->group % run->links_size];
    while (*link != links) link = &(*link)->chain;
    *link = links->chain;
    run->links_count--;
    links_free(links);
}

static cf_err *add(cf_restorer *run, const cf_entry *entry, cf_links **out) {
    if (run->links_count >= run->links_size) CF_TRY(grow(run));
    cf_links *links = calloc(1, sizeof *links);
    if (!links) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for hard links");
    links->group = entry->link_group;
    links->left = entry->meta.nlink > 0 ? entry->meta.nlink - 1 : 0;
    links->chain = run->links[links->group % run->links_size];
    run->links[links->group % run->links_size] = links;
    run->links_count++;
    *out = links;
    return NULL;
}

/* A name that is taken: by the same file already, or by something that gives way or does not. */
static cf_err *make_room(cf_restorer *run, int from, const char *from_name, int to, cf_name *name, bool *same,
                         bool *skip) {
    struct stat made, there;
    *same = *skip = false;
    if (fstatat(to, name->text, &there, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? NULL : cf_os_fail(errno, "look at", name->text);
    if (fstatat(from, from_name, &made, AT_SYMLINK_NOFOLLOW) == 0 && made.st_dev == there.st_dev &&
        made.st_ino == there.st_ino) {
        *same = true;
        return NULL;
    }
    switch (run->options->conflict) {
    case CF_CONFLICT_SKIP:
        *skip = true;
        return NULL;
    case CF_CONFLICT_OVERWRITE:
        if (cf_sys_unlink(to, name->text) < 0) return cf_os_fail(errno, "replace", name->text);
        return NULL;
    case CF_CONFLICT_COPY:
        break;
    }
    char original[CF_NAME_SIZE];
    memcpy(original, name->text, sizeof original);
    for (unsigned number = 1; number < 100; number++) {
        cf_restorer_copy_name(run, number, original, name);
        if (fstatat(to, name->text, &there, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? NULL : cf_os_fail(errno, "look at", name->text);
        *same = made.st_dev == there.st_dev && made.st_ino == there.st_ino;
        if (*same) return NULL;
    }
    return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: too many copies stand beside it", original);
}

static cf_err *link_now(cf_restorer *run, const cf_links *links, const struct waiter *waiter) {
    CF_AUTO_FD int from = -1;
    CF_TRY(cf_target_open(links->target, &from));
    cf_name name = waiter->name;
    bool same = false, skip = false;
    if (!waiter->target->fresh) CF_TRY(make_room(run, from, links->name.text, waiter->target->fd, &name, &same, &skip));
    if (skip) {
        cf_restorer_count(run, &run->result->skipped, 1);
        return NULL;
    }
    if (!same && cf_sys_link(from, links->name.text, waiter->target->fd, name.text) < 0)
        return cf_os_fail(errno, "make the hard link", name.text);
    cf_restorer_count(run, waiter->file ? &run->result->files : &run->result->others, 1);
    cf_restorer_count(run, &run->result->bytes, waiter->size);
    cf_progress_add(run->options->progress, 1, waiter->size);
    return NULL;
}

static void waiter_end(cf_restorer *run, const cf_links *links, struct waiter *waiter, cf_lane_state *state) {
    cf_err *err = NULL;
    if (atomic_load(&run->stop))
        err = NULL;
    else if (links->failed == CF_LINKS_DAMAGED)
        err = cf_fail(CF_ERR_FILE_DAMAGED, "it is a hard link to a damaged file");
    else if (links->failed == CF_LINKS_FAILED)
        err = cf_fail(CF_ERR_FILE_NOT_RESTORED, "it is a hard link to a file that could not be restored");
    else if (links->failed == CF_LINKS_SKIPPED)
        cf_restorer_count(run, &run->result->skipped, 1);
    else
        err = link_now(run, links, waiter);
    if (err) cf_restorer_trouble(run, waiter->target, cf_span_text(waiter->name.text), err);
    cf_target_end(waiter->target, state);
    cf_target_release(waiter->target);
    free(waiter);
}

cf_err *cf_links_join(cf_restorer *run, cf_target *target, const cf_entry *entry, cf_links **out, bool *first) {
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a hard link");
    *waiter = (struct waiter){.target = target, .file = entry->meta.type == CF_TYPE_FILE, .size = entry->meta.size};
    cf_err *err = cf_name_from(entry->name, &waiter->name);
    cf_links *ready = NULL;
    *first = false;
    pthread_mutex_lock(&run->links_lock);
    cf_links *links = err ? NULL : find(run, entry->link_group);
    if (!links && !err) {
        err = add(run, entry, out);
        *first = !err;
    } else if (links) {
        if (links->left > 0) links->left--;
        cf_target_hold(target);
        cf_target_begin(target);
        if (links->made || links->failed) {
            ready = links;
        } else {
            waiter->next = links->waiting;
            links->waiting = waiter;
        }
    }
    pthread_mutex_unlock(&run->links_lock);
    if (err || *first) {
        free(waiter);
        return err;
    }
    if (!ready) return NULL;
    waiter_end(run, ready, waiter, &run->self); /* only the planner joins, and only it forgets what is made */
    pthread_mutex_lock(&run->links_lock);
    if (ready->left == 0 && ready->settled) forget(run, ready);
    pthread_mutex_unlock(&run->links_lock);
    return NULL;
}

static void settle(cf_restorer *run, cf_links *links, cf_lane_state *state) {
    for (;;) {
        pthread_mutex_lock(&run->links_lock);
        struct waiter *waiter = links->waiting;
        if (waiter) links->waiting = waiter->next;
        if (!waiter) links->settled = true;
        if (!waiter && links->left == 0) forget(run, links);
        pthread_mutex_unlock(&run->links_lock);
        if (!waiter) return;
        waiter_end(run, links, waiter, state);
    }
}

void cf_links_made(cf_restorer *run, cf_links *links, cf_target *target, const char *name, cf_lane_state *state) {
    pthread_mutex_lock(&run->links_lock);
    links->target = target;
    cf_target_hold(target);
    strncpy(links->name.text, name, sizeof links->name.text - 1);
    links->made = true;
    pthread_mutex_unlock(&run->links_lock);
    settle(run, links, state);
}

void cf_links_failed(cf_restorer *run, cf_links *links, cf_links_end how, cf_lane_state *state) {
    pthread_mutex_lock(&run->links_lock);
    links->failed = how;
    pthread_mutex_unlock(&run->links_lock);
    settle(run, links, state);
}
