// SPDX-License-Identifier: Apache-2.0
/* Registration, life cycle routes, /metrics, and the embedded page. */
#include "api/api_int.h"

#include "codec/f64.h"
#include "ui/ui.h"

/* ---- /-/ ---- */

static void healthy(struct http_req *r, void *ctx)
{
    (void)ctx;
    buf_z(http_out(r), "hune is Healthy.\n");
    http_reply(r, 200, "text/plain; charset=utf-8");
}

/* Ready means: the log is replayed (the address is bound only then) and samples are taken. */
static void ready(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct tsdb_stats st;
    tsdb_stats(a->d.tsdb, &st);
    if (st.read_only)
        buf_fmt(http_out(r), "hune does not take samples: %s\n", st.reason);
    else
        buf_z(http_out(r), "hune is Ready.\n");
    http_reply(r, st.read_only ? 503 : 200, "text/plain; charset=utf-8");
}

static void do_reload(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct err e = {0};
    if (a->d.reload(a->d.server, &e)) {
        buf_fmt(http_out(r), "failed to reload config: %s\n", e.msg);
        http_reply(r, 500, "text/plain; charset=utf-8");
        return;
    }
    http_reply(r, 200, "text/plain; charset=utf-8");
}

/* With --web.enable-lifecycle as Prometheus; without it only for a person who administers. */
static bool lifecycle(struct http_req *r, const struct api *a)
{
    if (a->d.enable_lifecycle || !http_identity(r)->anonymous)
        return true;
    buf_z(http_out(r), "Lifecycle API is not enabled.\n");
    http_reply(r, 403, "text/plain; charset=utf-8");
    return false;
}

static void reload(struct http_req *r, void *ctx)
{
    if (lifecycle(r, ctx))
        http_later(r, do_reload, ctx);
}

static void quit(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    if (!lifecycle(r, a))
        return;
    buf_z(http_out(r), "Requesting termination... Goodbye!\n");
    http_reply(r, 200, "text/plain; charset=utf-8");
    a->d.quit(a->d.server);
}

/* ---- /metrics: text exposition 0.0.4 ---- */

struct text_out {
    struct metrics_out out;
    struct buf *b;
    struct buf name;
};

static void escaped(struct buf *b, struct str s, bool quotes)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' || (quotes && c == '"')) {
            buf_putc(b, '\\');
            buf_putc(b, c);
        } else if (c == '\n') {
            buf_z(b, "\\n");
        } else {
            buf_putc(b, c);
        }
    }
}

static void text_family(struct metrics_out *o, struct str name, struct str help, enum metric_type type)
{
    struct text_out *t = CONTAINER_OF(o, struct text_out, out);
    buf_reset(&t->name);
    buf_str(&t->name, name);
    buf_fmt(t->b, "# HELP " STR_FMT " ", STR_ARG(name));
    escaped(t->b, help, false);
    buf_fmt(t->b, "\n# TYPE " STR_FMT " %s\n", STR_ARG(name), metric_type_names[type]);
}

static void text_sample(struct metrics_out *o, struct str suffix, const struct metric_label *labels, size_t n, double v)
{
    struct text_out *t = CONTAINER_OF(o, struct text_out, out);
    buf_str(t->b, buf_view(&t->name));
    buf_str(t->b, suffix);
    for (size_t i = 0; i < n; i++) {
        buf_putc(t->b, i ? ',' : '{');
        buf_str(t->b, labels[i].name);
        buf_z(t->b, "=\"");
        escaped(t->b, labels[i].value, true);
        buf_putc(t->b, '"');
    }
    if (n)
        buf_putc(t->b, '}');
    buf_putc(t->b, ' ');
    f64_put_g(t->b, v);
    buf_putc(t->b, '\n');
}

#define METRIC_NAME_BYTES 4096

static void metrics(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct text_out t = {
        .out = {.family = text_family, .sample = text_sample}, .b = http_out(r), .name = BUF_INIT(METRIC_NAME_BYTES)};
    metrics_collect(a->d.metrics, &t.out);
    buf_done(&t.name);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8");
}

/* ---- the page ---- */

static void page(struct http_req *r, void *ctx)
{
    (void)ctx;
    const struct ui_asset *u = ui_find(http_path(r));
    if (!u) {
        http_fail(r, 404, "no such page");
        return;
    }
    struct http_asset asset = {.path = u->path.p,
                               .content_type = u->type.p,
                               .etag = u->etag.p,
                               .raw = u->body,
                               .gzip = u->gzip,
                               .brotli = u->brotli,
                               .immutable = u->immutable};
    http_reply_asset(r, &asset);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/-/healthy", HTTP_ANYONE, HTTP_ANY_HOST, healthy, "is the process alive"},
    {HTTP_GET, "/-/ready", HTTP_ANYONE, HTTP_ANY_HOST, ready, "does it take samples and answer queries"},
    {HTTP_POST | HTTP_PUT, "/-/reload", HTTP_ADMIN, HTTP_ANY_TYPE, reload, "read the configuration again"},
    {HTTP_POST | HTTP_PUT, "/-/quit", HTTP_ADMIN, HTTP_ANY_TYPE, quit, "stop the server"},
    {HTTP_GET, "/metrics", HTTP_VIEWER, 0, metrics, "hune's own metrics"},
};

struct api *api_new(struct http_server *http, const struct api_deps *d)
{
    struct api *a = NEW(struct api);
    a->d = *d;
    a->http = http;
    http_server_routes(http, routes, ARRAY_LEN(routes), a);
    prom_query_routes(a);
    prom_series_routes(a);
    prom_state_routes(a);
    prom_admin_routes(a);
    hune_routes(a);
    http_server_fallback(http, page, a);
    return a;
}

void api_stop(struct api *a)
{
    if (a)
        hune_live_bye(a);
}

struct api *api_free(struct api *a)
{
    if (!a)
        return NULL;
    hune_live_free(a);
    free(a);
    return NULL;
}
