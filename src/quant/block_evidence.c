/* Populated weight quantizers of B, and of the result where it has them: what other blocks were configured as
 * is the best guess for a block nothing is known of. */
#include "quant/fqinit_impl.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_CHANNELS = 1 << 16 };

/* A small tensor of the source as doubles, or NULL. */
typedef struct source {
    const qs_init_context *x;
    bool of_result;
    qs_arena *arena;
    bool nomem;
} source;

static const qs_tensor *find_tensor(const source *s, qs_str key, const qs_checkpoint **from) {
    if (s->of_result) return s->x->resolved ? s->x->resolved(s->x->ctx, key, from) : NULL;
    uint32_t i = s->x->sibling ? qs_checkpoint_find(s->x->sibling, key) : UINT32_MAX;
    *from = s->x->sibling;
    return i == UINT32_MAX ? NULL : qs_entry_tensor(s->x->sibling, qs_checkpoint_entry(s->x->sibling, i));
}

static double *read_leaf(source *s, qs_str block, const char *leaf, size_t *n, qs_dtype *dtype) {
    const qs_checkpoint *from = NULL;
    qs_str key = qs_key_join(s->arena, block, leaf);
    const qs_tensor *t = key.p ? find_tensor(s, key, &from) : NULL;
    if (!key.p) s->nomem = true;
    if (!t || t->kind != QS_TENSOR_DENSE || t->bad) return NULL;
    uint64_t count = qs_shape_numel(t->shape);
    if (count == 0 || count > MOST_CHANNELS) return NULL;
    double *v = QS_ARENA_ARRAY(s->arena, (size_t)count, double);
    qs_err unused = QS_ERR_INIT; /* what cannot be read is no evidence */
    if (!v) s->nomem = true;
    if (!v || !qs_tensor_read_doubles(from, t, 0, (size_t)count, v, &unused)) return NULL;
    *n = (size_t)count;
    *dtype = t->dtype;
    return v;
}

static float *to_floats(qs_arena *arena, double *v, size_t n) {
    float *f = QS_ARENA_ARRAY(arena, n, float);
    for (size_t i = 0; f && i < n; i++) f[i] = (float)v[i];
    return f;
}

/* Only quantizers that have seen a weight tell anything. */
static bool populated(const double *lo, const double *hi, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(lo[i]) || !isfinite(hi[i]) || lo[i] > hi[i] || (lo[i] == 0 && hi[i] == 0)) return false;
    return true;
}

static bool read_block(source *s, qs_str block, qs_evidence *out) {
    size_t n = 0, nz = 0, nl = 0, nh = 0;
    qs_dtype dtype = QS_FLOAT32, unused;
    double *scale = read_leaf(s, block, "scale", &n, &dtype),
           *zp = read_leaf(s, block, "zero_point", &nz, &unused);
    double *lo = read_leaf(s, block, "activation_post_process.min_val", &nl, &unused);
    double *hi = read_leaf(s, block, "activation_post_process.max_val", &nh, &unused);
    if (!lo) lo = read_leaf(s, block, "activation_post_process.min_vals", &nl, &unused);
    if (!hi) hi = read_leaf(s, block, "activation_post_process.max_vals", &nh, &unused);
    if (!scale || !zp || !lo || !hi || n != nz || n != nl || n != nh || !populated(lo, hi, n)) return false;
    *out = (qs_evidence){.block = block,
                         .where = s->of_result ? "populated siblings in A" : "populated siblings in B",
                         .n = n,
                         .scale = to_floats(s->arena, scale, n),
                         .min_val = to_floats(s->arena, lo, n),
                         .max_val = to_floats(s->arena, hi, n),
                         .zero_point = zp,
                         .half = dtype == QS_FLOAT16 || dtype == QS_BFLOAT16};
    if (out->scale && out->min_val && out->max_val) return true;
    s->nomem = true;
    return false;
}

/* Name of the quantizer (of weights or of activations) whose scale this key is, empty if it is none. */
static qs_str block_of_scale(qs_str key, bool weights) {
    qs_quant_key q;
    qs_str none = {NULL, 0};
    if (!qs_str_ends(key, QS_STR(".scale")) || !qs_quant_classify(key, NULL, &q)) return none;
    return q.is_weight == weights && qs_str_is(q.leaf, "scale") ? q.block : none;
}

bool qs_evidence_collect(const qs_init_context *x, qs_str first, bool weights, size_t most, qs_arena *arena,
                         qs_evidence_list *out, qs_err *e) {
    for (int of_result = 0; of_result < 2 && out->n == 0; of_result++) {
        source s = {.x = x, .of_result = of_result != 0, .arena = arena};
        qs_evidence ev;
        uint32_t count = first.n ? 1 : qs_manifest_count(x->target);
        for (uint32_t i = 0; i < count && out->n < most && !s.nomem; i++) {
            qs_str block = first.n ? first : block_of_scale(qs_manifest_entry(x->target, i)->key, weights);
            if (block.n && read_block(&s, block, &ev) && !qs_push(out, ev)) s.nomem = true;
        }
        if (s.nomem) return qs_nomem(e);
    }
    return true;
}
