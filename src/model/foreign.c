#include "model/foreign.h"

#include "format/legacy.h"
#include "model/dtype.h"

bool qs_foreign_kind(qs_file_kind kind) {
    return kind == QS_FILE_SAFETENSORS || kind == QS_FILE_LEGACY || kind == QS_FILE_JSON ||
           kind == QS_FILE_TORCHSCRIPT || kind == QS_FILE_DCP;
}

static uint64_t itemsize(qs_str storage_class) {
    qs_dtype t = qs_dtype_of_storage(storage_class);
    if (t) return qs_dtype_get(t)->size;
    return qs_str_ends(storage_class, QS_STR("UntypedStorage")); /* counted in bytes */
}

bool qs_foreign_open(qs_file *f, qs_file_kind kind, const qs_limits *limits, qs_container **out, qs_err *e) {
    switch (kind) {
    case QS_FILE_SAFETENSORS: return qs_safetensors_open(f, limits, out, e);
    case QS_FILE_LEGACY: return qs_legacy_open(f, limits, itemsize, out, e);
    case QS_FILE_TORCHSCRIPT: return qs_torchscript_open(f, limits, out, e);
    case QS_FILE_DCP: return qs_dcp_open(f, limits, out, e);
    case QS_FILE_JSON: return qs_shards_open(f, limits, out, e);
    default: break;
    }
    qs_sniff_refuse(f, kind, e);
    qs_file_close(f);
    return false;
}
