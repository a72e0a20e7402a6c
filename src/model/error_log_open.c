/* Finding the report in a log of any length: the text is streamed, and kept only from the beginning of the
 * last report on. */
#include "model/error_log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 256 << 10, HEAD = 1 << 10, LOOK = 1 << 20 };

typedef struct finder {
    const qs_limits *limits;
    qs_buf text;           /* from the report's beginning, or what may still become a phrase */
    size_t scanned;        /* of text */
    bool mid_line;         /* text[0] does not begin a line */
    int open;              /* how strongly the report at text[0] was announced; 0: there is none */
    bool cut;              /* the report's beginning is lost, or it is longer than the limit */
    size_t look_at;        /* length of the text at which the report may be over */
    uint64_t offset, line; /* of text[0] in the log; lines from 0 */
    uint64_t report_offset, report_line;
    qs_buf head; /* of the line that the report begins in; at most HEAD bytes, or it is not kept */
    qs_log_decoder decoder;
    qs_error_log *best;
    bool matched_later;
    qs_log_others others;
    qs_err *err;
} finder;

static bool says_something(const qs_error_log *log) {
    return log->missing.n || log->unexpected.n || log->mismatches.n;
}

static size_t weight(const qs_error_log *log) {
    return log->missing.n + log->unexpected.n + log->mismatches.n;
}

/* Does the later report replace the earlier? Not if it is only a shortened repetition of it. */
static bool supersedes(const qs_error_log *later, const qs_error_log *earlier) {
    if (!says_something(later)) return false;
    if (earlier && later->form == QS_LOG_FORM_WARNING && earlier->form != QS_LOG_FORM_WARNING) return false;
    if (!earlier || !later->truncated || earlier->truncated) return true;
    bool same_model = later->model.n == 0 || qs_str_eq(later->model, earlier->model);
    return !same_model || weight(later) >= weight(earlier);
}

/* The report is over; it is closed here, or kept. */
static void take_report(finder *f, qs_error_log *log) {
    f->open = 0;
    log->truncated |= f->cut;
    log->offset = f->report_offset;
    log->line = f->report_line + 1;
    if (log->form == QS_LOG_FORM_MATCHED) {
        f->matched_later = true;
        if (f->best) f->best->matched_later = true;
    }
    if (supersedes(log, f->best)) {
        qs_error_log_close(f->best);
        f->best = log;
        f->matched_later = false;
    } else {
        qs_error_log_close(log);
    }
}

static bool read_open(finder *f, size_t end, qs_error_log **log, size_t *rest) {
    return qs_log_read_report(qs_buf_str(&f->head), (qs_str){f->text.p, end}, f->limits, log, rest, f->err);
}

static bool end_report(finder *f, size_t end) {
    qs_error_log *log = NULL;
    size_t rest = 0;
    if (!f->open) return true;
    if (!read_open(f, end, &log, &rest)) return false;
    take_report(f, log);
    return true;
}

/* A log that goes on for long after a report is not kept: the report is over when so much else followed it.
 * Looked at each time the text has doubled. */
static bool end_if_over(finder *f) {
    qs_error_log *log = NULL;
    size_t rest = 0;
    if (!f->open || f->text.n < f->look_at) return true;
    if (!read_open(f, f->scanned, &log, &rest)) return false;
    f->look_at = 2 * f->text.n;
    if (rest >= f->text.n / 2)
        take_report(f, log);
    else
        qs_error_log_close(log);
    return true;
}

/* Throw the first n bytes of the text away. */
static void forget(finder *f, size_t n) {
    f->line += qs_log_count_lines(f->text.p, n);
    f->offset += n;
    if (n) f->mid_line = f->text.p[n - 1] != '\n';
    f->text.n -= n;
    memmove(f->text.p, f->text.p + n, f->text.n);
    f->scanned = f->scanned > n ? f->scanned - n : 0;
}

/* Where the line of text[at] begins; `at` itself if that is too far back. */
static size_t line_start(const finder *f, size_t at) {
    size_t i = at;
    while (i > 0 && at - i < HEAD && f->text.p[i - 1] != '\n') i--;
    bool found = i > 0 ? f->text.p[i - 1] == '\n' : !f->mid_line;
    return found ? i : at;
}

/* Does a list end right before, whose beginning is lost with the report's first line? */
static bool follows_a_list(const finder *f, size_t at) {
    while (at > 0 && (qs_log_is_blank(f->text.p[at - 1]))) at--;
    return at >= 2 && f->text.p[at - 1] == '.' && f->text.p[at - 2] == '"';
}

static bool start_report(finder *f, size_t at, int strength) {
    if (!end_report(f, at)) return false;
    bool headless = strength == 1 && follows_a_list(f, at);
    size_t line = line_start(f, at);
    f->head.n = 0;
    qs_buf_add(&f->head, (qs_str){f->text.p + line, at - line});
    if (f->head.failed) return qs_nomem(f->err);
    f->scanned = at;
    forget(f, at);
    f->open = strength;
    f->cut = headless;
    f->look_at = LOOK;
    f->report_offset = f->offset;
    f->report_line = f->line;
    return true;
}

/* Looks for phrases in what is new. A phrase that the text ends in the middle of is left for the next time.
 */
static bool scan(finder *f, bool at_end) {
    while (f->scanned < f->text.n) {
        qs_str s = qs_buf_str(&f->text);
        size_t end = 0;
        if (!qs_log_may_begin(s, f->scanned)) {
            f->scanned++;
            continue;
        }
        bool partial = false;
        qs_log_phrase phrase = qs_log_phrase_at(s, f->scanned, &end, &partial);
        if (phrase == QS_PHRASE_NONE && partial && !at_end) return true;
        int opens = qs_log_phrase_opens(phrase);
        if (opens == 2 || (opens > 2 && opens != f->open) || (opens == 1 && !f->open)) {
            size_t length = end - f->scanned;
            if (!start_report(f, f->scanned, opens)) return false;
            f->scanned = length;
        } else {
            f->scanned++;
        }
    }
    return true;
}

static bool feed(finder *f, const char *p, size_t n) {
    size_t had = f->text.n;
    qs_log_decode(&f->decoder, p, n, &f->text);
    if (f->text.failed || !qs_log_others_feed(&f->others, f->text.p + had, f->text.n - had))
        return qs_nomem(f->err);
    if (!scan(f, false) || !end_if_over(f)) return false;
    if (!f->open && f->scanned) forget(f, line_start(f, f->scanned));
    if (f->open && f->text.n > f->limits->json_bytes) {
        f->cut = true;
        if (!end_report(f, f->text.n)) return false;
        forget(f, f->scanned);
    }
    return true;
}

static bool finish(finder *f, qs_error_log **out) {
    if (!scan(f, true) || !end_report(f, f->text.n)) return false;
    if (f->best) {
        *out = f->best;
        f->best = NULL;
        return true;
    }
    if (!qs_log_others_fail(&f->others, f->err)) return false;
    if (f->matched_later)
        return qs_fail(f->err, QS_E_INPUT,
                       "the log reports a load that fitted (\"<All keys matched "
                       "successfully>\") and none that failed");
    return qs_fail(
        f->err, QS_E_INPUT,
        "no load_state_dict error in this log: neither torch's (\"Error(s) in loading state_dict for ...\") "
        "nor what mmcv, transformers, Lightning, timm or detectron2 print; if it is cut off, give the whole "
        "of it; else the model's manifest with -m (qatscope manifest --exporter), or a checkpoint that "
        "loads as B");
}

static void release(finder *f) {
    qs_buf_free(&f->text);
    qs_buf_free(&f->head);
    qs_buf_free(&f->others.text);
    qs_error_log_close(f->best);
}

bool qs_error_log_parse(const char *text, size_t n, const qs_limits *limits, qs_error_log **out, qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    finder f = {.limits = limits ? limits : &defaults, .err = e};
    bool ok = true;
    for (size_t at = 0; ok && at < n; at += BLOCK) ok = feed(&f, text + at, n - at < BLOCK ? n - at : BLOCK);
    ok = ok && finish(&f, out);
    release(&f);
    return ok;
}

static bool stream(finder *f, int fd, const char *name) {
    char *block = malloc(BLOCK);
    if (!block) return qs_nomem(f->err);
    bool ok = true;
    for (ssize_t got = 1; ok && got != 0;) {
        got = read(fd, block, BLOCK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            ok = qs_fail_errno(f->err, QS_E_IO, errno, "%s: cannot read", name);
        else if (got > 0)
            ok = feed(f, block, (size_t)got);
    }
    free(block);
    return ok;
}

static bool open_log(const char *path, int *fd, qs_err *e) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return qs_fail_errno(e, QS_E_INPUT, errno, "%s: cannot open", path);
    if (fstat(*fd, &st) == 0 && !S_ISDIR(st.st_mode)) return true;
    close(*fd);
    return qs_fail(e, QS_E_INPUT, "%s: is a directory; name the log file inside it", path);
}

bool qs_error_log_open(const char *path, const qs_limits *limits, qs_error_log **out, qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    qs_err own = QS_ERR_INIT;
    finder f = {.limits = limits ? limits : &defaults, .err = &own};
    bool std = strcmp(path, "-") == 0;
    const char *name = std ? "standard input" : path;
    int fd = STDIN_FILENO;
    bool ok = std || open_log(path, &fd, &own);
    if (!ok) fd = -1;
    ok = ok && stream(&f, fd, name) && finish(&f, out);
    if (!std && fd >= 0) close(fd);
    release(&f);
    if (ok) return true;
    if (!strstr(own.msg, name)) qs_err_prefix(&own, name);
    if (e->code == QS_OK) *e = own;
    return false;
}
