// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Growing byte buffer with a hard maximum set at birth. Appending past the maximum sets a sticky error and drops the
 * bytes: callers write freely and look at buf_error() once, at the end. One owner, one thread. */
#include "base/str.h"
#include <stdarg.h>
#include <stdint.h>

struct buf {
    char *p;
    size_t n, cap, max;
    int err; /* 0 or -EMSGSIZE */
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);  /* frees; accepts a zeroed or finished buffer */
void buf_reset(struct buf *b); /* empty, memory kept, error cleared */
/* Make room for n more bytes; 0 or -EMSGSIZE. The pointer returned by buf_tail() is then writable for n bytes. */
__attribute__((warn_unused_result)) int buf_reserve(struct buf *b, size_t n);

void buf_put(struct buf *b, const void *p, size_t n);
void buf_putc(struct buf *b, char c);
void buf_str(struct buf *b, struct str s);
void buf_z(struct buf *b, const char *z);
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vfmt(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static inline struct str buf_view(const struct buf *b)
{
    return (struct str){.p = b->p, .n = b->n};
}

static inline int buf_error(const struct buf *b)
{
    return b->err;
}

/* The bytes as a NUL-terminated string, borrowed until the next call on b. Never NULL. */
const char *buf_cstr(struct buf *b);
/* Hand the memory over: malloc'd, NUL-terminated, caller owns; b is empty afterwards. */
char *buf_take(struct buf *b, size_t *ret_n);

static inline void buf_donep(struct buf *b)
{
    buf_done(b);
}
#define _cleanup_buf_ __attribute__((cleanup(buf_donep)))
