// SPDX-License-Identifier: Apache-2.0
/* Silences, and the listings of API v2. */
#include "notify/notify_int.h"
#include "base/rand.h"

const char *const silence_state_names[] = {"pending", "active", "expired"};
const char *const notify_alert_state_names[] = {"unprocessed", "active", "suppressed"};

enum silence_state silence_state_at(const struct entry *s, int64_t now)
{
    return now < s->starts_ms ? SILENCE_PENDING : now < s->ends_ms ? SILENCE_ACTIVE : SILENCE_EXPIRED;
}

static struct entry *silence_find(struct notify *n, struct str id)
{
    for (size_t i = 0; i < n->silences.n; i++)
        if (str_eqz(id, n->silences.v[i]->id))
            return n->silences.v[i];
    return NULL;
}

static void entry_free(struct entry *e)
{
    for (size_t i = 0; i < e->n_matchers; i++)
        matcher_done(&e->matchers[i]);
    arena_free(e->mem);
    free(e);
}

static void silences_changed(struct notify *n)
{
    n->silence_version++;
}

/* Insert or replace by id; the matchers' expressions are compiled here. NULL when one is not valid. */
struct entry *silence_add(struct notify *n, const char id[37], const struct silence *s, int64_t now)
{
    struct entry *e = NEW(struct entry);
    e->mem = arena_new(0);
    memcpy(e->id, id, 37);
    e->matchers = ARENA_ARRAY(e->mem, struct matcher, s->n_matchers + 1);
    for (size_t i = 0; i < s->n_matchers; i++) {
        if (matcher_init(&e->matchers[i], s->matchers[i].op, arena_str(e->mem, s->matchers[i].name),
                         arena_str(e->mem, s->matchers[i].value), NULL)) {
            entry_free(e);
            return NULL;
        }
        e->n_matchers++;
    }
    e->starts_ms = s->starts_ms;
    e->ends_ms = s->ends_ms;
    e->updated_ms = now;
    e->created_by = arena_str(e->mem, s->created_by);
    e->comment = arena_str(e->mem, s->comment);
    for (size_t i = 0; i < n->silences.n; i++)
        if (memcmp(n->silences.v[i]->id, id, 37) == 0) {
            entry_free(n->silences.v[i]);
            n->silences.v[i] = e;
            silences_changed(n);
            return e;
        }
    vec_push(&n->silences, e);
    silences_changed(n);
    return e;
}

/* Which silences hide this alert now. Answers are kept until a silence changes, begins or ends. */
void silence_refresh(struct notify *n, struct alarm *x, int64_t now)
{
    if (now >= n->silence_next_ms) {
        n->silence_next_ms = INT64_MAX;
        for (size_t i = 0; i < n->silences.n; i++) {
            const struct entry *s = n->silences.v[i];
            if (s->starts_ms > now)
                n->silence_next_ms = MIN(n->silence_next_ms, s->starts_ms);
            else if (s->ends_ms > now)
                n->silence_next_ms = MIN(n->silence_next_ms, s->ends_ms);
        }
        n->silence_version++;
    }
    if (x->silence_version == n->silence_version)
        return;
    x->silence_version = n->silence_version;
    vec_reset(&x->silenced_by);
    for (size_t i = 0; i < n->silences.n; i++) {
        struct entry *s = n->silences.v[i];
        if (silence_state_at(s, now) == SILENCE_ACTIVE && matchers_all(s->matchers, s->n_matchers, x->a.labels))
            vec_push(&x->silenced_by, s);
    }
}

static bool same_matchers(const struct entry *e, const struct silence *s)
{
    if (e->n_matchers != s->n_matchers)
        return false;
    for (size_t i = 0; i < s->n_matchers; i++)
        if (e->matchers[i].op != s->matchers[i].op || !str_eq(e->matchers[i].name, s->matchers[i].name) ||
            !str_eq(e->matchers[i].value, s->matchers[i].value))
            return false;
    return true;
}

static int invalid(struct err *e, const char *why)
{
    err_set(e, "invalid silence: %s", why);
    return SILENCE_E_INVALID;
}

static int check(const struct silence *s, int64_t now, struct err *e)
{
    if (!s->n_matchers)
        return invalid(e, "at least one matcher required");
    bool all_empty = true;
    for (size_t i = 0; i < s->n_matchers; i++) {
        struct matcher m = {0};
        struct err why = {0};
        if (!s->matchers[i].name.n)
            return invalid(e, "invalid label matcher: a name is missing");
        if (matcher_init(&m, s->matchers[i].op, s->matchers[i].name, s->matchers[i].value, &why)) {
            err_set(e, "invalid silence: invalid label matcher %zu: %s", i, why.msg);
            return SILENCE_E_INVALID;
        }
        all_empty &= matcher_value(&m, STR(""));
        matcher_done(&m);
    }
    if (all_empty)
        return invalid(e, "at least one matcher must not match the empty string");
    if (s->ends_ms <= s->starts_ms)
        return invalid(e, "end time must not be before start time");
    if (s->ends_ms <= now)
        return invalid(e, "end time can't be in the past");
    if (!s->created_by.n)
        return invalid(e, "creator information missing");
    return 0;
}

static void new_id(char out[37])
{
    unsigned char b[16];
    rand_secure(b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); /* version 4, RFC 9562 */
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    size_t k = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[k++] = '-';
        out[k++] = "0123456789abcdef"[b[i] >> 4];
        out[k++] = "0123456789abcdef"[b[i] & 15];
    }
    out[k] = 0;
}

static void tell(struct notify *n, const char *kind, const char *id, struct str actor, struct str comment)
{
    if (!n->o.journal)
        return;
    struct event e = {.t_ms = clock_now_ms(n->o.clock),
                      .kind = str_of(kind),
                      .severity = SEV_INFO,
                      .service = STR("hune"),
                      .subject = str_of(id),
                      .actor = actor.n ? actor : STR("hune"),
                      .summary = comment};
    n->o.journal->post(n->o.journal, &e);
}

int notify_silence_set(struct notify *n, const struct silence *in, struct str actor, char ret_id[37], struct err *e)
{
    int64_t now = clock_now_ms(n->o.clock);
    struct silence s = *in;
    if (s.starts_ms < now && !in->id[0])
        s.starts_ms = now;
    int r = check(&s, now, e);
    if (r)
        return r;
    pthread_mutex_lock(&n->mu);
    char id[37];
    struct entry *old = in->id[0] ? silence_find(n, str_of(in->id)) : NULL;
    if (in->id[0] && !old) {
        pthread_mutex_unlock(&n->mu);
        err_set(e, "silence %s not found", in->id);
        return SILENCE_E_NOT_FOUND;
    }
    new_id(id);
    bool updated = false;
    if (old) {
        enum silence_state st = silence_state_at(old, now);
        /* Kept in place where the past does not change: an active one with the same matchers and start, or one not
         * begun. */
        updated = st == SILENCE_PENDING ||
                  (st == SILENCE_ACTIVE && same_matchers(old, &s) && s.starts_ms / 1000 == old->starts_ms / 1000);
        if (updated) {
            memcpy(id, old->id, sizeof(id));
            if (st == SILENCE_ACTIVE)
                s.starts_ms = old->starts_ms;
        } else {
            if (st == SILENCE_ACTIVE) {
                old->ends_ms = now;
                old->updated_ms = now;
                store_silence(n, old);
            }
            s.starts_ms = MAX(s.starts_ms, now);
        }
    }
    struct entry *made = silence_add(n, id, &s, now);
    ASSERT(made); /* checked above */
    n->silence_next_ms = 0;
    store_silence(n, made);
    pthread_mutex_unlock(&n->mu);
    r = store_flush(n);
    if (r)
        return r;
    memcpy(ret_id, id, sizeof(id));
    tell(n, updated ? "silence.changed" : "silence.created", id, actor, s.comment);
    poke(n);
    return 0;
}

int notify_silence_expire(struct notify *n, struct str id, struct str actor, struct err *e)
{
    int64_t now = clock_now_ms(n->o.clock);
    pthread_mutex_lock(&n->mu);
    struct entry *s = silence_find(n, id);
    if (!s) {
        pthread_mutex_unlock(&n->mu);
        err_set(e, "silence " STR_FMT " not found", STR_ARG(id));
        return SILENCE_E_NOT_FOUND;
    }
    char kept[37];
    memcpy(kept, s->id, sizeof(kept));
    if (silence_state_at(s, now) == SILENCE_EXPIRED) {
        pthread_mutex_unlock(&n->mu);
        err_set(e, "silence %s already expired", kept);
        return SILENCE_E_INVALID;
    }
    if (s->starts_ms > now)
        s->starts_ms = now;
    s->ends_ms = now;
    s->updated_ms = now;
    s->told_expired = true;
    silences_changed(n);
    n->silence_next_ms = 0;
    store_silence(n, s);
    pthread_mutex_unlock(&n->mu);
    int r = store_flush(n);
    if (!r)
        tell(n, "silence.expired", kept, actor, STR("ended by hand"));
    poke(n);
    return r;
}

/* ---- listings ---- */

void notify_silences(struct notify *n, struct arena *a, struct silence **ret, size_t *ret_n)
{
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    struct silence *out = ARENA_ARRAY(a, struct silence, n->silences.n + 1);
    for (size_t i = 0; i < n->silences.n; i++) {
        const struct entry *s = n->silences.v[i];
        struct matcher *m = ARENA_ARRAY(a, struct matcher, s->n_matchers + 1);
        for (size_t k = 0; k < s->n_matchers; k++)
            m[k] = (struct matcher){.op = s->matchers[k].op,
                                    .name = arena_str(a, s->matchers[k].name),
                                    .value = arena_str(a, s->matchers[k].value)};
        out[i] = (struct silence){.matchers = m,
                                  .n_matchers = s->n_matchers,
                                  .starts_ms = s->starts_ms,
                                  .ends_ms = s->ends_ms,
                                  .updated_ms = s->updated_ms,
                                  .created_by = arena_str(a, s->created_by),
                                  .comment = arena_str(a, s->comment),
                                  .state = silence_state_at(s, now)};
        memcpy(out[i].id, s->id, sizeof(s->id));
    }
    *ret = out;
    *ret_n = n->silences.n;
    pthread_mutex_unlock(&n->mu);
}

static void view_alert(struct notify *n, struct alarm *x, struct str muted, int64_t now, struct arena *a,
                       struct notify_alert_view *v)
{
    struct alert c = x->a;
    c.labels = labels_copy(a, c.labels);
    c.annotations = labels_copy(a, c.annotations);
    c.generator_url = arena_str(a, c.generator_url);
    c.resolved = alert_resolved(&c, now);
    *v = (struct notify_alert_view){
        .alert = c, .fingerprint = x->fp, .state = x->groups ? NOTIFY_ACTIVE : NOTIFY_UNPROCESSED};
    silence_refresh(n, x, now);
    if (x->silenced_by.n) {
        struct str *ids = ARENA_ARRAY(a, struct str, x->silenced_by.n);
        for (size_t i = 0; i < x->silenced_by.n; i++)
            ids[i] = arena_str(a, str_of(x->silenced_by.v[i]->id));
        v->silenced_by = ids;
        v->n_silenced_by = x->silenced_by.n;
    }
    uint64_t by;
    if (inhibited(n, x, now, &by)) {
        struct str *one = ARENA_ARRAY(a, struct str, 1);
        one[0] = arena_fmt(a, "%016llx", (unsigned long long)by);
        v->inhibited_by = one;
        v->n_inhibited_by = 1;
    }
    if (muted.n) {
        struct str *one = ARENA_ARRAY(a, struct str, 1);
        one[0] = arena_str(a, muted);
        v->muted_by = one;
        v->n_muted_by = 1;
    }
    if (v->n_silenced_by || v->n_inhibited_by || v->n_muted_by)
        v->state = NOTIFY_SUPPRESSED;
}

static void view_receivers(struct notify *n, const struct alarm *x, struct arena *a, struct notify_alert_view *v)
{
    const struct route *hit[64];
    size_t k;
    routes_match(&n->config->root, x->a.labels, hit, ARRAY_LEN(hit), &k);
    struct str *names = ARENA_ARRAY(a, struct str, k + 1);
    for (size_t i = 0; i < k; i++) {
        bool seen = false;
        for (size_t q = 0; q < v->n_receivers; q++)
            seen |= str_eq(names[q], hit[i]->receiver_name);
        if (!seen)
            names[v->n_receivers++] = arena_str(a, hit[i]->receiver_name);
    }
    v->receivers = names;
}

void notify_alerts(struct notify *n, struct arena *a, struct notify_alert_view **ret, size_t *ret_n)
{
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    struct notify_alert_view *out = ARENA_ARRAY(a, struct notify_alert_view, n->alarms.n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n->alarms.n; i++) {
        struct alarm *x = n->alarms.v[i];
        if (alert_resolved(&x->a, now))
            continue;
        view_alert(n, x, STR(""), now, a, &out[k]);
        view_receivers(n, x, a, &out[k]);
        k++;
    }
    *ret = out;
    *ret_n = k;
    pthread_mutex_unlock(&n->mu);
}

void notify_groups(struct notify *n, struct arena *a, struct notify_group_view **ret, size_t *ret_n)
{
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    struct notify_group_view *out = ARENA_ARRAY(a, struct notify_group_view, n->groups.n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n->groups.n; i++) {
        const struct group *g = n->groups.v[i];
        struct notify_alert_view *alerts = ARENA_ARRAY(a, struct notify_alert_view, g->alarms.n + 1);
        size_t m = 0;
        for (size_t q = 0; q < g->alarms.n; q++) {
            struct alarm *x = g->alarms.v[q];
            if (alert_resolved(&x->a, now))
                continue;
            view_alert(n, x, g->muted_by, now, a, &alerts[m]);
            view_receivers(n, x, a, &alerts[m]);
            m++;
        }
        if (!m)
            continue;
        out[k++] = (struct notify_group_view){.labels = labels_copy(a, g->labels),
                                              .receiver = arena_str(a, g->route->receiver_name),
                                              .route_id = arena_str(a, g->route->id),
                                              .key = arena_str(a, g->key),
                                              .alerts = alerts,
                                              .n_alerts = m};
    }
    *ret = out;
    *ret_n = k;
    pthread_mutex_unlock(&n->mu);
}

void notify_receivers(struct notify *n, struct arena *a, struct str **ret, size_t *ret_n)
{
    pthread_mutex_lock(&n->mu);
    *ret_n = n->config->n_receivers;
    *ret = ARENA_ARRAY(a, struct str, *ret_n + 1);
    for (size_t i = 0; i < *ret_n; i++)
        (*ret)[i] = arena_str(a, n->config->receivers[i].name);
    pthread_mutex_unlock(&n->mu);
}

void notify_status_yaml(struct notify *n, struct buf *out)
{
    pthread_mutex_lock(&n->mu);
    notify_config_yaml(n->config, out);
    pthread_mutex_unlock(&n->mu);
}

/* ---- metrics ---- */

static const char *const kinds[] = {"webhook",  "email",    "discord",    "slack",      "telegram",  "pagerduty",
                                    "opsgenie", "pushover", "mattermost", "rocketchat", "victorops", "sns",
                                    "wechat",   "webex",    "msteams",    "msteamsv2",  "jira",      "incidentio"};
static const char *const reasons[FAIL_REASONS] = {"clientError", "serverError", "template", "other"};
static _Atomic uint64_t sent[ARRAY_LEN(kinds)], failed[ARRAY_LEN(kinds)][FAIL_REASONS], requests[ARRAY_LEN(kinds)],
    requests_failed[ARRAY_LEN(kinds)];

static size_t kind_index(const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i], kind) == 0)
            return i;
    return 0;
}

void notify_count_request(const char *kind, bool bad, uint64_t took_ns)
{
    (void)took_ns;
    atomic_fetch_add(&requests[kind_index(kind)], 1);
    if (bad)
        atomic_fetch_add(&requests_failed[kind_index(kind)], 1);
}

void notify_count(const char *kind, bool bad, enum fail_reason why)
{
    atomic_fetch_add(&sent[kind_index(kind)], 1);
    if (bad)
        atomic_fetch_add(&failed[kind_index(kind)][why], 1);
}

static void gauge(struct metrics_out *o, const char *name, const char *help, const char *label, const char *value,
                  double v, bool head)
{
    struct metric_label l = {str_of(label), str_of(value)};
    if (head)
        o->family(o, str_of(name), str_of(help), METRIC_GAUGE);
    o->sample(o, STR(""), &l, label ? 1 : 0, v);
}

void notify_collect(void *ctx, struct metrics_out *o)
{
    struct notify *n = ctx;
    pthread_mutex_lock(&n->mu);
    int64_t now = clock_now_ms(n->o.clock);
    size_t active = 0, resolved = 0, suppressed = 0, states[3] = {0};
    for (size_t i = 0; i < n->alarms.n; i++) {
        struct alarm *x = n->alarms.v[i];
        if (alert_resolved(&x->a, now)) {
            resolved++;
            continue;
        }
        silence_refresh(n, x, now);
        if (x->silenced_by.n || inhibited(n, x, now, NULL))
            suppressed++;
        else
            active++;
    }
    for (size_t i = 0; i < n->silences.n; i++)
        states[silence_state_at(n->silences.v[i], now)]++;
    size_t groups = n->groups.n, entries = n->log.n, receivers = n->config->n_receivers;
    pthread_mutex_unlock(&n->mu);
    gauge(o, "alertmanager_alerts", "Alerts by state.", "state", "active", (double)active, true);
    gauge(o, "alertmanager_alerts", "", "state", "suppressed", (double)suppressed, false);
    gauge(o, "alertmanager_alerts", "", "state", "resolved", (double)resolved, false);
    for (size_t i = 0; i < 3; i++)
        gauge(o, "alertmanager_silences", "Silences by state.", "state", silence_state_names[i], (double)states[i],
              i == 0);
    gauge(o, "alertmanager_dispatcher_aggregation_groups", "Groups of alerts.", NULL, NULL, (double)groups, true);
    gauge(o, "alertmanager_receivers", "Receivers of the configuration.", NULL, NULL, (double)receivers, true);
    gauge(o, "hune_notify_log_entries", "Entries of the notification log.", NULL, NULL, (double)entries, true);
    static const struct {
        const char *name, *help;
        _Atomic uint64_t *v;
    } counters[] = {{"alertmanager_notifications_total", "Notifications, delivered or given up.", sent},
                    {"alertmanager_notification_requests_total", "Attempts to deliver.", requests},
                    {"alertmanager_notification_requests_failed_total", "Attempts that failed.", requests_failed}};
    for (size_t c = 0; c < ARRAY_LEN(counters); c++) {
        o->family(o, str_of(counters[c].name), str_of(counters[c].help), METRIC_COUNTER);
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
            struct metric_label l = {STR("integration"), str_of(kinds[i])};
            o->sample(o, STR(""), &l, 1, (double)atomic_load(&counters[c].v[i]));
        }
    }
    o->family(o, STR("alertmanager_notifications_failed_total"), STR("Notifications given up."), METRIC_COUNTER);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (size_t k = 0; k < FAIL_REASONS; k++) {
            struct metric_label l[] = {{STR("integration"), str_of(kinds[i])}, {STR("reason"), str_of(reasons[k])}};
            o->sample(o, STR(""), l, 2, (double)atomic_load(&failed[i][k]));
        }
}
