/* What load_state_dict's hooks do to the dict before a module loads: nn.utils.spectral_norm and
 * parametrizations.weight_norm still take the names they once wrote (torch/nn/utils/spectral_norm.py,
 * torch/nn/utils/parametrizations.py), wrappers for activation checkpointing hide their own. */
#include "repair/strict_run.h"

const qs_module *qs_strict_child(const strict_run *r, const qs_module *mod, const char *leaf) {
    enum { FEW = 16 }; /* beyond them a look-up is quicker */
    qs_str name = qs_str_of(leaf);
    uint32_t i = mod->first_child;
    size_t skip = mod->name.n ? mod->name.n + 1 : 0;
    for (int seen = 0; i != QS_MODULE_NONE && seen < FEW; seen++) {
        const qs_module *child = qs_manifest_module(r->m, i);
        if (child->name.n == skip + name.n && qs_str_ends(child->name, name)) return child;
        i = child->next_sibling;
    }
    if (i != QS_MODULE_NONE) i = qs_manifest_find_child(r->m, mod->name, name);
    return i == QS_MODULE_NONE ? NULL : qs_manifest_module(r->m, i);
}

/* "weight_g" -> "parametrizations.weight.original0", if "weight_v" is there too. */
static bool rename_weight_norm(strict_run *r, qs_str name) {
    char leaf[4][256];
    qs_str key[4];
    strict_value v[2];
    int n = (int)(name.n < 200 ? name.n : 200);
    snprintf(leaf[0], sizeof *leaf, "%.*s_g", n, name.p);
    snprintf(leaf[1], sizeof *leaf, "%.*s_v", n, name.p);
    snprintf(leaf[2], sizeof *leaf, "parametrizations.%.*s.original0", n, name.p);
    snprintf(leaf[3], sizeof *leaf, "parametrizations.%.*s.original1", n, name.p);
    for (int i = 0; i < 4; i++) {
        key[i] = qs_strict_key(r, leaf[i]);
        if (!key[i].p) return qs_nomem(r->err);
    }
    for (int i = 0; i < 2; i++) v[i] = qs_strict_get(r, key[i]);
    if (!v[0].there || !v[1].there) return true;
    return qs_strict_pop(r, key[0]) && qs_strict_pop(r, key[1]) && qs_strict_put(r, key[2], v[0]) &&
           qs_strict_put(r, key[3], v[1]);
}

/* A module with NAME_orig, NAME_u and NAME_v that nn.utils.spectral_norm has hooked; NAME itself is no state.
 */
static bool has_spectral_norm(const strict_run *r, qs_str name) {
    static const char *const suffix[] = {"u", "v"};
    char leaf[256];
    for (int i = 0; i < 2; i++) {
        snprintf(leaf, sizeof leaf, "%.*s_%s", (int)(name.n < 200 ? name.n : 200), name.p, suffix[i]);
        uint32_t entry = qs_strict_entry(r->m, r->mod, leaf);
        if (entry == UINT32_MAX || qs_manifest_entry(r->m, entry)->kind != QS_KIND_BUFFER) return false;
    }
    return true;
}

/* SpectralNormLoadStateDictPreHook: state dicts older than NAME_v held NAME, from which it is computed. */
static bool spectral_norm(strict_run *r, qs_str name, bool strict) {
    static const char *const suffix[] = {"_orig", "", "_u", "_v"};
    int64_t version = r->src->spectral_norm ? r->src->spectral_norm(r->src->ctx, r->mod->name, name) : -1;
    qs_str key[4];
    strict_value v[4];
    char leaf[256];
    if (version >= 1) return true;
    for (int i = 0; i < 4; i++) {
        snprintf(leaf, sizeof leaf, "%.*s%s", (int)(name.n < 200 ? name.n : 200), name.p, suffix[i]);
        key[i] = qs_strict_key(r, leaf);
        if (!key[i].p) return qs_nomem(r->err);
        v[i] = qs_strict_get(r, key[i]);
    }
    if (version < 0 && v[0].there && v[2].there && v[3].there && !v[1].there) return true;
    bool lacking = false;
    for (int i = 0; i < 3; i++) {
        lacking |= !v[i].there;
        if (!v[i].there && strict && !qs_strict_missing(r, key[i])) return false;
    }
    if (lacking) return true;
    strict_value made = {.injected = true, .dtype = v[0].dtype};
    return qs_strict_pop(r, key[1]) && qs_strict_put(r, key[3], made);
}

static bool spectral_norms(strict_run *r, bool strict) {
    for (uint32_t i = 0; i < r->mod->entry_count; i++) {
        const qs_expected *x = qs_manifest_entry(r->m, r->mod->first_entry + i);
        qs_str leaf = qs_str_leaf(x->key);
        if (x->kind != QS_KIND_PARAMETER || !qs_str_ends(leaf, QS_STR("_orig"))) continue;
        qs_str name = qs_str_sub(leaf, 0, leaf.n - strlen("_orig"));
        if (has_spectral_norm(r, name) && !spectral_norm(r, name, strict)) return false;
    }
    return true;
}

static bool rename_key(strict_run *r, qs_str key, size_t at, const char *inserted) {
    qs_buf b = {0};
    qs_buf_add(&b, qs_str_sub(key, 0, at));
    qs_buf_addz(&b, inserted);
    qs_buf_add(&b, qs_str_sub(key, at, key.n));
    qs_str now = b.failed ? (qs_str){0} : qs_arena_str(&r->v->arena, qs_buf_str(&b));
    qs_buf_free(&b);
    if (!now.p) return qs_nomem(r->err);
    strict_value v = qs_strict_get(r, key);
    return !v.there || (qs_strict_pop(r, key) && qs_strict_put(r, now, v));
}

/* ActivationWrapper._pre_load_state_dict_hook
 * (torch/distributed/algorithms/_checkpoint/checkpoint_wrapper.py): state dicts do not name the wrapper, so
 * every key below it gets the name back. */
static bool wrap_checkpoint(strict_run *r) {
    qs_str name = r->mod->name, key;
    size_t at = name.n + (name.n > 0);
    uint32_t made = (uint32_t)r->overlay.n;
    for (uint32_t i = 0; i < r->src->count + made; i++) {
        qs_shape shape;
        qs_dtype dtype;
        const char *type;
        if (i < r->src->count)
            r->src->entry(r->src->ctx, i, &key, &shape, &dtype, &type);
        else
            key = r->overlay.v[i - r->src->count].key;
        bool below = !name.n || (key.n > at && key.p[name.n] == '.' && qs_str_starts(key, name));
        if (below && !rename_key(r, key, at, "_checkpoint_wrapped_module.")) return false;
    }
    return true;
}

static bool is_checkpoint_wrapper(qs_str class_name) {
    qs_str leaf = qs_str_leaf(class_name);
    return (qs_str_is(leaf, "CheckpointWrapper") || qs_str_is(leaf, "OffloadWrapper")) &&
           qs_str_starts(class_name, QS_STR("torch.distributed."));
}

bool qs_strict_hooks(strict_run *r, bool strict) {
    if (is_checkpoint_wrapper(r->mod->class_name) && !wrap_checkpoint(r)) return false;
    if (!spectral_norms(r, strict)) return false;
    if (r->torch < TORCH_WEIGHT_NORM) return true;
    const qs_module *all = qs_strict_child(r, r->mod, "parametrizations");
    for (uint32_t c = all ? all->first_child : QS_MODULE_NONE; c != QS_MODULE_NONE;
         c = qs_manifest_module(r->m, c)->next_sibling) {
        const qs_module *list = qs_manifest_module(r->m, c), *first = qs_strict_child(r, list, "0");
        if (!first || !qs_str_is(first->class_name, "torch.nn.utils.parametrizations._WeightNorm")) continue;
        if (!rename_weight_norm(r, qs_str_leaf(list->name))) return false;
    }
    return true;
}
