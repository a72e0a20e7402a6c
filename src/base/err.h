/* Errors as values. Every function of the core that can fail returns bool (or NULL) and fills a qs_err
 * the caller passed in. It is untouched on success, and the first error wins: filling a set error is a
 * no-op, so clean-up code may call failing functions without hiding the cause. */
#ifndef QS_BASE_ERR_H
#define QS_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum qs_code {
    QS_OK = 0,
    QS_E_USAGE, /* the caller (a person at the command line) asked for something that makes no sense */
    QS_E_INPUT, /* a file is not what it should be: missing, unreadable, broken, hostile */
    QS_E_LIMIT, /* a file exceeds a qs_limits value (the message names the flag that raises it), or 2^32 */
    QS_E_UNSUPPORTED, /* a file is what it claims to be, but qatscope cannot read or write that kind */
    QS_E_REFUSED,     /* the request is well formed, but carrying it out would lose or corrupt something */
    QS_E_IO,          /* reading or writing failed at the operating system; sys_errno says how */
    QS_E_NOMEM,
    QS_E_CANCELLED, /* a progress callback returned false */
} qs_code;

#define QS_ERR_NO_OFFSET UINT64_MAX

typedef struct qs_err {
    qs_code code;
    int sys_errno;    /* errno of the failing call, 0 if none */
    uint64_t offset;  /* byte offset the message speaks of, QS_ERR_NO_OFFSET if none */
    char record[128]; /* record of the file `offset` counts in ("data.pkl"), "" for the file itself */
    char msg[512];    /* one line, no newline: what is wrong and what to do */
} qs_err;

#define QS_ERR_INIT                                                                                          \
    { .offset = QS_ERR_NO_OFFSET }

/* Each of these sets *e if it is not set yet and is false, so that call sites read `return qs_fail(...)`.
 * They are macros around a void function so that the compiler sees the false: a caller that returned early
 * needs no value in its out parameters, and gcc would warn about them otherwise. */
#define qs_fail(e, code, ...) (qs_err_set((e), (code), 0, NULL, QS_ERR_NO_OFFSET, __VA_ARGS__), qs_false())
#define qs_fail_errno(e, code, no, ...)                                                                      \
    (qs_err_set((e), (code), (no), NULL, QS_ERR_NO_OFFSET, __VA_ARGS__), qs_false())
#define qs_fail_at(e, code, rec, off, ...) (qs_err_set((e), (code), 0, (rec), (off), __VA_ARGS__), qs_false())
#define qs_nomem(e)                        qs_fail((e), QS_E_NOMEM, "out of memory")
void qs_err_set(qs_err *e, qs_code code, int sys_errno, const char *record, uint64_t offset, const char *fmt,
                ...) __attribute__((format(printf, 6, 7)));
static inline bool qs_false(void) {
    return false;
}

/* Put "CONTEXT: " before the message of a set error (a file name, usually). */
void qs_err_prefix(qs_err *e, const char *context);

/* Exit status of the command line for an error: 2 usage, 3 bad input, 4 I/O (architecture.md). */
int qs_err_exit_code(const qs_err *e);

/* Progress of long work; false cancels, the work then fails with QS_E_CANCELLED and leaves nothing behind. */
typedef bool (*qs_progress_fn)(void *ctx, uint64_t done, uint64_t total);
typedef struct qs_progress {
    qs_progress_fn fn; /* may be NULL */
    void *ctx;
} qs_progress;

/* Report; false (and *e filled) when cancelled. `p` may be NULL. */
bool qs_progress_step(const qs_progress *p, uint64_t done, uint64_t total, qs_err *e);

#endif
