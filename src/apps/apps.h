// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Applications under the keeper as the server sees them: hune_app_* metrics, process.* events, live log lines. Talks to
 * the keeper through control/ on a loop of its own thread, which reconnects by itself; the keeper owns the processes,
 * this room only watches and passes on what people ask for. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "control/control.h"
#include "model/event.h"

struct apps_deps { /* borrowed until apps_free() */
    const struct clock *clock;
    struct journal *journal; /* may be NULL */
    const char *data_dir;    /* where the keeper's socket is */
};

struct apps;
struct apps *apps_new(const struct apps_deps *d);
/* Start the thread; from then on a session with the keeper is kept. 0 or -errno. */
MUST_USE int apps_start(struct apps *a);
struct apps *apps_free(struct apps *a); /* stops the thread */

/* One process. Strings in the caller's arena. */
struct app_view {
    uint32_t id; /* pm_id */
    uint32_t instance, instances;
    struct str name, namespace_, script, interpreter, cwd, out_file, err_file;
    struct str text; /* last reason told by the keeper */
    enum control_state state;
    int64_t pid; /* 0 = none */
    uint64_t restarts, unstable;
    int64_t created_ms, started_ms; /* started 0 = not running */
    int64_t uptime_ms;
    bool exited; /* the two below are known */
    int exit_code, exit_signal;
    double cpu_seconds; /* of the running process and its descendants, as of now */
    double cpu_ratio;   /* 1 = one whole core, over the last few seconds; -1 = not known yet */
    int64_t rss_bytes;  /* the whole tree */
    uint32_t processes; /* in the tree */
    uint64_t log_lines; /* seen since the server started */
};
/* Sorted by id. Any thread. */
void apps_list(struct apps *a, struct arena *arena, struct app_view **ret, size_t *ret_n);
bool apps_connected(struct apps *a); /* a keeper is there */

struct app_line {
    uint64_t n;   /* counts up over all applications: resume from here */
    int64_t t_ms; /* when the server read it; 0 = unknown (read back from a file) */
    uint32_t id;
    int stream; /* 1 stdout, 2 stderr */
    struct str name, text;
};
/* The newest lines with after_n < n, oldest first, at most `limit`; of one application by name or id ("api", "3"), or
 * of all when empty. From memory (limits app_log_lines, app_log_bytes). Any thread. */
void apps_log_tail(struct apps *a, struct str name, uint64_t after_n, size_t limit, struct arena *arena,
                   struct app_line **ret, size_t *ret_n);
/* Older lines out of the file the keeper writes: the last `limit` of the whole lines that end before `before` bytes (0
 * = the end). *ret_from is where they begin, to be given as `before` next (0 = the beginning of the file is reached).
 * Also reads FILE.1 ... when asked by `rotation` > 0. 0, -ENOENT, -errno. */
MUST_USE int apps_log_file(struct apps *a, uint32_t id, int stream, unsigned rotation, uint64_t before, size_t limit,
                           struct arena *arena, struct app_line **ret, size_t *ret_n, uint64_t *ret_from);

/* fn runs on the apps thread for every line and must be quick (queue it). Start-up only. */
void apps_subscribe_logs(struct apps *a, void (*fn)(void *ctx, const struct app_line *line), void *ctx);

/* Ask the keeper; blocks up to 10 s for its answer. actor goes to the journal (process.requested). 0; 1 = refused with
 * its words in *e; -EPIPE: no keeper; -ENOENT: no such application; -ETIMEDOUT. who: id, name, or "all". Not from the
 * apps thread. */
MUST_USE int apps_act(struct apps *a, enum control_action action, struct str who, struct str actor, struct err *e);

/* Tell the keeper what this server is doing (CS_ONLINE once it answers at `address`); kept and repeated after every
 * reconnect. Copied. Any thread. The keeper's news of an earlier server's death becomes the event server.died. */
void apps_report(struct apps *a, enum control_state state, struct str address, struct str text);

void apps_collect(void *apps, struct metrics_out *out); /* hune_app_*, hune_keeper_up */
