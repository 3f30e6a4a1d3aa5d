// SPDX-License-Identifier: Apache-2.0
#pragma once
/* HTTP <-> engines, nothing more: one file per route family, every route a table row with its role. Handlers call
 * engines through the pointers below, which app/ fills in once; any may be NULL where its comment says so. */
#include "anomaly/anomaly.h"
#include "apps/apps.h"
#include "auth/auth.h"
#include "avail/avail.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "model/event.h"
#include "model/query.h"
#include "model/source.h"
#include "net/server.h"
#include "notify/notify.h"
#include "promfile/promfile.h"
#include "rules/rules.h"
#include "scrape/scrape.h"
#include "tsdb/tsdb.h"

struct api_deps {
    const struct clock *clock;
    struct tsdb *tsdb;
    struct source *source;
    struct sink *sink; /* remote write */
    struct query_engine *query;
    struct rules *rules;
    struct scrape *scrape;
    struct notify *notify;
    struct db *db;
    struct journal *journal;
    struct anomalies *anomalies;
    struct avail *avail;
    struct apps *apps; /* NULL without a keeper */
    struct auth *auth;
    struct metrics *metrics;

    /* What only the server as a whole knows. */
    void *server;
    int (*reload)(void *server, struct err *e); /* blocks until done; 0 or the reason */
    void (*quit)(void *server);
    /* The configuration as it should be shown, secrets masked. */
    void (*config_yaml)(void *server, struct buf *out);
    void (*each_flag)(void *server, void (*fn)(void *ctx, const char *name, struct str value), void *ctx);
    /* global.external_labels in force, copied into the arena; may be NULL. */
    void (*external_labels)(void *server, struct arena *a, struct labels *ret);
    /* Addresses of outside Alertmanagers in force. */
    void (*alertmanagers)(void *server, struct arena *a, struct str **ret, size_t *ret_n);
    int64_t started_ms;
    struct str data_dir, mode; /* mode: "run" (under a keeper) or "server" */
    struct str external_url;   /* without trailing slash */
    struct str language;
    const struct str *listen;
    size_t n_listen;
    struct self_state {
        _Atomic int64_t *reload_ok, *reload_ms; /* last reload worked; when */
        int64_t (*resident_bytes)(void);
    } self;
    int64_t query_max_points; /* 0 = 11000, Prometheus' bound */
    bool enable_lifecycle, enable_admin, enable_remote_write;
    int64_t retention_ms;
};

struct api;
/* Registers every route with `http` (before http_server_start). Deps are copied, pointers borrowed until api_free. */
struct api *api_new(struct http_server *http, const struct api_deps *d);
/* Before http_server_stop: says goodbye on live streams and ends them. */
void api_stop(struct api *a);
/* Last: after the HTTP server, the journal and the apps are gone, whose threads call into it. */
struct api *api_free(struct api *a);
