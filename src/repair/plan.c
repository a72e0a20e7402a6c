#include "repair/plan.h"

#include "base/vec.h"
#include "repair/pattern.h"

#include <math.h>
#include <stdlib.h>

/* An action with the memory it points into. */
typedef struct held {
    qs_action action;
    qs_arena arena;
} held;

/* The history is a log of edits; undo takes the last step's edits back one by one. An action is owned by the
 * edit that pushed it, and so lives until that edit is forgotten. */
typedef enum edit_kind { EDIT_PUSH, EDIT_REMOVE, EDIT_MOVE } edit_kind;
typedef struct edit {
    edit_kind kind;
    uint64_t step; /* edits of one step are undone together; steps are never reused */
    size_t from, to;
    held *what; /* PUSH (owned), REMOVE (borrowed) */
} edit;

struct qs_plan {
    QS_VEC(held *) list; /* in force */
    QS_VEC(edit) log;    /* [0, at) done, the rest undone */
    size_t at;
    char *comment; /* NULL: none */
    size_t comment_n;
    uint64_t steps, saved; /* saved: the step that was last when the plan was saved; 0 for none */
};

qs_plan *qs_plan_new(void) {
    return calloc(1, sizeof(qs_plan));
}

static void held_free(held *h) {
    if (!h) return;
    qs_arena_free(&h->arena);
    free(h);
}

/* Drop the edits from `keep` on. */
static void forget(qs_plan *p, size_t keep) {
    for (size_t i = keep; i < p->log.n; i++)
        if (p->log.v[i].kind == EDIT_PUSH) held_free(p->log.v[i].what);
    p->log.n = keep;
}

void qs_plan_free(qs_plan *p) {
    if (!p) return;
    forget(p, 0);
    qs_vec_free(&p->log);
    qs_vec_free(&p->list);
    free(p->comment);
    free(p);
}

qs_str qs_plan_comment(const qs_plan *p) {
    return (qs_str){p->comment, p->comment_n};
}

bool qs_plan_set_comment(qs_plan *p, qs_str comment, qs_err *e) {
    char *copy = NULL;
    if (comment.n && !(copy = malloc(comment.n))) return qs_nomem(e);
    if (copy) memcpy(copy, comment.p, comment.n);
    free(p->comment);
    p->comment = copy;
    p->comment_n = comment.n;
    return true;
}

size_t qs_plan_count(const qs_plan *p) {
    return p->list.n;
}
const qs_action *qs_plan_action(const qs_plan *p, size_t i) {
    return i < p->list.n ? &p->list.v[i]->action : NULL;
}

static bool copy_text(qs_arena *arena, qs_str *s) {
    *s = qs_arena_str(arena, *s);
    return s->p != NULL;
}

static bool copy_pairs(held *h, const qs_action *a) {
    if (a->pair_count == 0) {
        h->action.pairs = NULL;
        return true;
    }
    qs_rename_pair *pairs = QS_ARENA_ARRAY(&h->arena, a->pair_count, qs_rename_pair);
    if (!pairs) return false;
    for (size_t i = 0; i < a->pair_count; i++) {
        pairs[i] = a->pairs[i];
        if (!copy_text(&h->arena, &pairs[i].from) || !copy_text(&h->arena, &pairs[i].to)) return false;
    }
    h->action.pairs = pairs;
    return true;
}

static bool copy_expects(held *h, const qs_action *a) {
    qs_precondition *list =
        a->expect_count ? QS_ARENA_ARRAY(&h->arena, a->expect_count, qs_precondition) : NULL;
    if (a->expect_count && !list) return false;
    for (size_t i = 0; i < a->expect_count; i++) {
        qs_shape shape = a->expects[i].shape;
        list[i] = a->expects[i];
        if (!copy_text(&h->arena, &list[i].key)) return false;
        list[i].shape.dim = NULL;
        if (shape.ndim == 0) continue;
        int64_t *dim = QS_ARENA_ARRAY(&h->arena, shape.ndim, int64_t);
        if (!dim) return false;
        memcpy(dim, shape.dim, shape.ndim * sizeof *dim);
        list[i].shape.dim = dim;
    }
    h->action.expects = list;
    return true;
}

static bool copy_shape(held *h, const qs_action *a) {
    h->action.shape.dim = NULL;
    if (!a->has_shape || a->shape.ndim == 0) return true;
    int64_t *dim = QS_ARENA_ARRAY(&h->arena, a->shape.ndim, int64_t);
    if (!dim) return false;
    memcpy(dim, a->shape.dim, a->shape.ndim * sizeof *dim);
    h->action.shape.dim = dim;
    return true;
}

static held *hold(const qs_action *a) {
    held *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    h->action = *a;
    if (copy_pairs(h, a) && copy_text(&h->arena, &h->action.pattern) &&
        copy_text(&h->arena, &h->action.replacement) && copy_text(&h->arena, &h->action.scope) &&
        copy_text(&h->arena, &h->action.comment) && copy_expects(h, a) && copy_shape(h, a))
        return h;
    held_free(h);
    return NULL;
}

static void list_insert(qs_plan *p, size_t i, held *h) {
    memmove(p->list.v + i + 1, p->list.v + i, (p->list.n - i) * sizeof *p->list.v);
    p->list.v[i] = h;
    p->list.n++;
}

static held *list_take(qs_plan *p, size_t i) {
    held *h = p->list.v[i];
    p->list.n--;
    memmove(p->list.v + i, p->list.v + i + 1, (p->list.n - i) * sizeof *p->list.v);
    return h;
}

static void apply(qs_plan *p, const edit *x) {
    switch (x->kind) {
    case EDIT_PUSH: list_insert(p, p->list.n, x->what); break;
    case EDIT_REMOVE: list_take(p, x->from); break;
    case EDIT_MOVE: list_insert(p, x->to, list_take(p, x->from)); break;
    }
}

static void revert(qs_plan *p, const edit *x) {
    switch (x->kind) {
    case EDIT_PUSH: list_take(p, p->list.n - 1); break;
    case EDIT_REMOVE: list_insert(p, x->from, x->what); break;
    case EDIT_MOVE: list_insert(p, x->from, list_take(p, x->to)); break;
    }
}

/* Record and do an edit. Room for the list is made here, so that undo and redo never allocate. */
static bool commit(qs_plan *p, edit x, qs_err *e) {
    if (!qs_reserve(&p->list, p->list.n + 1) || !qs_push(&p->log, x)) return qs_nomem(e);
    apply(p, &x);
    p->at = p->log.n;
    return true;
}

bool qs_plan_push_all(qs_plan *p, const qs_action *a, size_t n, qs_err *e) {
    if (n == 0) return true;
    forget(p, p->at);
    uint64_t step = ++p->steps;
    for (size_t i = 0; i < n; i++) {
        held *h = hold(&a[i]);
        if (h && commit(p, (edit){EDIT_PUSH, step, 0, 0, h}, e)) continue;
        held_free(h);
        if (i > 0) qs_plan_retract(p);
        return qs_nomem(e);
    }
    return true;
}

bool qs_plan_push(qs_plan *p, const qs_action *a, qs_err *e) {
    return qs_plan_push_all(p, a, 1, e);
}

static uint64_t step_at(const qs_plan *p, size_t at) {
    return at ? p->log.v[at - 1].step : 0;
}

bool qs_plan_can_undo(const qs_plan *p) {
    return p->at > 0;
}
bool qs_plan_can_redo(const qs_plan *p) {
    return p->at < p->log.n;
}

bool qs_plan_undo(qs_plan *p) {
    uint64_t step = step_at(p, p->at);
    if (!step) return false;
    while (step_at(p, p->at) == step) revert(p, &p->log.v[--p->at]);
    return true;
}

bool qs_plan_redo(qs_plan *p) {
    if (p->at == p->log.n) return false;
    uint64_t step = p->log.v[p->at].step;
    while (p->at < p->log.n && p->log.v[p->at].step == step) apply(p, &p->log.v[p->at++]);
    return true;
}

void qs_plan_retract(qs_plan *p) {
    if (qs_plan_undo(p)) forget(p, p->at);
}

bool qs_plan_remove(qs_plan *p, size_t i, qs_err *e) {
    if (i >= p->list.n) return qs_fail(e, QS_E_USAGE, "the plan has no action %zu", i + 1);
    forget(p, p->at);
    return commit(p, (edit){EDIT_REMOVE, ++p->steps, i, 0, p->list.v[i]}, e);
}

bool qs_plan_move(qs_plan *p, size_t from, size_t to, qs_err *e) {
    if (from >= p->list.n || to >= p->list.n)
        return qs_fail(e, QS_E_USAGE, "the plan has no action %zu", (from > to ? from : to) + 1);
    if (from == to) return true;
    forget(p, p->at);
    return commit(p, (edit){EDIT_MOVE, ++p->steps, from, to, NULL}, e);
}

bool qs_plan_replace(qs_plan *p, size_t i, const qs_action *a, qs_err *e) {
    if (i >= p->list.n) return qs_fail(e, QS_E_USAGE, "the plan has no action %zu", i + 1);
    held *h = hold(a);
    if (!h) return qs_nomem(e);
    forget(p, p->at);
    uint64_t step = ++p->steps;
    size_t last = p->list.n - 1;
    if (!commit(p, (edit){EDIT_REMOVE, step, i, 0, p->list.v[i]}, e)) return held_free(h), false;
    bool pushed = commit(p, (edit){EDIT_PUSH, step, 0, 0, h}, e);
    if (!pushed) held_free(h);
    if (pushed && (i == last || commit(p, (edit){EDIT_MOVE, step, last, i, NULL}, e))) return true;
    qs_plan_retract(p);
    return false;
}

bool qs_plan_modified(const qs_plan *p) {
    return step_at(p, p->at) != p->saved;
}
void qs_plan_mark_saved(qs_plan *p) {
    p->saved = step_at(p, p->at);
}

const char *qs_action_kind_name(qs_action_kind k) {
    switch (k) {
    case QS_ACT_RENAME: return "rename";
    case QS_ACT_RULE: return "rule";
    case QS_ACT_INIT: return "init";
    case QS_ACT_COPY: return "copy";
    case QS_ACT_DROP: return "drop";
    case QS_ACT_CAST: return "cast";
    case QS_ACT_RESHAPE: return "reshape";
    case QS_ACT_METADATA: return "metadata";
    }
    return "?";
}

const char *qs_action_unit(const qs_action *a, uint64_t n) {
    if (a->kind == QS_ACT_METADATA) return n == 1 ? "module" : "modules";
    return n == 1 ? "key" : "keys";
}

static bool eps_eq(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static bool pairs_eq(const qs_action *a, const qs_action *b) {
    if (a->pair_count != b->pair_count) return false;
    for (size_t i = 0; i < a->pair_count; i++)
        if (!qs_str_eq(a->pairs[i].from, b->pairs[i].from) || !qs_str_eq(a->pairs[i].to, b->pairs[i].to))
            return false;
    return true;
}

static bool scope_eq(const qs_action *a, const qs_action *b) {
    if (a->scope_kind != b->scope_kind) return false;
    return a->scope_kind == QS_SCOPE_KEYS ? pairs_eq(a, b) : qs_str_eq(a->scope, b->scope);
}

static bool expects_eq(const qs_action *a, const qs_action *b) {
    if (a->expect_count != b->expect_count) return false;
    for (size_t i = 0; i < a->expect_count; i++) {
        const qs_precondition *x = &a->expects[i], *y = &b->expects[i];
        if (!qs_str_eq(x->key, y->key) || x->has_shape != y->has_shape || x->dtype != y->dtype ||
            x->has_crc32 != y->has_crc32)
            return false;
        if (x->has_shape && !qs_shape_eq(x->shape, y->shape)) return false;
        if (x->has_crc32 && x->crc32 != y->crc32) return false;
    }
    return true;
}

bool qs_action_eq(const qs_action *a, const qs_action *b) {
    if (a->kind != b->kind || a->off != b->off || !qs_str_eq(a->comment, b->comment) || !expects_eq(a, b))
        return false;
    switch (a->kind) {
    case QS_ACT_RENAME: return pairs_eq(a, b);
    case QS_ACT_RULE:
        return a->pattern_kind == b->pattern_kind && qs_str_eq(a->pattern, b->pattern) &&
               qs_str_eq(a->replacement, b->replacement);
    case QS_ACT_INIT:
        return scope_eq(a, b) && a->source == b->source && eps_eq(a->bn_eps, b->bn_eps) &&
               a->replace == b->replace;
    case QS_ACT_COPY:
    case QS_ACT_METADATA: return scope_eq(a, b) && a->replace == b->replace;
    case QS_ACT_DROP: return scope_eq(a, b);
    case QS_ACT_CAST: return scope_eq(a, b) && a->dtype == b->dtype;
    case QS_ACT_RESHAPE:
        return scope_eq(a, b) && a->has_shape == b->has_shape &&
               (!a->has_shape || qs_shape_eq(a->shape, b->shape));
    }
    return false;
}

static void describe_scope(const qs_action *a, qs_buf *b) {
    switch (a->scope_kind) {
    case QS_SCOPE_KEY: qs_buf_add(b, a->scope); break;
    case QS_SCOPE_SUBTREE:
        if (a->scope.n)
            qs_buf_addf(b, "%.*s.*", QS_FMT(a->scope));
        else
            qs_buf_addz(b, "everything");
        break;
    case QS_SCOPE_KEYS:
        if (a->pair_count == 1)
            qs_buf_add(b, a->pairs[0].from);
        else
            qs_buf_addf(b, "%zu keys", a->pair_count);
        break;
    case QS_SCOPE_REGEX: qs_buf_addf(b, "/%.*s/", QS_FMT(a->scope)); break;
    case QS_SCOPE_TOP: qs_buf_addf(b, "%.*s, beside the state dict", QS_FMT(a->scope)); break;
    }
}

/* "keys as int32", "keys as 16x1x1x1" */
static void describe_form(const qs_action *a, qs_buf *b) {
    char shape[128] = "the model has it";
    describe_scope(a, b);
    if (a->kind == QS_ACT_CAST && a->dtype)
        snprintf(shape, sizeof shape, "%s", qs_dtype_get(a->dtype)->name);
    else if (a->kind == QS_ACT_RESHAPE && a->has_shape)
        qs_shape_text(a->shape, "x", shape, sizeof shape);
    qs_buf_addf(b, " as %s", shape);
}

static void describe_rename(const qs_action *a, qs_buf *b) {
    if (a->pair_count == 0) {
        qs_buf_addz(b, "nothing");
        return;
    }
    qs_buf_addf(b, "%.*s -> %.*s", QS_FMT(a->pairs[0].from), QS_FMT(a->pairs[0].to));
    if (a->pair_count > 1) qs_buf_addf(b, "  and %zu more", a->pair_count - 1);
}

static void describe_rule(const qs_action *a, qs_buf *b) {
    if (a->pattern_kind != QS_PATTERN_REGEX) qs_buf_addf(b, "%s ", qs_pattern_kind_name(a->pattern_kind));
    if (a->pattern_kind != QS_PATTERN_PREFIX || (a->pattern.n && a->replacement.n))
        qs_buf_addf(b, "%.*s -> %.*s", QS_FMT(a->pattern), QS_FMT(a->replacement));
    else if (a->pattern.n)
        qs_buf_addf(b, "%.*s taken away", QS_FMT(a->pattern));
    else
        qs_buf_addf(b, "%.*s put before", QS_FMT(a->replacement));
}

size_t qs_action_describe(const qs_action *a, char *out, size_t cap) {
    qs_buf b = {0};
    qs_buf_addf(&b, "%-6s ", qs_action_kind_name(a->kind));
    switch (a->kind) {
    case QS_ACT_RENAME: describe_rename(a, &b); break;
    case QS_ACT_RULE: describe_rule(a, &b); break;
    case QS_ACT_INIT:
        describe_scope(a, &b);
        qs_buf_addf(&b, " · %s", qs_init_source_name(a->source));
        break;
    case QS_ACT_COPY:
        describe_scope(a, &b);
        qs_buf_addz(&b, " from B");
        break;
    case QS_ACT_DROP: describe_scope(a, &b); break;
    case QS_ACT_CAST:
    case QS_ACT_RESHAPE: describe_form(a, &b); break;
    case QS_ACT_METADATA:
        describe_scope(a, &b);
        qs_buf_addz(&b, " · the model's versions");
        break;
    }
    if (a->replace) qs_buf_addz(&b, ", existing too");
    size_t n = qs_str_printable(qs_buf_str(&b), out, cap);
    qs_buf_free(&b);
    return n;
}
