/* What a key is: short texts for every kind of quantization key, and for the ordinary keys around them.
 * The texts and the facts about torch stand in explain.def; tests/oracle/test_explain.py checks the facts
 * against the real thing. */
#ifndef QS_TEACH_EXPLAIN_H
#define QS_TEACH_EXPLAIN_H

#include "quant/family.h"

/* All strings are ASCII, one paragraph each, "" where there is nothing to say. */
typedef struct qs_explanation {
    const char *id;       /* "weight-scale": stable, for tests and links */
    const char *families; /* labels of family.def between blanks, "" for ordinary keys */
    const char *keys;     /* globs between blanks, * is any run of characters; one matches the whole key */
    const char *title;
    const char *what, *who, *typical, *missing, *wrong, *coupled;
    const char *group; /* heading of the rows from here on, NULL: goes on under the one before */
    const char *roles; /* NULL, or letters of qs_role_letter: only for keys of these roles */
    bool by_name;      /* the name alone is enough: no recogniser, no siblings needed */
} qs_explanation;

/* What torch (or another framework) itself puts there. Versions as 113 for 1.13; until 0: still so. */
typedef struct qs_fact {
    const char *id;    /* of the explanation */
    const char *in;    /* what holds the key: "FakeQuantize", "FusedMovingAvgObsFakeQuantize, per channel" */
    int since, until;  /* both inclusive */
    const char *dtype; /* torch's name */
    const char *shape; /* "[1]", "[]", "[C]" with C channels */
    const char *fresh; /* value of a fresh one, "" if there is no such thing */
} qs_fact;

/* The text for a key. k may be NULL (the key was not recognised): then by its name alone. Never NULL: what is
 * known of nothing else is a parameter or buffer of the model (qs_explain_is_fallback). */
const qs_explanation *qs_explain(const qs_quant_key *k, qs_str key);
bool qs_explain_is_fallback(const qs_explanation *x);

size_t qs_explain_count(void);
const qs_explanation *qs_explain_at(size_t i);
size_t qs_explain_fact_count(void);
const qs_fact *qs_explain_fact(size_t i);
/* All of explain.def whose globs take `key` or a key ending in ".key": for `explain scale`. Writes at most
 * max, returns how many there are. */
size_t qs_explain_search(qs_str key, const qs_explanation **out, size_t max);

typedef enum qs_explain_form { QS_EXPLAIN_PLAIN, QS_EXPLAIN_MARKDOWN, QS_EXPLAIN_JSON } qs_explain_form;

/* One explanation with its facts. `width`: columns for PLAIN, at least 30; lines end in '\n'. */
void qs_explain_print(const qs_explanation *x, qs_explain_form form, unsigned width, qs_buf *out);
/* All of them, by family. */
void qs_explain_print_all(qs_explain_form form, unsigned width, qs_buf *out);
/* One page: at most 60 lines of 80 columns. */
void qs_explain_print_cheatsheet(bool markdown, qs_buf *out);

#endif
