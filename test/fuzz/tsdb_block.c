// SPDX-License-Identifier: Apache-2.0
/* A block's index: what passes verification can be walked through every accessor. */
#include "base/mem.h"
#include "tsdb/block_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 65536)
        return 0;
    uint8_t *p = xmalloc(n ? n : 1);
    if (n)
        memcpy(p, data, n);
    struct bindex *x;
    if (bindex_parse(p, n, 1 << 20, &x))
        return 0;
    uint32_t *list = xmalloc((x->n_series + 1UL) * sizeof(*list));
    for (uint32_t i = 0; i < x->n_names; i++) {
        uint32_t first, count;
        ASSERT(bindex_find_name(x, bindex_name(x, i), &first, &count));
        for (uint32_t k = first; k < first + count; k++) {
            ASSERT(bindex_lower(x, first, count, bindex_value(x, k)) <= first + count);
            bindex_postings(x, k, list);
            for (uint32_t j = 0; j < bindex_postings_n(x, k); j++)
                ASSERT(list[j] < x->n_series);
        }
    }
    for (uint32_t s = 0; s < x->n_series; s++) {
        struct label l[32];
        int64_t min, max;
        size_t k = bindex_labels(x, s, l, ARRAY_LEN(l));
        size_t total = 0;
        for (size_t i = 0; i < MIN(k, ARRAY_LEN(l)); i++)
            total += l[i].name.n + l[i].value.n;
        ASSERT(total < (1ULL << 40));
        bindex_range(x, s, &min, &max);
        ASSERT(min <= max);
    }
    free(list);
    bindex_unref(x);
    return 0;
}
