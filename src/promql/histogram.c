// SPDX-License-Identifier: Apache-2.0
#include "promql/hist_int.h"

#include "base/buf.h"
#include "base/mem.h"
#include "codec/f64.h"
#include <float.h>
#include <math.h>

/* One side's buckets, taken out of their spans: ascending indices, absolute counts. Results never hold empty ones. */
struct side {
    int32_t *index;
    double *count;
    size_t n;
};

static struct side side_of(struct arena *a, const struct hist_span *spans, uint32_t n_spans, const double *counts,
                           uint32_t n)
{
    struct side s = {.index = ARENA_ARRAY(a, int32_t, n), .count = ARENA_ARRAY(a, double, n)};
    int32_t at = 0;
    uint32_t k = 0;
    for (uint32_t i = 0; i < n_spans; i++) {
        at += spans[i].offset;
        for (uint32_t j = 0; j < spans[i].length && k < n; j++, at++, k++) {
            if (counts[k] == 0)
                continue;
            s.index[s.n] = at;
            s.count[s.n++] = counts[k];
        }
    }
    return s;
}

static struct side pos_of(struct arena *a, const struct histogram *h)
{
    return side_of(a, h->pos_spans, h->n_pos_spans, h->pos, h->n_pos);
}

static struct side neg_of(struct arena *a, const struct histogram *h)
{
    return side_of(a, h->neg_spans, h->n_neg_spans, h->neg, h->n_neg);
}

static void spans_from(struct arena *a, const struct side *s, const struct hist_span **ret, uint32_t *ret_n)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += i == 0 || s->index[i] != s->index[i - 1] + 1;
    struct hist_span *v = ARENA_ARRAY(a, struct hist_span, n);
    uint32_t k = 0;
    int32_t end = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (i == 0 || s->index[i] != s->index[i - 1] + 1)
            v[k++] = (struct hist_span){.offset = s->index[i] - end};
        v[k - 1].length++;
        end = s->index[i] + 1;
    }
    *ret = v;
    *ret_n = n;
}

/* head: everything but the buckets. */
static struct histogram *build(struct arena *a, const struct histogram *head, const struct side *pos,
                               const struct side *neg)
{
    struct histogram *h = ARENA_NEW(a, struct histogram);
    *h = *head;
    spans_from(a, pos, &h->pos_spans, &h->n_pos_spans);
    spans_from(a, neg, &h->neg_spans, &h->n_neg_spans);
    h->pos = pos->count;
    h->n_pos = (uint32_t)pos->n;
    h->neg = neg->count;
    h->n_neg = (uint32_t)neg->n;
    return h;
}

static void *dup_bytes(struct arena *a, const void *p, size_t n)
{
    if (n == 0)
        return NULL;
    void *q = arena_alloc(a, n);
    memcpy(q, p, n);
    return q;
}

struct histogram *hist_copy(struct arena *a, const struct histogram *o)
{
    struct histogram *h = ARENA_NEW(a, struct histogram);
    *h = *o;
    h->pos_spans = dup_bytes(a, o->pos_spans, o->n_pos_spans * sizeof(*o->pos_spans));
    h->neg_spans = dup_bytes(a, o->neg_spans, o->n_neg_spans * sizeof(*o->neg_spans));
    h->pos = dup_bytes(a, o->pos, o->n_pos * sizeof(double));
    h->neg = dup_bytes(a, o->neg, o->n_neg * sizeof(double));
    h->custom = dup_bytes(a, o->custom, o->n_custom * sizeof(double));
    return h;
}

struct histogram *hist_compact(struct arena *a, const struct histogram *h)
{
    struct side p = pos_of(a, h), n = neg_of(a, h);
    return build(a, h, &p, &n);
}

/* The upper bound of a positive exponential bucket. */
static double exp_bound(int32_t index, int schema)
{
    double v;
    if (schema <= 0) {
        v = ldexp(1, (int)((unsigned)index << -schema));
        if (index >= 0 && ((int64_t)index << -schema) >= 1024)
            v = DBL_MAX * 2;
    } else {
        int32_t whole = index >> schema, part = index & ((1 << schema) - 1);
        v = ldexp(exp2((double)part / (double)(1 << schema)), whole);
    }
    /* The last finite bucket ends at the largest double, not at infinity. */
    if (isinf(v)) {
        int64_t last = schema >= 0 ? (int64_t)1024 << schema : 1024 >> -schema;
        return index == last ? DBL_MAX : v;
    }
    return v;
}

static int32_t coarser(int32_t index, int steps)
{
    return ((index - 1) >> steps) + 1;
}

static struct side reduce(struct arena *a, struct side s, int steps)
{
    if (steps <= 0)
        return s;
    struct side r = {.index = ARENA_ARRAY(a, int32_t, s.n), .count = ARENA_ARRAY(a, double, s.n)};
    for (size_t i = 0; i < s.n; i++) {
        int32_t at = coarser(s.index[i], steps);
        if (r.n > 0 && r.index[r.n - 1] == at) {
            r.count[r.n - 1] += s.count[i];
        } else {
            r.index[r.n] = at;
            r.count[r.n++] = s.count[i];
        }
    }
    return r;
}

struct histogram *hist_to_schema(struct arena *a, const struct histogram *h, int schema)
{
    struct side p = pos_of(a, h), n = neg_of(a, h);
    if (!hist_is_custom(h) && schema < h->schema) {
        p = reduce(a, p, h->schema - schema);
        n = reduce(a, n, h->schema - schema);
    }
    struct histogram head = *h;
    head.schema = hist_is_custom(h) ? h->schema : MIN(schema, h->schema);
    return build(a, &head, &p, &n);
}

/* x + sign * y */
static struct side merge(struct arena *a, struct side x, struct side y, double sign)
{
    struct side r = {.index = ARENA_ARRAY(a, int32_t, x.n + y.n), .count = ARENA_ARRAY(a, double, x.n + y.n)};
    size_t i = 0, k = 0;
    while (i < x.n || k < y.n) {
        int32_t at;
        double c;
        if (k == y.n || (i < x.n && x.index[i] < y.index[k])) {
            at = x.index[i];
            c = x.count[i++];
        } else if (i == x.n || y.index[k] < x.index[i]) {
            at = y.index[k];
            c = sign * y.count[k++];
        } else {
            at = x.index[i];
            c = x.count[i++] + sign * y.count[k++];
        }
        if (c == 0)
            continue;
        r.index[r.n] = at;
        r.count[r.n++] = c;
    }
    return r;
}

/* ---- The zero bucket --------------------------------------------------------------- */

/* The count of the zero bucket, were it as wide as *width; *width grows to the end of a bucket it would cut. */
static double wider_zero(const struct side *p, const struct side *n, int schema, double zero_count, double *width)
{
    for (;;) {
        double count = zero_count;
        bool again = false;
        for (size_t i = 0; i < p->n; i++) {
            double lower = exp_bound(p->index[i] - 1, schema), upper = exp_bound(p->index[i], schema);
            if (lower >= *width)
                break;
            count += p->count[i];
            if (upper > *width) {
                *width = upper;
                break;
            }
        }
        for (size_t i = 0; i < n->n; i++) {
            double lower = exp_bound(n->index[i] - 1, schema), upper = exp_bound(n->index[i], schema);
            if (lower >= *width)
                break;
            count += n->count[i];
            if (upper > *width) {
                *width = upper;
                again = true; /* the positive side has to be looked at anew */
                break;
            }
        }
        if (!again)
            return count;
    }
}

static struct side outside_zero(struct side s, int schema, double width)
{
    size_t k = 0;
    while (k < s.n && exp_bound(s.index[k], schema) <= width)
        k++;
    return (struct side){.index = s.index + k, .count = s.count + k, .n = s.n - k};
}

struct parts {
    struct side pos, neg;
    double zero_count, zero_width;
};

static void widen(struct parts *p, int schema, double *width)
{
    p->zero_count = wider_zero(&p->pos, &p->neg, schema, p->zero_count, width);
    p->zero_width = *width;
    p->pos = outside_zero(p->pos, schema, *width);
    p->neg = outside_zero(p->neg, schema, *width);
}

static struct parts parts_of(struct arena *a, const struct histogram *h)
{
    return (struct parts){
        .pos = pos_of(a, h), .neg = neg_of(a, h), .zero_count = h->zero_count, .zero_width = h->zero_threshold};
}

/* ---- Custom bounds ----------------------------------------------------------------- */

static bool same_bounds(const struct histogram *x, const struct histogram *y)
{
    if (x->n_custom != y->n_custom)
        return false;
    for (uint32_t i = 0; i < x->n_custom; i++)
        if (x->custom[i] != y->custom[i])
            return false;
    return true;
}

static uint32_t common_bounds(struct arena *a, const struct histogram *x, const struct histogram *y, double **ret)
{
    double *v = ARENA_ARRAY(a, double, MIN(x->n_custom, y->n_custom));
    uint32_t n = 0, i = 0, k = 0;
    while (i < x->n_custom && k < y->n_custom) {
        if (x->custom[i] == y->custom[k]) {
            v[n++] = x->custom[i++];
            k++;
        } else if (x->custom[i] < y->custom[k]) {
            i++;
        } else {
            k++;
        }
    }
    *ret = v;
    return n;
}

/* Buckets over fewer bounds, all of which are bounds of h too. */
static struct side over_bounds(struct arena *a, struct side s, const struct histogram *h, const double *bounds,
                               uint32_t n)
{
    struct side r = {.index = ARENA_ARRAY(a, int32_t, s.n), .count = ARENA_ARRAY(a, double, s.n)};
    uint32_t to = 0;
    for (size_t i = 0; i < s.n; i++) {
        int32_t at = s.index[i];
        if (at < 0 || (uint32_t)at >= h->n_custom)
            to = n;
        else
            while (to < n && bounds[to] < h->custom[at])
                to++;
        if (r.n > 0 && r.index[r.n - 1] == (int32_t)to) {
            r.count[r.n - 1] += s.count[i];
        } else {
            r.index[r.n] = (int32_t)to;
            r.count[r.n++] = s.count[i];
        }
    }
    return r;
}

/* ---- Arithmetic -------------------------------------------------------------------- */

static enum hist_hint combined_hint(const struct histogram *x, const struct histogram *y, unsigned *status)
{
    if (x->hint == y->hint)
        return x->hint;
    if (x->hint == HIST_GAUGE || y->hint == HIST_GAUGE)
        return HIST_GAUGE;
    if (x->hint != HIST_UNKNOWN_RESET && y->hint != HIST_UNKNOWN_RESET)
        *status |= HIST_RESET_CONFLICT;
    return HIST_UNKNOWN_RESET;
}

static struct histogram *combine(struct arena *a, const struct histogram *x, const struct histogram *y, double sign,
                                 unsigned *status)
{
    if (hist_is_custom(x) != hist_is_custom(y)) {
        *status |= HIST_INCOMPATIBLE;
        return NULL;
    }
    struct histogram head = {.schema = x->schema,
                             .hint = combined_hint(x, y, status),
                             .count = x->count + sign * y->count,
                             .sum = x->sum + sign * y->sum};
    if (sign < 0)
        head.hint = HIST_GAUGE;
    struct parts px = parts_of(a, x), py = parts_of(a, y);
    if (hist_is_custom(x)) {
        if (same_bounds(x, y)) {
            head.n_custom = x->n_custom;
            head.custom = dup_bytes(a, x->custom, x->n_custom * sizeof(double));
        } else {
            double *bounds;
            head.n_custom = common_bounds(a, x, y, &bounds);
            head.custom = bounds;
            px.pos = over_bounds(a, px.pos, x, bounds, head.n_custom);
            py.pos = over_bounds(a, py.pos, y, bounds, head.n_custom);
            *status |= HIST_RECONCILED;
        }
    } else {
        while (px.zero_width != py.zero_width) {
            double width;
            if (px.zero_width > py.zero_width) {
                width = px.zero_width;
                widen(&py, y->schema, &width);
            } else {
                width = py.zero_width;
                widen(&px, x->schema, &width);
            }
        }
        head.zero_threshold = px.zero_width;
        head.zero_count = px.zero_count + sign * py.zero_count;
        head.schema = MIN(x->schema, y->schema);
        px.pos = reduce(a, px.pos, x->schema - head.schema);
        px.neg = reduce(a, px.neg, x->schema - head.schema);
        py.pos = reduce(a, py.pos, y->schema - head.schema);
        py.neg = reduce(a, py.neg, y->schema - head.schema);
    }
    struct side pos = merge(a, px.pos, py.pos, sign), neg = merge(a, px.neg, py.neg, sign);
    return build(a, &head, &pos, &neg);
}

struct histogram *hist_add(struct arena *a, const struct histogram *x, const struct histogram *y, unsigned *status)
{
    return combine(a, x, y, 1, status);
}

struct histogram *hist_sub(struct arena *a, const struct histogram *x, const struct histogram *y, unsigned *status)
{
    return combine(a, x, y, -1, status);
}

struct histogram *hist_scale(struct arena *a, const struct histogram *o, double by)
{
    struct histogram *h = hist_copy(a, o);
    double *pos = (double *)h->pos, *neg = (double *)h->neg; /* our own copies */
    h->zero_count *= by;
    h->count *= by;
    h->sum *= by;
    for (uint32_t i = 0; i < h->n_pos; i++)
        pos[i] *= by;
    for (uint32_t i = 0; i < h->n_neg; i++)
        neg[i] *= by;
    if (by < 0)
        h->hint = HIST_GAUGE;
    return h;
}

struct histogram *hist_divide(struct arena *a, const struct histogram *o, double by)
{
    struct histogram *h = hist_copy(a, o);
    double *pos = (double *)h->pos, *neg = (double *)h->neg;
    h->zero_count /= by;
    h->count /= by;
    h->sum /= by;
    if (by == 0) { /* no bucket survives a division by zero */
        h->n_pos = h->n_neg = h->n_pos_spans = h->n_neg_spans = 0;
        return h;
    }
    for (uint32_t i = 0; i < h->n_pos; i++)
        pos[i] /= by;
    for (uint32_t i = 0; i < h->n_neg; i++)
        neg[i] /= by;
    if (by < 0)
        h->hint = HIST_GAUGE;
    return h;
}

/* ---- Comparison -------------------------------------------------------------------- */

static bool same_side(const struct side *x, const struct side *y)
{
    if (x->n != y->n)
        return false;
    for (size_t i = 0; i < x->n; i++)
        if (x->index[i] != y->index[i] || f64_bits(x->count[i]) != f64_bits(y->count[i]))
            return false;
    return true;
}

bool fhist_equal(const struct histogram *x, const struct histogram *y)
{
    if (x->schema != y->schema || f64_bits(x->count) != f64_bits(y->count) || f64_bits(x->sum) != f64_bits(y->sum))
        return false;
    if (hist_is_custom(x)) {
        if (!same_bounds(x, y))
            return false;
    } else if (x->zero_threshold != y->zero_threshold || f64_bits(x->zero_count) != f64_bits(y->zero_count)) {
        return false;
    }
    struct arena *a = arena_new(0);
    struct side xp = pos_of(a, x), yp = pos_of(a, y), xn = neg_of(a, x), yn = neg_of(a, y);
    bool same = same_side(&xp, &yp) && same_side(&xn, &yn);
    arena_free(a);
    return same;
}

/* Is any bucket of prev fuller than in cur? */
static bool shrank(const struct side *cur, const struct side *prev)
{
    size_t k = 0;
    for (size_t i = 0; i < prev->n; i++) {
        while (k < cur->n && cur->index[k] < prev->index[i]) {
            if (cur->count[k] < 0)
                return true;
            k++;
        }
        double now = k < cur->n && cur->index[k] == prev->index[i] ? cur->count[k] : 0;
        if (now < prev->count[i])
            return true;
    }
    return false;
}

static bool same_spans(const struct hist_span *a, uint32_t na, const struct hist_span *b, uint32_t nb)
{
    return na == nb && (na == 0 || memcmp(a, b, na * sizeof(*a)) == 0);
}

bool hist_same_layout(const struct histogram *x, const struct histogram *y)
{
    return x->schema == y->schema && x->zero_threshold == y->zero_threshold && same_bounds(x, y);
}

static bool any_less(const double *now, const double *before, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (now[i] < before[i])
            return true;
    return false;
}

bool hist_reset(const struct histogram *cur, const struct histogram *prev)
{
    if (cur->hint == HIST_RESET)
        return true;
    if (cur->hint == HIST_NOT_RESET)
        return false;
    if (cur->count < prev->count || hist_is_custom(cur) != hist_is_custom(prev))
        return true;
    if (hist_same_layout(cur, prev) && cur->n_pos == prev->n_pos && cur->n_neg == prev->n_neg &&
        same_spans(cur->pos_spans, cur->n_pos_spans, prev->pos_spans, prev->n_pos_spans) &&
        same_spans(cur->neg_spans, cur->n_neg_spans, prev->neg_spans, prev->n_neg_spans))
        return cur->zero_count < prev->zero_count || any_less(cur->pos, prev->pos, cur->n_pos) ||
               any_less(cur->neg, prev->neg, cur->n_neg); /* the usual case, without taking them apart */
    struct arena *a = arena_new(0);
    struct parts c = parts_of(a, cur), p = parts_of(a, prev);
    bool reset = false;
    if (hist_is_custom(cur)) {
        if (!same_bounds(cur, prev)) {
            double *bounds;
            uint32_t n = common_bounds(a, cur, prev, &bounds);
            c.pos = over_bounds(a, c.pos, cur, bounds, n);
            p.pos = over_bounds(a, p.pos, prev, bounds, n);
        }
    } else if (cur->schema > prev->schema || cur->zero_threshold < prev->zero_threshold) {
        reset = true;
    } else {
        double width = cur->zero_threshold;
        if (width != p.zero_width)
            widen(&p, prev->schema, &width);
        reset = width != cur->zero_threshold || cur->zero_count < p.zero_count;
        p.pos = reduce(a, p.pos, prev->schema - cur->schema);
        p.neg = reduce(a, p.neg, prev->schema - cur->schema);
    }
    reset = reset || shrank(&c.pos, &p.pos) || shrank(&c.neg, &p.neg);
    arena_free(a);
    return reset;
}

/* ---- Buckets in order -------------------------------------------------------------- */

size_t hist_buckets(struct arena *a, const struct histogram *h, const struct hist_bucket **ret)
{
    struct side p = pos_of(a, h), n = neg_of(a, h);
    struct hist_bucket *v = ARENA_ARRAY(a, struct hist_bucket, p.n + n.n + 1);
    size_t k = 0;
    if (hist_is_custom(h)) {
        for (size_t i = 0; i < p.n; i++) {
            uint32_t at = (uint32_t)p.index[i];
            v[k++] = (struct hist_bucket){.lower = at == 0 || h->n_custom == 0 ? -INFINITY
                                                                               : h->custom[MIN(at, h->n_custom) - 1],
                                          .upper = at < h->n_custom ? h->custom[at] : INFINITY,
                                          .count = p.count[i],
                                          .lower_closed = at == 0,
                                          .upper_closed = true,
                                          .index = p.index[i]};
        }
        *ret = v;
        return k;
    }
    for (size_t i = n.n; i > 0; i--)
        v[k++] = (struct hist_bucket){.lower = -exp_bound(n.index[i - 1], h->schema),
                                      .upper = -exp_bound(n.index[i - 1] - 1, h->schema),
                                      .count = n.count[i - 1],
                                      .lower_closed = true,
                                      .index = n.index[i - 1]};
    if (k > 0 && v[k - 1].upper > -h->zero_threshold)
        v[k - 1].upper = MIN(v[k - 1].upper, -h->zero_threshold + 0);
    if (h->zero_count > 0)
        v[k++] = (struct hist_bucket){.lower = -h->zero_threshold,
                                      .upper = h->zero_threshold,
                                      .count = h->zero_count,
                                      .lower_closed = true,
                                      .upper_closed = true};
    size_t first_pos = k;
    for (size_t i = 0; i < p.n; i++)
        v[k++] = (struct hist_bucket){.lower = exp_bound(p.index[i] - 1, h->schema),
                                      .upper = exp_bound(p.index[i], h->schema),
                                      .count = p.count[i],
                                      .upper_closed = true,
                                      .index = p.index[i]};
    /* A bucket that the zero bucket overlaps begins where that ends. */
    if (first_pos < k && v[first_pos].lower < h->zero_threshold)
        v[first_pos].lower = h->zero_threshold;
    *ret = v;
    return k;
}

void hist_format(struct buf *b, const struct histogram *h)
{
    struct arena *a = arena_new(0);
    const struct hist_bucket *v;
    size_t n = hist_buckets(a, h, &v);
    buf_z(b, "{count:");
    f64_put_g(b, h->count);
    buf_z(b, ", sum:");
    f64_put_g(b, h->sum);
    for (size_t i = 0; i < n; i++) {
        buf_z(b, v[i].lower_closed ? ", [" : ", (");
        f64_put_g(b, v[i].lower);
        buf_putc(b, ',');
        f64_put_g(b, v[i].upper);
        buf_z(b, v[i].upper_closed ? "]:" : "):");
        f64_put_g(b, v[i].count);
    }
    buf_putc(b, '}');
    arena_free(a);
}

/* ---- Trimming: </ and >/ ----------------------------------------------------------- */

static double middle(const struct histogram *h, double lower, double upper, bool zero)
{
    if (hist_is_custom(h)) {
        if (isinf(lower))
            return upper > 0 ? upper / 2 : upper;
        return isinf(upper) ? lower : (lower + upper) / 2;
    }
    if (zero)
        return (lower + upper) / 2;
    double m = sqrt(lower * upper);
    return upper <= 0 ? -m : m;
}

/* A bucket and what a cut leaves of it. */
struct cut {
    double lower, upper, keep;
};

/* The first custom bucket, open towards -Inf: from 0 where it ends above, all at its end otherwise. Prometheus drops it
 * when cut from below at a negative bound. */
static void cut_open_below(struct cut *c, double bound, bool upper_cut)
{
    if (upper_cut) {
        if (bound >= c->upper)
            return;
        if (isinf(bound) || isinf(c->upper) || (c->upper > 0 && bound <= 0)) {
            c->keep = 0;
        } else {
            c->keep = c->upper > 0 ? bound / c->upper : 1;
            c->lower = c->upper > 0 ? 0 : c->lower;
            c->upper = bound;
        }
    } else if (!(isinf(bound) && bound < 0)) {
        bool inside = bound >= 0 && bound < c->upper && !isinf(c->upper);
        c->keep = inside ? (c->upper - bound) / c->upper : 0;
        if (inside && bound > 0)
            c->lower = bound;
    }
}

static void cut_bucket(struct cut *c, double bound, bool upper_cut, bool linear)
{
    if (upper_cut ? bound >= c->upper : bound <= c->lower)
        return;
    if (upper_cut ? bound <= c->lower : bound >= c->upper) {
        c->keep = 0;
        return;
    }
    double below;
    if (isinf(c->upper)) {
        below = 0; /* nothing is known of how the last bucket is spread: it stays above any bound in it */
    } else if (linear) {
        below = (bound - c->lower) / (c->upper - c->lower);
    } else {
        double ll = log2(fabs(c->lower)), lu = log2(fabs(c->upper)), lb = log2(fabs(bound));
        below = (lb - ll) / (lu - ll);
    }
    c->keep = upper_cut ? below : 1 - below;
    if (upper_cut)
        c->upper = bound;
    else
        c->lower = bound;
}

struct histogram *hist_trim(struct arena *a, const struct histogram *h, double bound, bool upper_cut)
{
    struct side p = pos_of(a, h), n = neg_of(a, h);
    bool custom = hist_is_custom(h), has_pos = p.n > 0, has_neg = n.n > 0, changed = false;
    struct histogram head = *h;
    head.count = 0;
    head.sum = 0;
    head.custom = dup_bytes(a, h->custom, h->n_custom * sizeof(double));
    for (int part = 0; part < 3; part++) { /* negative, zero, positive */
        struct side *s = part == 0 ? &n : part == 2 ? &p : NULL;
        bool zero = part == 1;
        size_t count = s ? s->n : h->zero_count != 0 && !custom, kept = 0;
        for (size_t i = 0; i < count; i++) {
            struct cut c = {.keep = 1};
            if (zero) {
                c.lower = has_pos && !has_neg ? 0 : -h->zero_threshold;
                c.upper = has_neg && !has_pos ? 0 : h->zero_threshold;
            } else if (custom) {
                uint32_t at = (uint32_t)s->index[i];
                c.lower = at == 0 || h->n_custom == 0 ? -INFINITY : h->custom[MIN(at, h->n_custom) - 1];
                c.upper = at < h->n_custom ? h->custom[at] : INFINITY;
            } else {
                double far = exp_bound(s->index[i], h->schema), near = exp_bound(s->index[i] - 1, h->schema);
                c.lower = part == 0 ? -far : near;
                c.upper = part == 0 ? -near : far;
            }
            const struct cut whole = c;
            if (custom && isinf(c.lower))
                cut_open_below(&c, bound, upper_cut);
            else
                cut_bucket(&c, bound, upper_cut, custom || zero);
            changed |= c.keep != 1 || c.upper != whole.upper;
            double left = c.keep * (zero ? h->zero_count : s->count[i]);
            head.count += left;
            if (left != 0)
                head.sum += left * middle(h, c.lower, c.upper, zero);
            if (zero) {
                head.zero_count = left;
            } else if (left != 0) {
                s->index[kept] = s->index[i];
                s->count[kept++] = left;
            }
        }
        if (s)
            s->n = kept;
    }
    if (!changed) {
        head.count = h->count;
        head.sum = h->sum;
    }
    return build(a, &head, &p, &n);
}

/* ---- Quantiles, fractions, variance ------------------------------------------------ */

static bool has_buckets(const double *v, uint32_t n)
{
    (void)v;
    return n > 0;
}

/* The zero bucket of a histogram with only one sign of observations reaches to zero. */
static void narrow_zero(const struct histogram *h, struct hist_bucket *b)
{
    bool pos = has_buckets(h->pos, h->n_pos), neg = has_buckets(h->neg, h->n_neg);
    if (!neg && pos)
        b->lower = 0;
    else if (!pos && neg)
        b->upper = 0;
}

double hist_quantile(struct arena *scratch, double q, const struct histogram *h, struct hist_quantile_notes *notes)
{
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    if (h->count == 0 || isnan(q))
        return NAN;
    const struct hist_bucket *v;
    size_t n = hist_buckets(scratch, h, &v);
    bool nan_seen = isnan(h->sum), forward = nan_seen || q < 0.5;
    double rank = forward ? q * h->count : (1 - q) * h->count, count = 0;
    struct hist_bucket b = {0};
    for (size_t i = 0; i < n; i++) {
        b = v[forward ? i : n - 1 - i];
        count += b.count;
        if (count >= rank)
            break;
    }
    if (!hist_is_custom(h)) {
        if (b.lower < 0 && b.upper > 0)
            narrow_zero(h, &b);
    } else if (isinf(b.lower)) {
        if (b.upper <= 0)
            return b.upper;
        b.lower = 0;
    } else if (isinf(b.upper) && !(nan_seen && count < rank)) {
        return b.lower;
    }
    if (count > h->count)
        count = h->count;
    if (count < rank) {
        if (nan_seen) {
            notes->nan_result = true;
            return NAN;
        }
        return forward ? b.upper : b.lower;
    }
    if (nan_seen)
        notes->nan_skewed = true;
    if (forward)
        rank -= count - b.count;
    else
        rank = count - rank;
    double part = rank / b.count;
    if (hist_is_custom(h) || (b.lower <= 0 && b.upper >= 0))
        return b.lower + (b.upper - b.lower) * part;
    double ll = log2(fabs(b.lower)), lu = log2(fabs(b.upper));
    if (b.lower > 0)
        return exp2(ll + (lu - ll) * part);
    return -exp2(lu + (ll - lu) * (1 - part));
}

static double rank_at(const struct histogram *h, const struct hist_bucket *b, double rank, double v, bool zero)
{
    if (hist_is_custom(h) || zero) {
        double lower = b->lower;
        if (isinf(lower)) {
            if (b->upper <= 0)
                return rank + b->count;
            lower = 0;
            if (v <= 0)
                return rank;
        }
        return rank + b->count * (v - lower) / (b->upper - lower);
    }
    double ll = log2(fabs(b->lower)), lu = log2(fabs(b->upper)), lv = log2(fabs(v));
    double part = v > 0 ? (lv - ll) / (lu - ll) : 1 - (lv - lu) / (ll - lu);
    return rank + b->count * part;
}

double hist_fraction(struct arena *scratch, double lower, double upper, const struct histogram *h, bool *ret_nan)
{
    if (h->count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    const struct hist_bucket *v;
    size_t n = hist_buckets(scratch, h, &v);
    double total = h->count;
    if (isnan(h->sum)) {
        *ret_nan = true;
        total = 0;
        for (size_t i = 0; i < n; i++)
            total += v[i].count;
    }
    double rank = 0, lower_rank = 0, upper_rank = 0;
    bool lower_set = false, upper_set = false;
    for (size_t i = 0; i < n && !(lower_set && upper_set); i++) {
        struct hist_bucket b = v[i];
        bool zero = !hist_is_custom(h) && b.lower <= 0 && b.upper >= 0;
        if (zero)
            narrow_zero(h, &b);
        if (!lower_set && b.lower >= lower) {
            lower_rank = rank;
            lower_set = true;
        }
        if (!upper_set && b.lower >= upper) {
            upper_rank = rank;
            upper_set = true;
        }
        if (!lower_set && b.lower < lower && b.upper > lower) {
            lower_rank = rank_at(h, &b, rank, lower, zero);
            lower_set = true;
        }
        if (!upper_set && b.lower < upper && b.upper > upper) {
            upper_rank = rank_at(h, &b, rank, upper, zero);
            upper_set = true;
        }
        rank += b.count;
    }
    if (!lower_set || lower_rank > total)
        lower_rank = total;
    if (!upper_set || upper_rank > total)
        upper_rank = total;
    return (upper_rank - lower_rank) / h->count;
}

double hist_variance(struct arena *scratch, const struct histogram *h)
{
    const struct hist_bucket *v;
    size_t n = hist_buckets(scratch, h, &v);
    double mean = h->sum / h->count, sum = 0, c = 0;
    for (size_t i = 0; i < n; i++) {
        double at;
        if (hist_is_custom(h)) {
            at = (v[i].upper + v[i].lower) / 2;
        } else if (v[i].lower <= 0 && v[i].upper >= 0) {
            at = 0;
        } else {
            at = sqrt(v[i].upper * v[i].lower);
            if (v[i].upper < 0)
                at = -at;
        }
        double delta = at - mean, inc = v[i].count * delta * delta, t = sum + inc;
        if (isinf(t))
            c = 0;
        else
            c += fabs(sum) >= fabs(inc) ? (sum - t) + inc : (inc - t) + sum;
        sum = t;
    }
    return (sum + c) / h->count;
}

/* ---- Classic buckets --------------------------------------------------------------- */

static int compare_classic(const void *a, const void *b)
{
    double x = ((const struct classic_bucket *)a)->upper, y = ((const struct classic_bucket *)b)->upper;
    return (x > y) - (x < y);
}

/* Relative difference below 1e-12, as util/almost.Equal. */
static bool almost_equal(double a, double b)
{
    if (a == b)
        return true;
    double sum = fabs(a) + fabs(b), diff = fabs(a - b);
    if (a == 0 || b == 0 || sum < DBL_MIN)
        return diff < 1e-12 * DBL_MIN;
    return diff / MIN(sum, DBL_MAX) < 1e-12;
}

/* Sort, add up equal bounds, mend counts that fall. Returns the number of buckets, 0 when there is no +Inf bucket. */
static size_t prepare_classic(struct classic_bucket *b, size_t n, struct classic_fix *fix)
{
    qsort(b, n, sizeof(*b), compare_classic);
    if (n == 0 || !(isinf(b[n - 1].upper) && b[n - 1].upper > 0))
        return 0;
    size_t k = 0;
    for (size_t i = 1; i < n; i++) {
        if (b[i].upper == b[k].upper)
            b[k].count += b[i].count;
        else
            b[++k] = b[i];
    }
    n = k + 1;
    double prev = b[0].count;
    for (size_t i = 1; i < n; i++) {
        if (b[i].count == prev)
            continue;
        if (almost_equal(prev, b[i].count)) {
            b[i].count = prev;
        } else if (b[i].count < prev) {
            double diff = prev - b[i].count;
            if (fix) {
                fix->min_bucket = fix->forced_monotonic ? MIN(fix->min_bucket, b[i].upper) : b[i].upper;
                fix->max_bucket = fix->forced_monotonic ? MAX(fix->max_bucket, b[i].upper) : b[i].upper;
                fix->max_diff = fix->forced_monotonic ? MAX(fix->max_diff, diff) : diff;
                fix->forced_monotonic = true;
            }
            b[i].count = prev;
        } else {
            prev = b[i].count;
        }
    }
    return n;
}

double classic_quantile(double q, struct classic_bucket *b, size_t n, struct classic_fix *fix)
{
    if (isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    n = prepare_classic(b, n, fix);
    if (n < 2)
        return NAN;
    double observations = b[n - 1].count;
    if (observations == 0)
        return NAN;
    double rank = q * observations;
    size_t k = 0;
    while (k < n - 1 && !(b[k].count >= rank))
        k++;
    if (k == n - 1)
        return b[n - 2].upper;
    if (k == 0 && b[0].upper <= 0)
        return b[0].upper;
    double start = 0, count = b[k].count;
    if (k > 0) {
        start = b[k - 1].upper;
        count -= b[k - 1].count;
        rank -= b[k - 1].count;
    }
    return start + (b[k].upper - start) * (rank / count);
}

double classic_fraction(double lower, double upper, struct classic_bucket *b, size_t n)
{
    n = prepare_classic(b, n, NULL);
    if (n == 0)
        return NAN;
    double total = b[n - 1].count;
    if (total == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    double rank = 0, lower_rank = 0, upper_rank = 0;
    bool lower_set = false, upper_set = false;
    for (size_t i = 0; i < n && !(lower_set && upper_set); i++) {
        double from = i > 0 ? b[i - 1].upper : -INFINITY, to = b[i].upper;
        double *ranks[] = {&lower_rank, &upper_rank};
        bool *sets[] = {&lower_set, &upper_set};
        double wanted[] = {lower, upper};
        for (int k = 0; k < 2; k++) {
            double v = wanted[k];
            if (*sets[k])
                continue;
            if (from >= v) {
                *ranks[k] = rank;
                *sets[k] = true;
            } else if (to > v) {
                double start = from;
                if (isinf(start)) /* the first bucket begins at zero, unless it ends below */
                    start = to > 0 ? 0 : -INFINITY;
                if (isinf(start))
                    *ranks[k] = b[i].count;
                else if (v <= start)
                    *ranks[k] = rank;
                else
                    *ranks[k] = rank + (b[i].count - rank) * (v - start) / (to - start);
                *sets[k] = true;
            }
        }
        rank = b[i].count;
    }
    if (!lower_set || lower_rank > total)
        lower_rank = total;
    if (!upper_set || upper_rank > total)
        upper_rank = total;
    return (upper_rank - lower_rank) / total;
}
