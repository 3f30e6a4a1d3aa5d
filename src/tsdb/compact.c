// SPDX-License-Identifier: Apache-2.0
/* Maintenance: head to blocks, blocks to larger blocks, deletion, retention. All with maint_lock held.
 *
 * A flush writes everything that stands in memory: the samples around now into one block, older ones (late arrivals,
 * imports) into a block for each day they belong to. Blocks may overlap; readers merge. Three or more neighbours of
 * about one length become one of three times that length, up to a tenth of the retention or 31 days. */
#include "tsdb/tsdb_int.h"

#include <sys/stat.h>
#include <unistd.h>

#define DAY_MS 86400000LL
#define WINDOWS_MAX 1024 /* days of one flush; scattered wider, all old samples go into one block */
#define BLOCK_SPAN_MAX (31 * DAY_MS)
#define EARLY                                                                                                          \
    4 /* a head of some size is flushed after a fourth of its range already: keeps memory and restarts small */
#define EARLY_BYTES (4 << 20)
#define MERGE_MIN 3
#define MERGE_MAX 16

struct blockset *blocks_get(struct tsdb *db)
{
    pthread_mutex_lock(&db->commit_lock);
    struct blockset *bs = blockset_ref(db->bs);
    pthread_mutex_unlock(&db->commit_lock);
    return bs;
}

static int entry_cmp(const void *a, const void *b)
{
    const struct blockset_entry *x = a, *y = b;
    uint64_t p = x->b->meta.origin, q = y->b->meta.origin;
    if (p == q) {
        p = x->b->meta.seq;
        q = y->b->meta.seq;
    }
    return (p > q) - (p < q);
}

void blocks_publish(struct tsdb *db, struct block *const *gone, size_t n_gone, const struct blockset_entry *add,
                    size_t n_add, uint32_t flushed)
{
    /* Only the holder of maint_lock changes the set: it may be read without commit_lock here. */
    struct blockset *old = db->bs;
    struct blockset *bs = xcalloc(1, sizeof(*bs) + (old->n + n_add) * sizeof(bs->v[0]));
    atomic_init(&bs->refs, 1);
    for (size_t i = 0; i < old->n; i++) {
        bool drop = false;
        for (size_t k = 0; k < n_gone; k++)
            drop = drop || gone[k] == old->v[i].b;
        if (!drop)
            bs->v[bs->n++] = (struct blockset_entry){.b = block_ref(old->v[i].b), .t = tombs_ref(old->v[i].t)};
    }
    for (size_t i = 0; i < n_add; i++)
        bs->v[bs->n++] = add[i];
    qsort(bs->v, bs->n, sizeof(bs->v[0]), entry_cmp);
    pthread_mutex_lock(&db->commit_lock);
    db->bs = bs;
    if (flushed) {
        ASSERT(flushed > db->flushed && flushed < db->epoch);
        db->flushed = flushed;
        db->gc_seq = db->seq;
    }
    pthread_mutex_unlock(&db->commit_lock);
    blockset_unref(old);
}

void remove_files(struct tsdb *db, const char *path)
{
    _cleanup_free_ char *del = tombs_path(path);
    if (db->vfs->unlink(db->vfs, path) != 0 || access(del, F_OK) != 0)
        return; /* one that stays is disowned by the block that replaces it, or expires again */
    /* Deletions go after the samples are gone for good: a crash in between must not bring those back. */
    if (db->vfs->sync_dir(db->vfs, db->block_dir) == 0)
        (void)db->vfs->unlink(db->vfs, del); /* alone it does no harm */
}

void doom(struct tsdb *db, const char *path)
{
    int r = db->vfs->unlink(db->vfs, path);
    if (r && r != -ENOENT)
        vec_push(&db->doomed, xstrdup(path));
}

int doomed_gone(struct tsdb *db)
{
    size_t w = 0;
    int last = 0;
    for (size_t i = 0; i < db->doomed.n; i++) {
        int r = db->vfs->unlink(db->vfs, db->doomed.v[i]);
        if (r && r != -ENOENT) {
            last = r;
            db->doomed.v[w++] = db->doomed.v[i];
        } else {
            free(db->doomed.v[i]);
        }
    }
    db->doomed.n = w;
    return last;
}

void block_quarantine(struct tsdb *db, struct block *b)
{
    _cleanup_free_ char *bad = xasprintf("%s.bad", b->path);
    count_add(db, C_CORRUPTIONS, 1);
    log_error("block damaged, set aside", KV_Z("path", b->path));
    (void)db->vfs->rename(db->vfs, b->path, bad); /* if it stays it is met again at the next start */
    blocks_publish(db, &b, 1, NULL, 0, 0);
}

/* ---- flush ---- */

struct flush {
    struct tsdb *db;
    struct snap *sn;
    uint32_t epoch; /* up to this one */
    uint32_t wal_done;
    struct mseries **series; /* in order of labels */
    size_t n;
    struct column col;
    struct label *labels;
    size_t labels_cap;
    VEC(struct blockset_entry) made;
};

static int rank_cmp(const void *a, const void *b, void *ctx)
{
    const struct mseries *x = *(struct mseries *const *)a, *y = *(struct mseries *const *)b;
    const uint32_t *rank = ctx;
    size_t n = MIN(x->n_labels, y->n_labels);
    for (size_t i = 0; i < n; i++)
        if (x->pairs[i] != y->pairs[i])
            return rank[x->pairs[i]] < rank[y->pairs[i]] ? -1 : 1;
    return (x->n_labels > y->n_labels) - (x->n_labels < y->n_labels);
}

static int pair_cmp(const void *a, const void *b, void *ctx)
{
    struct label x = hindex_label(ctx, *(const uint32_t *)a), y = hindex_label(ctx, *(const uint32_t *)b);
    int c = str_cmp(x.name, y.name);
    return c ? c : str_cmp(x.value, y.value);
}

/* Series in order of their labels: pairs are ranked once, then comparing label sets is comparing numbers. Series and
 * pairs that are there now stay: only head_gc removes them, which maint_lock keeps away. */
static void order_series(struct flush *f)
{
    struct tsdb *db = f->db;
    u32s ids = {0}, order = {0};
    pthread_rwlock_rdlock(&db->index_lock);
    head_all(db, &ids);
    f->series = xmalloc((ids.n + 1) * sizeof(struct mseries *));
    for (size_t i = 0; i < ids.n; i++)
        f->series[f->n++] = head_by_id(db, ids.v[i]);
    size_t n_pairs = db->index.pairs.n;
    uint32_t *rank = xcalloc(n_pairs + 1, sizeof(*rank));
    for (size_t i = 0; i < n_pairs; i++)
        if (db->index.pairs.v[i].value)
            vec_push(&order, (uint32_t)i);
    if (order.n)
        qsort_r(order.v, order.n, sizeof(*order.v), pair_cmp, &db->index);
    pthread_rwlock_unlock(&db->index_lock);
    for (size_t i = 0; i < order.n; i++)
        rank[order.v[i]] = (uint32_t)i;
    if (f->n)
        qsort_r(f->series, f->n, sizeof(*f->series), rank_cmp, rank);
    free(rank);
    vec_done(&ids);
    vec_done(&order);
}

static int open_made(struct tsdb *db, uint64_t seq, struct block **ret)
{
    _cleanup_free_ char *path = block_name(db->block_dir, seq);
    struct err e = {0};
    return block_open(db->vfs, path, &db->count[C_CORRUPTIONS], ret, &e);
}

/* One block of what lies in [mint, maxt]; nothing is made when nothing does. */
static int flush_range(struct flush *f, int64_t mint, int64_t maxt, bool last)
{
    struct tsdb *db = f->db;
    struct block_writer *w;
    uint64_t seq = db->next_block++;
    int r = bw_open(db->vfs, db->block_dir, seq, &w);
    if (r)
        return r;
    for (size_t i = 0; i < f->n && !r; i++) {
        struct mseries *s = f->series[i];
        column_reset(&f->col);
        r = head_read(db, s, f->sn->seq, f->sn->flushed, f->epoch, mint, maxt, &f->col);
        if (r || f->col.n == 0)
            continue;
        column_sort_unique(&f->col, 0);
        if (s->n_labels > f->labels_cap) {
            f->labels_cap = s->n_labels + 16UL;
            f->labels = xrealloc(f->labels, f->labels_cap * sizeof(*f->labels));
        }
        pthread_rwlock_rdlock(&db->index_lock);
        head_labels(db, s, f->labels);
        pthread_rwlock_unlock(&db->index_lock);
        r = bw_series(w, (struct labels){.v = f->labels, .n = s->n_labels}, &f->col, 0);
    }
    if (r || bw_samples(w) == 0) {
        bw_abort(w);
        return r;
    }
    struct block_meta m = {.wal_done = last ? f->wal_done : 0};
    r = bw_finish(w, &m);
    struct block *b = NULL;
    if (!r)
        r = open_made(db, seq, &b);
    if (!r) {
        vec_push(&f->made, ((struct blockset_entry){.b = b}));
    } else {
        _cleanup_free_ char *path = block_name(db->block_dir, seq);
        doom(db, path); /* it may have got its name before something failed */
    }
    return r;
}

/* Days before `cutoff` that hold samples, ascending; n is WINDOWS_MAX + 1 when they are too many. */
static int old_days(struct flush *f, int64_t cutoff, int64_t days[WINDOWS_MAX + 1], size_t *ret_n)
{
    struct idmap seen = {0};
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < f->n && !r && n <= WINDOWS_MAX; i++) {
        column_reset(&f->col);
        r = head_read(f->db, f->series[i], f->sn->seq, f->sn->flushed, f->epoch, INT64_MIN, cutoff - 1, &f->col);
        int64_t last = INT64_MIN;
        for (size_t k = 0; k < f->col.n && n <= WINDOWS_MAX; k++) {
            int64_t day = f->col.t[k] / DAY_MS - (f->col.t[k] % DAY_MS < 0);
            uint64_t had;
            if (day != last && !idmap_get(&seen, (uint64_t)day, &had)) {
                idmap_put(&seen, (uint64_t)day, 1);
                days[n++] = day;
            }
            last = day;
        }
    }
    idmap_done(&seen);
    *ret_n = n;
    return r;
}

static int i64_cmp(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int flush_ranges(struct flush *f, int64_t newest, int64_t from)
{
    struct tsdb *db = f->db;
    /* "Around now": since the last flush and a block before; a day at most. */
    int64_t cutoff = from < INT64_MIN + db->o.block_range_ms ? INT64_MIN : from - db->o.block_range_ms;
    if (newest > INT64_MIN + DAY_MS)
        cutoff = MAX(cutoff, newest - DAY_MS);
    int64_t *days = xmalloc((WINDOWS_MAX + 1) * sizeof(*days));
    size_t n = 0;
    int r = cutoff == INT64_MIN ? 0 : old_days(f, cutoff, days, &n);
    if (!r && n > WINDOWS_MAX) {
        r = flush_range(f, INT64_MIN, cutoff - 1, newest < cutoff);
    } else if (!r && n) {
        qsort(days, n, sizeof(*days), i64_cmp);
        for (size_t i = 0; i < n && !r; i++) {
            /* The first and last day of all time are open-ended: no overflow. */
            bool first = days[i] <= INT64_MIN / DAY_MS, final = days[i] >= INT64_MAX / DAY_MS;
            int64_t lo = first ? INT64_MIN : days[i] * DAY_MS, hi = final ? INT64_MAX : (days[i] + 1) * DAY_MS - 1;
            r = flush_range(f, lo, MIN(hi, cutoff - 1), i + 1 == n && newest < cutoff);
        }
    }
    free(days);
    return r || newest < cutoff ? r : flush_range(f, cutoff, INT64_MAX, true);
}

void drop_wal(struct tsdb *db, uint32_t upto)
{
    uint32_t first = atomic_load(&db->wal_first), last = atomic_load(&db->wal_last);
    for (uint32_t seg = first; seg && seg <= upto && seg <= last; seg++) {
        _cleanup_free_ char *path = wal_path(db->wal_dir, seg);
        struct stat st;
        uint64_t size = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
        int r = db->vfs->unlink(db->vfs, path); /* one that stays is removed at the next start: the block says so */
        if (r == 0)
            atomic_fetch_sub(&db->wal_bytes, MIN(size, atomic_load(&db->wal_bytes)));
    }
    if (first && first <= upto)                        /* gone for good, or what is deleted later could be replayed */
        (void)db->vfs->sync_dir(db->vfs, db->wal_dir); /* else the number in the block keeps it away */
    pthread_mutex_lock(&db->append_lock);
    last = atomic_load(&db->wal_last);
    atomic_store(&db->wal_first, last > upto ? upto + 1 : 0);
    if (last <= upto)
        atomic_store(&db->wal_last, 0);
    pthread_mutex_unlock(&db->append_lock);
}

int flush_head(struct tsdb *db)
{
    struct flush f = {.db = db};
    (void)!doomed_gone(db); /* tried again next time */
    pthread_mutex_lock(&db->append_lock);
    pthread_mutex_lock(&db->commit_lock);
    bool empty = atomic_load(&db->head_samples) == 0;
    f.epoch = db->epoch++;
    f.wal_done = wal_cut(&db->wal);
    f.sn = snap_open_locked(db);
    int64_t newest = atomic_load(&db->head_max_t), from = atomic_load(&db->flush_from_t),
            max_t = atomic_load(&db->max_t);
    bool have_from = db->have_flush_from;
    pthread_mutex_unlock(&db->commit_lock);
    pthread_mutex_unlock(&db->append_lock);
    int r = 0;
    if (!empty) {
        order_series(&f);
        r = flush_ranges(&f, newest, have_from ? from : newest);
    }
    if (r) {
        for (size_t i = 0; i < f.made.n; i++) { /* its samples are in the log and in memory still */
            doom(db, f.made.v[i].b->path);
            block_unref(f.made.v[i].b);
        }
        count_add(db, C_FLUSHES_FAILED, 1);
    } else {
        blocks_publish(db, NULL, 0, f.made.v, f.made.n, f.epoch);
        atomic_store(&db->flush_from_t, max_t);
        drop_wal(db, f.wal_done);
        count_add(db, C_FLUSHES, !empty);
        if (atomic_load(&db->wal_lost)) {
            /* Nothing was accepted meanwhile, so all that was ever acknowledged is in synced blocks now. */
            atomic_store(&db->wal_lost, false);
            clear_read_only(db);
        }
    }
    snap_close(f.sn);
    if (!r)
        head_sweep(db);
    free(f.series);
    free(f.labels);
    column_done(&f.col);
    vec_done(&f.made);
    return r;
}

bool flush_due(struct tsdb *db)
{
    if (atomic_load(&db->head_samples) == 0)
        return false;
    int64_t newest = atomic_load(&db->max_t), from = atomic_load(&db->flush_from_t);
    uint64_t span = db->have_flush_from && newest > from ? (uint64_t)newest - (uint64_t)from : 0;
    uint64_t range = (uint64_t)db->o.block_range_ms, bytes = atomic_load(&db->head_bytes);
    return span >= range || (span >= range / EARLY && bytes > EARLY_BYTES) || bytes > (uint64_t)db->o.head_bytes_max ||
           atomic_load(&db->wal_bytes) > 8 * (uint64_t)db->o.wal_segment_bytes;
}

/* ---- merging blocks ---- */

struct input {
    struct block *b;
    struct tombs *t;
    struct bindex *x;
    uint32_t ord;
    struct label *l;
    size_t n, cap;
};

static void input_load(struct input *in)
{
    if (in->ord >= in->x->n_series)
        return;
    size_t n = bindex_labels(in->x, in->ord, in->l, in->cap);
    if (n > in->cap) {
        in->cap = n + 16;
        in->l = xrealloc(in->l, in->cap * sizeof(*in->l));
        n = bindex_labels(in->x, in->ord, in->l, in->cap);
    }
    in->n = n;
}

static int merge_series(struct input *in, size_t n, struct block_writer *w)
{
    struct column col = {0};
    int r = 0;
    for (size_t i = 0; i < n; i++)
        input_load(&in[i]);
    while (!r) {
        struct input *least = NULL;
        for (size_t i = 0; i < n; i++)
            if (in[i].ord < in[i].x->n_series &&
                (!least || labels_cmp((struct labels){in[i].l, in[i].n}, (struct labels){least->l, least->n}) < 0))
                least = &in[i];
        if (!least)
            break;
        column_reset(&col);
        struct labels l = {least->l, least->n};
        for (struct input *k = least; k < in + n && !r; k++) /* inputs stand in the order in which values count */
            if (k->ord < k->x->n_series && (k == least || labels_equal((struct labels){k->l, k->n}, l)))
                r = block_read(k->b, k->x, k->t, k->ord, INT64_MIN, INT64_MAX, &col);
        column_sort_unique(&col, 0);
        if (!r)
            r = bw_series(w, l, &col, 0);
        for (size_t i = n; i-- > 0;) {
            if (&in[i] != least && in[i].ord < in[i].x->n_series &&
                labels_equal((struct labels){in[i].l, in[i].n}, l)) {
                in[i].ord++;
                input_load(&in[i]);
            }
        }
        least->ord++;
        input_load(least);
    }
    column_done(&col);
    return r;
}

/* Make one block of `v` (n entries in the order of the set) and put it in their place. */
static int merge_blocks(struct tsdb *db, const struct blockset_entry *v, size_t n)
{
    struct input *in = xcalloc(n, sizeof(*in));
    struct block **gone = xcalloc(n, sizeof(struct block *));
    VEC(uint64_t) parents = {0};
    struct block_meta m = {.origin = UINT64_MAX};
    struct block_writer *w = NULL;
    uint64_t corrupt = atomic_load(&db->count[C_CORRUPTIONS]);
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        in[i] = (struct input){.b = v[i].b, .t = v[i].t};
        gone[i] = v[i].b;
        m.origin = MIN(m.origin, v[i].b->meta.origin);
        m.wal_done = MAX(m.wal_done, v[i].b->meta.wal_done);
        vec_push(&parents, v[i].b->meta.seq);
        for (uint32_t k = 0; k < v[i].b->meta.n_parents; k++) {
            /* A grandparent that could not be removed would come back when the block that disowns it goes. */
            _cleanup_free_ char *path = block_name(db->block_dir, v[i].b->meta.parents[k]);
            if (access(path, F_OK) == 0 && parents.n < BLOCK_PARENTS_MAX)
                vec_push(&parents, v[i].b->meta.parents[k]);
        }
        r = block_index(v[i].b, clock_mono_ns(db->clock), &in[i].x);
        if (r == -EBADMSG) {
            block_quarantine(db, v[i].b);
            r = -EAGAIN;
        }
    }
    uint64_t seq = db->next_block++;
    if (!r)
        r = bw_open(db->vfs, db->block_dir, seq, &w);
    if (!r)
        r = merge_series(in, n, w);
    if (!r && atomic_load(&db->count[C_CORRUPTIONS]) != corrupt)
        log_error("damaged samples were left out of a compaction", KV_INT("block", seq));
    struct block *made = NULL;
    if (!r && bw_samples(w) > 0) {
        m.parents = parents.v;
        m.n_parents = (uint32_t)parents.n;
        r = bw_finish(w, &m);
        w = NULL;
        if (!r)
            r = open_made(db, seq, &made);
        if (r) {
            _cleanup_free_ char *path = block_name(db->block_dir, seq);
            doom(db, path);
        }
    }
    if (w)
        bw_abort(w);
    if (!r) {
        struct blockset_entry add = {.b = made};
        blocks_publish(db, gone, n, &add, made ? 1 : 0, 0);
        for (size_t i = 0; i < parents.n; i++) {
            _cleanup_free_ char *path = block_name(db->block_dir, parents.v[i]);
            remove_files(db, path);
        }
    }
    for (size_t i = 0; i < n; i++) {
        bindex_unref(in[i].x);
        free(in[i].l);
    }
    count_add(db, r ? C_COMPACTIONS_FAILED : C_COMPACTIONS, 1);
    free(in);
    free(gone);
    vec_done(&parents);
    return r == -EAGAIN ? 0 : r;
}

static int by_min_t(const void *a, const void *b)
{
    const struct blockset_entry *x = a, *y = b;
    return (x->b->meta.min_t > y->b->meta.min_t) - (x->b->meta.min_t < y->b->meta.min_t);
}

static uint64_t span_of(const struct block_meta *m)
{
    return (uint64_t)m->max_t - (uint64_t)m->min_t;
}

/* May these be merged without changing which of two values for one time counts? Not if a block that stays out was made
 * between them and overlaps. */
static bool order_kept(const struct blockset *bs, const struct blockset_entry *v, size_t n)
{
    uint64_t lo = UINT64_MAX, hi = 0;
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        const struct block_meta *m = &v[i].b->meta;
        lo = MIN(lo, m->origin);
        hi = MAX(hi, m->origin);
        min = MIN(min, m->min_t);
        max = MAX(max, m->max_t);
    }
    for (size_t i = 0; i < bs->n; i++) {
        const struct block_meta *m = &bs->v[i].b->meta;
        bool in = false;
        for (size_t k = 0; k < n; k++)
            in = in || v[k].b == bs->v[i].b;
        if (!in && m->origin > lo && m->origin < hi && m->max_t >= min && m->min_t <= max)
            return false;
    }
    return true;
}

/* The first group worth merging: entries into pick (MERGE_MAX room), their number returned. */
static size_t plan(const struct tsdb *db, const struct blockset *bs, struct blockset_entry *pick)
{
    uint64_t longest = BLOCK_SPAN_MAX;
    if (db->o.retention_ms > 0)
        longest = MIN(longest, (uint64_t)db->o.retention_ms / 10);
    longest = MAX(longest, (uint64_t)db->o.block_range_ms);
    struct blockset_entry *tier = xmalloc((bs->n + 1) * sizeof(*tier));
    size_t found = 0;
    uint64_t shorter = 0;
    bool first = true;
    /* A quarter of tolerance: flushes come a little late. */
    for (uint64_t range = MAX((uint64_t)db->o.block_range_ms / EARLY, 1ULL); !found && range / 2 <= longest;
         range *= 3) {
        size_t n = 0;
        for (size_t i = 0; i < bs->n; i++) {
            uint64_t span = span_of(&bs->v[i].b->meta);
            if ((first || span > shorter + shorter / 4) && span <= range + range / 4)
                tier[n++] = bs->v[i];
        }
        first = false;
        shorter = range;
        uint64_t most = MIN(3 * range + 3 * range / 4, longest + longest / 4);
        if (n)
            qsort(tier, n, sizeof(*tier), by_min_t);
        for (size_t i = 0; i + MERGE_MIN <= n && !found; i++) {
            size_t k = 0;
            int64_t end = tier[i].b->meta.max_t;
            while (i + k < n && k < MERGE_MAX) {
                end = MAX(end, tier[i + k].b->meta.max_t);
                if ((uint64_t)end - (uint64_t)tier[i].b->meta.min_t > most)
                    break;
                k++;
            }
            if (k >= MERGE_MIN && order_kept(bs, tier + i, k)) {
                memcpy(pick, tier + i, k * sizeof(*pick));
                found = k;
            }
        }
    }
    free(tier);
    return found;
}

int compact_blocks(struct tsdb *db, bool *ret_did)
{
    struct blockset *bs = blocks_get(db);
    struct blockset_entry pick[MERGE_MAX];
    size_t n = plan(db, bs, pick);
    int r = 0;
    if (n) {
        qsort(pick, n, sizeof(pick[0]), entry_cmp);
        r = merge_blocks(db, pick, n);
    }
    *ret_did = n && !r;
    blockset_unref(bs);
    return r;
}

int compact_tombstones(struct tsdb *db)
{
    struct blockset *bs = blocks_get(db);
    int r = 0;
    for (size_t i = 0; i < bs->n && !r; i++)
        if (bs->v[i].t)
            r = merge_blocks(db, &bs->v[i], 1);
    blockset_unref(bs);
    return r;
}

/* ---- retention ---- */

void expire_blocks(struct tsdb *db)
{
    struct blockset *bs = blocks_get(db);
    int64_t newest = atomic_load(&db->max_t);
    struct block **gone = xcalloc(bs->n + 1, sizeof(struct block *));
    size_t n = 0;
    uint64_t total = atomic_load(&db->wal_bytes);
    for (size_t i = 0; i < bs->n; i++) {
        int64_t max = bs->v[i].b->meta.max_t;
        if (db->o.retention_ms > 0 && newest > max && (uint64_t)newest - (uint64_t)max > (uint64_t)db->o.retention_ms)
            gone[n++] = bs->v[i].b;
        else
            total += bs->v[i].b->size;
    }
    while (db->o.retention_bytes > 0 && total > (uint64_t)db->o.retention_bytes) {
        struct block *oldest = NULL;
        for (size_t i = 0; i < bs->n; i++) {
            bool dropped = false;
            for (size_t k = 0; k < n; k++)
                dropped = dropped || gone[k] == bs->v[i].b;
            if (!dropped && (!oldest || bs->v[i].b->meta.max_t < oldest->meta.max_t))
                oldest = bs->v[i].b;
        }
        if (!oldest)
            break; /* the log alone is over the bound: the next flush shrinks it */
        gone[n++] = oldest;
        total -= oldest->size;
    }
    if (n) {
        blocks_publish(db, gone, n, NULL, 0, 0);
        for (size_t i = 0; i < n; i++)
            remove_files(db, gone[i]->path);
        count_add(db, C_EXPIRED, n);
    }
    free(gone);
    blockset_unref(bs);
}

/* ---- deletion ---- */

static int delete_in_block(struct tsdb *db, const struct blockset_entry *e, const struct matcher *m, size_t n,
                           int64_t mint, int64_t maxt)
{
    struct bindex *x;
    int r = block_index(e->b, clock_mono_ns(db->clock), &x);
    if (r)
        return r;
    u32s ords = {0};
    VEC(struct tomb) t = {0};
    postings_match(&block_postings, x, m, n, &ords);
    for (size_t i = 0; i < ords.n; i++) {
        int64_t min, max;
        bindex_range(x, ords.v[i], &min, &max);
        if (max >= mint && min <= maxt)
            vec_push(&t, ((struct tomb){.ord = ords.v[i], .min_t = mint, .max_t = maxt}));
    }
    if (t.n) {
        for (size_t i = 0; e->t && i < e->t->n; i++)
            vec_push(&t, e->t->v[i]);
        struct tombs *made = tombs_make(t.v, t.n);
        r = tombs_store(db->vfs, e->b->path, made);
        if (!r) {
            struct blockset_entry add = {.b = block_ref(e->b), .t = made};
            blocks_publish(db, &(struct block *){e->b}, 1, &add, 1, 0);
        } else {
            tombs_unref(made);
        }
    }
    vec_done(&ords);
    vec_done(&t);
    bindex_unref(x);
    return r;
}

/* A series whose newest sample is deleted may get that time again. */
static void forget_newest(struct tsdb *db, const struct matcher *m, size_t n, int64_t mint, int64_t maxt)
{
    u32s ids = {0};
    pthread_mutex_lock(&db->append_lock);
    pthread_rwlock_rdlock(&db->index_lock);
    postings_match(&head_postings, db, m, n, &ids);
    pthread_rwlock_unlock(&db->index_lock);
    pthread_mutex_lock(&db->commit_lock);
    for (size_t i = 0; i < ids.n; i++) {
        struct mseries *s = head_by_id(db, ids.v[i]);
        if (s && !s->in && s->last_t >= mint && s->last_t <= maxt)
            s->has_last = false;
    }
    pthread_mutex_unlock(&db->commit_lock);
    pthread_mutex_unlock(&db->append_lock);
    vec_done(&ids);
}

int delete_samples(struct tsdb *db, const struct matcher *m, size_t n, int64_t mint, int64_t maxt)
{
    /* What is in memory goes to a block first: then a deletion is one thing, a list beside a block. A leftover of a
     * failed flush holds the same samples without that list. */
    int r = flush_head(db);
    if (!r)
        r = doomed_gone(db);
    struct blockset *bs = blocks_get(db);
    for (size_t i = 0; i < bs->n && !r; i++)
        if (bs->v[i].b->meta.max_t >= mint && bs->v[i].b->meta.min_t <= maxt)
            r = delete_in_block(db, &bs->v[i], m, n, mint, maxt);
    blockset_unref(bs);
    if (!r)
        forget_newest(db, m, n, mint, maxt);
    return r;
}
