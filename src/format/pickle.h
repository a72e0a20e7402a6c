/* The pickle machine: reads protocols 0 to 5 into an object graph, executes nothing. */
#ifndef QS_FORMAT_PICKLE_H
#define QS_FORMAT_PICKLE_H

#include "format/object.h"

/* Reads one pickle from data[0..n). `record` names the bytes in messages ("data.pkl"). The graph keeps
 * borrowed views into `data`, which must outlive it. Errors carry the byte offset of the opcode: QS_E_INPUT
 * for what Python's unpickler would reject too, QS_E_LIMIT for a qs_limits value exceeded. */
bool qs_pickle_read(const void *data, size_t n, const char *record, const qs_limits *limits, qs_graph **out,
                    qs_err *e);

/* As far as Python would get, for an audit: what Python goes on after though no checkpoint has it is passed
 * over (None may stand in for a value), and the graph is of all that was made until the pickle ended or broke
 * off at qs_graph_end(). *why stays QS_OK if it ended; QS_E_INPUT: Python stops there as well; QS_E_LIMIT and
 * QS_E_UNSUPPORTED: it may not. Such a graph may have no root, and is not for saving. False when memory is
 * out. */
bool qs_pickle_follow(const void *data, size_t n, const char *record, const qs_limits *limits, qs_graph **out,
                      qs_err *why);

#endif
