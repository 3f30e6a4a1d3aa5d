// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "app/options.h"

/* Run the server until it is told to stop. Returns the process' exit code; problems are printed. */
int server_run(const struct options *o);
