// SPDX-License-Identifier: Apache-2.0
#include "app/ask.h"

#include "app/cmd_int.h"
#include "base/format.h"
#include "base/mem.h"
#include "control/control.h"
#include "net/client.h"
#include "sys/fs.h"
#include <stdio.h>
#include <time.h>

const char ask_help_en[] =
    "\n  --json           print the server's answer as JSON\n"
    "  --url URL        server (default: $HUNE_URL, else the one under the keeper, else http://127.0.0.1:4863)\n"
    "  --token-file F   file with a token (hune token add); or the token itself in $HUNE_TOKEN\n"
    "  --data.dir DIR   data folder of the keeper to ask for the address\n";
const char ask_help_fr[] =
    "\n  --json           afficher la réponse du serveur en JSON\n"
    "  --url URL        serveur (par défaut $HUNE_URL, sinon celui du gardien, sinon http://127.0.0.1:4863)\n"
    "  --token-file F   fichier contenant un jeton (hune token add) ; ou le jeton lui-même dans $HUNE_TOKEN\n"
    "  --data.dir DIR   dossier de données du gardien auquel demander l'adresse\n";

const char *ask_value(const char *name, int argc, char **argv, int *i, bool *bad)
{
    struct str arg = str_of(argv[*i]), n = str_of(name);
    if (!str_starts(arg, n))
        return NULL;
    if (arg.n > n.n)
        return arg.p[n.n] == '=' ? arg.p + n.n + 1 : NULL;
    if (*i + 1 < argc)
        return argv[++*i];
    fprintf(stderr, cmd_text("hune: %s wants a value\n", "hune : %s attend une valeur\n"), name);
    *bad = true;
    return NULL;
}

int ask_option(struct ask *a, int argc, char **argv, int *i)
{
    const struct {
        const char *name;
        const char **to;
    } rows[] = {{"--url", &a->url}, {"--data.dir", &a->data_dir}, {"--token-file", &a->token_file}};
    if (strcmp(argv[*i], "--json") == 0) {
        a->json = true;
        return 1;
    }
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        bool bad = false;
        const char *v = ask_value(rows[k].name, argc, argv, i, &bad);
        if (bad)
            return -1;
        if (v) {
            *rows[k].to = v;
            return 1;
        }
    }
    return 0;
}

/* The keeper knows the page's address; without a keeper there is the default one. */
static const char *find_server(struct ask *a)
{
    struct err e = {0};
    const char *env = getenv("HUNE_URL");
    if (env && env[0])
        return env;
    const char *url = "http://127.0.0.1:4863";
    _cleanup_free_ char *dir = control_data_dir(a->data_dir, &e);
    struct control_client *c;
    if (!dir || control_open(dir, 1000, &c, &e) != 0)
        return url;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    size_t at = control_begin(&b, CONTROL_INFO, control_next_id(c));
    control_end(&b, at);
    struct str body;
    if (control_ask(c, &b, 2000, NULL, NULL, &body, &e) == 0) {
        struct str address = control_get(body, CT_ADDRESS);
        if (address.n)
            url = arena_strz(a->arena, address);
    }
    control_close(c);
    return url;
}

struct reply {
    struct arena *arena;
    bool done;
    int error;
    long status;
    struct err err;
    struct str body;
};

static void finish(void *ctx, const struct http_response *r)
{
    struct reply *p = ctx;
    p->done = true;
    p->error = r->error;
    p->status = r->status;
    p->err = r->err;
    p->body = arena_str(p->arena, r->body);
}

static bool read_token(struct ask *a, struct buf *ret)
{
    const char *env = getenv("HUNE_TOKEN");
    if (a->token_file) {
        _cleanup_buf_ struct buf text = BUF_INIT(8192);
        int r = fs_read_file(a->token_file, &text);
        if (r) {
            fprintf(stderr, "%s: %s\n", a->token_file, err_name(r));
            return false;
        }
        buf_str(ret, str_trim(buf_view(&text)));
    } else if (env) {
        buf_z(ret, env);
    }
    return true;
}

int ask_server(struct ask *a, const char *method, struct str path, struct str body, const struct json **ret,
               struct str *ret_text)
{
    if (!a->url)
        a->url = find_server(a);
    _cleanup_buf_ struct buf url = BUF_INIT(16384), auth = BUF_INIT(16384);
    struct str base = str_of(a->url);
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    buf_fmt(&url, STR_FMT "/api/hune/v1" STR_FMT, STR_ARG(base), STR_ARG(path));
    buf_z(&auth, "Bearer ");
    if (!read_token(a, &auth))
        return 1;
    const struct http_header headers[] = {{.name = STR("Content-Type"), .value = STR("application/json")},
                                          {.name = STR("Authorization"), .value = buf_view(&auth)}};
    bool has_token = auth.n > strlen("Bearer ");
    struct http_request q = {.method = method,
                             .url = buf_view(&url),
                             .headers = body.n ? headers : headers + 1,
                             .n_headers = (size_t)(body.n != 0) + has_token,
                             .body = body,
                             .timeout_ms = 30000,
                             .max_body = 64 << 20};
    struct reply p = {.arena = a->arena};
    struct err e = {0};
    struct http_multi *m = http_multi_new(1);
    struct http_call *call;
    int r = http_multi_start(m, &q, finish, &p, &call, &e);
    while (r == 0 && !p.done)
        http_multi_poll(m, 200);
    http_multi_free(m);
    if (r || p.error) {
        const char *why = r ? e.msg : p.err.msg;
        fprintf(stderr,
                cmd_text("hune: no server answers at %s (%s). Start one with: hune run\n",
                         "hune : aucun serveur ne répond à %s (%s). Pour en lancer un : hune run\n"),
                a->url, why[0] ? why : err_name(r ? r : p.error));
        return 1;
    }
    const struct json *o = NULL;
    if (json_parse(p.body, a->arena, &o, &e) != 0) {
        fprintf(stderr,
                cmd_text("hune: %s answers %ld, but not as hune does\n", "hune : %s répond %ld, mais pas comme hune\n"),
                a->url, p.status);
        return 1;
    }
    if (p.status >= 300) {
        struct str why = json_str(o, "error", STR("?"));
        fprintf(stderr, "hune: " STR_FMT "\n", STR_ARG(why));
        if (p.status == 401 || p.status == 403)
            fprintf(stderr, "%s\n",
                    cmd_text("Make a token with `hune token add NAME --role operator` and put it into $HUNE_TOKEN or "
                             "--token-file.",
                             "Créer un jeton avec `hune token add NOM --role operator`, puis le donner par $HUNE_TOKEN "
                             "ou --token-file."));
        return 1;
    }
    *ret = o;
    if (ret_text)
        *ret_text = p.body;
    return 0;
}

void ask_encode(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
            c == '.' || c == '~')
            buf_putc(b, (char)c);
        else
            buf_fmt(b, "%%%02X", c);
    }
}

struct str ask_time(struct arena *a, const struct json *o, const char *key)
{
    int64_t ms = json_i64(o, key, 0);
    if (!ms)
        return STR("-");
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    localtime_r(&t, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    return arena_str(a, str_make(text, n));
}

struct str ask_duration(struct arena *a, const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    if (!v || v->kind != JSON_INT)
        return STR("-");
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    format_duration_human(&b, v->i);
    return arena_str(a, buf_view(&b));
}
