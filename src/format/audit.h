/* What a file's pickles would make Python import, call and build. Nothing is executed to find out. */
#ifndef QS_FORMAT_AUDIT_H
#define QS_FORMAT_AUDIT_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/vec.h"
#include "format/container.h"
#include "format/object.h"

/* From harmless to not; audit.def says which name is what. */
typedef enum qs_audit_class {
    QS_AUDIT_TORCH,   /* torch.load(weights_only=True) takes it */
    QS_AUDIT_DATA,    /* plain data of the standard library or numpy */
    QS_AUDIT_LIBRARY, /* some package's own: Python must import it */
    QS_AUDIT_CODE,    /* would run code that the file chooses */
} qs_audit_class;

qs_audit_class qs_audit_class_of(qs_str module, qs_str name);
const char *qs_audit_class_name(qs_audit_class c); /* "torch", "data", "library", "code" */

/* One name in one pickle, and what is done with it. */
typedef struct qs_audit_item {
    uint32_t pickle; /* index in pickles */
    qs_str module, name;
    qs_audit_class cls;
    const char *why; /* of CODE where the name alone does not say it, else NULL */
    uint32_t imports, calls, news, builds;
    uint64_t offset; /* in the pickle, of the first opcode that has to do with it */
} qs_audit_item;

typedef struct qs_audit_pickle {
    qs_str record;  /* "data.pkl"; of a legacy file "object", "storage keys" ... */
    uint64_t start; /* byte of the record where it begins */
    uint64_t bytes; /* as far as it could be read */
    int protocol;
    const char *broken; /* NULL, or why it was not read beyond `bytes`; what stands before is listed */
    bool cut;           /* Python would go on there: what follows is not known */
} qs_audit_pickle;

typedef struct qs_audit {
    qs_arena arena;
    qs_file_kind kind;
    QS_VEC(qs_audit_pickle) pickles;
    QS_VEC(qs_audit_item) items; /* by class, the worst first; then in the file's order */
    bool more;                   /* there may be pickles beyond those */
} qs_audit;

/* Zip archives (every record that is a pickle), legacy files, bare pickles. A pickle that breaks off is
 * audited as far as Python would get, because Python has run that much by then; of what is odd but no error
 * to Python, on. Refused: kinds without a pickle. */
bool qs_audit_open(const char *path, const qs_limits *limits, qs_audit **out, qs_err *e);
void qs_audit_close(qs_audit *a);
/* The worst class in the file, as far as it was read. */
qs_audit_class qs_audit_worst(const qs_audit *a);

/* Adds one pickle in memory; its strings are copied. `record` must live as long as the audit. For tests and
 * fuzzers. */
bool qs_audit_add(qs_audit *a, const void *data, size_t n, const char *record, uint64_t start,
                  const qs_limits *limits, qs_err *e);
/* The same of one that qs_pickle_follow has read. */
bool qs_audit_add_graph(qs_audit *a, const qs_graph *g, const qs_err *why, const char *record, uint64_t start,
                        qs_err *e);

#endif
