/* Opcodes that make numbers and strings. */
#include "format/pickle_ops.h"
#include "format/pickle_text.h"
#include "format/pickle_vm.h"

#include <string.h>

bool vm_push_int(vm *m, int64_t v) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = vm_node(m, QS_NODE_INT);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->u.i = v;
    return vm_push(m, n);
}

static bool vm_push_float(vm *m, double v) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = vm_node(m, QS_NODE_FLOAT);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->u.f = v;
    return vm_push(m, n);
}

bool vm_push_le(vm *m, qs_str le) {
    if (!qs_reader_ok(&m->in)) return false;
    le = qs_le_trim(le);
    if (le.n > 8) return vm_push(m, qs_graph_add_text_(m->g, QS_NODE_LONG, m->at, le));
    uint64_t v = le.n && (unsigned char)le.p[le.n - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = le.n; i > 0; i--) v = v << 8 | (unsigned char)le.p[i - 1];
    return vm_push_int(m, (int64_t)v);
}

qs_str vm_argument(vm *m, uint64_t n) {
    if (qs_reader_ok(&m->in) && n > m->lim->string_bytes && n <= qs_reader_left(&m->in))
        vm_over(m, QS_LIMIT_STRING_BYTES, n);
    return qs_read_bytes(&m->in, n);
}

bool vm_push_text(vm *m, qs_node_kind k, qs_str s) {
    if (!qs_reader_ok(&m->in)) return false;
    if (k == QS_NODE_STR && !qs_utf8_ok(s)) return vm_bad(m, "the string is not UTF-8");
    return vm_push(m, qs_graph_add_text_(m->g, k, m->at, s));
}

bool vm_push_str8(vm *m, qs_str s) {
    if (!qs_reader_ok(&m->in)) return false;
    qs_node n = qs_graph_add_text_(m->g, qs_utf8_ok(s) ? QS_NODE_STR : QS_NODE_BYTES, m->at, s);
    if (n != QS_NODE_NONE) qs_graph_rec_(m->g, n)->flags |= NODE_STR8;
    return vm_push(m, n);
}

bool vm_op_text_int(vm *m) {
    qs_str line = qs_read_line(&m->in), le = {0};
    bool nomem = false;
    if (!qs_reader_ok(&m->in)) return false;
    if (m->op == PK_LONG && line.n && line.p[line.n - 1] == 'L') line.n--;
    /* The time that a number takes grows with the square of its length. */
    if (line.n > 18 && (m->digits += line.n) > m->lim->digits) return vm_over(m, QS_LIMIT_DIGITS, 0);
    if (qs_text_int(&m->g->arena, line, m->op == PK_INT, &le, &nomem)) {
        /* Two characters that make 0 or 1 ("01", but " 1" too) are a bool to Python. */
        bool two = m->op == PK_INT && line.n == 2 && le.n == 1 && (unsigned char)le.p[0] <= 1;
        return two ? vm_push_bool(m, le.p[0]) : vm_push_le(m, le);
    }
    return nomem ? qs_nomem(m->err) : vm_odd_value(m, "not a decimal number of at most 4300 digits");
}

bool vm_op_text_float(vm *m) {
    double v = 0;
    qs_str line = qs_read_line(&m->in);
    if (!qs_reader_ok(&m->in)) return false;
    return qs_text_float(line, &v) ? vm_push_float(m, v) : vm_odd_value(m, "not a number");
}

bool vm_op_text_string(vm *m) {
    qs_str line = qs_read_line(&m->in), s = {0};
    bool nomem = false, quoted = m->op == PK_STRING;
    if (!qs_reader_ok(&m->in)) return false;
    if (line.n > m->lim->string_bytes) return vm_over(m, QS_LIMIT_STRING_BYTES, line.n);
    if (quoted ? qs_text_quoted(&m->g->arena, line, &s, &nomem)
               : qs_text_unicode(&m->g->arena, line, &s, &nomem))
        return quoted ? vm_push_str8(m, s) : vm_push_text(m, QS_NODE_STR, s);
    return nomem ? qs_nomem(m->err) : vm_odd_value(m, "a string with broken quotes or escapes");
}

bool vm_op_binfloat(vm *m) {
    uint64_t bits = qs_read_u64be(&m->in);
    double v;
    memcpy(&v, &bits, sizeof v);
    return vm_push_float(m, v);
}

bool vm_op_long4(vm *m) {
    int32_t n = (int32_t)qs_read_u32le(&m->in);
    if (n < 0) return vm_bad(m, "a number of negative length");
    return vm_push_le(m, vm_argument(m, (uint32_t)n));
}

/* Python 2 counts BINSTRING in a signed int. */
bool vm_op_binstring(vm *m) {
    int32_t n = (int32_t)qs_read_u32le(&m->in);
    if (n < 0) return vm_bad(m, "a string of negative length");
    return vm_push_str8(m, vm_argument(m, (uint32_t)n));
}
