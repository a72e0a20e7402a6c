/* Any bytes as the index of a sharded checkpoint. The shards it can name are descriptors of this process: the
 * index itself, which is refused, and what is no regular file. */
#include "fuzz/checkpoint_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size && data[0] == '{') open_and_read(data, size);
    return 0;
}
