// SPDX-License-Identifier: Apache-2.0
/* Query strings and escapes: what is decoded and encoded again decodes to the same. */
#include "codec/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(64 << 20);
    struct str in = str_make((const char *)data, n), out;
    struct url_arg *args;
    size_t count;
    if (url_decode(in, false, a, &out)) {
        struct buf b = BUF_INIT(64 << 20);
        struct str again;
        url_encode(&b, out);
        ASSERT(url_decode(buf_view(&b), false, a, &again) && str_eq(out, again));
        buf_done(&b);
    }
    if (url_args(in, 1000, a, &args, &count) == 0)
        ASSERT(count <= 1000);
    arena_free(a);
    return 0;
}
