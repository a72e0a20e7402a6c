#include "model/manifest_build.h"

#include <math.h>

/* %.17g reads back as the same double; the decimal point must not follow the locale. */
static void add_number(qs_buf *b, double v) {
    char text[64];
    snprintf(text, sizeof text, "%.17g", v);
    for (char *p = text; *p; p++)
        if (*p == ',') *p = '.';
    qs_buf_addz(b, text);
}

static void add_name(qs_buf *b, const char *name) {
    qs_buf_addf(b, ", \"%s\": ", name);
}

static void add_STR(qs_buf *b, const char *name, qs_str v) {
    if (v.n == 0) return;
    add_name(b, name);
    qs_buf_add_json(b, v);
}

static void add_INT(qs_buf *b, const char *name, int64_t v) {
    if (v == QS_ATTR_ABSENT) return;
    add_name(b, name);
    qs_buf_addf(b, "%lld", (long long)v);
}

static void add_NUM(qs_buf *b, const char *name, double v) {
    if (!isfinite(v)) return;
    add_name(b, name);
    add_number(b, v);
}

static void add_BOOL(qs_buf *b, const char *name, int v) {
    if (v < 0) return;
    add_name(b, name);
    qs_buf_addz(b, v ? "true" : "false");
}

static void print_module(qs_buf *b, const qs_module *mod) {
    qs_buf_addz(b, "    ");
    qs_buf_add_json(b, mod->name);
    if (mod->none) {
        qs_buf_addz(b, ": null");
        return;
    }
    qs_buf_addz(b, ": {\"class\": ");
    if (mod->class_name.n)
        qs_buf_add_json(b, mod->class_name);
    else
        qs_buf_addz(b, "null");
    if (mod->version >= 0) add_INT(b, "version", mod->version);
    add_STR(b, "base", mod->base);
    add_STR(b, "same_as", mod->same_as);
    add_STR(b, "own_code", mod->own_code);
    if (mod->inferred) add_BOOL(b, "inferred", 1);
    if (mod->extra_state) add_BOOL(b, "extra_state", 1);
    if (mod->qconfig) add_BOOL(b, "qconfig", 1);
#define QS_MODULE_ATTR(KIND, field) add_##KIND(b, #field, mod->attrs.field);
#include "model/manifest_attr.def"
#undef QS_MODULE_ATTR
    qs_buf_addc(b, '}');
}

static void print_entry(qs_buf *b, const qs_expected *x) {
    static const char *const kinds[] = {"", "parameter", "buffer", "extra"};
    qs_buf_addz(b, "    {\"key\": ");
    qs_buf_add_json(b, x->key);
    if (x->shape_known) {
        qs_buf_addz(b, ", \"shape\": [");
        for (uint32_t i = 0; i < x->shape.ndim; i++)
            qs_buf_addf(b, "%s%lld", i ? ", " : "", (long long)x->shape.dim[i]);
        qs_buf_addc(b, ']');
    }
    if (x->dtype != QS_DTYPE_UNKNOWN) add_STR(b, "dtype", qs_str_of(qs_dtype_get(x->dtype)->name));
    if (x->kind != QS_KIND_UNKNOWN) add_STR(b, "kind", qs_str_of(kinds[x->kind]));
    qs_buf_addc(b, '}');
}

bool qs_manifest_print(const qs_manifest *m, qs_buf *out) {
    qs_buf_addz(out, "{\n  \"format\": \"qatscope-manifest\",\n  \"version\": 1");
    if (m->model.n) {
        qs_buf_addz(out, ",\n  \"model\": ");
        qs_buf_add_json(out, m->model);
    }
    if (m->torch.n) {
        qs_buf_addz(out, ",\n  \"torch\": ");
        qs_buf_add_json(out, m->torch);
    }
    if (m->modules_known) qs_buf_addz(out, ",\n  \"modules\": {\n");
    for (size_t i = 0; i < m->modules.n && m->modules_known; i++) {
        print_module(out, &m->modules.v[i]);
        qs_buf_addz(out, i + 1 < m->modules.n ? ",\n" : "\n  }");
    }
    qs_buf_addz(out, ",\n  \"state_dict\": [\n");
    for (size_t i = 0; i < m->entries.n; i++) {
        print_entry(out, &m->entries.v[i]);
        qs_buf_addz(out, i + 1 < m->entries.n ? ",\n" : "\n");
    }
    qs_buf_addz(out, "  ]\n}\n");
    return !out->failed;
}
