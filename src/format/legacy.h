/* Files of torch 0.1.10 to 1.5, and of `_use_new_zipfile_serialization=False` since: pickles in a row (magic
 * number, protocol version, system info, the object, storage keys), then the storages. */
#ifndef QS_FORMAT_LEGACY_H
#define QS_FORMAT_LEGACY_H

#include "format/container.h"

/* Bytes per element of a storage class ("FloatStorage"); 0 if it is not one. */
typedef uint64_t (*qs_itemsize_fn)(qs_str storage_class);

/* Opens one as a container that looks like a zip archive's: `data.pkl` is the object's pickle with the old
 * persistent ids rewritten to today's ('module' ids become the class they embed, views of storages offsets of
 * their tensors), `data/KEY` the storages. A file that is cut short in its storages opens; the records are as
 * short as what is there. Takes ownership of f, on failure too. */
bool qs_legacy_open(qs_file *f, const qs_limits *limits, qs_itemsize_fn itemsize, qs_container **out,
                    qs_err *e);

#endif
