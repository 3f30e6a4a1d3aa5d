// SPDX-License-Identifier: Apache-2.0
/* gzip for answers (wraps zlib's compressor). Level 1: on JSON it halves the time of the default level for a tenth more
 * bytes, and the wire is loopback or a LAN most of the time. */
#include "net/server_int.h"

#include <zlib.h>

#define GZIP_LEVEL 1

struct deflater {
    z_stream z;
};

struct deflater *deflater_new(void)
{
    struct deflater *d = NEW(struct deflater);
    if (deflateInit2(&d->z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        FATAL("zlib has no memory");
    return d;
}

struct deflater *deflater_free(struct deflater *d)
{
    if (d) {
        deflateEnd(&d->z);
        free(d);
    }
    return NULL;
}

int deflater_put(struct deflater *d, struct str in, bool last, struct buf *out)
{
    d->z.next_in = (Bytef *)in.p;
    d->z.avail_in = (uInt)in.n;
    for (;;) {
        size_t room = 16384;
        int r = buf_reserve(out, room);
        if (r < 0)
            return r;
        d->z.next_out = (Bytef *)out->p + out->n;
        d->z.avail_out = (uInt)room;
        int zr = deflate(&d->z, last ? Z_FINISH : Z_SYNC_FLUSH);
        out->n += room - d->z.avail_out;
        if (zr == Z_STREAM_END || (!last && d->z.avail_out > 0))
            return 0;
        if (zr != Z_OK && zr != Z_BUF_ERROR)
            BUG("deflate: %d", zr);
    }
}

int gzip_pack(struct str in, struct buf *out)
{
    struct deflater *d = deflater_new();
    int r = deflater_put(d, in, true, out);
    deflater_free(d);
    return r;
}
