// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Password and token hashing (wraps libargon2, libcrypt and GnuTLS' SHA-256). */
#include "base/error.h"

#define HASH_HEX 64

/* Encoded argon2id hash with a fresh salt. 0 or -ENOMEM. */
MUST_USE int hash_password(struct str password, char *out, size_t size);
bool hash_password_matches(struct str password, const char *encoded);
/* A hash that no password matches, with the same cost. */
const char *hash_dummy(void);
bool hash_bcrypt_matches(struct str password, struct str encoded);
void hash_sha256_hex(struct str s, char out[HASH_HEX + 1]);
