// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The head's inverted index: label pairs by number, and for each pair the ascending ids of the series that carry it.
 * Strings are kept once. Guarded by a lock of its owner: many readers or one writer. */
#include "base/map.h"
#include "base/vec.h"
#include "model/matcher.h"

typedef VEC(uint32_t) u32s;

struct hpair { /* one name="value" */
    uint32_t name, hash;
    uint32_t vlen, n; /* value length; postings. A free slot has value NULL */
    uint32_t cap;     /* 0: up to two ids stand in `few` */
    uint32_t at;      /* place in its name's list */
    char *value;
    union {
        uint32_t few[2];
        uint32_t *ids;
    };
};

struct hname {
    struct str s;
    uint32_t id;
    u32s pairs;           /* in order of making */
    uint64_t value_bytes; /* of all its values */
};

struct hindex {
    VEC(struct hname *) names; /* [id]; NULL when free */
    struct map name_map;
    VEC(struct hpair) pairs;
    u32s free_pairs;
    uint32_t *table; /* pair + 1, open addressing over hash */
    size_t table_cap, table_used;
    uint64_t n_pairs; /* live ones */
};

void hindex_done(struct hindex *x);
/* The pair's number, made when new. Writer. */
uint32_t hindex_intern(struct hindex *x, struct label l);
/* The pair's number, UINT32_MAX when there is none. */
uint32_t hindex_find(const struct hindex *x, struct label l);
void hindex_add(struct hindex *x, uint32_t pair,
                uint32_t series_id); /* ids must be added in ascending order. Writer. */
/* Remove the dead ids from the pairs listed (any order, repeats allowed) and forget pairs and names left empty. Writer.
 */
void hindex_remove(struct hindex *x, const uint32_t *pairs, size_t n_pairs, bool (*dead)(void *ctx, uint32_t id),
                   void *ctx);

static inline const uint32_t *hpair_ids(const struct hpair *p)
{
    return p->cap ? p->ids : p->few;
}
static inline struct str hindex_value(const struct hindex *x, uint32_t pair)
{
    return str_make(x->pairs.v[pair].value, x->pairs.v[pair].vlen);
}
static inline struct label hindex_label(const struct hindex *x, uint32_t pair)
{
    return (struct label){.name = x->names.v[x->pairs.v[pair].name]->s, .value = hindex_value(x, pair)};
}

/* ---- postings of any index, by matchers ----
 * What a look-up needs of an index. Lists are ascending and appended to `out`. */
struct postings_view {
    /* Pairs of a name; false when there is none. Then pair(i) for i < n. */
    bool (*name)(const void *index, struct str name, void *ret_handle);
    uint32_t (*name_n)(const void *index, const void *handle);
    struct str (*value)(const void *index, const void *handle, uint32_t i);
    void (*postings)(const void *index, const void *handle, uint32_t i, u32s *out);
    /* Which i has exactly this value; UINT32_MAX when none. */
    uint32_t (*find)(const void *index, const void *handle, struct str value);
    void (*all)(const void *index, u32s *out);
};
struct postings_handle { /* room for a view's own */
    uintptr_t a, b;
};
/* Series that match all matchers, ascending. n may be 0: all of them. */
void postings_match(const struct postings_view *v, const void *index, const struct matcher *m, size_t n, u32s *out);

void u32s_intersect(u32s *a, const u32s *b); /* a &= b */
void u32s_subtract(u32s *a, const u32s *b);  /* a -= b */
