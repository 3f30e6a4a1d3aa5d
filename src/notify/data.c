// SPDX-License-Identifier: Apache-2.0
/* Alertmanager's template.Data for our template engine: .Receiver .Status .Alerts.Firing .GroupLabels.SortedPairs and
 * so on. */
#include "notify/notify_int.h"
#include "base/parse.h"
#include "codec/json.h"

/* ---- pairs and KV ---- */

static int pair_get(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
                    struct tval *ret)
{
    (void)r;
    (void)args;
    (void)n;
    const struct tpair *p = obj;
    if (str_eqz(name, "Name"))
        *ret = tval_str(p->key);
    else if (str_eqz(name, "Value"))
        *ret = p->value;
    else
        return TEMPLATE_E_NO_FIELD;
    return 0;
}

static struct tval pair_view(struct template_run *r, const void *obj) /* as Go prints the struct */
{
    const struct tpair *p = obj;
    return tval_str(arena_fmt(template_arena(r), "{" STR_FMT " " STR_FMT "}", STR_ARG(p->key), STR_ARG(p->value.s)));
}

static const struct tobj_type pair_type = {.name = "template.Pair", .get = pair_get, .view = pair_view};

struct pairs_obj {
    const struct tpair **v;
    size_t n;
};
enum part { PART_NAME, PART_VALUE, PART_PAIR };

static struct tval pair_parts(struct arena *a, const struct tpair **v, size_t n, enum part part)
{
    struct tval *out = ARENA_ARRAY(a, struct tval, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = part == PART_NAME    ? tval_str(v[i]->key)
                 : part == PART_VALUE ? v[i]->value
                                      : tval_obj(&pair_type, v[i]);
    return tval_list_of(a, out, n);
}

static int pairs_get(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
                     struct tval *ret)
{
    (void)args;
    (void)n;
    const struct pairs_obj *p = obj;
    bool names = str_eqz(name, "Names");
    if (!names && !str_eqz(name, "Values"))
        return TEMPLATE_E_NO_FIELD;
    *ret = pair_parts(template_arena(r), p->v, p->n, names ? PART_NAME : PART_VALUE);
    return 0;
}

static struct tval pairs_view(struct template_run *r, const void *obj)
{
    const struct pairs_obj *p = obj;
    return pair_parts(template_arena(r), p->v, p->n, PART_PAIR);
}

static const struct tobj_type pairs_type = {.name = "template.Pairs", .get = pairs_get, .view = pairs_view};

/* alertname first, then by name. */
static void sorted(const struct tmap *m, struct arena *a, const struct tpair ***ret)
{
    const struct tpair **v = ARENA_ARRAY(a, const struct tpair *, m->n + 1);
    size_t k = 0;
    for (size_t i = 0; i < m->n; i++)
        if (str_eqz(m->v[i].key, "alertname"))
            v[k++] = &m->v[i];
    for (size_t i = 0; i < m->n; i++)
        if (!str_eqz(m->v[i].key, "alertname"))
            v[k++] = &m->v[i];
    *ret = v;
}

static struct tval kv_of(struct arena *a, const struct tpair *p, size_t n);

static int kv_get(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
                  struct tval *ret)
{
    const struct tmap *m = obj;
    struct arena *a = template_arena(r);
    const struct tpair **v;
    bool names = str_eqz(name, "Names"), values = str_eqz(name, "Values"), pairs = str_eqz(name, "SortedPairs");
    if (names || values || pairs) {
        sorted(m, a, &v);
        if (pairs) {
            struct pairs_obj *p = ARENA_NEW(a, struct pairs_obj);
            *p = (struct pairs_obj){.v = v, .n = m->n};
            *ret = tval_obj(&pairs_type, p);
        } else {
            *ret = pair_parts(a, v, m->n, names ? PART_NAME : PART_VALUE);
        }
        return 0;
    }
    if (str_eqz(name, "Remove")) {
        if (n != 1 || args[0].kind != TVAL_LIST)
            return template_fail(r, "Remove wants a list of names");
        struct tpair *left = ARENA_ARRAY(a, struct tpair, m->n + 1);
        size_t k = 0;
        for (size_t i = 0; i < m->n; i++) {
            bool gone = false;
            for (size_t q = 0; q < args[0].list->n; q++)
                gone |= args[0].list->v[q].kind == TVAL_STR && str_eq(args[0].list->v[q].s, m->v[i].key);
            if (!gone)
                left[k++] = m->v[i];
        }
        *ret = kv_of(a, left, k);
        return template_step(r, m->n);
    }
    return TEMPLATE_E_NO_FIELD;
}

static const struct tobj_type kv_type = {.name = "template.KV", .get = kv_get};

static struct tval kv_of(struct arena *a, const struct tpair *p, size_t n)
{
    struct tval v = tval_map_of(a, p, n, true);
    struct tmap *m = ARENA_NEW(a, struct tmap);
    *m = *v.map;
    m->methods = &kv_type;
    return tval_map(m);
}

static struct tval kv_labels(struct arena *a, struct labels l)
{
    struct tpair *p = ARENA_ARRAY(a, struct tpair, l.n + 1);
    for (size_t i = 0; i < l.n; i++)
        p[i] = (struct tpair){.key = l.v[i].name, .value = tval_str(l.v[i].value)};
    return kv_of(a, p, l.n);
}

/* ---- structs: a map behind a type that refuses unknown fields ---- */

static int struct_get(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
                      struct tval *ret)
{
    (void)r;
    (void)args;
    (void)n;
    const struct tmap *m = obj;
    for (size_t i = 0; i < m->n; i++)
        if (str_eq(m->v[i].key, name)) {
            *ret = m->v[i].value;
            return 0;
        }
    return TEMPLATE_E_NO_FIELD;
}

static struct tval struct_view(struct template_run *r, const void *obj)
{
    (void)r;
    return tval_map(obj);
}

static const struct tobj_type data_type = {.name = "*template.Data", .get = struct_get, .view = struct_view};
static const struct tobj_type alert_type = {.name = "template.Alert", .get = struct_get, .view = struct_view};

struct alerts_obj {
    const struct tlist *all, *firing, *resolved;
};

static int alerts_get(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
                      struct tval *ret)
{
    (void)r;
    (void)args;
    (void)n;
    const struct alerts_obj *o = obj;
    if (str_eqz(name, "Firing"))
        *ret = tval_list(o->firing);
    else if (str_eqz(name, "Resolved"))
        *ret = tval_list(o->resolved);
    else
        return TEMPLATE_E_NO_FIELD;
    return 0;
}

static struct tval alerts_view(struct template_run *r, const void *obj)
{
    (void)r;
    return tval_list(((const struct alerts_obj *)obj)->all);
}

static const struct tobj_type alerts_type = {.name = "template.Alerts", .get = alerts_get, .view = alerts_view};

bool job_firing(const struct notify_job *j)
{
    for (size_t i = 0; i < j->n_alerts; i++)
        if (!j->alerts[i].a.resolved)
            return true;
    return false;
}

struct labels job_common(const struct notify_job *j, struct arena *a, bool annotations)
{
    if (j->has_common)
        return annotations ? j->common_annotations : j->common_labels;
    struct labels_builder b = {0};
    struct labels first = !j->n_alerts  ? (struct labels){0}
                          : annotations ? j->alerts[0].a.annotations
                                        : j->alerts[0].a.labels;
    lb_init(&b, first);
    for (size_t i = 0; i < first.n; i++)
        for (size_t k = 1; k < j->n_alerts; k++) {
            struct labels l = annotations ? j->alerts[k].a.annotations : j->alerts[k].a.labels;
            if (!str_eq(labels_get(l, first.v[i].name), first.v[i].value)) {
                lb_del(&b, first.v[i].name);
                break;
            }
        }
    struct labels out = lb_labels(&b, a);
    lb_done(&b);
    return out;
}

static struct tval time_or_zero(int64_t ms)
{
    return tval_time(ms ? ms : TIME_ZERO_MS);
}

struct tval data_of(const struct notify_job *j, struct arena *a, struct str external_url, struct tval route_labels)
{
    struct tval *all = ARENA_ARRAY(a, struct tval, j->n_alerts + 1),
                *firing = ARENA_ARRAY(a, struct tval, j->n_alerts + 1),
                *resolved = ARENA_ARRAY(a, struct tval, j->n_alerts + 1);
    size_t nf = 0, nr = 0;
    for (size_t i = 0; i < j->n_alerts; i++) {
        const struct alert *x = &j->alerts[i].a;
        struct tpair f[] = {
            {STR("Status"), tval_z(x->resolved ? "resolved" : "firing")},
            {STR("Labels"), kv_labels(a, x->labels)},
            {STR("Annotations"), kv_labels(a, x->annotations)},
            {STR("StartsAt"), time_or_zero(x->starts_ms)},
            {STR("EndsAt"), time_or_zero(x->ends_ms)},
            {STR("GeneratorURL"), tval_str(x->generator_url)},
            {STR("Fingerprint"), tval_str(arena_fmt(a, "%016llx", (unsigned long long)j->alerts[i].fp))},
        };
        all[i] = tval_obj(&alert_type, tval_map_of(a, f, ARRAY_LEN(f), false).map);
        if (x->resolved)
            resolved[nr++] = all[i];
        else
            firing[nf++] = all[i];
    }
    struct alerts_obj *o = ARENA_NEW(a, struct alerts_obj);
    *o = (struct alerts_obj){.all = tval_list_of(a, all, j->n_alerts).list,
                             .firing = tval_list_of(a, firing, nf).list,
                             .resolved = tval_list_of(a, resolved, nr).list};
    struct tpair f[] = {
        {STR("Receiver"), tval_str(j->receiver)},
        {STR("Status"), j->status.n ? tval_str(j->status) : tval_z(nf ? "firing" : "resolved")},
        {STR("Alerts"), tval_obj(&alerts_type, o)},
        {STR("GroupLabels"), kv_labels(a, j->group_labels)},
        {STR("CommonLabels"), kv_labels(a, job_common(j, a, false))},
        {STR("CommonAnnotations"), kv_labels(a, job_common(j, a, true))},
        {STR("ExternalURL"), tval_str(external_url)},
        {STR("RouteLabels"),
         route_labels.kind == TVAL_MAP ? kv_of(a, route_labels.map->v, route_labels.map->n) : kv_of(a, NULL, 0)},
        {STR("NotificationReason"), tval_str(j->reason)},
        {STR("GroupKey"), tval_str(j->group_key)},
    };
    return tval_obj(&data_type, tval_map_of(a, f, ARRAY_LEN(f), false).map);
}

static int expand(struct notify_job *j, const char *what, struct str text, bool html, struct tval route_labels,
                  struct str *ret, struct err *e)
{
    if (str_find(text, STR("{{")) < 0) {
        *ret = text;
        return 0;
    }
    struct template_set *s = template_set_new(j->config->templates, NULL);
    struct template_prom host = {
        .now_ms = clock_now_ms(j->n->o.clock), .external_url = j->n->o.external_url, .route_labels = route_labels};
    struct template_exec x = {.name = str_of(what),
                              .data = data_of(j, j->mem, j->n->o.external_url, route_labels),
                              .flags = html ? TEMPLATE_HTML : 0,
                              .arena = j->mem,
                              .host = &host};
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)limit(template_output_bytes) + 1);
    int r = template_parse(s, x.name, text, e);
    if (!r)
        r = template_exec(s, &x, &out, e);
    if (!r)
        *ret = arena_str(j->mem, buf_view(&out));
    template_set_free(s);
    return r;
}

/* Labels of the route are templates of the group and may use each other in the order written. */
struct tval route_labels_of(struct notify_job *j)
{
    size_t n = j->route_labels.n;
    struct tpair *p = ARENA_ARRAY(j->mem, struct tpair, n + 1);
    struct tval known = tval_map_of(j->mem, NULL, 0, true);
    for (int pass = 0; pass < 2 && n; pass++) { /* twice: a description may stand before the reason it uses */
        for (size_t i = 0; i < n; i++) {
            struct str v = STR("");
            struct err e = {0};
            if (expand(j, "route label", j->route_labels.v[i].value, false, known, &v, &e))
                log_warn("a label of a route could not be written", KV_STR("label", j->route_labels.v[i].key),
                         KV_Z("reason", e.msg));
            p[i] = (struct tpair){.key = j->route_labels.v[i].key, .value = tval_str(v)};
            known = tval_map_of(j->mem, p, pass ? n : i + 1, true);
        }
    }
    return known;
}

int job_expand(struct notify_job *j, const char *what, struct str text, bool html, struct str *ret, struct err *e)
{
    if (str_find(text, STR("{{")) < 0) {
        *ret = text;
        return 0;
    }
    return expand(j, what, text, html, route_labels_of(j), ret, e);
}

/* ---- data from outside ---- */

static struct labels json_labels(const struct json *o, struct arena *a)
{
    struct labels_builder b = {0};
    lb_init(&b, (struct labels){0});
    for (size_t i = 0; o && o->kind == JSON_OBJECT && i < o->n; i++)
        if (o->items[i].kind == JSON_STRING)
            lb_set(&b, o->keys[i], o->items[i].s);
    struct labels l = lb_labels(&b, a);
    lb_done(&b);
    return l;
}

static int64_t json_time(const struct json *o, const char *key)
{
    int64_t ms;
    return parse_rfc3339_ms(json_str(o, key, STR("")), &ms) && ms > TIME_ZERO_MS ? ms : 0;
}

int notify_template_render(const struct notify_config *c, struct str text, bool html, struct str json, int64_t now_ms,
                           struct buf *out, struct err *e)
{
    _cleanup_arena_ struct arena *a = arena_new(0);
    const struct json *o;
    int r = json_parse(json, a, &o, e);
    if (r)
        return r;
    const struct json *alerts = json_get(o, "alerts");
    size_t n = alerts && alerts->kind == JSON_ARRAY ? alerts->n : 0;
    struct notify_job j = {.mem = a,
                           .receiver = json_str(o, "receiver", STR("")),
                           .status = json_str(o, "status", STR("")),
                           .group_labels = json_labels(json_get(o, "groupLabels"), a),
                           .common_labels = json_labels(json_get(o, "commonLabels"), a),
                           .common_annotations = json_labels(json_get(o, "commonAnnotations"), a),
                           .has_common = true,
                           .alerts = ARENA_ARRAY(a, struct job_alert, n + 1),
                           .n_alerts = n};
    for (size_t i = 0; i < n; i++) {
        const struct json *x = &alerts->items[i];
        struct alert *al = &j.alerts[i].a;
        *al = (struct alert){.labels = json_labels(json_get(x, "labels"), a),
                             .annotations = json_labels(json_get(x, "annotations"), a),
                             .starts_ms = json_time(x, "startsAt"),
                             .ends_ms = json_time(x, "endsAt"),
                             .generator_url = json_str(x, "generatorURL", STR("")),
                             .resolved = str_eqz(json_str(x, "status", STR("")), "resolved")};
        struct str fp = json_str(x, "fingerprint", STR(""));
        for (size_t k = 0; k < fp.n && k < 16; k++) {
            char ch = fp.p[k];
            j.alerts[i].fp =
                j.alerts[i].fp << 4 | (uint64_t)(ch <= '9' ? (ch - '0') & 15 : ((ch | 0x20) - 'a' + 10) & 15);
        }
    }
    struct str url = json_str(o, "externalURL", STR(""));
    struct template_set *s = template_set_new(c->templates, NULL);
    struct template_prom host = {.now_ms = now_ms, .external_url = url};
    struct template_exec x = {.name = STR("text"),
                              .data = data_of(&j, a, url, tval_nil()),
                              .flags = html ? TEMPLATE_HTML : 0,
                              .arena = a,
                              .host = &host};
    r = template_parse(s, x.name, text, e);
    if (!r)
        r = template_exec(s, &x, out, e);
    template_set_free(s);
    return r;
}
