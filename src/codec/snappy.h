// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Snappy block format (wraps libsnappy) as remote write uses it. */
#include "base/buf.h"
#include "base/error.h"

/* Appends the decompressed bytes; the announced length is checked against the room left in `out` first. 0; -EINVAL;
 * -EMSGSIZE. */
MUST_USE int snappy_unpack(struct str in, struct buf *out);
MUST_USE int snappy_pack(struct str in, struct buf *out);
