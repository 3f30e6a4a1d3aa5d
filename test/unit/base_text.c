// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/format.h"
#include "base/limits.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "base/vec.h"

static void test_str(void **state)
{
    (void)state;
    struct str l, r, line, rest = STR("one\r\ntwo\n\nend");
    assert_true(str_cut(STR("key=value=x"), '=', &l, &r));
    assert_str(l, "key");
    assert_str(r, "value=x");
    assert_false(str_cut(STR("none"), '=', &l, &r));
    assert_str(l, "none");
    assert_int_equal(r.n, 0);
    assert_true(str_line(&rest, &line));
    assert_str(line, "one");
    assert_true(str_line(&rest, &line));
    assert_str(line, "two");
    assert_true(str_line(&rest, &line));
    assert_int_equal(line.n, 0);
    assert_true(str_line(&rest, &line));
    assert_str(line, "end");
    assert_false(str_line(&rest, &line));
    assert_str(str_trim(STR(" \t x y\r\n")), "x y");
    assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0 && str_cmp(STR(""), STR("")) == 0);
    assert_true(str_starts(STR("abc"), STR("ab")) && str_ends(STR("abc"), STR("bc")) &&
                !str_starts(STR("a"), STR("ab")));
    assert_int_equal(str_find(STR("hello"), STR("lo")), 3);
    assert_int_equal(str_find(STR("hello"), STR("x")), -1);
    assert_true(str_ieq(STR("TeXt"), STR("tExT")));
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"scrape_interval", "scrape_timeout", "job_name"};
    assert_string_equal(str_nearest(STR("scrape_intervall"), names, 3), "scrape_interval");
    assert_string_equal(str_nearest(STR("jobname"), names, 3), "job_name");
    assert_null(str_nearest(STR("weather"), names, 3));
}

static void test_buf_limit(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(10);
    buf_z(&b, "12345");
    buf_z(&b, "678901");
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_z(&b, "x"); /* sticky: nothing more is taken */
    assert_str(buf_view(&b), "12345");
    buf_reset(&b);
    buf_fmt(&b, "%s-%d", "abcdefg", 42);
    assert_int_equal(buf_error(&b), 0);
    assert_string_equal(buf_cstr(&b), "abcdefg-42");
    size_t n;
    char *taken = buf_take(&b, &n);
    assert_int_equal(n, 10);
    assert_int_equal(b.n, 0);
    free(taken);
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(parse_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(parse_u64(STR("18446744073709551616"), &u));
    assert_false(parse_u64(STR(""), &u) || parse_u64(STR("1x"), &u) || parse_u64(STR("-1"), &u));
    assert_true(parse_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(parse_i64(STR("9223372036854775808"), &i));
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},         {"0s", 0},           {"15s", 15000}, {"1h30m", 5400000},
                {"1d", 86400000}, {"1y", 31536000000}, {"5ms", 5},     {"1w2d", 777600000}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        assert_true(parse_duration_ms(str_of(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        format_duration_ms(&b, ms);
        int64_t again = -1;
        assert_true(parse_duration_ms(buf_view(&b), &again));
        assert_int_equal(again, ms);
    }
    static const char *const bad[] = {"",    "1",    "s",   "1m1h", "1s1s",
                                      "-1s", "1.5s", "1 s", "1sec", "99999999999999999999y"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms;
        assert_false(parse_duration_ms(str_of(bad[i]), &ms));
    }
    int64_t ms;
    assert_true(parse_go_duration_ms(STR("1.5h"), &ms) && ms == 5400000);
    assert_true(parse_go_duration_ms(STR("-250us"), &ms) && ms == 0);
    assert_false(parse_go_duration_ms(STR("1d"), &ms));
}

static void test_sizes(void **state)
{
    (void)state;
    uint64_t v;
    assert_true(parse_bytes(STR("10MB"), &v) && v == 10 << 20);
    assert_true(parse_bytes(STR("1KiB"), &v) && v == 1024);
    assert_true(parse_bytes(STR("7"), &v) && v == 7);
    assert_true(parse_bytes(STR("2g"), &v) && v == 2ULL << 30);
    assert_false(parse_bytes(STR("1XB"), &v) || parse_bytes(STR("MB"), &v) || parse_bytes(STR("99999999EB"), &v));
}

static void test_times(void **state)
{
    (void)state;
    int64_t ms;
    assert_true(parse_rfc3339_ms(STR("1970-01-01T00:00:00Z"), &ms) && ms == 0);
    assert_true(parse_rfc3339_ms(STR("2026-11-22T10:00:00.250+02:00"), &ms));
    assert_int_equal(ms, 1795334400250);
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    format_rfc3339_ms(&b, ms);
    assert_str(buf_view(&b), "2026-11-22T08:00:00.250Z");
    assert_true(parse_rfc3339_ms(STR("2024-02-29T00:00:00Z"), &ms));
    assert_false(parse_rfc3339_ms(STR("2023-02-29T00:00:00Z"), &ms));
    assert_false(parse_rfc3339_ms(STR("2023-13-01T00:00:00Z"), &ms) || parse_rfc3339_ms(STR("2023-01-01"), &ms));
    buf_reset(&b);
    format_rfc3339_ms(&b, -1);
    assert_str(buf_view(&b), "1969-12-31T23:59:59.999Z");
}

static void test_utf8(void **state)
{
    (void)state;
    assert_true(utf8_valid(STR("plain, \xc3\xa9t\xc3\xa9, \xf0\x9f\x9a\xa8")));
    assert_false(utf8_valid(STR("\xc0\xaf")) || utf8_valid(STR("\xed\xa0\x80")) || utf8_valid(STR("\xf5\x80\x80\x80")));
    assert_false(utf8_valid(STR("12345678\xc3")));
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    utf8_scrub(&b, STR("a\xff"
                       "b"));
    assert_str(buf_view(&b), "a\xef\xbf\xbd"
                             "b");
    assert_int_equal(utf8_width(STR("\xc3\xa9\xe6\x97\xa5")), 3);
}

static void test_err(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, "first %d", 1);
    err_set(&e, "second");
    assert_string_equal(e.msg, "first 1");
    err_prefix(&e, "file.yml");
    assert_string_equal(e.msg, "file.yml: first 1");
}

static void test_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *r = &limit_rows[i];
        assert_true(r->min <= r->def && r->def <= r->max && r->doc[0] && r->unit[0]);
    }
    assert_false(limit_set(STR("yaml_depth"), 1));
    assert_false(limit_set(STR("nonsense"), 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str),     cmocka_unit_test(test_nearest),   cmocka_unit_test(test_buf_limit),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_durations), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),   cmocka_unit_test(test_utf8),      cmocka_unit_test(test_err),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
