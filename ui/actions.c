#include "ui/app_impl.h"

#include "session_rescue.h"

#include <stdlib.h>

/* What the last n actions of the plan touched. */
static uint64_t touched_by_last(const qs_app *a, size_t n) {
    const qs_resolution *r = qs_session_resolution(a->s);
    size_t count = qs_plan_count(qs_session_plan(a->s));
    uint64_t sum = 0;
    for (size_t i = count > n ? count - n : 0; i < count; i++) sum += qs_resolution_touched(r, i);
    return sum;
}

/* The first reason why keys in the scope of the last n actions were left out, and how many were. */
static uint64_t skipped_by_last(const qs_app *a, size_t n, const char **why) {
    const qs_resolution *r = qs_session_resolution(a->s);
    size_t count = qs_plan_count(qs_session_plan(a->s));
    uint64_t sum = 0;
    *why = NULL;
    for (size_t i = count > n ? count - n : 0; i < count; i++) {
        const char *reason = NULL;
        sum += qs_resolution_skipped(r, i, &reason);
        if (!*why) *why = reason;
    }
    return sum;
}

static bool would_load(const qs_app *a) {
    const qs_verdict *v = qs_session_verdict(a->s);
    return v && qs_verdict_loads(v);
}

bool qs_app_do_all(qs_app *a, const qs_action *actions, size_t n, const char *verb) {
    qs_err e = QS_ERR_INIT;
    bool loaded = would_load(a);
    qs_tree_remember(&a->tree);
    bool ok = qs_session_do_all(a->s, actions, n, &e);
    if (!ok) {
        qs_app_fail(a, &e);
        return false;
    }
    qs_app_refresh(a);
    uint64_t keys = touched_by_last(a, n);
    const char *why;
    uint64_t skipped = skipped_by_last(a, n, &why);
    if (skipped)
        qs_app_say(a, "%llu %s %s, %llu left %s: %s", (unsigned long long)keys,
                   qs_plural(keys, "key", "keys"), verb, (unsigned long long)skipped,
                   actions->kind == QS_ACT_INIT || actions->kind == QS_ACT_COPY ? "missing" : "as they are",
                   why ? why : "they cannot be made from nothing");
    else
        qs_app_say(a, "%llu %s %s; %su undoes", (unsigned long long)keys,
                   n == 1 ? qs_action_unit(actions, keys) : qs_plural(keys, "key", "keys"), verb,
                   !loaded && would_load(a) ? "it would load now: w saves it, " : "");
    return true;
}

bool qs_app_do(qs_app *a, const qs_action *action, const char *verb) {
    return qs_app_do_all(a, action, 1, verb);
}

static void step_back_or_forth(qs_app *a, bool (*step)(qs_session *, qs_err *), const char *done) {
    qs_err e = QS_ERR_INIT;
    qs_tree_remember(&a->tree);
    if (!step(a->s, &e)) {
        if (e.code == QS_E_USAGE)
            qs_app_say(a, "%s", e.msg);
        else
            qs_app_fail(a, &e);
        return;
    }
    qs_app_refresh(a);
    size_t n = qs_plan_count(qs_session_plan(a->s));
    qs_app_say(a, "%s; the plan has %zu %s", done, n, qs_plural(n, "action", "actions"));
}

void qs_app_undo(qs_app *a) {
    step_back_or_forth(a, qs_session_undo, "undone");
}
void qs_app_redo(qs_app *a) {
    step_back_or_forth(a, qs_session_redo, "done again");
}

/* Marked rows in display order, or the rows below the cursor. */
bool qs_app_next_target(const qs_app *a, uint32_t *row) {
    const qs_tree *t = &a->tree;
    uint32_t node = t->marked ? 0 : qs_tree_selected(t);
    if (node == QS_NO_INDEX || !t->c) return false;
    while (qs_tree_next_below(t, node, row))
        if (!t->marked || qs_tree_row_has(t, *row, QS_KEY_MARKED)) return true;
    return false;
}

typedef QS_VEC(qs_rename_pair) pair_vec;

/* Keys among the targets that `wanted` accepts, as the pairs of a KEYS scope. */
static bool gather(const qs_app *a, bool (*wanted)(const qs_app *, const qs_row *), pair_vec *out) {
    for (uint32_t i = QS_NO_INDEX; qs_app_next_target(a, &i);) {
        const qs_row *row = qs_compare_row(a->tree.c, i);
        if (wanted(a, row) && !qs_push(out, (qs_rename_pair){.from = row->key})) return false;
    }
    return true;
}

static void act_on(qs_app *a, qs_action action, const pair_vec *keys, const char *verb) {
    if (keys->n == 1) {
        action.scope_kind = QS_SCOPE_KEY;
        action.scope = keys->v[0].from;
    } else {
        action.scope_kind = QS_SCOPE_KEYS;
        action.pairs = keys->v;
        action.pair_count = keys->n;
    }
    if (qs_app_do(a, &action, verb)) qs_tree_unmark_all(&a->tree);
}

static bool on_one_key(const qs_app *a) {
    return !a->tree.marked && qs_tree_selected_row(&a->tree) != QS_NO_INDEX;
}

static bool can_copy(const qs_app *a, const qs_row *row) {
    if (row->b == QS_NO_INDEX) return false;
    return on_one_key(a) || qs_status_get(row->status)->problem;
}

void qs_app_copy(qs_app *a) {
    pair_vec keys = {0};
    if (!qs_session_b(a->s)) {
        qs_app_say(a, "there is no B to copy from; B opens one");
    } else if (!gather(a, can_copy, &keys)) {
        qs_app_complain(a, "out of memory");
    } else if (keys.n == 0) {
        qs_app_say(a, "B has nothing here that is missing or does not fit");
    } else {
        act_on(a, (qs_action){.kind = QS_ACT_COPY, .replace = true, .bn_eps = __builtin_nan("")}, &keys,
               "copied from B");
    }
    qs_vec_free(&keys);
}

/* On one key: that key. On more, only what the model does not know: a slip must not empty a checkpoint. */
static bool can_drop(const qs_app *a, const qs_row *row) {
    if (row->r == QS_NO_INDEX || row->mark == QS_MARK_DROPPED) return false;
    return on_one_key(a) || row->status == QS_STATUS_UNEXPECTED || row->status == QS_STATUS_FATAL;
}

void qs_app_drop(qs_app *a) {
    pair_vec keys = {0};
    if (!gather(a, can_drop, &keys)) {
        qs_app_complain(a, "out of memory");
    } else if (keys.n == 0) {
        qs_app_say(a, on_one_key(a) ? "A has no such key to drop"
                                    : "nothing here is unexpected; drop keys one by one");
    } else {
        act_on(a, (qs_action){.kind = QS_ACT_DROP, .bn_eps = __builtin_nan("")}, &keys, "dropped");
    }
    qs_vec_free(&keys);
}

/* ---- other forms ---- */

enum { SIZES = 16 };

/* "16x1x1x1", "16 1 1 1", "16,1,1,1"; "[]" is a scalar. */
static bool read_sizes(qs_str text, int64_t *dim, uint32_t *n) {
    *n = 0;
    if (qs_str_is(text, "[]")) return true;
    for (size_t i = 0; i < text.n;) {
        int64_t v = 0;
        size_t digits = 0;
        for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && digits < 12; i++, digits++)
            v = v * 10 + (text.p[i] - '0');
        if (digits == 0 || *n == SIZES) return false;
        dim[(*n)++] = v;
        if (i < text.n && !strchr("x, ", text.p[i])) return false;
        i += i < text.n;
    }
    return *n > 0;
}

static bool can_convert(const qs_app *a, const qs_row *row) {
    (void)a;
    return row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
}

/* Below a module what cannot be converted stays; a key that was named is refused with the reason. */
static void convert(qs_app *a, qs_action action) {
    pair_vec keys = {0};
    uint32_t node = qs_tree_selected(&a->tree);
    bool subtree = !a->tree.marked && node != QS_NO_INDEX && qs_tree_is_module(&a->tree, node);
    action.bn_eps = __builtin_nan("");
    if (subtree) {
        action.scope_kind = QS_SCOPE_SUBTREE;
        action.scope = qs_compare_node(a->tree.c, node)->path;
        qs_app_do(a, &action, "converted");
    } else if (!gather(a, can_convert, &keys)) {
        qs_app_complain(a, "out of memory");
    } else if (keys.n == 0) {
        qs_app_say(a, "A has nothing here to convert");
    } else {
        act_on(a, action, &keys, "converted");
    }
    qs_vec_free(&keys);
}

void qs_app_convert(qs_app *a, qs_action_kind kind, qs_str form) {
    int64_t dim[SIZES];
    qs_action action = {.kind = kind};
    if (kind == QS_ACT_CAST && form.n && !(action.dtype = qs_dtype_parse(form)))
        return qs_app_complain(a, "\"%.*s\" is no dtype; float32, bfloat16, int32 are some", QS_FMT(form));
    if (kind == QS_ACT_RESHAPE && form.n) {
        if (!read_sizes(form, dim, &action.shape.ndim))
            return qs_app_complain(a, "give sizes as 16x1x1x1, or [] for a scalar");
        action.has_shape = true;
        action.shape.dim = action.shape.ndim ? dim : NULL;
    }
    convert(a, action);
}

void qs_app_versions(qs_app *a) {
    uint32_t node = qs_tree_selected(&a->tree);
    if (node == QS_NO_INDEX) return qs_app_say(a, "choose a module");
    qs_str path = qs_compare_node(a->tree.c, node)->path;
    if (!qs_tree_is_module(&a->tree, node)) path = qs_str_parent(path);
    qs_action action = {
        .kind = QS_ACT_METADATA, .scope_kind = QS_SCOPE_SUBTREE, .scope = path, .bn_eps = __builtin_nan("")};
    qs_app_do(a, &action, "given the model's version");
}

void qs_app_hangup(qs_app *a) {
    char path[QS_RESCUE_PATH_MAX];
    qs_err e = QS_ERR_INIT;
    if (qs_app_unsaved(a) && !a->opt.read_only)
        qs_session_rescue(a->s, path, &e); /* nobody is there to be told; the next start tells */
}
