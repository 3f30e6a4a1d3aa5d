// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Compressed runs of samples of one series. Pure functions over bytes; the formats are in doc/format/tsdb.md, "Chunks".
 *
 * Two codecs for floats: STREAM is appended to sample by sample (the head), COLUMN is made of a whole run at once
 * (blocks). Both are exact for every bit pattern. HIST carries native histograms. */
#include "base/buf.h"
#include "model/source.h"

enum chunk_kind { CHUNK_STREAM = 1, CHUNK_COLUMN = 2, CHUNK_HIST = 3, CHUNK_HIST_Z = 4 };

#define STREAM_TOKEN_MAX 48       /* bytes one sample can need */
#define COLUMN_SAMPLES_MAX 1024   /* samples of one block chunk: what a narrow read must decode */
#define CHUNK_SAMPLES_LIMIT 65536 /* a decoder refuses more, before it reserves memory */
#define HIST_BUCKETS_MAX 65536    /* spans, buckets or bounds of one histogram */

/* The appender's memory between samples; starts zeroed. */
struct stream {
    int64_t t, delta, m, st;
    uint64_t bits;
    uint32_t n;      /* samples so far */
    uint32_t len;    /* bytes so far */
    uint32_t run_at; /* offset of the last token + 1 when it is a run, else 0 */
    int8_t exp;      /* decimal exponent of m */
    uint8_t misses;  /* samples in a row that were no short decimals */
};

/* Append one sample to the bytes at `data` (len bytes used, at least STREAM_TOKEN_MAX more writable). May change the
 * last byte written before (a growing run): a reader that stops after n samples does not notice. */
void stream_put(struct stream *s, uint8_t *data, int64_t t, double v, int64_t st);

/* One float run in any time order; st NULL when all are 0. Appends kind byte and payload. n >= 1. */
void column_encode(struct buf *out, const int64_t *t, const double *v, const int64_t *st, size_t n);

/* One histogram sample of a HIST payload after the one before (t and st of it; 0 at first). Refuses (-EINVAL) what does
 * not fit. */
MUST_USE int hist_put(struct buf *out, int64_t prev_t, int64_t prev_st, int64_t t, int64_t st,
                      const struct histogram *h);
/* Is it one we can keep (counts agree with spans, sizes within HIST_BUCKETS_MAX)? */
bool hist_valid(const struct histogram *h);
/* The same histogram, bit for bit? */
bool hist_equal(const struct histogram *a, const struct histogram *b);
/* A HIST chunk compressed for a block: kind byte and payload, of the kind that is smaller. */
void hist_encode(struct buf *out, const uint8_t *payload, size_t n);

/* Append the samples with mint <= t <= maxt of a chunk (payload without its kind byte), at most `max` samples of it (so
 * a chunk still being written can be read up to a point), in stored order. 0, or -EBADMSG when the bytes are not a
 * chunk; `into` may then hold some of its samples beyond the n it had: the caller resets n. */
MUST_USE int chunk_decode(enum chunk_kind kind, const uint8_t *p, size_t n, size_t max, int64_t mint, int64_t maxt,
                          struct column *into);

/* The decoders behind it; end is exclusive. */
int column_decode(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c);
int hist_decode(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c);
int hist_decode_z(const uint8_t *p, const uint8_t *end, size_t max, int64_t mint, int64_t maxt, struct column *c);

/* Push with every field; allocates st and h arrays on first need. h is borrowed (lives in the column's arena). */
void column_push_full(struct column *c, int64_t t, double v, int64_t st, const struct histogram *h);
/* Sort samples [from, n) by time, keeping the first of equal times (in stored order). */
void column_sort_unique(struct column *c, size_t from);
/* Is [from, n) strictly increasing? */
bool column_is_sorted(const struct column *c, size_t from);
