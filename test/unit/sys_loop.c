// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "sys/loop.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct seen {
    struct loop *l;
    struct loop_timer *t;
    struct loop_io *io;
    int ticks, posts, reads, hups, signals, fd;
};

static void tick(void *arg)
{
    struct seen *s = arg;
    if (++s->ticks == 3) {
        s->t = loop_timer_close(s->t); /* inside its own callback */
        loop_stop(s->l);
    }
}

static void test_timer(void **state)
{
    (void)state;
    struct seen s = {.l = loop_new()};
    s.t = loop_timer_new(s.l, tick, &s);
    uint64_t began = loop_now_ms(s.l);
    loop_timer_set(s.t, 10, 10);
    loop_run(s.l);
    assert_int_equal(s.ticks, 3);
    assert_true(loop_now_ms(s.l) - began >= 29);
    loop_free(s.l);
}

static void stop_it(void *arg)
{
    struct seen *s = arg;
    s->posts++;
    if (s->posts == 1000)
        loop_stop(s->l);
}

static void *poster(void *arg)
{
    struct seen *s = arg;
    for (int i = 0; i < 500; i++)
        loop_post(s->l, stop_it, s);
    return NULL;
}

static void test_post_from_threads(void **state)
{
    (void)state;
    struct seen s = {.l = loop_new()};
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, poster, &s), 0);
    loop_run(s.l);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(s.posts, 1000);
    loop_post(s.l, stop_it, &s); /* never run: released with the loop */
    loop_free(s.l);
}

static void on_io(void *arg, int events)
{
    struct seen *s = arg;
    char c[8];
    if (events & LOOP_READ) {
        ssize_t n = read(s->fd, c, 1);
        if (n == 1) {
            s->reads++;
            return;
        }
    }
    s->hups++;
    s->io = loop_io_close(s->io);
    loop_stop(s->l);
}

static void test_io_is_level_triggered(void **state)
{
    (void)state;
    struct seen s = {.l = loop_new()};
    int p[2];
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    s.fd = p[0];
    s.io = loop_io_new(s.l, p[0], on_io, &s);
    loop_io_set(s.io, LOOP_READ);
    assert_int_equal(write(p[1], "abcde", 5), 5);
    close(p[1]);
    loop_run(s.l);
    assert_int_equal(s.reads, 5); /* one byte a call, and called until it is empty */
    assert_int_equal(s.hups, 1);
    close(p[0]);
    loop_free(s.l);
}

static void on_signal(void *arg, int signum)
{
    struct seen *s = arg;
    assert_int_equal(signum, SIGUSR1);
    s->signals++;
    loop_stop(s->l);
}

static void test_signal(void **state)
{
    (void)state;
    struct seen s = {.l = loop_new()};
    struct loop_signal *g = loop_signal_new(s.l, SIGUSR1, on_signal, &s);
    kill(getpid(), SIGUSR1);
    loop_run(s.l);
    assert_int_equal(s.signals, 1);
    loop_signal_close(g);
    loop_free(s.l);
}

static void test_free_closes_what_is_open(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct seen s = {.l = l};
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    loop_timer_set(loop_timer_new(l, tick, &s), 100000, 0);
    loop_io_set(loop_io_new(l, p[0], on_io, &s), LOOP_READ);
    loop_signal_new(l, SIGUSR2, on_signal, &s);
    assert_null(loop_free(l));
    assert_null(loop_free(NULL));
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_post_from_threads),
        cmocka_unit_test(test_io_is_level_triggered),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_free_closes_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
