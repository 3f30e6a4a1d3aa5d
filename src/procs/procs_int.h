// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the verbs share. */
#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/vec.h"
#include "control/control.h"
#include "procs/procs.h"
#include <stdio.h>

/* ---- words.c ---- */

#define WORDS(X)                                                                                                       \
    X(NOT_RUNNING, "no hune is running here (data folder %s)", "aucun hune ne tourne ici (dossier de données %s)")     \
    X(STARTED_BACKGROUND, "started hune in the background (pid %d); logs in %s/logs",                                  \
      "hune démarré en arrière-plan (pid %d) ; journaux dans %s/logs")                                                 \
    X(NO_SUCH, "no process named or numbered \"%s\" (hune list)",                                                      \
      "aucun processus nommé ou numéroté « %s » (hune list)")                                                          \
    X(NO_PROCESSES, "no processes; start one: hune start app.js",                                                      \
      "aucun processus ; pour en démarrer un : hune start app.js")                                                     \
    X(WANTS_TARGET, "hune %s: which process? a name, a number, or \"all\"",                                            \
      "hune %s : quel processus ? un nom, un numéro ou « all »")                                                       \
    X(UNKNOWN_FLAG, "hune %s: unknown flag %s (hune help %s)", "hune %s : option inconnue %s (hune help %s)")          \
    X(WANTS_VALUE, "hune %s: %s wants a value", "hune %s : %s attend une valeur")                                      \
    X(BAD_VALUE, "hune %s: %s: \"%s\" is not %s", "hune %s : %s : « %s » n'est pas %s")                                \
    X(A_NUMBER, "a number", "un nombre")                                                                               \
    X(A_SIGNAL, "a signal", "un signal")                                                                               \
    X(A_DURATION, "a duration (1600, 5s, 1m)", "une durée (1600, 5s, 1m)")                                             \
    X(DONE_start, "started %s#%u, pid %d", "%s#%u démarré, pid %d")                                                    \
    X(DONE_stop, "stopped %s#%u", "%s#%u arrêté")                                                                      \
    X(DONE_restart, "restarted %s#%u, pid %d", "%s#%u redémarré, pid %d")                                              \
    X(DONE_delete, "deleted %s#%u", "%s#%u supprimé")                                                                  \
    X(DONE_reset, "reset the counters of %s#%u", "compteurs de %s#%u remis à zéro")                                    \
    X(FAILED, "%s#%u could not be started: %s", "%s#%u n'a pas pu démarrer : %s")                                      \
    X(GIVEN_UP, "%s#%u is given up; see: hune logs %s --err", "%s#%u est abandonné ; voir : hune logs %s --err")       \
    X(TOO_SLOW, "%s#%u: still %s; giving up waiting", "%s#%u : toujours %s ; fin de l'attente")                        \
    X(NO_SCRIPT, "hune start: no such file or command: %s", "hune start : fichier ou commande introuvable : %s")       \
    X(NOT_EXECUTABLE, "hune start: %s is not executable (chmod +x, or --interpreter NAME)",                            \
      "hune start : %s n'est pas exécutable (chmod +x, ou --interpreter NOM)")                                         \
    X(NO_NODE, "hune start: %s needs Node.js to be read, and there is no `node` in PATH",                              \
      "hune start : il faut Node.js pour lire %s, et `node` n'est pas dans le PATH")                                   \
    X(BAD_ECOSYSTEM, "hune start: %s could not be read (see above)",                                                   \
      "hune start : %s n'a pas pu être lu (voir ci-dessus)")                                                           \
    X(NO_APPS, "hune start: %s names no application", "hune start : %s ne nomme aucune application")                   \
    X(SAVED, "saved %u applications; `hune resurrect` brings them back",                                               \
      "%u applications enregistrées ; `hune resurrect` les ramène")                                                    \
    X(RESURRECTED, "brought back %u applications", "%u applications ramenées")                                         \
    X(KILLED, "hune stopped, with all its processes", "hune arrêté, avec tous ses processus")                          \
    X(FLUSHED, "logs emptied", "journaux vidés")                                                                       \
    X(SENT, "sent %s to %s#%u", "%s envoyé à %s#%u")                                                                   \
    X(SKIPPED, "... %llu bytes skipped: the reader is too slow", "... %llu octets sautés : le lecteur est trop lent")  \
    X(TAIL_OF, "last %llu lines of %s", "%llu dernières lignes de %s")                                                 \
    X(H_ID, "id", "id")                                                                                                \
    X(H_NAME, "name", "nom")                                                                                           \
    X(H_PID, "pid", "pid")                                                                                             \
    X(H_UPTIME, "uptime", "durée")                                                                                     \
    X(H_RESTARTS, "restarts", "relances")                                                                              \
    X(H_STATUS, "status", "état")                                                                                      \
    X(H_CPU, "cpu", "cpu")                                                                                             \
    X(H_MEM, "memory", "mémoire")                                                                                      \
    X(S_stopped, "stopped", "arrêté")                                                                                  \
    X(S_launching, "launching", "démarre")                                                                             \
    X(S_online, "online", "en ligne")                                                                                  \
    X(S_stopping, "stopping", "s'arrête")                                                                              \
    X(S_waiting, "waiting restart", "attend relance")                                                                  \
    X(S_errored, "errored", "en erreur")                                                                               \
    X(D_SCRIPT, "script", "script")                                                                                    \
    X(D_COMMAND, "command", "commande")                                                                                \
    X(D_CWD, "folder", "dossier")                                                                                      \
    X(D_NAMESPACE, "namespace", "espace")                                                                              \
    X(D_INTERPRETER, "interpreter", "interpréteur")                                                                    \
    X(D_CREATED, "added", "ajouté")                                                                                    \
    X(D_UNSTABLE, "unstable restarts", "relances instables")                                                           \
    X(D_LAST_END, "last end", "dernière fin")                                                                          \
    X(D_CODE, "exit code %d", "code de sortie %d")                                                                     \
    X(D_SIGNAL, "signal %d (%s)", "signal %d (%s)")                                                                    \
    X(D_LAST_WORDS, "last words", "derniers mots")                                                                     \
    X(D_NEXT, "next start in", "relance dans")                                                                         \
    X(D_OUT, "output", "sortie")                                                                                       \
    X(D_ERR, "errors", "erreurs")                                                                                      \
    X(D_LOST, "output lost", "sortie perdue")                                                                          \
    X(D_AUTORESTART, "restarts by itself", "relance automatique")                                                      \
    X(D_ENV, "environment", "environnement")                                                                           \
    X(D_ENV_COUNT, "%zu variables (hune env %s shows them)", "%zu variables (hune env %s les montre)")                 \
    X(YES, "yes", "oui")                                                                                               \
    X(NO, "no", "non")                                                                                                 \
    X(ST_KEEPER, "keeper", "gardien")                                                                                  \
    X(ST_SERVER, "server", "serveur")                                                                                  \
    X(ST_ADDRESS, "address", "adresse")                                                                                \
    X(ST_APPS, "processes", "processus")                                                                               \
    X(ST_DATA, "data", "données")                                                                                      \
    X(ST_NO_SERVER, "none (process manager only)", "aucun (gestion de processus seule)")                               \
    X(ST_ONLINE_OF, "%llu of %llu online", "%llu sur %llu en ligne")                                                   \
    X(ST_REASON, "why", "raison")                                                                                      \
    X(UNKNOWN_VERB, "hune: unknown verb \"%s\"", "hune : verbe inconnu « %s »")                                        \
    X(DID_YOU_MEAN, "did you mean: hune %s", "vouliez-vous dire : hune %s")                                            \
    X(SEE_HELP, "hune help lists what there is", "hune help montre ce qui existe")

enum word {
#define X(id, en, fr) W_##id,
    WORDS(X)
#undef X
        W_COUNT
};
/* In the user's language; some are printf formats, with the same arguments in both languages (a test compares them). */
const char *word(enum word w);
const char *word_in(enum word w, bool french);
const char *state_word(enum control_state s);
/* Print to stderr, with a newline. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- args.c: one pass over the command line of a verb ---- */

struct args {
    const char *verb;
    int argc;
    char **argv;
    int at;                   /* next word */
    const char *name;         /* of the flag taken last, as typed */
    const char *inline_value; /* of --name=value */
    bool bad;                 /* complained already */
};
/* --data.dir and --help are taken everywhere, before the verb's own flags. */
extern const char *args_data_dir;

enum args_kind { ARGS_END, ARGS_FLAG, ARGS_WORD, ARGS_REST /* the word was "--": the rest is in argv + at */ };
struct args args_of(int argc, char **argv);
/* The next thing; a flag's name is compared with args_is(). */
enum args_kind args_next(struct args *a, const char **ret_word);
bool args_is(const struct args *a, const char *long_name, char short_name);
const char *args_value(struct args *a); /* NULL after a complaint */
bool args_u64(struct args *a, uint64_t *ret);
bool args_duration_ms(struct args *a, uint64_t *ret); /* bare numbers are milliseconds, as in pm2 */
bool args_signal(struct args *a, const char *text, int *ret);
int args_unknown(struct args *a); /* complains; returns 2 */

/* ---- client.c ---- */

enum need {
    NEED_RUNNING, /* complain when no hune runs (unless one died and left processes: then it is started) */
    NEED_START,   /* start one in the background */
    NEED_QUIET,   /* NULL without a word */
};
/* Connected, or NULL after a complaint. */
struct control_client *client_open(enum need n);
char *client_data_dir(void); /* malloc'd */

struct plist { /* processes, copied out of the answers */
    VEC(struct control_proc) v;
    VEC(char *) memory;
};
bool plist_read(struct control_client *c, bool env, struct plist *ret); /* false after a complaint */
void plist_done(struct plist *l);
/* Those that a name, number, namespace or "all" means, into *ret (borrowed rows). false after a complaint. */
struct pick {
    VEC(const struct control_proc *) v;
};
bool pick_add(struct pick *p, const struct plist *l, const char *selector, bool must_exist);
/* Walk events until every picked process has come to where the action leads; prints a line for each. Exit status. */
int act_and_wait(struct control_client *c, enum control_action a, const struct pick *p, bool quiet);
/* After an ADD on a subscribed connection: wait for n ids. */
int wait_started(struct control_client *c, const uint32_t *ids, size_t n, const char *name);
bool subscribe(struct control_client *c, uint32_t topics, const uint32_t *ids, size_t n);
/* Print the table of all processes. */
int print_list(struct control_client *c);

/* ---- table.c ---- */

bool color_on(FILE *f);
const char *color_of(enum control_state s); /* "" when colours are off */
const char *color_end(void);
struct table {
    size_t columns;
    VEC(char *) cells;
    VEC(const char *) colors; /* per cell */
    uint32_t right;           /* bit per column: aligned to the right */
};
void table_cell(struct table *t, const char *color, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void table_print(struct table *t, FILE *f); /* first row is the head; frees the cells */

/* cpu as a share of one core over the process' life, in thousandths; memory in bytes. false: no process. */
bool proc_usage(const struct control_proc *p, uint64_t *ret_cpu_permille, uint64_t *ret_rss);

/* ---- the verbs, one file each ---- */

int verb_start(int argc, char **argv);
int verb_act(int argc, char **argv); /* stop, restart, delete, reset */
int verb_list(int argc, char **argv);
int verb_jlist(int argc, char **argv);
int verb_describe(int argc, char **argv);
int verb_env(int argc, char **argv);
int verb_logs(int argc, char **argv);
int verb_flush(int argc, char **argv);
int verb_signal(int argc, char **argv);
int verb_save(int argc, char **argv); /* save, resurrect */
int verb_kill(int argc, char **argv);
int verb_ping(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_pid(int argc, char **argv);

/* An ecosystem file, evaluated by node: fn for every application (a spec in control fields). Exit status. */
int ecosystem_read(const char *path, int (*fn)(void *ctx, struct buf *spec), void *ctx);
bool is_ecosystem(const char *path);
/* What `hune start` makes of a script and its options: ARG, SCRIPT, INTERPRETER, NAME. Exit status. */
struct start_what {
    const char *script;      /* as typed; may be a whole command line */
    const char *interpreter; /* NULL: by extension; "none": run it directly */
    const char *const *interpreter_args;
    size_t n_interpreter_args;
    const char *const *args;
    size_t n_args;
    const char *cwd;  /* absolute: where it runs, and where the script is looked for */
    const char *base; /* absolute, looked at first: where the user stands; or NULL */
    const char *name; /* NULL: from the script */
};
int start_put(struct buf *spec, const struct start_what *w);
