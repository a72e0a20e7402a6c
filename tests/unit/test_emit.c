/* The emitter: what it writes reads back as the same graph, in the opcodes torch's weights_only unpickler
 * takes. */
#include "format/pickle.h"
#include "format/pickle_emit.h"
#include "graph_eq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static qs_err err;
static const qs_limits lim = QS_LIMITS_DEFAULT;

static bool to_buf(void *ctx, const void *p, size_t n, qs_err *e) {
    qs_buf_add(ctx, (qs_str){p, n});
    return !((qs_buf *)ctx)->failed || qs_nomem(e);
}

static qs_graph *parse(const void *p, size_t n) {
    qs_graph *g = NULL;
    err = (qs_err)QS_ERR_INIT;
    if (!qs_pickle_read(p, n, "data.pkl", &lim, &g, &err)) fail_msg("%s", err.msg);
    return g;
}

static void emit_into(qs_buf *out, const qs_graph *g, qs_emit_hook hook) {
    qs_emit *m = qs_emit_new(to_buf, out);
    assert_non_null(m);
    if (hook) qs_emit_set_hook(m, hook, NULL);
    bool ok =
        qs_emit_begin(m, &err) && qs_emit_node(m, g, qs_graph_root(g), &lim, &err) && qs_emit_end(m, &err);
    if (!ok) fail_msg("%s", err.msg);
    qs_emit_free(m);
}

static void survives(const char *p, size_t n) {
    qs_graph *g = parse(p, n);
    qs_buf once = {0}, twice = {0};
    emit_into(&once, g, NULL);
    qs_graph *h = parse(once.p, once.n);
    qs_node where = 0;
    if (!graph_equal(g, h, &where))
        fail_msg("differs at node %u (byte %zu)", where, (size_t)qs_node_offset(g, where));
    emit_into(&twice, h, NULL);
    assert_true(qs_str_eq(qs_buf_str(&once), qs_buf_str(&twice)));
    qs_buf_free(&once);
    qs_buf_free(&twice);
    qs_graph_free(g);
    qs_graph_free(h);
}
#define SURVIVES(lit) survives(lit, sizeof(lit) - 1)

static void test_every_kind_survives(void **state) {
    (void)state;
    SURVIVES("N.");
    SURVIVES("I01\n.");
    SURVIVES("(I00\nI-1\nI255\nI256\nI65536\nI-2147483648\nI2147483648\nL9223372036854775807L\nL-"
             "9223372036854775808L\nt.");
    SURVIVES("L123456789012345678901234567890L\n.");
    SURVIVES("L-123456789012345678901234567890L\n.");
    SURVIVES("G\x7f\xf8\0\0\0\0\0\1.");
    SURVIVES("(X\0\0\0\0U\1aU\1\xff"
             "C\1\xff"
             "C\0\x96\1\0\0\0\0\0\0\0x\x96\0\0\0\0\0\0\0\0t.");
    SURVIVES(")\x85K\1\x86(K\1K\2K\3K\4tN\x87.");
    SURVIVES("](K\1K\2e.");
    SURVIVES("}(K\1K\2K\3K\4u.");
    SURVIVES("\x8f(K\1\x90(K\2\x91\x86.");
    SURVIVES("ccollections\nOrderedDict\n)R(K\1K\2K\3K\4u}X\1\0\0\0aNsb.");
    SURVIVES("ca\nB\n)\x81K\1"
             "bK\2"
             "bK\3"
             "a(K\4K\5u.");
    SURVIVES("ca\nB\n)}X\1\0\0\0kNs\x92.");
    SURVIVES("(X\7\0\0\0storageca\nB\ntQ.");
}

static void test_sharing_and_cycles_survive(void **state) {
    (void)state;
    SURVIVES("}(X\5\0\0\0model}q\1X\3\0\0\0emah\1uh\1X\1\0\0\0kK\7s0."); /* fetched before it is filled */
    SURVIVES("]q\0h\0a.");                                               /* a list in itself */
    SURVIVES("]q\0K\1\x85q\1\x86q\2h\0h\2"
             "a0h\2."); /* a tuple that holds a list that holds the tuple */
    SURVIVES("]q\0(K\1K\2K\3h\0tq\1h\0h\1"
             "a0h\1."); /* the same with four items */
    SURVIVES("ca\nB\n]q\0\x85Rq\1h\0h\1"
             "a0.");                              /* a call whose argument holds its result */
    SURVIVES("ca\nB\n)\x81q\0}X\1\0\0\0xh\0sb."); /* an object in its own state */
    SURVIVES("]q\0c__builtin__\nset\n](ca\nB\nh\0\x85R\x65\x85Rq\1h\0h\1"
             "a0."); /* a set inside its item */
    SURVIVES("](U\1kQq\0h\0e.");
}

/* 2500 items: more than two batches; a dict of 1001: a batch and one pair. */
static void test_batches(void **state) {
    (void)state;
    qs_buf b = {0};
    qs_buf_addz(&b, "](");
    for (int i = 0; i < 2500; i++) qs_buf_addf(&b, "I%d\n", i);
    qs_buf_addz(&b, "e}(");
    for (int i = 0; i < 1001; i++) qs_buf_addf(&b, "I%d\nI%d\n", i, -i);
    qs_buf_addz(&b, "u\x86(I1\nl\x87.");
    qs_graph *g = NULL;
    assert_false(qs_pickle_read(b.p, b.n, "x", &lim, &g, &err)); /* TUPLE3 over two */
    b.n -= 2;
    qs_buf_addz(&b, "\x86.");
    survives(b.p, b.n);
    qs_buf_free(&b);
}

static void test_dotted_names_become_getattr(void **state) {
    (void)state;
    qs_buf out = {0};
    char text[100];
    qs_graph *g = parse("\x8c\1m\x8c\5A.B.C\x93.", 12);
    emit_into(&out, g, NULL);
    qs_graph *h = parse(out.p, out.n);
    qs_node_describe(h, qs_graph_root(h), text, sizeof text);
    assert_string_equal(text, "getattr(getattr(m.A, 'B'), 'C')");
    qs_graph_free(g);
    qs_graph_free(h);
    qs_buf_free(&out);
}

static void test_what_cannot_be_said_is_refused(void **state) {
    (void)state;
    qs_buf out = {0};
    qs_emit *m = qs_emit_new(to_buf, &out);
    qs_graph *g = parse("\x8c\3m\nx\x8c\1A\x93.", 10);
    err = (qs_err)QS_ERR_INIT;
    assert_false(qs_emit_node(m, g, qs_graph_root(g), &lim, &err));
    assert_int_equal(err.code, QS_E_UNSUPPORTED);
    qs_emit_free(m);
    qs_graph_free(g);
    m = qs_emit_new(to_buf, &out);
    char deep[3002] = ")";
    memset(deep + 1, '\x85', 3000);
    deep[3001] = '.';
    g = parse(deep, sizeof deep);
    err = (qs_err)QS_ERR_INIT;
    assert_false(qs_emit_node(m, g, qs_graph_root(g), &lim, &err));
    assert_int_equal(err.code, QS_E_LIMIT);
    qs_emit_free(m);
    qs_graph_free(g);
    qs_buf_free(&out);
}

/* Replaces every 7 by "seven", and every dict by an empty list. */
static bool hook(void *ctx, qs_emit *m, const qs_graph *g, qs_node n, bool *failed, qs_err *e) {
    (void)ctx;
    if (qs_node_kind_of(g, n) == QS_NODE_DICT) {
        *failed = !qs_emit_code(m, QS_OP_EMPTY_LIST, e);
        return true;
    }
    if (qs_node_kind_of(g, n) != QS_NODE_INT || qs_node_int(g, n) != 7) return false;
    *failed = !qs_emit_str(m, QS_STR("seven"), e);
    return true;
}

static void test_hooks_replace(void **state) {
    (void)state;
    qs_buf out = {0};
    char text[100];
    qs_graph *g = parse("](K\7K\1}q\0h\0K\7e.", 15);
    emit_into(&out, g, hook);
    qs_graph *h = parse(out.p, out.n);
    qs_node_describe(h, qs_graph_root(h), text, sizeof text);
    assert_string_equal(text, "['seven', 1, [], [], 'seven']");
    assert_int_equal(qs_node_item(h, qs_graph_root(h), 2), qs_node_item(h, qs_graph_root(h), 3));
    qs_graph_free(g);
    qs_graph_free(h);
    qs_buf_free(&out);
}

static bool full_disk(void *ctx, const void *p, size_t n, qs_err *e) {
    (void)ctx, (void)p, (void)n;
    return qs_fail(e, QS_E_IO, "no space");
}

static void test_a_failing_sink_fails(void **state) {
    (void)state;
    qs_emit *m = qs_emit_new(full_disk, NULL);
    err = (qs_err)QS_ERR_INIT;
    assert_true(qs_emit_begin(m, &err) && qs_emit_nil(m, &err));
    assert_false(qs_emit_end(m, &err));
    assert_int_equal(err.code, QS_E_IO);
    qs_emit_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_survives),
        cmocka_unit_test(test_sharing_and_cycles_survive),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_dotted_names_become_getattr),
        cmocka_unit_test(test_what_cannot_be_said_is_refused),
        cmocka_unit_test(test_hooks_replace),
        cmocka_unit_test(test_a_failing_sink_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
