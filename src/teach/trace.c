#include "teach/trace.h"

#include "base/map.h"
#include "base/vec.h"

#include <inttypes.h>
#include <stdlib.h>

enum { NONE = UINT32_MAX };

struct qs_trace {
    const qs_resolution *r;
    const qs_manifest *m;
    const qs_verdict *v;
    QS_VEC(qs_step) steps;
};

/* Findings by key, and those of keys the model does not have by the module that reports them. */
typedef struct finding_index {
    qs_map by_key;
    uint32_t *next;  /* [findings] the next one of the same key, or of the same module */
    uint32_t *first; /* [modules] foreign keys */
    uint32_t *last;
} finding_index;

static const qs_step_info infos[QS_STEP_COUNT] = {
#define QS_STEP(NAME, name, takes, error, help) {name, help, takes, error},
#include "teach/step.def"
#undef QS_STEP
};

const qs_step_info *qs_step_get(qs_step_kind k) {
    return &infos[(unsigned)k < QS_STEP_COUNT ? k : QS_STEP_KEEP];
}

static qs_step_kind kind_of(qs_finding_kind k) {
    switch (k) {
    case QS_FIND_MISSING: return QS_STEP_MISS;
    case QS_FIND_UNEXPECTED: return QS_STEP_UNEXPECTED;
    case QS_FIND_SIZE: return QS_STEP_SIZE;
    case QS_FIND_COPY: return QS_STEP_COPY;
    case QS_FIND_RAISES: return QS_STEP_RAISE;
    case QS_FIND_RESIZED: return QS_STEP_RESIZE;
    case QS_FIND_INJECTED: return QS_STEP_INJECT;
    case QS_FIND_CAST: return QS_STEP_CAST;
    case QS_FIND_TRUNCATED: return QS_STEP_TRUNCATE;
    case QS_FIND_FORWARD: return QS_STEP_FORWARD;
    case QS_FIND_OWN_CODE: return QS_STEP_CODE;
    }
    return QS_STEP_KEEP;
}

/* The deepest module of the target above a key. */
static uint32_t owner_of(const qs_manifest *m, qs_str key) {
    for (qs_str above = qs_str_parent(key); above.n; above = qs_str_parent(above)) {
        uint32_t i = qs_manifest_find_module(m, above);
        if (i != QS_MODULE_NONE) return i;
    }
    return 0;
}

static bool make_index(const qs_trace *t, finding_index *x, qs_err *e) {
    size_t n = qs_verdict_count(t->v), modules = qs_manifest_module_count(t->m);
    x->next = malloc((n + 1) * sizeof *x->next);
    x->first = malloc((modules + 1) * sizeof *x->first);
    x->last = malloc((modules + 1) * sizeof *x->last);
    if (!x->next || !x->first || !x->last || !qs_map_reserve(&x->by_key, n)) return qs_nomem(e);
    for (size_t i = 0; i < modules; i++) x->first[i] = NONE;
    for (size_t i = n; i-- > 0;) { /* from the end, so that a key's chain begins with its first finding */
        qs_str key = qs_verdict_finding(t->v, i)->key;
        if (qs_manifest_find(t->m, key) == NONE) continue;
        uint32_t old = qs_map_get(&x->by_key, key);
        x->next[i] = old == QS_MAP_NONE ? NONE : old;
        if (!qs_map_put(&x->by_key, key, (uint32_t)i)) return qs_nomem(e);
    }
    for (size_t i = 0; i < n; i++) {
        qs_str key = qs_verdict_finding(t->v, i)->key;
        if (qs_verdict_finding(t->v, i)->kind == QS_FIND_OWN_CODE)
            continue; /* the walk meets the module itself */
        if (qs_manifest_find(t->m, key) != NONE) continue;
        uint32_t at = owner_of(t->m, key);
        x->next[i] = NONE;
        if (x->first[at] == NONE)
            x->first[at] = (uint32_t)i;
        else
            x->next[x->last[at]] = (uint32_t)i;
        x->last[at] = (uint32_t)i;
    }
    return true;
}

static bool add(qs_trace *t, qs_step s, qs_err *e) {
    return qs_push(&t->steps, s) || qs_nomem(e);
}

static bool add_findings(qs_trace *t, const finding_index *x, uint32_t from, qs_step like, qs_err *e) {
    for (uint32_t i = from; i != NONE; i = x->next[i]) {
        const qs_finding *f = qs_verdict_finding(t->v, i);
        like.kind = kind_of(f->kind);
        like.key = f->key;
        like.repeats = f->repeats;
        like.note = f->note;
        if (!add(t, like, e)) return false;
    }
    return true;
}

/* The load ended with an exception. */
static bool raised(const qs_trace *t) {
    return t->steps.n && t->steps.v[t->steps.n - 1].kind == QS_STEP_RAISE;
}

static bool add_module(qs_trace *t, const finding_index *x, uint32_t at, uint32_t depth, qs_err *e) {
    const qs_module *mod = qs_manifest_module(t->m, at);
    qs_step s = {
        .kind = QS_STEP_ENTER, .module = at, .depth = depth, .repeats = 1, .key = mod->name, .note = ""};
    if (!add(t, s, e)) return false;
    if (mod->own_code.n) {
        s.kind = QS_STEP_CODE;
        s.note = mod->own_code.p;
        if (!add(t, s, e)) return false;
        s.note = "";
    }
    for (uint32_t i = 0; i < mod->entry_count; i++) {
        s.key = qs_manifest_entry(t->m, mod->first_entry + i)->key;
        uint32_t found = qs_map_get(&x->by_key, s.key);
        if (found != QS_MAP_NONE) {
            if (!add_findings(t, x, found, s, e)) return false;
            if (raised(t)) return true;
            continue;
        }
        s.kind = qs_resolution_find(t->r, s.key) == QS_NO_INDEX ? QS_STEP_KEEP : QS_STEP_TAKE;
        if (!add(t, s, e)) return false;
    }
    return raised(t) || add_findings(t, x, x->first[at], s, e);
}

/* Pre-order, children as they were registered; a child that is None is not entered. */
static bool walk(qs_trace *t, const finding_index *x, qs_err *e) {
    uint32_t at = 0, depth = 0;
    for (;;) {
        const qs_module *mod = qs_manifest_module(t->m, at);
        if (!mod->none && !add_module(t, x, at, depth, e)) return false;
        if (raised(t)) return true;
        if (!mod->none && mod->first_child != QS_MODULE_NONE) {
            at = mod->first_child;
            depth++;
            continue;
        }
        while (mod->next_sibling == QS_MODULE_NONE) {
            if (mod->parent == QS_MODULE_NONE) return true;
            mod = qs_manifest_module(t->m, mod->parent);
            depth--;
        }
        at = mod->next_sibling;
    }
}

bool qs_trace_make(const qs_resolution *r, const qs_verdict *v, qs_trace **out, qs_err *e) {
    const qs_manifest *m = qs_resolution_input(r)->target;
    if (!m || !v) return qs_fail(e, QS_E_USAGE, "a load needs a model: open a manifest or a second file");
    qs_trace *t = calloc(1, sizeof *t);
    if (!t) return qs_nomem(e);
    *t = (struct qs_trace){.r = r, .m = m, .v = v};
    finding_index x = {0};
    bool ok = make_index(t, &x, e) && walk(t, &x, e);
    qs_map_free(&x.by_key);
    free(x.next);
    free(x.first);
    free(x.last);
    if (ok)
        *out = t;
    else
        qs_trace_free(t);
    return ok;
}

void qs_trace_free(qs_trace *t) {
    if (!t) return;
    qs_vec_free(&t->steps);
    free(t);
}

size_t qs_trace_count(const qs_trace *t) {
    return t->steps.n;
}

const qs_step *qs_trace_step(const qs_trace *t, size_t i) {
    return i < t->steps.n ? &t->steps.v[i] : NULL;
}

size_t qs_trace_next_error(const qs_trace *t, size_t i, bool backwards) {
    for (; i < t->steps.n;
         i = backwards ? i - 1 : i + 1) /* i - 1 wraps around below 0, which ends it as well */
        if (qs_step_get(t->steps.v[i].kind)->error) return i;
    return SIZE_MAX;
}

void qs_trace_tally(const qs_trace *t, size_t i, size_t tally[QS_STEP_COUNT]) {
    memset(tally, 0, QS_STEP_COUNT * sizeof *tally);
    for (size_t k = 0; k <= i && k < t->steps.n; k++) tally[t->steps.v[k].kind]++;
}

static void add_name(qs_buf *out, qs_str name) {
    char text[512];
    qs_str_printable(name, text, sizeof text);
    qs_buf_addz(out, text);
}

static void enter_text(const qs_trace *t, const qs_step *s, bool brief, qs_buf *out) {
    const qs_module *mod = qs_manifest_module(t->m, s->module);
    int64_t file = qs_resolution_version(t->r, mod->name);
    qs_buf_addz(out, "enter ");
    add_name(out, !mod->name.n ? QS_STR("the model") : brief ? qs_str_leaf(mod->name) : mod->name);
    if (mod->class_name.n) {
        qs_buf_addz(out, " (");
        add_name(out, qs_str_leaf(mod->class_name));
        qs_buf_addz(out, ")");
    }
    if (file >= 0)
        qs_buf_addf(out, ", version %" PRId64 "%s", file, brief ? "" : " in _metadata");
    else
        qs_buf_addf(out, ", no version%s", brief ? "" : " in _metadata");
}

/* What follows the module's name in a key. */
static qs_str local_name(const qs_trace *t, const qs_step *s) {
    size_t n = qs_manifest_module(t->m, s->module)->name.n;
    return n && s->key.n > n ? qs_str_sub(s->key, n + 1, s->key.n) : s->key;
}

void qs_trace_text(const qs_trace *t, size_t i, bool brief, qs_buf *out) {
    const qs_step *s = qs_trace_step(t, i);
    if (!s) return;
    if (s->kind == QS_STEP_ENTER) return enter_text(t, s, brief, out);
    qs_buf_addf(out, "%s ", qs_step_get(s->kind)->name);
    if (s->kind == QS_STEP_CODE) { /* of the module just entered */
        qs_buf_addf(out, "of its own: %s", s->note);
        return;
    }
    add_name(out, brief ? local_name(t, s) : s->key);
    if (s->repeats > 1) qs_buf_addf(out, " (listed %" PRIu32 " times)", s->repeats);
    if (s->note && *s->note) qs_buf_addf(out, ": %s", s->note);
}
