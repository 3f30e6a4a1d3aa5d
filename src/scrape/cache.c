// SPDX-License-Identifier: Apache-2.0
#include "scrape/scrape_int.h"

static void table_put(struct line_cache *c, struct line *l)
{
    size_t i = l->hash & (c->cap - 1);
    while (c->slots[i])
        i = (i + 1) & (c->cap - 1);
    c->slots[i] = l;
}

struct line *cache_find(const struct line_cache *c, struct str raw, uint64_t hash)
{
    if (c->cap == 0)
        return NULL;
    for (size_t i = hash & (c->cap - 1); c->slots[i]; i = (i + 1) & (c->cap - 1)) {
        struct line *l = c->slots[i];
        if (l->hash == hash && l->n == raw.n && memcmp(l->raw, raw.p, raw.n) == 0)
            return l;
    }
    return NULL;
}

struct line *cache_add(struct line_cache *c, struct str raw, uint64_t hash)
{
    if ((c->n + 1) * 4 > c->cap * 3) {
        struct line **old = c->slots;
        size_t old_cap = c->cap;
        c->cap = old_cap ? old_cap * 2 : 64;
        c->slots = xcalloc(c->cap, sizeof(*c->slots));
        for (size_t i = 0; i < old_cap; i++)
            if (old[i])
                table_put(c, old[i]);
        free(old);
    }
    struct line *l = xcalloc(1, sizeof(*l) + raw.n);
    l->hash = hash;
    l->n = (uint32_t)raw.n;
    l->flags = LINE_FRESH;
    memcpy(l->raw, raw.p, raw.n);
    table_put(c, l);
    c->n++;
    return l;
}

void cache_remove(struct line_cache *c, struct line *l)
{
    size_t mask = c->cap - 1, i = l->hash & mask;
    while (c->slots[i] != l)
        i = (i + 1) & mask;
    /* Close the gap: whoever would no longer be found moves back. */
    for (size_t j = (i + 1) & mask; c->slots[j]; j = (j + 1) & mask) {
        size_t home = c->slots[j]->hash & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            c->slots[i] = c->slots[j];
            i = j;
        }
    }
    c->slots[i] = NULL;
    c->n--;
    free(l);
}

void cache_forget(struct line_cache *c)
{
    for (size_t i = 0; i < c->cap; i++) {
        struct line *l = c->slots[i];
        if (!l)
            continue;
        if ((l->flags & LINE_TRACKED) && l->ref)
            vec_push(&c->orphans, l->ref);
        free(l);
        c->slots[i] = NULL;
    }
    c->n = 0;
    vec_reset(&c->order);
    vec_reset(&c->next);
}

void cache_done(struct line_cache *c)
{
    cache_forget(c);
    free(c->slots);
    vec_done(&c->order);
    vec_done(&c->next);
    vec_done(&c->orphans);
    *c = (struct line_cache){0};
}
