#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "os/fail.h"
#include "os/file.h"

cf_err *cf_process_harden(void) {
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0) return cf_os_fail(errno, "forbid", "core dumps");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return cf_os_fail(errno, "forbid", "core dumps");
    return NULL;
}

cf_err *cf_process_boot_id(char out[CF_BOOT_ID_SIZE]) {
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 4096);
    CF_TRY(cf_file_read(AT_FDCWD, path, 1024, &text));
    if (text.size < CF_BOOT_ID_SIZE - 1) return cf_os_fail(EIO, "understand", path);
    memcpy(out, text.data, CF_BOOT_ID_SIZE - 1);
    out[CF_BOOT_ID_SIZE - 1] = 0;
    return NULL;
}

void cf_process_machine_id(char out[CF_MACHINE_ID_SIZE]) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 4096);
    uint8_t bytes[16];
    out[0] = 0;
    CF_AUTO(cf_err) err = cf_file_read(AT_FDCWD, "/etc/machine-id", 1024, &text);
    if (err || text.size < 32) return; /* "uninitialized", in a container, or no systemd at all */
    char digits[CF_MACHINE_ID_SIZE];
    memcpy(digits, text.data, 32);
    digits[32] = 0;
    if (cf_hex_decode(digits, bytes, sizeof bytes)) cf_hex_encode(bytes, sizeof bytes, out);
}

void cf_process_hostname(char out[CF_HOSTNAME_SIZE]) {
    char name[CF_HOSTNAME_SIZE];
    if (gethostname(name, sizeof name) < 0 || !name[0]) memcpy(name, "localhost", sizeof "localhost");
    name[sizeof name - 1] = 0;
    memcpy(out, name, sizeof name);
}

uint64_t cf_process_peak_memory(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0) return 0;
    return (uint64_t)usage.ru_maxrss * 1024;
}

bool cf_process_is_root(void) {
    return geteuid() == 0;
}
