/* The arithmetic of torch's observers and fake-quant modules, bit for bit as on a CPU (qat-keys.md, section
 * 5; torch/ao/quantization/observer.py, aten/src/ATen/native/quantized/cpu/QuantUtils.h,
 * aten/src/ATen/native/quantized/FusedObsFakeQuant). float32, no FMA, round half to even. */
#ifndef QS_QUANT_QPARAMS_H
#define QS_QUANT_QPARAMS_H

#include "base/err.h"
#include "model/checkpoint.h"

typedef enum qs_qscheme {
    QS_QSCHEME_UNKNOWN = 0,
    QS_PER_TENSOR_AFFINE,
    QS_PER_TENSOR_SYMMETRIC,
    QS_PER_CHANNEL_AFFINE,
    QS_PER_CHANNEL_SYMMETRIC,
    QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS,
} qs_qscheme;
qs_qscheme qs_qscheme_parse(qs_str name); /* "per_tensor_symmetric", "torch.per_tensor_symmetric" */
const char *qs_qscheme_name(qs_qscheme s);
static inline bool qs_qscheme_per_channel(qs_qscheme s) {
    return s >= QS_PER_CHANNEL_AFFINE;
}
static inline bool qs_qscheme_symmetric(qs_qscheme s) {
    return s == QS_PER_TENSOR_SYMMETRIC || s == QS_PER_CHANNEL_SYMMETRIC;
}

/* quant_min and quant_max are what the fake-quant module holds, as a manifest says them: since torch 1.13 the
 * observer's range is that same one, with reduce_range already taken into it; before, the observer's comes
 * from the dtype (or its own custom range) and reduce_range, and the module's only clamps. */
typedef struct qs_qconfig {
    qs_qscheme scheme;
    qs_dtype dtype; /* QINT8, QUINT8, QINT32; the unquantized INT8 ... count as these */
    bool fused;     /* FusedMovingAvgObsFakeQuantize numerics; false: FakeQuantize + observer */
    bool learnable; /* _LearnableFakeQuantize: symmetric schemes keep their zero point at 0 */
    bool reduce_range;
    bool custom_range; /* quant_min/max were given to the observer, not taken from the dtype */
    int64_t quant_min, quant_max;
    int64_t ch_axis; /* may be negative as in torch; -1 for per tensor */
    float eps;       /* of the observer, FLT_EPSILON by default */
    double averaging_constant;
    int torch_minor;      /* 100 * major + minor: 113, 206; 0 = newest. Rules that changed look here */
    qs_dtype float_dtype; /* of scale, eps, min_val and max_val: FLOAT16 or BFLOAT16 after module.half(),
                             which rounds after every step of the plain numerics; anything else is FLOAT32 */
} qs_qconfig;
#define QS_QCONFIG_DEFAULT                                                                                   \
    ((qs_qconfig){.scheme = QS_PER_TENSOR_SYMMETRIC,                                                         \
                  .dtype = QS_QINT8,                                                                         \
                  .custom_range = true,                                                                      \
                  .quant_min = -128,                                                                         \
                  .quant_max = 127,                                                                          \
                  .ch_axis = -1,                                                                             \
                  .eps = 1.1920929e-07f,                                                                     \
                  .averaging_constant = 0.01,                                                                \
                  .float_dtype = QS_FLOAT32})

/* The range an observer computes with, from its constructor's arguments: lo and hi are the custom range
 * (ignored unless `custom`) and are overwritten (observer.py, calculate_qmin_qmax). */
void qs_quant_range(qs_dtype dtype, bool custom, bool reduce_range, int torch_minor, int64_t *lo,
                    int64_t *hi);

/* Scale and zero point of n ranges (n = 1 per tensor). An untouched range (inf/-inf) gives 1.0 and 0. A NaN,
 * or a minimum above its maximum, is QS_E_INPUT. */
typedef struct qs_qparam {
    float scale;
    int32_t zero_point;
    float zero_point_f; /* float_qparams only */
} qs_qparam;
bool qs_qparams(const qs_qconfig *cfg, const float *min_val, const float *max_val, size_t n, qs_qparam *out,
                qs_err *e);

/* A weight read in blocks; row-major over `dim`. channel_factor, if not NULL, multiplies channel c of
 * factor_axis in float32 before anything else (the BN factor of ConvBn*). Reads do not run in parallel. */
typedef struct qs_weight {
    qs_str key; /* for messages */
    uint32_t ndim;
    const int64_t *dim;
    qs_dtype dtype;
    bool (*read)(void *ctx, uint64_t first, size_t n, float *out, qs_err *e);
    /* The same elements in `dtype`, packed; may be NULL. Spares half precision the way through floats. */
    bool (*read_raw)(void *ctx, uint64_t first, size_t n, void *out, qs_err *e);
    void *ctx;
    const float *channel_factor; /* [dim[factor_axis]] or NULL */
    int64_t factor_axis;         /* 0 for Conv/Linear, 1 for ConvTranspose */
} qs_weight;

/* A tensor of a checkpoint as a weight without a factor. It borrows `source`, and the source what it names.
 */
typedef struct qs_weight_source {
    const qs_checkpoint *from;
    const qs_tensor *t;
} qs_weight_source;
qs_weight qs_weight_of_tensor(qs_str key, qs_weight_source *source);

/* Minimum and maximum as the observer's first observation takes them: n = 1 per tensor, else dim[ch_axis];
 * min/max hold that many floats. NaN or infinite elements are QS_E_INPUT naming the key. Reads the weight
 * once, in blocks. */
bool qs_weight_range(const qs_weight *w, const qs_qconfig *cfg, float *min_val, float *max_val, size_t n,
                     const qs_progress *progress, qs_err *e);
/* Number of ranges the config gives for this weight: 1, or dim[ch_axis]; false if the axis is out of range.
 */
bool qs_weight_channels(const qs_weight *w, const qs_qconfig *cfg, size_t *n, qs_err *e);

/* gamma / sqrt(running_var + eps) per channel in float32, as ConvBn*'s forward computes it. */
void qs_bn_factor(const float *gamma, const float *running_var, double eps, size_t n, float *out);

/* x as torch.fake_quantize_per_{tensor,channel}_affine gives it for these qparams. */
float qs_fake_quantize(const qs_qconfig *cfg, const qs_qparam *qp, float x);

/* What a choice of qparams costs on this weight. */
typedef struct qs_quality {
    double sqnr_db; /* 10 log10(sum x^2 / sum (x - fq(x))^2); +inf when exact */
    double clipped; /* share of elements outside the grid, 0..1 */
    double mse;
    float max_abs_error;
} qs_quality;
/* qp has n entries as from qs_qparams. per_channel, if not NULL, receives n qualities. */
bool qs_quality_measure(const qs_weight *w, const qs_qconfig *cfg, const qs_qparam *qp, size_t n,
                        qs_quality *out, qs_quality *per_channel, qs_err *e);

#endif
