/* The plan: an ordered list of actions over A, with undo. Actions are symbolic (patterns, scopes), so a plan
 * can be replayed on another checkpoint. All change lives here; documents never change. */
#ifndef QS_REPAIR_PLAN_H
#define QS_REPAIR_PLAN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "model/tensor.h"
#include "quant/fqinit.h"

typedef enum qs_action_kind {
    QS_ACT_RENAME,   /* pairs: exactly these keys */
    QS_ACT_RULE,     /* pattern -> replacement over all keys it matches */
    QS_ACT_INIT,     /* make values for the target's missing keys in scope */
    QS_ACT_COPY,     /* take entries from B, for keys in scope */
    QS_ACT_DROP,     /* leave entries of A out */
    QS_ACT_CAST,     /* the same numbers as another dtype */
    QS_ACT_RESHAPE,  /* the same elements in another shape, or one element repeated */
    QS_ACT_METADATA, /* the target's versions in `_metadata`; its scope means modules */
} qs_action_kind;

typedef enum qs_pattern_kind {
    QS_PATTERN_PREFIX, /* "module." -> "": the leading text is replaced */
    QS_PATTERN_GLOB,   /* * within a component, ** across; captures in order as $1 ... */
    QS_PATTERN_REGEX,  /* PCRE2, must match the whole key; $1 or ${name} in the replacement */
} qs_pattern_kind;

/* Which keys an INIT, COPY, DROP, CAST or RESHAPE means, or which modules a METADATA. */
typedef enum qs_scope_kind {
    QS_SCOPE_KEY,     /* exactly `scope` */
    QS_SCOPE_SUBTREE, /* every key below the module `scope` ("" = all); for METADATA that module too */
    QS_SCOPE_KEYS,    /* exactly `pairs[i].from` */
    QS_SCOPE_REGEX,   /* PCRE2 `scope`, whole key */
    QS_SCOPE_TOP,     /* DROP only: not a key, but the entry `scope` of the file's top level: "optimizer" */
} qs_scope_kind;

typedef struct qs_rename_pair {
    qs_str from, to;
} qs_rename_pair;

/* What an action wants to find just before it is applied: a key, and of its tensor what is given here. */
typedef struct qs_precondition {
    qs_str key;
    bool has_shape, has_crc32;
    qs_shape shape;
    qs_dtype dtype; /* UNKNOWN: any */
    uint32_t crc32; /* of the elements, as qs_tensor_crc32 and `ls --values` have it */
} qs_precondition;

typedef struct qs_action {
    qs_action_kind kind;
    /* RENAME; also SCOPE_KEYS, with `to` empty */
    const qs_rename_pair *pairs;
    size_t pair_count;
    /* RULE */
    qs_pattern_kind pattern_kind;
    qs_str pattern, replacement;
    /* all but RENAME and RULE */
    qs_scope_kind scope_kind;
    qs_str scope;
    qs_init_source source; /* INIT */
    double bn_eps;         /* INIT: NaN unless a person gave it */
    bool replace;          /* INIT, COPY: also keys that A already has (default: missing ones only); METADATA:
                              also versions that A already has */
    qs_dtype dtype;        /* CAST: UNKNOWN for the target's */
    bool has_shape;        /* RESHAPE: `shape`, else the target's */
    qs_shape shape;
    bool off;                       /* kept in the list, and left out: it does nothing */
    qs_str comment;                 /* free text, kept in the JSON; may be empty */
    const qs_precondition *expects; /* if one does not hold, none of the action is applied */
    size_t expect_count;
} qs_action;

typedef struct qs_plan qs_plan;

qs_plan *qs_plan_new(void); /* NULL when memory is out */
void qs_plan_free(qs_plan *p);
/* Actions up to the cursor, that is, in force. */
size_t qs_plan_count(const qs_plan *p);
const qs_action *qs_plan_action(const qs_plan *p, size_t i);
/* Append a deep copy at the cursor; what was undone is forgotten. */
bool qs_plan_push(qs_plan *p, const qs_action *a, qs_err *e);
/* The same for several, as one step of undo. All or none. */
bool qs_plan_push_all(qs_plan *p, const qs_action *a, size_t n, qs_err *e);
bool qs_plan_can_undo(const qs_plan *p);
bool qs_plan_can_redo(const qs_plan *p);
bool qs_plan_undo(qs_plan *p); /* false if there was nothing to undo */
bool qs_plan_redo(qs_plan *p);
/* Undo the last step and forget it: for a change that turned out to be impossible. */
void qs_plan_retract(qs_plan *p);
/* Edits of the list are steps of their own: undo brings the action back. */
bool qs_plan_remove(qs_plan *p, size_t i, qs_err *e);
bool qs_plan_move(qs_plan *p, size_t from, size_t to, qs_err *e);
/* Put another action in the place of one, as one step of undo. */
bool qs_plan_replace(qs_plan *p, size_t i, const qs_action *a, qs_err *e);
/* Changed since qs_plan_mark_saved? */
bool qs_plan_modified(const qs_plan *p);
/* Free text about all of the plan, kept in the JSON; may be empty. Not a step of undo. */
qs_str qs_plan_comment(const qs_plan *p);
bool qs_plan_set_comment(qs_plan *p, qs_str comment, qs_err *e);
void qs_plan_mark_saved(qs_plan *p);

/* "rule  (.*)\.bn\.(.*) -> $1.conv.bn.$2", printable, for a line of the plan pane. */
size_t qs_action_describe(const qs_action *a, char *out, size_t cap);

/* What qs_resolution_touched counts for it: "key" or "keys", of a METADATA "module" or "modules". */
const char *qs_action_unit(const qs_action *a, uint64_t n);

/* Same kind and same content. */
bool qs_action_eq(const qs_action *a, const qs_action *b);
const char *qs_action_kind_name(qs_action_kind k); /* "rename", ... as in the JSON */

/* JSON, versioned, made to be read and edited by people:
 * {"format": "qatscope-plan", "version": 1, "comment": "why", "actions": [
 *    {"op": "rename", "pairs": [["from", "to"], ...]},
 *    {"op": "rule", "kind": "prefix" | "glob" | "regex", "pattern": "module.", "replacement": ""},
 *    {"op": "init", "scope": SCOPE, "source": "fresh" | "observed" | "datafree" | "copy", "bn_eps": 0.001,
 *     "replace": true},
 *    {"op": "copy", "scope": SCOPE, "replace": true}, {"op": "drop", "scope": SCOPE},
 *    {"op": "cast", "scope": SCOPE, "dtype": "int32"}, {"op": "reshape", "scope": SCOPE, "shape": [1]},
 *    {"op": "metadata", "scope": SCOPE, "replace": true}]}
 * Without "dtype" or "shape" the target's are taken.
 * SCOPE is {"key": K}, {"subtree": M}, {"keys": [K, ...]} or {"regex": R}, and for a drop also {"top": T}.
 * Every action may be switched off ("off": true), have a "comment" and preconditions, where all but the key may be left out: "expect":
 * [{"key": K, "shape": [16, 3, 3, 3], "dtype": "float32", "crc32": "0a1b2c3d"}, ...] A text that JSON cannot
 * hold (NUL, bytes that are not UTF-8) is {"hex": "6100ff"} in place of the string. parse(print(p)) equals p.
 */
bool qs_plan_print(const qs_plan *p, qs_buf *out);
/* One action of it, on one line. */
bool qs_action_print(const qs_action *a, qs_buf *out);
/* Errors (QS_E_INPUT) name line and column for syntax, the JSON path for a wrong field ("actions[2].scope").
 * The plan comes out unmodified, its actions as one step. */
bool qs_plan_parse(const char *json, size_t n, const char *name, const qs_limits *limits, qs_plan **out,
                   qs_err *e);

#endif
