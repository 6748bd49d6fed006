/* Open addressing in shards, each with a lock; removal moves later entries back, so there are no gravestones and the
 * table does not wear out. */
#include "index/pending.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "index/entry.h"

#define SHARDS 64

typedef struct slot {
    uint8_t id[CF_INDEX_ID_SIZE];
    uint8_t address[CF_ENTRY_SIZE - CF_INDEX_ID_SIZE];
    bool used;
} slot;

typedef struct shard {
    pthread_mutex_t lock;
    size_t count;
    slot *slots;
} shard;

struct cf_pending {
    size_t max;
    size_t slots; /* of a shard          */
    size_t limit; /* entries of a shard, fewer than slots */
    atomic_size_t count;
    shard shards[SHARDS];
};

cf_err *cf_pending_new(size_t max_entries, cf_pending **pending) {
    if (max_entries < 1 || max_entries > (size_t)1 << 26)
        return cf_fail(CF_ERR_TOO_LARGE, "pending chunks: %zu", max_entries);
    CF_AUTO(cf_pending) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "pending chunks: %zu", max_entries);
    size_t share = max_entries / SHARDS;
    made->max = max_entries;
    made->limit = share + share / 16 + 64; /* shards fill unevenly */
    size_t slots = made->slots = made->limit + made->limit / 8;
    for (size_t i = 0; i < SHARDS; i++) pthread_mutex_init(&made->shards[i].lock, NULL); /* cannot fail on Linux */
    for (size_t i = 0; i < SHARDS; i++) {
        made->shards[i].slots = calloc(slots, sizeof(slot));
        if (!made->shards[i].slots) return cf_fail(CF_ERR_OUT_OF_MEMORY, "pending chunks: %zu", max_entries);
    }
    *pending = cf_take(made);
    return NULL;
}

void cf_pending_free(cf_pending *pending) {
    if (!pending) return;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&pending->shards[i].lock);
        free(pending->shards[i].slots);
    }
    free(pending);
}

static uint64_t hash_of(const uint8_t *id) {
    return (cf_entry_load64(id) ^ cf_entry_load64(id + 8)) * UINT64_C(0x9E3779B97F4A7C15);
}

static shard *lock_shard(cf_pending *pending, const uint8_t *id) {
    shard *s = &pending->shards[hash_of(id) >> 58];
    pthread_mutex_lock(&s->lock);
    return s;
}

static size_t home_of(const cf_pending *pending, const uint8_t *id) {
    return (size_t)((hash_of(id) >> 26 & UINT32_MAX) * pending->slots >> 32);
}

static size_t after(const cf_pending *pending, size_t at) {
    return at + 1 == pending->slots ? 0 : at + 1;
}

/* How far to lies behind from, going round. */
static size_t distance(const cf_pending *pending, size_t from, size_t to) {
    return to >= from ? to - from : to + pending->slots - from;
}

/* Where id is, or where it would go: a shard is never full. */
static size_t locate(const cf_pending *pending, const shard *s, const uint8_t *id) {
    size_t at = home_of(pending, id);
    while (s->slots[at].used && memcmp(s->slots[at].id, id, CF_INDEX_ID_SIZE) != 0) at = after(pending, at);
    return at;
}

static void store_address(slot *place, const cf_index_address *address) {
    uint8_t entry[CF_ENTRY_SIZE];
    cf_entry_encode(entry, place->id, address);
    memcpy(place->address, entry + CF_ENTRY_PACK, sizeof place->address);
}

static cf_index_address load_address(const slot *place) {
    uint8_t entry[CF_ENTRY_SIZE] = {0};
    cf_index_address address;
    memcpy(entry + CF_ENTRY_PACK, place->address, sizeof place->address);
    (void)cf_entry_decode(entry, &address); /* it was encoded here */
    return address;
}

static void remove_slot(cf_pending *pending, shard *s, size_t hole) {
    for (size_t at = after(pending, hole); s->slots[at].used; at = after(pending, at)) {
        /* An entry may move back into the hole unless its home lies after the hole. */
        if (distance(pending, home_of(pending, s->slots[at].id), at) < distance(pending, hole, at)) continue;
        s->slots[hole] = s->slots[at];
        hole = at;
    }
    s->slots[hole].used = false;
    s->count--;
    atomic_fetch_sub_explicit(&pending->count, 1, memory_order_relaxed);
}

/* One more, unless there are max already. */
static bool take_place(cf_pending *pending) {
    size_t count = atomic_load_explicit(&pending->count, memory_order_relaxed);
    do {
        if (count >= pending->max) return false;
    } while (!atomic_compare_exchange_weak_explicit(&pending->count, &count, count + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

cf_pending_answer cf_pending_find_or_add(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE],
                                         const cf_index_address *address, cf_index_address *existing) {
    cf_pending_answer answer = CF_PENDING_FULL;
    shard *s = lock_shard(pending, id);
    slot *place = &s->slots[locate(pending, s, id)];
    if (place->used) {
        *existing = load_address(place);
        answer = CF_PENDING_FOUND;
    } else if (s->count < pending->limit && take_place(pending)) {
        memcpy(place->id, id, CF_INDEX_ID_SIZE);
        store_address(place, address);
        place->used = true;
        s->count++;
        answer = CF_PENDING_ADDED;
    }
    pthread_mutex_unlock(&s->lock);
    return answer;
}

bool cf_pending_find(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE], cf_index_address *address) {
    shard *s = lock_shard(pending, id);
    const slot *place = &s->slots[locate(pending, s, id)];
    bool found = place->used;
    if (found) *address = load_address(place);
    pthread_mutex_unlock(&s->lock);
    return found;
}

bool cf_pending_move(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE], const cf_index_address *address) {
    shard *s = lock_shard(pending, id);
    slot *place = &s->slots[locate(pending, s, id)];
    bool found = place->used;
    if (found) store_address(place, address);
    pthread_mutex_unlock(&s->lock);
    return found;
}

void cf_pending_remove(cf_pending *pending, const uint8_t id[CF_INDEX_ID_SIZE], uint64_t pack) {
    shard *s = lock_shard(pending, id);
    size_t at = locate(pending, s, id);
    if (s->slots[at].used && load_address(&s->slots[at]).pack == pack) remove_slot(pending, s, at);
    pthread_mutex_unlock(&s->lock);
}

void cf_pending_remove_pack(cf_pending *pending, uint64_t pack) {
    for (size_t i = 0; i < SHARDS; i++) {
        shard *s = &pending->shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t at = 0; s->count > 0 && at < pending->slots;) {
            /* A removal moves another entry here: look again. One that wraps around was looked at before. */
            if (s->slots[at].used && load_address(&s->slots[at]).pack == pack)
                remove_slot(pending, s, at);
            else
                at++;
        }
        pthread_mutex_unlock(&s->lock);
    }
}

size_t cf_pending_count(cf_pending *pending) {
    return atomic_load_explicit(&pending->count, memory_order_relaxed);
}
