/* Suggests renames: unexpected keys of the result against missing keys of the target, each with a confidence,
 * a reason and the runner-up. Ties are never applied by themselves. */
#ifndef QS_REPAIR_MATCH_H
#define QS_REPAIR_MATCH_H

#include "repair/compare.h"

typedef struct qs_suggestion {
    uint32_t from, to;  /* rows of the comparison: an unexpected and a missing one */
    double confidence;  /* 0..1 */
    const char *reason; /* "same shape, same place, wrapped twin" */
    uint32_t runner_up; /* row, QS_NO_INDEX if there is none */
    double runner_up_confidence;
    bool safe; /* may be applied without asking: unambiguous, shapes equal */
} qs_suggestion;

typedef struct qs_matches qs_matches;
/* The best assignment over all unexpected and missing rows. */
bool qs_match_all(const qs_compare *c, qs_matches **out, qs_err *e);
/* The same, asking `progress` now and then whether to go on; NULL is fine. */
bool qs_match_all_while(const qs_compare *c, const qs_progress *progress, qs_matches **out, qs_err *e);
void qs_matches_free(qs_matches *m);
size_t qs_matches_count(const qs_matches *m);
const qs_suggestion *qs_matches_get(const qs_matches *m, size_t i);
uint32_t qs_matches_of_row(const qs_matches *m,
                           uint32_t row); /* suggestion index by either side, or QS_NO_INDEX */
/* The change of prefix ("module." -> "") under which the suggestions were found; false if there is none, or
 * it may be chance. Borrowed from the documents. */
bool qs_matches_prefix(const qs_matches *m, qs_str *strip, qs_str *add);
/* Two prefixes under which the file has the model's keys, as many under one as under the other: a student and
 * its teacher, raw and averaged weights. Only B's values can tell which is meant, so there are no other
 * suggestions. */
bool qs_matches_copies(const qs_matches *m, qs_str *one, qs_str *other);
/* Blocks below a module of the same name that are numbered otherwise in the model, all of their entries in
 * the result, those whose names the model knows included: to be renamed at once. Only where order and
 * contents leave one way. *n is 0 if there are none; the pairs and their texts are in the arena. Needs a
 * target. */
bool qs_match_renumber(const qs_compare *c, qs_arena *arena, qs_rename_pair **out, size_t *n, qs_err *e);
/* Is there a list in which some blocks have the model's names and others no place, while the model lacks
 * blocks of other numbers? Then those that have may have the wrong ones. */
bool qs_match_numbers_in_doubt(const qs_compare *c, bool *doubt, qs_err *e);
/* Candidates for one unexpected row, best first, at most max; for the map dialog. Returns how many. */
size_t qs_match_candidates(const qs_compare *c, uint32_t row, qs_suggestion *out, size_t max);

#endif
