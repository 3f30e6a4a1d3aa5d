// SPDX-License-Identifier: Apache-2.0
#include "test.h"
#include "notify/notify.h"

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"receivers: []", "no routes provided"},
        {"route: {receiver: a}\nreceivers: []", "am.yml:1:19: undefined receiver \"a\" used in route"},
        {"route: {receiver: a, gruop_by: [x]}\nreceivers: [{name: a}]", "did you mean \"group_by\""},
        {"route: {receiver: a}\nreceivers: [{name: a}, {name: a}]", "is not unique"},
        {"route: {receiver: a, repeat_interval: 0s}\nreceivers: [{name: a}]", "repeat_interval cannot be zero"},
        {"route: {receiver: a, group_by: ['...', x]}\nreceivers: [{name: a}]", "cannot have wildcard"},
        {"route: {receiver: a, matchers: [x=y]}\nreceivers: [{name: a}]", "root route must not have any matchers"},
        {"route: {receiver: a, routes: [{matchers: ['x=~\"(\"']}]}\nreceivers: [{name: a}]", "am.yml:1:"},
        {"route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]",
         "one of url or url_file must be configured"},
        {"route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://x'}]}]", "unsupported scheme"},
        {"route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@y.z}]}]", "no global SMTP smarthost set"},
        {"route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{channel: x}]}]", "no global Slack API URL"},
        {"route: {receiver: a}\nreceivers: [{name: a, discord_configs: [{webhook_url: 'http://x', title: '{{ nope "
         "}}'}]}]",
         "function \"nope\" not defined"},
        {"route: {receiver: a, routes: [{mute_time_intervals: [x]}]}\nreceivers: [{name: a}]",
         "undefined time interval \"x\""},
        {"route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [{location: "
         "Mars/Base}]}]",
         "unknown time zone"},
        {"route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [{weekdays: "
         "['monday:sunday2']}]}]",
         "weekdays"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct notify_config *c = NULL;
        struct err e = {0};
        if (notify_config_parse(str_of(rows[i].text), "am.yml", ".", NULL, NULL, &c, &e) == 0)
            fail_msg("accepted: %s", rows[i].text);
        if (!strstr(e.msg, rows[i].why))
            fail_msg("%s: got \"%s\", want \"%s\"", rows[i].text, e.msg, rows[i].why);
    }
}

static void count_warning(void *ctx, const char *text)
{
    (void)text;
    (*(int *)ctx)++;
}

static void masks_and_warns(void **state)
{
    (void)state;
    struct notify_config *c = NULL;
    struct err e = {0};
    int warnings = 0;
    static const char text[] =
        "global: {slack_api_url: 'http://hush/', smtp_auth_password: hush}\n"
        "route: {receiver: a, routes: [{matchers: ['x = \"a b\"', 'y=c'], receiver: a, continue: true}]}\n"
        "receivers: [{name: a, slack_configs: [{channel: x, api_url: 'http://hush'}], webhook_configs: [{url: "
        "'http://hush'}]}]\n";
    if (notify_config_parse(str_of(text), "am.yml", ".", count_warning, &warnings, &c, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(warnings, 1); /* slack cannot send yet */
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 16);
    notify_config_yaml(c, &b);
    assert_null(strstr(buf_cstr(&b), "hush"));
    assert_non_null(strstr(buf_cstr(&b), "<secret>"));
    buf_reset(&b);
    notify_config_tree(c, &b);
    assert_string_equal(buf_cstr(&b),
                        "Routing tree:\n.\ndefault-route  receiver: a\n\xe2\x94\x94\xe2\x94\x80\xe2\x94\x80 {x=\"a "
                        "b\",y=\"c\"}  continue: true  receiver: a\n");
    notify_config_free(c);
}

static void matchers(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        bool classic;
    } rows[] = {
        {"a=b", "a=\"b\"", 0},
        {"{a=\"b\", c=~\"d.*\",}", "a=\"b\",c=~\"d.*\"", 0},
        {"{}", "", 0},
        {"a != \"x y\"", "a!=\"x y\"", 0},
        {"\xce\xa3=c", "\"\xce\xa3\"=\"c\"", 0},
        {"\"a b\"=c", "\"a b\"=\"c\"", 0},
        {"00=b", "\"00\"=\"b\"", 0},
        {"a=b c", "a=\"b c\"", 1},
        {"a=\"q\\\"x\"", "a=\"q\\\"x\"", 0},
        {"a=~^(x|y)$", "a=~\"^(x|y)$\"", 0},
        {"a", NULL, 0},
        {"=b", NULL, 0},
        {"{a=b", NULL, 0},
        {"a=~\"(\"", NULL, 0},
        {"a=\"b", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct matcher *m;
        size_t n;
        bool classic = false;
        struct err e = {0};
        int r = notify_matchers_parse(str_of(rows[i].in), a, &m, &n, &classic, &e);
        if (!rows[i].out) {
            if (r == 0)
                fail_msg("accepted %s", rows[i].in);
            assert_true(e.msg[0]);
            continue;
        }
        if (r)
            fail_msg("%s: %s", rows[i].in, e.msg);
        _cleanup_buf_ struct buf b = BUF_INIT(1000);
        for (size_t k = 0; k < n; k++) {
            if (k)
                buf_putc(&b, ',');
            matcher_format(&b, &m[k]);
            matcher_done(&m[k]);
        }
        assert_string_equal(buf_cstr(&b), rows[i].out);
        assert_int_equal(classic, rows[i].classic);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses), cmocka_unit_test(masks_and_warns),
                                       cmocka_unit_test(matchers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
