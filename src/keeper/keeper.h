// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The keeper: one thread that owns child processes, their log pipes, the restart policy and the control socket, and
 * nothing else. It parses no foreign input but control frames from its own user. */
#include "base/error.h"
#include <stdbool.h>

struct keeper_options {
    const char *data_dir; /* absolute; made with mode 0700 when absent */
    const char *version;
    const char *server_file;        /* the hune-server binary; NULL: process manager only */
    const char *const *server_args; /* NULL-terminated, after "hune-server server --data.dir=..." */
    bool foreground;                /* banner and the server's stderr go to our stderr too */
    bool french;                    /* language of the banner */
};

/* Runs until SIGTERM, SIGINT or `hune kill`: then applications are stopped, the server after them, and 0 is returned.
 * 1: another hune owns the folder (*e names it). 2: the
 * server refused its configuration before it was ever ready (foreground only). Else -errno with a reason in *e. */
MUST_USE int keeper_run(const struct keeper_options *o, struct err *e);
