#include "cli/plan_report.h"

size_t qs_plan_report_failed(const qs_session *s) {
    const qs_resolution *r = qs_session_resolution(s);
    size_t n = 0;
    for (size_t i = 0; i < qs_resolution_unapplied_count(r); i++)
        n += !qs_resolution_unapplied(r, i)->left_out;
    return n;
}

static void print_failed(const qs_unapplied *u) {
    printf("   not applied: ");
    qs_str_fput_printable(u->key, stdout);
    if (u->key.n) printf(": ");
    qs_str_fput_printable(qs_str_of(u->why), stdout);
    printf("\n");
}

void qs_plan_report_print(const qs_session *s) {
    const qs_plan *p = qs_session_plan(s);
    const qs_resolution *r = qs_session_resolution(s);
    for (size_t i = 0; i < qs_plan_count(p); i++) {
        char line[160];
        const char *why = NULL;
        qs_action_describe(qs_plan_action(p, i), line, sizeof line);
        uint32_t n = qs_resolution_touched(r, i), skipped = qs_resolution_skipped(r, i, &why);
        if (qs_plan_action(p, i)->off)
            printf("%zu  %-60s off\n", i + 1, line);
        else
            printf("%zu  %-60s %u %s\n", i + 1, line, n, qs_action_unit(qs_plan_action(p, i), n));
        for (size_t k = 0; k < qs_resolution_unapplied_count(r); k++) {
            const qs_unapplied *u = qs_resolution_unapplied(r, k);
            if (u->action == i && !u->left_out) print_failed(u);
        }
        if (!skipped) continue;
        printf("   left out %u: ", skipped);
        qs_str_fput_printable(qs_str_of(why), stdout);
        printf("\n");
    }
}

static void json_unapplied(const qs_resolution *r, size_t action, bool left_out, qs_buf *out) {
    bool any = false;
    for (size_t i = 0; i < qs_resolution_unapplied_count(r); i++) {
        const qs_unapplied *u = qs_resolution_unapplied(r, i);
        if (u->action != action || u->left_out != left_out) continue;
        qs_buf_addz(out, any ? ",\n    {\"key\": " : "\n    {\"key\": ");
        any = true;
        if (u->key.n)
            qs_buf_add_json(out, u->key);
        else
            qs_buf_addz(out, "null");
        qs_buf_addz(out, ", \"why\": ");
        qs_buf_add_json(out, qs_str_of(u->why));
        qs_buf_addc(out, '}');
    }
}

void qs_plan_report_json(const qs_session *s, qs_buf *out) {
    const qs_plan *p = qs_session_plan(s);
    const qs_resolution *r = qs_session_resolution(s);
    qs_buf_addc(out, '[');
    for (size_t i = 0; i < qs_plan_count(p); i++) {
        const qs_action *a = qs_plan_action(p, i);
        qs_buf_addf(out, "%s\n  {\"op\": \"%s\", \"touched\": %u", i ? "," : "", qs_action_kind_name(a->kind),
                    qs_resolution_touched(r, i));
        if (a->comment.n) qs_buf_addz(out, ", \"comment\": "), qs_buf_add_json(out, a->comment);
        qs_buf_addz(out, ", \"failed\": [");
        json_unapplied(r, i, false, out);
        qs_buf_addz(out, "], \"left_out\": [");
        json_unapplied(r, i, true, out);
        qs_buf_addz(out, "]}");
    }
    qs_buf_addz(out, "\n ]");
}
