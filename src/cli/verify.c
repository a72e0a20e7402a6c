/* qatscope verify: is the file whole? */
#include "model/verify.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct meter {
    unsigned percent;
    bool shown;
} meter;

static bool show_progress(void *ctx, uint64_t done, uint64_t total) {
    meter *m = ctx;
    unsigned percent = total ? (unsigned)((double)done * 100 / (double)total) : 100;
    if (m->shown && percent == m->percent) return true;
    *m = (meter){percent, true};
    fprintf(stderr, "\rverifying %3u %%", percent);
    return true;
}

static void print_lines(const char *title, const qs_verify_line *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        printf("%s: ", title);
        qs_str_fput_printable(v[i].where, stdout);
        if (v[i].where.n) printf(": ");
        qs_str_fput_printable(v[i].what, stdout);
        putchar('\n');
    }
}

static void print_crc(const qs_verify *v) {
    if (!v->has_crc)
        printf("checksums  none in this format\n");
    else
        printf("checksums  %u right, %u wrong, %u switched off\n", v->crc_right, v->crc_wrong, v->crc_off);
}

static void print_text(const qs_verify *v) {
    printf("records    %u, %" PRIu64 " bytes\n", v->records, v->bytes);
    print_crc(v);
    printf("storages   %u\ntensors    %u\n", v->storages, v->tensors);
    print_lines("note", v->notes.v, v->notes.n);
    print_lines("wrong", v->problems.v, v->problems.n);
    if (v->problems.n == 0) printf("the file is whole\n");
}

static void add_lines(qs_buf *b, const char *name, const qs_verify_line *v, size_t n) {
    qs_buf_addf(b, ",\n \"%s\": [", name);
    for (size_t i = 0; i < n; i++) {
        qs_buf_addf(b, "%s\n  {\"where\": ", i ? "," : "");
        qs_buf_add_json(b, v[i].where);
        qs_buf_addz(b, ", \"what\": ");
        qs_buf_add_json(b, v[i].what);
        qs_buf_addc(b, '}');
    }
    qs_buf_addc(b, ']');
}

static void print_json(const char *file, const qs_verify *v) {
    qs_buf b = {0};
    qs_buf_addz(&b, "{\"file\": ");
    qs_buf_add_json(&b, qs_str_of(file));
    qs_buf_addf(&b,
                ", \"ok\": %s, \"records\": %u, \"bytes\": %" PRIu64 ", \"storages\": %u, \"tensors\": %u,\n",
                v->problems.n ? "false" : "true", v->records, v->bytes, v->storages, v->tensors);
    qs_buf_addf(&b,
                " \"crc\": {\"right\": %u, \"wrong\": %u, \"off\": %u}, \"unaligned\": %u, \"deflated\": %u",
                v->crc_right, v->crc_wrong, v->crc_off, v->unaligned, v->deflated);
    add_lines(&b, "problems", v->problems.v, v->problems.n);
    add_lines(&b, "notes", v->notes.v, v->notes.n);
    qs_buf_addz(&b, "}\n");
    if (!b.failed) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

/* "FILE: whole", or how many things are wrong and the first of them. */
static void print_line(const char *file, const qs_verify *v) {
    qs_str_fput_printable(qs_str_of(file), stdout);
    if (v->problems.n == 0) {
        printf(": whole\n");
        return;
    }
    printf(": %zu wrong; ", v->problems.n);
    qs_str_fput_printable(v->problems.v[0].where, stdout);
    if (v->problems.v[0].where.n) printf(": ");
    qs_str_fput_printable(v->problems.v[0].what, stdout);
    printf("\n");
}

typedef struct verify_args {
    qs_cli_common common;
    const char *pos[QS_CLI_FILES];
    bool many;
} verify_args;

static bool verify_one(void *ctx, const char *file, int *status, qs_err *e) {
    const verify_args *a = ctx;
    meter m = {0};
    qs_verify *v = NULL;
    qs_progress progress = {show_progress, &m};
    bool talk = !a->common.quiet && isatty(STDERR_FILENO);
    qs_limits limits = qs_cli_open_options(&a->common).limits;
    bool ok = qs_verify_file(file, &limits, talk ? &progress : NULL, &v, e);
    if (m.shown) fprintf(stderr, "\r\033[K");
    if (!ok) return false;
    if (a->common.json)
        print_json(file, v);
    else if (a->many)
        print_line(file, v);
    else
        print_text(v);
    *status = v->problems.n ? 1 : 0;
    qs_verify_free(v);
    return true;
}

int qs_cmd_verify(int argc, char **argv) {
    verify_args *a = calloc(1, sizeof *a);
    if (!a) return 4;
    const qs_opt opts[] = {QS_CLI_OPT_LIMIT(&a->common), QS_CLI_OPT_JSON(&a->common),
                           QS_CLI_OPT_QUIET(&a->common)};
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a->pos, 1, QS_CLI_FILES);
    int status = p == QS_PARSE_DONE ? 0 : 2;
    if (p == QS_PARSE_OK) status = qs_cli_over_files(a->pos, a->common.json, &a->many, verify_one, a);
    free(a);
    return status;
}
