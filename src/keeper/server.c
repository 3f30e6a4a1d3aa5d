// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include <signal.h>
#include <unistd.h>

/*
 * The server is one more process, with its own policy: never given up, SIGTERM and a long grace (it writes its last
 * samples), both outputs into logs/server.log. What it says of itself (ready, address) comes over the control socket;
 * how an earlier one died is kept until a server asks, so that its journal knows.
 */

#define SERVER_GRACE_MS 20000
#define SERVER_MIN_UPTIME_MS 5000
/* Exit status of a server that cannot work with what it was given (flags, configuration): trying again is no use. */
#define SERVER_EXIT_USAGE 2

extern char **environ;

int server_setup(struct keeper *k, struct err *e)
{
    const struct keeper_options *o = k->o;
    buf_init(&k->server_address, 1024);
    buf_init(&k->server_text, 1024);
    buf_init(&k->death.text, KEEPER_TAIL_BYTES);
    k->server_state = CS_STOPPED;
    if (!o->server_file)
        return 0;
    _cleanup_buf_ struct buf spec = BUF_INIT((size_t)limit(control_message_bytes));
    control_put_u64(&spec, CT_ID, KEEPER_SERVER_ID);
    control_put(&spec, CT_NAME, STR("server"));
    control_put(&spec, CT_ARG, str_of(o->server_file));
    control_put(&spec, CT_ARG, STR("server"));
    _cleanup_free_ char *dir = xasprintf("--data.dir=%s", k->data_dir);
    control_put(&spec, CT_ARG, str_of(dir));
    for (size_t i = 0; o->server_args && o->server_args[i]; i++)
        control_put(&spec, CT_ARG, str_of(o->server_args[i]));
    for (size_t i = 0; environ[i]; i++)
        if (strchr(environ[i], '='))
            control_put(&spec, CT_ENV, str_of(environ[i]));
    _cleanup_free_ char *cwd = getcwd(NULL, 0); /* relative paths in its flags mean what the user's shell meant */
    control_put(&spec, CT_CWD, cwd ? str_of(cwd) : STR("/"));
    control_put_u64(&spec, CT_KILL_SIGNAL, SIGTERM);
    control_put_u64(&spec, CT_KILL_TIMEOUT_MS, SERVER_GRACE_MS);
    control_put_u64(&spec, CT_MIN_UPTIME_MS, SERVER_MIN_UPTIME_MS);
    control_put_u64(&spec, CT_STOP_EXIT_CODE, SERVER_EXIT_USAGE);
    if (buf_error(&spec)) {
        err_set(e, "command line and environment are longer than control_message_bytes");
        return -E2BIG;
    }
    struct app *a;
    const uint32_t id = KEEPER_SERVER_ID;
    int r = app_add(k, buf_view(&spec), &id, 1, &a, e);
    if (r != 0)
        return r;
    a->policy.never_give_up = true;
    k->server = proc_find(k, KEEPER_SERVER_ID);
    return 0;
}

void server_start(struct keeper *k)
{
    if (k->server && k->server->m.state == CS_STOPPED)
        proc_feed(k->server, ME_START);
}

static void remember_death(struct keeper *k)
{
    const struct proc *s = k->server;
    struct server_death *d = &k->death;
    d->known = true;
    d->code = s->m.exit.code;
    d->signal = s->m.exit.signal;
    d->uptime_ms = s->m.exit_uptime_ms;
    d->pid = (uint64_t)k->server_pid;
    d->at_ms = clock_now_ms(&clock_real);
    buf_reset(&d->text);
    buf_put(&d->text, s->tail, s->n_tail);
    conns_server_died(k);
}

void server_note(struct keeper *k, enum control_event e)
{
    struct proc *s = k->server;
    if (e == CE_STARTED || e == CE_ADOPTED) {
        k->server_pid = s->pid;
        k->server_state = CS_LAUNCHING;
        buf_reset(&k->server_text);
    }
    if (e == CE_EXITED || e == CE_STOPPED || e == CE_FAILED) {
        k->server_state = CS_STOPPED;
        buf_reset(&k->server_address);
    }
    if (e == CE_EXITED && !k->ending)
        remember_death(k);
    if (e == CE_EXITED && s->m.state == CS_STOPPED && !k->ending) {
        keeper_say(
            k,
            "the server cannot work with its configuration; applications go on without it (SIGHUP to %d tries again)",
            (int)getpid());
        /* Somebody who just typed `hune run` with a mistake wants his prompt back. */
        if (k->o->foreground && !k->server_was_ready) {
            k->exit_code = SERVER_EXIT_USAGE;
            keeper_end(k);
        }
    }
}

void server_report(struct keeper *k, enum control_state state, struct str address, struct str text)
{
    if (!k->server)
        return;
    bool fresh = state == CS_ONLINE && (k->server_state != CS_ONLINE || !str_eq(address, buf_view(&k->server_address)));
    k->server_state = state;
    buf_reset(&k->server_address);
    buf_reset(&k->server_text);
    buf_str(&k->server_address, str_sub(address, 0, 1000));
    buf_str(&k->server_text, str_sub(text, 0, 1000));
    if (!fresh)
        return;
    k->server_was_ready = true;
    keeper_say(k, "server ready at " STR_FMT, STR_ARG(address));
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    buf_fmt(&b,
            k->o->french ? "\nhune %s — " STR_FMT " — données dans %s — Ctrl-C pour arrêter\n\n"
                         : "\nhune %s — " STR_FMT " — data in %s — Ctrl-C stops\n\n",
            k->o->version, STR_ARG(address), k->data_dir);
    keeper_tty(k, buf_view(&b));
}

void server_output(struct keeper *k, struct str bytes)
{
    keeper_tty(k, bytes);
}
