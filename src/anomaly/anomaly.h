// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Anomaly records (sheets ANO-YYYYMMDD-NNN; the day is UTC, NNN counts within it and is never used twice). They open by
 * themselves from alert.firing of severity critical or warning, join what is the same trouble, resolve when their
 * alerts end; people open, annotate, change, resolve, close and reopen them. Every change is one transaction with its
 * line of the timeline and its event (anomaly.opened|changed|resolved|closed|escalated).
 *
 * Nothing is lost: a thread pulls alert events from the journal and stores, in the same transaction as the record, the
 * number of the event it has handled; after kill -9 it goes on from there. */
#include "base/clock.h"
#include "base/metrics.h"
#include "codec/json.h"
#include "db/db.h"
#include "model/event.h"
#include "model/query.h"

enum anomaly_status { ANOMALY_OPEN, ANOMALY_IN_PROGRESS, ANOMALY_RESOLVED, ANOMALY_CLOSED, ANOMALY_STATUS_COUNT };
extern const char *const anomaly_status_names[]; /* "open", "in_progress", "resolved", "closed", NULL */
enum anomaly_category {
    ANOMALY_CAT_NONE,
    ANOMALY_PERFORMANCE,
    ANOMALY_SECURITY,
    ANOMALY_FUNCTIONALITY,
    ANOMALY_SYSTEM
};
extern const char *const anomaly_category_names[]; /* "", "performance", "security", "functionality", "system", NULL */
enum anomaly_detection { ANOMALY_AUTOMATIC, ANOMALY_MANUAL, ANOMALY_USER_REPORT };
extern const char *const anomaly_detection_names[]; /* "automatic", "manual", "user_report", NULL */
enum anomaly_loss { ANOMALY_LOSS_UNKNOWN, ANOMALY_LOSS_NONE, ANOMALY_LOSS_PARTIAL, ANOMALY_LOSS_TOTAL };
extern const char *const anomaly_loss_names[]; /* "", "none", "partial", "total", NULL */

#define ANOMALY_ID_BYTES 24 /* with its NUL */

struct anomaly_line { /* of the timeline */
    int64_t n, t_ms;
    struct str actor;
    struct str kind; /* opened, alert, alert_ended, note, changed, status, evidence, escalated */
    struct str text;
};

struct anomaly_alert {
    struct str fingerprint, name, labels, annotations, expr; /* labels, annotations: JSON objects */
    enum severity severity;
    int64_t started_ms, ended_ms; /* ended 0 = still firing */
    double value;                 /* NaN = unknown */
};

struct anomaly_evidence { /* frozen once taken; a later picture of the same expression stands beside it, not instead */
    int64_t n, t_ms;
    struct str expr;
    struct str measures; /* JSON: [{"name","unit","expr","op","threshold","points":[[t_ms,"value"],...]},...] */
};

/* A sheet. Strings live in the arena of the call that filled it; fields called JSON hold a document of that shape. */
struct anomaly {
    struct str id, title, description, symptoms, reproduction;
    int64_t severity; /* enum severity */
    int64_t priority; /* 1 (highest) to 5, 0 = not set; "P1".."P5" in JSON */
    int64_t category, status, detection, loss;
    struct str environment;         /* production, staging, development, or the team's own word */
    struct str service, components; /* components: JSON array of strings */
    struct str source;              /* alert, eslint, audit, lighthouse, test, support, user ... */
    struct str detected_by, assignee;
    int64_t users_affected;         /* -1 = unknown */
    struct str features, impact;    /* features that were lost; effect on users and business */
    struct str labels, annotations; /* JSON objects, of the alert that opened it */
    struct str alert;               /* its fingerprint */
    struct str metrics;             /* JSON object: p95, error_rate, cpu ... at the moment */
    struct str logs, version;
    struct str root_cause, contributing, fix, fix_ref, checks;
    struct str actions; /* JSON array of {"text","owner","due","status"} */
    struct str figures; /* JSON object {"before":{},"after":{}} */
    struct str cost, lessons;
    struct str links; /* JSON object: issue, ticket, changelog ... */
    /* Unix ms, 0 = not yet. Phases: started -> detected -> acknowledged (decision) -> stabilised -> resolved -> closed.
     */
    int64_t started_ms, detected_ms, acknowledged_ms, stabilised_ms, resolved_ms, closed_ms, updated_ms;
    int64_t rev;           /* counts changes; for optimistic locking */
    int64_t alerts_active; /* alerts of it that still fire */
    int64_t alerts_total, reopened, escalation_level;
    int64_t escalation_base_ms, evidence_due_ms; /* the room's own */
    struct str join_key;                         /* the room's own */
    /* the full form only */
    struct anomaly_alert *alerts;
    size_t n_alerts;
    struct anomaly_line *lines;
    size_t n_lines;
    struct anomaly_evidence *evidence;
    size_t n_evidence;
};

enum anomaly_error {
    ANOMALY_E_NOT_FOUND = 1, /* 404 */
    ANOMALY_E_INVALID,       /* 400: names the field, what was found, what is allowed */
    ANOMALY_E_STATE,         /* 409: that move is not allowed from the present status */
    ANOMALY_E_CONFLICT,      /* 409: "rev" is not the present one */
};

struct anomaly_settings {
    int64_t join_ms;            /* a resolved sheet is reopened by the same alert within; 0 = 30 min */
    int64_t evidence_before_ms; /* 0 = 30 min */
    int64_t evidence_after_ms;  /* the second picture is taken this long after the opening; 0 = 30 min */
    struct str environment;     /* of sheets whose alert has no label for it; empty = "production" */
};

struct anomaly_deps { /* borrowed until anomalies_close() */
    const struct clock *clock;
    struct db *db;
    struct journal *journal;    /* of journal_open() on the same db */
    struct query_engine *query; /* may be NULL: no evidence */
};

struct anomalies;
/* Migrates its tables. 0; -errno or -EINVAL with the reason. */
MUST_USE int anomalies_open(const struct anomaly_deps *d, const struct anomaly_settings *s, struct anomalies **ret,
                            struct err *e);
struct anomalies *anomalies_close(struct anomalies *a); /* stops the thread */
/* Subscribe to the journal and start the thread; first it handles what happened since its last event. */
MUST_USE int anomalies_start(struct anomalies *a);
/* Do all that is due now (events, evidence, escalation) on the calling thread; for tests with a fake clock, without
 * anomalies_start(). 0 or -errno. */
int anomalies_step(struct anomalies *a);

/* A person's acts. All are durable when they return 0; any thread but the database writer's. */

/* Open by hand from {"title": ..., any field}; title is required. ret_id gets the number. 0, ANOMALY_E_INVALID, -errno.
 */
MUST_USE int anomaly_open_json(struct anomalies *a, struct str body, struct str actor, char ret_id[ANOMALY_ID_BYTES],
                               struct err *e);
/* Change from a JSON object: any writable field by its name (doc/reference/api-hune.md lists them from the same table),
 * "status" moves the workflow, "note" (or "text") adds a line to the timeline, "rev" (optional) must be the present
 * one. All or nothing. */
MUST_USE int anomaly_apply_json(struct anomalies *a, struct str id, struct str body, struct str actor, struct err *e);
/* The same with the move given by the route: the body may hold fields and "text" (the note). */
MUST_USE int anomaly_move_json(struct anomalies *a, struct str id, enum anomaly_status to, struct str body,
                               struct str actor, struct err *e);
/* Only the checks of the two above, no database: for tests and fuzzing. opening: title is demanded. */
MUST_USE int anomaly_check_json(struct str body, bool opening, struct err *e);
/* Either form of the number (ANO-20250816-003, ANOM-2025-08-16-003) to the first; false when it is neither. */
bool anomaly_id_normal(struct str in, char ret[ANOMALY_ID_BYTES]);
/* Take over a sheet that exists elsewhere under its own number ("id" in the body, any status and times). */
MUST_USE int anomaly_import_json(struct anomalies *a, struct str body, struct str actor, char ret_id[ANOMALY_ID_BYTES],
                                 struct err *e);

struct anomaly_filter {
    unsigned statuses; /* bits 1 << enum anomaly_status; 0 = all */
    enum severity min_severity;
    int category;                                    /* enum anomaly_category; 0 = all */
    struct str service, environment, assignee, text; /* text: in id, title or description */
    int64_t from_ms, to_ms;                          /* detected within; 0 = open */
    size_t limit, offset;                            /* limit 0 = 100 */
};
/* Newest first, without alerts, lines and evidence. In the arena. */
MUST_USE int anomaly_list(struct anomalies *a, const struct anomaly_filter *f, struct arena *arena,
                          struct anomaly **ret, size_t *ret_n);
/* How many there are, limit and offset aside. */
MUST_USE int anomaly_count(struct anomalies *a, const struct anomaly_filter *f, size_t *ret);
/* The whole sheet. id in either form. 0, ANOMALY_E_NOT_FOUND, -errno. */
MUST_USE int anomaly_get(struct anomalies *a, struct str id, struct arena *arena, struct anomaly *ret);

enum anomaly_form { ANOMALY_LIST, ANOMALY_FULL };
void anomaly_json(struct jw *w, const struct anomaly *a, enum anomaly_form form, int64_t now_ms);
/* A Markdown table of the fields (name, type, allowed, meaning), for the reference. */
void anomaly_reference(struct buf *b);
void anomalies_collect(void *anomalies, struct metrics_out *out); /* hune_anomalies_* */
