#include "service/scrub.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "digest/digest.h"
#include "service/call.h"
#include "service/liveness.h"
#include "service/place.h"
#include "service/relocate.h"
#include "visible/pack.h"

enum { PAGE = 256, TAIL_MAX = 3 << 20, JOURNAL_MAX = CF_JOURNAL_BODY_MAX + 4096 };

/* The parts of a server, in the order in which they are read. */
typedef enum stage { SLOTS, RECORDS, PACKS, POINTS, RELOCATIONS, STAGES } stage;

typedef struct run {
    const cf_scrub *scrub;
    cf_vault *vault;
    cf_scrub_report *report;
    cf_scrub_row place;
    uint64_t total;
    uint8_t *segment; /* room for one */
    size_t room;
} run;

/* ---- Marks ---- */

cf_err *cf_scrub_put_mark(cf_vault *vault, cf_damage_row *row) {
    cf_damage_row known;
    bool found = false;
    CF_TRY(cf_records_find_damage(vault->records, row->object, row->segment, &found, &known));
    row->changed = cf_vault_now(vault);
    row->found = found && strcmp(known.state, "gone") != 0 ? known.found : row->changed;
    json_t *body = json_pack("{ss,si,sI,ss,ss,sI,sI}", "object", row->object, "segment", row->segment + 1, "pack",
                             (json_int_t)row->pack, "reason", row->reason, "state", row->state, "found",
                             (json_int_t)row->found, "changed", (json_int_t)row->changed);
    if (body && row->has_server && json_object_set_new(body, "server_id", cf_value_hex(row->server.bytes, 16)) != 0) {
        json_decref(body);
        body = NULL;
    }
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_DAMAGE, body, NULL));
    return cf_records_put_damage(vault->records, row);
}

cf_err *cf_scrub_mark(cf_vault *vault, cf_damage_row *row) {
    CF_TRY(cf_records_begin(vault->records));
    return cf_records_finish(vault->records, cf_scrub_put_mark(vault, row));
}

static void set_word(char word[CF_WORD_MAX + 1], const char *text) {
    snprintf(word, CF_WORD_MAX + 1, "%s", text);
}

static void log_mark(const cf_damage_row *row) {
    if (row->segment == CF_DAMAGE_WHOLE)
        cf_log(CF_LOG_ERROR, "damage: %s (%s)", row->object, row->reason);
    else
        cf_log(CF_LOG_ERROR, "damage: segment %d of %s (%s)", row->segment, row->object, row->reason);
}

/* What was found of one thing: reason NULL: it is right. */
static cf_err *judge(run *job, cf_damage_row *row, const char *reason) {
    cf_damage_row known;
    bool there = false;
    CF_TRY(cf_records_find_damage(job->vault->records, row->object, row->segment, &there, &known));
    bool marked = there && strcmp(known.state, "gone") != 0;
    if (!reason) {
        if (!marked || strcmp(known.state, "open") != 0) return NULL; /* healed: the agent does not use it any more */
        known.changed = 0;
        set_word(known.state, "gone");
        job->report->mended++;
        cf_log(CF_LOG_INFO, "%s is right again", row->object);
        return cf_scrub_mark(job->vault, &known);
    }
    if (marked) {
        bool open = strcmp(known.state, "open") == 0;
        *(open ? &job->report->known : &job->report->healed) += 1;
        if (open && job->scrub->damage) job->scrub->damage(job->scrub->context, &known);
        return NULL;
    }
    set_word(row->reason, reason);
    set_word(row->state, "open");
    job->report->found++;
    log_mark(row);
    CF_TRY(cf_scrub_mark(job->vault, row));
    if (job->scrub->damage) job->scrub->damage(job->scrub->context, row);
    return NULL;
}

/* Errors that say something about the object, and not about this machine's memory or the database. Takes err. */
static cf_err *as_reason(cf_err *err, const char **reason) {
    switch (cf_err_code(err)) {
    case CF_OK:
        return NULL;
    case CF_ERR_OUT_OF_MEMORY:
    case CF_ERR_DATABASE:
    case CF_ERR_DISK_FULL:
    case CF_ERR_CANCELLED:
    case CF_ERR_INTERNAL:
        return err;
    case CF_ERR_OBJECT_MISSING:
        *reason = "missing";
        break;
    case CF_ERR_IO:
        *reason = strcmp(cf_err_reason(err), "short") == 0 ? "short" : "unreadable";
        break;
    default:
        *reason = "format";
    }
    cf_err_free(err);
    return NULL;
}

static cf_err *took(run *job, uint64_t bytes) {
    job->report->objects++;
    job->report->bytes += bytes;
    if (job->scrub->pace) job->scrub->pace(job->scrub->context, job->report, job->total);
    return cf_cancel_check(job->scrub->cancel);
}

/* ---- Packs ---- */

static cf_err *read_part(cf_object_reader *reader, uint64_t offset, uint8_t *out, size_t size, const char **reason) {
    size_t got = 0;
    CF_TRY(as_reason(cf_object_reader_read(reader, offset, out, size, &got), reason));
    if (!*reason && got < size) *reason = "short";
    return NULL;
}

static cf_err *check_segment(run *job, cf_object_reader *reader, const cf_pack_row *pack, const cf_extent *extent,
                             cf_damage_row *row) {
    const char *reason = NULL;
    uint8_t sum[16];
    row->segment = extent->segment;
    if (extent->length > job->room) {
        uint8_t *grown = realloc(job->segment, extent->length);
        if (!grown) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a segment");
        job->segment = grown;
        job->room = extent->length;
    }
    CF_TRY(read_part(reader, pack->base + extent->offset, job->segment, extent->length, &reason));
    if (!reason) {
        cf_xxh3_128(cf_span_of(job->segment, extent->length), sum);
        if (memcmp(sum, extent->xxh3, 16) != 0) reason = "sum";
    }
    return judge(job, row, reason);
}

/* The frame as it stands, beside the one that the database has: a rebuild reads the former. */
static cf_err *check_frame(run *job, cf_object_reader *reader, const cf_pack_row *pack, cf_span header, cf_span tail,
                           cf_damage_row *row) {
    CF_AUTO_FREE uint8_t *bytes = malloc(header.size + tail.size);
    const char *reason = NULL;
    if (!bytes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a pack's frame");
    CF_TRY(read_part(reader, pack->base, bytes, header.size, &reason));
    if (!reason)
        CF_TRY(read_part(reader, pack->base + pack->size - tail.size, bytes + header.size, tail.size, &reason));
    if (!reason &&
        (memcmp(bytes, header.data, header.size) != 0 || memcmp(bytes + header.size, tail.data, tail.size) != 0))
        reason = "table";
    row->segment = CF_DAMAGE_WHOLE;
    return judge(job, row, reason);
}

static int by_offset(const void *a, const void *b) {
    const cf_extent *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Removed, or moved by compaction, since it was listed? */
static cf_err *is_elsewhere(run *job, const cf_pack_row *pack, bool *elsewhere) {
    cf_pack_row now;
    bool there = false;
    CF_TRY(cf_records_find_pack(job->vault->records, &pack->server, pack->number, &there, &now));
    *elsewhere = !there || now.generation != pack->generation || now.is_merged != pack->is_merged ||
                 !cf_id16_equal(&now.merged, &pack->merged);
    return NULL;
}

static cf_err *check_extents(run *job, const cf_pack_row *pack, cf_span header, cf_span tail, const cf_extent *extents,
                             size_t count) {
    CF_AUTO(cf_object_reader) reader = NULL;
    char key[CF_NAME_MAX];
    const char *reason = NULL;
    bool elsewhere = false;
    cf_damage_row row = {.has_server = true, .server = pack->server, .pack = pack->number};
    cf_name_pack(&pack->server, pack->number, &pack->session, 0, row.object);
    cf_pack_place(pack, key);
    CF_TRY(as_reason(cf_objects_open(job->vault->objects, key, &reader), &reason));
    if (reason) CF_TRY(is_elsewhere(job, pack, &elsewhere));
    for (size_t i = 0; i < count && !elsewhere; i++) {
        CF_TRY(cf_cancel_check(job->scrub->cancel));
        row.segment = extents[i].segment;
        CF_TRY(reason ? judge(job, &row, reason) : check_segment(job, reader, pack, &extents[i], &row));
    }
    return reason ? NULL : check_frame(job, reader, pack, header, tail, &row);
}

static cf_err *check_pack(run *job, const cf_pack_row *pack) {
    CF_AUTO_FREE cf_extent *extents = NULL;
    CF_AUTO_BUF cf_buf header;
    CF_AUTO_BUF cf_buf tail;
    size_t count = 0;
    cf_buf_init(&header, CF_PACK_HEADER_SIZE);
    cf_buf_init(&tail, TAIL_MAX);
    CF_TRY(cf_records_get_tail(job->vault->records, &pack->server, pack->number, &header, &tail));
    CF_TRY(cf_pack_tail_decode(cf_buf_span(&header), cf_buf_span(&tail), pack->size, &extents, &count));
    qsort(extents, count, sizeof *extents, by_offset);
    return check_extents(job, pack, cf_buf_span(&header), cf_buf_span(&tail), extents, count);
}

/* ---- The small ones ---- */

/* An object that the database has a copy of. */
static cf_err *check_copy(run *job, const cf_id16 *server, const char *key, cf_span copy) {
    CF_AUTO_BUF cf_buf bytes;
    const char *reason = NULL;
    cf_damage_row row = {.segment = CF_DAMAGE_WHOLE, .has_server = true, .server = *server};
    snprintf(row.object, sizeof row.object, "%s", key);
    cf_buf_init(&bytes, 4096);
    CF_TRY(as_reason(cf_objects_get_all(job->vault->objects, key, 4096, &bytes), &reason));
    if (!reason && !cf_span_equal(cf_buf_span(&bytes), copy)) reason = "differs";
    CF_TRY(judge(job, &row, reason));
    return took(job, copy.size);
}

static cf_err *check_slots(run *job, const cf_id16 *server) {
    CF_AUTO_FREE cf_slot_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_slots(job->vault->records, server, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        CF_AUTO_BUF cf_buf slot;
        char key[CF_NAME_MAX];
        bool found = false;
        cf_buf_init(&slot, 4096);
        CF_TRY(cf_records_get_slot(job->vault->records, server, rows[i].number, &found, &slot));
        cf_name_slot(server, rows[i].number, key);
        if (found) CF_TRY(check_copy(job, server, key, cf_buf_span(&slot)));
    }
    return NULL;
}

static cf_err *check_records(run *job, const cf_id16 *server) {
    CF_AUTO_FREE cf_id16 *sessions = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_record_sessions(job->vault->records, server, &sessions, &count));
    for (size_t i = 0; i < count; i++) {
        CF_AUTO_BUF cf_buf record;
        char key[CF_NAME_MAX];
        bool found = false;
        cf_buf_init(&record, 4096);
        CF_TRY(cf_records_get_record(job->vault->records, server, &sessions[i], &found, &record));
        cf_name_record(server, &sessions[i], key);
        if (found) CF_TRY(check_copy(job, server, key, cf_buf_span(&record)));
    }
    return NULL;
}

/* An object whose name is its SHA-256. */
static cf_err *check_hashed(run *job, const cf_id16 *server, const char *key, const cf_id32 *id, size_t max) {
    CF_AUTO_BUF cf_buf bytes;
    const char *reason = NULL;
    uint8_t sum[32];
    cf_damage_row row = {.segment = CF_DAMAGE_WHOLE, .has_server = true, .server = *server};
    snprintf(row.object, sizeof row.object, "%s", key);
    cf_buf_init(&bytes, max);
    CF_TRY(as_reason(cf_objects_get_all(job->vault->objects, key, max, &bytes), &reason));
    if (!reason) {
        CF_TRY(cf_sha256(cf_buf_span(&bytes), sum));
        if (memcmp(sum, id->bytes, 32) != 0) reason = "id";
    }
    CF_TRY(judge(job, &row, reason));
    return took(job, bytes.size);
}

static cf_err *check_points(run *job, const cf_id16 *server) {
    CF_AUTO_FREE cf_point_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_points(job->vault->records, server, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        char key[CF_NAME_MAX];
        cf_point_row now;
        bool there = false;
        CF_TRY(cf_records_find_point(job->vault->records, server, &rows[i].id, &there, &now));
        if (!there) continue; /* expired meanwhile */
        cf_name_point(server, rows[i].counter, &rows[i].id, key);
        CF_TRY(check_hashed(job, server, key, &rows[i].id, CF_POINT_MAX));
    }
    return NULL;
}

static cf_err *check_relocations(run *job, const cf_id16 *server) {
    CF_AUTO_FREE cf_relocation_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_relocations(job->vault->records, server, 0, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        char key[CF_NAME_MAX];
        cf_name_relocation(server, rows[i].number, &rows[i].id, key);
        CF_TRY(check_hashed(job, server, key, &rows[i].id, CF_RELOCATION_MAX));
    }
    return NULL;
}

/* ---- The cycle ---- */

static cf_err *keep_place(run *job, const cf_id16 *server, stage at, uint64_t number) {
    if (!job->scrub->keep_place) return NULL;
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, id);
    snprintf(job->place.after, sizeof job->place.after, "%s %d %" PRIu64, id, (int)at, number);
    job->place.objects = job->report->objects;
    job->place.bytes = job->report->bytes;
    return cf_records_set_scrub(job->vault->records, &job->place);
}

static cf_err *check_packs(run *job, const cf_id16 *server, uint64_t after) {
    for (size_t count = PAGE; count == PAGE;) {
        CF_AUTO_FREE cf_pack_row *rows = NULL;
        CF_TRY(cf_records_list_packs(job->vault->records, server, after, PAGE, &rows, &count));
        for (size_t i = 0; i < count; i++) {
            CF_TRY(check_pack(job, &rows[i]));
            after = rows[i].number;
            CF_TRY(keep_place(job, server, PACKS, after));
            CF_TRY(took(job, rows[i].size));
        }
    }
    return NULL;
}

/* after: the last pack that was read, when that stage is gone on with. */
static cf_err *check_server(run *job, const cf_id16 *server, stage from, uint64_t after) {
    static cf_err *(*const small[STAGES])(run *, const cf_id16 *) = {check_slots, check_records, NULL, check_points,
                                                                     check_relocations};
    for (stage at = from; at < STAGES; at++) {
        CF_TRY(small[at] ? small[at](job, server) : check_packs(job, server, after));
        after = 0;
        CF_TRY(keep_place(job, server, at + 1, 0));
    }
    return NULL;
}

static cf_err *check_entry(run *job, const char *key) {
    CF_AUTO_BUF cf_buf bytes;
    cf_journal_entry entry;
    const char *reason = NULL;
    cf_damage_row row = {.segment = CF_DAMAGE_WHOLE};
    snprintf(row.object, sizeof row.object, "%s", key);
    cf_buf_init(&bytes, JOURNAL_MAX);
    cf_err *err = cf_objects_get_all(job->vault->objects, key, JOURNAL_MAX, &bytes);
    if (!err) err = cf_journal_decode(cf_buf_span(&bytes), &entry);
    CF_TRY(as_reason(err, &reason));
    CF_TRY(judge(job, &row, reason));
    return took(job, bytes.size);
}

static cf_err *check_journal(run *job) {
    char after[CF_OBJECT_KEY_MAX + 1] = "";
    for (bool more = true; more;) {
        cf_object_page page;
        CF_TRY(cf_objects_list(job->vault->objects, "journal/", after[0] ? after : NULL, PAGE, &page));
        cf_err *err = NULL;
        for (size_t i = 0; i < page.count && !err; i++) err = check_entry(job, page.keys[i]);
        more = page.more;
        if (page.count) snprintf(after, sizeof after, "%s", page.keys[page.count - 1]);
        cf_object_page_wipe(&page);
        CF_TRY(err);
    }
    return NULL;
}

/* Marks of packs that reclaiming has removed since. */
static cf_err *drop_gone(run *job) {
    CF_AUTO_FREE cf_damage_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_damage(job->vault->records, NULL, 0, NULL, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        cf_pack_row pack;
        bool found = true;
        if (rows[i].pack == 0 || !rows[i].has_server) continue;
        CF_TRY(cf_records_find_pack(job->vault->records, &rows[i].server, rows[i].pack, &found, &pack));
        if (found) continue;
        set_word(rows[i].state, "gone");
        CF_TRY(cf_scrub_mark(job->vault, &rows[i]));
    }
    return NULL;
}

static int by_id(const void *a, const void *b) {
    return memcmp(((const cf_server_row *)a)->id.bytes, ((const cf_server_row *)b)->id.bytes, 16);
}

static void parse_place(const char *text, cf_id16 *server, stage *from, uint64_t *number) {
    char id[CF_HEX_SIZE(16)] = "";
    int at = 0;
    *server = (cf_id16){{0}};
    *from = SLOTS;
    *number = 0;
    if (sscanf(text, "%32[0-9a-f] %d %" SCNu64, id, &at, number) == 3 && strlen(id) == 32 && at >= 0 && at <= STAGES &&
        cf_hex_decode(id, server->bytes, 16))
        *from = (stage)at;
}

static cf_err *run_cycle(run *job) {
    CF_AUTO_FREE cf_server_row *servers = NULL;
    size_t count = 0;
    cf_id16 first;
    stage from;
    uint64_t after;
    parse_place(job->place.after, &first, &from, &after);
    CF_TRY(cf_records_stored_bytes(job->vault->records, &job->total));
    CF_TRY(cf_records_list_servers(job->vault->records, &servers, &count));
    if (count) qsort(servers, count, sizeof *servers, by_id);
    for (size_t i = 0; i < count; i++) {
        int order = memcmp(servers[i].id.bytes, first.bytes, 16);
        if (order < 0) continue;
        CF_TRY(check_server(job, &servers[i].id, order == 0 ? from : SLOTS, order == 0 ? after : 0));
    }
    CF_TRY(check_journal(job));
    return drop_gone(job);
}

cf_err *cf_scrub_cycle(const cf_scrub *scrub, cf_scrub_report *report) {
    run job = {.scrub = scrub, .vault = scrub->vault, .report = report};
    *report = (cf_scrub_report){0};
    CF_TRY(cf_records_get_scrub(scrub->vault->records, &job.place));
    bool goes_on = scrub->keep_place && job.place.started > job.place.finished;
    if (goes_on) {
        report->objects = job.place.objects;
        report->bytes = job.place.bytes;
    } else {
        job.place.started = cf_vault_now(scrub->vault);
        job.place.after[0] = '\0';
        job.place.objects = job.place.bytes = 0;
        if (scrub->keep_place) CF_TRY(cf_records_set_scrub(scrub->vault->records, &job.place));
    }
    cf_err *err = run_cycle(&job);
    free(job.segment);
    CF_TRY(err);
    /* A pass that was asked for counts as a cycle, also when one of the service is on its way. */
    job.place.finished = cf_vault_now(scrub->vault);
    if (job.place.started > job.place.finished) job.place.started = job.place.finished;
    job.place.after[0] = '\0';
    job.place.objects = report->objects;
    job.place.bytes = report->bytes;
    return cf_records_set_scrub(scrub->vault->records, &job.place);
}

/* ---- What the marks mean for others ---- */

cf_err *cf_scrub_bad(cf_vault *vault, const cf_id16 *server, const char *state, cf_map **out) {
    CF_AUTO_FREE cf_damage_row *rows = NULL;
    CF_AUTO(cf_map) bad = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_damage(vault->records, server, 0, state, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        if (rows[i].pack == 0 || rows[i].segment == CF_DAMAGE_WHOLE || rows[i].segment == CF_SEGMENT_DIRECTORY)
            continue;
        if (!bad) CF_TRY(cf_map_new(&bad));
        CF_TRY(cf_map_add(bad, rows[i].pack, (uint16_t)rows[i].segment));
    }
    *out = cf_take(bad);
    return NULL;
}
