// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A store, an engine and rules under one fake clock, and a journal that remembers kinds. */
#include "test.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "promql/promql.h"
#include "rules/rules.h"
#include "tsdb/tsdb.h"

#define SIM_T0 INT64_C(1767600000000) /* 2026-01-05 08:00 UTC, a Monday */

struct sim_event {
    char kind[32], subject[24];
    enum severity severity;
    int64_t t_ms;
};

struct sim {
    struct clock_fake clock;
    struct tsdb *db;
    struct promql_engine *engine;
    struct rules *rules;
    struct journal journal;
    struct sim_event *events;
    size_t n_events, cap_events;
    struct alert_sink *sinks[1];
    size_t n_sinks;
};

static int sim_append(struct journal *j, struct event *e)
{
    struct sim *s = CONTAINER_OF(j, struct sim, journal);
    if (s->n_events == s->cap_events) {
        s->cap_events = s->cap_events ? s->cap_events * 2 : 64;
        s->events = xrealloc(s->events, s->cap_events * sizeof(*s->events));
    }
    struct sim_event *x = &s->events[s->n_events++];
    snprintf(x->kind, sizeof(x->kind), STR_FMT, STR_ARG(e->kind));
    snprintf(x->subject, sizeof(x->subject), STR_FMT, STR_ARG(e->subject));
    x->severity = e->severity;
    x->t_ms = e->t_ms;
    return 0;
}

static void sim_post(struct journal *j, const struct event *e)
{
    struct event copy = *e;
    sim_append(j, &copy);
}

static int sim_check_expr(struct str expr, struct err *e)
{
    struct promql *p = NULL;
    int r = promql_parse(expr, &p, e);
    if (!r)
        promql_free(p);
    return r;
}

static void sim_open(struct sim *s, const char *dir)
{
    struct err e = {0};
    clock_fake_init(&s->clock, SIM_T0);
    struct tsdb_options o = tsdb_options_default(dir);
    o.clock = &s->clock.clock;
    o.no_threads = true;
    o.sync = TSDB_SYNC_OFF;
    if (tsdb_open(&o, &s->db, &e))
        fail_msg("tsdb: %s", e.msg);
    struct promql_options po = {.clock = &s->clock.clock};
    s->engine = promql_engine_new(tsdb_source(s->db), &po);
    s->journal = (struct journal){.append = sim_append, .post = sim_post};
}

static struct rules_config *sim_config(const char *text)
{
    struct rules_file f = {.path = "r.yml", .text = str_of(text)};
    struct rules_load l = {.files = &f, .n_files = 1, .default_interval_ms = 15000, .check_expr = sim_check_expr};
    struct rules_config *c = NULL;
    struct err e = {0};
    if (rules_config_load(&l, &c, &e))
        fail_msg("%s", e.msg);
    return c;
}

static void sim_rules(struct sim *s, const char *text)
{
    struct rules_deps d = {.clock = &s->clock.clock,
                           .query = promql_engine_query(s->engine),
                           .sink = tsdb_sink(s->db),
                           .journal = &s->journal,
                           .alerts = s->sinks,
                           .n_alerts = s->n_sinks};
    s->rules = rules_new(&d);
    struct rules_settings set = rules_settings_default;
    set.external_url = STR("http://h:4863");
    rules_apply(s->rules, sim_config(text), &set);
    rules_step(s->rules);
}

static void sim_sample(struct sim *s, const char *metric, const char *label, const char *value, double v)
{
    struct label l[2] = {{STR(LABEL_NAME), str_of(metric)}, {str_of(label), str_of(value)}};
    struct sample_row row = {.labels = {.v = l, .n = 2}, .t = s->clock.ms, .v = v};
    assert_int_equal(sink_append(tsdb_sink(s->db), &row, 1, 0), 0);
    assert_int_equal(row.status, ROW_OK);
}

static void sim_close(struct sim *s)
{
    s->rules = rules_free(s->rules);
    s->engine = promql_engine_free(s->engine);
    s->db = tsdb_close(s->db);
    free(s->events);
}

/* The value of an instant query with one result, or NaN. */
static inline double sim_query(struct sim *s, const char *expr)
{
    struct arena *a = arena_new(0);
    struct query_request q = {.expr = str_of(expr), .start_ms = s->clock.ms, .end_ms = s->clock.ms};
    struct query_result r = {0};
    struct err e = {0};
    if (query_eval(promql_engine_query(s->engine), &q, a, &r, &e))
        fail_msg("%s: %s", expr, e.msg);
    double v = r.kind == QUERY_SCALAR ? r.scalar : r.n_series == 1 ? r.series[0].v[0] : NAN;
    arena_free(a);
    return v;
}
