// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Go's text/template language (Go 1.22: https://pkg.go.dev/text/template) with the escaping of html/template for mail,
 * as Prometheus rule files and alertmanager.yml use it. Parse once, execute often: a parsed set is immutable and may be
 * executed by many threads at once. Execution takes time linear in the steps it makes and stops at the limits
 * template_steps and template_output_bytes. Nothing here knows of alerts: the host hands in values and functions. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* ---- values: small, by value; what they point to lives in the arena of the execution or outlives it ---- */

enum tval_kind {
    TVAL_NIL,
    TVAL_BOOL,
    TVAL_INT,
    TVAL_FLOAT,
    TVAL_STR,
    TVAL_LIST,
    TVAL_MAP,
    TVAL_OBJ,
    TVAL_TIME,
    TVAL_DURATION
};

struct tval;
struct tobj_type;

struct tval {
    enum tval_kind kind;
    bool safe;  /* TVAL_STR: HTML that is not escaped again (safeHtml) */
    bool url;   /* TVAL_STR: a URL that is not filtered again (safeUrl) */
    bool ideal; /* an untyped constant of the template text */
    union {
        bool b;
        int64_t i; /* TVAL_INT; TVAL_TIME and TVAL_DURATION in milliseconds */
        double f;
        struct str s;
        const struct tlist *list;
        const struct tmap *map;
        struct {
            const struct tobj_type *type;
            const void *p;
        } obj;
    };
    const void *zone; /* TVAL_TIME: the host's time zone, NULL = UTC */
};

#define TIME_ZERO_MS INT64_C(-62135596800000) /* Go's zero time, 0001-01-01 */

struct tlist {
    size_t n;
    const struct tval *v;
    bool strings; /* []string: only for messages */
};

struct tpair {
    struct str key;
    struct tval value;
};

struct tmap { /* sorted by key, as Go ranges over it */
    size_t n;
    const struct tpair *v;
    bool strings;                    /* map[string]string: an absent key is "" instead of "<no value>" */
    const struct tobj_type *methods; /* NULL, or methods on it (Alertmanager's KV); called with the tmap as object */
};

struct template_run; /* one execution */

/* A struct-like value: fields and methods looked up by name when they are asked for. */
struct tobj_type {
    const char *name; /* as Go would print the type, in messages */
    /* 0; TEMPLATE_E_NO_FIELD; or what template_fail() returned. n is the number of arguments of a method call. */
    int (*get)(struct template_run *r, const void *obj, struct str name, const struct tval *args, size_t n,
               struct tval *ret);
    /* What len, index, range, printing and truth see instead of the object: a list, a map or a scalar. NULL = the
     * object is opaque. */
    struct tval (*view)(struct template_run *r, const void *obj);
};

enum template_error {
    TEMPLATE_E_FAIL = 1, /* the text is in the struct err of the execution */
    TEMPLATE_E_NO_FIELD,
};

static inline struct tval tval_nil(void)
{
    return (struct tval){.kind = TVAL_NIL};
}
static inline struct tval tval_bool(bool b)
{
    return (struct tval){.kind = TVAL_BOOL, .b = b};
}
static inline struct tval tval_int(int64_t i)
{
    return (struct tval){.kind = TVAL_INT, .i = i};
}
static inline struct tval tval_f64(double f)
{
    return (struct tval){.kind = TVAL_FLOAT, .f = f};
}
static inline struct tval tval_str(struct str s)
{
    return (struct tval){.kind = TVAL_STR, .s = s};
}
static inline struct tval tval_z(const char *z)
{
    return tval_str(str_of(z));
}
static inline struct tval tval_time(int64_t ms)
{
    return (struct tval){.kind = TVAL_TIME, .i = ms};
}
static inline struct tval tval_duration(int64_t ms)
{
    return (struct tval){.kind = TVAL_DURATION, .i = ms};
}
static inline struct tval tval_list(const struct tlist *l)
{
    return (struct tval){.kind = TVAL_LIST, .list = l};
}
static inline struct tval tval_map(const struct tmap *m)
{
    return (struct tval){.kind = TVAL_MAP, .map = m};
}
static inline struct tval tval_obj(const struct tobj_type *t, const void *p)
{
    return (struct tval){.kind = TVAL_OBJ, .obj = {.type = t, .p = p}};
}
bool tval_truth(struct template_run *r, struct tval v);                /* Go's IsTrue: not the zero value, not empty */
void tval_print(struct template_run *r, struct buf *b, struct tval v); /* as fmt.Sprint (%v) */
const char *tval_type(struct tval v);                                  /* Go's name of the type, for messages */
struct tval tval_list_of(struct arena *a, const struct tval *v, size_t n);
/* Sorts and keeps the last of equal keys; copies the array, not the strings. */
struct tval tval_map_of(struct arena *a, const struct tpair *v, size_t n, bool strings);

/* ---- functions ---- */

struct template_func {
    const char *name;
    int min_args, max_args; /* max -1 = any number */
    /* 0, or what template_fail() returned. Results live in template_arena(r). */
    int (*fn)(struct template_run *r, const struct tval *args, size_t n, struct tval *ret);
};

struct arena *template_arena(struct template_run *r);
void *template_host(struct template_run *r);
/* Set the reason ("error calling NAME: ..." is put around it); returns TEMPLATE_E_FAIL. */
int template_fail(struct template_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Count work towards template_steps, for functions that loop; 0 or the failure. */
MUST_USE int template_step(struct template_run *r, size_t n);
/* Render a named template with `data` into the arena (Prometheus' tmpl). */
MUST_USE int template_call(struct template_run *r, struct str name, struct tval data, struct str *ret);
/* Numbers from what people pass: int, float, duration, or text. */
bool tval_number(struct tval v, double *ret);

/* Functions that Prometheus' rule templates have (docs/configuration/template_reference.md, 3.x). query, graphLink,
 * tableLink, externalURL and pathPrefix ask the host, see struct template_prom. */
extern const struct template_func template_funcs_prom[];
/* Functions that Alertmanager's templates have (docs/notifications.md, 0.34), plus `default`, which many expect. */
extern const struct template_func template_funcs_am[];

/* The host of template_funcs_prom and template_funcs_am: pass it (or a struct that begins with it) as `host`. */
struct template_prom {
    int64_t now_ms;
    struct str external_url; /* without trailing slash */
    /* Rows of an instant query at now_ms as a list of maps Labels, Value, built with template_sample(). NULL: query is
     * an error. 0 or template_fail(). */
    int (*query)(struct template_run *r, struct template_prom *p, struct str expr, struct tval *ret);
    void *ctx;
    struct tval route_labels; /* a map, for routeLabels; nil = none */
};
/* One row of `query`: label pairs (name, value) and the value. */
struct tval template_sample(struct template_run *r, const struct tpair *labels, size_t n, double value);

/* humanize family, shared with messages made in C (Prometheus template_expander semantics). */
void humanize(struct buf *b, double v);
void humanize_1024(struct buf *b, double v);
void humanize_duration(struct buf *b, double seconds);
/* Go's time.Format for the layouts in use ("2006-01-02 15:04:05 MST" ...); offset_s and zone name the zone. */
void time_format_go(struct buf *b, int64_t ms, struct str layout, int32_t offset_s, struct str zone);
void url_query_escape(struct buf *b, struct str s);
void html_escape(struct buf *b, struct str s);
/* Time zones for `tz` and printing: set once by the host at start-up (NULL = UTC only). */
struct template_zones {
    const void *(*find)(struct str name); /* NULL when unknown; kept for ever */
    void (*at)(const void *zone, int64_t ms, int32_t *ret_offset_s, struct str *ret_abbrev);
};
void template_set_zones(const struct template_zones *z);

/* ---- sets ---- */

struct template_set;
/* funcs ends with a row whose name is NULL; the builtins of Go are always there. parent (may be NULL) is searched for
 * templates not found here and must outlive the set; its functions are seen too. Owned by the caller. */
struct template_set *template_set_new(const struct template_set *parent, const struct template_func *funcs);
struct template_set *template_set_free(struct template_set *s);
/* Parse `text` as template `name`, with everything it defines. Later definitions replace earlier ones, empty ones do
 * not. 0; -EINVAL with Go's wording ("template: NAME:LINE: ..."). Not thread-safe. */
MUST_USE int template_parse(struct template_set *s, struct str name, struct str text, struct err *e);
bool template_has(const struct template_set *s, struct str name);

enum template_flags {
    TEMPLATE_HTML = 1, /* escape by context, as html/template */
};
/* Execute template `name` and append to out.
 * arena: holds everything made meanwhile; host: what template_host() gives to functions.
 * 0; -EINVAL with Go's wording ("template: NAME:LINE:COL: executing ..."); out then holds what was written before. */
struct template_exec {
    struct str name;
    struct tval data;
    unsigned flags;
    struct arena *arena;
    void *host;
};
MUST_USE int template_exec(const struct template_set *s, const struct template_exec *x, struct buf *out, struct err *e);
