// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Availability figures by service and period, computed from the journal: uptime, MTTD, MTTA, MTTR, MTBF, with the
 * incidents behind each number.
 *
 * An incident is an anomaly that took the service away: loss "total" or "partial", or loss not filled in and severity
 * critical. Loss "none" never counts. It lasts from the anomaly's start (its first alert's) to its stabilisation (all
 * its alerts ended, or a person said so), else its resolution, else now. Critical alerts that no anomaly holds count
 * the same way. Time under `up == 0` counts through those alerts; avail_up() measures it beside, from the samples.
 *
 * Over a period T with n incidents [s, e], clipped to the period, overlapping ones merged for time (not for n):
 *   downtime = |union of [s, e]|          uptime = (T - downtime) / T
 *   MTTD = mean(detected - started)       MTTA = mean(acknowledged - detected), over the acknowledged ones
 *   MTTR = mean(e - s), over the ended ones    resolution = mean(resolved - detected)
 *   MTBF = (T - downtime) / n             n = 0: "at least T", never infinite, never 0
 * Durations are those of whole incidents, also where the period cuts them. T begins no earlier than hune's first event.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "codec/json.h"
#include "model/event.h"
#include "model/query.h"

struct avail_incident {
    struct str id, title, service; /* anomaly number, or alert fingerprint */
    enum severity severity;
    bool ongoing, automatic;
    int64_t started_ms, detected_ms, acknowledged_ms, ended_ms, resolved_ms; /* 0 = not yet */
    int64_t down_ms;                                                         /* within the period, not merged */
};

struct avail_stat { /* milliseconds; all 0 when n = 0 */
    size_t n;
    int64_t mean_ms, median_ms, p90_ms;
};

struct avail_span {
    int64_t from_ms, to_ms;
};

struct avail_report {
    struct str service;       /* empty = every service together */
    int64_t from_ms, to_ms;   /* asked for, `to` no later than now */
    int64_t observed_from_ms; /* where T begins */
    int64_t period_ms, downtime_ms;
    double uptime_ratio; /* 1 when T is 0 */
    struct avail_stat mttd, mtta, mttr, resolution;
    int64_t mtbf_ms;
    bool mtbf_at_least;                     /* n = 0: "at least" mtbf_ms = T */
    size_t n_automatic;                     /* incidents detected by hune before a person reported them */
    size_t n_anomalies, n_resolved;         /* all sheets of the period, counted or not */
    const struct avail_incident *incidents; /* by start */
    size_t n_incidents;
    const struct avail_span *down; /* merged, clipped */
    size_t n_down;
};

struct avail_objectives { /* shown beside the measured figures; MISSION's defaults */
    double uptime_ratio;
    int64_t mttd_ms, mttr_ms, resolution_ms, mtbf_ms;
    double detection_ratio;
};
extern const struct avail_objectives avail_objectives_default;

struct avail;
struct avail *avail_new(struct journal *j, const struct clock *c); /* borrowed */
struct avail *avail_free(struct avail *a);
/* Any thread. to_ms 0 = now; from_ms 0 = 30 days before `to`. In the arena. 0; -EINVAL when from >= to; -errno. */
MUST_USE int avail_report(struct avail *a, struct str service, int64_t from_ms, int64_t to_ms, struct arena *arena,
                          struct avail_report *ret);
/* Names of services with any record, sorted. In the arena. */
MUST_USE int avail_services(struct avail *a, struct arena *arena, struct str **ret, size_t *ret_n);
/* Share of samples of `up{job="SERVICE"}` that were 1 in the period (mean over its targets), straight from the store;
 * NaN without any. 0, a query_error or -errno. */
MUST_USE int avail_up(struct query_engine *q, struct str service, int64_t from_ms, int64_t to_ms, double *ret,
                      struct err *e);
/* Figures, objectives, formulas, incidents. o NULL = defaults. */
void avail_json(struct jw *w, const struct avail_report *r, const struct avail_objectives *o);
/* hune_service_uptime_ratio, hune_service_mttr_seconds ... over the last 30 days, by service. */
void avail_collect(void *avail, struct metrics_out *out);
