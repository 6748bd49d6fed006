/* Extended attributes, ACLs among them. */
#include <errno.h>
#include <stdlib.h>

#include "mount/fs.h"
#include "repo/tree.h"

enum { LIST_MAX = 65536 }; /* the kernel asks for no more */

/* What to do with an entry's attributes, complete. Answers the request. */
typedef void (*answer)(fuse_req_t request, const cf_meta *meta, const char *name, size_t size);

static void answer_value(fuse_req_t request, const cf_meta *meta, const char *name, size_t size) {
    const cf_xattr *found = NULL;
    for (uint32_t i = 0; i < meta->xattr_count && !found; i++)
        if (cf_span_equal(meta->xattrs[i].name, cf_span_text(name))) found = &meta->xattrs[i];
    if (!found)
        fuse_reply_err(request, ENODATA);
    else if (size == 0)
        fuse_reply_xattr(request, found->value.size);
    else if (found->value.size > size)
        fuse_reply_err(request, ERANGE);
    else
        fuse_reply_buf(request, (const char *)found->value.data, found->value.size);
}

static void answer_list(fuse_req_t request, const cf_meta *meta, const char *name, size_t size) {
    (void)name;
    CF_AUTO_BUF cf_buf list;
    cf_buf_init(&list, (size_t)CF_XATTRS_MAX * 256);
    for (uint32_t i = 0; i < meta->xattr_count; i++) {
        cf_buf_put_span(&list, meta->xattrs[i].name);
        cf_buf_put_u8(&list, 0);
    }
    if (list.failed)
        fuse_reply_err(request, ENOMEM);
    else if (size == 0)
        fuse_reply_xattr(request, list.size);
    else if (list.size > size)
        fuse_reply_err(request, list.size > LIST_MAX ? E2BIG : ERANGE);
    else
        fuse_reply_buf(request, (const char *)list.data, list.size);
}

/* Attributes that are kept as chunks: the entry is copied, so that its page is free while they are fetched. */
static cf_err *fetch_and_answer(cf_fuse_call *call, const cf_entry_copy *copy, answer then, const char *name,
                                size_t size) {
    CF_AUTO_BUF cf_buf storage;
    cf_buf_init(&storage, (size_t)64 << 20);
    CF_AUTO_FREE cf_xattr *xattrs = calloc(CF_XATTRS_MAX, sizeof *xattrs);
    if (!xattrs) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for extended attributes");
    cf_entry entry = copy->entry;
    CF_TRY(cf_entry_xattrs(call->desk->lane, cf_call_map(call), &entry, &storage, xattrs));
    then(call->request, &entry.meta, name, size);
    return NULL;
}

static cf_err *with_entry(cf_fuse_call *call, answer then, const char *name, size_t size) {
    CF_AUTO_PLACE cf_place place = {0};
    CF_TRY(cf_volume_at(call->volume, call->desk->lane, call->number, &place));
    cf_entry entry;
    cf_entry_copy copy = {0};
    cf_err *err = NULL;
    cf_page_lock(place.page);
    cf_page_entry(place.page, place.index, &entry);
    bool chunked = entry.xattrs_chunked;
    if (chunked)
        err = cf_entry_copy_set(&copy, &entry);
    else
        then(call->request, &entry.meta, name, size);
    cf_page_unlock(place.page);
    if (chunked && !err) err = fetch_and_answer(call, &copy, then, name, size);
    cf_entry_copy_wipe(&copy);
    return err;
}

static void operate(fuse_req_t request, fuse_ino_t inode, answer then, const char *name, size_t size) {
    static const cf_meta none = {0};
    cf_fuse_call call;
    if (!cf_call_begin(&call, request, inode)) return;
    cf_err *err = NULL;
    if (call.of_point && call.number)
        err = with_entry(&call, then, name, size);
    else
        then(request, &none, name, size);
    if (err) cf_call_fail(&call, err);
    cf_call_end(&call);
}

void cf_op_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size) {
    operate(request, inode, answer_value, name, size);
}

void cf_op_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
    operate(request, inode, answer_list, NULL, size);
}
