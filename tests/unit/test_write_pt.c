/* Saving: what the plan says is in the file, what it does not say is untouched, and nothing is ever half
 * written. tests/oracle/test_save.py has torch read what comes out. */
#include "format/pickle_emit.h"
#include "format/zip_write.h"
#include "graph_eq.h"
#include "repair/write.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static qs_err err;
static const qs_limits lim = QS_LIMITS_DEFAULT;
static char dir[32], file_a[128], file_b[128], out[128];

/* ---- making checkpoints ---- */

typedef struct maker {
    qs_emit *m;
    qs_buf pickle;
    uint32_t storage_put[8]; /* memo index + 1 of each storage once emitted */
    uint64_t sizes[8];
    uint32_t storages;
} maker;

static bool to_buf(void *ctx, const void *p, size_t n, qs_err *e) {
    (void)e;
    qs_buf_add(ctx, (qs_str){p, n});
    return true;
}

static void op(maker *k, qs_emit_op code) {
    assert_true(qs_emit_code(k->m, code, &err));
}
static void str(maker *k, const char *s) {
    assert_true(qs_emit_str(k->m, qs_str_of(s), &err));
}
static void num(maker *k, int64_t v) {
    assert_true(qs_emit_int(k->m, v, &err));
}
static void global(maker *k, const char *module, const char *name) {
    assert_true(qs_emit_global(k->m, qs_str_of(module), qs_str_of(name), &err));
}
static void ordered(maker *k) {
    global(k, "collections", "OrderedDict");
    op(k, QS_OP_EMPTY_TUPLE);
    op(k, QS_OP_REDUCE);
}

/* A float tensor of `rows` x 2 over storage s, which has `numel` elements. */
static void tensor(maker *k, uint32_t s, uint64_t numel, int64_t offset, int64_t rows) {
    char key[8];
    global(k, "torch._utils", "_rebuild_tensor_v2");
    op(k, QS_OP_MARK);
    op(k, QS_OP_MARK);
    str(k, "storage");
    global(k, "torch", "FloatStorage");
    snprintf(key, sizeof key, "%u", s);
    str(k, key);
    str(k, "cuda:0");
    num(k, (int64_t)numel);
    op(k, QS_OP_TUPLE);
    op(k, QS_OP_BINPERSID);
    k->sizes[s] = numel * 4;
    if (s >= k->storages) k->storages = s + 1;
    num(k, offset);
    num(k, rows);
    num(k, 2);
    op(k, QS_OP_TUPLE2);
    num(k, 2);
    num(k, 1);
    op(k, QS_OP_TUPLE2);
    assert_true(qs_emit_bool(k->m, false, &err));
    ordered(k);
    op(k, QS_OP_TUPLE);
    op(k, QS_OP_REDUCE);
}

static bool content(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)buf)[i] = (unsigned char)((uintptr_t)ctx * 50 + (offset + i) * 7);
    return true;
}

static bool text(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)ctx + offset, n);
    return true;
}

/* {"epoch": 3, "model": {a.weight: s0, a.bias: view of s0, b.weight: s1, tied: the object a.weight}, "opt":
 * [view of s1, model]}; the model an OrderedDict with _metadata, or a plain dict. */
static void make(const char *path, bool plain, uint64_t big, bool metadata) {
    maker k = {0};
    uint32_t model, weight;
    char name[16];
    qs_zip_out *z = NULL;
    k.m = qs_emit_new(to_buf, &k.pickle);
    assert_true(qs_emit_begin(k.m, &err));
    op(&k, QS_OP_EMPTY_DICT);
    op(&k, QS_OP_MARK);
    str(&k, "epoch");
    num(&k, 3);
    str(&k, "model");
    if (plain)
        op(&k, QS_OP_EMPTY_DICT);
    else
        ordered(&k);
    assert_true(qs_emit_put(k.m, &model, &err));
    op(&k, QS_OP_MARK);
    str(&k, "a.weight");
    tensor(&k, 0, 8, 0, 4);
    assert_true(qs_emit_put(k.m, &weight, &err));
    str(&k, "a.bias");
    tensor(&k, 0, 8, 4, 2);
    str(&k, "b.weight");
    tensor(&k, 1, big, 0, (int64_t)big / 2);
    str(&k, "tied");
    assert_true(qs_emit_get(k.m, weight, &err));
    str(&k, "extra");
    str(&k, "not a tensor");
    op(&k, QS_OP_SETITEMS);
    if (metadata) {
        op(&k, QS_OP_EMPTY_DICT);
        str(&k, "_metadata");
        ordered(&k);
        static const char *const prefixes[] = {"", "a", "b"};
        for (int i = 0; i < 3; i++) {
            str(&k, prefixes[i]);
            op(&k, QS_OP_EMPTY_DICT);
            str(&k, "version");
            num(&k, i + 1);
            op(&k, QS_OP_SETITEM);
            op(&k, QS_OP_SETITEM);
        }
        op(&k, QS_OP_SETITEM);
        op(&k, QS_OP_BUILD);
    }
    str(&k, "opt");
    op(&k, QS_OP_EMPTY_LIST);
    op(&k, QS_OP_MARK);
    tensor(&k, 1, big, 2, 1);
    assert_true(qs_emit_get(k.m, model, &err));
    op(&k, QS_OP_APPENDS);
    op(&k, QS_OP_SETITEMS);
    assert_true(qs_emit_end(k.m, &err));
    qs_emit_free(k.m);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    assert_true(qs_zip_out_open(fd, QS_STR("x"), &z, &err));
    assert_true(qs_zip_out_add(z, QS_STR("data.pkl"), k.pickle.n, text, k.pickle.p, &err));
    assert_true(qs_zip_out_add(z, QS_STR("version"), 2, text, (void *)(uintptr_t) "3\n", &err));
    for (uint32_t i = 0; i < k.storages; i++) {
        snprintf(name, sizeof name, "data/%u", i);
        assert_true(qs_zip_out_add(z, qs_str_of(name), k.sizes[i], content,
                                   (void *)(uintptr_t)(i + (path == file_b) * 2), &err));
    }
    assert_true(qs_zip_out_add(z, QS_STR("notes.txt"), 5, text, (void *)(uintptr_t) "hello", &err));
    if (!qs_zip_out_close(z, NULL, &err)) fail_msg("%s", err.msg);
    close(fd);
    qs_buf_free(&k.pickle);
}

/* ---- using them ---- */

typedef struct fixture {
    qs_checkpoint *a, *b;
    qs_manifest *target;
    qs_plan *plan;
    qs_resolution *r;
} fixture;

static qs_checkpoint *open_ckpt(const char *path) {
    qs_checkpoint *c = NULL;
    err = (qs_err)QS_ERR_INIT;
    if (!qs_checkpoint_open(path, NULL, &c, &err)) fail_msg("%s", err.msg);
    return c;
}

static void start(fixture *f, const qs_action *actions, size_t n, const char *manifest) {
    *f = (fixture){.a = open_ckpt(file_a), .plan = qs_plan_new()};
    if (access(file_b, R_OK) == 0) f->b = open_ckpt(file_b);
    if (manifest)
        assert_true(qs_manifest_parse(manifest, strlen(manifest), "m.json", &lim, &f->target, &err));
    for (size_t i = 0; i < n; i++) assert_true(qs_plan_push(f->plan, &actions[i], &err));
    qs_resolve_input in = {f->a, f->b, f->target, f->plan};
    if (!qs_resolve(&in, &f->r, &err)) fail_msg("%s", err.msg);
}

static void stop(fixture *f) {
    qs_resolution_free(f->r);
    qs_plan_free(f->plan);
    qs_manifest_close(f->target);
    qs_checkpoint_close(f->b);
    qs_checkpoint_close(f->a);
}

/* Saves under `out` and opens it. */
static qs_checkpoint *save(fixture *f) {
    if (!qs_write_pt(f->r, out, NULL, &err)) fail_msg("%s", err.msg);
    return open_ckpt(out);
}

static void save_fails(fixture *f, const char *path, const qs_write_options *opt, qs_code code,
                       const char *says) {
    err = (qs_err)QS_ERR_INIT;
    if (qs_write_pt(f->r, path, opt, &err)) fail_msg("%s should not have been written", path);
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, says)) fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void same_bytes(const qs_checkpoint *x, const char *kx, const qs_checkpoint *y, const char *ky) {
    char p[64], q[64];
    uint32_t i = qs_checkpoint_find(x, qs_str_of(kx)), j = qs_checkpoint_find(y, qs_str_of(ky));
    if (i == UINT32_MAX || j == UINT32_MAX) fail_msg("no %s or no %s", kx, ky);
    const qs_tensor *t = qs_entry_tensor(x, qs_checkpoint_entry(x, i)),
                    *u = qs_entry_tensor(y, qs_checkpoint_entry(y, j));
    assert_true(qs_shape_eq(t->shape, u->shape));
    assert_int_equal(t->dtype, u->dtype);
    size_t n = qs_shape_numel(t->shape);
    assert_true(qs_tensor_read(x, t, 0, n, p, &err) && qs_tensor_read(y, u, 0, n, q, &err));
    assert_memory_equal(p, q, n * 4);
}

static size_t files_in_dir(void) {
    char command[160];
    snprintf(command, sizeof command, "ls -A %s | wc -l", dir);
    FILE *p = popen(command, "r");
    size_t n = 0;
    assert_int_equal(fscanf(p, "%zu", &n), 1);
    pclose(p);
    return n;
}

static int setup(void **state) {
    (void)state;
    strcpy(dir, "/tmp/qatscope-write-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(file_a, sizeof file_a, "%s/a.pt", dir);
    snprintf(file_b, sizeof file_b, "%s/b.pt", dir);
    snprintf(out, sizeof out, "%s/out.v1.pt", dir);
    make(file_a, false, 6, true);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", dir, dir);
    return system(command);
}

/* ---- tests ---- */

static void test_an_empty_plan_changes_nothing(void **state) {
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        fixture f;
        make(file_a, plain, 6, !plain);
        start(&f, NULL, 0, NULL);
        qs_checkpoint *c = save(&f);
        assert_true(graph_equal(qs_checkpoint_graph(f.a), qs_checkpoint_graph(c), NULL));
        same_bytes(f.a, "a.bias", c, "a.bias");
        same_bytes(f.a, "b.weight", c, "b.weight");
        const qs_container *z = qs_checkpoint_container(c);
        /* The folder inside stays A's: the headers that have its name are copied. */
        assert_true(qs_str_eq(qs_container_prefix(z), qs_container_prefix(qs_checkpoint_container(f.a))));
        uint32_t notes = qs_container_find(z, QS_STR("notes.txt"));
        assert_int_equal(qs_container_record(z, notes)->size, 5);
        assert_true(qs_str_is(qs_container_record(z, qs_container_count(z) - 1)->name, "data.pkl"));
        assert_null(qs_write_note(f.r, "out.pt"));
        assert_non_null(qs_write_note(f.r, "out.safetensors")); /* which cannot hold the epoch */
        qs_checkpoint_close(c);
        stop(&f);
        unlink(out);
    }
}

static void test_renames_and_drops(void **state) {
    (void)state;
    fixture f;
    const qs_rename_pair pairs[] = {{QS_STR("a.weight"), QS_STR("q.conv.weight")},
                                    {QS_STR("a.bias"), QS_STR("q.conv.bias")}};
    const qs_action plan[] = {
        {.kind = QS_ACT_RENAME, .pairs = pairs, .pair_count = 2},
        {.kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_KEY, .scope = QS_STR("b.weight")},
    };
    start(&f, plan, 2, NULL);
    qs_checkpoint *c = save(&f);
    assert_int_equal(qs_checkpoint_count(c), 4);
    same_bytes(f.a, "a.weight", c, "q.conv.weight");
    same_bytes(f.a, "a.bias", c, "q.conv.bias");
    assert_int_equal(qs_checkpoint_find(c, QS_STR("b.weight")), UINT32_MAX);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("q.conv")), 2);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("b")), 3);
    /* Tied before, tied after; the optimizer's view keeps the dropped tensor's storage; the model in it is
     * this one. */
    const qs_graph *g = qs_checkpoint_graph(c);
    assert_int_equal(qs_checkpoint_entry(c, qs_checkpoint_find(c, QS_STR("tied")))->node,
                     qs_checkpoint_entry(c, qs_checkpoint_find(c, QS_STR("q.conv.weight")))->node);
    qs_node opt = qs_node_get(g, qs_graph_root(g), "opt");
    assert_int_equal(qs_node_item(g, opt, 1), qs_checkpoint_chosen_root(c)->node);
    assert_int_equal(qs_checkpoint_storage_count(c), 2);
    assert_true(qs_str_is(qs_storage_location(c, qs_checkpoint_storage(c, 0)), "cuda:0"));
    qs_checkpoint_close(c);
    stop(&f);
}

static void test_a_storage_nobody_uses_is_left_out(void **state) {
    (void)state;
    fixture f;
    const qs_action plan[] = {
        {.kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_REGEX, .scope = QS_STR("a\\..*|tied")}};
    start(&f, plan, 1, NULL);
    qs_checkpoint *c = save(&f);
    assert_int_equal(qs_checkpoint_storage_count(c), 1);
    assert_int_equal(qs_container_find(qs_checkpoint_container(c), QS_STR("data/0")), UINT32_MAX);
    assert_int_not_equal(qs_container_find(qs_checkpoint_container(c), QS_STR("data/1")), UINT32_MAX);
    qs_checkpoint_close(c);
    stop(&f);
}

static qs_action drop_top(const char *name) {
    return (qs_action){.kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_TOP, .scope = qs_str_of(name)};
}

static void test_what_is_beside_the_state_dict_is_dropped(void **state) {
    (void)state;
    fixture f;
    const qs_action plan[] = {drop_top("opt"), drop_top("epoch")};
    start(&f, plan, 2, NULL);
    assert_int_equal(qs_resolution_touched(f.r, 0), 1);
    assert_true(qs_resolution_top_dropped(f.r, QS_STR("opt")));
    assert_false(qs_resolution_top_dropped(f.r, QS_STR("model")));
    qs_checkpoint *c = save(&f);
    const qs_graph *g = qs_checkpoint_graph(c);
    assert_int_equal(qs_node_pairs(g, qs_graph_root(g)), 1);
    assert_int_equal(qs_node_get(g, qs_graph_root(g), "model"), qs_checkpoint_chosen_root(c)->node);
    same_bytes(f.a, "tied", c, "tied");
    same_bytes(f.a, "b.weight", c, "b.weight");
    assert_int_equal(qs_checkpoint_version(c, QS_STR("b")), qs_checkpoint_version(f.a, QS_STR("b")));
    qs_checkpoint_close(c);
    stop(&f);
}

static void refuses(const qs_action *plan, size_t n, const char *why) {
    fixture f;
    qs_resolution *r = NULL;
    qs_err e = QS_ERR_INIT;
    start(&f, NULL, 0, NULL);
    qs_plan *p = qs_plan_new();
    assert_true(qs_plan_push_all(p, plan, n, &e));
    qs_resolve_input in = {.a = f.a, .plan = p};
    assert_false(qs_resolve(&in, &r, &e));
    assert_int_equal(e.code, QS_E_REFUSED);
    if (!strstr(e.msg, why)) fail_msg("%s", e.msg);
    qs_plan_free(p);
    stop(&f);
}

static void test_what_cannot_be_dropped(void **state) {
    (void)state;
    const qs_action twice[] = {drop_top("opt"), drop_top("opt")}, root = drop_top("model"),
                    none = drop_top("a.weight"),
                    copy = {.kind = QS_ACT_COPY, .scope_kind = QS_SCOPE_TOP, .scope = QS_STR("opt")};
    refuses(twice, 2, "action 2: opt cannot be dropped: it is dropped already");
    refuses(&root, 1, "it holds the state dict");
    refuses(&none, 1, "no such entry beside the state dict");
    refuses(&copy, 1, "only a drop is about");
}

static void test_copies_from_b_get_keys_of_their_own(void **state) {
    (void)state;
    fixture f;
    make(file_b, true, 6, false);
    const qs_action plan[] = {
        {.kind = QS_ACT_COPY, .scope_kind = QS_SCOPE_SUBTREE, .scope = QS_STR("a"), .replace = true}};
    start(&f, plan, 1, NULL);
    qs_checkpoint *c = save(&f);
    same_bytes(f.b, "a.weight", c, "a.weight");
    same_bytes(f.b, "a.bias", c, "a.bias");
    same_bytes(f.a, "tied", c, "tied");
    same_bytes(f.a, "b.weight", c, "b.weight");
    assert_int_equal(qs_checkpoint_storage_count(c), 3); /* b's two views still share one */
    qs_checkpoint_close(c);
    stop(&f);
    unlink(file_b);
}

#define MANIFEST                                                                                             \
    "{\"format\": \"qatscope-manifest\", \"version\": 1, \"model\": \"M\", \"torch\": \"1.13.1\", "          \
    "\"modules\": {"                                                                                         \
    "\"\": {\"class\": \"M\", \"version\": 1}, \"bn\": {\"class\": "                                         \
    "\"torch.nn.modules.batchnorm.BatchNorm2d\","                                                            \
    " \"version\": 2}}, \"state_dict\": ["                                                                   \
    "{\"key\": \"bn.num_batches_tracked\", \"shape\": [], \"dtype\": \"int64\", \"kind\": \"buffer\"},"      \
    "{\"key\": \"bn.running_var\", \"shape\": [3], \"dtype\": \"float32\", \"kind\": \"buffer\"}]}"

static void test_made_values_are_written(void **state) {
    (void)state;
    const qs_action plan[] = {{.kind = QS_ACT_INIT, .scope_kind = QS_SCOPE_SUBTREE, .source = QS_INIT_FRESH}};
    for (int plain = 0; plain < 2; plain++) {
        fixture f;
        float var[3];
        int64_t count = 1;
        make(file_a, plain, 6, !plain);
        start(&f, plan, 1, MANIFEST);
        qs_checkpoint *c = save(&f);
        const qs_entry *v = qs_checkpoint_entry(c, qs_checkpoint_find(c, QS_STR("bn.running_var")));
        assert_true(qs_tensor_read_floats(c, qs_entry_tensor(c, v), 0, 3, var, &err));
        assert_true(var[0] == 1 && var[1] == 1 && var[2] == 1);
        const qs_entry *n = qs_checkpoint_entry(c, qs_checkpoint_find(c, QS_STR("bn.num_batches_tracked")));
        assert_int_equal(qs_entry_tensor(c, n)->dtype, QS_INT64);
        assert_true(qs_tensor_read(c, qs_entry_tensor(c, n), 0, 1, &count, &err));
        assert_int_equal(count, 0);
        /* A plain dict cannot carry the version the new module needs. */
        assert_int_equal(qs_checkpoint_version(c, QS_STR("bn")), 2);
        assert_int_equal(qs_node_kind_of(qs_checkpoint_graph(c), qs_checkpoint_chosen_root(c)->node),
                         QS_NODE_REDUCE);
        qs_checkpoint_close(c);
        stop(&f);
        unlink(out);
    }
}

static void test_where_it_may_not_be_written(void **state) {
    (void)state;
    fixture f;
    char path[256], command[300];
    make(file_b, true, 6, false);
    start(&f, NULL, 0, NULL);
    save_fails(&f, file_a, NULL, QS_E_REFUSED, "that was opened");
    save_fails(&f, file_a, &(qs_write_options){.overwrite = true}, QS_E_REFUSED, "that was opened");
    save_fails(&f, file_b, &(qs_write_options){.overwrite = true, .in_place = true}, QS_E_REFUSED,
               "checkpoint B");
    snprintf(path, sizeof path, "%s/link.pt", dir);
    assert_int_equal(symlink(file_a, path), 0);
    save_fails(&f, path, &(qs_write_options){.overwrite = true}, QS_E_REFUSED, "that was opened");
    save_fails(&f, dir, NULL, QS_E_USAGE, "directory");
    save_fails(&f, "x.index.json", NULL, QS_E_UNSUPPORTED, "NAME.pt");
    snprintf(path, sizeof path, "%s/no/such/x.pt", dir);
    save_fails(&f, path, NULL, QS_E_IO, "No such file");
    snprintf(command, sizeof command, "echo precious > %s", out);
    assert_int_equal(system(command), 0);
    save_fails(&f, out, NULL, QS_E_REFUSED, "exists already");
    if (!qs_write_pt(f.r, out, &(qs_write_options){.overwrite = true}, &err)) fail_msg("%s", err.msg);
    qs_checkpoint_close(open_ckpt(out));
    assert_int_equal(files_in_dir(), 4);
    stop(&f);
    unlink(file_b);
}

static void test_a_read_only_folder(void **state) {
    (void)state;
    fixture f;
    start(&f, NULL, 0, NULL);
    if (geteuid() == 0) { /* root writes anywhere but to /proc */
        save_fails(&f, "/proc/x.pt", NULL, QS_E_IO, "cannot create a file beside it");
    } else {
        assert_int_equal(chmod(dir, 0500), 0);
        save_fails(&f, out, NULL, QS_E_IO, "Permission denied");
        assert_int_equal(chmod(dir, 0700), 0);
    }
    assert_int_equal(files_in_dir(), 1);
    stop(&f);
}

static void test_a_full_disk_leaves_nothing(void **state) {
    (void)state;
    fixture f;
    make(file_a, false, 1 << 20, true);
    start(&f, NULL, 0, NULL);
    struct rlimit was, small = {100000, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    save_fails(&f, out, NULL, QS_E_IO, "out.v1.pt: cannot write");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(files_in_dir(), 1);
    stop(&f);
}

static bool stop_at(void *ctx, uint64_t done, uint64_t total) {
    return done <= total / 100 * *(uint64_t *)ctx;
}

static void test_cancelling_leaves_nothing(void **state) {
    (void)state;
    fixture f;
    make(file_a, false, 1 << 21, true);
    start(&f, NULL, 0, NULL);
    for (uint64_t percent = 10; percent < 100; percent += 40) {
        qs_progress progress = {stop_at, &percent};
        save_fails(&f, out, &(qs_write_options){.progress = &progress}, QS_E_CANCELLED, "cancelled");
        assert_int_equal(files_in_dir(), 1);
    }
    stop(&f);
}

static void test_in_place_keeps_a_backup(void **state) {
    (void)state;
    fixture f;
    char backup[160];
    struct stat st;
    const qs_rename_pair pair = {QS_STR("b.weight"), QS_STR("c.weight")};
    const qs_action plan = {.kind = QS_ACT_RENAME, .pairs = &pair, .pair_count = 1};
    start(&f, &plan, 1, NULL);
    if (!qs_write_pt(f.r, file_a, &(qs_write_options){.in_place = true}, &err)) fail_msg("%s", err.msg);
    snprintf(backup, sizeof backup, "%s.bak", file_a);
    qs_checkpoint *now = open_ckpt(file_a), *was = open_ckpt(backup);
    same_bytes(was, "b.weight", now, "c.weight");
    assert_int_equal(stat(file_a, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(files_in_dir(), 2);
    qs_checkpoint_close(now);
    qs_checkpoint_close(was);
    stop(&f);
}

/* A tensor that reaches out of its storage can be looked at, dropped, but not saved. */
static void test_a_bad_tensor_is_not_saved(void **state) {
    (void)state;
    fixture f;
    make(file_a, false, 3, true); /* the optimizer's view [2, 4) of three elements is bad, b.weight is not */
    const qs_action plan = {.kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_KEY, .scope = QS_STR("extra")};
    start(&f, &plan, 1, NULL);
    qs_checkpoint_close(save(&f)); /* not of the state dict: kept as it is */
    stop(&f);
    unlink(out);
    char *p;
    size_t n;
    assert_true(qs_file_slurp(file_a, 1 << 20, &p, &n, &err));
    char *weight = memmem(p, n, "a.weight", 8), *rows = weight ? memmem(weight, 300, "K\4K\2\x86", 5) : NULL;
    assert_non_null(rows);
    rows[1] = 100;
    FILE *o = fopen(file_a, "wb");
    assert_int_equal(fwrite(p, 1, n, o), n);
    fclose(o);
    free(p);
    start(&f, NULL, 0, NULL);
    save_fails(&f, out, NULL, QS_E_REFUSED, "a.weight");
    stop(&f);
    const qs_action drop = {
        .kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_REGEX, .scope = QS_STR("a.weight|tied")};
    start(&f, &drop, 1, NULL);
    qs_checkpoint_close(save(&f));
    stop(&f);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_empty_plan_changes_nothing),
        TEST(test_renames_and_drops),
        TEST(test_a_storage_nobody_uses_is_left_out),
        TEST(test_what_is_beside_the_state_dict_is_dropped),
        TEST(test_what_cannot_be_dropped),
        TEST(test_copies_from_b_get_keys_of_their_own),
        TEST(test_made_values_are_written),
        TEST(test_where_it_may_not_be_written),
        TEST(test_a_read_only_folder),
        TEST(test_a_full_disk_leaves_nothing),
        TEST(test_cancelling_leaves_nothing),
        TEST(test_in_place_keeps_a_backup),
        TEST(test_a_bad_tensor_is_not_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
