#include "session_preview.h"

#include <math.h>

/* A tensor of more values than this is described, not written out. */
enum { WRITTEN_OUT = 16 };

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
    else
        qs_buf_addf(out, qs_dtype_is_float(dtype) ? "%.9g" : "%.0f", v);
}

static void dims(qs_buf *out, qs_shape shape) {
    qs_buf_addc(out, '(');
    for (uint32_t i = 0; i < shape.ndim; i++) qs_buf_addf(out, "%lld,", (long long)shape.dim[i]);
    qs_buf_addc(out, ')');
}

static void value_line(qs_buf *out, qs_str key, const qs_fill *f) {
    size_t size = qs_dtype_get(f->dtype)->size, n = size ? f->bytes / size : 0;
    double v[WRITTEN_OUT];
    qs_buf_addz(out, "sd[");
    python_string(out, key);
    qs_buf_addz(out, "] = ");
    if (n > WRITTEN_OUT) {
        qs_buf_addf(out, "...  # %zu values, %s\n", n, f->origin ? f->origin : "made");
        return;
    }
    qs_to_doubles(f->dtype, f->data, n, v);
    qs_buf_addz(out, "torch.tensor([");
    for (size_t i = 0; i < n; i++) {
        if (i) qs_buf_addz(out, ", ");
        number(out, f->dtype, v[i]);
    }
    qs_buf_addf(out, "], dtype=torch.%s).reshape(", qs_dtype_get(f->dtype)->name);
    dims(out, f->shape);
    qs_buf_addf(out, ")  # %s\n", f->origin ? f->origin : "made");
}

static void drop_top_line(qs_buf *out, qs_str key) {
    qs_buf_addz(out, "del sd_file[");
    python_string(out, key);
    qs_buf_addz(out, "]\n");
}

/* Entries of the result that this action made or took from B. */
static bool entry_lines(qs_buf *out, const qs_session *s, size_t action, qs_init_cache *cache, qs_err *e) {
    const qs_resolution *r = qs_session_resolution(s);
    for (uint32_t i = 0; i < qs_resolution_count(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        if (x->action != action) continue;
        if (x->mark == QS_MARK_COPIED || x->mark == QS_MARK_DROPPED) {
            qs_buf_addz(out, x->mark == QS_MARK_COPIED ? "sd[" : "del sd[");
            python_string(out, x->key);
            qs_buf_addz(out, x->mark == QS_MARK_COPIED ? "] = b[" : "]\n");
            if (x->mark == QS_MARK_DROPPED) continue;
            python_string(out, x->key);
            qs_buf_addz(out, "]\n");
        } else if (x->mark == QS_MARK_INIT) {
            qs_arena arena = {0};
            qs_fill fill;
            bool ok = qs_resolved_fill(r, x, cache, &arena, &fill, e);
            if (ok) value_line(out, x->key, &fill);
            qs_arena_free(&arena);
            if (!ok) return false;
        }
    }
    return true;
}

static void load_lines(qs_buf *out, const char *name, const qs_checkpoint *c) {
    const qs_root *root = qs_checkpoint_chosen_root(c);
    qs_buf_addf(out, "%s_file = torch.load(", name);
    python_string(out, qs_str_of(qs_checkpoint_path(c)));
    qs_buf_addf(out, ", map_location=\"cpu\")\n%s = %s_file", name, name);
    qs_str path = root ? root->path : QS_STR("");
    while (path.n) {
        size_t dot = qs_str_find(path, QS_STR("."));
        qs_str part = qs_str_sub(path, 0, dot);
        qs_buf_addc(out, '[');
        python_string(out, part);
        qs_buf_addc(out, ']');
        path = qs_str_sub(path, part.n + 1, path.n);
    }
    qs_buf_addz(out, root && root->kind == QS_ROOT_MODULE ? ".state_dict()\n" : "\n");
}

bool qs_session_python(const qs_session *s, qs_buf *out, qs_err *e) {
    const qs_plan *plan = qs_session_plan(s);
    qs_init_cache *cache = qs_init_cache_new();
    bool ok = cache != NULL || qs_nomem(e);
    qs_buf_addz(out, "import re\nfrom collections import OrderedDict\n\nimport torch\n\n");
    load_lines(out, "sd", qs_session_a(s));
    if (qs_session_b(s)) load_lines(out, "b", qs_session_b(s));
    for (size_t i = 0; ok && i < qs_plan_count(plan); i++) {
        const qs_action *a = qs_plan_action(plan, i);
        char what[400];
        qs_action_describe(a, what, sizeof what);
        qs_buf_addf(out, "\n# %zu: %s\n", i + 1, what);
        if (a->kind == QS_ACT_RULE)
            rule_lines(out, a);
        else if (a->kind == QS_ACT_RENAME)
            rename_lines(out, a);
        else if (a->scope_kind == QS_SCOPE_TOP)
            drop_top_line(out, a->scope);
        else
            ok = entry_lines(out, s, i, cache, e);
    }
    qs_init_cache_free(cache);
    return ok && (!out->failed || qs_nomem(e));
}
