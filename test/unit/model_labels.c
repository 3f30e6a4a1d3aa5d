// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "model/event.h"
#include "model/matcher.h"

static struct labels parsed(struct arena *a, const char *text)
{
    struct labels l;
    struct err e = {0};
    if (labels_parse(str_of(text), a, &l, &e))
        fail_msg("%s: %s", text, e.msg);
    return l;
}

static void test_round_trip(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    static const char *const forms[] = {
        "up", "up{a=\"b\", job=\"x\"}", "{a=\"1\"}", "{\"http.requests\", \"a.b\"=\"c\"}", "m{q=\"\\\"\\\\\\n\"}",
        "{}"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct labels l = parsed(a, forms[i]);
        _cleanup_buf_ struct buf b = BUF_INIT(1000);
        labels_format_metric(&b, l);
        assert_string_equal(buf_cstr(&b), forms[i]);
        assert_true(labels_equal(l, parsed(a, buf_cstr(&b))));
    }
    struct labels l;
    struct err e = {0};
    assert_int_equal(labels_parse(STR("up{a=1}"), a, &l, &e), -EINVAL);
    assert_string_equal(e.msg, "1:6: expected a quoted string");
}

static void test_identity(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct labels x = parsed(a, "m{b=\"2\",a=\"1\"}"), y = parsed(a, "m{a=\"1\",b=\"2\",c=\"\"}");
    assert_true(labels_equal(x, y) && labels_hash(x) == labels_hash(y) && labels_cmp(x, y) == 0);
    assert_true(labels_hash(parsed(a, "{ab=\"c\"}")) != labels_hash(parsed(a, "{a=\"bc\"}")));
    struct str by_a[] = {STR("a")};
    assert_true(labels_hash_by(x, by_a, 1, false) == labels_hash_by(parsed(a, "n{a=\"1\"}"), by_a, 1, false));
    assert_true(labels_hash_by(x, by_a, 1, true) == labels_hash_by(parsed(a, "n{a=\"9\",b=\"2\"}"), by_a, 1, true));
    /* Prometheus model.LabelSet{"alertname":"x"}.Fingerprint(): FNV-1a with 0xff separators. */
    assert_int_equal(labels_fingerprint((struct labels){0}), 0xcbf29ce484222325ULL);
}

static void test_builder(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct labels_builder b = {0};
    lb_init(&b, parsed(a, "m{a=\"1\",z=\"9\"}"));
    lb_set(&b, STR("k"), STR("v"));
    lb_del(&b, STR("z"));
    lb_set(&b, STR("a"), STR("2"));
    assert_true(labels_equal(lb_labels(&b, a), parsed(a, "m{a=\"2\",k=\"v\"}")));
    lb_done(&b);
}

static void test_matchers(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct labels l = parsed(a, "m{job=\"api\"}");
    static const struct {
        enum match_op op;
        const char *name, *value;
        bool want;
    } rows[] = {{MATCH_EQ, "job", "api", true},  {MATCH_NE, "job", "api", false}, {MATCH_RE, "job", "a.*", true},
                {MATCH_NRE, "job", "a|b", true}, {MATCH_EQ, "none", "", true},    {MATCH_RE, "none", ".+", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct matcher m;
        struct err e = {0};
        assert_int_equal(matcher_init(&m, rows[i].op, str_of(rows[i].name), str_of(rows[i].value), &e), 0);
        assert_int_equal(matcher_labels(&m, l), rows[i].want);
        matcher_done(&m);
    }
    struct matcher m;
    struct err e = {0};
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("a.b"), STR("x\"y"), &e), 0);
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    matcher_format(&b, &m);
    assert_str(buf_view(&b), "\"a.b\"=\"x\\\"y\"");
    assert_int_equal(matcher_init(&m, MATCH_RE, STR("a"), STR("("), &e), -EINVAL);
}

static void test_severity(void **state)
{
    (void)state;
    assert_int_equal(severity_parse(STR("Critical")), SEV_CRITICAL);
    assert_int_equal(severity_parse(STR("page")), SEV_CRITICAL);
    assert_int_equal(severity_parse(STR("warn")), SEV_WARNING);
    assert_int_equal(severity_parse(STR("")), SEV_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_identity),
                                       cmocka_unit_test(test_builder), cmocka_unit_test(test_matchers),
                                       cmocka_unit_test(test_severity)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
