/* qatscope convert: A as it is, in the format that the new name's end asks for. */
#include "cli/cli.h"

#include <stdlib.h>

typedef struct convert_args {
    qs_cli_common common;
    qs_cli_saving saving;
    bool drop;
    const char *pos[1];
} convert_args;

/* What safetensors cannot hold is left out: an action like any other. */
static bool drop_misfits(qs_session *s, const char *out, uint32_t *dropped, qs_err *e) {
    const qs_resolution *r = qs_session_resolution(s);
    QS_VEC(qs_rename_pair) keys = {0};
    bool ok = true;
    for (uint32_t i = 0; ok && qs_is_safetensors_name(out) && i < qs_resolution_live(r); i++)
        if (qs_safetensors_misfit(r, i))
            ok = qs_push(&keys, (qs_rename_pair){.from = qs_resolution_entry(r, i)->key}) || qs_nomem(e);
    *dropped = (uint32_t)keys.n;
    qs_action drop = {
        .kind = QS_ACT_DROP, .scope_kind = QS_SCOPE_KEYS, .pairs = keys.v, .pair_count = keys.n};
    ok = ok && (keys.n == 0 || qs_session_do(s, &drop, e));
    qs_vec_free(&keys);
    return ok;
}

static void print_result(const convert_args *a, uint32_t entries, uint32_t dropped) {
    qs_buf b = {0};
    if (a->common.json) {
        qs_buf_addz(&b, "{\"output\": ");
        qs_buf_add_json(&b, qs_str_of(a->saving.out));
        qs_buf_addf(&b, ", \"entries\": %u, \"drops\": %u}\n", entries, dropped);
    } else if (!a->common.quiet) {
        qs_buf_addf(&b, "saved: %s (%u entries", a->saving.out, entries);
        if (dropped) qs_buf_addf(&b, ", without %u that do not fit", dropped);
        qs_buf_addz(&b, ")\n");
    }
    if (!b.failed && b.n) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

static bool convert(const convert_args *a, qs_err *e) {
    qs_session_options opt = QS_SESSION_OPTIONS_DEFAULT;
    opt.open = qs_cli_open_options(&a->common);
    opt.open.loose = true;
    qs_session *s = qs_cli_session(&opt, a->pos[0], NULL, &a->common, e);
    uint32_t dropped = 0;
    bool ok = s && (!a->drop || drop_misfits(s, a->saving.out, &dropped, e)) &&
              qs_cli_save(s, &a->saving, a->common.quiet, e);
    if (ok) print_result(a, qs_resolution_live(qs_session_resolution(s)), dropped);
    qs_session_free(s);
    return ok;
}

int qs_cmd_convert(int argc, char **argv) {
    convert_args a = {0};
    const qs_opt opts[] = {
        QS_CLI_OPT_OUTPUT(
            &a.saving, "NAME.pt; NAME.safetensors or NAME.safetensors.index.json for the state dict alone"),
        {"drop-misfits", 0, QS_OPT_FLAG, &a.drop, NULL, "leave out what safetensors cannot hold"},
        QS_CLI_OPT_IN_PLACE(&a.saving),
        QS_CLI_OPT_CPU(&a.saving),
        QS_CLI_OPT_BARE(&a.saving),
        QS_CLI_OPT_SHARD_SIZE(&a.saving),
        QS_CLI_OPT_ROOT(&a.common),
        QS_CLI_OPT_LIMIT(&a.common),
        QS_CLI_OPT_JSON(&a.common),
        QS_CLI_OPT_QUIET(&a.common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a.pos, 1, 1);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    qs_err e = QS_ERR_INIT;
    if (a.saving.in_place && !a.saving.out) a.saving.out = a.pos[0];
    if (!a.saving.out) {
        qs_fail(&e, QS_E_USAGE, "where to? give -o OUT, or --in-place (keeps A as NAME.bak)");
        return qs_cli_fail(&e);
    }
    return convert(&a, &e) ? 0 : qs_cli_fail(&e);
}
