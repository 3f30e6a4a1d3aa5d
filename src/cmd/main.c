// SPDX-License-Identifier: Apache-2.0
/* `hune`: the keeper (`hune run`), the process verbs, and the door to everything else, which is hune-server. */
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "cmd/verbs.h"
#include "keeper/keeper.h"
#include "control/control.h"
#include "procs/procs.h"
#include <stdio.h>
#include <unistd.h>

struct server_verb {
    const char *name, *help_en, *help_fr;
};
static const struct server_verb server_verbs[] = {
#define X(name, en, fr) {name, en, fr},
    SERVER_VERBS(X)
#undef X
};

static bool french;

static const char *say(const char *en, const char *fr)
{
    return french ? fr : en;
}

/* The hune-server beside this binary; malloc'd, NULL when it is not there. */
static char *server_path(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self));
    if (n <= 0 || (size_t)n == sizeof(self))
        return NULL;
    struct str s = str_make(self, (size_t)n);
    char *path = xasprintf(STR_FMT "/hune-server", STR_ARG(str_sub(s, 0, (size_t)MAX(str_rchr(s, '/'), 0))));
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static int exec_server(char **argv)
{
    char *path = server_path();
    if (!path) {
        fprintf(
            stderr, "%s\n",
            say("hune: there is no hune-server beside this binary", "hune : pas de hune-server à côté de ce binaire"));
        return 1;
    }
    execv(path, argv);
    fprintf(stderr, "hune: %s: %s\n", path, err_name(-errno));
    return 1;
}

/* ---- help ---- */

static void help_row(const char *name, const char *text)
{
    printf("  %-12s %s\n", name, text);
}

static int help_all(void)
{
    printf(say("hune %s: monitoring, alerting and process management in one program\n\n"
               "Usage: hune VERB [flags]       hune help VERB tells more\n\n",
               "hune %s : supervision, alertes et gestion de processus en un seul programme\n\n"
               "Usage : hune VERBE [options]   hune help VERBE en dit plus\n\n"),
           HUNE_VERSION);
    puts(say("Begin here:", "Pour commencer :"));
    help_row("run", say("everything on: page, metrics, alerts and processes, in the foreground",
                        "tout en marche : page, mesures, alertes et processus, au premier plan"));
    puts(say("\nProcesses:", "\nProcessus :"));
    for (size_t i = 0; i < procs_n_verbs; i++)
        help_row(procs_verbs[i].name, say(procs_verbs[i].help_en, procs_verbs[i].help_fr));
    puts(say("\nMonitoring:", "\nSupervision :"));
    for (size_t i = 0; i < ARRAY_LEN(server_verbs); i++)
        help_row(server_verbs[i].name, say(server_verbs[i].help_en, server_verbs[i].help_fr));
    puts(say("\nEvery verb takes --data.dir DIR (default: $HUNE_DATA_DIR, else ~/.hune) and --help.\n\n"
             "Examples:\n  hune run\n  hune start app.js --name api\n  hune logs api\n  hune status",
             "\nChaque verbe accepte --data.dir DOSSIER (par défaut $HUNE_DATA_DIR, sinon ~/.hune) et --help.\n\n"
             "Exemples :\n  hune run\n  hune start app.js --name api\n  hune logs api\n  hune status"));
    return 0;
}

static int help_run(void)
{
    puts(say(
        "Usage: hune run [--data.dir DIR] [--no-server] [--background] [flags of hune server]\n\n"
        "Everything on: the keeper, and under it the server with its page on http://127.0.0.1:4863.\n"
        "Applications started with `hune start` live under the same keeper; Ctrl-C or SIGTERM stops\n"
        "all of them, then the server. SIGHUP makes the server read its configuration again.\n\n"
        "  --data.dir DIR   where everything is kept (default: $HUNE_DATA_DIR, else ~/.hune)\n"
        "  --no-server      process manager only\n"
        "  --background     return as soon as it answers; logs in DIR/logs\n"
        "  other flags      go to the server: --config.file=..., --web.listen-address=... (hune server --help)\n\n"
        "Examples:\n"
        "  hune run\n"
        "  hune run --config.file=hune.yml --background\n",
        "Usage : hune run [--data.dir DOSSIER] [--no-server] [--background] [options de hune server]\n\n"
        "Tout en marche : le gardien, et sous lui le serveur avec sa page sur http://127.0.0.1:4863.\n"
        "Les applications démarrées par `hune start` vivent sous le même gardien ; Ctrl-C ou SIGTERM\n"
        "les arrête toutes, puis le serveur. SIGHUP fait relire sa configuration au serveur.\n\n"
        "  --data.dir DOSSIER   où tout est gardé (par défaut $HUNE_DATA_DIR, sinon ~/.hune)\n"
        "  --no-server          gestion de processus seule\n"
        "  --background         revenir dès qu'il répond ; journaux dans DOSSIER/logs\n"
        "  autres options       pour le serveur : --config.file=..., --web.listen-address=... (hune server --help)\n\n"
        "Exemples :\n"
        "  hune run\n"
        "  hune run --config.file=hune.yml --background\n"));
    return 0;
}

static int help_verb(const struct procs_verb *v)
{
    printf("%s : hune %s\n\n%s.\n", say("Usage", "Usage"), v->usage, say(v->help_en, v->help_fr));
    if (v->aliases[0]) {
        printf("%s:", say("Also", "Aussi"));
        for (size_t i = 0; i < ARRAY_LEN(v->aliases) && v->aliases[i]; i++)
            printf(" %s", v->aliases[i]);
        putchar('\n');
    }
    printf("\n%s", say(v->more_en, v->more_fr));
    return 0;
}

static bool is_server_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(server_verbs); i++)
        if (strcmp(server_verbs[i].name, name) == 0)
            return true;
    return false;
}

static int unknown_verb(const char *name)
{
    VEC(const char *) names = {0};
    vec_push(&names, "run");
    vec_push(&names, "help");
    for (size_t i = 0; i < procs_n_verbs; i++)
        vec_push(&names, procs_verbs[i].name);
    for (size_t i = 0; i < ARRAY_LEN(server_verbs); i++)
        vec_push(&names, server_verbs[i].name);
    const char *near = str_nearest(str_of(name), names.v, names.n);
    fprintf(stderr, say("hune: unknown verb \"%s\"\n", "hune : verbe inconnu « %s »\n"), name);
    if (near)
        fprintf(stderr, say("did you mean: hune %s\n", "vouliez-vous dire : hune %s\n"), near);
    else
        fprintf(stderr, "%s\n", say("hune help lists what there is", "hune help montre ce qui existe"));
    vec_done(&names);
    return 2;
}

static int help(int argc, char **argv)
{
    if (argc < 2)
        return help_all();
    const struct procs_verb *v = procs_find(argv[1]);
    if (v)
        return help_verb(v);
    if (strcmp(argv[1], "run") == 0)
        return help_run();
    if (strcmp(argv[1], "help") == 0)
        return help_all();
    if (is_server_verb(argv[1])) {
        char *args[] = {"hune", argv[1], "--help", NULL};
        return exec_server(args);
    }
    return unknown_verb(argv[1]);
}

/* ---- hune run ---- */

static bool truthy(const char *v)
{
    return v && *v && strcmp(v, "0") != 0;
}

static int run(int argc, char **argv)
{
    VEC(const char *) rest = {0};
    const char *dir_flag = NULL;
    bool no_server = truthy(getenv("HUNE_NO_SERVER")), background = false, in_background = false;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "--no-server") == 0)
            no_server = true;
        else if (strcmp(a, "--background") == 0)
            background = true;
        else if (strcmp(a, "--in-background") == 0) /* what --background and `hune start` run */
            in_background = true;
        else if (strncmp(a, "--data.dir=", 11) == 0)
            dir_flag = a + 11;
        else if (strcmp(a, "--data.dir") == 0 && i + 1 < argc)
            dir_flag = argv[++i];
        else
            vec_push(&rest, a);
    }
    if (no_server && background)
        vec_push(&rest, "--no-server");
    size_t n_rest = rest.n;
    vec_push(&rest, NULL);
    struct err e = {0};
    char *dir = control_data_dir(dir_flag, &e), *server = no_server ? NULL : server_path();
    int r = dir ? 0 : 1;
    if (r == 0 && background) {
        r = procs_background(dir, rest.v, &e) == 0 ? 0 : 1;
    } else if (r == 0 && no_server && n_rest) {
        err_set(&e, say("unknown flag %s (hune help run)", "option inconnue %s (hune help run)"), rest.v[0]);
        r = 2;
    } else if (r == 0) {
        if (!no_server && !server)
            fprintf(stderr, "%s\n",
                    say("hune: there is no hune-server beside this binary: process manager only",
                        "hune : pas de hune-server à côté de ce binaire : gestion de processus seule"));
        r = keeper_run(&(struct keeper_options){.data_dir = dir,
                                                .version = HUNE_VERSION,
                                                .server_file = server,
                                                .server_args = rest.v,
                                                .foreground = !in_background,
                                                .french = french},
                       &e);
        if (r < 0)
            r = 1;
    }
    if (e.msg[0])
        fprintf(stderr, "hune: %s\n", e.msg);
    free(dir);
    free(server);
    vec_done(&rest);
    return r;
}

/* ---- dispatch ---- */

static bool asks_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static const char *const server_links[] = {"prometheus", "promtool", "alertmanager", "amtool", "hune-server"};
    french = procs_french();
    struct str self = str_of(argc > 0 ? argv[0] : "hune");
    const char *base = self.p + str_rchr(self, '/') + 1;
    for (size_t i = 0; i < ARRAY_LEN(server_links); i++)
        if (strcmp(base, server_links[i]) == 0)
            return exec_server(argv);
    if (argc < 2)
        return help_all();
    const char *verb = argv[1];
    if (strcmp(verb, "--version") == 0 || strcmp(verb, "version") == 0 || strcmp(verb, "-v") == 0) {
        printf("hune %s\n", HUNE_VERSION);
        return 0;
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0)
        return help(argc - 1, argv + 1);
    const struct procs_verb *v = procs_find(verb);
    if (v && strcmp(base, "pm2") == 0 && strcmp(v->name, "status") == 0)
        v = procs_find("list"); /* pm2's word for it */
    if (strcmp(verb, "run") == 0)
        return asks_help(argc - 1, argv + 1) ? help_run() : run(argc - 1, argv + 1);
    if (v && asks_help(argc - 1, argv + 1))
        return help_verb(v);
    if (v) {
        argv[1] = (char *)v->name;
        return v->run(argc - 1, argv + 1);
    }
    if (is_server_verb(verb))
        return exec_server(argv);
    return unknown_verb(verb);
}
