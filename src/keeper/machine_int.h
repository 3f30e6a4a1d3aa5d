// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The life of one supervised process as a pure state machine: no clock, no process, no file of its own. What it wants
 * done goes through a struct machine_ops, so the test walks it in simulated time. Diagram in machine.c. */
#include "control/control.h"
#include <stdint.h>

enum machine_event {
    ME_START,        /* the user wants it running */
    ME_STOP,         /* the user wants it stopped */
    ME_RESTART,      /* stopped if it runs, then running */
    ME_DELETE,       /* stopped, then forgotten */
    ME_READY,        /* the launched process is ready */
    ME_SPAWN_FAILED, /* it could not be executed */
    ME_EXITED,       /* the main process ended (struct machine_exit) */
    ME_TIMER,        /* the timer set through ops->timer ran out */
    ME_COUNT
};

struct machine_policy {
    bool autorestart;
    bool never_give_up; /* the server: max_restarts does not apply */
    uint32_t max_restarts;
    uint64_t min_uptime_ms, restart_delay_ms, backoff_ms, kill_timeout_ms;
    int kill_signal;
    const int *stop_exit_codes;
    size_t n_stop_exit_codes;
};

#define MACHINE_BACKOFF_MS 100         /* first step when the application names none */
#define MACHINE_BACKOFF_MAX_MS 15000   /* as pm2's exponential back-off */
#define MACHINE_BACKOFF_RESET_MS 30000 /* an uptime that forgives everything, as pm2's */
#define MACHINE_POLL_MS 100            /* while stopping: look again whether the tree is gone (pm2's kill_retry_time) */

struct machine_exit {
    bool known; /* false: it was not our child (adopted), nobody told us */
    int code, signal;
};

struct machine;
struct machine_ops {
    uint64_t (*now_ms)(void *ctx); /* monotonic */
    /* Start the process. true: running (ready = also ready at once); false: the machine is told ME_SPAWN_FAILED. */
    bool (*launch)(void *ctx, bool *ret_ready);
    /* Signal the whole tree (0: only look); how many members live. */
    size_t (*signal_tree)(void *ctx, int signum);
    void (*timer)(void *ctx, uint64_t after_ms); /* one shot, replaces the former */
    void (*timer_stop)(void *ctx);
    /* Something to tell: the machine is already in the state that follows. */
    void (*note)(void *ctx, enum control_event e);
    void (*deleted)(void *ctx); /* last call; the machine may be freed inside */
};

enum machine_want { WANT_STOPPED, WANT_RUNNING, WANT_DELETED };

struct machine {
    enum control_state state;
    enum machine_want want;    /* while STOPPING: what comes afterwards */
    bool main_alive;           /* the main process has not been reaped */
    bool by_user;              /* this launch was asked for: a failure is final at once */
    bool killed;               /* SIGKILL has been sent */
    uint64_t started_ms;       /* monotonic, of the present or last process */
    uint64_t stop_deadline_ms; /* monotonic */
    uint64_t backoff_ms;       /* next waiting time; 0 = restart at once */
    uint64_t delay_ms;         /* what the present WAITING waits */
    uint32_t restarts, unstable;
    struct machine_exit exit; /* of the last process */
    bool has_exit;
    uint64_t exit_uptime_ms;
    const struct machine_policy *policy;
    const struct machine_ops *ops;
    void *ctx;
};

void machine_init(struct machine *m, const struct machine_policy *p, const struct machine_ops *ops, void *ctx);
/* Enter ONLINE with a process that runs already (adoption); started_ms may lie before now. */
void machine_adopt(struct machine *m, uint64_t started_ms);
/* Feed one event. x only for ME_EXITED. The machine may be gone afterwards when its deleted() ran. */
void machine_feed(struct machine *m, enum machine_event e, const struct machine_exit *x);
/* The reaction of one cell of the table; for the test that walks it. */
enum machine_cell { CELL_ACTS, CELL_IGNORES, CELL_IMPOSSIBLE };
enum machine_cell machine_cell(enum control_state s, enum machine_event e);
void machine_check(const struct machine *m);
