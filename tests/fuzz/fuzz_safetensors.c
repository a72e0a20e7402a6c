/* Any bytes as a safetensors file: its header alone, and the whole way to a checkpoint whose tensors are
 * read. */
#include "format/safetensors.h"
#include "fuzz/memory_file.h"
#include "model/checkpoint.h"

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

static void read_all(const qs_checkpoint *c) {
    double v[16];
    qs_err ignored = QS_ERR_INIT;
    for (uint32_t i = 0; i < qs_checkpoint_count(c); i++) {
        const qs_tensor *t = qs_entry_tensor(c, qs_checkpoint_entry(c, i));
        uint64_t n = t ? qs_shape_numel(t->shape) : 0;
        if (t && !t->bad) qs_tensor_read_doubles(c, t, 0, n < 16 ? (size_t)n : 16, v, &ignored);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_safetensors *s = NULL;
    qs_err e = QS_ERR_INIT;
    for (uint64_t data_size = 0; data_size < 40; data_size += 8) {
        qs_err own = QS_ERR_INIT;
        if (!qs_safetensors_parse((const char *)data, size, data_size, &limits, &s, &own)) continue;
        check_header(s, data_size);
        qs_safetensors_free(s);
    }
    if (size < 9) return 0;
    char path[40];
    int fd = memory_file(data, size, path);
    qs_checkpoint *c = NULL;
    if (qs_checkpoint_open(path, NULL, &c, &e)) {
        read_all(c);
        qs_checkpoint_close(c);
    }
    close(fd);
    return 0;
}
