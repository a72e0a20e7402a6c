#include "cli/reading.h"

#include <string.h>
#include <time.h>

static const double patience = 0.5, often = 0.2;

static double now_seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void say(qs_reading *r, const char *text) {
    size_t n = strlen(text), blanks = r->width > n ? r->width - n : 0;
    fprintf(r->out, "\r%s%*s\r", text, (int)blanks, "");
    fflush(r->out);
    r->width = n;
}

/* The work comes in parts, each counted from 0 in what it is about: bytes of a pickle, its objects, entries,
 * steps. */
static bool on_progress(void *ctx, uint64_t done, uint64_t total) {
    qs_reading *r = ctx;
    if (!r->out || r->over) return true;
    double now = now_seconds();
    if (done < r->last) {
        r->begun = now;
        r->part++;
    }
    r->last = done;
    if (now - r->start < patience || now - r->told < often) return true;
    r->told = now;
    char text[80];
    double rate = now > r->begun ? (double)done / (now - r->begun) : 0;
    if (rate > 0 && total > done)
        snprintf(text, sizeof text, "reading, part %d: %.0f %%  %.1f M/s  %.0f s left   ^C leaves", r->part,
                 100.0 * (double)done / (double)total, rate / 1e6, (double)(total - done) / rate);
    else
        snprintf(text, sizeof text, "reading, part %d   ^C leaves", r->part);
    say(r, text);
    return true;
}

void qs_reading_begin(qs_reading *r, FILE *out) {
    double now = now_seconds();
    *r = (qs_reading){.progress = {on_progress, r}, .out = out, .start = now, .begun = now, .part = 1};
}

void qs_reading_end(qs_reading *r) {
    if (r->width) say(r, "");
    r->over = true;
}
