#include "ui/list.h"

static size_t rows(const qs_list *l) {
    return l->height ? l->height : 1;
}

static void show_cursor(qs_list *l) {
    if (l->cursor >= l->count) l->cursor = l->count ? l->count - 1 : 0;
    if (l->cursor < l->top) l->top = l->cursor;
    if (l->cursor - l->top >= rows(l)) l->top = l->cursor - rows(l) + 1;
    size_t last = l->count > rows(l) ? l->count - rows(l) : 0;
    if (l->top > last) l->top = last; /* no empty rows below while there are items above */
}

void qs_list_resize(qs_list *l, size_t count, size_t height) {
    l->count = count;
    l->height = height;
    show_cursor(l);
}

static size_t moved(size_t from, long n, size_t count) {
    if (count == 0) return 0;
    if (n < 0) {
        size_t up = (size_t)-n;
        return from > up ? from - up : 0;
    }
    size_t left = count - 1 - from;
    return (size_t)n < left ? from + (size_t)n : count - 1;
}

void qs_list_move(qs_list *l, long n) {
    l->cursor = moved(l->cursor, n, l->count);
    show_cursor(l);
}

void qs_list_page(qs_list *l, long halves) {
    long step = (long)(rows(l) > 2 ? rows(l) / 2 : 1) * halves;
    size_t last = l->count > rows(l) ? l->count - rows(l) : 0;
    l->top = moved(l->top, step, last + 1);
    qs_list_move(l, step);
}

void qs_list_goto(qs_list *l, size_t i) {
    l->cursor = i;
    show_cursor(l);
}

void qs_list_reveal(qs_list *l, size_t i) {
    if (i < l->top || i >= l->top + rows(l)) l->top = i > rows(l) / 3 ? i - rows(l) / 3 : 0;
    qs_list_goto(l, i);
}

void qs_list_scroll(qs_list *l, long n) {
    size_t last = l->count > rows(l) ? l->count - rows(l) : 0;
    l->top = moved(l->top, n, last + 1);
    if (l->cursor < l->top) l->cursor = l->top;
    if (l->cursor - l->top >= rows(l)) l->cursor = l->top + rows(l) - 1;
    show_cursor(l);
}

bool qs_list_at(const qs_list *l, int row, size_t *i) {
    if (row < 0 || (size_t)row >= l->height || l->top + (size_t)row >= l->count) return false;
    *i = l->top + (size_t)row;
    return true;
}
