// SPDX-License-Identifier: Apache-2.0
/* Remote write bodies, both versions, packed and not. What reaches the sink must be proper label sets. */
#include "ingest/ingest.h"

static int append(struct sink *s, struct sample_row *rows, size_t n, unsigned flags)
{
    (void)s, (void)flags;
    for (size_t i = 0; i < n; i++) {
        ASSERT(rows[i].labels.n > 0);
        for (size_t k = 0; k < rows[i].labels.n; k++) {
            ASSERT(rows[i].labels.v[k].value.n > 0 && rows[i].labels.v[k].name.n > 0);
            ASSERT(k == 0 || str_cmp(rows[i].labels.v[k - 1].name, rows[i].labels.v[k].name) < 0);
        }
        const struct histogram *h = rows[i].h;
        uint64_t pos = 0;
        for (uint32_t k = 0; h && k < h->n_pos_spans; k++)
            pos += h->pos_spans[k].length;
        ASSERT(!h || pos == h->n_pos);
        rows[i].status = ROW_OK;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct sink sink = {.append = append};
    struct ingest_result got;
    struct err e = {0};
    struct str in = str_make((const char *)data, n);
    for (int v = INGEST_V1; v <= INGEST_V2; v++) {
        int r = ingest_message(&sink, in, (enum ingest_version)v, &got, &e);
        ASSERT(r >= 0);
        r = ingest_remote_write(&sink, in, (enum ingest_version)v, &got, &e);
        ASSERT(r >= 0);
    }
    return 0;
}
