// SPDX-License-Identifier: Apache-2.0
/* Functions that change labels: label_replace, label_join, info. */
#include "promql/exec_int.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/utf8.h"
#include <math.h>

struct relabel {
    struct exec *x;
    struct row_map out;
    bool join;
    struct str dst, replacement, separator, src;
    struct regex *re;
    const struct str *sources;
    size_t n_sources;
};

static int put_merged(struct row_map *out, struct labels labels, const struct row *r, bool drop_name)
{
    struct row *o;
    int rc = row_map_get(out, labels, &o);
    if (rc != 0)
        return rc;
    o->drop_name |= drop_name;
    struct exec *x = out->rows.x;
    if (!r->h)
        return rows_merge(&out->rows, o, r);
    /* Histograms are the caller's: keep copies. */
    struct row copy = *r;
    copy.h = X_ARRAY(x, const struct histogram *, out->f->n);
    if (!copy.h)
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < out->f->n; i++)
        copy.h[i] = r->h[i] ? hist_copy(x->a, r->h[i]) : NULL;
    return rows_merge(&out->rows, o, &copy);
}

static int relabel_take(void *ctx, struct row *r)
{
    struct relabel *s = ctx;
    struct exec *x = s->x;
    int rc = x_check(x);
    if (rc != 0)
        return rc;
    struct buf value = BUF_INIT((size_t)limit(label_value_bytes));
    bool changed = s->join;
    if (s->join) {
        for (size_t i = 0; i < s->n_sources; i++) {
            if (i)
                buf_str(&value, s->separator);
            buf_str(&value, labels_get(r->labels, s->sources[i]));
        }
    } else {
        changed = regex_expand(s->re, labels_get(r->labels, s->src), s->replacement, &value);
    }
    struct labels labels = r->labels;
    bool drop_name = r->drop_name;
    if (buf_error(&value)) {
        buf_done(&value);
        return x_fail(x, QUERY_E_EXEC, "label value made by %s() is longer than %lld bytes (limit label_value_bytes)",
                      s->join ? "label_join" : "label_replace", (long long)limit(label_value_bytes));
    }
    if (changed) {
        struct labels_builder b = {0};
        lb_init(&b, r->labels);
        lb_set(&b, s->dst, arena_str(x->a, buf_view(&value)));
        labels = labels_build(x, &b);
        lb_done(&b);
        if (str_eqz(s->dst, LABEL_NAME))
            drop_name = false; /* a name given on purpose stays */
    }
    buf_done(&value);
    return put_merged(&s->out, labels, r, drop_name);
}

static bool label_ok(struct str name)
{
    return name.n > 0 && utf8_valid(name);
}

static int relabel_args(struct relabel *s, const struct expr *e)
{
    struct exec *x = s->x;
    int r = exec_string(x, e->call.args[1], &s->dst);
    if (r != 0)
        return r;
    if (!label_ok(s->dst))
        return x_fail(x, QUERY_E_EXEC, "invalid destination label name in %s(): " STR_FMT, e->call.fn->name,
                      STR_ARG(s->dst));
    if (s->join) {
        if ((r = exec_string(x, e->call.args[2], &s->separator)) != 0)
            return r;
        s->n_sources = e->call.n_args - 3;
        struct str *v = X_ARRAY(x, struct str, s->n_sources);
        if (!v)
            return QUERY_E_BUDGET;
        for (size_t i = 0; i < s->n_sources; i++) {
            if ((r = exec_string(x, e->call.args[3 + i], &v[i])) != 0)
                return r;
            if (!label_ok(v[i]))
                return x_fail(x, QUERY_E_EXEC, "invalid source label name in label_join(): " STR_FMT, STR_ARG(v[i]));
        }
        s->sources = v;
        return 0;
    }
    struct str pattern;
    if ((r = exec_string(x, e->call.args[2], &s->replacement)) != 0 ||
        (r = exec_string(x, e->call.args[3], &s->src)) != 0 || (r = exec_string(x, e->call.args[4], &pattern)) != 0)
        return r;
    struct err err = {0};
    if (regex_new(pattern, REGEX_ANCHORED | REGEX_DOT_NL, &s->re, &err) != 0)
        return x_fail(x, QUERY_E_EXEC, "invalid regular expression in label_replace(): " STR_FMT, STR_ARG(pattern));
    return 0;
}

int exec_label_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct relabel s = {.x = x, .join = e->call.id == FN_LABEL_JOIN};
    s.out.rows = (struct rows){.x = x, .steps = f->n};
    s.out.f = f;
    int r = relabel_args(&s, e);
    if (r == 0)
        r = exec_vector(x, f, e->call.args[0], relabel_take, &s);
    if (r == 0)
        r = row_map_emit(&s.out, emit, ctx);
    regex_free(s.re);
    row_map_done(&s.out);
    return r;
}

/* ---- info() ------------------------------------------------------------------------ */

/* The labels that tie a series to its info series (promql/info.go, 3.14). */
static const struct str identifying[] = {{"instance", 8}, {"job", 3}};
#define N_IDENTIFYING 2

struct info {
    struct exec *x;
    const struct frame *f;
    const struct expr *sel; /* the label selector, or NULL */
    struct rows base, times;
    struct row_map out;
    bool any_name, positive_name;
    bool needs_match; /* some data label must not be empty */
};

static bool is_name(const struct matcher *m)
{
    return str_eqz(m->name, LABEL_NAME);
}

static bool is_info_name(const struct info *s, struct str name)
{
    if (!s->any_name)
        return str_eqz(name, "target_info");
    if (!s->positive_name && !(str_ends(name, STR("_info")) && name.n > 5))
        return false;
    for (size_t i = 0; i < s->sel->sel.n_matchers; i++)
        if (is_name(&s->sel->sel.matchers[i]) && !matcher_value(&s->sel->sel.matchers[i], name))
            return false;
    return true;
}

static bool same_identity(struct labels a, struct labels b)
{
    for (size_t i = 0; i < N_IDENTIFYING; i++)
        if (!str_eq(labels_get(a, identifying[i]), labels_get(b, identifying[i])))
            return false;
    return true;
}

static uint64_t identity_hash(struct labels l)
{
    return labels_hash_by(l, identifying, N_IDENTIFYING, false);
}

static bool has_identity(struct labels l)
{
    for (size_t i = 0; i < N_IDENTIFYING; i++)
        if (labels_has(l, identifying[i]))
            return true;
    return false;
}

static bool wanted_label(const struct info *s, struct str name)
{
    size_t data = 0;
    for (size_t i = 0; s->sel && i < s->sel->sel.n_matchers; i++) {
        if (is_name(&s->sel->sel.matchers[i]))
            continue;
        data++;
        if (str_eq(s->sel->sel.matchers[i].name, name))
            return true;
    }
    return data == 0;
}

/* The first selector of the first argument: info series are looked at at its time. */
static const struct expr *first_selector(const struct expr *e)
{
    const struct expr *found = NULL;
    switch (e->kind) {
    case E_SELECTOR:
        return e;
    case E_MATRIX:
    case E_SUBQUERY:
        return first_selector(e->win.child);
    case E_CALL:
        for (size_t i = 0; !found && i < e->call.n_args; i++)
            found = first_selector(e->call.args[i]);
        return found;
    case E_AGGREGATE:
        return first_selector(e->agg.child);
    case E_BINARY:
        found = first_selector(e->bin.l);
        return found ? found : first_selector(e->bin.r);
    case E_UNARY:
        return first_selector(e->unary.child);
    case E_PAREN:
        return first_selector(e->paren);
    case E_NUMBER:
    case E_STRING:
        break;
    }
    return NULL;
}

/* The info series that tell of one base series: indices of rows. */
struct tied {
    uint32_t *v;
    size_t n;
};

/* The one of an info metric's series that was scraped last, at one step. */
static int newest_info(struct info *s, const struct rows *values, const struct tied *tied, size_t i, struct str name,
                       const struct row **ret)
{
    const struct row *best = NULL;
    double best_t = 0;
    for (size_t k = 0; k < tied->n; k++) {
        const struct row *v = &values->v[tied->v[k]];
        if (!has_point(v, i) || !str_eq(metric_name(v->labels), name))
            continue;
        if (has_hist(v, i))
            return x_fail(s->x, QUERY_E_EXEC, "info sample should be float");
        double t = s->times.v[tied->v[k]].v[i];
        if (best && t == best_t)
            return x_fail(s->x, QUERY_E_EXEC, "found duplicate series for info metric");
        if (!best || t > best_t) {
            best = v;
            best_t = t;
        }
    }
    *ret = best;
    return 0;
}

static int combine_step(struct info *s, const struct rows *values, const struct tied *tied, const struct row *b,
                        size_t i)
{
    struct exec *x = s->x;
    struct labels_builder lb = {0};
    lb_init(&lb, b->labels);
    bool matched = false;
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < tied->n; k++) {
        struct str name = metric_name(values->v[tied->v[k]].labels);
        bool seen = false; /* each info metric once */
        for (size_t j = 0; j < k && !seen; j++)
            seen = str_eq(metric_name(values->v[tied->v[j]].labels), name);
        const struct row *info = NULL;
        if (seen || (rc = newest_info(s, values, tied, i, name, &info)) != 0 || !info)
            continue;
        matched = true;
        for (size_t j = 0; j < info->labels.n; j++) {
            struct label l = info->labels.v[j];
            if (str_eqz(l.name, LABEL_NAME) || !wanted_label(s, l.name) || labels_has(b->labels, l.name))
                continue;
            struct str had = lb_get(&lb, l.name);
            if (had.n > 0 && !str_eq(had, l.value)) {
                rc = x_fail(x, QUERY_E_EXEC, "conflicting label: " STR_FMT, STR_ARG(l.name));
                break;
            }
            lb_set(&lb, l.name, l.value);
        }
    }
    struct row *o = NULL;
    if (rc == 0 && (matched || !s->needs_match) && (rc = row_map_get(&s->out, labels_build(x, &lb), &o)) == 0) {
        o->drop_name |= b->drop_name;
        if (has_point(o, i)) {
            rc = x_fail(x, QUERY_E_EXEC, "vector cannot contain metrics with the same labelset");
        } else {
            o->v[i] = b->v[i];
            if (has_hist(b, i)) {
                if (!o->h && !(o->h = X_ARRAY(x, const struct histogram *, s->f->n)))
                    rc = QUERY_E_BUDGET;
                else
                    o->h[i] = b->h[i];
            }
        }
    }
    lb_done(&lb);
    return rc;
}

/* Every info series that belongs to one of the base series; values and sample times row by row. */
static int fetch_info(struct info *s, const struct expr *arg, struct rows *values)
{
    struct exec *x = s->x;
    size_t n = s->sel ? s->sel->sel.n_matchers : 0;
    struct expr sel = {.kind = E_SELECTOR, .type = PROMQL_VECTOR};
    const struct expr *like = first_selector(arg);
    if (like)
        sel.sel.when = like->sel.when;
    sel.sel.matchers = X_ARRAY(x, struct matcher, n + 1);
    if (!sel.sel.matchers)
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < n; i++)
        sel.sel.matchers[sel.sel.n_matchers++] = s->sel->sel.matchers[i]; /* regexes stay the selector's */
    if (!s->any_name)
        sel.sel.matchers[sel.sel.n_matchers++] =
            (struct matcher){.op = MATCH_EQ, .name = STR(LABEL_NAME), .value = STR("target_info")};
    int r = exec_selector(x, s->f, &sel, SELECT_VALUE, rows_take, values);
    if (r == 0)
        r = exec_selector(x, s->f, &sel, SELECT_TIME, rows_take, &s->times);
    if (r == 0 && values->n != s->times.n)
        return x_fail(x, QUERY_E_INTERNAL, "info series changed while read");
    struct idmap wanted = {0}; /* identities of the base series */
    for (size_t k = 0; k < s->base.n; k++)
        idmap_put(&wanted, identity_hash(s->base.v[k].labels), 1);
    size_t kept = 0;
    for (size_t i = 0; r == 0 && i < values->n; i++) {
        uint64_t one;
        struct labels l = values->v[i].labels;
        if (!is_info_name(s, metric_name(l)) || !has_identity(l) || !idmap_get(&wanted, identity_hash(l), &one))
            continue;
        values->v[kept] = values->v[i];
        s->times.v[kept++] = s->times.v[i];
    }
    idmap_done(&wanted);
    values->n = s->times.n = kept;
    return r;
}

static int info_run(struct info *s, const struct expr *e)
{
    struct exec *x = s->x;
    int r = exec_vector(x, s->f, e->call.args[0], rows_take, &s->base);
    if (r != 0)
        return r;
    struct rows values = {.x = x, .steps = s->f->n};
    if (s->base.n > 0 && (r = fetch_info(s, e->call.args[0], &values)) != 0)
        return r;
    uint64_t *identity = X_ARRAY(x, uint64_t, values.n);
    struct tied tied = {.v = X_ARRAY(x, uint32_t, values.n)};
    if (!identity || !tied.v)
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < values.n; i++)
        identity[i] = identity_hash(values.v[i].labels);
    for (size_t k = 0; r == 0 && k < s->base.n; k++) {
        const struct row *b = &s->base.v[k];
        if ((r = x_check(x)) != 0)
            return r;
        if (is_info_name(s, metric_name(b->labels))) { /* an info series itself: as it is */
            r = put_merged(&s->out, b->labels, b, b->drop_name);
            continue;
        }
        uint64_t own = identity_hash(b->labels);
        tied.n = 0;
        for (size_t i = 0; i < values.n; i++)
            if (identity[i] == own && same_identity(values.v[i].labels, b->labels))
                tied.v[tied.n++] = (uint32_t)i;
        for (size_t i = 0; r == 0 && i < s->f->n; i++)
            if (has_point(b, i))
                r = combine_step(s, &values, &tied, b, i);
    }
    return r;
}

int exec_info(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct info s = {.x = x, .f = f, .sel = e->call.n_args > 1 ? e->call.args[1] : NULL};
    s.base = s.times = s.out.rows = (struct rows){.x = x, .steps = f->n};
    s.out.f = f;
    for (size_t i = 0; s.sel && i < s.sel->sel.n_matchers; i++) {
        const struct matcher *m = &s.sel->sel.matchers[i];
        if (is_name(m)) {
            s.any_name = true;
            s.positive_name |= m->op == MATCH_EQ || m->op == MATCH_RE;
        } else if (!matcher_value(m, STR(""))) {
            s.needs_match = true;
        }
    }
    int r = info_run(&s, e);
    if (r == 0)
        r = row_map_emit(&s.out, emit, ctx);
    row_map_done(&s.out);
    return r;
}
