#include "format/pickle.h"

#include "format/pickle_fold.h"
#include "format/pickle_ops.h"
#include "format/pickle_text.h"
#include "format/pickle_vm.h"

#include <stdlib.h>

enum { OPS_A_STEP = 1 << 16 }; /* between two looks at whether anybody still waits */

const char *qs_pickle_op_name(unsigned char byte) {
    switch (byte) {
#define QS_PICKLE_OP(b, NAME, protocol, wo)                                                                  \
    case b:                                                                                                  \
        return #NAME;
#include "format/pickle_ops.def"
#undef QS_PICKLE_OP
    default: return NULL;
    }
}

/* ---- failing ---- */

bool vm_bad(vm *m, const char *why) {
    const char *name = qs_pickle_op_name(m->op);
    return qs_fail_at(m->err, QS_E_INPUT, m->in.record, m->at, "%s is no valid pickle: %s at byte %zu: %s",
                      m->in.record, name ? name : "opcode", m->at, why);
}

bool vm_unsupported(vm *m, const char *why) {
    return qs_fail_at(m->err, QS_E_UNSUPPORTED, m->in.record, m->at, "%s: %s at byte %zu: %s", m->in.record,
                      qs_pickle_op_name(m->op), m->at, why);
}

bool vm_over(vm *m, qs_limit_id limit, uint64_t got) {
    return qs_over_limit_at(m->err, m->lim, limit, m->in.record, got, m->in.record, m->at);
}

/* ---- stack and marks ---- */

static qs_node_kind kind_of(const vm *m, qs_node n) {
    return qs_node_kind_of(m->g, n);
}

/* Takes the last mark away; the objects above it stay at stack[*from .. stack.n). */
static bool pop_mark(vm *m, size_t *from) {
    if (m->marks.n == 0) return vm_bad(m, "there is no MARK");
    *from = m->marks.v[--m->marks.n];
    return true;
}

HOT bool op_mark(vm *m) {
    if (m->marks.n >= m->lim->marks) return vm_over(m, QS_LIMIT_MARKS, 0);
    return qs_push(&m->marks, (uint32_t)m->stack.n) || qs_nomem(m->err);
}

static bool op_pop(vm *m) {
    if (m->marks.n && vm_fence(m) == m->stack.n) {
        m->marks.n--;
        return true;
    }
    if (!vm_need(m, 1)) return false;
    m->stack.n--;
    return true;
}

static bool op_pop_mark(vm *m) {
    size_t from = 0;
    if (!pop_mark(m, &from)) return false;
    m->stack.n = from;
    return true;
}

/* ---- what Python takes and no checkpoint has ---- */

/* Into what a name stands for: a class, a function, sys.modules, a module's __dict__. */
static bool patches(vm *m) {
    m->g->trick = QS_TRICK_PATCH;
    return vm_unsupported(
        m, "it changes a class or function itself, for the whole Python process; no checkpoint "
           "needs that");
}

/* ---- memo ---- */

HOT bool put(vm *m, uint32_t index) {
    if (!vm_need(m, 1)) return false;
    if (m->memo.count >= m->lim->memo) return vm_over(m, QS_LIMIT_MEMO, 0);
    return qs_memo_put(&m->memo, index, vm_top(m, 0)) || qs_nomem(m->err);
}

HOT bool get(vm *m, uint32_t index) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = qs_memo_get(&m->memo, index);
    if (n == QS_NODE_NONE) return vm_bad(m, "nothing was ever memoised under this index");
    return vm_push(m, n);
}

static bool op_text_memo(vm *m) {
    uint32_t index;
    qs_str line = qs_read_line(&m->in);
    if (!qs_reader_ok(&m->in)) return false;
    if (!qs_text_index(line, &index)) {
        if (m->op == PK_GET || !m->follow) return vm_odd_value(m, "the memo index is no number below 2^32");
        return vm_need(m, 1);
    }
    return m->op == PK_PUT ? put(m, index) : get(m, index);
}

/* ---- containers ---- */

static bool extend(vm *m, qs_span *s, const qs_node *from, size_t n) {
    return qs_graph_extend_(m->g, s, from, n) || qs_nomem(m->err);
}

/* What goes into a dict or set must be able to. */
static bool check_keys(vm *m, qs_node_kind k, const qs_node *v, size_t n) {
    if (m->follow || (k != QS_NODE_DICT && k != QS_NODE_SET && k != QS_NODE_FROZENSET)) return true;
    if (k == QS_NODE_DICT && n % 2) return vm_bad(m, "a key without a value");
    for (size_t i = 0; i < n; i += k == QS_NODE_DICT ? 2 : 1)
        if (!qs_node_hashable(m->g, v[i])) return vm_bad(m, "a list, dict, set or bytearray cannot be a key");
    return true;
}

/* The n topmost objects become the items of a new node. */
static bool collect(vm *m, qs_node_kind k, size_t n) {
    const qs_node *from = m->stack.v + (m->stack.n - n);
    if (!check_keys(m, k, from, n)) return false;
    qs_node made = vm_node(m, k);
    if (made == QS_NODE_NONE) return qs_nomem(m->err);
    qs_span *s = &qs_graph_rec_(m->g, made)->u.span;
    bool ok = k == QS_NODE_TUPLE ? qs_graph_fill_(m->g, s, from, n) : qs_graph_extend_(m->g, s, from, n);
    if (!ok) return qs_nomem(m->err);
    m->stack.n -= n;
    return vm_push(m, made);
}

static bool op_tuple_n(vm *m, size_t n) {
    return vm_need(m, n) && collect(m, QS_NODE_TUPLE, n);
}

static bool op_marked(vm *m, qs_node_kind k) {
    size_t from = 0;
    return pop_mark(m, &from) && collect(m, k, m->stack.n - from);
}

static bool is_object(const vm *m, qs_node n) {
    return kind_of(m, n) == QS_NODE_REDUCE || kind_of(m, n) == QS_NODE_NEWOBJ;
}

/* Sets and lists take what is of their own kind only; a call's result may be a list (items) or a mapping
 * (pairs). */
static bool can_be_filled(const vm *m, qs_node target, qs_node_kind k) {
    return kind_of(m, target) == k || (is_object(m, target) && k != QS_NODE_SET);
}

/* Where APPENDS, SETITEMS and ADDITEMS put things into `target`; NULL when memory is out. */
static qs_span *filling(vm *m, qs_node target, qs_node_kind k) {
    if (kind_of(m, target) == k) return &qs_graph_rec_(m->g, target)->u.span;
    qs_call_ext *x = qs_graph_ext_(m->g, target);
    if (!x) {
        qs_nomem(m->err);
        return NULL;
    }
    return k == QS_NODE_DICT ? &x->pairs : &x->items;
}

/* Moves stack[from ..) into the object below it. */
static bool fill(vm *m, qs_node_kind k, size_t from) {
    size_t n = m->stack.n - from;
    if (from <= vm_fence(m)) return vm_bad(m, "there is no object to fill");
    if (!check_keys(m, k, m->stack.v + from, n)) return false;
    qs_node target = m->stack.v[from - 1];
    if (can_be_filled(m, target, k)) {
        qs_span *s = filling(m, target, k);
        if (!s || !extend(m, s, m->stack.v + from, n)) return false;
    } else if (kind_of(m, target) == QS_NODE_GLOBAL) {
        return patches(m);
    } else if (!m->follow) { /* Python asks any object for extend, __setitem__ and add */
        return vm_bad(m, k == QS_NODE_LIST   ? "the object below is no list"
                         : k == QS_NODE_DICT ? "the object below is no dict"
                                             : "the object below is no set");
    }
    m->stack.n = from;
    return true;
}

static bool op_fill_n(vm *m, qs_node_kind k, size_t n) {
    return vm_need(m, n + 1) && fill(m, k, m->stack.n - n);
}

static bool op_fill_marked(vm *m, qs_node_kind k) {
    size_t from = 0;
    return pop_mark(m, &from) && fill(m, k, from);
}

/* ---- globals and calls ---- */

static bool push_global(vm *m, qs_str module, qs_str name) {
    if (!qs_reader_ok(&m->in)) return false;
    if (!qs_utf8_ok(module) || !qs_utf8_ok(name)) return vm_bad(m, "the name is not UTF-8");
    if (m->g->globals.n >= m->lim->globals) return vm_over(m, QS_LIMIT_GLOBALS, 0);
    qs_node n = vm_node(m, QS_NODE_GLOBAL);
    if (n == QS_NODE_NONE) return qs_nomem(m->err);
    qs_graph_rec_(m->g, n)->u.ref.at = (uint32_t)m->g->globals.n;
    qs_global_rec rec = {module, name, (uint8_t)qs_fold_of(module, name)};
    return qs_push(&m->g->globals, rec) ? vm_push(m, n) : qs_nomem(m->err);
}

static bool op_global(vm *m) {
    qs_str module = qs_read_line(&m->in);
    qs_str name = qs_read_line(&m->in);
    return push_global(m, module, name);
}

static bool op_stack_global(vm *m) {
    if (!vm_need(m, 2)) return false;
    qs_node module = vm_top(m, 1), name = vm_top(m, 0);
    bool names = kind_of(m, module) == QS_NODE_STR && kind_of(m, name) == QS_NODE_STR;
    if (!names && !m->follow) return vm_bad(m, "module and name must be strings");
    m->stack.n -= 2;
    if (!names) return vm_push_none(m); /* str() may have made them */
    return push_global(m, qs_node_str(m->g, module), qs_node_str(m->g, name));
}

/* What can stand for a class or function: a name, what a call gave, or a persistent object (old torch files
 * keep classes as those). */
static bool callable(const vm *m, qs_node n) {
    return kind_of(m, n) == QS_NODE_GLOBAL || kind_of(m, n) == QS_NODE_PERSID || is_object(m, n);
}

static bool push_call(vm *m, qs_node_kind k, qs_node what, qs_node args) {
    if (!callable(m, what) && !m->follow)
        return vm_bad(m, "what is called is neither a class nor a function");
    if (kind_of(m, args) != QS_NODE_TUPLE) {
        if (!m->follow) return vm_bad(m, "the arguments are not a tuple");
        if (!vm_push_constant(m, &m->unit, QS_NODE_TUPLE, 0))
            return false; /* a class derived from tuple will do */
        args = m->stack.v[--m->stack.n];
    }
    return vm_push(m, qs_graph_add_call_(m->g, k, m->at, what, args));
}

static bool op_newobj(vm *m) {
    if (!vm_need(m, 2)) return false;
    qs_node args = vm_top(m, 0), cls = vm_top(m, 1);
    m->stack.n -= 2;
    return push_call(m, QS_NODE_NEWOBJ, cls, args);
}

static bool push_newobj_ex(vm *m, qs_node cls, qs_node args, qs_node kwargs) {
    if (kind_of(m, kwargs) != QS_NODE_DICT) {
        if (!m->follow) return vm_bad(m, "the keyword arguments are not a dict");
        kwargs = QS_NODE_NONE;
    }
    if (!push_call(m, QS_NODE_NEWOBJ, cls, args)) return false;
    qs_call_ext *x = qs_graph_ext_(m->g, vm_top(m, 0));
    if (!x) return qs_nomem(m->err);
    x->kwargs = kwargs;
    return true;
}

static bool op_newobj_ex(vm *m) {
    if (!vm_need(m, 3)) return false;
    m->stack.n -= 3;
    const qs_node *n = m->stack.v + m->stack.n;
    return push_newobj_ex(m, n[0], n[1], n[2]);
}

/* OBJ and INST: cls(*args), but cls.__new__(cls) when there are no arguments (pickle.py, _instantiate). */
static bool instantiate(vm *m, qs_node cls, size_t from) {
    qs_node_kind k = m->stack.n == from ? QS_NODE_NEWOBJ : QS_NODE_REDUCE;
    if (!collect(m, QS_NODE_TUPLE, m->stack.n - from)) return false;
    qs_node args = m->stack.v[--m->stack.n];
    return push_call(m, k, cls, args);
}

static bool op_inst(vm *m) {
    size_t from = 0;
    if (!op_global(m) || !vm_need(m, 1)) return false;
    qs_node cls = m->stack.v[--m->stack.n];
    return pop_mark(m, &from) && instantiate(m, cls, from);
}

static bool op_obj(vm *m) {
    size_t from = 0;
    if (!pop_mark(m, &from)) return false;
    if (m->stack.n == from) return vm_bad(m, "there is no class above the MARK");
    /* The class stands below its arguments: it stays on the stack while they are collected. */
    qs_node cls = m->stack.v[from];
    if (!instantiate(m, cls, from + 1)) return false;
    m->stack.v[from] = vm_top(m, 0);
    m->stack.n--;
    return true;
}

static bool op_build(vm *m) {
    if (!vm_need(m, 2)) return false;
    qs_node state = vm_top(m, 0), target = vm_top(m, 1);
    if (kind_of(m, target) == QS_NODE_GLOBAL) return patches(m);
    if (is_object(m, target)) {
        qs_call_ext *x = qs_graph_ext_(m->g, target);
        if (!x) return qs_nomem(m->err);
        if (!extend(m, &x->builds, &state, 1)) return false;
    } else if (!m->follow) { /* Python minds no state of None */
        return vm_bad(m, "this object takes no state");
    }
    m->stack.n--;
    return true;
}

static bool push_persid(vm *m, qs_node id) {
    qs_node n = vm_node(m, QS_NODE_PERSID);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->u.ref.at = id;
    return vm_push(m, n);
}

static bool op_persid(vm *m) {
    qs_str line = qs_read_line(&m->in);
    if (!vm_push_text(m, QS_NODE_STR, line)) return false;
    return push_persid(m, m->stack.v[--m->stack.n]);
}

static bool op_binpersid(vm *m) {
    return vm_need(m, 1) && push_persid(m, m->stack.v[--m->stack.n]);
}

static bool op_reduce(vm *m) {
    if (!vm_need(m, 2)) return false;
    qs_node args = vm_top(m, 0), f = vm_top(m, 1);
    m->stack.n -= 2;
    qs_fold fold = kind_of(m, f) == QS_NODE_GLOBAL && kind_of(m, args) == QS_NODE_TUPLE
                       ? m->g->globals.v[qs_graph_rec_(m->g, f)->u.ref.at].fold
                       : QS_FOLD_NONE;
    if (fold == QS_FOLD_NONE) return push_call(m, QS_NODE_REDUCE, f, args);
    if (fold == QS_FOLD_NEWOBJ_EX && qs_node_len(m->g, args) == 3)
        return push_newobj_ex(m, qs_node_item(m->g, args, 0), qs_node_item(m->g, args, 1),
                              qs_node_item(m->g, args, 2));
    bool nomem = false;
    qs_node made = qs_fold_call(m->g, fold, f, args, m->at, &m->fold_budget, &nomem);
    if (nomem) return qs_nomem(m->err);
    return made != QS_NODE_NONE ? vm_push(m, made) : push_call(m, QS_NODE_REDUCE, f, args);
}

/* ---- the machine ---- */

static bool op_proto(vm *m) {
    uint8_t v = qs_read_u8(&m->in);
    if (!qs_reader_ok(&m->in)) return false;
    if (v > 5) return vm_unsupported(m, "a protocol newer than 5");
    if (v > m->g->protocol) m->g->protocol = v;
    return true;
}

/* Frames are hints for buffered reading. What does not end in the frame it begins in is read anew by Python's
 * C unpickler from where the frame ends: what this file says to Python is not what stands there. */
static bool op_frame(vm *m) {
    uint64_t n = qs_read_u64le(&m->in);
    qs_reader *in = &m->in;
    if (!qs_reader_ok(in)) return false;
    qs_reader_more(in);
    size_t left = qs_reader_left(in);
    if (in->rest && n > left) return qs_read_bytes(in, n), false; /* it crosses the end of its own frame */
    if (n > left) {
        in->ran_out = true;
        return vm_bad(m, "the frame is larger than the file");
    }
    if (in->rest) return true; /* a frame in a frame, which the outer one's end does not move for */
    in->n = in->at + (size_t)n;
    in->rest = left - (size_t)n;
    return true;
}

/* Python asks the registry of copyreg, which only the program that loads the file has. */
static bool op_extension(vm *m, size_t n) {
    if (!m->follow)
        return vm_unsupported(m, "a code from copyreg's extension registry, which only its writer knows");
    qs_read_bytes(&m->in, n);
    return qs_reader_ok(&m->in) && vm_push_none(m);
}

static bool op_buffer(vm *m) {
    return m->follow ? vm_push_none(m) : vm_unsupported(m, "out-of-band buffers, which are not in this file");
}

static bool op_dup(vm *m) {
    return vm_need(m, 1) && vm_push(m, vm_top(m, 0));
}

/* All but those of common_step. */
static bool step(vm *m) {
    qs_reader *in = &m->in;
    switch (m->op) {
    case PK_POP: return op_pop(m);
    case PK_POP_MARK: return op_pop_mark(m);
    case PK_DUP: return op_dup(m);
    case PK_NONE: return vm_push_none(m);
    case PK_NEWTRUE: return vm_push_bool(m, true);
    case PK_NEWFALSE: return vm_push_bool(m, false);
    case PK_INT:
    case PK_LONG: return vm_op_text_int(m);
    case PK_BININT: return vm_push_int(m, (int32_t)qs_read_u32le(in));
    case PK_BININT2: return vm_push_int(m, qs_read_u16le(in));
    case PK_LONG1: return vm_push_le(m, vm_argument(m, qs_read_u8(in)));
    case PK_LONG4: return vm_op_long4(m);
    case PK_FLOAT: return vm_op_text_float(m);
    case PK_BINFLOAT: return vm_op_binfloat(m);
    case PK_STRING:
    case PK_UNICODE: return vm_op_text_string(m);
    case PK_BINSTRING: return vm_op_binstring(m);
    case PK_SHORT_BINSTRING: return vm_push_str8(m, vm_argument(m, qs_read_u8(in)));
    case PK_SHORT_BINUNICODE: return vm_push_text(m, QS_NODE_STR, vm_argument(m, qs_read_u8(in)));
    case PK_BINUNICODE8: return vm_push_text(m, QS_NODE_STR, vm_argument(m, qs_read_u64le(in)));
    case PK_BINBYTES: return vm_push_text(m, QS_NODE_BYTES, vm_argument(m, qs_read_u32le(in)));
    case PK_SHORT_BINBYTES: return vm_push_text(m, QS_NODE_BYTES, vm_argument(m, qs_read_u8(in)));
    case PK_BINBYTES8: return vm_push_text(m, QS_NODE_BYTES, vm_argument(m, qs_read_u64le(in)));
    case PK_BYTEARRAY8: return vm_push_text(m, QS_NODE_BYTEARRAY, vm_argument(m, qs_read_u64le(in)));
    case PK_EMPTY_TUPLE: return vm_push_constant(m, &m->unit, QS_NODE_TUPLE, 0);
    case PK_TUPLE1: return op_tuple_n(m, 1);
    case PK_TUPLE2: return op_tuple_n(m, 2);
    case PK_TUPLE3: return op_tuple_n(m, 3);
    case PK_EMPTY_LIST: return collect(m, QS_NODE_LIST, 0);
    case PK_LIST: return op_marked(m, QS_NODE_LIST);
    case PK_APPEND: return op_fill_n(m, QS_NODE_LIST, 1);
    case PK_APPENDS: return op_fill_marked(m, QS_NODE_LIST);
    case PK_EMPTY_DICT: return collect(m, QS_NODE_DICT, 0);
    case PK_DICT: return op_marked(m, QS_NODE_DICT);
    case PK_SETITEM: return op_fill_n(m, QS_NODE_DICT, 2);
    case PK_SETITEMS: return op_fill_marked(m, QS_NODE_DICT);
    case PK_EMPTY_SET: return collect(m, QS_NODE_SET, 0);
    case PK_ADDITEMS: return op_fill_marked(m, QS_NODE_SET);
    case PK_FROZENSET: return op_marked(m, QS_NODE_FROZENSET);
    case PK_GLOBAL: return op_global(m);
    case PK_STACK_GLOBAL: return op_stack_global(m);
    case PK_BUILD: return op_build(m);
    case PK_NEWOBJ: return op_newobj(m);
    case PK_NEWOBJ_EX: return op_newobj_ex(m);
    case PK_INST: return op_inst(m);
    case PK_OBJ: return op_obj(m);
    case PK_PERSID: return op_persid(m);
    case PK_BINPERSID: return op_binpersid(m);
    case PK_PUT:
    case PK_GET: return op_text_memo(m);
    case PK_BINPUT: return put(m, qs_read_u8(in));
    case PK_MEMOIZE: return put(m, m->memo.count);
    case PK_LONG_BINGET: return get(m, qs_read_u32le(in));
    case PK_PROTO: return op_proto(m);
    case PK_FRAME: return op_frame(m);
    case PK_EXT1: return op_extension(m, 1);
    case PK_EXT2: return op_extension(m, 2);
    case PK_EXT4: return op_extension(m, 4);
    case PK_NEXT_BUFFER: return op_buffer(m);
    case PK_READONLY_BUFFER: return m->follow ? vm_need(m, 1) : op_buffer(m);
    default: return vm_bad(m, "no such opcode");
    }
}

/* Most opcodes of a checkpoint are these: a chain of branches, which the processor guesses, is faster for
 * them than the jump of the switch. */
HOT bool common_step(vm *m) {
    qs_reader *in = &m->in;
    if (m->op == PK_LONG_BINPUT) return put(m, qs_read_u32le(in));
    if (m->op == PK_BINGET) return get(m, qs_read_u8(in));
    if (m->op == PK_BININT1) return vm_push_byte(m, qs_read_u8(in));
    if (m->op == PK_MARK) return op_mark(m);
    if (m->op == PK_BINUNICODE) return vm_push_text(m, QS_NODE_STR, vm_argument(m, qs_read_u32le(in)));
    if (m->op == PK_TUPLE) return op_marked(m, QS_NODE_TUPLE);
    if (m->op == PK_REDUCE) return op_reduce(m);
    return step(m);
}

/* Every so many opcodes: are they too many, and does anybody still wait? */
static bool look_up(vm *m) {
    if (m->ops > m->lim->opcodes) return vm_over(m, QS_LIMIT_OPCODES, 0);
    m->look_at = m->ops + OPS_A_STEP;
    if (m->look_at > m->lim->opcodes) m->look_at = m->lim->opcodes + 1;
    return qs_progress_step(m->lim->progress, m->at, m->in.n + m->in.rest, m->err);
}

static bool run(vm *m) {
    for (;;) {
        m->at = m->in.at;
        m->op = qs_read_u8(&m->in);
        if (!qs_reader_ok(&m->in)) return false; /* the end is missing */
        if (++m->ops >= m->look_at && !look_up(m)) return false;
        if (m->op == PK_STOP) break;
        /* Some arguments are read without looking at the cursor's error: it is looked at here. */
        if (!common_step(m) || !qs_reader_ok(&m->in)) return false;
    }
    if (!vm_need(m, 1)) return false;
    m->g->root = vm_top(m, 0);
    m->g->end = m->in.at;
    return true;
}

static bool read_with(vm *m, const void *data, size_t n, const char *record, qs_err *own) {
    m->err = own;
    m->in = (qs_reader){.p = data, .n = n, .record = record, .err = own};
    m->fold_budget = 4 * n; /* each text, list and set once, Latin-1 doubled by UTF-8 */
    if (n > m->lim->pickle_bytes || n >= UINT32_MAX)
        return qs_over_limit(own, m->lim, QS_LIMIT_PICKLE_BYTES, record, n);
    m->g = qs_graph_new_(data, n);
    /* Reserved, so that the address of an empty stack is one to count from. A memo of what torch writes has
     * an entry in ten bytes. */
    bool ok = m->g && qs_reserve(&m->stack, 64) && qs_memo_reserve(&m->memo, n / 9) ? run(m) : qs_nomem(own);
    if (m->g && !ok) {
        m->g->end = m->at;
        m->g->ran_out = m->in.ran_out;
        if (m->in.crossed) m->g->trick = QS_TRICK_FRAME;
    }
    free(m->stack.v);
    free(m->marks.v);
    qs_memo_free(&m->memo);
    return ok;
}

bool qs_pickle_read(const void *data, size_t n, const char *record, const qs_limits *limits, qs_graph **out,
                    qs_err *e) {
    qs_err own = QS_ERR_INIT; /* the cursor reads this one: *e may hold an older error */
    vm m = {.lim = limits};
    if (read_with(&m, data, n, record, &own)) {
        *out = m.g;
        return true;
    }
    qs_graph_free(m.g);
    if (e && e->code == QS_OK) *e = own;
    return false;
}

bool qs_pickle_follow(const void *data, size_t n, const char *record, const qs_limits *limits, qs_graph **out,
                      qs_err *why) {
    vm m = {.lim = limits, .follow = true};
    *why = (qs_err)QS_ERR_INIT;
    read_with(&m, data, n, record, why);
    if (!m.g && why->code == QS_E_LIMIT)
        m.g = qs_graph_new_(data, 0); /* nothing was read of what is too long */
    if (m.g && why->code != QS_E_NOMEM) {
        *out = m.g;
        return true;
    }
    qs_graph_free(m.g);
    return false;
}
