// SPDX-License-Identifier: Apache-2.0
/* The server: opens every engine in the order of dependence, introduces them to each other through model/, and takes
 * them down in reverse. The main thread then only runs the loop: signals, reloads, the store's watch. */
#include "app/server.h"

#include "anomaly/anomaly.h"
#include "api/api.h"
#include "app/generation.h"
#include "app/outside.h"
#include "app/self.h"
#include "app/watch.h"
#include "apps/apps.h"
#include "auth/auth.h"
#include "avail/avail.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/parse.h"
#include "control/control.h"
#include "db/db.h"
#include "discover/discover.h"
#include "host/host.h"
#include "net/server.h"
#include "promql/promql.h"
#include "scrape/scrape.h"
#include "sys/loop.h"
#include "tsdb/tsdb.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct server {
    const struct options *options;
    const struct clock *clock;
    char *data_dir;
    int lock_fd;
    struct metrics *metrics;
    struct self self;

    struct db *db;
    struct journal *journal;
    struct tsdb *tsdb;
    struct promql_engine *promql;
    struct notify *notify;
    struct forward *forward;
    struct outside *outside;
    struct rules *rules;
    struct host *host;
    struct scrape *scrape;
    struct discover *discover;
    struct apps *apps;
    struct anomalies *anomalies;
    struct avail *avail;
    struct auth *auth;
    struct http_server *http;
    struct api *api;
    uint64_t node_id, hune_id; /* internal targets, 0 = off */

    pthread_mutex_t generation_lock; /* guards the pointer; a generation in use is never changed */
    struct generation *generation;
    struct loop *loop;
    struct loop_timer *tick;
    struct watch watch;
};

static void say(struct server *s, const char *kind, enum severity sev, const char *summary, bool durable)
{
    struct event e = {.kind = str_of(kind), .severity = sev, .service = STR("hune"), .subject = STR("server"), .actor = STR("hune"), .summary = str_of(summary)};
    int r = 0;
    if (durable)
        r = s->journal->append(s->journal, &e);
    else
        s->journal->post(s->journal, &e);
    if (r)
        log_warn("event not stored", KV_Z("kind", kind), KV_ERR(r));
}

/* ---- configuration ---- */

static void internal_targets(struct server *s, const struct generation *g)
{
    if (g->file.host && !s->node_id) {
        char name[256] = "localhost";
        gethostname(name, sizeof(name) - 1);
        s->host = s->host ? s->host : host_new(NULL);
        s->node_id = scrape_add_internal(s->scrape, STR("node"), str_of(name), (struct labels){0}, g->file.interval_ms, host_collect, s->host);
    } else if (!g->file.host && s->node_id) {
        scrape_remove_internal(s->scrape, s->node_id);
        s->node_id = 0;
    }
    if (g->file.self && !s->hune_id) {
        s->hune_id = scrape_add_internal(s->scrape, STR("hune"), STR("hune"), (struct labels){0}, g->file.interval_ms,
                                         (metrics_collect_fn)(void *)metrics_collect, s->metrics);
    } else if (!g->file.self && s->hune_id) {
        scrape_remove_internal(s->scrape, s->hune_id);
        s->hune_id = 0;
    }
}

static void apply(struct server *s, struct generation *g)
{
    struct rules_settings rs = rules_settings_default;
    rs.external_url = s->options->external_url.n ? s->options->external_url : g->file.external_url;
    rs.external_labels = g->prom->global.external_labels;
    rs.resend_delay_ms = s->options->resend_delay_ms;
    rs.outage_tolerance_ms = s->options->outage_tolerance_ms;
    rs.grace_period_ms = s->options->grace_period_ms;
    if (g->notify) {
        notify_apply(s->notify, g->notify);
        g->notify = NULL;
    }
    rules_apply(s->rules, g->rules, &rs);
    g->rules = NULL;
    scrape_reload(s->scrape, g->prom);

    size_t n_outside;
    const struct discover_pool *outside = outside_apply(s->outside, g->prom, &n_outside);
    VEC(struct discover_pool) pools = {0};
    for (size_t i = 0; i < g->prom->n_scrapes; i++)
        vec_push(&pools, (struct discover_pool){.name = g->prom->scrapes[i].job, .sds = &g->prom->scrapes[i].sds, .sink = scrape_target_sink(s->scrape)});
    for (size_t i = 0; i < n_outside; i++)
        vec_push(&pools, outside[i]);
    discover_apply(s->discover, g->prom, pools.v, pools.n);
    vec_done(&pools);
    internal_targets(s, g);

    struct str rest = buf_view(&g->warnings), line;
    while (str_line(&rest, &line))
        log_warn("configuration", KV_STR("note", line));
    pthread_mutex_lock(&s->generation_lock);
    struct generation *old = s->generation;
    s->generation = g;
    pthread_mutex_unlock(&s->generation_lock);
    generation_free(old);
    s->self.reload_ok = 1;
    s->self.reload_ms = clock_now_ms(s->clock);
}

/* Build the whole new generation, then swap; a refused one changes nothing. */
static int reload(struct server *s, struct err *e)
{
    struct generation *g = NULL;
    int r = generation_load(s->options, &g, e);
    if (r) {
        s->self.reload_ok = 0;
        log_error("configuration refused, the running one stays", KV_Z("err", e->msg));
        say(s, "config.refused", SEV_WARNING, e->msg, false);
        return r;
    }
    apply(s, g);
    log_info("configuration loaded", KV_STR("file", g->source));
    say(s, "config.reloaded", SEV_INFO, "configuration loaded", false);
    return 0;
}

/* ---- what the API asks of the server: reloads and the end happen on the main thread ---- */

struct reload_call {
    struct server *s;
    struct err *err;
    int result;
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static void reload_on_main(void *arg)
{
    struct reload_call *c = arg;
    int r = reload(c->s, c->err);
    pthread_mutex_lock(&c->lock);
    c->result = r;
    c->done = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

static int api_reload(void *ctx, struct err *e)
{
    struct reload_call c = {.s = ctx, .err = e, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    loop_post(c.s->loop, reload_on_main, &c);
    pthread_mutex_lock(&c.lock);
    while (!c.done)
        pthread_cond_wait(&c.cond, &c.lock);
    pthread_mutex_unlock(&c.lock);
    return c.result;
}

static void stop_on_main(void *arg)
{
    struct server *s = arg;
    loop_stop(s->loop);
}

static void api_quit(void *ctx)
{
    struct server *s = ctx;
    loop_post(s->loop, stop_on_main, s);
}

/* ---- signals and timers, main thread ---- */

static void on_signal(void *arg, int signum)
{
    struct server *s = arg;
    if (signum == SIGHUP) {
        struct err e = {0};
        (void)reload(s, &e); /* told in the log and as an event */
        return;
    }
    log_info("stopping", KV_Z("signal", signum == SIGINT ? "SIGINT" : "SIGTERM"));
    loop_stop(s->loop);
}

static void on_tick(void *arg)
{
    struct server *s = arg;
    watch_step(&s->watch);
}
