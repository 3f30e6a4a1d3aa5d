// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The store of records: one SQLite file (WAL, strict tables, foreign keys), one writer thread that commits many
 * callers' changes with one fsync, readers with connections of their own. No type of SQLite shows. SQL is kept portable
 * (PostgreSQL comes later): parameters are $1, $2 ... numbered in order of first appearance, upserts by ON CONFLICT, no
 * SQLite-only functions; migrations are per engine. And the event journal of model/event.h, kept in the same file. */
#include "base/clock.h"
#include "base/metrics.h"
#include "model/event.h"

struct db;
struct db_tx;   /* a connection inside a transaction; for the function it was given to */
struct db_stmt; /* a prepared statement, cached by its connection; never freed by callers */

struct db_options {
    int64_t cache_bytes; /* page cache of each connection; 0 = 256 KiB */
    unsigned readers;    /* most read connections at once; 0 = 4. Opened when needed, two are kept */
    int64_t max_bytes;   /* the file grows no further: writes give -ENOSPC as on a full disk; 0 = none */
};

/* Open or create; starts the writer's thread. 0; -EINVAL with the reason (not a database, damaged, made by a newer
 * hune); -errno with the reason. The caller owns the folder (fs_lock_dir): two processes on one file are not arranged
 * here. */
MUST_USE int db_open(const char *path, const struct db_options *o, struct db **ret, struct err *e);
struct db *db_close(struct db *db); /* commits what is queued; no call may be running or follow */

/* ---- migrations: every room brings its own, numbered from 1, kept for ever ---- */
struct db_migration {
    int version;
    const char *sql; /* any number of statements; run in one transaction with the change of the version */
};
struct db_schema {
    const char *room;
    const struct db_migration *steps; /* ascending */
    size_t n;
};
/* Bring the room's tables to its last step. Start-up only. 0; -EINVAL with the reason (the file is newer); -errno. */
MUST_USE int db_migrate(struct db *db, const struct db_schema *s, struct err *e);
int db_version(struct db *db, const char *room); /* 0 = never seen, or -errno */

/* ---- transactions ---- */
typedef int (*db_fn)(struct db_tx *tx, void *ctx);
/* Run fn on the writer's thread within a transaction. Returns 0 once it is committed and synced; fn's own non-zero
 * result when it refused (its changes are undone, its neighbours' are not); -errno when the commit failed (-ENOSPC: the
 * disk is full, nothing was applied, later calls try again; -EIO: after a failed fsync the store is read-only for
 * good). Any thread but the writer's (so never from inside fn). fn should take well under a millisecond. */
MUST_USE int db_write(struct db *db, db_fn fn, void *ctx);
/* Run fn on the calling thread over a consistent snapshot of everything committed. Waits while all readers are busy. */
MUST_USE int db_read(struct db *db, db_fn fn, void *ctx);
/* Called on the writer's thread after each commit; must be quick, must not call db_*. Start-up only, at most 8. */
void db_on_commit(struct db *db, void (*fn)(void *ctx), void *ctx);
bool db_read_only(const struct db *db); /* a failed fsync was seen */

/* ---- statements, inside fn ---- */
/* Prepare (or take from the cache), bind and be ready to step. args: one letter per parameter: i int64_t, f double, s
 * struct str, b struct str as a blob, n NULL (takes no argument). Text with invalid UTF-8 is stored as it is. 0 or
 * -errno; wrong SQL is a BUG. */
MUST_USE int db_query(struct db_tx *tx, struct db_stmt **ret, const char *sql, const char *args, ...);
MUST_USE int db_step(struct db_stmt *st); /* 1 = a row, 0 = the end (the statement is reset), -errno */
void db_reset(struct db_stmt *st);        /* when leaving before the end; a forgotten one is reset when fn returns */
/* db_query() stepped to its end, rows ignored. 0; -EEXIST when a unique or foreign key refused it; -errno. */
MUST_USE int db_do(struct db_tx *tx, const char *sql, const char *args, ...);
int64_t db_changes(struct db_tx *tx); /* rows touched by the last db_do() */
/* One integer, dflt when there is no row (or it is NULL). 0 or -errno. */
MUST_USE int db_get_i64(struct db_tx *tx, int64_t dflt, int64_t *ret, const char *sql, const char *args, ...);
/* For SQL built at run time, as db_query: bind parameters one by one (from 1). */
MUST_USE int db_prepare(struct db_tx *tx, struct db_stmt **ret, struct str sql);
MUST_USE int db_bind_i64(struct db_stmt *st, int i, int64_t v);
MUST_USE int db_bind_f64(struct db_stmt *st, int i, double v);
MUST_USE int db_bind_str(struct db_stmt *st, int i, struct str v); /* copied */
MUST_USE int db_bind_null(struct db_stmt *st, int i);
/* Columns from 0; strings are borrowed until the next step. */
int64_t db_col_i64(struct db_stmt *st, int i);
double db_col_f64(struct db_stmt *st, int i);
struct str db_col_str(struct db_stmt *st, int i); /* NULL gives an empty one */
bool db_col_null(struct db_stmt *st, int i);

/* ---- care ---- */
/* A consistent copy while everything runs; path must not exist. 0 or -errno. */
MUST_USE int db_backup(struct db *db, const char *path, struct err *e);
/* Whole check of the file. 0; -EINVAL with what is wrong. Reads everything. */
MUST_USE int db_check(struct db *db, struct err *e);
void db_collect(void *db, struct metrics_out *out); /* hune_db_*; register with metrics_add_collector */

/* ---- the event journal ---- */
struct journal_options {
    int64_t retention_ms; /* 0 = 400 days. Kinds of records (anomaly.*, deploy.*, server.*) are never dropped */
};
/* Both borrowed until journal_close(). Starts the journal's thread: posts are written after 1 s or at 100, subscribers
 * are told in the order of seq of everything appended after this call. One per db. */
MUST_USE int journal_open(struct db *db, const struct clock *c, const struct journal_options *o, struct journal **ret,
                          struct err *e);
struct journal *journal_close(struct journal *j); /* writes what was posted; subscribers hear no more */
/* Forget the subscriber of that ctx; returns when its function no longer runs. */
void journal_unsubscribe(struct journal *j, void *ctx);
/* Append within the caller's transaction, so that a record and its event are one. Sets e->seq and e->t_ms. */
MUST_USE int journal_append_tx(struct journal *j, struct db_tx *tx, struct event *e);
/* Write what was posted, then wait until subscribers have heard everything committed. Not from a subscriber. */
int journal_flush(struct journal *j);
uint64_t journal_last_seq(struct journal *j); /* newest committed */
/* Drop what is older than the retention; returns how many, or -errno. The thread does it every hour by itself. */
int64_t journal_prune(struct journal *j);
void journal_collect(void *journal, struct metrics_out *out); /* hune_journal_* */
/* One event as JSON: {"seq","t_ms","kind","severity","service","subject","actor","summary","links","payload"}. */
struct jw;
void event_json(struct jw *w, const struct event *e);
