/* coffer cat: one file's content on standard output. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/reading.h"
#include "repo/tree.h"

struct cat_options {
    cf_server_options server;
};

static const cf_option options[] = {CF_OPTIONS_SERVER(struct cat_options, server), CF_OPTION_END};

struct out {
    uint64_t at; /* bytes written */
    cf_cursor extents;
    uint64_t end;
    cf_data_extent extent;
    bool sparse;
};

static cf_err *put(struct out *out, cf_span bytes) {
    if (bytes.size && fwrite(bytes.data, 1, bytes.size, stdout) != bytes.size)
        return cf_fail(CF_ERR_IO, "cannot write to standard output");
    out->at += bytes.size;
    return NULL;
}

static cf_err *put_hole(struct out *out, uint64_t until) {
    static const uint8_t zeroes[65536];
    while (out->at < until)
        CF_TRY(
            put(out, cf_span_of(zeroes, until - out->at < sizeof zeroes ? (size_t)(until - out->at) : sizeof zeroes)));
    return NULL;
}

static cf_err *put_chunk(struct out *out, cf_span chunk) {
    while (out->sparse && chunk.size) {
        if (out->extent.length == 0 && !cf_extents_next(&out->extents, &out->end, &out->extent))
            return cf_fail_reason(CF_ERR_NODE_DAMAGED, "length", "the file's content is longer than its data extents");
        CF_TRY(put_hole(out, out->extent.offset));
        size_t part = out->extent.length < chunk.size ? (size_t)out->extent.length : chunk.size;
        CF_TRY(put(out, cf_span_of(chunk.data, part)));
        out->extent.offset += part;
        out->extent.length -= part;
        chunk = cf_span_of(chunk.data + part, chunk.size - part);
    }
    return put(out, chunk);
}

static cf_err *copy_out(cf_reading *reading, cf_lane *lane, const cf_point *point, const cf_entry *entry) {
    CF_AUTO(cf_content_reader) content = NULL;
    CF_AUTO_BUF cf_buf chunk;
    cf_buf_init(&chunk, CF_CHUNK_MAX);
    CF_TRY(cf_content_reader_open(lane, point->map, &entry->content, &content));
    struct out out = {.extents = cf_cursor_of(entry->extents), .sparse = entry->sparse};
    for (;;) {
        cf_ref ref;
        bool more;
        CF_TRY(cf_cancel_check(reading->cli->cancel));
        CF_TRY(cf_content_reader_next(content, &ref, &more));
        if (!more) break;
        CF_TRY(cf_lane_chunk(lane, point->map, CF_KIND_DATA, &ref, &chunk));
        CF_TRY(put_chunk(&out, cf_buf_span(&chunk)));
    }
    CF_TRY(put_hole(&out, entry->sparse ? entry->meta.size : 0));
    if (out.at != entry->meta.size)
        return cf_fail_reason(CF_ERR_NODE_DAMAGED, "length", "the file's content is not as long as the file");
    return cf_output_finish();
}

static cf_err *cat(cf_reading *reading, const cf_point *point, const char *path) {
    CF_AUTO(cf_lane) lane = NULL;
    CF_TRY(cf_lane_new(reading->reader, &lane));
    cf_entry_copy copy = {0};
    bool found;
    cf_err *err = cf_tree_lookup(lane, point->map, &point->root.tree, cf_span_text(path), &copy, &found);
    if (!err && !found) err = cf_fail(CF_ERR_NOT_IN_POINT, "%s", path);
    if (!err && (copy.entry.meta.type != CF_TYPE_FILE || copy.entry.not_read))
        err = cf_fail(CF_ERR_NOT_IN_POINT, "%s is not a file with content", path);
    if (!err) err = copy_out(reading, lane, point, &copy.entry);
    cf_entry_copy_wipe(&copy);
    return err;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct cat_options *opt = given;
    CF_AUTO_READING cf_reading reading = {0};
    CF_AUTO(cf_point) point = NULL;
    CF_TRY(cf_reading_open(cli, &opt->server, CF_RETRY_PERSON_MS, &reading));
    cf_reading_use_index(&reading);
    cf_reading_use_trees(&reading);
    CF_TRY(cf_reading_point(&reading, arguments->item[0], &point));
    return cat(&reading, point, arguments->item[1]);
}

const cf_command cf_cmd_cat = {
    .name = "cat",
    .arguments = "POINT PATH",
    .summary = "write a file of a recovery point to standard output",
    .description = "POINT: as for restore.\n",
    .examples = "coffer cat latest /etc/passwd\ncoffer cat 2026-11-20 /etc/fstab | diff - /etc/fstab\n",
    .options = options,
    .options_size = sizeof(struct cat_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
