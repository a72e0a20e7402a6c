/* What a file is, in a few lines for a person. */
#ifndef QS_MODEL_ABOUT_H
#define QS_MODEL_ABOUT_H

#include "model/checkpoint.h"

enum { QS_FACTS_MAX = 16 };

typedef struct qs_fact {
    const char *label; /* "state dict" */
    char text[240];    /* printable */
} qs_fact;

/* Format, state dicts, entries by type, storages, devices, names that data-parallel training left; at most
 * QS_FACTS_MAX into out. Returns how many. Looks at every entry and storage, at no value. */
size_t qs_about_checkpoint(const qs_checkpoint *c, qs_fact out[QS_FACTS_MAX]);

#endif
