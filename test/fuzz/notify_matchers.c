// SPDX-License-Identifier: Apache-2.0
#include "notify/notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct arena *a = arena_new(0);
    struct matcher *m;
    size_t k;
    bool classic;
    struct err e = {0};
    if (notify_matchers_parse(str_make((const char *)p, n), a, &m, &k, &classic, &e) == 0)
        for (size_t i = 0; i < k; i++)
            matcher_done(&m[i]);
    arena_free(a);
    return 0;
}
