/* Any bytes: read, describe, walk, emit, read again; what comes back must be the same graph. Who only follows
 * gets as far at least, and makes the same of what can be read. */
#include "format/pickle.h"
#include "format/pickle_emit.h"
#include "graph_eq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool to_buf(void *ctx, const void *p, size_t n, qs_err *e) {
    qs_buf_add(ctx, (qs_str){p, n});
    return !((qs_buf *)ctx)->failed || qs_nomem(e);
}

static bool emit(const qs_graph *g, const qs_limits *lim, qs_buf *out) {
    qs_err e = QS_ERR_INIT;
    qs_emit *m = qs_emit_new(to_buf, out);
    if (!m) return false;
    bool ok = qs_emit_begin(m, &e) && qs_emit_node(m, g, qs_graph_root(g), lim, &e) && qs_emit_end(m, &e);
    qs_emit_free(m);
    if (!ok && e.code != QS_E_LIMIT && e.code != QS_E_UNSUPPORTED && e.code != QS_E_NOMEM) abort();
    return ok;
}

static void look(const qs_graph *g) {
    char text[256];
    for (qs_node n = 0; n <= qs_graph_count(g) + 1 && n < 2000; n++) {
        for (size_t i = 0; i < qs_node_children(g, n); i++)
            if (qs_node_child(g, n, i) > qs_graph_count(g)) abort();
        qs_node_get(g, n, "a");
        qs_node_is_dict_like(g, n);
        if (n < 50 && qs_node_describe(g, n, text, sizeof text) != strlen(text)) abort();
    }
    for (size_t cap = 0; cap < 40; cap++) {
        size_t n = qs_node_describe(g, qs_graph_root(g), text, cap);
        if (cap && (n >= cap || text[n] != 0)) abort();
    }
}

static void follow(const uint8_t *data, size_t size, const qs_limits *lim, const qs_graph *g,
                   uint64_t broken_at) {
    qs_graph *f = NULL;
    qs_err why;
    if (!qs_pickle_follow(data, size, "data.pkl", lim, &f, &why)) return;
    look(f);
    if (g &&
        (why.code != QS_OK || qs_graph_count(f) != qs_graph_count(g) || qs_graph_end(f) != qs_graph_end(g)))
        abort();
    if (!g && why.code != QS_OK && why.offset < broken_at) abort();
    qs_graph_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_limits lim = QS_LIMITS_DEFAULT;
    qs_err e = QS_ERR_INIT;
    qs_graph *g = NULL, *h = NULL;
    qs_buf out = {0};
    if (!qs_pickle_read(data, size, "data.pkl", &lim, &g, &e)) {
        if (e.code == QS_OK || !e.msg[0]) abort();
        follow(data, size, &lim, NULL, e.offset);
        return 0;
    }
    look(g);
    follow(data, size, &lim, g, 0);
    if (emit(g, &lim, &out)) {
        if (!qs_pickle_read(out.p, out.n, "again", &lim, &h, &e)) abort();
        if (!graph_reads_otherwise(g) && !graph_equal(g, h, NULL)) abort();
        qs_graph_free(h);
    }
    qs_buf_free(&out);
    qs_graph_free(g);
    return 0;
}
