/* Where a pack's bytes stand: in an object of its own, of which compaction makes new generations, or beside others in a
 * merged object (format, sections 1 and 5).                                                             */
#ifndef CF_SERVICE_PLACE_H
#define CF_SERVICE_PLACE_H

#include "records/records.h"
#include "visible/names.h"

static inline void cf_pack_place(const cf_pack_row *row, char key[CF_NAME_MAX]) {
    if (row->is_merged)
        cf_name_merged(&row->server, &row->merged, key);
    else
        cf_name_pack(&row->server, row->number, &row->session, row->generation, key);
}

#endif
