/* Where in the object the state dict is. */
#include "model/checkpoint_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    MAX_LEVELS = 4,     /* of dicts in dicts */
    MAX_PLACES = 4096,  /* looked at in all: a cyclic object has no end */
    MAX_LIST_ITEMS = 16 /* of a list of models */
};

typedef struct place {
    qs_node node;
    qs_str path;
    int level;
} place;

typedef struct search {
    qs_checkpoint *c;
    const qs_graph *g;
    QS_VEC(place) queue;
    qs_err *e;
} search;

bool qs_ckpt_key(const qs_graph *g, qs_node n, qs_str *out) {
    if (qs_node_kind_of(g, n) != QS_NODE_STR && !qs_node_is_str8(g, n)) return false;
    *out = qs_node_str(g, n);
    return true;
}

qs_node qs_ckpt_value(qs_checkpoint *c, qs_node dict, size_t i, bool unique) {
    const qs_graph *g = c->graph;
    qs_str key, other;
    qs_node value = qs_node_value(g, dict, i);
    if (unique || !qs_ckpt_key(g, qs_node_key(g, dict, i), &key)) return value;
    size_t n = qs_node_pairs(g, dict);
    c->work += n;
    for (size_t k = 0; k < n; k++) {
        if (!qs_ckpt_key(g, qs_node_key(g, dict, k), &other) || !qs_str_eq(key, other)) continue;
        if (k < i) return QS_NODE_NONE;
        value = qs_node_value(g, dict, k);
    }
    return value;
}

static bool is_before(const qs_graph *g, qs_node dict, size_t i) {
    qs_str key, other;
    if (!qs_ckpt_key(g, qs_node_key(g, dict, i), &key)) return false;
    for (size_t k = 0; k < i; k++)
        if (qs_ckpt_key(g, qs_node_key(g, dict, k), &other) && qs_str_eq(key, other)) return true;
    return false;
}

bool qs_ckpt_keys_are_unique(const qs_graph *g, qs_node dict) {
    enum { FEW = 8 }; /* most dicts of a module: not worth a map */
    qs_map seen = {0};
    size_t n = qs_node_pairs(g, dict);
    bool unique = true;
    for (size_t i = 1; i < n && n <= FEW; i++)
        if (is_before(g, dict, i)) return false;
    for (size_t i = 0; i < n && unique && n > FEW; i++) {
        qs_str key;
        if (!qs_ckpt_key(g, qs_node_key(g, dict, i), &key)) continue;
        unique = qs_map_add(&seen, key, (uint32_t)i) == i; /* memory that is out is found out about later */
    }
    qs_map_free(&seen);
    return unique;
}

static bool is_tensor(const qs_checkpoint *c, qs_node n) {
    return qs_checkpoint_tensor_of_node(c, n) != NULL;
}

/* A state dict is a dict whose keys are all strings and that holds a tensor. */
static bool is_state_dict(qs_checkpoint *c, qs_node n, uint32_t *tensors) {
    *tensors = 0;
    if (!qs_node_is_dict_like(c->graph, n)) return false;
    size_t pairs = qs_node_pairs(c->graph, n);
    c->work += pairs;
    if (c->work > c->max_work) return false;
    for (size_t i = 0; i < pairs; i++) {
        qs_str key;
        if (!qs_ckpt_key(c->graph, qs_node_key(c->graph, n, i), &key)) return false;
        *tensors += is_tensor(c, qs_node_value(c->graph, n, i));
    }
    return *tensors > 0;
}

/* Fills *out if there is a root at n; an error only if a module's tree is hostile. */
static bool root_at(qs_checkpoint *c, qs_node n, qs_str path, qs_root *out, bool *found, qs_err *e) {
    *out = (qs_root){.path = path, .node = n};
    *found = true;
    if (qs_ckpt_module_state(c->graph, n) != QS_NODE_NONE) {
        out->kind = QS_ROOT_MODULE;
        out->class_name = qs_ckpt_class_name(c, n);
        if (!out->class_name.p) return qs_nomem(e);
        return qs_ckpt_walk_module(c, n, false, &out->entries, e);
    }
    *found = is_state_dict(c, n, &out->entries);
    return true;
}

static bool worth_a_look(const search *s, qs_node n) {
    qs_call call;
    qs_node_kind kind = qs_node_kind_of(s->g, n);
    if (is_tensor(s->c, n)) return false;
    if (kind == QS_NODE_LIST || kind == QS_NODE_TUPLE || qs_node_is_dict_like(s->g, n)) return true;
    return qs_node_call(s->g, n, &call) && call.builds > 0;
}

/* An optimizer keeps tensors by parameter: dicts with tensors, but no state dicts of a model. */
static bool is_optimizer(qs_str key) {
    return qs_str_starts(key, QS_STR("optim"));
}

static bool join(search *s, qs_str path, qs_str key, qs_str *out) {
    size_t n = path.n + (path.n ? 1 : 0) + key.n;
    char *p = qs_arena_alloc(&s->c->arena, n + 1);
    if (!p) return qs_nomem(s->e);
    snprintf(p, n + 1, "%.*s%s", QS_FMT(path), path.n ? "." : "");
    if (key.n) memcpy(p + n - key.n, key.p, key.n);
    p[n] = '\0';
    *out = (qs_str){p, n};
    return true;
}

static bool enqueue(search *s, const place *at, qs_str key, qs_node value) {
    if (s->queue.n >= MAX_PLACES || key.n > 256 || !worth_a_look(s, value)) return true;
    place next = {value, {0}, at->level + 1};
    if (!join(s, at->path, key, &next.path)) return false;
    return qs_push(&s->queue, next) || qs_nomem(s->e);
}

static bool look_into_dict(search *s, const place *at, qs_node dict) {
    size_t n = qs_node_pairs(s->g, dict);
    bool asked = false, unique = true;
    for (size_t i = 0; i < n && s->queue.n < MAX_PLACES; i++) {
        qs_str key;
        if (unique && !worth_a_look(s, qs_node_value(s->g, dict, i))) continue;
        if (!qs_ckpt_key(s->g, qs_node_key(s->g, dict, i), &key) || is_optimizer(key)) continue;
        if (!asked) unique = qs_ckpt_keys_are_unique(s->g, dict); /* a state dict is never asked */
        asked = true;
        qs_node value = qs_ckpt_value(s->c, dict, i, unique);
        if (s->c->work > s->c->max_work) break;
        if (!enqueue(s, at, key, value)) return false;
    }
    return true;
}

static bool look_into_list(search *s, const place *at) {
    size_t n = qs_node_len(s->g, at->node);
    for (size_t i = 0; i < n && i < MAX_LIST_ITEMS; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        if (!enqueue(s, at, qs_str_of(key), qs_node_item(s->g, at->node, i))) return false;
    }
    return true;
}

static bool look_into(search *s, const place *at) {
    qs_node_kind kind = qs_node_kind_of(s->g, at->node);
    if (kind == QS_NODE_LIST || kind == QS_NODE_TUPLE) return look_into_list(s, at);
    if (qs_node_is_dict_like(s->g, at->node)) return look_into_dict(s, at, at->node);
    return look_into_dict(s, at, qs_node_build(s->g, at->node, 0)); /* attributes of an object */
}

/* Breadth first, so that roots come out as a reader of the file would list them. */
static bool find_all(search *s) {
    if (!qs_push(&s->queue, (place){qs_graph_root(s->g), {"", 0}, 0})) return qs_nomem(s->e);
    for (size_t i = 0; i < s->queue.n; i++) {
        place at = s->queue.v[i]; /* a copy: the queue grows */
        qs_root root;
        bool found;
        if (!root_at(s->c, at.node, at.path, &root, &found, s->e)) return false;
        if (found && !qs_push(&s->c->roots, root)) return qs_nomem(s->e);
        bool all = found && (root.kind == QS_ROOT_MODULE || root.entries == qs_node_pairs(s->g, at.node));
        if (all) continue; /* there is nothing in it but its tensors */
        if (at.level < MAX_LEVELS && !look_into(s, &at)) return false;
    }
    return true;
}

static bool is_or_is_under(qs_str path, qs_str name) {
    return qs_str_starts(path, name) && (path.n == name.n || path.p[name.n] == '.');
}

static uint32_t choose(const qs_checkpoint *c) {
    static const char *const names[] = {
#define QS_ROOT_NAME(name) name,
#include "model/checkpoint_root.def"
#undef QS_ROOT_NAME
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (uint32_t i = 0; i < c->roots.n; i++)
            if (c->roots.v[i].entries && is_or_is_under(c->roots.v[i].path, qs_str_of(names[k]))) return i;
    uint32_t best = 0;
    for (uint32_t i = 1; i < c->roots.n; i++)
        if (c->roots.v[i].entries > c->roots.v[best].entries) best = i;
    return best;
}

/* The tensors under n, if there are any and they are wanted. */
static bool loose_at(qs_checkpoint *c, qs_node n, qs_str path, qs_root *out, bool *found, qs_err *e) {
    *out = (qs_root){.path = path, .kind = QS_ROOT_LOOSE, .node = n};
    *found = false;
    if (!c->loose) return true;
    if (!qs_ckpt_walk_loose(c, n, false, &out->entries, e)) return false;
    *found = out->entries > 0;
    return true;
}

/* One step of a dotted path from n: the value under the longest key that `path` starts with. Advances *path.
 */
static qs_node descend(const qs_graph *g, qs_node n, qs_str *path) {
    qs_node_kind kind = qs_node_kind_of(g, n);
    qs_node dict = qs_ckpt_module_state(g, n), best = QS_NODE_NONE;
    size_t taken = 0;
    if (dict != QS_NODE_NONE)
        dict = qs_node_get(g, dict, "_modules");
    else
        dict = qs_node_is_dict_like(g, n) ? n : qs_node_build(g, n, 0);
    for (size_t i = 0; i < qs_node_pairs(g, dict); i++) {
        char text[24];
        qs_str key;
        qs_node name = qs_node_key(g, dict, i);
        if (qs_node_kind_of(g, name) == QS_NODE_INT) { /* an optimizer's parameters are numbered */
            snprintf(text, sizeof text, "%" PRId64, qs_node_int(g, name));
            key = qs_str_of(text);
        } else if (!qs_ckpt_key(g, name, &key)) {
            continue;
        }
        if (key.n < taken) continue;
        if (!is_or_is_under(*path, key)) continue;
        best = qs_node_value(g, dict, i);
        taken = key.n;
    }
    if (kind == QS_NODE_LIST || kind == QS_NODE_TUPLE) {
        size_t at = 0;
        while (taken < path->n && taken < 9 && path->p[taken] >= '0' && path->p[taken] <= '9')
            at = at * 10 + (size_t)(path->p[taken++] - '0');
        if (taken && (taken == path->n || path->p[taken] == '.')) best = qs_node_item(g, n, at);
    }
    *path = qs_str_sub(*path, taken + (taken < path->n), path->n);
    return best;
}

static void list_choices(const qs_checkpoint *c, char *out, size_t cap) {
    qs_buf b = {0};
    for (uint32_t i = 0; i < c->roots.n && b.n < cap; i++) {
        char name[80];
        qs_str_printable(c->roots.v[i].path, name, sizeof name);
        qs_buf_addf(&b, "%s%s", i ? ", " : "", *name ? name : "\"\" (the top level)");
    }
    snprintf(out, cap, "%s", b.n ? b.p : "nothing");
    qs_buf_free(&b);
}

static bool fail_wanted(const qs_checkpoint *c, const char *wanted, qs_err *e) {
    char choices[300], name[80];
    list_choices(c, choices, sizeof choices);
    qs_str_printable(qs_str_of(wanted), name, sizeof name);
    return qs_fail(e, QS_E_USAGE, "\"%s\" is no state dict or module of this file; choose from: %s", name,
                   choices);
}

static bool choose_wanted(qs_checkpoint *c, const char *wanted, qs_err *e) {
    for (uint32_t i = 0; i < c->roots.n; i++) {
        if (!qs_str_is(c->roots.v[i].path, wanted)) continue;
        c->chosen = i;
        return true;
    }
    qs_str path = qs_arena_str(&c->arena, qs_str_of(wanted)), rest = path;
    qs_node n = qs_graph_root(c->graph);
    if (!path.p) return qs_nomem(e);
    while (rest.n && n != QS_NODE_NONE) n = descend(c->graph, n, &rest);
    qs_root root;
    bool found = false;
    if (n != QS_NODE_NONE && !root_at(c, n, path, &root, &found, e)) return false;
    if (n != QS_NODE_NONE && !found && !loose_at(c, n, path, &root, &found, e)) return false;
    if (!found) return fail_wanted(c, wanted, e);
    c->chosen = (uint32_t)c->roots.n;
    return qs_push(&c->roots, root) || qs_nomem(e);
}

/* "it is a dict with epoch: int, args: dict ..." */
static bool fail_nothing(const qs_checkpoint *c, qs_err *e) {
    const qs_graph *g = c->graph;
    qs_node root = qs_graph_root(g);
    char text[320];
    const char *tensors = c->tensors.n && !c->loose ? "; its tensors can be looked at: qatscope ls FILE" : "";
    qs_node_describe(g, root, text, sizeof text);
    size_t pairs = qs_node_pairs(g, root);
    if (!qs_node_is_dict_like(g, root) || pairs == 0)
        return qs_fail(e, QS_E_INPUT, "no state dict and no module in this file; it holds %s%s", text,
                       tensors);
    qs_buf b = {0};
    for (size_t i = 0; i < pairs && b.n < 300; i++) {
        char key[40], value[40];
        qs_node_describe(g, qs_node_key(g, root, i), key, sizeof key);
        qs_node_describe(g, qs_node_value(g, root, i), value, sizeof value);
        qs_buf_addf(&b, "%s%s: %s", i ? ", " : "", key, value);
    }
    qs_fail(
        e, QS_E_INPUT,
        "no state dict and no module in this file (--root NAME would name one); its top level is a dict with "
        "%s%s",
        b.p ? b.p : "?", tensors);
    qs_buf_free(&b);
    return false;
}

bool qs_ckpt_find_roots(qs_checkpoint *c, const char *wanted, qs_err *e) {
    search s = {.c = c, .g = c->graph, .e = e};
    c->max_work = 64ull * qs_graph_count(c->graph) + (1u << 20);
    bool ok = find_all(&s);
    qs_vec_free(&s.queue);
    if (!ok) return false;
    if (wanted) return choose_wanted(c, wanted, e);
    if (c->roots.n == 0) {
        qs_root root;
        bool found;
        if (!loose_at(c, qs_graph_root(c->graph), QS_STR(""), &root, &found, e)) return false;
        if (!found) return fail_nothing(c, e);
        if (!qs_push(&c->roots, root)) return qs_nomem(e);
    }
    c->chosen = choose(c);
    return true;
}
