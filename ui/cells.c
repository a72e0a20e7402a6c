#include "ui/app_impl.h"

#include <math.h>

qs_pen qs_status_pen(qs_status s) {
    static const qs_pen pens[QS_STATUS_COUNT] = {
#define QS_STATUS(NAME, name, glyph, ascii, role, ...) [QS_STATUS_##NAME] = QS_PEN(role),
#include "repair/status.def"
#undef QS_STATUS
    };
    return pens[s < QS_STATUS_COUNT ? s : QS_STATUS_NONE];
}

qs_pen qs_mark_pen(qs_mark m) {
    static const qs_pen pens[QS_MARK_COUNT] = {
#define QS_MARK(NAME, name, glyph, ascii, role, ...) [QS_MARK_##NAME] = QS_PEN(role),
#include "repair/mark.def"
#undef QS_MARK
    };
    return pens[m < QS_MARK_COUNT ? m : QS_MARK_NONE];
}

const char *qs_bytes_text(uint64_t n, char *out, size_t cap) {
    static const char *const units[] = {"KB", "MB", "GB", "TB"};
    double v = (double)n / 1024;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof *units) v /= 1024, u++;
    if (n < 1024)
        snprintf(out, cap, "%u %s", (unsigned)n, qs_plural(n, "byte", "bytes"));
    else
        snprintf(out, cap, "%.1f %s", v, units[u]);
    return out;
}

void qs_shape_cell(qs_shape shape, bool known, qs_dtype dtype, char *out, size_t cap) {
    char text[128];
    if (known)
        qs_shape_text(shape, "×", text, sizeof text);
    else
        snprintf(text, sizeof text, "?");
    if (dtype != QS_DTYPE_UNKNOWN)
        snprintf(out, cap, "%s %s", text, qs_dtype_get(dtype)->short_name);
    else
        snprintf(out, cap, "%s", text);
}

/* Whole numbers as they are; a double holds those below 2^53 exactly. */
static void number_cell(double v, char *out, size_t cap) {
    bool whole = fabs(v) < 9e15 && v == (double)(int64_t)v;
    snprintf(out, cap, whole ? "%.0f" : "%.5g", v);
}

/* A number is worth more than the shape of one. */
static bool scalar_cell(const qs_checkpoint *from, const qs_tensor *t, char *out, size_t cap) {
    if (t->bad || t->kind != QS_TENSOR_DENSE || qs_shape_numel(t->shape) != 1) return false;
    double v;
    qs_err e = QS_ERR_INIT;
    if (!qs_tensor_read_doubles(from, t, 0, 1, &v, &e)) return false;
    number_cell(v, out, cap);
    return true;
}

static void tensor_cell(const qs_checkpoint *from, const qs_tensor *t, char *out, size_t cap) {
    if (!t)
        snprintf(out, cap, "not a tensor");
    else if (!scalar_cell(from, t, out, cap))
        qs_shape_cell(t->shape, t->kind != QS_TENSOR_OPAQUE, t->dtype, out, cap);
}

static void result_cell(const qs_app *a, const qs_row *row, char *out, size_t cap) {
    const qs_resolution *r = qs_session_resolution(a->s);
    const qs_resolved *x = qs_resolution_entry(r, row->r);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = qs_resolved_tensor(r, x, &from);
    double made;
    if (t)
        tensor_cell(from, t, out, cap);
    else if (qs_made_number(a, row, &made))
        number_cell(made, out, cap);
    else if (qs_resolved_is_made(x))
        qs_shape_cell(x->shape, x->shape_known, x->dtype, out, cap);
    else if (x->mark == QS_MARK_DROPPED)
        snprintf(out, cap, "dropped");
    else
        snprintf(out, cap, "not a tensor");
}

void qs_key_cell(const qs_app *a, const qs_row *row, int column, char *out, size_t cap) {
    snprintf(out, cap, "·");
    if (column == QS_COLUMN_A && row->r != QS_NO_INDEX) {
        result_cell(a, row, out, cap);
    } else if (column == QS_COLUMN_B && row->b != QS_NO_INDEX) {
        const qs_checkpoint *b = qs_session_b(a->s);
        tensor_cell(b, qs_entry_tensor(b, qs_checkpoint_entry(b, row->b)), out, cap);
    } else if (column == QS_COLUMN_M && row->m != QS_NO_INDEX) {
        const qs_expected *x = qs_manifest_entry(qs_session_target(a->s), row->m);
        qs_shape_cell(x->shape, x->shape_known, x->dtype, out, cap);
    }
}
