// SPDX-License-Identifier: Apache-2.0
#include "app/self.h"

#include "base/mem.h"
#include "base/parse.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Field `i` (from 0) of /proc/self/statm, in bytes; 0 when it cannot be read. */
static int64_t statm(unsigned i)
{
    char text[256];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    struct str rest = str_make(text, n > 0 ? (size_t)n : 0), word = STR("");
    for (unsigned k = 0; k <= i; k++)
        str_cut(rest, ' ', &word, &rest);
    uint64_t pages;
    return parse_u64(word, &pages) ? (int64_t)pages * sysconf(_SC_PAGESIZE) : 0;
}

int64_t self_resident_bytes(void)
{
    return statm(1);
}

static int64_t open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = -3; /* ".", ".." and this one */
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n < 0 ? 0 : n;
}

static void gauge(struct metrics_out *out, const char *name, const char *help, enum metric_type type, double v)
{
    out->family(out, str_of(name), str_of(help), type);
    out->sample(out, STR(""), NULL, 0, v);
}

void self_collect(void *ctx, struct metrics_out *out)
{
    struct self *s = ctx;
    struct rusage u;
    struct rlimit files = {0};
    getrusage(RUSAGE_SELF, &u);
    getrlimit(RLIMIT_NOFILE, &files);
    double cpu =
        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    gauge(out, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", METRIC_COUNTER, cpu);
    gauge(out, "process_resident_memory_bytes", "Resident memory size in bytes.", METRIC_GAUGE,
          (double)self_resident_bytes());
    gauge(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.", METRIC_GAUGE, (double)statm(0));
    gauge(out, "process_open_fds", "Number of open file descriptors.", METRIC_GAUGE, (double)open_fds());
    gauge(out, "process_max_fds", "Maximum number of open file descriptors.", METRIC_GAUGE, (double)files.rlim_cur);
    gauge(out, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", METRIC_GAUGE,
          (double)s->started_ms / 1000);
    gauge(out, "prometheus_config_last_reload_successful",
          "Whether the last configuration reload attempt was successful.", METRIC_GAUGE, (double)s->reload_ok);
    gauge(out, "prometheus_config_last_reload_success_timestamp_seconds",
          "Timestamp of the last successful configuration reload.", METRIC_GAUGE, (double)s->reload_ms / 1000);
    const struct metric_label version[] = {{STR("version"), STR(HUNE_VERSION)}};
    out->family(out, STR("hune_build_info"), STR("Version of this hune, value 1."), METRIC_GAUGE);
    out->sample(out, STR(""), version, 1, 1);
}
