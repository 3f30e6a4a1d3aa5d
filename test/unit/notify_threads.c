// SPDX-License-Identifier: Apache-2.0
/* Alerts, silences, reloads and listings from several threads while the loop runs (for the thread sanitizer). */
#include "test.h"
#include "base/arena.h"
#include "notify/notify.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 40

struct slow { /* answers from poll, as the real one does */
    struct notify_transport base;
    int fd;
    struct notify_job *waiting[4096];
    size_t n;
    _Atomic size_t sent;
};

static void slow_send(struct notify_transport *t, const struct notify_message *m, struct notify_job *job)
{
    struct slow *s = (struct slow *)t;
    (void)m;
    s->waiting[s->n++] = job;
}

static void slow_poll(struct notify_transport *t, int timeout_ms)
{
    struct slow *s = (struct slow *)t;
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    uint64_t drop;
    if (!s->n && poll(&p, 1, timeout_ms) > 0 && read(s->fd, &drop, sizeof(drop)) < 0)
        fail();
    while (s->n) {
        struct notify_result r = {.ok = true, .status = 200};
        s->sent++;
        notify_job_done(s->waiting[--s->n], &r);
    }
}

static void slow_cancel(struct notify_transport *t, struct notify_job *job)
{
    (void)t;
    (void)job;
}

static void slow_wake(struct notify_transport *t)
{
    uint64_t one = 1;
    if (write(((struct slow *)t)->fd, &one, sizeof(one)) < 0)
        fail();
}

static void slow_free(struct notify_transport *t)
{
    (void)t;
}

static struct notify *the;
static struct slow slow = {
    .base = {.send = slow_send, .poll = slow_poll, .cancel = slow_cancel, .wake = slow_wake, .free = slow_free}};

static struct notify_config *config(void)
{
    struct notify_config *c = NULL;
    struct err e = {0};
    if (notify_config_parse(
            STR("route: {receiver: r, group_by: [a, i], group_wait: 1ms, group_interval: 50ms}\n"
                "receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]\n"
                "inhibit_rules: [{source_matchers: [a=\"0\"], target_matchers: [a=\"1\"], equal: [i]}]\n"),
            "am.yml", ".", NULL, NULL, &c, &e))
        fail_msg("%s", e.msg);
    return c;
}

static void *work(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct arena *a = arena_new(0);
        struct label l[] = {{STR("a"), arena_fmt(a, "%d", me)}, {STR("i"), arena_fmt(a, "%d", i % 10)}};
        struct alert x = {.labels = {.v = l, .n = 2}, .resolved = i % 3 == 2};
        struct alert_sink *s = notify_alert_sink(the);
        assert_int_equal(s->put(s, &x, 1), 0);
        struct notify_alert_view *v;
        struct notify_group_view *g;
        struct silence *list;
        size_t n;
        notify_alerts(the, a, &v, &n);
        notify_groups(the, a, &g, &n);
        notify_silences(the, a, &list, &n);
        if (i % 10 == 5) {
            struct matcher m = {.op = MATCH_EQ, .name = STR("a"), .value = l[0].value};
            int64_t now = clock_now_ms(&clock_real);
            struct silence sil = {
                .matchers = &m, .n_matchers = 1, .starts_ms = now, .ends_ms = now + 20, .created_by = STR("t")};
            char id[37];
            struct err e = {0};
            assert_int_equal(notify_silence_set(the, &sil, STR("t"), id, &e), 0);
        }
        if (me == 0 && i % 16 == 8)
            notify_apply(the, config());
        arena_free(a);
    }
    return NULL;
}

static void everything_at_once(void **state)
{
    (void)state;
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/threads", test_dir());
    slow.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct notify_options o = {.clock = &clock_real, .dir = dir, .transport = &slow.base};
    struct err e = {0};
    assert_int_equal(notify_open(&o, config(), &the, &e), 0);
    assert_int_equal(notify_start(the), 0);
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, work, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    usleep(300000);
    notify_close(the);
    assert_true(slow.sent > 10);
    close(slow.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
