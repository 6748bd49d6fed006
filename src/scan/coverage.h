/* What a backup covers: sources, what is left out of them, which file systems are entered.
 * Threads: immutable once made.                                                                             */
#ifndef CF_SCAN_COVERAGE_H
#define CF_SCAN_COVERAGE_H

#include "policy/exclude.h"
#include "policy/policy.h"
#include "scan/sources.h"

/* The folder in "/" that stands for the machine's own state (a policy's system_state): it is made, not read. */
#define CF_SYSTEM_STATE_NAME ".coffer-system-state"
#define CF_SYSTEM_STATE_PATH "/" CF_SYSTEM_STATE_NAME

typedef struct cf_coverage {
    cf_sources *sources;
    cf_exclude *exclude; /* its sources as they are resolved; never NULL */
    bool exclude_caches, exclude_nodump;
    bool cross_file_systems; /* enter other file systems below a source (never pseudo ones) */
    bool system_state;
    size_t source_count, missing_count; /* of the sources that were asked for, without those of the system state */
} cf_coverage;

/* One source that is not there; any number of calls. */
typedef void (*cf_coverage_missing)(void *context, cf_span path, const cf_err *why);

/* cf_coverage_from_policy: a source that is missing is reported (missing may be NULL) and left out of the scan; it still is
 * part of the selection. Fails: OUT_OF_MEMORY; TOO_LARGE.                                                   */
cf_err *cf_coverage_from_policy(const cf_policy *policy, cf_coverage_missing missing, void *context, cf_coverage *out)
    __attribute__((warn_unused_result));
/* cf_coverage_from_paths: paths by hand, each of which must exist; patterns with "/" as their base (count may be 0). */
cf_err *cf_coverage_from_paths(const char *const *paths, size_t path_count, const char *const *patterns,
                               size_t pattern_count, cf_coverage *out) __attribute__((warn_unused_result));
/* cf_coverage_check: is there anything to back up? Fails: SOURCE_MISSING when no source is there. */
cf_err *cf_coverage_check(const cf_coverage *coverage) __attribute__((warn_unused_result));
void cf_coverage_wipe(cf_coverage *coverage);
#define CF_AUTO_COVERAGE __attribute__((cleanup(cf_coverage_wipe)))

/* cf_coverage_exclusions: what a recovery point's root says of it (format, section 8): calls each for every exclusion. */
cf_err *cf_coverage_exclusions(const cf_coverage *coverage, cf_err *(*each)(void *context, cf_span pattern),
                               void *context) __attribute__((warn_unused_result));
/* The options among them; comments for anything that reads patterns. */
#define CF_EXCLUSION_CACHES "#caches"
#define CF_EXCLUSION_NODUMP "#nodump"

/* ---- One path ---- */

typedef enum cf_covered {
    CF_COVERED,          /* it is backed up */
    CF_COVERED_WAY,      /* a folder on the way to a source: only its own metadata */
    CF_NOT_IN_SOURCES,   /* no source holds it */
    CF_NOT_BY_RULE,      /* a pattern: rule says which */
    CF_NOT_CACHE_FOLDER, /* in a folder with a CACHEDIR.TAG */
    CF_NOT_NODUMP,       /* it, or a folder above, carries the flag */
    CF_NOT_FILE_SYSTEM,  /* on a file system that is not entered: another one, or one that the kernel makes up */
} cf_covered;

typedef struct cf_coverage_verdict {
    cf_covered covered;
    cf_exclude_match rule; /* of CF_NOT_BY_RULE, and when a '!' rule took it back in; borrows from the coverage */
    size_t path_size;      /* how much of the path decided: a folder above, or all of it */
    bool exists;           /* else only names could be judged */
    const char *source;    /* that holds it; borrowed from the coverage; NULL: none */
} cf_coverage_verdict;

/* cf_coverage_test: would this absolute path (no "." or ".." in it, links not followed) be backed up, and by which rule not?
 *   is_folder  what it would be if it existed.
 * Fails: BAD_USAGE, OUT_OF_MEMORY.                                                                          */
cf_err *cf_coverage_test(const cf_coverage *coverage, cf_span path, bool is_folder, cf_coverage_verdict *verdict)
    __attribute__((warn_unused_result));

#endif
