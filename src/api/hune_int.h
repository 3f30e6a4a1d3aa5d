// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the files of /api/hune/v1 share (doc/reference/api-hune.md). */
#include "api/api_int.h"

/* Start a JSON answer; the caller opens and closes its object. */
void hune_begin(struct http_req *r, struct jw *w);
void hune_end(struct http_req *r, struct jw *w, int status);
void hune_time(struct jw *w, const char *key, int64_t ms); /* null when 0 */
/* The body as a JSON object; false after answering 400. An empty body is {}. */
bool hune_body(struct http_req *r, const struct json **ret);
/* Integer argument, dflt when absent; false after answering 400. */
bool hune_i64(struct http_req *r, const char *name, int64_t dflt, int64_t *ret);
/* limit: 100 unless given, at most 1000. */
bool hune_limit(struct http_req *r, size_t dflt, size_t *ret);
struct str hune_fingerprint(struct arena *a, struct labels l); /* as alert events name it */

void hune_anomaly_routes(struct api *a);
void hune_process_routes(struct api *a);
void hune_overview_routes(struct api *a);
void hune_live_start(struct api *a);
void hune_live_routes(struct api *a);
