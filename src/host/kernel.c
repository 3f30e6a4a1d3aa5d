// SPDX-License-Identifier: Apache-2.0
/* Processor, memory, scheduler: single files of /proc. */
#include "host/host_int.h"
#include <dirent.h>
#include <unistd.h>

bool host_cpu(struct host *h)
{
    static const struct {
        const char *mode;
        int column;
    } modes[] = {{"idle", 3},    {"iowait", 4}, {"irq", 5},    {"nice", 1},
                 {"softirq", 6}, {"steal", 7},  {"system", 2}, {"user", 0}};
    struct str text;
    if (!host_read(h, 'p', "stat", &text))
        return false;
    double hz = (double)sysconf(_SC_CLK_TCK);
    for (int pass = 0; pass < 2; pass++) { /* a family at a time: guest time, then the rest */
        host_family(h, pass ? "node_cpu_seconds_total" : "node_cpu_guest_seconds_total",
                    pass ? "Seconds each processor spent in each mode."
                         : "Seconds each processor spent for virtual machines, part of user and nice.",
                    METRIC_COUNTER);
        struct str rest = text, line, w;
        while (str_line(&rest, &line)) {
            double v[10] = {0};
            if (!str_starts(line, STR("cpu")) || line.n < 4 || line.p[3] < '0' || line.p[3] > '9')
                continue;
            (void)host_word(&line, &w); /* there is one: checked above */
            struct str cpu = str_sub(w, 3, w.n), f;
            for (size_t i = 0; i < ARRAY_LEN(v) && host_word(&line, &f); i++)
                v[i] = host_num(f) / hz;
            if (pass == 0) {
                host_sample2(h, "cpu", cpu, "mode", STR("nice"), v[9]);
                host_sample2(h, "cpu", cpu, "mode", STR("user"), v[8]);
            }
            for (size_t i = 0; pass == 1 && i < ARRAY_LEN(modes); i++)
                host_sample2(h, "cpu", cpu, "mode", str_of(modes[i].mode), v[modes[i].column]);
        }
    }
    return true;
}

bool host_stat(struct host *h)
{
    static const struct {
        const char *key, *name, *help;
        enum metric_type type;
    } rows[] = {
        {"intr", "node_intr_total", "Interrupts served since boot.", METRIC_COUNTER},
        {"ctxt", "node_context_switches_total", "Context switches since boot.", METRIC_COUNTER},
        {"btime", "node_boot_time_seconds", "When the machine was booted, Unix time.", METRIC_GAUGE},
        {"processes", "node_forks_total", "Processes and threads created since boot.", METRIC_COUNTER},
        {"procs_running", "node_procs_running", "Processes that could run now.", METRIC_GAUGE},
        {"procs_blocked", "node_procs_blocked", "Processes waiting for input or output.", METRIC_GAUGE},
    };
    struct str text, line, key, v;
    if (!host_read(h, 'p', "stat", &text))
        return false;
    while (str_line(&text, &line)) {
        if (!host_word(&line, &key) || !host_word(&line, &v))
            continue;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            if (str_eqz(key, rows[i].key)) {
                host_family(h, rows[i].name, rows[i].help, rows[i].type);
                host_sample0(h, host_num(v));
            }
    }
    return true;
}

bool host_schedstat(struct host *h)
{
    static const char *const names[] = {"node_schedstat_running_seconds_total", "node_schedstat_waiting_seconds_total",
                                        "node_schedstat_timeslices_total"};
    static const char *const help[] = {"Seconds a processor ran processes.",
                                       "Seconds processes waited for a processor.",
                                       "Time slices a processor gave out."};
    struct str text;
    if (!host_read(h, 'p', "schedstat", &text))
        return false;
    for (int k = 0; k < 3; k++) {
        host_family(h, names[k], help[k], METRIC_COUNTER);
        struct str rest = text, line, w;
        while (str_line(&rest, &line)) {
            if (!str_starts(line, STR("cpu")) || !host_word(&line, &w))
                continue;
            struct str cpu = str_sub(w, 3, w.n), f = STR_NULL;
            for (int i = 0; i < 7 + k && host_word(&line, &f); i++)
                ;
            host_sample1(h, "cpu", cpu, k < 2 ? host_num(f) / 1e9 : host_num(f));
        }
    }
    return true;
}

bool host_softnet(struct host *h)
{
    static const char *const names[] = {"node_softnet_processed_total", "node_softnet_dropped_total",
                                        "node_softnet_times_squeezed_total"};
    static const char *const help[] = {"Packets processed.", "Packets dropped because the backlog was full.",
                                       "Times packet processing ran out of budget."};
    struct str text;
    if (!host_read(h, 'p', "net/softnet_stat", &text))
        return false;
    for (int k = 0; k < 3; k++) {
        host_family(h, names[k], help[k], METRIC_COUNTER);
        struct str rest = text, line;
        for (int cpu = 0; str_line(&rest, &line); cpu++) {
            struct str f[13];
            size_t n = 0;
            while (n < ARRAY_LEN(f) && host_word(&line, &f[n]))
                n++;
            char id[16];
            /* since Linux 5.10 the 13th column tells which processor it is */
            int len = snprintf(id, sizeof(id), "%d", n == ARRAY_LEN(f) ? (int)host_hexnum(f[12]) : cpu);
            if (n > 2)
                host_sample1(h, "cpu", str_make(id, (size_t)len), host_hexnum(f[k]));
        }
    }
    return true;
}

bool host_loadavg(struct host *h)
{
    static const char *const names[] = {"node_load1", "node_load5", "node_load15"};
    static const char *const help[] = {"Load average over 1 minute.", "Load average over 5 minutes.",
                                       "Load average over 15 minutes."};
    struct str text, w;
    if (!host_read(h, 'p', "loadavg", &text))
        return false;
    for (int i = 0; i < 3 && host_word(&text, &w); i++)
        host_gauge(h, names[i], help[i], host_num(w));
    return true;
}

bool host_meminfo(struct host *h)
{
    struct str text, line, key, v, unit;
    if (!host_read(h, 'p', "meminfo", &text))
        return false;
    while (str_line(&text, &line)) {
        char name[128] = "node_memory_";
        size_t n = strlen(name);
        if (!host_word(&line, &key) || !host_word(&line, &v) || key.n < 2 || key.n > 64)
            continue;
        for (size_t i = 0; i + 1 < key.n; i++) { /* the last is the colon; Active(anon) becomes Active_anon */
            if (key.p[i] == '(')
                name[n++] = '_';
            else if (key.p[i] != ')')
                name[n++] = key.p[i];
        }
        bool kb = host_word(&line, &unit);
        if (kb)
            n += (size_t)snprintf(name + n, sizeof(name) - n, "_bytes");
        h->out->family(h->out, str_make(name, n), STR("Field of /proc/meminfo."), METRIC_GAUGE);
        host_sample0(h, kb ? host_num(v) * 1024 : host_num(v));
    }
    return true;
}

bool host_vmstat(struct host *h)
{
    struct str text, line, key, v;
    if (!host_read(h, 'p', "vmstat", &text))
        return false;
    while (str_line(&text, &line)) {
        if (!host_word(&line, &key) || !host_word(&line, &v))
            continue;
        bool fault = str_starts(key, STR("pg")) && str_find(key, STR("fault")) > 0;
        if (!fault && !str_starts(key, STR("oom_kill")) && !str_starts(key, STR("pgpg")) &&
            !str_starts(key, STR("pswp")))
            continue;
        char name[128];
        (void)snprintf(name, sizeof(name), "node_vmstat_" STR_FMT, STR_ARG(key)); /* kernel names are short */
        host_untyped(h, name, "Field of /proc/vmstat.", host_num(v));
    }
    return true;
}

bool host_pressure(struct host *h)
{
    static const struct {
        const char *file, *waiting, *stalled;
    } rows[] = {
        {"pressure/cpu", "node_pressure_cpu_waiting_seconds_total", NULL},
        {"pressure/io", "node_pressure_io_waiting_seconds_total", "node_pressure_io_stalled_seconds_total"},
        {"pressure/memory", "node_pressure_memory_waiting_seconds_total", "node_pressure_memory_stalled_seconds_total"},
    };
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str text, line;
        if (!host_read(h, 'p', rows[i].file, &text))
            continue;
        any = true;
        while (str_line(&text, &line)) {
            ptrdiff_t at = str_find(line, STR("total="));
            if (at < 0)
                continue;
            double s = host_num(str_sub(line, (size_t)at + 6, line.n)) / 1000 / 1000;
            if (str_starts(line, STR("some")))
                host_counter(h, rows[i].waiting, "Seconds in which some process waited for this resource.", s);
            else if (rows[i].stalled)
                host_counter(h, rows[i].stalled, "Seconds in which all processes waited for this resource.", s);
        }
    }
    return any;
}

bool host_filefd(struct host *h)
{
    struct str text, a, b, c;
    if (!host_read(h, 'p', "sys/fs/file-nr", &text) || !host_word(&text, &a) || !host_word(&text, &b) ||
        !host_word(&text, &c))
        return false;
    host_gauge(h, "node_filefd_allocated", "File handles in use.", host_num(a));
    host_gauge(h, "node_filefd_maximum", "Most file handles the system allows.", host_num(c));
    return true;
}

bool host_entropy(struct host *h)
{
    struct str text, w;
    if (!host_read(h, 'p', "sys/kernel/random/entropy_avail", &text) || !host_word(&text, &w))
        return false;
    host_gauge(h, "node_entropy_available_bits", "Bits of entropy there are.", host_num(w));
    if (host_read(h, 'p', "sys/kernel/random/poolsize", &text) && host_word(&text, &w))
        host_gauge(h, "node_entropy_pool_size_bits", "Bits of entropy the pool can hold.", host_num(w));
    return true;
}

bool host_cpufreq(struct host *h)
{
    static const struct {
        const char *file, *name, *help;
    } rows[] = {
        {"scaling_cur_freq", "node_cpu_scaling_frequency_hertz",
         "Frequency a processor runs at, as the governor sees it."},
        {"scaling_min_freq", "node_cpu_scaling_frequency_min_hertz", "Lowest frequency the governor may choose."},
        {"scaling_max_freq", "node_cpu_scaling_frequency_max_hertz", "Highest frequency the governor may choose."},
        {"cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Frequency a processor runs at."},
        {"cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Lowest frequency of a processor."},
        {"cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Highest frequency of a processor."},
    };
    long n = sysconf(_SC_NPROCESSORS_CONF);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool said = false;
        for (long cpu = 0; cpu < n; cpu++) {
            char path[128], id[24];
            double khz;
            (void)snprintf(path, sizeof(path), "devices/system/cpu/cpu%ld/cpufreq/%s", cpu, rows[i].file);
            (void)snprintf(id, sizeof(id), "%ld", cpu);
            if (!host_peek_f64(h, 's', path, &khz)) {
                if (cpu == 0)
                    break; /* no scaling here: do not ask for every processor */
                continue;
            }
            if (!said)
                host_family(h, rows[i].name, rows[i].help, METRIC_GAUGE);
            said = true;
            host_sample1(h, "cpu", str_of(id), khz * 1000);
        }
    }
    return true;
}

bool host_processes(struct host *h)
{
    char path[512];
    DIR *d = opendir(h->procfs);
    if (!d)
        return false;
    size_t states[128] = {0}, threads = 0, pids = 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct str s;
        if (e->d_name[0] < '0' || e->d_name[0] > '9')
            continue;
        (void)snprintf(path, sizeof(path), "%s/stat", e->d_name);
        ptrdiff_t close;
        if (!host_peek(h, 'p', path, &s) || (close = str_rchr(s, ')')) < 0)
            continue;
        struct str rest = str_sub(s, (size_t)close + 1, s.n), w;
        if (!host_word(&rest, &w))
            continue;
        states[(unsigned char)w.p[0] & 127]++;
        for (int i = 0; i < 17; i++)
            (void)host_word(&rest, &w); /* up to num_threads; a short line leaves the last word, which is harmless */
        threads += (size_t)host_num(w);
        pids++;
    }
    (void)closedir(d); /* only read from */
    host_gauge(h, "node_processes_threads", "Threads of all processes.", (double)threads);
    host_gauge(h, "node_processes_pids", "Processes.", (double)pids);
    host_family(h, "node_processes_state", "Processes in each state.", METRIC_GAUGE);
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        char c = (char)i;
        if (states[i])
            host_sample1(h, "state", str_make(&c, 1), (double)states[i]);
    }
    double v;
    if (host_peek_f64(h, 'p', "sys/kernel/threads-max", &v))
        host_gauge(h, "node_processes_max_threads", "Most threads the system allows.", v);
    if (host_peek_f64(h, 'p', "sys/kernel/pid_max", &v))
        host_gauge(h, "node_processes_max_processes", "Highest process number.", v);
    return true;
}
