#include "index/manifest.h"

#include <string.h>
#include <xxhash.h>

#include "index/index.h"
#include "index/io.h"

#define MAGIC "CFXMANIF"
#define DEAD_MAGIC "CFXDEAD1"

void cf_manifest_wipe(cf_manifest *manifest) {
    cf_ranges_wipe(&manifest->packs);
}

static void encode(const cf_manifest *manifest, cf_buf *out) {
    cf_buf_put(out, MAGIC, 8);
    cf_buf_put_u32(out, CF_MANIFEST_VERSION);
    cf_buf_put(out, manifest->server_id, 16);
    cf_buf_put(out, manifest->epoch, 16);
    cf_buf_put_u64(out, manifest->generation);
    cf_buf_put_u8(out, manifest->clean);
    cf_buf_put_bytes(out, cf_span_text(manifest->boot_id));
    cf_buf_put_u64(out, manifest->next_number);
    cf_buf_put_u64(out, manifest->journal_number);
    cf_buf_put_u64(out, manifest->journal_bytes);
    cf_buf_put_u8(out, manifest->has_dead);
    cf_buf_put_u64(out, manifest->dead_number);
    cf_buf_put_u8(out, (uint8_t)manifest->run_count);
    for (size_t i = 0; i < manifest->run_count; i++) {
        cf_buf_put_u64(out, manifest->runs[i]);
        cf_buf_put_u64(out, manifest->run_entries[i]);
    }
    cf_ranges_encode(&manifest->packs, out);
    cf_buf_put_u64(out, XXH3_64bits(out->data, out->size));
}

cf_err *cf_manifest_store(int dir, const cf_manifest *manifest, bool *placed) {
    *placed = false;
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_MANIFEST_MAX);
    encode(manifest, &out);
    CF_TRY(cf_buf_check(&out, "chunk index: manifest"));
    return cf_iio_replace(dir, CF_MANIFEST_NAME, cf_buf_span(&out), placed);
}

static bool flag(cf_cursor *cursor) {
    uint8_t value = cf_cursor_u8(cursor);
    if (value > 1) cf_cursor_fail(cursor);
    return value == 1;
}

static cf_err *decode_body(cf_cursor *cursor, cf_manifest *manifest) {
    cf_cursor_copy(cursor, manifest->server_id, 16);
    cf_cursor_copy(cursor, manifest->epoch, 16);
    manifest->generation = cf_cursor_u64(cursor);
    manifest->clean = flag(cursor);
    cf_span boot_id = cf_cursor_bytes(cursor, CF_BOOT_ID_SIZE - 1);
    memset(manifest->boot_id, 0, CF_BOOT_ID_SIZE);
    if (boot_id.size > 0) memcpy(manifest->boot_id, boot_id.data, boot_id.size);
    manifest->next_number = cf_cursor_u64(cursor);
    manifest->journal_number = cf_cursor_u64(cursor);
    manifest->journal_bytes = cf_cursor_u64(cursor);
    manifest->has_dead = flag(cursor);
    manifest->dead_number = cf_cursor_u64(cursor);
    manifest->run_count = cf_cursor_u8(cursor);
    if (manifest->run_count > CF_MANIFEST_RUNS_MAX) cf_cursor_fail(cursor);
    for (size_t i = 0; !cursor->failed && i < manifest->run_count; i++) {
        manifest->runs[i] = cf_cursor_u64(cursor);
        manifest->run_entries[i] = cf_cursor_u64(cursor);
    }
    return cf_ranges_decode(cursor, &manifest->packs);
}

/* The bytes before the checksum; failed when it is wrong. */
static cf_cursor checked(cf_span bytes, uint64_t seed) {
    cf_cursor body = cf_cursor_of(cf_span_of(bytes.data, bytes.size < 8 ? 0 : bytes.size - 8));
    cf_cursor tail = cf_cursor_of(cf_span_of(bytes.data, bytes.size));
    (void)cf_cursor_take(&tail, body.size);
    if (cf_cursor_u64(&tail) != XXH3_64bits_withSeed(body.data, body.size, seed) || tail.failed) cf_cursor_fail(&body);
    return body;
}

cf_err *cf_manifest_decode(cf_span bytes, const uint8_t server_id[16], cf_manifest *manifest) {
    cf_cursor head = cf_cursor_of(bytes);
    cf_span magic = cf_cursor_take(&head, 8);
    uint32_t version = cf_cursor_u32(&head);
    if (head.failed || memcmp(magic.data, MAGIC, 8) != 0) return cf_iio_damaged(CF_MANIFEST_NAME, "not a manifest");
    if (version > CF_MANIFEST_VERSION) { /* before the checksum: a newer format may have another */
        return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "newer", "chunk index: format %u, this program knows %d",
                              version, CF_MANIFEST_VERSION);
    }
    cf_cursor cursor = checked(bytes, 0);
    if (cursor.failed || version != CF_MANIFEST_VERSION) return cf_iio_damaged(CF_MANIFEST_NAME, "wrong checksum");
    (void)cf_cursor_take(&cursor, 12);
    CF_TRY(decode_body(&cursor, manifest));
    cf_err *err = cf_cursor_done(&cursor, CF_ERR_INDEX_UNREADABLE, "chunk index: manifest");
    cf_err_set_reason(err, "damaged");
    if (err) return err;
    if (manifest->packs.count > 0 && manifest->packs.items[manifest->packs.count - 1].last > CF_INDEX_PACK_MAX) {
        return cf_iio_damaged(CF_MANIFEST_NAME, "a pack number is out of range");
    }
    if (memcmp(manifest->server_id, server_id, 16) != 0) {
        return cf_fail_reason(CF_ERR_INDEX_UNREADABLE, "other-server", "chunk index: it belongs to another server");
    }
    return NULL;
}

cf_err *cf_manifest_load(int dir, const uint8_t server_id[16], cf_manifest *manifest, bool *exists) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_MANIFEST_MAX);
    bool there = false;
    CF_TRY(cf_iio_load(dir, CF_MANIFEST_NAME, &bytes, &there));
    if (there) CF_TRY(cf_manifest_decode(cf_buf_span(&bytes), server_id, manifest));
    *exists = there;
    return NULL;
}

cf_err *cf_dead_store(int dir, uint64_t number, const cf_ranges *dead) {
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, CF_MANIFEST_MAX);
    cf_buf_put(&out, DEAD_MAGIC, 8);
    cf_ranges_encode(dead, &out);
    CF_TRY(cf_buf_check(&out, "chunk index: dead segments"));
    cf_buf_put_u64(&out, XXH3_64bits_withSeed(out.data, out.size, number));
    CF_TRY(cf_buf_check(&out, "chunk index: dead segments"));
    char name[CF_IIO_NAME_SIZE];
    bool placed = false; /* nobody knows the file before the manifest names it */
    cf_iio_name(name, "dead", number);
    return cf_iio_replace(dir, name, cf_buf_span(&out), &placed);
}

cf_err *cf_dead_decode(cf_span bytes, uint64_t number, cf_ranges *dead) {
    char name[CF_IIO_NAME_SIZE];
    cf_iio_name(name, "dead", number);
    cf_cursor cursor = checked(bytes, number);
    cf_span magic = cf_cursor_take(&cursor, 8);
    if (cursor.failed || memcmp(magic.data, DEAD_MAGIC, 8) != 0) return cf_iio_damaged(name, "wrong checksum");
    CF_TRY(cf_ranges_decode(&cursor, dead));
    cf_err *err = cf_cursor_done(&cursor, CF_ERR_INDEX_UNREADABLE, name);
    cf_err_set_reason(err, "damaged");
    return err;
}

cf_err *cf_dead_load(int dir, uint64_t number, cf_ranges *dead) {
    char name[CF_IIO_NAME_SIZE];
    cf_iio_name(name, "dead", number);
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_MANIFEST_MAX);
    bool there = false;
    CF_TRY(cf_iio_load(dir, name, &bytes, &there));
    if (!there) return cf_iio_damaged(name, "the file is gone");
    return cf_dead_decode(cf_buf_span(&bytes), number, dead);
}
