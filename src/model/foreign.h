/* Files that are no torch zip archive, presented as one: a container with a `data.pkl` made for the purpose
 * and the storages under `data/`. Everything above sees torch's own objects and needs no second path. */
#ifndef QS_MODEL_FOREIGN_H
#define QS_MODEL_FOREIGN_H

#include "format/container.h"

/* Kinds that qs_foreign_open can open. */
bool qs_foreign_kind(qs_file_kind kind);
/* Takes ownership of f, on failure too. */
bool qs_foreign_open(qs_file *f, qs_file_kind kind, const qs_limits *limits, qs_container **out, qs_err *e);

/* The kinds; each takes ownership of f. */
bool qs_safetensors_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e);
/* `*.index.json`: the files it names, beside it, as one. Another JSON file is refused with what it is. */
bool qs_shards_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e);
/* The `.metadata` of a distributed checkpoint and the `*.distcp` beside it, nested as the planner found it. The top
 * is an OrderedDict with the attribute QS_DCP_PLACES: key -> ((file, offset, length, box offsets, box sizes), ...). A
 * tensor whose chunks cannot be read keeps its shape and type, with a storage that has no record; of an object that
 * cannot, there is a text that says why. */
#define QS_DCP_PLACES "__dcp_places__"
bool qs_dcp_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e);
/* To be looked at only: the kind stays QS_FILE_TORCHSCRIPT, which is not written. */
bool qs_torchscript_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e);

#endif
