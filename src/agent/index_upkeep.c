#include "agent/index_upkeep.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "remote/packs.h"

enum { LIST_PAGE = 1000, FRAMES_PAGE = 64 };

static cf_err *open_in(const char *scratch, const cf_id16 *server, cf_index **index) {
    CF_AUTO_FREE char *folder = cf_text_format("%s/index", scratch);
    if (!folder) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the index's path");
    cf_index_options options = {0};
    memcpy(options.server_id, server->bytes, 16);
    return cf_index_open(folder, &options, index);
}

static cf_err *destroy_in(const char *scratch) {
    CF_AUTO_FREE char *folder = cf_text_format("%s/index", scratch);
    if (!folder) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the index's path");
    return cf_index_destroy(folder);
}

cf_err *cf_index_upkeep_open(const char *scratch, const cf_id16 *server, cf_index **index, bool *fresh) {
    cf_err *err = open_in(scratch, server, index);
    if (cf_err_code(err) == CF_ERR_INDEX_UNREADABLE) {
        cf_log_error(CF_LOG_WARNING, err);
        cf_log(CF_LOG_WARNING, "the chunk index is made again from the vault's pack directories");
        cf_err_free(err);
        CF_TRY(destroy_in(scratch));
        err = open_in(scratch, server, index);
    }
    CF_TRY(err);
    *fresh = cf_index_fresh(*index) || cf_index_recovered(*index);
    return NULL;
}

cf_err *cf_index_upkeep_restart(const char *scratch, const cf_id16 *server, cf_index **index) {
    cf_index_discard(cf_take(*index));
    CF_TRY(destroy_in(scratch));
    return open_in(scratch, server, index);
}

cf_err *cf_index_upkeep_highest(cf_index *index, uint64_t *highest) {
    CF_AUTO_FREE cf_index_pack_range *ranges = NULL;
    size_t count = 0;
    CF_TRY(cf_index_applied_ranges(index, &ranges, &count));
    *highest = count ? ranges[count - 1].last : 0;
    return NULL;
}

static cf_err *apply_directory(cf_index *index, cf_reader *reader, cf_lane *lane, uint64_t pack) {
    CF_AUTO_FREE cf_directory_entry *chunks = NULL;
    size_t count = 0;
    CF_TRY(cf_lane_directory(lane, pack, NULL, &chunks, &count));
    CF_AUTO_FREE cf_extent *extents = NULL;
    CF_AUTO_FREE cf_index_entry *entries = calloc(count ? count : 1, sizeof *entries);
    size_t extent_count = 0, at = 0, kept = 0;
    if (!entries) return cf_fail(CF_ERR_OUT_OF_MEMORY, "entries of the index");
    CF_TRY(cf_reader_extents(reader, pack, &extents, &extent_count));
    for (size_t i = 0; i < count; i++) { /* both ascend by segment; what compaction has left out is not there */
        while (at < extent_count && extents[at].segment < chunks[i].segment) at++;
        if (at == extent_count || extents[at].segment != chunks[i].segment) continue;
        memcpy(entries[kept].id, chunks[i].id.bytes, CF_INDEX_ID_SIZE);
        entries[kept].segment = chunks[i].segment;
        entries[kept].offset = chunks[i].offset;
        entries[kept++].length = chunks[i].length;
    }
    return cf_index_apply_pack(index, pack, entries, kept);
}

static cf_err *fill_some(cf_index *index, cf_reader *reader, cf_lane *lane, const uint64_t *packs, size_t count,
                         uint64_t *added) {
    CF_TRY(cf_reader_prepare(reader, packs, count));
    for (size_t i = 0; i < count; i++) {
        cf_err *err = apply_directory(index, reader, lane, packs[i]);
        if (err && cf_err_has(err, CF_F_DAMAGE)) {
            /* What cannot be read is not used again; the scan stores it anew where it is needed. */
            cf_log_error(CF_LOG_WARNING, err);
            cf_err_free(err);
            continue;
        }
        CF_TRY(err);
        ++*added;
    }
    return NULL;
}

cf_err *cf_index_upkeep_retire(cf_index *index, uint64_t generation, const uint8_t epoch[16],
                               const cf_remote_segments *retired, size_t count) {
    size_t total = 0, at = 0;
    for (size_t i = 0; i < count; i++) total += retired[i].all ? CF_SEGMENTS_MAX : retired[i].count;
    CF_AUTO_FREE cf_index_segment *list = calloc(total ? total : 1, sizeof *list);
    if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the feed of retired segments");
    for (size_t i = 0; i < count; i++) {
        size_t segments = retired[i].all ? CF_SEGMENTS_MAX : retired[i].count;
        for (size_t k = 0; k < segments; k++)
            list[at++] = (cf_index_segment){retired[i].pack, retired[i].all ? (uint16_t)k : retired[i].segments[k]};
    }
    return cf_index_apply_feed(index, generation, epoch, list, total);
}

/* A pack of which nothing is usable is known as that, unread. */
static cf_err *skip_dead(cf_index *index, const cf_remote_pack_info *info, bool *skipped) {
    *skipped = info->segments > 0 && info->retired_segments >= info->segments;
    return *skipped ? cf_index_apply_pack(index, info->number, NULL, 0) : NULL;
}

/* What the listing says to be retired is newer than the generation that we have, or as old. */
static cf_err *retire_listed(cf_index *index, const cf_remote_segments *retired, size_t count) {
    uint8_t epoch[16];
    if (count == 0) return NULL;
    cf_index_epoch(index, epoch);
    return cf_index_upkeep_retire(index, cf_index_generation(index), epoch, retired, count);
}

cf_err *cf_index_upkeep_fill(cf_index *index, cf_remote *remote, cf_reader *reader, cf_cancel *cancel,
                             uint64_t *added) {
    CF_AUTO(cf_lane) lane = NULL;
    CF_TRY(cf_lane_new(reader, &lane));
    *added = 0;
    uint64_t after = 0, packs[FRAMES_PAGE];
    for (bool more = true; more;) {
        CF_AUTO_FREE cf_remote_pack_info *listed = NULL;
        cf_remote_segments *retired = NULL;
        size_t count = 0, unknown = 0, retired_count = 0;
        CF_TRY(cf_remote_list_packs(remote, after, LIST_PAGE, &listed, &count, &more, &retired, &retired_count));
        cf_err *err = retire_listed(index, retired, retired_count);
        cf_remote_segments_free(retired, retired_count);
        CF_TRY(err);
        if (count == 0) break;
        for (size_t i = 0; i < count; i++) {
            bool known = cf_index_has_pack(index, listed[i].number);
            after = listed[i].number;
            if (!known) CF_TRY(skip_dead(index, &listed[i], &known));
            if (!known) packs[unknown++] = listed[i].number;
            if (unknown < FRAMES_PAGE && i + 1 < count) continue;
            CF_TRY(fill_some(index, reader, lane, packs, unknown, added));
            CF_TRY(cf_cancel_check(cancel));
            unknown = 0;
        }
    }
    return cf_index_flush(index);
}
