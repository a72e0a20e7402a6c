/* Inside of qs_resolution, shared by resolve*.c. */
#ifndef QS_REPAIR_RESOLVE_IMPL_H
#define QS_REPAIR_RESOLVE_IMPL_H

#include "base/map.h"
#include "base/vec.h"
#include "repair/resolve.h"

typedef enum qs_work_state {
    QS_WORK_LIVE,
    QS_WORK_DROPPED, /* listed at the end: A's, left out */
    QS_WORK_GONE,    /* was made by the plan and dropped again */
} qs_work_state;

/* An entry while the plan is applied. */
typedef struct qs_work {
    qs_resolved x;
    uint32_t origin; /* entry of A it began as, even if INIT or COPY replaced the value */
    uint8_t state;   /* qs_work_state */
    uint8_t moving;  /* within one RENAME or RULE: 1 will move, 2 has moved */
} qs_work;

typedef struct qs_action_count {
    uint32_t touched, skipped;
    bool off;        /* it is switched off, or a precondition did not hold */
    const char *why; /* of the first one skipped */
} qs_action_count;

typedef struct qs_meta_item {
    qs_str prefix;
    int64_t version;  /* -1: the dict has none */
    qs_node node;     /* A's dict, or QS_NODE_NONE */
    bool changed;     /* version is not what the dict says */
    uint8_t strength; /* who wins when two prefixes move to one place */
} qs_meta_item;

struct qs_resolution {
    qs_resolve_input in;
    qs_arena arena;
    QS_VEC(qs_work) work; /* A's entries in A's order, then what the plan made */
    /* Where a key now is, for keys the plan moved or made; every other key is where A has it. A value may be
     * stale: see qs_work_find. */
    qs_map moved;
    uint32_t *order, *rank; /* result index -> work, and back; NULL: the same */
    uint32_t count, live;
    qs_action_count *counts;
    size_t actions;             /* how many counts */
    QS_VEC(qs_str) dropped_top; /* of A's top level; borrowed from the plan */
    QS_VEC(qs_unapplied) unapplied;
    QS_VEC(qs_change) steps; /* `result` is an index of work until it is asked for */
    double bn_eps;
    const char *bn_eps_from;
    bool has_metadata;
    QS_VEC(qs_meta_item) meta;
    qs_map meta_map;
};

/* The live entry named key, or QS_NO_INDEX. */
uint32_t qs_work_find(const qs_resolution *r, qs_str key);
/* List what did not apply; `why` is copied. */
bool qs_resolve_note(qs_resolution *r, uint32_t action, qs_str key, const char *why, bool left_out,
                     qs_err *e);
/* Keep a step of the entry `work`, if the input asks for it. */
bool qs_resolve_trace(qs_resolution *r, uint32_t action, uint32_t work, qs_str before, qs_str after,
                      bool made, qs_err *e);
/* Do the preconditions of action i hold? If not, it is refused, or listed with *holds false. */
bool qs_resolve_expect(qs_resolution *r, uint32_t i, bool *holds, qs_err *e);
/* Apply action i of the plan. */
bool qs_resolve_action(qs_resolution *r, size_t i, qs_err *e);
/* Shape and dtype of a tensor into x; t may be NULL. */
void qs_resolved_set_shape(qs_resolved *x, const qs_tensor *t);
/* Drop what is beside the state dict; refuses as qs_top_refusal says. */
bool qs_resolve_drop_top(qs_resolution *r, uint32_t action, qs_str key, qs_err *e);
/* Give w the dtype or shape a CAST or RESHAPE wants, `want` being what the target expects of the key or NULL.
 * *why says what is in the way, else NULL; *same whether it is so already. */
void qs_resolve_convert(qs_resolution *r, const qs_action *a, qs_work *w, const qs_expected *want,
                        const char **why, bool *same);
/* Work out `_metadata` once all actions are applied. */
bool qs_resolve_metadata(qs_resolution *r, qs_err *e);
qs_init_context qs_resolve_context(const qs_resolution *r, double bn_eps);

#endif
