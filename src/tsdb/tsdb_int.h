// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The parts of a store and how they share.
 *
 * Locks, in the order in which they may be taken together:
 *   1 maint_lock   one flush, compaction, deletion or copy at a time
 *   2 wal.sync_lock one fsync of the log at a time
 *   3 append_lock  one writer: the log and the making of series
 *   4 index_lock   rwlock of the inverted index and the id pages; writers preferred
 *   5 commit_lock  snapshots open, epochs, the set of blocks; held while a batch is applied (memory only, no I/O)
 *   6 stripe[i]    the samples of 1/64 of the series
 * meta_lock, state_lock, wake_lock, a snapshot's lock and a block's lock are leaves.
 *
 * Epochs. Every chunk in memory carries the epoch in which it was begun. A flush closes the current epoch E (the log is
 * cut at the same moment), writes what has an epoch <= E into blocks, and then declares it flushed: new snapshots
 * ignore those chunks and see the block instead. They are freed when no older snapshot is left.
 *
 * Versions. A snapshot has a number. Before a series is changed for the first time after a snapshot was opened, its
 * state (two chunk pointers and two counts) is kept aside under that number; chunk bytes are only appended to, so a
 * state is all a reader needs. What a change would free goes to limbo while a snapshot may still need it. */
#include "base/arena.h"
#include "base/log.h"
#include "sys/thread.h"
#include "tsdb/block_int.h"
#include "tsdb/index_int.h"
#include "tsdb/tsdb.h"
#include "tsdb/wal_int.h"

#define STRIPES 64
#define HEAD_CHUNK_SAMPLES 240 /* an hour at 15 s: what one OOO look-up decodes */
#define HEAD_CHUNK_BYTES 4096
#define ID_PAGE 1024
#define SERIES_IDLE_MS (15 * 60000) /* a series without samples for this long may leave the head: 3 lookbacks */

struct mchunk {
    struct mchunk *prev;
    int64_t min_t, max_t;
    struct stream s;            /* for HIST only t, st, n and len are used */
    uint32_t epoch, prev_epoch; /* prev_epoch: of *prev, so that it need not be looked at; 0 = none */
    uint32_t cap;
    uint8_t kind;
    bool prev_dropped; /* the sweeper has been here: *prev lives in limbo at most */
    uint8_t data[];
};

struct mstate {
    struct mchunk *in, *ooo; /* newest first */
    uint32_t in_n, ooo_n;    /* samples of the newest ones */
};

struct version {
    struct version *next; /* older */
    uint64_t seq;         /* valid for snapshots up to this one, and above the next version's */
    struct mstate state;
};

struct mseries {
    uint32_t id, wal_seg; /* segment in which it was last defined; 0 = none */
    uint64_t hash;
    struct mchunk *in, *ooo;
    struct version *versions; /* newest first */
    uint64_t ver_seq;
    int64_t last_t;
    uint64_t last_bits; /* of the newest in-order sample; a hash when it was a histogram */
    uint32_t born_epoch;
    uint16_t n_labels;
    bool has_last, last_hist;
    /* A series is defined twice in a segment, by the first two records with rows of it: one damaged record must not
     * cost them all. */
    enum __attribute__((packed)) { DEFINED_TWICE, DEFINE_AGAIN, DEFINED_NOW } defined;
    uint32_t pairs[];
};

struct limbo_item {
    void *p;
    uint64_t seq; /* needed by snapshots up to this one */
};

/* The blocks as of some moment; immutable, shared by snapshots. */
struct blockset {
    _Atomic unsigned refs;
    size_t n;
    struct blockset_entry {
        struct block *b;
        struct tombs *t; /* may be NULL */
    } v[];
};

struct snap {
    struct snapshot base;
    struct tsdb *db;
    struct snap *next, *prev;
    uint64_t seq;
    uint32_t flushed;
    struct blockset *bs;
    pthread_mutex_t lock; /* what follows */
    struct arena *mem;    /* labels and refs handed out */
    struct bindex **idx;  /* [bs->n], as they are needed */
};

enum { /* order of the static counters */
       C_APPENDED,
       C_APPENDED_HISTOGRAMS, /* part of the former */
       C_OUT_OF_ORDER,
       C_DUPLICATES,
       C_REFUSED,
       C_CREATED,
       C_REMOVED,
       C_FLUSHES,
       C_FLUSHES_FAILED,
       C_COMPACTIONS,
       C_COMPACTIONS_FAILED,
       C_EXPIRED,
       C_CORRUPTIONS,
       C_WAL_ERRORS,
       C_FSYNC_ERRORS,
       C_FSYNCS,
       C_WAL_BYTES_WRITTEN,
       C_COUNT
};

struct tsdb {
    struct sink sink;
    struct source source;
    struct tsdb_options o;
    const struct clock *clock;
    const struct vfs *vfs;
    char *path, *wal_dir, *block_dir;
    int lock_fd;

    pthread_mutex_t maint_lock, append_lock, commit_lock, meta_lock;
    pthread_rwlock_t index_lock;
    pthread_mutex_t stripe[STRIPES];

    /* append_lock */
    struct wal wal;
    struct buf record;
    VEC(struct mseries *) row_series; /* of the batch in hand */
    VEC(struct mseries *) defined;    /* series that the record in hand defines */
    struct column scratch;            /* look-ups of duplicates; commit_lock too */
    struct head_slot {
        uint32_t tag, id;
    } * table; /* series by hash, open addressing; id 0 = free */
    size_t table_cap;
    uint32_t next_id;

    /* index_lock */
    struct hindex index;
    VEC(struct mseries **) pages; /* of ID_PAGE series each; a page is NULL when all of it is gone */
    _Atomic uint64_t n_series;

    /* commit_lock */
    uint32_t epoch, flushed;
    uint64_t seq;
    struct snap *snaps, *oldest; /* open ones, newest first */
    struct blockset *bs;
    VEC(struct limbo_item) limbo;
    uint64_t gc_seq;       /* series cleaning waits until snapshots up to this one are gone; 0 = nothing to do */
    _Atomic int64_t max_t; /* newest sample of all */
    _Atomic int64_t head_min_t, head_max_t;
    _Atomic int64_t flush_from_t; /* newest sample at the last flush */
    _Atomic bool have_flush_from;

    _Atomic uint64_t head_bytes, head_chunks, head_samples;
    _Atomic uint64_t count[C_COUNT];
    _Atomic uint64_t wal_bytes;           /* of all segments */
    _Atomic uint32_t wal_first, wal_last; /* numbers of the oldest and newest kept segment, 0 = none */
    uint64_t next_block;                  /* maint_lock */
    VEC(char *) doomed;                   /* block files of failed attempts that could not be removed; maint_lock */
    uint64_t replayed, replay_ns;

    pthread_mutex_t state_lock; /* reason */
    _Atomic bool read_only;
    _Atomic bool wal_lost; /* an fsync failed: the log holds nothing any more until the head is in a block */
    char reason[160];
    struct map meta; /* metric -> struct meta_entry; meta_lock */

    /* threads */
    pthread_t sync_thread, compact_thread;
    bool have_sync, have_compact, started;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake_sync, wake_compact;
    bool stop, dirty, flush_wanted;
    uint64_t retry_ns; /* after a failed flush or compaction: not before (monotonic); maint_lock */
};

static inline void count_add(struct tsdb *db, int what, uint64_t n)
{
    atomic_fetch_add_explicit(&db->count[what], n, memory_order_relaxed);
}

/* ---- head.c: samples in memory ---- */

/* Look up or make the series. Append lock held; takes the index lock for a new one. NULL when the labels are bad. */
struct mseries *head_series(struct tsdb *db, struct labels l, bool *ret_created);
struct mseries *head_by_id(struct tsdb *db, uint32_t id); /* NULL when unknown; append or index lock held */
/* Put one accepted row into memory; says what became of it. commit_lock held, not the stripe's. */
enum row_status head_apply(struct tsdb *db, struct mseries *s, int64_t t, double v, int64_t st,
                           const struct histogram *h, bool exact_order);
pthread_mutex_t *head_stripe(struct tsdb *db, const struct mseries *s);
/* The state a snapshot sees; stripe held. */
struct mstate head_state(const struct tsdb *db, const struct mseries *s, uint64_t seq, uint32_t flushed);
/* Has that state samples in the range? Stripe held. */
bool head_overlaps(const struct mstate *st, uint32_t flushed, int64_t mint, int64_t maxt);
/* Append the samples of the series as snapshot (seq, flushed) sees them, chunks of an epoch <= upto only; stored order,
 * in-order ones first. Takes the stripe. */
MUST_USE int head_read(struct tsdb *db, struct mseries *s, uint64_t seq, uint32_t flushed, uint32_t upto, int64_t mint,
                       int64_t maxt, struct column *into);
void head_labels(const struct tsdb *db, const struct mseries *s,
                 struct label *out); /* index lock held, or the series pinned */
/* Free what a flush made superfluous, series by series. */
void head_sweep(struct tsdb *db);
/* Forget series without samples, if no snapshot may need them. Append lock must not be held. */
void head_gc(struct tsdb *db);
void head_free(struct tsdb *db);
/* Ascending ids of all series; index lock held. */
void head_all(const struct tsdb *db, u32s *out);
extern const struct postings_view head_postings;
/* commit_lock held: free what no snapshot needs. */
void limbo_reclaim(struct tsdb *db);
/* Findings are told to fn; returns their number. */
int head_check(struct tsdb *db, void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx);
void problem(void (*fn)(void *ctx, const struct tsdb_problem *p), void *ctx, int *n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- append.c: rows to records and back ---- */

int sink_append_rows(struct sink *s, struct sample_row *rows, size_t n, unsigned flags);
/* Replay the segments after `done` and remove those up to it; before the threads start. */
MUST_USE int wal_replay(struct tsdb *db, uint32_t done, struct err *e);
/* What a segment's series ids mean: log id -> series, by pages made on demand. */
#define REPLAY_IDS_MAX (1U << 28)
struct replay_ids {
    VEC(struct mseries **) pages;
};
void replay_ids_done(struct replay_ids *ids);
/* One record's payload into the head. false when it makes no sense. */
bool replay_record(struct tsdb *db, struct str payload, struct replay_ids *ids);
/* Everything written so far is durable, or -errno. */
int db_sync(struct tsdb *db);
/* Try a write when refusing samples; clears the state when it works. */
void wal_probe(struct tsdb *db);
void set_read_only(struct tsdb *db, const char *what, int err);
void clear_read_only(struct tsdb *db);

/* ---- source.c ---- */

int source_open_snapshot(struct source *s, struct snapshot **ret);
struct blockset *blockset_ref(struct blockset *bs);
void blockset_unref(struct blockset *bs);

/* ---- compact.c: maintenance; all with maint_lock held ---- */

int flush_head(struct tsdb *db);
MUST_USE int compact_blocks(struct tsdb *db, bool *ret_did);
MUST_USE int compact_tombstones(struct tsdb *db);
void expire_blocks(struct tsdb *db);
void drop_wal(struct tsdb *db, uint32_t upto);
/* Remove a block's file and its deletions. */
void remove_files(struct tsdb *db, const char *path);
/* Remove the file of a block that must not count; what cannot be removed now is tried again. */
void doom(struct tsdb *db, const char *path);
/* The list of files left by a clean stop: written at the end, compared and removed at the start. What is missing or cut
 * short is counted and logged; without the list (after a crash) a short file is nothing special. */
void inventory_write(struct tsdb *db);
void inventory_check(struct tsdb *db);
/* Is all of that gone? */
MUST_USE int doomed_gone(struct tsdb *db);
/* Replace the set of blocks: without those of `gone`, with those of `add` (references are taken). flushed: the epoch
 * that stands in blocks now, or 0 when that does not change. */
void blocks_publish(struct tsdb *db, struct block *const *gone, size_t n_gone, const struct blockset_entry *add,
                    size_t n_add, uint32_t flushed);
/* Set a damaged block aside: out of the set, its file renamed to *.bad. */
void block_quarantine(struct tsdb *db, struct block *b);
MUST_USE int delete_samples(struct tsdb *db, const struct matcher *m, size_t n, int64_t mint, int64_t maxt);
extern const struct postings_view block_postings; /* over a struct bindex */
/* A snapshot of the store itself; commit_lock held. */
struct snap *snap_open_locked(struct tsdb *db);
void snap_close(struct snap *sn);
struct blockset *blocks_get(struct tsdb *db); /* referenced */
bool flush_due(struct tsdb *db);

/* ---- stats.c ---- */
void sink_metadata(struct sink *s, struct str metric, const struct metric_meta *m);
void meta_free(struct tsdb *db);
