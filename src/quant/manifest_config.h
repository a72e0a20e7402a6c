/* Settings of quantizers for a manifest that was made from a checkpoint: keys and classes do not tell them,
 * but populated quantizers do, since a range and the scale computed from it fit one scheme and one grid only.
 */
#ifndef QS_QUANT_MANIFEST_CONFIG_H
#define QS_QUANT_MANIFEST_CONFIG_H

#include "model/checkpoint.h"
#include "model/manifest.h"

typedef struct qs_config_count {
    uint32_t told;   /* quantizers whose settings are in the manifest now */
    uint32_t unsure; /* those that saw no data, or whose numbers fit none or several: left without, so that
                        whoever needs the settings asks */
} qs_config_count;

/* Fills dtype, qscheme, quant_min, quant_max and ch_axis of every fake quantizer of `m` that has none, where
 * its own numbers in `c` leave no choice. For the maker of a manifest, before it is shared; on failure
 * (memory) the manifest is still valid. */
bool qs_manifest_infer_configs(qs_manifest *m, const qs_checkpoint *c, qs_config_count *count, qs_err *e);

#endif
