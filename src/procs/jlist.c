// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/utf8.h"

/* pm2's `jlist` (7.0.4), so that scripts written for it go on working; the environment only on request, because pm2's
 * habit of printing it leaks secrets into every log that collects the output. */

static void put_string(struct buf *b, struct str s)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(s.n * 3 + 1);
    utf8_scrub(&clean, s);
    buf_putc(b, '"');
    for (size_t i = 0; i < clean.n; i++) {
        unsigned char c = (unsigned char)clean.p[i];
        if (c == '"' || c == '\\')
            buf_putc(b, '\\');
        if (c < 0x20)
            buf_fmt(b, "\\u%04x", c);
        else
            buf_putc(b, (char)c);
    }
    buf_putc(b, '"');
}

static void key_string(struct buf *b, const char *key, struct str v)
{
    buf_fmt(b, ",\"%s\":", key);
    put_string(b, v);
}

static void key_number(struct buf *b, const char *key, uint64_t v)
{
    buf_fmt(b, ",\"%s\":%llu", key, (unsigned long long)v);
}

static void put_list(struct buf *b, const char *key, struct str body, enum control_tag wanted, size_t skip)
{
    buf_fmt(b, ",\"%s\":[", key);
    uint16_t tag;
    struct str v;
    for (size_t n = 0; control_field(&body, &tag, &v);)
        if (tag == wanted && n++ >= skip) {
            if (n > skip + 1)
                buf_putc(b, ',');
            put_string(b, v);
        }
    buf_putc(b, ']');
}

static void put_env(struct buf *b, struct str body)
{
    buf_z(b, ",\"env\":{");
    uint16_t tag;
    struct str v, name, value;
    bool first = true;
    while (control_field(&body, &tag, &v))
        if (tag == CT_ENV && str_cut(v, '=', &name, &value)) {
            if (!first)
                buf_putc(b, ',');
            first = false;
            put_string(b, name);
            buf_putc(b, ':');
            put_string(b, value);
        }
    buf_putc(b, '}');
}

static void put_proc(struct buf *b, const struct control_proc *p)
{
    uint64_t cpu = 0, rss = 0;
    proc_usage(p, &cpu, &rss);
    buf_fmt(b, "{\"pid\":%d,\"name\":", (int)p->pid);
    put_string(b, p->name);
    buf_fmt(b, ",\"pm_id\":%u,\"monit\":{\"memory\":%llu,\"cpu\":%llu.%llu},\"pm2_env\":{\"status\":\"%s\"", p->id,
            (unsigned long long)rss, (unsigned long long)cpu / 10, (unsigned long long)cpu % 10,
            control_state_names[p->state]);
    key_string(b, "name", p->name);
    key_string(b, "namespace", p->namespace_);
    key_string(b, "exec_mode", STR("fork_mode"));
    key_number(b, "instances", p->instances);
    key_number(b, "NODE_APP_INSTANCE", p->instance);
    key_number(b, "pm_id", p->id);
    key_number(b, "pm_uptime", (uint64_t)p->started_ms);
    key_number(b, "created_at", (uint64_t)p->created_ms);
    key_number(b, "restart_time", p->restarts);
    key_number(b, "unstable_restarts", p->unstable);
    key_string(b, "pm_exec_path", p->script);
    key_string(b, "pm_cwd", p->cwd);
    key_string(b, "pm_out_log_path", p->out_file);
    key_string(b, "pm_err_log_path", p->err_file);
    key_string(b, "exec_interpreter", p->interpreter);
    put_list(b, "command", p->body, CT_ARG, 0);
    buf_fmt(b, ",\"autorestart\":%s,\"watch\":false", p->autorestart ? "true" : "false");
    key_number(b, "max_restarts", p->max_restarts);
    key_number(b, "min_uptime", p->min_uptime_ms);
    key_number(b, "restart_delay", p->restart_delay_ms);
    key_number(b, "kill_timeout", p->kill_timeout_ms);
    if (p->exited) {
        key_number(b, "exit_code", (uint64_t)p->exit_code);
        key_number(b, "exit_signal", (uint64_t)p->exit_signal);
    }
    if (p->log_lost)
        key_number(b, "log_bytes_lost", p->log_lost);
    put_env(b, p->body);
    buf_z(b, ",\"axm_monitor\":{},\"axm_actions\":[]}}");
}

int verb_jlist(int argc, char **argv)
{
    struct args a = args_of(argc, argv);
    const char *w;
    bool env = false;
    for (enum args_kind k; (k = args_next(&a, &w)) != ARGS_END;)
        if (k == ARGS_FLAG && args_is(&a, "--with-env", 0))
            env = true;
        else if (k == ARGS_FLAG)
            return args_unknown(&a);
    if (a.bad)
        return 2;
    struct control_client *c = client_open(NEED_RUNNING);
    struct plist l;
    if (!c) {
        puts("[]"); /* what reads us parses this; the reason stands on stderr */
        return 1;
    }
    if (!plist_read(c, env, &l)) {
        control_close(c);
        return 1;
    }
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 30);
    buf_putc(&b, '[');
    for (size_t i = 0; i < l.v.n; i++) {
        if (i)
            buf_putc(&b, ',');
        put_proc(&b, &l.v.v[i]);
    }
    buf_z(&b, "]\n");
    fwrite(b.p, 1, b.n, stdout);
    plist_done(&l);
    control_close(c);
    return buf_error(&b) ? 1 : 0;
}
