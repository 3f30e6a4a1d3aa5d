// SPDX-License-Identifier: Apache-2.0
/* Ten applications fail and recover at random for days; rules and notifier are stopped and started at random moments,
 * receivers fail. In the end each failure long enough to fire must have been told, its end too, and nothing told twice
 * beyond what a crash allows. */
#include "world.h"
#include "base/log.h"
#include "codec/json.h"
#include "notify/notify.h"

#define APPS 10
#define DAYS 3
#define STEP_MS 15000

static const char rule_text[] = "groups: [{name: g, interval: 15s, rules: [{alert: Down, expr: 'up == 0', for: 1m, "
                                "labels: {severity: critical}}]}]";
static const char notify_text[] =
    "route: {receiver: r, group_by: [app], group_wait: 5s, group_interval: 30s, repeat_interval: 4h}\n"
    "receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]\n";

struct incident {
    int64_t from, to; /* to 0: still down */
    int fired, resolved;
};

struct app {
    bool down;
    int64_t until;
    struct incident *v;
    size_t n, cap;
};

struct story {
    struct sim sim;
    struct app apps[APPS];
    struct rand_state rnd;
    struct notify *notify;

    struct notify_job *waiting[64];
    size_t n_waiting, messages, failed, restarts;
    char dir[512];
};

static struct story *story;

/* The webhook's side: look into the JSON for each alert. */
static void receive(struct story *s, struct str body)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    const struct json *o;
    struct err e = {0};
    assert_int_equal(json_parse(body, a, &o, &e), 0);
    const struct json *alerts = json_get(o, "alerts");
    for (size_t i = 0; i < alerts->n; i++) {
        const struct json *x = &alerts->items[i], *labels = json_get(x, "labels");
        struct str name = json_str(labels, "app", STR("?"));
        struct app *app = &s->apps[name.p[3] - '0'];
        bool firing = str_eqz(json_str(x, "status", STR("")), "firing");
        /* the newest incident that could be meant: begun before now */
        if (firing)
            app->v[app->n - 1].fired++;
        else
            for (size_t k = app->n; k-- > 0;)
                if (app->v[k].to) {
                    app->v[k].resolved++;
                    break;
                }
    }
}

static void send_now(struct notify_transport *t, const struct notify_message *m, struct notify_job *job)
{
    (void)t;
    struct story *s = story;
    s->messages++;
    bool fails = rand_below(&s->rnd, 10) == 0;
    if (fails)
        s->failed++;
    else
        receive(s, m->body);
    s->waiting[s->n_waiting++] = (struct notify_job *)((uintptr_t)job | (uintptr_t)fails);
}

static void cancel(struct notify_transport *t, struct notify_job *job)
{
    (void)t;
    for (size_t i = 0; i < story->n_waiting; i++)
        if (((uintptr_t)story->waiting[i] & ~(uintptr_t)1) == (uintptr_t)job)
            story->waiting[i] = story->waiting[--story->n_waiting];
}

static void deliver(struct story *s)
{
    while (s->n_waiting) {
        uintptr_t p = (uintptr_t)s->waiting[--s->n_waiting];
        struct notify_result r = {.ok = !(p & 1), .status = p & 1 ? 503 : 200, .retry = true};
        notify_job_done((struct notify_job *)(p & ~(uintptr_t)1), &r);
    }
}

static void nothing(struct notify_transport *t)
{
    (void)t;
}

static void poll_none(struct notify_transport *t, int ms)
{
    (void)t;
    (void)ms;
}

/* Power is never cut here, only processes: syncing is left out so that days pass in seconds. */
static int no_sync(const struct vfs *v, int fd)
{
    (void)v;
    (void)fd;
    return 0;
}

static int no_sync_dir(const struct vfs *v, const char *path)
{
    (void)v;
    (void)path;
    return 0;
}

static struct vfs fast;

static void open_notify(struct story *s)
{
    fast = vfs_real;
    fast.fsync = no_sync;
    fast.sync_dir = no_sync_dir;
    struct notify_config *c = NULL;
    struct err e = {0};
    if (notify_config_parse(str_of(notify_text), "am.yml", ".", NULL, NULL, &c, &e))
        fail_msg("%s", e.msg);
    static struct notify_transport t = {
        .send = send_now, .cancel = cancel, .poll = poll_none, .wake = nothing, .free = nothing};
    struct notify_options o = {
        .clock = &s->sim.clock.clock, .vfs = &fast, .dir = s->dir, .transport = &t, .journal = NULL};
    if (notify_open(&o, c, &s->notify, &e))
        fail_msg("%s", e.msg);
    s->sim.sinks[0] = notify_alert_sink(s->notify);
    s->sim.n_sinks = 1;
}

static void restart(struct story *s)
{
    s->restarts++;
    s->sim.rules = rules_free(s->sim.rules);
    notify_close(s->notify); /* messages on their way are cut: their answer is never seen */
    clock_fake_advance(&s->sim.clock, (int64_t)rand_below(&s->rnd, 20000));
    open_notify(s);
    sim_rules(&s->sim, rule_text);
}

static void change(struct story *s, struct app *a)
{
    int64_t now = s->sim.clock.ms;
    if (now < a->until)
        return;
    if (a->down) {
        a->v[a->n - 1].to = now;
        a->down = false;
        a->until = now + 600000 + (int64_t)rand_below(&s->rnd, 7200000);
        return;
    }
    a->down = true;
    a->until = now + 300000 + (int64_t)rand_below(&s->rnd, 1800000);
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 16;
        a->v = xrealloc(a->v, a->cap * sizeof(*a->v));
    }
    a->v[a->n++] = (struct incident){.from = now};
}

static void days_of_trouble(void **state)
{
    (void)state;
    static struct story s;
    story = &s;
    char tsdb[512];
    log_setup(LOG_ERROR + 1, LOG_LOGFMT, "sim");
    rand_seed(&s.rnd, test_seed());
    snprintf(tsdb, sizeof(tsdb), "%s/tsdb", test_dir());
    snprintf(s.dir, sizeof(s.dir), "%s/notify", test_dir());
    sim_open(&s.sim, tsdb);
    open_notify(&s);
    sim_rules(&s.sim, rule_text);
    for (size_t i = 0; i < APPS; i++)
        s.apps[i].until = s.sim.clock.ms + (int64_t)rand_below(&s.rnd, 3600000);
    int64_t end = s.sim.clock.ms + (int64_t)DAYS * 86400000, quiet = end + 1800000;
    while (s.sim.clock.ms < quiet) {
        clock_fake_advance(&s.sim.clock, STEP_MS);
        for (size_t i = 0; i < APPS; i++) {
            if (s.sim.clock.ms < end || s.apps[i].down)
                change(&s, &s.apps[i]);
            char name[8];
            snprintf(name, sizeof(name), "app%zu", i);
            sim_sample(&s.sim, "up", "app", name, s.apps[i].down ? 0 : 1);
        }
        rules_step(s.sim.rules);
        for (int k = 0; k < 3; k++) {
            (void)notify_step(s.notify);
            if (rand_below(&s.rnd, 400) == 0 && s.sim.clock.ms < end)
                restart(&s); /* possibly between a message and its answer */
            deliver(&s);
        }
        if (s.sim.clock.ms % 3600000 < STEP_MS)
            assert_int_equal(tsdb_tick(s.sim.db), 0);
    }
    size_t incidents = 0, lost = 0, unresolved = 0, twice = 0;
    for (size_t i = 0; i < APPS; i++)
        for (size_t k = 0; k < s.apps[i].n; k++) {
            const struct incident *x = &s.apps[i].v[k];
            incidents++;
            lost += !x->fired;
            unresolved += x->to && !x->resolved;
            twice += x->fired > 1;
        }
    print_message(
        "%zu incidents, %zu messages, %zu failed, %zu restarts: %zu lost, %zu without end, %zu told more than once\n",
        incidents, s.messages, s.failed, s.restarts, lost, unresolved, twice);
    assert_true(incidents > 100);
    assert_int_equal(lost, 0);
    assert_int_equal(unresolved, 0);
    assert_true(twice <= s.restarts); /* at most the one in flight per crash */
    s.sim.rules = rules_free(s.sim.rules);
    notify_close(s.notify);
    sim_close(&s.sim);
    for (size_t i = 0; i < APPS; i++)
        free(s.apps[i].v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(days_of_trouble)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
