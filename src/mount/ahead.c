#include "mount/ahead.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    TASKS = 32,
    TASK_SEGMENTS = 8,
    RANGE_MAX = 6 << 20, /* bytes in one request */
    RANGE_GAP = 128 << 10,
    TRACKS = 32, /* packs that are watched for being read in order */
    NEAR = 12,   /* how far a step "in order" may go */
    REACH = 16,  /* segments ahead of the one in use */
    THREADS_MAX = 8,
    STACK_BYTES = 512 << 10,
};

struct task {
    bool active;
    cf_kind kind;
    uint64_t pack;
    uint16_t segment[TASK_SEGMENTS];
    unsigned count; /* 0: free */
    uint64_t order;
};

struct track {
    uint64_t pack;
    uint32_t last;   /* segment in use */
    uint32_t wanted; /* up to here */
    unsigned streak;
    uint64_t used;
};

struct cf_ahead {
    cf_reader *reader;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool closing;
    struct task tasks[TASKS];
    uint64_t order;
    struct track tracks[TRACKS];
    uint64_t uses;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
};

/* ---- In a thread ---- */

static bool missing(cf_reader *reader, uint64_t pack, uint16_t segment) {
    return !cf_reader_cached(reader, pack, segment);
}

struct want {
    uint16_t segment;
    cf_extent extent;
};

static int compare_wants(const void *left, const void *right) {
    const struct want *a = left, *b = right;
    return (a->extent.offset > b->extent.offset) - (a->extent.offset < b->extent.offset);
}

static cf_err *fetch_range(cf_reader *reader, cf_lane *lane, cf_buf *range, const struct task *task,
                           const struct want *wants, size_t count) {
    uint64_t start = wants[0].extent.offset;
    uint64_t size = wants[count - 1].extent.offset + wants[count - 1].extent.length - start;
    CF_TRY(cf_reader_fetch(reader, task->pack, start, (size_t)size, range));
    for (size_t i = 0; i < count; i++) {
        CF_AUTO(cf_segment) segment = NULL;
        cf_span stored = cf_span_of(range->data + (wants[i].extent.offset - start), wants[i].extent.length);
        /* No map: whoever uses it asks for its own. */
        CF_TRY(cf_lane_segment_from(lane, NULL, task->kind, task->pack, wants[i].segment, stored, &segment));
    }
    return NULL;
}

static cf_err *fetch(cf_reader *reader, cf_lane *lane, cf_buf *range, const struct task *task) {
    struct want wants[TASK_SEGMENTS];
    size_t count = 0;
    for (unsigned i = 0; i < task->count; i++) {
        if (!missing(reader, task->pack, task->segment[i])) continue;
        wants[count].segment = task->segment[i];
        CF_TRY(cf_reader_extent(reader, task->pack, task->segment[i], &wants[count].extent));
        count++;
    }
    if (count == 0) return NULL;
    qsort(wants, count, sizeof *wants, compare_wants);
    for (size_t first = 0, next; first < count; first = next) {
        uint64_t start = wants[first].extent.offset;
        for (next = first + 1; next < count; next++) {
            uint64_t end = wants[next - 1].extent.offset + wants[next - 1].extent.length;
            const cf_extent *extent = &wants[next].extent;
            if (extent->offset - end > RANGE_GAP || extent->offset + extent->length - start > RANGE_MAX) break;
        }
        CF_TRY(fetch_range(reader, lane, range, task, wants + first, next - first));
    }
    return NULL;
}

static struct task *oldest_task(cf_ahead *ahead) {
    struct task *oldest = NULL;
    for (struct task *each = ahead->tasks; each < ahead->tasks + TASKS; each++)
        if (each->count && !each->active && (!oldest || each->order < oldest->order)) oldest = each;
    return oldest;
}

static void *run(void *context) {
    cf_ahead *ahead = context;
    CF_AUTO(cf_lane) lane = NULL;
    CF_AUTO_BUF cf_buf range;
    cf_buf_init(&range, CF_PACK_MAX);
    cf_err *err = cf_lane_new(ahead->reader, &lane);
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->closing && !err) {
        struct task *task = oldest_task(ahead);
        if (!task) {
            pthread_cond_wait(&ahead->work, &ahead->lock);
            continue;
        }
        task->active = true;
        pthread_mutex_unlock(&ahead->lock);
        cf_err_free(fetch(ahead->reader, lane, &range, task));
        pthread_mutex_lock(&ahead->lock);
        task->active = false;
        task->count = 0;
        pthread_cond_broadcast(&ahead->done);
    }
    pthread_mutex_unlock(&ahead->lock);
    cf_err_free(err); /* one thread less */
    return NULL;
}

/* ---- Life ---- */

cf_err *cf_ahead_new(cf_reader *reader, unsigned threads, cf_ahead **out) {
    cf_ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to read ahead");
    ahead->reader = reader;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->work, NULL);
    pthread_cond_init(&ahead->done, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (ahead->thread_count < threads && ahead->thread_count < THREADS_MAX &&
           pthread_create(&ahead->threads[ahead->thread_count], &attributes, run, ahead) == 0)
        ahead->thread_count++;
    pthread_attr_destroy(&attributes);
    *out = ahead;
    return NULL;
}

void cf_ahead_free(cf_ahead *ahead) {
    if (!ahead) return;
    pthread_mutex_lock(&ahead->lock);
    ahead->closing = true;
    pthread_cond_broadcast(&ahead->work);
    pthread_mutex_unlock(&ahead->lock);
    for (unsigned i = 0; i < ahead->thread_count; i++) pthread_join(ahead->threads[i], NULL);
    pthread_cond_destroy(&ahead->done);
    pthread_cond_destroy(&ahead->work);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}

/* ---- Asking ---- */

static struct task *task_of(cf_ahead *ahead, uint64_t pack, uint16_t segment) {
    for (struct task *each = ahead->tasks; each < ahead->tasks + TASKS; each++)
        for (unsigned i = 0; each->pack == pack && i < each->count; i++)
            if (each->segment[i] == segment) return each;
    return NULL;
}

static struct task *free_task(cf_ahead *ahead) {
    for (struct task *each = ahead->tasks; each < ahead->tasks + TASKS; each++)
        if (each->count == 0) return each;
    return NULL;
}

static void put_task(cf_ahead *ahead, const struct task *given) {
    struct task *place = given->count && ahead->thread_count ? free_task(ahead) : NULL;
    if (!place) return; /* so much is under way that this can wait for its turn */
    *place = *given;
    place->order = ++ahead->order;
    pthread_cond_signal(&ahead->work);
}

/* With the lock held. */
static void want_all(cf_ahead *ahead, cf_kind kind, uint64_t pack, const uint16_t *segments, size_t count) {
    struct task made = {.kind = kind, .pack = pack};
    for (size_t i = 0; i < count; i++) {
        if (task_of(ahead, pack, segments[i]) || !missing(ahead->reader, pack, segments[i])) continue;
        made.segment[made.count++] = segments[i];
        if (made.count < TASK_SEGMENTS) continue;
        put_task(ahead, &made);
        made.count = 0;
    }
    put_task(ahead, &made);
}

void cf_ahead_want(cf_ahead *ahead, cf_kind kind, uint64_t pack, const uint16_t *segments, size_t count) {
    if (!ahead || count == 0) return;
    pthread_mutex_lock(&ahead->lock);
    want_all(ahead, kind, pack, segments, count);
    pthread_mutex_unlock(&ahead->lock);
}

static struct track *track_of(cf_ahead *ahead, uint64_t pack) {
    struct track *oldest = &ahead->tracks[0];
    for (struct track *each = ahead->tracks; each < ahead->tracks + TRACKS; each++) {
        if (each->pack == pack) return each;
        if (each->used < oldest->used) oldest = each;
    }
    *oldest = (struct track){.pack = pack, .last = UINT32_MAX};
    return oldest;
}

void cf_ahead_touch(cf_ahead *ahead, const cf_map *map, cf_kind kind, uint64_t pack, uint16_t segment) {
    if (!ahead) return;
    uint16_t next[REACH];
    size_t count = 0;
    pthread_mutex_lock(&ahead->lock);
    struct track *track = track_of(ahead, pack);
    track->used = ++ahead->uses;
    if (track->last != segment) {
        bool first = track->last == UINT32_MAX;
        bool in_order = first ? segment == 0 : segment > track->last && segment - track->last <= NEAR;
        bool back = !first && segment < track->last && track->last - segment <= NEAR;
        track->streak = in_order ? track->streak + 1 : back ? track->streak : 0;
        track->last = segment;
        if (track->wanted < segment || !(in_order || back)) track->wanted = segment;
        /* Half of the reach is left: time for more. */
        if (track->streak > 0 && track->wanted - segment <= REACH / 2) {
            uint32_t number = track->wanted + 1u, until = segment + (uint32_t)REACH;
            for (; number <= until && cf_map_next_segment(map, pack, &number) && number <= until; number++)
                next[count++] = (uint16_t)number;
            track->wanted = until;
            want_all(ahead, kind, pack, next, count);
        }
    }
    pthread_mutex_unlock(&ahead->lock);
}

void cf_ahead_wait(cf_ahead *ahead, uint64_t pack, uint16_t segment) {
    if (!ahead) return;
    pthread_mutex_lock(&ahead->lock);
    for (const struct task *task = task_of(ahead, pack, segment);
         task && task->active && missing(ahead->reader, pack, segment); task = task_of(ahead, pack, segment))
        pthread_cond_wait(&ahead->done, &ahead->lock);
    pthread_mutex_unlock(&ahead->lock);
}
