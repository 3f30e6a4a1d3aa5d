// SPDX-License-Identifier: Apache-2.0
/* STREAM: the head's codec. One token a sample in the usual case; bytes, not bits, because the head is appended to far
 * more often than it is kept, and a token that is a byte costs a few nanoseconds. */
#include "tsdb/chunk_int.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "tsdb/decimal_int.h"

enum {
    TOK_RUN = 0x80,   /* 10rrrrrr: r+1 more of the same value at the same distance */
    TOK_D13 = 0xc0,   /* 110xxxxx + 1 byte: mantissa delta, zigzag, high bits first */
    TOK_D20 = 0xe0,   /* 1110xxxx + 2 bytes */
    TOK_D27 = 0xf0,   /* 11110xxx + 3 bytes */
    TOK_D64 = 0xf8,   /* varint mantissa delta */
    TOK_XOR = 0xf9,   /* (leading zero bytes << 4 | n), n bytes: bits xor the bits before */
    TOK_SCALE = 0xfa, /* exponent byte, varint mantissa */
    TOK_DOD = 0xfb,   /* varint change of the distance; a value token follows */
    TOK_ST = 0xfc,    /* varint change of the start timestamp; another token follows */
    RUN_MAX = 64
};

static int64_t sub_wrap(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t add_wrap(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static uint8_t *put_value(struct stream *s, uint8_t *p, double v, uint64_t bits)
{
    int64_t m;
    bool fits = decimal_exact(v, s->exp, &m);
    int exp = s->exp;
    /* The search costs a dozen divisions: after a few full-precision values it is tried on every 16th only. */
    if (!fits && (s->misses < 4 || s->misses % 16 == 0)) {
        exp = decimal_exponent(v, 0);
        fits = exp >= 0 && decimal_exact(v, exp, &m);
    }
    if (!fits) {
        s->misses = s->misses == 255 ? 240 : (uint8_t)(s->misses + 1);
        uint64_t x = bits ^ s->bits;
        unsigned lead = (unsigned)__builtin_clzll(x) / 8, trail = (unsigned)__builtin_ctzll(x) / 8,
                 n = 8 - lead - trail;
        *p++ = TOK_XOR;
        *p++ = (uint8_t)(lead << 4 | n);
        x >>= trail * 8;
        for (unsigned i = 0; i < n; i++)
            *p++ = (uint8_t)(x >> (8 * i));
        return p;
    }
    s->misses = 0;
    if (exp != s->exp) {
        s->exp = (int8_t)exp;
        s->m = m;
        *p++ = TOK_SCALE;
        *p++ = (uint8_t)exp;
        return p + put_varint(p, m);
    }
    uint64_t u = zigzag(sub_wrap(m, s->m));
    s->m = m;
    if (u < 1U << 7) {
        *p++ = (uint8_t)u;
    } else if (u < 1U << 13) {
        *p++ = (uint8_t)(TOK_D13 | u >> 8);
        *p++ = (uint8_t)u;
    } else if (u < 1U << 20) {
        *p++ = (uint8_t)(TOK_D20 | u >> 16);
        *p++ = (uint8_t)(u >> 8);
        *p++ = (uint8_t)u;
    } else if (u < 1U << 27) {
        *p++ = (uint8_t)(TOK_D27 | u >> 24);
        *p++ = (uint8_t)(u >> 16);
        *p++ = (uint8_t)(u >> 8);
        *p++ = (uint8_t)u;
    } else {
        *p++ = TOK_D64;
        p += put_uvarint(p, u);
    }
    return p;
}

void stream_put(struct stream *s, uint8_t *data, int64_t t, double v, int64_t st)
{
    uint64_t bits = f64_bits(v);
    int64_t delta = sub_wrap(t, s->t);
    bool same = s->n > 0 && bits == s->bits && delta == s->delta && st == s->st;
    if (same && s->run_at && data[s->run_at - 1] < TOK_RUN + RUN_MAX - 1) {
        data[s->run_at - 1]++;
    } else {
        uint8_t *p = data + s->len;
        s->run_at = 0;
        if (st != s->st) {
            *p++ = TOK_ST;
            p += put_varint(p, sub_wrap(st, s->st));
        }
        if (delta != s->delta) {
            *p++ = TOK_DOD;
            p += put_varint(p, sub_wrap(delta, s->delta));
        }
        if (bits == s->bits && s->n > 0) {
            *p++ = TOK_RUN;
            /* Only a bare run may grow: one behind a prefix repeats a distance that the prefix changed just now. */
            s->run_at = (uint32_t)(p - data);
        } else {
            p = put_value(s, p, v, bits);
        }
        s->len = (uint32_t)(p - data);
    }
    s->t = t;
    s->delta = delta;
    s->st = st;
    s->bits = bits;
    s->n++;
}

/* All columns of a decoder go through here: range, then reserve in one piece beforehand. */
static void emit(struct column *c, int64_t t, double v, int64_t st, int64_t mint, int64_t maxt)
{
    if (t < mint || t > maxt)
        return;
    if (st || c->st || c->h) {
        column_push_full(c, t, v, st, NULL);
        return;
    }
    if (c->n == c->cap)
        column_reserve(c, 1);
    c->t[c->n] = t;
    c->v[c->n++] = v;
}

static int stream_decode(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c)
{
    int64_t t = 0, delta = 0, m = 0, st = 0;
    uint64_t bits = 0;
    int exp = 0;
    size_t n = 0;
    while (p < end && n < max) {
        uint8_t tok = *p++;
        uint64_t u;
        int64_t i;
        if (tok == TOK_ST) {
            if (!get_varint(&p, end, &i) || p >= end)
                return -EBADMSG;
            st = add_wrap(st, i);
            tok = *p++;
        }
        if (tok == TOK_DOD) {
            if (!get_varint(&p, end, &i) || p >= end)
                return -EBADMSG;
            delta = add_wrap(delta, i);
            tok = *p++;
        }
        if (tok < 0x80) {
            u = tok;
        } else if (tok < TOK_D13) {
            if (n == 0)
                return -EBADMSG; /* a run of nothing */
            unsigned run = (tok & 0x3fU) + 1;
            for (; run > 0 && n < max; run--, n++) {
                t = add_wrap(t, delta);
                emit(c, t, f64_from_bits(bits), st, mint, maxt);
            }
            continue;
        } else if (tok < TOK_D20) {
            if (end - p < 1)
                return -EBADMSG;
            u = (uint64_t)(tok & 0x1f) << 8 | p[0];
            p += 1;
        } else if (tok < TOK_D27) {
            if (end - p < 2)
                return -EBADMSG;
            u = (uint64_t)(tok & 0xf) << 16 | (uint64_t)p[0] << 8 | p[1];
            p += 2;
        } else if (tok < TOK_D64) {
            if (end - p < 3)
                return -EBADMSG;
            u = (uint64_t)(tok & 7) << 24 | (uint64_t)p[0] << 16 | (uint64_t)p[1] << 8 | p[2];
            p += 3;
        } else if (tok == TOK_D64) {
            if (!get_uvarint(&p, end, &u))
                return -EBADMSG;
        } else if (tok == TOK_XOR) {
            if (p >= end)
                return -EBADMSG;
            unsigned lead = *p >> 4, len = *p & 0xf;
            p++;
            if (len < 1 || lead + len > 8 || end - p < (ptrdiff_t)len)
                return -EBADMSG;
            uint64_t x = 0;
            for (unsigned k = 0; k < len; k++)
                x |= (uint64_t)p[k] << (8 * k);
            p += len;
            bits ^= x << (8 * (8 - lead - len));
            goto sample;
        } else if (tok == TOK_SCALE) {
            if (p >= end || *p > DECIMAL_EXP_MAX)
                return -EBADMSG;
            exp = *p++;
            if (!get_varint(&p, end, &m))
                return -EBADMSG;
            bits = f64_bits(decimal_value(m, exp));
            goto sample;
        } else {
            return -EBADMSG;
        }
        m = add_wrap(m, unzigzag(u));
        bits = f64_bits(decimal_value(m, exp));
    sample:
        t = add_wrap(t, delta);
        n++;
        emit(c, t, f64_from_bits(bits), st, mint, maxt);
    }
    return 0;
}

int chunk_decode(enum chunk_kind kind, const uint8_t *p, size_t n, size_t max, int64_t mint, int64_t maxt,
                 struct column *into)
{
    switch (kind) {
    case CHUNK_STREAM:
        return stream_decode(p, p + n, MIN(max, (size_t)CHUNK_SAMPLES_LIMIT), mint, maxt, into);
    case CHUNK_COLUMN:
        return column_decode(p, p + n, max, mint, maxt, into);
    case CHUNK_HIST:
        return hist_decode(p, p + n, max, mint, maxt, into);
    case CHUNK_HIST_Z:
        return hist_decode_z(p, p + n, max, mint, maxt, into);
    }
    return -EBADMSG;
}

/* ---- columns ---- */

void column_push_full(struct column *c, int64_t t, double v, int64_t st, const struct histogram *h)
{
    column_reserve(c, 1);
    if (st && !c->st)
        c->st = xcalloc(c->cap, sizeof(*c->st));
    if (h && !c->h)
        c->h = xcalloc(c->cap, sizeof(*c->h));
    c->t[c->n] = t;
    c->v[c->n] = v;
    if (c->st)
        c->st[c->n] = st;
    if (c->h)
        c->h[c->n] = h;
    c->n++;
}

bool column_is_sorted(const struct column *c, size_t from)
{
    for (size_t i = from + 1; i < c->n; i++)
        if (c->t[i] <= c->t[i - 1])
            return false;
    return true;
}

struct sort_key {
    int64_t t;
    size_t at;
};

static int sort_key_cmp(const void *a, const void *b)
{
    const struct sort_key *x = a, *y = b;
    return x->t != y->t ? (x->t < y->t ? -1 : 1) : (x->at > y->at) - (x->at < y->at);
}

void column_sort_unique(struct column *c, size_t from)
{
    if (c->n <= from || column_is_sorted(c, from))
        return;
    size_t n = c->n - from;
    struct sort_key *k = xmalloc(n * sizeof(*k));
    for (size_t i = 0; i < n; i++)
        k[i] = (struct sort_key){.t = c->t[from + i], .at = from + i};
    qsort(k, n, sizeof(*k), sort_key_cmp);
    struct column s = {0};
    column_reserve(&s, n);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || k[i].t != k[i - 1].t)
            column_push_full(&s, k[i].t, c->v[k[i].at], c->st ? c->st[k[i].at] : 0, c->h ? c->h[k[i].at] : NULL);
    free(k);
    for (size_t i = 0; i < s.n; i++) {
        c->t[from + i] = s.t[i];
        c->v[from + i] = s.v[i];
        if (c->st)
            c->st[from + i] = s.st ? s.st[i] : 0;
        if (c->h)
            c->h[from + i] = s.h ? s.h[i] : NULL;
    }
    c->n = from + s.n;
    column_done(&s);
}
