#include "build_repo.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "digest/digest.h"
#include "os/dir.h"
#include "os/file.h"
#include "sealed/relocation.h"
#include "visible/merged.h"

enum { HIDDEN_MAX = 8 };

struct open_pack {
    uint64_t number;
    cf_buf bytes; /* header and stored segments so far */
    cf_extent *extents;
    size_t extent_count;
    cf_directory_entry *chunks;
    size_t chunk_count;
    cf_buf segment; /* raw */
    bool open;
};

struct build {
    char dir[64];
    cf_id16 server, session;
    cf_server_keys *keys;
    cf_secret *session_key;
    cf_segment_codec *codec;
    cf_mac *mac;
    unsigned segments_in_pack;
    uint64_t next_pack;
    struct open_pack packs[2];
    cf_map *map, *last_map;
    struct {
        uint64_t pack;
        uint16_t segment;
    } hidden[HIDDEN_MAX];
    size_t hidden_count;
    uint64_t counter;
    cf_id32 last;
    uint8_t chain;
};

static void good(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    cf_err_free(err);
    fail_msg("unexpected error");
}

static void write_object(const build *b, const char *kind, const char *name, cf_span bytes) {
    char hex[CF_HEX_SIZE(16)], path[512];
    cf_hex_encode(b->server.bytes, 16, hex);
    snprintf(path, sizeof path, "%s/servers/%s/%s/%s", b->dir, hex, kind, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
}

build *build_new(unsigned segments_in_pack) {
    build *b = calloc(1, sizeof *b);
    assert_non_null(b);
    strcpy(b->dir, "/tmp/coffer-build-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    good(cf_random(b->server.bytes, 16));
    good(cf_random(b->session.bytes, 16));
    good(cf_server_keys_generate(&b->keys));
    uint8_t key[32];
    good(cf_random(key, 32));
    good(cf_secret_from(key, 32, &b->session_key));
    good(cf_segment_codec_new(1, &b->codec));
    good(cf_mac_new(b->keys->id, &b->mac));
    good(cf_map_new(&b->map));
    b->segments_in_pack = segments_in_pack;
    b->next_pack = 1;
    static const char *const folders[] = {"packs", "records", "points"};
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(b->server.bytes, 16, hex);
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/servers/%s/%s", b->dir, hex, folders[i]);
        good(cf_dir_make(AT_FDCWD, path, 0700));
    }
    uint8_t record[CF_RECORD_SIZE];
    good(cf_record_seal(b->keys->master, &b->server, &b->session, b->session_key, record));
    cf_hex_encode(b->session.bytes, 16, hex);
    write_object(b, "records", hex, cf_span_of(record, sizeof record));
    for (int kind = 0; kind < 2; kind++) {
        cf_buf_init(&b->packs[kind].bytes, CF_PACK_MAX);
        cf_buf_init(&b->packs[kind].segment, CF_SEGMENT_RAW_MAX);
    }
    return b;
}

void build_free(build *b) {
    for (int kind = 0; kind < 2; kind++) {
        cf_buf_wipe(&b->packs[kind].bytes);
        cf_buf_wipe(&b->packs[kind].segment);
        free(b->packs[kind].extents);
        free(b->packs[kind].chunks);
    }
    cf_map_free(b->map);
    cf_map_free(b->last_map);
    cf_mac_free(b->mac);
    cf_segment_codec_free(b->codec);
    cf_secret_free(b->session_key);
    cf_server_keys_free(b->keys);
    good(cf_dir_remove_tree(AT_FDCWD, b->dir));
    free(b);
}

const char *build_dir(const build *b) {
    return b->dir;
}
const cf_id16 *build_server(const build *b) {
    return &b->server;
}
const cf_server_keys *build_keys(const build *b) {
    return b->keys;
}
uint64_t build_last_pack(const build *b) {
    return b->next_pack - 1;
}

static void pack_begin(build *b, cf_kind kind) {
    struct open_pack *pack = &b->packs[kind];
    cf_key_pair_bytes keys, directory;
    pack->number = b->next_pack++;
    pack->open = true;
    pack->extent_count = pack->chunk_count = 0;
    cf_buf_reset(&pack->bytes);
    good(cf_pack_keys_derive(b->session_key, pack->number, &keys));
    good(cf_directory_keys_derive(b->keys->directory, &b->session, pack->number, &directory));
    cf_pack_header header = {.kind = kind, .server = b->server, .session = b->session, .number = pack->number};
    memcpy(header.commitment, keys.commitment, 32);
    memcpy(header.directory_commitment, directory.commitment, 32);
    uint8_t bytes[CF_PACK_HEADER_SIZE];
    cf_pack_header_encode(&header, bytes);
    cf_buf_put(&pack->bytes, bytes, sizeof bytes);
}

static void put_segment(build *b, cf_kind kind, uint16_t number, const uint8_t key[32], cf_span raw) {
    struct open_pack *pack = &b->packs[kind];
    size_t start = pack->bytes.size;
    cf_segment_place place = {kind, b->server, b->session, pack->number, number};
    good(cf_segment_seal(b->codec, key, &place, raw, true, &pack->bytes));
    cf_extent extent = {.segment = number, .length = (uint32_t)(pack->bytes.size - start), .offset = start};
    cf_xxh3_128(cf_span_of(pack->bytes.data + start, extent.length), extent.xxh3);
    pack->extents = reallocarray(pack->extents, pack->extent_count + 1, sizeof *pack->extents);
    assert_non_null(pack->extents);
    pack->extents[pack->extent_count++] = extent;
}

static void pack_end(build *b, cf_kind kind) {
    struct open_pack *pack = &b->packs[kind];
    cf_key_pair_bytes directory;
    good(cf_directory_keys_derive(b->keys->directory, &b->session, pack->number, &directory));
    CF_AUTO_BUF cf_buf raw;
    cf_buf_init(&raw, CF_DIRECTORY_RAW_MAX);
    good(cf_directory_encode(pack->chunks, pack->chunk_count, &raw));
    put_segment(b, kind, CF_SEGMENT_DIRECTORY, directory.key, cf_buf_span(&raw));
    uint8_t header[CF_PACK_HEADER_SIZE];
    memcpy(header, pack->bytes.data, sizeof header);
    cf_pack_tail_encode(header, pack->bytes.size, pack->extents, pack->extent_count, &pack->bytes);
    good(cf_buf_check(&pack->bytes, "pack"));
    char name[80], hex[CF_HEX_SIZE(16)];
    cf_hex_encode(b->session.bytes, 16, hex);
    snprintf(name, sizeof name, "%016llx-%s", (unsigned long long)pack->number, hex);
    write_object(b, "packs", name, cf_buf_span(&pack->bytes));
    pack->open = false;
}

void build_cut(build *b, cf_kind kind) {
    struct open_pack *pack = &b->packs[kind];
    if (pack->segment.size == 0) return;
    cf_key_pair_bytes keys;
    good(cf_pack_keys_derive(b->session_key, pack->number, &keys));
    put_segment(b, kind, (uint16_t)pack->extent_count, keys.key, cf_buf_span(&pack->segment));
    cf_buf_reset(&pack->segment);
    if (pack->extent_count >= b->segments_in_pack) pack_end(b, kind);
}

void build_cut_pack(build *b, cf_kind kind) {
    build_cut(b, kind);
    if (b->packs[kind].open) pack_end(b, kind);
}

static bool is_hidden(const build *b, uint64_t pack, uint16_t segment) {
    for (size_t i = 0; i < b->hidden_count; i++)
        if (b->hidden[i].pack == pack && b->hidden[i].segment == segment) return true;
    return false;
}

void build_hide(build *b, uint64_t pack, uint16_t segment) {
    assert_true(b->hidden_count < HIDDEN_MAX);
    b->hidden[b->hidden_count].pack = pack;
    b->hidden[b->hidden_count++].segment = segment;
}

cf_ref build_chunk(build *b, cf_kind kind, const void *data, size_t size) {
    struct open_pack *pack = &b->packs[kind];
    assert_true(size > 0 && size <= CF_CHUNK_MAX);
    if (pack->segment.size + size > CF_SEGMENT_RAW_MAX) build_cut(b, kind);
    if (!pack->open) pack_begin(b, kind);
    cf_ref ref = {.pack = pack->number,
                  .segment = (uint16_t)pack->extent_count,
                  .offset = (uint32_t)pack->segment.size,
                  .length = (uint32_t)size};
    good(cf_mac_chunk_id(b->mac, kind, cf_span_of(data, size), &ref.id));
    cf_buf_put(&pack->segment, data, size);
    pack->chunks = reallocarray(pack->chunks, pack->chunk_count + 1, sizeof *pack->chunks);
    assert_non_null(pack->chunks);
    pack->chunks[pack->chunk_count++] = (cf_directory_entry){ref.segment, ref.id, ref.offset, ref.length};
    good(cf_map_add(b->map, ref.pack, ref.segment));
    return ref;
}

cf_content build_content(build *b, const void *data, size_t size, size_t chunk_size, unsigned per_list, cf_buf *refs) {
    cf_buf_init(refs, 64u << 20);
    cf_content content = {0};
    for (size_t at = 0; at < size; at += chunk_size) {
        cf_ref ref =
            build_chunk(b, CF_KIND_DATA, (const uint8_t *)data + at, size - at < chunk_size ? size - at : chunk_size);
        cf_ref_encode(&ref, refs);
        content.count++;
    }
    while (content.count > per_list) {
        CF_AUTO_BUF cf_buf above, list;
        cf_buf_init(&above, 64u << 20);
        cf_buf_init(&list, CF_NODE_MAX);
        cf_cursor cursor = cf_cursor_of(cf_buf_span(refs));
        uint32_t lists = 0;
        for (uint32_t left = content.count; left > 0; lists++) {
            uint32_t take = left < per_list ? left : per_list;
            size_t start = cursor.offset;
            cf_ref ref;
            for (uint32_t i = 0; i < take; i++) cf_ref_decode(&cursor, &ref);
            cf_buf_reset(&list);
            cf_list_encode(content.depth, take, cf_span_of(refs->data + start, cursor.offset - start), &list);
            ref = build_chunk(b, CF_KIND_TREE, list.data, list.size);
            cf_ref_encode(&ref, &above);
            left -= take;
        }
        cf_buf_reset(refs);
        cf_buf_put_span(refs, cf_buf_span(&above));
        content.depth++;
        content.count = lists;
    }
    good(cf_buf_check(refs, "refs"));
    content.refs = cf_buf_span(refs);
    return content;
}

/* ---- Folders ---- */

struct build_dir_writer {
    build *b;
    cf_node_writer *writer;
    cf_entry_copy *entries;
    size_t count;
};

build_dir_writer *build_dir_new(build *b) {
    build_dir_writer *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->b = b;
    good(cf_node_writer_new(&w->writer));
    return w;
}

void build_dir_entry(build_dir_writer *w, const cf_entry *entry) {
    w->entries = reallocarray(w->entries, w->count + 1, sizeof *w->entries);
    assert_non_null(w->entries);
    w->entries[w->count] = (cf_entry_copy){0};
    good(cf_entry_copy_set(&w->entries[w->count++], entry));
}

cf_entry build_entry(const char *name, cf_file_type type) {
    cf_entry entry = {.name = cf_span_text(name)};
    entry.meta = (cf_meta){.type = type,
                           .mode = type == CF_TYPE_DIRECTORY ? 0755 : 0644,
                           .uid = (uint32_t)getuid(),
                           .gid = (uint32_t)getgid(),
                           .mtime = {1700000000, 123456789},
                           .nlink = 1};
    return entry;
}

void build_dir_file(build_dir_writer *w, const char *name, const void *data, size_t size) {
    cf_entry entry = build_entry(name, CF_TYPE_FILE);
    cf_buf refs;
    entry.meta.size = size;
    entry.content = build_content(w->b, data, size, 100000, 1000, &refs);
    build_dir_entry(w, &entry);
    cf_buf_wipe(&refs);
}

void build_dir_folder(build_dir_writer *w, const char *name, cf_ref node) {
    cf_entry entry = build_entry(name, CF_TYPE_DIRECTORY);
    entry.node = node;
    build_dir_entry(w, &entry);
}

void build_dir_symlink(build_dir_writer *w, const char *name, const char *target) {
    cf_entry entry = build_entry(name, CF_TYPE_SYMLINK);
    entry.meta.target = cf_span_text(target);
    build_dir_entry(w, &entry);
}

static cf_ref leaf(build_dir_writer *w, size_t first, size_t count) {
    cf_node_writer_reset(w->writer);
    for (size_t i = first; i < first + count; i++) good(cf_node_writer_add(w->writer, &w->entries[i].entry));
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    good(cf_node_writer_finish(w->writer, &node));
    return build_chunk(w->b, CF_KIND_TREE, node.data, node.size);
}

static cf_ref split(build_dir_writer *w, unsigned per_part) {
    size_t count = (w->count + per_part - 1) / per_part;
    cf_part *parts = calloc(count, sizeof *parts);
    assert_non_null(parts);
    for (size_t i = 0; i < count; i++) {
        size_t first = i * per_part, size = w->count - first < per_part ? w->count - first : per_part;
        parts[i] = (cf_part){.first_name = w->entries[first].entry.name, .node = leaf(w, first, size)};
    }
    for (uint8_t level = 1;; level++) {
        size_t nodes = (count + per_part - 1) / per_part;
        if (per_part < 2) nodes = 1;
        size_t each = per_part < 2 ? count : per_part;
        for (size_t i = 0; i < nodes; i++) {
            CF_AUTO_BUF cf_buf node;
            cf_buf_init(&node, CF_NODE_MAX);
            size_t first = i * each, size = count - first < each ? count - first : each;
            cf_split_begin(&node, level, (uint32_t)size);
            for (size_t j = first; j < first + size; j++) cf_split_add(&node, &parts[j]);
            good(cf_buf_check(&node, "split"));
            cf_ref ref = build_chunk(w->b, CF_KIND_TREE, node.data, node.size);
            parts[i] = (cf_part){.first_name = parts[first].first_name, .node = ref};
        }
        count = nodes;
        if (count == 1) break;
    }
    cf_ref top = parts[0].node;
    free(parts);
    return top;
}

cf_ref build_dir_end(build_dir_writer *w, unsigned per_part) {
    cf_ref node = per_part && w->count > per_part ? split(w, per_part) : leaf(w, 0, w->count);
    for (size_t i = 0; i < w->count; i++) cf_entry_copy_wipe(&w->entries[i]);
    free(w->entries);
    cf_node_writer_free(w->writer);
    free(w);
    return node;
}

/* ---- Points ---- */

static cf_map *visible_map(const build *b) {
    cf_map *map;
    good(cf_map_new(&map));
    uint64_t pack;
    for (size_t cursor = 0; cf_map_next_pack(b->map, &cursor, &pack);)
        for (uint32_t segment = 0; cf_map_next_segment(b->map, pack, &segment); segment++)
            if (!is_hidden(b, pack, (uint16_t)segment)) good(cf_map_add(map, pack, (uint16_t)segment));
    return map;
}

cf_id32 build_point(build *b, cf_ref tree, const char *source, bool delta) {
    build_cut_pack(b, CF_KIND_DATA);
    build_cut_pack(b, CF_KIND_TREE);
    CF_AUTO_BUF cf_buf summary, list, map, root, object;
    cf_buf_init(&summary, 4096);
    cf_buf_init(&list, 1 << 20);
    cf_buf_init(&map, CF_POINT_MAP_MAX);
    cf_buf_init(&root, CF_POINT_ROOT_MAX);
    cf_buf_init(&object, CF_POINT_MAX);
    cf_summary told = {.started = 1700000000 + b->counter * 1000, .finished = 1700000100 + b->counter * 1000};
    cf_summary_encode(&told, &summary);
    cf_pack_list_encode(NULL, 0, &list);
    cf_map *live = visible_map(b);
    cf_map_header header = {.exact = true};
    if (delta) {
        header.delta = true;
        header.base = b->last;
        header.chain = ++b->chain;
    } else {
        b->chain = 0;
    }
    good(cf_map_encode(live, &header, delta ? b->last_map : NULL, NULL, NULL, &map));
    uint8_t record[CF_RECORD_SIZE];
    good(cf_record_seal(b->keys->master, &b->server, &b->session, b->session_key, record));
    cf_point_frame frame = {.server = b->server, .session = b->session, .counter = ++b->counter, .previous = b->last};
    frame.key_record = cf_span_of(record, sizeof record);
    frame.summary = cf_buf_span(&summary);
    frame.pack_list = cf_buf_span(&list);
    frame.map = cf_buf_span(&map);
    cf_span sources[] = {cf_span_text(source)};
    cf_root plain = {
        .server = b->server, .session = b->session, .counter = b->counter, .previous = b->last, .tree = tree};
    plain.time = (cf_time){(int64_t)told.started, 0};
    plain.sources = sources;
    plain.source_count = 1;
    plain.host = cf_span_text("host");
    plain.agent_version = cf_span_text("test");
    good(cf_sha256(frame.summary, plain.summary_sha256));
    good(cf_sha256(frame.pack_list, plain.pack_list_sha256));
    good(cf_sha256(frame.map, plain.map_sha256));
    uint8_t prefix[80];
    frame.root = cf_span_of(NULL, 0);
    cf_point_prefix_encode(&frame, prefix);
    good(cf_root_seal(&plain, b->session_key, prefix, frame.root_commitment, &root));
    frame.root = cf_buf_span(&root);
    good(cf_point_encode(&frame, &object));
    cf_id32 id;
    good(cf_sha256(cf_buf_span(&object), id.bytes));
    char name[96], hex[CF_HEX_SIZE(32)];
    cf_hex_encode(id.bytes, 32, hex);
    snprintf(name, sizeof name, "%016llx-%s", (unsigned long long)b->counter, hex);
    write_object(b, "points", name, cf_buf_span(&object));
    b->last = id;
    cf_map_free(b->last_map);
    b->last_map = live;
    return id;
}

char *build_pack_path(build *b, uint64_t pack) {
    char server[CF_HEX_SIZE(16)], session[CF_HEX_SIZE(16)];
    cf_hex_encode(b->server.bytes, 16, server);
    cf_hex_encode(b->session.bytes, 16, session);
    char *path = cf_text_format("%s/servers/%s/packs/%016llx-%s", b->dir, server, (unsigned long long)pack, session);
    assert_non_null(path);
    return path;
}

void build_flip(build *b, uint64_t pack, uint16_t segment) {
    cf_source *source;
    cf_reader *reader;
    cf_extent extent;
    good(cf_source_folder_open(b->dir, &b->server, &source));
    good(cf_reader_open(source, b->keys, &b->server, 1 << 20, &reader));
    good(cf_reader_extent(reader, pack, segment, &extent));
    cf_reader_close(reader);
    cf_source_close(source);
    CF_AUTO_FREE char *path = build_pack_path(b, pack);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)(extent.offset + extent.length / 2), SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    fputc(byte ^ 4, file);
    assert_int_equal(fclose(file), 0);
}

static void write_new(const build *b, const char *folder, const char *name, cf_span bytes) {
    char server[CF_HEX_SIZE(16)];
    cf_hex_encode(b->server.bytes, 16, server);
    CF_AUTO_FREE char *dir = cf_text_format("%s/servers/%s/%s", b->dir, server, folder);
    CF_AUTO_FREE char *path = cf_text_format("%s/%s", dir, name);
    (void)mkdir(dir, 0700); /* it may be there */
    FILE *file = fopen(path, "wbx");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
}

void build_relocation(build *b, uint64_t number, const cf_ref *refs, size_t count) {
    CF_AUTO_BUF cf_buf points, extra, healed, sealed, object;
    CF_AUTO(cf_map) map = NULL;
    CF_AUTO(cf_map) none = NULL;
    uint8_t record[CF_RECORD_SIZE];
    cf_buf_init(&points, 4096);
    cf_buf_init(&extra, 4096);
    cf_buf_init(&healed, 4096);
    cf_buf_init(&sealed, CF_RELOCATION_SEALED_MAX);
    cf_buf_init(&object, CF_RELOCATION_MAX);
    good(cf_map_new(&map));
    good(cf_map_new(&none));
    for (size_t i = 0; i < count; i++) good(cf_map_add(map, refs[i].pack, refs[i].segment));
    cf_relocation_points_encode(&b->last, 1, &points);
    good(cf_map_encode(map, &(cf_map_header){0}, NULL, NULL, NULL, &extra));
    good(cf_map_encode(none, &(cf_map_header){0}, NULL, NULL, NULL, &healed));
    good(cf_record_seal(b->keys->master, &b->server, &b->session, b->session_key, record));
    cf_relocation_frame frame = {.server = b->server,
                                 .session = b->session,
                                 .number = number,
                                 .key_record = cf_span_of(record, sizeof record),
                                 .points = cf_buf_span(&points),
                                 .extra = cf_buf_span(&extra),
                                 .healed = cf_buf_span(&healed)};
    good(cf_relocation_seal(&frame, b->session_key, refs, count, frame.commitment, &sealed));
    frame.sealed = cf_buf_span(&sealed);
    good(cf_relocation_encode(&frame, &object));
    uint8_t id[32];
    char hex[CF_HEX_SIZE(32)];
    good(cf_sha256(cf_buf_span(&object), id));
    cf_hex_encode(id, 32, hex);
    CF_AUTO_FREE char *name = cf_text_format("%016llx-%s", (unsigned long long)number, hex);
    write_new(b, "relocations", name, cf_buf_span(&object));
}

void build_merge(build *b, uint64_t pack, uint32_t generation) {
    CF_AUTO_BUF cf_buf body, object;
    cf_buf_init(&body, CF_PACK_MAX);
    cf_buf_init(&object, (size_t)2 * CF_PACK_MAX);
    char *path = build_pack_path(b, pack);
    good(cf_file_read(AT_FDCWD, path, CF_PACK_MAX, &body));
    assert_int_equal(unlink(path), 0);
    free(path);
    cf_id16 id;
    good(cf_random(id.bytes, sizeof id.bytes));
    /* The one before it is only there to be passed over. */
    cf_merged_pack packs[2] = {{.number = 1, .session = b->session, .generation = 1, .size = 7},
                               {.number = pack, .session = b->session, .generation = generation, .size = body.size}};
    size_t first = pack == 1 ? 1 : 0;
    packs[first].offset = cf_merged_head_size(2 - first);
    if (first == 0) packs[1].offset = packs[0].offset + packs[0].size;
    cf_merged_head_encode(&b->server, &id, packs + first, 2 - first, &object);
    if (first == 0) cf_buf_put(&object, "padding", 7);
    cf_buf_put_span(&object, cf_buf_span(&body));
    char hex[CF_HEX_SIZE(16)];
    cf_hex_encode(id.bytes, 16, hex);
    write_new(b, "merged", hex, cf_buf_span(&object));
}
