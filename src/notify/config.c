// SPDX-License-Identifier: Apache-2.0
/* alertmanager.yml: global, route tree, inhibition, templates. Receivers and time intervals have files of their own. */
#include "notify/notify_int.h"
#include "base/utf8.h"
#include "sys/fs.h"
#include <stdio.h>

void load_warn(struct load *l, const char *fmt, ...)
{
    if (!l->warn)
        return;
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    l->warn(l->warn_ctx, msg);
}

/* ---- global ---- */

static int ignore_node(struct config_ctx *c, const struct yaml_node *n, void *field)
{
    (void)c;
    (void)n;
    (void)field; /* looked up by the receiver kind that uses it */
    return 0;
}

#define G(member) offsetof(struct global, member)
#define LOOKUP(name, kinds)                                                                                            \
    {                                                                                                                  \
        name, CFG_CUSTOM, 0, .read = ignore_node, .doc = "Default of " kinds                                           \
    }
#define LOOKUP_SECRET(name, kinds)                                                                                     \
    {                                                                                                                  \
        name, CFG_CUSTOM, 0, .read = ignore_node, .flags = CFG_SECRET, .doc = "Default of " kinds                      \
    }
static const struct config_row global_rows[] = {
    {"resolve_timeout", CFG_DURATION, G(resolve_timeout_ms), .dflt = "5m", .unit = "duration",
     .doc = "Alerts without an end are resolved after this"},
    {"http_config", CFG_STRUCT, G(http), .sub = &http_config_schema, .present_offset = G(has_http),
     .doc = "HTTP options of receivers that set none"},
    {"smtp_from", CFG_STR, G(smtp_from), .doc = "Sender of mail"},
    {"smtp_smarthost", CFG_STR, G(smtp_smarthost), .doc = "Mail server, host:port"},
    {"smtp_hello", CFG_STR, G(smtp_hello), .dflt = "localhost", .doc = "Name given to the mail server"},
    {"smtp_auth_username", CFG_STR, G(smtp_auth_username), .doc = "User of the mail server"},
    {"smtp_auth_password", CFG_STR, G(smtp_auth_password), .flags = CFG_SECRET, .doc = "Password of the mail server"},
    {"smtp_auth_password_file", CFG_STR, G(smtp_auth_password_file), .doc = "File with that password"},
    {"smtp_auth_identity", CFG_STR, G(smtp_auth_identity), .doc = "Identity for PLAIN"},
    {"smtp_auth_secret", CFG_STR, G(smtp_auth_secret), .flags = CFG_SECRET, .doc = "Secret for CRAM-MD5"},
    {"smtp_auth_secret_file", CFG_STR, G(smtp_auth_secret_file), .doc = "File with that secret"},
    {"smtp_require_tls", CFG_BOOL, G(smtp_require_tls), .dflt = "true", .doc = "Refuse to send mail without STARTTLS"},
    {"smtp_force_implicit_tls", CFG_BOOL, G(smtp_force_implicit_tls), .doc = "Begin with TLS whatever the port"},
    {"smtp_tls_config", CFG_NODE, G(smtp_tls_config), .doc = "TLS options of mail"},
    LOOKUP_SECRET("slack_api_url", "slack"),
    LOOKUP("slack_api_url_file", "slack"),
    LOOKUP_SECRET("slack_app_token", "slack"),
    LOOKUP("slack_app_token_file", "slack"),
    LOOKUP("slack_app_url", "slack"),
    LOOKUP_SECRET("telegram_bot_token", "telegram"),
    LOOKUP("telegram_bot_token_file", "telegram"),
    LOOKUP("telegram_api_url", "telegram"),
    LOOKUP_SECRET("mattermost_webhook_url", "mattermost"),
    LOOKUP("mattermost_webhook_url_file", "mattermost"),
    LOOKUP("pagerduty_url", "pagerduty"),
    LOOKUP("opsgenie_api_url", "opsgenie"),
    LOOKUP_SECRET("opsgenie_api_key", "opsgenie"),
    LOOKUP("opsgenie_api_key_file", "opsgenie"),
    LOOKUP("jira_api_url", "jira"),
    LOOKUP("rocketchat_api_url", "rocketchat"),
    LOOKUP_SECRET("rocketchat_token", "rocketchat"),
    LOOKUP("rocketchat_token_file", "rocketchat"),
    LOOKUP("rocketchat_token_id", "rocketchat"),
    LOOKUP("rocketchat_token_id_file", "rocketchat"),
    LOOKUP("victorops_api_url", "victorops"),
    LOOKUP_SECRET("victorops_api_key", "victorops"),
    LOOKUP("victorops_api_key_file", "victorops"),
    LOOKUP("wechat_api_url", "wechat"),
    LOOKUP_SECRET("wechat_api_secret", "wechat"),
    LOOKUP("wechat_api_secret_file", "wechat"),
    LOOKUP("wechat_api_corp_id", "wechat"),
    LOOKUP("webex_api_url", "webex"),
};
static const struct config_schema global_schema = {.name = "global",
                                                   .size = sizeof(struct global),
                                                   .rows = global_rows,
                                                   .n = ARRAY_LEN(global_rows),
                                                   .doc = "Defaults of all receivers"};

/* ---- matchers ---- */

static void own_matchers(struct notify_config *c, struct matcher *m, size_t n)
{
    vec_push(&c->matchers, m);
    vec_push(&c->matcher_counts, n);
}

static int add_matchers(struct load *l, struct matcher **v, size_t *n, struct matcher *m, size_t k)
{
    struct matcher *all = ARENA_ARRAY(l->c->arena, struct matcher, *n + k + 1);
    if (*n)
        memcpy(all, *v, *n * sizeof(*all));
    if (k)
        memcpy(all + *n, m, k * sizeof(*all));
    *v = all;
    *n += k;
    return 0;
}

/* `match:` and `match_re:` of old files. */
static int read_old(struct load *l, const struct yaml_node *n, bool re, struct matcher **v, size_t *ret_n)
{
    if (n->kind == YAML_NULL)
        return 0;
    if (n->kind != YAML_MAP)
        return config_fail(l->ctx, n, "match: wants a mapping of label to value");
    for (size_t i = 0; i < n->n; i++) {
        struct matcher *m = ARENA_ARRAY(l->c->arena, struct matcher, 1);
        struct err e = {0};
        if (!label_name_legacy(n->keys[i]->s))
            return config_fail(l->ctx, n->keys[i], "invalid label name \"" STR_FMT "\"", STR_ARG(n->keys[i]->s));
        if (matcher_init(m, re ? MATCH_RE : MATCH_EQ, n->keys[i]->s, n->items[i]->s, &e))
            return config_fail(l->ctx, n->items[i], "%s", e.msg);
        own_matchers(l->c, m, 1);
        (void)add_matchers(l, v, ret_n, m, 1); /* cannot fail */
    }
    return 0;
}

static int read_matchers(struct load *l, const struct yaml_node *n, struct matcher **v, size_t *ret_n)
{
    if (n->kind == YAML_NULL)
        return 0;
    size_t count = n->kind == YAML_SEQ ? n->n : 1;
    for (size_t i = 0; i < count; i++) {
        const struct yaml_node *item = n->kind == YAML_SEQ ? n->items[i] : n;
        struct matcher *m;
        size_t k;
        bool classic = false;
        struct err e = {0};
        if (item->kind != YAML_SCALAR)
            return config_fail(l->ctx, item, "matchers: wants text such as severity=\"critical\"");
        if (notify_matchers_parse(item->s, l->c->arena, &m, &k, &classic, &e))
            return config_fail(l->ctx, item, "%s", e.msg);
        own_matchers(l->c, m, k);
        if (classic)
            load_warn(l, "%s:%u: matcher \"" STR_FMT "\" is read by the old rules; put its value in double quotes",
                      l->ctx->file, item->line, STR_ARG(item->s));
        (void)add_matchers(l, v, ret_n, m, k); /* cannot fail */
    }
    return 0;
}

/* ---- routes ---- */

static const struct receiver *find_receiver(const struct notify_config *c, struct str name)
{
    for (size_t i = 0; i < c->n_receivers; i++)
        if (str_eq(c->receivers[i].name, name))
            return &c->receivers[i];
    return NULL;
}

static const struct interval *find_interval(const struct notify_config *c, struct str name)
{
    for (size_t i = 0; i < c->n_intervals; i++)
        if (str_eq(c->intervals[i].name, name))
            return &c->intervals[i];
    return NULL;
}

struct raw_route {
    struct str receiver;
    struct config_strs group_by, mute, active;
    bool keep_going, has_group_by, has_wait, has_interval, has_repeat;
    int64_t wait_ms, interval_ms, repeat_ms;
    struct config_map labels;
    const struct yaml_node *matchers, *match, *match_re, *routes;
};
#define R(member) offsetof(struct raw_route, member)
static const struct config_row route_rows[] = {
    {"receiver", CFG_STR, R(receiver), .doc = "Who is told; the parent's when absent"},
    {"group_by", CFG_STRS, R(group_by), .flags = CFG_SCALAR_OK, .present_offset = R(has_group_by),
     .doc = "Labels that make a group; ['...'] = every alert alone"},
    {"continue", CFG_BOOL, R(keep_going), .doc = "Go on to the next sibling after a match"},
    {"matchers", CFG_NODE, R(matchers), .doc = "All must match"},
    {"match", CFG_NODE, R(match), .doc = "Old form: label equals value"},
    {"match_re", CFG_NODE, R(match_re), .doc = "Old form: label matches expression"},
    {"labels", CFG_MAP, R(labels), .doc = "Labels given to templates, inherited"},
    {"group_wait", CFG_DURATION, R(wait_ms), .unit = "duration", .present_offset = R(has_wait),
     .doc = "Wait before the first message of a group (30s)"},
    {"group_interval", CFG_DURATION, R(interval_ms), .unit = "duration", .present_offset = R(has_interval),
     .doc = "Between messages of a changed group (5m)"},
    {"repeat_interval", CFG_DURATION, R(repeat_ms), .unit = "duration", .present_offset = R(has_repeat),
     .doc = "Between messages of an unchanged group (4h)"},
    {"mute_time_intervals", CFG_STRS, R(mute), .doc = "Silent during these"},
    {"active_time_intervals", CFG_STRS, R(active), .doc = "Silent outside these"},
    {"routes", CFG_NODE, R(routes), .doc = "Children, first match wins"},
};
static const struct config_schema route_schema = {.name = "route",
                                                  .size = sizeof(struct raw_route),
                                                  .rows = route_rows,
                                                  .n = ARRAY_LEN(route_rows),
                                                  .doc = "A node of the routing tree"};

static int by_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static const struct yaml_node *key_or(const struct yaml_node *n, const char *key)
{
    const struct yaml_node *v = yaml_get(n, key);
    return v ? v : n;
}

static int matcher_order(const void *a, const void *b)
{
    const struct matcher *x = a, *y = b;
    int c = str_cmp(x->name, y->name);
    if (!c)
        c = str_cmp(x->value, y->value);
    return c ? c : (int)x->op - (int)y->op;
}

static void route_key(struct load *l, struct route *r, size_t index)
{
    struct buf b = BUF_INIT(1 << 20);
    if (r->parent) {
        buf_str(&b, r->parent->key);
        buf_putc(&b, '/');
    }
    buf_putc(&b, '{');
    if (r->n_matchers > 1)
        qsort(r->matchers, r->n_matchers, sizeof(*r->matchers), matcher_order);
    for (size_t i = 0; i < r->n_matchers; i++) {
        if (i)
            buf_putc(&b, ',');
        matcher_format(&b, &r->matchers[i]);
    }
    buf_putc(&b, '}');
    r->key = arena_str(l->c->arena, buf_view(&b));
    r->id = r->parent ? arena_fmt(l->c->arena, STR_FMT "/%zu", STR_ARG(r->parent->id), index) : STR("0");
    buf_done(&b);
}

static int name_intervals(struct load *l, const struct yaml_node *n, const struct config_strs *names,
                          const struct interval ***ret, size_t *ret_n)
{
    const struct interval **v = ARENA_ARRAY(l->c->arena, const struct interval *, names->n + 1);
    for (size_t i = 0; i < names->n; i++) {
        v[i] = find_interval(l->c, names->v[i]);
        if (!v[i])
            return config_fail(l->ctx, n, "undefined time interval \"" STR_FMT "\" used in route",
                               STR_ARG(names->v[i]));
    }
    *ret = v;
    *ret_n = names->n;
    return 0;
}

static int read_route(struct load *l, const struct yaml_node *n, struct route *parent, struct route *r, size_t index,
                      unsigned depth)
{
    struct raw_route *raw = ARENA_NEW(l->c->arena, struct raw_route);
    int e = config_read(l->ctx, &route_schema, n, raw);
    if (e)
        return e;
    if (depth > 100)
        return config_fail(l->ctx, n, "routes: nested deeper than 100");
    *r = (struct route){.parent = parent, .keep_going = raw->keep_going, .line = n ? n->line : 0};
    if (parent) { /* what is not set is the parent's */
        r->receiver_name = parent->receiver_name;
        r->group_by = parent->group_by;
        r->n_group_by = parent->n_group_by;
        r->group_by_all = parent->group_by_all;
        r->group_wait_ms = parent->group_wait_ms;
        r->group_interval_ms = parent->group_interval_ms;
        r->repeat_interval_ms = parent->repeat_interval_ms;
        r->labels = parent->labels;
    } else {
        r->group_wait_ms = 30000;
        r->group_interval_ms = 300000;
        r->repeat_interval_ms = 4 * 3600000;
        if (!raw->receiver.n)
            return config_fail(l->ctx, n, "root route must specify a default receiver");
        if ((raw->matchers && raw->matchers->kind != YAML_NULL) || (raw->match && raw->match->n) ||
            (raw->match_re && raw->match_re->n))
            return config_fail(l->ctx, n, "root route must not have any matchers");
        if (raw->mute.n)
            return config_fail(l->ctx, key_or(n, "mute_time_intervals"),
                               "root route must not have any mute time intervals");
        if (raw->active.n)
            return config_fail(l->ctx, key_or(n, "active_time_intervals"),
                               "root route must not have any active time intervals");
    }
    if (raw->receiver.n)
        r->receiver_name = raw->receiver;
    r->receiver = find_receiver(l->c, r->receiver_name);
    if (!r->receiver)
        return config_fail(l->ctx, key_or(n, "receiver"), "undefined receiver \"" STR_FMT "\" used in route",
                           STR_ARG(r->receiver_name));
    if (raw->has_group_by) {
        r->group_by_all = false;
        r->group_by = ARENA_ARRAY(l->c->arena, struct str, raw->group_by.n + 1);
        r->n_group_by = raw->group_by.n;
        for (size_t i = 0; i < raw->group_by.n; i++) {
            struct str name = raw->group_by.v[i];
            bool ascii = true;
            for (size_t k = 0; k < name.n; k++)
                ascii &= (unsigned char)name.p[k] < 0x80;
            if (str_eqz(name, "..."))
                r->group_by_all = true;
            else if (!name.n || !utf8_valid(name) || (ascii && !label_name_legacy(name)))
                return config_fail(l->ctx, key_or(n, "group_by"), "invalid label name \"" STR_FMT "\" in group_by list",
                                   STR_ARG(name));
            for (size_t k = 0; k < i; k++)
                if (str_eq(r->group_by[k], name))
                    return config_fail(l->ctx, key_or(n, "group_by"), "duplicated label \"" STR_FMT "\" in group_by",
                                       STR_ARG(name));
            r->group_by[i] = name;
        }
        if (r->group_by_all && r->n_group_by > 1)
            return config_fail(l->ctx, key_or(n, "group_by"),
                               "cannot have wildcard group_by (`...`) and other labels at the same time");
        qsort(r->group_by, r->n_group_by, sizeof(*r->group_by), by_str);
    }
    if (raw->has_wait)
        r->group_wait_ms = raw->wait_ms;
    if (raw->has_interval)
        r->group_interval_ms = raw->interval_ms;
    if (raw->has_repeat)
        r->repeat_interval_ms = raw->repeat_ms;
    if (raw->has_interval && !r->group_interval_ms)
        return config_fail(l->ctx, key_or(n, "group_interval"), "group_interval cannot be zero");
    if (raw->has_repeat && !r->repeat_interval_ms)
        return config_fail(l->ctx, key_or(n, "repeat_interval"), "repeat_interval cannot be zero");
    for (size_t i = 0; i < raw->labels.n; i++)
        if (!label_name_legacy(raw->labels.v[i].key))
            return config_fail(l->ctx, key_or(n, "labels"), "invalid label name \"" STR_FMT "\" in route labels",
                               STR_ARG(raw->labels.v[i].key));
    if (raw->labels.n) {
        struct config_map all = {.v = ARENA_ARRAY(l->c->arena, struct config_pair, raw->labels.n + r->labels.n)};
        for (size_t i = 0; i < r->labels.n; i++) {
            bool own = false;
            for (size_t k = 0; k < raw->labels.n; k++)
                own |= str_eq(raw->labels.v[k].key, r->labels.v[i].key);
            if (!own)
                all.v[all.n++] = r->labels.v[i];
        }
        for (size_t k = 0; k < raw->labels.n; k++)
            all.v[all.n++] = raw->labels.v[k];
        r->labels = all;
    }
    if (raw->match && (e = read_old(l, raw->match, false, &r->matchers, &r->n_matchers)))
        return e;
    if (raw->match_re && (e = read_old(l, raw->match_re, true, &r->matchers, &r->n_matchers)))
        return e;
    if (raw->matchers && (e = read_matchers(l, raw->matchers, &r->matchers, &r->n_matchers)))
        return e;
    if ((e = name_intervals(l, key_or(n, "mute_time_intervals"), &raw->mute, &r->mute, &r->n_mute)))
        return e;
    if ((e = name_intervals(l, key_or(n, "active_time_intervals"), &raw->active, &r->active, &r->n_active)))
        return e;
    route_key(l, r, index);
    if (raw->routes && raw->routes->kind != YAML_NULL) {
        if (raw->routes->kind != YAML_SEQ)
            return config_fail(l->ctx, raw->routes, "routes: wants a list");
        r->routes = ARENA_ARRAY(l->c->arena, struct route, raw->routes->n + 1);
        r->n_routes = raw->routes->n;
        for (size_t i = 0; i < raw->routes->n; i++)
            if ((e = read_route(l, raw->routes->items[i], r, &r->routes[i], i, depth + 1)))
                return e;
    }
    return 0;
}

/* ---- inhibition ---- */

struct raw_inhibit {
    struct str name;
    const struct yaml_node *source_matchers, *target_matchers, *source_match, *target_match, *source_match_re,
        *target_match_re, *sources;
    struct config_strs equal;
};
#define I(member) offsetof(struct raw_inhibit, member)
static const struct config_row inhibit_rows[] = {
    {"name", CFG_STR, I(name), .doc = "For people"},
    {"source_matchers", CFG_NODE, I(source_matchers), .doc = "Alerts that mute"},
    {"target_matchers", CFG_NODE, I(target_matchers), .doc = "Alerts that are muted"},
    {"source_match", CFG_NODE, I(source_match), .doc = "Old form"},
    {"target_match", CFG_NODE, I(target_match), .doc = "Old form"},
    {"source_match_re", CFG_NODE, I(source_match_re), .doc = "Old form"},
    {"target_match_re", CFG_NODE, I(target_match_re), .doc = "Old form"},
    {"equal", CFG_STRS, I(equal), .doc = "Labels that must be equal in both; absent counts as empty"},
};
static const struct config_schema inhibit_schema = {.name = "inhibit_rule",
                                                    .size = sizeof(struct raw_inhibit),
                                                    .rows = inhibit_rows,
                                                    .n = ARRAY_LEN(inhibit_rows),
                                                    .doc = "Mutes alerts while others fire"};

static int read_inhibit(struct load *l, const struct yaml_node *list)
{
    if (!list || list->kind == YAML_NULL)
        return 0;
    if (list->kind != YAML_SEQ)
        return config_fail(l->ctx, list, "inhibit_rules: wants a list");
    l->c->inhibit = ARENA_ARRAY(l->c->arena, struct inhibit_rule, list->n + 1);
    for (size_t i = 0; i < list->n; i++) {
        const struct yaml_node *n = list->items[i];
        if (n->kind == YAML_NULL)
            continue; /* an empty item says nothing */
        struct raw_inhibit raw = {0};
        struct inhibit_rule *r = &l->c->inhibit[l->c->n_inhibit++];
        int e = config_read(l->ctx, &inhibit_schema, n, &raw);
        if (e)
            return e;
        *r = (struct inhibit_rule){.name = raw.name, .equal = raw.equal};
        if ((raw.source_match && (e = read_old(l, raw.source_match, false, &r->source, &r->n_source))) ||
            (raw.source_match_re && (e = read_old(l, raw.source_match_re, true, &r->source, &r->n_source))) ||
            (raw.source_matchers && (e = read_matchers(l, raw.source_matchers, &r->source, &r->n_source))) ||
            (raw.target_match && (e = read_old(l, raw.target_match, false, &r->target, &r->n_target))) ||
            (raw.target_match_re && (e = read_old(l, raw.target_match_re, true, &r->target, &r->n_target))) ||
            (raw.target_matchers && (e = read_matchers(l, raw.target_matchers, &r->target, &r->n_target))))
            return e;
    }
    return 0;
}

/* ---- the file ---- */

struct raw_file {
    struct config_strs templates;
    const struct yaml_node *global, *route, *receivers, *inhibit, *time_intervals, *mute_time_intervals,
        *event_recorder, *tracing;
};
#define F(member) offsetof(struct raw_file, member)
static const struct config_row file_rows[] = {
    {"global", CFG_NODE, F(global), .doc = "Defaults"},
    {"templates", CFG_STRS, F(templates), .doc = "Files of templates, globs"},
    {"route", CFG_NODE, F(route), .doc = "The routing tree"},
    {"receivers", CFG_NODE, F(receivers), .doc = "Who can be told, and how"},
    {"inhibit_rules", CFG_NODE, F(inhibit), .doc = "Alerts that mute others"},
    {"time_intervals", CFG_NODE, F(time_intervals), .doc = "Named times for routes"},
    {"mute_time_intervals", CFG_NODE, F(mute_time_intervals), .doc = "Old name of time_intervals"},
    {"event_recorder", CFG_NODE, F(event_recorder), .doc = "Read and ignored: hune's journal records everything"},
    {"tracing", CFG_NODE, F(tracing), .doc = "Read and ignored"},
};
static const struct config_schema file_schema = {.name = "alertmanager configuration",
                                                 .size = sizeof(struct raw_file),
                                                 .rows = file_rows,
                                                 .n = ARRAY_LEN(file_rows),
                                                 .doc = "alertmanager.yml"};

static int read_templates(struct load *l, const struct yaml_node *root, const struct config_strs *globs,
                          const char *dir)
{
    struct err e = {0};
    l->c->templates = template_set_new(NULL, template_funcs_am);
    if (template_parse(l->c->templates, STR("default.tmpl"), str_of(notify_default_templates), &e))
        BUG("built-in templates: %s", e.msg);
    for (size_t i = 0; i < globs->n; i++) {
        _cleanup_free_ char *pattern = str_dupz(globs->v[i]);
        _cleanup_free_ char *full = fs_join(dir, pattern);
        struct fs_names names = {0};
        int r = fs_glob(full, &names);
        if (r)
            return config_fail(l->ctx, key_or(root, "templates"), "templates: %s: %s", full, err_name(r));
        for (size_t k = 0; k < names.n; k++) {
            _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(config_file_bytes));
            r = fs_read_file(names.v[k], &b);
            if (!r && template_parse(l->c->templates, str_of(names.v[k]), buf_view(&b), &e))
                r = -EINVAL;
            if (r) {
                (void)config_fail(l->ctx, key_or(root, "templates"), "templates: %s: %s", names.v[k],
                                  e.msg[0] ? e.msg : err_name(r));
                fs_names_free(&names);
                return -EINVAL;
            }
            l->c->n_template_files++;
        }
        fs_names_free(&names);
    }
    return 0;
}

static int read_all(struct load *l, const struct yaml_node *root, const char *dir)
{
    struct raw_file *f = ARENA_NEW(l->c->arena, struct raw_file);
    int e = config_read(l->ctx, &file_schema, root, f);
    if (e)
        return e;
    if (f->global && f->global->kind != YAML_NULL) {
        if ((e = config_read(l->ctx, &global_schema, f->global, &l->global)))
            return e;
        l->global.node = f->global;
    } else {
        config_defaults(l->ctx, &global_schema, &l->global);
    }
    l->c->resolve_timeout_ms = l->global.resolve_timeout_ms;
    if (!f->route || f->route->kind == YAML_NULL)
        return config_fail(l->ctx, root, "no routes provided");
    if ((e = read_templates(l, root, &f->templates, dir)) || (e = receivers_read(l, f->receivers)) ||
        (e = intervals_read(l, f->time_intervals, "time_intervals")) ||
        (e = intervals_read(l, f->mute_time_intervals, "mute_time_intervals")) || (e = read_inhibit(l, f->inhibit)) ||
        (e = read_route(l, f->route, NULL, &l->c->root, 0, 0)))
        return e;
    /* Masking goes by the names secrets have, whatever kind of receiver holds them. */
    struct buf b = BUF_INIT((size_t)limit(config_file_bytes) * 2);
    config_mask(&b, mask_tree(root, l->c->arena), &file_schema);
    l->c->yaml = arena_str(l->c->arena, buf_view(&b));
    buf_done(&b);
    return 0;
}

static struct notify_config *config_new(void)
{
    struct notify_config *c = NEW(struct notify_config);
    atomic_init(&c->refs, 1);
    c->arena = arena_new(0);
    return c;
}

int notify_config_parse(struct str text, const char *name, const char *dir, notify_warn_fn warn, void *ctx,
                        struct notify_config **ret, struct err *e)
{
    static const struct template_zones zones = {.find = zone_find, .at = zone_at};
    template_set_zones(&zones);
    struct notify_config *c = config_new();
    struct config_ctx cc = {.file = name, .dir = dir, .arena = c->arena, .err = e};
    struct load *l = ARENA_NEW(c->arena, struct load);
    *l = (struct load){.c = c, .ctx = &cc, .warn = warn, .warn_ctx = ctx};
    cc.user = l;
    struct yaml_node *root = NULL;
    int r = yaml_parse(arena_str(c->arena, text), name, c->arena, &root, e);
    if (!r)
        r = read_all(l, root, dir);
    if (r) {
        notify_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int notify_config_load(const char *path, notify_warn_fn warn, void *ctx, struct notify_config **ret, struct err *e)
{
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)limit(config_file_bytes));
    int r = fs_read_file(path, &b);
    if (r) {
        err_set(e, "%s: %s", path, err_name(r));
        return r;
    }
    ptrdiff_t slash = str_rchr(str_of(path), '/');
    _cleanup_free_ char *dir = str_dupz(slash < 0 ? STR(".") : slash == 0 ? STR("/") : str_make(path, (size_t)slash));
    return notify_config_parse(buf_view(&b), path, dir, warn, ctx, ret, e);
}

struct notify_config *notify_config_default(void)
{
    struct notify_config *c = NULL;
    struct err e = {0};
    static const char text[] =
        "route: {receiver: journal, group_by: [alertname], group_wait: 1s}\nreceivers: [{name: journal}]\n";
    if (notify_config_parse(str_of(text), "built in", ".", NULL, NULL, &c, &e))
        BUG("default configuration: %s", e.msg);
    c->journal_only = true;
    return c;
}

struct notify_config *notify_config_ref(struct notify_config *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

struct notify_config *notify_config_free(struct notify_config *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return NULL;
    for (size_t i = 0; i < c->matchers.n; i++)
        for (size_t k = 0; k < c->matcher_counts.v[i]; k++)
            matcher_done(&c->matchers.v[i][k]);
    vec_done(&c->matchers);
    vec_done(&c->matcher_counts);
    template_set_free(c->templates);
    arena_free(c->arena);
    free(c);
    return NULL;
}

void notify_config_summary(const struct notify_config *c, struct buf *out)
{
    buf_fmt(out, "Found:\n - global config\n - route\n - %zu inhibit rules\n - %zu receivers\n - %zu templates\n",
            c->n_inhibit, c->n_receivers, c->n_template_files);
}

void notify_config_yaml(const struct notify_config *c, struct buf *out)
{
    buf_str(out, c->yaml);
}

/* ---- matching ---- */

static bool match_routes(const struct route *r, struct labels l, const struct route **out, size_t max, size_t *n)
{
    if (!matchers_all(r->matchers, r->n_matchers, l))
        return false;
    bool any = false;
    for (size_t i = 0; i < r->n_routes; i++) {
        bool hit = match_routes(&r->routes[i], l, out, max, n);
        any |= hit;
        if (hit && !r->routes[i].keep_going)
            break;
    }
    if (!any && *n < max)
        out[(*n)++] = r;
    return true;
}

void routes_match(const struct route *r, struct labels l, const struct route **out, size_t max, size_t *ret_n)
{
    *ret_n = 0;
    match_routes(r, l, out, max, ret_n);
}

#define ROUTES_MAX 256 /* routes one alert may reach through `continue` */

void notify_config_route(const struct notify_config *c, struct labels l, struct arena *a, struct str **ret,
                         size_t *ret_n)
{
    const struct route *hit[ROUTES_MAX];
    size_t n;
    routes_match(&c->root, l, hit, ROUTES_MAX, &n);
    *ret = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        (*ret)[i] = arena_str(a, hit[i]->receiver_name);
    *ret_n = n;
}

static void draw(const struct route *r, struct buf *out, unsigned depth, bool last, uint64_t bars)
{
    for (unsigned i = 1; i < depth; i++)
        buf_z(out, bars >> i & 1 ? "\xe2\x94\x82   " : "    ");
    if (depth)
        buf_z(out, last ? "\xe2\x94\x94\xe2\x94\x80\xe2\x94\x80 " : "\xe2\x94\x9c\xe2\x94\x80\xe2\x94\x80 ");
    if (!depth)
        buf_z(out, "default-route");
    else
        buf_putc(out, '{');
    for (size_t i = 0; i < r->n_matchers; i++) {
        if (i)
            buf_putc(out, ',');
        matcher_format(out, &r->matchers[i]);
    }
    if (depth)
        buf_putc(out, '}');
    if (r->keep_going)
        buf_z(out, "  continue: true");
    buf_fmt(out, "  receiver: " STR_FMT "\n", STR_ARG(r->receiver_name));
    for (size_t i = 0; i < r->n_routes; i++) {
        bool is_last = i + 1 == r->n_routes;
        draw(&r->routes[i], out, depth + 1, is_last,
             depth + 1 < 64 && !is_last ? bars | UINT64_C(1) << (depth + 1) : bars);
    }
}

void notify_config_tree(const struct notify_config *c, struct buf *out)
{
    buf_z(out, "Routing tree:\n.\n");
    draw(&c->root, out, 0, true, 0);
}
