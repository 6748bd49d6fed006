/* Job reports.                                                                                           */
#ifndef CF_REMOTE_JOBS_H
#define CF_REMOTE_JOBS_H

#include <jansson.h>

#include "remote/remote.h"

typedef struct cf_remote_job {
    cf_id16 id;
    char type[24], status[32];
    cf_time started, finished;
    bool has_finished, has_point;
    cf_id32 point_id;
    uint64_t bytes, bytes_sent, warnings;
    const char *host;
    const char *error; /* a JSON object as text, or NULL */
} cf_remote_job;

/* cf_remote_report_job: creates or updates; a report of a running job is its heartbeat. Sent
 * once: the next heartbeat, or the next job, tries again.                                                 */
cf_err *cf_remote_report_job(cf_remote *remote, const cf_remote_job *job) __attribute__((warn_unused_result));

#endif
