#include "format/pickle.h"

#include "base/reader.h"
#include "format/graph_impl.h"
#include "format/pickle_fold.h"
#include "format/pickle_memo.h"
#include "format/pickle_ops.h"
#include "format/pickle_text.h"

#include <stdlib.h>

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

static bool bad(vm *m, const char *why) {
    const char *name = qs_pickle_op_name(m->op);
    return qs_fail_at(m->err, QS_E_INPUT, m->in.record, m->at, "%s is no valid pickle: %s at byte %zu: %s",
                      m->in.record, name ? name : "opcode", m->at, why);
}

static bool unsupported(vm *m, const char *why) {
    return qs_fail_at(m->err, QS_E_UNSUPPORTED, m->in.record, m->at, "%s: %s at byte %zu: %s", m->in.record,
                      qs_pickle_op_name(m->op), m->at, why);
}

static bool over(vm *m, qs_limit_id limit, uint64_t got) {
    return qs_over_limit_at(m->err, m->lim, limit, m->in.record, got, m->in.record, m->at);
}

/* ---- stack and marks ---- */

HOT size_t fence(const vm *m) {
    return m->marks.n ? m->marks.v[m->marks.n - 1] : 0;
}

HOT bool push(vm *m, qs_node n) {
    if (n == QS_NODE_NONE) return qs_nomem(m->err);
    if (m->stack.n >= m->lim->stack) return over(m, QS_LIMIT_STACK, 0);
    return qs_push(&m->stack, n) || qs_nomem(m->err);
}

/* At least n objects above the last mark. */
HOT bool need(vm *m, size_t n) {
    if (m->stack.n - fence(m) >= n) return true;
    return bad(m, m->marks.n ? "a MARK is in the way" : "the stack is empty");
}

static qs_node top(const vm *m, size_t down) {
    return m->stack.v[m->stack.n - 1 - down];
}

static qs_node_kind kind_of(const vm *m, qs_node n) {
    return qs_node_kind_of(m->g, n);
}

/* Takes the last mark away; the objects above it stay at stack[*from .. stack.n). */
static bool pop_mark(vm *m, size_t *from) {
    if (m->marks.n == 0) return bad(m, "there is no MARK");
    *from = m->marks.v[--m->marks.n];
    return true;
}

HOT bool op_mark(vm *m) {
    if (m->marks.n >= m->lim->marks) return over(m, QS_LIMIT_MARKS, 0);
    return qs_push(&m->marks, (uint32_t)m->stack.n) || qs_nomem(m->err);
}

static bool op_pop(vm *m) {
    if (m->marks.n && fence(m) == m->stack.n) {
        m->marks.n--;
        return true;
    }
    if (!need(m, 1)) return false;
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

/* One node serves every use of None, True, False, () and of each number below 256, of which a tensor has
 * some. */
HOT bool push_constant(vm *m, qs_node *slot, qs_node_kind k, int64_t v) {
    bool number = k == QS_NODE_BOOL || k == QS_NODE_INT;
    if (*slot == QS_NODE_NONE && (*slot = qs_graph_add_(m->g, k, m->at)) != QS_NODE_NONE && number)
        qs_graph_rec_(m->g, *slot)->u.i = v;
    return push(m, *slot);
}

static bool push_none(vm *m) {
    return push_constant(m, &m->nil, QS_NODE_NIL, 0);
}

/* A value that cannot be told: refused, or None for whoever only follows. */
static bool odd_value(vm *m, const char *why) {
    return m->follow ? push_none(m) : bad(m, why);
}

/* Into what a name stands for: a class, a function, sys.modules, a module's __dict__. */
static bool patches(vm *m) {
    m->g->trick = QS_TRICK_PATCH;
    return unsupported(m,
                       "it changes a class or function itself, for the whole Python process; no checkpoint "
                       "needs that");
}

/* ---- memo ---- */

HOT bool put(vm *m, uint32_t index) {
    if (!need(m, 1)) return false;
    if (m->memo.count >= m->lim->memo) return over(m, QS_LIMIT_MEMO, 0);
    return qs_memo_put(&m->memo, index, top(m, 0)) || qs_nomem(m->err);
}

HOT bool get(vm *m, uint32_t index) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = qs_memo_get(&m->memo, index);
    if (n == QS_NODE_NONE) return bad(m, "nothing was ever memoised under this index");
    return push(m, n);
}

static bool op_text_memo(vm *m) {
    uint32_t index;
    qs_str line = qs_read_line(&m->in);
    if (!qs_reader_ok(&m->in)) return false;
    if (!qs_text_index(line, &index)) {
        if (m->op == PK_GET || !m->follow) return odd_value(m, "the memo index is no number below 2^32");
        return need(m, 1);
    }
    return m->op == PK_PUT ? put(m, index) : get(m, index);
}

/* ---- atoms ---- */

static qs_node node(vm *m, qs_node_kind k) {
    return qs_graph_add_(m->g, k, m->at);
}

static bool push_bool(vm *m, bool v) {
    return push_constant(m, v ? &m->yes : &m->no, QS_NODE_BOOL, v);
}

HOT bool push_byte(vm *m, uint8_t v) {
    return qs_reader_ok(&m->in) && push_constant(m, &m->bytes[v], QS_NODE_INT, v);
}

static bool push_int(vm *m, int64_t v) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = node(m, QS_NODE_INT);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->u.i = v;
    return push(m, n);
}

static bool push_float(vm *m, double v) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = node(m, QS_NODE_FLOAT);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->u.f = v;
    return push(m, n);
}

/* A little-endian two's complement number of any length. */
static bool push_le(vm *m, qs_str le) {
    if (!qs_reader_ok(&m->in)) return false;
    le = qs_le_trim(le);
    if (le.n > 8) return push(m, qs_graph_add_text_(m->g, QS_NODE_LONG, m->at, le));
    uint64_t v = le.n && (unsigned char)le.p[le.n - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = le.n; i > 0; i--) v = v << 8 | (unsigned char)le.p[i - 1];
    return push_int(m, (int64_t)v);
}

/* `n` bytes of argument, checked against the limit before they are looked at. */
static qs_str argument(vm *m, uint64_t n) {
    if (qs_reader_ok(&m->in) && n > m->lim->string_bytes && n <= qs_reader_left(&m->in))
        over(m, QS_LIMIT_STRING_BYTES, n);
    return qs_read_bytes(&m->in, n);
}

static bool push_text(vm *m, qs_node_kind k, qs_str s) {
    if (!qs_reader_ok(&m->in)) return false;
    if (k == QS_NODE_STR && !qs_utf8_ok(s)) return bad(m, "the string is not UTF-8");
    return push(m, qs_graph_add_text_(m->g, k, m->at, s));
}

/* Strings of Python 2. torch.load decodes them as UTF-8; what cannot be decoded stays bytes here. */
static bool push_str8(vm *m, qs_str s) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = qs_graph_add_text_(m->g, qs_utf8_ok(s) ? QS_NODE_STR : QS_NODE_BYTES, m->at, s);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->flags |= NODE_STR8;
    return push(m, n);
}

static bool op_text_int(vm *m) {
    qs_str line = qs_read_line(&m->in), le = {0};
    bool nomem = false;
    if (!qs_reader_ok(&m->in)) return false;
    if (m->op == PK_LONG && line.n && line.p[line.n - 1] == 'L') line.n--;
    /* The time that a number takes grows with the square of its length. */
    if (line.n > 18 && (m->digits += line.n) > m->lim->digits) return over(m, QS_LIMIT_DIGITS, 0);
    if (qs_text_int(&m->g->arena, line, m->op == PK_INT, &le, &nomem)) {
        /* Two characters that make 0 or 1 ("01", but " 1" too) are a bool to Python. */
        bool two = m->op == PK_INT && line.n == 2 && le.n == 1 && (unsigned char)le.p[0] <= 1;
        return two ? push_bool(m, le.p[0]) : push_le(m, le);
    }
    return nomem ? qs_nomem(m->err) : odd_value(m, "not a decimal number of at most 4300 digits");
}

static bool op_text_float(vm *m) {
    double v = 0;
    qs_str line = qs_read_line(&m->in);
    if (!qs_reader_ok(&m->in)) return false;
    return qs_text_float(line, &v) ? push_float(m, v) : odd_value(m, "not a number");
}

static bool op_text_string(vm *m) {
    qs_str line = qs_read_line(&m->in), s = {0};
    bool nomem = false, quoted = m->op == PK_STRING;
    if (!qs_reader_ok(&m->in)) return false;
    if (line.n > m->lim->string_bytes) return over(m, QS_LIMIT_STRING_BYTES, line.n);
    if (quoted ? qs_text_quoted(&m->g->arena, line, &s, &nomem)
               : qs_text_unicode(&m->g->arena, line, &s, &nomem))
        return quoted ? push_str8(m, s) : push_text(m, QS_NODE_STR, s);
    return nomem ? qs_nomem(m->err) : odd_value(m, "a string with broken quotes or escapes");
}

static bool op_binfloat(vm *m) {
    uint64_t bits = qs_read_u64be(&m->in);
    double v;
    memcpy(&v, &bits, sizeof v);
    return push_float(m, v);
}

static bool op_long4(vm *m) {
    int32_t n = (int32_t)qs_read_u32le(&m->in);
    if (n < 0) return bad(m, "a number of negative length");
    return push_le(m, argument(m, (uint32_t)n));
}

/* Python 2 counts BINSTRING in a signed int. */
static bool op_binstring(vm *m) {
    int32_t n = (int32_t)qs_read_u32le(&m->in);
    if (n < 0) return bad(m, "a string of negative length");
    return push_str8(m, argument(m, (uint32_t)n));
}

/* ---- containers ---- */

static bool extend(vm *m, qs_span *s, const qs_node *from, size_t n) {
    return qs_graph_extend_(m->g, s, from, n) || qs_nomem(m->err);
}

/* What goes into a dict or set must be able to. */
static bool check_keys(vm *m, qs_node_kind k, const qs_node *v, size_t n) {
    if (m->follow || (k != QS_NODE_DICT && k != QS_NODE_SET && k != QS_NODE_FROZENSET)) return true;
    if (k == QS_NODE_DICT && n % 2) return bad(m, "a key without a value");
    for (size_t i = 0; i < n; i += k == QS_NODE_DICT ? 2 : 1)
        if (!qs_node_hashable(m->g, v[i])) return bad(m, "a list, dict, set or bytearray cannot be a key");
    return true;
}

/* The n topmost objects become the items of a new node. */
static bool collect(vm *m, qs_node_kind k, size_t n) {
    const qs_node *from = m->stack.v + (m->stack.n - n);
    if (!check_keys(m, k, from, n)) return false;
    qs_node made = node(m, k);
    if (made == QS_NODE_NONE) return qs_nomem(m->err);
    qs_span *s = &qs_graph_rec_(m->g, made)->u.span;
    bool ok = k == QS_NODE_TUPLE ? qs_graph_fill_(m->g, s, from, n) : qs_graph_extend_(m->g, s, from, n);
    if (!ok) return qs_nomem(m->err);
    m->stack.n -= n;
    return push(m, made);
}

static bool op_tuple_n(vm *m, size_t n) {
    return need(m, n) && collect(m, QS_NODE_TUPLE, n);
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
    if (from <= fence(m)) return bad(m, "there is no object to fill");
    if (!check_keys(m, k, m->stack.v + from, n)) return false;
    qs_node target = m->stack.v[from - 1];
    if (can_be_filled(m, target, k)) {
        qs_span *s = filling(m, target, k);
        if (!s || !extend(m, s, m->stack.v + from, n)) return false;
    } else if (kind_of(m, target) == QS_NODE_GLOBAL) {
        return patches(m);
    } else if (!m->follow) { /* Python asks any object for extend, __setitem__ and add */
        return bad(m, k == QS_NODE_LIST   ? "the object below is no list"
                      : k == QS_NODE_DICT ? "the object below is no dict"
                                          : "the object below is no set");
    }
    m->stack.n = from;
    return true;
}

static bool op_fill_n(vm *m, qs_node_kind k, size_t n) {
    return need(m, n + 1) && fill(m, k, m->stack.n - n);
}

static bool op_fill_marked(vm *m, qs_node_kind k) {
    size_t from = 0;
    return pop_mark(m, &from) && fill(m, k, from);
}

/* ---- globals and calls ---- */

static bool push_global(vm *m, qs_str module, qs_str name) {
    if (!qs_reader_ok(&m->in)) return false;
    if (!qs_utf8_ok(module) || !qs_utf8_ok(name)) return bad(m, "the name is not UTF-8");
    if (m->g->globals.n >= m->lim->globals) return over(m, QS_LIMIT_GLOBALS, 0);
    qs_node n = node(m, QS_NODE_GLOBAL);
    if (n == QS_NODE_NONE) return qs_nomem(m->err);
    qs_graph_rec_(m->g, n)->u.ref.at = (uint32_t)m->g->globals.n;
    qs_global_rec rec = {module, name, (uint8_t)qs_fold_of(module, name)};
    return qs_push(&m->g->globals, rec) ? push(m, n) : qs_nomem(m->err);
}

static bool op_global(vm *m) {
    qs_str module = qs_read_line(&m->in);
    qs_str name = qs_read_line(&m->in);
    return push_global(m, module, name);
}

static bool op_stack_global(vm *m) {
    if (!need(m, 2)) return false;
    qs_node module = top(m, 1), name = top(m, 0);
    bool names = kind_of(m, module) == QS_NODE_STR && kind_of(m, name) == QS_NODE_STR;
    if (!names && !m->follow) return bad(m, "module and name must be strings");
    m->stack.n -= 2;
    if (!names) return push_none(m); /* str() may have made them */
    return push_global(m, qs_node_str(m->g, module), qs_node_str(m->g, name));
}

/* What can stand for a class or function: a name, what a call gave, or a persistent object (old torch files
 * keep classes as those). */
static bool callable(const vm *m, qs_node n) {
    return kind_of(m, n) == QS_NODE_GLOBAL || kind_of(m, n) == QS_NODE_PERSID || is_object(m, n);
}

static bool push_call(vm *m, qs_node_kind k, qs_node what, qs_node args) {
    if (!callable(m, what) && !m->follow) return bad(m, "what is called is neither a class nor a function");
    if (kind_of(m, args) != QS_NODE_TUPLE) {
        if (!m->follow) return bad(m, "the arguments are not a tuple");
        if (!push_constant(m, &m->unit, QS_NODE_TUPLE, 0))
            return false; /* a class derived from tuple will do */
        args = m->stack.v[--m->stack.n];
    }
    return push(m, qs_graph_add_call_(m->g, k, m->at, what, args));
}

static bool op_newobj(vm *m) {
    if (!need(m, 2)) return false;
    qs_node args = top(m, 0), cls = top(m, 1);
    m->stack.n -= 2;
    return push_call(m, QS_NODE_NEWOBJ, cls, args);
}

static bool push_newobj_ex(vm *m, qs_node cls, qs_node args, qs_node kwargs) {
    if (kind_of(m, kwargs) != QS_NODE_DICT) {
        if (!m->follow) return bad(m, "the keyword arguments are not a dict");
        kwargs = QS_NODE_NONE;
    }
    if (!push_call(m, QS_NODE_NEWOBJ, cls, args)) return false;
    qs_call_ext *x = qs_graph_ext_(m->g, top(m, 0));
    if (!x) return qs_nomem(m->err);
    x->kwargs = kwargs;
    return true;
}

static bool op_newobj_ex(vm *m) {
    if (!need(m, 3)) return false;
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
    if (!op_global(m) || !need(m, 1)) return false;
    qs_node cls = m->stack.v[--m->stack.n];
    return pop_mark(m, &from) && instantiate(m, cls, from);
}

static bool op_obj(vm *m) {
    size_t from = 0;
    if (!pop_mark(m, &from)) return false;
    if (m->stack.n == from) return bad(m, "there is no class above the MARK");
    /* The class stands below its arguments: it stays on the stack while they are collected. */
    qs_node cls = m->stack.v[from];
    if (!instantiate(m, cls, from + 1)) return false;
    m->stack.v[from] = top(m, 0);
    m->stack.n--;
    return true;
}

static bool op_build(vm *m) {
    if (!need(m, 2)) return false;
    qs_node state = top(m, 0), target = top(m, 1);
    if (kind_of(m, target) == QS_NODE_GLOBAL) return patches(m);
    if (is_object(m, target)) {
        qs_call_ext *x = qs_graph_ext_(m->g, target);
        if (!x) return qs_nomem(m->err);
        if (!extend(m, &x->builds, &state, 1)) return false;
    } else if (!m->follow) { /* Python minds no state of None */
        return bad(m, "this object takes no state");
    }
    m->stack.n--;
    return true;
}

static bool push_persid(vm *m, qs_node id) {
    qs_node n = node(m, QS_NODE_PERSID);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->u.ref.at = id;
    return push(m, n);
}

static bool op_persid(vm *m) {
    qs_str line = qs_read_line(&m->in);
    if (!push_text(m, QS_NODE_STR, line)) return false;
    return push_persid(m, m->stack.v[--m->stack.n]);
}

static bool op_binpersid(vm *m) {
    return need(m, 1) && push_persid(m, m->stack.v[--m->stack.n]);
}

static bool op_reduce(vm *m) {
    if (!need(m, 2)) return false;
    qs_node args = top(m, 0), f = top(m, 1);
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
    return made != QS_NODE_NONE ? push(m, made) : push_call(m, QS_NODE_REDUCE, f, args);
}

/* ---- the machine ---- */

static bool op_proto(vm *m) {
    uint8_t v = qs_read_u8(&m->in);
    if (!qs_reader_ok(&m->in)) return false;
    if (v > 5) return unsupported(m, "a protocol newer than 5");
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
    if (n > left) return bad(m, "the frame is larger than the file");
    if (in->rest) return true; /* a frame in a frame, which the outer one's end does not move for */
    in->n = in->at + (size_t)n;
    in->rest = left - (size_t)n;
    return true;
}

/* Python asks the registry of copyreg, which only the program that loads the file has. */
static bool op_extension(vm *m, size_t n) {
    if (!m->follow)
        return unsupported(m, "a code from copyreg's extension registry, which only its writer knows");
    qs_read_bytes(&m->in, n);
    return qs_reader_ok(&m->in) && push_none(m);
}

static bool op_buffer(vm *m) {
    return m->follow ? push_none(m) : unsupported(m, "out-of-band buffers, which are not in this file");
}

static bool op_dup(vm *m) {
    return need(m, 1) && push(m, top(m, 0));
}

static bool step(vm *m) {
    qs_reader *in = &m->in;
    switch (m->op) {
    case PK_MARK: return op_mark(m);
    case PK_POP: return op_pop(m);
    case PK_POP_MARK: return op_pop_mark(m);
    case PK_DUP: return op_dup(m);
    case PK_NONE: return push_none(m);
    case PK_NEWTRUE: return push_bool(m, true);
    case PK_NEWFALSE: return push_bool(m, false);
    case PK_INT:
    case PK_LONG: return op_text_int(m);
    case PK_BININT: return push_int(m, (int32_t)qs_read_u32le(in));
    case PK_BININT1: return push_byte(m, qs_read_u8(in));
    case PK_BININT2: return push_int(m, qs_read_u16le(in));
    case PK_LONG1: return push_le(m, argument(m, qs_read_u8(in)));
    case PK_LONG4: return op_long4(m);
    case PK_FLOAT: return op_text_float(m);
    case PK_BINFLOAT: return op_binfloat(m);
    case PK_STRING:
    case PK_UNICODE: return op_text_string(m);
    case PK_BINSTRING: return op_binstring(m);
    case PK_SHORT_BINSTRING: return push_str8(m, argument(m, qs_read_u8(in)));
    case PK_BINUNICODE: return push_text(m, QS_NODE_STR, argument(m, qs_read_u32le(in)));
    case PK_SHORT_BINUNICODE: return push_text(m, QS_NODE_STR, argument(m, qs_read_u8(in)));
    case PK_BINUNICODE8: return push_text(m, QS_NODE_STR, argument(m, qs_read_u64le(in)));
    case PK_BINBYTES: return push_text(m, QS_NODE_BYTES, argument(m, qs_read_u32le(in)));
    case PK_SHORT_BINBYTES: return push_text(m, QS_NODE_BYTES, argument(m, qs_read_u8(in)));
    case PK_BINBYTES8: return push_text(m, QS_NODE_BYTES, argument(m, qs_read_u64le(in)));
    case PK_BYTEARRAY8: return push_text(m, QS_NODE_BYTEARRAY, argument(m, qs_read_u64le(in)));
    case PK_EMPTY_TUPLE: return push_constant(m, &m->unit, QS_NODE_TUPLE, 0);
    case PK_TUPLE1: return op_tuple_n(m, 1);
    case PK_TUPLE2: return op_tuple_n(m, 2);
    case PK_TUPLE3: return op_tuple_n(m, 3);
    case PK_TUPLE: return op_marked(m, QS_NODE_TUPLE);
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
    case PK_REDUCE: return op_reduce(m);
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
    case PK_LONG_BINPUT: return put(m, qs_read_u32le(in));
    case PK_MEMOIZE: return put(m, m->memo.count);
    case PK_BINGET: return get(m, qs_read_u8(in));
    case PK_LONG_BINGET: return get(m, qs_read_u32le(in));
    case PK_PROTO: return op_proto(m);
    case PK_FRAME: return op_frame(m);
    case PK_EXT1: return op_extension(m, 1);
    case PK_EXT2: return op_extension(m, 2);
    case PK_EXT4: return op_extension(m, 4);
    case PK_NEXT_BUFFER: return op_buffer(m);
    case PK_READONLY_BUFFER: return m->follow ? need(m, 1) : op_buffer(m);
    default: return bad(m, "no such opcode");
    }
}

/* Most opcodes of a checkpoint are these: a chain of branches, which the processor guesses, is faster for
 * them than the jump of the switch. */
HOT bool common_step(vm *m) {
    qs_reader *in = &m->in;
    if (m->op == PK_LONG_BINPUT) return put(m, qs_read_u32le(in));
    if (m->op == PK_BINGET) return get(m, qs_read_u8(in));
    if (m->op == PK_BININT1) return push_byte(m, qs_read_u8(in));
    if (m->op == PK_MARK) return op_mark(m);
    if (m->op == PK_BINUNICODE) return push_text(m, QS_NODE_STR, argument(m, qs_read_u32le(in)));
    if (m->op == PK_TUPLE) return op_marked(m, QS_NODE_TUPLE);
    if (m->op == PK_REDUCE) return op_reduce(m);
    return step(m);
}

/* Every so many opcodes: are they too many, and does anybody still wait? */
static bool look_up(vm *m) {
    if (m->ops > m->lim->opcodes) return over(m, QS_LIMIT_OPCODES, 0);
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
    if (!need(m, 1)) return false;
    m->g->root = top(m, 0);
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
