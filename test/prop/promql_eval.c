// SPDX-License-Identifier: Apache-2.0
/* Random series against loops that anyone can check; random expressions against their own print. */
#include "test.h"

#include "base/mem.h"
#include "memsource.h"
#include "promql/promql.h"
#include <math.h>

#define SERIES 6
#define SAMPLES 60

struct data {
    int64_t t[SERIES][SAMPLES];
    double v[SERIES][SAMPLES];
    size_t n[SERIES];
};

static void fill(struct data *d, struct memsource *m, struct rand_state *r)
{
    for (size_t s = 0; s < SERIES; s++) {
        int64_t t = (int64_t)rand_below(r, 20000);
        double v = 0;
        d->n[s] = 0;
        for (size_t i = 0; i < SAMPLES; i++) {
            v = rand_below(r, 10) == 0 ? 0 : v + (double)rand_below(r, 50);
            double put = rand_below(r, 25) == 0 ? stale_nan() : v;
            char name[64];
            snprintf(name, sizeof(name), "m_total{g=\"%zu\",s=\"%zu\"}", s % 2, s);
            memsource_addz(m, name, t, put);
            d->t[s][d->n[s]] = t;
            d->v[s][d->n[s]++] = put;
            t += 1 + (int64_t)rand_below(r, 30000);
        }
    }
}

/* The value an instant selector shows, or the marker. */
static double at(const struct data *d, size_t s, int64_t t)
{
    double v = stale_nan();
    for (size_t i = 0; i < d->n[s]; i++)
        if (d->t[s][i] <= t && d->t[s][i] > t - 300000)
            v = d->v[s][i];
    return v;
}

/* rate() of Prometheus, written down once more, step by step. */
static double rate_at(const struct data *d, size_t s, int64_t t, int64_t range)
{
    int64_t first = 0, last = 0;
    double a = 0, prev = 0, sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < d->n[s]; i++) {
        if (d->t[s][i] <= t - range || d->t[s][i] > t || is_stale(d->v[s][i]))
            continue;
        if (n == 0) {
            first = d->t[s][i];
            a = d->v[s][i];
        } else {
            sum += d->v[s][i] < prev ? d->v[s][i] : d->v[s][i] - prev;
        }
        prev = d->v[s][i];
        last = d->t[s][i];
        n++;
    }
    if (n < 2)
        return stale_nan();
    double sampled = (double)(last - first) / 1000, average = sampled / (double)(n - 1);
    double left = (double)(first - (t - range)) / 1000, right = (double)(t - last) / 1000;
    if (left >= average * 1.1)
        left = average / 2;
    if (sum > 0 && a >= 0 && sampled * (a / sum) < left)
        left = sampled * (a / sum);
    if (right >= average * 1.1)
        right = average / 2;
    return sum * ((sampled + left + right) / sampled) / ((double)range / 1000);
}

/* sum, average, largest, smallest, changes, resets */
static double over_time(const struct data *d, size_t s, int64_t t, int64_t range, unsigned what)
{
    double sum = 0, hi = -INFINITY, lo = INFINITY, prev = 0;
    size_t n = 0, changes = 0, resets = 0;
    for (size_t i = 0; i < d->n[s]; i++) {
        double v = d->v[s][i];
        if (d->t[s][i] <= t - range || d->t[s][i] > t || is_stale(v))
            continue;
        changes += n > 0 && v != prev;
        resets += n > 0 && v < prev;
        prev = v;
        sum += v;
        hi = fmax(hi, v);
        lo = fmin(lo, v);
        n++;
    }
    double all[] = {sum, sum / (double)n, hi, lo, (double)changes, (double)resets};
    return n ? all[what] : stale_nan();
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b)) + 1e-12;
}

static double point(const struct query_result *r, const char *label, const char *value, int64_t t)
{
    for (size_t i = 0; i < r->n_series; i++) {
        if (label && !str_eqz(labels_get(r->series[i].labels, str_of(label)), value))
            continue;
        for (size_t k = 0; k < r->series[i].n; k++)
            if (r->series[i].t[k] == t)
                return r->series[i].v[k];
    }
    return stale_nan();
}

static void same(double got, double want, const char *what, int64_t t)
{
    if (is_stale(got) != is_stale(want) || (!is_stale(got) && !near(got, want)))
        fail_msg("%s at %lld: got %.17g, want %.17g", what, (long long)t, got, want);
}

static void ask(struct promql_engine *e, const char *expr, struct query_request req, struct arena *a,
                struct query_result *r)
{
    struct err err = {0};
    req.expr = str_of(expr);
    if (query_eval(promql_engine_query(e), &req, a, r, &err) != 0)
        fail_msg("%s: %s", expr, err.msg);
}

static void against_loops(void **state)
{
    (void)state;
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    for (unsigned round = 0; round < test_rounds(40); round++) {
        struct memsource *m = memsource_new();
        struct data d;
        fill(&d, m, &rnd);
        struct promql_engine *e = promql_engine_new(memsource_source(m), NULL);
        struct query_request req = {.start_ms = (int64_t)rand_below(&rnd, 300000),
                                    .step_ms = 1 + (int64_t)rand_below(&rnd, 60000)};
        req.end_ms = req.start_ms + req.step_ms * (int64_t)rand_below(&rnd, 40);
        struct arena *a = arena_new(0);
        struct query_result r;
        char id[8];
        ask(e, "m_total", req, a, &r);
        for (int64_t t = req.start_ms; t <= req.end_ms; t += req.step_ms)
            for (size_t s = 0; s < SERIES; s++) {
                snprintf(id, sizeof(id), "%zu", s);
                same(point(&r, "s", id, t), at(&d, s, t), "selector", t);
            }
        ask(e, "rate(m_total[2m])", req, a, &r);
        for (int64_t t = req.start_ms; t <= req.end_ms; t += req.step_ms)
            for (size_t s = 0; s < SERIES; s++) {
                snprintf(id, sizeof(id), "%zu", s);
                same(point(&r, "s", id, t), rate_at(&d, s, t, 120000), "rate", t);
            }
        ask(e, "sum by (g) (m_total) - 3", req, a, &r);
        for (int64_t t = req.start_ms; t <= req.end_ms; t += req.step_ms)
            for (size_t g = 0; g < 2; g++) {
                double sum = stale_nan();
                for (size_t s = g; s < SERIES; s += 2)
                    if (!is_stale(at(&d, s, t)))
                        sum = (is_stale(sum) ? 0 : sum) + at(&d, s, t);
                snprintf(id, sizeof(id), "%zu", g);
                same(point(&r, "g", id, t), is_stale(sum) ? sum : sum - 3, "sum", t);
            }
        ask(e, "max_over_time(m_total{s=\"1\"}[1m]) - ignoring (s) min_over_time(m_total{s=\"1\"}[1m])", req, a, &r);
        for (int64_t t = req.start_ms; t <= req.end_ms; t += req.step_ms) {
            double lo = INFINITY, hi = -INFINITY;
            for (size_t i = 0; i < d.n[1]; i++)
                if (d.t[1][i] > t - 60000 && d.t[1][i] <= t && !is_stale(d.v[1][i])) {
                    lo = fmin(lo, d.v[1][i]);
                    hi = fmax(hi, d.v[1][i]);
                }
            same(point(&r, NULL, NULL, t), isinf(lo) ? stale_nan() : hi - lo, "max - min", t);
        }
        for (unsigned k = 0; k < 6; k++) {
            static const char *const fns[] = {"sum", "avg", "max", "min", "changes", "resets"};
            char expr[64];
            snprintf(expr, sizeof(expr), k < 4 ? "%s_over_time(m_total[8m])" : "%s(m_total[8m])", fns[k]);
            ask(e, expr, req, a, &r);
            for (int64_t t = req.start_ms; t <= req.end_ms; t += req.step_ms)
                for (size_t s = 0; s < SERIES; s++) {
                    snprintf(id, sizeof(id), "%zu", s);
                    same(point(&r, "s", id, t), over_time(&d, s, t, 480000, k), expr, t);
                }
        }
        /* an instant query is a range query of one step */
        ask(e, "topk by (g) (2, irate(m_total[3m])) or m_total offset 1m", req, a, &r);
        for (int64_t t = req.start_ms; t <= req.end_ms; t += req.step_ms) {
            struct query_result one;
            ask(e, "topk by (g) (2, irate(m_total[3m])) or m_total offset 1m",
                (struct query_request){.start_ms = t, .end_ms = t}, a, &one);
            size_t points = 0;
            for (size_t i = 0; i < r.n_series; i++)
                for (size_t k = 0; k < r.series[i].n; k++)
                    points += r.series[i].t[k] == t;
            assert_int_equal(points, one.n_series);
        }
        promql_engine_free(e);
        memsource_free(m);
        arena_free(a);
    }
}

/* ---- Random expressions ------------------------------------------------------------ */

static void scalar(struct buf *b, struct rand_state *r, unsigned depth);

static void selector(struct buf *b, struct rand_state *r)
{
    static const char *const all[] = {"m", "m{a=\"b\"}", "{\"x.y\",c!~\"d+\"}", "sum", "start{z!=\"\\n\"}", "a:b"};
    buf_z(b, all[rand_below(r, 6)]);
}

static void when(struct buf *b, struct rand_state *r)
{
    static const char *const all[] = {
        "", "", "", " offset 5m", " offset -1h30m", " @ 12.5", " @ end() offset 3s", " offset -(step() + 2)"};
    buf_z(b, all[rand_below(r, 8)]);
}

static void vector(struct buf *b, struct rand_state *r, unsigned depth)
{
    static const char *const ops[] = {"+",
                                      "-",
                                      "*",
                                      "/",
                                      "%",
                                      "^",
                                      "atan2",
                                      "==",
                                      "> bool",
                                      "and",
                                      "or",
                                      "unless",
                                      "* on (a) group_left (b)",
                                      "+ ignoring (c)",
                                      "- fill (0)",
                                      "</"};
    static const char *const aggs[] = {"sum", "avg by (a)", "max without ()", "count by (\"x.y\", b)"};
    static const char *const ranges[] = {"rate", "sum_over_time", "deriv", "last_over_time"};
    if (depth == 0) {
        selector(b, r);
        when(b, r);
        return;
    }
    switch (rand_below(r, 8)) {
    case 0:
        vector(b, r, depth - 1);
        buf_fmt(b, " %s ", ops[rand_below(r, 16)]);
        vector(b, r, depth - 1);
        break;
    case 1:
        buf_fmt(b, "%s (", aggs[rand_below(r, 4)]);
        vector(b, r, depth - 1);
        buf_putc(b, ')');
        break;
    case 2:
        buf_fmt(b, "%s(", ranges[rand_below(r, 4)]);
        selector(b, r);
        buf_z(b, "[5m]");
        when(b, r);
        buf_putc(b, ')');
        break;
    case 3:
        buf_fmt(b, "%s((", ranges[rand_below(r, 4)]);
        vector(b, r, depth - 1);
        buf_z(b, ")[1h:2m]");
        when(b, r);
        buf_putc(b, ')');
        break;
    case 4:
        buf_putc(b, '-');
        vector(b, r, depth - 1);
        break;
    case 5:
        buf_putc(b, '(');
        vector(b, r, depth - 1);
        buf_putc(b, ')');
        break;
    case 6:
        buf_z(b, "clamp(");
        vector(b, r, depth - 1);
        buf_z(b, ", ");
        scalar(b, r, depth - 1);
        buf_z(b, ", ");
        scalar(b, r, depth - 1);
        buf_putc(b, ')');
        break;
    default:
        buf_z(b, "topk(");
        scalar(b, r, depth - 1);
        buf_z(b, ", ");
        vector(b, r, depth - 1);
        buf_putc(b, ')');
        break;
    }
}

static void scalar(struct buf *b, struct rand_state *r, unsigned depth)
{
    static const char *const leaves[] = {"1", "-2.5e-7", "Inf", "5m", "0x1f", "time()", "1e300", "NaN"};
    if (depth == 0 || rand_below(r, 2)) {
        buf_z(b, leaves[rand_below(r, 8)]);
        return;
    }
    buf_z(b, "(");
    scalar(b, r, depth - 1);
    buf_fmt(b, " %s ", rand_below(r, 2) ? "^" : "-");
    scalar(b, r, depth - 1);
    buf_z(b, ")");
}

static void round_trip(void **state)
{
    (void)state;
    struct rand_state rnd;
    rand_seed(&rnd, test_seed() + 1);
    unsigned parsed = 0, rounds = test_rounds(3000);
    struct memsource *m = memsource_new();
    for (int64_t i = 0; i < 40; i++) {
        memsource_addz(m, "m{a=\"b\"}", i * 15000, (double)i);
        memsource_addz(m, "m{a=\"c\"}", i * 15000, (double)(40 - i));
        memsource_addz(m, "sum", i * 15000, 7);
    }
    struct promql_engine *e = promql_engine_new(memsource_source(m), NULL);
    for (unsigned i = 0; i < rounds; i++) {
        struct buf text = BUF_INIT(1 << 20), once = BUF_INIT(1 << 20), twice = BUF_INIT(1 << 20),
                   pretty = BUF_INIT(1 << 20);
        vector(&text, &rnd, 1 + (unsigned)rand_below(&rnd, 4));
        struct promql *q, *q2;
        struct err err = {0};
        if (promql_parse(buf_view(&text), &q, &err) == 0) {
            parsed++;
            promql_print(&once, q);
            if (promql_parse(buf_view(&once), &q2, &err) != 0)
                fail_msg("%s prints as %s: %s", buf_cstr(&text), buf_cstr(&once), err.msg);
            promql_print(&twice, q2);
            if (!str_eq(buf_view(&once), buf_view(&twice)))
                fail_msg("%s prints as %s and then as %s", buf_cstr(&text), buf_cstr(&once), buf_cstr(&twice));
            promql_free(q2);
            /* the pretty form is the same expression */
            promql_format(&pretty, q);
            if (promql_parse(buf_view(&pretty), &q2, &err) != 0)
                fail_msg("%s is formatted as %s: %s", buf_cstr(&text), buf_cstr(&pretty), err.msg);
            buf_reset(&twice);
            promql_print(&twice, q2);
            assert_true(str_eq(buf_view(&once), buf_view(&twice)));
            promql_free(q2);
            promql_free(q);
            /* and it runs, or says why not */
            struct arena *a = arena_new(0);
            struct query_result res;
            struct query_request req = {
                .expr = buf_view(&text), .start_ms = 200000, .end_ms = 400000, .step_ms = 50000};
            int r = query_eval(promql_engine_query(e), &req, a, &res, &err);
            assert_true(r == 0 || (r > 0 && err.msg[0]));
            arena_free(a);
        }
        buf_done(&text);
        buf_done(&once);
        buf_done(&twice);
        buf_done(&pretty);
    }
    promql_engine_free(e);
    memsource_free(m);
    assert_true(parsed > rounds / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_loops), cmocka_unit_test(round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
