// SPDX-License-Identifier: Apache-2.0
/* The log: even first byte, a segment as it stands on disk; odd, one record's payload replayed into a store. */
#include "base/mem.h"
#include "tsdb/tsdb_int.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void replay(struct str payload)
{
    static struct tsdb *db;
    static unsigned runs;
    static char dir[64];
    if (runs++ % 2000 == 0) { /* memory must not grow for ever */
        tsdb_close(db);
        snprintf(dir, sizeof(dir), "/tmp/hune-fuzz-wal-%d", (int)getpid());
        struct tsdb_options o = tsdb_options_default(dir);
        struct err e = {0};
        o.no_threads = true;
        o.retention_ms = -1;
        if (fs_remove_tree(dir) || tsdb_open(&o, &db, &e))
            FATAL("open: %s", e.msg);
        if (fs_remove_tree(dir)) /* nothing is written to it */
            FATAL("remove");
    }
    struct replay_ids ids = {0};
    (void)!replay_record(db, payload, &ids);
    replay_ids_done(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1 || n > 4096)
        return 0;
    if (data[0] & 1) {
        replay(str_make((const char *)data + 1, n - 1));
        return 0;
    }
    struct wal_reader r;
    struct str payload;
    uint64_t bytes = 0;
    if (wal_reader_mem(&r, data + 1, n - 1, 1))
        return 0;
    while (wal_next(&r, &payload) == 1) {
        bytes += payload.n + WAL_RECORD_HEADER;
        replay(payload);
    }
    ASSERT(bytes + r.damaged + WAL_SEGMENT_HEADER >= n - 1 && bytes + r.damaged <= n - 1);
    wal_reader_done(&r);
    return 0;
}
