/* A scrolling list with a cursor: arithmetic only, no items. */
#ifndef QS_UI_LIST_H
#define QS_UI_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct qs_list {
    size_t count;
    size_t cursor; /* < count, or 0 when empty */
    size_t top;    /* first item shown */
    size_t height; /* rows to show items in; 0 is allowed */
} qs_list;

/* The numbers of items and of rows have changed. */
void qs_list_resize(qs_list *l, size_t count, size_t height);
/* Move by n items (negative: up); the cursor stays on the screen. */
void qs_list_move(qs_list *l, long n);
void qs_list_page(qs_list *l, long halves); /* by half screens */
void qs_list_goto(qs_list *l, size_t i);
/* As goto, but a jump far away shows the item with rows around it. */
void qs_list_reveal(qs_list *l, size_t i);
/* Scroll without moving the cursor more than needed to stay visible (the mouse wheel). */
void qs_list_scroll(qs_list *l, long n);
/* Item at a row of the screen; false if there is none. */
bool qs_list_at(const qs_list *l, int row, size_t *i);

#endif
