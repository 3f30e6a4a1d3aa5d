// SPDX-License-Identifier: Apache-2.0
/* The store against a slow obvious model: batches in and out of order, duplicates, deletions, flushes, compactions,
 * restarts, kill -9 (a copy of the folder as it stands), snapshots held over all of it. */
#include "test.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/vec.h"
#include "tsdb/tsdb.h"
#include <stdio.h>
#include <unistd.h>

#define T0 1700000000000LL
#define SERIES 14
#define MINUTE 60000LL

struct sample {
    int64_t t, st;
    uint64_t bits;
    double hist; /* count of the histogram sample, 0 = float */
};

struct mseries {
    struct label l[4];
    size_t n;
    VEC(struct sample) v; /* by time */
    int64_t last;
};

struct model {
    struct mseries s[SERIES];
};

static struct rand_state rnd;

/* kill -9 needs no fsync to be survived, and hundreds of flushes would wait for the disk. */
static int no_fsync(const struct vfs *v, int fd)
{
    (void)v, (void)fd;
    return 0;
}
static int no_sync_dir(const struct vfs *v, const char *path)
{
    (void)v, (void)path;
    return 0;
}
static struct vfs fast;
static const char *const apps[] = {"a", "b", "c"}, *const hosts[] = {"h1", "h2", "x3"};

static void model_init(struct model *m)
{
    *m = (struct model){0};
    for (size_t i = 0; i < SERIES; i++) {
        struct mseries *s = &m->s[i];
        s->l[s->n++] = (struct label){STR("__name__"), i % 2 ? STR("up") : STR("requests_total")};
        s->l[s->n++] = (struct label){STR("app"), str_of(apps[i % 3])};
        if (i % 5)
            s->l[s->n++] = (struct label){STR("host"), str_of(hosts[i / 2 % 3])};
        static char ids[SERIES][4];
        snprintf(ids[i], sizeof(ids[i]), "%zu", i);
        s->l[s->n++] = (struct label){STR("id"), str_of(ids[i])};
    }
}

static void model_copy(struct model *to, const struct model *from)
{
    *to = *from;
    for (size_t i = 0; i < SERIES; i++) {
        to->s[i].v.v = xmalloc((from->s[i].v.n + 1) * sizeof(struct sample));
        to->s[i].v.cap = from->s[i].v.n + 1;
        if (from->s[i].v.n)
            memcpy(to->s[i].v.v, from->s[i].v.v, from->s[i].v.n * sizeof(struct sample));
    }
}

static void model_done(struct model *m)
{
    for (size_t i = 0; i < SERIES; i++)
        vec_done(&m->s[i].v);
}

static size_t model_find(const struct mseries *s, int64_t t)
{
    size_t lo = 0, hi = s->v.n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->v.v[mid].t < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The first value of a time stays. Returns whether it was new. */
static bool model_put(struct mseries *s, struct sample x)
{
    size_t at = model_find(s, x.t);
    if (at < s->v.n && s->v.v[at].t == x.t)
        return false;
    vec_push(&s->v, x);
    memmove(&s->v.v[at + 1], &s->v.v[at], (s->v.n - 1 - at) * sizeof(x));
    s->v.v[at] = x;
    s->last = MAX(s->last, x.t);
    return true;
}

/* ---- comparing ---- */

static size_t random_matchers(struct matcher *m)
{
    static const char *const names[] = {"__name__", "app", "host", "id", "none"};
    static const char *const values[] = {"up", "requests_total", "a", "b", "h1", "x3", "", "7", "zz"};
    static const char *const patterns[] = {"a|b",        "h.*", ".*",  ".+",    "",
                                           "requests.*", "1.?", "up|", "[abc]", "x3|zz|h1"};
    size_t n = rand_below(&rnd, 4);
    for (size_t i = 0; i < n; i++) {
        enum match_op op = (enum match_op)rand_below(&rnd, 4);
        bool re = op == MATCH_RE || op == MATCH_NRE;
        const char *v =
            re ? patterns[rand_below(&rnd, ARRAY_LEN(patterns))] : values[rand_below(&rnd, ARRAY_LEN(values))];
        struct err e = {0};
        assert_int_equal(matcher_init(&m[i], op, str_of(names[rand_below(&rnd, ARRAY_LEN(names))]), str_of(v), &e), 0);
    }
    return n;
}

static void check_column(const struct mseries *s, const struct column *c, int64_t mint, int64_t maxt)
{
    size_t at = model_find(s, mint), k = 0;
    for (; at < s->v.n && s->v.v[at].t <= maxt; at++, k++) {
        const struct sample *want = &s->v.v[at];
        if (k >= c->n || c->t[k] != want->t)
            fail_msg("series %s: sample %zu of %zu is %lld, want %lld", s->l[s->n - 1].value.p, k, c->n,
                     k < c->n ? (long long)(c->t[k] - T0) : -1LL, (long long)(want->t - T0));
        assert_int_equal(c->st ? c->st[k] : 0, want->st);
        if (want->hist > 0) {
            assert_non_null(c->h);
            assert_non_null(c->h[k]);
            assert_true(c->h[k]->count == want->hist);
        } else {
            assert_true(!c->h || !c->h[k]);
            if (f64_bits(c->v[k]) != want->bits)
                fail_msg("series %s at %lld: %.17g, want %.17g", s->l[s->n - 1].value.p, (long long)(want->t - T0),
                         c->v[k], f64_from_bits(want->bits));
        }
    }
    if (c->n != k)
        fail_msg("series %s: %zu samples, want %zu (at %lld)", s->l[s->n - 1].value.p, c->n, k,
                 (long long)(c->t[k] - T0));
}

static void compare(struct snapshot *sn, const struct model *m)
{
    struct matcher match[4];
    size_t n = random_matchers(match);
    int64_t mint = INT64_MIN, maxt = INT64_MAX;
    if (rand_below(&rnd, 2)) {
        mint = T0 + (int64_t)rand_below(&rnd, 200 * MINUTE) - 100 * MINUTE;
        maxt = mint + (int64_t)rand_below(&rnd, 100 * MINUTE);
    }
    struct arena *a = arena_new(0);
    struct source_list list;
    assert_int_equal(sn->ops->select(sn, match, n, mint, maxt, a, &list), 0);
    struct column c = {0};
    size_t at = 0;
    bool seen[SERIES] = {0};
    for (at = 0; at < list.n; at++) {
        const struct source_series *ss = &list.v[at];
        if (at > 0)
            assert_true(labels_cmp(list.v[at - 1].labels, ss->labels) < 0);
        const struct mseries *s = NULL;
        for (size_t i = 0; i < SERIES; i++) {
            if (labels_equal((struct labels){m->s[i].l, m->s[i].n}, ss->labels)) {
                s = &m->s[i];
                seen[i] = true;
            }
        }
        assert_non_null(s);
        assert_true(matchers_all(match, n, ss->labels));
        column_reset(&c);
        assert_int_equal(sn->ops->read(sn, ss, mint, maxt, &c), 0);
        check_column(s, &c, mint, maxt);
    }
    for (size_t i = 0; i < SERIES; i++) {
        struct labels l = {m->s[i].l, m->s[i].n};
        size_t from = model_find(&m->s[i], mint);
        if (!seen[i] && matchers_all(match, n, l) && from < m->s[i].v.n && m->s[i].v.v[from].t <= maxt)
            fail_msg("series %zu is missing", i);
    }
    struct str *values;
    size_t n_values;
    assert_int_equal(sn->ops->label_values(sn, STR("id"), match, n, mint, maxt, 0, a, &values, &n_values), 0);
    for (size_t i = 0; i < n_values; i++)
        assert_true(i == 0 || str_cmp(values[i - 1], values[i]) < 0);
    for (size_t i = 0; n && i < SERIES; i++) {
        bool listed = false;
        for (size_t k = 0; k < n_values; k++)
            listed = listed || str_eq(values[k], m->s[i].l[m->s[i].n - 1].value);
        assert_true(listed == seen[i]);
    }
    column_done(&c);
    arena_free(a);
    for (size_t i = 0; i < n; i++)
        matcher_done(&match[i]);
}

static void compare_now(struct tsdb *db, const struct model *m)
{
    struct snapshot *sn;
    assert_int_equal(source_open(tsdb_source(db), &sn), 0);
    compare(sn, m);
    snapshot_release(sn);
}

/* ---- acting ---- */

static bool all_in_head; /* nothing was flushed in this run so far */

static double random_value(void)
{
    switch (rand_below(&rnd, 6)) {
    case 0:
        return (double)rand_below(&rnd, 100);
    case 1:
        return f64_from_bits(rand_u64(&rnd));
    case 2:
        return (double)rand_below(&rnd, 10000) / 100;
    case 3:
        return stale_nan();
    default:
        return 1;
    }
}

static void append(struct tsdb *db, struct model *m, int64_t *now)
{
    struct sample_row rows[40];
    struct sample put[40];
    size_t who[40], n = 1 + rand_below(&rnd, ARRAY_LEN(rows));
    static struct hist_span span = {0, 1};
    static double one[1] = {1};
    static struct histogram hists[40];
    if (rand_below(&rnd, 3))
        *now += (int64_t)rand_below(&rnd, 2 * MINUTE);
    for (size_t i = 0; i < n; i++) {
        who[i] = rand_below(&rnd, SERIES);
        struct mseries *s = &m->s[who[i]];
        int64_t t = *now;
        uint64_t dice = rand_below(&rnd, 10);
        if (dice == 0)
            t -= (int64_t)rand_below(&rnd, 30 * MINUTE);
        else if (dice == 1)
            t -= (int64_t)rand_below(&rnd, 40) * (int64_t)(rand_below(&rnd, 3) * 60 * MINUTE) + 5;
        else if (dice == 2 && s->v.n)
            t = s->v.v[rand_below(&rnd, s->v.n)].t;
        else
            t += (int64_t)i;
        double v = random_value();
        struct sample x = {.t = t, .bits = f64_bits(v)};
        if (rand_below(&rnd, 8) == 0)
            x.st = t - (int64_t)rand_below(&rnd, 100);
        if (who[i] == 3 && rand_below(&rnd, 2)) {
            hists[i] = (struct histogram){.count = 1 + (double)rand_below(&rnd, 50),
                                          .n_pos_spans = 1,
                                          .n_pos = 1,
                                          .pos_spans = &span,
                                          .pos = one};
            x.hist = hists[i].count;
            x.bits = 0;
        }
        put[i] = x;
        rows[i] =
            (struct sample_row){.labels = {s->l, s->n}, .t = t, .v = v, .st = x.st, .h = x.hist > 0 ? &hists[i] : NULL};
    }
    unsigned flags = rand_below(&rnd, 10) == 0 ? SINK_EXACT_ORDER : 0;
    assert_int_equal(sink_append(tsdb_sink(db), rows, n, flags), 0);
    for (size_t i = 0; i < n; i++) {
        struct mseries *s = &m->s[who[i]];
        if (rows[i].status == ROW_OUT_OF_ORDER) {
            assert_true(flags & SINK_EXACT_ORDER && put[i].t < s->last);
            continue;
        }
        size_t at = model_find(s, put[i].t);
        bool had = at < s->v.n && s->v.v[at].t == put[i].t;
        if (had) {
            bool same = s->v.v[at].bits == put[i].bits && (s->v.v[at].hist == put[i].hist);
            if (all_in_head)
                assert_int_equal(rows[i].status, same ? ROW_DUPLICATE : ROW_DUP_VALUE);
            else /* a value in a block is not looked up: the row may be taken (and is never seen), and be what a later
                    one equals */
                assert_true(rows[i].status <= ROW_DUP_VALUE);
        } else {
            assert_int_equal(rows[i].status, ROW_OK);
        }
        (void)model_put(s, put[i]);
    }
}

static void delete (struct tsdb *db, struct model *m)
{
    struct matcher match[4];
    size_t n = random_matchers(match);
    int64_t mint = T0 + (int64_t)rand_below(&rnd, 200 * MINUTE), maxt = mint + (int64_t)rand_below(&rnd, 20 * MINUTE);
    int r = tsdb_delete(db, match, n, mint, maxt);
    assert_int_equal(r, n ? 0 : -EINVAL);
    for (size_t i = 0; n && i < SERIES; i++) {
        struct mseries *s = &m->s[i];
        if (!matchers_all(match, n, (struct labels){s->l, s->n}))
            continue;
        size_t w = 0;
        for (size_t k = 0; k < s->v.n; k++)
            if (s->v.v[k].t < mint || s->v.v[k].t > maxt)
                s->v.v[w++] = s->v.v[k];
        s->v.n = w;
    }
    for (size_t i = 0; i < n; i++)
        matcher_done(&match[i]);
}

static void say(void *ctx, const struct tsdb_problem *p)
{
    (void)ctx;
    print_message("check: %s\n", p->text);
}

static struct tsdb *open_at(const char *dir, struct clock_fake *clock, unsigned variant)
{
    struct tsdb_options o = tsdb_options_default(dir);
    o.retention_ms = -1;
    o.max_future_ms = TSDB_FUTURE_ANY;
    o.block_range_ms = 20 * MINUTE;
    o.wal_segment_bytes = variant % 2 ? 4096 : 0;
    o.no_threads = true;
    o.sync = variant % 3 ? TSDB_SYNC_OFF : TSDB_SYNC_ALWAYS;
    o.clock = &clock->clock;
    fast = vfs_real;
    fast.fsync = no_fsync;
    fast.sync_dir = no_sync_dir;
    o.vfs = &fast;
    struct tsdb *db;
    struct err e = {0};
    if (tsdb_open(&o, &db, &e))
        fail_msg("open: %s", e.msg);
    return db;
}

static void copy_tree(const char *from, const char *to)
{
    static const char *const parts[] = {"wal", "blocks"};
    for (size_t p = 0; p < ARRAY_LEN(parts); p++) {
        char *a = fs_join(from, parts[p]), *b = fs_join(to, parts[p]);
        struct fs_names names;
        assert_int_equal(fs_mkdirs(b, 0700), 0);
        assert_int_equal(fs_list(a, &names), 0);
        for (size_t i = 0; i < names.n; i++) {
            char *x = fs_join(a, names.v[i]), *y = fs_join(b, names.v[i]);
            struct buf content = BUF_INIT(1 << 30);
            assert_int_equal(fs_read_file(x, &content), 0);
            assert_int_equal(fs_write_file(&fast, y, buf_view(&content), 0600), 0);
            buf_done(&content);
            free(x), free(y);
        }
        fs_names_free(&names);
        free(a), free(b);
    }
}

static void run(unsigned variant)
{
    const char *base = test_dir();
    int generation = 0;
    char *dir = xasprintf("%s/%d", base, generation);
    struct clock_fake clock;
    clock_fake_init(&clock, T0);
    struct model m, old = {0};
    struct snapshot *held = NULL;
    model_init(&m);
    struct tsdb *db = open_at(dir, &clock, variant);
    int64_t now = T0;
    all_in_head = true;
    for (int step = 0; step < 400; step++) {
        clock_fake_advance(&clock, 1000);
        uint64_t what = rand_below(&rnd, step < 40 ? 32 : 24);
        all_in_head = all_in_head && what > 2 && what != 6;
        switch (what) {
        case 0:
            assert_int_equal(tsdb_flush(db), 0);
            break;
        case 1:
            assert_int_equal(tsdb_tick(db), 0);
            break;
        case 2:
            delete (db, &m);
            break;
        case 3:
            assert_int_equal(tsdb_sync(db), 0);
            break;
        case 4:
            if (!held) {
                assert_int_equal(source_open(tsdb_source(db), &held), 0);
                model_copy(&old, &m);
            }
            break;
        case 5:
            if (held) {
                compare(held, &old);
                snapshot_release(held);
                model_done(&old);
                held = NULL;
            }
            break;
        case 6:
            if (!held) {
                bool crash = rand_below(&rnd, 2);
                char *next = xasprintf("%s/%d", base, ++generation);
                if (crash)
                    copy_tree(dir, next);
                tsdb_close(db);
                if (crash) {
                    free(dir);
                    dir = next;
                } else {
                    free(next);
                }
                db = open_at(dir, &clock, variant);
            }
            break;
        case 7:
            if (rand_below(&rnd, 4) == 0)
                assert_int_equal(tsdb_clean_tombstones(db), 0);
            break;
        case 8:
            compare_now(db, &m);
            break;
        case 9:
            if (held)
                compare(held, &old);
            break;
        case 10:
            if (rand_below(&rnd, 4) == 0) {
                struct tsdb_stats st;
                tsdb_stats(db, &st);
                assert_int_equal(st.corruptions, 0);
                assert_false(st.read_only);
                assert_int_equal(tsdb_check(db, say, NULL), 0);
            }
            break;
        default:
            append(db, &m, &now);
            break;
        }
    }
    if (held) {
        compare(held, &old);
        snapshot_release(held);
        model_done(&old);
    }
    for (int i = 0; i < 20; i++)
        compare_now(db, &m);
    assert_int_equal(tsdb_check(db, say, NULL), 0);
    char *copy = xasprintf("%s/copy", base);
    assert_int_equal(tsdb_snapshot_dir(db, copy), 0);
    assert_int_equal(tsdb_snapshot_dir(db, copy), -EEXIST);
    tsdb_close(db);
    db = open_at(copy, &clock, variant);
    for (int i = 0; i < 20; i++)
        compare_now(db, &m);
    tsdb_close(db);
    free(copy);
    free(dir);
    model_done(&m);
}

static void test_against_model(void **state)
{
    (void)state;
    rand_seed(&rnd, test_seed());
    for (unsigned i = 0; i < test_rounds(6); i++)
        run(i);
}

int main(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
