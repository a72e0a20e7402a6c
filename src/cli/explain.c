/* qatscope explain: what a key is. */
#include "cli/cli.h"

#include "teach/explain.h"
#include "teach/text.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SEARCH_MAX = 16 };

/* Columns to fill: the terminal's, but lines beyond 100 are hard to read. */
static unsigned text_width(void) {
    struct winsize ws;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) != 0 || ws.ws_col < 40) return 80;
    return ws.ws_col > 100 ? 100 : ws.ws_col;
}

static void print_one(const qs_explanation *x, const qs_quant_key *k, qs_explain_form form, unsigned width,
                      qs_buf *out) {
    qs_explain_print(x, form, width, out);
    if (form == QS_EXPLAIN_PLAIN && k && k->block.n) {
        char block[256], line[400];
        qs_str_printable(k->block, block, sizeof block);
        snprintf(line, sizeof line, "%s (%s, %s)", block, qs_family_name(k->family), qs_role_name(k->role));
        qs_wrap(qs_str_of(line), "  Block       ", "              ", width, out);
    }
    if (form == QS_EXPLAIN_JSON) qs_buf_addc(out, '\n');
}

/* A full key has one text. A bare word such as "scale" has as many as there are kinds of key ending in it. */
static void explain_key(qs_str key, qs_explain_form form, unsigned width, qs_buf *out) {
    qs_quant_key k;
    bool known = qs_quant_classify(key, NULL, &k);
    bool dotted = key.n && memchr(key.p, '.', key.n);
    const qs_explanation *found[SEARCH_MAX];
    size_t n = 0;
    if (!known && !dotted) n = qs_explain_search(key, found, SEARCH_MAX);
    if (n > SEARCH_MAX) n = SEARCH_MAX;
    if (n == 0) found[n++] = qs_explain(known ? &k : NULL, key);
    if (form == QS_EXPLAIN_JSON && n > 1) qs_buf_addz(out, "[\n");
    for (size_t i = 0; i < n; i++) {
        if (i) qs_buf_addz(out, form == QS_EXPLAIN_JSON ? ",\n" : "\n");
        print_one(found[i], known ? &k : NULL, form, width, out);
    }
    if (form == QS_EXPLAIN_JSON && n > 1) qs_buf_addz(out, "]\n");
}

int qs_cmd_explain(int argc, char **argv) {
    bool all = false, sheet = false, markdown = false, json = false;
    const char *pos[1];
    const qs_opt opts[] = {
        {"all", 0, QS_OPT_FLAG, &all, NULL, "every kind of key there is a text for"},
        {"cheatsheet", 0, QS_OPT_FLAG, &sheet, NULL,
         "one page: the block, the formulas, the names, the rules"},
        {"markdown", 0, QS_OPT_FLAG, &markdown, NULL, "as Markdown"},
        {"json", 0, QS_OPT_FLAG, &json, NULL, "the same as data, for scripts"},
    };
    qs_parse parsed = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, pos, 0, 1);
    if (parsed != QS_PARSE_OK) return parsed == QS_PARSE_DONE ? 0 : 2;
    qs_err e = QS_ERR_INIT;
    if (!!pos[0] + all + sheet != 1)
        qs_fail(&e, QS_E_USAGE, "explain wants one of a KEY, --all and --cheatsheet");
    else if (json && (markdown || sheet))
        qs_fail(&e, QS_E_USAGE, "--json goes with a KEY or --all, and not with --markdown");
    if (e.code) return qs_cli_fail(&e);
    qs_explain_form form = json ? QS_EXPLAIN_JSON : markdown ? QS_EXPLAIN_MARKDOWN : QS_EXPLAIN_PLAIN;
    qs_buf out = {0};
    if (sheet)
        qs_explain_print_cheatsheet(markdown, &out);
    else if (all)
        qs_explain_print_all(form, text_width(), &out);
    else
        explain_key(qs_str_of(pos[0]), form, text_width(), &out);
    if (out.failed)
        qs_nomem(&e);
    else
        fwrite(out.p, 1, out.n, stdout);
    qs_buf_free(&out);
    return e.code ? qs_cli_fail(&e) : 0;
}
