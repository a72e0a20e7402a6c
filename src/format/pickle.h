/* The pickle machine: reads protocols 0 to 5 into an object graph, executes nothing. */
#ifndef QS_FORMAT_PICKLE_H
#define QS_FORMAT_PICKLE_H

#include "format/object.h"

/* Reads one pickle from data[0..n). `record` names the bytes in messages ("data.pkl"). The graph keeps
 * borrowed views into `data`, which must outlive it. Errors carry the byte offset of the opcode: QS_E_INPUT
 * for what Python's unpickler would reject too, QS_E_LIMIT for a qs_limits value exceeded. */
bool qs_pickle_read(const void *data, size_t n, const char *record, const qs_limits *limits, qs_graph **out,
                    qs_err *e);

#endif
