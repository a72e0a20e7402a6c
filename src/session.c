#include "session.h"

#include "base/file.h"
#include "base/map.h"
#include "base/tempfile.h"
#include "base/vec.h"
#include "repair/pattern.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* Everything that follows from (documents, plan). Made anew on each change and swapped in whole, so that a
 * failure leaves the old one. */
typedef struct derived {
    qs_resolution *resolution;
    qs_verdict *verdict;
    qs_compare *compare;
    qs_matches *matches;     /* on demand */
    qs_diagnosis *diagnosis; /* on demand */
    qs_strict_version versions[QS_STRICT_VERSIONS];
    bool has_versions; /* on demand */
} derived;

struct qs_session {
    qs_session_options opt;
    char *root; /* copy of opt.open.root */
    qs_checkpoint *a, *b;
    qs_manifest *manifest; /* opened */
    qs_manifest *of_b;     /* made from B */
    qs_plan *plan;
    derived d;
    uint64_t revision;
    const qs_progress *watch;
    bool check_content; /* of preconditions, while a plan or another A is taken in */
};

static void derived_free(derived *d) {
    qs_diagnosis_free(d->diagnosis);
    qs_matches_free(d->matches);
    qs_compare_free(d->compare);
    qs_verdict_free(d->verdict);
    qs_resolution_free(d->resolution);
    *d = (derived){0};
}

static void documents_free(qs_session *s) {
    derived_free(&s->d);
    qs_manifest_close(s->manifest);
    qs_manifest_close(s->of_b);
    qs_checkpoint_close(s->b);
    qs_checkpoint_close(s->a);
}

qs_session *qs_session_new(const qs_session_options *opt) {
    qs_session *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->opt = opt ? *opt : QS_SESSION_OPTIONS_DEFAULT;
    s->opt.strict.strict = true;
    s->plan = qs_plan_new();
    if (s->opt.open.root) {
        s->root = strdup(s->opt.open.root);
        s->opt.open.root = s->root;
    }
    if (s->plan && (!opt || !opt->open.root || s->root)) return s;
    qs_session_free(s);
    return NULL;
}

void qs_session_free(qs_session *s) {
    if (!s) return;
    documents_free(s);
    qs_plan_free(s->plan);
    free(s->root);
    free(s);
}

/* ---- documents ---- */

bool qs_session_open_a(qs_session *s, const char *path, qs_err *e) {
    qs_checkpoint *c = NULL;
    if (!qs_checkpoint_open(path, &s->opt.open, &c, e)) return false;
    derived_free(&s->d); /* it points into the old document */
    qs_checkpoint_close(s->a);
    s->a = c;
    return true;
}

bool qs_session_open_b(qs_session *s, const char *path, qs_err *e) {
    qs_checkpoint *c = NULL;
    qs_manifest *m = NULL;
    if (!qs_checkpoint_open(path, &s->opt.open, &c, e)) return false;
    if (!qs_manifest_from_checkpoint(c, &m, e)) {
        qs_checkpoint_close(c);
        return false;
    }
    derived_free(&s->d);
    qs_manifest_close(s->of_b);
    qs_checkpoint_close(s->b);
    s->b = c;
    s->of_b = m;
    return true;
}

bool qs_session_open_manifest(qs_session *s, const char *path, qs_err *e) {
    qs_manifest *m = NULL;
    if (!qs_manifest_open(path, &s->opt.open.limits, &m, e)) return false;
    derived_free(&s->d);
    qs_manifest_close(s->manifest);
    s->manifest = m;
    return true;
}

bool qs_session_open_log(qs_session *s, const char *path, bool evidence_only, qs_log_summary *summary,
                         qs_err *e) {
    qs_manifest *m = NULL;
    if (evidence_only)
        return qs_log_evidence(path, s->a, qs_session_target(s), &s->opt.open.limits, summary, e);
    if (!qs_log_manifest(path, s->a, &s->opt.open.limits, &m, summary, e)) return false;
    derived_free(&s->d);
    qs_manifest_close(s->manifest);
    s->manifest = m;
    return true;
}

const qs_checkpoint *qs_session_a(const qs_session *s) {
    return s->a;
}
const qs_checkpoint *qs_session_b(const qs_session *s) {
    return s->b;
}
const qs_manifest *qs_session_target(const qs_session *s) {
    return s->manifest ? s->manifest : s->of_b;
}
bool qs_session_target_is_b(const qs_session *s) {
    return !s->manifest && s->of_b;
}
const qs_plan *qs_session_plan(const qs_session *s) {
    return s->plan;
}
const qs_resolution *qs_session_resolution(const qs_session *s) {
    return s->d.resolution;
}
const qs_verdict *qs_session_verdict(const qs_session *s) {
    return s->d.verdict;
}
const qs_compare *qs_session_compare(const qs_session *s) {
    return s->d.compare;
}
uint64_t qs_session_revision(const qs_session *s) {
    return s->revision;
}

/* ---- derived data ---- */

static bool resolve(const qs_session *s, const qs_plan *plan, qs_resolution **out, qs_err *e) {
    if (!s->a) return qs_fail(e, QS_E_USAGE, "no checkpoint is open");
    qs_resolve_input in = {.a = s->a,
                           .b = s->b,
                           .target = qs_session_target(s),
                           .plan = plan,
                           .lenient = s->opt.lenient,
                           .check_content = s->check_content};
    return qs_resolve(&in, out, e);
}

/* `progress` is asked between the steps; NULL is fine. */
static bool derive(const qs_session *s, derived *d, const qs_progress *progress, qs_err *e) {
    enum { STEPS = 3 };
    if (!resolve(s, s->plan, &d->resolution, e) || !qs_progress_step(progress, 1, STEPS, e)) return false;
    const qs_manifest *target = qs_session_target(s);
    if (target) {
        qs_strict_source src = qs_strict_source_of_resolution(d->resolution);
        if (!qs_strict_run(target, &src, &s->opt.strict, &d->verdict, e)) return false;
    }
    if (!qs_progress_step(progress, 2, STEPS, e)) return false;
    return qs_compare_again(s->d.compare, d->resolution, d->verdict, &d->compare, e);
}

bool qs_session_refresh(qs_session *s, qs_err *e) {
    derived d = {0};
    if (!derive(s, &d, s->opt.open.limits.progress, e)) {
        derived_free(&d);
        return false;
    }
    derived_free(&s->d);
    s->d = d;
    s->revision++;
    return true;
}

/* ---- other documents in an open session ---- */

/* Opens into *n what takes a document's place. */
static bool open_new(const qs_session *s, const qs_exchange *x, qs_session *n, qs_log_summary *summary,
                     qs_err *e) {
    qs_open_options open = s->opt.open;
    open.root = x->root;
    open.limits.progress = x->progress;
    if (!x->path && x->what == QS_DOCUMENT_A) return qs_fail(e, QS_E_USAGE, "there is always an A");
    if (!x->path) return true;
    switch (x->what) {
    case QS_DOCUMENT_A: return qs_checkpoint_open(x->path, &open, &n->a, e);
    case QS_DOCUMENT_B:
        return qs_checkpoint_open(x->path, &open, &n->b, e) && qs_progress_step(x->progress, 0, 3, e) &&
               qs_manifest_from_checkpoint(n->b, &n->of_b, e);
    case QS_DOCUMENT_MANIFEST: return qs_manifest_open(x->path, &open.limits, &n->manifest, e);
    case QS_DOCUMENT_LOG: return qs_log_manifest(x->path, s->a, &open.limits, &n->manifest, summary, e);
    }
    return false;
}

/* The documents of `from` that an exchange is about go to `to`. */
static void move_documents(qs_session *to, qs_session *from, qs_document what) {
    if (what == QS_DOCUMENT_A) {
        to->a = from->a, from->a = NULL;
    } else if (what == QS_DOCUMENT_B) {
        to->b = from->b, from->b = NULL;
        to->of_b = from->of_b, from->of_b = NULL;
    } else {
        to->manifest = from->manifest, from->manifest = NULL;
    }
}

bool qs_session_exchange(qs_session *s, const qs_exchange *x, qs_log_summary *summary, bool *plan_fails,
                         qs_err *e) {
    qs_session fresh = {0}, old = {0};
    derived d = {0};
    *plan_fails = false;
    if (!open_new(s, x, &fresh, summary, e)) return documents_free(&fresh), false;
    qs_plan *empty = x->forget_plan ? qs_plan_new() : NULL, *plan = s->plan;
    bool ok = !x->forget_plan || empty || qs_nomem(e);
    move_documents(&old, s, x->what);
    move_documents(s, &fresh, x->what);
    if (empty) s->plan = empty;
    s->check_content = x->what == QS_DOCUMENT_A;
    if (ok && !derive(s, &d, x->progress, e)) {
        ok = false;
        *plan_fails = e->code == QS_E_REFUSED && qs_plan_count(s->plan) > 0;
    }
    if (ok) {
        old.d = s->d;
        s->d = d;
        s->revision++;
        if (empty) qs_plan_free(plan);
    } else {
        derived_free(&d);
        move_documents(&fresh, s, x->what);
        move_documents(s, &old, x->what);
        s->plan = plan;
        qs_plan_free(empty);
        documents_free(&fresh);
    }
    s->check_content = false;
    documents_free(&old);
    return ok;
}

const qs_strict_version *qs_session_versions(qs_session *s) {
    const qs_manifest *target = qs_session_target(s);
    qs_err e = QS_ERR_INIT;
    if (!s->d.has_versions && target && s->d.resolution) {
        qs_strict_source src = qs_strict_source_of_resolution(s->d.resolution);
        qs_strict_options opt = s->opt.strict;
        opt.progress = s->watch;
        s->d.has_versions = qs_strict_versions(target, &src, &opt, s->d.versions, &e);
    }
    return s->d.has_versions ? s->d.versions : NULL;
}

void qs_session_watch(qs_session *s, const qs_progress *progress) {
    s->watch = progress;
}

const qs_matches *qs_session_matches(qs_session *s) {
    qs_err e = QS_ERR_INIT;
    if (!s->d.matches && s->d.compare) (void)qs_match_all_while(s->d.compare, s->watch, &s->d.matches, &e);
    return s->d.matches;
}

const qs_diagnosis *qs_session_diagnosis(qs_session *s) {
    qs_err e = QS_ERR_INIT;
    const qs_matches *m = qs_session_matches(s);
    if (!s->d.diagnosis && m) {
        qs_diagnose_options opt = {
            .source = s->opt.init, .bn_eps = s->opt.bn_eps, .guess = s->opt.guess, .strict = s->opt.strict};
        opt.strict.progress = s->watch;
        (void)qs_diagnose(s->d.compare, m, &opt, &s->d.diagnosis, &e);
    }
    return s->d.diagnosis;
}

/* ---- the plan ---- */

/* --bn-eps goes into the actions, so that a saved plan gives the same values when it is replayed. */
static qs_action with_eps(const qs_session *s, const qs_action *a) {
    qs_action copy = *a;
    if (a->kind == QS_ACT_INIT && isnan(a->bn_eps)) copy.bn_eps = s->opt.bn_eps;
    return copy;
}

bool qs_session_do_all(qs_session *s, const qs_action *a, size_t n, qs_err *e) {
    if (n == 0) return true;
    QS_VEC(qs_action) list = {0};
    bool ok = qs_reserve(&list, n) || qs_nomem(e);
    for (size_t i = 0; ok && i < n; i++) list.v[list.n++] = with_eps(s, &a[i]);
    ok = ok && qs_plan_push_all(s->plan, list.v, n, e);
    qs_vec_free(&list);
    if (!ok) return false;
    if (qs_session_refresh(s, e)) return true;
    qs_plan_retract(s->plan);
    return false;
}

bool qs_session_do(qs_session *s, const qs_action *a, qs_err *e) {
    return qs_session_do_all(s, a, 1, e);
}

bool qs_session_undo(qs_session *s, qs_err *e) {
    if (!qs_plan_undo(s->plan)) return qs_fail(e, QS_E_USAGE, "nothing to undo");
    if (qs_session_refresh(s, e)) return true;
    qs_plan_redo(s->plan);
    return false;
}

bool qs_session_redo(qs_session *s, qs_err *e) {
    if (!qs_plan_redo(s->plan)) return qs_fail(e, QS_E_USAGE, "nothing to redo");
    if (qs_session_refresh(s, e)) return true;
    qs_plan_undo(s->plan);
    return false;
}

/* Recompute after an edit of the list; an edit that leaves actions which cannot apply is taken back. */
static bool settle(qs_session *s, qs_err *e) {
    if (qs_session_refresh(s, e)) return true;
    qs_plan_retract(s->plan);
    return false;
}

bool qs_session_plan_remove(qs_session *s, size_t i, qs_err *e) {
    return qs_plan_remove(s->plan, i, e) && settle(s, e);
}

bool qs_session_plan_move(qs_session *s, size_t from, size_t to, qs_err *e) {
    if (from == to && from < qs_plan_count(s->plan)) return true;
    return qs_plan_move(s->plan, from, to, e) && settle(s, e);
}

bool qs_session_plan_replace(qs_session *s, size_t i, const qs_action *a, qs_err *e) {
    qs_action copy = with_eps(s, a);
    return qs_plan_replace(s->plan, i, &copy, e) && settle(s, e);
}

bool qs_session_plan_edit(qs_session *s, size_t i, qs_str json, qs_err *e) {
    qs_buf text = {0};
    qs_plan *parsed = NULL;
    qs_buf_addz(&text, "{\"format\": \"qatscope-plan\", \"version\": 1, \"actions\": [");
    qs_buf_add(&text, json);
    qs_buf_addz(&text, "]}");
    bool ok = !text.failed || qs_nomem(e);
    ok = ok && qs_plan_parse(text.p, text.n, "the action", &s->opt.open.limits, &parsed, e);
    if (ok && qs_plan_count(parsed) != 1) ok = qs_fail(e, QS_E_INPUT, "give one action: {\"op\": ...}");
    ok = ok && qs_session_plan_replace(s, i, qs_plan_action(parsed, 0), e);
    qs_plan_free(parsed);
    qs_buf_free(&text);
    return ok;
}

bool qs_session_load_plan(qs_session *s, const char *path, qs_err *e) {
    char *json = NULL;
    size_t n = 0;
    qs_plan *loaded = NULL;
    if (!qs_file_slurp_json(path, &s->opt.open.limits, &json, &n, e)) return false;
    bool ok = qs_plan_parse(json, n, path, &s->opt.open.limits, &loaded, e);
    free(json);
    if (!ok) return false;
    QS_VEC(qs_action) list = {0};
    for (size_t i = 0; ok && i < qs_plan_count(loaded); i++)
        ok = qs_push(&list, *qs_plan_action(loaded, i)) || qs_nomem(e);
    bool was_empty = qs_plan_count(s->plan) == 0;
    s->check_content = true;
    ok = ok && qs_session_do_all(s, list.v, list.n, e);
    s->check_content = false;
    if (ok && was_empty) ok = qs_plan_set_comment(s->plan, qs_plan_comment(loaded), e);
    if (ok && was_empty) qs_plan_mark_saved(s->plan);
    qs_vec_free(&list);
    qs_plan_free(loaded);
    return ok;
}

static bool write_all(int fd, const char *p, size_t n, const char *path, qs_err *e) {
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return qs_fail_errno(e, QS_E_IO, errno, "%s: cannot write", path);
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static bool may_replace_target(const qs_session *s, const char *path, qs_err *e) {
    return !s->manifest || !qs_file_same_path(path, qs_manifest_name(s->manifest)) ||
           qs_fail(e, QS_E_REFUSED, "%s: says what the model expects; choose another name", path);
}

bool qs_session_may_write(const qs_session *s, const char *path, qs_err *e) {
    const qs_checkpoint *const files[] = {s->a, s->b};
    for (int i = 0; i < 2; i++)
        if (files[i] && qs_container_uses(qs_checkpoint_container(files[i]), path))
            return qs_fail(e, QS_E_REFUSED, "%s: is checkpoint %c; choose another name", path, "AB"[i]);
    return may_replace_target(s, path, e);
}

bool qs_session_save_plan(qs_session *s, const char *path, qs_err *e) {
    if (!qs_session_may_write(s, path, e)) return false;
    qs_buf json = {0};
    qs_temp *t = NULL;
    bool ok = false;
    if (!qs_plan_print(s->plan, &json)) {
        qs_nomem(e);
        goto done;
    }
    if (!qs_temp_create(path, &t, e)) goto done;
    if (!write_all(qs_temp_fd(t), json.p, json.n, path, e)) {
        qs_temp_discard(t);
        goto done;
    }
    ok = qs_temp_publish(t, NULL, e);
    if (ok) qs_plan_mark_saved(s->plan);
done:
    qs_buf_free(&json);
    return ok;
}

/* A plan of its own: the session's actions and one more. */
static qs_plan *plan_with(const qs_session *s, const qs_action *a, qs_err *e) {
    qs_plan *p = qs_plan_new();
    bool ok = p || qs_nomem(e);
    for (size_t i = 0; ok && i < qs_plan_count(s->plan); i++)
        ok = qs_plan_push(p, qs_plan_action(s->plan, i), e);
    qs_action copy = with_eps(s, a);
    if (ok && qs_plan_push(p, &copy, e)) return p;
    qs_plan_free(p);
    return NULL;
}

bool qs_session_try(const qs_session *s, const qs_action *a, uint32_t *touched, qs_err *e) {
    qs_plan *p = plan_with(s, a, e);
    qs_resolution *r = NULL;
    bool ok = p && resolve(s, p, &r, e);
    if (ok) *touched = qs_resolution_touched(r, qs_plan_count(p) - 1);
    qs_resolution_free(r);
    qs_plan_free(p);
    return ok;
}

/* ---- preview of a rule ---- */

typedef struct preview {
    const qs_resolution *r;
    qs_arena names;
    QS_VEC(qs_rename_pair) pairs;
    qs_map from, to; /* index of the pair that moves from / to a name; for `to` the first one */
} preview;

static bool preview_collect(preview *v, const qs_action *rule, qs_err *e) {
    qs_pattern *p = NULL;
    qs_buf name = {0};
    if (!qs_pattern_compile(rule->pattern_kind, rule->pattern, rule->replacement, &p, e)) return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_resolution_live(v->r); i++) {
        qs_str key = qs_resolution_entry(v->r, i)->key;
        bool matched = false;
        name.n = 0;
        ok = qs_pattern_replace(p, key, &name, &matched, e);
        if (!ok || !matched || qs_str_eq(key, qs_buf_str(&name))) continue;
        qs_str to = qs_arena_str(&v->names, qs_buf_str(&name));
        uint32_t at = (uint32_t)v->pairs.n;
        ok = (to.p && qs_push(&v->pairs, (qs_rename_pair){key, to}) && qs_map_put(&v->from, key, at)) ||
             qs_nomem(e);
    }
    qs_buf_free(&name);
    qs_pattern_free(p);
    return ok;
}

/* A name is taken if an entry that does not itself move has it, or if two entries move there. `clash` has a
 * byte a pair. */
static bool preview_clashes(preview *v, char *clash, qs_err *e) {
    for (uint32_t i = 0; i < v->pairs.n; i++) {
        qs_str to = v->pairs.v[i].to;
        uint32_t first = qs_map_add(&v->to, to, i);
        if (first == QS_MAP_NONE) return qs_nomem(e);
        if (first != i) clash[i] = clash[first] = 1;
        bool there = qs_resolution_find(v->r, to) != QS_NO_INDEX && qs_map_get(&v->from, to) == QS_MAP_NONE;
        if (there || to.n == 0) clash[i] = 1;
    }
    return true;
}

/* Those that collide come first: they are what a person must see. */
static bool preview_report(const preview *v, const char *clash, qs_arena *arena, qs_rename_pair *out,
                           bool *collides, size_t max, size_t *collisions, qs_err *e) {
    size_t n = 0;
    *collisions = 0;
    for (int wanted = 1; wanted >= 0; wanted--) {
        for (size_t i = 0; i < v->pairs.n; i++) {
            if (clash[i] != wanted) continue;
            *collisions += (size_t)wanted;
            if (n == max) continue;
            qs_str to = qs_arena_str(arena, v->pairs.v[i].to);
            if (!to.p) return qs_nomem(e);
            out[n] = (qs_rename_pair){v->pairs.v[i].from, to};
            if (collides) collides[n] = wanted;
            n++;
        }
    }
    return true;
}

bool qs_session_preview_rule(const qs_session *s, const qs_action *rule, qs_arena *arena, qs_rename_pair *out,
                             bool *collides, size_t max, size_t *total, size_t *collisions, qs_err *e) {
    preview v = {.r = s->d.resolution};
    char *clash = NULL;
    bool ok = v.r != NULL || qs_fail(e, QS_E_USAGE, "no checkpoint is open");
    ok = ok && preview_collect(&v, rule, e);
    if (ok) {
        clash = calloc(v.pairs.n + 1, 1);
        ok = clash ? preview_clashes(&v, clash, e) : qs_nomem(e);
    }
    ok = ok && preview_report(&v, clash, arena, out, collides, max, collisions, e);
    if (ok) *total = v.pairs.n;
    free(clash);
    qs_vec_free(&v.pairs);
    qs_map_free(&v.from);
    qs_map_free(&v.to);
    qs_arena_free(&v.names);
    return ok;
}

bool qs_session_save(qs_session *s, const char *path, const qs_write_options *opt, qs_err *e) {
    if (!s->d.resolution) return qs_fail(e, QS_E_USAGE, "no checkpoint is open");
    return may_replace_target(s, path, e) && qs_write_pt(s->d.resolution, path, opt, e);
}
