#include "quant/manifest_config.h"

#include "model/manifest_build.h"
#include "quant/fqinit_impl.h"

/* A fake quantizer with a range to choose: those with fixed parameters compute none. */
static bool has_settings(const qs_init_context *x, const qs_module *mod) {
    qs_block b;
    if (mod->attrs.qscheme.n || !qs_block_entry(x, mod->name, "scale")) return false;
    if (!qs_block_entry(x, mod->name, "fake_quant_enabled")) return false;
    qs_block_describe(x, mod->name, &b);
    return !b.fixed;
}

static void set_attrs(qs_module_attrs *to, const qs_qconfig *cfg) {
    to->dtype = qs_str_of(qs_dtype_get(cfg->dtype)->name);
    to->qscheme = qs_str_of(qs_qscheme_name(cfg->scheme));
    to->quant_min = cfg->quant_min;
    to->quant_max = cfg->quant_max;
    if (qs_qscheme_per_channel(cfg->scheme)) to->ch_axis = cfg->ch_axis;
}

bool qs_manifest_infer_configs(qs_manifest *m, const qs_checkpoint *c, qs_config_count *count, qs_err *e) {
    /* A BatchNorm's eps does not bear on the settings; given, so that nothing is asked about it. */
    const qs_init_context x = {.target = m, .sibling = c, .bn_eps = 1e-5};
    qs_init_cache *cache = qs_init_cache_new();
    bool ok = cache || qs_nomem(e);
    *count = (qs_config_count){0};
    for (size_t i = 0; ok && i < m->modules.n; i++) {
        qs_module *mod = &m->modules.v[i];
        qs_block_config found;
        if (!has_settings(&x, mod)) continue;
        ok = qs_block_config_cached(&x, mod->name, cache, &found, e);
        if (!ok) break;
        bool sure = found.own_numbers && !found.ambiguous;
        if (sure) set_attrs(&mod->attrs, &found.cfg);
        *(sure ? &count->told : &count->unsure) += 1;
    }
    qs_init_cache_free(cache);
    return ok;
}
