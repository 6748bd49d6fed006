#include "service/policies.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/policy.h"
#include "proto/json.h"
#include "service/call.h"

static cf_err *journal_version(cf_vault *vault, const cf_policy_row *row, cf_span document) {
    json_t *policy =
        json_loadb((const char *)document.data, document.size, 0, NULL); /* our own text; NULL: no memory */
    return cf_vault_journal(vault, CF_JOURNAL_POLICY_SET,
                            json_pack("{so,so,so,ss}", "server_id", cf_value_hex(row->server.bytes, 16), "number",
                                      cf_value_number(row->number), "policy", policy, "changed_by", row->changed_by),
                            NULL);
}

/* The document as the vault keeps it, with its number: formatted anew, so that equal policies are equal texts. */
static cf_err *format_version(cf_policy *policy, uint64_t number, cf_buf *out) {
    policy->number = number;
    cf_buf_reset(out);
    CF_TRY(cf_policy_format(policy, out));
    cf_buf_put_u8(out, 0);
    CF_TRY(cf_buf_check(out, "a policy"));
    out->size--; /* the NUL stands behind */
    return NULL;
}

static cf_err *set_version(cf_vault *vault, const cf_policy_row *made, uint64_t base, cf_policy *policy, bool *conflict,
                           uint64_t *number) {
    CF_AUTO_BUF cf_buf kept, given;
    cf_buf_init(&kept, CF_POLICY_SIZE_MAX + 1);
    cf_buf_init(&given, CF_POLICY_SIZE_MAX + 1);
    bool found = false;
    cf_policy_row newest = {0}, row = *made;
    CF_TRY(cf_records_get_policy(vault->records, &row.server, &found, &newest, &kept));
    CF_TRY(format_version(policy, newest.number, &given));
    *number = newest.number;
    if (found && cf_span_equal(cf_buf_span(&kept), cf_buf_span(&given))) return NULL;
    if (base != newest.number) {
        *conflict = true;
        return NULL;
    }
    row.number = newest.number + 1;
    CF_TRY(format_version(policy, row.number, &given));
    CF_TRY(journal_version(vault, &row, cf_buf_span(&given)));
    CF_TRY(cf_records_put_policy(vault->records, &row, (const char *)given.data));
    *number = row.number;
    return NULL;
}

cf_err *cf_policies_set(cf_vault *vault, const cf_id16 *server, uint64_t base, cf_span document, const char *changed_by,
                        int64_t now, bool *conflict, uint64_t *number) {
    cf_policy policy;
    bool other = false;
    uint64_t made = 0;
    CF_TRY(cf_policy_parse(document, "the policy", &policy));
    cf_policy_row row = {.server = *server, .changed = now};
    snprintf(row.changed_by, sizeof row.changed_by, "%s", changed_by);
    cf_err *err = cf_note(cf_policy_check(&policy), "checked by the vault");
    if (!err) err = cf_records_begin(vault->records);
    if (!err) err = cf_records_finish(vault->records, set_version(vault, &row, base, &policy, &other, &made));
    cf_policy_wipe(&policy);
    CF_TRY(err);
    *conflict = other;
    *number = made;
    return NULL;
}
