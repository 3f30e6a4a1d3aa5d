// SPDX-License-Identifier: Apache-2.0
/* The dispatcher: alerts into groups, groups flushed by their timers, what is left after inhibition, silences and time
 * intervals goes through the notification log to each integration of the receiver (Alertmanager 0.34, dispatch/ and
 * notify/).
 *
 *   group:  made by an alert -> group_wait -> flush -> group_interval -> flush ... -> gone when its last alert is
 * resolved and told job:    flush -> needed? -> SENDING -> done ^ |failed, may be tried again | v WAITING (back-off,
 * Retry-After; gives up when the group's next flush takes over)          */
#include "notify/notify_int.h"
#include "base/rand.h"
#include "sys/thread.h"

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 60000
#define REQUEST_TIMEOUT_MS 30000
#define ROUTES_PER_ALERT 256
#define LOG_GC_MS (15 * 60 * 1000)

/* ---- alerts ---- */

static size_t labels_bytes(struct labels l)
{
    size_t n = l.n * sizeof(struct label);
    for (size_t i = 0; i < l.n; i++)
        n += l.v[i].name.n + l.v[i].value.n;
    return n;
}

static struct str put_bytes(char **p, struct str s)
{
    if (s.n)
        memcpy(*p, s.p, s.n);
    struct str out = str_make(*p, s.n);
    *p += s.n;
    return out;
}

void *pack_alert(const struct alert *in, struct alert *out)
{
    size_t n_labels = in->labels.n, n_ann = in->annotations.n;
    char *block = xmalloc(labels_bytes(in->labels) + labels_bytes(in->annotations) + in->generator_url.n + 1);
    struct label *v = (struct label *)(void *)block;
    char *p = block + (n_labels + n_ann) * sizeof(struct label);
    *out = *in;
    for (size_t i = 0; i < n_labels + n_ann; i++) {
        const struct label *from = i < n_labels ? &in->labels.v[i] : &in->annotations.v[i - n_labels];
        v[i].name = put_bytes(&p, from->name);
        v[i].value = put_bytes(&p, from->value);
    }
    out->labels = (struct labels){.v = v, .n = n_labels};
    out->annotations = (struct labels){.v = v + n_labels, .n = n_ann};
    out->generator_url = put_bytes(&p, in->generator_url);
    return block;
}

bool alert_resolved(const struct alert *a, int64_t now)
{
    return a->ends_ms && a->ends_ms <= now;
}

struct alarm *alarm_find(struct notify *n, uint64_t fp)
{
    uint64_t p;
    return idmap_get(&n->alarm_index, fp, &p) ? (struct alarm *)(uintptr_t)p : NULL;
}

static void alarm_free(struct notify *n, struct alarm *x)
{
    (void)n;
    vec_done(&x->silenced_by);
    free(x->block);
    free(x);
}

/* Alertmanager's provider: the same alert told again while it lasts keeps its first start, takes the newest
 * annotations, and of several ends the latest; after it was resolved it is a new one. */
struct alarm *alarm_upsert(struct notify *n, const struct alert *a, int64_t now, bool timeout, bool *ret_changed)
{
    uint64_t fp = labels_fingerprint(a->labels);
    struct alarm *x = alarm_find(n, fp);
    struct alert m = *a;
    *ret_changed = true;
    if (!m.starts_ms)
        m.starts_ms = m.ends_ms ? MIN(m.ends_ms, now) : now;
    m.updated_ms = now;
    if (!x) {
        x = NEW(struct alarm);
        x->fp = fp;
        vec_push(&n->alarms, x);
        idmap_put(&n->alarm_index, fp, (uint64_t)(uintptr_t)x);
    } else {
        const struct alert *o = &x->a;
        bool was = alert_resolved(o, now), is = alert_resolved(&m, now);
        bool overlaps = (m.ends_ms > o->starts_ms && m.ends_ms < o->ends_ms) ||
                        (m.starts_ms >= o->starts_ms && m.starts_ms <= o->ends_ms);
        bool same_again = !was && !is; /* still firing, told once more */
        if (is && !m.annotations.n)
            m.annotations = o->annotations; /* the sender had forgotten them over a restart */
        if (overlaps || same_again) {
            m.starts_ms = MIN(m.starts_ms, o->starts_ms);
            if (was && is)
                m.ends_ms = MAX(m.ends_ms, o->ends_ms);
            else if (!was && !is && !x->timeout && timeout)
                m.ends_ms = MAX(m.ends_ms, o->ends_ms);
        }
        *ret_changed = was != is || m.starts_ms != o->starts_ms || !labels_equal(m.annotations, o->annotations);
        if (was != is)
            n->inhibit_dirty = true;
    }
    void *block = pack_alert(&m, &x->a);
    free(x->block);
    x->block = block;
    x->timeout = timeout;
    if (*ret_changed)
        n->inhibit_dirty = true;
    return x;
}

/* ---- groups ---- */

static struct labels group_labels(const struct route *r, struct labels l, struct arena *a)
{
    if (r->group_by_all)
        return labels_copy(a, l);
    struct labels_builder b = {0};
    lb_init(&b, (struct labels){0});
    for (size_t i = 0; i < r->n_group_by; i++) {
        struct str v = labels_get(l, r->group_by[i]);
        if (v.n)
            lb_set(&b, r->group_by[i], v);
    }
    struct labels out = labels_copy(a, lb_labels(&b, a));
    lb_done(&b);
    return out;
}

static struct group *group_find(struct notify *n, uint64_t *hash, const struct route *r, struct labels l)
{
    uint64_t p;
    for (; idmap_get(&n->group_index, *hash, &p); (*hash)++) {
        struct group *g = (struct group *)(uintptr_t)p;
        if (g->route == r && labels_equal(g->labels, l))
            return g;
    }
    return NULL;
}

static void drop_job(struct notify_job *j);

static void group_free(struct notify *n, struct group *g)
{
    for (size_t i = 0; i < g->n_jobs; i++)
        if (g->jobs[i]) {
            g->jobs[i]->group = NULL;
            if (g->jobs[i]->state != JOB_SENDING)
                drop_job(g->jobs[i]);
        }
    for (size_t i = 0; i < g->alarms.n; i++)
        g->alarms.v[i]->groups--;
    idmap_del(&n->group_index, g->hash);
    vec_done(&g->alarms);
    idmap_done(&g->members);
    arena_free(g->mem);
    notify_config_free(g->config);
    free(g->jobs);
    free(g);
}

static void add_to_route(struct notify *n, struct alarm *x, const struct route *r, int64_t now)
{
    struct arena *tmp = arena_new(0);
    struct labels l = group_labels(r, x->a.labels, tmp);
    uint64_t hash = hash_mix(labels_hash(l) ^ hash_bytes(r->id.p, r->id.n));
    struct group *g = group_find(n, &hash, r, l);
    int64_t earliest = n->started_ms + n->o.start_delay_ms;
    if (!g) {
        g = NEW(struct group);
        *g = (struct group){.hash = hash, .route = r, .config = notify_config_ref(n->config), .mem = tmp, .labels = l};
        struct buf key = BUF_INIT(1 << 20);
        buf_str(&key, r->key);
        buf_putc(&key, ':');
        labels_format(&key, l);
        g->key = arena_str(g->mem, buf_view(&key));
        buf_done(&key);
        g->n_jobs = r->receiver->n;
        g->jobs = xcalloc(g->n_jobs + 1, sizeof(struct notify_job *));
        g->next_ms = now + r->group_wait_ms;
        vec_push(&n->groups, g);
        idmap_put(&n->group_index, hash, (uint64_t)(uintptr_t)g);
    } else {
        arena_free(tmp);
    }
    uint64_t one;
    if (!idmap_get(&g->members, x->fp, &one)) {
        idmap_put(&g->members, x->fp, 1);
        vec_push(&g->alarms, x);
        x->groups++;
    }
    if (!g->flushed && x->a.starts_ms + r->group_wait_ms < now)
        g->next_ms = now; /* it has waited long enough elsewhere */
    g->next_ms = MAX(g->next_ms, earliest);
}

void route_alarm(struct notify *n, struct alarm *x, int64_t now)
{
    const struct route *hit[ROUTES_PER_ALERT];
    size_t k;
    routes_match(&n->config->root, x->a.labels, hit, ROUTES_PER_ALERT, &k);
    for (size_t i = 0; i < k; i++)
        add_to_route(n, x, hit[i], now);
}

/* ---- inhibition ---- */

struct source {
    const struct alarm *x;
    bool also_target;
    struct source *next;
};

static uint64_t equal_hash(const struct inhibit_rule *r, struct labels l)
{
    uint64_t h = 1;
    for (size_t i = 0; i < r->equal.n; i++) {
        struct str v = labels_get(l, r->equal.v[i]);
        h = hash_mix(h * 31 + (v.n ? hash_bytes(v.p, v.n) : 0) + i);
    }
    return h;
}

static bool equal_labels(const struct inhibit_rule *r, struct labels a, struct labels b)
{
    for (size_t i = 0; i < r->equal.n; i++)
        if (!str_eq(labels_get(a, r->equal.v[i]), labels_get(b, r->equal.v[i])))
            return false;
    return true;
}

static void inhibit_reset(struct notify *n)
{
    for (size_t i = 0; n->inhibit_index && i < n->config->n_inhibit; i++)
        idmap_done(&n->inhibit_index[i]);
    free(n->inhibit_index);
    n->inhibit_index = NULL;
    n->inhibit_mem = arena_free(n->inhibit_mem);
}

/* An index of firing sources by the labels that must be equal; good until an alert changes or a source ends. */
static void inhibit_build(struct notify *n, int64_t now)
{
    inhibit_reset(n);
    const struct notify_config *c = n->config;
    n->inhibit_dirty = false;
    n->inhibit_until_ms = INT64_MAX;
    if (!c->n_inhibit)
        return;
    n->inhibit_mem = arena_new(0);
    n->inhibit_index = xcalloc(c->n_inhibit, sizeof(struct idmap));
    for (size_t i = 0; i < n->alarms.n; i++) {
        const struct alarm *x = n->alarms.v[i];
        if (alert_resolved(&x->a, now))
            continue;
        for (size_t k = 0; k < c->n_inhibit; k++) {
            const struct inhibit_rule *r = &c->inhibit[k];
            if (!matchers_all(r->source, r->n_source, x->a.labels))
                continue;
            struct source *s = ARENA_NEW(n->inhibit_mem, struct source);
            uint64_t h = equal_hash(r, x->a.labels), head = 0;
            (void)idmap_get(&n->inhibit_index[k], h, &head); /* absent: an empty list */
            *s = (struct source){.x = x,
                                 .also_target = matchers_all(r->target, r->n_target, x->a.labels),
                                 .next = (struct source *)(uintptr_t)head};
            idmap_put(&n->inhibit_index[k], h, (uint64_t)(uintptr_t)s);
            if (x->a.ends_ms)
                n->inhibit_until_ms = MIN(n->inhibit_until_ms, x->a.ends_ms);
        }
    }
}

bool inhibited(struct notify *n, const struct alarm *x, int64_t now, uint64_t *ret_by)
{
    if (n->inhibit_dirty || now >= n->inhibit_until_ms)
        inhibit_build(n, now);
    for (size_t k = 0; k < n->config->n_inhibit; k++) {
        const struct inhibit_rule *r = &n->config->inhibit[k];
        uint64_t head;
        if (!matchers_all(r->target, r->n_target, x->a.labels) ||
            !idmap_get(&n->inhibit_index[k], equal_hash(r, x->a.labels), &head))
            continue;
        bool both_sides = matchers_all(r->source, r->n_source, x->a.labels);
        for (const struct source *s = (const struct source *)(uintptr_t)head; s; s = s->next)
            if (s->x != x && !(both_sides && s->also_target) && equal_labels(r, s->x->a.labels, x->a.labels)) {
                if (ret_by)
                    *ret_by = s->x->fp;
                return true;
            }
    }
    return false;
}

/* ---- the notification log ---- */

static void log_entry_free(struct log_entry *l)
{
    if (l) {
        free((void *)(uintptr_t)l->key.p);
        free(l->firing);
        free(l->resolved);
        free(l);
    }
}

static uint64_t *copy_fps(const uint64_t *v, size_t n)
{
    uint64_t *out = xcalloc(n + 1, sizeof(*out));
    if (n)
        memcpy(out, v, n * sizeof(*out));
    return out;
}

void log_put(struct notify *n, struct str key, int64_t t_ms, int64_t expires_ms, const uint64_t *firing,
             size_t n_firing, const uint64_t *resolved, size_t n_resolved)
{
    struct log_entry *l = NEW(struct log_entry);
    *l = (struct log_entry){.key = str_make(str_dupz(key), key.n),
                            .t_ms = t_ms,
                            .expires_ms = expires_ms,
                            .n_firing = n_firing,
                            .n_resolved = n_resolved};
    l->firing = copy_fps(firing, n_firing);
    l->resolved = copy_fps(resolved, n_resolved);
    log_entry_free(map_del(&n->log, key));
    (void)map_put(&n->log, l->key, l); /* the former one is gone */
}

static void log_gc(struct notify *n, int64_t now)
{
    if (now - n->log_gc_ms < LOG_GC_MS && now >= n->log_gc_ms)
        return;
    n->log_gc_ms = now;
    VEC(struct log_entry *) old = {0};
    for (struct map_entry *e = NULL; (e = map_next(&n->log, e));) {
        struct log_entry *l = e->value;
        if (l->expires_ms <= now)
            vec_push(&old, l);
    }
    for (size_t i = 0; i < old.n; i++) {
        (void)map_del(&n->log, old.v[i]->key); /* is old.v[i] */
        log_entry_free(old.v[i]);
    }
    vec_done(&old);
}

static int by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool subset(const uint64_t *v, size_t n, const uint64_t *of, size_t m)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        while (k < m && of[k] < v[i])
            k++;
        if (k == m || of[k] != v[i])
            return false;
    }
    return true;
}

/* ---- jobs ---- */

static void drop_job(struct notify_job *j)
{
    struct notify *n = j->n;
    for (size_t i = 0; i < n->jobs.n; i++)
        if (n->jobs.v[i] == j) {
            vec_swap_del(&n->jobs, i);
            break;
        }
    for (size_t i = 0; j->group && i < j->group->n_jobs; i++)
        if (j->group->jobs[i] == j)
            j->group->jobs[i] = NULL;
    notify_config_free(j->config);
    arena_free(j->mem);
    free(j);
}

static void job_sets(const struct notify_job *j, uint64_t *f, size_t *nf, uint64_t *r, size_t *nr)
{
    *nf = *nr = 0;
    for (size_t i = 0; i < j->n_alerts; i++) {
        if (j->alerts[i].a.resolved)
            r[(*nr)++] = j->alerts[i].fp;
        else
            f[(*nf)++] = j->alerts[i].fp;
    }
    qsort(f, *nf, sizeof(*f), by_u64);
    qsort(r, *nr, sizeof(*r), by_u64);
}

static void tell(struct notify_job *j, const char *kind, const struct notify_result *res, enum severity sev)
{
    struct notify *n = j->n;
    if (!n->o.journal)
        return;
    _cleanup_buf_ struct buf payload = BUF_INIT((size_t)limit(event_payload_bytes)), summary = BUF_INIT(2048);
    struct jw w;
    jw_init(&w, &payload);
    jw_obj(&w);
    jw_kstr(&w, "receiver", j->receiver);
    jw_kz(&w, "integration", j->in->kind_name);
    jw_ki64(&w, "index", (int64_t)j->in->index);
    jw_kstr(&w, "group", j->group_key);
    jw_key(&w, "groupLabels");
    labels_json(&w, j->group_labels);
    jw_ki64(&w, "code", res ? res->status : 0);
    jw_ki64(&w, "attempts", j->attempts);
    jw_kstr(&w, "key", j->msg.idempotency_key);
    if (res && res->err.msg[0])
        jw_kz(&w, "reason", res->err.msg);
    jw_key(&w, "alerts");
    jw_arr(&w);
    for (size_t i = 0; i < j->n_alerts && i < 100; i++) {
        char fp[20];
        snprintf(fp, sizeof(fp), "%016llx", (unsigned long long)j->alerts[i].fp);
        jw_obj(&w);
        jw_kz(&w, "fingerprint", fp);
        jw_kz(&w, "status", j->alerts[i].a.resolved ? "resolved" : "firing");
        jw_kstr(&w, "alertname", labels_get(j->alerts[i].a.labels, STR("alertname")));
        jw_end(&w);
    }
    jw_end(&w);
    jw_ki64(&w, "alertCount", (int64_t)j->n_alerts);
    jw_end(&w);
    struct str name = labels_get(j->group_labels, STR("alertname"));
    if (!name.n && j->n_alerts)
        name = labels_get(j->alerts[0].a.labels, STR("alertname"));
    if (!res || res->ok)
        buf_fmt(&summary, "told " STR_FMT " by %s: " STR_FMT " (%zu alerts)", STR_ARG(str_sub(j->receiver, 0, 200)),
                j->in->kind_name, STR_ARG(str_sub(name, 0, 200)), j->n_alerts);
    else
        buf_fmt(&summary, "could not tell " STR_FMT " by %s: " STR_FMT ": %.300s",
                STR_ARG(str_sub(j->receiver, 0, 200)), j->in->kind_name, STR_ARG(str_sub(name, 0, 200)), res->err.msg);
    struct event e = {.t_ms = clock_now_ms(n->o.clock),
                      .kind = str_of(kind),
                      .severity = sev,
                      .service = STR("hune"),
                      .subject = j->receiver,
                      .actor = STR("hune"),
                      .summary = buf_view(&summary),
                      .payload = buf_error(&payload) ? STR("") : buf_view(&payload)};
    n->o.journal->post(n->o.journal, &e);
}

/* The group may let go of resolved alerts once every integration was told (or had nothing to be told). */
static void job_settled(struct notify *n, struct group *g, bool ok, int64_t now)
{
    (void)n;
    if (!ok)
        g->failed = true;
    if (g->running)
        g->running--;
    if (g->running || g->failed)
        return;
    for (size_t i = 0; i < g->alarms.n;) {
        struct alarm *x = g->alarms.v[i];
        if (!alert_resolved(&x->a, g->flush_ms)) {
            i++;
            continue;
        }
        idmap_del(&g->members, x->fp);
        vec_swap_del(&g->alarms, i);
        x->groups--;
    }
    if (!g->alarms.n)
        g->next_ms = now; /* to be cleared away */
}

static void job_logged(struct notify_job *j, int64_t now)
{
    struct notify *n = j->n;
    uint64_t *f = xcalloc(j->n_alerts + 1, sizeof(*f)), *r = xcalloc(j->n_alerts + 1, sizeof(*r));
    size_t nf, nr;
    job_sets(j, f, &nf, r, &nr);
    int64_t keep = MAX(n->o.retention_ms, 2 * (j->group ? j->group->route->repeat_interval_ms : 0));
    log_put(n, j->log_key, now, now + keep, f, nf, r, nr);
    struct log_entry *l = map_get(&n->log, j->log_key);
    store_log(n, l);
    free(f);
    free(r);
}

static void job_finish(struct notify_job *j, bool ok, int64_t now)
{
    struct notify *n = j->n;
    struct group *g = j->group;
    if (ok)
        job_logged(j, now);
    if (g) {
        job_settled(n, g, ok, now);
        if (g->again)
            g->next_ms = now;
        g->again = false;
    }
    drop_job(j);
}

static void job_send(struct notify_job *j, int64_t now)
{
    (void)now;
    j->state = JOB_SENDING;
    j->attempts++;
    j->n->transport->send(j->n->transport, &j->msg, j);
}

void notify_job_done(struct notify_job *j, const struct notify_result *res)
{
    struct notify *n = j->n;
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    ASSERT(j->state == JOB_SENDING);
    notify_count_request(j->in->kind_name, !res->ok, 0);
    if (res->ok) {
        notify_count(j->in->kind_name, false, FAIL_OTHER);
        tell(j, "notify.sent", res, SEV_INFO);
        job_finish(j, true, now);
    } else {
        int64_t wait = MAX(j->backoff_ms, res->retry_after_ms);
        if (j->attempts == 1)
            log_warn("notification failed", KV_STR("receiver", j->receiver), KV_Z("integration", j->in->kind_name),
                     KV_INT("status", res->status), KV_Z("reason", res->err.msg), KV_BOOL("retry", res->retry));
        if (res->retry && j->group && now + wait < j->deadline_ms) {
            j->state = JOB_WAITING;
            j->retry_ms = now + wait;
            j->backoff_ms = MIN(j->backoff_ms * 3 / 2, BACKOFF_MAX_MS);
        } else {
            log_error("notification given up until the group's next turn", KV_STR("receiver", j->receiver),
                      KV_Z("integration", j->in->kind_name), KV_INT("attempts", j->attempts),
                      KV_Z("reason", res->err.msg));
            notify_count(j->in->kind_name, true,
                         res->status >= 500   ? FAIL_SERVER
                         : res->status >= 400 ? FAIL_CLIENT
                                              : FAIL_OTHER);
            tell(j, "notify.failed", res, SEV_WARNING);
            job_finish(j, false, now);
        }
    }
    pthread_mutex_unlock(&n->mu);
}

/* Is there something this integration was not told yet? (Alertmanager notify.DedupStage.needsUpdate) */
static bool needed(const struct notify_job *j, const struct log_entry *l, int64_t now, struct str *ret_reason)
{
    uint64_t *f = xcalloc(j->n_alerts + 1, sizeof(*f)), *r = xcalloc(j->n_alerts + 1, sizeof(*r));
    size_t nf, nr;
    job_sets(j, f, &nf, r, &nr);
    bool need;
    if (!l) {
        need = nf > 0;
        *ret_reason = STR("first notification");
    } else if (!subset(f, nf, l->firing, l->n_firing)) {
        need = true;
        *ret_reason = STR("new alerts added to group");
    } else if (!nf) {
        need = l->n_firing > 0;
        *ret_reason = STR("all alerts resolved");
    } else if (j->in->send_resolved && !subset(r, nr, l->resolved, l->n_resolved)) {
        need = true;
        *ret_reason = STR("some alerts resolved");
    } else {
        need = l->t_ms <= now - j->group->route->repeat_interval_ms;
        *ret_reason = STR("repeat interval elapsed");
    }
    free(f);
    free(r);
    return need;
}

/* Stable over retries and crashes: of the same group, the same alerts, after the same earlier message. */
static struct str idempotency_key(const struct notify_job *j, const struct log_entry *l)
{
    uint64_t h = hash_bytes(j->log_key.p, j->log_key.n);
    for (size_t i = 0; i < j->n_alerts; i++)
        h = hash_mix(h + j->alerts[i].fp * 2 + j->alerts[i].a.resolved) ^ (uint64_t)j->alerts[i].a.starts_ms;
    return arena_fmt(j->mem, "hune-%016llx-%llx", (unsigned long long)hash_mix(h),
                     (unsigned long long)(l ? l->t_ms : 0));
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const struct job_alert *)a)->a.labels, ((const struct job_alert *)b)->a.labels);
}

static void job_begin(struct notify *n, struct group *g, size_t slot, struct alarm *const *visible, size_t count,
                      int64_t now)
{
    struct notify_job *old = g->jobs[slot];
    if (old && old->state == JOB_SENDING) {
        g->failed = g->again = true; /* what changed meanwhile goes with a flush right after this message */
        return;
    }
    if (old)
        drop_job(old); /* given up in favour of the newer state */
    struct notify_job *j = NEW(struct notify_job);
    *j = (struct notify_job){.n = n,
                             .group = g,
                             .in = &g->route->receiver->v[slot],
                             .config = notify_config_ref(g->config),
                             .mem = arena_new(0),
                             .receiver = g->route->receiver->name,
                             .group_key = STR_NULL,
                             .flush_ms = now,
                             .deadline_ms = now + g->route->group_interval_ms,
                             .backoff_ms = BACKOFF_FIRST_MS};
    j->group_key = arena_str(j->mem, g->key);
    j->group_labels = labels_copy(j->mem, g->labels);
    j->route_labels = g->route->labels;
    j->log_key = arena_fmt(j->mem, STR_FMT "\x1f" STR_FMT "\x1f%s\x1f%zu", STR_ARG(g->key), STR_ARG(j->receiver),
                           j->in->kind_name, j->in->index);
    j->alerts = ARENA_ARRAY(j->mem, struct job_alert, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct alert a = visible[i]->a;
        a.resolved = alert_resolved(&a, now);
        a.labels = labels_copy(j->mem, a.labels);
        a.annotations = labels_copy(j->mem, a.annotations);
        a.generator_url = arena_str(j->mem, a.generator_url);
        if (!a.resolved)
            a.ends_ms = 0; /* receivers are not told until when the sender vouches for it */
        j->alerts[j->n_alerts++] = (struct job_alert){.a = a, .fp = visible[i]->fp};
    }
    qsort(j->alerts, j->n_alerts, sizeof(*j->alerts), by_labels);
    g->jobs[slot] = j;
    vec_push(&n->jobs, j);
    g->running++;
    struct log_entry *l = map_get(&n->log, j->log_key);
    if (!needed(j, l, now, &j->reason)) {
        struct group *keep = j->group;
        drop_job(j);
        job_settled(n, keep, true, now);
        return;
    }
    size_t firing = 0;
    for (size_t i = 0; i < j->n_alerts; i++)
        firing += !j->alerts[i].a.resolved;
    if (!j->in->send_resolved && !firing) {
        job_finish(j, true, now); /* counts as told */
        return;
    }
    struct notify_result res = {0};
    j->msg.idempotency_key = idempotency_key(j, l);
    if (j->in->kind == KIND_OTHER) {
        err_set(&res.err, "receivers of kind %s cannot send yet", j->in->kind_name);
        log_error("an alert reached a receiver that cannot send yet: nobody was told", KV_STR("receiver", j->receiver),
                  KV_Z("integration", j->in->kind_name), KV_STR("group", j->group_key));
        notify_count(j->in->kind_name, true, FAIL_OTHER);
        tell(j, "notify.failed", &res, SEV_WARNING);
        job_finish(j, true, now); /* told again at the repeat interval, not at every flush */
        return;
    }
    struct err e = {0};
    if (message_build(j, &e)) {
        err_set(&res.err, "%s", e.msg);
        log_error("a notification could not be written", KV_STR("receiver", j->receiver),
                  KV_Z("integration", j->in->kind_name), KV_Z("reason", e.msg));
        notify_count(j->in->kind_name, true, FAIL_TEMPLATE);
        tell(j, "notify.failed", &res, SEV_WARNING);
        job_finish(j, false, now);
        return;
    }
    if (!j->msg.timeout_ms)
        j->msg.timeout_ms = REQUEST_TIMEOUT_MS;
    job_send(j, now);
}

static struct str muted_by(const struct route *r, int64_t now)
{
    for (const struct route *p = r; p;
         p = p->parent) { /* AM asks the route itself; parents' names were inherited nowhere */
        for (size_t i = 0; i < p->n_mute; i++)
            if (interval_active(p->mute[i], now))
                return p->mute[i]->name;
        bool active = p->n_active == 0;
        for (size_t i = 0; i < p->n_active && !active; i++)
            active = interval_active(p->active[i], now);
        if (!active)
            return p->active[0]->name;
        break;
    }
    return STR("");
}

static void flush(struct notify *n, struct group *g, int64_t now)
{
    const struct route *r = g->route;
    g->flushed = true;
    g->flush_ms = now;
    g->next_ms = now + r->group_interval_ms;
    g->failed = false;
    g->running = 0;
    g->muted_by = muted_by(r, now);
    struct alarm **visible = xcalloc(g->alarms.n + 1, sizeof(*visible));
    size_t k = 0;
    for (size_t i = 0; i < g->alarms.n && !g->muted_by.n; i++) {
        struct alarm *x = g->alarms.v[i];
        silence_refresh(n, x, now);
        if (!x->silenced_by.n && !inhibited(n, x, now, NULL))
            visible[k++] = x;
    }
    g->running = 1; /* so that no early end settles the group before all jobs have begun */
    for (size_t i = 0; k && i < g->n_jobs; i++)
        job_begin(n, g, i, visible, k, now);
    job_settled(n, g, true, now);
    free(visible);
}

/* ---- time ---- */

static void alarm_gone(struct notify *n, size_t i)
{
    struct alarm *x = n->alarms.v[i];
    store_alert_gone(n, x->fp);
    vec_swap_del(&n->alarms, i);
    idmap_del(&n->alarm_index, x->fp);
    n->inhibit_dirty = true;
    alarm_free(n, x);
}

static int by_next(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    return x->next_ms < y->next_ms ? -1 : x->next_ms > y->next_ms;
}

static void silence_events(struct notify *n, int64_t now)
{
    for (size_t i = 0; i < n->silences.n; i++) {
        struct entry *s = n->silences.v[i];
        if (!s->told_expired && s->ends_ms <= now && n->o.journal) {
            struct event e = {.t_ms = s->ends_ms,
                              .kind = STR("silence.expired"),
                              .severity = SEV_INFO,
                              .service = STR("hune"),
                              .subject = str_of(s->id),
                              .actor = STR("hune"),
                              .summary = s->comment};
            n->o.journal->post(n->o.journal, &e);
        }
        s->told_expired |= s->ends_ms <= now;
    }
}

int64_t notify_step(struct notify *n)
{
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock), next = INT64_MAX;
    for (size_t i = 0; i < n->jobs.n; i++)
        if (n->jobs.v[i]->state == JOB_WAITING && n->jobs.v[i]->retry_ms <= now)
            job_send(n->jobs.v[i], now);
    VEC(struct group *) due = {0};
    for (size_t i = 0; i < n->groups.n; i++) {
        struct group *g = n->groups.v[i];
        if (g->next_ms > now + g->route->group_interval_ms + g->route->group_wait_ms + n->o.start_delay_ms)
            g->next_ms = now + g->route->group_interval_ms; /* the wall clock was set back */
        if (g->next_ms <= now)
            vec_push(&due, g);
    }
    if (due.n > 1)
        qsort(due.v, due.n, sizeof(*due.v), by_next); /* oldest first */
    for (size_t i = 0; i < due.n; i++)
        if (due.v[i]->alarms.n)
            flush(n, due.v[i], now);
    vec_done(&due);
    bool freed = false;
    for (size_t i = 0; i < n->groups.n;) {
        struct group *g = n->groups.v[i];
        if (!g->alarms.n && !g->running) {
            vec_swap_del(&n->groups, i);
            group_free(n, g);
            freed = true;
            continue;
        }
        next = MIN(next, MAX(g->next_ms - now, 0));
        i++;
    }
    if (freed)
        for (size_t i = 0; i < n->alarms.n;) {
            if (!n->alarms.v[i]->groups && alert_resolved(&n->alarms.v[i]->a, now))
                alarm_gone(n, i);
            else
                i++;
        }
    for (size_t i = 0; i < n->jobs.n; i++)
        if (n->jobs.v[i]->state == JOB_WAITING)
            next = MIN(next, MAX(n->jobs.v[i]->retry_ms - now, 0));
    silence_events(n, now);
    log_gc(n, now);
    pthread_mutex_unlock(&n->mu);
    int r = store_flush(n);
    if (!r)
        r = store_compact(n);
    if (r)
        log_error("notification state could not be stored", KV_Z("folder", n->o.dir ? n->o.dir : ""), KV_ERR(r));
    return next;
}

static void *run(void *arg)
{
    struct notify *n = arg;
    for (;;) {
        int64_t wait = notify_step(n);
        n->transport->poll(n->transport, (int)MIN(wait, 1000));
        pthread_mutex_lock(&n->mu);
        bool stop = n->stop;
        pthread_mutex_unlock(&n->mu);
        if (stop)
            return NULL;
    }
}

void poke(struct notify *n)
{
    if (n->running)
        n->transport->wake(n->transport);
}

int notify_start(struct notify *n)
{
    n->stop = false;
    int r = thread_start(&n->thread, "notify", run, n);
    if (!r)
        n->running = true;
    return r;
}

/* ---- in ---- */

static int sink_put(struct alert_sink *s, const struct alert *alerts, size_t count)
{
    struct notify *n = CONTAINER_OF(s, struct notify, sink);
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        struct alert a = alerts[i];
        bool changed, timeout = !a.ends_ms;
        if (timeout)
            a.ends_ms = a.resolved ? now : now + n->config->resolve_timeout_ms;
        if (a.resolved && a.ends_ms > now)
            a.ends_ms = now;
        struct alarm *x = alarm_upsert(n, &a, now, timeout, &changed);
        x->a.resolved = alert_resolved(&x->a, now);
        route_alarm(n, x, now);
        if (changed) {
            x->silence_version = 0;
            store_alert(n, x);
            any = true;
        }
    }
    pthread_mutex_unlock(&n->mu);
    int r = any ? store_flush(n) : 0;
    poke(n);
    return r;
}

struct alert_sink *notify_alert_sink(struct notify *n)
{
    return &n->sink;
}

static void drop_groups(struct notify *n)
{
    for (size_t i = 0; i < n->groups.n; i++)
        group_free(n, n->groups.v[i]);
    vec_reset(&n->groups);
    for (size_t i = 0; i < n->alarms.n; i++)
        n->alarms.v[i]->groups = 0;
}

void notify_apply(struct notify *n, struct notify_config *c)
{
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    drop_groups(n);
    inhibit_reset(n);
    notify_config_free(n->config);
    n->config = c;
    n->inhibit_dirty = true;
    n->started_ms = now; /* the start delay counts again, as in Alertmanager */
    for (size_t i = 0; i < n->alarms.n; i++)
        route_alarm(n, n->alarms.v[i], now);
    pthread_mutex_unlock(&n->mu);
    poke(n);
}

int notify_open(const struct notify_options *o, struct notify_config *config, struct notify **ret, struct err *e)
{
    struct notify *n = NEW(struct notify);
    n->o = *o;
    n->o.dir = o->dir ? xstrdup(o->dir) : NULL;
    n->o.external_url = str_of(str_dupz(o->external_url));
    n->o.language = str_of(str_dupz(o->language));
    if (!n->o.clock)
        n->o.clock = &clock_real;
    if (!n->o.retention_ms)
        n->o.retention_ms = INT64_C(120) * 3600000;
    n->sink.put = sink_put;
    n->config = config;
    n->silence_version = 1;
    n->inhibit_dirty = true;
    pthread_mutex_init(&n->mu, NULL);
    pthread_mutex_init(&n->io_mu, NULL);
    n->transport = o->transport ? o->transport : notify_transport_net();
    n->started_ms = clock_now_ms(n->o.clock);
    int r = notify_store_open(n, e);
    if (r) {
        notify_close(n);
        return r;
    }
    /* Senders tell firing alerts again soon; until then nothing counts as ended just because we were away. */
    for (size_t i = 0; i < n->alarms.n; i++) {
        struct alarm *x = n->alarms.v[i];
        if (!x->a.resolved && x->a.ends_ms)
            x->a.ends_ms = MAX(x->a.ends_ms, n->started_ms + config->resolve_timeout_ms);
        route_alarm(n, x, n->started_ms);
    }
    *ret = n;
    return 0;
}

struct notify *notify_close(struct notify *n)
{
    if (!n)
        return NULL;
    if (n->running) {
        pthread_mutex_lock(&n->mu);
        n->stop = true;
        pthread_mutex_unlock(&n->mu);
        n->transport->wake(n->transport);
        pthread_join(n->thread, NULL);
        n->running = false;
    }
    for (size_t i = 0; i < n->jobs.n; i++)
        if (n->jobs.v[i]->state == JOB_SENDING)
            n->transport->cancel(n->transport, n->jobs.v[i]);
    int r = n->fd >= 0 || !n->o.dir ? store_flush(n) : 0;
    if (r)
        log_error("notification state could not be stored", KV_ERR(r));
    drop_groups(n);
    while (n->jobs.n)
        drop_job(n->jobs.v[0]);
    vec_done(&n->jobs);
    vec_done(&n->groups);
    idmap_done(&n->group_index);
    inhibit_reset(n);
    for (size_t i = 0; i < n->alarms.n; i++)
        alarm_free(n, n->alarms.v[i]);
    vec_done(&n->alarms);
    idmap_done(&n->alarm_index);
    for (size_t i = 0; i < n->silences.n; i++) {
        for (size_t k = 0; k < n->silences.v[i]->n_matchers; k++)
            matcher_done(&n->silences.v[i]->matchers[k]);
        arena_free(n->silences.v[i]->mem);
        free(n->silences.v[i]);
    }
    vec_done(&n->silences);
    for (struct map_entry *m = NULL; (m = map_next(&n->log, m));)
        log_entry_free(m->value);
    map_done(&n->log);
    notify_store_close(n);
    if (n->transport)
        n->transport->free(n->transport);
    notify_config_free(n->config);
    free((void *)(uintptr_t)n->o.dir);
    free((void *)(uintptr_t)n->o.external_url.p);
    free((void *)(uintptr_t)n->o.language.p);
    pthread_mutex_destroy(&n->mu);
    pthread_mutex_destroy(&n->io_mu);
    free(n);
    return NULL;
}
