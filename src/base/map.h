// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Hash maps with open addressing (linear probing, backward-shift deletion, load <= 3/4). Not thread-safe. Keys of
 * `struct map` are borrowed: they must outlive their entry (an arena, or the value itself). Seeds are per process, so
 * hostile keys cannot be prepared. */
#include "base/str.h"
#include <stdint.h>

struct map_entry {
    struct str key;
    void *value;
    uint64_t hash; /* 0 = free slot */
};

struct map {
    struct map_entry *e;
    size_t n, cap;
};

void map_done(struct map *m); /* frees the table, not the values */
void map_reset(struct map *m);
void *map_get(const struct map *m, struct str key); /* NULL when absent */
/* Insert or replace; returns the former value or NULL. value must not be NULL. */
void *map_put(struct map *m, struct str key, void *value);
void *map_del(struct map *m, struct str key); /* returns the removed value or NULL */
/* for (struct map_entry *e = NULL; (e = map_next(m, e));) — order undefined; no change of the map meanwhile. */
struct map_entry *map_next(const struct map *m, struct map_entry *e);

/* uint64 -> uint64, key 0 is allowed. */
struct idmap {
    uint64_t *k, *v;
    uint8_t *used;
    size_t n, cap;
};
void idmap_done(struct idmap *m);
bool idmap_get(const struct idmap *m, uint64_t key, uint64_t *ret);
void idmap_put(struct idmap *m, uint64_t key, uint64_t value);
bool idmap_del(struct idmap *m, uint64_t key);
