#include "model/about.h"

#include <inttypes.h>
#include <stdarg.h>

typedef struct facts {
    const qs_checkpoint *c;
    qs_fact *out;
    size_t n;
} facts;

__attribute__((format(printf, 3, 4))) static void add(facts *x, const char *label, const char *fmt, ...) {
    if (x->n == QS_FACTS_MAX) return;
    qs_fact *f = &x->out[x->n++];
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    f->label = label;
    qs_str_printable(qs_str_of(text), f->text, sizeof f->text);
}

static void add_format(facts *x) {
    const qs_container *box = qs_checkpoint_container(x->c);
    const qs_graph *g = qs_checkpoint_graph(x->c);
    bool zip = qs_container_kind(box) == QS_FILE_TORCH_ZIP;
    char size[32];
    snprintf(size, sizeof size, "%" PRIu64 " bytes", qs_file_size(qs_container_file(box)));
    add(x, "format", "%s, %s; %u records%s%.*s, pickle protocol %d, %zu bytes of it",
        qs_file_kind_name(qs_container_kind(box)), size, qs_container_count(box), zip ? " under " : "",
        QS_FMT(zip ? qs_container_prefix(box) : QS_STR("")), qs_graph_protocol(g),
        qs_checkpoint_pickle_bytes(x->c));
    if (qs_container_big_endian(box))
        add(x, "byte order", "big-endian: elements are swapped while they are read");
}

static void add_roots(facts *x) {
    qs_buf others = {0};
    const qs_root *chosen = qs_checkpoint_chosen_root(x->c);
    for (uint32_t i = 0; i < qs_checkpoint_root_count(x->c) && others.n < 160; i++) {
        const qs_root *r = qs_checkpoint_root(x->c, i);
        if (r == chosen) continue;
        qs_buf_addf(&others, "%s%.*s (%u tensors)", others.n ? ", " : "", QS_FMT(r->path), r->entries);
    }
    add(x, "state dict", "%.*s%s%.*s", QS_FMT(chosen->path.n ? chosen->path : QS_STR("the top level")),
        chosen->kind == QS_ROOT_MODULE  ? ", of the pickled module "
        : chosen->kind == QS_ROOT_LOOSE ? ": none, only tensors in other objects"
                                        : "",
        QS_FMT(chosen->class_name));
    if (others.n) add(x, "others", "%.*s", QS_FMT(qs_buf_str(&others)));
    qs_buf_free(&others);
}

static void add_entries(facts *x) {
    uint32_t count[QS_DTYPE_COUNT] = {0}, no_tensor = 0, bad = 0, n = qs_checkpoint_count(x->c);
    uint64_t elements = 0;
    qs_buf b = {0};
    for (uint32_t i = 0; i < n; i++) {
        const qs_tensor *t = qs_entry_tensor(x->c, qs_checkpoint_entry(x->c, i));
        if (!t) {
            no_tensor++;
            continue;
        }
        count[t->dtype]++;
        bad += t->bad != NULL;
        elements += qs_shape_numel(t->shape);
    }
    for (qs_dtype d = 0; d < QS_DTYPE_COUNT; d++)
        if (count[d])
            qs_buf_addf(&b, ", %u %s", count[d],
                        d == QS_DTYPE_UNKNOWN ? "of unknown type" : qs_dtype_get(d)->name);
    if (no_tensor) qs_buf_addf(&b, ", %u no tensors", no_tensor);
    add(x, "entries", "%u, %" PRIu64 " elements%.*s", n, elements, QS_FMT(qs_buf_str(&b)));
    if (bad) add(x, "broken", "%u tensors cannot be read: their bytes are not in the file", bad);
    qs_buf_free(&b);
}

static void add_storages(facts *x) {
    uint64_t bytes = 0;
    uint32_t n = qs_checkpoint_storage_count(x->c), elsewhere = 0;
    qs_str device = {0};
    for (uint32_t i = 0; i < n; i++) {
        const qs_storage *s = qs_checkpoint_storage(x->c, i);
        bytes += s->bytes;
        qs_str location = qs_storage_location(x->c, s);
        if (location.n == 0 || qs_str_is(location, "cpu")) continue;
        elsewhere++;
        device = location;
    }
    add(x, "storages", "%u of %" PRIu64 " bytes, in the whole file", n, bytes);
    if (elsewhere)
        add(x, "devices",
            "%u of them say %.*s: without one, load with map_location, or save here for the CPU", elsewhere,
            QS_FMT(device));
}

/* What torch.nn.DataParallel, DistributedDataParallel and torch.compile put before every name. */
static void add_prefix(facts *x) {
    static const struct {
        const char *prefix, *who;
    } known[] = {{"module.", "DataParallel or DistributedDataParallel"}, {"_orig_mod.", "torch.compile"}};
    uint32_t n = qs_checkpoint_count(x->c);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        uint32_t with = 0;
        for (uint32_t i = 0; i < n; i++)
            with += qs_str_starts(qs_checkpoint_entry(x->c, i)->key, qs_str_of(known[k].prefix));
        if (n && with == n)
            add(x, "prefix", "every key begins with \"%s\": saved from inside %s; M strips it",
                known[k].prefix, known[k].who);
    }
}

static void add_metadata(facts *x) {
    uint32_t n = qs_checkpoint_metadata_count(x->c);
    if (qs_checkpoint_has_metadata(x->c))
        add(x, "_metadata", "versions of %u modules", n);
    else
        add(x, "_metadata", "none: torch takes every module for its oldest version");
}

size_t qs_about_checkpoint(const qs_checkpoint *c, qs_fact out[QS_FACTS_MAX]) {
    facts x = {.c = c, .out = out};
    add(&x, "file", "%s", qs_checkpoint_path(c));
    add_format(&x);
    add_roots(&x);
    add_entries(&x);
    add_storages(&x);
    add_prefix(&x);
    add_metadata(&x);
    return x.n;
}
