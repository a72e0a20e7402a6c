/* Calls by which protocol 2 says what later protocols have opcodes for: read as what they make. Nothing is
 * called; a call that is not exactly of the known form stays a call. For pickle.c only. */
#ifndef QS_FORMAT_PICKLE_FOLD_H
#define QS_FORMAT_PICKLE_FOLD_H

#include "format/graph_impl.h"

typedef enum qs_fold {
    QS_FOLD_NONE,
    QS_FOLD_ENCODE,    /* _codecs.encode(text, 'latin1'): bytes, as Python 3 writes them */
    QS_FOLD_BYTES,     /* bytes() */
    QS_FOLD_BYTEARRAY, /* bytearray(bytes) */
    QS_FOLD_SET,       /* set([...]) */
    QS_FOLD_FROZENSET, /* frozenset([...]) */
    QS_FOLD_ORDERED,   /* collections.OrderedDict([[key, value], ...]) of Python 2.7 */
    QS_FOLD_NEWOBJ_EX, /* copyreg.__newobj_ex__(cls, args, kwargs); the machine's own business */
} qs_fold;

/* What a global's calls may be read as. Asked once for each global, not for each call. */
qs_fold qs_fold_of(qs_str module, qs_str name);
/* The node that the call f(*args) makes, or QS_NODE_NONE if it is to stay a call (or memory is out: *nomem).
 * *budget bytes may be copied in all: a hostile pickle has one long string folded often. */
qs_node qs_fold_call(qs_graph *g, qs_fold fold, qs_node f, qs_node args, size_t at, size_t *budget,
                     bool *nomem);
/* Whether Python takes it as a key of a dict or member of a set, as far as its kind says. */
bool qs_node_hashable(const qs_graph *g, qs_node n);

#endif
