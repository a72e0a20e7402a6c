/* A line on the terminal while documents are opened that the screen is not there for yet: how far, how fast,
 * how long still. Only where that takes more than half a second. ^C leaves; keys typed meanwhile wait for the
 * screen. */
#ifndef QS_CLI_READING_H
#define QS_CLI_READING_H

#include "base/err.h"

#include <stdio.h>

typedef struct qs_reading {
    qs_progress progress; /* for qs_limits: must not move or end before whoever has it */
    FILE *out;
    bool over;
    double start, told; /* seconds */
    double begun;       /* the part of the work that is counted now */
    int part;           /* its number, from 1 */
    uint64_t last;      /* done of it, when last asked */
    size_t width;       /* of the line that is there, 0: none */
} qs_reading;

/* `out` is a terminal, or NULL to say nothing. */
void qs_reading_begin(qs_reading *r, FILE *out);
/* Takes the line away; nothing is said from then on. */
void qs_reading_end(qs_reading *r);

#endif
