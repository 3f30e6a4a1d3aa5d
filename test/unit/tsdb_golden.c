// SPDX-License-Identifier: Apache-2.0
/* A store written by format version 1 opens for ever: test/golden/tsdb-1 holds a log, a block and its deletions.
 * HUNE_GOLDEN_MAKE=FOLDER writes such a store anew (for the next version; never over an old one). */
#include "test.h"

#include "base/arena.h"
#include "base/mem.h"
#include "tsdb/tsdb.h"

#define T0 1700000000000LL

static struct tsdb *open_store(const char *dir)
{
    struct tsdb_options o = tsdb_options_default(dir);
    struct err e = {0};
    struct tsdb *db;
    o.no_threads = true;
    o.retention_ms = -1;
    if (tsdb_open(&o, &db, &e))
        fail_msg("%s", e.msg);
    return db;
}

static double value(int series, int i)
{
    switch (series) {
    case 0:
        return i * 1.25;
    case 1:
        return i % 7 == 3 ? stale_nan() : 1.0 / (i + 1);
    default:
        return i * 1000.0;
    }
}

static struct hist_span spans[] = {{0, 2}};
static double buckets[] = {1, 2.5};

static void put(struct tsdb *db, int from, int to)
{
    static const char *const ids[] = {"0", "1", "2"};
    for (int i = from; i < to; i++) {
        struct sample_row rows[4] = {0};
        struct label l[4][2];
        struct histogram h = {
            .count = i + 1, .sum = i, .schema = 3, .n_pos_spans = 1, .n_pos = 2, .pos_spans = spans, .pos = buckets};
        for (int s = 0; s < 4; s++) {
            l[s][0] = (struct label){STR("__name__"), s < 3 ? STR("m") : STR("h")};
            l[s][1] = (struct label){STR("é"), s < 3 ? str_of(ids[s]) : STR("x")};
            rows[s] = (struct sample_row){.labels = {l[s], 2}, .t = T0 + i * 1000, .v = value(s, i)};
        }
        rows[2].st = T0 - 1;
        rows[3].h = &h;
        assert_int_equal(sink_append(tsdb_sink(db), rows, 4, 0), 0);
    }
}

static void make(const char *dir)
{
    struct tsdb *db = open_store(dir);
    struct matcher m;
    struct err e = {0};
    put(db, 0, 100);
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("é"), STR("0"), &e), 0);
    assert_int_equal(tsdb_delete(db, &m, 1, T0 + 5000, T0 + 7000), 0);
    matcher_done(&m);
    put(db, 100, 120);
    tsdb_close(db);
}

static void copy(const char *from, const char *to, const char *part)
{
    char *a = fs_join(from, part), *b = fs_join(to, part);
    struct fs_names names;
    assert_int_equal(fs_mkdirs(b, 0700), 0);
    assert_int_equal(fs_list(a, &names), 0);
    assert_true(names.n > 0);
    for (size_t i = 0; i < names.n; i++) {
        char *x = fs_join(a, names.v[i]), *y = fs_join(b, names.v[i]);
        struct buf content = BUF_INIT(1 << 20);
        assert_int_equal(fs_read_file(x, &content), 0);
        assert_int_equal(fs_write_file(&vfs_real, y, buf_view(&content), 0600), 0);
        buf_done(&content);
        free(x), free(y);
    }
    fs_names_free(&names);
    free(a), free(b);
}

static void test_version_1(void **state)
{
    (void)state;
    if (getenv("HUNE_GOLDEN_MAKE"))
        make(getenv("HUNE_GOLDEN_MAKE"));
    const char *dir = test_dir();
    char *golden = xasprintf("%s/test/golden/tsdb-1", test_source_dir());
    copy(golden, dir, "wal");
    copy(golden, dir, "blocks");
    struct tsdb *db = open_store(dir);
    struct tsdb_stats st;
    tsdb_stats(db, &st);
    assert_int_equal(st.corruptions, 0);
    assert_int_equal(st.blocks, 1);
    assert_int_equal(st.replayed_samples, 80);
    assert_int_equal(st.tombstones, 1);
    struct arena *a = arena_new(0);
    struct snapshot *sn;
    struct source_list list;
    struct column c = {0};
    assert_int_equal(source_open(tsdb_source(db), &sn), 0);
    assert_int_equal(sn->ops->select(sn, NULL, 0, INT64_MIN, INT64_MAX, a, &list), 0);
    assert_int_equal(list.n, 4); /* h, then the three m */
    for (size_t s = 0; s < 4; s++) {
        int which = s == 0 ? 3 : (int)s - 1, i = 0;
        column_reset(&c);
        assert_int_equal(sn->ops->read(sn, &list.v[s], INT64_MIN, INT64_MAX, &c), 0);
        for (size_t k = 0; k < c.n; k++, i++) {
            if (which == 0 && i == 5)
                i = 8; /* deleted */
            assert_int_equal(c.t[k], T0 + i * 1000);
            if (which == 3)
                assert_true(c.h[k]->count == i + 1 && c.h[k]->pos[1] == 2.5 && c.h[k]->schema == 3);
            else
                assert_true(f64_bits(c.v[k]) == f64_bits(value(which, i)));
            assert_int_equal(c.st ? c.st[k] : 0, which == 2 ? T0 - 1 : 0);
        }
        assert_int_equal(i, 120);
    }
    assert_int_equal(tsdb_check(db, NULL, NULL), 0);
    column_done(&c);
    snapshot_release(sn);
    arena_free(a);
    tsdb_close(db);
    free(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_version_1)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
