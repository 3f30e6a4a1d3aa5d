// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Between sqlite.c (connections), db.c (threads, transactions) and journal.c. A connection is a struct db_tx: used by
 * one thread at a time. */
#include "db/db.h"
#include <pthread.h>

MUST_USE int conn_open(const char *path, bool writer, int64_t cache_bytes, struct db_tx **ret, struct err *e);
struct db_tx *conn_close(struct db_tx *tx);
MUST_USE int conn_exec(struct db_tx *tx, const char *sql);
void conn_undo(struct db_tx *tx);                                           /* end a transaction without its changes */
MUST_USE int conn_script(struct db_tx *tx, const char *sql, struct err *e); /* *e: the engine's words */
bool conn_in_transaction(const struct db_tx *tx); /* false also after the engine undid one by itself */
bool conn_sync_failed(const struct db_tx *tx);
void conn_reset_all(struct db_tx *tx);        /* statements that were left before their end */
void db_off_commit(struct db *db, void *ctx); /* forget the hook of that ctx; returns when it no longer runs */
