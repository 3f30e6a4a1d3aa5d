// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The machine's metrics with the names, labels and values of node_exporter (compared with 1.5.0 in
 * test/e2e/test_host.py). Files of /proc and /sys stay open and are read again with pread; parsing allocates nothing
 * per collection. */
#include "base/metrics.h"
#include "base/error.h"
#include <sys/types.h>

struct host;

struct host_options {
    const char *procfs, *sysfs, *rootfs; /* NULL = /proc, /sys, / (tests give recorded trees) */
    bool processes;                      /* the `processes` collector, off by default as in node_exporter */
};
struct host *host_new(const struct host_options *o); /* o may be NULL */
struct host *host_free(struct host *h);              /* accepts NULL */
/* A metrics_collect_fn; ctx = struct host *. One caller at a time. */
void host_collect(void *ctx, struct metrics_out *out);

/* One process and its descendants, from /proc. */
struct host_process {
    double cpu_s;            /* user + system since start, of living members (and reaped children of theirs) */
    uint64_t resident_bytes; /* sum of RSS */
    uint64_t virtual_bytes;
    uint64_t threads, open_fds, processes; /* open_fds: of pid alone */
    int64_t start_ms;                      /* Unix ms pid started */
};
/* Sample several trees in one walk of /proc: out[i] is for pids[i], zero when that process is gone. 0 or -errno. */
MUST_USE int host_process_sample(const char *procfs, const pid_t *pids, size_t n, struct host_process *out);
