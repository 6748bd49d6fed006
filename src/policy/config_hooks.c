#include "policy/config_hooks.h"

#include <string.h>

#include "base/text.h"

enum { TIMEOUT_S = 600, TIMEOUT_MAX_S = 86400 };

static const char *const parts[] = {"pre", "post", "timeout", "on_failure"};
enum { PART_COUNT = sizeof parts / sizeof *parts };

static cf_err *bad_value(const char *value, const char *wanted) {
    return cf_fail_reason(CF_ERR_CONFIG, "bad_value", "'%.200s' is not %s", value, wanted);
}

static cf_err *set_command(const char *value, char out[CF_CONFIG_TEXT_MAX]) {
    if (value[0] != '/') return bad_value(value, "a command that begins with an absolute path");
    if (strlen(value) >= CF_CONFIG_TEXT_MAX) return bad_value("(too long)", "a command of at most 1023 bytes");
    memcpy(out, value, strlen(value) + 1);
    return NULL;
}

static cf_err *set_timeout(const char *value, uint32_t *out) {
    static const char wanted[] = "a time from 1s to 24h (90s, 10min, 2h)";
    char digits[16] = "";
    size_t length = strspn(value, "0123456789");
    const char *unit = value + length + strspn(value + length, " ");
    uint64_t number = 0, factor = 0;
    if (length > 0 && length < sizeof digits) memcpy(digits, value, length);
    if (strcmp(unit, "s") == 0) factor = 1;
    if (strcmp(unit, "min") == 0) factor = 60;
    if (strcmp(unit, "h") == 0) factor = 3600;
    if (!factor || !cf_text_parse_u64(digits, TIMEOUT_MAX_S, &number) || number == 0 || number * factor > TIMEOUT_MAX_S)
        return bad_value(value, wanted);
    *out = (uint32_t)(number * factor);
    return NULL;
}

static cf_err *set_on_failure(const char *value, cf_hook_failure *out) {
    static const char *const words[] = {"fail", "warning", "ignore"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(value, words[i]) != 0) continue;
        *out = (cf_hook_failure)i;
        return NULL;
    }
    return bad_value(value, "fail, warning or ignore");
}

const cf_hook *cf_config_hook(const cf_config *config, const char *name) {
    for (size_t i = 0; i < config->hook_count; i++)
        if (strcmp(config->hooks[i].name, name) == 0) return &config->hooks[i];
    return NULL;
}

/* The hook of that name, made when it is new. */
static cf_err *find_hook(const char *name, size_t length, cf_config *config, cf_hook **hook) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    char text[CF_HOOK_NAME_MAX + 1] = "";
    if (length == 0 || length > CF_HOOK_NAME_MAX || strspn(name, allowed) < length)
        return bad_value(name, "a hook's name: at most 63 letters, digits, - and _");
    memcpy(text, name, length);
    for (size_t i = 0; i < config->hook_count; i++) {
        *hook = &config->hooks[i];
        if (strcmp((*hook)->name, text) == 0) return NULL;
    }
    if (config->hook_count == CF_CONFIG_HOOKS_MAX)
        return cf_fail_reason(CF_ERR_CONFIG, "bad_value", "more than %d hooks", CF_CONFIG_HOOKS_MAX);
    *hook = &config->hooks[config->hook_count++];
    **hook = (cf_hook){.timeout_s = TIMEOUT_S};
    memcpy((*hook)->name, text, sizeof text);
    return NULL;
}

static cf_err *set_part(cf_hook *hook, size_t part, const char *value) {
    switch (part) {
    case 0:
        return set_command(value, hook->pre);
    case 1:
        return set_command(value, hook->post);
    case 2:
        return set_timeout(value, &hook->timeout_s);
    default:
        return set_on_failure(value, &hook->on_failure);
    }
}

cf_err *cf_config_set_hook(const char *key, const char *value, cf_config *config) {
    const char *dot = strrchr(key, '.');
    cf_hook *hook = NULL;
    size_t part = PART_COUNT;
    for (size_t i = 0; dot && i < PART_COUNT; i++)
        if (strcmp(dot + 1, parts[i]) == 0) part = i;
    if (part == PART_COUNT) {
        const char *nearest = dot ? cf_text_nearest(dot + 1, parts, PART_COUNT) : NULL;
        CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(key));
        return cf_fail_reason(
            CF_ERR_CONFIG, "unknown_key",
            "unknown key '%.100s' in [hooks]%s%s%s; NAME.pre, NAME.post, NAME.timeout, NAME.on_failure",
            shown ? shown : "", nearest ? " (did you mean '" : "", nearest ? nearest : "", nearest ? "'?)" : "");
    }
    CF_TRY(find_hook(key, (size_t)(dot - key), config, &hook));
    if (hook->seen & 1u << part)
        return cf_fail_reason(CF_ERR_CONFIG, "duplicate", "'%.100s' is set a second time", key);
    hook->seen |= 1u << part;
    return cf_note(set_part(hook, part, value), "%s", key);
}

cf_err *cf_config_check_hooks(const cf_config *config) {
    for (size_t i = 0; i < config->hook_count; i++) {
        const cf_hook *hook = &config->hooks[i];
        if (!*hook->pre && !*hook->post)
            return cf_fail_reason(CF_ERR_CONFIG, "bad_value", "hook '%s' has no command: set %s.pre or %s.post",
                                  hook->name, hook->name, hook->name);
    }
    return NULL;
}
