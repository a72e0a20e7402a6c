#include "format/pickle_fold.h"

typedef struct fold {
    qs_graph *g;
    qs_node f, args;
    size_t at;
    size_t *budget;
    bool *nomem;
} fold;

bool qs_node_hashable(const qs_graph *g, qs_node n) {
    qs_node_kind k = qs_node_kind_of(g, n);
    return k != QS_NODE_LIST && k != QS_NODE_DICT && k != QS_NODE_SET && k != QS_NODE_BYTEARRAY;
}

qs_fold qs_fold_of(qs_str module, qs_str name) {
    static const struct {
        const char *name;
        qs_fold fold;
    } builtins[] = {{"bytes", QS_FOLD_BYTES},
                    {"bytearray", QS_FOLD_BYTEARRAY},
                    {"set", QS_FOLD_SET},
                    {"frozenset", QS_FOLD_FROZENSET}};
    if (qs_str_is(module, "_codecs") && qs_str_is(name, "encode")) return QS_FOLD_ENCODE;
    if (qs_str_is(module, "collections") && qs_str_is(name, "OrderedDict")) return QS_FOLD_ORDERED;
    if ((qs_str_is(module, "copyreg") || qs_str_is(module, "copy_reg")) && qs_str_is(name, "__newobj_ex__"))
        return QS_FOLD_NEWOBJ_EX;
    if (!qs_str_is(module, "builtins") && !qs_str_is(module, "__builtin__")) return QS_FOLD_NONE;
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (qs_str_is(name, builtins[i].name)) return builtins[i].fold;
    return QS_FOLD_NONE;
}

/* Whether `n` more bytes may be copied. */
static bool may(const fold *d, size_t n) {
    if (n > *d->budget) return false;
    *d->budget -= n;
    return true;
}

static qs_node or_nomem(const fold *d, qs_node n) {
    if (n == QS_NODE_NONE) *d->nomem = true;
    return n;
}

static qs_node argument(const fold *d, size_t i) {
    return qs_node_item(d->g, d->args, i);
}

/* Code points up to U+00FF back to bytes; false if there are others. */
static bool latin1(const fold *d, qs_str s, qs_str *out) {
    char *p = qs_arena_alloc(&d->g->arena, s.n);
    size_t n = 0;
    if (!p) return *d->nomem = true, false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x80) {
            p[n++] = (char)c;
        } else {
            if (c > 0xc3 || i + 1 >= s.n) return false;
            p[n++] = (char)((c & 3) << 6 | ((unsigned char)s.p[++i] & 0x3f));
        }
    }
    *out = (qs_str){p, n};
    return true;
}

static qs_node text(const fold *d, qs_node_kind kind, qs_str s) {
    return or_nomem(d, qs_graph_add_text_(d->g, kind, d->at, s));
}

static qs_node fold_encode(const fold *d) {
    qs_str s = qs_node_str(d->g, argument(d, 0)), raw = {0};
    if (qs_node_len(d->g, d->args) != 2 || qs_node_kind_of(d->g, argument(d, 0)) != QS_NODE_STR ||
        !qs_str_is(qs_node_str(d->g, argument(d, 1)), "latin1") || !may(d, s.n) || !latin1(d, s, &raw))
        return QS_NODE_NONE;
    return text(d, QS_NODE_BYTES, raw);
}

static qs_node fold_bytes(const fold *d) {
    return qs_node_len(d->g, d->args) == 0 ? text(d, QS_NODE_BYTES, (qs_str){0}) : QS_NODE_NONE;
}

static qs_node fold_bytearray(const fold *d) {
    size_t n = qs_node_len(d->g, d->args);
    if (n > 1 || (n == 1 && qs_node_kind_of(d->g, argument(d, 0)) != QS_NODE_BYTES)) return QS_NODE_NONE;
    return text(d, QS_NODE_BYTEARRAY, qs_node_str(d->g, argument(d, 0)));
}

/* The list is only a vehicle: what is put into it later is not in the set. */
static qs_node fold_set(const fold *d, qs_node_kind kind) {
    qs_graph *g = d->g;
    if (qs_node_len(g, d->args) != 1 || qs_node_kind_of(g, argument(d, 0)) != QS_NODE_LIST)
        return QS_NODE_NONE;
    qs_span items = qs_graph_rec_(g, argument(d, 0))->u.span;
    if (!may(d, items.n)) return QS_NODE_NONE;
    for (uint32_t i = 0; i < items.n; i++)
        if (!qs_node_hashable(g, g->kids.v[items.start + i])) return QS_NODE_NONE;
    /* Reserved first, so that the source of the copy does not move. */
    if (!qs_reserve(&g->kids, g->kids.n + 2 * (size_t)items.n + 2)) return or_nomem(d, QS_NODE_NONE);
    qs_node set = or_nomem(d, qs_graph_add_(g, kind, d->at));
    if (!set) return set;
    bool ok = qs_graph_extend_(g, &qs_graph_rec_(g, set)->u.span, g->kids.v + items.start, items.n);
    return or_nomem(d, ok ? set : QS_NODE_NONE);
}

static bool are_pairs(const qs_graph *g, qs_node list) {
    for (size_t i = 0; i < qs_node_len(g, list); i++) {
        qs_node pair = qs_node_item(g, list, i);
        qs_node_kind k = qs_node_kind_of(g, pair);
        if ((k != QS_NODE_LIST && k != QS_NODE_TUPLE) || qs_node_len(g, pair) != 2 ||
            !qs_node_hashable(g, qs_node_item(g, pair, 0)))
            return false;
    }
    return true;
}

static qs_node fold_ordered(const fold *d) {
    qs_graph *g = d->g;
    qs_node list = argument(d, 0);
    size_t n = qs_node_len(g, list);
    if (qs_node_len(g, d->args) != 1 || qs_node_kind_of(g, list) != QS_NODE_LIST || !may(d, n) ||
        !are_pairs(g, list))
        return QS_NODE_NONE;
    qs_node none = qs_graph_add_(g, QS_NODE_TUPLE, d->at);
    qs_node made = none ? qs_graph_add_call_(g, QS_NODE_REDUCE, d->at, d->f, none) : QS_NODE_NONE;
    qs_call_ext *x = made ? qs_graph_ext_(g, made) : NULL;
    for (size_t i = 0; x && i < n; i++) {
        qs_node pair = qs_node_item(g, list, i);
        qs_node kv[2] = {qs_node_item(g, pair, 0), qs_node_item(g, pair, 1)};
        if (!qs_graph_extend_(g, &x->pairs, kv, 2)) return or_nomem(d, QS_NODE_NONE);
    }
    return or_nomem(d, x ? made : QS_NODE_NONE);
}

qs_node qs_fold_call(qs_graph *g, qs_fold kind, qs_node f, qs_node args, size_t at, size_t *budget,
                     bool *nomem) {
    const fold d = {g, f, args, at, budget, nomem};
    switch (kind) {
    case QS_FOLD_ENCODE: return fold_encode(&d);
    case QS_FOLD_BYTES: return fold_bytes(&d);
    case QS_FOLD_BYTEARRAY: return fold_bytearray(&d);
    case QS_FOLD_SET: return fold_set(&d, QS_NODE_SET);
    case QS_FOLD_FROZENSET: return fold_set(&d, QS_NODE_FROZENSET);
    case QS_FOLD_ORDERED: return fold_ordered(&d);
    case QS_FOLD_NEWOBJ_EX:
    case QS_FOLD_NONE: break;
    }
    return QS_NODE_NONE;
}
