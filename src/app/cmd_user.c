// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_int.h"

#include "auth/auth.h"

int cmd_user(int argc, char **argv)
{
    return auth_cli_user(argc, argv, NULL, cmd_french());
}

int cmd_token(int argc, char **argv)
{
    return auth_cli_token(argc, argv, NULL, cmd_french());
}
