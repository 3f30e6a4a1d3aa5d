// SPDX-License-Identifier: Apache-2.0
#pragma once
/* JSON out: a streaming writer over a buf, commas and escaping handled. JSON in: jansson behind a read-only tree with
 * positions in errors. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* Writer. Nesting to 64 levels; misuse (value without key inside an object) is a BUG. */
struct jw {
    struct buf *b;
    uint64_t in_object, has_item; /* a bit per level */
    unsigned depth;
    bool after_key;
};
void jw_init(struct jw *w, struct buf *b);
void jw_obj(struct jw *w);
void jw_end(struct jw *w); /* closes object or array */
void jw_arr(struct jw *w);
void jw_key(struct jw *w, const char *z);
void jw_key_str(struct jw *w, struct str k);
void jw_str(struct jw *w, struct str s); /* invalid UTF-8 becomes U+FFFD; < > & are escaped (as Go) */
void jw_z(struct jw *w, const char *z);
void jw_i64(struct jw *w, int64_t v);
void jw_u64(struct jw *w, uint64_t v);
void jw_f64(struct jw *w, double v); /* NaN and Inf become null */
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str json); /* already JSON */
/* key + value in one call */
void jw_kstr(struct jw *w, const char *k, struct str s);
void jw_kz(struct jw *w, const char *k, const char *z);
void jw_ki64(struct jw *w, const char *k, int64_t v);
void jw_kf64(struct jw *w, const char *k, double v);
void jw_kbool(struct jw *w, const char *k, bool v);
/* The escaped inside of a string, without quotes. */
void json_escape(struct buf *b, struct str s);

/* Reader. */
enum json_kind { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
struct json { /* immutable, in the arena given to json_parse */
    enum json_kind kind;
    bool b;
    int64_t i; /* JSON_INT */
    double f;  /* JSON_INT and JSON_REAL */
    struct str s;
    size_t n; /* items or members */
    const struct json *items;
    const struct str *keys; /* objects: n keys in document order; duplicates refused */
};
/* 0; -EINVAL with "line:col: reason". Depth limit json_depth. */
MUST_USE int json_parse(struct str text, struct arena *a, const struct json **ret, struct err *e);
const struct json *json_get(const struct json *o, const char *key); /* NULL when absent or not an object */
struct str json_str(const struct json *o, const char *key, struct str dflt);
int64_t json_i64(const struct json *o, const char *key, int64_t dflt);
double json_f64(const struct json *o, const char *key, double dflt);
bool json_bool(const struct json *o, const char *key, bool dflt);
