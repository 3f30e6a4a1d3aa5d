// SPDX-License-Identifier: Apache-2.0
#include "auth/auth.h"

#include "auth/hash_int.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "codec/base64.h"
#include <pthread.h>

#define SESSION_MS (12 * 3600000LL)
#define SESSION_IDLE_MS (30 * 60000LL)
#define SESSIONS_MAX 1000
#define TRIES_MAX 4096
#define CACHE_MAX 256
#define CACHE_MS 300000
#define NAME_MAX_BYTES 63
#define TOKEN_PREFIX "hune_"

static const struct db_migration steps[] = {
    {1, "CREATE TABLE auth_users (name TEXT PRIMARY KEY, hash TEXT NOT NULL, role INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
        " used_ms INTEGER NOT NULL DEFAULT 0) STRICT;"
        "CREATE TABLE auth_tokens (name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, role INTEGER NOT NULL,"
        " created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL DEFAULT 0) STRICT;"},
};

struct session {
    char key[HASH_HEX + 1]; /* hash of the cookie: a memory dump does not hold it */
    char name[NAME_MAX_BYTES + 1];
    enum http_role role;
    int64_t since_ms, used_ms;
};

struct tries {
    char ip[64];
    int64_t first_ms;
    unsigned wrong;
};

struct verified { /* a Basic password that was right a moment ago */
    uint64_t key;
    enum http_role role;
    int64_t at_ms;
};

struct auth {
    struct auth_options o;
    pthread_mutex_t lock;
    VEC(struct session) sessions;
    VEC(struct tries) tries;
    VEC(struct verified) cache;
    _Atomic int any; /* -1 = not known, 0, 1 */
};

/* ---- storage ---- */

struct find {
    bool token;
    struct str key; /* user name, or token hash */
    bool found;
    char name[NAME_MAX_BYTES + 1];
    char hash[256];
    enum http_role role;
};

static void copy(char *to, size_t size, struct str from)
{
    size_t n = MIN(from.n, size - 1);
    if (n)
        memcpy(to, from.p, n);
    to[n] = 0;
}

static int find_tx(struct db_tx *tx, void *ctx)
{
    struct find *f = ctx;
    struct db_stmt *st;
    int r = db_query(tx, &st, f->token ? "SELECT name, hash, role FROM auth_tokens WHERE hash = $1" : "SELECT name, hash, role FROM auth_users WHERE name = $1", "s", f->key);
    if (r == 0 && (r = db_step(st)) == 1) {
        f->found = true;
        copy(f->name, sizeof(f->name), db_col_str(st, 0));
        copy(f->hash, sizeof(f->hash), db_col_str(st, 1));
        f->role = (enum http_role)db_col_i64(st, 2);
        db_reset(st);
        r = 0;
    }
    return r;
}

static int any_tx(struct db_tx *tx, void *ctx)
{
    return db_get_i64(tx, 0, ctx, "SELECT (SELECT count(*) FROM auth_users) + (SELECT count(*) FROM auth_tokens)", "");
}

struct change {
    bool token, add;
    struct str name, hash;
    enum http_role role;
    int64_t now;
    struct auth *a;
};

static int change_tx(struct db_tx *tx, void *ctx)
{
    struct change *c = ctx;
    int r;
    if (c->add)
        r = db_do(tx, c->token ? "INSERT INTO auth_tokens (name, hash, role, created_ms) VALUES ($1, $2, $3, $4)" : "INSERT INTO auth_users (name, hash, role, created_ms) VALUES ($1, $2, $3, $4)",
                  "ssii", c->name, c->hash, (int64_t)c->role, c->now);
    else
        r = db_do(tx, c->token ? "DELETE FROM auth_tokens WHERE name = $1" : "DELETE FROM auth_users WHERE name = $1", "s", c->name);
    if (r == -EEXIST)
        return AUTH_E_EXISTS;
    if (r == 0 && !c->add && db_changes(tx) == 0)
        return AUTH_E_NOT_FOUND;
    if (r == 0 && c->a->o.journal) {
        struct event e = {.kind = c->add ? STR("auth.added") : STR("auth.deleted"),
                          .severity = SEV_INFO,
                          .subject = c->name,
                          .actor = STR("administrator"),
                          .summary = c->token ? (c->add ? STR("token added") : STR("token deleted")) : (c->add ? STR("user added") : STR("user deleted"))};
        r = journal_append_tx(c->a->o.journal, tx, &e);
    }
    return r;
}

static int change(struct auth *a, struct change *c, struct err *e)
{
    c->a = a;
    c->now = clock_now_ms(a->o.clock);
    if (c->name.n == 0 || c->name.n > NAME_MAX_BYTES || !utf8_valid(c->name) || str_chr(c->name, ':') >= 0 || memchr(c->name.p, 0, c->name.n)) {
        err_set(e, "a name has 1 to %d bytes and no colon", NAME_MAX_BYTES);
        return AUTH_E_INVALID;
    }
    int r = db_write(a->o.db, change_tx, c);
    const char *what = c->token ? "token" : "user";
    if (r == AUTH_E_EXISTS)
        err_set(e, "a %s called \"" STR_FMT "\" exists already", what, STR_ARG(c->name));
    else if (r == AUTH_E_NOT_FOUND)
        err_set(e, "there is no %s called \"" STR_FMT "\"", what, STR_ARG(c->name));
    else if (r < 0)
        err_set(e, "not stored: %s", err_name(r));
    a->any = -1;
    pthread_mutex_lock(&a->lock);
    vec_reset(&a->cache);
    for (size_t i = 0; !c->add && i < a->sessions.n;) { /* a deleted user is out at once */
        if (str_eqz(c->name, a->sessions.v[i].name))
            vec_swap_del(&a->sessions, i);
        else
            i++;
    }
    pthread_mutex_unlock(&a->lock);
    return r;
}

int auth_open(const struct auth_options *o, struct auth **ret, struct err *e)
{
    static const struct db_schema schema = {.room = "auth", .steps = steps, .n = ARRAY_LEN(steps)};
    int r = db_migrate(o->db, &schema, e);
    if (r)
        return r;
    struct auth *a = NEW(struct auth);
    a->o = *o;
    a->any = -1;
    pthread_mutex_init(&a->lock, NULL);
    *ret = a;
    return 0;
}

struct auth *auth_close(struct auth *a)
{
    if (!a)
        return NULL;
    vec_done(&a->sessions);
    vec_done(&a->tries);
    vec_done(&a->cache);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

bool auth_has_credential(struct auth *a)
{
    if (a->o.web && a->o.web->basic_auth_users.n)
        return true;
    /* `hune user add` is another process: look again each time while the answer is no. */
    if (a->any != 1) {
        int64_t n = 0;
        if (db_read(a->o.db, any_tx, &n))
            return true; /* when in doubt, closed */
        a->any = n > 0;
    }
    return a->any == 1;
}

bool auth_role_parse(struct str s, enum http_role *ret)
{
    for (int i = HTTP_VIEWER; i <= HTTP_ADMIN; i++) {
        if (str_ieq(s, str_of(http_role_names[i])) || (i == HTTP_ADMIN && str_ieq(s, STR("admin")))) {
            *ret = (enum http_role)i;
            return true;
        }
    }
    return false;
}

int auth_user_add(struct auth *a, struct str name, struct str password, enum http_role role, struct err *e)
{
    if (password.n < AUTH_PASSWORD_MIN || password.n > 1000) {
        err_set(e, "a password has at least %d and at most 1000 bytes", AUTH_PASSWORD_MIN);
        return AUTH_E_INVALID;
    }
    char encoded[256];
    int r = hash_password(password, encoded, sizeof(encoded));
    if (r)
        return r;
    struct change c = {.add = true, .name = name, .hash = str_of(encoded), .role = role};
    return change(a, &c, e);
}

int auth_user_delete(struct auth *a, struct str name, struct err *e)
{
    struct change c = {.name = name};
    return change(a, &c, e);
}

static void random_hex(char out[HASH_HEX + 1])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t raw[HASH_HEX / 2];
    rand_secure(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++) {
        out[2 * i] = hex[raw[i] >> 4];
        out[2 * i + 1] = hex[raw[i] & 15];
    }
    out[HASH_HEX] = 0;
}

int auth_token_add(struct auth *a, struct str name, enum http_role role, char ret_token[80], struct err *e)
{
    char secret[HASH_HEX + 1], token[80], hash[HASH_HEX + 1];
    random_hex(secret);
    snprintf(token, sizeof(token), TOKEN_PREFIX "%s", secret);
    hash_sha256_hex(str_of(token), hash);
    struct change c = {.token = true, .add = true, .name = name, .hash = str_of(hash), .role = role};
    int r = change(a, &c, e);
    if (r == 0)
        memcpy(ret_token, token, sizeof(token));
    return r;
}

int auth_token_delete(struct auth *a, struct str name, struct err *e)
{
    struct change c = {.token = true, .name = name};
    return change(a, &c, e);
}

struct listing {
    struct arena *arena;
    VEC(struct auth_entry) v;
};

static int list_tx(struct db_tx *tx, void *ctx)
{
    struct listing *l = ctx;
    struct db_stmt *st;
    int r = db_query(tx, &st, "SELECT 0, name, role, created_ms, used_ms FROM auth_users UNION ALL SELECT 1, name, role, created_ms, used_ms FROM auth_tokens ORDER BY 1, 2", "");
    while (r == 0 && (r = db_step(st)) == 1) {
        vec_push(&l->v, (struct auth_entry){.token = db_col_i64(st, 0) != 0,
                                            .name = arena_str(l->arena, db_col_str(st, 1)),
                                            .role = (enum http_role)db_col_i64(st, 2),
                                            .created_ms = db_col_i64(st, 3),
                                            .used_ms = db_col_i64(st, 4)});
        r = 0;
    }
    return r;
}

int auth_list(struct auth *a, struct arena *arena, struct auth_entry **ret, size_t *ret_n)
{
    struct listing l = {.arena = arena};
    int r = db_read(a->o.db, list_tx, &l);
    if (r == 0) {
        *ret = ARENA_ARRAY(arena, struct auth_entry, l.v.n);
        if (l.v.n)
            memcpy(*ret, l.v.v, l.v.n * sizeof(**ret));
        *ret_n = l.v.n;
    }
    vec_done(&l.v);
    return r;
}

/* ---- wrong tries ---- */

/* Under the lock. NULL when the address has none within the window. */
static struct tries *tries_of(struct auth *a, struct str ip, int64_t now)
{
    for (size_t i = 0; i < a->tries.n;) {
        if (now - a->tries.v[i].first_ms > AUTH_WINDOW_MS) {
            vec_swap_del(&a->tries, i);
            continue;
        }
        if (str_eqz(ip, a->tries.v[i].ip))
            return &a->tries.v[i];
        i++;
    }
    return NULL;
}

static bool blocked(struct auth *a, struct str ip)
{
    pthread_mutex_lock(&a->lock);
    struct tries *t = tries_of(a, ip, clock_now_ms(a->o.clock));
    bool yes = t && t->wrong >= AUTH_WRONG_MAX;
    pthread_mutex_unlock(&a->lock);
    return yes;
}

static void count_wrong(struct auth *a, struct str ip, struct str name)
{
    int64_t now = clock_now_ms(a->o.clock);
    pthread_mutex_lock(&a->lock);
    struct tries *t = tries_of(a, ip, now);
    if (!t) {
        if (a->tries.n == TRIES_MAX)
            vec_swap_del(&a->tries, 0);
        struct tries fresh = {.first_ms = now};
        copy(fresh.ip, sizeof(fresh.ip), ip);
        vec_push(&a->tries, fresh);
        t = &a->tries.v[a->tries.n - 1];
    }
    bool last = ++t->wrong == AUTH_WRONG_MAX;
    pthread_mutex_unlock(&a->lock);
    if (!a->o.journal)
        return;
    struct event e = {.kind = last ? STR("auth.blocked") : STR("auth.refused"),
                      .severity = last ? SEV_WARNING : SEV_INFO,
                      .subject = str_sub(name, 0, NAME_MAX_BYTES),
                      .actor = ip,
                      .summary = last ? STR("too many wrong credentials from one address") : STR("wrong credential")};
    a->o.journal->post(a->o.journal, &e);
}

/* ---- checking ---- */

/* 1 right, 0 wrong, -errno. Unknown names cost as much as known ones. */
static int verify(struct auth *a, struct str name, struct str password, enum http_role *ret)
{
    if (a->o.web) {
        const struct config_map *users = &a->o.web->basic_auth_users;
        for (size_t i = 0; i < users->n; i++) {
            if (str_eq(users->v[i].key, name)) {
                *ret = HTTP_ADMIN;
                return hash_bcrypt_matches(password, users->v[i].value);
            }
        }
    }
    struct find f = {.key = name};
    int r = db_read(a->o.db, find_tx, &f);
    if (r)
        return r;
    bool right = hash_password_matches(password, f.found ? f.hash : hash_dummy());
    *ret = f.role;
    return right && f.found;
}

int auth_login(struct auth *a, struct str peer_ip, struct str name, struct str password, enum http_role *ret)
{
    if (blocked(a, peer_ip))
        return AUTH_E_BUSY;
    int r = verify(a, name, password, ret);
    if (r < 0)
        return r;
    if (r == 0) {
        count_wrong(a, peer_ip, name);
        return AUTH_E_WRONG;
    }
    if (a->o.journal) {
        struct event e = {.kind = STR("auth.login"), .severity = SEV_INFO, .subject = name, .actor = name, .summary = STR("logged in")};
        a->o.journal->post(a->o.journal, &e);
    }
    return 0;
}

void auth_session_new(struct auth *a, struct str name, enum http_role role, char ret[65])
{
    int64_t now = clock_now_ms(a->o.clock);
    struct session s = {.role = role, .since_ms = now, .used_ms = now};
    random_hex(ret);
    hash_sha256_hex(str_of(ret), s.key);
    copy(s.name, sizeof(s.name), name);
    pthread_mutex_lock(&a->lock);
    if (a->sessions.n == SESSIONS_MAX)
        vec_del(&a->sessions, 0);
    vec_push(&a->sessions, s);
    pthread_mutex_unlock(&a->lock);
}

/* Under the lock; drops what has expired on the way. */
static struct session *session_of(struct auth *a, struct str cookie)
{
    char key[HASH_HEX + 1];
    hash_sha256_hex(cookie, key);
    int64_t now = clock_now_ms(a->o.clock);
    for (size_t i = 0; i < a->sessions.n;) {
        struct session *s = &a->sessions.v[i];
        if (now - s->since_ms > SESSION_MS || now - s->used_ms > SESSION_IDLE_MS) {
            vec_swap_del(&a->sessions, i);
            continue;
        }
        if (strcmp(s->key, key) == 0)
            return s;
        i++;
    }
    return NULL;
}

void auth_session_end(struct auth *a, struct str cookie)
{
    pthread_mutex_lock(&a->lock);
    struct session *s = session_of(a, cookie);
    if (s)
        vec_swap_del(&a->sessions, (size_t)(s - a->sessions.v));
    pthread_mutex_unlock(&a->lock);
}

/* The value of cookie `name` in a Cookie header; empty when absent. */
static struct str cookie_value(struct str header, const char *name)
{
    struct str part, key, value;
    while (header.n) {
        str_cut(header, ';', &part, &header);
        if (str_cut(str_trim(part), '=', &key, &value) && str_eqz(key, name))
            return value;
    }
    return STR("");
}

static uint64_t cache_key(struct str name, struct str password)
{
    return hash_seeded(name.p, name.n) ^ hash_mix(hash_seeded(password.p, password.n) + 1);
}

static bool cached(struct auth *a, uint64_t key, enum http_role *ret)
{
    int64_t now = clock_now_ms(a->o.clock);
    bool found = false;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->cache.n && !found; i++) {
        if (a->cache.v[i].key == key && now - a->cache.v[i].at_ms < CACHE_MS) {
            *ret = a->cache.v[i].role;
            found = true;
        }
    }
    pthread_mutex_unlock(&a->lock);
    return found;
}

static void remember(struct auth *a, uint64_t key, enum http_role role)
{
    pthread_mutex_lock(&a->lock);
    if (a->cache.n == CACHE_MAX)
        vec_del(&a->cache, 0);
    vec_push(&a->cache, (struct verified){.key = key, .role = role, .at_ms = clock_now_ms(a->o.clock)});
    pthread_mutex_unlock(&a->lock);
}

static int identify_basic(struct auth *a, struct http_req *r, struct str encoded, bool may_block, struct http_identity *ret)
{
    char raw[1200];
    size_t n;
    if (!base64_decode(encoded, raw, sizeof(raw), &n))
        return -EACCES;
    struct str name, password;
    if (!str_cut(str_make(raw, n), ':', &name, &password))
        return -EACCES;
    uint64_t key = cache_key(name, password);
    if (!cached(a, key, &ret->role)) {
        if (blocked(a, http_peer_ip(r)))
            return -EBUSY;
        if (!may_block)
            return -EAGAIN;
        int e = verify(a, name, password, &ret->role);
        if (e < 0)
            return e;
        if (e == 0) {
            count_wrong(a, http_peer_ip(r), name);
            return -EACCES;
        }
        remember(a, key, ret->role);
    }
    ret->anonymous = false;
    copy(ret->name, sizeof(ret->name), name);
    return 0;
}

static int identify_token(struct auth *a, struct http_req *r, struct str token, struct http_identity *ret)
{
    char hash[HASH_HEX + 1];
    if (blocked(a, http_peer_ip(r)))
        return -EBUSY;
    hash_sha256_hex(token, hash);
    struct find f = {.token = true, .key = str_of(hash)};
    int e = db_read(a->o.db, find_tx, &f);
    if (e)
        return e;
    if (!f.found) {
        count_wrong(a, http_peer_ip(r), STR("token"));
        return -EACCES;
    }
    ret->anonymous = false;
    ret->role = f.role;
    copy(ret->name, sizeof(ret->name), str_of(f.name));
    return 0;
}

static bool from_loopback(struct str ip)
{
    return str_starts(ip, STR("127.")) || str_eq(ip, STR("::1")) || str_starts(ip, STR("::ffff:127.")) || str_starts(ip, STR("unix"));
}

int auth_identify(void *ctx, struct http_req *r, bool may_block, struct http_identity *ret)
{
    struct auth *a = ctx;
    *ret = (struct http_identity){.role = HTTP_ANYONE, .anonymous = true, .challenge = "Basic realm=\"hune\""};
    copy(ret->name, sizeof(ret->name), STR("anonymous"));
    struct str given = http_header(r, "Authorization"), scheme, rest;
    if (given.n) {
        str_cut(given, ' ', &scheme, &rest);
        rest = str_trim(rest);
        if (str_ieq(scheme, STR("Bearer")))
            return identify_token(a, r, rest, ret);
        return str_ieq(scheme, STR("Basic")) ? identify_basic(a, r, rest, may_block, ret) : -EACCES;
    }
    struct str cookie = cookie_value(http_header(r, "Cookie"), "hune_session");
    if (cookie.n) {
        pthread_mutex_lock(&a->lock);
        struct session *s = session_of(a, cookie);
        if (s) {
            s->used_ms = clock_now_ms(a->o.clock);
            ret->anonymous = false;
            ret->cookie = true;
            ret->role = s->role;
            memcpy(ret->name, s->name, sizeof(ret->name));
        }
        pthread_mutex_unlock(&a->lock);
        if (s)
            return 0; /* an expired cookie is nobody, not an error: the page shows its login */
    }
    if (from_loopback(http_peer_ip(r)) && !auth_has_credential(a))
        ret->role = HTTP_ADMIN;
    return 0;
}
