// SPDX-License-Identifier: Apache-2.0
#include "tsdb/index_int.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"

static uint32_t pair_hash(struct label l)
{
    return (uint32_t)(hash_mix(hash_seeded(l.name.p, l.name.n)) ^ hash_seeded(l.value.p, l.value.n));
}

void hindex_done(struct hindex *x)
{
    for (size_t i = 0; i < x->pairs.n; i++) {
        free(x->pairs.v[i].value);
        if (x->pairs.v[i].cap)
            free(x->pairs.v[i].ids);
    }
    for (size_t i = 0; i < x->names.n; i++) {
        if (x->names.v[i]) {
            vec_done(&x->names.v[i]->pairs);
            free((char *)(uintptr_t)x->names.v[i]->s.p);
            free(x->names.v[i]);
        }
    }
    vec_done(&x->names);
    vec_done(&x->pairs);
    vec_done(&x->free_pairs);
    map_done(&x->name_map);
    free(x->table);
    *x = (struct hindex){0};
}

static void table_put(struct hindex *x, uint32_t pair)
{
    size_t at = x->pairs.v[pair].hash & (x->table_cap - 1);
    while (x->table[at])
        at = (at + 1) & (x->table_cap - 1);
    x->table[at] = pair + 1;
}

static void table_rebuild(struct hindex *x, size_t cap)
{
    free(x->table);
    x->table = xcalloc(cap, sizeof(*x->table));
    x->table_cap = cap;
    x->table_used = x->n_pairs;
    for (size_t i = 0; i < x->pairs.n; i++)
        if (x->pairs.v[i].value)
            table_put(x, (uint32_t)i);
}

static struct hname *intern_name(struct hindex *x, struct str s)
{
    struct hname *n = map_get(&x->name_map, s);
    if (n)
        return n;
    n = NEW(struct hname);
    n->s = str_make(str_dupz(s), s.n);
    n->id = (uint32_t)x->names.n;
    for (size_t i = 0; i < x->names.n; i++)
        if (!x->names.v[i])
            n->id = (uint32_t)i; /* names are few: a search beats a free list */
    if (n->id == x->names.n)
        vec_push(&x->names, n);
    else
        x->names.v[n->id] = n;
    map_put(&x->name_map, n->s, n);
    return n;
}

static uint32_t find_hashed(const struct hindex *x, struct label l, uint32_t h)
{
    for (size_t at = h & (x->table_cap - 1); x->table_cap && x->table[at]; at = (at + 1) & (x->table_cap - 1)) {
        uint32_t i = x->table[at] - 1;
        const struct hpair *p = &x->pairs.v[i];
        if (p->hash == h && p->value && str_eq(hindex_value(x, i), l.value) && str_eq(x->names.v[p->name]->s, l.name))
            return i;
    }
    return UINT32_MAX;
}

uint32_t hindex_find(const struct hindex *x, struct label l)
{
    return find_hashed(x, l, pair_hash(l));
}

uint32_t hindex_intern(struct hindex *x, struct label l)
{
    uint32_t h = pair_hash(l), i = find_hashed(x, l, h);
    if (i != UINT32_MAX)
        return i;
    if (x->table_used * 2 >= x->table_cap)
        table_rebuild(x, x->table_cap ? x->table_cap * 2 : 256);
    struct hname *name = intern_name(x, l.name);
    struct hpair p = {.name = name->id,
                      .hash = h,
                      .vlen = (uint32_t)l.value.n,
                      .value = str_dupz(l.value),
                      .at = (uint32_t)name->pairs.n};
    if (x->free_pairs.n) {
        i = x->free_pairs.v[--x->free_pairs.n];
        x->pairs.v[i] = p;
    } else {
        i = (uint32_t)x->pairs.n;
        vec_push(&x->pairs, p);
    }
    vec_push(&name->pairs, i);
    name->value_bytes += l.value.n;
    x->n_pairs++;
    x->table_used++;
    table_put(x, i);
    return i;
}

void hindex_add(struct hindex *x, uint32_t pair, uint32_t series_id)
{
    struct hpair *p = &x->pairs.v[pair];
    ASSERT(p->n == 0 || hpair_ids(p)[p->n - 1] < series_id);
    if (p->cap == 0 && p->n < 2) {
        p->few[p->n++] = series_id;
        return;
    }
    if (p->cap == 0) {
        uint32_t *ids = xmalloc(4 * sizeof(*ids));
        memcpy(ids, p->few, sizeof(p->few));
        p->ids = ids;
        p->cap = 4;
    } else if (p->n == p->cap) {
        p->cap += MAX(p->cap / 2, 4U); /* half, not double: postings are a large part of what a series costs */
        p->ids = xrealloc(p->ids, p->cap * sizeof(*p->ids));
    }
    p->ids[p->n++] = series_id;
}

static void free_pair(struct hindex *x, uint32_t i)
{
    struct hpair *p = &x->pairs.v[i];
    struct hname *name = x->names.v[p->name];
    name->value_bytes -= p->vlen;
    if (p->cap)
        free(p->ids);
    free(p->value);
    *p = (struct hpair){.name = UINT32_MAX};
    vec_push(&x->free_pairs, i);
    x->n_pairs--;
}

void hindex_remove(struct hindex *x, const uint32_t *pairs, size_t n_pairs, bool (*dead)(void *ctx, uint32_t id),
                   void *ctx)
{
    bool any = false;
    uint8_t *touched = xcalloc(x->names.n + 1, 1);
    uint8_t *seen = xcalloc(x->pairs.n + 1, 1);
    for (size_t k = 0; k < n_pairs; k++) {
        if (seen[pairs[k]])
            continue;
        seen[pairs[k]] = 1;
        struct hpair *p = &x->pairs.v[pairs[k]];
        uint32_t *ids = p->cap ? p->ids : p->few, w = 0;
        for (uint32_t i = 0; i < p->n; i++)
            if (!dead(ctx, ids[i]))
                ids[w++] = ids[i];
        p->n = w;
        if (w == 0) {
            touched[p->name] = 1;
            any = true;
            free_pair(x, pairs[k]);
        } else if (p->cap && w <= 2) {
            uint32_t few[2] = {ids[0], ids[w - 1]};
            free(p->ids);
            memcpy(p->few, few, sizeof(few));
            p->cap = 0;
        } else if (p->cap && w < p->cap / 2) {
            p->cap = w + w / 4;
            p->ids = xrealloc(p->ids, p->cap * sizeof(*p->ids));
        }
    }
    if (any) {
        for (size_t i = 0; i < x->names.n; i++) {
            struct hname *n = x->names.v[i];
            if (!n || !touched[i])
                continue;
            size_t w = 0;
            for (size_t k = 0; k < n->pairs.n; k++)
                if (x->pairs.v[n->pairs.v[k]].value) {
                    x->pairs.v[n->pairs.v[k]].at = (uint32_t)w;
                    n->pairs.v[w++] = n->pairs.v[k];
                }
            n->pairs.n = w;
            if (w == 0) {
                map_del(&x->name_map, n->s);
                vec_done(&n->pairs);
                free((char *)(uintptr_t)n->s.p);
                free(n);
                x->names.v[i] = NULL;
            }
        }
        size_t cap = 256;
        while (x->n_pairs * 2 >= cap)
            cap *= 2;
        table_rebuild(x, cap);
    }
    free(touched);
    free(seen);
}

/* ---- sets ---- */

void u32s_intersect(u32s *a, const u32s *b)
{
    size_t w = 0, j = 0;
    if (b->n > 32 * a->n) { /* far fewer left than listed: leap by halves */
        for (size_t i = 0; i < a->n; i++) {
            size_t lo = j, step = 1;
            while (lo + step < b->n && b->v[lo + step] < a->v[i]) {
                lo += step;
                step *= 2;
            }
            size_t hi = MIN(lo + step, b->n);
            while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;
                if (b->v[mid] < a->v[i])
                    lo = mid + 1;
                else
                    hi = mid;
            }
            j = lo;
            if (j < b->n && b->v[j] == a->v[i])
                a->v[w++] = a->v[i];
        }
        a->n = w;
        return;
    }
    for (size_t i = 0; i < a->n && j < b->n;) {
        if (a->v[i] < b->v[j]) {
            i++;
        } else if (a->v[i] > b->v[j]) {
            j++;
        } else {
            a->v[w++] = a->v[i++];
            j++;
        }
    }
    a->n = w;
}

void u32s_subtract(u32s *a, const u32s *b)
{
    size_t w = 0, j = 0;
    for (size_t i = 0; i < a->n; i++) {
        while (j < b->n && b->v[j] < a->v[i])
            j++;
        if (j >= b->n || b->v[j] != a->v[i])
            a->v[w++] = a->v[i];
    }
    a->n = w;
}

static int u32_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A series has one value of a name, so the lists of different values never share an id: joining is sorting. */
static void u32s_sort(u32s *a)
{
    for (size_t i = 1; i < a->n; i++) {
        if (a->v[i] < a->v[i - 1]) {
            qsort(a->v, a->n, sizeof(*a->v), u32_cmp);
            return;
        }
    }
}

/* Series whose value of the matcher's name is one that `want` says: joined lists. */
static void collect(const struct postings_view *v, const void *index, const struct matcher *m, bool want, u32s *out)
{
    struct postings_handle h;
    const struct str *alt;
    size_t n_alt;
    if (!v->name(index, m->name, &h))
        return;
    bool positive = m->op == MATCH_EQ || m->op == MATCH_RE;
    bool listed = m->op == MATCH_EQ || m->op == MATCH_NE;
    if (listed) {
        alt = &m->value;
        n_alt = 1;
    } else {
        listed = regex_alternatives(m->re, &alt, &n_alt);
    }
    if (listed && want == positive) { /* the values are named: no walk over all of them */
        for (size_t k = 0; k < n_alt; k++) {
            bool repeated = false;
            for (size_t j = 0; j < k && !repeated; j++)
                repeated = str_eq(alt[j], alt[k]);
            uint32_t i = repeated || str_empty(alt[k]) ? UINT32_MAX : v->find(index, &h, alt[k]);
            if (i != UINT32_MAX)
                v->postings(index, &h, i, out);
        }
    } else {
        uint32_t n = v->name_n(index, &h);
        for (uint32_t i = 0; i < n; i++)
            if (matcher_value(m, v->value(index, &h, i)) == want)
                v->postings(index, &h, i, out);
    }
    u32s_sort(out);
}

void postings_match(const struct postings_view *v, const void *index, const struct matcher *m, size_t n, u32s *out)
{
    bool have = false;
    u32s list = {0};
    vec_reset(out);
    /* Matchers that want a value narrow the set, equality first (the cheapest); those that an absent label satisfies
     * then only take away. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            if (matcher_value(&m[i], STR("")) || (m[i].op == MATCH_EQ) != (pass == 0))
                continue;
            if (have && out->n == 0)
                continue;
            vec_reset(&list);
            collect(v, index, &m[i], true, have ? &list : out);
            if (have)
                u32s_intersect(out, &list);
            have = true;
        }
    }
    if (!have)
        v->all(index, out);
    for (size_t i = 0; i < n && out->n; i++) {
        if (!matcher_value(&m[i], STR("")))
            continue;
        vec_reset(&list);
        collect(v, index, &m[i], false, &list);
        u32s_subtract(out, &list);
    }
    vec_done(&list);
}
