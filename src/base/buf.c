// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include "base/mem.h"
#include <errno.h>
#include <stdio.h>

void buf_init(struct buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_done(struct buf *b)
{
    free(b->p);
    *b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->err = 0;
}

int buf_reserve(struct buf *b, size_t n)
{
    if (b->err)
        return b->err;
    if (n > b->max || b->n > b->max - n)
        return b->err = -EMSGSIZE;
    /* One byte more than asked: buf_cstr() and buf_take() then never fail. */
    size_t want = b->n + n + 1;
    if (want <= b->cap)
        return 0;
    size_t cap = MAX(b->cap + b->cap / 2, (size_t)64);
    b->cap = MIN(MAX(cap, want), b->max + 1);
    b->p = xrealloc(b->p, b->cap);
    return 0;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_putc(struct buf *b, char c)
{
    if (b->err || (b->n + 1 >= b->cap && buf_reserve(b, 1)))
        return;
    b->p[b->n++] = c;
}

void buf_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}

void buf_z(struct buf *b, const char *z)
{
    buf_put(b, z, strlen(z));
}

void buf_u64(struct buf *b, uint64_t v)
{
    char tmp[20];
    size_t i = sizeof(tmp);
    do {
        tmp[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_put(b, tmp + i, sizeof(tmp) - i);
}

void buf_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_putc(b, '-');
    buf_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void buf_vfmt(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n > 0 && buf_reserve(b, (size_t)n) == 0) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(b, fmt, ap);
    va_end(ap);
}

const char *buf_cstr(struct buf *b)
{
    if (!b->p)
        return "";
    b->p[b->n] = 0;
    return b->p;
}

char *buf_take(struct buf *b, size_t *ret_n)
{
    char *p = b->p ? b->p : xmalloc(1);
    p[b->n] = 0;
    if (ret_n)
        *ret_n = b->n;
    *b = BUF_INIT(b->max);
    return p;
}
