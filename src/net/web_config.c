// SPDX-License-Identifier: Apache-2.0
/* Prometheus' web configuration file (exporter-toolkit, docs/web-configuration.md), as schema rows. */
#include "net/server.h"

#include "base/mem.h"

#define ROWS(table) .rows = (table), .n = ARRAY_LEN(table)
#define AT(member) offsetof(struct web_config, member)
#define IN(part, member) (offsetof(struct web_config, part.member) - offsetof(struct web_config, part))

static int read_tls_version(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    static const char *const names[] = {"TLS10", "TLS11", "TLS12", "TLS13"};
    struct str got = n->kind == YAML_SCALAR ? n->s : STR("");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eqz(got, names[i])) {
            *(int *)field = 10 + (int)i;
            return 0;
        }
    return config_fail(c, n, "\"" STR_FMT "\" is no TLS version; allowed: TLS10, TLS11, TLS12, TLS13", STR_ARG(got));
}

static const struct config_row tls_rows[] = {
    {.key = "cert_file",
     .type = CFG_STR,
     .offset = IN(tls, cert_file),
     .flags = CFG_PATH,
     .doc = "certificate chain, PEM"},
    {.key = "key_file", .type = CFG_STR, .offset = IN(tls, key_file), .flags = CFG_PATH, .doc = "its key, PEM"},
    {.key = "cert", .type = CFG_STR, .offset = IN(tls, cert), .doc = "the chain as text"},
    {.key = "key", .type = CFG_STR, .offset = IN(tls, key), .flags = CFG_SECRET, .doc = "the key as text"},
    {.key = "client_auth_type",
     .type = CFG_STR,
     .offset = IN(tls, client_auth_type),
     .dflt = "NoClientCert",
     .doc = "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or "
            "RequireAndVerifyClientCert"},
    {.key = "client_ca_file",
     .type = CFG_STR,
     .offset = IN(tls, client_ca_file),
     .flags = CFG_PATH,
     .doc = "authorities of client certificates"},
    {.key = "client_ca", .type = CFG_STR, .offset = IN(tls, client_ca), .doc = "the authorities as text"},
    {.key = "client_allowed_sans",
     .type = CFG_STRS,
     .offset = IN(tls, client_allowed_sans),
     .doc = "not supported: refused when set"},
    {.key = "min_version",
     .type = CFG_CUSTOM,
     .offset = IN(tls, min_version),
     .read = read_tls_version,
     .doc = "oldest TLS version (default TLS12)"},
    {.key = "max_version",
     .type = CFG_CUSTOM,
     .offset = IN(tls, max_version),
     .read = read_tls_version,
     .doc = "newest TLS version (default TLS13)"},
    {.key = "cipher_suites",
     .type = CFG_STRS,
     .offset = IN(tls, cipher_suites),
     .doc = "accepted; the TLS library's safe set is used"},
    {.key = "prefer_server_cipher_suites",
     .type = CFG_BOOL,
     .offset = IN(tls, prefer_server),
     .dflt = "true",
     .doc = "accepted"},
    {.key = "curve_preferences", .type = CFG_STRS, .offset = IN(tls, curves), .doc = "accepted"},
};

static int check_tls(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const typeof(((struct web_config *)0)->tls) *t = object;
    static const char *const kinds[] = {"",
                                        "NoClientCert",
                                        "RequestClientCert",
                                        "RequireAnyClientCert",
                                        "VerifyClientCertIfGiven",
                                        "RequireAndVerifyClientCert"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        known |= str_eqz(t->client_auth_type, kinds[i]);
    if (!known)
        return config_fail(c, n, "client_auth_type \"" STR_FMT "\" is not known", STR_ARG(t->client_auth_type));
    if (str_empty(t->cert) == str_empty(t->cert_file))
        return config_fail(c, n, "exactly one of cert and cert_file is needed");
    if (str_empty(t->key) == str_empty(t->key_file))
        return config_fail(c, n, "exactly one of key and key_file is needed");
    if (t->client_allowed_sans.n)
        return config_fail(c, n, "client_allowed_sans is not supported");
    bool verifies =
        str_starts(t->client_auth_type, STR("Verify")) || str_starts(t->client_auth_type, STR("RequireAndVerify"));
    if (verifies && str_empty(t->client_ca) && str_empty(t->client_ca_file))
        return config_fail(c, n, "client_auth_type " STR_FMT " needs client_ca_file", STR_ARG(t->client_auth_type));
    return 0;
}

static const struct config_schema tls_schema = {
    .name = "tls_server_config",
    .size = sizeof(((struct web_config *)0)->tls),
    ROWS(tls_rows),
    .check = check_tls,
    .doc = "TLS of the listener",
};

static const struct config_row http_rows[] = {
    {.key = "http2",
     .type = CFG_BOOL,
     .offset = IN(http, http2),
     .dflt = "true",
     .doc = "accepted; HTTP/1.1 is spoken (put a proxy in front for HTTP/2)"},
    {.key = "headers", .type = CFG_MAP, .offset = IN(http, headers), .doc = "headers of every answer"},
};

static int check_http(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    static const char *const allowed[] = {"X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection",
                                          "Strict-Transport-Security", "Content-Security-Policy"};
    const typeof(((struct web_config *)0)->http) *h = object;
    for (size_t i = 0; i < h->headers.n; i++) {
        bool ok = false;
        for (size_t k = 0; k < ARRAY_LEN(allowed); k++)
            ok |= str_ieq(h->headers.v[i].key, str_of(allowed[k]));
        if (!ok)
            return config_fail(c, n, "header \"" STR_FMT "\" can not be configured", STR_ARG(h->headers.v[i].key));
        for (size_t k = 0; k < h->headers.v[i].value.n; k++)
            if ((unsigned char)h->headers.v[i].value.p[k] < ' ')
                return config_fail(c, n, "header \"" STR_FMT "\" holds a control character",
                                   STR_ARG(h->headers.v[i].key));
    }
    return 0;
}

static const struct config_schema http_schema = {
    .name = "http_server_config",
    .size = sizeof(((struct web_config *)0)->http),
    ROWS(http_rows),
    .check = check_http,
    .doc = "HTTP of the listener",
};

static const struct config_row rows[] = {
    {.key = "tls_server_config",
     .type = CFG_STRUCT,
     .offset = AT(tls),
     .sub = &tls_schema,
     .present_offset = AT(tls.present),
     .doc = "serve over TLS"},
    {.key = "http_server_config", .type = CFG_STRUCT, .offset = AT(http), .sub = &http_schema, .doc = "HTTP details"},
    {.key = "basic_auth_users",
     .type = CFG_MAP,
     .offset = AT(basic_auth_users),
     .flags = CFG_SECRET,
     .doc = "user -> bcrypt hash of the password; each is an administrator"},
    {.key = "rate_limit", .type = CFG_NODE, .offset = AT(rate_limit), .doc = "accepted; hune's limits apply"},
};

const struct config_schema web_config_schema = {
    .name = "web_config",
    .size = sizeof(struct web_config),
    ROWS(rows),
    .doc = "Prometheus' --web.config.file",
};
