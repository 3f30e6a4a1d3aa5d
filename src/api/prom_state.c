// SPDX-License-Identifier: Apache-2.0
/* What runs: targets, rules, alerts, the status pages, and small answers that clients probe for. */
#include "api/api_int.h"

#include "base/format.h"
#include "base/parse.h"
#include "codec/f64.h"
#include <sys/resource.h>
#include <unistd.h>

/* Prometheus shows times as RFC 3339 with a zero time for "never". */
static void jw_time(struct jw *w, const char *key, int64_t ms)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    if (ms)
        format_rfc3339_ms(&b, ms);
    else
        buf_z(&b, "0001-01-01T00:00:00Z");
    jw_kstr(w, key, buf_view(&b));
}

static void jw_duration(struct jw *w, const char *key, int64_t ms)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    format_duration_ms(&b, ms);
    jw_kstr(w, key, buf_view(&b));
}

/* ---- targets ---- */

static void active_target(struct jw *w, const struct scrape_target_info *t)
{
    jw_obj(w);
    jw_key(w, "discoveredLabels");
    labels_json(w, t->discovered);
    jw_key(w, "labels");
    labels_json(w, t->labels);
    jw_kstr(w, "scrapePool", t->pool);
    jw_kstr(w, "scrapeUrl", t->url);
    jw_kstr(w, "globalUrl", t->global_url);
    jw_kstr(w, "lastError", t->last_error);
    jw_time(w, "lastScrape", t->last_scrape_ms);
    jw_kf64(w, "lastScrapeDuration", t->last_duration_s);
    jw_kz(w, "health", target_health_names[t->health]);
    jw_duration(w, "scrapeInterval", t->interval_ms);
    jw_duration(w, "scrapeTimeout", t->timeout_ms);
    jw_end(w);
}

static void targets(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str state = http_arg(r, "state"), pool = http_arg(r, "scrapePool");
    bool all = !state.n || str_ieq(state, STR("any"));
    struct arena *arena = arena_new(0);
    struct scrape_listing l;
    scrape_targets(a->d.scrape, arena, &l);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "activeTargets");
    jw_arr(&w);
    for (size_t i = 0; i < l.n; i++)
        if (!l.targets[i].dropped && (all || str_ieq(state, STR("active"))) &&
            (!pool.n || str_eq(pool, l.targets[i].pool)))
            active_target(&w, &l.targets[i]);
    jw_end(&w);
    jw_key(&w, "droppedTargets");
    jw_arr(&w);
    for (size_t i = 0; i < l.n; i++) {
        if (!l.targets[i].dropped || !(all || str_ieq(state, STR("dropped"))) ||
            (pool.n && !str_eq(pool, l.targets[i].pool)))
            continue;
        jw_obj(&w);
        jw_key(&w, "discoveredLabels");
        labels_json(&w, l.targets[i].discovered);
        jw_kstr(&w, "scrapePool", l.targets[i].pool);
        jw_end(&w);
    }
    jw_end(&w);
    jw_key(&w, "droppedTargetCounts");
    jw_obj(&w);
    for (size_t i = 0; i < l.n_pools; i++) {
        jw_key_str(&w, l.pools[i].name);
        jw_u64(&w, l.pools[i].dropped);
    }
    jw_end(&w);
    jw_end(&w);
    prom_end(r, &w);
    arena_free(arena);
}

static void scrape_pools(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct arena *arena = arena_new(0);
    struct scrape_listing l;
    scrape_targets(a->d.scrape, arena, &l);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "scrapePools");
    jw_arr(&w);
    for (size_t i = 0; i < l.n_pools; i++)
        jw_str(&w, l.pools[i].name);
    jw_end(&w);
    jw_end(&w);
    prom_end(r, &w);
    arena_free(arena);
}

static void targets_metadata(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    size_t most;
    if (!prom_limit(r, "limit", &most))
        return;
    struct promql *p = NULL;
    const struct matcher *m = NULL;
    size_t n_m = 0, n;
    struct err e = {0};
    struct str selector = http_arg(r, "match_target");
    if (selector.n && promql_parse_selector(selector, &p, &m, &n_m, &e)) {
        prom_fail(r, "bad_data", "invalid parameter \"match_target\": %s", e.msg);
        return;
    }
    struct arena *arena = arena_new(0);
    struct scrape_meta *v;
    struct str metric = http_arg(r, "metric");
    scrape_metadata(a->d.scrape, m, n_m, metric, most, arena, &v, &n);
    struct jw w;
    prom_begin(r, &w);
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(&w);
        jw_key(&w, "target");
        labels_json(&w, v[i].target);
        if (!metric.n)
            jw_kstr(&w, "metric", v[i].metric);
        jw_kstr(&w, "type", v[i].type);
        jw_kstr(&w, "help", v[i].help);
        jw_kstr(&w, "unit", v[i].unit);
        jw_end(&w);
    }
    jw_end(&w);
    prom_end(r, &w);
    promql_free(p);
    arena_free(arena);
}

/* ---- rules and alerts ---- */

static void put_alert(struct jw *w, const struct rule_alert_view *al)
{
    char value[F64_TEXT_MAX];
    jw_obj(w);
    jw_key(w, "labels");
    labels_json(w, al->labels);
    jw_key(w, "annotations");
    labels_json(w, al->annotations);
    jw_kz(w, "state", rule_state_names[al->state]);
    jw_time(w, "activeAt", al->active_at_ms);
    if (al->keep_firing_since_ms)
        jw_time(w, "keepFiringSince", al->keep_firing_since_ms);
    jw_kstr(w, "value", str_make(value, f64_write_e(value, al->value)));
    jw_end(w);
}

static void put_rule(struct jw *w, const struct rule_view *v, bool with_alerts)
{
    jw_obj(w);
    if (v->alerting)
        jw_kz(w, "state", rule_state_names[v->state]);
    jw_kstr(w, "name", v->name);
    jw_kstr(w, "query", v->expr);
    if (v->alerting) {
        jw_kf64(w, "duration", (double)v->for_ms / 1000);
        jw_kf64(w, "keepFiringFor", (double)v->keep_firing_for_ms / 1000);
    }
    if (v->alerting || v->labels.n) {
        jw_key(w, "labels");
        labels_json(w, v->labels);
    }
    if (v->alerting) {
        jw_key(w, "annotations");
        labels_json(w, v->annotations);
        jw_key(w, "alerts");
        jw_arr(w);
        for (size_t i = 0; with_alerts && i < v->n_alerts; i++)
            put_alert(w, &v->alerts[i]);
        jw_end(w);
    }
    jw_kz(w, "health", rule_health_names[v->health]);
    if (v->last_error.n)
        jw_kstr(w, "lastError", v->last_error);
    jw_kf64(w, "evaluationTime", v->eval_s);
    jw_time(w, "lastEvaluation", v->last_eval_ms);
    jw_kz(w, "type", v->alerting ? "alerting" : "recording");
    jw_end(w);
}

static bool wanted(struct http_req *r, const char *name, struct str value)
{
    const struct str *v;
    size_t n = http_args(r, name, &v);
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i], value))
            return true;
    return n == 0;
}

static bool labels_wanted(const struct prom_sets *sets, struct labels l)
{
    for (size_t i = 0; i < sets->n; i++)
        if (matchers_all(sets->m[i], sets->n_m[i], l))
            return true;
    return sets->n == 0;
}

static void rules(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str type = http_arg(r, "type");
    if (type.n && !str_eq(type, STR("alert")) && !str_eq(type, STR("record"))) {
        prom_fail(r, "bad_data", "invalid parameter \"type\": not supported value \"" STR_FMT "\"", STR_ARG(type));
        return;
    }
    bool no_alerts = false;
    struct str exclude = http_arg(r, "exclude_alerts");
    if (exclude.n && !parse_bool(exclude, &no_alerts)) {
        prom_fail(r, "bad_data", "invalid parameter \"exclude_alerts\": wants true or false");
        return;
    }
    size_t group_limit;
    struct prom_sets sets;
    if (!prom_limit(r, "group_limit", &group_limit) || !prom_matchers(r, false, &sets))
        return;
    uint64_t first = 0;
    struct str token = http_arg(r, "group_next_token");
    if (token.n && !parse_u64(token, &first)) {
        prom_sets_done(&sets);
        prom_fail(r, "bad_data", "invalid group_next_token");
        return;
    }
    struct arena *arena = arena_new(0);
    struct rule_group_view *g;
    size_t n, shown = 0, next = 0;
    rules_view(a->d.rules, arena, &g, &n);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "groups");
    jw_arr(&w);
    for (size_t i = first; i < n && !next; i++) {
        if (!wanted(r, "rule_group[]", g[i].name) || !wanted(r, "file[]", g[i].file))
            continue;
        if (group_limit && shown == group_limit) {
            next = i;
            break;
        }
        bool open = false;
        for (size_t k = 0; k < g[i].n_rules; k++) {
            const struct rule_view *v = &g[i].rules[k];
            if ((type.n && v->alerting != str_eq(type, STR("alert"))) || !wanted(r, "rule_name[]", v->name) ||
                !labels_wanted(&sets, v->labels))
                continue;
            if (!open) {
                jw_obj(&w);
                jw_kstr(&w, "name", g[i].name);
                jw_kstr(&w, "file", g[i].file);
                jw_key(&w, "rules");
                jw_arr(&w);
                open = true;
            }
            put_rule(&w, v, !no_alerts);
        }
        if (!open)
            continue;
        jw_end(&w);
        jw_kf64(&w, "interval", (double)g[i].interval_ms / 1000);
        jw_ki64(&w, "limit", g[i].limit);
        jw_kf64(&w, "evaluationTime", g[i].eval_s);
        jw_time(&w, "lastEvaluation", g[i].last_eval_ms);
        jw_end(&w);
        shown++;
    }
    jw_end(&w);
    if (next) {
        _cleanup_buf_ struct buf t = BUF_INIT(32);
        buf_u64(&t, next);
        jw_kstr(&w, "groupNextToken", buf_view(&t));
    }
    jw_end(&w);
    prom_end(r, &w);
    prom_sets_done(&sets);
    arena_free(arena);
}

static void alerts(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct arena *arena = arena_new(0);
    struct rule_group_view *g;
    size_t n;
    rules_view(a->d.rules, arena, &g, &n);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "alerts");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g[i].n_rules; k++)
            for (size_t j = 0; j < g[i].rules[k].n_alerts; j++)
                put_alert(&w, &g[i].rules[k].alerts[j]);
    jw_end(&w);
    jw_end(&w);
    prom_end(r, &w);
    arena_free(arena);
}

static void alertmanagers(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str *v = NULL;
    size_t n = 0;
    a->d.alertmanagers(a->d.server, http_arena(r), &v, &n);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "activeAlertmanagers");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(&w);
        jw_kstr(&w, "url", arena_fmt(http_arena(r), STR_FMT "/api/v2/alerts", STR_ARG(v[i])));
        jw_end(&w);
    }
    jw_end(&w);
    jw_key(&w, "droppedAlertmanagers");
    jw_arr(&w);
    jw_end(&w);
    jw_end(&w);
    prom_end(r, &w);
}

/* ---- status ---- */

static void status_config(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    _cleanup_buf_ struct buf yaml = BUF_INIT((size_t)64 << 20);
    a->d.config_yaml(a->d.server, &yaml);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_kstr(&w, "yaml", buf_view(&yaml));
    jw_end(&w);
    prom_end(r, &w);
}

static void put_flag(void *ctx, const char *name, struct str value)
{
    jw_kstr(ctx, name, value);
}

static void status_flags(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    a->d.each_flag(a->d.server, put_flag, &w);
    jw_end(&w);
    prom_end(r, &w);
}

static void status_runtime(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct tsdb_stats st;
    tsdb_stats(a->d.tsdb, &st);
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    _cleanup_buf_ struct buf retention = BUF_INIT(64);
    format_duration_ms(&retention, a->d.retention_ms);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_time(&w, "startTime", a->d.started_ms);
    jw_kstr(&w, "CWD", a->d.data_dir);
    jw_kz(&w, "hostname", host);
    jw_time(&w, "serverTime", clock_now_ms(a->d.clock));
    jw_kbool(&w, "reloadConfigSuccess", *a->d.self.reload_ok);
    jw_time(&w, "lastConfigTime", *a->d.self.reload_ms);
    jw_ki64(&w, "corruptionCount", (int64_t)st.corruptions);
    jw_ki64(&w, "goroutineCount", 0);
    jw_ki64(&w, "GOMAXPROCS", sysconf(_SC_NPROCESSORS_ONLN));
    jw_ki64(&w, "GOMEMLIMIT", 0);
    jw_kz(&w, "GOGC", "");
    jw_kz(&w, "GODEBUG", "");
    jw_kstr(&w, "storageRetention", buf_view(&retention));
    jw_end(&w);
    prom_end(r, &w);
}

/* Clients read `version` to know what they may ask: that of the Prometheus whose API this is. */
#define PROMETHEUS_VERSION "3.14.0"

static void status_build(struct http_req *r, void *ctx)
{
    (void)ctx;
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_kz(&w, "application", "hune");
    jw_kz(&w, "huneVersion", HUNE_VERSION);
    jw_kz(&w, "version", PROMETHEUS_VERSION);
    jw_kz(&w, "revision", "");
    jw_kz(&w, "branch", "");
    jw_kz(&w, "buildUser", "");
    jw_kz(&w, "buildDate", "");
    jw_kz(&w, "goVersion", "");
    jw_end(&w);
    prom_end(r, &w);
}

static void put_counts(struct jw *w, const char *key, const struct tsdb_count *v, size_t n)
{
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(w);
        jw_kstr(w, "name", v[i].name);
        jw_key(w, "value");
        jw_u64(w, v[i].value);
        jw_end(w);
    }
    jw_end(w);
}

#define CARDINALITY_MAX 10000

static void status_tsdb(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    size_t most;
    if (!prom_limit(r, "limit", &most))
        return;
    if (http_has_arg(r, "limit") && (most < 1 || most > CARDINALITY_MAX)) {
        prom_fail(r, "bad_data", "limit must be between 1 and %d", CARDINALITY_MAX);
        return;
    }
    struct tsdb_stats st;
    struct tsdb_cardinality c;
    struct arena *arena = arena_new(0);
    tsdb_stats(a->d.tsdb, &st);
    tsdb_cardinality(a->d.tsdb, most ? most : 10, arena, &c);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "headStats");
    jw_obj(&w);
    jw_ki64(&w, "numSeries", (int64_t)st.series);
    jw_ki64(&w, "numLabelPairs", (int64_t)st.label_pairs);
    jw_ki64(&w, "chunkCount", (int64_t)st.chunks);
    jw_ki64(&w, "minTime", st.head_min_t);
    jw_ki64(&w, "maxTime", st.head_max_t);
    jw_end(&w);
    put_counts(&w, "seriesCountByMetricName", c.series_by_metric, c.n_series_by_metric);
    put_counts(&w, "labelValueCountByLabelName", c.values_by_label, c.n_values_by_label);
    put_counts(&w, "memoryInBytesByLabelName", c.bytes_by_label, c.n_bytes_by_label);
    put_counts(&w, "seriesCountByLabelValuePair", c.series_by_pair, c.n_series_by_pair);
    jw_end(&w);
    prom_end(r, &w);
    arena_free(arena);
}

/* The log is replayed before the address is bound: whoever can ask sees it finished. */
static void status_walreplay(struct http_req *r, void *ctx)
{
    (void)ctx;
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_ki64(&w, "min", 0);
    jw_ki64(&w, "max", 0);
    jw_ki64(&w, "current", 0);
    jw_end(&w);
    prom_end(r, &w);
}

static void features(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    static const char *const api_words[] = {"exclude_alerts", "label_values_match", "lifecycle",  "query_stats",
                                            "query_warnings", "format_query",       "parse_query"};
    size_t n;
    const struct promql_function *fn = promql_functions(&n);
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "api");
    jw_obj(&w);
    for (size_t i = 0; i < ARRAY_LEN(api_words); i++)
        jw_kbool(&w, api_words[i], strcmp(api_words[i], "lifecycle") != 0 || a->d.enable_lifecycle);
    jw_kbool(&w, "admin", a->d.enable_admin);
    jw_kbool(&w, "remote_write_receiver", a->d.enable_remote_write);
    jw_end(&w);
    jw_key(&w, "promql_functions");
    jw_obj(&w);
    for (size_t i = 0; i < n; i++)
        jw_kbool(&w, fn[i].name, true);
    jw_end(&w);
    jw_end(&w);
    prom_end(r, &w);
}

/* What a person should know of the server itself, in Prometheus' shape. */
static void notifications(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct tsdb_stats st;
    tsdb_stats(a->d.tsdb, &st);
    struct jw w;
    prom_begin(r, &w);
    jw_arr(&w);
    if (st.read_only || !*a->d.self.reload_ok) {
        jw_obj(&w);
        jw_kstr(&w, "text", st.read_only ? str_of(st.reason) : STR("Configuration reload has failed."));
        jw_time(&w, "date", clock_now_ms(a->d.clock));
        jw_kbool(&w, "active", true);
        jw_end(&w);
    }
    jw_end(&w);
    prom_end(r, &w);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/api/v1/targets", HTTP_VIEWER, 0, targets, "scrape targets, active and dropped"},
    {HTTP_GET, "/api/v1/targets/metadata", HTTP_VIEWER, 0, targets_metadata, "what targets say of their metrics"},
    {HTTP_GET, "/api/v1/scrape_pools", HTTP_VIEWER, 0, scrape_pools, "names of scrape pools"},
    {HTTP_GET, "/api/v1/rules", HTTP_VIEWER, 0, rules, "rule groups and their state"},
    {HTTP_GET, "/api/v1/alerts", HTTP_VIEWER, 0, alerts, "pending and firing alerts"},
    {HTTP_GET, "/api/v1/alertmanagers", HTTP_VIEWER, 0, alertmanagers, "outside Alertmanagers"},
    {HTTP_GET, "/api/v1/status/config", HTTP_VIEWER, 0, status_config, "the configuration in force, secrets masked"},
    {HTTP_GET, "/api/v1/status/flags", HTTP_VIEWER, 0, status_flags, "flags and their values"},
    {HTTP_GET, "/api/v1/status/runtimeinfo", HTTP_VIEWER, 0, status_runtime, "start time, reload state, retention"},
    {HTTP_GET, "/api/v1/status/buildinfo", HTTP_VIEWER, 0, status_build, "versions"},
    {HTTP_GET, "/api/v1/status/tsdb", HTTP_VIEWER, 0, status_tsdb, "cardinality of the head"},
    {HTTP_GET, "/api/v1/status/walreplay", HTTP_VIEWER, 0, status_walreplay, "progress of the log's replay"},
    {HTTP_GET, "/api/v1/features", HTTP_VIEWER, 0, features, "what this server can do"},
    {HTTP_GET, "/api/v1/notifications", HTTP_VIEWER, 0, notifications, "notices about the server itself"},
};

void prom_state_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}
