// SPDX-License-Identifier: Apache-2.0
#include "net/guard_int.h"

#include "base/parse.h"

static bool token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!token_char((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

static bool clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool host_shape(struct str s)
{
    if (str_empty(s) || s.n > 300)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(".-_:[]%", c)))
            return false;
    }
    return true;
}

#define REFUSE(code, text) return ((struct guard_refusal){.status = (code), .reason = (text)})

struct guard_refusal guard_head_check(struct guard_head *h)
{
    bool v11 = str_eqz(h->version, "HTTP/1.1");
    if (!v11 && !str_eqz(h->version, "HTTP/1.0"))
        REFUSE(505, "HTTP/1.1 and HTTP/1.0 are spoken here");
    if (!token(h->method))
        REFUSE(400, "the method is not a token");
    if (!clean(h->target) || str_chr(h->target, ' ') >= 0)
        REFUSE(400, "the request target holds a control character or a blank");
    unsigned hosts = 0, lengths = 0, encodings = 0, types = 0, auths = 0, origins = 0;
    for (size_t i = 0; i < h->n_headers; i++) {
        struct str name = h->headers[i].name, value = str_trim(h->headers[i].value);
        if (!token(name))
            REFUSE(400, "a header name is not a token");
        if (!clean(value))
            REFUSE(400, "a header value holds a control character");
        if (str_ieq(name, STR("host"))) {
            hosts++;
            h->host = value;
        } else if (str_ieq(name, STR("content-length"))) {
            lengths++;
            if (value.n > 18 || !parse_u64(value, &h->length))
                REFUSE(400, "Content-Length is not a plain number");
            h->has_length = true;
        } else if (str_ieq(name, STR("transfer-encoding"))) {
            encodings++;
            h->has_te = true;
            if (!str_ieq(value, STR("chunked")))
                REFUSE(400, "the only Transfer-Encoding here is chunked");
            h->chunked = true;
        } else if (str_ieq(name, STR("content-type"))) {
            types++;
            h->content_type = value;
        } else if (str_ieq(name, STR("authorization"))) {
            auths++;
        } else if (str_ieq(name, STR("origin"))) {
            origins++;
            h->origin = value;
        }
    }
    if (hosts > 1 || lengths > 1 || encodings > 1 || types > 1 || auths > 1 || origins > 1)
        REFUSE(400, "a header that may come once came twice");
    if (lengths && encodings)
        REFUSE(400, "Content-Length beside Transfer-Encoding");
    if (encodings && !v11)
        REFUSE(400, "Transfer-Encoding is not part of HTTP/1.0");
    if (v11 && hosts == 0)
        REFUSE(400, "no Host header");
    if (hosts && !host_shape(h->host))
        REFUSE(400, "the Host header is malformed");
    if (str_empty(h->target) || h->target.p[0] != '/')
        REFUSE(400, "the request target must be a path");
    return (struct guard_refusal){0};
}

struct str guard_host_name(struct str host)
{
    if (host.n && host.p[0] == '[') {
        ptrdiff_t end = str_chr(host, ']');
        return end < 0 ? host : str_sub(host, 0, (size_t)end + 1);
    }
    ptrdiff_t colon = str_rchr(host, ':');
    return colon < 0 ? host : str_sub(host, 0, (size_t)colon);
}

static bool is_address(struct str name)
{
    if (name.n && name.p[0] == '[')
        return true;
    unsigned dots = 0;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '.')
            dots++;
        else if (name.p[i] < '0' || name.p[i] > '9')
            return false;
    }
    return dots == 3;
}

bool guard_host_ok(const struct guard_hosts *a, struct str host)
{
    if (a->any)
        return true;
    struct str name = guard_host_name(host);
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--; /* the same name, fully qualified */
    for (size_t i = 0; i < a->n; i++)
        if (str_ieq(a->names[i], name))
            return true;
    if (!is_address(name))
        return false;
    return a->any_address || str_starts(name, STR("127."));
}

bool guard_origin_ok(struct str origin, struct str host, struct str external_origin)
{
    if (!str_empty(external_origin) && str_ieq(origin, external_origin))
        return true;
    struct str rest = origin;
    if (str_starts(rest, STR("http://")))
        rest = str_sub(rest, 7, rest.n);
    else if (str_starts(rest, STR("https://")))
        rest = str_sub(rest, 8, rest.n);
    else
        return false;
    return !str_empty(host) && str_ieq(rest, host);
}
