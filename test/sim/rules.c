// SPDX-License-Identifier: Apache-2.0
/* Rules against the real store and engine under a fake clock: states, times, series, restarts, reloads. */
#include "world.h"

static struct sim *the;
static struct alert last[64];
static size_t n_put;
static char last_summary[256];

static int keep(struct alert_sink *s, const struct alert *a, size_t n)
{
    (void)s;
    for (size_t i = 0; i < n && n_put < 64; i++) {
        last[n_put] = a[i];
        struct str sum = labels_get(a[i].annotations, STR("summary"));
        snprintf(last_summary, sizeof(last_summary), STR_FMT, STR_ARG(sum));
        n_put++;
    }
    return 0;
}
static struct alert_sink keeper = {.put = keep};

static void start(struct sim *s, const char *name, const char *text)
{
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/%s", test_dir(), name);
    sim_open(s, dir);
    s->sinks[0] = &keeper;
    s->n_sinks = 1;
    n_put = 0;
    the = s;
    sim_rules(s, text);
}

/* A sample of `x` every 5 s, rules as they fall due. */
static void live(struct sim *s, int64_t ms, double x)
{
    for (int64_t end = s->clock.ms + ms; s->clock.ms < end;) {
        clock_fake_advance(&s->clock, 5000);
        if (!isnan(x))
            sim_sample(s, "x", "app", "a", x);
        rules_step(s->rules);
    }
}

static size_t events(const struct sim *s, const char *kind)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_events; i++)
        n += strcmp(s->events[i].kind, kind) == 0;
    return n;
}

static void one(struct sim *s, struct arena *a, struct rule_group_view **ret)
{
    size_t n;
    rules_view(s->rules, a, ret, &n);
    assert_int_equal(n, 1);
}

#define ALERT                                                                                                          \
    "groups: [{name: g, interval: 15s, rules: [{record: 'x:double', expr: x * 2, labels: {by: me}}, "                  \
    "{alert: High, expr: 'x:double > 10', for: 1m, labels: {severity: critical, app: '{{ $labels.app }}!'}, "          \
    "annotations: {summary: '{{ $labels.app }} is {{ $value }} {{ with query \"x\" }}{{ . | first | value }}{{ end "   \
    "}}'}}]}]"

static void states_and_times(void **state)
{
    (void)state;
    struct sim s = {0};
    start(&s, "states", ALERT);
    live(&s, 60000, 1);
    assert_true(sim_query(&s, "x:double{by=\"me\"}") == 2);
    assert_int_equal(s.n_events, 0);
    live(&s, 30000, 7);
    assert_int_equal(events(&s, "alert.pending"), 1);
    assert_true(sim_query(&s, "ALERTS{alertstate=\"pending\",app=\"a!\",severity=\"critical\",by=\"me\"}") == 1);
    assert_int_equal(n_put, 0);
    live(&s, 90000, 7);
    assert_int_equal(events(&s, "alert.firing"), 1);
    assert_int_equal(s.events[1].severity, SEV_CRITICAL);
    assert_true(isnan(sim_query(&s, "ALERTS{alertstate=\"pending\"}"))); /* stale */
    assert_true(sim_query(&s, "ALERTS{alertstate=\"firing\"}") == 1);
    assert_int_equal(n_put, 1);
    assert_string_equal(last_summary, "a is 14 7");
    assert_true(last[0].ends_ms - last[0].updated_ms == 4 * 60000);
    live(&s, 60000, 7);
    assert_int_equal(n_put, 2); /* sent again after the resend delay */
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct rule_group_view *g;
    one(&s, a, &g);
    assert_int_equal(g->rules[1].state, RULE_FIRING);
    assert_int_equal(g->rules[1].health, RULE_OK);
    assert_int_equal(g->rules[1].n_alerts, 1);
    live(&s, 30000, 1);
    assert_int_equal(events(&s, "alert.resolved"), 1);
    assert_true(last[n_put - 1].resolved);
    assert_true(isnan(sim_query(&s, "ALERTS")));
    size_t put = n_put;
    live(&s, 5 * 60000, 1);
    assert_true(n_put > put + 2); /* the resolve is repeated for a quarter of an hour */
    live(&s, 14 * 60000, 1);
    put = n_put;
    live(&s, 5 * 60000, 1);
    assert_int_equal(n_put, put);
    live(&s, 120000, 9);
    assert_int_equal(events(&s, "alert.firing"), 2);
    live(&s, 6 * 60000, NAN); /* the data end: resolved when the lookback is over */
    assert_int_equal(events(&s, "alert.resolved"), 2);
    sim_close(&s);
}

static void restored_after_a_restart(void **state)
{
    (void)state;
    static const char text[] = "groups: [{name: g, interval: 15s, rules: [{alert: Slow, expr: x > 5, for: 20m}, "
                               "{alert: Quick, expr: x > 5, for: 1m}]}]";
    struct sim s = {0};
    start(&s, "restore", text);
    live(&s, 25 * 60000, 9);
    assert_int_equal(events(&s, "alert.firing"), 2);
    s.rules = rules_free(s.rules);
    clock_fake_advance(&s.clock, 60000);
    s.n_events = 0;
    sim_rules(&s, text);
    live(&s, 90000, 9);
    assert_int_equal(events(&s, "alert.firing"), 2); /* both at once, no second waiting */
    assert_true(sim_query(&s, "ALERTS{alertname=\"Slow\",alertstate=\"firing\"}") == 1);
    assert_int_equal(events(&s, "alert.resolved"), 0);
    s.rules = rules_free(s.rules); /* down again, and when it comes back the trouble is over */
    clock_fake_advance(&s.clock, 60000);
    n_put = 0;
    sim_rules(&s, text);
    live(&s, 60000, 1);
    assert_int_equal(events(&s, "alert.resolved"), 2);
    assert_true(n_put >= 2 && last[0].resolved && last[0].starts_ms < s.clock.ms - 100000);
    assert_true(isnan(sim_query(&s, "ALERTS")));
    sim_close(&s);
}

static void errors_are_told(void **state)
{
    (void)state;
    struct sim s = {0};
    start(&s, "errors",
          "groups: [{name: g, interval: 15s, limit: 1, rules: [{alert: Dup, expr: x, labels: {app: same}}, {alert: "
          "Many, expr: x > 0}, "
          "{record: two, expr: x, labels: {app: same}}, {alert: Odd, expr: x, annotations: {a: '{{ index \"a\" 7 "
          "}}'}}]}]");
    for (int i = 0; i < 8; i++) {
        clock_fake_advance(&s.clock, 5000);
        sim_sample(&s, "x", "app", "a", 1);
        sim_sample(&s, "x", "app", "b", 1);
        rules_step(s.rules);
    }
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct rule_group_view *g;
    one(&s, a, &g);
    assert_int_equal(g->rules[0].health, RULE_ERR);
    assert_str(g->rules[0].last_error, "vector contains metrics with the same labelset after applying alert labels");
    assert_str(g->rules[1].last_error, "exceeded limit of 1 with 2 alerts");
    assert_int_equal(g->rules[2].health, RULE_ERR);
    assert_int_equal(n_put, 0);
    sim_close(&s);
}

static void keep_firing_and_reload(void **state)
{
    (void)state;
    static const char text[] =
        "groups: [{name: g, interval: 15s, rules: [{alert: A, expr: x > 5, keep_firing_for: 2m}]}]";
    static const char changed[] = "groups: [{name: g, interval: 15s, rules: [{record: y, expr: x}, {alert: A, expr: x "
                                  "> 4, keep_firing_for: 2m}]}]";
    static const char gone[] = "groups: [{name: g, interval: 15s, rules: [{record: z, expr: x}]}]";
    struct sim s = {0};
    start(&s, "keep", text);
    live(&s, 60000, 9);
    assert_int_equal(events(&s, "alert.firing"), 1); /* for: 0, at once */
    live(&s, 60000, 1);
    assert_int_equal(events(&s, "alert.resolved"), 0);
    live(&s, 90000, 1);
    assert_int_equal(events(&s, "alert.resolved"), 1);
    live(&s, 60000, 9);
    rules_apply(s.rules, sim_config(changed), &rules_settings_default);
    live(&s, 60000, 9);
    assert_int_equal(events(&s, "alert.firing"), 2); /* the alert was carried over */
    assert_true(sim_query(&s, "y") == 9);
    rules_apply(s.rules, sim_config(gone), &rules_settings_default);
    live(&s, 30000, 9);
    assert_int_equal(events(&s, "alert.resolved"), 2); /* its rule is gone: the end is told */
    assert_true(last[n_put - 1].resolved);
    assert_true(isnan(sim_query(&s, "y"))); /* marked stale */
    assert_true(isnan(sim_query(&s, "ALERTS")));
    assert_true(sim_query(&s, "z") == 9);
    sim_close(&s);
}

static void shipped_rules_are_quiet_and_sound(void **state)
{
    (void)state;
    size_t n = 0;
    while (rules_shipped[n].path)
        n++;
    assert_true(n >= 3);
    struct rules_load l = {
        .files = rules_shipped, .n_files = n, .default_interval_ms = 30000, .check_expr = sim_check_expr};
    struct rules_config *c = NULL;
    struct err e = {0};
    if (rules_config_load(&l, &c, &e))
        fail_msg("%s", e.msg);
    assert_true(rules_config_count(c) > 30);
    struct sim s = {0};
    start(&s, "shipped", "groups: []");
    rules_apply(s.rules, c, &rules_settings_default);
    for (int i = 0; i < 60; i++) {
        clock_fake_advance(&s.clock, 15000);
        sim_sample(&s, "up", "instance", "h:1", i < 20 ? 1 : 0);
        sim_sample(&s, "node_vmstat_oom_kill", "instance", "h", i < 40 ? 0 : 1);
        rules_step(s.rules);
    }
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct rule_group_view *g;
    rules_view(s.rules, a, &g, &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g[i].n_rules; k++) {
            const struct rule_view *v = &g[i].rules[k];
            if (v->health == RULE_ERR)
                fail_msg(STR_FMT ": " STR_FMT, STR_ARG(v->name), STR_ARG(v->last_error));
            if (!v->alerting)
                continue;
            static const char *const wanted[] = {"summary", "summary_fr", "description", "description_fr"};
            for (size_t w = 0; w < ARRAY_LEN(wanted); w++)
                if (!labels_has(v->annotations, str_of(wanted[w])))
                    fail_msg(STR_FMT " has no %s", STR_ARG(v->name), wanted[w]);
            assert_true(severity_parse(labels_get(v->labels, STR("severity"))) != SEV_NONE);
            bool should = str_eqz(v->name, "TargetDown") || str_eqz(v->name, "OutOfMemoryKill");
            if ((v->n_alerts > 0) != should)
                fail_msg(STR_FMT " has %zu alerts", STR_ARG(v->name), v->n_alerts);
        }
    sim_close(&s);
}

static void missed_turns_are_skipped(void **state)
{
    (void)state;
    struct sim s = {0};
    start(&s, "missed", "groups: [{name: g, interval: 15s, rules: [{record: y, expr: x}]}]");
    live(&s, 60000, 1);
    clock_fake_advance(&s.clock, 600000); /* the machine slept */
    sim_sample(&s, "x", "app", "a", 2);
    rules_step(s.rules);
    assert_false(sim_query(&s, "count_over_time(y[10m])") > 5);
    clock_fake_jump(&s.clock, -300000); /* the clock is set back: no busy loop, no crash */
    assert_true(rules_step(s.rules) <= 15000);
    sim_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(states_and_times),
                                       cmocka_unit_test(restored_after_a_restart),
                                       cmocka_unit_test(errors_are_told),
                                       cmocka_unit_test(keep_firing_and_reload),
                                       cmocka_unit_test(shipped_rules_are_quiet_and_sound),
                                       cmocka_unit_test(missed_turns_are_skipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
