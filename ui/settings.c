#include "ui/app_impl.h"

/* As many complaints as a message holds; the rest is a number. */
static void tell(qs_app *a, const qs_config *c) {
    char text[sizeof a->message.text - 64];
    size_t n = 0, told = 0;
    for (qs_str rest = qs_buf_str(&c->complaints); rest.n && told < 3; told++) {
        size_t end = qs_str_find(rest, QS_STR("\n"));
        int used = snprintf(text + n, sizeof text - n, "%s%.*s", told ? "; " : "", (int)end, rest.p);
        if (used < 0 || (size_t)used >= sizeof text - n) break;
        n += (size_t)used;
        rest = qs_str_sub(rest, end + 1, rest.n);
    }
    if (told < c->complaint_count)
        qs_app_complain(a, "settings: %.*s; and %zu more", (int)n, text, c->complaint_count - told);
    else
        qs_app_complain(a, "settings: %.*s", (int)n, text);
}

void qs_app_take_settings(qs_app *a) {
    const qs_config *given = a->opt.config;
    if (!given) return qs_config_init(&a->config);
    a->config = *given;
    a->config.complaints = (qs_buf){0}; /* those stay the giver's */
    if (given->complaint_count) tell(a, given);
}

const qs_theme *qs_app_theme(const qs_app *a) {
    return &a->config.theme[a->config.start];
}

void qs_set_theme(qs_app *a, qs_str name) {
    qs_theme_id id = name.n ? qs_theme_find(name) : (a->config.start + 1) % QS_THEME_COUNT;
    if (id == QS_THEME_COUNT)
        return qs_app_complain(a, "there is no theme \"%.*s\"; Tab lists them", QS_FMT(name));
    a->config.start = id;
    a->reaction |= QS_APP_THEME;
    qs_app_say(a, "theme %s: %s", qs_theme_name(id), qs_theme_help(id));
}
