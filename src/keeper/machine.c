// SPDX-License-Identifier: Apache-2.0
#include "keeper/machine_int.h"

#include "base/mem.h"
#include <signal.h>

/*
 *                start: launch()             ready: went_online()
 *     STOPPED ------------------> LAUNCHING ---------------------> ONLINE
 *      ^  ^                       ^  |   |                          |  |
 *      |  |  start, timer:        |  |   | exited, spawn failed     |  | stop, restart, delete:
 *      |  |  launch()             |  |   | ended()                  |  | begin_stop()
 *      |  |                       |  |   v                   ended()|  |
 *      |  |   stop: to_stopped()  |  |  [restart?]<---------------- +  |
 *      |  +---------------------WAITING<--| yes                        |
 *      |  |                          |    | not wanted: STOPPED        |
 *      |  +-------ERRORED<-----------|----| too many: ERRORED          |
 *      |                             |                                 v
 *      +-----------------------------+------------------------------STOPPING
 *        gone: finish_stop() -> STOPPED, or launch() when a start came meanwhile, or deleted
 *
 * STOPPING: kill_signal to the whole tree; every MACHINE_POLL_MS look whether it is gone; after kill_timeout SIGKILL to
 * what is left, again and again until nothing is. A process is only launched when no member of the former tree lives.
 */

typedef void (*cell_fn)(struct machine *m, const struct machine_exit *x);

static void launch(struct machine *m);
static void finish_stop(struct machine *m);

void machine_check(const struct machine *m)
{
    ASSERT(m->state < CS_COUNT && m->policy && m->ops);
    ASSERT(!m->main_alive || m->state == CS_LAUNCHING || m->state == CS_ONLINE || m->state == CS_STOPPING);
    ASSERT(m->main_alive || (m->state != CS_ONLINE));
    ASSERT(m->backoff_ms <= MAX(MACHINE_BACKOFF_MAX_MS, m->policy->backoff_ms));
}

static void note(struct machine *m, enum control_event e)
{
    m->ops->note(m->ctx, e);
}

/* ---- starting ---- */

static void went_online(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->state = CS_ONLINE;
    note(m, CE_ONLINE);
}

static void launch(struct machine *m)
{
    bool ready = false;
    m->ops->timer_stop(m->ctx);
    m->state = CS_LAUNCHING;
    m->delay_ms = 0;
    m->killed = false;
    m->started_ms = m->ops->now_ms(m->ctx);
    m->main_alive = true;
    if (!m->ops->launch(m->ctx, &ready)) {
        m->main_alive = false;
        machine_feed(m, ME_SPAWN_FAILED, NULL);
        return;
    }
    note(m, CE_STARTED);
    if (ready)
        machine_feed(m, ME_READY, NULL);
}

static void start_by_user(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->by_user = true;
    m->unstable = 0;
    m->backoff_ms = 0;
    if (m->has_exit)
        m->restarts++;
    launch(m);
}

static void start_after_wait(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->by_user = false;
    m->restarts++;
    launch(m);
}

/* ---- ends nobody asked for ---- */

static bool is_stop_code(const struct machine *m)
{
    if (!m->exit.known || m->exit.signal)
        return false;
    for (size_t i = 0; i < m->policy->n_stop_exit_codes; i++)
        if (m->policy->stop_exit_codes[i] == m->exit.code)
            return true;
    return false;
}

/* How long to wait before the next start. The wait grows by half each time up to 15 s and is forgotten after 30 s of
 * uptime (pm2's numbers). Unlike pm2 it is on for everybody: a first failure after a stable run restarts at once, and
 * somebody who ran for a while never waits longer than half of that. */
static uint64_t next_delay(struct machine *m, uint64_t uptime_ms, bool stable)
{
    uint64_t first = m->policy->backoff_ms ? m->policy->backoff_ms : MACHINE_BACKOFF_MS;
    if (uptime_ms >= MACHINE_BACKOFF_RESET_MS)
        m->backoff_ms = 0;
    if (!stable && m->backoff_ms == 0)
        m->backoff_ms = first;
    uint64_t delay = m->backoff_ms;
    if (stable)
        delay = MIN(delay, uptime_ms / 2);
    m->backoff_ms = m->backoff_ms ? m->backoff_ms + m->backoff_ms / 2 : first;
    m->backoff_ms = MIN(m->backoff_ms, MAX(MACHINE_BACKOFF_MAX_MS, m->policy->backoff_ms));
    return MAX(delay, m->policy->restart_delay_ms);
}

static void wait_or_give_up(struct machine *m, uint64_t uptime_ms, enum control_event what)
{
    bool stable = what == CE_EXITED && uptime_ms >= m->policy->min_uptime_ms;
    m->unstable = stable ? 0 : m->unstable + 1;
    if (!m->policy->never_give_up && m->unstable >= MAX(m->policy->max_restarts, 1)) {
        m->state = CS_ERRORED;
        note(m, what);
        note(m, CE_GIVEN_UP);
        return;
    }
    m->delay_ms = next_delay(m, uptime_ms, stable);
    m->state = CS_WAITING;
    m->ops->timer(m->ctx, m->delay_ms);
    note(m, what);
}

static void spawn_failed(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->exit_uptime_ms = 0;
    /* Whoever asked for this start is waiting for the answer; a restart by itself may hit the moment in which a
     * deployment replaces the file, so it tries again. */
    if (m->by_user && !m->policy->never_give_up) {
        m->state = CS_ERRORED;
        note(m, CE_FAILED);
        return;
    }
    wait_or_give_up(m, 0, CE_FAILED);
}

static void record_exit(struct machine *m, const struct machine_exit *x)
{
    m->main_alive = false;
    m->exit = *x;
    m->has_exit = true;
    m->exit_uptime_ms = m->ops->now_ms(m->ctx) - m->started_ms;
}

static void ended(struct machine *m, const struct machine_exit *x)
{
    record_exit(m, x);
    m->ops->timer_stop(m->ctx);
    /* What the dead process left behind would hold its port or run twice. */
    m->ops->signal_tree(m->ctx, SIGKILL);
    if (!m->policy->autorestart || is_stop_code(m)) {
        m->state = CS_STOPPED;
        note(m, CE_EXITED);
        return;
    }
    wait_or_give_up(m, m->exit_uptime_ms, CE_EXITED);
}

/* ---- stopping ---- */

static void begin_stop(struct machine *m, enum machine_want want)
{
    m->want = want;
    m->state = CS_STOPPING;
    m->killed = false;
    m->stop_deadline_ms = m->ops->now_ms(m->ctx) + m->policy->kill_timeout_ms;
    note(m, CE_STOPPING);
    m->ops->signal_tree(m->ctx, m->policy->kill_signal);
    m->ops->timer(m->ctx, MIN(MACHINE_POLL_MS, m->policy->kill_timeout_ms));
}

static void stop_running(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    begin_stop(m, WANT_STOPPED);
}

static void restart_running(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    begin_stop(m, WANT_RUNNING);
}

static void delete_running(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    begin_stop(m, WANT_DELETED);
}

static void look_again(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    bool late = m->ops->now_ms(m->ctx) >= m->stop_deadline_ms;
    size_t left = m->ops->signal_tree(m->ctx, late ? SIGKILL : 0);
    if (left == 0 && !m->main_alive) {
        finish_stop(m);
        return;
    }
    if (late && left && !m->killed) {
        m->killed = true;
        note(m, CE_KILLED);
    }
    uint64_t to_deadline = late ? MACHINE_POLL_MS : m->stop_deadline_ms - m->ops->now_ms(m->ctx);
    m->ops->timer(m->ctx, MAX(MIN(MACHINE_POLL_MS, to_deadline), 1));
}

static void main_gone(struct machine *m, const struct machine_exit *x)
{
    record_exit(m, x);
    look_again(m, NULL);
}

static void finish_stop(struct machine *m)
{
    m->ops->timer_stop(m->ctx);
    m->state = CS_STOPPED;
    note(m, CE_STOPPED);
    if (m->want == WANT_DELETED) {
        note(m, CE_DELETED);
        m->ops->deleted(m->ctx);
    } else if (m->want == WANT_RUNNING) {
        start_by_user(m, NULL);
    }
}

/* A later wish while the tree is still going down replaces the earlier one; a deletion is final. */
static void then_start(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    if (m->want != WANT_DELETED)
        m->want = WANT_RUNNING;
}

static void then_stop(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    if (m->want != WANT_DELETED)
        m->want = WANT_STOPPED;
}

static void then_delete(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->want = WANT_DELETED;
}

/* ---- without a process ---- */

static void to_stopped(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->ops->timer_stop(m->ctx);
    m->state = CS_STOPPED;
    m->delay_ms = 0;
    m->unstable = 0;
    m->backoff_ms = 0;
    note(m, CE_STOPPED);
}

static void delete_now(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    m->ops->timer_stop(m->ctx);
    m->state = CS_STOPPED;
    note(m, CE_DELETED);
    m->ops->deleted(m->ctx);
}

static void ignore(struct machine *m, const struct machine_exit *x)
{
    (void)m;
    (void)x;
}

static void impossible(struct machine *m, const struct machine_exit *x)
{
    (void)x;
    BUG("state machine: event in state %s", control_state_names[m->state]);
}

/* Every cell is written down; the test walks them all. */
static const cell_fn cells[CS_COUNT][ME_COUNT] = {
    [CS_STOPPED] =
        {
            [ME_START] = start_by_user,
            [ME_STOP] = ignore,
            [ME_RESTART] = start_by_user,
            [ME_DELETE] = delete_now,
            [ME_READY] = ignore, /* a late word of a process that is gone */
            [ME_SPAWN_FAILED] = impossible,
            [ME_EXITED] = impossible,
            [ME_TIMER] = ignore,
        },
    [CS_LAUNCHING] =
        {
            [ME_START] = ignore,
            [ME_STOP] = stop_running,
            [ME_RESTART] = restart_running,
            [ME_DELETE] = delete_running,
            [ME_READY] = went_online,
            [ME_SPAWN_FAILED] = spawn_failed,
            [ME_EXITED] = ended,
            [ME_TIMER] = ignore,
        },
    [CS_ONLINE] =
        {
            [ME_START] = ignore,
            [ME_STOP] = stop_running,
            [ME_RESTART] = restart_running,
            [ME_DELETE] = delete_running,
            [ME_READY] = ignore,
            [ME_SPAWN_FAILED] = impossible,
            [ME_EXITED] = ended,
            [ME_TIMER] = ignore,
        },
    [CS_STOPPING] =
        {
            [ME_START] = then_start,
            [ME_STOP] = then_stop,
            [ME_RESTART] = then_start,
            [ME_DELETE] = then_delete,
            [ME_READY] = ignore,
            [ME_SPAWN_FAILED] = impossible,
            [ME_EXITED] = main_gone,
            [ME_TIMER] = look_again,
        },
    [CS_WAITING] =
        {
            [ME_START] = start_by_user,
            [ME_STOP] = to_stopped,
            [ME_RESTART] = start_by_user,
            [ME_DELETE] = delete_now,
            [ME_READY] = ignore,
            [ME_SPAWN_FAILED] = impossible,
            [ME_EXITED] = impossible,
            [ME_TIMER] = start_after_wait,
        },
    [CS_ERRORED] =
        {
            [ME_START] = start_by_user,
            [ME_STOP] = to_stopped,
            [ME_RESTART] = start_by_user,
            [ME_DELETE] = delete_now,
            [ME_READY] = ignore,
            [ME_SPAWN_FAILED] = impossible,
            [ME_EXITED] = impossible,
            [ME_TIMER] = ignore,
        },
};

enum machine_cell machine_cell(enum control_state s, enum machine_event e)
{
    ASSERT(s < CS_COUNT && e < ME_COUNT);
    cell_fn fn = cells[s][e];
    ASSERT(fn);
    return fn == ignore ? CELL_IGNORES : fn == impossible ? CELL_IMPOSSIBLE : CELL_ACTS;
}

void machine_init(struct machine *m, const struct machine_policy *p, const struct machine_ops *ops, void *ctx)
{
    *m = (struct machine){.state = CS_STOPPED, .policy = p, .ops = ops, .ctx = ctx};
}

void machine_adopt(struct machine *m, uint64_t started_ms)
{
    ASSERT(m->state == CS_STOPPED && !m->main_alive);
    m->state = CS_ONLINE;
    m->main_alive = true;
    m->started_ms = started_ms;
    note(m, CE_ADOPTED);
}

void machine_feed(struct machine *m, enum machine_event e, const struct machine_exit *x)
{
    ASSERT(m->state < CS_COUNT && e < ME_COUNT);
    ASSERT((e == ME_EXITED) == (x != NULL));
    machine_check(m);
    cells[m->state][e](m, x);
}
