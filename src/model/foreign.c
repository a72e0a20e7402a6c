#include "model/foreign.h"

bool qs_foreign_kind(qs_file_kind kind) {
    return kind == QS_FILE_SAFETENSORS;
}

bool qs_foreign_open(qs_file *f, qs_file_kind kind, const qs_limits *limits, qs_container **out, qs_err *e) {
    switch (kind) {
    case QS_FILE_SAFETENSORS: return qs_safetensors_open(f, limits, out, e);
    default: break;
    }
    qs_sniff_refuse(f, kind, e);
    qs_file_close(f);
    return false;
}
