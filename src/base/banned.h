// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Included on the command line of every C file: functions with no bound, hidden state or a locale are compile errors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#undef strcpy
#undef strcat
#undef sprintf
#undef strtok
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol atof strtod strtof strtol strtoul localtime    \
    gmtime ctime asctime rand srand tmpnam
