/* Any bytes as a safetensors file: its header alone, and the whole way to a checkpoint whose tensors are
 * read. */
#include "format/safetensors.h"
#include "fuzz/checkpoint_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_header(const qs_safetensors *s, uint64_t data_size) {
    uint64_t covered = 0;
    for (size_t i = 0; i < s->tensors.n; i++) {
        const qs_st_tensor *t = &s->tensors.v[i];
        if (t->begin > t->end || t->end > data_size) abort();
        covered += t->end - t->begin;
    }
    if (covered != data_size) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_safetensors *s = NULL;
    for (uint64_t data_size = 0; data_size < 40; data_size += 8) {
        qs_err own = QS_ERR_INIT;
        if (!qs_safetensors_parse((const char *)data, size, data_size, &limits, &s, &own)) continue;
        check_header(s, data_size);
        qs_safetensors_free(s);
    }
    open_and_read(data, size);
    return 0;
}
