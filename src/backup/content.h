/* Collecting a file's references: inline while they are few, else in lists of lists that are cut where the chunk IDs
 * say, so that a change rewrites few of them (format, section 7, "Content").
 * Memory: at most 2,048 references a level, plus the (pack, segment) pairs and what is used of each (about 16 bytes).
 * Threads: belongs to one.                                                                                    */
#ifndef CF_BACKUP_CONTENT_H
#define CF_BACKUP_CONTENT_H

#include "repo/writer.h"
#include "sealed/node.h"
#include "visible/map.h"

typedef struct cf_content_builder cf_content_builder;

/* store and map are borrowed: list nodes go to store; everything referred to is marked in map. */
cf_err *cf_content_builder_new(cf_writer_lane *store, cf_map *map, cf_content_builder **builder);
void cf_content_builder_free(cf_content_builder *builder);
CF_DEFINE_AUTO(cf_content_builder, cf_content_builder_free)
void cf_content_builder_reset(cf_content_builder *builder);
cf_err *cf_content_builder_add(cf_content_builder *builder, const cf_ref *ref);
/* content and pairs borrow until the next reset. pairs: all (pack, segment) that the content needs, and, when its references
 * are in lists, what of them is used. Once only: then reset.                                                  */
cf_err *cf_content_builder_finish(cf_content_builder *builder, cf_content *content, cf_span *pairs);

#endif
