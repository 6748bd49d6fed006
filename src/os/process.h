/* The process and the machine it runs on.
 * Threads: any number, but cf_process_harden before others start.                                      */
#ifndef CF_OS_PROCESS_H
#define CF_OS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* cf_process_harden: no core dumps, no other process of the same user may look into this one.
 * Fails: 900101 IO.                                                                                   */
cf_err *cf_process_harden(void) __attribute__((warn_unused_result));
/* cf_process_boot_id: changes with each start of the machine; 36 characters. Fails: 900101 IO,
 * 900103 NOT_FOUND (no /proc).                                                                        */
enum { CF_BOOT_ID_SIZE = 37 };
cf_err *cf_process_boot_id(char out[CF_BOOT_ID_SIZE]) __attribute__((warn_unused_result));
/* cf_process_machine_id: the installation's own number from /etc/machine-id, 32 hexadecimal digits; ""
 * when the machine has none.                                                                          */
enum { CF_MACHINE_ID_SIZE = 33 };
void cf_process_machine_id(char out[CF_MACHINE_ID_SIZE]);
/* cf_process_hostname: "localhost" when the system has no name.                                       */
enum { CF_HOSTNAME_SIZE = 256 };
void cf_process_hostname(char out[CF_HOSTNAME_SIZE]);
/* cf_process_peak_memory: the most resident memory so far, in bytes; 0 when not known.                */
uint64_t cf_process_peak_memory(void);
/* cf_process_is_root: may this process do what root may (effective user 0)?                           */
bool cf_process_is_root(void);

#endif
