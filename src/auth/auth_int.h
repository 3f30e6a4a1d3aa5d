// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "auth/auth.h"
#include "base/vec.h"

/* ---- hash.c: the one file that knows libargon2, libcrypt and nettle ---- */
#define SHA256_BYTES 32
#define PASSWORD_HASH_MAX 160
void auth_sha256(struct str in, uint8_t out[SHA256_BYTES]);
void auth_hex(const uint8_t *in, size_t n, char *out); /* 2n + 1 bytes */
/* 32 random bytes as 43 characters of base64url, and NUL. */
#define SECRET_TEXT 44
void auth_secret(char out[SECRET_TEXT]);
MUST_USE int auth_password_hash(struct str password, char out[PASSWORD_HASH_MAX]); /* argon2id, encoded */
bool auth_password_ok(const char *encoded, struct str password);
bool auth_bcrypt_ok(const char *hash, struct str password);
bool auth_equal(const void *a, const void *b, size_t n); /* in constant time */
/* base64 of Basic credentials to "user:password"; false when malformed. out is NUL-terminated. */
bool auth_base64(struct str in, struct buf *out);

/* ---- store.c: DATA/users ---- */
#define AUTH_NAME_MAX 63
#define AUTH_ENTRIES_MAX 10000
struct auth_row {
    bool token;
    enum http_role role;
    int64_t created_ms;
    char name[AUTH_NAME_MAX + 1];
    char secret[PASSWORD_HASH_MAX]; /* user: argon2 text; token: hex of SHA-256 */
};
struct auth_rows {
    VEC(struct auth_row) v;
};
bool auth_name_ok(struct str name);
/* The whole text or nothing. 0; -EINVAL with "file:line: reason". */
MUST_USE int auth_rows_parse(struct str text, const char *file, struct auth_rows *ret, struct err *e);
void auth_rows_write(const struct auth_rows *r, struct buf *out);
MUST_USE int auth_rows_load(const char *data_dir, struct auth_rows *ret, struct err *e); /* absent file: no rows */
