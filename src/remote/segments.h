/* Lists of segments in replies. Of this folder only.                                                     */
#ifndef CF_REMOTE_SEGMENTS_H
#define CF_REMOTE_SEGMENTS_H

#include <jansson.h>

#include "remote/sessions.h"

/* cf_segments_from_json: [{pack, segments: [n...] | "all"}]; ended with cf_remote_segments_free.           */
cf_err *cf_segments_from_json(const json_t *list, const char *what, cf_remote_segments **out, size_t *count)
    __attribute__((warn_unused_result));

#endif
