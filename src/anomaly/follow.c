// SPDX-License-Identifier: Apache-2.0
/* From alerts to sheets: the thread that follows the journal, takes pictures and escalates.
 *
 *   alert.firing (critical, warning) ─► same trouble open, or resolved a moment ago? ─ yes ─► joins it (and reopens it)
 *                                                                               └─ no ──► opens a sheet
 *   alert.resolved ─► ends its row; the last one resolves the sheet
 *
 * "The same trouble" is the same alertname on the same service. Each event is handled in one transaction that also
 * stores its number, so exactly once, whatever kills the process in between. */
#include "anomaly/anomaly_int.h"

#include "base/format.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "sys/thread.h"
#include <math.h>

#define JOIN_MS (30 * 60000LL)
#define EVIDENCE_MS (30 * 60000LL)
#define LIST_STEP 256
#define PICTURES_MAX 8 /* of one sheet: a flapping alert asks again and again */
#define TICK_MS 5000   /* escalation and evidence are due to this precision */
/* Rules begin anew after a restart and fire again what still holds, after at most --rules.alert.for-grace-period (10
 * min). What was firing before and is not heard of by then ended while nobody watched. */
#define RECONCILE_MS (15 * 60000LL)

static const struct step {
    enum severity severity;
    int64_t after_ms;
    const char *roles; /* JSON array */
    const char *words;
} escalation[] = {
    /* MISSION's default matrix */
    {SEV_CRITICAL, 0, "[\"devops\",\"lead_developer\"]", "DevOps and lead developer"},
    {SEV_CRITICAL, 30 * 60000LL, "[\"cto\"]", "CTO"},
    {SEV_CRITICAL, 3600000LL, "[\"ceo\"]", "CEO"},
    {SEV_WARNING, 3600000LL, "[\"lead_developer\"]", "lead developer"},
    {SEV_WARNING, 4 * 3600000LL, "[\"devops\"]", "DevOps"},
    {SEV_WARNING, 24 * 3600000LL, "[\"cto\"]", "CTO"},
    {SEV_INFO, 24 * 3600000LL, "[\"developer\"]", "developer"},
    {SEV_INFO, 72 * 3600000LL, "[\"lead_developer\"]", "lead developer"},
};

/* ---- alert events ---- */

struct firing { /* what an alert event says */
    struct str fingerprint, name, service, expr, labels, annotations, summary, description;
    const struct json *label_tree;
    double value;
    int64_t active_ms;
};

static struct str label_of(const struct firing *f, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str v = json_str(f->label_tree, names[i], STR(""));
        if (v.n)
            return v;
    }
    return STR("");
}

static struct str tree_text(struct arena *a, const struct json *o)
{
    if (!o || o->kind != JSON_OBJECT)
        return STR("{}");
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(event_payload_bytes) * 2);
    struct jw w;
    jw_init(&w, &b);
    jw_obj(&w);
    for (size_t i = 0; i < o->n; i++)
        if (o->items[i].kind == JSON_STRING) {
            jw_key_str(&w, o->keys[i]);
            jw_str(&w, o->items[i].s);
        }
    jw_end(&w);
    return buf_error(&b) ? STR("{}") : arena_str(a, buf_view(&b));
}

static struct str cut_line(struct arena *a, struct str s)
{
    struct str line = str_trim(str_sub(s, 0, LINE_MAX_BYTES));
    char *z = arena_strz(a, line);
    for (size_t i = 0; i < line.n; i++)
        if ((unsigned char)z[i] < 0x20)
            z[i] = ' ';
    return str_make(z, line.n);
}

static void read_firing(const struct event *e, struct arena *a, struct firing *ret)
{
    static const char *const service_labels[] = {"service", "job", "app", "name", "instance"};
    const struct json *o = NULL;
    struct err why = {0};
    if (!e->payload.n || json_parse(e->payload, a, &o, &why) != 0)
        o = NULL;
    *ret = (struct firing){.fingerprint = e->subject, .service = e->service, .value = NAN};
    if (o) {
        const struct json *labels = json_get(o, "labels"), *notes = json_get(o, "annotations");
        ret->label_tree = labels;
        ret->labels = tree_text(a, labels);
        ret->annotations = tree_text(a, notes);
        ret->name = json_str(labels, "alertname", json_str(o, "alertname", STR("")));
        ret->expr = json_str(o, "expr", STR(""));
        ret->value = json_f64(o, "value", NAN);
        ret->active_ms = json_i64(o, "active_ms", 0);
        ret->summary = cut_line(a, json_str(notes, "summary", STR("")));
        ret->description = str_sub(json_str(notes, "description", STR("")), 0, (size_t)limit(anomaly_text_bytes));
    } else {
        ret->labels = ret->annotations = STR("{}");
    }
    if (!ret->name.n) /* "InstanceDown is firing: ..." */
        (void)str_cut(e->summary, ' ', &ret->name, NULL);
    ret->name = cut_line(a, ret->name);
    if (!ret->service.n)
        ret->service = label_of(ret, service_labels, ARRAY_LEN(service_labels));
    ret->service = cut_line(a, ret->service);
}

static bool has_word(struct str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i + 2 < s.n; i++)
        for (size_t k = 0; k < n; k++)
            if (str_ieq(str_sub(s, i, i + strlen(words[k])), str_of(words[k])))
                return true;
    return false;
}

/* A first guess that a person may change; a label `category` decides. */
static int64_t guess_category(const struct firing *f)
{
    struct str said = json_str(f->label_tree, "category", STR(""));
    for (int64_t i = 1; anomaly_category_names[i]; i++)
        if (str_eqz(said, anomaly_category_names[i]))
            return i;
    static const char *const security[] = {"security", "vulnerab", "intrusion", "bruteforce", "breach", "cve"};
    static const char *const performance[] = {"latency", "slow",    "cpu",      "memory", "ram",
                                              "load",    "saturat", "duration", "p95",    "p99"};
    static const char *const functionality[] = {"error", "5xx", "4xx", "fail", "exception", "business"};
    if (has_word(f->name, security, ARRAY_LEN(security)))
        return ANOMALY_SECURITY;
    if (has_word(f->name, performance, ARRAY_LEN(performance)))
        return ANOMALY_PERFORMANCE;
    if (has_word(f->name, functionality, ARRAY_LEN(functionality)))
        return ANOMALY_FUNCTIONALITY;
    return ANOMALY_SYSTEM;
}

struct handling {
    struct anomalies *s;
    struct arena *a;
    const struct event *e;
    struct firing f;
    char id[ANOMALY_ID_BYTES];
    bool opened, joined, resolved;
};

static int add_alert(struct handling *h, struct db_tx *tx, struct str id)
{
    const struct firing *f = &h->f;
    int64_t started = f->active_ms && f->active_ms <= h->e->t_ms ? f->active_ms : h->e->t_ms;
    return db_do(
        tx,
        "INSERT INTO anomaly_alerts (anomaly, fingerprint, started_ms, ended_ms, name, severity, value, expr, labels,"
        " annotations, seen_seq) VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10)"
        " ON CONFLICT (anomaly, fingerprint, started_ms) DO UPDATE SET ended_ms = 0, value = excluded.value,"
        " severity = excluded.severity, seen_seq = excluded.seen_seq",
        "ssisifsssi", id, f->fingerprint, started, f->name, (int64_t)h->e->severity, f->value,
        str_sub(f->expr, 0, 65536), f->labels, f->annotations, (int64_t)h->e->seq);
}

static int count_alerts(struct db_tx *tx, struct anomaly *a)
{
    int r = db_get_i64(tx, 0, &a->alerts_active,
                       "SELECT COUNT(*) FROM anomaly_alerts WHERE anomaly = $1 AND ended_ms = 0", "s", a->id);
    return r ? r
             : db_get_i64(tx, 0, &a->alerts_total, "SELECT COUNT(*) FROM anomaly_alerts WHERE anomaly = $1", "s",
                          a->id);
}

static int open_sheet(struct handling *h, struct db_tx *tx, struct str key)
{
    static const char *const env_labels[] = {"environment", "env", "stage"};
    static const char *const component_labels[] = {"component", "service", "job", "app", "name"};
    struct anomalies *s = h->s;
    const struct firing *f = &h->f;
    int64_t now = clock_now_ms(s->deps.clock);
    _cleanup_buf_ struct buf title = BUF_INIT(2048), components = BUF_INIT(4096), metrics = BUF_INIT(512),
                             text = BUF_INIT(2048), summary = BUF_INIT(2048);
    if (f->summary.n)
        buf_str(&title, f->summary);
    else if (f->service.n)
        buf_fmt(&title, STR_FMT ": " STR_FMT, STR_ARG(f->name), STR_ARG(f->service));
    else
        buf_str(&title, f->name);
    struct jw w;
    jw_init(&w, &components);
    jw_arr(&w);
    struct str component = label_of(f, component_labels, ARRAY_LEN(component_labels));
    if (component.n)
        jw_str(&w, str_sub(component, 0, LINE_MAX_BYTES));
    jw_end(&w);
    jw_init(&w, &metrics);
    jw_obj(&w);
    if (!isnan(f->value))
        jw_kf64(&w, "value", f->value);
    jw_end(&w);
    struct str environment = cut_line(h->a, label_of(f, env_labels, ARRAY_LEN(env_labels)));
    int r = sheet_number(tx, h->e->t_ms, h->id);
    if (r)
        return r;
    struct anomaly a = {
        .id = str_of(h->id),
        .title = cut_line(h->a, buf_view(&title)),
        .description = f->description,
        .severity = h->e->severity,
        .category = guess_category(f),
        .status = ANOMALY_OPEN,
        .detection = ANOMALY_AUTOMATIC,
        .environment = environment.n ? environment : str_of(s->environment),
        .service = f->service,
        .components = buf_view(&components),
        .source = STR("alert"),
        .detected_by = STR("hune"),
        .users_affected = -1,
        .labels = f->labels,
        .annotations = f->annotations,
        .alert = f->fingerprint,
        .metrics = buf_view(&metrics),
        .actions = STR("[]"),
        .figures = STR("{}"),
        .links = STR("{}"),
        .started_ms = f->active_ms && f->active_ms <= h->e->t_ms ? f->active_ms : h->e->t_ms,
        .detected_ms = h->e->t_ms,
        .escalation_base_ms = h->e->t_ms,
        .updated_ms = now,
        .evidence_due_ms = s->deps.query && f->expr.n ? now : 0,
        .join_key = key,
        .rev = 1,
        .alerts_active = 1,
        .alerts_total = 1,
    };
    buf_fmt(&text, STR_FMT " fires", STR_ARG(f->name));
    if (!isnan(f->value))
        buf_fmt(&text, ", value %g", f->value);
    buf_fmt(&summary, STR_FMT " opened: " STR_FMT, STR_ARG(a.id), STR_ARG(a.title));
    r = sheet_insert(s, tx, &a);
    if (!r)
        r = add_alert(h, tx, a.id);
    if (!r)
        r = sheet_line(s, tx, a.id, h->e->t_ms, STR("hune"), "opened", buf_view(&text));
    if (!r)
        r = sheet_event(s, tx, &a, "anomaly.opened", STR("hune"), buf_view(&summary));
    h->opened = r == 0;
    return r;
}

static int join_sheet(struct handling *h, struct db_tx *tx, struct str id)
{
    struct anomalies *s = h->s;
    struct anomaly a;
    int r = sheet_load(s, tx, id, h->a, &a);
    if (!r)
        r = add_alert(h, tx, id);
    if (!r)
        r = count_alerts(tx, &a);
    if (r)
        return r;
    _cleanup_buf_ struct buf text = BUF_INIT(2048), summary = BUF_INIT(2048);
    bool back = a.status == ANOMALY_RESOLVED;
    if (back)
        anomaly_move(&a, a.acknowledged_ms ? ANOMALY_IN_PROGRESS : ANOMALY_OPEN, h->e->t_ms);
    bool worse = h->e->severity > (enum severity)a.severity;
    if (worse)
        a.severity = h->e->severity;
    a.stabilised_ms = 0;
    if (h->f.active_ms && h->f.active_ms < a.started_ms)
        a.started_ms = h->f.active_ms;
    if (s->deps.query && h->f.expr.n && !a.evidence_due_ms)
        a.evidence_due_ms = h->e->t_ms;
    buf_fmt(&text, STR_FMT " fires%s%s", STR_ARG(h->f.name), back ? " again: reopened" : "",
            worse ? ", now critical" : "");
    if (!isnan(h->f.value))
        buf_fmt(&text, ", value %g", h->f.value);
    buf_fmt(&summary, STR_FMT " %s: " STR_FMT, STR_ARG(a.id), back ? "was reopened" : "was joined by another alert",
            STR_ARG(a.title));
    r = sheet_line(s, tx, a.id, h->e->t_ms, STR("hune"), "alert", buf_view(&text));
    if (!r)
        r = sheet_update(s, tx, &a);
    if (!r)
        r = sheet_event(s, tx, &a, "anomaly.changed", STR("hune"), buf_view(&summary));
    h->joined = r == 0;
    return r;
}

static int on_firing(struct handling *h, struct db_tx *tx)
{
    if (h->e->severity < SEV_WARNING || !h->f.name.n)
        return 0;
    /* Told again (after a restart, say): it is on a sheet already. */
    struct db_stmt *st;
    int r = db_query(
        tx, &st,
        "SELECT anomaly FROM anomaly_alerts WHERE fingerprint = $1 AND ended_ms = 0 ORDER BY started_ms DESC LIMIT 1",
        "s", h->f.fingerprint);
    if (!r)
        r = db_step(st);
    if (r < 0)
        return r;
    if (r == 1) {
        db_reset(st);
        return db_do(tx, "UPDATE anomaly_alerts SET seen_seq = $1, value = $2 WHERE fingerprint = $3 AND ended_ms = 0",
                     "ifs", (int64_t)h->e->seq, h->f.value, h->f.fingerprint);
    }
    struct str key = arena_fmt(h->a, STR_FMT "\x1f" STR_FMT, STR_ARG(h->f.name), STR_ARG(h->f.service));
    r = db_query(
        tx, &st,
        "SELECT id FROM anomalies WHERE join_key = $1 AND (status IN (0, 1) OR (status = 2 AND resolved_ms >= $2))"
        " ORDER BY detected_ms DESC LIMIT 1",
        "si", key, h->e->t_ms - h->s->set.join_ms);
    if (!r)
        r = db_step(st);
    if (r < 0)
        return r;
    if (r == 0)
        return open_sheet(h, tx, key);
    struct str id = arena_str(h->a, db_col_str(st, 0));
    db_reset(st);
    return join_sheet(h, tx, id);
}

/* The alert's row is closed already; the sheet follows. */
static int after_end(struct anomalies *s, struct db_tx *tx, struct arena *a, struct str id, struct str name,
                     int64_t ended_ms, const char *why, bool *ret_resolved)
{
    struct anomaly x;
    int r = sheet_load(s, tx, id, a, &x);
    if (!r)
        r = count_alerts(tx, &x);
    if (r)
        return r;
    _cleanup_buf_ struct buf text = BUF_INIT(2048), summary = BUF_INIT(2048);
    buf_fmt(&text, STR_FMT " %s", STR_ARG(name), why);
    r = sheet_line(s, tx, id, ended_ms, STR("hune"), "alert_ended", buf_view(&text));
    bool resolve = x.alerts_active == 0 && x.status <= ANOMALY_IN_PROGRESS;
    if (resolve) {
        anomaly_move(&x, ANOMALY_RESOLVED, MAX(ended_ms, x.started_ms));
        buf_reset(&text);
        buf_z(&text, "is resolved: all its alerts ended after ");
        format_duration_human(&text, x.resolved_ms - x.started_ms);
        if (!r)
            r = sheet_line(s, tx, id, ended_ms, STR("hune"), "status", buf_view(&text));
    } else if (x.alerts_active == 0 && !x.stabilised_ms) {
        x.stabilised_ms = ended_ms;
    }
    if (!r)
        r = sheet_update(s, tx, &x);
    buf_fmt(&summary, STR_FMT " %s: " STR_FMT, STR_ARG(x.id), resolve ? "is resolved" : "has one alert less",
            STR_ARG(x.title));
    if (!r)
        r = sheet_event(s, tx, &x, resolve ? "anomaly.resolved" : "anomaly.changed", STR("hune"), buf_view(&summary));
    if (!r && resolve)
        *ret_resolved = true;
    return r;
}

static int on_resolved(struct handling *h, struct db_tx *tx)
{
    struct db_stmt *st;
    int r =
        db_query(tx, &st, "SELECT anomaly, name FROM anomaly_alerts WHERE fingerprint = $1 AND ended_ms = 0 LIMIT 1",
                 "s", h->f.fingerprint);
    if (!r)
        r = db_step(st);
    if (r <= 0)
        return r; /* info alerts, or one from before this store */
    struct str id = arena_str(h->a, db_col_str(st, 0)), name = arena_str(h->a, db_col_str(st, 1));
    db_reset(st);
    r = db_do(tx, "UPDATE anomaly_alerts SET ended_ms = $1, seen_seq = $2 WHERE fingerprint = $3 AND ended_ms = 0",
              "iis", h->e->t_ms, (int64_t)h->e->seq, h->f.fingerprint);
    return r ? r : after_end(h->s, tx, h->a, id, name, h->e->t_ms, "ended", &h->resolved);
}

static int handle_tx(struct db_tx *tx, void *ctx)
{
    struct handling *h = ctx;
    int64_t last;
    int r = state_get(tx, "last_seq", &last);
    if (r || (uint64_t)last >= h->e->seq)
        return r;
    if (str_eqz(h->e->kind, "alert.firing"))
        r = on_firing(h, tx);
    else
        r = on_resolved(h, tx);
    return r ? r : state_set(tx, "last_seq", (int64_t)h->e->seq);
}

static int handle(struct anomalies *s, const struct event *e)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct handling h = {.s = s, .a = a, .e = e};
    read_firing(e, a, &h.f);
    int r = db_write(s->deps.db, handle_tx, &h);
    if (!r) {
        s->opened += h.opened;
        s->joined += h.joined;
        s->resolved += h.resolved;
    }
    return r;
}

/* Is it the store's trouble of the moment (try again), or this event's own? */
static bool passing(int r)
{
    return r == -ENOSPC || r == -EIO || r == -EROFS || r == -ENOMEM || r == -EBUSY || r == -EACCES;
}

static int follow(struct anomalies *s)
{
    for (;;) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct event *v;
        size_t n = 0;
        /* All kinds, read by number: an index over kinds would be walked from its beginning every time. */
        struct event_filter f = {.after_seq = s->seen, .limit = LIST_STEP, .ascending = true};
        int r = s->deps.journal->list(s->deps.journal, &f, a, &v, &n);
        for (size_t i = 0; i < n && !r; i++) {
            if (str_eqz(v[i].kind, "alert.firing") || str_eqz(v[i].kind, "alert.resolved"))
                r = handle(s, &v[i]);
            if (r && !passing(r)) { /* one event that can never be taken must not stop all later ones */
                log_error("an alert could not be put on a sheet", KV_INT("seq", v[i].seq),
                          KV_STR("alert", v[i].summary), KV_INT("result", r));
                s->failed++;
                r = 0;
            }
            if (!r)
                s->seen = v[i].seq;
        }
        if (r || n < LIST_STEP)
            return r;
    }
}

/* ---- pictures ---- */

struct picture {
    struct anomalies *s;
    struct str id, expr, labels;
    int64_t detected_ms, due_ms;
    bool found;
    struct arena *a;
    struct str measures;
};

static int due_tx(struct db_tx *tx, void *ctx)
{
    struct picture *p = ctx;
    struct db_stmt *st;
    int r = db_query(tx, &st,
                     "SELECT id, labels, detected_ms, evidence_due_ms FROM anomalies WHERE evidence_due_ms > 0 AND"
                     " evidence_due_ms <= $1 ORDER BY evidence_due_ms LIMIT 1",
                     "i", clock_now_ms(p->s->deps.clock));
    if (!r)
        r = db_step(st);
    if (r <= 0)
        return r;
    p->found = true;
    p->id = arena_str(p->a, db_col_str(st, 0));
    p->labels = arena_str(p->a, db_col_str(st, 1));
    p->detected_ms = db_col_i64(st, 2);
    p->due_ms = db_col_i64(st, 3);
    db_reset(st);
    r = db_query(tx, &st,
                 "SELECT expr FROM anomaly_alerts WHERE anomaly = $1 AND expr <> '' ORDER BY started_ms LIMIT 1", "s",
                 p->id);
    if (!r)
        r = db_step(st);
    if (r == 1) {
        p->expr = arena_str(p->a, db_col_str(st, 0));
        db_reset(st);
        r = 0;
    }
    return r;
}

static int keep_tx(struct db_tx *tx, void *ctx)
{
    struct picture *p = ctx;
    struct anomalies *s = p->s;
    int64_t now = clock_now_ms(s->deps.clock), n;
    int r = 0;
    if (p->measures.n) {
        r = db_get_i64(tx, 0, &n, "SELECT MAX(n) FROM anomaly_evidence WHERE anomaly = $1", "s", p->id);
        if (!r && n < PICTURES_MAX)
            r = db_do(tx, "INSERT INTO anomaly_evidence (anomaly, n, t_ms, expr, measures) VALUES ($1, $2, $3, $4, $5)",
                      "siiss", p->id, n + 1, now, p->expr, p->measures);
        if (!r)
            r = sheet_line(s, tx, p->id, now, STR("hune"), "evidence",
                           STR("the measurements around the moment were kept"));
    }
    /* One picture at once, one when the story has gone on for a while. */
    int64_t later = p->detected_ms + s->set.evidence_after_ms;
    return r ? r
             : db_do(tx, "UPDATE anomalies SET evidence_due_ms = $1 WHERE id = $2 AND evidence_due_ms = $3", "isi",
                     p->due_ms < later ? later : (int64_t)0, p->id, p->due_ms);
}

static int pictures(struct anomalies *s)
{
    for (;;) {
        _cleanup_arena_ struct arena *a = arena_new(0);
        struct picture p = {.s = s, .a = a};
        int r = db_read(s->deps.db, due_tx, &p);
        if (r || !p.found)
            return r;
        /* Outside any transaction: a query may take its time. Killed meanwhile, it is still due. */
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        int64_t now = clock_now_ms(s->deps.clock);
        if (evidence_take(s->deps.query, p.expr, p.labels, p.detected_ms - s->set.evidence_before_ms, now, &out))
            p.measures = buf_view(&out);
        r = db_write(s->deps.db, keep_tx, &p);
        if (r)
            return r;
    }
}

/* ---- escalation ---- */

struct due {
    struct anomalies *s;
    struct arena *a;
    VEC(struct str) ids;
    struct str id;
    unsigned told;
};

static const struct step *next_step(const struct anomaly *a)
{
    int64_t k = 0;
    for (size_t i = 0; i < ARRAY_LEN(escalation); i++)
        if ((int64_t)escalation[i].severity == a->severity && k++ == a->escalation_level)
            return &escalation[i];
    return NULL;
}

/* Most have nothing due: look at three numbers before taking the writer's time. */
static int due_ids_tx(struct db_tx *tx, void *ctx)
{
    struct due *d = ctx;
    int64_t now = clock_now_ms(d->s->deps.clock);
    struct db_stmt *st;
    int r = db_query(tx, &st,
                     "SELECT id, severity, escalation_level, escalation_base_ms FROM anomalies WHERE status = 0", "");
    while (!r && (r = db_step(st)) == 1) {
        struct anomaly x = {.severity = db_col_i64(st, 1), .escalation_level = db_col_i64(st, 2)};
        const struct step *next = next_step(&x);
        if (next && db_col_i64(st, 3) + next->after_ms <= now)
            vec_push(&d->ids, arena_str(d->a, db_col_str(st, 0)));
        r = 0;
    }
    return r;
}

static int escalate_tx(struct db_tx *tx, void *ctx)
{
    struct due *d = ctx;
    struct anomalies *s = d->s;
    struct anomaly a;
    int64_t now = clock_now_ms(s->deps.clock);
    int r = sheet_load(s, tx, d->id, d->a, &a);
    const struct step *st;
    while (!r && a.status == ANOMALY_OPEN && (st = next_step(&a)) && a.escalation_base_ms + st->after_ms <= now) {
        _cleanup_buf_ struct buf text = BUF_INIT(512), payload = BUF_INIT(1024), links = BUF_INIT(64),
                                 summary = BUF_INIT(2048);
        a.escalation_level++;
        buf_fmt(&text, "escalated to %s", st->words);
        if (st->after_ms) {
            buf_z(&text, ": not acknowledged after ");
            format_duration_human(&text, st->after_ms);
        }
        buf_fmt(&payload, "{\"id\":\"" STR_FMT "\",\"level\":%lld,\"roles\":%s,\"after_ms\":%lld}", STR_ARG(a.id),
                (long long)a.escalation_level, st->roles, (long long)st->after_ms);
        buf_fmt(&links, "{\"anomaly\":\"" STR_FMT "\"}", STR_ARG(a.id));
        buf_fmt(&summary, STR_FMT " " STR_FMT ": " STR_FMT, STR_ARG(a.id), STR_ARG(buf_view(&text)), STR_ARG(a.title));
        struct event e = {.t_ms = now,
                          .kind = STR("anomaly.escalated"),
                          .severity = (enum severity)a.severity,
                          .service = a.service,
                          .subject = a.id,
                          .actor = STR("hune"),
                          .summary = buf_view(&summary),
                          .links = buf_view(&links),
                          .payload = buf_view(&payload)};
        r = sheet_line(s, tx, a.id, now, STR("hune"), "escalated", buf_view(&text));
        if (!r)
            r = sheet_update(s, tx, &a);
        if (!r)
            r = journal_append_tx(s->deps.journal, tx, &e);
        d->told++;
    }
    return r;
}

static int escalate(struct anomalies *s)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct due d = {.s = s, .a = a};
    int r = db_read(s->deps.db, due_ids_tx, &d);
    for (size_t i = 0; i < d.ids.n && !r; i++) {
        d.id = d.ids.v[i];
        d.told = 0;
        r = db_write(s->deps.db, escalate_tx, &d);
        if (!r)
            s->escalated += d.told;
    }
    vec_done(&d.ids);
    return r;
}

/* ---- alerts whose end nobody told ---- */

static int reconcile_tx(struct db_tx *tx, void *ctx)
{
    struct anomalies *s = ctx;
    _cleanup_arena_ struct arena *a = arena_new(0);
    for (;;) {
        struct db_stmt *st;
        int r = db_query(
            tx, &st,
            "SELECT anomaly, fingerprint, name FROM anomaly_alerts WHERE ended_ms = 0 AND expr <> '' AND seen_seq <= $1"
            " LIMIT 1",
            "i", (int64_t)s->start_seq);
        if (!r)
            r = db_step(st);
        if (r <= 0)
            return r;
        struct str id = arena_str(a, db_col_str(st, 0)), fp = arena_str(a, db_col_str(st, 1)),
                   name = arena_str(a, db_col_str(st, 2));
        db_reset(st);
        r = db_do(tx,
                  "UPDATE anomaly_alerts SET ended_ms = $1 WHERE anomaly = $2 AND fingerprint = $3 AND ended_ms = 0",
                  "iss", s->start_ms, id, fp);
        bool resolved = false;
        if (!r)
            r = after_end(s, tx, a, id, name, s->start_ms, "no longer fired when hune came back", &resolved);
        if (r)
            return r;
    }
}

static int reconcile(struct anomalies *s)
{
    if (s->reconciled || clock_now_ms(s->deps.clock) < s->start_ms + RECONCILE_MS)
        return 0;
    int r = db_write(s->deps.db, reconcile_tx, s);
    s->reconciled = r == 0;
    return r;
}

/* ---- life ---- */

int anomalies_step(struct anomalies *s)
{
    int r = follow(s), p = pictures(s), e = escalate(s), c = reconcile(s);
    r = r ? r : p ? p : e ? e : c;
    if (r)
        s->failed++;
    return r;
}

static void poke(void *ctx, const struct event *e)
{
    struct anomalies *s = ctx;
    if (!str_starts(e->kind, STR("alert.")))
        return;
    pthread_mutex_lock(&s->lock);
    s->poked = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void *follow_main(void *p)
{
    struct anomalies *s = p;
    pthread_mutex_lock(&s->lock);
    s->poked = true; /* first what was missed */
    while (!s->stopping) {
        if (!s->poked) {
            uint64_t at = clock_mono_ns(&clock_real) + TICK_MS * 1000000ULL;
            struct timespec ts = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
            pthread_cond_timedwait(&s->wake, &s->lock, &ts);
            if (s->stopping)
                break;
        }
        s->poked = false;
        pthread_mutex_unlock(&s->lock);
        int r = anomalies_step(s);
        if (r)
            log_error("anomalies are behind: the record store refused", KV_ERR(r));
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int last_seq_tx(struct db_tx *tx, void *ctx)
{
    return state_get(tx, "last_seq", ctx);
}

int anomalies_open(const struct anomaly_deps *d, const struct anomaly_settings *set, struct anomalies **ret,
                   struct err *e)
{
    int r = anomaly_migrate(d->db, e);
    if (r)
        return r;
    struct anomalies *s = NEW(struct anomalies);
    s->deps = *d;
    s->set = set ? *set : (struct anomaly_settings){0};
    s->set.join_ms = s->set.join_ms ? s->set.join_ms : JOIN_MS;
    s->set.evidence_before_ms = s->set.evidence_before_ms ? s->set.evidence_before_ms : EVIDENCE_MS;
    s->set.evidence_after_ms = s->set.evidence_after_ms ? s->set.evidence_after_ms : EVIDENCE_MS;
    s->environment = s->set.environment.n ? str_dupz(s->set.environment) : xstrdup("production");
    s->set.environment = str_of(s->environment);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    sheet_sql(s);
    int64_t last = 0;
    r = db_read(d->db, last_seq_tx, &last);
    if (r) {
        err_set(e, "anomalies: %s", err_name(r));
        anomalies_close(s);
        return r;
    }
    s->seen = (uint64_t)last;
    s->start_seq = journal_last_seq(d->journal);
    s->start_ms = clock_now_ms(d->clock);
    *ret = s;
    return 0;
}

int anomalies_start(struct anomalies *s)
{
    int r = thread_start(&s->thread, "anomaly", follow_main, s);
    if (r)
        return r;
    s->started = true;
    s->deps.journal->subscribe(s->deps.journal, poke, s);
    return 0;
}

struct anomalies *anomalies_close(struct anomalies *s)
{
    if (!s)
        return NULL;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
        journal_unsubscribe(s->deps.journal, s);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s->environment);
    free(s->select_sql);
    free(s->insert_sql);
    free(s->update_sql);
    free(s);
    return NULL;
}

struct counts {
    int64_t open[4]; /* by severity */
};

static int counts_tx(struct db_tx *tx, void *ctx)
{
    struct counts *c = ctx;
    struct db_stmt *st;
    int r = db_query(tx, &st, "SELECT severity, COUNT(*) FROM anomalies WHERE status IN (0, 1) GROUP BY severity", "");
    while (!r && (r = db_step(st)) == 1) {
        int64_t sev = db_col_i64(st, 0);
        if (sev >= 0 && sev < 4)
            c->open[sev] = db_col_i64(st, 1);
        r = 0;
    }
    return r;
}

void anomalies_collect(void *p, struct metrics_out *out)
{
    struct anomalies *s = p;
    struct counts c = {0};
    if (db_read(s->deps.db, counts_tx, &c) == 0) {
        out->family(out, STR("hune_anomalies_open"), STR("Anomalies neither resolved nor closed, by severity."),
                    METRIC_GAUGE);
        for (int i = SEV_INFO; i <= SEV_CRITICAL; i++) {
            struct metric_label l = {STR("severity"), str_of(severity_names[i])};
            out->sample(out, STR(""), &l, 1, (double)c.open[i]);
        }
    }
    const struct {
        const char *name, *help;
        double v;
    } rows[] = {
        {"hune_anomalies_opened_total", "Anomalies opened since the start.", (double)s->opened},
        {"hune_anomalies_joined_total", "Alerts that joined an anomaly there was.", (double)s->joined},
        {"hune_anomalies_resolved_total", "Anomalies resolved because their alerts ended.", (double)s->resolved},
        {"hune_anomalies_escalated_total", "Steps of the escalation taken.", (double)s->escalated},
        {"hune_anomalies_failed_steps_total", "Times the record store refused.", (double)s->failed},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        out->family(out, str_of(rows[i].name), str_of(rows[i].help), METRIC_COUNTER);
        out->sample(out, STR(""), NULL, 0, rows[i].v);
    }
}
