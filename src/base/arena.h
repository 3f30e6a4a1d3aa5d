// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Region allocator: many small objects, one lifetime. One per request, query, scrape, rule evaluation or configuration
 * generation. Not thread-safe. Memory is zeroed and aligned to 16 bytes. */
#include "base/str.h"
#include <stdarg.h>
#include <stdint.h>

struct arena;

/* budget: upper bound in bytes of all chunks together, 0 = none. Nothing is allocated before the first use. */
struct arena *arena_new(size_t budget);
struct arena *arena_free(struct arena *a); /* accepts NULL, returns NULL */
/* Forget every object, keep the first chunk for reuse. */
void arena_reset(struct arena *a);
size_t arena_used(const struct arena *a); /* bytes of chunks held */

/* Aborts when memory ends or the budget is passed: for sizes the caller has bounded. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
/* NULL when the budget is passed: for sizes that come from input. */
void *arena_try(struct arena *a, size_t n) __attribute__((warn_unused_result));
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))

struct str arena_str(struct arena *a, struct str s); /* a NUL-terminated copy */
char *arena_strz(struct arena *a, struct str s);     /* the same as char * */
struct str arena_fmt(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void arena_freep(struct arena **a)
{
    *a = arena_free(*a);
}
#define _cleanup_arena_ __attribute__((cleanup(arena_freep)))
