// SPDX-License-Identifier: Apache-2.0
#pragma once
/* How consumers read samples: take a snapshot, select series, read columns. A snapshot is immutable and reference
 * counted; writers never wait for it. */
#include "base/error.h"
#include "model/matcher.h"
#include "model/sample.h"

/* Samples of one series in time order, as plain arrays. Reused from series to series: reading appends. */
struct column {
    int64_t *t;
    double *v;
    const struct histogram **h; /* NULL while the column holds floats only; else h[i] is set for histogram samples */
    int64_t *st;                /* NULL while no start timestamp was seen */
    size_t n, cap;
    struct arena *hists; /* where histograms are decoded; owned by the column, made on first need */
};
void column_done(struct column *c);
void column_reset(struct column *c);
void column_reserve(struct column *c, size_t n);
/* Append one float sample (reserves). */
void column_push(struct column *c, int64_t t, double v);

struct source_series {
    struct labels labels; /* valid while the snapshot is held */
    uint64_t id;          /* opaque for the snapshot */
};

struct source_list { /* sorted by labels_cmp; array in the caller's arena */
    struct source_series *v;
    size_t n;
};

struct snapshot;
struct snapshot_ops {
    /* Series with any sample in [mint, maxt] (may err on the side of more) that match all matchers. Result in `a`, or
     * -ENOMEM past its budget. An empty matcher list selects all. */
    int (*select)(struct snapshot *s, const struct matcher *m, size_t n, int64_t mint, int64_t maxt, struct arena *a,
                  struct source_list *ret);
    /* Append the series' samples with mint <= t <= maxt. Any thread, concurrently for different columns. */
    int (*read)(struct snapshot *s, const struct source_series *series, int64_t mint, int64_t maxt,
                struct column *into);
    /* Sorted distinct label names / values of one label, over series matching (n may be 0) in the range; strings valid
     * with the snapshot. limit 0 = none. */
    int (*label_names)(struct snapshot *s, const struct matcher *m, size_t n, int64_t mint, int64_t maxt, size_t limit,
                       struct arena *a, struct str **ret, size_t *ret_n);
    int (*label_values)(struct snapshot *s, struct str label, const struct matcher *m, size_t n, int64_t mint,
                        int64_t maxt, size_t limit, struct arena *a, struct str **ret, size_t *ret_n);
    void (*release)(struct snapshot *s);
};
struct snapshot {
    const struct snapshot_ops *ops;
};

struct source {
    /* A consistent view of everything appended before the call. Any thread. */
    int (*open)(struct source *s, struct snapshot **ret);
};

static inline MUST_USE int source_open(struct source *s, struct snapshot **ret)
{
    return s->open(s, ret);
}
static inline void snapshot_release(struct snapshot *s)
{
    if (s)
        s->ops->release(s);
}
