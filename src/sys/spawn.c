// SPDX-License-Identifier: Apache-2.0
#include "sys/spawn.h"

#include "base/mem.h"
#include "base/parse.h"
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- start ---- */

/* What the child writes into a close-on-exec pipe when a step fails; nothing arrives when exec succeeds. */
struct child_failure {
    int err;
    char step[12];
};

static _Noreturn void child_fail(int report_fd, const char *step)
{
    struct child_failure f = {.err = errno};
    memcpy(f.step, step, MIN(strlen(step), sizeof(f.step) - 1));
    ssize_t r = write(report_fd, &f, sizeof(f));
    (void)r; /* the parent is gone: nobody to tell */
    _exit(127);
}

static const char *env_get(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; envp[i]; i++)
        if (strncmp(envp[i], name, n) == 0 && envp[i][n] == '=')
            return envp[i] + n + 1;
    return NULL;
}

/* exec along the child's own PATH (execvpe would take the parent's). Returns with errno set. */
static void exec_search(const struct spawn_spec *s)
{
    if (strchr(s->file, '/')) {
        execve(s->file, s->argv, s->envp);
        return;
    }
    const char *path = env_get(s->envp, "PATH");
    struct str rest = str_of(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;
    int seen = ENOENT;
    for (bool more = true; more;) {
        more = str_cut(rest, ':', &dir, &rest);
        char full[4096];
        int n = snprintf(full, sizeof(full), STR_FMT "/%s", dir.n ? (int)dir.n : 1, dir.n ? dir.p : ".", s->file);
        if (n < 0 || (size_t)n >= sizeof(full))
            continue;
        execve(full, s->argv, s->envp);
        if (errno != ENOENT && errno != ENOTDIR)
            seen = errno; /* found but not runnable: say that, unless a later folder has it */
    }
    errno = seen;
}

static struct rlimit files_before;
static bool files_raised;

void spawn_raise_files(void)
{
    struct rlimit r;
    if (files_raised || getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    files_before = r;
    r.rlim_cur = r.rlim_max;
    files_raised = setrlimit(RLIMIT_NOFILE, &r) == 0;
}

static _Noreturn void child_run(const struct spawn_spec *s, int report_fd)
{
    setpgid(0, 0);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int want[3] = {s->in_fd, s->out_fd, s->err_fd};
    for (int i = 0; i < 3; i++)
        if (dup2(want[i] >= 0 ? want[i] : null_fd, i) < 0)
            child_fail(report_fd, "dup");
    /* Everything of ours is close-on-exec already; descriptors inherited from whoever started us are not. */
    if (report_fd > 3)
        close_range(3, (unsigned)report_fd - 1, 0);
    close_range((unsigned)report_fd + 1, ~0U, 0);
    if (files_raised)
        setrlimit(RLIMIT_NOFILE, &files_before);
    if (s->set_ids) {
        const struct passwd *pw = getpwuid(s->uid);
        if (pw ? initgroups(pw->pw_name, s->gid) != 0 : setgroups(0, NULL) != 0)
            child_fail(report_fd, "groups");
        if (setgid(s->gid) != 0)
            child_fail(report_fd, "group");
        if (setuid(s->uid) != 0)
            child_fail(report_fd, "user");
    }
    if (s->cwd && chdir(s->cwd) != 0)
        child_fail(report_fd, "folder");
    sigset_t none;
    sigemptyset(&none);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    exec_search(s);
    child_fail(report_fd, "exec");
}

int spawn_start(const struct spawn_spec *s, pid_t *ret_pid, struct err *e)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        int r = -errno;
        err_set(e, "pipe: %s", err_name(r));
        return r;
    }
    /* No signal of ours may reach a handler in the child before it has reset them. */
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0) {
        close(report[0]);
        child_run(s, report[1]);
    }
    int fork_errno = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        err_set(e, "fork: %s", err_name(-fork_errno));
        return -fork_errno;
    }
    setpgid(pid, pid); /* both sides, so that neither can be too late; fails harmlessly after the exec */
    struct child_failure f;
    ssize_t n;
    do
        n = read(report[0], &f, sizeof(f));
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == (ssize_t)sizeof(f)) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        f.step[sizeof(f.step) - 1] = 0;
        const char *what = strcmp(f.step, "folder") == 0 ? s->cwd : s->file;
        err_set(e, "%s %s: %s", f.step, what, err_name(-f.err));
        return -f.err;
    }
    *ret_pid = pid;
    return 0;
}

int spawn_pidfd(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    return fd < 0 ? -errno : fd;
}

/* ---- /proc ---- */

static ssize_t read_small(const char *path, char *p, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t n = 0;
    ssize_t got;
    while (n < size && (got = read(fd, p + n, size - n)) > 0)
        n += (size_t)got;
    close(fd);
    return (ssize_t)n;
}

bool proc_read(pid_t pid, struct proc_stat *ret)
{
    char path[32], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text)); /* one read gives the whole line; a scan does this for everybody */
    close(fd);
    if (n <= 0)
        return false;
    /* The command name stands in parentheses and may hold anything, also ')': fields count from the last one. */
    struct str rest = str_make(text, (size_t)n), field;
    ptrdiff_t close_paren = str_rchr(rest, ')');
    if (close_paren < 0)
        return false;
    rest = str_trim(str_sub(rest, (size_t)close_paren + 1, rest.n));
    struct proc_stat s = {.pid = pid};
    bool more = true;
    for (int i = 3; more && i <= 24; i++) { /* proc(5): field 3 is the state */
        more = str_cut(rest, ' ', &field, &rest);
        uint64_t v = 0;
        if (i == 3) {
            s.state = field.n ? field.p[0] : '?';
            continue;
        }
        if (!parse_u64(field, &v))
            continue; /* a negative number (tpgid, priority): none of ours */
        if (i == 4)
            s.ppid = (pid_t)v;
        else if (i == 5)
            s.pgrp = (pid_t)v;
        else if (i == 6)
            s.session = (pid_t)v;
        else if (i == 14 || i == 15)
            s.cpu_ticks += v;
        else if (i == 20)
            s.threads = (uint32_t)v;
        else if (i == 22)
            s.start_ticks = v;
        else if (i == 24)
            s.rss_bytes = v * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    *ret = s;
    return true;
}

uint64_t proc_start_ticks(pid_t pid)
{
    struct proc_stat s;
    return proc_read(pid, &s) && s.state != 'Z' && s.state != 'X' ? s.start_ticks : 0;
}

void proc_boot_id(uint8_t ret[16])
{
    char text[64];
    memset(ret, 0, 16);
    ssize_t n = read_small("/proc/sys/kernel/random/boot_id", text, sizeof(text));
    size_t k = 0;
    for (ssize_t i = 0; i < n && k < 32; i++) {
        char c = text[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0)
            continue;
        ret[k / 2] = (uint8_t)(ret[k / 2] << 4 | d);
        k++;
    }
}

/* Static scratch instead of the heap: the keeper allocates nothing per event, and there is one thread. */
static char scan_names[16384];
static char scan_env[128 << 10];

struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};

static void each_pid(void (*fn)(void *ctx, pid_t pid), void *ctx)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    long n;
    while ((n = syscall(SYS_getdents64, fd, scan_names, sizeof(scan_names))) > 0)
        for (long at = 0; at < n;) {
            const struct linux_dirent64 *d = (const void *)(scan_names + at);
            uint64_t pid;
            if (parse_u64(str_of(d->d_name), &pid))
                fn(ctx, (pid_t)pid);
            at += d->d_reclen;
        }
    close(fd);
}

/* The value of NAME=value in a process' environment that starts with `prefix`; false when not there or not ours to
 * read. */
static bool env_marked(pid_t pid, const char *prefix, struct str *ret_value)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    ssize_t n = read_small(path, scan_env, sizeof(scan_env));
    if (n <= 0)
        return false;
    struct str rest = str_make(scan_env, (size_t)n), var, want = str_of(prefix);
    for (bool more = true; more;) {
        more = str_cut(rest, 0, &var, &rest);
        if (str_starts(var, want)) {
            ptrdiff_t eq = str_chr(var, '=');
            *ret_value = str_sub(var, (size_t)(eq + 1), var.n);
            return eq >= 0;
        }
    }
    return false;
}

struct tree_scan {
    size_t n;
    pid_t self;
    struct {
        pid_t pid, ppid, pgrp, session;
        uint64_t start_ticks;
        bool member, looked;
    } p[PROC_TREE_MAX];
};
static struct tree_scan scan;

static void scan_add(void *ctx, pid_t pid)
{
    (void)ctx;
    struct proc_stat s;
    if (scan.n == PROC_TREE_MAX || pid == scan.self || !proc_read(pid, &s) || s.state == 'Z' || s.state == 'X')
        return;
    scan.p[scan.n].pid = pid;
    scan.p[scan.n].ppid = s.ppid;
    scan.p[scan.n].pgrp = s.pgrp;
    scan.p[scan.n].session = s.session;
    scan.p[scan.n].start_ticks = s.start_ticks;
    scan.p[scan.n].member = scan.p[scan.n].looked = false;
    scan.n++;
}

size_t proc_tree_signal(const struct proc_tree *t, int signum)
{
    scan.n = 0;
    scan.self = getpid();
    each_pid(scan_add, NULL);
    size_t before, members = 0;
    do {
        before = members;
        for (size_t i = 0; i < scan.n; i++) {
            if (scan.p[i].member)
                continue;
            bool in = t->root > 0 && (scan.p[i].pid == t->root || scan.p[i].pgrp == t->root ||
                                      scan.p[i].session == t->root || scan.p[i].ppid == t->root);
            for (size_t k = 0; !in && k < scan.n; k++)
                in = scan.p[k].member && scan.p[k].pid == scan.p[i].ppid;
            if (!in && t->marker && !scan.p[i].looked && (t->everywhere || scan.p[i].ppid == scan.self)) {
                scan.p[i].looked = true;
                struct str value, want = str_of(t->marker);
                ptrdiff_t eq = str_chr(want, '=');
                in = eq > 0 && env_marked(scan.p[i].pid, t->marker, &value) &&
                     str_eq(value, str_sub(want, (size_t)eq + 1, want.n));
            }
            if (in) {
                scan.p[i].member = true;
                members++;
            }
        }
    } while (members != before);
    if (signum)
        for (size_t i = 0; i < scan.n; i++)
            if (scan.p[i].member && proc_start_ticks(scan.p[i].pid) == scan.p[i].start_ticks)
                kill(scan.p[i].pid, signum);
    return members;
}

struct marked_ctx {
    const char *prefix;
    void (*fn)(void *ctx, pid_t pid, struct str value);
    void *ctx;
};

static void marked_look(void *ctx, pid_t pid)
{
    const struct marked_ctx *m = ctx;
    struct str value;
    if (pid != getpid() && env_marked(pid, m->prefix, &value) && proc_start_ticks(pid) != 0)
        m->fn(m->ctx, pid, value);
}

void proc_each_marked(const char *prefix, void (*fn)(void *ctx, pid_t pid, struct str value), void *ctx)
{
    struct marked_ctx m = {.prefix = prefix, .fn = fn, .ctx = ctx};
    each_pid(marked_look, &m);
}
