// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the files of range functions share: one run per call, one pass per series. */
#include "promql/exec_int.h"
#include "base/mem.h"

struct range_run {
    struct exec *x;
    const struct frame *f;
    const struct expr *call;
    unsigned id;
    uint32_t pos; /* of the range argument, for notes */
    struct span span;
    double *p1, *p2; /* scalar arguments, per step */
    struct row out;
    const struct histogram **h;
    struct arena *hists; /* made for the row at hand */
    struct str name;
    double *scratch;
    size_t scratch_cap;
    uint64_t work; /* samples looked at since the clock was */
    int rc;        /* of that look: the row is given up */
    row_fn emit;
    void *ctx;
};

struct win {
    const int64_t *ft, *fst, *ht, *hst;
    const double *fv;
    const struct histogram *const *hv;
    size_t nf, nh;
    int64_t start, end;
};

static inline void range_put(struct range_run *r, size_t i, double v)
{
    r->out.v[i] = v;
}

static inline void range_put_hist(struct range_run *r, size_t i, const struct histogram *h)
{
    r->h[i] = h;
    r->out.h = r->h;
}

static inline void range_note(struct range_run *r, enum note_kind kind)
{
    x_note(r->x, kind, r->pos, r->name, STR(""));
}

static inline void range_note_status(struct range_run *r, unsigned status, const char *what)
{
    if (status & HIST_RECONCILED)
        x_note(r->x, NOTE_RECONCILED, r->pos, STR(""), str_of(what));
    if (status & HIST_RESET_CONFLICT)
        x_note(r->x, NOTE_RESET_CONFLICT, r->pos, STR(""), str_of(what));
}

#define WORK_BETWEEN_CHECKS (4 << 20) /* samples: a few milliseconds */

/* Wide windows over many steps take long inside one row: look for the clock and for cancelling there too. */
static inline bool range_go_on(struct range_run *r, size_t samples)
{
    r->work += samples;
    if (__builtin_expect(r->work > WORK_BETWEEN_CHECKS, 0)) {
        r->work = 0;
        r->rc = x_check(r->x);
    }
    return r->rc == 0;
}

/* The loop of every function; inlined with its body, so that no call is made per step. */
static inline __attribute__((always_inline)) void over_steps(struct range_run *r, const struct series_data *d,
                                                             void (*body)(struct range_run *, const struct win *,
                                                                          size_t))
{
    size_t flo = 0, fhi = 0, hlo = 0, hhi = 0;
    for (size_t i = 0; i < r->f->n; i++) {
        int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms;
        while (fhi < d->nf && d->ft[fhi] <= end)
            fhi++;
        while (flo < fhi && d->ft[flo] <= start)
            flo++;
        while (hhi < d->nh && d->ht[hhi] <= end)
            hhi++;
        while (hlo < hhi && d->ht[hlo] <= start)
            hlo++;
        if (flo == fhi && hlo == hhi)
            continue;
        if (!range_go_on(r, fhi - flo + hhi - hlo))
            return;
        struct win w = {.ft = d->ft + flo,
                        .fv = d->fv + flo,
                        .fst = d->fst ? d->fst + flo : NULL,
                        .nf = fhi - flo,
                        .ht = d->ht ? d->ht + hlo : NULL,
                        .hv = d->hv ? d->hv + hlo : NULL,
                        .hst = d->hst ? d->hst + hlo : NULL,
                        .nh = hhi - hlo,
                        .start = start,
                        .end = end};
        body(r, &w, i);
    }
}

struct one { /* a sample of either kind */
    int64_t t, st;
    double v;
    const struct histogram *h;
};

/* ---- rate.c: counters and gauges over a range; each fills the row of one series ---- */
void rate_floats(struct range_run *r, const struct series_data *d);       /* plain floats, no start timestamps */
void rate_row(struct range_run *r, const struct series_data *d);          /* rate, increase, delta of anything */
void last_two_row(struct range_run *r, const struct series_data *d);      /* irate, idelta */
void count_between_row(struct range_run *r, const struct series_data *d); /* changes, resets */
void extended_row(struct range_run *r, const struct series_data *d);      /* anchored, smoothed */

/* ---- slide.c: windows that overlap much, without looking at every sample of every window ---- */
/* false: the function or the data want the plain loop. */
bool slide_row(struct range_run *r, const struct series_data *d);
