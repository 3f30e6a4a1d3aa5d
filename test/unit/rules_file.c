// SPDX-License-Identifier: Apache-2.0
#include "test.h"
#include "rules/rules.h"

static int no_parens(struct str expr, struct err *e)
{
    if (str_find(expr, STR("((")) < 0)
        return 0;
    err_set(e, "1:1: parse error: unclosed left parenthesis");
    return 1;
}

static void refuses_with_a_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"groups:\n- name: g\n  rules:\n  - expr: x\n", "r.yml:4:5: one of 'record' or 'alert' must be set"},
        {"groups:\n- name: g\n  rules:\n  - {record: a, alert: b, expr: x}\n",
         "only one of 'record' and 'alert' must be set"},
        {"groups:\n- name: g\n  rules:\n  - {record: a}\n", "field 'expr' must be set in rule"},
        {"groups:\n- name: g\n  rules:\n  - {record: a, expr: x, for: 1m}\n", "invalid field 'for' in recording rule"},
        {"groups:\n- name: g\n  rules:\n  - {record: 'a{b=\"c\"}', expr: x}\n",
         "braces present in the recording rule name"},
        {"groups:\n- name: g\n  rules:\n  - alert: a\n    expr: '((x'\n",
         "r.yml:5:11: \"a\": could not parse expression: 1:1: parse error"},
        {"groups:\n- name: g\n  rules:\n  - {alert: a, expr: x, labels: {__name__: b}}\n", "invalid label name"},
        {"groups:\n- name: g\n  rules:\n  - {alert: a, expr: x, annotations: {s: '{{ nope }}'}}\n",
         "annotation \"s\": template: __alert_a:1: function \"nope\" not defined"},
        {"groups:\n- name: g\n- name: g\n", "r.yml:3:3: groupname: \"g\" is repeated in the same file"},
        {"groups:\n- rules: []\n", "Groupname must not be empty"},
        {"groups:\n- name: g\n  intervall: 1m\n", "did you mean \"interval\""},
        {"groups:\n- name: g\n  interval: 1x\n", "r.yml:3:13"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rules_file f = {.path = "r.yml", .text = str_of(rows[i].text)};
        struct rules_load l = {.files = &f, .n_files = 1, .check_expr = no_parens};
        struct rules_config *c = NULL;
        struct err e = {0};
        if (rules_config_load(&l, &c, &e) == 0)
            fail_msg("accepted: %s", rows[i].text);
        if (!strstr(e.msg, rows[i].why))
            fail_msg("%s: got \"%s\", want \"%s\"", rows[i].text, e.msg, rows[i].why);
    }
}

static void check_prints_like_promtool(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf out = BUF_INIT(4096), err = BUF_INIT(4096);
    struct rules_check c = {
        .stdin_text = STR("groups:\n- name: g\n  rules:\n  - {record: a, expr: x}\n  - {record: a, expr: y}\n"),
        .lint_duplicates = true,
        .lint_fatal = true};
    assert_int_equal(rules_check(&c, &out, &err), 3);
    assert_non_null(strstr(buf_cstr(&out), "1 duplicate rule(s) found."));
    assert_non_null(strstr(buf_cstr(&out), "  SUCCESS: 2 rules found\n"));
    c.stdin_text = STR("groups: [{}]");
    assert_int_equal(rules_check(&c, &out, &err), 1);
    assert_non_null(strstr(buf_cstr(&err), "  FAILED:\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_with_a_place),
                                       cmocka_unit_test(check_prints_like_promtool)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
