#include "scan/coverage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/cachedir.h"
#include "os/mounts.h"
#include "os/stat.h"

/* What the system state takes from files, where they are: the rest is made (docs/operations.md). */
static const char *const system_files[] = {"/etc",           "/boot/grub", "/boot/grub2",
                                           "/boot/loader",   "/boot/efi",  "/boot/extlinux",
                                           "/boot/syslinux", "/efi",       "/boot/firmware"};

void cf_coverage_wipe(cf_coverage *coverage) {
    cf_sources_free(coverage->sources);
    cf_exclude_free(coverage->exclude);
    *coverage = (cf_coverage){0};
}

static cf_err *begin(cf_coverage *out) {
    *out = (cf_coverage){0};
    CF_TRY(cf_sources_new(&out->sources));
    return cf_exclude_new(&out->exclude);
}

/* Without double and trailing slashes: what a path that does not exist counts as. */
static char *lexical(const char *path) {
    char *out = malloc(strlen(path) + 2), *to = out;
    if (!out) return NULL;
    for (const char *from = path; *from;) {
        while (*from == '/') from++;
        size_t size = strcspn(from, "/");
        if (size == 0) break;
        *to++ = '/';
        memcpy(to, from, size);
        to += size;
        from += size;
    }
    if (to == out) *to++ = '/';
    *to = 0;
    return out;
}

static cf_err *add_source(cf_coverage *out, const cf_policy_source *source, cf_coverage_missing missing,
                          void *context) {
    out->source_count++;
    CF_AUTO_FREE char *real = realpath(source->path, NULL);
    if (!real) real = lexical(source->path);
    if (!real) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a source");
    cf_err *err = cf_sources_add(out->sources, real);
    if (cf_err_code(err) == CF_ERR_SOURCE_MISSING) {
        out->missing_count++;
        if (missing) missing(context, cf_span_text(source->path), err);
        cf_err_free(err);
        err = cf_sources_add_named(out->sources, real);
    }
    CF_TRY(err);
    CF_TRY(cf_exclude_add_source(out->exclude, real));
    for (size_t i = 0; i < source->exclude.count; i++)
        CF_TRY(cf_exclude_add(out->exclude, real, source->exclude.item[i]));
    return NULL;
}

static cf_err *add_system_state(cf_coverage *out) {
    out->system_state = true;
    CF_TRY(cf_sources_add_named(out->sources, CF_SYSTEM_STATE_PATH));
    CF_TRY(cf_exclude_add_source(out->exclude, CF_SYSTEM_STATE_PATH));
    for (size_t i = 0; i < sizeof system_files / sizeof *system_files; i++) {
        CF_AUTO_FREE char *real = realpath(system_files[i], NULL);
        if (!real) continue; /* this machine boots in another way */
        CF_TRY(cf_sources_add(out->sources, real));
        CF_TRY(cf_exclude_add_source(out->exclude, real));
    }
    return NULL;
}

static cf_err *fill_from_policy(const cf_policy *policy, cf_coverage_missing missing, void *context, cf_coverage *out) {
    CF_TRY(begin(out));
    out->exclude_caches = policy->exclude_caches;
    out->exclude_nodump = policy->exclude_nodump;
    out->cross_file_systems = !policy->one_file_system;
    for (size_t i = 0; i < policy->exclude.count; i++)
        CF_TRY(cf_exclude_add(out->exclude, NULL, policy->exclude.item[i]));
    for (size_t i = 0; i < policy->source_count; i++) CF_TRY(add_source(out, &policy->sources[i], missing, context));
    return policy->system_state ? add_system_state(out) : NULL;
}

cf_err *cf_coverage_check(const cf_coverage *coverage) {
    if (coverage->source_count > coverage->missing_count) return NULL;
    if (coverage->source_count == 0)
        return coverage->system_state ? NULL : cf_fail(CF_ERR_SOURCE_MISSING, "the policy names nothing to back up");
    return cf_fail_reason(CF_ERR_SOURCE_MISSING, "missing", "none of the policy's %zu sources is there",
                          coverage->source_count);
}

cf_err *cf_coverage_from_policy(const cf_policy *policy, cf_coverage_missing missing, void *context, cf_coverage *out) {
    cf_err *err = fill_from_policy(policy, missing, context, out);
    if (err) cf_coverage_wipe(out);
    return err;
}

cf_err *cf_coverage_from_paths(const char *const *paths, size_t path_count, const char *const *patterns,
                               size_t pattern_count, cf_coverage *out) {
    cf_err *err = begin(out);
    out->source_count = path_count;
    for (size_t i = 0; !err && i < path_count; i++) {
        err = cf_sources_add(out->sources, paths[i]);
        CF_AUTO_FREE char *real = err ? NULL : realpath(paths[i], NULL);
        if (real) err = cf_exclude_add_source(out->exclude, real);
    }
    for (size_t i = 0; !err && i < pattern_count; i++) {
        err = cf_exclude_check(patterns[i]);
        if (!err) err = cf_exclude_add(out->exclude, NULL, patterns[i]);
    }
    if (err) cf_coverage_wipe(out);
    return err;
}

cf_err *cf_coverage_exclusions(const cf_coverage *coverage, cf_err *(*each)(void *context, cf_span pattern),
                               void *context) {
    if (coverage->exclude_caches) CF_TRY(each(context, cf_span_text(CF_EXCLUSION_CACHES)));
    if (coverage->exclude_nodump) CF_TRY(each(context, cf_span_text(CF_EXCLUSION_NODUMP)));
    return cf_exclude_absolute(coverage->exclude, each, context);
}

/* ---- One path: what the scan (backup/list.c) would do on the way to it ---- */

typedef struct walk {
    const cf_coverage *coverage;
    cf_mounts *mounts;
    const cf_source_node *node; /* NULL: nothing is named here or below */
    cf_exclude_state *rules;
    int fd; /* of the folder; -1: it does not exist */
    cf_stat stat;
    bool is_folder;           /* what the whole path would be */
    bool implied;             /* only the way to sources is covered here */
    cf_coverage_verdict shut; /* why everything else is not */
} walk;

static bool is_source(const cf_source_node *node) {
    return node && node->is_source;
}

/* Why a name inside a source is left out, whoever else may want it; CF_COVERED: it is not. */
static cf_coverage_verdict judge(const walk *self, cf_span name, const char *text, const cf_stat *stat,
                                 bool is_folder) {
    cf_coverage_verdict verdict = {.covered = CF_COVERED};
    bool tag = strcmp(text, CF_CACHEDIR_TAG) == 0;
    if (self->coverage->exclude_caches && self->fd >= 0 && !tag && !is_source(self->node) && cf_cachedir_is(self->fd))
        verdict.covered = CF_NOT_CACHE_FOLDER;
    else if (cf_exclude_name(self->rules, name, is_folder, &verdict.rule))
        verdict.covered = CF_NOT_BY_RULE;
    else if (self->coverage->exclude_nodump && stat && stat->nodump)
        verdict.covered = CF_NOT_NODUMP;
    return verdict;
}

/* Is what is mounted here left alone? As is_closed_off of the scan. */
static bool is_foreign(const walk *self, const cf_source_node *node, const cf_stat *stat) {
    if (!cf_mount_crossed(&self->stat, stat) || (self->implied && node && !node->is_source)) return false;
    const cf_mount *mount = cf_mounts_find(self->mounts, stat);
    if (mount && mount->kind == CF_FS_PSEUDO) return true;
    return !node && !self->coverage->cross_file_systems;
}

static cf_err *enter(walk *self, cf_span name, const char *text, bool exists, const cf_stat *stat) {
    cf_exclude_state *rules = NULL;
    CF_TRY(cf_exclude_enter(self->rules, name, &rules));
    cf_exclude_state_free(self->rules);
    self->rules = rules;
    int fd = -1;
    if (exists && stat->type == CF_TYPE_DIRECTORY) {
        cf_err *err = cf_os_open_folder(self->fd, text, &fd, NULL);
        cf_err_free(err); /* then only names can be judged from here on */
        self->stat = *stat;
    }
    if (self->fd >= 0) close(self->fd);
    self->fd = fd;
    return NULL;
}

/* One name further down; *done: the verdict is final. */
static cf_err *step(walk *self, cf_span name, size_t path_size, bool last, cf_coverage_verdict *verdict, bool *done) {
    const cf_source_node *node = NULL;
    CF_AUTO_FREE char *text = cf_span_dup_text(name);
    if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a path");
    cf_stat stat = {0};
    cf_err *unknown = self->fd >= 0 ? cf_os_stat(self->fd, text, &stat) : NULL;
    bool exists = self->fd >= 0 && !unknown,
         is_folder = exists ? stat.type == CF_TYPE_DIRECTORY : !last || self->is_folder;
    cf_err_free(unknown);
    node = cf_source_child(self->node, text);
    *verdict = self->shut;
    *done = self->implied && !node;
    if (*done) return NULL;
    if (!self->implied) {
        *verdict = judge(self, name, text, exists ? &stat : NULL, is_folder);
        verdict->path_size = path_size;
        *done = verdict->covered != CF_COVERED && !node;
        if (!*done && verdict->covered != CF_COVERED) self->shut = *verdict;
    }
    if (*done) return NULL;
    bool foreign = exists && is_folder && is_foreign(self, node, &stat);
    self->implied = (self->implied || verdict->covered != CF_COVERED) && !is_source(node);
    if (!self->implied) verdict->covered = CF_COVERED;
    CF_TRY(enter(self, name, text, exists, &stat));
    self->node = node;
    if (foreign) { /* the folder itself is covered, what is in it is not */
        self->implied = true;
        self->node = NULL;
        self->shut = (cf_coverage_verdict){.covered = CF_NOT_FILE_SYSTEM, .path_size = path_size};
    } else if (self->implied) {
        verdict->covered = CF_COVERED_WAY;
    }
    if (last) verdict->exists = exists;
    return NULL;
}

static cf_err *follow(walk *self, cf_span path, cf_coverage_verdict *verdict) {
    bool done = false;
    *verdict = (cf_coverage_verdict){.covered = self->implied ? CF_COVERED_WAY : CF_COVERED, .exists = true};
    for (size_t at = 1; !done && at < path.size;) {
        size_t from = at;
        while (at < path.size && path.data[at] != '/') at++;
        size_t next = at;
        while (next < path.size && path.data[next] == '/') next++;
        if (at > from)
            CF_TRY(step(self, cf_span_of(path.data + from, at - from), at, next == path.size, verdict, &done));
        at = next;
    }
    return NULL;
}

static const char *holder(const cf_coverage *coverage, cf_span path) {
    size_t count = 0;
    const char *const *paths = cf_sources_paths(coverage->sources, &count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(paths[i]);
        if (size == 1) return paths[i];
        if (path.size >= size && memcmp(path.data, paths[i], size) == 0 &&
            (path.size == size || path.data[size] == '/'))
            return paths[i];
    }
    return NULL;
}

cf_err *cf_coverage_test(const cf_coverage *coverage, cf_span path, bool is_folder, cf_coverage_verdict *verdict) {
    if (path.size == 0 || *path.data != '/') return cf_fail(CF_ERR_BAD_USAGE, "a path to test must be absolute");
    walk self = {.coverage = coverage, .node = cf_sources_root(coverage->sources), .fd = -1, .is_folder = is_folder};
    self.implied = !self.node->is_source;
    self.shut.covered = CF_NOT_IN_SOURCES;
    cf_err *unknown = cf_mounts_read(&self.mounts);
    cf_err_free(unknown); /* then device numbers alone tell */
    cf_err *err = cf_exclude_root(coverage->exclude, &self.rules);
    if (!err) err = cf_os_open_folder(AT_FDCWD, "/", &self.fd, &self.stat);
    if (!err) err = follow(&self, path, verdict);
    verdict->source = err ? NULL : holder(coverage, path);
    cf_exclude_state_free(self.rules);
    cf_mounts_free(self.mounts);
    if (self.fd >= 0) close(self.fd);
    return err;
}
