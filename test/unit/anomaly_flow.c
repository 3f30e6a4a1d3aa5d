// SPDX-License-Identifier: Apache-2.0
/* Alerts in, sheets out, under a fake clock; people; restarts; what is refused. */
#include "test.h"

#include "anomaly/anomaly.h"
#include "base/mem.h"
#include "sys/fs.h"
#include <math.h>

#define T0 1763848800000LL /* 2025-11-22T22:00:00Z */
#define MIN_MS 60000LL

struct world {
    char *path;
    struct clock_fake clk;
    struct query_engine engine;
    struct db *db;
    struct journal *j;
    struct anomalies *s;
    struct arena *a;
};

/* Answers every range with two series: the alert's own instance, and another one. */
static int fake_eval(struct query_engine *q, const struct query_request *req, struct arena *a, struct query_result *ret,
                     struct err *e)
{
    (void)q, (void)e;
    static const struct label own[] = {
        {{"__name__", 8}, {"up", 2}}, {{"instance", 8}, {"api:3000", 8}}, {{"job", 3}, {"api", 3}}};
    static const struct label other[] = {
        {{"__name__", 8}, {"up", 2}}, {{"instance", 8}, {"db:1", 4}}, {{"job", 3}, {"db", 2}}};
    assert_true(str_eqz(req->expr, "up")); /* without its comparison */
    struct query_series *s = ARENA_ARRAY(a, struct query_series, 2);
    size_t n = (size_t)((req->end_ms - req->start_ms) / req->step_ms + 1);
    int64_t *t = ARENA_ARRAY(a, int64_t, n);
    double *v = ARENA_ARRAY(a, double, n);
    for (size_t i = 0; i < n; i++) {
        t[i] = req->start_ms + (int64_t)i * req->step_ms;
        v[i] = i + 4 < n;
    }
    s[0] = (struct query_series){.labels = {own, 3}, .n = n, .t = t, .v = v};
    s[1] = (struct query_series){.labels = {other, 3}, .n = n, .t = t, .v = v};
    *ret = (struct query_result){.kind = QUERY_MATRIX, .series = s, .n_series = 2};
    return 0;
}

static void enter(struct world *w)
{
    struct err e = {0};
    assert_int_equal(db_open(w->path, NULL, &w->db, &e), 0);
    assert_int_equal(journal_open(w->db, &w->clk.clock, NULL, &w->j, &e), 0);
    struct anomaly_deps d = {.clock = &w->clk.clock, .db = w->db, .journal = w->j, .query = &w->engine};
    assert_int_equal(anomalies_open(&d, NULL, &w->s, &e), 0);
}

static void leave(struct world *w)
{
    anomalies_close(w->s);
    journal_close(w->j);
    db_close(w->db);
}

static int setup(void **state)
{
    struct world *w = NEW(struct world);
    w->path = fs_join(test_dir(), "records.db");
    clock_fake_init(&w->clk, T0);
    w->engine.eval = fake_eval;
    w->a = arena_new(0);
    enter(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    leave(w);
    arena_free(w->a);
    free(w->path);
    free(w);
    return 0;
}

static void alert(struct world *w, const char *name, const char *service, const char *fp, enum severity sev,
                  bool firing)
{
    struct str payload = arena_fmt(
        w->a,
        "{\"alertname\":\"%s\",\"labels\":{\"alertname\":\"%s\",\"instance\":\"api:3000\",\"job\":\"%s\"},"
        "\"annotations\":{\"description\":\"no answer\"},\"value\":0,\"expr\":\"up == 0\",\"active_ms\":%lld}",
        name, name, service, (long long)w->clk.ms - 10000);
    struct event e = {.kind = firing ? STR("alert.firing") : STR("alert.resolved"),
                      .severity = sev,
                      .service = str_of(service),
                      .subject = str_of(fp),
                      .actor = STR("hune"),
                      .summary = arena_fmt(w->a, "%s is firing", name),
                      .payload = payload};
    assert_int_equal(w->j->append(w->j, &e), 0);
}

static struct anomaly get(struct world *w, const char *id)
{
    struct anomaly x;
    assert_int_equal(anomaly_get(w->s, str_of(id), w->a, &x), 0);
    return x;
}

static size_t count(struct world *w, struct anomaly_filter f)
{
    size_t n = 99, listed;
    struct anomaly *v;
    assert_int_equal(anomaly_count(w->s, &f, &n), 0);
    assert_int_equal(anomaly_list(w->s, &f, w->a, &v, &listed), 0);
    assert_int_equal(n, listed);
    return n;
}

static size_t events(struct world *w, const char *kind)
{
    struct event *v;
    size_t n;
    assert_int_equal(w->j->list(w->j, &(struct event_filter){.kind_prefix = str_of(kind), .limit = 1000}, w->a, &v, &n),
                     0);
    return n;
}

static void opens_and_resolves(void **state)
{
    struct world *w = *state;
    alert(w, "InstanceDown", "api", "aaaa", SEV_CRITICAL, true);
    alert(w, "Chatter", "api", "bbbb", SEV_INFO, true);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(count(w, (struct anomaly_filter){0}), 1);
    struct anomaly x = get(w, "ANO-20251122-001");
    assert_str(x.title, "InstanceDown: api");
    assert_str(x.service, "api");
    assert_str(x.components, "[\"api\"]");
    assert_str(x.environment, "production");
    assert_str(x.alert, "aaaa");
    assert_int_equal(x.severity, SEV_CRITICAL);
    assert_int_equal(x.status, ANOMALY_OPEN);
    assert_int_equal(x.detection, ANOMALY_AUTOMATIC);
    assert_int_equal(x.started_ms, T0 - 10000);
    assert_int_equal(x.detected_ms, T0);
    assert_int_equal(x.n_alerts, 1);
    assert_int_equal(x.n_evidence, 1);
    assert_true(str_find(x.evidence[0].measures, STR("api:3000")) > 0);
    assert_true(str_find(x.evidence[0].measures, STR("db:1")) < 0); /* not about this alert */
    assert_int_equal(x.escalation_level, 1);                        /* critical: at once */
    assert_int_equal(events(w, "anomaly.opened"), 1);
    assert_int_equal(events(w, "anomaly.escalated"), 1);

    clock_fake_advance(&w->clk, 5 * MIN_MS);
    alert(w, "InstanceDown", "api", "aaaa", SEV_CRITICAL, false);
    assert_int_equal(anomalies_step(w->s), 0);
    x = get(w, "ANOM-2025-11-22-001");
    assert_int_equal(x.status, ANOMALY_RESOLVED);
    assert_int_equal(x.resolved_ms, T0 + 5 * MIN_MS);
    assert_int_equal(x.stabilised_ms, T0 + 5 * MIN_MS);
    assert_int_equal(x.alerts[0].ended_ms, T0 + 5 * MIN_MS);
    assert_int_equal(events(w, "anomaly.resolved"), 1);

    /* Again within half an hour: the same sheet, reopened. Later: a new one, next number. */
    clock_fake_advance(&w->clk, 10 * MIN_MS);
    alert(w, "InstanceDown", "api", "aaaa", SEV_CRITICAL, true);
    assert_int_equal(anomalies_step(w->s), 0);
    x = get(w, "ANO-20251122-001");
    assert_int_equal(x.status, ANOMALY_OPEN);
    assert_int_equal(x.reopened, 1);
    assert_int_equal(x.resolved_ms, 0);
    alert(w, "InstanceDown", "api", "aaaa", SEV_CRITICAL, false);
    assert_int_equal(anomalies_step(w->s), 0);
    clock_fake_advance(&w->clk, 31 * MIN_MS);
    alert(w, "InstanceDown", "api", "aaaa", SEV_CRITICAL, true);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(count(w, (struct anomaly_filter){0}), 2);
    assert_int_equal(get(w, "ANO-20251122-002").status, ANOMALY_OPEN);
    /* The next day counts from one. */
    clock_fake_advance(&w->clk, 24 * 60 * MIN_MS);
    alert(w, "SlowApi", "api", "cccc", SEV_WARNING, true);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(get(w, "ANO-20251123-001").category, ANOMALY_PERFORMANCE);
    assert_int_equal(count(w, (struct anomaly_filter){.statuses = 1u << ANOMALY_RESOLVED}), 1);
    assert_int_equal(count(w, (struct anomaly_filter){.text = STR("slow")}), 1);
    assert_int_equal(count(w, (struct anomaly_filter){.min_severity = SEV_CRITICAL}), 2);
    assert_int_equal(count(w, (struct anomaly_filter){.service = STR("web")}), 0);
}

static void joins(void **state)
{
    struct world *w = *state;
    alert(w, "HighLatency", "api", "a1", SEV_WARNING, true);
    alert(w, "HighLatency", "api", "a2", SEV_CRITICAL, true); /* another instance, worse */
    alert(w, "HighLatency", "web", "a3", SEV_WARNING, true);  /* another service */
    alert(w, "HighLatency", "api", "a1", SEV_WARNING, true);  /* told again */
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(count(w, (struct anomaly_filter){0}), 2);
    struct anomaly x = get(w, "ANO-20251122-001");
    assert_int_equal(x.severity, SEV_CRITICAL);
    assert_int_equal(x.alerts_active, 2);
    alert(w, "HighLatency", "api", "a1", SEV_WARNING, false);
    assert_int_equal(anomalies_step(w->s), 0);
    x = get(w, "ANO-20251122-001");
    assert_int_equal(x.status, ANOMALY_OPEN);
    assert_int_equal(x.alerts_active, 1);
    alert(w, "HighLatency", "api", "a2", SEV_WARNING, false);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(get(w, "ANO-20251122-001").status, ANOMALY_RESOLVED);
}

static void nothing_lost_nothing_twice(void **state)
{
    struct world *w = *state;
    /* Alerts while nobody followed: handled at the next start, once. */
    alert(w, "A", "api", "1", SEV_CRITICAL, true);
    leave(w);
    enter(w);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(count(w, (struct anomaly_filter){0}), 1);
    leave(w);
    enter(w);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(count(w, (struct anomaly_filter){0}), 1);
    assert_int_equal(events(w, "anomaly.opened"), 1);
    /* The end was never told: after a while it is concluded, at the time hune came back. */
    int64_t back = w->clk.ms;
    clock_fake_advance(&w->clk, 16 * MIN_MS);
    assert_int_equal(anomalies_step(w->s), 0);
    struct anomaly x = get(w, "ANO-20251122-001");
    assert_int_equal(x.status, ANOMALY_RESOLVED);
    assert_int_equal(x.resolved_ms, back);
    /* And one that is told again after the start is not. */
    alert(w, "B", "api", "2", SEV_CRITICAL, true);
    assert_int_equal(anomalies_step(w->s), 0);
    leave(w);
    enter(w);
    alert(w, "B", "api", "2", SEV_CRITICAL, true);
    clock_fake_advance(&w->clk, 16 * MIN_MS);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(get(w, "ANO-20251122-002").status, ANOMALY_OPEN);
}

static void escalates(void **state)
{
    struct world *w = *state;
    char id[ANOMALY_ID_BYTES];
    struct err e = {0};
    alert(w, "A", "api", "1", SEV_CRITICAL, true);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(events(w, "anomaly.escalated"), 1);
    clock_fake_advance(&w->clk, 29 * MIN_MS);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(events(w, "anomaly.escalated"), 1);
    clock_fake_advance(&w->clk, MIN_MS);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(events(w, "anomaly.escalated"), 2);
    assert_int_equal(anomaly_apply_json(w->s, STR("ANO-20251122-001"), STR("{\"assignee\":\"anna\"}"), STR("anna"), &e),
                     0);
    clock_fake_advance(&w->clk, 300 * MIN_MS); /* acknowledged: nobody else is called */
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(events(w, "anomaly.escalated"), 2);
    assert_int_equal(anomaly_open_json(w->s, STR("{\"title\":\"x\",\"severity\":\"warning\"}"), STR("bob"), id, &e), 0);
    clock_fake_advance(&w->clk, 25 * 60 * MIN_MS);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(get(w, id).escalation_level, 3); /* all three steps at once: hune was not looking */
    clock_fake_advance(&w->clk, 1000 * 60 * MIN_MS);
    assert_int_equal(anomalies_step(w->s), 0);
    assert_int_equal(get(w, id).escalation_level, 3);
}

static void people(void **state)
{
    struct world *w = *state;
    char id[ANOMALY_ID_BYTES], other[ANOMALY_ID_BYTES];
    struct err e = {0};
    struct str anna = STR("anna");
    assert_int_equal(
        anomaly_open_json(w->s,
                          STR("{\"title\":\" Le formulaire plante \",\"severity\":\"critical\",\"service\":\"web\","
                              "\"components\":[\"front\",\"api\"],\"detection\":\"user_report\","
                              "\"description\":\"ligne 1\\nligne 2\"}"),
                          anna, id, &e),
        0);
    struct anomaly x = get(w, id);
    assert_str(x.title, "Le formulaire plante");
    assert_str(x.components, "[\"front\",\"api\"]");
    assert_int_equal(x.detection, ANOMALY_USER_REPORT);
    assert_int_equal(x.rev, 1);
    assert_int_equal(anomaly_apply_json(w->s, str_of(id), STR("{\"note\":\"je regarde\"}"), anna, &e), 0);
    assert_int_equal(anomaly_move_json(w->s, str_of(id), ANOMALY_CLOSED, STR("{}"), anna, &e), ANOMALY_E_STATE);
    assert_non_null(strstr(e.msg, "resolve it first"));
    err_clear(&e);
    clock_fake_advance(&w->clk, MIN_MS);
    assert_int_equal(anomaly_move_json(w->s, str_of(id), ANOMALY_IN_PROGRESS, STR(""), anna, &e), 0);
    clock_fake_advance(&w->clk, MIN_MS);
    assert_int_equal(
        anomaly_move_json(w->s, str_of(id), ANOMALY_RESOLVED,
                          STR("{\"text\":\"done\",\"root_cause\":\"typo\",\"fix\":\"v1.2.1\",\"loss\":\"partial\"}"),
                          anna, &e),
        0);
    x = get(w, id);
    assert_int_equal(x.status, ANOMALY_RESOLVED);
    assert_int_equal(x.acknowledged_ms, T0 + MIN_MS);
    assert_int_equal(x.resolved_ms, T0 + 2 * MIN_MS);
    assert_str(x.root_cause, "typo");
    assert_int_equal(x.rev, 4);
    assert_int_equal(anomaly_apply_json(w->s, str_of(id), STR("{\"rev\":2,\"title\":\"y\"}"), anna, &e),
                     ANOMALY_E_CONFLICT);
    err_clear(&e);
    /* No change: no revision, no line. */
    assert_int_equal(anomaly_apply_json(w->s, str_of(id), STR("{\"root_cause\":\"typo\"}"), anna, &e), 0);
    assert_int_equal(get(w, id).rev, 4);
    assert_int_equal(anomaly_move_json(w->s, str_of(id), ANOMALY_CLOSED, STR("{}"), anna, &e), 0);
    assert_int_equal(anomaly_move_json(w->s, str_of(id), ANOMALY_CLOSED, STR("{}"), anna, &e), ANOMALY_E_STATE);
    err_clear(&e);
    assert_int_equal(anomaly_move_json(w->s, str_of(id), ANOMALY_OPEN, STR("{\"text\":\"again\"}"), anna, &e), 0);
    x = get(w, id);
    assert_int_equal(x.reopened, 1);
    assert_int_equal(x.resolved_ms, 0);
    assert_true(x.n_lines >= 8);
    assert_int_equal(anomaly_apply_json(w->s, STR("ANO-20200101-001"), STR("{}"), anna, &e), ANOMALY_E_NOT_FOUND);
    err_clear(&e);
    assert_int_equal(anomaly_apply_json(w->s, STR("nonsense"), STR("{}"), anna, &e), ANOMALY_E_NOT_FOUND);
    /* Taking over an old sheet; its number is not given out again. */
    err_clear(&e);
    assert_int_equal(anomaly_import_json(w->s,
                                         STR("{\"id\":\"ANOM-2025-11-22-007\",\"title\":\"XSS\",\"status\":\"closed\","
                                             "\"detected_ms\":\"2025-08-16T10:00:00Z\",\"resolved_ms\":1755341000000}"),
                                         anna, other, &e),
                     0);
    assert_string_equal(other, "ANO-20251122-007");
    assert_int_equal(anomaly_open_json(w->s, STR("{\"title\":\"z\"}"), anna, id, &e), 0);
    assert_string_equal(id, "ANO-20251122-008");
    assert_int_equal(anomaly_import_json(w->s, STR("{\"id\":\"ANO-20251122-007\",\"title\":\"x\"}"), anna, other, &e),
                     ANOMALY_E_CONFLICT);

    /* What is written can be read back as JSON. */
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    struct jw jw;
    jw_init(&jw, &b);
    x = get(w, "ANO-20251122-001");
    anomaly_json(&jw, &x, ANOMALY_FULL, w->clk.ms);
    const struct json *o;
    assert_int_equal(json_parse(buf_view(&b), w->a, &o, &e), 0);
    assert_str(json_str(o, "status", STR("")), "open");
    assert_int_equal(json_get(o, "closed_ms")->kind, JSON_NULL);
    assert_int_equal(json_get(json_get(o, "phases"), "decision_ms")->i, MIN_MS);
    assert_int_equal(json_get(o, "timeline")->n, x.n_lines);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } rows[] = {
        {"[", "body: "},
        {"[]", "body: found an array"},
        {"{\"titel\":\"x\"}", "did you mean \"title\""},
        {"{\"severity\":\"bad\"}", "allowed: \"\", info, warning, critical"},
        {"{\"severity\":3}", "severity: found a number"},
        {"{\"title\":7}", "title: found a number, wants a string"},
        {"{\"title\":\"a\\nb\"}", "one line"},
        {"{\"title\":\"  \"}", "title: must not be empty"},
        {"{\"rev\":\"x\"}", "rev: found a string"},
        {"{\"components\":\"api\"}", "components: found a string"},
        {"{\"components\":[1]}", "components: found a number"},
        {"{\"links\":[]}", "links: found an array, wants an object"},
        {"{\"started_ms\":1763848800}", "no time in Unix milliseconds"},
        {"{\"started_ms\":\"yesterday\"}", "started_ms: found a string"},
        {"{\"users_affected\":-4}", "users_affected: -4 is outside"},
        {"{\"actions\":[{\"text\":\"\"}]}", "actions[0].text: must not be empty"},
        {"{\"actions\":[{\"text\":\"a\",\"due\":\"soon\"}]}", "YYYY-MM-DD"},
        {"{\"actions\":[{\"text\":\"a\",\"status\":\"later\"}]}", "todo, doing, done"},
        {"{\"actions\":[{\"text\":\"a\",\"who\":\"b\"}]}", "\"who\" is not known"},
        {"{\"figures\":{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1}}}}}}", "deeper than 4"},
        {"{\"closed_ms\":1}", "closed_ms: cannot be written once"},
        {"{\"rev2\":1}", "is no field"},
        {"{\"join_key\":\"x\"}", "is no field"},
        {"{\"id\":\"ANO-20250101-001\"}", "is no field"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {0};
        int r = anomaly_check_json(str_of(rows[i].body), false, &e);
        if (r != ANOMALY_E_INVALID || !strstr(e.msg, rows[i].says))
            fail_msg("%s: %d \"%s\", wanted \"%s\"", rows[i].body, r, e.msg, rows[i].says);
    }
    struct err e = {0};
    assert_int_equal(anomaly_check_json(STR("{}"), false, &e), 0);
    assert_int_equal(anomaly_check_json(STR("{}"), true, &e), ANOMALY_E_INVALID);
    char *big = xmalloc(70000);
    int n = snprintf(big, 70000, "{\"description\":\"%066000d\"}", 1);
    err_clear(&e);
    assert_int_equal(anomaly_check_json(str_make(big, (size_t)n), false, &e), ANOMALY_E_INVALID);
    assert_non_null(strstr(e.msg, "at most 65536"));
    free(big);
}

static void numbers(void **state)
{
    (void)state;
    char id[ANOMALY_ID_BYTES];
    assert_true(anomaly_id_normal(STR("ANO-20250816-003"), id));
    assert_string_equal(id, "ANO-20250816-003");
    assert_true(anomaly_id_normal(STR("ANOM-2025-08-16-003"), id));
    assert_string_equal(id, "ANO-20250816-003");
    assert_true(anomaly_id_normal(STR("ANO-20250816-1234"), id));
    static const char *const bad[] = {"",
                                      "ANO",
                                      "ANO-20250816-",
                                      "ANO-20250816-03",
                                      "ANO-20251316-003",
                                      "ANO-20250816-000",
                                      "ano-20250816-003",
                                      "ANO-20250816-0003",
                                      "ANOM-20250816-003",
                                      "ANO-20250816-00x",
                                      "ANOM-2025-08-16-",
                                      "ANO-20250816-1234567",
                                      "ANO-2025 816-003"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (anomaly_id_normal(str_of(bad[i]), id))
            fail_msg("taken: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_and_resolves, setup, teardown),
        cmocka_unit_test_setup_teardown(joins, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_lost_nothing_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(escalates, setup, teardown),
        cmocka_unit_test_setup_teardown(people, setup, teardown),
        cmocka_unit_test(refuses),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
