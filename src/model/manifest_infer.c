/* A manifest from a checkpoint: what a model that could save it expects. */
#include "model/manifest_build.h"
#include "model/module_class.h"

#include <math.h>

typedef struct infer {
    const qs_checkpoint *c;
    qs_manifest *m;
    qs_err *err;
} infer;

static qs_str copy(infer *f, qs_str s) {
    return qs_arena_str(&f->m->arena, s);
}

static bool add_entry(infer *f, const qs_entry *en, const qs_limits *limits) {
    const qs_tensor *t = qs_entry_tensor(f->c, en);
    qs_expected x = {.key = copy(f, en->key)};
    if (!x.key.p) return qs_nomem(f->err);
    if (!t)
        x.kind = QS_KIND_EXTRA;
    else if (en->is_param)
        x.kind = QS_KIND_PARAMETER;
    else if (qs_checkpoint_module_count(f->c))
        x.kind = QS_KIND_BUFFER;
    if (t && (t->kind != QS_TENSOR_OPAQUE || t->shape.ndim)) {
        int64_t *dim = QS_ARENA_ARRAY(&f->m->arena, t->shape.ndim, int64_t);
        if (!dim) return qs_nomem(f->err);
        if (t->shape.ndim) memcpy(dim, t->shape.dim, t->shape.ndim * sizeof *dim);
        x.shape = (qs_shape){t->shape.ndim, dim};
        x.shape_known = true;
    }
    x.dtype = t ? t->dtype : QS_DTYPE_UNKNOWN;
    return qs_manifest_add_entry(f->m, &x, limits, f->err);
}

/* --- classes of a pickled module --- */

static double number_of(const qs_graph *g, qs_node dict, const char *name) {
    qs_node n = qs_node_get(g, dict, name);
    qs_node_kind kind = qs_node_kind_of(g, n);
    if (kind == QS_NODE_FLOAT) return qs_node_float(g, n);
    return kind == QS_NODE_INT ? (double)qs_node_int(g, n) : NAN;
}

static int64_t integer_of(const qs_graph *g, qs_node dict, const char *name) {
    qs_node n = qs_node_get(g, dict, name);
    return qs_node_kind_of(g, n) == QS_NODE_INT ? qs_node_int(g, n) : QS_ATTR_ABSENT;
}

/* torch.qint8 and torch.per_tensor_affine are globals of torch in a pickle. */
static qs_str torch_name_of(infer *f, qs_node dict, const char *name) {
    const qs_graph *g = qs_checkpoint_graph(f->c);
    qs_node n = qs_node_get(g, dict, name);
    if (!qs_str_is(qs_node_module(g, n), "torch")) return (qs_str){0};
    return copy(f, qs_node_name(g, n));
}

static void read_attributes(infer *f, qs_node state, qs_module *mod) {
    const qs_graph *g = qs_checkpoint_graph(f->c);
    qs_str leaf = qs_str_leaf(mod->class_name);
    if (qs_str_find(leaf, QS_STR("BatchNorm")) != SIZE_MAX) mod->attrs.bn_eps = number_of(g, state, "eps");
    if (qs_str_find(leaf, QS_STR("Quantize")) == SIZE_MAX && !qs_str_ends(leaf, QS_STR("Observer"))) return;
    mod->attrs.quant_min = integer_of(g, state, "quant_min");
    mod->attrs.quant_max = integer_of(g, state, "quant_max");
    mod->attrs.ch_axis = integer_of(g, state, "ch_axis");
    mod->attrs.averaging_constant = number_of(g, state, "averaging_constant");
    mod->attrs.dtype = torch_name_of(f, state, "dtype");
    mod->attrs.qscheme = torch_name_of(f, state, "qscheme");
    qs_node reduce = qs_node_get(g, state, "reduce_range");
    if (qs_node_kind_of(g, reduce) == QS_NODE_BOOL) mod->attrs.reduce_range = qs_node_int(g, reduce) != 0;
    if (qs_str_ends(leaf, QS_STR("Observer"))) mod->attrs.observer = leaf;
}

static bool read_module(infer *f, uint32_t i, const qs_limits *limits) {
    qs_str name = copy(f, qs_checkpoint_module_prefix(f->c, i));
    qs_str class_name = copy(f, qs_checkpoint_module_class(f->c, i));
    if (!name.p || !class_name.p) return qs_nomem(f->err);
    uint32_t at = qs_manifest_add_module(f->m, name, limits, f->err);
    if (at == QS_MODULE_NONE) return false;
    qs_module *mod = &f->m->modules.v[at];
    mod->class_name = class_name;
    mod->inferred = false;
    mod->version = qs_module_class_version(class_name);
    read_attributes(f, qs_checkpoint_module_state(f->c, i), mod);
    return true;
}

/* A fake quantizer says what its observer says, and a ConvBn the eps of its BatchNorm. */
static void lift_attributes(qs_manifest *m) {
    for (size_t i = 1; i < m->modules.n; i++) {
        const qs_module *mod = &m->modules.v[i];
        qs_module_attrs *up = &m->modules.v[mod->parent].attrs;
        qs_str leaf = qs_str_leaf(mod->name);
        if (qs_str_is(leaf, "bn") &&
            qs_str_find(m->modules.v[mod->parent].class_name, QS_STR(".qat.")) != SIZE_MAX)
            up->bn_eps = mod->attrs.bn_eps;
        if (!qs_str_is(leaf, "activation_post_process") || mod->attrs.observer.n == 0) continue;
        if (up->observer.n == 0) up->observer = mod->attrs.observer;
        if (up->dtype.n == 0) up->dtype = mod->attrs.dtype;
        if (up->qscheme.n == 0) up->qscheme = mod->attrs.qscheme;
        if (up->ch_axis == QS_ATTR_ABSENT) up->ch_axis = mod->attrs.ch_axis;
        if (isnan(up->averaging_constant)) up->averaging_constant = mod->attrs.averaging_constant;
        if (up->reduce_range < 0) up->reduce_range = mod->attrs.reduce_range;
    }
}

/* --- classes guessed from the keys --- */

static const qs_expected *own(const qs_manifest *m, const qs_module *mod, const char *leaf) {
    uint32_t i = qs_manifest_find_in(m, mod->name, qs_str_of(leaf));
    return i == UINT32_MAX ? NULL : &m->entries.v[i];
}

static const qs_module *child(const qs_manifest *m, const qs_module *mod, const char *leaf) {
    uint32_t i = qs_manifest_find_child(m, mod->name, qs_str_of(leaf));
    return i == QS_MODULE_NONE ? NULL : &m->modules.v[i];
}

static bool is_fakequant(const qs_manifest *m, const qs_module *mod) {
    return own(m, mod, "fake_quant_enabled") && own(m, mod, "scale");
}

static const char *fakequant_class(const qs_manifest *m, const qs_module *mod) {
    const qs_module *observer = child(m, mod, "activation_post_process");
    if (own(m, mod, "static_enabled") && own(m, mod, "learning_enabled"))
        return "torch.ao.quantization._learnable_fake_quantize._LearnableFakeQuantize";
    if (own(m, mod, "fake_quant_enabled")->dtype == QS_INT64)
        return "torch.ao.quantization.fake_quantize.FusedMovingAvgObsFakeQuantize";
    if (observer && own(m, observer, "scale") && own(m, observer, "zero_point"))
        return "torch.ao.quantization.fake_quantize.FixedQParamsFakeQuantize";
    return "torch.ao.quantization.fake_quantize.FakeQuantize";
}

/* Moving average or not cannot be seen; inside a fake quantizer it is the default of every qconfig. */
static const char *observer_class(const qs_manifest *m, const qs_module *mod) {
    const qs_expected *range = own(m, mod, "min_val");
    if (!range) range = own(m, mod, "min_vals");
    bool fq = mod->parent != QS_MODULE_NONE && is_fakequant(m, &m->modules.v[mod->parent]);
    if (own(m, mod, "histogram")) return "torch.ao.quantization.observer.HistogramObserver";
    if (range->shape.ndim == 1)
        return fq ? "torch.ao.quantization.observer.MovingAveragePerChannelMinMaxObserver"
                  : "torch.ao.quantization.observer.PerChannelMinMaxObserver";
    return fq ? "torch.ao.quantization.observer.MovingAverageMinMaxObserver"
              : "torch.ao.quantization.observer.MinMaxObserver";
}

static const char *by_rank(const qs_expected *weight, const char *const names[6]) {
    return weight->shape_known && weight->shape.ndim < 6 ? names[weight->shape.ndim] : NULL;
}

static const char *weighted_class(const qs_manifest *m, const qs_module *mod, const qs_expected *weight) {
    static const char *const conv_bn[] = {NULL,
                                          NULL,
                                          "torch.ao.nn.intrinsic.qat.modules.linear_fused.LinearBn1d",
                                          "torch.ao.nn.intrinsic.qat.modules.conv_fused.ConvBn1d",
                                          "torch.ao.nn.intrinsic.qat.modules.conv_fused.ConvBn2d",
                                          "torch.ao.nn.intrinsic.qat.modules.conv_fused.ConvBn3d"};
    static const char *const qat[] = {NULL,
                                      NULL,
                                      "torch.ao.nn.qat.modules.linear.Linear",
                                      "torch.ao.nn.qat.modules.conv.Conv1d",
                                      "torch.ao.nn.qat.modules.conv.Conv2d",
                                      "torch.ao.nn.qat.modules.conv.Conv3d"};
    static const char *const plain[] = {NULL,
                                        NULL,
                                        NULL,
                                        "torch.nn.modules.conv.Conv1d",
                                        "torch.nn.modules.conv.Conv2d",
                                        "torch.nn.modules.conv.Conv3d"};
    static const char *const converted[] = {NULL,
                                            NULL,
                                            NULL,
                                            "torch.ao.nn.quantized.modules.conv.Conv1d",
                                            "torch.ao.nn.quantized.modules.conv.Conv2d",
                                            "torch.ao.nn.quantized.modules.conv.Conv3d"};
    if (qs_dtype_get(weight->dtype)->kind == 'Q' && own(m, mod, "scale") && own(m, mod, "zero_point"))
        return by_rank(weight, converted);
    /* An Embedding has a matrix too, but no bias. */
    if (!child(m, mod, "weight_fake_quant")) {
        if (weight->shape_known && weight->shape.ndim == 2 && own(m, mod, "bias"))
            return "torch.nn.modules.linear.Linear";
        return by_rank(weight, plain);
    }
    return by_rank(weight, child(m, mod, "bn") ? conv_bn : qat);
}

static const char *guess_class(const qs_manifest *m, const qs_module *mod) {
    const qs_expected *weight = own(m, mod, "weight");
    if (is_fakequant(m, mod)) return fakequant_class(m, mod);
    if ((own(m, mod, "min_val") && own(m, mod, "max_val")) ||
        (own(m, mod, "min_vals") && own(m, mod, "max_vals")))
        return observer_class(m, mod);
    if (own(m, mod, "running_mean") && own(m, mod, "running_var"))
        return "torch.nn.modules.batchnorm.BatchNorm2d";
    if (own(m, mod, "dtype") && own(m, mod, "_packed_params"))
        return "torch.ao.nn.quantized.modules.linear.LinearPackedParams";
    const qs_module *packed = child(m, mod, "_packed_params");
    if (packed && own(m, packed, "_packed_params") && own(m, mod, "scale"))
        return "torch.ao.nn.quantized.modules.linear.Linear";
    if (weight) return weighted_class(m, mod, weight);
    if (child(m, mod, "quant") && child(m, mod, "module")) return "torch.ao.quantization.stubs.QuantWrapper";
    bool stub = qs_str_is(qs_str_leaf(mod->name), "quant") && child(m, mod, "activation_post_process");
    return stub ? "torch.ao.quantization.stubs.QuantStub" : NULL;
}

static void guess_kinds(qs_manifest *m, const qs_module *mod) {
    bool packs = qs_str_find(mod->class_name, QS_STR(".nn.quantized.")) != SIZE_MAX;
    bool buffers = qs_str_find(mod->class_name, QS_STR("quantization.")) != SIZE_MAX &&
                   qs_str_find(mod->class_name, QS_STR("_LearnableFakeQuantize")) == SIZE_MAX;
    static const char *const statistics[] = {"running_mean", "running_var", "num_batches_tracked"};
    for (uint32_t i = 0; i < mod->entry_count; i++) {
        qs_expected *x = &m->entries.v[mod->first_entry + i];
        if (packs) x->kind = QS_KIND_EXTRA;
        if (x->kind != QS_KIND_UNKNOWN) continue;
        if (buffers) x->kind = QS_KIND_BUFFER;
        for (int k = 0; k < 3 && mod->class_name.n; k++)
            if (qs_str_is(qs_str_leaf(x->key), statistics[k])) x->kind = QS_KIND_BUFFER;
    }
}

/* The axis of a per-channel weight quantizer, where the number of its channels fits one axis only. */
static void guess_axis(const qs_manifest *m, qs_module *mod) {
    const qs_expected *scale = own(m, mod, "scale");
    if (!scale || !scale->shape_known || scale->shape.ndim != 1 || scale->shape.dim[0] < 2) return;
    if (!qs_str_is(qs_str_leaf(mod->name), "weight_fake_quant") || mod->parent == QS_MODULE_NONE) return;
    const qs_expected *weight = own(m, &m->modules.v[mod->parent], "weight");
    int64_t axis = QS_ATTR_ABSENT;
    for (uint32_t i = 0; weight && i < weight->shape.ndim && i < 2; i++) {
        if (weight->shape.dim[i] != scale->shape.dim[0]) continue;
        if (axis != QS_ATTR_ABSENT) return;
        axis = i;
    }
    mod->attrs.ch_axis = axis;
}

static bool guess_module(infer *f, qs_module *mod) {
    qs_manifest *m = f->m;
    int64_t saved = qs_checkpoint_version(f->c, mod->name);
    const char *name = guess_class(m, mod);
    const qs_expected *extra = own(m, mod, "_extra_state");
    if (name) mod->class_name = qs_str_of(name);
    mod->version = saved >= 0 ? saved : name ? qs_module_class_version(mod->class_name) : -1;
    mod->extra_state = extra && extra->kind == QS_KIND_EXTRA;
    guess_kinds(m, mod);
    if (!name) return true;
    if (is_fakequant(m, mod)) guess_axis(m, mod);
    const qs_module *observer = child(m, mod, "activation_post_process");
    bool ranges = observer && (own(m, observer, "min_val") || own(m, observer, "min_vals"));
    if (is_fakequant(m, mod) && ranges)
        mod->attrs.observer = qs_str_leaf(qs_str_of(observer_class(m, observer)));
    return true;
}

/* Modules without keys (ReLU, Identity) are known from their versions only. */
static bool add_versioned(infer *f, const qs_limits *limits) {
    for (uint32_t i = 0; i < qs_checkpoint_metadata_count(f->c); i++) {
        qs_str name = copy(f, qs_checkpoint_metadata_prefix(f->c, i));
        if (!name.p) return qs_nomem(f->err);
        if (qs_manifest_add_module(f->m, name, limits, f->err) == QS_MODULE_NONE) return false;
    }
    return true;
}

static bool fill(infer *f, const qs_limits *limits) {
    uint32_t modules = qs_checkpoint_module_count(f->c);
    for (uint32_t i = 0; i < modules; i++)
        if (!read_module(f, i, limits)) return false;
    if (!modules && !add_versioned(f, limits)) return false;
    for (uint32_t i = 0; i < qs_checkpoint_count(f->c); i++)
        if (!add_entry(f, qs_checkpoint_entry(f->c, i), limits)) return false;
    if (!qs_manifest_finish(f->m, f->err)) return false;
    for (size_t i = 0; i < f->m->modules.n && !modules; i++)
        if (!guess_module(f, &f->m->modules.v[i])) return false;
    if (modules) lift_attributes(f->m);
    return modules || qs_manifest_finish(f->m, f->err); /* again: `partial` depends on what was guessed */
}

bool qs_manifest_from_checkpoint(const qs_checkpoint *c, qs_manifest **out, qs_err *e) {
    infer f = {.c = c, .m = qs_manifest_new(qs_checkpoint_path(c)), .err = e};
    if (!f.m) return qs_nomem(e);
    if (!fill(&f, qs_checkpoint_limits(c))) {
        qs_manifest_close(f.m);
        return false;
    }
    *out = f.m;
    return true;
}
