// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Typed growing array: `VEC(struct foo) foos = {0};`. Aborts on out of memory, so the element count must be bounded by
 * the caller. vec_done() frees the array, not what elements point to. */
#include "base/mem.h"
#include <stdint.h>

#define VEC(type)                                                                                                      \
    struct {                                                                                                           \
        type *v;                                                                                                       \
        size_t n, cap;                                                                                                 \
    }

#define vec_reserve(vec, want)                                                                                         \
    do {                                                                                                               \
        if ((vec)->cap < (want)) {                                                                                     \
            size_t vec_cap_ = (vec)->cap ? (vec)->cap * 2 : 8;                                                         \
            if (vec_cap_ < (want))                                                                                     \
                vec_cap_ = (want);                                                                                     \
            (vec)->v = xrealloc((vec)->v, vec_cap_ * sizeof(*(vec)->v));                                               \
            (vec)->cap = vec_cap_;                                                                                     \
        }                                                                                                              \
    } while (0)

#define vec_push(vec, ...)                                                                                             \
    do {                                                                                                               \
        vec_reserve((vec), (vec)->n + 1);                                                                              \
        (vec)->v[(vec)->n++] = (__VA_ARGS__);                                                                          \
    } while (0)

/* Remove element i, order not kept. */
#define vec_swap_del(vec, i) ((vec)->v[(i)] = (vec)->v[--(vec)->n])
/* Remove element i, order kept. */
#define vec_del(vec, i)                                                                                                \
    do {                                                                                                               \
        memmove(&(vec)->v[(i)], &(vec)->v[(i) + 1], ((vec)->n - (i)-1) * sizeof(*(vec)->v));                           \
        (vec)->n--;                                                                                                    \
    } while (0)
#define vec_reset(vec) ((void)((vec)->n = 0))
#define vec_done(vec)                                                                                                  \
    do {                                                                                                               \
        free((vec)->v);                                                                                                \
        (vec)->v = NULL;                                                                                               \
        (vec)->n = (vec)->cap = 0;                                                                                     \
    } while (0)
