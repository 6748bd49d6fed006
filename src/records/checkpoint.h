/* Of this folder only: carries the database's log (WAL) over into the database beside the work, so that no COMMIT does.
 *
 * A connection and, once the log has grown for the first time, a thread of its own. What is copied is durable before
 * SQLite lets the log begin anew, as ever (synchronous=FULL): a death at any point loses nothing. When the disk is full
 * the log just grows, until commits fail, too. The log is bounded: once it is CF_LOG_PAGES long, the thread takes the
 * working connection's turn for the few pages that are left, and the next commit begins the log anew.
 * Lock order: the turn, then the checkpoint's own.                                                     */
#ifndef CF_RECORDS_CHECKPOINT_H
#define CF_RECORDS_CHECKPOINT_H

#include <sqlite3.h>

#include "base/turns.h"

enum { CF_LOG_PAGES = 8192 }; /* 32 MiB */

typedef struct cf_checkpoint cf_checkpoint;

/* cf_checkpoint_new: for the working connection, which turns guards; no commit of it checkpoints from now on.
 * Fails: DATABASE, OUT_OF_MEMORY, INTERNAL.                                                             */
cf_err *cf_checkpoint_new(sqlite3 *working, const char *path, cf_turns *turns, cf_checkpoint **checkpoint)
    __attribute__((warn_unused_result));
/* cf_checkpoint_free: waits for a checkpoint that is at work; before the working connection is closed. NULL-safe.  */
void cf_checkpoint_free(cf_checkpoint *checkpoint);
/* cf_checkpoint_settle: everything into the one file, now; the caller does not hold the turn.
 * Fails: DATABASE, also when another process reads or writes so that it cannot be.                     */
cf_err *cf_checkpoint_settle(cf_checkpoint *checkpoint) __attribute__((warn_unused_result));

#endif
