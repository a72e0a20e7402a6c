/* A length in two bytes, that much of a `.metadata`, and the rest as the one file it can name: "900", which
 * is a descriptor of this process. */
#include "format/audit.h"
#include "fuzz/checkpoint_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECE = 900 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[40];
    if (size < 3) return 0;
    size_t n = (size_t)data[0] | (size_t)data[1] << 8;
    if (n > size - 2) n = size - 2;
    int fd = memory_file(data + 2 + n, size - 2 - n, path);
    if (dup2(fd, PIECE) < 0) abort();
    close(fd);
    open_and_read(data + 2, n);
    qs_audit *a = NULL;
    qs_err e = QS_ERR_INIT;
    if (n) {
        fd = memory_file(data + 2, n, path);
        if (qs_audit_open(path, NULL, &a, &e)) qs_audit_close(a);
        close(fd);
    }
    close(PIECE);
    return 0;
}
