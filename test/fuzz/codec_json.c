// SPDX-License-Identifier: Apache-2.0
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(32 << 20);
    const struct json *j;
    struct err e = {0};
    if (json_parse(str_make((const char *)data, n), a, &j, &e) == 0)
        (void)json_get(j, "a");
    else
        ASSERT(e.msg[0] || n > 100000);
    arena_free(a);
    return 0;
}
