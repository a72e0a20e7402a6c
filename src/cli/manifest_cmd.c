/* qatscope manifest: what a model expects, from a checkpoint; and the Python script that asks the model
 * itself. */
#include "cli/cli.h"
#include "quant/manifest_config.h"

/* What a reader should know of a manifest that no model stood by. */
static void tell(const qs_config_count *n) {
    if (n->told)
        fprintf(stderr, "the settings of %u quantizers (dtype, scheme, range) follow from their numbers\n",
                n->told);
    if (n->unsure)
        fprintf(stderr, "the settings of %u quantizers do not: the manifest is without them\n", n->unsure);
}

static bool from_checkpoint(const char *path, const qs_cli_common *common, const char *out, qs_err *e) {
    qs_open_options open = qs_cli_open_options(common);
    qs_checkpoint *c = NULL;
    qs_manifest *m = NULL;
    qs_buf b = {0};
    qs_config_count count = {0};
    bool ok = qs_checkpoint_open(path, &open, &c, e);
    if (ok && out && qs_container_uses(qs_checkpoint_container(c), out))
        ok = qs_fail(e, QS_E_REFUSED, "%s: is the checkpoint; choose another name", out);
    ok = ok && qs_manifest_from_checkpoint(c, &m, e) && qs_manifest_infer_configs(m, c, &count, e);
    if (ok) ok = qs_manifest_print(m, &b) ? qs_cli_deliver(qs_buf_str(&b), out, e) : qs_nomem(e);
    if (ok && !common->quiet) tell(&count);
    qs_buf_free(&b);
    qs_manifest_close(m);
    qs_checkpoint_close(c);
    return ok;
}

int qs_cmd_manifest(int argc, char **argv) {
    const char *out = NULL, *pos[1];
    bool exporter = false;
    qs_cli_common common = {0};
    const qs_opt opts[] = {
        {"output", 'o', QS_OPT_STRING, &out, "FILE", "write it there, not to standard output"},
        {"exporter", 0, QS_OPT_FLAG, &exporter, NULL,
         "print the Python script that writes a manifest from a model"},
        QS_CLI_OPT_ROOT(&common),
        QS_CLI_OPT_LIMIT(&common),
        QS_CLI_OPT_QUIET(&common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, pos, 0, 1);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    qs_err e = QS_ERR_INIT;
    if (exporter == (pos[0] != NULL)) {
        qs_fail(&e, QS_E_USAGE, "give a checkpoint, or --exporter");
        return qs_cli_fail(&e);
    }
    bool ok = exporter ? qs_cli_deliver(qs_str_of(qs_manifest_exporter_py), out, &e)
                       : from_checkpoint(pos[0], &common, out, &e);
    return ok ? 0 : qs_cli_fail(&e);
}
