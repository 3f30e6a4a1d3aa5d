// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Service discovery: turns the *_sd_configs of a configuration generation into target groups and keeps them current.
 * One thread. Kinds are rows of a table (static, file); each row is one file of this room. */
#include "base/metrics.h"
#include "model/target.h"
#include "promfile/promfile.h"

struct discover;

/* What to discover: a named pool with its list. Borrowed with the promfile it comes from. */
struct discover_pool {
    struct str name;
    const struct promfile_sds *sds;
    struct target_sink *sink;
};

/* Starts the thread. NULL never. */
struct discover *discover_new(void);
struct discover *discover_free(struct discover *d); /* stops and joins; accepts NULL */
/* Replace everything by these pools (array copied, `f` referenced until the next apply). Static groups are handed to
 * their sinks before this returns, and files are read once; later changes come from the thread. Any one thread. */
void discover_apply(struct discover *d, struct promfile *f, const struct discover_pool *pools, size_t n);
/* Read one target file (.json, .yml, .yaml): groups in the arena, __meta_filepath added. 0, or -errno with the reason.
 */
MUST_USE int discover_read_file(const char *path, struct arena *a, struct target_group **ret, size_t *ret_n,
                                struct err *e);
/* The same for a text at hand; the ending of `path` tells the kind. `text` is borrowed by the result. */
MUST_USE int discover_parse_file(struct str text, const char *path, struct arena *a, struct target_group **ret,
                                 size_t *ret_n, struct err *e);
void discover_collect(void *ctx, struct metrics_out *out); /* ctx = struct discover *: prometheus_sd_* */
