#include "mount/push.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    TRACKS = 16,    /* folders that are watched */
    WINDOW_MIN = 8, /* files ahead of the reader; twice as many each time that it comes halfway */
    WINDOW_MAX = 64,
    NEAR = 8192, /* numbers from one file to the next that are "in order" */
    SURE = 4,
    SURE_MAX = 12,
    STACK_BYTES = 512 << 10,
};

struct track {
    size_t slot;
    cf_folder folder;
    bool used;
    uint64_t last; /* asked for */
    uint64_t next; /* to be given */
    uint64_t mark; /* the file that was left out */
    unsigned window, left;
    bool overtaken; /* the file at next will be asked for before it can be given */
    uint64_t when;
};

struct cf_push {
    cf_push_ops ops;
    cf_reader *reader;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool closing;
    struct track tracks[TRACKS];
    uint64_t uses;
    size_t last_slot;
    uint64_t last; /* of all that was asked for */
    unsigned sure; /* how much of it was in order, lately */
    pthread_t thread;
    bool has_thread;
};

/* ---- What is read ---- */

static struct track *track_of(cf_push *push, size_t slot, const cf_folder *folder) {
    struct track *oldest = &push->tracks[0];
    for (struct track *each = push->tracks; each < push->tracks + TRACKS; each++) {
        if (each->used && each->slot == slot && each->folder.number == folder->number) return each;
        if (each->when < oldest->when) oldest = each;
    }
    *oldest = (struct track){.slot = slot, .folder = *folder, .used = true, .window = WINDOW_MIN};
    return oldest;
}

/* Is a whole tree being read in order? Then a folder's first file stands for the others. */
static bool in_order(cf_push *push, size_t slot, uint64_t number) {
    bool near = slot == push->last_slot && number > push->last && number - push->last < NEAR;
    if (near)
        push->sure += push->sure < SURE_MAX;
    else
        push->sure -= push->sure < SURE ? push->sure : SURE;
    push->last_slot = slot;
    push->last = number;
    return push->sure >= SURE;
}

void cf_push_seen(cf_push *push, size_t slot, const cf_folder *folder, uint64_t number) {
    if (!push || !push->has_thread) return;
    pthread_mutex_lock(&push->lock);
    bool tree = in_order(push, slot, number);
    struct track *track = track_of(push, slot, folder);
    bool onward = track->last && number > track->last;
    track->when = ++push->uses;
    if (number == track->mark && track->window < WINDOW_MAX) track->window *= 2;
    if (number < track->last && number != track->mark) track->window = WINDOW_MIN;
    if (number >= track->next) {
        track->next = number + 1;
        track->overtaken = true;
    }
    track->last = number;
    if (onward || tree) {
        track->left = track->window;
        pthread_cond_signal(&push->work);
    }
    pthread_mutex_unlock(&push->lock);
}

/* ---- The thread ---- */

static struct track *newest_work(cf_push *push) {
    struct track *newest = NULL;
    for (struct track *each = push->tracks; each < push->tracks + TRACKS; each++)
        if (each->left && (!newest || each->when > newest->when)) newest = each;
    return newest;
}

/* Is it worth giving? Links and folders cost nothing. */
static bool is_small_file(const cf_place *place) {
    cf_entry entry;
    cf_page_lock(place->page);
    cf_page_entry(place->page, place->index, &entry);
    bool small = entry.meta.type == CF_TYPE_FILE && !entry.not_read && entry.meta.size > 0 &&
                 entry.meta.size <= CF_PUSH_FILE_MAX;
    cf_page_unlock(place->page);
    return small;
}

/* With the lock held: the file at number is next; is it to be given, or left out? */
static bool choose(struct track *track, uint64_t number) {
    if (track->overtaken) {
        track->overtaken = false;
        return false;
    }
    if (--track->left != track->window / 2) return true;
    track->mark = number;
    return false;
}

/* One step of the folder; false: its end, or no more for now. Called with the lock, which is released meanwhile. */
static cf_err *step(cf_push *push, cf_lane *lane, cf_volume *volume, struct track *track, cf_place *place, bool *more) {
    const struct track before = *track;
    pthread_mutex_unlock(&push->lock);
    cf_err *err = cf_volume_from(volume, lane, &before.folder, before.next, place, more);
    bool small = !err && *more && is_small_file(place), refused = false;
    pthread_mutex_lock(&push->lock);
    bool same = track->used && track->slot == before.slot && track->folder.number == before.folder.number;
    if (err || !same || !*more) {
        *more = false;
        if (same) track->left = 0;
        return err;
    }
    if (track->next > before.next) return NULL; /* the reader was faster: from there */
    track->next = place->end;
    if (!small || !choose(track, place->number)) return NULL;
    pthread_mutex_unlock(&push->lock);
    err = push->ops.give(push->ops.context, lane, before.slot, volume, place, &refused);
    pthread_mutex_lock(&push->lock);
    same = track->slot == before.slot && track->folder.number == before.folder.number;
    if (same && (err || refused)) track->left = 0;
    *more = same;
    return err;
}

/* One folder, until enough of it was given. With the lock. */
static cf_err *follow(cf_push *push, cf_lane *lane, struct track *track) {
    size_t slot = track->slot;
    uint64_t folder = track->folder.number;
    cf_volume *volume;
    pthread_mutex_unlock(&push->lock);
    cf_err *err = push->ops.pin(push->ops.context, slot, &volume);
    pthread_mutex_lock(&push->lock);
    if (err) {
        track->left = 0;
        return err;
    }
    CF_AUTO_PLACE cf_place place = {0};
    bool more = true;
    while (!err && more && track->left && !push->closing && track->slot == slot && track->folder.number == folder &&
           newest_work(push) == track)
        err = step(push, lane, volume, track, &place, &more);
    push->ops.unpin(push->ops.context, slot);
    return err;
}

static void *run(void *context) {
    cf_push *push = context;
    CF_AUTO(cf_lane) lane = NULL;
    cf_err *err = cf_lane_new(push->reader, &lane);
    pthread_mutex_lock(&push->lock);
    while (!push->closing && !err) {
        struct track *track = newest_work(push);
        if (track)
            cf_err_free(follow(push, lane, track));
        else
            pthread_cond_wait(&push->work, &push->lock);
    }
    pthread_mutex_unlock(&push->lock);
    cf_err_free(err); /* it only takes longer without */
    return NULL;
}

cf_err *cf_push_new(cf_reader *reader, const cf_push_ops *ops, cf_push **out) {
    cf_push *push = calloc(1, sizeof *push);
    if (!push) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for giving files");
    push->reader = reader;
    push->ops = *ops;
    pthread_mutex_init(&push->lock, NULL);
    pthread_cond_init(&push->work, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    push->has_thread = pthread_create(&push->thread, &attributes, run, push) == 0;
    pthread_attr_destroy(&attributes);
    *out = push;
    return NULL;
}

void cf_push_free(cf_push *push) {
    if (!push) return;
    pthread_mutex_lock(&push->lock);
    push->closing = true;
    pthread_cond_broadcast(&push->work);
    pthread_mutex_unlock(&push->lock);
    if (push->has_thread) pthread_join(push->thread, NULL);
    pthread_cond_destroy(&push->work);
    pthread_mutex_destroy(&push->lock);
    free(push);
}
