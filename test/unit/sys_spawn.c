// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "sys/spawn.h"
#include "base/mem.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const plain_env[] = {"PATH=/usr/bin:/bin", NULL};

/* Run to the end, with what it wrote to stdout. */
static int run(const struct spawn_spec *proto, char *out, size_t size)
{
    int p[2], status;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    struct spawn_spec s = *proto;
    s.out_fd = p[1];
    pid_t pid;
    struct err e = {0};
    int r = spawn_start(&s, &pid, &e);
    close(p[1]);
    if (r < 0) {
        close(p[0]);
        snprintf(out, size, "%s", e.msg);
        return r;
    }
    size_t n = 0;
    ssize_t got;
    while ((got = read(p[0], out + n, size - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = 0;
    close(p[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void test_runs(void **state)
{
    (void)state;
    char out[4096];
    char *argv[] = {"sh", "-c", "echo $0 $V; pwd; exit 7", NULL};
    char *envp[] = {"PATH=/nowhere:/usr/bin:/bin", "V=1", NULL};
    struct spawn_spec s = {.file = "sh", .argv = argv, .envp = envp, .cwd = "/usr", .in_fd = -1, .err_fd = -1};
    assert_int_equal(run(&s, out, sizeof(out)), 7);
    assert_string_equal(out, "sh 1\n/usr\n");
}

static void test_failures_have_words(void **state)
{
    (void)state;
    char out[4096];
    char *argv[] = {"x", NULL};
    struct spawn_spec s = {.file = "/no/such/program", .argv = argv, .envp = plain_env, .in_fd = -1, .err_fd = -1};
    assert_int_equal(run(&s, out, sizeof(out)), -ENOENT);
    assert_non_null(strstr(out, "/no/such/program"));
    s.file = "no-such-program-either";
    assert_int_equal(run(&s, out, sizeof(out)), -ENOENT);
    s.file = "/etc";
    assert_int_equal(run(&s, out, sizeof(out)), -EACCES);
    s.file = "/bin/true";
    s.cwd = "/no/such/folder";
    assert_int_equal(run(&s, out, sizeof(out)), -ENOENT);
    assert_non_null(strstr(out, "/no/such/folder"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing left to reap */
}

/* Neither our descriptors, nor our signal settings, nor our group reach the child. Signals 32 and 33 belong to the C
 * library, which lets nobody change them: whatever runs the tests may have them ignored. */
static void test_inherits_nothing(void **state)
{
    (void)state;
    char out[4096];
    int leak = open("/dev/null", O_RDONLY); /* on purpose without O_CLOEXEC */
    assert_true(dup2(leak, 50) == 50);
    signal(SIGPIPE, SIG_IGN);
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &old);
    char *argv[] = {
        "sh", "-c",

        "ls /proc/$$/fd | tr '\\n' ' '; for f in Blk Ign; do m=$(sed -n \"s/^Sig$f:.//p\" /proc/self/status); "
        "printf '%016x ' $((0x$m & ~0x180000000)); done; "
        "read p n s pp g r < /proc/$$/stat; [ $g = $$ ] && echo own group",
        NULL};
    struct spawn_spec s = {.file = "/bin/sh", .argv = argv, .envp = plain_env, .in_fd = -1, .err_fd = -1};
    assert_int_equal(run(&s, out, sizeof(out)), 0);
    assert_string_equal(out, "0 1 2 0000000000000000 0000000000000000 own group\n");
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, SIG_DFL);
    close(leak);
    close(50);
}

static void test_proc(void **state)
{
    (void)state;
    struct proc_stat s;
    assert_true(proc_read(getpid(), &s));
    assert_int_equal(s.ppid, getppid());
    assert_int_equal(s.pgrp, getpgrp());
    assert_true(s.start_ticks > 0 && s.rss_bytes > 100000 && s.threads == 1);
    assert_int_equal(proc_start_ticks(getpid()), s.start_ticks);
    assert_false(proc_read(0x3fffffff, &s));
    assert_int_equal(proc_start_ticks(0x3fffffff), 0);
    uint8_t boot[16], zero[16] = {0};
    proc_boot_id(boot);
    assert_memory_not_equal(boot, zero, 16);
}

static void count_marked(void *ctx, pid_t pid, struct str value)
{
    (void)pid;
    assert_str(value, "tree-1");
    ++*(int *)ctx;
}

static void test_tree(void **state)
{
    (void)state;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* A child, one of another session, and one whose parents are gone. */
    char *argv[] = {"sh", "-c", "sleep 100 & setsid sleep 100 & (setsid sh -c 'sleep 100 & sleep 100 &' &) ; wait",
                    NULL};
    char *envp[] = {"PATH=/usr/bin:/bin", "MARK=tree-1", NULL};
    struct spawn_spec s = {.file = "/bin/sh", .argv = argv, .envp = envp, .in_fd = -1, .out_fd = -1, .err_fd = -1};
    pid_t pid;
    struct err e = {0};
    assert_int_equal(spawn_start(&s, &pid, &e), 0);
    struct proc_tree whole = {.root = pid, .marker = "MARK=tree-1"},
                     other = {.root = 0, .marker = "MARK=tree-11", .everywhere = true};
    for (int i = 0; i < 200 && proc_tree_signal(&whole, 0) < 5; i++)
        usleep(10000);
    usleep(100000);
    assert_int_equal(proc_tree_signal(&whole, 0), 5);
    assert_int_equal(proc_tree_signal(&other, SIGKILL), 0); /* a longer mark is another mark */
    int n = 0;
    proc_each_marked("MARK=tree-", count_marked, &n);
    assert_int_equal(n, 5);
    int fd = spawn_pidfd(pid);
    assert_true(fd >= 0);
    proc_tree_signal(&whole, SIGKILL);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    close(fd);
    for (int i = 0; i < 200 && proc_tree_signal(&whole, 0) > 0; i++)
        usleep(10000);
    assert_int_equal(proc_tree_signal(&whole, 0), 0);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    assert_int_equal(spawn_pidfd(pid), -ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_failures_have_words),
        cmocka_unit_test(test_inherits_nothing),
        cmocka_unit_test(test_proc),
        cmocka_unit_test(test_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
