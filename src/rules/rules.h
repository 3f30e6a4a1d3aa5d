// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Recording and alerting rules in Prometheus' rule file format. Files are read into an immutable `struct rules_config`;
 * a `struct rules` evaluates one at a time on its own thread (or step by step under a fake clock), writes results,
 * ALERTS and ALERTS_FOR_STATE to a sink, emits alert.pending|firing|resolved, and hands alerts to alert sinks.
 * Behaviour follows Prometheus 3.x (docs/configuration/{recording,alerting}_rules.md). */
#include "base/clock.h"
#include "base/metrics.h"
#include "config/config.h"
#include "model/alert.h"
#include "model/event.h"
#include "model/query.h"
#include "model/sink.h"

/* ---- files ---- */

struct rules_config; /* immutable, holds its own memory */

/* Syntax check of an expression: 0, or non-zero with "line:col: parse error: ..." (position within the expression) in
 * *e. */
typedef int (*rules_check_expr_fn)(struct str expr, struct err *e);

struct rules_file {   /* a file on disk, or text already in memory */
    const char *path; /* as shown; read from disk when text.p is NULL */
    struct str text;
};

/* Read and check. Every problem of every file is reported to `report` (may be NULL) as "file:line:col: ..."; the first
 * one is in *e. default_interval_ms, default_offset_ms: of groups that set none. 0 with *ret owned by the caller;
 * -EINVAL; -errno. */
struct rules_load {
    const struct rules_file *files;
    size_t n_files;
    int64_t default_interval_ms, default_offset_ms;
    rules_check_expr_fn check_expr; /* may be NULL: not checked */
    void (*report)(void *ctx, const char *file, const char *problem);
    void *ctx;
};
MUST_USE int rules_config_load(const struct rules_load *l, struct rules_config **ret, struct err *e);
struct rules_config *rules_config_free(struct rules_config *c);
size_t rules_config_count(const struct rules_config *c); /* rules in all groups */
/* Expand the globs of `rule_files` (relative to dir) into paths, in order, without doubles; array and strings in the
 * arena. */
MUST_USE int rules_glob(const char *dir, const struct config_strs *patterns, struct arena *a, struct rules_file **ret,
                        size_t *ret_n);

/* What `promtool check rules` prints: "Checking FILE" then "  SUCCESS: N rules found" or "  FAILED:" and the problems.
 * Returns the exit code: 0, 1, or 3 when lint findings are fatal. */
struct rules_check {
    const char *const *paths; /* none: standard input text in `stdin_text` */
    size_t n_paths;
    struct str stdin_text;
    rules_check_expr_fn check_expr;
    bool lint_duplicates, lint_fatal;
};
int rules_check(const struct rules_check *c, struct buf *out, struct buf *err_out);

/* The rules shipped inside the binary: name ("machine.yml"), text. Ends with a NULL path. */
extern const struct rules_file rules_shipped[];

/* ---- evaluation ---- */

struct rules_deps { /* copied; what it points to is borrowed until rules_free, except the array of alert sinks */
    const struct clock *clock;
    struct query_engine *query;
    struct sink *sink;
    struct journal *journal;    /* may be NULL */
    struct alert_sink **alerts; /* notifier inside, forwarder ... */
    size_t n_alerts;
};

struct rules_settings {      /* copied by rules_apply */
    struct str external_url; /* without trailing slash */
    struct labels external_labels;
    int64_t resend_delay_ms;     /* --rules.alert.resend-delay, 1m */
    int64_t outage_tolerance_ms; /* --rules.alert.for-outage-tolerance, 1h */
    int64_t grace_period_ms;     /* --rules.alert.for-grace-period, 10m */
};
extern const struct rules_settings rules_settings_default;

struct rules;
struct rules *rules_new(const struct rules_deps *deps);
struct rules *rules_free(struct rules *r); /* stops the thread first */
MUST_USE int rules_start(struct rules *r); /* the evaluation thread; not with rules_step() */
void rules_stop(struct rules *r);          /* waits for the running evaluation; nothing is marked stale */
/* Take a new configuration (owned by r from now on). Groups whose file, name and content are unchanged keep their
 * timers and alerts; alerts of rules with the same name and labels in changed groups are carried over; series of rules
 * that vanished get stale markers at their group's next turn. Any thread. */
void rules_apply(struct rules *r, struct rules_config *c, const struct rules_settings *s);
/* Evaluate what is due now; returns milliseconds until the next group is due (INT64_MAX: none). For tests with a fake
 * clock. */
int64_t rules_step(struct rules *r);
/* Evaluate every group once at time ts_ms, whatever its timer says (for `hune test rules`, previews). */
void rules_eval_all(struct rules *r, int64_t ts_ms);

/* ---- listing, for the API; copies into the arena; any thread ---- */

enum rule_health { RULE_UNKNOWN, RULE_OK, RULE_ERR };
extern const char *const rule_health_names[]; /* "unknown", "ok", "err" */
enum rule_state { RULE_INACTIVE, RULE_PENDING, RULE_FIRING };
extern const char *const rule_state_names[]; /* "inactive", "pending", "firing" */

struct rule_alert_view {
    struct labels labels, annotations;
    enum rule_state state;                                   /* pending or firing */
    int64_t active_at_ms, fired_at_ms, keep_firing_since_ms; /* 0 = none */
    double value;
};

struct rule_view {
    bool alerting;
    struct str name, expr;
    struct labels labels, annotations; /* as written */
    int64_t for_ms, keep_firing_for_ms;
    enum rule_state state; /* the worst of its alerts */
    enum rule_health health;
    struct str last_error;
    int64_t last_eval_ms;                 /* 0 = never */
    double eval_s;                        /* seconds of the last evaluation */
    const struct rule_alert_view *alerts; /* pending and firing */
    size_t n_alerts;
};

struct rule_group_view {
    struct str name, file;
    int64_t interval_ms, limit, query_offset_ms, last_eval_ms;
    double eval_s;
    const struct rule_view *rules;
    size_t n_rules;
};

void rules_view(struct rules *r, struct arena *a, struct rule_group_view **ret, size_t *ret_n);
void rules_collect(void *rules, struct metrics_out *out); /* prometheus_rule_*; register with metrics_add_collector */
