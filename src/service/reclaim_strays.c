/* Uploads without a row: an agent died between upload and commit. And commits of points that a crash cut off. */
#include <stdlib.h>

#include "base/log.h"
#include "service/commit.h"
#include "service/reclaim_internal.h"

/* ---- Strays ---- */

typedef struct stray_doom {
    cf_reclaim_pass *pass;
    const cf_stray_row *row;
    bool doomed;
} stray_doom;

/* A pack is committed only while its session is open, and a session that was closed never opens again: once there is
 * neither a row nor an open session, there never will be. */
static cf_err *doom_stray(void *context, const cf_reclaim_mark *mark) {
    stray_doom *what = context;
    cf_reclaim_pass *pass = what->pass;
    cf_records *records = pass->reclaimer->vault->records;
    cf_name name;
    cf_pack_row row;
    cf_session_row session;
    bool found = false, kept = true;
    what->doomed = false;
    if (!cf_name_parse(what->row->object, &name) || name.type != CF_NAME_PACK) return NULL;
    CF_TRY(cf_records_find_pack(records, &pass->server, name.number, &found, &row));
    if (found || cf_map_has_pack(cf_reclaim_mark_map(mark), name.number)) /* it was committed after all */
        return cf_records_drop_stray(records, &pass->server, what->row->object);
    CF_TRY(cf_records_find_open_session(records, &pass->server, &found, &session));
    if (found && cf_id16_equal(&session.id, &name.session)) return NULL;
    CF_TRY(cf_reclaim_orphan_kept(pass, what->row->after_point, &kept));
    what->doomed = !kept;
    return NULL;
}

cf_err *cf_reclaim_strays(cf_reclaim_pass *pass) {
    CF_AUTO_FREE cf_stray_row *rows = NULL;
    size_t count = 0;
    cf_vault *vault = pass->reclaimer->vault;
    CF_TRY(cf_records_list_strays(vault->records, &pass->server, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        stray_doom what = {pass, &rows[i], false};
        bool existed = false, kept = true;
        CF_TRY(cf_cancel_check(pass->reclaimer->cancel));
        CF_TRY(cf_reclaim_orphan_kept(pass, rows[i].after_point, &kept));
        if (kept) continue;
        CF_TRY(cf_reclaim_announce(pass));
        CF_TRY(cf_reclaim_change(pass->mark, doom_stray, &what));
        if (!what.doomed) continue;
        CF_TRY(cf_objects_remove(vault->objects, rows[i].object, &existed));
        CF_TRY(cf_records_drop_stray(vault->records, &pass->server, rows[i].object));
        if (existed) pass->report->deleted_strays++;
    }
    return NULL;
}

/* ---- Commits ---- */

static cf_err *settle_intent(const cf_reclaimer *reclaimer, const cf_intent_row *intent) {
    cf_records *records = reclaimer->vault->records;
    cf_point_row known;
    cf_session_row session;
    bool found = false;
    CF_TRY(cf_records_find_point(records, &intent->server, &intent->point, &found, &known));
    if (found) return cf_records_drop_intent(records, &intent->server, &intent->point);
    CF_TRY(cf_records_find_open_session(records, &intent->server, &found, &session));
    if (found && cf_id16_equal(&session.id, &intent->session)) return NULL; /* its agent may ask again */
    return cf_commit_adopt(reclaimer->vault, intent);
}

cf_err *cf_reclaim_intents(const cf_reclaimer *reclaimer, const cf_id16 *server) {
    CF_AUTO_FREE cf_intent_row *rows = NULL;
    size_t count = 0;
    CF_TRY(cf_records_list_intents(reclaimer->vault->records, server, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        cf_reclaim_lock(reclaimer, server);
        cf_err *err = settle_intent(reclaimer, &rows[i]);
        cf_reclaim_unlock(reclaimer, server);
        CF_TRY(err);
    }
    return NULL;
}
