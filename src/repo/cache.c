/* The cache of decompressed segments. */
#include <stdlib.h>
#include <string.h>

#include "repo/reader_internal.h"

void cf_cache_init(cf_cache *cache, size_t limit) {
    memset(cache, 0, sizeof *cache);
    cache->limit = limit;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->loaded, NULL);
}

static void segment_free(cf_segment *segment) {
    cf_buf_wipe(&segment->raw);
    free(segment);
}

void cf_cache_wipe(cf_cache *cache) {
    while (cache->oldest) {
        cf_segment *next = cache->oldest->newer;
        segment_free(cache->oldest);
        cache->oldest = next;
    }
    while (cache->spare) {
        cf_segment *next = cache->spare->chain;
        segment_free(cache->spare);
        cache->spare = next;
    }
    pthread_cond_destroy(&cache->loaded);
    pthread_mutex_destroy(&cache->lock);
}

static cf_segment **bucket_of(cf_cache *cache, uint64_t pack, uint16_t number) {
    uint64_t mixed = (pack * 0x9E3779B97F4A7C15ull) ^ (number * 0xC2B2AE3D27D4EB4Full);
    return &cache->bucket[(mixed >> 32) % CF_CACHE_BUCKETS];
}

static cf_segment *find(cf_cache *cache, uint64_t pack, uint16_t number) {
    for (cf_segment *segment = *bucket_of(cache, pack, number); segment; segment = segment->chain)
        if (segment->pack == pack && segment->number == number) return segment;
    return NULL;
}

static void use_unlink(cf_cache *cache, cf_segment *segment) {
    if (segment->older)
        segment->older->newer = segment->newer;
    else
        cache->oldest = segment->newer;
    if (segment->newer)
        segment->newer->older = segment->older;
    else
        cache->newest = segment->older;
}

static void use_append(cf_cache *cache, cf_segment *segment) {
    segment->older = cache->newest;
    segment->newer = NULL;
    if (cache->newest)
        cache->newest->newer = segment;
    else
        cache->oldest = segment;
    cache->newest = segment;
}

static void drop(cf_cache *cache, cf_segment *segment) {
    cf_segment **link = bucket_of(cache, segment->pack, segment->number);
    while (*link != segment) link = &(*link)->chain;
    *link = segment->chain;
    use_unlink(cache, segment);
    if (!segment->loading) cache->held -= segment->raw.capacity;
    if (cache->spares < CF_CACHE_SPARE) {
        segment->chain = cache->spare;
        cache->spare = segment;
        cache->spares++;
    } else {
        segment_free(segment);
    }
}

static void shrink(cf_cache *cache) {
    for (cf_segment *segment = cache->oldest, *next; segment && cache->held > cache->limit; segment = next) {
        next = segment->newer;
        if (segment->refs == 0 && !segment->loading) drop(cache, segment);
    }
}

static cf_segment *fresh(cf_cache *cache) {
    cf_segment *segment = cache->spare;
    if (segment) {
        cache->spare = segment->chain;
        cache->spares--;
        cf_buf_reset(&segment->raw);
        return segment;
    }
    segment = calloc(1, sizeof *segment);
    if (segment) {
        segment->cache = cache;
        cf_buf_init(&segment->raw, CF_SEGMENT_RAW_MAX);
    }
    return segment;
}

static cf_segment *insert(cf_cache *cache, uint64_t pack, uint16_t number) {
    cf_segment *segment = fresh(cache);
    if (!segment) return NULL;
    segment->pack = pack;
    segment->number = number;
    segment->loading = true;
    segment->refs = 1;
    cf_segment **bucket = bucket_of(cache, pack, number);
    segment->chain = *bucket;
    *bucket = segment;
    use_append(cache, segment);
    return segment;
}

cf_err *cf_cache_acquire(cf_cache *cache, uint64_t pack, uint16_t number, cf_segment **out, bool *load) {
    pthread_mutex_lock(&cache->lock);
    cf_segment *segment = find(cache, pack, number);
    while (segment && segment->loading) {
        pthread_cond_wait(&cache->loaded, &cache->lock);
        segment = find(cache, pack, number); /* it may have failed, and be gone */
    }
    *load = !segment;
    if (segment) {
        segment->refs++;
        use_unlink(cache, segment);
        use_append(cache, segment);
    } else {
        segment = insert(cache, pack, number);
    }
    pthread_mutex_unlock(&cache->lock);
    if (!segment) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a segment");
    *out = segment;
    return NULL;
}

void cf_cache_loaded(cf_cache *cache, cf_segment *segment) {
    pthread_mutex_lock(&cache->lock);
    segment->loading = false;
    cache->held += segment->raw.capacity;
    shrink(cache);
    pthread_cond_broadcast(&cache->loaded);
    pthread_mutex_unlock(&cache->lock);
}

void cf_cache_failed(cf_cache *cache, cf_segment *segment) {
    pthread_mutex_lock(&cache->lock);
    drop(cache, segment);
    pthread_cond_broadcast(&cache->loaded);
    pthread_mutex_unlock(&cache->lock);
}

bool cf_cache_has(cf_cache *cache, uint64_t pack, uint16_t number) {
    pthread_mutex_lock(&cache->lock);
    cf_segment *segment = find(cache, pack, number);
    bool there = segment && !segment->loading;
    pthread_mutex_unlock(&cache->lock);
    return there;
}

cf_span cf_segment_raw(const cf_segment *segment) {
    return cf_buf_span(&segment->raw);
}

void cf_segment_release(cf_segment *segment) {
    if (!segment) return;
    cf_cache *cache = segment->cache;
    pthread_mutex_lock(&cache->lock);
    segment->refs--;
    shrink(cache);
    pthread_mutex_unlock(&cache->lock);
}
