/* Tree nodes, decoded and kept within a bound of memory, with access to their elements by number and by name.
 *
 * Numbers: the entries of a point are counted in the order of a walk that enters each folder right behind its entry.
 * A folder takes as many numbers as its totals say, and one for itself. So an entry's number says where it is,
 * without a table of inodes, and is the same in every mount of the point.
 * A page counts from 0, so that one page serves wherever its node is used.
 * Threads: any number.                                                                                    */
#ifndef CF_MOUNT_PAGES_H
#define CF_MOUNT_PAGES_H

#include "mount/ahead.h"
#include "sealed/node.h"

/* Numbers of one point; more entries cannot be mounted. */
enum { CF_NUMBER_BITS = 40 };
#define CF_NUMBERS_MAX (1ull << CF_NUMBER_BITS)

typedef struct cf_pages cf_pages;
/* cf_pages_new: limit: bytes of decoded nodes that are kept. ahead: borrowed; may be NULL.                 */
cf_err *cf_pages_new(size_t limit, cf_ahead *ahead, cf_pages **pages) __attribute__((warn_unused_result));
void cf_pages_free(cf_pages *pages); /* NULL-safe; after all pages were released */
CF_DEFINE_AUTO(cf_pages, cf_pages_free)

/* A node of kind 0 or 1, pinned. */
typedef struct cf_page cf_page;
/* cf_pages_get: fails as cf_lane_chunk; NODE_DAMAGED (reasons kind, totals).                              */
cf_err *cf_pages_get(cf_pages *pages, cf_lane *lane, const cf_map *map, const cf_ref *node, cf_page **page)
    __attribute__((warn_unused_result));
void cf_page_release(cf_page *page); /* NULL-safe */
CF_DEFINE_AUTO(cf_page, cf_page_release)

bool cf_page_is_split(const cf_page *page);
uint8_t cf_page_level(const cf_page *page); /* of a split one */
uint32_t cf_page_count(const cf_page *page);
/* cf_page_begin, cf_page_end: the first number of an element, and the one behind its last.                 */
uint64_t cf_page_begin(const cf_page *page, uint32_t index);
uint64_t cf_page_end(const cf_page *page, uint32_t index);
/* cf_page_by_number: the element that the number belongs to; cf_page_count when it is behind all.          */
uint32_t cf_page_by_number(const cf_page *page, uint64_t number);
/* cf_page_by_name: the first element whose name is not below this one; cf_page_count when there is none.   */
uint32_t cf_page_by_name(const cf_page *page, cf_span name);
cf_span cf_page_name(const cf_page *page, uint32_t index);

/* cf_page_lock: what _entry gives is good until _unlock. To be held for moments.                           */
void cf_page_lock(cf_page *page);
void cf_page_unlock(cf_page *page);
void cf_page_entry(cf_page *page, uint32_t index, cf_entry *entry); /* locked; of one that is not split */
void cf_page_part(cf_page *page, uint32_t index, cf_part *part); /* locks by itself; first_name lives with the page */

#endif
