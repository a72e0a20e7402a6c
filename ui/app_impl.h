/* The explorer's state, and what its views share. Views are tables of functions; those on the stack draw from
 * the bottom up, and the top one gets the events. */
#ifndef QS_UI_APP_IMPL_H
#define QS_UI_APP_IMPL_H

#include "session_preview.h"
#include "ui/app.h"
#include "ui/commands.h"
#include "ui/complete.h"
#include "ui/prompt.h"
#include "ui/rich.h"
#include "ui/tree.h"

enum { QS_VIEWS_MAX = 8, QS_STATS_MAX = 64, QS_CANDIDATES_MAX = 64, QS_MADE_MAX = 128 };

typedef struct qs_view {
    const char *name;
    qs_context context;
    void (*draw)(const qs_app *a, qs_grid *g);
    /* The window has another size, or the session has changed; may be NULL. */
    void (*layout)(qs_app *a);
    /* Before the key table; true: done with it. May be NULL. */
    bool (*event)(qs_app *a, const qs_event *ev);
    bool (*command)(qs_app *a, qs_command c);
    /* A click on a spot that draw marked; `twice`: the second one there. NULL where there are no spots. */
    void (*pick)(qs_app *a, int what, bool twice);
    void (*close)(qs_app *a); /* may be NULL */
} qs_view;

extern const qs_view qs_view_tree, qs_view_text, qs_view_plan, qs_view_prompt, qs_view_map, qs_view_rule,
    qs_view_init, qs_view_fix, qs_view_save, qs_view_filter, qs_view_confirm, qs_view_roots, qs_view_contents,
    qs_view_values, qs_view_errors, qs_view_bind, qs_view_help, qs_view_lesson, qs_view_see, qs_view_trace;

/* Where things are on the screen. */
typedef struct qs_layout {
    bool tiny; /* too small for anything but a notice */
    int w, h;
    int tree_y, tree_h, details_y, details_h, diagnosis_y, hint_y;
    int rule_y[2]; /* separator lines, -1: none */
    int name_w;    /* of the name column, gutter included */
    int columns;   /* value columns shown */
    enum { QS_COLUMN_A, QS_COLUMN_B, QS_COLUMN_M } column[3];
    int column_x[3], column_w;
} qs_layout;

/* Statistics of a tensor, once they are known. */
typedef struct qs_stats_entry {
    const qs_checkpoint *from;
    const qs_tensor *tensor;
    qs_stats stats;
    bool failed;
} qs_stats_entry;

/* A screenful of text: help, torch's message, Python. */
typedef struct qs_text_state {
    char title[128];
    qs_rich text, wrapped;
    int hang, wrapped_w;
    qs_list list;
    bool of_row;       /* it tells of the row under the cursor of the tree */
    qs_search *search; /* owned; NULL: none */
    size_t found;      /* the line it found last */
} qs_text_state;

/* A question at the foot of the screen. */
typedef struct qs_prompt_state {
    const char *label;
    qs_line line;
    void (*accept)(qs_app *a, qs_str text);
    qs_completion completion; /* Tab asks for it */
} qs_prompt_state;

/* A question whose answer may be refused by the plan: what was to be opened. */
typedef struct qs_opening {
    qs_document what;
    char path[QS_LINE_MAX], root[QS_LINE_MAX];
    bool has_root;
} qs_opening;

typedef struct qs_roots_state {
    qs_list list; /* the roots of A, then those of B */
} qs_roots_state;

typedef struct qs_candidate {
    char key[QS_LINE_MAX], reason[96];
    double confidence;
    uint32_t row;
} qs_candidate;

typedef struct qs_map_state {
    char key[QS_LINE_MAX]; /* the key to rename */
    qs_line to;
    qs_candidate *candidate; /* [QS_CANDIDATES_MAX] */
    size_t candidates;
    qs_list list;
    bool all;                                            /* not this key alone, but all like it */
    char pattern[QS_LINE_MAX], replacement[QS_LINE_MAX]; /* the rule for those; "" if there is none */
    size_t rule_good;                                    /* how many renames it gives that fit the model */
    char problem[200];
} qs_map_state;

typedef struct qs_rule_state {
    qs_pattern_kind kind;
    qs_line pattern, replacement;
    qs_completion completion; /* of the field, asked for by Right at its end */
    int field;                /* 0 kind, 1 pattern, 2 replacement */
    qs_arena arena;
    qs_rename_pair pair[QS_CANDIDATES_MAX];
    bool collides[QS_CANDIDATES_MAX];
    size_t shown, total, collisions, good; /* good: land on a key the model lacks */
    char problem[200];
    size_t replaces; /* action of the plan that is being edited, SIZE_MAX: none */
} qs_rule_state;

enum { QS_SCOPES_MAX = 3 };

typedef struct qs_init_state {
    int field; /* 0 source, 1 scope */
    qs_init_source source;
    struct {
        char label[QS_LINE_MAX];
        qs_str path;     /* module or key, borrowed from `arena` */
        bool key, marks; /* the key alone; what is marked */
        bool quantizers; /* only keys of quantizers */
        uint32_t missing;
    } scope[QS_SCOPES_MAX];
    int scopes, chosen;
    uint32_t twins; /* keys of the widest scope that A has under another name */
    /* the quantizers in the scope that miss something, and the one that is shown */
    QS_VEC(qs_str) block; /* borrowed from `arena` */
    size_t shown;
    qs_rich preview;
    qs_arena arena, preview_arena;
    bool can_copy;
    char problem[300];
} qs_init_state;

typedef struct qs_fix_state {
    int source;
    qs_rich head; /* what is wrong, in lines of the dialog's width */
    int head_h;   /* as many of them as are shown */
    qs_list list;
} qs_fix_state;

/* What saving will write. */
typedef struct qs_save_summary {
    uint32_t live, mark[QS_MARK_COUNT];
    uint32_t misfits; /* what safetensors cannot hold, and the first of them */
    char misfit[200];
    uint64_t bytes;     /* of the tensors */
    char elsewhere[64]; /* a device other than the CPU that storages of A or B say they are of; "" */
} qs_save_summary;

typedef struct qs_save_state {
    qs_line path;
    int field; /* 0 path, 1 format, 2 overwrite, 3 in place, 4 cpu */
    bool overwrite, in_place, cpu, bare;
    qs_save_summary sum;
    char problem[600];
} qs_save_state;

typedef struct qs_filter_state {
    int row, top; /* first line shown, where the window is low */
    qs_line text;
    qs_tree_filter was; /* for Esc */
    char text_was[QS_LINE_MAX];
} qs_filter_state;

enum { QS_CONFIRM_MAX = 5 };

typedef struct qs_confirm_state {
    char title[64], text[300];
    struct {
        uint32_t key;
        const char *label;
        void (*run)(qs_app *a);
    } choice[QS_CONFIRM_MAX];
    int choices;
} qs_confirm_state;

struct qs_app {
    qs_session *s;
    qs_app_options opt;
    qs_config config;
    const qs_view *stack[QS_VIEWS_MAX];
    size_t depth;
    int w, h;
    qs_layout layout;
    qs_grid measure; /* 1x1, knows whether widths are of ASCII */
    qs_tree tree;
    qs_rich details;
    qs_str detail_hint; /* "[m] map": drawn at the right of detail_line; static */
    size_t detail_line;
    const qs_matches *matches;
    const qs_diagnosis *diagnosis;
    uint32_t forward;     /* quantizers with which it loads, and fails in forward */
    bool versions_differ; /* in whether they would load it */
    char versions[200];   /* which versions of torch would load it, or word it otherwise; "" where all say the
                             same */
    bool undiagnosed;     /* the two above are still to be made */
    struct {
        char text[700];
        qs_pen pen;
    } message; /* until the next key */
    qs_stats_entry stats[QS_STATS_MAX];
    size_t stats_n, stats_at;
    struct {
        const qs_row *row; /* whose value, made by the plan, is described */
        uint64_t revision;
        char text[300];
    } made;
    struct { /* numbers the plan makes, of rows that are or were on the screen */
        uint64_t revision;
        size_t n, at; /* the next one takes the place of the oldest */
        struct {
            const qs_row *row;
            double value;
            bool known;
        } cell[QS_MADE_MAX];
    } numbers;
    struct {
        const qs_row *row; /* whose quantizer, or whose that rounds it, is described */
        uint64_t revision;
        bool known; /* `of` says something; it borrows from `arena` */
        qs_init_preview of;
        qs_arena arena;
    } cost;
    bool idle_wanted;
    struct { /* what `details` is of */
        uint64_t revision;
        int w, h;
        bool stale; /* it is of a row the cursor has left */
    } detailed;
    unsigned reaction;
    uint32_t key;            /* the last one pressed: what tells depth 3 from depth 4 */
    bool lost_loaded;        /* the plan of a lost session was taken over: it is nowhere else now */
    uint64_t saved_revision; /* of the session when its result was last saved */
    struct {
        const char *what; /* NULL: no long work to be shown */
        uint64_t done, total;
        double seconds;      /* since it began */
        double start, asked; /* clock times */
        const char *pending; /* shown once it has lasted half a second; NULL: quiet work */
    } busy;
    qs_history searches, rules, paths, names;
    qs_text_state text, help; /* apart: help may be asked for over a text */
    qs_prompt_state prompt;
    qs_opening opening;
    qs_roots_state roots;
    qs_list plan_list;
    qs_map_state map;
    qs_rule_state rule;
    qs_init_state init;
    qs_fix_state fix;
    qs_save_state save;
    qs_filter_state filter;
    qs_confirm_state confirm;
    uint64_t documents;                 /* counts how often another one was opened */
    struct qs_contents_state *contents; /* while view_contents.c is open */
    struct qs_values_state *values;     /* while view_values.c is open */
    struct qs_bind_state *bind;         /* while view_bind.c is open */
    struct qs_errors_state *errors;     /* while view_errors.c is open */
    struct qs_trace_state *trace;       /* while view_trace.c is open */
    struct qs_see_state *see;           /* while view_see.c is open */
    struct qs_lesson_state *lesson;     /* NULL until the first lesson; view_lesson.c */
};

/* ---- app.c ---- */
void qs_app_open(qs_app *a, const qs_view *v);
void qs_app_close(qs_app *a); /* the top view; the tree stays */
const qs_view *qs_app_top(const qs_app *a);
void qs_app_say(qs_app *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void qs_app_complain(qs_app *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void qs_app_fail(qs_app *a, const qs_err *e);
/* Run a command by the view on top, as its key would. */
void qs_app_command(qs_app *a, qs_command c);
/* Take over what the session derived anew. */
void qs_app_refresh(qs_app *a);
/* Now, if it was put off. */
void qs_app_diagnose(qs_app *a);
/* The same with qs_app_busy's progress; false if it was cancelled, or gave way to a key. The application is
 * drawn meanwhile. */
bool qs_app_diagnose_while(qs_app *a, const char *what);
bool qs_app_unsaved(const qs_app *a);
/* "1,428" is not written; "1 key", "348 keys". */
const char *qs_plural(uint64_t n, const char *one, const char *many);

/* Text as part of a regular expression that matches just it. */
void qs_buf_add_quoted(qs_buf *out, qs_str s);

/* ---- settings.c ---- */
void qs_app_take_settings(qs_app *a);      /* of a->opt.config */
void qs_set_theme(qs_app *a, qs_str name); /* n == 0: the next one */

/* ---- click.c ---- */
/* What is drawn where a click is: a spot of the view on top, else a key. */
typedef struct qs_target {
    int what;     /* QS_SPOT_NONE: no spot */
    uint32_t key; /* 0: no key */
} qs_target;
qs_target qs_app_target(const qs_app *a, int x, int y);

/* ---- actions.c: what changes the plan ---- */
/* Do, tell what it did, take over. False when refused; the reason is the message. */
bool qs_app_do(qs_app *a, const qs_action *action, const char *verb);
bool qs_app_do_all(qs_app *a, const qs_action *actions, size_t n, const char *verb);
void qs_app_undo(qs_app *a);
void qs_app_redo(qs_app *a);
void qs_app_copy(qs_app *a);
void qs_app_drop(qs_app *a);
/* Cast or reshape what is marked, or below the cursor; `form` is a dtype or "16x1x1x1", empty for the
 * model's. */
void qs_app_convert(qs_app *a, qs_action_kind kind, qs_str form);
/* The model's versions for the module under the cursor and all below it. */
void qs_app_versions(qs_app *a);
/* Rows a command means: those marked, else those below the cursor. Start with *row = QS_NO_INDEX. */
bool qs_app_next_target(const qs_app *a, uint32_t *row);
/* Save plan or result where a lost terminal leaves them; in rescue.c of the core. */
void qs_app_hangup(qs_app *a);

/* ---- made.c: what the plan makes, computed when no key waits ---- */
/* The one number of an entry the plan makes; false while it is not known. */
bool qs_made_number(const qs_app *a, const qs_row *row, double *value);
/* Whether some number on the screen is still to be computed; and compute those, until a key waits. */
bool qs_made_wanted(const qs_app *a);
void qs_made_idle(qs_app *a);

/* ---- stats.c ---- */
/* Known statistics, or NULL. */
const qs_stats_entry *qs_app_stats(const qs_app *a, const qs_tensor *t);
/* Compute if that is quick, else ask for an IDLE event (where `idle` says that this is it, compute). False:
 * they are not known yet, or never will be. */
bool qs_app_want_stats(qs_app *a, const qs_checkpoint *from, const qs_tensor *t, bool idle);
/* Compute however long it takes, with a progress; false when cancelled. */
bool qs_app_need_stats(qs_app *a, const qs_checkpoint *from, const qs_tensor *t);
/* A progress for one piece of long work. With a name it shows itself after half a second and Esc cancels it;
 * with NULL it is quiet, and any key cancels it. */
qs_progress qs_app_busy(qs_app *a, const char *what);
/* Time for what is nice to have. */
void qs_app_idle(qs_app *a);

/* ---- the main screen ---- */
enum { QS_GUTTER = 5 }; /* columns before the names: marked, status, what the plan did, role, blank */
void qs_tree_layout(qs_app *a);
/* "would load: NO" at the right end of the first line; returns where it begins. */
int qs_draw_verdict(const qs_app *a, qs_pane p);
void qs_tree_draw(const qs_app *a, qs_grid *g);
int qs_tree_indent(const qs_app *a, const qs_tree_line *line); /* column of the fold glyph */
qs_pen qs_status_pen(qs_status s);
qs_pen qs_mark_pen(qs_mark m);
/* "640 bytes", "1.7 KB", in units of 1024; returns out */
const char *qs_bytes_text(uint64_t n, char *out, size_t cap);
/* "16×3×3×3 f32" */
void qs_shape_cell(qs_shape shape, bool known, qs_dtype dtype, char *out, size_t cap);
/* What a key has in a column; "·" for a gap. */
void qs_key_cell(const qs_app *a, const qs_row *row, int column, char *out, size_t cap);
/* The commands that move in a list; false if c is none of them. */
bool qs_list_command(qs_list *l, qs_command c);
void qs_save_plan_open(qs_app *a);
void qs_load_plan_open(qs_app *a);
void qs_search_for(qs_app *a, qs_str pattern);
void qs_save_plan_as(qs_app *a, qs_str path);
void qs_load_plan_from(qs_app *a, qs_str path);

/* ---- documents.c: other files in an open session ---- */
void qs_open_document(qs_app *a, qs_document what, qs_str path); /* n == 0 takes it away */
/* Ask for the path; `what` as in qs_open_document. */
void qs_open_document_ask(qs_app *a, qs_document what);
/* Another state dict of A or B. */
void qs_open_root(qs_app *a, qs_document what, qs_str root);
void qs_roots_open(qs_app *a);

/* What is known of a quantizer: its configuration, its values, and what they cost on the weight. */
void qs_value_text(qs_rich *r, const qs_preview_value *v); /* "scale 0.0015   " */
void qs_quantizer_lines(qs_rich *r, const qs_init_preview *v);
/* The last three of these: the weight's histogram, the grid under it, the error. Nothing without a weight. */
enum { QS_COST_LINES = 3 };
void qs_quantizer_cost_lines(qs_rich *r, const qs_init_preview *v);
/* The quantizer a key belongs to, or the one that rounds this weight; n == 0: none. `room` holds the name. */
qs_str qs_quantizer_of(const qs_row *row, char room[QS_LINE_MAX]);

/* ---- views ---- */
void qs_details_build(qs_app *a); /* fills a->details for the selection */
/* All that is known of a row: into a text view. */
void qs_details_full(qs_app *a);
/* One block character, as high as the share (0 .. 1) of a line; a blank for 0. */
const char *qs_bar_glyph(double share);
/* Histogram as block characters, `width` of them. */
void qs_histogram_text(const uint64_t *bins, size_t n, size_t width, qs_buf *out);
void qs_text_open(qs_app *a, const char *title, int hang); /* a->text.text holds the text */
/* ---- page.c: what views that are a page of text share ---- */
void qs_page_open(qs_app *a, qs_text_state *t, const qs_view *v, const char *title, int hang);
void qs_page_layout(const qs_app *a, qs_text_state *t);
void qs_page_draw(const qs_text_state *t, qs_grid *g);
bool qs_page_command(qs_app *a, qs_text_state *t, qs_command c);
bool qs_page_event(qs_app *a, qs_text_state *t, const qs_event *ev);
void qs_help_open(qs_app *a); /* the keys of where one is; from there, back */
void qs_message_open(qs_app *a);
void qs_why_open(qs_app *a);
void qs_python_open(qs_app *a);
void qs_plan_open(qs_app *a);
void qs_contents_open(qs_app *a);
void qs_about_open(qs_app *a);
void qs_errors_open(qs_app *a);
/* Every number of a tensor; `b` of the other side, either may be NULL. */
void qs_values_open(qs_app *a, const char *title, const qs_tensor *t, const qs_tensor *b);
void qs_values_open_row(qs_app *a);         /* of the selected key */
void qs_values_stats(qs_app *a, bool idle); /* of the tensors of the view */
void qs_explain_open(qs_app *a);
void qs_trace_open(qs_app *a);
void qs_lessons_view_open(qs_app *a);
void qs_see_view_open(qs_app *a);
void qs_lesson_state_free(qs_app *a);
/* Tab completes nothing unless a->prompt.completion is told what. */
void qs_prompt_open(qs_app *a, const char *label, qs_str text, qs_history *history,
                    void (*accept)(qs_app *a, qs_str text));
void qs_command_line_open(qs_app *a);
void qs_go_to_ask(qs_app *a);
/* The command with what follows its name on the ':' line; n == 0 is the command alone. */
void qs_app_command_with(qs_app *a, qs_command c, qs_str argument);
void qs_map_open(qs_app *a);
void qs_map_open_pair(qs_app *a, uint32_t from, uint32_t to); /* rows */
void qs_bind_open(qs_app *a);
void qs_rule_open(qs_app *a);
void qs_rule_edit(qs_app *a, size_t action);
void qs_init_open(qs_app *a);
void qs_fix_open(qs_app *a);
void qs_save_open(qs_app *a);
void qs_save_open_as(qs_app *a, qs_str path);
void qs_filter_open(qs_app *a);
void qs_quit(qs_app *a);
/* Where the last session on this file was lost, ask what is to become of its plan. */
void qs_offer_lost_plan(qs_app *a);
/* How wide a dialog is that would be `w` wide: as the window, where little of that would be seen beside it. */
int qs_dialog_width(int window, int w);
/* A dialog's box in the middle of the screen; the inside. */
qs_pane qs_dialog_box(const qs_app *a, qs_grid *g, int w, int h, const char *title, const char *note);
/* The keys of a dialog along its last line: pairs of key and what it does. Where not all fit, the way out is
 * among those that do. */
void qs_dialog_hints(qs_pane p, int y, const char *const *pairs);
/* "(•) name"; a click on it is one on the spot `what`. */
int qs_dialog_choice(qs_pane p, int x, int y, bool on, bool focused, const char *name, int what);
/* Choices beside each other, one of them on. Where the line is too short for all, those around it. */
typedef struct qs_choice {
    const char *name;
    int what;
    bool on;
} qs_choice;
void qs_dialog_choices(qs_pane p, int x, int y, const qs_choice *c, size_t n, bool focused);

#endif
