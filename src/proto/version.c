#include "proto/version.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { RANGE_TEXT_MAX = 24, PROTOCOL_LIMIT = 65535 };

static bool parse_number(const char *text, size_t size, uint32_t *number) {
    char digits[8];
    uint64_t value;
    if (size == 0 || size >= sizeof digits) return false;
    memcpy(digits, text, size);
    digits[size] = '\0';
    if (!cf_text_parse_u64(digits, PROTOCOL_LIMIT, &value) || value == 0) return false;
    *number = (uint32_t)value;
    return true;
}

bool cf_protocol_range_parse(const char *text, cf_protocol_range *range) {
    size_t size = strnlen(text, RANGE_TEXT_MAX);
    if (size == RANGE_TEXT_MAX) return false;
    const char *dash = memchr(text, '-', size);
    cf_protocol_range parsed;
    size_t first = dash ? (size_t)(dash - text) : size;
    if (!parse_number(text, first, &parsed.min)) return false;
    parsed.max = parsed.min;
    if (dash && !parse_number(dash + 1, size - first - 1, &parsed.max)) return false;
    if (parsed.min > parsed.max) return false;
    *range = parsed;
    return true;
}

int cf_version_compare(const char *a, const char *b) {
    while (*a || *b) {
        char *end_a, *end_b;
        unsigned long number_a = strtoul(a, &end_a, 10), number_b = strtoul(b, &end_b, 10);
        if (number_a != number_b) return number_a < number_b ? -1 : 1;
        a = end_a + strcspn(end_a, ".");
        b = end_b + strcspn(end_b, ".");
        if (*a == '.') a++;
        if (*b == '.') b++;
    }
    return 0;
}

cf_err *cf_version_check_vault(const char *agent, const char *vault, cf_protocol_range range,
                               const char *agent_oldest) {
    if (range.min > CF_PROTOCOL_MAX)
        return cf_fail_reason(CF_ERR_VERSION_MISMATCH, "update_agent",
                              "update this agent (%s): the vault (%s) speaks protocol %u and newer, the agent up to %d",
                              agent, vault, range.min, CF_PROTOCOL_MAX);
    if (range.max < CF_PROTOCOL_MIN)
        return cf_fail_reason(CF_ERR_VERSION_MISMATCH, "update_vault",
                              "update the vault (%s): it speaks protocol %u and older, this agent (%s) needs %d", vault,
                              range.max, agent, CF_PROTOCOL_MIN);
    if (*agent_oldest && cf_version_compare(agent, agent_oldest) < 0)
        return cf_fail_reason(CF_ERR_VERSION_MISMATCH, "update_agent",
                              "update this agent (%s): the vault (%s) accepts agents from %s up", agent, vault,
                              agent_oldest);
    return NULL;
}

cf_err *cf_version_check_agent(const char *vault, const char *agent, cf_protocol_range range) {
    if (range.max < CF_PROTOCOL_MIN || (*agent && cf_version_compare(agent, CF_AGENT_OLDEST) < 0))
        return cf_fail_reason(CF_ERR_VERSION_MISMATCH, "update_agent",
                              "update the agent (%s): this vault (%s) accepts agents from %s up, protocol %d", agent,
                              vault, CF_AGENT_OLDEST, CF_PROTOCOL_MIN);
    if (range.min > CF_PROTOCOL_MAX)
        return cf_fail_reason(CF_ERR_VERSION_MISMATCH, "update_vault",
                              "update the vault (%s): the agent (%s) speaks protocol %u and newer, the vault up to %d",
                              vault, agent, range.min, CF_PROTOCOL_MAX);
    return NULL;
}
