/* Inside of the matcher, shared by match*.c. */
#ifndef QS_REPAIR_MATCH_IMPL_H
#define QS_REPAIR_MATCH_IMPL_H

#include "base/map.h"
#include "base/vec.h"
#include "repair/match.h"
#include "repair/names.h"

/* One prefix for another on every key: "module." -> "". Both empty: nothing to do. */
typedef struct qs_prefix_change {
    qs_str strip, add;
} qs_prefix_change;

typedef struct qs_match_from {
    uint32_t row;
    qs_str key; /* after the prefix change: what the rules look at */
} qs_match_from;

typedef struct qs_candidate {
    uint32_t from; /* index into froms */
    uint32_t to;   /* row */
    double confidence;
    const char *reason;
    bool structural;
} qs_candidate;

typedef struct qs_matcher {
    const qs_compare *c;
    const qs_progress *progress;
    qs_arena arena;
    QS_VEC(qs_match_from) froms; /* entries of the result the target does not know */
    QS_VEC(uint32_t) tos;        /* rows the target expects and the result lacks */
    QS_VEC(qs_candidate) found;
    qs_prefix_change prefix;
    bool anchored;    /* some keys are where the model expects them: it is no other model altogether */
    bool prefix_sure; /* made of wrappers, or so many keys meet that it is no chance */
    qs_prefix_change copies[2]; /* the file has the model twice, under either: names decide nothing */
} qs_matcher;

/* Is the row something the target expects and the result lacks? */
bool qs_match_is_gap(const qs_row *row);
/* Something in the result that the target does not expect? */
bool qs_match_is_spare(const qs_row *row);
/* A quantizer's own tensor, held out of the matching of weights. */
static inline bool qs_match_is_quant(const qs_row *row) {
    return row->role != QS_ROLE_NONE && row->role != QS_ROLE_WEIGHT;
}
typedef enum qs_fit { QS_FIT_NO, QS_FIT_SHAPE, QS_FIT_UNKNOWN, QS_FIT_YES } qs_fit;
/* May the entry of row `from` fill row `to`? NO: one is a quantizer's and the other is not, though their last
 * parts differ (a wrapper in its name hides what a key is). SHAPE: shapes differ. */
qs_fit qs_match_fit(const qs_compare *c, uint32_t from, uint32_t to);
/* The shape an entry of the target must have; false if unknown. */
bool qs_match_wanted(const qs_compare *c, uint32_t row, qs_shape *shape);

/* Find the prefix change under which most of the froms meet a gap; empty if none helps. */
bool qs_match_find_prefix(qs_matcher *m, qs_err *e);
/* Collect candidates for every from into m->found. */
bool qs_match_collect(qs_matcher *m, qs_err *e);
/* Values that B has under another name, where each stands once. */
bool qs_match_collect_values(qs_matcher *m, const char *taken, qs_err *e);
/* The rest of modules whose tensors those were: a BatchNorm's counter says nothing by its value. */
bool qs_match_collect_beside(qs_matcher *m, const qs_suggestion *decided, size_t n, const char *taken,
                             qs_err *e);
/* Modules with another name, or with something around them. `taken` has a byte a row. */
bool qs_match_collect_modules(qs_matcher *m, const char *taken, qs_err *e);
/* One child of a module goes nowhere, and to one child, or to the module itself, nothing comes (or the other
 * way round): `found` hears their paths. It returns false only when memory is out. */
bool qs_match_find_alone(const qs_matcher *m, const char *taken,
                         bool (*found)(void *ctx, qs_str from, qs_str to), void *ctx, qs_err *e);
/* Names that are the same without the words only one side knows. */
bool qs_match_collect_foreign(qs_matcher *m, const char *taken, qs_err *e);
/* The rest: unique endings, then order within groups of equal last part and shape. `taken` has a byte a row.
 */
bool qs_match_collect_weak(qs_matcher *m, const char *taken, qs_err *e);
/* Candidates that pair the blocks of a list by number, where a block of the list has no other and may be the
 * one the model lacks: no longer safe, and half as likely. `taken` has a byte a row: those found before are
 * no longer in doubt, and in their place. */
bool qs_match_doubt_numbers(qs_matcher *m, const char *taken, qs_err *e);
bool qs_match_add(qs_matcher *m, uint32_t from, uint32_t to, double confidence, const char *reason,
                  bool structural, qs_err *e);

#endif
