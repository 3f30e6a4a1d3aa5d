// SPDX-License-Identifier: Apache-2.0
/* gzip (wraps zlib). Answers are packed at level 1: on JSON it halves the time of the default level for a tenth more
 * bytes, and the wire is loopback or a LAN most of the time. */
#include "net/compress_int.h"

#include "base/mem.h"

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

struct inflater {
    z_stream z;
    bool ended; /* a member ended exactly where the input did */
};

struct inflater *inflater_new(void)
{
    struct inflater *f = NEW(struct inflater);
    if (inflateInit2(&f->z, 15 + 16) != Z_OK)
        FATAL("zlib has no memory");
    return f;
}

struct inflater *inflater_free(struct inflater *f)
{
    if (f) {
        inflateEnd(&f->z);
        free(f);
    }
    return NULL;
}

int inflater_put(struct inflater *f, struct str in, struct buf *out)
{
    f->z.next_in = (Bytef *)in.p;
    f->z.avail_in = (uInt)in.n;
    while (f->z.avail_in) {
        if (f->ended) { /* another member, or rubbish: the header check tells */
            inflateReset(&f->z);
            f->ended = false;
        }
        size_t room = MIN((size_t)65536, out->max - out->n);
        int r = buf_reserve(out, room ? room : 1);
        if (r < 0)
            return r;
        f->z.next_out = (Bytef *)out->p + out->n;
        f->z.avail_out = (uInt)room;
        int zr = inflate(&f->z, Z_NO_FLUSH);
        out->n += room - f->z.avail_out;
        if (zr == Z_STREAM_END)
            f->ended = true;
        else if (zr != Z_OK && zr != Z_BUF_ERROR)
            return -EBADMSG;
        else if (f->z.avail_out == 0 && out->n == out->max && f->z.avail_in)
            return -EMSGSIZE;
    }
    return 0;
}

bool inflater_ended(const struct inflater *f)
{
    return f->ended;
}
