// SPDX-License-Identifier: Apache-2.0
/* The one file that knows libmicrohttpd (0.9.75): daemons, the walk of a request through its states, answers, event
 * streams and the watch thread. Facts about the library that shaped it:
 * - it accepts four request-smuggling forms even when strict, so the first callback refuses them (guard.c) and closes;
 * - a response may be queued in the first or the last call of the access handler, never between;
 * - a suspended connection is not polled: the watch thread looks whether its client is still there;
 * - its idle time-out starts again with every byte, so the watch thread bounds the time of heads and bodies;
 * - stopping with suspended connections aborts the process: everything is resumed first. */
#include "net/server_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "codec/regex.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_THREADS 2
#define HEARTBEAT_NS (15ull * 1000000000)
#define TICK_MS 1000
#define TICK_BUSY_MS 100 /* while a worker runs: an abandoned query stops about this soon */

enum { M_REQUESTS, M_REFUSED, M_CONNECTIONS, M_STREAMS, M_CUT, M_WORKERS, M_QUEUE, M_COUNT };
static struct metric metrics_table[M_COUNT] = {
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

struct http_sse {
    pthread_mutex_t lock;
    struct http_server *server;
    struct http_sse *next, **link; /* the server's list, under its lock; link NULL once removed */
    struct MHD_Connection *handle; /* NULL when the library let go */
    unsigned refs;                 /* the owner's, the library's */
    bool suspended, closing, gone;
    struct buf queue;
    size_t sent;
    uint64_t written_ns;
};

/* ---- event streams ---- */

static void sse_unref(struct http_sse *e)
{
    pthread_mutex_lock(&e->lock);
    bool last = --e->refs == 0;
    pthread_mutex_unlock(&e->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&e->lock);
    buf_done(&e->queue);
    free(e);
}

/* With e->lock held. */
static void sse_wake(struct http_sse *e)
{
    if (e->suspended && e->handle) {
        e->suspended = false;
        MHD_resume_connection(e->handle);
    }
}

struct http_sse *http_sse_open(struct http_req *r)
{
    struct http_server *s = r->server;
    ASSERT(r->kind == ANSWER_NONE);
    struct http_sse *e = NEW(struct http_sse);
    pthread_mutex_init(&e->lock, NULL);
    e->server = s;
    e->handle = r->handle;
    e->refs = 2;
    buf_init(&e->queue, (size_t)limit(sse_queue_bytes));
    buf_z(&e->queue, "retry: 3000\n\n");
    e->written_ns = clock_mono_ns(&clock_real);
    pthread_mutex_lock(&s->lock);
    bool full = s->n_streams >= (size_t)limit(sse_clients) || s->stopping;
    if (!full) {
        s->n_streams++;
        e->next = s->streams;
        e->link = &s->streams;
        if (e->next)
            e->next->link = &e->next;
        s->streams = e;
        metric_set(&metrics_table[M_STREAMS], (int64_t)s->n_streams);
    }
    pthread_mutex_unlock(&s->lock);
    if (full) {
        e->refs = 1;
        sse_unref(e);
        http_set_header(r, "Retry-After", STR("10"));
        http_fail(r, 503, "%lld live streams are open already (limit sse_clients)", (long long)limit(sse_clients));
        return NULL;
    }
    r->kind = ANSWER_SSE;
    r->status = 200;
    r->type = "text/event-stream";
    r->sse = e;
    return e;
}

static void put_lines(struct buf *b, const char *field, struct str text)
{
    struct str rest = text, line;
    bool more = true;
    while (more) {
        more = str_cut(rest, '\n', &line, &rest);
        buf_z(b, field);
        buf_str(b, line);
        buf_putc(b, '\n');
    }
}

int http_sse_send(struct http_sse *e, struct str event, struct str id, struct str data)
{
    pthread_mutex_lock(&e->lock);
    if (!e->gone) {
        if (e->sent && e->sent == e->queue.n) {
            buf_reset(&e->queue);
            e->sent = 0;
        }
        if (event.n)
            put_lines(&e->queue, "event: ", event);
        if (id.n)
            put_lines(&e->queue, "id: ", id);
        put_lines(&e->queue, "data: ", data);
        buf_putc(&e->queue, '\n');
        e->gone = buf_error(&e->queue) != 0; /* too slow: half an event must not be shown */
        e->written_ns = clock_mono_ns(&clock_real);
        sse_wake(e);
    }
    bool gone = e->gone;
    pthread_mutex_unlock(&e->lock);
    return gone ? -EPIPE : 0;
}

bool http_sse_gone(const struct http_sse *e)
{
    struct http_sse *m = (struct http_sse *)e;
    pthread_mutex_lock(&m->lock);
    bool gone = m->gone;
    pthread_mutex_unlock(&m->lock);
    return gone;
}

void http_sse_close(struct http_sse *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->closing = true;
    sse_wake(e);
    pthread_mutex_unlock(&e->lock);
    sse_unref(e);
}

static ssize_t sse_read(void *arg, uint64_t pos, char *out, size_t max)
{
    struct http_sse *e = arg;
    ssize_t n = 0;
    (void)pos;
    pthread_mutex_lock(&e->lock);
    if (e->gone) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (e->sent < e->queue.n) {
        n = (ssize_t)MIN(max, e->queue.n - e->sent);
        memcpy(out, e->queue.p + e->sent, (size_t)n);
        e->sent += (size_t)n;
        if (e->sent == e->queue.n) {
            buf_reset(&e->queue);
            e->sent = 0;
        }
    } else if (e->closing || e->server->stopping) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        e->suspended = true;
        MHD_suspend_connection(e->handle);
    }
    pthread_mutex_unlock(&e->lock);
    return n;
}

/* The library lets go of the stream: the client left, or it ended. */
static void sse_released(void *arg)
{
    struct http_sse *e = arg;
    struct http_server *s = e->server;
    pthread_mutex_lock(&s->lock);
    if (e->link) {
        *e->link = e->next;
        if (e->next)
            e->next->link = e->link;
        e->link = NULL;
        s->n_streams--;
        metric_set(&metrics_table[M_STREAMS], (int64_t)s->n_streams);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&e->lock);
    e->gone = true;
    e->handle = NULL;
    e->suspended = false;
    pthread_mutex_unlock(&e->lock);
    sse_unref(e);
}

/* ---- streamed answers ---- */

static ssize_t stream_read(void *arg, uint64_t pos, char *out, size_t max)
{
    struct stream *t = arg;
    (void)pos;
    struct buf *from = t->deflater ? &t->packed : &t->piece;
    while (t->sent == from->n) {
        if (t->failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (t->last)
            return MHD_CONTENT_READER_END_OF_STREAM;
        buf_reset(&t->piece);
        buf_reset(&t->packed);
        t->sent = 0;
        int r = t->produce(t->ctx, &t->piece);
        t->last = r > 0;
        if (r < 0 || buf_error(&t->piece) ||
            (t->deflater && deflater_put(t->deflater, buf_view(&t->piece), t->last, &t->packed) < 0))
            t->failed = true;
        if (t->failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = MIN(max, from->n - t->sent);
    memcpy(out, from->p + t->sent, n);
    t->sent += n;
    return (ssize_t)n;
}

static void stream_free(void *arg)
{
    struct stream *t = arg;
    if (t->done)
        t->done(t->ctx);
    buf_done(&t->piece);
    buf_done(&t->packed);
    deflater_free(t->deflater);
    free(t);
}

/* ---- requests ---- */

static void conn_phase(struct http_req *r, enum conn_phase phase)
{
    struct http_server *s = r->server;
    if (!r->conn)
        return;
    pthread_mutex_lock(&s->lock);
    r->conn->phase = phase;
    r->conn->since_ns = clock_mono_ns(&clock_real);
    r->conn->req = phase == CONN_IDLE ? NULL : r;
    pthread_mutex_unlock(&s->lock);
}

/* First word of a request: its line was read. The target is taken here, before the library touches its escapes. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *handle)
{
    struct http_server *s = cls;
    struct http_req *r = NEW(struct http_req);
    r->server = s;
    r->handle = handle;
    r->arena = arena_new(0);
    r->target = arena_str(r->arena, str_of(uri));
    buf_init(&r->out, (size_t)limit(http_answer_bytes));
    buf_init(&r->body, (size_t)limit(http_body_bytes));
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->conn = i ? i->socket_context : NULL;
    if (r->conn) {
        pthread_mutex_lock(&s->lock);
        if (r->conn->phase != CONN_FRESH) { /* the first head counts from the connection's birth */
            r->conn->since_ns = clock_mono_ns(&clock_real);
            r->conn->phase = CONN_HEAD;
        }
        r->conn->req = r;
        pthread_mutex_unlock(&s->lock);
    }
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *handle, void **slot, enum MHD_RequestTerminationCode why)
{
    (void)cls, (void)handle, (void)why;
    struct http_req *r = *slot;
    if (!r)
        return;
    *slot = NULL;
    conn_phase(r, CONN_IDLE);
    if (r->stream) /* never handed to the library */
        stream_free(r->stream);
    if (r->sse)
        sse_released(r->sse);
    buf_done(&r->body);
    buf_done(&r->out);
    arena_free(r->arena);
    free(r);
}

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_n, const char *value,
                                   size_t value_n)
{
    (void)kind;
    struct http_req *r = cls;
    struct http_header *h = (struct http_header *)r->head.headers + r->head.n_headers++;
    *h = (struct http_header){.name = str_make(key, key_n), .value = str_make(value, value ? value_n : 0)};
    return MHD_YES;
}

static void take_peer(struct http_req *r)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(r->handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = i ? i->client_addr : NULL;
    char text[INET6_ADDRSTRLEN] = "";
    if (sa && sa->sa_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)sa;
        inet_ntop(AF_INET, &a->sin_addr, text, sizeof(text));
        (void)snprintf(r->peer, sizeof(r->peer), "%s:%u", text, ntohs(a->sin_port));
    } else if (sa && sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const void *)sa;
        if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr))
            inet_ntop(AF_INET, &a->sin6_addr.s6_addr[12], text, sizeof(text));
        else
            inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
        (void)snprintf(r->peer, sizeof(r->peer), strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, ntohs(a->sin6_port));
    } else {
        (void)snprintf(r->peer, sizeof(r->peer), "unix:0");
    }
}

static unsigned method_of(struct str m)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_GET},      {"POST", HTTP_POST},
                 {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE}, {"PATCH", HTTP_PATCH}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_eqz(m, known[i].name))
            return known[i].bit;
    return 0;
}

static void refuse(struct http_req *r, int status, const char *text)
{
    metric_add(&metrics_table[M_REFUSED], 1);
    req_refuse(r, status, text);
}

static void set_allow(struct http_req *r, unsigned methods)
{
    struct buf b = BUF_INIT(128);
    static const struct {
        unsigned bit;
        const char *name;
    } all[] = {{HTTP_GET, "GET, HEAD"},
               {HTTP_POST, "POST"},
               {HTTP_PUT, "PUT"},
               {HTTP_PATCH, "PATCH"},
               {HTTP_DELETE, "DELETE"}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (methods & all[i].bit) {
            buf_z(&b, b.n ? ", " : "");
            buf_z(&b, all[i].name);
        }
    http_set_header(r, "Allow", buf_view(&b));
    buf_done(&b);
}

static bool json_type(struct str type)
{
    struct str t;
    (void)str_cut(type, ';', &t, NULL);
    return str_ieq(str_trim(t), STR("application/json"));
}

/* The path to its row; false when answered. */
static bool find_row(struct http_req *r)
{
    struct http_server *s = r->server;
    if (routes_find(&s->routes, r->raw_path, r->method, r->arena, &r->match) < 0 ||
        !url_decode(r->raw_path, false, r->arena, &r->path) || memchr(r->path.p, 0, r->path.n)) {
        r->path = r->raw_path;
        refuse(r, 400, "the path holds a malformed escape");
        return false;
    }
    if (r->match.entry) {
        r->row = r->match.entry->row;
        return true;
    }
    bool preflight = s->cors && str_eqz(r->head.method, "OPTIONS") && r->match.allowed;
    if (preflight) {
        set_allow(r, r->match.allowed);
        http_reply(r, 204, NULL);
        return false;
    }
    if (r->match.allowed) {
        set_allow(r, r->match.allowed);
        refuse(r, 405, "method not allowed");
        return false;
    }
    if (s->fallback_row.handle && r->method == HTTP_GET && !str_starts(r->path, STR("/api/")) &&
        !str_starts(r->path, STR("/-/"))) {
        r->row = &s->fallback_row;
        r->match.entry = &s->fallback_entry;
        return true;
    }
    refuse(r, r->method ? 404 : 405, r->method ? "not found" : "method not allowed");
    return false;
}

/* May this origin do this? false when answered. */
static bool check_origin(struct http_req *r)
{
    struct http_server *s = r->server;
    bool change = r->method != HTTP_GET;
    struct str origin = r->head.origin, site = http_header(r, "sec-fetch-site");
    bool same = str_empty(origin) || guard_origin_ok(origin, r->head.host, s->external_origin);
    bool cors = !same && s->cors && regex_match(s->cors, origin);
    if (cors) {
        http_set_header(r, "Access-Control-Allow-Origin", origin);
        http_set_header(r, "Access-Control-Allow-Headers", STR("Accept, Authorization, Content-Type, Origin"));
        http_set_header(r, "Access-Control-Allow-Methods", STR("GET, POST, OPTIONS"));
        http_set_header(r, "Access-Control-Expose-Headers", STR("Date"));
        http_set_header(r, "Vary", STR("Origin"));
    }
    if (!change)
        return true;
    if (cors && (r->row->flags & HTTP_READS))
        return true;
    bool foreign_site =
        str_empty(origin) && !str_empty(site) && !str_eqz(site, "same-origin") && !str_eqz(site, "none");
    if (!same || foreign_site) {
        refuse(r, 403, "a request from another origin may not do this");
        return false;
    }
    return true;
}

/* The caller's role against the row's; false when answered. */
static bool check_identity(struct http_req *r)
{
    const struct http_route *row = r->row;
    int id = r->identify_result;
    if (id == -EBUSY) {
        http_set_header(r, "Retry-After", STR("60"));
        refuse(r, 429, "too many wrong credentials from this address, wait a minute");
        return false;
    }
    if (id < 0 && row->role > HTTP_ANYONE) {
        if (r->who.challenge)
            http_set_header(r, "WWW-Authenticate", str_of(r->who.challenge));
        refuse(r, 401, "wrong or expired credential");
        return false;
    }
    if (id < 0) {
        r->who = (struct http_identity){.role = HTTP_ANYONE, .anonymous = true, .name = "anonymous"};
    }
    if (r->who.role < row->role) {
        struct buf b = BUF_INIT(256);
        if (r->who.anonymous) {
            if (r->who.challenge)
                http_set_header(r, "WWW-Authenticate", str_of(r->who.challenge));
            buf_fmt(&b, "a credential with role %s is needed", http_role_names[row->role]);
        } else {
            buf_fmt(&b, "role %s is needed, %s has %s", http_role_names[row->role], r->who.name,
                    http_role_names[r->who.role]);
        }
        refuse(r, r->who.anonymous ? 401 : 403, buf_cstr(&b));
        buf_done(&b);
        return false;
    }
    if ((row->flags & HTTP_NO_ANON) && r->who.anonymous) {
        refuse(r, 403,
               "never for an anonymous caller: create a user with `hune user add NAME --role operator` and sign in, "
               "or send a token made by `hune token add NAME --role operator`");
        return false;
    }
    if (r->who.cookie && r->method != HTTP_GET && str_empty(r->head.origin)) {
        refuse(r, 403, "a change with the session cookie needs the browser's Origin header");
        return false;
    }
    return true;
}

static bool check_body(struct http_req *r)
{
    const struct http_route *row = r->row;
    bool change = r->method == HTTP_POST || r->method == HTTP_PUT || r->method == HTTP_PATCH;
    if (change && !(row->flags & (HTTP_READS | HTTP_ANY_TYPE)) && !json_type(r->head.content_type)) {
        refuse(r, 415, "send Content-Type: application/json");
        return false;
    }
    if (r->head.has_length && r->head.length > (uint64_t)limit(http_body_bytes)) {
        refuse(r, 413, "the body is too large (limit http_body_bytes)");
        return false;
    }
    return true;
}

static void identify_job(struct http_req *r, void *ctx)
{
    (void)ctx;
    r->identify_result = r->server->identify(r->server->identify_ctx, r, true, &r->who);
}

/* Everything before the body. Leaves the state at REQ_BODY, or with an answer, or REQ_IDENTIFY (suspended). */
static void begin(struct http_req *r, const char *method, const char *version)
{
    struct http_server *s = r->server;
    int n = MHD_get_connection_values_n(r->handle, MHD_HEADER_KIND, NULL, NULL);
    r->head.headers = ARENA_ARRAY(r->arena, struct http_header, (size_t)MAX(n, 1));
    MHD_get_connection_values_n(r->handle, MHD_HEADER_KIND, take_header, r);
    r->head.method = arena_str(r->arena, str_of(method));
    r->head.version = str_of(version);
    r->head.target = r->target;
    r->raw_path = r->path = STR("/");
    r->is_head = strcmp(method, "HEAD") == 0;
    r->method = method_of(r->head.method);
    take_peer(r);
    struct guard_refusal g = guard_head_check(&r->head);
    req_take_head(r);
    if (g.status) {
        r->close = true;
        refuse(r, g.status, g.reason);
        return;
    }
    if (!find_row(r))
        return;
    if (!(r->row->flags & HTTP_ANY_HOST) && !guard_host_ok(&s->guard, r->head.host)) {
        refuse(r, 421, "this Host name is not served here (set --web.external-url to the name the proxy uses)");
        return;
    }
    if (s->tls_client_auth) {
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(r->handle, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        if (i && i->tls_session && !tls_client_ok(i->tls_session, s->tls_client_auth)) {
            r->close = true;
            refuse(r, 403, "a client certificate is needed");
            return;
        }
    }
    if (!check_origin(r))
        return;
    r->who = (struct http_identity){.role = HTTP_ADMIN, .name = "test"};
    if (s->identify) {
        r->who = (struct http_identity){.role = HTTP_ANYONE, .anonymous = true, .name = "anonymous"};
        r->identify_result = s->identify(s->identify_ctx, r, false, &r->who);
        if (r->identify_result == -EAGAIN) {
            r->state = REQ_IDENTIFY;
            r->job = identify_job;
            return;
        }
    }
    if (check_identity(r) && check_body(r))
        r->state = REQ_BODY;
}

/* ---- sending ---- */

static void add_headers(struct http_req *r, struct MHD_Response *m)
{
    struct http_server *s = r->server;
    static const struct {
        const char *name, *value;
    } always[] = {
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
         "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
         "frame-ancestors 'none'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        bool own = false;
        for (size_t k = 0; k < s->extra_headers.n; k++)
            own |= str_ieq(s->extra_headers.v[k].key, str_of(always[i].name));
        if (!own)
            MHD_add_response_header(m, always[i].name, always[i].value);
    }
    for (size_t k = 0; k < s->extra_headers.n; k++)
        MHD_add_response_header(m, s->extra_headers.v[k].key.p, s->extra_headers.v[k].value.p);
    bool cache = r->kind == ANSWER_ASSET;
    for (size_t i = 0; i < r->n_headers; i++) {
        cache |= strcmp(r->headers[i].name, "Cache-Control") == 0;
        MHD_add_response_header(m, r->headers[i].name, r->headers[i].value);
    }
    if (!cache)
        MHD_add_response_header(m, "Cache-Control", "no-store");
    if (r->type)
        MHD_add_response_header(m, "Content-Type", r->type);
    if (r->close)
        MHD_add_response_header(m, "Connection", "close");
}

static bool compressible(const char *type)
{
    return type && (strncmp(type, "text/", 5) == 0 || strstr(type, "json") || strstr(type, "javascript") ||
                    strstr(type, "svg") || strstr(type, "openmetrics"));
}

static struct MHD_Response *make_body(struct http_req *r)
{
    if (r->out.n > 1400 && compressible(r->type) && req_accepts(r, "gzip") &&
        r->n_headers + 2 <= ARRAY_LEN(r->headers)) {
        /* 1400: what fits one packet gains nothing */
        struct buf packed = BUF_INIT(r->out.max);
        if (gzip_pack(buf_view(&r->out), &packed) == 0) {
            buf_done(&r->out);
            r->out = packed;
            http_set_header(r, "Content-Encoding", STR("gzip"));
            http_set_header(r, "Vary", STR("Accept-Encoding"));
        } else {
            buf_done(&packed);
        }
    }
    /* The bytes stay ours until on_completed(). */
    return MHD_create_response_from_buffer(r->out.n, (void *)buf_cstr(&r->out), MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *make_asset(struct http_req *r)
{
    const struct http_asset *a = r->asset;
    struct str bytes = a->raw;
    if (r->status == 304)
        bytes = STR("");
    else if (a->brotli.n && req_accepts(r, "br"))
        bytes = a->brotli, http_set_header(r, "Content-Encoding", STR("br"));
    else if (a->gzip.n && req_accepts(r, "gzip"))
        bytes = a->gzip, http_set_header(r, "Content-Encoding", STR("gzip"));
    if (a->brotli.n || a->gzip.n)
        http_set_header(r, "Vary", STR("Accept-Encoding"));
    return MHD_create_response_from_buffer(bytes.n, (void *)(bytes.n ? bytes.p : ""), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result send_answer(struct http_req *r)
{
    struct MHD_Response *m = NULL;
    switch (r->kind) {
    case ANSWER_BODY:
        m = make_body(r);
        break;
    case ANSWER_ASSET:
        m = make_asset(r);
        break;
    case ANSWER_STREAM:
        m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, (size_t)limit(http_stream_bytes), stream_read,
                                              r->stream, stream_free);
        if (m)
            r->stream = NULL;
        break;
    case ANSWER_SSE:
        m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, sse_read, r->sse, sse_released);
        if (m)
            r->sse = NULL;
        break;
    case ANSWER_NONE:
        BUG("no answer from the handler of " STR_FMT, STR_ARG(r->path));
    }
    if (!m)
        return MHD_NO;
    add_headers(r, m);
    enum MHD_Result q = MHD_queue_response(r->handle, (unsigned)r->status, m);
    MHD_destroy_response(m);
    r->state = REQ_ANSWERED;
    metric_add(&metrics_table[M_REQUESTS], 1);
    if (r->match.entry)
        route_count(r->match.entry, (unsigned)r->status);
    return q;
}

static enum MHD_Result hand_over(struct http_req *r)
{
    MHD_suspend_connection(r->handle);
    if (!workers_add(r->server, r)) {
        if (r->state == REQ_IDENTIFY)
            r->identify_result = -EACCES;
        http_set_header(r, "Retry-After", STR("1"));
        refuse(r, 503, "too many slow requests are waiting, try again");
        server_resume(r);
    }
    return MHD_YES;
}

void server_resume(struct http_req *r)
{
    if (r->state == REQ_WAITING || r->kind != ANSWER_NONE)
        r->state = REQ_READY;
    MHD_resume_connection(r->handle);
}

static enum MHD_Result handle(struct http_req *r)
{
    conn_phase(r, CONN_BUSY);
    int e = req_parse_args(r);
    if (e < 0) {
        refuse(r, 400, e == -E2BIG ? "too many arguments (limit http_args)" : "the arguments hold a malformed escape");
        return send_answer(r);
    }
    r->state = REQ_HANDLE;
    r->row->handle(r, r->match.entry->ctx);
    return r->state == REQ_WAITING ? hand_over(r) : send_answer(r);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                 const char *version, const char *upload, size_t *upload_n, void **slot)
{
    (void)cls, (void)conn, (void)url;
    struct http_req *r = *slot;
    switch (r->state) {
    case REQ_NEW:
        begin(r, method, version);
        if (r->state == REQ_IDENTIFY) {
            conn_phase(r, CONN_BUSY);
            return hand_over(r);
        }
        break;
    case REQ_IDENTIFY: /* back from the worker */
        if (check_identity(r) && check_body(r))
            r->state = REQ_BODY;
        break;
    case REQ_BODY:
        if (*upload_n == 0)
            return handle(r);
        buf_put(&r->body, upload, *upload_n);
        *upload_n = 0;
        if (buf_error(&r->body)) { /* chunked and endless: no answer is possible in mid-body */
            metric_add(&metrics_table[M_REFUSED], 1);
            return MHD_NO;
        }
        return MHD_YES;
    case REQ_READY:
        return send_answer(r);
    case REQ_HANDLE:
    case REQ_WAITING:
    case REQ_ANSWERED:
        BUG("request in state %d called again", (int)r->state);
    }
    if (r->kind != ANSWER_NONE) {
        if (r->head.has_length || r->head.has_te)
            r->close = true; /* the body was not read */
        return send_answer(r);
    }
    conn_phase(r, CONN_BODY);
    return MHD_YES;
}

/* ---- connections ---- */

static void cut(struct conn *c)
{
    if (c->cut)
        return;
    c->cut = true;
    metric_add(&metrics_table[M_CUT], 1);
    (void)shutdown(c->fd, SHUT_RDWR); /* the library sees the end and closes */
}

static void on_connection(void *cls, struct MHD_Connection *handle, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct conn *c = NEW(struct conn);
        c->server = s;
        c->fd = i->connect_fd;
        c->since_ns = clock_mono_ns(&clock_real);
        *slot = c;
        pthread_mutex_lock(&s->lock);
        c->next = s->conns;
        c->link = &s->conns;
        if (c->next)
            c->next->link = &c->next;
        s->conns = c;
        if (++s->n_conns == 1)
            pthread_cond_signal(&s->wake);
        if (s->n_conns > (size_t)limit(http_connections)) {
            /* Room for whoever wants something: the one that has been doing nothing for longest goes. */
            struct conn *oldest = NULL;
            for (struct conn *k = s->conns; k; k = k->next)
                if (!k->cut && k != c && (k->phase == CONN_FRESH || k->phase == CONN_IDLE) &&
                    (!oldest || k->since_ns < oldest->since_ns))
                    oldest = k;
            cut(oldest ? oldest : c);
        }
        metric_set(&metrics_table[M_CONNECTIONS], (int64_t)s->n_conns);
        pthread_mutex_unlock(&s->lock);
        return;
    }
    struct conn *c = *slot;
    *slot = NULL;
    if (!c)
        return;
    pthread_mutex_lock(&s->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    s->n_conns--;
    metric_set(&metrics_table[M_CONNECTIONS], (int64_t)s->n_conns);
    pthread_mutex_unlock(&s->lock);
    free(c);
}

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* With s->lock held. */
static bool watch_connections(struct http_server *s, uint64_t now)
{
    bool busy = false;
    for (struct conn *c = s->conns; c; c = c->next) {
        uint64_t age_s = (now - c->since_ns) / 1000000000;
        switch (c->phase) {
        case CONN_FRESH:
        case CONN_HEAD:
            if (age_s >= (uint64_t)limit(http_header_s))
                cut(c);
            break;
        case CONN_BODY:
            if (age_s >= (uint64_t)limit(http_body_s))
                cut(c);
            break;
        case CONN_BUSY:
            busy = true;
            if (c->req && hung_up(c->fd))
                c->req->cancelled = true;
            break;
        case CONN_IDLE:
            break;
        }
    }
    return busy;
}

/* With s->lock held: heartbeats, and streams whose client left. */
static void watch_streams(struct http_server *s, uint64_t now)
{
    for (struct http_sse *e = s->streams; e; e = e->next) {
        pthread_mutex_lock(&e->lock);
        if (!e->gone && e->suspended && now - e->written_ns > HEARTBEAT_NS) {
            buf_z(&e->queue, ":\n\n");
            e->written_ns = now;
            sse_wake(e);
        }
        if (e->suspended && e->handle && !e->gone) {
            const union MHD_ConnectionInfo *i = MHD_get_connection_info(e->handle, MHD_CONNECTION_INFO_CONNECTION_FD);
            if (i && hung_up(i->connect_fd)) {
                e->gone = true;
                sse_wake(e);
            }
        }
        pthread_mutex_unlock(&e->lock);
    }
}

static void *watch(void *arg)
{
    struct http_server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        if (!s->conns) {
            pthread_cond_wait(&s->wake, &s->lock);
            continue;
        }
        uint64_t now = clock_mono_ns(&clock_real);
        bool busy = watch_connections(s, now);
        watch_streams(s, now);
        busy = busy && s->n_running; /* event streams alone need no haste */
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + (busy ? TICK_BUSY_MS : TICK_MS) * 1000000ull;
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- life ---- */

static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls, (void)conn;
    return strlen(s);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    struct buf b = BUF_INIT(1024);
    buf_vfmt(&b, fmt, ap);
    log_debug("http library", KV_STR("says", str_trim(buf_view(&b))));
    buf_done(&b);
}

static void collect(void *ctx, struct metrics_out *out)
{
    struct http_server *s = ctx;
    pthread_mutex_lock(&s->work_lock);
    metric_set(&metrics_table[M_WORKERS], (int64_t)s->n_running);
    metric_set(&metrics_table[M_QUEUE], (int64_t)s->n_jobs);
    pthread_mutex_unlock(&s->work_lock);
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
        metrics_add_table(o->metrics, metrics_table, M_COUNT);
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

static int start_daemon(struct http_server *s, struct listener *l, struct err *e)
{
    struct MHD_OptionItem o[24];
    size_t n = 0;
    unsigned threads = s->listeners.n > 1 ? 1 : HTTP_THREADS;
#define OPT(opt, v, p) o[n++] = (struct MHD_OptionItem){.option = (opt), .value = (v), .ptr_value = (p)}
    OPT(MHD_OPTION_LISTEN_SOCKET, l->fd, NULL);
    if (threads > 1)
        OPT(MHD_OPTION_THREAD_POOL_SIZE, threads, NULL);
    OPT(MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK_BYTES, NULL);
    OPT(MHD_OPTION_CONNECTION_MEMORY_LIMIT, limit(http_header_bytes), NULL);
    OPT(MHD_OPTION_CONNECTION_LIMIT, (limit(http_connections) + 64) * threads, NULL);
    OPT(MHD_OPTION_CONNECTION_TIMEOUT, limit(http_idle_s), NULL);
    if (limit(http_per_ip) < limit(http_connections))
        OPT(MHD_OPTION_PER_IP_CONNECTION_LIMIT, limit(http_per_ip), NULL);
    OPT(MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, s);
    OPT(MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s);
    OPT(MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, s);
    OPT(MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, s);
    OPT(MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL);
    OPT(MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL);
    if (s->tls_cert) {
        OPT(MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls_cert);
        OPT(MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls_key);
        if (s->tls_ca)
            OPT(MHD_OPTION_HTTPS_MEM_TRUST, 0, s->tls_ca);
        OPT(MHD_OPTION_HTTPS_PRIORITIES, 0, s->tls_priorities);
    }
    OPT(MHD_OPTION_END, 0, NULL);
#undef OPT
    ASSERT(n <= ARRAY_LEN(o));
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (s->tls_cert ? MHD_USE_TLS : 0);
    l->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                                 MHD_OPTION_ARRAY, o, MHD_OPTION_END);
    if (l->daemon)
        return 0;
    err_set(e, "cannot serve on " STR_FMT "%s", STR_ARG(l->text),
            s->tls_cert ? ": check the certificate, its key and the TLS versions" : "");
    return -EIO;
}

int http_server_start(struct http_server *s, struct err *e)
{
    int r = 0;
    ASSERT(!s->started);
    if (s->cors_text.n) {
        r = regex_new(s->cors_text, REGEX_ANCHORED, &s->cors, e);
        if (r < 0)
            return r;
    }
    char *const files[] = {s->tls_cert, s->tls_key, s->tls_ca};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (files[i] && files[i][0] == '!') {
            err_set(e, "cannot read %s of the web configuration", files[i] + 1);
            return -ENOENT;
        }
    for (size_t i = 0; i < s->listeners.n; i++) {
        struct listener *l = &s->listeners.v[i];
        if (!s->has_credential && !listen_loopback(l->text)) {
            err_set(e,
                    "refusing to listen on " STR_FMT " without a credential, since anyone who reaches it could change "
                    "things: first run `hune user add NAME --role administrator` (or `hune token add NAME --role "
                    "viewer`), or "
                    "listen on 127.0.0.1",
                    STR_ARG(l->text));
            return -EACCES;
        }
    }
    char name[256];
    for (size_t i = 0; i < s->listeners.n; i++) {
        struct listener *l = &s->listeners.v[i];
        r = listen_open(l, e);
        if (r < 0)
            return r;
        if (l->local)
            s->guard.any = s->listeners.n == 1;
        if (!l->loopback) {
            s->guard.any_address = true;
            if (gethostname(name, sizeof(name) - 1) == 0)
                vec_push(&s->hosts, arena_str(s->arena, str_of(name)));
        }
        if (!l->local)
            vec_push(&s->hosts, guard_host_name(l->text));
    }
    s->guard.names = s->hosts.v;
    s->guard.n = s->hosts.n;
    s->started = true;
    for (size_t i = 0; i < s->listeners.n; i++) {
        r = start_daemon(s, &s->listeners.v[i], e);
        if (r < 0)
            return r;
    }
    r = thread_start(&s->watch, "hune-http-watch", watch, s);
    if (r < 0) {
        err_set(e, "cannot start a thread: %s", err_name(r));
        return r;
    }
    s->watching = true;
    return 0;
}

uint16_t http_server_port(const struct http_server *s, size_t i)
{
    return i < s->listeners.n ? s->listeners.v[i].port : 0;
}

void http_server_stop(struct http_server *s)
{
    if (s->stopping)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->wake);
    for (struct conn *c = s->conns; c; c = c->next)
        if (c->req)
            c->req->cancelled = true;
    pthread_mutex_unlock(&s->lock);
    if (s->watching)
        pthread_join(s->watch, NULL);
    s->watching = false;
    for (size_t i = 0; i < s->listeners.n; i++)
        if (s->listeners.v[i].daemon)
            (void)MHD_quiesce_daemon(s->listeners.v[i].daemon); /* gives the socket back */
    workers_stop(s);
    /* Streams end by themselves once awake; the library must have none suspended when it stops. */
    for (int round = 0; round < 200; round++) {
        pthread_mutex_lock(&s->lock);
        bool any = s->streams != NULL;
        for (struct http_sse *e = s->streams; e; e = e->next) {
            pthread_mutex_lock(&e->lock);
            e->closing = true;
            e->gone |= round > 20; /* a client that does not read */
            sse_wake(e);
            pthread_mutex_unlock(&e->lock);
        }
        pthread_mutex_unlock(&s->lock);
        if (!any)
            break;
        usleep(10000);
    }
    for (size_t i = 0; i < s->listeners.n; i++) {
        struct listener *l = &s->listeners.v[i];
        if (l->daemon)
            MHD_stop_daemon(l->daemon);
        l->daemon = NULL;
        if (l->fd >= 0)
            close(l->fd);
        l->fd = -1;
        if (l->local) {
            char *path = str_dupz(str_sub(l->text, 5, l->text.n));
            (void)unlink(path);
            free(path);
        }
    }
}

struct http_server *http_server_free(struct http_server *s)
{
    if (!s)
        return NULL;
    http_server_stop(s);
    ASSERT(!s->conns && !s->streams);
    workers_done(s);
    routes_done(&s->routes);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    regex_free(s->cors);
    vec_done(&s->hosts);
    vec_done(&s->listeners);
    if (s->tls_key)
        explicit_bzero(s->tls_key, strlen(s->tls_key));
    free(s->tls_cert);
    free(s->tls_key);
    free(s->tls_ca);
    arena_free(s->arena);
    free(s);
    return NULL;
}
