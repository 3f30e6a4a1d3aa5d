// SPDX-License-Identifier: Apache-2.0
/* Chunks double from 4 KiB to 1 MiB. An object larger than a quarter of the next chunk gets a chunk of its own, put
 * behind the current one so that the room left there is not lost. */
#include "base/arena.h"

#include "base/error.h"
#include "base/mem.h"
#include <stdio.h>

#define CHUNK_MIN ((size_t)4 << 10)
#define CHUNK_MAX ((size_t)1 << 20)
#define ALIGN 16

struct chunk {
    struct chunk *next;
    size_t size, used; /* of data[] */
    _Alignas(ALIGN) char data[];
};

struct arena {
    struct chunk *head;
    size_t held, budget, next_size;
};

struct arena *arena_new(size_t budget)
{
    struct arena *a = NEW(struct arena);
    a->budget = budget;
    a->next_size = CHUNK_MIN;
    return a;
}

static void free_chunks(struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
}

struct arena *arena_free(struct arena *a)
{
    if (a)
        free_chunks(a->head);
    free(a);
    return NULL;
}

void arena_reset(struct arena *a)
{
    struct chunk *keep = a->head;
    if (!keep)
        return;
    free_chunks(keep->next);
    keep->next = NULL;
    memset(keep->data, 0, keep->used);
    keep->used = 0;
    a->held = sizeof(*keep) + keep->size;
}

size_t arena_used(const struct arena *a)
{
    return a->held;
}

static struct chunk *add_chunk(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2 || (a->budget && a->held + sizeof(struct chunk) + size > a->budget))
        return NULL;
    struct chunk *c = calloc(1, sizeof(*c) + size);
    if (!c)
        return NULL;
    c->size = size;
    a->held += sizeof(*c) + size;
    return c;
}

void *arena_try(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 4)
        return NULL;
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct chunk *c = a->head;
    if (c && c->size - c->used >= n) {
        void *p = c->data + c->used;
        c->used += n;
        return p;
    }
    if (c && n > a->next_size / 4) {
        struct chunk *own = add_chunk(a, n);
        if (!own)
            return NULL;
        own->used = n;
        own->next = c->next;
        c->next = own;
        return own->data;
    }
    size_t size = MAX(a->next_size, n);
    struct chunk *fresh = add_chunk(a, size);
    if (!fresh && size > n)
        fresh = add_chunk(a, n); /* near the budget: just what is asked */
    if (!fresh)
        return NULL;
    a->next_size = MIN(a->next_size * 2, CHUNK_MAX);
    fresh->next = c;
    a->head = fresh;
    fresh->used = n;
    return fresh->data;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = arena_try(a, n);
    if (!p)
        FATAL("arena: cannot get %zu bytes (held %zu, budget %zu)", n, a->held, a->budget);
    return p;
}

char *arena_strz(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    return str_make(arena_strz(a, s), s.n);
}

struct str arena_fmt(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_make(p, (size_t)n);
}
