#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    qs_limit_info info;
    size_t at; /* of the field */
} table[QS_LIMIT_COUNT] = {
#define ROW(id, field, name, standard, most, what) {{name, what, standard, most}, offsetof(qs_limits, field)},
    QS_LIMITS(ROW)
#undef ROW
};

const qs_limit_info *qs_limit_get(qs_limit_id id) {
    return &table[id].info;
}

qs_limit_id qs_limit_find(const char *name, size_t n) {
    int i = 0;
    while (i < QS_LIMIT_COUNT &&
           (strlen(table[i].info.name) != n || memcmp(table[i].info.name, name, n) != 0))
        i++;
    return (qs_limit_id)i;
}

uint64_t qs_limit_value(const qs_limits *l, qs_limit_id id) {
    uint64_t v;
    memcpy(&v, (const char *)l + table[id].at, sizeof v);
    return v;
}

void qs_limit_set(qs_limits *l, qs_limit_id id, uint64_t value) {
    memcpy((char *)l + table[id].at, &value, sizeof value);
}

/* What to type, or that nothing helps. */
static void remedy(const qs_limit_info *x, uint64_t wanted, char *out, size_t cap) {
    if (wanted <= x->most)
        snprintf(out, cap, "if you trust the file, --limit %s=%" PRIu64 " lets it pass", x->name, wanted);
    else
        snprintf(out, cap, "--limit %s goes up to %" PRIu64, x->name, x->most);
}

void qs_limit_fail(qs_err *e, const qs_limits *l, qs_limit_id id, const char *who, uint64_t got,
                   const char *record, uint64_t offset) {
    const qs_limit_info *x = &table[id].info;
    uint64_t limit = qs_limit_value(l, id);
    char help[128];
    /* How many there are is not known before they are read: twice as many, but no more than there can be. */
    uint64_t guess = limit < x->most / 2 || limit >= x->most ? limit * 2 : x->most;
    remedy(x, got ? got : guess, help, sizeof help);
    if (got)
        qs_err_set(e, QS_E_LIMIT, 0, record, offset, "%s: %" PRIu64 " %s, the limit is %" PRIu64 "; %s", who,
                   got, x->what, limit, help);
    else
        qs_err_set(e, QS_E_LIMIT, 0, record, offset, "%s: more than %" PRIu64 " %s; %s", who, limit, x->what,
                   help);
}
