/* The pickle machine on pickles written out by hand; tests/oracle/test_pickle.py has Python's own. */
#include "format/pickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static qs_err err;

static qs_graph *read_with(const char *p, size_t n, qs_limits lim) {
    qs_graph *g = NULL;
    err = (qs_err)QS_ERR_INIT;
    return qs_pickle_read(p, n, "data.pkl", &lim, &g, &err) ? g : NULL;
}

#define READ(lit) read_with(lit, sizeof(lit) - 1, QS_LIMITS_DEFAULT)

static void says(const char *p, size_t n, const char *want) {
    char text[200];
    qs_graph *g = read_with(p, n, QS_LIMITS_DEFAULT);
    if (!g) fail_msg("%s", err.msg);
    qs_node_describe(g, qs_graph_root(g), text, sizeof text);
    assert_string_equal(text, want);
    assert_int_equal(qs_graph_end(g), n);
    qs_graph_free(g);
}
#define SAYS(lit, want) says(lit, sizeof(lit) - 1, want)

static void refuses(const char *p, size_t n, qs_code code, uint64_t offset) {
    qs_graph *g = read_with(p, n, QS_LIMITS_DEFAULT);
    if (g) fail_msg("a pickle of %zu bytes should have been refused", n);
    if (err.code != code || err.offset != offset)
        fail_msg("code %d at %zu: %s", err.code, (size_t)err.offset, err.msg);
    assert_string_equal(err.record, "data.pkl");
}
#define REFUSES(lit, offset)            refuses(lit, sizeof(lit) - 1, QS_E_INPUT, offset)
#define REFUSES_WITH(lit, code, offset) refuses(lit, sizeof(lit) - 1, code, offset)

static void test_atoms(void **state) {
    (void)state;
    SAYS("N.", "None");
    SAYS("\x80\x02\x88.", "True");
    SAYS("I01\n.", "True");
    SAYS("I-17\n.", "-17");
    SAYS("I 0\n.", "False");
    SAYS("I+1\n.", "True");
    SAYS("I1\n.", "1");
    REFUSES("L01\n.", 0);
    SAYS("J\xff\xff\xff\xff.", "-1");
    SAYS("K\xff.", "255");
    SAYS("M\x01\x02.", "513");
    SAYS("L123456789012345678901234567890L\n.", "0x18ee90ff6c373e0ee4e3f0ad2");
    SAYS("L-18446744073709551616L\n.", "-0x10000000000000000");
    SAYS("\x8a\x00.", "0");
    SAYS("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00.", "9223372036854775807");
    SAYS("\x8b\x01\x00\x00\x00\x80.", "-128");
    SAYS("F-1.5e3\n.", "-1500");
    SAYS("G\x3f\xf8\0\0\0\0\0\0.", "1.5");
    SAYS("S'a\\x41\\n\\''\n.", "'aA\\x0a''");
    SAYS("T\x02\0\0\0hi.", "'hi'");
    SAYS("U\x02\xff\xfe.", "b'\\xff\\xfe'");
    SAYS("Va\\u00e9\\\\u0041\n.", "'a\xc3\xa9\\\\u0041'");
    SAYS("X\x02\0\0\0\xc3\xa9.", "'\xc3\xa9'");
    SAYS("\x8c\x01x.", "'x'");
    SAYS("C\x01x.", "b'x'");
    SAYS("\x96\x01\0\0\0\0\0\0\0x.", "bytearray b'x'");
}

/* Where a number begins with a zero, C's strtol, which reads INT, and Python's int() differ. */
static void test_numbers_after_a_zero(void **state) {
    (void)state;
    SAYS("I010\n.", "8");
    SAYS("I-0017\n.", "-15");
    SAYS("I0000\n.", "0");
    SAYS("I0777777777777777777777\n.", "9223372036854775807");
    SAYS("L000L\n.", "0");
    REFUSES("I08\n.", 0);
    REFUSES("I010 \n.", 0);
    REFUSES("I01000000000000000000000\n.", 0);
    REFUSES("L010L\n.", 0);
    SAYS("K\x05p+1\n0g0_1\n.", "5");
    REFUSES("Np1_\n.", 1);
    REFUSES("Np_1\n.", 1);
}

#define FRAME(n) "\x95" n "\0\0\0\0\0\0\0"

/* Python's C unpickler reads a frame whole; of what begins in it and ends behind it, it drops the beginning.
 */
static void test_frames(void **state) {
    (void)state;
    SAYS("\x80\4" FRAME("\2") "K\5" FRAME("\3") "0N.", "None");
    SAYS("\x80\4" FRAME("\2") "K\5.", "5");
    SAYS("\x80\4" FRAME("\0") FRAME("\3") "K\5.", "5");
    SAYS("\x80\4" FRAME("\x0c") FRAME("\3") "K\5.", "5");
    REFUSES_WITH("\x80\4" FRAME("\3") "V123\n.", QS_E_UNSUPPORTED, 12);
    REFUSES_WITH("\x80\4" FRAME("\1") "NX\1\0\0\0a" FRAME("\2") "M\1\1.", QS_E_UNSUPPORTED, 28);
    REFUSES_WITH("\x80\4" FRAME("\x0b") FRAME("\3") "K\5.", QS_E_UNSUPPORTED, 20);
    REFUSES_WITH("\x80\4" FRAME("\5") FRAME("\3") "K\5.", QS_E_UNSUPPORTED, 12);
    REFUSES("\x80\4" FRAME("\4") "K\5.", 2);
}

static void test_containers(void **state) {
    (void)state;
    SAYS("(t.", "()");
    SAYS("K\x01\x85.", "(1,)");
    SAYS("(K\x01K\x02K\x03K\x04t.", "(1, 2, 3, 4)");
    SAYS("(K\x01K\x02l.", "[1, 2]");
    SAYS("](K\x01K\x02"
         "eK\x03"
         "a.",
         "[1, 2, 3]");
    SAYS("(K\x01K\x02"
         "d.",
         "{1: 2}");
    SAYS("}(K\x01K\x02K\x03K\x04uK\x05K\x06s.", "{1: 2, 3: 4, 5: 6}");
    SAYS("\x8f(K\x01\x90.", "{1}");
    SAYS("(K\x01\x91.", "frozenset(1)");
    SAYS("ccollections\nOrderedDict\n)RK\x01K\x02s.", "OrderedDict({1: 2})");
    SAYS("\x8c\x01"
         "a\x8c\x01"
         "b\x93K\x01\x85R.",
         "a.b(1)");
    SAYS("K\x07Q.", "persistent(7)");
    SAYS("(K\x01ia\nB\n.", "a.B(1)");
    SAYS("(ca\nB\no.", "a.B()");
    SAYS("(ca\nB\nK\x01o.", "a.B(1)");
    SAYS("c_codecs\nencode\nX\x02\0\0\0\xc3\xbfX\x06\0\0\0latin1\x86R.", "b'\\xff'");
    SAYS("c__builtin__\nset\n](K\x01K\x02"
         "e\x85R.",
         "{1, 2}");
    SAYS("ccollections\nOrderedDict\n](](K\x01K\x02"
         "ee\x85R.",
         "OrderedDict({1: 2})");
}

static void test_a_dict_fetched_before_it_is_filled_is_the_same_node(void **state) {
    (void)state;
    qs_graph *g = READ("}(X\x05\0\0\0model}q\x01X\x03\0\0\0emah\x01uh\x01X\x01\0\0\0kK\x07s0.");
    assert_non_null(g);
    qs_node model = qs_node_get(g, qs_graph_root(g), "model");
    assert_int_equal(model, qs_node_get(g, qs_graph_root(g), "ema"));
    assert_int_equal(qs_node_int(g, qs_node_get(g, model, "k")), 7);
    qs_graph_free(g);
}

static void test_a_list_may_hold_itself(void **state) {
    (void)state;
    qs_graph *g = READ("]q\0h\0a.");
    char text[64];
    assert_non_null(g);
    assert_int_equal(qs_node_item(g, qs_graph_root(g), 0), qs_graph_root(g));
    assert_true(qs_node_describe(g, qs_graph_root(g), text, sizeof text) < sizeof text);
    qs_graph_free(g);
}

static void test_every_build_is_kept(void **state) {
    (void)state;
    qs_graph *g = READ("ca\nB\n)\x81K\x01"
                       "bK\x02"
                       "b.");
    qs_call c;
    assert_non_null(g);
    assert_true(qs_node_call(g, qs_graph_root(g), &c));
    assert_int_equal(c.builds, 2);
    assert_int_equal(qs_node_int(g, qs_node_build(g, qs_graph_root(g), 0)), 1);
    assert_int_equal(qs_node_int(g, c.state), 2);
    assert_int_equal(qs_node_children(g, qs_graph_root(g)), 5);
    qs_graph_free(g);
}

/* A tuple's items lie as tight as they can: what is appended elsewhere must not get into them. */
static void test_lists_grow_beside_tuples(void **state) {
    (void)state;
    SAYS("](K\x01K\x02K\x03tq\x00"
         "0(K\x06K\x07K\x08K\x09K\x10"
         "eh\x00(K\x12K\x13K\x14t\x87.",
         "([6, 7, 8, 9, 16], (1, 2, 3), (18, 19, 20))");
    SAYS("](K\x01K\x02K\x03"
         "e(K\x04K\x05K\x06K\x07K\x08tq\x00"
         "a(K\x09K\x10"
         "eh\x00\x86.",
         "([1, 2, 3, (4, 5, 6, 7, 8), 9, 16], (4, 5, 6, 7, 8))");
}

static void test_notes_stay_with_their_nodes(void **state) {
    (void)state;
    qs_graph *g = READ("ca\nf\n)RQN\x86."); /* (a persistent object whose id is f(), None) */
    qs_call c;
    assert_non_null(g);
    qs_node persid = qs_node_item(g, qs_graph_root(g), 0), call = qs_node_persid(g, persid);
    assert_true(qs_node_call(g, call, &c));
    qs_node nodes[] = {persid, call, c.callable, c.args, qs_graph_root(g), qs_graph_count(g) + 1};
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(qs_node_note(g, nodes[i]), 0);
        qs_node_set_note(g, nodes[i], 10 + i);
    }
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(qs_node_note(g, nodes[i]), i < 3 ? 10 + i : 0);
    assert_int_equal(qs_node_persid(g, persid), call);
    assert_true(qs_node_is_global(g, c.callable, "a", "f"));
    assert_true(qs_node_call(g, call, &c));
    assert_int_equal(c.callable, nodes[2]);
    assert_int_equal(qs_node_len(g, nodes[4]), 2);
    qs_graph_free(g);
}

static void test_last_duplicate_key_counts(void **state) {
    (void)state;
    qs_graph *g = READ("}(X\x01\0\0\0kK\x01X\x01\0\0\0kK\x02u.");
    assert_int_equal(qs_node_pairs(g, qs_graph_root(g)), 2);
    assert_int_equal(qs_node_int(g, qs_node_get(g, qs_graph_root(g), "k")), 2);
    assert_int_equal(qs_node_get(g, qs_graph_root(g), "x"), QS_NODE_NONE);
    qs_graph_free(g);
}

static void test_what_python_rejects_is_rejected_where_it_is(void **state) {
    (void)state;
    REFUSES("", 0);
    REFUSES(".", 0);
    REFUSES("N", 1);
    REFUSES("\xff.", 0);
    REFUSES("t.", 0);
    REFUSES("N\x86.", 1);
    REFUSES("(N\x86.", 2);
    REFUSES("N(.", 2);
    REFUSES("NNNs.", 3);
    REFUSES("](NNu.", 4);
    REFUSES("}(Nu.", 3);
    REFUSES("}]Ns.", 3);
    REFUSES("}Na.", 2);
    REFUSES("h\x05.", 0);
    REFUSES("q\x05.", 0);
    REFUSES("Nr\xff\xff\xff\xffj\xfe\xff\xff\xff.", 6);
    REFUSES("X\xff\xff\xff\xffhi.", 5);
    REFUSES("\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi.", 9);
    REFUSES("X\x01\0\0\0\xff.", 0);
    REFUSES("\x8b\xff\xff\xff\xff.", 0);
    REFUSES("cos\nsystem", 4);
    REFUSES("N)R.", 2);
    REFUSES("ca\nb\nNR.", 6);
    REFUSES("NNb.", 2);
    REFUSES("Ix\n.", 0);
    REFUSES("S'a\n.", 0);
    REFUSES("\x95\xff\0\0\0\0\0\0\0N.", 0);
    REFUSES("NN\x93.", 2);
    REFUSES_WITH("\x80\x06N.", QS_E_UNSUPPORTED, 0);
    REFUSES_WITH("\x82\x01.", QS_E_UNSUPPORTED, 0);
    REFUSES_WITH("\x97.", QS_E_UNSUPPORTED, 0);
    REFUSES_WITH("ca\nb\n}b.", QS_E_UNSUPPORTED, 6);
}

static void test_a_huge_memo_index_allocates_nothing(void **state) {
    (void)state;
    SAYS("K\x01r\xff\xff\xff\xff"
         "0j\xff\xff\xff\xff.",
         "1");
    SAYS("K\x01p4294967295\n0g4294967295\n.", "1");
    /* Dense after sparse: the later put wins. */
    char p[16384];
    size_t n = 0;
    for (int i = 0; i < 400; i++) n += (size_t)sprintf(p + n, "I%d\np%d\n0", i, i == 0 ? 300 : i - 1);
    n += (size_t)sprintf(p + n, "g300\n.");
    says(p, n, "301");
}

static void test_limits(void **state) {
    (void)state;
    qs_limits lim = QS_LIMITS_DEFAULT;
    lim.stack = 3;
    assert_null(read_with("NNNN.", 5, lim));
    assert_int_equal(err.code, QS_E_LIMIT);
    lim = QS_LIMITS_DEFAULT;
    lim.marks = 2;
    assert_null(read_with("(((N.", 5, lim));
    assert_int_equal(err.code, QS_E_LIMIT);
    lim = QS_LIMITS_DEFAULT;
    lim.opcodes = 3;
    assert_null(read_with("N0N0N.", 6, lim));
    assert_int_equal(err.code, QS_E_LIMIT);
    lim = QS_LIMITS_DEFAULT;
    lim.memo = 1;
    assert_null(read_with("Nq\1q\2.", 6, lim));
    assert_int_equal(err.code, QS_E_LIMIT);
    lim = QS_LIMITS_DEFAULT;
    lim.string_bytes = 1;
    assert_null(read_with("U\2ab.", 5, lim));
    assert_int_equal(err.code, QS_E_LIMIT);
    lim = QS_LIMITS_DEFAULT;
    lim.pickle_bytes = 1;
    assert_null(read_with("N.", 2, lim));
    assert_int_equal(err.code, QS_E_LIMIT);
}

/* [x, x] doubled 2^n times is n nodes; two million nested tuples are no recursion. */
static void test_bombs_stay_small(void **state) {
    (void)state;
    enum { N = 2000000 };
    char *p = malloc(N + 8), text[100];
    assert_non_null(p);
    p[0] = ')';
    memset(p + 1, '\x85', N);
    p[N + 1] = '.';
    qs_graph *g = read_with(p, N + 2, QS_LIMITS_DEFAULT);
    assert_non_null(g);
    assert_int_equal(qs_graph_count(g), N + 1);
    qs_node_describe(g, qs_graph_root(g), text, sizeof text);
    qs_graph_free(g);
    size_t n = 0;
    p[n++] = 'N';
    for (int i = 0; i < 1000; i++) p[n++] = '2', p[n++] = '\x86';
    p[n++] = '.';
    g = read_with(p, n, QS_LIMITS_DEFAULT);
    assert_non_null(g);
    assert_true(qs_graph_count(g) < 1100);
    assert_true(qs_node_describe(g, qs_graph_root(g), text, sizeof text) < sizeof text);
    qs_graph_free(g);
    free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_atoms),
        cmocka_unit_test(test_numbers_after_a_zero),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_a_dict_fetched_before_it_is_filled_is_the_same_node),
        cmocka_unit_test(test_a_list_may_hold_itself),
        cmocka_unit_test(test_every_build_is_kept),
        cmocka_unit_test(test_lists_grow_beside_tuples),
        cmocka_unit_test(test_notes_stay_with_their_nodes),
        cmocka_unit_test(test_last_duplicate_key_counts),
        cmocka_unit_test(test_what_python_rejects_is_rejected_where_it_is),
        cmocka_unit_test(test_a_huge_memo_index_allocates_nothing),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bombs_stay_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
