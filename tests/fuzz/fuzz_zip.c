/* Any bytes as a file: sniff it, refuse it or open it, read every record. */
#include "format/container.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const qs_container *c) {
    char window[64];
    qs_limits limits = QS_LIMITS_DEFAULT;
    limits.pickle_bytes = 1 << 22;
    for (uint32_t i = 0; i < qs_container_count(c); i++) {
        const qs_record *r = qs_container_record(c, i);
        qs_err e = QS_ERR_INIT;
        char *p = NULL;
        size_t n = 0;
        if (qs_container_find(c, r->name) != i) abort();
        if (!qs_record_slurp(c, i, &limits, QS_LIMIT_PICKLE_BYTES, &p, &n, &e)) {
            if (e.code == QS_OK || !e.msg[0]) abort();
            continue;
        }
        if (n != r->size) abort();
        size_t k = n < sizeof window ? n : sizeof window;
        if (!qs_record_read(c, i, n - k, window, k, &e) || (k && memcmp(window, p + n - k, k) != 0)) abort();
        if (qs_record_read(c, i, n, window, 1, &e)) abort();
        free(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    char path[64];
    qs_limits lim = QS_LIMITS_DEFAULT;
    qs_err e = QS_ERR_INIT;
    qs_file *f = NULL;
    qs_container *c = NULL;
    if (fd < 0) fd = memfd_create("fuzz_zip", 0);
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!qs_file_open(path, &f, &e)) return 0;
    qs_file_kind kind = qs_sniff(f);
    if (kind != QS_FILE_TORCH_ZIP && kind != QS_FILE_TORCHSCRIPT) {
        if (qs_sniff_refuse(f, kind, &e) || e.code == QS_OK || !e.msg[0]) abort();
    }
    e = (qs_err)QS_ERR_INIT;
    if (!qs_container_open(f, &lim, &c, &e)) {
        if (e.code == QS_OK || !e.msg[0]) abort();
        return 0;
    }
    read_all(c);
    qs_container_close(c);
    return 0;
}
