// SPDX-License-Identifier: Apache-2.0
/* `hune user` and `hune token`. They edit DATA/users; a running server sees the change within a second. */
#include "auth/auth_int.h"

#include "base/format.h"

#include <stdio.h>
#include <termios.h>
#include <unistd.h>

struct cli {
    bool token, french;
    const char *data_dir, *verb, *name;
    enum http_role role;
    bool role_given;
};

static const char *say(const struct cli *c, const char *en, const char *fr)
{
    return c->french ? fr : en;
}

static int usage(const struct cli *c, FILE *to, int code)
{
    if (c->token)
        (void)fputs(say(c,
                        "Usage: hune token add NAME --role viewer|operator|administrator\n"
                        "       hune token list\n"
                        "       hune token delete NAME\n"
                        "A token lets a program in: Authorization: Bearer TOKEN. It is shown once, when it is made.\n",
                        "Usage : hune token add NOM --role viewer|operator|administrator\n"
                        "        hune token list\n"
                        "        hune token delete NOM\n"
                        "Un jeton laisse entrer un programme : Authorization: Bearer JETON. Il n'est montré qu'à sa "
                        "création.\n"),
                    to);
    else
        (void)fputs(say(c,
                        "Usage: hune user add NAME --role viewer|operator|administrator\n"
                        "       hune user list\n"
                        "       hune user delete NAME\n"
                        "The password is asked for, or read from standard input when that is not a terminal.\n",
                        "Usage : hune user add NOM --role viewer|operator|administrator\n"
                        "        hune user list\n"
                        "        hune user delete NOM\n"
                        "Le mot de passe est demandé, ou lu sur l'entrée standard si ce n'est pas un terminal.\n"),
                    to);
    return code;
}

/* One line without echo; false at the end of input. */
static bool read_secret(const char *prompt, struct buf *out)
{
    struct termios old;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    if (terminal) {
        struct termios quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
        (void)fprintf(stderr, "%s: ", prompt);
    }
    int ch;
    bool any = false;
    while ((ch = getchar()) != EOF && ch != '\n') {
        buf_putc(out, (char)ch);
        any = true;
    }
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        (void)fputc('\n', stderr);
    }
    return (any || ch == '\n') && !buf_error(out);
}

static int fail(const struct err *e)
{
    (void)fprintf(stderr, "hune: %s\n", e->msg);
    return 1;
}

static int add(const struct cli *c)
{
    struct err e = {0};
    if (c->token) {
        char token[AUTH_TOKEN_BYTES];
        if (auth_token_add(c->data_dir, str_of(c->name), c->role, token, &e) < 0)
            return fail(&e);
        (void)fprintf(stderr,
                      say(c, "Token %s, role %s. Keep it: it is not shown again.\n",
                          "Jeton %s, rôle %s. Gardez-le : il ne sera plus montré.\n"),
                      c->name, http_role_names[c->role]);
        (void)printf("%s\n", token);
        explicit_bzero(token, sizeof(token));
        return 0;
    }
    struct buf one = BUF_INIT(1024), two = BUF_INIT(1024);
    bool ok = read_secret(say(c, "Password", "Mot de passe"), &one);
    if (ok && isatty(STDIN_FILENO)) {
        ok = read_secret(say(c, "Again", "Encore une fois"), &two) && str_eq(buf_view(&one), buf_view(&two));
        if (!ok)
            err_set(&e, "%s", say(c, "the two passwords differ", "les deux mots de passe diffèrent"));
    }
    if (ok)
        ok = auth_user_add(c->data_dir, str_of(c->name), c->role, buf_view(&one), &e) == 0;
    else
        err_set(&e, "%s", say(c, "no password was given", "aucun mot de passe donné"));
    if (one.p)
        explicit_bzero(one.p, one.cap);
    if (two.p)
        explicit_bzero(two.p, two.cap);
    buf_done(&one);
    buf_done(&two);
    if (!ok)
        return fail(&e);
    (void)printf(say(c, "User %s, role %s.\n", "Utilisateur %s, rôle %s.\n"), c->name, http_role_names[c->role]);
    return 0;
}

static int list(const struct cli *c)
{
    struct err e = {0};
    _cleanup_arena_ struct arena *a = arena_new(16 << 20);
    struct auth_entry *v;
    size_t n, shown = 0;
    if (auth_list(c->data_dir, a, &v, &n, &e) < 0)
        return fail(&e);
    for (size_t i = 0; i < n; i++) {
        if (v[i].token != c->token)
            continue;
        struct buf when = BUF_INIT(64);
        format_rfc3339_ms(&when, v[i].created_ms);
        (void)printf("%-24.*s %-14s %s\n", (int)v[i].name.n, v[i].name.p, http_role_names[v[i].role], buf_cstr(&when));
        buf_done(&when);
        shown++;
    }
    if (!shown)
        (void)fprintf(stderr, "%s",
                      c->token ? say(c, "No token yet: hune token add NAME --role viewer\n",
                                     "Aucun jeton : hune token add NOM --role viewer\n")
                               : say(c, "No user yet: hune user add NAME --role administrator\n",
                                     "Aucun utilisateur : hune user add NOM --role administrator\n"));
    return 0;
}

static int run(struct cli c, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct str arg = str_of(argv[i]), key, value;
        bool has = str_starts(arg, STR("--")) && str_cut(arg, '=', &key, &value);
        if (!has) {
            key = arg;
            value = STR("");
        }
        if (str_eqz(arg, "--help") || str_eqz(arg, "-h"))
            return usage(&c, stdout, 0);
        if (str_eqz(key, "--role") || str_eqz(key, "--data.dir")) {
            if (!has) {
                if (i + 1 >= argc)
                    return usage(&c, stderr, 2);
                value = str_of(argv[++i]);
            }
            if (str_eqz(key, "--data.dir")) {
                c.data_dir = value.p; /* to the end of its argument */
            } else if (!auth_role_parse(value, &c.role)) {
                (void)fprintf(stderr, "hune: \"" STR_FMT "\": %s\n", STR_ARG(value),
                              say(&c, "the role is viewer, operator or administrator",
                                  "le rôle est viewer, operator ou administrator"));
                return 2;
            } else {
                c.role_given = true;
            }
        } else if (argv[i][0] == '-') {
            (void)fprintf(stderr, "hune: %s: %s\n", argv[i], say(&c, "unknown option", "option inconnue"));
            return usage(&c, stderr, 2);
        } else if (!c.verb) {
            c.verb = argv[i];
        } else if (!c.name) {
            c.name = argv[i];
        } else {
            return usage(&c, stderr, 2);
        }
    }
    struct str verb = str_of(c.verb);
    if (str_eqz(verb, "list") || str_eqz(verb, "ls"))
        return c.name ? usage(&c, stderr, 2) : list(&c);
    if (!c.name)
        return usage(&c, stderr, 2);
    if (str_eqz(verb, "add")) {
        if (c.role_given)
            return add(&c);
        (void)fprintf(stderr, "hune: %s\n", say(&c, "--role is needed", "il faut --role"));
        return usage(&c, stderr, 2);
    }
    if (str_eqz(verb, "delete") || str_eqz(verb, "remove") || str_eqz(verb, "rm")) {
        struct err e = {0};
        return auth_delete(c.data_dir, c.token, str_of(c.name), &e) < 0 ? fail(&e) : 0;
    }
    return usage(&c, stderr, 2);
}

int auth_cli_user(int argc, char **argv, const char *data_dir, bool french)
{
    return run((struct cli){.data_dir = data_dir, .french = french}, argc, argv);
}

int auth_cli_token(int argc, char **argv, const char *data_dir, bool french)
{
    return run((struct cli){.token = true, .data_dir = data_dir, .french = french}, argc, argv);
}
