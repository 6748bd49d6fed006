/* The recorder of the power-loss tests: writes every changing call of this floor to a log from which
 * tests/e2e/powerloss.py builds the states that a disk may have after the power went. Compiled only
 * with -Dos_record=true.
 *
 * The log is a sequence of records, all numbers little-endian:
 *   u32 0x534F4643 ("CFOS")   u8 kind (cf_os_op_kind)   u8 phase (0 begins, 1 done)   u16 0
 *   u32 process   u32 thread   u64 inode of fd or of the object   u64 offset
 *   u32 path size   u32 second path size   u64 data size   path   second path   data
 * Paths are absolute. Only syncs are written with phase 0: what was written after a sync began is not
 * covered by it.                                                                                      */
#ifndef CF_OS_RECORD_H
#define CF_OS_RECORD_H

#include "os/hooks.h"

/* cf_os_record_from_environment: hooks that append to the file that COFFER_OS_RECORD names (several
 * processes may share it); NULL when the variable is not set. Ends the process when the file cannot be
 * opened: a test without its log would prove nothing.                                                 */
const cf_os_hooks *cf_os_record_from_environment(void);

#endif
