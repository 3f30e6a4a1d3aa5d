// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What collectors share: files that stay open, a scanner over their text, and short words for saying metrics. */
#include "base/mem.h"
#include "base/vec.h"
#include "host/host.h"

struct host_file { /* one per path, opened on first use, read again with pread */
    char *path;
    int fd;            /* -1: not open (absent, or gone) */
    uint64_t retry_at; /* collection number after which an absent file is tried again */
};

struct host_filesystem {
    char device[256], mount[512], type[64];
    bool readonly, error;
    double size, free, avail, files, files_free;
};

struct host {
    struct host_options o;
    char *procfs, *sysfs, *rootfs;
    VEC(struct host_file) files;
    struct buf text; /* of the file read last */
    uint64_t round;
    struct metrics_out *out;
    int netlink;              /* -1 before the first use, -2 when the kernel refuses */
    char *scratch;            /* HOST_SCRATCH bytes for tables of one collector */
    struct slow_mounts *slow; /* remote filesystems are asked on a thread of their own */
};
#define HOST_SCRATCH (256 << 10)

/* The text of procfs/… (kind 'p'), sysfs/… ('s') or rootfs/… ('r'), borrowed until the next read; false when there is
 * none. */
bool host_read(struct host *h, char kind, const char *path, struct str *ret);
/* The same without keeping the file open: for the many small files of sysfs. Trailing blanks are cut. */
bool host_peek(struct host *h, char kind, const char *path, struct str *ret);
bool host_peek_f64(struct host *h, char kind, const char *path, double *ret);

/* Next word of s (blanks, tabs, newlines between); false at the end. */
bool host_word(struct str *s, struct str *ret);
double host_num(struct str s); /* decimal integer or simple fraction; 0 when it is none */
double host_hexnum(struct str s);

void host_gauge(struct host *h, const char *name, const char *help, double v);
void host_counter(struct host *h, const char *name, const char *help, double v);
void host_untyped(struct host *h, const char *name, const char *help, double v);
void host_family(struct host *h, const char *name, const char *help, enum metric_type type);
void host_sample0(struct host *h, double v);
void host_sample1(struct host *h, const char *label, struct str value, double v);
void host_sample2(struct host *h, const char *l1, struct str v1, const char *l2, struct str v2, double v);

/* Collectors: false when the kernel does not have what they tell (node_scrape_collector_success 0). */
bool host_stat(struct host *h);
bool host_cpu(struct host *h);
bool host_cpufreq(struct host *h);
bool host_schedstat(struct host *h);
bool host_softnet(struct host *h);
bool host_loadavg(struct host *h);
bool host_meminfo(struct host *h);
bool host_vmstat(struct host *h);
bool host_pressure(struct host *h);
bool host_filefd(struct host *h);
bool host_entropy(struct host *h);
bool host_diskstats(struct host *h);
bool host_filesystem(struct host *h);
bool host_network(struct host *h); /* netdev and netclass in one question to the kernel */
bool host_netstat(struct host *h);
bool host_sockstat(struct host *h);
bool host_arp(struct host *h);
bool host_conntrack(struct host *h);
bool host_udp_queues(struct host *h);
bool host_time(struct host *h);
bool host_timex(struct host *h);
bool host_uname(struct host *h);
bool host_os(struct host *h);
bool host_selinux(struct host *h);
bool host_thermal(struct host *h);
bool host_hwmon(struct host *h);
bool host_processes(struct host *h);
void host_slow_mounts_free(struct slow_mounts *s);
