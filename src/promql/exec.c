// SPDX-License-Identifier: Apache-2.0
/* The walk over the tree: dispatch, scalars, pinned parts, memory and time limits. */
#include "promql/exec_int.h"
#include "base/limits.h"
#include <math.h>

int x_fail(struct exec *x, int code, const char *fmt, ...)
{
    char msg[960];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    err_set(x->err, "%s", msg);
    return code;
}

static int over_memory(struct exec *x)
{
    return x_fail(x, QUERY_E_BUDGET, "query needs more than %zu bytes of working memory (limit query_memory)",
                  x->max_bytes);
}

void *x_alloc(struct exec *x, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > x->max_bytes || arena_used(x->a) + bytes > x->max_bytes) {
        over_memory(x);
        return NULL;
    }
    return arena_alloc(x->a, bytes ? bytes : 1);
}

int x_check(struct exec *x)
{
    if (x->cancel && atomic_load_explicit(x->cancel, memory_order_relaxed))
        return x_fail(x, QUERY_E_CANCELED, "query was canceled in expression evaluation");
    if (clock_mono_ns(x->clock) > x->deadline_ns)
        return x_fail(x, QUERY_E_TIMEOUT, "query timed out in expression evaluation");
    if (arena_used(x->a) > x->max_bytes)
        return over_memory(x);
    return 0;
}

int x_hold(struct exec *x, uint64_t samples)
{
    x->samples_now += samples;
    if (x->samples_now > x->samples_peak)
        x->samples_peak = x->samples_now;
    if (x->samples_now > x->max_samples)
        return x_fail(x, QUERY_E_BUDGET, "query processing would load too many samples into memory in query execution");
    return 0;
}

void x_release(struct exec *x, uint64_t samples)
{
    x->samples_now -= MIN(samples, x->samples_now);
}

int row_init(struct exec *x, const struct frame *f, struct row *r, bool histograms)
{
    *r = (struct row){0};
    r->v = X_ARRAY(x, double, f->n);
    if (!r->v)
        return QUERY_E_BUDGET;
    if (histograms) {
        r->h = X_ARRAY(x, const struct histogram *, f->n);
        if (!r->h)
            return QUERY_E_BUDGET;
    }
    return 0;
}

bool row_any(const struct row *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (has_point(r, i))
            return true;
    return false;
}

int rows_take(void *ctx, struct row *r)
{
    struct rows *rows = ctx;
    struct exec *x = rows->x;
    int rc = x_check(x);
    if (rc != 0)
        return rc;
    if (rows->n == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 16;
        struct row *v = X_ARRAY(x, struct row, cap);
        if (!v)
            return QUERY_E_BUDGET;
        if (rows->n)
            memcpy(v, rows->v, rows->n * sizeof(*v));
        rows->v = v;
        rows->cap = cap;
    }
    struct row *to = &rows->v[rows->n];
    size_t points = 0;
    *to = (struct row){.labels = r->labels, .drop_name = r->drop_name};
    to->v = X_ARRAY(x, double, rows->steps);
    if (!to->v)
        return QUERY_E_BUDGET;
    memcpy(to->v, r->v, rows->steps * sizeof(double));
    for (size_t i = 0; i < rows->steps; i++)
        points += has_float(to->v[i]);
    for (size_t i = 0; r->h && i < rows->steps; i++) {
        if (!r->h[i])
            continue;
        if (!to->h && !(to->h = X_ARRAY(x, const struct histogram *, rows->steps)))
            return QUERY_E_BUDGET;
        to->h[i] = hist_copy(x->a, r->h[i]);
        points++;
    }
    rows->n++;
    return x_hold(x, points);
}

int rows_merge(struct rows *rows, struct row *into, const struct row *r)
{
    struct exec *x = rows->x;
    for (size_t i = 0; i < rows->steps; i++) {
        if (!has_point(r, i))
            continue;
        if (has_point(into, i))
            return x_fail(x, QUERY_E_EXEC, "vector cannot contain metrics with the same labelset");
        into->v[i] = r->v[i];
        if (!has_hist(r, i))
            continue;
        if (!into->h && !(into->h = X_ARRAY(x, const struct histogram *, rows->steps)))
            return QUERY_E_BUDGET;
        into->h[i] = r->h[i];
    }
    return 0;
}

int row_map_get(struct row_map *m, struct labels labels, struct row **ret)
{
    struct exec *x = m->rows.x;
    uint64_t hash = labels_hash(labels), at = 0;
    bool known = idmap_get(&m->by_hash, hash, &at);
    for (size_t i = known ? at + 1 : 0; i; i = m->next[i - 1])
        if (labels_equal(m->rows.v[i - 1].labels, labels)) {
            *ret = &m->rows.v[i - 1];
            return 0;
        }
    if (m->rows.n == m->rows.cap) {
        size_t cap = m->rows.cap ? m->rows.cap * 2 : 16;
        struct row *v = X_ARRAY(x, struct row, cap);
        uint32_t *next = X_ARRAY(x, uint32_t, cap);
        if (!v || !next)
            return QUERY_E_BUDGET;
        if (m->rows.n) {
            memcpy(v, m->rows.v, m->rows.n * sizeof(*v));
            memcpy(next, m->next, m->rows.n * sizeof(*next));
        }
        m->rows.v = v;
        m->rows.cap = cap;
        m->next = next;
    }
    struct row *o = &m->rows.v[m->rows.n];
    int rc = row_init(x, m->f, o, false);
    if (rc != 0 || (rc = x_hold(x, m->f->n)) != 0)
        return rc;
    o->labels = labels;
    for (size_t i = 0; i < m->f->n; i++)
        o->v[i] = stale_nan();
    m->next[m->rows.n] = known ? (uint32_t)at + 1 : 0;
    idmap_put(&m->by_hash, hash, m->rows.n);
    m->rows.n++;
    *ret = o;
    return 0;
}

int row_map_emit(struct row_map *m, row_fn emit, void *ctx)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->rows.n; i++)
        if (row_any(&m->rows.v[i], m->f->n))
            rc = emit(ctx, &m->rows.v[i]);
    return rc;
}

void row_map_done(struct row_map *m)
{
    idmap_done(&m->by_hash);
}

struct str metric_name(struct labels l)
{
    return labels_get(l, STR(LABEL_NAME));
}

struct labels drop_metric_name(struct exec *x, struct labels l)
{
    size_t keep = 0;
    for (size_t i = 0; i < l.n; i++)
        keep +=
            !(str_eqz(l.v[i].name, LABEL_NAME) || str_eqz(l.v[i].name, "__type__") || str_eqz(l.v[i].name, "__unit__"));
    if (keep == l.n)
        return l;
    struct label *v = ARENA_ARRAY(x->a, struct label, keep);
    size_t n = 0;
    for (size_t i = 0; i < l.n; i++)
        if (!(str_eqz(l.v[i].name, LABEL_NAME) || str_eqz(l.v[i].name, "__type__") || str_eqz(l.v[i].name, "__unit__")))
            v[n++] = l.v[i];
    return (struct labels){.v = v, .n = n};
}

struct labels labels_build(struct exec *x, struct labels_builder *b)
{
    return lb_labels(b, x->a);
}

/* ---- Duration expressions ---------------------------------------------------------- */

static int dur_value(struct exec *x, const struct dur *d, double *ret)
{
    double a = 0, b = 0;
    int r = 0;
    switch (d->kind) {
    case DUR_NUMBER:
        *ret = d->value;
        return 0;
    case DUR_STEP:
        *ret = (double)(x->top.n > 1 || x->is_range ? x->top.step : 0) / 1000;
        return 0;
    case DUR_RANGE:
        *ret = (double)(frame_ts(&x->top, x->top.n - 1) - x->top.start) / 1000;
        return 0;
    case DUR_PAREN:
        return dur_value(x, d->a, ret);
    case DUR_NEGATE:
        r = dur_value(x, d->a, &a);
        *ret = -a;
        return r;
    case DUR_MIN:
    case DUR_MAX:
    case DUR_BINARY:
        break;
    }
    if ((r = dur_value(x, d->a, &a)) != 0 || (r = dur_value(x, d->b, &b)) != 0)
        return r;
    if (d->kind == DUR_MIN) {
        *ret = fmin(a, b);
    } else if (d->kind == DUR_MAX) {
        *ret = fmax(a, b);
    } else {
        if ((d->op == T_DIV || d->op == T_MOD) && b == 0) {
            unsigned line, col;
            promql_position(x->q->text, d->op_pos, &line, &col);
            return x_fail(x, QUERY_E_EXEC, "%u:%u: %s by zero", line, col, d->op == T_DIV ? "division" : "modulo");
        }
        *ret = scalar_op(d->op, a, b);
    }
    return 0;
}

static int dur_ms(struct exec *x, const struct dur *d, bool positive, int64_t *ret)
{
    double v;
    int r = dur_value(x, d, &v);
    if (r != 0)
        return r;
    unsigned line, col;
    promql_position(x->q->text, d->start, &line, &col);
    if (positive && !(v > 0))
        return x_fail(x, QUERY_E_EXEC, "%u:%u: duration must be greater than 0", line, col);
    if (!isfinite(v) || fabs(v) > 9223372036.0)
        return x_fail(x, QUERY_E_EXEC, "%u:%u: duration is out of range", line, col);
    *ret = llround(v * 1e9) / 1000000;
    return 0;
}

int when_offset(struct exec *x, const struct frame *f, const struct when *w, int64_t *ret_ms)
{
    (void)f;
    if (w->offset)
        return dur_ms(x, w->offset, false, ret_ms);
    *ret_ms = w->offset_ms;
    return 0;
}

bool when_at(struct exec *x, const struct when *w, int64_t *ret_ms)
{
    switch (w->at) {
    case AT_NONE:
        return false;
    case AT_TIME:
        *ret_ms = w->at_ms;
        break;
    case AT_START:
        *ret_ms = x->top.start;
        break;
    case AT_END:
        *ret_ms = frame_ts(&x->top, x->top.n - 1);
        break;
    }
    return true;
}

int win_range(struct exec *x, const struct frame *f, const struct expr *e, int64_t *ret_range, int64_t *ret_step)
{
    (void)f;
    *ret_range = e->win.range_ms;
    int r = e->win.range ? dur_ms(x, e->win.range, true, ret_range) : 0;
    if (r != 0 || !ret_step)
        return r;
    *ret_step = e->win.step_ms ? e->win.step_ms : x->subquery_step_ms;
    r = e->win.step ? dur_ms(x, e->win.step, true, ret_step) : 0;
    if (r == 0 && *ret_step <= 0)
        *ret_step = 1;
    return r;
}

/* ---- Scalars ----------------------------------------------------------------------- */

struct scalar_of_vector {
    size_t n;
    double *out;
    uint8_t *seen; /* float elements met at this step, up to 2 */
};

static int scalar_take(void *ctx, struct row *r)
{
    struct scalar_of_vector *s = ctx;
    for (size_t i = 0; i < s->n; i++) {
        if (!has_float(r->v[i]))
            continue; /* histograms are ignored */
        if (s->seen[i] < 2)
            s->seen[i]++;
        s->out[i] = s->seen[i] == 1 ? r->v[i] : NAN;
    }
    return 0;
}

static int scalar_call(struct exec *x, const struct frame *f, const struct expr *e, double *out)
{
    double constant;
    switch (e->call.id) {
    case FN_TIME:
        for (size_t i = 0; i < f->n; i++)
            out[i] = (double)frame_ts(f, i) / 1000;
        return 0;
    case FN_PI:
        constant = M_PI;
        break;
    case FN_START:
        constant = (double)x->top.start / 1000;
        break;
    case FN_END:
        constant = (double)frame_ts(&x->top, x->top.n - 1) / 1000;
        break;
    case FN_STEP:
        constant = x->is_range ? (double)x->top.step / 1000 : 0;
        break;
    case FN_RANGE:
        constant = (double)(frame_ts(&x->top, x->top.n - 1) - x->top.start) / 1000;
        break;
    case FN_MIN_OF:
    case FN_MAX_OF: {
        double *b = X_ARRAY(x, double, f->n);
        if (!b)
            return QUERY_E_BUDGET;
        int r = exec_scalar(x, f, e->call.args[0], out);
        if (r == 0)
            r = exec_scalar(x, f, e->call.args[1], b);
        for (size_t i = 0; r == 0 && i < f->n; i++) {
            if (isnan(out[i]) || isnan(b[i]))
                out[i] = NAN;
            else
                out[i] = (e->call.id == FN_MIN_OF) == (b[i] < out[i]) ? b[i] : out[i];
        }
        return r;
    }
    case FN_SCALAR: {
        struct scalar_of_vector s = {.n = f->n, .out = out, .seen = X_ARRAY(x, uint8_t, f->n)};
        if (!s.seen)
            return QUERY_E_BUDGET;
        for (size_t i = 0; i < f->n; i++)
            out[i] = NAN;
        return exec_vector(x, f, e->call.args[0], scalar_take, &s);
    }
    default:
        BUG("not a scalar function: %s", e->call.fn->name);
    }
    for (size_t i = 0; i < f->n; i++)
        out[i] = constant;
    return 0;
}

int exec_scalar(struct exec *x, const struct frame *f, const struct expr *e, double *out)
{
    int r;
    if (e->invariant && f->n > 1) {
        struct frame one = {.start = f->start, .step = f->step, .n = 1};
        r = exec_scalar(x, &one, e, out);
        for (size_t i = 1; r == 0 && i < f->n; i++)
            out[i] = out[0];
        return r;
    }
    switch (e->kind) {
    case E_NUMBER:
        for (size_t i = 0; i < f->n; i++)
            out[i] = e->number.value;
        return 0;
    case E_PAREN:
        return exec_scalar(x, f, e->paren, out);
    case E_UNARY:
        r = exec_scalar(x, f, e->unary.child, out);
        for (size_t i = 0; r == 0 && e->unary.op == T_SUB && i < f->n; i++)
            out[i] = -out[i];
        return r;
    case E_BINARY: {
        double *b = X_ARRAY(x, double, f->n);
        if (!b)
            return QUERY_E_BUDGET;
        if ((r = exec_scalar(x, f, e->bin.l, out)) != 0 || (r = exec_scalar(x, f, e->bin.r, b)) != 0)
            return r;
        for (size_t i = 0; i < f->n; i++)
            out[i] = scalar_op(e->bin.op, out[i], b[i]);
        return 0;
    }
    case E_CALL:
        return scalar_call(x, f, e, out);
    case E_STRING:
    case E_SELECTOR:
    case E_MATRIX:
    case E_SUBQUERY:
    case E_AGGREGATE:
        break;
    }
    BUG("not a scalar expression");
}

int exec_string(struct exec *x, const struct expr *e, struct str *ret)
{
    e = expr_bare(e);
    if (e->kind != E_STRING)
        return x_fail(x, QUERY_E_EXEC, "expected a string literal");
    *ret = e->string;
    return 0;
}

/* ---- Vectors ----------------------------------------------------------------------- */

/* Rows of one step, shown at every step. */
struct spread {
    struct exec *x;
    size_t n;
    struct row out;
    const struct histogram **h;
    row_fn emit;
    void *ctx;
};

static int spread_take(void *ctx, struct row *r)
{
    struct spread *s = ctx;
    if (!has_point(r, 0))
        return 0;
    s->out.labels = r->labels;
    s->out.drop_name = r->drop_name;
    s->out.h = NULL;
    for (size_t i = 0; i < s->n; i++)
        s->out.v[i] = r->v[0];
    if (has_hist(r, 0)) {
        if (!s->h && !(s->h = X_ARRAY(s->x, const struct histogram *, s->n)))
            return QUERY_E_BUDGET;
        for (size_t i = 0; i < s->n; i++)
            s->h[i] = r->h[0];
        s->out.h = s->h;
    }
    return s->emit(s->ctx, &s->out);
}

static int exec_pinned(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct frame one = {.start = f->start, .step = f->step, .n = 1};
    struct spread s = {.x = x, .n = f->n, .emit = emit, .ctx = ctx};
    int r = row_init(x, f, &s.out, false);
    return r != 0 ? r : exec_vector(x, &one, e, spread_take, &s);
}

struct negate {
    size_t n;
    row_fn emit;
    void *ctx;
    struct arena *hists;
};

static int negate_take(void *ctx, struct row *r)
{
    struct negate *s = ctx;
    for (size_t i = 0; i < s->n; i++) {
        if (has_float(r->v[i])) {
            r->v[i] = -r->v[i];
        } else if (has_hist(r, i)) {
            struct histogram *h = hist_scale(s->hists, r->h[i], -1);
            r->h[i] = h;
        }
    }
    r->drop_name = true;
    int rc = s->emit(s->ctx, r);
    arena_reset(s->hists);
    return rc;
}

int exec_vector(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    if (e->invariant && f->n > 1)
        return exec_pinned(x, f, e, emit, ctx);
    switch (e->kind) {
    case E_PAREN:
        return exec_vector(x, f, e->paren, emit, ctx);
    case E_SELECTOR:
        return exec_selector(x, f, e, SELECT_VALUE, emit, ctx);
    case E_CALL:
        return exec_call(x, f, e, emit, ctx);
    case E_AGGREGATE:
        return exec_aggregate(x, f, e, emit, ctx);
    case E_BINARY:
        return exec_binary(x, f, e, emit, ctx);
    case E_UNARY: {
        if (e->unary.op == T_ADD)
            return exec_vector(x, f, e->unary.child, emit, ctx);
        struct negate s = {.n = f->n, .emit = emit, .ctx = ctx, .hists = arena_new(0)};
        int r = exec_vector(x, f, e->unary.child, negate_take, &s);
        arena_free(s.hists);
        return r;
    }
    case E_NUMBER:
    case E_STRING:
    case E_MATRIX:
    case E_SUBQUERY:
        break;
    }
    BUG("not a vector expression");
}
