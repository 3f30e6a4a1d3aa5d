// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Between fields.c (the sheet as a table of fields), store.c (reading and changing sheets) and follow.c (alerts,
 * evidence, escalation). */
#include "anomaly/anomaly.h"
#include "base/vec.h"
#include <pthread.h>

enum field_type {
    F_LINE,    /* text, one line, at most LINE_MAX_BYTES */
    F_TEXT,    /* text, limit anomaly_text_bytes */
    F_ENUM,    /* integer in the table, word in JSON */
    F_INT,     /* integer >= 0; -1 in the table = not known, null in JSON */
    F_TIME,    /* Unix ms; 0 in the table = not yet, null in JSON */
    F_COUNT,   /* integer, always known */
    F_STRINGS, /* JSON array of strings */
    F_OBJECT,  /* JSON object */
    F_ACTIONS, /* JSON array of preventive actions */
};

enum field_flags {
    FW = 1,   /* a person may write it */
    FL = 2,   /* in the list form */
    FNEW = 4, /* only when opening or importing */
    FHIDE = 8 /* never shown */
};

struct field {
    const char *name; /* column and JSON member */
    enum field_type type;
    size_t offset;
    unsigned flags;
    const char *const *names; /* F_ENUM, NULL-terminated */
    const char *doc;
};
extern const struct field fields[];
extern const size_t n_fields;

#define LINE_MAX_BYTES 512
#define ITEMS_MAX 200 /* components, actions, members of an object */

static inline struct str *field_str(const struct anomaly *a, const struct field *f)
{
    return (struct str *)(void *)((char *)(uintptr_t)a + f->offset);
}
static inline int64_t *field_int(const struct anomaly *a, const struct field *f)
{
    return (int64_t *)(void *)((char *)(uintptr_t)a + f->offset);
}

/* A request body, checked. */
struct change {
    struct anomaly values; /* of the fields set */
    uint64_t set;          /* bit per row of fields[] */
    bool moves, renumbers, has_rev;
    enum anomaly_status to;
    int64_t rev;
    struct str note;
    char id[ANOMALY_ID_BYTES]; /* import */
};
enum change_use { CHANGE_EDIT, CHANGE_OPEN, CHANGE_IMPORT };
/* 0 or ANOMALY_E_INVALID with the reason. Strings in the arena. */
MUST_USE int change_read(struct str body, enum change_use use, struct arena *a, struct change *ret, struct err *e);

bool anomaly_may_move(enum anomaly_status from, enum anomaly_status to);
/* The one place where a status changes, with the times that go with it. The move must be allowed. */
void anomaly_move(struct anomaly *a, enum anomaly_status to, int64_t now_ms);

struct anomalies {
    struct anomaly_deps deps;
    struct anomaly_settings set;
    char *environment;
    char *select_sql, *insert_sql, *update_sql;

    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* the two below */
    pthread_cond_t wake;
    bool stopping, poked;

    uint64_t seen;      /* follow.c: newest event looked at */
    uint64_t start_seq; /* newest event when this server began */
    int64_t start_ms;
    bool reconciled;
    _Atomic uint64_t opened, joined, resolved, escalated, failed;
};

/* ---- store.c, inside a transaction ---- */
void sheet_sql(struct anomalies *s); /* builds the three statements */
void row_sheet(struct db_stmt *st, struct arena *a, struct anomaly *ret);
MUST_USE int anomaly_migrate(struct db *db, struct err *e);
MUST_USE int sheet_load(struct anomalies *s, struct db_tx *tx, struct str id, struct arena *a, struct anomaly *ret);
MUST_USE int sheet_insert(struct anomalies *s, struct db_tx *tx, const struct anomaly *a);
MUST_USE int sheet_update(struct anomalies *s, struct db_tx *tx, struct anomaly *a); /* counts rev, sets updated_ms */
MUST_USE int sheet_number(struct db_tx *tx, int64_t now_ms, char ret[ANOMALY_ID_BYTES]);
MUST_USE int sheet_line(struct anomalies *s, struct db_tx *tx, struct str id, int64_t t_ms, struct str actor,
                        const char *kind, struct str text);
/* anomaly.KIND with the list form as payload. */
MUST_USE int sheet_event(struct anomalies *s, struct db_tx *tx, const struct anomaly *a, const char *kind,
                         struct str actor, struct str summary);
MUST_USE int state_get(struct db_tx *tx, const char *name, int64_t *ret);
MUST_USE int state_set(struct db_tx *tx, const char *name, int64_t value);

/* ---- evidence.c ---- */
/* What to draw for an alert: the expression without its comparison (`rate(x) > 5` draws `rate(x)`, with the threshold
 * told). Slices of expr; op and threshold are empty when the comparison is not a plain one. */
void evidence_split(struct str expr, struct str *ret_expr, struct str *ret_op, struct str *ret_threshold);
/* Ask the engine and write the measures; false when there is nothing to keep. labels: JSON object of the alert. */
bool evidence_take(struct query_engine *q, struct str expr, struct str labels, int64_t from_ms, int64_t to_ms,
                   struct buf *out);
