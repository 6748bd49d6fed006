#include "os/cachedir.h"

#include "os/file.h"
#include "os/stat.h"

static const char signature[] = "Signature: 8a477f597d28d172789f06886806bc55";

bool cf_cachedir_is(int folder_fd) {
    CF_AUTO_FD int fd = -1;
    cf_stat stat;
    char begin[sizeof signature - 1];
    size_t got = 0;
    cf_err *err = cf_os_stat(folder_fd, CF_CACHEDIR_TAG, &stat);
    if (!err && stat.type != CF_TYPE_FILE) return false;
    if (!err) err = cf_os_open_file(folder_fd, CF_CACHEDIR_TAG, &fd, &stat);
    if (!err) err = cf_file_read_at(fd, 0, begin, sizeof begin, CF_CACHEDIR_TAG, &got);
    bool is = !err && got == sizeof begin && memcmp(begin, signature, sizeof begin) == 0;
    cf_err_free(err); /* then its content is backed up: the safe side */
    return is;
}
