#include "../keys/help.h"

#include <stdio.h>

#include "sealed/node.h"

static cf_ref ref_of(uint8_t id, uint32_t length) {
    cf_ref ref = {.pack = 1000 + id, .segment = id, .offset = 17u * id, .length = length};
    memset(ref.id.bytes, id, 32);
    return ref;
}

static void assert_ref(const cf_ref *got, const cf_ref *want) {
    assert_true(cf_id32_equal(&got->id, &want->id));
    assert_int_equal(got->pack, want->pack);
    assert_int_equal(got->segment, want->segment);
    assert_int_equal(got->offset, want->offset);
    assert_int_equal(got->length, want->length);
}

static void assert_span(cf_span got, cf_span want) {
    assert_int_equal(got.size, want.size);
    if (want.size) assert_memory_equal(got.data, want.data, want.size);
}

static cf_entry entry_of(const char *name, cf_file_type type) {
    return (cf_entry){
        .name = cf_span_text(name),
        .meta = {.type = type,
                 .mode = 0644,
                 .uid = 1000,
                 .gid = 100,
                 .user = cf_span_text("alice"),
                 .group = cf_span_text("users"),
                 .mtime = {-5, 999999999},
                 .nlink = 1},
    };
}

/* One entry of every kind, in order of names; what they borrow lives in the static buffers. */
enum { SAMPLES = 11 };
static cf_xattr xattrs[2];
static void samples(cf_entry out[SAMPLES], cf_buf *refs, cf_buf *extents, cf_buf *nodes) {
    xattrs[0] = (cf_xattr){cf_span_text("system.posix_acl_access"), cf_span_of("\0\1\2", 3)};
    xattrs[1] = (cf_xattr){cf_span_text("user.empty"), cf_span_of(NULL, 0)};
    cf_ref first = ref_of(1, 500000), second = ref_of(2, 24288), list = ref_of(3, 1234);
    cf_ref_encode(&first, refs);
    cf_ref_encode(&second, refs);
    cf_ref_encode(&list, nodes);
    uint64_t end = 0;
    cf_extents_add(extents, &end, 4096, 500000);
    cf_extents_add(extents, &end, 1ull << 40, 24288);

    out[0] = entry_of("a-empty", CF_TYPE_FILE);
    out[1] = entry_of("b-file", CF_TYPE_FILE);
    out[1].meta.size = 524288;
    out[1].content = (cf_content){.depth = 0, .count = 2, .refs = cf_buf_span(refs)};
    out[1].meta.xattrs = xattrs;
    out[1].meta.xattr_count = 2;
    out[1].meta.has_flags = true;
    out[1].meta.inode_flags = 0x80;
    out[1].meta.has_project = true;
    out[1].meta.project_id = UINT32_MAX;
    out[1].link_group = UINT64_MAX;
    out[1].meta.nlink = 3;
    out[1].changed = true;
    out[2] = entry_of("c-sparse", CF_TYPE_FILE);
    out[2].meta.size = 1ull << 41;
    out[2].sparse = true;
    out[2].extents = cf_buf_span(extents);
    out[2].extent_count = 2;
    out[2].content = out[1].content;
    out[3] = entry_of("d-directory", CF_TYPE_DIRECTORY);
    out[3].node = ref_of(9, 77);
    out[3].totals = (cf_totals){1, 2, 3, UINT64_MAX};
    out[3].implied = true;
    out[4] = entry_of("e-link", CF_TYPE_SYMLINK);
    out[4].meta.target = cf_span_text("../elsewhere");
    out[4].meta.uid = 0;
    out[4].meta.user = cf_span_text("root");
    out[5] = entry_of("f-fifo", CF_TYPE_FIFO);
    out[5].meta.group = cf_span_of(NULL, 0); /* same number, no name: another owner */
    out[6] = entry_of("g-character", CF_TYPE_CHARACTER);
    out[6].meta.device_major = 1;
    out[6].meta.device_minor = UINT32_MAX;
    out[7] = entry_of("h-block", CF_TYPE_BLOCK);
    out[8] = entry_of("i-socket", CF_TYPE_SOCKET);
    out[8].xattrs_chunked = true;
    out[8].xattr_content = (cf_content){.depth = 1, .count = 1, .refs = cf_buf_span(nodes)};
    out[9] = entry_of("j-unread", CF_TYPE_FILE);
    out[9].not_read = true;
    out[9].code = 900701;
    out[10] = entry_of("k-huge", CF_TYPE_FILE);
    out[10].meta.size = CF_FILE_SIZE_MAX;
    out[10].content = (cf_content){.depth = 6, .count = 1, .refs = cf_buf_span(nodes)};
}

static void assert_entry(const cf_entry *got, const cf_entry *want) {
    assert_span(got->name, want->name);
    const cf_meta *a = &got->meta, *b = &want->meta;
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_span(a->user, b->user);
    assert_span(a->group, b->group);
    assert_int_equal(cf_time_compare(a->mtime, b->mtime), 0);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->device_major, b->device_major);
    assert_int_equal(a->device_minor, b->device_minor);
    assert_span(a->target, b->target);
    assert_int_equal(a->xattr_count, b->xattr_count);
    for (uint32_t i = 0; i < b->xattr_count; i++) {
        assert_span(a->xattrs[i].name, b->xattrs[i].name);
        assert_span(a->xattrs[i].value, b->xattrs[i].value);
    }
    assert_int_equal(a->has_flags, b->has_flags);
    assert_int_equal(a->inode_flags, b->inode_flags);
    assert_int_equal(a->has_project, b->has_project);
    assert_int_equal(a->project_id, b->project_id);
    assert_int_equal(a->nlink, b->nlink);
    assert_int_equal(got->xattrs_chunked, want->xattrs_chunked);
    assert_span(got->xattr_content.refs, want->xattr_content.refs);
    assert_int_equal(got->changed, want->changed);
    assert_int_equal(got->implied, want->implied);
    assert_int_equal(got->not_read, want->not_read);
    assert_int_equal(got->code, want->code);
    assert_int_equal(got->link_group, want->link_group);
    assert_int_equal(got->sparse, want->sparse);
    assert_int_equal(got->extent_count, want->extent_count);
    assert_span(got->extents, want->extents);
    assert_int_equal(got->content.depth, want->content.depth);
    assert_int_equal(got->content.count, want->content.count);
    assert_span(got->content.refs, want->content.refs);
    if (b->type == CF_TYPE_DIRECTORY) assert_ref(&got->node, &want->node);
    assert_memory_equal(&got->totals, &want->totals, sizeof got->totals);
}

static void every_kind_of_entry_round_trips_in_a_node(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf refs;
    CF_AUTO_BUF cf_buf extents;
    CF_AUTO_BUF cf_buf nodes;
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&refs, 4096);
    cf_buf_init(&extents, 4096);
    cf_buf_init(&nodes, 4096);
    cf_buf_init(&node, CF_NODE_MAX);
    cf_entry entries[SAMPLES];
    samples(entries, &refs, &extents, &nodes);
    CF_AUTO(cf_node_writer) writer = NULL;
    assert_ok(cf_node_writer_new(&writer));
    for (int pass = 0; pass < 2; pass++) { /* a reset writer is as a new one */
        cf_node_writer_reset(writer);
        for (size_t i = 0; i < SAMPLES; i++) assert_ok(cf_node_writer_add(writer, &entries[i]));
        assert_int_equal(cf_node_writer_count(writer), SAMPLES);
        assert_ok(cf_node_writer_finish(writer, &node));
        assert_true(node.size <= cf_node_writer_size(writer));
        CF_AUTO(cf_node_reader) reader = NULL;
        CF_AUTO_FREE uint8_t *exact = exact_copy(node.data, node.size);
        assert_ok(cf_node_reader_open(cf_span_of(exact, node.size), &reader));
        assert_int_equal(cf_node_reader_kind(reader), CF_NODE_ENTRIES);
        assert_int_equal(cf_node_reader_count(reader), SAMPLES);
        for (int again = 0; again < 2; again++) {
            cf_entry got;
            for (size_t i = 0; i < SAMPLES; i++) {
                assert_true(cf_node_reader_entry(reader, &got));
                assert_entry(&got, &entries[i]);
            }
            assert_false(cf_node_reader_entry(reader, &got));
            cf_part part;
            cf_ref ref;
            assert_false(cf_node_reader_part(reader, &part));
            assert_false(cf_node_reader_ref(reader, &ref));
            cf_node_reader_rewind(reader);
        }
    }
    /* Cut at every length, and one byte too many: refused. Flipped: refused or decoded, but nothing worse. */
    for (size_t size = 0; size < node.size; size++) {
        CF_AUTO_FREE uint8_t *cut = exact_copy(node.data, size);
        cf_node_reader *none = NULL;
        assert_fails(cf_node_reader_open(cf_span_of(cut, size), &none), CF_ERR_FORMAT, NULL);
    }
    for (size_t i = 0; i < node.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            CF_AUTO_FREE uint8_t *copy = exact_copy(node.data, node.size);
            copy[i] ^= (uint8_t)(1u << bit);
            CF_AUTO(cf_node_reader) reader = NULL;
            CF_AUTO(cf_err) err = cf_node_reader_open(cf_span_of(copy, node.size), &reader);
            assert_true(!err || cf_err_code(err) == CF_ERR_FORMAT ||
                        (i == 0 && cf_err_code(err) == CF_ERR_FORMAT_VERSION));
            cf_entry got;
            while (!err && cf_node_reader_entry(reader, &got)) continue;
        }
    }
    cf_buf_put_u8(&node, 0);
    cf_node_reader *none = NULL;
    assert_fails(cf_node_reader_open(cf_buf_span(&node), &none), CF_ERR_FORMAT, "trailing");
}

static void entries_round_trip_alone(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf refs;
    CF_AUTO_BUF cf_buf extents;
    CF_AUTO_BUF cf_buf nodes;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&refs, 4096);
    cf_buf_init(&extents, 4096);
    cf_buf_init(&nodes, 4096);
    cf_buf_init(&out, 65536);
    cf_entry entries[SAMPLES], got;
    samples(entries, &refs, &extents, &nodes);
    static cf_xattr room[CF_XATTRS_MAX];
    for (size_t i = 0; i < SAMPLES; i++) {
        cf_buf_reset(&out);
        assert_ok(cf_entry_encode(&entries[i], &out));
        CF_AUTO_FREE uint8_t *exact = exact_copy(out.data, out.size);
        assert_ok(cf_entry_decode(cf_span_of(exact, out.size), room, &got));
        assert_entry(&got, &entries[i]);
        for (size_t size = 0; size < out.size; size++) {
            CF_AUTO_FREE uint8_t *cut = exact_copy(out.data, size);
            assert_fails(cf_entry_decode(cf_span_of(cut, size), room, &got), CF_ERR_FORMAT, NULL);
        }
        cf_buf_put_u8(&out, 0);
        assert_fails(cf_entry_decode(cf_buf_span(&out), room, &got), CF_ERR_FORMAT, "trailing");
    }
}

/* What an entry must not be: the writer refuses it with the reason that a reader would have. */
static void impossible_entries_are_refused_by_the_writer(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf refs;
    CF_AUTO_BUF cf_buf extents;
    CF_AUTO_BUF cf_buf nodes;
    cf_buf_init(&refs, 4096);
    cf_buf_init(&extents, 4096);
    cf_buf_init(&nodes, 4096);
    cf_entry good[SAMPLES];
    samples(good, &refs, &extents, &nodes);
    char long_name[257];
    memset(long_name, 'n', sizeof long_name);
    long_name[256] = '\0';
    static char long_target[4097];
    memset(long_target, 't', 4096);
    cf_xattr twice[2] = {{cf_span_text("user.x"), cf_span_text("1")}, {cf_span_text("user.x"), cf_span_text("2")}};
    cf_xattr nameless[1] = {{cf_span_of(NULL, 0), cf_span_text("1")}};
    struct {
        cf_entry entry;
        const char *reason;
    } cases[32];
    size_t n = 0;
#define CASE(base, why) (cases[n].entry = good[base], cases[n].reason = (why), &cases[n++].entry)
    CASE(0, "name")->name = cf_span_text(".");
    CASE(0, "name")->name = cf_span_text("..");
    CASE(0, "name")->name = cf_span_text("a/b");
    CASE(0, "name")->name = cf_span_of("a\0b", 3);
    CASE(0, "name")->name = cf_span_of(NULL, 0);
    CASE(0, "truncated")->name = cf_span_text(long_name);
    CASE(0, "type")->meta.type = (cf_file_type)0;
    CASE(0, "type")->meta.type = (cf_file_type)8;
    CASE(0, "truncated")->meta.mode = 010000;
    CASE(0, "truncated")->meta.mtime.nanoseconds = 1000000000;
    CASE(3, "flags")->changed = true;
    CASE(3, "flags")->link_group = 1;
    CASE(0, "flags")->implied = true;
    CASE(2, "flags")->not_read = true;
    CASE(1, "link")->meta.nlink = 0;
    CASE(1, "content")->meta.size--;
    CASE(1, "content")->meta.size = 0;
    CASE(1, "truncated")->meta.size = CF_FILE_SIZE_MAX + 1;
    CASE(10, "truncated")->content.depth = 7;
    CASE(0, "content")->content.depth = 1;
    CASE(2, "extents")->meta.size = 1ull << 40;
    CASE(2, "content")->content = (cf_content){0};
    CASE(4, "target")->meta.target = cf_span_of(NULL, 0);
    CASE(4, "target")->meta.target = cf_span_of("a\0b", 3);
    CASE(4, "truncated")->meta.target = cf_span_text(long_target);
    CASE(1, "xattrs")->meta.xattrs = twice;
    CASE(1, "xattrs")->meta.xattrs = nameless;
    cases[n - 1].entry.meta.xattr_count = 1;
    CASE(8, "content")->xattr_content = (cf_content){0};
    CASE(3, "truncated")->node.length = 0;
    CASE(3, "truncated")->node.pack = 0;
    CASE(3, "truncated")->node.segment = 65534;
    CASE(3, "truncated")->node.offset = 524288;
#undef CASE
    CF_AUTO(cf_node_writer) writer = NULL;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 65536);
    assert_ok(cf_node_writer_new(&writer));
    size_t empty = cf_node_writer_size(writer);
    for (size_t i = 0; i < n; i++) {
        assert_fails(cf_node_writer_add(writer, &cases[i].entry), CF_ERR_INTERNAL, cases[i].reason);
        assert_fails(cf_entry_encode(&cases[i].entry, &out), CF_ERR_INTERNAL, cases[i].reason);
        assert_int_equal(cf_node_writer_size(writer), empty); /* as before */
        assert_int_equal(out.size, 0);
    }
    /* Order. */
    assert_ok(cf_node_writer_add(writer, &good[1]));
    assert_fails(cf_node_writer_add(writer, &good[1]), CF_ERR_INTERNAL, "order");
    assert_fails(cf_node_writer_add(writer, &good[0]), CF_ERR_INTERNAL, "order");
    assert_ok(cf_node_writer_add(writer, &good[2]));
    assert_int_equal(cf_node_writer_count(writer), 2);
}

static void a_full_node_refuses_and_stays_good(void **state) {
    (void)state;
    CF_AUTO(cf_node_writer) writer = NULL;
    assert_ok(cf_node_writer_new(&writer));
    CF_AUTO_FREE uint8_t *value = calloc(1, 65536);
    assert_non_null(value);
    cf_xattr big = {cf_span_text("user.big"), cf_span_of(value, 60000)};
    char name[16];
    cf_err *err = NULL;
    size_t added = 0;
    for (unsigned i = 0; !err; i++) {
        (void)snprintf(name, sizeof name, "%08u", i);
        cf_entry entry = entry_of(name, CF_TYPE_FILE);
        entry.meta.uid = i; /* a new owner each */
        entry.meta.xattrs = &big;
        entry.meta.xattr_count = 1;
        err = cf_node_writer_add(writer, &entry);
        if (!err) added++;
    }
    assert_int_equal(cf_err_code(err), CF_ERR_TOO_LARGE);
    cf_err_free(err);
    assert_int_equal(added, 8);
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    assert_ok(cf_node_writer_finish(writer, &node));
    CF_AUTO(cf_node_reader) reader = NULL;
    assert_ok(cf_node_reader_open(cf_buf_span(&node), &reader));
    assert_int_equal(cf_node_reader_count(reader), 8);
    cf_entry entry;
    for (uint32_t i = 0; i < 8; i++) {
        assert_true(cf_node_reader_entry(reader, &entry));
        assert_int_equal(entry.meta.uid, i);
    }
}

static void many_owners_are_found_again(void **state) {
    (void)state;
    CF_AUTO(cf_node_writer) writer = NULL;
    assert_ok(cf_node_writer_new(&writer));
    char name[16], user[16];
    for (unsigned i = 0; i < 4000; i++) {
        (void)snprintf(name, sizeof name, "%08u", i);
        (void)snprintf(user, sizeof user, "u%u", i % 1000);
        cf_entry entry = entry_of(name, CF_TYPE_FIFO);
        entry.meta.uid = i % 1000;
        entry.meta.user = cf_span_text(user);
        assert_ok(cf_node_writer_add(writer, &entry));
    }
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    assert_ok(cf_node_writer_finish(writer, &node));
    CF_AUTO(cf_node_reader) reader = NULL;
    assert_ok(cf_node_reader_open(cf_buf_span(&node), &reader));
    cf_entry entry;
    for (unsigned i = 0; i < 4000; i++) {
        (void)snprintf(user, sizeof user, "u%u", i % 1000);
        assert_true(cf_node_reader_entry(reader, &entry));
        assert_int_equal(entry.meta.uid, i % 1000);
        assert_span(entry.meta.user, cf_span_text(user));
    }
}

static void split_directories_and_lists_round_trip(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    const cf_part parts[2] = {{cf_span_text("a"), ref_of(1, 10), {1, 2, 3, 4}},
                              {cf_span_text("m"), ref_of(2, 20), {5, 6, 7, 8}}};
    cf_split_begin(&node, 1, 2);
    for (size_t i = 0; i < 2; i++) cf_split_add(&node, &parts[i]);
    CF_AUTO(cf_node_reader) reader = NULL;
    assert_ok(cf_node_reader_open(cf_buf_span(&node), &reader));
    assert_int_equal(cf_node_reader_kind(reader), CF_NODE_SPLIT);
    assert_int_equal(cf_node_reader_level(reader), 1);
    cf_part part;
    for (size_t i = 0; i < 2; i++) {
        assert_true(cf_node_reader_part(reader, &part));
        assert_span(part.first_name, parts[i].first_name);
        assert_ref(&part.node, &parts[i].node);
        assert_memory_equal(&part.totals, &parts[i].totals, sizeof part.totals);
    }
    assert_false(cf_node_reader_part(reader, &part));
    cf_node_reader *none = NULL;
    for (size_t size = 0; size < node.size; size++)
        assert_fails(cf_node_reader_open(cf_span_of(node.data, size), &none), CF_ERR_FORMAT, "truncated");
    cf_buf_reset(&node);
    cf_split_begin(&node, 1, 2);
    cf_split_add(&node, &parts[1]);
    cf_split_add(&node, &parts[0]);
    assert_fails(cf_node_reader_open(cf_buf_span(&node), &none), CF_ERR_FORMAT, "order");
    node.data[2] = 0;
    assert_fails(cf_node_reader_open(cf_buf_span(&node), &none), CF_ERR_FORMAT, "level");
    node.data[2] = 7;
    assert_fails(cf_node_reader_open(cf_buf_span(&node), &none), CF_ERR_FORMAT, "level");

    CF_AUTO_BUF cf_buf refs;
    cf_buf_init(&refs, 1 << 20);
    for (unsigned i = 0; i < CF_LIST_REFS_MAX; i++) {
        cf_ref ref = ref_of((uint8_t)i, i + 1);
        cf_ref_encode(&ref, &refs);
    }
    cf_buf_reset(&node);
    cf_list_encode(5, CF_LIST_REFS_MAX, cf_buf_span(&refs), &node);
    CF_AUTO(cf_node_reader) list = NULL;
    assert_ok(cf_node_reader_open(cf_buf_span(&node), &list));
    assert_int_equal(cf_node_reader_level(list), 5);
    cf_ref got;
    for (unsigned i = 0; i < CF_LIST_REFS_MAX; i++) {
        assert_true(cf_node_reader_ref(list, &got));
        cf_ref want = ref_of((uint8_t)i, i + 1);
        assert_ref(&got, &want);
    }
    assert_false(cf_node_reader_ref(list, &got));
    node.data[2] = 6;
    assert_fails(cf_node_reader_open(cf_buf_span(&node), &none), CF_ERR_FORMAT, "level");
    cf_buf_reset(&node);
    cf_list_encode(0, 0, cf_span_of(NULL, 0), &node);
    assert_fails(cf_node_reader_open(cf_buf_span(&node), &none), CF_ERR_FORMAT, "count");
}

/* Counts that a few bytes can claim must not cost memory or time. */
static void frames_of_nodes_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *hex;
        cf_code code;
        const char *reason;
    } cases[] = {
        {"", CF_ERR_FORMAT, "truncated"},
        {"0200", CF_ERR_FORMAT_VERSION, "version"},
        {"0103", CF_ERR_FORMAT, "kind"},
        {"01008080040000", CF_ERR_FORMAT, "truncated"},     /* 65,536 owners in no bytes */
        {"010000008080808001", CF_ERR_FORMAT, "truncated"}, /* 2^28 entries              */
        {"010101ffffffff0f", CF_ERR_FORMAT, "truncated"},   /* 2^32 - 1 parts            */
        {"01020080108000", CF_ERR_FORMAT, "truncated"},
        {"01000000008000", CF_ERR_FORMAT, "trailing"},
        {"0100800000", CF_ERR_FORMAT, "truncated"}, /* an overlong zero */
        {"01000000010161010000000000000000", CF_ERR_FORMAT, "owner"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        uint8_t *bytes = unhex(cases[i].hex, &size);
        cf_node_reader *none = NULL;
        assert_fails(cf_node_reader_open(cf_span_of(bytes, size), &none), cases[i].code, cases[i].reason);
        free(bytes);
    }
    CF_AUTO_FREE uint8_t *big = calloc(1, CF_NODE_MAX + 1);
    cf_node_reader *none = NULL;
    assert_fails(cf_node_reader_open(cf_span_of(big, CF_NODE_MAX + 1), &none), CF_ERR_FORMAT, "size");
    static const uint8_t empty[] = {1, 0, 0, 0, 0};
    CF_AUTO(cf_node_reader) reader = NULL;
    assert_ok(cf_node_reader_open(cf_span_of(empty, sizeof empty), &reader));
    assert_int_equal(cf_node_reader_count(reader), 0);
}

static void xattr_blocks_round_trip(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 1 << 20);
    const cf_xattr two[2] = {{cf_span_text("user.a"), cf_span_text("1")},
                             {cf_span_text("user.b"), cf_span_of(NULL, 0)}};
    cf_xattrs_encode(two, 2, &out);
    static cf_xattr room[CF_XATTRS_MAX];
    uint32_t count = 0;
    assert_ok(cf_xattrs_decode(cf_buf_span(&out), room, &count));
    assert_int_equal(count, 2);
    assert_span(room[1].name, two[1].name);
    for (size_t size = 0; size < out.size; size++)
        assert_fails(cf_xattrs_decode(cf_span_of(out.data, size), room, &count), CF_ERR_FORMAT, NULL);
    cf_buf_reset(&out);
    cf_buf_put_varint(&out, CF_XATTRS_MAX + 1);
    assert_fails(cf_xattrs_decode(cf_buf_span(&out), room, &count), CF_ERR_FORMAT, "truncated");
}

static void extents_are_walked_in_order(void **state) {
    (void)state;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 4096);
    uint64_t end = 0;
    cf_extents_add(&out, &end, 0, 1);
    cf_extents_add(&out, &end, 1, 1); /* neighbours are allowed */
    cf_extents_add(&out, &end, CF_FILE_SIZE_MAX - 1, 1);
    cf_cursor cursor = cf_cursor_of(cf_buf_span(&out));
    cf_data_extent extent;
    end = 0;
    assert_true(cf_extents_next(&cursor, &end, &extent));
    assert_true(cf_extents_next(&cursor, &end, &extent));
    assert_int_equal(extent.offset, 1);
    assert_true(cf_extents_next(&cursor, &end, &extent));
    assert_int_equal(end, CF_FILE_SIZE_MAX);
    assert_false(cf_extents_next(&cursor, &end, &extent));
    static const uint8_t empty_extent[] = {5, 0};
    cursor = cf_cursor_of(cf_span_of(empty_extent, 2));
    end = 0;
    assert_false(cf_extents_next(&cursor, &end, &extent));
    assert_true(cursor.failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_entry_round_trips_in_a_node),
        cmocka_unit_test(entries_round_trip_alone),
        cmocka_unit_test(impossible_entries_are_refused_by_the_writer),
        cmocka_unit_test(a_full_node_refuses_and_stays_good),
        cmocka_unit_test(many_owners_are_found_again),
        cmocka_unit_test(split_directories_and_lists_round_trip),
        cmocka_unit_test(frames_of_nodes_are_checked),
        cmocka_unit_test(xattr_blocks_round_trip),
        cmocka_unit_test(extents_are_walked_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
