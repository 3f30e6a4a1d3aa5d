// SPDX-License-Identifier: Apache-2.0
/* The engine as others hold it: kinds of answers, limits, cancelling, errors. */
#include "test.h"

#include "base/mem.h"
#include "memsource.h"
#include "promql/promql.h"
#include <math.h>

struct fixture {
    struct memsource *m;
    struct clock_fake clock;
    struct promql_engine *e;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    f->m = memsource_new();
    for (int64_t i = 0; i <= 60; i++) {
        memsource_addz(f->m, "up{job=\"a\"}", i * 15000, 1);
        memsource_addz(f->m, "up{job=\"b\"}", i * 15000, 0);
        memsource_addz(f->m, "hits_total{job=\"a\"}", i * 15000, (double)i * 30);
    }
    clock_fake_init(&f->clock, 900000);
    f->e = promql_engine_new(memsource_source(f->m), &(struct promql_options){.clock = &f->clock.clock});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    promql_engine_free(f->e);
    memsource_free(f->m);
    free(f);
    return 0;
}

static int ask(struct fixture *f, struct query_request req, struct arena *a, struct query_result *r, struct err *e)
{
    return query_eval(promql_engine_query(f->e), &req, a, r, e);
}

static void kinds(void **state)
{
    struct arena *a = arena_new(0);
    struct query_result r;
    struct err e = {0};
    assert_int_equal(
        ask(*state, (struct query_request){.expr = STR("1 + 1"), .start_ms = 5000, .end_ms = 5000}, a, &r, &e), 0);
    assert_int_equal(r.kind, QUERY_SCALAR);
    assert_true(r.scalar == 2 && r.t == 5000);
    assert_int_equal(ask(*state, (struct query_request){.expr = STR("\"x\"")}, a, &r, &e), 0);
    assert_int_equal(r.kind, QUERY_STRING);
    assert_str(r.string, "x");
    assert_int_equal(
        ask(*state, (struct query_request){.expr = STR("up"), .start_ms = 60000, .end_ms = 60000}, a, &r, &e), 0);
    assert_int_equal(r.kind, QUERY_VECTOR);
    assert_int_equal(r.n_series, 2);
    assert_int_equal(r.series[0].n, 1);
    assert_int_equal(
        ask(*state, (struct query_request){.expr = STR("up[1m]"), .start_ms = 60000, .end_ms = 60000}, a, &r, &e), 0);
    assert_int_equal(r.kind, QUERY_MATRIX);
    assert_int_equal(r.series[0].n, 4);
    assert_int_equal(
        ask(*state,
            (struct query_request){
                .expr = STR("rate(hits_total[1m])"), .start_ms = 60000, .end_ms = 300000, .step_ms = 60000},
            a, &r, &e),
        0);
    assert_int_equal(r.kind, QUERY_MATRIX);
    assert_int_equal(r.n_series, 1);
    assert_int_equal(r.series[0].n, 5);
    assert_int_equal(r.series[0].t[4], 300000);
    assert_true(fabs(r.series[0].v[4] - 2) < 1e-9);
    assert_str(r.series[0].labels.v[0].value, "a");
    assert_true(r.samples_read > 0);
    arena_free(a);
}

static void most_series(void **state)
{
    struct arena *a = arena_new(0);
    struct query_result r;
    assert_int_equal(ask(*state,
                         (struct query_request){.expr = STR("up"), .start_ms = 60000, .end_ms = 60000, .limit = 1}, a,
                         &r, NULL),
                     0);
    assert_int_equal(r.n_series, 1);
    arena_free(a);
}

static void errors(void **state)
{
    struct arena *a = arena_new(0);
    struct query_result r;
    struct err e = {0};
    assert_int_equal(ask(*state, (struct query_request){.expr = STR("up +")}, a, &r, &e), QUERY_E_PARSE);
    assert_string_equal(e.msg, "1:5: parse error: unexpected end of input");
    err_clear(&e);
    assert_int_equal(ask(*state, (struct query_request){.expr = STR("up / on () up"), .start_ms = 60000}, a, &r, &e),
                     QUERY_E_EXEC);
    assert_true(str_starts(str_of(e.msg), STR("found duplicate series for the match group {}")));
    err_clear(&e);
    assert_int_equal(
        ask(*state, (struct query_request){.expr = STR("up[5m]"), .end_ms = 60000, .step_ms = 15000}, a, &r, &e),
        QUERY_E_PARSE);
    assert_string_equal(e.msg,
                        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector");
    arena_free(a);
}

static void canceled(void **state)
{
    struct arena *a = arena_new(0);
    struct query_result r;
    _Atomic bool stop = true;
    assert_int_equal(
        ask(*state, (struct query_request){.expr = STR("up"), .start_ms = 60000, .cancel = &stop}, a, &r, NULL),
        QUERY_E_CANCELED);
    arena_free(a);
}

static uint64_t hurry(const struct clock *c)
{
    static uint64_t now;
    (void)c;
    return now += 1000000000;
}

static void too_late(void **state)
{
    struct fixture *f = *state;
    f->clock.clock.mono_ns = hurry; /* every look at the clock takes a second */
    struct arena *a = arena_new(0);
    struct query_result r;
    assert_int_equal(
        ask(f, (struct query_request){.expr = STR("up"), .start_ms = 60000, .timeout_ms = 1500}, a, &r, NULL),
        QUERY_E_TIMEOUT);
    arena_free(a);
}

static void too_many_samples(void **state)
{
    struct fixture *f = *state;
    struct promql_engine *e = promql_engine_new(memsource_source(f->m),
                                                &(struct promql_options){.clock = &f->clock.clock, .max_samples = 20});
    struct arena *a = arena_new(0);
    struct query_result r;
    struct err err = {0};
    struct query_request req = {.expr = STR("up"), .start_ms = 0, .end_ms = 900000, .step_ms = 15000};
    assert_int_equal(query_eval(promql_engine_query(e), &req, a, &r, &err), QUERY_E_BUDGET);
    assert_string_equal(err.msg, "query processing would load too many samples into memory in query execution");
    req = (struct query_request){.expr = STR("up"), .start_ms = 60000, .end_ms = 60000};
    assert_int_equal(query_eval(promql_engine_query(e), &req, a, &r, &err), 0);
    promql_engine_free(e);
    arena_free(a);
}

static void too_much_memory(void **state)
{
    struct fixture *f = *state;
    struct promql_engine *e = promql_engine_new(
        memsource_source(f->m), &(struct promql_options){.clock = &f->clock.clock, .max_bytes = 1 << 16});
    struct arena *a = arena_new(0);
    struct query_result r;
    struct query_request req = {.expr = STR("up"), .start_ms = 0, .end_ms = 900000, .step_ms = 1};
    assert_int_equal(query_eval(promql_engine_query(e), &req, a, &r, NULL), QUERY_E_BUDGET);
    promql_engine_free(e);
    /* the caller's arena is bounded too */
    struct arena *small = arena_new(64 << 10);
    assert_int_equal(
        ask(f, (struct query_request){.expr = STR("up"), .end_ms = 900000, .step_ms = 100}, small, &r, NULL),
        QUERY_E_BUDGET);
    arena_free(small);
    arena_free(a);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {T(kinds),    T(most_series),      T(errors),         T(canceled),
                                       T(too_late), T(too_many_samples), T(too_much_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
