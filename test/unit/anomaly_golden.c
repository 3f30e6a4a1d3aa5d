// SPDX-License-Identifier: Apache-2.0
/* A record store as version 1 wrote it must open for ever; and the reference names every field of the sheet. */
#include "test.h"

#include "anomaly/anomaly.h"
#include "base/mem.h"
#include "sys/fs.h"
#include <sqlite3.h>

static void version_1(void **state)
{
    (void)state;
    char *golden = fs_join(test_source_dir(), "test/golden/records-1.sql"), *path = fs_join(test_dir(), "records.db");
    _cleanup_buf_ struct buf sql = BUF_INIT(1 << 20);
    assert_int_equal(fs_read_file(golden, &sql), 0);
    sqlite3 *h;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, buf_cstr(&sql), NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);

    struct clock_fake clk;
    clock_fake_init(&clk, 1764000000000);
    struct db *db;
    struct journal *j = NULL;
    struct anomalies *s;
    struct err e = {0};
    if (db_open(path, NULL, &db, &e) || journal_open(db, &clk.clock, NULL, &j, &e))
        fail_msg("%s", e.msg);
    struct anomaly_deps d = {.clock = &clk.clock, .db = db, .journal = j};
    if (anomalies_open(&d, NULL, &s, &e))
        fail_msg("%s", e.msg);
    struct arena *a = arena_new(0);
    struct anomaly *v, x;
    size_t n;
    assert_int_equal(anomaly_list(s, &(struct anomaly_filter){0}, a, &v, &n), 0);
    assert_int_equal(n, 3);
    assert_str(v[0].id, "ANO-20251123-001");
    assert_int_equal(anomaly_get(s, STR("ANO-20251122-001"), a, &x), 0);
    assert_int_equal(x.status, ANOMALY_RESOLVED);
    assert_int_equal(x.reopened, 1);
    assert_int_equal(x.n_alerts, 2);
    assert_true(x.n_evidence > 0 && x.n_lines > 5);
    struct event *ev;
    assert_int_equal(j->list(j, &(struct event_filter){.ascending = true}, a, &ev, &n), 0);
    assert_int_equal(n, 18);
    assert_str(ev[0].kind, "alert.firing");
    /* And it can be written on. */
    char id[ANOMALY_ID_BYTES];
    assert_int_equal(anomaly_apply_json(s, STR("ANO-20251122-001"), STR("{\"root_cause\":\"x\"}"), STR("anna"), &e), 0);
    assert_int_equal(anomaly_open_json(s, STR("{\"title\":\"x\"}"), STR("anna"), id, &e), 0);
    assert_int_equal(db_check(db, &e), 0);
    anomalies_close(s);
    journal_close(j);
    db_close(db);
    arena_free(a);
    free(golden);
    free(path);
}

static void reference(void **state)
{
    (void)state;
    char *path = fs_join(test_source_dir(), "doc/reference/api-hune.md");
    _cleanup_buf_ struct buf doc = BUF_INIT(1 << 20), table = BUF_INIT(1 << 20);
    assert_int_equal(fs_read_file(path, &doc), 0);
    anomaly_reference(&table);
    struct str rest = buf_view(&table), line;
    while (str_line(&rest, &line))
        if (str_find(buf_view(&doc), line) < 0)
            fail_msg("doc/reference/api-hune.md lacks: " STR_FMT, STR_ARG(line));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(version_1), cmocka_unit_test(reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
