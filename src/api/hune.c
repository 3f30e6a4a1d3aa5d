// SPDX-License-Identifier: Apache-2.0
/* /api/hune/v1: who am I, sign in and out, the server's state, events, indicators, notifications, completion, routes.
 */
#include "api/hune_int.h"

#include "base/parse.h"
#include "base/utf8.h"

void hune_begin(struct http_req *r, struct jw *w)
{
    jw_init(w, http_out(r));
}

void hune_end(struct http_req *r, struct jw *w, int status)
{
    (void)w;
    http_reply(r, status, "application/json");
}

void hune_time(struct jw *w, const char *key, int64_t ms)
{
    jw_key(w, key);
    if (ms)
        jw_i64(w, ms);
    else
        jw_null(w);
}

bool hune_body(struct http_req *r, const struct json **ret)
{
    static const struct json nothing = {.kind = JSON_OBJECT};
    struct err e = {0};
    if (str_empty(str_trim(http_body(r)))) {
        *ret = &nothing;
        return true;
    }
    if (json_parse(http_body(r), http_arena(r), ret, &e) < 0) {
        http_fail(r, 400, "the body is not JSON: %s", e.msg);
        return false;
    }
    if ((*ret)->kind != JSON_OBJECT) {
        http_fail(r, 400, "the body must be a JSON object");
        return false;
    }
    return true;
}

bool hune_i64(struct http_req *r, const char *name, int64_t dflt, int64_t *ret)
{
    struct str s = http_arg(r, name);
    *ret = dflt;
    if (str_empty(s) || parse_i64(s, ret))
        return true;
    http_fail(r, 400, "%s must be a whole number", name);
    return false;
}

bool hune_limit(struct http_req *r, size_t dflt, size_t *ret)
{
    int64_t v;
    if (!hune_i64(r, "limit", (int64_t)dflt, &v))
        return false;
    if (v < 1 || v > 1000) {
        http_fail(r, 400, "limit must be between 1 and 1000");
        return false;
    }
    *ret = (size_t)v;
    return true;
}

struct str hune_fingerprint(struct arena *a, struct labels l)
{
    return arena_fmt(a, "%016llx", (unsigned long long)labels_fingerprint(l));
}

/* ---- me, login, logout ---- */

static void me(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    const struct http_identity *who = http_identity(r);
    bool users = a->d.auth && auth_has_user(a->d.auth);
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_kz(&w, "user", who->name);
    jw_kbool(&w, "anonymous", who->anonymous);
    jw_kz(&w, "role", http_role_names[who->role]);
    jw_kbool(&w, "login_possible", users);
    jw_key(&w, "may");
    jw_obj(&w);
    jw_kbool(&w, "change", who->role >= HTTP_OPERATOR);
    jw_kbool(&w, "processes", who->role >= HTTP_OPERATOR && !who->anonymous);
    jw_kbool(&w, "administer", who->role >= HTTP_ADMIN);
    jw_end(&w);
    if (!users && who->anonymous)
        jw_kz(&w, "processes_hint", "hune user add NAME --role operator");
    jw_kz(&w, "version", HUNE_VERSION);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void do_login(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    const struct json *b;
    if (!hune_body(r, &b))
        return;
    struct str user = json_str(b, "user", STR("")), password = json_str(b, "password", STR(""));
    char cookie[AUTH_COOKIE_MAX];
    struct http_identity who;
    int e = str_empty(user) || user.n > 256 || password.n > 4096
                ? AUTH_E_WRONG
                : auth_login(a->d.auth, r, user, password, cookie, &who);
    if (e == AUTH_E_LIMIT) {
        http_set_header(r, "Retry-After", STR("300"));
        http_fail(r, 429, "too many wrong tries from this address: wait five minutes");
        return;
    }
    if (e) {
        http_fail(r, 401, "wrong user or password");
        return;
    }
    http_set_header(r, "Set-Cookie", str_of(cookie));
    explicit_bzero(cookie, sizeof(cookie));
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_kz(&w, "user", who.name);
    jw_kz(&w, "role", http_role_names[who.role]);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void login(struct http_req *r, void *ctx)
{
    http_later(r, do_login, ctx); /* hashing a password takes tens of milliseconds */
}

static void logout(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    char cookie[AUTH_COOKIE_MAX];
    auth_logout(a->d.auth, r, cookie);
    http_set_header(r, "Set-Cookie", str_of(cookie));
    http_reply(r, 204, NULL);
}

/* ---- the server itself ---- */

static void status(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct tsdb_stats st;
    tsdb_stats(a->d.tsdb, &st);
    int64_t now = clock_now_ms(a->d.clock);
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_kz(&w, "version", HUNE_VERSION);
    jw_kz(&w, "revision", "");
    jw_ki64(&w, "started_ms", a->d.started_ms);
    jw_ki64(&w, "uptime_ms", now - a->d.started_ms);
    jw_kbool(&w, "ready", !st.read_only);
    jw_kz(&w, "not_ready_reason", st.read_only ? st.reason : "");
    jw_kstr(&w, "mode", a->d.mode);
    jw_kstr(&w, "data_dir", a->d.data_dir);
    jw_key(&w, "listen");
    jw_arr(&w);
    for (size_t i = 0; i < a->d.n_listen; i++)
        jw_str(&w, a->d.listen[i]);
    jw_end(&w);
    jw_kstr(&w, "external_url", a->d.external_url);
    jw_kbool(&w, "read_only", st.read_only);
    jw_kz(&w, "read_only_reason", st.read_only ? st.reason : "");
    jw_kbool(&w, "keeper", a->d.apps && apps_connected(a->d.apps));
    bool ok = !a->d.self.reload_ok || *a->d.self.reload_ok;
    jw_kbool(&w, "config_ok", ok);
    jw_ki64(&w, "config_loaded_ms", a->d.self.reload_ms ? *a->d.self.reload_ms : 0);
    jw_ki64(&w, "memory_bytes", a->d.self.resident_bytes ? a->d.self.resident_bytes() : 0);
    jw_ki64(&w, "series", (int64_t)st.series);
    jw_ki64(&w, "disk_bytes", (int64_t)st.disk_bytes);
    jw_end(&w);
    hune_end(r, &w, 200);
}

struct route_walk {
    struct jw *w;
};

static void put_route(void *ctx, const struct http_route *row)
{
    static const struct {
        unsigned bit;
        const char *name;
    } all[] = {
        {HTTP_GET, "GET"}, {HTTP_POST, "POST"}, {HTTP_PUT, "PUT"}, {HTTP_PATCH, "PATCH"}, {HTTP_DELETE, "DELETE"}};
    struct jw *w = ((struct route_walk *)ctx)->w;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!(row->methods & all[i].bit))
            continue;
        jw_obj(w);
        jw_kz(w, "method", all[i].name);
        jw_kz(w, "path", row->path);
        jw_kz(w, "role", http_role_names[row->role]);
        jw_kbool(w, "never_anonymous", row->flags & HTTP_NO_ANON);
        jw_kz(w, "doc", row->doc);
        jw_end(w);
    }
}

static void routes_list(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "routes");
    jw_arr(&w);
    http_server_each(a->http, put_route, &(struct route_walk){.w = &w});
    jw_end(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

/* ---- events ---- */

static bool event_filter(struct http_req *r, struct event_filter *f)
{
    int64_t after, before;
    struct str sev = http_arg(r, "severity");
    *f = (struct event_filter){.kind_prefix = http_arg(r, "kind"),
                               .service = http_arg(r, "service"),
                               .subject = http_arg(r, "subject"),
                               .text = http_arg(r, "q"),
                               .min_severity = severity_parse(sev),
                               .ascending = str_eqz(http_arg(r, "ascending"), "true")};
    if (!str_empty(sev) && !f->min_severity) {
        http_fail(r, 400, "severity must be info, warning or critical");
        return false;
    }
    if (!hune_limit(r, 100, &f->limit) || !hune_i64(r, "from_ms", 0, &f->from_ms) ||
        !hune_i64(r, "to_ms", 0, &f->to_ms) || !hune_i64(r, "after", 0, &after) || !hune_i64(r, "before", 0, &before))
        return false;
    f->after_seq = after > 0 ? (uint64_t)after : 0;
    f->before_seq = before > 0 ? (uint64_t)before : 0;
    return true;
}

static void do_events(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct event_filter f;
    struct event *v;
    size_t n;
    if (!event_filter(r, &f))
        return;
    int e = a->d.journal->list(a->d.journal, &f, http_arena(r), &v, &n);
    if (e < 0) {
        http_fail(r, 500, "the journal cannot be read: %s", err_name(e));
        return;
    }
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "events");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        event_json(&w, &v[i]);
    jw_end(&w);
    jw_key(&w, "next_before");
    if (!f.ascending && n == f.limit)
        jw_u64(&w, v[n - 1].seq);
    else
        jw_null(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void events(struct http_req *r, void *ctx)
{
    http_later(r, do_events, ctx);
}

/* ---- notifications ---- */

static void do_notifications(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct event_filter f = {.kind_prefix = STR("notify.")};
    int64_t before;
    struct event *v;
    size_t n;
    if (!hune_limit(r, 100, &f.limit) || !hune_i64(r, "before", 0, &before))
        return;
    f.before_seq = before > 0 ? (uint64_t)before : 0;
    int e = a->d.journal->list(a->d.journal, &f, http_arena(r), &v, &n);
    if (e < 0) {
        http_fail(r, 500, "the journal cannot be read: %s", err_name(e));
        return;
    }
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "notifications");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        const struct json *p = NULL;
        if (v[i].payload.n && json_parse(v[i].payload, http_arena(r), &p, NULL) < 0)
            p = NULL;
        jw_obj(&w);
        jw_key(&w, "seq");
        jw_u64(&w, v[i].seq);
        jw_ki64(&w, "t_ms", v[i].t_ms);
        jw_kbool(&w, "ok", str_eqz(v[i].kind, "notify.sent"));
        jw_kz(&w, "severity", severity_names[v[i].severity]);
        jw_kstr(&w, "receiver", json_str(p, "receiver", v[i].subject));
        jw_kstr(&w, "kind", json_str(p, "integration", json_str(p, "kind", STR(""))));
        jw_kstr(&w, "summary", v[i].summary);
        jw_kstr(&w, "error", str_eqz(v[i].kind, "notify.sent") ? STR("") : json_str(p, "reason", STR("")));
        jw_key(&w, "links");
        jw_raw(&w, v[i].links.n ? v[i].links : STR("{}"));
        jw_end(&w);
    }
    jw_end(&w);
    jw_key(&w, "receivers");
    jw_arr(&w);
    struct str *names;
    size_t n_names = 0;
    if (a->d.notify)
        notify_receivers(a->d.notify, http_arena(r), &names, &n_names);
    for (size_t i = 0; i < n_names; i++)
        jw_str(&w, names[i]);
    jw_end(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void notifications(struct http_req *r, void *ctx)
{
    http_later(r, do_notifications, ctx);
}

/* ---- completion ---- */

static void functions(struct http_req *r, void *ctx)
{
    (void)ctx;
    static const char *const types[] = {"", "scalar", "instant-vector", "range-vector", "string"};
    size_t n, n_words;
    const struct promql_function *f = promql_functions(&n);
    const struct promql_word *words = promql_words(&n_words);
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "functions");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(&w);
        jw_kz(&w, "name", f[i].name);
        jw_key(&w, "args");
        jw_arr(&w);
        for (size_t k = 0; k < PROMQL_MAX_ARGS && f[i].args[k] != PROMQL_NONE; k++)
            jw_z(&w, types[f[i].args[k]]);
        jw_end(&w);
        jw_ki64(&w, "variadic", f[i].variadic);
        jw_kz(&w, "returns", types[f[i].returns]);
        jw_kbool(&w, "experimental", f[i].experimental);
        jw_kz(&w, "signature", f[i].signature);
        jw_kz(&w, "doc", f[i].doc);
        jw_end(&w);
    }
    jw_end(&w);
    for (int pass = 0; pass < 2; pass++) {
        jw_key(&w, pass ? "keywords" : "aggregations");
        jw_arr(&w);
        for (size_t i = 0; i < n_words; i++)
            if ((strncmp(words[i].kind, "aggregat", 8) == 0) == (pass == 0))
                jw_z(&w, words[i].name);
        jw_end(&w);
    }
    jw_key(&w, "words");
    jw_arr(&w);
    for (size_t i = 0; i < n_words; i++) {
        jw_obj(&w);
        jw_kz(&w, "name", words[i].name);
        jw_kz(&w, "kind", words[i].kind);
        jw_kz(&w, "signature", words[i].signature);
        jw_kz(&w, "doc", words[i].doc);
        jw_kbool(&w, "experimental", words[i].experimental);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/api/hune/v1/me", HTTP_ANYONE, 0, me, "who am I, what may I do"},
    {HTTP_POST, "/api/hune/v1/login", HTTP_ANYONE, 0, login, "sets the cookie hune_session"},
    {HTTP_POST, "/api/hune/v1/logout", HTTP_ANYONE, 0, logout, "ends the session"},
    {HTTP_GET, "/api/hune/v1/status", HTTP_VIEWER, 0, status, "the server itself"},
    {HTTP_GET, "/api/hune/v1/routes", HTTP_VIEWER, 0, routes_list, "every route with its role"},
    {HTTP_GET, "/api/hune/v1/events", HTTP_VIEWER, 0, events, "the journal"},
    {HTTP_GET, "/api/hune/v1/notifications", HTTP_VIEWER, 0, notifications, "what was sent to whom, and what failed"},
    {HTTP_GET, "/api/hune/v1/functions", HTTP_VIEWER, 0, functions, "PromQL functions, for completion"},
};

void hune_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
    hune_overview_routes(a);
    hune_anomaly_routes(a);
    hune_process_routes(a);
    hune_live_start(a);
    hune_live_routes(a);
}
