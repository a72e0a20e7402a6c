/* The object graph a pickle describes. Nothing is ever executed: GLOBAL is a name, REDUCE / NEWOBJ / BUILD
 * are recorded as what they would call. Nodes are addressed by id; a memoised object that is used twice is
 * one node with two parents (memo entries are ids, never copies, because a dict can be fetched before it is
 * filled). The graph may be cyclic: every walker needs an explicit stack, a visited set and a depth limit. */
#ifndef QS_FORMAT_OBJECT_H
#define QS_FORMAT_OBJECT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

typedef uint32_t qs_node; /* id of a node in its graph; 0 is never a node */
#define QS_NODE_NONE ((qs_node)0)

typedef enum qs_node_kind {
    QS_NODE_NIL = 1,   /* None */
    QS_NODE_BOOL,      /* .i */
    QS_NODE_INT,       /* .i; fits int64 */
    QS_NODE_LONG,      /* .str: little-endian two's complement, more than 8 bytes */
    QS_NODE_FLOAT,     /* .f */
    QS_NODE_STR,       /* .str: UTF-8 (surrogates may occur as in Python's 'surrogatepass'). 8-bit strings of
                          Python 2 are STR if they are UTF-8, as torch.load decodes them, else BYTES:
                          qs_node_is_str8 */
    QS_NODE_BYTES,     /* .str */
    QS_NODE_BYTEARRAY, /* .str */
    QS_NODE_GLOBAL,    /* .module, .name */
    QS_NODE_TUPLE,     /* items */
    QS_NODE_LIST,      /* items */
    QS_NODE_SET,       /* items */
    QS_NODE_FROZENSET, /* items */
    QS_NODE_DICT,      /* pairs: items alternate key, value, in insertion order; duplicates kept */
    QS_NODE_REDUCE, /* callable, args (a tuple node), + state, + items/pairs set on the result. Calls by which
                       Python writes bytes, bytearray, set and frozenset to protocol 2 are read as those;
                       OrderedDict([[k, v], ...]) of Python 2 as one with pairs. OBJ and INST with arguments
                       are REDUCE of the class, without arguments NEWOBJ */
    QS_NODE_NEWOBJ, /* as REDUCE: cls.__new__(cls, *args); NEWOBJ_EX adds kwargs */
    QS_NODE_PERSID, /* .callable: the node of the persistent id (a tuple in torch files) */
} qs_node_kind;

/* The parts of a REDUCE / NEWOBJ node. QS_NODE_NONE where absent. */
typedef struct qs_call {
    qs_node callable; /* REDUCE: the function; NEWOBJ: the class */
    qs_node args;     /* a TUPLE node */
    qs_node kwargs;   /* NEWOBJ_EX only: a DICT node */
    qs_node state;    /* of BUILD, the last one if there were several */
    uint32_t builds;  /* how many BUILDs were applied; qs_node_build(i) gives each */
} qs_call;

typedef struct qs_graph qs_graph; /* immutable but for notes once the pickle machine returned it */

void qs_graph_free(qs_graph *g);
qs_node qs_graph_root(const qs_graph *g);
uint32_t qs_graph_count(const qs_graph *g); /* node ids are 1 .. count */
int qs_graph_protocol(const qs_graph *g);   /* highest PROTO seen, 0 if none */
size_t qs_graph_end(const qs_graph *g);     /* bytes of input consumed, STOP included */

/* What made reading stop that no honest pickle has; of graphs made by qs_pickle_follow. */
typedef enum qs_trick {
    QS_TRICK_NONE,
    QS_TRICK_PATCH, /* what a name stands for is changed, for the whole process */
    QS_TRICK_FRAME, /* an opcode across the end of its frame: Python's C unpickler drops the rest of the frame
                     */
} qs_trick;
qs_trick qs_graph_trick(const qs_graph *g);
bool qs_graph_ran_out(const qs_graph *g); /* the input ended before the pickle did */

/* Accessors. Asking a node for what its kind does not have gives the zero value, so readers of untrusted
 * structures need not check kinds first. All returned strings are borrowed from the graph. */
qs_node_kind qs_node_kind_of(const qs_graph *g, qs_node n); /* 0 for QS_NODE_NONE or an id out of range */
int64_t qs_node_int(const qs_graph *g, qs_node n);          /* INT, BOOL */
double qs_node_float(const qs_graph *g, qs_node n);
qs_str qs_node_str(const qs_graph *g, qs_node n);    /* STR, BYTES, BYTEARRAY, LONG */
bool qs_node_is_str8(const qs_graph *g, qs_node n);  /* a STR or BYTES node that Python 2 wrote as str */
qs_str qs_node_module(const qs_graph *g, qs_node n); /* GLOBAL */
qs_str qs_node_name(const qs_graph *g, qs_node n);   /* GLOBAL */
bool qs_node_is_global(const qs_graph *g, qs_node n, const char *module, const char *name);
/* Items of TUPLE/LIST/SET/FROZENSET, of the APPENDS on a REDUCE/NEWOBJ; for PERSID 1. */
size_t qs_node_len(const qs_graph *g, qs_node n);
qs_node qs_node_item(const qs_graph *g, qs_node n, size_t i);
/* Pairs of DICT, and of the SETITEMS on a REDUCE/NEWOBJ (collections.OrderedDict is REDUCE(OrderedDict, ())
 * with pairs). */
size_t qs_node_pairs(const qs_graph *g, qs_node n);
qs_node qs_node_key(const qs_graph *g, qs_node n, size_t i);
qs_node qs_node_value(const qs_graph *g, qs_node n, size_t i);
bool qs_node_call(const qs_graph *g, qs_node n, qs_call *out); /* false unless REDUCE / NEWOBJ */
qs_node qs_node_build(const qs_graph *g, qs_node n, size_t i); /* i-th BUILD state */
qs_node qs_node_persid(const qs_graph *g, qs_node n);
/* A plain dict or an OrderedDict / defaultdict / user mapping with pairs: something a state dict can be. */
bool qs_node_is_dict_like(const qs_graph *g, qs_node n);
/* Value of the LAST pair whose key is the string `key` (Python keeps the last), or QS_NODE_NONE. Linear. */
qs_node qs_node_get(const qs_graph *g, qs_node dict, const char *key);
/* Everything a node refers to, whatever its kind, for walkers: REDUCE / NEWOBJ give callable, args and kwargs
 * (that one may be QS_NODE_NONE), then items, pairs and builds; a DICT its keys and values in turn. */
size_t qs_node_children(const qs_graph *g, qs_node n);
qs_node qs_node_child(const qs_graph *g, qs_node n, size_t i);
/* A number the graph's owner keeps with a REDUCE, PERSID or GLOBAL node; 0 until one is set, and of other
 * kinds. */
void qs_node_set_note(qs_graph *g, qs_node n, uint32_t note);
uint32_t qs_node_note(const qs_graph *g, qs_node n);
/* Byte offset in the pickle of the opcode that made the node (for messages). */
uint64_t qs_node_offset(const qs_graph *g, qs_node n);

/* One line of Python-like text for a node ("{'epochs': 100, ...}"), cut at about `cap` bytes, depth limited,
 * printable; for the screen and for ls. */
size_t qs_node_describe(const qs_graph *g, qs_node n, char *out, size_t cap);

#endif
