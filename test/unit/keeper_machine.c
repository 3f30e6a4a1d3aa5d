// SPDX-License-Identifier: Apache-2.0
/* The life of a process, walked through in simulated time: every cell of the table, and the stories that matter. */
#include "test.h"

#include "keeper/machine_int.h"
#include <signal.h>
#include <string.h>

struct world {
    struct machine m;
    struct machine_policy policy;
    uint64_t now;
    uint64_t timer_at; /* 0 = off */
    size_t tree;       /* members alive */
    bool obeys;        /* a stop signal ends the tree */
    bool launch_ok, ready;
    int launches, deleted, last_signal, kills;
    int stop_codes[2];
    enum control_event notes[4096];
    size_t n_notes;
};

static uint64_t w_now(void *ctx)
{
    return ((struct world *)ctx)->now;
}

static bool w_launch(void *ctx, bool *ret_ready)
{
    struct world *w = ctx;
    assert_int_equal(w->tree, 0); /* never two of it */
    w->launches++;
    if (!w->launch_ok)
        return false;
    w->tree = 1;
    *ret_ready = w->ready;
    return true;
}

static size_t w_signal_tree(void *ctx, int signum)
{
    struct world *w = ctx;
    size_t n = w->tree;
    if (signum)
        w->last_signal = signum;
    if (signum == SIGKILL) {
        w->kills += n > 0;
        w->tree = 0;
    } else if (signum && w->obeys) {
        w->tree = 0;
    }
    return n;
}

static void w_timer(void *ctx, uint64_t after_ms)
{
    struct world *w = ctx;
    w->timer_at = w->now + after_ms + (after_ms == 0);
}

static void w_timer_stop(void *ctx)
{
    ((struct world *)ctx)->timer_at = 0;
}

static void w_note(void *ctx, enum control_event e)
{
    struct world *w = ctx;
    if (w->n_notes < 4096)
        w->notes[w->n_notes++] = e;
}

static void w_deleted(void *ctx)
{
    ((struct world *)ctx)->deleted++;
}

static const struct machine_ops ops = {
    .now_ms = w_now,
    .launch = w_launch,
    .signal_tree = w_signal_tree,
    .timer = w_timer,
    .timer_stop = w_timer_stop,
    .note = w_note,
    .deleted = w_deleted,
};

static struct world *fresh(void)
{
    static struct world w;
    w = (struct world){
        .now = 1000000,
        .obeys = true,
        .launch_ok = true,
        .ready = true,
        .policy = {.autorestart = true,
                   .max_restarts = 16,
                   .min_uptime_ms = 1000,
                   .kill_timeout_ms = 1600,
                   .kill_signal = SIGINT},
    };
    w.policy.stop_exit_codes = w.stop_codes;
    machine_init(&w.m, &w.policy, &ops, &w);
    return &w;
}

static void feed(struct world *w, enum machine_event e)
{
    machine_feed(&w->m, e, NULL);
}

static void dies(struct world *w, int code, int sig)
{
    w->tree -= w->tree > 0;
    struct machine_exit x = {.known = true, .code = code, .signal = sig};
    machine_feed(&w->m, ME_EXITED, &x);
}

/* Let time pass; timers fire. A stopped tree's main process is reaped like in life. */
static void pass(struct world *w, uint64_t ms)
{
    uint64_t end = w->now + ms;
    while (w->timer_at && w->timer_at <= end) {
        w->now = w->timer_at;
        w->timer_at = 0;
        feed(w, ME_TIMER);
    }
    w->now = end;
}

static bool noted(const struct world *w, enum control_event e)
{
    for (size_t i = 0; i < w->n_notes; i++)
        if (w->notes[i] == e)
            return true;
    return false;
}

/* Bring a fresh world into a state by a path that can really happen. */
static struct world *in_state(enum control_state s)
{
    struct world *w = fresh();
    switch (s) {
    case CS_STOPPED:
        break;
    case CS_LAUNCHING:
        w->ready = false;
        feed(w, ME_START);
        break;
    case CS_ONLINE:
        feed(w, ME_START);
        break;
    case CS_STOPPING:
        w->obeys = false;
        feed(w, ME_START);
        feed(w, ME_STOP);
        break;
    case CS_WAITING:
        feed(w, ME_START);
        dies(w, 1, 0);
        break;
    case CS_ERRORED:
        w->launch_ok = false;
        feed(w, ME_START);
        w->launch_ok = true;
        break;
    case CS_COUNT:
        break;
    }
    assert_int_equal(w->m.state, s);
    return w;
}

#define S(x) (1u << CS_##x)

/* Where each event may lead from each state (0: the table calls it impossible). */
static const unsigned leads_to[CS_COUNT][ME_COUNT] = {
    [CS_STOPPED] = {[ME_START] = S(ONLINE),
                    [ME_STOP] = S(STOPPED),
                    [ME_RESTART] = S(ONLINE),
                    [ME_DELETE] = S(STOPPED),
                    [ME_READY] = S(STOPPED),
                    [ME_TIMER] = S(STOPPED)},
    [CS_LAUNCHING] = {[ME_START] = S(LAUNCHING),
                      [ME_STOP] = S(STOPPING),
                      [ME_RESTART] = S(STOPPING),
                      [ME_DELETE] = S(STOPPING),
                      [ME_READY] = S(ONLINE),
                      [ME_SPAWN_FAILED] = S(ERRORED),
                      [ME_EXITED] = S(WAITING),
                      [ME_TIMER] = S(LAUNCHING)},
    [CS_ONLINE] = {[ME_START] = S(ONLINE),
                   [ME_STOP] = S(STOPPING),
                   [ME_RESTART] = S(STOPPING),
                   [ME_DELETE] = S(STOPPING),
                   [ME_READY] = S(ONLINE),
                   [ME_EXITED] = S(WAITING),
                   [ME_TIMER] = S(ONLINE)},
    [CS_STOPPING] = {[ME_START] = S(STOPPING),
                     [ME_STOP] = S(STOPPING),
                     [ME_RESTART] = S(STOPPING),
                     [ME_DELETE] = S(STOPPING),
                     [ME_READY] = S(STOPPING),
                     [ME_EXITED] = S(STOPPED),
                     [ME_TIMER] = S(STOPPING)},
    [CS_WAITING] = {[ME_START] = S(ONLINE),
                    [ME_STOP] = S(STOPPED),
                    [ME_RESTART] = S(ONLINE),
                    [ME_DELETE] = S(STOPPED),
                    [ME_READY] = S(WAITING),
                    [ME_TIMER] = S(ONLINE)},
    [CS_ERRORED] = {[ME_START] = S(ONLINE),
                    [ME_STOP] = S(STOPPED),
                    [ME_RESTART] = S(ONLINE),
                    [ME_DELETE] = S(STOPPED),
                    [ME_READY] = S(ERRORED),
                    [ME_TIMER] = S(ERRORED)},
};

static void test_every_cell(void **state)
{
    (void)state;
    for (int s = 0; s < CS_COUNT; s++)
        for (int e = 0; e < ME_COUNT; e++) {
            enum machine_cell cell = machine_cell((enum control_state)s, (enum machine_event)e);
            assert_int_equal(cell == CELL_IMPOSSIBLE, leads_to[s][e] == 0);
            if (cell == CELL_IMPOSSIBLE)
                continue;
            struct world *w = in_state((enum control_state)s);
            size_t notes = w->n_notes;
            if (e == ME_EXITED) {
                dies(w, 1, 0);
            } else if (e == ME_SPAWN_FAILED) { /* only ever fed from inside a launch */
                w->m.main_alive = false;
                feed(w, ME_SPAWN_FAILED);
            } else {
                feed(w, (enum machine_event)e);
            }
            machine_check(&w->m);
            if (!(leads_to[s][e] & 1u << w->m.state))
                fail_msg("%s + event %d leads to %s", control_state_names[s], e, control_state_names[w->m.state]);
            if (cell == CELL_IGNORES)
                assert_int_equal(w->n_notes, notes);
            assert_int_equal(w->deleted, e == ME_DELETE && s != CS_LAUNCHING && s != CS_ONLINE && s != CS_STOPPING);
        }
}

static void test_crash_loop_backs_off_and_ends(void **state)
{
    (void)state;
    struct world *w = fresh();
    feed(w, ME_START);
    uint64_t last = 0, waited = 0;
    int starts_in_12_s = 0;
    uint64_t begin = w->now;
    for (int i = 0; i < 15; i++) {
        w->now += 5;
        dies(w, 1, 0);
        assert_int_equal(w->m.state, CS_WAITING);
        assert_true(w->m.delay_ms >= last && w->m.delay_ms >= 100 && w->m.delay_ms <= 15000);
        last = w->m.delay_ms;
        waited += last;
        pass(w, last + 1);
        assert_int_equal(w->m.state, CS_ONLINE);
        starts_in_12_s += w->now - begin < 12000;
    }
    assert_true(starts_in_12_s <= 20);
    assert_true(waited > 60000);
    w->now += 5;
    dies(w, 1, 0);
    assert_int_equal(w->m.state, CS_ERRORED); /* the 16th in a row */
    assert_true(noted(w, CE_GIVEN_UP));
    assert_int_equal(w->m.restarts, 15);
    pass(w, 100000);
    assert_int_equal(w->launches, 16);
    feed(w, ME_START); /* the user may try again, with a clean slate */
    assert_int_equal(w->m.state, CS_ONLINE);
    assert_int_equal(w->m.unstable, 0);
}

static void test_stable_crash_restarts_at_once(void **state)
{
    (void)state;
    struct world *w = fresh();
    feed(w, ME_START);
    w->now += 5000;
    dies(w, 0, SIGSEGV);
    assert_int_equal(w->m.state, CS_WAITING);
    assert_int_equal(w->m.delay_ms, 0);
    pass(w, 2);
    assert_int_equal(w->m.state, CS_ONLINE);
    assert_int_equal(w->m.unstable, 0);
    /* Again and again, each after 2 s: waits grow, but never past half of its uptime, and it is never given up. */
    for (int i = 0; i < 100; i++) {
        w->now += 2000;
        dies(w, 1, 0);
        assert_int_equal(w->m.state, CS_WAITING);
        assert_true(w->m.delay_ms <= 1001);
        pass(w, w->m.delay_ms + 1);
    }
    w->now += 30000; /* a long run forgives */
    dies(w, 1, 0);
    assert_int_equal(w->m.delay_ms, 0);
}

static void test_never_give_up(void **state)
{
    (void)state;
    struct world *w = fresh();
    w->policy.never_give_up = true;
    feed(w, ME_START);
    for (int i = 0; i < 100; i++) {
        dies(w, 1, 0);
        assert_int_equal(w->m.state, CS_WAITING);
        pass(w, 15001);
    }
    assert_int_equal(w->m.state, CS_ONLINE);
    /* Its binary is being replaced just now: tried again, not given up. */
    dies(w, 1, 0);
    w->launch_ok = false;
    pass(w, 15001);
    assert_int_equal(w->m.state, CS_WAITING);
    assert_true(noted(w, CE_FAILED));
    w->launch_ok = true;
    pass(w, 15001);
    assert_int_equal(w->m.state, CS_ONLINE);
}

static void test_policies(void **state)
{
    (void)state;
    struct world *w = fresh();
    w->policy.autorestart = false;
    feed(w, ME_START);
    dies(w, 1, 0);
    assert_int_equal(w->m.state, CS_STOPPED);
    assert_true(noted(w, CE_EXITED));

    w = fresh();
    w->stop_codes[0] = 7;
    w->policy.n_stop_exit_codes = 1;
    feed(w, ME_START);
    dies(w, 7, 0);
    assert_int_equal(w->m.state, CS_STOPPED);
    feed(w, ME_START);
    dies(w, 0, SIGBUS); /* signal 7 is not exit code 7 */
    assert_int_equal(w->m.state, CS_WAITING);

    w = fresh();
    w->policy.restart_delay_ms = 3000;
    feed(w, ME_START);
    w->now += 60000;
    dies(w, 1, 0);
    assert_int_equal(w->m.delay_ms, 3000);

    w = fresh();
    w->policy.backoff_ms = 400;
    feed(w, ME_START);
    dies(w, 1, 0);
    assert_int_equal(w->m.delay_ms, 400);
    pass(w, 401);
    dies(w, 1, 0);
    assert_int_equal(w->m.delay_ms, 600);
}

static void test_stop_escalates(void **state)
{
    (void)state;
    struct world *w = fresh();
    w->obeys = false;
    feed(w, ME_START);
    w->tree = 4;
    feed(w, ME_STOP);
    assert_int_equal(w->last_signal, SIGINT);
    pass(w, 1500);
    assert_int_equal(w->kills, 0);
    assert_int_equal(w->m.state, CS_STOPPING);
    pass(w, 200);
    assert_int_equal(w->kills, 1);
    assert_true(noted(w, CE_KILLED));
    dies(w, 0, SIGKILL);
    assert_int_equal(w->m.state, CS_STOPPED);
    assert_false(noted(w, CE_EXITED)); /* it was asked for */
}

static void test_stop_waits_for_the_tree(void **state)
{
    (void)state;
    struct world *w = fresh();
    w->obeys = false;
    feed(w, ME_START);
    w->tree = 3;
    feed(w, ME_STOP);
    dies(w, 0, SIGINT); /* the main process obeys, two children do not */
    assert_int_equal(w->m.state, CS_STOPPING);
    pass(w, 300);
    assert_int_equal(w->m.state, CS_STOPPING);
    w->tree = 0;
    pass(w, 100);
    assert_int_equal(w->m.state, CS_STOPPED);
    assert_int_equal(w->kills, 0);
}

static void test_wishes_while_stopping(void **state)
{
    (void)state;
    struct world *w = in_state(CS_STOPPING);
    feed(w, ME_START);
    dies(w, 0, SIGINT);
    assert_int_equal(w->m.state, CS_ONLINE);
    assert_int_equal(w->launches, 2);

    w = in_state(CS_STOPPING);
    feed(w, ME_START);
    feed(w, ME_STOP);
    dies(w, 0, SIGINT);
    assert_int_equal(w->m.state, CS_STOPPED);

    w = in_state(CS_STOPPING);
    feed(w, ME_DELETE);
    feed(w, ME_START); /* too late */
    dies(w, 0, SIGINT);
    assert_int_equal(w->deleted, 1);
    assert_int_equal(w->launches, 1);
}

static void test_leftovers_end_before_a_restart(void **state)
{
    (void)state;
    struct world *w = fresh();
    feed(w, ME_START);
    w->tree = 5;
    dies(w, 1, 0); /* w_launch asserts that nothing of the old tree lives */
    pass(w, 200);
    assert_int_equal(w->m.state, CS_ONLINE);
    assert_int_equal(w->kills, 1);
}

static void test_adopted(void **state)
{
    (void)state;
    struct world *w = fresh();
    w->tree = 1;
    machine_adopt(&w->m, w->now - 50000);
    assert_int_equal(w->m.state, CS_ONLINE);
    assert_int_equal(w->launches, 0);
    w->tree = 0;
    machine_feed(&w->m, ME_EXITED, &(struct machine_exit){.known = false});
    assert_int_equal(w->m.delay_ms, 0);
    pass(w, 2);
    assert_int_equal(w->launches, 1);
}

/* Random walks: no sequence of events reaches an impossible cell, starts a double or breaks an invariant. */
static void test_random_walks(void **state)
{
    (void)state;
    struct rand_state r;
    rand_seed(&r, test_seed());
    for (unsigned round = 0; round < test_rounds(300); round++) {
        struct world *w = fresh();
        w->policy.max_restarts = (uint32_t)rand_below(&r, 5);
        w->policy.autorestart = rand_below(&r, 4) != 0;
        for (int i = 0; i < 200 && !w->deleted; i++) {
            w->launch_ok = rand_below(&r, 6) != 0;
            w->ready = rand_below(&r, 3) != 0;
            w->obeys = rand_below(&r, 2) != 0;
            switch (rand_below(&r, 8)) {
            case 0:
                feed(w, ME_START);
                break;
            case 1:
                feed(w, ME_STOP);
                break;
            case 2:
                feed(w, ME_RESTART);
                break;
            case 3:
                feed(w, ME_READY);
                break;
            case 4:
                if (w->m.main_alive)
                    dies(w, (int)rand_below(&r, 3), 0);
                break;
            case 5:
                if (w->tree == 0 && w->m.main_alive && w->m.state == CS_STOPPING)
                    dies(w, 0, SIGINT);
                break;
            case 6:
                pass(w, rand_below(&r, 20000));
                break;
            default:
                if (rand_below(&r, 20) == 0)
                    feed(w, ME_DELETE);
            }
            if (!w->deleted)
                machine_check(&w->m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_crash_loop_backs_off_and_ends),
        cmocka_unit_test(test_stable_crash_restarts_at_once),
        cmocka_unit_test(test_never_give_up),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_stop_escalates),
        cmocka_unit_test(test_stop_waits_for_the_tree),
        cmocka_unit_test(test_wishes_while_stopping),
        cmocka_unit_test(test_leftovers_end_before_a_restart),
        cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_random_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
