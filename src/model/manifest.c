#include "model/manifest_build.h"

#include <stdlib.h>

qs_manifest *qs_manifest_new(const char *name) {
    qs_manifest *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->name = qs_arena_str(&m->arena, qs_str_of(name));
    qs_module top = {
        .version = -1, .parent = QS_MODULE_NONE, .inferred = true, .attrs = QS_MODULE_ATTRS_NONE};
    top.name = QS_STR("");
    if (!m->name.p || !qs_push(&m->modules, top) || !qs_map_put(&m->by_name, top.name, 0)) {
        qs_manifest_close(m);
        return NULL;
    }
    return m;
}

void qs_manifest_close(qs_manifest *m) {
    if (!m) return;
    qs_vec_free(&m->modules);
    qs_vec_free(&m->entries);
    qs_map_free(&m->by_name);
    qs_map_free(&m->by_key);
    qs_arena_free(&m->arena);
    free(m);
}

bool qs_manifest_is_placeholder(const qs_module *mod) {
    return mod->inferred && mod->class_name.n == 0 && mod->version < 0;
}

/* One module whose parent is there. */
static uint32_t push_module(qs_manifest *m, qs_str name, uint32_t parent, qs_err *e) {
    qs_module mod = {
        .name = name, .version = -1, .parent = parent, .inferred = true, .attrs = QS_MODULE_ATTRS_NONE};
    uint32_t at = (uint32_t)m->modules.n;
    if (at >= QS_MANIFEST_MAX) {
        qs_fail(e, QS_E_LIMIT, "more than %d modules", QS_MANIFEST_MAX);
        return QS_MODULE_NONE;
    }
    if (!qs_push(&m->modules, mod) || !qs_map_put(&m->by_name, name, at)) {
        qs_nomem(e);
        return QS_MODULE_NONE;
    }
    return at;
}

uint32_t qs_manifest_add_module(qs_manifest *m, qs_str name, const qs_limits *limits, qs_err *e) {
    uint32_t at = qs_map_get(&m->by_name, name);
    if (at != QS_MAP_NONE) return at;
    /* The nearest ancestor that is there, then down again making what lacks. */
    qs_str have = name;
    uint64_t missing = 0;
    do {
        have = qs_str_parent(have);
        if (++missing > limits->depth) {
            char who[200];
            snprintf(who, sizeof who, "the name \"%.150s\"", name.p);
            qs_over_limit(e, limits, QS_LIMIT_DEPTH, who, 0);
            return QS_MODULE_NONE;
        }
    } while ((at = qs_map_get(&m->by_name, have)) == QS_MAP_NONE);
    while (have.n < name.n) {
        size_t to = have.n + 1;
        while (to < name.n && name.p[to] != '.') to++;
        have = qs_str_sub(name, 0, to);
        at = push_module(m, have, at, e);
        if (at == QS_MODULE_NONE) return at;
    }
    return at;
}

bool qs_manifest_add_entry(qs_manifest *m, const qs_expected *x, const qs_limits *limits, qs_err *e) {
    qs_expected copy = *x;
    copy.module = qs_manifest_add_module(m, qs_str_parent(x->key), limits, e);
    if (copy.module == QS_MODULE_NONE) return false;
    uint32_t at = (uint32_t)m->entries.n;
    if (at >= QS_MANIFEST_MAX) return qs_fail(e, QS_E_LIMIT, "more than %d entries", QS_MANIFEST_MAX);
    uint32_t stored = qs_map_add(&m->by_key, x->key, at);
    if (stored == QS_MAP_NONE || !qs_push(&m->entries, copy)) return qs_nomem(e);
    if (stored != at) return qs_fail(e, QS_E_INPUT, "the key \"%.200s\" is there twice", x->key.p);
    return true;
}

/* Whether the entries of every module are next to each other; fills first_entry and entry_count. */
static bool count_entries(qs_manifest *m) {
    bool adjacent = true;
    for (size_t i = 0; i < m->modules.n; i++) m->modules.v[i].first_entry = m->modules.v[i].entry_count = 0;
    for (uint32_t i = 0; i < m->entries.n; i++) {
        qs_module *mod = &m->modules.v[m->entries.v[i].module];
        if (mod->entry_count == 0) mod->first_entry = i;
        if (mod->first_entry + mod->entry_count++ != i) adjacent = false;
    }
    return adjacent;
}

/* A counting sort by module, stable: a listing sorted by name (safetensors) can mix a module's own keys with
 * its children's. */
static bool group_entries(qs_manifest *m, qs_err *e) {
    qs_expected *sorted = malloc(m->entries.n * sizeof *sorted);
    if (!sorted) return qs_nomem(e);
    uint32_t at = 0;
    for (size_t i = 0; i < m->modules.n; i++) {
        m->modules.v[i].first_entry = at;
        at += m->modules.v[i].entry_count;
        m->modules.v[i].entry_count = 0;
    }
    for (size_t i = 0; i < m->entries.n; i++) {
        qs_module *mod = &m->modules.v[m->entries.v[i].module];
        sorted[mod->first_entry + mod->entry_count++] = m->entries.v[i];
    }
    memcpy(m->entries.v, sorted, m->entries.n * sizeof *sorted);
    free(sorted);
    bool ok = true; /* every key is in the map already, so nothing is allocated */
    for (uint32_t i = 0; i < m->entries.n; i++) ok = qs_map_put(&m->by_key, m->entries.v[i].key, i) && ok;
    return ok || qs_nomem(e);
}

static bool link_children(qs_manifest *m, qs_err *e) {
    uint32_t *last = malloc(m->modules.n * sizeof *last);
    if (!last) return qs_nomem(e);
    for (uint32_t i = 0; i < m->modules.n; i++) {
        qs_module *mod = &m->modules.v[i];
        mod->first_child = mod->next_sibling = last[i] = QS_MODULE_NONE;
        if (mod->parent == QS_MODULE_NONE) continue;
        if (last[mod->parent] == QS_MODULE_NONE)
            m->modules.v[mod->parent].first_child = i;
        else
            m->modules.v[last[mod->parent]].next_sibling = i;
        last[mod->parent] = i;
    }
    free(last);
    return true;
}

bool qs_manifest_finish(qs_manifest *m, qs_err *e) {
    if (!link_children(m, e)) return false;
    if (!count_entries(m) && !group_entries(m, e)) return false;
    for (size_t i = 0; i < m->modules.n && !m->modules_known; i++)
        m->modules_known = !qs_manifest_is_placeholder(&m->modules.v[i]);
    m->partial = !m->modules_known;
    for (size_t i = 0; i < m->entries.n && !m->partial; i++) {
        const qs_expected *x = &m->entries.v[i];
        m->partial = x->kind != QS_KIND_EXTRA && (!x->shape_known || x->dtype == QS_DTYPE_UNKNOWN);
    }
    if (m->model.n == 0) m->model = m->modules.v[0].class_name;
    return true;
}

const char *qs_manifest_name(const qs_manifest *m) {
    return m->name.p;
}
qs_str qs_manifest_model(const qs_manifest *m) {
    return m->model;
}
qs_str qs_manifest_torch(const qs_manifest *m) {
    return m->torch;
}
bool qs_manifest_cut_off(const qs_manifest *m) {
    return m->cut_off;
}
bool qs_manifest_partial(const qs_manifest *m) {
    return m->partial;
}
uint32_t qs_manifest_module_count(const qs_manifest *m) {
    return (uint32_t)m->modules.n;
}
const qs_module *qs_manifest_module(const qs_manifest *m, uint32_t i) {
    return &m->modules.v[i];
}
uint32_t qs_manifest_find_module(const qs_manifest *m, qs_str name) {
    return qs_map_get(&m->by_name, name);
}
uint32_t qs_manifest_count(const qs_manifest *m) {
    return (uint32_t)m->entries.n;
}
const qs_expected *qs_manifest_entry(const qs_manifest *m, uint32_t i) {
    return &m->entries.v[i];
}
uint32_t qs_manifest_find(const qs_manifest *m, qs_str key) {
    return qs_map_get(&m->by_key, key);
}

uint32_t qs_manifest_find_next(const qs_manifest *m, qs_str key, uint32_t *next) {
    if (*next < m->entries.n && qs_str_eq(m->entries.v[*next].key, key)) return (*next)++;
    uint32_t i = qs_manifest_find(m, key);
    if (i != UINT32_MAX) *next = i + 1;
    return i;
}

/* A look-up, because a hostile module can have as many entries and children as it likes. */
static uint32_t find_joined(const qs_map *map, qs_str module, qs_str leaf) {
    char small[512];
    size_t dot = module.n ? 1 : 0, n = module.n + dot + leaf.n;
    char *p = n <= sizeof small ? small : malloc(n);
    if (!p) return UINT32_MAX;
    if (module.n) memcpy(p, module.p, module.n);
    if (dot) p[module.n] = '.';
    if (leaf.n) memcpy(p + module.n + dot, leaf.p, leaf.n);
    uint32_t at = qs_map_get(map, (qs_str){p, n});
    if (p != small) free(p);
    return at;
}

uint32_t qs_manifest_find_in(const qs_manifest *m, qs_str module, qs_str leaf) {
    return find_joined(&m->by_key, module, leaf);
}

uint32_t qs_manifest_find_child(const qs_manifest *m, qs_str module, qs_str leaf) {
    return find_joined(&m->by_name, module, leaf);
}
