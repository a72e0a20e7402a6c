/* What the plan makes of A: the entries of the result, in order. Preview and save both use this, so what you
 * see is what is written. */
#ifndef QS_REPAIR_RESOLVE_H
#define QS_REPAIR_RESOLVE_H

#include "model/manifest.h"
#include "repair/plan.h"

typedef enum qs_mark {
#define QS_MARK(NAME, ...) QS_MARK_##NAME,
#include "repair/mark.def"
#undef QS_MARK
    QS_MARK_COUNT
} qs_mark;

#define QS_NO_INDEX UINT32_MAX

typedef struct qs_resolved {
    qs_str key; /* name in the result */
    qs_mark mark;
    uint32_t a;        /* entry of A it comes from (NONE, RENAMED, CONVERTED, DROPPED), else QS_NO_INDEX */
    uint32_t b;        /* entry of B (COPIED, or CONVERTED after that), else QS_NO_INDEX */
    uint32_t expected; /* entry of the target (INIT) */
    uint32_t action;   /* index of the action that last touched it, QS_NO_INDEX if none */
    qs_init_source source; /* INIT */
    double bn_eps;         /* INIT: as in the action */
    qs_shape shape;        /* of the value; ndim 0 and shape_known false for non-tensors */
    qs_dtype dtype;
    bool shape_known;
} qs_resolved;

typedef struct qs_resolution qs_resolution;

/* Inputs; B and target may be NULL. All are borrowed by the resolution. */
typedef struct qs_resolve_input {
    const qs_checkpoint *a, *b;
    const qs_manifest *target;
    const qs_plan *plan;
    /* Leave out what cannot apply and list it (qs_resolution_unapplied), instead of failing. */
    bool lenient;
    /* Look at the bytes too where a precondition gives a crc32; else only names, shapes and dtypes count. */
    bool check_content;
    bool trace; /* keep qs_resolution_change */
} qs_resolve_input;

/* Applies the plan's actions in order. An action that cannot apply (a precondition that does not hold, a
 * collision, a key that is not there) fails with QS_E_REFUSED naming the action's number and the culprit key
 * (both, for a collision), unless the input is lenient.
 * - RENAME: all pairs at once, so that two keys can change places. RULE: over every key of the result so far.
 * - INIT: the target's keys in scope that the result lacks. What cannot be made (qs_init_possible) is refused
 * for KEY and KEYS scopes, skipped and counted for the others. Source COPY takes the value from B, as COPY
 * does.
 * - COPY: entries of B that the target expects (all of B's without a target, or named by KEY and KEYS).
 * - INIT and COPY of a key that is there already: refused for KEY and KEYS, passed over for the others,
 * replaced with `replace`.
 * - CAST and RESHAPE: dense tensors of numbers (quantized ones can be cast to floats: that dequantizes them) that the result has so far, from A or copied from B; what the
 * plan made is refused. Without a dtype or shape of its own the action takes the target's for the key. A CAST
 * into an integer type wants every value to be one; that is found out when the values are read. Casts
 * do not add up: the value is what the file holds, cast once. RESHAPE keeps
 * the elements, or repeats the only one. What cannot be done is refused for KEY and KEYS, skipped otherwise.
 * - METADATA: see qs_resolution_metadata_count.
 * - DROP: A's entries are listed at the end under A's name; made ones just vanish. With a TOP scope it is
 * about what is beside the state dict, see qs_top_refusal. */
bool qs_resolve(const qs_resolve_input *in, qs_resolution **out, qs_err *e);
void qs_resolution_free(qs_resolution *r);
const qs_resolve_input *qs_resolution_input(const qs_resolution *r);
/* Entries of the result in the order they will be written: A's order with renamed entries in place; if a
 * target is given and the plan is not empty, the target's order for keys it knows, then the others. Dropped
 * entries are listed last with QS_MARK_DROPPED and are not part of the result. */
uint32_t qs_resolution_count(const qs_resolution *r); /* dropped ones included */
uint32_t qs_resolution_live(const qs_resolution *r);  /* entries of the result */
const qs_resolved *qs_resolution_entry(const qs_resolution *r, uint32_t i);
uint32_t qs_resolution_find(const qs_resolution *r, qs_str key); /* live entries only */
/* How many keys action i touched. */
uint32_t qs_resolution_touched(const qs_resolution *r, size_t action);
/* How many keys in the scope of INIT action i were left missing because they cannot be made (weights, packed
 * payloads), and why the first one was: "model.0.weight: ...", or NULL. */
uint32_t qs_resolution_skipped(const qs_resolution *r, size_t action, const char **why);
/* What did not apply of a lenient input, action by action: single keys, or all of an action (key.n == 0 and
 * where a precondition failed). left_out: could not be made, as qs_resolution_skipped counts; the action
 * applied all the same. Strings live as long as the resolution and its plan. */
typedef struct qs_unapplied {
    uint32_t action;
    qs_str key;
    const char *why;
    bool left_out;
} qs_unapplied;
size_t qs_resolution_unapplied_count(const qs_resolution *r);
const qs_unapplied *qs_resolution_unapplied(const qs_resolution *r, size_t i);
/* What became of single entries, in order, if the input asked for a trace. Strings as above. */
typedef struct qs_change {
    uint32_t action;
    qs_str before;   /* the name until then; n == 0: it is new */
    qs_str after;    /* the name from then on; n == 0: it is dropped */
    bool made;       /* it gets another value: INIT or COPY */
    uint32_t a;      /* entry of A it began as, or QS_NO_INDEX */
    uint32_t result; /* where it is in the result, QS_NO_INDEX if it was dropped in the end */
} qs_change;
size_t qs_resolution_change_count(const qs_resolution *r);
qs_change qs_resolution_change(const qs_resolution *r, size_t i);
/* The tensor behind a live entry and the checkpoint it is in; NULL for what the plan made and non-tensors. */
const qs_tensor *qs_resolved_tensor(const qs_resolution *r, const qs_resolved *x, const qs_checkpoint **from);
/* Is the value the plan's own work (INIT, CONVERTED)? Then no file holds it as it is. */
static inline bool qs_resolved_is_made(const qs_resolved *x) {
    return x->mark == QS_MARK_INIT || x->mark == QS_MARK_CONVERTED;
}
/* Has an entry of A another name now, converted or not? */
bool qs_resolved_is_renamed(const qs_resolution *r, const qs_resolved *x);
/* What a CONVERTED entry is made from; as qs_resolved_tensor for every other. */
const qs_tensor *qs_resolved_source(const qs_resolution *r, const qs_resolved *x, const qs_checkpoint **from);
/* n elements of a CONVERTED entry from `first`, as its dtype. QS_E_REFUSED for a value that does not fit. */
bool qs_resolved_read(const qs_resolution *r, const qs_resolved *x, uint64_t first, size_t n, void *out,
                      qs_err *e);
/* Whether the entry of the file's top level is dropped ("optimizer"), and how many are. */
bool qs_resolution_top_dropped(const qs_resolution *r, qs_str key);
size_t qs_resolution_tops_dropped(const qs_resolution *r);
/* Why an entry of A's top level cannot be dropped ("it holds the state dict"), or NULL. */
const char *qs_top_refusal(const qs_checkpoint *a, qs_str key);
/* The value of an entry that is made, whole in memory. */
bool qs_resolved_fill(const qs_resolution *r, const qs_resolved *x, qs_init_cache *cache, qs_arena *arena,
                      qs_fill *out, qs_err *e);
/* The init context of this resolution, for previews. */
void qs_resolution_init_context(const qs_resolution *r, double bn_eps, qs_init_context *out);

/* BatchNorm eps of the YOLO family, told by names in the documents; NaN and NULL if nothing tells. */
double qs_resolution_bn_eps(const qs_resolution *r, const char **from);

/* `_metadata` of the result: A's, prefixes renamed along with the keys (resolve_metadata.c has the rules),
 * and the target's version for every module whose own entries the plan renamed or made, and the module that
 * holds it. If A has no metadata, some is made only when a module the plan touched has a version of 2 or
 * more: with none at all torch takes BatchNorm, ConvBn* and observers for their oldest format. It then holds
 * the touched modules alone, so that the rest loads as before. With an empty plan it is A's. version -1 =
 * absent. A METADATA action sets the target's version for every module in its scope that the target gives one
 * and the result does not (`replace`: or another one), by the names the modules have in the end. */
bool qs_resolution_has_metadata(const qs_resolution *r);
uint32_t qs_resolution_metadata_count(const qs_resolution *r);
qs_str qs_resolution_metadata_prefix(const qs_resolution *r, uint32_t i);
int64_t qs_resolution_metadata_version(const qs_resolution *r,
                                       uint32_t i); /* INT64_MIN: keep A's node as it is */
qs_node qs_resolution_metadata_node(const qs_resolution *r,
                                    uint32_t i);                      /* A's dict for it, or QS_NODE_NONE */
int64_t qs_resolution_version(const qs_resolution *r, qs_str prefix); /* -1 absent */

#endif
