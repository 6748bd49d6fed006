/* Rows as the JSON that the API and the administrator's lists show. New references, NULL without memory. */
#ifndef CF_SERVICE_VALUES_H
#define CF_SERVICE_VALUES_H

#include <jansson.h>

#include "records/records.h"
#include "visible/point.h"

json_t *cf_summary_value(const cf_summary *summary);
json_t *cf_point_value(const cf_point_row *row);
json_t *cf_job_value(const cf_job_row *row);

#endif
