#include "demo_net.h"

#include <stdlib.h>

#define TORCH_NN   "torch.nn.modules."
#define ULTRA      "ultralytics.nn."
#define SPARSE     "sparseml.yolov8.modules."
#define QUANT      "torch.ao.quantization."
#define BATCH_NORM TORCH_NN "batchnorm.BatchNorm2d"

enum { CLASSES = 80, BOX_BINS = 16 };

/* What the recipe's quantization did to a block; which convs it wraps differs from layer to layer. */
enum {
    BARE = 1,       /* the conv is not in a QuantWrapper: its input was quantized by the module before */
    CONV_OUT = 2,   /* the conv's output is quantized */
    ACT_OUT = 4,    /* the activation's output is quantized */
    FIRST = 8,      /* sees the image */
    SHORTCUT = 16,  /* the bottleneck adds its input */
    ACT_OUT_2 = 32, /* as ACT_OUT, of the block's second conv */
};

/* ---- modules and entries ---- */

static qs_str join(demo_net *n, qs_str path, const char *leaf) {
    char text[160];
    int len = snprintf(text, sizeof text, "%.*s%s%s", QS_FMT(path), path.n ? "." : "", leaf);
    qs_str out = qs_arena_str(&n->arena, (qs_str){text, (size_t)len});
    if (!out.p) n->failed = true;
    return out;
}

static qs_str module(demo_net *n, qs_str path, const char *leaf, const char *class_name) {
    qs_str name = *leaf ? join(n, path, leaf) : path;
    demo_module m = {.name = name, .class_name = class_name, .quantizer = DEMO_NONE};
    m.has_bn = strcmp(class_name, BATCH_NORM) == 0;
    if (!qs_push(&n->modules, m)) n->failed = true;
    return name;
}

static void entry(demo_net *n, qs_str path, const char *leaf, demo_entry e) {
    e.key = join(n, path, leaf);
    if (!qs_push(&n->entries, e)) n->failed = true;
}

static void vector(demo_net *n, qs_str path, const char *leaf, int64_t dim, bool parameter, demo_value value,
                   uint32_t of) {
    entry(
        n, path, leaf,
        (demo_entry){
            .ndim = 1, .dim = {dim}, .dtype = QS_FLOAT32, .parameter = parameter, .value = value, .of = of});
}

static void scalar(demo_net *n, qs_str path, const char *leaf, qs_dtype dtype, demo_value value,
                   uint32_t of) {
    entry(n, path, leaf, (demo_entry){.dtype = dtype, .value = value, .of = of});
}

static void one(demo_net *n, qs_str path, const char *leaf, qs_dtype dtype, demo_value value, uint32_t of) {
    entry(n, path, leaf, (demo_entry){.ndim = 1, .dim = {1}, .dtype = dtype, .value = value, .of = of});
}

static uint32_t new_conv(demo_net *n, int64_t in, int64_t out, int64_t kernel, bool has_bn) {
    if (!qs_push(&n->convs, (demo_conv){out, in, kernel, has_bn, DEMO_NONE})) n->failed = true;
    return (uint32_t)n->convs.n - 1;
}

static void weight(demo_net *n, qs_str path, uint32_t conv, demo_value value) {
    if (n->failed) return;
    const demo_conv *c = &n->convs.v[conv];
    entry(n, path, "weight",
          (demo_entry){.ndim = 4,
                       .dim = {c->out, c->in, c->kernel, c->kernel},
                       .dtype = QS_FLOAT32,
                       .parameter = true,
                       .value = value,
                       .of = conv});
}

static void batch_norm(demo_net *n, qs_str path, int64_t channels, uint32_t conv) {
    qs_str bn = module(n, path, "bn", BATCH_NORM);
    vector(n, bn, "weight", channels, true, DEMO_GAMMA, conv);
    vector(n, bn, "bias", channels, true, DEMO_BETA, conv);
    vector(n, bn, "running_mean", channels, false, DEMO_MEAN, conv);
    vector(n, bn, "running_var", channels, false, DEMO_VAR, conv);
    scalar(n, bn, "num_batches_tracked", QS_INT64, DEMO_BATCHES, conv);
}

/* ---- quantization ---- */

static void fake_quantize(demo_net *n, qs_str path, const char *leaf, demo_observes observes, uint32_t conv) {
    uint32_t q = (uint32_t)n->quantizers.n;
    qs_str fq = module(n, path, leaf, QUANT "fake_quantize.FakeQuantize");
    if (n->failed || !qs_push(&n->quantizers, (demo_quantizer){observes, conv})) {
        n->failed = true;
        return;
    }
    n->modules.v[n->modules.n - 1].quantizer = q;
    if (observes == DEMO_OBSERVES_CONV_WEIGHT) n->convs.v[conv].quantizer = q;
    one(n, fq, "fake_quant_enabled", QS_UINT8, DEMO_FLAG, q);
    one(n, fq, "observer_enabled", QS_UINT8, DEMO_FLAG, q);
    one(n, fq, "scale", QS_FLOAT32, DEMO_SCALE, q);
    one(n, fq, "zero_point", QS_INT32, DEMO_ZERO_POINT, q);
    qs_str observer = module(n, fq, "activation_post_process", QUANT "observer.MovingAverageMinMaxObserver");
    one(n, observer, "eps", QS_FLOAT32, DEMO_EPS, q);
    scalar(n, observer, "min_val", QS_FLOAT32, DEMO_MIN, q);
    scalar(n, observer, "max_val", QS_FLOAT32, DEMO_MAX, q);
}

static void output(demo_net *n, qs_str path, bool quantized, demo_observes observes, uint32_t conv) {
    if (quantized)
        fake_quantize(n, path, "activation_post_process", observes, conv);
    else
        module(n, path, "activation_post_process", TORCH_NN "linear.Identity");
}

/* A QuantWrapper around what follows under the path returned. */
static qs_str wrap(demo_net *n, qs_str path, const char *leaf, demo_observes observes, uint32_t conv) {
    qs_str wrapper = module(n, path, leaf, QUANT "stubs.QuantWrapper");
    qs_str stub = module(n, wrapper, "quant", QUANT "stubs.QuantStub");
    fake_quantize(n, stub, "activation_post_process", observes, conv);
    module(n, wrapper, "dequant", QUANT "stubs.DeQuantStub");
    return wrapper;
}

/* ---- blocks ---- */

static void conv_float(demo_net *n, qs_str path, uint32_t conv, int64_t out) {
    qs_str c = module(n, path, "conv", TORCH_NN "conv.Conv2d");
    weight(n, c, conv, DEMO_WEIGHT);
    batch_norm(n, path, out, conv);
    bool first = n->convs.n == 1; /* all blocks share one activation object */
    module(n, path, "act", TORCH_NN "activation.SiLU");
    if (!n->failed) n->modules.v[n->modules.n - 1].repeated = !first;
}

static void conv_qat(demo_net *n, qs_str path, uint32_t conv, int64_t out, int flags) {
    static const char fused[] = "torch.nn.intrinsic.qat.modules.conv_fused.ConvBn2d";
    demo_observes input = flags & FIRST ? DEMO_OBSERVES_IMAGE : DEMO_OBSERVES_ACTIVATED;
    qs_str c = flags & BARE ? module(n, path, "conv", fused)
                            : module(n, wrap(n, path, "conv", input, conv), "module", fused);
    if (!n->failed) n->modules.v[n->modules.n - 1].has_bn = true;
    weight(n, c, conv, DEMO_WEIGHT);
    batch_norm(n, c, out, conv);
    fake_quantize(n, c, "weight_fake_quant", DEMO_OBSERVES_CONV_WEIGHT, conv);
    output(n, c, flags & CONV_OUT, DEMO_OBSERVES_NORMALISED, conv);
    module(n, path, "bn", TORCH_NN "linear.Identity");
    qs_str act = wrap(n, path, "act", DEMO_OBSERVES_NORMALISED, conv);
    act = module(n, act, "module", TORCH_NN "activation.SiLU");
    output(n, act, flags & ACT_OUT, DEMO_OBSERVES_ACTIVATED, conv);
}

/* Conv2d, BatchNorm, SiLU. */
static void conv_block(demo_net *n, qs_str path, const char *leaf, int64_t in, int64_t out, int64_t kernel,
                       int flags) {
    qs_str block = module(n, path, leaf, n->qat ? SPARSE "Conv" : ULTRA "modules.conv.Conv");
    uint32_t conv = new_conv(n, in, out, kernel, true);
    if (n->qat)
        conv_qat(n, block, conv, out, flags);
    else
        conv_float(n, block, conv, out);
}

/* A conv with a bias and nothing after it. */
static void plain_conv(demo_net *n, qs_str path, const char *leaf, int64_t in, int64_t out) {
    uint32_t conv = new_conv(n, in, out, 1, false);
    qs_str c = n->qat ? module(n, wrap(n, path, leaf, DEMO_OBSERVES_ACTIVATED, conv), "module",
                               "torch.ao.nn.qat.modules.conv.Conv2d")
                      : module(n, path, leaf, TORCH_NN "conv.Conv2d");
    weight(n, c, conv, DEMO_WEIGHT);
    vector(n, c, "bias", out, true, DEMO_BIAS, conv);
    if (!n->qat) return;
    fake_quantize(n, c, "weight_fake_quant", DEMO_OBSERVES_CONV_WEIGHT, conv);
    output(n, c, false, DEMO_OBSERVES_NOTHING, conv);
}

/* SparseML puts a module where the bottleneck adds; without a shortcut it never runs and observes nothing. */
static void add_input(demo_net *n, qs_str path, const char *leaf, bool bare, bool shortcut) {
    demo_observes observes = shortcut ? DEMO_OBSERVES_ACTIVATED : DEMO_OBSERVES_NOTHING;
    uint32_t conv = (uint32_t)n->convs.n - 1;
    qs_str add = bare ? module(n, path, leaf, SPARSE "AddInput")
                      : module(n, wrap(n, path, leaf, observes, conv), "module", SPARSE "AddInput");
    output(n, add, false, DEMO_OBSERVES_NOTHING, conv);
}

static void bottleneck(demo_net *n, qs_str path, const char *leaf, int64_t channels, int flags) {
    qs_str b = module(n, path, leaf, n->qat ? SPARSE "Bottleneck" : ULTRA "modules.block.Bottleneck");
    conv_block(n, b, "cv1", channels, channels, 3, flags & BARE);
    conv_block(n, b, "cv2", channels, channels, 3, 0);
    if (!n->qat) return;
    add_input(n, b, "add_input_0", flags & BARE, flags & SHORTCUT);
    add_input(n, b, "add_input_1", false, flags & SHORTCUT);
}

static void c2f(demo_net *n, qs_str path, const char *leaf, int64_t in, int64_t out, int repeats, int flags) {
    qs_str block = module(n, path, leaf, ULTRA "modules.block.C2f");
    conv_block(n, block, "cv1", in, out, 1, flags & ACT_OUT);
    conv_block(n, block, "cv2", (2 + repeats) * out / 2, out, 1, flags & ACT_OUT_2 ? ACT_OUT : 0);
    qs_str list = module(n, block, "m", TORCH_NN "container.ModuleList");
    for (int i = 0; i < repeats; i++) {
        char index[12];
        snprintf(index, sizeof index, "%d", i);
        /* Only the first bottleneck of a backbone block gets an input that is quantized already. */
        bottleneck(n, list, index, out / 2, (flags & SHORTCUT) | (i == 0 && (flags & SHORTCUT) ? BARE : 0));
    }
}

static void sppf(demo_net *n, qs_str path, const char *leaf, int64_t in, int64_t out) {
    qs_str block = module(n, path, leaf, ULTRA "modules.block.SPPF");
    conv_block(n, block, "cv1", in, in / 2, 1, ACT_OUT);
    conv_block(n, block, "cv2", in * 2, out, 1, ACT_OUT);
    uint32_t conv = (uint32_t)n->convs.n - 1;
    qs_str pool = n->qat ? module(n, wrap(n, block, "m", DEMO_OBSERVES_ACTIVATED, conv), "module",
                                  TORCH_NN "pooling.MaxPool2d")
                         : module(n, block, "m", TORCH_NN "pooling.MaxPool2d");
    if (n->qat) output(n, pool, false, DEMO_OBSERVES_NOTHING, conv);
}

/* One branch of the head: for each scale two convs and a plain one. */
static void branch(demo_net *n, qs_str head, const char *leaf, int64_t width, int64_t out) {
    static const int64_t scales[] = {64, 128, 256};
    qs_str list = module(n, head, leaf, TORCH_NN "container.ModuleList");
    for (int i = 0; i < 3; i++) {
        char index[12];
        snprintf(index, sizeof index, "%d", i);
        qs_str seq = module(n, list, index, TORCH_NN "container.Sequential");
        conv_block(n, seq, "0", scales[i], width, 3, 0);
        conv_block(n, seq, "1", width, width, 3, 0);
        plain_conv(n, seq, "2", width, out);
    }
}

static void detect(demo_net *n, qs_str path, const char *leaf) {
    qs_str head = module(n, path, leaf, ULTRA "modules.head.Detect");
    branch(n, head, "cv2", 4 * BOX_BINS, 4 * BOX_BINS);
    branch(n, head, "cv3", CLASSES, CLASSES);
    qs_str dfl = module(n, head, "dfl", ULTRA "modules.block.DFL");
    qs_str c =
        module(n, dfl, "conv", TORCH_NN "conv.Conv2d"); /* fixed weights: quantization leaves it alone */
    weight(n, c, new_conv(n, BOX_BINS, 1, 1, false), DEMO_PROJECTION);
}

/* ---- the net ---- */

typedef enum layer_kind { CONV, C2F, SPPF, UPSAMPLE, CONCAT, DETECT } layer_kind;

static const struct {
    layer_kind kind;
    int64_t in, out;
    int repeats, flags;
} layers[] = {
    {CONV, 3, 16, 0, FIRST},
    {CONV, 16, 32, 0, 0},
    {C2F, 32, 32, 1, SHORTCUT | ACT_OUT},
    {CONV, 32, 64, 0, 0},
    {C2F, 64, 64, 2, SHORTCUT | ACT_OUT | ACT_OUT_2},
    {CONV, 64, 128, 0, BARE},
    {C2F, 128, 128, 2, SHORTCUT | ACT_OUT | ACT_OUT_2},
    {CONV, 128, 256, 0, BARE | CONV_OUT},
    {C2F, 256, 256, 1, SHORTCUT | ACT_OUT | ACT_OUT_2},
    {SPPF, 256, 256, 0, 0},
    {UPSAMPLE, 0, 0, 0, 0},
    {CONCAT, 0, 0, 0, 0},
    {C2F, 384, 128, 1, 0},
    {UPSAMPLE, 0, 0, 0, 0},
    {CONCAT, 0, 0, 0, 0},
    {C2F, 192, 64, 1, 0},
    {CONV, 64, 64, 0, 0},
    {CONCAT, 0, 0, 0, 0},
    {C2F, 192, 128, 1, 0},
    {CONV, 128, 128, 0, 0},
    {CONCAT, 0, 0, 0, 0},
    {C2F, 384, 256, 1, 0},
    {DETECT, 0, 0, 0, 0},
};

bool demo_net_build(demo_net *n, bool qat) {
    *n = (demo_net){.qat = qat};
    module(n, QS_STR(""), "", ULTRA "tasks.DetectionModel");
    qs_str model = module(n, QS_STR(""), "model", TORCH_NN "container.Sequential");
    for (size_t i = 0; i < sizeof layers / sizeof *layers && !n->failed; i++) {
        char leaf[12];
        snprintf(leaf, sizeof leaf, "%zu", i);
        int64_t in = layers[i].in, out = layers[i].out;
        switch (layers[i].kind) {
        case CONV: conv_block(n, model, leaf, in, out, 3, layers[i].flags); break;
        case C2F: c2f(n, model, leaf, in, out, layers[i].repeats, layers[i].flags); break;
        case SPPF: sppf(n, model, leaf, in, out); break;
        case UPSAMPLE: module(n, model, leaf, TORCH_NN "upsampling.Upsample"); break;
        case CONCAT: module(n, model, leaf, ULTRA "modules.conv.Concat"); break;
        case DETECT: detect(n, model, leaf); break;
        }
    }
    return !n->failed;
}

void demo_net_free(demo_net *n) {
    qs_vec_free(&n->modules);
    qs_vec_free(&n->entries);
    qs_vec_free(&n->convs);
    qs_vec_free(&n->quantizers);
    qs_arena_free(&n->arena);
}
