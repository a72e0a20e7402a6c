/* state_dict() of a pickled module, without its classes (torch-files.md, section 4;
 * torch/nn/modules/module.py): parameters that are not None, buffers that are not None and persistent, then
 * the children in order. */
#include "model/checkpoint_internal.h"
#include "model/module_class.h"

#include <stdlib.h>

enum { MAX_PREFIX = 1 << 16 }; /* bytes of a dotted name */

static bool has_both(const qs_graph *g, qs_node dict) {
    return qs_node_kind_of(g, dict) == QS_NODE_DICT && qs_node_get(g, dict, "_parameters") != QS_NODE_NONE &&
           qs_node_get(g, dict, "_modules") != QS_NODE_NONE;
}

qs_node qs_ckpt_module_state(const qs_graph *g, qs_node n) {
    qs_call call;
    if (!qs_node_call(g, n, &call)) return QS_NODE_NONE;
    for (size_t i = 0; i < call.builds; i++) {
        qs_node state = qs_node_build(g, n, i);
        if (qs_node_kind_of(g, state) == QS_NODE_TUPLE) state = qs_node_item(g, state, 0); /* (dict, slots) */
        if (has_both(g, state)) return state;
    }
    /* torch.fx.GraphModule hands its __dict__ to the function that rebuilds it. */
    if (qs_node_kind_of(g, n) == QS_NODE_REDUCE &&
        qs_str_is(qs_node_module(g, call.callable), "torch.fx.graph_module") &&
        has_both(g, qs_node_item(g, call.args, 0)))
        return qs_node_item(g, call.args, 0);
    return QS_NODE_NONE;
}

qs_str qs_ckpt_class_name(qs_checkpoint *c, qs_node n) {
    const qs_graph *g = c->graph;
    qs_call call = {0};
    qs_node_call(g, n, &call);
    qs_node cls = call.callable;
    qs_str module = qs_node_module(g, cls), name = qs_node_name(g, cls);
    if (qs_str_is(name, "_reconstructor")) { /* protocols 0 and 1 */
        cls = qs_node_item(g, call.args, 0);
        module = qs_node_module(g, cls), name = qs_node_name(g, cls);
    } else if (qs_str_is(module, "torch.fx.graph_module")) {
        name = QS_STR("GraphModule");
    }
    char *p = qs_arena_alloc(&c->arena, module.n + name.n + 2);
    if (!p) return (qs_str){0};
    if (module.n) memcpy(p, module.p, module.n);
    p[module.n] = '.';
    if (name.n) memcpy(p + module.n + 1, name.p, name.n);
    p[module.n + 1 + name.n] = '\0';
    return (qs_str){p, module.n + 1 + name.n};
}

typedef struct frame {
    qs_node children;    /* its _modules */
    bool unique;         /* they have a name of their own each */
    size_t next, prefix; /* child to visit; length of its dotted prefix */
} frame;

typedef struct walk {
    qs_checkpoint *c;
    const qs_graph *g;
    QS_VEC(frame) stack;
    qs_buf prefix; /* "model.0." */
    bool fill;
    uint32_t tensors;
    uint64_t key_bytes;
    qs_err *e;
} walk;

static bool is_nil(const qs_graph *g, qs_node n) {
    return n == QS_NODE_NONE || qs_node_kind_of(g, n) == QS_NODE_NIL;
}

static bool set_has(walk *w, qs_node set, qs_str name) {
    const qs_graph *g = w->g;
    qs_call call;
    if (qs_node_call(g, set, &call)) set = qs_node_item(g, call.args, 0); /* protocol 2: set([...]) */
    size_t n = qs_node_len(g, set);
    w->c->work += n;
    for (size_t i = 0; i < n; i++)
        if (qs_str_eq(qs_node_str(g, qs_node_item(g, set, i)), name)) return true;
    return false;
}

static bool fail_endless(walk *w, qs_node n) {
    return qs_fail_at(w->e, QS_E_INPUT, "data.pkl", qs_node_offset(w->g, n),
                      "the module tree never ends: modules contain each other");
}

static bool fail_deep(walk *w, qs_node n) {
    return qs_over_limit_at(w->e, &w->c->limits, QS_LIMIT_DEPTH,
                            "a module tree that never ends because modules contain each other, or is deep", 0,
                            "data.pkl", qs_node_offset(w->g, n));
}

/* "prefix" + name in the arena. */
static bool full_key(walk *w, qs_str name, qs_str *out) {
    size_t n = w->prefix.n + name.n;
    w->key_bytes += n;
    if (w->key_bytes > w->c->limits.pickle_bytes)
        return qs_over_limit(w->e, &w->c->limits, QS_LIMIT_PICKLE_BYTES, "the names of the module's entries",
                             0);
    char *p = qs_arena_alloc(&w->c->arena, n + 1);
    if (!p) return qs_nomem(w->e);
    if (w->prefix.n) memcpy(p, w->prefix.p, w->prefix.n);
    if (name.n) memcpy(p + w->prefix.n, name.p, name.n);
    p[n] = '\0';
    *out = (qs_str){p, n};
    return true;
}

/* The pairs of _parameters or _buffers. */
static bool emit_entries(walk *w, qs_node dict, qs_node non_persistent, bool is_param) {
    size_t n = qs_node_pairs(w->g, dict);
    bool unique = qs_ckpt_keys_are_unique(w->g, dict);
    for (size_t i = 0; i < n; i++) {
        qs_str name, key;
        if (++w->c->work > w->c->max_work) return fail_endless(w, dict);
        qs_node value = qs_ckpt_value(w->c, dict, i, unique);
        if (value == QS_NODE_NONE || is_nil(w->g, value) ||
            !qs_ckpt_key(w->g, qs_node_key(w->g, dict, i), &name))
            continue;
        if (!is_param && set_has(w, non_persistent, name)) continue;
        w->tensors++;
        if (!w->fill) continue;
        if (!full_key(w, name, &key)) return false;
        if (!qs_ckpt_add_entry(w->c, key, value, is_param, w->e)) return false;
    }
    return true;
}

static bool add_module(walk *w, qs_node n, qs_node state) {
    qs_str prefix = {"", 0}, cls;
    qs_checkpoint *c = w->c;
    if (w->prefix.n && !full_key(w, QS_STR(""), &prefix)) return false;
    if (prefix.n) prefix.n--; /* without the dot */
    cls = qs_ckpt_class_name(c, n);
    if (!cls.p) return qs_nomem(w->e);
    if (!qs_push(&c->modules, (qs_module_at){prefix, cls, state})) return qs_nomem(w->e);
    int64_t version = qs_module_class_version(cls);
    /* Per-channel observers of torch 1.7, whose class path is the same, had min_vals and version 2. */
    if (qs_node_get(w->g, qs_node_get(w->g, state, "_buffers"), "min_vals") != QS_NODE_NONE) version = 2;
    return qs_ckpt_add_version(c, prefix, version, w->e);
}

/* A module's own entries; then its children wait on the stack. */
static bool enter(walk *w, qs_node n) {
    qs_node state = qs_ckpt_module_state(w->g, n);
    w->c->work += 1 + 4 * qs_node_pairs(w->g, state); /* four look-ups below */
    if (w->c->work > w->c->max_work) return fail_endless(w, n);
    if (w->stack.n >= w->c->limits.depth) return fail_deep(w, n);
    if (w->fill && !add_module(w, n, state)) return false;
    qs_node hidden = qs_node_get(w->g, state, "_non_persistent_buffers_set");
    if (!emit_entries(w, qs_node_get(w->g, state, "_parameters"), QS_NODE_NONE, true)) return false;
    if (!emit_entries(w, qs_node_get(w->g, state, "_buffers"), hidden, false)) return false;
    qs_node children = qs_node_get(w->g, state, "_modules");
    frame f = {
        .children = children, .unique = qs_ckpt_keys_are_unique(w->g, children), .prefix = w->prefix.n};
    return qs_push(&w->stack, f) || qs_nomem(w->e);
}

static bool step(walk *w) {
    frame *f = &w->stack.v[w->stack.n - 1];
    w->prefix.n = f->prefix;
    if (f->next >= qs_node_pairs(w->g, f->children)) {
        w->stack.n--;
        return true;
    }
    size_t i = f->next++;
    qs_node child = qs_ckpt_value(w->c, f->children, i, f->unique), key = qs_node_key(w->g, f->children, i);
    qs_str name;
    if (++w->c->work > w->c->max_work) return fail_endless(w, child);
    if (child == QS_NODE_NONE || is_nil(w->g, child) || !qs_ckpt_key(w->g, key, &name)) return true;
    if (w->prefix.n + name.n > MAX_PREFIX)
        return qs_fail_at(w->e, QS_E_LIMIT, "data.pkl", qs_node_offset(w->g, child),
                          "a module's name is longer than %d bytes", MAX_PREFIX);
    qs_buf_add(&w->prefix, name);
    qs_buf_addc(&w->prefix, '.');
    if (w->prefix.failed) return qs_nomem(w->e);
    return enter(w, child);
}

bool qs_ckpt_walk_module(qs_checkpoint *c, qs_node top, bool fill, uint32_t *tensors, qs_err *e) {
    walk w = {.c = c, .g = c->graph, .fill = fill, .e = e};
    bool ok = enter(&w, top);
    while (ok && w.stack.n) ok = step(&w);
    qs_vec_free(&w.stack);
    qs_buf_free(&w.prefix);
    *tensors = w.tensors;
    return ok;
}
