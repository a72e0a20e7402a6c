/* Searching keys: a regular expression or, where the text is none, the text itself. */
#ifndef QS_SESSION_SEARCH_H
#define QS_SESSION_SEARCH_H

#include "base/err.h"
#include "base/str.h"

typedef struct qs_search qs_search;

/* "~abc": these letters in this order, whatever is between them. A text without upper-case letters ignores
 * case. What does not compile as a regular expression is searched as plain text: keys of some frameworks are
 * full of brackets. NULL when memory is out. */
qs_search *qs_search_new(qs_str pattern);
void qs_search_free(qs_search *s);
qs_str qs_search_text(const qs_search *s);   /* as given */
bool qs_search_is_plain(const qs_search *s); /* it was no regular expression */
/* First match in text; begin and end may be NULL. Bounded: a pattern that needs too many steps does not
 * match. */
bool qs_search_match(const qs_search *s, qs_str text, size_t *begin, size_t *end);

#endif
