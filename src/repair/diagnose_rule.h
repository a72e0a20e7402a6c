/* One rule for many renames: shorter to read than a list, and it can be replayed on a sister checkpoint. */
#ifndef QS_REPAIR_DIAGNOSE_RULE_H
#define QS_REPAIR_DIAGNOSE_RULE_H

#include "repair/compare.h"

/* A RULE that renames exactly these pairs, no more and no fewer, among the keys of the result; *found is
 * false if none was seen. Its texts are in the arena. */
bool qs_rule_for_pairs(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, qs_arena *arena,
                       qs_action *out, bool *found, qs_err *e);

/* The same for each family of pairs that differ alike (a module put in, a BatchNorm moved): rules where one
 * says exactly what the family's pairs say, and one RENAME for the rest, to be applied one after the other.
 * Each is right about the keys as they are; that none touches what another made is for the caller to see.
 * *count is 0 if
 * rules say less than half of it. */
bool qs_rules_for_families(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, qs_arena *arena,
                           qs_action **out, size_t *count, qs_err *e);

#endif
