/* A program for tests/oracle/test_pickle.py: unit_pickle_tool FILE... reads each pickle and writes FILE.out,
 * the same graph emitted anew. A line for each file says "ok TEXT" or "CODE MESSAGE". Without arguments it
 * tests itself. */
#include "base/file.h"
#include "format/pickle.h"
#include "format/pickle_emit.h"
#include "graph_eq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const qs_limits lim = QS_LIMITS_DEFAULT;

static bool to_file(void *ctx, const void *p, size_t n, qs_err *e) {
    return fwrite(p, 1, n, ctx) == n || qs_fail(e, QS_E_IO, "cannot write");
}

static bool emit_to(const qs_graph *g, const char *path, qs_err *e) {
    FILE *f = fopen(path, "wb");
    qs_emit *m = f ? qs_emit_new(to_file, f) : NULL;
    bool ok = m && qs_emit_begin(m, e) && qs_emit_node(m, g, qs_graph_root(g), &lim, e) && qs_emit_end(m, e);
    qs_emit_free(m);
    if (f) fclose(f);
    return ok;
}

static bool convert(const char *path) {
    char *p = NULL, out[4200], text[4096] = "";
    size_t n;
    qs_graph *g = NULL;
    qs_err e = QS_ERR_INIT;
    snprintf(out, sizeof out, "%s.out", path);
    bool ok = qs_file_slurp(path, 1 << 30, &p, &n, &e) && qs_pickle_read(p, n, "data.pkl", &lim, &g, &e) &&
              emit_to(g, out, &e);
    if (ok) qs_node_describe(g, qs_graph_root(g), text, sizeof text);
    if (ok)
        printf("ok %s\n", text);
    else
        printf("%d %s\n", e.code, e.msg);
    qs_graph_free(g);
    free(p);
    return ok;
}

static void test_itself(void **state) {
    char path[] = "/tmp/qatscope-tool-XXXXXX", out[64];
    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "K\7.", 3), 3);
    close(fd);
    assert_true(convert(path));
    snprintf(out, sizeof out, "%s.out", path);
    char *p;
    size_t n;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_file_slurp(out, 100, &p, &n, &e));
    assert_int_equal(n, 5);
    assert_memory_equal(p, "\x80\2K\7.", 5);
    free(p);
    unlink(path);
    unlink(out);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_itself)};
    if (argc == 1) return cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 1; i < argc; i++) convert(argv[i]);
    return 0;
}
