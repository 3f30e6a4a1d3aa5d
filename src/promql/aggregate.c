// SPDX-License-Identifier: Apache-2.0
/* Aggregations. Rows stream in; a group keeps one accumulator per step. Those that choose or sort elements (topk,
 * quantile ...) keep the rows. Rules of promql/engine.go of Prometheus 3.14. */
#include "promql/exec_int.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/f64.h"
#include <math.h>

struct group {
    struct labels labels;
    bool drop_name;
    struct group *next; /* same hash */
    double *v, *c;      /* value and its compensation */
    double *count, *mean;
    uint8_t *flags;
    const struct histogram **h;
    VEC(uint32_t) members; /* rows of this group */
};
enum { SAW_FLOAT = 1, SAW_HIST = 2, INCREMENTAL = 4, BROKEN = 8, SAW_RESET = 16, SAW_NOT_RESET = 32 };

struct agg_run {
    struct exec *x;
    const struct frame *f;
    const struct expr *e;
    enum token_kind op;
    struct str *names; /* sorted */
    size_t n_names;
    VEC(struct group *) groups;
    struct idmap by_hash; /* hash -> index of the first group */
    struct rows rows;
    double *param;
    struct str param_string;
};

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool named(const struct agg_run *g, struct str name)
{
    for (size_t i = 0; i < g->n_names; i++)
        if (str_eq(g->names[i], name))
            return true;
    return false;
}

static bool keeps(const struct agg_run *g, struct str name)
{
    return g->e->agg.without ? !named(g, name) && !str_eqz(name, LABEL_NAME) : named(g, name);
}

static bool same_group(const struct agg_run *g, struct labels row, struct labels group)
{
    size_t k = 0;
    for (size_t i = 0; i < row.n; i++) {
        if (!keeps(g, row.v[i].name))
            continue;
        if (k == group.n || !str_eq(row.v[i].name, group.v[k].name) || !str_eq(row.v[i].value, group.v[k].value))
            return false;
        k++;
    }
    return k == group.n;
}

static int new_group(struct agg_run *g, struct labels row, struct group **ret)
{
    struct exec *x = g->x;
    struct group *n = X_ARRAY(x, struct group, 1);
    struct label *v = X_ARRAY(x, struct label, row.n);
    if (!n || !v)
        return QUERY_E_BUDGET;
    size_t k = 0;
    for (size_t i = 0; i < row.n; i++)
        if (keeps(g, row.v[i].name))
            v[k++] = row.v[i];
    n->labels = (struct labels){.v = v, .n = k};
    *ret = n;
    return 0;
}

static int accumulators(struct agg_run *g, struct group *n)
{
    struct exec *x = g->x;
    size_t steps = g->f->n;
    if (!(n->v = X_ARRAY(x, double, steps)) || !(n->flags = X_ARRAY(x, uint8_t, steps)))
        return QUERY_E_BUDGET;
    if ((g->op == T_SUM || g->op == T_AVG) && !(n->c = X_ARRAY(x, double, steps)))
        return QUERY_E_BUDGET;
    if ((g->op == T_AVG || g->op == T_STDDEV || g->op == T_STDVAR) &&
        (!(n->count = X_ARRAY(x, double, steps)) || !(n->mean = X_ARRAY(x, double, steps))))
        return QUERY_E_BUDGET;
    return x_hold(x, steps);
}

static int find_group(struct agg_run *g, struct labels row, struct group **ret)
{
    uint64_t hash = labels_hash_by(row, g->names, g->n_names, g->e->agg.without), at;
    bool known = idmap_get(&g->by_hash, hash, &at);
    struct group *n = known ? g->groups.v[at] : NULL;
    while (n && !same_group(g, row, n->labels))
        n = n->next;
    if (n) {
        *ret = n;
        return 0;
    }
    int r = new_group(g, row, &n);
    if (r != 0)
        return r;
    if (known) {
        n->next = g->groups.v[at]->next;
        g->groups.v[at]->next = n;
    } else {
        idmap_put(&g->by_hash, hash, g->groups.n);
    }
    vec_push(&g->groups, n);
    *ret = n;
    return 0;
}

/* ---- Streaming ones ---------------------------------------------------------------- */

static void add_histogram(struct agg_run *g, struct group *n, size_t i, const struct histogram *h, struct str name)
{
    struct exec *x = g->x;
    if (n->flags[i] & BROKEN)
        return;
    if (h->hint == HIST_RESET)
        n->flags[i] |= SAW_RESET;
    if (h->hint == HIST_NOT_RESET)
        n->flags[i] |= SAW_NOT_RESET;
    if (!n->h[i]) {
        n->h[i] = hist_copy(x->a, h);
    } else {
        unsigned status = 0;
        struct histogram *sum = NULL;
        if (hist_is_custom(h) == hist_is_custom(n->h[i]))
            sum = hist_add(x->a, n->h[i], h, &status);
        if (status & HIST_RECONCILED)
            x_note(x, NOTE_RECONCILED, g->e->agg.child->start, STR(""), STR("aggregation"));
        if (!sum) {
            x_note(x, NOTE_MIXED_SCHEMAS, g->e->agg.child->start, name, STR(""));
            n->flags[i] |= BROKEN;
        }
        n->h[i] = sum;
    }
    if ((n->flags[i] & (SAW_RESET | SAW_NOT_RESET)) == (SAW_RESET | SAW_NOT_RESET))
        x_note(x, NOTE_RESET_CONFLICT, g->e->agg.child->start, STR(""), STR("aggregation"));
}

static void ignored(struct agg_run *g)
{
    x_note(g->x, NOTE_IGNORED_IN_AGGREGATION, g->e->agg.child->start, STR(""),
           arena_fmt(g->x->a, "%s aggregation", token_word(g->op)));
}

static void add_average(struct group *n, size_t i, double v)
{
    double count = ++n->count[i];
    if (count == 1) {
        n->v[i] = v;
        n->c[i] = 0;
        return;
    }
    if (!(n->flags[i] & INCREMENTAL)) {
        double s = n->v[i], c = n->c[i];
        kahan_add(v, &s, &c);
        if (!isinf(s)) {
            n->v[i] = s;
            n->c[i] = c;
            return;
        }
        n->flags[i] |= INCREMENTAL; /* the sum overflows: go on with the mean */
        n->mean[i] = n->v[i] / (count - 1);
        n->c[i] /= count - 1;
    }
    double q = (count - 1) / count;
    n->mean[i] *= q;
    n->c[i] *= q;
    kahan_add(v / count, &n->mean[i], &n->c[i]);
}

static void add_float(struct agg_run *g, struct group *n, size_t i, double v)
{
    bool first = !(n->flags[i] & SAW_FLOAT);
    n->flags[i] |= SAW_FLOAT;
    switch ((int)g->op) {
    case T_SUM:
        if (first) {
            n->v[i] = v;
            n->c[i] = 0;
        } else {
            kahan_add(v, &n->v[i], &n->c[i]);
        }
        break;
    case T_AVG:
        add_average(n, i, v);
        break;
    case T_MAX:
        if (first || n->v[i] < v || isnan(n->v[i]))
            n->v[i] = v;
        break;
    case T_MIN:
        if (first || n->v[i] > v || isnan(n->v[i]))
            n->v[i] = v;
        break;
    case T_STDDEV:
    case T_STDVAR:
        n->count[i]++;
        if (first) {
            n->mean[i] = v;
            n->v[i] = isfinite(v) ? 0 : NAN;
        } else {
            double delta = v - n->mean[i];
            n->mean[i] += delta / n->count[i];
            n->v[i] += delta * (v - n->mean[i]);
        }
        break;
    case T_COUNT:
        n->v[i]++;
        break;
    default: /* group */
        n->v[i] = 1;
        break;
    }
}

static int stream_take(void *ctx, struct row *r)
{
    struct agg_run *g = ctx;
    struct group *n;
    int rc = find_group(g, r->labels, &n);
    if (rc != 0 || (!n->v && (rc = accumulators(g, n)) != 0))
        return rc;
    n->drop_name |= r->drop_name;
    size_t steps = g->f->n;
    if (g->op == T_SUM && !r->h) { /* what most queries do, without a switch per step */
        for (size_t i = 0; i < steps; i++) {
            double v = r->v[i];
            if (!has_float(v))
                continue;
            if (n->flags[i] & SAW_FLOAT) {
                kahan_add(v, &n->v[i], &n->c[i]);
            } else {
                n->flags[i] |= SAW_FLOAT;
                n->v[i] = v;
            }
        }
        return 0;
    }
    bool sums = g->op == T_SUM || g->op == T_AVG;
    if (r->h && sums && !n->h && !(n->h = X_ARRAY(g->x, const struct histogram *, steps)))
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < steps; i++) {
        if (has_float(r->v[i])) {
            add_float(g, n, i, r->v[i]);
        } else if (has_hist(r, i)) {
            if (sums) {
                n->flags[i] |= SAW_HIST;
                if (g->op == T_AVG)
                    n->count[i]++;
                add_histogram(g, n, i, r->h[i], metric_name(r->labels));
            } else if (g->op == T_COUNT || g->op == T_GROUP) {
                add_float(g, n, i, 0);
            } else {
                ignored(g);
            }
        }
    }
    return 0;
}

static int finish_stream(struct agg_run *g, row_fn emit, void *ctx)
{
    struct exec *x = g->x;
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < g->groups.n; k++) {
        struct group *n = g->groups.v[k];
        struct row out = {.labels = n->labels, .drop_name = n->drop_name, .v = n->v, .h = n->h};
        for (size_t i = 0; i < g->f->n; i++) {
            uint8_t flags = n->flags[i];
            if ((flags & SAW_FLOAT) && (flags & SAW_HIST)) {
                x_note(x, NOTE_MIXED_AGGREGATION, g->e->agg.child->start, STR(""), STR(""));
                n->v[i] = stale_nan();
                n->h[i] = NULL;
                continue;
            }
            if (flags & SAW_HIST) {
                n->v[i] = stale_nan();
                if (n->h[i] && g->op == T_AVG)
                    n->h[i] = hist_divide(x->a, n->h[i], n->count[i]);
                if (n->h[i])
                    n->h[i] = hist_compact(x->a, n->h[i]);
                continue;
            }
            if (!(flags & SAW_FLOAT)) {
                n->v[i] = stale_nan();
                continue;
            }
            switch ((int)g->op) {
            case T_SUM:
                n->v[i] += isinf(n->v[i]) ? 0 : n->c[i];
                break;
            case T_AVG:
                n->v[i] = flags & INCREMENTAL ? n->mean[i] + n->c[i] : n->v[i] / n->count[i] + n->c[i] / n->count[i];
                break;
            case T_STDVAR:
                n->v[i] /= n->count[i];
                break;
            case T_STDDEV:
                n->v[i] = sqrt(n->v[i] / n->count[i]);
                break;
            default:
                break;
            }
        }
        if (row_any(&out, g->f->n))
            rc = emit(ctx, &out);
    }
    return rc;
}

/* ---- Those that keep rows ---------------------------------------------------------- */

static int keep_take(void *ctx, struct row *r)
{
    struct agg_run *g = ctx;
    struct group *n;
    int rc = find_group(g, r->labels, &n);
    if (rc != 0)
        return rc;
    n->drop_name |= r->drop_name;
    vec_push(&n->members, (uint32_t)g->rows.n);
    return rows_take(&g->rows, r);
}

/* topk and bottomk keep the k best in a heap with the worst on top. It works exactly as Go's container/heap, because
 * that decides which of several equal elements stay. */
struct heap {
    const struct rows *rows;
    size_t step, n;
    uint32_t *v; /* rows */
    bool smallest_on_top;
};

static double heap_value(const struct heap *h, size_t i)
{
    return h->rows->v[h->v[i]].v[h->step];
}

static bool heap_less(const struct heap *h, size_t i, size_t j)
{
    double a = heap_value(h, i), b = heap_value(h, j);
    return isnan(a) || (h->smallest_on_top ? a < b : a > b); /* NaN is worse than anything */
}

static void heap_swap(struct heap *h, size_t i, size_t j)
{
    uint32_t t = h->v[i];
    h->v[i] = h->v[j];
    h->v[j] = t;
}

static void heap_up(struct heap *h, size_t j)
{
    while (j > 0) {
        size_t i = (j - 1) / 2;
        if (i == j || !heap_less(h, j, i))
            break;
        heap_swap(h, i, j);
        j = i;
    }
}

static void heap_down(struct heap *h, size_t i)
{
    for (size_t l = 2 * i + 1; l < h->n; l = 2 * i + 1) {
        size_t j = l + 1 < h->n && heap_less(h, l + 1, l) ? l + 1 : l;
        if (!heap_less(h, j, i))
            break;
        heap_swap(h, i, j);
        i = j;
    }
}

/* Best first; equal ones stay as they stand in the heap. */
static void heap_order(struct heap *h)
{
    for (size_t i = 1; i < h->n; i++)
        for (size_t j = i; j > 0 && heap_less(h, j - 1, j); j--)
            heap_swap(h, j - 1, j);
}

/* The k best of a group at one step. */
static size_t choose_best(struct agg_run *g, const struct group *n, size_t step, size_t k, uint32_t *best)
{
    struct heap h = {.rows = &g->rows, .step = step, .v = best, .smallest_on_top = g->op == T_TOPK};
    for (size_t m = 0; m < n->members.n; m++) {
        uint32_t row = n->members.v[m];
        const struct row *r = &g->rows.v[row];
        double v = r->v[step];
        if (!has_float(v)) {
            if (has_hist(r, step))
                ignored(g);
            continue;
        }
        if (h.n < k) {
            best[h.n++] = row;
            heap_up(&h, h.n - 1);
            continue;
        }
        double worst = heap_value(&h, 0);
        if ((h.smallest_on_top ? worst < v : worst > v) || (isnan(worst) && !isnan(v))) {
            best[0] = row;
            heap_down(&h, 0);
        }
    }
    return h.n;
}

/* An instant query shows them in order; ranges are ordered by labels in the end. */
static void order_best(struct agg_run *g, size_t step, uint32_t *best, size_t n)
{
    struct heap h = {.rows = &g->rows, .step = step, .v = best, .n = n, .smallest_on_top = g->op == T_TOPK};
    if (n <= 64) {
        heap_order(&h);
        return;
    }
    /* large k: take the worst away, again and again (Go's sort orders equal ones in no promised way either) */
    while (h.n > 1) {
        h.n--;
        heap_swap(&h, 0, h.n);
        heap_down(&h, 0);
    }
}

static bool ratio_takes(double ratio, struct labels l)
{
    double share = (double)labels_hash(l) / 18446744073709551616.0;
    return ratio >= 0 ? share < ratio : share >= 1.0 + ratio;
}

static int check_selection_param(struct agg_run *g)
{
    struct exec *x = g->x;
    for (size_t i = 0; i < g->f->n; i++) {
        double p = g->param[i];
        char text[F64_TEXT_MAX];
        if (g->op == T_LIMIT_RATIO) {
            if (isnan(p))
                return x_fail(x, QUERY_E_EXEC, "Ratio value is NaN");
            if (p < -1 || p > 1) {
                struct str got = str_make(text, f64_write_g(text, p));
                x_note(x, NOTE_BAD_RATIO, g->e->agg.param->start, STR(""),
                       arena_fmt(x->a, STR_FMT ", capping to %s", STR_ARG(got), p < 0 ? "-1" : "1"));
                g->param[i] = p < 0 ? -1 : 1;
            }
        } else if (isnan(p)) {
            return x_fail(x, QUERY_E_EXEC, "Parameter value is NaN");
        } else if (p >= 9223372036854775808.0) {
            return x_fail(x, QUERY_E_EXEC, "Scalar value " STR_FMT " overflows int64",
                          STR_ARG(str_make(text, f64_write_g(text, p))));
        } else if (p <= -9223372036854775808.0) {
            return x_fail(x, QUERY_E_EXEC, "Scalar value " STR_FMT " underflows int64",
                          STR_ARG(str_make(text, f64_write_g(text, p))));
        }
    }
    return 0;
}

/* topk, bottomk, limitk, limit_ratio: elements come out as they went in. */
static int finish_selection(struct agg_run *g, row_fn emit, void *ctx)
{
    struct exec *x = g->x;
    size_t steps = g->f->n, biggest = 0;
    for (size_t k = 0; k < g->groups.n; k++)
        biggest = MAX(biggest, g->groups.v[k]->members.n);
    uint32_t *best = X_ARRAY(x, uint32_t, biggest + 1);
    struct row *out = X_ARRAY(x, struct row, g->rows.n);
    uint32_t *order = X_ARRAY(x, uint32_t, g->rows.n); /* of an instant query */
    if (!best || !out || !order)
        return QUERY_E_BUDGET;
    size_t n_order = 0;
    for (size_t k = 0; k < g->groups.n; k++) {
        const struct group *n = g->groups.v[k];
        for (size_t i = 0; i < steps; i++) {
            int late = n->members.n > 1000 || i % 64 == 0 ? x_check(x) : 0;
            if (late != 0)
                return late;
            size_t have = 0, want;
            if (g->op == T_LIMIT_RATIO) {
                for (size_t m = 0; m < n->members.n; m++) {
                    const struct row *r = &g->rows.v[n->members.v[m]];
                    if (g->param[i] != 0 && has_point(r, i) && ratio_takes(g->param[i], r->labels))
                        best[have++] = n->members.v[m];
                }
            } else if (g->param[i] >= 1) {
                want = g->param[i] >= (double)n->members.n ? n->members.n : (size_t)g->param[i];
                if (g->op == T_LIMITK) {
                    for (size_t m = 0; m < n->members.n && have < want; m++)
                        if (has_point(&g->rows.v[n->members.v[m]], i))
                            best[have++] = n->members.v[m];
                } else {
                    have = choose_best(g, n, i, want, best);
                    if (steps == 1)
                        order_best(g, i, best, have);
                }
            }
            for (size_t m = 0; m < have; m++) {
                struct row *from = &g->rows.v[best[m]], *to = &out[best[m]];
                if (!to->v) {
                    bool hist = from->h != NULL;
                    int rc = row_init(x, g->f, to, hist);
                    if (rc != 0)
                        return rc;
                    to->labels = from->labels;
                    to->drop_name = from->drop_name;
                    for (size_t s = 0; s < steps; s++)
                        to->v[s] = stale_nan();
                    order[n_order++] = best[m];
                }
                to->v[i] = from->v[i];
                if (from->h)
                    to->h[i] = from->h[i];
            }
        }
    }
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < n_order; k++)
        rc = emit(ctx, &out[order[k]]);
    return rc;
}

static int finish_quantile(struct agg_run *g, row_fn emit, void *ctx)
{
    struct exec *x = g->x;
    size_t biggest = 0;
    char text[F64_TEXT_MAX];
    for (size_t i = 0; i < g->f->n; i++)
        if (!(g->param[i] >= 0 && g->param[i] <= 1))
            x_note(x, NOTE_BAD_QUANTILE, g->e->agg.param->start, STR(""),
                   arena_str(x->a, str_make(text, f64_write_g(text, g->param[i]))));
    for (size_t k = 0; k < g->groups.n; k++)
        biggest = MAX(biggest, g->groups.v[k]->members.n);
    double *values = X_ARRAY(x, double, biggest + 1);
    struct row out;
    int rc = values ? row_init(x, g->f, &out, false) : QUERY_E_BUDGET;
    for (size_t k = 0; rc == 0 && k < g->groups.n; k++) {
        const struct group *n = g->groups.v[k];
        out.labels = n->labels;
        out.drop_name = n->drop_name;
        for (size_t i = 0; rc == 0 && i < g->f->n; i++) {
            size_t have = 0;
            if (n->members.n > 1000 || i % 64 == 0)
                rc = x_check(x);
            for (size_t m = 0; m < n->members.n; m++) {
                const struct row *r = &g->rows.v[n->members.v[m]];
                if (has_float(r->v[i]))
                    values[have++] = r->v[i];
                else if (has_hist(r, i))
                    ignored(g);
            }
            out.v[i] = have ? quantile_of(g->param[i], values, have) : stale_nan();
        }
        if (rc == 0 && row_any(&out, g->f->n))
            rc = emit(ctx, &out);
    }
    return rc;
}

/* A value as count_values shows it. */
static struct str value_text(struct exec *x, const struct row *r, size_t i)
{
    if (has_hist(r, i)) {
        struct buf b = BUF_INIT(1 << 20);
        hist_format(&b, r->h[i]);
        struct str s = arena_str(x->a, buf_view(&b));
        buf_done(&b);
        return s;
    }
    char text[F64_TEXT_MAX];
    return arena_str(x->a, str_make(text, f64_write(text, r->v[i])));
}

struct counted {
    struct row row;
    struct counted *next;
};

static int finish_count_values(struct agg_run *g, row_fn emit, void *ctx)
{
    struct exec *x = g->x;
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < g->groups.n; k++) {
        const struct group *n = g->groups.v[k];
        struct map by_value = {0};
        struct counted *first = NULL, **tail = &first;
        for (size_t m = 0; rc == 0 && m < n->members.n; m++) {
            const struct row *r = &g->rows.v[n->members.v[m]];
            struct counted *c = NULL;
            uint64_t last_bits = 0;
            for (size_t i = 0; i < g->f->n; i++) {
                if (!has_point(r, i))
                    continue;
                if (!c || has_hist(r, i) || f64_bits(r->v[i]) != last_bits) {
                    struct str value = value_text(x, r, i);
                    last_bits = f64_bits(r->v[i]);
                    c = map_get(&by_value, value);
                    if (!c) {
                        if (!(c = X_ARRAY(x, struct counted, 1)) || (rc = row_init(x, g->f, &c->row, false)) != 0) {
                            rc = QUERY_E_BUDGET;
                            break;
                        }
                        struct labels_builder b = {0};
                        lb_init(&b, n->labels);
                        lb_set(&b, g->param_string, value);
                        c->row.labels = labels_build(x, &b);
                        lb_done(&b);
                        c->row.drop_name = n->drop_name;
                        for (size_t s = 0; s < g->f->n; s++)
                            c->row.v[s] = stale_nan();
                        (void)map_put(&by_value, value, c);
                        *tail = c;
                        tail = &c->next;
                    }
                }
                c->row.v[i] = has_float(c->row.v[i]) ? c->row.v[i] + 1 : 1;
            }
            if (rc == 0)
                rc = x_check(x);
        }
        map_done(&by_value);
        for (struct counted *c = first; rc == 0 && c; c = c->next)
            rc = emit(ctx, &c->row);
    }
    return rc;
}

static int run(struct agg_run *g, row_fn emit, void *ctx)
{
    struct exec *x = g->x;
    const struct expr *e = g->e;
    int r = 0;
    if (g->op == T_COUNT_VALUES) {
        if ((r = exec_string(x, e->agg.param, &g->param_string)) != 0)
            return r;
        if (g->param_string.n == 0)
            return x_fail(x, QUERY_E_EXEC, "invalid label name \"\"");
    } else if (e->agg.param) {
        if (!(g->param = X_ARRAY(x, double, g->f->n)))
            return QUERY_E_BUDGET;
        if ((r = exec_scalar(x, g->f, e->agg.param, g->param)) != 0)
            return r;
        if (g->op != T_QUANTILE && (r = check_selection_param(g)) != 0)
            return r;
    }
    switch ((int)g->op) {
    case T_TOPK:
    case T_BOTTOMK:
    case T_LIMITK:
    case T_LIMIT_RATIO:
        r = exec_vector(x, g->f, e->agg.child, keep_take, g);
        return r == 0 ? finish_selection(g, emit, ctx) : r;
    case T_QUANTILE:
        r = exec_vector(x, g->f, e->agg.child, keep_take, g);
        return r == 0 ? finish_quantile(g, emit, ctx) : r;
    case T_COUNT_VALUES:
        r = exec_vector(x, g->f, e->agg.child, keep_take, g);
        return r == 0 ? finish_count_values(g, emit, ctx) : r;
    default:
        r = exec_vector(x, g->f, e->agg.child, stream_take, g);
        return r == 0 ? finish_stream(g, emit, ctx) : r;
    }
}

int exec_aggregate(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct agg_run g = {.x = x, .f = f, .e = e, .op = e->agg.op, .n_names = e->agg.grouping.n};
    g.rows = (struct rows){.x = x, .steps = f->n};
    if (!(g.names = X_ARRAY(x, struct str, g.n_names)))
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < g.n_names; i++)
        g.names[i] = e->agg.grouping.v[i];
    if (g.n_names > 1)
        qsort(g.names, g.n_names, sizeof(struct str), compare_str);
    int r = run(&g, emit, ctx);
    for (size_t i = 0; i < g.groups.n; i++)
        vec_done(&g.groups.v[i]->members);
    vec_done(&g.groups);
    idmap_done(&g.by_hash);
    return r;
}

static int compare_doubles(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    if (isnan(a) || isnan(b))
        return isnan(b) - isnan(a); /* NaN first */
    return (a > b) - (a < b);
}

double quantile_of(double q, double *v, size_t n)
{
    if (n == 0 || isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    qsort(v, n, sizeof(double), compare_doubles);
    double rank = q * (double)(n - 1);
    size_t lower = (size_t)fmax(0, floor(rank));
    size_t upper = MIN(n - 1, lower + 1);
    double weight = rank - floor(rank);
    return v[lower] * (1 - weight) + v[upper] * weight;
}
