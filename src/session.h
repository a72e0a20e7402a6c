/* The façade the command line and the screen speak to: three documents, a plan, and everything derived from
 * them, recomputed after each change. */
#ifndef QS_SESSION_H
#define QS_SESSION_H

#include "model/error_log.h"
#include "model/stats.h"
#include "repair/compare.h"
#include "repair/diagnose.h"
#include "repair/match.h"
#include "repair/plan.h"
#include "repair/write.h"

typedef struct qs_session qs_session;

typedef struct qs_session_options {
    qs_open_options open;     /* limits and --root, for A and B alike */
    qs_strict_options strict; /* torch version etc.; strict is forced true for the verdict line */
    qs_init_source init;      /* for the diagnosis' repair; QS_INIT_OBSERVED by default */
    double bn_eps;            /* --bn-eps, NaN if not given */
    bool guess;               /* the diagnosis applies likely renames, too */
    bool lenient; /* what of a plan does not apply is left out and listed, see qs_resolution_unapplied */
} qs_session_options;
#define QS_SESSION_OPTIONS_DEFAULT                                                                           \
    ((qs_session_options){.open = {.limits = QS_LIMITS_DEFAULT},                                             \
                          .strict = {.strict = true},                                                        \
                          .init = QS_INIT_OBSERVED,                                                          \
                          .bn_eps = __builtin_nan("")})

qs_session *qs_session_new(const qs_session_options *opt); /* NULL when memory is out; opt may be NULL */
void qs_session_free(qs_session *s);
/* Open documents. Nothing is derived until qs_session_refresh. On failure the session is as before. */
bool qs_session_open_a(qs_session *s, const char *path, qs_err *e);
bool qs_session_open_b(qs_session *s, const char *path, qs_err *e);
bool qs_session_open_manifest(qs_session *s, const char *path, qs_err *e);
/* The last failed load of a training log ("-": standard input), read with A's keys (open A first). It becomes
 * the target unless `evidence_only`; *summary says what the log tells and what A contradicts. */
bool qs_session_open_log(qs_session *s, const char *path, bool evidence_only, qs_log_summary *summary,
                         qs_err *e);
/* Without a manifest the target is made from B, if there is one. Recompute everything from (documents, plan).
 */
bool qs_session_refresh(qs_session *s, qs_err *e);

typedef enum qs_document { QS_DOCUMENT_A, QS_DOCUMENT_B, QS_DOCUMENT_MANIFEST, QS_DOCUMENT_LOG } qs_document;

typedef struct qs_exchange {
    qs_document what;
    const char *path;            /* NULL takes B or the manifest (or the log in its place) away */
    const char *root;            /* of A or B; NULL: chosen by itself */
    bool forget_plan;            /* the plan, and what could be undone of it, is thrown away */
    const qs_progress *progress; /* of opening; NULL is fine */
} qs_exchange;

/* Puts another document in the place of one of an open session, lays the plan over it and derives all anew.
 * On failure everything is as before; *plan_fails then tells whether the document itself would do and only
 * the plan does not apply to it. `summary` is for a log, and may be NULL. */
bool qs_session_exchange(qs_session *s, const qs_exchange *x, qs_log_summary *summary, bool *plan_fails,
                         qs_err *e);

const qs_checkpoint *qs_session_a(const qs_session *s);
const qs_checkpoint *qs_session_b(const qs_session *s);    /* NULL if none */
const qs_manifest *qs_session_target(const qs_session *s); /* NULL if none */
bool qs_session_target_is_b(const qs_session *s);
const qs_plan *qs_session_plan(const qs_session *s);
const qs_resolution *qs_session_resolution(const qs_session *s);
const qs_verdict *qs_session_verdict(const qs_session *s); /* NULL without a target */
const qs_compare *qs_session_compare(const qs_session *s);
/* Whom the next three ask now and then whether to go on; they give NULL when told not to, and what they lack
 * is computed by the next call. Borrowed until another is given; NULL: nobody. */
void qs_session_watch(qs_session *s, const qs_progress *progress);
/* Computed on first use after a change; else NULL only when out of memory. */
const qs_matches *qs_session_matches(qs_session *s);
const qs_diagnosis *qs_session_diagnosis(qs_session *s);
/* What torch 1.7, 1.13, 2.6 and 2.14 say, [QS_STRICT_VERSIONS] for qs_strict_versions_text; computed on first
 * use after a change, NULL without a target or when memory is out. */
const qs_strict_version *qs_session_versions(qs_session *s);
/* Grows with every change of the derived data, so that a view knows to rebuild. */
uint64_t qs_session_revision(const qs_session *s);

/* Change the plan and recompute. On failure (a collision ...) the plan is as before. qs_session_do_all pushes
 * several actions as one step of undo; either all or none. An INIT without a bn_eps gets the session's. */
bool qs_session_do(qs_session *s, const qs_action *a, qs_err *e);
bool qs_session_do_all(qs_session *s, const qs_action *a, size_t n, qs_err *e);
bool qs_session_undo(qs_session *s, qs_err *e); /* QS_E_USAGE "nothing to undo" */
bool qs_session_redo(qs_session *s, qs_err *e);
bool qs_session_plan_remove(qs_session *s, size_t i, qs_err *e);
bool qs_session_plan_move(qs_session *s, size_t from, size_t to, qs_err *e);
/* Another action in the place of action i, one step of undo. */
bool qs_session_plan_replace(qs_session *s, size_t i, const qs_action *a, qs_err *e);
/* The same from its JSON, as in a plan file: {"op": ...}. */
bool qs_session_plan_edit(qs_session *s, size_t i, qs_str json, qs_err *e);
/* Appended as one change; "-" is standard input. Preconditions are checked here, with the bytes they are
 * about; later changes of the plan check names, shapes and dtypes. The plan's own comment is kept if it is
 * the first. */
bool qs_session_load_plan(qs_session *s, const char *path, qs_err *e);
/* QS_E_REFUSED if the path leads to a file that is open: A, B, or what the model expects. */
bool qs_session_may_write(const qs_session *s, const char *path, qs_err *e);
bool qs_session_save_plan(qs_session *s, const char *path, qs_err *e); /* atomic, as everything is saved */
/* What an action would do, without doing it: keys touched, or the refusal in *e. */
bool qs_session_try(const qs_session *s, const qs_action *a, uint32_t *touched, qs_err *e);
/* The renames a RULE would make: at most max pairs into out (borrowed from arena and the session's data),
 * those that collide first; *total in all, and how many of them collide. Never fails for a collision; fails
 * for a pattern that does not compile. */
bool qs_session_preview_rule(const qs_session *s, const qs_action *rule, qs_arena *arena, qs_rename_pair *out,
                             bool *collides, size_t max, size_t *total, size_t *collisions, qs_err *e);

bool qs_session_save(qs_session *s, const char *path, const qs_write_options *opt, qs_err *e);

#endif
