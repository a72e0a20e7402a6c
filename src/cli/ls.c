/* qatscope ls: the entries of a checkpoint. On a terminal a table under a header; elsewhere one entry a line,
 * its fields parted by tabs (with --quant the role, then key, shape, dtype and notes if there are any), and
 * the header on stderr. */
#include "cli/ls.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_KEY_WIDTH = 90, MAX_TOP_LEVEL = 40, BATCH = 1 << 16, MAX_DEPTH = 200 };

bool ls_shape_known(const qs_tensor *t) {
    return t->kind != QS_TENSOR_OPAQUE || t->dtype != QS_DTYPE_UNKNOWN;
}

const qs_entry *ls_alias(const ls_context *x, uint32_t entry) {
    const qs_tensor *t = qs_entry_tensor(x->c, qs_checkpoint_entry(x->c, entry));
    if (!t || t->storage == UINT32_MAX || x->first_user[t->storage] == entry) return NULL;
    return qs_checkpoint_entry(x->c, x->first_user[t->storage]);
}

static bool find_key(const void *ctx, qs_str key, qs_key_info *info) {
    const qs_checkpoint *c = ctx;
    uint32_t i = qs_checkpoint_find(c, key);
    if (i == UINT32_MAX) return false;
    const qs_tensor *t = qs_entry_tensor(c, qs_checkpoint_entry(c, i));
    *info = (qs_key_info){0};
    if (t) *info = (qs_key_info){.shape_known = ls_shape_known(t), .shape = t->shape, .dtype = t->dtype};
    return true;
}

bool ls_classify(const ls_context *x, qs_str key, qs_quant_key *out) {
    qs_key_set keys = {find_key, x->c};
    return qs_quant_classify(key, &keys, out);
}

static bool note_first_users(ls_context *x, qs_err *e) {
    uint32_t n = qs_checkpoint_storage_count(x->c);
    x->first_user = malloc(((size_t)n + 1) * sizeof *x->first_user);
    if (!x->first_user) return qs_nomem(e);
    memset(x->first_user, 0xff, ((size_t)n + 1) * sizeof *x->first_user);
    for (uint32_t i = qs_checkpoint_count(x->c); i-- > 0;) {
        const qs_tensor *t = qs_entry_tensor(x->c, qs_checkpoint_entry(x->c, i));
        if (t && t->storage != UINT32_MAX) x->first_user[t->storage] = i;
    }
    return true;
}

/* ---- one line ---- */

static void add_printable(qs_buf *b, qs_str s) {
    char part[256];
    if (qs_str_is_plain(s)) {
        qs_buf_add(b, s);
        return;
    }
    for (size_t at = 0; at < s.n;) { /* 60 bytes take at most 240 as \xNN */
        size_t k = s.n - at < 60 ? s.n - at : 60;
        while (at + k < s.n && k > 56 && ((unsigned char)s.p[at + k] & 0xc0) == 0x80) k--;
        qs_str_printable(qs_str_sub(s, at, at + k), part, sizeof part);
        qs_buf_addz(b, part);
        at += k;
    }
}

static void note(qs_buf *b, const char *separator) {
    if (b->n) qs_buf_addz(b, separator);
}

static void note_layout(qs_buf *b, const qs_tensor *t) {
    if (!qs_tensor_is_contiguous(t)) {
        note(b, ", ");
        qs_buf_addz(b, "stride ");
        for (uint32_t i = 0; i < t->shape.ndim; i++)
            qs_buf_addf(b, "%s%lld", i ? "," : "", (long long)t->stride[i]);
    }
    if (t->offset) note(b, ", "), qs_buf_addf(b, "offset %llu", (unsigned long long)t->offset);
}

static void note_kind(qs_buf *b, const qs_tensor *t) {
    static const char *const kinds[] = {
        [QS_TENSOR_SPARSE] = "sparse", [QS_TENSOR_META] = "meta", [QS_TENSOR_OPAQUE] = "tensor subclass"};
    if (t->kind == QS_TENSOR_QUANTIZED && t->q->per_channel) {
        note(b, ", "), qs_buf_addf(b, "quantized per channel, axis %lld", (long long)t->q->axis);
    } else if (t->kind == QS_TENSOR_QUANTIZED) {
        note(b, ", "),
            qs_buf_addf(b, "scale %.9g, zero point %lld", t->q->scale, (long long)t->q->zero_point);
    } else if (t->kind != QS_TENSOR_DENSE) {
        note(b, ", "), qs_buf_addz(b, kinds[t->kind]);
    }
}

static bool note_values(const ls_context *x, const qs_tensor *t, qs_buf *b, qs_err *e) {
    uint32_t crc;
    qs_err why = QS_ERR_INIT;
    if (qs_tensor_crc32(x->c, t, &crc, NULL, &why))
        note(b, ", "), qs_buf_addf(b, "crc32 %08x", crc);
    else if (why.code != QS_E_INPUT && why.code != QS_E_UNSUPPORTED) {
        *e = why;
        return false;
    }
    return true;
}

static void note_device(const ls_context *x, const qs_tensor *t, qs_buf *b) {
    if (t->storage == UINT32_MAX) return;
    qs_str where = qs_storage_location(x->c, qs_checkpoint_storage(x->c, t->storage));
    if (qs_str_is(where, "cpu")) return;
    note(b, ", ");
    qs_buf_addz(b, "on ");
    add_printable(b, where);
}

static bool add_notes(const ls_context *x, uint32_t i, qs_buf *b, qs_err *e) {
    const qs_tensor *t = qs_entry_tensor(x->c, qs_checkpoint_entry(x->c, i));
    char place[200];
    qs_placement_text(x->places, qs_checkpoint_entry(x->c, i)->key, place, sizeof place);
    if (*place) qs_buf_addz(b, place);
    if (!t) return true;
    const qs_entry *alias = ls_alias(x, i);
    note_kind(b, t);
    note_layout(b, t);
    if (alias) {
        note(b, ", ");
        qs_buf_addz(b, "shares storage with ");
        add_printable(b, alias->key);
    }
    note_device(x, t, b);
    if (x->opt.values && !note_values(x, t, b, e)) return false;
    if (t->bad) note(b, ", "), qs_buf_addf(b, "BROKEN: %s", t->bad);
    return true;
}

/* Text of the shape and dtype columns; the second is of a table, or in `room`. */
static const char *columns(const ls_context *x, const qs_entry *en, char shape[128], char room[128]) {
    const qs_tensor *t = qs_entry_tensor(x->c, en);
    shape[0] = t ? '?' : '-';
    shape[1] = 0;
    if (t && ls_shape_known(t)) qs_shape_text(t->shape, x->opt.times, shape, 128);
    if (t) return qs_dtype_get(t->dtype)->name;
    qs_node_describe(qs_checkpoint_graph(x->c), en->node, room, 64);
    return room;
}

static char role_letter(const ls_context *x, qs_str key) {
    qs_quant_key q;
    return ls_classify(x, key, &q) ? qs_role_letter(q.role) : ' ';
}

static bool put_line(const qs_buf *line, qs_err *e) {
    if (line->failed) return qs_nomem(e);
    return line->n == 0 || fwrite(line->p, 1, line->n, stdout) == line->n ||
           qs_fail_errno(e, QS_E_IO, errno, "cannot write to standard output");
}

/* ---- plain, for pipes ---- */

static bool print_plain(const ls_context *x, qs_err *e) {
    qs_buf line = {0}, notes = {0}; /* many lines at once */
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_checkpoint_count(x->c); i++) {
        const qs_entry *en = qs_checkpoint_entry(x->c, i);
        char shape[128], room[128];
        notes.n = 0;
        const char *dtype = columns(x, en, shape, room);
        if (x->opt.quant) qs_buf_addf(&line, "%c\t", role_letter(x, en->key));
        add_printable(&line, en->key);
        ok = add_notes(x, i, &notes, e);
        qs_buf_addc(&line, '\t');
        qs_buf_addz(&line, shape);
        qs_buf_addc(&line, '\t');
        qs_buf_addz(&line, dtype);
        if (notes.n) qs_buf_addc(&line, '\t'), qs_buf_add(&line, qs_buf_str(&notes));
        qs_buf_addc(&line, '\n');
        if (ok && line.n >= BATCH) ok = put_line(&line, e), line.n = 0;
    }
    ok = ok && put_line(&line, e);
    qs_buf_free(&line);
    qs_buf_free(&notes);
    return ok;
}

/* ---- table and tree, for people ---- */

/* Columns a text takes: characters, not bytes. Wide ones count as one; the table only gets less straight. */
static size_t width(const char *s, size_t n) {
    size_t w = 0;
    for (size_t i = 0; i < n; i++) w += ((unsigned char)s[i] & 0xc0) != 0x80;
    return w;
}

static void pad(qs_buf *b, size_t from, size_t to) {
    size_t w = width(b->p + from, b->n - from);
    do qs_buf_addc(b, ' ');
    while (++w < to);
}

static size_t depth_of(qs_str key) {
    size_t n = 0;
    for (size_t i = 0; i < key.n; i++) n += key.p[i] == '.';
    return n;
}

/* Blanks before a name. A key of thousands of components is nothing a person reads, and would take lines
 * whose length grows with its square. */
static int indent_of(size_t depth) {
    return (int)(2 * (depth < MAX_DEPTH ? depth : MAX_DEPTH));
}

/* How wide the first column gets. */
static size_t key_width(const ls_context *x) {
    size_t w = 8;
    for (uint32_t i = 0; i < qs_checkpoint_count(x->c); i++) {
        qs_str key = qs_checkpoint_entry(x->c, i)->key;
        size_t n = x->opt.tree
                       ? (size_t)indent_of(depth_of(key)) + width(qs_str_leaf(key).p, qs_str_leaf(key).n)
                       : width(key.p, key.n);
        if (n > w) w = n;
    }
    return (w < MAX_KEY_WIDTH ? w : MAX_KEY_WIDTH) + 2;
}

static void add_colored(qs_buf *b, const ls_context *x, const char *sgr, const char *text) {
    qs_buf_addf(b, "%s%s%s", x->opt.color ? sgr : "", text, x->opt.color ? "\033[0m" : "");
}

/* The modules of `key` that the line before did not lie in, one a line. */
static void add_parents(qs_buf *b, const ls_context *x, qs_str before, qs_str key) {
    qs_str parent = qs_str_parent(key), old = qs_str_parent(before);
    size_t depth = 0, start = 0, common = 0;
    while (common < old.n && common < parent.n && old.p[common] == parent.p[common]) common++;
    for (size_t i = 0; i <= parent.n && parent.n; i++) {
        if (i < parent.n && parent.p[i] != '.') continue;
        bool same = old.n && i <= common && (old.n == i || old.p[i] == '.');
        if (!same) {
            qs_buf_addf(b, "%*s%s", indent_of(depth) + (x->opt.quant ? 2 : 0), "",
                        x->opt.color ? "\033[1m" : "");
            add_printable(b, qs_str_sub(parent, start, i));
            qs_buf_addz(b, x->opt.color ? "\033[0m\n" : "\n");
        }
        start = i + 1;
        depth++;
    }
}

static void add_row_head(qs_buf *line, const ls_context *x, const qs_entry *en) {
    if (!x->opt.quant) return;
    char letter[] = {role_letter(x, en->key), '\0'};
    add_colored(line, x, "\033[36m", letter);
    qs_buf_addc(line, ' ');
}

static bool print_row(const ls_context *x, uint32_t i, size_t wide, qs_buf *line, qs_buf *notes, qs_err *e) {
    const qs_entry *en = qs_checkpoint_entry(x->c, i);
    const qs_tensor *t = qs_entry_tensor(x->c, en);
    char shape[128], room[128];
    line->n = notes->n = 0;
    if (!add_notes(x, i, notes, e)) return false;
    const char *dtype = columns(x, en, shape, room);
    if (x->opt.tree) add_parents(line, x, i ? qs_checkpoint_entry(x->c, i - 1)->key : QS_STR(""), en->key);
    add_row_head(line, x, en);
    size_t from = line->n;
    if (x->opt.tree) qs_buf_addf(line, "%*s", indent_of(depth_of(en->key)), "");
    add_printable(line, x->opt.tree ? qs_str_leaf(en->key) : en->key);
    pad(line, from, wide);
    from = line->n;
    qs_buf_addz(line, shape);
    pad(line, from, 16);
    from = line->n;
    qs_buf_addz(line, dtype);
    if (notes->n) {
        pad(line, from, 10);
        add_colored(line, x, t && t->bad ? "\033[31m" : "\033[2m", notes->p);
    }
    qs_buf_addc(line, '\n');
    return put_line(line, e);
}

static bool print_table(const ls_context *x, qs_err *e) {
    qs_buf line = {0}, notes = {0};
    size_t wide = key_width(x);
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_checkpoint_count(x->c); i++)
        ok = print_row(x, i, wide, &line, &notes, e);
    qs_buf_free(&line);
    qs_buf_free(&notes);
    return ok;
}

/* ---- the header ---- */

static void print_roots(const qs_checkpoint *c, FILE *f) {
    const qs_root *chosen = qs_checkpoint_chosen_root(c);
    fprintf(f, ", %s ", qs_root_kind_name(chosen->kind));
    if (chosen->path.n)
        qs_str_fput_printable(chosen->path, f);
    else
        fputs("at the top level", f);
    if (chosen->class_name.n) fputs(" of class ", f), qs_str_fput_printable(chosen->class_name, f);
    fprintf(f, ", %u entries\n", qs_checkpoint_count(c));
    if (qs_checkpoint_root_count(c) < 2) return;
    fputs("  other roots:", f);
    for (uint32_t i = 0; i < qs_checkpoint_root_count(c); i++) {
        const qs_root *r = qs_checkpoint_root(c, i);
        if (r == chosen) continue;
        fputc(' ', f);
        if (r->path.n)
            qs_str_fput_printable(r->path, f);
        else
            fputs("\"\"", f);
        fprintf(f, " (%u)", r->entries);
    }
    fputs("; --root NAME chooses\n", f);
}

static void print_pair(const qs_graph *g, qs_node key, qs_node value, FILE *f) {
    char text[48];
    if (qs_node_kind_of(g, key) == QS_NODE_STR)
        qs_str_printable(qs_node_str(g, key), text, sizeof text);
    else
        qs_node_describe(g, key, text, sizeof text);
    fprintf(f, "%s ", text);
    qs_node_describe(g, value, text, sizeof text);
    fputs(text, f);
}

/* Of a key that is given twice, Python keeps the last value. */
static bool is_overwritten(const qs_graph *g, qs_node dict, qs_node key, qs_node value) {
    char text[80];
    qs_str name = qs_node_str(g, key);
    if (qs_node_kind_of(g, key) != QS_NODE_STR || name.n >= sizeof text || memchr(name.p, 0, name.n))
        return false;
    snprintf(text, sizeof text, "%.*s", QS_FMT(name));
    return qs_node_get(g, dict, text) != value;
}

/* What else the file holds, so that nobody needs to wonder whether it is only weights. */
static void print_top_level(const qs_checkpoint *c, FILE *f) {
    const qs_graph *g = qs_checkpoint_graph(c);
    qs_node root = qs_graph_root(g), chosen = qs_checkpoint_chosen_root(c)->node;
    size_t shown = 0, n = qs_node_pairs(g, root);
    if (root == chosen || !qs_node_is_dict_like(g, root)) return;
    for (size_t i = 0; i < n && i < MAX_TOP_LEVEL; i++) {
        qs_node key = qs_node_key(g, root, i), value = qs_node_value(g, root, i);
        if (value == chosen || is_overwritten(g, root, key, value)) continue;
        fputs(shown++ ? ", " : "  also: ", f);
        print_pair(g, key, value, f);
    }
    if (n > MAX_TOP_LEVEL) fprintf(f, " ... (%zu in all)", n);
    if (shown) fputc('\n', f);
}

/* Where it comes from; the kind of the container is in the first line, unless there is more to say of it. */
static void print_provenance(const qs_provenance *p, FILE *f) {
    for (size_t i = 0; i < p->facts.n; i++)
        if (i > 0 || strchr(p->facts.v[i].text, ':'))
            fprintf(f, "  %s: %s\n", p->facts.v[i].label, p->facts.v[i].text);
}

static void print_header(const qs_checkpoint *c, const qs_provenance *p, FILE *f) {
    qs_str_fput_printable(qs_str_of(qs_checkpoint_path(c)), f);
    fprintf(f, ": %s", qs_file_kind_name(qs_container_kind(qs_checkpoint_container(c))));
    print_roots(c, f);
    print_top_level(c, f);
    print_provenance(p, f);
}

typedef struct ls_args {
    qs_cli_common common;
    ls_options opt;
    const char *pos[QS_CLI_FILES];
    bool many;
} ls_args;

/* Of many files each is under its name, as ls does with folders. */
static bool ls_one(void *ctx, const char *path, int *status, qs_err *e) {
    const ls_args *a = ctx;
    const qs_cli_common *common = &a->common;
    ls_options opt = a->opt;
    *status = 0;
    qs_open_options open = qs_cli_open_options(common);
    open.loose = true;
    qs_checkpoint *c = NULL;
    if (!qs_checkpoint_open(path, &open, &c, e)) return false;
    ls_context x = {.c = c, .opt = opt};
    bool terminal = isatty(STDOUT_FILENO), header = common->json || !common->quiet;
    bool ok = note_first_users(&x, e) && qs_placement_new(c, &x.places, e) &&
              (!header || qs_provenance_new(c, &x.provenance, e));
    if (ok && a->many && !common->json) {
        qs_str_fput_printable(qs_str_of(path), stdout);
        puts(":");
    }
    if (ok && common->json) {
        ok = ls_print_json(&x, e);
    } else if (ok) {
        if (!common->quiet) print_header(c, x.provenance, terminal || opt.tree ? stdout : stderr);
        ok = terminal || opt.tree ? print_table(&x, e) : print_plain(&x, e);
    }
    free(x.first_user);
    qs_placement_free(x.places);
    qs_provenance_free(x.provenance);
    qs_checkpoint_close(c);
    return ok;
}

int qs_cmd_ls(int argc, char **argv) {
    ls_args *a = calloc(1, sizeof *a);
    if (!a) return 4;
    const qs_opt opts[] = {
        {"tree", 't', QS_OPT_FLAG, &a->opt.tree, NULL, "indented by module"},
        {"quant", 'Q', QS_OPT_FLAG, &a->opt.quant, NULL,
         "roles: W weight, S scale, Z zero point, F flag, O observer, P packed"},
        {"values", 0, QS_OPT_FLAG, &a->opt.values, NULL,
         "a CRC-32 of every tensor's elements (reads them all)"},
        QS_CLI_OPT_ROOT(&a->common),
        QS_CLI_OPT_LIMIT(&a->common),
        QS_CLI_OPT_JSON(&a->common),
        QS_CLI_OPT_QUIET(&a->common),
        QS_CLI_OPT_COLOR(&a->common),
        QS_CLI_OPT_ASCII(&a->common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a->pos, 1, QS_CLI_FILES);
    int status = p == QS_PARSE_DONE ? 0 : 2;
    a->opt.color = qs_cli_color(a->common.color, stdout);
    a->opt.times = isatty(STDOUT_FILENO) && qs_cli_utf8(a->common.ascii) ? "×" : "x";
    if (p == QS_PARSE_OK) status = qs_cli_over_files(a->pos, a->common.json, &a->many, ls_one, a);
    free(a);
    return status;
}
