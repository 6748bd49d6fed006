/* Small files are given to the kernel before they are asked for: whoever copies a folder reads its files in order, and
 * would wait for one answer for each. A thread follows such readers and stores the content of the next files in the
 * kernel's cache; a file now and then is left out, and being asked for it says how far the reader has come.
 * What fails here is tried again, and reported, when it is asked for.
 * Threads: any number.                                                                                    */
#ifndef CF_MOUNT_PUSH_H
#define CF_MOUNT_PUSH_H

#include "mount/volume.h"

/* Files up to this size, which the kernel asks for in one request. */
enum { CF_PUSH_FILE_MAX = 128 << 10 };

/* cf_push_ops: what the caller does for it; context is its own.
 *   give: the file's content to the kernel; *refused: the kernel does not know the file, or does not take it. */
typedef struct cf_push_ops {
    cf_err *(*pin)(void *context, size_t slot, cf_volume **volume);
    void (*unpin)(void *context, size_t slot);
    cf_err *(*give)(void *context, cf_lane *lane, size_t slot, cf_volume *volume, const cf_place *place, bool *refused);
    void *context;
} cf_push_ops;

typedef struct cf_push cf_push;
/* cf_push_new: ops (copied) and reader are borrowed.                                                       */
cf_err *cf_push_new(cf_reader *reader, const cf_push_ops *ops, cf_push **push) __attribute__((warn_unused_result));
/* cf_push_free: NULL-safe. Waits for the thread, which may wait for a request that the kernel has sent: end it before
 * the threads that answer.                                                                                 */
void cf_push_free(cf_push *push);
CF_DEFINE_AUTO(cf_push, cf_push_free)

/* cf_push_seen: the whole of this small file was asked for. Accepts push == NULL.                          */
void cf_push_seen(cf_push *push, size_t slot, const cf_folder *folder, uint64_t number);

#endif
