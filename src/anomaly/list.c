// SPDX-License-Identifier: Apache-2.0
/* Reading sheets: lists, counts, the whole sheet. Runs on the caller's thread over a snapshot. */
#include "anomaly/anomaly_int.h"

#include "base/mem.h"
#include <math.h>

struct param {
    bool is_text;
    int64_t i;
    struct str s;
};

struct where {
    struct buf sql;
    struct param p[16];
    int n;
};

static void where_i(struct where *w, const char *text, int64_t v)
{
    w->p[w->n++] = (struct param){.i = v};
    buf_fmt(&w->sql, "%s$%d", text, w->n);
}

static void where_s(struct where *w, const char *text, struct str v)
{
    w->p[w->n++] = (struct param){.is_text = true, .s = v};
    buf_fmt(&w->sql, "%s$%d", text, w->n);
}

/* %text% with the pattern's own characters taken literally. */
static struct str like_of(struct arena *a, struct str text)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 16);
    buf_putc(&b, '%');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '%' || text.p[i] == '_' || text.p[i] == '\\')
            buf_putc(&b, '\\');
        buf_putc(&b, text.p[i]);
    }
    buf_putc(&b, '%');
    return arena_str(a, buf_view(&b));
}

static void where_filter(struct where *w, const struct anomaly_filter *f, struct arena *a)
{
    buf_z(&w->sql, " WHERE 1=1");
    unsigned all = (1u << ANOMALY_STATUS_COUNT) - 1;
    if (f->statuses && (f->statuses & all) != all) {
        buf_z(&w->sql, " AND status IN (");
        bool any = false;
        for (int i = 0; i < ANOMALY_STATUS_COUNT; i++)
            if (f->statuses & (1u << i)) {
                buf_fmt(&w->sql, "%s%d", any ? ", " : "", i);
                any = true;
            }
        buf_z(&w->sql, any ? ")" : "-1)");
    }
    if (f->min_severity)
        where_i(w, " AND severity >= ", f->min_severity);
    if (f->category)
        where_i(w, " AND category = ", f->category);
    if (f->service.n)
        where_s(w, " AND service = ", f->service);
    if (f->environment.n)
        where_s(w, " AND environment = ", f->environment);
    if (f->assignee.n)
        where_s(w, " AND assignee = ", f->assignee);
    if (f->from_ms)
        where_i(w, " AND detected_ms >= ", f->from_ms);
    if (f->to_ms)
        where_i(w, " AND detected_ms <= ", f->to_ms);
    if (f->text.n) {
        struct str like = like_of(a, f->text);
        where_s(w, " AND (id LIKE ", like);
        where_s(w, " ESCAPE '\\' OR title LIKE ", like);
        where_s(w, " ESCAPE '\\' OR description LIKE ", like);
        buf_z(&w->sql, " ESCAPE '\\')");
    }
}

static int where_prepare(struct where *w, struct db_tx *tx, struct db_stmt **ret)
{
    ASSERT(!buf_error(&w->sql));
    int r = db_prepare(tx, ret, buf_view(&w->sql));
    for (int i = 0; i < w->n && !r; i++)
        r = w->p[i].is_text ? db_bind_str(*ret, i + 1, w->p[i].s) : db_bind_i64(*ret, i + 1, w->p[i].i);
    return r;
}

struct listing {
    struct anomalies *s;
    const struct anomaly_filter *f;
    struct arena *a;
    VEC(struct anomaly) out;
    size_t total;
};

static int list_tx(struct db_tx *tx, void *ctx)
{
    struct listing *l = ctx;
    struct where w = {.sql = BUF_INIT(16384)};
    buf_z(&w.sql, l->s->select_sql);
    where_filter(&w, l->f, l->a);
    where_i(&w, " ORDER BY detected_ms DESC, id DESC LIMIT ", l->f->limit ? (int64_t)l->f->limit : 100);
    where_i(&w, " OFFSET ", (int64_t)l->f->offset);
    struct db_stmt *st;
    int r = where_prepare(&w, tx, &st);
    buf_done(&w.sql);
    while (!r && (r = db_step(st)) == 1) {
        struct anomaly x;
        row_sheet(st, l->a, &x);
        vec_push(&l->out, x);
        r = 0;
    }
    return r;
}

int anomaly_list(struct anomalies *s, const struct anomaly_filter *f, struct arena *arena, struct anomaly **ret,
                 size_t *ret_n)
{
    struct listing l = {.s = s, .f = f, .a = arena};
    int r = db_read(s->deps.db, list_tx, &l);
    if (!r) {
        *ret = ARENA_ARRAY(arena, struct anomaly, l.out.n + 1);
        if (l.out.n)
            memcpy(*ret, l.out.v, l.out.n * sizeof(**ret));
        *ret_n = l.out.n;
    }
    vec_done(&l.out);
    return r;
}

static int count_tx(struct db_tx *tx, void *ctx)
{
    struct listing *l = ctx;
    struct where w = {.sql = BUF_INIT(4096)};
    buf_z(&w.sql, "SELECT COUNT(*) FROM anomalies");
    where_filter(&w, l->f, l->a);
    struct db_stmt *st;
    int r = where_prepare(&w, tx, &st);
    buf_done(&w.sql);
    if (!r)
        r = db_step(st);
    if (r == 1) {
        l->total = (size_t)db_col_i64(st, 0);
        r = 0;
    }
    return r;
}

int anomaly_count(struct anomalies *s, const struct anomaly_filter *f, size_t *ret)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct listing l = {.s = s, .f = f, .a = a};
    int r = db_read(s->deps.db, count_tx, &l);
    if (!r)
        *ret = l.total;
    return r;
}

/* ---- the whole sheet ---- */

struct getting {
    struct anomalies *s;
    struct str id;
    struct arena *a;
    struct anomaly *ret;
};

static int get_alerts(struct getting *g, struct db_tx *tx)
{
    VEC(struct anomaly_alert) v = {0};
    struct db_stmt *st;
    int r = db_query(tx, &st,
                     "SELECT fingerprint, name, labels, annotations, expr, severity, started_ms, ended_ms, value"
                     " FROM anomaly_alerts WHERE anomaly = $1 ORDER BY started_ms, fingerprint LIMIT 1000",
                     "s", g->ret->id);
    while (!r && (r = db_step(st)) == 1) {
        struct arena *a = g->a;
        int64_t sev = db_col_i64(st, 5);
        vec_push(&v, (struct anomaly_alert){
                         .fingerprint = arena_str(a, db_col_str(st, 0)),
                         .name = arena_str(a, db_col_str(st, 1)),
                         .labels = arena_str(a, db_col_str(st, 2)),
                         .annotations = arena_str(a, db_col_str(st, 3)),
                         .expr = arena_str(a, db_col_str(st, 4)),
                         .severity = sev >= SEV_NONE && sev <= SEV_CRITICAL ? (enum severity)sev : SEV_NONE,
                         .started_ms = db_col_i64(st, 6),
                         .ended_ms = db_col_i64(st, 7),
                         .value = db_col_null(st, 8) ? NAN : db_col_f64(st, 8),
                     });
        r = 0;
    }
    g->ret->alerts = ARENA_ARRAY(g->a, struct anomaly_alert, v.n + 1);
    if (v.n)
        memcpy(g->ret->alerts, v.v, v.n * sizeof(*v.v));
    g->ret->n_alerts = v.n;
    vec_done(&v);
    return r;
}

static int get_lines(struct getting *g, struct db_tx *tx)
{
    VEC(struct anomaly_line) v = {0};
    struct db_stmt *st;
    int r = db_query(tx, &st, "SELECT n, t_ms, actor, kind, text FROM anomaly_lines WHERE anomaly = $1 ORDER BY n", "s",
                     g->ret->id);
    while (!r && (r = db_step(st)) == 1) {
        vec_push(&v, (struct anomaly_line){.n = db_col_i64(st, 0),
                                           .t_ms = db_col_i64(st, 1),
                                           .actor = arena_str(g->a, db_col_str(st, 2)),
                                           .kind = arena_str(g->a, db_col_str(st, 3)),
                                           .text = arena_str(g->a, db_col_str(st, 4))});
        r = 0;
    }
    g->ret->lines = ARENA_ARRAY(g->a, struct anomaly_line, v.n + 1);
    if (v.n)
        memcpy(g->ret->lines, v.v, v.n * sizeof(*v.v));
    g->ret->n_lines = v.n;
    vec_done(&v);
    return r;
}

static int get_evidence(struct getting *g, struct db_tx *tx)
{
    VEC(struct anomaly_evidence) v = {0};
    struct db_stmt *st;
    int r = db_query(tx, &st, "SELECT n, t_ms, expr, measures FROM anomaly_evidence WHERE anomaly = $1 ORDER BY n", "s",
                     g->ret->id);
    while (!r && (r = db_step(st)) == 1) {
        vec_push(&v, (struct anomaly_evidence){.n = db_col_i64(st, 0),
                                               .t_ms = db_col_i64(st, 1),
                                               .expr = arena_str(g->a, db_col_str(st, 2)),
                                               .measures = arena_str(g->a, db_col_str(st, 3))});
        r = 0;
    }
    g->ret->evidence = ARENA_ARRAY(g->a, struct anomaly_evidence, v.n + 1);
    if (v.n)
        memcpy(g->ret->evidence, v.v, v.n * sizeof(*v.v));
    g->ret->n_evidence = v.n;
    vec_done(&v);
    return r;
}

static int get_tx(struct db_tx *tx, void *ctx)
{
    struct getting *g = ctx;
    int r = sheet_load(g->s, tx, g->id, g->a, g->ret);
    if (!r)
        r = get_alerts(g, tx);
    if (!r)
        r = get_lines(g, tx);
    return r ? r : get_evidence(g, tx);
}

int anomaly_get(struct anomalies *s, struct str id, struct arena *arena, struct anomaly *ret)
{
    char normal[ANOMALY_ID_BYTES];
    if (!anomaly_id_normal(id, normal))
        return ANOMALY_E_NOT_FOUND;
    struct anomaly x;
    struct getting g = {.s = s, .id = str_of(normal), .a = arena, .ret = &x};
    int r = db_read(s->deps.db, get_tx, &g);
    if (!r)
        *ret = x;
    return r;
}
