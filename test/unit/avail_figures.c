// SPDX-License-Identifier: Apache-2.0
/* Figures worked out by hand, over a journal that is an array. */
#include "test.h"

#include "avail/avail.h"
#include "base/mem.h"

#define T0 1763848800000LL
#define MIN_MS 60000LL

static struct event log_[64];
static size_t n_log;
static struct arena *mem;

static int list(struct journal *j, const struct event_filter *f, struct arena *a, struct event **ret, size_t *ret_n)
{
    (void)j;
    *ret = ARENA_ARRAY(a, struct event, n_log + 1);
    *ret_n = 0;
    for (size_t i = 0; i < n_log; i++)
        if (log_[i].seq > f->after_seq)
            (*ret)[(*ret_n)++] = log_[i];
    return 0;
}

static struct journal journal = {.list = list};

static void sheet(int64_t at, const char *id, const char *service, const char *sev, const char *loss, int64_t start,
                  int64_t detect, int64_t ack, int64_t end)
{
    log_[n_log] = (struct event){
        .seq = n_log + 1,
        .t_ms = T0 + at * MIN_MS,
        .kind = end ? STR("anomaly.resolved") : STR("anomaly.opened"),
        .subject = str_of(id),
        .payload = arena_fmt(mem,
                             "{\"title\":\"t\",\"service\":\"%s\",\"severity\":\"%s\",\"loss\":\"%s\",\"detection\":"
                             "\"automatic\",\"alert\":"
                             "\"\",\"started_ms\":%lld,\"detected_ms\":%lld,\"acknowledged_ms\":%lld,\"stabilised_ms\":"
                             "%lld,\"resolved_ms\":"
                             "%lld}",
                             service, sev, loss, (long long)(T0 + start * MIN_MS), (long long)(T0 + detect * MIN_MS),
                             (long long)(ack ? T0 + ack * MIN_MS : 0), (long long)(end ? T0 + end * MIN_MS : 0),
                             (long long)(end ? T0 + (end + 10) * MIN_MS : 0))};
    n_log++;
}

static void alert(int64_t at, const char *fp, const char *service, bool firing)
{
    log_[n_log] = (struct event){.seq = n_log + 1,
                                 .t_ms = T0 + at * MIN_MS,
                                 .kind = firing ? STR("alert.firing") : STR("alert.resolved"),
                                 .severity = SEV_CRITICAL,
                                 .subject = str_of(fp),
                                 .service = str_of(service),
                                 .summary = STR("X is firing")};
    n_log++;
}

static void by_hand(void **state)
{
    (void)state;
    mem = arena_new(0);
    n_log = 0;
    struct clock_fake clk;
    clock_fake_init(&clk, T0 + 1000 * MIN_MS);
    struct avail *a = avail_new(&journal, &clk.clock);
    struct avail_report r;

    assert_int_equal(avail_report(a, STR(""), 0, 0, mem, &r), 0); /* an empty journal */
    assert_int_equal(r.period_ms, 0);
    assert_true(r.uptime_ratio == 1 && r.mtbf_at_least);

    log_[n_log++] = (struct event){.seq = 1, .t_ms = T0, .kind = STR("server.started")};
    assert_int_equal(avail_report(a, STR("api"), 0, 0, mem, &r), 0);
    assert_int_equal(r.period_ms, 1000 * MIN_MS); /* not 30 days: hune was not there */
    assert_true(r.uptime_ratio == 1 && r.mtbf_at_least && r.mtbf_ms == 1000 * MIN_MS);
    assert_int_equal(r.mttr.n, 0);

    sheet(102, "ANO-1", "api", "critical", "", 100, 102, 0, 0);
    sheet(120, "ANO-1", "api", "critical", "", 100, 102, 105, 120);     /* 20 min down */
    sheet(112, "ANO-2", "api", "warning", "partial", 110, 111, 0, 130); /* overlaps: union 100..130 */
    sheet(200, "ANO-3", "api", "critical", "none", 200, 201, 0, 300);   /* said to have harmed nobody */
    sheet(250, "ANO-4", "api", "warning", "", 250, 251, 0, 260);        /* a warning alone is no downtime */
    sheet(400, "ANO-5", "web", "critical", "total", 400, 404, 0, 500);  /* another service */
    alert(600, "f1", "db", true);
    alert(610, "f1", "db", false); /* no sheet has it */
    assert_int_equal(avail_report(a, STR("api"), 0, 0, mem, &r), 0);
    assert_int_equal(r.n_incidents, 2);
    assert_int_equal(r.n_anomalies, 4);
    assert_int_equal(r.n_resolved, 4);
    assert_int_equal(r.n_down, 1);
    assert_int_equal(r.downtime_ms, 30 * MIN_MS);
    assert_true(r.uptime_ratio > 0.96999 && r.uptime_ratio < 0.97001);
    assert_int_equal(r.mttd.mean_ms, 3 * MIN_MS / 2); /* 2 and 1 */
    assert_int_equal(r.mtta.n, 1);
    assert_int_equal(r.mtta.mean_ms, 3 * MIN_MS);
    assert_int_equal(r.mttr.mean_ms, 20 * MIN_MS);
    assert_int_equal(r.mtbf_ms, 970 * MIN_MS / 2);
    assert_false(r.mtbf_at_least);
    /* availability = MTBF / (MTBF + MTTR) in the uptime convention, where nothing overlaps (card 11) */
    assert_int_equal(avail_report(a, STR("web"), 0, 0, mem, &r), 0);
    double mtbf = (double)r.mtbf_ms, mttr = (double)r.mttr.mean_ms;
    assert_true(r.uptime_ratio - mtbf / (mtbf + mttr) < 1e-9 && mtbf / (mtbf + mttr) - r.uptime_ratio < 1e-9);
    assert_int_equal(avail_report(a, STR("db"), 0, 0, mem, &r), 0);
    assert_int_equal(r.downtime_ms, 10 * MIN_MS);
    /* The period cuts an incident: its time is clipped, its duration is not. */
    assert_int_equal(avail_report(a, STR("web"), T0 + 450 * MIN_MS, T0 + 550 * MIN_MS, mem, &r), 0);
    assert_int_equal(r.downtime_ms, 50 * MIN_MS);
    assert_int_equal(r.mttr.mean_ms, 100 * MIN_MS);
    assert_int_equal(avail_report(a, STR(""), 0, 0, mem, &r), 0);
    assert_int_equal(r.n_incidents, 4);
    assert_int_equal(avail_report(a, STR(""), T0 + 5000 * MIN_MS, 0, mem, &r), -EINVAL);
    struct str *names;
    size_t n;
    assert_int_equal(avail_services(a, mem, &names, &n), 0);
    assert_int_equal(n, 3);
    assert_str(names[0], "api");
    /* Ongoing: counts until now. An alert that a sheet follows counts once. */
    alert(900, "f2", "api", true);
    sheet(900, "ANO-6", "api", "critical", "", 899, 900, 0, 0);
    assert_int_equal(avail_report(a, STR("api"), T0 + 800 * MIN_MS, 0, mem, &r), 0);
    assert_int_equal(r.n_incidents, 1);
    assert_true(r.incidents[0].ongoing);
    assert_int_equal(r.downtime_ms, 101 * MIN_MS);
    assert_int_equal(r.mttr.n, 0);

    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    struct jw w;
    jw_init(&w, &b);
    avail_json(&w, &r, NULL);
    const struct json *o;
    struct err e = {0};
    assert_int_equal(json_parse(buf_view(&b), mem, &o, &e), 0);
    assert_int_equal(json_get(o, "mttr_ms")->kind, JSON_NULL);
    assert_int_equal(json_get(o, "list")->n, 1);
    avail_free(a);
    arena_free(mem);
}

/* Unions against minutes counted one by one. */
static void random_unions(void **state)
{
    (void)state;
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    for (unsigned round = 0; round < test_rounds(200); round++) {
        mem = arena_new(0);
        n_log = 0;
        struct clock_fake clk;
        clock_fake_init(&clk, T0 + 1000 * MIN_MS);
        log_[n_log++] = (struct event){.seq = 1, .t_ms = T0, .kind = STR("server.started")};
        bool down[1000] = {false};
        uint64_t from = rand_below(&rnd, 900), to = from + 1 + rand_below(&rnd, 100);
        size_t n = rand_below(&rnd, 12), want_n = 0;
        for (size_t i = 0; i < n; i++) {
            uint64_t s = rand_below(&rnd, 980), e = s + 1 + rand_below(&rnd, MIN(200, 999 - s));
            sheet((int64_t)s, arena_strz(mem, arena_fmt(mem, "ANO-%zu", i)), "api", "critical", "", (int64_t)s,
                  (int64_t)s, 0, (int64_t)e);
            for (uint64_t k = s; k < e; k++)
                down[k] = true;
            want_n += s < to && e >= from;
        }
        int64_t want = 0;
        for (uint64_t k = from; k < to; k++)
            want += down[k];
        struct avail *a = avail_new(&journal, &clk.clock);
        struct avail_report r;
        assert_int_equal(avail_report(a, STR("api"), T0 + (int64_t)from * MIN_MS, T0 + (int64_t)to * MIN_MS, mem, &r),
                         0);
        assert_int_equal(r.downtime_ms, want * MIN_MS);
        assert_int_equal(r.n_incidents, want_n);
        avail_free(a);
        arena_free(mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(random_unions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
