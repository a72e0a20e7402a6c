/* Settings from strangers: whatever the bytes, every line is taken over or complained about, and what came of
 * them prints and reads back to itself. */
#include "ui/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const qs_config *c, qs_buf *out) {
    qs_config_print_keymap(c, out);
    qs_config_print_theme(c, out);
    if (out->failed) abort();
}

static void expect_same(const qs_config *a, const qs_config *b) {
    for (size_t i = 0; i < a->keymap.n; i++)
        for (unsigned ctx = 1; ctx <= QS_CTX_LAST_; ctx <<= 1)
            if (qs_keymap_find(&a->keymap, (qs_context)ctx, a->keymap.v[i].key) !=
                qs_keymap_find(&b->keymap, (qs_context)ctx, a->keymap.v[i].key))
                abort();
    for (int p = 0; p < QS_PALETTE_COUNT; p++)
        for (int i = 0; i < QS_PAINT_COUNT * 2; i++) {
            qs_style x = a->theme[a->start].style[p][i / 2][i % 2],
                     y = b->theme[a->start].style[p][i / 2][i % 2];
            if (x.fg != y.fg || x.bg != y.bg || x.attrs != y.attrs) abort();
        }
    if (a->start != b->start) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_config c, again;
    qs_buf text = {0};
    qs_config_init(&c);
    qs_config_init(&again);
    qs_config_parse(&c, "settings", (qs_str){(const char *)data, size});
    for (size_t i = 0; i < c.complaints.n; i++)
        if (((unsigned char)c.complaints.p[i] < ' ' && c.complaints.p[i] != '\n') ||
            c.complaints.p[i] == 0x7f)
            abort();
    if (size % 4) goto done; /* printing takes a hundred times as long as reading */
    print(&c, &text);
    qs_config_parse(&again, "printed", qs_buf_str(&text));
    if (again.complaint_count) abort();
    expect_same(&c, &again);
    expect_same(&again, &c);
done:
    qs_buf_free(&text);
    qs_config_free(&c);
    qs_config_free(&again);
    return 0;
}
