// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Between apps.c (session, lists, acts), lines.c (log lines in memory and on disk) and usage.c (what a process tree
 * uses). */
#include "apps/apps.h"
#include "base/vec.h"
#include <pthread.h>
#include <sys/types.h>

/* The newest lines of one application, oldest dropped first. */
struct ring {
    struct ring_line {
        uint64_t n;
        int64_t t_ms;
        int stream;
        char *text;
        size_t len;
    } * v;
    size_t cap, first, n, bytes;
};
void ring_push(struct ring *r, uint64_t n, int64_t t_ms, int stream, struct str text);
static inline const struct ring_line *ring_at(const struct ring *r, size_t i)
{
    return &r->v[(r->first + i) % r->cap];
}
void ring_done(struct ring *r);

/* The last `limit` lines of the file that end before `before` (0 = the end); copied into the arena. */
MUST_USE int lines_read(const char *path, uint64_t before, size_t limit, struct arena *a, struct str **ret,
                        size_t *ret_n, uint64_t *ret_from);
/* The rotated file number `rotation` counted from the newest (1), of NAME.log: NAME.SEQ.log. malloc'd, or NULL. */
char *lines_rotated(const char *path, unsigned rotation);

struct usage {
    double cpu_seconds;
    int64_t rss_bytes;
    uint32_t processes;
};
/* The process and all its living descendants, from /proc. false when it is gone. */
bool usage_of(pid_t pid, struct usage *ret);

struct proc {
    uint32_t id, instance, instances;
    char *name, *namespace_, *script, *interpreter, *cwd, *out_file, *err_file, *text;
    enum control_state state;
    pid_t pid;
    uint64_t restarts, unstable, log_lines;
    int64_t created_ms, started_ms;
    bool exited;
    int exit_code, exit_signal;
    struct ring ring;
    struct usage usage;
    uint64_t usage_ns; /* when taken, 0 = never */
    pid_t usage_pid;
    double cpu_ratio;
    bool listed; /* told in the present session */
};
