// SPDX-License-Identifier: Apache-2.0
/* Windows that overlap much. Looking at every sample of every window costs samples x overlap; these cost samples +
 * steps: extremes by a queue of candidates, sums by differences of a running sum kept in twice the precision of a
 * double (more than the compensated sum Prometheus makes anew for each window). */
#include "promql/range_int.h"
#include <math.h>

#define SLIDE_FROM_OVERLAP 8 /* windows a sample lies in, on average: below, the plain loop is as quick */

/* A number as the sum of two doubles, |lo| <= half an ulp of hi (Dekker; Knuth's exact sum of two doubles). */
struct twofold {
    double hi, lo;
};

static struct twofold two_sum(double a, double b)
{
    double s = a + b, bb = s - a;
    return (struct twofold){.hi = s, .lo = (a - (s - bb)) + (b - bb)};
}

static struct twofold add(struct twofold x, double v)
{
    struct twofold s = two_sum(x.hi, v);
    return two_sum(s.hi, s.lo + x.lo);
}

static struct twofold minus(struct twofold x, struct twofold y)
{
    struct twofold s = two_sum(x.hi, -y.hi), t = two_sum(x.lo, -y.lo);
    s = two_sum(s.hi, s.lo + t.hi);
    return two_sum(s.hi, s.lo + t.lo);
}

/* Moves the window of step i; false when it is empty. */
struct slider {
    size_t lo, hi;
};

static inline bool slide_to(struct slider *s, const struct range_run *r, const struct series_data *d, size_t i)
{
    int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms;
    while (s->hi < d->nf && d->ft[s->hi] <= end)
        s->hi++;
    while (s->lo < s->hi && d->ft[s->lo] <= start)
        s->lo++;
    return s->lo < s->hi;
}

static bool slide_sums(struct range_run *r, const struct series_data *d)
{
    struct twofold *sums = xmalloc((d->nf + 1) * sizeof(*sums)); /* of the samples before the index */
    sums[0] = (struct twofold){0};
    double most = 0, least = INFINITY;
    for (size_t k = 0; k < d->nf; k++) {
        sums[k + 1] = add(sums[k], d->fv[k]);
        most = fmax(most, fabs(sums[k + 1].hi));
        if (d->fv[k] != 0)
            least = fmin(least, fabs(d->fv[k]));
    }
    /* The running sum is good to about 2^-100 of its largest value; that must be nothing to the smallest sample. NaN
     * and infinities spread. Such series want the plain loop. */
    bool finite = isfinite(sums[d->nf].hi) && isfinite(sums[d->nf].lo) && !(most * 0x1p-44 > least);
    struct slider s = {0};
    for (size_t i = 0; finite && i < r->f->n; i++) {
        if (!slide_to(&s, r, d, i))
            continue;
        struct twofold sum = minus(sums[s.hi], sums[s.lo]);
        double n = (double)(s.hi - s.lo);
        range_put(r, i, r->id == FN_SUM_OVER_TIME ? sum.hi + sum.lo : sum.hi / n + sum.lo / n);
    }
    free(sums);
    return finite;
}

static void slide_extremes(struct range_run *r, const struct series_data *d)
{
    bool max = r->id == FN_MAX_OVER_TIME;
    size_t *queue = xmalloc(d->nf * sizeof(*queue)), head = 0, tail = 0, next = 0; /* candidates, best first */
    struct slider s = {0};
    for (size_t i = 0; i < r->f->n; i++) {
        if (!slide_to(&s, r, d, i))
            continue;
        for (; next < s.hi; next++) {
            double v = d->fv[next];
            if (isnan(v))
                continue; /* only where there is nothing else */
            while (tail > head && (max ? d->fv[queue[tail - 1]] <= v : d->fv[queue[tail - 1]] >= v))
                tail--;
            queue[tail++] = next;
        }
        while (head < tail && queue[head] < s.lo)
            head++;
        range_put(r, i, head < tail ? d->fv[queue[head]] : d->fv[s.hi - 1]);
    }
    free(queue);
}

static void slide_counts(struct range_run *r, const struct series_data *d)
{
    bool resets = r->id == FN_RESETS;
    uint32_t *before = xmalloc(d->nf * sizeof(*before)); /* events up to and with the index */
    before[0] = 0;
    for (size_t k = 1; k < d->nf; k++) {
        double a = d->fv[k - 1], b = d->fv[k];
        before[k] = before[k - 1] + (resets ? b < a : b != a && !(isnan(a) && isnan(b)));
    }
    struct slider s = {0};
    for (size_t i = 0; i < r->f->n; i++)
        if (slide_to(&s, r, d, i))
            range_put(r, i, (double)(before[s.hi - 1] - before[s.lo]));
    free(before);
}

bool slide_row(struct range_run *r, const struct series_data *d)
{
    if (d->nh > 0 || d->nf < 2 || r->f->n < 2 || r->span.pinned)
        return false;
    double overlap = (double)r->span.range_ms / (double)r->f->step;
    if (overlap < SLIDE_FROM_OVERLAP)
        return false;
    switch (r->id) {
    case FN_SUM_OVER_TIME:
    case FN_AVG_OVER_TIME:
        return slide_sums(r, d);
    case FN_MAX_OVER_TIME:
    case FN_MIN_OVER_TIME:
        slide_extremes(r, d);
        return true;
    case FN_CHANGES:
    case FN_RESETS:
        if (d->fst)
            return false;
        slide_counts(r, d);
        return true;
    default:
        return false;
    }
}
