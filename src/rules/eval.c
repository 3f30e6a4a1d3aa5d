// SPDX-License-Identifier: Apache-2.0
/* One group at one time: rules in order, results written at once so that later rules see them, series that vanished
 * marked stale. Only the evaluation thread comes here; it takes the lock for the moments in which readers could look.
 */
#include "rules/rules_int.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include <errno.h>
#include <stdio.h>

struct owned_labels owned_labels(struct labels l)
{
    size_t bytes = 0;
    for (size_t i = 0; i < l.n; i++)
        bytes += l.v[i].name.n + l.v[i].value.n;
    char *block = xmalloc(l.n * sizeof(struct label) + bytes + 1);
    struct label *v = (struct label *)(void *)block;
    char *p = block + l.n * sizeof(struct label);
    for (size_t i = 0; i < l.n; i++) {
        memcpy(p, l.v[i].name.p, l.v[i].name.n);
        v[i].name = str_make(p, l.v[i].name.n);
        p += l.v[i].name.n;
        if (l.v[i].value.n)
            memcpy(p, l.v[i].value.p, l.v[i].value.n);
        v[i].value = str_make(p, l.v[i].value.n);
        p += l.v[i].value.n;
    }
    return (struct owned_labels){.l = {.v = v, .n = l.n}, .block = block};
}

void owned_labels_done(struct owned_labels *o)
{
    free(o->block);
    *o = (struct owned_labels){0};
}

void rule_fail(struct eval *ev, struct rule_state_s *s, const char *fmt, ...)
{
    char msg[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&ev->r->mu);
    bool news = s->health != RULE_ERR || !s->last_error || strcmp(s->last_error, msg) != 0;
    s->health = RULE_ERR;
    free(s->last_error);
    s->last_error = xstrdup(msg);
    ev->g->failures++;
    pthread_mutex_unlock(&ev->r->mu);
    if (news)
        log_warn("rule failed", KV_STR("group", ev->g->def->name),
                 KV_STR("rule", s->def->record.n ? s->def->record : s->def->alert), KV_Z("reason", msg));
}

static void write_rows(struct eval *ev, struct rule_state_s *s, struct sample_row *rows, size_t n)
{
    if (!n)
        return;
    int r = sink_append(ev->r->deps.sink, rows, n, SINK_EXACT_ORDER);
    if (r) {
        rule_fail(ev, s, "writing results failed: %s", err_name(r));
        return;
    }
    size_t bad = 0;
    const char *why = "";
    for (size_t i = 0; i < n; i++)
        if (rows[i].status != ROW_OK && rows[i].status != ROW_DUPLICATE && !is_stale(rows[i].v)) {
            bad++;
            why = row_status_text[rows[i].status];
        }
    if (bad)
        log_warn("rule results refused", KV_STR("group", ev->g->def->name),
                 KV_STR("rule", s->def->record.n ? s->def->record : s->def->alert), KV_INT("rows", bad),
                 KV_Z("reason", why));
}

void rule_write(struct eval *ev, struct rule_state_s *s, const struct labels *l, const double *v,
                const struct histogram *const *h, size_t n)
{
    uint64_t gen = ++s->gen;
    struct sample_row *rows = xcalloc(n + s->prev.n + ev->g->orphans.n + 1, sizeof(*rows));
    size_t *slot = xcalloc(n + 1, sizeof(*slot));
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = labels_hash(l[i]), at;
        if (idmap_get(&s->prev_index, hash, &at) && labels_equal(s->prev.v[at].labels.l, l[i])) {
            slot[i] = at;
        } else {
            slot[i] = s->prev.n;
            vec_push(&s->prev, (struct prev_series){.labels = owned_labels(l[i]), .hash = hash});
            idmap_put(&s->prev_index, hash, slot[i]);
        }
        struct prev_series *p = &s->prev.v[slot[i]];
        p->gen = gen;
        rows[i] = (struct sample_row){
            .ref = p->ref, .labels = p->labels.l, .t = ev->query_ms, .v = v[i], .h = h ? h[i] : NULL};
    }
    /* Stale markers only for what no other new series of this evaluation took over. */
    size_t k = n;
    for (size_t i = 0; i < s->prev.n; i++)
        if (s->prev.v[i].gen != gen)
            rows[k++] = (struct sample_row){
                .ref = s->prev.v[i].ref, .labels = s->prev.v[i].labels.l, .t = ev->query_ms, .v = stale_nan()};
    write_rows(ev, s, rows, k);
    for (size_t i = 0; i < n; i++)
        s->prev.v[slot[i]].ref = rows[i].ref;
    if (k > n) {
        size_t kept = 0;
        idmap_done(&s->prev_index);
        s->prev_index = (struct idmap){0};
        for (size_t i = 0; i < s->prev.n; i++) {
            if (s->prev.v[i].gen != gen) {
                owned_labels_done(&s->prev.v[i].labels);
                continue;
            }
            s->prev.v[kept] = s->prev.v[i];
            idmap_put(&s->prev_index, s->prev.v[kept].hash, kept);
            kept++;
        }
        s->prev.n = kept;
    }
    ev->g->samples += n;
    free(slot);
    free(rows);
}

static void recording_eval(struct eval *ev, struct rule_state_s *s, const struct query_result *q, struct arena *a)
{
    size_t n = q->n_series;
    if (ev->g->def->limit && n > (size_t)ev->g->def->limit) {
        rule_fail(ev, s, "exceeded limit of %lld with %zu series", (long long)ev->g->def->limit, n);
        rule_write(ev, s, NULL, NULL, NULL, 0);
        return;
    }
    struct labels *l = ARENA_ARRAY(a, struct labels, n + 1);
    double *v = ARENA_ARRAY(a, double, n + 1);
    const struct histogram **h = ARENA_ARRAY(a, const struct histogram *, n + 1);
    _cleanup_(idmap_done) struct idmap seen = {0};
    struct labels_builder b = {0};
    bool duplicate = false;
    for (size_t i = 0; i < n && !duplicate; i++) {
        lb_init(&b, q->series[i].labels);
        lb_set(&b, STR(LABEL_NAME), s->def->record);
        for (size_t k = 0; k < s->def->n_labels; k++)
            lb_set(&b, s->def->labels[k].name, s->def->labels[k].value);
        l[i] = lb_labels(&b, a);
        lb_done(&b);
        v[i] = q->series[i].v[0];
        h[i] = q->series[i].h ? q->series[i].h[0] : NULL;
        uint64_t hash = labels_hash(l[i]), old;
        duplicate = idmap_get(&seen, hash, &old) && labels_equal(l[i], l[old]);
        idmap_put(&seen, hash, i);
    }
    if (duplicate) {
        rule_fail(ev, s, "vector contains metrics with the same labelset after applying rule labels");
        rule_write(ev, s, NULL, NULL, NULL, 0);
        return;
    }
    rule_write(ev, s, l, v, h, n);
}

/* An instant query as a vector; a scalar becomes one series without labels. 0 or the failure is told. */
static int ask(struct eval *ev, struct rule_state_s *s, struct arena *a, struct query_result *ret)
{
    struct query_request req = {.expr = s->def->expr, .start_ms = ev->query_ms, .end_ms = ev->query_ms};
    struct err e = {0};
    int r = query_eval(ev->r->deps.query, &req, a, ret, &e);
    if (r) {
        rule_fail(ev, s, "%s", e.msg[0] ? e.msg : r < 0 ? err_name(r) : "query failed");
        return -1;
    }
    if (ret->kind == QUERY_SCALAR) {
        struct query_series *one = ARENA_NEW(a, struct query_series);
        int64_t *t = ARENA_NEW(a, int64_t);
        double *v = ARENA_NEW(a, double);
        *t = ret->t;
        *v = ret->scalar;
        *one = (struct query_series){.n = 1, .t = t, .v = v};
        ret->series = one;
        ret->n_series = 1;
    } else if (ret->kind != QUERY_VECTOR) {
        rule_fail(ev, s, "rule result is not a vector or scalar");
        return -1;
    }
    return 0;
}

int rules_template_query(struct template_run *run, struct template_prom *p, struct str expr, struct tval *ret)
{
    struct eval *ev = ((struct rule_host *)p)->ev;
    struct arena *a = template_arena(run), *mem = arena_new((size_t)limit(query_memory));
    struct query_request req = {.expr = expr, .start_ms = ev->query_ms, .end_ms = ev->query_ms};
    struct query_result q = {0};
    struct err e = {0};
    int r = query_eval(ev->r->deps.query, &req, mem, &q, &e);
    if (!r && q.kind != QUERY_VECTOR && q.kind != QUERY_SCALAR) {
        err_set(&e, "query result is not a vector or scalar");
        r = QUERY_E_EXEC;
    }
    if (!r)
        r = template_step(run, q.n_series);
    if (r) {
        r = template_fail(run, "%s", e.msg[0] ? e.msg : "query failed");
        arena_free(mem);
        return r;
    }
    size_t n = q.kind == QUERY_SCALAR ? 1 : q.n_series;
    struct tval *rows = ARENA_ARRAY(a, struct tval, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct labels l = q.kind == QUERY_SCALAR ? (struct labels){0} : labels_copy(a, q.series[i].labels);
        struct tpair *pairs = ARENA_ARRAY(a, struct tpair, l.n + 1);
        for (size_t k = 0; k < l.n; k++)
            pairs[k] = (struct tpair){.key = l.v[k].name, .value = tval_str(l.v[k].value)};
        rows[i] = template_sample(run, pairs, l.n, q.kind == QUERY_SCALAR ? q.scalar : q.series[i].v[0]);
    }
    arena_free(mem);
    *ret = tval_list_of(a, rows, n);
    return 0;
}

static void rule_eval(struct eval *ev, struct rule_state_s *s)
{
    const struct clock *c = ev->r->deps.clock;
    uint64_t start = clock_mono_ns(c);
    struct arena *a = arena_new((size_t)limit(query_memory));
    struct query_result q = {0};
    uint64_t failures = ev->g->failures;
    ev->g->evals++;
    if (ask(ev, s, a, &q) == 0) {
        if (s->def->record.n)
            recording_eval(ev, s, &q, a);
        else
            alerting_eval(ev, s, &q, a);
    }
    arena_free(a);
    pthread_mutex_lock(&ev->r->mu);
    if (ev->g->failures == failures) {
        s->health = RULE_OK;
        free(s->last_error);
        s->last_error = NULL;
    }
    s->last_eval_ms = ev->ts_ms;
    s->eval_ns = clock_mono_ns(c) - start;
    pthread_mutex_unlock(&ev->r->mu);
}

void group_eval(struct rules *r, struct group *g, int64_t ts_ms)
{
    struct eval ev = {.r = r, .g = g, .ts_ms = ts_ms, .query_ms = ts_ms - g->def->query_offset_ms};
    uint64_t start = clock_mono_ns(r->deps.clock);
    g->samples = 0;
    for (size_t i = 0; i < g->n_rules; i++)
        rule_eval(&ev, &g->rules[i]);
    if (g->orphans.n) { /* series of rules that a reload took away */
        struct sample_row *rows = xcalloc(g->orphans.n, sizeof(*rows));
        for (size_t i = 0; i < g->orphans.n; i++)
            rows[i] = (struct sample_row){
                .ref = g->orphans.v[i].ref, .labels = g->orphans.v[i].labels.l, .t = ev.query_ms, .v = stale_nan()};
        int e = sink_append(r->deps.sink, rows, g->orphans.n, SINK_EXACT_ORDER);
        if (e)
            log_warn("stale markers of removed rules were not written", KV_ERR(e));
        for (size_t i = 0; i < g->orphans.n; i++)
            owned_labels_done(&g->orphans.v[i].labels);
        vec_done(&g->orphans);
        free(rows);
    }
    /* The `for` state comes back after the second evaluation: before that, rules that others build on may not have
     * written. */
    if (g->evals_before_restore && --g->evals_before_restore == 0) {
        for (size_t i = 0; i < g->n_rules; i++)
            if (g->rules[i].def->alert.n)
                alerting_restore(&ev, &g->rules[i]);
        for (size_t i = 0; i < g->n_rules; i++) {
            bool again = !g->rules[i].def->alert.n;
            for (size_t k = 0; k < i && !again; k++)
                again = str_eq(g->rules[k].def->alert, g->rules[i].def->alert);
            if (!again)
                alerting_adopt(&ev, g->rules[i].def->alert);
        }
    }
    pthread_mutex_lock(&r->mu);
    g->last_eval_ms = ts_ms;
    g->eval_ns = clock_mono_ns(r->deps.clock) - start;
    g->iterations++;
    pthread_mutex_unlock(&r->mu);
}

void rule_free_state(struct rule_state_s *s, struct group *heir)
{
    for (size_t i = 0; i < s->prev.n; i++) {
        if (heir)
            vec_push(&heir->orphans, s->prev.v[i]);
        else
            owned_labels_done(&s->prev.v[i].labels);
    }
    vec_done(&s->prev);
    idmap_done(&s->prev_index);
    for (size_t i = 0; i < s->active.n; i++) {
        owned_labels_done(&s->active.v[i]->labels);
        owned_labels_done(&s->active.v[i]->annotations);
        free(s->active.v[i]);
    }
    vec_done(&s->active);
    free(s->last_error);
}
