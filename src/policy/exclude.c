#include "policy/exclude.h"

#include <stdlib.h>

#include "base/text.h"
#include "policy/exclude_pattern.h"

/* Rules live in scopes: the policy's, and one for each source that has rules. Within a folder, rules for a name at any
 * depth are looked up by name, suffix or one after the other; of the rest, the state holds those that can still match:
 * as a rule and how much of it the folders above have used up. */
typedef struct rule {
    cf_pattern pattern;
    size_t next; /* FLOATING and LITERAL: the rule before with the same hash, else SIZE_MAX */
} rule;

typedef struct scope {
    char *path;          /* of the source; NULL: the policy's */
    struct scope *above; /* of the closest source around, or the policy's */
    rule *rules;
    size_t count, room;
    size_t *any; /* FLOATING but not LITERAL, ascending */
    size_t any_count, any_room;
    size_t *buckets; /* FLOATING LITERAL by hash: the last rule, or SIZE_MAX */
    size_t bucket_count, literal_count;
    size_t anchored;   /* how many are not FLOATING */
    bool folders_only; /* one of them is */
} scope;

/* Where sources are: a tree of names from "/". */
typedef struct place {
    char *name;
    bool is_source;
    bool rules_below; /* a source here or below has rules */
    scope *scope;     /* of the source here, when it has rules */
    struct place **children;
    size_t count;
} place;

struct cf_exclude {
    scope policy;
    place root;
    scope **scopes; /* of sources, in order of their paths once written down */
    size_t scope_count, rule_count;
};

/* A rule whose first `piece` pieces the folders above have used up. */
typedef struct active {
    const scope *scope;
    uint32_t rule, piece;
} active;

struct cf_exclude_state {
    const scope *scope; /* innermost */
    const place *place; /* here; NULL: no source at or below */
    size_t count;
    active list[]; /* scopes from the outermost, rules ascending */
};

/* ---- Building ---- */

static cf_err *no_memory(void) {
    return cf_fail(CF_ERR_OUT_OF_MEMORY, "the exclusions");
}

cf_err *cf_exclude_check(const char *pattern) {
    cf_pattern parsed;
    CF_TRY(cf_pattern_parse(pattern, &parsed));
    const char *never = parsed.never;
    cf_pattern_wipe(&parsed);
    if (!never) return NULL;
    CF_AUTO_FREE char *shown = cf_text_printable(cf_span_text(pattern));
    return cf_fail(CF_ERR_BAD_USAGE, "the exclusion \"%s\" can never match: %s", shown ? shown : "?", never);
}

cf_err *cf_exclude_new(cf_exclude **out) {
    *out = calloc(1, sizeof **out);
    return *out ? NULL : no_memory();
}

static void scope_wipe(scope *self) {
    for (size_t i = 0; i < self->count; i++) cf_pattern_wipe(&self->rules[i].pattern);
    free(self->rules);
    free(self->any);
    free(self->buckets);
    free(self->path);
}

static void place_wipe(place *self) {
    for (size_t i = 0; i < self->count; i++) {
        place_wipe(self->children[i]);
        free(self->children[i]);
    }
    free(self->children);
    free(self->name);
}

void cf_exclude_free(cf_exclude *exclude) {
    if (!exclude) return;
    scope_wipe(&exclude->policy);
    place_wipe(&exclude->root);
    for (size_t i = 0; i < exclude->scope_count; i++) {
        scope_wipe(exclude->scopes[i]);
        free(exclude->scopes[i]);
    }
    free(exclude->scopes);
    free(exclude);
}

size_t cf_exclude_count(const cf_exclude *exclude) {
    return exclude->rule_count;
}

/* FNV-1a: names are short and the table is the administrator's own. */
static size_t hash(cf_span name) {
    uint64_t value = 1469598103934665603u;
    for (size_t i = 0; i < name.size; i++) value = (value ^ name.data[i]) * 1099511628211u;
    return (size_t)(value ^ value >> 32);
}

static cf_err *rehash(scope *self, size_t count) {
    size_t *buckets = malloc(count * sizeof *buckets);
    if (!buckets) return no_memory();
    free(self->buckets);
    self->buckets = buckets;
    self->bucket_count = count;
    for (size_t i = 0; i < count; i++) buckets[i] = SIZE_MAX;
    for (size_t i = 0; i < self->count; i++) {
        const cf_pattern *pattern = &self->rules[i].pattern;
        if (!pattern->floating || pattern->count == 0 || pattern->pieces[0].kind != CF_PIECE_LITERAL) continue;
        size_t at = hash(pattern->pieces[0].text) & (count - 1);
        self->rules[i].next = buckets[at];
        buckets[at] = i;
    }
    return NULL;
}

static cf_err *index_rule(scope *self, size_t number) {
    const cf_pattern *pattern = &self->rules[number].pattern;
    if (pattern->count == 0) return NULL;
    if (pattern->folders_only) self->folders_only = true;
    if (!pattern->floating) {
        self->anchored++;
        return NULL;
    }
    if (pattern->pieces[0].kind == CF_PIECE_LITERAL) {
        if (++self->literal_count > self->bucket_count / 2)
            return rehash(self, self->bucket_count ? 4 * self->bucket_count : 8);
        size_t at = hash(pattern->pieces[0].text) & (self->bucket_count - 1);
        self->rules[number].next = self->buckets[at];
        self->buckets[at] = number;
        return NULL;
    }
    if (self->any_count == self->any_room) {
        size_t room = self->any_room ? 2 * self->any_room : 8;
        size_t *any = reallocarray(self->any, room, sizeof *any);
        if (!any) return no_memory();
        self->any = any;
        self->any_room = room;
    }
    self->any[self->any_count++] = number;
    return NULL;
}

static cf_err *scope_add(scope *self, const char *pattern) {
    if (self->count == self->room) {
        size_t room = self->room ? 2 * self->room : 8;
        rule *rules = reallocarray(self->rules, room, sizeof *rules);
        if (!rules) return no_memory();
        self->rules = rules;
        self->room = room;
    }
    rule *made = &self->rules[self->count];
    made->next = SIZE_MAX;
    CF_TRY(cf_pattern_parse(pattern, &made->pattern));
    return index_rule(self, self->count++);
}

static cf_err *child_of(place *self, cf_span name, place **child) {
    for (size_t i = 0; i < self->count; i++)
        if (cf_span_equal(cf_span_text(self->children[i]->name), name)) {
            *child = self->children[i];
            return NULL;
        }
    place **children = reallocarray(self->children, self->count + 1, sizeof *children);
    if (!children) return no_memory();
    self->children = children;
    place *made = calloc(1, sizeof *made);
    if (made) made->name = cf_span_dup_text(name);
    if (!made || !made->name) {
        free(made);
        return no_memory();
    }
    children[self->count++] = *child = made;
    return NULL;
}

/* The next name of a path at *at; false at its end. */
static bool next_name(cf_span path, size_t *at, cf_span *name) {
    while (*at < path.size && path.data[*at] == '/') ++*at;
    size_t from = *at;
    while (*at < path.size && path.data[*at] != '/') ++*at;
    *name = cf_span_of(path.data + from, *at - from);
    return name->size > 0;
}

static cf_err *find_place(cf_exclude *exclude, const char *source, bool rules, place **out) {
    cf_span path = cf_span_text(source), name;
    if (path.size == 0 || *path.data != '/')
        return cf_fail(CF_ERR_BAD_USAGE, "the source \"%s\" of an exclusion is not absolute", source);
    place *at = &exclude->root;
    at->rules_below |= rules;
    for (size_t offset = 0; next_name(path, &offset, &name);) {
        CF_TRY(child_of(at, name, &at));
        at->rules_below |= rules;
    }
    *out = at;
    return NULL;
}

cf_err *cf_exclude_add_source(cf_exclude *exclude, const char *source) {
    place *at = NULL;
    CF_TRY(find_place(exclude, source, false, &at));
    at->is_source = true;
    return NULL;
}

/* What is around each scope changes with each new one: there are few. */
static void link_scopes(place *at, scope *above) {
    if (at->scope) {
        at->scope->above = above;
        above = at->scope;
    }
    for (size_t i = 0; i < at->count; i++) link_scopes(at->children[i], above);
}

static cf_err *scope_of(cf_exclude *exclude, const char *source, scope **out) {
    place *at = NULL;
    CF_TRY(find_place(exclude, source, true, &at));
    at->is_source = true;
    if (!at->scope) {
        scope **scopes = reallocarray(exclude->scopes, exclude->scope_count + 1, sizeof *scopes);
        if (!scopes) return no_memory();
        exclude->scopes = scopes;
        scope *made = calloc(1, sizeof *made);
        if (made) made->path = strdup(source);
        if (!made || !made->path) {
            free(made);
            return no_memory();
        }
        scopes[exclude->scope_count++] = at->scope = made;
        link_scopes(&exclude->root, &exclude->policy);
    }
    *out = at->scope;
    return NULL;
}

cf_err *cf_exclude_add(cf_exclude *exclude, const char *source, const char *pattern) {
    if (exclude->rule_count >= CF_POLICY_PATTERNS_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "more than %d exclusions", CF_POLICY_PATTERNS_MAX);
    scope *to = &exclude->policy;
    if (source) CF_TRY(scope_of(exclude, source, &to));
    CF_TRY(scope_add(to, pattern));
    exclude->rule_count++;
    return NULL;
}

cf_err *cf_exclude_from_policy(const cf_policy *policy, cf_exclude **out) {
    CF_AUTO(cf_exclude) exclude = NULL;
    CF_TRY(cf_exclude_new(&exclude));
    for (size_t i = 0; i < policy->exclude.count; i++) CF_TRY(cf_exclude_add(exclude, NULL, policy->exclude.item[i]));
    for (size_t i = 0; i < policy->source_count; i++) {
        const cf_policy_source *source = &policy->sources[i];
        CF_TRY(cf_exclude_add_source(exclude, source->path));
        for (size_t k = 0; k < source->exclude.count; k++)
            CF_TRY(cf_exclude_add(exclude, source->path, source->exclude.item[k]));
    }
    *out = cf_take(exclude);
    return NULL;
}

/* ---- Walking ---- */

static bool floats(const scope *self) {
    for (; self; self = self->above)
        if (self->any_count || self->literal_count) return true;
    return false;
}

typedef struct state_maker {
    cf_exclude_state *state;
    size_t room;
} state_maker;

static cf_err *push(state_maker *maker, active next) {
    cf_exclude_state *state = maker->state;
    /* Two ways to the same place need to be followed once. They come in ascending order, and no two double stars stand
     * side by side: the other one is the last, or that before it. */
    for (size_t i = state->count; i-- > 0 && state->count - i <= 2;) {
        const active *last = &state->list[i];
        if (last->scope == next.scope && last->rule == next.rule && last->piece == next.piece) return NULL;
    }
    if (state->count == maker->room) {
        size_t room = maker->room ? 2 * maker->room : 8;
        state = realloc(state, sizeof *state + room * sizeof(active));
        if (!state) return no_memory();
        maker->state = state;
        maker->room = room;
    }
    state->list[state->count++] = next;
    return NULL;
}

/* A rule that has come to this piece; a double star also stands for no folder at all. */
static cf_err *arrive(state_maker *maker, const scope *of, size_t number, size_t piece) {
    const cf_pattern *pattern = &of->rules[number].pattern;
    if (piece >= pattern->count) return NULL;
    CF_TRY(push(maker, (active){of, (uint32_t)number, (uint32_t)piece}));
    if (pattern->pieces[piece].kind != CF_PIECE_DEEP || piece + 1 == pattern->count) return NULL;
    return push(maker, (active){of, (uint32_t)number, (uint32_t)piece + 1});
}

static cf_err *begin_scope(state_maker *maker, const scope *begun) {
    maker->state->scope = begun;
    for (size_t i = 0; begun->anchored && i < begun->count; i++)
        if (!begun->rules[i].pattern.floating) CF_TRY(arrive(maker, begun, i, 0));
    return NULL;
}

static cf_err *finish_state(state_maker *maker, cf_err *err, cf_exclude_state **out) {
    cf_exclude_state *made = maker->state;
    bool idle = !err && made->count == 0 && !floats(made->scope) && !(made->place && made->place->rules_below);
    if (err || idle) {
        free(made);
        made = NULL;
    }
    *out = made;
    return err;
}

cf_err *cf_exclude_root(const cf_exclude *exclude, cf_exclude_state **out) {
    *out = NULL;
    if (exclude->rule_count == 0) return NULL;
    state_maker maker = {.state = calloc(1, sizeof *maker.state)};
    if (!maker.state) return no_memory();
    maker.state->place = &exclude->root;
    cf_err *err = begin_scope(&maker, &exclude->policy);
    if (!err && exclude->root.scope) err = begin_scope(&maker, exclude->root.scope);
    return finish_state(&maker, err, out);
}

static const place *place_below(const place *at, cf_span name) {
    for (size_t i = 0; at && i < at->count; i++)
        if (cf_span_equal(cf_span_text(at->children[i]->name), name)) return at->children[i];
    return NULL;
}

cf_err *cf_exclude_enter(const cf_exclude_state *above, cf_span name, cf_exclude_state **out) {
    *out = NULL;
    if (!above) return NULL;
    state_maker maker = {.state = calloc(1, sizeof *maker.state)};
    if (!maker.state) return no_memory();
    maker.state->place = place_below(above->place, name);
    maker.state->scope = above->scope;
    cf_err *err = NULL;
    for (size_t i = 0; !err && i < above->count; i++) {
        const active *at = &above->list[i];
        const cf_piece *piece = &at->scope->rules[at->rule].pattern.pieces[at->piece];
        if (piece->kind == CF_PIECE_DEEP)
            err = arrive(&maker, at->scope, at->rule, at->piece);
        else if (cf_piece_match(piece, name))
            err = arrive(&maker, at->scope, at->rule, at->piece + 1);
    }
    if (!err && maker.state->place && maker.state->place->scope) err = begin_scope(&maker, maker.state->place->scope);
    return finish_state(&maker, err, out);
}

void cf_exclude_state_free(cf_exclude_state *state) {
    free(state);
}

bool cf_exclude_needs_type(const cf_exclude_state *state) {
    for (const scope *at = state ? state->scope : NULL; at; at = at->above)
        if (at->folders_only) return true;
    return false;
}

/* The last rule for a name at any depth that matches, if it stands behind `after`; else after. Numbers are one more
 * than the rule's, 0: none. */
static size_t last_floating(const scope *self, cf_span name, bool is_folder, size_t after) {
    for (size_t i = self->any_count; i-- > 0 && self->any[i] >= after;) {
        const cf_pattern *pattern = &self->rules[self->any[i]].pattern;
        if ((is_folder || !pattern->folders_only) && cf_piece_match(&pattern->pieces[0], name)) {
            after = self->any[i] + 1;
            break;
        }
    }
    if (self->literal_count == 0) return after;
    for (size_t i = self->buckets[hash(name) & (self->bucket_count - 1)]; i != SIZE_MAX && i >= after;
         i = self->rules[i].next) {
        const cf_pattern *pattern = &self->rules[i].pattern;
        if ((is_folder || !pattern->folders_only) && cf_span_equal(pattern->pieces[0].text, name)) return i + 1;
    }
    return after;
}

/* The same for those on their way; *left: how many of state's list belong to outer scopes. */
static size_t last_active(const cf_exclude_state *state, const scope *self, cf_span name, bool is_folder,
                          size_t *left) {
    size_t best = 0;
    for (; *left > 0 && state->list[*left - 1].scope == self; --*left) {
        const active *at = &state->list[*left - 1];
        const cf_pattern *pattern = &self->rules[at->rule].pattern;
        if (best > at->rule || at->piece + 1 < pattern->count || (!is_folder && pattern->folders_only)) continue;
        if (cf_piece_match(&pattern->pieces[at->piece], name)) best = at->rule + 1u;
    }
    return best;
}

bool cf_exclude_name(const cf_exclude_state *state, cf_span name, bool is_folder, cf_exclude_match *match) {
    if (match) *match = (cf_exclude_match){0};
    if (!state) return false;
    size_t left = state->count;
    for (const scope *at = state->scope; at; at = at->above) {
        size_t number = last_floating(at, name, is_folder, last_active(state, at, name, is_folder, &left));
        if (number == 0) continue;
        const cf_pattern *pattern = &at->rules[number - 1].pattern;
        if (match)
            *match = (cf_exclude_match){.matched = true,
                                        .excluded = !pattern->negated,
                                        .pattern = pattern->given,
                                        .source = at->path,
                                        .index = number - 1};
        return !pattern->negated;
    }
    return false;
}

/* ---- A whole path ---- */

typedef struct descent {
    cf_exclude_state *state;
    const place *place;
    cf_exclude_match closed; /* why the folder that we are in is only a way to sources */
    cf_exclude_match last;
} descent;

/* One name further down; false: excluded for good. */
static cf_err *descend(descent *self, cf_span name, bool is_folder, size_t path_size, bool *out) {
    const place *below = place_below(self->place, name);
    *out = false;
    cf_exclude_match match = {0};
    if (!below && self->closed.excluded) {
        self->last = self->closed;
        *out = true;
        return NULL;
    }
    if (below && below->is_source)
        self->closed = match;
    else if (cf_exclude_name(self->state, name, is_folder, &match) && below)
        self->closed = match;
    if (match.matched) match.path_size = path_size;
    if (self->closed.excluded && !self->closed.path_size) self->closed.path_size = path_size;
    self->last = match;
    self->place = below;
    if (match.excluded && !below) {
        *out = true;
        return NULL;
    }
    cf_exclude_state *next = NULL;
    CF_TRY(cf_exclude_enter(self->state, name, &next));
    cf_exclude_state_free(self->state);
    self->state = next;
    return NULL;
}

cf_err *cf_exclude_test(const cf_exclude *exclude, cf_span path, bool is_folder, cf_exclude_match *match) {
    if (path.size == 0 || *path.data != '/') return cf_fail(CF_ERR_BAD_USAGE, "a path to test must be absolute");
    while (path.size > 1 && path.data[path.size - 1] == '/') path.size--;
    descent self = {.place = &exclude->root};
    CF_TRY(cf_exclude_root(exclude, &self.state));
    cf_span name;
    bool out = false;
    cf_err *err = NULL;
    for (size_t at = 0; !err && !out && next_name(path, &at, &name);)
        err = descend(&self, name, is_folder || at < path.size, at, &out);
    cf_exclude_state_free(self.state);
    if (!err) *match = self.closed.excluded && !out ? self.closed : self.last;
    return err;
}

/* ---- Written down ---- */

static void put_escaped(cf_buf *out, const char *path) {
    for (; *path; path++) {
        if (strchr("*?[\\", *path)) cf_buf_put_u8(out, '\\');
        cf_buf_put_u8(out, (uint8_t)*path);
    }
}

static cf_err *write_rule(const scope *self, const cf_pattern *pattern, cf_buf *out) {
    cf_buf_reset(out);
    if (!self->path) {
        cf_buf_put_span(out, cf_span_text(pattern->given));
        return NULL;
    }
    if (pattern->negated) cf_buf_put_u8(out, '!');
    if (strcmp(self->path, "/") != 0) put_escaped(out, self->path);
    cf_buf_put_span(
        out, cf_span_text(pattern->floating && !memchr(pattern->body.data, '/', pattern->body.size) ? "/**/" : "/"));
    cf_buf_put_span(out, pattern->body);
    if (pattern->folders_only) cf_buf_put_u8(out, '/');
    if (out->failed || out->size > CF_POLICY_TEXT_MAX)
        return cf_fail(CF_ERR_TOO_LARGE, "the exclusion %s of the source %s: together longer than %d bytes",
                       pattern->given, self->path, CF_POLICY_TEXT_MAX);
    return NULL;
}

static int by_path(const void *a, const void *b) {
    return strcmp((*(scope *const *)a)->path, (*(scope *const *)b)->path);
}

cf_err *cf_exclude_absolute(const cf_exclude *exclude, cf_err *(*each)(void *context, cf_span pattern), void *context) {
    CF_AUTO_FREE const scope **order = calloc(exclude->scope_count + 1, sizeof *order);
    if (!order) return no_memory();
    order[0] = &exclude->policy;
    for (size_t i = 0; i < exclude->scope_count; i++) order[i + 1] = exclude->scopes[i];
    qsort(order + 1, exclude->scope_count, sizeof *order, by_path); /* what is inside another source comes after it */
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, (size_t)4 * CF_POLICY_TEXT_MAX);
    for (size_t i = 0; i <= exclude->scope_count; i++)
        for (size_t k = 0; k < order[i]->count; k++) {
            if (order[i]->rules[k].pattern.count == 0) continue; /* matches nothing */
            CF_TRY(write_rule(order[i], &order[i]->rules[k].pattern, &text));
            CF_TRY(each(context, cf_buf_span(&text)));
        }
    return NULL;
}
