/* Any bytes behind the magic number as a legacy torch file. */
#include "fuzz/checkpoint_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char head[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    qs_buf b = {0};
    if (size > 2 && memcmp(data, head, 2) != 0) qs_buf_add(&b, (qs_str){head, sizeof head - 1});
    qs_buf_add(&b, (qs_str){(const char *)data, size});
    if (!b.failed) open_and_read(b.p, b.n);
    qs_buf_free(&b);
    return 0;
}
