#include "model/provenance.h"

#include <stdlib.h>

typedef enum evidence {
#define QS_EVIDENCE(ID, from, to, text) EV_##ID,
#include "model/provenance.def"
#undef QS_EVIDENCE
    EVIDENCE_COUNT
} evidence;

static const struct {
    int from, to;
    const char *text;
} evidences[] = {
#define QS_EVIDENCE(ID, from, to, text) {from, to, text},
#include "model/provenance.def"
#undef QS_EVIDENCE
};

static const struct {
    qs_str key;
    const char *label, *name;
} top_keys[] = {
#define QS_TOP_KEY(key, label, name) {{key, sizeof key - 1}, label, name},
#include "model/provenance.def"
#undef QS_TOP_KEY
};

enum { TOP_KEYS = sizeof top_keys / sizeof *top_keys };

typedef struct finder {
    const qs_checkpoint *c;
    const qs_graph *g;
    qs_provenance *p;
    bool seen[EVIDENCE_COUNT];
    qs_node top[TOP_KEYS]; /* their values; QS_NODE_NONE */
    qs_err *err;
} finder;

static bool add_fact(finder *f, const char *label, qs_str text) {
    char shown[400];
    qs_str_printable(text, shown, sizeof shown);
    qs_str copy = qs_arena_str(&f->p->arena, qs_str_of(shown));
    if (!copy.p) return qs_nomem(f->err);
    return qs_push(&f->p->facts, (qs_provenance_fact){label, copy.p}) || qs_nomem(f->err);
}

/* ---- the container ---- */

static bool has_record(const finder *f, const char *name) {
    return qs_container_find(qs_checkpoint_container(f->c), qs_str_of(name)) != UINT32_MAX;
}

/* Torch up to 1.7 names storages by where they were in memory, later ones 0, 1, 2. */
static void look_at_keys(finder *f) {
    uint32_t n = qs_checkpoint_storage_count(f->c), counted = 0, large = 0;
    for (uint32_t i = 0; i < n; i++) {
        qs_str key = qs_storage_key(f->c, qs_checkpoint_storage(f->c, i));
        bool digits = key.n > 0 && key.n < 20; /* fits */
        uint64_t v = 0;
        for (size_t k = 0; k < key.n && digits; k++) {
            digits = key.p[k] >= '0' && key.p[k] <= '9';
            v = v * 10 + (uint64_t)(key.p[k] - '0');
        }
        if (!digits) return;
        counted += v < n;
        large += v > 1u << 20 && v > 16ull * n;
    }
    f->seen[EV_COUNTED_KEYS] = n && counted == n;
    f->seen[EV_ADDRESS_KEYS] = n && large == n;
}

/* torch.save writes data.pkl first; what does not is another's, and tells nothing of torch. */
static bool look_at_zip(finder *f) {
    const qs_container *box = qs_checkpoint_container(f->c);
    if (!qs_str_is(qs_container_record(box, 0)->name, "data.pkl"))
        return add_fact(
            f, "container",
            QS_STR("torch zip, but not as torch.save writes it (data.pkl is not its first record): "
                   "qatscope or another tool wrote it"));
    bool order = has_record(f, "byteorder"), format = has_record(f, ".format_version");
    f->seen[EV_ZIP] = true;
    f->seen[order ? EV_BYTEORDER : EV_NO_BYTEORDER] = true;
    if (format) f->seen[EV_FORMAT_VERSION] = true;
    if (order && !format) f->seen[EV_NO_FORMAT_VERSION] = true;
    f->seen[EV_NAMED_FOLDER] = !qs_str_is(qs_container_prefix(box), "archive");
    look_at_keys(f);
    return add_fact(f, "container", QS_STR("torch zip"));
}

static bool look_at_container(finder *f) {
    qs_file_kind kind = qs_container_kind(qs_checkpoint_container(f->c));
    if (kind == QS_FILE_TORCH_ZIP) return look_at_zip(f);
    if (kind == QS_FILE_LEGACY)
        return add_fact(f, "container",
                        QS_STR("legacy: torch 1.5 or older, or a newer one told not to write a zip archive"));
    return add_fact(f, "container", qs_str_of(qs_file_kind_name(kind)));
}

/* ---- the entries ---- */

static void look_at_dtype(finder *f, qs_dtype t) {
    switch (t) {
    case QS_FLOAT8_E4M3FN:
    case QS_FLOAT8_E5M2: f->seen[EV_FLOAT8] = true; break;
    case QS_FLOAT8_E4M3FNUZ:
    case QS_FLOAT8_E5M2FNUZ: f->seen[EV_FNUZ] = true; break;
    case QS_UINT16:
    case QS_UINT32:
    case QS_UINT64: f->seen[EV_UNSIGNED] = true; break;
    case QS_FLOAT8_E8M0FNU:
    case QS_FLOAT4_E2M1FN_X2: f->seen[EV_E8M0] = true; break;
    default: break;
    }
}

static bool torch_wrote(const finder *f) {
    qs_file_kind kind = qs_container_kind(qs_checkpoint_container(f->c));
    return kind == QS_FILE_TORCH_ZIP || kind == QS_FILE_LEGACY || kind == QS_FILE_DCP;
}

typedef struct wrapper {
    qs_str part;
    char where;
    const char *label;
} wrapper;

static const wrapper wrappers[] = {
#define QS_WRAPPER(part, where, label) {{part, sizeof part - 1}, where, label},
#include "model/provenance.def"
#undef QS_WRAPPER
};

enum { WRAPPERS = sizeof wrappers / sizeof *wrappers };

/* Which wrappers to look for in a key, as bits, and the characters before the dots their parts end with: at
 * most dots nothing need be compared. */
typedef struct wanted {
    unsigned begins, within;
    bool last[256];
} wanted;

static unsigned parts_within(qs_str key, const wanted *w) {
    unsigned found = 0;
    for (size_t end = 1; end < key.n; end++) {
        const char *dot = memchr(key.p + end, '.', key.n - end);
        if (!dot) break;
        end = (size_t)(dot - key.p);
        if (!w->last[(unsigned char)dot[-1]]) continue;
        for (unsigned k = 0; k < WRAPPERS; k++)
            if ((w->within & 1u << k) && qs_str_ends(qs_str_sub(key, 0, end + 1), wrappers[k].part))
                found |= 1u << k;
    }
    return found;
}

/* Bits of the wrappers whose part all keys begin with ('^') or any has in it ('*'). */
static unsigned find_wrappers(const finder *f) {
    wanted w = {0};
    unsigned found = 0;
    uint32_t n = qs_checkpoint_count(f->c);
    for (unsigned k = 0; k < WRAPPERS; k++) {
        *(wrappers[k].where == '^' ? &w.begins : &w.within) |= 1u << k;
        w.last[(unsigned char)wrappers[k].part.p[wrappers[k].part.n - 2]] = true;
    }
    for (uint32_t i = 0; i < n; i++) {
        qs_str key = qs_checkpoint_entry(f->c, i)->key;
        for (unsigned k = 0; k < WRAPPERS && w.begins; k++)
            if (!qs_str_starts(key, wrappers[k].part)) w.begins &= ~(1u << k);
        found |= parts_within(key, &w);
    }
    return n ? found | w.begins : 0;
}

static bool look_at_entries(finder *f) {
    uint32_t n = qs_checkpoint_count(f->c);
    bool torchs = torch_wrote(f);
    for (uint32_t i = 0; i < n && torchs; i++) {
        const qs_tensor *t = qs_entry_tensor(f->c, qs_checkpoint_entry(f->c, i));
        if (t) look_at_dtype(f, t->dtype);
    }
    unsigned found = find_wrappers(f);
    for (unsigned k = 0; k < WRAPPERS; k++)
        if ((found & 1u << k) && !add_fact(f, "wrapper", qs_str_of(wrappers[k].label))) return false;
    return true;
}

/* Keys that only averaged weights have. */
static bool look_at_average(finder *f) {
    static const char *const names[] = {"ema", "params_ema", "model_ema", "ema_state_dict", "state_dict_ema"};
    qs_str path = qs_checkpoint_chosen_root(f->c)->path;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (qs_str_is(path, names[i]))
            return add_fact(f, "wrapper", QS_STR("moving average of the weights (the part that was chosen)"));
    if (qs_checkpoint_find(f->c, QS_STR("n_averaged")) == UINT32_MAX) return true;
    return add_fact(f, "wrapper", QS_STR("AveragedModel of torch.optim.swa_utils (n_averaged)"));
}

static void look_at_versions(finder *f) {
    if (qs_checkpoint_chosen_root(f->c)->kind == QS_ROOT_MODULE) return; /* those are ours, not the file's */
    for (uint32_t i = 0; i < qs_checkpoint_metadata_count(f->c); i++) {
        qs_str prefix = qs_checkpoint_metadata_prefix(f->c, i);
        if (!qs_str_ends(prefix, QS_STR("activation_post_process.activation_post_process")) &&
            !qs_str_ends(prefix, QS_STR("weight_fake_quant.activation_post_process")))
            continue;
        int64_t v = qs_checkpoint_version(f->c, prefix);
        if (v == 2) f->seen[EV_OBSERVER_2] = true;
        if (v == 3) f->seen[EV_OBSERVER_3] = true;
    }
}

/* Modules of a pickle carry the attributes of the torch that made them. */
static void look_at_modules(finder *f) {
    uint32_t n = qs_checkpoint_module_count(f->c);
    for (uint32_t i = 0; i < n; i++) {
        qs_str class = qs_checkpoint_module_class(f->c, i);
        if (qs_str_starts(class, QS_STR("torch.ao."))) f->seen[EV_AO_CLASSES] = true;
        if (qs_str_starts(class, QS_STR("torch.quantization."))) f->seen[EV_OLD_QUANT_CLASSES] = true;
    }
    qs_node state = n ? qs_checkpoint_module_state(f->c, 0) : QS_NODE_NONE;
    if (qs_node_get(f->g, state, "_forward_hooks") == QS_NODE_NONE) return; /* none of torch's own */
    bool full = qs_node_get(f->g, state, "_is_full_backward_hook") != QS_NODE_NONE;
    bool post = qs_node_get(f->g, state, "_load_state_dict_post_hooks") != QS_NODE_NONE;
    bool kwargs = qs_node_get(f->g, state, "_forward_hooks_with_kwargs") != QS_NODE_NONE;
    f->seen[full ? EV_FULL_HOOK : EV_NO_FULL_HOOK] = true;
    if (!post) f->seen[EV_NO_POST_HOOKS] = true;
    f->seen[kwargs ? EV_KWARGS_HOOKS : EV_NO_KWARGS_HOOKS] = true;
}

/* ---- the framework ---- */

static bool add_framework_of(finder *f, qs_str class, bool *found) {
    static const struct {
        const char *name, *package;
    } frameworks[] = {
#define QS_FRAMEWORK(name, package) {name, package},
#include "model/provenance.def"
#undef QS_FRAMEWORK
    };
    for (size_t i = 0; i < sizeof frameworks / sizeof *frameworks && !*found; i++) {
        if (!qs_str_starts(class, qs_str_of(frameworks[i].package))) continue;
        char text[300], shown[200];
        qs_str_printable(class, shown, sizeof shown);
        snprintf(text, sizeof text, "%s (class %s)", frameworks[i].name, shown);
        *found = true;
        return add_fact(f, "framework", qs_str_of(text));
    }
    return true;
}

static bool look_at_classes(finder *f) {
    bool found = false;
    for (uint32_t i = 0; i < qs_checkpoint_root_count(f->c) && !found; i++)
        if (!add_framework_of(f, qs_checkpoint_root(f->c, i)->class_name, &found)) return false;
    return true;
}

/* All of them in one pass: the top level may be a state dict of a hundred thousand. Python keeps the last. */
static void find_top_keys(finder *f) {
    qs_node root = qs_graph_root(f->g);
    for (size_t i = 0; i < qs_node_pairs(f->g, root); i++) {
        qs_node n = qs_node_key(f->g, root, i);
        qs_str key = qs_node_kind_of(f->g, n) == QS_NODE_STR ? qs_node_str(f->g, n) : (qs_str){0};
        for (size_t k = 0; k < TOP_KEYS; k++)
            if (qs_str_eq(key, top_keys[k].key)) f->top[k] = qs_node_value(f->g, root, i);
    }
}

static bool add_top_key(finder *f, size_t k) {
    char value[120], text[300];
    qs_node n = f->top[k];
    qs_node_kind kind = qs_node_kind_of(f->g, n);
    bool text_like = kind == QS_NODE_STR && qs_node_str(f->g, n).n <= 100;
    if (!text_like && kind != QS_NODE_INT && kind != QS_NODE_FLOAT) return true;
    if (text_like)
        qs_str_printable(qs_node_str(f->g, n), value, sizeof value);
    else
        qs_node_describe(f->g, n, value, sizeof value);
    const char *name = top_keys[k].name;
    snprintf(text, sizeof text, "%s%s%s (%s)", name, *name ? " " : "", value, top_keys[k].key.p);
    return add_fact(f, top_keys[k].label, qs_str_of(text));
}

static bool look_at_top(finder *f, const char *label) {
    for (size_t k = 0; k < TOP_KEYS; k++)
        if (strcmp(top_keys[k].label, label) == 0 && !add_top_key(f, k)) return false;
    return true;
}

/* ---- torch ---- */

void qs_provenance_range(const qs_provenance *p, char *out, size_t cap) {
    int a = p->torch_from, b = p->torch_to;
    if (a && a == b)
        snprintf(out, cap, "%d.%d", a / 100, a % 100);
    else if (a && b)
        snprintf(out, cap, "%d.%d to %d.%d", a / 100, a % 100, b / 100, b % 100);
    else if (a || b)
        snprintf(out, cap, "%d.%d or %s", (a | b) / 100, (a | b) % 100, a ? "newer" : "older");
    else
        snprintf(out, cap, "unknown");
}

static bool add_torch(finder *f) {
    qs_provenance *p = f->p;
    for (int i = 0; i < EVIDENCE_COUNT; i++) {
        if (!f->seen[i]) continue;
        if (evidences[i].from > p->torch_from) p->torch_from = evidences[i].from;
        if (evidences[i].to && (!p->torch_to || evidences[i].to < p->torch_to)) p->torch_to = evidences[i].to;
    }
    bool contradicts = p->torch_to && p->torch_from > p->torch_to;
    if (contradicts) p->torch_from = p->torch_to = 0;
    if (!contradicts && !p->torch_from && !p->torch_to) return true;
    qs_buf b = {0};
    char range[40];
    qs_provenance_range(p, range, sizeof range);
    qs_buf_addf(&b, "%s: ", contradicts ? "of several versions" : range);
    for (int i = 0, n = 0; i < EVIDENCE_COUNT; i++) {
        bool tells = contradicts || (evidences[i].from && evidences[i].from == p->torch_from) ||
                     (evidences[i].to && evidences[i].to == p->torch_to);
        if (f->seen[i] && tells) qs_buf_addf(&b, "%s%s", n++ ? ", " : "", evidences[i].text);
    }
    bool ok = b.failed ? qs_nomem(f->err) : add_fact(f, "torch", qs_buf_str(&b));
    qs_buf_free(&b);
    return ok;
}

static bool find_all(finder *f) {
    if (!look_at_container(f)) return false;
    look_at_versions(f);
    look_at_modules(f);
    find_top_keys(f);
    size_t first = f->p->facts.n;
    if (!look_at_entries(f) || !look_at_average(f)) return false;
    size_t n = f->p->facts.n - first;
    if (!add_torch(f) || !look_at_classes(f) || !look_at_top(f, "framework") || !look_at_top(f, "version") ||
        !look_at_top(f, "date"))
        return false;
    /* The wrappers were found on the way; they are listed last. */
    for (size_t i = 0; i < n; i++) {
        qs_provenance_fact moved = f->p->facts.v[first];
        memmove(&f->p->facts.v[first], &f->p->facts.v[first + 1], (f->p->facts.n - first - 1) * sizeof moved);
        f->p->facts.v[f->p->facts.n - 1] = moved;
    }
    return true;
}

bool qs_provenance_new(const qs_checkpoint *c, qs_provenance **out, qs_err *e) {
    finder f = {.c = c, .g = qs_checkpoint_graph(c), .p = calloc(1, sizeof *f.p), .err = e};
    if (!f.p) return qs_nomem(e);
    if (!find_all(&f)) {
        qs_provenance_free(f.p);
        return false;
    }
    *out = f.p;
    return true;
}

void qs_provenance_free(qs_provenance *p) {
    if (!p) return;
    qs_vec_free(&p->facts);
    qs_arena_free(&p->arena);
    free(p);
}
