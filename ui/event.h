/* What happens to the explorer: keys, the mouse, a paste, another size, the end of the terminal. */
#ifndef QS_UI_EVENT_H
#define QS_UI_EVENT_H

#include "base/str.h"

/* Keys are code points; those that are no character follow the last code point. Control characters are
 * themselves (^R is 18), except those that have a key of their own. */
enum {
    QS_KEY_FIRST_NAMED_ = 0x110000,
#define QS_KEY(NAME, name) QS_KEY_##NAME,
#include "ui/key.def"
#undef QS_KEY
    QS_KEY_END_
};
#define QS_CTRL(c) ((uint32_t)(c)&0x1fu)

/* "j", "^R", "PgDn", "Space"; 0 if it is no key. */
uint32_t qs_key_parse(qs_str name);
/* The other way. */
size_t qs_key_print(uint32_t key, char *out, size_t cap);

typedef enum qs_event_kind {
    QS_EVENT_NONE,
    QS_EVENT_KEY,
    QS_EVENT_MOUSE,
    QS_EVENT_PASTE,
    QS_EVENT_RESIZE,
    QS_EVENT_IDLE,   /* no key is waiting: time for what is nice to have */
    QS_EVENT_HANGUP, /* the terminal is gone, or we are asked to end */
} qs_event_kind;

typedef enum qs_mouse { QS_MOUSE_CLICK, QS_MOUSE_DOUBLE, QS_MOUSE_WHEEL_UP, QS_MOUSE_WHEEL_DOWN } qs_mouse;

typedef struct qs_event {
    qs_event_kind kind;
    uint32_t key;   /* KEY */
    qs_mouse mouse; /* MOUSE, at x, y */
    int x, y;       /* RESIZE: width, height */
    bool hasty;  /* KEY, the wheel: the one before it came just now, as those of a key that is held down do */
    qs_str text; /* PASTE; borrowed until the next event */
} qs_event;

#endif
