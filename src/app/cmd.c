// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_int.h"

#include "base/mem.h"
#include "base/str.h"
#include <stdio.h>

const struct cmd cmds[] = {
    {"server", "the server alone, as Prometheus is", "le serveur seul, comme l'est Prometheus", cmd_server},
    {"anomaly", "anomaly sheets: list, show, open, note, resolve, close",
     "fiches d'anomalie : lister, voir, ouvrir, annoter, résoudre, clore", cmd_anomaly},
    {"events", "what happened", "ce qui s'est passé", cmd_events},
    {"indicators", "uptime, MTTD, MTTR, MTBF", "disponibilité, MTTD, MTTR, MTBF", cmd_indicators},
    {"check", "check configuration and rule files", "vérifier configuration et règles", cmd_check},
    {"limits", "every limit, its value and bounds", "chaque limite, sa valeur et ses bornes", cmd_limits},
    {"user", "people who may log in", "les personnes qui peuvent se connecter", cmd_user},
    {"token", "tokens for programs", "les jetons des programmes", cmd_token},
    {"demo", "break and repair the demonstration", "casser et réparer la démonstration", cmd_demo},
    {NULL, NULL, NULL, NULL},
};

bool cmd_french(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *z = getenv(names[i]);
        if (z && z[0])
            return str_starts(str_of(z), STR("fr"));
    }
    return false;
}

const char *cmd_text(const char *en, const char *fr)
{
    return cmd_french() ? fr : en;
}

static void usage(FILE *f)
{
    fprintf(f, "hune-server %s\n\n", HUNE_VERSION);
    for (const struct cmd *c = cmds; c->name; c++)
        fprintf(f, "  hune %-12s %s\n", c->name, cmd_text(c->help_en, c->help_fr));
    fprintf(f, "%s", cmd_text("\nhune VERB --help tells more.\n", "\nhune VERBE --help en dit plus.\n"));
}

int main(int argc, char **argv)
{
    struct str self = str_of(argv[0]);
    ptrdiff_t slash = str_rchr(self, '/');
    self = str_sub(self, (size_t)(slash + 1), self.n);
    if (str_eq(self, STR("prometheus")))
        return cmd_server(argc, argv);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hune %s\n", HUNE_VERSION);
        return 0;
    }
    const char *names[ARRAY_LEN(cmds)];
    size_t n = 0;
    for (const struct cmd *c = cmds; c->name; c++) {
        if (strcmp(c->name, argv[1]) == 0)
            return c->run(argc - 1, argv + 1);
        names[n++] = c->name;
    }
    const char *near = str_nearest(str_of(argv[1]), names, n);
    fprintf(stderr, cmd_text("hune: unknown verb \"%s\"%s%s%s\n", "hune : verbe inconnu « %s »%s%s%s\n"), argv[1],
            near ? cmd_text(", did you mean \"", ", vouliez-vous dire « ") : "", near ? near : "",
            near ? cmd_text("\"?", " » ?") : "");
    return 2;
}
