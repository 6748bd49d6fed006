/* Errors of the operating system: which code an errno is, and how the message names the object.
 * Threads: any number.                                                                                */
#ifndef CF_OS_FAIL_H
#define CF_OS_FAIL_H

#include "base/buf.h"
#include "base/err.h"

/* cf_os_code: the code for an errno: DISK_FULL (no blocks, inodes or quota), NOT_FOUND, EXISTS,
 * OUT_OF_MEMORY; IO for all the rest.                                                                 */
cf_code cf_os_code(int err_no);
/* cf_os_fail: "cannot DOING NAME: the system's word"; NAME made printable.
 *   doing  a verb ("open"), a literal.
 *   name   the object, as the caller knows it (a name in its folder, or a path).
 * reason is "denied" for missing rights, "read-only" for such a file system, "symlink" for a symbolic
 * link where none may be, else empty. Whoever knows the full path adds it with cf_note.               */
cf_err *cf_os_fail(int err_no, const char *doing, const char *name) __attribute__((warn_unused_result));
cf_err *cf_os_fail_span(int err_no, const char *doing, cf_span name) __attribute__((warn_unused_result));

#endif
