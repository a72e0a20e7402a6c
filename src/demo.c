#include "demo.h"

#include "base/tempfile.h"
#include "demo_values.h"
#include "format/pickle_emit.h"
#include "format/zip_write.h"
#include "model/module_class.h"

#include <errno.h>
#include <float.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the pickle ---- */

typedef struct pickler {
    qs_emit *m;
    qs_err *e;
    bool ok; /* sticky, so that what is emitted reads as a list */
} pickler;

static void op(pickler *p, qs_emit_op code) {
    p->ok = p->ok && qs_emit_code(p->m, code, p->e);
}
static void integer(pickler *p, int64_t v) {
    p->ok = p->ok && qs_emit_int(p->m, v, p->e);
}
static void number(pickler *p, double v) {
    p->ok = p->ok && qs_emit_float(p->m, v, p->e);
}
static void boolean(pickler *p, bool v) {
    p->ok = p->ok && qs_emit_bool(p->m, v, p->e);
}
static void nil(pickler *p) {
    p->ok = p->ok && qs_emit_nil(p->m, p->e);
}
static void text(pickler *p, qs_str s) {
    p->ok = p->ok && qs_emit_str(p->m, s, p->e);
}
static void key(pickler *p, const char *s) {
    text(p, qs_str_of(s));
}
static void global(pickler *p, const char *module, const char *name) {
    p->ok = p->ok && qs_emit_global(p->m, qs_str_of(module), qs_str_of(name), p->e);
}

static void ordered_dict(pickler *p) {
    global(p, "collections", "OrderedDict");
    op(p, QS_OP_EMPTY_TUPLE);
    op(p, QS_OP_REDUCE);
}

static void sizes(pickler *p, const int64_t *v, uint32_t n) {
    static const qs_emit_op close[] = {QS_OP_EMPTY_TUPLE, QS_OP_TUPLE1, QS_OP_TUPLE2, QS_OP_TUPLE3};
    if (n > 3) op(p, QS_OP_MARK);
    for (uint32_t i = 0; i < n; i++) integer(p, v[i]);
    op(p, n > 3 ? QS_OP_TUPLE : close[n]);
}

static uint64_t numel(const demo_entry *en) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < en->ndim; i++) n *= (uint64_t)en->dim[i];
    return n;
}

/* _rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()) */
static void tensor(pickler *p, const demo_entry *en, size_t storage) {
    char name[24];
    int64_t stride[4], step = 1;
    for (uint32_t i = en->ndim; i-- > 0; step *= en->dim[i]) stride[i] = step;
    snprintf(name, sizeof name, "%zu", storage);
    global(p, "torch._utils", "_rebuild_tensor_v2");
    op(p, QS_OP_MARK);
    op(p, QS_OP_MARK);
    key(p, "storage");
    global(p, "torch", qs_dtype_get(en->dtype)->storage);
    key(p, name);
    key(p, "cpu");
    integer(p, (int64_t)numel(en));
    op(p, QS_OP_TUPLE);
    op(p, QS_OP_BINPERSID);
    integer(p, 0);
    sizes(p, en->dim, en->ndim);
    sizes(p, stride, en->ndim);
    boolean(p, false);
    ordered_dict(p);
    op(p, QS_OP_TUPLE);
    op(p, QS_OP_REDUCE);
}

/* `_metadata` is an attribute, hence the BUILD. */
static void metadata(pickler *p, const demo_net *n) {
    op(p, QS_OP_EMPTY_DICT);
    key(p, "_metadata");
    ordered_dict(p);
    op(p, QS_OP_MARK);
    for (size_t i = 0; i < n->modules.n; i++) {
        text(p, n->modules.v[i].name);
        op(p, QS_OP_EMPTY_DICT);
        key(p, "version");
        integer(p, qs_module_class_version(qs_str_of(n->modules.v[i].class_name)));
        op(p, QS_OP_SETITEM);
    }
    op(p, QS_OP_SETITEMS);
    op(p, QS_OP_SETITEM);
    op(p, QS_OP_BUILD);
}

static void state_dict(pickler *p, const demo_net *n) {
    ordered_dict(p);
    op(p, QS_OP_MARK);
    for (size_t i = 0; i < n->entries.n; i++) {
        text(p, n->entries.v[i].key);
        tensor(p, &n->entries.v[i], i);
    }
    op(p, QS_OP_SETITEMS);
    metadata(p, n);
}

static const char float_recipe[] = "# sparseml recipe of the float baseline: nothing to do\n";
static const char qat_recipe[] =
    "# quantization_modifiers:\n#   - !QuantizationModifier\n#       start_epoch: 0.0\n";

/* The top level of SparseML's checkpoints. */
static void checkpoint(pickler *p, const demo_net *n) {
    op(p, QS_OP_EMPTY_DICT);
    op(p, QS_OP_MARK);
    key(p, "epoch"), integer(p, n->qat ? 12 : -1);
    key(p, "best_fitness");
    if (n->qat)
        number(p, 0.4);
    else
        nil(p);
    key(p, "model"), state_dict(p, n);
    key(p, "model_yaml"), key(p, "yolov8n.yaml");
    key(p, "ema"), nil(p);
    key(p, "updates"), nil(p);
    key(p, "optimizer"), nil(p);
    key(p, "train_args"), op(p, QS_OP_EMPTY_DICT);
    key(p, "epochs"), integer(p, 100), op(p, QS_OP_SETITEM);
    key(p, "date"), key(p, "2023-11-23T00:00:00");
    key(p, "version"), key(p, "8.0.124");
    key(p, "source"), key(p, "sparseml");
    key(p, "recipe"), key(p, n->qat ? qat_recipe : float_recipe);
    op(p, QS_OP_SETITEMS);
}

static bool to_buffer(void *ctx, const void *data, size_t n, qs_err *e) {
    qs_buf *b = ctx;
    qs_buf_add(b, (qs_str){data, n});
    return !b->failed || qs_nomem(e);
}

static bool make_pickle(const demo_net *n, qs_buf *out, qs_err *e) {
    pickler p = {.m = qs_emit_new(to_buffer, out), .e = e, .ok = true};
    if (!p.m) return qs_nomem(e);
    p.ok = qs_emit_begin(p.m, e);
    checkpoint(&p, n);
    p.ok = p.ok && qs_emit_end(p.m, e);
    qs_emit_free(p.m);
    return p.ok;
}

/* ---- the archive ---- */

typedef struct tensor_source {
    const demo_net *n;
    const demo_range *ranges;
    const demo_entry *en;
} tensor_source;

static bool supply_tensor(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    const tensor_source *s = ctx;
    size_t size = qs_dtype_get(s->en->dtype)->size;
    char *out = buf;
    (void)e;
    while (n) { /* an element at a time: a block may start and end within one */
        unsigned char raw[8];
        size_t skip = (size_t)(offset % size), k = size - skip < n ? size - skip : n;
        double v = demo_value_at(s->n, s->ranges, s->en, offset / size);
        qs_from_doubles(s->en->dtype, &v, 1, raw);
        memcpy(out, raw + skip, k);
        out += k, offset += k, n -= k;
    }
    return true;
}

static bool supply_bytes(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, ((const qs_str *)ctx)->p + offset, n);
    return true;
}

static bool add_records(qs_zip_out *z, const demo_net *n, qs_str *pickle, qs_str *version,
                        tensor_source *sources, qs_err *e) {
    if (!qs_zip_out_add(z, QS_STR("data.pkl"), pickle->n, supply_bytes, pickle, e)) return false;
    for (size_t i = 0; i < n->entries.n; i++) {
        char name[32];
        snprintf(name, sizeof name, "data/%zu", i);
        uint64_t bytes = numel(sources[i].en) * qs_dtype_get(sources[i].en->dtype)->size;
        if (!qs_zip_out_add(z, qs_str_of(name), bytes, supply_tensor, &sources[i], e)) return false;
    }
    return qs_zip_out_add(z, QS_STR("version"), version->n, supply_bytes, version, e);
}

static bool write_archive(int fd, qs_str prefix, const demo_net *n, const demo_range *ranges,
                          tensor_source *sources, qs_err *e) {
    qs_buf pickle = {0};
    qs_zip_out *z = NULL;
    bool ok = make_pickle(n, &pickle, e) && qs_zip_out_open(fd, prefix, &z, e);
    qs_str bytes = qs_buf_str(&pickle), version = QS_STR("3\n");
    for (size_t i = 0; i < n->entries.n; i++) sources[i] = (tensor_source){n, ranges, &n->entries.v[i]};
    if (ok) ok = add_records(z, n, &bytes, &version, sources, e) || (qs_zip_out_abandon(z), false);
    if (ok) ok = qs_zip_out_close(z, NULL, e);
    qs_buf_free(&pickle);
    return ok;
}

static qs_str stem(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return (qs_str){name, dot ? (size_t)(dot - name) : strlen(name)};
}

static bool write_checkpoint(const char *path, const demo_net *n, qs_err *e) {
    qs_temp *t = NULL;
    demo_range *ranges = calloc(n->quantizers.n + 1, sizeof *ranges);
    tensor_source *sources = calloc(n->entries.n + 1, sizeof *sources);
    bool ok = ranges && sources ? demo_ranges(n, ranges, e) : qs_nomem(e);
    ok = ok && qs_temp_create(path, &t, e) && write_archive(qs_temp_fd(t), stem(path), n, ranges, sources, e);
    if (ok)
        ok = qs_temp_publish(t, NULL, e);
    else
        qs_temp_discard(t);
    free(sources);
    free(ranges);
    return ok;
}

/* ---- the manifest ---- */

static void print_quantizer(qs_buf *b, const demo_quantizer *q) {
    qs_buf_addf(b,
                ", \"observer\": \"MovingAverageMinMaxObserver\", \"dtype\": \"qint8\", \"qscheme\": "
                "\"per_tensor_%s\", \"quant_min\": %d, \"quant_max\": %d, \"ch_axis\": -1, "
                "\"averaging_constant\": 0.01, \"reduce_range\": false, \"eps\": %.17g",
                q->observes == DEMO_OBSERVES_CONV_WEIGHT ? "symmetric" : "affine", DEMO_QUANT_MIN,
                DEMO_QUANT_MAX, (double)FLT_EPSILON);
}

static void print_module(qs_buf *b, const demo_net *n, const demo_module *m) {
    qs_buf_addz(b, "    ");
    qs_buf_add_json(b, m->name);
    qs_buf_addf(b, ": {\"class\": \"%s\", \"version\": %lld", m->class_name,
                (long long)qs_module_class_version(qs_str_of(m->class_name)));
    if (m->has_bn) qs_buf_addf(b, ", \"bn_eps\": %g", DEMO_BN_EPS);
    if (m->quantizer != DEMO_NONE) print_quantizer(b, &n->quantizers.v[m->quantizer]);
    qs_buf_addc(b, '}');
}

static void print_entry(qs_buf *b, const demo_entry *en) {
    qs_buf_addz(b, "    {\"key\": ");
    qs_buf_add_json(b, en->key);
    qs_buf_addz(b, ", \"shape\": [");
    for (uint32_t i = 0; i < en->ndim; i++) qs_buf_addf(b, "%s%lld", i ? ", " : "", (long long)en->dim[i]);
    qs_buf_addf(b, "], \"dtype\": \"%s\", \"kind\": \"%s\"}", qs_dtype_get(en->dtype)->name,
                en->parameter ? "parameter" : "buffer");
}

static void print_manifest(qs_buf *b, const demo_net *n) {
    qs_buf_addz(b, "{\n  \"format\": \"qatscope-manifest\",\n  \"version\": 1,\n"
                   "  \"model\": \"ultralytics.nn.tasks.DetectionModel\",\n  \"torch\": \"1.13.1\",\n"
                   "  \"modules\": {\n");
    bool first = true;
    for (size_t i = 0; i < n->modules.n; i++) {
        if (n->modules.v[i].repeated) continue;
        if (!first) qs_buf_addz(b, ",\n");
        first = false;
        print_module(b, n, &n->modules.v[i]);
    }
    qs_buf_addz(b, "\n  },\n  \"state_dict\": [\n");
    for (size_t i = 0; i < n->entries.n; i++) {
        if (i) qs_buf_addz(b, ",\n");
        print_entry(b, &n->entries.v[i]);
    }
    qs_buf_addz(b, "\n  ]\n}\n");
}

static bool write_all(int fd, qs_str s, qs_err *e) {
    for (size_t done = 0; done < s.n;) {
        ssize_t k = write(fd, s.p + done, s.n - done);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return qs_fail_errno(e, QS_E_IO, errno, "cannot write the manifest");
        done += (size_t)k;
    }
    return true;
}

static bool write_manifest(const char *path, const demo_net *n, qs_err *e) {
    qs_buf b = {0};
    qs_temp *t = NULL;
    print_manifest(&b, n);
    bool ok = !b.failed || qs_nomem(e);
    ok = ok && qs_temp_create(path, &t, e) && write_all(qs_temp_fd(t), qs_buf_str(&b), e);
    if (ok)
        ok = qs_temp_publish(t, NULL, e);
    else
        qs_temp_discard(t);
    qs_buf_free(&b);
    return ok;
}

/* ---- all three ---- */

static bool name_files(const char *dir, qs_demo_paths *out, qs_err *e) {
    size_t cap = sizeof out->a;
    if (strlen(dir) + 32 > cap) return qs_fail(e, QS_E_USAGE, "the folder's name is too long");
    const char *slash = dir[strlen(dir) - 1] == '/' ? "" : "/";
    snprintf(out->a, cap, "%s%syolov8n-float.pt", dir, slash);
    snprintf(out->b, cap, "%s%syolov8n-qat.pt", dir, slash);
    snprintf(out->manifest, cap, "%s%syolov8n-qat.json", dir, slash);
    if (mkdir(dir, 0777) == 0 || errno == EEXIST) return true;
    return qs_fail_errno(e, QS_E_IO, errno, "cannot make the folder %s", dir);
}

bool qs_demo_write(const char *dir, qs_demo_paths *out, qs_err *e) {
    demo_net plain = {0}, qat = {0};
    bool ok = *dir ? name_files(dir, out, e) : qs_fail(e, QS_E_USAGE, "the folder's name is empty");
    if (ok && (!demo_net_build(&plain, false) || !demo_net_build(&qat, true))) ok = qs_nomem(e);
    ok = ok && write_checkpoint(out->a, &plain, e) && write_checkpoint(out->b, &qat, e) &&
         write_manifest(out->manifest, &qat, e);
    demo_net_free(&plain);
    demo_net_free(&qat);
    return ok;
}
