// SPDX-License-Identifier: Apache-2.0
/* The notifier under a fake clock with a transport that records: grouping, repeats, resolves, silences, inhibition,
 * retries, restarts. */
#include "test.h"
#include "notify/notify.h"

struct sent {
    char receiver[64], key[64], body[8192];
    size_t index;
    int64_t t_ms;
};

struct fake {
    struct notify_transport base;
    struct clock_fake *clock;
    struct sent sent[400];
    size_t n, waiting_n;
    struct notify_job *waiting[64];
    int fail; /* answer this many with 500 */
    int status;
};

static struct fake *current;

static void fake_send(struct notify_transport *t, const struct notify_message *m, struct notify_job *job)
{
    struct fake *f = (struct fake *)t;
    struct sent *s = &f->sent[f->n++];
    snprintf(s->receiver, sizeof(s->receiver), STR_FMT, STR_ARG(m->receiver));
    snprintf(s->key, sizeof(s->key), STR_FMT, STR_ARG(m->idempotency_key));
    struct str body = m->mail ? m->mail->data : m->body;
    snprintf(s->body, sizeof(s->body), STR_FMT, STR_ARG(body));
    s->index = m->index;
    s->t_ms = f->clock->ms;
    f->waiting[f->waiting_n++] = job;
}

static void fake_poll(struct notify_transport *t, int timeout_ms)
{
    struct fake *f = (struct fake *)t;
    (void)timeout_ms;
    while (f->waiting_n) {
        struct notify_job *j = f->waiting[--f->waiting_n];
        struct notify_result r = {.ok = true, .status = 200};
        if (f->fail > 0) {
            f->fail--;
            r = (struct notify_result){.status = f->status ? f->status : 500, .retry = !f->status || f->status >= 500};
            err_set(&r.err, "no");
        }
        notify_job_done(j, &r);
    }
}

static void fake_cancel(struct notify_transport *t, struct notify_job *job)
{
    struct fake *f = (struct fake *)t;
    for (size_t i = 0; i < f->waiting_n; i++)
        if (f->waiting[i] == job)
            f->waiting[i] = f->waiting[--f->waiting_n];
}

static void fake_wake(struct notify_transport *t)
{
    (void)t;
}

static void fake_free(struct notify_transport *t)
{
    free(t);
}

struct world {
    struct clock_fake clock;
    struct notify *n;
    struct fake *f;
};

static struct notify_config *config(const char *text)
{
    struct notify_config *c = NULL;
    struct err e = {0};
    if (notify_config_parse(str_of(text), "am.yml", ".", NULL, NULL, &c, &e))
        fail_msg("%s", e.msg);
    return c;
}

static void open_world(struct world *w, const char *text, const char *dir)
{
    struct err e = {0};
    w->f = NEW(struct fake);
    current = w->f;
    w->f->base = (struct notify_transport){
        .send = fake_send, .cancel = fake_cancel, .poll = fake_poll, .wake = fake_wake, .free = fake_free};
    w->f->clock = &w->clock;
    struct notify_options o = {
        .clock = &w->clock.clock, .dir = dir, .transport = &w->f->base, .external_url = STR("http://h:4863")};
    if (notify_open(&o, config(text), &w->n, &e))
        fail_msg("%s", e.msg);
}

/* Let time pass in steps of at most 100 ms, as the loop would. */
static void pass(struct world *w, int64_t ms)
{
    int64_t end = w->clock.ms + ms;
    for (;;) {
        int64_t wait = notify_step(w->n);
        if (w->f->waiting_n) {
            fake_poll(&w->f->base, 0);
            continue;
        }
        if (w->clock.ms >= end)
            break;
        int64_t step = MIN(end - w->clock.ms, MAX(wait, 1));
        clock_fake_advance(&w->clock, step);
    }
}

static void put(struct world *w, const char *labels, int64_t starts, int64_t ends, bool resolved)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct labels l;
    struct err e = {0};
    if (labels_parse(str_of(labels), a, &l, &e))
        fail_msg("%s", e.msg);
    struct alert x = {.labels = l, .starts_ms = starts, .ends_ms = ends, .resolved = resolved, .value = 1};
    struct alert_sink *s = notify_alert_sink(w->n);
    assert_int_equal(s->put(s, &x, 1), 0);
}

#define T0 INT64_C(1767323045000)
static const char basic[] =
    "route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s, repeat_interval: 1m}\n"
    "receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]\n";

static void groups_and_repeats(void **state)
{
    (void)state;
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w, basic, NULL);
    put(&w, "{alertname=\"A\", i=\"1\"}", T0, T0 + 3600000, false);
    put(&w, "{alertname=\"A\", i=\"2\"}", T0, T0 + 3600000, false);
    put(&w, "{alertname=\"B\"}", T0, T0 + 3600000, false);
    pass(&w, 900);
    assert_int_equal(w.f->n, 0);
    pass(&w, 200);
    assert_int_equal(w.f->n, 2); /* two groups, one message each */
    assert_int_equal(w.f->sent[0].t_ms, T0 + 1000);
    const char *a = strstr(w.f->sent[0].body, "\"i\":\"1\"") ? w.f->sent[0].body : w.f->sent[1].body;
    assert_non_null(strstr(a, "\"i\":\"2\""));
    assert_non_null(strstr(a, "\"version\":\"4\""));
    assert_non_null(strstr(a, "\"groupKey\":\"{}:{alertname=\\\"A\\\"}\""));
    assert_non_null(strstr(a, "\"status\":\"firing\""));
    assert_non_null(strstr(a, "\"endsAt\":\"0001-01-01T00:00:00Z\""));
    pass(&w, 50000);
    assert_int_equal(w.f->n, 2); /* nothing changed, not yet time to repeat */
    pass(&w, 15000);
    assert_int_equal(w.f->n, 4); /* repeated once */
    put(&w, "{alertname=\"A\", i=\"3\"}", w.clock.ms, w.clock.ms + 3600000, false);
    pass(&w, 10100);
    assert_int_equal(w.f->n, 5); /* the group changed: at its next interval */
    assert_non_null(strstr(w.f->sent[4].body, "\"i\":\"3\""));
    put(&w, "{alertname=\"B\"}", T0, w.clock.ms, true);
    pass(&w, 10100);
    assert_int_equal(w.f->n, 6);
    assert_non_null(strstr(w.f->sent[5].body, "\"status\":\"resolved\""));
    struct notify_group_view *g;
    size_t n;
    _cleanup_arena_ struct arena *arena = arena_new(0);
    notify_groups(w.n, arena, &g, &n);
    assert_int_equal(n, 1); /* B's group is gone */
    notify_close(w.n);
}

static void resolves_when_not_heard_of(void **state)
{
    (void)state;
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w, basic, NULL);
    put(&w, "{alertname=\"A\"}", 0, 0, false); /* no end: global resolve_timeout, 5m */
    pass(&w, 4 * 60000);
    size_t before = w.f->n;
    assert_non_null(strstr(w.f->sent[before - 1].body, "\"firing\""));
    pass(&w, 90000);
    assert_non_null(strstr(w.f->sent[w.f->n - 1].body, "\"status\":\"resolved\""));
    notify_close(w.n);
}

static void retries_until_it_worked(void **state)
{
    (void)state;
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w, basic, NULL);
    w.f->fail = 3;
    put(&w, "{alertname=\"A\"}", T0, T0 + 3600000, false);
    pass(&w, 8000);
    assert_int_equal(w.f->n, 4);
    assert_string_equal(w.f->sent[0].key, w.f->sent[3].key); /* the same message */
    w.f->fail = 1;
    w.f->status = 400; /* refused for good: the next flush tries anew */
    put(&w, "{alertname=\"A\", i=\"2\"}", w.clock.ms, w.clock.ms + 3600000, false);
    size_t before = w.f->n;
    pass(&w, 10500);
    assert_int_equal(w.f->n, before + 1);
    pass(&w, 10000);
    assert_int_equal(w.f->n, before + 2);
    notify_close(w.n);
}

static void a_restart_loses_nothing(void **state)
{
    (void)state;
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/restart", test_dir());
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w, basic, dir);
    put(&w, "{alertname=\"A\"}", T0, T0 + 240000, false);
    pass(&w, 500);
    notify_close(w.n); /* before anybody was told */
    open_world(&w, basic, dir);
    pass(&w, 2000);
    assert_int_equal(w.f->n, 1);
    notify_close(w.n); /* after: not told twice */
    clock_fake_advance(&w.clock, 5000);
    open_world(&w, basic, dir);
    pass(&w, 12000);
    assert_int_equal(w.f->n, 0);
    put(&w, "{alertname=\"A\"}", T0, w.clock.ms, true);
    notify_close(w.n); /* resolved, not told yet */
    open_world(&w, basic, dir);
    pass(&w, 12000);
    assert_int_equal(w.f->n, 1);
    assert_non_null(strstr(w.f->sent[0].body, "\"status\":\"resolved\""));
    pass(&w, 60000);
    assert_int_equal(w.f->n, 1);
    notify_close(w.n);
}

static void silences(void **state)
{
    (void)state;
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/silence", test_dir());
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w, basic, dir);
    struct matcher m[] = {{.op = MATCH_RE, .name = STR("alertname"), .value = STR("A|B")}};
    struct silence s = {.matchers = m,
                        .n_matchers = 1,
                        .starts_ms = T0,
                        .ends_ms = T0 + 30000,
                        .created_by = STR("me"),
                        .comment = STR("work")};
    char id[37];
    struct err e = {0};
    assert_int_equal(notify_silence_set(w.n, &s, STR("me"), id, &e), 0);
    notify_close(w.n);
    open_world(&w, basic, dir); /* it is still there */
    put(&w, "{alertname=\"A\"}", T0, T0 + 3600000, false);
    put(&w, "{alertname=\"C\"}", T0, T0 + 3600000, false);
    pass(&w, 5000);
    assert_int_equal(w.f->n, 1);
    assert_non_null(strstr(w.f->sent[0].body, "\"alertname\":\"C\""));
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct notify_alert_view *v;
    size_t n;
    notify_alerts(w.n, a, &v, &n);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        bool is_a = str_eqz(labels_get(v[i].alert.labels, STR("alertname")), "A");
        assert_int_equal(v[i].state, is_a ? NOTIFY_SUPPRESSED : NOTIFY_ACTIVE);
        assert_int_equal(v[i].n_silenced_by, is_a);
    }
    pass(&w, 40000); /* it ends */
    assert_int_equal(w.f->n, 2);
    assert_int_equal(notify_silence_expire(w.n, STR("nope"), STR("me"), &e), SILENCE_E_NOT_FOUND);
    s.n_matchers = 0;
    e.msg[0] = 0;
    assert_int_equal(notify_silence_set(w.n, &s, STR("me"), id, &e), SILENCE_E_INVALID);
    struct silence *list;
    notify_silences(w.n, a, &list, &n);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].state, SILENCE_EXPIRED);
    notify_close(w.n);
}

static void inhibition(void **state)
{
    (void)state;
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w,
               "route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s}\n"
               "receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]\n"
               "inhibit_rules:\n- null\n- {source_matchers: [severity=\"critical\"], target_matchers: "
               "['severity=~\"warning|critical\"'], equal: [zone]}\n",
               NULL);
    put(&w, "{alertname=\"S\", severity=\"critical\", zone=\"a\"}", T0, T0 + 3600000, false);
    put(&w, "{alertname=\"T\", severity=\"warning\", zone=\"a\"}", T0, T0 + 3600000, false);
    put(&w, "{alertname=\"U\", severity=\"warning\", zone=\"b\"}", T0, T0 + 3600000, false);
    pass(&w, 2000);
    assert_int_equal(w.f->n, 2); /* S (both sides: not by itself) and U */
    for (size_t i = 0; i < w.f->n; i++)
        assert_null(strstr(w.f->sent[i].body, "\"alertname\":\"T\""));
    put(&w, "{alertname=\"S\", severity=\"critical\", zone=\"a\"}", T0, w.clock.ms, true);
    pass(&w, 11000);
    assert_non_null(strstr(w.f->sent[w.f->n - 1].body, "\"alertname\":\"T\"")
                        ? ""
                        : strstr(w.f->sent[w.f->n - 2].body, "\"alertname\":\"T\""));
    notify_close(w.n);
}

static void mail_and_discord(void **state)
{
    (void)state;
    struct world w = {0};
    clock_fake_init(&w.clock, T0);
    open_world(&w,
               "global: {smtp_smarthost: 'localhost:25', smtp_from: 'hune <h@x.org>', smtp_require_tls: false}\n"
               "route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s}\n"
               "receivers:\n- name: r\n  email_configs: [{to: 'a@x.org, B <b@x.org>', headers: {X-Team: '{{ "
               ".CommonLabels.team }}'}}]\n"
               "  discord_configs: [{webhook_url: 'http://d/', title: '{{ template \"discord.default.title\" . }}'}]\n",
               NULL);
    put(&w, "{alertname=\"A\", severity=\"critical\", team=\"x\\r\\nBcc: evil@x.org\"}", T0, T0 + 3600000, false);
    pass(&w, 2000);
    assert_int_equal(w.f->n, 2);
    const char *mail = strstr(w.f->sent[0].body, "MIME-Version") ? w.f->sent[0].body : w.f->sent[1].body;
    const char *embed = mail == w.f->sent[0].body ? w.f->sent[1].body : w.f->sent[0].body;
    assert_null(strstr(mail, "\nBcc:")); /* a label cannot make a header */
    assert_non_null(strstr(mail, "multipart/alternative"));
    assert_non_null(strstr(mail, "To: a@x.org, B <b@x.org>\r\n"));
    assert_non_null(strstr(embed, "\"title\":\"[FIRING:1] A (critical x\\r\\nBcc: evil@x.org)\""));
    assert_non_null(strstr(embed, "\"color\":13840175"));
    put(&w, "{alertname=\"A\", severity=\"critical\", team=\"x\\r\\nBcc: evil@x.org\"}", T0, w.clock.ms, true);
    pass(&w, 15000);
    assert_int_equal(w.f->n, 3); /* mail does not tell resolves by default, discord does */
    notify_close(w.n);
}

static void time_intervals(void **state)
{
    (void)state;
    struct world w = {0};
    clock_fake_init(&w.clock, T0); /* Friday 2026-01-02 03:04:05 UTC */
    open_world(&w,
               "route:\n  receiver: r\n  group_wait: 1s\n  group_interval: 1m\n  routes:\n"
               "  - {receiver: r, matchers: [a=\"1\"], mute_time_intervals: [night]}\n"
               "  - {receiver: r, matchers: [a=\"2\"], active_time_intervals: [paris]}\n"
               "time_intervals:\n- name: night\n  time_intervals: [{times: [{start_time: '00:00', end_time: '03:10'}], "
               "weekdays: ['friday']}]\n"
               "- name: paris\n  time_intervals: [{location: Europe/Paris, times: [{start_time: '04:00', end_time: "
               "'04:06'}], days_of_month: ['-31:-1']}]\n"
               "receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]\n",
               NULL);
    put(&w, "{alertname=\"A\", a=\"1\"}", T0, T0 + 3600000, false);
    put(&w, "{alertname=\"A\", a=\"2\"}", T0, T0 + 3600000, false);
    pass(&w, 5000);
    assert_int_equal(w.f->n, 1);
    assert_non_null(strstr(w.f->sent[0].body, "\"a\":\"2\""));
    pass(&w, 7 * 60000);
    assert_int_equal(w.f->n, 2);
    assert_non_null(strstr(w.f->sent[1].body, "\"a\":\"1\""));
    notify_close(w.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(groups_and_repeats),
                                       cmocka_unit_test(resolves_when_not_heard_of),
                                       cmocka_unit_test(retries_until_it_worked),
                                       cmocka_unit_test(a_restart_loses_nothing),
                                       cmocka_unit_test(silences),
                                       cmocka_unit_test(inhibition),
                                       cmocka_unit_test(mail_and_discord),
                                       cmocka_unit_test(time_intervals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
