#include "agent/backup_state.h"

#include "base/log.h"
#include "os/process.h"
#include "scan/coverage.h"
#include "sysstate/sysstate.h"

/* Only root reads what describes the machine. */
enum { STATE_MODE = 0600 };

static cf_err *put_file(void *context, const char *name, cf_span content) {
    CF_TRY(cf_backup_make_begin(context, name, STATE_MODE));
    CF_TRY(cf_backup_make_write(context, content));
    return cf_backup_make_end(context);
}

static void note(void *context, const char *text) {
    (void)context;
    cf_log(CF_LOG_INFO, "system state: %s", text);
}

static cf_err *produce(void *context, cf_backup_maker *maker) {
    char host[CF_HOSTNAME_SIZE];
    cf_process_hostname(host);
    cf_sysstate_options options = {.host = host, .cancel = context, .file = put_file, .note = note, .context = maker};
    return cf_sysstate_collect(&options);
}

cf_backup_made cf_backup_state_made(cf_cancel *cancel) {
    return (cf_backup_made){.name = CF_SYSTEM_STATE_NAME, .produce = produce, .context = cancel};
}
