// SPDX-License-Identifier: Apache-2.0
/* The http_config keys that Prometheus 3.x (scrape, remote write, discovery) and Alertmanager share, as schema rows. */
#include "net/client.h"

#include "base/mem.h"

#define ROWS(table) .rows = (table), .n = ARRAY_LEN(table)
#define AT(member) offsetof(struct http_config, member)
#define IN(part, member) (offsetof(struct http_config, part.member) - offsetof(struct http_config, part))

/* Inside a sub-object, offset 0 cannot name a presence flag, so `present` stands after the keys in each part. */
static const struct config_row basic_auth_rows[] = {
    {.key = "username", .type = CFG_STR, .offset = IN(basic_auth, username), .doc = "user name"},
    {.key = "username_file",
     .type = CFG_STR,
     .offset = IN(basic_auth, username_file),
     .flags = CFG_PATH,
     .doc = "file holding the user name, read at each request"},
    {.key = "password", .type = CFG_STR, .offset = IN(basic_auth, password), .flags = CFG_SECRET, .doc = "password"},
    {.key = "password_file",
     .type = CFG_STR,
     .offset = IN(basic_auth, password_file),
     .flags = CFG_PATH,
     .doc = "file holding the password, read at each request"},
};
static const struct config_schema basic_auth_schema = {
    .name = "basic_auth",
    .size = sizeof(((struct http_config *)0)->basic_auth),
    ROWS(basic_auth_rows),
    .doc = "HTTP Basic credentials",
};

static const struct config_row authorization_rows[] = {
    {.key = "type",
     .type = CFG_STR,
     .offset = IN(authorization, type),
     .dflt = "Bearer",
     .doc = "scheme of the Authorization header"},
    {.key = "credentials",
     .type = CFG_STR,
     .offset = IN(authorization, credentials),
     .flags = CFG_SECRET,
     .doc = "what follows the scheme"},
    {.key = "credentials_file",
     .type = CFG_STR,
     .offset = IN(authorization, credentials_file),
     .flags = CFG_PATH,
     .doc = "file holding the credentials, read at each request"},
};
static const struct config_schema authorization_schema = {
    .name = "authorization",
    .size = sizeof(((struct http_config *)0)->authorization),
    ROWS(authorization_rows),
    .doc = "Authorization header",
};

/* As Prometheus writes them: TLS10 .. TLS13. */
static int read_tls_version(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    static const char *const names[] = {"TLS10", "TLS11", "TLS12", "TLS13"};
    if (n->kind == YAML_SCALAR)
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (str_eqz(n->s, names[i])) {
                *(int *)field = 10 + (int)i;
                return 0;
            }
    struct str got = n->kind == YAML_SCALAR ? n->s : STR("");
    return config_fail(c, n, "\"" STR_FMT "\" is no TLS version; allowed: TLS10, TLS11, TLS12, TLS13", STR_ARG(got));
}

static const struct config_row tls_rows[] = {
    {.key = "ca", .type = CFG_STR, .offset = IN(tls, ca), .doc = "PEM text of the authorities to trust"},
    {.key = "ca_file", .type = CFG_STR, .offset = IN(tls, ca_file), .flags = CFG_PATH, .doc = "the same, as a file"},
    {.key = "cert", .type = CFG_STR, .offset = IN(tls, cert), .doc = "PEM text of the client certificate"},
    {.key = "cert_file",
     .type = CFG_STR,
     .offset = IN(tls, cert_file),
     .flags = CFG_PATH,
     .doc = "the same, as a file"},
    {.key = "key", .type = CFG_STR, .offset = IN(tls, key), .flags = CFG_SECRET, .doc = "PEM text of the client key"},
    {.key = "key_file", .type = CFG_STR, .offset = IN(tls, key_file), .flags = CFG_PATH, .doc = "the same, as a file"},
    {.key = "server_name",
     .type = CFG_STR,
     .offset = IN(tls, server_name),
     .doc = "name to ask for and to check instead of the host of the URL"},
    {.key = "insecure_skip_verify",
     .type = CFG_BOOL,
     .offset = IN(tls, insecure_skip_verify),
     .dflt = "false",
     .doc = "accept any certificate"},
    {.key = "min_version",
     .type = CFG_CUSTOM,
     .offset = IN(tls, min_version),
     .read = read_tls_version,
     .doc = "oldest TLS version: TLS10, TLS11, TLS12, TLS13"},
    {.key = "max_version",
     .type = CFG_CUSTOM,
     .offset = IN(tls, max_version),
     .read = read_tls_version,
     .doc = "newest TLS version: TLS10, TLS11, TLS12, TLS13"},
};

static int check_tls(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const typeof(((struct http_config *)0)->tls) *t = object;
    if (!str_empty(t->ca) && !str_empty(t->ca_file))
        return config_fail(c, n, "at most one of ca and ca_file may be set");
    if (!str_empty(t->cert) && !str_empty(t->cert_file))
        return config_fail(c, n, "at most one of cert and cert_file may be set");
    if (!str_empty(t->key) && !str_empty(t->key_file))
        return config_fail(c, n, "at most one of key and key_file may be set");
    bool cert = !str_empty(t->cert) || !str_empty(t->cert_file), key = !str_empty(t->key) || !str_empty(t->key_file);
    if (cert != key)
        return config_fail(c, n, "a client certificate needs its key, and a key its certificate");
    return 0;
}

static const struct config_schema tls_schema = {
    .name = "tls_config",
    .size = sizeof(((struct http_config *)0)->tls),
    ROWS(tls_rows),
    .check = check_tls,
    .doc = "TLS of the connection",
};

static const struct config_row oauth2_rows[] = {
    {.key = "client_id", .type = CFG_STR, .offset = IN(oauth2, client_id), .flags = CFG_REQUIRED, .doc = "client id"},
    {.key = "client_secret",
     .type = CFG_STR,
     .offset = IN(oauth2, client_secret),
     .flags = CFG_SECRET,
     .doc = "client secret"},
    {.key = "client_secret_file",
     .type = CFG_STR,
     .offset = IN(oauth2, client_secret_file),
     .flags = CFG_PATH,
     .doc = "file holding the secret, read for each token"},
    {.key = "scopes", .type = CFG_STRS, .offset = IN(oauth2, scopes), .doc = "scopes to ask for"},
    {.key = "token_url",
     .type = CFG_STR,
     .offset = IN(oauth2, token_url),
     .flags = CFG_REQUIRED,
     .doc = "where tokens are fetched (client credentials grant)"},
    {.key = "endpoint_params",
     .type = CFG_MAP,
     .offset = IN(oauth2, endpoint_params),
     .doc = "further form fields of the token request"},
    {.key = "tls_config",
     .type = CFG_NODE,
     .offset = IN(oauth2, tls_node),
     .doc = "accepted as Prometheus does; the connection's own tls_config is used"},
    {.key = "proxy_url", .type = CFG_STR, .offset = IN(oauth2, proxy_url), .doc = "proxy for the token request"},
    {.key = "no_proxy", .type = CFG_STR, .offset = IN(oauth2, no_proxy), .doc = "hosts reached without the proxy"},
    {.key = "proxy_from_environment",
     .type = CFG_BOOL,
     .offset = IN(oauth2, proxy_from_environment),
     .dflt = "false",
     .doc = "take the proxy from HTTP_PROXY and friends"},
};
static const struct config_schema oauth2_schema = {
    .name = "oauth2",
    .size = sizeof(((struct http_config *)0)->oauth2),
    ROWS(oauth2_rows),
    .doc = "OAuth 2.0 client credentials",
};

/* http_headers: {X-Name: {values: [..], secrets: [..], files: [..]}}, in that order for one name. A file value is kept
 * as a header with `file` set and read at each request. */
static int read_headers(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    struct http_config *cfg = (struct http_config *)(void *)((char *)field - AT(headers));
    static const char *const reserved[] = {"Authorization",
                                           "Host",
                                           "Content-Encoding",
                                           "Content-Length",
                                           "Content-Type",
                                           "User-Agent",
                                           "Connection",
                                           "Keep-Alive",
                                           "Proxy-Authenticate",
                                           "Proxy-Authorization",
                                           "Www-Authenticate",
                                           "Accept-Encoding",
                                           "X-Prometheus-Remote-Write-Version",
                                           "X-Prometheus-Remote-Read-Version",
                                           "X-Prometheus-Scrape-Timeout-Seconds",
                                           "X-Amz-Date",
                                           "X-Amz-Security-Token",
                                           "X-Amz-Content-Sha256"};
    static const char *const keys[] = {"values", "secrets", "files"};
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_MAP)
        return config_fail(c, n, "wants a map of header names");
    size_t count = 0;
    for (size_t i = 0; i < n->n; i++) {
        const struct yaml_node *one = n->items[i];
        for (size_t k = 0; k < ARRAY_LEN(reserved); k++)
            if (str_ieq(n->keys[i]->s, str_of(reserved[k])))
                return config_fail(c, n->keys[i], "setting header \"%s\" is not allowed", reserved[k]);
        if (one->kind != YAML_MAP)
            return config_fail(c, one, "wants values, secrets or files");
        for (size_t k = 0; k < one->n; k++) {
            bool known = false;
            for (size_t j = 0; j < ARRAY_LEN(keys); j++)
                known |= str_eqz(one->keys[k]->s, keys[j]);
            if (!known)
                return config_fail(c, one->keys[k], "unknown key \"" STR_FMT "\"; allowed: values, secrets, files",
                                   STR_ARG(one->keys[k]->s));
            if (one->items[k]->kind != YAML_SEQ)
                return config_fail(c, one->items[k], "wants a list");
            count += one->items[k]->n;
        }
    }
    struct http_header *v = ARENA_ARRAY(c->arena, struct http_header, count ? count : 1);
    size_t at = 0;
    for (size_t i = 0; i < n->n; i++)
        for (size_t j = 0; j < ARRAY_LEN(keys); j++) {
            const struct yaml_node *list = yaml_get(n->items[i], keys[j]);
            for (size_t k = 0; list && k < list->n; k++) {
                if (list->items[k]->kind != YAML_SCALAR)
                    return config_fail(c, list->items[k], "wants a text");
                v[at++] = (struct http_header){.name = arena_str(c->arena, n->keys[i]->s),
                                               .value = arena_str(c->arena, list->items[k]->s),
                                               .file = j == 2};
            }
        }
    cfg->headers = v;
    cfg->n_headers = at;
    return 0;
}

static const struct config_row rows[] = {
    {.key = "basic_auth",
     .type = CFG_STRUCT,
     .offset = AT(basic_auth),
     .sub = &basic_auth_schema,
     .present_offset = AT(basic_auth.present),
     .doc = "HTTP Basic credentials"},
    {.key = "authorization",
     .type = CFG_STRUCT,
     .offset = AT(authorization),
     .sub = &authorization_schema,
     .present_offset = AT(authorization.present),
     .doc = "Authorization header"},
    {.key = "bearer_token",
     .type = CFG_STR,
     .offset = AT(bearer_token),
     .flags = CFG_SECRET,
     .doc = "older form of authorization.credentials"},
    {.key = "bearer_token_file",
     .type = CFG_STR,
     .offset = AT(bearer_token_file),
     .flags = CFG_PATH,
     .doc = "older form of authorization.credentials_file"},
    {.key = "oauth2",
     .type = CFG_STRUCT,
     .offset = AT(oauth2),
     .sub = &oauth2_schema,
     .present_offset = AT(oauth2.present),
     .doc = "OAuth 2.0 client credentials"},
    {.key = "tls_config", .type = CFG_STRUCT, .offset = AT(tls), .sub = &tls_schema, .doc = "TLS of the connection"},
    {.key = "proxy_url", .type = CFG_STR, .offset = AT(proxy_url), .doc = "proxy to go through"},
    {.key = "no_proxy",
     .type = CFG_STR,
     .offset = AT(no_proxy),
     .doc = "hosts reached without the proxy, comma separated"},
    {.key = "proxy_from_environment",
     .type = CFG_BOOL,
     .offset = AT(proxy_from_environment),
     .dflt = "false",
     .doc = "take the proxy from HTTP_PROXY, HTTPS_PROXY, NO_PROXY"},
    {.key = "proxy_connect_header",
     .type = CFG_NODE,
     .offset = AT(proxy_connect_header),
     .doc = "accepted as Prometheus does; not sent"},
    {.key = "follow_redirects",
     .type = CFG_BOOL,
     .offset = AT(follow_redirects),
     .dflt = "true",
     .doc = "follow up to 10 redirects"},
    {.key = "enable_http2", .type = CFG_BOOL, .offset = AT(enable_http2), .dflt = "true", .doc = "use HTTP/2 over TLS"},
    {.key = "http_headers",
     .type = CFG_CUSTOM,
     .offset = AT(headers),
     .read = read_headers,
     .doc = "further headers: name -> values, secrets, files"},
};

static int check(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    struct http_config *h = object;
    bool bearer = !str_empty(h->bearer_token) || !str_empty(h->bearer_token_file);
    if (!str_empty(h->bearer_token) && !str_empty(h->bearer_token_file))
        return config_fail(c, n, "at most one of bearer_token and bearer_token_file may be set");
    if (bearer && h->authorization.present)
        return config_fail(c, n, "authorization is not compatible with bearer_token and bearer_token_file");
    if ((bearer || h->authorization.present) + h->basic_auth.present + h->oauth2.present > 1)
        return config_fail(c, n, "at most one of basic_auth, oauth2, authorization and bearer_token(_file) may be set");
    if (h->basic_auth.present) {
        if (!str_empty(h->basic_auth.username) && !str_empty(h->basic_auth.username_file))
            return config_fail(c, n, "at most one of basic_auth username and username_file may be set");
        if (!str_empty(h->basic_auth.password) && !str_empty(h->basic_auth.password_file))
            return config_fail(c, n, "at most one of basic_auth password and password_file may be set");
    }
    if (h->authorization.present) {
        if (!str_empty(h->authorization.credentials) && !str_empty(h->authorization.credentials_file))
            return config_fail(c, n, "at most one of authorization credentials and credentials_file may be set");
        h->authorization.type = str_trim(h->authorization.type);
        if (str_empty(h->authorization.type))
            h->authorization.type = STR("Bearer");
        if (str_ieq(h->authorization.type, STR("basic")))
            return config_fail(c, n, "authorization type cannot be \"basic\"; use basic_auth instead");
    }
    if (bearer) {
        h->authorization.present = true;
        h->authorization.type = STR("Bearer");
        h->authorization.credentials = h->bearer_token;
        h->authorization.credentials_file = h->bearer_token_file;
    }
    if (h->oauth2.present && !str_empty(h->oauth2.client_secret) && !str_empty(h->oauth2.client_secret_file))
        return config_fail(c, n, "at most one of oauth2 client_secret and client_secret_file may be set");
    if (h->proxy_from_environment && (!str_empty(h->proxy_url) || !str_empty(h->no_proxy)))
        return config_fail(c, n, "proxy_from_environment excludes proxy_url and no_proxy");
    if (str_empty(h->proxy_url) && !str_empty(h->no_proxy))
        return config_fail(c, n, "no_proxy needs proxy_url");
    return 0;
}

const struct config_schema http_config_schema = {
    .name = "http_config",
    .size = sizeof(struct http_config),
    ROWS(rows),
    .check = check,
    .doc = "How an HTTP request is made: credentials, TLS, proxy, headers",
};
