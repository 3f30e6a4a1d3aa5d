// SPDX-License-Identifier: Apache-2.0
/* The event journal (contract: model/event.h).
 *
 *   append ──► db_write ─┐                       ┌─► subscriber 1, 2 ... in the order of seq
 *   post ──► queue ──► (1 s or 100) ──► db_write ┴─ commit hook wakes the thread, which reads what is new
 *
 * Subscribers are fed from the table, not from the callers: so the order is that of seq whatever thread returned first,
 * events written inside other rooms' transactions (journal_append_tx) come along, and nothing waits in memory. seq is
 * the table's greatest plus one, taken on the writer's thread; the newest row is never dropped, so no number returns.
 */
#include "db/db_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "codec/json.h"
#include "sys/thread.h"

#define POST_BATCH 100
#define POST_DELAY_NS 1000000000ULL
#define PRUNE_EVERY_NS (3600 * 1000000000ULL)
#define PRUNE_STEP 500   /* rows of one transaction: appends wait for it */
#define DELIVER_STEP 128 /* rows of one read */
#define SUBSCRIBERS_MAX 32
#define RETENTION_MS (400LL * 86400000)
#define EVENT_TEXT_MAX 4096 /* kind, service, subject, actor, summary: longer ones are cut */

static const struct db_migration journal_steps[] = {
    {1, "CREATE TABLE events ("
        " seq INTEGER PRIMARY KEY,"
        " t_ms INTEGER NOT NULL,"
        " kind TEXT NOT NULL,"
        " severity INTEGER NOT NULL,"
        " service TEXT NOT NULL,"
        " subject TEXT NOT NULL,"
        " actor TEXT NOT NULL,"
        " summary TEXT NOT NULL,"
        " links TEXT NOT NULL,"
        " payload TEXT NOT NULL"
        ") STRICT;"
        "CREATE INDEX events_kind ON events (kind, seq);"
        "CREATE INDEX events_subject ON events (subject, seq);"
        "CREATE INDEX events_time ON events (t_ms);"},
};
static const struct db_schema journal_schema = {.room = "journal", .steps = journal_steps, .n = 1};

#define COLUMNS "seq, t_ms, kind, severity, service, subject, actor, summary, links, payload"

struct journal_db {
    struct journal journal; /* first: what others hold */
    struct db *db;
    const struct clock *clock;
    int64_t retention_ms;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t wake, idle;
    bool stopping, committed, flush;
    uint64_t flush_wanted, flush_done; /* tickets of journal_flush() */
    struct event *posted;              /* malloc'd copies, in order */
    size_t n_posted, cap_posted;
    uint64_t first_post_ns;

    pthread_mutex_t subs_lock; /* held while subscribers run, so that one can be forgotten safely */
    struct subscriber {
        void (*fn)(void *ctx, const struct event *e);
        void *ctx;
    } subs[SUBSCRIBERS_MAX];
    size_t n_subs;

    uint64_t delivered;    /* the thread's; newest seq subscribers have heard */
    _Atomic uint64_t last; /* newest committed */
    _Atomic uint64_t appended, dropped, failed;
};

static struct journal_db *of(struct journal *j)
{
    return (struct journal_db *)(void *)j;
}

static struct str cut(struct str s)
{
    return s.n > EVENT_TEXT_MAX ? str_sub(s, 0, EVENT_TEXT_MAX) : s;
}

/* ---- writing ---- */

int journal_append_tx(struct journal *jj, struct db_tx *tx, struct event *e)
{
    struct journal_db *j = of(jj);
    if (e->kind.n == 0)
        BUG("event without a kind: " STR_FMT, STR_ARG(e->summary));
    if ((int64_t)(e->payload.n + e->links.n) > limit(event_payload_bytes))
        return -EMSGSIZE;
    int64_t last, t_ms = e->t_ms ? e->t_ms : clock_now_ms(j->clock);
    int r = db_get_i64(tx, 0, &last, "SELECT MAX(seq) FROM events", "");
    if (r)
        return r;
    r = db_do(tx, "INSERT INTO events (" COLUMNS ") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)", "iisissssss", last + 1,
              t_ms, cut(e->kind), (int64_t)e->severity, cut(e->service), cut(e->subject), cut(e->actor),
              cut(e->summary), e->links, e->payload);
    if (r)
        return r;
    e->seq = (uint64_t)last + 1;
    e->t_ms = t_ms;
    return 0;
}

struct append {
    struct journal_db *j;
    struct event *e;
    size_t n;
};

static int append_tx(struct db_tx *tx, void *ctx)
{
    struct append *a = ctx;
    int r = 0;
    for (size_t i = 0; i < a->n && !r; i++)
        r = journal_append_tx(&a->j->journal, tx, &a->e[i]);
    return r;
}

static int journal_append(struct journal *jj, struct event *e)
{
    struct journal_db *j = of(jj);
    struct event copy = *e; /* outputs stay untouched on failure */
    struct append a = {.j = j, .e = &copy, .n = 1};
    int r = db_write(j->db, append_tx, &a);
    if (r) {
        j->failed++;
        return err_trace(r);
    }
    e->seq = copy.seq;
    e->t_ms = copy.t_ms;
    return 0;
}

/* One allocation for all strings of an event. */
static struct event event_dup(const struct event *e)
{
    const struct str *from[] = {&e->kind, &e->service, &e->subject, &e->actor, &e->summary, &e->links, &e->payload};
    struct event d = *e;
    struct str *to[] = {&d.kind, &d.service, &d.subject, &d.actor, &d.summary, &d.links, &d.payload};
    size_t n = 1;
    for (size_t i = 0; i < ARRAY_LEN(from); i++)
        n += from[i]->n;
    char *p = xmalloc(n), *base = p;
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        if (from[i]->n)
            memcpy(p, from[i]->p, from[i]->n);
        *to[i] = str_make(p, from[i]->n);
        p += from[i]->n;
    }
    d.kind.p = base; /* where event_release() finds the block */
    return d;
}

static void event_release(struct event *e)
{
    free((void *)(uintptr_t)e->kind.p);
}

static void journal_post(struct journal *jj, const struct event *e)
{
    struct journal_db *j = of(jj);
    if (e->kind.n == 0)
        BUG("event without a kind: " STR_FMT, STR_ARG(e->summary));
    if ((int64_t)(e->payload.n + e->links.n) > limit(event_payload_bytes)) {
        j->dropped++;
        return;
    }
    struct event d = event_dup(e);
    if (!d.t_ms)
        d.t_ms = clock_now_ms(j->clock); /* when it happened, not when it is written */
    pthread_mutex_lock(&j->lock);
    if (j->n_posted >= (size_t)limit(journal_queue)) { /* the disk is full or far too slow: keep what came first */
        j->dropped++;
        pthread_mutex_unlock(&j->lock);
        event_release(&d);
        return;
    }
    if (j->n_posted == j->cap_posted) {
        j->cap_posted = j->cap_posted ? j->cap_posted * 2 : 16;
        j->posted = xrealloc(j->posted, j->cap_posted * sizeof(*j->posted));
    }
    if (j->n_posted == 0)
        j->first_post_ns = clock_mono_ns(&clock_real);
    j->posted[j->n_posted++] = d;
    if (j->n_posted == 1 || j->n_posted == POST_BATCH)
        pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

/* Journal's thread. Writes the queue in one transaction; on failure everything stays queued. */
static int write_posted(struct journal_db *j)
{
    pthread_mutex_lock(&j->lock);
    size_t n = MIN(j->n_posted, (size_t)POST_BATCH * 10);
    struct event *batch = n ? xmalloc(n * sizeof(*batch)) : NULL;
    for (size_t i = 0; i < n; i++)
        batch[i] = j->posted[i]; /* strings stay where they are; the queue only grows at its end meanwhile */
    pthread_mutex_unlock(&j->lock);
    if (!n)
        return 0;
    struct append a = {.j = j, .e = batch, .n = n};
    int r = db_write(j->db, append_tx, &a);
    pthread_mutex_lock(&j->lock);
    if (!r) {
        for (size_t i = 0; i < n; i++)
            event_release(&batch[i]);
        j->n_posted -= n;
        memmove(j->posted, j->posted + n, j->n_posted * sizeof(*j->posted));
    }
    j->first_post_ns = clock_mono_ns(&clock_real); /* the rest, or another try, in a second */
    pthread_mutex_unlock(&j->lock);
    free(batch);
    return r;
}

/* ---- reading ---- */

static void row_event(struct db_stmt *st, struct arena *a, struct event *e)
{
    *e = (struct event){
        .seq = (uint64_t)db_col_i64(st, 0),
        .t_ms = db_col_i64(st, 1),
        .kind = arena_str(a, db_col_str(st, 2)),
        .severity = (enum severity)db_col_i64(st, 3),
        .service = arena_str(a, db_col_str(st, 4)),
        .subject = arena_str(a, db_col_str(st, 5)),
        .actor = arena_str(a, db_col_str(st, 6)),
        .summary = arena_str(a, db_col_str(st, 7)),
        .links = arena_str(a, db_col_str(st, 8)),
        .payload = arena_str(a, db_col_str(st, 9)),
    };
}

struct list {
    const struct event_filter *f;
    struct arena *a;
    VEC(struct event) out;
};

/* %text% for LIKE, its own wildcards taken literally. */
static struct str like_of(struct arena *a, struct str text)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    buf_putc(&b, '%');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '%' || text.p[i] == '_' || text.p[i] == '\\')
            buf_putc(&b, '\\');
        buf_putc(&b, text.p[i]);
    }
    buf_putc(&b, '%');
    return arena_str(a, buf_view(&b));
}

struct param {
    bool is_text;
    int64_t i;
    struct str s;
};

static int list_tx(struct db_tx *tx, void *ctx)
{
    struct list *l = ctx;
    const struct event_filter *f = l->f;
    _cleanup_buf_ struct buf sql = BUF_INIT(4096);
    struct param p[16];
    int n = 0;
    buf_z(&sql, "SELECT " COLUMNS " FROM events WHERE 1=1");
#define AND_I(text, value)                                                                                             \
    do {                                                                                                               \
        p[n++] = (struct param){.i = (int64_t)(value)};                                                                \
        buf_fmt(&sql, " AND " text "$%d", n);                                                                          \
    } while (0)
#define AND_S(text, value)                                                                                             \
    do {                                                                                                               \
        p[n++] = (struct param){.is_text = true, .s = (value)};                                                        \
        buf_fmt(&sql, " AND " text "$%d", n);                                                                          \
    } while (0)
    if (f->kind_prefix.n) {
        AND_S("kind >= ", f->kind_prefix);
        struct str end = arena_str(l->a, f->kind_prefix);
        size_t keep = end.n;
        while (keep && (unsigned char)end.p[keep - 1] == 0xff)
            keep--;
        if (keep) { /* the first string after every one with this prefix */
            ((char *)(uintptr_t)end.p)[keep - 1]++;
            AND_S("kind < ", str_sub(end, 0, keep));
        }
    }
    if (f->service.n)
        AND_S("service = ", f->service);
    if (f->subject.n)
        AND_S("subject = ", f->subject);
    if (f->min_severity)
        AND_I("severity >= ", f->min_severity);
    if (f->from_ms)
        AND_I("t_ms >= ", f->from_ms);
    if (f->to_ms)
        AND_I("t_ms <= ", f->to_ms);
    if (f->after_seq)
        AND_I("seq > ", f->after_seq);
    if (f->before_seq)
        AND_I("seq < ", f->before_seq);
    if (f->text.n) {
        struct str like = like_of(l->a, f->text);
        p[n++] = (struct param){.is_text = true, .s = like};
        p[n++] = (struct param){.is_text = true, .s = like};
        buf_fmt(&sql, " AND (summary LIKE $%d ESCAPE '\\' OR subject LIKE $%d ESCAPE '\\')", n - 1, n);
    }
#undef AND_I
#undef AND_S
    buf_z(&sql, f->ascending ? " ORDER BY seq ASC" : " ORDER BY seq DESC");
    p[n++] = (struct param){.i = f->limit ? (int64_t)f->limit : 100};
    buf_fmt(&sql, " LIMIT $%d", n);
    ASSERT(!buf_error(&sql));

    struct db_stmt *st;
    int r = db_prepare(tx, &st, buf_view(&sql));
    for (int i = 0; i < n && !r; i++)
        r = p[i].is_text ? db_bind_str(st, i + 1, p[i].s) : db_bind_i64(st, i + 1, p[i].i);
    if (r)
        return r;
    while ((r = db_step(st)) == 1) {
        struct event e;
        row_event(st, l->a, &e);
        vec_push(&l->out, e);
    }
    return r;
}

static int journal_list(struct journal *jj, const struct event_filter *f, struct arena *a, struct event **ret,
                        size_t *ret_n)
{
    struct journal_db *j = of(jj);
    struct list l = {.f = f, .a = a};
    int r = db_read(j->db, list_tx, &l);
    if (!r) {
        *ret = ARENA_ARRAY(a, struct event, l.out.n + 1);
        if (l.out.n)
            memcpy(*ret, l.out.v, l.out.n * sizeof(**ret));
        *ret_n = l.out.n;
    }
    vec_done(&l.out);
    return r;
}

static int last_tx(struct db_tx *tx, void *ctx)
{
    return db_get_i64(tx, 0, ctx, "SELECT MAX(seq) FROM events", "");
}

uint64_t journal_last_seq(struct journal *jj)
{
    int64_t last = 0;
    return db_read(of(jj)->db, last_tx, &last) ? of(jj)->last : (uint64_t)last;
}

/* ---- the thread ---- */

/* Tell subscribers what is new. Returns false when it could not read. */
static bool deliver(struct journal_db *j)
{
    for (;;) {
        struct arena *a = arena_new(0);
        struct event *v;
        size_t n = 0;
        struct event_filter f = {.after_seq = j->delivered, .limit = DELIVER_STEP, .ascending = true};
        int r = journal_list(&j->journal, &f, a, &v, &n);
        for (size_t i = 0; i < n; i++) {
            pthread_mutex_lock(&j->subs_lock);
            for (size_t k = 0; k < j->n_subs; k++)
                j->subs[k].fn(j->subs[k].ctx, &v[i]);
            pthread_mutex_unlock(&j->subs_lock);
            j->delivered = v[i].seq;
            j->last = v[i].seq;
            j->appended++; /* here pass also those written within other rooms' transactions */
        }
        arena_free(a);
        if (r || n < DELIVER_STEP)
            return r == 0;
    }
}

static void on_commit(void *ctx)
{
    struct journal_db *j = ctx;
    pthread_mutex_lock(&j->lock);
    j->committed = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

static void wait_until(struct journal_db *j, uint64_t mono_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(mono_ns / 1000000000), .tv_nsec = (long)(mono_ns % 1000000000)};
    pthread_cond_timedwait(&j->wake, &j->lock, &ts);
}

static void *journal_main(void *p)
{
    struct journal_db *j = p;
    uint64_t prune_at = clock_mono_ns(&clock_real) + PRUNE_EVERY_NS;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        uint64_t now = clock_mono_ns(&clock_real);
        uint64_t post_at = j->n_posted ? j->first_post_ns + POST_DELAY_NS : UINT64_MAX;
        bool write = j->n_posted >= POST_BATCH || now >= post_at || (j->n_posted && (j->stopping || j->flush));
        if (!write && !j->committed && !j->flush && !j->stopping && now < prune_at) {
            wait_until(j, MIN(post_at, prune_at));
            continue;
        }
        bool stopping = j->stopping;
        uint64_t ticket = j->flush_wanted;
        j->committed = j->flush = false;
        pthread_mutex_unlock(&j->lock);
        int r = write ? write_posted(j) : 0;
        if (r) {
            j->failed++;
            log_warn("journal cannot be written", KV_ERR(r));
        }
        deliver(j);
        if (now >= prune_at) {
            prune_at = now + PRUNE_EVERY_NS;
            int64_t gone = journal_prune(&j->journal);
            if (gone < 0)
                log_warn("journal cannot be pruned", KV_ERR((int)gone));
        }
        pthread_mutex_lock(&j->lock);
        if (j->n_posted && !r && (ticket > j->flush_done || stopping)) {
            j->flush = true; /* more than one batch was waiting */
            continue;
        }
        j->flush_done = ticket;
        pthread_cond_broadcast(&j->idle);
        if (r && !stopping) /* not in a circle while the disk is full */
            wait_until(j, clock_mono_ns(&clock_real) + POST_DELAY_NS);
        if (stopping)
            break;
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

int journal_flush(struct journal *jj)
{
    struct journal_db *j = of(jj);
    ASSERT(!pthread_equal(pthread_self(), j->thread));
    pthread_mutex_lock(&j->lock);
    uint64_t ticket = ++j->flush_wanted;
    j->flush = true;
    pthread_cond_signal(&j->wake);
    while (j->flush_done < ticket)
        pthread_cond_wait(&j->idle, &j->lock);
    int r = j->n_posted ? -EIO : 0;
    pthread_mutex_unlock(&j->lock);
    return r;
}

static void journal_subscribe(struct journal *jj, void (*fn)(void *ctx, const struct event *e), void *ctx)
{
    struct journal_db *j = of(jj);
    pthread_mutex_lock(&j->subs_lock);
    ASSERT(j->n_subs < SUBSCRIBERS_MAX);
    j->subs[j->n_subs].fn = fn;
    j->subs[j->n_subs].ctx = ctx;
    j->n_subs++;
    pthread_mutex_unlock(&j->subs_lock);
}

void journal_unsubscribe(struct journal *jj, void *ctx)
{
    struct journal_db *j = of(jj);
    pthread_mutex_lock(&j->subs_lock);
    for (size_t i = 0; i < j->n_subs; i++)
        if (j->subs[i].ctx == ctx) {
            j->subs[i] = j->subs[--j->n_subs];
            break;
        }
    pthread_mutex_unlock(&j->subs_lock);
}

/* ---- retention ---- */

struct prune {
    int64_t before_ms, gone;
};

static int prune_tx(struct db_tx *tx, void *ctx)
{
    struct prune *p = ctx;
    /* Records are computed from anomaly.*, deploy.* and server.* for ever; the newest row keeps the counter. */
    int r = db_do(tx,
                  "DELETE FROM events WHERE seq IN ("
                  " SELECT seq FROM events WHERE t_ms < $1"
                  " AND kind NOT LIKE 'anomaly.%' AND kind NOT LIKE 'deploy.%' AND kind NOT LIKE 'server.%'"
                  " AND seq < (SELECT MAX(seq) FROM events) ORDER BY t_ms LIMIT $2)",
                  "ii", p->before_ms, (int64_t)PRUNE_STEP);
    p->gone = db_changes(tx);
    return r;
}

int64_t journal_prune(struct journal *jj)
{
    struct journal_db *j = of(jj);
    int64_t all = 0;
    for (;;) {
        struct prune p = {.before_ms = clock_now_ms(j->clock) - j->retention_ms};
        int r = db_write(j->db, prune_tx, &p);
        if (r)
            return r;
        all += p.gone;
        if (p.gone < PRUNE_STEP)
            return all;
    }
}

/* ---- open, close ---- */

int journal_open(struct db *db, const struct clock *c, const struct journal_options *o, struct journal **ret,
                 struct err *e)
{
    int r = db_migrate(db, &journal_schema, e);
    if (r)
        return r;
    struct journal_db *j = NEW(struct journal_db);
    *j = (struct journal_db){
        .journal = {.append = journal_append,
                    .post = journal_post,
                    .list = journal_list,
                    .subscribe = journal_subscribe},
        .db = db,
        .clock = c,
        .retention_ms = o && o->retention_ms ? o->retention_ms : RETENTION_MS,
    };
    pthread_mutex_init(&j->lock, NULL);
    pthread_mutex_init(&j->subs_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->wake, &attr);
    pthread_cond_init(&j->idle, NULL);
    pthread_condattr_destroy(&attr);
    int64_t last = 0;
    r = db_read(db, last_tx, &last);
    j->last = j->delivered = (uint64_t)last;
    if (!r)
        r = thread_start(&j->thread, "journal", journal_main, j);
    if (r) {
        err_set(e, "journal: %s", err_name(r));
        journal_close(&j->journal);
        return r;
    }
    j->started = true;
    db_on_commit(db, on_commit, j);
    *ret = &j->journal;
    return 0;
}

struct journal *journal_close(struct journal *jj)
{
    if (!jj)
        return NULL;
    struct journal_db *j = of(jj);
    if (j->started) {
        pthread_mutex_lock(&j->lock);
        j->stopping = true;
        pthread_cond_signal(&j->wake);
        pthread_mutex_unlock(&j->lock);
        pthread_join(j->thread, NULL);
        db_off_commit(j->db, j);
    }
    for (size_t i = 0; i < j->n_posted; i++)
        event_release(&j->posted[i]);
    free(j->posted);
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->subs_lock);
    pthread_cond_destroy(&j->wake);
    pthread_cond_destroy(&j->idle);
    free(j);
    return NULL;
}

void journal_collect(void *p, struct metrics_out *out)
{
    struct journal_db *j = of(p);
    pthread_mutex_lock(&j->lock);
    size_t queued = j->n_posted;
    pthread_mutex_unlock(&j->lock);
    const struct {
        const char *name, *help;
        enum metric_type type;
        double v;
    } rows[] = {
        {"hune_journal_events_total", "Events appended since the start.", METRIC_COUNTER, (double)j->appended},
        {"hune_journal_dropped_total", "Events given up because the queue was full or they were too large.",
         METRIC_COUNTER, (double)j->dropped},
        {"hune_journal_failed_writes_total", "Writes of events that failed.", METRIC_COUNTER, (double)j->failed},
        {"hune_journal_queued", "Posted events not yet on disk.", METRIC_GAUGE, (double)queued},
        {"hune_journal_last_seq", "Number of the newest event.", METRIC_GAUGE, (double)j->last},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        out->family(out, str_of(rows[i].name), str_of(rows[i].help), rows[i].type);
        out->sample(out, STR(""), NULL, 0, rows[i].v);
    }
}

static void raw_object(struct jw *w, const char *key, struct str json)
{
    jw_key(w, key);
    if (json.n)
        jw_raw(w, json);
    else
        jw_raw(w, STR("{}"));
}

void event_json(struct jw *w, const struct event *e)
{
    jw_obj(w);
    jw_key(w, "seq");
    jw_u64(w, e->seq);
    jw_ki64(w, "t_ms", e->t_ms);
    jw_kstr(w, "kind", e->kind);
    jw_kz(w, "severity", severity_names[e->severity <= SEV_CRITICAL ? e->severity : SEV_NONE]);
    jw_kstr(w, "service", e->service);
    jw_kstr(w, "subject", e->subject);
    jw_kstr(w, "actor", e->actor);
    jw_kstr(w, "summary", e->summary);
    raw_object(w, "links", e->links);
    raw_object(w, "payload", e->payload);
    jw_end(w);
}
