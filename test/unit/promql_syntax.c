// SPDX-License-Identifier: Apache-2.0
/* What parses, what is refused and why, and how trees are written out again. */
#include "test.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "promql/promql.h"

static void reprints(const char *text, const char *want)
{
    struct promql *q;
    struct err e = {0};
    if (promql_parse(str_of(text), &q, &e) != 0)
        fail_msg("%s: %s", text, e.msg);
    struct buf b = BUF_INIT(1 << 20);
    promql_print(&b, q);
    assert_string_equal(buf_cstr(&b), want);
    promql_free(q);
    buf_done(&b);
}

static void refuses(const char *text, const char *want)
{
    struct promql *q;
    struct err e = {0};
    assert_int_equal(promql_parse(str_of(text), &q, &e), QUERY_E_PARSE);
    assert_string_equal(e.msg, want);
}

/* test/conform/promqlsyntax.txt: "+ parses", "- is refused # message". */
static void list(void **state)
{
    (void)state;
    char *path = xasprintf("%s/test/conform/promqlsyntax.txt", test_source_dir());
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char line[1024];
    unsigned seen = 0;
    while (fgets(line, sizeof(line), f)) {
        struct str s = str_trim(str_of(line));
        if (s.n == 0 || s.p[0] == '#')
            continue;
        bool good = s.p[0] == '+';
        struct str text = str_trim(str_sub(s, 1, s.n)), msg = STR("");
        ptrdiff_t at = good ? -1 : str_find(text, STR(" # "));
        if (at >= 0) {
            msg = str_sub(text, (size_t)at + 3, text.n);
            text = str_trim(str_sub(text, 0, (size_t)at));
        }
        struct promql *q = NULL;
        struct err e = {0};
        int r = promql_parse(text, &q, &e);
        if ((r == 0) != good)
            fail_msg("%s: " STR_FMT " %s", good ? "refused" : "parsed", STR_ARG(text), e.msg);
        if (msg.n > 0 && !str_eqz(msg, e.msg))
            fail_msg(STR_FMT ": %s", STR_ARG(text), e.msg);
        promql_free(q);
        seen++;
    }
    fclose(f);
    free(path);
    assert_true(seen > 40);
}

static void canonical(void **state)
{
    (void)state;
    reprints("sum(m)by(a,b)", "sum by (a, b) (m)");
    reprints("SUM  without ( ) (m)", "sum without () (m)");
    reprints("m{b=\"c\",a!=\"d\"}[300s] offset 60s @ 12", "m{a!=\"d\",b=\"c\"}[5m] @ 12.000 offset 1m");
    reprints("{\"x.y\",a=~\"b\"}", "{__name__=\"x.y\",a=~\"b\"}");
    reprints("a+b*c^-d", "a + b * c ^ -d");
    reprints("a > bool on() group_left() b", "a > bool on () group_left () b");
    reprints("rate(m[5m:])[1h:30s]", "rate(m[5m:])[1h:30s]");
    reprints("1e3 + .5 + Inf - nan", "1000 + 0.5 + +Inf - NaN");
    reprints("\"a\\n\\x41\"", "\"a\\nA\"");
    reprints("m[step()*2] offset -(1m+range())", "m[step() * 2] offset -(1m + range())");
    reprints("m smoothed offset 1m", "m smoothed offset 1m");
    reprints("a + fill(0) b", "a + fill (0) b");
    reprints("a + fill_right(1) fill_left(2) b", "a + fill_left (2) fill_right (1) b");
    reprints("(a)", "(a)");
    reprints("-1 ^ 2", "-1 ^ 2");
}

static void messages(void **state)
{
    (void)state;
    refuses("", "1:1: parse error: no expression found in input");
    refuses("a +\n  * b", "2:3: parse error: unexpected <op:*>");
    refuses("sum(a[5m])", "1:5: parse error: expected type instant vector in aggregation expression, got range vector");
    refuses("foo{a>=\"b\"}", "1:6: parse error: unexpected character inside braces: '>'");
    refuses("round(a, 1, 2)", "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3");
    refuses("label_join(a)", "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1");
}

/* Nesting and long chains end in an error, never in a stack overflow. */
static void depth(void **state)
{
    (void)state;
    struct promql *q;
    size_t n = 200000;
    struct buf b = BUF_INIT(1 << 20);
    for (size_t i = 0; i < n; i++)
        buf_putc(&b, '(');
    assert_int_equal(promql_parse(buf_view(&b), &q, NULL), QUERY_E_PARSE);
    buf_reset(&b);
    for (size_t i = 0; i < n; i++)
        buf_z(&b, "1+");
    buf_putc(&b, '1');
    assert_int_equal(promql_parse(buf_view(&b), &q, NULL), QUERY_E_PARSE);
    buf_reset(&b);
    for (size_t i = 0; i < n; i++)
        buf_putc(&b, '-');
    buf_putc(&b, 'a');
    assert_int_equal(promql_parse(buf_view(&b), &q, NULL), QUERY_E_PARSE);
    buf_reset(&b);
    buf_z(&b, "a[");
    for (size_t i = 0; i < n; i++)
        buf_z(&b, "-(");
    assert_int_equal(promql_parse(buf_view(&b), &q, NULL), QUERY_E_PARSE);
    buf_reset(&b);
    for (size_t i = 0; i < (size_t)limit(query_depth); i++)
        buf_z(&b, "1+");
    buf_putc(&b, '1');
    assert_int_equal(promql_parse(buf_view(&b), &q, NULL), 0);
    struct buf json = BUF_INIT(1 << 20);
    struct jw w;
    jw_init(&w, &json);
    promql_ast_json(&w, q);
    assert_int_equal(buf_error(&json), 0);
    buf_done(&json);
    promql_free(q);
    buf_done(&b);
}

static void pretty(void **state)
{
    (void)state;
    struct promql *q;
    assert_int_equal(
        promql_parse(STR("sum by (job) (rate(http_requests_total{job=\"api\",status=~\"5..\"}[5m])) / on (job) "
                         "sum by (job) (rate(http_requests_total{job=\"api\"}[5m])) > 0.05"),
                     &q, NULL),
        0);
    struct buf b = BUF_INIT(1 << 16);
    promql_format(&b, q);
    assert_string_equal(buf_cstr(&b), "    sum by (job) (rate(http_requests_total{job=\"api\",status=~\"5..\"}[5m]))\n"
                                      "  / on (job)\n"
                                      "    sum by (job) (rate(http_requests_total{job=\"api\"}[5m]))\n"
                                      ">\n"
                                      "  0.05");
    promql_free(q);
    buf_done(&b);
}

static void json(void **state)
{
    (void)state;
    struct promql *q;
    assert_int_equal(promql_parse(STR("sum by (a) (m{x=\"y\"} offset 1m)"), &q, NULL), 0);
    struct buf b = BUF_INIT(1 << 16);
    struct jw w;
    jw_init(&w, &b);
    promql_ast_json(&w, q);
    assert_string_equal(
        buf_cstr(&b),
        "{\"expr\":{\"anchored\":false,\"matchers\":[{\"name\":\"x\",\"type\":\"=\",\"value\":\"y\"},{\"name\":"
        "\"__name__\",\"type\":\"=\",\"value\":\"m\"}],\"name\":\"m\",\"offset\":60000,\"smoothed\":false,"
        "\"startOrEnd\":null,\"timestamp\":null,\"type\":\"vectorSelector\"},\"grouping\":[\"a\"],\"op\":\"sum\","
        "\"param\":null,\"type\":\"aggregation\",\"without\":false}");
    promql_free(q);
    buf_done(&b);
}

static void selectors(void **state)
{
    (void)state;
    struct promql *q;
    const struct matcher *m;
    size_t n;
    struct err e = {0};
    assert_int_equal(promql_parse_selector(STR("up{job=~\"a|b\"}"), &q, &m, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_true(matcher_value(&m[0], STR("a")));
    assert_false(matcher_value(&m[0], STR("c")));
    assert_str(m[1].value, "up");
    promql_free(q);
    assert_int_equal(promql_parse_selector(STR("up offset 5m"), &q, &m, &n, &e), QUERY_E_PARSE);
    assert_int_equal(promql_parse_selector(STR("up + 1"), &q, &m, &n, NULL), QUERY_E_PARSE);
    assert_int_equal(promql_parse_selector(STR("{}"), &q, &m, &n, NULL), QUERY_E_PARSE);
    assert_int_equal(promql_parse(STR("rate(a[5m]) / b offset 1m"), &q, NULL), 0);
    const struct promql_selector *s;
    assert_int_equal(promql_selectors(q, &s), 2);
    assert_int_equal(s[0].range_ms, 300000);
    assert_int_equal(s[1].offset_ms, 60000);
    promql_free(q);
}

/* The table is searched by halves, so it must be sorted; every row is documented. */
static void table(void **state)
{
    (void)state;
    size_t n;
    const struct promql_function *f = promql_functions(&n);
    assert_true(n >= 80);
    for (size_t i = 0; i < n; i++) {
        assert_true(f[i].doc && f[i].signature && strlen(f[i].doc) > 5);
        assert_true(str_starts(str_of(f[i].signature), str_of(f[i].name)));
        if (i)
            assert_true(str_cmp(str_of(f[i - 1].name), str_of(f[i].name)) < 0);
    }
    const struct promql_word *w = promql_words(&n);
    assert_true(n > 20 && w[0].doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list),   cmocka_unit_test(canonical), cmocka_unit_test(messages),  cmocka_unit_test(depth),
        cmocka_unit_test(pretty), cmocka_unit_test(json),      cmocka_unit_test(selectors), cmocka_unit_test(table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
