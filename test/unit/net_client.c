// SPDX-License-Identifier: Apache-2.0
/* The HTTP and mail client against a real peer (net_peer.py). */
#include "test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "codec/json.h"
#include "net/client.h"
#include "net/resolve_int.h"
#include "sys/fs.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t http_port, https_port, smtp_port;
static char cert[512];
static pid_t peer;
static int peer_in;

static int start_peer(void **state)
{
    (void)state;
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    _cleanup_free_ char *script = xasprintf("%s/test/unit/net_peer.py", test_source_dir());
    peer = fork();
    if (peer == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl("/usr/bin/python3", "python3", script, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    peer_in = in[1];
    FILE *f = fdopen(out[0], "r");
    char line[1024];
    assert_non_null(fgets(line, sizeof(line), f));
    struct str rest = str_trim(str_of(line)), word;
    uint64_t *ports[] = {&http_port, &https_port, &smtp_port};
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_cut(rest, ' ', &word, &rest));
        assert_true(parse_u64(word, ports[i]));
    }
    (void)snprintf(cert, sizeof(cert), STR_FMT, STR_ARG(rest));
    fclose(f);
    return 0;
}

static int stop_peer(void **state)
{
    (void)state;
    close(peer_in);
    waitpid(peer, NULL, 0);
    return 0;
}

struct got {
    unsigned calls;
    int error;
    long status;
    struct arena *a;
    struct str body, why, location, retry;
    uint64_t took_ns, wire;
};

static void done(void *ctx, const struct http_response *r)
{
    struct got *g = ctx;
    g->calls++;
    g->error = r->error;
    g->status = r->status;
    g->body = arena_str(g->a, r->body);
    g->why = arena_str(g->a, str_of(r->err.msg));
    g->location = arena_str(g->a, r->location);
    g->retry = arena_str(g->a, r->retry_after);
    g->took_ns = r->took_ns;
    g->wire = r->wire_bytes;
}

static struct arena *arena;
static struct http_multi *multi;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    multi = http_multi_new(4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    multi = http_multi_free(multi);
    arena = arena_free(arena);
    return 0;
}

static struct str url(bool tls, const char *path)
{
    return arena_fmt(arena, "%s://127.0.0.1:%llu%s", tls ? "https" : "http",
                     (unsigned long long)(tls ? https_port : http_port), path);
}

static struct got run(struct http_request q)
{
    struct got g = {.a = arena};
    struct err e = {0};
    if (!q.timeout_ms)
        q.timeout_ms = 5000;
    int r = http_multi_start(multi, &q, done, &g, NULL, &e);
    if (r < 0) {
        g.error = r;
        g.why = arena_str(arena, str_of(e.msg));
        return g;
    }
    assert_int_equal(g.calls, 0); /* never from start */
    while (http_multi_poll(multi, 1000))
        ;
    assert_int_equal(g.calls, 1);
    return g;
}

static const struct json *parsed(struct got g)
{
    const struct json *j = NULL;
    struct err e = {0};
    assert_int_equal(g.error, 0);
    if (json_parse(g.body, arena, &j, &e) < 0)
        fail_msg("%s: " STR_FMT, e.msg, STR_ARG(g.body));
    return j;
}

static void test_get_and_reuse(void **state)
{
    (void)state;
    struct got g = run((struct http_request){.url = url(false, "/echo")});
    assert_int_equal(g.status, 200);
    const struct json *j = parsed(g);
    assert_str(json_str(j, "method", STR("")), "GET");
    assert_null(json_get(json_get(j, "headers"), "expect"));
    int64_t port = json_i64(j, "port", 0);
    g = run((struct http_request){.url = url(false, "/echo")});
    assert_int_equal(json_i64(parsed(g), "port", 1), port); /* the connection is kept */
    g = run((struct http_request){.url = url(false, "/busy")});
    assert_int_equal(g.status, 503);
    assert_str(g.retry, "7");
    assert_str(g.body, "no");
}

static void test_post_and_headers(void **state)
{
    (void)state;
    struct http_header h[] = {{.name = STR("X-A"), .value = STR("1")},
                              {.name = STR("Content-Type"), .value = STR("a/b")}};
    struct got g = run((struct http_request){
        .method = "POST", .url = url(false, "/echo"), .headers = h, .n_headers = 2, .body = STR("hello")});
    const struct json *j = parsed(g), *hs = json_get(j, "headers");
    assert_str(json_str(j, "method", STR("")), "POST");
    assert_str(json_str(j, "body", STR("")), "hello");
    assert_str(json_str(hs, "x-a", STR("")), "1");
    assert_str(json_str(hs, "content-type", STR("")), "a/b");
    g = run((struct http_request){.method = "PUT", .url = url(false, "/echo"), .body = STR("x")});
    assert_str(json_str(parsed(g), "method", STR("")), "PUT");
    h[0].value = STR("a\r\nInjected: 1");
    g = run((struct http_request){.url = url(false, "/echo"), .headers = h, .n_headers = 1});
    assert_int_equal(g.error, -EINVAL);
}

static void test_limits(void **state)
{
    (void)state;
    struct got g = run((struct http_request){.url = url(false, "/big"), .max_body = 99999});
    assert_int_equal(g.error, -EMSGSIZE);
    g = run((struct http_request){.url = url(false, "/big"), .max_body = 100000});
    assert_int_equal(g.error, 0);
    assert_int_equal(g.body.n, 100000);
    g = run((struct http_request){.url = url(false, "/bomb"), .max_body = 1 << 20, .accept_gzip = true});
    assert_int_equal(g.error, -EMSGSIZE);
    g = run((struct http_request){.url = url(false, "/gzip"), .accept_gzip = true});
    assert_int_equal(g.body.n, 6000);
    assert_true(g.wire < 1000);
    assert_int_equal(run((struct http_request){.url = url(false, "/gzip-cut"), .accept_gzip = true}).error, -EBADMSG);
    assert_int_equal(run((struct http_request){.url = url(false, "/gzip-not"), .accept_gzip = true}).error, -EBADMSG);
    assert_str(run((struct http_request){.url = url(false, "/gzip-two"), .accept_gzip = true}).body, "one two");
    g = run((struct http_request){.url = url(false, "/gzip"), .accept_gzip = true, .max_body = 6000});
    assert_int_equal(g.error, 0); /* exactly the limit */
    g = run((struct http_request){.url = url(false, "/slow"), .timeout_ms = 200});
    assert_int_equal(g.error, -ETIMEDOUT);
    assert_true(g.took_ns < 2000000000);
}

static void test_failures(void **state)
{
    (void)state;
    struct got g = run((struct http_request){.url = STR("http://127.0.0.1:1/")});
    assert_int_equal(g.error, -ECONNREFUSED);
    g = run((struct http_request){.url = STR("file:///etc/passwd")});
    assert_int_equal(g.error, -EINVAL);
    g = run((struct http_request){.url = STR("http://[::1")});
    assert_int_equal(g.error, -EINVAL);
    g = run((struct http_request){.url = url(false, "/file")});
    assert_true(g.error < 0);
    assert_int_equal(g.body.n, 0);
}

static void test_redirects(void **state)
{
    (void)state;
    struct got g = run((struct http_request){.url = url(false, "/moved")});
    assert_int_equal(g.status, 200);
    struct http_config cfg = {.follow_redirects = false};
    g = run((struct http_request){.url = url(false, "/moved"), .config = &cfg});
    assert_int_equal(g.status, 302);
    assert_str(g.location, "/echo");
}

static void test_credentials(void **state)
{
    (void)state;
    struct http_config cfg = {.basic_auth = {.present = true, .username = STR("u"), .password = STR("p")}};
    struct got g = run((struct http_request){.url = url(false, "/echo"), .config = &cfg});
    assert_str(json_str(json_get(parsed(g), "headers"), "authorization", STR("")), "Basic dTpw");
    _cleanup_free_ char *file = xasprintf("%s/token", test_dir());
    assert_int_equal(fs_write_file(&vfs_real, file, STR("abc\n"), 0600), 0);
    struct http_header extra = {.name = STR("X-File"), .value = str_of(file), .file = true};
    cfg = (struct http_config){
        .authorization = {.present = true, .type = STR("Bearer"), .credentials_file = str_of(file)},
        .headers = &extra,
        .n_headers = 1};
    g = run((struct http_request){.url = url(false, "/echo"), .config = &cfg});
    const struct json *h = json_get(parsed(g), "headers");
    assert_str(json_str(h, "authorization", STR("")), "Bearer abc");
    assert_str(json_str(h, "x-file", STR("")), "abc");
    assert_int_equal(fs_write_file(&vfs_real, file, STR("def"), 0600), 0); /* read at each call */
    g = run((struct http_request){.url = url(false, "/echo"), .config = &cfg});
    assert_str(json_str(json_get(parsed(g), "headers"), "authorization", STR("")), "Bearer def");
    cfg.authorization.credentials_file = STR("/nonexistent/file");
    g = run((struct http_request){.url = url(false, "/echo"), .config = &cfg});
    assert_int_equal(g.error, -ENOENT);
}

static void test_oauth2(void **state)
{
    (void)state;
    struct str scopes[] = {STR("a"), STR("b")};
    struct http_config cfg = {.oauth2 = {.present = true,
                                         .client_id = STR("me"),
                                         .client_secret = STR("s3cret"),
                                         .token_url = url(false, "/token"),
                                         .scopes = {.v = scopes, .n = 2}}};
    for (int i = 0; i < 2; i++) { /* the second call uses the same token */
        struct got g = run((struct http_request){.url = url(false, "/echo"), .config = &cfg});
        assert_str(json_str(json_get(parsed(g), "headers"), "authorization", STR("")), "Bearer tok1");
    }
    cfg.oauth2.client_secret = STR("wrong");
    struct got g = run((struct http_request){.url = url(false, "/echo"), .config = &cfg});
    assert_int_equal(g.error, -EACCES);
    assert_true(str_find(g.why, STR("401")) >= 0);
    assert_true(str_find(g.why, STR("wrong")) < 0);
}

static void test_tls(void **state)
{
    (void)state;
    struct got g = run((struct http_request){.url = url(true, "/echo")});
    assert_int_equal(g.error, -EACCES); /* nobody vouches for the certificate */
    struct http_config cfg = {.tls = {.insecure_skip_verify = true}};
    g = run((struct http_request){.url = url(true, "/echo"), .config = &cfg});
    assert_int_equal(g.status, 200);
    cfg = (struct http_config){.tls = {.ca_file = str_of(cert)}};
    g = run((struct http_request){.url = url(true, "/echo"), .config = &cfg});
    assert_int_equal(g.error, -EACCES); /* right authority, wrong name */
    cfg.tls.server_name = STR("hune.test");
    g = run((struct http_request){.url = url(true, "/echo"), .config = &cfg});
    assert_int_equal(g.error, 0);
    struct str want = arena_fmt(arena, "127.0.0.1:%llu", (unsigned long long)https_port);
    assert_true(str_eq(json_str(json_get(parsed(g), "headers"), "host", STR("")), want));
}

static int lookup_calls;
static int fake_lookup(const char *host, struct buf *out)
{
    lookup_calls++;
    if (strcmp(host, "slow.test") == 0)
        usleep(700000);
    if (strcmp(host, "none.test") == 0)
        return -2;
    buf_z(out, "127.0.0.1");
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    resolve_set_lookup(fake_lookup);
    struct str at = arena_fmt(arena, "http://peer.test:%llu/echo", (unsigned long long)http_port);
    for (int i = 0; i < 3; i++) {
        struct got g = run((struct http_request){.url = at});
        assert_int_equal(g.status, 200);
    }
    assert_int_equal(lookup_calls, 1);
    struct got g = run((struct http_request){.url = STR("http://none.test/")});
    assert_int_equal(g.error, -EHOSTUNREACH);
    /* A slow name holds up neither its neighbours nor its own time limit. */
    struct got slow = {.a = arena}, quick = {.a = arena};
    struct http_request q = {.url = arena_fmt(arena, "http://slow.test:%llu/echo", (unsigned long long)http_port),
                             .timeout_ms = 200};
    uint64_t t0 = clock_mono_ns(&clock_real);
    assert_int_equal(http_multi_start(multi, &q, done, &slow, NULL, NULL), 0);
    q.url = url(false, "/echo");
    q.timeout_ms = 5000;
    assert_int_equal(http_multi_start(multi, &q, done, &quick, NULL, NULL), 0);
    while (!quick.calls)
        http_multi_poll(multi, 100);
    assert_int_equal(slow.calls, 0);
    while (!slow.calls)
        http_multi_poll(multi, 100);
    assert_int_equal(slow.error, -ETIMEDOUT);
    assert_true(clock_mono_ns(&clock_real) - t0 < 600000000ull);
    usleep(800000); /* the helper thread ends before the next test */
    resolve_set_lookup(NULL);
}

static void test_cancel_and_free(void **state)
{
    (void)state;
    struct got g = {.a = arena};
    struct http_call *c;
    struct http_request q = {.url = url(false, "/slow"), .timeout_ms = 5000};
    assert_int_equal(http_multi_start(multi, &q, done, &g, &c, NULL), 0);
    http_multi_poll(multi, 50);
    http_call_cancel(c);
    assert_int_equal(http_multi_poll(multi, 10), 0);
    assert_int_equal(http_multi_start(multi, &q, done, &g, &c, NULL), 0);
    http_multi_poll(multi, 50);
    multi = http_multi_free(multi);
    assert_int_equal(g.calls, 0);
}

static struct got send_mail(struct smtp_message m)
{
    struct got g = {.a = arena};
    struct err e = {0};
    m.smarthost = arena_fmt(arena, "127.0.0.1:%llu", (unsigned long long)smtp_port);
    m.timeout_ms = 5000;
    m.data = STR("Subject: x\r\n\r\nbody\r\n.dot\r\n");
    int r = smtp_multi_start(multi, &m, done, &g, NULL, &e);
    if (r < 0) {
        g.error = r;
        return g;
    }
    while (http_multi_poll(multi, 1000))
        ;
    assert_int_equal(g.calls, 1);
    return g;
}

static void test_smtp(void **state)
{
    (void)state;
    struct str to[] = {STR("a@example.org"), STR("b@example.org")};
    struct http_config cfg = {.tls = {.insecure_skip_verify = true}};
    struct smtp_message m = {.hello = STR("me.example"),
                             .from = STR("hune@example.org"),
                             .to = to,
                             .n_to = 2,
                             .username = STR("user"),
                             .password = STR("pass"),
                             .require_tls = true,
                             .config = &cfg};
    struct got g = send_mail(m);
    if (g.error)
        fail_msg("%d " STR_FMT, g.error, STR_ARG(g.why));
    const struct json *j = parsed(run((struct http_request){.url = url(false, "/mail")}));
    assert_str(json_str(j, "data", STR("")), "Subject: x\r\n\r\nbody\r\n.dot\r\n");
    assert_str(json_str(j, "hello", STR("")), "me.example");
    assert_true(json_bool(j, "secure", false));
    assert_int_equal(json_get(j, "to")->n, 2);
    m.password = STR("wrong");
    g = send_mail(m);
    assert_true(g.error < 0);
    m.password = STR("pass");
    m.config = NULL; /* unknown certificate */
    g = send_mail(m);
    assert_int_equal(g.error, -EACCES);
    m.config = &cfg;
    to[1] = STR("nobody@example.org");
    g = send_mail(m);
    assert_true(g.error < 0);
    assert_true(str_find(g.why, STR("550")) >= 0);
    to[1] = STR("x@example.org>\r\nDATA");
    g = send_mail(m);
    assert_int_equal(g.error, -EINVAL);
    m.require_tls = false;
    to[1] = STR("c@example.org");
    g = send_mail(m); /* loopback may go without TLS */
    assert_int_equal(g.error, 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_get_and_reuse),   T(test_post_and_headers), T(test_limits), T(test_failures), T(test_redirects),
        T(test_credentials),     T(test_oauth2),           T(test_tls),    T(test_names),    T(test_smtp),
        T(test_cancel_and_free),
    };
    return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
