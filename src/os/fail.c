#include "os/fail.h"

#include <errno.h>

#include "base/text.h"

cf_code cf_os_code(int err_no) {
    switch (err_no) {
    case ENOSPC:
    case EDQUOT:
        return CF_ERR_DISK_FULL;
    case ENOENT:
        return CF_ERR_NOT_FOUND;
    case EEXIST:
        return CF_ERR_EXISTS;
    case ENOMEM:
        return CF_ERR_OUT_OF_MEMORY;
    default:
        return CF_ERR_IO;
    }
}

static const char *reason_of(int err_no) {
    switch (err_no) {
    case EACCES:
    case EPERM:
        return "denied";
    case EROFS:
        return "read-only";
    case ELOOP:
        return "symlink";
    default:
        return NULL;
    }
}

cf_err *cf_os_fail_span(int err_no, const char *doing, cf_span name) {
    CF_AUTO_FREE char *printable = cf_text_printable(name);
    cf_err *err = cf_fail_errno(cf_os_code(err_no), err_no, "cannot %s %s", doing, printable ? printable : "(a file)");
    const char *reason = reason_of(err_no);
    if (reason) cf_err_set_reason(err, reason);
    return err;
}

cf_err *cf_os_fail(int err_no, const char *doing, const char *name) {
    return cf_os_fail_span(err_no, doing, cf_span_text(name));
}
