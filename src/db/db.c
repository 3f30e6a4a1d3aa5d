// SPDX-License-Identifier: Apache-2.0
/* Threads and transactions of the store.
 *
 * db_write() puts its request, which lives on the caller's stack, on a list and sleeps. The writer's thread takes the
 * whole list, begins one transaction, runs each request in a savepoint of its own (so that one refusal undoes nobody
 * else), commits once and wakes everybody: while one fsync runs the next batch gathers, so n callers cost about two
 * fsyncs. */
#include "db/db_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "sys/thread.h"
#include <sys/stat.h>

#define BATCH_MAX 512 /* requests in one commit: bounds how long the first one waits */
#define HOOKS_MAX 8
#define IDLE_READERS 2

struct request {
    db_fn fn;
    void *ctx;
    int result;
    bool done;
    struct request *next;
};

struct reader {
    struct db_tx *tx;
    bool busy;
};

struct db {
    char *path;
    struct db_options opt;

    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards everything below up to the readers' lock */
    pthread_cond_t work, finished;
    struct request *head, **tail;
    bool stopping;

    struct db_tx *writer; /* the writer's thread only, once started */
    pthread_mutex_t hooks_lock;
    struct db_hook {
        void (*fn)(void *ctx);
        void *ctx;
    } hooks[HOOKS_MAX];
    size_t n_hooks;

    pthread_mutex_t readers_lock;
    pthread_cond_t reader_free;
    struct reader readers[16];

    _Atomic bool read_only, full;
    _Atomic uint64_t commits, writes, refused, failed;
};

/* ---- the writer ---- */

static int run_one(struct db *db, struct request *q)
{
    struct db_tx *tx = db->writer;
    int r = conn_exec(tx, "SAVEPOINT one");
    if (r)
        return r;
    r = q->fn(tx, q->ctx);
    conn_reset_all(tx);
    /* On a full disk the engine may have undone the whole transaction by itself: then there is no savepoint to end. */
    if (!conn_in_transaction(tx))
        return r < 0 ? r : -EIO;
    if (r) {
        int undo = conn_exec(tx, "ROLLBACK TO one; RELEASE one");
        return undo ? undo : r;
    }
    return conn_exec(tx, "RELEASE one");
}

static void run_batch(struct db *db, struct request *first)
{
    struct db_tx *tx = db->writer;
    int r = db->read_only ? -EIO : conn_exec(tx, "BEGIN IMMEDIATE");
    if (!r) {
        bool any = false;
        for (struct request *q = first; q; q = q->next) {
            q->result = run_one(db, q);
            any |= q->result == 0;
            if (!conn_in_transaction(tx)) {
                r = q->result;
                break;
            }
        }
        if (!r)
            r = conn_exec(tx, any ? "COMMIT" : "ROLLBACK");
        if (r && conn_in_transaction(tx))
            conn_undo(tx); /* already failing; the next BEGIN tells if this did too */
    }
    if (conn_sync_failed(tx))
        db->read_only = true;
    db->full = r == -ENOSPC;
    uint64_t n = 0;
    for (struct request *q = first; q; q = q->next) {
        if (r && q->result == 0)
            q->result = r;
        n++;
    }
    db->writes += n;
    if (r)
        db->failed += n;
    else
        db->commits++;
    if (!r) {
        pthread_mutex_lock(&db->hooks_lock);
        for (size_t i = 0; i < db->n_hooks; i++)
            db->hooks[i].fn(db->hooks[i].ctx);
        pthread_mutex_unlock(&db->hooks_lock);
    }
}

static void *writer_main(void *p)
{
    struct db *db = p;
    pthread_mutex_lock(&db->lock);
    for (;;) {
        while (!db->head && !db->stopping)
            pthread_cond_wait(&db->work, &db->lock);
        if (!db->head)
            break;
        struct request *first = db->head, *last = first;
        for (size_t n = 1; n < BATCH_MAX && last->next; n++)
            last = last->next;
        db->head = last->next;
        if (!db->head)
            db->tail = &db->head;
        last->next = NULL;
        pthread_mutex_unlock(&db->lock);
        run_batch(db, first);
        pthread_mutex_lock(&db->lock);
        /* A request vanishes with its caller's stack as soon as it is done and the lock is free. */
        for (struct request *q = first, *next; q; q = next) {
            next = q->next;
            q->done = true;
        }
        pthread_cond_broadcast(&db->finished);
    }
    pthread_mutex_unlock(&db->lock);
    return NULL;
}

int db_write(struct db *db, db_fn fn, void *ctx)
{
    struct request q = {.fn = fn, .ctx = ctx};
    pthread_mutex_lock(&db->lock);
    ASSERT(!db->stopping);
    ASSERT(!pthread_equal(pthread_self(), db->thread)); /* would wait for itself */
    *db->tail = &q;
    db->tail = &q.next;
    pthread_cond_signal(&db->work);
    while (!q.done)
        pthread_cond_wait(&db->finished, &db->lock);
    pthread_mutex_unlock(&db->lock);
    if (q.result > 0)
        db->refused++;
    return q.result;
}

void db_on_commit(struct db *db, void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&db->hooks_lock);
    ASSERT(db->n_hooks < HOOKS_MAX);
    db->hooks[db->n_hooks].fn = fn;
    db->hooks[db->n_hooks].ctx = ctx;
    db->n_hooks++;
    pthread_mutex_unlock(&db->hooks_lock);
}

void db_off_commit(struct db *db, void *ctx)
{
    pthread_mutex_lock(&db->hooks_lock);
    for (size_t i = 0; i < db->n_hooks; i++)
        if (db->hooks[i].ctx == ctx) {
            db->hooks[i] = db->hooks[--db->n_hooks];
            break;
        }
    pthread_mutex_unlock(&db->hooks_lock);
}

bool db_read_only(const struct db *db)
{
    return db->read_only;
}

/* ---- readers ---- */

static int reader_take(struct db *db, struct reader **ret)
{
    struct reader *r = NULL;
    pthread_mutex_lock(&db->readers_lock);
    while (!r) {
        for (size_t i = 0; i < db->opt.readers; i++) {
            struct reader *x = &db->readers[i];
            if (!x->busy && (!r || (!r->tx && x->tx)))
                r = x;
        }
        if (!r)
            pthread_cond_wait(&db->reader_free, &db->readers_lock);
    }
    r->busy = true;
    pthread_mutex_unlock(&db->readers_lock);
    int e = r->tx ? 0 : conn_open(db->path, false, db->opt.cache_bytes, &r->tx, NULL);
    if (e) {
        pthread_mutex_lock(&db->readers_lock);
        r->busy = false;
        pthread_cond_signal(&db->reader_free);
        pthread_mutex_unlock(&db->readers_lock);
        return e;
    }
    *ret = r;
    return 0;
}

static void reader_give(struct db *db, struct reader *r)
{
    struct db_tx *drop = NULL;
    pthread_mutex_lock(&db->readers_lock);
    size_t idle = 0;
    for (size_t i = 0; i < db->opt.readers; i++)
        idle += !db->readers[i].busy && db->readers[i].tx;
    if (idle >= IDLE_READERS) {
        drop = r->tx;
        r->tx = NULL;
    }
    r->busy = false;
    pthread_cond_signal(&db->reader_free);
    pthread_mutex_unlock(&db->readers_lock);
    conn_close(drop);
}

int db_read(struct db *db, db_fn fn, void *ctx)
{
    struct reader *rd;
    int r = reader_take(db, &rd);
    if (r)
        return r;
    r = conn_exec(rd->tx, "BEGIN");
    if (!r) {
        r = fn(rd->tx, ctx);
        conn_reset_all(rd->tx);
        conn_undo(rd->tx); /* a read transaction has nothing to lose */
    }
    reader_give(db, rd);
    return r;
}

/* ---- open, close, migrations ---- */

#define STORE_SCHEMA                                                                                                   \
    "CREATE TABLE IF NOT EXISTS schema_versions (room TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"

static int ours(struct db_tx *tx, struct err *e, const char *path)
{
    int64_t app, tables;
    int r = db_get_i64(tx, 0, &app, "PRAGMA application_id", "");
    if (!r)
        r = db_get_i64(tx, 0, &tables, "SELECT COUNT(*) FROM sqlite_master", "");
    if (r)
        return r;
    if (app != 0x48554e45 /* "HUNE" */ && (app != 0 || tables != 0)) {
        err_set(e, "%s: a database of another program (application_id %lld)", path, (long long)app);
        return -EINVAL;
    }
    return app ? 0 : conn_exec(tx, "PRAGMA application_id=0x48554e45; PRAGMA user_version=1");
}

int db_open(const char *path, const struct db_options *o, struct db **ret, struct err *e)
{
    struct db *db = NEW(struct db);
    db->path = xstrdup(path);
    db->opt = o ? *o : (struct db_options){0};
    if (!db->opt.cache_bytes)
        db->opt.cache_bytes = 256 << 10;
    if (!db->opt.readers)
        db->opt.readers = 4;
    db->opt.readers = MIN(db->opt.readers, (unsigned)ARRAY_LEN(db->readers));
    db->tail = &db->head;
    pthread_mutex_init(&db->lock, NULL);
    pthread_cond_init(&db->work, NULL);
    pthread_cond_init(&db->finished, NULL);
    pthread_mutex_init(&db->hooks_lock, NULL);
    pthread_mutex_init(&db->readers_lock, NULL);
    pthread_cond_init(&db->reader_free, NULL);
    mode_t old = umask(0077); /* the file, its -wal and -shm are for the owner alone */
    int r = conn_open(path, true, db->opt.cache_bytes, &db->writer, e);
    int64_t format = 0;
    if (!r)
        r = ours(db->writer, e, path);
    if (!r)
        r = db_get_i64(db->writer, 0, &format, "PRAGMA user_version", "");
    if (!r && format > 1) {
        err_set(e, "%s: written by a newer hune (format %lld, this one knows 1)", path, (long long)format);
        r = -EINVAL;
    }
    if (!r)
        r = conn_exec(db->writer, STORE_SCHEMA);
    if (!r && db->opt.max_bytes) {
        char sql[64];
        snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%lld", (long long)MAX(db->opt.max_bytes / 4096, 16));
        r = conn_exec(db->writer, sql);
    }
    umask(old);
    if (!r)
        r = thread_start(&db->thread, "db", writer_main, db);
    if (r) {
        if (r == -EUCLEAN) {
            err_set(e, "%s: damaged; put a backup in its place", path);
            r = -EINVAL;
        }
        err_set(e, "%s: %s", path, err_name(r));
        db_close(db);
        return r;
    }
    db->started = true;
    *ret = db;
    return 0;
}

struct db *db_close(struct db *db)
{
    if (!db)
        return NULL;
    if (db->started) {
        pthread_mutex_lock(&db->lock);
        db->stopping = true;
        pthread_cond_signal(&db->work);
        pthread_mutex_unlock(&db->lock);
        pthread_join(db->thread, NULL);
    }
    ASSERT(!db->head);
    for (size_t i = 0; i < ARRAY_LEN(db->readers); i++) {
        ASSERT(!db->readers[i].busy);
        conn_close(db->readers[i].tx);
    }
    conn_close(db->writer); /* the last one: folds the log into the file */
    pthread_mutex_destroy(&db->lock);
    pthread_cond_destroy(&db->work);
    pthread_cond_destroy(&db->finished);
    pthread_mutex_destroy(&db->hooks_lock);
    pthread_mutex_destroy(&db->readers_lock);
    pthread_cond_destroy(&db->reader_free);
    free(db->path);
    free(db);
    return NULL;
}

struct migrate {
    const struct db_schema *s;
    struct err *err;
};

static int room_version(struct db_tx *tx, const char *room, int64_t *ret)
{
    return db_get_i64(tx, 0, ret, "SELECT version FROM schema_versions WHERE room = $1", "s", str_of(room));
}

static int migrate_tx(struct db_tx *tx, void *ctx)
{
    struct migrate *m = ctx;
    int64_t at;
    int r = room_version(tx, m->s->room, &at);
    if (r)
        return r;
    int last = m->s->n ? m->s->steps[m->s->n - 1].version : 0;
    if (at > last) {
        err_set(m->err, "the tables of %s were made by a newer hune (version %lld, this one knows %d)", m->s->room,
                (long long)at, last);
        return -EINVAL;
    }
    for (size_t i = 0; i < m->s->n && !r; i++) {
        const struct db_migration *step = &m->s->steps[i];
        ASSERT(step->version == (int)i + 1);
        if (step->version <= at)
            continue;
        r = conn_script(tx, step->sql, m->err);
        if (r)
            err_prefix(m->err, "%s, step %d", m->s->room, step->version);
    }
    if (!r && at < last)
        r = db_do(tx,
                  "INSERT INTO schema_versions (room, version) VALUES ($1, $2) "
                  "ON CONFLICT (room) DO UPDATE SET version = excluded.version",
                  "si", str_of(m->s->room), (int64_t)last);
    return r;
}

int db_migrate(struct db *db, const struct db_schema *s, struct err *e)
{
    struct migrate m = {.s = s, .err = e};
    int r = db_write(db, migrate_tx, &m);
    if (r)
        err_set(e, "%s: %s", db->path, err_name(r));
    return r;
}

struct version_of {
    const char *room;
    int64_t version;
};

static int version_tx(struct db_tx *tx, void *ctx)
{
    struct version_of *v = ctx;
    return room_version(tx, v->room, &v->version);
}

int db_version(struct db *db, const char *room)
{
    struct version_of v = {.room = room};
    int r = db_read(db, version_tx, &v);
    return r ? r : (int)v.version;
}

/* ---- care ---- */

int db_backup(struct db *db, const char *path, struct err *e)
{
    struct reader *rd;
    int r = reader_take(db, &rd);
    if (r)
        return r;
    /* Runs outside any transaction and takes a snapshot of its own. query_only would refuse it, wrongly: it writes
     * elsewhere. */
    r = conn_exec(rd->tx, "PRAGMA query_only=OFF");
    if (!r)
        r = db_do(rd->tx, "VACUUM INTO $1", "s", str_of(path));
    if (r)
        err_set(e, "%s: %s", path, err_name(r));
    int back = conn_exec(rd->tx, "PRAGMA query_only=ON");
    reader_give(db, rd);
    return r ? r : back;
}

static int check_tx(struct db_tx *tx, void *ctx)
{
    struct err *e = ctx;
    struct db_stmt *st;
    int r = db_query(tx, &st, "PRAGMA integrity_check(3)", "");
    bool bad = false;
    while (!r && (r = db_step(st)) == 1) {
        struct str line = db_col_str(st, 0);
        r = 0;
        if (str_eqz(line, "ok"))
            continue;
        err_set(e, STR_FMT, STR_ARG(line));
        bad = true;
    }
    return r ? r : bad ? -EINVAL : 0;
}

int db_check(struct db *db, struct err *e)
{
    return db_read(db, check_tx, e);
}

void db_collect(void *p, struct metrics_out *out)
{
    struct db *db = p;
    const struct {
        const char *name, *help;
        enum metric_type type;
        double v;
    } rows[] = {
        {"hune_db_writes_total", "Changes asked of the record store.", METRIC_COUNTER, (double)db->writes},
        {"hune_db_commits_total", "Commits to disk; several changes share one.", METRIC_COUNTER, (double)db->commits},
        {"hune_db_failed_writes_total", "Changes that could not be written.", METRIC_COUNTER, (double)db->failed},
        {"hune_db_full", "1 while the record store has no space left.", METRIC_GAUGE, db->full ? 1 : 0},
        {"hune_db_read_only", "1 after a failed sync: nothing is written until restart.", METRIC_GAUGE,
         db->read_only ? 1 : 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        out->family(out, str_of(rows[i].name), str_of(rows[i].help), rows[i].type);
        out->sample(out, STR(""), NULL, 0, rows[i].v);
    }
    struct stat st;
    char *wal = xasprintf("%s-wal", db->path);
    out->family(out, STR("hune_db_size_bytes"), STR("Size of the record store on disk."), METRIC_GAUGE);
    const char *const paths[] = {db->path, wal}, *const names[] = {"data", "log"};
    for (size_t i = 0; i < 2; i++) {
        struct metric_label l = {STR("part"), str_of(names[i])};
        out->sample(out, STR(""), &l, 1, stat(paths[i], &st) == 0 ? (double)st.st_size : 0);
    }
    free(wal);
}
