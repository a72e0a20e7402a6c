/* Saves a resolution as a .pt file torch loads, or as safetensors. */
#ifndef QS_REPAIR_WRITE_H
#define QS_REPAIR_WRITE_H

#include "repair/resolve.h"

typedef struct qs_write_options {
    bool in_place;  /* the output may be A itself; A is kept as NAME.bak */
    bool overwrite; /* an existing output may be replaced */
    bool
        bare; /* .pt: the state dict is all of the file, as model.load_state_dict(torch.load(...)) wants it */
    bool cpu; /* every storage says it is of the CPU ('cuda:0' fails to load where there is no such device) */
    uint64_t shard_bytes; /* of tensors in one file of a set; 0: QS_SHARD_BYTES */
    const qs_progress *progress;
} qs_write_options;

#define QS_SHARD_BYTES 5000000000u /* as transformers' save_pretrained, "5GB" */

/* What a name asks for, by its end. */
typedef enum qs_write_format {
    QS_WRITE_TORCH,
    QS_WRITE_SAFETENSORS, /* .safetensors */
    QS_WRITE_SHARDS, /* NAME.safetensors.index.json, with NAME-00001-of-00003.safetensors ... beside it */
} qs_write_format;
qs_write_format qs_write_format_of(const char *path);
/* Bytes of path before the end that tells the format (its last extension, if it is another). */
size_t qs_write_stem(const char *path);

/* Writes beside the target under a temporary name, re-opens and verifies (every entry's shape, dtype and
 * bytes against the resolution), fsync, rename, fsync the directory. A file, or a set, that replaces nothing
 * is not synced: nothing could be lost that the inputs do not hold, see qs_temp_spare_sync. What the kernel
 * copies from A or B is compared at both ends of each piece and of each storage, the rest whole. Top-level
 * entries and everything else the plan does not touch come out equal, aliasing included; storages nothing
 * refers to any more are left out, and of one that a dropped entry shared only what the others reach stays.
 * - A state dict stays the kind of dict it was, but a plain dict becomes an OrderedDict when the result needs
 *   `_metadata`, which only that can carry.
 * - A whole pickled module stays one while the plan is empty. With a plan its place is taken by its state
 * dict, an OrderedDict of plain tensors: see qs_write_note.
 * - Entries from B keep their bytes and strides; made ones are contiguous on the CPU.
 * Progress counts every byte twice: written, then compared.
 * A set of safetensors files appears as a whole, its index last: an entry larger than shard_bytes has a file
 * of its own, the others fill files in their order. A set that is replaced is away while its files change.
 * Errors: QS_E_REFUSED while an entry of the result is bad, if the target is an input (A unless in_place) or
 * exists (unless overwrite); QS_E_UNSUPPORTED for a TorchScript archive; QS_E_IO, QS_E_CANCELLED. On failure
 * nothing is left behind and the input is intact. `opt` may be NULL. */
bool qs_write_pt(const qs_resolution *r, const char *path, const qs_write_options *opt, qs_err *e);

/* Why entry i of the result cannot be in a safetensors file ("quantized"), or NULL. */
const char *qs_safetensors_misfit(const qs_resolution *r, uint32_t i);
/* Whether a file of this name is written as safetensors, in one file or several. */
bool qs_is_safetensors_name(const char *path);

/* What a person should know about the file that saving under this name would write (a module that becomes a
 * state dict, a format that holds the state dict alone), or NULL. */
const char *qs_write_note(const qs_resolution *r, const char *path);

#endif
