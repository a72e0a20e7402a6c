#include "repair/pattern.h"

#include "base/vec.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Steps and memory one key may cost. A sane rule needs a few hundred steps; (a*)*b on a long key needs 2^n.
 */
enum { MATCH_LIMIT = 400000, HEAP_KIB = 8192, PATTERN_MAX = 64 << 10 };

/* The replacement as literals and captures in turn. */
typedef struct piece {
    qs_str text; /* literal, if group < 0 */
    int group;
} piece;

struct qs_pattern {
    qs_pattern_kind kind;
    char *text, *replacement; /* copies */
    qs_str prefix, to;
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    QS_VEC(piece) pieces;
};

const char *qs_pattern_kind_name(qs_pattern_kind k) {
    switch (k) {
    case QS_PATTERN_PREFIX: return "prefix";
    case QS_PATTERN_GLOB: return "glob";
    case QS_PATTERN_REGEX: return "regex";
    }
    return "?";
}

static char *copy_text(qs_str s) {
    char *p = malloc(s.n + 1);
    if (!p) return NULL;
    if (s.n) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return p;
}

/* `*` within a component, `**` across, `?` one character; each a capture. Everything else is literal: keys of
 * some frameworks hold brackets and bars. */
static void glob_to_regex(qs_str glob, qs_buf *out) {
    for (size_t i = 0; i < glob.n; i++) {
        char c = glob.p[i];
        if (c == '*' && i + 1 < glob.n && glob.p[i + 1] == '*') {
            qs_buf_addz(out, "(.*)");
            i++;
        } else if (c == '*') {
            qs_buf_addz(out, "([^.]*)");
        } else if (c == '?') {
            qs_buf_addz(out, "([^.])");
        } else {
            if (strchr("\\^$.|+()[]{}#", c)) qs_buf_addc(out, '\\');
            qs_buf_addc(out, c);
        }
    }
}

static bool compile_regex(qs_pattern *p, qs_str text, qs_err *e) {
    int code;
    PCRE2_SIZE at;
    /* DOTALL so that ** and .* mean every key, one with a newline in it too. NEVER_BACKSLASH_C: it could
     * split a character. MATCH_INVALID_UTF: keys come from files, and need not be UTF-8. */
    uint32_t opts = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF |
                    PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    p->code = pcre2_compile((PCRE2_SPTR)(text.p ? text.p : ""), text.n, opts, &code, &at, NULL);
    if (!p->code) {
        PCRE2_UCHAR why[160];
        if (pcre2_get_error_message(code, why, sizeof why) < 0) why[0] = 0;
        return qs_fail(e, QS_E_USAGE, "%s, character %zu: %s", qs_pattern_kind_name(p->kind), (size_t)at + 1,
                       (const char *)why);
    }
    p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    p->context = pcre2_match_context_create(NULL);
    if (!p->data || !p->context) return qs_nomem(e);
    pcre2_set_match_limit(p->context, MATCH_LIMIT);
    pcre2_set_heap_limit(p->context, HEAP_KIB);
    /* Interpreted matching is the fallback when the JIT is not there; it is only slower. */
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    return true;
}

static bool add_literal(qs_pattern *p, qs_str s, qs_err *e) {
    if (s.n == 0) return true;
    return qs_push(&p->pieces, (piece){s, -1}) || qs_nomem(e);
}

/* Group number of the name in ${name}; digits are a number. */
static int group_of(const qs_pattern *p, qs_str name) {
    int n = 0;
    size_t i = 0;
    for (; i < name.n && i < 3 && name.p[i] >= '0' && name.p[i] <= '9'; i++) n = n * 10 + (name.p[i] - '0');
    if (name.n && i == name.n) return n;
    char z[64];
    if (name.n == 0 || name.n >= sizeof z) return -1;
    memcpy(z, name.p, name.n);
    z[name.n] = 0;
    return pcre2_substring_number_from_name(p->code, (PCRE2_SPTR)z);
}

/* The reference after a `$` at to.p[i]; *end is behind it. */
static bool read_reference(qs_pattern *p, qs_str to, size_t i, size_t *end, qs_err *e) {
    size_t from = i + 1, stop = from;
    if (from < to.n && to.p[from] == '{') {
        from++;
        while (stop < to.n && to.p[stop] != '}') stop++;
        if (stop == to.n) return qs_fail(e, QS_E_USAGE, "replacement, character %zu: ${ without }", i + 1);
        *end = stop + 1;
    } else {
        while (stop < to.n && stop < from + 2 && to.p[stop] >= '0' && to.p[stop] <= '9') stop++;
        *end = stop;
    }
    qs_str name = qs_str_sub(to, from, stop);
    if (name.n == 0)
        return qs_fail(e, QS_E_USAGE, "replacement, character %zu: write $1, ${name}, or $$ for a dollar",
                       i + 1);
    uint32_t groups = 0;
    pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    int group = group_of(p, name);
    if (group < 0 || (uint32_t)group > groups)
        return qs_fail(e, QS_E_USAGE,
                       "replacement: $%.*s, but the pattern has %u captures and none of that name",
                       QS_FMT(name), (unsigned)groups);
    return qs_push(&p->pieces, (piece){{NULL, 0}, group}) || qs_nomem(e);
}

static bool compile_replacement(qs_pattern *p, qs_err *e) {
    qs_str to = p->to;
    size_t literal = 0, i = 0;
    while (i < to.n) {
        if (to.p[i] != '$') {
            i++;
            continue;
        }
        if (!add_literal(p, qs_str_sub(to, literal, i), e)) return false;
        if (i + 1 < to.n && to.p[i + 1] == '$') {
            literal = i + 1; /* the second dollar is the literal */
            i += 2;
            continue;
        }
        if (!read_reference(p, to, i, &i, e)) return false;
        literal = i;
    }
    return add_literal(p, qs_str_sub(to, literal, to.n), e);
}

static bool compile(qs_pattern *p, qs_err *e) {
    if (p->kind == QS_PATTERN_PREFIX) return true;
    qs_buf regex = {0};
    if (p->kind == QS_PATTERN_GLOB) glob_to_regex(p->prefix, &regex);
    bool ok = !regex.failed || qs_nomem(e);
    ok = ok && compile_regex(p, p->kind == QS_PATTERN_GLOB ? qs_buf_str(&regex) : p->prefix, e) &&
         compile_replacement(p, e);
    qs_buf_free(&regex);
    return ok;
}

bool qs_pattern_compile(qs_pattern_kind kind, qs_str pattern, qs_str replacement, qs_pattern **out,
                        qs_err *e) {
    if (pattern.n > PATTERN_MAX || replacement.n > PATTERN_MAX)
        return qs_fail(e, QS_E_USAGE, "the pattern is longer than %d bytes", PATTERN_MAX);
    qs_pattern *p = calloc(1, sizeof *p);
    if (!p) return qs_nomem(e);
    p->kind = kind;
    p->text = copy_text(pattern);
    p->replacement = copy_text(replacement);
    p->prefix = (qs_str){p->text, pattern.n};
    p->to = (qs_str){p->replacement, replacement.n};
    if (!p->text || !p->replacement)
        qs_nomem(e);
    else if (compile(p, e)) {
        *out = p;
        return true;
    }
    qs_pattern_free(p);
    return false;
}

void qs_pattern_free(qs_pattern *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_match_data_free(p->data);
    pcre2_match_context_free(p->context);
    qs_vec_free(&p->pieces);
    free(p->text);
    free(p->replacement);
    free(p);
}

static bool match_failed(int code, qs_str key, qs_err *e) {
    switch (code) {
    case PCRE2_ERROR_NOMEMORY: return qs_nomem(e);
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
        return qs_fail(e, QS_E_LIMIT, "the pattern takes too many steps on \"%.*s\"; make it simpler",
                       QS_FMT(key));
    default:
        return qs_fail(e, QS_E_USAGE, "the pattern fails on \"%.*s\" (PCRE2 error %d)", QS_FMT(key), code);
    }
}

bool qs_pattern_match(qs_pattern *p, qs_str key, bool *matched, qs_err *e) {
    if (p->kind == QS_PATTERN_PREFIX) {
        *matched = qs_str_starts(key, p->prefix);
        return true;
    }
    int code = pcre2_match(p->code, (PCRE2_SPTR)(key.p ? key.p : ""), key.n, 0, 0, p->data, p->context);
    *matched = code >= 0;
    return code >= 0 || code == PCRE2_ERROR_NOMATCH || match_failed(code, key, e);
}

bool qs_pattern_replace(qs_pattern *p, qs_str key, qs_buf *out, bool *matched, qs_err *e) {
    if (!qs_pattern_match(p, key, matched, e)) return false;
    if (!*matched) return true;
    if (p->kind == QS_PATTERN_PREFIX) {
        qs_buf_add(out, p->to);
        qs_buf_add(out, qs_str_sub(key, p->prefix.n, key.n));
        return !out->failed || qs_nomem(e);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
    uint32_t groups = pcre2_get_ovector_count(p->data);
    for (size_t i = 0; i < p->pieces.n; i++) {
        const piece *x = &p->pieces.v[i];
        if (x->group < 0)
            qs_buf_add(out, x->text);
        else if ((uint32_t)x->group < groups && at[2 * x->group] != PCRE2_UNSET)
            qs_buf_add(out, qs_str_sub(key, at[2 * x->group], at[2 * x->group + 1]));
    }
    return !out->failed || qs_nomem(e);
}
