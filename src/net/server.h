// SPDX-License-Identifier: Apache-2.0
#pragma once
/* HTTP server (wraps libmicrohttpd; none of its types show). Routes are table rows that name their role. Before any
 * handler runs, one place has refused: the request-smuggling forms, foreign Host names, changes from a foreign Origin,
 * bodies that are not JSON where JSON is demanded, credentials below the row's role, and sizes and times over limits.h.
 * Handlers run on one of two HTTP threads and must be quick there; http_later() moves the rest to a bounded worker
 * pool. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"

struct http_server;
struct http_req;

/* What a route demands, and what a caller has. Ordered. */
enum http_role { HTTP_ANYONE, HTTP_VIEWER, HTTP_OPERATOR, HTTP_ADMIN };
extern const char *const http_role_names[]; /* "none", "viewer", "operator", "administrator" */

enum http_method { HTTP_GET = 1 /* HEAD too */, HTTP_POST = 2, HTTP_PUT = 4, HTTP_DELETE = 8, HTTP_PATCH = 16 };

enum http_route_flags {
    HTTP_READS = 1,    /* its POST only reads: form bodies are welcome (Prometheus' query API) */
    HTTP_ANY_TYPE = 2, /* a change that accepts any Content-Type (remote write, /-/reload); else JSON only */
    HTTP_ANY_HOST = 4, /* answers under any Host name (health probes) */
    HTTP_NO_ANON = 8,  /* never for an anonymous caller, whatever role loopback gives him (starting processes) */
};

typedef void (*http_handler)(struct http_req *r, void *ctx);

/* One row. Path segments: literal, {name} (one segment, decoded), or a last {name*} (the rest, slashes included).
 * Literal rows win over {name} rows, those over {name*}. A path that matches rows of other methods only gets 405 with
 * Allow. */
struct http_route {
    unsigned methods;
    const char *path;
    enum http_role role;
    unsigned flags;
    http_handler handle;
    const char *doc; /* one sentence for doc/reference */
};

struct http_identity {
    enum http_role role;
    bool anonymous;
    bool cookie;           /* the credential was a cookie: changes need a same-origin Origin header */
    char name[64];         /* user or token name; "anonymous" */
    const char *challenge; /* WWW-Authenticate when the role is too low; static text or NULL */
};
/* Who is asking? Fills *ret (anonymous included). 0; -EAGAIN when an answer needs slow work and may_block is false
 * (asked again from a worker with may_block true); -EACCES: credentials were given and are wrong; -EBUSY: too many
 * wrong tries from this peer (429). */
typedef int (*http_identify_fn)(void *ctx, struct http_req *r, bool may_block, struct http_identity *ret);

/* Prometheus' web configuration file (--web.config.file). */
struct web_config {
    struct {
        struct str cert_file, key_file, client_auth_type, client_ca_file, cert, key, client_ca;
        struct config_strs client_allowed_sans, cipher_suites, curves;
        int min_version, max_version;
        bool prefer_server, present;
    } tls;
    struct {
        bool http2;
        struct config_map headers;
    } http;
    struct config_map basic_auth_users; /* name -> bcrypt */
    struct yaml_node *rate_limit;
};
extern const struct config_schema web_config_schema;

struct http_server_options {
    const struct str *listen; /* "127.0.0.1:4863", "[::1]:9090", ":9090", "unix:/path" */
    size_t n_listen;
    struct str external_url;         /* its host is an allowed Host and Origin */
    struct str route_prefix;         /* "/x" is stripped; from --web.route-prefix or the path of external_url */
    const struct str *allowed_hosts; /* further Host names */
    size_t n_allowed_hosts;
    struct str cors_origin;       /* regular expression of allowed origins for reads; empty = no CORS */
    const struct web_config *web; /* may be NULL */
    bool has_credential;          /* a user or token exists; without one a non-loopback address is refused */
    http_identify_fn identify;    /* NULL: everyone is HTTP_ADMIN (tests) */
    void *identify_ctx;
    struct metrics *metrics; /* may be NULL */
};

struct http_server *http_server_new(const struct http_server_options *o); /* copies what it keeps */
/* Rows and ctx are borrowed for the server's life. Before start. */
void http_server_routes(struct http_server *s, const struct http_route *rows, size_t n, void *ctx);
/* For paths no row matches (the page's client-side routes): GET only, role `HTTP_ANYONE`. Before start. */
void http_server_fallback(struct http_server *s, http_handler fn, void *ctx);
/* Visit every row (reference, tests). */
void http_server_each(const struct http_server *s, void (*fn)(void *ctx, const struct http_route *row), void *ctx);
/* Bind and serve. 0; -EADDRINUSE with the likely owner named, -EACCES for an open address without a credential, -EINVAL
 * ... */
MUST_USE int http_server_start(struct http_server *s, struct err *e);
/* The port actually bound by listen address i (for ":0"). */
uint16_t http_server_port(const struct http_server *s, size_t i);
/* Stop accepting, close streams, cancel and wait for workers. */
void http_server_stop(struct http_server *s);
struct http_server *http_server_free(struct http_server *s); /* stops first */

/* ---- the request: everything is borrowed until the answer is sent ---- */
enum http_method http_method(const struct http_req *r);
struct str http_path(const struct http_req *r);                    /* decoded, without the route prefix */
struct str http_param(const struct http_req *r, const char *name); /* path parameter, decoded; empty when absent */
struct str http_header(const struct http_req *r, const char *name);
/* Query-string arguments first, then those of a form body; decoded. */
struct str http_arg(const struct http_req *r, const char *name); /* first; empty when absent */
bool http_has_arg(const struct http_req *r, const char *name);
size_t http_args(const struct http_req *r, const char *name, const struct str **ret); /* all values, in order */
struct str http_body(const struct http_req *r);
struct str http_peer(const struct http_req *r); /* "127.0.0.1:41234" */
struct str http_peer_ip(const struct http_req *r);
const struct http_identity *http_identity(const struct http_req *r);
struct arena *http_arena(struct http_req *r); /* lives as long as the request */
/* Set true when the client hangs up or the server stops; poll it, or pass it as query_request.cancel. */
const _Atomic bool *http_cancelled(const struct http_req *r);
const struct http_route *http_route_of(const struct http_req *r);

/* ---- the answer: exactly one of reply / asset / stream / sse, or later + one of them ---- */
struct buf *http_out(struct http_req *r); /* write the body here, then http_reply(); limited to http_answer_bytes */
void http_reply(struct http_req *r, int status, const char *content_type); /* compresses larger bodies when accepted */
void http_set_header(struct http_req *r, const char *name,
                     struct str value); /* line breaks are refused (BUG for ours) */
/* {"error": message} with the status (hune's own routes), or text where the path is not an API. */
void http_fail(struct http_req *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Run fn on the worker pool with the connection suspended; fn must answer. Full queue: answered 503 with Retry-After,
 * fn is not run. */
void http_later(struct http_req *r, http_handler fn, void *ctx);

/* Answer piecewise: produce() is called on an HTTP thread each time the client has room and appends about
 * http_stream_bytes to out. It returns 1 at the end, 0 for more, negative to abort the connection. done(ctx) runs once,
 * last, also when the client leaves. */
void http_stream(struct http_req *r, int status, const char *content_type, int (*produce)(void *ctx, struct buf *out),
                 void (*done)(void *ctx), void *ctx);

/* An embedded file. Bytes and texts are static, the struct itself is copied; gzip and brotli may be empty. */
struct http_asset {
    const char *path, *content_type, *etag; /* etag with its quotes */
    struct str raw, gzip, brotli;
    bool immutable; /* its name carries a hash: cache for a year */
};
void http_reply_asset(struct http_req *r, const struct http_asset *a);

/* ---- server-sent events ---- */
struct http_sse;
/* Answer with an event stream. NULL after answering 503 when sse_clients are open. The handle stays valid until
 * http_sse_close(). */
struct http_sse *http_sse_open(struct http_req *r);
/* Queue one event (`event` and `id` may be empty; data is split into lines). Any thread. 0; -EPIPE: the client has gone
 * or was too slow (queue over sse_queue_bytes): close the handle. */
MUST_USE int http_sse_send(struct http_sse *s, struct str event, struct str id, struct str data);
bool http_sse_gone(const struct http_sse *s);
void http_sse_close(struct http_sse *s); /* ends the stream after what is queued; accepts NULL */
