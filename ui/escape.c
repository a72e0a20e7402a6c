#include "ui/escape.h"

/* "[3~" and its like, by their number. */
static const struct {
    uint8_t number;
    uint32_t key;
} numbered[] = {{1, QS_KEY_HOME},    {2, QS_KEY_INSERT},    {3, QS_KEY_DELETE}, {4, QS_KEY_END},
                {5, QS_KEY_PAGE_UP}, {6, QS_KEY_PAGE_DOWN}, {7, QS_KEY_HOME},   {8, QS_KEY_END},
                {11, QS_KEY_F1},     {12, QS_KEY_F2},       {13, QS_KEY_F3},    {14, QS_KEY_F4},
                {15, QS_KEY_F5},     {17, QS_KEY_F6},       {18, QS_KEY_F7},    {19, QS_KEY_F8},
                {20, QS_KEY_F9},     {21, QS_KEY_F10},      {23, QS_KEY_F11},   {24, QS_KEY_F12}};

static uint32_t by_number(qs_str digits) {
    unsigned n = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9' || n > 24) return 0; /* with a modifier */
        n = n * 10 + (unsigned)(digits.p[i] - '0');
    }
    for (size_t i = 0; i < sizeof numbered / sizeof *numbered; i++)
        if (numbered[i].number == n) return numbered[i].key;
    return 0;
}

static uint32_t by_letter(char c) {
    switch (c) {
    case 'A': return QS_KEY_UP;
    case 'B': return QS_KEY_DOWN;
    case 'C': return QS_KEY_RIGHT;
    case 'D': return QS_KEY_LEFT;
    case 'H': return QS_KEY_HOME;
    case 'F': return QS_KEY_END;
    case 'M': return QS_KEY_ENTER;
    case 'P': return QS_KEY_F1;
    case 'Q': return QS_KEY_F2;
    case 'R': return QS_KEY_F3;
    case 'S': return QS_KEY_F4;
    case 'Z': return QS_KEY_BACKTAB;
    default: return 0;
    }
}

qs_escape qs_escape_read(qs_str seq, uint32_t *key) {
    *key = 0;
    if (seq.n == 0) return QS_ESCAPE_MORE;
    if (seq.p[0] != '[' && seq.p[0] != 'O') return QS_ESCAPE_NO;
    if (seq.n == 1) return QS_ESCAPE_MORE;
    char last = seq.p[seq.n - 1];
    if (last >= 0x20 && last < 0x40) return seq.n < QS_ESCAPE_MAX ? QS_ESCAPE_MORE : QS_ESCAPE_NO;
    if (last < 0x40 || last == 0x7f) return QS_ESCAPE_NO;
    if (seq.n == 2)
        *key = by_letter(last);
    else if (last == '~' && seq.p[0] == '[')
        *key = by_number(qs_str_sub(seq, 1, seq.n - 1));
    return QS_ESCAPE_KEY;
}
