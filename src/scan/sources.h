/* What a backup covers: absolute paths as a tree of names, so that a scan that starts at "/" knows at each
 * folder whether it goes to a source, stands inside one, or has nothing to do there.
 * Threads: immutable once built.                                                                            */
#ifndef CF_SCAN_SOURCES_H
#define CF_SCAN_SOURCES_H

#include "base/buf.h"
#include "base/err.h"

typedef struct cf_sources cf_sources;
typedef struct cf_source_node cf_source_node;

struct cf_source_node {
    char *name;
    bool is_source;            /* everything from here on is backed up  */
    bool missing;              /* it only leads to sources that are not there: nobody need look for it */
    cf_source_node **children; /* ascending by name; on the way to sources (or file systems named inside one) */
    size_t count;
};

cf_err *cf_sources_new(cf_sources **sources);
void cf_sources_free(cf_sources *sources);
CF_DEFINE_AUTO(cf_sources, cf_sources_free)
/* cf_sources_add: path as a person gives it: made absolute, symbolic links resolved (the link's own target is what is
 * backed up). A path inside another source adds nothing but the permission to enter its file system.
 * Fails: SOURCE_MISSING (reason "missing", "denied"), BAD_USAGE (empty).                                     */
cf_err *cf_sources_add(cf_sources *sources, const char *path);
/* cf_sources_add_named: a path that belongs to the selection although the file system has nothing there now: the scan does
 * not look for it. Absolute, without "." and ".." and double slashes.                                           */
cf_err *cf_sources_add_named(cf_sources *sources, const char *path);
const cf_source_node *cf_sources_root(const cf_sources *sources);
const cf_source_node *cf_source_child(const cf_source_node *node, const char *name);
/* cf_sources_paths: the absolute paths, ascending, without those inside others. Borrowed.                      */
const char *const *cf_sources_paths(const cf_sources *sources, size_t *count);

#endif
