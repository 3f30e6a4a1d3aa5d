// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "net/server.h"
#include <stdatomic.h>

#define ROUTE_PARAMS_MAX 8
#define ROUTE_CODES 8

struct route_entry {
    const struct http_route *row;
    void *ctx;
    struct { /* answers by status code; slots are claimed on first use */
        _Atomic uint32_t code;
        _Atomic uint64_t n;
    } answers[ROUTE_CODES];
};

struct route_table {
    VEC(struct route_entry *) v;
};

struct route_match {
    struct route_entry *entry; /* NULL: none for this method */
    unsigned allowed;          /* methods of every row the path matches */
    struct {
        struct str name, value;
    } params[ROUTE_PARAMS_MAX];
    size_t n_params;
};

void routes_add(struct route_table *t, const struct http_route *rows, size_t n, void *ctx);
void routes_done(struct route_table *t);
/* path: raw (still escaped), without query; decoded parameters in the arena. 0; -EINVAL for a bad escape or a NUL. */
MUST_USE int routes_find(const struct route_table *t, struct str path, unsigned method, struct arena *a,
                         struct route_match *ret);
void route_count(struct route_entry *e, unsigned status);
