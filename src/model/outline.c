#include "model/outline.h"

#include "base/vec.h"

#include <inttypes.h>
#include <stdlib.h>

/* The parts of a node by where they come from. */
typedef struct shape {
    size_t pairs, items, attrs, args;
} shape;

static qs_node state_of(const qs_graph *g, qs_node n, size_t build) {
    qs_node state = qs_node_build(g, n, build);
    /* (None, {...}) is how objects with __slots__ are kept. */
    if (qs_node_kind_of(g, state) == QS_NODE_TUPLE && qs_node_len(g, state) == 2 &&
        qs_node_kind_of(g, qs_node_item(g, state, 0)) == QS_NODE_NIL)
        state = qs_node_item(g, state, 1);
    return state;
}

/* A state that is no dict is one part. */
static size_t attrs_of(const qs_graph *g, qs_node state) {
    return qs_node_is_dict_like(g, state) ? qs_node_pairs(g, state) : 1;
}

static shape shape_of(const qs_checkpoint *c, qs_node n) {
    const qs_graph *g = qs_checkpoint_graph(c);
    shape s = {0};
    qs_call call;
    if (qs_checkpoint_tensor_of_node(c, n) || qs_node_kind_of(g, n) == QS_NODE_PERSID) return s;
    s.pairs = qs_node_pairs(g, n);
    s.items = qs_node_len(g, n);
    if (!qs_node_call(g, n, &call)) return s;
    for (uint32_t i = 0; i < call.builds; i++) s.attrs += attrs_of(g, state_of(g, n, i));
    if (!s.pairs && !s.items && !s.attrs) s.args = qs_node_len(g, call.args);
    return s;
}

size_t qs_outline_count(const qs_checkpoint *c, qs_node n) {
    shape s = shape_of(c, n);
    return s.pairs + s.items + s.attrs + s.args;
}

static void key_label(const qs_graph *g, qs_node key, const char *before, char *out, size_t cap) {
    char text[200];
    if (qs_node_kind_of(g, key) == QS_NODE_STR)
        qs_str_printable(qs_node_str(g, key), text, sizeof text);
    else
        qs_node_describe(g, key, text, sizeof text);
    snprintf(out, cap, "%s%s", before, text);
}

static qs_node attr(const qs_graph *g, qs_node n, size_t i, char *label, size_t cap) {
    for (size_t b = 0;; b++) {
        qs_node state = state_of(g, n, b);
        size_t count = attrs_of(g, state);
        if (i >= count) {
            i -= count;
            continue;
        }
        if (!qs_node_is_dict_like(g, state)) return snprintf(label, cap, "state"), state;
        key_label(g, qs_node_key(g, state, i), ".", label, cap);
        return qs_node_value(g, state, i);
    }
}

qs_node qs_outline_part(const qs_checkpoint *c, qs_node n, size_t i, char *label, size_t cap) {
    const qs_graph *g = qs_checkpoint_graph(c);
    shape s = shape_of(c, n);
    label[0] = 0;
    if (i < s.pairs) {
        key_label(g, qs_node_key(g, n, i), "", label, cap);
        return qs_node_value(g, n, i);
    }
    i -= s.pairs;
    if (i < s.items) return snprintf(label, cap, "[%zu]", i), qs_node_item(g, n, i);
    i -= s.items;
    if (i < s.attrs) return attr(g, n, i, label, cap);
    i -= s.attrs;
    qs_call call;
    if (i >= s.args || !qs_node_call(g, n, &call)) return QS_NODE_NONE;
    snprintf(label, cap, "(%zu)", i);
    return qs_node_item(g, call.args, i);
}

/* ---- one line ---- */

static size_t tensor_value(const qs_tensor *t, char *out, size_t cap) {
    char dims[128];
    qs_shape_text(t->shape, "x", dims, sizeof dims);
    int n = snprintf(out, cap, "tensor %s %s", t->kind == QS_TENSOR_OPAQUE ? "" : dims,
                     qs_dtype_get(t->dtype)->name);
    return n > 0 && (size_t)n < cap ? (size_t)n : cap - 1;
}

static const char *container_name(const qs_graph *g, qs_node n) {
    switch (qs_node_kind_of(g, n)) {
    case QS_NODE_TUPLE: return "tuple";
    case QS_NODE_LIST: return "list";
    case QS_NODE_SET: return "set";
    case QS_NODE_FROZENSET: return "frozenset";
    case QS_NODE_DICT: return "dict";
    default: return NULL;
    }
}

size_t qs_outline_value(const qs_checkpoint *c, qs_node n, char *out, size_t cap) {
    const qs_graph *g = qs_checkpoint_graph(c);
    const qs_tensor *t = qs_checkpoint_tensor_of_node(c, n);
    const char *container = container_name(g, n);
    qs_call call;
    char name[200];
    int len;
    if (t) return tensor_value(t, out, cap);
    if (container) {
        len = snprintf(out, cap, "%s of %zu", container, qs_outline_count(c, n));
    } else if (qs_node_call(g, n, &call)) {
        qs_str_printable(qs_node_name(g, call.callable), name, sizeof name);
        char module[200];
        qs_str_printable(qs_node_module(g, call.callable), module, sizeof module);
        bool known = qs_str_is(qs_node_module(g, call.callable), "collections") || !module[0];
        len = snprintf(out, cap, "%s%s%s of %zu", known ? "" : module, known ? "" : ".", name,
                       qs_outline_count(c, n));
    } else {
        return qs_node_describe(g, n, out, cap);
    }
    return len > 0 && (size_t)len < cap ? (size_t)len : cap - 1;
}

/* ---- size ---- */

typedef struct census {
    const qs_checkpoint *c;
    unsigned char *seen;    /* a byte a node: two parents need not count twice, and the graph may be cyclic */
    unsigned char *counted; /* a byte a storage */
    QS_VEC(qs_node) stack;
    uint64_t bytes;
} census;

static bool visit(census *x, qs_node n) {
    const qs_graph *g = qs_checkpoint_graph(x->c);
    const qs_tensor *t = qs_checkpoint_tensor_of_node(x->c, n);
    if (t && t->storage != UINT32_MAX && !x->counted[t->storage]) {
        x->counted[t->storage] = 1;
        x->bytes += qs_checkpoint_storage(x->c, t->storage)->bytes;
    }
    for (size_t i = 0; i < qs_node_children(g, n); i++) {
        qs_node child = qs_node_child(g, n, i);
        if (child == QS_NODE_NONE || child > qs_graph_count(g) || x->seen[child]) continue;
        x->seen[child] = 1;
        if (!qs_push(&x->stack, child)) return false;
    }
    return true;
}

bool qs_outline_bytes(const qs_checkpoint *c, qs_node n, uint64_t *bytes, qs_err *e) {
    census x = {.c = c,
                .seen = calloc((size_t)qs_graph_count(qs_checkpoint_graph(c)) + 1, 1),
                .counted = calloc((size_t)qs_checkpoint_storage_count(c) + 1, 1)};
    bool ok = x.seen && x.counted && visit(&x, n);
    while (ok && x.stack.n) ok = visit(&x, x.stack.v[--x.stack.n]);
    if (!ok) qs_nomem(e);
    *bytes = x.bytes;
    qs_vec_free(&x.stack);
    free(x.seen);
    free(x.counted);
    return ok;
}

/* ---- in full ---- */

void qs_hex_dump(const void *data, size_t n, uint64_t base, qs_buf *out) {
    const unsigned char *p = data;
    for (size_t at = 0; at < n; at += 16) {
        qs_buf_addf(out, "%08" PRIx64 " ", base + at);
        for (size_t i = at; i < at + 16; i++)
            if (i < n)
                qs_buf_addf(out, "%s%02x", i % 8 ? " " : "  ", p[i]);
            else
                qs_buf_addz(out, i % 8 ? "   " : "    ");
        qs_buf_addz(out, "  ");
        for (size_t i = at; i < at + 16 && i < n; i++)
            qs_buf_addc(out, p[i] >= ' ' && p[i] < 0x7f ? (char)p[i] : '.');
        qs_buf_addc(out, '\n');
    }
}

typedef struct level {
    qs_node node;
    size_t next;
} level;

enum { LEVELS = 16 };

/* Every part on a line of its own, indented; a stack, and no deeper than LEVELS, because the graph may be
 * cyclic. */
static void list_parts(const qs_checkpoint *c, qs_node n, size_t lines, qs_buf *out) {
    level stack[LEVELS] = {{n, 0}};
    int depth = 0;
    while (depth >= 0 && lines > 0 && !out->failed) {
        level *at = &stack[depth];
        if (at->next >= qs_outline_count(c, at->node)) {
            depth--;
            continue;
        }
        char label[200], value[400];
        qs_node part = qs_outline_part(c, at->node, at->next++, label, sizeof label);
        qs_outline_value(c, part, value, sizeof value);
        qs_buf_addf(out, "%*s%s  %s\n", depth * 2, "", label, value);
        lines--;
        if (depth + 1 < LEVELS && qs_outline_count(c, part)) stack[++depth] = (level){part, 0};
    }
    if (lines == 0) qs_buf_addz(out, "...\n");
}

bool qs_outline_text(const qs_checkpoint *c, qs_node n, size_t lines, qs_buf *out) {
    const qs_graph *g = qs_checkpoint_graph(c);
    qs_str s = qs_node_str(g, n);
    char value[4096];
    switch (qs_node_kind_of(g, n)) {
    case QS_NODE_STR: qs_buf_add(out, s); break;
    case QS_NODE_BYTES:
    case QS_NODE_BYTEARRAY: qs_hex_dump(s.p, s.n, 0, out); break;
    default:
        qs_outline_value(c, n, value, sizeof value);
        qs_buf_addf(out, "%s\n", value);
        list_parts(c, n, lines, out);
    }
    return !out->failed;
}
