// SPDX-License-Identifier: Apache-2.0
/* Alerting rules (Prometheus 3.x rules/alerting.go and its alert generator compliance text):
 *
 *   (none) --returned, for > 0--> pending --`for` passed--> firing --not returned, keep_firing_for passed--> resolved
 *     ^                             |                          ^                                               |
 *     +------- not returned --------+      `for` = 0: at once -+        kept 15 min to be told again ----------+
 */
#include "rules/rules_int.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "codec/f64.h"

#define RESOLVED_RETENTION_MS (15 * 60 * 1000)

struct fresh { /* one returned series, before it meets what is active */
    struct labels labels, annotations;
    uint64_t hash;
    double value;
};

static struct str expand(struct eval *ev, const struct rule_pair *p, struct tval data, struct arena *a)
{
    if (!p->set)
        return p->value;
    struct rule_host host = {
        .prom = {.now_ms = ev->query_ms, .external_url = ev->r->settings.external_url, .query = rules_template_query},
        .ev = ev};
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(template_output_bytes) + 1);
    struct err e = {0};
    struct template_exec x = {.name = p->template_name, .data = data, .arena = a, .host = &host};
    if (template_exec(p->set, &x, &b, &e)) {
        log_warn("expanding a template of an alert failed", KV_STR("in", p->name), KV_Z("reason", e.msg));
        return arena_fmt(a, "<error expanding template: %s>", e.msg);
    }
    return arena_str(a, buf_view(&b));
}

static struct tval string_map(struct arena *a, struct labels l)
{
    struct tpair *p = ARENA_ARRAY(a, struct tpair, l.n + 1);
    for (size_t i = 0; i < l.n; i++)
        p[i] = (struct tpair){.key = l.v[i].name, .value = tval_str(l.v[i].value)};
    return tval_map_of(a, p, l.n, true);
}

/* Templates see the labels of the query's result, never those the rule sets. */
static void make_fresh(struct eval *ev, const struct rule_def *d, const struct query_series *q, struct tval external,
                       struct arena *a, struct fresh *ret)
{
    double v = q->v[0];
    struct tpair root[] = {
        {STR("Labels"), string_map(a, q->labels)},
        {STR("ExternalLabels"), external},
        {STR("ExternalURL"), tval_str(ev->r->settings.external_url)},
        {STR("Value"), tval_f64(v)},
    };
    struct tval data = tval_map_of(a, root, 4, false);
    struct labels_builder b = {0}, ann = {0};
    lb_init(&b, q->labels);
    lb_del(&b, STR(LABEL_NAME));
    for (size_t i = 0; i < d->n_labels; i++)
        lb_set(&b, d->labels[i].name, expand(ev, &d->labels[i], data, a));
    lb_set(&b, STR("alertname"), d->alert);
    lb_init(&ann, (struct labels){0});
    for (size_t i = 0; i < d->n_annotations; i++)
        lb_set(&ann, d->annotations[i].name, expand(ev, &d->annotations[i], data, a));
    ret->labels = lb_labels(&b, a);
    ret->annotations = lb_labels(&ann, a);
    ret->hash = labels_hash(ret->labels);
    ret->value = v;
    lb_done(&b);
    lb_done(&ann);
}

/* ---- events ---- */

static struct str service_of(struct labels l)
{
    static const char *const names[] = {"service", "app", "job", "instance"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct str v = labels_get(l, str_of(names[i]));
        if (v.n)
            return v;
    }
    return STR("");
}

static void tell(struct eval *ev, const struct rule_def *d, const struct active *x, const char *kind, const char *word)
{
    struct journal *j = ev->r->deps.journal;
    if (!j)
        return;
    _cleanup_buf_ struct buf payload = BUF_INIT((size_t)limit(event_payload_bytes)), subject = BUF_INIT(32),
                             summary = BUF_INIT(2048), links = BUF_INIT(128);
    struct labels l = x->labels.l;
    struct jw w;
    jw_init(&w, &payload);
    jw_obj(&w);
    jw_kstr(&w, "alertname", d->alert);
    jw_key(&w, "labels");
    labels_json(&w, l);
    jw_key(&w, "annotations");
    labels_json(&w, x->annotations.l);
    jw_kf64(&w, "value", x->value);
    jw_kstr(&w, "expr", d->expr);
    jw_kstr(&w, "group", ev->g->def->name);
    jw_kstr(&w, "file", ev->g->def->file);
    jw_ki64(&w, "for_ms", d->for_ms);
    jw_ki64(&w, "active_ms", x->active_ms);
    jw_ki64(&w, "fired_ms", x->fired_ms);
    jw_ki64(&w, "resolved_ms", x->resolved_ms);
    jw_end(&w);
    buf_fmt(&subject, "%016llx", (unsigned long long)labels_fingerprint(l));
    buf_fmt(&links, "{\"alert\":\"" STR_FMT "\"}", STR_ARG(buf_view(&subject)));
    struct str text = labels_get(x->annotations.l, STR("summary"));
    buf_fmt(&summary, STR_FMT " %s", STR_ARG(str_sub(d->alert, 0, 200)), word);
    if (text.n)
        buf_fmt(&summary, ": " STR_FMT, STR_ARG(str_sub(text, 0, 400)));
    struct event e = {.t_ms = ev->ts_ms,
                      .kind = str_of(kind),
                      .severity = severity_parse(labels_get(l, STR("severity"))),
                      .service = service_of(l),
                      .subject = buf_view(&subject),
                      .actor = STR("hune"),
                      .summary = buf_view(&summary),
                      .links = buf_view(&links),
                      .payload = buf_error(&payload) ? STR("") : buf_view(&payload)};
    if (x->state == RULE_PENDING) {
        j->post(j, &e);
        return;
    }
    int r = j->append(j, &e);
    if (r)
        log_error("an alert's event could not be stored", KV_Z("kind", kind), KV_STR("alert", d->alert), KV_ERR(r));
}

/* ---- evaluation ---- */

static void write_series(struct eval *ev, struct rule_state_s *s, struct arena *a)
{
    size_t n = s->active.n * 2, k = 0;
    struct labels *l = ARENA_ARRAY(a, struct labels, n + 1);
    double *v = ARENA_ARRAY(a, double, n + 1);
    for (size_t i = 0; s->restored && i < s->active.n; i++) {
        struct active *x = s->active.v[i];
        if (x->state == RULE_INACTIVE)
            continue;
        struct labels_builder b = {0};
        lb_init(&b, x->labels.l);
        lb_set(&b, STR(LABEL_NAME), STR("ALERTS"));
        lb_set(&b, STR("alertstate"), x->state == RULE_FIRING ? STR("firing") : STR("pending"));
        l[k] = lb_labels(&b, a);
        v[k++] = 1;
        lb_done(&b);
        lb_init(&b, x->labels.l);
        lb_set(&b, STR(LABEL_NAME), STR("ALERTS_FOR_STATE"));
        l[k] = lb_labels(&b, a);
        int64_t active_s = x->active_ms / 1000; /* whole seconds, as Prometheus writes them */
        v[k++] = (double)active_s;
        lb_done(&b);
    }
    rule_write(ev, s, l, v, NULL, k);
}

static void send_alerts(struct eval *ev, struct rule_state_s *s, struct arena *a)
{
    const struct rules_settings *set = &ev->r->settings;
    if (!ev->r->deps.n_alerts || !s->active.n)
        return;
    _cleanup_buf_ struct buf url = BUF_INIT(1 << 20);
    buf_str(&url, set->external_url);
    buf_z(&url, "/graph?g0.expr=");
    url_query_escape(&url, s->def->expr);
    buf_z(&url, "&g0.tab=1");
    struct alert *out = ARENA_ARRAY(a, struct alert, s->active.n);
    size_t n = 0;
    for (size_t i = 0; i < s->active.n; i++) {
        struct active *x = s->active.v[i];
        if (x->state == RULE_PENDING)
            continue;
        bool changed = x->state == RULE_INACTIVE && x->resolved_ms > x->last_sent_ms;
        if (!changed && x->last_sent_ms && ev->ts_ms - x->last_sent_ms < set->resend_delay_ms)
            continue;
        x->last_sent_ms = ev->ts_ms;
        x->valid_until_ms = ev->ts_ms + 4 * MAX(set->resend_delay_ms, ev->g->def->interval_ms);
        struct labels l = x->labels.l;
        if (set->external_labels.n) { /* those the alert does not carry itself */
            struct labels_builder b = {0};
            lb_init(&b, l);
            for (size_t k = 0; k < set->external_labels.n; k++)
                if (!labels_has(l, set->external_labels.v[k].name))
                    lb_set(&b, set->external_labels.v[k].name, set->external_labels.v[k].value);
            l = lb_labels(&b, a);
            lb_done(&b);
        }
        out[n++] = (struct alert){.labels = l,
                                  .annotations = x->annotations.l,
                                  .starts_ms = x->fired_ms,
                                  .ends_ms = x->resolved_ms ? x->resolved_ms : x->valid_until_ms,
                                  .updated_ms = ev->ts_ms,
                                  .generator_url = buf_view(&url),
                                  .resolved = x->resolved_ms != 0,
                                  .value = x->value};
    }
    for (size_t i = 0; n && i < ev->r->deps.n_alerts; i++) {
        int r = ev->r->deps.alerts[i]->put(ev->r->deps.alerts[i], out, n);
        if (r)
            log_error("alerts were not taken by the notifier", KV_INT("alerts", n), KV_ERR(r));
    }
}

static void drop_active(struct rule_state_s *s, size_t i)
{
    owned_labels_done(&s->active.v[i]->labels);
    owned_labels_done(&s->active.v[i]->annotations);
    free(s->active.v[i]);
    vec_swap_del(&s->active, i);
}

static int active_cmp(const void *a, const void *b)
{
    return labels_cmp((*(struct active *const *)a)->labels.l, (*(struct active *const *)b)->labels.l);
}

void alerting_eval(struct eval *ev, struct rule_state_s *s, const struct query_result *q, struct arena *a)
{
    const struct rule_def *d = s->def;
    size_t n = q->n_series;
    if (n > (size_t)limit(alerts_per_rule)) {
        rule_fail(ev, s, "returned %zu series, more than %lld alerts (limit alerts_per_rule)", n,
                  (long long)limit(alerts_per_rule));
        return;
    }
    struct arena *texts = arena_new(0); /* bounded by the template limits times the alerts */
    struct fresh *f = ARENA_ARRAY(texts, struct fresh, n + 1);
    struct tval external = string_map(texts, ev->r->settings.external_labels);
    _cleanup_(idmap_done) struct idmap seen = {0};
    for (size_t i = 0; i < n; i++) {
        make_fresh(ev, d, &q->series[i], external, texts, &f[i]);
        uint64_t old;
        if (idmap_get(&seen, f[i].hash, &old) && labels_equal(f[i].labels, f[old].labels)) {
            rule_fail(ev, s, "vector contains metrics with the same labelset after applying alert labels");
            rule_write(ev, s, NULL, NULL, NULL, 0);
            arena_free(texts);
            return;
        }
        idmap_put(&seen, f[i].hash, i);
    }
    _cleanup_(idmap_done) struct idmap index = {0};
    for (size_t i = 0; i < s->active.n; i++)
        idmap_put(&index, s->active.v[i]->hash, i);
    uint64_t gen = s->gen + 1; /* rule_write counts it up */
    VEC(struct active *) fired = {0}, resolved = {0}, pending = {0};
    size_t live = 0;
    pthread_mutex_lock(&ev->r->mu);
    for (size_t i = 0; i < n; i++) {
        uint64_t at;
        struct active *x = NULL;
        if (idmap_get(&index, f[i].hash, &at) && labels_equal(s->active.v[at]->labels.l, f[i].labels))
            x = s->active.v[at];
        if (!x) {
            x = NEW(struct active);
            x->labels = owned_labels(f[i].labels);
            x->hash = f[i].hash;
            vec_push(&s->active, x);
            x->state = RULE_INACTIVE;
        }
        if (x->state == RULE_INACTIVE) { /* new, or back after it was resolved: a new alert with new times */
            x->state = RULE_PENDING;
            x->active_ms = ev->ts_ms;
            x->fired_ms = x->resolved_ms = x->last_sent_ms = x->valid_until_ms = 0;
            if (d->for_ms > 0)
                vec_push(&pending, x);
        }
        x->keep_since_ms = 0;
        x->value = f[i].value;
        owned_labels_done(&x->annotations);
        x->annotations = owned_labels(f[i].annotations);
        x->gen = gen;
    }
    for (size_t i = 0; i < s->active.n;) {
        struct active *x = s->active.v[i];
        if (x->gen != gen) {
            bool keep = false;
            if (x->state == RULE_FIRING && d->keep_firing_for_ms > 0) {
                if (!x->keep_since_ms)
                    x->keep_since_ms = ev->ts_ms;
                keep = ev->ts_ms - x->keep_since_ms < d->keep_firing_for_ms;
            }
            if (!keep) {
                if (x->state == RULE_PENDING ||
                    (x->resolved_ms && ev->ts_ms - x->resolved_ms > RESOLVED_RETENTION_MS)) {
                    drop_active(s, i);
                    continue;
                }
                if (x->state != RULE_INACTIVE) {
                    x->state = RULE_INACTIVE;
                    x->resolved_ms = ev->ts_ms;
                    vec_push(&resolved, x);
                }
                i++;
                continue;
            }
        }
        live++;
        if (x->state == RULE_PENDING && ev->ts_ms - x->active_ms >= d->for_ms) {
            x->state = RULE_FIRING;
            x->fired_ms = ev->ts_ms;
            vec_push(&fired, x);
        }
        i++;
    }
    if (s->active.n > 1)
        qsort(s->active.v, s->active.n, sizeof(*s->active.v), active_cmp);
    bool over = ev->g->def->limit && live > (size_t)ev->g->def->limit;
    if (over)
        while (s->active.n)
            drop_active(s, 0);
    if (!d->for_ms) /* nothing to restore */
        s->restored = true;
    pthread_mutex_unlock(&ev->r->mu);
    /* First the series: after a crash in between they tell the next run what has to be told (again) or ended. */
    write_series(ev, s, a);
    if (over) {
        rule_fail(ev, s, "exceeded limit of %lld with %zu alerts", (long long)ev->g->def->limit, live);
    } else {
        for (size_t i = 0; i < pending.n; i++)
            if (pending.v[i]->state == RULE_PENDING)
                tell(ev, d, pending.v[i], "alert.pending", "is pending");
        for (size_t i = 0; i < fired.n; i++)
            tell(ev, d, fired.v[i], "alert.firing", "is firing");
        for (size_t i = 0; i < resolved.n; i++)
            tell(ev, d, resolved.v[i], "alert.resolved", "is resolved");
        send_alerts(ev, s, a);
    }
    vec_done(&fired);
    vec_done(&resolved);
    vec_done(&pending);
    arena_free(texts);
}

/* ---- `for` state after a restart ---- */

/* The newest sample of this alert's ALERTS_FOR_STATE within the tolerance. */
static bool last_state(struct eval *ev, const struct active *x, int64_t *ret_t, double *ret_v)
{
    _cleanup_buf_ struct buf expr = BUF_INIT((size_t)limit(query_bytes));
    struct arena *a = arena_new((size_t)limit(query_memory));
    struct labels_builder b = {0};
    lb_init(&b, x->labels.l);
    lb_set(&b, STR(LABEL_NAME), STR("ALERTS_FOR_STATE"));
    labels_format(&expr, lb_labels(&b, a));
    lb_done(&b);
    buf_putc(&expr, '[');
    buf_i64(&expr, MAX(ev->r->settings.outage_tolerance_ms, 1));
    buf_z(&expr, "ms]");
    arena_reset(a);
    struct query_request req = {.expr = buf_view(&expr), .start_ms = ev->query_ms - 1, .end_ms = ev->query_ms - 1};
    struct query_result q = {0};
    struct err e = {0};
    int r = query_eval(ev->r->deps.query, &req, a, &q, &e);
    bool found = false;
    if (r) {
        log_warn("the state of an alert was not restored", KV_Z("reason", e.msg));
    } else if (q.kind == QUERY_MATRIX) {
        for (size_t i = 0; i < q.n_series; i++) {
            const struct query_series *s = &q.series[i];
            if (!s->n || s->labels.n != x->labels.l.n + 1) /* exactly these labels */
                continue;
            *ret_t = s->t[s->n - 1];
            *ret_v = s->v[s->n - 1];
            found = !is_stale(*ret_v);
        }
    }
    arena_free(a);
    return found;
}

/* Prometheus' rules/group.go RestoreForState, with one addition: an alert that had been firing fires again at once also
 * when its `for` is shorter than the grace period; else each restart would tell receivers "resolved" and "firing" of
 * one and the same trouble. */
void alerting_restore(struct eval *ev, struct rule_state_s *s)
{
    const struct rule_def *d = s->def;
    const struct rules_settings *set = &ev->r->settings;
    for (size_t i = 0; d->for_ms > 0 && i < s->active.n; i++) {
        struct active *x = s->active.v[i];
        int64_t down_at;
        double v;
        if (x->state == RULE_INACTIVE || !last_state(ev, x, &down_at, &v))
            continue;
        int64_t was_active = (int64_t)(v * 1000);
        int64_t remaining = d->for_ms - (down_at - was_active);
        if (remaining > 0) {
            if (d->for_ms < set->grace_period_ms)
                continue;
            if (remaining < set->grace_period_ms)
                was_active =
                    ev->ts_ms - d->for_ms + set->grace_period_ms; /* at least the grace period is still to wait */
            else
                was_active += ev->ts_ms - down_at; /* the outage does not count */
        }
        if (was_active < x->active_ms) {
            pthread_mutex_lock(&ev->r->mu);
            x->active_ms = was_active;
            pthread_mutex_unlock(&ev->r->mu);
        }
    }
    s->restored = true;
}

static bool is_active(const struct rules *r, struct labels l)
{
    for (size_t i = 0; i < r->n_groups; i++)
        for (size_t k = 0; k < r->groups[i]->n_rules; k++) {
            const struct rule_state_s *s = &r->groups[i]->rules[k];
            for (size_t q = 0; q < s->active.n; q++)
                if (s->active.v[q]->state != RULE_INACTIVE && labels_equal(s->active.v[q]->labels.l, l))
                    return true;
        }
    return false;
}

/* Could this rule have made an alert with these labels? What it sets without a template must be there. */
static bool could_be(const struct rule_def *d, struct labels l)
{
    if (!str_eq(d->alert, labels_get(l, STR("alertname"))))
        return false;
    for (size_t i = 0; i < d->n_labels; i++)
        if (!d->labels[i].set && !str_eq(labels_get(l, d->labels[i].name), d->labels[i].value))
            return false;
    return true;
}

static void remember_series(struct rule_state_s *s, struct labels l, const char *name, struct arena *a)
{
    struct labels_builder b = {0};
    lb_init(&b, l);
    lb_set(&b, STR(LABEL_NAME), str_of(name));
    if (strcmp(name, "ALERTS") == 0)
        lb_set(&b, STR("alertstate"), STR("firing"));
    struct labels full = lb_labels(&b, a);
    lb_done(&b);
    uint64_t hash = labels_hash(full), at;
    if (idmap_get(&s->prev_index, hash, &at))
        return;
    idmap_put(&s->prev_index, hash, s->prev.n);
    vec_push(&s->prev, (struct prev_series){.labels = owned_labels(full), .hash = hash});
}

static void adopt(struct eval *ev, struct rule_state_s *s, struct labels l, struct arena *a)
{
    struct active *x = NEW(struct active);
    int64_t at;
    double v;
    *x = (struct active){.labels = owned_labels(l), .hash = labels_hash(l), .state = RULE_FIRING, .value = NAN};
    x->annotations = owned_labels((struct labels){0});
    x->active_ms = last_state(ev, x, &at, &v) ? (int64_t)(v * 1000) : ev->ts_ms;
    x->fired_ms = MIN(x->active_ms + s->def->for_ms, ev->ts_ms);
    remember_series(s, l, "ALERTS", a); /* so that they are marked stale */
    remember_series(s, l, "ALERTS_FOR_STATE", a);
    pthread_mutex_lock(&ev->r->mu);
    vec_push(&s->active, x);
    pthread_mutex_unlock(&ev->r->mu);
}

void alerting_adopt(struct eval *ev, struct str alertname)
{
    struct rules *r = ev->r;
    for (size_t i = 0; i < r->n_groups; i++)
        for (size_t k = 0; k < r->groups[i]->n_rules; k++)
            if (r->groups[i]->evals_before_restore && str_eq(r->groups[i]->rules[k].def->alert, alertname))
                return; /* that group will see to it */
    struct arena *a = arena_new((size_t)limit(query_memory)), *mine = arena_new(0);
    struct label name[] = {
        {STR(LABEL_NAME), STR("ALERTS")}, {STR("alertname"), alertname}, {STR("alertstate"), STR("firing")}};
    _cleanup_buf_ struct buf expr = BUF_INIT((size_t)limit(query_bytes));
    labels_format(&expr, (struct labels){.v = name, .n = 3});
    struct query_request req = {.expr = buf_view(&expr),
                                .start_ms = ev->query_ms,
                                .end_ms = ev->query_ms,
                                .lookback_ms = MAX(r->settings.outage_tolerance_ms, 1)};
    struct query_result q = {0};
    struct err e = {0};
    if (query_eval(r->deps.query, &req, a, &q, &e))
        log_warn("alerts of the run before were not looked up", KV_STR("alert", alertname), KV_Z("reason", e.msg));
    for (size_t n = 0; n < q.n_series && q.kind == QUERY_VECTOR; n++) {
        struct labels_builder b = {0};
        lb_init(&b, q.series[n].labels);
        lb_del(&b, STR(LABEL_NAME));
        lb_del(&b, STR("alertstate"));
        struct labels l = lb_labels(&b, mine);
        lb_done(&b);
        if (is_active(r, l))
            continue;
        struct rule_state_s *heir = NULL;
        for (size_t i = 0; i < r->n_groups && !heir; i++)
            for (size_t k = 0; k < r->groups[i]->n_rules && !heir; k++)
                if (could_be(r->groups[i]->rules[k].def, l))
                    heir = &r->groups[i]->rules[k];
        if (heir)
            adopt(ev, heir, l, mine);
    }
    arena_free(a);
    arena_free(mine);
}

void alerting_leave(struct eval *ev, struct rule_state_s *s)
{
    if (!s->def->alert.n || !s->active.n)
        return;
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < s->active.n; i++) {
        struct active *x = s->active.v[i];
        if (x->state != RULE_FIRING)
            continue;
        x->state = RULE_INACTIVE;
        x->resolved_ms = ev->ts_ms;
        tell(ev, s->def, x, "alert.resolved", "is resolved: its rule was removed or changed");
    }
    send_alerts(ev, s, a);
    arena_free(a);
}
