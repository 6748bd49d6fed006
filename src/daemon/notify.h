/* What a service tells systemd (sd_notify(3)). Without NOTIFY_SOCKET nothing happens.
 * Threads: any number.                                                                                   */
#ifndef CF_DAEMON_NOTIFY_H
#define CF_DAEMON_NOTIFY_H

#include <stdint.h>

void cf_notify_ready(void);
void cf_notify_stopping(void);
void cf_notify_watchdog(void);
/* cf_notify_status: one line, shown by systemctl status. */
void cf_notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* cf_notify_extend: stopping takes up to so much longer. */
void cf_notify_extend(uint64_t ms);
/* cf_notify_watchdog_ms: half of the time after which systemd gives the service up; 0: it does not look. */
uint64_t cf_notify_watchdog_ms(void);

#endif
