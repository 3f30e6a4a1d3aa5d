// SPDX-License-Identifier: Apache-2.0
#include "procs/procs_int.h"

#include "base/limits.h"
#include "base/parse.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * An ecosystem file is a program: node runs it, in a child of this command, and prints what it says as lines
 * "KEY value" with the value percent-encoded, "app" opening each application. The keeper never sees the file.
 */

#define OUTPUT_MAX (8 << 20)

extern char **environ;

static const char script[] =
    "const path=require('path'),url=require('url');const f=process.argv[1];const d=path.dirname(f);"
    "const enc=s=>encodeURIComponent(String(s)).replace(/'/g,'%27');"
    "const out=[];const put=(k,v)=>{if(v!==undefined&&v!==null&&v!=='')out.push(k+' '+enc(v));};"
    "const list=v=>Array.isArray(v)?v:v===undefined||v===null||v===''?[]:String(v).split(' ').filter(Boolean);"
    "(async()=>{let m;if(f.endsWith('.mjs')){m=(await import(url.pathToFileURL(f).href)).default;}"
    "else{try{m=require(f);}catch(e){if(e.code!=='ERR_REQUIRE_ESM')throw e;m=(await "
    "import(url.pathToFileURL(f).href));}"
    "m=m&&m.default||m;}"
    "const apps=Array.isArray(m)?m:m.apps||(m.script?[m]:[]);"
    "for(const a of apps){out.push('app');const cwd=path.resolve(d,a.cwd||'.');"
    "put('script',a.script||a.exec);put('name',a.name);put('namespace',a.namespace);put('cwd',cwd);"
    "put('interpreter',a.interpreter||a.exec_interpreter);"
    "for(const x of list(a.interpreter_args||a.node_args))put('iarg',x);for(const x of list(a.args))put('arg',x);"
    "put('instances',a.instances);put('instance_var',a.instance_var);"
    "for(const[k,v]of Object.entries(a.env||{}))put('env',k+'='+(typeof v==='object'?JSON.stringify(v):v));"
    "put('out',a.out_file||a.output||a.out||a.out_log);put('err',a.error_file||a.error||a.err||a.err_log);"
    "put('autorestart',a.autorestart===false?'0':undefined);put('max_restarts',a.max_restarts);"
    "put('min_uptime',a.min_uptime);put('restart_delay',a.restart_delay);put('backoff',a.exp_backoff_restart_delay);"
    "put('kill_timeout',a.kill_timeout);for(const x of list(a.stop_exit_codes))put('stop_code',x);}"
    "process.stdout.write(out.join('\\n')+'\\n');})()"
    ".catch(e=>{console.error(String(e&&e.stack||e));process.exit(1);});";

bool is_ecosystem(const char *path)
{
    struct str p = str_of(path);
    return str_ends(p, STR(".config.js")) || str_ends(p, STR(".config.cjs")) || str_ends(p, STR(".config.mjs")) ||
           str_ends(p, STR(".json"));
}

static int run_node(const char *path, struct buf *out)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        complain("hune start: pipe: %s", err_name(-errno));
        return 1;
    }
    char *argv[] = {"node", "-e", (char *)script, (char *)path, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, fds[1], 1);
    pid_t pid;
    int r = posix_spawnp(&pid, "node", &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    close(fds[1]);
    if (r != 0) {
        close(fds[0]);
        complain(word(W_NO_NODE), path);
        return 1;
    }
    char chunk[16384];
    ssize_t n;
    while ((n = read(fds[0], chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            buf_put(out, chunk, (size_t)n);
    close(fds[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0 || buf_error(out)) {
        complain(word(W_BAD_ECOSYSTEM), path);
        return 1;
    }
    return 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *decode(struct str s)
{
    struct buf b = BUF_INIT(OUTPUT_MAX);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
            buf_putc(&b, (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])));
            i += 2;
        } else {
            buf_putc(&b, s.p[i]);
        }
    return buf_take(&b, NULL);
}

struct app_lines {
    char *script, *name, *cwd, *interpreter;
    VEC(char *) args, iargs;
    struct buf more;
};

static void lines_reset(struct app_lines *l)
{
    free(l->script);
    free(l->name);
    free(l->cwd);
    free(l->interpreter);
    for (size_t i = 0; i < l->args.n; i++)
        free(l->args.v[i]);
    for (size_t i = 0; i < l->iargs.n; i++)
        free(l->iargs.v[i]);
    vec_done(&l->args);
    vec_done(&l->iargs);
    buf_done(&l->more);
    *l = (struct app_lines){.more = BUF_INIT(OUTPUT_MAX)};
}

/* "5s", "300" -> milliseconds; false for anything else. */
static bool duration(const char *v, uint64_t *ret)
{
    int64_t ms;
    if (parse_u64(str_of(v), ret))
        return true;
    if (!parse_duration_ms(str_of(v), &ms) || ms < 0)
        return false;
    *ret = (uint64_t)ms;
    return true;
}

static uint64_t instances(const char *v)
{
    uint64_t n = 0;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (strcmp(v, "-1") == 0)
        return (uint64_t)MAX(cpus - 1, 1);
    if (!parse_u64(str_of(v), &n) || n == 0) /* "max", 0 */
        return (uint64_t)MAX(cpus, 1);
    return n;
}

static bool take_line(struct app_lines *l, struct str key, char *v)
{
    static const struct {
        const char *key;
        enum control_tag tag;
        enum { TEXT, PATH, MS, NUMBER } kind;
    } plain[] = {
        {"namespace", CT_NAMESPACE, TEXT},
        {"instance_var", CT_INSTANCE_VAR, TEXT},
        {"env", CT_ENV, TEXT},
        {"out", CT_OUT_FILE, PATH},
        {"err", CT_ERR_FILE, PATH},
        {"autorestart", CT_AUTORESTART, NUMBER},
        {"max_restarts", CT_MAX_RESTARTS, NUMBER},
        {"stop_code", CT_STOP_EXIT_CODE, NUMBER},
        {"min_uptime", CT_MIN_UPTIME_MS, MS},
        {"restart_delay", CT_RESTART_DELAY_MS, MS},
        {"backoff", CT_BACKOFF_MS, MS},
        {"kill_timeout", CT_KILL_TIMEOUT_MS, MS},
    };
    if (str_eqz(key, "script"))
        l->script = xstrdup(v);
    else if (str_eqz(key, "name"))
        l->name = xstrdup(v);
    else if (str_eqz(key, "cwd"))
        l->cwd = xstrdup(v);
    else if (str_eqz(key, "interpreter"))
        l->interpreter = xstrdup(v);
    else if (str_eqz(key, "arg"))
        vec_push(&l->args, xstrdup(v));
    else if (str_eqz(key, "iarg"))
        vec_push(&l->iargs, xstrdup(v));
    else if (str_eqz(key, "instances"))
        control_put_u64(&l->more, CT_INSTANCES, instances(v));
    else
        for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
            if (!str_eqz(key, plain[i].key))
                continue;
            uint64_t n;
            if (plain[i].kind == TEXT) {
                control_put(&l->more, plain[i].tag, str_of(v));
            } else if (plain[i].kind == PATH) {
                _cleanup_free_ char *path = v[0] == '/' ? xstrdup(v) : xasprintf("%s/%s", l->cwd ? l->cwd : "", v);
                control_put(&l->more, plain[i].tag, str_of(path));
            } else if (plain[i].kind == MS ? duration(v, &n) : parse_u64(str_of(v), &n)) {
                control_put_u64(&l->more, plain[i].tag, n);
            } else {
                complain(word(W_BAD_VALUE), "start", plain[i].key, v,
                         word(plain[i].kind == MS ? W_A_DURATION : W_A_NUMBER));
                return false;
            }
        }
    return true;
}

static int finish(struct app_lines *l, int (*fn)(void *ctx, struct buf *spec), void *ctx)
{
    if (!l->script) {
        complain(word(W_NO_SCRIPT), l->name ? l->name : "apps[]");
        return 1;
    }
    struct buf spec = BUF_INIT((size_t)limit(control_message_bytes));
    int r = start_put(&spec, &(struct start_what){.script = l->script,
                                                  .interpreter = l->interpreter,
                                                  .interpreter_args = (const char *const *)l->iargs.v,
                                                  .n_interpreter_args = l->iargs.n,
                                                  .args = (const char *const *)l->args.v,
                                                  .n_args = l->args.n,
                                                  .cwd = l->cwd,
                                                  .name = l->name});
    buf_put(&spec, l->more.p, l->more.n);
    if (r == 0)
        r = fn(ctx, &spec);
    buf_done(&spec);
    return r;
}

int ecosystem_read(const char *path, int (*fn)(void *ctx, struct buf *spec), void *ctx)
{
    _cleanup_free_ char *full = realpath(path, NULL);
    _cleanup_buf_ struct buf out = BUF_INIT(OUTPUT_MAX);
    int r = run_node(full ? full : path, &out);
    if (r != 0)
        return r;
    struct app_lines l = {.more = BUF_INIT(OUTPUT_MAX)};
    struct str rest = buf_view(&out), line, key, value;
    size_t n = 0;
    int failed = 0; /* one bad application does not keep the others from starting */
    bool ok = true;
    while (str_line(&rest, &line)) {
        if (str_eqz(line, "app")) {
            if (n++ && ok)
                failed |= finish(&l, fn, ctx);
            lines_reset(&l);
            ok = true;
        } else if (str_cut(line, ' ', &key, &value)) {
            _cleanup_free_ char *v = decode(value);
            ok = take_line(&l, key, v) && ok;
            failed |= !ok;
        }
    }
    if (n && ok)
        failed |= finish(&l, fn, ctx);
    lines_reset(&l);
    if (n == 0) {
        complain(word(W_NO_APPS), path);
        return 1;
    }
    return failed;
}
