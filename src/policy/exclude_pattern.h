/* One exclusion pattern, taken apart (of policy only). */
#ifndef CF_POLICY_EXCLUDE_PATTERN_H
#define CF_POLICY_EXCLUDE_PATTERN_H

#include "base/buf.h"
#include "base/err.h"

typedef enum cf_piece_kind {
    CF_PIECE_LITERAL, /* this name */
    CF_PIECE_SUFFIX,  /* any name with this end */
    CF_PIECE_GLOB,
    CF_PIECE_DEEP, /* a double star: any number of folders */
} cf_piece_kind;

/* What stands between two slashes. */
typedef struct cf_piece {
    cf_piece_kind kind;
    cf_span text; /* LITERAL, SUFFIX: without escapes; GLOB: as written */
} cf_piece;

typedef struct cf_pattern {
    char *given;
    uint8_t *bytes; /* what the pieces point into */
    cf_piece *pieces;
    size_t count;      /* 0: can never match */
    const char *never; /* why; a literal; NULL: it can */
    cf_span body;      /* in given: without '!', the slashes around it and trailing blanks */
    bool negated, folders_only;
    bool floating; /* one piece, for a name at any depth */
} cf_pattern;

/* cf_pattern_parse: fails only without memory. */
cf_err *cf_pattern_parse(const char *text, cf_pattern *out) __attribute__((warn_unused_result));
void cf_pattern_wipe(cf_pattern *pattern);
bool cf_piece_match(const cf_piece *piece, cf_span name);

#endif
