// SPDX-License-Identifier: Apache-2.0
/* What the store costs: CPU of an append with and without known references, of a new series, memory of a series, bytes
 * of a sample in the log and in a block, time of a restart and of reading it all.
 *
 *   tsdb_bench [DIR] [HOSTS] [STEPS]      100 series a host, one sample of each a step of 15 s; prints JSON */
#include "base/arena.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/rand.h"
#include "tsdb/tsdb.h"
#include <malloc.h>
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#define PER_HOST 100
#define STEP_MS 15000

static struct rand_state rnd;

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double wall_s(void)
{
    return (double)clock_mono_ns(&clock_real) * 1e-9;
}

static double rss_bytes(void)
{
    struct buf b = BUF_INIT(4096);
    uint64_t total = 0, resident = 0;
    if (fs_read_file("/proc/self/statm", &b) == 0) {
        struct str left, rest, pages;
        str_cut(buf_view(&b), ' ', &left, &rest);
        str_cut(rest, ' ', &pages, NULL);
        if (!parse_u64(left, &total) || !parse_u64(pages, &resident))
            resident = 0;
    }
    buf_done(&b);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* A mix as exporters have it: constants, counters of whole numbers, gauges with two decimals, a few full-precision
 * floats. */
static double step_value(unsigned kind, double v)
{
    double u = rand_unit(&rnd);
    switch (kind % 20) {
    case 0:
    case 1:
    case 2:
    case 3:
        return v; /* constant */
    case 4:
    case 5:
        return v + (u < 0.1); /* rare events */
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        return v + floor(600 * (0.5 + u)); /* counters */
    case 11:
    case 12:
        return v + floor(4.5e6 * (0.5 + u)); /* bytes */
    case 13:
    case 14:
    case 15:
        return round((v + u * 15) * 100) / 100; /* cpu seconds */
    case 16:
        return round((50 + u * 5) * 100) / 100; /* temperature */
    case 17:
        return 4096 * floor(50000 + 100 * u); /* memory */
    case 18:
        return floor(100 + 10 * u);
    default:
        return 0.02 * (1 + u); /* latency */
    }
}

struct bench {
    size_t hosts, n;
    struct sample_row *rows;
    double *v;
};

static void make_rows(struct bench *b, struct arena *a)
{
    static const char *const names[] = {"arch", "datacenter", "env",    "instance", "job",
                                        "os",   "rack",       "region", "service",  "team"};
    b->n = b->hosts * PER_HOST;
    b->rows = xcalloc(b->n, sizeof(*b->rows));
    b->v = xcalloc(b->n, sizeof(*b->v));
    for (size_t h = 0; h < b->hosts; h++) {
        struct str values[] = {STR("x64"),
                               arena_fmt(a, "us-east-1%c", (char)('a' + h % 3)),
                               h % 3 ? STR("production") : STR("staging"),
                               arena_fmt(a, "host-%zu:9100", h),
                               STR("node"),
                               STR("Debian12"),
                               arena_fmt(a, "%zu", h % 100),
                               arena_fmt(a, "region-%zu", h % 9),
                               arena_fmt(a, "%zu", h % 20),
                               arena_fmt(a, "team-%zu", h % 5)};
        for (size_t k = 0; k < PER_HOST; k++) {
            struct label *l = ARENA_ARRAY(a, struct label, 12);
            size_t n = 0;
            l[n++] = (struct label){STR("__name__"), arena_fmt(a, "node_metric_number_%zu_total", k / 4)};
            for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                if (i == 2)
                    l[n++] = (struct label){STR("device"), arena_fmt(a, "dev%zu", k % 4)};
                l[n++] = (struct label){str_of(names[i]), values[i]};
            }
            b->rows[h * PER_HOST + k].labels = (struct labels){.v = l, .n = n};
            b->v[h * PER_HOST + k] = floor(rand_unit(&rnd) * 1e6);
        }
    }
}

/* Rows of one step; a batch is 5,000 rows, as a remote write or five scrapes bring. */
static void append_step(struct tsdb *db, struct bench *b, int64_t t)
{
    for (size_t i = 0; i < b->n; i++) {
        b->v[i] = step_value((unsigned)(i % PER_HOST), b->v[i]);
        b->rows[i].t = t;
        b->rows[i].v = b->v[i];
    }
    for (size_t i = 0; i < b->n; i += 5000)
        if (sink_append(tsdb_sink(db), b->rows + i, MIN(b->n - i, (size_t)5000), 0))
            FATAL("append failed");
}

static struct tsdb *open_store(const char *dir)
{
    struct tsdb_options o = tsdb_options_default(dir);
    struct err e = {0};
    struct tsdb *db;
    o.no_threads = true;
    o.retention_ms = -1;
    o.max_future_ms = TSDB_FUTURE_ANY;
    if (tsdb_open(&o, &db, &e))
        FATAL("%s", e.msg);
    return db;
}

static uint64_t read_all(struct tsdb *db, size_t *ret_series)
{
    struct arena *a = arena_new(0);
    struct snapshot *sn;
    struct source_list list;
    struct column c = {0};
    uint64_t samples = 0;
    if (source_open(tsdb_source(db), &sn) || sn->ops->select(sn, NULL, 0, INT64_MIN, INT64_MAX, a, &list))
        FATAL("select failed");
    for (size_t i = 0; i < list.n; i++) {
        column_reset(&c);
        if (sn->ops->read(sn, &list.v[i], INT64_MIN, INT64_MAX, &c))
            FATAL("read failed");
        samples += c.n;
    }
    *ret_series = list.n;
    column_done(&c);
    snapshot_release(sn);
    arena_free(a);
    return samples;
}

int main(int argc, char **argv)
{
    uint64_t hosts = 200, steps = 120;
    const char *dir = argc > 1 ? argv[1] : "/tmp/tsdb-bench";
    if ((argc > 2 && !parse_u64(str_of(argv[2]), &hosts)) || (argc > 3 && !parse_u64(str_of(argv[3]), &steps)) ||
        hosts == 0 || hosts > 100000 || steps < 2) {
        fprintf(stderr, "usage: tsdb_bench [DIR] [HOSTS] [STEPS]\n");
        return 2;
    }
    if (fs_remove_tree(dir))
        FATAL("%s", dir);
    rand_seed(&rnd, 1);
    struct arena *a = arena_new(0);
    struct bench b = {.hosts = hosts};
    make_rows(&b, a);
    double series = (double)b.n, m = 1e6;
    struct tsdb *db = open_store(dir);
    int64_t t = 1700000000000;
    double rss0 = rss_bytes(), c0 = cpu_s();
    append_step(db, &b, t);
    double new_us = (cpu_s() - c0) / series * 1e6;
    /* What making the values costs is measured and taken off. */
    c0 = cpu_s();
    for (size_t i = 0; i < b.n; i++)
        b.v[i] = step_value((unsigned)(i % PER_HOST), b.v[i]);
    double make_s = cpu_s() - c0;
    uint64_t half = steps / 2;
    c0 = cpu_s();
    for (uint64_t s = 1; s < half; s++)
        append_step(db, &b, t += STEP_MS);
    double by_ref = (cpu_s() - c0 - make_s * (double)(half - 1)) / (series * (double)(half - 1)) * m;
    c0 = cpu_s();
    for (uint64_t s = half; s < steps; s++) {
        for (size_t i = 0; i < b.n; i++)
            b.rows[i].ref = 0;
        append_step(db, &b, t += STEP_MS);
    }
    double by_labels = (cpu_s() - c0 - make_s * (double)(steps - half)) / (series * (double)(steps - half)) * m;
    double rss = rss_bytes();
    struct tsdb_stats st;
    tsdb_stats(db, &st);
    double samples = series * (double)steps;
    double wal = (double)st.wal_bytes / samples, head = (double)st.head_bytes / series;
    size_t n;
    c0 = cpu_s();
    uint64_t got = read_all(db, &n);
    double read_head = (cpu_s() - c0) / samples * 1e9;
    /* Restart from the log: a child would do the same; here the old one just stops being used. */
    if (tsdb_sync(db))
        FATAL("sync");
    double w0 = wall_s();
    c0 = cpu_s();
    if (tsdb_flush(db))
        FATAL("flush");
    double flush_cpu = cpu_s() - c0, flush_s = wall_s() - w0;
    tsdb_stats(db, &st);
    double block = (double)st.block_bytes / samples;
    c0 = cpu_s();
    uint64_t got_block = read_all(db, &n);
    double read_block = (cpu_s() - c0) / samples * 1e9;
    malloc_trim(0);
    double rss_flushed = rss_bytes();
    /* The same again, left in the log, for the restart. */
    for (uint64_t s = 0; s < steps; s++)
        append_step(db, &b, t += STEP_MS);
    pid_t pid = getpid();
    char *copy = xasprintf("%s-replay-%d", dir, (int)pid);
    char *wal_from = fs_join(dir, "wal"), *wal_to = fs_join(copy, "wal");
    struct fs_names names;
    if (fs_mkdirs(wal_to, 0700) || fs_list(wal_from, &names))
        FATAL("copy");
    for (size_t i = 0; i < names.n; i++) {
        char *x = fs_join(wal_from, names.v[i]), *y = fs_join(wal_to, names.v[i]);
        struct buf content = BUF_INIT(1ULL << 32);
        if (fs_read_file(x, &content) || fs_write_file(&vfs_real, y, buf_view(&content), 0600))
            FATAL("copy");
        buf_done(&content);
        free(x), free(y);
    }
    fs_names_free(&names);
    tsdb_close(db);
    w0 = wall_s();
    c0 = cpu_s();
    db = open_store(copy);
    double replay_s = wall_s() - w0, replay_cpu = cpu_s() - c0;
    tsdb_stats(db, &st);
    printf(
        "{\"series\": %.0f, \"samples\": %.0f, \"append_cpu_s_per_msample_by_ref\": %.3f, "
        "\"append_cpu_s_per_msample_by_labels\": %.3f,\n \"new_series_cpu_us\": %.2f, \"rss_bytes_per_series\": %.0f, "
        "\"head_sample_bytes_per_series\": %.0f, \"wal_bytes_per_sample\": %.2f,\n \"block_bytes_per_sample\": %.3f, "
        "\"flush_s\": %.2f, \"flush_cpu_s\": %.2f, \"rss_after_flush_mib\": %.1f,\n \"read_head_ns_per_sample\": %.1f, "
        "\"read_block_ns_per_sample\": %.1f, \"replay_s\": %.3f, \"replay_cpu_s\": %.3f, \"replayed\": %llu, "
        "\"read_back\": %s}\n",
        series, samples, by_ref, by_labels, new_us, (rss - rss0) / series, head, wal, block, flush_s, flush_cpu,
        rss_flushed / 1048576, read_head, read_block, replay_s, replay_cpu, (unsigned long long)st.replayed_samples,
        got == (uint64_t)samples && got_block == got ? "true" : "false");
    tsdb_close(db);
    if (fs_remove_tree(copy) || fs_remove_tree(dir))
        FATAL("remove");
    free(copy), free(wal_from), free(wal_to), free(b.rows), free(b.v);
    arena_free(a);
    return 0;
}
