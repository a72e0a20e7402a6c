#include "repair/names.h"

static bool one_of(qs_str s, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (qs_str_is(s, list[i])) return true;
    return false;
}

bool qs_name_is_wrapper(qs_str component) {
    static const char *const infix[] = {
        "module",          "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "nncf_module",
        "_forward_module", "_dp_module"};
    return one_of(component, infix, sizeof infix / sizeof *infix);
}

static bool leads(qs_str component) {
    static const char *const lead[] = {"model",   "ema",        "ema_model", "net",
                                       "network", "state_dict", "model_ema"};
    return qs_name_is_wrapper(component) || one_of(component, lead, sizeof lead / sizeof *lead);
}

bool qs_name_below(qs_str key, qs_str scope) {
    if (scope.n == 0) return true;
    return key.n > scope.n && key.p[scope.n] == '.' && qs_str_starts(key, scope);
}

bool qs_name_pop(qs_str *rest, qs_str *last) {
    if (!rest->p) return false;
    size_t dot = qs_str_rfind_char(*rest, '.');
    if (dot == SIZE_MAX) {
        *last = *rest;
        *rest = (qs_str){NULL, 0};
    } else {
        *last = qs_str_sub(*rest, dot + 1, rest->n);
        *rest = qs_str_sub(*rest, 0, dot);
    }
    return true;
}

bool qs_name_all_wrappers(qs_str dotted) {
    qs_str last;
    while (dotted.n && qs_name_pop(&dotted, &last))
        if (!leads(last)) return false;
    return true;
}

void qs_name_core(qs_str key, qs_buf *out) {
    size_t start = out->n, i = 0;
    for (;;) {
        size_t end = i;
        while (end < key.n && key.p[end] != '.') end++;
        qs_str part = qs_str_sub(key, i, end);
        bool skip = end < key.n && (out->n == start ? leads(part) : qs_name_is_wrapper(part));
        if (!skip) {
            if (out->n > start) qs_buf_addc(out, '.');
            qs_buf_add(out, part);
        }
        if (end == key.n) return;
        i = end + 1;
    }
}

/* The next component from the end that is no wrapper. */
static bool pop_core(qs_str *rest, qs_str *last) {
    while (qs_name_pop(rest, last))
        if (!qs_name_is_wrapper(*last)) return true;
    return false;
}

static bool only_leads(qs_str rest) {
    return !rest.p || qs_name_all_wrappers(rest);
}

/* Same name when wrappers do not count. */
static bool core_eq(qs_str a, qs_str b) {
    for (;;) {
        qs_str was_a = a, was_b = b, x, y;
        bool more_a = pop_core(&a, &x), more_b = pop_core(&b, &y);
        if (!more_a || !more_b || !qs_str_eq(x, y)) return only_leads(was_a) && only_leads(was_b);
    }
}

static bool underscore_eq(qs_str a, qs_str b) {
    bool differ = false;
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++) {
        char x = a.p[i] == '.' ? '_' : a.p[i], y = b.p[i] == '.' ? '_' : b.p[i];
        if (x != y) return false;
        differ |= a.p[i] != b.p[i];
    }
    return differ;
}

bool qs_name_is_norm_field(qs_str leaf) {
    static const char *const fields[] = {"weight", "bias", "running_mean", "running_var",
                                         "num_batches_tracked"};
    return one_of(leaf, fields, sizeof fields / sizeof *fields);
}

/* name with the first of the words in it replaced by '#'; false if none is in it or it is too long. */
static bool mark_word(qs_str name, const char *const *words, size_t n, char *out, size_t cap) {
    for (size_t i = 0; i < n; i++) {
        size_t at = qs_str_find(name, qs_str_of(words[i])), len = strlen(words[i]);
        if (at == SIZE_MAX || name.n - len + 2 > cap) continue;
        snprintf(out, cap, "%.*s#%.*s", (int)at, name.p, (int)(name.n - at - len), name.p + at + len);
        return true;
    }
    return false;
}

bool qs_name_number(qs_str component, uint32_t *out) {
    *out = 0;
    if (component.n == 0 || component.n > 9) return false;
    for (size_t i = 0; i < component.n; i++) {
        if (component.p[i] < '0' || component.p[i] > '9') return false;
        *out = *out * 10 + (uint32_t)(component.p[i] - '0');
    }
    return true;
}

int qs_name_norm_of(qs_str conv, qs_str norm) {
    static const char *const convs[] = {"conv", "linear", "fc"};
    static const char *const norms[] = {"batch_norm", "batchnorm", "norm", "bn"};
    char c[64], b[64];
    if (mark_word(conv, convs, 3, c, sizeof c) && mark_word(norm, norms, 4, b, sizeof b) && strcmp(c, b) == 0)
        return 2;
    if (norm.n > conv.n && qs_str_starts(norm, conv)) {
        qs_str rest = qs_str_sub(norm, conv.n, norm.n);
        if (qs_str_is(rest, "_bn") || qs_str_is(rest, "_norm") || qs_str_is(rest, "_batchnorm")) return 2;
    }
    uint32_t x, y;
    return qs_name_number(conv, &x) && qs_name_number(norm, &y) && y == x + 1 ? 1 : 0;
}

const qs_tail_rename qs_tail_renames[] = {
    {"min_vals", "min_val"},
    {"max_vals", "max_val"},
    {"min_val", "min_vals"},
    {"max_val", "max_vals"},
    {"_weight", "weight"},
    {"_bias", "bias"},
    {"gamma", "weight"},
    {"beta", "bias"},
    {"weight", "gamma"},
    {"bias", "beta"},
    {"gamma", "bn.weight"},
    {"beta", "bn.bias"},
    {"running_mean", "bn.running_mean"},
    {"running_var", "bn.running_var"},
    {"num_batches_tracked", "bn.num_batches_tracked"},
    {"bn.weight", "gamma"},
    {"bn.bias", "beta"},
    {"bn.running_mean", "running_mean"},
    {"bn.running_var", "running_var"},
    {"bn.num_batches_tracked", "num_batches_tracked"},
    {"weight_g", "parametrizations.weight.original0"},
    {"weight_v", "parametrizations.weight.original1"},
    {"parametrizations.weight.original0", "weight_g"},
    {"parametrizations.weight.original1", "weight_v"},
    /* an observer alone (prepare), and one in a FakeQuantize (prepare_qat) */
    {"activation_post_process.min_val", "activation_post_process.activation_post_process.min_val"},
    {"activation_post_process.max_val", "activation_post_process.activation_post_process.max_val"},
    {"activation_post_process.activation_post_process.min_val", "activation_post_process.min_val"},
    {"activation_post_process.activation_post_process.max_val", "activation_post_process.max_val"},
    {"activation_post_process.eps", "activation_post_process.activation_post_process.eps"},
    {"activation_post_process.histogram", "activation_post_process.activation_post_process.histogram"},
    {"activation_post_process.activation_post_process.eps", "activation_post_process.eps"},
    {"activation_post_process.activation_post_process.histogram", "activation_post_process.histogram"},
};
const size_t qs_tail_rename_count = sizeof qs_tail_renames / sizeof *qs_tail_renames;

bool qs_name_has_tail(qs_str key, const char *tail, qs_str *head) {
    qs_str t = qs_str_of(tail);
    if (!qs_str_ends(key, t)) return false;
    if (key.n == t.n) {
        *head = (qs_str){key.p, 0};
        return true;
    }
    if (key.p[key.n - t.n - 1] != '.') return false;
    *head = qs_str_sub(key, 0, key.n - t.n - 1);
    return true;
}

static bool tail_renamed(qs_str from, qs_str to) {
    for (size_t i = 0; i < qs_tail_rename_count; i++) {
        qs_str a, b;
        if (qs_name_has_tail(from, qs_tail_renames[i].from, &a) &&
            qs_name_has_tail(to, qs_tail_renames[i].to, &b) && qs_str_eq(a, b))
            return true;
    }
    return false;
}

/* to is from with ".module" before the last component. */
static bool wraps(qs_str from, qs_str to) {
    qs_str inner = qs_str_parent(to);
    if (!qs_str_eq(qs_str_leaf(from), qs_str_leaf(to)) || !qs_str_is(qs_str_leaf(inner), "module"))
        return false;
    return qs_str_eq(qs_str_parent(inner), qs_str_parent(from));
}

/* folded is CONV.bn.F or CONV.module.bn.F, plain is NORM.F beside CONV: how surely, as qs_name_norm_of; -1 if
 * not. */
static int folds(qs_str plain, qs_str folded) {
    qs_str leaf = qs_str_leaf(plain), norm = qs_str_parent(plain), bn = qs_str_parent(folded);
    if (!qs_name_is_norm_field(leaf) || !qs_str_eq(leaf, qs_str_leaf(folded))) return -1;
    if (!qs_str_is(qs_str_leaf(bn), "bn")) return -1;
    qs_str conv = qs_str_parent(bn);
    if (qs_str_is(qs_str_leaf(conv), "module")) conv = qs_str_parent(conv);
    if (conv.n == 0 || !qs_str_eq(qs_str_parent(conv), qs_str_parent(norm)) || qs_str_eq(conv, norm))
        return -1;
    return qs_name_norm_of(qs_str_leaf(conv), qs_str_leaf(norm));
}

static size_t count_parts(qs_str s) {
    size_t n = 1;
    for (size_t i = 0; i < s.n; i++) n += s.p[i] == '.';
    return n;
}

static size_t common_tail(qs_str a, qs_str b) {
    qs_str x, y;
    size_t n = 0;
    while (qs_name_pop(&a, &x) && qs_name_pop(&b, &y) && qs_str_eq(x, y)) n++;
    return n;
}

static size_t common_head(qs_str a, qs_str b) {
    size_t n = 0;
    for (size_t i = 0; i < a.n && i < b.n && a.p[i] == b.p[i]; i++) n += a.p[i] == '.';
    return n;
}

static qs_relation similar(qs_str from, qs_str to) {
    size_t parts = count_parts(from), other = count_parts(to), least = parts < other ? parts : other;
    if (other > parts) parts = other;
    size_t tail = common_tail(from, to), head = common_head(from, to);
    if (tail == 0) return (qs_relation){0.05, "same shape", false};
    if (head + tail > least) head = least - tail;
    double share = (double)(head + tail) / (double)parts;
    return (qs_relation){0.2 + 0.6 * share, tail > 1 ? "same end of the name" : "same last part of the name",
                         false};
}

qs_relation qs_name_relate(qs_str from, qs_str to) {
    if (qs_str_eq(from, to)) return (qs_relation){1, "same name", true};
    if (wraps(from, to)) return (qs_relation){0.97, "same place, the model wraps this layer", true};
    if (wraps(to, from)) return (qs_relation){0.97, "same place, without the wrapper", true};
    if (tail_renamed(from, to)) return (qs_relation){0.96, "the same tensor, renamed between versions", true};
    int fold = folds(from, to), unfold = fold < 0 ? folds(to, from) : -1;
    static const double sure[] = {0.6, 0.85, 0.96};
    if (fold >= 0) return (qs_relation){sure[fold], "BatchNorm held by its conv in the model", fold == 2};
    if (unfold >= 0)
        return (qs_relation){sure[unfold], "BatchNorm beside its conv in the model", unfold == 2};
    if (core_eq(from, to)) return (qs_relation){0.95, "same name but for wrappers", true};
    if (underscore_eq(from, to)) return (qs_relation){0.92, "same name with . for _", true};
    return similar(from, to);
}
