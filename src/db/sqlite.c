// SPDX-License-Identifier: Apache-2.0
/* The only file that knows SQLite: connections, statements and their errors. Transactions and threads are in db.c.
 *
 * Every connection is used by one thread at a time (the writer's, or whoever borrowed a reader), so SQLite's own
 * mutexes are off. Facts on WAL and synchronous=FULL: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous
 * (3.40). */
#include "db/db_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include <sqlite3.h>
#include <unistd.h>

#define STMT_CACHE 48 /* per connection; our rooms together have about as many */

struct db_stmt {
    struct db_tx *tx;
    sqlite3_stmt *st;
    char *sql;
    size_t sql_n;
    uint64_t used; /* turn of last use, for eviction */
    bool busy;
};

struct db_tx {
    sqlite3 *h;
    struct db_stmt *stmts[STMT_CACHE];
    uint64_t turn;
    bool sync_failed; /* an fsync went wrong on this connection */
};

static int error_of(struct db_tx *tx, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return -EACCES;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    case SQLITE_TOOBIG:
        return -EMSGSIZE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EUCLEAN;
    case SQLITE_IOERR: {
        int sys = tx && tx->h ? sqlite3_system_errno(tx->h) : 0;
        if (sys == ENOSPC || sys == EDQUOT)
            return -ENOSPC;
        /* After a failed fsync nobody knows what is on the disk, and asking again may lie
         * (sqlite.org/atomiccommit.html; LWN 752063): the owner stops writing for good. */
        if (tx && (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC))
            tx->sync_failed = true;
        return -EIO;
    }
    default:
        return -EIO;
    }
}

static void setup_once(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    /* Both before sqlite3_initialize(): no global statistics mutex, and one thread per connection at a time. */
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 64, 64);
}

static int pragma(struct db_tx *tx, const char *sql)
{
    return error_of(tx, sqlite3_exec(tx->h, sql, NULL, NULL, NULL));
}

int conn_open(const char *path, bool writer, int64_t cache_bytes, struct db_tx **ret, struct err *e)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    setup_once();
    pthread_mutex_unlock(&lock);
    struct db_tx *tx = NEW(struct db_tx);
    int flags = writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE;
    int rc = sqlite3_open_v2(path, &tx->h, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    int r = error_of(tx, rc);
    char sql[64];
    if (!r) {
        sqlite3_extended_result_codes(tx->h, 1);
        sqlite3_busy_timeout(tx->h, 5000); /* an outside reader's checkpoint, sqlite3(1) in somebody's shell */
        sqlite3_db_config(tx->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        snprintf(sql, sizeof(sql), "PRAGMA cache_size=-%lld", (long long)(cache_bytes / 1024));
        r = pragma(tx, sql);
    }
    if (!r)
        r = pragma(tx, "PRAGMA foreign_keys=ON");
    if (!r)
        r = pragma(tx, "PRAGMA temp_store=MEMORY");
    if (!r && writer) {
        r = pragma(tx, "PRAGMA journal_mode=WAL");
        if (!r)
            r = pragma(tx, "PRAGMA synchronous=FULL");
        if (!r)
            r = pragma(tx, "PRAGMA journal_size_limit=1048576");
        if (!r)
            r = pragma(tx, "PRAGMA wal_autocheckpoint=256");
    } else if (!r) {
        r = pragma(tx, "PRAGMA query_only=ON");
    }
    if (r) {
        if (r == -EUCLEAN) {
            err_set(e, "%s: not a database of hune, or damaged (%s); move it away or put a backup in its place", path,
                    sqlite3_errmsg(tx->h));
            r = -EINVAL;
        } else {
            err_set(e, "%s: %s", path, tx->h ? sqlite3_errmsg(tx->h) : err_name(r));
        }
        conn_close(tx);
        return r;
    }
    *ret = tx;
    return 0;
}

static struct db_stmt *stmt_free(struct db_stmt *s)
{
    if (s) {
        sqlite3_finalize(s->st);
        free(s->sql);
        free(s);
    }
    return NULL;
}

struct db_tx *conn_close(struct db_tx *tx)
{
    if (!tx)
        return NULL;
    for (size_t i = 0; i < STMT_CACHE; i++)
        tx->stmts[i] = stmt_free(tx->stmts[i]);
    int rc = sqlite3_close(tx->h);
    ASSERT(rc == SQLITE_OK); /* every statement is ours and finalized */
    free(tx);
    return NULL;
}

bool conn_sync_failed(const struct db_tx *tx)
{
    return tx->sync_failed;
}

bool conn_in_transaction(const struct db_tx *tx)
{
    return !sqlite3_get_autocommit(tx->h);
}

int conn_exec(struct db_tx *tx, const char *sql)
{
    return error_of(tx, sqlite3_exec(tx->h, sql, NULL, NULL, NULL));
}

void conn_undo(struct db_tx *tx)
{
    (void)sqlite3_exec(tx->h, "ROLLBACK", NULL, NULL, NULL); /* a failure here is met again by the next BEGIN */
}

int conn_script(struct db_tx *tx, const char *sql, struct err *e)
{
    int r = error_of(tx, sqlite3_exec(tx->h, sql, NULL, NULL, NULL));
    if (r)
        err_set(e, "%s", sqlite3_errmsg(tx->h));
    return r;
}

void conn_reset_all(struct db_tx *tx)
{
    for (size_t i = 0; i < STMT_CACHE; i++)
        if (tx->stmts[i] && tx->stmts[i]->busy)
            db_reset(tx->stmts[i]);
}

/* Parameters are $1, $2 ... in order: what PostgreSQL will need, and SQLite numbers them the same way. */
static void check_parameters(sqlite3_stmt *st, struct str sql)
{
    int n = sqlite3_bind_parameter_count(st);
    for (int i = 1; i <= n; i++) {
        char want[16];
        snprintf(want, sizeof(want), "$%d", i);
        const char *name = sqlite3_bind_parameter_name(st, i);
        if (!name || strcmp(name, want) != 0)
            BUG("parameter %d is named %s: " STR_FMT, i, name ? name : "?", STR_ARG(sql));
    }
}

int db_prepare(struct db_tx *tx, struct db_stmt **ret, struct str sql)
{
    size_t slot = 0;
    tx->turn++;
    for (size_t i = 0; i < STMT_CACHE; i++) {
        struct db_stmt *s = tx->stmts[i];
        if (s && !s->busy && s->sql_n == sql.n && memcmp(s->sql, sql.p, sql.n) == 0) {
            s->busy = true;
            s->used = tx->turn;
            *ret = s;
            return 0;
        }
        /* The slot to take when nothing fits: a free one, else the one longest unused. */
        struct db_stmt *best = tx->stmts[slot];
        if (best && (!s || (!s->busy && (best->busy || s->used < best->used))))
            slot = i;
    }
    if (tx->stmts[slot] && tx->stmts[slot]->busy)
        BUG("more than %d statements open at once", STMT_CACHE);
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v3(tx->h, sql.p, (int)sql.n, SQLITE_PREPARE_PERSISTENT, &st, NULL);
    if (rc == SQLITE_ERROR)
        BUG("SQL: %s: " STR_FMT, sqlite3_errmsg(tx->h), STR_ARG(sql));
    if (rc != SQLITE_OK)
        return error_of(tx, rc);
    check_parameters(st, sql);
    stmt_free(tx->stmts[slot]);
    struct db_stmt *s = NEW(struct db_stmt);
    *s = (struct db_stmt){.tx = tx, .st = st, .sql = str_dupz(sql), .sql_n = sql.n, .used = tx->turn, .busy = true};
    tx->stmts[slot] = s;
    *ret = s;
    return 0;
}

int db_bind_i64(struct db_stmt *st, int i, int64_t v)
{
    return error_of(st->tx, sqlite3_bind_int64(st->st, i, v));
}

int db_bind_f64(struct db_stmt *st, int i, double v)
{
    return error_of(st->tx, sqlite3_bind_double(st->st, i, v)); /* NaN is stored as NULL */
}

int db_bind_str(struct db_stmt *st, int i, struct str v)
{
    return error_of(st->tx, sqlite3_bind_text64(st->st, i, v.n ? v.p : "", v.n, SQLITE_TRANSIENT, SQLITE_UTF8));
}

static int bind_blob(struct db_stmt *st, int i, struct str v)
{
    return error_of(st->tx, sqlite3_bind_blob64(st->st, i, v.n ? v.p : "", v.n, SQLITE_TRANSIENT));
}

int db_bind_null(struct db_stmt *st, int i)
{
    return error_of(st->tx, sqlite3_bind_null(st->st, i));
}

static int prepare_bound(struct db_tx *tx, struct db_stmt **ret, const char *sql, const char *args, va_list ap)
{
    struct db_stmt *st;
    int r = db_prepare(tx, &st, str_of(sql));
    if (r)
        return r;
    if ((int)strlen(args) != sqlite3_bind_parameter_count(st->st))
        BUG("%zu arguments for: %s", strlen(args), sql);
    for (int i = 1; !r && args[i - 1]; i++) {
        switch (args[i - 1]) {
        case 'i':
            r = db_bind_i64(st, i, va_arg(ap, int64_t));
            break;
        case 'f':
            r = db_bind_f64(st, i, va_arg(ap, double));
            break;
        case 's':
            r = db_bind_str(st, i, va_arg(ap, struct str));
            break;
        case 'b':
            r = bind_blob(st, i, va_arg(ap, struct str));
            break;
        case 'n':
            r = db_bind_null(st, i);
            break;
        default:
            BUG("argument kind '%c'", args[i - 1]);
        }
    }
    if (r) {
        db_reset(st);
        return r;
    }
    *ret = st;
    return 0;
}

int db_query(struct db_tx *tx, struct db_stmt **ret, const char *sql, const char *args, ...)
{
    va_list ap;
    va_start(ap, args);
    int r = prepare_bound(tx, ret, sql, args, ap);
    va_end(ap);
    return r;
}

int db_step(struct db_stmt *st)
{
    int rc = sqlite3_step(st->st);
    if (rc == SQLITE_ROW)
        return 1;
    int r = error_of(st->tx, rc);
    db_reset(st);
    return r;
}

void db_reset(struct db_stmt *st)
{
    (void)sqlite3_reset(st->st); /* repeats the error of the last step, which was told already */
    (void)sqlite3_clear_bindings(st->st);
    st->busy = false;
}

int db_do(struct db_tx *tx, const char *sql, const char *args, ...)
{
    struct db_stmt *st;
    va_list ap;
    va_start(ap, args);
    int r = prepare_bound(tx, &st, sql, args, ap);
    va_end(ap);
    if (r)
        return r;
    while ((r = db_step(st)) == 1)
        ;
    return r;
}

int64_t db_changes(struct db_tx *tx)
{
    return sqlite3_changes64(tx->h);
}

int db_get_i64(struct db_tx *tx, int64_t dflt, int64_t *ret, const char *sql, const char *args, ...)
{
    struct db_stmt *st;
    va_list ap;
    va_start(ap, args);
    int r = prepare_bound(tx, &st, sql, args, ap);
    va_end(ap);
    if (r)
        return r;
    r = db_step(st);
    if (r < 0)
        return r;
    if (r == 0) {
        *ret = dflt;
        return 0;
    }
    *ret = db_col_null(st, 0) ? dflt : db_col_i64(st, 0);
    db_reset(st);
    return 0;
}

int64_t db_col_i64(struct db_stmt *st, int i)
{
    return sqlite3_column_int64(st->st, i);
}

double db_col_f64(struct db_stmt *st, int i)
{
    return sqlite3_column_double(st->st, i);
}

struct str db_col_str(struct db_stmt *st, int i)
{
    const void *p = sqlite3_column_blob(st->st, i); /* of a text column: its UTF-8 bytes, as they are */
    size_t n = (size_t)sqlite3_column_bytes(st->st, i);
    return p ? str_make(p, n) : STR("");
}

bool db_col_null(struct db_stmt *st, int i)
{
    return sqlite3_column_type(st->st, i) == SQLITE_NULL;
}
