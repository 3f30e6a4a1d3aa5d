// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_int.h"

#include "base/limits.h"
#include <stdio.h>

int cmd_limits(int argc, char **argv)
{
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fprintf(
            help ? stdout : stderr, "%s",
            cmd_text("hune limits: every size a user or a peer can choose, its value and bounds.\n"
                     "Change one in hune.yml under `limits:`.\n",
                     "hune limits : chaque taille qu'un utilisateur ou un pair peut choisir, sa valeur et ses bornes.\n"
                     "On en change une dans hune.yml, sous `limits:`.\n"));
        return help ? 0 : 2;
    }
    printf("%-24s %14s %10s %20s  %s\n", "limit", "value", "least", "most", "of");
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *r = &limit_rows[i];
        printf("%-24s %14lld %10lld %20lld  %s: %s\n", r->name, (long long)limit_values[i], (long long)r->min,
               (long long)r->max, r->unit, r->doc);
    }
    return 0;
}
