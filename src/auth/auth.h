// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Who may do what: users (argon2id), tokens (SHA-256 of 32 random bytes), sessions of the page, users of Prometheus'
 * web configuration file (bcrypt). Users and tokens live in the file DATA/users (doc/format/users.md), changed by `hune
 * user` and `hune token` from any process and read again by the server when it changes; sessions live in memory. */
#include "base/clock.h"
#include "base/metrics.h"
#include "model/event.h"
#include "net/server.h"

struct auth_options {
    const struct clock *clock;    /* NULL = real */
    const char *data_dir;         /* where `users` is; NULL = nobody but web's users (tests) */
    const struct web_config *web; /* may be NULL; its basic_auth_users are administrators. Copied */
    bool open;                    /* some listener is not loopback: an anonymous caller is nobody, always */
    bool secure_cookie;           /* the page is reached by https */
    struct journal *journal;      /* may be NULL; auth.login, auth.login_failed, auth.logout */
};

struct auth;
/* 0; -EINVAL with "file:line: reason" for a damaged file; -errno. */
MUST_USE int auth_open(const struct auth_options *o, struct auth **ret, struct err *e);
struct auth *auth_close(struct auth *a);
void auth_set_journal(struct auth *a, struct journal *j); /* start-up only */

/* A user, token or web user exists (then a non-loopback address may be listened on). */
bool auth_has_credential(struct auth *a);
bool auth_has_user(struct auth *a); /* someone could sign in with a password */

/* The http_identify_fn of the server; ctx is the struct auth *. Bearer tokens, Basic, the cookie hune_session, in this
 * order. Without any user on loopback, an anonymous caller is administrator (viewer when a proxy forwarded the
 * request). */
int auth_identify(void *auth, struct http_req *r, bool may_block, struct http_identity *ret);

#define AUTH_COOKIE_MAX 256
enum auth_error { AUTH_E_WRONG = 1, AUTH_E_LIMIT };
/* Check a password and open a session. Slow on purpose (tens of milliseconds): call it on a worker. ret_cookie is the
 * value of Set-Cookie. 0; AUTH_E_WRONG (unknown user and wrong password alike); AUTH_E_LIMIT: too many wrong tries from
 * this address. */
MUST_USE int auth_login(struct auth *a, struct http_req *r, struct str user, struct str password,
                        char ret_cookie[AUTH_COOKIE_MAX], struct http_identity *ret);
/* End the session of the request's cookie, if any. ret_cookie: the Set-Cookie that makes the browser forget it. */
void auth_logout(struct auth *a, struct http_req *r, char ret_cookie[AUTH_COOKIE_MAX]);

/* ---- the file of users and tokens, from any process ---- */

struct auth_entry {
    bool token; /* else a user */
    struct str name;
    enum http_role role;
    int64_t created_ms;
};
/* 0; -EINVAL (bad name or role, short password; the reason in *e); -EEXIST; -errno. */
MUST_USE int auth_user_add(const char *data_dir, struct str name, enum http_role role, struct str password,
                           struct err *e);
/* ret_token: the secret, shown once. */
#define AUTH_TOKEN_BYTES 64
MUST_USE int auth_token_add(const char *data_dir, struct str name, enum http_role role,
                            char ret_token[AUTH_TOKEN_BYTES], struct err *e);
MUST_USE int auth_delete(const char *data_dir, bool token, struct str name, struct err *e); /* -ENOENT when absent */
MUST_USE int auth_list(const char *data_dir, struct arena *a, struct auth_entry **ret, size_t *ret_n, struct err *e);
bool auth_role_parse(struct str s, enum http_role *ret); /* viewer, operator, administrator (admin) */

/* `hune user ...` and `hune token ...`: argv[0] is the verb; --data.dir or data_dir. Exit code 0, 1, 2. Passwords come
 * from the terminal, or from standard input when that is no terminal, never from the command line. */
int auth_cli_user(int argc, char **argv, const char *data_dir, bool french);
int auth_cli_token(int argc, char **argv, const char *data_dir, bool french);

void auth_collect(void *auth, struct metrics_out *out); /* hune_auth_* */
