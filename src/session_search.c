#include "session_search.h"

#include "base/str.h"
#include "base/vec.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_LIMIT = 100000, HEAP_KIB = 4096 };

struct qs_search {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    char *text;
    size_t n;
    bool plain;
};

static bool has_upper(qs_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z') return true;
    return false;
}

/* "a[^b]*+b[^c]*+c": each letter is looked for once, so no text takes long. */
static bool letters_regex(qs_str letters, qs_buf *out) {
    for (size_t i = 0; i < letters.n;) {
        uint32_t cp;
        size_t n = qs_utf8_decode(qs_str_sub(letters, i, letters.n), &cp);
        qs_str c = qs_str_sub(letters, i, i + n);
        bool word =
            cp >= 0x80 || (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z');
        if (n == 0) return false;
        for (int twice = i == 0; twice < 2; twice++) {
            qs_buf_addz(out, twice ? "" : "[^");
            if (!word) qs_buf_addc(out, '\\');
            qs_buf_add(out, c);
            qs_buf_addz(out, twice ? "" : "]*+");
        }
        i += n;
    }
    return !out->failed;
}

static bool compile_regex(qs_search *s, qs_str text) {
    int code;
    PCRE2_SIZE at;
    uint32_t opts = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | (has_upper(text) ? 0 : PCRE2_CASELESS);
    PCRE2_SPTR p = (PCRE2_SPTR)(text.p ? text.p : "");
    s->code = pcre2_compile(p, text.n, opts | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (s->code) return true;
    s->plain = true;
    s->code = pcre2_compile(p, text.n, opts | PCRE2_LITERAL, &code, &at, NULL);
    return s->code != NULL;
}

static bool compile(qs_search *s, qs_str text) {
    qs_buf regex = {0};
    bool letters = text.n > 1 && text.p[0] == '~' && letters_regex(qs_str_sub(text, 1, text.n), &regex);
    bool ok = compile_regex(s, letters ? qs_buf_str(&regex) : text);
    qs_buf_free(&regex);
    return ok;
}

qs_search *qs_search_new(qs_str pattern) {
    qs_search *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->text = malloc(pattern.n + 1);
    if (s->text && pattern.n) memcpy(s->text, pattern.p, pattern.n);
    s->n = pattern.n;
    s->context = pcre2_match_context_create(NULL);
    if (!s->text || !s->context || !compile(s, pattern)) return qs_search_free(s), NULL;
    s->data = pcre2_match_data_create_from_pattern(s->code, NULL);
    if (!s->data) return qs_search_free(s), NULL;
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_heap_limit(s->context, HEAP_KIB);
    /* Without a JIT the interpreter does the same, slower. */
    (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE);
    return s;
}

void qs_search_free(qs_search *s) {
    if (!s) return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_code_free(s->code);
    free(s->text);
    free(s);
}

qs_str qs_search_text(const qs_search *s) {
    return (qs_str){s->text, s->n};
}
bool qs_search_is_plain(const qs_search *s) {
    return s->plain;
}

bool qs_search_match(const qs_search *s, qs_str text, size_t *begin, size_t *end) {
    PCRE2_SPTR p = (PCRE2_SPTR)(text.p ? text.p : "");
    if (pcre2_match(s->code, p, text.n, 0, 0, s->data, s->context) < 0) return false;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->data);
    if (begin) *begin = at[0];
    if (end) *end = at[1] < at[0] ? at[0] : at[1]; /* \K can end a match before it begins */
    return true;
}
