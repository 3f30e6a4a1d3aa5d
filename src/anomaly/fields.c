// SPDX-License-Identifier: Apache-2.0
/* The sheet as one table of fields: columns, JSON out, JSON in with its checks, and the reference come from it. */
#include "anomaly/anomaly_int.h"

#include "base/format.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/utf8.h"

const char *const anomaly_status_names[] = {"open", "in_progress", "resolved", "closed", NULL};
const char *const anomaly_category_names[] = {"", "performance", "security", "functionality", "system", NULL};
const char *const anomaly_detection_names[] = {"automatic", "manual", "user_report", NULL};
const char *const anomaly_loss_names[] = {"", "none", "partial", "total", NULL};
static const char *const sheet_severities[] = {"", "info", "warning", "critical", NULL};
static const char *const priorities[] = {"", "P1", "P2", "P3", "P4", "P5", NULL};
static const char *const action_states[] = {"todo", "doing", "done", NULL};

#define AT(member) offsetof(struct anomaly, member)
/* Order is the order of JSON members and of columns in statements. */
const struct field fields[] = {
    {"title", F_LINE, AT(title), FW | FL, NULL, "What is wrong, in a line"},
    {"severity", F_ENUM, AT(severity), FW | FL, sheet_severities,
     "critical: service down, breach, data loss, many errors; warning: degradation, high use; info: the rest"},
    {"status", F_ENUM, AT(status), FL, anomaly_status_names,
     "Where the workflow stands; writing it moves the workflow"},
    {"priority", F_ENUM, AT(priority), FW | FL, priorities, "P1 first"},
    {"category", F_ENUM, AT(category), FW | FL, anomaly_category_names, "Kind of trouble"},
    {"environment", F_LINE, AT(environment), FW | FL, NULL, "production, staging, development, or the team's own word"},
    {"service", F_LINE, AT(service), FW | FL, NULL, "Service the figures count it for"},
    {"components", F_STRINGS, AT(components), FW | FL, NULL, "Affected parts"},
    {"detection", F_ENUM, AT(detection), FW | FL, anomaly_detection_names, "How it was found"},
    {"detected_by", F_LINE, AT(detected_by), FW | FL, NULL, "Person or program that found it"},
    {"source", F_LINE, AT(source), FW | FL, NULL, "alert, eslint, audit, lighthouse, test, support, user"},
    {"loss", F_ENUM, AT(loss), FW | FL, anomaly_loss_names,
     "What users lost: partial and total count as downtime, none never does; empty: critical ones count"},
    {"assignee", F_LINE, AT(assignee), FW | FL, NULL, "Who works on it; naming somebody acknowledges it"},
    {"alert", F_LINE, AT(alert), FL, NULL, "Fingerprint of the alert that opened it"},
    {"started_ms", F_TIME, AT(started_ms), FW | FL, NULL, "When the trouble began"},
    {"detected_ms", F_TIME, AT(detected_ms), FW | FL, NULL, "When it was noticed"},
    {"acknowledged_ms", F_TIME, AT(acknowledged_ms), FW | FL, NULL, "When somebody decided to act"},
    {"stabilised_ms", F_TIME, AT(stabilised_ms), FW | FL, NULL, "When users were well again"},
    {"resolved_ms", F_TIME, AT(resolved_ms), FW | FL, NULL, "When it was resolved"},
    {"closed_ms", F_TIME, AT(closed_ms), FNEW | FL, NULL, "When the sheet was closed"},
    {"updated_ms", F_TIME, AT(updated_ms), FL, NULL, "Last change"},
    {"rev", F_COUNT, AT(rev), FL, NULL, "Counts changes; send it back to be told when somebody else was faster"},
    {"alerts_active", F_COUNT, AT(alerts_active), FL, NULL, "Alerts of this sheet that still fire"},
    {"alerts_total", F_COUNT, AT(alerts_total), FL, NULL, "Alerts that joined it"},
    {"reopened", F_COUNT, AT(reopened), FL, NULL, "How often it came back"},
    {"escalation_level", F_COUNT, AT(escalation_level), FL, NULL, "Steps of the escalation taken"},
    {"description", F_TEXT, AT(description), FW, NULL, "What happens"},
    {"symptoms", F_TEXT, AT(symptoms), FW, NULL, "What one sees of it"},
    {"reproduction", F_TEXT, AT(reproduction), FW, NULL, "How to make it happen"},
    {"impact", F_TEXT, AT(impact), FW, NULL, "Effect on users and business"},
    {"users_affected", F_INT, AT(users_affected), FW, NULL, "How many users"},
    {"features", F_TEXT, AT(features), FW, NULL, "Features touched"},
    {"labels", F_OBJECT, AT(labels), FNEW, NULL, "Labels of the alert"},
    {"annotations", F_OBJECT, AT(annotations), FNEW, NULL, "Annotations of the alert"},
    {"metrics", F_OBJECT, AT(metrics), FW, NULL, "Figures at the moment: p95, error_rate, cpu, memory"},
    {"logs", F_TEXT, AT(logs), FW, NULL, "Log lines around the moment"},
    {"version", F_LINE, AT(version), FW, NULL, "Version deployed then"},
    {"root_cause", F_TEXT, AT(root_cause), FW, NULL, "Why it happened"},
    {"contributing", F_TEXT, AT(contributing), FW, NULL, "What helped it happen"},
    {"fix", F_TEXT, AT(fix), FW, NULL, "What ended it"},
    {"fix_ref", F_LINE, AT(fix_ref), FW, NULL, "Commit, pull request or release of the fix"},
    {"checks", F_TEXT, AT(checks), FW, NULL, "What proved the fix"},
    {"actions", F_ACTIONS, AT(actions), FW, NULL,
     "Preventive actions: text, owner, due (YYYY-MM-DD), status (todo, doing, done)"},
    {"figures", F_OBJECT, AT(figures), FW, NULL, "Figures before and after: {\"before\":{},\"after\":{}}"},
    {"cost", F_LINE, AT(cost), FW, NULL, "What it cost"},
    {"lessons", F_TEXT, AT(lessons), FW, NULL, "What was learnt"},
    {"links", F_OBJECT, AT(links), FW, NULL, "issue, ticket, changelog entry"},
    {"join_key", F_LINE, AT(join_key), FHIDE, NULL, ""},
    {"escalation_base_ms", F_TIME, AT(escalation_base_ms), FHIDE, NULL, ""},
    {"evidence_due_ms", F_TIME, AT(evidence_due_ms), FHIDE, NULL, ""},
};
const size_t n_fields = ARRAY_LEN(fields);
_Static_assert(ARRAY_LEN(fields) <= 64, "a bit per field in struct change");

static bool is_text(const struct field *f)
{
    return f->type == F_LINE || f->type == F_TEXT || f->type == F_STRINGS || f->type == F_OBJECT ||
           f->type == F_ACTIONS;
}

/* ---- JSON out ---- */

static void put_field(struct jw *w, const struct anomaly *a, const struct field *f)
{
    jw_key(w, f->name);
    if (f->type == F_LINE || f->type == F_TEXT) {
        jw_str(w, *field_str(a, f));
    } else if (is_text(f)) { /* checked JSON, or empty */
        struct str s = *field_str(a, f);
        jw_raw(w, s.n ? s : f->type == F_OBJECT ? STR("{}") : STR("[]"));
    } else if (f->type == F_ENUM) {
        jw_z(w, f->names[*field_int(a, f)]);
    } else {
        int64_t v = *field_int(a, f);
        bool known = f->type == F_COUNT || (f->type == F_TIME ? v != 0 : v >= 0);
        if (known)
            jw_i64(w, v);
        else
            jw_null(w);
    }
}

static void put_phase(struct jw *w, const char *key, int64_t from_ms, int64_t to_ms)
{
    jw_key(w, key);
    if (from_ms && to_ms)
        jw_i64(w, MAX(to_ms - from_ms, 0));
    else
        jw_null(w);
}

static void put_full(struct jw *w, const struct anomaly *a, int64_t now_ms)
{
    jw_key(w, "phases"); /* each is null while one of its ends is not known */
    jw_obj(w);
    put_phase(w, "detection_ms", a->started_ms, a->detected_ms);
    put_phase(w, "decision_ms", a->detected_ms, a->acknowledged_ms);
    put_phase(w, "stabilisation_ms", a->acknowledged_ms ? a->acknowledged_ms : a->detected_ms, a->stabilised_ms);
    put_phase(w, "resolution_ms", a->stabilised_ms ? a->stabilised_ms : a->detected_ms, a->resolved_ms);
    put_phase(w, "total_ms", a->detected_ms, a->resolved_ms);
    jw_end(w);
    jw_ki64(w, "age_ms", MAX((a->resolved_ms ? a->resolved_ms : now_ms) - a->started_ms, 0));
    struct str expr = a->n_alerts ? a->alerts[0].expr : STR("");
    jw_kstr(w, "expr", expr);
    jw_key(w, "alerts");
    jw_arr(w);
    for (size_t i = 0; i < a->n_alerts; i++) {
        const struct anomaly_alert *x = &a->alerts[i];
        jw_obj(w);
        jw_kstr(w, "fingerprint", x->fingerprint);
        jw_kstr(w, "name", x->name);
        jw_kz(w, "severity", severity_names[x->severity]);
        jw_ki64(w, "started_ms", x->started_ms);
        jw_key(w, "ended_ms");
        if (x->ended_ms)
            jw_i64(w, x->ended_ms);
        else
            jw_null(w);
        jw_kf64(w, "value", x->value);
        jw_kstr(w, "expr", x->expr);
        jw_key(w, "labels");
        jw_raw(w, x->labels.n ? x->labels : STR("{}"));
        jw_end(w);
    }
    jw_end(w);
    /* The newest picture of each expression; the earlier ones stay in the store. */
    jw_key(w, "measures");
    jw_arr(w);
    for (size_t i = 0; i < a->n_evidence; i++) {
        bool later = false;
        for (size_t k = i + 1; k < a->n_evidence; k++)
            later |= str_eq(a->evidence[k].expr, a->evidence[i].expr);
        struct str m = a->evidence[i].measures;
        if (!later && m.n > 2) /* without its brackets: the elements */
            jw_raw(w, str_sub(m, 1, m.n - 1));
    }
    jw_end(w);
    jw_key(w, "timeline");
    jw_arr(w);
    for (size_t i = 0; i < a->n_lines; i++) {
        const struct anomaly_line *l = &a->lines[i];
        jw_obj(w);
        jw_ki64(w, "n", l->n);
        jw_ki64(w, "t_ms", l->t_ms);
        jw_kstr(w, "kind", l->kind);
        jw_kstr(w, "actor", l->actor);
        jw_kstr(w, "summary", str_eqz(l->kind, "note") ? STR("") : l->text);
        jw_kstr(w, "text", str_eqz(l->kind, "note") ? l->text : STR(""));
        jw_end(w);
    }
    jw_end(w);
}

void anomaly_json(struct jw *w, const struct anomaly *a, enum anomaly_form form, int64_t now_ms)
{
    jw_obj(w);
    jw_kstr(w, "id", a->id);
    for (size_t i = 0; i < n_fields; i++)
        if (!(fields[i].flags & FHIDE) && (form == ANOMALY_FULL || (fields[i].flags & FL)))
            put_field(w, a, &fields[i]);
    if (form == ANOMALY_FULL)
        put_full(w, a, now_ms);
    jw_end(w);
}

void anomaly_reference(struct buf *b)
{
    static const char *const types[] = {
        [F_LINE] = "line",   [F_TEXT] = "text",  [F_ENUM] = "word",     [F_INT] = "count",   [F_TIME] = "Unix ms",
        [F_COUNT] = "count", [F_STRINGS] = "[]", [F_OBJECT] = "object", [F_ACTIONS] = "[{}]"};
    buf_z(b, "| field | type | in lists | writable | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < n_fields; i++) {
        const struct field *f = &fields[i];
        if (f->flags & FHIDE)
            continue;
        buf_fmt(b, "| `%s` | %s", f->name, types[f->type]);
        for (size_t k = 0; f->names && f->names[k]; k++)
            buf_fmt(b, "%s`%s`", k ? ", " : ": ", f->names[k][0] ? f->names[k] : "(empty)");
        bool writable = (f->flags & FW) || f->offset == AT(status);
        buf_fmt(b, " | %s | %s | %s |\n", f->flags & FL ? "yes" : "",
                writable          ? "yes"
                : f->flags & FNEW ? "on import"
                                  : "",
                f->doc);
    }
}

/* ---- JSON in ---- */

static const char *kind_name(const struct json *v)
{
    switch (v->kind) {
    case JSON_NULL:
        return "null";
    case JSON_BOOL:
        return "a boolean";
    case JSON_INT:
    case JSON_REAL:
        return "a number";
    case JSON_STRING:
        return "a string";
    case JSON_ARRAY:
        return "an array";
    case JSON_OBJECT:
        return "an object";
    }
    return "?";
}

static int wrong(struct err *e, const char *name, const struct json *v, const char *want)
{
    err_set(e, "%s: found %s, wants %s", name, kind_name(v), want);
    return ANOMALY_E_INVALID;
}

static int read_text(const char *name, const struct json *v, int64_t max, bool line, struct str *ret, struct err *e)
{
    if (v->kind == JSON_NULL) {
        *ret = STR("");
        return 0;
    }
    if (v->kind != JSON_STRING)
        return wrong(e, name, v, "a string");
    struct str s = v->s;
    if ((int64_t)s.n > max) {
        err_set(e, "%s: %zu bytes, at most %lld are allowed", name, s.n, (long long)max);
        return ANOMALY_E_INVALID;
    }
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && (line || (s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r'))) ||
            s.p[i] == 0x7f) {
            err_set(e, "%s: control character %d at byte %zu; %s", name, s.p[i], i,
                    line ? "one line of text is allowed" : "only line breaks and tabs are allowed");
            return ANOMALY_E_INVALID;
        }
    *ret = line ? str_trim(s) : s;
    return 0;
}

static int read_enum(const struct field *f, const struct json *v, int64_t *ret, struct err *e)
{
    if (v->kind == JSON_STRING)
        for (int64_t i = 0; f->names[i]; i++)
            if (str_eqz(v->s, f->names[i])) {
                *ret = i;
                return 0;
            }
    _cleanup_buf_ struct buf allowed = BUF_INIT(512);
    for (size_t i = 0; f->names[i]; i++)
        buf_fmt(&allowed, "%s%s", i ? ", " : "", f->names[i][0] ? f->names[i] : "\"\"");
    if (v->kind == JSON_STRING)
        err_set(e, "%s: \"" STR_FMT "\" is not known; allowed: %s", f->name, STR_ARG(str_sub(v->s, 0, 60)),
                buf_cstr(&allowed));
    else
        err_set(e, "%s: found %s; allowed: %s", f->name, kind_name(v), buf_cstr(&allowed));
    return ANOMALY_E_INVALID;
}

static int read_number(const struct field *f, const struct json *v, int64_t *ret, struct err *e)
{
    bool time = f->type == F_TIME;
    if (v->kind == JSON_NULL) {
        *ret = time ? 0 : -1;
        return 0;
    }
    if (time && v->kind == JSON_STRING && parse_rfc3339_ms(v->s, ret))
        return 0;
    if (v->kind != JSON_INT)
        return wrong(e, f->name, v, time ? "Unix milliseconds, an RFC 3339 time, or null" : "a whole number or null");
    /* Year 2200 in milliseconds: seconds or nanoseconds given by mistake are told apart on both sides. */
    if (time && (v->i < 100000000000 || v->i > 7258118400000)) {
        err_set(e, "%s: %lld is no time in Unix milliseconds between 1973 and 2200", f->name, (long long)v->i);
        return ANOMALY_E_INVALID;
    }
    if (!time && (v->i < 0 || v->i > 1000000000000)) {
        err_set(e, "%s: %lld is outside 0 .. 10^12", f->name, (long long)v->i);
        return ANOMALY_E_INVALID;
    }
    *ret = v->i;
    return 0;
}

/* Print a checked tree again, so that what is stored is compact JSON of known depth. */
static int put_tree(struct jw *w, const char *name, const struct json *v, unsigned depth, struct err *e)
{
    if (depth > 4) {
        err_set(e, "%s: nested deeper than 4 levels", name);
        return ANOMALY_E_INVALID;
    }
    if ((v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) && v->n > ITEMS_MAX) {
        err_set(e, "%s: %zu items, at most %d are allowed", name, v->n, ITEMS_MAX);
        return ANOMALY_E_INVALID;
    }
    int r = 0;
    switch (v->kind) {
    case JSON_NULL:
        jw_null(w);
        break;
    case JSON_BOOL:
        jw_bool(w, v->b);
        break;
    case JSON_INT:
        jw_i64(w, v->i);
        break;
    case JSON_REAL:
        jw_f64(w, v->f);
        break;
    case JSON_STRING:
        jw_str(w, v->s);
        break;
    case JSON_ARRAY:
        jw_arr(w);
        for (size_t i = 0; i < v->n && !r; i++)
            r = put_tree(w, name, &v->items[i], depth + 1, e);
        if (!r) /* on failure the writer is given up where it stands */
            jw_end(w);
        break;
    case JSON_OBJECT:
        jw_obj(w);
        for (size_t i = 0; i < v->n && !r; i++) {
            jw_key_str(w, v->keys[i]);
            r = put_tree(w, name, &v->items[i], depth + 1, e);
        }
        if (!r)
            jw_end(w);
        break;
    }
    return r;
}

static bool is_date(struct str s)
{
    if (s.n != 10 || s.p[4] != '-' || s.p[7] != '-')
        return false;
    uint64_t y, m, d;
    return parse_u64(str_sub(s, 0, 4), &y) && parse_u64(str_sub(s, 5, 7), &m) && parse_u64(str_sub(s, 8, 10), &d) &&
           y >= 1970 && m >= 1 && m <= 12 && d >= 1 && d <= 31;
}

static int check_action(const struct json *v, size_t i, struct err *e)
{
    static const char *const known[] = {"text", "owner", "due", "status"};
    if (v->kind != JSON_OBJECT) {
        err_set(e, "actions[%zu]: found %s, wants {\"text\",\"owner\",\"due\",\"status\"}", i, kind_name(v));
        return ANOMALY_E_INVALID;
    }
    for (size_t k = 0; k < v->n; k++) {
        const struct json *x = &v->items[k];
        bool found = false;
        for (size_t n = 0; n < ARRAY_LEN(known); n++)
            found |= str_eqz(v->keys[k], known[n]);
        if (!found) {
            err_set(e, "actions[%zu]: member \"" STR_FMT "\" is not known; allowed: text, owner, due, status", i,
                    STR_ARG(str_sub(v->keys[k], 0, 60)));
            return ANOMALY_E_INVALID;
        }
        if (x->kind != JSON_STRING && x->kind != JSON_NULL) {
            err_set(e, "actions[%zu]." STR_FMT ": found %s, wants a string", i, STR_ARG(v->keys[k]), kind_name(x));
            return ANOMALY_E_INVALID;
        }
        if (str_eqz(v->keys[k], "due") && x->kind == JSON_STRING && x->s.n && !is_date(x->s)) {
            err_set(e, "actions[%zu].due: \"" STR_FMT "\" is not a date YYYY-MM-DD", i, STR_ARG(str_sub(x->s, 0, 60)));
            return ANOMALY_E_INVALID;
        }
        if (str_eqz(v->keys[k], "status") && x->kind == JSON_STRING) {
            bool ok = false;
            for (size_t n = 0; action_states[n]; n++)
                ok |= str_eqz(x->s, action_states[n]);
            if (!ok) {
                err_set(e, "actions[%zu].status: \"" STR_FMT "\" is not known; allowed: todo, doing, done", i,
                        STR_ARG(str_sub(x->s, 0, 60)));
                return ANOMALY_E_INVALID;
            }
        }
    }
    if (str_trim(json_str(v, "text", STR(""))).n == 0) {
        err_set(e, "actions[%zu].text: must not be empty", i);
        return ANOMALY_E_INVALID;
    }
    return 0;
}

static int read_tree(const struct field *f, const struct json *v, struct arena *a, struct str *ret, struct err *e)
{
    bool object = f->type == F_OBJECT;
    if (v->kind == JSON_NULL) {
        *ret = object ? STR("{}") : STR("[]");
        return 0;
    }
    if (v->kind != (object ? JSON_OBJECT : JSON_ARRAY))
        return wrong(e, f->name, v, object ? "an object" : f->type == F_STRINGS ? "an array of strings" : "an array");
    int r = 0;
    for (size_t i = 0; i < v->n && !r; i++) {
        if (f->type == F_STRINGS && v->items[i].kind != JSON_STRING)
            r = wrong(e, f->name, &v->items[i], "an array of strings");
        else if (f->type == F_ACTIONS)
            r = check_action(&v->items[i], i, e);
    }
    if (r)
        return r;
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(anomaly_text_bytes));
    struct jw w;
    jw_init(&w, &b);
    r = put_tree(&w, f->name, v, 0, e);
    if (!r && buf_error(&b)) {
        err_set(e, "%s: over %lld bytes", f->name, (long long)limit(anomaly_text_bytes));
        r = ANOMALY_E_INVALID;
    }
    if (!r)
        *ret = arena_str(a, buf_view(&b));
    return r;
}

static int unknown_field(struct str key, enum change_use use, struct err *e)
{
    const char *names[ARRAY_LEN(fields) + 3];
    size_t n = 0;
    names[n++] = "note";
    names[n++] = "status";
    for (size_t i = 0; i < n_fields; i++) {
        if (str_eqz(key, fields[i].name) && !(fields[i].flags & FHIDE)) {
            err_set(e, "%s: cannot be written%s", fields[i].name,
                    fields[i].flags & FNEW ? " once the sheet exists" : "");
            return ANOMALY_E_INVALID;
        }
        if ((fields[i].flags & FW) || (use == CHANGE_IMPORT && (fields[i].flags & FNEW)))
            names[n++] = fields[i].name;
    }
    const char *near = str_nearest(key, names, n);
    err_set(e, "\"" STR_FMT "\" is no field of an anomaly%s%s%s", STR_ARG(str_sub(key, 0, 60)),
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return ANOMALY_E_INVALID;
}

static int read_field(size_t i, const struct json *v, struct arena *a, struct change *c, struct err *e)
{
    const struct field *f = &fields[i];
    int r = 0;
    switch (f->type) {
    case F_LINE:
        r = read_text(f->name, v, LINE_MAX_BYTES, true, field_str(&c->values, f), e);
        break;
    case F_TEXT:
        r = read_text(f->name, v, limit(anomaly_text_bytes), false, field_str(&c->values, f), e);
        break;
    case F_ENUM:
        r = read_enum(f, v, field_int(&c->values, f), e);
        break;
    case F_INT:
    case F_TIME:
    case F_COUNT:
        r = read_number(f, v, field_int(&c->values, f), e);
        break;
    case F_STRINGS:
    case F_OBJECT:
    case F_ACTIONS:
        r = read_tree(f, v, a, field_str(&c->values, f), e);
        break;
    }
    c->set |= 1ULL << i;
    return r;
}

int change_read(struct str body, enum change_use use, struct arena *a, struct change *ret, struct err *e)
{
    const struct json *o;
    *ret = (struct change){.values = {.users_affected = -1}};
    struct err why = {0};
    if (json_parse(body, a, &o, &why) != 0) {
        err_set(e, "body: %s", why.msg);
        return ANOMALY_E_INVALID;
    }
    if (o->kind != JSON_OBJECT)
        return wrong(e, "body", o, "an object");
    for (size_t i = 0; i < o->n; i++) {
        struct str key = o->keys[i];
        const struct json *v = &o->items[i];
        int r = 0;
        if (str_eqz(key, "note") || str_eqz(key, "text")) {
            r = read_text("note", v, limit(anomaly_text_bytes), false, &ret->note, e);
            ret->note = str_trim(ret->note);
        } else if (str_eqz(key, "rev")) {
            if (v->kind != JSON_INT)
                return wrong(e, "rev", v, "the number of the present revision");
            ret->rev = v->i;
            ret->has_rev = true;
        } else if (str_eqz(key, "id") && use == CHANGE_IMPORT) {
            if (v->kind != JSON_STRING || !anomaly_id_normal(v->s, ret->id)) {
                err_set(e, "id: wants ANO-YYYYMMDD-NNN or ANOM-YYYY-MM-DD-NNN");
                return ANOMALY_E_INVALID;
            }
            ret->renumbers = true;
        } else {
            size_t k = 0;
            while (k < n_fields && !str_eqz(key, fields[k].name))
                k++;
            bool status = k < n_fields && fields[k].offset == AT(status);
            unsigned writable = use == CHANGE_IMPORT ? FW | FNEW : FW;
            if (!status && (k == n_fields || !(fields[k].flags & writable)))
                return unknown_field(key, use, e);
            if (status) {
                int64_t to = 0;
                r = read_enum(&fields[k], v, &to, e);
                ret->moves = true;
                ret->to = (enum anomaly_status)to;
            } else {
                r = read_field(k, v, a, ret, e);
            }
        }
        if (r)
            return r;
    }
    bool titled = false;
    for (size_t k = 0; k < n_fields; k++)
        titled |= fields[k].offset == AT(title) && (ret->set & (1ULL << k));
    if ((use != CHANGE_EDIT && !titled) || (titled && ret->values.title.n == 0)) {
        err_set(e, "title: must not be empty");
        return ANOMALY_E_INVALID;
    }
    if (use == CHANGE_IMPORT && !ret->renumbers) {
        err_set(e, "id: wants ANO-YYYYMMDD-NNN or ANOM-YYYY-MM-DD-NNN");
        return ANOMALY_E_INVALID;
    }
    return 0;
}

int anomaly_check_json(struct str body, bool opening, struct err *e)
{
    struct arena *a = arena_new(0);
    struct change c;
    int r = change_read(body, opening ? CHANGE_OPEN : CHANGE_EDIT, a, &c, e);
    arena_free(a);
    return r;
}

bool anomaly_id_normal(struct str in, char ret[ANOMALY_ID_BYTES])
{
    char date[9] = {0};
    struct str s = in, number;
    if (str_starts(s, STR("ANO-")) && s.n >= 16 && s.p[12] == '-') {
        memcpy(date, s.p + 4, 8);
        number = str_sub(s, 13, s.n);
    } else if (str_starts(s, STR("ANOM-")) && s.n >= 19 && s.p[9] == '-' && s.p[12] == '-' && s.p[15] == '-') {
        memcpy(date, s.p + 5, 4);
        memcpy(date + 4, s.p + 10, 2);
        memcpy(date + 6, s.p + 13, 2);
        number = str_sub(s, 16, s.n);
    } else {
        return false;
    }
    uint64_t y, m, d, n;
    if (number.n < 3 || number.n > 6 || !parse_u64(str_make(date, 4), &y) || !parse_u64(str_make(date + 4, 2), &m) ||
        !parse_u64(str_make(date + 6, 2), &d) || !parse_u64(number, &n))
        return false;
    for (size_t i = 0; i < number.n; i++)
        if (number.p[i] < '0' || number.p[i] > '9')
            return false;
    if (m < 1 || m > 12 || d < 1 || d > 31 || n < 1 || (number.n > 3 && number.p[0] == '0'))
        return false;
    snprintf(ret, ANOMALY_ID_BYTES, "ANO-%s-%03u", date, (unsigned)n);
    return true;
}

/* ---- the workflow ----
 *
 *   open ──────────────► in_progress ──► resolved ──► closed
 *     └──────────────────────────────────▲   │          │
 *   open, in_progress ◄─────── reopened ─────┴──────────┘
 */
bool anomaly_may_move(enum anomaly_status from, enum anomaly_status to)
{
    switch (from) {
    case ANOMALY_OPEN:
        return to == ANOMALY_IN_PROGRESS || to == ANOMALY_RESOLVED;
    case ANOMALY_IN_PROGRESS:
        return to == ANOMALY_RESOLVED;
    case ANOMALY_RESOLVED:
        return to == ANOMALY_CLOSED || to == ANOMALY_OPEN || to == ANOMALY_IN_PROGRESS;
    case ANOMALY_CLOSED:
        return to == ANOMALY_OPEN || to == ANOMALY_IN_PROGRESS;
    case ANOMALY_STATUS_COUNT:
        break;
    }
    return false;
}

void anomaly_move(struct anomaly *a, enum anomaly_status to, int64_t now_ms)
{
    ASSERT(anomaly_may_move((enum anomaly_status)a->status, to));
    bool back = a->status >= ANOMALY_RESOLVED && to <= ANOMALY_IN_PROGRESS;
    if (back) {
        a->reopened++;
        a->stabilised_ms = a->resolved_ms = a->closed_ms = 0;
        a->escalation_base_ms = now_ms; /* the clock of the escalation starts anew */
        a->escalation_level = 0;
    }
    if (to == ANOMALY_IN_PROGRESS && !a->acknowledged_ms)
        a->acknowledged_ms = now_ms;
    if (to == ANOMALY_RESOLVED) {
        a->resolved_ms = now_ms;
        if (!a->stabilised_ms)
            a->stabilised_ms = now_ms;
    }
    if (to == ANOMALY_CLOSED)
        a->closed_ms = now_ms;
    a->status = to;
}
