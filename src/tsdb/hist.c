// SPDX-License-Identifier: Apache-2.0
/* HIST: native histograms, one after the other; whole bucket counts as small integers where they are integral. In
 * blocks the payload goes through zstd as well, which finds what neighbours share. Wraps libzstd. */
#include "tsdb/chunk_int.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "tsdb/decimal_int.h"
#include <zstd.h>

#define HIST_RAW_MAX (64 << 20) /* a chunk that claims to unpack to more is a lie */

static void put_u(struct buf *b, uint64_t v)
{
    uint8_t tmp[VARINT_MAX];
    buf_put(b, tmp, put_uvarint(tmp, v));
}

static void put_i(struct buf *b, int64_t v)
{
    put_u(b, zigzag(v));
}

/* An integral double as varint of zigzag(m) << 1, any other as byte 1 and its bits. */
static void put_f(struct buf *b, double v)
{
    int64_t m;
    if (decimal_exact(v, 0, &m) && m > -(1LL << 53) && m < (1LL << 53)) {
        put_u(b, zigzag(m) << 1);
        return;
    }
    uint8_t raw[9] = {1};
    put_u64le(raw + 1, f64_bits(v));
    buf_put(b, raw, 9);
}

static bool get_f(const uint8_t **pp, const uint8_t *end, double *ret)
{
    uint64_t u;
    if (!get_uvarint(pp, end, &u))
        return false;
    if (u == 1) {
        if (end - *pp < 8)
            return false;
        *ret = f64_from_bits(get_u64le(*pp));
        *pp += 8;
        return true;
    }
    if (u & 1)
        return false;
    *ret = (double)unzigzag(u >> 1);
    return true;
}

static bool spans_fit(const struct hist_span *s, uint32_t n, uint32_t buckets)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += s[i].length;
    return sum == buckets;
}

bool hist_valid(const struct histogram *h)
{
    return h->n_pos_spans <= HIST_BUCKETS_MAX && h->n_neg_spans <= HIST_BUCKETS_MAX && h->n_pos <= HIST_BUCKETS_MAX &&
           h->n_neg <= HIST_BUCKETS_MAX && h->n_custom <= HIST_BUCKETS_MAX && h->hint <= HIST_GAUGE &&
           spans_fit(h->pos_spans, h->n_pos_spans, h->n_pos) && spans_fit(h->neg_spans, h->n_neg_spans, h->n_neg);
}

static bool same_f(const double *a, const double *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

static bool same_spans(const struct hist_span *a, const struct hist_span *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

bool hist_equal(const struct histogram *a, const struct histogram *b)
{
    return a->hint == b->hint && a->schema == b->schema && same_f(&a->zero_threshold, &b->zero_threshold, 1) &&
           same_f(&a->zero_count, &b->zero_count, 1) && same_f(&a->count, &b->count, 1) &&
           same_f(&a->sum, &b->sum, 1) && a->n_pos_spans == b->n_pos_spans && a->n_neg_spans == b->n_neg_spans &&
           a->n_pos == b->n_pos && a->n_neg == b->n_neg && a->n_custom == b->n_custom &&
           same_spans(a->pos_spans, b->pos_spans, a->n_pos_spans) &&
           same_spans(a->neg_spans, b->neg_spans, a->n_neg_spans) && same_f(a->pos, b->pos, a->n_pos) &&
           same_f(a->neg, b->neg, a->n_neg) && same_f(a->custom, b->custom, a->n_custom);
}

int hist_put(struct buf *out, int64_t prev_t, int64_t prev_st, int64_t t, int64_t st, const struct histogram *h)
{
    if (!hist_valid(h))
        return -EINVAL;
    put_i(out, (int64_t)((uint64_t)t - (uint64_t)prev_t));
    put_i(out, (int64_t)((uint64_t)st - (uint64_t)prev_st));
    put_u(out, (uint64_t)h->hint);
    put_i(out, h->schema);
    put_f(out, h->zero_threshold);
    put_f(out, h->zero_count);
    put_f(out, h->count);
    put_f(out, h->sum);
    put_u(out, h->n_pos_spans);
    put_u(out, h->n_neg_spans);
    put_u(out, h->n_custom);
    for (uint32_t i = 0; i < h->n_pos_spans + h->n_neg_spans; i++) {
        const struct hist_span *s = i < h->n_pos_spans ? &h->pos_spans[i] : &h->neg_spans[i - h->n_pos_spans];
        put_i(out, s->offset);
        put_u(out, s->length);
    }
    for (uint32_t i = 0; i < h->n_pos; i++)
        put_f(out, h->pos[i]);
    for (uint32_t i = 0; i < h->n_neg; i++)
        put_f(out, h->neg[i]);
    for (uint32_t i = 0; i < h->n_custom; i++)
        put_f(out, h->custom[i]);
    return buf_error(out);
}

static struct hist_span *get_spans(const uint8_t **pp, const uint8_t *end, uint32_t n, struct arena *a,
                                   uint32_t *ret_sum)
{
    struct hist_span *s = ARENA_ARRAY(a, struct hist_span, n ? n : 1);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t offset;
        uint64_t len;
        if (!get_varint(pp, end, &offset) || !get_uvarint(pp, end, &len) || offset < INT32_MIN || offset > INT32_MAX ||
            len > HIST_BUCKETS_MAX)
            return NULL;
        s[i] = (struct hist_span){.offset = (int32_t)offset, .length = (uint32_t)len};
        sum += len;
    }
    if (sum > HIST_BUCKETS_MAX)
        return NULL;
    *ret_sum = (uint32_t)sum;
    return s;
}

static const double *get_fs(const uint8_t **pp, const uint8_t *end, uint32_t n, struct arena *a)
{
    if ((size_t)(end - *pp) < n)
        return NULL; /* a value is a byte at least: no memory for a lie */
    double *v = ARENA_ARRAY(a, double, n ? n : 1);
    for (uint32_t i = 0; i < n; i++)
        if (!get_f(pp, end, &v[i]))
            return NULL;
    return v;
}

static bool get_hist(const uint8_t **pp, const uint8_t *end, struct arena *a, struct histogram *h)
{
    uint64_t hint, np, nn, nc;
    int64_t schema;
    if (!get_uvarint(pp, end, &hint) || hint > HIST_GAUGE || !get_varint(pp, end, &schema) || schema < INT32_MIN ||
        schema > INT32_MAX || !get_f(pp, end, &h->zero_threshold) || !get_f(pp, end, &h->zero_count) ||
        !get_f(pp, end, &h->count) || !get_f(pp, end, &h->sum) || !get_uvarint(pp, end, &np) ||
        !get_uvarint(pp, end, &nn) || !get_uvarint(pp, end, &nc))
        return false;
    size_t left = (size_t)(end - *pp);
    if (np > HIST_BUCKETS_MAX || nn > HIST_BUCKETS_MAX || nc > HIST_BUCKETS_MAX || np + nn + nc > left)
        return false;
    h->hint = (enum hist_hint)hint;
    h->schema = (int32_t)schema;
    h->n_pos_spans = (uint32_t)np;
    h->n_neg_spans = (uint32_t)nn;
    h->n_custom = (uint32_t)nc;
    return (h->pos_spans = get_spans(pp, end, h->n_pos_spans, a, &h->n_pos)) &&
           (h->neg_spans = get_spans(pp, end, h->n_neg_spans, a, &h->n_neg)) &&
           (h->pos = get_fs(pp, end, h->n_pos, a)) && (h->neg = get_fs(pp, end, h->n_neg, a)) &&
           (h->custom = get_fs(pp, end, h->n_custom, a));
}

int hist_decode(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c)
{
    int64_t t = 0, st = 0;
    if (!c->hists)
        c->hists = arena_new(0);
    for (size_t n = 0; p < end && n < max; n++) {
        int64_t dt, dst;
        if (n >= CHUNK_SAMPLES_LIMIT || !get_varint(&p, end, &dt) || !get_varint(&p, end, &dst))
            return -EBADMSG;
        struct histogram *h = ARENA_NEW(c->hists, struct histogram);
        if (!get_hist(&p, end, c->hists, h))
            return -EBADMSG;
        t = (int64_t)((uint64_t)t + (uint64_t)dt);
        st = (int64_t)((uint64_t)st + (uint64_t)dst);
        if (t >= mint && t <= maxt)
            column_push_full(c, t, h->sum, st, h);
    }
    return 0;
}

void hist_encode(struct buf *out, const uint8_t *payload, size_t n)
{
    size_t bound = ZSTD_compressBound(n), head = out->n;
    uint8_t tmp[VARINT_MAX];
    buf_putc(out, CHUNK_HIST_Z);
    buf_put(out, tmp, put_uvarint(tmp, n));
    if (n >= 64 && buf_reserve(out, bound) == 0) {
        size_t r = ZSTD_compress(out->p + out->n, bound, payload, n, 3);
        if (!ZSTD_isError(r) && out->n + r - head < n) {
            out->n += r;
            return;
        }
    }
    out->n = head;
    buf_putc(out, CHUNK_HIST);
    buf_put(out, payload, n);
}

int hist_decode_z(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c)
{
    uint64_t raw;
    if (!get_uvarint(&p, end, &raw) || raw == 0 || raw > HIST_RAW_MAX)
        return -EBADMSG;
    /* The frame's own word on its size must agree before memory is taken for it. */
    if (ZSTD_getFrameContentSize(p, (size_t)(end - p)) != raw)
        return -EBADMSG;
    uint8_t *out = malloc(raw);
    if (!out)
        return -ENOMEM;
    size_t got = ZSTD_decompress(out, raw, p, (size_t)(end - p));
    int r = ZSTD_isError(got) || got != raw ? -EBADMSG : hist_decode(out, out + got, max, mint, maxt, c);
    free(out);
    return r;
}
