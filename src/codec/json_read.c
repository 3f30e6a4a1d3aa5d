// SPDX-License-Identifier: Apache-2.0
/* jansson parses; its tree is copied into the caller's arena as ours and dropped. Its type names are ours too, so they
 * are renamed while its header is read. */
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL JANSSON_REAL
#define JSON_TRUE JANSSON_TRUE
#define JSON_FALSE JANSSON_FALSE
#define JSON_NULL JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "codec/json.h"

#include "base/limits.h"

static int convert(json_t *in, struct arena *a, int64_t depth, struct json *out, struct err *e);

static int convert_array(json_t *in, struct arena *a, int64_t depth, struct json *out, struct err *e)
{
    out->kind = JSON_ARRAY;
    out->n = json_array_size(in);
    struct json *items = arena_try(a, sizeof(*items) * out->n);
    if (!items)
        return -ENOMEM;
    out->items = items;
    for (size_t i = 0; i < out->n; i++) {
        int r = convert(json_array_get(in, i), a, depth + 1, &items[i], e);
        if (r)
            return r;
    }
    return 0;
}

static int convert_object(json_t *in, struct arena *a, int64_t depth, struct json *out, struct err *e)
{
    out->kind = JSON_OBJECT;
    out->n = json_object_size(in);
    struct json *items = arena_try(a, sizeof(*items) * out->n);
    struct str *keys = arena_try(a, sizeof(*keys) * out->n);
    if (!items || !keys)
        return -ENOMEM;
    out->items = items;
    out->keys = keys;
    size_t i = 0;
    for (void *it = json_object_iter(in); it; it = json_object_iter_next(in, it), i++) {
        keys[i] = arena_str(a, str_of(json_object_iter_key(it)));
        int r = convert(json_object_iter_value(it), a, depth + 1, &items[i], e);
        if (r)
            return r;
    }
    return 0;
}

static int convert(json_t *in, struct arena *a, int64_t depth, struct json *out, struct err *e)
{
    if (depth > limit(json_depth)) {
        err_set(e, "nested deeper than %lld levels (limit json_depth)", (long long)limit(json_depth));
        return -EINVAL;
    }
    switch (json_typeof(in)) {
    case JANSSON_OBJECT:
        return convert_object(in, a, depth, out, e);
    case JANSSON_ARRAY:
        return convert_array(in, a, depth, out, e);
    case JANSSON_STRING: {
        size_t n = json_string_length(in);
        char *p = arena_try(a, n + 1);
        if (!p)
            return -ENOMEM;
        memcpy(p, json_string_value(in), n);
        out->kind = JSON_STRING;
        out->s = str_make(p, n);
        return 0;
    }
    case JANSSON_INTEGER:
        out->kind = JSON_INT;
        out->i = json_integer_value(in);
        out->f = (double)out->i;
        return 0;
    case JANSSON_REAL:
        out->kind = JSON_REAL;
        out->f = json_real_value(in);
        return 0;
    case JANSSON_TRUE:
    case JANSSON_FALSE:
        out->kind = JSON_BOOL;
        out->b = json_typeof(in) == JANSSON_TRUE;
        return 0;
    case JANSSON_NULL:
        out->kind = JSON_NULL;
        return 0;
    }
    return -EINVAL;
}

int json_parse(struct str text, struct arena *a, const struct json **ret, struct err *e)
{
    json_error_t je;
    json_t *tree =
        json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    if (!tree) {
        err_set(e, "%d:%d: %s", je.line, je.column, je.text);
        return -EINVAL;
    }
    struct json *out = ARENA_NEW(a, struct json);
    int r = convert(tree, a, 1, out, e);
    json_decref(tree);
    if (r)
        return r;
    *ret = out;
    return 0;
}

const struct json *json_get(const struct json *o, const char *key)
{
    if (!o || o->kind != JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < o->n; i++)
        if (str_eqz(o->keys[i], key))
            return &o->items[i];
    return NULL;
}

struct str json_str(const struct json *o, const char *key, struct str dflt)
{
    const struct json *v = json_get(o, key);
    return v && v->kind == JSON_STRING ? v->s : dflt;
}

int64_t json_i64(const struct json *o, const char *key, int64_t dflt)
{
    const struct json *v = json_get(o, key);
    return v && v->kind == JSON_INT ? v->i : dflt;
}

double json_f64(const struct json *o, const char *key, double dflt)
{
    const struct json *v = json_get(o, key);
    return v && (v->kind == JSON_INT || v->kind == JSON_REAL) ? v->f : dflt;
}

bool json_bool(const struct json *o, const char *key, bool dflt)
{
    const struct json *v = json_get(o, key);
    return v && v->kind == JSON_BOOL ? v->b : dflt;
}
