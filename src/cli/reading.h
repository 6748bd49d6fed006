/* What every command that reads recovery points begins with: a server's repository, opened for reading, and
 * its list of points, compared with what this server knows of itself.                                    */
#ifndef CF_CLI_READING_H
#define CF_CLI_READING_H

#include <jansson.h>
#include <pthread.h>

#include "agent/finder.h"
#include "agent/runner.h"
#include "cli/agent.h"
#include "cli/progress.h"
#include "repo/reader.h"

typedef struct cf_reading {
    cf_cli *cli;
    cf_agent agent;
    cf_access *access;
    cf_source *source;
    cf_reader *reader;
    cf_tree_cache *trees;    /* NULL until cf_reading_use_trees, and where there is none */
    cf_index_finder *finder; /* NULL until cf_reading_use_index, and where there is no index */
    cf_point_row *rows;      /* ascending by counter */
    size_t row_count;
} cf_reading;

/* cf_reading_open: a vault whose list contradicts what this server knows (hidden, relabelled, rolled back points)
 * is a warning here: what it does list can still be read, each point checked by itself.                    */
cf_err *cf_reading_open(cf_cli *cli, const cf_server_options *options, uint64_t retry_total_ms, cf_reading *reading)
    __attribute__((warn_unused_result));
void cf_reading_close(cf_reading *reading);
#define CF_AUTO_READING __attribute__((cleanup(cf_reading_close)))
/* cf_reading_use_trees: from now on with the cache of trees in scratch. Another server's data is never kept here. */
void cf_reading_use_trees(cf_reading *reading);
/* cf_reading_use_index: chunks that are damaged where a point says they are may be read where this server's index says. Not for
 * commands that look whether the vault's copy is whole: another machine has no such index.                  */
void cf_reading_use_index(cf_reading *reading);
/* cf_reading_point: name as in cf_reader_point_find.                                                       */
cf_err *cf_reading_point(cf_reading *reading, const char *name, cf_point **point) __attribute__((warn_unused_result));

/* A job that reads a point: recorded, with a read lease that a thread renews, and progress shown.
 * Start with {0}; end exactly once what was started.                                                      */
typedef struct cf_reading_job {
    cf_reading *reading;
    cf_job *job;
    cf_progress progress;
    cf_progress_view *view;
    const cf_id32 *point;
    cf_id16 lease;
    uint32_t lease_seconds;
    bool has_thread, stop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    uint64_t started_ms;
} cf_reading_job;
/* type: "restore", "verify". */
cf_err *cf_reading_job_start(cf_reading *reading, const char *type, const cf_point *point, cf_reading_job *job)
    __attribute__((warn_unused_result));
/* cf_reading_job_end: err (taken) is how the work ended; returns it, or what went wrong in recording the end. *status is
 * a literal; *seconds how long it took.                                                                    */
cf_err *cf_reading_job_end(cf_reading_job *job, cf_err *err, const char **status, double *seconds)
    __attribute__((warn_unused_result));

/* cf_reading_event: with --json one line {"type":type,"path":...,"error":{...}}, otherwise a warning on stderr;
 * and into the job's history (job may be NULL).                                                           */
void cf_reading_event(cf_reading *reading, cf_job *job, const char *type, cf_span path, const cf_err *err);

/* Entries in JSON: "file", "directory" ...; a time with its nanoseconds when it has any.                      */
const char *cf_reading_type_word(cf_file_type type);
json_t *cf_reading_time_json(cf_time time);

#endif
