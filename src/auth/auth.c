// SPDX-License-Identifier: Apache-2.0
/* Who is asking. One lock guards the rows (replaced when the file changes), sessions, checked passwords and wrong
 * tries; it is held for look-ups only, never while a password is hashed. */
#include "auth/auth_int.h"

#include "base/log.h"
#include "base/rand.h"
#include "sys/fs.h"

#include <pthread.h>
#include <sys/stat.h>

#define SESSIONS_MAX 4096
#define SESSION_IDLE_MS (7ll * 86400 * 1000)
#define SESSION_LIFE_MS (30ll * 86400 * 1000)
#define CHECKED_MAX 256 /* passwords found right lately, so that Basic costs one hash in 5 minutes */
#define CHECKED_MS (5 * 60000ll)
#define TRIES_MAX 4096
#define TRIES_LIMIT 10 /* wrong passwords from one address within the window */
#define TRIES_WINDOW_MS (5 * 60000ll)
#define COOKIE_NAME "hune_session"

enum { M_LOGINS, M_LOGIN_FAILURES, M_LIMITED, M_BAD_TOKENS, M_COUNT };

struct session {
    uint8_t key[SHA256_BYTES];
    char name[64];
    int64_t created_ms, used_ms;
};

struct checked {
    uint8_t key[SHA256_BYTES]; /* SHA-256 of a process secret, user and password */
    char name[64];
    enum http_role role;
    int64_t until_ms;
};

struct tries {
    char from[64];
    unsigned wrong;
    int64_t since_ms;
};

struct web_user {
    char *name, *hash;
};

struct auth {
    const struct clock *clock;
    char *data_dir;
    bool open, secure_cookie;
    struct journal *journal;
    VEC(struct web_user) web;
    uint8_t pepper[32];

    pthread_mutex_t lock;
    struct auth_rows rows;
    struct stat seen; /* of the file the rows came from */
    VEC(struct session) sessions;
    VEC(struct checked) checked;
    VEC(struct tries) tries;
    struct metric counts[M_COUNT];
};

static int64_t now_of(const struct auth *a)
{
    return clock_now_ms(a->clock);
}

/* ---- the rows ---- */

/* With the lock held: read the file again when it changed (a stat a request, so that a new token works at once). A
 * damaged one leaves the old rows. */
static void refresh(struct auth *a)
{
    if (!a->data_dir)
        return;
    _cleanup_free_ char *path = fs_join(a->data_dir, "users");
    struct stat st = {0};
    if (stat(path, &st) < 0)
        st = (struct stat){0};
    if (st.st_mtim.tv_sec == a->seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == a->seen.st_mtim.tv_nsec &&
        st.st_ino == a->seen.st_ino && st.st_size == a->seen.st_size)
        return;
    struct auth_rows rows;
    struct err e = {0};
    if (auth_rows_load(a->data_dir, &rows, &e) < 0) {
        log_debug("users not read again", KV_Z("err", e.msg));
        return;
    }
    vec_done(&a->rows.v);
    a->rows = rows;
    a->seen = st;
    vec_reset(&a->checked);
}

static const struct auth_row *find_user(const struct auth *a, struct str name)
{
    for (size_t i = 0; i < a->rows.v.n; i++)
        if (!a->rows.v.v[i].token && str_eqz(name, a->rows.v.v[i].name))
            return &a->rows.v.v[i];
    return NULL;
}

static const struct web_user *find_web(const struct auth *a, struct str name)
{
    for (size_t i = 0; i < a->web.n; i++)
        if (str_eqz(name, a->web.v[i].name))
            return &a->web.v[i];
    return NULL;
}

static bool has_user(const struct auth *a)
{
    for (size_t i = 0; i < a->rows.v.n; i++)
        if (!a->rows.v.v[i].token)
            return true;
    return a->web.n > 0;
}

bool auth_has_user(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    refresh(a);
    bool yes = has_user(a);
    pthread_mutex_unlock(&a->lock);
    return yes;
}

bool auth_has_credential(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    refresh(a);
    bool yes = a->rows.v.n > 0 || a->web.n > 0;
    pthread_mutex_unlock(&a->lock);
    return yes;
}

/* ---- wrong tries ---- */

/* The address a person sits at: a proxy on this machine adds it as the last of X-Forwarded-For. */
static struct str origin_of(const struct http_req *r)
{
    struct str ip = http_peer_ip(r), fwd = http_header(r, "x-forwarded-for");
    bool local = str_starts(ip, STR("127.")) || str_eqz(ip, "[::1]") || str_eqz(ip, "unix");
    if (!local || str_empty(fwd))
        return ip;
    ptrdiff_t comma = str_rchr(fwd, ',');
    fwd = str_trim(str_sub(fwd, (size_t)(comma + 1), fwd.n));
    return fwd.n && fwd.n < 64 ? fwd : ip;
}

static struct tries *tries_of(struct auth *a, struct str from)
{
    for (size_t i = 0; i < a->tries.n; i++)
        if (str_eqz(from, a->tries.v[i].from))
            return &a->tries.v[i];
    return NULL;
}

static bool limited(struct auth *a, struct str from)
{
    const struct tries *t = tries_of(a, from);
    return t && t->wrong >= TRIES_LIMIT && now_of(a) - t->since_ms < TRIES_WINDOW_MS;
}

static void count_try(struct auth *a, struct str from, bool right)
{
    int64_t now = now_of(a);
    struct tries *t = tries_of(a, from);
    if (right) {
        if (t)
            t->wrong = 0;
        return;
    }
    if (!t) {
        if (a->tries.n >= TRIES_MAX) { /* the one quiet for longest makes room */
            size_t oldest = 0;
            for (size_t i = 1; i < a->tries.n; i++)
                if (a->tries.v[i].since_ms < a->tries.v[oldest].since_ms)
                    oldest = i;
            vec_swap_del(&a->tries, oldest);
        }
        vec_push(&a->tries, (struct tries){.since_ms = now});
        t = &a->tries.v[a->tries.n - 1];
        (void)snprintf(t->from, sizeof(t->from), STR_FMT, STR_ARG(from));
    }
    if (now - t->since_ms >= TRIES_WINDOW_MS || t->wrong == 0) {
        t->since_ms = now;
        t->wrong = 0;
    }
    t->wrong++;
}

/* ---- passwords ---- */

static void checked_key(const struct auth *a, struct str user, struct str password, uint8_t key[SHA256_BYTES])
{
    struct buf b = BUF_INIT(8192);
    buf_put(&b, a->pepper, sizeof(a->pepper));
    buf_u64(&b, user.n);
    buf_putc(&b, ':');
    buf_str(&b, user);
    buf_str(&b, password);
    auth_sha256(buf_view(&b), key);
    if (b.p)
        explicit_bzero(b.p, b.n);
    buf_done(&b);
}

/* 0 with *ret; -EAGAIN: may not hash now; -EACCES; -EBUSY. */
static int check_password(struct auth *a, struct str from, struct str user, struct str password, bool may_block,
                          struct http_identity *ret)
{
    uint8_t key[SHA256_BYTES];
    if (user.n > 256 || password.n > 4096)
        return -EACCES;
    checked_key(a, user, password, key);
    char hash[PASSWORD_HASH_MAX] = "", web_hash[PASSWORD_HASH_MAX] = "";
    enum http_role role = HTTP_ADMIN;
    int r = -EAGAIN;
    pthread_mutex_lock(&a->lock);
    refresh(a);
    int64_t now = now_of(a);
    for (size_t i = a->checked.n; i-- > 0;) {
        const struct checked *c = &a->checked.v[i];
        if (c->until_ms < now) {
            vec_swap_del(&a->checked, i);
        } else if (auth_equal(c->key, key, sizeof(key))) {
            *ret = (struct http_identity){.role = c->role};
            memcpy(ret->name, c->name, sizeof(ret->name));
            r = 0;
            break;
        }
    }
    if (r == -EAGAIN && limited(a, from)) {
        metric_add(&a->counts[M_LIMITED], 1);
        r = -EBUSY;
    }
    const struct auth_row *row = find_user(a, user);
    const struct web_user *web = find_web(a, user);
    if (row) {
        memcpy(hash, row->secret, sizeof(hash));
        role = row->role;
    } else if (web) {
        (void)snprintf(web_hash, sizeof(web_hash), "%s", web->hash);
    }
    pthread_mutex_unlock(&a->lock);
    if (r != -EAGAIN || !may_block)
        return r;
    bool right = false;
    if (web_hash[0])
        right = auth_bcrypt_ok(web_hash, password);
    else if (hash[0])
        right = auth_password_ok(hash, password);
    else {
        int burnt = auth_password_hash(password, hash); /* an unknown user takes as long as a known one */
        (void)burnt;
    }
    pthread_mutex_lock(&a->lock);
    count_try(a, from, right);
    metric_add(&a->counts[right ? M_LOGINS : M_LOGIN_FAILURES], 1);
    if (right) {
        *ret = (struct http_identity){.role = role};
        memcpy(ret->name, user.p, MIN(user.n, sizeof(ret->name) - 1));
        if (a->checked.n >= CHECKED_MAX)
            vec_swap_del(&a->checked, 0);
        struct checked c = {.role = role, .until_ms = now_of(a) + CHECKED_MS};
        memcpy(c.key, key, sizeof(key));
        memcpy(c.name, ret->name, sizeof(c.name));
        vec_push(&a->checked, c);
    }
    pthread_mutex_unlock(&a->lock);
    return right ? 0 : -EACCES;
}

/* ---- tokens and sessions ---- */

static int check_token(struct auth *a, struct str token, struct http_identity *ret)
{
    uint8_t sum[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    auth_sha256(token, sum);
    auth_hex(sum, sizeof(sum), hex);
    int r = -EACCES;
    pthread_mutex_lock(&a->lock);
    refresh(a);
    for (size_t i = 0; i < a->rows.v.n; i++) {
        const struct auth_row *row = &a->rows.v.v[i];
        if (row->token && auth_equal(row->secret, hex, sizeof(hex) - 1)) {
            *ret = (struct http_identity){.role = row->role};
            (void)snprintf(ret->name, sizeof(ret->name), "%s", row->name);
            r = 0;
        }
    }
    if (r < 0)
        metric_add(&a->counts[M_BAD_TOKENS], 1);
    pthread_mutex_unlock(&a->lock);
    return r;
}

static struct str cookie_of(const struct http_req *r)
{
    struct str rest = http_header(r, "cookie"), item, name, value;
    for (bool more = rest.n > 0; more;) {
        more = str_cut(rest, ';', &item, &rest);
        if (str_cut(str_trim(item), '=', &name, &value) && str_eqz(name, COOKIE_NAME))
            return str_trim(value);
    }
    return STR("");
}

/* With the lock held. */
static struct session *find_session(struct auth *a, struct str secret)
{
    uint8_t key[SHA256_BYTES];
    auth_sha256(secret, key);
    int64_t now = now_of(a);
    for (size_t i = 0; i < a->sessions.n; i++) {
        struct session *s = &a->sessions.v[i];
        if (!auth_equal(s->key, key, sizeof(key)))
            continue;
        if (now - s->used_ms > SESSION_IDLE_MS || now - s->created_ms > SESSION_LIFE_MS)
            return NULL;
        return s;
    }
    return NULL;
}

static int check_cookie(struct auth *a, struct str secret, struct http_identity *ret)
{
    int r = -EACCES;
    pthread_mutex_lock(&a->lock);
    refresh(a);
    struct session *s = find_session(a, secret);
    const struct auth_row *row = s ? find_user(a, str_of(s->name)) : NULL; /* the role of now, and gone with the user */
    const struct web_user *web = s && !row ? find_web(a, str_of(s->name)) : NULL;
    if (row || web) {
        s->used_ms = now_of(a);
        *ret = (struct http_identity){.role = row ? row->role : HTTP_ADMIN, .cookie = true};
        memcpy(ret->name, s->name, sizeof(ret->name));
        r = 0;
    }
    pthread_mutex_unlock(&a->lock);
    return r;
}

static void anonymous(struct auth *a, const struct http_req *r, struct http_identity *ret)
{
    *ret = (struct http_identity){.role = HTTP_ANYONE, .anonymous = true, .name = "anonymous"};
    struct str ip = http_peer_ip(r);
    bool local = str_starts(ip, STR("127.")) || str_eqz(ip, "[::1]") || str_eqz(ip, "unix");
    if (a->open || !local || has_user(a))
        return;
    bool forwarded = !str_empty(http_header(r, "x-forwarded-for")) || !str_empty(http_header(r, "forwarded")) ||
                     !str_empty(http_header(r, "x-real-ip"));
    ret->role = forwarded ? HTTP_VIEWER : HTTP_ADMIN;
}

int auth_identify(void *auth, struct http_req *r, bool may_block, struct http_identity *ret)
{
    struct auth *a = auth;
    struct str header = http_header(r, "authorization"), scheme, rest;
    struct str cookie = cookie_of(r);
    int result;
    if (!str_empty(header)) {
        (void)str_cut(header, ' ', &scheme, &rest);
        rest = str_trim(rest);
        if (str_ieq(scheme, STR("bearer"))) {
            result = check_token(a, rest, ret);
        } else if (str_ieq(scheme, STR("basic"))) {
            struct buf pair = BUF_INIT(8192);
            struct str user, password;
            if (auth_base64(rest, &pair) && str_cut(buf_view(&pair), ':', &user, &password)) {
                result = check_password(a, origin_of(r), user, password, may_block, ret);
                if (result == -EACCES && str_starts(password, STR("hune_"))) /* clients that only speak Basic */
                    result = check_token(a, password, ret);
            } else {
                result = -EACCES;
            }
            if (pair.p)
                explicit_bzero(pair.p, pair.cap);
            buf_done(&pair);
        } else {
            result = -EACCES;
        }
    } else if (!str_empty(cookie)) {
        result = check_cookie(a, cookie, ret);
    } else {
        pthread_mutex_lock(&a->lock);
        refresh(a);
        anonymous(a, r, ret);
        pthread_mutex_unlock(&a->lock);
        result = 0;
    }
    /* Browsers show their own password window only where Prometheus would: with users of the web configuration file. */
    ret->challenge = a->web.n ? "Basic realm=\"hune\", charset=\"UTF-8\"" : "Bearer realm=\"hune\"";
    return result;
}

static void tell(struct auth *a, const struct http_req *r, const char *kind, enum severity sev, struct str user,
                 const char *what)
{
    if (!a->journal)
        return;
    struct buf b = BUF_INIT(512);
    buf_fmt(&b, STR_FMT " %s from " STR_FMT, STR_ARG(user), what, STR_ARG(origin_of(r)));
    struct event e = {.kind = str_of(kind),
                      .severity = sev,
                      .service = STR("hune"),
                      .subject = user,
                      .actor = user,
                      .summary = buf_view(&b)};
    a->journal->post(a->journal, &e);
    buf_done(&b);
}

int auth_login(struct auth *a, struct http_req *r, struct str user, struct str password,
               char ret_cookie[AUTH_COOKIE_MAX], struct http_identity *ret)
{
    struct http_identity who;
    int c = check_password(a, origin_of(r), user, password, true, &who);
    if (c == -EBUSY)
        return AUTH_E_LIMIT;
    if (c < 0) {
        /* what was typed as a name may be a password: only names we know are written down */
        pthread_mutex_lock(&a->lock);
        bool known = find_user(a, user) || find_web(a, user);
        pthread_mutex_unlock(&a->lock);
        tell(a, r, "auth.login_failed", SEV_WARNING, known ? user : STR("unknown"), "failed to sign in");
        return AUTH_E_WRONG;
    }
    char secret[SECRET_TEXT];
    auth_secret(secret);
    struct session s = {.created_ms = now_of(a), .used_ms = now_of(a)};
    auth_sha256(str_of(secret), s.key);
    memcpy(s.name, who.name, sizeof(s.name));
    pthread_mutex_lock(&a->lock);
    if (a->sessions.n >= SESSIONS_MAX) {
        size_t oldest = 0;
        for (size_t i = 1; i < a->sessions.n; i++)
            if (a->sessions.v[i].used_ms < a->sessions.v[oldest].used_ms)
                oldest = i;
        vec_swap_del(&a->sessions, oldest);
    }
    vec_push(&a->sessions, s);
    pthread_mutex_unlock(&a->lock);
    (void)snprintf(ret_cookie, AUTH_COOKIE_MAX, COOKIE_NAME "=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
                   secret, SESSION_IDLE_MS / 1000, a->secure_cookie ? "; Secure" : "");
    explicit_bzero(secret, sizeof(secret));
    who.cookie = true;
    *ret = who;
    tell(a, r, "auth.login", SEV_INFO, user, "signed in");
    return 0;
}

void auth_logout(struct auth *a, struct http_req *r, char ret_cookie[AUTH_COOKIE_MAX])
{
    struct str secret = cookie_of(r);
    char name[64] = "";
    pthread_mutex_lock(&a->lock);
    struct session *s = secret.n ? find_session(a, secret) : NULL;
    if (s) {
        memcpy(name, s->name, sizeof(name));
        vec_swap_del(&a->sessions, (size_t)(s - a->sessions.v));
    }
    pthread_mutex_unlock(&a->lock);
    if (name[0])
        tell(a, r, "auth.logout", SEV_INFO, str_of(name), "signed out");
    (void)snprintf(ret_cookie, AUTH_COOKIE_MAX, COOKIE_NAME "=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict%s",
                   a->secure_cookie ? "; Secure" : "");
}

/* ---- life ---- */

int auth_open(const struct auth_options *o, struct auth **ret, struct err *e)
{
    struct auth *a = NEW(struct auth);
    a->clock = o->clock ? o->clock : &clock_real;
    a->data_dir = o->data_dir ? xstrdup(o->data_dir) : NULL;
    a->open = o->open;
    a->secure_cookie = o->secure_cookie;
    a->journal = o->journal;
    pthread_mutex_init(&a->lock, NULL);
    rand_secure(a->pepper, sizeof(a->pepper));
    static const struct metric table[M_COUNT] = {
        [M_LOGINS] = {.name = "hune_auth_passwords_right_total",
                      .help = "Passwords found right.",
                      .type = METRIC_COUNTER},
        [M_LOGIN_FAILURES] = {.name = "hune_auth_passwords_wrong_total",
                              .help = "Passwords found wrong.",
                              .type = METRIC_COUNTER},
        [M_LIMITED] = {.name = "hune_auth_limited_total",
                       .help = "Passwords not looked at because the address had tried too often.",
                       .type = METRIC_COUNTER},
        [M_BAD_TOKENS] = {.name = "hune_auth_tokens_wrong_total", .help = "Unknown tokens.", .type = METRIC_COUNTER},
    };
    for (size_t i = 0; i < M_COUNT; i++) {
        a->counts[i].name = table[i].name;
        a->counts[i].help = table[i].help;
        a->counts[i].type = table[i].type;
    }
    for (size_t i = 0; o->web && i < o->web->basic_auth_users.n; i++) {
        struct web_user u = {.name = str_dupz(o->web->basic_auth_users.v[i].key),
                             .hash = str_dupz(o->web->basic_auth_users.v[i].value)};
        vec_push(&a->web, u);
    }
    int r = a->data_dir ? auth_rows_load(a->data_dir, &a->rows, e) : 0;
    if (r < 0) {
        auth_close(a);
        return r;
    }
    *ret = a;
    return 0;
}

struct auth *auth_close(struct auth *a)
{
    if (!a)
        return NULL;
    for (size_t i = 0; i < a->web.n; i++) {
        free(a->web.v[i].name);
        free(a->web.v[i].hash);
    }
    vec_done(&a->web);
    vec_done(&a->rows.v);
    vec_done(&a->sessions);
    vec_done(&a->checked);
    vec_done(&a->tries);
    pthread_mutex_destroy(&a->lock);
    free(a->data_dir);
    free(a);
    return NULL;
}

void auth_set_journal(struct auth *a, struct journal *j)
{
    a->journal = j;
}

void auth_collect(void *auth, struct metrics_out *out)
{
    struct auth *a = auth;
    for (size_t i = 0; i < M_COUNT; i++) {
        out->family(out, str_of(a->counts[i].name), str_of(a->counts[i].help), a->counts[i].type);
        out->sample(out, STR(""), NULL, 0, (double)metric_get(&a->counts[i]));
    }
    pthread_mutex_lock(&a->lock);
    double sessions = (double)a->sessions.n;
    pthread_mutex_unlock(&a->lock);
    out->family(out, STR("hune_auth_sessions"), STR("Sessions of the page, ended ones aside."), METRIC_GAUGE);
    out->sample(out, STR(""), NULL, 0, sessions);
}
