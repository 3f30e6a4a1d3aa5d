// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the files of this room share. Everything here belongs to the scrape thread but the mailbox and the counters. */
#include "base/map.h"
#include "base/vec.h"
#include "codec/exposition.h"
#include "scrape/scrape.h"
#include "sys/thread.h"

enum line_flags {
    LINE_META = 1,    /* a HELP, TYPE or UNIT line, raw with its LF */
    LINE_DROPPED = 2, /* metric_relabel_configs dropped it */
    LINE_TRACKED = 4, /* its last sample counts for staleness */
    LINE_FRESH = 8,   /* made by the scrape in progress */
    LINE_DEAD = 16,   /* about to be freed */
};

/* One line a target sends, known by its bytes up to the value. */
struct line {
    series_ref ref; /* 0 = labels must be sent along */
    uint64_t hash;
    uint32_t iter; /* the scrape it was last seen in */
    uint32_t pos;  /* place in cache.order */
    uint32_t n;
    uint8_t flags, type; /* enum expo_type in force when it was read */
    char raw[];
};

/* The lines of one target in the order they come, so that a steady scrape compares each with the one expected and looks
 * nothing up. */
struct line_cache {
    VEC(struct line *) order, next; /* of the last scrape, of the one in progress */
    struct line **slots;            /* open addressing by hash */
    size_t n, cap;
    uint32_t iter;
    bool all_ended;          /* the last scrape failed: no series is live */
    VEC(series_ref) orphans; /* tracked series whose lines were forgotten because labels are made differently now */
};
void cache_done(struct line_cache *c);
struct line *cache_find(const struct line_cache *c, struct str raw, uint64_t hash);
struct line *cache_add(struct line_cache *c, struct str raw, uint64_t hash);
void cache_remove(struct line_cache *c, struct line *l); /* and frees it */
/* Forget how lines map to series, remember what must become stale unless it comes again. */
void cache_forget(struct line_cache *c);

enum report_row {
    REPORT_UP,
    REPORT_DURATION,
    REPORT_SAMPLES,
    REPORT_AFTER,
    REPORT_ADDED,
    REPORT_TIMEOUT,
    REPORT_LIMIT,
    REPORT_BODY,
    REPORT_COUNT
};

struct pool;
struct target {
    struct arena *arena; /* everything below that is a string */
    struct pool *pool;   /* NULL for internal and retired targets */
    struct scrape *scrape;
    struct str key; /* public labels and URL */
    struct str pool_name, url, unix_socket;
    struct labels labels, discovered;
    struct str forced_error; /* target_limit: asked nothing, reported down */
    int64_t interval_ms, timeout_ms;
    bool seen; /* by the pool's sync in progress */

    /* internal targets */
    metrics_collect_fn collect;
    void *collect_ctx;
    uint64_t id;
    bool honor_labels;

    /* timing */
    uint64_t due_ns;    /* monotonic */
    int64_t planned_ms; /* wall clock of due_ns */
    size_t heap_at;     /* index + 1, 0 = not in the heap */
    bool retired;       /* only waits to make its series stale at stale_ms */
    int64_t stale_ms;

    /* the scrape in progress */
    void *call;
    int64_t start_ms;
    uint64_t start_ns;
    struct http_header headers[3];

    /* what is known */
    struct line_cache cache;
    series_ref report[REPORT_COUNT];
    enum expo_format format;
    enum target_health health;
    struct str last_error; /* malloc'd */
    int64_t last_scrape_ms;
    double last_duration_s;
    uint64_t last_samples;
};

struct group { /* one target_group, copied */
    struct arena *arena;
    struct target_group g;
};

struct pool {
    struct scrape *scrape;
    const struct promfile_scrape *conf;
    struct promfile *file; /* referenced: owner of conf */
    VEC(struct group) groups;
    VEC(struct target *) targets;
    struct arena *dropped_arena;
    VEC(struct labels) dropped; /* discovered labels of dropped targets, as many as are kept */
    size_t n_dropped;
};

enum counter {
    N_SCRAPES,
    N_FAILURES,
    N_SAMPLES,
    N_BODY_BYTES,
    N_DUPLICATE,
    N_OUT_OF_ORDER,
    N_OUT_OF_BOUNDS,
    N_REFUSED,
    N_SAMPLE_LIMIT,
    N_BODY_LIMIT,
    N_TARGET_LIMIT,
    N_LABEL_LIMIT,
    N_SYNC_FAILED,
    N_SKIPPED,
    N_TARGETS,
    N_POOLS,
    N_APPEND_ERRORS,
    N_COUNTERS
};

struct scrape {
    const struct clock *clock;
    struct sink *sink;
    struct scrape_fetch *fetch; /* the test's, or &http */
    struct scrape_fetch http;
    struct http_multi *multi; /* made for the first target that needs it */
    _Atomic(struct http_multi *) multi_shared;
    struct mailbox *mail;
    pthread_t thread;
    _Atomic bool started;
    _Atomic bool stop;
    uint64_t seed;
    struct target_sink target_sink;
    struct promfile *file;
    VEC(struct pool *) pools;
    VEC(struct target *) internals;
    VEC(struct target *) heap; /* by due_ns */
    uint64_t next_id;
    _Atomic int64_t counters[N_COUNTERS];

    /* scratch of the scrape in progress, kept between scrapes */
    VEC(struct sample_row) rows;
    VEC(struct line *) row_lines; /* whose row it is; NULL for reports and stale markers */
    struct arena *scratch;
    struct labels_builder builder;
    struct buf text;
};

static inline void count(struct scrape *s, enum counter c, int64_t n)
{
    atomic_fetch_add_explicit(&s->counters[c], n, memory_order_relaxed);
}

/* timing.c */
void heap_push(struct scrape *s, struct target *t);
void heap_remove(struct scrape *s, struct target *t);
void target_plan_first(struct target *t, bool at_once);
void target_plan_next(struct target *t);

/* target.c */
struct target *target_new(struct scrape *s, struct arena *a);
void target_free(struct target *t); /* cancels, leaves the heap */
/* Out of its pool; freed after its series were made stale (at once when it never answered). */
void target_retire(struct target *t);
void target_run(struct target *t); /* its time has come */

/* ingest.c: one scrape's samples into rows, then into the sink. */
struct ingest {
    struct target *t;
    int64_t now_ms;
    size_t pos; /* in cache.order: the line expected next */
    uint64_t total, added, series_added, stored;
    enum expo_type type;
    bool meta_changed;
    struct err err;
};
void ingest_begin(struct ingest *in, struct target *t, int64_t now_ms);
int ingest_body(struct ingest *in, struct str body); /* 0 or -EINVAL with in->err */
/* Internal targets: a metrics_out whose samples go in. */
struct ingest_out {
    struct metrics_out out;
    struct ingest *in;
    struct str family;
    struct buf text;
    int failed;
};
void ingest_out_init(struct ingest_out *o, struct ingest *in);
/* Close the scrape: staleness, report series, one append. `error`: NULL when it succeeded. */
void ingest_end(struct ingest *in, const char *error, double duration_s, uint64_t body_bytes);
/* Everything of a retired target becomes stale at t->stale_ms. */
void ingest_retire(struct target *t);

/* pool.c */
struct pool *pool_new(struct scrape *s, struct promfile *f, const struct promfile_scrape *conf);
void pool_free(struct pool *p); /* its targets retire */
void pool_reload(struct pool *p, struct promfile *f, const struct promfile_scrape *conf);
void pool_update(struct pool *p, const struct target_group *groups, size_t n);
void pool_sync(struct pool *p);
