// SPDX-License-Identifier: Apache-2.0
/* Sheets in the database: reading, numbering, changing. Everything that writes runs on the store's writer thread, one
 * transaction per act: the sheet, its line of the timeline and its event stand or fall together. */
#include "anomaly/anomaly_int.h"

#include "base/format.h"
#include "base/limits.h"
#include "base/mem.h"
#include <math.h>

static const struct db_migration anomaly_steps[] = {
    {1, "CREATE TABLE anomalies ("
        " id TEXT PRIMARY KEY,"
        " title TEXT NOT NULL, severity INTEGER NOT NULL, status INTEGER NOT NULL, priority INTEGER NOT NULL,"
        " category INTEGER NOT NULL, environment TEXT NOT NULL, service TEXT NOT NULL, components TEXT NOT NULL,"
        " detection INTEGER NOT NULL, detected_by TEXT NOT NULL, source TEXT NOT NULL, loss INTEGER NOT NULL,"
        " assignee TEXT NOT NULL, alert TEXT NOT NULL, started_ms INTEGER NOT NULL, detected_ms INTEGER NOT NULL,"
        " acknowledged_ms INTEGER NOT NULL, stabilised_ms INTEGER NOT NULL, resolved_ms INTEGER NOT NULL,"
        " closed_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, rev INTEGER NOT NULL,"
        " alerts_active INTEGER NOT NULL, alerts_total INTEGER NOT NULL, reopened INTEGER NOT NULL,"
        " escalation_level INTEGER NOT NULL, description TEXT NOT NULL, symptoms TEXT NOT NULL,"
        " reproduction TEXT NOT NULL, impact TEXT NOT NULL, users_affected INTEGER NOT NULL, features TEXT NOT NULL,"
        " labels TEXT NOT NULL, annotations TEXT NOT NULL, metrics TEXT NOT NULL, logs TEXT NOT NULL,"
        " version TEXT NOT NULL, root_cause TEXT NOT NULL, contributing TEXT NOT NULL, fix TEXT NOT NULL,"
        " fix_ref TEXT NOT NULL, checks TEXT NOT NULL, actions TEXT NOT NULL, figures TEXT NOT NULL,"
        " cost TEXT NOT NULL, lessons TEXT NOT NULL, links TEXT NOT NULL, join_key TEXT NOT NULL,"
        " escalation_base_ms INTEGER NOT NULL, evidence_due_ms INTEGER NOT NULL"
        ") STRICT;"
        "CREATE INDEX anomalies_detected ON anomalies (detected_ms);"
        "CREATE INDEX anomalies_join ON anomalies (join_key, detected_ms);"
        "CREATE INDEX anomalies_evidence ON anomalies (evidence_due_ms) WHERE evidence_due_ms > 0;"
        "CREATE INDEX anomalies_status ON anomalies (status);"
        "CREATE TABLE anomaly_alerts ("
        " anomaly TEXT NOT NULL REFERENCES anomalies (id), fingerprint TEXT NOT NULL, started_ms INTEGER NOT NULL,"
        " ended_ms INTEGER NOT NULL, name TEXT NOT NULL, severity INTEGER NOT NULL, value REAL, expr TEXT NOT NULL,"
        " labels TEXT NOT NULL, annotations TEXT NOT NULL, seen_seq INTEGER NOT NULL,"
        " PRIMARY KEY (anomaly, fingerprint, started_ms)) STRICT;"
        "CREATE INDEX anomaly_alerts_active ON anomaly_alerts (fingerprint) WHERE ended_ms = 0;"
        "CREATE TABLE anomaly_lines ("
        " anomaly TEXT NOT NULL REFERENCES anomalies (id), n INTEGER NOT NULL, t_ms INTEGER NOT NULL,"
        " actor TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (anomaly, n)) STRICT;"
        "CREATE TABLE anomaly_evidence ("
        " anomaly TEXT NOT NULL REFERENCES anomalies (id), n INTEGER NOT NULL, t_ms INTEGER NOT NULL,"
        " expr TEXT NOT NULL, measures TEXT NOT NULL, PRIMARY KEY (anomaly, n)) STRICT;"
        "CREATE TABLE anomaly_days (day INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;"
        "CREATE TABLE anomaly_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT"},
};
static const struct db_schema anomaly_schema = {.room = "anomaly", .steps = anomaly_steps, .n = 1};

/* ---- statements made from the table of fields ---- */

static bool is_int(const struct field *f)
{
    return f->type == F_ENUM || f->type == F_INT || f->type == F_TIME || f->type == F_COUNT;
}

void sheet_sql(struct anomalies *s)
{
    _cleanup_buf_ struct buf sel = BUF_INIT(8192), ins = BUF_INIT(8192), upd = BUF_INIT(8192);
    buf_z(&sel, "SELECT id");
    buf_z(&ins, "INSERT INTO anomalies (id");
    buf_z(&upd, "UPDATE anomalies SET ");
    for (size_t i = 0; i < n_fields; i++) {
        buf_fmt(&sel, ", %s", fields[i].name);
        buf_fmt(&ins, ", %s", fields[i].name);
        buf_fmt(&upd, "%s%s = $%zu", i ? ", " : "", fields[i].name, i + 1);
    }
    buf_z(&sel, " FROM anomalies");
    buf_z(&ins, ") VALUES ($1");
    for (size_t i = 0; i < n_fields; i++)
        buf_fmt(&ins, ", $%zu", i + 2);
    buf_putc(&ins, ')');
    buf_fmt(&upd, " WHERE id = $%zu", n_fields + 1);
    s->select_sql = buf_take(&sel, NULL);
    s->insert_sql = buf_take(&ins, NULL);
    s->update_sql = buf_take(&upd, NULL);
}

void row_sheet(struct db_stmt *st, struct arena *a, struct anomaly *ret)
{
    *ret = (struct anomaly){.id = arena_str(a, db_col_str(st, 0))};
    for (size_t i = 0; i < n_fields; i++) {
        const struct field *f = &fields[i];
        int col = (int)i + 1;
        if (!is_int(f)) {
            *field_str(ret, f) = arena_str(a, db_col_str(st, col));
            continue;
        }
        int64_t v = db_col_i64(st, col), n = 0;
        while (f->names && f->names[n])
            n++;
        *field_int(ret, f) = f->names && (v < 0 || v >= n) ? 0 : v; /* a newer hune's word: shown as the first */
    }
}

static int bind_sheet(struct db_stmt *st, int from, const struct anomaly *a)
{
    int r = 0;
    for (size_t i = 0; i < n_fields && !r; i++) {
        const struct field *f = &fields[i];
        r = is_int(f) ? db_bind_i64(st, from + (int)i, *field_int(a, f))
                      : db_bind_str(st, from + (int)i, *field_str(a, f));
    }
    return r;
}

int sheet_load(struct anomalies *s, struct db_tx *tx, struct str id, struct arena *a, struct anomaly *ret)
{
    struct str sql = arena_fmt(a, "%s WHERE id = $1", s->select_sql);
    struct db_stmt *st;
    int r = db_prepare(tx, &st, sql);
    if (!r)
        r = db_bind_str(st, 1, id);
    if (r)
        return r;
    r = db_step(st);
    if (r < 0)
        return r;
    if (r == 0)
        return ANOMALY_E_NOT_FOUND;
    row_sheet(st, a, ret);
    db_reset(st);
    return 0;
}

int sheet_insert(struct anomalies *s, struct db_tx *tx, const struct anomaly *a)
{
    struct db_stmt *st;
    int r = db_prepare(tx, &st, str_of(s->insert_sql));
    if (!r)
        r = db_bind_str(st, 1, a->id);
    if (!r)
        r = bind_sheet(st, 2, a);
    return r ? r : db_step(st);
}

int sheet_update(struct anomalies *s, struct db_tx *tx, struct anomaly *a)
{
    a->rev++;
    a->updated_ms = clock_now_ms(s->deps.clock);
    struct db_stmt *st;
    int r = db_prepare(tx, &st, str_of(s->update_sql));
    if (!r)
        r = bind_sheet(st, 1, a);
    if (!r)
        r = db_bind_str(st, (int)n_fields + 1, a->id);
    return r ? r : db_step(st);
}

int sheet_number(struct db_tx *tx, int64_t now_ms, char ret[ANOMALY_ID_BYTES])
{
    int y, m, d, h, min, sec;
    format_civil(now_ms, &y, &m, &d, &h, &min, &sec);
    int64_t day = (int64_t)y * 10000 + m * 100 + d, last;
    int r = db_do(tx,
                  "INSERT INTO anomaly_days (day, last) VALUES ($1, 1) "
                  "ON CONFLICT (day) DO UPDATE SET last = anomaly_days.last + 1",
                  "i", day);
    if (!r)
        r = db_get_i64(tx, 0, &last, "SELECT last FROM anomaly_days WHERE day = $1", "i", day);
    if (!r)
        snprintf(ret, ANOMALY_ID_BYTES, "ANO-%08lld-%03lld", (long long)day, (long long)last);
    return r;
}

int sheet_line(struct anomalies *s, struct db_tx *tx, struct str id, int64_t t_ms, struct str actor, const char *kind,
               struct str text)
{
    (void)s;
    int64_t last;
    int r = db_get_i64(tx, 0, &last, "SELECT MAX(n) FROM anomaly_lines WHERE anomaly = $1", "s", id);
    return r ? r
             : db_do(tx,
                     "INSERT INTO anomaly_lines (anomaly, n, t_ms, actor, kind, text) VALUES ($1, $2, $3, $4, $5, $6)",
                     "siisss", id, last + 1, t_ms, actor, str_of(kind), text);
}

int sheet_event(struct anomalies *s, struct db_tx *tx, const struct anomaly *a, const char *kind, struct str actor,
                struct str summary)
{
    _cleanup_buf_ struct buf payload = BUF_INIT((size_t)limit(event_payload_bytes)), links = BUF_INIT(256);
    struct jw w;
    jw_init(&w, &payload);
    anomaly_json(&w, a, ANOMALY_LIST, clock_now_ms(s->deps.clock));
    buf_fmt(&links, "{\"anomaly\":\"" STR_FMT "\"", STR_ARG(a->id));
    if (a->alert.n) {
        buf_z(&links, ",\"alert\":\"");
        json_escape(&links, a->alert);
        buf_putc(&links, '"');
    }
    buf_putc(&links, '}');
    struct event e = {.t_ms = clock_now_ms(s->deps.clock),
                      .kind = str_of(kind),
                      .severity = (enum severity)a->severity,
                      .service = a->service,
                      .subject = a->id,
                      .actor = actor,
                      .summary = summary,
                      .links = buf_view(&links),
                      .payload = buf_view(&payload)};
    return journal_append_tx(s->deps.journal, tx, &e);
}

int state_get(struct db_tx *tx, const char *name, int64_t *ret)
{
    return db_get_i64(tx, 0, ret, "SELECT value FROM anomaly_state WHERE name = $1", "s", str_of(name));
}

int state_set(struct db_tx *tx, const char *name, int64_t value)
{
    return db_do(tx,
                 "INSERT INTO anomaly_state (name, value) VALUES ($1, $2) "
                 "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                 "si", str_of(name), value);
}

int anomaly_migrate(struct db *db, struct err *e)
{
    return db_migrate(db, &anomaly_schema, e);
}

/* ---- what people do ---- */

struct act {
    struct anomalies *s;
    struct arena *a; /* of the caller: lives over the transaction */
    const struct change *c;
    struct str id, actor;
    struct err *err;
    char *ret_id;
    bool import;
};

static bool changed(const struct anomaly *a, const struct anomaly *b, const struct field *f)
{
    return is_int(f) ? *field_int(a, f) != *field_int(b, f) : !str_eq(*field_str(a, f), *field_str(b, f));
}

static void copy_field(struct anomaly *to, const struct anomaly *from, const struct field *f)
{
    if (is_int(f))
        *field_int(to, f) = *field_int(from, f);
    else
        *field_str(to, f) = *field_str(from, f);
}

static void put_value(struct buf *b, const struct anomaly *a, const struct field *f)
{
    if (f->type == F_ENUM) {
        const char *z = f->names[*field_int(a, f)];
        buf_z(b, z[0] ? z : "-");
    } else if (f->type == F_TIME && *field_int(a, f)) {
        format_rfc3339_ms(b, *field_int(a, f));
    } else if (is_int(f)) {
        if (*field_int(a, f) > 0)
            buf_i64(b, *field_int(a, f));
        else
            buf_putc(b, '-');
    } else {
        struct str s = *field_str(a, f);
        buf_str(b, s.n ? str_sub(s, 0, 120) : STR("-"));
    }
}

/* "severity: warning -> critical, assignee: - -> anna, description" */
static void say_changes(struct buf *b, const struct anomaly *was, const struct anomaly *is, uint64_t set)
{
    for (size_t i = 0; i < n_fields; i++) {
        const struct field *f = &fields[i];
        if (!(set & (1ULL << i)) || !changed(was, is, f))
            continue;
        buf_z(b, b->n ? ", " : "");
        buf_z(b, f->name);
        if (f->type == F_TEXT || f->type == F_OBJECT || f->type == F_ACTIONS)
            continue;
        buf_z(b, ": ");
        put_value(b, was, f);
        buf_z(b, " -> ");
        put_value(b, is, f);
    }
}

static int check_times(const struct anomaly *a, struct err *e)
{
    if (a->started_ms && a->detected_ms && a->started_ms > a->detected_ms) {
        err_set(e, "started_ms: later than detected_ms");
        return ANOMALY_E_INVALID;
    }
    if (a->resolved_ms && a->started_ms && a->resolved_ms < a->started_ms) {
        err_set(e, "resolved_ms: earlier than started_ms");
        return ANOMALY_E_INVALID;
    }
    return 0;
}

static int apply_tx(struct db_tx *tx, void *ctx)
{
    struct act *x = ctx;
    const struct change *c = x->c;
    struct anomalies *s = x->s;
    int64_t now = clock_now_ms(s->deps.clock);
    struct anomaly was, is;
    int r = sheet_load(s, tx, x->id, x->a, &was);
    if (r) {
        if (r == ANOMALY_E_NOT_FOUND)
            err_set(x->err, "there is no anomaly " STR_FMT, STR_ARG(x->id));
        return r;
    }
    if (c->has_rev && c->rev != was.rev) {
        err_set(x->err, "rev: the sheet is at revision %lld, not %lld; somebody else changed it meanwhile",
                (long long)was.rev, (long long)c->rev);
        return ANOMALY_E_CONFLICT;
    }
    is = was;
    for (size_t i = 0; i < n_fields; i++)
        if (c->set & (1ULL << i))
            copy_field(&is, &c->values, &fields[i]);
    bool moves = c->moves && (int64_t)c->to != was.status;
    enum anomaly_status to = c->to;
    if (!c->moves && is.assignee.n && !str_eq(is.assignee, was.assignee) && was.status == ANOMALY_OPEN) {
        moves = true; /* who takes it has acknowledged it */
        to = ANOMALY_IN_PROGRESS;
    }
    if (c->moves && !moves && c->to >= ANOMALY_RESOLVED && !c->set && !c->note.n) {
        err_set(x->err, "status: it is %s already", anomaly_status_names[c->to]);
        return ANOMALY_E_STATE;
    }
    if (moves) {
        if (!anomaly_may_move((enum anomaly_status)was.status, to)) {
            err_set(x->err, "status: cannot go from %s to %s%s", anomaly_status_names[was.status],
                    anomaly_status_names[to], to == ANOMALY_CLOSED ? "; resolve it first" : "");
            return ANOMALY_E_STATE;
        }
        int64_t resolved = is.resolved_ms != was.resolved_ms ? is.resolved_ms : 0;
        anomaly_move(&is, to, now);
        if (resolved && to == ANOMALY_RESOLVED) { /* said when, with the move */
            is.resolved_ms = resolved;
            is.stabilised_ms = MIN(is.stabilised_ms, resolved);
        }
    }
    r = check_times(&is, x->err);
    if (r)
        return r;
    _cleanup_buf_ struct buf text = BUF_INIT(8192), summary = BUF_INIT(2048);
    say_changes(&text, &was, &is, c->set);
    if (!moves && !text.n && !c->note.n)
        return 0; /* nothing new: no line, no event, same revision */
    if (text.n)
        r = sheet_line(s, tx, is.id, now, x->actor, "changed", buf_view(&text));
    if (!r && c->note.n)
        r = sheet_line(s, tx, is.id, now, x->actor, "note", c->note);
    const char *kind = "anomaly.changed", *word = "was changed";
    if (moves) {
        bool back = was.status >= ANOMALY_RESOLVED && to <= ANOMALY_IN_PROGRESS;
        word = to == ANOMALY_RESOLVED ? "is resolved"
               : to == ANOMALY_CLOSED ? "is closed"
               : back                 ? "was reopened"
                                      : "is being worked on";
        kind = to == ANOMALY_RESOLVED ? "anomaly.resolved" : to == ANOMALY_CLOSED ? "anomaly.closed" : kind;
        if (!r)
            r = sheet_line(s, tx, is.id, now, x->actor, "status", str_of(word));
    } else if (c->note.n && !text.n) {
        word = "has a new note";
    }
    if (!r)
        r = sheet_update(s, tx, &is);
    buf_fmt(&summary, STR_FMT " %s: " STR_FMT, STR_ARG(is.id), word, STR_ARG(is.title));
    return r ? r : sheet_event(s, tx, &is, kind, x->actor, buf_view(&summary));
}

static int apply(struct anomalies *s, struct str id, struct change *c, struct str actor, struct arena *a, struct err *e)
{
    char normal[ANOMALY_ID_BYTES];
    if (!anomaly_id_normal(id, normal)) {
        err_set(e, "\"" STR_FMT "\" is no number of an anomaly (ANO-YYYYMMDD-NNN)", STR_ARG(str_sub(id, 0, 60)));
        return ANOMALY_E_NOT_FOUND;
    }
    struct act x = {.s = s, .a = a, .c = c, .id = str_of(normal), .actor = actor, .err = e};
    return db_write(s->deps.db, apply_tx, &x);
}

int anomaly_apply_json(struct anomalies *s, struct str id, struct str body, struct str actor, struct err *e)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct change c;
    int r = change_read(body, CHANGE_EDIT, a, &c, e);
    return r ? r : apply(s, id, &c, actor, a, e);
}

int anomaly_move_json(struct anomalies *s, struct str id, enum anomaly_status to, struct str body, struct str actor,
                      struct err *e)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct change c;
    int r = change_read(str_trim(body).n ? body : STR("{}"), CHANGE_EDIT, a, &c, e);
    if (!r && c.moves && c.to != to) {
        err_set(e, "status: the address already says %s", anomaly_status_names[to]);
        r = ANOMALY_E_INVALID;
    }
    c.moves = true;
    c.to = to;
    return r ? r : apply(s, id, &c, actor, a, e);
}

static int open_tx(struct db_tx *tx, void *ctx)
{
    struct act *x = ctx;
    struct anomalies *s = x->s;
    int64_t now = clock_now_ms(s->deps.clock);
    struct anomaly a = {
        .detection = ANOMALY_MANUAL,
        .users_affected = -1,
        .severity = SEV_WARNING,
        .environment = str_of(s->environment),
        .detected_by = x->actor,
        .source = STR("user"),
        .components = STR("[]"),
        .labels = STR("{}"),
        .annotations = STR("{}"),
        .metrics = STR("{}"),
        .actions = STR("[]"),
        .figures = STR("{}"),
        .links = STR("{}"),
        .rev = 1,
    };
    for (size_t i = 0; i < n_fields; i++)
        if (x->c->set & (1ULL << i))
            copy_field(&a, &x->c->values, &fields[i]);
    if (!a.detected_ms)
        a.detected_ms = now;
    if (!a.started_ms)
        a.started_ms = a.detected_ms;
    a.escalation_base_ms = a.detected_ms;
    a.updated_ms = now;
    int r = check_times(&a, x->err);
    if (r)
        return r;
    if (x->import) {
        int64_t exists;
        a.id = str_of(x->c->id);
        r = db_get_i64(tx, 0, &exists, "SELECT 1 FROM anomalies WHERE id = $1", "s", a.id);
        if (!r && exists) {
            err_set(x->err, "id: " STR_FMT " exists already", STR_ARG(a.id));
            return ANOMALY_E_CONFLICT;
        }
        /* Imported numbers are used numbers. */
        int64_t day = 0, number = 0;
        for (size_t i = 4; i < 12; i++)
            day = day * 10 + (a.id.p[i] - '0');
        for (size_t i = 13; i < a.id.n; i++)
            number = number * 10 + (a.id.p[i] - '0');
        if (!r)
            r = db_do(tx,
                      "INSERT INTO anomaly_days (day, last) VALUES ($1, $2) ON CONFLICT (day) DO UPDATE SET last = "
                      "CASE WHEN anomaly_days.last > excluded.last THEN anomaly_days.last ELSE excluded.last END",
                      "ii", day, number);
        a.status = x->c->moves ? x->c->to : ANOMALY_OPEN;
        memcpy(x->ret_id, x->c->id, ANOMALY_ID_BYTES);
    } else {
        r = sheet_number(tx, now, x->ret_id);
        a.id = str_of(x->ret_id);
        if (x->c->moves && x->c->to != ANOMALY_OPEN) {
            if (!anomaly_may_move(ANOMALY_OPEN, x->c->to)) {
                err_set(x->err, "status: a new sheet may be open, in_progress or resolved");
                return ANOMALY_E_STATE;
            }
            anomaly_move(&a, x->c->to, now);
        }
        if (a.assignee.n && a.status == ANOMALY_OPEN)
            anomaly_move(&a, ANOMALY_IN_PROGRESS, now);
    }
    if (!r)
        r = sheet_insert(s, tx, &a);
    if (!r)
        r = sheet_line(s, tx, a.id, now, x->actor, "opened", x->import ? STR("taken over") : STR("opened by hand"));
    if (!r && x->c->note.n)
        r = sheet_line(s, tx, a.id, now, x->actor, "note", x->c->note);
    _cleanup_buf_ struct buf summary = BUF_INIT(2048);
    buf_fmt(&summary, STR_FMT " opened: " STR_FMT, STR_ARG(a.id), STR_ARG(a.title));
    return r ? r : sheet_event(s, tx, &a, "anomaly.opened", x->actor, buf_view(&summary));
}

static int open_json(struct anomalies *s, struct str body, struct str actor, char ret_id[ANOMALY_ID_BYTES], bool import,
                     struct err *e)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    struct change c;
    int r = change_read(body, import ? CHANGE_IMPORT : CHANGE_OPEN, a, &c, e);
    if (r)
        return r;
    char id[ANOMALY_ID_BYTES] = "";
    struct act x = {.s = s, .a = a, .c = &c, .actor = actor, .err = e, .ret_id = id, .import = import};
    r = db_write(s->deps.db, open_tx, &x);
    if (!r) {
        memcpy(ret_id, id, sizeof(id));
        s->opened++;
    }
    return r;
}

int anomaly_open_json(struct anomalies *s, struct str body, struct str actor, char ret_id[ANOMALY_ID_BYTES],
                      struct err *e)
{
    return open_json(s, body, actor, ret_id, false, e);
}

int anomaly_import_json(struct anomalies *s, struct str body, struct str actor, char ret_id[ANOMALY_ID_BYTES],
                        struct err *e)
{
    return open_json(s, body, actor, ret_id, true, e);
}
