// SPDX-License-Identifier: Apache-2.0
/* One target's life: asked when due, its answer judged, its samples handed to ingest; in the end, staleness. */
#include "base/format.h"
#include "base/log.h"
#include "scrape/scrape_int.h"

const char *const target_health_names[] = {"unknown", "up", "down"};

struct target *target_new(struct scrape *s, struct arena *a)
{
    struct target *t = NEW(struct target);
    t->arena = a;
    t->scrape = s;
    count(s, N_TARGETS, 1);
    return t;
}

static void cancel(struct target *t)
{
    if (t->call)
        t->scrape->fetch->cancel(t->scrape->fetch, t->call);
    t->call = NULL;
}

void target_free(struct target *t)
{
    if (!t)
        return;
    cancel(t);
    heap_remove(t->scrape, t);
    cache_done(&t->cache);
    free((void *)(uintptr_t)t->last_error.p);
    arena_free(t->arena);
    count(t->scrape, N_TARGETS, -1);
    free(t);
}

/* Prometheus' endOfRunStaleness: markers carry the time of the scrape that does not come any more, and are written 1.1
 * intervals after it, so that a target that came back meanwhile wins. */
void target_retire(struct target *t)
{
    cancel(t);
    t->pool = NULL;
    t->collect = NULL;
    if (t->last_scrape_ms == 0) {
        target_free(t);
        return;
    }
    t->retired = true;
    t->stale_ms = t->planned_ms;
    heap_remove(t->scrape, t);
    t->due_ns += (uint64_t)t->interval_ms * 1100000;
    heap_push(t->scrape, t);
}

static void set_error(struct target *t, const char *error)
{
    free((void *)(uintptr_t)t->last_error.p);
    t->last_error = error ? str_of(xstrdup(error)) : STR_NULL;
}

/* The scrape is over, well or badly. */
static void finish(struct target *t, struct ingest *in, const char *error, uint64_t body_bytes)
{
    struct scrape *s = t->scrape;
    double took = (double)(clock_mono_ns(s->clock) - t->start_ns) * 1e-9;
    ingest_end(in, error, took, body_bytes);
    if (error && t->health != TARGET_DOWN)
        log_info("target is down", KV_STR("job", t->pool_name), KV_STR("target", t->url), KV_Z("reason", error));
    else if (!error && t->health == TARGET_DOWN)
        log_info("target is up again", KV_STR("job", t->pool_name), KV_STR("target", t->url));
    t->health = error ? TARGET_DOWN : TARGET_UP;
    set_error(t, error);
    t->last_scrape_ms = t->start_ms;
    t->last_duration_s = took;
    t->last_samples = in->added;
    count(s, N_SCRAPES, 1);
    if (error)
        count(s, N_FAILURES, 1);
    count(s, N_BODY_BYTES, (int64_t)body_bytes);
}

static void done(void *ctx, const struct http_response *r)
{
    struct target *t = ctx;
    t->call = NULL;
    struct ingest in;
    ingest_begin(&in, t, t->start_ms);
    char error[sizeof(in.err.msg) + 64] = "";
    if (r->error == -EMSGSIZE) {
        count(t->scrape, N_BODY_LIMIT, 1);
        (void)snprintf(error, sizeof(error), "body size limit exceeded");
    } else if (r->error) {
        (void)snprintf(error, sizeof(error), "%s", r->err.msg[0] ? r->err.msg : err_name(r->error));
    } else if (r->status != 200) {
        (void)snprintf(error, sizeof(error), "server returned HTTP status %ld", r->status);
    } else {
        int fallback = t->pool->conf->fallback;
        int f = fallback < 0                                               ? -1
                : fallback == PROTO_OM_0_0_1 || fallback == PROTO_OM_1_0_0 ? EXPO_OPENMETRICS
                                                                           : EXPO_TEXT;
        enum expo_format format;
        int e = expo_format_of(r->content_type, f, &format, &in.err);
        if (e == 0) {
            if (format != t->format)
                cache_forget(&t->cache);
            t->format = format;
            e = ingest_body(&in, r->body);
        }
        if (e < 0)
            (void)snprintf(error, sizeof(error), "%s", in.err.msg);
    }
    finish(t, &in, error[0] ? error : NULL, r->body_bytes);
}

/* "Accept" as Prometheus words it: quality falls with the place in the list. */
static struct str accept_header(const struct promfile_scrape *conf, struct arena *a)
{
    static const char *const types[PROTO_COUNT] = {
        [PROTO_OM_0_0_1] = "application/openmetrics-text;version=0.0.1",
        [PROTO_OM_1_0_0] = "application/openmetrics-text;version=1.0.0",
        [PROTO_TEXT_0_0_4] = "text/plain;version=0.0.4",
        [PROTO_TEXT_1_0_0] = "text/plain;version=1.0.0",
    };
    struct buf b = BUF_INIT(1024);
    size_t weight = conf->n_protocols + 1;
    for (size_t i = 0; i < conf->n_protocols; i++, weight--) {
        int p = conf->protocols[i];
        if (!types[p])
            continue; /* protobuf is not read yet, so it is not asked for */
        bool named = p == PROTO_OM_1_0_0 || p == PROTO_TEXT_1_0_0;
        buf_fmt(&b, "%s%s;q=0.%zu,", types[p],
                !named               ? ""
                : conf->legacy_names ? ";escaping=underscores"
                                     : ";escaping=allow-utf-8",
                weight);
    }
    buf_fmt(&b, "*/*;q=0.%zu", weight);
    struct str s = arena_str(a, buf_view(&b));
    buf_done(&b);
    return s;
}

static void ask(struct target *t)
{
    struct scrape *s = t->scrape;
    const struct promfile_scrape *conf = t->pool->conf;
    if (!t->headers[0].name.p) {
        struct buf b = BUF_INIT(64);
        buf_fmt(&b, "%lld", (long long)(t->timeout_ms / 1000));
        if (t->timeout_ms % 1000)
            buf_fmt(&b, ".%03lld", (long long)(t->timeout_ms % 1000));
        t->headers[0] = (struct http_header){.name = STR("Accept"), .value = accept_header(conf, t->arena)};
        t->headers[1] = (struct http_header){.name = STR("User-Agent"), .value = STR("hune/" HUNE_VERSION)};
        t->headers[2] = (struct http_header){.name = STR("X-Prometheus-Scrape-Timeout-Seconds"),
                                             .value = arena_str(t->arena, buf_view(&b))};
        buf_done(&b);
    }
    struct http_request r = {
        .url = t->url,
        .config = &conf->http,
        .headers = t->headers,
        .n_headers = ARRAY_LEN(t->headers),
        .timeout_ms = t->timeout_ms,
        .max_body = (size_t)conf->limits.body_bytes,
        .accept_gzip = conf->enable_compression,
        .unix_socket = t->unix_socket.n ? t->unix_socket.p : NULL,
    };
    struct err e = {0};
    int n = s->fetch->start(s->fetch, &r, done, t, &t->call, &e);
    if (n < 0) {
        t->call = NULL;
        struct http_response failed = {.error = n, .err = e};
        done(t, &failed);
    }
}

static void collect(struct target *t)
{
    struct ingest in;
    struct ingest_out o;
    ingest_begin(&in, t, t->start_ms);
    ingest_out_init(&o, &in);
    t->collect(t->collect_ctx, &o.out);
    buf_done(&o.text);
    finish(t, &in, o.failed ? in.err.msg : NULL, 0);
}

void target_run(struct target *t)
{
    struct scrape *s = t->scrape;
    if (t->retired) {
        ingest_retire(t);
        target_free(t);
        return;
    }
    if (t->call) { /* the answer is later than the interval allows; the next turn is not taken */
        count(s, N_SKIPPED, 1);
        target_plan_next(t);
        return;
    }
    int64_t now = clock_now_ms(s->clock), off = now - t->planned_ms;
    int64_t tolerance =
        MIN(2, t->interval_ms / 100); /* Prometheus' ScrapeTimestampTolerance: even steps compress well */
    if (off >= -tolerance && off <= tolerance)
        now = t->planned_ms;
    else if (off > t->interval_ms || off < -t->interval_ms)
        t->planned_ms = now; /* the wall clock was set */
    t->start_ms = now;
    t->start_ns = clock_mono_ns(s->clock);
    target_plan_next(t);
    if (t->collect) {
        collect(t);
    } else if (t->forced_error.n) {
        struct ingest in;
        ingest_begin(&in, t, now);
        count(s, N_TARGET_LIMIT, 1);
        finish(t, &in, t->forced_error.p, 0);
    } else {
        ask(t);
    }
}
