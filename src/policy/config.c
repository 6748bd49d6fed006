#include "policy/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/config_hooks.h"

/* Bounds of kdf_* are those of the stored format (docs/format.md, key slot). */
#define MIB ((uint64_t)1 << 20)

typedef cf_err *store_function(const char *value, cf_config *config);

static cf_err *bad_value(const char *value, const char *wanted) {
    return cf_fail_reason(CF_ERR_CONFIG, "bad_value", "'%s' is not %s", value, wanted);
}

static cf_err *parse_bytes(const char *value, uint64_t min, uint64_t max, const char *wanted, uint64_t *out) {
    uint64_t bytes = 0;
    cf_err *err = cf_text_parse_size(value, &bytes);
    bool good = !err && bytes >= min && bytes <= max;
    cf_err_free(err);
    if (!good) return bad_value(value, wanted);
    *out = bytes;
    return NULL;
}

static cf_err *parse_number(const char *value, uint64_t min, uint64_t max, const char *wanted, uint64_t *out) {
    uint64_t number = 0;
    if (!cf_text_parse_u64(value, max, &number) || number < min) return bad_value(value, wanted);
    *out = number;
    return NULL;
}

static cf_err *parse_text(const char *value, char out[CF_CONFIG_TEXT_MAX]) {
    if (strlen(value) >= CF_CONFIG_TEXT_MAX) return bad_value("(too long)", "a text of at most 1023 bytes");
    memcpy(out, value, strlen(value) + 1);
    return NULL;
}

static cf_err *set_compression(const char *value, cf_config *config) {
    static const char *const words[] = {"fast", "default", "max"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(value, words[i]) != 0) continue;
        config->compression = (cf_compression)i;
        return NULL;
    }
    return bad_value(value, "fast, default or max");
}
static cf_err *set_lanes(const char *value, cf_config *config) {
    uint64_t number = 0;
    if (strcmp(value, "auto") != 0) CF_TRY(parse_number(value, 1, 64, "auto or a number from 1 to 64", &number));
    config->lanes = (uint32_t)number;
    return NULL;
}
static cf_err *set_verify_uploads(const char *value, cf_config *config) {
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0) return bad_value(value, "yes or no");
    config->verify_uploads = value[0] == 'y';
    return NULL;
}
static cf_err *set_pack_size(const char *value, cf_config *config) {
    return parse_bytes(value, MIB, 64 * MIB, "a size from 1 MiB to 64 MiB", &config->pack_size_bytes);
}
static cf_err *set_memory(const char *value, cf_config *config) {
    return parse_bytes(value, 64 * MIB, 16384 * MIB, "a size from 64 MiB to 16 GiB", &config->memory_bytes);
}
static cf_err *set_kdf_memory(const char *value, cf_config *config) {
    return parse_bytes(value, 19 * MIB, 1024 * MIB, "a size from 19 MiB to 1 GiB", &config->kdf_memory_bytes);
}
static cf_err *set_kdf_passes(const char *value, cf_config *config) {
    uint64_t number = 0;
    CF_TRY(parse_number(value, 2, 16, "a number from 2 to 16", &number));
    config->kdf_passes = (uint32_t)number;
    return NULL;
}
static cf_err *set_history(const char *value, cf_config *config) {
    uint64_t number = 0;
    CF_TRY(parse_number(value, 7, 3660, "a number of days from 7 to 3660", &number));
    config->history_days = (uint32_t)number;
    return NULL;
}
static cf_err *set_proxy_url(const char *value, cf_config *config) {
    if (!cf_text_starts(value, "http://") && !cf_text_starts(value, "https://") && !cf_text_starts(value, "socks5h://"))
        return bad_value(value, "http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT");
    return parse_text(value, config->proxy_url);
}
static cf_err *set_proxy_user(const char *value, cf_config *config) {
    return parse_text(value, config->proxy_user);
}
static cf_err *set_proxy_password_file(const char *value, cf_config *config) {
    if (value[0] != '/') return bad_value(value, "an absolute path");
    return parse_text(value, config->proxy_password_file);
}

static const cf_config_key keys[] = {
    {"agent", "compression", "fast | default | max"},
    {"agent", "lanes", "auto | number"},
    {"agent", "verify_uploads", "yes | no"},
    {"agent", "pack_size", "size"},
    {"agent", "memory", "size"},
    {"agent", "kdf_memory", "size"},
    {"agent", "kdf_passes", "number"},
    {"jobs", "history", "days"},
    {"proxy", "url", "address"},
    {"proxy", "user", "text"},
    {"proxy", "password_file", "path"},
    /* For documentation; read by config_hooks.c. */
    {"hooks", "NAME.pre", "command"},
    {"hooks", "NAME.post", "command"},
    {"hooks", "NAME.timeout", "time"},
    {"hooks", "NAME.on_failure", "fail | warning | ignore"},
};
enum { DOCUMENTED_COUNT = sizeof keys / sizeof keys[0], KEY_COUNT = DOCUMENTED_COUNT - 4 };
static store_function *const stores[KEY_COUNT] = {
    set_compression, set_lanes,      set_verify_uploads,      set_pack_size,
    set_memory,      set_kdf_memory, set_kdf_passes,          set_history,
    set_proxy_url,   set_proxy_user, set_proxy_password_file,
};
static const char *const sections[] = {"agent", "jobs", "hooks", "proxy"};
enum { SECTION_COUNT = sizeof sections / sizeof sections[0] };

const cf_config_key *cf_config_keys(size_t *count) {
    *count = DOCUMENTED_COUNT;
    return keys;
}

void cf_config_defaults(cf_config *config) {
    *config = (cf_config){
        .compression = CF_COMPRESSION_DEFAULT,
        .verify_uploads = true,
        .pack_size_bytes = 16 * MIB,
        .memory_bytes = 150 * MIB,
        .kdf_memory_bytes = 256 * MIB,
        .kdf_passes = 3,
        .history_days = 366,
    };
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text) {
    text += strspn(text, " \t\r");
    size_t size = strlen(text);
    while (size && strchr(" \t\r", text[size - 1])) text[--size] = '\0';
    return text;
}

typedef struct parser {
    const char *section; /* NULL before the first one */
    bool seen[KEY_COUNT];
    cf_config *config;
} parser;

static cf_err *enter_section(parser *at, char *line) {
    size_t size = strlen(line);
    if (line[size - 1] != ']') return cf_fail_reason(CF_ERR_CONFIG, "syntax", "a section is written [NAME]");
    line[size - 1] = '\0';
    const char *name = trim(line + 1);
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (strcmp(sections[i], name) != 0) continue;
        at->section = sections[i];
        return NULL;
    }
    const char *nearest = cf_text_nearest(name, sections, SECTION_COUNT);
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(name));
    return cf_fail_reason(CF_ERR_CONFIG, "unknown_section", "unknown section [%.64s]%s%s%s", shown ? shown : "",
                          nearest ? " (did you mean [" : "", nearest ? nearest : "", nearest ? "]?)" : "");
}

static cf_err *unknown_key(const char *section, const char *name) {
    const char *known[KEY_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].section, section) == 0) known[count++] = keys[i].key;
    const char *nearest = cf_text_nearest(name, known, count);
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(name));
    return cf_fail_reason(CF_ERR_CONFIG, "unknown_key", "unknown key '%.64s' in [%s]%s%s%s", shown ? shown : "",
                          section, nearest ? " (did you mean '" : "", nearest ? nearest : "", nearest ? "'?)" : "");
}

static cf_err *store_value(parser *at, const char *name, const char *value) {
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].section, at->section) != 0 || strcmp(keys[i].key, name) != 0) continue;
        if (at->seen[i]) return cf_fail_reason(CF_ERR_CONFIG, "duplicate", "'%s' is set a second time", name);
        at->seen[i] = true;
        return cf_note(stores[i](value, at->config), "%s", name);
    }
    return unknown_key(at->section, name);
}

static cf_err *parse_line(parser *at, char *line) {
    line = trim(line);
    if (!*line || *line == '#' || *line == ';') return NULL;
    if (*line == '[') return enter_section(at, line);
    char *equals = strchr(line, '=');
    if (!equals) return cf_fail_reason(CF_ERR_CONFIG, "syntax", "a setting is written KEY = VALUE");
    if (!at->section) return cf_fail_reason(CF_ERR_CONFIG, "syntax", "a setting stands before the first [section]");
    *equals = '\0';
    const char *name = trim(line), *value = trim(equals + 1);
    if (!cf_utf8_valid(cf_span_text(value)))
        return cf_fail_reason(CF_ERR_CONFIG, "bad_value", "the value has control characters or is not UTF-8");
    if (!*value)
        return cf_fail_reason(CF_ERR_CONFIG, "bad_value", "'%.64s' has no value (put a # before it to leave it out)",
                              name);
    return strcmp(at->section, "hooks") == 0 ? cf_config_set_hook(name, value, at->config)
                                             : store_value(at, name, value);
}

cf_err *cf_config_parse(cf_span text, const char *name, cf_config *config) {
    if (text.size > CF_CONFIG_SIZE_MAX)
        return cf_fail_reason(CF_ERR_CONFIG, "too_large", "%s has more than %d bytes", name, CF_CONFIG_SIZE_MAX);
    if (text.size && memchr(text.data, '\0', text.size))
        return cf_fail_reason(CF_ERR_CONFIG, "syntax", "%s holds a NUL byte: it is no text file", name);
    CF_AUTO_FREE char *copy = cf_span_dup_text(text);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to read %s", name);
    parser at = {.config = config};
    unsigned number = 1;
    for (char *line = copy, *next; line; line = next, number++) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        CF_TRY(cf_note(parse_line(&at, line), "%s:%u", name, number));
    }
    return cf_note(cf_config_check_hooks(config), "%s", name);
}
