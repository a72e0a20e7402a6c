#include "teach/explain.h"

#include "teach/text.h"

static const qs_explanation explanations[] = {
#define QS_EXPLAIN(ID, FAMILIES, KEYS, TITLE, ...)                                                           \
    {.id = ID, .families = FAMILIES, .keys = KEYS, .title = TITLE, __VA_ARGS__},
#define QS_FACT(...)
#include "teach/explain.def"
#undef QS_EXPLAIN
#undef QS_FACT
};
static const qs_fact facts[] = {
#define QS_EXPLAIN(...)
#define QS_FACT(...) {__VA_ARGS__},
#include "teach/explain.def"
#undef QS_EXPLAIN
#undef QS_FACT
};
enum { COUNT = sizeof explanations / sizeof *explanations, FACTS = sizeof facts / sizeof *facts };

static bool has_word(const char *list, const char *word) {
    for (qs_str w = qs_next_word(&list); w.n; w = qs_next_word(&list))
        if (qs_str_is(w, word)) return true;
    return false;
}

static bool takes(const qs_explanation *x, qs_str key) {
    const char *list = x->keys;
    for (qs_str w = qs_next_word(&list); w.n; w = qs_next_word(&list))
        if (qs_glob(w, key)) return true;
    return false;
}

const qs_explanation *qs_explain(const qs_quant_key *k, qs_str key) {
    const char *label = k && k->family ? qs_family_label(k->family) : NULL;
    for (size_t i = 0; label && i < COUNT; i++) {
        const qs_explanation *x = &explanations[i];
        if (x->roles && !strchr(x->roles, qs_role_letter(k->role))) continue;
        if (has_word(x->families, label) && takes(x, key)) return x;
    }
    for (size_t i = 0; i < COUNT - 1; i++)
        if (explanations[i].by_name && takes(&explanations[i], key)) return &explanations[i];
    return &explanations[COUNT - 1]; /* the last row of explain.def takes every key */
}

bool qs_explain_is_fallback(const qs_explanation *x) {
    return x == &explanations[COUNT - 1];
}

size_t qs_explain_count(void) {
    return COUNT;
}

const qs_explanation *qs_explain_at(size_t i) {
    return i < COUNT ? &explanations[i] : NULL;
}

size_t qs_explain_fact_count(void) {
    return FACTS;
}

const qs_fact *qs_explain_fact(size_t i) {
    return i < FACTS ? &facts[i] : NULL;
}

/* Does what a glob says after its last star end in ".key"? */
static bool names(const qs_explanation *x, qs_str key) {
    const char *list = x->keys;
    for (qs_str w = qs_next_word(&list); w.n; w = qs_next_word(&list)) {
        if (w.n <= key.n || !qs_str_ends(w, key)) continue;
        char before = w.p[w.n - key.n - 1];
        if (before == '.' || before == '*') return true;
    }
    return false;
}

size_t qs_explain_search(qs_str key, const qs_explanation **out, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i + 1 < COUNT; i++) {
        if (!takes(&explanations[i], key) && !names(&explanations[i], key)) continue;
        if (n < max) out[n] = &explanations[i];
        n++;
    }
    return n;
}
