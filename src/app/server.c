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
#include "sys/fs.h"
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
    struct arena *arena; /* strings that live as long as the server */
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
    struct event e = {.kind = str_of(kind),
                      .severity = sev,
                      .service = STR("hune"),
                      .subject = STR("server"),
                      .actor = STR("hune"),
                      .summary = str_of(summary)};
    int r = 0;
    if (durable)
        r = s->journal->append(s->journal, &e);
    else
        s->journal->post(s->journal, &e);
    if (r)
        log_warn("event not stored", KV_Z("kind", kind), KV_ERR(r));
}

/* ---- configuration ---- */

static void collect_self(void *metrics, struct metrics_out *out)
{
    metrics_collect(metrics, out);
}

static void internal_targets(struct server *s, const struct generation *g)
{
    if (g->file.host && !s->node_id) {
        char name[256] = "localhost";
        gethostname(name, sizeof(name) - 1);
        s->host = s->host ? s->host : host_new(NULL);
        struct scrape_internal i = {.job = STR("node"),
                                    .instance = str_of(name),
                                    .interval_ms = g->file.interval_ms,
                                    .fn = host_collect,
                                    .ctx = s->host};
        s->node_id = scrape_add_internal(s->scrape, &i);
    } else if (!g->file.host && s->node_id) {
        scrape_remove_internal(s->scrape, s->node_id);
        s->node_id = 0;
    }
    if (g->file.self && !s->hune_id) {
        struct scrape_internal i = {.job = STR("hune"),
                                    .instance = STR("hune"),
                                    .interval_ms = g->file.interval_ms,
                                    .honor_labels = true,
                                    .fn = collect_self,
                                    .ctx = s->metrics};
        s->hune_id = scrape_add_internal(s->scrape, &i);
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
        vec_push(&pools, (struct discover_pool){.name = g->prom->scrapes[i].job,
                                                .sds = &g->prom->scrapes[i].sds,
                                                .sink = scrape_target_sink(s->scrape)});
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

/* ---- what the API shows of the server ---- */

static void api_config_yaml(void *ctx, struct buf *out)
{
    struct server *s = ctx;
    pthread_mutex_lock(&s->generation_lock);
    buf_str(out, s->generation->prom->text);
    pthread_mutex_unlock(&s->generation_lock);
}

static void api_each_flag(void *ctx, void (*fn)(void *ctx, const char *name, struct str value), void *fn_ctx)
{
    struct server *s = ctx;
    options_each(s->options, fn, fn_ctx);
}

static void api_external_labels(void *ctx, struct arena *a, struct labels *ret)
{
    struct server *s = ctx;
    pthread_mutex_lock(&s->generation_lock);
    *ret = labels_copy(a, s->generation->prom->global.external_labels);
    pthread_mutex_unlock(&s->generation_lock);
}

static void api_alertmanagers(void *ctx, struct arena *a, struct str **ret, size_t *ret_n)
{
    struct server *s = ctx;
    outside_urls(s->outside, a, ret, ret_n);
}

/* ---- up ---- */

static void set_limits(const struct config_map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        int64_t v;
        if (parse_i64(m->v[i].value, &v))
            (void)limit_set(m->v[i].key, v); /* checked when the file was read */
    }
}

/* Flags that are limits by another name; their rows in options.c have the same bounds. */
static void set_flag_limits(const struct options *o)
{
    const struct {
        struct str name;
        int64_t value;
    } flags[] = {{{"http_connections", 16}, o->max_connections},
                 {{"http_idle_s", 11}, o->read_timeout_ms / 1000},
                 {{"notify_queue", 12}, o->notify_queue}};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (!limit_set(flags[i].name, flags[i].value))
            log_warn("a flag is outside the bounds of its limit", KV_STR("limit", flags[i].name),
                     KV_INT("value", flags[i].value));
}

static char *choose_dir(const struct options *o, struct err *e)
{
    char *given = o->data_dir.n ? str_dupz(o->data_dir) : o->tsdb_path.n ? str_dupz(o->tsdb_path) : NULL;
    char *dir = control_data_dir(given, e);
    free(given);
    return dir;
}

static int open_stores(struct server *s, struct err *e)
{
    int r = fs_mkdirs(s->data_dir, 0700);
    if (r) {
        err_set(e, "%s: %s", s->data_dir, err_name(r));
        return r;
    }
    if ((r = fs_lock_dir(s->data_dir, &s->lock_fd, e)))
        return r;
    char *records = fs_join(s->data_dir, "records.db"), *samples = fs_join(s->data_dir, "tsdb");
    struct tsdb_options to = tsdb_options_default(samples);
    const struct promfile *f = s->generation->prom;
    to.retention_ms = s->options->retention_ms ? s->options->retention_ms : f->storage.retention_ms;
    to.retention_bytes = s->options->retention_bytes ? s->options->retention_bytes : f->storage.retention_bytes;
    to.sync = str_eq(s->options->sync, STR("always")) ? TSDB_SYNC_ALWAYS
              : str_eq(s->options->sync, STR("off"))  ? TSDB_SYNC_OFF
                                                      : TSDB_SYNC_1S;
    /* Without the key, samples of any age within retention are taken; a window in the file is a limit. */
    if (f->storage.out_of_order_window_ms > 0)
        to.ooo_window_ms = f->storage.out_of_order_window_ms;
    to.clock = s->clock;
    r = db_open(records, NULL, &s->db, e);
    if (r == 0)
        r = journal_open(s->db, s->clock, NULL, &s->journal, e);
    if (r == 0)
        r = tsdb_open(&to, &s->tsdb, e);
    free(records);
    free(samples);
    return r;
}

static struct str external_url(const struct server *s)
{
    struct str u = s->options->external_url.n ? s->options->external_url : s->generation->file.external_url;
    while (str_ends(u, STR("/")))
        u.n--;
    return u.n ? u : arena_fmt(s->arena, "http://" STR_FMT, STR_ARG(s->options->listen[0]));
}

static int open_engines(struct server *s, struct err *e)
{
    const struct options *o = s->options;
    struct promql_options po = {.clock = s->clock,
                                .lookback_ms = o->query_lookback_ms,
                                .subquery_step_ms = s->generation->prom->global.evaluation_interval_ms,
                                .timeout_ms = o->query_timeout_ms,
                                .max_samples = (uint64_t)o->query_max_samples,
                                .max_concurrency = (unsigned)o->query_max_concurrency};
    s->promql = promql_engine_new(tsdb_source(s->tsdb), &po);
    struct query_engine *query = promql_engine_query(s->promql);

    char *dir = fs_join(s->data_dir, "notify");
    bool french = o->language.n ? str_eq(o->language, STR("fr")) : false;
    if (s->generation->file.language_given)
        french = s->generation->file.language == 1;
    struct notify_options no = {.clock = s->clock,
                                .dir = dir,
                                .journal = s->journal,
                                .external_url = external_url(s),
                                .language = french ? STR("fr") : STR("en")};
    struct notify_config *first = s->generation->notify;
    s->generation->notify = NULL;
    int r = notify_open(&no, first, &s->notify, e);
    free(dir);
    if (r)
        return r;
    s->forward = forward_new(s->clock);
    s->outside = outside_new(s->forward);

    struct alert_sink *sinks[] = {notify_alert_sink(s->notify), outside_alert_sink(s->outside)};
    struct rules_deps rd = {.clock = s->clock,
                            .query = query,
                            .sink = tsdb_sink(s->tsdb),
                            .journal = s->journal,
                            .alerts = sinks,
                            .n_alerts = ARRAY_LEN(sinks)};
    s->rules = rules_new(&rd);

    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    struct buf seed = BUF_INIT(64 << 10);
    buf_z(&seed, name);
    labels_format(&seed, s->generation->prom->global.external_labels);
    struct scrape_options so = {
        .clock = s->clock, .sink = tsdb_sink(s->tsdb), .external_seed = arena_str(s->arena, buf_view(&seed))};
    buf_done(&seed);
    s->scrape = scrape_new(&so);
    s->discover = discover_new();

    struct anomaly_deps ad = {.clock = s->clock, .db = s->db, .journal = s->journal, .query = query};
    struct anomaly_settings as = {.environment = arena_str(s->arena, s->generation->file.environment)};
    if ((r = anomalies_open(&ad, &as, &s->anomalies, e)))
        return r;
    s->avail = avail_new(s->journal, s->clock);
    struct apps_deps pd = {.clock = s->clock, .journal = s->journal, .data_dir = s->data_dir};
    s->apps = apps_new(&pd);
    s->watch = (struct watch){
        .tsdb = s->tsdb, .journal = s->journal, .alerts = notify_alert_sink(s->notify), .clock = s->clock};
    return 0;
}

static void register_metrics(struct server *s)
{
    struct metrics *m = s->metrics;
    metrics_add_collector(m, self_collect, &s->self);
    tsdb_metrics(s->tsdb, m);
    promql_engine_metrics(s->promql, m);
    metrics_add_collector(m, scrape_collect, s->scrape);
    metrics_add_collector(m, discover_collect, s->discover);
    metrics_add_collector(m, rules_collect, s->rules);
    metrics_add_collector(m, notify_collect, s->notify);
    metrics_add_collector(m, forward_collect, s->forward);
    metrics_add_collector(m, db_collect, s->db);
    metrics_add_collector(m, journal_collect, s->journal);
    metrics_add_collector(m, anomalies_collect, s->anomalies);
    metrics_add_collector(m, avail_collect, s->avail);
    metrics_add_collector(m, apps_collect, s->apps);
    metrics_add_collector(m, auth_collect, s->auth);
}

static int load_web_config(struct server *s, struct arena *a, struct web_config *ret, struct err *e)
{
    if (!s->options->web_config_file.n)
        return 0;
    char *path = arena_strz(a, s->options->web_config_file);
    ptrdiff_t slash = str_rchr(str_of(path), '/');
    struct config_ctx c = {
        .file = path, .dir = slash < 0 ? "." : arena_strz(a, str_make(path, (size_t)slash)), .arena = a, .err = e};
    struct yaml_node *root;
    int r = config_load(&c, path, &root);
    return r ? r : config_read(&c, &web_config_schema, root, ret);
}

static int open_http(struct server *s, struct err *e)
{
    struct arena *a = s->arena;
    const struct options *o = s->options;
    struct web_config *web = ARENA_NEW(a, struct web_config);
    int r = load_web_config(s, a, web, e);
    if (r)
        return r;
    bool has_web = o->web_config_file.n > 0, open = false;
    for (size_t i = 0; i < o->n_listen; i++)
        open |= !str_starts(o->listen[i], STR("127.")) && !str_starts(o->listen[i], STR("localhost")) &&
                !str_starts(o->listen[i], STR("[::1]")) && !str_starts(o->listen[i], STR("unix:"));
    struct auth_options ao = {.clock = s->clock,
                              .data_dir = s->data_dir,
                              .web = has_web ? web : NULL,
                              .open = open,
                              .secure_cookie = web->tls.present || str_starts(o->external_url, STR("https:")),
                              .journal = s->journal};
    if ((r = auth_open(&ao, &s->auth, e)))
        return r;
    register_metrics(s);
    struct http_server_options ho = {.listen = o->listen,
                                     .n_listen = o->n_listen,
                                     .external_url = o->external_url,
                                     .route_prefix = o->route_prefix,
                                     .cors_origin = o->cors_origin,
                                     .web = has_web ? web : NULL,
                                     .has_credential = auth_has_credential(s->auth),
                                     .identify = auth_identify,
                                     .identify_ctx = s->auth,
                                     .metrics = s->metrics};
    s->http = http_server_new(&ho);
    struct api_deps ad = {.clock = s->clock,
                          .tsdb = s->tsdb,
                          .source = tsdb_source(s->tsdb),
                          .sink = tsdb_sink(s->tsdb),
                          .query = promql_engine_query(s->promql),
                          .rules = s->rules,
                          .scrape = s->scrape,
                          .notify = s->notify,
                          .db = s->db,
                          .journal = s->journal,
                          .anomalies = s->anomalies,
                          .avail = s->avail,
                          .apps = s->apps,
                          .auth = s->auth,
                          .metrics = s->metrics,
                          .server = s,
                          .reload = api_reload,
                          .quit = api_quit,
                          .config_yaml = api_config_yaml,
                          .each_flag = api_each_flag,
                          .alertmanagers = api_alertmanagers,
                          .external_labels = api_external_labels,
                          .started_ms = s->self.started_ms,
                          .data_dir = str_of(s->data_dir),
                          .mode = s->generation->file.self ? STR("run") : STR("server"),
                          .external_url = arena_str(a, external_url(s)),
                          .listen = o->listen,
                          .n_listen = o->n_listen,
                          .self = {.reload_ok = &s->self.reload_ok,
                                   .reload_ms = &s->self.reload_ms,
                                   .resident_bytes = self_resident_bytes},
                          .enable_lifecycle = o->enable_lifecycle,
                          .enable_admin = o->enable_admin_api,
                          .enable_remote_write = o->enable_remote_write,
                          .retention_ms = o->retention_ms ? o->retention_ms : 15 * 86400000LL};
    s->api = api_new(s->http, &ad);
    return http_server_start(s->http, e);
}

static int start_threads(struct server *s)
{
    int r;
    if ((r = anomalies_start(s->anomalies)) || (r = notify_start(s->notify)) || (r = forward_start(s->forward)) ||
        (r = scrape_start(s->scrape)) || (r = rules_start(s->rules)) || (r = apps_start(s->apps)))
        return r;
    return 0;
}

/* ---- down, in reverse: whoever still produces has somewhere to put it ---- */

static void down(struct server *s)
{
    api_stop(s->api);
    if (s->http)
        http_server_stop(s->http);
    s->http = http_server_free(s->http);
    s->apps = apps_free(s->apps);
    s->discover = discover_free(s->discover);
    s->scrape = scrape_free(s->scrape);
    s->rules = rules_free(s->rules);
    s->outside = outside_free(s->outside);
    s->forward = forward_free(s->forward);
    s->notify = notify_close(s->notify);
    s->anomalies = anomalies_close(s->anomalies);
    s->avail = avail_free(s->avail);
    s->auth = auth_close(s->auth);
    s->host = host_free(s->host);
    s->promql = promql_engine_free(s->promql);
    s->tsdb = tsdb_close(s->tsdb);
    s->journal = journal_close(s->journal);
    s->api = api_free(s->api); /* the journal's thread told it of events */
    s->db = db_close(s->db);
    s->metrics = metrics_free(s->metrics);
    s->generation = generation_free(s->generation);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->data_dir);
    s->arena = arena_free(s->arena);
}

#define EXIT_CONFIG 2 /* the keeper does not try again: only a person can help */

static int fail(struct server *s, int r, const struct err *e, const char *what)
{
    fprintf(stderr, "hune: %s%s%s\n", what, what[0] ? ": " : "", e->msg[0] ? e->msg : err_name(r));
    down(s);
    return r == -EINVAL || r == -EACCES || r == -ENOENT || r == -EADDRINUSE ? EXIT_CONFIG : 1;
}

/* Two arenas instead of one per core: a dozen mostly idle threads need no more, and memory freed by one serves another.
 */
static void tame_malloc(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int server_run(const struct options *o)
{
    struct server s = {.options = o, .clock = &clock_real, .lock_fd = -1, .generation_lock = PTHREAD_MUTEX_INITIALIZER};
    struct err e = {0};
    tame_malloc();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, not the end of the server */
    s.self.started_ms = clock_now_ms(s.clock);
    s.self.reload_ok = 1;
    s.metrics = metrics_new();
    s.arena = arena_new(0);
    int r = generation_load(o, &s.generation, &e);
    if (r)
        return fail(&s, r, &e, "configuration");
    set_flag_limits(o);
    set_limits(&s.generation->file.limits);
    s.data_dir = choose_dir(o, &e);
    if (!s.data_dir)
        return fail(&s, -EINVAL, &e, "");
    if ((r = open_stores(&s, &e)) || (r = open_engines(&s, &e)))
        return fail(&s, r, &e, "");

    s.loop = loop_new();
    struct loop_signal *signals[] = {loop_signal_new(s.loop, SIGINT, on_signal, &s),
                                     loop_signal_new(s.loop, SIGTERM, on_signal, &s),
                                     loop_signal_new(s.loop, SIGHUP, on_signal, &s)};
    s.tick = loop_timer_new(s.loop, on_tick, &s);
    loop_timer_set(s.tick, 1000, 1000);

    struct generation *first = s.generation;
    s.generation = NULL;
    apply(&s, first);
    r = open_http(&s, &e);
    if (r == 0 && (r = start_threads(&s)))
        err_set(&e, "cannot start a thread: %s", err_name(r));
    if (r == 0) {
        say(&s, "server.started", SEV_INFO, "hune " HUNE_VERSION " started", true);
        log_info("hune is ready", KV_Z("version", HUNE_VERSION), KV_STR("url", external_url(&s)),
                 KV_Z("data", s.data_dir), KV_MS("took", clock_now_ms(s.clock) - s.self.started_ms));
        apps_report(s.apps, CS_ONLINE, external_url(&s), STR("ready"));
        loop_run(s.loop);
        say(&s, "server.stopped", SEV_INFO, "hune stopped", true);
    }
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        signals[i] = loop_signal_close(signals[i]);
    s.tick = loop_timer_close(s.tick);
    s.loop = loop_free(s.loop);
    if (r)
        return fail(&s, r, &e, "");
    down(&s);
    return 0;
}
