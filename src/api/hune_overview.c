// SPDX-License-Identifier: Apache-2.0
/* GET /api/hune/v1/overview: one answer with everything the first view shows, and the sentence that stands on top of
 * it. */
#include "api/hune_int.h"

#include "codec/f64.h"

#define FIRING_MAX 100
#define EVENTS_MAX 20
#define DOWN_MAX 20
#define LATEST_MAX 5

struct firing {
    const struct rule_view *rule;
    const struct rule_alert_view *alert;
    enum severity severity;
};

struct view {
    struct api *a;
    struct arena *arena;
    int64_t now;
    struct firing *firing;
    size_t n_firing, pending, by_severity[SEV_CRITICAL + 1];
    struct tsdb_stats store;
};

static int firing_cmp(const void *x, const void *y)
{
    const struct firing *a = x, *b = y;
    if (a->severity != b->severity)
        return a->severity > b->severity ? -1 : 1;
    if (a->alert->fired_at_ms != b->alert->fired_at_ms)
        return a->alert->fired_at_ms > b->alert->fired_at_ms ? -1 : 1;
    return labels_cmp(a->alert->labels, b->alert->labels);
}

static void gather_alerts(struct view *v)
{
    struct rule_group_view *g;
    size_t n, total = 0;
    rules_view(v->a->d.rules, v->arena, &g, &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g[i].n_rules; k++)
            total += g[i].rules[k].n_alerts;
    v->firing = ARENA_ARRAY(v->arena, struct firing, total ? total : 1);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g[i].n_rules; k++) {
            const struct rule_view *rule = &g[i].rules[k];
            for (size_t m = 0; rule->alerting && m < rule->n_alerts; m++) {
                const struct rule_alert_view *x = &rule->alerts[m];
                if (x->state == RULE_PENDING) {
                    v->pending++;
                    continue;
                }
                enum severity s = severity_parse(labels_get(x->labels, STR("severity")));
                v->by_severity[s]++;
                v->firing[v->n_firing++] = (struct firing){.rule = rule, .alert = x, .severity = s};
            }
        }
    if (v->n_firing)
        qsort(v->firing, v->n_firing, sizeof(*v->firing), firing_cmp);
}

/* The one line: worst first, at most three names. */
static void put_sentence(struct view *v, struct jw *w, bool french)
{
    struct buf b = BUF_INIT(2048);
    size_t crit = v->by_severity[SEV_CRITICAL], warn = v->by_severity[SEV_WARNING], rest = v->n_firing - crit - warn;
    if (v->store.read_only)
        buf_fmt(&b, french ? "Aucune mesure n'est plus enregistrée : %s. " : "Samples are no longer stored: %s. ",
                v->store.reason);
    if (!v->n_firing) {
        if (!v->store.read_only)
            buf_z(&b, french ? "Tout va bien" : "All is well");
    } else if (french) {
        if (crit)
            buf_fmt(&b, "%zu alerte%s critique%s", crit, crit > 1 ? "s" : "", crit > 1 ? "s" : "");
        if (warn)
            buf_fmt(&b, "%s%zu avertissement%s", crit ? ", " : "", warn, warn > 1 ? "s" : "");
        if (rest)
            buf_fmt(&b, "%s%zu information%s", crit + warn ? ", " : "", rest, rest > 1 ? "s" : "");
    } else {
        if (crit)
            buf_fmt(&b, "%zu critical alert%s", crit, crit > 1 ? "s" : "");
        if (warn)
            buf_fmt(&b, "%s%zu warning%s", crit ? ", " : "", warn, warn > 1 ? "s" : "");
        if (rest)
            buf_fmt(&b, "%s%zu notice%s", crit + warn ? ", " : "", rest, rest > 1 ? "s" : "");
    }
    for (size_t i = 0; i < v->n_firing && i < 3; i++) {
        struct str on = labels_get(v->firing[i].alert->labels, STR("instance"));
        if (str_empty(on))
            on = labels_get(v->firing[i].alert->labels, STR("job"));
        buf_fmt(&b, "%s" STR_FMT, i ? ", " : french ? " : " : ": ", STR_ARG(str_sub(v->firing[i].rule->name, 0, 80)));
        if (!str_empty(on))
            buf_fmt(&b, " (" STR_FMT ")", STR_ARG(str_sub(on, 0, 80)));
    }
    if (v->n_firing > 3)
        buf_z(&b, french ? "…" : "...");
    jw_kstr(w, french ? "fr" : "en", buf_view(&b));
    buf_done(&b);
}

/* When the present level began: the oldest alert of it; when well, the end of the last trouble, else the start. */
static int64_t level_since(struct view *v, enum severity level)
{
    int64_t since = 0;
    for (size_t i = 0; i < v->n_firing; i++)
        if (v->firing[i].severity == level && (!since || v->firing[i].alert->fired_at_ms < since))
            since = v->firing[i].alert->fired_at_ms;
    if (v->n_firing)
        return since;
    struct event_filter f = {.kind_prefix = STR("alert.resolved"), .limit = 1};
    struct event *e;
    size_t n;
    if (v->a->d.journal->list(v->a->d.journal, &f, v->arena, &e, &n) == 0 && n)
        return e[0].t_ms;
    return v->a->d.started_ms;
}

static void put_verdict(struct view *v, struct jw *w)
{
    enum severity worst = v->n_firing ? v->firing[0].severity : SEV_NONE;
    jw_key(w, "verdict");
    jw_obj(w);
    jw_kz(w, "level", v->store.read_only ? "critical" : !v->n_firing ? "ok" : worst ? severity_names[worst] : "info");
    hune_time(w, "since_ms", level_since(v, worst));
    put_sentence(v, w, false);
    put_sentence(v, w, true);
    jw_end(w);
}

static struct str anomaly_of(const struct anomaly *list, size_t n, struct str fingerprint)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i].alert, fingerprint))
            return list[i].id;
    return STR("");
}

static void put_alerts(struct view *v, struct jw *w, const struct anomaly *living, size_t n_living)
{
    jw_key(w, "alerts");
    jw_obj(w);
    jw_ki64(w, "critical", (int64_t)v->by_severity[SEV_CRITICAL]);
    jw_ki64(w, "warning", (int64_t)v->by_severity[SEV_WARNING]);
    jw_ki64(w, "info", (int64_t)(v->by_severity[SEV_INFO] + v->by_severity[SEV_NONE]));
    jw_ki64(w, "pending", (int64_t)v->pending);
    jw_end(w);
    jw_key(w, "firing");
    jw_arr(w);
    for (size_t i = 0; i < v->n_firing && i < FIRING_MAX; i++) {
        const struct firing *f = &v->firing[i];
        char value[F64_TEXT_MAX];
        struct str fp = hune_fingerprint(v->arena, f->alert->labels);
        struct str id = anomaly_of(living, n_living, fp);
        jw_obj(w);
        jw_kstr(w, "name", f->rule->name);
        jw_kz(w, "severity", severity_names[f->severity]);
        jw_kstr(w, "fingerprint", fp);
        jw_key(w, "labels");
        labels_json(w, f->alert->labels);
        jw_key(w, "annotations");
        labels_json(w, f->alert->annotations);
        hune_time(w, "since_ms", f->alert->fired_at_ms);
        jw_kstr(w, "value", str_make(value, f64_write_e(value, f->alert->value)));
        jw_key(w, "anomaly");
        if (id.n)
            jw_str(w, id);
        else
            jw_null(w);
        jw_end(w);
    }
    jw_end(w);
}

static void put_targets(struct view *v, struct jw *w)
{
    struct scrape_listing l;
    size_t up = 0, down = 0, unknown = 0, shown = 0;
    scrape_targets(v->a->d.scrape, v->arena, &l);
    for (size_t i = 0; i < l.n; i++) {
        if (l.targets[i].dropped)
            continue;
        *(l.targets[i].health == TARGET_UP ? &up : l.targets[i].health == TARGET_DOWN ? &down : &unknown) += 1;
    }
    jw_key(w, "targets");
    jw_obj(w);
    jw_ki64(w, "up", (int64_t)up);
    jw_ki64(w, "down", (int64_t)down);
    jw_ki64(w, "unknown", (int64_t)unknown);
    jw_key(w, "down_list");
    jw_arr(w);
    for (size_t i = 0; i < l.n && shown < DOWN_MAX; i++) {
        const struct scrape_target_info *t = &l.targets[i];
        if (t->dropped || t->health != TARGET_DOWN)
            continue;
        shown++;
        jw_obj(w);
        jw_kstr(w, "job", labels_get(t->labels, STR("job")));
        jw_kstr(w, "instance", labels_get(t->labels, STR("instance")));
        jw_kstr(w, "error", t->last_error);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void put_processes(struct view *v, struct jw *w)
{
    struct apps *apps = v->a->d.apps;
    jw_key(w, "processes");
    if (!apps || !apps_connected(apps)) {
        jw_null(w);
        return;
    }
    struct app_view *p;
    size_t n, online = 0, stopped = 0, errored = 0;
    apps_list(apps, v->arena, &p, &n);
    for (size_t i = 0; i < n; i++) {
        online += p[i].state == CS_ONLINE;
        stopped += p[i].state == CS_STOPPED;
        errored += p[i].state == CS_ERRORED;
    }
    jw_obj(w);
    jw_ki64(w, "online", (int64_t)online);
    jw_ki64(w, "stopped", (int64_t)stopped);
    jw_ki64(w, "errored", (int64_t)errored);
    jw_ki64(w, "other", (int64_t)(n - online - stopped - errored));
    jw_kbool(w, "connected", true);
    jw_end(w);
}

static void put_stat(struct jw *w, const char *key, const struct avail_stat *s)
{
    jw_key(w, key);
    if (s->n)
        jw_i64(w, s->mean_ms);
    else
        jw_null(w);
}

static void put_indicators(struct view *v, struct jw *w)
{
    struct avail_report r;
    jw_key(w, "indicators");
    if (!v->a->d.avail || avail_report(v->a->d.avail, STR(""), 0, 0, v->arena, &r)) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kf64(w, "uptime_ratio", r.uptime_ratio);
    put_stat(w, "mttd_ms", &r.mttd);
    put_stat(w, "mtta_ms", &r.mtta);
    put_stat(w, "mttr_ms", &r.mttr);
    jw_key(w, "mtbf_ms");
    if (r.mtbf_at_least)
        jw_null(w);
    else
        jw_i64(w, r.mtbf_ms);
    jw_ki64(w, "period_ms", r.to_ms - r.from_ms);
    jw_ki64(w, "observed_ms", r.period_ms);
    jw_end(w);
}

static void put_events(struct view *v, struct jw *w)
{
    struct event_filter f = {.limit = EVENTS_MAX};
    struct event *e;
    size_t n;
    jw_key(w, "events");
    jw_arr(w);
    if (v->a->d.journal->list(v->a->d.journal, &f, v->arena, &e, &n) == 0)
        for (size_t i = 0; i < n; i++)
            event_json(w, &e[i]);
    jw_end(w);
}

static void do_overview(struct http_req *r, void *ctx)
{
    struct view v = {.a = ctx, .arena = http_arena(r)};
    struct api *a = ctx;
    v.now = clock_now_ms(a->d.clock);
    tsdb_stats(a->d.tsdb, &v.store);
    gather_alerts(&v);
    struct anomaly_filter f = {.statuses = 1u << ANOMALY_OPEN | 1u << ANOMALY_IN_PROGRESS, .limit = 1000},
                          all = {.limit = LATEST_MAX};
    struct anomaly *living = NULL, *latest = NULL;
    size_t n_living = 0, n_latest = 0, open = 0;
    if (a->d.anomalies && (anomaly_list(a->d.anomalies, &f, v.arena, &living, &n_living) ||
                           anomaly_list(a->d.anomalies, &all, v.arena, &latest, &n_latest)))
        n_living = n_latest = 0;
    for (size_t i = 0; i < n_living; i++)
        open += living[i].status == ANOMALY_OPEN;

    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_ki64(&w, "now_ms", v.now);
    put_verdict(&v, &w);
    put_alerts(&v, &w, living, n_living);
    jw_key(&w, "anomalies");
    jw_obj(&w);
    jw_ki64(&w, "open", (int64_t)open);
    jw_ki64(&w, "in_progress", (int64_t)(n_living - open));
    jw_key(&w, "latest");
    jw_arr(&w);
    for (size_t i = 0; i < n_latest; i++)
        anomaly_json(&w, &latest[i], ANOMALY_LIST, v.now);
    jw_end(&w);
    jw_end(&w);
    put_targets(&v, &w);
    put_processes(&v, &w);
    put_indicators(&v, &w);
    put_events(&v, &w);
    jw_key(&w, "storage");
    jw_obj(&w);
    jw_ki64(&w, "series", (int64_t)v.store.series);
    jw_kbool(&w, "read_only", v.store.read_only);
    jw_kz(&w, "reason", v.store.read_only ? v.store.reason : "");
    jw_end(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void overview(struct http_req *r, void *ctx)
{
    http_later(r, do_overview, ctx); /* it reads records */
}

static const struct http_route routes[] = {
    {HTTP_GET, "/api/hune/v1/overview", HTTP_VIEWER, 0, overview, "everything the first view needs"},
};

void hune_overview_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}
