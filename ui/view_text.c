#include "ui/app_impl.h"

/* A page of text that scrolls: torch's message, Python, all details of a key. */

void qs_text_open(qs_app *a, const char *title, int hang) {
    qs_page_open(a, &a->text, &qs_view_text, title, hang);
}

static void text_draw(const qs_app *a, qs_grid *g) {
    qs_page_draw(&a->text, g);
}
static void text_layout(qs_app *a) {
    qs_page_layout(a, &a->text);
}
/* What is done to a row is done from the page about it too; the page is then out of date. */
static bool act_on_row(qs_app *a, uint32_t key) {
    static const qs_command acts[] = {QS_CMD_VALUES, QS_CMD_SEE,  QS_CMD_EXPLAIN, QS_CMD_MAP,
                                      QS_CMD_INIT,   QS_CMD_COPY, QS_CMD_DROP};
    if (qs_keymap_find(&a->config.keymap, QS_CTX_TEXT, key) != QS_CMD_NONE) return false;
    qs_command c = qs_keymap_find(&a->config.keymap, QS_CTX_TREE, key);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (acts[i] != c) continue;
        qs_app_close(a);
        qs_app_command(a, c);
        return true;
    }
    return false;
}

static bool text_event(qs_app *a, const qs_event *ev) {
    if (ev->kind == QS_EVENT_KEY && a->text.of_row && act_on_row(a, ev->key)) return true;
    return qs_page_event(a, &a->text, ev);
}
static bool text_command(qs_app *a, qs_command c) {
    return qs_page_command(a, &a->text, c);
}

const qs_view qs_view_text = {
    .name = "text",
    .context = QS_CTX_TEXT,
    .draw = text_draw,
    .layout = text_layout,
    .event = text_event,
    .command = text_command,
};

/* ---- torch's message ---- */

enum { FORWARD_SHOWN = 100 };

static void add_forward(qs_rich *r, const qs_app *a, const qs_verdict *v) {
    if (a->forward == 0) return;
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(NO),
                 qs_verdict_loads(v) ? " It loads, and fails later, in forward: "
                                     : " Were it loaded, forward would fail: ");
    uint32_t shown = 0;
    for (size_t i = 0; i < qs_verdict_count(v) && shown < FORWARD_SHOWN; i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        if (f->kind != QS_FIND_FORWARD) continue;
        shown++;
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "  ");
        qs_rich_add(r, QS_PEN(STRONG), f->key);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "    %s", f->note);
    }
    if (shown < a->forward) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(DIM), "  and %u more", a->forward - shown);
    }
}

static void add_own_code(qs_rich *r, const qs_verdict *v) {
    uint32_t n = 0;
    for (size_t i = 0; i < qs_verdict_count(v); i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        if (f->kind != QS_FIND_OWN_CODE || n++ >= FORWARD_SHOWN) continue;
        qs_rich_line(r);
        if (n == 1) {
            qs_rich_line(r);
            qs_rich_addf(r, QS_PEN(LETTER), "as far as torch's and torchvision's code goes: ");
            qs_rich_line(r);
        }
        qs_rich_addf(r, QS_PEN(NORMAL), "  ");
        qs_rich_add(r, QS_PEN(STRONG), f->key.n ? f->key : QS_STR("the model itself"));
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "    %s", f->note);
    }
}

void qs_message_open(qs_app *a) {
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_rich *r = &a->text.text;
    qs_buf message = {0};
    if (!v)
        return qs_app_say(
            a, "there is no model to compare with; B opens a checkpoint that loads, :open-model a manifest");
    if (!qs_verdict_message(v, &message) || message.failed) {
        qs_buf_free(&message);
        return qs_app_complain(a, "out of memory");
    }
    int torch = qs_verdict_torch(v);
    qs_rich_clear(r);
    qs_rich_addf(r, QS_PEN(DIM),
                 "What load_state_dict(strict=True) of torch %d.%d says to A with the plan:", torch / 100,
                 torch % 100);
    qs_rich_line(r);
    if (message.n == 0) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(YES), " <All keys matched successfully> ");
    } else {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NO), " RuntimeError: ");
        qs_rich_add_lines(r, QS_PEN(NORMAL), qs_buf_str(&message));
    }
    if (a->versions[0]) {
        qs_rich_line(r);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(LETTER), "torch versions differ: ");
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", a->versions);
    }
    add_forward(r, a, v);
    add_own_code(r, v);
    if (a->diagnosis && a->diagnosis->evidence[0]) {
        qs_rich_line(r);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(STRONG), "%s", a->diagnosis->sentence);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", a->diagnosis->evidence);
    }
    qs_buf_free(&message);
    qs_text_open(a, qs_verdict_loads(v) ? "would load: YES" : "would load: NO", 2);
}
