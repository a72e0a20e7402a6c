/* The module tree as lines on a screen: folds, filter, search, marks and the selection, over a qs_compare.
 * What a person chose (folds, marks, selection) is kept by path, so that it survives when the comparison is
 * made anew. */
#ifndef QS_UI_TREE_H
#define QS_UI_TREE_H

#include "base/map.h"
#include "base/vec.h"
#include "session.h"
#include "session_search.h"
#include "ui/list.h"

typedef enum qs_sort { QS_SORT_MODEL, QS_SORT_NAME, QS_SORT_SIZE, QS_SORT_FILE, QS_SORT_COUNT } qs_sort;
const char *qs_sort_name(qs_sort s); /* "by size" */
const char *qs_sort_word(qs_sort s); /* "size" */

/* One visible line. A chain of modules that hold nothing but one module is one line. */
typedef struct qs_tree_line {
    uint32_t node;  /* the module or key it stands for */
    uint32_t top;   /* first module of the chain; else node */
    uint32_t depth; /* of the indentation, 0 at the left */
} qs_tree_line;

typedef struct qs_tree_filter {
    uint32_t statuses; /* bit 1 << qs_status: shown */
    uint32_t roles;    /* bit 1 << qs_role: shown */
    int family;        /* qs_family: only its keys; QS_FAMILY_NONE: those of all, and of none */
    bool changed_only; /* only keys the plan touched */
    bool marked_only;
} qs_tree_filter;
#define QS_TREE_FILTER_ALL ((qs_tree_filter){.statuses = UINT32_MAX, .roles = UINT32_MAX})

/* Flags of a key, in display order. */
enum { QS_KEY_PROBLEM = 1, QS_KEY_HIT = 2, QS_KEY_SHOWN = 4, QS_KEY_MARKED = 8, QS_KEY_LATER = 16 };

typedef struct qs_tree_fold {
    qs_str path;
    bool open;
} qs_tree_fold;

typedef struct qs_tree_mark {
    qs_str key;
    bool on;
} qs_tree_mark;

typedef struct qs_tree {
    const qs_session *s; /* borrowed; its comparison is used until the next sync */
    const qs_compare *c;
    uint64_t revision;
    QS_VEC(qs_tree_line) line;
    qs_list list; /* over `line` */
    /* by node of c */
    uint32_t *first, *next, *parent, *shown, *later; /* later: keys below that fail in forward */
    uint32_t *marked_in;                             /* children that are marked, or hold what is */
    uint64_t *bytes; /* of the tensors below, where the order is by size; else NULL */
    uint8_t *open;
    uint32_t nodes;
    /* by display position: row, flags; by row: display position */
    uint32_t *leaf, *position;
    uint8_t *flag;
    uint32_t leaves;
    /* what a person chose */
    uint32_t open_depth; /* modules up to this depth are open unless `folds` says otherwise */
    qs_arena fold_arena;
    QS_VEC(qs_tree_fold) folds;
    qs_map fold_of; /* path -> index in folds */
    qs_arena mark_arena;
    QS_VEC(qs_tree_mark) marks;
    qs_map mark_of;   /* key -> index in marks */
    uint32_t marked;  /* keys of c that are marked */
    bool marks_moved; /* the flags know of marks that `marks` does not, or the other way round */
    qs_tree_filter filter;
    qs_search *filter_text; /* NULL: none */
    qs_search *search;      /* NULL: none */
    uint32_t hits, shown_leaves;
    bool flat;
    qs_sort sort;
    bool ranging; /* from range_from to the cursor is one range */
    size_t range_from;
    qs_buf selected; /* path of the selection, as of the last remember */
    bool selected_leaf;
} qs_tree;

void qs_tree_init(qs_tree *t, const qs_session *s);
void qs_tree_free(qs_tree *t);
/* Take over the session's present comparison if it is another one. Everything that can fail here fails for
 * want of memory only; the tree is then empty. */
bool qs_tree_sync(qs_tree *t);
/* Note the selection and the marks by path: before anything that may change the session. */
void qs_tree_remember(qs_tree *t);
/* The selection alone: after every event. */
void qs_tree_note_selection(qs_tree *t);

/* Node under the cursor, QS_NO_INDEX when there is no line; its row, QS_NO_INDEX for modules. */
uint32_t qs_tree_selected(const qs_tree *t);
uint32_t qs_tree_selected_row(const qs_tree *t);
static inline bool qs_tree_is_module(const qs_tree *t, uint32_t node) {
    return qs_compare_node(t->c, node)->row == QS_NO_INDEX;
}
/* What the line is called: the last component, or the chain; the whole key in a flat list. */
qs_str qs_tree_label(const qs_tree *t, const qs_tree_line *line);
bool qs_tree_row_has(const qs_tree *t, uint32_t row, uint8_t flag);

bool qs_tree_set_open(qs_tree *t, size_t line, bool open);
/* The module under the cursor and all below it. */
bool qs_tree_set_open_below(qs_tree *t, bool open);
bool qs_tree_set_open_all(qs_tree *t, bool open);
/* Open what hides the node, and put the cursor on it. */
bool qs_tree_reveal(qs_tree *t, uint32_t node);
/* Every module down to this many levels of lines, the rest closed. */
bool qs_tree_set_depth(qs_tree *t, uint32_t levels);
/* To the next (dir 1) or previous (-1) line of the same level under the same module; false if there is none.
 */
bool qs_tree_to_sibling(qs_tree *t, int dir);
/* To the line of the enclosing module; false at the top. */
bool qs_tree_to_parent(qs_tree *t);

/* To the next (dir 1) or previous (-1) shown key with this flag; false if there is none. *wrapped tells
 * whether the end was passed. */
bool qs_tree_seek(qs_tree *t, uint8_t flag, int dir, bool *wrapped);
/* Search; n == 0 forgets the search. */
bool qs_tree_search(qs_tree *t, qs_str pattern);
/* Filter: the fields of t->filter were changed, or give a text (n == 0: none). */
bool qs_tree_refilter(qs_tree *t);
bool qs_tree_filter_by(qs_tree *t, qs_str pattern);
bool qs_tree_filtered(const qs_tree *t);
bool qs_tree_set_order(qs_tree *t, bool flat, qs_sort sort);

/* Mark or unmark a key, or every shown key below a module (all, unless all are marked already). */
bool qs_tree_toggle_mark(qs_tree *t, uint32_t node);
bool qs_tree_unmark_all(qs_tree *t);

/* A range of lines, from where it began to the cursor. It ends when the lines become others. */
void qs_tree_begin_range(qs_tree *t);
bool qs_tree_in_range(const qs_tree *t, size_t line);
/* Mark the keys of the range (of a closed module all that are shown below it), and end it. */
bool qs_tree_mark_range(qs_tree *t);

/* Walks the rows below a node in display order: start with row = QS_NO_INDEX. A key gives its own row once.
 */
bool qs_tree_next_below(const qs_tree *t, uint32_t node, uint32_t *row);

#endif
