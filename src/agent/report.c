#include "agent/report.h"

#include <stdio.h>

#include "os/process.h"
#include "remote/jobs.h"

enum { AT_ONCE = 50 };

static cf_err *report_row(cf_state *state, cf_remote *remote, const char *host, const cf_job_row *row) {
    cf_remote_job report = {.id = row->id,
                            .started = row->started,
                            .finished = row->finished,
                            .has_finished = row->has_finished,
                            .has_point = row->has_point,
                            .point_id = row->point_id,
                            .bytes = row->bytes,
                            .bytes_sent = row->bytes_sent,
                            .warnings = row->warnings,
                            .error = row->error,
                            .host = host};
    snprintf(report.type, sizeof report.type, "%s", row->type);
    snprintf(report.status, sizeof report.status, "%s", row->status);
    CF_TRY(cf_remote_report_job(remote, &report));
    return cf_jobs_set_reported(state, &row->id);
}

cf_err *cf_report_ended(cf_state *state, cf_remote *remote) {
    char host[CF_HOSTNAME_SIZE];
    cf_process_hostname(host);
    for (size_t count = AT_ONCE; count == AT_ONCE;) {
        cf_job_row *rows = NULL;
        count = 0;
        CF_TRY(cf_jobs_list_unreported(state, AT_ONCE, &rows, &count));
        cf_err *err = NULL;
        for (size_t i = 0; !err && i < count; i++) err = report_row(state, remote, host, &rows[i]);
        cf_jobs_free_rows(rows, count);
        CF_TRY(err);
    }
    return NULL;
}
