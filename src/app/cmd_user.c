// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_int.h"

#include "auth/auth.h"
#include "control/control.h"
#include <stdio.h>
#include <stdlib.h>

static int with_data_dir(int argc, char **argv, int (*run)(int argc, char **argv, const char *data_dir, bool french))
{
    struct err e = {0};
    char *dir = control_data_dir(NULL, &e);
    if (!dir) {
        fprintf(stderr, "hune: %s\n", e.msg);
        return 1;
    }
    int code = run(argc, argv, dir, cmd_french());
    free(dir);
    return code;
}

int cmd_user(int argc, char **argv)
{
    return with_data_dir(argc, argv, auth_cli_user);
}

int cmd_token(int argc, char **argv)
{
    return with_data_dir(argc, argv, auth_cli_token);
}
