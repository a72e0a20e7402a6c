#include "base/vec.h"
#include "repair/pattern.h"
#include "repair/plan.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

/* ---- printing ---- */

static bool fits_json(qs_str s) {
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t len = qs_utf8_decode(qs_str_sub(s, i, s.n), &cp);
        if (!len || cp == 0) return false;
        i += len;
    }
    return true;
}

static void print_text(qs_buf *out, qs_str s) {
    if (fits_json(s)) {
        qs_buf_add_json(out, s);
        return;
    }
    qs_buf_addz(out, "{\"hex\": \"");
    for (size_t i = 0; i < s.n; i++) qs_buf_addf(out, "%02x", (unsigned char)s.p[i]);
    qs_buf_addz(out, "\"}");
}

static void print_field(qs_buf *out, const char *name, qs_str s) {
    qs_buf_addf(out, ", \"%s\": ", name);
    print_text(out, s);
}

/* The shortest decimal that reads back as the same double. */
static void print_number(qs_buf *out, double v) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    qs_buf_addz(out, text);
}

static void print_pairs(const qs_action *a, qs_buf *out) {
    qs_buf_addz(out, ", \"pairs\": [");
    for (size_t i = 0; i < a->pair_count; i++) {
        qs_buf_addz(out, i ? ",\n      [" : "\n      [");
        print_text(out, a->pairs[i].from);
        qs_buf_addz(out, ", ");
        print_text(out, a->pairs[i].to);
        qs_buf_addc(out, ']');
    }
    qs_buf_addc(out, ']');
}

static const char *const scope_names[] = {[QS_SCOPE_KEY] = "key",
                                          [QS_SCOPE_SUBTREE] = "subtree",
                                          [QS_SCOPE_KEYS] = "keys",
                                          [QS_SCOPE_REGEX] = "regex",
                                          [QS_SCOPE_TOP] = "top"};
enum { SCOPES = sizeof scope_names / sizeof *scope_names };

static void print_scope(const qs_action *a, qs_buf *out) {
    qs_buf_addf(out, ", \"scope\": {\"%s\": ", scope_names[a->scope_kind]);
    if (a->scope_kind != QS_SCOPE_KEYS) {
        print_text(out, a->scope);
    } else {
        qs_buf_addc(out, '[');
        for (size_t i = 0; i < a->pair_count; i++) {
            qs_buf_addz(out, i ? ",\n      " : "\n      ");
            print_text(out, a->pairs[i].from);
        }
        qs_buf_addc(out, ']');
    }
    qs_buf_addc(out, '}');
}

static void print_shape(qs_shape shape, qs_buf *out) {
    qs_buf_addz(out, ", \"shape\": [");
    for (uint32_t d = 0; d < shape.ndim; d++)
        qs_buf_addf(out, "%s%lld", d ? ", " : "", (long long)shape.dim[d]);
    qs_buf_addc(out, ']');
}

static void print_expects(const qs_action *a, qs_buf *out) {
    if (a->expect_count == 0) return;
    qs_buf_addz(out, ", \"expect\": [");
    for (size_t i = 0; i < a->expect_count; i++) {
        const qs_precondition *x = &a->expects[i];
        qs_buf_addz(out, i ? ",\n      {\"key\": " : "\n      {\"key\": ");
        print_text(out, x->key);
        if (x->has_shape) print_shape(x->shape, out);
        if (x->dtype) qs_buf_addf(out, ", \"dtype\": \"%s\"", qs_dtype_get(x->dtype)->name);
        if (x->has_crc32) qs_buf_addf(out, ", \"crc32\": \"%08x\"", x->crc32);
        qs_buf_addc(out, '}');
    }
    qs_buf_addc(out, ']');
}

static void print_action(const qs_action *a, qs_buf *out) {
    qs_buf_addf(out, "    {\"op\": \"%s\"", qs_action_kind_name(a->kind));
    switch (a->kind) {
    case QS_ACT_RENAME: print_pairs(a, out); break;
    case QS_ACT_RULE:
        qs_buf_addf(out, ", \"kind\": \"%s\"", qs_pattern_kind_name(a->pattern_kind));
        print_field(out, "pattern", a->pattern);
        print_field(out, "replacement", a->replacement);
        break;
    case QS_ACT_INIT:
        print_scope(a, out);
        qs_buf_addf(out, ", \"source\": \"%s\"", qs_init_source_name(a->source));
        if (!isnan(a->bn_eps)) {
            qs_buf_addz(out, ", \"bn_eps\": ");
            print_number(out, a->bn_eps);
        }
        if (a->replace) qs_buf_addz(out, ", \"replace\": true");
        break;
    case QS_ACT_COPY:
        print_scope(a, out);
        if (a->replace) qs_buf_addz(out, ", \"replace\": true");
        break;
    case QS_ACT_DROP: print_scope(a, out); break;
    case QS_ACT_CAST:
        print_scope(a, out);
        if (a->dtype) qs_buf_addf(out, ", \"dtype\": \"%s\"", qs_dtype_get(a->dtype)->name);
        break;
    case QS_ACT_RESHAPE:
        print_scope(a, out);
        if (a->has_shape) print_shape(a->shape, out);
        break;
    case QS_ACT_METADATA:
        print_scope(a, out);
        if (a->replace) qs_buf_addz(out, ", \"replace\": true");
        break;
    }
    if (a->off) qs_buf_addz(out, ", \"off\": true");
    if (a->comment.n) print_field(out, "comment", a->comment);
    print_expects(a, out);
    qs_buf_addc(out, '}');
}

bool qs_action_print(const qs_action *a, qs_buf *out) {
    qs_buf text = {0};
    print_action(a, &text);
    bool begins = true; /* of a line: its indentation goes; texts of JSON hold no raw line breaks */
    for (size_t i = 0; i < text.n; i++) {
        if (begins && text.p[i] == ' ') continue;
        begins = text.p[i] == '\n';
        if (!begins) qs_buf_addc(out, text.p[i]);
    }
    out->failed = out->failed || text.failed;
    qs_buf_free(&text);
    return !out->failed;
}

bool qs_plan_print(const qs_plan *p, qs_buf *out) {
    qs_buf_addz(out, "{\n  \"format\": \"qatscope-plan\",\n  \"version\": 1");
    if (qs_plan_comment(p).n) {
        qs_buf_addz(out, ",\n  \"comment\": ");
        print_text(out, qs_plan_comment(p));
    }
    qs_buf_addz(out, ",\n  \"actions\": [");
    for (size_t i = 0; i < qs_plan_count(p); i++) {
        qs_buf_addz(out, i ? ",\n" : "\n");
        print_action(qs_plan_action(p, i), out);
    }
    qs_buf_addz(out, "\n  ]\n}\n");
    return !out->failed;
}

/* ---- parsing ---- */

typedef struct parser {
    const char *name; /* of the file, for messages */
    qs_arena arena;
    qs_err *e;
    size_t index;  /* of the action being read */
    uint64_t ndim; /* limit */
} parser;

/* "plan.json: actions[2].scope: what is wrong" */
static bool wrong(parser *p, const char *field, const char *what) {
    return qs_fail(p->e, QS_E_INPUT, "%s: actions[%zu]%s%s: %s", p->name, p->index, *field ? "." : "", field,
                   what);
}

static bool syntax_error(const char *name, const char *json, size_t n, const char *at, qs_err *e) {
    size_t stop = at ? (size_t)(at - json) : n, line = 1, column = 1;
    if (stop > n) stop = n;
    for (size_t i = 0; i < stop; i++) {
        column = json[i] == '\n' ? 1 : column + 1;
        line += json[i] == '\n';
    }
    return qs_fail(e, QS_E_INPUT, "%s: line %zu, column %zu: not JSON, or cut short", name, line, column);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool read_hex(parser *p, const char *hex, const char *field, qs_str *out) {
    size_t n = strlen(hex);
    char *bytes = qs_arena_alloc(&p->arena, n / 2 + 1);
    if (!bytes) return qs_nomem(p->e);
    for (size_t i = 0; i < n; i += 2) {
        int hi = hex_digit(hex[i]), lo = hex_digit(hex[i + 1]); /* the NUL is no digit */
        if (hi < 0 || lo < 0) return wrong(p, field, "hex wants pairs of hexadecimal digits");
        bytes[i / 2] = (char)(hi << 4 | lo);
    }
    *out = (qs_str){bytes, n / 2};
    return true;
}

/* A string, or {"hex": "..."}; borrowed from the JSON or the parser's arena until the plan has copied it. */
static bool read_text(parser *p, const cJSON *v, const char *field, qs_str *out) {
    if (cJSON_IsString(v)) {
        *out = qs_str_of(v->valuestring);
        return true;
    }
    const cJSON *hex = cJSON_IsObject(v) && v->child && !v->child->next ? v->child : NULL;
    if (!cJSON_IsString(hex) || strcmp(hex->string, "hex") != 0)
        return wrong(p, field, "a string is wanted here");
    return read_hex(p, hex->valuestring, field, out);
}

static size_t length_of(const cJSON *list) {
    size_t n = 0;
    for (const cJSON *x = list->child; x; x = x->next) n++;
    return n;
}

static qs_rename_pair *new_pairs(parser *p, const cJSON *list, const char *field, size_t *n) {
    if (!cJSON_IsArray(list)) {
        wrong(p, field, "a list is wanted here");
        return NULL;
    }
    *n = length_of(list);
    qs_rename_pair *pairs = QS_ARENA_ARRAY(&p->arena, *n, qs_rename_pair);
    if (!pairs) qs_nomem(p->e);
    return pairs;
}

static bool read_pairs(parser *p, const cJSON *v, qs_action *a) {
    qs_rename_pair *pairs = new_pairs(p, v, "pairs", &a->pair_count);
    if (!pairs) return false;
    size_t i = 0;
    for (const cJSON *x = v->child; x; x = x->next, i++) {
        char field[40];
        snprintf(field, sizeof field, "pairs[%zu]", i);
        const cJSON *from = cJSON_IsArray(x) ? x->child : NULL, *to = from ? from->next : NULL;
        if (!to || to->next) return wrong(p, field, "wants [\"from\", \"to\"]");
        if (!read_text(p, from, field, &pairs[i].from) || !read_text(p, to, field, &pairs[i].to))
            return false;
    }
    a->pairs = pairs;
    return true;
}

static bool read_keys(parser *p, const cJSON *v, qs_action *a) {
    qs_rename_pair *pairs = new_pairs(p, v, "scope.keys", &a->pair_count);
    if (!pairs) return false;
    size_t i = 0;
    for (const cJSON *x = v->child; x; x = x->next, i++) {
        pairs[i].to = (qs_str){"", 0};
        if (!read_text(p, x, "scope.keys", &pairs[i].from)) return false;
    }
    a->pairs = pairs;
    return true;
}

static bool read_scope(parser *p, const cJSON *v, qs_action *a) {
    const cJSON *x = cJSON_IsObject(v) && v->child && !v->child->next ? v->child : NULL;
    for (int k = 0; x && k < SCOPES; k++) {
        if (strcmp(x->string, scope_names[k]) != 0) continue;
        a->scope_kind = (qs_scope_kind)k;
        return k == QS_SCOPE_KEYS ? read_keys(p, x, a) : read_text(p, x, "scope", &a->scope);
    }
    return wrong(p, "scope",
                 "wants one of {\"key\": ...}, {\"subtree\": ...}, {\"keys\": [...]}, {\"regex\": ...}, "
                 "{\"top\": ...}");
}

static bool read_pattern_kind(parser *p, const cJSON *v, qs_action *a) {
    for (int k = QS_PATTERN_PREFIX; k <= QS_PATTERN_REGEX; k++) {
        if (!cJSON_IsString(v) || strcmp(v->valuestring, qs_pattern_kind_name((qs_pattern_kind)k)) != 0)
            continue;
        a->pattern_kind = (qs_pattern_kind)k;
        return true;
    }
    return wrong(p, "kind", "wants \"prefix\", \"glob\" or \"regex\"");
}

static bool read_source(parser *p, const cJSON *v, qs_action *a) {
    if (cJSON_IsString(v) && qs_init_source_parse(qs_str_of(v->valuestring), &a->source)) return true;
    return wrong(p, "source", "wants \"fresh\", \"observed\", \"datafree\" or \"copy\"");
}

static bool read_eps(parser *p, const cJSON *v, qs_action *a) {
    a->bn_eps = cJSON_IsNumber(v) ? v->valuedouble : -1;
    return (isfinite(a->bn_eps) && a->bn_eps > 0) || wrong(p, "bn_eps", "a number above 0 is wanted here");
}

static bool read_bool(parser *p, const cJSON *v, const char *field, bool *out) {
    *out = cJSON_IsTrue(v);
    return cJSON_IsBool(v) || wrong(p, field, "wants true or false");
}

enum { EXPECT_PATH = 60 };

/* "expect[3].shape" */
static const char *expect_field(size_t i, const char *field, char path[EXPECT_PATH]) {
    snprintf(path, EXPECT_PATH, "expect[%zu]%s%s", i, *field ? "." : "", field);
    return path;
}

static bool wrong_expect(parser *p, size_t i, const char *field, const char *what) {
    char path[EXPECT_PATH];
    return wrong(p, expect_field(i, field, path), what);
}

static bool read_shape(parser *p, const cJSON *v, const char *field, qs_shape *out, bool *has) {
    size_t n = cJSON_IsArray(v) ? length_of(v) : SIZE_MAX;
    if (n > p->ndim) return wrong(p, field, "a list of sizes is wanted here");
    int64_t *dim = QS_ARENA_ARRAY(&p->arena, n + 1, int64_t);
    if (!dim) return qs_nomem(p->e);
    *out = (qs_shape){(uint32_t)n, n ? dim : NULL};
    *has = true;
    for (const cJSON *d = v->child; d; d = d->next, dim++) {
        double size = cJSON_IsNumber(d) ? d->valuedouble : -1;
        if (!(size >= 0 && size <= 0x1p53 && size == floor(size)))
            return wrong(p, field, "sizes are whole numbers that are not negative");
        *dim = (int64_t)size;
    }
    return true;
}

static bool read_dtype(parser *p, const cJSON *v, const char *field, qs_dtype *out) {
    *out = cJSON_IsString(v) ? qs_dtype_parse(qs_str_of(v->valuestring)) : QS_DTYPE_UNKNOWN;
    return *out || wrong(p, field, "a dtype such as \"float32\" is wanted here");
}

static bool read_crc32(parser *p, const cJSON *v, size_t i, qs_precondition *x) {
    const char *hex = cJSON_IsString(v) ? v->valuestring : "";
    size_t n = 0;
    for (; hex_digit(hex[n]) >= 0 && n < 8; n++) x->crc32 = x->crc32 << 4 | (uint32_t)hex_digit(hex[n]);
    x->has_crc32 = true;
    return (n == 8 && !hex[8]) ||
           wrong_expect(p, i, "crc32",
                        "eight hexadecimal digits are wanted here, as ls --values prints them");
}

static bool read_expect(parser *p, const cJSON *object, size_t i, qs_precondition *x) {
    char path[EXPECT_PATH];
    bool has_key = false;
    if (!cJSON_IsObject(object)) return wrong_expect(p, i, "", "an object is wanted here");
    for (const cJSON *v = object->child; v; v = v->next) {
        if (strcmp(v->string, "key") == 0 && !has_key) {
            has_key = true;
            if (!read_text(p, v, "expect.key", &x->key)) return false;
        } else if (strcmp(v->string, "shape") == 0 && !x->has_shape) {
            if (!read_shape(p, v, expect_field(i, "shape", path), &x->shape, &x->has_shape)) return false;
        } else if (strcmp(v->string, "crc32") == 0 && !x->has_crc32) {
            if (!read_crc32(p, v, i, x)) return false;
        } else if (strcmp(v->string, "dtype") == 0 && !x->dtype) {
            if (!read_dtype(p, v, expect_field(i, "dtype", path), &x->dtype)) return false;
        } else {
            return wrong_expect(p, i, v->string, "is there twice, or no field of a precondition");
        }
    }
    return has_key || wrong_expect(p, i, "key", "is missing");
}

static bool read_expects(parser *p, const cJSON *v, qs_action *a) {
    if (!cJSON_IsArray(v)) return wrong(p, "expect", "a list is wanted here");
    a->expect_count = length_of(v);
    qs_precondition *list = QS_ARENA_ARRAY(&p->arena, a->expect_count + 1, qs_precondition);
    if (!list) return qs_nomem(p->e);
    memset(list, 0, (a->expect_count + 1) * sizeof *list);
    size_t i = 0;
    for (const cJSON *x = v->child; x; x = x->next, i++)
        if (!read_expect(p, x, i, &list[i])) return false;
    a->expects = list;
    return true;
}

/* Which fields an operation must (upper case) and may (lower case) have: P pairs, K kind, T pattern, R
 * replacement, S scope, O source, e bn_eps, r replace, d dtype, s shape. */
typedef struct op_fields {
    const char *must, *may;
} op_fields;
static const op_fields fields_of[] = {
    [QS_ACT_RENAME] = {"P", ""},   [QS_ACT_RULE] = {"KTR", ""},   [QS_ACT_INIT] = {"SO", "er"},
    [QS_ACT_COPY] = {"S", "r"},    [QS_ACT_DROP] = {"S", ""},     [QS_ACT_CAST] = {"S", "d"},
    [QS_ACT_RESHAPE] = {"S", "s"}, [QS_ACT_METADATA] = {"S", "r"}};
static const struct {
    char letter;
    const char *name;
} field_names[] = {{'P', "pairs"},   {'K', "kind"},   {'T', "pattern"}, {'R', "replacement"}, {'S', "scope"},
                   {'O', "source"},  {'e', "bn_eps"}, {'r', "replace"}, {'d', "dtype"},       {'s', "shape"},
                   {'C', "comment"}, {'N', "op"},     {'X', "expect"},  {'-', "off"}};
enum { FIELDS = sizeof field_names / sizeof *field_names };

static bool read_field(parser *p, const cJSON *v, char letter, qs_action *a) {
    switch (letter) {
    case 'P': return read_pairs(p, v, a);
    case 'K': return read_pattern_kind(p, v, a);
    case 'T': return read_text(p, v, "pattern", &a->pattern);
    case 'R': return read_text(p, v, "replacement", &a->replacement);
    case 'S': return read_scope(p, v, a);
    case 'O': return read_source(p, v, a);
    case 'e': return read_eps(p, v, a);
    case 'r': return read_bool(p, v, "replace", &a->replace);
    case 'd': return read_dtype(p, v, "dtype", &a->dtype);
    case 's': return read_shape(p, v, "shape", &a->shape, &a->has_shape);
    case 'C': return read_text(p, v, "comment", &a->comment);
    case 'X': return read_expects(p, v, a);
    case '-': return read_bool(p, v, "off", &a->off);
    default: return true;
    }
}

static bool read_op(parser *p, const cJSON *object, qs_action *a) {
    const cJSON *op = cJSON_GetObjectItemCaseSensitive(object, "op");
    for (int k = QS_ACT_RENAME; k <= QS_ACT_METADATA; k++) {
        if (!cJSON_IsString(op) || strcmp(op->valuestring, qs_action_kind_name((qs_action_kind)k)) != 0)
            continue;
        a->kind = (qs_action_kind)k;
        return true;
    }
    return wrong(p, "op",
                 "wants \"rename\", \"rule\", \"init\", \"copy\", \"drop\", \"cast\", \"reshape\" or "
                 "\"metadata\"");
}

static char letter_of(const char *name) {
    for (int i = 0; i < FIELDS; i++)
        if (strcmp(field_names[i].name, name) == 0) return field_names[i].letter;
    return 0;
}

/* A misspelt field must not pass in silence: "replce": true would change what the plan does. */
static bool check_fields(parser *p, const cJSON *object, const qs_action *a, char *seen) {
    const op_fields *f = &fields_of[a->kind];
    size_t n = 0;
    for (const cJSON *x = object->child; x; x = x->next) {
        char letter = letter_of(x->string);
        bool known = (letter && strchr("CNX-", letter)) ||
                     (letter && (strchr(f->must, letter) || strchr(f->may, letter)));
        if (!known) return wrong(p, x->string, "this operation has no such field");
        if (memchr(seen, letter, n)) return wrong(p, x->string, "is there twice");
        seen[n++] = letter;
    }
    for (int i = 0; i < FIELDS; i++) {
        char letter = field_names[i].letter;
        if (strchr(f->must, letter) && !memchr(seen, letter, n))
            return wrong(p, field_names[i].name, "is missing");
    }
    return true;
}

static bool read_action(parser *p, const cJSON *object, qs_action *a) {
    char seen[FIELDS + 1] = {0};
    *a = (qs_action){.bn_eps = __builtin_nan("")};
    if (!cJSON_IsObject(object)) return wrong(p, "", "an object is wanted here");
    if (!read_op(p, object, a) || !check_fields(p, object, a, seen)) return false;
    for (const cJSON *x = object->child; x; x = x->next)
        if (!read_field(p, x, letter_of(x->string), a)) return false;
    if (a->kind != QS_ACT_RULE) return true;
    qs_pattern *compiled = NULL;
    qs_err why = QS_ERR_INIT;
    if (!qs_pattern_compile(a->pattern_kind, a->pattern, a->replacement, &compiled, &why))
        return wrong(p, "pattern", why.msg);
    qs_pattern_free(compiled);
    return true;
}

static bool check_head_fields(const char *name, const cJSON *root, qs_err *e) {
    for (const cJSON *x = root->child; x; x = x->next) {
        bool known = strcmp(x->string, "format") == 0 || strcmp(x->string, "version") == 0 ||
                     strcmp(x->string, "comment") == 0 || strcmp(x->string, "actions") == 0;
        if (!known) return qs_fail(e, QS_E_INPUT, "%s: a plan has no field \"%s\"", name, x->string);
    }
    return true;
}

static bool check_head(const char *name, const cJSON *root, const cJSON **actions, qs_err *e) {
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "version");
    *actions = cJSON_GetObjectItemCaseSensitive(root, "actions");
    if (!cJSON_IsString(format) || strcmp(format->valuestring, "qatscope-plan") != 0)
        return qs_fail(e, QS_E_INPUT, "%s: no plan: \"format\" is not \"qatscope-plan\"", name);
    if (!cJSON_IsNumber(version) || version->valuedouble != 1)
        return qs_fail(e, QS_E_INPUT, "%s: \"version\" is not 1, the only one this qatscope knows", name);
    if (!cJSON_IsArray(*actions))
        return qs_fail(e, QS_E_INPUT, "%s: \"actions\" is missing or no list", name);
    return check_head_fields(name, root, e);
}

static bool read_plan_comment(parser *p, const cJSON *root, qs_plan *plan) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(root, "comment");
    qs_str text;
    if (!v) return true;
    if (!cJSON_IsString(v) && !cJSON_IsObject(v))
        return qs_fail(p->e, QS_E_INPUT, "%s: \"comment\" is no string", p->name);
    return read_text(p, v, "comment", &text) && qs_plan_set_comment(plan, text, p->e);
}

static bool build(parser *p, const cJSON *root, const cJSON *actions, qs_plan **out) {
    size_t n = length_of(actions);
    qs_action *list = QS_ARENA_ARRAY(&p->arena, n, qs_action);
    qs_plan *plan = list ? qs_plan_new() : NULL;
    bool ok = plan || qs_nomem(p->e);
    for (const cJSON *x = actions->child; ok && x; x = x->next, p->index++)
        ok = read_action(p, x, &list[p->index]);
    ok = ok && qs_plan_push_all(plan, list, n, p->e) && read_plan_comment(p, root, plan);
    if (!ok) {
        qs_plan_free(plan);
        return false;
    }
    qs_plan_mark_saved(plan);
    *out = plan;
    return true;
}

bool qs_plan_parse(const char *json, size_t n, const char *name, const qs_limits *limits, qs_plan **out,
                   qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    if (!limits) limits = &defaults;
    parser p = {.name = name, .e = e};
    const cJSON *actions;
    p.ndim = limits->ndim;
    if (n > limits->json_bytes) return qs_over_limit(e, limits, QS_LIMIT_JSON_BYTES, name, n);
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(json, n, &end, false);
    bool ok = false;
    while (root && end < json + n && strchr(" \t\r\n", *end) && *end) end++;
    if (!root || end != json + n)
        syntax_error(name, json, n, end, e);
    else
        ok = check_head(name, root, &actions, e) && build(&p, root, actions, out);
    cJSON_Delete(root);
    qs_arena_free(&p.arena);
    return ok;
}
