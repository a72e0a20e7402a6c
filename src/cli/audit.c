/* qatscope audit: what a file's pickles would make Python do. */
#include "format/audit.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct {
    qs_audit_class cls;
    const char *title;
} sections[] = {
    {QS_AUDIT_CODE, "would run code"},
    {QS_AUDIT_LIBRARY, "needs its library to load; weights_only=True refuses it"},
    {QS_AUDIT_DATA, "plain data; weights_only=True refuses it"},
    {QS_AUDIT_TORCH, "tensors and the like; weights_only=True takes it"},
};
enum { SECTIONS = sizeof sections / sizeof *sections };

static void print_item(const qs_audit *a, const qs_audit_item *x) {
    const qs_audit_pickle *p = &a->pickles.v[x->pickle];
    printf("%8u %8u %8u %8u  ", x->imports, x->calls, x->news, x->builds);
    qs_str_fput_printable(x->module, stdout);
    if (x->module.n) putchar('.');
    qs_str_fput_printable(x->name, stdout);
    printf("  (");
    qs_str_fput_printable(p->record, stdout);
    printf(", byte %" PRIu64 ")", p->start + x->offset);
    if (x->why) printf(": %s", x->why);
    putchar('\n');
}

static void print_section(const qs_audit *a, size_t s) {
    bool any = false;
    for (size_t i = 0; i < a->items.n; i++) {
        if (a->items.v[i].cls != sections[s].cls) continue;
        if (!any) printf("\n%s\n import     call      new    build  name\n", sections[s].title);
        any = true;
        print_item(a, &a->items.v[i]);
    }
}

static void print_pickles(const qs_audit *a) {
    for (size_t i = 0; i < a->pickles.n; i++) {
        const qs_audit_pickle *p = &a->pickles.v[i];
        qs_str_fput_printable(p->record, stdout);
        printf(": pickle of %" PRIu64 " bytes at byte %" PRIu64 ", protocol %d\n", p->bytes, p->start,
               p->protocol);
        if (p->broken)
            printf("  %s at byte %" PRIu64 ": %s; %s\n", p->cut ? "not read further" : "breaks off",
                   p->start + p->bytes, p->broken,
                   p->cut ? "Python would go on, and do what is not known"
                          : "Python would have done by then what is listed");
    }
    if (a->more) printf("more may follow, which was not looked at\n");
    if (a->pickles.n == 0) printf("no pickle in this file: there is nothing that could run\n");
}

static bool is_broken(const qs_audit *a) {
    for (size_t i = 0; i < a->pickles.n; i++)
        if (a->pickles.v[i].broken) return true;
    return false;
}

/* Python would read what was not read here. */
static bool is_cut(const qs_audit *a) {
    for (size_t i = 0; i < a->pickles.n; i++)
        if (a->pickles.v[i].cut) return true;
    return a->more;
}

static const char *verdict(const qs_audit *a) {
    if (qs_audit_worst(a) != QS_AUDIT_CODE && is_cut(a))
        return "nothing that would run code as far as it was read; what follows is not known";
    if (qs_audit_worst(a) != QS_AUDIT_CODE && is_broken(a))
        return "nothing that would run code up to where Python stops reading, too; the file is damaged";
    switch (qs_audit_worst(a)) {
    case QS_AUDIT_CODE: return "loading this file without weights_only=True would run code";
    case QS_AUDIT_LIBRARY:
        return "no code of the file's own; torch.load needs weights_only=False and the libraries above";
    case QS_AUDIT_DATA:
        return "no code; torch.load needs weights_only=False, or the names above declared safe";
    case QS_AUDIT_TORCH: return "no code; torch.load(weights_only=True) knows every name";
    }
    return "";
}

static void print_text(const qs_audit *a) {
    print_pickles(a);
    for (size_t s = 0; s < SECTIONS; s++) print_section(a, s);
    if (a->pickles.n) printf("\n%s\n", verdict(a));
}

static void add_pickles_json(qs_buf *b, const qs_audit *a) {
    for (size_t i = 0; i < a->pickles.n; i++) {
        const qs_audit_pickle *p = &a->pickles.v[i];
        qs_buf_addf(b, "%s\n  {\"record\": ", i ? "," : "");
        qs_buf_add_json(b, p->record);
        qs_buf_addf(b, ", \"start\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"protocol\": %d, \"broken\": ",
                    p->start, p->bytes, p->protocol);
        if (p->broken)
            qs_buf_add_json(b, qs_str_of(p->broken));
        else
            qs_buf_addz(b, "null");
        qs_buf_addf(b, ", \"cut\": %s}", p->cut ? "true" : "false");
    }
}

static void add_items_json(qs_buf *b, const qs_audit *a) {
    for (size_t i = 0; i < a->items.n; i++) {
        const qs_audit_item *x = &a->items.v[i];
        qs_buf_addf(b, "%s\n  {\"module\": ", i ? "," : "");
        qs_buf_add_json(b, x->module);
        qs_buf_addz(b, ", \"name\": ");
        qs_buf_add_json(b, x->name);
        qs_buf_addf(b, ", \"class\": \"%s\", \"imports\": %u, \"calls\": %u, \"news\": %u, \"builds\": %u, ",
                    qs_audit_class_name(x->cls), x->imports, x->calls, x->news, x->builds);
        qs_buf_addf(b, "\"pickle\": %u, \"offset\": %" PRIu64 "}", x->pickle, x->offset);
    }
}

static void print_json(const char *file, const qs_audit *a) {
    qs_buf b = {0};
    qs_buf_addz(&b, "{\"file\": ");
    qs_buf_add_json(&b, qs_str_of(file));
    qs_buf_addf(&b, ", \"runs_code\": %s, \"worst\": \"%s\", \"broken\": %s, \"cut\": %s,\n \"pickles\": [",
                qs_audit_worst(a) == QS_AUDIT_CODE ? "true" : "false", qs_audit_class_name(qs_audit_worst(a)),
                is_broken(a) ? "true" : "false", is_cut(a) ? "true" : "false");
    add_pickles_json(&b, a);
    qs_buf_addz(&b, "],\n \"names\": [");
    add_items_json(&b, a);
    qs_buf_addz(&b, "]}\n");
    if (!b.failed) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

static void print_line(const char *file, const qs_audit *a) {
    qs_str_fput_printable(qs_str_of(file), stdout);
    printf(": %s%s\n", is_broken(a) && !is_cut(a) ? "a pickle breaks off; " : "",
           a->pickles.n ? verdict(a) : "no pickle, nothing that could run");
}

typedef struct audit_args {
    qs_cli_common common;
    const char *pos[QS_CLI_FILES];
    bool many;
} audit_args;

static bool audit_one(void *ctx, const char *file, int *status, qs_err *e) {
    const audit_args *x = ctx;
    qs_audit *a = NULL;
    qs_limits limits = qs_cli_open_options(&x->common).limits;
    if (!qs_audit_open(file, &limits, &a, e)) return false;
    if (x->common.json)
        print_json(file, a);
    else if (x->many)
        print_line(file, a);
    else
        print_text(a);
    /* A pickle that breaks off or goes on is bad input, unless worse was found before. */
    *status = qs_audit_worst(a) == QS_AUDIT_CODE ? 1 : is_broken(a) || is_cut(a) ? 3 : 0;
    qs_audit_close(a);
    return true;
}

int qs_cmd_audit(int argc, char **argv) {
    audit_args *a = calloc(1, sizeof *a);
    if (!a) return 4;
    const qs_opt opts[] = {QS_CLI_OPT_LIMIT(&a->common), QS_CLI_OPT_JSON(&a->common),
                           QS_CLI_OPT_QUIET(&a->common)};
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a->pos, 1, QS_CLI_FILES);
    int status = p == QS_PARSE_DONE ? 0 : 2;
    if (p == QS_PARSE_OK) status = qs_cli_over_files(a->pos, a->common.json, &a->many, audit_one, a);
    free(a);
    return status;
}
