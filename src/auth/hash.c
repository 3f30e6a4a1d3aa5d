// SPDX-License-Identifier: Apache-2.0
#include "auth/hash_int.h"

#include "base/mem.h"
#include "base/rand.h"
#include <argon2.h>
#include <crypt.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

/* OWASP password storage cheat sheet (2024): 19 MiB, 2 passes, 1 lane. */
#define PASSES 2
#define MEMORY_KIB (19 * 1024)
#define LANES 1
#define SALT_BYTES 16
#define HASH_BYTES 32

int hash_password(struct str password, char *out, size_t size)
{
    uint8_t salt[SALT_BYTES];
    rand_secure(salt, sizeof(salt));
    int r = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password.p, password.n, salt, sizeof(salt), HASH_BYTES, out, size);
    return r == ARGON2_OK ? 0 : -ENOMEM;
}

bool hash_password_matches(struct str password, const char *encoded)
{
    return argon2id_verify(encoded, password.p, password.n) == ARGON2_OK;
}

const char *hash_dummy(void)
{
    /* argon2id of 32 random bytes that were thrown away; same parameters as above. */
    return "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
}

bool hash_bcrypt_matches(struct str password, struct str encoded)
{
    struct crypt_data *data = NEW(struct crypt_data);
    char *pw = str_dupz(password), *want = str_dupz(encoded);
    const char *got = crypt_r(pw, want, data);
    bool same = false;
    if (got && strlen(got) == encoded.n) {
        unsigned char diff = 0;
        for (size_t i = 0; i < encoded.n; i++)
            diff |= (unsigned char)(got[i] ^ want[i]);
        same = diff == 0;
    }
    explicit_bzero(pw, password.n);
    explicit_bzero(data, sizeof(*data));
    free(pw);
    free(want);
    free(data);
    return same;
}

void hash_sha256_hex(struct str s, char out[HASH_HEX + 1])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[32];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, s.p ? s.p : "", s.n, digest))
        FATAL("SHA-256 is not available");
    for (size_t i = 0; i < sizeof(digest); i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[HASH_HEX] = 0;
}
