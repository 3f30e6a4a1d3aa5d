// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Verbs of hune-server: one row each, one file each (cmd_*.c). argv[0] is the verb. Exit codes: 0 done, 1 failed, 2
 * wrong use. */
#include <stdbool.h>

struct cmd {
    const char *name;
    const char *help_en, *help_fr; /* one line */
    int (*run)(int argc, char **argv);
};

extern const struct cmd cmds[]; /* ends with a NULL name */
/* $LC_ALL, $LC_MESSAGES or $LANG begins with "fr". */
bool cmd_french(void);
