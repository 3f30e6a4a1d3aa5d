// SPDX-License-Identifier: Apache-2.0
/* Snapshots: what readers see. */
#include "tsdb/tsdb_int.h"

#include "base/limits.h"

struct sref {             /* what source_series.id points to; in the snapshot's arena */
    struct mseries *head; /* NULL: only in blocks */
    uint32_t n;
    struct {
        uint32_t block, ord;
    } v[];
};

/* ---- a block's index as a view ---- */

static bool view_name(const void *index, struct str name, void *ret)
{
    uint32_t first, n;
    if (!bindex_find_name(index, name, &first, &n))
        return false;
    *(struct postings_handle *)ret = (struct postings_handle){.a = first, .b = n};
    return true;
}

static uint32_t view_first(const void *handle)
{
    return (uint32_t)((const struct postings_handle *)handle)->a;
}

static uint32_t view_n(const void *index, const void *handle)
{
    (void)index;
    return (uint32_t)((const struct postings_handle *)handle)->b;
}

static struct str view_value(const void *index, const void *handle, uint32_t i)
{
    return bindex_value(index, view_first(handle) + i);
}

static void view_postings(const void *index, const void *handle, uint32_t i, u32s *out)
{
    uint32_t n = bindex_postings_n(index, view_first(handle) + i);
    vec_reserve(out, out->n + n);
    bindex_postings(index, view_first(handle) + i, out->v + out->n);
    out->n += n;
}

static uint32_t view_find(const void *index, const void *handle, struct str value)
{
    uint32_t first = view_first(handle), n = view_n(index, handle), at = bindex_lower(index, first, n, value);
    return at < first + n && str_eq(bindex_value(index, at), value) ? at - first : UINT32_MAX;
}

static void view_all(const void *index, u32s *out)
{
    uint32_t n = ((const struct bindex *)index)->n_series;
    vec_reserve(out, out->n + n);
    for (uint32_t i = 0; i < n; i++)
        out->v[out->n++] = i;
}

const struct postings_view block_postings = {.name = view_name,
                                             .name_n = view_n,
                                             .value = view_value,
                                             .postings = view_postings,
                                             .find = view_find,
                                             .all = view_all};

/* ---- walking ---- */

/* The index of one block, kept by the snapshot; NULL when it cannot be read: the rest is served, the loss is counted.
 */
static struct bindex *snap_index(struct snap *sn, size_t i)
{
    struct tsdb *db = sn->db;
    pthread_mutex_lock(&sn->lock);
    if (!sn->idx)
        sn->idx = xcalloc(sn->bs->n + 1, sizeof(struct bindex *));
    if (!sn->idx[i]) {
        int r = block_index(sn->bs->v[i].b, clock_mono_ns(db->clock), &sn->idx[i]);
        if (r) {
            sn->idx[i] = NULL;
            count_add(db, C_CORRUPTIONS, 1);
            log_error("block unreadable, its samples are missing in answers", KV_Z("path", sn->bs->v[i].b->path),
                      KV_ERR(r));
        }
    }
    struct bindex *x = sn->idx[i];
    pthread_mutex_unlock(&sn->lock);
    return x;
}

struct found { /* one series of one part */
    struct labels labels;
    struct mseries *head;
    uint32_t block, ord;
};
/* labels are valid for the call only (their strings as long as the snapshot). Non-zero stops the walk. */
typedef int (*walk_fn)(void *ctx, const struct found *f);

static struct label *room_for(struct label **tmp, size_t *cap, size_t n)
{
    if (n > *cap) {
        *cap = n + 16;
        *tmp = xrealloc(*tmp, *cap * sizeof(**tmp));
    }
    return *tmp;
}

/* The head's part. Series are listed under the index lock, which writers of new series wait for. */
static int walk_head(struct snap *sn, const struct matcher *m, size_t n, int64_t mint, int64_t maxt, walk_fn fn,
                     void *ctx)
{
    struct tsdb *db = sn->db;
    u32s ids = {0};
    struct label *tmp = NULL;
    size_t cap = 0;
    int r = 0;
    pthread_rwlock_rdlock(&db->index_lock);
    postings_match(&head_postings, db, m, n, &ids);
    for (size_t i = 0; i < ids.n && r == 0; i++) {
        struct mseries *s = head_by_id(db, ids.v[i]);
        pthread_mutex_lock(head_stripe(db, s));
        struct mstate st = head_state(db, s, sn->seq, sn->flushed);
        bool has = head_overlaps(&st, sn->flushed, mint, maxt);
        pthread_mutex_unlock(head_stripe(db, s));
        if (!has)
            continue;
        head_labels(db, s, room_for(&tmp, &cap, s->n_labels));
        struct found f = {.labels = {.v = tmp, .n = s->n_labels}, .head = s};
        r = fn(ctx, &f);
    }
    pthread_rwlock_unlock(&db->index_lock);
    vec_done(&ids);
    free(tmp);
    return r;
}

static int walk_block(struct snap *sn, size_t b, const struct matcher *m, size_t n, int64_t mint, int64_t maxt,
                      walk_fn fn, void *ctx)
{
    const struct block_meta *meta = &sn->bs->v[b].b->meta;
    if (meta->max_t < mint || meta->min_t > maxt)
        return 0;
    struct bindex *x = snap_index(sn, b);
    if (!x)
        return 0;
    bool whole = mint <= meta->min_t && maxt >= meta->max_t;
    u32s ords = {0};
    struct label *tmp = NULL;
    size_t cap = 0;
    int r = 0;
    postings_match(&block_postings, x, m, n, &ords);
    for (size_t i = 0; i < ords.n && r == 0; i++) {
        int64_t min, max;
        if (!whole) {
            bindex_range(x, ords.v[i], &min, &max);
            if (max < mint || min > maxt)
                continue;
        }
        size_t nl = bindex_labels(x, ords.v[i], tmp, cap);
        if (nl > cap)
            (void)bindex_labels(x, ords.v[i], room_for(&tmp, &cap, nl), nl);
        struct found f = {.labels = {.v = tmp, .n = nl}, .block = (uint32_t)b, .ord = ords.v[i]};
        r = fn(ctx, &f);
    }
    vec_done(&ords);
    free(tmp);
    return r;
}

static int walk(struct snap *sn, const struct matcher *m, size_t n, int64_t mint, int64_t maxt, walk_fn fn, void *ctx)
{
    int r = 0;
    for (size_t b = 0; b < sn->bs->n && r == 0; b++)
        r = walk_block(sn, b, m, n, mint, maxt, fn, ctx);
    return r ? r : walk_head(sn, m, n, mint, maxt, fn, ctx);
}

/* ---- select ---- */

struct selection {
    struct snap *sn;
    VEC(struct found) v;
};

static int keep_found(void *ctx, const struct found *f)
{
    struct selection *s = ctx;
    struct found copy = *f;
    pthread_mutex_lock(&s->sn->lock);
    struct label *l = arena_try(s->sn->mem, f->labels.n * sizeof(*l));
    pthread_mutex_unlock(&s->sn->lock);
    if (!l)
        return -ENOMEM;
    memcpy(l, f->labels.v, f->labels.n * sizeof(*l));
    copy.labels.v = l;
    vec_push(&s->v, copy);
    return 0;
}

static int found_cmp(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int c = labels_cmp(x->labels, y->labels);
    if (c)
        return c;
    /* Blocks in the order of the set (which value counts is decided by it), the head last. */
    if (!x->head != !y->head)
        return x->head ? 1 : -1;
    return (x->block > y->block) - (x->block < y->block);
}

static int group_found(struct selection *s, struct arena *a, struct source_list *ret)
{
    for (size_t i = 1; i < s->v.n; i++) {
        if (found_cmp(&s->v.v[i - 1], &s->v.v[i]) > 0) {
            qsort(s->v.v, s->v.n, sizeof(*s->v.v), found_cmp);
            break;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < s->v.n; i++)
        n += i == 0 || labels_cmp(s->v.v[i - 1].labels, s->v.v[i].labels) != 0;
    struct source_series *out = arena_try(a, (n ? n : 1) * sizeof(*out));
    if (!out)
        return -ENOMEM;
    size_t k = 0;
    for (size_t i = 0, j; i < s->v.n; i = j) {
        for (j = i + 1; j < s->v.n && labels_cmp(s->v.v[i].labels, s->v.v[j].labels) == 0;)
            j++;
        struct sref *ref = arena_try(s->sn->mem, sizeof(*ref) + (j - i) * sizeof(ref->v[0]));
        if (!ref)
            return -ENOMEM;
        for (size_t q = i; q < j; q++) {
            const struct found *f = &s->v.v[q];
            if (f->head) {
                ref->head = f->head;
            } else {
                ref->v[ref->n].block = f->block;
                ref->v[ref->n++].ord = f->ord;
            }
        }
        out[k++] = (struct source_series){.labels = s->v.v[i].labels, .id = (uint64_t)(uintptr_t)ref};
    }
    *ret = (struct source_list){.v = out, .n = k};
    return 0;
}

static int snap_select(struct snapshot *base, const struct matcher *m, size_t n, int64_t mint, int64_t maxt,
                       struct arena *a, struct source_list *ret)
{
    struct snap *sn = CONTAINER_OF(base, struct snap, base);
    struct selection s = {.sn = sn};
    int r = walk(sn, m, n, mint, maxt, keep_found, &s);
    if (!r) {
        pthread_mutex_lock(&sn->lock);
        r = group_found(&s, a, ret);
        pthread_mutex_unlock(&sn->lock);
    }
    vec_done(&s.v);
    return r;
}

static int snap_read(struct snapshot *base, const struct source_series *series, int64_t mint, int64_t maxt,
                     struct column *into)
{
    struct snap *sn = CONTAINER_OF(base, struct snap, base);
    const struct sref *ref = (const struct sref *)(uintptr_t)series->id;
    size_t from = into->n;
    int r = 0;
    for (uint32_t i = 0; i < ref->n && !r; i++) {
        const struct blockset_entry *e = &sn->bs->v[ref->v[i].block];
        if (e->b->meta.max_t >= mint && e->b->meta.min_t <= maxt)
            r = block_read(e->b, sn->idx[ref->v[i].block], e->t, ref->v[i].ord, mint, maxt, into);
        if (r == -EIO || r == -EBADMSG) { /* a bad disk loses its own samples, not the others */
            count_add(sn->db, C_CORRUPTIONS, 1);
            r = 0;
        }
    }
    if (!r && ref->head)
        r = head_read(sn->db, ref->head, sn->seq, sn->flushed, UINT32_MAX, mint, maxt, into);
    if (r) {
        into->n = from;
        return r;
    }
    column_sort_unique(into, from);
    return 0;
}

/* ---- names and values ---- */

struct strings {
    struct arena *a;
    struct map seen;
    VEC(struct str) v;
    struct str label; /* whose values; empty: names */
};

static int add_string(struct strings *s, struct str x)
{
    if (map_get(&s->seen, x))
        return 0;
    char *p = arena_try(s->a, x.n + 1);
    if (!p)
        return -ENOMEM;
    memcpy(p, x.p, x.n);
    struct str copy = str_make(p, x.n);
    map_put(&s->seen, copy, s);
    vec_push(&s->v, copy);
    return 0;
}

static int add_labels(void *ctx, const struct found *f)
{
    struct strings *s = ctx;
    int r = 0;
    for (size_t i = 0; i < f->labels.n && !r; i++) {
        if (str_empty(s->label))
            r = add_string(s, f->labels.v[i].name);
        else if (str_eq(f->labels.v[i].name, s->label))
            r = add_string(s, f->labels.v[i].value);
    }
    return r;
}

/* Without matchers the indexes are asked, not the series. */
static int add_all(struct snap *sn, int64_t mint, int64_t maxt, struct strings *s)
{
    struct tsdb *db = sn->db;
    int r = 0;
    for (size_t b = 0; b < sn->bs->n && !r; b++) {
        const struct block_meta *meta = &sn->bs->v[b].b->meta;
        struct bindex *x = meta->max_t < mint || meta->min_t > maxt ? NULL : snap_index(sn, b);
        uint32_t first = 0, n = 0;
        if (x && str_empty(s->label))
            for (uint32_t i = 0; i < x->n_names && !r; i++)
                r = add_string(s, bindex_name(x, i));
        else if (x && bindex_find_name(x, s->label, &first, &n))
            for (uint32_t i = 0; i < n && !r; i++)
                r = add_string(s, bindex_value(x, first + i));
    }
    if (r || atomic_load(&db->head_max_t) < mint || atomic_load(&db->head_min_t) > maxt)
        return r;
    pthread_rwlock_rdlock(&db->index_lock);
    if (str_empty(s->label)) {
        for (size_t i = 0; i < db->index.names.n && !r; i++)
            if (db->index.names.v[i])
                r = add_string(s, db->index.names.v[i]->s);
    } else {
        const struct hname *name = map_get(&db->index.name_map, s->label);
        for (size_t i = 0; name && i < name->pairs.n && !r; i++)
            r = add_string(s, hindex_value(&db->index, name->pairs.v[i]));
    }
    pthread_rwlock_unlock(&db->index_lock);
    return r;
}

static int str_order(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int list_strings(struct snapshot *base, struct str label, const struct matcher *m, size_t n, int64_t mint,
                        int64_t maxt, size_t max, struct arena *a, struct str **ret, size_t *ret_n)
{
    struct snap *sn = CONTAINER_OF(base, struct snap, base);
    struct strings s = {.a = a, .label = label};
    int r = n ? walk(sn, m, n, mint, maxt, add_labels, &s) : add_all(sn, mint, maxt, &s);
    if (!r && s.v.n)
        qsort(s.v.v, s.v.n, sizeof(*s.v.v), str_order);
    if (!r) {
        size_t k = max ? MIN(max, s.v.n) : s.v.n;
        struct str *out = arena_try(a, (k ? k : 1) * sizeof(*out));
        if (out) {
            if (k)
                memcpy(out, s.v.v, k * sizeof(*out));
            *ret = out;
            *ret_n = k;
        } else {
            r = -ENOMEM;
        }
    }
    map_done(&s.seen);
    vec_done(&s.v);
    return r;
}

static int snap_label_names(struct snapshot *s, const struct matcher *m, size_t n, int64_t mint, int64_t maxt,
                            size_t max, struct arena *a, struct str **ret, size_t *ret_n)
{
    return list_strings(s, STR(""), m, n, mint, maxt, max, a, ret, ret_n);
}

static int snap_label_values(struct snapshot *s, struct str label, const struct matcher *m, size_t n, int64_t mint,
                             int64_t maxt, size_t max, struct arena *a, struct str **ret, size_t *ret_n)
{
    if (str_empty(label)) {
        *ret_n = 0;
        return 0;
    }
    return list_strings(s, label, m, n, mint, maxt, max, a, ret, ret_n);
}

/* ---- life ---- */

struct blockset *blockset_ref(struct blockset *bs)
{
    atomic_fetch_add_explicit(&bs->refs, 1, memory_order_relaxed);
    return bs;
}

void blockset_unref(struct blockset *bs)
{
    if (!bs || atomic_fetch_sub_explicit(&bs->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < bs->n; i++) {
        block_unref(bs->v[i].b);
        tombs_unref(bs->v[i].t);
    }
    free(bs);
}

static void snap_release(struct snapshot *base)
{
    snap_close(CONTAINER_OF(base, struct snap, base));
}

static const struct snapshot_ops snap_ops = {.select = snap_select,
                                             .read = snap_read,
                                             .label_names = snap_label_names,
                                             .label_values = snap_label_values,
                                             .release = snap_release};

struct snap *snap_open_locked(struct tsdb *db)
{
    struct snap *sn = NEW(struct snap);
    sn->base.ops = &snap_ops;
    sn->db = db;
    sn->seq = ++db->seq;
    sn->flushed = db->flushed;
    sn->bs = blockset_ref(db->bs);
    sn->mem = arena_new((size_t)limit(query_memory));
    pthread_mutex_init(&sn->lock, NULL);
    sn->next = db->snaps;
    if (db->snaps)
        db->snaps->prev = sn;
    else
        db->oldest = sn;
    db->snaps = sn;
    return sn;
}

void snap_close(struct snap *sn)
{
    struct tsdb *db = sn->db;
    pthread_mutex_lock(&db->commit_lock);
    bool oldest = db->oldest == sn;
    if (sn->prev)
        sn->prev->next = sn->next;
    else
        db->snaps = sn->next;
    if (sn->next)
        sn->next->prev = sn->prev;
    else
        db->oldest = sn->prev;
    if (oldest && db->limbo.n)
        limbo_reclaim(db);
    pthread_mutex_unlock(&db->commit_lock);
    for (size_t i = 0; sn->idx && i < sn->bs->n; i++)
        bindex_unref(sn->idx[i]);
    free(sn->idx);
    blockset_unref(sn->bs);
    arena_free(sn->mem);
    pthread_mutex_destroy(&sn->lock);
    free(sn);
}

int source_open_snapshot(struct source *s, struct snapshot **ret)
{
    struct tsdb *db = CONTAINER_OF(s, struct tsdb, source);
    pthread_mutex_lock(&db->commit_lock);
    struct snap *sn = snap_open_locked(db);
    pthread_mutex_unlock(&db->commit_lock);
    *ret = &sn->base;
    return 0;
}
