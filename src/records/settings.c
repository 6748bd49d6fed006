/* Settings and small facts. */
#include <string.h>

#include "records/private.h"

cf_err *cf_records_get_setting(cf_records *records, const char *name, bool *found,
                               char value[CF_SETTING_VALUE_MAX + 1]) {
    CF_AUTO_ROWS cf_db_rows rows = {0};
    bool there = false;
    CF_TRY(cf_db_query(records->db, &rows, "SELECT value FROM settings WHERE name=?", "s", name));
    CF_TRY(cf_db_next(&rows, &there));
    if (there) cf_db_copy_text(&rows, 0, value, CF_SETTING_VALUE_MAX + 1);
    *found = there;
    return NULL;
}

cf_err *cf_records_set_setting(cf_records *records, const char *name, const char *value) {
    if (strlen(name) > CF_SETTING_NAME_MAX || (value && strlen(value) > CF_SETTING_VALUE_MAX))
        return cf_fail(CF_ERR_INTERNAL, "the setting %s is too long", name);
    if (!value) return cf_db_run(records->db, NULL, "DELETE FROM settings WHERE name=?", "s", name);
    return cf_db_run(records->db, NULL, "INSERT OR REPLACE INTO settings(name,value) VALUES(?,?)", "ss", name, value);
}
