// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a request must look like before anything reads it: pure checks over its head. */
#include "net/client.h"
#include "net/server.h"

struct guard_head {
    struct str version, method, target;
    const struct http_header *headers;
    size_t n_headers;
    /* out */
    struct str host, content_type, origin;
    bool chunked, has_length, has_te;
    uint64_t length;
};

struct guard_refusal {
    int status; /* 0 = fine */
    const char *reason;
};

/* RFC 9112 with the forms that let two readers disagree refused: two Hosts or Content-Lengths, Content-Length beside
 * Transfer-Encoding, an encoding other than exactly "chunked", names that are no tokens ("TE :"), control characters.
 */
struct guard_refusal guard_head_check(struct guard_head *h);

struct guard_hosts {
    const struct str *names; /* lower case, without port; "[::1]" with brackets */
    size_t n;
    bool any_address; /* every IP literal is fine (an open listener): rebinding needs a name */
    bool any;         /* unix sockets */
};
bool guard_host_ok(const struct guard_hosts *a, struct str host);
/* The host part without port, "[...]" kept. */
struct str guard_host_name(struct str host);
/* Is `origin` ("http://host:port") this server, seen under Host `host`, or one of `origins`? */
bool guard_origin_ok(struct str origin, struct str host, struct str external_origin);
