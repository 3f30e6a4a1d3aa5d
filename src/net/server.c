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

#include <arpa/inet.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_THREADS 2
_Static_assert(READ_END == MHD_CONTENT_READER_END_OF_STREAM && READ_ABORT == MHD_CONTENT_READER_END_WITH_ERROR,
               "sse_read() returns them");

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
    r->method = check_method(r->head.method);
    take_peer(r);
    struct guard_refusal g = guard_head_check(&r->head);
    req_take_head(r);
    if (g.status) {
        r->close = true;
        server_refuse(r, g.status, g.reason);
        return;
    }
    if (!check_row(r))
        return;
    if (!(r->row->flags & HTTP_ANY_HOST) && !guard_host_ok(&s->guard, r->head.host)) {
        server_refuse(r, 421, "this Host name is not served here (set --web.external-url to the name the proxy uses)");
        return;
    }
    if (s->tls_client_auth) {
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(r->handle, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        if (i && i->tls_session && !tls_client_ok(i->tls_session, s->tls_client_auth)) {
            r->close = true;
            server_refuse(r, 403, "a client certificate is needed");
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
    metric_add(&server_metrics[M_REQUESTS], 1);
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
        server_refuse(r, 503, "too many slow requests are waiting, try again");
        server_resume(r);
    }
    return MHD_YES;
}

void server_suspend_handle(void *handle)
{
    MHD_suspend_connection(handle);
}

void server_resume_handle(void *handle)
{
    MHD_resume_connection(handle);
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
        server_refuse(r, 400,
                      e == -E2BIG ? "too many arguments (limit http_args)" : "the arguments hold a malformed escape");
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
            metric_add(&server_metrics[M_REFUSED], 1);
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
            server_cut(oldest ? oldest : c);
        }
        metric_set(&server_metrics[M_CONNECTIONS], (int64_t)s->n_conns);
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
    metric_set(&server_metrics[M_CONNECTIONS], (int64_t)s->n_conns);
    pthread_mutex_unlock(&s->lock);
    free(c);
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
    r = thread_start(&s->watch, "hune-http-watch", server_watch, s);
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
        bool any = sse_end_all(s, round > 20); /* then also those that do not read */
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
