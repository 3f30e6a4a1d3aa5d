// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Schema engine: a room describes its configuration as a table of rows (key, type, default, bounds, unit, secret?, doc)
 * over a struct; config_read() fills the struct from a YAML node, config_write() prints it back with secrets masked,
 * and the reference page comes from the same rows. Unknown keys are errors with the nearest name. */
#include "base/arena.h"
#include "base/vec.h"
#include "codec/yaml.h"

enum config_type {
    CFG_BOOL,     /* bool */
    CFG_INT,      /* int64_t, bounds apply */
    CFG_F64,      /* double */
    CFG_STR,      /* struct str */
    CFG_DURATION, /* int64_t milliseconds; Prometheus durations; bounds in ms */
    CFG_BYTES,    /* int64_t bytes; "10MB"; bounds in bytes */
    CFG_ENUM,     /* int, index into .names */
    CFG_STRS,     /* struct config_strs: list of strings (one scalar is accepted where .scalar_ok) */
    CFG_MAP,      /* struct config_map: string -> string in document order */
    CFG_STRUCT,   /* nested struct by .sub, in place; .present_offset tells whether it was there */
    CFG_LIST,     /* struct config_list of structs by .sub, each .sub->size bytes */
    CFG_NODE,     /* struct yaml_node *: kept for the room to read by itself */
    CFG_CUSTOM,   /* .read */
};

struct config_strs {
    struct str *v;
    size_t n;
};
struct config_pair {
    struct str key, value;
};
struct config_map {
    struct config_pair *v;
    size_t n;
};
struct config_list {
    void *v;
    size_t n;
};
#define CONFIG_AT(list, type, i) (&((type *)(list).v)[i])

struct config_ctx; /* one reading: file name, arena, error */
struct config_schema;

struct config_row {
    const char *key;
    enum config_type type;
    size_t offset;
    const struct config_schema *sub;
    const char *const *names; /* CFG_ENUM, NULL-terminated */
    const char *dflt;         /* as YAML text; NULL = zero value */
    int64_t min, max;         /* both 0 = no bounds */
    const char *unit;
    size_t
        present_offset; /* a bool set when the key was in the file; 0 = none (a struct's first field is never this) */
    unsigned flags;
    int (*read)(struct config_ctx *c, const struct yaml_node *n, void *field); /* CFG_CUSTOM: 0 or config_fail() */
    const char *doc; /* one sentence, no trailing period needed */
};
enum config_flags {
    CFG_SECRET = 1,    /* printed as <secret> */
    CFG_REQUIRED = 2,  /* absence is an error */
    CFG_STATIC = 4,    /* a change needs a restart */
    CFG_SCALAR_OK = 8, /* CFG_STRS: a lone scalar is a list of one */
    CFG_PATH = 16,     /* relative to the file's folder */
};

struct config_schema {
    const char *name; /* for the reference: "scrape_config" */
    size_t size;
    const struct config_row *rows;
    size_t n;
    /* After all rows of one object were read: cross checks, inherited values. 0 or config_fail(). May be NULL. */
    int (*check)(struct config_ctx *c, const struct yaml_node *n, void *object);
    const char *doc;
};

struct config_ctx {
    const char *file;    /* as shown in messages */
    const char *dir;     /* CFG_PATH values are joined to it */
    struct arena *arena; /* everything read lives here */
    struct err *err;
    void *user; /* the room's own */
};

/* Fill *object (schema->size bytes, zeroed by the caller or by arena) with defaults and then the node's values. A null
 * node means an empty map. 0, or -EINVAL with "file:line:col: path: what, found, allowed" in ctx->err. */
MUST_USE int config_read(struct config_ctx *c, const struct config_schema *s, const struct yaml_node *n, void *object);
/* Only the defaults. */
void config_defaults(struct config_ctx *c, const struct config_schema *s, void *object);
/* Report a failure at a node; returns -EINVAL, so `return config_fail(...)`. */
int config_fail(struct config_ctx *c, const struct yaml_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Read a file within limit config_file_bytes and parse it; text and tree in ctx->arena. */
MUST_USE int config_load(struct config_ctx *c, const char *path, struct yaml_node **ret);
/* The object as YAML, defaults included where `all`, secrets as <secret>. */
void config_write(struct buf *b, const struct config_schema *s, const void *object, bool all);
/* The document itself re-printed with the values of secret keys masked, order and unknown parts kept (for
 * /status/config). */
void config_mask(struct buf *b, const struct yaml_node *n, const struct config_schema *s);
/* A Markdown table of the rows, for doc/reference. */
void config_reference(struct buf *b, const struct config_schema *s);
