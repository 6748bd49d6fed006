#include "os/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS = 256, /* direct-mapped; a clash only costs another question to the system */
    NAME_SIZE = 64,
    ANSWER_SIZE = 16 * 1024,
    ANSWER_MAX = 1024 * 1024, /* a group's answer holds the names of all its members */
};

typedef struct slot {
    bool used, known;
    uint32_t id;
    uint8_t size;
    char name[NAME_SIZE];
} slot;

struct cf_owners {
    slot user_names[SLOTS], group_names[SLOTS]; /* by number */
    slot user_ids[SLOTS], group_ids[SLOTS];     /* by name */
    size_t answer_size;
    char *answer;
};

cf_err *cf_owners_new(cf_owners **owners) {
    CF_AUTO(cf_owners) made = calloc(1, sizeof *made);
    if (!made) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the names of owners");
    made->answer_size = ANSWER_SIZE;
    made->answer = malloc(made->answer_size);
    if (!made->answer) return cf_fail(CF_ERR_OUT_OF_MEMORY, "the names of owners");
    *owners = cf_take(made);
    return NULL;
}

void cf_owners_free(cf_owners *owners) {
    if (!owners) return;
    free(owners->answer);
    free(owners);
}

/* After ERANGE: is there a larger buffer to try with? */
static bool larger(cf_owners *owners) {
    if (owners->answer_size >= ANSWER_MAX) return false;
    char *answer = realloc(owners->answer, owners->answer_size * 2);
    if (!answer) return false;
    owners->answer = answer;
    owners->answer_size *= 2;
    return true;
}

static bool ask_user(cf_owners *owners, const char *name, uint32_t uid, struct passwd *entry) {
    for (;;) {
        struct passwd *found = NULL;
        int err_no = name ? getpwnam_r(name, entry, owners->answer, owners->answer_size, &found)
                          : getpwuid_r(uid, entry, owners->answer, owners->answer_size, &found);
        if (found) return true;
        if (err_no == EINTR || (err_no == ERANGE && larger(owners))) continue;
        return false;
    }
}

static bool ask_group(cf_owners *owners, const char *name, uint32_t gid, struct group *entry) {
    for (;;) {
        struct group *found = NULL;
        int err_no = name ? getgrnam_r(name, entry, owners->answer, owners->answer_size, &found)
                          : getgrgid_r(gid, entry, owners->answer, owners->answer_size, &found);
        if (found) return true;
        if (err_no == EINTR || (err_no == ERANGE && larger(owners))) continue;
        return false;
    }
}

static cf_span name_in(slot *place, uint32_t id, const char *name) {
    size_t size = name ? strlen(name) : 0;
    if (size > NAME_SIZE) size = 0; /* no system has such names; the number is kept anyway */
    *place = (slot){.used = true, .known = size > 0, .id = id, .size = (uint8_t)size};
    if (size > 0) memcpy(place->name, name, size);
    return cf_span_of(place->name, size);
}

cf_span cf_owners_user(cf_owners *owners, uint32_t uid) {
    slot *place = &owners->user_names[uid % SLOTS];
    if (place->used && place->id == uid) return cf_span_of(place->name, place->size);
    struct passwd entry;
    return name_in(place, uid, ask_user(owners, NULL, uid, &entry) ? entry.pw_name : NULL);
}

cf_span cf_owners_group(cf_owners *owners, uint32_t gid) {
    slot *place = &owners->group_names[gid % SLOTS];
    if (place->used && place->id == gid) return cf_span_of(place->name, place->size);
    struct group entry;
    return name_in(place, gid, ask_group(owners, NULL, gid, &entry) ? entry.gr_name : NULL);
}

static slot *slot_of(slot *slots, cf_span name) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.size; i++) hash = (hash ^ name.data[i]) * 16777619u;
    return &slots[hash % SLOTS];
}

/* The usable form of a name: no NUL inside, not too long; false otherwise. */
static bool usable(cf_span name, char out[NAME_SIZE + 1]) {
    if (name.size == 0 || name.size > NAME_SIZE || memchr(name.data, 0, name.size)) return false;
    memcpy(out, name.data, name.size);
    out[name.size] = 0;
    return true;
}

static bool holds(const slot *place, cf_span name) {
    return place->used && cf_span_equal(cf_span_of(place->name, place->size), name);
}

uint32_t cf_owners_user_id(cf_owners *owners, cf_span name, uint32_t otherwise) {
    char text[NAME_SIZE + 1];
    if (!usable(name, text)) return otherwise;
    slot *place = slot_of(owners->user_ids, name);
    if (!holds(place, name)) {
        struct passwd entry;
        bool known = ask_user(owners, text, 0, &entry);
        (void)name_in(place, known ? entry.pw_uid : 0, text); /* its result is what we hold already */
        place->known = known;
    }
    return place->known ? place->id : otherwise;
}

uint32_t cf_owners_group_id(cf_owners *owners, cf_span name, uint32_t otherwise) {
    char text[NAME_SIZE + 1];
    if (!usable(name, text)) return otherwise;
    slot *place = slot_of(owners->group_ids, name);
    if (!holds(place, name)) {
        struct group entry;
        bool known = ask_group(owners, text, 0, &entry);
        (void)name_in(place, known ? entry.gr_gid : 0, text); /* its result is what we hold already */
        place->known = known;
    }
    return place->known ? place->id : otherwise;
}
