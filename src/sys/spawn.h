// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Child processes and the trees that grow from them. spawn_start() forks, so it is for single-threaded programs only
 * (the keeper). The rest reads /proc and may be called anywhere; it never allocates. */
#include "base/error.h"
#include "base/str.h"
#include <stdint.h>
#include <sys/types.h>

struct spawn_spec {
    const char *file;          /* looked up in the PATH of envp when it has no slash */
    char *const *argv;         /* NULL-terminated */
    char *const *envp;         /* NULL-terminated, the child's whole environment */
    const char *cwd;           /* NULL: the caller's */
    int in_fd, out_fd, err_fd; /* become 0, 1, 2; -1 = /dev/null. Must be >= 3 when given */
    bool set_ids;              /* root only: drop to uid, gid and the user's groups */
    uid_t uid;
    gid_t gid;
};

/* Start a child in a process group of its own, with default signals and no other descriptor. Returns after exec: 0 and
 * its pid, or -errno with the step that failed ("exec /x/y: No such file or directory") in *e. Blocks for the exec. */
MUST_USE int spawn_start(const struct spawn_spec *s, pid_t *ret_pid, struct err *e);

/* Use as many descriptors as the hard limit allows; children get the former soft limit back (select() breaks past
 * 1024). */
void spawn_raise_files(void);

/* A descriptor that is readable when the process has ended, or -errno (-ESRCH: no such process). */
MUST_USE int spawn_pidfd(pid_t pid);

/* What /proc says of one process. */
struct proc_stat {
    pid_t pid, ppid, pgrp, session;
    char state;           /* R S D T Z ... */
    uint64_t start_ticks; /* since boot: with the boot id, this names a process for ever */
    uint64_t cpu_ticks;   /* user + system */
    uint64_t rss_bytes;
    uint32_t threads;
};
bool proc_read(pid_t pid, struct proc_stat *ret); /* false when it does not exist */
/* The start time of a live (not zombie) process, or 0. */
uint64_t proc_start_ticks(pid_t pid);
/* Kernel's boot id as 16 raw bytes; zeros when unreadable. */
void proc_boot_id(uint8_t ret[16]);

/* Which processes belong together: the members of group `root` and session `root`, all descendants of `root`, and every
 * process whose environment holds exactly `marker` ("NAME=value"; NULL: not looked at). Those who lost their parents
 * are looked for among our own children, as a subreaper inherits them, or everywhere on request (slower). */
struct proc_tree {
    pid_t root;
    const char *marker;
    bool everywhere;
};

#define PROC_TREE_MAX 4096 /* processes looked at in one pass; more are caught by the next pass */

/* Send a signal to every live member; 0 only counts. Returns how many there were. Zombies are not counted, the calling
 * process never is. A tree that forks meanwhile needs another pass. O(processes on the machine). */
size_t proc_tree_signal(const struct proc_tree *t, int signum);
/* fn for every live process whose environment has NAME=value with this prefix ("HUNE_INSTANCE=abc"). */
void proc_each_marked(const char *prefix, void (*fn)(void *ctx, pid_t pid, struct str value), void *ctx);
