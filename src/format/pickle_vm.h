/* The pickle machine's inside, for pickle.c and pickle_atoms.c only: its state, and what most opcodes do. */
#ifndef QS_FORMAT_PICKLE_VM_H
#define QS_FORMAT_PICKLE_VM_H

#include "base/reader.h"
#include "format/graph_impl.h"
#include "format/pickle_memo.h"

/* Of most opcodes: a call costs as much as they do. */
#define HOT static inline __attribute__((always_inline))

typedef struct vm {
    qs_graph *g;
    qs_reader in;
    const qs_limits *lim;
    qs_err *err;
    QS_VEC(qs_node) stack;
    QS_VEC(uint32_t) marks; /* heights of the stack */
    qs_memo memo;
    uint64_t ops, look_at;      /* done; and at which to look up from the work */
    uint64_t digits;            /* of long numbers in text */
    size_t at;                  /* offset of the opcode at work */
    unsigned char op;           /* its byte */
    bool follow;                /* qs_pickle_follow */
    qs_node nil, no, yes, unit; /* made once: None, False, True, () */
    qs_node bytes[256];         /* and the numbers of one byte */
    size_t fold_budget;         /* bytes that folds may still copy: a hostile pickle folds one string often */
} vm;

/* False, with the offset of the opcode: Python stops there too; it may not; it asks for more than a limit
 * allows. */
bool vm_bad(vm *m, const char *why);
bool vm_unsupported(vm *m, const char *why);
bool vm_over(vm *m, qs_limit_id limit, uint64_t got);

/* Above the last mark there are stack.n - vm_fence() objects. */
HOT size_t vm_fence(const vm *m) {
    return m->marks.n ? m->marks.v[m->marks.n - 1] : 0;
}

HOT bool vm_push(vm *m, qs_node n) {
    if (n == QS_NODE_NONE) return qs_nomem(m->err);
    if (m->stack.n >= m->lim->stack) return vm_over(m, QS_LIMIT_STACK, 0);
    return qs_push(&m->stack, n) || qs_nomem(m->err);
}

/* At least n objects above the last mark. */
HOT bool vm_need(vm *m, size_t n) {
    if (m->stack.n - vm_fence(m) >= n) return true;
    return vm_bad(m, m->marks.n ? "a MARK is in the way" : "the stack is empty");
}

static inline qs_node vm_top(const vm *m, size_t down) {
    return m->stack.v[m->stack.n - 1 - down];
}

/* One node serves every use of None, True, False, () and of each number below 256, of which a tensor has
 * some. */
HOT bool vm_push_constant(vm *m, qs_node *slot, qs_node_kind k, int64_t v) {
    bool number = k == QS_NODE_BOOL || k == QS_NODE_INT;
    if (*slot == QS_NODE_NONE && (*slot = qs_graph_add_(m->g, k, m->at)) != QS_NODE_NONE && number)
        qs_graph_rec_(m->g, *slot)->u.i = v;
    return vm_push(m, *slot);
}

static inline bool vm_push_none(vm *m) {
    return vm_push_constant(m, &m->nil, QS_NODE_NIL, 0);
}

/* A value that cannot be told: refused, or None for whoever only follows. */
static inline bool vm_odd_value(vm *m, const char *why) {
    return m->follow ? vm_push_none(m) : vm_bad(m, why);
}

static inline qs_node vm_node(vm *m, qs_node_kind k) {
    return qs_graph_add_(m->g, k, m->at);
}

static inline bool vm_push_bool(vm *m, bool v) {
    return vm_push_constant(m, v ? &m->yes : &m->no, QS_NODE_BOOL, v);
}

HOT bool vm_push_byte(vm *m, uint8_t v) {
    return qs_reader_ok(&m->in) && vm_push_constant(m, &m->bytes[v], QS_NODE_INT, v);
}

/* ---- pickle_atoms.c: numbers and strings ---- */

bool vm_push_int(vm *m, int64_t v);
/* A little-endian two's complement number of any length. */
bool vm_push_le(vm *m, qs_str le);
/* `n` bytes of argument, checked against the limit before they are looked at. */
qs_str vm_argument(vm *m, uint64_t n);
bool vm_push_text(vm *m, qs_node_kind k, qs_str s);
/* Strings of Python 2. torch.load decodes them as UTF-8; what cannot be decoded stays bytes here. */
bool vm_push_str8(vm *m, qs_str s);
bool vm_op_text_int(vm *m);
bool vm_op_text_float(vm *m);
bool vm_op_text_string(vm *m);
bool vm_op_binfloat(vm *m);
bool vm_op_long4(vm *m);
bool vm_op_binstring(vm *m);

#endif
