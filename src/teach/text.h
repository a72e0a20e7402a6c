/* Text helpers of explanations and lessons. */
#ifndef QS_TEACH_TEXT_H
#define QS_TEACH_TEXT_H

#include "base/str.h"

/* Appends `text` wrapped at width columns, the first line after `first`, the others after `rest` (both
 * count). Line feeds in the text stay. Every character counts as one column. */
void qs_wrap(qs_str text, const char *first, const char *rest, unsigned width, qs_buf *out);

/* Does the pattern take all of s? * is any run of characters, everything else is itself. */
bool qs_glob(qs_str pattern, qs_str s);

/* The next word of a list between blanks, *list moved behind it; empty at the end. */
qs_str qs_next_word(const char **list);

/* Without the blanks, tabs and carriage returns at both ends. */
qs_str qs_trim(qs_str s);

#endif
