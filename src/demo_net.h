/* The structure of a YOLOv8n, as Ultralytics builds it, and of its QAT twin, as SparseML's quantization
 * modifier turns it into one: every module and state_dict entry in torch's own order. No weights; see demo.c.
 */
#ifndef QS_DEMO_NET_H
#define QS_DEMO_NET_H

#include "base/arena.h"
#include "base/vec.h"
#include "model/dtype.h"

#define DEMO_NONE UINT32_MAX

/* What an entry holds; its values are made from this. */
typedef enum demo_value {
    DEMO_WEIGHT,
    DEMO_BIAS,
    DEMO_PROJECTION, /* of the box decoder: 0, 1, ... 15 */
    DEMO_GAMMA,
    DEMO_BETA,
    DEMO_MEAN,
    DEMO_VAR,
    DEMO_BATCHES,
    DEMO_FLAG,
    DEMO_SCALE,
    DEMO_ZERO_POINT,
    DEMO_EPS,
    DEMO_MIN,
    DEMO_MAX,
} demo_value;

/* What a fake quantizer observes. */
typedef enum demo_observes {
    DEMO_OBSERVES_NOTHING, /* its module never runs */
    DEMO_OBSERVES_CONV_WEIGHT,
    DEMO_OBSERVES_IMAGE,
    DEMO_OBSERVES_ACTIVATED,
    DEMO_OBSERVES_NORMALISED,
} demo_observes;

typedef struct demo_module {
    qs_str name;
    const char *class_name;
    bool repeated; /* the same object under another name: named_modules() skips it, state_dict() does not */
    uint32_t quantizer; /* of a FakeQuantize: index, else DEMO_NONE */
    bool has_bn;        /* a BatchNorm, or a conv with one inside */
} demo_module;

typedef struct demo_entry {
    qs_str key;
    uint32_t ndim;
    int64_t dim[4];
    qs_dtype dtype;
    bool parameter;
    demo_value value;
    uint32_t of; /* conv or quantizer it belongs to */
} demo_entry;

typedef struct demo_conv {
    int64_t out, in, kernel;
    bool has_bn;
    uint32_t quantizer; /* of its weight, DEMO_NONE in the float net */
} demo_conv;

typedef struct demo_quantizer {
    demo_observes observes;
    uint32_t conv; /* the conv before it, or whose weight it is */
} demo_quantizer;

typedef struct demo_net {
    qs_arena arena;
    bool qat;
    QS_VEC(demo_module) modules;
    QS_VEC(demo_entry) entries;
    QS_VEC(demo_conv) convs; /* in both nets the same convs in the same order */
    QS_VEC(demo_quantizer) quantizers;
    bool failed; /* memory is out */
} demo_net;

/* False when memory is out; free in any case. */
bool demo_net_build(demo_net *net, bool qat);
void demo_net_free(demo_net *net);

#endif
