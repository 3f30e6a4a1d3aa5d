// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include "base/hash.h"
#include "base/mem.h"

static uint64_t key_hash(struct str key)
{
    uint64_t h = hash_seeded(key.p, key.n);
    return h ? h : 1;
}

void map_done(struct map *m)
{
    free(m->e);
    *m = (struct map){0};
}

void map_reset(struct map *m)
{
    if (m->cap)
        memset(m->e, 0, m->cap * sizeof(*m->e));
    m->n = 0;
}

static struct map_entry *find(const struct map *m, struct str key, uint64_t h)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_entry *e = &m->e[i];
        if (e->hash == 0)
            return NULL;
        if (e->hash == h && str_eq(e->key, key))
            return e;
    }
}

static void insert(struct map *m, struct map_entry entry)
{
    size_t i = entry.hash & (m->cap - 1);
    while (m->e[i].hash)
        i = (i + 1) & (m->cap - 1);
    m->e[i] = entry;
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->cap = old.cap ? old.cap * 2 : 16;
    m->e = xcalloc(m->cap, sizeof(*m->e));
    for (size_t i = 0; i < old.cap; i++)
        if (old.e[i].hash)
            insert(m, old.e[i]);
    free(old.e);
}

void *map_get(const struct map *m, struct str key)
{
    struct map_entry *e = find(m, key, key_hash(key));
    return e ? e->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
    uint64_t h = key_hash(key);
    struct map_entry *e = find(m, key, h);
    if (e) {
        void *old = e->value;
        e->value = value;
        e->key = key; /* the old key may die with the old value */
        return old;
    }
    if ((m->n + 1) * 4 > m->cap * 3)
        grow(m);
    insert(m, (struct map_entry){.key = key, .value = value, .hash = h});
    m->n++;
    return NULL;
}

void *map_del(struct map *m, struct str key)
{
    struct map_entry *e = find(m, key, key_hash(key));
    if (!e)
        return NULL;
    void *old = e->value;
    size_t hole = (size_t)(e - m->e), mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->e[i].hash; i = (i + 1) & mask) {
        size_t home = m->e[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->e[hole] = m->e[i];
            hole = i;
        }
    }
    m->e[hole] = (struct map_entry){0};
    m->n--;
    return old;
}

struct map_entry *map_next(const struct map *m, struct map_entry *e)
{
    for (size_t i = e ? (size_t)(e - m->e) + 1 : 0; i < m->cap; i++)
        if (m->e[i].hash)
            return &m->e[i];
    return NULL;
}

void idmap_done(struct idmap *m)
{
    free(m->k);
    free(m->v);
    free(m->used);
    *m = (struct idmap){0};
}

static size_t id_slot(const struct idmap *m, uint64_t key)
{
    size_t i = hash_mix(key) & (m->cap - 1);
    while (m->used[i] && m->k[i] != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

bool idmap_get(const struct idmap *m, uint64_t key, uint64_t *ret)
{
    if (m->cap == 0)
        return false;
    size_t i = id_slot(m, key);
    if (!m->used[i])
        return false;
    *ret = m->v[i];
    return true;
}

static void id_grow(struct idmap *m)
{
    struct idmap old = *m;
    m->cap = old.cap ? old.cap * 2 : 16;
    m->k = xcalloc(m->cap, sizeof(*m->k));
    m->v = xcalloc(m->cap, sizeof(*m->v));
    m->used = xcalloc(m->cap, 1);
    m->n = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.used[i])
            idmap_put(m, old.k[i], old.v[i]);
    idmap_done(&old);
}

void idmap_put(struct idmap *m, uint64_t key, uint64_t value)
{
    if ((m->n + 1) * 4 > m->cap * 3)
        id_grow(m);
    size_t i = id_slot(m, key);
    if (!m->used[i]) {
        m->used[i] = 1;
        m->k[i] = key;
        m->n++;
    }
    m->v[i] = value;
}

bool idmap_del(struct idmap *m, uint64_t key)
{
    if (m->cap == 0)
        return false;
    size_t hole = id_slot(m, key), mask = m->cap - 1;
    if (!m->used[hole])
        return false;
    for (size_t i = (hole + 1) & mask; m->used[i]; i = (i + 1) & mask) {
        size_t home = hash_mix(m->k[i]) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->k[hole] = m->k[i];
            m->v[hole] = m->v[i];
            hole = i;
        }
    }
    m->used[hole] = 0;
    m->n--;
    return true;
}
