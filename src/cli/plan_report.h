/* What a plan did to a checkpoint, action by action, and what of it did not apply: for `apply` and `plan`. */
#ifndef QS_CLI_PLAN_REPORT_H
#define QS_CLI_PLAN_REPORT_H

#include "session.h"

/* Keys and actions of the session's plan that did not apply; what merely could not be made does not count.
 * The session is lenient. */
size_t qs_plan_report_failed(const qs_session *s);
/* Lines on stdout: each action, how many keys it touched, and every key it could not do. */
void qs_plan_report_print(const qs_session *s);
/* A JSON list: [{"op": "rename", "touched": 3, "failed": [{"key": K, "why": "..."}], "left_out": [...]},
 * ...]; a key of null is about all of the action. */
void qs_plan_report_json(const qs_session *s, qs_buf *out);

#endif
