#include "ui/config.h"

#include <stdarg.h>

enum { WORDS_MAX = 10, COMPLAINTS_MAX = 50 };

typedef struct line {
    qs_config *c;
    const char *file;
    size_t number;
    qs_theme_id theme; /* which the roles are of */
    qs_str word[WORDS_MAX];
    size_t words;
} line;

static const char *const color_names[] = {
    "black",        "red",           "green",       "yellow",         "blue",
    "magenta",      "cyan",          "white",       "bright-black",   "bright-red",
    "bright-green", "bright-yellow", "bright-blue", "bright-magenta", "bright-cyan",
    "bright-white"};
static const char *const palette_names[QS_PALETTE_COUNT] = {"mono", "8", "16", "256"};
static const char *const attr_names[] = {"bold", "dim", "underline", "reverse"}; /* of bits 0.. of qs_attr */
static const char *const context_names[QS_CTX_COUNT] = {
#define QS_CONTEXT(NAME, name) name,
#include "ui/commands.def"
};

void qs_config_init(qs_config *c) {
    *c = (qs_config){.start = QS_THEME_DEFAULT};
    qs_keymap_init(&c->keymap);
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++) qs_theme_init(&c->theme[id], id);
}

void qs_config_free(qs_config *c) {
    qs_buf_free(&c->complaints);
}

void qs_config_complain(qs_config *c, const char *file, size_t number, const char *fmt, ...) {
    char text[200];
    va_list ap;
    if (c->complaint_count++ >= COMPLAINTS_MAX) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (number)
        qs_buf_addf(&c->complaints, "%s:%zu: %s\n", file, number, text);
    else
        qs_buf_addf(&c->complaints, "%s: %s\n", file, text);
}

/* "no WHAT is called "WORD"", with nothing in it that a terminal must not see. */
static void unknown(const line *l, const char *what, qs_str word) {
    char safe[64];
    qs_str_printable(word, safe, sizeof safe);
    qs_config_complain(l->c, l->file, l->number, "no %s is called \"%s\"", what, safe);
}

static int index_of(const char *const *names, size_t n, qs_str word) {
    for (size_t i = 0; i < n; i++)
        if (qs_str_is(word, names[i])) return (int)i;
    return -1;
}

/* ---- keys ---- */

static bool read_context(const line *l, qs_str word, unsigned *where) {
    int i = index_of(context_names, QS_CTX_COUNT, word);
    *where = qs_str_is(word, "all") ? (1u << QS_CTX_COUNT) - 1 : i >= 0 ? 1u << i : 0;
    if (!*where) unknown(l, "context", word);
    return *where != 0;
}

static bool read_key(const line *l, qs_str word, uint32_t *key) {
    *key = qs_key_parse(word);
    if (!*key) unknown(l, "key", word);
    return *key != 0;
}

static qs_command command_named(qs_str name) {
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++)
        if (qs_str_is(name, qs_command_get(c)->name)) return c;
    return QS_CMD_NONE;
}

static void read_bind(const line *l) {
    unsigned where;
    uint32_t key;
    if (!read_context(l, l->word[1], &where) || !read_key(l, l->word[2], &key)) return;
    qs_command c = command_named(l->word[3]);
    if (c == QS_CMD_NONE) return unknown(l, "command", l->word[3]);
    where &= qs_command_get(c)->where;
    if (!where)
        return qs_config_complain(l->c, l->file, l->number, "%s means nothing in context %.*s",
                                  qs_command_get(c)->name, QS_FMT(l->word[1]));
    if (!qs_keymap_bind(&l->c->keymap, where, key, c))
        qs_config_complain(l->c, l->file, l->number, "more than %d bindings", QS_BINDINGS_MAX);
}

static void read_unbind(const line *l) {
    unsigned where;
    uint32_t key;
    if (read_context(l, l->word[1], &where) && read_key(l, l->word[2], &key))
        qs_keymap_bind(&l->c->keymap, where, key, QS_CMD_NONE);
}

/* ---- colours ---- */

static void read_theme(line *l) {
    qs_theme_id id = qs_theme_find(l->word[1]);
    if (id == QS_THEME_COUNT) return unknown(l, "theme", l->word[1]);
    l->c->start = l->theme = id;
}

static bool read_color(const line *l, qs_str word, int colors, int16_t *out) {
    int i = index_of(color_names, sizeof color_names / sizeof *color_names, word);
    if (qs_str_is(word, "default")) return *out = -1, true;
    for (size_t k = 0; i < 0 && k < word.n && k < 4; k++) {
        if (word.p[k] < '0' || word.p[k] > '9') return unknown(l, "colour", word), false;
        *out = (int16_t)((k ? *out * 10 : 0) + word.p[k] - '0');
    }
    if (i >= 0) *out = (int16_t)i;
    if (word.n < 4 || i >= 0)
        if (*out < colors) return true;
    char safe[32];
    qs_str_printable(word, safe, sizeof safe);
    qs_config_complain(l->c, l->file, l->number, "there is no colour %s among %d", safe, colors);
    return false;
}

static bool read_attrs(const line *l, size_t from, uint8_t *attrs) {
    *attrs = 0;
    for (size_t i = from; i < l->words; i++) {
        int bit = index_of(attr_names, sizeof attr_names / sizeof *attr_names, l->word[i]);
        if (bit < 0) return unknown(l, "attribute", l->word[i]), false;
        *attrs |= (uint8_t)(1u << bit);
    }
    return true;
}

/* NORMAL has no name in dumps of screens, but here. */
static const char *role_name(qs_paint paint) {
    return paint == QS_PAINT_NORMAL ? "normal" : qs_paint_name(paint);
}

static bool read_paint(const line *l, qs_str word, qs_paint *paint, bool *selected) {
    *selected = word.n && word.p[word.n - 1] == '+';
    qs_str name = qs_str_sub(word, 0, word.n - *selected);
    for (*paint = 0; *paint < QS_PAINT_COUNT; ++*paint)
        if (qs_str_is(name, role_name(*paint))) return true;
    return unknown(l, "role", name), false;
}

static void read_role(const line *l) {
    int palette = index_of(palette_names, QS_PALETTE_COUNT, l->word[1]);
    qs_paint paint;
    qs_style s;
    bool selected;
    if (palette < 0) return unknown(l, "set of colours (256, 16, 8, mono)", l->word[1]);
    int colors = qs_palette_colors((qs_palette)palette);
    if (!read_paint(l, l->word[2], &paint, &selected) || !read_color(l, l->word[3], colors, &s.fg) ||
        !read_color(l, l->word[4], colors, &s.bg) || !read_attrs(l, 5, &s.attrs))
        return;
    l->c->theme[l->theme].style[palette][paint][selected] = s;
}

/* ---- lines ---- */

static void split(line *l, qs_str text) {
    l->words = 0;
    for (size_t i = 0; i < text.n;) {
        size_t from = i;
        while (i < text.n && text.p[i] != ' ' && text.p[i] != '\t' && text.p[i] != '\r') i++;
        if (i > from && l->words < WORDS_MAX) l->word[l->words++] = qs_str_sub(text, from, i);
        while (i < text.n && (text.p[i] == ' ' || text.p[i] == '\t' || text.p[i] == '\r')) i++;
    }
}

static void read_line(line *l, qs_str text) {
    static const struct {
        const char *word, *usage;
        size_t min, max;
    } forms[] = {{"bind", "bind CONTEXT KEY COMMAND", 4, 4},
                 {"unbind", "unbind CONTEXT KEY", 3, 3},
                 {"theme", "theme NAME", 2, 2},
                 {"role", "role 256|16|8|mono ROLE FG BG [ATTRIBUTE ...]", 5, WORDS_MAX - 1}};
    split(l, text);
    if (l->words == 0 || l->word[0].p[0] == '#') return;
    size_t i = 0;
    while (i < sizeof forms / sizeof *forms && !qs_str_is(l->word[0], forms[i].word)) i++;
    if (i == sizeof forms / sizeof *forms) return unknown(l, "setting", l->word[0]);
    if (l->words < forms[i].min || l->words > forms[i].max)
        return qs_config_complain(l->c, l->file, l->number, "it is: %s", forms[i].usage);
    switch (i) {
    case 0: return read_bind(l);
    case 1: return read_unbind(l);
    case 2: return read_theme(l);
    default: return read_role(l);
    }
}

void qs_config_parse(qs_config *c, const char *file, qs_str text) {
    line l = {.c = c, .file = file, .theme = c->start};
    while (text.n) {
        size_t end = qs_str_find(text, QS_STR("\n"));
        l.number++;
        read_line(&l, qs_str_sub(text, 0, end));
        text = end == SIZE_MAX ? (qs_str){0} : qs_str_sub(text, end + 1, text.n);
    }
}

/* ---- printing ---- */

static void print_key_line(qs_buf *out, const char *word, unsigned where, uint32_t key, qs_command c) {
    char name[16];
    qs_key_print(key, name, sizeof name);
    if (c && where == qs_command_get(c)->where)
        return qs_buf_addf(out, "%s all %s %s\n", word, name, qs_command_get(c)->name);
    for (int i = 0; i < QS_CTX_COUNT; i++)
        if (where >> i & 1)
            qs_buf_addf(out, "%s %s %s%s%s\n", word, context_names[i], name, c ? " " : "",
                        c ? qs_command_get(c)->name : "");
}

/* Keys that mean something of old, and nothing now. */
static void print_unbound(const qs_config *c, qs_buf *out) {
    qs_keymap built_in;
    qs_keymap_init(&built_in);
    for (size_t i = 0; i < built_in.n; i++) {
        unsigned gone = built_in.v[i].where;
        for (unsigned bit = 1; bit <= QS_CTX_LAST_; bit <<= 1)
            if (qs_keymap_find(&c->keymap, (qs_context)bit, built_in.v[i].key)) gone &= ~bit;
        print_key_line(out, "unbind", gone, built_in.v[i].key, QS_CMD_NONE);
    }
}

void qs_config_print_keymap(const qs_config *c, qs_buf *out) {
    const char *group = "";
    qs_buf_addz(out, "# Keys of qatscope: $XDG_CONFIG_HOME/qatscope/keymap (~/.config/qatscope/keymap). Keep "
                     "the lines you\n"
                     "# change; what is not here stays as it is built in.\n"
                     "#   bind CONTEXT KEY COMMAND     unbind CONTEXT KEY\n# contexts: all");
    for (int i = 0; i < QS_CTX_COUNT; i++) qs_buf_addf(out, " %s", context_names[i]);
    qs_buf_addz(out, "\n# keys: a character, ^X for Ctrl, or a name: Space Enter Esc Tab PgUp F1 ...\n");
    for (qs_command k = QS_CMD_NONE + 1; k < QS_CMD_COUNT; k++) {
        const qs_command_info *info = qs_command_get(k);
        if (strcmp(group, info->group) != 0) qs_buf_addf(out, "\n# ---- %s ----\n", group = info->group);
        qs_buf_addf(out, "# %s: %s\n", info->name, info->help);
        for (size_t i = 0; i < c->keymap.n; i++)
            if (c->keymap.v[i].command == k)
                print_key_line(out, "bind", c->keymap.v[i].where, c->keymap.v[i].key, k);
    }
    print_unbound(c, out);
}

static void print_color(qs_buf *out, int16_t color) {
    if (color < 0)
        qs_buf_addz(out, " default");
    else if (color < 16)
        qs_buf_addf(out, " %s", color_names[color]);
    else
        qs_buf_addf(out, " %d", color);
}

static void print_role(qs_buf *out, qs_palette palette, qs_paint paint, bool selected, qs_style s) {
    char name[32];
    snprintf(name, sizeof name, "%s%s", role_name(paint), selected ? "+" : "");
    qs_buf_addf(out, "role %-4s %-13s", palette_names[palette], name);
    print_color(out, s.fg);
    print_color(out, s.bg);
    for (size_t i = 0; i < sizeof attr_names / sizeof *attr_names; i++)
        if (s.attrs >> i & 1) qs_buf_addf(out, " %s", attr_names[i]);
    qs_buf_addc(out, '\n');
}

void qs_config_print_theme(const qs_config *c, qs_buf *out) {
    qs_buf_addz(out, "# Colours of qatscope: $XDG_CONFIG_HOME/qatscope/theme (~/.config/qatscope/theme). "
                     "Keep the lines you\n"
                     "# change; what is not here stays as it is built in.\n"
                     "#   theme NAME     role 256|16|8|mono ROLE FG BG [bold] [dim] [underline] [reverse]\n"
                     "# ROLE+ is the role on the selected row; colours are default, a name or a number.\n");
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++)
        qs_buf_addf(out, "# theme %-13s %s\n", qs_theme_name(id), qs_theme_help(id));
    qs_buf_addf(out, "theme %s\n", qs_theme_name(c->start));
    for (int p = QS_PALETTE_COUNT - 1; p >= 0; p--) {
        qs_buf_addc(out, '\n');
        for (qs_paint paint = 0; paint < QS_PAINT_COUNT; paint++)
            for (int selected = 0; selected < 2; selected++)
                print_role(out, (qs_palette)p, paint, selected, c->theme[c->start].style[p][paint][selected]);
    }
}
