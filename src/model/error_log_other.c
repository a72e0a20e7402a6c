/* Failures around loading that print no lists of keys. */
#include "model/error_log_internal.h"

static const struct {
    const char *phrase, *what, *advice;
} others[] = {
#define QS_LOG_OTHER(phrase, what, advice) {phrase, what, advice},
#include "model/log_other.def"
#undef QS_LOG_OTHER
};
enum { OTHERS = sizeof others / sizeof *others };

uint64_t qs_log_count_lines(const char *p, size_t n) {
    uint64_t lines = 0;
    for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) lines++;
    return lines;
}

/* Where the phrase stands last in s, or SIZE_MAX. */
static size_t find_last(qs_str s, qs_str phrase) {
    size_t last = SIZE_MAX;
    for (size_t at = 0;;) {
        size_t hit = qs_str_find(qs_str_sub(s, at, s.n), phrase);
        if (hit == SIZE_MAX) return last;
        last = at + hit;
        at = last + 1;
    }
}

static void look(qs_log_others *o, qs_str s) {
    size_t best = SIZE_MAX;
    for (int i = 0; i < OTHERS; i++) {
        size_t at = find_last(s, qs_str_of(others[i].phrase));
        if (at == SIZE_MAX || (best != SIZE_MAX && at < best)) continue;
        best = at;
        o->found = i + 1;
        o->line = o->lines + qs_log_count_lines(s.p, at) + 1;
    }
}

/* What may be the beginning of a phrase is looked at again with what follows. */
bool qs_log_others_feed(qs_log_others *o, const char *p, size_t n) {
    qs_buf_add(&o->text, (qs_str){p, n});
    if (o->text.failed) return false;
    look(o, qs_buf_str(&o->text));
    size_t keep = o->text.n < QS_LOG_OTHER_MAX ? o->text.n : QS_LOG_OTHER_MAX, gone = o->text.n - keep;
    o->lines += qs_log_count_lines(o->text.p, gone);
    memmove(o->text.p, o->text.p + gone, keep);
    o->text.n = keep;
    return true;
}

bool qs_log_others_fail(const qs_log_others *o, qs_err *e) {
    if (!o->found) return true;
    return qs_fail(e, QS_E_INPUT, "no load_state_dict error in this log, but in line %llu \"%s\": %s; %s",
                   (unsigned long long)o->line, others[o->found - 1].phrase, others[o->found - 1].what,
                   others[o->found - 1].advice);
}
