// SPDX-License-Identifier: Apache-2.0
/* Every call to the disk fails once: what was acknowledged is there after the next start, and the notifier recovers by
 * itself. */
#include "test.h"
#include "base/arena.h"
#include "notify/notify.h"
#include <errno.h>

static void none_send(struct notify_transport *t, const struct notify_message *m, struct notify_job *j)
{
    (void)t;
    (void)m;
    (void)j;
}
static void none_cancel(struct notify_transport *t, struct notify_job *j)
{
    (void)t;
    (void)j;
}
static void none(struct notify_transport *t)
{
    (void)t;
}
static struct notify_transport transport = {.send = none_send, .cancel = none_cancel, .wake = none, .free = none};

static struct notify *open_at(const struct vfs *v, const char *dir, const struct clock *c)
{
    struct notify *n = NULL;
    struct err e = {0};
    struct notify_options o = {.clock = c, .vfs = v, .dir = dir, .transport = &transport};
    return notify_open(&o, notify_config_default(), &n, &e) ? NULL : n;
}

static void every_call_fails_once(void **state)
{
    (void)state;
    struct clock_fake clock;
    clock_fake_init(&clock, INT64_C(1767323045000));
    bool done = false;
    for (long at = 1; at < 200 && !done; at++)
        for (int torn = 0; torn < 2; torn++) {
            char dir[600];
            snprintf(dir, sizeof(dir), "%s/f%ld%d", test_dir(), at, torn);
            struct vfs_fault f;
            vfs_fault_init(&f);
            f.fail_at = at;
            f.error = torn ? ENOSPC : EIO;
            f.short_write = torn;
            bool acked[6] = {0};
            char ids[6][37] = {{0}};
            struct notify *n = open_at(&f.vfs, dir, &clock.clock);
            for (int i = 0; n && i < 6; i++) {
                struct arena *a = arena_new(0);
                struct label l = {STR("alertname"), arena_fmt(a, "A%d", i)};
                struct alert x = {.labels = {.v = &l, .n = 1}, .ends_ms = clock.ms + 3600000};
                struct alert_sink *s = notify_alert_sink(n);
                struct matcher m = {.op = MATCH_EQ, .name = l.name, .value = l.value};
                struct silence sil = {.matchers = &m,
                                      .n_matchers = 1,
                                      .starts_ms = clock.ms,
                                      .ends_ms = clock.ms + 3600000,
                                      .created_by = STR("t")};
                struct err e = {0};
                acked[i] = s->put(s, &x, 1) == 0;
                if (notify_silence_set(n, &sil, STR("t"), ids[i], &e))
                    ids[i][0] = 0;
                arena_free(a);
            }
            done = f.calls < at; /* the fault lay beyond the last call */
            int refused = 0;
            for (int i = 0; n && i < 6; i++)
                refused += !acked[i] + !ids[i][0];
            assert_true(refused <= 1); /* one failure does not last */
            notify_close(n);
            n = open_at(NULL, dir, &clock.clock);
            assert_non_null(n);
            struct arena *a = arena_new(0);
            struct notify_alert_view *v;
            struct silence *list;
            size_t k, m;
            notify_alerts(n, a, &v, &k);
            notify_silences(n, a, &list, &m);
            for (int i = 0; i < 6; i++) {
                bool alert = false, silence = false;
                for (size_t q = 0; q < k; q++)
                    alert |= labels_get(v[q].alert.labels, STR("alertname")).p[1] == '0' + i;
                for (size_t q = 0; q < m; q++)
                    silence |= strcmp(list[q].id, ids[i]) == 0;
                if ((acked[i] && !alert) || (ids[i][0] && !silence))
                    fail_msg("call %ld failed: acknowledged record %d is gone", at, i);
            }
            arena_free(a);
            notify_close(n);
        }
    assert_true(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
