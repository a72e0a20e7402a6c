/* What a logger puts around every line: when a message is longer than a line may be, it stands inside lists
 * and names. */
#include "model/error_log_text.h"

/* ---- the same words before every line ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t run(qs_str s, size_t at, bool digits) {
    size_t from = at;
    while (at < s.n && (digits ? is_digit(s.p[at]) : s.p[at] == ' ')) at++;
    return at - from;
}

/* "F" and "P" of Kubernetes: a line's last piece, or one that goes on. */
static bool is_piece_flag(qs_str s, size_t at) {
    return at > 0 && at + 1 < s.n && (s.p[at] == 'F' || s.p[at] == 'P') && s.p[at - 1] == ' ' &&
           s.p[at + 1] == ' ';
}

/* Length of the words at s[at], whatever their numbers are (`as_long`: of as many digits); 0: others stand
 * there. */
static size_t words_like(qs_str words, qs_str s, size_t at, bool as_long) {
    size_t i = 0, j = at;
    while (i < words.n) {
        bool digits = is_digit(words.p[i]);
        if (digits || words.p[i] == ' ') {
            size_t wanted = run(words, i, digits), n = run(s, j, digits);
            if (!n || (as_long && digits && n != wanted)) return 0;
            j += n;
            i += wanted;
        } else if (j < s.n && (s.p[j] == words.p[i] || (is_piece_flag(words, i) && is_piece_flag(s, j)))) {
            i++;
            j++;
        } else {
            return 0;
        }
    }
    return j - at;
}

static bool is_of_name(char c) {
    return c == '.' || c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Without the exception's name, which stands before the first line alone. */
static qs_str without_exception(qs_str head) {
    static const char *const ends[] = {"Error", "Exception", "Warning"};
    size_t cut = head.n;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t at = qs_str_find(head, qs_str_of(ends[i])), n = strlen(ends[i]);
        if (at == SIZE_MAX || at + n >= head.n || (head.p[at + n] != ':' && head.p[at + n] != '\033'))
            continue;
        while (at > 0 && is_of_name(head.p[at - 1])) at--;
        if (at < cut) cut = at;
    }
    return qs_str_sub(head, 0, cut);
}

/* What may stand before the other lines too, "" if that is nothing: it ends as a prefix does. */
static qs_str prefix_of(qs_str head) {
    qs_str s = without_exception(head);
    size_t n = s.n;
    while (n > 0 && s.p[n - 1] == ' ') n--;
    if (n == 0) return (qs_str){0};
    bool own_word = n < s.n, mark = strchr("]:|>)", s.p[n - 1]) != NULL;
    bool quote = strchr("\"'`(", s.p[n - 1]) != NULL;
    return (own_word || mark) && !quote ? s : (qs_str){0};
}

/* docker logs -t puts the time where a long line was cut, not only where one begins. */
static bool may_stand_anywhere(qs_str prefix) {
    enum { TIME = 19 };
    return prefix.n > TIME && is_digit(prefix.p[0]) && prefix.p[4] == '-' && prefix.p[10] == 'T';
}

static bool ends_with_bar(qs_str prefix) {
    return qs_str_find(prefix, QS_STR("\xe2\x94\x82")) != SIZE_MAX;
}

/* The right side of a panel, with the blanks before it: up to the line's end. */
static size_t right_bar_at(qs_str s, size_t at) {
    size_t i = at + run(s, at, false);
    if (s.n - i < 3 || memcmp(s.p + i, "\xe2\x94\x82", 3) != 0) return 0;
    i += 3;
    if (i < s.n && s.p[i] == '\r') i++;
    return i == s.n || s.p[i] == '\n' ? i - at : 0;
}

static void strip_prefix(qs_str prefix, qs_str s, qs_buf *out) {
    bool anywhere = may_stand_anywhere(prefix), panel = ends_with_bar(prefix), begins = false;
    for (size_t i = 0; i < s.n; begins = s.p[i++] == '\n') {
        size_t n = (begins || anywhere) ? words_like(prefix, s, i, anywhere) : 0;
        if (!n && panel && (s.p[i] == ' ' || (unsigned char)s.p[i] == 0xe2)) n = right_bar_at(s, i);
        i += n;
        if (i == s.n) return;
        qs_buf_addc(out, s.p[i]);
    }
}

/* ---- a JSON object in every line ---- */

/* The end of the JSON string whose inside begins at `at`. */
static size_t string_end(qs_str s, size_t at) {
    for (; at < s.n && s.p[at] != '"' && s.p[at] != '\n'; at++)
        if (s.p[at] == '\\') at++;
    return at < s.n ? at : s.n;
}

/* Past `"name" : "` at `at`, the name in *name; 0: something else stands there. */
static size_t member_at(qs_str s, size_t at, qs_str *name) {
    if (s.p[at] != '"') return 0;
    size_t end = string_end(s, at + 1), i = end + 1;
    *name = qs_str_sub(s, at + 1, end);
    i += run(s, i, false);
    if (i >= s.n || s.p[i] != ':') return 0;
    i++;
    i += run(s, i, false);
    return i < s.n && s.p[i] == '"' ? i + 1 : 0;
}

/* The member of the object that its text breaks off in, "" if it does not. */
static qs_str open_member(qs_str head) {
    qs_str name;
    for (size_t i = 0; i < head.n; i++) {
        if (head.p[i] != '"') continue;
        size_t inside = member_at(head, i, &name);
        size_t end = string_end(head, inside ? inside : i + 1);
        if (inside && end == head.n) return name;
        i = end;
    }
    return (qs_str){0};
}

/* Where the text of that member begins in the line at `at`, its end if there is none. */
static size_t member_of_line(qs_str s, size_t at, qs_str member) {
    qs_str name;
    while (at < s.n && s.p[at] != '\n') {
        if (s.p[at] != '"') {
            at++;
            continue;
        }
        size_t inside = member_at(s, at, &name);
        if (inside && qs_str_eq(name, member)) return inside;
        at = string_end(s, inside ? inside : at + 1);
        if (at < s.n && s.p[at] == '"') at++;
    }
    return at;
}

static void join_members(qs_str member, qs_str s, qs_buf *out) {
    for (size_t at = 0; at < s.n;) {
        size_t end = string_end(s, at);
        qs_buf_add(out, qs_str_sub(s, at, end));
        qs_buf_addc(out, '\n');
        const char *line = end < s.n ? memchr(s.p + end, '\n', s.n - end) : NULL;
        if (!line) return;
        at = member_of_line(s, (size_t)(line - s.p) + 1, member);
    }
}

static qs_str json_member(qs_str head) {
    size_t at = 0;
    while (at < head.n && strchr(" ,[", head.p[at])) at++;
    return at < head.n && head.p[at] == '{' ? open_member(head) : (qs_str){0};
}

static void without_colours(qs_str s, qs_buf *out) {
    qs_buf_addz(out, "");
    for (size_t i = 0; i < s.n; i++) {
        size_t n = qs_log_escape_at(s, i);
        if (n)
            i += n - 1;
        else
            qs_buf_addc(out, s.p[i]);
    }
}

bool qs_log_unwrap_lines(qs_str head, qs_str raw, qs_buf *out) {
    qs_buf plain_head = {0}, plain = {0};
    without_colours(head, &plain_head);
    without_colours(raw, &plain);
    qs_str before = qs_buf_str(&plain_head), text = qs_buf_str(&plain);
    qs_str member = json_member(before), prefix = prefix_of(before);
    if (member.n)
        join_members(member, text, out);
    else if (prefix.n)
        strip_prefix(prefix, text, out);
    else
        qs_buf_add(out, text);
    bool ok = !plain_head.failed && !plain.failed && !out->failed;
    qs_buf_free(&plain_head);
    qs_buf_free(&plain);
    return ok;
}
