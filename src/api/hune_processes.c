// SPDX-License-Identifier: Apache-2.0
/* /api/hune/v1/processes: applications under the keeper. Reading is for viewers; starting and stopping needs an
 * operator with a credential, never an anonymous caller, loopback or not: a web page in somebody's browser must not be
 * able to. */
#include "api/hune_int.h"

#include "base/parse.h"

static void put_process(struct jw *w, const struct app_view *p)
{
    jw_obj(w);
    jw_ki64(w, "id", p->id);
    jw_kstr(w, "name", p->name);
    jw_ki64(w, "instance", p->instance);
    jw_kstr(w, "namespace", p->namespace_);
    jw_kz(w, "state", p->state < CS_COUNT ? control_state_names[p->state] : "");
    jw_ki64(w, "pid", p->pid);
    jw_ki64(w, "restarts", (int64_t)p->restarts);
    jw_ki64(w, "unstable_restarts", (int64_t)p->unstable);
    hune_time(w, "started_ms", p->started_ms);
    jw_ki64(w, "uptime_ms", p->uptime_ms);
    jw_key(w, "exit_code");
    if (p->exited)
        jw_i64(w, p->exit_code);
    else
        jw_null(w);
    jw_key(w, "exit_signal");
    if (p->exited && p->exit_signal)
        jw_i64(w, p->exit_signal);
    else
        jw_null(w);
    jw_kstr(w, "text", p->text);
    jw_kstr(w, "script", p->script);
    jw_kstr(w, "interpreter", p->interpreter);
    jw_kstr(w, "cwd", p->cwd);
    jw_key(w, "cpu_ratio");
    if (p->cpu_ratio < 0)
        jw_null(w);
    else
        jw_f64(w, p->cpu_ratio);
    jw_ki64(w, "memory_bytes", p->rss_bytes);
    jw_end(w);
}

static void processes(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct app_view *v = NULL;
    size_t n = 0;
    bool up = a->d.apps && apps_connected(a->d.apps);
    if (up)
        apps_list(a->d.apps, http_arena(r), &v, &n);
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_kbool(&w, "connected", up);
    jw_key(&w, "processes");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        put_process(&w, &v[i]);
    jw_end(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void do_act(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str word = http_param(r, "action"), id = http_param(r, "id");
    enum control_action action = str_eqz(word, "start")     ? CA_START
                                 : str_eqz(word, "stop")    ? CA_STOP
                                 : str_eqz(word, "restart") ? CA_RESTART
                                                            : CA_SIGNAL;
    uint64_t number;
    if (action == CA_SIGNAL) {
        http_fail(r, 404, "a process can be told start, stop and restart");
        return;
    }
    if (!parse_u64(id, &number)) {
        http_fail(r, 400, "a process is named by its number");
        return;
    }
    if (!a->d.apps) {
        http_fail(r, 503, "no keeper is running: processes are there under `hune run`");
        return;
    }
    struct err e = {0};
    int result = apps_act(a->d.apps, action, id, str_of(http_identity(r)->name), &e);
    if (result == 0) {
        buf_z(http_out(r), "{\"ok\":true}");
        http_reply(r, 200, "application/json");
    } else if (result > 0) {
        http_fail(r, 409, "%s", e.msg);
    } else if (result == -ENOENT) {
        http_fail(r, 404, "there is no process " STR_FMT, STR_ARG(id));
    } else {
        http_fail(r, 503, "%s", e.msg[0] ? e.msg : err_name(result));
    }
}

static void act(struct http_req *r, void *ctx)
{
    http_later(r, do_act, ctx);
}

static void do_logs(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    int64_t want;
    struct str id = http_param(r, "id"), stream = http_arg(r, "stream");
    int only = str_eqz(stream, "out") ? 1 : str_eqz(stream, "err") ? 2 : 0;
    if (!hune_i64(r, "lines", 200, &want))
        return;
    if (want < 1 || want > 10000) {
        http_fail(r, 400, "lines must be between 1 and 10000");
        return;
    }
    struct app_line *v = NULL;
    size_t n = 0;
    bool truncated = false;
    uint64_t number;
    if (a->d.apps) {
        if (str_eqz(id, "all"))
            id = STR("");
        apps_log_tail(a->d.apps, id, 0, (size_t)want + 1, http_arena(r), &v, &n);
        if (n == 0 && parse_u64(id, &number)) { /* nothing since this server started: what the keeper wrote */
            uint64_t from = 0;
            if (apps_log_file(a->d.apps, (uint32_t)number, only == 2 ? 2 : 1, 0, 0, (size_t)want, http_arena(r), &v, &n,
                              &from) < 0)
                n = 0;
            truncated = from > 0;
        }
    }
    size_t skip = n > (size_t)want ? n - (size_t)want : 0;
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "lines");
    jw_arr(&w);
    for (size_t i = skip; i < n; i++) {
        if (only && v[i].stream != only)
            continue;
        jw_obj(&w);
        hune_time(&w, "t_ms", v[i].t_ms);
        jw_kz(&w, "stream", v[i].stream == 2 ? "err" : "out");
        jw_ki64(&w, "id", v[i].id);
        jw_kstr(&w, "name", v[i].name);
        jw_kstr(&w, "text", v[i].text);
        jw_end(&w);
    }
    jw_end(&w);
    jw_kbool(&w, "truncated", truncated || skip > 0);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void logs(struct http_req *r, void *ctx)
{
    http_later(r, do_logs, ctx);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/api/hune/v1/processes", HTTP_VIEWER, 0, processes, "applications under the keeper"},
    {HTTP_POST, "/api/hune/v1/processes/{id}/{action}", HTTP_OPERATOR, HTTP_NO_ANON, act, "start, stop, restart"},
    {HTTP_GET, "/api/hune/v1/processes/{id}/logs", HTTP_VIEWER, 0, logs, "last lines"},
};

void hune_process_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}
