#include "ui/term.h"

#include "base/tempfile.h"
#include "base/vec.h"
#include "ui/escape.h"

#include <curses.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <term.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

/* term.h defines names like `lines` and `columns` as macros; what we use is undefined again below. */
#undef lines
#undef columns

enum { KEY_PASTE_BEGIN_ = 0x1000, KEY_PASTE_END_, PASTE_MAX = 65536, DOUBLE_CLICK_MS = 400, ESC_MS = 50 };

enum { HELD_MAX = 4096 };

/* What was typed during long work. */
typedef struct held_event {
    qs_event ev;
    char *text; /* of a paste: owned, ev.text.n bytes */
} held_event;

struct qs_term {
    SCREEN *screen;
    FILE *in, *out;
    bool mouse, pasting_on, defaults; /* defaults: the terminal has colours of its own to go back to */
    qs_palette palette;
    qs_theme theme;
    short pair[QS_PAINT_COUNT][2]; /* [1]: on the selected row; 0: the terminal's own colours */
    qs_cell *shown;                /* what was last given to curses, to touch only rows that changed */
    int w, h;
    sigset_t old_mask;
    struct sigaction old_action[5];
    qs_event click; /* the last one, to see a double click */
    int64_t click_ms;
    qs_buf paste;
    QS_VEC(held_event) held;
    size_t held_at; /* the next one to be given */
    cchar_t *row;
    int dead_reads;
};

/* The one thing a signal handler may touch. */
static volatile sig_atomic_t hangup_flag, stop_flag;
/* What a crash needs to give the terminal back. */
static struct {
    volatile sig_atomic_t armed;
    struct termios tty;
    int fd;
    char text[128];
    size_t n;
} crash;

static const int end_signals[] = {SIGHUP, SIGTERM, SIGINT};
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static void on_end(int sig) {
    (void)sig;
    hangup_flag = 1;
}

static void on_stop(int sig) {
    (void)sig;
    stop_flag = 1;
}

static void on_crash(int sig) {
    if (crash.armed) {
        ssize_t ignored = write(crash.fd, crash.text, crash.n);
        (void)ignored;
        tcsetattr(crash.fd, TCSANOW, &crash.tty);
        qs_temp_unlink_pending();
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

static void add_cap(const char *name) {
    const char *s = tigetstr(name);
    if (!s || s == (const char *)-1) return;
    size_t n = strlen(s);
    if (n >= sizeof crash.text - crash.n) return;
    memcpy(crash.text + crash.n, s, n);
    crash.n += n;
}

static void arm_crash(const qs_term *t) {
    crash.fd = fileno(t->out);
    crash.n = 0;
    add_cap("sgr0");
    add_cap("rmcup");
    add_cap("cnorm");
    for (size_t i = 0; i < sizeof crash_signals / sizeof *crash_signals; i++) {
        struct sigaction old, act = {.sa_handler = on_crash};
        /* A sanitizer's own handler tells more than ours. */
        if (sigaction(crash_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(crash_signals[i], &act, NULL);
    }
    crash.armed = 1;
}

static void disarm_crash(void) {
    crash.armed = 0;
    for (size_t i = 0; i < sizeof crash_signals / sizeof *crash_signals; i++) {
        struct sigaction old;
        if (sigaction(crash_signals[i], NULL, &old) == 0 && old.sa_handler == on_crash)
            signal(crash_signals[i], SIG_DFL);
    }
}

/* Signals reach us only inside ppoll, so none is lost between looking at a flag and going to sleep. */
static void install_signals(qs_term *t) {
    sigset_t block;
    sigemptyset(&block);
    struct sigaction act = {.sa_handler = on_end};
    for (int i = 0; i < 3; i++) {
        sigaddset(&block, end_signals[i]);
        sigaction(end_signals[i], &act, &t->old_action[i]);
    }
    act.sa_handler = on_stop;
    sigaddset(&block, SIGTSTP);
    sigaction(SIGTSTP, &act, &t->old_action[3]);
    sigaddset(&block, SIGWINCH);
    sigprocmask(SIG_BLOCK, &block, &t->old_mask);
    hangup_flag = stop_flag = 0;
}

static void restore_signals(qs_term *t) {
    for (int i = 0; i < 3; i++) sigaction(end_signals[i], &t->old_action[i], NULL);
    sigaction(SIGTSTP, &t->old_action[3], NULL);
    sigprocmask(SIG_SETMASK, &t->old_mask, NULL);
}

static void init_colors(qs_term *t, qs_color_mode mode) {
    const char *no_color = getenv("NO_COLOR");
    bool off = mode == QS_COLOR_NEVER || (mode == QS_COLOR_AUTO && no_color && *no_color);
    t->palette = QS_PALETTE_MONO;
    if (off || !has_colors() || start_color() == ERR) return;
    t->palette = qs_palette_for(COLORS);
    t->defaults = use_default_colors() == OK;
}

/* Paints of the same colours share a pair: changing it costs bytes, even where nothing can be seen of it. */
static void init_pairs(qs_term *t) {
    qs_style made[QS_PAINT_COUNT * 2];
    short n = 0;
    memset(t->pair, 0, sizeof t->pair);
    if (t->palette == QS_PALETTE_MONO) return;
    for (int i = 0; i < QS_PAINT_COUNT * 2; i++) {
        qs_style s = t->theme.style[t->palette][i / 2][i % 2];
        if (!t->defaults && s.fg < 0) s.fg = COLOR_WHITE;
        if (!t->defaults && s.bg < 0) s.bg = COLOR_BLACK;
        if (s.fg < 0 && s.bg < 0) continue; /* pair 0 */
        short at = 0;
        while (at < n && (made[at].fg != s.fg || made[at].bg != s.bg)) at++;
        if (at + 1 >= COLOR_PAIRS) continue;
        if (at == n) {
            made[n++] = s;
            init_pair((short)(at + 1), s.fg, s.bg);
        }
        t->pair[i / 2][i % 2] = (short)(at + 1);
    }
}

static void take_theme(qs_term *t, const qs_theme *theme) {
    if (theme)
        t->theme = *theme;
    else
        qs_theme_init(&t->theme, QS_THEME_DEFAULT);
    init_pairs(t);
}

static bool knows_paste(const char *term) {
    static const char *const likely[] = {"xterm", "tmux",      "screen", "rxvt",
                                         "foot",  "alacritty", "kitty",  "st-"};
    const char *cap = tigetstr("BE");
    if (cap && cap != (const char *)-1) return true;
    for (size_t i = 0; term && i < sizeof likely / sizeof *likely; i++)
        if (strncmp(term, likely[i], strlen(likely[i])) == 0) return true;
    return false;
}

static void paste_mode(qs_term *t, bool on) {
    if (!t->pasting_on) return;
    fputs(on ? "\033[?2004h" : "\033[?2004l", t->out);
    fflush(t->out);
}

static void setup(qs_term *t, const qs_term_options *opt, const char *term) {
    raw(); /* ^C and ^Z are keys: a signal in the middle of a change would lose work */
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    meta(stdscr, TRUE);
    curs_set(0);
    set_escdelay(ESC_MS);
    init_colors(t, opt->color);
    take_theme(t, opt->theme);
    t->mouse = opt->mouse;
    if (t->mouse) {
        mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
        mouseinterval(0);
    }
    t->pasting_on = knows_paste(term) && isatty(fileno(t->out));
    define_key("\033[200~", KEY_PASTE_BEGIN_);
    define_key("\033[201~", KEY_PASTE_END_);
    define_key("\033[Z", KEY_BTAB); /* the Linux console's is told as a key of no name */
    paste_mode(t, true);
    getmaxyx(stdscr, t->h, t->w);
}

bool qs_term_open(const qs_term_options *opt, qs_term **out, qs_err *e) {
    qs_term *t = calloc(1, sizeof *t);
    if (!t) return qs_nomem(e);
    t->in = opt->in ? opt->in : stdin;
    t->out = opt->out ? opt->out : stdout;
    const char *term = opt->term ? opt->term : getenv("TERM");
    if (!term || !*term) term = "unknown";
    tcgetattr(fileno(t->out), &crash.tty);
    install_signals(t);
    t->screen = newterm(term, t->out, t->in);
    if (!t->screen) {
        restore_signals(t);
        free(t);
        return qs_fail(e, QS_E_USAGE,
                       "terminal type \"%.40s\" is unknown or cannot move its cursor: set TERM, or use "
                       "`qatscope check` and `qatscope fix`, which need no terminal",
                       term);
    }
    setup(t, opt, term);
    arm_crash(t);
    *out = t;
    return true;
}

static void forget_held(qs_term *t) {
    while (t->held_at < t->held.n) free(t->held.v[t->held_at++].text);
    t->held.n = t->held_at = 0;
}

void qs_term_close(qs_term *t) {
    if (!t) return;
    forget_held(t);
    qs_vec_free(&t->held);
    disarm_crash();
    if (t->mouse) mousemask(0, NULL);
    paste_mode(t, false);
    curs_set(1);
    /* Without a second screen to come back from, the shell's prompt goes on the last line: leave it empty. */
    move(LINES - 1, 0);
    clrtoeol();
    refresh();
    endwin();
    delscreen(t->screen);
    restore_signals(t);
    qs_buf_free(&t->paste);
    free(t->shown);
    free(t->row);
    free(t);
}

void qs_term_size(const qs_term *t, int *w, int *h) {
    *w = t->w;
    *h = t->h;
}

void qs_term_theme(qs_term *t, const qs_theme *theme) {
    take_theme(t, theme);
    qs_term_redraw(t);
}

qs_palette qs_term_palette(const qs_term *t) {
    return t->palette;
}

static attr_t attrs_of(qs_style s) {
    attr_t a = A_NORMAL;
    if (s.attrs & QS_ATTR_BOLD) a |= A_BOLD;
    if (s.attrs & QS_ATTR_DIM) a |= A_DIM;
    if (s.attrs & QS_ATTR_UNDERLINE) a |= A_UNDERLINE;
    if (s.attrs & QS_ATTR_REVERSE) a |= A_REVERSE;
    return a;
}

static qs_style style_of(const qs_term *t, qs_pen pen) {
    return t->theme.style[t->palette][qs_pen_paint(pen)][!!(pen & QS_PEN_SELECTED)];
}

/* Whether a blank looks the same with either pen. */
static bool same_blank(const qs_term *t, qs_pen a, qs_pen b) {
    qs_style x = style_of(t, a), y = style_of(t, b);
    return x.bg == y.bg && !((x.attrs | y.attrs) & (QS_ATTR_UNDERLINE | QS_ATTR_REVERSE));
}

/* A blank takes the pen of the cell before it where that shows no difference: each change of pens is 5 to 20
 * bytes on the wire. */
static void cell_to_curses(const qs_term *t, const qs_cell *c, qs_pen *pen, cchar_t *out) {
    wchar_t text[2 + QS_CELL_MARKS] = {(wchar_t)c->cp};
    for (int i = 0; i < QS_CELL_MARKS; i++) text[1 + i] = (wchar_t)c->mark[i];
    if (c->cp != ' ' || c->mark[0] || !same_blank(t, *pen, c->pen)) *pen = c->pen;
    short pair = t->pair[qs_pen_paint(*pen)][!!(*pen & QS_PEN_SELECTED)];
    setcchar(out, text, attrs_of(style_of(t, *pen)), pair, NULL);
}

static bool make_room(qs_term *t, const qs_grid *g) {
    size_t n = (size_t)g->w * (size_t)g->h;
    qs_cell *shown = calloc(n, sizeof *shown);
    cchar_t *row = calloc((size_t)g->w, sizeof *row);
    if (!shown || !row) return free(shown), free(row), false;
    free(t->shown);
    free(t->row);
    t->shown = shown;
    t->row = row;
    t->w = g->w;
    t->h = g->h;
    erase();
    return true;
}

void qs_term_show(qs_term *t, const qs_grid *g) {
    if ((!t->shown || g->w != t->w || g->h != t->h) && !make_room(t, g)) return;
    for (int y = 0; y < g->h; y++) {
        const qs_cell *now = qs_grid_at(g, 0, y);
        qs_cell *was = t->shown + (size_t)y * (size_t)g->w;
        if (memcmp(now, was, (size_t)g->w * sizeof *now) == 0) continue;
        int n = 0;
        qs_pen pen = QS_PEN(NORMAL);
        for (int x = 0; x < g->w; x++)
            if (now[x].cp) cell_to_curses(t, &now[x], &pen, &t->row[n++]);
        mvadd_wchnstr(y, 0, t->row, n);
        memcpy(was, now, (size_t)g->w * sizeof *now);
    }
    bool cursor = g->cursor_x >= 0;
    curs_set(cursor);
    move(g->cursor_y > 0 ? g->cursor_y : 0, cursor ? g->cursor_x : 0);
    refresh();
}

static int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool mouse_event(qs_term *t, qs_event *ev) {
    MEVENT m;
    if (getmouse(&m) != OK) return false;
    *ev = (qs_event){.kind = QS_EVENT_MOUSE, .x = m.x, .y = m.y};
    if (m.bstate & BUTTON4_PRESSED)
        ev->mouse = QS_MOUSE_WHEEL_UP;
    else if (m.bstate & BUTTON5_PRESSED)
        ev->mouse = QS_MOUSE_WHEEL_DOWN;
    else if (m.bstate & BUTTON1_PRESSED)
        ev->mouse = QS_MOUSE_CLICK;
    else
        return false;
    if (ev->mouse != QS_MOUSE_CLICK) return true;
    int64_t ms = now_ms();
    bool again = t->click.kind == QS_EVENT_MOUSE && t->click.x == m.x && t->click.y == m.y &&
                 ms - t->click_ms < DOUBLE_CLICK_MS;
    t->click = *ev;
    t->click_ms = ms;
    if (again) {
        ev->mouse = QS_MOUSE_DOUBLE;
        t->click.kind = QS_EVENT_NONE;
    }
    return true;
}

static uint32_t named_key(wint_t code) {
    switch (code) {
    case KEY_UP: return QS_KEY_UP;
    case KEY_DOWN: return QS_KEY_DOWN;
    case KEY_LEFT: return QS_KEY_LEFT;
    case KEY_RIGHT: return QS_KEY_RIGHT;
    case KEY_HOME: return QS_KEY_HOME;
    case KEY_END: return QS_KEY_END;
    case KEY_PPAGE: return QS_KEY_PAGE_UP;
    case KEY_NPAGE: return QS_KEY_PAGE_DOWN;
    case KEY_BACKSPACE: return QS_KEY_BACKSPACE;
    case KEY_DC: return QS_KEY_DELETE;
    case KEY_IC: return QS_KEY_INSERT;
    case KEY_ENTER: return QS_KEY_ENTER;
    case KEY_BTAB: return QS_KEY_BACKTAB;
    default: break;
    }
    if (code >= KEY_F(1) && code <= KEY_F(12)) return QS_KEY_F1 + (uint32_t)(code - KEY_F(1));
    return 0;
}

static uint32_t plain_key(wint_t c) {
    switch (c) {
    case '\r':
    case '\n': return QS_KEY_ENTER;
    case '\t': return QS_KEY_TAB;
    case 8:
    case 127: return QS_KEY_BACKSPACE;
    default: return c < 0x110000 ? (uint32_t)c : 0;
    }
}

static void wait_readable(const qs_term *t, int ms) {
    struct pollfd p = {.fd = fileno(t->in), .events = POLLIN};
    poll(&p, 1, ms);
}

static void add_utf8(qs_buf *b, wint_t c) {
    char u[MB_LEN_MAX];
    mbstate_t st = {0};
    size_t n = wcrtomb(u, (wchar_t)c, &st);
    if (n != (size_t)-1) qs_buf_add(b, (qs_str){u, n});
}

/* What stands between the brackets; a paste whose end does not come ends by itself. */
static void read_paste(qs_term *t, qs_event *ev) {
    t->paste.n = 0;
    for (int idle = 0; idle < 4;) {
        wint_t c;
        int kind = get_wch(&c);
        if (kind == ERR) {
            wait_readable(t, 50);
            idle++;
            continue;
        }
        idle = 0;
        if (kind == KEY_CODE_YES && c == KEY_PASTE_END_) break;
        if (kind == OK && t->paste.n < PASTE_MAX) add_utf8(&t->paste, c);
    }
    *ev = (qs_event){.kind = QS_EVENT_PASTE, .text = qs_buf_str(&t->paste)};
}

static void give_back(int kind, wint_t c) {
    if (kind == KEY_CODE_YES)
        ungetch((int)c);
    else
        unget_wch((wchar_t)c);
}

/* The key of what stands after an ESC that ncurses made nothing of: 0 for a sequence without a meaning, and
 * the Esc key where there is none; the characters are then still to be read. */
static uint32_t after_escape(void) {
    char seq[QS_ESCAPE_MAX];
    size_t n = 0;
    uint32_t key;
    qs_escape state = QS_ESCAPE_MORE;
    wint_t c = 0;
    int kind = ERR;
    while (state == QS_ESCAPE_MORE && n < sizeof seq && (kind = get_wch(&c)) == OK && c < 0x80) {
        seq[n++] = (char)c;
        state = qs_escape_read((qs_str){seq, n}, &key);
    }
    if (state == QS_ESCAPE_KEY) return key;
    if (kind == KEY_CODE_YES || (kind == OK && c >= 0x80)) give_back(kind, c);
    while (n) give_back(OK, (wint_t)seq[--n]);
    return QS_KEY_ESC;
}

/* An event that the terminal has, without waiting; false if there is none. */
static bool read_event(qs_term *t, qs_event *ev) {
    wint_t c;
    int kind;
    while ((kind = get_wch(&c)) != ERR) {
        t->dead_reads = 0;
        if (kind == OK) {
            *ev = (qs_event){.kind = QS_EVENT_KEY, .key = c == 27 ? after_escape() : plain_key(c)};
            if (ev->key) return true;
        } else if (c == KEY_RESIZE) {
            *ev = (qs_event){.kind = QS_EVENT_RESIZE};
            getmaxyx(stdscr, ev->y, ev->x);
            return true;
        } else if (c == KEY_MOUSE) {
            if (mouse_event(t, ev)) return true;
        } else if (c == KEY_PASTE_BEGIN_) {
            return read_paste(t, ev), true;
        } else {
            *ev = (qs_event){.kind = QS_EVENT_KEY, .key = named_key(c)};
            if (ev->key) return true;
        }
    }
    return false;
}

/* Kept for later; what does not fit is lost. */
static void hold_event(qs_term *t, const qs_event *ev) {
    held_event h = {.ev = *ev};
    if (t->held.n - t->held_at >= HELD_MAX) return;
    if (ev->kind == QS_EVENT_PASTE && ev->text.n) {
        h.text = malloc(ev->text.n);
        if (!h.text) return;
        memcpy(h.text, ev->text.p, ev->text.n);
    }
    if (!qs_push(&t->held, h)) free(h.text);
}

/* The next one that was kept, or else that the terminal has. */
static bool next_event(qs_term *t, qs_event *ev) {
    if (t->held_at == t->held.n) return read_event(t, ev);
    held_event *h = &t->held.v[t->held_at++];
    *ev = h->ev;
    if (ev->kind == QS_EVENT_PASTE) {
        t->paste.n = 0;
        qs_buf_add(&t->paste, (qs_str){h->text, ev->text.n});
        ev->text = qs_buf_str(&t->paste);
        free(h->text);
    }
    if (t->held_at == t->held.n) t->held.n = t->held_at = 0;
    return true;
}

void qs_term_wait(qs_term *t, int ms, qs_event *ev) {
    int64_t until = now_ms() + ms;
    for (;;) {
        if (hangup_flag) return *ev = (qs_event){.kind = QS_EVENT_HANGUP}, (void)0;
        if (stop_flag) {
            stop_flag = 0;
            qs_term_suspend(t);
        }
        if (next_event(t, ev)) return;
        int64_t left = ms < 0 ? 0 : until - now_ms();
        if (ms >= 0 && left <= 0) return *ev = (qs_event){.kind = QS_EVENT_IDLE}, (void)0;
        struct timespec ts = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
        struct pollfd p = {.fd = fileno(t->in), .events = POLLIN};
        int n = ppoll(&p, 1, ms < 0 ? NULL : &ts, &t->old_mask);
        /* A terminal that has gone away is readable for ever and gives nothing. */
        bool gone = n > 0 && ((p.revents & (POLLERR | POLLNVAL)) || t->dead_reads++ > 20);
        if (gone) return *ev = (qs_event){.kind = QS_EVENT_HANGUP}, (void)0;
    }
}

bool qs_term_pending(const qs_term *t) {
    struct pollfd p = {.fd = fileno(t->in), .events = POLLIN};
    return t->held_at < t->held.n || poll(&p, 1, 0) > 0;
}

bool qs_term_cancelled(qs_term *t) {
    qs_event ev;
    if (hangup_flag) return true;
    sigset_t was;
    sigprocmask(SIG_SETMASK, &t->old_mask, &was); /* let a pending SIGTERM in */
    sigprocmask(SIG_SETMASK, &was, NULL);
    while (read_event(t, &ev)) {
        bool esc = ev.kind == QS_EVENT_KEY && (ev.key == QS_KEY_ESC || ev.key == QS_CTRL('C'));
        if (esc) return forget_held(t), true;
        hold_event(t, &ev);
    }
    return hangup_flag;
}

void qs_term_suspend(qs_term *t) {
    paste_mode(t, false);
    curs_set(1);
    endwin();
    struct sigaction dfl = {.sa_handler = SIG_DFL}, ours;
    sigaction(SIGTSTP, &dfl, &ours);
    sigset_t stop, was;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    kill(0, SIGTSTP); /* the whole job, as the terminal driver would */
    sigprocmask(SIG_UNBLOCK, &stop, &was);
    sigprocmask(SIG_SETMASK, &was, NULL);
    sigaction(SIGTSTP, &ours, NULL);
    paste_mode(t, true);
    qs_term_redraw(t);
}

void qs_term_redraw(qs_term *t) {
    free(t->shown);
    t->shown = NULL; /* the next grid is drawn whole */
    clearok(curscr, TRUE);
    refresh();
}
