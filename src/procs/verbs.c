// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

/* One row per verb: dispatch, `hune help` and `hune help VERB` come from here. */
const struct procs_verb procs_verbs[] = {
    {
        .name = "start",
        .usage = "start SCRIPT|COMMAND|FILE.config.js|NAME [flags] [-- arguments]",
        .help_en = "start a program and keep it running",
        .help_fr = "démarrer un programme et le garder en marche",
        .more_en = "  -n, --name NAME            its name (default: the file's)\n"
                   "  -i, --instances N          how many (0 or max: one per core, -1: one less)\n"
                   "      --interpreter X        node, python3, bash ... or none (default: by extension)\n"
                   "      --interpreter-args X   for the interpreter\n"
                   "      --cwd DIR              where it runs\n"
                   "      --env NAME=VALUE       one more variable; may be repeated\n"
                   "      --namespace NAME       a group name for stop, restart ...\n"
                   "      --no-autorestart       let it end\n"
                   "      --max-restarts N       unstable starts in a row before giving up (16)\n"
                   "      --min-uptime T         a start that lasts this long is stable (1s)\n"
                   "      --restart-delay T      wait at least this before a restart (0)\n"
                   "      --exp-backoff-restart-delay T   first wait of the growing back-off (100ms, up to 15s)\n"
                   "      --stop-exit-codes A,B  exit codes that mean: do not restart\n"
                   "  -k, --kill-timeout T       after the stop signal, before SIGKILL (1600ms)\n"
                   "      --kill-signal SIG      the stop signal (SIGINT)\n"
                   "  -o, --output FILE   -e, --error FILE   log files (default: DATA/logs/NAME-out.log, -error.log)\n"
                   "      --uid USER  --gid GROUP            run as (root only)\n"
                   "      --only A,B             of an ecosystem file\n\n"
                   "Examples:\n"
                   "  hune start app.js --name api\n"
                   "  hune start server.py -i 2 -- --port 8000\n"
                   "  hune start \"./worker --queue mail\" --name mail --restart-delay 5s\n"
                   "  hune start ecosystem.config.js --only api\n",
        .more_fr = "  -n, --name NOM             son nom (par défaut celui du fichier)\n"
                   "  -i, --instances N          combien (0 ou max : un par cœur, -1 : un de moins)\n"
                   "      --interpreter X        node, python3, bash ... ou none (par défaut selon l'extension)\n"
                   "      --interpreter-args X   pour l'interpréteur\n"
                   "      --cwd DOSSIER          où il tourne\n"
                   "      --env NOM=VALEUR       une variable de plus ; peut être répété\n"
                   "      --namespace NOM        un nom de groupe pour stop, restart ...\n"
                   "      --no-autorestart       le laisser finir\n"
                   "      --max-restarts N       démarrages instables de suite avant l'abandon (16)\n"
                   "      --min-uptime T         un démarrage qui dure autant est stable (1s)\n"
                   "      --restart-delay T      attente minimale avant une relance (0)\n"
                   "      --exp-backoff-restart-delay T   première attente, ensuite croissante (100ms, jusqu'à 15s)\n"
                   "      --stop-exit-codes A,B  codes de sortie qui veulent dire : ne pas relancer\n"
                   "  -k, --kill-timeout T       après le signal d'arrêt, avant SIGKILL (1600ms)\n"
                   "      --kill-signal SIG      le signal d'arrêt (SIGINT)\n"
                   "  -o, --output FICHIER   -e, --error FICHIER   journaux (par défaut DONNÉES/logs/NOM-out.log, "
                   "-error.log)\n"
                   "      --uid UTILISATEUR  --gid GROUPE          tourner en tant que (root seulement)\n"
                   "      --only A,B             d'un fichier ecosystem\n\n"
                   "Exemples :\n"
                   "  hune start app.js --name api\n"
                   "  hune start serveur.py -i 2 -- --port 8000\n"
                   "  hune start \"./worker --queue mail\" --name mail --restart-delay 5s\n"
                   "  hune start ecosystem.config.js --only api\n",
        .run = verb_start,
    },
    {
        .name = "stop",
        .usage = "stop NAME|ID|all ...",
        .help_en = "stop processes and their children; they stay listed",
        .help_fr = "arrêter des processus et leurs enfants ; ils restent listés",
        .more_en = "SIGINT to the whole tree, SIGKILL after the kill timeout; returns when everything is gone.\n\n"
                   "Examples:\n  hune stop api\n  hune stop all\n",
        .more_fr = "SIGINT à tout l'arbre, SIGKILL après le délai ; revient quand tout est terminé.\n\n"
                   "Exemples :\n  hune stop api\n  hune stop all\n",
        .run = verb_act,
    },
    {
        .name = "restart",
        .usage = "restart NAME|ID|all ...",
        .help_en = "stop, then start again",
        .help_fr = "arrêter puis redémarrer",
        .more_en = "Examples:\n  hune restart api\n  hune restart 3\n",
        .more_fr = "Exemples :\n  hune restart api\n  hune restart 3\n",
        .run = verb_act,
    },
    {
        .name = "delete",
        .aliases = {"del"},
        .usage = "delete NAME|ID|all ...",
        .help_en = "stop and forget (log files stay)",
        .help_fr = "arrêter et oublier (les journaux restent)",
        .more_en = "Examples:\n  hune delete api\n",
        .more_fr = "Exemples :\n  hune delete api\n",
        .run = verb_act,
    },
    {
        .name = "reset",
        .usage = "reset NAME|ID|all ...",
        .help_en = "set the restart counters to zero",
        .help_fr = "remettre à zéro les compteurs de relances",
        .more_en = "Examples:\n  hune reset all\n",
        .more_fr = "Exemples :\n  hune reset all\n",
        .run = verb_act,
    },
    {
        .name = "list",
        .aliases = {"ls", "l", "ps"},
        .usage = "list",
        .help_en = "all processes as a table",
        .help_fr = "tous les processus en tableau",
        .more_en = "cpu is the average since the process began, in percent of one core.\n\nExamples:\n  hune list\n",
        .more_fr =
            "cpu est la moyenne depuis le début du processus, en pour cent d'un cœur.\n\nExemples :\n  hune list\n",
        .run = verb_list,
    },
    {
        .name = "jlist",
        .usage = "jlist [--with-env]",
        .help_en = "all processes as JSON, in pm2's shape",
        .help_fr = "tous les processus en JSON, à la forme de pm2",
        .more_en =
            "  --with-env   the environments too: they hold your secrets\n\nExamples:\n  hune jlist | jq '.[].name'\n",
        .more_fr = "  --with-env   les environnements aussi : ils contiennent vos secrets\n\n"
                   "Exemples :\n  hune jlist | jq '.[].name'\n",
        .run = verb_jlist,
    },
    {
        .name = "describe",
        .aliases = {"desc", "info", "show"},
        .usage = "describe NAME|ID ...",
        .help_en = "everything about a process, with its last words",
        .help_fr = "tout sur un processus, avec ses derniers mots",
        .more_en = "Examples:\n  hune describe api\n",
        .more_fr = "Exemples :\n  hune describe api\n",
        .run = verb_describe,
    },
    {
        .name = "env",
        .usage = "env NAME|ID",
        .help_en = "its environment, secrets included",
        .help_fr = "son environnement, secrets compris",
        .more_en = "Examples:\n  hune env api\n",
        .more_fr = "Exemples :\n  hune env api\n",
        .run = verb_env,
    },
    {
        .name = "pid",
        .usage = "pid [NAME|ID ...]",
        .help_en = "process ids, one a line",
        .help_fr = "numéros de processus, un par ligne",
        .more_en = "Examples:\n  kill -USR2 $(hune pid api)\n",
        .more_fr = "Exemples :\n  kill -USR2 $(hune pid api)\n",
        .run = verb_pid,
    },
    {
        .name = "logs",
        .aliases = {"log"},
        .usage = "logs [NAME|ID ...] [--lines N] [--out|--err] [--raw] [--nostream]",
        .help_en = "the last lines, then what comes",
        .help_fr = "les dernières lignes, puis la suite",
        .more_en = "  --lines N    how many to begin with (15)\n"
                   "  --out        only what goes to standard output\n"
                   "  --err        only what goes to standard error\n"
                   "  --raw        without names\n"
                   "  --nostream   end after the last lines\n\n"
                   "Examples:\n  hune logs api\n  hune logs --err --lines 100 --nostream\n",
        .more_fr = "  --lines N    combien pour commencer (15)\n"
                   "  --out        seulement la sortie standard\n"
                   "  --err        seulement la sortie d'erreur\n"
                   "  --raw        sans les noms\n"
                   "  --nostream   finir après les dernières lignes\n\n"
                   "Exemples :\n  hune logs api\n  hune logs --err --lines 100 --nostream\n",
        .run = verb_logs,
    },
    {
        .name = "flush",
        .usage = "flush [NAME|ID ...]",
        .help_en = "empty the log files",
        .help_fr = "vider les journaux",
        .more_en = "Examples:\n  hune flush api\n",
        .more_fr = "Exemples :\n  hune flush api\n",
        .run = verb_flush,
    },
    {
        .name = "sendSignal",
        .aliases = {"signal"},
        .usage = "sendSignal SIGNAL NAME|ID ...",
        .help_en = "send a signal to the main process",
        .help_fr = "envoyer un signal au processus principal",
        .more_en = "Examples:\n  hune sendSignal SIGUSR2 api\n",
        .more_fr = "Exemples :\n  hune sendSignal SIGUSR2 api\n",
        .run = verb_signal,
    },
    {
        .name = "save",
        .aliases = {"dump"},
        .usage = "save",
        .help_en = "remember the present list for resurrect",
        .help_fr = "mémoriser la liste actuelle pour resurrect",
        .more_en = "Examples:\n  hune save\n",
        .more_fr = "Exemples :\n  hune save\n",
        .run = verb_save,
    },
    {
        .name = "resurrect",
        .usage = "resurrect",
        .help_en = "start what was saved and does not run",
        .help_fr = "démarrer ce qui a été mémorisé et ne tourne pas",
        .more_en = "Examples:\n  hune resurrect\n",
        .more_fr = "Exemples :\n  hune resurrect\n",
        .run = verb_save,
    },
    {
        .name = "status",
        .usage = "status",
        .help_en = "what runs: keeper, server, address, processes",
        .help_fr = "ce qui tourne : gardien, serveur, adresse, processus",
        .more_en = "Exit status 0: running; 3: not.\n\nExamples:\n  hune status\n",
        .more_fr = "Code de sortie 0 : tourne ; 3 : ne tourne pas.\n\nExemples :\n  hune status\n",
        .run = verb_status,
    },
    {
        .name = "kill",
        .usage = "kill",
        .help_en = "stop hune with all its processes",
        .help_fr = "arrêter hune avec tous ses processus",
        .more_en = "Examples:\n  hune kill\n",
        .more_fr = "Exemples :\n  hune kill\n",
        .run = verb_kill,
    },
    {
        .name = "ping",
        .usage = "ping",
        .help_en = "does it answer?",
        .help_fr = "répond-il ?",
        .more_en = "Exit status 0: yes; 1: no.\n\nExamples:\n  hune ping\n",
        .more_fr = "Code de sortie 0 : oui ; 1 : non.\n\nExemples :\n  hune ping\n",
        .run = verb_ping,
    },
};
const size_t procs_n_verbs = ARRAY_LEN(procs_verbs);

const struct procs_verb *procs_find(const char *name)
{
    for (size_t i = 0; i < procs_n_verbs; i++) {
        const struct procs_verb *v = &procs_verbs[i];
        if (strcmp(v->name, name) == 0)
            return v;
        for (size_t k = 0; k < ARRAY_LEN(v->aliases) && v->aliases[k]; k++)
            if (strcmp(v->aliases[k], name) == 0)
                return v;
    }
    return NULL;
}
