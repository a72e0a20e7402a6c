/* Any bytes as a lesson. What is accepted has a title, pages with text, and questions with answers. */
#include "teach/lesson.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_lesson *l = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_lesson_parse((const char *)data, size, "fuzz", &l, &e)) {
        if (e.code == QS_OK || l || !strstr(e.msg, "lesson fuzz, line ")) abort();
        return 0;
    }
    if (!*qs_lesson_title(l) || qs_lesson_pages(l) == 0) abort();
    for (size_t i = 0; i < qs_lesson_pages(l); i++) {
        qs_lesson_page p;
        if (!qs_lesson_page_at(l, i, &p) || !*p.title || (p.hints && !p.asks)) abort();
        for (size_t k = 0; k < p.press_count; k++)
            if (p.press[k].command.n == 0) abort();
    }
    qs_lesson_free(l);
    return 0;
}
