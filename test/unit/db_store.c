// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include "base/mem.h"
#include "db/db.h"
#include "sys/fs.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct db_migration steps[] = {
    {1, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT NOT NULL) STRICT"},
    {2, "CREATE TABLE u (k INTEGER NOT NULL REFERENCES t (k), x REAL) STRICT; INSERT INTO t VALUES (100, 'seed')"},
};
static const struct db_schema one = {"demo", steps, 1}, two = {"demo", steps, 2};

static struct db *open_db(const char *path)
{
    struct db *db;
    struct err e = {0};
    int r = db_open(path, NULL, &db, &e);
    if (r)
        fail_msg("db_open: %d %s", r, e.msg);
    assert_int_equal(db_migrate(db, &two, &e), 0);
    return db;
}

struct put {
    int64_t k;
    struct str v;
    int r; /* what fn returns */
};

static int put_tx(struct db_tx *tx, void *ctx)
{
    struct put *p = ctx;
    int r = db_do(tx, "INSERT INTO t (k, v) VALUES ($1, $2)", "is", p->k, p->v);
    return r ? r : p->r;
}

static int count_tx(struct db_tx *tx, void *ctx)
{
    return db_get_i64(tx, 0, ctx, "SELECT COUNT(*) FROM t WHERE k < 100", "");
}

static int64_t count(struct db *db)
{
    int64_t n = -1;
    assert_int_equal(db_read(db, count_tx, &n), 0);
    return n;
}

static void writes_and_refusals(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "a.db");
    struct db *db = open_db(path);
    assert_int_equal(db_version(db, "demo"), 2);
    assert_int_equal(db_version(db, "nobody"), 0);
    assert_int_equal(db_write(db, put_tx, &(struct put){1, STR("one"), 0}), 0);
    assert_int_equal(db_write(db, put_tx, &(struct put){2, STR("two"), 7}), 7); /* refused: undone */
    assert_int_equal(db_write(db, put_tx, &(struct put){1, STR("again"), 0}), -EEXIST);
    assert_int_equal(count(db), 1);
    db_close(db);
    db = open_db(path); /* a second time: nothing to migrate */
    assert_int_equal(count(db), 1);
    struct err e = {0};
    assert_int_equal(db_check(db, &e), 0);
    /* An older program must not touch newer tables. */
    assert_int_equal(db_migrate(db, &one, &e), -EINVAL);
    assert_non_null(strstr(e.msg, "newer hune"));
    char *copy = fs_join(test_dir(), "copy.db");
    err_clear(&e);
    assert_int_equal(db_backup(db, copy, &e), 0);
    assert_true(db_backup(db, copy, &e) < 0);
    db_close(db);
    db = open_db(copy);
    assert_int_equal(count(db), 1);
    db_close(db);
    free(copy);
    free(path);
}

static int foreign_tx(struct db_tx *tx, void *ctx)
{
    (void)ctx;
    return db_do(tx, "INSERT INTO u (k, x) VALUES ($1, $2)", "if", (int64_t)12345, 1.5);
}

static int left_open_tx(struct db_tx *tx, void *ctx)
{
    (void)ctx;
    struct db_stmt *st;
    int r = db_query(tx, &st, "SELECT k, v FROM t ORDER BY k", "");
    if (r)
        return r;
    assert_int_equal(db_step(st), 1); /* and leave it there */
    return 0;
}

static void statements(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "a.db");
    struct db *db = open_db(path);
    assert_int_equal(db_write(db, foreign_tx, NULL), -EEXIST);
    assert_int_equal(db_write(db, put_tx, &(struct put){1, STR("a\0b"), 0}), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(db_write(db, left_open_tx, NULL), 0);
        assert_int_equal(db_read(db, left_open_tx, NULL), 0);
    }
    db_close(db);
    free(path);
}

static void refuses_foreign_files(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "x.db");
    struct db *db;
    struct err e = {0};
    assert_int_equal(
        fs_write_file(&vfs_real, path, STR("this is no database, it is a letter to a friend who asked"), 0600), 0);
    assert_int_equal(db_open(path, NULL, &db, &e), -EINVAL);
    assert_non_null(strstr(e.msg, "x.db"));
    free(path);
    err_clear(&e);
    assert_true(db_open("/nonexistent/dir/x.db", NULL, &db, &e) < 0);
    assert_true(e.msg[0]);
}

struct worker {
    struct db *db;
    int64_t base;
    int n, reads;
};

static void *write_many(void *p)
{
    struct worker *w = p;
    for (int i = 0; i < w->n; i++) {
        struct put put = {w->base + i, STR("x"), i % 5 == 4 ? 3 : 0};
        int r = db_write(w->db, put_tx, &put);
        if (r != put.r)
            abort();
    }
    return NULL;
}

static void *read_many(void *p)
{
    struct worker *w = p;
    int64_t last = 0;
    for (int i = 0; i < 200; i++) {
        int64_t n;
        if (db_read(w->db, count_tx, &n) || n < last)
            abort();
        last = n;
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "a.db");
    struct db *db = open_db(path);
    pthread_t t[12];
    struct worker w[12];
    for (int i = 0; i < 12; i++) {
        w[i] = (struct worker){.db = db, .base = 1000 + i * 1000, .n = 50};
        assert_int_equal(pthread_create(&t[i], NULL, i < 8 ? write_many : read_many, &w[i]), 0);
    }
    for (int i = 0; i < 12; i++)
        pthread_join(t[i], NULL);
    int64_t n = 0;
    assert_int_equal(db_read(db, left_open_tx, NULL), 0);
    assert_int_equal(db_read(db, count_tx, &n), 0);
    db_close(db);
    free(path);
}

static int big_tx(struct db_tx *tx, void *ctx)
{
    struct put *p = ctx;
    char *text = xmalloc(20000);
    memset(text, 'x', 20000);
    int r = db_do(tx, "INSERT INTO t (k, v) VALUES ($1, $2)", "is", p->k, str_make(text, 20000));
    free(text);
    return r;
}

static int drop_tx(struct db_tx *tx, void *ctx)
{
    (void)ctx;
    return db_do(tx, "DELETE FROM t WHERE k >= $1", "i", (int64_t)2000);
}

/* A disk that is full for a while: every refused write is undone whole, small ones after room was made go through. */
static void full_disk(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "f.db");
    struct db *db;
    struct err e = {0};
    assert_int_equal(db_open(path, &(struct db_options){.max_bytes = 400000}, &db, &e), 0);
    assert_int_equal(db_migrate(db, &two, &e), 0);
    int64_t k = 2000;
    int r;
    while ((r = db_write(db, big_tx, &(struct put){.k = k})) == 0)
        k++;
    assert_int_equal(r, -ENOSPC);
    assert_true(k > 2005 && k < 2100);
    for (int i = 0; i < 3; i++)
        assert_int_equal(db_write(db, big_tx, &(struct put){.k = k}), -ENOSPC);
    assert_false(db_read_only(db));
    assert_int_equal(db_write(db, drop_tx, NULL), 0);
    assert_int_equal(db_write(db, big_tx, &(struct put){.k = 5}), 0);
    assert_int_equal(count(db), 1);
    assert_int_equal(db_check(db, &e), 0);
    db_close(db);
    free(path);
}

/* A child appends events and tells each acknowledged number through a pipe; it is killed at a random moment. What it
 * told must be there, the numbers without a gap. */
static void child(const char *path, int fd)
{
    struct db *db;
    struct journal *j;
    struct err e = {0};
    if (db_open(path, NULL, &db, &e) || journal_open(db, &clock_real, NULL, &j, &e))
        _exit(1);
    for (;;) {
        struct event ev = {.kind = STR("test.kill"), .summary = STR("x"), .payload = STR("{\"a\":1}")};
        struct event posted = {.kind = STR("test.post")};
        j->post(j, &posted);
        if (j->append(j, &ev))
            _exit(2);
        if (write(fd, &ev.seq, sizeof(ev.seq)) != (ssize_t)sizeof(ev.seq))
            _exit(3);
    }
}

static void kill_9(void **state)
{
    (void)state;
    char *path = fs_join(test_dir(), "k.db");
    struct rand_state rnd;
    rand_seed(&rnd, test_seed());
    uint64_t told = 0, total = 0;
    for (unsigned round = 0; round < test_rounds(12); round++) {
        int p[2];
        assert_int_equal(pipe(p), 0);
        pid_t pid = fork(); /* this program has no thread at this point */
        assert_true(pid >= 0);
        if (pid == 0) {
            close(p[0]);
            child(path, p[1]);
        }
        close(p[1]);
        uint64_t seq;
        /* However loaded the machine is: some appends first, then the blow at no particular moment. */
        for (uint64_t n = rand_below(&rnd, 30) + 1; n && read(p[0], &seq, sizeof(seq)) == (ssize_t)sizeof(seq); n--) {
            told = seq;
            total++;
        }
        usleep((useconds_t)rand_below(&rnd, 3000));
        kill(pid, SIGKILL);
        while (read(p[0], &seq, sizeof(seq)) == (ssize_t)sizeof(seq)) {
            told = seq;
            total++;
        }
        close(p[0]);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));

        struct db *db;
        struct journal *j;
        struct err e = {0};
        assert_int_equal(db_open(path, NULL, &db, &e), 0);
        assert_int_equal(journal_open(db, &clock_real, NULL, &j, &e), 0);
        assert_int_equal(db_check(db, &e), 0);
        uint64_t last = journal_last_seq(j);
        assert_true(last >= told);
        struct arena *a = arena_new(0);
        struct event *v;
        size_t n;
        assert_int_equal(j->list(j, &(struct event_filter){.limit = 1000000, .ascending = true}, a, &v, &n), 0);
        assert_int_equal(n, last);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(v[i].seq, i + 1);
        arena_free(a);
        journal_close(j);
        db_close(db);
    }
    print_message("%llu acknowledged appends survived\n", (unsigned long long)total);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_9), /* first: it forks, and later tests start threads */
        cmocka_unit_test(writes_and_refusals),
        cmocka_unit_test(statements),
        cmocka_unit_test(refuses_foreign_files),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
