/* Bytes as a pickle in an archive with four storages (or, if they start like one, as the archive itself):
 * open it with every root it has, look at every entry, read some of every tensor. */
#include "model/stats.h"

#include "unit/ascii_ckpt.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch_tensor(const qs_checkpoint *c, const qs_tensor *t) {
    double v[64];
    char raw[64 * 16];
    qs_err e = QS_ERR_INIT;
    uint64_t numel = qs_shape_numel(t->shape);
    size_t n = numel < 64 ? (size_t)numel : 64;
    char shape[64];
    qs_shape_text(t->shape, "x", shape, sizeof shape);
    if (t->shape.ndim <= 64 && t->bad == NULL) (void)qs_tensor_is_contiguous(t);
    if (qs_tensor_read(c, t, 0, n, raw, &e) && n && numel != UINT64_MAX)
        qs_tensor_read(c, t, numel - n, n, raw, &e);
    e = (qs_err)QS_ERR_INIT;
    qs_tensor_read_doubles(c, t, 0, n, v, &e);
    uint32_t crc;
    qs_stats s;
    if (numel < 100000) qs_tensor_crc32(c, t, &crc, NULL, &e), qs_stats_compute(c, t, &s, NULL, &e);
}

static void touch(const qs_checkpoint *c) {
    char text[64];
    for (uint32_t i = 0; i < qs_checkpoint_count(c); i++) {
        const qs_entry *en = qs_checkpoint_entry(c, i);
        if (qs_checkpoint_find(c, en->key) != i) abort();
        const qs_tensor *t = qs_entry_tensor(c, en);
        if (t && i < 256) touch_tensor(c, t);
        if (!t && i < 256) qs_node_describe(qs_checkpoint_graph(c), en->node, text, sizeof text);
    }
    for (uint32_t i = 0; i < qs_checkpoint_metadata_count(c); i++)
        qs_checkpoint_version(c, qs_checkpoint_metadata_prefix(c, i));
    for (uint32_t i = 0; i < qs_checkpoint_module_count(c); i++)
        if (!qs_checkpoint_module_class(c, i).p) abort();
}

static int open_as_archive(const uint8_t *data, size_t size, char path[64]) {
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static int open_as_pickle(const uint8_t *data, size_t size, char path[64]) {
    static const char zeros[256];
    const ascii_record r[] = {{"data.pkl", data, size}, {"version", "3\n", 2}, {"data/0", zeros, 64},
                              {"data/1", zeros, 8},     {"data/2", zeros, 1},  {"data/3", zeros, 0},
                              {"data/4", zeros, 256}};
    return ascii_write(r, sizeof r / sizeof *r, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    bool archive = size >= 4 && memcmp(data, "PK\3\4", 4) == 0;
    int fd = archive ? open_as_archive(data, size, path) : open_as_pickle(data, size, path);
    qs_open_options opt = {.limits = QS_LIMITS_DEFAULT, .loose = true};
    opt.limits.opcodes = 1 << 18; /* long inputs teach nothing new */
    qs_checkpoint *c = NULL;
    qs_err e = QS_ERR_INIT;
    if (qs_checkpoint_open(path, &opt, &c, &e)) {
        uint32_t roots = qs_checkpoint_root_count(c);
        touch(c);
        for (uint32_t i = 0; i < roots && i < 4; i++) {
            char name[512];
            snprintf(name, sizeof name, "%.*s", QS_FMT(qs_checkpoint_root(c, i)->path));
            qs_checkpoint *again = NULL;
            qs_err e2 = QS_ERR_INIT;
            opt.root = name;
            if (qs_checkpoint_open(path, &opt, &again, &e2)) touch(again);
            qs_checkpoint_close(again);
        }
        qs_checkpoint_close(c);
    } else if (e.code == QS_OK || !e.msg[0]) {
        abort(); /* a failure must say why */
    }
    close(fd);
    return 0;
}
