// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "config/config.h"

struct inner {
    struct str host;
    struct str password;
};
struct outer {
    bool on, inner_given;
    int64_t interval_ms, size, count;
    double ratio;
    int mode;
    struct config_strs names;
    struct config_map labels;
    struct inner inner;
    struct config_list list;
};
static const struct config_row inner_rows[] = {
    {.key = "host", .type = CFG_STR, .offset = offsetof(struct inner, host), .flags = CFG_REQUIRED, .doc = "where"},
    {.key = "password", .type = CFG_STR, .offset = offsetof(struct inner, password), .flags = CFG_SECRET, .doc = "how"},
};
static const struct config_schema inner_schema = {
    .name = "inner", .size = sizeof(struct inner), .rows = inner_rows, .n = ARRAY_LEN(inner_rows)};
static const char *const modes[] = {"slow", "fast", NULL};
static const struct config_row outer_rows[] = {
    {.key = "on", .type = CFG_BOOL, .offset = offsetof(struct outer, on), .dflt = "true"},
    {.key = "interval", .type = CFG_DURATION, .offset = offsetof(struct outer, interval_ms), .dflt = "1m", .min = 1000},
    {.key = "size", .type = CFG_BYTES, .offset = offsetof(struct outer, size), .dflt = "1MB"},
    {.key = "count", .type = CFG_INT, .offset = offsetof(struct outer, count), .min = 1, .max = 9, .dflt = "3"},
    {.key = "ratio", .type = CFG_F64, .offset = offsetof(struct outer, ratio)},
    {.key = "mode", .type = CFG_ENUM, .offset = offsetof(struct outer, mode), .names = modes, .dflt = "fast"},
    {.key = "names", .type = CFG_STRS, .offset = offsetof(struct outer, names), .flags = CFG_SCALAR_OK},
    {.key = "labels", .type = CFG_MAP, .offset = offsetof(struct outer, labels)},
    {.key = "inner",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct outer, inner),
     .present_offset = offsetof(struct outer, inner_given)},
    {.key = "list", .type = CFG_LIST, .offset = offsetof(struct outer, list), .sub = &inner_schema},
};

static int read_inner(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    return config_read(c, &inner_schema, n, field);
}

static int read(const char *text, struct outer *o, struct err *e, struct arena *a, struct buf *masked)
{
    struct config_row rows[ARRAY_LEN(outer_rows)];
    memcpy(rows, outer_rows, sizeof(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].type == CFG_CUSTOM)
            rows[i].read = read_inner;
    struct config_schema s = {.name = "outer", .size = sizeof(*o), .rows = rows, .n = ARRAY_LEN(rows)};
    struct config_ctx c = {.file = "f.yml", .dir = "/etc", .arena = a, .err = e};
    struct yaml_node *n;
    *o = (struct outer){0};
    assert_int_equal(yaml_parse(str_of(text), "f.yml", a, &n, e), 0);
    int r = config_read(&c, &s, n, o);
    if (masked)
        config_mask(masked, n, &s);
    return r;
}

static void test_read(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *a = arena_new(0);
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct err e = {0};
    struct outer o;
    assert_int_equal(
        read("interval: 15s\nnames: one\nlabels: {a: b}\nlist:\n- host: h\n  password: s3cret\n- {host: i}\n", &o, &e,
             a, &b),
        0);
    assert_true(o.on && o.mode == 1 && o.count == 3 && o.size == 1 << 20 && !o.inner_given);
    assert_int_equal(o.interval_ms, 15000);
    assert_int_equal(o.names.n, 1);
    assert_int_equal(o.list.n, 2);
    assert_str(CONFIG_AT(o.list, struct inner, 0)->password, "s3cret");
    assert_null(strstr(buf_cstr(&b), "s3cret"));
    assert_str(buf_view(&b),
               "interval: 15s\nnames: one\nlabels:\n  a: b\nlist:\n- host: h\n  password: <secret>\n- host: i\n");
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"intervall: 1s\n", "f.yml:1:1: unknown key \"intervall\" in outer, did you mean \"interval\"?"},
        {"on: true\ninterval: 0s\n", "f.yml:2:11: interval: \"0s\" is below the minimum 1s"},
        {"interval: 5\n", "f.yml:1:11: interval: wants a duration such as 30s, 5m or 1h30m, found \"5\""},
        {"count: 10\n", "f.yml:1:8: count: \"10\" is above the maximum 9"},
        {"mode: quick\n", "f.yml:1:7: mode: wants one of slow, fast, found \"quick\""},
        {"names: {a: b}\n", "f.yml:1:8: names: wants a list of strings, found a mapping"},
        {"list: [{password: x}]\n", "f.yml:1:8: inner: \"host\" is required"},
        {"- 1\n", "f.yml:1:1: outer: wants a mapping, found a list"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct err e = {0};
        struct outer o;
        assert_int_equal(read(cases[i].text, &o, &e, a, NULL), -EINVAL);
        assert_string_equal(e.msg, cases[i].error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
