/* Python-like text of a node, for people: bounded in length and depth, never raw. */
#include "format/object.h"

#include <inttypes.h>

enum { DEPTH_MAX = 16, COMMA_CLOSE = 1 };

typedef struct text {
    char *p;
    size_t n, cap; /* cap leaves room for "..." and the NUL */
    bool full;
} text;

/* One node whose children are being printed. */
typedef struct frame {
    qs_node node;
    bool pairs;
    size_t i, n;
    char close; /* COMMA_CLOSE: ",)", as Python ends a tuple of one */
} frame;

typedef struct walk {
    const qs_graph *g;
    text t;
    frame f[DEPTH_MAX];
    int depth;
} walk;

static void add(text *t, const char *s) {
    size_t n = strlen(s);
    if (t->full || n > t->cap - t->n) {
        t->full = true;
        return;
    }
    memcpy(t->p + t->n, s, n);
    t->n += n;
}

static void add_printable(text *t, qs_str s) {
    if (t->full) return;
    size_t want = s.n;
    if (want > t->cap - t->n) s.n = t->cap - t->n;
    t->n += qs_str_printable(s, t->p + t->n, t->cap - t->n + 1);
    if (want > s.n || t->n >= t->cap) t->full = true;
}

static void add_quoted(text *t, const char *prefix, qs_str s) {
    add(t, prefix);
    add(t, "'");
    add_printable(t, s);
    add(t, "'");
}

static void add_long(text *t, qs_str le) {
    bool negative = le.n && (unsigned char)le.p[le.n - 1] >= 0x80;
    char buf[8];
    unsigned carry = 1;
    add(t, negative ? "-0x" : "0x");
    size_t start = t->n;
    /* Two's complement is undone from the low end up; digits are wanted from the high end down. */
    for (size_t i = 0; i < le.n && !t->full; i++) {
        unsigned v = (unsigned char)le.p[i];
        if (negative) {
            v = (~v & 0xff) + carry;
            carry = v >> 8;
        }
        snprintf(buf, sizeof buf, "%x%x", v & 15, v >> 4 & 15);
        add(t, buf);
    }
    if (t->n > start + 1 && t->p[t->n - 1] == '0') t->n--;
    for (size_t i = start, j = t->n; i + 1 < j; i++, j--) {
        char c = t->p[i];
        t->p[i] = t->p[j - 1];
        t->p[j - 1] = c;
    }
}

static void add_global(walk *w, qs_node n) {
    qs_str module = qs_node_module(w->g, n);
    if (!qs_str_is(module, "collections") && !qs_str_is(module, "builtins") &&
        !qs_str_is(module, "__builtin__")) {
        add_printable(&w->t, module);
        add(&w->t, ".");
    }
    add_printable(&w->t, qs_node_name(w->g, n));
}

static void enter(walk *w, qs_node n, bool pairs, const char *open, char close) {
    add(&w->t, open);
    if (w->depth == DEPTH_MAX) {
        char end[] = {'.', '.', '.', close == COMMA_CLOSE ? ')' : close, 0};
        add(&w->t, end);
        return;
    }
    w->f[w->depth++] = (frame){n, pairs, 0, pairs ? qs_node_pairs(w->g, n) : qs_node_len(w->g, n), close};
}

/* name(args), then what was put into the result. Sections are pushed last first. */
static void enter_call(walk *w, qs_node n) {
    qs_call c;
    qs_node_call(w->g, n, &c);
    if (qs_node_kind_of(w->g, c.callable) == QS_NODE_GLOBAL)
        add_global(w, c.callable);
    else
        add(&w->t, "<object>");
    bool filled = qs_node_pairs(w->g, n) || qs_node_len(w->g, n);
    if (filled && qs_node_len(w->g, c.args) == 0) {
        enter(w, n, qs_node_pairs(w->g, n) > 0, qs_node_pairs(w->g, n) ? "({" : "([", ')');
        return;
    }
    enter(w, c.args, false, "(", ')');
}

static void add_atom(walk *w, qs_node n) {
    char buf[40];
    switch (qs_node_kind_of(w->g, n)) {
    case QS_NODE_NIL: add(&w->t, "None"); break;
    case QS_NODE_BOOL: add(&w->t, qs_node_int(w->g, n) ? "True" : "False"); break;
    case QS_NODE_INT:
        snprintf(buf, sizeof buf, "%" PRId64, qs_node_int(w->g, n));
        add(&w->t, buf);
        break;
    case QS_NODE_FLOAT:
        snprintf(buf, sizeof buf, "%.9g", qs_node_float(w->g, n));
        for (char *p = buf; *p; p++)
            if (*p == ',') *p = '.'; /* the locale's decimal point */
        add(&w->t, buf);
        break;
    case QS_NODE_LONG: add_long(&w->t, qs_node_str(w->g, n)); break;
    case QS_NODE_STR: add_quoted(&w->t, "", qs_node_str(w->g, n)); break;
    case QS_NODE_BYTES: add_quoted(&w->t, "b", qs_node_str(w->g, n)); break;
    case QS_NODE_BYTEARRAY: add_quoted(&w->t, "bytearray b", qs_node_str(w->g, n)); break;
    case QS_NODE_GLOBAL: add_global(w, n); break;
    default: add(&w->t, "?"); break;
    }
}

static void visit(walk *w, qs_node n) {
    switch (qs_node_kind_of(w->g, n)) {
    case QS_NODE_TUPLE: enter(w, n, false, "(", qs_node_len(w->g, n) == 1 ? COMMA_CLOSE : ')'); break;
    case QS_NODE_LIST: enter(w, n, false, "[", ']'); break;
    case QS_NODE_SET: enter(w, n, false, "{", '}'); break;
    case QS_NODE_FROZENSET: enter(w, n, false, "frozenset(", ')'); break;
    case QS_NODE_DICT: enter(w, n, true, "{", '}'); break;
    case QS_NODE_PERSID: enter(w, n, false, "persistent(", ')'); break;
    case QS_NODE_REDUCE:
    case QS_NODE_NEWOBJ: enter_call(w, n); break;
    default: add_atom(w, n); break;
    }
}

/* The next thing of the innermost open node; false when it is the last. */
static void advance(walk *w) {
    frame *f = &w->f[w->depth - 1];
    size_t i = f->i++;
    bool pairs = f->pairs;
    if (i >= (pairs ? 2 : 1) * f->n) {
        bool call = qs_node_kind_of(w->g, f->node) == QS_NODE_REDUCE ||
                    qs_node_kind_of(w->g, f->node) == QS_NODE_NEWOBJ;
        if (call) add(&w->t, pairs ? "}" : "]");
        char end[] = {f->close, 0};
        add(&w->t, f->close == COMMA_CLOSE ? ",)" : end);
        w->depth--;
        return;
    }
    if (i) add(&w->t, pairs && i % 2 ? ": " : ", ");
    if (!pairs)
        visit(w, qs_node_item(w->g, f->node, i));
    else
        visit(w, i % 2 ? qs_node_value(w->g, f->node, i / 2) : qs_node_key(w->g, f->node, i / 2));
}

size_t qs_node_describe(const qs_graph *g, qs_node n, char *out, size_t cap) {
    if (cap == 0) return 0;
    if (cap < 8) {
        out[0] = 0;
        return 0;
    }
    walk w = {.g = g, .t = {.p = out, .cap = cap - 4}};
    visit(&w, n);
    while (w.depth && !w.t.full) advance(&w);
    if (w.t.full) {
        memcpy(out + w.t.n, "...", 3);
        w.t.n += 3;
    }
    out[w.t.n] = 0;
    return w.t.n;
}
