// SPDX-License-Identifier: Apache-2.0
/* What handlers ask of a request, and how they answer it. No libmicrohttpd here. */
#include "net/server_int.h"

#include "base/limits.h"
#include "codec/json.h"
#include "codec/regex.h"

const char *const http_role_names[] = {"none", "viewer", "operator", "administrator"};

enum http_method http_method(const struct http_req *r)
{
    return (enum http_method)r->method;
}

struct str http_path(const struct http_req *r)
{
    return r->path;
}

struct str http_param(const struct http_req *r, const char *name)
{
    for (size_t i = 0; i < r->match.n_params; i++)
        if (str_eqz(r->match.params[i].name, name))
            return r->match.params[i].value;
    return STR("");
}

struct str http_header(const struct http_req *r, const char *name)
{
    for (size_t i = 0; i < r->head.n_headers; i++)
        if (str_ieq(r->head.headers[i].name, str_of(name)))
            return str_trim(r->head.headers[i].value);
    return STR("");
}

struct str http_arg(const struct http_req *r, const char *name)
{
    for (size_t i = 0; i < r->n_args; i++)
        if (str_eqz(r->args[i].name, name))
            return r->args[i].value;
    return STR("");
}

bool http_has_arg(const struct http_req *r, const char *name)
{
    for (size_t i = 0; i < r->n_args; i++)
        if (str_eqz(r->args[i].name, name))
            return true;
    return false;
}

size_t http_args(const struct http_req *r, const char *name, const struct str **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_args; i++)
        n += str_eqz(r->args[i].name, name);
    struct str *v = ARENA_ARRAY(r->arena, struct str, n ? n : 1);
    n = 0;
    for (size_t i = 0; i < r->n_args; i++)
        if (str_eqz(r->args[i].name, name))
            v[n++] = r->args[i].value;
    *ret = v;
    return n;
}

struct str http_body(const struct http_req *r)
{
    return buf_view(&r->body);
}

struct str http_peer(const struct http_req *r)
{
    return str_of(r->peer);
}

struct str http_peer_ip(const struct http_req *r)
{
    return guard_host_name(str_of(r->peer));
}

const struct http_identity *http_identity(const struct http_req *r)
{
    return &r->who;
}

struct arena *http_arena(struct http_req *r)
{
    return r->arena;
}

const _Atomic bool *http_cancelled(const struct http_req *r)
{
    return &r->cancelled;
}

const struct http_route *http_route_of(const struct http_req *r)
{
    return r->row;
}

bool req_accepts(const struct http_req *r, const char *coding)
{
    struct str rest = http_header(r, "accept-encoding"), item, name, q;
    for (bool more = rest.n > 0; more;) {
        more = str_cut(rest, ',', &item, &rest);
        (void)str_cut(item, ';', &name, &q);
        q = str_trim(q);
        if (str_ieq(str_trim(name), str_of(coding)))
            return !(str_eqz(q, "q=0") || str_starts(q, STR("q=0.0")));
    }
    return false;
}

/* ---- answers ---- */

struct buf *http_out(struct http_req *r)
{
    return &r->out;
}

void http_reply(struct http_req *r, int status, const char *content_type)
{
    ASSERT(r->kind == ANSWER_NONE);
    if (buf_error(&r->out)) {
        buf_reset(&r->out);
        buf_fmt(&r->out,
                "{\"status\":\"error\",\"errorType\":\"internal\",\"error\":\"the answer is larger than %lld bytes\"}",
                (long long)limit(http_answer_bytes));
        status = 500;
        content_type = "application/json";
    }
    r->kind = ANSWER_BODY;
    r->status = status;
    r->type = content_type;
}

void http_set_header(struct http_req *r, const char *name, struct str value)
{
    ASSERT(r->n_headers < ARRAY_LEN(r->headers));
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
            BUG("control character in the value of header %s", name);
    r->headers[r->n_headers++] = (struct answer_header){.name = name, .value = arena_strz(r->arena, value)};
}

static const char *error_type(int status)
{
    switch (status) {
    case 404:
        return "not_found";
    case 422:
        return "execution";
    case 499:
        return "canceled";
    case 503:
        return "timeout";
    default:
        return status >= 500 ? "internal" : "bad_data";
    }
}

void req_refuse(struct http_req *r, int status, const char *text)
{
    r->kind = ANSWER_NONE;
    buf_reset(&r->out);
    struct str prefix = STR("/api/");
    if (str_starts(r->path, prefix) || str_starts(r->raw_path, prefix)) {
        struct jw w;
        jw_init(&w, &r->out);
        jw_obj(&w);
        jw_kz(&w, "status", "error");
        jw_kz(&w, "errorType", error_type(status));
        jw_kz(&w, "error", text);
        jw_end(&w);
        http_reply(r, status, "application/json");
    } else {
        buf_z(&r->out, text);
        buf_putc(&r->out, '\n');
        http_reply(r, status, "text/plain; charset=utf-8");
    }
}

void http_fail(struct http_req *r, int status, const char *fmt, ...)
{
    struct err e = {0};
    va_list ap;
    va_start(ap, fmt);
    struct buf text = BUF_INIT(sizeof(e.msg) - 1);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    if (buf_error(&text))
        err_set(&e, "%s", "the reason is too long to be shown");
    else
        err_set(&e, "%s", buf_cstr(&text));
    buf_done(&text);
    req_refuse(r, status, e.msg);
}

void http_later(struct http_req *r, http_handler fn, void *ctx)
{
    ASSERT(r->kind == ANSWER_NONE && r->state == REQ_HANDLE);
    r->job = fn;
    r->job_ctx = ctx;
    r->state = REQ_WAITING; /* server.c suspends and queues after the handler returned */
}

void http_stream(struct http_req *r, int status, const char *content_type, int (*produce)(void *ctx, struct buf *out),
                 void (*done)(void *ctx), void *ctx)
{
    ASSERT(r->kind == ANSWER_NONE);
    r->kind = ANSWER_STREAM;
    r->status = status;
    r->type = content_type;
    r->stream = NEW(struct stream);
    *r->stream = (struct stream){.produce = produce, .done = done, .ctx = ctx};
    /* A piece may overshoot by one series; the answer limit bounds even that. */
    buf_init(&r->stream->piece, (size_t)limit(http_answer_bytes));
    buf_init(&r->stream->packed, (size_t)limit(http_answer_bytes));
    if (req_accepts(r, "gzip") && !r->is_head) {
        r->stream->deflater = deflater_new();
        http_set_header(r, "Content-Encoding", STR("gzip"));
        http_set_header(r, "Vary", STR("Accept-Encoding"));
    }
}

void http_reply_asset(struct http_req *r, const struct http_asset *a)
{
    ASSERT(r->kind == ANSWER_NONE);
    r->kind = ANSWER_ASSET;
    struct http_asset *copy = ARENA_NEW(r->arena, struct http_asset);
    *copy = *a;
    r->asset = copy;
    r->type = a->content_type;
    r->status = 200;
    http_set_header(r, "ETag", str_of(a->etag));
    http_set_header(r, "Cache-Control", a->immutable ? STR("public, max-age=31536000, immutable") : STR("no-cache"));
    struct str have = http_header(r, "if-none-match"), one;
    for (bool more = have.n > 0; more;) {
        more = str_cut(have, ',', &one, &have);
        one = str_trim(one);
        if (str_starts(one, STR("W/")))
            one = str_sub(one, 2, one.n);
        if (str_eqz(one, a->etag))
            r->status = 304;
    }
}

/* ---- reading the head ---- */

void req_take_head(struct http_req *r)
{
    struct str query;
    (void)str_cut(r->target, '?', &r->raw_path, &query);
    ptrdiff_t hash = str_chr(r->raw_path, '#');
    if (hash >= 0)
        r->raw_path = str_sub(r->raw_path, 0, (size_t)hash);
    struct str prefix = r->server->prefix;
    if (prefix.n && str_starts(r->raw_path, prefix) && (r->raw_path.n == prefix.n || r->raw_path.p[prefix.n] == '/')) {
        r->raw_path = str_sub(r->raw_path, prefix.n, r->raw_path.n);
        if (str_empty(r->raw_path))
            r->raw_path = STR("/");
    }
    r->path = r->raw_path;
}

int req_parse_args(struct http_req *r)
{
    struct str query;
    (void)str_cut(r->target, '?', NULL, &query);
    struct url_arg *a = NULL, *b = NULL;
    size_t n = 0, m = 0, max = (size_t)limit(http_args);
    int e = url_args(query, max, r->arena, &a, &n);
    if (e < 0)
        return e;
    struct str type;
    (void)str_cut(r->head.content_type, ';', &type, NULL);
    if (str_ieq(str_trim(type), STR("application/x-www-form-urlencoded")) && r->body.n) {
        e = url_args(buf_view(&r->body), max, r->arena, &b, &m);
        if (e < 0)
            return e;
    }
    if (n + m > max)
        return -E2BIG;
    r->args = ARENA_ARRAY(r->arena, struct url_arg, n + m ? n + m : 1);
    if (n)
        memcpy(r->args, a, n * sizeof(*a));
    if (m)
        memcpy(r->args + n, b, m * sizeof(*b));
    r->n_args = n + m;
    return 0;
}
