// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The time-series store: a write-ahead log, a compressed head in memory and immutable blocks on disk, behind
 * model/sink.h and model/source.h. Every byte on disk is described in doc/format/tsdb.md.
 *
 * What is promised. When append returns 0, the batch is in the operating system's hands: kill -9 loses nothing of it.
 * Against a power cut: at most the last second with TSDB_SYNC_1S, nothing with TSDB_SYNC_ALWAYS (or SINK_SYNC). A
 * sample comes back bit for bit. Of two values for one series and time, the first accepted one stays. A snapshot sees
 * each batch whole or not at all, and never changes.
 *
 * Threads: every function but open and close may be called from any thread at any time. Writers never wait for readers:
 * a reader holds at most a lock of 1/64 of the series for the time of copying one open chunk, or the index lock during
 * one look-up. Two threads of its own: `tsdb-sync` (fsync, recovery) and `tsdb-compact` (flush, compaction, retention).
 */
#include "base/clock.h"
#include "base/metrics.h"
#include "model/sink.h"
#include "model/source.h"
#include "sys/fs.h"

struct tsdb;

enum tsdb_sync_mode {
    TSDB_SYNC_1S,     /* fsync the log at most a second after a write */
    TSDB_SYNC_ALWAYS, /* fsync before append returns; concurrent writers share one */
    TSDB_SYNC_OFF,    /* never by itself (blocks are still synced) */
};

#define TSDB_OOO_ANY (-1)
#define TSDB_FUTURE_ANY (-1)

struct tsdb_options {
    const char *path;        /* folder, made when absent (0700) */
    int64_t retention_ms;    /* counted back from the newest sample; 0 = 15 days; < 0 = for ever */
    int64_t retention_bytes; /* blocks and log together; 0 = no bound */
    enum tsdb_sync_mode sync;
    int64_t ooo_window_ms;  /* how much older than the newest sample of the store an out-of-order one may be; 0 refuses
                               all  of them, as Prometheus does by default; TSDB_OOO_ANY = any age within retention */
    int64_t block_range_ms; /* time the head covers before it is flushed (over 4 MiB: a fourth of it); 0 = 2 h */
    int64_t max_future_ms;  /* a row further ahead of the clock is refused; 0 = 1 h; TSDB_FUTURE_ANY = no bound */
    int64_t wal_segment_bytes; /* 0 = 64 MiB */
    int64_t head_bytes_max;    /* flush early when samples in memory exceed this; 0 = 512 MiB */
    const struct clock *clock; /* NULL = the real one */
    const struct vfs *vfs;     /* NULL = the real one */
    bool no_threads;           /* tests: nothing happens in the background, see tsdb_tick() */
};

/* Defaults of every field, out-of-order samples of any age within retention. */
struct tsdb_options tsdb_options_default(const char *path);

/* Open, taking the folder's lock (-EWOULDBLOCK names the holder) and replaying the log. Damaged files are set aside
 * (`*.bad`), counted, and never stop the start. 0 or -errno with the reason in *e. */
MUST_USE int tsdb_open(const struct tsdb_options *o, struct tsdb **ret, struct err *e);
/* Sync, flush when the next start would otherwise replay long, stop the threads, free. All snapshots must be released.
 * Accepts NULL, returns NULL. */
struct tsdb *tsdb_close(struct tsdb *db);

struct sink *tsdb_sink(struct tsdb *db);     /* borrowed until tsdb_close */
struct source *tsdb_source(struct tsdb *db); /* borrowed until tsdb_close */

/* Everything acknowledged so far is durable when this returns 0. */
MUST_USE int tsdb_sync(struct tsdb *db);
/* Move the whole head into blocks and drop its log. 0 (also when there was nothing to do) or -errno; then nothing is
 * lost. */
MUST_USE int tsdb_flush(struct tsdb *db);
/* One round of maintenance now: flush when due, compaction, retention, clearing out. Returns 0 or the first -errno. */
MUST_USE int tsdb_tick(struct tsdb *db);

/* Delete the samples in [mint, maxt] of every matching series, durably. Samples written meanwhile may stay. An empty
 * matcher list is refused (-EINVAL). */
MUST_USE int tsdb_delete(struct tsdb *db, const struct matcher *m, size_t n, int64_t mint, int64_t maxt);
/* Rewrite blocks with deleted samples so that the disk gets them back. */
MUST_USE int tsdb_clean_tombstones(struct tsdb *db);
/* A complete copy as of now in the new folder `dir` (hard links where the file system can): a store that opens. */
MUST_USE int tsdb_snapshot_dir(struct tsdb *db, const char *dir);

struct tsdb_problem { /* one finding of tsdb_check */
    char text[256];
};
/* Verify every invariant and checksum, in memory and on disk. Returns the number of findings (fn is called for each;
 * may be NULL) or -errno. Slow: reads everything. */
int tsdb_check(struct tsdb *db, void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx);

struct tsdb_stats {
    /* the head */
    uint64_t series, label_pairs, chunks, head_samples, head_bytes;
    int64_t head_min_t, head_max_t; /* INT64_MAX / INT64_MIN when empty */
    /* all of it */
    int64_t min_t, max_t;
    uint64_t blocks, block_series, block_samples, block_bytes, wal_segment, wal_segments, wal_bytes, disk_bytes,
        tombstones;
    /* since the start */
    uint64_t appended, appended_histograms, out_of_order, duplicates, refused, series_created, series_removed;
    uint64_t flushes, flushes_failed, compactions, compactions_failed, blocks_expired;
    uint64_t corruptions; /* damaged records, chunks and files met */
    uint64_t wal_write_errors, fsync_errors;
    uint64_t replayed_samples, replay_ns;
    bool read_only; /* samples are refused just now */
    char reason[160];
};
void tsdb_stats(struct tsdb *db, struct tsdb_stats *ret);

/* Cardinality of the head, largest first, at most `limit` rows a list (/api/v1/status/tsdb). Strings in the arena. */
struct tsdb_count {
    struct str name;
    uint64_t value;
};
struct tsdb_cardinality {
    struct tsdb_count *series_by_metric, *values_by_label, *bytes_by_label, *series_by_pair; /* pairs as name=value */
    size_t n_series_by_metric, n_values_by_label, n_bytes_by_label, n_series_by_pair;
};
void tsdb_cardinality(struct tsdb *db, size_t limit, struct arena *a, struct tsdb_cardinality *ret);

/* What targets said of metrics, sorted by name; one metric when `metric` is not empty. Strings in the arena. */
struct tsdb_metadata {
    struct str metric;
    struct metric_meta meta;
};
void tsdb_metadata(struct tsdb *db, struct str metric, size_t limit, struct arena *a, struct tsdb_metadata **ret,
                   size_t *ret_n);

/* hune_tsdb_* and the prometheus_tsdb_* names whose meaning is the same. */
void tsdb_metrics(struct tsdb *db, struct metrics *m);
