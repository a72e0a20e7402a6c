#include "repair/strict_run.h"

#include <stdarg.h>

/* What became of an entry of the source. */
enum fate { FATE_LOCAL, FATE_EXTRA, FATE_CHILD, FATE_DOTTED, FATE_STRAY, FATE_IGNORED, FATE_GONE };

enum { NONE = UINT32_MAX, STRIDE = 1 << 14 /* keys or modules between two questions whether to go on */ };

static int parse_torch(qs_str version) {
    int major = 0, minor = 0;
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)(version.n < 31 ? version.n : 31), version.p ? version.p : "");
    if (sscanf(text, "%d.%d", &major, &minor) != 2 || major < 0 || major > 99 || minor < 0 || minor > 99)
        return TORCH_NEWEST;
    return major * 100 + minor;
}

qs_str qs_strict_key(strict_run *r, const char *leaf) {
    qs_str prefix = r->mod->name;
    size_t n = strlen(leaf), dot = r->at ? 1 : 0;
    char *p = qs_arena_alloc(&r->v->arena, prefix.n + dot + n + 1);
    if (!p) return (qs_str){0};
    if (prefix.n) memcpy(p, prefix.p, prefix.n);
    if (dot) p[prefix.n] = '.';
    memcpy(p + prefix.n + dot, leaf, n + 1);
    return (qs_str){p, prefix.n + dot + n};
}

static strict_value value_at(const strict_run *r, uint32_t i) {
    strict_value v = {0};
    qs_str own;
    if (i == NONE || r->fate[i] == FATE_GONE) return v;
    r->src->entry(r->src->ctx, i, &own, &v.shape, &v.dtype, &v.python_type);
    v.there = true;
    if (v.python_type && !strncmp(v.python_type, "Uninitialized", strlen("Uninitialized"))) {
        v.uninitialized = v.python_type;
        v.python_type = NULL;
    }
    /* A tensor subclass whose rebuild nobody knows has neither: it cannot be compared. */
    v.shape_known = v.shape.ndim > 0 || v.dtype != QS_DTYPE_UNKNOWN;
    return v;
}

strict_value qs_strict_get(const strict_run *r, qs_str key) {
    uint32_t at = qs_map_get(&r->by_key, key);
    return at != QS_MAP_NONE ? r->overlay.v[at].value : value_at(r, r->src->find(r->src->ctx, key));
}

strict_value qs_strict_get_entry(const strict_run *r, uint32_t entry) {
    uint32_t at =
        r->overlaid[entry] ? qs_map_get(&r->by_key, qs_manifest_entry(r->m, entry)->key) : QS_MAP_NONE;
    return at != QS_MAP_NONE ? r->overlay.v[at].value : value_at(r, r->here[entry]);
}

/* The deepest module above a key. A key can be long and full of dots, module names are what they are. */
static uint32_t module_above(strict_run *r, qs_str key, bool *direct) {
    qs_str above = qs_str_parent(key), asked = above;
    if (r->above_at != NONE && qs_str_eq(above, r->above)) {
        *direct = r->above_direct;
        return r->above_at;
    }
    *direct = true;
    if (above.n > r->longest) {
        *direct = false;
        above = qs_str_parent(qs_str_sub(key, 0, r->longest + 1));
    }
    uint32_t at;
    while ((at = qs_manifest_find_module(r->m, above)) == QS_MODULE_NONE) {
        above = qs_str_parent(above);
        *direct = false;
    }
    r->above = asked;
    r->above_at = at;
    r->above_direct = *direct;
    return at;
}

/* How a key that is no parameter or buffer of the model stands, and the module that judges it. */
static enum fate judge_other(strict_run *r, qs_str key, uint32_t *module) {
    bool direct;
    uint32_t at = *module = module_above(r, key, &direct);
    const qs_module *mod = qs_manifest_module(r->m, at);
    if (mod->none) return FATE_IGNORED;
    if (!direct) {
        size_t to = at ? mod->name.n + 1 : 0;
        while (to < key.n && key.p[to] != '.') to++;
        uint32_t x = qs_manifest_find(r->m, qs_str_sub(key, 0, to));
        bool local = x != UINT32_MAX && qs_manifest_entry(r->m, x)->kind != QS_KIND_EXTRA;
        return local ? FATE_DOTTED : FATE_STRAY;
    }
    if (key.n == 0) return FATE_STRAY;
    if (r->torch >= TORCH_EXTRA_STATE && qs_str_is(qs_str_leaf(key), "_extra_state")) return FATE_EXTRA;
    return qs_manifest_find_module(r->m, key) == QS_MODULE_NONE ? FATE_STRAY : FATE_CHILD;
}

static enum fate judge(strict_run *r, qs_str key, uint32_t *module, uint32_t *entry) {
    *entry = qs_manifest_find_next(r->m, key, &r->next_entry);
    if (*entry == UINT32_MAX || qs_manifest_entry(r->m, *entry)->kind == QS_KIND_EXTRA)
        return judge_other(r, key, module);
    *module = qs_manifest_entry(r->m, *entry)->module;
    return FATE_LOCAL;
}

static bool is_unexpected(const strict_run *r, enum fate f) {
    if (f == FATE_CHILD || f == FATE_DOTTED) return r->torch >= TORCH_EXACT_NAMES;
    return f == FATE_STRAY;
}

/* Sort the source's keys to the modules whose scan lists them, once: torch scans all keys at every module. */
static bool sort_keys(strict_run *r) {
    uint32_t n = r->src->count, modules = qs_manifest_module_count(r->m), entries = qs_manifest_count(r->m);
    r->here = malloc(((size_t)entries + 1) * sizeof *r->here);
    r->overlaid = calloc((size_t)entries + 1, 1);
    r->fate = malloc((size_t)n + 1);
    r->next = malloc(((size_t)n + 1) * sizeof *r->next);
    r->first = malloc(modules * sizeof *r->first);
    r->last = malloc(modules * sizeof *r->last);
    if (!r->here || !r->overlaid || !r->fate || !r->next || !r->first || !r->last) return qs_nomem(r->err);
    memset(r->first, 0xff, modules * sizeof *r->first);
    memset(r->here, 0xff, entries * sizeof *r->here);
    for (uint32_t i = 0; i < n; i++) {
        qs_str key;
        qs_shape shape;
        qs_dtype dtype;
        const char *type;
        uint32_t module, entry;
        if (i % STRIDE == 0 && !qs_progress_step(r->progress, 0, 0, r->err)) return false;
        r->src->entry(r->src->ctx, i, &key, &shape, &dtype, &type);
        r->fate[i] = (uint8_t)judge(r, key, &module, &entry);
        if (r->fate[i] == FATE_LOCAL) r->here[entry] = i;
        r->extras += r->fate[i] == FATE_EXTRA;
        if (!is_unexpected(r, r->fate[i])) continue;
        r->next[i] = NONE;
        if (r->first[module] == NONE)
            r->first[module] = i;
        else
            r->next[r->last[module]] = i;
        r->last[module] = i;
    }
    return true;
}

bool qs_strict_put(strict_run *r, qs_str key, strict_value value) {
    value.there = true;
    uint32_t at = qs_map_get(&r->by_key, key);
    if (at != QS_MAP_NONE) {
        r->overlay.v[at].value = value;
        return true;
    }
    uint32_t module, entry = qs_manifest_find(r->m, key), index = (uint32_t)r->overlay.n;
    if (entry != UINT32_MAX) r->overlaid[entry] = 1;
    if (!qs_push(&r->overlay, (strict_overlay){key, value}) || !qs_map_put(&r->by_key, key, index))
        return qs_nomem(r->err);
    if (r->src->find(r->src->ctx, key) != UINT32_MAX || !is_unexpected(r, judge(r, key, &module, &entry)))
        return true;
    return qs_push(&r->overlay_stray, index) || qs_nomem(r->err);
}

bool qs_strict_pop(strict_run *r, qs_str key) {
    uint32_t at = qs_map_get(&r->by_key, key), i = r->src->find(r->src->ctx, key);
    if (at != QS_MAP_NONE) r->overlay.v[at].value.there = false;
    if (i != UINT32_MAX) r->fate[i] = FATE_GONE;
    return true;
}

bool qs_strict_missing(strict_run *r, qs_str key) {
    return qs_push(&r->v->missing, key) || qs_nomem(r->err);
}

static const char *format(strict_run *r, const char *fmt, va_list ap) {
    char text[512], safe[512];
    vsnprintf(text, sizeof text, fmt, ap);
    qs_str s = {safe, qs_str_printable(qs_str_of(text), safe, sizeof safe)};
    return qs_arena_str(&r->v->arena, s).p;
}

__attribute__((format(printf, 2, 3))) static const char *format_text(strict_run *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = format(r, fmt, ap);
    va_end(ap);
    return text;
}

bool qs_strict_raise(strict_run *r, qs_str key, const char *type, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = format(r, fmt, ap);
    va_end(ap);
    if (!text) return qs_nomem(r->err);
    qs_buf b = {0};
    qs_buf_addf(&b, "%s: %s", type, text);
    qs_str all = qs_arena_str(&r->v->arena, qs_buf_str(&b));
    bool ok = !b.failed && all.p &&
              qs_push(&r->v->errors, (strict_error){.kind = QS_FIND_RAISES, .key = key, .text = all.p});
    qs_buf_free(&b);
    if (!ok) return qs_nomem(r->err);
    if (r->v->raised.n == 0) r->v->raised = all;
    return true;
}

bool qs_strict_advise(strict_run *r, qs_finding_kind kind, qs_str key, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = format(r, fmt, ap);
    va_end(ap);
    if (!text || !qs_push(&r->v->advice, (qs_finding){.kind = kind, .key = key, .repeats = 1, .note = text}))
        return qs_nomem(r->err);
    return true;
}

static bool add_error(strict_run *r, strict_error x) {
    return qs_push(&r->v->errors, x) || qs_nomem(r->err);
}

/* Why param.copy_(input) or, with assign, the new Parameter raises; NULL if it does not. */
static const char *copy_fails(const strict_run *r, const qs_expected *x, const strict_value *v) {
    char from = qs_dtype_get(v->dtype)->kind, to = qs_dtype_get(x->dtype)->kind;
    if (r->assign)
        return x->kind == QS_KIND_PARAMETER && (to == 'F' || to == 'C') && from != 'F' && from != 'C' &&
                       from != '?'
                   ? "Only Tensors of floating point and complex dtype can require gradients"
                   : NULL;
    if (from == 'Q' && to != 'Q' && to != '?') return QS_STRICT_COPY_Q;
    return NULL;
}

static bool note_cast(strict_run *r, const qs_expected *x, const strict_value *v) {
    if (v->dtype == x->dtype || v->dtype == QS_DTYPE_UNKNOWN || x->dtype == QS_DTYPE_UNKNOWN) return true;
    const char *from = qs_dtype_get(v->dtype)->name, *to = qs_dtype_get(x->dtype)->name;
    if (r->assign)
        return qs_strict_advise(r, QS_FIND_CAST, x->key, "the model had %s; assign=True keeps %s", to, from);
    return qs_strict_advise(r, QS_FIND_CAST, x->key, "copy_ casts %s to %s", from, to);
}

/* A lazy module's tensor has no shape to ask for. */
bool qs_strict_no_shape(strict_run *r, qs_str key) {
    return qs_strict_raise(
        r, key, "RuntimeError",
        "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
        "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
        "`forward` to initialize the parameters before accessing their attributes.");
}

/* From one lazy module to another: copy_ is allowed, what a Parameter is made with is not. */
static bool load_uninitialized(strict_run *r, const qs_expected *x, const strict_value *v) {
    static const int64_t none[] = {0};
    if (x->shape_known) return qs_strict_no_shape(r, x->key);
    if (!r->assign || x->kind != QS_KIND_PARAMETER) return true;
    const char *text = format_text(
        r,
        "Attempted to use an uninitialized parameter in <method '%s' of 'torch._C.TensorBase' objects>. This "
        "error happens when you are using a `LazyModule` or explicitly manipulating "
        "`torch.nn.parameter.UninitializedParameter` objects. When using LazyModules Call `forward` with a "
        "dummy batch to initialize the parameters before calling torch functions",
        strcmp(v->uninitialized, "UninitializedParameter") ? "detach" : "requires_grad_");
    qs_shape empty = {1, none};
    if (!text) return qs_nomem(r->err);
    return add_error(r, (strict_error){QS_FIND_COPY, x->key, empty, empty, text, false, false});
}

static bool load_tensor(strict_run *r, const qs_expected *x, const strict_value *v, qs_shape to) {
    qs_shape from = v->shape;
    if (v->uninitialized) return load_uninitialized(r, x, v);
    if (!x->shape_known || !v->shape_known) {
        /* A lazy module's hook has given the parameter the checkpoint's shape before copy_ sees it. */
        const char *why = !x->shape_known && v->shape_known ? copy_fails(r, x, v) : NULL;
        if (why) return add_error(r, (strict_error){QS_FIND_COPY, x->key, from, from, why, false, false});
        return note_cast(r, x, v);
    }
    if (to.ndim == 0 && from.ndim == 1 && (r->torch < TORCH_ONE_TO_SCALAR || from.dim[0] == 1)) {
        /* Up to 0.3 there were no 0-d tensors, so the first element is taken, however many there are. */
        if (from.dim[0] == 0)
            return qs_strict_raise(r, x->key, "IndexError",
                                   "index 0 is out of bounds for dimension 0 with size 0");
        if (from.dim[0] > 1 && !qs_strict_advise(r, QS_FIND_TRUNCATED, x->key,
                                                 "torch takes the first of the checkpoint's %lld elements",
                                                 (long long)from.dim[0]))
            return false;
        from.ndim = 0;
    }
    if (!qs_shape_eq(from, to))
        return add_error(r, (strict_error){QS_FIND_SIZE, x->key, from, to, NULL, false, false});
    const char *why = copy_fails(r, x, v);
    if (why) return add_error(r, (strict_error){QS_FIND_COPY, x->key, from, to, why, false, false});
    return note_cast(r, x, v);
}

/* The key of the tensor under its first name. */
static qs_str first_key(const strict_run *r, uint32_t entry) {
    const qs_expected *x = qs_manifest_entry(r->m, entry);
    qs_str same = qs_manifest_module(r->m, x->module)->same_as;
    uint32_t first = same.n ? qs_manifest_find_in(r->m, same, qs_str_leaf(x->key)) : UINT32_MAX;
    return first == UINT32_MAX ? x->key : qs_manifest_entry(r->m, first)->key;
}

qs_shape qs_strict_shape(const strict_run *r, uint32_t entry) {
    uint32_t at = r->shapes.n ? qs_map_get(&r->by_buffer, first_key(r, entry)) : QS_MAP_NONE;
    return at == QS_MAP_NONE ? qs_manifest_entry(r->m, entry)->shape : r->shapes.v[at];
}

bool qs_strict_set_shape(strict_run *r, uint32_t entry, qs_shape shape) {
    uint32_t at = qs_map_add(&r->by_buffer, first_key(r, entry), (uint32_t)r->shapes.n);
    if (at == QS_MAP_NONE) return qs_nomem(r->err);
    if (at == r->shapes.n) return qs_push(&r->shapes, shape) || qs_nomem(r->err);
    r->shapes.v[at] = shape;
    return true;
}

static bool load_one(strict_run *r, uint32_t entry, bool strict) {
    const qs_expected *x = qs_manifest_entry(r->m, entry);
    strict_value v = qs_strict_get_entry(r, entry);
    for (int i = 0; i < r->replaced_count; i++)
        if (r->replaced[i].entry == entry)
            return !r->replaced[i].none || qs_push(&r->v->unexpected, x->key) || qs_nomem(r->err);
    if (!v.there) return !strict || qs_strict_missing(r, x->key);
    if (v.injected && r->here[entry] == NONE &&
        !qs_strict_advise(
            r, QS_FIND_INJECTED, x->key,
            "the checkpoint lacks it, and torch makes it: the checkpoint's version of this module is %s",
            r->version < 0 ? "None" : "1"))
        return false;
    if (v.python_type && r->torch < TORCH_NON_TENSOR)
        return qs_strict_raise(r, x->key, "AttributeError", "'%s' object has no attribute 'shape'",
                               v.python_type);
    if (v.python_type)
        return add_error(r,
                         (strict_error){QS_FIND_COPY, x->key, v.shape, x->shape, v.python_type, true, false});
    return load_tensor(r, x, &v, qs_strict_shape(r, entry));
}

static bool load_extra_state(strict_run *r, bool strict) {
    if (r->torch < TORCH_EXTRA_STATE || (r->extras == 0 && !r->mod->extra_state)) return true;
    qs_str key = qs_strict_key(r, "_extra_state");
    if (!key.p) return qs_nomem(r->err);
    bool there = qs_strict_get(r, key).there;
    if (!strict || there == r->mod->extra_state) return true;
    return there ? qs_push(&r->v->unexpected, key) || qs_nomem(r->err) : qs_strict_missing(r, key);
}

static bool scan(strict_run *r) {
    for (uint32_t i = r->first[r->at]; i != NONE; i = r->next[i]) {
        qs_str key;
        qs_shape shape;
        qs_dtype dtype;
        const char *type;
        if (r->fate[i] == FATE_GONE) continue;
        r->src->entry(r->src->ctx, i, &key, &shape, &dtype, &type);
        if (!qs_push(&r->v->unexpected, key)) return qs_nomem(r->err);
    }
    /* What the classes put in comes last: the newest keys of an OrderedDict. */
    for (size_t i = 0; i < r->overlay_stray.n; i++) {
        uint32_t module, entry;
        const strict_overlay *o = &r->overlay.v[r->overlay_stray.v[i]];
        judge(r, o->key, &module, &entry);
        if (o->value.there && module == r->at && !qs_push(&r->v->unexpected, o->key)) return qs_nomem(r->err);
    }
    return true;
}

bool qs_strict_base(strict_run *r, bool strict) {
    if (!qs_strict_hooks(r, strict)) return false;
    for (uint32_t i = 0; i < r->mod->entry_count; i++) {
        uint32_t entry = r->mod->first_entry + i;
        if (qs_manifest_entry(r->m, entry)->kind != QS_KIND_EXTRA && !load_one(r, entry, strict))
            return false;
    }
    return load_extra_state(r, strict) && (!strict || scan(r));
}

/* torch's order, pre-order; a child that is None is not entered. */
static uint32_t next_module(const strict_run *r, uint32_t at) {
    const qs_module *mod = qs_manifest_module(r->m, at);
    if (!mod->none && mod->first_child != QS_MODULE_NONE) return mod->first_child;
    while (mod->next_sibling == QS_MODULE_NONE) {
        if (mod->parent == QS_MODULE_NONE) return QS_MODULE_NONE;
        mod = qs_manifest_module(r->m, mod->parent);
    }
    return mod->next_sibling;
}

static bool load_all(strict_run *r) {
    for (uint32_t at = 0; at != QS_MODULE_NONE; at = next_module(r, at)) {
        r->at = at;
        r->mod = qs_manifest_module(r->m, at);
        if (at % STRIDE == 0 && !qs_progress_step(r->progress, 0, 0, r->err)) return false;
        if (r->mod->none) continue;
        r->version = r->src->version(r->src->ctx, r->mod->name);
        r->replaced_count = 0;
        if (r->mod->own_code.n &&
            !qs_strict_advise(
                r, QS_FIND_OWN_CODE, r->mod->name,
                "while it loads, code of its own may change the dict, which qatscope cannot follow: %.*s",
                QS_FMT(r->mod->own_code)))
            return false;
        if (!qs_strict_load(r, qs_strict_class_of(r->mod))) return false;
    }
    return true;
}

/* One finding for each of the names; torch's list keeps the duplicates. */
static bool count_repeats(strict_run *r, qs_finding_kind kind, const qs_str *keys, size_t n) {
    qs_map seen = {0};
    bool ok = qs_map_reserve(&seen, n);
    for (size_t i = 0; i < n && ok; i++) {
        uint32_t at = qs_map_add(&seen, keys[i], (uint32_t)r->v->findings.n);
        if (at < r->v->findings.n)
            r->v->findings.v[at].repeats++;
        else
            ok = at != QS_MAP_NONE && qs_push(&r->v->findings, (qs_finding){kind, keys[i], 1, ""});
    }
    qs_map_free(&seen);
    return ok || qs_nomem(r->err);
}

static bool list_findings(strict_run *r) {
    qs_verdict *v = r->v;
    if (!count_repeats(r, QS_FIND_MISSING, v->missing.v, v->missing.n)) return false;
    if (!count_repeats(r, QS_FIND_UNEXPECTED, v->unexpected.v, v->unexpected.n)) return false;
    for (size_t i = 0; i < v->errors.n; i++) {
        const strict_error *x = &v->errors.v[i];
        qs_buf b = {0};
        if (x->kind == QS_FIND_SIZE || (x->kind == QS_FIND_COPY && !x->not_a_tensor && !x->whole)) {
            qs_buf_addz(&b, "checkpoint ");
            qs_shape_torch(x->from, &b);
            qs_buf_addz(&b, ", model ");
            qs_shape_torch(x->to, &b);
        }
        if (x->not_a_tensor)
            qs_buf_addz(&b, "not a tensor but ");
        else if (x->text && b.n)
            qs_buf_addz(&b, ": ");
        if (x->text) qs_buf_addz(&b, x->text);
        const char *note = qs_arena_str(&v->arena, qs_buf_str(&b)).p;
        bool ok = !b.failed && note && qs_push(&v->findings, (qs_finding){x->kind, x->key, 1, note});
        qs_buf_free(&b);
        if (!ok) return qs_nomem(r->err);
    }
    for (size_t i = 0; i < v->advice.n; i++)
        if (!qs_push(&v->findings, v->advice.v[i])) return qs_nomem(r->err);
    return true;
}

static void free_run(strict_run *r) {
    free(r->here);
    free(r->overlaid);
    free(r->fate);
    free(r->next);
    free(r->first);
    free(r->last);
    qs_vec_free(&r->overlay);
    qs_vec_free(&r->overlay_stray);
    qs_map_free(&r->by_key);
    qs_vec_free(&r->shapes);
    qs_map_free(&r->by_buffer);
}

bool qs_strict_run(const qs_manifest *target, const qs_strict_source *src, const qs_strict_options *opt,
                   qs_verdict **out, qs_err *e) {
    qs_verdict *v = calloc(1, sizeof *v);
    if (!v) return qs_nomem(e);
    strict_run r = {.m = target,
                    .src = src,
                    .strict = opt->strict,
                    .v = v,
                    .err = e,
                    .progress = opt->progress,
                    .above_at = NONE};
    r.torch = opt->torch_minor ? opt->torch_minor : parse_torch(qs_manifest_torch(target));
    r.assign = opt->assign && r.torch >= TORCH_ASSIGN;
    for (uint32_t i = 0; i < qs_manifest_module_count(target); i++)
        if (qs_manifest_module(target, i)->name.n > r.longest)
            r.longest = qs_manifest_module(target, i)->name.n;
    v->torch = r.torch;
    v->strict = opt->strict;
    v->model = qs_manifest_model(target);
    bool ok = sort_keys(&r) && load_all(&r) && list_findings(&r);
    free_run(&r);
    if (ok)
        *out = v;
    else
        qs_verdict_free(v);
    return ok;
}
