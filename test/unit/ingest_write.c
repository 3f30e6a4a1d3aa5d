// SPDX-License-Identifier: Apache-2.0
/* Remote write: messages built by hand, into a sink that remembers. */
#include "test.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "codec/snappy.h"
#include "ingest/ingest.h"

struct memory_sink {
    struct sink sink;
    struct buf text; /* a line per row */
    size_t rows, batches;
    int fail;
    enum row_status status;
};

static int append(struct sink *s, struct sample_row *rows, size_t n, unsigned flags)
{
    struct memory_sink *m = (struct memory_sink *)s;
    (void)flags;
    if (m->fail)
        return m->fail;
    m->batches++;
    for (size_t i = 0; i < n; i++) {
        rows[i].status = m->status;
        m->rows++;
        if (m->rows > 50)
            continue;
        labels_format_metric(&m->text, rows[i].labels);
        if (rows[i].h)
            buf_fmt(&m->text, " hist(%d count %g pos %u neg %u)", rows[i].h->schema, rows[i].h->count, rows[i].h->n_pos,
                    rows[i].h->n_neg);
        else
            buf_fmt(&m->text, " %g", rows[i].v);
        buf_fmt(&m->text, " @%lld st %lld\n", (long long)rows[i].t, (long long)rows[i].st);
    }
    return 0;
}

static struct memory_sink sink;

static int setup(void **state)
{
    (void)state;
    sink = (struct memory_sink){.sink = {.append = append}, .text = BUF_INIT(1 << 20)};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&sink.text);
    return 0;
}

static void varint(struct buf *b, uint64_t v)
{
    uint8_t raw[VARINT_MAX];
    buf_put(b, raw, put_uvarint(raw, v));
}

static void bytes(struct buf *b, unsigned field, struct str s)
{
    varint(b, field << 3 | 2);
    varint(b, s.n);
    buf_str(b, s);
}

static void number(struct buf *b, unsigned field, uint64_t v)
{
    varint(b, field << 3);
    varint(b, v);
}

static void real(struct buf *b, unsigned field, double v)
{
    varint(b, field << 3 | 1);
    buf_put(b, &v, 8);
}

static void label(struct buf *b, const char *name, const char *value)
{
    struct buf l = BUF_INIT(4096);
    bytes(&l, 1, str_of(name));
    bytes(&l, 2, str_of(value));
    bytes(b, 1, buf_view(&l));
    buf_done(&l);
}

static void sample(struct buf *b, double v, int64_t t)
{
    struct buf s = BUF_INIT(64);
    real(&s, 1, v);
    number(&s, 2, (uint64_t)t);
    bytes(b, 2, buf_view(&s));
    buf_done(&s);
}

static int write_v1(struct buf *series, struct ingest_result *ret, struct err *e)
{
    struct buf m = BUF_INIT(8 << 20), packed = BUF_INIT(8 << 20);
    bytes(&m, 1, buf_view(series));
    assert_int_equal(snappy_pack(buf_view(&m), &packed), 0);
    int r = ingest_remote_write(&sink.sink, buf_view(&packed), INGEST_V1, ret, e);
    buf_done(&m);
    buf_done(&packed);
    buf_done(series);
    return r;
}

static void test_v1(void **state)
{
    (void)state;
    struct ingest_result got;
    struct err e = {0};
    struct buf s = BUF_INIT(1 << 20);
    label(&s, "z", "1"); /* labels may come in any order, empty ones vanish */
    label(&s, "empty", "");
    label(&s, "__name__", "m");
    sample(&s, 1.5, 1000);
    sample(&s, -2, -5);
    assert_int_equal(write_v1(&s, &got, &e), 0);
    assert_int_equal(got.samples, 2);
    assert_str(buf_view(&sink.text), "m{z=\"1\"} 1.5 @1000 st 0\nm{z=\"1\"} -2 @-5 st 0\n");
}

static void test_refusals(void **state)
{
    (void)state;
    struct ingest_result got;
    static const struct {
        const char *a, *av, *b, *bv, *why;
    } rows[] = {
        {"a", "1", "a", "2", "twice"},
        {"", "x", "a", "2", "no name"},
        {"a", "\xff\xfe", "b", "", "UTF-8"},
        {"a", "", "b", "", "no labels"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {0};
        struct buf s = BUF_INIT(1 << 20);
        label(&s, rows[i].a, rows[i].av);
        label(&s, rows[i].b, rows[i].bv);
        sample(&s, 1, 1);
        assert_int_equal(write_v1(&s, &got, &e), INGEST_E_BAD);
        if (!strstr(e.msg, rows[i].why))
            fail_msg("%zu: %s", i, e.msg);
    }
    struct err e = {0};
    struct buf s = BUF_INIT(8 << 20);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "l%d", i);
        label(&s, name, "v");
    }
    sample(&s, 1, 1);
    assert_int_equal(write_v1(&s, &got, &e), INGEST_E_BAD);
    assert_non_null(strstr(e.msg, "labels_per_series"));
    assert_int_equal(sink.rows, 0);
    static const struct str noise[] = {{"", 0},
                                       {"\x0b\x0b", 2},
                                       {"\x0a\xff\xff\xff\xff\x07xyz", 9},
                                       {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
                                       {"\x08\x01", 2}};
    for (size_t i = 0; i < ARRAY_LEN(noise); i++) {
        err_clear(&e);
        assert_int_equal(ingest_message(&sink.sink, noise[i], INGEST_V1, &got, &e), INGEST_E_BAD);
        assert_int_equal(ingest_message(&sink.sink, noise[i], INGEST_V2, &got, &e), i == 4 ? 0 : INGEST_E_BAD);
    }
    /* a good series before a broken one: nothing is stored */
    struct buf good = BUF_INIT(4096), m = BUF_INIT(4096);
    label(&good, "__name__", "m");
    sample(&good, 1, 1);
    bytes(&m, 1, buf_view(&good));
    buf_put(&m, "\x0a\x05\x0a\xff", 4);
    assert_int_equal(ingest_message(&sink.sink, buf_view(&m), INGEST_V1, &got, &e), INGEST_E_BAD);
    assert_int_equal(sink.rows, 0);
    buf_done(&good);
    buf_done(&m);
    /* lengths that lie */
    err_clear(&e);
    assert_int_equal(ingest_remote_write(&sink.sink,
                                         STR("\xff\xff\xff\xff\x0f\x00"
                                             "a"),
                                         INGEST_V1, &got, &e),
                     INGEST_E_TOO_LARGE);
    assert_int_equal(ingest_remote_write(&sink.sink, STR("nonsense"), INGEST_V1, &got, &e), INGEST_E_BAD);
}

static void test_store_says_no(void **state)
{
    (void)state;
    struct ingest_result got;
    struct err e = {0};
    struct buf s = BUF_INIT(1 << 20);
    label(&s, "__name__", "m");
    sample(&s, 1, 1);
    sink.status = ROW_OUT_OF_ORDER;
    assert_int_equal(write_v1(&s, &got, &e), INGEST_E_BAD);
    assert_int_equal(got.refused, 1);
    assert_non_null(strstr(e.msg, "m"));
    s = BUF_INIT(1 << 20);
    label(&s, "__name__", "m");
    sample(&s, 1, 1);
    sink.status = ROW_NO_SPACE;
    err_clear(&e);
    assert_int_equal(write_v1(&s, &got, &e), -ENOSPC);
    s = BUF_INIT(1 << 20);
    label(&s, "__name__", "m");
    sample(&s, 1, 1);
    sink.fail = -EIO;
    err_clear(&e);
    assert_int_equal(write_v1(&s, &got, &e), -EIO);
}

static void test_batches(void **state)
{
    (void)state;
    struct ingest_result got;
    struct err e = {0};
    struct buf s = BUF_INIT(8 << 20);
    label(&s, "__name__", "long");
    for (int i = 0; i < 10000; i++)
        sample(&s, i, i);
    assert_int_equal(write_v1(&s, &got, &e), 0);
    assert_int_equal(got.samples, 10000);
    assert_int_equal(sink.batches, 3);
}

static void test_v2_and_histograms(void **state)
{
    (void)state;
    struct ingest_result got;
    struct err e = {0};
    struct buf m = BUF_INIT(1 << 20), s = BUF_INIT(1 << 20), x = BUF_INIT(4096);
    static const char *const symbols[] = {"", "__name__", "m", "job", "api"};
    buf_put(&x, "\x01\x02\x03\x04", 4);
    bytes(&s, 1, buf_view(&x));
    buf_reset(&x);
    real(&x, 1, 7);
    number(&x, 2, 5000);
    number(&x, 3, 4000);
    bytes(&s, 2, buf_view(&x));
    buf_reset(&x);
    /* integer histogram: count 5, two buckets by deltas 2, +1 */
    number(&x, 1, 5);
    real(&x, 3, 12.5);
    number(&x, 4, zigzag(1));
    number(&x, 6, 0);
    bytes(&x, 11, STR("\x08\x00\x10\x02"));
    bytes(&x, 12, STR("\x04\x02"));
    number(&x, 15, 6000);
    bytes(&s, 3, buf_view(&x));
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
        bytes(&m, 4, str_of(symbols[i]));
    bytes(&m, 5, buf_view(&s));
    assert_int_equal(ingest_message(&sink.sink, buf_view(&m), INGEST_V2, &got, &e), 0);
    assert_int_equal(got.samples, 1);
    assert_int_equal(got.histograms, 1);
    assert_str(buf_view(&sink.text),
               "m{job=\"api\"} 7 @5000 st 4000\nm{job=\"api\"} hist(1 count 5 pos 2 neg 0) @6000 st 0\n");
    /* a reference past the symbols; spans that do not fit the buckets */
    buf_reset(&m);
    buf_reset(&s);
    bytes(&s, 1, STR("\x01\x09"));
    bytes(&m, 4, STR(""));
    bytes(&m, 5, buf_view(&s));
    assert_int_equal(ingest_message(&sink.sink, buf_view(&m), INGEST_V2, &got, &e), INGEST_E_BAD);
    buf_reset(&s);
    label(&s, "__name__", "h");
    bytes(&s, 4, STR("\x5a\x02\x10\x05"));
    buf_reset(&m);
    bytes(&m, 1, buf_view(&s));
    err_clear(&e);
    assert_int_equal(ingest_message(&sink.sink, buf_view(&m), INGEST_V1, &got, &e), INGEST_E_BAD);
    assert_non_null(strstr(e.msg, "spans"));
    buf_done(&m);
    buf_done(&s);
    buf_done(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_v1), T(test_refusals), T(test_store_says_no), T(test_batches), T(test_v2_and_histograms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
