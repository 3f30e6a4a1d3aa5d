// SPDX-License-Identifier: Apache-2.0
/* A server before it serves: options, routes, metrics. */
#include "net/server_int.h"

#include "codec/regex.h"
#include "sys/fs.h"

struct metric server_metrics[M_COUNT] = {
    [M_REQUESTS] = {.name = "hune_http_requests_total", .help = "HTTP requests answered.", .type = METRIC_COUNTER},
    [M_REFUSED] = {.name = "hune_http_refused_total",
                   .help =
                       "HTTP requests refused before any handler: malformed, foreign host or origin, no credential.",
                   .type = METRIC_COUNTER},
    [M_CONNECTIONS] = {.name = "hune_http_connections", .help = "Open HTTP connections.", .type = METRIC_GAUGE},
    [M_STREAMS] = {.name = "hune_http_event_streams", .help = "Open live event streams.", .type = METRIC_GAUGE},
    [M_CUT] = {.name = "hune_http_connections_cut_total",
               .help = "Connections cut because the client was too slow or too many were open.",
               .type = METRIC_COUNTER},
    [M_WORKERS] = {.name = "hune_http_workers_busy", .help = "Workers running a slow request.", .type = METRIC_GAUGE},
    [M_QUEUE] = {.name = "hune_http_queue", .help = "Slow requests waiting for a worker.", .type = METRIC_GAUGE},
};

static void collect(void *ctx, struct metrics_out *out)
{
    struct http_server *s = ctx;
    out->family(out, STR("prometheus_http_requests_total"), STR("Counter of HTTP requests."), METRIC_COUNTER);
    for (size_t i = 0; i < s->routes.v.n; i++) {
        struct route_entry *e = s->routes.v.v[i];
        for (size_t k = 0; k < ROUTE_CODES; k++) {
            uint32_t code = atomic_load(&e->answers[k].code);
            if (!code)
                continue;
            char text[16];
            int n = snprintf(text, sizeof(text), "%u", code);
            struct metric_label l[] = {{STR("code"), str_make(text, (size_t)n)},
                                       {STR("handler"), str_of(e->row->path)}};
            out->sample(out, STR(""), l, 2, (double)atomic_load(&e->answers[k].n));
        }
    }
}

struct http_server *http_server_new(const struct http_server_options *o)
{
    struct http_server *s = NEW(struct http_server);
    s->arena = arena_new(0);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    workers_init(s);
    s->identify = o->identify;
    s->identify_ctx = o->identify_ctx;
    s->has_credential = o->has_credential;
    for (size_t i = 0; i < o->n_listen; i++)
        vec_push(&s->listeners, (struct listener){.text = arena_str(s->arena, o->listen[i]), .fd = -1});
    static const struct str loopback[] = {{"localhost", 9}, {"127.0.0.1", 9}, {"[::1]", 5}};
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++)
        vec_push(&s->hosts, loopback[i]);
    for (size_t i = 0; i < o->n_allowed_hosts; i++)
        vec_push(&s->hosts, arena_str(s->arena, guard_host_name(o->allowed_hosts[i])));
    struct str url = o->external_url, rest = url;
    ptrdiff_t at = str_find(url, STR("://"));
    if (at >= 0) {
        rest = str_sub(url, (size_t)at + 3, url.n);
        struct str authority, path;
        (void)str_cut(rest, '/', &authority, &path);
        s->external_origin = arena_str(s->arena, str_sub(url, 0, (size_t)at + 3 + authority.n));
        vec_push(&s->hosts, arena_str(s->arena, guard_host_name(authority)));
    }
    struct str prefix = str_trim(o->route_prefix);
    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    s->prefix = arena_fmt(s->arena, "%s" STR_FMT, prefix.n && prefix.p[0] != '/' ? "/" : "", STR_ARG(prefix));
    s->cors_text = arena_str(s->arena, o->cors_origin);
    if (o->web) {
        const struct web_config *w = o->web;
        struct config_pair *v = ARENA_ARRAY(s->arena, struct config_pair, w->http.headers.n + 1);
        for (size_t i = 0; i < w->http.headers.n; i++)
            v[i] = (struct config_pair){.key = arena_str(s->arena, w->http.headers.v[i].key),
                                        .value = arena_str(s->arena, w->http.headers.v[i].value)};
        s->extra_headers = (struct config_map){.v = v, .n = w->http.headers.n};
        s->has_credential |= w->basic_auth_users.n > 0;
        if (w->tls.present) {
            struct {
                struct str text, file;
                char **to;
            } parts[] = {{w->tls.cert, w->tls.cert_file, &s->tls_cert},
                         {w->tls.key, w->tls.key_file, &s->tls_key},
                         {w->tls.client_ca, w->tls.client_ca_file, &s->tls_ca}};
            for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
                if (parts[i].text.n) {
                    *parts[i].to = str_dupz(parts[i].text);
                } else if (parts[i].file.n) {
                    char *path = str_dupz(parts[i].file);
                    struct buf b = BUF_INIT(1 << 20);
                    if (fs_read_file(path, &b) == 0)
                        *parts[i].to = buf_take(&b, NULL);
                    else
                        *parts[i].to = xasprintf("!%s", path); /* start() says so */
                    buf_done(&b);
                    free(path);
                }
            }
            static const char *const kinds[] = {"NoClientCert", "RequestClientCert", "RequireAnyClientCert",
                                                "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"};
            for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
                if (str_eqz(w->tls.client_auth_type, kinds[i]))
                    s->tls_client_auth = (enum tls_client_auth)i;
            static const char *const versions[] = {"1.0", "1.1", "1.2", "1.3"};
            int lo = w->tls.min_version ? w->tls.min_version : 12, hi = w->tls.max_version ? w->tls.max_version : 13;
            int len = snprintf(s->tls_priorities, sizeof(s->tls_priorities), "NORMAL:-VERS-ALL");
            for (int v13 = hi; v13 >= lo && v13 >= 10 && v13 <= 13; v13--)
                len += snprintf(s->tls_priorities + len, sizeof(s->tls_priorities) - (size_t)len, ":+VERS-TLS%s",
                                versions[v13 - 10]);
        }
    }
    if (o->metrics) {
        metrics_add_table(o->metrics, server_metrics, M_COUNT);
        metrics_add_collector(o->metrics, collect, s);
    }
    return s;
}

void http_server_routes(struct http_server *s, const struct http_route *rows, size_t n, void *ctx)
{
    ASSERT(!s->started);
    routes_add(&s->routes, rows, n, ctx);
}

void http_server_fallback(struct http_server *s, http_handler fn, void *ctx)
{
    ASSERT(!s->started);
    s->fallback_row = (struct http_route){.methods = HTTP_GET, .path = "/{path*}", .handle = fn, .doc = "the page"};
    s->fallback_entry = (struct route_entry){.row = &s->fallback_row, .ctx = ctx};
}

void http_server_each(const struct http_server *s, void (*fn)(void *ctx, const struct http_route *row), void *ctx)
{
    for (size_t i = 0; i < s->routes.v.n; i++)
        fn(ctx, s->routes.v.v[i]->row);
}
