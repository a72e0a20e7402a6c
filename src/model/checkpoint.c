#include "model/checkpoint_internal.h"
#include "model/foreign.h"

#include <stdlib.h>

/* ---- filling ---- */

/* `hash`: qs_map_expect of the key. */
static bool add_entry(qs_checkpoint *c, qs_str key, uint32_t hash, qs_node node, bool is_param, qs_err *e) {
    const qs_tensor *t = qs_checkpoint_tensor_of_node(c, node);
    if (t && t->flags & QS_TENSOR_IS_PARAMETER) is_param = true;
    uint32_t tensor = t ? (uint32_t)(t - c->tensors.v) : QS_NONE;
    qs_entry entry = {.key = key, .node = node, .tensor = tensor, .is_param = is_param};
    if (c->entries.n >= QS_NONE) return qs_fail(e, QS_E_LIMIT, "too many entries");
    uint32_t at = qs_map_add_expected(&c->entry_by_key, key, hash, (uint32_t)c->entries.n);
    if (at == QS_MAP_NONE) return qs_nomem(e);
    if (at < c->entries.n) {
        entry.key = c->entries.v[at].key;
        c->entries.v[at] = entry;
        return true;
    }
    return qs_push(&c->entries, entry) || qs_nomem(e);
}

bool qs_ckpt_add_entry(qs_checkpoint *c, qs_str key, qs_node node, bool is_param, qs_err *e) {
    if (!qs_map_reserve(&c->entry_by_key, c->entries.n + 1)) return qs_nomem(e);
    return add_entry(c, key, qs_map_expect(&c->entry_by_key, key), node, is_param, e);
}

bool qs_ckpt_add_version(qs_checkpoint *c, qs_str prefix, int64_t version, qs_err *e) {
    uint32_t at = qs_map_add(&c->version_by_prefix, prefix, (uint32_t)c->versions.n);
    if (at == QS_MAP_NONE) return qs_nomem(e);
    if (at < c->versions.n) {
        c->versions.v[at].version = version;
        return true;
    }
    return qs_push(&c->versions, (qs_version_at){prefix, version}) || qs_nomem(e);
}

/* `_metadata` is an attribute of the OrderedDict, so it is in the state a BUILD gave it. */
static bool read_metadata(qs_checkpoint *c, qs_node dict, qs_err *e) {
    const qs_graph *g = c->graph;
    qs_call call;
    if (!qs_node_call(g, dict, &call)) return true;
    for (size_t i = 0; i < call.builds; i++) {
        qs_node found = qs_node_get(g, qs_node_build(g, dict, i), "_metadata");
        if (qs_node_is_dict_like(g, found)) c->metadata = found;
    }
    for (size_t i = 0; i < qs_node_pairs(g, c->metadata); i++) {
        qs_str prefix;
        qs_node version = qs_node_get(g, qs_node_value(g, c->metadata, i), "version");
        if (!qs_ckpt_key(g, qs_node_key(g, c->metadata, i), &prefix)) continue;
        int64_t v = qs_node_kind_of(g, version) == QS_NODE_INT ? qs_node_int(g, version) : -1;
        if (!qs_ckpt_add_version(c, prefix, v, e)) return false;
    }
    return true;
}

enum { ENTRIES_A_STEP = 1 << 16, AHEAD = 8 };

static uint32_t expect_key(const qs_checkpoint *c, qs_node dict, size_t i) {
    return qs_map_expect(&c->entry_by_key, qs_node_str(c->graph, qs_node_key(c->graph, dict, i)));
}

static bool fill_state_dict(qs_checkpoint *c, qs_node dict, qs_err *e) {
    size_t n = qs_node_pairs(c->graph, dict);
    if (!qs_reserve(&c->entries, n) || !qs_map_reserve(&c->entry_by_key, n)) return qs_nomem(e);
    uint32_t expected[AHEAD];
    for (size_t i = 0; i < AHEAD; i++) expected[i] = expect_key(c, dict, i);
    for (size_t i = 0; i < n; i++) {
        qs_str key;
        uint32_t hash = expected[i % AHEAD];
        expected[i % AHEAD] = expect_key(c, dict, i + AHEAD);
        if (qs_ckpt_key(c->graph, qs_node_key(c->graph, dict, i), &key) &&
            !add_entry(c, key, hash, qs_node_value(c->graph, dict, i), false, e))
            return false;
        if (i % ENTRIES_A_STEP == 0 && !qs_progress_step(c->limits.progress, i, n, e)) return false;
    }
    return read_metadata(c, dict, e);
}

static bool fill_chosen(qs_checkpoint *c, qs_err *e) {
    const qs_root *root = &c->roots.v[c->chosen];
    uint32_t tensors;
    if (root->kind == QS_ROOT_MODULE) return qs_ckpt_walk_module(c, root->node, true, &tensors, e);
    if (root->kind == QS_ROOT_LOOSE) return qs_ckpt_walk_loose(c, root->node, true, &tensors, e);
    return fill_state_dict(c, root->node, e);
}

/* ---- opening ---- */

static bool open_container(qs_checkpoint *c, const char *path, qs_err *e) {
    qs_file *f;
    if (!qs_file_open(path, &f, e)) return false;
    qs_file_kind kind = qs_sniff(f);
    if (kind == QS_FILE_TORCH_ZIP && qs_str_ends(qs_str_of(path), QS_STR(".distcp"))) {
        qs_fail(e, QS_E_INPUT,
                "%s: is a piece of a distributed checkpoint; open the folder it is in, which has a .metadata",
                path);
        qs_file_close(f);
        return false;
    }
    if (kind == QS_FILE_TORCH_ZIP) return qs_container_open(f, &c->limits, &c->container, e);
    if (qs_foreign_kind(kind)) return qs_foreign_open(f, kind, &c->limits, &c->container, e);
    qs_sniff_refuse(f, kind, e);
    qs_file_close(f);
    return false;
}

static void read_byteorder(qs_checkpoint *c) {
    uint32_t r = qs_container_find(c->container, QS_STR("byteorder"));
    char text[4] = {0};
    qs_err ignored = QS_ERR_INIT;
    if (r == QS_NONE || qs_container_record(c->container, r)->size != 3) return;
    c->big_endian = qs_record_read(c->container, r, 0, text, 3, &ignored) && strcmp(text, "big") == 0;
}

static bool open_into(qs_checkpoint *c, const char *path, const qs_open_options *opt, qs_err *e) {
    if (!open_container(c, path, e)) return false;
    uint32_t r = qs_container_find(c->container, QS_STR("data.pkl"));
    if (r == QS_NONE) return qs_fail(e, QS_E_INPUT, "a zip archive without data.pkl is no torch checkpoint");
    read_byteorder(c);
    return qs_record_slurp(c->container, r, &c->limits, QS_LIMIT_PICKLE_BYTES, &c->pickle, &c->pickle_bytes,
                           e) &&
           qs_pickle_read(c->pickle, c->pickle_bytes, "data.pkl", &c->limits, &c->graph, e) &&
           qs_ckpt_scan_tensors(c, e) && qs_ckpt_find_roots(c, opt ? opt->root : NULL, e) &&
           fill_chosen(c, e);
}

bool qs_checkpoint_open(const char *path, const qs_open_options *opt, qs_checkpoint **out, qs_err *e) {
    qs_checkpoint *c = calloc(1, sizeof *c);
    if (!c) return qs_nomem(e);
    c->limits = opt && opt->limits.pickle_bytes ? opt->limits : QS_LIMITS_DEFAULT;
    c->loose = opt && opt->loose;
    c->path = qs_arena_str(&c->arena, qs_str_of(path)).p;
    bool ok = c->path ? open_into(c, path, opt, e) : qs_nomem(e);
    c->limits.progress = NULL; /* the caller's, for the time of this call */
    if (ok) {
        *out = c;
        return true;
    }
    char name[200];
    qs_str_printable(qs_str_of(path), name, sizeof name);
    if (!strstr(e->msg, name)) qs_err_prefix(e, name);
    qs_checkpoint_close(c);
    return false;
}

void qs_checkpoint_close(qs_checkpoint *c) {
    if (!c) return;
    qs_vec_free(&c->storages);
    qs_vec_free(&c->tensors);
    qs_vec_free(&c->roots);
    qs_vec_free(&c->entries);
    qs_vec_free(&c->modules);
    qs_vec_free(&c->versions);
    qs_map_free(&c->storage_by_key);
    qs_map_free(&c->entry_by_key);
    qs_map_free(&c->version_by_prefix);
    if (c->graph) qs_graph_free(c->graph);
    free(c->pickle);
    if (c->container) qs_container_close(c->container);
    qs_arena_free(&c->arena);
    free(c);
}

/* ---- accessors ---- */

const char *qs_checkpoint_path(const qs_checkpoint *c) {
    return c->path;
}
const qs_container *qs_checkpoint_container(const qs_checkpoint *c) {
    return c->container;
}
const qs_graph *qs_checkpoint_graph(const qs_checkpoint *c) {
    return c->graph;
}
size_t qs_checkpoint_pickle_bytes(const qs_checkpoint *c) {
    return c->pickle_bytes;
}

const qs_limits *qs_checkpoint_limits(const qs_checkpoint *c) {
    return &c->limits;
}

const char *qs_root_kind_name(qs_root_kind kind) {
    static const char *const names[] = {"state dict", "module", "tensors"};
    return names[kind];
}

uint32_t qs_checkpoint_root_count(const qs_checkpoint *c) {
    return (uint32_t)c->roots.n;
}
const qs_root *qs_checkpoint_root(const qs_checkpoint *c, uint32_t i) {
    return &c->roots.v[i];
}
const qs_root *qs_checkpoint_chosen_root(const qs_checkpoint *c) {
    return &c->roots.v[c->chosen];
}

uint32_t qs_checkpoint_count(const qs_checkpoint *c) {
    return (uint32_t)c->entries.n;
}
const qs_entry *qs_checkpoint_entry(const qs_checkpoint *c, uint32_t i) {
    return &c->entries.v[i];
}
uint32_t qs_checkpoint_find(const qs_checkpoint *c, qs_str key) {
    return qs_map_get(&c->entry_by_key, key);
}

const qs_tensor *qs_entry_tensor(const qs_checkpoint *c, const qs_entry *en) {
    return en->tensor == QS_NONE ? NULL : &c->tensors.v[en->tensor];
}
const qs_tensor *qs_checkpoint_tensor(const qs_checkpoint *c, uint32_t i) {
    return &c->tensors.v[i];
}

const qs_tensor *qs_checkpoint_tensor_of_node(const qs_checkpoint *c, qs_node n) {
    uint32_t note = qs_node_kind_of(c->graph, n) == QS_NODE_REDUCE ? qs_node_note(c->graph, n) : 0;
    return note ? &c->tensors.v[note - 1] : NULL;
}

uint32_t qs_checkpoint_storage_count(const qs_checkpoint *c) {
    return (uint32_t)c->storages.n;
}
const qs_storage *qs_checkpoint_storage(const qs_checkpoint *c, uint32_t i) {
    return &c->storages.v[i];
}
qs_str qs_storage_key(const qs_checkpoint *c, const qs_storage *s) {
    return qs_node_str(c->graph, qs_node_item(c->graph, qs_node_persid(c->graph, s->node), 2));
}
qs_str qs_storage_location(const qs_checkpoint *c, const qs_storage *s) {
    return qs_node_str(c->graph, s->location);
}

bool qs_checkpoint_has_metadata(const qs_checkpoint *c) {
    return c->metadata != QS_NODE_NONE || c->versions.n > 0;
}
int64_t qs_checkpoint_version(const qs_checkpoint *c, qs_str prefix) {
    uint32_t at = qs_map_get(&c->version_by_prefix, prefix);
    return at == QS_MAP_NONE ? -1 : c->versions.v[at].version;
}
uint32_t qs_checkpoint_metadata_count(const qs_checkpoint *c) {
    return (uint32_t)c->versions.n;
}
qs_str qs_checkpoint_metadata_prefix(const qs_checkpoint *c, uint32_t i) {
    return c->versions.v[i].prefix;
}
qs_node qs_checkpoint_metadata_node(const qs_checkpoint *c) {
    return c->metadata;
}

uint32_t qs_checkpoint_module_count(const qs_checkpoint *c) {
    return (uint32_t)c->modules.n;
}
qs_str qs_checkpoint_module_prefix(const qs_checkpoint *c, uint32_t i) {
    return c->modules.v[i].prefix;
}
qs_str qs_checkpoint_module_class(const qs_checkpoint *c, uint32_t i) {
    return c->modules.v[i].class_name;
}
qs_node qs_checkpoint_module_state(const qs_checkpoint *c, uint32_t i) {
    return c->modules.v[i].state;
}
