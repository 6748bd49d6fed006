#include "scan/sources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct cf_sources {
    cf_source_node root;
    char **paths;
    size_t count;
};

static void node_wipe(cf_source_node *node) {
    for (size_t i = 0; i < node->count; i++) {
        node_wipe(node->children[i]);
        free(node->children[i]);
    }
    free(node->children);
    free(node->name);
}

cf_err *cf_sources_new(cf_sources **sources) {
    *sources = calloc(1, sizeof **sources);
    return *sources ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of sources");
}

void cf_sources_free(cf_sources *sources) {
    if (!sources) return;
    node_wipe(&sources->root);
    for (size_t i = 0; i < sources->count; i++) free(sources->paths[i]);
    free(sources->paths);
    free(sources);
}

const cf_source_node *cf_sources_root(const cf_sources *sources) {
    return &sources->root;
}

const char *const *cf_sources_paths(const cf_sources *sources, size_t *count) {
    *count = sources->count;
    return (const char *const *)sources->paths;
}

const cf_source_node *cf_source_child(const cf_source_node *node, const char *name) {
    for (size_t i = 0; node && i < node->count; i++)
        if (strcmp(node->children[i]->name, name) == 0) return node->children[i];
    return NULL;
}

static cf_err *child_of(cf_source_node *node, const char *name, size_t length, cf_source_node **child) {
    size_t at = 0;
    for (; at < node->count; at++) {
        int order = cf_span_compare(cf_span_text(node->children[at]->name), cf_span_of(name, length));
        if (order == 0) {
            *child = node->children[at];
            return NULL;
        }
        if (order > 0) break;
    }
    cf_source_node *made = calloc(1, sizeof *made);
    if (made) made->name = strndup(name, length);
    cf_source_node **larger = realloc(node->children, (node->count + 1) * sizeof(cf_source_node *));
    if (larger) node->children = larger;
    if (!made || !made->name || !larger) {
        free(made ? made->name : NULL);
        free(made);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of sources");
    }
    memmove(larger + at + 1, larger + at, (node->count - at) * sizeof(cf_source_node *));
    larger[at] = *child = made;
    node->count++;
    return NULL;
}

/* Is path the folder, or below it? */
static bool is_within(const char *path, const char *folder) {
    size_t length = strlen(folder);
    if (strcmp(folder, "/") == 0) return true;
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Keeps the list of paths ascending and without paths that lie within others. */
static cf_err *note_path(cf_sources *sources, const char *path) {
    size_t kept = 0;
    for (size_t i = 0; i < sources->count; i++)
        if (is_within(path, sources->paths[i])) return NULL;
    for (size_t i = 0; i < sources->count; i++) {
        if (is_within(sources->paths[i], path))
            free(sources->paths[i]);
        else
            sources->paths[kept++] = sources->paths[i];
    }
    sources->count = kept;
    char **larger = realloc(sources->paths, (kept + 1) * sizeof *larger);
    char *copy = strdup(path);
    if (larger) sources->paths = larger;
    if (!larger || !copy) {
        free(copy);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "the list of sources");
    }
    size_t at = kept;
    while (at > 0 && strcmp(larger[at - 1], path) > 0) at--;
    memmove(larger + at + 1, larger + at, (kept - at) * sizeof *larger);
    larger[at] = copy;
    sources->count = kept + 1;
    return NULL;
}

static cf_err *add_path(cf_sources *sources, const char *path, bool missing) {
    CF_TRY(note_path(sources, path));
    cf_source_node *node = &sources->root;
    for (const char *part = path + 1; *part;) {
        size_t length = strcspn(part, "/"), before = node->count;
        cf_source_node *above = node;
        CF_TRY(child_of(node, part, length, &node));
        node->missing = missing && (above->count > before || node->missing);
        part += length;
        if (*part == '/') part++;
    }
    node->is_source = true;
    return NULL;
}

cf_err *cf_sources_add_named(cf_sources *sources, const char *path) {
    return add_path(sources, path, true);
}

cf_err *cf_sources_add(cf_sources *sources, const char *path) {
    if (!*path) return cf_fail(CF_ERR_BAD_USAGE, "an empty path");
    CF_AUTO_FREE char *real = realpath(path, NULL);
    if (!real) {
        CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(path));
        const char *name = shown ? shown : "source";
        if (errno != ENOENT && errno != ENOTDIR)
            return cf_fail_reason(CF_ERR_SOURCE_MISSING, "denied", "%s: %s", name, strerror(errno));
        return cf_fail_reason(CF_ERR_SOURCE_MISSING, "missing", "%s does not exist", name);
    }
    return add_path(sources, real, false);
}
