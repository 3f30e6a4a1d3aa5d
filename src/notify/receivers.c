// SPDX-License-Identifier: Apache-2.0
/* Receivers: webhook, email and discord are read completely; the other kinds of Alertmanager are checked as far as a
 * file of theirs can be wrong, and say loudly that they cannot send yet. */
#include "notify/notify_int.h"
#include <stdio.h>

#define I(member) offsetof(struct integration, member)
#define COMMON(resolved)                                                                                               \
    {"send_resolved", CFG_BOOL, I(send_resolved), .dflt = resolved, .doc = "Tell when alerts are resolved"},           \
    {                                                                                                                  \
        "http_config", CFG_STRUCT, I(http), .sub = &http_config_schema, .present_offset = I(has_http),                 \
                                            .doc = "HTTP options"                                                      \
    }

static const struct config_row webhook_rows[] = {
    COMMON("true"),
    {"url", CFG_STR, I(url), .flags = CFG_SECRET, .doc = "Where to POST"},
    {"url_file", CFG_STR, I(url_file), .doc = "File with that URL"},
    {"max_alerts", CFG_INT, I(max_alerts), .min = 0, .max = 1000000, .unit = "alerts",
     .doc = "Most alerts in one message; 0 = all"},
    {"timeout", CFG_DURATION, I(timeout_ms), .unit = "duration", .doc = "Of one request; 0 = the group interval"},
    {"payload", CFG_NODE, I(payload), .doc = "Own body, templated"},
};
static const struct config_row discord_rows[] = {
    COMMON("true"),
    {"webhook_url", CFG_STR, I(url), .flags = CFG_SECRET, .doc = "Discord's webhook URL"},
    {"webhook_url_file", CFG_STR, I(url_file), .doc = "File with that URL"},
    {"title", CFG_STR, I(title), .doc = "Template of the title"},
    {"message", CFG_STR, I(message), .doc = "Template of the text"},
    {"content", CFG_STR, I(content), .doc = "Template of the line above"},
    {"username", CFG_STR, I(username), .doc = "Name shown as the sender"},
    {"avatar_url", CFG_STR, I(avatar_url), .doc = "Picture shown of the sender"},
};
static const struct config_row email_rows[] = {
    COMMON("false"),
    {"to", CFG_STR, I(to), .doc = "Recipients, separated by commas"},
    {"from", CFG_STR, I(from), .doc = "Sender; global smtp_from"},
    {"smarthost", CFG_STR, I(smarthost), .doc = "Mail server, host:port"},
    {"hello", CFG_STR, I(hello), .doc = "Name given to the mail server"},
    {"auth_username", CFG_STR, I(auth_username), .doc = "User"},
    {"auth_password", CFG_STR, I(auth_password), .flags = CFG_SECRET, .doc = "Password"},
    {"auth_password_file", CFG_STR, I(auth_password_file), .doc = "File with that password"},
    {"auth_secret", CFG_STR, I(auth_secret), .flags = CFG_SECRET, .doc = "Secret for CRAM-MD5"},
    {"auth_secret_file", CFG_STR, I(auth_secret_file), .doc = "File with that secret"},
    {"auth_identity", CFG_STR, I(auth_identity), .doc = "Identity for PLAIN"},
    {"require_tls", CFG_BOOL, I(require_tls), .present_offset = I(has_require_tls),
     .doc = "Refuse to send without STARTTLS"},
    {"force_implicit_tls", CFG_BOOL, I(implicit_tls), .doc = "Begin with TLS whatever the port"},
    {"tls_config", CFG_NODE, I(tls_node), .doc = "TLS options"},
    {"headers", CFG_MAP, I(headers), .present_offset = I(has_headers), .doc = "Mail headers, templates"},
    {"html", CFG_STR, I(html), .present_offset = I(has_html), .doc = "Template of the HTML part"},
    {"text", CFG_STR, I(text), .present_offset = I(has_text), .doc = "Template of the text part"},
    {"threading", CFG_NODE, I(threading), .doc = "Mail threads; read, all messages of a group share one thread here"},
};
#define SCHEMA(word)                                                                                                   \
    static const struct config_schema word##_schema = {.name = #word "_config",                                        \
                                                       .size = sizeof(struct integration),                             \
                                                       .rows = word##_rows,                                            \
                                                       .n = ARRAY_LEN(word##_rows),                                    \
                                                       .doc = #word}
SCHEMA(webhook);
SCHEMA(discord);
SCHEMA(email);

/* ---- kinds that are only checked ---- */

struct other_kind {
    const char *name;
    const char *keys; /* what a file may say, separated by blanks */
    bool resolved;    /* default of send_resolved */
    int (*check)(struct load *l, const struct yaml_node *n);
};

static struct str text_at(const struct yaml_node *n, const char *key)
{
    const struct yaml_node *v = n ? yaml_get(n, key) : NULL;
    return v && v->kind == YAML_SCALAR ? v->s : STR("");
}

static bool has(const struct yaml_node *n, const char *key)
{
    return text_at(n, key).n > 0;
}

static int both(struct load *l, const struct yaml_node *n, const char *a, const char *b)
{
    return has(n, a) && has(n, b) ? config_fail(l->ctx, n, "at most one of %s & %s must be configured", a, b) : 0;
}

/* Own value or file, else the global one or its file; none is an error. */
static int wants(struct load *l, const struct yaml_node *n, const char *key, const char *global, const char *what)
{
    char own_file[64], global_file[64];
    snprintf(own_file, sizeof(own_file), "%s_file", key);
    snprintf(global_file, sizeof(global_file), "%s_file", global);
    int e = both(l, n, key, own_file);
    if (!e && l->global.node)
        e = both(l, l->global.node, global, global_file);
    if (!e && !has(n, key) && !has(n, own_file) && !has(l->global.node, global) && !has(l->global.node, global_file))
        e = config_fail(l->ctx, n, "no global %s set", what);
    return e;
}

static int check_slack(struct load *l, const struct yaml_node *n)
{
    const struct yaml_node *g = l->global.node, *http = yaml_get(n, "http_config");
    bool authorized = http && (yaml_get(http, "authorization") || yaml_get(http, "bearer_token"));
    bool update = str_eqz(text_at(n, "update_message"), "true");
    int e = both(l, n, "api_url", "api_url_file");
    if (!e)
        e = both(l, n, "app_token", "app_token_file");
    if (!e && g)
        e = both(l, g, "slack_api_url", "slack_api_url_file");
    if (!e && g)
        e = both(l, g, "slack_app_token", "slack_app_token_file");
    if (e)
        return e;
    bool own_url = has(n, "api_url") || has(n, "api_url_file"),
         own_token = has(n, "app_token") || has(n, "app_token_file");
    bool url = own_url || has(g, "slack_api_url") || has(g, "slack_api_url_file");
    bool token = own_token || has(g, "slack_app_token") || has(g, "slack_app_token_file") || authorized;
    if (own_url && own_token)
        return config_fail(l->ctx, n,
                           "at most one of api_url/api_url_file & app_token/app_token_file must be configured");
    struct str api = has(n, "api_url") ? text_at(n, "api_url") : text_at(g, "slack_api_url");
    bool webhook = str_find(api, STR("hooks.slack.com/services")) >= 0;
    if (!own_url && !own_token && webhook && (has(g, "slack_app_token") || has(g, "slack_app_token_file")))
        return config_fail(l->ctx, n, "at most one of slack_api_url & slack_app_token must be configured");
    if (update && (webhook || !token))
        return config_fail(l->ctx, n, "update_message needs a bot token (app_token), not a webhook URL");
    if (!url && !token)
        return config_fail(l->ctx, n, "no global Slack API URL set either inline or in a file");
    return 0;
}

static int check_telegram(struct load *l, const struct yaml_node *n)
{
    int e = wants(l, n, "bot_token", "telegram_bot_token", "Telegram Bot Token");
    if (!e && !has(n, "chat_id") && !has(n, "chat_id_file"))
        e = config_fail(l->ctx, n, "missing chat_id on telegram_config");
    if (!e && has(n, "parse_mode")) {
        struct str m = text_at(n, "parse_mode");
        if (!str_eqz(m, "Markdown") && !str_eqz(m, "MarkdownV2") && !str_eqz(m, "HTML"))
            e = config_fail(
                l->ctx, n, "unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string");
    }
    return e;
}

static int check_opsgenie(struct load *l, const struct yaml_node *n)
{
    return wants(l, n, "api_key", "opsgenie_api_key", "OpsGenie API Key");
}

static int check_victorops(struct load *l, const struct yaml_node *n)
{
    static const char *const reserved[] = {"routing_key",     "message_type", "state_message", "entity_display_name",
                                           "monitoring_tool", "entity_id",    "entity_state"};
    if (!has(n, "routing_key"))
        return config_fail(l->ctx, n, "missing Routing key in VictorOps config");
    const struct yaml_node *fields = yaml_get(n, "custom_fields");
    for (size_t i = 0; fields && fields->kind == YAML_MAP && i < fields->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(reserved); k++)
            if (str_eqz(fields->keys[i]->s, reserved[k]))
                return config_fail(l->ctx, fields->keys[i],
                                   "victorOps config contains custom field %s which cannot be used as it conflicts "
                                   "with the fixed/static fields",
                                   reserved[k]);
    return wants(l, n, "api_key", "victorops_api_key", "VictorOps API Key");
}

static int check_wechat(struct load *l, const struct yaml_node *n)
{
    int e = wants(l, n, "api_secret", "wechat_api_secret", "Wechat Api Secret");
    if (!e && !has(n, "corp_id") && !has(l->global.node, "wechat_api_corp_id"))
        e = config_fail(l->ctx, n, "no global Wechat CorpID set");
    return e;
}

static int check_mattermost(struct load *l, const struct yaml_node *n)
{
    return wants(l, n, "webhook_url", "mattermost_webhook_url", "Mattermost Webhook URL");
}

static int check_rocketchat(struct load *l, const struct yaml_node *n)
{
    int e = wants(l, n, "token", "rocketchat_token", "Rocketchat Token");
    return e ? e : wants(l, n, "token_id", "rocketchat_token_id", "Rocketchat TokenID");
}

static int check_sns(struct load *l, const struct yaml_node *n)
{
    int targets = has(n, "target_arn") + has(n, "topic_arn") + has(n, "phone_number");
    return targets == 1
               ? 0
               : config_fail(l->ctx, n,
                             "must provide exactly one of a Target ARN, Topic ARN, or Phone Number for SNS config");
}

static int check_pagerduty(struct load *l, const struct yaml_node *n)
{
    int e = both(l, n, "routing_key", "routing_key_file");
    if (!e)
        e = both(l, n, "service_key", "service_key_file");
    if (!e && !has(n, "routing_key") && !has(n, "routing_key_file") && !has(n, "service_key") &&
        !has(n, "service_key_file"))
        e = config_fail(l->ctx, n, "missing service or routing key in PagerDuty config");
    return e;
}

static int check_pushover(struct load *l, const struct yaml_node *n)
{
    int e = both(l, n, "user_key", "user_key_file");
    if (!e)
        e = both(l, n, "token", "token_file");
    if (!e && !has(n, "user_key") && !has(n, "user_key_file"))
        e = config_fail(l->ctx, n, "one of user_key or user_key_file must be configured");
    if (!e && !has(n, "token") && !has(n, "token_file"))
        e = config_fail(l->ctx, n, "one of token or token_file must be configured");
    return e;
}

static int check_webhook_url(struct load *l, const struct yaml_node *n)
{
    int e = both(l, n, "webhook_url", "webhook_url_file");
    if (!e && !has(n, "webhook_url") && !has(n, "webhook_url_file"))
        e = config_fail(l->ctx, n, "one of webhook_url or webhook_url_file must be configured");
    return e;
}

static int check_webex(struct load *l, const struct yaml_node *n)
{
    return has(n, "room_id") ? 0 : config_fail(l->ctx, n, "missing room_id on webex_config");
}

static int check_jira(struct load *l, const struct yaml_node *n)
{
    if (!has(n, "project"))
        return config_fail(l->ctx, n, "missing project in jira_config");
    if (!has(n, "issue_type"))
        return config_fail(l->ctx, n, "missing issue_type in jira_config");
    if (!has(n, "api_url") && !has(l->global.node, "jira_api_url"))
        return config_fail(l->ctx, n, "no global Jira Cloud URL set");
    return 0;
}

static int check_incidentio(struct load *l, const struct yaml_node *n)
{
    int e = both(l, n, "url", "url_file");
    if (!e && !has(n, "url") && !has(n, "url_file"))
        e = config_fail(l->ctx, n, "one of url or url_file must be configured");
    return e;
}

static const struct other_kind others[] = {
    {"slack",
     "api_url api_url_file app_token app_token_file app_url channel username color title title_link pretext text "
     "fields short_fields footer "
     "fallback callback_id icon_emoji icon_url image_url thumb_url link_names mrkdwn_in actions message_text "
     "update_message timeout",
     false, check_slack},
    {"telegram",
     "api_url bot_token bot_token_file chat_id chat_id_file message_thread_id message disable_notifications parse_mode",
     true, check_telegram},
    {"pagerduty",
     "service_key service_key_file routing_key routing_key_file url client client_url description severity details "
     "images links source class component group timeout",
     true, check_pagerduty},
    {"opsgenie",
     "api_key api_key_file api_url message description source details entity responders actions tags note priority "
     "update_alerts",
     true, check_opsgenie},
    {"pushover",
     "user_key user_key_file token token_file title message url url_title device sound priority retry expire ttl html "
     "monospace",
     true, check_pushover},
    {"mattermost",
     "webhook_url webhook_url_file channel username text icon_url icon_emoji attachments props priority type fallback "
     "color pretext author_name author_link author_icon title title_link fields thumb_url footer footer_icon image_url",
     true, check_mattermost},
    {"rocketchat",
     "api_url token token_file token_id token_id_file channel color title title_link text fields short_fields emoji "
     "icon_url image_url thumb_url link_names actions",
     true, check_rocketchat},
    {"victorops",
     "api_key api_key_file api_url routing_key message_type state_message entity_display_name monitoring_tool "
     "custom_fields",
     true, check_victorops},
    {"sns", "api_url sigv4 topic_arn phone_number target_arn subject message attributes", true, check_sns},
    {"wechat", "api_secret api_secret_file corp_id message api_url to_user to_party to_tag agent_id message_type",
     false, check_wechat},
    {"webex", "api_url message room_id", true, check_webex},
    {"msteams", "webhook_url webhook_url_file title summary text", true, check_webhook_url},
    {"msteamsv2", "webhook_url webhook_url_file title text", true, check_webhook_url},
    {"jira",
     "api_url api_type project summary description labels priority issue_type reopen_transition resolve_transition "
     "wont_fix_resolution reopen_duration fields",
     true, check_jira},
    {"incidentio", "url url_file alert_source_token alert_source_token_file max_alerts timeout", true,
     check_incidentio},
};

static int read_other(struct load *l, const struct other_kind *k, const struct yaml_node *n, struct integration *in)
{
    if (n->kind != YAML_MAP && n->kind != YAML_NULL)
        return config_fail(l->ctx, n, "%s_configs: wants a mapping", k->name);
    in->send_resolved = k->resolved;
    for (size_t i = 0; n->kind == YAML_MAP && i < n->n; i++) {
        struct str key = n->keys[i]->s;
        bool known = str_eqz(key, "http_config") || str_eqz(key, "send_resolved");
        for (struct str rest = str_of(k->keys), w; rest.n && !known;) {
            str_cut(rest, ' ', &w, &rest);
            known = str_eq(w, key);
        }
        if (!known)
            return config_fail(l->ctx, n->keys[i], "unknown key \"" STR_FMT "\" in %s_config", STR_ARG(key), k->name);
        if (str_eqz(key, "send_resolved") && !yaml_bool(n->items[i], &in->send_resolved))
            return config_fail(l->ctx, n->items[i], "send_resolved: wants true or false");
        if (str_eqz(key, "http_config")) {
            int e = config_read(l->ctx, &http_config_schema, n->items[i], &in->http);
            if (e)
                return e;
        }
    }
    return k->check(l, n);
}

/* ---- webhook, discord, email ---- */

static int check_template(struct load *l, const struct yaml_node *n, const char *key, struct str text)
{
    if (str_find(text, STR("{{")) < 0)
        return 0;
    struct template_set *s = template_set_new(l->c->templates, NULL);
    struct err e = {0};
    int r = template_parse(s, STR("text"), text, &e);
    template_set_free(s);
    const struct yaml_node *at = yaml_get(n, key);
    return r ? config_fail(l->ctx, at ? at : n, "%s: %s", key, e.msg) : 0;
}

static bool url_ok(struct str u)
{
    return str_starts(u, STR("http://")) || str_starts(u, STR("https://"));
}

static int finish_url(struct load *l, const struct yaml_node *n, struct integration *in, const char *key)
{
    if (in->url.n && in->url_file.n)
        return config_fail(l->ctx, n, "at most one of %s & %s_file must be configured", key, key);
    if (!in->url.n && !in->url_file.n)
        return config_fail(l->ctx, n, "one of %s or %s_file must be configured", key, key);
    const struct yaml_node *at = yaml_get(n, key);
    if (in->url.n && str_find(in->url, STR("{{")) < 0 && !url_ok(in->url))
        return config_fail(l->ctx, at ? at : n, "%s: unsupported scheme, wants http:// or https://", key);
    return 0;
}

static bool address_ok(struct str a)
{
    a = str_trim(a);
    ptrdiff_t open = str_rchr(a, '<');
    if (open >= 0 && a.p[a.n - 1] == '>')
        a = str_sub(a, (size_t)open + 1, a.n - 1);
    ptrdiff_t at = str_rchr(a, '@');
    for (size_t i = 0; i < a.n; i++)
        if ((unsigned char)a.p[i] <= ' ' || a.p[i] == '<' || a.p[i] == '>')
            return false;
    return at > 0 && (size_t)at + 1 < a.n;
}

static int finish_email(struct load *l, const struct yaml_node *n, struct integration *in)
{
    const struct global *g = &l->global;
    if (!in->to.n)
        return config_fail(l->ctx, n, "missing to address in email config");
    if (!in->smarthost.n)
        in->smarthost = g->smtp_smarthost;
    if (!in->smarthost.n)
        return config_fail(l->ctx, n, "no global SMTP smarthost set");
    if (!in->from.n)
        in->from = g->smtp_from;
    if (!in->from.n)
        return config_fail(l->ctx, n, "no global SMTP from set");
    if (str_rchr(in->smarthost, ':') <= 0)
        return config_fail(l->ctx, n, "smarthost: wants host:port, found \"" STR_FMT "\"", STR_ARG(in->smarthost));
    if (!in->hello.n)
        in->hello = g->smtp_hello;
    if (!in->auth_username.n)
        in->auth_username = g->smtp_auth_username;
    if (!in->auth_password.n && !in->auth_password_file.n) {
        in->auth_password = g->smtp_auth_password;
        in->auth_password_file = g->smtp_auth_password_file;
    }
    if (!in->auth_secret.n && !in->auth_secret_file.n) {
        in->auth_secret = g->smtp_auth_secret;
        in->auth_secret_file = g->smtp_auth_secret_file;
    }
    if (!in->auth_identity.n)
        in->auth_identity = g->smtp_auth_identity;
    if (!in->has_require_tls)
        in->require_tls = g->smtp_require_tls;
    in->implicit_tls |= g->smtp_force_implicit_tls || str_ends(in->smarthost, STR(":465"));
    const struct yaml_node *tls = in->tls_node ? in->tls_node : g->smtp_tls_config;
    if (tls) {
        struct yaml_node key = {.kind = YAML_SCALAR, .line = tls->line, .col = tls->col, .s = STR("tls_config")};
        struct yaml_node *keys[] = {&key}, *items[] = {(struct yaml_node *)tls};
        struct yaml_node map = {
            .kind = YAML_MAP, .line = tls->line, .col = tls->col, .n = 1, .keys = keys, .items = items};
        int e = config_read(l->ctx, &http_config_schema, &map, &in->http);
        if (e)
            return e;
    }
    for (size_t i = 0; i < in->headers.n; i++)
        for (size_t k = 0; k < i; k++)
            if (str_ieq(in->headers.v[i].key, in->headers.v[k].key))
                return config_fail(l->ctx, n, "duplicate header \"" STR_FMT "\" in email config",
                                   STR_ARG(in->headers.v[i].key));
    if (str_find(in->to, STR("{{")) < 0)
        for (struct str rest = in->to, one; rest.n;) {
            str_cut(rest, ',', &one, &rest);
            if (!address_ok(one))
                load_warn(l, "%s:%u: email to: \"" STR_FMT "\" is no address; mail to this receiver will fail",
                          l->ctx->file, n->line, STR_ARG(one));
        }
    int e = 0;
    for (size_t i = 0; i < in->headers.n && !e; i++)
        e = check_template(l, n, "headers", in->headers.v[i].value);
    if (!e)
        e = check_template(l, n, "html", in->html);
    return e ? e : check_template(l, n, "text", in->text);
}

static int read_known(struct load *l, enum receiver_kind kind, const struct yaml_node *n, struct integration *in)
{
    const struct config_schema *s = kind == KIND_WEBHOOK   ? &webhook_schema
                                    : kind == KIND_DISCORD ? &discord_schema
                                                           : &email_schema;
    int e = config_read(l->ctx, s, n, in);
    if (e)
        return e;
    if (!in->has_http && l->global.has_http)
        in->http = l->global.http;
    if (kind == KIND_EMAIL)
        return finish_email(l, n, in);
    e = finish_url(l, n, in, kind == KIND_WEBHOOK ? "url" : "webhook_url");
    if (!e && kind == KIND_DISCORD && !(e = check_template(l, n, "title", in->title)) &&
        !(e = check_template(l, n, "message", in->message)))
        e = check_template(l, n, "content", in->content);
    return e;
}

/* ---- lists ---- */

static int add_kind(struct load *l, struct receiver *r, enum receiver_kind kind, const struct other_kind *other,
                    const char *name, const struct yaml_node *list)
{
    if (list->kind == YAML_NULL)
        return 0;
    if (list->kind != YAML_SEQ)
        return config_fail(l->ctx, list, "%s_configs: wants a list", name);
    struct integration *all = ARENA_ARRAY(l->c->arena, struct integration, r->n + list->n + 1);
    if (r->n)
        memcpy(all, r->v, r->n * sizeof(*all));
    r->v = all;
    for (size_t i = 0; i < list->n; i++) {
        struct integration *in = &r->v[r->n];
        const struct yaml_node *n = list->items[i];
        int e = other ? read_other(l, other, n, in) : read_known(l, kind, n, in);
        if (e)
            return e;
        in->kind = kind;
        in->kind_name = name;
        in->index = i;
        in->line = n->line;
        r->n++;
        if (other)
            load_warn(l,
                      "%s:%u: receiver \"" STR_FMT "\": %s is read but cannot send yet; nobody will be told through it",
                      l->ctx->file, n->line, STR_ARG(r->name), name);
    }
    return 0;
}

static int read_receiver(struct load *l, const struct yaml_node *n, struct receiver *r)
{
    if (n->kind != YAML_MAP)
        return config_fail(l->ctx, n, "receiver: wants a mapping");
    r->name = text_at(n, "name");
    r->line = n->line;
    if (!r->name.n)
        return config_fail(l->ctx, n, "missing name in receiver");
    for (size_t i = 0; i < n->n; i++) {
        struct str key = n->keys[i]->s;
        const struct yaml_node *v = n->items[i];
        int e = 0;
        if (str_eqz(key, "name"))
            continue;
        if (str_eqz(key, "labels")) {
            for (size_t k = 0; v->kind == YAML_MAP && k < v->n; k++)
                if (str_eqz(v->keys[k]->s, "name"))
                    return config_fail(l->ctx, v->keys[k],
                                       "receiver label \"name\" conflicts with the receiver's name");
            continue;
        }
        if (str_eqz(key, "webhook_configs")) {
            e = add_kind(l, r, KIND_WEBHOOK, NULL, "webhook", v);
        } else if (str_eqz(key, "email_configs")) {
            e = add_kind(l, r, KIND_EMAIL, NULL, "email", v);
        } else if (str_eqz(key, "discord_configs")) {
            e = add_kind(l, r, KIND_DISCORD, NULL, "discord", v);
        } else {
            const struct other_kind *hit = NULL;
            for (size_t k = 0; k < ARRAY_LEN(others) && !hit; k++) {
                size_t len = strlen(others[k].name);
                if (str_starts(key, str_of(others[k].name)) && str_eqz(str_sub(key, len, key.n), "_configs"))
                    hit = &others[k];
            }
            if (!hit)
                return config_fail(l->ctx, n->keys[i], "unknown key \"" STR_FMT "\" in receiver", STR_ARG(key));
            e = add_kind(l, r, KIND_OTHER, hit, hit->name, v);
        }
        if (e)
            return e;
    }
    return 0;
}

int receivers_read(struct load *l, const struct yaml_node *list)
{
    if (!list || list->kind == YAML_NULL)
        return 0;
    if (list->kind != YAML_SEQ)
        return config_fail(l->ctx, list, "receivers: wants a list");
    l->c->receivers = ARENA_ARRAY(l->c->arena, struct receiver, list->n + 1);
    _cleanup_(map_done) struct map names = {0};
    for (size_t i = 0; i < list->n; i++) {
        struct receiver *r = &l->c->receivers[l->c->n_receivers++];
        int e = read_receiver(l, list->items[i], r);
        if (e)
            return e;
        if (map_put(&names, r->name, r))
            return config_fail(l->ctx, list->items[i], "notification config name \"" STR_FMT "\" is not unique",
                               STR_ARG(r->name));
    }
    return 0;
}

/* ---- masking ---- */

static bool secret_key(struct str k)
{
    static const char *const exact[] = {"api_url",       "url",         "key",         "credentials", "slack_api_url",
                                        "client_secret", "routing_key", "service_key", "user_key",    "token",
                                        "api_key",       "webhook_url", "password"};
    static const char *const tails[] = {"_password", "_secret", "_token", "_api_key", "_webhook_url", "_key"};
    for (size_t i = 0; i < ARRAY_LEN(exact); i++)
        if (str_eqz(k, exact[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(tails); i++)
        if (str_ends(k, str_of(tails[i])))
            return true;
    return false;
}

const struct yaml_node *mask_tree(const struct yaml_node *n, struct arena *a)
{
    struct yaml_node *out = ARENA_NEW(a, struct yaml_node);
    *out = *n;
    out->items = ARENA_ARRAY(a, struct yaml_node *, n->n + 1);
    for (size_t i = 0; i < n->n; i++) {
        out->items[i] = (struct yaml_node *)mask_tree(n->items[i], a);
        if (n->kind == YAML_MAP && n->items[i]->kind == YAML_SCALAR && n->items[i]->s.n && secret_key(n->keys[i]->s)) {
            out->items[i]->s = STR("<secret>");
            out->items[i]->quoted = false;
        }
    }
    return out;
}
