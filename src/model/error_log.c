/* Reading one report: cleaned text in, lists out. facts: torch/nn/modules/module.py of 0.2 to 2.14, mmcv's
 * runner/checkpoint.py; what happens to the text on its way is in error_log_text.c. */
#include "model/error_log_internal.h"

#include <stdlib.h>

enum {
    MAX_NAME = 4096, /* bytes of one key */
    MAX_CLASS = 200, /* bytes of the model's class */
    CUT_PHRASE = 4,  /* letters of a phrase at the text's end that are no chance */
    WRAP_WIDTH = 60, /* a shorter line did not end because it was full */
    EXCERPT = 2000
};

/* ---- small steps ---- */

void qs_log_skip_blanks(qs_log_parser *p) {
    while (p->at < p->s.n && qs_log_is_blank(p->s.p[p->at])) p->at++;
}

static char peek(const qs_log_parser *p) {
    return p->at < p->s.n ? p->s.p[p->at] : '\0';
}

static bool dots_at(const qs_log_parser *p, size_t at) {
    return p->s.n - at >= 3 && at < p->s.n && memcmp(p->s.p + at, "...", 3) == 0;
}

/* Nothing failed but the text itself. */
static bool fine(const qs_log_parser *p) {
    return p->err->code == QS_OK;
}

bool qs_log_keep_word(qs_log_parser *p, qs_str *out) {
    if (p->word.failed) return qs_nomem(p->err);
    *out = qs_arena_str(&p->log->arena, qs_buf_str(&p->word));
    return out->p || qs_nomem(p->err);
}

void qs_log_start_word(qs_log_parser *p) {
    p->word.n = 0;
}

/* ---- lists of names ---- */

bool qs_log_add_name(qs_log_parser *p, bool missing) {
    qs_error_log *log = p->log;
    qs_str name;
    qs_map *seen = missing ? &p->missing : &p->unexpected;
    if (p->word.n == 0 && !p->word.failed) return true;
    if (missing) log->missing_printed++;
    if (!p->word.failed && qs_map_get(seen, qs_buf_str(&p->word)) != QS_MAP_NONE) return true;
    if (!qs_log_keep_word(p, &name)) return false;
    bool ok = missing ? qs_push(&log->missing, name) : qs_push(&log->unexpected, name);
    return (ok && qs_map_put(seen, name, 0)) || qs_nomem(p->err);
}

/* A run of blanks inside a name is where a terminal broke the line; one without a line end belongs to the
 * name. */
static void add_blanks_of_name(qs_log_parser *p) {
    size_t from = p->at;
    bool broken = false;
    for (; p->at < p->s.n && qs_log_is_blank(p->s.p[p->at]); p->at++) broken |= p->s.p[p->at] == '\n';
    if (!broken) qs_buf_add(&p->word, qs_str_sub(p->s, from, p->at));
}

/* Is the comma here one between names: blanks and a quote after it? */
static bool next_name_after(const qs_log_parser *p) {
    size_t at = p->at + 1;
    while (at < p->s.n && qs_log_is_blank(p->s.p[at])) at++;
    return at > p->at + 1 && at < p->s.n && (p->s.p[at] == '"' || p->s.p[at] == '\'');
}

/* The rest of a name whose opening quote was read. False: the text ends, or a name cannot be that long. */
static bool read_quoted(qs_log_parser *p, char quote) {
    qs_log_start_word(p);
    while (p->at < p->s.n && p->word.n < MAX_NAME) {
        char c = p->s.p[p->at];
        if (c == quote) {
            p->at++;
            return true;
        }
        if (dots_at(p, p->at)) return false;
        if (c == ',' && next_name_after(p)) return true; /* its quote is lost */
        if (qs_log_is_blank(c)) {
            add_blanks_of_name(p);
            continue;
        }
        qs_buf_addc(&p->word, c);
        p->at++;
    }
    return false;
}

bool qs_log_is_name_char(char c) {
    return c && !qs_log_is_blank(c) && !strchr(",\"'()[]{}<>;", c);
}

/* "" before a name: a field of CSV. Alone it is a name of no letters. */
static bool is_doubled_quote(const qs_log_parser *p) {
    return p->s.n - p->at > 2 && p->s.p[p->at] == '"' && p->s.p[p->at + 1] == '"' &&
           qs_log_is_name_char(p->s.p[p->at + 2]);
}

static bool read_quoted_list(qs_log_parser *p, bool missing) {
    for (bool more = false;; more = true) {
        while (p->at < p->s.n && (qs_log_is_blank(peek(p)) || peek(p) == ',')) p->at++;
        char quote = peek(p);
        if (quote != '"' && quote != '\'') {
            p->log->truncated |= more || dots_at(p, p->at);
            return true;
        }
        bool doubled = is_doubled_quote(p);
        p->at += doubled ? 2 : 1;
        if (!read_quoted(p, quote)) {
            p->log->truncated = true;
            return !p->word.failed || qs_nomem(p->err);
        }
        if (doubled && peek(p) == quote) p->at++;
        if (!qs_log_add_name(p, missing)) return false;
        qs_log_skip_blanks(p);
        if (p->at == p->s.n) p->log->truncated = true; /* a list ends in a full stop or a bracket */
        if (peek(p) != ',' && !dots_at(p, p->at)) return true;
    }
}

/* Is the line at `at` nothing but names with commas between, so that it can continue a list? */
static bool is_list_line(qs_str s, size_t at) {
    bool in_name = false, gap = false, comma = false;
    for (; at < s.n && s.p[at] != '\n'; at++) {
        char c = s.p[at];
        if (c == ',') {
            if (!in_name) return false;
            in_name = gap = false;
            comma = true;
        } else if (c == ' ') {
            gap = in_name;
        } else {
            if (!qs_log_is_name_char(c) || gap) return false; /* two words without a comma */
            in_name = true;
        }
    }
    return comma || in_name;
}

/* At a line end within an unquoted list: does the list go on in the next line? */
static bool list_goes_on(const qs_log_parser *p, size_t line_start, bool after_comma) {
    size_t end = 0, next = p->at + 1;
    if (next >= p->s.n || p->s.p[next] == '\n' || qs_log_phrase_at(p->s, next, &end, NULL)) return false;
    return (after_comma || p->at - line_start >= WRAP_WIDTH) && is_list_line(p->s, next);
}

static size_t line_start_of(const qs_log_parser *p) {
    size_t at = p->at;
    while (at > 0 && p->s.p[at - 1] != '\n') at--;
    return at;
}

static bool end_of_unquoted(qs_log_parser *p, bool missing) {
    if (dots_at(p, p->at) || (p->word.n >= 3 && memcmp(p->word.p + p->word.n - 3, "...", 3) == 0)) {
        p->log->truncated = true;
        return true;
    }
    if (p->word.n && p->word.p[p->word.n - 1] == '.') p->word.n--;
    return qs_log_add_name(p, missing);
}

/* mmcv: a, b, c up to the end of the line. */
static bool read_unquoted_list(qs_log_parser *p, bool missing) {
    bool after_comma = true;
    size_t line = line_start_of(p);
    qs_log_start_word(p);
    for (; p->at < p->s.n && p->word.n < MAX_NAME; p->at++) {
        char c = p->s.p[p->at];
        if (c == '\n') {
            if (!list_goes_on(p, line, after_comma)) break;
            line = p->at + 1;
        } else if (c == ',') {
            if (!qs_log_add_name(p, missing)) return false;
            qs_log_start_word(p);
            after_comma = true;
        } else if (c == ' ') {
            if (!after_comma) break;
        } else if (qs_log_is_name_char(c) && !dots_at(p, p->at)) {
            qs_buf_addc(&p->word, c);
            after_comma = false;
        } else {
            break;
        }
    }
    return end_of_unquoted(p, missing);
}

bool qs_log_read_list(qs_log_parser *p, bool missing) {
    qs_log_skip_blanks(p);
    size_t start = p->at;
    while (p->at < p->s.n && strchr("[({\"", peek(p))) p->at++; /* "{'a', 'b'}" of torch 0.2 */
    while (p->at > start && p->s.p[p->at - 1] == '"') p->at--;
    char c = peek(p);
    if (c == '"' || c == '\'' || dots_at(p, p->at)) return read_quoted_list(p, missing);
    if (p->at > start) return true; /* an empty list */
    return read_unquoted_list(p, missing);
}

/* unexpected key "a" in state_dict, of torch 0.2 */
static bool read_old_unexpected(qs_log_parser *p) {
    if (!read_quoted(p, '"')) return true;
    return qs_log_add_name(p, false);
}

/* ---- shapes ---- */

/* [64, 3]: digits may be broken by line ends, so blanks do not separate. */
bool qs_log_read_shape(qs_log_parser *p, char bracket, qs_shape *out) {
    int64_t dim[64], v = 0;
    uint32_t n = 0;
    bool digits = false;
    for (; p->at < p->s.n; p->at++) {
        char c = p->s.p[p->at];
        if (c >= '0' && c <= '9') {
            digits = true;
            if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
                __builtin_add_overflow(v, (int64_t)(c - '0'), &v))
                return false;
        } else if (c == ',' || c == bracket) {
            if (digits && (n >= p->ndim || n >= 64)) return false;
            if (digits) dim[n++] = v;
            digits = false;
            v = 0;
            if (c == bracket) break;
        } else if (!qs_log_is_blank(c)) {
            return false;
        }
    }
    if (peek(p) != bracket) return false;
    p->at++;
    int64_t *copy = QS_ARENA_ARRAY(&p->log->arena, n ? n : 1, int64_t);
    if (!copy) return qs_nomem(p->err);
    if (n) memcpy(copy, dim, n * sizeof *dim);
    *out = (qs_shape){n, n ? copy : NULL};
    return true;
}

bool qs_log_find_shape(qs_log_parser *p, qs_shape *out) {
    enum { SENTENCE = 400 };
    size_t stop = p->at + SENTENCE, end;
    for (; p->at < p->s.n && p->at < stop; p->at++) {
        if (p->s.p[p->at] != 't') continue;
        end = qs_log_words_at(p->s, p->at, "torch.Size([", NULL);
        if (!end) continue;
        p->at = end;
        return qs_log_read_shape(p, ']', out);
    }
    return false;
}

bool qs_log_add_mismatch(qs_log_parser *p, qs_str key, bool known, qs_shape in_checkpoint,
                         qs_shape in_model) {
    if (qs_map_get(&p->mismatched, key) != QS_MAP_NONE) return true;
    qs_log_mismatch m = {key, known, in_checkpoint, in_model};
    return (qs_push(&p->log->mismatches, m) && qs_map_put(&p->mismatched, key, 0)) || qs_nomem(p->err);
}

bool qs_log_read_name_before(qs_log_parser *p, const char *words) {
    qs_log_start_word(p);
    qs_log_skip_blanks(p);
    for (; p->at < p->s.n && p->word.n < MAX_NAME; p->at++) {
        char c = p->s.p[p->at];
        if (c == words[0] && qs_log_words_at(p->s, p->at, words, NULL)) return p->word.n > 0;
        if (!qs_log_is_blank(c) && c != '"' && c != '\'') qs_buf_addc(&p->word, c);
    }
    return false;
}

/* size mismatch for K: copying a param with shape S from checkpoint, the shape in current model is S. */
static bool read_size(qs_log_parser *p) {
    qs_shape in_checkpoint, in_model;
    qs_str key;
    if (!qs_log_read_name_before(p, ": copying")) {
        p->log->truncated = true;
        return !p->word.failed || qs_nomem(p->err);
    }
    if (!qs_log_keep_word(p, &key)) return false;
    bool known = qs_log_find_shape(p, &in_checkpoint) && qs_log_find_shape(p, &in_model);
    if (!fine(p)) return false;
    if (!known) p->log->truncated = true;
    return !known || qs_log_add_mismatch(p, key, true, in_checkpoint, in_model);
}

/* ... named K, whose dimensions in the model are S and whose dimensions in the checkpoint are S; or named K,
 * expected torch.Tensor ... but received <class 'list'> */
static bool read_copying(qs_log_parser *p) {
    qs_shape in_checkpoint = {0}, in_model = {0};
    qs_str key;
    size_t start = p->at;
    bool other = false, dims = qs_log_read_name_before(p, ", whose dimensions");
    if (!dims) {
        p->at = start;
        other = qs_log_read_name_before(p, ", expected");
    }
    if (!dims && !other) return !p->word.failed || qs_nomem(p->err);
    if (!qs_log_keep_word(p, &key)) return false;
    if (other) return qs_log_add_mismatch(p, key, false, in_checkpoint, in_model);
    bool known = qs_log_find_shape(p, &in_model) && qs_log_find_shape(p, &in_checkpoint);
    return fine(p) && qs_log_add_mismatch(p, key, known, in_checkpoint, in_model);
}

/* | key | torch.Size([expected]) | torch.Size([loaded]) | ... of mmcv; the first bar is gone with the prefix.
 */
static bool read_table(qs_log_parser *p) {
    while (p->at < p->s.n) {
        qs_log_skip_blanks(p);
        size_t start = p->at, end = start;
        while (end < p->s.n && p->s.p[end] != '\n') end++;
        qs_str line = qs_str_sub(p->s, start, end);
        if (line.n == 0 || (line.p[0] != '+' && qs_str_find(line, QS_STR("|")) == SIZE_MAX)) return true;
        size_t bar = qs_str_find(line, QS_STR(" "));
        if (line.p[0] != '+' && qs_str_find(line, QS_STR("torch.Size")) != SIZE_MAX && bar != SIZE_MAX) {
            qs_str key = qs_arena_str(&p->log->arena, qs_str_sub(line, 0, bar));
            qs_shape model, checkpoint;
            if (!key.p) return qs_nomem(p->err);
            if (qs_log_find_shape(p, &model) && qs_log_find_shape(p, &checkpoint) && p->at <= end &&
                !qs_log_add_mismatch(p, key, true, checkpoint, model))
                return false;
            if (!fine(p)) return false;
        }
        p->at = end;
    }
    return true;
}

/* ---- the report ---- */

/* The class, up to its colon; it too may be broken by a line end. */
static bool read_class(qs_log_parser *p) {
    qs_log_start_word(p);
    qs_log_skip_blanks(p);
    size_t from = p->at;
    for (; p->at < p->s.n && p->at - from < MAX_CLASS; p->at++) {
        char c = p->s.p[p->at];
        if (c == ':' || dots_at(p, p->at)) break;
        if (!qs_log_is_blank(c)) qs_buf_addc(&p->word, c);
    }
    if (peek(p) != ':') {
        p->at = from;
        p->log->truncated = true;
        return true;
    }
    p->at++;
    return qs_log_keep_word(p, &p->log->model);
}

static bool read_phrase(qs_log_parser *p, qs_log_phrase phrase, qs_str head) {
    switch (phrase) {
    case QS_PHRASE_STRICT: return read_class(p);
    case QS_PHRASE_MISSING:
    case QS_PHRASE_SOURCE_MISSING:
    case QS_PHRASE_OLD_MISSING:
    case QS_PHRASE_LIST_MISSING: return qs_log_read_list(p, true);
    case QS_PHRASE_UNEXPECTED:
    case QS_PHRASE_SOURCE_UNEXPECTED:
    case QS_PHRASE_LIST_UNEXPECTED: return qs_log_read_list(p, false);
    case QS_PHRASE_OLD_UNEXPECTED: return read_old_unexpected(p);
    case QS_PHRASE_SIZE: return read_size(p);
    case QS_PHRASE_COPYING:
    case QS_PHRASE_SWAPPING: return read_copying(p);
    case QS_PHRASE_SHAPE_TABLE: return read_table(p);
    case QS_PHRASE_MATCHED:
    case QS_PHRASE_INCOMPATIBLE:
    case QS_PHRASE_MMCV:
    case QS_PHRASE_NONE: return true;
    default: return qs_log_read_library(p, phrase, head);
    }
}

static qs_log_form form_of(qs_log_phrase first) {
    switch (first) {
    case QS_PHRASE_MATCHED: return QS_LOG_FORM_MATCHED;
    case QS_PHRASE_INCOMPATIBLE: return QS_LOG_FORM_INCOMPATIBLE;
    case QS_PHRASE_MMCV:
    case QS_PHRASE_SOURCE_MISSING:
    case QS_PHRASE_SOURCE_UNEXPECTED: return QS_LOG_FORM_MMCV;
    case QS_PHRASE_DIFFUSERS_MISSING: return QS_LOG_FORM_STRICT;
    default: return qs_log_is_library(first) ? QS_LOG_FORM_WARNING : QS_LOG_FORM_STRICT;
    }
}

static bool begins_line(const qs_log_parser *p) {
    size_t at = p->at;
    while (at > 0 && p->s.p[at - 1] == ' ') at--;
    return at == 0 || p->s.p[at - 1] == '\n';
}

static bool read_report(qs_log_parser *p, qs_str head, size_t *rest) {
    qs_log_phrase first = QS_PHRASE_NONE;
    size_t text_end = p->s.n;
    while (text_end > 0 && qs_log_is_blank(p->s.p[text_end - 1])) text_end--;
    while (p->at < p->s.n) {
        size_t end = 0;
        bool partial = false;
        qs_log_phrase phrase = qs_log_phrase_at(p->s, p->at, &end, &partial);
        if (phrase == QS_PHRASE_NONE) {
            if (partial && text_end >= p->at + CUT_PHRASE && begins_line(p)) p->log->truncated = true;
            p->at++;
            continue;
        }
        if (first == QS_PHRASE_NONE) p->log->form = form_of(first = phrase);
        p->at = end;
        if (!read_phrase(p, phrase, head)) return false;
        *rest = p->s.n - p->at;
    }
    return true;
}

bool qs_log_read_report(qs_str head, qs_str raw, const qs_limits *limits, qs_error_log **out, size_t *rest,
                        qs_err *e) {
    qs_buf text = {0}, lines = {0};
    qs_log_parser p = {.ndim = (uint32_t)limits->ndim, .err = e};
    bool ok = false;
    p.log = calloc(1, sizeof *p.log);
    if (!p.log || !qs_log_unwrap_lines(head, raw, &lines) || !qs_log_clean(qs_buf_str(&lines), &text)) {
        qs_nomem(e);
        goto done;
    }
    p.s = qs_buf_str(&text);
    p.log->excerpt = qs_arena_str(&p.log->arena, qs_str_sub(raw, 0, EXCERPT));
    ok = p.log->excerpt.p ? read_report(&p, head, rest) : qs_nomem(e);
done:
    qs_buf_free(&lines);
    qs_buf_free(&text);
    qs_buf_free(&p.word);
    qs_map_free(&p.missing);
    qs_map_free(&p.unexpected);
    qs_map_free(&p.mismatched);
    if (ok)
        *out = p.log;
    else
        qs_error_log_close(p.log);
    return ok;
}

void qs_error_log_close(qs_error_log *log) {
    if (!log) return;
    qs_vec_free(&log->missing);
    qs_vec_free(&log->unexpected);
    qs_vec_free(&log->mismatches);
    qs_arena_free(&log->arena);
    free(log);
}
