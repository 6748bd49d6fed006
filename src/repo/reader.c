#include "repo/reader.h"

#include <stdlib.h>

#include "base/text.h"
#include "repo/reader_internal.h"

void cf_pack_frames_wipe(cf_pack_frame *frames, size_t count) {
    for (size_t i = 0; i < count; i++) {
        cf_err_free(frames[i].error);
        cf_buf_wipe(&frames[i].header);
        cf_buf_wipe(&frames[i].tail);
    }
}

void cf_source_close(cf_source *source) {
    if (!source) return;
    source->ops->close(source->context);
    free(source);
}

cf_err *cf_reader_open(cf_source *source, const cf_server_keys *keys, const cf_id16 *server, size_t cache_bytes,
                       cf_reader **reader) {
    cf_reader *made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to open a repository");
    made->source = source;
    made->keys = keys;
    made->server = *server;
    cf_packs_init(&made->packs);
    cf_cache_init(&made->cache, cache_bytes);
    pthread_mutex_init(&made->sessions_lock, NULL);
    pthread_mutex_init(&made->relocations.lock, NULL);
    *reader = made;
    return NULL;
}

void cf_reader_close(cf_reader *reader) {
    if (!reader) return;
    cf_cache_wipe(&reader->cache);
    cf_packs_wipe(&reader->packs);
    cf_relocations_wipe(&reader->relocations);
    for (size_t i = 0; i < reader->session_count; i++) cf_secret_free(reader->sessions[i].key);
    free(reader->sessions);
    pthread_mutex_destroy(&reader->sessions_lock);
    free(reader);
}

void cf_reader_use_trees(cf_reader *reader, cf_tree_cache *trees) {
    reader->trees = trees;
}

void cf_reader_use_finder(cf_reader *reader, const cf_finder *finder) {
    reader->finder = *finder;
}

const cf_id16 *cf_reader_server(const cf_reader *reader) {
    return &reader->server;
}

uint64_t cf_reader_fetched(const cf_reader *reader) {
    return atomic_load(&reader->fetched);
}

static const cf_secret *session_find(const cf_reader *reader, const cf_id16 *session) {
    for (size_t i = reader->session_count; i > 0; i--)
        if (cf_id16_equal(&reader->sessions[i - 1].session, session)) return reader->sessions[i - 1].key;
    return NULL;
}

/* Takes key. When another thread was faster, its key (the same one) stays. */
static cf_err *session_keep(cf_reader *reader, const cf_id16 *session, cf_secret *key, const cf_secret **kept) {
    CF_AUTO(cf_secret) owned = key;
    cf_err *err = NULL;
    pthread_mutex_lock(&reader->sessions_lock);
    const cf_secret *there = session_find(reader, session);
    if (!there) {
        cf_session_key *grown = reallocarray(reader->sessions, reader->session_count + 1, sizeof *grown);
        if (grown) {
            reader->sessions = grown;
            there = owned;
            grown[reader->session_count++] = (cf_session_key){*session, cf_take(owned)};
        } else {
            err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a session key");
        }
    }
    pthread_mutex_unlock(&reader->sessions_lock);
    if (!err) *kept = there;
    return err;
}

static cf_err *open_record(cf_reader *reader, const cf_id16 *session, const char *hex, cf_span record,
                           const cf_secret **key) {
    cf_id16 named;
    CF_AUTO(cf_secret) opened = NULL;
    CF_TRY(cf_note(cf_record_open(reader->keys->master, &reader->server, record, &named, &opened),
                   "key record of session %s", hex));
    if (!cf_id16_equal(&named, session))
        return cf_fail_reason(CF_ERR_SEAL_BROKEN, "relabelled",
                              "the key record given for session %s is another session's", hex);
    return session_keep(reader, session, cf_take(opened), key);
}

/* False: not there, or not what it should be. */
static bool record_from_cache(cf_reader *reader, const cf_id16 *session, const char *hex, cf_buf *bytes,
                              const cf_secret **key) {
    char name[CF_TREE_CACHE_NAME];
    cf_tree_cache_id_name('r', cf_span_of(session->bytes, 16), name);
    if (!reader->trees || !cf_tree_cache_get(reader->trees, name, bytes)) return false;
    cf_err *err = open_record(reader, session, hex, cf_buf_span(bytes), key);
    if (!err) return true;
    cf_err_free(err);
    cf_tree_cache_drop(reader->trees, name);
    cf_buf_reset(bytes);
    return false;
}

cf_err *cf_reader_session_key(cf_reader *reader, const cf_id16 *session, cf_span record, const cf_secret **key) {
    pthread_mutex_lock(&reader->sessions_lock);
    const cf_secret *there = session_find(reader, session);
    pthread_mutex_unlock(&reader->sessions_lock);
    if (there) {
        *key = there;
        return NULL;
    }
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(session->bytes, 16, hex);
    CF_AUTO_BUF cf_buf fetched;
    cf_buf_init(&fetched, 4096);
    if (record.size) return open_record(reader, session, hex, record, key);
    if (record_from_cache(reader, session, hex, &fetched, key)) return NULL;
    CF_TRY(cf_note(reader->source->ops->record(reader->source->context, session, &fetched), "key record of session %s",
                   hex));
    record = cf_buf_span(&fetched);
    CF_TRY(open_record(reader, session, hex, record, key));
    if (reader->trees) {
        char name[CF_TREE_CACHE_NAME];
        cf_tree_cache_id_name('r', cf_span_of(session->bytes, 16), name);
        cf_tree_cache_put(reader->trees, name, &record, 1);
    }
    return NULL;
}
