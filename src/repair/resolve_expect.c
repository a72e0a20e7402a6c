/* What a plan wants to find, and the lists of what did and what did not apply. */
#include "model/stats.h"
#include "repair/resolve_impl.h"

bool qs_resolve_note(qs_resolution *r, uint32_t action, qs_str key, const char *why, bool left_out,
                     qs_err *e) {
    qs_unapplied x = {action, qs_arena_str(&r->arena, key), qs_arena_str(&r->arena, qs_str_of(why)).p,
                      left_out};
    return (x.key.p && x.why && qs_push(&r->unapplied, x)) || qs_nomem(e);
}

size_t qs_resolution_unapplied_count(const qs_resolution *r) {
    return r->unapplied.n;
}
const qs_unapplied *qs_resolution_unapplied(const qs_resolution *r, size_t i) {
    return &r->unapplied.v[i];
}

bool qs_resolve_trace(qs_resolution *r, uint32_t action, uint32_t work, qs_str before, qs_str after,
                      bool made, qs_err *e) {
    if (!r->in.trace) return true;
    uint32_t origin = r->work.v[work].origin;
    return qs_push(&r->steps, (qs_change){action, before, after, made, origin, work}) || qs_nomem(e);
}

size_t qs_resolution_change_count(const qs_resolution *r) {
    return r->steps.n;
}

qs_change qs_resolution_change(const qs_resolution *r, size_t i) {
    qs_change x = r->steps.v[i];
    bool live = r->work.v[x.result].state == QS_WORK_LIVE;
    x.result = !live ? QS_NO_INDEX : r->rank ? r->rank[x.result] : x.result;
    return x;
}

/* Why a precondition about the layout does not hold, or true. */
static bool layout_holds(const qs_precondition *want, const qs_tensor *t, char *why, size_t cap) {
    char expected[128], found[128];
    bool known = t->kind != QS_TENSOR_OPAQUE || t->dtype != QS_DTYPE_UNKNOWN;
    if (want->has_shape && !(known && qs_shape_eq(want->shape, t->shape))) {
        qs_shape_text(want->shape, "x", expected, sizeof expected);
        snprintf(found, sizeof found, "unknown");
        if (known) qs_shape_text(t->shape, "x", found, sizeof found);
        snprintf(why, cap, "expected shape %s, found %s", expected, found);
        return false;
    }
    if (want->dtype && want->dtype != t->dtype) {
        snprintf(why, cap, "expected %s, found %s", qs_dtype_get(want->dtype)->name,
                 qs_dtype_get(t->dtype)->name);
        return false;
    }
    return true;
}

/* As layout_holds, for the bytes. What cannot be read does not hold; only a failing system is an error. */
static bool content_holds(const qs_precondition *want, const qs_checkpoint *c, const qs_tensor *t, char *why,
                          size_t cap, qs_err *e) {
    uint32_t crc;
    qs_err unread = QS_ERR_INIT;
    if (!qs_tensor_crc32(c, t, &crc, NULL, &unread)) {
        if (unread.code == QS_E_INPUT || unread.code == QS_E_UNSUPPORTED)
            snprintf(why, cap, "%s", unread.msg);
        else
            *e = unread;
        return false;
    }
    if (crc == want->crc32) return true;
    snprintf(why, cap, "expected other values (crc32 %08x, found %08x)", want->crc32, crc);
    return false;
}

static bool holds_of(const qs_resolution *r, const qs_precondition *want, char *why, size_t cap, qs_err *e) {
    uint32_t i = qs_work_find(r, want->key);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = i == QS_NO_INDEX ? NULL : qs_resolved_tensor(r, &r->work.v[i].x, &from);
    bool bare = !want->has_shape && !want->dtype && !want->has_crc32;
    if (i == QS_NO_INDEX)
        snprintf(why, cap, "expected to be there, but there is no such key");
    else if (bare)
        return true;
    else if (!t)
        snprintf(why, cap, "%s",
                 r->work.v[i].x.mark == QS_MARK_INIT
                     ? "is made by the plan: a precondition is about what the file has"
                     : "expected a tensor, found another kind of value");
    else if (layout_holds(want, t, why, cap))
        return !want->has_crc32 || !r->in.check_content || content_holds(want, from, t, why, cap, e);
    return false;
}

bool qs_resolve_expect(qs_resolution *r, uint32_t index, bool *holds, qs_err *e) {
    const qs_action *a = qs_plan_action(r->in.plan, index);
    *holds = true;
    for (size_t i = 0; i < a->expect_count; i++) {
        char why[sizeof e->msg];
        qs_str key = a->expects[i].key;
        qs_err failed = QS_ERR_INIT;
        if (holds_of(r, &a->expects[i], why, sizeof why, &failed)) continue;
        if (failed.code) {
            *e = failed;
            return false;
        }
        *holds = false;
        if (!r->in.lenient)
            return qs_fail(e, QS_E_REFUSED, "action %u: %.*s: %s", index + 1, QS_FMT(key), why);
        if (!qs_resolve_note(r, index, key, why, false, e)) return false;
    }
    return true;
}
