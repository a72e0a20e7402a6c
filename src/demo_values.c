#include "demo_values.h"

#include "quant/qparams.h"

#include <float.h>
#include <math.h>

/* The finalizer of splitmix64: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t hash_of(demo_value what, uint32_t of, uint64_t i) {
    return mix(mix(((uint64_t)what << 32 | of) * 0x9e3779b97f4a7c15ull + 1) + i * 0x9e3779b97f4a7c15ull);
}

/* Between -1 and 1, all alike. */
static double uniform(uint64_t h) {
    return (double)(int64_t)h * 0x1p-63;
}

/* About normal, variance 1, never beyond 3.5: the sum of four uniform numbers. */
static double bell(uint64_t h) {
    int64_t sum = 0;
    for (int k = 0; k < 64; k += 16) sum += (int64_t)(h >> k & 0xffff);
    return ((double)sum - 131070.0) / 37837.0; /* mean and deviation of the sum */
}

/* What a little training does to a number of the float net. */
static double trained(const demo_net *n, uint64_t h) {
    return n->qat ? 0.02 * uniform(mix(h)) : 0;
}

static double conv_value(const demo_net *n, const demo_entry *en, uint64_t i) {
    const demo_conv *c = &n->convs.v[en->of];
    uint64_t h = hash_of(en->value, en->of, i);
    double moved = trained(n, h);
    switch (en->value) {
    case DEMO_WEIGHT: return bell(h) / sqrt((double)(c->in * c->kernel * c->kernel)) * (1 + moved);
    case DEMO_BIAS: return 0.1 * uniform(h) + moved;
    case DEMO_PROJECTION: return (double)i;
    case DEMO_GAMMA: return 1 + 0.3 * uniform(h) + moved;
    case DEMO_BETA: return 0.2 * bell(h) + moved;
    case DEMO_MEAN: return 0.3 * bell(h) + moved;
    case DEMO_VAR: return 1 + 0.6 * uniform(h) + moved;
    default: return n->qat ? 3450 : 3000; /* batches seen */
    }
}

double demo_value_at(const demo_net *n, const demo_range *ranges, const demo_entry *en, uint64_t i) {
    switch (en->value) {
    case DEMO_FLAG: return 1;
    case DEMO_SCALE: return (double)ranges[en->of].scale;
    case DEMO_ZERO_POINT: return ranges[en->of].zero_point;
    case DEMO_EPS: return (double)FLT_EPSILON;
    case DEMO_MIN: return (double)ranges[en->of].min;
    case DEMO_MAX: return (double)ranges[en->of].max;
    default: return conv_value(n, en, i);
    }
}

typedef struct weight_reader {
    const demo_net *n;
    demo_entry en;
} weight_reader;

static bool read_weight(void *ctx, uint64_t first, size_t n, float *out, qs_err *e) {
    (void)e;
    const weight_reader *r = ctx;
    for (size_t i = 0; i < n; i++) out[i] = (float)conv_value(r->n, &r->en, first + i);
    return true;
}

static void read_channels(const demo_net *n, uint32_t conv, demo_value what, float *out) {
    demo_entry en = {.value = what, .of = conv};
    for (int64_t i = 0; i < n->convs.v[conv].out; i++) out[i] = (float)conv_value(n, &en, (uint64_t)i);
}

enum { MAX_CHANNELS = 256 };

static bool weight_range(const demo_net *n, uint32_t conv, const qs_qconfig *cfg, demo_range *r, qs_err *e) {
    const demo_conv *c = &n->convs.v[conv];
    weight_reader reader = {n, {.value = DEMO_WEIGHT, .of = conv}};
    int64_t dim[] = {c->out, c->in, c->kernel, c->kernel};
    float gamma[MAX_CHANNELS], var[MAX_CHANNELS], factor[MAX_CHANNELS];
    qs_weight w = {.ndim = 4, .dim = dim, .dtype = QS_FLOAT32, .read = read_weight, .ctx = &reader};
    if (c->has_bn) {
        read_channels(n, conv, DEMO_GAMMA, gamma);
        read_channels(n, conv, DEMO_VAR, var);
        qs_bn_factor(gamma, var, DEMO_BN_EPS, (size_t)c->out, factor);
        w.channel_factor = factor;
    }
    return qs_weight_range(&w, cfg, &r->min, &r->max, 1, NULL, e);
}

static void activation_range(demo_observes observes, uint32_t quantizer, demo_range *r) {
    double low = uniform(hash_of(DEMO_MIN, quantizer, 0)), high = uniform(hash_of(DEMO_MAX, quantizer, 0));
    switch (observes) {
    case DEMO_OBSERVES_IMAGE: *r = (demo_range){.min = 0, .max = 1}; break;
    case DEMO_OBSERVES_ACTIVATED: /* the lowest value of SiLU */
        *r = (demo_range){.min = -0.27846454f, .max = (float)(4.5 + 1.5 * high)};
        break;
    case DEMO_OBSERVES_NORMALISED:
        *r = (demo_range){.min = (float)(-4.5 + 1.5 * low), .max = (float)(4.5 + 1.5 * high)};
        break;
    default: *r = (demo_range){.min = INFINITY, .max = -INFINITY}; break;
    }
}

bool demo_ranges(const demo_net *n, demo_range *out, qs_err *e) {
    qs_qconfig cfg = {.scheme = QS_PER_TENSOR_AFFINE,
                      .dtype = QS_QINT8,
                      .quant_min = DEMO_QUANT_MIN,
                      .quant_max = DEMO_QUANT_MAX,
                      .ch_axis = -1,
                      .eps = FLT_EPSILON,
                      .averaging_constant = 0.01,
                      .torch_minor = 113};
    for (uint32_t i = 0; i < n->quantizers.n; i++) {
        const demo_quantizer *q = &n->quantizers.v[i];
        bool of_weight = q->observes == DEMO_OBSERVES_CONV_WEIGHT;
        cfg.scheme = of_weight ? QS_PER_TENSOR_SYMMETRIC : QS_PER_TENSOR_AFFINE;
        if (!of_weight)
            activation_range(q->observes, i, &out[i]);
        else if (!weight_range(n, q->conv, &cfg, &out[i], e))
            return false;
        qs_qparam p;
        if (!qs_qparams(&cfg, &out[i].min, &out[i].max, 1, &p, e)) return false;
        out[i].scale = p.scale;
        out[i].zero_point = p.zero_point;
    }
    return true;
}
