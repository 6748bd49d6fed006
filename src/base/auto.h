/* Scope cleanup: CF_AUTO(cf_pack) pack = NULL; is freed when it leaves scope. Moving out is
 * spelled cf_take(pack): yields the pointer and leaves NULL behind.                                   */
#ifndef CF_BASE_AUTO_H
#define CF_BASE_AUTO_H

#include <stdlib.h>
#include <unistd.h>

#define CF_DEFINE_AUTO(type, free_function)           \
    static inline void type##_auto_(type **pointer) { \
        free_function(*pointer);                      \
    }
#define CF_AUTO(type) __attribute__((cleanup(type##_auto_))) type *

#define cf_take(pointer)                           \
    __extension__({                                \
        __typeof__(pointer) cf_taken_ = (pointer); \
        (pointer) = NULL;                          \
        cf_taken_;                                 \
    })

static inline void cf_auto_free_(void *pointer) {
    free(*(void **)pointer);
}
/* CF_AUTO_FREE char *text = NULL; */
#define CF_AUTO_FREE __attribute__((cleanup(cf_auto_free_)))

static inline void cf_auto_fd_(int *fd) {
    if (*fd >= 0) close(*fd);
}
/* CF_AUTO_FD int fd = -1; for descriptors whose close cannot lose data (reading). */
#define CF_AUTO_FD __attribute__((cleanup(cf_auto_fd_)))

#endif
