/* Rows as the JSON that the API and the administrator's lists show. New references, NULL without memory. */
#ifndef CF_SERVICE_VALUES_H
#define CF_SERVICE_VALUES_H

#include <jansson.h>

#include "policy/retention.h"
#include "records/records.h"
#include "visible/point.h"

json_t *cf_summary_value(const cf_summary *summary);
/* kept: what retention says (service/retention_view.h); NULL: it cannot be told. */
json_t *cf_point_value(const cf_point_row *row, const cf_retained_point *kept);
json_t *cf_job_value(const cf_job_row *row);

#endif
