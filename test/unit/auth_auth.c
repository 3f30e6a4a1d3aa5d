// SPDX-License-Identifier: Apache-2.0
/* Users, tokens, sessions and wrong tries, through a real server on loopback. */
#include "test.h"

#include "../../src/auth/auth_int.h"
#include "base/mem.h"
#include "net/client.h"
#include "sys/fs.h"

#include <signal.h>

static const char *dir;
static struct clock_fake fake;
static struct auth *auth;
static struct http_server *server;

static void who(struct http_req *r, void *ctx)
{
    (void)ctx;
    const struct http_identity *i = http_identity(r);
    buf_fmt(http_out(r), "%s/%s%s", i->name, http_role_names[i->role], i->cookie ? "/cookie" : "");
    http_reply(r, 200, "text/plain");
}

static void sign_in(struct http_req *r, void *ctx)
{
    char cookie[AUTH_COOKIE_MAX];
    struct http_identity id;
    int e = auth_login(ctx, r, http_header(r, "x-user"), http_header(r, "x-password"), cookie, &id);
    if (e == 0)
        http_set_header(r, "Set-Cookie", str_of(cookie));
    http_reply(r, e == 0 ? 200 : e == AUTH_E_LIMIT ? 429 : 401, "text/plain");
}

static void login(struct http_req *r, void *ctx)
{
    http_later(r, sign_in, ctx);
}

static void logout(struct http_req *r, void *ctx)
{
    char cookie[AUTH_COOKIE_MAX];
    auth_logout(ctx, r, cookie);
    http_set_header(r, "Set-Cookie", str_of(cookie));
    http_reply(r, 200, "text/plain");
}

static const struct http_route rows[] = {
    {HTTP_GET, "/who", HTTP_VIEWER, 0, who, "x"},
    {HTTP_GET, "/me", HTTP_ANYONE, 0, who, "x"},
    {HTTP_POST, "/login", HTTP_ANYONE, HTTP_ANY_TYPE, login, "x"},
    {HTTP_POST, "/logout", HTTP_ANYONE, HTTP_ANY_TYPE, logout, "x"},
};

static void open_with(struct auth_options o)
{
    struct err e = {0};
    o.clock = &fake.clock;
    o.data_dir = dir;
    if (auth_open(&o, &auth, &e) < 0)
        fail_msg("%s", e.msg);
    struct str listen = STR("127.0.0.1:0");
    server = http_server_new(&(struct http_server_options){
        .listen = &listen, .n_listen = 1, .identify = auth_identify, .identify_ctx = auth});
    http_server_routes(server, rows, ARRAY_LEN(rows), auth);
    assert_int_equal(http_server_start(server, &e), 0);
}

static int setup(void **state)
{
    (void)state;
    dir = test_dir();
    clock_fake_init(&fake, 1700000000000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server = http_server_free(server);
    auth = auth_close(auth);
    return 0;
}

struct got {
    long status;
    char body[256], cookie[256];
};

static void done(void *ctx, const struct http_response *r)
{
    struct got *g = ctx;
    if (r->error)
        fail_msg("%s", r->err.msg);
    g->status = r->status;
    (void)snprintf(g->body, sizeof(g->body), STR_FMT, STR_ARG(r->body));
    struct str rest = r->headers, line, name, value;
    while (str_line(&rest, &line))
        if (str_cut(line, ':', &name, &value) && str_ieq(name, STR("set-cookie"))) {
            value = str_trim(value);
            (void)snprintf(g->cookie, sizeof(g->cookie), STR_FMT, STR_ARG(value));
        }
}

static struct got ask(const char *method, const char *path, struct http_config *c, const struct http_header *h,
                      size_t n)
{
    struct got g = {0};
    struct http_multi *m = http_multi_new(1);
    _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u%s", http_server_port(server, 0), path);
    struct err e = {0};
    struct http_request q = {.method = method,
                             .url = str_of(url),
                             .config = c,
                             .headers = h,
                             .n_headers = n,
                             .timeout_ms = 20000,
                             .keep_headers = true};
    assert_int_equal(http_multi_start(m, &q, done, &g, NULL, &e), 0);
    while (http_multi_poll(m, 1000))
        ;
    http_multi_free(m);
    return g;
}

static struct got basic(const char *user, const char *password)
{
    struct http_config c = {.basic_auth = {.present = true, .username = str_of(user), .password = str_of(password)}};
    return ask("GET", "/who", &c, NULL, 0);
}

static struct got bearer(const char *token)
{
    struct http_config c = {.authorization = {.present = true, .type = STR("Bearer"), .credentials = str_of(token)}};
    return ask("GET", "/who", &c, NULL, 0);
}

static struct got enter(const char *user, const char *password)
{
    struct http_header h[] = {{.name = STR("X-User"), .value = str_of(user)},
                              {.name = STR("X-Password"), .value = str_of(password)}};
    return ask("POST", "/login", NULL, h, 2);
}

static void test_anonymous(void **state)
{
    (void)state;
    open_with((struct auth_options){0});
    struct got g = ask("GET", "/who", NULL, NULL, 0);
    assert_string_equal(g.body, "anonymous/administrator");
    struct http_header fwd = {.name = STR("X-Forwarded-For"), .value = STR("203.0.113.7")};
    assert_string_equal(ask("GET", "/who", NULL, &fwd, 1).body, "anonymous/viewer");
    assert_false(auth_has_credential(auth));
    struct err e = {0};
    assert_int_equal(auth_user_add(dir, STR("anna"), HTTP_OPERATOR, STR("correct horse"), &e), 0);
    clock_fake_advance(&fake, 1500); /* the running server sees it */
    assert_int_equal(ask("GET", "/who", NULL, NULL, 0).status, 401);
    assert_string_equal(ask("GET", "/me", NULL, NULL, 0).body, "anonymous/none");
    assert_string_equal(basic("anna", "correct horse").body, "anna/operator");
    assert_true(auth_has_user(auth));
}

static void test_open_listener(void **state)
{
    (void)state;
    open_with((struct auth_options){.open = true});
    assert_int_equal(ask("GET", "/who", NULL, NULL, 0).status, 401);
}

static void test_tokens(void **state)
{
    (void)state;
    char token[AUTH_TOKEN_BYTES];
    struct err e = {0};
    assert_int_equal(auth_token_add(dir, STR("ci"), HTTP_VIEWER, token, &e), 0);
    assert_int_equal(auth_token_add(dir, STR("ci"), HTTP_VIEWER, token, &e), -EEXIST);
    open_with((struct auth_options){.open = true});
    assert_string_equal(bearer(token).body, "ci/viewer");
    assert_string_equal(basic("x", token).body, "ci/viewer");
    assert_int_equal(bearer("hune_nonsense").status, 401);
    _cleanup_free_ char *path = fs_join(dir, "users");
    struct buf text = BUF_INIT(65536);
    assert_int_equal(fs_read_file(path, &text), 0);
    assert_true(str_find(buf_view(&text), str_of(token)) < 0); /* only its hash is kept */
    buf_done(&text);
    assert_int_equal(auth_delete(dir, true, STR("ci"), &e), 0);
    clock_fake_advance(&fake, 1500);
    assert_int_equal(bearer(token).status, 401);
    assert_int_equal(auth_delete(dir, true, STR("ci"), &e), -ENOENT);
}

static void test_session(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(auth_user_add(dir, STR("anna"), HTTP_OPERATOR, STR("correct horse"), &e), 0);
    open_with((struct auth_options){0});
    struct got g = enter("anna", "correct horse"), g2 = enter("anna", "correct horse");
    assert_int_equal(g.status, 200);
    assert_non_null(strstr(g.cookie, "HttpOnly"));
    assert_non_null(strstr(g.cookie, "SameSite=Strict"));
    assert_string_not_equal(g.cookie, g2.cookie);
    *strchr(g.cookie, ';') = 0;
    struct http_header h = {.name = STR("Cookie"), .value = STR("")};
    _cleanup_free_ char *cookies = xasprintf("a=b; %s; c=d", g.cookie);
    h.value = str_of(cookies);
    assert_string_equal(ask("GET", "/who", NULL, &h, 1).body, "anna/operator/cookie");
    struct http_header bad = {.name = STR("Cookie"), .value = STR("hune_session=junk")};
    assert_int_equal(ask("GET", "/who", NULL, &bad, 1).status, 401);
    assert_string_equal(ask("GET", "/me", NULL, &bad, 1).body, "anonymous/none");
    struct http_header out[] = {h, {.name = STR("Origin"), .value = STR("http://127.0.0.1")}};
    _cleanup_free_ char *origin = xasprintf("http://127.0.0.1:%u", http_server_port(server, 0));
    out[1].value = str_of(origin);
    assert_int_equal(ask("POST", "/logout", NULL, out, 2).status, 200);
    assert_int_equal(ask("GET", "/who", NULL, &h, 1).status, 401);
    *strchr(g2.cookie, ';') = 0;
    h.value = str_of(g2.cookie);
    assert_int_equal(ask("GET", "/who", NULL, &h, 1).status, 200);
    clock_fake_advance(&fake, 8ll * 86400 * 1000); /* idle for more than a week */
    assert_int_equal(ask("GET", "/who", NULL, &h, 1).status, 401);
    g = enter("anna", "correct horse");
    *strchr(g.cookie, ';') = 0;
    h.value = str_of(g.cookie);
    assert_int_equal(ask("GET", "/who", NULL, &h, 1).status, 200);
    assert_int_equal(auth_delete(dir, false, STR("anna"), &e), 0);
    assert_int_equal(auth_user_add(dir, STR("other"), HTTP_VIEWER, STR("whatever it is"), &e), 0);
    clock_fake_advance(&fake, 1500);
    assert_int_equal(ask("GET", "/who", NULL, &h, 1).status, 401); /* gone with the user */
}

static void test_wrong_tries(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(auth_user_add(dir, STR("anna"), HTTP_OPERATOR, STR("correct horse"), &e), 0);
    open_with((struct auth_options){0});
    assert_int_equal(enter("anna", "correct horse").status, 200);
    struct got a = enter("anna", "wrong"), b = enter("nobody", "wrong");
    assert_int_equal(a.status, 401);
    assert_int_equal(b.status, 401);
    int limited = 0;
    for (int i = 0; i < 20 && !limited; i++)
        limited = enter("anna", "wrong").status == 429 ? i + 3 : 0;
    assert_int_equal(limited, 11);
    assert_int_equal(basic("anna", "also wrong").status, 429);
    assert_string_equal(basic("anna", "correct horse").body, "anna/operator"); /* found right a moment ago */
    clock_fake_advance(&fake, 6 * 60000);
    assert_int_equal(enter("anna", "correct horse").status, 200);
}

static void test_web_users(void **state)
{
    (void)state;
    /* bcrypt of "U*U", from the test vectors of OpenBSD and crypt_blowfish */
    struct config_pair pair = {.key = STR("web"),
                               .value = STR("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")};
    struct web_config w = {.basic_auth_users = {.v = &pair, .n = 1}};
    open_with((struct auth_options){.web = &w});
    assert_string_equal(basic("web", "U*U").body, "web/administrator");
    assert_int_equal(basic("web", "U*V").status, 401);
    assert_int_equal(ask("GET", "/who", NULL, NULL, 0).status, 401);
}

static void test_bad_input(void **state)
{
    (void)state;
    struct err e = {0};
    char token[AUTH_TOKEN_BYTES];
    assert_int_equal(auth_user_add(dir, STR("a b"), HTTP_VIEWER, STR("long enough"), &e), -EINVAL);
    assert_int_equal(auth_user_add(dir, STR("../x"), HTTP_VIEWER, STR("long enough"), &e), -EINVAL);
    assert_int_equal(auth_user_add(dir, STR("anna"), HTTP_VIEWER, STR("short"), &e), -EINVAL);
    assert_int_equal(auth_token_add(dir, STR("x"), HTTP_ANYONE, token, &e), -EINVAL);
    static const char *const bad[] = {"",
                                      "hune-users 2\n",
                                      "hune-users 1\nuser anna viewer 1\n",
                                      "hune-users 1\nuser anna king 1 $argon2id$x\n",
                                      "hune-users 1\ntoken a viewer 1 abc\n",
                                      "hune-users 1\nuser a viewer 1 plain\n",
                                      "hune-users 1\nuser a viewer 1 $argon2id$x y\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct auth_rows r = {0};
        err_clear(&e);
        assert_int_equal(auth_rows_parse(str_of(bad[i]), "users", &r, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "users:"));
    }
    struct buf out = BUF_INIT(64);
    assert_true(auth_base64(STR("YTpiYw=="), &out));
    assert_str(buf_view(&out), "a:bc");
    assert_false(auth_base64(STR("YTp="), &out) && auth_base64(STR("Y"), &out));
    assert_false(auth_base64(STR("Y!=="), &out));
    buf_done(&out);
    clock_fake_init(&fake, 1);
    open_with((struct auth_options){0});
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_anonymous),   T(test_open_listener), T(test_tokens),    T(test_session),
        T(test_wrong_tries), T(test_web_users),     T(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
