// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The server's command line: one row per flag, Prometheus' names where the meaning is the same. */
#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

#define OPTION_LISTEN_MAX 16

struct options {
    struct str config_file, alertmanager_file, data_dir, tsdb_path;
    struct str listen[OPTION_LISTEN_MAX];
    size_t n_listen;
    struct str web_config_file, external_url, route_prefix, cors_origin;
    bool enable_lifecycle, enable_admin_api, enable_remote_write;
    int64_t retention_ms, retention_bytes; /* 0 = not given */
    struct str sync;                       /* "1s", "always", "off" */
    int64_t query_lookback_ms, query_timeout_ms, query_max_concurrency, query_max_samples;
    int64_t outage_tolerance_ms, grace_period_ms, resend_delay_ms;
    int64_t notify_queue;
    int64_t max_connections, read_timeout_ms;
    struct str log_level, log_format, language;
    bool help, version;
    bool as_prometheus; /* called through a link of that name */
};

/* Fill *o with defaults, then argv[1..]. Values borrow argv. 0; -EINVAL with "unknown flag --x, did you mean --y?".
 * Flags that Prometheus has and that change nothing here are accepted; each adds a sentence to `notes`. */
MUST_USE int options_parse(int argc, char **argv, struct options *o, struct buf *notes, struct err *e);
/* What --help prints. */
void options_help(struct buf *b, bool french);
/* name, value in force, in table order: /api/v1/status/flags. */
void options_each(const struct options *o, void (*fn)(void *ctx, const char *name, struct str value), void *ctx);
/* Markdown table for the manual. */
void options_reference(struct buf *b);
