// SPDX-License-Identifier: Apache-2.0
/* Lists of service discovery. Every kind Prometheus 3.x knows is known by name; `static` and `file` are read here,
 * others are kept as nodes for rooms to come and refused when a server is to run with them. */
#include "promfile/promfile_int.h"

#include "base/parse.h"

/* needs: keys without which Prometheus refuses the section, separated by blanks. */
static const struct {
    const char *key, *kind, *needs;
    bool http; /* carries the keys of http_config */
} kinds[] = {
    {"static_configs", "static", NULL, false},
    {"file_sd_configs", "file", NULL, false},
    {"http_sd_configs", "http", "url", true},
    {"dns_sd_configs", "dns", "names", false},
    {"docker_sd_configs", "docker", "host", true},
    {"dockerswarm_sd_configs", "dockerswarm", "host role", true},
    {"consul_sd_configs", "consul", NULL, true},
    {"kubernetes_sd_configs", "kubernetes", "role", true},
    {"aws_sd_configs", "aws", "role", true},
    {"azure_sd_configs", "azure", "subscription_id", true},
    {"digitalocean_sd_configs", "digitalocean", NULL, true},
    {"ec2_sd_configs", "ec2", NULL, true},
    {"ecs_sd_configs", "ecs", NULL, true},
    {"elasticache_sd_configs", "elasticache", NULL, true},
    {"eureka_sd_configs", "eureka", "server", true},
    {"gce_sd_configs", "gce", "project zone", false},
    {"hetzner_sd_configs", "hetzner", "role", true},
    {"ionos_sd_configs", "ionos", "datacenter_id", true},
    {"kuma_sd_configs", "kuma", "server", true},
    {"lightsail_sd_configs", "lightsail", NULL, true},
    {"linode_sd_configs", "linode", NULL, true},
    {"marathon_sd_configs", "marathon", "servers", true},
    {"msk_sd_configs", "msk", NULL, true},
    {"nerve_sd_configs", "nerve", "servers paths", false},
    {"nomad_sd_configs", "nomad", NULL, true},
    {"oci_sd_configs", "oci", NULL, true},
    {"openstack_sd_configs", "openstack", "role", false},
    {"outscale_sd_configs", "outscale", NULL, true},
    {"ovhcloud_sd_configs", "ovhcloud", "application_key service", false},
    {"puppetdb_sd_configs", "puppetdb", "url query", true},
    {"rds_sd_configs", "rds", NULL, true},
    {"scaleway_sd_configs", "scaleway", "project_id role", true},
    {"serverset_sd_configs", "serverset", "servers paths", false},
    {"stackit_sd_configs", "stackit", "project", true},
    {"triton_sd_configs", "triton", "account dns_suffix endpoint", false},
    {"uyuni_sd_configs", "uyuni", "server", true},
    {"vultr_sd_configs", "vultr", NULL, true},
};
_Static_assert(ARRAY_LEN(kinds) <= PROMFILE_SD_MAX, "raise PROMFILE_SD_MAX");

/* Only for masking: whatever a discovery section calls a secret. */
static const char *const secret_keys[] = {"password",           "token",
                                          "secret_key",         "client_secret",
                                          "auth_token",         "application_credential_secret",
                                          "application_secret", "consumer_key",
                                          "private_key",        "service_account_key",
                                          "bearer_token",       "pass_phrase"};
static struct config_schema mask_schema = {.name = "sd_config"};

size_t promfile_sd_rows(struct config_row *rows, size_t offset)
{
    if (!mask_schema.rows) {
        struct config_row own[ARRAY_LEN(secret_keys)] = {{0}};
        for (size_t i = 0; i < ARRAY_LEN(secret_keys); i++)
            own[i] = (struct config_row){.key = secret_keys[i], .type = CFG_STR, .flags = CFG_SECRET};
        promfile_join_rows(&mask_schema, own, ARRAY_LEN(own), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        rows[i] = (struct config_row){.key = kinds[i].key,
                                      .type = CFG_NODE,
                                      .offset = offset + i * sizeof(struct yaml_node *),
                                      .sub = &mask_schema,
                                      .doc = "service discovery of this kind"};
    return ARRAY_LEN(kinds);
}

static int read_static(struct config_ctx *c, const struct yaml_node *n, struct promfile_sd *sd)
{
    for (size_t i = 0; i < n->n; i++)
        if (!str_eqz(n->keys[i]->s, "targets") && !str_eqz(n->keys[i]->s, "labels"))
            return config_fail(c, n->keys[i], "unknown key \"" STR_FMT "\" in static_config, allowed: targets, labels",
                               STR_ARG(n->keys[i]->s));
    const struct yaml_node *labels = yaml_get(n, "labels"), *targets = yaml_get(n, "targets");
    if (labels) {
        int r = promfile_read_labels(c, labels, &sd->labels);
        if (r < 0)
            return r;
    }
    if (!targets || targets->kind == YAML_NULL)
        return 0;
    if (targets->kind != YAML_SEQ)
        return config_fail(c, targets, "targets: wants a list of addresses");
    struct labels *v = ARENA_ARRAY(c->arena, struct labels, targets->n ? targets->n : 1);
    for (size_t i = 0; i < targets->n; i++) {
        if (targets->items[i]->kind != YAML_SCALAR)
            return config_fail(c, targets->items[i], "targets: wants an address, host:port");
        struct label *l = ARENA_NEW(c->arena, struct label);
        *l = (struct label){STR("__address__"), targets->items[i]->s};
        v[i] = (struct labels){l, 1};
    }
    sd->targets = v;
    sd->n_targets = targets->n;
    return 0;
}

static bool target_file_valid(struct str s)
{
    static const char *const endings[] = {".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (str_ends(s, str_of(endings[i])))
            return promfile_pattern_valid(s);
    return false;
}

static int read_file(struct config_ctx *c, const struct yaml_node *n, struct promfile_sd *sd)
{
    struct raw {
        struct config_strs files;
        int64_t refresh_ms;
    } raw = {0};
    static const struct config_row rows[] = {
        {.key = "files",
         .type = CFG_STRS,
         .offset = offsetof(struct raw, files),
         .flags = CFG_PATH,
         .doc = "patterns of target files"},
        {.key = "refresh_interval",
         .type = CFG_DURATION,
         .offset = offsetof(struct raw, refresh_ms),
         .dflt = "5m",
         .doc = "how often they are read again"},
    };
    static const struct config_schema schema = {
        .name = "file_sd_config", .size = sizeof(struct raw), .rows = rows, .n = ARRAY_LEN(rows)};
    int r = config_read(c, &schema, n, &raw);
    if (r < 0)
        return r;
    if (raw.files.n == 0)
        return config_fail(c, n, "file service discovery config must contain at least one path name");
    for (size_t i = 0; i < raw.files.n; i++)
        if (!target_file_valid(raw.files.v[i]))
            return config_fail(
                c, yaml_get(n, "files"),
                "path name \"" STR_FMT
                "\" is not valid for file discovery (.json, .yml or .yaml; a star in the last part only)",
                STR_ARG(raw.files.v[i]));
    sd->files = raw.files;
    sd->refresh_ms = raw.refresh_ms;
    return 0;
}

/* The keys of http_config in a section hune does not act on are still checked (oauth2 has keys there of its own). */
static int check_http_part(struct config_ctx *c, const struct yaml_node *n)
{
    struct yaml_node part = *n;
    part.keys = ARENA_ARRAY(c->arena, struct yaml_node *, n->n + 1);
    part.items = ARENA_ARRAY(c->arena, struct yaml_node *, n->n + 1);
    part.n = 0;
    for (size_t i = 0; i < n->n; i++)
        for (size_t k = 0; k < http_config_schema.n; k++)
            if (str_eqz(n->keys[i]->s, http_config_schema.rows[k].key) && !str_eqz(n->keys[i]->s, "oauth2")) {
                part.keys[part.n] = n->keys[i];
                part.items[part.n++] = n->items[i];
            }
    struct http_config http = {0};
    return config_read(c, &http_config_schema, &part, &http);
}

static int check_other(struct config_ctx *c, size_t kind, const struct yaml_node *n)
{
    struct str needs = str_of(kinds[kind].needs), key;
    while (!str_empty(needs)) {
        str_cut(needs, ' ', &key, &needs);
        bool there = false;
        for (size_t i = 0; i < n->n; i++) {
            const struct yaml_node *v = n->items[i];
            there |= str_eq(n->keys[i]->s, key) && v->kind != YAML_NULL && !(v->kind == YAML_SEQ && v->n == 0) &&
                     !(v->kind == YAML_SCALAR && str_empty(v->s));
        }
        if (!there)
            return config_fail(c, n, "%s: \"" STR_FMT "\" is required", kinds[kind].key, STR_ARG(key));
    }
    const struct yaml_node *url = yaml_get(n, "url");
    if (url) {
        int r = promfile_check_url(c, url, url->s, kinds[kind].key);
        if (r < 0)
            return r;
    }
    int r = kinds[kind].http ? check_http_part(c, n) : 0;
    return r < 0 ? r : promfile_check_kind(c, kinds[kind].kind, n);
}

int promfile_read_sds(struct config_ctx *c, const struct sd_nodes *nodes, struct promfile_sds *ret)
{
    struct reading *rd = c->user;
    size_t n = 0;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        if (nodes->v[k] && nodes->v[k]->kind != YAML_NULL) {
            if (nodes->v[k]->kind != YAML_SEQ)
                return config_fail(c, nodes->v[k], "%s: wants a list", kinds[k].key);
            n += nodes->v[k]->n;
        }
    struct promfile_sd *v = ARENA_ARRAY(c->arena, struct promfile_sd, n ? n : 1);
    n = 0;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (size_t i = 0; nodes->v[k] && nodes->v[k]->kind == YAML_SEQ && i < nodes->v[k]->n; i++) {
            const struct yaml_node *item = nodes->v[k]->items[i];
            if (item->kind != YAML_MAP)
                return config_fail(c, item, "empty or null section in %s", kinds[k].key);
            struct promfile_sd *sd = &v[n++];
            *sd = (struct promfile_sd){.kind = kinds[k].kind, .node = item};
            int r = k == 0 ? read_static(c, item, sd) : k == 1 ? read_file(c, item, sd) : check_other(c, k, item);
            if (r < 0)
                return r;
            if (k < 2)
                continue;
            if (!(rd->flags & PROMFILE_SYNTAX_ONLY))
                return config_fail(c, item,
                                   "unsupported service discovery kind \"%s\": this version acts on static_configs and "
                                   "file_sd_configs",
                                   kinds[k].key);
            promfile_warn(
                c, item,
                "%s: this kind of service discovery is not acted on in this version; a server refuses to start with it",
                kinds[k].key);
        }
    *ret = (struct promfile_sds){v, n};
    return 0;
}
