// SPDX-License-Identifier: Apache-2.0
/* Chunk decoders: first byte the kind, the rest the payload. */
#include "base/arena.h"
#include "tsdb/chunk_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1 || n > 4096)
        return 0;
    struct column c = {0};
    int r = chunk_decode((enum chunk_kind)data[0], data + 1, n - 1, SIZE_MAX, INT64_MIN, INT64_MAX, &c);
    if (r == 0 && c.n && !c.h && c.n <= CHUNK_SAMPLES_LIMIT) {
        /* What can be read can be written and read again, bit for bit. */
        struct buf b = BUF_INIT(1 << 24);
        struct column d = {0};
        column_encode(&b, c.t, c.v, c.st, c.n);
        ASSERT(chunk_decode(CHUNK_COLUMN, (const uint8_t *)b.p + 1, b.n - 1, SIZE_MAX, INT64_MIN, INT64_MAX, &d) == 0);
        ASSERT(d.n == c.n && memcmp(d.t, c.t, c.n * 8) == 0 && memcmp(d.v, c.v, c.n * 8) == 0);
        for (size_t i = 0; i < c.n; i++)
            ASSERT((d.st ? d.st[i] : 0) == (c.st ? c.st[i] : 0));
        column_done(&d);
        buf_done(&b);
    }
    column_done(&c);
    return 0;
}
