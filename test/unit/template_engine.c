// SPDX-License-Identifier: Apache-2.0
#include "test.h"
#include "template/template.h"

static struct tval data(struct arena *a)
{
    static const struct tpair labels[] = {
        {{"instance", 8}, {.kind = TVAL_STR, .s = {"foo.bar:1234", 12}}},
        {{"job", 3}, {.kind = TVAL_STR, .s = {"api", 3}}},
    };
    struct tval items[3] = {tval_z("a"), tval_z("b"), tval_z("c")};
    struct tpair root[] = {
        {STR("Labels"), tval_map_of(a, labels, 2, true)},
        {STR("Value"), tval_f64(1234.5)},
        {STR("Items"), tval_list_of(a, items, 3)},
        {STR("Empty"), tval_list_of(a, NULL, 0)},
        {STR("T"), tval_time(1767323045678)},
        {STR("Html"), tval_z("<b>&\"'")},
        {STR("Url"), tval_z("javascript:alert(1)")},
        {STR("D"), tval_duration(5400000)},
    };
    return tval_map_of(a, root, 8, false);
}

static struct str run_with(const struct template_func *funcs, const char *text, unsigned flags, struct arena *a,
                           struct buf *out, struct err *e)
{
    struct template_set *s = template_set_new(NULL, funcs);
    static struct template_prom host = {.now_ms = 1500000, .external_url = {"http://hune/pre", 15}};
    buf_reset(out);
    e->msg[0] = 0;
    if (template_parse(s, STR("t"), str_of(text), e) == 0) {
        struct template_exec x = {.name = STR("t"), .data = data(a), .arena = a, .flags = flags, .host = &host};
        if (template_exec(s, &x, out, e) == 0)
            assert_string_equal(e->msg, "");
    }
    template_set_free(s);
    return buf_view(out);
}

struct row {
    const char *in, *out; /* out NULL: must fail with err in the message */
    const char *err;
};

static void check(const struct row *rows, size_t n, const struct template_func *funcs, unsigned flags)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 21);
        struct err e = {0};
        struct str got = run_with(funcs, rows[i].in, flags, a, &out, &e);
        if (rows[i].out) {
            if (e.msg[0] || !str_eqz(got, rows[i].out))
                fail_msg("%s: got \"" STR_FMT "\" (%s), want \"%s\"", rows[i].in, STR_ARG(got), e.msg, rows[i].out);
        } else if (!e.msg[0] || !strstr(e.msg, rows[i].err)) {
            fail_msg("%s: error \"%s\", want one with \"%s\"", rows[i].in, e.msg, rows[i].err);
        }
    }
}

static void language(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"abc", "abc", 0},
        {"{{ \"abc\" }}", "abc", 0},
        {"{{- /* comment */ -}} a {{- \"b\" -}} c", "abc", 0},
        {"a {{- 1 -}} b", "a1b", 0},
        {"a {{/* x */}} b", "a  b", 0},
        {"{{.Labels.job}} {{.Labels.nope}}|{{.Nope}}", "api |<no value>", 0},
        {"{{ if and (eq .Labels.job \"api\") (gt (len .Items) 1) }}many{{ end }}", "many", 0},
        {"{{ if .Empty }}x{{ else if .Items }}y{{ else }}z{{ end }}", "y", 0},
        {"{{ with .Nope }}x{{ else with .Items }}{{len .}}{{ end }}", "3", 0},
        {"{{ with $x := .Labels.job }}{{ $x }}{{ . }}{{ end }}", "apiapi", 0},
        {"{{ range .Items }}{{ . }},{{ end }}", "a,b,c,", 0},
        {"{{ range $i, $v := .Items }}{{ $i }}={{ $v }} {{ end }}", "0=a 1=b 2=c ", 0},
        {"{{ range $k, $v := .Labels }}{{ $k }}={{ $v }} {{ end }}", "instance=foo.bar:1234 job=api ", 0},
        {"{{ range .Empty }}x{{ else }}none{{ end }}", "none", 0},
        {"{{ range .Items }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "a", 0},
        {"{{ range .Items }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac", 0},
        {"{{ range 3 }}{{.}}{{ end }}", "012", 0},
        {"{{ $n := 0 }}{{ range .Items }}{{ $n = len . }}{{ end }}{{ $n }}", "1", 0},
        {"{{ define \"x\" }}[{{ . }}]{{ end }}{{ template \"x\" .Labels.job }}", "[api]", 0},
        {"{{ block \"y\" .Value }}<{{ . }}>{{ end }}", "<1234.5>", 0},
        {"{{ \"x\" | printf \"%s-%s\" \"a\" }}", "a-x", 0},
        {"{{ not true }} {{ or \"\" \"x\" }} {{ and 1 0 }}", "false x 0", 0},
        {"{{ slice \"abcdef\" 1 3 }} {{ index .Items 1 }} {{ index .Labels \"job\" }}", "bc b api", 0},
        {"{{ html \"<a&b>\" }}{{ js \"it's\" }}{{ urlquery \"a b&c\" }}", "&lt;a&amp;b&gt;it\\'sa+b%26c", 0},
        {"{{ print 1 2 \"a\" 3 }}|{{ println \"x\" 1 }}", "1 2a3|x 1\n", 0},
        {"{{ .Items }} {{ .Labels }} {{ .T }} {{ .D }}",
         "[a b c] map[instance:foo.bar:1234 job:api] 2026-01-02 03:04:05.678 +0000 UTC 1h30m0s", 0},
        {"{{ printf \"%5d|%-5d|%05d|%x|%c|%q|%U\" 42 42 -42 255 233 \"a\\\"b\" 960 }}",
         "   42|42   |-0042|ff|\xc3\xa9|\"a\\\"b\"|U+03C0", 0},
        {"{{ printf \"%.2f %e %g %8.3f|%+d %t %v\" 3.14159 1000000.0 1e21 2.5 7 true nil }}",
         "3.14 1.000000e+06 1e+21    2.500|+7 true <nil>", 0},
        {"{{ printf \"%d %s\" \"hi\" }}", "%!d(string=hi) %!s(MISSING)", 0},
        {"{{ printf \"%s\" \"a\" 2 }}", "a%!(EXTRA int=2)", 0},
        {"{{ printf \"%*d|%-8s|%T\" 5 1 \"ab\" 1.5 }}", "    1|ab      |float64", 0},
        {"{{ 1e3 }} {{ 0x1F }} {{ 'a' }} {{ 1.5 }} {{ -3 }} {{ 1_000 }}", "1000 31 97 1.5 -3 1000", 0},
        {"{{ `raw \"x\"` }} {{ \"\\u00e9\\x41\\n\" }}",
         "raw \"x\" \xc3\xa9"
         "A\n",
         0},
        {"{{ (index .Items 0) }}{{ (.Labels).job }}{{ $.Labels.job }}", "aapiapi", 0},
        {"{{ eq 1 2 1 }} {{ ne \"a\" \"b\" }} {{ lt 1.5 2.5 }} {{ ge 2 2 }} {{ le \"a\" \"b\" }}",
         "true true true true true", 0},
        {"{{ if eq .Nope nil }}n{{ end }}", "n", 0},
        {"{{ \n .Labels.job \n }}", "api", 0},
        /* errors: Go's wording */
        {"{{ ", 0, "template: t:1: unclosed action"},
        {"{{ template \"nope\" . }}", 0, "template \"nope\" not defined"},
        {"{{ .Labels.job.x }}", 0, "template: t:1:"},
        {"{{ .Labels.job.x }}", 0, "at <.Labels.job.x>: can't evaluate field x in type string"},
        {"{{ nosuch 1 }}", 0, "template: t:1: function \"nosuch\" not defined"},
        {"a\n{{ $x }}", 0, "template: t:2: undefined variable \"$x\""},
        {"{{ if .A }}x", 0, "unexpected EOF"},
        {"{{ end }}", 0, "unexpected {{end}}"},
        {"{{ gt .Value 5 }}", 0, "error calling gt: incompatible types for comparison"},
        {"{{ index .Items 9 }}", 0, "error calling index: index out of range: 9"},
        {"{{ len 3 }}", 0, "error calling len: len of type int"},
        {"{{ not }}", 0, "wrong number of args for not: want 1 got 0"},
        {"{{ break }}", 0, "{{break}} outside {{range}}"},
        {"{{ \"a", 0, "unterminated quoted string"},
        {"{{ .A | }}", 0, "missing value for command"},
        {"{{ range 1.5 }}{{ end }}", 0, "range can't iterate over 1.5"},
        {"{{ nil }}", 0, "nil is not a command"},
        {"{{ 1 | 2 }}", 0, "non executable command in pipeline stage 2"},
        {"{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}", 0, "exceeded maximum template depth"},
        {"{{ range 1000000000 }}{{end}}", 0, "more than 1000000 steps"},
        {"{{ $x := \"aaaaaaaaaaaaaaaa\" }}{{ range 1000 }}{{ $x = print $x $x }}{{ end }}", 0, "needs more than"},
        {"{{ range 100000 }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ end }}", 0, "output is longer than"},
    };
    check(rows, sizeof(rows) / sizeof(rows[0]), NULL, 0);
}

static void prometheus_functions(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{{ humanize 0.0 }} {{ humanize 1.0 }} {{ humanize 1234567.0 }} {{ humanize .12 }}", "0 1 1.235M 120m", 0},
        {"{{ humanize1024 0.0 }} {{ humanize1024 1048576.0 }} {{ humanize1024 \"1024\" }}", "0 1Mi 1ki", 0},
        {"{{ humanizeDuration 0 }} {{ humanizeDuration 1 }} {{ humanizeDuration 60 }} {{ humanizeDuration 3600 }} {{ "
         "humanizeDuration 86400 }}",
         "0s 1s 1m 0s 1h 0m 0s 1d 0h 0m 0s", 0},
        {"{{ humanizeDuration 899.99 }} {{ humanizeDuration .1 }} {{ humanizeDuration -86462.0 }}",
         "14m 59s 100ms -1d 0h 1m 2s", 0},
        {"{{ humanizePercentage 0.1234567 }}", "12.35%", 0},
        {"{{ 1435065584.128 | humanizeTimestamp }}", "2015-06-23 13:19:44.128 +0000 UTC", 0},
        {"{{ (1435065584.128 | toTime).Year }}", 0, "can't evaluate field Year in type time.Time"},
        {"{{ title \"aa bB CC\" }} {{ toUpper \"aa bB\" }} {{ toLower \"bB\" }}", "Aa BB CC AA BB bb", 0},
        {"{{ stripPort \"host:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripDomain \"a.b.c:80\" }} {{ stripDomain "
         "\"1.2.3.4:80\" }}",
         "host ::1 a:80 1.2.3.4:80", 0},
        {"{{ match \"a+\" \"aa\" }} {{ match \"a+\" \"b\" }} {{ reReplaceAll \"(a)b\" \"x$1\" \"ab\" }}",
         "true false xa", 0},
        {"{{ graphLink \"up\" }} {{ tableLink \"a b\" }}", "/graph?g0.expr=up&g0.tab=0 /graph?g0.expr=a+b&g0.tab=1", 0},
        {"{{ externalURL }} {{ pathPrefix }}", "http://hune/pre /pre", 0},
        {"{{ parseDuration \"1h2m10ms\" }} {{ toDuration 90 }} {{ now }}", "3720.01 1m30s 1500", 0},
        {"{{ with args 1 \"b\" }}{{ .arg0 }}{{ .arg1 }}{{ end }}", "1b", 0},
        {"{{define \"a\"}}<{{.}}>{{end}}{{ tmpl \"a\" \"z\" }}", "<z>", 0},
        {"{{ $labels := .Labels }}{{ $labels.job }}", "api", 0},
        {"{{ humanize \"x\" }}", 0, "error calling humanize: strconv.ParseFloat: parsing \"x\": invalid syntax"},
        {"{{ query \"up\" }}", 0, "error calling query"},
        {"{{ urlQueryEscape \"a b/c\" }}", "a+b%2Fc", 0},
    };
    check(rows, sizeof(rows) / sizeof(rows[0]), template_funcs_prom, 0);
}

static void alertmanager_functions(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{{- $test := list \"a\" \"b\" \"c\" -}}{{ $test }}", "[a b c]", 0},
        {"{{- $test := dict -}}{{ $test }}{{ dict \"a\" 1 }}", "map[]map[a:1]", 0},
        {"{{ dict \"a\" }}", 0, "even number"},
        {"{{ \"flush>>\" | base64encode }} {{ \"Zmx1c2g-Pg==\" | base64decode }}", "Zmx1c2g-Pg== flush>>", 0},
        {"{{ \"not-valid-base64!\" | base64decode }}", 0, "illegal base64"},
        {"{{ toDate \"2006-01-02\" \"not-a-date\" | date \"2006\" }}", "0001", 0},
        {"{{ mustToDate \"2006-01-02\" \"not-a-date\" }}", 0, "mustToDate"},
        {"{{ toDate \"2006-01-02\" \"2024-02-29\" | date \"Mon Jan 2 2006\" }}", "Thu Feb 29 2024", 0},
        {"{{ 42 | toJson }} {{ .Items | toJson }} {{ .T | toJson }}",
         "42 [\"a\",\"b\",\"c\"] \"2026-01-02T03:04:05.678Z\"", 0},
        {"{{ title \"hello world\" }}{{ trimSpace \" x \" }}{{ join \"-\" .Items }}", "Hello Worldxa-b-c", 0},
        {"{{ humanizeDuration \"one\" }}", 0, "humanizeDuration"},
        {"{{ default \"d\" \"\" }}{{ default \"d\" \"e\" }}", "de", 0},
        {"{{ append (list 1 2) 3 }} {{ stringSlice \"a\" \"b\" }} {{ urlUnescape \"a%20b\" }}", "[1 2 3] [a b] a b", 0},
        {"{{ .T | date \"15:04 02.01.2006\" }}", "03:04 02.01.2026", 0},
    };
    check(rows, sizeof(rows) / sizeof(rows[0]), template_funcs_am, 0);
}

static void html_contexts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"<b>{{ .Html }}</b>", "<b>&lt;b&gt;&amp;&#34;&#39;</b>", 0},
        {"{{ \"<i>\" | safeHtml }}", "<i>", 0},
        {"<a href=\"/search?{{ \"q=test%20foo\" }}\"></a>", "<a href=\"/search?q%3dtest%2520foo\"></a>", 0},
        {"<a href=\"/search?{{ \"q=test%20foo\" | safeUrl }}\"></a>", "<a href=\"/search?q=test%20foo\"></a>", 0},
        {"<a href=\"{{ .Url }}\">", "<a href=\"#ZgotmplZ\">", 0},
        {"<a href=\"{{ \"https://x/?a=b&c=d\" }}\">", "<a href=\"https://x/?a=b&amp;c=d\">", 0},
        {"<div title=\"{{ .Html }}\" class={{ \"a b\" }}>", "<div title=\"&lt;b&gt;&amp;&#34;&#39;\" class=a&#32;b>",
         0},
        {"<script>var x = {{ .Html }}; var y = \"{{ .Html }}\";</script>",
         "<script>var x = \"\\u003cb\\u003e\\u0026\\u0022\\u0027\"; var y = "
         "\"\\u003cb\\u003e\\u0026\\u0022\\u0027\";</script>",
         0},
        {"<p style=\"color:{{ \"red\" }};x:{{ \"expression(1)\" }}\">", "<p style=\"color:red;x:ZgotmplZ\">", 0},
        {"a<!-- {{ .Html }} -->b", "ab", 0},
        {"<!DOCTYPE html><td {{ \"width\" }}=1>{{ .Html }}", "<!DOCTYPE html><td width=1>&lt;b&gt;&amp;&#34;&#39;", 0},
        {"<textarea>{{ \"</textarea>\" }}</textarea>{{ .Html }}",
         "<textarea>&lt;/textarea&gt;</textarea>&lt;b&gt;&amp;&#34;&#39;", 0},
    };
    check(rows, sizeof(rows) / sizeof(rows[0]), template_funcs_am, TEMPLATE_HTML);
}

static void sets_inherit(void **state)
{
    (void)state;
    struct template_set *base = template_set_new(NULL, template_funcs_am), *own = template_set_new(base, NULL);
    struct err e = {0};
    assert_int_equal(template_parse(base, STR("f"), STR("{{ define \"g\" }}hello {{ . | toUpper }}{{ end }}"), &e), 0);
    assert_int_equal(template_parse(own, STR("x"), STR("{{ template \"g\" . }}!"), &e), 0);
    _cleanup_arena_ struct arena *a = arena_new(0);
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    struct template_exec x = {.name = STR("x"), .data = tval_z("you"), .arena = a};
    assert_int_equal(template_exec(own, &x, &out, &e), 0);
    assert_str(buf_view(&out), "hello YOU!");
    assert_true(template_has(own, STR("g")));
    assert_false(template_has(base, STR("x")));
    template_set_free(own);
    template_set_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(language), cmocka_unit_test(prometheus_functions),
                                       cmocka_unit_test(alertmanager_functions), cmocka_unit_test(html_contexts),
                                       cmocka_unit_test(sets_inherit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
