#include "service/rebuild.h"

#include <stdio.h>
#include <stdlib.h>

#include "digest/digest.h"
#include "os/file.h"
#include "records/reclaim.h"
#include "service/merged.h"
#include "service/packcheck.h"
#include "service/rebuild_journal.h"
#include "service/scrub.h"
#include "service/time_guard.h"
#include "visible/map.h"
#include "visible/names.h"
#include "visible/point.h"
#include "visible/relocation.h"
#include "visible/slot_header.h"

#define NEW_DATABASE CF_VAULT_DATABASE ".rebuild"
#define OLD_DATABASE CF_VAULT_DATABASE ".old"
enum { PAGE = 1000, JOURNAL_MAX = CF_JOURNAL_BODY_MAX + 4096 };

/* Errors about one object are problems; these end the whole. */
static bool fatal(const cf_err *err) {
    switch (cf_err_code(err)) {
    case CF_ERR_DATABASE:
    case CF_ERR_DISK_FULL:
    case CF_ERR_OUT_OF_MEMORY:
    case CF_ERR_CANCELLED:
    case CF_ERR_INTERNAL:
        return true;
    default:
        return false;
    }
}

/* Takes err. */
static cf_err *judge(cf_rebuild *job, const char *key, cf_err *err) {
    if (!err || fatal(err)) return err;
    job->report->problems++;
    job->problem(job->context, key, err);
    cf_err_free(err);
    return NULL;
}

static cf_err *load(cf_rebuild *job, const char *key, size_t max, cf_buf *out) {
    cf_buf_init(out, max);
    return cf_objects_get_all(job->vault->objects, key, max, out);
}

static cf_err *mismatch(const char *what) {
    return cf_fail_reason(CF_ERR_FORMAT, "name", "the %s is not the one that its name says", what);
}

static cf_err *take_slot(cf_rebuild *job, const char *key, const cf_name *name) {
    CF_AUTO_BUF cf_buf bytes;
    cf_slot_header header;
    CF_TRY(load(job, key, CF_SLOT_BYTES, &bytes));
    CF_TRY(cf_slot_header_decode(cf_buf_span(&bytes), &header));
    if (!cf_id16_equal(&header.server, &name->server) || header.number != name->number) return mismatch("key slot");
    cf_slot_row row = {header.number, 0}; /* when: the journal says */
    CF_TRY(cf_records_add_slot(job->vault->records, &name->server, &row, cf_buf_span(&bytes)));
    job->report->slots++;
    return NULL;
}

static cf_err *take_record(cf_rebuild *job, const char *key, const cf_name *name) {
    CF_AUTO_BUF cf_buf bytes;
    cf_id16 server, session;
    CF_TRY(load(job, key, CF_KEY_RECORD_BYTES, &bytes));
    CF_TRY(cf_key_record_header_decode(cf_buf_span(&bytes), &server, &session));
    if (!cf_id16_equal(&server, &name->server) || !cf_id16_equal(&session, &name->session))
        return mismatch("key record");
    CF_TRY(cf_records_add_record(job->vault->records, &server, &session, cf_buf_span(&bytes)));
    job->report->records++;
    return NULL;
}

/* Compaction makes new generations of a pack; the newest is where it stands. */
static cf_err *add_pack(cf_rebuild *job, const cf_pack_frame *frame, const cf_pack_row *row) {
    cf_pack_row known;
    bool found = false;
    cf_records *records = job->vault->records;
    cf_span header = cf_span_of(frame->header_bytes, sizeof frame->header_bytes);
    CF_TRY(cf_records_find_pack(records, &row->server, row->number, &found, &known));
    if (found && (known.generation == row->generation || !cf_id16_equal(&known.session, &row->session)))
        return cf_fail(CF_ERR_OBJECT_CONFLICT, "another object has this pack number");
    if (found && known.generation > row->generation) return NULL; /* left from before: compaction removes it */
    if (found) {
        job->report->bytes += row->size - known.size;
        return cf_records_move_pack(records, row, header, cf_buf_span(&frame->tail));
    }
    CF_TRY(cf_records_add_pack(records, row, header, cf_buf_span(&frame->tail)));
    job->report->packs++;
    job->report->bytes += row->size;
    return cf_records_set_next_number(records, &row->server, row->number + 1);
}

/* Segments that are not what the extent table says: the others are as good as before. */
typedef struct bad_segments {
    cf_rebuild *job;
    cf_damage_row row;
    size_t count;
} bad_segments;

static cf_err *on_bad(void *context, const cf_extent *extent) {
    bad_segments *bad = context;
    cf_damage_row known;
    bool found = false;
    bad->count++;
    bad->row.segment = extent->segment;
    CF_TRY(cf_records_find_damage(bad->job->vault->records, bad->row.object, extent->segment, &found, &known));
    if (found && strcmp(known.state, "gone") != 0) return NULL;
    snprintf(bad->row.reason, sizeof bad->row.reason, "sum");
    snprintf(bad->row.state, sizeof bad->row.state, "open");
    return cf_scrub_put_mark(bad->job->vault, &bad->row);
}

/* One pack that begins at base and has size bytes. place: what of a row says where it stands. */
static cf_err *take_pack_at(cf_rebuild *job, cf_object_reader *reader, const cf_pack_row *place, uint64_t size) {
    CF_AUTO_PACK_FRAME cf_pack_frame frame = {0};
    uint8_t xxh3[16];
    bad_segments bad = {job, {.has_server = true, .server = place->server, .pack = place->number}, 0};
    /* Whatever it is: its number is used. */
    CF_TRY(cf_records_set_next_number(job->vault->records, &place->server, place->number + 1));
    CF_TRY(cf_pack_frame_read_at(reader, place->base, size, &frame));
    if (!cf_id16_equal(&frame.header.server, &place->server) ||
        !cf_id16_equal(&frame.header.session, &place->session) || frame.header.number != place->number)
        return mismatch("pack");
    cf_name_pack(&place->server, place->number, &place->session, 0, bad.row.object);
    CF_TRY(cf_pack_frame_examine(reader, place->base, &frame, on_bad, &bad, xxh3));
    cf_pack_row row = cf_pack_frame_row(&frame, xxh3);
    row.generation = place->generation;
    row.is_merged = place->is_merged;
    row.merged = place->merged;
    row.base = place->base;
    CF_TRY(add_pack(job, &frame, &row));
    if (bad.count == 0) return NULL;
    return cf_fail_reason(CF_ERR_SEGMENT_DAMAGED, "sum", "%zu segments of pack %llu are damaged: marked", bad.count,
                          (unsigned long long)place->number);
}

static cf_err *take_pack(cf_rebuild *job, const char *key, const cf_name *name) {
    CF_AUTO(cf_object_reader) reader = NULL;
    cf_pack_row place = {
        .server = name->server, .session = name->session, .number = name->number, .generation = name->generation};
    CF_TRY(cf_records_set_next_number(job->vault->records, &name->server, name->number + 1));
    CF_TRY(cf_objects_open(job->vault->objects, key, &reader));
    return take_pack_at(job, reader, &place, cf_object_reader_size(reader));
}

/* Packs beside each other in one object, each with its generation. */
static cf_err *take_merged(cf_rebuild *job, const char *key, const cf_name *name) {
    CF_AUTO(cf_object_reader) reader = NULL;
    CF_AUTO_FREE cf_merged_pack *packs = NULL;
    size_t count = 0;
    CF_TRY(cf_objects_open(job->vault->objects, key, &reader));
    CF_TRY(cf_merged_read(reader, &name->server, &name->session, &packs, &count));
    for (size_t i = 0; i < count; i++) {
        cf_pack_row place = {.server = name->server,
                             .session = packs[i].session,
                             .number = packs[i].number,
                             .generation = packs[i].generation,
                             .is_merged = true,
                             .merged = name->session,
                             .base = packs[i].offset};
        CF_TRY(judge(job, key, take_pack_at(job, reader, &place, packs[i].size)));
    }
    return NULL;
}

static cf_err *take_relocation(cf_rebuild *job, const char *key, const cf_name *name) {
    CF_AUTO_BUF cf_buf bytes;
    cf_relocation_frame frame;
    uint8_t sum[32];
    CF_TRY(load(job, key, CF_RELOCATION_MAX, &bytes));
    CF_TRY(cf_sha256(cf_buf_span(&bytes), sum));
    CF_TRY(cf_relocation_decode(cf_buf_span(&bytes), &frame));
    if (memcmp(sum, name->point.bytes, 32) != 0 || !cf_id16_equal(&frame.server, &name->server) ||
        frame.number != name->number)
        return mismatch("relocation record");
    cf_relocation_row row = {name->server, name->number, bytes.size, name->point};
    return cf_records_add_relocation(job->vault->records, &row);
}

static cf_err *decode_point(const cf_name *name, cf_span bytes, cf_point_row *row, uint64_t *finished) {
    cf_point_frame frame;
    cf_summary summary;
    cf_map_header map;
    uint8_t sum[32];
    CF_TRY(cf_sha256(bytes, sum));
    if (memcmp(sum, name->point.bytes, 32) != 0) return mismatch("recovery point");
    CF_TRY(cf_point_decode(bytes, &frame));
    CF_TRY(cf_summary_decode(frame.summary, &summary));
    CF_TRY(cf_map_peek(frame.map, &map));
    if (!cf_id16_equal(&frame.server, &name->server) || frame.counter != name->number)
        return mismatch("recovery point");
    if (frame.summary.size > sizeof row->summary) return cf_fail(CF_ERR_TOO_LARGE, "the summary is too large");
    *row = (cf_point_row){.id = name->point,
                          .previous = frame.previous,
                          .server = frame.server,
                          .session = frame.session,
                          .counter = frame.counter,
                          .size = bytes.size,
                          .delta = map.delta,
                          .base = map.base,
                          .chain = map.delta ? map.chain : 0,
                          .summary_size = frame.summary.size};
    memcpy(row->summary, frame.summary.data, frame.summary.size);
    row->manual = summary.selection == CF_SELECTION_MANUAL;
    row->flagged = summary.with_warnings;
    *finished = summary.finished;
    return NULL;
}

static cf_err *read_point(cf_rebuild *job, const char *key, const cf_name *name, cf_point_row *row) {
    CF_AUTO(cf_object_reader) reader = NULL;
    CF_AUTO_BUF cf_buf bytes;
    uint64_t finished = 0;
    CF_TRY(load(job, key, CF_POINT_MAX, &bytes));
    CF_TRY(decode_point(name, cf_buf_span(&bytes), row, &finished));
    CF_TRY(cf_objects_open(job->vault->objects, key, &reader));
    row->received = cf_object_reader_stored(reader);
    if (row->received == 0) row->received = (int64_t)finished;
    row->scheduled = !row->manual; /* unless the journal says that it was not */
    row->slot = row->received;
    return NULL;
}

/* Two objects with one counter: one was stored just before a crash and never acknowledged. The one that the next
 * point follows (wanted) is right; without a next one, the later. NULL when there is none at all. */
static const cf_point_row *choose_candidate(const cf_rebuild *job, const cf_id32 *wanted) {
    const cf_point_row *latest = NULL;
    for (size_t i = 0; i < job->candidate_count; i++) {
        const cf_point_row *at = &job->candidates[i];
        if (wanted && cf_id32_equal(&at->id, wanted)) return at;
        if (!latest || at->received >= latest->received) latest = at;
    }
    return latest;
}

/* Packs that a point brought are no orphans. Others that its map needs are seen by reclaiming. */
static cf_err *own_packs(cf_rebuild *job, const cf_point_row *row) {
    CF_AUTO_BUF cf_buf bytes;
    CF_AUTO_FREE cf_pack_name *packs = NULL;
    cf_point_frame frame;
    size_t count = 0;
    char key[CF_NAME_MAX];
    cf_name_point(&row->server, row->counter, &row->id, key);
    CF_TRY(load(job, key, CF_POINT_MAX, &bytes));
    CF_TRY(cf_point_decode(cf_buf_span(&bytes), &frame));
    CF_TRY(cf_pack_list_decode(frame.pack_list, &packs, &count));
    for (size_t i = 0; i < count; i++)
        CF_TRY(cf_records_own_pack(job->vault->records, &row->server, packs[i].number, row->counter));
    return NULL;
}

cf_err *cf_rebuild_settle(cf_rebuild *job, const cf_id32 *wanted) {
    const cf_point_row *kept = choose_candidate(job, wanted);
    for (size_t i = 0; i < job->candidate_count; i++) {
        cf_point_row *at = &job->candidates[i];
        bool forks = false;
        CF_TRY(cf_rebuild_forks(job, at, &forks));
        if (at == kept && !forks) {
            CF_TRY(cf_records_add_point(job->vault->records, at));
            CF_TRY(own_packs(job, at));
            job->report->points++;
            continue;
        }
        char key[CF_NAME_MAX];
        cf_name_point(&at->server, at->counter, &at->id, key);
        if (job->merging) CF_TRY(cf_rebuild_refuse(job, at));
        CF_TRY(judge(job, key,
                     cf_fail(CF_ERR_POINT_CONFLICT, "was never acknowledged: another point follows in its place")));
    }
    job->candidate_count = 0;
    return NULL;
}

static cf_err *take_point(cf_rebuild *job, const char *key, const cf_name *name) {
    cf_point_row row;
    CF_TRY(read_point(job, key, name, &row));
    const cf_point_row *before = job->candidate_count ? &job->candidates[0] : NULL;
    if (before && !(cf_id16_equal(&before->server, &row.server) && before->counter == row.counter))
        CF_TRY(cf_rebuild_settle(job, cf_id16_equal(&before->server, &row.server) ? &row.previous : NULL));
    if (job->candidate_count == CF_REBUILD_CANDIDATES_MAX)
        return cf_fail(CF_ERR_POINT_CONFLICT, "too many of one counter");
    job->candidates[job->candidate_count++] = row;
    return NULL;
}

cf_err *cf_rebuild_object(cf_rebuild *job, const char *key) {
    cf_name name;
    bool known = false;
    cf_server_row server;
    if (!cf_name_parse(key, &name)) return cf_fail(CF_ERR_FORMAT, "the name means nothing to this version");
    CF_TRY(cf_records_find_server(job->vault->records, &name.server, &known, &server));
    if (!known) return cf_fail(CF_ERR_UNKNOWN_SERVER, "no journal entry registers this server");
    switch (name.type) {
    case CF_NAME_SLOT:
        return take_slot(job, key, &name);
    case CF_NAME_RECORD:
        return take_record(job, key, &name);
    case CF_NAME_PACK:
        return take_pack(job, key, &name);
    case CF_NAME_POINT:
        return take_point(job, key, &name);
    case CF_NAME_RELOCATION:
        return take_relocation(job, key, &name);
    case CF_NAME_MERGED:
        return take_merged(job, key, &name);
    case CF_NAME_JOURNAL:
        break;
    }
    return cf_fail(CF_ERR_FORMAT, "the name means nothing to this version");
}

cf_err *cf_rebuild_journal(cf_rebuild *job, const char *key) {
    CF_AUTO_BUF cf_buf bytes;
    cf_journal_entry entry;
    cf_name name;
    if (!cf_name_parse(key, &name) || name.type != CF_NAME_JOURNAL)
        return cf_fail(CF_ERR_FORMAT, "the name means nothing to this version");
    CF_TRY(cf_records_set_journal_next(job->vault->records, name.number + 1));
    CF_TRY(load(job, key, JOURNAL_MAX, &bytes));
    CF_TRY(cf_journal_decode(cf_buf_span(&bytes), &entry));
    if (entry.sequence != name.number) return mismatch("journal entry");
    return cf_rebuild_entry(job, &entry);
}

/* A page in one transaction. */
static cf_err *take_page(cf_rebuild *job, const cf_object_page *page, cf_rebuild_take take) {
    for (size_t i = 0; i < page->count; i++) {
        CF_TRY(cf_cancel_check(job->cancel));
        CF_TRY(judge(job, page->keys[i], take(job, page->keys[i])));
    }
    return NULL;
}

cf_err *cf_rebuild_take_all(cf_rebuild *job, const char *prefix, const char *behind, cf_rebuild_take take) {
    char after[CF_OBJECT_KEY_MAX + 1];
    snprintf(after, sizeof after, "%s", behind ? behind : "");
    for (bool more = true; more;) {
        cf_object_page page;
        CF_TRY(cf_objects_list(job->vault->objects, prefix, after[0] ? after : NULL, PAGE, &page));
        cf_err *err = cf_records_begin(job->vault->records);
        if (!err) err = cf_records_finish(job->vault->records, take_page(job, &page, take));
        more = page.more;
        if (page.count) snprintf(after, sizeof after, "%s", page.keys[page.count - 1]);
        cf_object_page_wipe(&page);
        CF_TRY(err);
    }
    return NULL;
}

static cf_err *fill(cf_rebuild *job) {
    CF_TRY(cf_rebuild_take_all(job, "journal/", NULL, cf_rebuild_journal));
    if (!job->has_vault)
        return cf_fail(CF_ERR_FORMAT,
                       "no journal entry says which vault this is: bring the journal folder back from a copy");
    CF_TRY(cf_random(job->vault->row.epoch.bytes, 16));
    CF_TRY(cf_random(job->vault->row.url_key, sizeof job->vault->row.url_key));
    CF_TRY(cf_records_set_vault(job->vault->records, &job->vault->row));
    CF_TRY(cf_rebuild_take_all(job, "servers/", NULL, cf_rebuild_object));
    CF_TRY(cf_rebuild_settle(job, NULL));
    CF_TRY(cf_rebuild_take_all(job, "journal/", NULL, cf_rebuild_retained));
    CF_TRY(cf_records_settle_orphans(job->vault->records));
    CF_TRY(cf_expiry_stop_now(job->vault, "rebuild", "the database was made again from what the store has", false));
    return cf_records_settle(job->vault->records);
}

static cf_err *remove_database(cf_vault *vault, const char *name) {
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s%s", name, parts[i]);
        CF_TRY(cf_file_remove(vault->fd, file, NULL));
    }
    return NULL;
}

/* The old database goes aside with its log first: an old log beside a new file would be applied to it. */
static cf_err *replace_database(cf_vault *vault) {
    static const char *const parts[] = {"-wal", "-shm", ""};
    CF_TRY(remove_database(vault, OLD_DATABASE));
    for (size_t i = 0; i < 3; i++) {
        char from[64], to[64];
        bool exists = false;
        snprintf(from, sizeof from, "%s%s", CF_VAULT_DATABASE, parts[i]);
        snprintf(to, sizeof to, "%s%s", OLD_DATABASE, parts[i]);
        CF_TRY(cf_file_exists(vault->fd, from, &exists));
        if (exists) CF_TRY(cf_file_rename_durable(vault->fd, from, vault->fd, to));
    }
    return cf_file_rename_durable(vault->fd, NEW_DATABASE, vault->fd, CF_VAULT_DATABASE);
}

cf_err *cf_vault_rebuild(const char *path, cf_clock clock, cf_cancel *cancel, cf_rebuild_problem problem, void *context,
                         cf_rebuild_report *report) {
    CF_AUTO(cf_vault) vault = NULL;
    cf_rebuild_report counts = {0};
    CF_TRY(cf_vault_open_objects(path, clock, &vault));
    CF_AUTO_FREE char *database = cf_vault_path(vault, NEW_DATABASE);
    CF_AUTO_FREE cf_rebuild *job = calloc(1, sizeof *job);
    if (!database || !job) return cf_fail(CF_ERR_OUT_OF_MEMORY, "rebuilding");
    *job = (cf_rebuild){.vault = vault, .cancel = cancel, .problem = problem, .context = context, .report = &counts};
    CF_TRY(remove_database(vault, NEW_DATABASE));
    CF_TRY(cf_records_open(database, true, &vault->records));
    cf_err *err = fill(job);
    cf_records_close(vault->records);
    vault->records = NULL;
    if (err) {
        cf_err_free(remove_database(vault, NEW_DATABASE)); /* the next run removes what is left */
        return err;
    }
    CF_TRY(replace_database(vault));
    *report = counts;
    return NULL;
}
