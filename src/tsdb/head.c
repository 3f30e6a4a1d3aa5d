// SPDX-License-Identifier: Apache-2.0
/* Series and their samples in memory. See tsdb_int.h for locks, epochs and versions. */
#include "tsdb/tsdb_int.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/utf8.h"
#include <stdarg.h>

/* ---- memory that snapshots may still need ---- */

static uint64_t newest_seq(const struct tsdb *db)
{
    return db->snaps ? db->snaps->seq : 0;
}

static void release_later(struct tsdb *db, void *p)
{
    if (db->snaps)
        vec_push(&db->limbo, ((struct limbo_item){.p = p, .seq = newest_seq(db)}));
    else
        free(p);
}

void limbo_reclaim(struct tsdb *db)
{
    uint64_t oldest = db->oldest ? db->oldest->seq : UINT64_MAX;
    size_t w = 0;
    for (size_t i = 0; i < db->limbo.n; i++) {
        if (db->limbo.v[i].seq < oldest)
            free(db->limbo.v[i].p);
        else
            db->limbo.v[w++] = db->limbo.v[i];
    }
    db->limbo.n = w;
    if (w == 0)
        vec_done(&db->limbo);
}

static void chunk_drop(struct tsdb *db, struct mchunk *c)
{
    atomic_fetch_sub_explicit(&db->head_bytes, sizeof(*c) + c->cap, memory_order_relaxed);
    release_later(db, c);
}

static struct mchunk *chunk_new(struct tsdb *db, uint32_t cap)
{
    struct mchunk *c = xmalloc(sizeof(*c) + cap);
    *c = (struct mchunk){.cap = cap, .min_t = INT64_MAX, .max_t = INT64_MIN};
    atomic_fetch_add_explicit(&db->head_bytes, sizeof(*c) + cap, memory_order_relaxed);
    return c;
}

/* Room for `more` bytes; the chunk may move. */
static struct mchunk *chunk_room(struct tsdb *db, struct mchunk *c, size_t more)
{
    if (c->s.len + more <= c->cap)
        return c;
    struct mchunk *n = chunk_new(db, (uint32_t)(c->s.len + more + c->cap / 3));
    uint32_t cap = n->cap;
    memcpy(n, c, sizeof(*c) + c->s.len);
    n->cap = cap;
    chunk_drop(db, c);
    return n;
}

/* Keep the state that open snapshots see before it changes. commit_lock and stripe held. */
static void touch(struct tsdb *db, struct mseries *s)
{
    uint64_t newest = newest_seq(db);
    if (newest <= s->ver_seq)
        return;
    struct version **keep = &s->versions; /* those that no snapshot asks for stand at the end */
    while (*keep && (*keep)->seq >= db->oldest->seq)
        keep = &(*keep)->next;
    for (struct version *gone = *keep, *next; gone; gone = next) {
        next = gone->next;
        free(gone);
    }
    *keep = NULL;
    struct version *v = NEW(struct version);
    v->seq = newest;
    v->state =
        (struct mstate){.in = s->in, .ooo = s->ooo, .in_n = s->in ? s->in->s.n : 0, .ooo_n = s->ooo ? s->ooo->s.n : 0};
    v->next = s->versions;
    s->versions = v;
    s->ver_seq = newest;
}

static void versions_free(struct mseries *s)
{
    while (s->versions) {
        struct version *next = s->versions->next;
        free(s->versions);
        s->versions = next;
    }
}

pthread_mutex_t *head_stripe(struct tsdb *db, const struct mseries *s)
{
    return &db->stripe[s->id / 16 % STRIPES]; /* neighbours share: batches come in runs of ids */
}

/* ---- series ---- */

static uint64_t labels_seeded(struct labels l)
{
    uint64_t h = l.n;
    for (size_t i = 0; i < l.n; i++)
        h = hash_mix(h ^ hash_seeded(l.v[i].name.p, l.v[i].name.n)) + hash_seeded(l.v[i].value.p, l.v[i].value.n);
    return hash_mix(h);
}

static bool labels_valid(struct labels l)
{
    if (l.n == 0 || l.n > (size_t)limit(labels_per_series) || l.n > UINT16_MAX)
        return false;
    for (size_t i = 0; i < l.n; i++) {
        struct str n = l.v[i].name, v = l.v[i].value;
        if (str_empty(n) || str_empty(v) || n.n > (size_t)limit(label_name_bytes) ||
            v.n > (size_t)limit(label_value_bytes) || !utf8_valid(n) || !utf8_valid(v) || memchr(n.p, 0, n.n) ||
            (i > 0 && str_cmp(l.v[i - 1].name, n) >= 0))
            return false;
    }
    return true;
}

static bool series_is(const struct tsdb *db, const struct mseries *s, struct labels l)
{
    if (s->n_labels != l.n)
        return false;
    for (size_t i = 0; i < l.n; i++) {
        struct label mine = hindex_label(&db->index, s->pairs[i]);
        if (!str_eq(mine.value, l.v[i].value) || !str_eq(mine.name, l.v[i].name))
            return false;
    }
    return true;
}

struct mseries *head_by_id(struct tsdb *db, uint32_t id)
{
    size_t page = id / ID_PAGE;
    return page < db->pages.n && db->pages.v[page] ? db->pages.v[page][id % ID_PAGE] : NULL;
}

static void table_put(struct tsdb *db, const struct mseries *s)
{
    size_t at = s->hash & (db->table_cap - 1);
    while (db->table[at].id)
        at = (at + 1) & (db->table_cap - 1);
    db->table[at] = (struct head_slot){.tag = (uint32_t)(s->hash >> 32), .id = s->id};
}

static void table_rebuild(struct tsdb *db)
{
    size_t cap = 1024;
    while (db->n_series * 4 + 4 >= cap * 3) /* filled to three quarters at most */
        cap *= 2;
    free(db->table);
    db->table = xcalloc(cap, sizeof(*db->table));
    db->table_cap = cap;
    for (size_t p = 0; p < db->pages.n; p++)
        for (size_t i = 0; db->pages.v[p] && i < ID_PAGE; i++)
            if (db->pages.v[p][i])
                table_put(db, db->pages.v[p][i]);
}

struct mseries *head_series(struct tsdb *db, struct labels l, bool *ret_created)
{
    *ret_created = false;
    if (l.n == 0)
        return NULL;
    uint64_t h = labels_seeded(l);
    for (size_t at = h & (db->table_cap - 1); db->table_cap && db->table[at].id; at = (at + 1) & (db->table_cap - 1)) {
        if (db->table[at].tag != (uint32_t)(h >> 32))
            continue;
        struct mseries *s = head_by_id(db, db->table[at].id);
        if (s->hash == h && series_is(db, s, l))
            return s;
    }
    if (!labels_valid(l))
        return NULL;
    struct mseries *s = xmalloc(sizeof(*s) + l.n * sizeof(*s->pairs));
    *s = (struct mseries){.id = db->next_id++, .hash = h, .n_labels = (uint16_t)l.n, .born_epoch = db->epoch};
    ASSERT(db->next_id != 0);
    pthread_rwlock_wrlock(&db->index_lock);
    for (size_t i = 0; i < l.n; i++) {
        s->pairs[i] = hindex_intern(&db->index, l.v[i]);
        hindex_add(&db->index, s->pairs[i], s->id);
    }
    size_t page = s->id / ID_PAGE;
    while (db->pages.n <= page)
        vec_push(&db->pages, NULL);
    if (!db->pages.v[page])
        db->pages.v[page] = xcalloc(ID_PAGE, sizeof(*db->pages.v[page]));
    db->pages.v[page][s->id % ID_PAGE] = s;
    atomic_fetch_add_explicit(&db->n_series, 1, memory_order_relaxed);
    pthread_rwlock_unlock(&db->index_lock);
    if ((db->n_series + 1) * 4 >= db->table_cap * 3)
        table_rebuild(db);
    else
        table_put(db, s);
    count_add(db, C_CREATED, 1);
    *ret_created = true;
    return s;
}

void head_labels(const struct tsdb *db, const struct mseries *s, struct label *out)
{
    for (size_t i = 0; i < s->n_labels; i++)
        out[i] = hindex_label(&db->index, s->pairs[i]);
}

/* ---- samples in ---- */

static void put_float(struct tsdb *db, struct mchunk **list, int64_t t, double v, int64_t st)
{
    uint8_t token[STREAM_TOKEN_MAX];
    struct mchunk *c = *list;
    /* Encode beside the chunk first: most samples need two bytes, and room for the longest would be waste. A run grows
     * in place; its byte is carried through the copy. */
    struct stream s = c->s;
    if (s.run_at) {
        token[0] = c->data[s.run_at - 1];
        s.len = 1;
        s.run_at = 1;
    } else {
        s.len = 0;
    }
    uint32_t had = s.len;
    stream_put(&s, token, t, v, st);
    uint32_t from = c->s.len - had, run_at = s.run_at ? from + s.run_at : 0;
    c = *list = chunk_room(db, c, s.len - had);
    memcpy(c->data + from, token, s.len);
    s.len += from;
    s.run_at = run_at;
    c->s = s;
}

static void put_hist(struct tsdb *db, struct mchunk **list, int64_t t, int64_t st, const struct histogram *h)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 << 20);
    struct mchunk *c = *list;
    int r = hist_put(&b, c->s.t, c->s.st, t, st, h);
    ASSERT(r == 0); /* the row was checked */
    c = *list = chunk_room(db, c, b.n);
    memcpy(c->data + c->s.len, b.p, b.n);
    c->s.len += (uint32_t)b.n;
    c->s.t = t;
    c->s.st = st;
    c->s.n++;
}

static void put_sample(struct tsdb *db, struct mchunk **list, int64_t t, double v, int64_t st,
                       const struct histogram *h)
{
    struct mchunk *c = *list;
    uint8_t kind = h ? CHUNK_HIST : CHUNK_STREAM;
    if (!c || c->epoch != db->epoch || c->kind != kind || c->s.n >= HEAD_CHUNK_SAMPLES ||
        c->s.len >= (h ? 16 * HEAD_CHUNK_BYTES : HEAD_CHUNK_BYTES)) {
        struct mchunk *n = chunk_new(db, 24);
        n->prev = c;
        n->prev_epoch = c ? c->epoch : 0;
        n->epoch = db->epoch;
        n->kind = kind;
        *list = n;
        atomic_fetch_add_explicit(&db->head_chunks, 1, memory_order_relaxed);
    }
    if (h)
        put_hist(db, list, t, st, h);
    else
        put_float(db, list, t, v, st);
    c = *list;
    c->min_t = MIN(c->min_t, t);
    c->max_t = MAX(c->max_t, t);
    atomic_fetch_add_explicit(&db->head_samples, 1, memory_order_relaxed);
}

static uint64_t hist_hash(const struct histogram *h)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 << 20);
    return hist_put(&b, 0, 0, 0, 0, h) ? 0 : hash_bytes(b.p, b.n);
}

/* The sample at t that memory holds already: true and its identity. Stripe held. */
static bool find_at(struct tsdb *db, const struct mchunk *list, int64_t t, uint64_t *ret_bits, bool *ret_hist)
{
    for (const struct mchunk *c = list; c && c->epoch > db->flushed; c = c->prev_epoch > db->flushed ? c->prev : NULL) {
        if (t < c->min_t || t > c->max_t)
            continue;
        column_reset(&db->scratch);
        int r = chunk_decode((enum chunk_kind)c->kind, c->data, c->s.len, c->s.n, t, t, &db->scratch);
        ASSERT(r == 0);
        if (db->scratch.n) {
            const struct histogram *h = db->scratch.h ? db->scratch.h[0] : NULL;
            *ret_hist = h;
            *ret_bits = h ? hist_hash(h) : f64_bits(db->scratch.v[0]);
            return true;
        }
    }
    return false;
}

enum row_status head_apply(struct tsdb *db, struct mseries *s, int64_t t, double v, int64_t st,
                           const struct histogram *h, bool exact_order)
{
    enum row_status status = ROW_OK;
    uint64_t bits = h ? hist_hash(h) : f64_bits(v), had;
    bool had_hist;
    pthread_mutex_lock(head_stripe(db, s));
    if (!s->has_last || t > s->last_t) {
        touch(db, s);
        put_sample(db, &s->in, t, v, st, h);
        s->last_t = t;
        s->last_bits = bits;
        s->last_hist = h;
        s->has_last = true;
    } else if (t == s->last_t) {
        status = bits == s->last_bits && s->last_hist == (h != NULL) ? ROW_DUPLICATE : ROW_DUP_VALUE;
    } else if (exact_order) {
        status = ROW_OUT_OF_ORDER;
    } else if (find_at(db, s->in, t, &had, &had_hist) || find_at(db, s->ooo, t, &had, &had_hist)) {
        status = had == bits && had_hist == (h != NULL) ? ROW_DUPLICATE : ROW_DUP_VALUE;
    } else {
        touch(db, s);
        put_sample(db, &s->ooo, t, v, st, h);
        count_add(db, C_OUT_OF_ORDER, 1);
    }
    pthread_mutex_unlock(head_stripe(db, s));
    if (status == ROW_OK) {
        /* Only the holder of commit_lock writes these. */
        if (t > atomic_load_explicit(&db->max_t, memory_order_relaxed))
            atomic_store_explicit(&db->max_t, t, memory_order_relaxed);
        if (t > atomic_load_explicit(&db->head_max_t, memory_order_relaxed))
            atomic_store_explicit(&db->head_max_t, t, memory_order_relaxed);
        if (t < atomic_load_explicit(&db->head_min_t, memory_order_relaxed))
            atomic_store_explicit(&db->head_min_t, t, memory_order_relaxed);
    }
    return status;
}

/* ---- samples out ---- */

struct mstate head_state(const struct tsdb *db, const struct mseries *s, uint64_t seq, uint32_t flushed)
{
    (void)db;
    struct mstate st = {.in = s->in, .ooo = s->ooo, .in_n = s->in ? s->in->s.n : 0, .ooo_n = s->ooo ? s->ooo->s.n : 0};
    if (s->ver_seq >= seq)
        for (const struct version *v = s->versions; v && v->seq >= seq; v = v->next)
            st = v->state; /* the oldest that is not older than the snapshot */
    if (st.in && st.in->epoch <= flushed)
        st.in = NULL;
    if (st.ooo && st.ooo->epoch <= flushed)
        st.ooo = NULL;
    return st;
}

static bool list_overlaps(const struct mchunk *c, uint32_t flushed, int64_t mint, int64_t maxt)
{
    for (; c; c = c->prev_epoch > flushed ? c->prev : NULL)
        if (c->min_t <= maxt && c->max_t >= mint)
            return true;
    return false;
}

bool head_overlaps(const struct mstate *st, uint32_t flushed, int64_t mint, int64_t maxt)
{
    return list_overlaps(st->in, flushed, mint, maxt) || list_overlaps(st->ooo, flushed, mint, maxt);
}

/* A copy of a chunk that may still be written to. */
struct open_copy {
    uint8_t stack[1024], *p;
    uint32_t len;
};

static void copy_open(struct open_copy *o, const struct mchunk *c)
{
    o->p = o->stack;
    o->len = c ? c->s.len : 0;
    if (o->len > sizeof(o->stack))
        o->p = xmalloc(o->len);
    if (c)
        memcpy(o->p, c->data, o->len);
}

/* Oldest first, so that in-order samples come out sorted. */
static int read_list(const struct mchunk *newest, const struct open_copy *copy, uint32_t n, uint32_t flushed,
                     uint32_t upto, int64_t mint, int64_t maxt, struct column *into)
{
    const struct mchunk *few[64], **v = few;
    size_t k = 0, cap = ARRAY_LEN(few);
    for (const struct mchunk *c = newest; c; c = c->prev_epoch > flushed ? c->prev : NULL) {
        /* The newest may still be written to: its range is not to be looked at without the lock. */
        if (c->epoch > upto || (c != newest && (c->max_t < mint || c->min_t > maxt)))
            continue;
        if (k == cap) {
            const struct mchunk **more = xmalloc(2 * cap * sizeof(*more));
            memcpy(more, v, k * sizeof(*v));
            if (v != few)
                free(v);
            v = more;
            cap *= 2;
        }
        v[k++] = c;
    }
    int r = 0;
    while (k > 0 && r == 0) {
        const struct mchunk *c = v[--k];
        enum chunk_kind kind = (enum chunk_kind)c->kind;
        r = c == newest ? chunk_decode(kind, copy->p, copy->len, n, mint, maxt, into)
                        : chunk_decode(kind, c->data, c->s.len, c->s.n, mint, maxt, into);
    }
    if (v != few)
        free(v);
    return r;
}

int head_read(struct tsdb *db, struct mseries *s, uint64_t seq, uint32_t flushed, uint32_t upto, int64_t mint,
              int64_t maxt, struct column *into)
{
    struct open_copy in, ooo;
    pthread_mutex_lock(head_stripe(db, s));
    struct mstate st = head_state(db, s, seq, flushed);
    copy_open(&in, st.in && st.in->epoch <= upto ? st.in : NULL);
    copy_open(&ooo, st.ooo && st.ooo->epoch <= upto ? st.ooo : NULL);
    pthread_mutex_unlock(head_stripe(db, s));
    int r = read_list(st.in, &in, st.in_n, flushed, upto, mint, maxt, into);
    if (!r)
        r = read_list(st.ooo, &ooo, st.ooo_n, flushed, upto, mint, maxt, into);
    if (in.p != in.stack)
        free(in.p);
    if (ooo.p != ooo.stack)
        free(ooo.p);
    return r;
}

void head_all(const struct tsdb *db, u32s *out)
{
    for (size_t p = 0; p < db->pages.n; p++)
        for (size_t i = 0; db->pages.v[p] && i < ID_PAGE; i++)
            if (db->pages.v[p][i])
                vec_push(out, db->pages.v[p][i]->id);
}

/* ---- the index as a view ---- */

static bool view_name(const void *index, struct str name, void *ret)
{
    const struct hname *n = map_get(&((const struct tsdb *)index)->index.name_map, name);
    ((struct postings_handle *)ret)->a = (uintptr_t)n;
    return n;
}

static const struct hname *view_hname(const void *handle)
{
    return (const struct hname *)((const struct postings_handle *)handle)->a;
}

static uint32_t view_n(const void *index, const void *handle)
{
    (void)index;
    return (uint32_t)view_hname(handle)->pairs.n;
}

static struct str view_value(const void *index, const void *handle, uint32_t i)
{
    return hindex_value(&((const struct tsdb *)index)->index, view_hname(handle)->pairs.v[i]);
}

static void view_postings(const void *index, const void *handle, uint32_t i, u32s *out)
{
    const struct hpair *p = &((const struct tsdb *)index)->index.pairs.v[view_hname(handle)->pairs.v[i]];
    vec_reserve(out, out->n + p->n);
    memcpy(out->v + out->n, hpair_ids(p), p->n * sizeof(*out->v));
    out->n += p->n;
}

static uint32_t view_find(const void *index, const void *handle, struct str value)
{
    const struct hindex *x = &((const struct tsdb *)index)->index;
    const struct hname *n = view_hname(handle);
    uint32_t pair = hindex_find(x, (struct label){.name = n->s, .value = value});
    if (pair == UINT32_MAX)
        return UINT32_MAX;
    return x->pairs.v[pair].at;
}

static void view_all(const void *index, u32s *out)
{
    head_all(index, out);
}

const struct postings_view head_postings = {.name = view_name,
                                            .name_n = view_n,
                                            .value = view_value,
                                            .postings = view_postings,
                                            .find = view_find,
                                            .all = view_all};

/* ---- after a flush ---- */

/* Cut what is flushed off a list; commit_lock and stripe held. Returns chunks dropped. */
static void sweep_list(struct tsdb *db, struct mseries *s, struct mchunk **list)
{
    struct mchunk *c = *list, *gone = NULL;
    if (!c)
        return;
    if (c->epoch <= db->flushed) {
        touch(db, s);
        gone = c;
        *list = NULL;
    } else {
        while (c->prev && !c->prev_dropped && c->prev_epoch > db->flushed)
            c = c->prev;
        if (c->prev && !c->prev_dropped) {
            gone = c->prev;
            c->prev_dropped = true;
        }
    }
    while (gone) {
        struct mchunk *next = gone->prev_dropped ? NULL : gone->prev;
        atomic_fetch_sub_explicit(&db->head_chunks, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&db->head_samples, gone->s.n, memory_order_relaxed);
        chunk_drop(db, gone);
        gone = next;
    }
}

static void list_range(const struct tsdb *db, const struct mchunk *c, int64_t *min, int64_t *max)
{
    for (; c; c = c->prev_epoch > db->flushed ? c->prev : NULL) {
        *min = MIN(*min, c->min_t);
        *max = MAX(*max, c->max_t);
    }
}

void head_sweep(struct tsdb *db)
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    bool more = true;
    pthread_mutex_lock(&db->commit_lock); /* samples from here on tell their times themselves */
    atomic_store(&db->head_min_t, INT64_MAX);
    atomic_store(&db->head_max_t, INT64_MIN);
    pthread_mutex_unlock(&db->commit_lock);
    for (size_t p = 0; more; p++) {
        for (size_t i = 0; more && i < ID_PAGE; i += 64) {
            pthread_rwlock_rdlock(&db->index_lock); /* both locks are given up every 64 series */
            pthread_mutex_lock(&db->commit_lock);
            more = p < db->pages.n;
            struct mseries **page = more ? db->pages.v[p] : NULL;
            for (size_t k = i; page && k < i + 64; k++) {
                struct mseries *s = page[k];
                if (!s)
                    continue;
                pthread_mutex_lock(head_stripe(db, s));
                sweep_list(db, s, &s->in);
                sweep_list(db, s, &s->ooo);
                list_range(db, s->in, &min, &max);
                list_range(db, s->ooo, &min, &max);
                pthread_mutex_unlock(head_stripe(db, s));
            }
            pthread_mutex_unlock(&db->commit_lock);
            pthread_rwlock_unlock(&db->index_lock);
        }
    }
    pthread_mutex_lock(&db->commit_lock);
    atomic_store(&db->head_min_t, MIN(min, atomic_load(&db->head_min_t)));
    atomic_store(&db->head_max_t, MAX(max, atomic_load(&db->head_max_t)));
    pthread_mutex_unlock(&db->commit_lock);
}

struct dead_set {
    const uint8_t *bits;
    size_t n;
};

static bool is_dead(void *ctx, uint32_t id)
{
    const struct dead_set *d = ctx;
    return id / 8 < d->n && d->bits[id / 8] >> (id % 8) & 1;
}

void head_gc(struct tsdb *db)
{
    pthread_mutex_lock(&db->append_lock);
    pthread_mutex_lock(&db->commit_lock);
    bool due = db->gc_seq && (!db->oldest || db->oldest->seq > db->gc_seq);
    if (due)
        db->gc_seq = 0;
    pthread_mutex_unlock(&db->commit_lock);
    if (!due) {
        pthread_mutex_unlock(&db->append_lock);
        return;
    }
    int64_t newest = atomic_load(&db->max_t), idle = newest == INT64_MIN ? newest : newest - SERIES_IDLE_MS;
    struct dead_set d = {.n = db->next_id / 8 + 1};
    uint8_t *bits = xcalloc(d.n, 1);
    d.bits = bits;
    u32s pairs = {0};
    VEC(struct mseries *) gone = {0};
    for (size_t p = 0; p < db->pages.n; p++) {
        for (size_t i = 0; db->pages.v[p] && i < ID_PAGE; i++) {
            struct mseries *s = db->pages.v[p][i];
            if (!s || s->in || s->ooo || s->born_epoch == db->epoch || (s->has_last && s->last_t > idle))
                continue;
            bits[s->id / 8] |= (uint8_t)(1 << (s->id % 8));
            for (size_t k = 0; k < s->n_labels; k++)
                vec_push(&pairs, s->pairs[k]);
            vec_push(&gone, s);
        }
    }
    if (gone.n) {
        pthread_rwlock_wrlock(&db->index_lock);
        hindex_remove(&db->index, pairs.v, pairs.n, is_dead, &d);
        for (size_t i = 0; i < gone.n; i++)
            db->pages.v[gone.v[i]->id / ID_PAGE][gone.v[i]->id % ID_PAGE] = NULL;
        for (size_t p = 0; p < db->pages.n && p < db->next_id / ID_PAGE; p++) {
            bool used = false;
            for (size_t i = 0; db->pages.v[p] && i < ID_PAGE && !used; i++)
                used = db->pages.v[p][i];
            if (!used && db->pages.v[p]) {
                free(db->pages.v[p]);
                db->pages.v[p] = NULL;
            }
        }
        atomic_fetch_sub(&db->n_series, gone.n);
        pthread_rwlock_unlock(&db->index_lock);
        table_rebuild(db);
        for (size_t i = 0; i < gone.n; i++) {
            versions_free(gone.v[i]);
            free(gone.v[i]);
        }
        count_add(db, C_REMOVED, gone.n);
    }
    pthread_mutex_unlock(&db->append_lock);
    vec_done(&pairs);
    vec_done(&gone);
    free(bits);
}

static void list_free(const struct tsdb *db, struct mchunk *c)
{
    (void)db;
    while (c) {
        struct mchunk *next = c->prev_dropped ? NULL : c->prev;
        free(c);
        c = next;
    }
}

void head_free(struct tsdb *db)
{
    for (size_t i = 0; i < db->limbo.n; i++)
        free(db->limbo.v[i].p);
    vec_done(&db->limbo);
    for (size_t p = 0; p < db->pages.n; p++) {
        for (size_t i = 0; db->pages.v[p] && i < ID_PAGE; i++) {
            struct mseries *s = db->pages.v[p][i];
            if (!s)
                continue;
            list_free(db, s->in);
            list_free(db, s->ooo);
            versions_free(s);
            free(s);
        }
        free(db->pages.v[p]);
    }
    vec_done(&db->pages);
    free(db->table);
    hindex_done(&db->index);
    column_done(&db->scratch);
}

/* ---- invariants ---- */

void problem(void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx, int *n, const char *fmt, ...)
{
    struct tsdb_problem p;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p.text, sizeof(p.text), fmt, ap);
    va_end(ap);
    if (fn)
        fn(ctx, &p);
    (*n)++;
}

static uint64_t check_list(struct tsdb *db, const struct mseries *s, const struct mchunk *newest, bool ordered,
                           void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx, int *n)
{
    struct column col = {0};
    int64_t newer_min = INT64_MAX;
    uint32_t epoch = db->epoch;
    uint64_t chunks = 0;
    for (const struct mchunk *c = newest; c && c->epoch > db->flushed;
         c = c->prev_epoch > db->flushed ? c->prev : NULL) {
        chunks++;
        column_reset(&col);
        if (c->epoch > epoch)
            problem(fn, ctx, n, "series %u: epochs out of order", s->id);
        epoch = c->epoch;
        if (c->s.len > c->cap || c->s.n == 0)
            problem(fn, ctx, n, "series %u: chunk of %u bytes in %u, %u samples", s->id, c->s.len, c->cap, c->s.n);
        if (chunk_decode((enum chunk_kind)c->kind, c->data, c->s.len, SIZE_MAX, c->min_t, c->max_t, &col) ||
            col.n != c->s.n) {
            problem(fn, ctx, n, "series %u: chunk decodes to %zu samples of %u", s->id, col.n, c->s.n);
            continue;
        }
        if (ordered && (!column_is_sorted(&col, 0) || col.t[0] != c->min_t || col.t[col.n - 1] != c->max_t ||
                        c->max_t >= newer_min))
            problem(fn, ctx, n, "series %u: in-order chunk out of order", s->id);
        newer_min = c->min_t;
    }
    column_done(&col);
    return chunks;
}

int head_check(struct tsdb *db, void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx)
{
    int n = 0;
    uint64_t series = 0, chunks = 0;
    pthread_mutex_lock(&db->append_lock);
    pthread_mutex_lock(&db->commit_lock);
    for (size_t p = 0; p < db->pages.n; p++) {
        for (size_t i = 0; db->pages.v[p] && i < ID_PAGE; i++) {
            struct mseries *s = db->pages.v[p][i];
            if (!s)
                continue;
            series++;
            if (s->id != p * ID_PAGE + i)
                problem(fn, ctx, &n, "series %u stands at place %zu", s->id, p * ID_PAGE + i);
            chunks += check_list(db, s, s->in, true, fn, ctx, &n);
            chunks += check_list(db, s, s->ooo, false, fn, ctx, &n);
            for (size_t k = 0; k < s->n_labels; k++) {
                const struct hpair *hp = &db->index.pairs.v[s->pairs[k]];
                const uint32_t *ids = hpair_ids(hp);
                bool found = false;
                for (size_t lo = 0, hi = hp->n; lo < hi && !found;) {
                    size_t mid = lo + (hi - lo) / 2;
                    found = ids[mid] == s->id;
                    if (ids[mid] < s->id)
                        lo = mid + 1;
                    else
                        hi = mid;
                }
                if (!found)
                    problem(fn, ctx, &n, "series %u is missing in the list of its label %zu", s->id, k);
            }
            bool created;
            struct label *l = xmalloc((s->n_labels + 1UL) * sizeof(*l));
            head_labels(db, s, l);
            pthread_mutex_unlock(&db->commit_lock);
            if (head_series(db, (struct labels){.v = l, .n = s->n_labels}, &created) != s)
                problem(fn, ctx, &n, "series %u is not found by its labels", s->id);
            pthread_mutex_lock(&db->commit_lock);
            free(l);
        }
    }
    if (series != db->n_series)
        problem(fn, ctx, &n, "%llu series where %llu are counted", (unsigned long long)series,
                (unsigned long long)db->n_series);
    if (chunks > db->head_chunks)
        problem(fn, ctx, &n, "%llu chunks where %llu are counted", (unsigned long long)chunks,
                (unsigned long long)db->head_chunks);
    pthread_mutex_unlock(&db->commit_lock);
    pthread_mutex_unlock(&db->append_lock);
    return n;
}
