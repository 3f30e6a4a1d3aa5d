// SPDX-License-Identifier: Apache-2.0
/* The timer side: which group is due when, reloads, listing, metrics. */
#include "rules/rules_int.h"
#include "base/log.h"
#include "sys/thread.h"
#include <errno.h>
#include <time.h>

const char *const rule_health_names[] = {"unknown", "ok", "err"};
const char *const rule_state_names[] = {"inactive", "pending", "firing"};
const struct rules_settings rules_settings_default = {
    .resend_delay_ms = 60000, .outage_tolerance_ms = 3600000, .grace_period_ms = 600000};

#define EVALS_BEFORE_RESTORE 2 /* as Prometheus: the second evaluation sees what the first one wrote */

struct rules *rules_new(const struct rules_deps *deps)
{
    struct rules *r = NEW(struct rules);
    r->deps = *deps;
    r->deps.alerts = xcalloc(deps->n_alerts + 1, sizeof(*r->deps.alerts));
    for (size_t i = 0; i < deps->n_alerts; i++)
        r->deps.alerts[i] = deps->alerts[i];
    r->settings = rules_settings_default;
    pthread_mutex_init(&r->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->cond, &attr);
    pthread_condattr_destroy(&attr);
    return r;
}

static struct group *group_free(struct group *g, struct group *heir)
{
    for (size_t i = 0; i < g->n_rules; i++)
        rule_free_state(&g->rules[i], heir);
    for (size_t i = 0; i < g->orphans.n; i++)
        owned_labels_done(&g->orphans.v[i].labels);
    vec_done(&g->orphans);
    rules_config_free(g->config);
    free(g->rules);
    free(g->label);
    free(g);
    return NULL;
}

struct rules *rules_free(struct rules *r)
{
    if (!r)
        return NULL;
    rules_stop(r);
    for (size_t i = 0; i < r->n_groups; i++)
        group_free(r->groups[i], NULL);
    for (size_t i = 0; i < r->leaving.n; i++)
        group_free(r->leaving.v[i].group, NULL);
    vec_done(&r->leaving);
    free(r->groups);
    rules_config_free(r->pending);
    arena_free(r->pending_arena);
    arena_free(r->settings_arena);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->mu);
    free(r->deps.alerts);
    free(r);
    return NULL;
}

/* ---- reload ---- */

void rules_apply(struct rules *r, struct rules_config *c, const struct rules_settings *s)
{
    struct arena *a = arena_new(0);
    struct rules_settings copy = *s;
    copy.external_url = arena_str(a, s->external_url);
    copy.external_labels = labels_copy(a, s->external_labels);
    pthread_mutex_lock(&r->mu);
    rules_config_free(r->pending);
    arena_free(r->pending_arena);
    r->pending = c;
    r->pending_arena = a;
    r->pending_settings = copy;
    r->has_pending = true;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->mu);
}

/* Evaluation times of a group are spread over its interval by the hash of its name (Prometheus' Group.EvalTimestamp).
 */
static int64_t slot_at(const struct group_def *d, int64_t now)
{
    int64_t offset = (int64_t)(d->identity % (uint64_t)d->interval_ms);
    int64_t since = (now - offset) % d->interval_ms;
    if (since < 0)
        since += d->interval_ms;
    return now - since;
}

static bool same_rule(const struct rule_def *a, const struct rule_def *b)
{
    if (!str_eq(a->alert, b->alert) || !str_eq(a->record, b->record) || a->labels_map.n != b->labels_map.n)
        return false;
    for (size_t i = 0; i < a->labels_map.n; i++)
        if (!str_eq(a->labels_map.v[i].key, b->labels_map.v[i].key) ||
            !str_eq(a->labels_map.v[i].value, b->labels_map.v[i].value))
            return false;
    return true;
}

static struct group *group_new(struct rules_config *c, const struct group_def *d, int64_t now)
{
    struct group *g = NEW(struct group);
    g->config = rules_config_ref(c);
    g->def = d;
    g->n_rules = d->n_rules;
    g->rules = xcalloc(d->n_rules + 1, sizeof(*g->rules));
    for (size_t i = 0; i < d->n_rules; i++)
        g->rules[i].def = &d->rules[i];
    g->next_ms = slot_at(d, now) + d->interval_ms;
    g->evals_before_restore = EVALS_BEFORE_RESTORE;
    g->label = xasprintf(STR_FMT ";" STR_FMT, STR_ARG(d->file), STR_ARG(d->name));
    return g;
}

/* A changed group: rules of the same name and labels hand over their alerts and series, in order. */
static void inherit(struct group *g, struct group *old)
{
    bool *taken = xcalloc(old->n_rules + 1, sizeof(*taken));
    for (size_t i = 0; i < g->n_rules; i++)
        for (size_t k = 0; k < old->n_rules; k++) {
            if (taken[k] || !same_rule(g->rules[i].def, old->rules[k].def))
                continue;
            taken[k] = true;
            const struct rule_def *d = g->rules[i].def;
            g->rules[i] = old->rules[k];
            g->rules[i].def = d;
            old->rules[k] = (struct rule_state_s){.def = old->rules[k].def};
            break;
        }
    g->evals_before_restore = old->evals_before_restore;
    for (size_t i = 0; i < g->n_rules && !g->evals_before_restore; i++)
        g->rules[i].restored = true; /* new rules of an old group have nothing to restore */
    g->iterations = old->iterations;
    g->missed = old->missed;
    g->evals = old->evals;
    g->failures = old->failures;
    free(taken);
}

static void take_pending(struct rules *r, int64_t now)
{
    if (!r->has_pending)
        return;
    struct rules_config *c = r->pending;
    r->pending = NULL;
    r->has_pending = false;
    arena_free(r->settings_arena);
    r->settings_arena = r->pending_arena;
    r->pending_arena = NULL;
    r->settings = r->pending_settings;
    struct group **groups = xcalloc(c->n_groups + 1, sizeof(*groups));
    for (size_t i = 0; i < c->n_groups; i++) {
        const struct group_def *d = c->groups[i];
        struct group *old = NULL;
        size_t at = 0;
        for (size_t k = 0; k < r->n_groups && !old; k++)
            if (r->groups[k] && r->groups[k]->def->identity == d->identity) {
                old = r->groups[k];
                at = k;
            }
        if (old && old->def->content == d->content) {
            groups[i] = old;
            r->groups[at] = NULL;
            /* the old generation stays alive through the group's reference */
            continue;
        }
        groups[i] = group_new(c, d, now);
        if (old) {
            inherit(groups[i], old);
            r->groups[at] = NULL;
            vec_push(&r->leaving, (struct leaving){.group = old, .heir = groups[i]});
        }
    }
    /* Series of groups that are gone: the first group left marks them, or nobody when no group is left. */
    for (size_t k = 0; k < r->n_groups; k++)
        if (r->groups[k])
            vec_push(&r->leaving, (struct leaving){.group = r->groups[k], .heir = c->n_groups ? groups[0] : NULL});
    free(r->groups);
    r->groups = groups;
    r->n_groups = c->n_groups;
    rules_config_free(c);
}

/* Alerts of rules that a reload took away end now, and everybody hears it: nobody else would ever say so. Without the
 * lock. */
static void say_goodbye(struct rules *r, int64_t now)
{
    for (size_t i = 0; i < r->leaving.n; i++) {
        struct group *g = r->leaving.v[i].group;
        struct eval ev = {.r = r, .g = g, .ts_ms = now, .query_ms = now - g->def->query_offset_ms};
        for (size_t k = 0; k < g->n_rules; k++)
            alerting_leave(&ev, &g->rules[k]);
        pthread_mutex_lock(&r->mu);
        group_free(g, r->leaving.v[i].heir);
        pthread_mutex_unlock(&r->mu);
    }
    vec_reset(&r->leaving);
}

/* ---- time ---- */

int64_t rules_step(struct rules *r)
{
    int64_t now = clock_now_ms(r->deps.clock);
    pthread_mutex_lock(&r->mu);
    take_pending(r, now);
    pthread_mutex_unlock(&r->mu);
    say_goodbye(r, now);
    for (;;) {
        struct group *due = NULL;
        for (size_t i = 0; i < r->n_groups; i++) {
            struct group *g = r->groups[i];
            if (g->next_ms - now > g->def->interval_ms) /* the wall clock was set back */
                g->next_ms = slot_at(g->def, now) + g->def->interval_ms;
            if (g->next_ms <= now && (!due || g->next_ms < due->next_ms))
                due = g;
        }
        if (!due)
            break;
        int64_t ts = slot_at(due->def, now);
        int64_t missed = (ts - due->next_ms) / due->def->interval_ms;
        if (missed > 0) {
            pthread_mutex_lock(&r->mu);
            due->missed += (uint64_t)missed;
            due->iterations += (uint64_t)missed;
            pthread_mutex_unlock(&r->mu);
        }
        due->next_ms = ts + due->def->interval_ms;
        group_eval(r, due, ts);
        now = clock_now_ms(r->deps.clock);
        pthread_mutex_lock(&r->mu);
        bool stop = r->stop;
        if (!stop)
            take_pending(r, now);
        pthread_mutex_unlock(&r->mu);
        say_goodbye(r, now);
        if (stop)
            return 0;
    }
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < r->n_groups; i++)
        next = MIN(next, MAX(r->groups[i]->next_ms - now, 0));
    return next;
}

void rules_eval_all(struct rules *r, int64_t ts_ms)
{
    pthread_mutex_lock(&r->mu);
    take_pending(r, ts_ms);
    pthread_mutex_unlock(&r->mu);
    say_goodbye(r, ts_ms);
    for (size_t i = 0; i < r->n_groups; i++)
        group_eval(r, r->groups[i], ts_ms);
}

static void *run(void *arg)
{
    struct rules *r = arg;
    for (;;) {
        int64_t wait = rules_step(r);
        pthread_mutex_lock(&r->mu);
        if (!r->stop && !r->has_pending && wait > 0) {
            /* At most a second at a time: so a jump of the wall clock is noticed. */
            struct timespec ts;
            clock_gettime(CLOCK_MONOTONIC, &ts);
            int64_t ms = MIN(wait, 1000);
            ts.tv_nsec += ms % 1000 * 1000000;
            ts.tv_sec += ms / 1000 + ts.tv_nsec / 1000000000;
            ts.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&r->cond, &r->mu, &ts);
        }
        bool stop = r->stop;
        pthread_mutex_unlock(&r->mu);
        if (stop)
            return NULL;
    }
}

int rules_start(struct rules *r)
{
    ASSERT(!r->running);
    r->stop = false;
    int e = thread_start(&r->thread, "rules", run, r);
    if (!e)
        r->running = true;
    return e;
}

void rules_stop(struct rules *r)
{
    if (!r->running)
        return;
    pthread_mutex_lock(&r->mu);
    r->stop = true;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->mu);
    pthread_join(r->thread, NULL);
    r->running = false;
}

/* ---- listing ---- */

static struct labels pairs_view(struct arena *a, const struct rule_pair *p, size_t n)
{
    struct labels_builder b = {0};
    lb_init(&b, (struct labels){0});
    for (size_t i = 0; i < n; i++)
        lb_set(&b, p[i].name, p[i].value);
    struct labels l = labels_copy(a, lb_labels(&b, a));
    lb_done(&b);
    return l;
}

static void view_rule(const struct rule_state_s *s, struct arena *a, struct rule_view *v)
{
    const struct rule_def *d = s->def;
    *v = (struct rule_view){.alerting = d->alert.n > 0,
                            .name = arena_str(a, d->alert.n ? d->alert : d->record),
                            .expr = arena_str(a, d->expr),
                            .labels = pairs_view(a, d->labels, d->n_labels),
                            .annotations = pairs_view(a, d->annotations, d->n_annotations),
                            .for_ms = d->for_ms,
                            .keep_firing_for_ms = d->keep_firing_for_ms,
                            .health = s->health,
                            .last_error = arena_str(a, str_of(s->last_error)),
                            .last_eval_ms = s->last_eval_ms,
                            .eval_s = (double)s->eval_ns * 1e-9};
    struct rule_alert_view *alerts = ARENA_ARRAY(a, struct rule_alert_view, s->active.n + 1);
    for (size_t i = 0; i < s->active.n; i++) {
        const struct active *x = s->active.v[i];
        if (x->state == RULE_INACTIVE)
            continue;
        v->state = MAX(v->state, x->state);
        alerts[v->n_alerts++] = (struct rule_alert_view){.labels = labels_copy(a, x->labels.l),
                                                         .annotations = labels_copy(a, x->annotations.l),
                                                         .state = x->state,
                                                         .active_at_ms = x->active_ms,
                                                         .fired_at_ms = x->fired_ms,
                                                         .keep_firing_since_ms = x->keep_since_ms,
                                                         .value = x->value};
    }
    v->alerts = alerts;
}

void rules_view(struct rules *r, struct arena *a, struct rule_group_view **ret, size_t *ret_n)
{
    pthread_mutex_lock(&r->mu);
    struct rule_group_view *out = ARENA_ARRAY(a, struct rule_group_view, r->n_groups + 1);
    for (size_t i = 0; i < r->n_groups; i++) {
        const struct group *g = r->groups[i];
        struct rule_view *rules = ARENA_ARRAY(a, struct rule_view, g->n_rules + 1);
        for (size_t k = 0; k < g->n_rules; k++)
            view_rule(&g->rules[k], a, &rules[k]);
        out[i] = (struct rule_group_view){.name = arena_str(a, g->def->name),
                                          .file = arena_str(a, g->def->file),
                                          .interval_ms = g->def->interval_ms,
                                          .limit = g->def->limit,
                                          .query_offset_ms = g->def->query_offset_ms,
                                          .last_eval_ms = g->last_eval_ms,
                                          .eval_s = (double)g->eval_ns * 1e-9,
                                          .rules = rules,
                                          .n_rules = g->n_rules};
    }
    *ret = out;
    *ret_n = r->n_groups;
    pthread_mutex_unlock(&r->mu);
}

enum group_metric {
    GM_EVALS,
    GM_FAILURES,
    GM_ITERATIONS,
    GM_MISSED,
    GM_LAST,
    GM_DURATION,
    GM_INTERVAL,
    GM_RULES,
    GM_SAMPLES,
    GM_COUNT
};

static const struct {
    const char *name, *help;
    enum metric_type type;
} group_metrics[GM_COUNT] = {
    [GM_EVALS] = {"prometheus_rule_evaluations_total", "Rule evaluations.", METRIC_COUNTER},
    [GM_FAILURES] = {"prometheus_rule_evaluation_failures_total", "Rule evaluations that failed.", METRIC_COUNTER},
    [GM_ITERATIONS] = {"prometheus_rule_group_iterations_total",
                       "Scheduled evaluations of the group, missed ones included.", METRIC_COUNTER},
    [GM_MISSED] = {"prometheus_rule_group_iterations_missed_total",
                   "Evaluations skipped because the one before took too long.", METRIC_COUNTER},
    [GM_LAST] = {"prometheus_rule_group_last_evaluation_timestamp_seconds", "When the group was last evaluated.",
                 METRIC_GAUGE},
    [GM_DURATION] = {"prometheus_rule_group_last_duration_seconds", "How long the last evaluation of the group took.",
                     METRIC_GAUGE},
    [GM_INTERVAL] = {"prometheus_rule_group_interval_seconds", "Interval of the group.", METRIC_GAUGE},
    [GM_RULES] = {"prometheus_rule_group_rules", "Rules of the group.", METRIC_GAUGE},
    [GM_SAMPLES] = {"prometheus_rule_group_last_evaluation_samples",
                    "Samples returned by the last evaluation of the group.", METRIC_GAUGE},
};

void rules_collect(void *ctx, struct metrics_out *out)
{
    struct rules *r = ctx;
    pthread_mutex_lock(&r->mu);
    for (int m = 0; m < GM_COUNT; m++) {
        out->family(out, str_of(group_metrics[m].name), str_of(group_metrics[m].help), group_metrics[m].type);
        for (size_t i = 0; i < r->n_groups; i++) {
            const struct group *g = r->groups[i];
            const double v[GM_COUNT] = {(double)g->evals,
                                        (double)g->failures,
                                        (double)g->iterations,
                                        (double)g->missed,
                                        (double)g->last_eval_ms / 1000,
                                        (double)g->eval_ns * 1e-9,
                                        (double)g->def->interval_ms / 1000,
                                        (double)g->n_rules,
                                        (double)g->samples};
            struct metric_label l = {STR("rule_group"), str_of(g->label)};
            out->sample(out, STR(""), &l, 1, v[m]);
        }
    }
    pthread_mutex_unlock(&r->mu);
}
