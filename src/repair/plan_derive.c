#include "repair/plan_derive.h"

#include "model/stats.h"
#include "repair/resolve_impl.h"

#include <math.h>
#include <stdlib.h>

typedef QS_VEC(qs_rename_pair) pairs;

/* ---- the inverse ---- */

typedef struct inverse {
    pairs made, moved, lost;
} inverse;

static bool sort_entry(inverse *x, const qs_resolution *r, const qs_work *w) {
    qs_str none = {"", 0};
    if (w->origin == QS_NO_INDEX)
        return w->state != QS_WORK_LIVE || qs_push(&x->made, (qs_rename_pair){w->x.key, none});
    qs_str was = qs_checkpoint_entry(r->in.a, w->origin)->key;
    bool live = w->state == QS_WORK_LIVE;
    if (live && !qs_str_eq(w->x.key, was) && !qs_push(&x->moved, (qs_rename_pair){w->x.key, was}))
        return false;
    return (live && w->x.a != QS_NO_INDEX && w->x.mark != QS_MARK_CONVERTED) ||
           qs_push(&x->lost, (qs_rename_pair){was, none});
}

static bool push_named(qs_plan *p, qs_action a, const pairs *keys, const char *comment, qs_err *e) {
    a.scope_kind = QS_SCOPE_KEYS;
    a.pairs = keys->v;
    a.pair_count = keys->n;
    a.comment = qs_str_of(comment);
    a.bn_eps = NAN;
    return keys->n == 0 || qs_plan_push(p, &a, e);
}

bool qs_plan_inverse(const qs_resolution *r, qs_plan **out, qs_inverse_gaps *gaps, qs_err *e) {
    inverse x = {0};
    qs_plan *p = qs_plan_new();
    bool ok = p != NULL;
    for (size_t i = 0; ok && i < r->work.n; i++) ok = sort_entry(&x, r, &r->work.v[i]);
    if (!ok) qs_nomem(e);
    ok = ok && push_named(p, (qs_action){.kind = QS_ACT_DROP}, &x.made, "made by the plan", e) &&
         push_named(p, (qs_action){.kind = QS_ACT_RENAME}, &x.moved, "the names from before the plan", e) &&
         push_named(p, (qs_action){.kind = QS_ACT_COPY, .replace = true}, &x.lost,
                    "dropped or overwritten by the plan: B is the original", e);
    if (ok) {
        *gaps = (qs_inverse_gaps){x.lost.n, r->dropped_top.n};
        *out = p;
    } else {
        qs_plan_free(p);
    }
    qs_vec_free(&x.made);
    qs_vec_free(&x.moved);
    qs_vec_free(&x.lost);
    return ok;
}

/* ---- preconditions ---- */

static bool expect_entry(const qs_checkpoint *a, const qs_change *s, bool content, qs_precondition *out,
                         qs_err *e) {
    const qs_tensor *t = qs_entry_tensor(a, qs_checkpoint_entry(a, s->a));
    *out = (qs_precondition){.key = s->before};
    if (!t || (t->kind == QS_TENSOR_OPAQUE && t->dtype == QS_DTYPE_UNKNOWN)) return true;
    out->has_shape = true;
    out->shape = t->shape;
    out->dtype = t->dtype;
    if (!content) return true;
    qs_err why = QS_ERR_INIT;
    out->has_crc32 = qs_tensor_crc32(a, t, &out->crc32, NULL, &why);
    if (out->has_crc32 || why.code == QS_E_UNSUPPORTED || why.code == QS_E_INPUT) return true;
    *e = why;
    return false;
}

typedef struct expecting {
    const qs_resolution *r;
    bool content;
    bool *overwritten; /* by entry of A: its value is no longer the file's */
    size_t step;       /* the next one */
    qs_plan *to;
} expecting;

/* Action i with preconditions on the entries whose name or value it changes. */
static bool push_expecting(expecting *x, uint32_t i, const qs_action *action, qs_err *e) {
    QS_VEC(qs_precondition) list = {0};
    bool ok = true;
    for (; ok && x->step < qs_resolution_change_count(x->r); x->step++) {
        qs_change s = qs_resolution_change(x->r, x->step);
        qs_precondition want;
        if (s.action != i) break;
        if (s.a == QS_NO_INDEX || x->overwritten[s.a]) continue;
        x->overwritten[s.a] = s.made;
        ok = expect_entry(x->r->in.a, &s, x->content, &want, e) && (qs_push(&list, want) || qs_nomem(e));
    }
    qs_action copy = *action;
    copy.expects = list.v;
    copy.expect_count = list.n;
    ok = ok && qs_plan_push(x->to, &copy, e);
    qs_vec_free(&list);
    return ok;
}

bool qs_plan_expecting(const qs_resolve_input *in, bool content, qs_plan **out, qs_err *e) {
    qs_resolve_input traced = *in;
    qs_resolution *r = NULL;
    traced.trace = true;
    if (!qs_resolve(&traced, &r, e)) return false;
    expecting x = {.r = r, .content = content, .to = qs_plan_new()};
    x.overwritten = calloc((size_t)qs_checkpoint_count(in->a) + 1, sizeof *x.overwritten);
    bool ok = (x.to && x.overwritten) || qs_nomem(e);
    for (size_t i = 0; ok && i < qs_plan_count(in->plan); i++)
        ok = push_expecting(&x, (uint32_t)i, qs_plan_action(in->plan, i), e);
    ok = ok && qs_plan_set_comment(x.to, qs_plan_comment(in->plan), e);
    free(x.overwritten);
    qs_resolution_free(r);
    if (ok)
        *out = x.to;
    else
        qs_plan_free(x.to);
    return ok;
}
