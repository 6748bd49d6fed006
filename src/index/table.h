/* The entries that are not in a run yet: a hash table of fixed size, 32 bytes for each slot. Internal to the index.
 * Threads: readers together, or one writer alone.                                                          */
#ifndef CF_INDEX_TABLE_H
#define CF_INDEX_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "index/address.h"

typedef struct cf_index_table cf_index_table;

/* cf_index_table_new: slots: a power of two, 16 .. 2^26; holds three quarters of that.                       */
cf_err *cf_index_table_new(size_t slots, cf_index_table **table) __attribute__((warn_unused_result));
void cf_index_table_free(cf_index_table *table); /* NULL-safe */
CF_DEFINE_AUTO(cf_index_table, cf_index_table_free)
size_t cf_index_table_count(const cf_index_table *table);
size_t cf_index_table_limit(const cf_index_table *table);
/* cf_index_table_put: the higher pack stays when the ID is there; false when the table is full.              */
bool cf_index_table_put(cf_index_table *table, const uint8_t *id, const cf_index_address *address);
bool cf_index_table_find(const cf_index_table *table, const uint8_t *id, cf_index_address *address);
void cf_index_table_clear(cf_index_table *table);
/* cf_index_table_sort: fix the order that cf_index_table_entry counts in (ascending by ID); valid until the next put.
 * order has room for cf_index_table_count numbers.                                                           */
void cf_index_table_sort(const cf_index_table *table, uint32_t *order);
/* cf_index_table_entry: the 30 bytes of the entry in a slot named by cf_index_table_sort.                          */
void cf_index_table_entry(const cf_index_table *table, uint32_t slot, uint8_t *out);

#endif
