/* The log: one line per event on a stream, for people and journald. Never given secrets.
 * Threads: any number.                                                                                */
#ifndef CF_BASE_LOG_H
#define CF_BASE_LOG_H

#include <stdio.h>

#include "base/err.h"

typedef enum cf_log_level { CF_LOG_ERROR, CF_LOG_WARNING, CF_LOG_INFO, CF_LOG_DEBUG } cf_log_level;

/* The program's log: set up once by main, before threads start (the one mutable global, owned by
 * main). Default: warnings and errors to stderr.                                                      */
void cf_log_setup(FILE *out, cf_log_level most);
void cf_log(cf_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* cf_log_error: an error with its causes on one line; err is borrowed.                                */
void cf_log_error(cf_log_level level, const cf_err *err);

#endif
