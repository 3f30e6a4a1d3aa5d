// SPDX-License-Identifier: Apache-2.0
#include "tsdb/block_int.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "base/hash.h"
#include <fcntl.h>

#define WRITE_BYTES (256 << 10)

struct wpair {
    struct str name, value;
    uint64_t hash;
    uint32_t n, rank; /* postings, place among the sorted */
};

struct block_writer {
    const struct vfs *vfs;
    char *path, *tmp, *dir;
    int fd;
    off_t written;
    struct buf out;     /* not yet written */
    struct buf scratch; /* one chunk, or histogram payload */
    struct buf entries; /* per series: n labels, provisional pair ids (u32), n chunk bytes (u32), chunk list */
    VEC(uint32_t) entry_off;
    VEC(struct wpair) pairs;
    uint32_t *table; /* open addressing: pair + 1 */
    size_t table_cap;
    struct arena *strings;
    struct block_meta meta;
};

int bw_open(const struct vfs *v, const char *dir, uint64_t seq, struct block_writer **ret)
{
    struct block_writer *w = NEW(struct block_writer);
    w->vfs = v;
    w->dir = xstrdup(dir);
    w->path = block_name(dir, seq);
    w->tmp = xasprintf("%s.tmp", w->path);
    w->out = BUF_INIT(1ULL << 31);
    w->scratch = BUF_INIT(1ULL << 31);
    w->entries = BUF_INIT(UINT32_MAX - 1);
    w->strings = arena_new(0);
    w->meta = (struct block_meta){.seq = seq, .min_t = INT64_MAX, .max_t = INT64_MIN};
    w->fd = v->open(v, w->tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (w->fd < 0) {
        int r = w->fd;
        bw_abort(w);
        return r;
    }
    uint8_t h[BLOCK_HEADER] = BLOCK_MAGIC;
    put_u32le(h + 8, 0);
    put_u32le(h + 12, hash_crc32c(0, h, 12));
    buf_put(&w->out, h, sizeof(h));
    *ret = w;
    return 0;
}

static void bw_free(struct block_writer *w)
{
    buf_done(&w->out);
    buf_done(&w->scratch);
    buf_done(&w->entries);
    vec_done(&w->entry_off);
    vec_done(&w->pairs);
    free(w->table);
    arena_free(w->strings);
    free(w->path);
    free(w->tmp);
    free(w->dir);
    free(w);
}

void bw_abort(struct block_writer *w)
{
    if (w->fd >= 0) {
        (void)w->vfs->close(w->vfs, w->fd);   /* given up */
        (void)w->vfs->unlink(w->vfs, w->tmp); /* else the next start removes it */
    }
    bw_free(w);
}

static int flush_out(struct block_writer *w)
{
    int r = buf_error(&w->out);
    if (!r && w->out.n)
        r = fs_write_all(w->vfs, w->fd, w->out.p, w->out.n, w->written);
    if (r)
        return r;
    w->written += (off_t)w->out.n;
    buf_reset(&w->out);
    return 0;
}

static void table_grow(struct block_writer *w)
{
    w->table_cap = w->table_cap ? w->table_cap * 2 : 1024;
    free(w->table);
    w->table = xcalloc(w->table_cap, sizeof(*w->table));
    for (size_t i = 0; i < w->pairs.n; i++) {
        size_t at = w->pairs.v[i].hash & (w->table_cap - 1);
        while (w->table[at])
            at = (at + 1) & (w->table_cap - 1);
        w->table[at] = (uint32_t)i + 1;
    }
}

static uint32_t intern(struct block_writer *w, const struct label *l)
{
    uint64_t h = hash_mix(hash_seeded(l->name.p, l->name.n)) ^ hash_seeded(l->value.p, l->value.n);
    if (w->pairs.n * 2 >= w->table_cap)
        table_grow(w);
    size_t at = h & (w->table_cap - 1);
    for (; w->table[at]; at = (at + 1) & (w->table_cap - 1)) {
        struct wpair *p = &w->pairs.v[w->table[at] - 1];
        if (p->hash == h && str_eq(p->name, l->name) && str_eq(p->value, l->value))
            return w->table[at] - 1;
    }
    struct wpair p = {.hash = h, .name = arena_str(w->strings, l->name), .value = arena_str(w->strings, l->value)};
    vec_push(&w->pairs, p);
    w->table[at] = (uint32_t)w->pairs.n;
    return (uint32_t)w->pairs.n - 1;
}

static void put_u(struct buf *b, uint64_t v)
{
    uint8_t tmp[VARINT_MAX];
    buf_put(b, tmp, put_uvarint(tmp, v));
}

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t tmp[4];
    put_u32le(tmp, v);
    buf_put(b, tmp, 4);
}

/* One run of floats or histograms [i, j) as chunks; each is told to the series' list in `entries`. */
static int write_run(struct block_writer *w, const struct column *c, size_t i, size_t j, int64_t *last_t,
                     uint32_t *n_chunks)
{
    while (i < j) {
        size_t n = MIN(j - i, (size_t)COLUMN_SAMPLES_MAX);
        buf_reset(&w->scratch);
        if (c->h && c->h[i]) {
            _cleanup_buf_ struct buf payload = BUF_INIT(32 << 20);
            int64_t t = 0, st = 0;
            size_t k = 0;
            for (; k < n && (k == 0 || payload.n < (256 << 10)); k++) {
                int64_t sst = c->st ? c->st[i + k] : 0;
                int r = hist_put(&payload, t, st, c->t[i + k], sst, c->h[i + k]);
                if (r)
                    return r;
                t = c->t[i + k];
                st = sst;
            }
            n = k;
            hist_encode(&w->scratch, (const uint8_t *)payload.p, payload.n);
        } else {
            column_encode(&w->scratch, c->t + i, c->v + i, c->st ? c->st + i : NULL, n);
        }
        int r = buf_error(&w->scratch);
        if (r)
            return r;
        put_u32(&w->out, hash_crc32c(0, w->scratch.p, w->scratch.n));
        buf_put(&w->out, w->scratch.p, w->scratch.n);
        put_u(&w->entries, w->scratch.n);
        put_u(&w->entries, zigzag((int64_t)((uint64_t)c->t[i] - (uint64_t)*last_t)));
        put_u(&w->entries, (uint64_t)c->t[i + n - 1] - (uint64_t)c->t[i]);
        *last_t = c->t[i + n - 1];
        i += n;
        (*n_chunks)++;
        if (w->out.n >= WRITE_BYTES) {
            r = flush_out(w);
            if (r)
                return r;
        }
    }
    return 0;
}

/* An entry while writing: u32 n labels, u32 pair ids, u32 n chunks, u32 bytes of the list, u64 file offset, the list.
 */
int bw_series(struct block_writer *w, struct labels l, const struct column *c, size_t from)
{
    if (from >= c->n)
        return 0;
    if (w->entries.n > (UINT32_MAX >> 1) || w->entry_off.n >= UINT32_MAX >> 1)
        return -EFBIG;
    vec_push(&w->entry_off, (uint32_t)w->entries.n);
    put_u32(&w->entries, (uint32_t)l.n);
    for (size_t i = 0; i < l.n; i++) {
        uint32_t pair = intern(w, &l.v[i]);
        w->pairs.v[pair].n++;
        put_u32(&w->entries, pair);
    }
    size_t head = w->entries.n;
    uint64_t at = (uint64_t)w->written + w->out.n;
    uint8_t fixed[16] = {0};
    buf_put(&w->entries, fixed, sizeof(fixed));
    int64_t last_t = 0;
    uint32_t n_chunks = 0;
    for (size_t i = from; i < c->n;) {
        bool hist = c->h && c->h[i];
        size_t j = i + 1;
        while (j < c->n && (c->h && c->h[j]) == hist)
            j++;
        int r = write_run(w, c, i, j, &last_t, &n_chunks);
        if (r)
            return r;
        i = j;
    }
    int r = buf_error(&w->entries);
    if (r)
        return r;
    put_u32le(w->entries.p + head, n_chunks);
    put_u32le(w->entries.p + head + 4, (uint32_t)(w->entries.n - head - 16));
    put_u64le(w->entries.p + head + 8, at);
    w->meta.n_series++;
    w->meta.n_samples += c->n - from;
    w->meta.n_chunks += n_chunks;
    w->meta.min_t = MIN(w->meta.min_t, c->t[from]);
    w->meta.max_t = MAX(w->meta.max_t, c->t[c->n - 1]);
    return 0;
}

uint64_t bw_samples(const struct block_writer *w)
{
    return w->meta.n_samples;
}

static int wpair_cmp(const void *a, const void *b, void *ctx)
{
    const struct wpair *v = ctx, *x = &v[*(const uint32_t *)a], *y = &v[*(const uint32_t *)b];
    int c = str_cmp(x->name, y->name);
    return c ? c : str_cmp(x->value, y->value);
}

/* The index section, see doc/format/tsdb.md. */
static void build_index(struct block_writer *w, struct buf *x)
{
    uint32_t np = (uint32_t)w->pairs.n, ns = (uint32_t)w->entry_off.n, n_names = 0;
    uint32_t *order = xmalloc((np + 1) * sizeof(*order));
    for (uint32_t i = 0; i < np; i++)
        order[i] = i;
    if (np)
        qsort_r(order, np, sizeof(*order), wpair_cmp, w->pairs.v);
    _cleanup_buf_ struct buf names = BUF_INIT(1ULL << 32), pairs = BUF_INIT(1ULL << 32), strings = BUF_INIT(UINT32_MAX),
                             postings = BUF_INIT(UINT32_MAX), entries = BUF_INIT(UINT32_MAX),
                             offs = BUF_INIT(1ULL << 32);
    for (uint32_t i = 0; i < np; i++)
        w->pairs.v[order[i]].rank = i;
    /* Postings by counting sort: one pass over the series in order fills every list in order. */
    uint64_t total = 0;
    uint64_t *start = xcalloc((size_t)np + 1, sizeof(*start));
    for (uint32_t i = 0; i < np; i++) {
        start[i] = total;
        total += w->pairs.v[order[i]].n;
    }
    start[np] = total;
    uint32_t *lists = xmalloc((total + 1) * sizeof(*lists));
    uint64_t *fillp = xmalloc(((size_t)np + 1) * sizeof(*fillp));
    memcpy(fillp, start, ((size_t)np + 1) * sizeof(*fillp));
    for (uint32_t s = 0; s < ns; s++) {
        const uint8_t *e = (const uint8_t *)w->entries.p + w->entry_off.v[s];
        uint32_t nl = get_u32le(e), prev = 0;
        e += 4;
        put_u32(&offs, (uint32_t)entries.n);
        put_u(&entries, nl);
        for (uint32_t i = 0; i < nl; i++, e += 4) {
            uint32_t rank = w->pairs.v[get_u32le(e)].rank;
            lists[fillp[rank]++] = s;
            put_u(&entries, rank - prev); /* labels are sorted by name, so ranks ascend */
            prev = rank;
        }
        uint32_t n_chunks = get_u32le(e), bytes = get_u32le(e + 4);
        put_u(&entries, n_chunks);
        put_u(&entries, get_u64le(e + 8));
        buf_put(&entries, e + 16, bytes);
    }
    for (uint32_t i = 0; i < np; i++) {
        const struct wpair *p = &w->pairs.v[order[i]];
        if (i == 0 || !str_eq(p->name, w->pairs.v[order[i - 1]].name)) {
            uint32_t n = 1;
            while (i + n < np && str_eq(p->name, w->pairs.v[order[i + n]].name))
                n++;
            put_u32(&names, (uint32_t)strings.n);
            put_u32(&names, (uint32_t)p->name.n);
            put_u32(&names, i);
            put_u32(&names, n);
            buf_str(&strings, p->name);
            n_names++;
        }
        put_u32(&pairs, (uint32_t)strings.n);
        put_u32(&pairs, (uint32_t)p->value.n);
        put_u32(&pairs, (uint32_t)postings.n);
        put_u32(&pairs, p->n);
        buf_str(&strings, p->value);
        uint32_t prev = 0;
        for (uint64_t k = start[i]; k < start[i + 1]; k++) {
            put_u(&postings, lists[k] - prev);
            prev = lists[k];
        }
    }
    put_u32(x, n_names);
    put_u32(x, np);
    put_u32(x, ns);
    put_u32(x, (uint32_t)strings.n);
    put_u32(x, (uint32_t)postings.n);
    put_u32(x, (uint32_t)entries.n);
    const struct buf *parts[] = {&names, &pairs, &offs, &strings, &postings, &entries};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (buf_error(parts[i]))
            x->err = buf_error(parts[i]);
        buf_put(x, parts[i]->p, parts[i]->n);
    }
    free(order);
    free(start);
    free(lists);
    free(fillp);
}

int bw_finish(struct block_writer *w, struct block_meta *m)
{
    _cleanup_buf_ struct buf index = BUF_INIT(1ULL << 34);
    int r = flush_out(w);
    if (r)
        goto fail;
    ASSERT(w->meta.n_series > 0 && m->n_parents <= BLOCK_PARENTS_MAX);
    build_index(w, &index);
    r = buf_error(&index);
    if (r)
        goto fail;
    w->meta.origin = m->origin ? m->origin : w->meta.seq;
    w->meta.wal_done = m->wal_done;
    w->meta.n_parents = m->n_parents;
    w->meta.parents = m->parents;
    /* The facts, then the trailer that finds both. */
    struct buf *o = &w->out;
    uint64_t index_off = (uint64_t)w->written;
    r = fs_write_all(w->vfs, w->fd, index.p, index.n, w->written);
    if (r)
        goto fail;
    w->written += (off_t)index.n;
    uint64_t meta_off = (uint64_t)w->written;
    put_u(o, w->meta.seq);
    put_u(o, w->meta.origin);
    put_u(o, zigzag(w->meta.min_t));
    put_u(o, zigzag(w->meta.max_t));
    put_u(o, w->meta.n_series);
    put_u(o, w->meta.n_samples);
    put_u(o, w->meta.n_chunks);
    put_u(o, w->meta.wal_done);
    put_u(o, w->meta.n_parents);
    for (uint32_t i = 0; i < w->meta.n_parents; i++)
        put_u(o, w->meta.parents[i]);
    uint8_t t[BLOCK_TRAILER];
    put_u64le(t, index_off);
    put_u64le(t + 8, meta_off);
    put_u32le(t + 16, hash_crc32c(0, index.p, index.n));
    put_u32le(t + 20, hash_crc32c(0, o->p, o->n));
    put_u32le(t + 24, 0);
    memcpy(t + 28, BLOCK_END_MAGIC, 8);
    put_u32le(t + 36, hash_crc32c(0, t, 36));
    buf_put(o, t, sizeof(t));
    r = flush_out(w);
    if (!r)
        r = w->vfs->fsync(w->vfs, w->fd);
    if (r)
        goto fail;
    int c = w->vfs->close(w->vfs, w->fd);
    w->fd = -1;
    r = c ? c : w->vfs->rename(w->vfs, w->tmp, w->path);
    if (r) {
        (void)w->vfs->unlink(w->vfs, w->tmp); /* else the next start removes it */
        bw_free(w);
        return r;
    }
    r = w->vfs->sync_dir(w->vfs, w->dir);
    if (r)
        (void)w->vfs->unlink(w->vfs, w->path); /* not durable: as if it had not been; its sources are still there */
    else
        *m = w->meta;
    bw_free(w);
    return r;
fail:
    bw_abort(w);
    return r;
}
