// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Immutable blocks: one file with the samples of many series over a range of time, its index and its facts, and beside
 * it a small file of deletions. Format: doc/format/tsdb.md, "Blocks".
 *
 * Files are read with pread into memory and checked, never mapped: a bad sector or a file cut short by someone else is
 * then an error to handle, not a SIGBUS. The index is loaded on first use, shared, and dropped when idle. */
#include "base/vec.h"
#include "sys/fs.h"
#include "tsdb/chunk_int.h"
#include <pthread.h>
#include <stdatomic.h>

#define BLOCK_MAGIC "HUNEBLK\1"
#define BLOCK_END_MAGIC "HUNEEND\1"
#define BLOCK_HEADER 16
#define BLOCK_TRAILER 40
#define BLOCK_PARENTS_MAX 4096
#define TOMB_MAGIC "HUNEDEL\1"

struct block_meta {
    uint64_t seq; /* the file's number; grows with every block made */
    uint64_t
        origin; /* the smallest seq of what it was made from: of two values for one time the lower origin's counts */
    int64_t min_t, max_t;
    uint64_t n_series, n_samples, n_chunks;
    uint32_t wal_done; /* the log up to this segment is in blocks; 0 = says nothing */
    uint32_t n_parents;
    uint64_t *parents; /* blocks this one replaces */
};

/* The index, verified when loaded: accessors need no bounds checks. */
struct bindex {
    _Atomic unsigned refs;
    size_t n;
    uint8_t *p;
    uint32_t n_names, n_pairs, n_series;
    const uint8_t *names, *pairs, *series_off, *strings, *postings, *series;
    size_t n_strings, n_postings, n_entries;
};

struct tomb { /* samples of series `ord` in [min_t, max_t] are deleted */
    uint32_t ord;
    int64_t min_t, max_t;
};
struct tombs {
    _Atomic unsigned refs;
    size_t n;
    struct tomb v[]; /* by ord, then min_t */
};

struct block {
    _Atomic unsigned refs;
    const struct vfs *vfs;
    char *path;
    int fd;
    uint64_t size, index_off, index_len;
    uint32_t index_crc;
    struct block_meta meta;
    pthread_mutex_t lock; /* idx, idx_used_ns */
    struct bindex *idx;
    uint64_t idx_used_ns;
    _Atomic uint64_t *corruptions; /* the store's counter */
};

/* ---- reading ---- */

/* 0; -EBADMSG when it is not a whole good block (index not yet read); -errno. */
MUST_USE int block_open(const struct vfs *v, const char *path, _Atomic uint64_t *corruptions, struct block **ret,
                        struct err *e);
struct block *block_ref(struct block *b);
struct block *block_unref(struct block *b);
/* The index, referenced for the caller: bindex_unref it. */
MUST_USE int block_index(struct block *b, uint64_t now_ns, struct bindex **ret);
/* Drop the index when unused since before_ns. */
void block_index_idle(struct block *b, uint64_t before_ns);
struct bindex *bindex_unref(struct bindex *x);
/* Verify and take over `p` (n bytes, malloc'd; freed on failure too). */
MUST_USE int bindex_parse(uint8_t *p, size_t n, uint64_t chunks_end, struct bindex **ret);

struct str bindex_name(const struct bindex *x, uint32_t name);
/* Pairs of one name: [first, first + n). false when there is no such name. */
bool bindex_find_name(const struct bindex *x, struct str name, uint32_t *ret_first, uint32_t *ret_n);
void bindex_name_pairs(const struct bindex *x, uint32_t name, uint32_t *ret_first, uint32_t *ret_n);
struct str bindex_value(const struct bindex *x, uint32_t pair);
/* First pair of [first, first + n) with a value >= v. */
uint32_t bindex_lower(const struct bindex *x, uint32_t first, uint32_t n, struct str v);
uint32_t bindex_postings_n(const struct bindex *x, uint32_t pair);
/* Writes the ordinals (ascending), bindex_postings_n of them. */
void bindex_postings(const struct bindex *x, uint32_t pair, uint32_t *out);
/* Strings borrowed from the index. At most n_max labels; returns how many there are. */
size_t bindex_labels(const struct bindex *x, uint32_t ord, struct label *out, size_t n_max);
/* The time range of a series. */
void bindex_range(const struct bindex *x, uint32_t ord, int64_t *ret_min, int64_t *ret_max);

/* Append the series' samples in [mint, maxt] without the deleted ones, in stored order. Damaged chunks are counted and
 * left out. 0 or -errno. */
MUST_USE int block_read(struct block *b, const struct bindex *x, const struct tombs *t, uint32_t ord, int64_t mint,
                        int64_t maxt, struct column *into);
/* Every chunk of the block: returns the number of damaged ones, or -errno. */
int block_verify(struct block *b, const struct bindex *x);

MUST_USE int tombs_load(const char *block_path, uint32_t n_series, struct tombs **ret); /* NULL when there are none */
MUST_USE int tombs_store(const struct vfs *v, const char *block_path, const struct tombs *t);
/* Sorts and merges `t` (n of them); owned by the caller. */
struct tombs *tombs_make(const struct tomb *t, size_t n);
struct tombs *tombs_ref(struct tombs *t);
struct tombs *tombs_unref(struct tombs *t);
/* Drop deleted samples of [from, n). */
void tombs_apply(const struct tombs *t, uint32_t ord, struct column *c, size_t from);

char *block_name(const char *dir, uint64_t seq);
bool block_name_parse(const char *name, uint64_t *ret_seq);
char *tombs_path(const char *block_path);

/* ---- writing: series in labels_cmp order, each with its samples ---- */

struct block_writer;
MUST_USE int bw_open(const struct vfs *v, const char *dir, uint64_t seq, struct block_writer **ret);
/* Samples [from, n) of c, in time order and unique; floats and histograms may be mixed. */
MUST_USE int bw_series(struct block_writer *w, struct labels l, const struct column *c, size_t from);
uint64_t bw_samples(const struct block_writer *w);
/* Make it durable and give it its name. m: wal_done, origin and parents are taken from it, the rest is filled in.
 * The writer is gone in any case. */
MUST_USE int bw_finish(struct block_writer *w, struct block_meta *m);
void bw_abort(struct block_writer *w);
