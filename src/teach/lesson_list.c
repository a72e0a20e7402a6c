/* The built-in lessons and those of a folder. */
#include "teach/lesson_impl.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>

#define QS_LESSON(SYMBOL, NAME) extern const char SYMBOL[];
#include "teach/lessons.def"
#undef QS_LESSON

static const struct {
    const char *text, *name;
} builtin[] = {
#define QS_LESSON(SYMBOL, NAME) {SYMBOL, NAME},
#include "teach/lessons.def"
#undef QS_LESSON
};

enum { LESSON_BYTES = 1 << 20 };

struct qs_lessons {
    QS_VEC(qs_lesson *) list;
};

static int by_name(const void *a, const void *b) {
    const qs_lesson *const *x = a, *const *y = b;
    return qs_str_cmp_natural(qs_str_of((*x)->name), qs_str_of((*y)->name));
}

/* Takes l over, whether it works or not; a lesson of the same name makes room. */
static bool add(qs_lessons *ls, qs_lesson *l, qs_err *e) {
    for (size_t i = 0; i < ls->list.n; i++) {
        if (strcmp(ls->list.v[i]->name, l->name) != 0) continue;
        qs_lesson_free(ls->list.v[i]);
        ls->list.v[i] = l;
        return true;
    }
    if (qs_push(&ls->list, l)) return true;
    qs_lesson_free(l);
    return qs_nomem(e);
}

static bool add_file(qs_lessons *ls, const char *dir, const char *file, qs_err *e) {
    char path[4096], name[256], *text = NULL;
    size_t n = strlen(file), size = 0;
    if (n < 5 || n - 4 >= sizeof name || strcmp(file + n - 4, ".txt") != 0 || file[0] == '.') return true;
    if (strcmp(file, "README.txt") == 0) return true;
    memcpy(name, file, n - 4);
    name[n - 4] = 0;
    int len = snprintf(path, sizeof path, "%s/%s", dir, file);
    if (len < 0 || (size_t)len >= sizeof path)
        return qs_fail(e, QS_E_INPUT, "the path of lesson %s is too long", name);
    qs_lesson *l = NULL;
    bool ok = qs_file_slurp(path, LESSON_BYTES, &text, &size, e) && qs_lesson_parse(text, size, name, &l, e);
    free(text);
    return ok && add(ls, l, e);
}

static bool add_folder(qs_lessons *ls, const char *dir, qs_err *e) {
    DIR *d = opendir(dir);
    if (!d) return qs_fail_errno(e, QS_E_INPUT, errno, "cannot read the lessons in '%s'", dir);
    bool ok = true;
    for (struct dirent *f; ok && (f = readdir(d));) ok = add_file(ls, dir, f->d_name, e);
    closedir(d);
    return ok;
}

bool qs_lessons_open(const char *dir, qs_lessons **out, qs_err *e) {
    qs_lessons *ls = calloc(1, sizeof *ls);
    if (!ls) return qs_nomem(e);
    bool ok = true;
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin && ok; i++) {
        qs_lesson *l = NULL;
        ok = qs_lesson_parse(builtin[i].text, strlen(builtin[i].text), builtin[i].name, &l, e) &&
             add(ls, l, e);
    }
    if (ok && dir) ok = add_folder(ls, dir, e);
    if (!ok) {
        qs_lessons_free(ls);
        return false;
    }
    qsort(ls->list.v, ls->list.n, sizeof *ls->list.v, by_name);
    *out = ls;
    return true;
}

void qs_lessons_free(qs_lessons *ls) {
    if (!ls) return;
    for (size_t i = 0; i < ls->list.n; i++) qs_lesson_free(ls->list.v[i]);
    qs_vec_free(&ls->list);
    free(ls);
}

size_t qs_lessons_count(const qs_lessons *ls) {
    return ls->list.n;
}

const qs_lesson *qs_lessons_at(const qs_lessons *ls, size_t i) {
    return i < ls->list.n ? ls->list.v[i] : NULL;
}
