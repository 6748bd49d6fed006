/* A folder whose entries are all known: its node, its block in the tree cache, its entry for the parent. */
#include <string.h>

#include "backup/internal.h"
#include "digest/digest.h"

enum { PART_MIN = 64 * 1024, PART_MAX = 384 * 1024, GROUP_MIN = 256, GROUP_MAX = 1000 };

/* Parts of a split directory while they come; their first names are borrowed from the folder. */
typedef struct cf_scan_parts {
    cf_part *list;
    size_t count, room;
} cf_scan_parts;

static cf_err *store_node(cf_scan_lane *lane, cf_span node, cf_ref *ref, cf_buf *segments, uint64_t *last_pack,
                          uint32_t *last_segment) {
    CF_TRY(cf_writer_lane_store(lane->store, CF_KIND_TREE, node, ref));
    cf_pairs_add(segments, last_pack, last_segment, ref->pack, ref->segment);
    return cf_map_add(lane->map, ref->pack, ref->segment);
}

static void add_totals(cf_totals *sum, const cf_entry *entry) {
    if (entry->meta.type == CF_TYPE_DIRECTORY) {
        sum->directories += 1 + entry->totals.directories;
        sum->files += entry->totals.files;
        sum->others += entry->totals.others;
        sum->bytes += entry->totals.bytes;
    } else if (entry->meta.type == CF_TYPE_FILE) {
        sum->files++;
        sum->bytes += entry->not_read ? 0 : entry->meta.size;
    } else {
        sum->others++;
    }
}

static void sum_parts(cf_totals *sum, const cf_totals *part) {
    sum->files += part->files;
    sum->directories += part->directories;
    sum->others += part->others;
    sum->bytes += part->bytes;
}

static cf_err *parts_add(cf_scan_parts *parts, cf_span first_name, const cf_ref *node, const cf_totals *totals) {
    if (parts->count == parts->room) {
        size_t room = parts->room ? parts->room * 2 : 16;
        cf_part *list = realloc(parts->list, room * sizeof *list);
        if (!list) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the parts of a folder");
        parts->list = list;
        parts->room = room;
    }
    parts->list[parts->count++] = (cf_part){first_name, *node, *totals};
    return NULL;
}

static bool is_boundary(const cf_scan_run *run, cf_span name, uint64_t mask) {
    return (cf_xxh3_64(name, run->split_seed) & mask) == 0;
}

/* Entries into nodes: one, or the parts of a split directory. */
static cf_err *encode_entries(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_parts *parts, cf_buf *segments,
                              uint64_t *last_pack, uint32_t *last_segment) {
    cf_node_writer *writer = lane->node_writer;
    cf_node_writer_reset(writer);
    cf_totals totals = {0};
    cf_span first = cf_span_of(NULL, 0);
    for (size_t i = 0; i < folder->count; i++) {
        cf_scan_slot *slot = &folder->slots[i];
        if (slot->omit) continue;
        cf_entry entry;
        CF_TRY(cf_entry_decode(slot_text(folder, slot, slot->entry), lane->xattrs, &entry));
        if (cf_node_writer_count(writer) == 0) first = cf_span_of(slot_name(folder, slot), slot->name.length);
        CF_TRY(cf_node_writer_add(writer, &entry));
        add_totals(&totals, &entry);
        size_t size = cf_node_writer_size(writer);
        if (size < PART_MIN || (size < PART_MAX && !is_boundary(lane->run, entry.name, 1023))) continue;
        cf_ref ref;
        CF_TRY(cf_node_writer_finish(writer, &lane->scratch));
        CF_TRY(store_node(lane, cf_buf_span(&lane->scratch), &ref, segments, last_pack, last_segment));
        CF_TRY(parts_add(parts, first, &ref, &totals));
        cf_node_writer_reset(writer);
        totals = (cf_totals){0};
    }
    if (cf_node_writer_count(writer) || parts->count == 0) {
        cf_ref ref;
        CF_TRY(cf_node_writer_finish(writer, &lane->scratch));
        CF_TRY(store_node(lane, cf_buf_span(&lane->scratch), &ref, segments, last_pack, last_segment));
        CF_TRY(parts_add(parts, first, &ref, &totals));
    }
    return NULL;
}

/* One level of split nodes above the parts, which are replaced by it. */
static cf_err *encode_level(cf_scan_lane *lane, cf_scan_parts *parts, uint8_t level, cf_buf *segments,
                            uint64_t *last_pack, uint32_t *last_segment) {
    size_t kept = 0;
    for (size_t start = 0; start < parts->count;) {
        size_t end = start;
        cf_totals totals = {0};
        do {
            sum_parts(&totals, &parts->list[end].totals);
            end++;
        } while (end < parts->count && end - start < GROUP_MAX &&
                 !(end - start >= GROUP_MIN && is_boundary(lane->run, parts->list[end].first_name, 255)));
        cf_buf_reset(&lane->scratch);
        cf_split_begin(&lane->scratch, level, (uint32_t)(end - start));
        for (size_t i = start; i < end; i++) cf_split_add(&lane->scratch, &parts->list[i]);
        CF_TRY(cf_buf_check(&lane->scratch, "a split directory"));
        cf_part whole = {.first_name = parts->list[start].first_name, .totals = totals};
        CF_TRY(store_node(lane, cf_buf_span(&lane->scratch), &whole.node, segments, last_pack, last_segment));
        parts->list[kept++] = whole;
        start = end;
    }
    parts->count = kept;
    return NULL;
}

static cf_err *encode_folder(cf_scan_lane *lane, cf_scan_folder *folder, cf_buf *segments) {
    uint64_t last_pack = 0;
    uint32_t last_segment = UINT32_MAX;
    cf_scan_parts parts = {0};
    cf_err *err = encode_entries(lane, folder, &parts, segments, &last_pack, &last_segment);
    for (uint8_t level = 1; !err && parts.count > 1; level++) {
        if (level > CF_DEPTH_MAX)
            err = cf_fail(CF_ERR_TOO_LARGE, "a folder with %zu entries", folder->count);
        else
            err = encode_level(lane, &parts, level, segments, &last_pack, &last_segment);
    }
    if (!err) {
        folder->node = parts.list[0].node;
        folder->totals = parts.list[0].totals;
    }
    free(parts.list);
    return err;
}

/* The entry that the parent gets: metadata as captured (or as the base has it) with the node as it is now. */
static cf_err *entry_for_parent(cf_scan_lane *lane, cf_scan_folder *parent, cf_scan_slot *slot, cf_scan_folder *child) {
    cf_span from = child->meta_unchanged ? slot_text(parent, slot, slot->entry) : cf_buf_span(&child->own);
    cf_span pairs = child->meta_unchanged ? slot_text(parent, slot, slot->segments) : cf_buf_span(&child->own_pairs);
    cf_entry entry;
    CF_TRY(cf_entry_decode(from, lane->xattrs, &entry));
    entry.node = child->node;
    entry.totals = child->totals;
    entry.implied = child->implied;
    cf_buf_reset(&lane->entry);
    CF_TRY(cf_entry_encode(&entry, &lane->entry));
    cf_buf_reset(&lane->pairs);
    cf_buf_put_span(&lane->pairs, pairs);
    CF_TRY(cf_run_mark(lane, pairs));
    return cf_buf_check(&lane->pairs, "the segments of an entry");
}

/* Takes over what a subfolder came to. */
static cf_err *absorb(cf_scan_lane *lane, cf_scan_folder *folder, cf_scan_slot *slot) {
    cf_scan_run *run = lane->run;
    cf_scan_folder *child = slot->child;
    cf_span before = slot->from_base ? slot_text(folder, slot, slot->entry) : cf_span_of(NULL, 0);
    if (child->own_failed && child->vanished) {
        slot->omit = true;
        atomic_store(&folder->dirty, true);
    } else if (child->own_failed) {
        slot->stat.inode = 0;
        CF_TRY(cf_entry_for_failure(lane, &child->stat_now, cf_span_of(slot_name(folder, slot), slot->name.length),
                                    child->failure_code, &lane->entry));
        CF_TRY(cf_slot_set(folder, slot, cf_buf_span(&lane->entry), cf_span_of(NULL, 0)));
        atomic_store(&folder->dirty, true);
    } else {
        CF_TRY(entry_for_parent(lane, folder, slot, child));
        if (slot->from_base && cf_span_equal(before, cf_buf_span(&lane->entry))) {
            if (!child->meta_unchanged || child->place.offset != slot->child_base.offset)
                atomic_store(&folder->stale, true);
        } else {
            CF_TRY(cf_slot_set(folder, slot, cf_buf_span(&lane->entry), cf_buf_span(&lane->pairs)));
            atomic_store(&folder->dirty, true);
        }
    }
    slot->child_base = child->place;
    slot->child = NULL;
    cf_folder_free(run, child);
    return NULL;
}

static cf_err *write_block(cf_scan_lane *lane, cf_scan_folder *folder, cf_span segments) {
    cf_cache_folder head = {.node = folder->node, .totals = folder->totals, .segments = segments};
    for (size_t i = 0; i < folder->count; i++) head.count += !folder->slots[i].omit;
    cf_block_begin(&lane->block, &head);
    for (size_t i = 0; i < folder->count; i++) {
        const cf_scan_slot *slot = &folder->slots[i];
        if (slot->omit) continue;
        cf_cache_entry entry = {.name = cf_span_of(slot_name(folder, slot), slot->name.length),
                                .stat = slot->stat,
                                .child = slot->child_base,
                                .segments = slot_text(folder, slot, slot->segments),
                                .entry = slot_text(folder, slot, slot->entry)};
        cf_block_add(&lane->block, &entry);
    }
    CF_TRY(cf_block_end(&lane->block));
    return cf_cache_append(lane->run->options.cache, cf_buf_span(&lane->block), &folder->place);
}

static void drop_working_memory(cf_scan_folder *folder) {
    cf_buf_wipe(&folder->base);
    cf_buf_wipe(&folder->names);
    cf_buf_wipe(&folder->arena);
    free(cf_take(folder->slots));
    folder->count = folder->room = 0;
}

/* The base's entries as slots of their own. */
static cf_err *base_slots(cf_scan_folder *folder, cf_scan_folder *old) {
    cf_cursor cursor;
    cf_cache_folder head;
    cf_cache_entry entry;
    if (!cf_block_open(cf_buf_span(&folder->base), &cursor, &head)) return NULL; /* was checked when it was read */
    old->slots = calloc(head.count ? head.count : 1, sizeof *old->slots);
    if (!old->slots) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the entries of a folder");
    while (old->count < head.count && cf_block_next(&cursor, &entry)) {
        cf_scan_slot *slot = &old->slots[old->count++];
        slot->from_base = true;
        slot->entry = (text_place){(uint32_t)(entry.entry.data - folder->base.data), (uint32_t)entry.entry.size};
        slot->name = (text_place){(uint32_t)old->names.size, (uint32_t)entry.name.size};
        cf_buf_put_span(&old->names, entry.name);
        cf_buf_put_u8(&old->names, 0);
    }
    return cf_buf_check(&old->names, "the names of a folder");
}

/* The nodes of the base's folder are damaged in the vault. Older points refer to them: they are stored again as they were, under
 * their own chunk IDs, whatever the folder has become. The new point does not need them, so its map does not get them. */
static cf_err *store_base_again(cf_scan_lane *lane, cf_scan_folder *folder) {
    cf_scan_folder old = {.base = folder->base}; /* borrowed */
    CF_AUTO(cf_map) aside = NULL;
    CF_AUTO_BUF cf_buf segments;
    cf_buf_init(&segments, (size_t)64 << 20);
    cf_buf_init(&old.names, (size_t)2 << 30);
    CF_TRY(cf_map_new(&aside));
    cf_map *own = lane->map;
    lane->map = aside;
    cf_err *err = base_slots(folder, &old);
    if (!err) err = encode_folder(lane, &old, &segments);
    lane->map = own;
    cf_buf_wipe(&old.names);
    free(old.slots);
    return err;
}

cf_err *cf_folder_finish(cf_scan_lane *lane, cf_scan_folder *folder) {
    cf_scan_run *run = lane->run;
    if (folder->own_failed) return NULL;
    for (size_t i = 0; i < folder->count; i++)
        if (folder->slots[i].child) CF_TRY(absorb(lane, folder, &folder->slots[i]));
    bool alive = !folder->has_base || cf_run_pairs_alive(run, folder->base_folder.segments);
    bool stays = !folder->has_base || cf_run_pairs_stay(run, folder->base_folder.segments);
    bool keep_node = folder->has_base && !atomic_load(&folder->dirty) && stays;
    if (!alive && run->options.damaged) CF_TRY(store_base_again(lane, folder));
    CF_AUTO_BUF cf_buf segments;
    cf_buf_init(&segments, (size_t)64 << 20);
    if (keep_node) {
        folder->node = folder->base_folder.node;
        folder->totals = folder->base_folder.totals;
        cf_buf_put_span(&segments, folder->base_folder.segments);
        CF_TRY(cf_run_mark(lane, folder->base_folder.segments));
    } else {
        folder->node_changed = true;
        CF_TRY(encode_folder(lane, folder, &segments));
    }
    CF_TRY(cf_buf_check(&segments, "the nodes of a folder"));
    if (keep_node && !atomic_load(&folder->stale) && !run->write_all)
        folder->place = folder->parent ? folder->parent->slots[folder->slot_in_parent].child_base
                                       : cf_cache_get_root(run->options.cache)->block;
    else
        CF_TRY(write_block(lane, folder, cf_buf_span(&segments)));
    lane->live_bytes += folder->place.length;
    drop_working_memory(folder);
    return NULL;
}
