/* What lies between two names of one tensor: the components only one of them has, and how the rest differs.
 */
#include "repair/cause_impl.h"
#include "repair/names.h"

enum { PARTS = 48 };

typedef struct parts {
    qs_str whole, v[PARTS];
    size_t end[PARTS]; /* of each, in `whole` */
    bool own[PARTS];   /* the other name has no such part in this place */
    size_t n;
} parts;

static bool split(qs_str key, parts *out) {
    *out = (parts){.whole = key};
    for (size_t at = 0; at <= key.n;) {
        if (out->n == PARTS) return false;
        size_t end = at;
        while (end < key.n && key.p[end] != '.') end++;
        out->v[out->n] = qs_str_sub(key, at, end);
        out->own[out->n] = true;
        out->end[out->n++] = end;
        at = end + 1;
    }
    return true;
}

/* Longest common subsequence: the parts both have, in order. */
static void align(parts *a, parts *b) {
    uint8_t len[PARTS + 1][PARTS + 1] = {{0}};
    for (size_t i = a->n; i-- > 0;)
        for (size_t j = b->n; j-- > 0;) {
            uint8_t skip = len[i + 1][j] > len[i][j + 1] ? len[i + 1][j] : len[i][j + 1];
            len[i][j] = qs_str_eq(a->v[i], b->v[j]) ? (uint8_t)(len[i + 1][j + 1] + 1) : skip;
        }
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (qs_str_eq(a->v[i], b->v[j])) {
            a->own[i++] = b->own[j++] = false;
        } else if (len[i + 1][j] >= len[i][j + 1]) {
            i++;
        } else {
            j++;
        }
    }
}

static bool all_own_before(const parts *p, size_t i) {
    while (i-- > 0)
        if (!p->own[i]) return false;
    return true;
}

static qs_cause_id of_wrapper(const parts *p, size_t i) {
    static const struct {
        const char *part;
        qs_cause_id id;
    } known[] = {{"_orig_mod", QS_CAUSE_COMPILE},
                 {"_fsdp_wrapped_module", QS_CAUSE_FSDP},
                 {"_checkpoint_wrapped_module", QS_CAUSE_CHECKPOINTED},
                 {"nncf_module", QS_CAUSE_NNCF_WRAPPER},
                 {"ema", QS_CAUSE_EMA_PREFIX},
                 {"ema_model", QS_CAUSE_EMA_PREFIX},
                 {"model_ema", QS_CAUSE_EMA_PREFIX}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (qs_str_is(p->v[i], known[k].part)) return known[k].id;
    qs_str before = qs_str_sub(p->whole, 0, i ? p->end[i - 1] : 0);
    bool leads = i == 0 || qs_name_all_wrappers(before);
    if (qs_str_is(p->v[i], "module")) return leads ? QS_CAUSE_DDP : QS_CAUSE_QUANT_WRAPPER;
    if (!all_own_before(p, i) || i + 1 >= p->n) return QS_CAUSE_COUNT;
    return qs_str_is(p->v[i], "model") ? QS_CAUSE_MODEL_PREFIX : QS_CAUSE_PREFIX;
}

/* Parts that wrappers put there; what is left of the difference counts in *others and *numbers. */
static uint64_t of_wrappers(const parts *p, uint32_t *others, uint32_t *numbers) {
    uint64_t set = 0;
    for (size_t i = 0; i < p->n; i++) {
        uint32_t number;
        if (!p->own[i]) continue;
        if (qs_name_number(p->v[i], &number)) {
            ++*numbers;
            continue;
        }
        qs_cause_id id = of_wrapper(p, i);
        if (id == QS_CAUSE_COUNT)
            ++*others;
        else
            set |= QS_CAUSE_BIT(id);
    }
    return set;
}

static bool has_part(const parts *p, const char *text) {
    for (size_t i = 0; i < p->n; i++)
        if (p->own[i] && qs_str_is(p->v[i], text)) return true;
    return false;
}

static bool one_of(const parts *p, const char *const *texts) {
    for (; *texts; texts++)
        if (has_part(p, *texts)) return true;
    return false;
}

static bool same_but_dots(qs_str a, qs_str b) {
    if (qs_str_starts(a, QS_STR("ema_")) && !qs_str_starts(b, QS_STR("ema_"))) a = qs_str_sub(a, 4, a.n);
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++) {
        char x = a.p[i] == '.' ? '_' : a.p[i], y = b.p[i] == '.' ? '_' : b.p[i];
        if (x != y) return false;
    }
    return true;
}

/* What the rest of the difference is, wrappers left aside. */
static uint64_t of_rest(const parts *from, const parts *to) {
    static const char *const norm[] = {"weight_g", "weight_v", "parametrizations", NULL},
                             *const ranges[] = {"min_vals", "max_vals", NULL},
                             *const old[] = {"gamma", "beta", "_weight", "_bias", NULL};
    if (one_of(from, norm) || one_of(to, norm)) return QS_CAUSE_BIT(QS_CAUSE_WEIGHT_NORM);
    if (one_of(from, ranges) || one_of(to, ranges)) return QS_CAUSE_BIT(QS_CAUSE_OBSERVER_NAMES);
    if (one_of(from, old) || one_of(to, old)) return QS_CAUSE_BIT(QS_CAUSE_LEGACY_NAMES);
    qs_str leaf = qs_str_leaf(to->whole);
    bool inside =
        has_part(to, "bn") || has_part(from, "bn") || has_part(to, "conv") || has_part(from, "conv");
    if (inside && qs_name_is_norm_field(leaf)) return QS_CAUSE_BIT(QS_CAUSE_CONV_BN);
    return QS_CAUSE_BIT(QS_CAUSE_OTHER_NAMES);
}

uint64_t qs_cause_of_names(qs_str from, qs_str to) {
    parts a, b;
    uint32_t others = 0, numbers_a = 0, numbers_b = 0;
    if (same_but_dots(from, to)) return QS_CAUSE_BIT(QS_CAUSE_UNDERSCORES);
    if (!split(from, &a) || !split(to, &b)) return QS_CAUSE_BIT(QS_CAUSE_OTHER_NAMES);
    align(&a, &b);
    uint64_t set = of_wrappers(&a, &others, &numbers_a) | of_wrappers(&b, &others, &numbers_b);
    if (others) {
        set |= of_rest(&a, &b);
    } else if (numbers_a || numbers_b) {
        set |= QS_CAUSE_BIT(numbers_a == numbers_b ? QS_CAUSE_RENUMBERED : QS_CAUSE_OTHER_NAMES);
    }
    return set ? set : QS_CAUSE_BIT(QS_CAUSE_OTHER_NAMES);
}
