/* Is anything ahead of the database? Then it was put back to an older copy: what it believes to be dead may be what a
 * point that it does not know needs, and what it believes to be there may be gone. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "proto/json.h"
#include "service/reclaim_internal.h"
#include "service/time_guard.h"
#include "visible/names.h"

enum { LIST_PAGE = 1 << 20, JOURNAL_MAX = CF_JOURNAL_BODY_MAX + 4096, JOURNAL_PAGE = 1000 };

cf_err *cf_reclaim_freeze(cf_vault *vault, const cf_id16 *server, const char *why) {
    cf_frozen_row row = {.at = cf_vault_now(vault), .has_server = server != NULL};
    bool frozen = false;
    if (server) row.server = *server;
    snprintf(row.why, sizeof row.why, "%s", why);
    CF_TRY(cf_records_get_frozen(vault->records, &frozen, NULL));
    if (frozen) return NULL;
    cf_log(CF_LOG_ERROR,
           "nothing expires and nothing is deleted any more: %s. The database is older than what is stored: run "
           "coffer-vault rebuild --merge",
           why);
    return cf_records_set_frozen(vault->records, &row);
}

typedef cf_err *(*look_function)(cf_vault *vault, const cf_id16 *server, const char *key, const cf_name *name);

static cf_err *look_at_page(cf_vault *vault, const cf_id16 *server, const cf_object_page *page, look_function look) {
    for (size_t i = 0; i < page->count; i++) {
        cf_name name;
        if (cf_name_parse(page->keys[i], &name)) CF_TRY(look(vault, server, page->keys[i], &name));
    }
    return NULL;
}

static cf_err *look_at_folder(const cf_reclaimer *reclaimer, const cf_id16 *server, cf_name_type type,
                              look_function look) {
    char prefix[CF_NAME_MAX + 1], after[CF_OBJECT_KEY_MAX + 1] = "";
    cf_name_folder(type, server, prefix);
    strcat(prefix, "/"); /* names are far shorter than CF_NAME_MAX */
    for (bool more = true; more;) {
        cf_object_page page = {0};
        CF_TRY(cf_cancel_check(reclaimer->cancel));
        CF_TRY(cf_objects_list(reclaimer->vault->objects, prefix, after[0] ? after : NULL, LIST_PAGE, &page));
        cf_err *err = look_at_page(reclaimer->vault, server, &page, look);
        more = page.more;
        if (page.count) snprintf(after, sizeof after, "%s", page.keys[page.count - 1]);
        cf_object_page_wipe(&page);
        CF_TRY(err);
    }
    return NULL;
}

/* Looked for in this order, so that a commit that runs meanwhile is always seen: it is noted before its object is
 * stored, and its note goes in the transaction that adds the row. */
static cf_err *look_at_point(cf_vault *vault, const cf_id16 *server, const char *key, const cf_name *name) {
    bool found = false;
    cf_point_row row;
    char why[CF_NAME_MAX + 64];
    CF_TRY(cf_records_has_intent(vault->records, server, &name->point, &found));
    if (found) return NULL;
    CF_TRY(cf_records_find_point(vault->records, server, &name->point, &found, &row));
    if (found) return NULL;
    snprintf(why, sizeof why, "the database does not know the recovery point %s", key);
    return cf_reclaim_freeze(vault, server, why);
}

static cf_err *look_at_pack(cf_vault *vault, const cf_id16 *server, const char *key, const cf_name *name) {
    bool found = false;
    cf_pack_row row;
    cf_server_row owner;
    char why[CF_NAME_MAX + 64];
    if (name->generation != 0) return NULL; /* compaction's, which looks after them itself */
    CF_TRY(cf_records_find_pack(vault->records, server, name->number, &found, &row));
    if (found) return NULL;
    CF_TRY(cf_records_find_server(vault->records, server, &found, &owner));
    if (!found) return NULL;
    if (name->number >= owner.next_number) {
        snprintf(why, sizeof why, "the database has not handed out the number of %s", key);
        return cf_reclaim_freeze(vault, server, why);
    }
    cf_stray_row stray = {.after_point = owner.newest_counter};
    snprintf(stray.object, sizeof stray.object, "%s", key);
    return cf_records_add_stray(vault->records, server, &stray);
}

cf_err *cf_reclaim_compare(const cf_reclaimer *reclaimer, const cf_id16 *server) {
    CF_TRY(look_at_folder(reclaimer, server, CF_NAME_POINT, look_at_point));
    CF_TRY(look_at_folder(reclaimer, server, CF_NAME_PACK, look_at_pack));
    return cf_records_set_compared(reclaimer->vault->records, server, cf_vault_now(reclaimer->vault));
}

/* Deletions that the database does not remember. Other entries may be of a request that a crash cut off. */
cf_err *cf_reclaim_entry_ahead(cf_vault *vault, const char *key) {
    CF_AUTO_BUF cf_buf bytes;
    CF_AUTO(json_t) body = NULL;
    cf_journal_entry entry;
    cf_id16 server;
    cf_reclaim_row row;
    cf_server_row owner;
    bool found = false;
    cf_buf_init(&bytes, JOURNAL_MAX);
    CF_TRY(cf_objects_get_all(vault->objects, key, JOURNAL_MAX, &bytes));
    cf_err *err = cf_journal_decode(cf_buf_span(&bytes), &entry);
    if (err) { /* ahead, and not to be read: doubt */
        cf_err_free(err);
        return cf_reclaim_freeze(vault, NULL, "a journal entry that the database does not know cannot be read");
    }
    if (entry.type != CF_JOURNAL_RECLAIMED) return NULL;
    CF_TRY(cf_json_parse(entry.body, CF_JOURNAL_BODY_MAX, CF_ERR_FORMAT, "the journal entry", &body));
    cf_json_reader reader = cf_json_reader_of(body, CF_ERR_FORMAT, "the journal entry");
    cf_json_read_hex(&reader, "server_id", server.bytes, 16);
    uint64_t deletion = cf_json_read_number(&reader, "deletion", 1, INT64_MAX);
    CF_TRY(cf_json_done(&reader));
    CF_TRY(cf_records_find_server(vault->records, &server, &found, &owner));
    if (found) CF_TRY(cf_records_get_reclaim(vault->records, &server, &row));
    if (found && deletion <= row.deletions) return NULL;
    return cf_reclaim_freeze(vault, &server, "objects were removed that the database believes to be there");
}

static cf_err *look_at_journal(cf_vault *vault) {
    uint64_t next = 0;
    char after[CF_OBJECT_KEY_MAX + 1];
    CF_TRY(cf_records_get_journal_next(vault->records, &next));
    cf_name_journal(next ? next - 1 : 0, after);
    for (bool more = true; more;) {
        cf_object_page page = {0};
        CF_TRY(cf_objects_list(vault->objects, "journal/", after, JOURNAL_PAGE, &page));
        cf_err *err = NULL;
        for (size_t i = 0; i < page.count && !err; i++) err = cf_reclaim_entry_ahead(vault, page.keys[i]);
        more = page.more;
        if (page.count) snprintf(after, sizeof after, "%s", page.keys[page.count - 1]);
        cf_object_page_wipe(&page);
        CF_TRY(err);
    }
    return NULL;
}

/* Every server that something is stored of must be known. */
static cf_err *look_at_servers(cf_vault *vault) {
    char after[CF_OBJECT_KEY_MAX + 1] = "servers/";
    for (;;) {
        cf_object_page page = {0};
        CF_TRY(cf_objects_list(vault->objects, "servers/", after, 1, &page));
        cf_name name;
        bool any = page.count > 0, found = false;
        bool parsed = any && cf_name_parse(page.keys[0], &name);
        if (any) snprintf(after, sizeof after, "%s", page.keys[0]);
        cf_object_page_wipe(&page);
        if (!any) return NULL;
        if (!parsed) continue; /* no name of this version: passed over, one by one */
        cf_server_row row;
        CF_TRY(cf_records_find_server(vault->records, &name.server, &found, &row));
        if (!found)
            CF_TRY(
                cf_reclaim_freeze(vault, &name.server, "the database does not know a server of which data is stored"));
        char id[CF_HEX_SIZE(16)];
        cf_hex_encode(name.server.bytes, 16, id);
        snprintf(after, sizeof after, "servers/%s0", id); /* '0' follows '/': behind everything of this server */
    }
}

/* The epoch is kept in the journal too, so that a rebuilt database knows its agents' epochs for its own. */
static cf_err *note_epoch(cf_vault *vault) {
    bool found = false;
    CF_TRY(cf_records_has_epoch(vault->records, &vault->row.epoch, &found));
    if (found) return NULL;
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(vault->row.epoch.bytes, 16, hex);
    CF_TRY(cf_records_begin(vault->records));
    cf_err *err = cf_vault_journal(vault, CF_JOURNAL_EPOCH, json_pack("{ss}", "epoch", hex), NULL);
    if (!err) err = cf_records_add_epoch(vault->records, &vault->row.epoch);
    return cf_records_finish(vault->records, err);
}

static cf_err *look_at_everything(const cf_reclaimer *reclaimer) {
    CF_AUTO_FREE cf_server_row *rows = NULL;
    size_t count = 0;
    CF_TRY(look_at_journal(reclaimer->vault));
    CF_TRY(look_at_servers(reclaimer->vault));
    CF_TRY(cf_records_list_servers(reclaimer->vault->records, &rows, &count));
    for (size_t i = 0; i < count; i++) CF_TRY(cf_reclaim_compare(reclaimer, &rows[i].id));
    return note_epoch(reclaimer->vault);
}

cf_err *cf_reclaim_may_delete(const cf_reclaimer *reclaimer, bool *may, char **why) {
    cf_vault *vault = reclaimer->vault;
    cf_expiry_stop stop = {0};
    if (!atomic_load(&vault->looked)) {
        CF_TRY(look_at_everything(reclaimer));
        atomic_store(&vault->looked, true);
    }
    CF_TRY(cf_expiry_stopped(vault, &stop));
    *may = stop.reason[0] == '\0';
    if (why) *why = *may ? NULL : cf_text_format("%s", stop.why);
    return !*may && why && !*why ? cf_fail(CF_ERR_OUT_OF_MEMORY, "a reason") : NULL;
}
