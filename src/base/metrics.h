// SPDX-License-Identifier: Apache-2.0
#pragma once
/* hune's own metrics, and the one way anything inside hune produces metrics. A *collector* walks its state and says
 * families and samples to a `struct metrics_out`; the text writer of /metrics and the internal scrape (jobs `node` and
 * `hune`) are two outs. Simple counters are rows of a static table with an atomic each. */
#include "base/str.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_SUMMARY, METRIC_UNTYPED };
extern const char *const metric_type_names[]; /* "counter", ... as in the text format */

struct metric_label {
    struct str name, value;
};

/* What a collector talks to. family() comes before the samples of that family; names and values are borrowed for the
 * call. `suffix` is "" or "_bucket", "_sum", "_count". Labels need not be sorted. */
struct metrics_out {
    void (*family)(struct metrics_out *o, struct str name, struct str help, enum metric_type type);
    void (*sample)(struct metrics_out *o, struct str suffix, const struct metric_label *labels, size_t n, double v);
};

typedef void (*metrics_collect_fn)(void *ctx, struct metrics_out *out);

/* One number. Declare rows in a static table: [M_X] = {.name = "hune_x_total", .help = "...", .type = METRIC_COUNTER}.
 */
struct metric {
    const char *name, *help;
    enum metric_type type;
    _Atomic int64_t value;
    double scale; /* shown value = value * scale; 0 means 1 (so seconds can be counted in ns: 1e-9) */
};

static inline void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, int64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}
static inline int64_t metric_get(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* The registry of one server. Tables and contexts are borrowed until metrics_free. Registration happens at start-up
 * (it takes a lock); collecting may happen on any thread. */
struct metrics;
struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m);
void metrics_add_table(struct metrics *m, struct metric *table, size_t n);
void metrics_add_collector(struct metrics *m, metrics_collect_fn fn, void *ctx);
void metrics_collect(struct metrics *m, struct metrics_out *out);
