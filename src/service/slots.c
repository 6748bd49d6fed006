#include "service/slots.h"

#include <stdlib.h>

static cf_err *load(cf_vault *vault, const cf_id16 *server, const cf_slot_row *row, cf_slot_view *view) {
    CF_AUTO_BUF cf_buf bytes;
    bool found = false;
    cf_buf_init(&bytes, CF_SLOT_BYTES);
    CF_TRY(cf_records_get_slot(vault->records, server, row->number, &found, &bytes));
    if (!found || bytes.size != CF_SLOT_BYTES) return cf_fail(CF_ERR_DATABASE, "key slot %u is damaged", row->number);
    memcpy(view->bytes, bytes.data, CF_SLOT_BYTES);
    view->added = row->added;
    return cf_slot_header_decode(cf_buf_span(&bytes), &view->header);
}

/* views descend by number. A slot that a crash kept from being recorded (added 0) replaces nothing. */
static bool replaced(const cf_slot_view *views, size_t index, int64_t now) {
    for (size_t i = index; i-- > 0;)
        if (views[i].header.kind == CF_SLOT_PASSPHRASE && views[i].added > 0)
            return views[i].added + CF_SLOT_REPLACED_SECONDS <= now;
    return false;
}

static size_t choose(const cf_slot_view *views, size_t count, cf_slot_kind kind, int64_t now, cf_slot_view *out) {
    size_t chosen = 0;
    for (size_t i = 0; i < count; i++)
        if (views[i].header.kind == kind && (kind == CF_SLOT_RECOVERY || !replaced(views, i, now)))
            out[chosen++] = views[i];
    return chosen;
}

cf_err *cf_slots_usable(cf_vault *vault, const cf_id16 *server, int64_t now, cf_slot_view **out, size_t *count) {
    CF_AUTO_FREE cf_slot_row *rows = NULL;
    size_t all = 0;
    CF_TRY(cf_records_list_slots(vault->records, server, &rows, &all));
    CF_AUTO_FREE cf_slot_view *views = calloc(all + 1, sizeof *views);
    CF_AUTO_FREE cf_slot_view *usable = calloc(all + 1, sizeof *usable);
    if (!views || !usable) return cf_fail(CF_ERR_OUT_OF_MEMORY, "key slots");
    for (size_t i = 0; i < all; i++) CF_TRY(load(vault, server, &rows[all - 1 - i], &views[i]));
    size_t got = choose(views, all, CF_SLOT_PASSPHRASE, now, usable);
    if (got == 0) return cf_fail(CF_ERR_DATABASE, "a server without a passphrase's key slot");
    *count = got + choose(views, all, CF_SLOT_RECOVERY, now, usable + got);
    *out = cf_take(usable);
    return NULL;
}
