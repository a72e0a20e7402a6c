/* Load, save, load: what can be opened and may be saved must come back as it was, but for what the plan
 * changes. The last two bytes choose how: the kind of file and of plan. The others are the file, or the
 * pickle of an archive with a few storages. */
#include "fuzz/memory_file.h"
#include "graph_eq.h"
#include "repair/write.h"
#include "unit/ascii_ckpt.h"

#include <dirent.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHOSEN = 2, COMPARED = 2000, ELEMENTS = 256, PLANS = 8 };

#define REQUIRE(truth, ...)                                                                                  \
    do {                                                                                                     \
        if (truth) break;                                                                                    \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                      \
        fprintf(stderr, __VA_ARGS__);                                                                        \
        fprintf(stderr, "\n");                                                                               \
        abort();                                                                                             \
    } while (0)

/* One input: A, what the plan makes of it, and what was saved. */
typedef struct trip {
    qs_checkpoint *a, *c;
    qs_plan *plan;
    qs_resolution *r;
    qs_write_options opt;
    qs_write_format format;
    bool renames_only; /* the plan does nothing else, or nothing at all */
    char out[80];
} trip;

/* ---- a folder to save into ---- */

static char folder[40];

static void remove_folder(void) {
    rmdir(folder);
}

static void make_folder(void) {
    if (folder[0]) return;
    strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/qatscope-XXXXXX" : "/tmp/qatscope-XXXXXX");
    REQUIRE(mkdtemp(folder), "no temporary folder");
    atexit(remove_folder);
}

/* Removes what is there; how many files. */
static int empty_folder(void) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[320];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        n++;
        remove(path);
    }
    closedir(d);
    return n;
}

/* ---- the input ---- */

static int open_file(const uint8_t *data, size_t n, bool pickle, char path[64]) {
    static float numbers[64];
    static const char five[8] = {5}, one[1] = {1};
    for (int i = 0; i < 64; i++) numbers[i] = (float)i;
    const ascii_record r[] = {{"data.pkl", data, n},    {"version", "3\n", 2}, {"data/0", numbers, 64},
                              {"data/1", five, 8},      {"data/2", one, 1},    {"data/3", numbers, 0},
                              {"data/4", numbers, 256}, {"extra/x", five, 3}};
    return pickle ? ascii_write(r, sizeof r / sizeof *r, path) : memory_file(data, n, path);
}

static bool push(qs_plan *p, qs_action a) {
    qs_err e = QS_ERR_INIT;
    return qs_plan_push(p, &a, &e);
}

static void push_swap(trip *t) {
    uint32_t n = qs_checkpoint_count(t->a);
    if (n < 2) return;
    qs_str first = qs_checkpoint_entry(t->a, 0)->key, last = qs_checkpoint_entry(t->a, n - 1)->key;
    const qs_rename_pair pairs[] = {{first, last}, {last, first}};
    push(t->plan, (qs_action){.kind = QS_ACT_RENAME, .pairs = pairs, .pair_count = 2});
}

static void push_drop_every(trip *t, uint32_t step) {
    QS_VEC(qs_rename_pair) pairs = {0};
    for (uint32_t i = 0; i < qs_checkpoint_count(t->a); i += step)
        if (!qs_push(&pairs, (qs_rename_pair){.from = qs_checkpoint_entry(t->a, i)->key})) abort();
    push(t->plan,
         (qs_action){
             .kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_KEYS, .pairs = pairs.v, .pair_count = pairs.n});
    qs_vec_free(&pairs);
}

static void push_drop_tops(trip *t) {
    const qs_graph *g = qs_checkpoint_graph(t->a);
    qs_node top = qs_graph_root(g);
    for (size_t i = 0; i < qs_node_pairs(g, top) && i < 16; i++) {
        qs_str key = qs_node_str(g, qs_node_key(g, top, i));
        if (!qs_top_refusal(t->a, key))
            push(t->plan, (qs_action){.kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_TOP, .scope = key});
    }
}

static void push_cast(trip *t, qs_dtype to) {
    push(t->plan, (qs_action){.kind = QS_ACT_CAST, .scope_kind = QS_SCOPE_SUBTREE, .dtype = to});
}

static void make_plan(trip *t, unsigned kind) {
    const qs_action rule = {
        .kind = QS_ACT_RULE, .pattern_kind = QS_PATTERN_PREFIX, .replacement = QS_STR("moved.")};
    t->renames_only = kind <= 2;
    switch (kind) {
    case 1: push(t->plan, rule); break;
    case 2: push_swap(t); break;
    case 3: push_drop_every(t, 2); break;
    case 4: push_drop_tops(t); break;
    case 5: push_cast(t, QS_FLOAT32); break;
    case 6: push_cast(t, QS_INT16); break;
    case 7:
        push(t->plan, rule);
        push_drop_every(t, 3);
        push_cast(t, QS_FLOAT64);
        break;
    default: break;
    }
}

/* ---- the same values ---- */

static bool same_ints(const int64_t *a, const int64_t *b, uint32_t n) {
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

static bool read_result(const trip *t, const qs_resolved *x, uint64_t first, size_t n, void *out) {
    const qs_checkpoint *from = NULL;
    qs_err e = QS_ERR_INIT;
    const qs_tensor *was = qs_resolved_tensor(t->r, x, &from);
    return was ? qs_tensor_read(from, was, first, n, out, &e) : qs_resolved_read(t->r, x, first, n, out, &e);
}

static void same_values(const trip *t, const qs_resolved *x, const qs_tensor *got) {
    static char want[ELEMENTS * 16], have[ELEMENTS * 16];
    uint64_t numel = qs_shape_numel(got->shape);
    size_t n = numel < ELEMENTS ? (size_t)numel : ELEMENTS;
    qs_err e = QS_ERR_INIT;
    if (numel == UINT64_MAX || got->kind == QS_TENSOR_META || got->kind == QS_TENSOR_SPARSE ||
        got->kind == QS_TENSOR_OPAQUE)
        return;
    for (int end = 0; end < 2; end++) {
        uint64_t first = end ? numel - n : 0;
        REQUIRE(qs_tensor_read(t->c, got, first, n, have, &e), "%s", e.msg);
        REQUIRE(read_result(t, x, first, n, want), "the input cannot be read");
        REQUIRE(memcmp(want, have, n * qs_dtype_get(got->dtype)->size) == 0, "another value: %.*s",
                QS_FMT(x->key));
    }
}

/* The layout too, which only .pt keeps. */
static void same_tensor(const trip *t, const qs_tensor *was, const qs_tensor *got) {
    REQUIRE(was->kind == got->kind && was->dtype == got->dtype && qs_shape_eq(was->shape, got->shape),
            "another type");
    if (t->format != QS_WRITE_TORCH) return;
    REQUIRE(!was->stride == !got->stride, "strides");
    if (was->stride) REQUIRE(same_ints(was->stride, got->stride, was->shape.ndim), "other strides");
    bool module = qs_checkpoint_chosen_root(t->a)->kind == QS_ROOT_MODULE;
    unsigned flags = was->flags ^ got->flags;
    if (module) flags &= ~(QS_TENSOR_IS_PARAMETER | QS_TENSOR_REQUIRES_GRAD);
    REQUIRE(flags == 0, "other flags");
    if (was->kind == QS_TENSOR_QUANTIZED)
        REQUIRE(was->q->per_channel == got->q->per_channel && was->q->axis == got->q->axis &&
                    was->q->zero_point == got->q->zero_point &&
                    memcmp(&was->q->scale, &got->q->scale, 8) == 0,
                "other quantization");
}

/* Who shares a storage with whom, and how far apart they begin. */
static void same_sharing(const trip *t, uint32_t i, const qs_tensor *was, const qs_tensor *got) {
    for (uint32_t k = 0; k < i && k < 64; k++) {
        const qs_resolved *x = qs_resolution_entry(t->r, k);
        const qs_tensor *other = qs_resolved_tensor(t->r, x, NULL);
        if (!other || other->storage == UINT32_MAX || was->storage == UINT32_MAX) continue;
        const qs_tensor *now = qs_entry_tensor(t->c, qs_checkpoint_entry(t->c, k));
        REQUIRE((other->storage == was->storage) == (now->storage == got->storage), "shared otherwise");
        if (other->storage != was->storage) continue;
        uint64_t a = qs_dtype_get(was->dtype)->size, b = qs_dtype_get(other->dtype)->size;
        REQUIRE(was->offset * a - other->offset * b == got->offset * a - now->offset * b, "moved apart");
    }
}

static void same_entry(const trip *t, uint32_t i) {
    const qs_resolved *x = qs_resolution_entry(t->r, i);
    uint32_t at = t->format == QS_WRITE_TORCH ? i : qs_checkpoint_find(t->c, x->key);
    REQUIRE(at != UINT32_MAX, "lost: %.*s", QS_FMT(x->key));
    const qs_entry *en = qs_checkpoint_entry(t->c, at);
    REQUIRE(qs_str_eq(en->key, x->key), "%.*s instead of %.*s", QS_FMT(en->key), QS_FMT(x->key));
    const qs_tensor *was = qs_resolved_tensor(t->r, x, NULL), *got = qs_entry_tensor(t->c, en);
    REQUIRE(!got == (!was && !qs_resolved_is_made(x)), "of another kind: %.*s", QS_FMT(x->key));
    if (!got) return;
    REQUIRE(!got->bad, "%.*s: %s", QS_FMT(x->key), got->bad);
    if (was) same_tensor(t, was, got);
    REQUIRE(was || (got->dtype == x->dtype && qs_shape_eq(got->shape, x->shape)), "not as the plan says");
    if (was && t->format == QS_WRITE_TORCH) same_sharing(t, i, was, got);
    same_values(t, x, got);
}

/* ---- the same everything else ---- */

static void add_state_dict(const trip *t, graph_pairs *p) {
    const qs_root *from = qs_checkpoint_chosen_root(t->a), *to = qs_checkpoint_chosen_root(t->c);
    graph_pairs_take(p, from->node, to->node);
    graph_pairs_take(p, qs_checkpoint_metadata_node(t->a), qs_checkpoint_metadata_node(t->c));
    for (uint32_t i = 0; from->kind == QS_ROOT_STATE_DICT && i < qs_resolution_live(t->r); i++) {
        const qs_resolved *x = qs_resolution_entry(t->r, i);
        graph_pairs_add(p, qs_checkpoint_entry(t->a, x->a)->node, qs_checkpoint_entry(t->c, i)->node);
    }
}

/* Does an id tell another size of its storage than the first one did? It is written as the first told. */
static bool sizes_differ(const qs_checkpoint *c) {
    const qs_graph *g = qs_checkpoint_graph(c);
    for (qs_node n = 1; n <= qs_graph_count(g); n++) {
        qs_node id = qs_node_persid(g, n);
        for (uint32_t i = 0; id && i < qs_checkpoint_storage_count(c); i++) {
            const qs_storage *s = qs_checkpoint_storage(c, i);
            qs_node first = qs_node_persid(g, s->node);
            if (qs_str_eq(qs_storage_key(c, s), qs_node_str(g, qs_node_item(g, id, 2))) &&
                qs_node_int(g, qs_node_item(g, id, 4)) != qs_node_int(g, qs_node_item(g, first, 4)))
                return true;
        }
    }
    return false;
}

/* Names changed at most: all the rest of the object is what it was, whatever shares what. */
static void same_object(const trip *t) {
    const qs_graph *a = qs_checkpoint_graph(t->a), *c = qs_checkpoint_graph(t->c);
    if (t->format != QS_WRITE_TORCH || !t->renames_only || t->opt.cpu || t->opt.bare ||
        graph_reads_otherwise(a) || sizes_differ(t->a))
        return;
    graph_pairs p;
    qs_node where = QS_NODE_NONE;
    char text[200];
    graph_pairs_begin(&p, a, c);
    if (qs_plan_count(t->plan)) add_state_dict(t, &p);
    graph_pairs_add(&p, qs_graph_root(a), qs_graph_root(c));
    bool same = graph_pairs_equal(&p, &where);
    graph_pairs_end(&p);
    qs_node_describe(a, where, text, sizeof text);
    REQUIRE(same, "node %u changed: %s", where, text);
}

static void same_versions(const trip *t) {
    for (uint32_t i = 0;
         t->format == QS_WRITE_TORCH && i < qs_resolution_metadata_count(t->r) && i < COMPARED; i++) {
        qs_str prefix = qs_resolution_metadata_prefix(t->r, i);
        REQUIRE(qs_checkpoint_version(t->c, prefix) == qs_resolution_version(t->r, prefix),
                "another version");
    }
}

static void same_checkpoint(const trip *t) {
    uint32_t n = qs_resolution_live(t->r);
    REQUIRE(qs_checkpoint_count(t->c) == n, "%u entries of %u", qs_checkpoint_count(t->c), n);
    for (uint32_t i = 0; i < n && i < COMPARED; i++) same_entry(t, i);
    for (uint32_t i = 0; t->opt.cpu && t->format == QS_WRITE_TORCH && i < qs_checkpoint_storage_count(t->c);
         i++)
        REQUIRE(qs_str_is(qs_storage_location(t->c, qs_checkpoint_storage(t->c, i)), "cpu"),
                "still elsewhere");
    same_versions(t);
    same_object(t);
}

/* ---- there and back ---- */

static void open_saved(trip *t) {
    const qs_root *from = qs_checkpoint_chosen_root(t->a);
    qs_str path = t->opt.bare ? QS_STR("") : from->path;
    char *root = t->format == QS_WRITE_TORCH ? strndup(path.p, path.n) : NULL;
    qs_open_options opt = {.root = root, .limits = QS_LIMITS_DEFAULT, .loose = from->kind == QS_ROOT_LOOSE};
    qs_err e = QS_ERR_INIT;
    REQUIRE(qs_checkpoint_open(t->out, &opt, &t->c, &e), "what was saved does not open: %s", e.msg);
    free(root);
}

/* A file whose objects are all re-emitted, saved again as it is, has the same bytes. (With other locations
 * the storages' tuples are new, and not memoised.) */
static void save_again(const trip *t) {
    qs_resolution *r = NULL;
    qs_err e = QS_ERR_INIT;
    char again[80];
    snprintf(again, sizeof again, "%s/again.pt", folder);
    REQUIRE(qs_resolve(&(qs_resolve_input){.a = t->c}, &r, &e), "%s", e.msg);
    REQUIRE(qs_write_pt(r, again, NULL, &e), "what was saved cannot be saved again: %s", e.msg);
    qs_resolution_free(r);
    FILE *p = fopen(t->out, "rb"), *q = fopen(again, "rb");
    int x, y;
    do {
        x = getc(p);
        y = getc(q);
    } while (x == y && x != EOF);
    REQUIRE(x == y, "the second save differs at byte %ld", ftell(p) - 1);
    fclose(p);
    fclose(q);
}

static void save_and_compare(trip *t) {
    static const char *const names[] = {"out.pt", "out.safetensors", "out.safetensors.index.json"};
    qs_err e = QS_ERR_INIT;
    snprintf(t->out, sizeof t->out, "%s/%s", folder, names[t->format]);
    if (!qs_write_pt(t->r, t->out, &t->opt, &e)) {
        REQUIRE(e.code != QS_OK && e.msg[0], "no reason given");
        REQUIRE(e.code != QS_E_IO, "%s", e.msg); /* what was written differs, then */
        REQUIRE(empty_folder() == 0, "something is left behind");
        return;
    }
    open_saved(t);
    same_checkpoint(t);
    if (t->format == QS_WRITE_TORCH && qs_plan_count(t->plan) == 0 && !t->opt.bare && !t->opt.cpu &&
        !graph_reads_otherwise(qs_checkpoint_graph(t->a)) && !sizes_differ(t->a))
        save_again(t);
    qs_checkpoint_close(t->c);
    empty_folder();
}

static void there_and_back(trip *t, unsigned how) {
    qs_err e = QS_ERR_INIT;
    t->plan = qs_plan_new();
    if (!t->plan) abort();
    t->format = (how & 3) == 1 ? QS_WRITE_SAFETENSORS : (how & 3) == 2 ? QS_WRITE_SHARDS : QS_WRITE_TORCH;
    t->opt.bare = how & 4;
    t->opt.cpu = how & 8;
    t->opt.shard_bytes = how & 16 ? 64 : 0;
    make_plan(t, (how >> 8) % PLANS);
    if (qs_resolve(&(qs_resolve_input){.a = t->a, .plan = t->plan, .lenient = true}, &t->r, &e))
        save_and_compare(t);
    qs_resolution_free(t->r);
    qs_plan_free(t->plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    trip t = {0};
    char path[64];
    if (size < CHOSEN) return 0;
    unsigned how = data[size - 2] | (unsigned)data[size - 1] << 8;
    make_folder();
    int fd = open_file(data, size - CHOSEN, how & 32, path);
    qs_open_options opt = {.limits = QS_LIMITS_DEFAULT, .loose = true};
    opt.limits.opcodes = 1 << 18; /* long inputs teach nothing new */
    qs_err e = QS_ERR_INIT;
    if (qs_checkpoint_open(path, &opt, &t.a, &e)) there_and_back(&t, how);
    qs_checkpoint_close(t.a);
    close(fd);
    return 0;
}
