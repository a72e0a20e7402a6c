#include "ui/app_impl.h"

#include <time.h>

/* Statistics of a tensor this small are computed at once, of a larger one when no key waits, of one larger
 * still only on the page of all details. */
enum { SMALL = 1 << 16, LARGE = 1 << 25, MEASURED = 1 << 23 };

static double now_seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total) {
    qs_app *a = ctx;
    double now = now_seconds();
    bool quiet = !a->busy.pending;
    if (!a->opt.progress || now - a->busy.asked < (quiet ? 0.005 : 0.1)) return true;
    if (!quiet && now - a->busy.start < 0.5) return true;
    a->busy.asked = now;
    a->busy.what = a->busy.pending;
    a->busy.done = done;
    a->busy.total = total;
    a->busy.seconds = now - a->busy.start;
    bool go_on = a->opt.progress(a->opt.progress_ctx, a, quiet);
    a->busy.what = NULL;
    return go_on;
}

qs_progress qs_app_busy(qs_app *a, const char *what) {
    a->busy.pending = what;
    a->busy.start = a->busy.asked = now_seconds();
    return (qs_progress){on_progress, a};
}

const qs_stats_entry *qs_app_stats(const qs_app *a, const qs_tensor *t) {
    for (size_t i = 0; i < a->stats_n; i++)
        if (a->stats[i].tensor == t) return &a->stats[i];
    return NULL;
}

static bool compute(qs_app *a, const qs_checkpoint *from, const qs_tensor *t, const char *what) {
    qs_stats_entry entry = {.from = from, .tensor = t};
    qs_err e = QS_ERR_INIT;
    qs_progress p = qs_app_busy(a, what);
    entry.failed = !qs_stats_compute(from, t, &entry.stats, &p, &e);
    if (e.code == QS_E_CANCELLED) return false;
    a->stats[a->stats_at] = entry;
    a->stats_at = (a->stats_at + 1) % QS_STATS_MAX;
    if (a->stats_n < QS_STATS_MAX) a->stats_n++;
    return true;
}

static bool has_values(const qs_tensor *t) {
    return t && !t->bad && (t->kind == QS_TENSOR_DENSE || t->kind == QS_TENSOR_QUANTIZED);
}

bool qs_app_want_stats(qs_app *a, const qs_checkpoint *from, const qs_tensor *t, bool idle) {
    if (!has_values(t)) return false;
    if (qs_app_stats(a, t)) return true;
    uint64_t n = qs_shape_numel(t->shape);
    if (n <= SMALL || (idle && n <= LARGE)) return compute(a, from, t, NULL);
    if (n <= LARGE) a->idle_wanted = true;
    return false;
}

bool qs_app_need_stats(qs_app *a, const qs_checkpoint *from, const qs_tensor *t) {
    return has_values(t) && (qs_app_stats(a, t) || compute(a, from, t, "reading the values"));
}

/* The values of the selected row, on both sides. */
static void selected_values(qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    if (i == QS_NO_INDEX) return;
    const qs_row *row = qs_compare_row(a->tree.c, i);
    const qs_resolution *r = qs_session_resolution(a->s);
    const qs_checkpoint *from = NULL, *b = qs_session_b(a->s);
    const qs_resolved *x = row->r == QS_NO_INDEX ? NULL : qs_resolution_entry(r, row->r);
    const qs_tensor *t = x ? qs_resolved_tensor(r, x, &from) : NULL;
    if (t) qs_app_want_stats(a, from, t, true);
    t = row->b == QS_NO_INDEX ? NULL : qs_entry_tensor(b, qs_checkpoint_entry(b, row->b));
    if (t) qs_app_want_stats(a, b, t, true);
}

void qs_app_idle(qs_app *a) {
    if (!qs_app_diagnose_while(a, NULL)) return; /* a key waits */
    if (a->values) return qs_values_stats(a, true);
    selected_values(a);
    qs_made_idle(a);
}
