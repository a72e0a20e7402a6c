#include "model/error_log_text.h"

static const struct {
    const char *words;
    int opens;
} phrases[] = {
    {"", 0},
#define QS_LOG_PHRASE(NAME, words, opens) {words, opens},
#include "model/error_log.def"
#undef QS_LOG_PHRASE
};

enum { MAX_PREFIX = 64, MAX_BLANK = 256 }; /* so that no text makes a search quadratic */

/* ---- finding phrases ---- */

size_t qs_log_escape_at(qs_str s, size_t at) {
    if (s.p[at] != '\033') return 0;
    size_t i = at + 1;
    if (i < s.n && s.p[i] == '[') {
        i++;
        while (i < s.n && i - at < 32 && (unsigned char)s.p[i] >= 0x20 && (unsigned char)s.p[i] < 0x40) i++;
        if (i < s.n) i++;
    }
    return i - at;
}

/* "[rank0]:" of torchrun. */
static size_t rank_at(qs_str s, size_t at) {
    size_t i = at + 5;
    if (s.n - at < 8 || memcmp(s.p + at, "[rank", 5) != 0) return 0;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') i++;
    return i > at + 5 && s.n - i >= 2 && s.p[i] == ']' && s.p[i + 1] == ':' ? i + 2 - at : 0;
}

static const char box_bar[] = "\xe2\x94\x82"; /* of a panel */

/* What stands before a line that was quoted: "> ", pytest's "E   ", a rank, the bar of a panel. */
static size_t prefix_at(qs_str s, size_t at) {
    size_t i = at;
    while (i < s.n && i - at < MAX_PREFIX) {
        size_t rank = rank_at(s, i);
        if (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '>' || s.p[i] == '|')
            i++;
        else if (s.p[i] == 'E' && i + 1 < s.n && (s.p[i + 1] == ' ' || s.p[i + 1] == '\t'))
            i += 2;
        else if (s.n - i >= 3 && memcmp(s.p + i, box_bar, 3) == 0)
            i += 3;
        else if (rank)
            i += rank;
        else
            break;
    }
    return i - at;
}

/* A blank as JSON and Python's repr write it: \n, \\n, \u000a ... */
static size_t escaped_blank_at(qs_str s, size_t at) {
    size_t i = at;
    while (i < s.n && i - at < 8 && s.p[i] == '\\') i++;
    if (i == at || i >= s.n) return 0;
    if (s.p[i] == 'n' || s.p[i] == 't' || s.p[i] == 'r') return i + 1 - at;
    if (s.n - i < 5 || memcmp(s.p + i, "u00", 3) != 0) return 0;
    return strchr("01", s.p[i + 3]) && strchr("9aAdD", s.p[i + 4]) ? i + 5 - at : 0;
}

/* "\_" and the like, as Markdown writes what would mark something. */
static bool markdown_escape_at(qs_str s, size_t at) {
    return s.n - at >= 2 && at < s.n && s.p[at] == '\\' && s.p[at + 1] && strchr("_*[]()<>#.-", s.p[at + 1]);
}

static size_t skip_blank(qs_str s, size_t at) {
    size_t from = at;
    while (at < s.n && at - from < MAX_BLANK) {
        size_t n = qs_log_escape_at(s, at), escaped = escaped_blank_at(s, at);
        if (n)
            at += n;
        else if (escaped)
            at += escaped + prefix_at(s, at + escaped);
        else if (s.p[at] == '\n')
            at += 1 + prefix_at(s, at + 1);
        else if (qs_log_is_blank(s.p[at]))
            at++;
        else
            break;
    }
    return at;
}

size_t qs_log_words_at(qs_str s, size_t at, const char *words, bool *partial) {
    for (; *words; words++) {
        if (*words == ' ') continue;
        if (at < s.n && s.p[at] != *words && qs_log_may_be_blank(s.p[at])) at = skip_blank(s, at);
        if (markdown_escape_at(s, at) && s.p[at + 1] == *words) at++;
        if (at >= s.n) {
            if (partial) *partial = true;
            return 0;
        }
        if (s.p[at++] != *words) return 0;
    }
    return at;
}

qs_log_phrase qs_log_phrase_at(qs_str s, size_t at, size_t *end, bool *partial) {
    if (at >= s.n || !qs_log_may_begin(s, at)) return QS_PHRASE_NONE;
    size_t second = skip_blank(s, at + 1);
    if (second < s.n && !qs_log_is_second(s.p[at], s.p[second])) return QS_PHRASE_NONE;
    for (size_t i = 1; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].words[0] != s.p[at]) continue;
        if (second < s.n && phrases[i].words[1] != s.p[second]) continue;
        *end = qs_log_words_at(s, at, phrases[i].words, partial);
        if (*end) return (qs_log_phrase)i;
    }
    return QS_PHRASE_NONE;
}

int qs_log_phrase_opens(qs_log_phrase p) {
    return phrases[p].opens;
}

/* ---- cleaning ---- */

static int hex4(qs_str s, size_t at) {
    int v = 0;
    if (s.n - at < 4) return -1;
    for (size_t i = at; i < at + 4; i++) {
        char c = s.p[i];
        int digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

static void add_utf8(qs_buf *b, int cp) {
    if (cp < 0x80)
        qs_buf_addc(b, (char)cp);
    else if (cp < 0x800)
        qs_buf_addf(b, "%c%c", 0xc0 | cp >> 6, 0x80 | (cp & 0x3f));
    else
        qs_buf_addf(b, "%c%c%c", 0xe0 | cp >> 12, 0x80 | (cp >> 6 & 0x3f), 0x80 | (cp & 0x3f));
}

/* One level of the escapes of JSON and of Python's repr, and Markdown's. *more: a backslash is left that may
 * hide another. */
static void unescape(qs_str s, qs_buf *out, bool *more) {
    *more = false;
    for (size_t i = 0; i < s.n; i++) {
        char next = s.p[i] == '\\' && i + 1 < s.n ? s.p[i + 1] : 0;
        const char *plain = next ? strchr("n\nt r\r\"\"''//", next) : NULL;
        int cp = next == 'u' && s.n - i >= 6 ? hex4(s, i + 2) : -1;
        if (plain && (plain - "n\nt r\r\"\"''//") % 2 == 0) {
            qs_buf_addc(out, plain[1]);
            i++;
        } else if (cp > 0) {
            add_utf8(out, cp);
            i += 5;
        } else if (markdown_escape_at(s, i)) {
            qs_buf_addc(out, next);
            i++;
        } else if (next == '\\') {
            qs_buf_addc(out, '\\');
            *more = true;
            i++;
        } else {
            qs_buf_addc(out, s.p[i]);
        }
    }
}

static bool unescape_all(qs_str raw, qs_buf *out) {
    bool more = true;
    qs_str s = raw;
    for (int round = 0; more && round < 4; round++) {
        qs_buf next = {0};
        unescape(s, &next, &more);
        qs_buf_free(out);
        *out = next;
        s = qs_buf_str(out);
    }
    return !out->failed;
}

/* Typographic characters and entities of HTML, and what they stand for. */
static const struct {
    const char *from, *to;
} fancy[] = {
    {"\xe2\x80\x9c", "\""}, {"\xe2\x80\x9d", "\""},  {"\xe2\x80\x9e", "\""}, {"\xe2\x80\x98", "'"},
    {"\xe2\x80\x99", "'"},  {"\xe2\x80\xa6", "..."}, {"\xe2\x80\x8b", ""},   {"\xc2\xa0", " "},
    {"\xef\xbb\xbf", ""},   {"&quot;", "\""},        {"&#34;", "\""},        {"&#39;", "'"},
    {"&#x27;", "'"},        {"&gt;", ">"},           {"&lt;", "<"},          {"&nbsp;", " "},
};

static size_t fancy_at(qs_str s, size_t at, const char **to) {
    for (size_t i = 0; i < sizeof fancy / sizeof *fancy; i++) {
        size_t n = strlen(fancy[i].from);
        if (s.n - at < n || memcmp(s.p + at, fancy[i].from, n) != 0) continue;
        *to = fancy[i].to;
        return n;
    }
    return 0;
}

static void clean_line_ends(qs_str s, qs_buf *out) {
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        const char *to = "";
        size_t n = c == '\033' ? qs_log_escape_at(s, i) : c >= 0x80 || c == '&' ? fancy_at(s, i, &to) : 0;
        if (n) {
            qs_buf_addz(out, to);
            i += n;
            continue;
        }
        i++;
        if (c == '\n') {
            qs_buf_addc(out, '\n');
            i += prefix_at(s, i);
        } else if (c != '\r') {
            qs_buf_addc(out, c == '\t' || c == 0 ? ' ' : (char)c);
        }
    }
}

bool qs_log_clean(qs_str raw, qs_buf *out) {
    qs_buf plain = {0};
    bool ok = unescape_all(raw, &plain);
    if (ok) clean_line_ends(qs_buf_str(&plain), out);
    qs_buf_free(&plain);
    return ok && !out->failed;
}
