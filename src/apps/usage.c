// SPDX-License-Identifier: Apache-2.0
/* What a process and its descendants use (proc(5), Linux 5.x): /proc/PID/stat fields 14-17 and 24, children from
 * /proc/PID/task/TID/children. */
#include "apps/apps_int.h"

#include "base/parse.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TREE_MAX 1024 /* processes of one application that are looked at */

static ssize_t read_small(const char *path, char *buf, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t r = read(fd, buf, n - 1);
    close(fd);
    if (r >= 0)
        buf[r] = 0;
    return r;
}

static bool add_stat(pid_t pid, struct usage *u)
{
    char path[64], buf[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    ssize_t n = read_small(path, buf, sizeof(buf));
    if (n <= 0)
        return false;
    struct str rest = str_make(buf, (size_t)n), word;
    ptrdiff_t paren = str_rchr(rest, ')'); /* the name before may hold anything */
    if (paren < 0)
        return false;
    rest = str_trim(str_sub(rest, (size_t)paren + 1, rest.n));
    uint64_t ticks = 0, pages = 0;
    for (int field = 3; rest.n; field++) {
        (void)str_cut(rest, ' ', &word, &rest);
        uint64_t v = 0;
        if (field == 3 && str_eqz(word, "Z"))
            return false;
        if (((field >= 14 && field <= 17) || field == 24) && parse_u64(word, &v)) {
            /* Time of children that were waited for is in 16 and 17: so the sum does not fall when a worker ends. */
            ticks += field == 24 ? 0 : v;
            pages = field == 24 ? v : pages;
        }
        if (field == 24)
            break;
    }
    u->cpu_seconds += (double)ticks / (double)sysconf(_SC_CLK_TCK);
    u->rss_bytes += (int64_t)pages * sysconf(_SC_PAGESIZE);
    u->processes++;
    return true;
}

/* Children of every thread: whichever forked is their parent's entry. */
static void push_children(pid_t pid, pid_t *queue, size_t *n)
{
    char path[96], buf[4096];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t tid;
        if (!parse_u64(str_of(e->d_name), &tid))
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%llu/children", (int)pid, (unsigned long long)tid);
        if (read_small(path, buf, sizeof(buf)) <= 0)
            continue;
        struct str rest = str_of(buf), word;
        while (rest.n && *n < TREE_MAX) {
            (void)str_cut(rest, ' ', &word, &rest);
            uint64_t child;
            if (parse_u64(str_trim(word), &child) && child > 0 && child < (1u << 30))
                queue[(*n)++] = (pid_t)child;
        }
    }
    closedir(d);
}

bool usage_of(pid_t pid, struct usage *ret)
{
    struct usage u = {0};
    pid_t queue[TREE_MAX];
    size_t n = 0;
    queue[n++] = pid;
    for (size_t i = 0; i < n; i++) {
        if (!add_stat(queue[i], &u) && i == 0)
            return false;
        push_children(queue[i], queue, &n);
    }
    *ret = u;
    return true;
}
