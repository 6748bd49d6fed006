#include "index/table.h"

#include <stdlib.h>
#include <string.h>

#include "index/entry.h"

#define USED (UINT32_C(1) << 31) /* in offset_used; offsets need 21 bits */

typedef struct slot {
    uint8_t id[CF_INDEX_ID_SIZE];
    uint32_t pack_low;
    uint16_t pack_high;
    uint16_t segment;
    uint32_t offset_used;
    uint32_t length;
} slot;

struct cf_index_table {
    size_t mask;
    size_t count;
    slot *slots;
};

cf_err *cf_index_table_new(size_t slots, cf_index_table **table) {
    CF_AUTO(cf_index_table) made = calloc(1, sizeof *made);
    if (made) made->slots = calloc(slots, sizeof *made->slots);
    if (!made || !made->slots) return cf_fail(CF_ERR_OUT_OF_MEMORY, "chunk index: a table of %zu slots", slots);
    made->mask = slots - 1;
    *table = cf_take(made);
    return NULL;
}

void cf_index_table_free(cf_index_table *table) {
    if (!table) return;
    free(table->slots);
    free(table);
}

size_t cf_index_table_count(const cf_index_table *table) {
    return table->count;
}

size_t cf_index_table_limit(const cf_index_table *table) {
    return (table->mask + 1) / 4 * 3;
}

/* The slot of id, or the free one where it would go: the table never gets full, so there is one. */
static slot *locate(const cf_index_table *table, const uint8_t *id) {
    /* Multiplied so that IDs which are not uniform (tests) spread as well. */
    uint64_t hash = (cf_entry_load64(id) ^ cf_entry_load64(id + 8)) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(hash >> 32) & table->mask;
    while ((table->slots[at].offset_used & USED) && memcmp(table->slots[at].id, id, CF_INDEX_ID_SIZE) != 0) {
        at = (at + 1) & table->mask;
    }
    return &table->slots[at];
}

static cf_index_address address_of(const slot *s) {
    return (cf_index_address){
        .pack = s->pack_low | (uint64_t)s->pack_high << 32,
        .segment = s->segment,
        .offset = s->offset_used & ~USED,
        .length = s->length,
    };
}

bool cf_index_table_put(cf_index_table *table, const uint8_t *id, const cf_index_address *address) {
    slot *place = locate(table, id);
    if (place->offset_used & USED) {
        if (address_of(place).pack > address->pack) return true;
    } else {
        if (table->count >= cf_index_table_limit(table)) return false;
        table->count++;
        memcpy(place->id, id, CF_INDEX_ID_SIZE);
    }
    place->pack_low = (uint32_t)address->pack;
    place->pack_high = (uint16_t)(address->pack >> 32);
    place->segment = address->segment;
    place->offset_used = address->offset | USED;
    place->length = address->length;
    return true;
}

bool cf_index_table_find(const cf_index_table *table, const uint8_t *id, cf_index_address *address) {
    const slot *place = locate(table, id);
    if (!(place->offset_used & USED)) return false;
    *address = address_of(place);
    return true;
}

void cf_index_table_clear(cf_index_table *table) {
    if (table->count > 0) memset(table->slots, 0, (table->mask + 1) * sizeof *table->slots);
    table->count = 0;
}

static int compare_slots(const void *a, const void *b, void *context) {
    const cf_index_table *table = context;
    return cf_entry_compare_id(table->slots[*(const uint32_t *)a].id, table->slots[*(const uint32_t *)b].id);
}

void cf_index_table_sort(const cf_index_table *table, uint32_t *order) {
    size_t count = 0;
    for (size_t i = 0; i <= table->mask; i++) {
        if (table->slots[i].offset_used & USED) order[count++] = (uint32_t)i;
    }
    qsort_r(order, count, sizeof *order, compare_slots, (void *)table);
}

void cf_index_table_entry(const cf_index_table *table, uint32_t slot_number, uint8_t *out) {
    cf_index_address address = address_of(&table->slots[slot_number]);
    cf_entry_encode(out, table->slots[slot_number].id, &address);
}
