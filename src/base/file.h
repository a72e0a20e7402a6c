/* A regular file opened for reading. Reads are positional (pread): mmap would raise SIGBUS if the file shrank
 * underneath us, and is no faster in 1 MiB blocks. */
#ifndef QS_BASE_FILE_H
#define QS_BASE_FILE_H

#include "base/limits.h"

#include <stddef.h>
#include <sys/types.h>

typedef struct qs_file qs_file;

/* Opens path for reading. Of a folder, what a checkpoint in pieces begins with: its `.metadata`
 * (torch.distributed) or `*.index.json`, or the one file that Hugging Face's libraries look for there
 * (`model.safetensors`, ...); qs_file_path then names that. Errors (QS_E_INPUT): no such file,
 * another folder, a device, no permission, empty. */
bool qs_file_open(const char *path, qs_file **out, qs_err *e);
/* Opens a file that an index names: beside it, and nowhere else. QS_E_INPUT for a name with a folder in it.
 */
bool qs_file_open_beside(const qs_file *index, const char *name, qs_file **out, qs_err *e);
bool qs_is_plain_name(const char *name); /* has no folder in it */
/* n bytes from offset of `of` as a file of its own, under the same path. Borrows the descriptor of `of`,
 * which must outlive it. QS_E_INPUT if the bytes are not there. */
bool qs_file_window(const qs_file *of, uint64_t offset, uint64_t n, qs_file **out, qs_err *e);
void qs_file_close(qs_file *f); /* NULL is fine */
uint64_t qs_file_size(const qs_file *f);
const char *qs_file_path(const qs_file *f); /* as given to open; borrowed */
int qs_file_fd(const qs_file *f);
uint64_t qs_file_base(const qs_file *f); /* byte of the descriptor at which it begins: 0 but for a window */
/* Exactly n bytes at offset; anything less is QS_E_IO ("the file changed while it was open"). */
bool qs_file_read(const qs_file *f, uint64_t offset, void *buf, size_t n, qs_err *e);
/* Whether path names the same file (device and inode), following symlinks. */
bool qs_file_same(const qs_file *f, const char *path);
/* Do both names lead to one file that exists? */
bool qs_file_same_path(const char *a, const char *b);

/* The whole of a file of at most `limit` bytes, NUL terminated, owned by the caller (free). "-" is standard
 * input, and a pipe is read to its end. */
bool qs_file_slurp(const char *path, uint64_t limit, char **out, size_t *n, qs_err *e);
/* The same for JSON from elsewhere: of at most limits->json_bytes. */
bool qs_file_slurp_json(const char *path, const qs_limits *limits, char **out, size_t *n, qs_err *e);

#endif
