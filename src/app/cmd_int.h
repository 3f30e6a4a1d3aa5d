// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "app/cmd.h"

int cmd_server(int argc, char **argv);
int cmd_anomaly(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_indicators(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_limits(int argc, char **argv);
int cmd_user(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_demo(int argc, char **argv);
/* The text in the user's language. */
const char *cmd_text(const char *en, const char *fr);
