// SPDX-License-Identifier: Apache-2.0
/* COLUMN: the blocks' codec. Times and decimal mantissas are deltas coded in frames of 64 with Rice codes around a
 * base, so a steady interval or a steady slope costs a byte a frame; what is no short decimal is coded as Gorilla does
 * (Pelkonen et al., VLDB 2015, section 4.1.2). */
#include "tsdb/chunk_int.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "tsdb/decimal_int.h"

enum {
    FLAG_IRREGULAR = 1, /* times are frames, not one interval */
    FLAG_ST = 2,
    VALUES_SAME = 0 << 2,
    VALUES_DECIMAL = 1 << 2,
    VALUES_XOR = 2 << 2,
    VALUES_MASK = 3 << 2,
    FRAME = 64,
    FRAME_ZERO = 0,    /* all deltas are 0 */
    FRAME_EQUAL = 127, /* all deltas are the base that follows */
    FRAME_BASE = 0x80, /* flag: a base follows */
    UNARY_MAX = 20     /* longer quotients are written raw */
};

/* ---- bits, least significant first ---- */

struct bitw {
    struct buf *out;
    uint64_t acc;
    unsigned n;
};

static void bw_put(struct bitw *w, uint64_t v, unsigned bits) /* bits <= 56, v has no higher bits */
{
    w->acc |= v << w->n;
    w->n += bits;
    while (w->n >= 8) {
        buf_putc(w->out, (char)w->acc);
        w->acc >>= 8;
        w->n -= 8;
    }
}

static void bw_put64(struct bitw *w, uint64_t v)
{
    bw_put(w, v & 0xffffffff, 32);
    bw_put(w, v >> 32, 32);
}

static void bw_align(struct bitw *w)
{
    if (w->n) {
        buf_putc(w->out, (char)w->acc);
        w->acc = 0;
        w->n = 0;
    }
}

struct bitr {
    const uint8_t *p, *end;
    uint64_t acc;
    unsigned n; /* valid bits in acc */
};

static inline void br_refill(struct bitr *r)
{
    if (r->end - r->p >= 8) {
        uint64_t w;
        memcpy(&w, r->p, 8);
        r->acc |= w << r->n;
        unsigned take = (63 - r->n) >> 3;
        r->p += take;
        r->n += take * 8;
        return;
    }
    while (r->n <= 56 && r->p < r->end) {
        r->acc |= (uint64_t)*r->p++ << r->n;
        r->n += 8;
    }
}

static inline bool br_get(struct bitr *r, unsigned bits, uint64_t *ret) /* bits <= 56 */
{
    if (r->n < bits) {
        br_refill(r);
        if (r->n < bits)
            return false;
    }
    *ret = r->acc & ((1ULL << bits) - 1);
    r->acc >>= bits;
    r->n -= bits;
    return true;
}

static bool br_get64(struct bitr *r, uint64_t *ret)
{
    uint64_t lo, hi;
    if (!br_get(r, 32, &lo) || !br_get(r, 32, &hi))
        return false;
    *ret = lo | hi << 32;
    return true;
}

/* Number of ones before a zero, at most max (then no zero follows). */
static inline bool br_unary(struct bitr *r, unsigned max, unsigned *ret)
{
    if (r->n < max + 1)
        br_refill(r);
    unsigned ones = ~r->acc ? (unsigned)__builtin_ctzll(~r->acc) : 64;
    if (ones >= max) {
        if (r->n < max)
            return false;
        r->acc >>= max;
        r->n -= max;
        *ret = max;
        return true;
    }
    if (r->n < ones + 1)
        return false;
    r->acc >>= ones + 1;
    r->n -= ones + 1;
    *ret = ones;
    return true;
}

/* Forget the rest of the current byte and give the position back. Refill may hold bytes read ahead. */
static const uint8_t *br_align(struct bitr *r)
{
    return r->p - r->n / 8;
}

/* ---- frames of integers ---- */

static uint64_t rice_cost(const uint64_t *u, size_t n, unsigned k)
{
    uint64_t cost = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t q = u[i] >> k;
        cost += q < UNARY_MAX ? q + 1 + k : UNARY_MAX + 64;
    }
    return cost;
}

static uint64_t best_k(const uint64_t *u, size_t n, unsigned *ret_k)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)u[i];
    double mean = sum / (double)n;
    unsigned k0 = 0;
    while (k0 < 55 && mean > (double)(1ULL << (k0 + 1)))
        k0++;
    uint64_t best = UINT64_MAX;
    for (unsigned k = k0 > 2 ? k0 - 2 : 0; k <= MIN(k0 + 1, 55U); k++) {
        uint64_t cost = rice_cost(u, n, k);
        if (cost < best) {
            best = cost;
            *ret_k = k;
        }
    }
    return best;
}

static int64_t median(const int64_t *d, size_t n)
{
    int64_t s[FRAME];
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        for (; j > 0 && s[j - 1] > d[i]; j--)
            s[j] = s[j - 1];
        s[j] = d[i];
    }
    return s[n / 2];
}

static void put_buf_varint(struct buf *out, int64_t v)
{
    uint8_t tmp[VARINT_MAX];
    buf_put(out, tmp, put_varint(tmp, v));
}

static void put_buf_uvarint(struct buf *out, uint64_t v)
{
    uint8_t tmp[VARINT_MAX];
    buf_put(out, tmp, put_uvarint(tmp, v));
}

static void frame_encode(struct buf *out, const int64_t *d, size_t n)
{
    bool equal = true;
    for (size_t i = 1; i < n && equal; i++)
        equal = d[i] == d[0];
    if (equal) {
        buf_putc(out, d[0] == 0 ? FRAME_ZERO : FRAME_EQUAL);
        if (d[0] != 0)
            put_buf_varint(out, d[0]);
        return;
    }
    uint64_t plain[FRAME], based[FRAME];
    int64_t base = median(d, n);
    for (size_t i = 0; i < n; i++) {
        plain[i] = zigzag(d[i]);
        based[i] = zigzag((int64_t)((uint64_t)d[i] - (uint64_t)base));
    }
    uint8_t tmp[VARINT_MAX];
    unsigned k = 0, kb = 0;
    uint64_t cost = best_k(plain, n, &k), cost_based = best_k(based, n, &kb) + 8 * put_varint(tmp, base);
    const uint64_t *u = plain;
    if (cost_based < cost) {
        u = based;
        k = kb;
        buf_putc(out, (char)((k + 1) | FRAME_BASE));
        put_buf_varint(out, base);
    } else {
        buf_putc(out, (char)(k + 1));
    }
    struct bitw w = {.out = out};
    for (size_t i = 0; i < n; i++) {
        uint64_t q = u[i] >> k;
        if (q < UNARY_MAX) {
            bw_put(&w, (1ULL << q) - 1, (unsigned)q + 1);
            bw_put(&w, u[i] & ((1ULL << k) - 1), k);
        } else {
            bw_put(&w, (1ULL << UNARY_MAX) - 1, UNARY_MAX);
            bw_put64(&w, u[i]);
        }
    }
    bw_align(&w);
}

static void ints_encode(struct buf *out, const int64_t *d, size_t n)
{
    for (size_t i = 0; i < n; i += FRAME)
        frame_encode(out, d + i, MIN(n - i, (size_t)FRAME));
}

/* Reads n integers; false when the bytes end early or lie. */
static bool ints_decode(const uint8_t **pp, const uint8_t *end, int64_t *d, size_t n)
{
    const uint8_t *p = *pp;
    for (size_t at = 0; at < n; at += FRAME) {
        size_t len = MIN(n - at, (size_t)FRAME);
        if (p >= end)
            return false;
        uint8_t mode = *p++;
        int64_t base = 0;
        if (mode == FRAME_ZERO) {
            memset(d + at, 0, len * sizeof(*d));
            continue;
        }
        if ((mode == FRAME_EQUAL || mode & FRAME_BASE) && !get_varint(&p, end, &base))
            return false;
        if (mode == FRAME_EQUAL) {
            for (size_t i = 0; i < len; i++)
                d[at + i] = base;
            continue;
        }
        unsigned k = (unsigned)(mode & 0x7f) - 1;
        if (k > 55)
            return false;
        struct bitr r = {.p = p, .end = end};
        for (size_t i = 0; i < len; i++) {
            unsigned q;
            uint64_t u;
            if (!br_unary(&r, UNARY_MAX, &q))
                return false;
            if (q < UNARY_MAX) {
                if (!br_get(&r, k, &u))
                    return false;
                u |= (uint64_t)q << k;
            } else if (!br_get64(&r, &u)) {
                return false;
            }
            d[at + i] = (int64_t)((uint64_t)unzigzag(u) + (uint64_t)base);
        }
        p = br_align(&r);
    }
    *pp = p;
    return true;
}

/* ---- values that are no decimals ---- */

static void xor_encode(struct buf *out, const double *v, size_t n)
{
    struct bitw w = {.out = out};
    uint64_t prev = 0;
    unsigned lead = 64, len = 0; /* the window in force: none */
    for (size_t i = 0; i < n; i++) {
        uint64_t x = f64_bits(v[i]) ^ prev;
        prev ^= x;
        if (x == 0) {
            bw_put(&w, 0, 1);
            continue;
        }
        unsigned l = (unsigned)__builtin_clzll(x), t = (unsigned)__builtin_ctzll(x), need = 64 - l - t;
        if (len && l >= lead && t >= 64 - lead - len && len < need + 12) {
            bw_put(&w, 1, 2);
        } else {
            lead = l;
            len = need;
            bw_put(&w, 3, 2);
            bw_put(&w, lead, 6);
            bw_put(&w, len - 1, 6);
        }
        x >>= 64 - lead - len;
        if (len > 32) {
            bw_put(&w, x & 0xffffffff, 32);
            bw_put(&w, x >> 32, len - 32);
        } else {
            bw_put(&w, x, len);
        }
    }
    bw_align(&w);
}

static bool xor_decode(const uint8_t *p, const uint8_t *end, double *v, size_t n)
{
    struct bitr r = {.p = p, .end = end};
    uint64_t prev = 0, b;
    unsigned lead = 64, len = 0;
    for (size_t i = 0; i < n; i++) {
        if (!br_get(&r, 1, &b))
            return false;
        if (b) {
            if (!br_get(&r, 1, &b))
                return false;
            if (b) {
                uint64_t l, m;
                if (!br_get(&r, 6, &l) || !br_get(&r, 6, &m))
                    return false;
                lead = (unsigned)l;
                len = (unsigned)m + 1;
            }
            if (len == 0 || lead + len > 64)
                return false;
            uint64_t lo, hi = 0;
            if (!br_get(&r, MIN(len, 32U), &lo) || (len > 32 && !br_get(&r, len - 32, &hi)))
                return false;
            prev ^= (lo | hi << 32) << (64 - lead - len);
        }
        v[i] = f64_from_bits(prev);
    }
    return true;
}

/* ---- the chunk ---- */

/* One exponent for all values but a few (stale markers, NaN); false when too many do not fit. */
static bool choose_exponent(const double *v, size_t n, int *ret_exp, bool *odd, size_t *ret_odd)
{
    int exp = 0;
    size_t max_odd = n / 16 + 1, n_odd = 0;
    int64_t m;
    for (size_t i = 0; i < n && n_odd <= max_odd; i++) {
        if (decimal_exact(v[i], exp, &m))
            continue;
        int e = decimal_exponent(v[i], exp + 1);
        if (e < 0)
            n_odd++;
        else
            exp = e;
    }
    n_odd = 0;
    for (size_t i = 0; i < n && n_odd <= max_odd; i++) {
        odd[i] = !decimal_exact(v[i], exp, &m);
        n_odd += odd[i];
    }
    *ret_exp = exp;
    *ret_odd = n_odd;
    return n_odd <= max_odd && n_odd < n;
}

static uint64_t gcd_u64(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* exponent, number of odd ones, (position delta, bits) of each, first mantissa, unit of the deltas, frames of deltas.
 */
static void decimals_encode(struct buf *out, const double *v, size_t n, int exp, const bool *odd, size_t n_odd,
                            int64_t *d)
{
    buf_putc(out, (char)exp);
    put_buf_uvarint(out, n_odd);
    size_t last = 0;
    int64_t m = 0, prev = 0;
    bool first = true;
    uint64_t unit = 0;
    for (size_t i = 0; i < n; i++) {
        if (odd[i]) {
            uint8_t raw[8];
            put_u64le(raw, f64_bits(v[i]));
            put_buf_uvarint(out, i - last);
            buf_put(out, raw, 8);
            last = i;
            d[i] = 0;
            continue;
        }
        (void)decimal_exact(v[i], exp, &m); /* fits: not odd */
        if (first) {
            first = false;
            d[i] = 0;
            prev = m;
            continue;
        }
        d[i] = (int64_t)((uint64_t)m - (uint64_t)prev);
        prev = m;
        if (unit != 1 && d[i] != INT64_MIN)
            unit = gcd_u64((uint64_t)(d[i] < 0 ? -d[i] : d[i]), unit);
        else
            unit = 1;
    }
    if (unit > (uint64_t)INT64_MAX || unit == 0)
        unit = 1;
    if (unit > 1)
        for (size_t i = 0; i < n; i++)
            d[i] /= (int64_t)unit;
    size_t at = 0;
    while (odd[at])
        at++;
    (void)decimal_exact(v[at], exp, &m);
    put_buf_varint(out, m);
    put_buf_uvarint(out, unit);
    ints_encode(out, d, n);
}

static bool decimals_decode(const uint8_t *p, const uint8_t *end, double *v, size_t n, int64_t *d)
{
    uint64_t n_odd, unit;
    int64_t m;
    if (p >= end || *p > DECIMAL_EXP_MAX)
        return false;
    int exp = *p++;
    if (!get_uvarint(&p, end, &n_odd) || n_odd > n)
        return false;
    const uint8_t *odd = p; /* read twice: skipped now, laid over the decimals at the end */
    for (uint64_t i = 0, skip; i < n_odd; i++) {
        if (!get_uvarint(&p, end, &skip) || end - p < 8)
            return false;
        p += 8;
    }
    if (!get_varint(&p, end, &m) || !get_uvarint(&p, end, &unit) || !ints_decode(&p, end, d, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        m = (int64_t)((uint64_t)m + (uint64_t)d[i] * unit);
        v[i] = decimal_value(m, exp);
    }
    size_t at = 0;
    for (uint64_t i = 0, skip = 0; i < n_odd; i++) {
        if (!get_uvarint(&odd, end, &skip) || skip >= n - at)
            return false;
        at += skip;
        v[at] = f64_from_bits(get_u64le(odd));
        odd += 8;
    }
    return true;
}

void column_encode(struct buf *out, const int64_t *t, const double *v, const int64_t *st, size_t n)
{
    ASSERT(n >= 1 && n <= CHUNK_SAMPLES_LIMIT);
    int64_t *d = xmalloc(n * sizeof(*d));
    bool *odd = xcalloc(n, sizeof(*odd));
    uint8_t flags = 0;
    bool same = true, any_st = false;
    for (size_t i = 1; i < n; i++) {
        d[i - 1] = (int64_t)((uint64_t)t[i] - (uint64_t)t[i - 1]);
        if (d[i - 1] != d[0])
            flags |= FLAG_IRREGULAR;
        same = same && f64_bits(v[i]) == f64_bits(v[0]);
    }
    for (size_t i = 0; st && i < n; i++)
        any_st = any_st || st[i] != 0;
    int exp = 0;
    size_t n_odd = 0;
    if (any_st)
        flags |= FLAG_ST;
    if (!same)
        flags |= choose_exponent(v, n, &exp, odd, &n_odd) ? VALUES_DECIMAL : VALUES_XOR;
    buf_putc(out, CHUNK_COLUMN);
    put_buf_uvarint(out, n);
    buf_putc(out, (char)flags);
    put_buf_varint(out, t[0]);
    if (flags & FLAG_IRREGULAR)
        ints_encode(out, d, n - 1);
    else if (n > 1)
        put_buf_varint(out, d[0]);
    if (any_st) {
        put_buf_varint(out, st[0]);
        for (size_t i = 1; i < n; i++)
            d[i - 1] = (int64_t)((uint64_t)st[i] - (uint64_t)st[i - 1]);
        ints_encode(out, d, n - 1);
    }
    switch (flags & VALUES_MASK) {
    case VALUES_SAME: {
        uint8_t raw[8];
        put_u64le(raw, f64_bits(v[0]));
        buf_put(out, raw, 8);
        break;
    }
    case VALUES_DECIMAL:
        decimals_encode(out, v, n, exp, odd, n_odd, d);
        break;
    default:
        xor_encode(out, v, n);
    }
    free(d);
    free(odd);
}

int column_decode(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c)
{
    uint64_t n;
    int64_t t0, dt = 0, st0 = 0;
    if (!get_uvarint(&p, end, &n) || n < 1 || n > CHUNK_SAMPLES_LIMIT || p >= end)
        return -EBADMSG;
    uint8_t flags = *p++;
    if (flags & ~(FLAG_IRREGULAR | FLAG_ST | VALUES_MASK) || !get_varint(&p, end, &t0))
        return -EBADMSG;
    /* One piece of scratch: times, start times, values, deltas. */
    int64_t *t = malloc(n * 8 * 4);
    if (!t)
        return -ENOMEM;
    int64_t *st = t + n, *d = st + n;
    double *v = (double *)(void *)(d + n);
    int r = -EBADMSG;
    t[0] = t0;
    if (flags & FLAG_IRREGULAR) {
        if (!ints_decode(&p, end, d, n - 1))
            goto out;
        for (size_t i = 1; i < n; i++)
            t[i] = (int64_t)((uint64_t)t[i - 1] + (uint64_t)d[i - 1]);
    } else {
        if (n > 1 && !get_varint(&p, end, &dt))
            goto out;
        for (size_t i = 1; i < n; i++)
            t[i] = (int64_t)((uint64_t)t[i - 1] + (uint64_t)dt);
    }
    if (flags & FLAG_ST) {
        if (!get_varint(&p, end, &st0) || !ints_decode(&p, end, d, n - 1))
            goto out;
        st[0] = st0;
        for (size_t i = 1; i < n; i++)
            st[i] = (int64_t)((uint64_t)st[i - 1] + (uint64_t)d[i - 1]);
    }
    switch (flags & VALUES_MASK) {
    case VALUES_SAME:
        if (end - p < 8)
            goto out;
        for (size_t i = 0; i < n; i++)
            v[i] = f64_from_bits(get_u64le(p));
        break;
    case VALUES_DECIMAL:
        if (!decimals_decode(p, end, v, n, d))
            goto out;
        break;
    case VALUES_XOR:
        if (!xor_decode(p, end, v, n))
            goto out;
        break;
    default:
        goto out;
    }
    n = MIN(n, max);
    column_reserve(c, n);
    bool full = flags & FLAG_ST || c->st || c->h;
    for (size_t i = 0; i < n; i++) {
        if (t[i] < mint || t[i] > maxt)
            continue;
        if (full) {
            column_push_full(c, t[i], v[i], flags & FLAG_ST ? st[i] : 0, NULL);
        } else {
            c->t[c->n] = t[i];
            c->v[c->n++] = v[i];
        }
    }
    r = 0;
out:
    free(t);
    return r;
}
