/* What a file may ask of us before it is refused (torch-files.md, section 5). Whoever trusts a file raises
 * the limit that its refusal names. */
#ifndef QS_BASE_LIMITS_H
#define QS_BASE_LIMITS_H

#include "base/err.h"
#include "base/limits.def"

typedef struct qs_limits {
#define QS_LIMIT_FIELD_(id, field, name, standard, most, what) uint64_t field;
    QS_LIMITS(QS_LIMIT_FIELD_)
#undef QS_LIMIT_FIELD_
    const qs_progress
        *progress; /* not a size but somebody's patience: asked while a pickle is read; may be NULL */
} qs_limits;

typedef enum qs_limit_id {
#define QS_LIMIT_ID_(id, field, name, standard, most, what) QS_LIMIT_##id,
    QS_LIMITS(QS_LIMIT_ID_)
#undef QS_LIMIT_ID_
        QS_LIMIT_COUNT
} qs_limit_id;

#define QS_LIMIT_STANDARD_(id, field, name, standard, most, what) .field = (standard),
#define QS_LIMITS_DEFAULT                                         ((qs_limits){QS_LIMITS(QS_LIMIT_STANDARD_)})
/* As far as each can be raised: for what we wrote ourselves. */
#define QS_LIMIT_MOST_(id, field, name, standard, most, what) .field = (most),
#define QS_LIMITS_MOST                                        ((qs_limits){QS_LIMITS(QS_LIMIT_MOST_)})

typedef struct qs_limit_info {
    const char *name; /* "pickle-ops" */
    const char *what; /* what it counts, in the plural */
    uint64_t standard, most;
} qs_limit_info;
const qs_limit_info *qs_limit_get(qs_limit_id id);
/* QS_LIMIT_COUNT if there is none of that name. */
qs_limit_id qs_limit_find(const char *name, size_t n);
uint64_t qs_limit_value(const qs_limits *l, qs_limit_id id);
void qs_limit_set(qs_limits *l, qs_limit_id id, uint64_t value);

/* Sets QS_E_LIMIT: "WHO: 12 zip entries, the limit is 10; if you trust the file, --limit zip-entries=12 lets
 * it pass". `got` is 0 where it is not known how many there are. `record` and `offset` as in qs_err_set.
 * False. */
#define qs_over_limit(e, l, id, who, got) qs_over_limit_at(e, l, id, who, got, NULL, QS_ERR_NO_OFFSET)
#define qs_over_limit_at(e, l, id, who, got, record, offset)                                                 \
    (qs_limit_fail((e), (l), (id), (who), (got), (record), (offset)), qs_false())
void qs_limit_fail(qs_err *e, const qs_limits *l, qs_limit_id id, const char *who, uint64_t got,
                   const char *record, uint64_t offset);

#endif
