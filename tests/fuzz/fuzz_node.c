// deps: sealed_dep
#include <stdlib.h>

#include "sealed/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a reader gives, a writer takes. */
static void copy_entries(cf_node_reader *reader) {
    CF_AUTO(cf_node_writer) writer = NULL;
    if (cf_node_writer_new(&writer)) abort();
    cf_entry entry;
    uint32_t count = 0;
    for (; cf_node_reader_entry(reader, &entry); count++) {
        CF_AUTO(cf_err) err = cf_node_writer_add(writer, &entry);
        if (err && cf_err_code(err) != CF_ERR_TOO_LARGE) abort();
        cf_cursor refs = cf_cursor_of(entry.content.refs);
        cf_ref ref;
        for (uint32_t i = 0; i < entry.content.count; i++) cf_ref_decode(&refs, &ref);
        cf_cursor extents = cf_cursor_of(entry.extents);
        cf_data_extent extent;
        uint64_t end = 0;
        uint32_t extent_count = 0;
        while (cf_extents_next(&extents, &end, &extent)) extent_count++;
        if (refs.failed || extents.failed || extent_count != entry.extent_count) abort();
    }
    if (count != cf_node_reader_count(reader)) abort();
    CF_AUTO_BUF cf_buf node;
    cf_buf_init(&node, CF_NODE_MAX);
    if (cf_node_writer_finish(writer, &node)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CF_AUTO(cf_node_reader) reader = NULL;
    CF_AUTO(cf_err) err = cf_node_reader_open(cf_span_of(data, size), &reader);
    if (err) return 0;
    cf_part part;
    cf_ref ref;
    uint32_t count = 0;
    switch (cf_node_reader_kind(reader)) {
    case CF_NODE_ENTRIES:
        copy_entries(reader);
        return 0;
    case CF_NODE_SPLIT:
        while (cf_node_reader_part(reader, &part)) count++;
        break;
    case CF_NODE_LIST:
        while (cf_node_reader_ref(reader, &ref)) count++;
        break;
    }
    if (count != cf_node_reader_count(reader)) abort();
    return 0;
}
