/* The same pair under every torch version that matters, and one sentence on where they part. */
#include "repair/strict.h"

static const int versions[QS_STRICT_VERSIONS] = {107, 113, 206, 214};

static bool refuses(qs_finding_kind kind, bool strict) {
    return kind < QS_FIND_RESIZED && (strict || kind > QS_FIND_UNEXPECTED);
}

static bool words_of(const qs_manifest *target, const qs_strict_source *src, const qs_strict_options *opt,
                     qs_strict_version *out, qs_buf *words, qs_err *e) {
    qs_verdict *v = NULL;
    if (!qs_strict_run(target, src, opt, &v, e)) return false;
    out->torch_minor = qs_verdict_torch(v);
    out->loads = qs_verdict_loads(v);
    for (size_t i = 0; i < qs_verdict_count(v); i++) {
        qs_finding_kind kind = qs_verdict_finding(v, i)->kind;
        out->refused += refuses(kind, opt->strict);
        out->fails_later += kind == QS_FIND_TRUNCATED || kind == QS_FIND_FORWARD;
    }
    bool ok = qs_verdict_message(v, words) && qs_verdict_result(v, words);
    qs_verdict_free(v);
    return ok || qs_nomem(e);
}

bool qs_strict_versions(const qs_manifest *target, const qs_strict_source *src, const qs_strict_options *opt,
                        qs_strict_version out[QS_STRICT_VERSIONS], qs_err *e) {
    qs_strict_version asked = {0};
    qs_buf words = {0}, other = {0};
    bool ok = words_of(target, src, opt, &asked, &words, e);
    for (int i = 0; i < QS_STRICT_VERSIONS && ok; i++) {
        if (versions[i] == asked.torch_minor) { /* told already */
            out[i] = asked;
            out[i].same_words = true;
            continue;
        }
        qs_strict_options o = *opt;
        o.torch_minor = versions[i];
        out[i] = (qs_strict_version){0};
        other.n = 0;
        ok = words_of(target, src, &o, &out[i], &other, e);
        out[i].same_words = ok && qs_str_eq(qs_buf_str(&words), qs_buf_str(&other));
    }
    qs_buf_free(&words);
    qs_buf_free(&other);
    return ok;
}

typedef bool (*version_test)(const qs_strict_version *v);

static bool loads(const qs_strict_version *v) {
    return v->loads;
}
static bool refused(const qs_strict_version *v) {
    return !v->loads;
}
static bool fails_later(const qs_strict_version *v) {
    return v->loads && v->fails_later;
}
static bool says_else(const qs_strict_version *v) {
    return !v->same_words;
}

static int count_of(const qs_strict_version *v, version_test test) {
    int n = 0;
    for (int i = 0; i < QS_STRICT_VERSIONS; i++) n += test(&v[i]);
    return n;
}

/* "1.7, 1.13 and 2.6" */
static void add_versions(qs_buf *b, const qs_strict_version *v, version_test test) {
    int n = count_of(v, test), k = 0;
    for (int i = 0; i < QS_STRICT_VERSIONS; i++) {
        if (!test(&v[i])) continue;
        qs_buf_addf(b, "%s%d.%d",
                    k == 0       ? ""
                    : k == n - 1 ? " and "
                                 : ", ",
                    v[i].torch_minor / 100, v[i].torch_minor % 100);
        k++;
    }
}

bool qs_strict_versions_text(const qs_strict_version v[QS_STRICT_VERSIONS], qs_buf *out) {
    int n = count_of(v, loads), later = count_of(v, fails_later), other = count_of(v, says_else);
    if (n && n < QS_STRICT_VERSIONS) {
        add_versions(out, v, loads);
        qs_buf_addz(out, " would load it, ");
        add_versions(out, v, refused);
        qs_buf_addz(out, " would not");
    } else if (n == 0 && other) {
        qs_buf_addz(out, "none would load it; ");
        add_versions(out, v, says_else);
        qs_buf_addz(out, other == 1 ? " words it otherwise" : " word it otherwise");
    }
    if (later && later < QS_STRICT_VERSIONS) {
        qs_buf_addz(out, n == QS_STRICT_VERSIONS ? "all would load it; in " : "; in ");
        add_versions(out, v, fails_later);
        qs_buf_addz(out, " it is cut short or fails in forward");
    }
    return !out->failed;
}
