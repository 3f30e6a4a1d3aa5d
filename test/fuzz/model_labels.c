// SPDX-License-Identifier: Apache-2.0
#include "model/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(32 << 20);
    struct labels l, again;
    struct err e = {0};
    if (n < 100000 && labels_parse(str_make((const char *)data, n), a, &l, &e) == 0) {
        struct buf b = BUF_INIT(4 << 20);
        labels_format_metric(&b, l);
        if (!buf_error(&b)) {
            ASSERT(labels_parse(buf_view(&b), a, &again, &e) == 0);
            ASSERT(labels_equal(l, again));
        }
        buf_done(&b);
    }
    arena_free(a);
    return 0;
}
