#include "policy/faults.h"

#include "base/text.h"

enum { SHOWN = 50, TEXT_MAX = 65536 };

void cf_faults_init(cf_faults *faults) {
    *faults = (cf_faults){.code = CF_OK};
    cf_buf_init(&faults->text, TEXT_MAX);
}

void cf_faults_wipe(cf_faults *faults) {
    cf_buf_wipe(&faults->text);
}

void cf_faults_add(cf_faults *faults, cf_code code, const char *format, ...) {
    faults->code = faults->count == 0 || faults->code == code ? code : CF_ERR_POLICY_INVALID;
    if (faults->count++ >= SHOWN) return;
    va_list args;
    va_start(args, format);
    CF_AUTO_FREE char *line = cf_text_vformat(format, args);
    va_end(args);
    CF_AUTO_FREE char *shown = line ? cf_text_printable(cf_span_text(line)) : NULL;
    cf_buf_put_span(&faults->text, cf_span_text("\n  - "));
    cf_buf_put_span(&faults->text, cf_span_text(shown ? shown : "(no memory to say what)"));
}

cf_err *cf_faults_take(cf_faults *faults, cf_code code, const char *what, cf_err *err) {
    if (!err || cf_err_code(err) == CF_ERR_OUT_OF_MEMORY) return err;
    cf_faults_add(faults, code, "%s: %s", what, cf_err_message(err));
    cf_err_free(err);
    return NULL;
}

cf_err *cf_faults_done(const cf_faults *faults, const char *name) {
    if (faults->count == 0) return NULL;
    CF_TRY(cf_buf_check(&faults->text, "the faults of a policy"));
    int size = (int)faults->text.size;
    const char *text = (const char *)faults->text.data;
    if (faults->count == 1) return cf_fail(faults->code, "%s: %.*s", name, size - 5, text + 5);
    if (faults->count > SHOWN)
        return cf_fail(faults->code, "%s has %zu faults, the first %d are:%.*s", name, faults->count, SHOWN, size,
                       text);
    return cf_fail(faults->code, "%s has %zu faults:%.*s", name, faults->count, size, text);
}
