// SPDX-License-Identifier: Apache-2.0
/* What stands between a well-formed request and its handler: the row, the origin, the caller's role, the body's type
 * and size. Each check answers by itself when it refuses. */
#include "net/server_int.h"

#include "base/limits.h"
#include "codec/regex.h"

unsigned check_method(struct str m)
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

void server_refuse(struct http_req *r, int status, const char *text)
{
    metric_add(&server_metrics[M_REFUSED], 1);
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
bool check_row(struct http_req *r)
{
    struct http_server *s = r->server;
    if (routes_find(&s->routes, r->raw_path, r->method, r->arena, &r->match) < 0 ||
        !url_decode(r->raw_path, false, r->arena, &r->path) || memchr(r->path.p, 0, r->path.n)) {
        r->path = r->raw_path;
        server_refuse(r, 400, "the path holds a malformed escape");
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
        server_refuse(r, 405, "method not allowed");
        return false;
    }
    if (s->fallback_row.handle && r->method == HTTP_GET && !str_starts(r->path, STR("/api/")) &&
        !str_starts(r->path, STR("/-/"))) {
        r->row = &s->fallback_row;
        r->match.entry = &s->fallback_entry;
        return true;
    }
    server_refuse(r, r->method ? 404 : 405, r->method ? "not found" : "method not allowed");
    return false;
}

/* May this origin do this? false when answered. */
bool check_origin(struct http_req *r)
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
        server_refuse(r, 403, "a request from another origin may not do this");
        return false;
    }
    return true;
}

/* The caller's role against the row's; false when answered. */
bool check_identity(struct http_req *r)
{
    const struct http_route *row = r->row;
    int id = r->identify_result;
    if (id == -EBUSY) {
        http_set_header(r, "Retry-After", STR("60"));
        server_refuse(r, 429, "too many wrong credentials from this address, wait a minute");
        return false;
    }
    if (id < 0 && row->role > HTTP_ANYONE) {
        if (r->who.challenge)
            http_set_header(r, "WWW-Authenticate", str_of(r->who.challenge));
        server_refuse(r, 401, "wrong or expired credential");
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
        server_refuse(r, r->who.anonymous ? 401 : 403, buf_cstr(&b));
        buf_done(&b);
        return false;
    }
    if ((row->flags & HTTP_NO_ANON) && r->who.anonymous) {
        server_refuse(
            r, 403,
            "never for an anonymous caller: create a user with `hune user add NAME --role operator` and sign in, "
            "or send a token made by `hune token add NAME --role operator`");
        return false;
    }
    if (r->who.cookie && r->method != HTTP_GET && str_empty(r->head.origin)) {
        server_refuse(r, 403, "a change with the session cookie needs the browser's Origin header");
        return false;
    }
    return true;
}

bool check_body(struct http_req *r)
{
    const struct http_route *row = r->row;
    bool change = r->method == HTTP_POST || r->method == HTTP_PUT || r->method == HTTP_PATCH;
    if (change && !(row->flags & (HTTP_READS | HTTP_ANY_TYPE)) && !json_type(r->head.content_type)) {
        server_refuse(r, 415, "send Content-Type: application/json");
        return false;
    }
    if (r->head.has_length && r->head.length > (uint64_t)limit(http_body_bytes)) {
        server_refuse(r, 413, "the body is too large (limit http_body_bytes)");
        return false;
    }
    return true;
}
