#include "format/object.h"

#include "format/graph_impl.h"

#include <stdlib.h>

qs_graph *qs_graph_new_(const void *data, size_t n) {
    qs_graph *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->data = data;
    g->data_n = n;
    /* A node takes more than six bytes of what torch writes (it memoises nearly everything), a place in
     * another more than five; reserving saves the copies, and what is not used costs nothing. */
    if (!qs_reserve(&g->nodes, n / 6 + 16) || !qs_reserve(&g->kids, n / 5 + 16)) {
        qs_graph_free(g);
        return NULL;
    }
    g->nodes.v[g->nodes.n++] = (qs_node_rec){0};
    return g;
}

void qs_graph_free(qs_graph *g) {
    if (!g) return;
    free(g->nodes.v);
    free(g->kids.v);
    free(g->calls.v);
    free(g->exts.v);
    free(g->globals.v);
    free(g->owned.v);
    qs_arena_free(&g->arena);
    free(g);
}

qs_node qs_graph_add_(qs_graph *g, qs_node_kind kind, size_t offset) {
    if (g->nodes.n >= UINT32_MAX) return QS_NODE_NONE;
    qs_node_rec rec = {.kind = (uint8_t)kind, .offset = (uint32_t)offset};
    if (!qs_push(&g->nodes, rec)) return QS_NODE_NONE;
    return (qs_node)(g->nodes.n - 1);
}

qs_node qs_graph_add_text_(qs_graph *g, qs_node_kind kind, size_t offset, qs_str s) {
    qs_node n = qs_graph_add_(g, kind, offset);
    if (n == QS_NODE_NONE) return n;
    qs_node_rec *rec = &g->nodes.v[n];
    if (s.n == 0 || (s.p >= g->data && s.p + s.n <= g->data + g->data_n)) {
        rec->u.text.at = s.n ? (uint32_t)(s.p - g->data) : 0;
        rec->u.text.n = (uint32_t)s.n;
        return n;
    }
    rec->flags |= NODE_OWNED;
    rec->u.text.at = (uint32_t)g->owned.n;
    return qs_push(&g->owned, s) ? n : QS_NODE_NONE;
}

qs_node qs_graph_add_call_(qs_graph *g, qs_node_kind kind, size_t offset, qs_node callable, qs_node args) {
    qs_node n = qs_graph_add_(g, kind, offset);
    if (n == QS_NODE_NONE) return n;
    g->nodes.v[n].u.ref.at = (uint32_t)g->calls.n;
    qs_call_rec rec = {callable, args, 0};
    return qs_push(&g->calls, rec) ? n : QS_NODE_NONE;
}

qs_call_ext *qs_graph_ext_(qs_graph *g, qs_node call) {
    qs_call_rec *c = &g->calls.v[g->nodes.v[call].u.ref.at];
    if (!c->ext) {
        if (!qs_push(&g->exts, (qs_call_ext){0})) return NULL;
        c->ext = (uint32_t)g->exts.n;
    }
    return &g->exts.v[c->ext - 1];
}

/* n rounded up to a power of two. */
static size_t span_cap(size_t n) {
    return n < 2 ? n : (size_t)1 << (64 - __builtin_clzll(n - 1));
}

bool qs_graph_extend_(qs_graph *g, qs_span *s, const qs_node *from, size_t n) {
    if (n == 0) return true;
    size_t total = s->n + n, cap = span_cap(total);
    if (cap != span_cap(s->n)) {
        bool last = s->n && (size_t)s->start + span_cap(s->n) == g->kids.n;
        size_t start = last ? s->start : g->kids.n;
        if (start + cap > UINT32_MAX || !qs_reserve(&g->kids, start + cap)) return false;
        if (!last && s->n) memcpy(g->kids.v + start, g->kids.v + s->start, s->n * sizeof *from);
        g->kids.n = start + cap;
        s->start = (uint32_t)start;
    }
    memcpy(g->kids.v + s->start + s->n, from, n * sizeof *from);
    s->n = (uint32_t)total;
    return true;
}

bool qs_graph_fill_(qs_graph *g, qs_span *s, const qs_node *from, size_t n) {
    size_t start = g->kids.n;
    if (start + n > UINT32_MAX || !qs_reserve(&g->kids, start + n)) return false;
    if (n) memcpy(g->kids.v + start, from, n * sizeof *from);
    g->kids.n = start + n;
    *s = (qs_span){(uint32_t)start, (uint32_t)n};
    return true;
}

static const qs_node_rec *rec_of(const qs_graph *g, qs_node n) {
    /* [0] has kind 0 and answers for everything that is no node. */
    return &g->nodes.v[n < g->nodes.n ? n : 0];
}

static bool is_call(const qs_node_rec *r) {
    return r->kind == QS_NODE_REDUCE || r->kind == QS_NODE_NEWOBJ;
}

static const qs_call_ext *ext_of(const qs_graph *g, const qs_node_rec *r) {
    static const qs_call_ext none;
    if (!is_call(r)) return &none;
    uint32_t x = g->calls.v[r->u.ref.at].ext;
    return x ? &g->exts.v[x - 1] : &none;
}

static qs_span items_of(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    switch (r->kind) {
    case QS_NODE_TUPLE:
    case QS_NODE_LIST:
    case QS_NODE_SET:
    case QS_NODE_FROZENSET: return r->u.span;
    default: return ext_of(g, r)->items;
    }
}

static qs_span pairs_of(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return r->kind == QS_NODE_DICT ? r->u.span : ext_of(g, r)->pairs;
}

static qs_node span_at(const qs_graph *g, qs_span s, size_t i) {
    return i < s.n ? g->kids.v[s.start + i] : QS_NODE_NONE;
}

qs_node qs_graph_root(const qs_graph *g) {
    return g->root;
}
uint32_t qs_graph_count(const qs_graph *g) {
    return (uint32_t)(g->nodes.n - 1);
}
int qs_graph_protocol(const qs_graph *g) {
    return g->protocol;
}
size_t qs_graph_end(const qs_graph *g) {
    return g->end;
}

qs_trick qs_graph_trick(const qs_graph *g) {
    return g->trick;
}
bool qs_graph_ran_out(const qs_graph *g) {
    return g->ran_out;
}

qs_node_kind qs_node_kind_of(const qs_graph *g, qs_node n) {
    return (qs_node_kind)rec_of(g, n)->kind;
}

int64_t qs_node_int(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return r->kind == QS_NODE_INT || r->kind == QS_NODE_BOOL ? r->u.i : 0;
}

double qs_node_float(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return r->kind == QS_NODE_FLOAT ? r->u.f : 0;
}

qs_str qs_node_str(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    switch (r->kind) {
    case QS_NODE_STR:
    case QS_NODE_BYTES:
    case QS_NODE_BYTEARRAY:
    case QS_NODE_LONG:
        if (r->flags & NODE_OWNED) return g->owned.v[r->u.text.at];
        return (qs_str){g->data + r->u.text.at, r->u.text.n};
    default: return (qs_str){NULL, 0};
    }
}

bool qs_node_is_str8(const qs_graph *g, qs_node n) {
    return (rec_of(g, n)->flags & NODE_STR8) != 0;
}

qs_str qs_node_module(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return r->kind == QS_NODE_GLOBAL ? g->globals.v[r->u.ref.at].module : (qs_str){NULL, 0};
}

qs_str qs_node_name(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return r->kind == QS_NODE_GLOBAL ? g->globals.v[r->u.ref.at].name : (qs_str){NULL, 0};
}

bool qs_node_is_global(const qs_graph *g, qs_node n, const char *module, const char *name) {
    return rec_of(g, n)->kind == QS_NODE_GLOBAL && qs_str_is(qs_node_name(g, n), name) &&
           qs_str_is(qs_node_module(g, n), module);
}

size_t qs_node_len(const qs_graph *g, qs_node n) {
    return rec_of(g, n)->kind == QS_NODE_PERSID ? 1 : items_of(g, n).n;
}

qs_node qs_node_item(const qs_graph *g, qs_node n, size_t i) {
    const qs_node_rec *r = rec_of(g, n);
    if (r->kind == QS_NODE_PERSID) return i == 0 ? r->u.ref.at : QS_NODE_NONE;
    return span_at(g, items_of(g, n), i);
}

size_t qs_node_pairs(const qs_graph *g, qs_node n) {
    return pairs_of(g, n).n / 2;
}

qs_node qs_node_key(const qs_graph *g, qs_node n, size_t i) {
    return span_at(g, pairs_of(g, n), 2 * i);
}

qs_node qs_node_value(const qs_graph *g, qs_node n, size_t i) {
    return span_at(g, pairs_of(g, n), 2 * i + 1);
}

bool qs_node_call(const qs_graph *g, qs_node n, qs_call *out) {
    const qs_node_rec *r = rec_of(g, n);
    *out = (qs_call){0};
    if (!is_call(r)) return false;
    const qs_call_rec *c = &g->calls.v[r->u.ref.at];
    const qs_call_ext *x = ext_of(g, r);
    *out = (qs_call){.callable = c->callable,
                     .args = c->args,
                     .kwargs = x->kwargs,
                     .state = x->builds.n ? span_at(g, x->builds, x->builds.n - 1) : QS_NODE_NONE,
                     .builds = x->builds.n};
    return true;
}

qs_node qs_node_build(const qs_graph *g, qs_node n, size_t i) {
    return span_at(g, ext_of(g, rec_of(g, n))->builds, i);
}

qs_node qs_node_persid(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return r->kind == QS_NODE_PERSID ? r->u.ref.at : QS_NODE_NONE;
}

bool qs_node_is_dict_like(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    if (r->kind == QS_NODE_DICT) return true;
    if (!is_call(r)) return false;
    if (pairs_of(g, n).n) return true;
    qs_node callable = g->calls.v[r->u.ref.at].callable;
    return qs_node_is_global(g, callable, "collections", "OrderedDict") ||
           qs_node_is_global(g, callable, "collections", "defaultdict");
}

qs_node qs_node_get(const qs_graph *g, qs_node dict, const char *key) {
    qs_str want = qs_str_of(key);
    for (size_t i = qs_node_pairs(g, dict); i > 0; i--) {
        qs_node k = qs_node_key(g, dict, i - 1);
        if (rec_of(g, k)->kind == QS_NODE_STR && qs_str_eq(qs_node_str(g, k), want))
            return qs_node_value(g, dict, i - 1);
    }
    return QS_NODE_NONE;
}

size_t qs_node_children(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    const qs_call_ext *x = ext_of(g, r);
    if (is_call(r)) return 3 + (size_t)x->items.n + x->pairs.n + x->builds.n;
    return r->kind == QS_NODE_PERSID ? 1 : (size_t)items_of(g, n).n + pairs_of(g, n).n;
}

qs_node qs_node_child(const qs_graph *g, qs_node n, size_t i) {
    const qs_node_rec *r = rec_of(g, n);
    if (!is_call(r)) {
        if (r->kind == QS_NODE_DICT) return span_at(g, r->u.span, i);
        return qs_node_item(g, n, i);
    }
    const qs_call_rec *c = &g->calls.v[r->u.ref.at];
    const qs_call_ext *x = ext_of(g, r);
    const qs_node fixed[3] = {c->callable, c->args, x->kwargs};
    if (i < 3) return fixed[i];
    i -= 3;
    if (i < x->items.n) return span_at(g, x->items, i);
    i -= x->items.n;
    return i < x->pairs.n ? span_at(g, x->pairs, i) : span_at(g, x->builds, i - x->pairs.n);
}

static bool has_note(const qs_node_rec *r) {
    return r->kind == QS_NODE_REDUCE || r->kind == QS_NODE_PERSID || r->kind == QS_NODE_GLOBAL;
}

void qs_node_set_note(qs_graph *g, qs_node n, uint32_t note) {
    if (has_note(rec_of(g, n))) g->nodes.v[n].u.ref.note = note;
}

uint32_t qs_node_note(const qs_graph *g, qs_node n) {
    const qs_node_rec *r = rec_of(g, n);
    return has_note(r) ? r->u.ref.note : 0;
}

uint64_t qs_node_offset(const qs_graph *g, qs_node n) {
    return rec_of(g, n)->offset;
}
