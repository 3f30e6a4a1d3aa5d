// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "api/api.h"
#include "codec/json.h"
#include "promql/promql.h"

struct api {
    struct api_deps d;
    struct http_server *http;
    struct hune_live *live; /* event and log streams (hune_live.c) */
};

/* Route families. */
void prom_query_routes(struct api *a);
void prom_series_routes(struct api *a);
void prom_state_routes(struct api *a);
void prom_admin_routes(struct api *a);
void hune_routes(struct api *a);
void hune_live_bye(struct api *a);
void hune_live_free(struct api *a);

/* ---- Prometheus' envelope ---- */

/* {"status":"error","errorType":type,"error":...} with the HTTP status that goes with the type. */
void prom_fail(struct http_req *r, const char *type, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* `{"status":"success","data":` is written; the caller writes data with *w, then prom_end(). */
void prom_begin(struct http_req *r, struct jw *w);
void prom_end(struct http_req *r, struct jw *w);

/* Time argument: RFC 3339 or Unix seconds; dflt when absent. false after answering bad_data. */
bool prom_time(struct http_req *r, const char *name, int64_t dflt_ms, int64_t *ret_ms);
/* Duration argument: Prometheus duration or seconds; dflt when absent. */
bool prom_duration(struct http_req *r, const char *name, int64_t dflt_ms, int64_t *ret_ms);
bool prom_limit(struct http_req *r, const char *name, size_t *ret); /* absent: 0 */

/* All match[] arguments; each is a set, a series matches when any set does. */
struct prom_sets {
    size_t n;
    struct promql **parsed;
    const struct matcher **m;
    size_t *n_m;
};
bool prom_matchers(struct http_req *r, bool required, struct prom_sets *ret); /* false after answering */
void prom_sets_done(struct prom_sets *s);

void prom_put_time(struct buf *b, int64_t ms); /* seconds with up to three decimals: 1435781451.781 */
/* U__ escaping of UTF-8 label names in paths; in the request's arena. false: malformed. */
bool prom_unescape(struct arena *a, struct str in, struct str *ret);

#define PROM_MIN_MS (INT64_MIN / 2)
#define PROM_MAX_MS (INT64_MAX / 2)
