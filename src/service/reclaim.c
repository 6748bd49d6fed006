#include "service/reclaim.h"

#include <stdlib.h>

#include "base/log.h"
#include "service/compact.h"
#include "service/reclaim_internal.h"
#include "service/settings.h"
#include "service/time_guard.h"

enum { FEED_KEEP_SECONDS = 90 * 86400, COMPARE_SECONDS = 86400 };

static cf_err *read_setting(cf_vault *vault, const char *name, int64_t *seconds) {
    uint64_t value = 0;
    CF_TRY(cf_setting_get(vault, name, &value, NULL));
    *seconds = (int64_t)value;
    return NULL;
}

static cf_err *compare(const cf_reclaim_pass *pass, bool thorough) {
    cf_reclaim_row row;
    CF_TRY(cf_records_get_reclaim(pass->reclaimer->vault->records, &pass->server, &row));
    bool due = row.compared > pass->now || pass->now - row.compared >= COMPARE_SECONDS;
    return thorough || due ? cf_reclaim_compare(pass->reclaimer, &pass->server) : NULL;
}

/* A generation in each transaction: at most a page of packs. */
static cf_err *trim_feed(cf_reclaim_pass *pass) {
    cf_records *records = pass->reclaimer->vault->records;
    for (bool more = true; more;) {
        CF_TRY(cf_cancel_check(pass->reclaimer->cancel));
        CF_TRY(cf_records_begin(records));
        CF_TRY(cf_records_finish(records,
                                 cf_records_trim_feed(records, &pass->server, pass->now - FEED_KEEP_SECONDS, &more)));
    }
    return NULL;
}

/* Points first: were their objects to stay longer than their packs, a rebuild could show points without data. */
static cf_err *work(cf_reclaim_pass *pass) {
    CF_TRY(cf_reclaim_mark_new(pass->reclaimer, &pass->server, &pass->mark));
    CF_TRY(cf_reclaim_retire(pass));
    CF_TRY(cf_reclaim_points(pass));
    CF_TRY(cf_reclaim_delete(pass));
    CF_TRY(cf_reclaim_strays(pass));
    cf_compact_report compacted;
    CF_TRY(cf_compact_server(pass, &compacted));
    return trim_feed(pass);
}

cf_err *cf_reclaim_server(const cf_reclaimer *reclaimer, const cf_id16 *server, bool thorough,
                          cf_reclaim_report *report) {
    cf_vault *vault = reclaimer->vault;
    cf_reclaim_pass pass = {.reclaimer = reclaimer, .server = *server, .now = cf_vault_now(vault), .report = report};
    bool may = false;
    CF_TRY(read_setting(vault, "reclaim_grace_seconds", &pass.grace));
    CF_TRY(read_setting(vault, "reclaim_orphan_seconds", &pass.orphan_keep));
    CF_TRY(cf_reclaim_intents(reclaimer, server));
    CF_TRY(compare(&pass, thorough));
    CF_TRY(cf_reclaim_may_delete(reclaimer, &may, NULL));
    if (!may) {
        report->frozen = true;
        return NULL;
    }
    cf_err *err = work(&pass);
    cf_reclaim_mark_free(pass.mark);
    free(pass.ripe);
    return err;
}

/* A server's trouble is not the others'. Takes err. */
static cf_err *judge(cf_reclaim_report *report, const cf_server_row *row, cf_err *err) {
    if (!err) return NULL;
    switch (cf_err_code(err)) {
    case CF_ERR_CANCELLED:
    case CF_ERR_DATABASE:
    case CF_ERR_OUT_OF_MEMORY:
        return err;
    default:
        report->failed++;
        err = cf_note(err, "reclaiming of server %s", row->name);
        cf_log_error(CF_LOG_ERROR, err);
        cf_err_free(err);
        return NULL;
    }
}

cf_err *cf_reclaim_all(const cf_reclaimer *reclaimer, bool thorough, cf_reclaim_report *report) {
    CF_AUTO_FREE cf_server_row *rows = NULL;
    size_t count = 0;
    bool may = false;
    *report = (cf_reclaim_report){0};
    CF_TRY(cf_records_list_servers(reclaimer->vault->records, &rows, &count));
    /* Before anything is looked at: commits that a crash cut off would look like points from the future. */
    CF_TRY(cf_reclaim_may_delete(reclaimer, &may, NULL));
    for (size_t i = 0; i < count; i++) {
        CF_TRY(cf_cancel_check(reclaimer->cancel));
        CF_TRY(judge(report, &rows[i], cf_reclaim_server(reclaimer, &rows[i].id, thorough, report)));
        report->servers++;
    }
    if (report->retired_segments + report->deleted_packs + report->deleted_points + report->deleted_strays > 0)
        cf_log(CF_LOG_INFO, "reclaiming: %llu segments retired, %llu packs (%llu bytes) and %llu points removed",
               (unsigned long long)report->retired_segments, (unsigned long long)report->deleted_packs,
               (unsigned long long)report->deleted_bytes, (unsigned long long)report->deleted_points);
    return NULL;
}
