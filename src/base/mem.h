// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Allocation that aborts: for bounded small sizes only. A size that comes from input goes through limit() first and
 * uses malloc or an arena with a budget. Results are owned by the caller and released with free(). */
#include <stddef.h>
#include <stdlib.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

void *xmalloc(size_t n) __attribute__((returns_nonnull, malloc));
void *xcalloc(size_t n, size_t size) __attribute__((returns_nonnull, malloc));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *z) __attribute__((returns_nonnull, malloc));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull, malloc));

#define NEW(type) ((type *)xcalloc(1, sizeof(type)))

static inline void freep(void *pp)
{
    free(*(void **)pp);
}
#define _cleanup_free_ _cleanup_(freep)
