/* Writes protocol-2 pickles with only the opcodes torch's weights_only unpickler accepts (torch-files.md,
 * section 2). Two ways in: low-level opcodes for objects made from nothing, and re-emission of a node of a
 * graph, with memoisation, so that aliasing and cycles come out as they went in. */
#ifndef QS_FORMAT_PICKLE_EMIT_H
#define QS_FORMAT_PICKLE_EMIT_H

#include "format/object.h"

typedef struct qs_emit qs_emit;

/* The sink receives the pickle in pieces; false stops (it fills *e). */
typedef bool (*qs_emit_sink)(void *ctx, const void *data, size_t n, qs_err *e);
/* One: appends to the qs_buf that ctx is. */
bool qs_emit_to_buf(void *ctx, const void *data, size_t n, qs_err *e);
/* Asked before each node of a graph is re-emitted: return true if you emitted a replacement for it yourself
 * (exactly one object pushed), false to re-emit it as it is. Set *failed on an error. A replaced node is
 * memoised like any other: a second use becomes a get. If the replacement is filled with nodes of the graph,
 * call qs_emit_put_node before filling it: they may lead back to it. */
typedef bool (*qs_emit_hook)(void *ctx, qs_emit *m, const qs_graph *g, qs_node n, bool *failed, qs_err *e);

qs_emit *qs_emit_new(qs_emit_sink sink, void *ctx); /* NULL when memory is out */
void qs_emit_free(qs_emit *m);
void qs_emit_set_hook(qs_emit *m, qs_emit_hook hook, void *ctx);

/* All return false with *e set when the sink failed, memory is out, or the graph is deeper than limits. */
bool qs_emit_begin(qs_emit *m, qs_err *e); /* PROTO 2 */
bool qs_emit_end(qs_emit *m, qs_err *e);   /* STOP, flush */
bool qs_emit_nil(qs_emit *m, qs_err *e);
bool qs_emit_bool(qs_emit *m, bool v, qs_err *e);
bool qs_emit_int(qs_emit *m, int64_t v, qs_err *e);
bool qs_emit_float(qs_emit *m, double v, qs_err *e);
bool qs_emit_str(qs_emit *m, qs_str utf8, qs_err *e);                   /* memoised by content */
bool qs_emit_global(qs_emit *m, qs_str module, qs_str name, qs_err *e); /* memoised by content */
/* Single opcodes, for shapes the calls above do not cover. */
typedef enum qs_emit_op {
    QS_OP_MARK,
    QS_OP_TUPLE,
    QS_OP_EMPTY_TUPLE,
    QS_OP_TUPLE1,
    QS_OP_TUPLE2,
    QS_OP_TUPLE3,
    QS_OP_EMPTY_DICT,
    QS_OP_EMPTY_LIST,
    QS_OP_SETITEM,
    QS_OP_SETITEMS,
    QS_OP_APPENDS,
    QS_OP_REDUCE,
    QS_OP_NEWOBJ,
    QS_OP_BUILD,
    QS_OP_BINPERSID,
} qs_emit_op;
bool qs_emit_code(qs_emit *m, qs_emit_op op, qs_err *e);
/* Memoise the object on top of the stack under a new index; fetch it later with qs_emit_get. */
bool qs_emit_put(qs_emit *m, uint32_t *index, qs_err *e);
bool qs_emit_get(qs_emit *m, uint32_t index, qs_err *e);
/* Memoise the object on top of the stack as what node n of g became. */
bool qs_emit_put_node(qs_emit *m, const qs_graph *g, qs_node n, qs_err *e);
/* Re-emit a node (hooks apply; a hook may call this). Nodes of different graphs may be emitted into one
 * pickle; the memo is kept per graph, and graphs must outlive the emitter. What protocol 2 has no opcode for
 * comes out as Python 3 writes it: bytes as _codecs.encode, sets as a REDUCE, dotted names by getattr. Where
 * the weights_only list has nothing (numbers of more than 255 bytes, tuples that contain themselves) LONG4
 * and POP are used, which torch.load without weights_only accepts. QS_E_UNSUPPORTED: a global with a line
 * break in its name. QS_E_LIMIT: nesting deeper than limits->depth. */
bool qs_emit_node(qs_emit *m, const qs_graph *g, qs_node n, const qs_limits *limits, qs_err *e);

#endif
