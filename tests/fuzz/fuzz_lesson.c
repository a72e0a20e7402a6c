/* Any bytes as a lesson. What is accepted has a title, pages with text, and questions with answers; every
 * page is worked out for an open file, and what cannot be says in which line. */
#include "teach/lesson.h"
#include "ui_fixture.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static qs_session *files; /* kept from one input to the next: nothing changes them */

static void told(bool ok, const qs_err *e) {
    if (!ok && e->code != QS_E_NOMEM && !strstr(e->msg, "lesson fuzz, line ")) abort();
}

static void work_out(const qs_lesson *l, size_t page, const qs_lesson_page *p) {
    static const qs_lesson_part parts[] = {QS_LESSON_BODY, QS_LESSON_QUESTION, QS_LESSON_HINT};
    qs_lesson_subject s = {qs_session_compare(files), qs_session_resolution(files),
                           qs_session_verdict(files)};
    qs_buf out = {0};
    for (int i = 0; i < 3; i++) {
        qs_err e = QS_ERR_INIT;
        told(qs_lesson_text(l, page, parts[i], &s, 40, &out, &e), &e);
    }
    qs_err e = QS_ERR_INIT, e2 = QS_ERR_INIT, e3 = QS_ERR_INIT;
    bool right = false;
    if (p->asks) told(qs_lesson_answer(l, page, &s, &out, &e), &e);
    if (p->asks) told(qs_lesson_check(l, page, &s, QS_STR("7"), &right, &e2), &e2);
    qs_arena arena = {0};
    qs_str *globs;
    size_t n;
    told(qs_lesson_shows(l, page, &s, &arena, &globs, &n, &e3), &e3);
    qs_arena_free(&arena);
    qs_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_lesson *l = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_lesson_parse((const char *)data, size, "fuzz", &l, &e)) {
        if (e.code == QS_OK || l || !strstr(e.msg, "lesson fuzz, line ")) abort();
        return 0;
    }
    qs_err opening = QS_ERR_INIT;
    if (!files && !(files = ui_session("float.pt", "qat.pt", "model.json", &opening))) abort();
    if (!*qs_lesson_title(l) || qs_lesson_pages(l) == 0) abort();
    for (size_t i = 0; i < qs_lesson_pages(l); i++) {
        qs_lesson_page p;
        if (!qs_lesson_page_at(l, i, &p) || !*p.title || (p.hints && !p.asks)) abort();
        for (size_t k = 0; k < p.press_count; k++)
            if (p.press[k].command.n == 0) abort();
        if (i < 8) work_out(l, i, &p);
    }
    qs_lesson_free(l);
    return 0;
}
