#include "base/text.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

char *cf_text_vformat(const char *format, va_list args) {
    char *text = NULL;
    return vasprintf(&text, format, args) < 0 ? NULL : text;
}

char *cf_text_format(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = cf_text_vformat(format, args);
    va_end(args);
    return text;
}

void cf_hex_encode(const void *data, size_t size, char *out) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool cf_hex_decode(const char *text, void *out, size_t size) {
    uint8_t *bytes = out;
    if (strlen(text) != 2 * size) return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

char *cf_base64_encode(cf_span span) {
    size_t room = sodium_base64_ENCODED_LEN(span.size, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(room);
    if (!text) return NULL;
    return sodium_bin2base64(text, room, span.data, span.size, sodium_base64_VARIANT_ORIGINAL);
}

bool cf_base64_decode(const char *text, size_t length, cf_buf *out) {
    size_t room = length / 4 * 3 + 3, size = 0;
    const char *end = NULL;
    CF_AUTO_FREE uint8_t *bytes = malloc(room);
    if (!bytes) return false;
    if (sodium_base642bin(bytes, room, text, length, NULL, &size, &end, sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    if (end != text + length) return false;
    cf_buf_put(out, bytes, size);
    return !out->failed;
}

/* Length of the well-formed UTF-8 sequence at data, 0 when there is none. */
static size_t utf8_length(const uint8_t *data, size_t left) {
    if (data[0] < 0x80) return 1;
    size_t length = data[0] >= 0xf0 ? 4 : data[0] >= 0xe0 ? 3 : 2;
    if (data[0] < 0xc2 || data[0] > 0xf4 || length > left) return 0;
    for (size_t i = 1; i < length; i++)
        if ((data[i] & 0xc0) != 0x80) return 0;
    if (data[0] == 0xe0 && data[1] < 0xa0) return 0; /* overlong  */
    if (data[0] == 0xed && data[1] > 0x9f) return 0; /* surrogate */
    if (data[0] == 0xf0 && data[1] < 0x90) return 0;
    if (data[0] == 0xf4 && data[1] > 0x8f) return 0;
    return length;
}

static bool is_control(uint8_t byte) {
    return byte < 0x20 || byte == 0x7f;
}

bool cf_utf8_valid(cf_span span) {
    for (size_t i = 0; i < span.size;) {
        size_t length = utf8_length(span.data + i, span.size - i);
        if (length == 0 || is_control(span.data[i])) return false;
        i += length;
    }
    return true;
}

char *cf_utf8_lossy(cf_span span) {
    char *text = malloc(span.size * 3 + 1), *out = text;
    if (!text) return NULL;
    for (size_t i = 0; i < span.size;) {
        size_t length = utf8_length(span.data + i, span.size - i);
        if (length && span.data[i] != 0) {
            memcpy(out, span.data + i, length);
            out += length;
            i += length;
        } else {
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            i++;
        }
    }
    *out = '\0';
    return text;
}

char *cf_text_printable(cf_span span) {
    char *text = malloc(span.size * 4 + 1), *out = text;
    if (!text) return NULL;
    for (size_t i = 0; i < span.size;) {
        size_t length = utf8_length(span.data + i, span.size - i);
        if (length && !is_control(span.data[i])) {
            memcpy(out, span.data + i, length);
            out += length;
            i += length;
        } else {
            out += sprintf(out, "\\x%02x", span.data[i]);
            i++;
        }
    }
    *out = '\0';
    return text;
}

void cf_text_size(uint64_t bytes, char out[24]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 999.95 && unit < 6; unit++) value /= 1000;
    snprintf(out, 24, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static cf_err *not_a_size(const char *text) {
    return cf_fail(CF_ERR_BAD_USAGE, "'%s' is not a size (such as 512K, 1.5GiB, 100 MB)", text);
}

cf_err *cf_text_parse_size(const char *text, uint64_t *bytes) {
    if (!isdigit((unsigned char)text[0])) return not_a_size(text);
    char *end = NULL;
    double number = strtod(text, &end);
    /* Digits and a point only: strtod would also take 0x10 and 1e9. */
    if (end != text + strspn(text, "0123456789.")) return not_a_size(text);
    while (*end == ' ') end++;
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},
                 {"b", 1},
                 {"k", 1024.0},
                 {"kib", 1024.0},
                 {"kb", 1e3},
                 {"m", 1048576.0},
                 {"mib", 1048576.0},
                 {"mb", 1e6},
                 {"g", 1073741824.0},
                 {"gib", 1073741824.0},
                 {"gb", 1e9},
                 {"t", 1099511627776.0},
                 {"tib", 1099511627776.0},
                 {"tb", 1e12}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(end, units[i].unit) != 0) continue;
        double value = number * units[i].factor;
        if (value >= 9.2e18) break;
        *bytes = (uint64_t)value;
        return NULL;
    }
    return not_a_size(text);
}

bool cf_text_parse_u64(const char *text, uint64_t max, uint64_t *value) {
    uint64_t sum = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    if (sum > max) return false;
    *value = sum;
    return true;
}

bool cf_text_starts(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static size_t edit_distance(const char *a, const char *b) {
    size_t row[65];
    size_t width = strlen(b);
    if (width > 64) return SIZE_MAX;
    for (size_t j = 0; j <= width; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[width];
}

const char *cf_text_nearest(const char *text, const char *const *candidates, size_t count) {
    const char *nearest = NULL;
    size_t least = strlen(text) / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(text, candidates[i]);
        if (distance > least || (nearest && distance == least)) continue;
        least = distance;
        nearest = candidates[i];
    }
    return nearest;
}
