// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "sys/thread.h"
#include <poll.h>
#include <signal.h>

static bool fd_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void test_order_and_bound(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(3);
    int v[4] = {0};
    assert_false(fd_readable(mailbox_fd(m)));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(mailbox_post(m, &v[i]), 0);
        assert_int_equal(mailbox_post(m, &v[3]), -ENOBUFS);
        assert_true(fd_readable(mailbox_fd(m)));
        assert_ptr_equal(mailbox_take(m), &v[0]);
        assert_true(fd_readable(mailbox_fd(m)));
        assert_ptr_equal(mailbox_take(m), &v[1]);
        assert_ptr_equal(mailbox_wait(m, -1), &v[2]);
        assert_false(fd_readable(mailbox_fd(m)));
        assert_null(mailbox_take(m));
    }
    uint64_t t0 = clock_mono_ns(&clock_real);
    assert_null(mailbox_wait(m, 20));
    assert_true(clock_mono_ns(&clock_real) - t0 >= 19000000);
    assert_int_equal(mailbox_post(m, &v[1]), 0);
    mailbox_close(m);
    assert_int_equal(mailbox_post(m, &v[1]), -EPIPE);
    assert_ptr_equal(mailbox_wait(m, -1), &v[1]);
    assert_null(mailbox_wait(m, -1));
    assert_true(fd_readable(mailbox_fd(m)));
    mailbox_free(m);
}

enum { PRODUCERS = 4, EACH = 5000 };
static int tokens[PRODUCERS * EACH];
struct producer {
    struct mailbox *m;
    int first;
};

static void *produce(void *p)
{
    struct producer *a = p;
    for (int i = 0; i < EACH;)
        if (mailbox_post(a->m, &tokens[a->first + i]) == 0)
            i++;
    return NULL;
}

static void test_many_producers(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(64);
    pthread_t th[PRODUCERS];
    struct producer a[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) {
        a[i] = (struct producer){.m = m, .first = i * EACH};
        assert_int_equal(thread_start(&th[i], "producer-with-a-long-name", produce, &a[i]), 0);
    }
    int next[PRODUCERS] = {0};
    for (int got = 0; got < PRODUCERS * EACH; got++) {
        int *t = mailbox_wait(m, 10000);
        assert_non_null(t);
        int at = (int)(t - tokens), who = at / EACH;
        assert_int_equal(at % EACH, next[who]); /* each producer's order is kept */
        next[who]++;
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(th[i], NULL);
    mailbox_free(m);
}

static void *read_mask(void *p)
{
    pthread_sigmask(SIG_BLOCK, NULL, p);
    return NULL;
}

static void test_signals_blocked(void **state)
{
    (void)state;
    sigset_t mask;
    sigemptyset(&mask);
    pthread_t th;
    assert_int_equal(thread_start(&th, "mask", read_mask, &mask), 0);
    pthread_join(th, NULL);
    assert_int_equal(sigismember(&mask, SIGTERM), 1);
    assert_int_equal(sigismember(&mask, SIGCHLD), 1);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
    mailbox_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bound),
        cmocka_unit_test(test_many_producers),
        cmocka_unit_test(test_signals_blocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
