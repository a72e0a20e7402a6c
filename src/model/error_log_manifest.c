/* From what a log says to what the model expects. */
#include "model/error_log.h"
#include "model/manifest_build.h"

typedef struct builder {
    const qs_error_log *log;
    const qs_checkpoint *a; /* may be NULL */
    const qs_limits *limits;
    qs_manifest *m;
    qs_log_summary *sum;
    qs_map unexpected, mismatch; /* by key */
    qs_err *err;
} builder;

static void contradict(builder *b, uint32_t *count, qs_str key) {
    (*count)++;
    if (!b->sum->example[0]) qs_str_printable(key, b->sum->example, sizeof b->sum->example);
}

static bool copy_shape(builder *b, qs_shape from, qs_expected *x) {
    int64_t *dim = NULL;
    if (from.ndim) {
        dim = QS_ARENA_ARRAY(&b->m->arena, from.ndim, int64_t);
        if (!dim) return qs_nomem(b->err);
        memcpy(dim, from.dim, from.ndim * sizeof *dim);
    }
    x->shape = (qs_shape){from.ndim, dim};
    x->shape_known = true;
    return true;
}

static const qs_tensor *tensor_of(const builder *b, qs_str key) {
    uint32_t i = b->a ? qs_checkpoint_find(b->a, key) : UINT32_MAX;
    return i == UINT32_MAX ? NULL : qs_entry_tensor(b->a, qs_checkpoint_entry(b->a, i));
}

/* Adds what the model expects under `key`. The shape comes from the log; where the key fitted, A's is the
 * model's. */
static bool add(builder *b, qs_str key, bool fitted) {
    qs_expected x = {.key = qs_arena_str(&b->m->arena, key)};
    if (!x.key.p) return qs_nomem(b->err);
    if (qs_manifest_find(b->m, x.key) != QS_MAP_NONE) return true;
    uint32_t i = qs_map_get(&b->mismatch, key);
    const qs_log_mismatch *wrong = i == QS_MAP_NONE ? NULL : &b->log->mismatches.v[i];
    const qs_tensor *t = tensor_of(b, key);
    if (wrong && wrong->shapes_known && !copy_shape(b, wrong->in_model, &x)) return false;
    if (fitted && t && !wrong && !copy_shape(b, t->shape, &x)) return false;
    if (fitted && t) x.dtype = t->dtype;
    return qs_manifest_add_entry(b->m, &x, b->limits, b->err);
}

static bool add_missing(builder *b) {
    for (size_t i = 0; i < b->log->missing.n; i++) {
        qs_str key = b->log->missing.v[i];
        if (b->a && qs_checkpoint_find(b->a, key) != UINT32_MAX)
            contradict(b, &b->sum->missing_but_there, key);
        if (!add(b, key, false)) return false;
    }
    return true;
}

static bool add_mismatched(builder *b) {
    for (size_t i = 0; i < b->log->mismatches.n; i++) {
        const qs_log_mismatch *wrong = &b->log->mismatches.v[i];
        const qs_tensor *t = tensor_of(b, wrong->key);
        if (t && wrong->shapes_known && !qs_shape_eq(t->shape, wrong->in_checkpoint))
            contradict(b, &b->sum->other_shape, wrong->key);
        if (!add(b, wrong->key, false)) return false;
    }
    return true;
}

static bool add_fitting(builder *b) {
    for (uint32_t i = 0; b->a && i < qs_checkpoint_count(b->a); i++) {
        qs_str key = qs_checkpoint_entry(b->a, i)->key;
        if (qs_map_get(&b->unexpected, key) == QS_MAP_NONE && !add(b, key, true)) return false;
    }
    return true;
}

static bool index_log(builder *b) {
    const qs_error_log *log = b->log;
    for (uint32_t i = 0; i < log->mismatches.n; i++)
        if (!qs_map_put(&b->mismatch, log->mismatches.v[i].key, i)) return qs_nomem(b->err);
    for (uint32_t i = 0; i < log->unexpected.n; i++) {
        qs_str key = log->unexpected.v[i];
        if (!qs_map_put(&b->unexpected, key, i)) return qs_nomem(b->err);
        if (b->a && qs_checkpoint_find(b->a, key) == UINT32_MAX)
            contradict(b, &b->sum->unexpected_not_there, key);
    }
    return true;
}

static void summarise(const qs_error_log *log, qs_log_summary *s) {
    *s = (qs_log_summary){.form = log->form,
                          .missing = (uint32_t)log->missing.n,
                          .missing_printed = log->missing_printed,
                          .unexpected = (uint32_t)log->unexpected.n,
                          .mismatched = (uint32_t)log->mismatches.n,
                          .truncated = log->truncated,
                          .matched_later = log->matched_later,
                          .line = log->line};
    qs_str_printable(log->model, s->model, sizeof s->model);
    qs_str_printable(log->excerpt, s->excerpt, sizeof s->excerpt);
}

static bool build(builder *b, const char *name) {
    b->m = qs_manifest_new(name);
    if (!b->m) return qs_nomem(b->err);
    b->m->model = qs_arena_str(&b->m->arena, b->log->model);
    if (!b->m->model.p) return qs_nomem(b->err);
    b->m->cut_off = b->log->truncated;
    return index_log(b) && add_missing(b) && add_mismatched(b) && add_fitting(b) &&
           qs_manifest_finish(b->m, b->err);
}

bool qs_log_manifest(const char *path, const qs_checkpoint *a, const qs_limits *limits, qs_manifest **out,
                     qs_log_summary *summary, qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    qs_error_log *log;
    qs_log_summary own;
    if (!limits) limits = &defaults;
    if (!qs_error_log_open(path, limits, &log, e)) return false;
    builder b = {.log = log, .a = a, .limits = limits, .sum = summary ? summary : &own, .err = e};
    summarise(log, b.sum);
    bool ok = build(&b, strcmp(path, "-") == 0 ? "standard input" : path);
    qs_map_free(&b.unexpected);
    qs_map_free(&b.mismatch);
    qs_error_log_close(log);
    if (ok)
        *out = b.m;
    else
        qs_manifest_close(b.m);
    return ok;
}

/* ---- beside another target ---- */

static void contradict_model(qs_log_summary *s, uint32_t *count, qs_str key) {
    (*count)++;
    if (!s->model_example[0]) qs_str_printable(key, s->model_example, sizeof s->model_example);
}

/* What is in A and in no list of the log fitted, unless the lists are cut off. */
static void compare_expected(const qs_manifest *of_log, const qs_checkpoint *a, const qs_manifest *target,
                             qs_log_summary *s) {
    for (uint32_t i = 0; i < qs_manifest_count(of_log); i++) {
        const qs_expected *x = qs_manifest_entry(of_log, i);
        uint32_t t = qs_manifest_find(target, x->key);
        const qs_expected *here = t == QS_MAP_NONE ? NULL : qs_manifest_entry(target, t);
        if (s->truncated && qs_checkpoint_find(a, x->key) != UINT32_MAX) continue;
        if (!here)
            contradict_model(s, &s->not_expected, x->key);
        else if (here->shape_known && x->shape_known && !qs_shape_eq(here->shape, x->shape))
            contradict_model(s, &s->other_model_shape, x->key);
    }
}

static void compare_unexpected(const qs_manifest *of_log, const qs_checkpoint *a, const qs_manifest *target,
                               qs_log_summary *s) {
    for (uint32_t i = 0; i < qs_checkpoint_count(a); i++) {
        qs_str key = qs_checkpoint_entry(a, i)->key;
        if (qs_manifest_find(of_log, key) == QS_MAP_NONE && qs_manifest_find(target, key) != QS_MAP_NONE)
            contradict_model(s, &s->expected, key);
    }
}

bool qs_log_evidence(const char *path, const qs_checkpoint *a, const qs_manifest *target,
                     const qs_limits *limits, qs_log_summary *summary, qs_err *e) {
    qs_manifest *of_log = NULL;
    if (!qs_log_manifest(path, a, limits, &of_log, summary, e)) return false;
    compare_expected(of_log, a, target, summary);
    compare_unexpected(of_log, a, target, summary);
    qs_manifest_close(of_log);
    return true;
}
