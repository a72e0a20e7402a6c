/* qatscope ls --json. The form, every field always there unless marked "?":
 *
 *   file, kind            the path; "torch zip", "TorchScript", "safetensors", "shard index" ...
 *   root                  {path, kind: "state_dict" | "module", class?}
 *   roots                 [{path, kind, entries, class?}], the chosen one among them
 *   provenance            {facts: [{label, text}], torch_from, torch_to: "1.13", null if open}
 *   top_level             [{key, value}]: values as short text
 *   entries               [{key, tensor: false, value} or
 *                          {key, tensor: true, shape (null if unknown), dtype, kind: "dense" | "quantized" |
 * "sparse" | "meta" | "opaque", parameter, requires_grad, contiguous, stride? (if not contiguous), offset,
 *                           storage, location, alias_of? (first entry in the same storage), bad? (why its
 * bytes cannot be read), quantized? {scheme: "per_tensor" | "per_channel", scale, zero_point | axis}, role?,
 * family?, block? (--quant), chunks? (of a distributed checkpoint: [{file, at, bytes, offsets?, sizes?}]),
 * crc32? (--values: of the packed row-major elements, null if they cannot be read)}] versions {module prefix:
 * version or null}, of _metadata or of the classes modules
 * [{name, class}], of a pickled module
 *
 * It is written as it is made: a million entries need no tree in memory. */
#include "cli/cli.h"
#include "cli/ls.h"

#include <errno.h>
#include <math.h>

typedef struct out {
    qs_buf b;
    bool first; /* of the array or object being written */
} out;

static bool flush(out *o, size_t least, qs_err *e) {
    if (o->b.failed) return qs_nomem(e);
    if (o->b.n < least) return true;
    size_t n = o->b.n;
    o->b.n = 0;
    if (fwrite(o->b.p, 1, n, stdout) == n) return true;
    return qs_fail_errno(e, QS_E_IO, errno, "cannot write to standard output");
}

static void item(out *o) {
    qs_buf_addz(&o->b, o->first ? "\n    " : ",\n    ");
    o->first = false;
}

static void str_field(out *o, const char *name, qs_str value) {
    qs_buf_addf(&o->b, ", \"%s\": ", name);
    qs_buf_add_json(&o->b, value);
}

static void bool_field(out *o, const char *name, bool v) {
    qs_buf_addf(&o->b, ", \"%s\": %s", name, v ? "true" : "false");
}

static void ints_field(out *o, const char *name, const int64_t *v, uint32_t n) {
    qs_buf_addf(&o->b, ", \"%s\": [", name);
    for (uint32_t i = 0; i < n; i++) qs_buf_addf(&o->b, "%s%lld", i ? ", " : "", (long long)v[i]);
    qs_buf_addc(&o->b, ']');
}

static void add_root(out *o, const qs_root *r, bool count) {
    qs_buf_addz(&o->b, "{\"path\": ");
    qs_buf_add_json(&o->b, r->path);
    str_field(o, "kind",
              r->kind == QS_ROOT_STATE_DICT ? QS_STR("state_dict") : qs_str_of(qs_root_kind_name(r->kind)));
    if (count) qs_buf_addf(&o->b, ", \"entries\": %u", r->entries);
    if (r->kind == QS_ROOT_MODULE) str_field(o, "class", r->class_name);
    qs_buf_addc(&o->b, '}');
}

static void add_head(out *o, const qs_checkpoint *c) {
    qs_buf_addz(&o->b, "{\"file\": ");
    qs_buf_add_json(&o->b, qs_str_of(qs_checkpoint_path(c)));
    str_field(o, "kind", qs_str_of(qs_file_kind_name(qs_container_kind(qs_checkpoint_container(c)))));
    qs_buf_addz(&o->b, ",\n  \"root\": ");
    add_root(o, qs_checkpoint_chosen_root(c), false);
    qs_buf_addz(&o->b, ",\n  \"roots\": [");
    o->first = true;
    for (uint32_t i = 0; i < qs_checkpoint_root_count(c); i++) {
        item(o);
        add_root(o, qs_checkpoint_root(c, i), true);
    }
    qs_buf_addz(&o->b, "]");
}

/* "1.13", or null where the range is open. */
static void add_release(out *o, const char *name, int v) {
    if (v)
        qs_buf_addf(&o->b, ", \"%s\": \"%d.%d\"", name, v / 100, v % 100);
    else
        qs_buf_addf(&o->b, ", \"%s\": null", name);
}

static void add_provenance(out *o, const qs_provenance *p) {
    qs_buf_addz(&o->b, ",\n  \"provenance\": {\"facts\": [");
    o->first = true;
    for (size_t i = 0; i < p->facts.n; i++) {
        item(o);
        qs_buf_addz(&o->b, "{\"label\": ");
        qs_buf_add_json(&o->b, qs_str_of(p->facts.v[i].label));
        str_field(o, "text", qs_str_of(p->facts.v[i].text));
        qs_buf_addc(&o->b, '}');
    }
    qs_buf_addz(&o->b, "]");
    add_release(o, "torch_from", p->torch_from);
    add_release(o, "torch_to", p->torch_to);
    qs_buf_addc(&o->b, '}');
}

static bool add_top_level(out *o, const qs_checkpoint *c, qs_err *e) {
    const qs_graph *g = qs_checkpoint_graph(c);
    qs_node root = qs_graph_root(g);
    qs_buf_addz(&o->b, ",\n  \"top_level\": [");
    o->first = true;
    /* A top level that is the state dict itself is listed as entries. */
    size_t n = root == qs_checkpoint_chosen_root(c)->node ? 0 : qs_node_pairs(g, root);
    for (size_t i = 0; i < n; i++) {
        char text[96];
        item(o);
        qs_node key = qs_node_key(g, root, i);
        qs_node_describe(g, key, text, sizeof text);
        qs_buf_addz(&o->b, "{\"key\": ");
        qs_buf_add_json(&o->b,
                        qs_node_kind_of(g, key) == QS_NODE_STR ? qs_node_str(g, key) : qs_str_of(text));
        qs_node_describe(g, qs_node_value(g, root, i), text, sizeof text);
        str_field(o, "value", qs_str_of(text));
        qs_buf_addc(&o->b, '}');
        if (!flush(o, 1 << 16, e)) return false;
    }
    qs_buf_addz(&o->b, "]");
    return true;
}

static void add_quantized(out *o, const qs_tensor *t) {
    qs_buf_addf(&o->b, ", \"quantized\": {\"scheme\": \"%s\"",
                t->q->per_channel ? "per_channel" : "per_tensor");
    if (t->q->per_channel)
        qs_buf_addf(&o->b, ", \"axis\": %lld}", (long long)t->q->axis);
    else if (isfinite(t->q->scale))
        qs_buf_addf(&o->b, ", \"scale\": %.17g, \"zero_point\": %lld}", t->q->scale,
                    (long long)t->q->zero_point);
    else
        qs_buf_addf(&o->b, ", \"scale\": null, \"zero_point\": %lld}", (long long)t->q->zero_point);
}

static void add_storage(out *o, const ls_context *x, uint32_t entry, const qs_tensor *t) {
    const qs_storage *s = qs_checkpoint_storage(x->c, t->storage);
    qs_buf_addf(&o->b, ", \"offset\": %llu", (unsigned long long)t->offset);
    str_field(o, "storage", qs_storage_key(x->c, s));
    str_field(o, "location", qs_storage_location(x->c, s));
    const qs_entry *alias = ls_alias(x, entry);
    if (alias) str_field(o, "alias_of", alias->key);
}

static bool add_values(out *o, const ls_context *x, const qs_tensor *t, qs_err *e) {
    uint32_t crc;
    qs_err why = QS_ERR_INIT;
    if (qs_tensor_crc32(x->c, t, &crc, NULL, &why))
        qs_buf_addf(&o->b, ", \"crc32\": %u", crc);
    else if (why.code == QS_E_INPUT || why.code == QS_E_UNSUPPORTED)
        qs_buf_addz(&o->b, ", \"crc32\": null");
    else {
        *e = why; /* the file could not be read, or memory is out */
        return false;
    }
    return true;
}

static void add_chunk(out *o, const ls_context *x, const qs_chunk *c, bool boxed) {
    const qs_graph *g = qs_checkpoint_graph(x->c);
    qs_buf_addz(&o->b, "{\"file\": ");
    qs_buf_add_json(&o->b, c->file);
    qs_buf_addf(&o->b, ", \"at\": %llu, \"bytes\": %llu", (unsigned long long)c->at,
                (unsigned long long)c->length);
    for (int k = 0; boxed && k < 2; k++) {
        qs_node tuple = k ? c->sizes : c->offsets;
        qs_buf_addf(&o->b, ", \"%s\": [", k ? "sizes" : "offsets");
        for (size_t i = 0; i < qs_node_len(g, tuple); i++)
            qs_buf_addf(&o->b, "%s%lld", i ? ", " : "", (long long)qs_node_int(g, qs_node_item(g, tuple, i)));
        qs_buf_addc(&o->b, ']');
    }
    qs_buf_addc(&o->b, '}');
}

static void add_chunks(out *o, const ls_context *x, qs_str key, bool boxed) {
    qs_chunk c;
    if (!qs_placement_count(x->places, key)) return;
    qs_buf_addz(&o->b, ", \"chunks\": [");
    for (uint32_t i = 0; qs_placement_chunk(x->places, key, i, &c); i++) {
        if (i) qs_buf_addz(&o->b, ", ");
        add_chunk(o, x, &c, boxed);
    }
    qs_buf_addc(&o->b, ']');
}

static bool add_tensor(out *o, const ls_context *x, uint32_t entry, const qs_tensor *t, qs_err *e) {
    static const char *const kinds[] = {[QS_TENSOR_DENSE] = "dense",
                                        [QS_TENSOR_QUANTIZED] = "quantized",
                                        [QS_TENSOR_SPARSE] = "sparse",
                                        [QS_TENSOR_META] = "meta",
                                        [QS_TENSOR_OPAQUE] = "opaque"};
    if (ls_shape_known(t))
        ints_field(o, "shape", t->shape.dim, t->shape.ndim);
    else
        qs_buf_addz(&o->b, ", \"shape\": null");
    str_field(o, "dtype", qs_str_of(qs_dtype_get(t->dtype)->name));
    str_field(o, "kind", qs_str_of(kinds[t->kind]));
    bool_field(o, "parameter", qs_checkpoint_entry(x->c, entry)->is_param);
    bool_field(o, "requires_grad", t->flags & QS_TENSOR_REQUIRES_GRAD);
    bool contiguous = qs_tensor_is_contiguous(t);
    bool_field(o, "contiguous", contiguous);
    if (!contiguous) ints_field(o, "stride", t->stride, t->shape.ndim);
    if (t->storage != UINT32_MAX) add_storage(o, x, entry, t);
    if (t->bad) str_field(o, "bad", qs_str_of(t->bad));
    if (t->kind == QS_TENSOR_QUANTIZED) add_quantized(o, t);
    return !x->opt.values || add_values(o, x, t, e);
}

static bool add_entry(out *o, const ls_context *x, uint32_t i, qs_err *e) {
    const qs_entry *en = qs_checkpoint_entry(x->c, i);
    const qs_tensor *t = qs_entry_tensor(x->c, en);
    qs_quant_key q;
    item(o);
    qs_buf_addz(&o->b, "{\"key\": ");
    qs_buf_add_json(&o->b, en->key);
    bool_field(o, "tensor", t != NULL);
    if (!t) {
        char text[96];
        qs_node_describe(qs_checkpoint_graph(x->c), en->node, text, sizeof text);
        str_field(o, "value", qs_str_of(text));
    } else if (!add_tensor(o, x, i, t, e)) {
        return false;
    }
    add_chunks(o, x, en->key, t != NULL);
    if (x->opt.quant && ls_classify(x, en->key, &q)) {
        str_field(o, "role", qs_str_of(qs_role_name(q.role)));
        str_field(o, "family", qs_str_of(qs_family_label(q.family)));
        str_field(o, "block", q.block);
    }
    qs_buf_addc(&o->b, '}');
    return flush(o, 1 << 16, e);
}

static bool add_versions(out *o, const qs_checkpoint *c, qs_err *e) {
    qs_buf_addz(&o->b, "],\n  \"versions\": {");
    o->first = true;
    for (uint32_t i = 0; i < qs_checkpoint_metadata_count(c); i++) {
        qs_str prefix = qs_checkpoint_metadata_prefix(c, i);
        int64_t version = qs_checkpoint_version(c, prefix);
        item(o);
        qs_buf_add_json(&o->b, prefix);
        if (version < 0)
            qs_buf_addz(&o->b, ": null");
        else
            qs_buf_addf(&o->b, ": %lld", (long long)version);
        if (!flush(o, 1 << 16, e)) return false;
    }
    return true;
}

static bool add_modules(out *o, const qs_checkpoint *c, qs_err *e) {
    qs_buf_addz(&o->b, "},\n  \"modules\": [");
    o->first = true;
    for (uint32_t i = 0; i < qs_checkpoint_module_count(c); i++) {
        item(o);
        qs_buf_addz(&o->b, "{\"name\": ");
        qs_buf_add_json(&o->b, qs_checkpoint_module_prefix(c, i));
        str_field(o, "class", qs_checkpoint_module_class(c, i));
        qs_buf_addc(&o->b, '}');
        if (!flush(o, 1 << 16, e)) return false;
    }
    qs_buf_addz(&o->b, "]}\n");
    return flush(o, 0, e);
}

bool ls_print_json(const ls_context *x, qs_err *e) {
    out o = {0};
    add_head(&o, x->c);
    add_provenance(&o, x->provenance);
    bool ok = add_top_level(&o, x->c, e);
    qs_buf_addz(&o.b, ",\n  \"entries\": [");
    o.first = true;
    for (uint32_t i = 0; ok && i < qs_checkpoint_count(x->c); i++) ok = add_entry(&o, x, i, e);
    ok = ok && add_versions(&o, x->c, e) && add_modules(&o, x->c, e);
    qs_buf_free(&o.b);
    return ok;
}
