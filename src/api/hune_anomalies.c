// SPDX-License-Identifier: Apache-2.0
/* /api/hune/v1/anomalies and /indicators. Both read the database, so they run on workers. */
#include "api/hune_int.h"

static void answer(struct http_req *r, struct api *a, struct str id, int status)
{
    struct anomaly one;
    int e = anomaly_get(a->d.anomalies, id, http_arena(r), &one);
    if (e == ANOMALY_E_NOT_FOUND) {
        http_fail(r, 404, "there is no anomaly " STR_FMT, STR_ARG(str_sub(id, 0, 64)));
        return;
    }
    if (e) {
        http_fail(r, 500, "the records cannot be read: %s", err_name(e));
        return;
    }
    struct jw w;
    hune_begin(r, &w);
    anomaly_json(&w, &one, ANOMALY_FULL, clock_now_ms(a->d.clock));
    hune_end(r, &w, status);
}

/* What an act came to; true when it was done. */
static bool acted(struct http_req *r, int e, const struct err *why)
{
    if (e == 0)
        return true;
    if (e == ANOMALY_E_NOT_FOUND)
        http_fail(r, 404, "%s", why->msg[0] ? why->msg : "there is no such anomaly");
    else if (e == ANOMALY_E_INVALID)
        http_fail(r, 400, "%s", why->msg);
    else if (e == ANOMALY_E_STATE || e == ANOMALY_E_CONFLICT)
        http_fail(r, 409, "%s", why->msg);
    else
        http_fail(r, e == -ENOSPC ? 503 : 500, "not stored: %s", err_name(e));
    return false;
}

static int name_index(const char *const *names, struct str s)
{
    for (int i = 0; names[i]; i++)
        if (str_eqz(s, names[i]))
            return i;
    return -1;
}

static void do_list(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct anomaly_filter f = {.service = http_arg(r, "service"),
                               .environment = http_arg(r, "environment"),
                               .assignee = http_arg(r, "assignee"),
                               .text = http_arg(r, "q")};
    const struct str *v;
    size_t n = http_args(r, "status", &v);
    for (size_t i = 0; i < n; i++) {
        int s = name_index(anomaly_status_names, v[i]);
        if (s < 0) {
            http_fail(r, 400, "status must be open, in_progress, resolved or closed");
            return;
        }
        f.statuses |= 1u << s;
    }
    if (str_eqz(http_arg(r, "closed"), "false")) {
        unsigned living = 1u << ANOMALY_OPEN | 1u << ANOMALY_IN_PROGRESS;
        f.statuses = f.statuses ? f.statuses & living : living;
    }
    if (!str_empty(http_arg(r, "severity"))) {
        f.min_severity = severity_parse(http_arg(r, "severity"));
        if (!f.min_severity) {
            http_fail(r, 400, "severity must be info, warning or critical");
            return;
        }
    }
    if (!str_empty(http_arg(r, "category"))) {
        f.category = name_index(anomaly_category_names, http_arg(r, "category"));
        if (f.category < 0) {
            http_fail(r, 400, "category must be performance, security, functionality or system");
            return;
        }
    }
    int64_t offset;
    if (!hune_limit(r, 100, &f.limit) || !hune_i64(r, "offset", 0, &offset) || !hune_i64(r, "from_ms", 0, &f.from_ms) ||
        !hune_i64(r, "to_ms", 0, &f.to_ms))
        return;
    f.offset = offset > 0 ? (size_t)offset : 0;
    struct anomaly *list;
    size_t n_list, total;
    int e = anomaly_list(a->d.anomalies, &f, http_arena(r), &list, &n_list);
    if (e == 0)
        e = anomaly_count(a->d.anomalies, &f, &total);
    if (e) {
        http_fail(r, 500, "the records cannot be read: %s", err_name(e));
        return;
    }
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_key(&w, "anomalies");
    jw_arr(&w);
    for (size_t i = 0; i < n_list; i++)
        anomaly_json(&w, &list[i], ANOMALY_LIST, clock_now_ms(a->d.clock));
    jw_end(&w);
    jw_ki64(&w, "total", (int64_t)total);
    jw_end(&w);
    hune_end(r, &w, 200);
}

static void do_get(struct http_req *r, void *ctx)
{
    answer(r, ctx, http_param(r, "id"), 200);
}

static void do_open(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct err why = {0};
    char id[ANOMALY_ID_BYTES];
    if (acted(r, anomaly_open_json(a->d.anomalies, http_body(r), str_of(http_identity(r)->name), id, &why), &why))
        answer(r, a, str_of(id), 201);
}

static void do_patch(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct err why = {0};
    struct str id = http_param(r, "id");
    if (acted(r, anomaly_apply_json(a->d.anomalies, id, http_body(r), str_of(http_identity(r)->name), &why), &why))
        answer(r, a, id, 200);
}

static void do_note(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    const struct json *b;
    if (!hune_body(r, &b))
        return;
    if (str_empty(str_trim(json_str(b, "text", STR(""))))) {
        http_fail(r, 400, "text: a note needs words");
        return;
    }
    do_patch(r, a);
}

static void do_move(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct str move = http_param(r, "move"), id = http_param(r, "id");
    enum anomaly_status to = str_eqz(move, "resolve")  ? ANOMALY_RESOLVED
                             : str_eqz(move, "close")  ? ANOMALY_CLOSED
                             : str_eqz(move, "reopen") ? ANOMALY_OPEN
                                                       : ANOMALY_STATUS_COUNT;
    if (to == ANOMALY_STATUS_COUNT) {
        http_fail(r, 404, "an anomaly can be told notes, resolve, close and reopen");
        return;
    }
    struct err why = {0};
    struct str body = str_empty(str_trim(http_body(r))) ? STR("{}") : http_body(r);
    if (acted(r, anomaly_move_json(a->d.anomalies, id, to, body, str_of(http_identity(r)->name), &why), &why))
        answer(r, a, id, 200);
}

/* ---- indicators ---- */

static void do_indicators(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    int64_t from, to;
    if (!hune_i64(r, "from_ms", 0, &from) || !hune_i64(r, "to_ms", 0, &to))
        return;
    struct str only = http_arg(r, "service"), *services = NULL;
    size_t n = 0;
    struct avail_report all;
    int e = avail_report(a->d.avail, only, from, to, http_arena(r), &all);
    if (e == 0 && str_empty(only))
        e = avail_services(a->d.avail, http_arena(r), &services, &n);
    if (e) {
        http_fail(r, e == -EINVAL ? 400 : 500, "%s", e == -EINVAL ? "from_ms must be before to_ms" : err_name(e));
        return;
    }
    const struct avail_objectives *o = &avail_objectives_default;
    struct jw w;
    hune_begin(r, &w);
    jw_obj(&w);
    jw_ki64(&w, "from_ms", all.from_ms);
    jw_ki64(&w, "to_ms", all.to_ms);
    jw_key(&w, "overall");
    avail_json(&w, &all, NULL);
    jw_key(&w, "services");
    jw_arr(&w);
    for (size_t i = 0; i < n && i < 200; i++) {
        struct avail_report one;
        if (avail_report(a->d.avail, services[i], from, to, http_arena(r), &one) == 0)
            avail_json(&w, &one, NULL);
    }
    jw_end(&w);
    jw_key(&w, "objectives");
    jw_obj(&w);
    jw_ki64(&w, "detection_ms", o->mttd_ms);
    jw_ki64(&w, "resolution_ms", o->resolution_ms);
    jw_ki64(&w, "recovery_ms", o->mttr_ms);
    jw_ki64(&w, "mtbf_ms", o->mtbf_ms);
    jw_kf64(&w, "uptime_ratio", o->uptime_ratio);
    jw_kf64(&w, "detection_ratio", o->detection_ratio);
    jw_end(&w);
    jw_end(&w);
    hune_end(r, &w, 200);
}

#define LATER(name)                                                                                                    \
    static void name(struct http_req *r, void *ctx)                                                                    \
    {                                                                                                                  \
        http_later(r, do_##name, ctx);                                                                                 \
    }
LATER(list)
LATER(get)
LATER(open)
LATER(patch)
LATER(note)
LATER(move)
LATER(indicators)

static const struct http_route routes[] = {
    {HTTP_GET, "/api/hune/v1/anomalies", HTTP_VIEWER, 0, list, "list"},
    {HTTP_POST, "/api/hune/v1/anomalies", HTTP_OPERATOR, 0, open, "open one by hand"},
    {HTTP_GET, "/api/hune/v1/anomalies/{id}", HTTP_VIEWER, 0, get, "one, with timeline and measurements"},
    {HTTP_PATCH, "/api/hune/v1/anomalies/{id}", HTTP_OPERATOR, 0, patch, "change fields"},
    {HTTP_POST, "/api/hune/v1/anomalies/{id}/notes", HTTP_OPERATOR, 0, note, "add a note to the timeline"},
    {HTTP_POST, "/api/hune/v1/anomalies/{id}/{move}", HTTP_OPERATOR, 0, move, "resolve, close or reopen"},
    {HTTP_GET, "/api/hune/v1/indicators", HTTP_VIEWER, 0, indicators, "uptime, MTTD, MTTR, MTBF"},
};

void hune_anomaly_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}
