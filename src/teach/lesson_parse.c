/* Reading a lesson's text. The format is described in lessons/README.txt. */
#include "teach/lesson_impl.h"

#include <stdarg.h>

typedef struct parser {
    qs_lesson *l;
    uint32_t line;
    qs_err *e;
} parser;

static bool bad(const parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool bad(const parser *p, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return qs_fail(p->e, QS_E_INPUT, "lesson %s, line %u: %s", p->l->name, p->line, text);
}

static const char *keep(parser *p, qs_str s) {
    const char *z = qs_arena_str(&p->l->arena, s).p;
    if (!z) qs_nomem(p->e);
    return z;
}

static lesson_page *page_of(parser *p) {
    if (p->l->pages.n) return &p->l->pages.v[p->l->pages.n - 1];
    bad(p, "this must stand below a @page");
    return NULL;
}

static bool set_once(parser *p, lesson_line *to, qs_str text, const char *name) {
    if (to->text.n) return bad(p, "the page has a second @%s", name);
    if (!text.n) return bad(p, "@%s wants text", name);
    *to = (lesson_line){{keep(p, text), text.n}, p->line};
    return to->text.p != NULL;
}

static bool set_name(parser *p, const char **to, qs_str text, const char *name) {
    if (*to) return bad(p, "a second @%s", name);
    if (!text.n) return bad(p, "@%s wants text", name);
    return (*to = keep(p, text)) != NULL;
}

static qs_str first_word(qs_str text, qs_str *rest) {
    size_t n = 0;
    while (n < text.n && text.p[n] != ' ' && text.p[n] != '\t') n++;
    *rest = qs_trim(qs_str_sub(text, n, text.n));
    return qs_str_sub(text, 0, n);
}

static bool is_name(qs_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && s.p[i] != '_') return false;
    return s.n > 0;
}

static bool add_let(parser *p, qs_str text) {
    qs_str expr, name = first_word(text, &expr);
    if (!is_name(name) || !expr.n) return bad(p, "@let wants a NAME of small letters and an expression");
    lesson_let let = {{keep(p, name), name.n}, {{keep(p, expr), expr.n}, p->line}};
    if (!let.name.p || !let.expr.text.p) return false;
    return qs_push(&p->l->lets, let) || qs_nomem(p->e);
}

static bool add_page(parser *p, qs_str text) {
    if (!text.n) return bad(p, "@page wants a title");
    lesson_page page = {.title = keep(p, text), .line = p->line};
    return page.title && (qs_push(&p->l->pages, page) || qs_nomem(p->e));
}

static bool add_show(parser *p, qs_str text) {
    lesson_page *page = page_of(p);
    if (!page) return false;
    if (!text.n) return bad(p, "@show wants a pattern of keys");
    lesson_line glob = {{keep(p, text), text.n}, p->line};
    return glob.text.p && (qs_push(&page->show, glob) || qs_nomem(p->e));
}

static bool add_press(parser *p, qs_str text) {
    lesson_page *page = page_of(p);
    if (!page) return false;
    qs_str why, command = first_word(text, &why);
    if (!command.n) return bad(p, "@press wants the name of a command and what it is for");
    qs_lesson_press press = {{keep(p, command), command.n}, {keep(p, why), why.n}, p->line};
    if (!press.command.p || !press.why.p) return false;
    return qs_push(&page->press, press) || qs_nomem(p->e);
}

static bool directive(parser *p, qs_str name, qs_str text) {
    qs_lesson *l = p->l;
    if (qs_str_is(name, "lesson")) return set_name(p, &l->title, text, "lesson");
    if (qs_str_is(name, "about")) return set_name(p, &l->about, text, "about");
    if (qs_str_is(name, "needs")) return set_name(p, &l->needs, text, "needs");
    if (qs_str_is(name, "let")) return add_let(p, text);
    if (qs_str_is(name, "page")) return add_page(p, text);
    if (qs_str_is(name, "show")) return add_show(p, text);
    if (qs_str_is(name, "press")) return add_press(p, text);
    static const char *const once[] = {"ask", "answer", "hint"};
    for (int i = 0; i < 3; i++) {
        if (!qs_str_is(name, once[i])) continue;
        lesson_page *page = page_of(p);
        return page && set_once(p, i == 0 ? &page->ask : i == 1 ? &page->answer : &page->hint, text, once[i]);
    }
    char shown[64];
    qs_str_printable(name, shown, sizeof shown);
    return bad(p, "there is no @%s", shown);
}

/* Every {{ has its }} on the same line. */
static bool braces_match(parser *p, qs_str s) {
    for (size_t at = 0; at < s.n;) {
        qs_str rest = qs_str_sub(s, at, s.n);
        size_t open = qs_str_find(rest, QS_STR("{{"));
        if (open == SIZE_MAX) return qs_str_find(rest, QS_STR("}}")) == SIZE_MAX || bad(p, "}} without {{");
        size_t close = qs_str_find(qs_str_sub(rest, open, rest.n), QS_STR("}}"));
        if (close == SIZE_MAX) return bad(p, "{{ without }} on the same line");
        at += open + close + 2;
    }
    return true;
}

static bool add_body(parser *p, qs_str text) {
    if (!p->l->pages.n) return qs_trim(text).n == 0 || page_of(p) != NULL;
    lesson_page *page = page_of(p);
    if (text.n == 0 && page->body.n == 0) return true;
    lesson_line line = {{keep(p, text), text.n}, p->line};
    return line.text.p && (qs_push(&page->body, line) || qs_nomem(p->e));
}

static bool parse_line(parser *p, qs_str text) {
    while (text.n && strchr(" \t\r", text.p[text.n - 1])) text.n--;
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
            return bad(p, "a control character; use blanks, no tabs");
    if (!braces_match(p, text)) return false;
    if (!text.n || text.p[0] != '@') return add_body(p, text);
    if (text.n > 1 && text.p[1] == '#') return true; /* a comment */
    qs_str rest, name = first_word(qs_str_sub(text, 1, text.n), &rest);
    return directive(p, name, rest);
}

static bool finish(parser *p) {
    qs_lesson *l = p->l;
    if (!l->title) return bad(p, "the lesson has no @lesson TITLE");
    if (!l->about) l->about = "";
    if (!l->pages.n) return bad(p, "the lesson has no @page");
    for (size_t i = 0; i < l->pages.n; i++) {
        lesson_page *page = &l->pages.v[i];
        p->line = page->line;
        while (page->body.n && page->body.v[page->body.n - 1].text.n == 0) page->body.n--;
        if (!page->body.n) return bad(p, "the page is empty");
        if (!page->ask.text.n != !page->answer.text.n) return bad(p, "@ask and @answer go together");
        if (page->hint.text.n && !page->ask.text.n) return bad(p, "a @hint without a question");
    }
    return true;
}

bool qs_lesson_parse(const char *text, size_t n, const char *name, qs_lesson **out, qs_err *e) {
    qs_lesson *l = calloc(1, sizeof *l);
    if (!l) return qs_nomem(e);
    parser p = {.l = l, .e = e};
    bool ok = (l->name = keep(&p, qs_str_of(name))) != NULL;
    qs_str rest = {text, n};
    while (ok && rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t len = end ? (size_t)(end - rest.p) : rest.n;
        p.line++;
        ok = parse_line(&p, qs_str_sub(rest, 0, len));
        rest = qs_str_sub(rest, len + 1, rest.n);
    }
    if (ok && finish(&p)) {
        *out = l;
        return true;
    }
    qs_lesson_free(l);
    return false;
}

void qs_lesson_free(qs_lesson *l) {
    if (!l) return;
    for (size_t i = 0; i < l->pages.n; i++) {
        qs_vec_free(&l->pages.v[i].body);
        qs_vec_free(&l->pages.v[i].show);
        qs_vec_free(&l->pages.v[i].press);
    }
    qs_vec_free(&l->pages);
    qs_vec_free(&l->lets);
    qs_arena_free(&l->arena);
    free(l);
}

const char *qs_lesson_name(const qs_lesson *l) {
    return l->name;
}
const char *qs_lesson_title(const qs_lesson *l) {
    return l->title;
}
const char *qs_lesson_about(const qs_lesson *l) {
    return l->about;
}
size_t qs_lesson_pages(const qs_lesson *l) {
    return l->pages.n;
}

bool qs_lesson_page_at(const qs_lesson *l, size_t page, qs_lesson_page *out) {
    if (page >= l->pages.n) return false;
    const lesson_page *p = &l->pages.v[page];
    *out = (qs_lesson_page){p->title, p->press.n, p->press.v, p->ask.text.n > 0, p->hint.text.n > 0};
    return true;
}
