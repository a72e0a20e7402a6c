/* What the verdict says, in torch's words. */
#include "repair/strict_run.h"

void qs_verdict_free(qs_verdict *v) {
    if (!v) return;
    qs_vec_free(&v->missing);
    qs_vec_free(&v->unexpected);
    qs_vec_free(&v->errors);
    qs_vec_free(&v->advice);
    qs_vec_free(&v->findings);
    qs_arena_free(&v->arena);
    free(v);
}

bool qs_verdict_loads(const qs_verdict *v) {
    return v->errors.n == 0 && (!v->strict || (v->missing.n == 0 && v->unexpected.n == 0));
}

int qs_verdict_torch(const qs_verdict *v) {
    return v->torch;
}
size_t qs_verdict_count(const qs_verdict *v) {
    return v->findings.n;
}
const qs_finding *qs_verdict_finding(const qs_verdict *v, size_t i) {
    return &v->findings.v[i];
}

static void add_names(qs_buf *b, const char *what, const qs_str *keys, size_t n) {
    if (n == 0) return;
    qs_buf_addf(b, "\n\t%s key(s) in state_dict: ", what);
    for (size_t i = 0; i < n; i++) {
        qs_buf_addz(b, i ? ", \"" : "\"");
        qs_buf_add(b, keys[i]);
        qs_buf_addc(b, '"');
    }
    qs_buf_addz(b, ". ");
}

static void add_error(qs_buf *b, const strict_error *x) {
    if (x->whole) {
        qs_buf_addf(b, "\n\t%s", x->text);
        return;
    }
    if (x->kind == QS_FIND_SIZE) {
        qs_buf_addf(b, "\n\tsize mismatch for %.*s: copying a param with shape ", QS_FMT(x->key));
        qs_shape_torch(x->from, b);
        qs_buf_addz(b, " from checkpoint, the shape in current model is ");
        qs_shape_torch(x->to, b);
        qs_buf_addc(b, '.');
        return;
    }
    qs_buf_addf(b, "\n\tWhile copying the parameter named \"%.*s\", ", QS_FMT(x->key));
    if (x->not_a_tensor) {
        qs_buf_addf(b,
                    "expected torch.Tensor or Tensor-like object from checkpoint but received <class '%s'>",
                    x->text);
        return;
    }
    qs_buf_addz(b, "whose dimensions in the model are ");
    qs_shape_torch(x->to, b);
    qs_buf_addz(b, " and whose dimensions in the checkpoint are ");
    qs_shape_torch(x->from, b);
    qs_buf_addz(b, ", an exception occurred : (");
    qs_strict_add_repr(b, qs_str_of(x->text));
    qs_buf_addz(b, ",).");
}

/* type(self).__name__ */
static qs_str model_name(const qs_verdict *v) {
    return v->model.n ? qs_str_leaf(v->model) : QS_STR("Model");
}

bool qs_verdict_message(const qs_verdict *v, qs_buf *out) {
    if (qs_verdict_loads(v)) return true;
    if (v->raised.n) {
        qs_buf_add(out, v->raised);
        return !out->failed;
    }
    qs_buf_addf(out, "Error(s) in loading state_dict for %.*s:", QS_FMT(model_name(v)));
    if (v->strict) {
        add_names(out, "Missing", v->missing.v, v->missing.n);
        add_names(out, "Unexpected", v->unexpected.v, v->unexpected.n);
    }
    for (size_t i = 0; i < v->errors.n; i++) add_error(out, &v->errors.v[i]);
    return !out->failed;
}

/* repr() of a str: single quotes unless only those occur inside. */
void qs_strict_add_repr(qs_buf *b, qs_str s) {
    bool single = memchr(s.p ? s.p : "", '\'', s.n), twofold = memchr(s.p ? s.p : "", '"', s.n);
    char quote = single && !twofold ? '"' : '\'';
    qs_buf_addc(b, quote);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == (unsigned char)quote || c == '\\')
            qs_buf_addf(b, "\\%c", c);
        else if (c == '\n')
            qs_buf_addz(b, "\\n");
        else if (c == '\r')
            qs_buf_addz(b, "\\r");
        else if (c == '\t')
            qs_buf_addz(b, "\\t");
        else if (c < 0x20 || c == 0x7f)
            qs_buf_addf(b, "\\x%02x", c);
        else
            qs_buf_addc(b, (char)c);
    }
    qs_buf_addc(b, quote);
}

static void add_list(qs_buf *b, const qs_str *keys, size_t n) {
    qs_buf_addc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) qs_buf_addz(b, ", ");
        qs_strict_add_repr(b, keys[i]);
    }
    qs_buf_addc(b, ']');
}

bool qs_verdict_result(const qs_verdict *v, qs_buf *out) {
    if (!qs_verdict_loads(v)) return true;
    if (v->missing.n == 0 && v->unexpected.n == 0) {
        qs_buf_addz(out, "<All keys matched successfully>");
        return !out->failed;
    }
    qs_buf_addz(out, "_IncompatibleKeys(missing_keys=");
    add_list(out, v->missing.v, v->missing.n);
    qs_buf_addz(out, ", unexpected_keys=");
    add_list(out, v->unexpected.v, v->unexpected.n);
    qs_buf_addc(out, ')');
    return !out->failed;
}
