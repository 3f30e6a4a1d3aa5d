// SPDX-License-Identifier: Apache-2.0
#include "tsdb/block_int.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/parse.h"
#include <fcntl.h>
#include <sys/stat.h>

#define META_BYTES_MAX (10 * (9 + BLOCK_PARENTS_MAX))

char *block_name(const char *dir, uint64_t seq)
{
    return xasprintf("%s/%012llu.blk", dir, (unsigned long long)seq);
}

bool block_name_parse(const char *name, uint64_t *ret_seq)
{
    struct str s = str_of(name);
    return str_ends(s, STR(".blk")) && parse_u64(str_sub(s, 0, s.n - 4), ret_seq) && *ret_seq > 0;
}

char *tombs_path(const char *block_path)
{
    return xasprintf("%s.del", block_path);
}

static int read_all(const struct vfs *v, int fd, void *p, size_t n, uint64_t at)
{
    char *c = p;
    while (n) {
        ssize_t r = v->pread(v, fd, c, n, (off_t)at);
        if (r < 0)
            return (int)r;
        if (r == 0)
            return -EBADMSG; /* the file is shorter than its own index says */
        c += r;
        n -= (size_t)r;
        at += (uint64_t)r;
    }
    return 0;
}

/* ---- opening ---- */

static int parse_meta(const uint8_t *p, const uint8_t *end, struct block_meta *m)
{
    uint64_t wal_done, n_parents;
    if (!get_uvarint(&p, end, &m->seq) || !get_uvarint(&p, end, &m->origin) || !get_varint(&p, end, &m->min_t) ||
        !get_varint(&p, end, &m->max_t) || !get_uvarint(&p, end, &m->n_series) ||
        !get_uvarint(&p, end, &m->n_samples) || !get_uvarint(&p, end, &m->n_chunks) ||
        !get_uvarint(&p, end, &wal_done) || !get_uvarint(&p, end, &n_parents) || wal_done > UINT32_MAX ||
        n_parents > BLOCK_PARENTS_MAX)
        return -EBADMSG;
    m->wal_done = (uint32_t)wal_done;
    m->n_parents = (uint32_t)n_parents;
    m->parents = xcalloc(n_parents + 1, sizeof(*m->parents));
    for (uint32_t i = 0; i < m->n_parents; i++)
        if (!get_uvarint(&p, end, &m->parents[i]))
            return -EBADMSG;
    return p == end && m->min_t <= m->max_t ? 0 : -EBADMSG;
}

int block_open(const struct vfs *v, const char *path, _Atomic uint64_t *corruptions, struct block **ret, struct err *e)
{
    struct block *b = NEW(struct block);
    atomic_init(&b->refs, 1);
    b->vfs = v;
    b->path = xstrdup(path);
    b->corruptions = corruptions;
    pthread_mutex_init(&b->lock, NULL);
    const char *what = "no block file";
    int r = b->fd = v->open(v, path, O_RDONLY, 0);
    struct stat st;
    uint8_t h[BLOCK_HEADER], t[BLOCK_TRAILER];
    _cleanup_free_ uint8_t *meta = NULL;
    if (r < 0)
        goto fail;
    if (fstat(b->fd, &st) < 0) {
        r = -errno;
        goto fail;
    }
    r = -EBADMSG;
    b->size = (uint64_t)st.st_size;
    if (b->size < BLOCK_HEADER + BLOCK_TRAILER)
        goto fail;
    r = read_all(v, b->fd, h, sizeof(h), 0);
    if (!r)
        r = read_all(v, b->fd, t, sizeof(t), b->size - sizeof(t));
    if (r)
        goto fail;
    if (memcmp(h, BLOCK_MAGIC, 7) == 0 && h[7] > 1 && get_u32le(h + 12) == hash_crc32c(0, h, 12)) {
        r = -ENOTSUP; /* a later version's: not ours to judge, least of all to set aside */
        goto fail;
    }
    r = -EBADMSG;
    what = "header or trailer damaged";
    if (memcmp(t + 28, BLOCK_END_MAGIC, 8) != 0 || get_u32le(t + 36) != hash_crc32c(0, t, 36))
        goto fail;
    if (memcmp(h, BLOCK_MAGIC, 8) != 0 || get_u32le(h + 12) != hash_crc32c(0, h, 12))
        goto fail;
    uint64_t meta_off = get_u64le(t + 8), meta_end = b->size - sizeof(t);
    b->index_off = get_u64le(t);
    b->index_crc = get_u32le(t + 16);
    if (b->index_off < BLOCK_HEADER || b->index_off > meta_off || meta_off > meta_end ||
        meta_end - meta_off > META_BYTES_MAX)
        goto fail;
    b->index_len = meta_off - b->index_off;
    size_t meta_n = (size_t)(meta_end - meta_off);
    meta = xmalloc(meta_n + 1);
    r = read_all(v, b->fd, meta, meta_n, meta_off);
    if (r)
        goto fail;
    what = "facts damaged";
    r = get_u32le(t + 20) == hash_crc32c(0, meta, meta_n) ? parse_meta(meta, meta + meta_n, &b->meta) : -EBADMSG;
    if (r)
        goto fail;
    *ret = b;
    return 0;
fail:
    err_set(e, "%s: %s", path, r == -EBADMSG ? what : r == -ENOTSUP ? "written by a later version" : err_name(r));
    block_unref(b);
    return r;
}

struct block *block_ref(struct block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

struct block *block_unref(struct block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        if (b->fd >= 0)
            (void)b->vfs->close(b->vfs, b->fd); /* read only */
        bindex_unref(b->idx);
        free(b->meta.parents);
        free(b->path);
        pthread_mutex_destroy(&b->lock);
        free(b);
    }
    return NULL;
}

/* ---- the index ---- */

static uint32_t u32_at(const uint8_t *p, size_t i)
{
    return get_u32le(p + 4 * i);
}

/* One series entry; outputs may be NULL. */
struct entry {
    const uint8_t *pairs, *chunks; /* varints */
    uint64_t n_pairs, n_chunks, file_off;
};

static bool entry_at(const struct bindex *x, uint32_t ord, struct entry *e)
{
    const uint8_t *p = x->series + u32_at(x->series_off, ord), *end = x->series + x->n_entries;
    uint64_t skip;
    if (!get_uvarint(&p, end, &e->n_pairs))
        return false;
    e->pairs = p;
    for (uint64_t i = 0; i < e->n_pairs; i++)
        if (!get_uvarint(&p, end, &skip))
            return false;
    if (!get_uvarint(&p, end, &e->n_chunks) || !get_uvarint(&p, end, &e->file_off))
        return false;
    e->chunks = p;
    return true;
}

struct chunk_place {
    uint64_t off, len; /* of kind and payload; the checksum stands in the 4 bytes before off */
    int64_t min_t, max_t;
};

/* Step through an entry's chunks: place starts with off = the entry's file_off, len 0, max_t 0. */
static bool next_chunk(const uint8_t **pp, const uint8_t *end, struct chunk_place *c)
{
    uint64_t len, span;
    int64_t d;
    if (!get_uvarint(pp, end, &len) || !get_varint(pp, end, &d) || !get_uvarint(pp, end, &span))
        return false;
    c->off += c->len + 4;
    c->len = len;
    c->min_t = (int64_t)((uint64_t)c->max_t + (uint64_t)d);
    c->max_t = (int64_t)((uint64_t)c->min_t + span);
    return true;
}

/* Everything an accessor relies on, once. */
static bool index_valid(const struct bindex *x, uint64_t chunks_end)
{
    uint32_t expect = 0;
    for (uint32_t i = 0; i < x->n_names; i++) {
        const uint8_t *n = x->names + 16 * (size_t)i;
        if ((uint64_t)u32_at(n, 0) + u32_at(n, 1) > x->n_strings || u32_at(n, 2) != expect || u32_at(n, 3) == 0 ||
            u32_at(n, 3) > x->n_pairs - expect)
            return false;
        if (i > 0 && str_cmp(bindex_name(x, i - 1), bindex_name(x, i)) >= 0)
            return false;
        expect += u32_at(n, 3);
    }
    if (expect != x->n_pairs)
        return false;
    for (uint32_t i = 0; i < x->n_pairs; i++) {
        const uint8_t *q = x->pairs + 16 * (size_t)i;
        uint32_t off = u32_at(q, 2), n = u32_at(q, 3);
        if ((uint64_t)u32_at(q, 0) + u32_at(q, 1) > x->n_strings || off > x->n_postings || n > x->n_series)
            return false;
        const uint8_t *p = x->postings + off, *end = x->postings + x->n_postings;
        uint64_t d, ord = 0;
        for (uint32_t k = 0; k < n; k++) {
            if (!get_uvarint(&p, end, &d) || d >= x->n_series || (k > 0 && d == 0))
                return false;
            ord += d;
            if (ord >= x->n_series)
                return false;
        }
    }
    for (uint32_t s = 0; s < x->n_series; s++) {
        struct entry e;
        if (u32_at(x->series_off, s) > x->n_entries || !entry_at(x, s, &e) || e.n_chunks == 0 ||
            e.file_off < BLOCK_HEADER || e.file_off > chunks_end)
            return false;
        const uint8_t *p = e.pairs, *end = x->series + x->n_entries;
        uint64_t d, rank = 0;
        for (uint64_t i = 0; i < e.n_pairs; i++) {
            if (!get_uvarint(&p, end, &d) || d > x->n_pairs || (i > 0 && d == 0))
                return false;
            rank += d;
            if (rank >= x->n_pairs)
                return false;
        }
        struct chunk_place c = {.off = e.file_off};
        p = e.chunks;
        for (uint64_t i = 0; i < e.n_chunks; i++)
            if (!next_chunk(&p, end, &c) || c.len < 2 || c.len > chunks_end || c.off < BLOCK_HEADER + 4 ||
                c.off > chunks_end - c.len || c.min_t > c.max_t)
                return false;
    }
    return true;
}

int bindex_parse(uint8_t *p, size_t n, uint64_t chunks_end, struct bindex **ret)
{
    struct bindex *x = NEW(struct bindex);
    atomic_init(&x->refs, 1);
    x->p = p;
    x->n = n;
    if (n >= 24) {
        x->n_names = u32_at(p, 0);
        x->n_pairs = u32_at(p, 1);
        x->n_series = u32_at(p, 2);
        x->n_strings = u32_at(p, 3);
        x->n_postings = u32_at(p, 4);
        x->n_entries = u32_at(p, 5);
        uint64_t names = 24, pairs = names + 16ULL * x->n_names, offs = pairs + 16ULL * x->n_pairs,
                 strings = offs + 4ULL * x->n_series, postings = strings + x->n_strings,
                 series = postings + x->n_postings;
        if (series + x->n_entries == n) {
            x->names = p + names;
            x->pairs = p + pairs;
            x->series_off = p + offs;
            x->strings = p + strings;
            x->postings = p + postings;
            x->series = p + series;
            if (index_valid(x, chunks_end)) {
                *ret = x;
                return 0;
            }
        }
    }
    bindex_unref(x);
    return -EBADMSG;
}

int block_index(struct block *b, uint64_t now_ns, struct bindex **ret)
{
    int r = 0;
    pthread_mutex_lock(&b->lock);
    if (!b->idx) {
        uint8_t *p = malloc(b->index_len + 1);
        r = p ? read_all(b->vfs, b->fd, p, b->index_len, b->index_off) : -ENOMEM;
        if (!r && hash_crc32c(0, p, b->index_len) != b->index_crc)
            r = -EBADMSG;
        if (r)
            free(p);
        else
            r = bindex_parse(p, b->index_len, b->index_off, &b->idx);
    }
    if (!r) {
        b->idx_used_ns = now_ns;
        atomic_fetch_add_explicit(&b->idx->refs, 1, memory_order_relaxed);
        *ret = b->idx;
    }
    pthread_mutex_unlock(&b->lock);
    return r;
}

void block_index_idle(struct block *b, uint64_t before_ns)
{
    pthread_mutex_lock(&b->lock);
    if (b->idx && b->idx_used_ns < before_ns)
        b->idx = bindex_unref(b->idx);
    pthread_mutex_unlock(&b->lock);
}

struct bindex *bindex_unref(struct bindex *x)
{
    if (x && atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) == 1) {
        free(x->p);
        free(x);
    }
    return NULL;
}

struct str bindex_name(const struct bindex *x, uint32_t name)
{
    const uint8_t *n = x->names + 16 * (size_t)name;
    return str_make((const char *)x->strings + u32_at(n, 0), u32_at(n, 1));
}

void bindex_name_pairs(const struct bindex *x, uint32_t name, uint32_t *ret_first, uint32_t *ret_n)
{
    const uint8_t *n = x->names + 16 * (size_t)name;
    *ret_first = u32_at(n, 2);
    *ret_n = u32_at(n, 3);
}

bool bindex_find_name(const struct bindex *x, struct str name, uint32_t *ret_first, uint32_t *ret_n)
{
    uint32_t lo = 0, hi = x->n_names;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(bindex_name(x, mid), name);
        if (c == 0) {
            bindex_name_pairs(x, mid, ret_first, ret_n);
            return true;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

struct str bindex_value(const struct bindex *x, uint32_t pair)
{
    const uint8_t *q = x->pairs + 16 * (size_t)pair;
    return str_make((const char *)x->strings + u32_at(q, 0), u32_at(q, 1));
}

uint32_t bindex_lower(const struct bindex *x, uint32_t first, uint32_t n, struct str v)
{
    uint32_t lo = first, hi = first + n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (str_cmp(bindex_value(x, mid), v) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t bindex_postings_n(const struct bindex *x, uint32_t pair)
{
    return u32_at(x->pairs + 16 * (size_t)pair, 3);
}

void bindex_postings(const struct bindex *x, uint32_t pair, uint32_t *out)
{
    const uint8_t *q = x->pairs + 16 * (size_t)pair, *p = x->postings + u32_at(q, 2),
                  *end = x->postings + x->n_postings;
    uint32_t n = u32_at(q, 3), ord = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t d = 0;
        (void)get_uvarint(&p, end, &d); /* verified when loaded */
        ord += (uint32_t)d;
        out[i] = ord;
    }
}

/* The pair's name: the last name that starts at or before it. */
static struct str name_of_pair(const struct bindex *x, uint32_t pair)
{
    uint32_t lo = 0, hi = x->n_names;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (u32_at(x->names + 16 * (size_t)mid, 2) <= pair)
            lo = mid;
        else
            hi = mid;
    }
    return bindex_name(x, lo);
}

size_t bindex_labels(const struct bindex *x, uint32_t ord, struct label *out, size_t n_max)
{
    struct entry e;
    ASSERT(entry_at(x, ord, &e));
    const uint8_t *p = e.pairs, *end = x->series + x->n_entries;
    uint64_t d = 0;
    uint32_t pair = 0;
    for (uint64_t i = 0; i < e.n_pairs && i < n_max; i++) {
        (void)get_uvarint(&p, end, &d); /* verified when loaded */
        pair += (uint32_t)d;
        out[i] = (struct label){.name = name_of_pair(x, pair), .value = bindex_value(x, pair)};
    }
    return (size_t)e.n_pairs;
}

void bindex_range(const struct bindex *x, uint32_t ord, int64_t *ret_min, int64_t *ret_max)
{
    struct entry e;
    ASSERT(entry_at(x, ord, &e));
    const uint8_t *p = e.chunks, *end = x->series + x->n_entries;
    struct chunk_place c = {.off = e.file_off};
    *ret_min = INT64_MAX;
    *ret_max = INT64_MIN;
    for (uint64_t i = 0; i < e.n_chunks && next_chunk(&p, end, &c); i++) {
        *ret_min = MIN(*ret_min, c.min_t);
        *ret_max = MAX(*ret_max, c.max_t);
    }
}

/* ---- samples ---- */

static bool chunk_good(const uint8_t *p, uint64_t len)
{
    return get_u32le(p) == hash_crc32c(0, p + 4, len);
}

int block_read(struct block *b, const struct bindex *x, const struct tombs *t, uint32_t ord, int64_t mint, int64_t maxt,
               struct column *into)
{
    struct entry e;
    if (ord >= x->n_series)
        return -EINVAL;
    ASSERT(entry_at(x, ord, &e));
    const uint8_t *p = e.chunks, *end = x->series + x->n_entries;
    struct chunk_place c = {.off = e.file_off}, first = {0}, last = {0};
    const uint8_t *from = NULL;
    uint64_t n = 0;
    for (uint64_t i = 0; i < e.n_chunks; i++) {
        struct chunk_place before = c;
        const uint8_t *at = p;
        if (!next_chunk(&p, end, &c))
            break;
        if (c.max_t < mint || c.min_t > maxt)
            continue;
        if (!from) {
            from = at;
            first = before;
        }
        last = c;
        n = i + 1;
    }
    if (!from)
        return 0;
    /* Chunks of a series lie side by side: one read for all. */
    uint64_t start = first.off + first.len, bytes = last.off + last.len - start;
    uint8_t stack[8192], *buf = bytes <= sizeof(stack) ? stack : malloc(bytes);
    if (!buf)
        return -ENOMEM;
    int r = read_all(b->vfs, b->fd, buf, bytes, start);
    size_t base = into->n;
    (void)n;
    for (c = first, p = from; !r && next_chunk(&p, end, &c);) {
        if (c.max_t >= mint && c.min_t <= maxt) {
            const uint8_t *q = buf + (c.off - 4 - start);
            size_t mark = into->n;
            bool good = chunk_good(q, c.len);
            int d = good ? chunk_decode((enum chunk_kind)q[4], q + 5, c.len - 1, SIZE_MAX, mint, maxt, into) : -EBADMSG;
            if (d == -EBADMSG) {
                into->n = mark;
                atomic_fetch_add_explicit(b->corruptions, 1, memory_order_relaxed);
                log_error("block damaged: samples are left out", KV_Z("path", b->path), KV_INT("offset", c.off));
            } else if (d) {
                r = d;
            }
        }
        if (c.off == last.off)
            break;
    }
    if (buf != stack)
        free(buf);
    if (!r && t)
        tombs_apply(t, ord, into, base);
    return r;
}

int block_verify(struct block *b, const struct bindex *x)
{
    int bad = 0;
    uint8_t *buf = NULL;
    size_t cap = 0;
    struct column col = {0};
    for (uint32_t s = 0; s < x->n_series; s++) {
        struct entry e;
        ASSERT(entry_at(x, s, &e));
        const uint8_t *p = e.chunks, *end = x->series + x->n_entries;
        struct chunk_place c = {.off = e.file_off};
        for (uint64_t i = 0; i < e.n_chunks && next_chunk(&p, end, &c); i++) {
            if (c.len + 4 > cap) {
                cap = (size_t)c.len + 4;
                free(buf);
                buf = xmalloc(cap);
            }
            int r = read_all(b->vfs, b->fd, buf, (size_t)c.len + 4, c.off - 4);
            column_reset(&col);
            bad += r || !chunk_good(buf, c.len) ||
                   chunk_decode((enum chunk_kind)buf[4], buf + 5, c.len - 1, SIZE_MAX, c.min_t, c.max_t, &col) ||
                   !col.n || col.t[0] != c.min_t || col.t[col.n - 1] != c.max_t;
        }
    }
    free(buf);
    column_done(&col);
    return bad;
}

/* ---- deletions ---- */

static int tomb_cmp(const void *a, const void *b)
{
    const struct tomb *x = a, *y = b;
    if (x->ord != y->ord)
        return x->ord < y->ord ? -1 : 1;
    return (x->min_t > y->min_t) - (x->min_t < y->min_t);
}

struct tombs *tombs_make(const struct tomb *t, size_t n)
{
    struct tombs *r = xcalloc(1, sizeof(*r) + n * sizeof(*t));
    atomic_init(&r->refs, 1);
    if (n) {
        struct tomb *s = xmalloc(n * sizeof(*s));
        memcpy(s, t, n * sizeof(*s));
        qsort(s, n, sizeof(*s), tomb_cmp);
        for (size_t i = 0; i < n; i++) {
            struct tomb *last = r->n ? &r->v[r->n - 1] : NULL;
            if (last && last->ord == s[i].ord && (last->max_t == INT64_MAX || s[i].min_t <= last->max_t + 1))
                last->max_t = MAX(last->max_t, s[i].max_t);
            else
                r->v[r->n++] = s[i];
        }
        free(s);
    }
    return r;
}

struct tombs *tombs_ref(struct tombs *t)
{
    if (t)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

struct tombs *tombs_unref(struct tombs *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        free(t);
    return NULL;
}

void tombs_apply(const struct tombs *t, uint32_t ord, struct column *c, size_t from)
{
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->v[mid].ord < ord)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < t->n && t->v[lo].ord == ord; lo++) {
        size_t w = from;
        for (size_t i = from; i < c->n; i++) {
            if (c->t[i] >= t->v[lo].min_t && c->t[i] <= t->v[lo].max_t)
                continue;
            c->t[w] = c->t[i];
            c->v[w] = c->v[i];
            if (c->h)
                c->h[w] = c->h[i];
            if (c->st)
                c->st[w] = c->st[i];
            w++;
        }
        c->n = w;
    }
}

/* magic 8, count u32, crc u32 of the rest, then 20 bytes each */
int tombs_store(const struct vfs *v, const char *block_path, const struct tombs *t)
{
    _cleanup_buf_ struct buf b = BUF_INIT(16 + 20 * (t->n + 1));
    _cleanup_free_ char *path = tombs_path(block_path);
    uint8_t e[20];
    memcpy(e, TOMB_MAGIC, 8);
    put_u32le(e + 8, (uint32_t)t->n);
    put_u32le(e + 12, 0);
    buf_put(&b, e, 16);
    for (size_t i = 0; i < t->n; i++) {
        put_u32le(e, t->v[i].ord);
        put_u64le(e + 4, (uint64_t)t->v[i].min_t);
        put_u64le(e + 12, (uint64_t)t->v[i].max_t);
        buf_put(&b, e, 20);
    }
    put_u32le(b.p + 12, hash_crc32c(0, b.p + 16, b.n - 16));
    return fs_write_file(v, path, buf_view(&b), 0600);
}

int tombs_load(const char *block_path, uint32_t n_series, struct tombs **ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1ULL << 31);
    _cleanup_free_ char *path = tombs_path(block_path);
    int r = fs_read_file(path, &b);
    if (r == -ENOENT) {
        *ret = NULL;
        return 0;
    }
    if (r)
        return r;
    if (b.n < 16 || memcmp(b.p, TOMB_MAGIC, 8) != 0 || (b.n - 16) / 20 != get_u32le(b.p + 8) || (b.n - 16) % 20 != 0 ||
        get_u32le(b.p + 12) != hash_crc32c(0, b.p + 16, b.n - 16))
        return -EBADMSG;
    size_t n = (b.n - 16) / 20;
    struct tomb *t = xmalloc((n + 1) * sizeof(*t));
    for (size_t i = 0; i < n; i++) {
        const char *e = b.p + 16 + 20 * i;
        t[i] =
            (struct tomb){.ord = get_u32le(e), .min_t = (int64_t)get_u64le(e + 4), .max_t = (int64_t)get_u64le(e + 12)};
        if (t[i].ord >= n_series || t[i].min_t > t[i].max_t)
            r = -EBADMSG;
    }
    if (!r)
        *ret = tombs_make(t, n);
    free(t);
    return r;
}
