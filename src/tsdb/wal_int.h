// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The write-ahead log: numbered segments of checksummed records. Format: doc/format/tsdb.md, "Write-ahead log". A
 * writer never appends to a segment that it did not make, so a torn tail stays where the crash left it. */
#include "base/buf.h"
#include "base/error.h"
#include "base/vec.h"
#include "sys/fs.h"
#include <pthread.h>

#define WAL_SEGMENT_HEADER 16
#define WAL_RECORD_HEADER 12
#define WAL_RECORD_MAX (1LL << 30)
#define WAL_SEGMENT_MAGIC "HUNEWAL\1"
#define WAL_RECORD_MAGIC 0x5ec0dA7Au

enum wal_record_type { WAL_BATCH = 1, WAL_PROBE = 2 };

struct wal {
    const struct vfs *vfs;
    char *dir;
    int64_t segment_bytes;
    /* under the owner's append lock */
    int fd;           /* -1 = the next append opens a segment */
    uint32_t seg;     /* number of the open segment, or of the last one */
    off_t off;        /* where the next record goes */
    uint64_t written; /* records written, ever: what a sync must cover */
    VEC(int) old;     /* descriptors of finished segments that are not synced yet */
    /* under sync_lock, which is taken before the append lock */
    pthread_mutex_t sync_lock;
    uint64_t synced;
};

void wal_init(struct wal *w, const struct vfs *v, const char *dir, int64_t segment_bytes, uint32_t last_seg);
void wal_done(struct wal *w); /* closes without sync */
/* Make sure that a segment is open with room for more; w->seg is final for the next wal_append. */
MUST_USE int wal_prepare(struct wal *w);
/* Begin a payload: leaves room for the record's header. */
void wal_begin(struct buf *b);
/* Write the record in one call. On failure nothing of it counts: the segment is cut back, or abandoned. */
MUST_USE int wal_append(struct wal *w, struct buf *b);
/* Finish the segment: later records go to a new one. Returns the number of the finished segment. */
uint32_t wal_cut(struct wal *w);
/* Cut, and never sync what is there: for a segment whose fsync failed. */
void wal_abandon(struct wal *w);

/* Reads records in order, skipping damage: after a bad record it looks for the next good one. */
struct wal_reader {
    const struct vfs *vfs;
    int fd;
    uint8_t *buf;
    size_t cap, n, pos;
    off_t off, size;  /* next byte to read from the file, its size */
    uint64_t damaged; /* bytes skipped that were no record */
    uint64_t holes;   /* records that were damaged, not just torn off at the end */
    bool owned;
};
/* Over a file, or over bytes in memory (borrowed). */
MUST_USE int wal_reader_open(struct wal_reader *r, const struct vfs *v, const char *path, uint32_t seg);
MUST_USE int wal_reader_mem(struct wal_reader *r, const void *p, size_t n, uint32_t seg);
void wal_reader_done(struct wal_reader *r);
/* 1 and the payload (valid until the next call), 0 at the end, or -errno. */
MUST_USE int wal_next(struct wal_reader *r, struct str *ret);

char *wal_path(const char *dir, uint32_t seg);
/* "00000012.wal" -> 12 */
bool wal_name_parse(const char *name, uint32_t *ret);
