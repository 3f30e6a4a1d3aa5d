// SPDX-License-Identifier: Apache-2.0
/* The one file that knows libcurl. It is opened with dlopen when the first call starts: a server that scrapes only
 * itself never pays for libcurl and its thirty libraries.
 *
 *   http_multi_start -> LOOKUP --name known--> TOKEN --oauth2 token known--> RUNNING -> done (callback, freed)
 *                          |                     |                              |
 *                          +---------- failure: DONE, reported by the next poll +
 */
#include "net/client.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "net/compress_int.h"
#include "net/resolve_int.h"
#include "sys/fs.h"

#define CURL_DISABLE_TYPECHECK 1
#include <curl/curl.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* As macros, these variadic functions could not be pointer names. */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#define CURL_FUNCTIONS(X)                                                                                              \
    X(curl_global_init)                                                                                                \
    X(curl_easy_init)                                                                                                  \
    X(curl_easy_cleanup)                                                                                               \
    X(curl_easy_reset)                                                                                                 \
    X(curl_easy_setopt)                                                                                                \
    X(curl_easy_getinfo)                                                                                               \
    X(curl_easy_strerror)                                                                                              \
    X(curl_multi_init)                                                                                                 \
    X(curl_multi_cleanup)                                                                                              \
    X(curl_multi_setopt)                                                                                               \
    X(curl_multi_add_handle)                                                                                           \
    X(curl_multi_remove_handle)                                                                                        \
    X(curl_multi_perform)                                                                                              \
    X(curl_multi_poll)                                                                                                 \
    X(curl_multi_info_read)                                                                                            \
    X(curl_slist_append)                                                                                               \
    X(curl_slist_free_all)                                                                                             \
    X(curl_url)                                                                                                        \
    X(curl_url_cleanup)                                                                                                \
    X(curl_url_set)                                                                                                    \
    X(curl_url_get)                                                                                                    \
    X(curl_url_strerror)                                                                                               \
    X(curl_free)

static struct {
#define X(fn) typeof(fn) *fn;
    CURL_FUNCTIONS(X)
#undef X
} lib;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;
static char lib_error[256];

static void lib_load(void)
{
    static const char *const files[] = {"libcurl-gnutls.so.4", "libcurl.so.4"};
    void *h = NULL;
    for (size_t i = 0; i < ARRAY_LEN(files) && !h; i++)
        h = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
    if (!h) {
        (void)snprintf(lib_error, sizeof(lib_error), "libcurl is not installed (%s)", dlerror());
        return;
    }
#define X(fn)                                                                                                          \
    *(void **)&lib.fn = dlsym(h, #fn);                                                                                 \
    if (!lib.fn) {                                                                                                     \
        (void)snprintf(lib_error, sizeof(lib_error), "libcurl has no " #fn);                                           \
        return;                                                                                                        \
    }
    CURL_FUNCTIONS(X)
#undef X
    if (lib.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        (void)snprintf(lib_error, sizeof(lib_error), "libcurl does not initialise");
}

static int lib_ready(struct err *e)
{
    pthread_once(&lib_once, lib_load);
    if (!lib_error[0])
        return 0;
    err_set(e, "%s", lib_error);
    return -EIO;
}

enum call_state { CALL_LOOKUP, CALL_TOKEN, CALL_RUNNING, CALL_DONE };

struct http_call {
    struct http_multi *multi;
    struct http_call *next, **link;           /* all calls of the multi */
    struct http_call *done_next, **done_link; /* those to be reported */
    enum call_state state;
    http_done_fn fn;
    void *ctx;

    CURL *easy;
    struct curl_slist *headers, *resolve, *connect_to, *rcpt;
    char errbuf[CURL_ERROR_SIZE];
    char *host; /* to be looked up, or NULL */
    char *port;
    const struct http_config *config;
    struct str body;              /* HTTP: borrowed; SMTP: rest to send */
    char *own_body;               /* token requests own theirs */
    struct http_call *token_call; /* runs for us */
    char *token_key;

    uint64_t started_ns, deadline_ns;
    size_t max_body;
    bool too_large, smtp, keep_headers, accept_gzip, bad_gzip;
    struct inflater *inflater; /* the answer is packed: libcurl would take a cut stream for whole, so we unpack */
    struct buf in, head;
    struct buf type, retry_after, location; /* last answer's */
    struct http_response res;
};

struct token {
    char *key, *value;
    uint64_t until_ns;
};

struct http_multi {
    CURLM *curl; /* NULL until the first call */
    size_t max_connections;
    int wake_fd;
    struct http_call *calls;
    size_t n_calls, n_pending; /* pending: waiting for a name or a token */
    struct http_call *done, **done_tail;
    CURL *idle[16]; /* reusable handles */
    size_t n_idle;
    VEC(struct token) tokens;
    bool polling;
};

static const struct http_config config_defaults_ = {.follow_redirects = true, .enable_http2 = true};

struct http_multi *http_multi_new(size_t max_connections)
{
    struct http_multi *m = NEW(struct http_multi);
    m->max_connections = max_connections ? max_connections : 8;
    m->done_tail = &m->done;
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->wake_fd < 0)
        FATAL("eventfd: %s", err_name(-errno));
    return m;
}

void http_multi_wake(struct http_multi *m)
{
    uint64_t one = 1;
    (void)!write(m->wake_fd, &one, sizeof(one)); /* full means awake already */
}

static void wake_cb(void *ctx)
{
    http_multi_wake(ctx);
}

static int multi_ready(struct http_multi *m, struct err *e)
{
    if (m->curl)
        return 0;
    int r = lib_ready(e);
    if (r < 0)
        return r;
    m->curl = lib.curl_multi_init();
    if (!m->curl) {
        err_set(e, "libcurl has no memory");
        return -ENOMEM;
    }
    /* The default of four times the running handles drops warm connections whenever few run at once. */
    lib.curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)m->max_connections);
    return 0;
}

/* ---- one call ---- */

static bool pending(const struct http_call *c)
{
    return c->state == CALL_LOOKUP || c->state == CALL_TOKEN;
}

static void call_move(struct http_call *c, enum call_state to)
{
    struct http_multi *m = c->multi;
    ASSERT(c->state != CALL_DONE);
    m->n_pending -= pending(c);
    c->state = to;
    m->n_pending += pending(c);
    if (to == CALL_DONE) {
        c->done_link = m->done_tail;
        *m->done_tail = c;
        m->done_tail = &c->done_next;
    }
}

static void done_unlink(struct http_call *c)
{
    if (!c->done_link)
        return;
    *c->done_link = c->done_next;
    if (c->done_next)
        c->done_next->done_link = c->done_link;
    else
        c->multi->done_tail = c->done_link;
    c->done_link = NULL;
}

static struct http_call *call_new(struct http_multi *m, http_done_fn fn, void *ctx, int64_t timeout_ms)
{
    struct http_call *c = NEW(struct http_call);
    c->multi = m;
    c->fn = fn;
    c->ctx = ctx;
    c->started_ns = clock_mono_ns(&clock_real);
    c->deadline_ns = c->started_ns + (uint64_t)(timeout_ms > 0 ? timeout_ms : 30000) * 1000000;
    buf_init(&c->head, 256 << 10);
    buf_init(&c->type, 1024);
    buf_init(&c->retry_after, 256);
    buf_init(&c->location, 8192);
    c->easy = m->n_idle ? m->idle[--m->n_idle] : lib.curl_easy_init();
    if (!c->easy)
        FATAL("libcurl has no memory");
    c->next = m->calls;
    c->link = &m->calls;
    if (c->next)
        c->next->link = &c->next;
    m->calls = c;
    m->n_calls++;
    m->n_pending++;
    return c;
}

static void call_free(struct http_call *c)
{
    struct http_multi *m = c->multi;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    m->n_calls--;
    m->n_pending -= pending(c);
    done_unlink(c);
    if (c->state == CALL_RUNNING)
        lib.curl_multi_remove_handle(m->curl, c->easy);
    if (m->n_idle < ARRAY_LEN(m->idle)) {
        lib.curl_easy_reset(c->easy);
        m->idle[m->n_idle++] = c->easy;
    } else {
        lib.curl_easy_cleanup(c->easy);
    }
    lib.curl_slist_free_all(c->headers);
    lib.curl_slist_free_all(c->resolve);
    lib.curl_slist_free_all(c->connect_to);
    lib.curl_slist_free_all(c->rcpt);
    if (c->own_body)
        explicit_bzero(c->own_body, strlen(c->own_body)); /* holds a client secret */
    free(c->own_body);
    free(c->host);
    free(c->port);
    free(c->token_key);
    inflater_free(c->inflater);
    buf_done(&c->in);
    buf_done(&c->head);
    buf_done(&c->type);
    buf_done(&c->retry_after);
    buf_done(&c->location);
    free(c);
}

void http_call_cancel(struct http_call *c)
{
    if (!c)
        return;
    if (c->token_call)
        call_free(c->token_call);
    call_free(c);
}

/* End a call before libcurl saw it; the callback still comes from http_multi_poll(). */
static void call_fail(struct http_call *c, int error, const struct err *e)
{
    call_move(c, CALL_DONE);
    c->res.error = error;
    c->res.err = *e;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct http_call *c = arg;
    n *= size;
    if (c->inflater) {
        int r = inflater_put(c->inflater, str_make(p, n), &c->in);
        if (r == 0 && c->in.n > c->max_body)
            r = -EMSGSIZE;
        c->too_large |= r == -EMSGSIZE;
        c->bad_gzip |= r == -EBADMSG;
        return r < 0 ? CURL_WRITEFUNC_ERROR : n;
    }
    if (c->in.n + n > c->max_body) {
        c->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    buf_put(&c->in, p, n);
    return n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct http_call *c = arg;
    n *= size;
    struct str line = str_trim(str_make(p, n)), name, value;
    if (c->smtp) {
        buf_reset(&c->head); /* the last reply line is the reason */
        buf_str(&c->head, line);
        return n;
    }
    if (str_starts(line, STR("HTTP/"))) { /* a redirect's headers are not the answer's */
        buf_reset(&c->head);
        c->inflater = inflater_free(c->inflater);
        buf_reset(&c->type);
        buf_reset(&c->retry_after);
        buf_reset(&c->location);
    }
    if (c->keep_headers)
        buf_put(&c->head, p, n);
    if (str_cut(line, ':', &name, &value)) {
        value = str_trim(value);
        struct buf *to = str_ieq(name, STR("content-type"))  ? &c->type
                         : str_ieq(name, STR("retry-after")) ? &c->retry_after
                         : str_ieq(name, STR("location"))    ? &c->location
                                                             : NULL;
        if (to) {
            buf_reset(to);
            buf_str(to, value);
        }
        bool packed = str_ieq(value, STR("gzip")) || str_ieq(value, STR("x-gzip"));
        if (c->accept_gzip && packed && !c->inflater && str_ieq(name, STR("content-encoding")))
            c->inflater = inflater_new();
    }
    return n;
}

static size_t on_send(char *p, size_t size, size_t n, void *arg)
{
    struct http_call *c = arg;
    size_t take = MIN(size * n, c->body.n);
    if (take)
        memcpy(p, c->body.p, take);
    c->body = str_sub(c->body, take, c->body.n);
    return take;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
    (void)arg, (void)offset, (void)origin;
    return CURL_SEEKFUNC_CANTSEEK;
}

#define SET(c, opt, value) ((void)lib.curl_easy_setopt((c)->easy, (opt), (value)))

/* libcurl copies strings given to setopt, so a short-lived terminated copy serves. */
static void set_str(struct http_call *c, CURLoption opt, struct str s)
{
    char *z = str_dupz(s);
    SET(c, opt, z);
    explicit_bzero(z, s.n);
    free(z);
}

static void set_blob(struct http_call *c, CURLoption opt, struct str s)
{
    struct curl_blob blob = {.data = (void *)s.p, .len = s.n, .flags = CURL_BLOB_COPY};
    SET(c, opt, &blob);
}

/* A secret is in the configuration or in a file; files lose their trailing blanks (as Prometheus trims them). */
static int secret(struct str direct, struct str file, const char *what, struct buf *out, struct err *e)
{
    if (str_empty(file)) {
        buf_str(out, direct);
        return 0;
    }
    _cleanup_free_ char *path = str_dupz(file);
    struct buf text = BUF_INIT(1 << 20);
    int r = fs_read_file(path, &text);
    if (r < 0)
        err_set(e, "cannot read %s \"%s\": %s", what, path, err_name(r));
    else
        buf_str(out, str_trim(buf_view(&text)));
    if (text.p)
        explicit_bzero(text.p, text.cap);
    buf_done(&text);
    return r;
}

static int add_header(struct http_call *c, struct str name, struct str value, struct err *e)
{
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == ':' || name.p[i] == 0x7f) {
            err_set(e, "header name \"" STR_FMT "\" holds a character that is not allowed", STR_ARG(name));
            return -EINVAL;
        }
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == 0) {
            err_set(e, "the value of header " STR_FMT " holds a line break", STR_ARG(name));
            return -EINVAL;
        }
    struct buf line = BUF_INIT(1 << 20);
    buf_str(&line, name);
    /* libcurl's spelling of a header without a value */
    buf_z(&line, value.n ? ": " : ";");
    buf_str(&line, value);
    if (buf_error(&line)) {
        err_set(e, "header " STR_FMT " is too long", STR_ARG(name));
        buf_done(&line);
        return -EINVAL;
    }
    c->headers = lib.curl_slist_append(c->headers, buf_cstr(&line));
    explicit_bzero(line.p, line.n);
    buf_done(&line);
    return 0;
}

static int set_tls(struct http_call *c, const struct http_config *cfg)
{
    if (cfg->tls.insecure_skip_verify) {
        SET(c, CURLOPT_SSL_VERIFYPEER, 0L);
        SET(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!str_empty(cfg->tls.ca))
        set_blob(c, CURLOPT_CAINFO_BLOB, cfg->tls.ca);
    else if (!str_empty(cfg->tls.ca_file))
        set_str(c, CURLOPT_CAINFO, cfg->tls.ca_file);
    if (!str_empty(cfg->tls.cert))
        set_blob(c, CURLOPT_SSLCERT_BLOB, cfg->tls.cert);
    else if (!str_empty(cfg->tls.cert_file))
        set_str(c, CURLOPT_SSLCERT, cfg->tls.cert_file);
    if (!str_empty(cfg->tls.key))
        set_blob(c, CURLOPT_SSLKEY_BLOB, cfg->tls.key);
    else if (!str_empty(cfg->tls.key_file))
        set_str(c, CURLOPT_SSLKEY, cfg->tls.key_file);
    static const long min[] = {CURL_SSLVERSION_TLSv1_0, CURL_SSLVERSION_TLSv1_1, CURL_SSLVERSION_TLSv1_2,
                               CURL_SSLVERSION_TLSv1_3};
    static const long max[] = {CURL_SSLVERSION_MAX_TLSv1_0, CURL_SSLVERSION_MAX_TLSv1_1, CURL_SSLVERSION_MAX_TLSv1_2,
                               CURL_SSLVERSION_MAX_TLSv1_3};
    int lo = cfg->tls.min_version, hi = cfg->tls.max_version;
    long v = lo >= 10 && lo <= 13 ? min[lo - 10] : CURL_SSLVERSION_TLSv1_2;
    if (hi >= 10 && hi <= 13)
        v |= max[hi - 10];
    SET(c, CURLOPT_SSLVERSION, v);
    return 0;
}

static void set_proxy(struct http_call *c, const struct http_config *cfg)
{
    if (!str_empty(cfg->proxy_url)) {
        set_str(c, CURLOPT_PROXY, cfg->proxy_url);
        set_str(c, CURLOPT_NOPROXY, cfg->no_proxy);
    } else if (!cfg->proxy_from_environment) {
        SET(c, CURLOPT_PROXY, ""); /* libcurl would look at the environment by itself */
    }
}

static int set_credentials(struct http_call *c, const struct http_config *cfg, struct err *e)
{
    struct buf user = BUF_INIT(1 << 20), pass = BUF_INIT(1 << 20);
    int r = 0;
    if (cfg->basic_auth.present) {
        r = secret(cfg->basic_auth.username, cfg->basic_auth.username_file, "username_file", &user, e);
        if (r == 0)
            r = secret(cfg->basic_auth.password, cfg->basic_auth.password_file, "password_file", &pass, e);
        if (r == 0) {
            SET(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
            SET(c, CURLOPT_USERNAME, buf_cstr(&user));
            SET(c, CURLOPT_PASSWORD, buf_cstr(&pass));
        }
    } else if (cfg->authorization.present) {
        buf_str(&user, str_empty(cfg->authorization.type) ? STR("Bearer") : cfg->authorization.type);
        buf_putc(&user, ' ');
        r = secret(cfg->authorization.credentials, cfg->authorization.credentials_file, "credentials_file", &user, e);
        if (r == 0)
            r = add_header(c, STR("Authorization"), buf_view(&user), e);
    }
    for (size_t i = 0; i < cfg->n_headers && r == 0; i++) {
        buf_reset(&pass);
        const struct http_header *h = &cfg->headers[i];
        r = h->file ? secret(STR(""), h->value, "http_headers file", &pass, e) : 0;
        if (r == 0)
            r = add_header(c, h->name, h->file ? buf_view(&pass) : h->value, e);
    }
    if (pass.p)
        explicit_bzero(pass.p, pass.cap);
    if (user.p)
        explicit_bzero(user.p, user.cap);
    buf_done(&user);
    buf_done(&pass);
    return r;
}

static bool host_is_literal(const char *host)
{
    if (host[0] == '[')
        return true;
    bool digits = true; /* 127.1 and friends are addresses to libcurl too */
    for (const char *p = host; *p; p++)
        digits &= (*p >= '0' && *p <= '9') || *p == '.';
    return digits;
}

/* Split the URL; learn host and port; with server_name, ask for that name while connecting to the URL's host. */
static int set_url(struct http_call *c, struct str url, const struct http_config *cfg, bool local, struct err *e)
{
    _cleanup_free_ char *z = str_dupz(url);
    CURLU *u = lib.curl_url();
    char *host = NULL, *port = NULL, *scheme = NULL, *full = NULL;
    int r = 0;
    CURLUcode uc = lib.curl_url_set(u, CURLUPART_URL, z, CURLU_NON_SUPPORT_SCHEME);
    if (uc == CURLUE_OK)
        uc = lib.curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    if (uc == CURLUE_OK)
        uc = lib.curl_url_get(u, CURLUPART_HOST, &host, 0);
    if (uc != CURLUE_OK) {
        err_set(e, "bad URL: %s", lib.curl_url_strerror(uc));
        r = -EINVAL;
        goto out;
    }
    if (strcmp(scheme, c->smtp ? "smtp" : "http") != 0 && strcmp(scheme, c->smtp ? "smtps" : "https") != 0) {
        err_set(e, "unsupported protocol scheme \"%s\"", scheme);
        r = -EINVAL;
        goto out;
    }
    uc = lib.curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (uc != CURLUE_OK) {
        err_set(e, "bad URL: %s", lib.curl_url_strerror(uc));
        r = -EINVAL;
        goto out;
    }
    bool tls = strcmp(scheme, "https") == 0;
    if (tls && !str_empty(cfg->tls.server_name)) {
        struct buf b = BUF_INIT(4096);
        buf_fmt(&b, STR_FMT ":%s:%s:%s", STR_ARG(cfg->tls.server_name), port, host, port);
        c->connect_to = lib.curl_slist_append(NULL, buf_cstr(&b));
        SET(c, CURLOPT_CONNECT_TO, c->connect_to);
        buf_reset(&b);
        buf_fmt(&b, strcmp(port, "443") == 0 ? "%s" : "%s:%s", host, port);
        r = add_header(c, STR("Host"), buf_view(&b), e);
        buf_reset(&b);
        buf_str(&b, cfg->tls.server_name);
        uc = lib.curl_url_set(u, CURLUPART_HOST, buf_cstr(&b), 0);
        if (uc == CURLUE_OK)
            uc = lib.curl_url_get(u, CURLUPART_URL, &full, 0);
        buf_done(&b);
        if (r < 0)
            goto out;
        if (uc != CURLUE_OK) {
            err_set(e, "bad server_name: %s", lib.curl_url_strerror(uc));
            r = -EINVAL;
            goto out;
        }
        SET(c, CURLOPT_URL, full);
    } else {
        SET(c, CURLOPT_URL, z);
    }
    bool proxied = !str_empty(cfg->proxy_url) || cfg->proxy_from_environment;
    if (!local && !proxied && !host_is_literal(host) && strcasecmp(host, "localhost") != 0) {
        c->host = xstrdup(host);
        c->port = xstrdup(port);
    }
out:
    lib.curl_free(host);
    lib.curl_free(port);
    lib.curl_free(scheme);
    lib.curl_free(full);
    lib.curl_url_cleanup(u);
    return r;
}

static void set_common(struct http_call *c)
{
    SET(c, CURLOPT_PRIVATE, c);
    SET(c, CURLOPT_NOSIGNAL, 1L);
    SET(c, CURLOPT_ERRORBUFFER, c->errbuf);
    SET(c, CURLOPT_WRITEFUNCTION, on_body);
    SET(c, CURLOPT_WRITEDATA, c);
    SET(c, CURLOPT_HEADERFUNCTION, on_header);
    SET(c, CURLOPT_HEADERDATA, c);
    SET(c, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(c, CURLOPT_DNS_CACHE_TIMEOUT, 60L);
}

/* Hand the call to libcurl with what is left of its time. */
static void call_run(struct http_call *c)
{
    uint64_t now = clock_mono_ns(&clock_real);
    struct err e = {0};
    if (now >= c->deadline_ns) {
        err_set(&e, "timed out before the connection was made");
        call_fail(c, -ETIMEDOUT, &e);
        return;
    }
    SET(c, CURLOPT_TIMEOUT_MS, (long)MAX((c->deadline_ns - now) / 1000000, 1));
    SET(c, CURLOPT_HTTPHEADER, c->headers);
    CURLMcode mc = lib.curl_multi_add_handle(c->multi->curl, c->easy);
    if (mc != CURLM_OK) {
        err_set(&e, "libcurl refuses the transfer (%d)", (int)mc);
        call_fail(c, -EIO, &e);
        return;
    }
    call_move(c, CALL_RUNNING);
}

/* ---- OAuth 2.0 client credentials (RFC 6749, 4.4) ---- */

static void form_put(struct buf *b, const char *key, struct str value)
{
    static const char hex[] = "0123456789ABCDEF";
    if (b->n)
        buf_putc(b, '&');
    buf_z(b, key);
    buf_putc(b, '=');
    for (size_t i = 0; i < value.n; i++) {
        unsigned char ch = (unsigned char)value.p[i];
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr("-._~", ch)) {
            buf_putc(b, (char)ch);
        } else {
            buf_putc(b, '%');
            buf_putc(b, hex[ch >> 4]);
            buf_putc(b, hex[ch & 15]);
        }
    }
}

static struct token *token_find(struct http_multi *m, const char *key)
{
    uint64_t now = clock_mono_ns(&clock_real);
    for (size_t i = 0; i < m->tokens.n; i++)
        if (strcmp(m->tokens.v[i].key, key) == 0)
            return m->tokens.v[i].until_ns > now ? &m->tokens.v[i] : NULL;
    return NULL;
}

static void token_store(struct http_multi *m, const char *key, struct str value, int64_t expires_s)
{
    struct token *t = NULL;
    for (size_t i = 0; i < m->tokens.n && !t; i++)
        if (strcmp(m->tokens.v[i].key, key) == 0)
            t = &m->tokens.v[i];
    if (!t) {
        if (m->tokens.n >= 1024) { /* configurations come and go with reloads */
            free(m->tokens.v[0].key);
            free(m->tokens.v[0].value);
            vec_del(&m->tokens, 0);
        }
        vec_push(&m->tokens, (struct token){.key = xstrdup(key)});
        t = &m->tokens.v[m->tokens.n - 1];
    }
    free(t->value);
    t->value = str_dupz(value);
    /* Ten seconds early, as golang.org/x/oauth2 does; no expires_in means it stays good. */
    if (expires_s <= 0 || expires_s > 86400)
        expires_s = 86400;
    t->until_ns = clock_mono_ns(&clock_real) + (uint64_t)MAX(expires_s - 10, 1) * 1000000000;
}

static void call_advance(struct http_call *c);

static void token_done(void *ctx, const struct http_response *r)
{
    struct http_call *c = ctx;
    c->token_call = NULL;
    struct err e = {0};
    _cleanup_arena_ struct arena *a = arena_new(1 << 20);
    const struct json *j = NULL;
    if (r->error) {
        err_set(&e, "oauth2: cannot fetch a token: %s", r->err.msg);
        call_fail(c, r->error, &e);
        return;
    }
    if (r->status < 200 || r->status > 299) {
        err_set(&e, "oauth2: cannot fetch a token: server returned HTTP status %ld", r->status);
        call_fail(c, -EACCES, &e);
        return;
    }
    if (json_parse(r->body, a, &j, NULL) < 0 || str_empty(json_str(j, "access_token", STR("")))) {
        err_set(&e, "oauth2: the token server's answer has no access_token");
        call_fail(c, -EACCES, &e);
        return;
    }
    token_store(c->multi, c->token_key, json_str(j, "access_token", STR("")), json_i64(j, "expires_in", 0));
    call_advance(c);
}

static int token_fetch(struct http_call *c, struct err *e)
{
    const struct http_config *cfg = c->config;
    struct buf body = BUF_INIT(1 << 20), sec = BUF_INIT(1 << 16), scope = BUF_INIT(1 << 16);
    int r = secret(cfg->oauth2.client_secret, cfg->oauth2.client_secret_file, "client_secret_file", &sec, e);
    if (r == 0) {
        form_put(&body, "grant_type", STR("client_credentials"));
        for (size_t i = 0; i < cfg->oauth2.scopes.n; i++) {
            if (i)
                buf_putc(&scope, ' ');
            buf_str(&scope, cfg->oauth2.scopes.v[i]);
        }
        if (scope.n)
            form_put(&body, "scope", buf_view(&scope));
        for (size_t i = 0; i < cfg->oauth2.endpoint_params.n; i++) {
            _cleanup_free_ char *key = str_dupz(cfg->oauth2.endpoint_params.v[i].key);
            form_put(&body, key, cfg->oauth2.endpoint_params.v[i].value);
        }
        struct http_config tc = config_defaults_;
        tc.tls = cfg->tls;
        tc.tls.server_name = STR("");
        tc.proxy_url = str_empty(cfg->oauth2.proxy_url) ? cfg->proxy_url : cfg->oauth2.proxy_url;
        tc.no_proxy = str_empty(cfg->oauth2.no_proxy) ? cfg->no_proxy : cfg->oauth2.no_proxy;
        tc.proxy_from_environment = cfg->proxy_from_environment || cfg->oauth2.proxy_from_environment;
        tc.basic_auth.present = true;
        tc.basic_auth.username = cfg->oauth2.client_id;
        tc.basic_auth.password = buf_view(&sec);
        struct http_header type = {.name = STR("Content-Type"), .value = STR("application/x-www-form-urlencoded")};
        char *text = buf_take(&body, NULL);
        uint64_t now = clock_mono_ns(&clock_real);
        r = http_multi_start(
            c->multi,
            &(struct http_request){
                .method = "POST",
                .url = cfg->oauth2.token_url,
                .config = &tc, /* read by start alone */
                .headers = &type,
                .n_headers = 1,
                .body = str_of(text),
                .timeout_ms = c->deadline_ns > now ? (int64_t)((c->deadline_ns - now) / 1000000) + 1 : 1,
                .max_body = 256 << 10,
            },
            token_done, c, &c->token_call, e);
        if (r == 0) {
            c->token_call->own_body = text;
            c->token_call->config = &config_defaults_;
        } else {
            free(text);
        }
    }
    if (sec.p)
        explicit_bzero(sec.p, sec.cap);
    buf_done(&body);
    buf_done(&sec);
    buf_done(&scope);
    return r;
}

/* ---- the steps before libcurl ---- */

static void call_advance(struct http_call *c)
{
    struct err e = {0};
    if (c->state == CALL_LOOKUP && c->host) {
        struct buf addrs = BUF_INIT(8192);
        enum resolve_state s = resolve_name(str_of(c->host), &addrs, wake_cb, c->multi, &e);
        if (s == RESOLVE_HIT) {
            struct buf b = BUF_INIT(16384);
            /* "+": the entry times out like a looked-up one, so that the next call's fresher one replaces it */
            buf_fmt(&b, "+%s:%s:" STR_FMT, c->host, c->port, STR_ARG(buf_view(&addrs)));
            c->resolve = lib.curl_slist_append(NULL, buf_cstr(&b));
            SET(c, CURLOPT_RESOLVE, c->resolve);
            buf_done(&b);
        }
        buf_done(&addrs);
        if (s == RESOLVE_PENDING)
            return;
        if (s == RESOLVE_FAILED) {
            call_fail(c, -EHOSTUNREACH, &e);
            return;
        }
    }
    if (c->state == CALL_LOOKUP)
        call_move(c, CALL_TOKEN);
    if (c->state != CALL_TOKEN)
        return;
    if (c->config->oauth2.present) {
        struct token *t = token_find(c->multi, c->token_key);
        if (!t) {
            if (!c->token_call) {
                int r = token_fetch(c, &e);
                if (r < 0)
                    call_fail(c, r, &e);
            }
            return;
        }
        struct buf b = BUF_INIT(1 << 20);
        buf_fmt(&b, "Bearer %s", t->value);
        int r = add_header(c, STR("Authorization"), buf_view(&b), &e);
        buf_done(&b);
        if (r < 0) {
            call_fail(c, r, &e);
            return;
        }
    }
    call_run(c);
}

int http_multi_start(struct http_multi *m, const struct http_request *q, http_done_fn fn, void *ctx,
                     struct http_call **ret, struct err *e)
{
    int r = multi_ready(m, e);
    if (r < 0)
        return r;
    const struct http_config *cfg = q->config ? q->config : &config_defaults_;
    struct http_call *c = call_new(m, fn, ctx, q->timeout_ms);
    c->config = cfg;
    c->keep_headers = q->keep_headers;
    c->max_body = q->max_body ? q->max_body : (size_t)limit(scrape_body_bytes);
    buf_init(&c->in, c->max_body + 1); /* one more, to tell full from too full */
    c->body = q->body;
    set_common(c);
    SET(c, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(c, CURLOPT_FOLLOWLOCATION, cfg->follow_redirects ? 1L : 0L);
    SET(c, CURLOPT_MAXREDIRS, 10L);
    SET(c, CURLOPT_HTTP_VERSION, cfg->enable_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    c->accept_gzip = q->accept_gzip;
    if (q->accept_gzip)
        c->headers = lib.curl_slist_append(c->headers, "Accept-Encoding: gzip");
    if (q->unix_socket)
        SET(c, CURLOPT_UNIX_SOCKET_PATH, q->unix_socket);
    const char *method = q->method ? q->method : "GET";
    bool post = strcmp(method, "POST") == 0;
    if (strcmp(method, "HEAD") == 0) {
        SET(c, CURLOPT_NOBODY, 1L);
    } else if (post || q->body.n) {
        SET(c, CURLOPT_POST, 1L);
        SET(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n);
        SET(c, CURLOPT_POSTFIELDS, q->body.n ? q->body.p : "");
    }
    if (!post && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        SET(c, CURLOPT_CUSTOMREQUEST, method);
    else if (!post && q->body.n)
        SET(c, CURLOPT_CUSTOMREQUEST, method);
    r = set_url(c, q->url, cfg, q->unix_socket != NULL, e);
    if (r == 0)
        r = set_tls(c, cfg);
    set_proxy(c, cfg);
    if (r == 0)
        r = set_credentials(c, cfg, e);
    bool type = false;
    for (size_t i = 0; i < q->n_headers && r == 0; i++) {
        type |= str_ieq(q->headers[i].name, STR("content-type"));
        r = add_header(c, q->headers[i].name, q->headers[i].value, e);
    }
    if (r < 0) {
        call_free(c);
        return r;
    }
    c->headers = lib.curl_slist_append(c->headers, "Expect:");
    if (!type && (post || q->body.n))
        c->headers = lib.curl_slist_append(c->headers, "Content-Type: application/octet-stream");
    if (cfg->oauth2.present) {
        struct buf key = BUF_INIT(1 << 20);
        buf_str(&key, cfg->oauth2.token_url);
        buf_putc(&key, '\n');
        buf_str(&key, cfg->oauth2.client_id);
        buf_putc(&key, '\n');
        buf_str(&key, cfg->oauth2.client_secret);
        buf_str(&key, cfg->oauth2.client_secret_file);
        for (size_t i = 0; i < cfg->oauth2.scopes.n; i++) {
            buf_putc(&key, '\n');
            buf_str(&key, cfg->oauth2.scopes.v[i]);
        }
        c->token_key = buf_take(&key, NULL);
    }
    call_advance(c);
    if (ret)
        *ret = c;
    return 0;
}

int smtp_multi_start(struct http_multi *m, const struct smtp_message *msg, http_done_fn fn, void *ctx,
                     struct http_call **ret, struct err *e)
{
    int r = multi_ready(m, e);
    if (r < 0)
        return r;
    const struct http_config *cfg = msg->config ? msg->config : &config_defaults_;
    if (msg->n_to == 0) {
        err_set(e, "a mail without recipients");
        return -EINVAL;
    }
    ptrdiff_t colon = str_rchr(msg->smarthost, ':');
    struct str host = colon < 0 ? msg->smarthost : str_sub(msg->smarthost, 0, (size_t)colon);
    bool loopback = str_eqz(host, "localhost") || str_starts(host, STR("127.")) || str_eqz(host, "[::1]");
    if (!str_empty(msg->username) && !msg->require_tls && !msg->implicit_tls && !loopback) {
        err_set(e, "refusing to send the mail password to " STR_FMT " without TLS (smtp_require_tls: true)",
                STR_ARG(host));
        return -EINVAL;
    }
    struct http_call *c = call_new(m, fn, ctx, msg->timeout_ms);
    c->config = &config_defaults_;
    c->smtp = true;
    c->max_body = 64 << 10;
    buf_init(&c->in, c->max_body);
    c->body = msg->data;
    set_common(c);
    SET(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    SET(c, CURLOPT_PROXY, "");
    struct buf b = BUF_INIT(16384);
    buf_fmt(&b, "%s://" STR_FMT, msg->implicit_tls ? "smtps" : "smtp", STR_ARG(msg->smarthost));
    if (colon < 0)
        buf_z(&b, msg->implicit_tls ? ":465" : ":25");
    buf_putc(&b, '/');
    for (size_t i = 0; i < msg->hello.n; i++) { /* it becomes the path of the URL */
        char ch = msg->hello.p[i];
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr("-._[]:", ch))
            buf_putc(&b, ch);
    }
    r = set_url(c, buf_view(&b), &config_defaults_, false, e);
    if (r == 0)
        r = set_tls(c, cfg);
    SET(c, CURLOPT_USE_SSL, msg->require_tls ? CURLUSESSL_ALL : CURLUSESSL_NONE);
    for (size_t i = 0; i <= msg->n_to && r == 0; i++) {
        struct str addr = i ? msg->to[i - 1] : msg->from;
        buf_reset(&b);
        buf_putc(&b, '<');
        buf_str(&b, addr);
        buf_putc(&b, '>');
        for (size_t k = 0; k < addr.n; k++)
            if ((unsigned char)addr.p[k] < ' ' || addr.p[k] == '<' || addr.p[k] == '>' || addr.p[k] == 0x7f) {
                err_set(e, "mail address \"" STR_FMT "\" holds a character that is not allowed", STR_ARG(addr));
                r = -EINVAL;
            }
        if (i)
            c->rcpt = lib.curl_slist_append(c->rcpt, buf_cstr(&b));
        else
            SET(c, CURLOPT_MAIL_FROM, buf_cstr(&b));
    }
    buf_done(&b);
    if (r < 0) {
        call_free(c);
        return r;
    }
    SET(c, CURLOPT_MAIL_RCPT, c->rcpt);
    if (!str_empty(msg->username)) {
        set_str(c, CURLOPT_USERNAME, msg->username);
        set_str(c, CURLOPT_PASSWORD, msg->password);
    }
    /* A connection that rose to TLS under other rules must not serve this mail. */
    SET(c, CURLOPT_FRESH_CONNECT, 1L);
    SET(c, CURLOPT_FORBID_REUSE, 1L);
    SET(c, CURLOPT_UPLOAD, 1L);
    SET(c, CURLOPT_READFUNCTION, on_send);
    SET(c, CURLOPT_READDATA, c);
    SET(c, CURLOPT_SEEKFUNCTION, on_seek);
    SET(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)-1);
    call_advance(c);
    if (ret)
        *ret = c;
    return 0;
}

/* ---- the end of a call ---- */

static int errno_of(struct http_call *c, CURLcode code)
{
    long os = 0;
    (void)lib.curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os);
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_CONNECT:
        return os > 0 ? -(int)os : -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_LOGIN_DENIED:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_USE_SSL_FAILED:
        return -EACCES;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_BAD_CONTENT_ENCODING:
        return -EBADMSG;
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EPROTONOSUPPORT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return -ECONNRESET;
    default:
        return -EIO;
    }
}

static void call_finish(struct http_call *c, CURLcode code)
{
    struct http_response *r = &c->res;
    curl_off_t wire = 0;
    (void)lib.curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r->status);
    (void)lib.curl_easy_getinfo(c->easy, CURLINFO_SIZE_DOWNLOAD_T, &wire);
    r->wire_bytes = (uint64_t)wire;
    if (code == CURLE_OK && c->inflater && wire > 0 && !inflater_ended(c->inflater))
        c->bad_gzip = true;
    if (code != CURLE_OK || c->bad_gzip) {
        r->error = c->too_large ? -EMSGSIZE : c->bad_gzip ? -EBADMSG : errno_of(c, code);
        if (c->too_large)
            err_set(&r->err, "the answer is larger than %zu bytes", c->max_body);
        else if (c->bad_gzip)
            err_set(&r->err, "the answer is said to be gzip, and is damaged or cut short");
        else if (code == CURLE_OPERATION_TIMEDOUT)
            err_set(&r->err, "timed out after %llu ms",
                    (unsigned long long)((c->deadline_ns - c->started_ns) / 1000000));
        else if (code == CURLE_COULDNT_CONNECT)
            err_set(&r->err, "%s", err_name(r->error));
        else
            err_set(&r->err, "%s", c->errbuf[0] ? c->errbuf : lib.curl_easy_strerror(code));
        if (c->smtp && c->head.n) {
            struct err why = r->err;
            err_clear(&r->err);
            err_set(&r->err, "%s (the server's last words: " STR_FMT ")", why.msg, STR_ARG(buf_view(&c->head)));
        }
    }
}

/* Run the callback of one finished call. It may start and cancel other calls. */
static void call_report(struct http_call *c)
{
    struct http_response *r = &c->res;
    r->took_ns = clock_mono_ns(&clock_real) - c->started_ns;
    r->body = buf_view(&c->in);
    r->body_bytes = c->in.n;
    r->content_type = buf_view(&c->type);
    r->retry_after = buf_view(&c->retry_after);
    r->location = buf_view(&c->location);
    r->headers = buf_view(&c->head);
    done_unlink(c);
    c->fn(c->ctx, r);
    call_free(c);
}

static void collect(struct http_multi *m)
{
    struct CURLMsg *msg;
    int left;
    while ((msg = lib.curl_multi_info_read(m->curl, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct http_call *c = NULL;
        CURLcode code = msg->data.result;
        CURL *easy = msg->easy_handle;
        (void)lib.curl_easy_getinfo(easy, CURLINFO_PRIVATE, &c);
        ASSERT(c && c->state == CALL_RUNNING);
        call_finish(c, code);
        lib.curl_multi_remove_handle(m->curl, easy);
        call_move(c, CALL_DONE);
    }
}

/* Move calls that wait for a name or a token; report what is done. Returns how many were reported. */
static size_t settle(struct http_multi *m)
{
    size_t reported = 0;
    uint64_t now = clock_mono_ns(&clock_real);
    for (struct http_call *c = m->n_pending ? m->calls : NULL; c; c = c->next) {
        if (!pending(c))
            continue;
        if (now >= c->deadline_ns) {
            struct err e = {0};
            err_set(&e, c->state == CALL_LOOKUP ? "timed out looking up %s" : "timed out fetching a token for %s",
                    c->host ? c->host : "the server");
            struct http_call *token = c->token_call;
            c->token_call = NULL;
            call_fail(c, -ETIMEDOUT, &e);
            if (token) {
                call_free(token);
                break; /* the list changed under us; the next poll goes on */
            }
        } else if (c->state == CALL_LOOKUP) {
            call_advance(c);
        }
    }
    while (m->done) { /* a callback may change the list anywhere */
        call_report(m->done);
        reported++;
    }
    return reported;
}

size_t http_multi_poll(struct http_multi *m, int timeout_ms)
{
    ASSERT(!m->polling); /* not from a callback */
    m->polling = true;
    size_t reported = 0;
    int running;
    for (int round = 0; round < 2; round++) {
        uint64_t drop;
        (void)!read(m->wake_fd, &drop, sizeof(drop));
        if (m->curl) {
            (void)lib.curl_multi_perform(m->curl, &running);
            collect(m);
        }
        reported += settle(m);
        if (round || reported || timeout_ms == 0)
            break;
        int wait = timeout_ms;
        for (const struct http_call *c = m->n_pending ? m->calls : NULL; c; c = c->next) {
            if (!pending(c))
                continue;
            uint64_t now = clock_mono_ns(&clock_real);
            int64_t left = c->deadline_ns > now ? (int64_t)((c->deadline_ns - now) / 1000000) + 1 : 0;
            if (wait < 0 || left < wait)
                wait = (int)left;
        }
        if (m->curl) {
            struct curl_waitfd fd = {.fd = m->wake_fd, .events = CURL_WAIT_POLLIN};
            (void)lib.curl_multi_poll(m->curl, &fd, 1, wait < 0 ? 60000 : wait, NULL);
        } else {
            struct pollfd fd = {.fd = m->wake_fd, .events = POLLIN};
            (void)!poll(&fd, 1, wait);
        }
    }
    m->polling = false;
    return m->n_calls;
}

struct http_multi *http_multi_free(struct http_multi *m)
{
    if (!m)
        return NULL;
    resolve_forget(m);
    while (m->calls)
        call_free(m->calls);
    for (size_t i = 0; i < m->n_idle; i++)
        lib.curl_easy_cleanup(m->idle[i]);
    if (m->curl)
        lib.curl_multi_cleanup(m->curl);
    for (size_t i = 0; i < m->tokens.n; i++) {
        free(m->tokens.v[i].key);
        explicit_bzero(m->tokens.v[i].value, strlen(m->tokens.v[i].value));
        free(m->tokens.v[i].value);
    }
    vec_done(&m->tokens);
    close(m->wake_fd);
    free(m);
    return NULL;
}
