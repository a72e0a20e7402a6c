#include "format/pickle_emit.h"

#include "base/map.h"
#include "base/vec.h"
#include "format/pickle_ops.h"

#include <stdlib.h>

enum { BUFFER = 1 << 16, BATCH = 1000 /* items per APPENDS or SETITEMS, as Python */ };

typedef struct graph_memo {
    const qs_graph *g;
    uint32_t *index; /* [count + 1]: memo index + 1, 0: not emitted yet */
} graph_memo;

/* A node whose parts are being emitted. */
typedef struct frame {
    qs_node n;
    uint8_t stage;
    enum { CLOSED, SINGLE, MARKED } batch;
    size_t i;
} frame;

struct qs_emit {
    qs_emit_sink sink;
    void *sink_ctx;
    qs_emit_hook hook;
    void *hook_ctx;
    unsigned char buf[BUFFER];
    size_t n;
    uint32_t next; /* memo index */
    qs_map strings, globals;
    qs_arena arena; /* keys of the maps */
    QS_VEC(graph_memo) graphs;
    QS_VEC(frame) frames; /* of all nested qs_emit_node calls */
};

bool qs_emit_to_buf(void *ctx, const void *data, size_t n, qs_err *e) {
    qs_buf *b = ctx;
    qs_buf_add(b, (qs_str){data, n});
    return !b->failed || qs_nomem(e);
}

qs_emit *qs_emit_new(qs_emit_sink sink, void *ctx) {
    qs_emit *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->sink = sink;
    m->sink_ctx = ctx;
    return m;
}

void qs_emit_free(qs_emit *m) {
    if (!m) return;
    for (size_t i = 0; i < m->graphs.n; i++) free(m->graphs.v[i].index);
    free(m->graphs.v);
    free(m->frames.v);
    qs_map_free(&m->strings);
    qs_map_free(&m->globals);
    qs_arena_free(&m->arena);
    free(m);
}

void qs_emit_set_hook(qs_emit *m, qs_emit_hook hook, void *ctx) {
    m->hook = hook;
    m->hook_ctx = ctx;
}

/* ---- bytes ---- */

static bool flush(qs_emit *m, qs_err *e) {
    size_t n = m->n;
    m->n = 0;
    return n == 0 || m->sink(m->sink_ctx, m->buf, n, e);
}

static bool put_bytes(qs_emit *m, const void *p, size_t n, qs_err *e) {
    if (n > BUFFER - m->n && !flush(m, e)) return false;
    if (n > BUFFER) return m->sink(m->sink_ctx, p, n, e);
    if (n) memcpy(m->buf + m->n, p, n);
    m->n += n;
    return true;
}

static bool put_op(qs_emit *m, unsigned char op, qs_err *e) {
    return put_bytes(m, &op, 1, e);
}

static bool put_op_le(qs_emit *m, unsigned char op, uint64_t v, size_t width, qs_err *e) {
    unsigned char b[9] = {op};
    for (size_t i = 0; i < width; i++) b[1 + i] = (unsigned char)(v >> (8 * i));
    return put_bytes(m, b, 1 + width, e);
}

bool qs_emit_code(qs_emit *m, qs_emit_op op, qs_err *e) {
    static const unsigned char byte[] = {
        [QS_OP_MARK] = PK_MARK,
        [QS_OP_TUPLE] = PK_TUPLE,
        [QS_OP_EMPTY_TUPLE] = PK_EMPTY_TUPLE,
        [QS_OP_TUPLE1] = PK_TUPLE1,
        [QS_OP_TUPLE2] = PK_TUPLE2,
        [QS_OP_TUPLE3] = PK_TUPLE3,
        [QS_OP_EMPTY_DICT] = PK_EMPTY_DICT,
        [QS_OP_EMPTY_LIST] = PK_EMPTY_LIST,
        [QS_OP_SETITEM] = PK_SETITEM,
        [QS_OP_SETITEMS] = PK_SETITEMS,
        [QS_OP_APPENDS] = PK_APPENDS,
        [QS_OP_REDUCE] = PK_REDUCE,
        [QS_OP_NEWOBJ] = PK_NEWOBJ,
        [QS_OP_BUILD] = PK_BUILD,
        [QS_OP_BINPERSID] = PK_BINPERSID,
    };
    return put_op(m, byte[op], e);
}

bool qs_emit_begin(qs_emit *m, qs_err *e) {
    return put_op_le(m, PK_PROTO, 2, 1, e);
}
bool qs_emit_end(qs_emit *m, qs_err *e) {
    return put_op(m, PK_STOP, e) && flush(m, e);
}

/* ---- memo ---- */

static bool put_index(qs_emit *m, unsigned char narrow, unsigned char wide, uint32_t index, qs_err *e) {
    return index < 256 ? put_op_le(m, narrow, index, 1, e) : put_op_le(m, wide, index, 4, e);
}

bool qs_emit_put(qs_emit *m, uint32_t *index, qs_err *e) {
    /* The map of strings keeps indices and must tell them from "none". */
    if (m->next >= QS_MAP_NONE - 1) return qs_fail(e, QS_E_LIMIT, "more than 2^32 objects to write");
    *index = m->next++;
    return put_index(m, PK_BINPUT, PK_LONG_BINPUT, *index, e);
}

bool qs_emit_get(qs_emit *m, uint32_t index, qs_err *e) {
    return put_index(m, PK_BINGET, PK_LONG_BINGET, index, e);
}

static uint32_t *memo_of(qs_emit *m, const qs_graph *g, qs_err *e) {
    for (size_t i = m->graphs.n; i-- > 0;) /* the last one, mostly */
        if (m->graphs.v[i].g == g) return m->graphs.v[i].index;
    uint32_t *index = calloc((size_t)qs_graph_count(g) + 1, sizeof *index);
    if (!index || !qs_push(&m->graphs, (graph_memo){g, index})) {
        free(index);
        qs_nomem(e);
        return NULL;
    }
    return index;
}

bool qs_emit_put_node(qs_emit *m, const qs_graph *g, qs_node n, qs_err *e) {
    uint32_t *memo = memo_of(m, g, e), index;
    if (!memo) return false;
    if (n == QS_NODE_NONE || n > qs_graph_count(g) || memo[n]) return true;
    if (!qs_emit_put(m, &index, e)) return false;
    memo[n] = index + 1;
    return true;
}

/* Whether an object of this content was emitted before; then it is fetched. Else it is to be emitted and
 * remembered under *key, a copy. */
static bool seen(qs_emit *m, qs_map *map, qs_str content, qs_str *key, bool *was, qs_err *e) {
    uint32_t index = qs_map_get(map, content);
    *was = index != QS_MAP_NONE;
    if (*was) return qs_emit_get(m, index, e);
    *key = qs_arena_str(&m->arena, content);
    return key->p || qs_nomem(e);
}

static bool remember(qs_emit *m, qs_map *map, qs_str key, qs_err *e) {
    uint32_t index;
    return qs_emit_put(m, &index, e) && (qs_map_put(map, key, index) || qs_nomem(e));
}

/* ---- atoms ---- */

bool qs_emit_nil(qs_emit *m, qs_err *e) {
    return put_op(m, PK_NONE, e);
}
bool qs_emit_bool(qs_emit *m, bool v, qs_err *e) {
    return put_op(m, v ? PK_NEWTRUE : PK_NEWFALSE, e);
}

static bool emit_le(qs_emit *m, const void *le, size_t n, qs_err *e) {
    bool ok = n < 256 ? put_op_le(m, PK_LONG1, n, 1, e) : put_op_le(m, PK_LONG4, n, 4, e);
    return ok && put_bytes(m, le, n, e);
}

bool qs_emit_int(qs_emit *m, int64_t v, qs_err *e) {
    if (v >= 0 && v < 256) return put_op_le(m, PK_BININT1, (uint64_t)v, 1, e);
    if (v >= 0 && v < 65536) return put_op_le(m, PK_BININT2, (uint64_t)v, 2, e);
    if (v >= INT32_MIN && v <= INT32_MAX) return put_op_le(m, PK_BININT, (uint64_t)v, 4, e);
    unsigned char b[8];
    size_t n = 8;
    for (size_t i = 0; i < 8; i++) b[i] = (unsigned char)((uint64_t)v >> (8 * i));
    while (n > 1 && ((b[n - 1] == 0 && b[n - 2] < 0x80) || (b[n - 1] == 0xff && b[n - 2] >= 0x80))) n--;
    return emit_le(m, b, n, e);
}

bool qs_emit_float(qs_emit *m, double v, qs_err *e) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return put_op_le(m, PK_BINFLOAT, __builtin_bswap64(bits), 8, e);
}

static bool emit_unicode(qs_emit *m, qs_str s, qs_err *e) {
    if (s.n > UINT32_MAX) return qs_fail(e, QS_E_UNSUPPORTED, "a string of 4 GiB cannot be written");
    return put_op_le(m, PK_BINUNICODE, s.n, 4, e) && put_bytes(m, s.p, s.n, e);
}

bool qs_emit_str(qs_emit *m, qs_str utf8, qs_err *e) {
    qs_str key;
    bool was;
    if (!seen(m, &m->strings, utf8, &key, &was, e)) return false;
    return was || (emit_unicode(m, utf8, e) && remember(m, &m->strings, key, e));
}

/* 8-bit strings of Python 2; the long form is not on the weights_only list, and means the same if it is
 * UTF-8. */
static bool emit_str8(qs_emit *m, qs_str s, bool text, qs_err *e) {
    if (s.n < 256) return put_op_le(m, PK_SHORT_BINSTRING, s.n, 1, e) && put_bytes(m, s.p, s.n, e);
    if (text) return emit_unicode(m, s, e);
    return put_op_le(m, PK_BINSTRING, s.n, 4, e) && put_bytes(m, s.p, s.n, e);
}

static bool emit_latin1(qs_emit *m, qs_str s, qs_err *e) {
    uint64_t n = s.n;
    for (size_t i = 0; i < s.n; i++) n += (unsigned char)s.p[i] >= 0x80;
    if (n > UINT32_MAX) return qs_fail(e, QS_E_UNSUPPORTED, "bytes of 2 GiB and more cannot be written");
    bool ok = put_op_le(m, PK_BINUNICODE, n, 4, e);
    for (size_t i = 0; ok && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i],
                      two[2] = {(unsigned char)(0xc0 | c >> 6), (unsigned char)(0x80 | (c & 0x3f))};
        ok = c < 0x80 ? put_op(m, c, e) : put_bytes(m, two, 2, e);
    }
    return ok;
}

static bool emit_bytes(qs_emit *m, qs_str s, qs_err *e) {
    if (s.n == 0)
        return qs_emit_global(m, QS_STR("__builtin__"), QS_STR("bytes"), e) && put_op(m, PK_EMPTY_TUPLE, e) &&
               put_op(m, PK_REDUCE, e);
    return qs_emit_global(m, QS_STR("_codecs"), QS_STR("encode"), e) && emit_latin1(m, s, e) &&
           qs_emit_str(m, QS_STR("latin1"), e) && put_op(m, PK_TUPLE2, e) && put_op(m, PK_REDUCE, e);
}

static bool emit_bytearray(qs_emit *m, qs_str s, qs_err *e) {
    return qs_emit_global(m, QS_STR("__builtin__"), QS_STR("bytearray"), e) &&
           (s.n ? emit_bytes(m, s, e) && put_op(m, PK_TUPLE1, e) : put_op(m, PK_EMPTY_TUPLE, e)) &&
           put_op(m, PK_REDUCE, e);
}

static bool has_newline(qs_str s) {
    return s.n && memchr(s.p, '\n', s.n);
}

/* "A.B": protocol 2 looks names up in the module only, so Python writes getattr(A, 'B'). */
static bool emit_dotted(qs_emit *m, qs_str module, qs_str name, qs_err *e) {
    qs_str at = name;
    size_t levels = 0;
    for (size_t i = 0; i < name.n; i++) levels += name.p[i] == '.';
    for (size_t i = 0; i < levels; i++)
        if (!qs_emit_global(m, QS_STR("__builtin__"), QS_STR("getattr"), e)) return false;
    for (size_t i = 0; i <= levels; i++) {
        const char *dot = memchr(at.p, '.', at.n);
        qs_str part = dot ? qs_str_sub(at, 0, (size_t)(dot - at.p)) : at;
        at = qs_str_sub(at, part.n + 1, at.n);
        if (i == 0 ? !qs_emit_global(m, module, part, e)
                   : !(qs_emit_str(m, part, e) && put_op(m, PK_TUPLE2, e) && put_op(m, PK_REDUCE, e)))
            return false;
    }
    return true;
}

bool qs_emit_global(qs_emit *m, qs_str module, qs_str name, qs_err *e) {
    qs_buf both = {0};
    qs_str key;
    bool was, ok;
    if (has_newline(module) || has_newline(name))
        return qs_fail(e, QS_E_UNSUPPORTED,
                       "the name %.*s.%.*s has a line break in it, which cannot be written", QS_FMT(module),
                       QS_FMT(name));
    qs_buf_add(&both, module);
    qs_buf_addc(&both, '\n');
    qs_buf_add(&both, name);
    qs_buf_addc(&both, '\n');
    ok = !both.failed || qs_nomem(e);
    ok = ok && seen(m, &m->globals, qs_buf_str(&both), &key, &was, e);
    if (ok && !was) {
        ok = name.n && memchr(name.p, '.', name.n)
                 ? emit_dotted(m, module, name, e)
                 : put_op(m, PK_GLOBAL, e) && put_bytes(m, both.p, both.n, e);
        ok = ok && remember(m, &m->globals, key, e);
    }
    qs_buf_free(&both);
    return ok;
}

/* ---- nodes ---- */

typedef struct walk {
    qs_emit *m;
    const qs_graph *g;
    uint32_t *memo;
    const qs_limits *limits;
    qs_err *e;
} walk;

/* True if it was one, *ok whether that worked. */
static bool emit_atom(walk *w, qs_node n, bool *ok) {
    qs_str s = qs_node_str(w->g, n);
    switch (qs_node_kind_of(w->g, n)) {
    case QS_NODE_NIL: *ok = qs_emit_nil(w->m, w->e); return true;
    case QS_NODE_BOOL: *ok = qs_emit_bool(w->m, qs_node_int(w->g, n) != 0, w->e); return true;
    case QS_NODE_INT: *ok = qs_emit_int(w->m, qs_node_int(w->g, n), w->e); return true;
    case QS_NODE_FLOAT: *ok = qs_emit_float(w->m, qs_node_float(w->g, n), w->e); return true;
    case QS_NODE_LONG: *ok = emit_le(w->m, s.p, s.n, w->e); return true;
    case QS_NODE_GLOBAL:
        *ok = qs_emit_global(w->m, qs_node_module(w->g, n), qs_node_name(w->g, n), w->e);
        return true;
    case QS_NODE_STR:
        *ok = qs_node_is_str8(w->g, n) ? emit_str8(w->m, s, true, w->e) : emit_unicode(w->m, s, w->e);
        break;
    case QS_NODE_BYTES:
        *ok = qs_node_is_str8(w->g, n) ? emit_str8(w->m, s, false, w->e) : emit_bytes(w->m, s, w->e);
        break;
    case QS_NODE_BYTEARRAY: *ok = emit_bytearray(w->m, s, w->e); break;
    case QS_NODE_TUPLE:
        if (qs_node_len(w->g, n)) return false;
        *ok = put_op(w->m, PK_EMPTY_TUPLE, w->e);
        return true;
    default: return false;
    }
    *ok = *ok && qs_emit_put_node(w->m, w->g, n, w->e);
    return true;
}

/* What stands on the stack before the first part of a compound. */
static bool open_node(walk *w, qs_node n) {
    qs_emit *m = w->m;
    qs_call c;
    switch (qs_node_kind_of(w->g, n)) {
    case QS_NODE_LIST: return put_op(m, PK_EMPTY_LIST, w->e) && qs_emit_put_node(m, w->g, n, w->e);
    case QS_NODE_DICT: return put_op(m, PK_EMPTY_DICT, w->e) && qs_emit_put_node(m, w->g, n, w->e);
    case QS_NODE_TUPLE: return qs_node_len(w->g, n) <= 3 || put_op(m, PK_MARK, w->e);
    case QS_NODE_SET:
    case QS_NODE_FROZENSET: {
        bool frozen = qs_node_kind_of(w->g, n) == QS_NODE_FROZENSET;
        return qs_emit_global(m, QS_STR("__builtin__"), frozen ? QS_STR("frozenset") : QS_STR("set"), w->e) &&
               put_op(m, PK_EMPTY_LIST, w->e);
    }
    case QS_NODE_NEWOBJ:
        if (qs_node_call(w->g, n, &c) && c.kwargs)
            return qs_emit_global(m, QS_STR("copyreg"), QS_STR("__newobj_ex__"), w->e);
        return true;
    default: return true;
    }
}

/* Emits n whole, or opens it: then a frame is pushed. */
static bool visit(walk *w, qs_node n) {
    qs_emit *m = w->m;
    bool ok = false, failed = false;
    if (n == QS_NODE_NONE || n > qs_graph_count(w->g))
        return qs_fail(w->e, QS_E_INPUT, "an object that is to be written does not exist");
    if (w->memo[n]) return qs_emit_get(m, w->memo[n] - 1, w->e);
    if (m->hook && m->hook(m->hook_ctx, m, w->g, n, &failed, w->e))
        return !failed && qs_emit_put_node(m, w->g, n, w->e);
    if (failed) return false;
    if (emit_atom(w, n, &ok)) return ok;
    if (m->frames.n >= w->limits->depth)
        return qs_over_limit_at(w->e, w->limits, QS_LIMIT_DEPTH, "objects to write", 0, "data.pkl",
                                qs_node_offset(w->g, n));
    frame f = {.n = n, .batch = CLOSED};
    return open_node(w, n) && (qs_push(&m->frames, f) || qs_nomem(w->e));
}

static bool next_stage(frame *f) {
    f->stage++;
    f->i = 0;
    return true;
}

/* One step of filling a list or dict with `total` nodes, `per` of which make an item. */
static bool fill_step(walk *w, frame *f, size_t total, size_t per, qs_node next, unsigned char one,
                      unsigned char many) {
    if (f->batch != CLOSED && (f->i == total || f->i % (BATCH * per) == 0)) {
        unsigned char op = f->batch == SINGLE ? one : many;
        f->batch = CLOSED;
        return put_op(w->m, op, w->e);
    }
    if (f->i == total) return next_stage(f);
    if (f->batch == CLOSED) {
        f->batch = total - f->i > per ? MARKED : SINGLE;
        if (f->batch == MARKED && !put_op(w->m, PK_MARK, w->e)) return false;
    }
    f->i++;
    return visit(w, next);
}

static bool pop_frame(walk *w) {
    w->m->frames.n--;
    return true;
}

/* An object made from finished parts: if they led back to it, it exists already; Python takes the parts away
 * again and fetches it. Returns whether so. */
static bool made_inside(walk *w, qs_node n, size_t parts, bool marked, bool *ok) {
    if (!w->memo[n]) return false;
    *ok = true;
    if (marked) *ok = put_op(w->m, PK_POP_MARK, w->e);
    for (size_t i = 0; *ok && !marked && i < parts; i++) *ok = put_op(w->m, PK_POP, w->e);
    *ok = *ok && qs_emit_get(w->m, w->memo[n] - 1, w->e);
    return true;
}

static bool step_tuple(walk *w, frame *f) {
    static const unsigned char op[] = {0, PK_TUPLE1, PK_TUPLE2, PK_TUPLE3};
    size_t n = qs_node_len(w->g, f->n);
    qs_node self = f->n;
    bool ok;
    if (f->i < n) return visit(w, qs_node_item(w->g, f->n, f->i++));
    pop_frame(w);
    if (made_inside(w, self, n, n > 3, &ok)) return ok;
    return put_op(w->m, n > 3 ? PK_TUPLE : op[n], w->e) && qs_emit_put_node(w->m, w->g, self, w->e);
}

static bool step_list(walk *w, frame *f) {
    if (f->stage) return pop_frame(w);
    return fill_step(w, f, qs_node_len(w->g, f->n), 1, qs_node_item(w->g, f->n, f->i), PK_APPEND, PK_APPENDS);
}

static bool step_dict(walk *w, frame *f) {
    if (f->stage) return pop_frame(w);
    return fill_step(w, f, 2 * qs_node_pairs(w->g, f->n), 2, qs_node_child(w->g, f->n, f->i), PK_SETITEM,
                     PK_SETITEMS);
}

static bool step_set(walk *w, frame *f) {
    bool ok;
    qs_node self = f->n;
    if (!f->stage)
        return fill_step(w, f, qs_node_len(w->g, f->n), 1, qs_node_item(w->g, f->n, f->i), PK_APPEND,
                         PK_APPENDS);
    pop_frame(w);
    if (made_inside(w, self, 2, false, &ok)) return ok;
    return put_op(w->m, PK_TUPLE1, w->e) && put_op(w->m, PK_REDUCE, w->e) &&
           qs_emit_put_node(w->m, w->g, self, w->e);
}

static bool step_persid(walk *w, frame *f) {
    qs_node self = f->n;
    bool ok;
    if (f->i++ == 0) return visit(w, qs_node_persid(w->g, self));
    pop_frame(w);
    if (made_inside(w, self, 1, false, &ok)) return ok;
    return put_op(w->m, PK_BINPERSID, w->e) && qs_emit_put_node(w->m, w->g, self, w->e);
}

static bool finish_call(walk *w, frame *f, const qs_call *c) {
    bool ok;
    if (made_inside(w, f->n, c->kwargs ? 4 : 2, false, &ok)) {
        pop_frame(w);
        return ok;
    }
    next_stage(f);
    if (c->kwargs)
        ok = put_op(w->m, PK_TUPLE3, w->e) && put_op(w->m, PK_REDUCE, w->e);
    else
        ok = put_op(w->m, qs_node_kind_of(w->g, f->n) == QS_NODE_NEWOBJ ? PK_NEWOBJ : PK_REDUCE, w->e);
    return ok && qs_emit_put_node(w->m, w->g, f->n, w->e);
}

static bool step_call(walk *w, frame *f) {
    qs_call c;
    qs_node_call(w->g, f->n, &c);
    switch (f->stage) {
    case 0: next_stage(f); return visit(w, c.callable);
    case 1: next_stage(f); return visit(w, c.args);
    case 2: next_stage(f); return !c.kwargs || visit(w, c.kwargs);
    case 3: return finish_call(w, f, &c);
    case 4:
        return fill_step(w, f, qs_node_len(w->g, f->n), 1, qs_node_item(w->g, f->n, f->i), PK_APPEND,
                         PK_APPENDS);
    case 5:
        return fill_step(w, f, 2 * qs_node_pairs(w->g, f->n), 2,
                         f->i % 2 ? qs_node_value(w->g, f->n, f->i / 2) : qs_node_key(w->g, f->n, f->i / 2),
                         PK_SETITEM, PK_SETITEMS);
    case 6:
        if (f->batch == SINGLE) {
            f->batch = CLOSED;
            return put_op(w->m, PK_BUILD, w->e);
        }
        if (f->i == c.builds) return pop_frame(w);
        f->batch = SINGLE;
        f->i++;
        return visit(w, qs_node_build(w->g, f->n, f->i - 1));
    default: return pop_frame(w);
    }
}

static bool step(walk *w) {
    frame *f = &w->m->frames.v[w->m->frames.n - 1];
    switch (qs_node_kind_of(w->g, f->n)) {
    case QS_NODE_TUPLE: return step_tuple(w, f);
    case QS_NODE_LIST: return step_list(w, f);
    case QS_NODE_DICT: return step_dict(w, f);
    case QS_NODE_SET:
    case QS_NODE_FROZENSET: return step_set(w, f);
    case QS_NODE_PERSID: return step_persid(w, f);
    default: return step_call(w, f);
    }
}

bool qs_emit_node(qs_emit *m, const qs_graph *g, qs_node n, const qs_limits *limits, qs_err *e) {
    walk w = {.m = m, .g = g, .memo = memo_of(m, g, e), .limits = limits, .e = e};
    size_t base = m->frames.n;
    bool ok = w.memo && visit(&w, n);
    while (ok && m->frames.n > base) ok = step(&w);
    m->frames.n = base;
    return ok;
}
