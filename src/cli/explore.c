#include "cli/cli.h"

#include "cli/reading.h"
#include "config_file.h"
#include "ui/ui.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct explore_args {
    qs_cli_common common;
    const char *plan, *keys, *screen, *torch, *lessons, *theme, *config, *print_config;
    double bn_eps;
    bool no_mouse;
    const char *pos[2]; /* A, B */
} explore_args;

static qs_parse parse(int argc, char **argv, explore_args *x) {
    x->bn_eps = __builtin_nan("");
    const qs_opt opts[] = {
        QS_CLI_OPT_MANIFEST(&x->common),
        QS_CLI_OPT_LOG(&x->common),
        QS_CLI_OPT_ROOT(&x->common),
        QS_CLI_OPT_LIMIT(&x->common),
        {"plan", 'p', QS_OPT_STRING, &x->plan, "PLAN", "start with the actions of this plan"},
        {"torch", 0, QS_OPT_STRING, &x->torch, "VERSION",
         "whose strict load to simulate: 1.7, 1.13, 2.6, 2.14"},
        {"bn-eps", 0, QS_OPT_NUMBER, &x->bn_eps, "X", "eps of the BatchNorms, where no manifest tells"},
        QS_CLI_OPT_ASCII(&x->common),
        QS_CLI_OPT_COLOR(&x->common),
        {"theme", 0, QS_OPT_STRING, &x->theme, "NAME",
         "default, dark, light, colour-blind, contrast or none"},
        {"config", 0, QS_OPT_STRING, &x->config, "DIR",
         "where keymap and theme are, not $XDG_CONFIG_HOME/qatscope"},
        {"print-config", 0, QS_OPT_STRING, &x->print_config, "WHAT",
         "print the keymap or the theme as a file to change, and leave"},
        {"no-mouse", 0, QS_OPT_FLAG, &x->no_mouse, NULL, "leave the mouse to the terminal"},
        {"lessons", 0, QS_OPT_STRING, &x->lessons, "DIR", "more lessons (*.txt) besides the built-in ones"},
        {"keys", 0, QS_OPT_STRING, &x->keys, "KEYS", "type these keys first: \"j j m Enter\""},
        {"screen", 0, QS_OPT_STRING, &x->screen, "WxH",
         "print the screen of that size after --keys, and leave"},
    };
    return qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, x->pos, 0, 2);
}

/* No screen to draw on: say what `check` or `diff` would. */
static int explore_headless(const explore_args *x) {
    const char *args[QS_CLI_ARGS];
    char limits[QS_LIMIT_COUNT][48];
    int n = 0;
    bool target = x->common.manifest || x->common.log || x->pos[1];
    args[n++] = target ? "check" : "ls";
    args[n++] = x->pos[0];
    if (x->pos[1] && !x->common.manifest) args[n++] = x->pos[1];
    if (x->common.manifest) {
        args[n++] = "-m";
        args[n++] = x->common.manifest;
    }
    if (x->common.log) {
        args[n++] = "--log";
        args[n++] = x->common.log;
    }
    if (x->common.root) {
        args[n++] = "--root";
        args[n++] = x->common.root;
    }
    for (int i = 0; i < QS_LIMIT_COUNT; i++) {
        uint64_t value = qs_limit_value(&x->common.limits, (qs_limit_id)i);
        if (!value) continue;
        snprintf(limits[i], sizeof limits[i], "%s=%" PRIu64, qs_limit_get((qs_limit_id)i)->name, value);
        args[n++] = "--limit";
        args[n++] = limits[i];
    }
    return qs_cli_run(target ? qs_cmd_check : qs_cmd_ls, n, args);
}

static qs_color_mode color_mode(const char *when) {
    if (when && strcmp(when, "always") == 0) return QS_COLOR_ALWAYS;
    if (when && strcmp(when, "never") == 0) return QS_COLOR_NEVER;
    return QS_COLOR_AUTO;
}

/* "80x24": print the screen after --keys instead of opening it. */
static bool parse_screen(const char *text, qs_ui_options *ui, qs_err *e) {
    char end;
    if (sscanf(text, "%dx%d%c", &ui->width, &ui->height, &end) != 2 || ui->width < 1 || ui->height < 1 ||
        ui->width > 1000 || ui->height > 1000)
        return qs_fail(e, QS_E_USAGE, "--screen wants a size such as 80x24, not '%s'", text);
    ui->dump = stdout;
    return true;
}

static void read_settings(qs_config *c, const char *dir, const char *name) {
    char *text;
    size_t n;
    qs_err e = QS_ERR_INIT;
    if (!qs_config_file_read(dir, name, &text, &n, &e)) qs_config_complain(c, name, 0, "%s", e.msg);
    if (text) qs_config_parse(c, name, (qs_str){text, n});
    free(text);
}

static bool settings(const explore_args *x, qs_config *c, qs_err *e) {
    qs_config_init(c);
    read_settings(c, x->config, "keymap");
    read_settings(c, x->config, "theme");
    if (!x->theme) return true;
    qs_theme_id id = qs_theme_find(qs_str_of(x->theme));
    if (id == QS_THEME_COUNT)
        return qs_fail(e, QS_E_USAGE,
                       "--theme wants default, dark, light, colour-blind, contrast or none, not '%s'",
                       x->theme);
    c->start = id;
    return true;
}

/* What was complained about goes to stderr: what is printed leaves it out. */
static bool print_config(const explore_args *x, const qs_config *c, qs_err *e) {
    qs_buf out = {0};
    bool keys = strcmp(x->print_config, "keymap") == 0;
    if (!keys && strcmp(x->print_config, "theme") != 0)
        return qs_fail(e, QS_E_USAGE, "--print-config wants keymap or theme, not '%s'", x->print_config);
    if (keys)
        qs_config_print_keymap(c, &out);
    else
        qs_config_print_theme(c, &out);
    if (c->complaint_count) fwrite(c->complaints.p, 1, c->complaints.n, stderr);
    bool ok = !out.failed;
    if (ok) fwrite(out.p, 1, out.n, stdout);
    qs_buf_free(&out);
    return ok || qs_nomem(e);
}

static bool explore(const explore_args *x, const qs_config *config, qs_err *e) {
    qs_session_options opt = QS_SESSION_OPTIONS_DEFAULT;
    opt.open = qs_cli_open_options(&x->common);
    opt.open.loose = true;
    opt.bn_eps = x->bn_eps;
    if (x->torch && !(opt.strict.torch_minor = qs_cli_torch_version(x->torch)))
        return qs_fail(e, QS_E_USAGE, "--torch wants a version such as 1.13 or 2.6, not '%s'", x->torch);
    qs_ui_options ui = QS_UI_OPTIONS_DEFAULT;
    ui.ascii = !qs_cli_utf8(x->common.ascii);
    ui.color = color_mode(x->common.color);
    ui.mouse = !x->no_mouse;
    ui.keys = x->keys;
    ui.config = config;
    ui.lessons = x->lessons;
    if (x->screen && !parse_screen(x->screen, &ui, e)) return false;
    qs_reading reading;
    qs_reading_begin(&reading, !x->screen && isatty(STDERR_FILENO) ? stderr : NULL);
    opt.open.limits.progress = &reading.progress;
    qs_session *s = qs_cli_session(&opt, x->pos[0], x->pos[1], &x->common, e);
    qs_reading_end(&reading);
    if (!s) return false;
    bool ok = (!x->plan || qs_session_load_plan(s, x->plan, e)) && qs_ui_run(s, &ui, e);
    qs_session_free(s);
    return ok;
}

static int run(const explore_args *x, const qs_config *config) {
    qs_err e = QS_ERR_INIT;
    bool ok;
    if (x->print_config) {
        ok = print_config(x, config, &e);
    } else if (!x->pos[0]) {
        ok = qs_fail(&e, QS_E_USAGE, "a checkpoint is missing: qatscope A [B] [-m MANIFEST]");
    } else {
        if (!x->screen && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))) return explore_headless(x);
        ok = explore(x, config, &e);
    }
    return ok ? 0 : qs_cli_fail(&e);
}

int qs_cmd_explore(int argc, char **argv) {
    explore_args x = {0};
    qs_config config;
    qs_err e = QS_ERR_INIT;
    switch (parse(argc, argv, &x)) {
    case QS_PARSE_DONE: return 0;
    case QS_PARSE_BAD: return 2;
    case QS_PARSE_OK: break;
    }
    int status = settings(&x, &config, &e) ? run(&x, &config) : qs_cli_fail(&e);
    qs_config_free(&config);
    return status;
}
