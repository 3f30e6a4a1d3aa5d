// SPDX-License-Identifier: Apache-2.0
#include "codec/snappy.h"

#include <snappy-c.h>

int snappy_unpack(struct str in, struct buf *out)
{
    size_t n;
    if (snappy_uncompressed_length(in.p, in.n, &n) != SNAPPY_OK)
        return -EINVAL;
    int r = buf_reserve(out, n);
    if (r)
        return r;
    if (snappy_uncompress(in.p, in.n, out->p + out->n, &n) != SNAPPY_OK)
        return -EINVAL;
    out->n += n;
    return 0;
}

int snappy_pack(struct str in, struct buf *out)
{
    size_t n = snappy_max_compressed_length(in.n);
    int r = buf_reserve(out, n);
    if (r)
        return r;
    if (snappy_compress(in.p, in.n, out->p + out->n, &n) != SNAPPY_OK)
        return -EINVAL;
    out->n += n;
    return 0;
}
