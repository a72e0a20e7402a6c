#include "base/file.h"
#include "model/manifest_build.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

typedef struct reader {
    qs_manifest *m;
    const qs_limits *limits;
    qs_err *err;
    const char *where; /* "modules", "state_dict": the part being read */
    qs_str item;       /* name of the module or key of the entry, for messages */
    long index;        /* of the item in its list, -1 in an object */
} reader;

/* "modules["a.b"].version: expected an integer" */
static bool bad(const reader *r, const char *field, const char *expected) {
    char path[300], name[160];
    qs_str_printable(r->item, name, sizeof name);
    if (r->index >= 0 && r->item.n)
        snprintf(path, sizeof path, "%s[%ld] (\"%s\")", r->where, r->index, name);
    else if (r->index >= 0)
        snprintf(path, sizeof path, "%s[%ld]", r->where, r->index);
    else if (r->where[0])
        snprintf(path, sizeof path, "%s[\"%s\"]", r->where, name);
    else
        snprintf(path, sizeof path, "%s", name);
    const char *dot = path[0] && field[0] && field[0] != '[' ? "." : "";
    return qs_fail(r->err, QS_E_INPUT, "%s%s%s: expected %s", path, dot, field, expected);
}

static bool to_int(const cJSON *j, int64_t *out) {
    double v = j->valuedouble;
    if (!cJSON_IsNumber(j) || !(v >= -0x1p53 && v <= 0x1p53) || v != floor(v)) return false;
    *out = (int64_t)v;
    return true;
}

static bool read_STR(reader *r, const cJSON *j, const char *field, qs_str *out) {
    if (cJSON_IsNull(j)) return true;
    if (!cJSON_IsString(j)) return bad(r, field, "a string");
    *out = qs_arena_str(&r->m->arena, qs_str_of(j->valuestring));
    return out->p || qs_nomem(r->err);
}

static bool read_INT(reader *r, const cJSON *j, const char *field, int64_t *out) {
    return cJSON_IsNull(j) || to_int(j, out) || bad(r, field, "an integer");
}

static bool read_NUM(reader *r, const cJSON *j, const char *field, double *out) {
    if (cJSON_IsNull(j)) return true;
    if (!cJSON_IsNumber(j) || !isfinite(j->valuedouble)) return bad(r, field, "a finite number");
    *out = j->valuedouble;
    return true;
}

static bool read_bool(reader *r, const cJSON *j, const char *field, bool *out) {
    if (!cJSON_IsBool(j)) return bad(r, field, "true or false");
    *out = cJSON_IsTrue(j);
    return true;
}

static bool read_BOOL(reader *r, const cJSON *j, const char *field, int8_t *out) {
    bool v = false;
    if (cJSON_IsNull(j)) return true;
    if (!read_bool(r, j, field, &v)) return false;
    *out = v;
    return true;
}

static bool read_version(reader *r, const cJSON *j, int64_t *out) {
    if (cJSON_IsNull(j)) return true;
    return (to_int(j, out) && *out >= 0) || bad(r, "version", "an integer of 0 or more");
}

/* Fields nobody knows are left alone: a later exporter may write more. */
static bool read_module_field(reader *r, const cJSON *j, qs_module *mod) {
    if (!strcmp(j->string, "class")) return read_STR(r, j, "class", &mod->class_name);
    if (!strcmp(j->string, "base")) return read_STR(r, j, "base", &mod->base);
    if (!strcmp(j->string, "same_as")) return read_STR(r, j, "same_as", &mod->same_as);
    if (!strcmp(j->string, "own_code")) return read_STR(r, j, "own_code", &mod->own_code);
    if (!strcmp(j->string, "version")) return read_version(r, j, &mod->version);
    if (!strcmp(j->string, "inferred")) return read_bool(r, j, "inferred", &mod->inferred);
    if (!strcmp(j->string, "extra_state")) return read_bool(r, j, "extra_state", &mod->extra_state);
    if (!strcmp(j->string, "qconfig")) return read_bool(r, j, "qconfig", &mod->qconfig);
    if (!strcmp(j->string, "none")) return read_bool(r, j, "none", &mod->none);
#define QS_MODULE_ATTR(KIND, field)                                                                          \
    if (!strcmp(j->string, #field)) return read_##KIND(r, j, #field, &mod->attrs.field);
#include "model/manifest_attr.def"
#undef QS_MODULE_ATTR
    return true;
}

static bool read_module(reader *r, const cJSON *j, const char *name) {
    r->item = qs_str_of(name);
    if (!cJSON_IsObject(j) && !cJSON_IsNull(j))
        return bad(r, "", "an object like {\"class\": \"...\", \"version\": 1}");
    qs_str copy = qs_arena_str(&r->m->arena, r->item);
    if (!copy.p) return qs_nomem(r->err);
    uint32_t at = qs_manifest_add_module(r->m, copy, r->limits, r->err);
    if (at == QS_MODULE_NONE) return false;
    qs_module *mod = &r->m->modules.v[at];
    if (!qs_manifest_is_placeholder(mod)) return bad(r, "", "a module that is not listed before");
    mod->inferred = false;
    mod->none = cJSON_IsNull(j);
    for (const cJSON *f = j->child; f; f = f->next)
        if (!read_module_field(r, f, mod)) return false;
    return true;
}

static const cJSON *member(const cJSON *object, const char *name) {
    for (const cJSON *f = cJSON_IsObject(object) ? object->child : NULL; f; f = f->next)
        if (!strcmp(f->string, name)) return f;
    return NULL;
}

static bool read_modules(reader *r, const cJSON *j) {
    r->where = "modules";
    r->index = cJSON_IsArray(j) ? 0 : -1;
    if (!cJSON_IsArray(j) && !cJSON_IsObject(j)) {
        r->where = "";
        r->item = QS_STR("modules");
        return bad(r, "", "an object of modules, or a list of {\"name\": ..., \"class\": ...}");
    }
    for (const cJSON *f = j->child; f; f = f->next) {
        const char *name = f->string;
        if (r->index >= 0) {
            const cJSON *n = member(f, "name");
            r->item = QS_STR("");
            if (!cJSON_IsString(n)) return bad(r, "name", "a string");
            name = n->valuestring;
        }
        if (!read_module(r, f, name)) return false;
        if (r->index >= 0) r->index++;
    }
    return true;
}

static bool read_shape(reader *r, const cJSON *j, const char *field, qs_expected *x) {
    if (cJSON_IsNull(j)) return true;
    if (!cJSON_IsArray(j)) return bad(r, field, "a list of sizes");
    uint64_t ndim = 0;
    for (const cJSON *d = j->child; d; d = d->next) ndim++;
    if (ndim > r->limits->ndim) return bad(r, field, "fewer dimensions (or --limit dimensions)");
    int64_t *dim = ndim ? QS_ARENA_ARRAY(&r->m->arena, ndim, int64_t) : NULL;
    if (ndim && !dim) return qs_nomem(r->err);
    uint32_t i = 0;
    for (const cJSON *d = j->child; d; d = d->next, i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%u]", field, i);
        if (!to_int(d, &dim[i]) || dim[i] < 0) return bad(r, path, "an integer of 0 or more");
    }
    x->shape = (qs_shape){(uint32_t)ndim, dim};
    x->shape_known = true;
    return true;
}

static bool read_dtype(reader *r, const cJSON *j, qs_expected *x) {
    if (cJSON_IsNull(j)) return true;
    if (cJSON_IsString(j)) x->dtype = qs_dtype_parse(qs_str_of(j->valuestring));
    return x->dtype != QS_DTYPE_UNKNOWN || bad(r, "dtype", "the name of a dtype, like \"float32\"");
}

static bool read_kind(reader *r, const cJSON *j, qs_expected *x) {
    static const char *const names[] = {"parameter", "buffer", "extra"};
    if (cJSON_IsNull(j)) return true;
    for (int i = 0; i < 3 && cJSON_IsString(j); i++)
        if (!strcmp(j->valuestring, names[i])) {
            x->kind = (qs_entry_kind)(QS_KIND_PARAMETER + i);
            return true;
        }
    return bad(r, "kind", "\"parameter\", \"buffer\" or \"extra\"");
}

static bool read_entry(reader *r, const cJSON *j, const char *key) {
    qs_expected x = {0};
    r->item = qs_str_of(key);
    for (const cJSON *f = j->child; f && cJSON_IsObject(j); f = f->next) {
        if (!strcmp(f->string, "shape") && !read_shape(r, f, "shape", &x)) return false;
        if (!strcmp(f->string, "dtype") && !read_dtype(r, f, &x)) return false;
        if (!strcmp(f->string, "kind") && !read_kind(r, f, &x)) return false;
    }
    if (cJSON_IsArray(j) && !read_shape(r, j, "", &x)) return false;
    x.key = qs_arena_str(&r->m->arena, r->item);
    if (!x.key.p) return qs_nomem(r->err);
    return qs_manifest_add_entry(r->m, &x, r->limits, r->err);
}

static bool read_entry_list(reader *r, const cJSON *j) {
    r->where = "state_dict";
    r->index = 0;
    for (const cJSON *f = j->child; f; f = f->next, r->index++) {
        const cJSON *key = member(f, "key");
        r->item = QS_STR("");
        if (!cJSON_IsString(key)) return bad(r, "key", "an object with a string \"key\"");
        if (!read_entry(r, f, key->valuestring)) return false;
    }
    return true;
}

static bool read_entry_object(reader *r, const cJSON *j, const char *where) {
    r->where = where;
    r->index = -1;
    for (const cJSON *f = j->child; f; f = f->next) {
        r->item = qs_str_of(f->string);
        if (!cJSON_IsArray(f) && !cJSON_IsObject(f) && !cJSON_IsNull(f))
            return bad(
                r, "",
                "a shape like [16, 3], or an object like {\"shape\": [16, 3], \"dtype\": \"float32\"}");
        if (!read_entry(r, f, f->string)) return false;
    }
    return true;
}

static bool read_header(reader *r, const cJSON *root) {
    const cJSON *format = member(root, "format"), *version = member(root, "version");
    const cJSON *model = member(root, "model"), *torch = member(root, "torch");
    int64_t v = 0;
    r->where = "";
    r->item = QS_STR("");
    r->index = -1;
    if (format && !(cJSON_IsString(format) && !strcmp(format->valuestring, "qatscope-manifest")))
        return bad(r, "format", "\"qatscope-manifest\"");
    if (format && !(version && to_int(version, &v))) return bad(r, "version", "1");
    if (format && v != 1)
        return qs_fail(r->err, QS_E_UNSUPPORTED,
                       "this is a manifest of version %lld; this qatscope reads version 1", (long long)v);
    if (model && !read_STR(r, model, "model", &r->m->model)) return false;
    return !torch || read_STR(r, torch, "torch", &r->m->torch);
}

/* A file of ours, or of the same shape without the header; else key -> shape. */
static bool is_manifest(const cJSON *root) {
    const cJSON *state = member(root, "state_dict");
    if (cJSON_IsString(member(root, "format"))) return true;
    if (cJSON_IsArray(state)) return !state->child || cJSON_IsObject(state->child);
    return cJSON_IsObject(state) && !member(state, "shape");
}

static bool read_root(reader *r, const cJSON *root) {
    if (!cJSON_IsObject(root)) return qs_fail(r->err, QS_E_INPUT, "expected a JSON object at the top");
    if (!is_manifest(root)) return read_entry_object(r, root, "");
    const cJSON *modules = member(root, "modules"), *state = member(root, "state_dict");
    if (!read_header(r, root)) return false;
    if (modules && !read_modules(r, modules)) return false;
    if (cJSON_IsArray(state)) return read_entry_list(r, state);
    if (cJSON_IsObject(state)) return read_entry_object(r, state, "state_dict");
    r->where = "";
    r->item = QS_STR("state_dict");
    return bad(r, "", "a list of entries");
}

static bool syntax_error(const char *json, size_t n, size_t at, qs_err *e) {
    unsigned line = 1, column = 1;
    if (at > n) at = n;
    for (size_t i = 0; i < at; i++) {
        if (json[i] == '\n')
            line++, column = 1;
        else if (((unsigned char)json[i] & 0xc0) != 0x80)
            column++;
    }
    return qs_fail_at(e, QS_E_INPUT, "", at, "not valid JSON at line %u, column %u%s", line, column,
                      at + 1 >= n ? ", where it ends; is the file cut short?" : "");
}

/* What cJSON would take in silence: a NUL cuts a key short, for it makes C strings; and bytes that are no
 * UTF-8 cannot be printed again, so two names could become one. */
static size_t find_bad(const char *json, size_t n) {
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        if (json[i] == '\\' && n - i >= 6 && !memcmp(json + i, "\\u0000", 6)) return i;
        if (json[i] == '\\' && ++i == n)
            break; /* what is escaped, a backslash perhaps, is looked at as a character */
        size_t len = qs_utf8_decode((qs_str){json + i, n - i}, &cp);
        if (len == 0 || cp == 0) return i;
        i += len;
    }
    return SIZE_MAX;
}

/* A zip or a pickle: what torch.save writes. */
static bool is_checkpoint(const char *data, size_t n) {
    return n > 4 && (memcmp(data, "PK\3\4", 4) == 0 || data[0] == '\x80');
}

static bool parse_json(const char *json, size_t n, cJSON **out, qs_err *e) {
    const char *end = json;
    if (is_checkpoint(json, n))
        return qs_fail(e, QS_E_INPUT,
                       "is a checkpoint, not a manifest: give it as B, or make a manifest of it with "
                       "`qatscope manifest`");
    size_t bad_byte = find_bad(json, n);
    if (bad_byte != SIZE_MAX) return syntax_error(json, n, bad_byte, e);
    cJSON *root = cJSON_ParseWithLengthOpts(json, n, &end, false);
    if (!root) return syntax_error(json, n, end ? (size_t)(end - json) : 0, e);
    size_t at = (size_t)(end - json);
    while (at < n && strchr(" \t\r\n", json[at])) at++;
    if (at < n) {
        cJSON_Delete(root);
        return syntax_error(json, n, at, e);
    }
    *out = root;
    return true;
}

static bool twice(const char *name, qs_err *e) {
    return qs_fail(e, QS_E_INPUT, "the name \"%.200s\" is there twice in one object", name);
}

/* Two members of one name: which of them counts differs from reader to reader. */
static bool unique_members(const cJSON *object, qs_err *e) {
    int count = 0;
    for (const cJSON *f = object->child; f && count <= 8; f = f->next, count++)
        for (const cJSON *g = object->child; g != f; g = g->next)
            if (!strcmp(f->string, g->string)) return twice(f->string, e);
    if (count <= 8) return true;
    qs_map seen = {0};
    bool ok = true;
    for (const cJSON *f = object->child; f && ok; f = f->next) {
        size_t before = seen.keys.n;
        if (qs_map_add(&seen, qs_str_of(f->string), 0) == QS_MAP_NONE)
            ok = qs_nomem(e);
        else if (seen.keys.n == before)
            ok = twice(f->string, e);
    }
    qs_map_free(&seen);
    return ok;
}

/* Every object of the tree, without recursion: cJSON nests at most CJSON_NESTING_LIMIT deep. */
static bool no_duplicates(const cJSON *root, qs_err *e) {
    const cJSON *stack[CJSON_NESTING_LIMIT + 1];
    size_t depth = 0;
    for (const cJSON *at = root; at;) {
        if (cJSON_IsObject(at) && at->child && at->child->next && !unique_members(at, e)) return false;
        if (at->child && depth < CJSON_NESTING_LIMIT) {
            stack[depth++] = at;
            at = at->child;
            continue;
        }
        while (at != root && !at->next && depth) at = stack[--depth];
        at = at == root ? NULL : at->next;
    }
    return true;
}

bool qs_manifest_parse(const char *json, size_t n, const char *name, const qs_limits *limits,
                       qs_manifest **out, qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    cJSON *root = NULL;
    bool ok = false;
    if (!limits) limits = &defaults;
    if (n > limits->json_bytes) return qs_over_limit(e, limits, QS_LIMIT_JSON_BYTES, name, n);
    qs_manifest *m = qs_manifest_new(name);
    if (!m) return qs_nomem(e);
    reader r = {.m = m, .limits = limits, .err = e, .where = "", .index = -1};
    if (!parse_json(json, n, &root, e) || !no_duplicates(root, e) || !read_root(&r, root)) goto done;
    ok = qs_manifest_finish(m, e);
done:
    cJSON_Delete(root);
    if (ok)
        *out = m;
    else
        qs_manifest_close(m);
    return ok;
}

bool qs_manifest_open(const char *path, const qs_limits *limits, qs_manifest **out, qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    char *json;
    size_t n;
    if (!qs_file_slurp_json(path, limits ? limits : &defaults, &json, &n, e)) return false;
    qs_err own = QS_ERR_INIT;
    bool ok = qs_manifest_parse(json, n, path, limits, out, &own);
    free(json);
    if (ok) return true;
    qs_err_prefix(&own, path);
    if (e->code == QS_OK) *e = own;
    return false;
}
