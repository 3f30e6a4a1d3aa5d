// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Scraping: asks every target for its samples, on time, and puts them into a sink with the series a scrape reports
 * about itself and with staleness markers exactly as Prometheus puts them. One thread owns all targets; other threads
 * talk to it by message. Internal targets (the host, hune itself, applications) go the same way without HTTP. */
#include "base/clock.h"
#include "base/metrics.h"
#include "model/matcher.h"
#include "model/sink.h"
#include "model/target.h"
#include "promfile/promfile.h"

struct scrape;

/* How bodies are fetched; a test brings its own. NULL in scrape_options = HTTP by net/. All on the scrape thread but
 * wake. */
struct scrape_fetch {
    int (*start)(struct scrape_fetch *f, const struct http_request *r, http_done_fn fn, void *ctx, void **ret_call,
                 struct err *e);
    void (*cancel)(struct scrape_fetch *f, void *call);
    void (*poll)(struct scrape_fetch *f, int timeout_ms);
    void (*wake)(struct scrape_fetch *f);
};

struct scrape_options {
    const struct clock *clock; /* NULL = real */
    struct sink *sink;
    struct scrape_fetch *fetch;
    struct str
        external_seed; /* shifts scrape offsets, so that two servers do not ask at the same moment; may be empty */
};

struct scrape *scrape_new(const struct scrape_options *o);
/* Start the thread. Without it, scrape_step() is the loop (tests, simulation). */
MUST_USE int scrape_start(struct scrape *s);
/* Stops, joins, frees. No staleness markers: a restart goes on where this ended. Accepts NULL. */
struct scrape *scrape_free(struct scrape *s);

/* Swap in a configuration: pools whose scrape_config is unchanged keep their targets and state; others are rebuilt from
 * their known groups. Takes its own reference. Returns when the thread has done it. Any thread. */
void scrape_reload(struct scrape *s, struct promfile *f);
/* Where discovery puts the groups of scrape pools. */
struct target_sink *scrape_target_sink(struct scrape *s);

/* A target whose samples a collector tells instead of an HTTP answer. fn runs on the scrape thread: it must be quick
 * and must not call scrape_*. Strings are copied. */
struct scrape_internal {
    struct str job, instance;
    struct labels extra; /* further target labels */
    int64_t interval_ms;
    bool honor_labels; /* labels the collector says win over job and instance */
    metrics_collect_fn fn;
    void *ctx;
};
/* The first scrape comes at once. Returns an id for scrape_remove_internal, after which fn is not called any more and
 * its series become stale as those of any target. Any thread but fn's. */
uint64_t scrape_add_internal(struct scrape *s, const struct scrape_internal *i);
void scrape_remove_internal(struct scrape *s, uint64_t id);

/* Tests: run what is due now; returns milliseconds until the next is due (at most 1000). */
int64_t scrape_step(struct scrape *s);

enum target_health { TARGET_UNKNOWN, TARGET_UP, TARGET_DOWN };
extern const char *const target_health_names[]; /* "unknown", "up", "down" */

struct scrape_target_info { /* all in the caller's arena */
    struct str pool, url, global_url;
    struct labels labels, discovered;
    enum target_health health;
    struct str last_error;
    int64_t last_scrape_ms; /* 0 = never */
    double last_duration_s;
    int64_t interval_ms, timeout_ms;
    uint64_t last_samples; /* after relabelling */
    bool dropped, internal;
};
struct scrape_pool_info {
    struct str name;
    size_t active, dropped;
};
struct scrape_listing {
    struct scrape_target_info *targets; /* by pool, then labels */
    size_t n;
    struct scrape_pool_info *pools;
    size_t n_pools;
};
/* A consistent picture, made on the scrape thread. Any thread. */
void scrape_targets(struct scrape *s, struct arena *a, struct scrape_listing *ret);

struct scrape_meta {
    struct labels target; /* of the target that said so */
    struct str metric, type, help, unit;
};
/* What targets said about their metrics (for /targets/metadata): of those matching `m`, of metric `metric` or all when
 * empty; at most limit (0 = all). */
void scrape_metadata(struct scrape *s, const struct matcher *m, size_t n_m, struct str metric, size_t limit,
                     struct arena *a, struct scrape_meta **ret, size_t *ret_n);

void scrape_collect(void *ctx, struct metrics_out *out); /* ctx = struct scrape *: prometheus_target_*; any thread */
