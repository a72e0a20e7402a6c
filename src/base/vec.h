/* Growing arrays on the heap: QS_VEC(T) name = {0}; qs_push(&name, value) is false when memory is out. */
#ifndef QS_BASE_VEC_H
#define QS_BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>

#define QS_VEC(T)                                                                                            \
    struct {                                                                                                 \
        T *v;                                                                                                \
        size_t n, cap;                                                                                       \
    }

/* Room for `need` elements of `size` bytes; *v and *cap are unchanged on failure. */
bool qs_vec_reserve_(void **v, size_t *cap, size_t size, size_t need);

#define qs_reserve(vec, need)                                                                                \
    ((need) <= (vec)->cap || qs_vec_reserve_((void **)&(vec)->v, &(vec)->cap, sizeof *(vec)->v, (need)))
#define qs_push(vec, ...)                                                                                    \
    (qs_reserve((vec), (vec)->n + 1) ? ((vec)->v[(vec)->n++] = (__VA_ARGS__), true) : false)
#define qs_vec_free(vec) (free((vec)->v), (vec)->v = NULL, (vec)->n = (vec)->cap = 0)

#endif
