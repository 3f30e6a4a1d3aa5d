// SPDX-License-Identifier: Apache-2.0
/* `hune user` and `hune token`: the data folder is found as every client verb finds it. */
#include "app/cmd_int.h"
#include "auth/auth.h"
#include "base/mem.h"
#include "control/control.h"

static int run(int argc, char **argv, int (*fn)(int, char **, const char *, bool))
{
    struct err e = {0};
    _cleanup_free_ char *dir = control_data_dir(NULL, &e);
    if (!dir) {
        (void)fprintf(stderr, "hune: %s\n", e.msg);
        return 1;
    }
    return fn(argc, argv, dir, cmd_french());
}

int cmd_user(int argc, char **argv)
{
    return run(argc, argv, auth_cli_user);
}

int cmd_token(int argc, char **argv)
{
    return run(argc, argv, auth_cli_token);
}
