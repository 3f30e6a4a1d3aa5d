// SPDX-License-Identifier: Apache-2.0
/* The head of a request: first line target, then headers, one a line. What passes must be free of what smuggling needs.
 */
#include "../../src/net/guard_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_header h[64];
    struct str rest = str_make((const char *)data, n), line;
    struct guard_head head = {.version = STR("HTTP/1.1"), .method = STR("POST"), .headers = h};
    if (!str_cut(rest, '\n', &head.target, &rest))
        return 0;
    while (head.n_headers < 64 && str_cut(rest, '\n', &line, &rest)) {
        struct str name, value;
        (void)str_cut(line, ':', &name, &value);
        h[head.n_headers++] = (struct http_header){.name = name, .value = value};
    }
    if (guard_head_check(&head).status == 0) {
        ASSERT(!(head.has_te && head.has_length));
        ASSERT(head.host.n > 0 && head.target.p[0] == '/');
        struct str names[] = {STR("localhost")};
        struct guard_hosts hosts = {.names = names, .n = 1};
        if (guard_host_ok(&hosts, head.host))
            (void)guard_origin_ok(head.origin, head.host, STR("http://x"));
    }
    return 0;
}
