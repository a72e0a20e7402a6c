/* What torch's classes do before Module's own _load_from_state_dict. Each function follows the override of
 * the class it is named after: torch/nn/modules/{batchnorm,instancenorm}.py,
 * torch/ao/quantization/{observer,fake_quantize}.py, torch/ao/nn/intrinsic/qat/modules/conv_fused.py,
 * torch/ao/nn/quantized. */
#include "repair/strict_run.h"

static const struct {
    strict_class is;
    const char *leaf, *within;
} classes[] = {
#define QS_STRICT_CLASS(BEHAVIOUR, leaf, within) {STRICT_##BEHAVIOUR, leaf, within},
#include "repair/strict.def"
#undef QS_STRICT_CLASS
};

strict_class qs_strict_class_of(const qs_module *mod) {
    qs_str name = mod->base.n ? mod->base : mod->class_name;
    if (!qs_str_starts(name, QS_STR("torch.")) && !qs_str_starts(name, QS_STR("torchvision.")))
        return STRICT_PLAIN;
    qs_str leaf = qs_str_leaf(name);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if ((!*classes[i].leaf || qs_str_is(leaf, classes[i].leaf)) &&
            qs_str_find(name, qs_str_of(classes[i].within)) != SIZE_MAX)
            return classes[i].is;
    return STRICT_PLAIN;
}

/* Most modules have few entries: their names are nearer than a hash table. */
static uint32_t find_own(const qs_manifest *m, const qs_module *mod, qs_str leaf) {
    enum { FEW = 16 };
    if (mod->entry_count > FEW) return qs_manifest_find_in(m, mod->name, leaf);
    for (uint32_t i = mod->first_entry; i < mod->first_entry + mod->entry_count; i++) {
        qs_str key = qs_manifest_entry(m, i)->key;
        size_t skip = mod->name.n ? mod->name.n + 1 : 0;
        if (key.n == skip + leaf.n && qs_str_ends(key, leaf)) return i;
    }
    return UINT32_MAX;
}

uint32_t qs_strict_entry(const qs_manifest *m, const qs_module *mod, const char *leaf) {
    uint32_t i = find_own(m, mod, qs_str_of(leaf));
    return i == UINT32_MAX || qs_manifest_entry(m, i)->kind == QS_KIND_EXTRA ? UINT32_MAX : i;
}

static uint32_t own_entry(const strict_run *r, const char *leaf) {
    return qs_strict_entry(r->m, r->mod, leaf);
}

static bool inject(strict_run *r, const char *leaf, qs_shape shape, qs_dtype dtype) {
    qs_str key = qs_strict_key(r, leaf);
    if (!key.p) return qs_nomem(r->err);
    return qs_strict_put(
        r, key, (strict_value){.injected = true, .shape_known = true, .shape = shape, .dtype = dtype});
}

/* Is state_dict[PREFIX + leaf] there? Mostly it is an entry of the model, too. */
static bool own_there(strict_run *r, const char *leaf, bool *there) {
    uint32_t entry = own_entry(r, leaf);
    if (entry != UINT32_MAX) return *there = qs_strict_get_entry(r, entry).there, true;
    qs_str key = qs_strict_key(r, leaf);
    if (!key.p) return qs_nomem(r->err);
    *there = qs_strict_get(r, key).there;
    return true;
}

static bool load_batchnorm(strict_run *r) {
    bool there;
    if (r->version < 2 && own_entry(r, "running_mean") != UINT32_MAX) {
        if (!own_there(r, "num_batches_tracked", &there)) return false;
        if (!there && !inject(r, "num_batches_tracked", (qs_shape){0}, QS_INT64)) return false;
    }
    return qs_strict_base(r, true);
}

static bool add_stats_error(strict_run *r, qs_str first, qs_str second) {
    qs_str klass = qs_str_leaf(r->mod->class_name);
    qs_buf b = {0};
    qs_buf_addf(&b, "Unexpected running stats buffer(s) \"%.*s\"", QS_FMT(first));
    if (second.n) qs_buf_addf(&b, " and \"%.*s\"", QS_FMT(second));
    qs_buf_addf(
        &b,
        " for %.*s with track_running_stats=False. If state_dict is a checkpoint saved before 0.4.0, this "
        "may "
        "be expected because %.*s does not track running stats by default since 0.4.0. Please remove these "
        "keys from state_dict. If the running stats are actually needed, instead set "
        "track_running_stats=True "
        "in %.*s to enable them. See the documentation of %.*s for details.",
        QS_FMT(klass), QS_FMT(klass), QS_FMT(klass), QS_FMT(klass));
    const char *text = qs_arena_str(&r->v->arena, qs_buf_str(&b)).p;
    bool ok = !b.failed && text &&
              qs_push(&r->v->errors,
                      (strict_error){.kind = QS_FIND_COPY, .key = first, .text = text, .whole = true});
    qs_buf_free(&b);
    return ok || qs_nomem(r->err);
}

static bool load_instancenorm(strict_run *r) {
    if (r->version >= 0 || own_entry(r, "running_mean") != UINT32_MAX) return load_batchnorm(r);
    qs_str mean = qs_strict_key(r, "running_mean"), var = qs_strict_key(r, "running_var");
    if (!mean.p || !var.p) return qs_nomem(r->err);
    bool has_mean = qs_strict_get(r, mean).there, has_var = qs_strict_get(r, var).there;
    if (has_mean || has_var) {
        if (!add_stats_error(r, has_mean ? mean : var, has_mean && has_var ? var : (qs_str){0})) return false;
        qs_strict_pop(r, mean);
        qs_strict_pop(r, var);
    }
    return qs_strict_base(r, true);
}

static bool note_resized(strict_run *r, qs_str key, qs_shape from, qs_shape to) {
    char had[64], has[64];
    qs_shape_text(from, "x", had, sizeof had);
    qs_shape_text(to, "x", has, sizeof has);
    return qs_strict_advise(r, QS_FIND_RESIZED, key, "the model's %s becomes %s", had, has);
}

static bool has_no_shape(strict_run *r, qs_str key, const char *type) {
    return qs_strict_raise(r, key, "AttributeError", "'%s' object has no attribute 'shape'", type);
}

/* setattr(self, LEAF, state_dict[key]): the buffer becomes what the checkpoint has. */
static bool replace(strict_run *r, const char *leaf, qs_str key) {
    strict_value v = qs_strict_get(r, key);
    uint32_t entry = own_entry(r, leaf);
    bool none = v.python_type && !strcmp(v.python_type, "NoneType");
    if (v.python_type && !none) {
        qs_str type = qs_str_leaf(qs_str_of(v.python_type)); /* torch.typename finds no module in C types */
        return qs_strict_raise(r, key, "TypeError",
                               "cannot assign '%.*s' as buffer '%s' (%storch.Tensor or None expected)",
                               QS_FMT(type), leaf, r->torch >= TORCH_BUFFER_CLASS ? "torch.nn.Buffer, " : "");
    }
    if (entry == UINT32_MAX) return true;
    const qs_expected *x = qs_manifest_entry(r->m, entry);
    r->replaced[r->replaced_count].entry = entry;
    r->replaced[r->replaced_count++].none = none;
    if (!none && v.shape_known && !qs_strict_set_shape(r, entry, v.shape)) return false;
    if (none || !v.shape_known || !x->shape_known || qs_shape_eq(v.shape, x->shape)) return true;
    return note_resized(r, key, x->shape, v.shape);
}

/* self.LEAF.resize_(state_dict[from].shape) */
static bool resize(strict_run *r, const char *leaf, qs_str from) {
    strict_value v = qs_strict_get(r, from);
    uint32_t entry = own_entry(r, leaf);
    if (v.python_type) return has_no_shape(r, from, v.python_type);
    if (v.uninitialized) return qs_strict_no_shape(r, from);
    if (entry == UINT32_MAX || !v.shape_known) return true;
    const qs_expected *x = qs_manifest_entry(r->m, entry);
    if (!qs_strict_set_shape(r, entry, v.shape)) return false;
    if (!x->shape_known || qs_shape_eq(v.shape, x->shape)) return true;
    return note_resized(r, from, x->shape, v.shape);
}

/* Buffers a and b take what the checkpoint has; missing ones are reported here, and again by Module. */
static bool take_two(strict_run *r, const char *a, const char *b, bool replaced) {
    const char *names[] = {a, b};
    for (int i = 0; i < 2; i++) {
        qs_str key = qs_strict_key(r, names[i]);
        if (!key.p) return qs_nomem(r->err);
        bool there = qs_strict_get(r, key).there;
        if (!there && !qs_strict_missing(r, key)) return false;
        if (there && !(replaced ? replace(r, names[i], key) : resize(r, names[i], key))) return false;
    }
    return true;
}

/* FixedQParamsFakeQuantize has its observer's tensors for scale and zero_point: who resizes the one, resizes
 * both. */
static bool share_with_observer(strict_run *r) {
    static const char *const names[] = {"scale", "zero_point"};
    const qs_module *observer = qs_strict_child(r, r->mod, "activation_post_process");
    if (!observer || !qs_str_is(qs_str_leaf(observer->class_name), "FixedQParamsObserver")) return true;
    for (int i = 0; i < 2; i++) {
        uint32_t own = own_entry(r, names[i]), shared = qs_strict_entry(r->m, observer, names[i]);
        if (own == UINT32_MAX || shared == UINT32_MAX) continue;
        if (!qs_strict_set_shape(r, shared, qs_strict_shape(r, own))) return false;
    }
    return true;
}

static bool load_fakequant(strict_run *r) {
    return take_two(r, "scale", "zero_point", r->torch < TORCH_FQ_RESIZES) && share_with_observer(r) &&
           qs_strict_check_quantizer(r) && qs_strict_check_values(r) && qs_strict_base(r, true);
}

static bool is_quantized(const strict_value *v) {
    return v->dtype != QS_DTYPE_UNKNOWN && qs_dtype_get(v->dtype)->kind == 'Q';
}

/* self.scale.data.copy_(val): val must broadcast to the model's [1]. */
static bool copy_scale(strict_run *r, qs_str key, const strict_value *v) {
    if (!v->python_type && is_quantized(v))
        return qs_strict_raise(r, key, "RuntimeError", "%s", QS_STRICT_COPY_Q);
    if (v->python_type || (v->shape.ndim <= 1 && qs_shape_numel(v->shape) == 1)) return true;
    qs_buf b = {0};
    qs_shape_torch(v->shape, &b);
    qs_str list = qs_str_sub(qs_buf_str(&b), strlen("torch.Size("), b.n - 1);
    bool ok = !b.failed &&
              qs_strict_raise(r, key, "RuntimeError",
                              "output with shape [1] doesn't match the broadcast shape %.*s", QS_FMT(list));
    qs_buf_free(&b);
    return ok || qs_nomem(r->err);
}

/* setattr of a parameter with something that is none; a tensor calls itself "torch.FloatTensor", and a
 * quantized one fails to. */
static bool refuse_parameter(strict_run *r, qs_str key, const strict_value *v) {
    if (!v->python_type && is_quantized(v))
        return qs_strict_raise(r, key, "RuntimeError", "Unimplemented backend QuantizedCPU");
    const qs_dtype_info *d = qs_dtype_get(v->dtype);
    char tensor[64];
    size_t n = strlen(d->storage) >= strlen("Storage") ? strlen(d->storage) - strlen("Storage") : 0;
    snprintf(tensor, sizeof tensor, "torch.%.*sTensor", (int)n, d->storage);
    qs_str type = v->python_type ? qs_str_leaf(qs_str_of(v->python_type)) : qs_str_of(tensor);
    return qs_strict_raise(
        r, key, "TypeError",
        "cannot assign '%.*s' as parameter 'zero_point' (torch.nn.Parameter or None expected)", QS_FMT(type));
}

/* Only up to 1.7 it overrides anything, and there it cannot load its own zero_point. */
static bool load_learnable(strict_run *r) {
    if (r->torch >= TORCH_FQ_RESIZES) return qs_strict_base(r, true);
    qs_str scale = qs_strict_key(r, "scale"), zero = qs_strict_key(r, "zero_point");
    if (!scale.p || !zero.p) return qs_nomem(r->err);
    strict_value s = qs_strict_get(r, scale), z = qs_strict_get(r, zero);
    if (!(s.there ? copy_scale(r, scale, &s) : qs_strict_missing(r, scale))) return false;
    if (!z.there && !qs_strict_missing(r, zero)) return false;
    if (z.there && !refuse_parameter(r, zero, &z)) return false;
    return qs_strict_base(r, true);
}

static bool load_observer(strict_run *r, bool strict) {
    static const int64_t one[] = {1};
    /* RecordingObserver had an eps up to torch 1.7 only. */
    bool old = (r->version < 0 || r->version == 1) && own_entry(r, "eps") != UINT32_MAX;
    if (old && !inject(r, "eps", (qs_shape){1, one}, QS_FLOAT32)) return false;
    return qs_strict_base(r, strict);
}

/* The names the checkpoint's version stands for, and the buffers they are poured into. */
static bool load_perchannel(strict_run *r) {
    bool old_torch = r->torch < TORCH_OBSERVER_V3;
    bool old_names = old_torch || (r->version < 0 ? r->torch < TORCH_NONE_IS_NEW : r->version < 3);
    const char *const buffers[] = {old_torch ? "min_vals" : "min_val", old_torch ? "max_vals" : "max_val"};
    const char *const names[] = {old_names ? "min_vals" : "min_val", old_names ? "max_vals" : "max_val"};
    for (int i = 0; i < 2; i++) {
        qs_str key = qs_strict_key(r, names[i]);
        if (!key.p) return qs_nomem(r->err);
        bool there = qs_strict_get(r, key).there;
        if (!(there ? resize(r, buffers[i], key) : qs_strict_missing(r, key))) return false;
        if (there && old_names && !old_torch &&
            !qs_strict_advise(
                r, QS_FIND_FORWARD, key,
                "%s takes this shape and is never filled: it holds uninitialised memory; rename the key "
                "to %s and set the version to 3",
                buffers[i], buffers[i]))
            return false;
    }
    return (old_names != old_torch || qs_strict_check_ranges(r)) && load_observer(r, old_torch);
}

/* Version 2 wrote [0] for a range that was never observed. */
static bool mend_range(strict_run *r, const char *leaf) {
    qs_str key = qs_strict_key(r, leaf);
    if (!key.p) return qs_nomem(r->err);
    strict_value v = qs_strict_get(r, key);
    if (v.there && v.python_type) return has_no_shape(r, key, v.python_type);
    if (v.there && v.uninitialized) return qs_strict_no_shape(r, key);
    if (!v.there || v.shape.ndim != 1 || v.shape.dim[0] != 0) return true;
    return qs_strict_put(r, key, (strict_value){.shape_known = true, .dtype = QS_FLOAT32});
}

static bool load_histogram(strict_run *r) {
    if (r->version < 3 && !(mend_range(r, "min_val") && mend_range(r, "max_val"))) return false;
    return take_two(r, "min_val", "max_val", true) && load_observer(r, true);
}

/* The BatchNorm of a version 1 module had no module of its own. */
static bool load_convbn(strict_run *r) {
    static const char *const names[][2] = {{"bn.weight", "gamma"},
                                           {"bn.bias", "beta"},
                                           {"bn.running_mean", "running_mean"},
                                           {"bn.running_var", "running_var"},
                                           {"bn.num_batches_tracked", "num_batches_tracked"}};
    for (size_t i = 0; i < 5 && (r->version < 0 || r->version == 1); i++) {
        qs_str now = qs_strict_key(r, names[i][0]), old = qs_strict_key(r, names[i][1]);
        if (!now.p || !old.p) return qs_nomem(r->err);
        strict_value v = qs_strict_get(r, old);
        if (v.there && !(qs_strict_put(r, now, v) && qs_strict_pop(r, old))) return false;
        if (!v.there && !qs_strict_get(r, now).there && !qs_strict_missing(r, now)) return false;
    }
    return qs_strict_base(r, true);
}

/* state_dict[PREFIX + leaf] of the quantized modules: a KeyError ends the load. */
static bool need(strict_run *r, const char *leaf) {
    qs_str key = qs_strict_key(r, leaf);
    if (!key.p) return qs_nomem(r->err);
    if (qs_strict_get(r, key).there) return true;
    qs_buf b = {0};
    qs_strict_add_repr(&b, key);
    bool ok = !b.failed && qs_strict_raise(r, key, "KeyError", "%s", b.p);
    qs_buf_free(&b);
    return ok || qs_nomem(r->err);
}

/* float(state_dict[PREFIX + leaf]), or int(...). */
static bool need_number(strict_run *r, const char *leaf, const char *function) {
    static const char *const numbers[] = {"int", "float", "bool"};
    qs_str key = qs_strict_key(r, leaf);
    if (!key.p) return qs_nomem(r->err);
    strict_value v = qs_strict_get(r, key);
    if (!v.there) return need(r, leaf);
    if (!v.python_type && v.shape_known && qs_shape_numel(v.shape) != 1)
        return qs_strict_raise(r, key, "ValueError",
                               "only one element tensors can be converted to Python scalars");
    if (!v.python_type) return true;
    for (int i = 0; i < 3; i++)
        if (!strcmp(v.python_type, numbers[i])) return true;
    /* Python's words, which changed with 3.10; torch 1.7 runs on nothing newer than 3.9. */
    return qs_strict_raise(r, key, "TypeError", "%s() argument must be a string%s or a %snumber, not '%s'",
                           function, function[0] == 'i' ? ", a bytes-like object" : "",
                           r->torch < TORCH_EXTRA_STATE ? "" : "real ", v.python_type);
}

static bool need_qparams(strict_run *r) {
    return need_number(r, "scale", "float") && need_number(r, "zero_point", "int");
}

/* set_weight_bias: a kernel that takes no float weight. What torch says after this sentence lists the
 * back-ends of its own build. */
static bool prepack(strict_run *r, const char *leaf, const char *op) {
    qs_str key = qs_strict_key(r, leaf);
    if (!key.p) return qs_nomem(r->err);
    strict_value v = qs_strict_get(r, key);
    if (!v.there || v.python_type || v.dtype == QS_DTYPE_UNKNOWN || is_quantized(&v)) return true;
    return qs_strict_raise(r, key, r->torch < TORCH_EXTRA_STATE ? "RuntimeError" : "NotImplementedError",
                           "Could not run 'quantized::%s_prepack' with arguments from the 'CPU' backend.",
                           op);
}

/* "conv2d", "conv_transpose1d"; a ReLU behind it changes nothing */
static bool prepack_conv(strict_run *r) {
    qs_str name = qs_str_leaf(r->mod->base.n ? r->mod->base : r->mod->class_name);
    char op[32], dims = name.n >= 2 ? name.p[name.n - 2] : '2';
    snprintf(op, sizeof op, "conv%s%cd", qs_str_starts(name, QS_STR("ConvTranspose")) ? "_transpose" : "",
             dims >= '1' && dims <= '3' ? dims : '2');
    return prepack(r, "weight", op);
}

static bool load_qconv(strict_run *r) {
    return need(r, "weight") && need(r, "bias") && prepack_conv(r) && need_qparams(r) &&
           qs_strict_base(r, false);
}

static bool need_all(strict_run *r, const char *const *leaves) {
    for (; *leaves; leaves++)
        if (!need(r, *leaves)) return false;
    return qs_strict_base(r, false);
}

/* Version 1 kept weight and bias in the Linear itself. */
static bool load_qlinear(strict_run *r) {
    if (!need_qparams(r)) return false;
    if (r->version < 0 || r->version == 1) {
        static const char *const names[][2] = {{"weight", "_packed_params.weight"},
                                               {"bias", "_packed_params.bias"}};
        for (int i = 0; i < 2; i++) {
            qs_str old = qs_strict_key(r, names[i][0]), now = qs_strict_key(r, names[i][1]);
            if (!old.p || !now.p) return qs_nomem(r->err);
            strict_value v = qs_strict_get(r, old);
            if (!(v.there ? qs_strict_put(r, now, v) : need(r, names[i][0]))) return false;
        }
    }
    return qs_strict_base(r, false);
}

static bool load_qpacked(strict_run *r) {
    if (r->version >= 2 && !need(r, "dtype")) return false;
    qs_str key = qs_strict_key(r, "dtype");
    if (!key.p) return qs_nomem(r->err);
    strict_value dtype = qs_strict_get(r, key);
    bool is_dtype = r->version < 2 || (dtype.python_type && !strcmp(dtype.python_type, "torch.dtype"));
    if (dtype.there && !is_dtype && r->version == 3 &&
        !qs_strict_raise(r, key, "RuntimeError", "Unsupported dtype on dynamic quantized linear!"))
        return false;
    if (r->version < 3 && !(need(r, "weight") && need(r, "bias") && prepack(r, "weight", "linear")))
        return false;
    if (r->version == 3 && !need(r, "_packed_params")) return false;
    return qs_strict_base(r, false);
}

/* Reference modules keep how their weight is to be quantized as attributes, and take those out of the dict.
 */
static bool load_qreference(strict_run *r) {
    static const char *const names[] = {"weight_qscheme", "weight_dtype", "weight_scale",
                                        "weight_zero_point"};
    bool quantizes = true;
    for (int i = 0; i < (quantizes ? 4 : 2); i++) {
        qs_str key = qs_strict_key(r, names[i]);
        if (!key.p) return qs_nomem(r->err);
        strict_value v = qs_strict_get(r, key);
        if (i == 0) quantizes = !v.python_type || strcmp(v.python_type, "NoneType") != 0;
        if (!need(r, names[i]) || !qs_strict_pop(r, key)) return false;
    }
    return qs_strict_base(r, false);
}

bool qs_strict_load(strict_run *r, strict_class c) {
    static const char *const embedding[] = {"dtype", "_packed_weight", NULL};
    static const char *const parameter[] = {"param", NULL};
    static const char *const cell[] = {"_packed_weight_ih", "_packed_weight_hh", NULL};
    switch (c) {
    case STRICT_PLAIN: return qs_strict_base(r, true);
    case STRICT_BATCHNORM: return load_batchnorm(r);
    case STRICT_INSTANCENORM: return load_instancenorm(r);
    case STRICT_FAKEQUANT: return load_fakequant(r);
    case STRICT_LEARNABLE: return load_learnable(r);
    case STRICT_OBSERVER: return load_observer(r, true);
    case STRICT_PERCHANNEL: return load_perchannel(r);
    case STRICT_HISTOGRAM: return load_histogram(r);
    case STRICT_CONVBN: return load_convbn(r);
    case STRICT_LENIENT: return qs_strict_base(r, false);
    case STRICT_QCONV: return load_qconv(r);
    case STRICT_QLINEAR: return load_qlinear(r);
    case STRICT_QPACKED: return load_qpacked(r);
    case STRICT_QFUNCTIONAL: return need_qparams(r) && qs_strict_base(r, false);
    case STRICT_QEMBEDDING: return prepack(r, "_packed_weight", "embedding_bag") && need_all(r, embedding);
    case STRICT_QPARAMETER: return need_all(r, parameter);
    case STRICT_QRNNCELL: return need_all(r, cell);
    case STRICT_QREFERENCE: return load_qreference(r);
    case STRICT_FROZEN_BATCHNORM: return qs_strict_frozen_batchnorm(r);
    case STRICT_FEATURE_PYRAMID: return qs_strict_feature_pyramid(r);
    case STRICT_MLP_BLOCK: return qs_strict_mlp_block(r);
    case STRICT_RPN_HEAD: return qs_strict_rpn_head(r);
    case STRICT_MASK_HEAD: return qs_strict_mask_head(r);
    case STRICT_RETINANET_HEAD: return qs_strict_retinanet_head(r);
    case STRICT_SQUEEZE_EXCITATION: return qs_strict_squeeze_excitation(r);
    }
    return qs_strict_base(r, true);
}
