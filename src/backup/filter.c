/* What a scan leaves out of the folders that it lists. A source, and the way to one, never is. */
#include <string.h>

#include "backup/internal.h"
#include "os/cachedir.h"

static bool is_way(const cf_scan_folder *folder, const char *name) {
    return folder->sources && cf_source_child(folder->sources, name) != NULL;
}

bool cf_filter_drops(const cf_scan_lane *lane, const cf_scan_folder *folder, const cf_dir_entry *entry) {
    const cf_backup_made *made = lane->run->options.made;
    if (made && !folder->parent && strcmp(entry->name, made->name) == 0) return true; /* it is made instead */
    if (!folder->rules || is_way(folder, entry->name)) return false;
    bool is_folder = entry->type == CF_TYPE_DIRECTORY;
    if (entry->type == 0 && cf_exclude_needs_type(folder->rules)) {
        cf_stat stat;
        cf_err *err = cf_os_stat(folder->fd, entry->name, &stat);
        is_folder = !err && stat.type == CF_TYPE_DIRECTORY;
        cf_err_free(err); /* who lists it meets the same and reports it */
    }
    return cf_exclude_name(folder->rules, cf_span_of(entry->name, entry->size), is_folder, NULL);
}

void cf_filter_cache_folder(const cf_scan_lane *lane, cf_scan_folder *folder) {
    bool is_source = folder->sources && folder->sources->is_source;
    if (!lane->run->options.exclude_caches || is_source || folder->implied) return;
    bool has_tag = false;
    for (size_t i = 0; i < folder->count && !has_tag; i++)
        has_tag = strcmp(slot_name(folder, &folder->slots[i]), CF_CACHEDIR_TAG) == 0;
    if (!has_tag || !cf_cachedir_is(folder->fd)) return;
    folder->only_ways = true;
    size_t kept = 0;
    for (size_t i = 0; i < folder->count; i++) {
        const char *name = slot_name(folder, &folder->slots[i]);
        if (strcmp(name, CF_CACHEDIR_TAG) == 0 || is_way(folder, name)) folder->slots[kept++] = folder->slots[i];
    }
    folder->count = kept;
}

bool cf_filter_drops_flagged(const cf_scan_run *run, const cf_scan_folder *folder, const cf_scan_slot *slot) {
    return run->options.exclude_nodump && slot->stat.nodump && !folder->implied &&
           !is_way(folder, slot_name(folder, slot));
}

bool cf_filter_closes(const cf_scan_run *run, const cf_scan_folder *parent, const cf_scan_slot *slot) {
    cf_span name = cf_span_of(slot_name(parent, slot), slot->name.length);
    return parent->only_ways || (run->options.exclude_nodump && slot->stat.nodump) ||
           cf_exclude_name(parent->rules, name, true, NULL);
}
