/* The key file of the state folder: the server's four keys, readable by root only (docs/security.md).
 *
 *   0 .. 7      "CFKEYS\0\1" (the last byte is the version)
 *   8 .. 135    master, id, gear and directory key
 *   136 .. 167  SHA-256 of the bytes before
 *
 * Pure.                                                                                                  */
#ifndef CF_AGENT_KEYFILE_H
#define CF_AGENT_KEYFILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "sealed/slot.h"

enum { CF_KEYFILE_SIZE = 168 };

cf_err *cf_keyfile_encode(const cf_server_keys *keys, cf_secret **bytes) __attribute__((warn_unused_result));
/* Fails: 34506 KEYS_NOT_CONFIGURED, reason truncated, damaged (not a key file, or a wrong sum), too_new.    */
cf_err *cf_keyfile_decode(cf_span bytes, const char *path, cf_server_keys **keys) __attribute__((warn_unused_result));

#endif
