/* Plans from strangers: whatever the bytes, parsing ends with a plan or an error, what was parsed prints and
 * parses back to itself, and its patterns run on keys without hanging. */
#include "repair/pattern.h"
#include "repair/plan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_pattern(const qs_action *a) {
    static const char *const keys[] = {"model.0.conv.weight", "module.layers.10.bn.running_mean", "",
                                       "a.b\xff.c", "x"};
    bool rule = a->kind == QS_ACT_RULE;
    bool scoped = a->kind >= QS_ACT_INIT && a->scope_kind == QS_SCOPE_REGEX;
    qs_pattern *p = NULL;
    qs_err e = QS_ERR_INIT;
    if (!rule && !scoped) return;
    if (!qs_pattern_compile(rule ? a->pattern_kind : QS_PATTERN_REGEX, rule ? a->pattern : a->scope,
                            rule ? a->replacement : QS_STR(""), &p, &e))
        return;
    qs_buf out = {0};
    bool matched;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!qs_pattern_replace(p, qs_str_of(keys[i]), &out, &matched, &e)) break;
    qs_buf_free(&out);
    qs_pattern_free(p);
}

static void round_trip(const qs_plan *p) {
    qs_buf json = {0};
    qs_plan *again = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_plan_print(p, &json)) abort();
    if (!qs_plan_parse(json.p, json.n, "printed", NULL, &again, &e)) abort();
    if (qs_plan_count(again) != qs_plan_count(p)) abort();
    for (size_t i = 0; i < qs_plan_count(p); i++)
        if (!qs_action_eq(qs_plan_action(p, i), qs_plan_action(again, i))) abort();
    qs_plan_free(again);
    qs_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_plan *p = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_plan_parse((const char *)data, size, "plan.json", NULL, &p, &e)) {
        if (e.code == QS_OK || !e.msg[0]) abort();
        return 0;
    }
    for (size_t i = 0; i < qs_plan_count(p); i++) {
        char line[100];
        qs_action_describe(qs_plan_action(p, i), line, sizeof line);
        run_pattern(qs_plan_action(p, i));
    }
    round_trip(p);
    qs_plan_free(p);
    return 0;
}
