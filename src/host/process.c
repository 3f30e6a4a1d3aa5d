// SPDX-License-Identifier: Apache-2.0
/* Process trees from one walk of /proc. */
#include "base/error.h"
#include "host/host_int.h"
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

struct proc {
    pid_t pid, parent;
    double cpu_s;
    uint64_t rss_pages, vsize, threads, start_ticks;
};

static bool read_stat(int dirfd, const char *name, double hz, struct proc *p)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof(path), "%s/stat", name); /* a pid is short */
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text));
    (void)close(fd); /* only read from */
    if (n <= 0)
        return false;
    struct str s = str_make(text, (size_t)n), w;
    ptrdiff_t close = str_rchr(s, ')'); /* the name may hold anything, brackets too */
    if (close < 0)
        return false;
    *p = (struct proc){.pid = (pid_t)host_num(str_of(name))};
    s = str_sub(s, (size_t)close + 1, s.n);
    for (int field = 3; field <= 24 && host_word(&s, &w); field++) { /* proc(5) */
        if (field == 4)
            p->parent = (pid_t)host_num(w);
        else if (field >= 14 && field <= 17) /* utime, stime and those of reaped children */
            p->cpu_s += host_num(w) / hz;
        else if (field == 20)
            p->threads = (uint64_t)host_num(w);
        else if (field == 22)
            p->start_ticks = (uint64_t)host_num(w);
        else if (field == 23)
            p->vsize = (uint64_t)host_num(w);
        else if (field == 24)
            p->rss_pages = (uint64_t)host_num(w);
    }
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct proc *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static const struct proc *find(const struct proc *v, size_t n, pid_t pid)
{
    struct proc key = {.pid = pid};
    return n ? bsearch(&key, v, n, sizeof(*v), by_pid) : NULL;
}

static uint64_t count_fds(int dirfd, pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "%d/fd", (int)pid);
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    uint64_t n = 0;
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    (void)closedir(d); /* only read from */
    return n;
}

static double boot_s(int dirfd)
{
    char text[65536];
    int fd = openat(dirfd, "stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    if (fd >= 0)
        (void)close(fd); /* only read from */
    struct str s = str_make(text, n > 0 ? (size_t)n : 0);
    ptrdiff_t at = str_find(s, STR("btime "));
    return at < 0 ? 0 : host_num(str_sub(s, (size_t)at + 6, s.n));
}

int host_process_sample(const char *procfs, const pid_t *pids, size_t n, struct host_process *out)
{
    DIR *d = opendir(procfs ? procfs : "/proc");
    if (!d)
        return -errno;
    double hz = (double)sysconf(_SC_CLK_TCK), boot = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    VEC(struct proc) all = {0};
    for (struct dirent *e; (e = readdir(d));) {
        struct proc p;
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && read_stat(dirfd(d), e->d_name, hz, &p))
            vec_push(&all, p);
    }
    if (all.n)
        qsort(all.v, all.n, sizeof(*all.v), by_pid);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct host_process){0};
    for (size_t k = 0; k < all.n; k++) {
        /* Up the line of parents to the first that was asked for; depth bounds a picture taken while pids were reused.
         */
        const struct proc *p = &all.v[k];
        pid_t up = p->pid;
        for (int depth = 0; depth < 64 && up > 0; depth++) {
            size_t i = 0;
            while (i < n && pids[i] != up)
                i++;
            if (i < n) {
                out[i].cpu_s += p->cpu_s;
                out[i].resident_bytes += p->rss_pages * page;
                out[i].virtual_bytes += p->vsize;
                out[i].threads += p->threads;
                out[i].processes++;
                break;
            }
            const struct proc *here = find(all.v, all.n, up);
            up = here ? here->parent : 0;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct proc *p = find(all.v, all.n, pids[i]);
        if (!p) {
            out[i] = (struct host_process){0};
            continue;
        }
        if (boot == 0)
            boot = boot_s(dirfd(d));
        out[i].start_ms = (int64_t)((boot + (double)p->start_ticks / hz) * 1000);
        out[i].open_fds = count_fds(dirfd(d), pids[i]);
    }
    vec_done(&all);
    (void)closedir(d); /* only read from */
    return 0;
}
