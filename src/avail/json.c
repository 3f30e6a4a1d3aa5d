// SPDX-License-Identifier: Apache-2.0
/* Reports as JSON and as metrics. */
#include "avail/avail.h"

#include "base/mem.h"

static void put_time(struct jw *w, const char *key, int64_t ms)
{
    jw_key(w, key);
    if (ms)
        jw_i64(w, ms);
    else
        jw_null(w);
}

/* KEY_ms: the mean, or null; KEY: all of it. */
static void put_stat(struct jw *w, const char *key, const char *key_ms, const struct avail_stat *s)
{
    jw_key(w, key_ms);
    if (s->n)
        jw_i64(w, s->mean_ms);
    else
        jw_null(w);
    jw_key(w, key);
    jw_obj(w);
    jw_ki64(w, "n", (int64_t)s->n);
    jw_key(w, "mean_ms");
    if (s->n)
        jw_i64(w, s->mean_ms);
    else
        jw_null(w);
    jw_key(w, "median_ms");
    if (s->n)
        jw_i64(w, s->median_ms);
    else
        jw_null(w);
    jw_key(w, "p90_ms");
    if (s->n)
        jw_i64(w, s->p90_ms);
    else
        jw_null(w);
    jw_end(w);
}

static void put_incident(struct jw *w, const struct avail_incident *x)
{
    jw_obj(w);
    jw_kstr(w, "id", x->id);
    jw_kstr(w, "title", x->title);
    jw_kstr(w, "service", x->service);
    jw_kz(w, "severity", severity_names[x->severity]);
    jw_kbool(w, "ongoing", x->ongoing);
    jw_kbool(w, "automatic", x->automatic);
    put_time(w, "started_ms", x->started_ms);
    put_time(w, "detected_ms", x->detected_ms);
    put_time(w, "acknowledged_ms", x->acknowledged_ms);
    put_time(w, "ended_ms", x->ended_ms);
    put_time(w, "resolved_ms", x->resolved_ms);
    jw_ki64(w, "down_ms", x->down_ms);
    jw_end(w);
}

void avail_json(struct jw *w, const struct avail_report *r, const struct avail_objectives *o)
{
    if (!o)
        o = &avail_objectives_default;
    jw_obj(w);
    jw_kstr(w, "service", r->service);
    jw_ki64(w, "from_ms", r->from_ms);
    jw_ki64(w, "to_ms", r->to_ms);
    jw_ki64(w, "observed_from_ms", r->observed_from_ms);
    jw_ki64(w, "period_ms", r->period_ms);
    jw_kf64(w, "uptime_ratio", r->uptime_ratio);
    jw_ki64(w, "downtime_ms", r->downtime_ms);
    jw_ki64(w, "outages", (int64_t)r->n_down);
    jw_ki64(w, "incidents", (int64_t)r->n_incidents);
    jw_ki64(w, "anomalies", (int64_t)r->n_anomalies);
    jw_ki64(w, "anomalies_resolved", (int64_t)r->n_resolved);
    jw_key(w, "detection_ratio");
    if (r->n_incidents)
        jw_f64(w, (double)r->n_automatic / (double)r->n_incidents);
    else
        jw_null(w);
    put_stat(w, "mttd", "mttd_ms", &r->mttd);
    put_stat(w, "mtta", "mtta_ms", &r->mtta);
    put_stat(w, "mttr", "mttr_ms", &r->mttr);
    put_stat(w, "resolution", "resolution_ms", &r->resolution);
    jw_ki64(w, "mtbf_ms", r->mtbf_ms);
    jw_kbool(w, "mtbf_at_least", r->mtbf_at_least);
    jw_key(w, "objectives");
    jw_obj(w);
    jw_kf64(w, "uptime_ratio", o->uptime_ratio);
    jw_ki64(w, "detection_ms", o->mttd_ms);
    jw_ki64(w, "recovery_ms", o->mttr_ms);
    jw_ki64(w, "resolution_ms", o->resolution_ms);
    jw_ki64(w, "mtbf_ms", o->mtbf_ms);
    jw_kf64(w, "detection_ratio", o->detection_ratio);
    jw_end(w);
    jw_key(w, "formulas");
    jw_obj(w);
    jw_kz(w, "uptime_ratio",
          "(T - downtime) / T; T from hune's first event in the period; overlapping incidents count once");
    jw_kz(w, "mttd", "mean(detected - started)");
    jw_kz(w, "mtta", "mean(acknowledged - detected), over acknowledged incidents");
    jw_kz(w, "mttr", "mean(ended - started), over ended incidents");
    jw_kz(w, "resolution", "mean(resolved - detected), over resolved incidents");
    jw_kz(w, "mtbf", "(T - downtime) / n; without incidents at least T");
    jw_kz(w, "incident",
          "anomaly with loss partial or total, or critical and loss not filled in; critical alert without an anomaly");
    jw_end(w);
    jw_key(w, "list");
    jw_arr(w);
    for (size_t i = 0; i < r->n_incidents; i++)
        put_incident(w, &r->incidents[i]);
    jw_end(w);
    jw_key(w, "down");
    jw_arr(w);
    for (size_t i = 0; i < r->n_down; i++) {
        jw_obj(w);
        jw_ki64(w, "from_ms", r->down[i].from_ms);
        jw_ki64(w, "to_ms", r->down[i].to_ms);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

void avail_collect(void *p, struct metrics_out *out)
{
    struct avail *a = p;
    static const struct {
        const char *name, *help;
    } rows[] = {
        {"hune_service_uptime_ratio", "Share of the last 30 days the service was there."},
        {"hune_service_incidents", "Incidents of the last 30 days."},
        {"hune_service_mttd_seconds", "Mean time to detect, last 30 days."},
        {"hune_service_mttr_seconds", "Mean time to recover, last 30 days."},
        {"hune_service_mtbf_seconds", "Mean time between failures, last 30 days; without failures the time observed."},
    };
    _cleanup_arena_ struct arena *m = arena_new(0);
    struct str *names;
    size_t n;
    if (avail_services(a, m, &names, &n) != 0)
        return;
    struct avail_report *r = ARENA_ARRAY(m, struct avail_report, n + 1);
    bool *ok = ARENA_ARRAY(m, bool, n + 1);
    for (size_t i = 0; i < n; i++)
        ok[i] = avail_report(a, names[i], 0, 0, m, &r[i]) == 0;
    for (size_t k = 0; k < ARRAY_LEN(rows) && n; k++) {
        out->family(out, str_of(rows[k].name), str_of(rows[k].help), METRIC_GAUGE);
        for (size_t i = 0; i < n; i++) {
            const double v[] = {r[i].uptime_ratio, (double)r[i].n_incidents, (double)r[i].mttd.mean_ms / 1000,
                                (double)r[i].mttr.mean_ms / 1000, (double)r[i].mtbf_ms / 1000};
            bool known = k == 2 ? r[i].mttd.n > 0 : k == 3 ? r[i].mttr.n > 0 : true;
            struct metric_label l = {STR("service"), names[i]};
            if (ok[i] && known)
                out->sample(out, STR(""), &l, 1, v[k]);
        }
    }
}
