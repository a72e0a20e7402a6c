#include "ui/app_impl.h"

#include "session_preview.h"

void qs_python_open(qs_app *a) {
    qs_buf code = {0};
    qs_err e = QS_ERR_INIT;
    qs_rich *r = &a->text.text;
    if (!qs_session_python(a->s, false, &code, &e)) {
        qs_app_fail(a, &e);
    } else {
        qs_rich_clear(r);
        for (qs_str rest = qs_buf_str(&code); rest.n;) {
            size_t end = qs_str_find(rest, QS_STR("\n"));
            if (end == SIZE_MAX) end = rest.n;
            qs_str line = qs_str_sub(rest, 0, end);
            qs_rich_line(r);
            qs_rich_add(r, line.n && line.p[0] == '#' ? QS_PEN(DIM) : QS_PEN(NORMAL), line);
            rest = qs_str_sub(rest, end + 1, rest.n);
        }
        qs_text_open(a, "the plan as Python", 4);
    }
    qs_buf_free(&code);
}
