/* Headers of tar archives, as Python's tarfile reads them: torch.load takes every file that begins with one
 * for a checkpoint of torch 0.1.1, and unpickles what is in it, whatever else the file may be. */
#ifndef QS_FORMAT_TAR_H
#define QS_FORMAT_TAR_H

#include "base/str.h"

enum { QS_TAR_BLOCK = 512 };

typedef struct qs_tar_header {
    qs_str name;      /* borrowed from the block */
    uint64_t size;    /* of the content that follows, padded to blocks; 0 for a folder or a link */
    bool has_content; /* a file, or of a kind that tarfile takes for one */
} qs_tar_header;

/* False if the block's checksum is not that of its bytes. A header without a magic is one too. */
bool qs_tar_read_header(const char block[QS_TAR_BLOCK], qs_tar_header *out);

#endif
