#include "session_preview.h"

#include <math.h>

/* To be read, a tensor of more values than this is described, not written out. */
enum { WRITTEN_OUT = 16, PER_LINE = 8 };

static void python_string(qs_buf *out, qs_str s) {
    qs_buf_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            qs_buf_addf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            qs_buf_addf(out, "\\x%02x", c);
        else
            qs_buf_addc(out, (char)c);
    }
    qs_buf_addc(out, '"');
}

/* $1 and ${name} of a replacement as Python's re spells them. */
static void python_replacement(qs_buf *out, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], next = i + 1 < s.n ? s.p[i + 1] : 0;
        if (c != '$') {
            qs_buf_addf(out, c == '\\' ? "\\\\" : "%c", c);
        } else if (next == '$') {
            qs_buf_addc(out, '$');
            i++;
        } else {
            bool brace = next == '{';
            size_t from = i + 1 + brace, to = from;
            while (to < s.n && (brace ? s.p[to] != '}' : to < from + 2 && s.p[to] >= '0' && s.p[to] <= '9'))
                to++;
            qs_buf_addf(out, "\\g<%.*s>", QS_FMT(qs_str_sub(s, from, to)));
            i = to - !brace;
        }
    }
}

/* Named groups are (?P<name>...) there; the rest of what people write is the same. */
static void python_regex(qs_buf *out, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        bool named = i + 3 < s.n && memcmp(s.p + i, "(?<", 3) == 0 && s.p[i + 3] != '=' && s.p[i + 3] != '!';
        if (named) {
            qs_buf_addz(out, "(?P<");
            i += 2;
        } else {
            qs_buf_addc(out, s.p[i]);
        }
    }
}

static void glob_pattern(qs_buf *out, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '*' && i + 1 < s.n && s.p[i + 1] == '*') {
            qs_buf_addz(out, "(.*)");
            i++;
        } else if (s.p[i] == '*') {
            qs_buf_addz(out, "([^.]*)");
        } else if (s.p[i] == '?') {
            qs_buf_addz(out, "([^.])");
        } else {
            qs_buf_addf(out, strchr("\\^$.|+()[]{}", s.p[i]) ? "\\%c" : "%c", s.p[i]);
        }
    }
}

static void prefix_lines(qs_buf *out, const qs_action *a) {
    qs_buf_addz(out, "old = ");
    python_string(out, a->pattern);
    qs_buf_addz(out, "\nsd = OrderedDict((");
    python_string(out, a->replacement);
    qs_buf_addz(out, " + k[len(old):] if k.startswith(old) else k, v) for k, v in sd.items())\n");
}

static void rule_lines(qs_buf *out, const qs_action *a) {
    if (a->pattern_kind == QS_PATTERN_PREFIX) return prefix_lines(out, a);
    qs_buf text = {0};
    if (a->pattern_kind == QS_PATTERN_GLOB)
        glob_pattern(&text, a->pattern);
    else
        python_regex(&text, a->pattern);
    qs_buf_addz(out, "rule = re.compile(");
    python_string(out, qs_buf_str(&text));
    qs_buf_addz(out, ", re.S)\nsd = OrderedDict((rule.fullmatch(k).expand(");
    text.n = 0;
    python_replacement(&text, a->replacement);
    python_string(out, qs_buf_str(&text));
    qs_buf_addz(out, ") if rule.fullmatch(k) else k, v) for k, v in sd.items())\n");
    out->failed = out->failed || text.failed;
    qs_buf_free(&text);
}

static void rename_lines(qs_buf *out, const qs_action *a) {
    qs_buf_addz(out, "names = {\n");
    for (size_t i = 0; i < a->pair_count; i++) {
        qs_buf_addz(out, "    ");
        python_string(out, a->pairs[i].from);
        qs_buf_addz(out, ": ");
        python_string(out, a->pairs[i].to);
        qs_buf_addz(out, ",\n");
    }
    qs_buf_addz(out, "}\nsd = OrderedDict((names.get(k, k), v) for k, v in sd.items())\n");
}

static void number(qs_buf *out, qs_dtype dtype, double v) {
    if (isinf(v))
        qs_buf_addz(out, v > 0 ? "float(\"inf\")" : "float(\"-inf\")");
    else if (isnan(v))
        qs_buf_addz(out, "float(\"nan\")");
    else if (!qs_dtype_is_float(dtype))
        qs_buf_addf(out, "%.0f", v);
    else
        qs_buf_addf(out, dtype == QS_FLOAT64 ? "%.17g" : "%.9g", v);
}

static void dims(qs_buf *out, qs_shape shape) {
    qs_buf_addc(out, '(');
    for (uint32_t i = 0; i < shape.ndim; i++) qs_buf_addf(out, "%lld,", (long long)shape.dim[i]);
    qs_buf_addc(out, ')');
}

static bool all_equal(const qs_fill *f, size_t n, size_t size) {
    return n > 1 && memcmp(f->data, (const char *)f->data + size, (n - 1) * size) == 0;
}

static void list_values(qs_buf *out, const qs_fill *f, size_t n, size_t size) {
    const char *p = f->data;
    qs_buf_addz(out, "torch.tensor([");
    for (size_t i = 0; i < n; i++) {
        double v;
        qs_to_doubles(f->dtype, p + i * size, 1, &v);
        if (n > WRITTEN_OUT && i % PER_LINE == 0)
            qs_buf_addz(out, i ? ",\n    " : "\n    ");
        else if (i)
            qs_buf_addz(out, ", ");
        number(out, f->dtype, v);
    }
    qs_buf_addf(out, "], dtype=torch.%s).reshape(", qs_dtype_get(f->dtype)->name);
    dims(out, f->shape);
}

static void value_line(qs_buf *out, qs_str key, const qs_fill *f, bool whole) {
    size_t size = qs_dtype_get(f->dtype)->size, n = size ? f->bytes / size : 0;
    const char *origin = f->origin ? f->origin : "made";
    qs_buf_addz(out, "sd[");
    python_string(out, key);
    qs_buf_addz(out, "] = ");
    if (n > WRITTEN_OUT && !whole) {
        qs_buf_addf(out, "...  # %zu values, %s\n", n, origin);
    } else if (n > WRITTEN_OUT && all_equal(f, n, size)) {
        double v;
        qs_to_doubles(f->dtype, f->data, 1, &v);
        qs_buf_addz(out, "torch.full(");
        dims(out, f->shape);
        qs_buf_addz(out, ", ");
        number(out, f->dtype, v);
        qs_buf_addf(out, ", dtype=torch.%s)  # %s\n", qs_dtype_get(f->dtype)->name, origin);
    } else {
        list_values(out, f, n, size);
        qs_buf_addf(out, ")  # %s\n", origin);
    }
}

/* torch casts as the plan does, and repeats a single element. */
static void converted_line(qs_buf *out, qs_str key, const qs_resolved *x) {
    qs_buf_addz(out, "sd[");
    python_string(out, key);
    qs_buf_addz(out, "] = sd[");
    python_string(out, key);
    qs_buf_addf(out, "].to(torch.%s).reshape(-1).expand(%llu).reshape(", qs_dtype_get(x->dtype)->name,
                (unsigned long long)qs_shape_numel(x->shape));
    dims(out, x->shape);
    qs_buf_addz(out, ").clone()\n");
}

static void drop_top_line(qs_buf *out, qs_str key) {
    qs_buf_addz(out, "del sd_file[");
    python_string(out, key);
    qs_buf_addz(out, "]\n");
}

typedef struct script {
    qs_buf *out;
    const qs_resolution *r; /* traced */
    qs_init_cache *cache;
    size_t change; /* the next one to tell */
    bool whole;
    qs_err *e;
} script;

static void entry_line(script *x, const char *before, qs_str key, const char *after) {
    qs_buf_addz(x->out, before);
    python_string(x->out, key);
    qs_buf_addz(x->out, after);
}

/* The value an entry has in the end: if it is overwritten or dropped later, that only comes sooner. */
static bool made_lines(script *x, const qs_change *c) {
    const qs_resolved *end = c->result == QS_NO_INDEX ? NULL : qs_resolution_entry(x->r, c->result);
    if (!end) {
        entry_line(x, "sd[", c->after, "] = None  # dropped again below\n");
    } else if (end->mark == QS_MARK_CONVERTED && end->b == QS_NO_INDEX) {
        converted_line(x->out, c->after, end);
    } else if (end->mark == QS_MARK_COPIED || end->mark == QS_MARK_CONVERTED) {
        entry_line(x, "sd[", c->after, "] = b[");
        entry_line(x, "", qs_checkpoint_entry(qs_resolution_input(x->r)->b, end->b)->key, "]\n");
        if (end->mark == QS_MARK_CONVERTED) converted_line(x->out, c->after, end);
    } else if (end->mark == QS_MARK_INIT) {
        qs_arena arena = {0};
        qs_fill fill;
        bool ok = qs_resolved_fill(x->r, end, x->cache, &arena, &fill, x->e);
        if (ok) value_line(x->out, c->after, &fill, x->whole);
        qs_arena_free(&arena);
        return ok;
    }
    return true;
}

/* What an action made, took from B or dropped, entry by entry. */
static bool entry_lines(script *x, size_t action) {
    for (; x->change < qs_resolution_change_count(x->r); x->change++) {
        qs_change c = qs_resolution_change(x->r, x->change);
        if (c.action != action) break;
        if (c.made && !made_lines(x, &c)) return false;
        if (c.after.n == 0) entry_line(x, "del sd[", c.before, "]\n");
    }
    return true;
}

static bool action_lines(script *x, size_t i) {
    const qs_action *a = qs_plan_action(qs_resolution_input(x->r)->plan, i);
    char what[400];
    qs_action_describe(a, what, sizeof what);
    qs_buf_addf(x->out, "\n# %zu: %s%s\n", i + 1, what, a->off ? " (off)" : "");
    if (a->off) return true;
    if (a->kind == QS_ACT_RULE)
        rule_lines(x->out, a);
    else if (a->kind == QS_ACT_RENAME)
        rename_lines(x->out, a);
    else if (a->scope_kind == QS_SCOPE_TOP)
        drop_top_line(x->out, a->scope);
    return entry_lines(x, i); /* of a renaming there is nothing left to tell */
}

static void root_lines(qs_buf *out, const qs_root *root) {
    qs_str path = root ? root->path : QS_STR("");
    while (path.n) {
        size_t dot = qs_str_find(path, QS_STR("."));
        qs_str part = qs_str_sub(path, 0, dot);
        qs_buf_addc(out, '[');
        python_string(out, part);
        qs_buf_addc(out, ']');
        path = qs_str_sub(path, part.n + 1, path.n);
    }
}

static void load_lines(qs_buf *out, const char *name, const qs_checkpoint *c) {
    const qs_root *root = qs_checkpoint_chosen_root(c);
    qs_buf_addf(out, "%s_file = torch.load(", name);
    python_string(out, qs_str_of(qs_checkpoint_path(c)));
    qs_buf_addf(out, ", map_location=\"cpu\")\n%s = %s_file", name, name);
    root_lines(out, root);
    qs_buf_addz(out, root && root->kind == QS_ROOT_MODULE ? ".state_dict()\n" : "\n");
}

/* Torch's own order; a name that is not there raises, one too many fails the assertion. */
static void order_lines(script *x) {
    uint32_t n = qs_resolution_live(x->r);
    qs_buf_addf(
        x->out,
        "\n# %u entries, in the order of the model\nassert len(sd) == %u\nsd = OrderedDict((k, sd[k]) "
        "for k in [\n",
        n, n);
    for (uint32_t i = 0; i < n; i++) entry_line(x, "    ", qs_resolution_entry(x->r, i)->key, ",\n");
    qs_buf_addz(x->out, "])\n");
}

/* The versions load_state_dict goes by. */
static void metadata_lines(script *x) {
    if (!qs_resolution_has_metadata(x->r)) return;
    qs_buf_addz(x->out, "sd._metadata = OrderedDict()\n");
    for (uint32_t i = 0; i < qs_resolution_metadata_count(x->r); i++) {
        qs_str prefix = qs_resolution_metadata_prefix(x->r, i);
        int64_t version = qs_resolution_version(x->r, prefix);
        entry_line(x, "sd._metadata[", prefix, "] = {");
        if (version >= 0) qs_buf_addf(x->out, "\"version\": %lld", (long long)version);
        qs_buf_addz(x->out, "}\n");
    }
}

static void save_lines(script *x) {
    const qs_root *root = qs_checkpoint_chosen_root(qs_resolution_input(x->r)->a);
    bool inside = root && root->path.n;
    order_lines(x);
    metadata_lines(x);
    if (inside) {
        qs_buf_addz(x->out, "\nsd_file");
        root_lines(x->out, root);
        qs_buf_addz(x->out, " = sd\n");
    }
    qs_buf_addf(x->out, "%storch.save(%s, sys.argv[1])\n", inside ? "" : "\n", inside ? "sd_file" : "sd");
}

bool qs_session_python(const qs_session *s, bool whole, qs_buf *out, qs_err *e) {
    qs_resolve_input in = *qs_resolution_input(qs_session_resolution(s));
    qs_resolution *r = NULL;
    in.trace = true;
    if (!qs_resolve(&in, &r, e)) return false;
    script x = {.out = out, .r = r, .cache = qs_init_cache_new(), .whole = whole, .e = e};
    bool ok = x.cache != NULL || qs_nomem(e);
    qs_buf_addf(out, "import re\n%sfrom collections import OrderedDict\n\nimport torch\n\n",
                whole ? "import sys\n" : "");
    load_lines(out, "sd", qs_session_a(s));
    if (qs_session_b(s)) load_lines(out, "b", qs_session_b(s));
    for (size_t i = 0; ok && i < qs_plan_count(in.plan); i++) ok = action_lines(&x, i);
    if (ok && whole) save_lines(&x);
    qs_init_cache_free(x.cache);
    qs_resolution_free(r);
    return ok && (!out->failed || qs_nomem(e));
}
