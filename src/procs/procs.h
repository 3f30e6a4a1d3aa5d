// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The process verbs as a user types them: start, stop, list, logs ... Each is a client of the keeper's socket; none
 * needs the server. Output for people goes to stdout, reasons to stderr; in English, or in French when the locale says
 * so. */
#include "base/error.h"
#include <stdbool.h>

struct procs_verb {
    const char *name;
    const char *aliases[4];
    const char *usage;                 /* after "hune " */
    const char *help_en, *help_fr;     /* one line */
    const char *more_en, *more_fr;     /* flags and examples */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit status: 0, 1 failed, 2 wrong usage */
};
extern const struct procs_verb procs_verbs[];
extern const size_t procs_n_verbs;
/* By name or alias; NULL. */
const struct procs_verb *procs_find(const char *name);

/* LC_ALL, LC_MESSAGES, LANG: the first that is set begins with "fr". */
bool procs_french(void);
/* Start `hune run` in the background with these further arguments (NULL-terminated, or NULL) and wait until its socket
 * answers. 0, or -errno with a reason. */
MUST_USE int procs_background(const char *data_dir, const char *const *args, struct err *e);
