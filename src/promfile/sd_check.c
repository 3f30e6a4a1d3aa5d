// SPDX-License-Identifier: Apache-2.0
/* What Prometheus refuses inside kinds of discovery that hune does not act on, so that `check config` finds the same
 * mistakes. */
#include "promfile/promfile_int.h"

static bool there(const struct yaml_node *n, const char *key)
{
    const struct yaml_node *v = yaml_get(n, key);
    return v && v->kind != YAML_NULL && !(v->kind == YAML_SCALAR && str_empty(v->s)) &&
           !(v->kind == YAML_SEQ && v->n == 0);
}

static int azure(struct config_ctx *c, const struct yaml_node *n)
{
    static const char *const keys[] = {"tenant_id", "client_id", "client_secret"};
    const struct yaml_node *method = yaml_get(n, "authentication_method");
    if (method && !str_empty(method->s) && !str_eqz(method->s, "OAuth"))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (!there(n, keys[i]))
            return config_fail(c, n, "azure SD configuration requires a %s", keys[i]);
    return 0;
}

static int filters(struct config_ctx *c, const struct yaml_node *n)
{
    const struct yaml_node *list = yaml_get(n, "filters");
    for (size_t i = 0; list && list->kind == YAML_SEQ && i < list->n; i++)
        if (!there(list->items[i], "values"))
            return config_fail(c, list->items[i], "SD configuration filter values cannot be empty");
    return 0;
}

static int eureka(struct config_ctx *c, const struct yaml_node *n)
{
    return promfile_check_url(c, yaml_get(n, "server"), yaml_get(n, "server")->s, "eureka server");
}

static int marathon(struct config_ctx *c, const struct yaml_node *n)
{
    if (there(n, "auth_token") && there(n, "auth_token_file"))
        return config_fail(c, n, "at most one of auth_token & auth_token_file must be configured");
    if ((there(n, "auth_token") || there(n, "auth_token_file")) &&
        (there(n, "authorization") || there(n, "basic_auth") || there(n, "oauth2") || there(n, "bearer_token") ||
         there(n, "bearer_token_file")))
        return config_fail(
            c, n,
            "at most one of auth_token, auth_token_file, authorization, basic_auth and oauth2 must be configured");
    return 0;
}

static int secret_key(struct config_ctx *c, const struct yaml_node *n)
{
    if (there(n, "secret_key") == there(n, "secret_key_file"))
        return config_fail(c, n, "exactly one of secret_key & secret_key_file must be configured");
    return 0;
}

/* One selector, `a=b,c!=d` (fields) or also `a in (b,c)`, `a`, `!a` (labels). */
static bool selector_valid(struct str s, bool field)
{
    struct str one;
    int depth = 0;
    for (size_t i = 0; i < s.n; i++)
        depth += (s.p[i] == '(') - (s.p[i] == ')');
    if (depth != 0)
        return false;
    while (field && !str_empty(s)) {
        str_cut(s, ',', &one, &s);
        if (str_chr(one, '=') < 0)
            return false;
    }
    return true;
}

static int kubernetes(struct config_ctx *c, const struct yaml_node *n)
{
    static const struct {
        const char *role, *selectors;
    } roles[] = {
        {"node", " node "},
        {"pod", " pod node "},
        {"service", " service "},
        {"endpoints", " pod service endpoints "},
        {"endpointslice", " pod service endpointslice "},
        {"ingress", " ingress "},
    };
    static const char *const http[] = {"basic_auth",        "authorization", "oauth2",   "bearer_token",
                                       "bearer_token_file", "tls_config",    "proxy_url"};
    const struct yaml_node *role = yaml_get(n, "role"), *names = yaml_get(n, "namespaces"),
                           *list = yaml_get(n, "selectors");
    const struct yaml_node *own = names ? yaml_get(names, "own_namespace") : NULL;
    bool own_namespace = false, custom_http = false;
    size_t k = 0;
    while (k < ARRAY_LEN(roles) && !str_ieq(role->s, str_of(roles[k].role)))
        k++;
    if (k == ARRAY_LEN(roles))
        return config_fail(c, role,
                           "unknown Kubernetes SD role \"" STR_FMT
                           "\", allowed: node, pod, service, endpoints, endpointslice, ingress",
                           STR_ARG(role->s));
    if (own && !yaml_bool(own, &own_namespace))
        return config_fail(c, own, "own_namespace: wants true or false");
    for (size_t i = 0; i < ARRAY_LEN(http); i++)
        custom_http |= there(n, http[i]);
    if (there(n, "api_server") && own_namespace)
        return config_fail(c, n, "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously");
    if (there(n, "kubeconfig_file") && there(n, "api_server"))
        return config_fail(c, n, "cannot use 'kubeconfig_file' and 'api_server' simultaneously");
    if (there(n, "kubeconfig_file") && custom_http)
        return config_fail(c, n, "cannot use a custom HTTP client configuration together with 'kubeconfig_file'");
    if (there(n, "kubeconfig_file") && own_namespace)
        return config_fail(c, n, "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously");
    if (!there(n, "api_server") && !there(n, "kubeconfig_file") && custom_http)
        return config_fail(c, n, "to use a custom HTTP client configuration 'api_server' URL must be set explicitly");
    for (size_t i = 0; list && list->kind == YAML_SEQ && i < list->n; i++) {
        const struct yaml_node *s = list->items[i], *r = yaml_get(s, "role"), *label = yaml_get(s, "label"),
                               *field = yaml_get(s, "field");
        char padded[32];
        (void)snprintf(padded, sizeof(padded), " " STR_FMT " ",
                       STR_ARG(r ? str_sub(r->s, 0, 20) : STR("-"))); /* longer ones are unknown */
        if (!strstr(roles[k].selectors, padded))
            return config_fail(c, s, "%s role supports only%.*sselectors", roles[k].role,
                               (int)strlen(roles[k].selectors), roles[k].selectors);
        if ((label && !selector_valid(label->s, false)) || (field && !selector_valid(field->s, true)))
            return config_fail(c, s, "invalid selector");
        for (size_t j = 0; j < i; j++) {
            const struct yaml_node *other = yaml_get(list->items[j], "role");
            if (other && str_eq(other->s, r->s))
                return config_fail(c, s, "duplicated selector role \"" STR_FMT "\"", STR_ARG(r->s));
        }
    }
    return 0;
}

int promfile_check_kind(struct config_ctx *c, const char *kind, const struct yaml_node *n)
{
    static const struct {
        const char *kind;
        int (*check)(struct config_ctx *c, const struct yaml_node *n);
    } rows[] = {{"azure", azure},       {"ec2", filters},         {"eureka", eureka},      {"kubernetes", kubernetes},
                {"marathon", marathon}, {"outscale", secret_key}, {"scaleway", secret_key}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].kind, kind) == 0)
            return rows[i].check(c, n);
    return 0;
}
