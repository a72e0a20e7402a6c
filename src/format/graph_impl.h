/* Inside of qs_graph, for object.c (reading) and pickle.c (making) only. A node is 16 bytes: a checkpoint of
 * a million tensors has some twenty million of them. */
#ifndef QS_FORMAT_GRAPH_IMPL_H
#define QS_FORMAT_GRAPH_IMPL_H

#include "base/vec.h"
#include "format/object.h"

/* A run of node ids in qs_graph.kids. Its capacity is n rounded up to a power of two, so that it needs no
 * field; of a tuple, which never grows, it is n. */
typedef struct qs_span {
    uint32_t start, n;
} qs_span;

enum {
    NODE_OWNED = 1, /* text: index into qs_graph.owned instead of a view of the input */
    NODE_STR8 = 2,  /* text of a protocol 0-2 8-bit string opcode */
};

typedef struct qs_node_rec {
    uint8_t kind, flags;
    uint32_t offset; /* of its opcode; pickles of 4 GiB and more are refused */
    union {
        int64_t i;
        double f;
        qs_span span; /* items, or alternating keys and values */
        struct {
            uint32_t at, n; /* text: view of the input, or owned[at] */
        } text;
        struct {
            uint32_t at;   /* GLOBAL, REDUCE, NEWOBJ: index; PERSID: the node of its id */
            uint32_t note; /* qs_node_note */
        } ref;
    } u;
} qs_node_rec;

typedef struct qs_call_rec {
    qs_node callable, args;
    uint32_t ext; /* index + 1 into exts, 0: none */
} qs_call_rec;

/* What few calls have. */
typedef struct qs_call_ext {
    qs_node kwargs;
    qs_span items, pairs, builds;
} qs_call_ext;

typedef struct qs_global_rec {
    qs_str module, name;
    uint8_t fold; /* qs_fold: what calls of it may be read as */
} qs_global_rec;

struct qs_graph {
    const char *data; /* the input, borrowed */
    size_t data_n, end;
    int protocol;
    qs_trick trick;
    bool ran_out;
    qs_node root;
    QS_VEC(qs_node_rec) nodes; /* [0] unused */
    QS_VEC(qs_node) kids;
    QS_VEC(qs_call_rec) calls;
    QS_VEC(qs_call_ext) exts;
    QS_VEC(qs_global_rec) globals;
    QS_VEC(qs_str) owned;
    qs_arena arena; /* bytes of `owned` */
};

qs_graph *qs_graph_new_(const void *data, size_t n); /* NULL when memory is out */
/* QS_NODE_NONE when memory is out. */
qs_node qs_graph_add_(qs_graph *g, qs_node_kind kind, size_t offset);
qs_node qs_graph_add_text_(qs_graph *g, qs_node_kind kind, size_t offset, qs_str s);
qs_node qs_graph_add_call_(qs_graph *g, qs_node_kind kind, size_t offset, qs_node callable, qs_node args);
/* The rarely used parts of a call, made if need be; valid until the next call. NULL when memory is out. */
qs_call_ext *qs_graph_ext_(qs_graph *g, qs_node call);
bool qs_graph_extend_(qs_graph *g, qs_span *s, const qs_node *from, size_t n);
/* The items of a new tuple. */
bool qs_graph_fill_(qs_graph *g, qs_span *s, const qs_node *from, size_t n);

static inline qs_node_rec *qs_graph_rec_(qs_graph *g, qs_node n) {
    return &g->nodes.v[n];
}

#endif
