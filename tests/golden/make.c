/* Made the files of this folder, once: a small vault with fixed keys and nonces, and damaged copies. It never
 * overwrites: the stored format does not change under vaults that exist, so neither do these files.
 *   make-golden FOLDER                                                                                    */
#include <stdio.h>
#include <sys/stat.h>

#include "base/text.h"
#include "digest/digest.h"
#include "keys/keys.h"
#include "sealed/node.h"
#include "sealed/root_internal.h"
#include "sealed/segment.h"
#include "sealed/slot_internal.h"
#include "visible/journal.h"
#include "visible/map.h"
#include "visible/names.h"
#include "visible/pack.h"
#include "visible/point.h"

#define PASSPHRASE "golden passphrase"

static const char *folder;

static void must(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    exit(1);
}

static void fill(void *out, size_t size, uint8_t first) {
    uint8_t *at = out;
    for (size_t i = 0; i < size; i++) at[i] = (uint8_t)(first + i);
}

static cf_secret *secret_of(uint8_t byte) {
    uint8_t bytes[32];
    memset(bytes, byte, sizeof bytes);
    cf_secret *secret = NULL;
    must(cf_secret_from(bytes, sizeof bytes, &secret));
    return secret;
}

static void put_file(const char *name, cf_span bytes) {
    char path[1024];
    for (const char *at = strchr(name, '/'); at; at = strchr(at + 1, '/')) {
        (void)snprintf(path, sizeof path, "%s/%.*s", folder, (int)(at - name), name);
        (void)mkdir(path, 0755); /* most exist already */
    }
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wbx");
    if (!file || fwrite(bytes.data, 1, bytes.size, file) != bytes.size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void put_object(const char *name, cf_span bytes) {
    char path[CF_NAME_MAX + 16];
    (void)snprintf(path, sizeof path, "vault/%s", name);
    put_file(path, bytes);
}

/* A pack in the making. */
typedef struct maker {
    cf_pack_header header;
    cf_key_pair_bytes keys, directory_keys;
    cf_segment_codec *codec;
    cf_mac *mac;
    cf_buf object, segment, directory;
    cf_extent extents[16];
    cf_directory_entry chunks[64];
    size_t extent_count, chunk_count;
    uint16_t number;
} maker;

static cf_id16 server, sessions[2];
static cf_secret *session_keys[2];
static cf_server_keys *keys;

static void begin(maker *m, cf_kind kind, size_t session, uint64_t number) {
    memset(m, 0, sizeof *m);
    m->header = (cf_pack_header){.kind = kind, .server = server, .session = sessions[session], .number = number};
    must(cf_pack_keys_derive(session_keys[session], number, &m->keys));
    must(cf_directory_keys_derive(keys->directory, &sessions[session], number, &m->directory_keys));
    memcpy(m->header.commitment, m->keys.commitment, 32);
    memcpy(m->header.directory_commitment, m->directory_keys.commitment, 32);
    must(cf_segment_codec_new(3, &m->codec));
    must(cf_mac_new(keys->id, &m->mac));
    cf_buf_init(&m->object, CF_PACK_MAX);
    cf_buf_init(&m->segment, CF_SEGMENT_RAW_MAX);
    cf_buf_init(&m->directory, CF_DIRECTORY_RAW_MAX);
    cf_pack_header_encode(&m->header, cf_buf_reserve(&m->object, CF_PACK_HEADER_SIZE));
    m->object.size = CF_PACK_HEADER_SIZE;
}

static cf_ref add(maker *m, cf_span chunk) {
    cf_ref ref = {.pack = m->header.number,
                  .segment = m->number,
                  .offset = (uint32_t)m->segment.size,
                  .length = (uint32_t)chunk.size};
    must(cf_mac_chunk_id(m->mac, m->header.kind, chunk, &ref.id));
    cf_buf_put_span(&m->segment, chunk);
    m->chunks[m->chunk_count++] =
        (cf_directory_entry){.segment = ref.segment, .id = ref.id, .offset = ref.offset, .length = ref.length};
    return ref;
}

static void seal(maker *m, const uint8_t key[32], uint16_t number, cf_span raw) {
    const cf_segment_place place = {m->header.kind, server, m->header.session, m->header.number, number};
    cf_extent *extent = &m->extents[m->extent_count++];
    *extent = (cf_extent){.segment = number, .offset = m->object.size};
    must(cf_segment_seal(m->codec, key, &place, raw, true, &m->object));
    extent->length = (uint32_t)(m->object.size - extent->offset);
    cf_xxh3_128(cf_span_of(m->object.data + extent->offset, extent->length), extent->xxh3);
}

static void end_segment(maker *m) {
    seal(m, m->keys.key, m->number++, cf_buf_span(&m->segment));
    cf_buf_reset(&m->segment);
}

/* The finished object stays in m->object. */
static void finish(maker *m) {
    if (m->segment.size) end_segment(m);
    must(cf_directory_encode(m->chunks, m->chunk_count, &m->directory));
    seal(m, m->directory_keys.key, CF_SEGMENT_DIRECTORY, cf_buf_span(&m->directory));
    cf_pack_tail_encode(m->object.data, m->object.size, m->extents, m->extent_count, &m->object);
    must(cf_buf_check(&m->object, "pack"));
    char name[CF_NAME_MAX];
    cf_name_pack(&server, m->header.number, &m->header.session, 0, name);
    put_object(name, cf_buf_span(&m->object));
}

static cf_entry entry_of(const char *name, cf_file_type type) {
    return (cf_entry){
        .name = cf_span_text(name),
        .meta = {.type = type,
                 .mode = type == CF_TYPE_DIRECTORY ? 0755 : 0640,
                 .uid = 1000,
                 .gid = 100,
                 .user = cf_span_text("alice"),
                 .group = cf_span_text("users"),
                 .mtime = {1700000000, 123456789},
                 .nlink = 1},
    };
}

/* Entries to a node to a chunk of the tree pack. */
static cf_ref put_node(maker *m, const cf_entry *entries, size_t count) {
    CF_AUTO(cf_node_writer) writer = NULL;
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    must(cf_node_writer_new(&writer));
    for (size_t i = 0; i < count; i++) must(cf_node_writer_add(writer, &entries[i]));
    must(cf_node_writer_finish(writer, &node));
    return add(m, cf_buf_span(&node));
}

static cf_content content_of(cf_buf *refs, const cf_ref *all, uint32_t count, uint8_t depth) {
    cf_buf_init(refs, 65536);
    for (uint32_t i = 0; i < count; i++) cf_ref_encode(&all[i], refs);
    return (cf_content){.depth = depth, .count = count, .refs = cf_buf_span(refs)};
}

static uint8_t text[3000], noise[700];

/* Data pack 1: segment 0 text (compressed), segment 1 noise (raw). */
static void make_data(maker *m, cf_ref refs[4]) {
    static const char words[] = "Coffer keeps what matters. ";
    for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)words[i % (sizeof words - 1)];
    uint64_t state = 88172645463325252ull;
    for (size_t i = 0; i < sizeof noise; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise[i] = (uint8_t)(state >> 32);
    }
    begin(m, CF_KIND_DATA, 0, 1);
    refs[0] = add(m, cf_span_text("hello, world\n"));
    refs[1] = add(m, cf_span_of(text, sizeof text));
    end_segment(m);
    refs[2] = add(m, cf_span_of(noise, 500));
    refs[3] = add(m, cf_span_of(noise + 500, 200));
    finish(m);
}

/* A directory in two parts. */
static cf_ref make_split(maker *m, cf_totals *totals) {
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    cf_split_begin(&node, 1, 2);
    static const char *const names[2][2] = {{"a", "b"}, {"c", "d"}};
    for (size_t p = 0; p < 2; p++) {
        cf_entry entries[2] = {entry_of(names[p][0], CF_TYPE_FILE), entry_of(names[p][1], CF_TYPE_FILE)};
        cf_part part = {.first_name = entries[0].name, .totals = {.files = 2}};
        part.node = put_node(m, entries, 2);
        cf_split_add(&node, &part);
    }
    *totals = (cf_totals){.files = 4};
    return add(m, cf_buf_span(&node));
}

static cf_ref make_data_folder(maker *m, const cf_ref data[4], cf_totals *totals) {
    static cf_buf refs[6];
    CF_AUTO_BUF cf_buf list;
    CF_AUTO_BUF cf_buf extents;
    cf_buf_init(&list, CF_NODE_MAX);
    cf_buf_init(&extents, 4096);
    cf_entry e[11] = {
        entry_of("block", CF_TYPE_BLOCK),  entry_of("empty", CF_TYPE_FILE),       entry_of("hello.txt", CF_TYPE_FILE),
        entry_of("link", CF_TYPE_SYMLINK), entry_of("listed", CF_TYPE_FILE),      entry_of("many", CF_TYPE_DIRECTORY),
        entry_of("noise", CF_TYPE_FILE),   entry_of("noise again", CF_TYPE_FILE), entry_of("pipe", CF_TYPE_FIFO),
        entry_of("sparse", CF_TYPE_FILE),  entry_of("unread", CF_TYPE_FILE),
    };
    e[0].meta.device_major = 259;
    e[0].meta.device_minor = 7;
    static cf_xattr xattr;
    xattr = (cf_xattr){cf_span_text("user.comment"), cf_span_text("kept")};
    e[2].meta.size = 13;
    e[2].content = content_of(&refs[0], &data[0], 1, 0);
    e[2].meta.xattrs = &xattr;
    e[2].meta.xattr_count = 1;
    e[2].meta.has_flags = true;
    e[2].meta.inode_flags = 0x10;
    e[3].meta.mode = 0777;
    e[3].meta.target = cf_span_text("hello.txt");
    e[3].meta.mtime = (cf_time){-1, 0};
    /* text, then noise, by way of a list of references */
    const cf_ref listed[3] = {data[1], data[2], data[3]};
    cf_content leaves = content_of(&refs[1], listed, 3, 0);
    cf_list_encode(0, 3, leaves.refs, &list);
    cf_ref list_ref = add(m, cf_buf_span(&list));
    e[4].meta.size = 3700;
    e[4].content = content_of(&refs[2], &list_ref, 1, 1);
    e[4].changed = true;
    e[5].node = make_split(m, &e[5].totals);
    e[6].meta.size = 700;
    e[6].content = content_of(&refs[3], &data[2], 2, 0);
    e[6].link_group = 0x0123456789abcdefull;
    e[6].meta.nlink = 2;
    e[7] = e[6];
    e[7].name = cf_span_text("noise again");
    uint64_t end = 0;
    cf_extents_add(&extents, &end, 4096, 13);
    cf_extents_add(&extents, &end, 1 << 20, 3000);
    e[9].meta.size = 2 << 20;
    e[9].sparse = true;
    e[9].extents = cf_buf_span(&extents);
    e[9].extent_count = 2;
    e[9].content = content_of(&refs[4], &data[0], 2, 0);
    e[10].not_read = true;
    e[10].code = 900701;
    *totals = (cf_totals){.files = 7 + 4, .directories = 1, .others = 3, .bytes = 13 + 3700 + 700 + 700 + (2 << 20)};
    return put_node(m, e, 11);
}

/* "/" with "srv" (implied) with "data". */
static cf_ref make_tree(maker *m, const cf_ref data[4], cf_totals *totals) {
    cf_entry folder_entry = entry_of("data", CF_TYPE_DIRECTORY), srv = entry_of("srv", CF_TYPE_DIRECTORY);
    folder_entry.node = make_data_folder(m, data, &folder_entry.totals);
    srv.implied = true;
    srv.meta.user = srv.meta.group = cf_span_text("root");
    srv.meta.uid = srv.meta.gid = 0;
    srv.totals = folder_entry.totals;
    srv.totals.directories++;
    srv.node = put_node(m, &folder_entry, 1);
    *totals = srv.totals;
    totals->directories++;
    return put_node(m, &srv, 1);
}

static uint8_t half_full(void *context, uint64_t pack, uint16_t segment) {
    (void)context;
    return (uint8_t)((pack + segment) % 4);
}

typedef struct point {
    cf_id32 id;
    cf_buf object;
} point;

static void make_point(point *out, size_t session, uint64_t counter, const cf_id32 *previous,
                       const uint8_t record[CF_RECORD_SIZE], cf_ref tree, cf_totals totals, const cf_pack_name *packs,
                       size_t pack_count, cf_span map) {
    CF_AUTO_BUF cf_buf summary;
    CF_AUTO_BUF cf_buf list;
    CF_AUTO_BUF cf_buf sealed;
    cf_buf_init(&summary, 65536);
    cf_buf_init(&list, 65536);
    cf_buf_init(&sealed, CF_POINT_ROOT_MAX);
    cf_summary s = {.selection = CF_SELECTION_POLICY,
                    .with_warnings = true,
                    .started = 1700000100,
                    .finished = 1700000160,
                    .files = totals.files,
                    .directories = totals.directories,
                    .others = totals.others,
                    .bytes = totals.bytes,
                    .files_new = totals.files,
                    .bytes_read = 4413,
                    .bytes_stored = 3713,
                    .warnings = 1};
    cf_span source = cf_span_text("/srv/data"), exclusion = cf_span_text("*.tmp");
    /* The selection ID, as the format says. */
    CF_AUTO(cf_mac) mac = NULL;
    CF_AUTO_BUF cf_buf selected;
    cf_buf_init(&selected, 4096);
    must(cf_mac_new(keys->id, &mac));
    cf_buf_put_u8(&selected, CF_SELECTION_POLICY);
    cf_buf_put_bytes(&selected, source);
    cf_buf_put_bytes(&selected, exclusion);
    uint8_t tag[32];
    must(cf_mac_tag(mac, 2, cf_buf_span(&selected), tag));
    memcpy(s.selection_id.bytes, tag, 16);
    cf_summary_encode(&s, &summary);
    cf_pack_list_encode(packs, pack_count, &list);
    cf_root root = {.server = server,
                    .session = sessions[session],
                    .counter = counter,
                    .previous = *previous,
                    .selection = s.selection,
                    .selection_id = s.selection_id,
                    .time = {1700000100, 42},
                    .tree = tree,
                    .totals = totals,
                    .host = cf_span_text("golden"),
                    .agent_version = cf_span_text("0.1.0"),
                    .sources = &source,
                    .source_count = 1,
                    .exclusions = &exclusion,
                    .exclusion_count = 1};
    must(cf_sha256(cf_buf_span(&summary), root.summary_sha256));
    must(cf_sha256(cf_buf_span(&list), root.pack_list_sha256));
    must(cf_sha256(map, root.map_sha256));
    cf_point_frame frame = {.server = server,
                            .session = sessions[session],
                            .counter = counter,
                            .previous = *previous,
                            .key_record = cf_span_of(record, CF_RECORD_SIZE),
                            .summary = cf_buf_span(&summary),
                            .pack_list = cf_buf_span(&list),
                            .map = map};
    uint8_t prefix[80], nonce[12];
    fill(nonce, sizeof nonce, (uint8_t)(0x80 + 16 * session));
    cf_point_prefix_encode(&frame, prefix);
    must(cf_root_seal_with(&root, session_keys[session], prefix, nonce, frame.root_commitment, &sealed));
    frame.root = cf_buf_span(&sealed);
    cf_buf_init(&out->object, CF_POINT_MAX);
    must(cf_point_encode(&frame, &out->object));
    must(cf_sha256(cf_buf_span(&out->object), out->id.bytes));
    char name[CF_NAME_MAX];
    cf_name_point(&server, counter, &out->id, name);
    put_object(name, cf_buf_span(&out->object));
}

static FILE *expectations;

/* A copy with one byte set, cut to size; kind and code go to bad/expect.txt. sum: XXH3 of what is before the last 16. */
static void bad(const char *name, const char *kind, cf_span good, size_t size, size_t at, int byte, bool sum,
                const char *want) {
    CF_AUTO_FREE uint8_t *copy = malloc(good.size + 16);
    if (!copy) exit(1);
    memset(copy, 0, good.size + 16);
    memcpy(copy, good.data, good.size);
    if (byte >= 0) copy[at] = (uint8_t)byte;
    if (sum) cf_xxh3_128(cf_span_of(copy, size - 16), copy + size - 16);
    char path[128];
    (void)snprintf(path, sizeof path, "bad/%s", name);
    put_file(path, cf_span_of(copy, size));
    (void)fprintf(expectations, "%s %s %s\n", name, kind, want);
}

static void make_bad(cf_span slot, cf_span record, cf_span pack, cf_span point_object, cf_span journal) {
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/bad", folder);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof path, "%s/bad/expect.txt", folder);
    expectations = fopen(path, "wx");
    if (!expectations) exit(1);
    bad("slot-cut", "slot", slot, slot.size - 1, 0, -1, false, "900201 truncated");
    bad("slot-long", "slot", slot, slot.size + 1, 0, -1, false, "900201 trailing");
    bad("slot-version-2", "slot", slot, slot.size, 4, 2, false, "900202 version");
    bad("slot-kind-2", "slot", slot, slot.size, 6, 2, false, "900202 kind");
    bad("slot-memory", "slot", slot, slot.size, 31, 0x7f, false, "900201 kdf_limits");
    bad("slot-commitment", "slot", slot, slot.size, 88, slot.data[88] ^ 1, false, "900205 -");
    bad("slot-tag", "slot", slot, slot.size, 275, slot.data[275] ^ 1, false, "900203 tag");
    bad("slot-number", "slot", slot, slot.size, 24, 2, false, "900203 tag");
    bad("record-cut", "record", record, 100, 0, -1, false, "900201 truncated");
    bad("record-magic", "record", record, record.size, 0, 'X', false, "900201 magic");
    bad("record-server", "record", record, record.size, 8, 0, false, "900203 relabelled");
    bad("record-session", "record", record, record.size, 24, 0, false, "900203 commitment");
    bad("record-tag", "record", record, record.size, 131, record.data[131] ^ 1, false, "900203 tag");
    bad("pack-cut", "pack", pack, pack.size - 1, 0, -1, false, "900201 -");
    bad("pack-number", "pack", pack, pack.size, 40, 9, false, "900201 sum");
    bad("pack-version-2", "pack", pack, pack.size, 4, 2, false, "900202 version");
    bad("pack-segment", "pack", pack, pack.size, 130, pack.data[130] ^ 1, false, "900203 tag");
    bad("pack-end", "pack", pack, pack.size, pack.size - 1, '2', false, "900201 magic");
    bad("point-cut", "point", point_object, point_object.size - 1, 0, -1, false, "900201 truncated");
    bad("point-sum", "point", point_object, point_object.size, point_object.size - 1,
        point_object.data[point_object.size - 1] ^ 1, false, "900201 sum");
    bad("point-counter", "point", point_object, point_object.size, 40, 3, true, "900203 tag");
    bad("point-summary", "point", point_object, point_object.size, 136 + 132 + 4, point_object.data[136 + 132 + 4] ^ 1,
        true, "900203 summary");
    bad("point-commitment", "point", point_object, point_object.size, 104, point_object.data[104] ^ 1, true,
        "900203 commitment");
    bad("point-version-2", "point", point_object, point_object.size, 4, 2, true, "900202 version");
    bad("journal-sum", "journal", journal, journal.size, 30, 'x', false, "900201 sum");
    bad("journal-type", "journal", journal, journal.size, 6, 0xf0, true, "900202 type");
    bad("journal-cut", "journal", journal, 27, 0, -1, false, "900201 truncated");
    (void)fclose(expectations);
}

static void make_vectors(const point points[2]) {
    CF_AUTO_BUF cf_buf json;
    cf_buf_init(&json, 1 << 20);
    char hex[CF_HEX_SIZE(3000)], id[2][CF_HEX_SIZE(32)];
    cf_hex_encode(points[0].id.bytes, 32, id[0]);
    cf_hex_encode(points[1].id.bytes, 32, id[1]);
    cf_hex_encode(noise, sizeof noise, hex);
    CF_AUTO_FREE char *line = cf_text_format(
        "{\n"
        "  \"about\": \"inputs of tests/golden/vault, for any reader of docs/format.md; bytes are hexadecimal\",\n"
        "  \"passphrase\": \"" PASSPHRASE "\",\n"
        "  \"server\": \"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\",\n"
        "  \"slot\": {\"number\": 1, \"memory_kib\": 19456, \"passes\": 2, \"salt\": \"000102030405060708090a0b0c0d0e0f\", \"nonce\": \"606162636465666768696a6b\"},\n"
        "  \"keys\": {\"master\": \"%.64s\", \"id\": \"%.64s\", \"gear\": \"%.64s\", \"directory\": \"%.64s\"},\n"
        "  \"sessions\": [\n"
        "    {\"id\": \"b0b1b2b3b4b5b6b7b8b9babbbcbdbebf\", \"key\": \"%.64s\", \"record_nonce\": \"707172737475767778797a7b\", \"root_nonce\": \"808182838485868788898a8b\"},\n"
        "    {\"id\": \"c0c1c2c3c4c5c6c7c8c9cacbcccdcecf\", \"key\": \"%.64s\", \"record_nonce\": \"7172737475767778797a7b7c\", \"root_nonce\": \"909192939495969798999a9b\"}\n"
        "  ],\n"
        "  \"points\": [\"%s\", \"%s\"],\n"
        "  \"live\": {\"1\": [0, 1], \"2\": [0]},\n"
        "  \"files\": {\n"
        "    \"/srv/data/empty\": {\"text\": \"\"},\n"
        "    \"/srv/data/hello.txt\": {\"text\": \"hello, world\\n\", \"xattrs\": {\"user.comment\": \"kept\"}, \"inode_flags\": 16},\n"
        "    \"/srv/data/link\": {\"target\": \"hello.txt\"},\n"
        "    \"/srv/data/listed\": {\"repeat\": \"Coffer keeps what matters. \", \"repeat_bytes\": 3000, \"then\": \"%s\"},\n"
        "    \"/srv/data/noise\": {\"bytes\": \"%s\", \"link_group\": \"0123456789abcdef\"},\n"
        "    \"/srv/data/sparse\": {\"size\": 2097152, \"extents\": [[4096, 13], [1048576, 3000]]}\n"
        "  },\n"
        "  \"meta\": {\"uid\": 1000, \"user\": \"alice\", \"gid\": 100, \"group\": \"users\", \"mtime\": [1700000000, 123456789]}\n"
        "}\n",
        "1111111111111111111111111111111111111111111111111111111111111111",
        "2222222222222222222222222222222222222222222222222222222222222222",
        "3333333333333333333333333333333333333333333333333333333333333333",
        "4444444444444444444444444444444444444444444444444444444444444444",
        "5555555555555555555555555555555555555555555555555555555555555555",
        "6666666666666666666666666666666666666666666666666666666666666666", id[0], id[1], hex, hex);
    if (!line) exit(1);
    put_file("vectors.json", cf_span_text(line));
}

static void make_slot(uint8_t slot[CF_SLOT_SIZE]) {
    CF_AUTO(cf_secret) passphrase = NULL;
    uint8_t salt[16], nonce[12];
    must(cf_secret_from(PASSPHRASE, strlen(PASSPHRASE), &passphrase));
    fill(salt, sizeof salt, 0);
    fill(nonce, sizeof nonce, 0x60);
    const cf_slot_params params = {.server = server, .number = 1, .memory_kib = 19456, .passes = 2};
    must(cf_slot_seal_with(keys, &params, passphrase, salt, nonce, slot));
    char name[CF_NAME_MAX];
    cf_name_slot(&server, 1, name);
    put_object(name, cf_span_of(slot, CF_SLOT_SIZE));
}

static void make_records(uint8_t records[2][CF_RECORD_SIZE]) {
    for (size_t i = 0; i < 2; i++) {
        uint8_t nonce[12];
        char name[CF_NAME_MAX];
        fill(nonce, sizeof nonce, (uint8_t)(0x70 + i));
        must(cf_record_seal_with(keys->master, &server, &sessions[i], session_keys[i], nonce, records[i]));
        cf_name_record(&server, &sessions[i], name);
        put_object(name, cf_span_of(records[i], CF_RECORD_SIZE));
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    folder = argv[1];
    fill(server.bytes, 16, 0xa0);
    fill(sessions[0].bytes, 16, 0xb0);
    fill(sessions[1].bytes, 16, 0xc0);
    keys = calloc(1, sizeof *keys);
    keys->master = secret_of(0x11), keys->id = secret_of(0x22), keys->gear = secret_of(0x33),
    keys->directory = secret_of(0x44);
    session_keys[0] = secret_of(0x55), session_keys[1] = secret_of(0x66);
    static uint8_t slot[CF_SLOT_SIZE], records[2][CF_RECORD_SIZE];
    make_slot(slot);
    make_records(records);

    static maker data, tree, second;
    cf_ref refs[4];
    cf_totals totals, second_totals;
    make_data(&data, refs);
    begin(&tree, CF_KIND_TREE, 0, 2);
    cf_ref root = make_tree(&tree, refs, &totals);
    finish(&tree);
    /* The second session stores the same tree again in a pack of its own. */
    begin(&second, CF_KIND_TREE, 1, 300);
    cf_ref second_root = make_tree(&second, refs, &second_totals);
    finish(&second);

    cf_map *map = NULL, *next = NULL;
    must(cf_map_new(&map));
    must(cf_map_new(&next));
    must(cf_map_add(map, 1, 0));
    must(cf_map_add(map, 1, 1));
    must(cf_map_add(map, 2, 0));
    must(cf_map_add(next, 1, 0));
    must(cf_map_add(next, 1, 1));
    must(cf_map_add(next, 300, 0));
    CF_AUTO_BUF cf_buf whole;
    CF_AUTO_BUF cf_buf delta;
    cf_buf_init(&whole, 65536);
    cf_buf_init(&delta, 65536);
    static point points[2];
    const cf_id32 none = {{0}};
    const cf_pack_name first_packs[2] = {{1, sessions[0]}, {2, sessions[0]}}, second_packs[1] = {{300, sessions[1]}};
    must(cf_map_encode(map, &(cf_map_header){.exact = true}, NULL, half_full, NULL, &whole));
    make_point(&points[0], 0, 1, &none, records[0], root, totals, first_packs, 2, cf_buf_span(&whole));
    cf_map_header header = {.delta = true, .base = points[0].id, .chain = 1};
    must(cf_map_encode(next, &header, map, NULL, NULL, &delta));
    make_point(&points[1], 1, 2, &points[0].id, records[1], second_root, second_totals, second_packs, 1,
               cf_buf_span(&delta));

    CF_AUTO_BUF cf_buf journal;
    cf_buf_init(&journal, 65536);
    const cf_journal_entry entry = {
        .type = CF_JOURNAL_NUMBERS_RESERVED,
        .sequence = 1,
        .time = 1700000000,
        .body = cf_span_text("{\"server_id\":\"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\",\"end\":1025}")};
    must(cf_journal_encode(&entry, &journal));
    char name[CF_NAME_MAX];
    cf_name_journal(1, name);
    put_object(name, cf_buf_span(&journal));
    make_bad(cf_span_of(slot, sizeof slot), cf_span_of(records[0], CF_RECORD_SIZE), cf_buf_span(&data.object),
             cf_buf_span(&points[1].object), cf_buf_span(&journal));
    make_vectors(points);
    return 0;
}
