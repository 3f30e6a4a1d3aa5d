// SPDX-License-Identifier: Apache-2.0
/* Remote write, and the store's administration (--web.enable-remote-write-receiver, --web.enable-admin-api). */
#include "api/api_int.h"

#include "base/format.h"
#include "base/rand.h"
#include "ingest/ingest.h"
#include "sys/fs.h"

/* ---- POST /api/v1/write ---- */

static void text(struct http_req *r, int status, const char *why)
{
    buf_z(http_out(r), why);
    buf_putc(http_out(r), '\n');
    http_reply(r, status, "text/plain; charset=utf-8");
}

static void put_count(struct http_req *r, const char *name, uint64_t n)
{
    char z[24];
    int len = snprintf(z, sizeof(z), "%llu", (unsigned long long)n);
    http_set_header(r, name, str_make(z, (size_t)len));
}

static void do_write(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str type = http_header(r, "content-type");
    bool v2 = str_find(type, STR("io.prometheus.write.v2.Request")) >= 0;
    struct ingest_result got;
    struct err e = {0};
    int n = ingest_remote_write(a->d.sink, http_body(r), v2 ? INGEST_V2 : INGEST_V1, &got, &e);
    if (v2) {
        put_count(r, "X-Prometheus-Remote-Write-Samples-Written", got.samples + got.duplicates);
        put_count(r, "X-Prometheus-Remote-Write-Histograms-Written", got.histograms);
        put_count(r, "X-Prometheus-Remote-Write-Exemplars-Written", got.exemplars);
    }
    if (n == 0) {
        http_reply(r, 204, NULL);
    } else if (n > 0) {
        text(r, n == INGEST_E_TOO_LARGE ? 413 : 400, e.msg);
    } else {
        /* 5xx: the sender keeps the samples and tries again */
        if (n == -ENOSPC || n == -EROFS)
            http_set_header(r, "Retry-After", STR("5"));
        text(r, n == -ENOSPC || n == -EROFS ? 503 : 500, e.msg);
    }
}

static void write_samples(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str type = http_header(r, "content-type"), coding = http_header(r, "content-encoding");
    if (!a->d.enable_remote_write) {
        text(r, 404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver");
        return;
    }
    struct str media, proto;
    (void)str_cut(type, ';', &media, &proto);
    media = str_trim(media);
    if (!str_empty(media) && !str_ieq(media, STR("application/x-protobuf"))) {
        text(r, 415, "expected Content-Type application/x-protobuf");
        return;
    }
    if (str_find(proto, STR("proto=")) >= 0 && str_find(proto, STR("prometheus.WriteRequest")) < 0 &&
        str_find(proto, STR("io.prometheus.write.v2.Request")) < 0) {
        text(r, 415, "expected proto prometheus.WriteRequest or io.prometheus.write.v2.Request");
        return;
    }
    if (!str_empty(coding) && !str_ieq(coding, STR("snappy"))) {
        text(r, 415, "expected Content-Encoding snappy");
        return;
    }
    /* a small body costs less than handing it over */
    if (http_body(r).n < 64 << 10)
        do_write(r, ctx);
    else
        http_later(r, do_write, ctx);
}

/* ---- /api/v1/admin/tsdb ---- */

static bool enabled(struct http_req *r, const struct api *a)
{
    if (a->d.enable_admin)
        return true;
    prom_fail(r, "unavailable", "admin APIs disabled");
    return false;
}

static void do_delete(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    int64_t start, end;
    struct prom_sets sets;
    if (!prom_time(r, "start", PROM_MIN_MS, &start) || !prom_time(r, "end", PROM_MAX_MS, &end) ||
        !prom_matchers(r, true, &sets))
        return;
    int e = 0;
    for (size_t i = 0; i < sets.n && e == 0; i++)
        e = tsdb_delete(a->d.tsdb, sets.m[i], sets.n_m[i], start, end);
    prom_sets_done(&sets);
    if (e)
        prom_fail(r, "internal", "the samples could not be deleted: %s", err_name(e));
    else
        http_reply(r, 204, NULL);
}

static void delete_series(struct http_req *r, void *ctx)
{
    if (enabled(r, ctx))
        http_later(r, do_delete, ctx);
}

static void do_clean(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    int e = tsdb_clean_tombstones(a->d.tsdb);
    if (e)
        prom_fail(r, "internal", "blocks could not be rewritten: %s", err_name(e));
    else
        http_reply(r, 204, NULL);
}

static void clean_tombstones(struct http_req *r, void *ctx)
{
    if (enabled(r, ctx))
        http_later(r, do_clean, ctx);
}

static void do_snapshot(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    int y, mon, d, h, m, s;
    int64_t now = clock_now_ms(a->d.clock);
    uint64_t random;
    format_civil(now, &y, &mon, &d, &h, &m, &s);
    rand_secure(&random, sizeof(random));
    struct str name =
        arena_fmt(http_arena(r), "%04d%02d%02dT%02d%02d%02dZ-%016llx", y, mon, d, h, m, s, (unsigned long long)random);
    struct str parent = arena_fmt(http_arena(r), STR_FMT "/snapshots", STR_ARG(a->d.data_dir));
    struct str path = arena_fmt(http_arena(r), STR_FMT "/" STR_FMT, STR_ARG(parent), STR_ARG(name));
    int e = fs_mkdirs(parent.p, 0700);
    if (e == 0)
        e = tsdb_snapshot_dir(a->d.tsdb, path.p);
    if (e) {
        prom_fail(r, "internal", "no snapshot: %s", err_name(e));
        return;
    }
    struct jw w;
    prom_begin(r, &w);
    jw_obj(&w);
    jw_kstr(&w, "name", name);
    jw_end(&w);
    prom_end(r, &w);
}

static void snapshot(struct http_req *r, void *ctx)
{
    if (enabled(r, ctx))
        http_later(r, do_snapshot, ctx);
}

static const struct http_route routes[] = {
    {HTTP_POST, "/api/v1/write", HTTP_OPERATOR, HTTP_ANY_TYPE, write_samples, "remote write 1.0 and 2.0"},
    {HTTP_POST | HTTP_PUT, "/api/v1/admin/tsdb/delete_series", HTTP_ADMIN, HTTP_ANY_TYPE, delete_series,
     "delete samples of the series that match"},
    {HTTP_POST | HTTP_PUT, "/api/v1/admin/tsdb/clean_tombstones", HTTP_ADMIN, HTTP_ANY_TYPE, clean_tombstones,
     "give the disk back what was deleted"},
    {HTTP_POST | HTTP_PUT, "/api/v1/admin/tsdb/snapshot", HTTP_ADMIN, HTTP_ANY_TYPE, snapshot,
     "a copy of the store in DATA/snapshots"},
};

void prom_admin_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}
