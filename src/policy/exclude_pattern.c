#include "policy/exclude_pattern.h"

#include <stdlib.h>

#include "policy/policy.h"

/* ---- Character classes: the rules of Git's wildmatch, which are those of gitignore(5) ---- */

typedef struct class_walk {
    const uint8_t *at, *end;
    uint8_t byte;
    bool hit;
} class_walk;

static bool is_between(uint8_t byte, uint8_t first, uint8_t last) {
    return first <= byte && byte <= last;
}

static bool is_letter(uint8_t byte) {
    return is_between(byte, 'a', 'z') || is_between(byte, 'A', 'Z');
}

/* *known is false for a word that names no class. */
static bool in_named_class(cf_span word, uint8_t byte, bool *known) {
    static const char *const names[] = {"alnum", "alpha", "blank", "cntrl", "digit", "graph",
                                        "lower", "print", "punct", "space", "upper", "xdigit"};
    size_t number = 0;
    while (number < 12 && !cf_span_equal(word, cf_span_text(names[number]))) number++;
    *known = number < 12;
    bool digit = is_between(byte, '0', '9'), letter = is_letter(byte), graph = is_between(byte, 33, 126);
    switch (number) {
    case 0:
        return letter || digit;
    case 1:
        return letter;
    case 2:
        return byte == ' ' || byte == '\t';
    case 3:
        return byte < 32 || byte == 127;
    case 4:
        return digit;
    case 5:
        return graph;
    case 6:
        return is_between(byte, 'a', 'z');
    case 7:
        return graph || byte == ' ';
    case 8:
        return graph && !letter && !digit;
    case 9:
        return byte == ' ' || is_between(byte, '\t', '\r');
    case 10:
        return is_between(byte, 'A', 'Z');
    case 11:
        return digit || is_between(byte, 'a', 'f') || is_between(byte, 'A', 'F');
    default:
        return false;
    }
}

/* "[:word:]" at w->at, which is its first '['. False: there is none here. *bad: there is one that is unknown. */
static bool take_named(class_walk *w, bool *bad) {
    const uint8_t *word = w->at + 2, *close = word;
    if (w->end - w->at < 2 || w->at[1] != ':') return false;
    while (close < w->end && *close != ']') close++;
    if (close == w->end) {
        *bad = true;
        return true;
    }
    if (close == word || close[-1] != ':') return false;
    bool known;
    if (in_named_class(cf_span_of(word, (size_t)(close - word) - 1), w->byte, &known)) w->hit = true;
    *bad = !known;
    w->at = close + 1;
    return true;
}

static bool take_escaped(class_walk *w, uint8_t *byte) {
    if (*w->at == '\\' && ++w->at == w->end) return false;
    *byte = *w->at++;
    return true;
}

/* A class that begins behind the '[' at from: where it ends (behind the ']'), NULL when it does not. *hit: is byte in
 * it? */
static const uint8_t *match_class(const uint8_t *from, const uint8_t *end, uint8_t byte, bool *hit) {
    class_walk w = {from, end, byte, false};
    bool negated = w.at < end && (*w.at == '!' || *w.at == '^');
    if (negated) w.at++;
    int before = -1; /* a range may begin with it */
    for (bool first = true; w.at < end && (first || *w.at != ']'); first = false) {
        bool bad = false;
        uint8_t low;
        if (*w.at == '-' && before > 0 && end - w.at > 1 && w.at[1] != ']') {
            w.at++;
            if (!take_escaped(&w, &low)) return NULL;
            if (is_between(byte, (uint8_t)before, low)) w.hit = true;
            before = -1;
            continue;
        }
        if (*w.at == '[' && take_named(&w, &bad)) {
            if (bad) return NULL;
            before = -1;
            continue;
        }
        if (!take_escaped(&w, &low)) return NULL;
        if (low == byte) w.hit = true;
        before = low;
    }
    if (w.at >= end) return NULL;
    *hit = w.hit != negated;
    return w.at + 1;
}

/* ---- Matching a name ---- */

/* One byte of a name against the pattern at *at, which is moved behind it. The classes were checked. */
static bool match_one(cf_span glob, size_t *at, uint8_t byte) {
    uint8_t first = glob.data[*at];
    bool hit = false;
    switch (first) {
    case '?':
        ++*at;
        return true;
    case '\\':
        *at += 2;
        return glob.data[*at - 1] == byte;
    case '[': {
        const uint8_t *next = match_class(glob.data + *at + 1, glob.data + glob.size, byte, &hit);
        *at = next ? (size_t)(next - glob.data) : glob.size;
        return next && hit;
    }
    default:
        ++*at;
        return first == byte;
    }
}

/* A name holds no slash, so only the last star needs to be remembered: at worst pattern * name steps. */
static bool match_glob(cf_span glob, cf_span name) {
    size_t p = 0, n = 0, star_p = SIZE_MAX, star_n = 0;
    while (n < name.size || p < glob.size) {
        if (p < glob.size && glob.data[p] == '*') {
            star_p = ++p;
            star_n = n;
            continue;
        }
        if (p < glob.size && n < name.size && match_one(glob, &p, name.data[n])) {
            n++;
            continue;
        }
        if (star_p == SIZE_MAX || star_n >= name.size) return false;
        p = star_p;
        n = ++star_n;
    }
    return true;
}

bool cf_piece_match(const cf_piece *piece, cf_span name) {
    cf_span text = piece->text;
    switch (piece->kind) {
    case CF_PIECE_LITERAL:
        return cf_span_equal(text, name);
    case CF_PIECE_SUFFIX:
        return name.size >= text.size && memcmp(name.data + name.size - text.size, text.data, text.size) == 0;
    case CF_PIECE_GLOB:
        return match_glob(text, name);
    default:
        return true;
    }
}

/* ---- Taking apart ---- */

/* Blanks at the end do not count unless a backslash stands before them. */
static size_t without_blanks(const char *text) {
    size_t end = 0;
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == '\\' && text[i + 1])
            i++;
        else if (text[i] == ' ')
            continue;
        end = i + 1;
    }
    return end;
}

/* The end of the piece that begins at `at`: its slash, or end; a slash inside a class does not count, an escaped one
 * does. *size: its bytes. *special: not only literal ones. NULL: a class or escape has no end. */
static uint8_t *piece_end(uint8_t *at, uint8_t *end, size_t *size, bool *special) {
    uint8_t *from = at;
    *special = false;
    while (at < end && *at != '/') {
        bool hit;
        *size = (size_t)(at - from);
        if (*at == '\\' && end - at < 2) return NULL;
        if (*at == '\\' && at[1] == '/') return at + 1;
        if (*at == '*' || *at == '?' || *at == '[') *special = true;
        if (*at == '[') {
            const uint8_t *next = match_class(at + 1, end, 0, &hit);
            if (!next) return NULL;
            at += next - at;
        } else {
            at += *at == '\\' ? 2 : 1;
        }
    }
    *size = (size_t)(at - from);
    return at;
}

static cf_span without_escapes(uint8_t *bytes, size_t size) {
    size_t kept = 0;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\\' && i + 1 < size) i++;
        bytes[kept++] = bytes[i];
    }
    return cf_span_of(bytes, kept);
}

static bool is_plain(cf_span text) {
    for (size_t i = 0; i < text.size; i++)
        if (strchr("*?[\\", text.data[i])) return false;
    return true;
}

static bool only_stars(cf_span text) {
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '*') return false;
    return true;
}

static cf_piece piece_of(uint8_t *bytes, size_t size, bool special) {
    cf_span text = cf_span_of(bytes, size);
    if (!special) return (cf_piece){CF_PIECE_LITERAL, without_escapes(bytes, size)};
    if (size > 1 && only_stars(text)) return (cf_piece){CF_PIECE_DEEP, text};
    cf_span tail = cf_span_of(bytes + 1, size - 1);
    if (*bytes == '*' && is_plain(tail)) return (cf_piece){CF_PIECE_SUFFIX, tail};
    return (cf_piece){CF_PIECE_GLOB, text};
}

/* Why the pattern can never match; NULL when it can. */
static const char *cut(cf_pattern *out, uint8_t *at, uint8_t *end) {
    for (;;) {
        bool special;
        size_t size = 0;
        uint8_t *stop = piece_end(at, end, &size, &special);
        if (!stop) return "a '[' without its ']', an unknown [:class:], or a backslash at the end";
        if (size == 0) return "two slashes side by side, or nothing beside one";
        cf_piece piece = piece_of(at, size, special);
        if (piece.kind == CF_PIECE_LITERAL &&
            (cf_span_equal(piece.text, cf_span_text(".")) || cf_span_equal(piece.text, cf_span_text(".."))))
            return "'.' and '..' are not names of files";
        bool again = piece.kind == CF_PIECE_DEEP && out->count && out->pieces[out->count - 1].kind == CF_PIECE_DEEP;
        if (!again) out->pieces[out->count++] = piece; /* two double stars mean what one means */
        if (stop == end) return NULL;
        at = stop + 1;
    }
}

cf_err *cf_pattern_parse(const char *text, cf_pattern *out) {
    *out = (cf_pattern){.given = strdup(text)};
    size_t size = without_blanks(text), start = 0;
    out->bytes = malloc(size + 1);
    out->pieces = calloc(size / 2 + 2, sizeof *out->pieces);
    if (!out->given || !out->bytes || !out->pieces) {
        cf_pattern_wipe(out);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "an exclusion");
    }
    memcpy(out->bytes, text, size);
    if (size == 0) out->never = "it is empty";
    if (*text == '#') out->never = "a line that begins with # is a comment (a name: \\#...)";
    if (size > CF_POLICY_TEXT_MAX) out->never = "it is too long";
    if (out->never) return NULL;
    out->negated = *text == '!';
    start += out->negated;
    out->folders_only = size > start && text[size - 1] == '/';
    size -= out->folders_only;
    out->floating = !memchr(text + start, '/', size - start);
    start += size > start && text[start] == '/';
    out->body = cf_span_of(out->given + start, size - start);
    out->never = cut(out, out->bytes + start, out->bytes + size);
    if (out->never) out->count = 0;
    /* A name at any depth, said in the long way. */
    if (out->count == 2 && out->pieces[0].kind == CF_PIECE_DEEP && out->pieces[1].kind != CF_PIECE_DEEP) {
        out->pieces[0] = out->pieces[1];
        out->count = 1;
        out->floating = true;
    }
    return NULL;
}

void cf_pattern_wipe(cf_pattern *pattern) {
    free(pattern->given);
    free(pattern->bytes);
    free(pattern->pieces);
    *pattern = (cf_pattern){0};
}
