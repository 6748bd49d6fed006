#include "agent/finder.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "index/index.h"

struct cf_index_finder {
    cf_state *state;
    char *folder;
    cf_id16 server;
    pthread_mutex_t lock;
};

cf_err *cf_index_finder_new(cf_state *state, const char *scratch, const cf_id16 *server, cf_index_finder **out) {
    cf_index_finder *made = calloc(1, sizeof *made);
    char *folder = cf_text_format("%s/index", scratch);
    if (!made || !folder) {
        free(made);
        free(folder);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "looking for chunks");
    }
    *made = (cf_index_finder){.state = state, .folder = folder, .server = *server};
    pthread_mutex_init(&made->lock, NULL);
    *out = made;
    return NULL;
}

void cf_index_finder_free(cf_index_finder *finder) {
    if (!finder) return;
    pthread_mutex_destroy(&finder->lock);
    free(finder->folder);
    free(finder);
}

static cf_err *look_up(cf_index *index, const cf_id32 *id, bool *found, cf_ref *ref) {
    cf_index_address at;
    CF_TRY(cf_index_lookup(index, id->bytes, found, &at));
    if (*found)
        *ref = (cf_ref){.id = *id, .pack = at.pack, .segment = at.segment, .offset = at.offset, .length = at.length};
    return NULL;
}

/* The caller holds the lock of backups: nobody else uses the index. */
static cf_err *ask(cf_index_finder *finder, const cf_id32 *id, bool *found, cf_ref *ref) {
    CF_AUTO(cf_index) index = NULL;
    cf_index_options options = {.merge_inline = true};
    memcpy(options.server_id, finder->server.bytes, 16);
    if (access(finder->folder, F_OK) != 0) return NULL; /* there is none */
    CF_TRY(cf_index_open(finder->folder, &options, &index));
    CF_TRY(look_up(index, id, found, ref));
    if (cf_index_fresh(index) || cf_index_recovered(index)) return NULL; /* the next backup is to see that, too */
    return cf_index_close(cf_take(index));
}

static cf_err *find(void *context, const cf_id32 *id, bool *found, cf_ref *ref) {
    cf_index_finder *finder = context;
    CF_AUTO(cf_state_lock) lock = NULL;
    *found = false;
    pthread_mutex_lock(&finder->lock);
    cf_err *err = cf_state_lock_take(finder->state, CF_STATE_LOCK_BACKUP, "looking for a damaged chunk", &lock);
    if (!err) err = ask(finder, id, found, ref);
    cf_state_lock_free(cf_take(lock));
    pthread_mutex_unlock(&finder->lock);
    if (err) cf_log_error(CF_LOG_INFO, err); /* then the index does not help, and the damage is told as it is */
    cf_err_free(err);
    return NULL;
}

void cf_index_finder_use(cf_index_finder *finder, cf_reader *reader) {
    cf_reader_use_finder(reader, &(cf_finder){find, finder});
}
