// SPDX-License-Identifier: Apache-2.0
/* Writers, readers and maintenance at once: every batch is seen whole or not at all, and nothing is lost. Meant for the
 * thread sanitizer as well. */
#include "test.h"

#include "base/arena.h"
#include "base/mem.h"
#include "sys/thread.h"
#include "tsdb/tsdb.h"
#include <unistd.h>

#define T0 1700000000000LL
enum { WRITERS = 2, READERS = 2, SERIES = 40, BATCHES = 400 };

static struct tsdb *db;
static _Atomic bool stop;

static struct labels labels_of(int writer, int i, struct label l[3], char text[2][16])
{
    snprintf(text[0], 16, "%d", i);
    snprintf(text[1], 16, "w%d", writer);
    l[0] = (struct label){STR("__name__"), STR("m")};
    l[1] = (struct label){STR("i"), str_of(text[0])};
    l[2] = (struct label){STR("writer"), str_of(text[1])};
    return (struct labels){.v = l, .n = 3};
}

static void *write_all(void *arg)
{
    int writer = (int)(intptr_t)arg;
    struct label l[SERIES][3];
    char text[SERIES][2][16];
    struct sample_row rows[SERIES] = {0};
    for (int i = 0; i < SERIES; i++)
        rows[i].labels = labels_of(writer, i, l[i], text[i]);
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < SERIES; i++) {
            rows[i].t = T0 + b * 1000;
            rows[i].v = b;
        }
        if (sink_append(tsdb_sink(db), rows, SERIES, 0))
            FATAL("append");
        for (int i = 0; i < SERIES; i++)
            if (rows[i].status != ROW_OK)
                FATAL("row refused: %s", row_status_text[rows[i].status]);
    }
    return NULL;
}

static void *read_all(void *arg)
{
    (void)arg;
    struct column c = {0};
    while (!atomic_load(&stop)) {
        struct arena *a = arena_new(0);
        struct snapshot *sn;
        struct source_list list;
        if (source_open(tsdb_source(db), &sn) || sn->ops->select(sn, NULL, 0, INT64_MIN, INT64_MAX, a, &list))
            FATAL("select");
        size_t n[WRITERS] = {0};
        for (int round = 0; round < 2; round++) { /* twice: nothing changes under a snapshot */
            for (size_t i = 0; i < list.n; i++) {
                column_reset(&c);
                if (sn->ops->read(sn, &list.v[i], INT64_MIN, INT64_MAX, &c))
                    FATAL("read");
                int w = labels_get(list.v[i].labels, STR("writer")).p[1] - '0';
                if (c.n == 0 || (n[w] && n[w] != c.n))
                    FATAL("a batch was seen in part: %zu and %zu samples", n[w], c.n);
                n[w] = c.n;
                for (size_t k = 0; k < c.n; k++)
                    if (c.t[k] != T0 + (int64_t)k * 1000 || c.v[k] != (double)k)
                        FATAL("wrong sample");
            }
        }
        struct str *names;
        size_t n_names;
        if (sn->ops->label_values(sn, STR("i"), NULL, 0, INT64_MIN, INT64_MAX, 0, a, &names, &n_names))
            FATAL("values");
        snapshot_release(sn);
        arena_free(a);
    }
    column_done(&c);
    return NULL;
}

static void *maintain(void *arg)
{
    (void)arg;
    struct tsdb_stats st;
    while (!atomic_load(&stop)) {
        if (tsdb_flush(db) || tsdb_tick(db) || tsdb_sync(db))
            FATAL("maintenance");
        tsdb_stats(db, &st);
        if (tsdb_check(db, NULL, NULL))
            FATAL("check");
        usleep(2000);
    }
    return NULL;
}

static void test_together(void **state)
{
    (void)state;
    struct tsdb_options o = tsdb_options_default(test_dir());
    struct err e = {0};
    o.retention_ms = -1;
    o.block_range_ms = 60000;
    assert_int_equal(tsdb_open(&o, &db, &e), 0);
    pthread_t w[WRITERS], r[READERS], m;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&r[i], "reader", read_all, NULL), 0);
    assert_int_equal(thread_start(&m, "maintenance", maintain, NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(thread_start(&w[i], "writer", write_all, (void *)(intptr_t)i), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(w[i], NULL);
    atomic_store(&stop, true);
    pthread_join(m, NULL);
    for (int i = 0; i < READERS; i++)
        pthread_join(r[i], NULL);
    struct tsdb_stats st;
    tsdb_stats(db, &st);
    assert_int_equal(st.appended, WRITERS * SERIES * BATCHES);
    assert_int_equal(st.corruptions, 0);
    tsdb_close(db);
    assert_int_equal(tsdb_open(&o, &db, &e), 0);
    tsdb_stats(db, &st);
    assert_int_equal(st.block_samples + st.head_samples, WRITERS * SERIES * BATCHES);
    tsdb_close(db);
}

int main(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
