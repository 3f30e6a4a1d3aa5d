// SPDX-License-Identifier: Apache-2.0
/* Wraps libargon2 (passwords), libcrypt (bcrypt of web configuration files) and nettle (SHA-256). */
#include "auth/auth_int.h"

#include "base/rand.h"

#include <argon2.h>
#include <crypt.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>

/* 7 MiB, 5 passes, 1 lane: one of the equivalent settings of OWASP's Password Storage Cheat Sheet (2024) for argon2id,
 * the one that costs the least memory at a sign-in. */
#define ARGON_MEMORY_KIB 7168
#define ARGON_PASSES 5
#define ARGON_LANES 1

void auth_sha256(struct str in, uint8_t out[SHA256_BYTES])
{
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, in.n, (const uint8_t *)in.p);
    sha256_digest(&c, SHA256_BYTES, out);
}

void auth_hex(const uint8_t *in, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * n] = 0;
}

void auth_secret(char out[SECRET_TEXT])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t raw[33] = {0};
    rand_secure(raw, 32);
    for (size_t i = 0; i < 43; i++) {
        size_t bit = i * 6, at = bit / 8;
        unsigned two = (unsigned)raw[at] << 8 | raw[at + 1];
        out[i] = letters[two >> (10 - bit % 8) & 63];
    }
    out[43] = 0;
    explicit_bzero(raw, sizeof(raw));
}

int auth_password_hash(struct str password, char out[PASSWORD_HASH_MAX])
{
    uint8_t salt[16];
    rand_secure(salt, sizeof(salt));
    int r = argon2id_hash_encoded(ARGON_PASSES, ARGON_MEMORY_KIB, ARGON_LANES, password.p, password.n, salt,
                                  sizeof(salt), 32, out, PASSWORD_HASH_MAX);
    return r == ARGON2_OK ? 0 : r == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EIO;
}

bool auth_password_ok(const char *encoded, struct str password)
{
    return argon2id_verify(encoded, password.p, password.n) == ARGON2_OK;
}

bool auth_bcrypt_ok(const char *hash, struct str password)
{
    if (memchr(password.p ? password.p : "", 0, password.n))
        return false;
    char *z = str_dupz(password);
    struct crypt_data *data = xcalloc(1, sizeof(*data)); /* 32 KiB: not on a small stack */
    /* not crypt_r(): sanitizers intercept it, which hides the need for libcrypt from --as-needed */
    const char *got = crypt_rn(z, hash, data, sizeof(*data));
    bool ok = got && got[0] != '*' && strlen(got) == strlen(hash) && auth_equal(got, hash, strlen(hash));
    explicit_bzero(data, sizeof(*data));
    free(data);
    explicit_bzero(z, password.n);
    free(z);
    return ok;
}

bool auth_equal(const void *a, const void *b, size_t n)
{
    return memeql_sec(a, b, n);
}

bool auth_base64(struct str in, struct buf *out)
{
    uint32_t bits = 0;
    unsigned n = 0, pad = 0;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        int v = c >= 'A' && c <= 'Z'   ? c - 'A'
                : c >= 'a' && c <= 'z' ? c - 'a' + 26
                : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '+'             ? 62
                : c == '/'             ? 63
                                       : -1;
        if (c == '=') {
            if (++pad > 2)
                return false;
            continue;
        }
        if (v < 0 || pad)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (++n % 4 == 0 || n % 4 == 2 || n % 4 == 3)
            buf_putc(out, (char)(bits >> (n % 4 == 2 ? 4 : n % 4 == 3 ? 2 : 0)));
    }
    return n % 4 != 1 && buf_error(out) == 0;
}
