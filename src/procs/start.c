// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/limits.h"
#include "base/parse.h"
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

/* ---- what a script means ---- */

static const struct {
    const char *ext, *interpreter;
} by_extension[] = {
    {".js", "node"}, {".cjs", "node"}, {".mjs", "node"}, {".py", "python3"},
    {".sh", "bash"}, {".rb", "ruby"},  {".pl", "perl"},  {".php", "php"},
};

static const char *interpreter_of(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(by_extension); i++)
        if (str_ends(path, str_of(by_extension[i].ext)))
            return by_extension[i].interpreter;
    return NULL;
}

static bool in_path(const char *command)
{
    struct str rest = str_of(getenv("PATH")), dir;
    for (bool more = rest.n > 0; more;) {
        more = str_cut(rest, ':', &dir, &rest);
        _cleanup_free_ char *full = xasprintf(STR_FMT "/%s", STR_ARG(dir), command);
        struct stat st;
        if (stat(full, &st) == 0 && S_ISREG(st.st_mode) && access(full, X_OK) == 0)
            return true;
    }
    return false;
}

/* "dir/app.js" -> "app"; "./run web --port 3" -> "run". */
static void put_name(struct buf *spec, const char *script)
{
    struct str s = str_of(script), first;
    str_cut(s, ' ', &first, NULL);
    ptrdiff_t slash = str_rchr(first, '/');
    struct str base = str_sub(first, (size_t)(slash + 1), first.n);
    ptrdiff_t dot = str_rchr(base, '.');
    if (dot > 0)
        base = str_sub(base, 0, (size_t)dot);
    control_put(spec, CT_NAME, base);
}

/* The script's absolute path; malloc'd. *ret_file: there is such a file. */
static char *find_script(const struct start_what *w, bool *ret_file)
{
    const char *const dirs[] = {w->base, w->cwd};
    struct stat st;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        if (!dirs[i])
            continue;
        char *path = w->script[0] == '/' ? xstrdup(w->script) : xasprintf("%s/%s", dirs[i], w->script);
        *ret_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);
        if (*ret_file)
            return path;
        free(path);
    }
    return xstrdup(w->script);
}

int start_put(struct buf *spec, const struct start_what *w)
{
    const char *interpreter = w->interpreter;
    bool file, direct = false;
    _cleanup_free_ char *path = find_script(w, &file);
    if (!file && (strchr(w->script, ' ') || strpbrk(w->script, "|&;<>$"))) {
        /* A command line, typed in quotes. exec keeps the shell from standing between us and a simple command. */
        _cleanup_free_ char *line = strpbrk(w->script, "|&;<>$") ? xstrdup(w->script) : xasprintf("exec %s", w->script);
        control_put(spec, CT_ARG, STR("/bin/sh"));
        control_put(spec, CT_ARG, STR("-c"));
        control_put(spec, CT_ARG, str_of(line));
        control_put(spec, CT_ARG, STR("sh"));
        interpreter = "none";
    } else if (!file && !strchr(w->script, '/') && in_path(w->script)) {
        control_put(spec, CT_ARG, str_of(w->script));
        interpreter = "none";
    } else if (!file) {
        complain(word(W_NO_SCRIPT), w->script);
        return 1;
    } else {
        if (!interpreter)
            interpreter = interpreter_of(str_of(path));
        direct = !interpreter || strcmp(interpreter, "none") == 0;
        if (direct && access(path, X_OK) != 0) {
            complain(word(W_NOT_EXECUTABLE), w->script);
            return 1;
        }
        if (!direct) {
            control_put(spec, CT_ARG, str_of(interpreter));
            for (size_t i = 0; i < w->n_interpreter_args; i++)
                control_put(spec, CT_ARG, str_of(w->interpreter_args[i]));
        }
        control_put(spec, CT_ARG, str_of(path));
    }
    for (size_t i = 0; i < w->n_args; i++)
        control_put(spec, CT_ARG, str_of(w->args[i]));
    control_put(spec, CT_SCRIPT, file ? str_of(path) : str_of(w->script));
    control_put(spec, CT_INTERPRETER, direct ? STR("none") : str_of(interpreter));
    control_put(spec, CT_CWD, str_of(w->cwd));
    if (w->name)
        control_put(spec, CT_NAME, str_of(w->name));
    else
        put_name(spec, w->script);
    return 0;
}

/* ---- talking to the keeper ---- */

struct starter {
    struct control_client *c;
    int status;
    size_t n;
};

struct added {
    uint32_t ids[1024];
    size_t n;
};

static int send_spec(void *ctx, struct buf *spec)
{
    struct starter *s = ctx;
    struct buf b = BUF_INIT((size_t)limit(control_message_bytes));
    size_t at = control_begin(&b, CONTROL_ADD, control_next_id(s->c));
    buf_put(&b, spec->p, spec->n);
    control_end(&b, at);
    struct err e = {0};
    struct str body = STR_NULL;
    int r = control_ask(s->c, &b, 10000, NULL, NULL, &body, &e);
    buf_done(&b);
    s->n++;
    if (r != 0) {
        complain("hune start: %s", e.msg);
        return s->status = 1;
    }
    struct added added = {.n = 0};
    uint16_t tag;
    struct str v;
    while (control_field(&body, &tag, &v))
        if (tag == CT_ID && added.n < ARRAY_LEN(added.ids))
            added.ids[added.n++] = (uint32_t)control_number(v);
    if (wait_started(s->c, added.ids, added.n, NULL) != 0)
        s->status = 1;
    return 0;
}

/* The user's environment, as pm2 gives it, without what belongs to the shell's own place in hune. */
static void put_environment(struct buf *spec, const char *const *extra, size_t n_extra)
{
    for (size_t i = 0; environ[i]; i++) {
        struct str v = str_of(environ[i]), name;
        if (!str_cut(v, '=', &name, NULL) || name.n == 0 || str_eqz(name, "HUNE_INSTANCE") ||
            str_eqz(name, "HUNE_JOB") || str_eqz(name, "HUNE_KEEPER_SOCKET"))
            continue;
        bool replaced = false;
        for (size_t k = 0; k < n_extra; k++)
            replaced |= str_starts(str_of(extra[k]), str_sub(v, 0, name.n + 1));
        if (!replaced)
            control_put(spec, CT_ENV, v);
    }
    for (size_t k = 0; k < n_extra; k++)
        control_put(spec, CT_ENV, str_of(extra[k]));
}

/* Everything of a command line that is not the script. */
struct flags {
    struct start_what what;
    struct buf more; /* fields that go to the keeper as they are */
    VEC(const char *) args, interpreter_args, env, only;
    char *cwd;
};

static void flags_done(struct flags *f)
{
    buf_done(&f->more);
    vec_done(&f->args);
    vec_done(&f->interpreter_args);
    vec_done(&f->env);
    vec_done(&f->only);
    free(f->cwd);
}

static void flag_number(struct args *a, struct flags *f, enum control_tag tag)
{
    uint64_t v;
    if (args_u64(a, &v))
        control_put_u64(&f->more, tag, v);
}

static void flag_duration(struct args *a, struct flags *f, enum control_tag tag)
{
    uint64_t v;
    if (args_duration_ms(a, &v))
        control_put_u64(&f->more, tag, v);
}

static char *absolute(const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    _cleanup_free_ char *cwd = getcwd(NULL, 0);
    return xasprintf("%s/%s", cwd ? cwd : "", path);
}

static void flag_path(struct args *a, struct flags *f, enum control_tag tag)
{
    const char *v = args_value(a);
    if (!v)
        return;
    _cleanup_free_ char *path = absolute(v);
    control_put(&f->more, tag, str_of(path));
}

static void flag_instances(struct args *a, struct flags *f)
{
    const char *v = args_value(a);
    uint64_t n = 0;
    if (!v)
        return;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (strcmp(v, "max") == 0 || strcmp(v, "0") == 0)
        n = (uint64_t)MAX(cpus, 1);
    else if (strcmp(v, "-1") == 0)
        n = (uint64_t)MAX(cpus - 1, 1);
    else if (!parse_u64(str_of(v), &n)) {
        complain(word(W_BAD_VALUE), a->verb, a->name, v, word(W_A_NUMBER));
        a->bad = true;
        return;
    }
    control_put_u64(&f->more, CT_INSTANCES, n);
}

static void flag_user(struct args *a, struct flags *f, bool group)
{
    const char *v = args_value(a);
    uint64_t n;
    if (!v)
        return;
    const struct passwd *pw = group ? NULL : getpwnam(v);
    const struct group *gr = group ? getgrnam(v) : NULL;
    if (pw) {
        control_put_u64(&f->more, CT_SET_UID, (uint64_t)pw->pw_uid + 1);
        control_put_u64(&f->more, CT_SET_GID, (uint64_t)pw->pw_gid + 1);
    } else if (gr) {
        control_put_u64(&f->more, CT_SET_GID, (uint64_t)gr->gr_gid + 1);
    } else if (parse_u64(str_of(v), &n)) {
        control_put_u64(&f->more, group ? CT_SET_GID : CT_SET_UID, n + 1);
    } else {
        complain(word(W_BAD_VALUE), a->verb, a->name, v, word(W_A_NUMBER));
        a->bad = true;
    }
}

static void flag_env(struct args *a, struct flags *f)
{
    const char *v = args_value(a);
    if (!v)
        return;
    if (strchr(v, '=') > v) {
        vec_push(&f->env, v);
        return;
    }
    complain(word(W_BAD_VALUE), a->verb, a->name, v, "NAME=value");
    a->bad = true;
}

static void flag_codes(struct args *a, struct flags *f)
{
    const char *v = args_value(a);
    struct str rest = str_of(v), one;
    for (bool more = v != NULL; more;) {
        uint64_t code;
        more = str_cut(rest, ',', &one, &rest);
        if (parse_u64(str_trim(one), &code)) {
            control_put_u64(&f->more, CT_STOP_EXIT_CODE, code);
        } else {
            complain(word(W_BAD_VALUE), a->verb, a->name, v, word(W_A_NUMBER));
            a->bad = true;
            return;
        }
    }
}

static void push_words(struct args *a, const char *value, const char ***v, size_t *n, size_t *cap)
{
    (void)a;
    if (!value)
        return;
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        *v = xrealloc(*v, *cap * sizeof(**v));
    }
    (*v)[(*n)++] = value;
}

/* One flag; false when it is not ours. */
static bool take_flag(struct args *a, struct flags *f)
{
    if (args_is(a, "--name", 'n'))
        f->what.name = args_value(a);
    else if (args_is(a, "--instances", 'i'))
        flag_instances(a, f);
    else if (args_is(a, "--interpreter", 0))
        f->what.interpreter = args_value(a);
    else if (args_is(a, "--interpreter-args", 0) || args_is(a, "--node-args", 0))
        push_words(a, args_value(a), &f->interpreter_args.v, &f->interpreter_args.n, &f->interpreter_args.cap);
    else if (args_is(a, "--cwd", 0)) {
        const char *v = args_value(a);
        if (v) {
            free(f->cwd);
            f->cwd = absolute(v);
        }
    } else if (args_is(a, "--namespace", 0)) {
        const char *v = args_value(a);
        if (v)
            control_put(&f->more, CT_NAMESPACE, str_of(v));
    } else if (args_is(a, "--max-restarts", 0))
        flag_number(a, f, CT_MAX_RESTARTS);
    else if (args_is(a, "--min-uptime", 0))
        flag_duration(a, f, CT_MIN_UPTIME_MS);
    else if (args_is(a, "--restart-delay", 0))
        flag_duration(a, f, CT_RESTART_DELAY_MS);
    else if (args_is(a, "--exp-backoff-restart-delay", 0))
        flag_duration(a, f, CT_BACKOFF_MS);
    else if (args_is(a, "--kill-timeout", 'k'))
        flag_duration(a, f, CT_KILL_TIMEOUT_MS);
    else if (args_is(a, "--kill-signal", 0)) {
        const char *v = args_value(a);
        int sig;
        if (v && args_signal(a, v, &sig))
            control_put_u64(&f->more, CT_KILL_SIGNAL, (uint64_t)sig);
    } else if (args_is(a, "--no-autorestart", 0))
        control_put_u64(&f->more, CT_AUTORESTART, 0);
    else if (args_is(a, "--stop-exit-codes", 0))
        flag_codes(a, f);
    else if (args_is(a, "--output", 'o'))
        flag_path(a, f, CT_OUT_FILE);
    else if (args_is(a, "--error", 'e'))
        flag_path(a, f, CT_ERR_FILE);
    else if (args_is(a, "--env", 0))
        flag_env(a, f);
    else if (args_is(a, "--uid", 0))
        flag_user(a, f, false);
    else if (args_is(a, "--gid", 0))
        flag_user(a, f, true);
    else if (args_is(a, "--only", 0))
        push_words(a, args_value(a), &f->only.v, &f->only.n, &f->only.cap);
    else
        return false;
    return true;
}

static int start_script(struct control_client *c, const char *script, struct flags *f)
{
    struct buf spec = BUF_INIT((size_t)limit(control_message_bytes));
    f->what.script = script;
    f->what.args = f->args.v;
    f->what.n_args = f->args.n;
    f->what.interpreter_args = f->interpreter_args.v;
    f->what.n_interpreter_args = f->interpreter_args.n;
    f->what.cwd = f->cwd;
    _cleanup_free_ char *here = getcwd(NULL, 0);
    f->what.base = here;
    int r = start_put(&spec, &f->what);
    if (r == 0) {
        buf_put(&spec, f->more.p, f->more.n);
        put_environment(&spec, f->env.v, f->env.n);
        struct starter s = {.c = c};
        send_spec(&s, &spec);
        r = s.status;
    }
    buf_done(&spec);
    return r;
}

struct ecosystem_start {
    struct starter s;
    const struct flags *f;
};

static bool wanted(const struct flags *f, struct str name)
{
    for (size_t i = 0; i < f->only.n; i++) {
        struct str rest = str_of(f->only.v[i]), one;
        for (bool more = true; more;) {
            more = str_cut(rest, ',', &one, &rest);
            if (str_eq(str_trim(one), name))
                return true;
        }
    }
    return f->only.n == 0;
}

/* An application of a file: its own variables win over the shell's. */
static int start_one(void *ctx, struct buf *spec)
{
    struct ecosystem_start *e = ctx;
    if (!wanted(e->f, control_get(buf_view(spec), CT_NAME)))
        return 0;
    VEC(const char *) own = {0};
    struct buf whole = BUF_INIT((size_t)limit(control_message_bytes));
    uint16_t tag;
    struct str v, rest = buf_view(spec);
    while (control_field(&rest, &tag, &v))
        if (tag == CT_ENV)
            vec_push(&own, str_dupz(v));
        else
            control_put(&whole, (enum control_tag)tag, v);
    put_environment(&whole, own.v, own.n);
    for (size_t i = 0; i < own.n; i++)
        free((char *)own.v[i]);
    vec_done(&own);
    send_spec(&e->s, &whole);
    buf_done(&whole);
    return 0;
}

static int start_target(struct control_client *c, const char *target, struct flags *f)
{
    struct stat st;
    bool file = stat(target, &st) == 0 && S_ISREG(st.st_mode);
    if (file && is_ecosystem(target)) {
        struct ecosystem_start e = {.s = {.c = c}, .f = f};
        int r = ecosystem_read(target, start_one, &e);
        return r ? r : e.s.status;
    }
    if (file)
        return start_script(c, target, f);
    /* No file: perhaps somebody we know already. */
    struct plist l;
    struct pick p = {0};
    if (!plist_read(c, false, &l))
        return 1;
    pick_add(&p, &l, target, false);
    int r = p.v.n ? act_and_wait(c, CA_START, &p, false) : start_script(c, target, f);
    vec_done(&p.v);
    plist_done(&l);
    return r;
}

int verb_start(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    struct flags f = {.more = BUF_INIT((size_t)limit(control_message_bytes)), .cwd = getcwd(NULL, 0)};
    const char *w, *target = NULL;
    int r = 0;
    enum args_kind k;
    while (r == 0 && (k = args_next(&a, &w)) != ARGS_END && k != ARGS_REST) {
        if (k == ARGS_WORD && !target)
            target = w;
        else if (k == ARGS_WORD)
            vec_push(&f.args, w); /* pm2 wants "--" before these; a shell habit does not */
        else if (!take_flag(&a, &f) && !a.bad)
            r = args_unknown(&a);
    }
    for (; r == 0 && !a.bad && a.at < a.argc; a.at++)
        vec_push(&f.args, a.argv[a.at]);
    if (a.bad)
        r = 2;
    if (r == 0 && !target) {
        complain("hune %s", procs_find("start")->usage);
        r = 2;
    }
    struct control_client *c = r == 0 ? client_open(NEED_START) : NULL;
    if (r == 0)
        r = c && subscribe(c, TOPIC_STATES, NULL, 0) ? start_target(c, target, &f) : 1;
    if (c && r == 0)
        r = print_list(c);
    control_close(c);
    flags_done(&f);
    return r;
}
