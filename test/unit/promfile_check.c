// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "codec/json.h"
#include "promfile/promfile.h"
#include "test.h"
#include <stdio.h>
#include <unistd.h>

static struct promfile *load(const char *text)
{
    struct promfile *f = NULL;
    struct err e = {0};
    if (promfile_parse(str_of(text), "p.yml", "/etc/p", 0, &f, &e) < 0)
        fail_msg("%s\n%s", text, e.msg);
    return f;
}

static void defaults_and_inheritance(void **state)
{
    (void)state;
    (void)setenv("HUNE_TEST_ZONE", "eu", 1);
    (void)unsetenv("HUNE_TEST_GONE");
    struct promfile *f =
        load("global:\n  scrape_interval: 15s\n  sample_limit: 9\n  external_labels: {z: \"a${HUNE_TEST_ZONE}b$$\", a: "
             "$HUNE_TEST_GONE, m: x}\n"
             "rule_files: [rules/*.yml, /abs.yml]\n"
             "scrape_configs:\n- job_name: one\n  static_configs: [{targets: ['a:1', 'b:2'], labels: {x: y}}]\n"
             "- job_name: two\n  scrape_interval: 3s\n  sample_limit: 5\n  scheme: https\n  params: {q: [a, b]}\n"
             "  basic_auth: {username: u, password: geheim}\n  file_sd_configs: [{files: [t/*.json]}]\n"
             "  relabel_configs: [{source_labels: [a, b], target_label: c}]\n"
             "storage: {tsdb: {out_of_order_time_window: 30m, retention: {time: 2d, size: 1GB}}}\n"
             "alerting: {alertmanagers: [{static_configs: [{targets: ['am:9093']}]}]}\n");
    assert_int_equal(f->global.scrape_interval_ms, 15000);
    assert_int_equal(f->global.scrape_timeout_ms, 10000);
    assert_int_equal(f->global.evaluation_interval_ms, 60000);
    assert_int_equal(f->global.external_labels.n, 2);
    assert_str(labels_get(f->global.external_labels, STR("z")), "aeub$");
    assert_int_equal(f->warnings.n, 1);
    assert_int_equal(f->rule_files.n, 2);
    assert_str(f->rule_files.v[0], "/etc/p/rules/*.yml");
    assert_str(f->rule_files.v[1], "/abs.yml");
    assert_int_equal(f->n_scrapes, 2);
    const struct promfile_scrape *one = &f->scrapes[0], *two = &f->scrapes[1];
    assert_int_equal(one->interval_ms, 15000);
    assert_int_equal(one->timeout_ms, 10000);
    assert_int_equal(one->limits.samples, 9);
    assert_str(one->metrics_path, "/metrics");
    assert_true(one->honor_timestamps && !one->honor_labels && one->http.follow_redirects);
    assert_int_equal(one->sds.n, 1);
    assert_int_equal(one->sds.v[0].n_targets, 2);
    assert_str(labels_get(one->sds.v[0].targets[1], STR("__address__")), "b:2");
    assert_str(labels_get(one->sds.v[0].labels, STR("x")), "y");
    assert_int_equal(two->interval_ms, 3000);
    assert_int_equal(two->timeout_ms, 3000);
    assert_int_equal(two->limits.samples, 5);
    assert_str(two->http.basic_auth.password, "geheim");
    assert_str(two->params[0].values.v[1], "b");
    assert_str(two->sds.v[0].files.v[0], "/etc/p/t/*.json");
    assert_int_equal(two->sds.v[0].refresh_ms, 300000);
    assert_int_equal(two->relabel.n, 1);
    assert_int_equal(f->storage.out_of_order_window_ms, 1800000);
    assert_int_equal(f->storage.retention_ms, 2 * 86400000LL);
    assert_int_equal(f->storage.retention_bytes, 1 << 30);
    assert_int_equal(f->n_alertmanagers, 1);
    assert_int_equal(f->alertmanagers[0].timeout_ms, 10000);
    assert_true(str_find(f->text, STR("geheim")) < 0);
    assert_true(str_find(f->text, STR("<secret>")) > 0);
    assert_true(str_find(f->text, STR("job_name: two")) > 0);
    struct promfile *again = promfile_ref(f);
    promfile_unref(f);
    promfile_unref(again);
}

static void equal_jobs_hash_equal(void **state)
{
    (void)state;
    struct promfile *a = load("scrape_configs: [{job_name: x, static_configs: [{targets: [b]}]}]");
    struct promfile *b = load("# moved\n\nscrape_configs:\n  - job_name: x\n    static_configs:\n    - targets: [b]\n");
    struct promfile *c =
        load("global: {scrape_interval: 5s}\nscrape_configs: [{job_name: x, static_configs: [{targets: [b]}]}]");
    struct promfile *d = load("scrape_configs: [{job_name: x, basic_auth: {username: u, password: p1}}]");
    struct promfile *e = load("scrape_configs: [{job_name: x, basic_auth: {username: u, password: p2}}]");
    assert_true(a->scrapes[0].hash == b->scrapes[0].hash);
    assert_true(a->scrapes[0].hash != c->scrapes[0].hash);
    assert_true(d->scrapes[0].hash != e->scrapes[0].hash);
    assert_true(a->generation < b->generation);
    promfile_unref(a);
    promfile_unref(b);
    promfile_unref(c);
    promfile_unref(d);
    promfile_unref(e);
}

static void mistakes_are_refused_where_they_stand(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"scrape_config: []", "p.yml:1:1: unknown key \"scrape_config\""},
        {"global:\n  scrape_intervall: 5s",
         "p.yml:2:3: unknown key \"scrape_intervall\" in global, did you mean \"scrape_interval\"?"},
        {"global: {scrape_interval: 5}", "p.yml:1:27: "},
        {"global: {scrape_interval: 5s, scrape_timeout: 6s}", "p.yml:1:47: global scrape timeout greater"},
        {"scrape_configs:\n- job_name: a\n- job_name: a\n",
         "p.yml:3:3: found multiple scrape configs with job name \"a\""},
        {"scrape_configs: [{job_name: a, scrape_interval: 1s, scrape_timeout: 2s}]",
         "p.yml:1:69: scrape timeout greater"},
        {"scrape_configs:\n-\n", "empty or null scrape config section"},
        {"scrape_configs: [{static_configs: []}]", "job_name is empty"},
        {"scrape_configs:\n- job_name: a\n  ec2_sd_configs:\n  - region: x\n",
         "p.yml:4:5: unsupported service discovery kind \"ec2_sd_configs\""},
        {"scrape_configs: [{job_name: a, file_sd_configs: [{files: [x.txt]}]}]", "is not valid for file discovery"},
        {"scrape_configs: [{job_name: a, relabel_configs: [{action: kep}]}]",
         "unknown relabel action \"kep\", did you mean \"keep\"?"},
        {"scrape_configs: [{job_name: a, relabel_configs: [{regex: '(', target_label: x}]}]",
         "p.yml:1:50: error parsing regexp"},
        {"scrape_configs: [{job_name: a, body_size_limit: 100}]", "is no size"},
        {"scrape_configs: [{job_name: a, scrape_protocols: [X]}]", "unknown scrape protocol \"X\""},
        {"rule_files: ['a/*/b.yml']", "invalid rule file path"},
        {"remote_write: [{name: x}]", "url for remote_write is empty"},
        {"storage: {tsdb: {retention: {percentage: 101}}}", "must be in the range [0, 100]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct promfile *f;
        struct err e = {0};
        assert_int_equal(promfile_parse(str_of(cases[i][0]), "p.yml", "", 0, &f, &e), -EINVAL);
        if (!strstr(e.msg, cases[i][1]))
            fail_msg("%s\ngot  \"%s\"\nwant \"%s\"", cases[i][0], e.msg, cases[i][1]);
    }
}

static void what_is_not_acted_on_is_said(void **state)
{
    (void)state;
    struct promfile *f = load(
        "remote_write: [{url: 'http://x/'}]\nremote_read: [{url: 'http://x/'}]\notlp: {}\ntracing: {endpoint: 'x:1'}\n"
        "runtime: {gogc: 5}\nglobal: {query_log_file: q}\nstorage: {exemplars: {max_exemplars: 5}}\n");
    assert_int_equal(f->warnings.n, 7);
    assert_true(str_starts(f->warnings.v[0], STR("p.yml:")));
    promfile_unref(f);
}

/* check-config cases of the public corpus, where it is at hand. */
static void conformance_cases(void **state)
{
    (void)state;
    char path[4096], line[4096];
    (void)snprintf(path, sizeof(path), "%s/../shared/conformance/clicheck/manifest.jsonl", test_source_dir());
    FILE *m = fopen(path, "re");
    if (!m)
        skip();
    int wrong = 0, seen = 0;
    while (fgets(line, sizeof(line), m)) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        const struct json *j;
        struct err e = {0};
        assert_int_equal(json_parse(str_of(line), a, &j, &e), 0);
        if (!str_eqz(json_str(j, "kind", STR("")), "check-config"))
            continue;
        struct str file = arena_fmt(a, "%s/../shared/conformance/clicheck/" STR_FMT, test_source_dir(),
                                    STR_ARG(json_str(j, "file", STR(""))));
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        bool ok = promfile_check(file.p, PROMFILE_SYNTAX_ONLY, &out, NULL, a) == 0;
        bool want = str_eqz(json_str(j, "expect", STR("")), "accept");
        seen++;
        if (ok != want) {
            print_message(STR_FMT ": want %d\n" STR_FMT, STR_ARG(json_str(j, "id", STR(""))), want,
                          STR_ARG(buf_view(&out)));
            wrong++;
        }
    }
    (void)fclose(m);
    assert_true(seen > 100);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_inheritance),
        cmocka_unit_test(equal_jobs_hash_equal),
        cmocka_unit_test(mistakes_are_refused_where_they_stand),
        cmocka_unit_test(what_is_not_acted_on_is_said),
        cmocka_unit_test(conformance_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
