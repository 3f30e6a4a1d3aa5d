// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/mem.h"
#include "codec/f64.h"
#include "codec/json.h"
#include "codec/regex.h"
#include "codec/yaml.h"
#include <math.h>

static void check_f64(double v, const char *f, const char *g)
{
    char out[F64_TEXT_MAX];
    size_t n = f64_write(out, v);
    assert_true(str_eq(str_make(out, n), str_of(f)));
    n = f64_write_g(out, v);
    assert_true(str_eq(str_make(out, n), str_of(g)));
}

static void test_f64(void **state)
{
    (void)state;
    check_f64(0, "0", "0");
    check_f64(-0.0, "-0", "-0");
    check_f64(1.5, "1.5", "1.5");
    check_f64(1e21, "1000000000000000000000", "1e+21");
    check_f64(1e-7, "0.0000001", "1e-07");
    check_f64(0.1, "0.1", "0.1");
    check_f64(123456, "123456", "123456");
    check_f64(1e6, "1000000", "1e+06");
    check_f64(1048576, "1048576", "1.048576e+06");
    check_f64(123456789, "123456789", "1.23456789e+08");
    check_f64(0.0001, "0.0001", "0.0001");
    check_f64((double)INFINITY, "+Inf", "+Inf");
    check_f64((double)NAN, "NaN", "NaN");
    double v;
    assert_true(f64_parse(STR("+Inf"), &v) && isinf(v));
    assert_true(f64_parse(STR("-1.5e3"), &v) && v == -1500);
    assert_true(f64_parse(STR("1e-400"), &v) && v == 0);
    assert_true(f64_parse(STR(".5"), &v) && v == 0.5);
    assert_true(f64_parse(STR("5."), &v) && v == 5);
    assert_false(f64_parse(STR("1e400"), &v) || f64_parse(STR("0.1e400"), &v));
    assert_false(f64_parse(STR(""), &v) || f64_parse(STR("-"), &v) || f64_parse(STR("0x10"), &v) ||
                 f64_parse(STR("1 "), &v));
    assert_true(f64_parse_go(STR("0x1p-2"), &v) && v == 0.25);
    assert_true(f64_parse_go(STR("1_000.5"), &v) && v == 1000.5);
    assert_false(f64_parse_go(STR("1__0"), &v) || f64_parse_go(STR("_1"), &v));
}

static void test_json(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    struct jw w;
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "a", STR("q\"\\\n<\xff\xc3\xa9"));
    jw_key(&w, "l");
    jw_arr(&w);
    jw_i64(&w, -1);
    jw_f64(&w, (double)NAN);
    jw_obj(&w);
    jw_end(&w);
    jw_end(&w);
    jw_kbool(&w, "b", true);
    jw_end(&w);
    assert_str(buf_view(&b), "{\"a\":\"q\\\"\\\\\\n\\u003c\\ufffd\xc3\xa9\",\"l\":[-1,null,{}],\"b\":true}");

    _cleanup_arena_ struct arena *a = arena_new(1 << 20);
    const struct json *j;
    struct err e = {0};
    assert_int_equal(json_parse(buf_view(&b), a, &j, &e), 0);
    assert_int_equal(json_get(j, "l")->n, 3);
    assert_int_equal(json_get(j, "l")->items[0].i, -1);
    assert_true(json_bool(j, "b", false));
    assert_int_equal(json_parse(STR("{\"a\":1,\n \"a\":2}"), a, &j, &e), -EINVAL);
    assert_true(str_starts(str_of(e.msg), STR("2:")));
    err_clear(&e);
    _cleanup_buf_ struct buf deep = BUF_INIT(10000);
    for (int i = 0; i < 1000; i++)
        buf_putc(&deep, '[');
    for (int i = 0; i < 1000; i++)
        buf_putc(&deep, ']');
    assert_int_equal(json_parse(buf_view(&deep), a, &j, &e), -EINVAL);
    assert_non_null(strstr(e.msg, "json_depth"));
}

static struct err yaml_error(struct str text)
{
    struct arena *a = arena_new(1 << 20);
    struct err e = {0};
    struct yaml_node *n;
    assert_int_equal(yaml_parse(text, "f.yml", a, &n, &e), -EINVAL);
    arena_free(a);
    return e;
}

static void test_yaml(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(1 << 20);
    struct err e = {0};
    struct yaml_node *n;
    assert_int_equal(
        yaml_parse(STR("base: &b {x: 1, y: ~}\nuse:\n  <<: *b\n  x: '2'\nlist: [a, 'null']\n"), "f.yml", a, &n, &e), 0);
    struct yaml_node *use = yaml_get(n, "use");
    assert_int_equal(use->n, 2);
    assert_str(yaml_get(use, "x")->s, "2");
    assert_true(yaml_get(use, "x")->quoted);
    assert_int_equal(yaml_get(use, "y")->kind, YAML_NULL);
    assert_int_equal(yaml_get(n, "list")->items[1]->kind, YAML_SCALAR);
    assert_int_equal(yaml_get(n, "list")->line, 5);
    assert_int_equal(yaml_parse(STR(""), "f.yml", a, &n, &e), 0);
    assert_int_equal(n->kind, YAML_NULL);

    e = yaml_error(STR("a: 1\nb: 2\na: 3\n"));
    assert_string_equal(e.msg, "f.yml:3:1: key \"a\" stands twice in this mapping");
    e = yaml_error(STR("a: [1, 2\nb: 3\n"));
    assert_true(str_starts(str_of(e.msg), STR("f.yml:2:")));
    e = yaml_error(STR("a: &x [*x]\n"));
    assert_non_null(strstr(e.msg, "contains it"));
    e = yaml_error(STR("a: 1\n---\nb: 1\n"));
    assert_non_null(strstr(e.msg, "second document"));
    /* An alias bomb: 10^9 nodes in nine lines. */
    _cleanup_buf_ struct buf b = BUF_INIT(10000);
    buf_z(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++) {
        buf_fmt(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_fmt(&b, "%s*a%d", k ? "," : "", i - 1);
        buf_z(&b, "]\n");
    }
    e = yaml_error(buf_view(&b));
    assert_non_null(strstr(e.msg, "yaml_nodes"));
}

static bool matches(const char *pattern, const char *text)
{
    struct regex *re = NULL;
    struct err e = {0};
    assert_int_equal(regex_new(str_of(pattern), REGEX_ANCHORED | REGEX_DOT_NL, &re, &e), 0);
    bool yes = regex_match(re, str_of(text));
    /* The same through the automaton: a group and an empty lookalike defeat the fast paths. */
    char *slow = xasprintf("(?:%s)(?:)[[:^ascii:]]{0}", pattern);
    struct regex *re2 = NULL;
    assert_int_equal(regex_new(str_of(slow), REGEX_ANCHORED | REGEX_DOT_NL, &re2, &e), 0);
    assert_int_equal(regex_match(re2, str_of(text)), yes);
    free(slow);
    regex_free(re);
    regex_free(re2);
    return yes;
}

static void test_regex(void **state)
{
    (void)state;
    assert_true(matches("abc", "abc") && !matches("abc", "abcd") && matches("a|b|", "") && matches("(a|b)", "b"));
    assert_true(matches("ab.*", "ab") && !matches("ab.+", "ab") && matches("ab.+", "abc") && matches(".*c", "c\nc"));
    assert_true(matches(".+", "x") && !matches(".+", "") && matches(".*", "") && matches("^a$", "a"));
    assert_true(matches("[0-9]+\\.[0-9]", "12.3") && !matches("[0-9]+", "a") && matches("(?i)AbC", "aBc"));
    struct regex *re;
    struct err e = {0};
    assert_int_equal(regex_new(STR("(a"), 0, &re, &e), -EINVAL);
    assert_int_equal(regex_new(STR("(\\w+)-(?P<n>\\d+)"), REGEX_ANCHORED, &re, &e), 0);
    _cleanup_buf_ struct buf b = BUF_INIT(200);
    assert_true(regex_expand(re, STR("web-12"), STR("$2/${1}/$n/$$/$9/${x"), &b));
    assert_str(buf_view(&b), "12/web/12/$//${x");
    regex_free(re);
    assert_int_equal(regex_new(STR("a*"), 0, &re, &e), 0);
    buf_reset(&b);
    regex_replace_all(re, STR("baaac"), STR("x"), &b); /* Go: "xbxcx" */
    assert_str(buf_view(&b), "xbxcx");
    regex_free(re);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f64), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_yaml), cmocka_unit_test(test_regex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
