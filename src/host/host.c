// SPDX-License-Identifier: Apache-2.0
/* The table of collectors and what they share. */
#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "host/host_int.h"
#include <fcntl.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 16 << 20, RETRY_ROUNDS = 60 };

static const struct {
    const char *name;
    bool (*fn)(struct host *h);
    bool optional; /* off by default */
} collectors[] = {
    {"arp", host_arp, false},
    {"conntrack", host_conntrack, false},
    {"cpu", host_cpu, false},
    {"cpufreq", host_cpufreq, false},
    {"diskstats", host_diskstats, false},
    {"entropy", host_entropy, false},
    {"filefd", host_filefd, false},
    {"filesystem", host_filesystem, false},
    {"hwmon", host_hwmon, false},
    {"loadavg", host_loadavg, false},
    {"meminfo", host_meminfo, false},
    {"netdev", host_network, false},
    {"netstat", host_netstat, false},
    {"os", host_os, false},
    {"pressure", host_pressure, false},
    {"processes", host_processes, true},
    {"schedstat", host_schedstat, false},
    {"selinux", host_selinux, false},
    {"sockstat", host_sockstat, false},
    {"softnet", host_softnet, false},
    {"stat", host_stat, false},
    {"thermal_zone", host_thermal, false},
    {"time", host_time, false},
    {"timex", host_timex, false},
    {"udp_queues", host_udp_queues, false},
    {"uname", host_uname, false},
    {"vmstat", host_vmstat, false},
};

struct host *host_new(const struct host_options *o)
{
    struct host *h = NEW(struct host);
    if (o)
        h->o = *o;
    h->procfs = xstrdup(h->o.procfs ? h->o.procfs : "/proc");
    h->sysfs = xstrdup(h->o.sysfs ? h->o.sysfs : "/sys");
    h->rootfs = xstrdup(h->o.rootfs ? h->o.rootfs : "");
    h->text = BUF_INIT(FILE_MAX_BYTES);
    h->netlink = -1;
    h->scratch = xmalloc(HOST_SCRATCH);
    return h;
}

struct host *host_free(struct host *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < h->files.n; i++) {
        if (h->files.v[i].fd >= 0)
            (void)close(h->files.v[i].fd); /* only read from */
        free(h->files.v[i].path);
    }
    vec_done(&h->files);
    if (h->netlink >= 0)
        (void)close(h->netlink); /* nothing is buffered in it */
    host_slow_mounts_free(h->slow);
    buf_done(&h->text);
    free(h->scratch);
    free(h->procfs);
    free(h->sysfs);
    free(h->rootfs);
    free(h);
    return NULL;
}

static const char *base_of(const struct host *h, char kind)
{
    return kind == 'p' ? h->procfs : kind == 's' ? h->sysfs : h->rootfs;
}

static bool read_fd(struct host *h, int fd, bool at_start, struct str *ret)
{
    buf_reset(&h->text);
    for (;;) {
        if (buf_reserve(&h->text, 4096) < 0)
            return false;
        size_t room = h->text.cap - h->text.n;
        ssize_t n =
            at_start ? pread(fd, h->text.p + h->text.n, room, (off_t)h->text.n) : read(fd, h->text.p + h->text.n, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        h->text.n += (size_t)n;
    }
    *ret = buf_view(&h->text);
    return true;
}

bool host_read(struct host *h, char kind, const char *path, struct str *ret)
{
    char full[512];
    int len = snprintf(full, sizeof(full), "%s/%s", base_of(h, kind), path);
    if (len < 0 || (size_t)len >= sizeof(full))
        return false;
    struct host_file *f = NULL;
    for (size_t i = 0; i < h->files.n && !f; i++)
        if (strcmp(h->files.v[i].path, full) == 0)
            f = &h->files.v[i];
    if (!f) {
        vec_push(&h->files, (struct host_file){.path = xstrdup(full), .fd = -1});
        f = &h->files.v[h->files.n - 1];
    }
    if (f->fd < 0) {
        if (h->round < f->retry_at)
            return false;
        f->fd = open(full, O_RDONLY | O_CLOEXEC);
        f->retry_at = h->round + RETRY_ROUNDS;
        if (f->fd < 0)
            return false;
    }
    if (read_fd(h, f->fd, true, ret))
        return true;
    (void)close(f->fd); /* only read from */
    f->fd = -1;
    return false;
}

bool host_peek(struct host *h, char kind, const char *path, struct str *ret)
{
    char full[512];
    int len = snprintf(full, sizeof(full), "%s/%s", base_of(h, kind), path);
    if (len < 0 || (size_t)len >= sizeof(full))
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = read_fd(h, fd, false, ret);
    (void)close(fd); /* only read from */
    *ret = ok ? str_trim(*ret) : STR_NULL;
    return ok;
}

bool host_peek_f64(struct host *h, char kind, const char *path, double *ret)
{
    struct str s;
    if (!host_peek(h, kind, path, &s) || str_empty(s))
        return false;
    *ret = host_num(s);
    return true;
}

bool host_word(struct str *s, struct str *ret)
{
    size_t i = 0;
    while (i < s->n && (s->p[i] == ' ' || s->p[i] == '\t' || s->p[i] == '\n'))
        i++;
    size_t from = i;
    while (i < s->n && s->p[i] != ' ' && s->p[i] != '\t' && s->p[i] != '\n')
        i++;
    *ret = str_make(s->p + from, i - from);
    *s = str_sub(*s, i, s->n);
    return ret->n > 0;
}

double host_num(struct str s)
{
    bool neg = s.n && s.p[0] == '-';
    size_t i = neg;
    uint64_t whole = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        whole = whole * 10 + (uint64_t)(s.p[i] - '0');
    double v = (double)whole;
    if (i < s.n && s.p[i] == '.') {
        uint64_t m = whole;
        double scale = 1;
        for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && scale < 1e15; i++) {
            m = m * 10 + (uint64_t)(s.p[i] - '0');
            scale *= 10;
        }
        v = (double)m / scale; /* one rounding, as a parser of decimals does */
    }
    return neg ? -v : v;
}

double host_hexnum(struct str s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 0;
        v = v << 4 | d;
    }
    return (double)v;
}

void host_family(struct host *h, const char *name, const char *help, enum metric_type type)
{
    h->out->family(h->out, str_of(name), str_of(help), type);
}

void host_sample0(struct host *h, double v)
{
    h->out->sample(h->out, STR(""), NULL, 0, v);
}

void host_sample1(struct host *h, const char *label, struct str value, double v)
{
    const struct metric_label l[] = {{str_of(label), value}};
    h->out->sample(h->out, STR(""), l, 1, v);
}

void host_sample2(struct host *h, const char *l1, struct str v1, const char *l2, struct str v2, double v)
{
    const struct metric_label l[] = {{str_of(l1), v1}, {str_of(l2), v2}};
    h->out->sample(h->out, STR(""), l, 2, v);
}

void host_gauge(struct host *h, const char *name, const char *help, double v)
{
    host_family(h, name, help, METRIC_GAUGE);
    host_sample0(h, v);
}

void host_counter(struct host *h, const char *name, const char *help, double v)
{
    host_family(h, name, help, METRIC_COUNTER);
    host_sample0(h, v);
}

void host_untyped(struct host *h, const char *name, const char *help, double v)
{
    host_family(h, name, help, METRIC_UNTYPED);
    host_sample0(h, v);
}

void host_collect(void *ctx, struct metrics_out *out)
{
    struct host *h = ctx;
    bool ok[ARRAY_LEN(collectors)] = {false};
    double took[ARRAY_LEN(collectors)] = {0};
    h->out = out;
    h->round++;
    for (size_t i = 0; i < ARRAY_LEN(collectors); i++) {
        if (collectors[i].optional && !h->o.processes)
            continue;
        uint64_t start = clock_mono_ns(&clock_real);
        ok[i] = collectors[i].fn(h);
        took[i] = (double)(clock_mono_ns(&clock_real) - start) * 1e-9;
    }
    host_family(h, "node_scrape_collector_duration_seconds", "Time one part of the host collector took.", METRIC_GAUGE);
    for (size_t i = 0; i < ARRAY_LEN(collectors); i++)
        if (!collectors[i].optional || h->o.processes)
            host_sample1(h, "collector", str_of(collectors[i].name), took[i]);
    host_family(h, "node_scrape_collector_success", "Whether one part of the host collector found what it tells.",
                METRIC_GAUGE);
    for (size_t i = 0; i < ARRAY_LEN(collectors); i++)
        if (!collectors[i].optional || h->o.processes)
            host_sample1(h, "collector", str_of(collectors[i].name), ok[i]);
    host_family(h, "node_exporter_build_info", "Who collects: hune, with node_exporter's names.", METRIC_GAUGE);
    const struct metric_label info[] = {{STR("branch"), STR("hune")},
                                        {STR("goversion"), STR("")},
                                        {STR("revision"), STR("")},
                                        {STR("version"), str_of(HUNE_VERSION)}};
    out->sample(out, STR(""), info, ARRAY_LEN(info), 1);
    h->out = NULL;
}
