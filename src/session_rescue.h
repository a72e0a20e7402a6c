/* What a lost session leaves behind: its plan, in $XDG_STATE_HOME/qatscope (or ~/.local/state/qatscope),
 * under a name that follows from A's path. */
#ifndef QS_SESSION_RESCUE_H
#define QS_SESSION_RESCUE_H

#include "session.h"

enum { QS_RESCUE_PATH_MAX = 4096 };

/* Saves the plan there; out (QS_RESCUE_PATH_MAX bytes) receives the path. */
bool qs_session_rescue(qs_session *s, char *out, qs_err *e);
/* Whether a lost session on this A left a plan; out receives its path. */
bool qs_session_rescued(const qs_session *s, char *out);
/* Forget it: it was loaded, or is not wanted. */
void qs_session_rescue_forget(const qs_session *s);

#endif
