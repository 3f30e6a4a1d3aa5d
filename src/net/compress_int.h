// SPDX-License-Identifier: Apache-2.0
#pragma once
/* gzip (RFC 1952) by zlib, for answers of the server and for what the client gets. */
#include "base/buf.h"
#include "base/error.h"

struct deflater;
struct deflater *deflater_new(void);
struct deflater *deflater_free(struct deflater *d);
/* Append the compressed form of in; `last` ends the stream. 0 or -EMSGSIZE. */
MUST_USE int deflater_put(struct deflater *d, struct str in, bool last, struct buf *out);
MUST_USE int gzip_pack(struct str in, struct buf *out);

struct inflater;
struct inflater *inflater_new(void);
struct inflater *inflater_free(struct inflater *f); /* accepts NULL, returns NULL */
/* Append the unpacked form of the next piece; members that follow each other are one stream. 0; -EBADMSG: not gzip, or
 * damaged; -EMSGSIZE: past the maximum of out. */
MUST_USE int inflater_put(struct inflater *f, struct str in, struct buf *out);
bool inflater_ended(const struct inflater *f); /* the last member is whole */
