// SPDX-License-Identifier: Apache-2.0
/* Chunks: every double comes back bit for bit, in any order of times, and damaged bytes are refused. */
#include "test.h"

#include "base/arena.h"
#include "base/mem.h"
#include "tsdb/chunk_int.h"

#define N_MAX 1024

struct input {
    int64_t t[N_MAX], st[N_MAX];
    double v[N_MAX];
    size_t n;
};

static void compare(const struct input *in, const struct column *c)
{
    assert_int_equal(c->n, in->n);
    for (size_t i = 0; i < in->n; i++) {
        assert_int_equal(c->t[i], in->t[i]);
        if (f64_bits(c->v[i]) != f64_bits(in->v[i]))
            fail_msg("sample %zu: %.17g (%llx), want %.17g (%llx)", i, c->v[i], (unsigned long long)f64_bits(c->v[i]),
                     in->v[i], (unsigned long long)f64_bits(in->v[i]));
        assert_int_equal(c->st ? c->st[i] : 0, in->st[i]);
    }
}

static size_t round_trip(const struct input *in)
{
    struct column c = {0};
    struct stream s = {0};
    uint8_t *data = xmalloc(in->n * STREAM_TOKEN_MAX + STREAM_TOKEN_MAX);
    for (size_t i = 0; i < in->n; i++)
        stream_put(&s, data, in->t[i], in->v[i], in->st[i]);
    assert_true(s.n == in->n);
    assert_int_equal(chunk_decode(CHUNK_STREAM, data, s.len, SIZE_MAX, INT64_MIN, INT64_MAX, &c), 0);
    compare(in, &c);
    /* A reader that stops early sees a prefix. */
    column_reset(&c);
    assert_int_equal(chunk_decode(CHUNK_STREAM, data, s.len, in->n / 2, INT64_MIN, INT64_MAX, &c), 0);
    assert_int_equal(c.n, in->n / 2);
    free(data);
    struct buf b = BUF_INIT(1 << 20);
    column_encode(&b, in->t, in->v, in->st, in->n);
    assert_int_equal(buf_error(&b), 0);
    assert_int_equal(b.p[0], CHUNK_COLUMN);
    column_reset(&c);
    const uint8_t *p = (const uint8_t *)b.p + 1;
    assert_int_equal(chunk_decode(CHUNK_COLUMN, p, b.n - 1, SIZE_MAX, INT64_MIN, INT64_MAX, &c), 0);
    compare(in, &c);
    /* Cut short anywhere: an error or fewer bits read, never a crash (the sanitizer watches). */
    for (size_t n = 0; n < b.n - 1; n += 1 + b.n / 50) {
        uint8_t *cut = xmalloc(n ? n : 1);
        memcpy(cut, p, n);
        column_reset(&c);
        (void)!chunk_decode(CHUNK_COLUMN, cut, n, SIZE_MAX, INT64_MIN, INT64_MAX, &c);
        free(cut);
    }
    size_t size = b.n;
    buf_done(&b);
    column_done(&c);
    return size;
}

static void test_bit_patterns(void **state)
{
    (void)state;
    const uint64_t odd[] = {0,
                            1,
                            1ULL << 63,
                            STALE_NAN_BITS,
                            NORMAL_NAN_BITS,
                            0x7ff0000000000000ULL,
                            0xfff0000000000000ULL,
                            0xfff8000000000001ULL,
                            0x7fffffffffffffffULL,
                            0x7fefffffffffffffULL,
                            0x0010000000000000ULL,
                            0x000fffffffffffffULL,
                            0x43e0000000000000ULL,
                            0x4340000000000000ULL,
                            0x4340000000000001ULL,
                            0xc3e0000000000000ULL,
                            0x3fb999999999999aULL};
    struct input in = {0};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        for (size_t k = 0; k < ARRAY_LEN(odd); k++) {
            in.t[in.n] = (int64_t)in.n * 15000;
            in.v[in.n++] = f64_from_bits(odd[(i * 7 + k) % ARRAY_LEN(odd)]);
        }
    }
    round_trip(&in);
    in.n = 1;
    round_trip(&in);
    const int64_t times[] = {INT64_MIN, INT64_MAX, 0, -1, 1, INT64_MAX, INT64_MIN, 1700000000000};
    for (in.n = 0; in.n < ARRAY_LEN(times); in.n++) {
        in.t[in.n] = times[in.n];
        in.st[in.n] = times[ARRAY_LEN(times) - 1 - in.n];
    }
    round_trip(&in);
}

static void test_random(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    for (unsigned round = 0; round < test_rounds(600); round++) {
        struct input in = {.n = 1 + rand_below(&r, round % 10 ? 300 : N_MAX)};
        unsigned kind = (unsigned)rand_below(&r, 9), jitter = (unsigned)rand_below(&r, 3);
        int64_t t = (int64_t)rand_below(&r, 1ULL << 42);
        double v = (double)rand_below(&r, 1000000);
        for (size_t i = 0; i < in.n; i++) {
            t +=
                15000 + (jitter ? (int64_t)rand_below(&r, jitter == 1 ? 10 : 1000000) - (jitter == 2 ? 500000 : 5) : 0);
            switch (kind) {
            case 0:
                v = v + (double)rand_below(&r, 1000);
                break;
            case 1:
                v = (double)rand_below(&r, 10000) / 100;
                break;
            case 2:
                v = rand_unit(&r);
                break;
            case 3:
                v = f64_from_bits(rand_u64(&r));
                break;
            case 4:
                break;
            case 5:
                v = rand_below(&r, 10) ? v : (double)rand_below(&r, 5);
                break;
            case 6:
                v = (double)(int64_t)rand_u64(&r);
                break;
            case 7:
                v = rand_below(&r, 20) ? (double)i : stale_nan();
                break;
            default:
                v = (double)rand_below(&r, 1000) / 1000 + (rand_below(&r, 30) ? 0 : rand_unit(&r));
                break;
            }
            in.t[i] = t;
            in.v[i] = v;
            in.st[i] = kind == 1 ? t - (int64_t)rand_below(&r, 3) : 0;
        }
        round_trip(&in);
    }
}

/* What the design claims. */
static void test_sizes(void **state)
{
    (void)state;
    struct input in = {.n = 480};
    for (size_t i = 0; i < in.n; i++) {
        in.t[i] = 1700000000000 + (int64_t)i * 15000;
        in.v[i] = 1;
    }
    assert_true(round_trip(&in) < 30); /* constant: nothing a sample */
    for (size_t i = 0; i < in.n; i++)
        in.v[i] = (double)i * 40;
    assert_true(round_trip(&in) < 60); /* steady slope */
    for (size_t i = 0; i < in.n; i++)
        in.v[i] = i % 40 == 7 ? 1 : 0;
    assert_true(round_trip(&in) < 120);
}

static void test_hostile(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    struct column c = {0};
    for (unsigned round = 0; round < test_rounds(20000); round++) {
        uint8_t *p = xmalloc(64);
        size_t n = rand_below(&r, 65);
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)rand_u64(&r);
        column_reset(&c);
        (void)!chunk_decode((enum chunk_kind)(round % 6), p, n, SIZE_MAX, INT64_MIN, INT64_MAX, &c);
        free(p);
    }
    column_done(&c);
}

static void test_histograms(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20), z = BUF_INIT(1 << 20);
    struct hist_span pos[] = {{-3, 2}, {5, 1}}, neg[] = {{0, 1}};
    double counts[] = {1, 2.5, 1e300}, neg_counts[] = {-0.0}, custom[] = {0.1, 1, 10};
    struct histogram h = {.hint = HIST_GAUGE,
                          .schema = 3,
                          .zero_threshold = 1e-128,
                          .zero_count = 4,
                          .count = 12,
                          .sum = f64_from_bits(STALE_NAN_BITS),
                          .n_pos_spans = 2,
                          .n_neg_spans = 1,
                          .n_pos = 3,
                          .n_neg = 1,
                          .n_custom = 3,
                          .pos_spans = pos,
                          .neg_spans = neg,
                          .pos = counts,
                          .neg = neg_counts,
                          .custom = custom};
    int64_t t = 0;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(hist_put(&b, t, 0, i * 1000, 0, &h), 0);
        t = i * 1000;
    }
    hist_encode(&z, (const uint8_t *)b.p, b.n);
    assert_int_equal(z.p[0], CHUNK_HIST_Z);
    assert_true(z.n < b.n / 4);
    struct column c = {0};
    assert_int_equal(chunk_decode(CHUNK_HIST_Z, (uint8_t *)z.p + 1, z.n - 1, SIZE_MAX, 1000, 3000, &c), 0);
    assert_int_equal(c.n, 3);
    for (size_t i = 0; i < c.n; i++)
        assert_true(hist_equal(c.h[i], &h));
    h.n_pos = 2;
    assert_int_equal(hist_put(&b, 0, 0, 0, 0, &h), -EINVAL);
    column_done(&c);
    buf_done(&b);
    buf_done(&z);
}

static void test_sort_unique(void **state)
{
    (void)state;
    struct column c = {0};
    column_push(&c, 99, 1); /* of another series: stays */
    const int64_t t[] = {5, 3, 5, 1, 3};
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        column_push_full(&c, t[i], (double)i, t[i] == 1 ? 7 : 0, NULL);
    column_sort_unique(&c, 1);
    assert_int_equal(c.n, 4);
    assert_true(c.t[1] == 1 && c.t[2] == 3 && c.t[3] == 5);
    assert_true(c.v[1] == 3 && c.v[2] == 1 && c.v[3] == 0); /* the first of equals */
    assert_true(c.st[1] == 7 && c.st[2] == 0 && c.st[0] == 0);
    column_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bit_patterns), cmocka_unit_test(test_random),     cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_hostile),      cmocka_unit_test(test_histograms), cmocka_unit_test(test_sort_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
