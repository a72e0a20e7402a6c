#include "format/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const qs_limits limits = QS_LIMITS_DEFAULT;

static qs_audit_class class_of(const char *module, const char *name) {
    return qs_audit_class_of(qs_str_of(module), qs_str_of(name));
}

static void names_have_classes(void **state) {
    (void)state;
    static const struct {
        const char *module, *name;
        qs_audit_class cls;
    } cases[] = {
        {"collections", "OrderedDict", QS_AUDIT_TORCH},
        {"torch._utils", "_rebuild_tensor_v2", QS_AUDIT_TORCH},
        {"torch", "FloatStorage", QS_AUDIT_TORCH},
        {"torch", "float8_e4m3fn", QS_AUDIT_TORCH},
        {"__builtin__", "set", QS_AUDIT_TORCH},
        {"numpy.core.multiarray", "_reconstruct", QS_AUDIT_DATA},
        {"numpy", "float64", QS_AUDIT_DATA},
        {"builtins", "dict", QS_AUDIT_DATA},
        {"ultralytics.nn.tasks", "DetectionModel", QS_AUDIT_LIBRARY},
        {"torch.nn.modules.conv", "Conv2d", QS_AUDIT_LIBRARY},
        {"torch", "relu", QS_AUDIT_LIBRARY},
        {"osmnx", "graph", QS_AUDIT_LIBRARY},
        {"os", "system", QS_AUDIT_CODE},
        {"posix", "system", QS_AUDIT_CODE},
        {"nt", "system", QS_AUDIT_CODE},
        {"subprocess", "Popen", QS_AUDIT_CODE},
        {"builtins", "eval", QS_AUDIT_CODE},
        {"__builtin__", "eval", QS_AUDIT_CODE},
        {"builtins", "__import__", QS_AUDIT_CODE},
        {"importlib", "import_module", QS_AUDIT_CODE},
        {"runpy", "run_path", QS_AUDIT_CODE},
        {"asyncio.unix_events", "_UnixSubprocessTransport._start", QS_AUDIT_CODE},
        {"operator", "attrgetter", QS_AUDIT_CODE},
        {"torch.hub", "load", QS_AUDIT_CODE},
        {"torch", "load", QS_AUDIT_CODE},
        {"torch.serialization", "os.system", QS_AUDIT_CODE},
        {"torch.serialization", "os", QS_AUDIT_CODE},
        {"numpy.testing._private.utils", "runstring", QS_AUDIT_CODE},
        {"torch.nn.modules.conv", "Conv2d.__init__.__globals__", QS_AUDIT_CODE},
        {"torch", "FloatStorage.evil", QS_AUDIT_LIBRARY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (class_of(cases[i].module, cases[i].name) != cases[i].cls)
            fail_msg("%s %s is %s", cases[i].module, cases[i].name,
                     qs_audit_class_name(class_of(cases[i].module, cases[i].name)));
}

static qs_audit *audit(const char *data, size_t n) {
    qs_audit *a = calloc(1, sizeof *a);
    qs_err e = QS_ERR_INIT;
    assert_non_null(a);
    if (!qs_audit_add(a, data, n, "data.pkl", 0, &limits, &e)) fail_msg("%s", e.msg);
    return a;
}
#define AUDIT(lit) audit(lit, sizeof(lit) - 1)

static const qs_audit_item *find(const qs_audit *a, const char *name) {
    for (size_t i = 0; i < a->items.n; i++)
        if (qs_str_is(a->items.v[i].name, name)) return &a->items.v[i];
    fail_msg("%s is not listed", name);
    return NULL;
}

static void counts_uses(void **state) {
    (void)state;
    qs_audit *a = AUDIT("\x80\x02(ccollections\nOrderedDict\nq\x00)Rh\x00)Rcmy.mod\nNet\n)\x81}bt.");
    const qs_audit_item *dict = find(a, "OrderedDict"), *net = find(a, "Net");
    assert_int_equal(dict->imports, 1);
    assert_int_equal(dict->calls, 2);
    assert_int_equal(dict->offset, 3);
    assert_int_equal(net->news, 1);
    assert_int_equal(net->builds, 1);
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_LIBRARY);
    assert_null(a->pickles.v[0].broken);
    qs_audit_close(a);
}

/* What was called and thrown away ran all the same. */
static void sees_what_is_popped(void **state) {
    (void)state;
    qs_audit *a = AUDIT("\x80\x02"
                        "cos\nsystem\n(X\x02\0\0\0idtR0N.");
    assert_int_equal(find(a, "system")->calls, 1);
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
    qs_audit_close(a);
}

/* Python runs everything before the byte at which it finds the pickle broken. */
static void sees_what_runs_before_the_end(void **state) {
    (void)state;
    static const char *const ends[] = {
        "", "\xff", "s", "X\xff\xff\xff\x7f", "(((", "\x95\xff\xff\xff\xff\0\0\0\0"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        qs_buf b = {0};
        qs_buf_add(&b, QS_STR("\x80\x02"
                              "cos\nsystem\n(X\x02\0\0\0idtR"));
        qs_buf_addz(&b, ends[i]);
        qs_audit *a = audit(b.p, b.n);
        assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
        assert_int_equal(find(a, "system")->calls, 1);
        assert_non_null(a->pickles.v[0].broken);
        qs_audit_close(a);
        qs_buf_free(&b);
    }
}

/* BUILD on a class changes torch itself, and so does what is put into a module's dict or list. */
static void sees_patched_names(void **state) {
    (void)state;
    static const char *const pickles[] = {"ctorch.nn.modules.module\nModule\n}Vx\nI1\nsb.",
                                          "ctorch.serialization\n__dict__\nVload\nNs.",
                                          "ctorch.serialization\n__dict__\n(Vload\nNu.",
                                          "ca.b\nlist\nNa.",
                                          "ca.b\nlist\n(Ne.",
                                          "ca.b\nset\n(N\x90."};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        qs_audit *a = audit(pickles[i], strlen(pickles[i]));
        assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
        assert_int_equal(a->items.v[0].cls == QS_AUDIT_CODE || a->items.v[1].cls == QS_AUDIT_CODE, true);
        assert_true(a->pickles.v[0].cut);
        qs_audit_close(a);
    }
}

/* Python asks any object for extend, __setitem__, add and __setstate__, reads numbers we do not, and takes
 * str() for the name of a module: what comes after must be seen. */
static void goes_on_where_python_does(void **state) {
    (void)state;
    static const char *const before[] = {"]Nb0",         "ccollections\ndeque\n)RNa0",
                                         "I0x10\n0",     "L0x10L\n0",
                                         "F1_0\n0",      "Np4294967296\n0",
                                         "\x82\x01\x30", "cbuiltins\nstr\nVx\n\x85RVy\n\2230"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        qs_buf b = {0};
        qs_buf_addf(&b, "%scos\nsystem\n(Vid\ntR.", before[i]);
        qs_audit *a = audit(b.p, b.n);
        assert_int_equal(find(a, "system")->calls, 1);
        assert_null(a->pickles.v[0].broken);
        qs_audit_close(a);
        qs_buf_free(&b);
    }
    /* the line begins in a frame that ends before it does: Python reads "os" */
    qs_audit *a = audit("\x80\4\x95\3\0\0\0\0\0\0\0"
                        "cxxos\nsystem\n)R.",
                        27);
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
    assert_true(a->pickles.v[0].cut);
    qs_audit_close(a);
}

/* No list of dangerous functions is complete: what a pickle calls of a library is the file's choice. Classes
 * and the functions that libraries write into their own pickles are usual. */
static void sees_functions_the_file_chooses(void **state) {
    (void)state;
    static const struct {
        const char *name;
        qs_audit_class cls;
    } cases[] = {{"some.pkg\nrun_it", QS_AUDIT_CODE},
                 {"some.pkg\n_run", QS_AUDIT_CODE},
                 {"some.pkg\nThing.delete", QS_AUDIT_CODE},
                 {"pathlib\nPath.unlink", QS_AUDIT_CODE},
                 {"torch\nfrom_file", QS_AUDIT_CODE},
                 {"some.pkg\nThing", QS_AUDIT_LIBRARY},
                 {"some.pkg\n_Private", QS_AUDIT_LIBRARY},
                 {"some.pkg\nOuter.Inner", QS_AUDIT_LIBRARY},
                 {"functools\npartial", QS_AUDIT_LIBRARY},
                 {"pandas._libs.arrays\n__pyx_unpickle_NDArrayBacked", QS_AUDIT_LIBRARY},
                 {"pandas.core.indexes.base\n_new_Index", QS_AUDIT_LIBRARY},
                 {"torch.jit._pickle\nbuild_intlist", QS_AUDIT_LIBRARY},
                 {"torch._utils\n_rebuild_tensor_v2", QS_AUDIT_TORCH},
                 {"numpy.core.multiarray\nscalar", QS_AUDIT_DATA}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char pickle[160];
        int n = snprintf(pickle, sizeof pickle,
                         "\x80\x02"
                         "c%s\n)R.",
                         cases[i].name);
        qs_audit *a = audit(pickle, (size_t)n);
        if (qs_audit_worst(a) != cases[i].cls)
            fail_msg("%s: class %d", cases[i].name, (int)qs_audit_worst(a));
        qs_audit_close(a);
        n = snprintf(pickle, sizeof pickle,
                     "\x80\x02"
                     "c%s\n.",
                     cases[i].name); /* the name alone, as of an activation */
        a = audit(pickle, (size_t)n);
        assert_true(qs_audit_worst(a) < QS_AUDIT_CODE);
        qs_audit_close(a);
    }
}

/* Nor need the file call it itself: others do when they are given it. */
static void sees_functions_that_are_handed_on(void **state) {
    (void)state;
    static const struct {
        const char *pickle;
        qs_audit_class cls;
    } cases[] = {
        {"ctorch._tensor\n_rebuild_from_type_v2\n(ca.b\nrun\nctorch\nTensor\n(tNtR.", QS_AUDIT_CODE},
        {"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n(tNtR.",
         QS_AUDIT_TORCH},
        {"cnumpy.random._pickle\n__randomstate_ctor\n(Vx\nca.b\nrun\ntR.", QS_AUDIT_CODE},
        {"cnumpy.random._pickle\n__randomstate_ctor\n(Vx\ncnumpy.random._pickle\n__bit_generator_ctor\ntR.",
         QS_AUDIT_DATA},
        {"ccollections\ndefaultdict\n(ca.b\nrun\ntR.", QS_AUDIT_CODE},
        {"ccollections\ndefaultdict\n(cbuiltins\nlist\ntR.", QS_AUDIT_DATA},
        {"cbuiltins\nlist\n(cbuiltins\niter\n(ca.b\nrun\nNtRtR.", QS_AUDIT_CODE},
        {"c__builtin__\nreduce\n(ca.b\nrun\n(I1\nI2\nltR.", QS_AUDIT_CODE},
        {"ccopy\n_reconstruct\n(NNca.b\nrun\n)tR.", QS_AUDIT_CODE},
        {"cweakref\nref\n(Nca.b\nrun\ntR.", QS_AUDIT_CODE},
        {"cbuiltins\ntype\n(VX\n)}Vf\nca.b\nrun\nstR.", QS_AUDIT_CODE},
        {"cbuiltins\ntype\n(NtR.", QS_AUDIT_DATA},
        {"cfunctools\npartial\n(ctorch.nn.functional\nrelu\ntR.", QS_AUDIT_LIBRARY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_audit *a = audit(cases[i].pickle, strlen(cases[i].pickle));
        if (qs_audit_worst(a) != cases[i].cls)
            fail_msg("%s: class %d", cases[i].pickle, (int)qs_audit_worst(a));
        qs_audit_close(a);
    }
}

static void getattr_is_judged_by_its_use(void **state) {
    (void)state;
    /* a nested class of a library, and an instance of it */
    qs_audit *a = AUDIT("\x80\x02"
                        "cbuiltins\ngetattr\ncmy.mod\nNet\nX\x05\0\0\0Inner\x86R)\x81.");
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_LIBRARY);
    qs_audit_close(a);
    /* its result called */
    a = AUDIT("\x80\x02"
              "cbuiltins\ngetattr\ncmy.mod\nNet\nX\x03\0\0\0run\x86R)R.");
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
    qs_audit_close(a);
    /* a way to os */
    a = AUDIT("\x80\x02"
              "cbuiltins\ngetattr\nctorch\nserialization\nX\x02\0\0\0os\x86R.");
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
    qs_audit_close(a);
    /* of what was looked up */
    a = AUDIT("\x80\x02"
              "cbuiltins\ngetattr\nq\x00h\x00"
              "cmy.mod\nNet\nX\x01\0\0\0a\x86RX\x01\0\0\0b\x86R.");
    assert_int_equal(qs_audit_worst(a), QS_AUDIT_CODE);
    qs_audit_close(a);
}

static void every_class_is_in_the_table(void **state) {
    (void)state;
    for (int c = QS_AUDIT_TORCH; c <= QS_AUDIT_CODE; c++) assert_true(strlen(qs_audit_class_name(c)) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_classes),
        cmocka_unit_test(counts_uses),
        cmocka_unit_test(sees_what_is_popped),
        cmocka_unit_test(sees_what_runs_before_the_end),
        cmocka_unit_test(sees_patched_names),
        cmocka_unit_test(goes_on_where_python_does),
        cmocka_unit_test(sees_functions_the_file_chooses),
        cmocka_unit_test(sees_functions_that_are_handed_on),
        cmocka_unit_test(getattr_is_judged_by_its_use),
        cmocka_unit_test(every_class_is_in_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
