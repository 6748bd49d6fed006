#include "service/issue.h"

#include <stdlib.h>

#include "base/text.h"
#include "digest/digest.h"

enum { AUTHORITY_MAX = 65536 };

/* Inside a transaction. */
static cf_err *record_issue(cf_vault *vault, cf_credentials_row *row) {
    char hex[CF_HEX_SIZE(32)];
    cf_hex_encode(row->secret_sha256.bytes, 32, hex);
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_CREDENTIALS_ISSUED,
                            json_pack("{ss,ss,sI,sI}", "secret_sha256", hex, "purpose", row->purpose, "issued",
                                      (json_int_t)row->issued, "expires", (json_int_t)row->expires),
                            &row->sequence));
    return cf_records_add_credentials(vault->records, row);
}

static cf_err *fill(cf_vault *vault, cf_purpose purpose, cf_credentials *out) {
    CF_AUTO_BUF cf_buf ca;
    cf_buf_init(&ca, AUTHORITY_MAX);
    int64_t now = cf_vault_now(vault);
    CF_TRY(cf_vault_authority(vault, &ca));
    out->purpose = purpose;
    out->vault_id = vault->row.id;
    out->vault_name = strdup(vault->row.name);
    out->region = strdup(vault->row.region);
    out->url = strdup(vault->row.url);
    out->ca_pem = cf_span_dup_text(cf_buf_span(&ca));
    out->issued = (cf_time){now, 0};
    out->expires = (cf_time){now + CF_CREDENTIALS_DAYS * 86400, 0};
    if (!out->vault_name || !out->region || !out->url || !out->ca_pem)
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "credentials");
    CF_TRY(cf_secret_new(CF_CREDENTIALS_SECRET_SIZE, &out->secret));
    return cf_random(cf_secret_data(out->secret), CF_CREDENTIALS_SECRET_SIZE);
}

cf_err *cf_vault_issue(cf_vault *vault, cf_purpose purpose, cf_secret **text, cf_time *expires) {
    CF_AUTO(cf_credentials) fresh = calloc(1, sizeof *fresh);
    CF_AUTO(cf_secret) formatted = NULL;
    if (!fresh) return cf_fail(CF_ERR_OUT_OF_MEMORY, "credentials");
    CF_TRY(fill(vault, purpose, fresh));
    CF_TRY(cf_credentials_format(fresh, &formatted));
    cf_credentials_row row = {.issued = fresh->issued.seconds, .expires = fresh->expires.seconds};
    snprintf(row.purpose, sizeof row.purpose, "%s", cf_purpose_name(purpose));
    CF_TRY(cf_sha256(cf_span_of(cf_secret_bytes(fresh->secret), CF_CREDENTIALS_SECRET_SIZE), row.secret_sha256.bytes));
    CF_TRY(cf_records_begin(vault->records));
    CF_TRY(cf_records_finish(vault->records, record_issue(vault, &row)));
    *expires = fresh->expires;
    *text = cf_take(formatted);
    return NULL;
}
