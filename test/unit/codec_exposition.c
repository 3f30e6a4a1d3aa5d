// SPDX-License-Identifier: Apache-2.0
#include "base/limits.h"
#include "base/mem.h"
#include "codec/exposition.h"
#include "codec/f64.h"
#include "codec/json.h"
#include "test.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>

/* Reads everything; returns the number of samples or -1 with the reason. */
static int walk(enum expo_format f, struct str body, struct err *e)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct expo_parser x;
    struct expo_item it;
    expo_init(&x, f, body);
    int n = 0;
    for (;;) {
        if (expo_next(&x, &it, e) < 0)
            return -1;
        if (it.kind == EXPO_END)
            return n;
        if (it.kind != EXPO_SAMPLE)
            continue;
        struct expo_label *l;
        size_t nl;
        if (expo_labels(it.series, it.type, a, &l, &nl, e) < 0)
            return -1;
        n++;
    }
}

static void check(enum expo_format f, const char *body, int want, const char *where)
{
    struct err e = {0};
    int n = walk(f, str_of(body), &e);
    if (n != want)
        fail_msg("%s\ngot %d, want %d (%s)", body, n, want, e.msg);
    if (where && strncmp(e.msg, where, strlen(where)) != 0)
        fail_msg("%s\nerror is \"%s\", want it at %s", body, e.msg, where);
}

static void text_accepts_and_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int n;
        const char *where;
    } cases[] = {
        {"", 0, NULL},
        {"\n\n", 0, NULL},
        {"a 1", 1, NULL},
        {"a 1\nb 2\n", 2, NULL},
        {"  a\t1\t5\n", 1, NULL},
        {"a{} 1\n", 1, NULL},
        {"a {b=\"c\"} 1\n", 1, NULL},
        {"a{b=\"c\"}1\n", 1, NULL},
        {"a{b=\"c\",} 1\n", 1, NULL},
        {"a{b=\"c\"d=\"e\"} 1\n", 1, NULL}, /* lenient as Prometheus */
        {"a{ b = \"c\" , d = \"e\" } 1\n", 1, NULL},
        {"a{b=\"line\nbreak\"} 1\n", 1, NULL},
        {"# just words\na 1\n", 1, NULL},
        {"#HELP a\na 1\n", 1, NULL},
        {"# HELP a\n# TYPE a counter\na 1\n", 1, NULL},
        {"# TYPE a untyped\na NaN\na{x=\"1\"} +Inf\na{x=\"2\"} -inf\n", 3, NULL},
        {"a +1\nb -0\nc .5\nd 5.\ne 1e5\nf 1E-5\n", 6, NULL},
        {"{\"a.b\"} 1\n{\"a.b\",\"c d\"=\"e\"} 2\n{x=\"1\",\"q\"} 1\n", 3, NULL},
        {"a{\"b\"} 1\n", -1, "1:3"},
        {"{\"a\",\"b\"} 1\n", -1, "1:6"},
        {"{b=\"c\"} 1\n", -1, "1:1"},
        {"a 1\nb{c=d} 1\n", -1, "2:5"},
        {"a{b=\"c} 1\n", -1, "1:5"},
        {"a{b=\"\xff\"} 1\n", -1, "1:6"},
        {"a{b=\"c\"} 1 2 3\n", -1, "1:14"},
        {"a 1 2.5\n", -1, "1:6"},
        {"a\n", -1, "1:2"},
        {"a 1e999\n", -1, "1:3"},
        {"a 0x1p3\n", -1, "1:3"},
        {"a 1_000\n", -1, "1:3"},
        {"a 1 99999999999999999999\n", -1, "1:5"},
        {"1a 1\n", -1, "1:1"},
        {"# TYPE a histogramm\n", -1, "1:10"},
        {"# TYPE a  counter\n", -1, "1:10"},
        {"a{b=\"1\",b=\"2\"} 1\n", -1, NULL},
        {"a{__name__=\"b\"} 1\n", -1, NULL},
        {"a 1\r\n", -1, "1:3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(EXPO_TEXT, cases[i].body, cases[i].n, cases[i].where);
}

static void openmetrics_accepts_and_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int n;
        const char *where;
    } cases[] = {
        {"# EOF", 0, NULL},
        {"a 1\n# EOF\n", 1, NULL},
        {"a 1 1.5\n# EOF\n", 1, NULL},
        {"a_total 1 # {t=\"x\"} 0.5 1.5\n# EOF\n", 1, NULL},
        {"a_total{x=\"}\"} 1 2 # {} 1\n# EOF\n", 1, NULL},
        {"# HELP a \n# TYPE a gaugehistogram\n# UNIT a_b b\n# EOF\n", 0, NULL},
        {"a 1\n", -1, "2:1"},
        {"a 1", -1, "1:4"},
        {"\n# EOF\n", -1, "1:1"},
        {"a  1\n# EOF\n", -1, "1:3"},
        {"a\t1\n# EOF\n", -1, "1:2"},
        {"a 1 \n# EOF\n", -1, "1:5"},
        {"a 1 NaN\n# EOF\n", -1, "1:5"},
        {"a{b=\"c\" } 1\n# EOF\n", -1, "1:8"},
        {"a 1 # {b=\"c\"}\n# EOF\n", -1, "1:14"},
        {"# UNIT a_b c\n# EOF\n", -1, "1:12"},
        {"# TYPE a untyped\n# EOF\n", -1, "1:10"},
        {"# EOF\n\n", -1, "2:1"},
        {"#\n# EOF\n", -1, "1:1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(EXPO_OPENMETRICS, cases[i].body, cases[i].n, cases[i].where);
}

static void values_are_exact(void **state)
{
    (void)state;
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "1",
                                          "1.5",
                                          "4.9351e-05",
                                          "7.424100000000001e-05",
                                          "1e22",
                                          "1e23",
                                          "9007199254740993",
                                          "9223372036854775808",
                                          "123456789.123456789",
                                          "1e-22",
                                          "0.1",
                                          "00001.20e-1",
                                          "5e-324",
                                          "1.7976931348623157e308",
                                          "3.14159265358979"};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        char body[128];
        int n = snprintf(body, sizeof(body), "a %s\n", numbers[i]);
        struct expo_parser x;
        struct expo_item it;
        struct err e = {0};
        expo_init(&x, EXPO_TEXT, str_make(body, (size_t)n));
        assert_int_equal(expo_next(&x, &it, &e), 0);
        double want;
        assert_true(f64_parse(str_of(numbers[i]), &want));
        assert_memory_equal(&it.v, &want, sizeof(want));
    }
}

static void labels_come_apart(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct expo_label *l;
    size_t n;
    struct err e = {0};
    assert_int_equal(expo_labels(STR("m{b=\"x\\\\y\\n\\\"\\t\",a=\"\", \"c.d\"=\"1\"}"), EXPO_T_GAUGE, a, &l, &n, &e),
                     0);
    assert_int_equal(n, 3);
    assert_str(l[0].value, "m");
    assert_str(l[1].value, "x\\y\n\"\\t");
    assert_str(l[2].name, "c.d");
    assert_int_equal(expo_labels(STR("{le=\"1\",\"h.x\"}"), EXPO_T_HISTOGRAM, a, &l, &n, &e), 0);
    assert_str(l[0].value, "1.0");
    assert_str(l[1].value, "h.x");
    static const char *const bounds[][2] = {
        {"+Inf", "+Inf"}, {"0.50", "0.5"}, {"1e6", "1e+06"}, {"5", "5.0"}, {"x", "x"}};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        char s[64];
        int k = snprintf(s, sizeof(s), "q{quantile=\"%s\"}", bounds[i][0]);
        assert_int_equal(expo_labels(str_make(s, (size_t)k), EXPO_T_SUMMARY, a, &l, &n, &e), 0);
        assert_true(str_eqz(l[1].value, bounds[i][1]));
    }
}

static void a_known_line_is_expected(void **state)
{
    (void)state;
    struct str body = STR("a{b=\"c\"} 5 7\na {x=\"1\"} 1\nab 2\n");
    struct expo_parser x;
    struct expo_item it;
    struct err e = {0};
    expo_init(&x, EXPO_TEXT, body);
    assert_int_equal(expo_expect(&x, STR("a{b=\"d\"}"), &it, &e), 0);
    assert_int_equal(expo_expect(&x, STR("a{b=\"c\"}"), &it, &e), 1);
    assert_true(it.v == 5 && it.has_t && it.t_ms == 7);
    assert_int_equal(expo_expect(&x, STR("a"), &it, &e), 0); /* labels follow behind the blank */
    assert_int_equal(expo_next(&x, &it, &e), 0);
    assert_str(it.series, "a {x=\"1\"}");
    assert_int_equal(expo_expect(&x, STR("a"), &it, &e), 0);
    assert_int_equal(expo_expect(&x, STR("ab"), &it, &e), 1);
    assert_int_equal(expo_expect(&x, STR("ab"), &it, &e), 0);
    assert_int_equal(expo_next(&x, &it, &e), 0);
    assert_int_equal(it.kind, EXPO_END);
}

static void content_types(void **state)
{
    (void)state;
    enum expo_format f = EXPO_TEXT;
    struct err e = {0};
    assert_int_equal(expo_format_of(STR("application/openmetrics-text; version=1.0.0; charset=utf-8"), -1, &f, &e), 0);
    assert_int_equal(f, EXPO_OPENMETRICS);
    assert_int_equal(expo_format_of(STR("Text/Plain"), -1, &f, &e), 0);
    assert_int_equal(f, EXPO_TEXT);
    assert_int_equal(expo_format_of(STR(""), -1, &f, &e), -EINVAL);
    assert_int_equal(expo_format_of(STR("text/html"), -1, &f, &e), -EINVAL);
    assert_int_equal(expo_format_of(STR("text/html"), EXPO_OPENMETRICS, &f, &e), 0);
    assert_int_equal(f, EXPO_OPENMETRICS);
}

static struct str slurp(struct arena *a, const char *dir, const char *name, const char *file)
{
    struct str path = arena_fmt(a, "%s/%s/%s", dir, name, file);
    FILE *f = fopen(path.p, "re");
    if (!f)
        return STR_NULL;
    char *p = arena_alloc(a, 1 << 20);
    size_t n = fread(p, 1, 1 << 20, f);
    (void)fclose(f);
    return str_make(p, n);
}

/* The public corpus, where it is at hand: every scored case is judged the right way, with the right number of series.
 */
static void conformance_cases(void **state)
{
    (void)state;
    char dir[4096];
    (void)snprintf(dir, sizeof(dir), "%s/../shared/conformance/exposition/cases", test_source_dir());
    DIR *d = opendir(dir);
    if (!d)
        skip();
    int wrong = 0, seen = 0;
    for (struct dirent *de; (de = readdir(d));) {
        if (de->d_name[0] == '.')
            continue;
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct str body = slurp(a, dir, de->d_name, "metrics"), text = slurp(a, dir, de->d_name, "case.json");
        const struct json *j;
        struct err e = {0};
        assert_int_equal(json_parse(text, a, &j, &e), 0);
        struct str expect = json_str(j, "expect", STR(""));
        enum expo_format f;
        int n = expo_format_of(json_str(j, "content_type", STR("")), -1, &f, &e);
        if (n == 0)
            n = walk(f, body, &e);
        seen++;
        if ((str_eqz(expect, "accept") && n < 0) || (str_eqz(expect, "reject") && n >= 0)) {
            print_message("%s: want " STR_FMT ", got %d %s\n", de->d_name, STR_ARG(expect), n, e.msg);
            wrong++;
        }
        /* Where Prometheus 2.42 took an unscored case, so do we. */
        const struct json *took = json_get(j, "prometheus_2.42_accepts");
        if (str_eqz(expect, "either") && took && took->b && n < 0) {
            print_message("%s: Prometheus accepts, we say %s\n", de->d_name, e.msg);
            wrong++;
        }
    }
    (void)closedir(d);
    assert_true(seen > 100);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_accepts_and_refuses), cmocka_unit_test(openmetrics_accepts_and_refuses),
        cmocka_unit_test(values_are_exact),         cmocka_unit_test(labels_come_apart),
        cmocka_unit_test(a_known_line_is_expected), cmocka_unit_test(content_types),
        cmocka_unit_test(conformance_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
