// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Who may do what: users (argon2id), tokens (256 random bits, kept as SHA-256), sessions (cookie hune_session, memory only)
 * and the users of Prometheus' web configuration file (bcrypt). Roles: viewer < operator < administrator. While nobody
 * has a credential, callers from loopback are anonymous administrators (routes may still refuse anonymous ones). */
#include "base/arena.h"
#include "base/clock.h"
#include "db/db.h"
#include "net/server.h"

enum auth_error { AUTH_E_EXISTS = 1, AUTH_E_NOT_FOUND, AUTH_E_INVALID, AUTH_E_WRONG, AUTH_E_BUSY };

struct auth;
struct auth_options {
    const struct clock *clock;
    struct db *db;
    struct journal *journal;      /* auth.login, auth.refused, auth.user_added ...; may be NULL */
    const struct web_config *web; /* its basic_auth_users are administrators; may be NULL; borrowed */
};
/* Migrates its tables. 0; -errno or -EINVAL with the reason. */
MUST_USE int auth_open(const struct auth_options *o, struct auth **ret, struct err *e);
struct auth *auth_close(struct auth *a);

/* Is there any user, token or web user? Then anonymous callers have no role. Any thread. */
bool auth_has_credential(struct auth *a);

/* An http_identify_fn; ctx is the struct auth. */
int auth_identify(void *ctx, struct http_req *r, bool may_block, struct http_identity *ret);

/* Check a name and password for the login form. 0 with the role; AUTH_E_WRONG; AUTH_E_BUSY: too many wrong tries from this
 * peer within AUTH_WINDOW. Slow on purpose: from a worker only. */
MUST_USE int auth_login(struct auth *a, struct str peer_ip, struct str name, struct str password, enum http_role *ret);
/* A new session of a user; ret gets the cookie's value. 12 h, or 30 min without use. */
void auth_session_new(struct auth *a, struct str name, enum http_role role, char ret[65]);
void auth_session_end(struct auth *a, struct str cookie);

/* Administration. AUTH_E_*: the reason in *e. Durable when 0. */
MUST_USE int auth_user_add(struct auth *a, struct str name, struct str password, enum http_role role, struct err *e);
MUST_USE int auth_user_delete(struct auth *a, struct str name, struct err *e);
MUST_USE int auth_token_add(struct auth *a, struct str name, enum http_role role, char ret_token[80], struct err *e);
MUST_USE int auth_token_delete(struct auth *a, struct str name, struct err *e);
struct auth_entry {
    bool token;
    struct str name;
    enum http_role role;
    int64_t created_ms, used_ms; /* used 0 = never */
};
MUST_USE int auth_list(struct auth *a, struct arena *arena, struct auth_entry **ret, size_t *ret_n);
bool auth_role_parse(struct str s, enum http_role *ret); /* "viewer", "operator", "administrator" ("admin") */

#define AUTH_WINDOW_MS 300000
#define AUTH_WRONG_MAX 10
#define AUTH_PASSWORD_MIN 10
