// SPDX-License-Identifier: Apache-2.0
/* The store's rules one by one: refusals, duplicates, references, retention, damage, a full disk, what it tells. */
#include "test.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/vec.h"
#include "tsdb/tsdb.h"
#include <fcntl.h>
#include <unistd.h>

#define T0 1700000000000LL
#define MINUTE 60000LL
#define DAY (24 * 60 * MINUTE)

static struct clock_fake clock_now;

static struct tsdb_options options(const char *dir)
{
    struct tsdb_options o = tsdb_options_default(dir);
    clock_fake_init(&clock_now, T0);
    o.clock = &clock_now.clock;
    o.no_threads = true;
    return o;
}

static struct tsdb *open_store(const struct tsdb_options *o)
{
    struct err e = {0};
    struct tsdb *db;
    if (tsdb_open(o, &db, &e))
        fail_msg("open: %s", e.msg);
    return db;
}

static struct label lab[8][2];
static struct labels series(const char *id)
{
    static unsigned next;
    struct label *l = lab[next++ % ARRAY_LEN(lab)];
    l[0] = (struct label){STR("__name__"), STR("m")};
    l[1] = (struct label){STR("id"), str_of(id)};
    return (struct labels){.v = l, .n = 2};
}

static struct sample_row put_flags(struct tsdb *db, const char *id, int64_t t, double v, unsigned flags)
{
    struct sample_row row = {.labels = series(id), .t = t, .v = v};
    assert_int_equal(sink_append(tsdb_sink(db), &row, 1, flags), 0);
    return row;
}

static enum row_status put(struct tsdb *db, const char *id, int64_t t, double v)
{
    return put_flags(db, id, t, v, 0).status;
}

/* Samples of one series; the first ones into *c. */
static size_t get(struct tsdb *db, const char *id, struct column *c)
{
    struct arena *a = arena_new(0);
    struct snapshot *sn;
    struct source_list list;
    struct matcher m;
    struct err e = {0};
    assert_int_equal(matcher_init(&m, MATCH_EQ, STR("id"), str_of(id), &e), 0);
    assert_int_equal(source_open(tsdb_source(db), &sn), 0);
    assert_int_equal(sn->ops->select(sn, &m, 1, INT64_MIN, INT64_MAX, a, &list), 0);
    column_reset(c);
    if (list.n)
        assert_int_equal(sn->ops->read(sn, &list.v[0], INT64_MIN, INT64_MAX, c), 0);
    snapshot_release(sn);
    matcher_done(&m);
    arena_free(a);
    return c->n;
}

static struct tsdb_stats stats(struct tsdb *db)
{
    struct tsdb_stats s;
    tsdb_stats(db, &s);
    return s;
}

static void test_rules(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    struct tsdb *db = open_store(&o);
    struct column c = {0};
    struct sample_row first = put_flags(db, "1", T0, 1, 0);
    assert_true(first.created && first.ref != 0 && first.status == ROW_OK);
    assert_int_equal(put(db, "1", T0, 1), ROW_DUPLICATE);
    assert_int_equal(put(db, "1", T0, 2), ROW_DUP_VALUE);
    assert_int_equal(put(db, "1", T0 + 1000, 3), ROW_OK);
    assert_int_equal(put(db, "1", T0, 1), ROW_DUPLICATE);
    assert_int_equal(put(db, "1", T0, 2), ROW_DUP_VALUE);
    assert_int_equal(put(db, "1", T0 - 14 * DAY, 2), ROW_OK);
    assert_int_equal(put(db, "1", T0 - 16 * DAY, 2), ROW_TOO_OLD);
    assert_int_equal(put(db, "1", T0 + 59 * MINUTE, 2), ROW_OK);
    assert_int_equal(put(db, "1", T0 + 61 * MINUTE, 2), ROW_TOO_NEW);
    assert_int_equal(put_flags(db, "1", T0 + 500, 2, SINK_EXACT_ORDER).status, ROW_OUT_OF_ORDER);
    assert_int_equal(get(db, "1", &c), 4);
    /* By reference alone; an unknown one needs labels. */
    struct sample_row rows[3] = {{.ref = first.ref, .t = T0 + 2000, .v = 5}, {.ref = 999, .t = T0}, {.t = T0}};
    assert_int_equal(sink_append(tsdb_sink(db), rows, 3, 0), 0);
    assert_int_equal(rows[0].status, ROW_OK);
    assert_int_equal(rows[1].status, ROW_BAD_LABELS);
    assert_int_equal(rows[2].status, ROW_BAD_LABELS);
    /* Labels that are none: unsorted, doubled, empty value, no UTF-8. */
    struct label bad[][2] = {{{STR("b"), STR("1")}, {STR("a"), STR("1")}},
                             {{STR("a"), STR("1")}, {STR("a"), STR("2")}},
                             {{STR("a"), STR("")}, {STR("b"), STR("2")}},
                             {{STR("a"), STR("\xff")}, {STR("b"), STR("2")}}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct sample_row row = {.labels = {bad[i], 2}, .t = T0};
        assert_int_equal(sink_append(tsdb_sink(db), &row, 1, 0), 0);
        assert_int_equal(row.status, ROW_BAD_LABELS);
    }
    assert_int_equal(stats(db).series, 1);
    assert_int_equal(sink_append(tsdb_sink(db), NULL, 0, 0), 0);
    tsdb_close(db);
    /* As Prometheus without a window, and with one. */
    o.ooo_window_ms = 0;
    db = open_store(&o);
    assert_int_equal(put(db, "1", T0 + 1500, 3), ROW_OUT_OF_ORDER);
    tsdb_close(db);
    o.ooo_window_ms = 90 * MINUTE;
    db = open_store(&o);
    assert_int_equal(put(db, "1", T0 + 1500, 3), ROW_OK);
    assert_int_equal(put(db, "1", T0 - 40 * MINUTE, 3), ROW_TOO_OLD);
    assert_int_equal(put(db, "new", T0 - 40 * MINUTE, 3), ROW_OK); /* a new series has no order yet */
    tsdb_close(db);
    column_done(&c);
}

static void test_second_opener(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    struct tsdb *db = open_store(&o), *other;
    struct err e = {0};
    assert_int_equal(tsdb_open(&o, &other, &e), -EWOULDBLOCK);
    assert_non_null(strstr(e.msg, "in use by process"));
    tsdb_close(db);
    assert_null(tsdb_close(NULL));
    o.path = "/proc/nonexistent/tsdb";
    err_clear(&e);
    assert_true(tsdb_open(&o, &other, &e) < 0);
    assert_non_null(strstr(e.msg, "/proc/nonexistent"));
}

static void test_retention(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    o.retention_ms = DAY;
    o.max_future_ms = TSDB_FUTURE_ANY;
    struct tsdb *db = open_store(&o);
    struct column c = {0};
    for (int d = 0; d < 4; d++) {
        assert_int_equal(put(db, "1", T0 + d * DAY, d), ROW_OK);
        assert_int_equal(tsdb_flush(db), 0);
    }
    assert_int_equal(tsdb_tick(db), 0);
    /* Counted back from the newest sample, whole blocks: exactly a day old stays. */
    assert_int_equal(get(db, "1", &c), 2);
    assert_int_equal(c.t[0], T0 + 2 * DAY);
    assert_int_equal(stats(db).blocks_expired, 2);
    tsdb_close(db);
    o.retention_ms = -1;
    o.retention_bytes = 1;
    db = open_store(&o);
    assert_int_equal(tsdb_tick(db), 0);
    assert_int_equal(stats(db).blocks, 0);
    assert_int_equal(get(db, "1", &c), 0);
    tsdb_close(db);
    column_done(&c);
}

static void test_series_leave_head(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    o.max_future_ms = TSDB_FUTURE_ANY;
    struct tsdb *db = open_store(&o);
    struct column c = {0};
    put(db, "old", T0, 1);
    put(db, "kept", T0, 1);
    put(db, "kept", T0 + 60 * MINUTE, 1);
    struct snapshot *sn; /* a reader that still wants them */
    assert_int_equal(source_open(tsdb_source(db), &sn), 0);
    assert_int_equal(tsdb_flush(db), 0);
    put(db, "kept", T0 + 61 * MINUTE, 1);
    assert_int_equal(tsdb_tick(db), 0);
    assert_int_equal(stats(db).series, 2);
    snapshot_release(sn);
    assert_int_equal(tsdb_tick(db), 0);
    assert_int_equal(stats(db).series, 1);
    assert_int_equal(stats(db).label_pairs, 2);
    assert_int_equal(get(db, "old", &c), 1); /* from its block */
    assert_int_equal(put(db, "old", T0 + 62 * MINUTE, 2), ROW_OK);
    assert_int_equal(get(db, "old", &c), 2);
    assert_int_equal(tsdb_check(db, NULL, NULL), 0);
    tsdb_close(db);
    column_done(&c);
}

/* A disk that is full: refuses, says so, recovers by itself. */
static void test_full_disk(void **state)
{
    (void)state;
    struct vfs_fault f;
    vfs_fault_init(&f);
    struct tsdb_options o = options(test_dir());
    o.vfs = &f.vfs;
    struct tsdb *db = open_store(&o);
    struct column c = {0};
    put(db, "1", T0, 1);
    f.fail_at = f.calls + 1;
    f.error = ENOSPC;
    f.sticky = true;
    struct sample_row row = {.labels = series("1"), .t = T0 + 1, .v = 2};
    assert_int_equal(sink_append(tsdb_sink(db), &row, 1, 0), -ENOSPC);
    assert_int_equal(row.status, ROW_NO_SPACE);
    assert_true(stats(db).read_only);
    assert_non_null(strstr(stats(db).reason, "write-ahead log"));
    assert_int_equal(get(db, "1", &c), 1); /* reading goes on */
    assert_true(tsdb_flush(db) < 0);
    f.fail_at = 0;
    assert_int_equal(tsdb_tick(db), 0); /* probes */
    assert_false(stats(db).read_only);
    assert_int_equal(put(db, "1", T0 + 1, 2), ROW_OK);
    /* A failed fsync is never taken back: what was accepted goes to a block before anything new is. */
    f.fail_at = f.calls + 1;
    f.error = EIO;
    f.sticky = false;
    assert_int_equal(tsdb_sync(db), -EIO);
    assert_true(stats(db).read_only);
    row = (struct sample_row){.labels = series("1"), .t = T0 + 2, .v = 3};
    assert_int_equal(sink_append(tsdb_sink(db), &row, 1, 0), -EIO);
    assert_int_equal(tsdb_tick(db), 0);
    assert_false(stats(db).read_only);
    assert_int_equal(stats(db).head_samples, 0);
    assert_int_equal(put(db, "1", T0 + 2, 3), ROW_OK);
    assert_int_equal(get(db, "1", &c), 3);
    tsdb_close(db);
    db = open_store(&o);
    assert_int_equal(get(db, "1", &c), 3);
    tsdb_close(db);
    column_done(&c);
}

static char *only_file(const char *dir, const char *sub, const char *suffix)
{
    char *path = fs_join(dir, sub), *found = NULL;
    struct fs_names names;
    assert_int_equal(fs_list(path, &names), 0);
    for (size_t i = 0; i < names.n; i++)
        if (str_ends(str_of(names.v[i]), str_of(suffix)) && !found)
            found = fs_join(path, names.v[i]);
    fs_names_free(&names);
    free(path);
    assert_non_null(found);
    return found;
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char c;
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x10;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* One damaged byte anywhere in the log or in a block: the store opens, serves no wrong value, and says so. */
static void test_bit_rot(void **state)
{
    (void)state;
    const char *dir = test_dir();
    for (int in_block = 0; in_block < 2; in_block++) {
        for (off_t at = 0;; at += 1 + at / 60) {
            struct tsdb_options o = options(dir);
            struct tsdb *db = open_store(&o);
            struct column c = {0};
            for (int i = 0; i < 20; i++)
                put(db, i % 2 ? "1" : "2", T0 + i * 1000, i * 1.25);
            if (in_block)
                assert_int_equal(tsdb_flush(db), 0);
            tsdb_close(db);
            char *path = in_block ? only_file(dir, "blocks", ".blk") : only_file(dir, "wal", ".wal");
            struct buf content = BUF_INIT(1 << 20);
            assert_int_equal(fs_read_file(path, &content), 0);
            bool over = at >= (off_t)content.n;
            if (!over)
                flip(path, at);
            buf_done(&content);
            free(path);
            db = open_store(&o);
            size_t n = 0;
            for (int s = 1; s <= 2; s++) {
                n += get(db, s == 1 ? "1" : "2", &c);
                for (size_t i = 0; i < c.n; i++) {
                    assert_true(c.v[i] == (double)(c.t[i] - T0) / 1000 * 1.25);
                    assert_true((c.t[i] - T0) / 1000 % 2 == s % 2);
                }
            }
            if (over)
                assert_int_equal(n, 20);
            else if (n < 20)
                assert_true(stats(db).corruptions > 0);
            if (!in_block && !over && at >= 16)
                assert_true(n >= 9); /* one record lost; the first one takes a series' definition with it */
            assert_int_equal(put(db, "1", T0 + 3000000, 7), ROW_OK);
            tsdb_close(db);
            column_done(&c);
            assert_int_equal(fs_remove_tree(dir), 0);
            assert_int_equal(fs_mkdirs(dir, 0700), 0);
            if (over)
                break;
        }
    }
}

static void test_cardinality_and_metadata(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    struct tsdb *db = open_store(&o);
    put(db, "a", T0, 1);
    put(db, "bb", T0, 1);
    put(db, "ccc", T0, 1);
    struct label other[] = {{STR("__name__"), STR("n")}, {STR("id"), STR("a")}};
    struct sample_row row = {.labels = {other, 2}, .t = T0};
    assert_int_equal(sink_append(tsdb_sink(db), &row, 1, 0), 0);
    struct arena *a = arena_new(0);
    struct tsdb_cardinality k;
    tsdb_cardinality(db, 2, a, &k);
    assert_int_equal(k.n_series_by_metric, 2);
    assert_str(k.series_by_metric[0].name, "m");
    assert_int_equal(k.series_by_metric[0].value, 3);
    assert_str(k.values_by_label[0].name, "id");
    assert_int_equal(k.values_by_label[0].value, 3);
    assert_str(k.bytes_by_label[0].name, "id");
    assert_int_equal(k.bytes_by_label[0].value, 1 + 1 + 2 + 3);
    assert_str(k.series_by_pair[0].name, "__name__=m");
    assert_str(k.series_by_pair[1].name, "id=a");
    assert_int_equal(k.series_by_pair[1].value, 2);
    tsdb_cardinality(db, 0, a, &k);
    assert_int_equal(k.n_series_by_pair, 0);
    struct sink *s = tsdb_sink(db);
    s->metadata(s, STR("z"), &(struct metric_meta){.type = "gauge", .help = "old"});
    s->metadata(s, STR("z"), &(struct metric_meta){.type = "counter", .help = "new", .unit = "s"});
    s->metadata(s, STR("a"), &(struct metric_meta){.type = "gauge"});
    struct tsdb_metadata *v;
    size_t n;
    tsdb_metadata(db, STR(""), 0, a, &v, &n);
    assert_int_equal(n, 2);
    assert_str(v[0].metric, "a");
    assert_string_equal(v[1].meta.help, "new");
    assert_string_equal(v[1].meta.unit, "s");
    tsdb_metadata(db, STR("z"), 0, a, &v, &n);
    assert_int_equal(n, 1);
    tsdb_metadata(db, STR("nope"), 0, a, &v, &n);
    assert_int_equal(n, 0);
    arena_free(a);
    tsdb_close(db);
}

static size_t families;
static void count_family(struct metrics_out *out, struct str name, struct str help, enum metric_type type)
{
    (void)out, (void)type;
    assert_true(str_starts(name, STR("hune_tsdb_")) || str_starts(name, STR("prometheus_tsdb_")));
    assert_false(str_empty(help));
    families++;
}
static void count_sample(struct metrics_out *out, struct str suffix, const struct metric_label *l, size_t n, double v)
{
    (void)out, (void)suffix, (void)l, (void)n;
    assert_true(v >= 0);
}

static void test_metrics(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    struct tsdb *db = open_store(&o);
    put(db, "1", T0, 1);
    struct metrics *m = metrics_new();
    tsdb_metrics(db, m);
    struct metrics_out out = {.family = count_family, .sample = count_sample};
    metrics_collect(m, &out);
    assert_true(families > 20);
    metrics_free(m);
    tsdb_close(db);
}

/* With its own threads: synced and flushed without being asked. */
static void test_threads_work(void **state)
{
    (void)state;
    struct tsdb_options o = options(test_dir());
    o.no_threads = false;
    o.clock = NULL;
    o.max_future_ms = TSDB_FUTURE_ANY;
    o.block_range_ms = MINUTE;
    struct tsdb *db = open_store(&o);
    put(db, "1", T0, 1);
    put(db, "1", T0 + 2 * MINUTE, 1);
    for (int i = 0; i < 500 && stats(db).blocks == 0; i++)
        usleep(20000);
    assert_int_equal(stats(db).blocks, 1);
    assert_int_equal(stats(db).wal_bytes, 0);
    tsdb_close(db);
}

int main(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),     cmocka_unit_test(test_second_opener),
        cmocka_unit_test(test_retention), cmocka_unit_test(test_series_leave_head),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_cardinality_and_metadata),
        cmocka_unit_test(test_metrics),   cmocka_unit_test(test_threads_work),
        cmocka_unit_test(test_bit_rot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
