// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One configuration generation: everything that files say, read and checked completely before anything is swapped. */
#include "app/hunefile.h"
#include "app/options.h"
#include "notify/notify.h"
#include "promfile/promfile.h"
#include "rules/rules.h"

struct generation {
    struct arena *arena;
    struct hunefile file; /* hune.yml, or what stands for it in the mode */
    struct promfile *prom;
    struct rules_config *rules;
    struct notify_config *notify;
    bool alertmanager;   /* an alertmanager.yml is loaded */
    struct str source;   /* the file given, or empty */
    struct buf warnings; /* a line each */
};

/* Read everything the options lead to. 0 with *ret (release with generation_free); -EINVAL or -errno with
 * "file:line:col: ...". */
MUST_USE int generation_load(const struct options *o, struct generation **ret, struct err *e);
/* Releases what was not handed over (rules, notify are taken by their engines: set the fields to NULL then). */
struct generation *generation_free(struct generation *g);
