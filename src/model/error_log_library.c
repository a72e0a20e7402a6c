/* What libraries print that load with strict=False: transformers/modeling_utils.py and, since 5.0,
 * utils/loading_report.py; fvcore/common/checkpoint.py (detectron2); lightning/core/saving.py;
 * timm/models/_builder.py; and scripts that print what load_state_dict returned. */
#include "model/error_log_internal.h"

static char peek(const qs_log_parser *p) {
    return p->at < p->s.n ? p->s.p[p->at] : '\0';
}

/* ---- one load after the other ---- */

static void forget_lists(qs_log_parser *p) {
    p->log->missing.n = p->log->unexpected.n = p->log->mismatches.n = 0;
    p->log->missing_printed = 0;
    p->log->truncated = false;
    qs_map_free(&p->missing);
    qs_map_free(&p->unexpected);
    qs_map_free(&p->mismatched);
    p->seen = 0;
}

/* Warnings about another model, or the same warning once more, belong to another load. */
static bool set_model(qs_log_parser *p) {
    qs_str model;
    if (!qs_log_keep_word(p, &model)) return false;
    if (p->log->model.n && !qs_str_eq(p->log->model, model)) forget_lists(p);
    p->log->model = model;
    return true;
}

static void see(qs_log_parser *p, qs_log_phrase phrase) {
    uint64_t bit = 1ull << phrase;
    bool skipped = phrase == QS_PHRASE_SKIPPED; /* a line for each key, before the lists */
    if (skipped ? p->seen & ~bit : p->seen & bit) forget_lists(p);
    p->seen |= bit;
}

/* ---- transformers ---- */

static void read_word(qs_log_parser *p) {
    qs_log_skip_blanks(p);
    qs_log_start_word(p);
    for (; qs_log_is_name_char(peek(p)) && peek(p) != ':'; p->at++) qs_buf_addc(&p->word, peek(p));
}

/* Some weights of MODEL were not initialized ...; or of the model checkpoint at PATH were not used ... */
static bool read_some_weights(qs_log_parser *p) {
    qs_log_skip_blanks(p);
    if (qs_log_words_at(p->s, p->at, "the model checkpoint", NULL)) return true;
    read_word(p);
    return set_model(p);
}

static bool read_not_used(qs_log_parser *p) {
    read_word(p);
    if (!set_model(p)) return false;
    if (peek(p) == ':') p->at++;
    return qs_log_read_list(p, false);
}

/* - KEY: found shape S in the checkpoint and S in the model instantiated */
static bool read_found_shapes(qs_log_parser *p) {
    for (;;) {
        qs_shape in_checkpoint, in_model;
        qs_str key;
        qs_log_skip_blanks(p);
        if (peek(p) != '-') return true;
        p->at++;
        if (!qs_log_read_name_before(p, ": found shape")) return !p->word.failed || qs_nomem(p->err);
        if (!qs_log_keep_word(p, &key)) return false;
        bool known = qs_log_find_shape(p, &in_checkpoint) && qs_log_find_shape(p, &in_model);
        if (p->err->code != QS_OK) return false;
        p->log->truncated |= !known;
        if (known && !qs_log_add_mismatch(p, key, true, in_checkpoint, in_model)) return false;
        size_t end = qs_log_words_at(p->s, p->at, ") in the model instantiated", NULL);
        if (end) p->at = end;
    }
}

/* ---- groups ---- */

static bool add_text(qs_log_parser *p, qs_str name, bool missing) {
    qs_log_start_word(p);
    qs_buf_add(&p->word, name);
    return qs_log_add_name(p, missing);
}

/* "head.{a, b}": the line at `at` if it is one name or group and nothing else; its end. */
static size_t group_line(const qs_log_parser *p, size_t at, size_t *brace) {
    *brace = SIZE_MAX;
    for (; at < p->s.n && p->s.p[at] != '\n'; at++) {
        char c = p->s.p[at];
        bool inside = *brace != SIZE_MAX;
        if (c == '{' && !inside)
            *brace = at;
        else if (c == '}' && inside)
            break;
        else if (!qs_log_is_name_char(c) && !(inside && (c == ' ' || c == ',')))
            return 0;
    }
    if (*brace == SIZE_MAX) return at;
    if (at == p->s.n || p->s.p[at] != '}') return 0;
    at++;
    while (at < p->s.n && p->s.p[at] == ' ') at++;
    return at == p->s.n || p->s.p[at] == '\n' ? at : 0;
}

static bool add_group(qs_log_parser *p, size_t start, size_t brace, size_t end, bool missing) {
    if (brace == SIZE_MAX) {
        while (end > start && p->s.p[end - 1] == ' ') end--;
        return add_text(p, qs_str_sub(p->s, start, end), missing);
    }
    for (size_t i = brace + 1; i < end && p->s.p[i] != '}';) {
        qs_log_start_word(p);
        qs_buf_add(&p->word, qs_str_sub(p->s, start, brace));
        size_t from = p->word.n;
        for (; i < end && p->s.p[i] != ',' && p->s.p[i] != '}'; i++)
            if (!qs_log_is_blank(p->s.p[i])) qs_buf_addc(&p->word, p->s.p[i]);
        if (p->word.n > from && !qs_log_add_name(p, missing)) return false;
        if (i < end && p->s.p[i] == ',') i++;
    }
    return true;
}

/* A name or group in each line, up to one that is neither. */
static bool read_groups(qs_log_parser *p, bool missing) {
    for (;;) {
        while (peek(p) == ' ' || peek(p) == '\n') p->at++;
        size_t start = p->at, brace, end = group_line(p, start, &brace);
        if (end == 0 || end == start) return true;
        if (p->s.n - start >= 3 && memcmp(p->s.p + start, "...", 3) == 0) {
            p->log->truncated = true;
            return true;
        }
        if (!add_group(p, start, brace, end, missing)) return false;
        p->at = end;
    }
}

/* (81, 1024) */
static bool find_tuple(qs_log_parser *p, const char *words, qs_shape *out) {
    enum { SENTENCE = 200 };
    for (size_t stop = p->at + SENTENCE; p->at < p->s.n && p->at < stop; p->at++) {
        size_t end = p->s.p[p->at] == words[0] ? qs_log_words_at(p->s, p->at, words, NULL) : 0;
        if (!end) continue;
        p->at = end;
        return qs_log_read_shape(p, ')', out);
    }
    return false;
}

/* Skip loading parameter 'K' to the model due to incompatible shapes: (S) in the checkpoint but (S) in the
 * model */
static bool read_skipped(qs_log_parser *p) {
    qs_shape in_checkpoint, in_model;
    qs_str key;
    if (!qs_log_read_name_before(p, "to the model due")) return !p->word.failed || qs_nomem(p->err);
    if (!qs_log_keep_word(p, &key)) return false;
    bool known = find_tuple(p, "shapes: (", &in_checkpoint) && find_tuple(p, "but (", &in_model);
    if (p->err->code != QS_OK) return false;
    p->log->truncated |= !known;
    return !known || qs_log_add_mismatch(p, key, true, in_checkpoint, in_model);
}

/* ---- the table of transformers 5 ---- */

/* KEY | STATUS | DETAILS. Layers that differ by a number alone share a row: "{0, 1}", "{0...11}". */
typedef struct row {
    qs_str key, status, details;
} row;

static qs_str trimmed(qs_str s) {
    while (s.n && s.p[0] == ' ') s = qs_str_sub(s, 1, s.n);
    while (s.n && s.p[s.n - 1] == ' ') s.n--;
    return s;
}

static bool split_row(qs_str line, row *r) {
    size_t first = qs_str_find(line, QS_STR("|"));
    if (first == SIZE_MAX) return false;
    qs_str rest = qs_str_sub(line, first + 1, line.n);
    size_t second = qs_str_find(rest, QS_STR("|"));
    r->key = trimmed(qs_str_sub(line, 0, first));
    r->status = trimmed(qs_str_sub(rest, 0, second == SIZE_MAX ? rest.n : second));
    r->details = second == SIZE_MAX ? (qs_str){0} : qs_str_sub(rest, second + 1, rest.n);
    return true;
}

/* The row stands for one key, or says which ones: what shares a row in two places at once need not be every
 * pair. */
static bool add_row_names(qs_log_parser *p, qs_str key, bool missing) {
    size_t brace = qs_str_find(key, QS_STR("{")), close = qs_str_find(key, QS_STR("}"));
    if (brace == SIZE_MAX || close == SIZE_MAX || close < brace) return add_text(p, key, missing);
    qs_str tail = qs_str_sub(key, close + 1, key.n), list = qs_str_sub(key, brace + 1, close);
    if (qs_str_find(tail, QS_STR("{")) != SIZE_MAX || qs_str_find(list, QS_STR("...")) != SIZE_MAX) {
        p->log->truncated = true;
        return true;
    }
    while (list.n) {
        size_t comma = qs_str_find(list, QS_STR(","));
        qs_str number = trimmed(qs_str_sub(list, 0, comma == SIZE_MAX ? list.n : comma));
        qs_log_start_word(p);
        qs_buf_add(&p->word, qs_str_sub(key, 0, brace));
        qs_buf_add(&p->word, number);
        qs_buf_add(&p->word, tail);
        if (!qs_log_add_name(p, missing)) return false;
        list = comma == SIZE_MAX ? (qs_str){0} : qs_str_sub(list, comma + 1, list.n);
    }
    return true;
}

static bool add_row_shapes(qs_log_parser *p, qs_str key, size_t details) {
    qs_shape in_checkpoint, in_model;
    qs_str own = qs_arena_str(&p->log->arena, key);
    if (!own.p) return qs_nomem(p->err);
    p->at = details;
    bool known = qs_str_find(key, QS_STR("{")) == SIZE_MAX && qs_log_find_shape(p, &in_checkpoint) &&
                 qs_log_find_shape(p, &in_model);
    if (p->err->code != QS_OK) return false;
    p->log->truncated |= !known;
    return !known || qs_log_add_mismatch(p, own, true, in_checkpoint, in_model);
}

static bool add_row(qs_log_parser *p, const row *r) {
    if (qs_str_is(r->status, "MISSING")) return add_row_names(p, r->key, true);
    if (qs_str_is(r->status, "UNEXPECTED")) return add_row_names(p, r->key, false);
    if (qs_str_is(r->status, "MISMATCH")) return add_row_shapes(p, r->key, (size_t)(r->details.p - p->s.p));
    return true;
}

static size_t line_end(const qs_log_parser *p, size_t at) {
    while (at < p->s.n && p->s.p[at] != '\n') at++;
    return at;
}

/* MODEL LOAD REPORT from: PATH, then the table. */
static bool read_keys_table(qs_log_parser *p, qs_str head) {
    head = trimmed(head);
    size_t blank = qs_str_rfind_char(head, ' ');
    qs_log_start_word(p);
    qs_buf_add(&p->word, qs_str_sub(head, blank == SIZE_MAX ? 0 : blank + 1, head.n));
    if (!set_model(p)) return false;
    p->at = line_end(p, p->at);
    while (p->at < p->s.n) {
        row r;
        size_t start = p->at + 1, end = line_end(p, start);
        qs_str line = qs_str_sub(p->s, start, end);
        bool rule = line.n && line.p[0] == '-' && qs_str_find(line, QS_STR("+")) != SIZE_MAX;
        if (!rule && !split_row(line, &r)) return true;
        if (!rule && !add_row(p, &r)) return false;
        p->at = end;
    }
    return true;
}

/* ---- all ---- */

/* Only what is a list: "Missing keys: 3" is none. */
static bool read_printed(qs_log_parser *p, bool missing) {
    qs_log_skip_blanks(p);
    return peek(p) == '[' || peek(p) == '{' ? qs_log_read_list(p, missing) : true;
}

bool qs_log_read_library(qs_log_parser *p, qs_log_phrase phrase, qs_str head) {
    if (qs_log_phrase_opens(phrase) > 3) see(p, phrase);
    switch (phrase) {
    case QS_PHRASE_KEYS_TABLE: return read_keys_table(p, head);
    case QS_PHRASE_SOME_WEIGHTS: return read_some_weights(p);
    case QS_PHRASE_NOT_USED: return read_not_used(p);
    case QS_PHRASE_NEW_SHAPES: return read_found_shapes(p);
    case QS_PHRASE_SKIPPED: return read_skipped(p);
    case QS_PHRASE_GROUPS_MISSING:
    case QS_PHRASE_OLD_GROUPS_MISSING: return read_groups(p, true);
    case QS_PHRASE_GROUPS_UNEXPECTED:
    case QS_PHRASE_OLD_GROUPS_UNEXPECTED: return read_groups(p, false);
    case QS_PHRASE_DIFFUSERS_MISSING:
    case QS_PHRASE_NEW:
    case QS_PHRASE_FOUND_MISSING:
    case QS_PHRASE_TIMM_MISSING: return qs_log_read_list(p, true);
    case QS_PHRASE_FOUND_UNEXPECTED:
    case QS_PHRASE_TIMM_UNEXPECTED: return qs_log_read_list(p, false);
    case QS_PHRASE_PRINTED_MISSING:
    case QS_PHRASE_SMALL_MISSING:
    case QS_PHRASE_DICT_MISSING:
    case QS_PHRASE_NAMED_MISSING: return read_printed(p, true);
    case QS_PHRASE_PRINTED_UNEXPECTED:
    case QS_PHRASE_SMALL_UNEXPECTED:
    case QS_PHRASE_DICT_UNEXPECTED:
    case QS_PHRASE_NAMED_UNEXPECTED: return read_printed(p, false);
    default: return true;
    }
}
