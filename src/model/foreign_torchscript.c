/* A TorchScript archive as the state dict torch.jit.load(...).state_dict() gives. Which of an object's
 * tensors are parameters and which buffers is said by the archive's own source text (`__parameters__ =
 * ["weight", ]` at the head of each class), which is read as text and never run.
 * torch/csrc/jit/serialization/python_print.cpp writes it. */
#include "base/map.h"
#include "base/vec.h"
#include "format/parts.h"
#include "format/pickle.h"
#include "format/pickle_emit.h"
#include "model/foreign.h"

#include <stdlib.h>

enum { MAX_MODULES = 1 << 20 };

/* What the source says of one class. */
typedef struct class_text {
    qs_str parameters, buffers; /* the text between the brackets */
    bool is_module;
} class_text;

typedef struct frame {
    qs_node state; /* the object's attributes */
    class_text cls;
    size_t at;     /* attribute to look at next */
    int phase;     /* 0 parameters, 1 buffers, 2 children */
    size_t prefix; /* bytes of builder.key that name the module, dot included */
} frame;

typedef struct builder {
    const qs_container *box;
    const qs_limits *limits;
    qs_graph *g;
    QS_VEC(char *) sources; /* text of files under code/ */
    QS_VEC(class_text) classes;
    qs_map by_class, by_file;
    QS_VEC(frame) stack;
    uint32_t modules;
    qs_buf key, pickle;
    qs_emit *emit;
    qs_parts *parts;
    qs_arena arena;
    qs_err *err;
} builder;

/* ---- the sources ---- */

/* "__torch__.a.b.C" is in code/__torch__/a/b.py. Gives "" if there is no such file. */
static bool source_of(builder *b, qs_str class_name, qs_str *out) {
    qs_buf path = {0};
    size_t n = 0;
    char *text = NULL;
    qs_str module = qs_str_parent(class_name);
    qs_buf_addz(&path, "code/");
    for (size_t i = 0; i < module.n; i++) qs_buf_addc(&path, module.p[i] == '.' ? '/' : module.p[i]);
    qs_buf_addz(&path, ".py");
    qs_str copy = path.failed ? (qs_str){0} : qs_arena_str(&b->arena, qs_buf_str(&path));
    qs_buf_free(&path);
    if (!copy.p) return qs_nomem(b->err);
    uint32_t seen = qs_map_get(&b->by_file, copy), r = qs_container_find(b->box, copy);
    *out = (qs_str){"", 0};
    if (seen != QS_MAP_NONE) return *out = qs_str_of(b->sources.v[seen]), true;
    if (r == UINT32_MAX) return true;
    if (!qs_record_slurp(b->box, r, b->limits, QS_LIMIT_STRING_BYTES, &text, &n, b->err)) return false;
    if (!qs_map_put(&b->by_file, copy, (uint32_t)b->sources.n) || !qs_push(&b->sources, text)) {
        free(text);
        return qs_nomem(b->err);
    }
    return *out = (qs_str){text, n}, true;
}

/* What stands between the brackets of `NAME = [...]`. */
static qs_str list_in(qs_str text, const char *name) {
    size_t at = qs_str_find(text, qs_str_of(name));
    if (at == SIZE_MAX) return (qs_str){"", 0};
    text = qs_str_sub(text, at + strlen(name), text.n);
    size_t end = qs_str_find(text, QS_STR("]"));
    return end == SIZE_MAX ? (qs_str){"", 0} : qs_str_sub(text, 0, end);
}

static bool parse_class(builder *b, qs_str class_name, class_text *out) {
    qs_str text, leaf = qs_str_leaf(class_name);
    qs_buf head = {0};
    if (!source_of(b, class_name, &text)) return false;
    qs_buf_addf(&head, "class %.*s(Module):\n", QS_FMT(leaf));
    if (head.failed) return qs_nomem(b->err);
    size_t at = qs_str_find(text, qs_buf_str(&head));
    qs_buf_free(&head);
    *out = (class_text){.is_module = at != SIZE_MAX};
    if (!out->is_module) return true;
    text = qs_str_sub(text, at + 1, text.n);
    size_t next = qs_str_find(text, QS_STR("\nclass "));
    if (next != SIZE_MAX) text.n = next;
    out->parameters = list_in(text, "__parameters__ = [");
    out->buffers = list_in(text, "__buffers__ = [");
    return true;
}

static bool class_of(builder *b, qs_str class_name, class_text *out) {
    uint32_t at = qs_map_get(&b->by_class, class_name);
    if (at != QS_MAP_NONE) return *out = b->classes.v[at], true;
    return parse_class(b, class_name, out) &&
           ((qs_map_put(&b->by_class, class_name, (uint32_t)b->classes.n) && qs_push(&b->classes, *out)) ||
            qs_nomem(b->err));
}

static bool lists(qs_str list, qs_str name) {
    while (list.n) {
        size_t open = qs_str_find(list, QS_STR("\""));
        if (open == SIZE_MAX) return false;
        list = qs_str_sub(list, open + 1, list.n);
        size_t close = qs_str_find(list, QS_STR("\""));
        if (close == SIZE_MAX) return false;
        if (qs_str_eq(qs_str_sub(list, 0, close), name)) return true;
        list = qs_str_sub(list, close + 1, list.n);
    }
    return false;
}

/* ---- the objects ---- */

/* Is n a module? Then its attributes and class. */
static bool module_at(builder *b, qs_node n, bool *is_module, frame *out) {
    qs_call call;
    qs_str name;
    *is_module = false;
    if (!qs_node_call(b->g, n, &call) || call.builds == 0) return true;
    qs_node state = qs_node_build(b->g, n, 0);
    if (!qs_str_starts(qs_node_module(b->g, call.callable), QS_STR("__torch__"))) return true;
    qs_buf whole = {0};
    qs_buf_addf(&whole, "%.*s.%.*s", QS_FMT(qs_node_module(b->g, call.callable)),
                QS_FMT(qs_node_name(b->g, call.callable)));
    name = whole.failed ? (qs_str){0} : qs_arena_str(&b->arena, qs_buf_str(&whole));
    qs_buf_free(&whole);
    *out = (frame){.state = state};
    if (!name.p) return qs_nomem(b->err);
    if (!class_of(b, name, &out->cls)) return false;
    *is_module = out->cls.is_module && qs_node_is_dict_like(b->g, state);
    return true;
}

static bool is_tensor(const builder *b, qs_node n) {
    qs_call call;
    return qs_node_call(b->g, n, &call) && qs_str_is(qs_node_module(b->g, call.callable), "torch._utils");
}

static bool enter(builder *b, const frame *f) {
    if (b->stack.n >= b->limits->depth)
        return qs_over_limit(b->err, b->limits, QS_LIMIT_DEPTH, "TorchScript modules", 0);
    if (++b->modules > MAX_MODULES) return qs_fail(b->err, QS_E_LIMIT, "too many TorchScript modules");
    frame made = *f;
    made.prefix = b->key.n;
    return qs_push(&b->stack, made) || qs_nomem(b->err);
}

static bool visit(builder *b, const frame *f, qs_str name, qs_node value) {
    frame child;
    bool is_module = false;
    b->key.n = f->prefix;
    qs_buf_add(&b->key, name);
    if (b->key.failed) return qs_nomem(b->err);
    if (f->phase < 2) {
        qs_str list = f->phase == 0 ? f->cls.parameters : f->cls.buffers;
        return !is_tensor(b, value) || !lists(list, name) ||
               (qs_emit_str(b->emit, qs_buf_str(&b->key), b->err) &&
                qs_emit_node(b->emit, b->g, value, b->limits, b->err) &&
                qs_emit_code(b->emit, QS_OP_SETITEM, b->err));
    }
    if (!module_at(b, value, &is_module, &child)) return false;
    qs_buf_addc(&b->key, '.');
    return !is_module || enter(b, &child);
}

static bool walk(builder *b) {
    while (b->stack.n) {
        frame *f = &b->stack.v[b->stack.n - 1];
        if (f->at == qs_node_pairs(b->g, f->state)) {
            f->at = 0;
            if (++f->phase > 2) b->stack.n--;
            continue;
        }
        size_t i = f->at++;
        frame copy = *f; /* the stack may move */
        if (!visit(b, &copy, qs_node_str(b->g, qs_node_key(b->g, copy.state, i)),
                   qs_node_value(b->g, copy.state, i)))
            return false;
    }
    return true;
}

/* ---- the container ---- */

static bool make_pickle(builder *b) {
    frame top;
    bool is_module = false;
    b->emit = qs_emit_new(qs_emit_to_buf, &b->pickle);
    if (!b->emit) return qs_nomem(b->err);
    if (!module_at(b, qs_graph_root(b->g), &is_module, &top)) return false;
    if (!is_module) return qs_fail(b->err, QS_E_UNSUPPORTED, "this TorchScript archive holds no module");
    return qs_emit_begin(b->emit, b->err) &&
           qs_emit_global(b->emit, QS_STR("collections"), QS_STR("OrderedDict"), b->err) &&
           qs_emit_code(b->emit, QS_OP_EMPTY_TUPLE, b->err) && qs_emit_code(b->emit, QS_OP_REDUCE, b->err) &&
           enter(b, &top) && walk(b) && qs_emit_end(b->emit, b->err) &&
           qs_parts_add_bytes(b->parts, QS_STR("data.pkl"), qs_buf_str(&b->pickle), b->err);
}

static bool add_records(builder *b, qs_container *box) {
    for (uint32_t i = 0; i < qs_container_count(box); i++) {
        qs_str name = qs_container_record(box, i)->name;
        if (!qs_str_is(name, "data.pkl") && !qs_parts_add_record(b->parts, name, box, i, b->err))
            return false;
    }
    return true;
}

static bool build(builder *b, qs_container *box) {
    char *data = NULL;
    size_t n;
    uint32_t r = qs_container_find(box, QS_STR("data.pkl"));
    bool ok = qs_record_slurp(box, r, b->limits, QS_LIMIT_PICKLE_BYTES, &data, &n, b->err) &&
              qs_pickle_read(data, n, "data.pkl", b->limits, &b->g, b->err) && make_pickle(b) &&
              add_records(b, box);
    qs_emit_free(b->emit);
    qs_graph_free(b->g);
    free(data);
    return ok;
}

static void release(builder *b) {
    for (size_t i = 0; i < b->sources.n; i++) free(b->sources.v[i]);
    qs_vec_free(&b->sources);
    qs_vec_free(&b->classes);
    qs_vec_free(&b->stack);
    qs_map_free(&b->by_class);
    qs_map_free(&b->by_file);
    qs_buf_free(&b->key);
    qs_buf_free(&b->pickle);
    qs_arena_free(&b->arena);
}

bool qs_torchscript_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e) {
    qs_container *box = NULL;
    qs_file *again = NULL;
    builder b = {.limits = limits, .err = e};
    bool ok = qs_file_open(qs_file_path(f), &again, e) && qs_container_open(again, limits, &box, e);
    b.box = box;
    if (ok) {
        b.parts = qs_parts_new();
        if (!b.parts) qs_container_close(box);
        ok = b.parts ? qs_parts_own(b.parts, box, e) && build(&b, box) : qs_nomem(e);
    }
    release(&b);
    if (ok) return qs_container_of_parts(f, QS_FILE_TORCHSCRIPT, b.parts, out, e);
    qs_parts_free(b.parts);
    qs_file_close(f);
    return false;
}
