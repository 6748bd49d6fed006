#include "agent/live.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "proto/json.h"

enum { RECORD_SIZE = 4096 }; /* always all of it, in one write: readers see an old or a new one */

struct cf_live {
    int state_fd, fd;
    char name[64];
};

static void name_of(const cf_id16 *job, char out[64]) {
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(job->bytes, 16, hex);
    snprintf(out, 64, "live/%s", hex);
}

cf_live *cf_live_open(cf_state *state, const cf_id16 *job) {
    cf_live *live = calloc(1, sizeof *live);
    if (!live) return NULL;
    live->state_fd = cf_state_fd(state);
    name_of(job, live->name);
    (void)mkdirat(live->state_fd, "live", 0700); /* usually there */
    live->fd = openat(live->state_fd, live->name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (live->fd >= 0) return live;
    free(live);
    return NULL;
}

void cf_live_write(cf_live *live, cf_progress *progress) {
    char item[CF_PROGRESS_ITEM_MAX], record[RECORD_SIZE];
    if (!live || !progress) return;
    pthread_mutex_lock(&progress->lock);
    size_t size = progress->item_size;
    const char *phase = progress->phase;
    memcpy(item, progress->item, size);
    pthread_mutex_unlock(&progress->lock);
    CF_AUTO_FREE char *clean = cf_text_printable(cf_span_of(item, size));
    CF_AUTO(json_t)
    now = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "bytes_total", (json_int_t)atomic_load(&progress->bytes_total),
        "bytes_done", (json_int_t)atomic_load(&progress->bytes_done), "files_total",
        (json_int_t)atomic_load(&progress->files_total), "files_done", (json_int_t)atomic_load(&progress->files_done),
        "bytes_moved", (json_int_t)atomic_load(&progress->bytes_moved), "warnings",
        (json_int_t)atomic_load(&progress->warnings), "phase", phase ? phase : "", "item", clean ? clean : "");
    CF_AUTO_FREE char *text = now ? json_dumps(now, JSON_COMPACT) : NULL;
    if (!text || strlen(text) >= sizeof record) return;
    memset(record, ' ', sizeof record);
    memcpy(record, text, strlen(text));
    record[sizeof record - 1] = '\n';
    (void)!pwrite(live->fd, record, sizeof record, 0); /* a full disk: the old one stays */
}

void cf_live_close(cf_live *live) {
    if (!live) return;
    close(live->fd);
    (void)unlinkat(live->state_fd, live->name, 0);
    free(live);
}

void cf_live_remove(cf_state *state, const cf_id16 *job) {
    char name[64];
    name_of(job, name);
    (void)unlinkat(cf_state_fd(state), name, 0); /* most have none */
}

static uint64_t number_of(const json_t *object, const char *name) {
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 ? (uint64_t)value : 0;
}

static void text_of(const json_t *object, const char *name, char *out, size_t size) {
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(out, size, "%s", text ? text : "");
}

bool cf_live_read(cf_state *state, const cf_id16 *job, cf_live_now *out) {
    char name[64], record[RECORD_SIZE];
    name_of(job, name);
    int fd = openat(cf_state_fd(state), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    ssize_t got = read(fd, record, sizeof record);
    close(fd);
    if (got <= 0) return false;
    CF_AUTO(json_t) now = json_loadb(record, (size_t)got, 0, NULL);
    if (!json_is_object(now)) return false;
    *out = (cf_live_now){.bytes_total = number_of(now, "bytes_total"),
                         .bytes_done = number_of(now, "bytes_done"),
                         .files_total = number_of(now, "files_total"),
                         .files_done = number_of(now, "files_done"),
                         .bytes_moved = number_of(now, "bytes_moved"),
                         .warnings = number_of(now, "warnings")};
    text_of(now, "phase", out->phase, sizeof out->phase);
    text_of(now, "item", out->item, sizeof out->item);
    return true;
}
