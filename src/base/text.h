/* Text helpers: formatting, hexadecimal, base64, sizes, UTF-8. Nothing here keeps state.              */
#ifndef CF_BASE_TEXT_H
#define CF_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* cf_text_format: a fresh string; NULL only without memory.                                           */
char *cf_text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *cf_text_vformat(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
/* cf_hex_encode: 2 * size characters and a NUL into out.                                              */
void cf_hex_encode(const void *data, size_t size, char *out);
/* cf_hex_decode: exactly size bytes from exactly 2 * size digits (either case); false otherwise.      */
bool cf_hex_decode(const char *text, void *out, size_t size);
/* A hex rendering usable as an argument: char hex[CF_HEX_SIZE(32)].                                   */
#define CF_HEX_SIZE(bytes) (2 * (bytes) + 1)
/* cf_base64_encode: fresh standard base64 with padding. cf_base64_decode: appends to out; false when
 * text is not canonical base64 or out is full.                                                        */
char *cf_base64_encode(cf_span span);
bool cf_base64_decode(const char *text, size_t length, cf_buf *out);
/* cf_utf8_valid: is this well-formed UTF-8 without control characters U+0000..U+001F, U+007F?         */
bool cf_utf8_valid(cf_span span);
/* cf_utf8_lossy: a fresh string; every byte that is not well-formed becomes U+FFFD. Control characters
 * are kept (JSON escapes them).                                                                       */
char *cf_utf8_lossy(cf_span span);
/* cf_text_printable: a fresh string for terminals: control characters and bad UTF-8 as \xNN.          */
char *cf_text_printable(cf_span span);
/* cf_text_size: "12.3 MB" into out (decimal units).                                                   */
void cf_text_size(uint64_t bytes, char out[24]);
/* cf_text_parse_size: "64", "64K", "1.5M", "2GiB", "500 MB" to bytes. Fails: CF_ERR_BAD_USAGE.        */
cf_err *cf_text_parse_size(const char *text, uint64_t *bytes);
/* cf_text_parse_u64: decimal digits only, the whole string, at most max.                              */
bool cf_text_parse_u64(const char *text, uint64_t max, uint64_t *value);
bool cf_text_starts(const char *text, const char *prefix);
/* cf_text_nearest: which of count candidates is closest to text (edit distance at most a third of its
 * length); NULL when none is.                                                                         */
const char *cf_text_nearest(const char *text, const char *const *candidates, size_t count);

#endif
