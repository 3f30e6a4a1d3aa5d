// SPDX-License-Identifier: Apache-2.0
/* Disks and filesystems. statvfs() on a remote filesystem may hang for ever, so those are asked on a thread of their
 * own, and one that does not answer has device_error 1. */
#include "base/clock.h"
#include "base/error.h"
#include "host/host_int.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/statvfs.h>

/* node_exporter's default: ^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$ is left out (partitions and such). */
static bool skip_device(struct str d)
{
    size_t digits = d.n;
    while (digits > 0 && d.p[digits - 1] >= '0' && d.p[digits - 1] <= '9')
        digits--;
    if (digits == d.n)
        return false;
    struct str stem = str_sub(d, 0, digits);
    static const char *const stems[] = {"ram", "loop", "fd"}, *const disks[] = {"hd", "sd", "vd", "xvd"};
    for (size_t i = 0; i < ARRAY_LEN(stems); i++)
        if (str_eqz(stem, stems[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(disks); i++)
        if (stem.n == strlen(disks[i]) + 1 && str_starts(stem, str_of(disks[i])) && stem.p[stem.n - 1] >= 'a' &&
            stem.p[stem.n - 1] <= 'z')
            return true;
    if (!str_starts(stem, STR("nvme")) || !str_ends(stem, STR("p")))
        return false;
    size_t i = 4, from = i; /* nvme<digits>n<digits>p */
    while (i < stem.n && stem.p[i] >= '0' && stem.p[i] <= '9')
        i++;
    if (i == from || i >= stem.n || stem.p[i] != 'n')
        return false;
    for (from = ++i; i < stem.n && stem.p[i] >= '0' && stem.p[i] <= '9';)
        i++;
    return i > from && i + 1 == stem.n;
}

enum { DISKS = 256, FIELDS = 17 };
struct disk {
    char name[64], major[12], minor[12];
    size_t n;
    double v[FIELDS];
};

static void udev(struct host *h, const struct disk *d, const char *keys[5], char values[5][128])
{
    char path[64];
    struct str text, line, k, v;
    for (int i = 0; i < 5; i++)
        values[i][0] = 0;
    (void)snprintf(path, sizeof(path), "run/udev/data/b%s:%s", d->major, d->minor); /* fits by construction */
    if (!host_peek(h, 'r', path, &text))
        return;
    while (str_line(&text, &line))
        if (str_starts(line, STR("E:")) && str_cut(str_sub(line, 2, line.n), '=', &k, &v))
            for (int i = 0; i < 5; i++)
                if (str_eqz(k, keys[i]))
                    (void)snprintf(values[i], 128, STR_FMT, STR_ARG(v)); /* a long value may be cut */
}

bool host_diskstats(struct host *h)
{
    static const struct {
        int field;
        const char *name, *help;
        enum metric_type type;
        double scale;
    } rows[] = {
        {0, "node_disk_reads_completed_total", "Reads completed.", METRIC_COUNTER, 1},
        {1, "node_disk_reads_merged_total", "Reads merged with a neighbour.", METRIC_COUNTER, 1},
        {2, "node_disk_read_bytes_total", "Bytes read.", METRIC_COUNTER, 512},
        {3, "node_disk_read_time_seconds_total", "Seconds spent by all reads.", METRIC_COUNTER, .001},
        {4, "node_disk_writes_completed_total", "Writes completed.", METRIC_COUNTER, 1},
        {5, "node_disk_writes_merged_total", "Writes merged with a neighbour.", METRIC_COUNTER, 1},
        {6, "node_disk_written_bytes_total", "Bytes written.", METRIC_COUNTER, 512},
        {7, "node_disk_write_time_seconds_total", "Seconds spent by all writes.", METRIC_COUNTER, .001},
        {8, "node_disk_io_now", "Reads and writes in progress.", METRIC_GAUGE, 1},
        {9, "node_disk_io_time_seconds_total", "Seconds the device was busy.", METRIC_COUNTER, .001},
        {10, "node_disk_io_time_weighted_seconds_total", "Seconds the device was busy times requests waiting.",
         METRIC_COUNTER, .001},
        {11, "node_disk_discards_completed_total", "Discards completed.", METRIC_COUNTER, 1},
        {12, "node_disk_discards_merged_total", "Discards merged with a neighbour.", METRIC_COUNTER, 1},
        {13, "node_disk_discarded_sectors_total", "Sectors discarded.", METRIC_COUNTER, 1},
        {14, "node_disk_discard_time_seconds_total", "Seconds spent by all discards.", METRIC_COUNTER, .001},
        {15, "node_disk_flush_requests_total", "Flushes completed.", METRIC_COUNTER, 1},
        {16, "node_disk_flush_requests_time_seconds_total", "Seconds spent by all flushes.", METRIC_COUNTER, .001},
    };
    struct str text, line, major, minor, name, w;
    struct disk *disks = (struct disk *)(void *)h->scratch;
    _Static_assert(sizeof(struct disk) * DISKS <= HOST_SCRATCH, "scratch too small");
    size_t n = 0;
    if (!host_read(h, 'p', "diskstats", &text))
        return false;
    while (n < DISKS && str_line(&text, &line)) {
        struct disk *d = &disks[n];
        if (!host_word(&line, &major) || !host_word(&line, &minor) || !host_word(&line, &name) ||
            name.n >= sizeof(d->name) || skip_device(name))
            continue;
        (void)snprintf(d->name, sizeof(d->name), STR_FMT, STR_ARG(name));
        (void)snprintf(d->major, sizeof(d->major), STR_FMT, STR_ARG(str_sub(major, 0, 11)));
        (void)snprintf(d->minor, sizeof(d->minor), STR_FMT, STR_ARG(str_sub(minor, 0, 11)));
        for (d->n = 0; d->n < FIELDS && host_word(&line, &w); d->n++)
            d->v[d->n] = host_num(w);
        n++;
    }
    if (n)
        host_family(h, "node_disk_info", "What a disk is.", METRIC_GAUGE);
    for (size_t i = 0; i < n; i++) {
        const char *keys[5] = {"ID_MODEL", "ID_PATH", "ID_REVISION", "ID_SERIAL_SHORT", "ID_WWN"};
        char v[5][128];
        udev(h, &disks[i], keys, v);
        const struct metric_label l[] = {{STR("device"), str_of(disks[i].name)},
                                         {STR("major"), str_of(disks[i].major)},
                                         {STR("minor"), str_of(disks[i].minor)},
                                         {STR("model"), str_of(v[0])},
                                         {STR("path"), str_of(v[1])},
                                         {STR("revision"), str_of(v[2])},
                                         {STR("serial"), str_of(v[3])},
                                         {STR("wwn"), str_of(v[4])}};
        h->out->sample(h->out, STR(""), l, ARRAY_LEN(l), 1);
    }
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        bool said = false;
        for (size_t i = 0; i < n; i++) {
            if (disks[i].n <= (size_t)rows[k].field)
                continue; /* an older kernel */
            if (!said)
                host_family(h, rows[k].name, rows[k].help, rows[k].type);
            said = true;
            host_sample1(h, "device", str_of(disks[i].name), disks[i].v[rows[k].field] * rows[k].scale);
        }
    }
    return true;
}

/* --- filesystems --- */

static bool under(struct str path, const char *dir)
{
    struct str d = str_of(dir);
    return str_starts(path, d) && (path.n == d.n || path.p[d.n] == '/');
}

static bool under_deeper(struct str path, const char *dir)
{
    return str_starts(path, str_of(dir)) && path.n > strlen(dir) + 1 && path.p[strlen(dir)] == '/';
}

static bool skip_mount(struct str m)
{
    return under(m, "/dev") || under(m, "/proc") || under(m, "/sys") || under_deeper(m, "/run/credentials") ||
           under_deeper(m, "/var/lib/docker") || under_deeper(m, "/var/lib/containers/storage");
}

static bool skip_type(struct str t)
{
    static const char *const types[] = {"autofs",     "binfmt_misc", "bpf",       "cgroup",   "cgroup2",   "configfs",
                                        "debugfs",    "devpts",      "devtmpfs",  "fusectl",  "hugetlbfs", "iso9660",
                                        "mqueue",     "nsfs",        "overlay",   "proc",     "procfs",    "pstore",
                                        "rpc_pipefs", "securityfs",  "selinuxfs", "squashfs", "sysfs",     "tracefs"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eqz(t, types[i]))
            return true;
    return false;
}

static bool is_remote(struct str t)
{
    static const char *const types[] = {"nfs",  "nfs4",      "cifs", "smb3", "smbfs",
                                        "ceph", "glusterfs", "afs",  "9p",   "lustre"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eqz(t, types[i]))
            return true;
    return str_starts(t, STR("fuse.")) || str_eqz(t, "fuse");
}

/* Octal escapes of /proc/mounts: blank, tab, newline, backslash. */
static void unescape(struct str s, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n + 1 < cap; i++) {
        if (s.p[i] == '\\' && i + 3 < s.n && s.p[i + 1] >= '0' && s.p[i + 1] <= '3') {
            out[n++] = (char)((s.p[i + 1] - '0') * 64 + (s.p[i + 2] - '0') * 8 + (s.p[i + 3] - '0'));
            i += 3;
        } else {
            out[n++] = s.p[i];
        }
    }
    out[n] = 0;
}

static void measure(const char *rootfs, struct host_filesystem *f)
{
    char path[1024];
    struct statvfs st;
    (void)snprintf(path, sizeof(path), "%s%s", rootfs, f->mount); /* a cut path gives an error, which is told */
    if (statvfs(path, &st) < 0) {
        f->error = true;
        return;
    }
    f->error = false;
    f->size = (double)st.f_blocks * (double)st.f_frsize;
    f->free = (double)st.f_bfree * (double)st.f_frsize;
    f->avail = (double)st.f_bavail * (double)st.f_frsize;
    f->files = (double)st.f_files;
    f->files_free = (double)st.f_ffree;
}

/* The thread for remote filesystems: one question at a time; while it hangs, all remote ones count as not answering. It
 * shares `q` only while `busy`, so a hung thread can be left behind at the end. */
struct slow_mounts {
    struct host_filesystem q;
    char rootfs[512];
    sem_t asked, answered;
    _Atomic bool busy, quit;
};

static void *slow_thread(void *arg)
{
    struct slow_mounts *s = arg;
    for (;;) {
        while (sem_wait(&s->asked) < 0 && errno == EINTR)
            ;
        if (atomic_load(&s->quit))
            break;
        measure(s->rootfs, &s->q);
        atomic_store(&s->busy, false);
        (void)sem_post(&s->answered); /* one question, one answer */
    }
    free(s);
    return NULL;
}

void host_slow_mounts_free(struct slow_mounts *s)
{
    if (!s)
        return;
    atomic_store(&s->quit, true);
    (void)sem_post(&s->asked); /* it frees itself, now or when the filesystem answers */
}

static void measure_remote(struct host *h, struct host_filesystem *f)
{
    struct slow_mounts *s = h->slow;
    f->error = true;
    if (!s) {
        pthread_t t;
        pthread_attr_t attr;
        s = NEW(struct slow_mounts);
        (void)snprintf(s->rootfs, sizeof(s->rootfs), "%s", h->rootfs);
        (void)sem_init(&s->asked, 0, 0);    /* cannot fail for 0 */
        (void)sem_init(&s->answered, 0, 0); /* likewise */
        (void)pthread_attr_init(&attr);
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        (void)pthread_attr_setstacksize(&attr, 128 << 10);
        int r = pthread_create(&t, &attr, slow_thread, s);
        (void)pthread_attr_destroy(&attr);
        if (r) {
            free(s);
            return;
        }
        h->slow = s;
    }
    if (atomic_load(&s->busy))
        return; /* still hanging in an earlier question */
    while (sem_trywait(&s->answered) == 0)
        ; /* an answer that came too late */
    s->q = *f;
    atomic_store(&s->busy, true);
    (void)sem_post(&s->asked); /* one question */
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail */
    until.tv_nsec += 300 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (sem_timedwait(&s->answered, &until) < 0)
        if (errno != EINTR)
            return;
    *f = s->q;
}

bool host_filesystem(struct host *h)
{
    enum { MOUNTS = 256 };
    static const struct {
        size_t at;
        const char *name, *help;
    } rows[] = {
        {offsetof(struct host_filesystem, size), "node_filesystem_size_bytes", "Size of a filesystem."},
        {offsetof(struct host_filesystem, free), "node_filesystem_free_bytes", "Free space of a filesystem."},
        {offsetof(struct host_filesystem, avail), "node_filesystem_avail_bytes",
         "Free space of a filesystem for others than root."},
        {offsetof(struct host_filesystem, files), "node_filesystem_files", "File nodes of a filesystem."},
        {offsetof(struct host_filesystem, files_free), "node_filesystem_files_free",
         "Free file nodes of a filesystem."},
    };
    _Static_assert(sizeof(struct host_filesystem) * MOUNTS <= HOST_SCRATCH, "scratch too small");
    struct host_filesystem *fs = (struct host_filesystem *)(void *)h->scratch;
    struct str text, line, device, mount, type, options;
    size_t n = 0;
    if (!host_read(h, 'p', "1/mounts", &text) && !host_read(h, 'p', "self/mounts", &text))
        return false;
    while (n < MOUNTS && str_line(&text, &line)) {
        struct host_filesystem *f = &fs[n];
        if (!host_word(&line, &device) || !host_word(&line, &mount) || !host_word(&line, &type) ||
            !host_word(&line, &options))
            continue;
        *f = (struct host_filesystem){.error = false};
        unescape(device, f->device, sizeof(f->device));
        unescape(mount, f->mount, sizeof(f->mount));
        unescape(type, f->type, sizeof(f->type));
        if (skip_mount(str_of(f->mount)) || skip_type(str_of(f->type)))
            continue;
        struct str o;
        while (!str_empty(options)) {
            str_cut(options, ',', &o, &options);
            f->readonly |= str_eqz(o, "ro");
        }
        bool twice = false;
        for (size_t i = 0; i < n; i++)
            twice |= strcmp(fs[i].device, f->device) == 0 && strcmp(fs[i].mount, f->mount) == 0 &&
                     strcmp(fs[i].type, f->type) == 0;
        if (twice)
            continue;
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_remote(str_of(fs[i].type)))
            measure_remote(h, &fs[i]);
        else
            measure(h->rootfs, &fs[i]);
    }
    for (size_t k = 0; k < ARRAY_LEN(rows) + 2; k++) {
        bool flag = k >= ARRAY_LEN(rows), error = k == ARRAY_LEN(rows);
        bool said = false;
        for (size_t i = 0; i < n; i++) {
            const struct metric_label l[] = {{STR("device"), str_of(fs[i].device)},
                                             {STR("fstype"), str_of(fs[i].type)},
                                             {STR("mountpoint"), str_of(fs[i].mount)}};
            if (!error && fs[i].error)
                continue;
            if (!said && !flag)
                host_family(h, rows[k].name, rows[k].help, METRIC_GAUGE);
            else if (!said)
                host_family(h, error ? "node_filesystem_device_error" : "node_filesystem_readonly",
                            error ? "Whether a filesystem could not be asked." : "Whether a filesystem is read-only.",
                            METRIC_GAUGE);
            said = true;
            double v = error  ? fs[i].error
                       : flag ? fs[i].readonly
                              : *(const double *)(const void *)((const char *)&fs[i] + rows[k].at);
            h->out->sample(h->out, STR(""), l, ARRAY_LEN(l), v);
        }
    }
    return true;
}
