/* Bulk bytes of the embedded store, under signed addresses: uploads go straight into the store's temporary
 * file while they are hashed; downloads are read in pieces. */
#include <inttypes.h>
#include <stdlib.h>

#include "digest/digest.h"
#include "service/call.h"
#include "service/place.h"
#include "service/url.h"
#include "visible/names.h"

typedef struct upload {
    cf_blob blob;
    char key[CF_NAME_MAX];
    uint64_t received;
    cf_object_writer *writer;
    cf_xxh3_stream *sum;
} upload;

static const char *get_query(const void *context, const char *name) {
    return cf_http_query_of(context, name);
}

static cf_err *check_url(cf_call *call, bool is_upload, cf_blob *blob) {
    return cf_blob_check(call->vault->row.url_key, is_upload, call->argument, get_query, call->exchange, call->now,
                         blob);
}

cf_err *cf_api_blob_start(cf_call *call) {
    upload *state = calloc(1, sizeof *state);
    if (!state) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an upload");
    call->stream = state;
    CF_TRY(check_url(call, true, &state->blob));
    uint64_t length = cf_http_content_length(call->exchange);
    if (length != UINT64_MAX && length != state->blob.size)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "size",
                              "%" PRIu64 " bytes were announced for this address, not %" PRIu64, state->blob.size,
                              length);
    cf_name_pack(&state->blob.server, state->blob.number, &state->blob.session, 0, state->key);
    CF_TRY(cf_xxh3_stream_new(&state->sum));
    return cf_objects_put_open(call->vault->objects, state->key, &state->writer);
}

cf_err *cf_api_blob_piece(cf_call *call, cf_span bytes) {
    upload *state = call->stream;
    state->received += bytes.size;
    if (state->received > state->blob.size)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "size", "more bytes came than were announced");
    cf_xxh3_stream_add(state->sum, bytes);
    return cf_object_writer_write(state->writer, bytes);
}

/* The name is taken: by the same bytes, sent before? */
static cf_err *compare_stored(cf_call *call, const upload *state) {
    CF_AUTO(cf_object_reader) reader = NULL;
    CF_AUTO(cf_xxh3_stream) sum = NULL;
    CF_AUTO_FREE uint8_t *block = malloc((size_t)1 << 18);
    uint8_t stored[16];
    if (!block) return cf_fail(CF_ERR_OUT_OF_MEMORY, "an upload");
    CF_TRY(cf_objects_open(call->vault->objects, state->key, &reader));
    CF_TRY(cf_xxh3_stream_new(&sum));
    size_t got = 0;
    for (uint64_t at = 0; at < cf_object_reader_size(reader); at += got) {
        CF_TRY(cf_object_reader_read(reader, at, block, (size_t)1 << 18, &got));
        if (got == 0) return cf_fail_reason(CF_ERR_IO, "short", "object %s ends early", state->key);
        cf_xxh3_stream_add(sum, cf_span_of(block, got));
    }
    cf_xxh3_stream_end(sum, stored);
    if (cf_object_reader_size(reader) == state->blob.size && memcmp(stored, state->blob.xxh3, 16) == 0) return NULL;
    return cf_fail_reason(CF_ERR_OBJECT_CONFLICT, "uploaded", "pack %" PRIu64 " was uploaded with other bytes",
                          state->blob.number);
}

cf_err *cf_api_blob_put(cf_call *call) {
    upload *state = call->stream;
    uint8_t sum[16];
    bool created = false;
    if (state->received != state->blob.size)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "size", "%" PRIu64 " bytes came, %" PRIu64 " were announced",
                              state->received, state->blob.size);
    cf_xxh3_stream_end(state->sum, sum);
    if (memcmp(sum, state->blob.xxh3, 16) != 0)
        return cf_fail_reason(CF_ERR_UPLOAD_REFUSED, "sum", "the bytes that came do not have the announced sum");
    CF_TRY(cf_object_writer_commit(state->writer, &created));
    if (!created) CF_TRY(compare_stored(call, state));
    call->status = 201;
    return NULL;
}

void cf_api_blob_drop(cf_call *call) {
    upload *state = call->stream;
    if (!state) return;
    cf_object_writer_free(state->writer); /* removes the temporary file of an upload that was not completed */
    cf_xxh3_stream_free(state->sum);
    free(state);
    call->stream = NULL;
}

typedef struct download {
    cf_object_reader *reader;
    uint64_t start;
} download;

static size_t read_download(void *context, uint64_t offset, uint8_t *out, size_t size) {
    download *state = context;
    size_t got = 0;
    CF_AUTO(cf_err) err = cf_object_reader_read(state->reader, state->start + offset, out, size, &got);
    return err ? 0 : got; /* 0 breaks the connection: the other side sees too few bytes */
}

static void finish_download(void *context) {
    download *state = context;
    cf_object_reader_free(state->reader);
    free(state);
}

/* One range, "bytes=a-b", "bytes=a-" or "bytes=-n" (RFC 9110, 14.1.2). *whole when there is none, or one that
 * may be ignored (several). Fails with BAD_REQUEST, reason "range": 416. */
static cf_err *parse_range(const char *text, uint64_t size, uint64_t *start, uint64_t *length, bool *whole) {
    *start = 0;
    *length = size;
    *whole = true;
    if (!text || strncmp(text, "bytes=", 6) != 0 || strchr(text, ',')) return NULL;
    char from[24], to[24];
    const char *dash = strchr(text + 6, '-');
    if (!dash || (size_t)(dash - text - 6) >= sizeof from || strlen(dash + 1) >= sizeof to) return NULL;
    snprintf(from, sizeof from, "%.*s", (int)(dash - text - 6), text + 6);
    snprintf(to, sizeof to, "%s", dash + 1);
    uint64_t first = 0, last = UINT64_MAX - 1;
    bool has_first = from[0] != '\0', has_last = to[0] != '\0';
    if ((!has_first && !has_last) || (has_first && !cf_text_parse_u64(from, UINT64_MAX - 1, &first)) ||
        (has_last && !cf_text_parse_u64(to, UINT64_MAX - 1, &last)) || (has_first && first > last))
        return NULL;
    if (!has_first) { /* the last n bytes */
        first = last < size ? size - last : 0;
        last = last == 0 ? 0 : size - 1;
        if (size == 0 || strcmp(to, "0") == 0) first = size;
    }
    if (first >= size) return cf_fail_reason(CF_ERR_BAD_REQUEST, "range", "the object has %" PRIu64 " bytes", size);
    if (last > size - 1) last = size - 1;
    *start = first;
    *length = last - first + 1;
    *whole = false;
    return NULL;
}

cf_err *cf_api_blob_get(cf_call *call) {
    cf_blob blob;
    char key[CF_NAME_MAX], range[96];
    uint64_t length = 0, size = 0, start = 0;
    bool whole = true;
    CF_TRY(check_url(call, false, &blob));
    CF_AUTO(cf_object_reader) reader = NULL;
    cf_pack_row row = {.server = blob.server,
                       .session = blob.session,
                       .number = blob.number,
                       .generation = blob.generation,
                       .is_merged = blob.is_merged,
                       .merged = blob.merged};
    cf_pack_place(&row, key);
    CF_TRY(cf_objects_open(call->vault->objects, key, &reader));
    size = cf_object_reader_size(reader);
    if (blob.is_merged) { /* only this pack of those that stand in it */
        size = blob.base < size ? size - blob.base : 0;
        if (size > blob.size) size = blob.size;
    }
    CF_TRY(parse_range(cf_http_header_of(call->exchange, "Range"), size, &start, &length, &whole));
    download *state = malloc(sizeof *state);
    if (!state) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a download");
    *state = (download){cf_take(reader), blob.base + start};
    snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, start, start + length - 1, size);
    if (!whole) cf_http_add_header(call->exchange, "Content-Range", range);
    cf_http_add_header(call->exchange, "Accept-Ranges", "bytes");
    cf_http_add_header(call->exchange, "Content-Type", "application/octet-stream");
    cf_http_reply_stream(call->exchange, whole ? 200 : 206, length,
                         &(cf_http_source){state, read_download, finish_download});
    call->streamed = true;
    return NULL;
}
