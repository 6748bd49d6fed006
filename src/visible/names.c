#include "visible/names.h"

#include <stdio.h>

#include "base/text.h"

static const char *const FOLDERS[] = {
    [CF_NAME_PACK] = "packs",   [CF_NAME_RECORD] = "records",         [CF_NAME_SLOT] = "slots",
    [CF_NAME_POINT] = "points", [CF_NAME_RELOCATION] = "relocations", [CF_NAME_MERGED] = "merged",
};

void cf_name_folder(cf_name_type type, const cf_id16 *server, char out[CF_NAME_MAX]) {
    if (type == CF_NAME_JOURNAL) {
        (void)snprintf(out, CF_NAME_MAX, "journal"); /* fits, like every name below */
        return;
    }
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(server->bytes, 16, id);
    (void)snprintf(out, CF_NAME_MAX, "servers/%s/%s", id, FOLDERS[type]);
}

void cf_name_build(const cf_name *name, char out[CF_NAME_MAX]) {
    char id[CF_HEX_SIZE(32)];
    cf_name_folder(name->type, &name->server, out);
    size_t at = strlen(out), room = CF_NAME_MAX - at;
    unsigned long long number = (unsigned long long)name->number;
    switch (name->type) {
    case CF_NAME_PACK:
        cf_hex_encode(name->session.bytes, 16, id);
        if (name->generation)
            (void)snprintf(out + at, room, "/%016llx-%s.%08x", number, id, name->generation);
        else
            (void)snprintf(out + at, room, "/%016llx-%s", number, id);
        break;
    case CF_NAME_RECORD:
    case CF_NAME_MERGED:
        cf_hex_encode(name->session.bytes, 16, id);
        (void)snprintf(out + at, room, "/%s", id);
        break;
    case CF_NAME_SLOT:
        (void)snprintf(out + at, room, "/%08llx", number);
        break;
    case CF_NAME_POINT:
    case CF_NAME_RELOCATION:
        cf_hex_encode(name->point.bytes, 32, id);
        (void)snprintf(out + at, room, "/%016llx-%s", number, id);
        break;
    case CF_NAME_JOURNAL:
        (void)snprintf(out + at, room, "/%016llx", number);
        break;
    }
}

void cf_name_pack(const cf_id16 *server, uint64_t number, const cf_id16 *session, uint32_t generation,
                  char out[CF_NAME_MAX]) {
    const cf_name name = {
        .type = CF_NAME_PACK, .server = *server, .session = *session, .number = number, .generation = generation};
    cf_name_build(&name, out);
}

void cf_name_record(const cf_id16 *server, const cf_id16 *session, char out[CF_NAME_MAX]) {
    cf_name_build(&(const cf_name){.type = CF_NAME_RECORD, .server = *server, .session = *session}, out);
}

void cf_name_slot(const cf_id16 *server, uint32_t number, char out[CF_NAME_MAX]) {
    cf_name_build(&(const cf_name){.type = CF_NAME_SLOT, .server = *server, .number = number}, out);
}

void cf_name_point(const cf_id16 *server, uint64_t counter, const cf_id32 *point, char out[CF_NAME_MAX]) {
    cf_name_build(&(const cf_name){.type = CF_NAME_POINT, .server = *server, .number = counter, .point = *point}, out);
}

void cf_name_journal(uint64_t sequence, char out[CF_NAME_MAX]) {
    cf_name_build(&(const cf_name){.type = CF_NAME_JOURNAL, .number = sequence}, out);
}

static bool take_text(const char **at, const char *text) {
    size_t size = strlen(text);
    if (strncmp(*at, text, size) != 0) return false;
    *at += size;
    return true;
}

void cf_name_relocation(const cf_id16 *server, uint64_t number, const cf_id32 *id, char out[CF_NAME_MAX]) {
    cf_name_build(&(const cf_name){.type = CF_NAME_RELOCATION, .server = *server, .number = number, .point = *id}, out);
}

void cf_name_merged(const cf_id16 *server, const cf_id16 *id, char out[CF_NAME_MAX]) {
    cf_name_build(&(const cf_name){.type = CF_NAME_MERGED, .server = *server, .session = *id}, out);
}

/* size bytes from 2 * size hexadecimal digits (either case: the caller compares with the built name). */
static bool take_hex(const char **at, void *out, size_t size) {
    char digits[CF_HEX_SIZE(32)];
    if (strnlen(*at, 2 * size) < 2 * size) return false;
    memcpy(digits, *at, 2 * size);
    digits[2 * size] = '\0';
    *at += 2 * size;
    return cf_hex_decode(digits, out, size);
}

static bool take_number(const char **at, size_t size, uint64_t *number) {
    uint8_t bytes[8];
    if (!take_hex(at, bytes, size)) return false;
    *number = 0;
    for (size_t i = 0; i < size; i++) *number = *number << 8 | bytes[i];
    return true;
}

static bool take_pack(const char **at, cf_name *name) {
    uint64_t generation = 0;
    if (!take_number(at, 8, &name->number) || !take_text(at, "-") || !take_hex(at, name->session.bytes, 16))
        return false;
    if (take_text(at, ".") && (!take_number(at, 4, &generation) || generation == 0)) return false;
    name->generation = (uint32_t)generation;
    return name->number >= 1 && name->number <= CF_PACK_NUMBER_MAX;
}

static bool take_type(const char **at, cf_name *name) {
    if (take_text(at, "journal/")) {
        name->type = CF_NAME_JOURNAL;
        return true;
    }
    if (!take_text(at, "servers/") || !take_hex(at, name->server.bytes, 16) || !take_text(at, "/")) return false;
    for (cf_name_type type = CF_NAME_PACK; type <= CF_NAME_MERGED; type++) {
        if (!FOLDERS[type] || !take_text(at, FOLDERS[type])) continue;
        name->type = type;
        return take_text(at, "/");
    }
    return false;
}

static bool take_parts(const char **at, cf_name *name) {
    switch (name->type) {
    case CF_NAME_PACK:
        return take_pack(at, name);
    case CF_NAME_RECORD:
    case CF_NAME_MERGED:
        return take_hex(at, name->session.bytes, 16);
    case CF_NAME_SLOT:
        return take_number(at, 4, &name->number) && name->number >= 1;
    case CF_NAME_POINT:
    case CF_NAME_RELOCATION:
        return take_number(at, 8, &name->number) && name->number >= 1 && take_text(at, "-") &&
               take_hex(at, name->point.bytes, 32);
    case CF_NAME_JOURNAL:
        return take_number(at, 8, &name->number);
    }
    return false;
}

bool cf_name_parse(const char *text, cf_name *name) {
    const char *at = text;
    cf_name made = {0};
    if (!take_type(&at, &made) || !take_parts(&at, &made)) return false;
    char again[CF_NAME_MAX]; /* upper-case digits and the like differ */
    cf_name_build(&made, again);
    if (strcmp(again, text) != 0) return false;
    *name = made;
    return true;
}
