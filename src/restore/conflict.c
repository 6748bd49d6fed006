/* What stands at the destination already. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "os/fail.h"
#include "os/file.h"
#include "os/stat.h"
#include "restore/run.h"

enum { NAME_BYTES_MAX = 255, COPIES_MAX = 100 };

/* Cut at the end of a character where it is UTF-8. */
static int cut(const char *name, size_t room) {
    size_t size = strlen(name);
    if (size <= room) return (int)size;
    size = room;
    while (size > 0 && ((unsigned char)name[size] & 0xC0) == 0x80) size--;
    return (int)(size ? size : room);
}

void cf_restorer_copy_name(const cf_restorer *run, unsigned number, const char *name, cf_name *out) {
    char prefix[80];
    if (number <= 1)
        snprintf(prefix, sizeof prefix, "%s Copy of ", run->copy_prefix);
    else
        snprintf(prefix, sizeof prefix, "%s Copy (%u) of ", run->copy_prefix, number);
    snprintf(out->text, sizeof out->text, "%s%.*s", prefix, cut(name, NAME_BYTES_MAX - strlen(prefix)), name);
}

/* The chunk against the file's bytes at offset. */
static cf_err *same_bytes(cf_lane_state *state, int fd, const char *name, uint64_t offset, const cf_ref *ref,
                          bool *same) {
    cf_buf_reset(&state->scratch);
    uint8_t *place = cf_buf_reserve(&state->scratch, ref->length);
    if (!place) return cf_buf_check(&state->scratch, "a chunk");
    size_t got = 0;
    CF_TRY(cf_file_read_at(fd, offset, place, ref->length, name, &got));
    if (got == ref->length) {
        cf_id32 id;
        CF_TRY(cf_lane_chunk_id(state->lane, CF_KIND_DATA, cf_span_of(place, got), &id));
        *same = cf_id32_equal(&id, &ref->id);
    } else {
        *same = false;
    }
    return NULL;
}

/* A sparse file's data extents one behind the other, read into the scratch buffer chunk by chunk. */
struct local {
    int fd;
    const char *name;
    bool sparse;
    cf_cursor extents;
    uint64_t end;
    cf_data_extent extent; /* what is left of the current one */
};

static cf_err *local_read(struct local *local, uint8_t *out, uint32_t size, bool *complete) {
    *complete = false;
    while (size > 0) {
        if (local->extent.length == 0 && !cf_extents_next(&local->extents, &local->end, &local->extent)) return NULL;
        uint32_t take = local->extent.length < size ? (uint32_t)local->extent.length : size;
        size_t got = 0;
        CF_TRY(cf_file_read_at(local->fd, local->extent.offset, out, take, local->name, &got));
        if (got < take) return NULL;
        local->extent.offset += take;
        local->extent.length -= take;
        out += take;
        size -= take;
    }
    *complete = true;
    return NULL;
}

static cf_err *same_sparse(cf_lane_state *state, struct local *local, const cf_ref *ref, bool *same) {
    cf_buf_reset(&state->scratch);
    uint8_t *place = cf_buf_reserve(&state->scratch, ref->length);
    if (!place) return cf_buf_check(&state->scratch, "a chunk");
    CF_TRY(local_read(local, place, ref->length, same));
    if (!*same) return NULL;
    cf_id32 id;
    CF_TRY(cf_lane_chunk_id(state->lane, CF_KIND_DATA, cf_span_of(place, ref->length), &id));
    *same = cf_id32_equal(&id, &ref->id);
    return NULL;
}

/* Nothing but holes may lie between the data extents; a file written full there reads as zeroes, which is the
 * same content. So the gaps are looked at for other bytes. */
static cf_err *gaps_empty(cf_lane_state *state, int fd, const cf_entry *entry, uint64_t size, bool *empty) {
    cf_cursor cursor = cf_cursor_of(entry->extents);
    uint64_t end = 0, at = 0;
    *empty = true;
    for (bool more = true; more;) {
        cf_data_extent extent = {.offset = size, .length = 0};
        more = cf_extents_next(&cursor, &end, &extent);
        while (at < extent.offset) {
            off_t data = lseek(fd, (off_t)at, SEEK_DATA);
            if (data < 0 || (uint64_t)data >= extent.offset) break;
            at = (uint64_t)data;
            cf_buf_reset(&state->scratch);
            size_t want = extent.offset - at < 65536 ? (size_t)(extent.offset - at) : 65536, got = 0;
            uint8_t *place = cf_buf_reserve(&state->scratch, want);
            if (!place) return cf_buf_check(&state->scratch, "a block");
            CF_TRY(cf_file_read_at(fd, at, place, want, "a file", &got));
            for (size_t i = 0; i < got; i++)
                if (place[i]) *empty = false;
            if (!*empty || got == 0) return NULL;
            at += got;
        }
        at = extent.offset + extent.length;
    }
    return NULL;
}

static cf_err *same_content(cf_lane_state *state, int fd, const char *name, const cf_entry *entry, uint64_t size,
                            bool *same) {
    CF_AUTO(cf_content_reader) content = NULL;
    CF_TRY(cf_content_reader_open(state->lane, state->run->point->map, &entry->content, &content));
    struct local local = {.fd = fd, .name = name, .sparse = entry->sparse, .extents = cf_cursor_of(entry->extents)};
    *same = true;
    for (uint64_t offset = 0; *same;) {
        cf_ref ref;
        bool more;
        if (cf_restorer_stopped(state->run)) {
            *same = false;
            return NULL;
        }
        CF_TRY(cf_content_reader_next(content, &ref, &more));
        if (!more) break;
        CF_TRY(entry->sparse ? same_sparse(state, &local, &ref, same)
                             : same_bytes(state, fd, name, offset, &ref, same));
        offset += ref.length;
        if (!entry->sparse && offset > size) *same = false;
    }
    return *same && entry->sparse ? gaps_empty(state, fd, entry, size, same) : NULL;
}

/* Does a regular file of this name hold the content? *exists: something stands there. */
static cf_err *look(cf_lane_state *state, const cf_item *item, const char *name, const cf_entry *entry, bool *exists,
                    bool *folder, bool *same) {
    struct stat st;
    *exists = *folder = *same = false;
    if (fstatat(item->target->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? NULL : cf_os_fail(errno, "look at", name);
    *exists = true;
    *folder = S_ISDIR(st.st_mode);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != item->size) return NULL;
    CF_AUTO_FD int fd = -1;
    cf_stat now;
    cf_err *err = cf_os_open_file(item->target->fd, name, &fd, &now);
    if (err) { /* what cannot be read is treated as different */
        cf_err_free(err);
        return NULL;
    }
    return same_content(state, fd, name, entry, item->size, same);
}

cf_err *cf_restorer_resolve(cf_lane_state *state, cf_item *item, bool *same, bool *skip, cf_restore_action *action) {
    cf_restorer *run = state->run;
    cf_entry entry;
    CF_TRY(cf_entry_decode(cf_buf_span(&item->entry), state->xattrs, &entry));
    char original[CF_NAME_SIZE];
    memcpy(original, item->name.text, sizeof original);
    bool exists, folder;
    *same = *skip = false;
    *action = CF_RESTORE_CREATE;
    CF_TRY(look(state, item, original, &entry, &exists, &folder, same));
    if (*same) *action = CF_RESTORE_SAME;
    if (*same || !exists) return NULL;
    if (run->options->conflict == CF_CONFLICT_SKIP) {
        *skip = true;
        *action = CF_RESTORE_SKIP;
        return NULL;
    }
    if (run->options->conflict == CF_CONFLICT_OVERWRITE) {
        if (folder) return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: a folder has the name of this file", original);
        item->replace = true;
        *action = CF_RESTORE_REPLACE;
        return NULL;
    }
    for (unsigned number = 1; number < COPIES_MAX; number++) {
        cf_restorer_copy_name(run, number, original, &item->name);
        CF_TRY(look(state, item, item->name.text, &entry, &exists, &folder, same));
        *action = *same ? CF_RESTORE_SAME : CF_RESTORE_COPY;
        if (*same || !exists) return NULL;
    }
    return cf_fail(CF_ERR_RESTORE_CONFLICT, "%s: too many copies stand beside it", original);
}
