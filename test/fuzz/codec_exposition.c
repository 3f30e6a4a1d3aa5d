// SPDX-License-Identifier: Apache-2.0
/* First byte: the format. Whatever is accepted must be read the same way by the fast path, and its labels must come
 * apart or be refused without harm. */
#include "codec/exposition.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    enum expo_format f = data[0] & 1 ? EXPO_OPENMETRICS : EXPO_TEXT;
    char *copy = malloc(n); /* exact size, so that a read past the end is seen */
    memcpy(copy, data + 1, n - 1);
    struct str body = {copy, n - 1};
    _cleanup_arena_ struct arena *a = arena_new(64 << 20);
    struct expo_parser x;
    struct err e = {0};
    expo_init(&x, f, body);
    for (;;) {
        struct expo_item it;
        struct expo_parser before = x;
        if (expo_next(&x, &it, &e) < 0 || it.kind == EXPO_END)
            break;
        if (it.kind == EXPO_HELP)
            (void)expo_unescape(it.text, false, a);
        if (it.kind != EXPO_SAMPLE)
            continue;
        struct expo_label *l;
        size_t nl;
        err_clear(&e);
        int known = expo_labels(it.series, it.type, a, &l, &nl, &e);
        if (known == 0 && nl > it.series.n)
            abort();
        struct expo_item again;
        err_clear(&e);
        before.p = it.series.p;
        int r = expo_expect(&before, it.series, &again, &e);
        if (r < 0 || (r == 1 && (before.p != x.p || memcmp(&again.v, &it.v, 8) != 0 || again.has_t != it.has_t)))
            abort();
    }
    free(copy);
    return 0;
}
