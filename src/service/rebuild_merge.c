/* rebuild --merge: a database that is older than what is stored takes over what it does not know. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "digest/digest.h"
#include "records/damage.h"
#include "service/place.h"
#include "service/rebuild.h"
#include "service/rebuild_journal.h"
#include "service/reclaim.h"
#include "visible/names.h"

enum { PAGE = 1000 };

static cf_err *knows_pack(cf_rebuild *job, const cf_name *name, bool *known) {
    cf_pack_row row;
    bool found = false;
    CF_TRY(cf_records_find_pack(job->vault->records, &name->server, name->number, &found, &row));
    *known = found && row.generation >= name->generation && cf_id16_equal(&row.session, &name->session);
    return *known ? NULL : cf_records_is_doomed(job->vault->records, &name->server, name->number, known);
}

/* A point that is known, or one that was never acknowledged: another has its place. The latter is noted, so that nobody
 * takes it for one from the future again. */
static cf_err *knows_point(cf_rebuild *job, const cf_name *name, bool *known) {
    cf_point_row row;
    cf_id32 other;
    bool taken = false;
    cf_records *records = job->vault->records;
    CF_TRY(cf_records_find_point(records, &name->server, &name->point, known, &row));
    if (*known) return cf_records_drop_intent(records, &name->server, &name->point);
    CF_TRY(cf_records_point_at(records, &name->server, name->number, &taken, &other));
    if (!taken) return NULL;
    *known = true;
    return cf_rebuild_refuse(job, &(cf_point_row){.id = name->point, .server = name->server, .counter = name->number});
}

cf_err *cf_rebuild_refuse(cf_rebuild *job, const cf_point_row *point) {
    return cf_records_put_intent(job->vault->records, &(cf_intent_row){.server = point->server,
                                                                       .point = point->id,
                                                                       .counter = point->counter,
                                                                       .session = point->session,
                                                                       .received = cf_vault_now(job->vault)});
}

cf_err *cf_rebuild_forks(cf_rebuild *job, const cf_point_row *point, bool *forks) {
    cf_id32 before;
    bool found = false;
    *forks = false;
    if (!job->merging || point->counter <= 1) return NULL;
    CF_TRY(cf_records_point_at(job->vault->records, &point->server, point->counter - 1, &found, &before));
    *forks = found && !cf_id32_equal(&before, &point->previous);
    return NULL;
}

static cf_err *knows(cf_rebuild *job, const cf_name *name, bool *known) {
    CF_AUTO_BUF cf_buf bytes;
    cf_relocation_row row;
    uint64_t packs = 0;
    cf_records *records = job->vault->records;
    cf_buf_init(&bytes, 1 << 16);
    switch (name->type) {
    case CF_NAME_SLOT:
        return cf_records_get_slot(records, &name->server, (uint32_t)name->number, known, &bytes);
    case CF_NAME_RECORD:
        return cf_records_get_record(records, &name->server, &name->session, known, &bytes);
    case CF_NAME_PACK:
        return knows_pack(job, name, known);
    case CF_NAME_POINT:
        return knows_point(job, name, known);
    case CF_NAME_RELOCATION:
        return cf_records_find_relocation(records, &name->server, &name->point, known, &row);
    case CF_NAME_MERGED:
        CF_TRY(cf_records_count_merged(records, &name->server, &name->session, &packs));
        *known = packs > 0;
        return NULL;
    case CF_NAME_JOURNAL:
        break;
    }
    *known = true;
    return NULL;
}

static cf_err *take_unknown(cf_rebuild *job, const char *key) {
    cf_name name;
    bool known = false;
    if (cf_name_parse(key, &name)) CF_TRY(knows(job, &name, &known));
    return known ? NULL : cf_rebuild_object(job, key);
}

/* ---- Packs that are gone ---- */

static cf_err *drop_lost(cf_rebuild *job, const cf_pack_row *row) {
    cf_records *records = job->vault->records;
    CF_TRY(cf_records_doom_pack(records, &row->server, row->number));
    CF_TRY(cf_records_drop_pack(records, &row->server, row->number));
    job->report->lost++;
    return NULL;
}

/* What a point needs stays in the database: scrubbing finds it missing, and backups heal it. */
static cf_err *look_at_packs(cf_rebuild *job, const cf_reclaim_mark *mark, const cf_pack_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char key[CF_NAME_MAX];
        bool there = false;
        CF_TRY(cf_cancel_check(job->cancel));
        if (cf_map_has_pack(cf_reclaim_mark_map(mark), rows[i].number)) continue;
        cf_pack_place(&rows[i], key);
        CF_TRY(cf_objects_has(job->vault->objects, key, &there, NULL));
        if (!there) CF_TRY(drop_lost(job, &rows[i]));
    }
    return NULL;
}

static cf_err *look_at_server(cf_rebuild *job, const cf_id16 *server) {
    CF_AUTO(cf_reclaim_mark) mark = NULL;
    cf_reclaimer reclaimer = {job->vault, NULL, job->cancel};
    cf_records *records = job->vault->records;
    CF_TRY(cf_reclaim_mark_new(&reclaimer, server, &mark));
    uint64_t after = 0;
    for (bool more = true; more;) {
        CF_AUTO_FREE cf_pack_row *rows = NULL;
        size_t count = 0;
        CF_TRY(cf_records_list_packs(records, server, after, PAGE, &rows, &count));
        more = count == PAGE;
        if (count == 0) break;
        after = rows[count - 1].number;
        CF_TRY(cf_records_begin(records));
        CF_TRY(cf_records_finish(records, look_at_packs(job, mark, rows, count)));
    }
    return NULL;
}

static cf_err *look_at_servers(cf_rebuild *job) {
    CF_AUTO_FREE cf_server_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_servers(job->vault->records, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        cf_err *err = look_at_server(job, &rows[i].id);
        if (cf_err_code(err) != CF_ERR_POINT_DAMAGED) {
            CF_TRY(err);
            continue;
        }
        job->report->problems++;
        job->problem(job->context, rows[i].name, err);
        cf_err_free(err);
    }
    return NULL;
}

/* ---- All of it ---- */

/* From here on agents believe nothing that they knew, and nothing is ahead any more. */
static cf_err *go_on(cf_rebuild *job) {
    cf_vault *vault = job->vault;
    char hex[CF_HEX_SIZE(16)];
    CF_TRY(cf_records_add_epoch(vault->records, &vault->row.epoch));
    CF_TRY(cf_random(vault->row.epoch.bytes, 16));
    cf_hex_encode(vault->row.epoch.bytes, 16, hex);
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_EPOCH, json_pack("{ss}", "epoch", hex), NULL));
    CF_TRY(cf_records_add_epoch(vault->records, &vault->row.epoch));
    CF_TRY(cf_records_set_vault(vault->records, &vault->row));
    return cf_records_set_frozen(vault->records, NULL);
}

/* The whole journal: a service that ran on the older copy wrote its entries behind those that the copy does not know, so
 * no number says where these begin. Entries that are known already change nothing. */
static cf_err *merge(cf_rebuild *job) {
    cf_records *records = job->vault->records;
    job->has_vault = job->merging = true;
    CF_TRY(cf_rebuild_take_all(job, "journal/", NULL, cf_rebuild_journal));
    CF_TRY(cf_rebuild_take_all(job, "servers/", NULL, take_unknown));
    CF_TRY(cf_rebuild_settle(job, NULL));
    CF_TRY(cf_rebuild_take_all(job, "journal/", NULL, cf_rebuild_retained));
    CF_TRY(look_at_servers(job));
    CF_TRY(cf_records_begin(records));
    return cf_records_finish(records, go_on(job));
}

cf_err *cf_vault_merge(const char *path, cf_clock clock, cf_cancel *cancel, cf_rebuild_problem problem, void *context,
                       cf_rebuild_report *report) {
    CF_AUTO(cf_vault) vault = NULL;
    cf_rebuild_report counts = {0};
    CF_TRY(cf_vault_open(path, CF_VAULT_SERVE, clock, &vault));
    CF_AUTO_FREE cf_rebuild *job = calloc(1, sizeof *job);
    if (!job) return cf_fail(CF_ERR_OUT_OF_MEMORY, "merging");
    *job = (cf_rebuild){.vault = vault, .cancel = cancel, .problem = problem, .context = context, .report = &counts};
    CF_TRY(merge(job));
    *report = counts;
    return NULL;
}
