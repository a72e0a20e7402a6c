/* Key sequences that the description of the terminal does not name: cursor keys in the other mode, keys with
 * Shift, Alt or Ctrl held. Taken apart into characters they would be commands that nobody pressed. */
#ifndef QS_UI_ESCAPE_H
#define QS_UI_ESCAPE_H

#include "ui/event.h"

enum { QS_ESCAPE_MAX = 24 };

typedef enum qs_escape {
    QS_ESCAPE_NO,   /* what follows the ESC begins no sequence */
    QS_ESCAPE_MORE, /* so far it may be one */
    QS_ESCAPE_KEY,  /* whole */
} qs_escape;

/* What came after an ESC. *key is of a whole sequence: 0 if it means nothing here. */
qs_escape qs_escape_read(qs_str seq, uint32_t *key);

#endif
