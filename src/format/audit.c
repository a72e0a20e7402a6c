/* From an object graph to the list of what it would do. */
#include "format/audit.h"

#include "base/map.h"
#include "format/pickle.h"

#include <stdlib.h>

static const struct {
    qs_audit_class cls;
    const char *module, *name;
} rules[] = {
#define QS_AUDIT_RULE(CLASS, module, name) {QS_AUDIT_##CLASS, module, name},
#define QS_AUDIT_MAKER(module, name)
#define QS_AUDIT_CALLER(module, name)
#include "format/audit.def"
#undef QS_AUDIT_RULE
#undef QS_AUDIT_MAKER
#undef QS_AUDIT_CALLER
};
static const struct {
    bool calls; /* what it is given; else it makes something */
    const char *module, *name;
} functions[] = {
#define QS_AUDIT_RULE(CLASS, module, name)
#define QS_AUDIT_MAKER(module, name)  {false, module, name},
#define QS_AUDIT_CALLER(module, name) {true, module, name},
#include "format/audit.def"
#undef QS_AUDIT_RULE
#undef QS_AUDIT_MAKER
#undef QS_AUDIT_CALLER
};
enum { RULES = sizeof rules / sizeof *rules, FUNCTIONS = sizeof functions / sizeof *functions };

const char *qs_audit_class_name(qs_audit_class c) {
    static const char *const names[] = {"torch", "data", "library", "code"};
    return names[c];
}

/* ---- names ---- */

/* `*` stands for any text; at most two of them. */
static bool matches(qs_str s, const char *pattern) {
    const char *star = strchr(pattern, '*');
    if (!star) return qs_str_is(s, pattern);
    qs_str head = {pattern, (size_t)(star - pattern)};
    if (!qs_str_starts(s, head)) return false;
    s = qs_str_sub(s, head.n, s.n);
    const char *second = strchr(star + 1, '*');
    if (!second) return qs_str_ends(s, qs_str_of(star + 1));
    size_t at = qs_str_find(s, (qs_str){star + 1, (size_t)(second - star - 1)});
    return at != SIZE_MAX && second[1] == '\0';
}

/* "m.*" is m and all below it. */
static bool module_matches(qs_str module, const char *pattern) {
    size_t n = strlen(pattern);
    if (n > 2 && strcmp(pattern + n - 2, ".*") == 0) {
        qs_str top = {pattern, n - 2};
        return qs_str_starts(module, top) && (module.n == top.n || module.p[top.n] == '.');
    }
    return matches(module, pattern);
}

/* What Python 3 renames when it reads a pickle of Python 2. */
static qs_str modern(qs_str module) {
    if (qs_str_is(module, "__builtin__")) return QS_STR("builtins");
    if (qs_str_is(module, "copy_reg")) return QS_STR("copyreg");
    return module;
}

static qs_audit_class class_of_plain(qs_str module, qs_str name) {
    module = modern(module);
    for (size_t i = 0; i < RULES; i++)
        if (module_matches(module, rules[i].module) && matches(name, rules[i].name)) return rules[i].cls;
    return QS_AUDIT_LIBRARY;
}

/* Is the last part of the name a module that hands out code? `torch.serialization` `os` is one. */
static bool is_code_module(qs_str name) {
    if (qs_str_is(name, "builtins") || qs_str_is(name, "__builtins__")) return true;
    for (size_t i = 0; i < RULES; i++)
        if (rules[i].cls == QS_AUDIT_CODE && strcmp(rules[i].name, "*") == 0 &&
            module_matches(name, rules[i].module))
            return true;
    return false;
}

/* A dotted name is looked up attribute by attribute, so `torch.serialization` `os.system` is os.system. */
qs_audit_class qs_audit_class_of(qs_str module, qs_str name) {
    qs_audit_class worst = class_of_plain(module, name);
    for (qs_str rest = name; worst != QS_AUDIT_CODE && rest.n;) {
        const char *dot = memchr(rest.p, '.', rest.n);
        qs_str part = dot ? (qs_str){rest.p, (size_t)(dot - rest.p)} : rest;
        if ((dot || part.n < name.n || !qs_str_is(module, "torch")) && is_code_module(part))
            return QS_AUDIT_CODE;
        if (part.n > 4 && qs_str_starts(part, QS_STR("__")) && qs_str_ends(part, QS_STR("__")) &&
            part.n < name.n)
            return QS_AUDIT_CODE; /* __globals__, __subclasses__ ... */
        rest = dot ? qs_str_sub(rest, part.n + 1, rest.n) : (qs_str){NULL, 0};
    }
    if (worst == QS_AUDIT_TORCH && name.n && memchr(name.p, '.', name.n)) return QS_AUDIT_LIBRARY;
    return worst;
}

/* By its name: classes begin with a capital. */
static bool is_function(qs_str name) {
    const char *dot = NULL;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == '.') dot = name.p + i + 1;
    const char *p = dot ? dot : name.p, *end = name.p + name.n;
    while (p < end && *p == '_') p++;
    return p < end && *p >= 'a' && *p <= 'z';
}

static bool is_listed(bool calls, qs_str module, qs_str name) {
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (functions[i].calls == calls && module_matches(modern(module), functions[i].module) &&
            matches(name, functions[i].name))
            return true;
    return false;
}

/* Would a call of it run what the file chooses among all that is installed? */
static bool is_chosen(qs_audit_class cls, qs_str module, qs_str name) {
    bool attribute = name.n && memchr(name.p, '.', name.n) != NULL; /* a method is no plain data */
    if (!is_function(name) || !(cls == QS_AUDIT_LIBRARY || (cls == QS_AUDIT_DATA && attribute))) return false;
    return !is_listed(false, module, name);
}

/* ---- items ---- */

typedef struct auditor {
    qs_audit *a;
    const qs_graph *g;
    uint32_t pickle;
    qs_map seen;   /* "module\nname" -> item */
    uint8_t *uses; /* by node: called, or changed by BUILD */
    qs_err *err;
} auditor;

enum { USED_AS_CALLABLE = 1, BUILT = 2 };

static qs_audit_item *item_of(auditor *d, qs_str module, qs_str name, uint64_t offset) {
    qs_buf key = {0};
    qs_buf_add(&key, module);
    qs_buf_addc(&key, '\n');
    qs_buf_add(&key, name);
    qs_str copy = key.failed ? (qs_str){0} : qs_arena_str(&d->a->arena, qs_buf_str(&key));
    qs_buf_free(&key);
    uint32_t at = copy.p ? qs_map_add(&d->seen, copy, (uint32_t)d->a->items.n) : QS_MAP_NONE;
    if (at == QS_MAP_NONE) {
        qs_nomem(d->err);
        return NULL;
    }
    if (at == d->a->items.n) {
        qs_audit_item made = {.pickle = d->pickle,
                              .module = qs_str_sub(copy, 0, module.n),
                              .name = qs_str_sub(copy, module.n + 1, copy.n),
                              .cls = qs_audit_class_of(module, name),
                              .offset = offset};
        if (!qs_push(&d->a->items, made)) {
            qs_nomem(d->err);
            return NULL;
        }
    }
    qs_audit_item *item = &d->a->items.v[at];
    if (offset < item->offset) item->offset = offset;
    return item;
}

/* The name behind a callable: a GLOBAL; in old torch files ('module', class, file, source); of a call's
 * result the name of what was called. *computed: it is a result. */
static qs_node name_behind(const auditor *d, qs_node n, bool *computed) {
    qs_call call;
    *computed = false;
    for (int i = 0; i < 64; i++) {
        if (qs_node_kind_of(d->g, n) == QS_NODE_PERSID) n = qs_node_item(d->g, qs_node_persid(d->g, n), 1);
        if (!qs_node_call(d->g, n, &call)) break;
        n = call.callable;
        *computed = true;
    }
    return n;
}

static bool is_getattr(const auditor *d, qs_node n) {
    return qs_node_is_global(d->g, n, "builtins", "getattr") ||
           qs_node_is_global(d->g, n, "__builtin__", "getattr");
}

/* getattr(Class, "name"), by which Python 3 writes nested names to protocol 2: harmless while nothing is done
 * with what it gives. */
static bool is_plain_lookup(const auditor *d, qs_node n, const qs_call *call) {
    qs_node base = qs_node_item(d->g, call->args, 0), attr = qs_node_item(d->g, call->args, 1);
    if (!is_getattr(d, call->callable) || d->uses[n] || qs_node_len(d->g, call->args) != 2) return false;
    if (qs_node_kind_of(d->g, base) != QS_NODE_GLOBAL || qs_node_kind_of(d->g, attr) != QS_NODE_STR)
        return false;
    qs_str module = qs_node_module(d->g, base), name = qs_node_name(d->g, base);
    qs_buf whole = {0};
    qs_buf_add(&whole, name);
    qs_buf_addc(&whole, '.');
    qs_buf_add(&whole, qs_node_str(d->g, attr));
    bool ok = !whole.failed && qs_audit_class_of(module, qs_buf_str(&whole)) != QS_AUDIT_CODE;
    qs_buf_free(&whole);
    return ok;
}

/* The functions handed to one that calls what it is given are judged as called. */
static bool audit_handed(auditor *d, const qs_call *call) {
    for (size_t i = 0; i < qs_node_len(d->g, call->args); i++) {
        qs_node arg = qs_node_item(d->g, call->args, i);
        if (qs_node_kind_of(d->g, arg) != QS_NODE_GLOBAL) continue;
        qs_str module = qs_node_module(d->g, arg), name = qs_node_name(d->g, arg);
        qs_audit_item *item = item_of(d, module, name, qs_node_offset(d->g, arg));
        if (!item) return false;
        if (!is_chosen(item->cls, module, name)) continue;
        item->cls = QS_AUDIT_CODE;
        item->why = "is handed to what calls it";
    }
    return true;
}

static bool audit_call(auditor *d, qs_node n) {
    qs_call call;
    bool computed;
    qs_node_call(d->g, n, &call);
    qs_node behind = name_behind(d, call.callable, &computed);
    qs_str module = qs_node_module(d->g, behind), name = qs_node_name(d->g, behind);
    if (qs_node_kind_of(d->g, behind) != QS_NODE_GLOBAL) name = QS_STR("(not a name)");
    qs_audit_item *item = item_of(d, module, name, qs_node_offset(d->g, n));
    if (!item) return false;
    if (qs_node_kind_of(d->g, n) == QS_NODE_NEWOBJ)
        item->news++;
    else
        item->calls++;
    item->builds += call.builds;
    if (is_getattr(d, call.callable)) {
        if (!item->why) item->cls = QS_AUDIT_LIBRARY; /* the first call of it: judged by its uses */
        item->why = "looks an attribute up";
        if (!is_plain_lookup(d, n, &call)) item->cls = QS_AUDIT_CODE;
    }
    if (qs_node_kind_of(d->g, n) == QS_NODE_REDUCE && !is_getattr(d, call.callable) &&
        is_chosen(item->cls, module, name)) {
        item->cls = QS_AUDIT_CODE;
        item->why = "calls a function that the file chooses";
    }
    /* type(x) asks; of a name, bases and a dict it makes a class, whose methods the file chooses. */
    if (qs_str_is(modern(module), "builtins") && qs_str_is(name, "type") &&
        qs_node_len(d->g, call.args) > 1) {
        item->cls = QS_AUDIT_CODE;
        item->why = "makes a class of functions that the file chooses";
    }
    /* Making an instance of a nested class found by getattr is how Python 3 writes one; calling is not. */
    if (qs_node_kind_of(d->g, behind) != QS_NODE_GLOBAL ||
        (computed && qs_node_kind_of(d->g, n) == QS_NODE_REDUCE)) {
        item->cls = QS_AUDIT_CODE;
        item->why = "calls what another call gave";
    }
    return !is_listed(true, module, name) || audit_handed(d, &call);
}

static void mark_uses(auditor *d) {
    for (qs_node n = 1; n <= qs_graph_count(d->g); n++) {
        qs_call call;
        if (!qs_node_call(d->g, n, &call)) continue;
        if (qs_node_kind_of(d->g, n) == QS_NODE_REDUCE) d->uses[call.callable] |= USED_AS_CALLABLE;
        if (call.builds) d->uses[n] |= BUILT;
    }
}

static bool audit_graph(auditor *d) {
    uint32_t count = qs_graph_count(d->g);
    d->uses = calloc((size_t)count + 1, 1);
    if (!d->uses) return qs_nomem(d->err);
    mark_uses(d);
    for (qs_node n = 1; n <= count; n++) {
        qs_node_kind kind = qs_node_kind_of(d->g, n);
        if (kind == QS_NODE_GLOBAL) {
            qs_audit_item *item =
                item_of(d, qs_node_module(d->g, n), qs_node_name(d->g, n), qs_node_offset(d->g, n));
            if (!item) return false;
            item->imports++;
        } else if ((kind == QS_NODE_REDUCE || kind == QS_NODE_NEWOBJ) && !audit_call(d, n)) {
            return false;
        }
    }
    return true;
}

/* ---- one pickle ---- */

/* What our machine does not follow and Python does. */
static bool add_trick(auditor *d) {
    static const struct {
        const char *name, *why;
    } tricks[] = {
        [QS_TRICK_PATCH] = {"(a change of what a name stands for)",
                            "changes a class, function or module for the whole Python process"},
        [QS_TRICK_FRAME] = {"(an opcode across the end of a frame)",
                            "Python reads other opcodes there than stand there"},
    };
    qs_trick t = qs_graph_trick(d->g);
    if (t == QS_TRICK_NONE) return true;
    qs_audit_item *item = item_of(d, (qs_str){"", 0}, qs_str_of(tricks[t].name), qs_graph_end(d->g));
    if (!item) return false;
    item->cls = QS_AUDIT_CODE;
    item->why = tricks[t].why;
    return true;
}

bool qs_audit_add_graph(qs_audit *a, const qs_graph *g, const qs_err *why, const char *record, uint64_t start,
                        qs_err *e) {
    qs_audit_pickle p = {.record = qs_str_of(record),
                         .start = start,
                         .bytes = qs_graph_end(g),
                         .protocol = qs_graph_protocol(g)};
    if (why->code != QS_OK) {
        p.broken = qs_arena_str(&a->arena, qs_str_of(why->msg)).p;
        p.cut = why->code != QS_E_INPUT;
        if (!p.broken) return qs_nomem(e);
    }
    auditor d = {.a = a, .g = g, .pickle = (uint32_t)a->pickles.n, .err = e};
    bool ok = (qs_push(&a->pickles, p) || qs_nomem(e)) && audit_graph(&d) && add_trick(&d);
    free(d.uses);
    qs_map_free(&d.seen);
    return ok;
}

bool qs_audit_add(qs_audit *a, const void *data, size_t n, const char *record, uint64_t start,
                  const qs_limits *limits, qs_err *e) {
    qs_err why;
    qs_graph *g = NULL;
    if (!qs_pickle_follow(data, n, record, limits, &g, &why)) return qs_nomem(e);
    bool ok = qs_audit_add_graph(a, g, &why, record, start, e);
    qs_graph_free(g);
    return ok;
}
