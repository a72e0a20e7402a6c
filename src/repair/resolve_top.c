/* What is in the file beside the state dict: epoch, optimizer, arguments. */
#include "repair/resolve_impl.h"

#include <stdlib.h>

/* Whether a root of this path is under the top-level key. */
static bool holds(qs_str key, qs_str path) {
    return qs_str_starts(path, key) && (path.n == key.n || path.p[key.n] == '.');
}

/* The longest top-level key that the path of the chosen root starts with is the one it is under. */
static bool holds_root(const qs_checkpoint *a, qs_str key) {
    const qs_graph *g = qs_checkpoint_graph(a);
    qs_node top = qs_graph_root(g);
    qs_str path = qs_checkpoint_chosen_root(a)->path;
    if (!holds(key, path)) return false;
    for (size_t i = 0; i < qs_node_pairs(g, top); i++) {
        qs_str other = qs_node_str(g, qs_node_key(g, top, i));
        if (other.n > key.n && holds(other, path)) return false;
    }
    return true;
}

static bool has_key(const qs_graph *g, qs_node dict, qs_str key) {
    for (size_t i = 0; i < qs_node_pairs(g, dict); i++) {
        qs_node k = qs_node_key(g, dict, i);
        if (qs_node_kind_of(g, k) == QS_NODE_STR && qs_str_eq(qs_node_str(g, k), key)) return true;
    }
    return false;
}

const char *qs_top_refusal(const qs_checkpoint *a, qs_str key) {
    const qs_graph *g = qs_checkpoint_graph(a);
    qs_node top = qs_graph_root(g);
    if (!qs_node_is_dict_like(g, top)) return "the file is no dict with entries that could be dropped";
    if (top == qs_checkpoint_chosen_root(a)->node)
        return "the file is the state dict alone: drop its keys instead";
    if (!has_key(g, top, key)) return "there is no such entry beside the state dict";
    return holds_root(a, key) ? "it holds the state dict" : NULL;
}

bool qs_resolve_drop_top(qs_resolution *r, uint32_t action, qs_str key, qs_err *e) {
    const char *no = qs_top_refusal(r->in.a, key);
    if (!no && qs_resolution_top_dropped(r, key)) no = "it is dropped already";
    if (no)
        return qs_fail(e, QS_E_REFUSED, "action %u: %.*s cannot be dropped: %s", action + 1, QS_FMT(key), no);
    r->counts[action].touched++;
    return qs_push(&r->dropped_top, key) || qs_nomem(e);
}

bool qs_resolution_top_dropped(const qs_resolution *r, qs_str key) {
    for (size_t i = 0; i < r->dropped_top.n; i++)
        if (qs_str_eq(r->dropped_top.v[i], key)) return true;
    return false;
}

size_t qs_resolution_tops_dropped(const qs_resolution *r) {
    return r->dropped_top.n;
}
