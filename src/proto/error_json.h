/* An error as a JSON object: what --json prints and what the vault answers.
 *
 *   {"code":34513,"name":"InvalidVaultCredentials","reason":"expired","message":"...",
 *    "causes":["..."],"actions":["..."],"chain":[{"code":..,"reason":..,"message":..}],"retry_after":30}
 *
 * causes are sentences: the chain of errors below, else the catalogue's likely causes. chain (only when there is
 * one) is the same for programs, so that an error crosses the wire whole; retry_after (seconds) only when set. */
#ifndef CF_PROTO_ERROR_JSON_H
#define CF_PROTO_ERROR_JSON_H

#include <jansson.h>

#include "base/err.h"

enum { CF_ERROR_CHAIN_MAX = 8 };

/* cf_error_to_json: a new object; NULL only without memory. Bytes that are not UTF-8 are replaced.    */
json_t *cf_error_to_json(const cf_err *err);
/* cf_error_document: {"error": object}; new reference, NULL only without memory.                      */
json_t *cf_error_document(const cf_err *err);
/* cf_error_from_json: the error that a reply's {"error":{...}} document stands for, its chain and retry_after
 * included. Anything malformed becomes CF_ERR_UNKNOWN_REMOTE: the result is never NULL.               */
cf_err *cf_error_from_json(const json_t *document) __attribute__((warn_unused_result, returns_nonnull));
/* cf_catalogue_to_json: {"code","name","meaning","causes","actions"} of a row.                        */
json_t *cf_catalogue_to_json(const cf_catalogue_row *row);

#endif
