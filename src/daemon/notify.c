#include "daemon/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

/* A service manager that does not listen changes nothing: results are not looked at. */

void cf_notify_ready(void) {
    (void)sd_notify(0, "READY=1");
}

void cf_notify_stopping(void) {
    (void)sd_notify(0, "STOPPING=1\nSTATUS=Stopping: running jobs are asked to end");
}

void cf_notify_watchdog(void) {
    (void)sd_notify(0, "WATCHDOG=1");
}

void cf_notify_status(const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)sd_notifyf(0, "STATUS=%s", text);
}

void cf_notify_extend(uint64_t ms) {
    (void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, ms * 1000);
}

uint64_t cf_notify_watchdog_ms(void) {
    uint64_t microseconds = 0;
    return sd_watchdog_enabled(0, &microseconds) > 0 ? microseconds / 2000 : 0;
}
