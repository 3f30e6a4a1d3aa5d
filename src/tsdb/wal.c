// SPDX-License-Identifier: Apache-2.0
#include "tsdb/wal_int.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/parse.h"
#include <fcntl.h>
#include <sys/stat.h>

#define READ_WINDOW (1 << 20)

char *wal_path(const char *dir, uint32_t seg)
{
    return xasprintf("%s/%08u.wal", dir, seg);
}

bool wal_name_parse(const char *name, uint32_t *ret)
{
    struct str s = str_of(name);
    uint64_t v;
    if (!str_ends(s, STR(".wal")) || !parse_u64(str_sub(s, 0, s.n - 4), &v) || v == 0 || v > UINT32_MAX)
        return false;
    *ret = (uint32_t)v;
    return true;
}

/* ---- writing ---- */

void wal_init(struct wal *w, const struct vfs *v, const char *dir, int64_t segment_bytes, uint32_t last_seg)
{
    *w = (struct wal){.vfs = v, .dir = xstrdup(dir), .segment_bytes = segment_bytes, .fd = -1, .seg = last_seg};
    pthread_mutex_init(&w->sync_lock, NULL);
}

void wal_done(struct wal *w)
{
    if (w->fd >= 0)
        (void)w->vfs->close(w->vfs, w->fd); /* what had to be durable was synced before */
    for (size_t i = 0; i < w->old.n; i++)
        (void)w->vfs->close(w->vfs, w->old.v[i]);
    vec_done(&w->old);
    free(w->dir);
    pthread_mutex_destroy(&w->sync_lock);
}

static void segment_header(uint8_t h[WAL_SEGMENT_HEADER], uint32_t seg)
{
    memcpy(h, WAL_SEGMENT_MAGIC, 8);
    put_u32le(h + 8, seg);
    put_u32le(h + 12, hash_crc32c(0, h, 12));
}

int wal_prepare(struct wal *w)
{
    if (w->fd >= 0 && w->off < w->segment_bytes)
        return 0;
    if (w->fd >= 0)
        (void)wal_cut(w);
    uint32_t seg = w->seg + 1;
    _cleanup_free_ char *path = wal_path(w->dir, seg);
    /* O_TRUNC: a file left by an attempt that failed here before holds nothing acknowledged. */
    int fd = w->vfs->open(w->vfs, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    uint8_t h[WAL_SEGMENT_HEADER];
    segment_header(h, seg);
    int r = fs_write_all(w->vfs, fd, h, sizeof(h), 0);
    if (!r)
        r = w->vfs->sync_dir(w->vfs, w->dir); /* the name must last before anything in it is called durable */
    if (r) {
        (void)w->vfs->close(w->vfs, fd);
        (void)w->vfs->unlink(w->vfs, path); /* an empty segment does no harm if it stays */
        return r;
    }
    w->fd = fd;
    w->seg = seg;
    w->off = WAL_SEGMENT_HEADER;
    return 0;
}

void wal_begin(struct buf *b)
{
    static const char room[WAL_RECORD_HEADER];
    buf_reset(b);
    buf_put(b, room, sizeof(room));
}

int wal_append(struct wal *w, struct buf *b)
{
    int r = buf_error(b);
    if (r)
        return r;
    ASSERT(w->fd >= 0);
    uint32_t len = (uint32_t)(b->n - WAL_RECORD_HEADER);
    put_u32le(b->p + 4, len);
    put_u32le(b->p, WAL_RECORD_MAGIC ^ hash_crc32c(0, b->p + 4, 4));
    put_u32le(b->p + 8, hash_crc32c(0, b->p + WAL_RECORD_HEADER, len));
    r = fs_write_all(w->vfs, w->fd, b->p, b->n, w->off);
    if (r) {
        /* Whether cutting back works or not, the next record must not stand behind garbage of unknown length. */
        if (w->vfs->ftruncate(w->vfs, w->fd, w->off) < 0)
            (void)wal_cut(w);
        return r;
    }
    w->off += (off_t)b->n;
    w->written++;
    return 0;
}

uint32_t wal_cut(struct wal *w)
{
    if (w->fd >= 0)
        vec_push(&w->old, w->fd);
    w->fd = -1;
    return w->seg;
}

void wal_abandon(struct wal *w)
{
    (void)wal_cut(w);
    for (size_t i = 0; i < w->old.n; i++)
        (void)w->vfs->close(w->vfs, w->old.v[i]); /* its content is written anew elsewhere */
    w->old.n = 0;
}

/* ---- reading ---- */

static int check_header(struct wal_reader *r, uint32_t seg)
{
    uint8_t h[WAL_SEGMENT_HEADER];
    segment_header(h, seg);
    if (r->n >= WAL_SEGMENT_HEADER && memcmp(r->buf, h, sizeof(h)) == 0) {
        r->pos = WAL_SEGMENT_HEADER;
        return 0;
    }
    if (r->n >= WAL_SEGMENT_HEADER && memcmp(r->buf, WAL_SEGMENT_MAGIC, 7) == 0 &&
        get_u32le(r->buf + 12) == hash_crc32c(0, r->buf, 12) && r->buf[7] > 1)
        return -ENOTSUP; /* a later version's */
    r->pos = 0;          /* a damaged header: the records behind it stand for themselves */
    return 0;
}

static int fill(struct wal_reader *r, size_t want)
{
    if (r->n - r->pos >= want || r->fd < 0 || r->off >= r->size)
        return 0;
    if (r->pos > 0) {
        memmove(r->buf, r->buf + r->pos, r->n - r->pos);
        r->n -= r->pos;
        r->pos = 0;
    }
    if (want > r->cap) {
        uint8_t *p = realloc(r->buf, want);
        if (!p)
            return -ENOMEM;
        r->buf = p;
        r->cap = want;
    }
    while (r->n < r->cap && r->off < r->size) {
        ssize_t got = r->vfs->pread(r->vfs, r->fd, r->buf + r->n, r->cap - r->n, r->off);
        if (got < 0)
            return (int)got;
        if (got == 0) {
            r->size = r->off; /* shorter than it said */
            break;
        }
        r->n += (size_t)got;
        r->off += got;
    }
    return 0;
}

int wal_reader_open(struct wal_reader *r, const struct vfs *v, const char *path, uint32_t seg)
{
    *r = (struct wal_reader){.vfs = v, .owned = true};
    r->fd = v->open(v, path, O_RDONLY, 0);
    if (r->fd < 0)
        return r->fd;
    struct stat st;
    if (fstat(r->fd, &st) < 0) {
        int e = -errno;
        wal_reader_done(r);
        return e;
    }
    r->size = st.st_size;
    int e = fill(r, MIN((size_t)READ_WINDOW, MAX((size_t)st.st_size, (size_t)64)));
    if (!e)
        e = check_header(r, seg);
    if (e)
        wal_reader_done(r);
    return e;
}

int wal_reader_mem(struct wal_reader *r, const void *p, size_t n, uint32_t seg)
{
    *r = (struct wal_reader){.fd = -1, .buf = (uint8_t *)(uintptr_t)p, .cap = n, .n = n};
    return check_header(r, seg);
}

void wal_reader_done(struct wal_reader *r)
{
    if (r->owned) {
        free(r->buf);
        if (r->fd >= 0)
            (void)r->vfs->close(r->vfs, r->fd); /* read only */
    }
    r->buf = NULL;
    r->fd = -1;
}

/* Does a record begin here? Its first word proves its length, so that a length is never taken from damaged bytes. */
static bool header_at(const uint8_t *p)
{
    return get_u32le(p) == (WAL_RECORD_MAGIC ^ hash_crc32c(0, p + 4, 4));
}

/* Is there a whole good record at pos? 1 and its length, 0 if not. */
static int record_at(struct wal_reader *r, uint32_t *ret_len)
{
    int e = fill(r, WAL_RECORD_HEADER);
    if (e)
        return e;
    if (r->n - r->pos < WAL_RECORD_HEADER || !header_at(r->buf + r->pos))
        return 0;
    uint32_t len = get_u32le(r->buf + r->pos + 4), crc = get_u32le(r->buf + r->pos + 8);
    uint64_t left = (uint64_t)(r->n - r->pos) + (uint64_t)(r->fd >= 0 ? r->size - r->off : 0);
    if (len == 0 || len > WAL_RECORD_MAX || (uint64_t)len + WAL_RECORD_HEADER > left)
        return 0;
    e = fill(r, (size_t)len + WAL_RECORD_HEADER);
    if (e)
        return e;
    if (r->n - r->pos < (size_t)len + WAL_RECORD_HEADER)
        return 0;
    const uint8_t *p = r->buf + r->pos;
    if (hash_crc32c(0, p + WAL_RECORD_HEADER, len) != crc)
        return 0;
    *ret_len = len;
    return 1;
}

/* A crash tears the last record off: what is left begins as a record and is too short, or is less than a header, or
 * zeros (a size that was written before the bytes). Anything else has been changed since. */
static bool looks_torn(const struct wal_reader *r)
{
    const uint8_t *p = r->buf + r->pos;
    size_t n = r->n - r->pos;
    bool more = r->fd >= 0 && r->off < r->size;
    if (n < WAL_RECORD_HEADER)
        return true;
    if (header_at(p))
        return get_u32le(p + 4) > n - WAL_RECORD_HEADER + (more ? (uint64_t)(r->size - r->off) : 0);
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

int wal_next(struct wal_reader *r, struct str *ret)
{
    bool skipping = false, counted = false;
    for (;;) {
        uint32_t len = 0;
        int e = record_at(r, &len);
        if (e < 0)
            return e;
        if (e == 1) {
            r->holes += skipping && !counted;
            *ret = str_make((const char *)r->buf + r->pos + WAL_RECORD_HEADER, len);
            r->pos += (size_t)len + WAL_RECORD_HEADER;
            return 1;
        }
        if (r->n == r->pos && (r->fd < 0 || r->off >= r->size))
            return 0;
        if (!skipping && !looks_torn(r)) {
            r->holes++;
            counted = true;
        }
        skipping = true; /* byte by byte to the next header; damage is rare */
        r->pos++;
        r->damaged++;
    }
}
