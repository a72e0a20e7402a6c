#include "ui/commands.h"

static const qs_command_info infos[QS_CMD_COUNT] = {
    [QS_CMD_NONE] = {"", "", 0, "", ""},
#define QS_COMMAND(NAME, name, keys, where, group, help) [QS_CMD_##NAME] = {name, keys, where, group, help},
#include "ui/commands.def"
#undef QS_COMMAND
};

const qs_command_info *qs_command_get(qs_command c) {
    return &infos[c < QS_CMD_COUNT ? c : QS_CMD_NONE];
}

static bool candidate(qs_command c, qs_str start, qs_context where) {
    return (infos[c].where & (unsigned)where) && qs_str_starts(qs_str_of(infos[c].name), start);
}

qs_command qs_command_find(qs_str name, qs_context where) {
    qs_command found = QS_CMD_NONE;
    size_t n = 0;
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        if (!candidate(c, name, where)) continue;
        if (qs_str_is(name, infos[c].name)) return c;
        found = c;
        n++;
    }
    return n == 1 && name.n ? found : QS_CMD_NONE;
}

qs_command qs_command_next(qs_command c, qs_str start, qs_context where) {
    for (c++; c < QS_CMD_COUNT; c++)
        if (candidate(c, start, where)) return c;
    return QS_CMD_NONE;
}

qs_argument qs_command_argument(qs_command c, const char **word) {
    static const struct {
        qs_argument kind;
        const char *word;
    } arguments[QS_CMD_COUNT] = {
#define QS_ARGUMENT(NAME, KIND, word) [QS_CMD_##NAME] = {QS_ARG_##KIND, word},
#include "ui/commands.def"
    };
    if (c >= QS_CMD_COUNT) c = QS_CMD_NONE;
    if (word) *word = arguments[c].word ? arguments[c].word : "";
    return arguments[c].kind;
}

/* The next blank-separated word of *rest; n == 0 at the end. */
static qs_str next_key(qs_str *rest) {
    while (rest->n && rest->p[0] == ' ') *rest = qs_str_sub(*rest, 1, rest->n);
    size_t end = qs_str_find(*rest, QS_STR(" "));
    if (end == SIZE_MAX) end = rest->n;
    qs_str word = qs_str_sub(*rest, 0, end);
    *rest = qs_str_sub(*rest, end, rest->n);
    return word;
}

void qs_keymap_init(qs_keymap *m) {
    m->n = 0;
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        qs_str rest = qs_str_of(infos[c].keys);
        for (qs_str key = next_key(&rest); key.n && m->n < QS_BINDINGS_MAX; key = next_key(&rest))
            m->v[m->n++] = (struct qs_binding){qs_key_parse(key), infos[c].where, c};
    }
}

qs_command qs_keymap_find(const qs_keymap *m, qs_context where, uint32_t key) {
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].key == key && (m->v[i].where & (unsigned)where)) return m->v[i].command;
    return QS_CMD_NONE;
}

/* Bindings that mean something nowhere any more go; the others keep their order. */
static void drop_empty(qs_keymap *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].where) m->v[n++] = m->v[i];
    m->n = n;
}

bool qs_keymap_bind(qs_keymap *m, unsigned where, uint32_t key, qs_command c) {
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].key == key) m->v[i].where &= ~where;
    drop_empty(m);
    if (c == QS_CMD_NONE || !where) return true;
    if (m->n == QS_BINDINGS_MAX) return false;
    m->v[m->n++] = (struct qs_binding){key, where, c};
    return true;
}

void qs_keymap_key(const qs_keymap *m, qs_command c, char *out, size_t cap) {
    if (cap) *out = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].command == c) return (void)qs_key_print(m->v[i].key, out, cap);
}

void qs_keymap_keys(const qs_keymap *m, qs_command c, char *out, size_t cap) {
    size_t n = 0;
    if (cap) *out = 0;
    for (size_t i = 0; i < m->n; i++) {
        char key[16];
        if (m->v[i].command != c) continue;
        size_t len = qs_key_print(m->v[i].key, key, sizeof key);
        if (n + len + 2 > cap) return;
        n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", key);
    }
}
