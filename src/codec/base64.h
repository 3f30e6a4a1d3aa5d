// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Base64 of RFC 4648, section 4 (padding optional when reading). */
#include "base/buf.h"

/* false when malformed or longer than `size`; *ret_n bytes in out. */
__attribute__((warn_unused_result)) bool base64_decode(struct str in, char *out, size_t size, size_t *ret_n);
void base64_encode(struct buf *b, struct str in);
