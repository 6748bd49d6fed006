/* Storing again what stands in sparsely used segments, chunk by chunk: from the file as it is here, else from the vault. Either
 * way a chunk is what its ID says. */
#include <unistd.h>

#include "backup/internal.h"
#include "base/log.h"
#include "os/file.h"

/* Where the chunks of an object come from. */
typedef struct origin {
    const char *name;
    int fd;            /* -1: not to be read here */
    cf_lane *vault;    /* borrowed from the scan's lane */
    uint64_t position; /* of the next reference in the file */
    cf_err *failure;   /* of reading */
} origin;

/* The vault's side is opened with the first object that needs it. */
static cf_err *vault_lane(cf_scan_lane *lane, cf_lane **out) {
    if (!lane->vault) CF_TRY(cf_lane_new(lane->run->options.reader, &lane->vault));
    *out = lane->vault;
    return NULL;
}

/* The chunk's bytes as they stand in the file here, in lane->chunk; *same is false when they are not (or no longer) those. */
static cf_err *read_here(cf_scan_lane *lane, origin *from, const cf_ref *ref, bool *same) {
    cf_id32 id;
    size_t got = 0;
    *same = false;
    if (from->fd < 0) return NULL;
    cf_buf_reset(&lane->chunk);
    uint8_t *place = cf_buf_reserve(&lane->chunk, ref->length);
    if (!place) return cf_buf_check(&lane->chunk, "a chunk");
    cf_err *err = cf_file_read_at(from->fd, from->position, place, ref->length, from->name, &got);
    if (err || got < ref->length) { /* then the vault is asked */
        cf_err_free(err);
        return NULL;
    }
    lane->chunk.size = ref->length;
    lane->bytes_read += ref->length;
    CF_TRY(cf_writer_lane_chunk_id(lane->store, CF_KIND_DATA, cf_buf_span(&lane->chunk), &id));
    *same = cf_id32_equal(&id, &ref->id);
    return NULL;
}

/* *ref becomes an address that stays. What cannot be read ends up in from->failure. */
static cf_err *settle(cf_scan_lane *lane, origin *from, cf_ref *ref) {
    cf_scan_run *run = lane->run;
    bool have = false;
    uint64_t position = from->position + ref->length;
    if (cf_map_has(run->options.refresh, ref->pack, ref->segment)) {
        CF_TRY(read_here(lane, from, ref, &have));
        if (!have) {
            from->failure = cf_lane_chunk(from->vault, NULL, CF_KIND_DATA, ref, &lane->chunk);
            lane->chunks_fetched += !from->failure;
        }
        if (from->failure) return NULL;
        CF_TRY(cf_writer_lane_store(lane->store, CF_KIND_DATA, cf_buf_span(&lane->chunk), ref));
    }
    from->position = position;
    return cf_run_stopped(run);
}

static cf_err *settle_content(cf_scan_lane *lane, origin *from, const cf_content *content) {
    CF_AUTO(cf_content_reader) reader = NULL;
    cf_content_builder_reset(lane->content);
    CF_TRY(cf_content_reader_open(from->vault, NULL, content, &reader));
    for (;;) {
        cf_ref ref;
        bool more = false;
        from->failure = cf_content_reader_next(reader, &ref, &more);
        if (from->failure || !more) return NULL;
        CF_TRY(settle(lane, from, &ref));
        if (from->failure) return NULL;
        CF_TRY(cf_content_builder_add(lane->content, &ref));
    }
}

/* Attributes that are stored as chunks. */
static cf_err *settle_xattrs(cf_scan_lane *lane, origin *from, cf_content *content, cf_buf *refs) {
    cf_cursor cursor = cf_cursor_of(content->refs);
    uint64_t last_pack = 0;
    uint32_t last_segment = UINT32_MAX;
    for (uint32_t i = 0; i < content->count && content->depth == 0; i++) {
        cf_ref ref;
        cf_ref_decode(&cursor, &ref);
        from->failure = cf_cursor_check(&cursor, CF_ERR_FORMAT, "references");
        if (!from->failure) CF_TRY(settle(lane, from, &ref));
        if (from->failure) return NULL;
        CF_TRY(cf_map_add(lane->map, ref.pack, ref.segment));
        cf_pairs_add(&lane->pairs, &last_pack, &last_segment, ref.pack, ref.segment);
        cf_ref_encode(&ref, refs);
    }
    content->refs = cf_buf_span(refs);
    return cf_buf_check(refs, "extended attributes");
}

/* The base's entry with new addresses, in lane->entry and lane->pairs. */
static cf_err *make_entry(cf_scan_lane *lane, origin *from, cf_entry *entry) {
    CF_AUTO_BUF cf_buf refs;
    cf_span pairs = {0};
    cf_buf_init(&refs, 65536);
    cf_buf_reset(&lane->pairs);
    if (entry->meta.type == CF_TYPE_FILE) {
        CF_TRY(settle_content(lane, from, &entry->content));
        if (from->failure) return NULL;
        CF_TRY(cf_content_builder_finish(lane->content, &entry->content, &pairs));
    }
    from->fd = -1; /* attributes are not in the file */
    if (entry->xattrs_chunked) CF_TRY(settle_xattrs(lane, from, &entry->xattr_content, &refs));
    if (from->failure) return NULL;
    cf_buf_put_span(&lane->pairs, pairs);
    cf_buf_reset(&lane->entry);
    CF_TRY(cf_entry_encode(entry, &lane->entry));
    return cf_buf_check(&lane->pairs, "the segments of an entry");
}

static cf_err *store_again(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_slot *slot, cf_entry *entry, int fd,
                           bool *done) {
    origin from = {.name = slot_name(folder, slot), .fd = fd};
    CF_TRY(vault_lane(lane, &from.vault));
    CF_TRY(make_entry(lane, &from, entry));
    CF_AUTO(cf_err) failure = from.failure;
    if (cf_err_is(failure, CF_ERR_OUT_OF_MEMORY) || cf_err_is(failure, CF_ERR_CANCELLED)) return cf_take(failure);
    if (failure) { /* it stays where it stands */
        cf_log_error(CF_LOG_INFO, failure);
        return NULL;
    }
    *done = true;
    return cf_slot_set(folder, slot, cf_buf_span(&lane->entry), cf_buf_span(&lane->pairs));
}

/* Is the object one of those? entry: the base's. */
static bool begin(cf_scan_lane *lane, const cf_scan_folder *folder, const cf_scan_slot *slot, cf_entry *entry) {
    const cf_backup_options *options = &lane->run->options;
    if (!slot->base_good || !options->refresh || !options->reader) return false;
    CF_AUTO(cf_err) malformed = cf_entry_decode(slot_text(folder, slot, slot->entry), lane->xattrs, entry);
    return !malformed && !entry->not_read; /* else it is read as a whole */
}

cf_err *cf_file_again(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_slot *slot, bool *done) {
    cf_entry entry;
    cf_stat now;
    CF_AUTO_FD int fd = -1;
    if (slot->stat.type != CF_TYPE_FILE || !begin(lane, folder, slot, &entry)) return NULL;
    if (entry.content.depth == 0 || entry.sparse || entry.changed) return NULL;
    CF_AUTO(cf_err) unreadable = cf_os_open_file(folder->fd, slot_name(folder, slot), &fd, &now);
    if (unreadable) return NULL; /* who reads all of it meets the same */
    return store_again(lane, folder, slot, &entry, fd, done);
}

cf_err *cf_file_from_vault(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_slot *slot, bool *done) {
    cf_entry entry;
    if (!begin(lane, folder, slot, &entry)) return NULL;
    return store_again(lane, folder, slot, &entry, -1, done);
}
