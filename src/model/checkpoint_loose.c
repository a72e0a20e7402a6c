/* Tensors of a file that has no state dict: an optimizer's, a list of them, a single one. Each has the path
 * to it for a name. */
#include "model/checkpoint_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    LEVELS = 32,      /* of objects in objects that are gone into */
    PART = 128,       /* bytes of a path's part that are kept */
    NAMES = 256 << 20 /* bytes of all names together: a long key above many tensors is in each of them */
};

typedef struct walk {
    qs_checkpoint *c;
    const qs_graph *g;
    bool fill;
    uint8_t *seen; /* [node]: gone into; a shared object is listed where it is met first, a cycle ends */
    qs_buf path;
    size_t named; /* bytes */
    uint32_t tensors;
    qs_err *e;
} walk;

static bool look(walk *w, qs_node n, int level);

static bool take(walk *w, qs_node n) {
    w->tensors++;
    if (!w->fill) return true;
    qs_str key = w->path.n ? qs_buf_str(&w->path) : QS_STR("tensor"); /* the whole file is one */
    /* A dict may have 1 and "1" for keys: one of them gets another name. */
    size_t end = w->path.n;
    for (uint32_t i = w->tensors; qs_map_get(&w->c->entry_by_key, key) != QS_MAP_NONE; i++) {
        w->path.n = end;
        qs_buf_addf(&w->path, "#%" PRIu32, i);
        key = qs_buf_str(&w->path);
    }
    w->named += key.n;
    if (w->named > NAMES)
        return qs_fail(w->e, QS_E_LIMIT, "the paths to its tensors have over %d bytes", NAMES);
    qs_str copy = w->path.failed ? (qs_str){0} : qs_arena_str(&w->c->arena, key);
    w->path.n = end;
    return copy.p ? qs_ckpt_add_entry(w->c, copy, n, false, w->e) : qs_nomem(w->e);
}

/* Go into the value under a name, as a part of the path. */
static bool step(walk *w, qs_str name, qs_node value, int level) {
    size_t n = w->path.n;
    if (n) qs_buf_addc(&w->path, '.');
    qs_buf_add(&w->path, qs_str_sub(name, 0, name.n < PART ? name.n : PART));
    bool ok = w->path.failed ? qs_nomem(w->e) : look(w, value, level + 1);
    w->path.n = n;
    return ok;
}

/* A number, a dtype, a tuple of them: said in words. Of an object the words may be others once it was saved
 * anew. */
static bool is_plain(const qs_graph *g, qs_node key) {
    switch (qs_node_kind_of(g, key)) {
    case QS_NODE_NIL:
    case QS_NODE_BOOL:
    case QS_NODE_INT:
    case QS_NODE_LONG:
    case QS_NODE_FLOAT:
    case QS_NODE_STR:
    case QS_NODE_BYTES:
    case QS_NODE_GLOBAL: return true;
    default: return false;
    }
}

static bool is_plain_tuple(const qs_graph *g, qs_node key) {
    size_t n = qs_node_kind_of(g, key) == QS_NODE_TUPLE ? qs_node_len(g, key) : 0;
    for (size_t i = 0; i < n; i++)
        if (!is_plain(g, qs_node_item(g, key, i))) return false;
    return n > 0;
}

/* The key as a part of the path, a view of text[80] where it is no string. */
static qs_str key_name(const qs_graph *g, qs_node key, size_t index, char text[80]) {
    qs_str name;
    if (qs_ckpt_key(g, key, &name)) return name;
    if (is_plain(g, key) || is_plain_tuple(g, key))
        qs_node_describe(g, key, text, 80);
    else
        snprintf(text, 80, "key %zu", index);
    return qs_str_of(text);
}

static bool look_into_dict(walk *w, qs_node dict, int level) {
    size_t n = qs_node_pairs(w->g, dict);
    bool ok = true, unique = qs_ckpt_keys_are_unique(w->g, dict);
    for (size_t i = 0; ok && i < n; i++) {
        char text[80];
        if (w->c->work > w->c->max_work) break;
        qs_node value = qs_ckpt_value(w->c, dict, i, unique);
        if (value == QS_NODE_NONE) continue;
        qs_str name = key_name(w->g, qs_node_key(w->g, dict, i), i, text);
        ok = step(w, name, value, level);
    }
    return ok;
}

static bool look_into_list(walk *w, qs_node list, int level) {
    size_t n = qs_node_len(w->g, list);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i);
        ok = step(w, qs_str_of(name), qs_node_item(w->g, list, i), level);
    }
    return ok;
}

static bool look(walk *w, qs_node n, int level) {
    if (qs_checkpoint_tensor_of_node(w->c, n)) return take(w, n);
    if (level > LEVELS || w->seen[n]) return true;
    w->seen[n] = 1;
    qs_node_kind kind = qs_node_kind_of(w->g, n);
    if (kind == QS_NODE_LIST || kind == QS_NODE_TUPLE) return look_into_list(w, n, level);
    if (qs_node_is_dict_like(w->g, n)) return look_into_dict(w, n, level);
    qs_call call;
    bool ok = true;
    if (!qs_node_call(w->g, n, &call)) return true;
    for (size_t i = 0; ok && i < call.builds; i++) /* attributes of an object */
        ok = look_into_dict(w, qs_node_build(w->g, n, i), level);
    return ok;
}

bool qs_ckpt_walk_loose(qs_checkpoint *c, qs_node top, bool fill, uint32_t *tensors, qs_err *e) {
    walk w = {.c = c, .g = c->graph, .fill = fill, .e = e};
    w.seen = calloc((size_t)qs_graph_count(c->graph) + 1, 1);
    bool ok = w.seen ? look(&w, top, 0) : qs_nomem(e);
    *tensors = w.tensors;
    free(w.seen);
    qs_buf_free(&w.path);
    return ok;
}
