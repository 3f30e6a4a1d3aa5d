// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_int.h"
#include "app/server.h"

#include "base/mem.h"
#include <stdio.h>

/* Called as prometheus: its defaults where people rely on them. */
static void as_prometheus(struct options *o)
{
    o->as_prometheus = true;
    if (!o->n_listen)
        o->listen[o->n_listen++] = STR("127.0.0.1:9090");
    if (!o->config_file.n)
        o->config_file = STR("prometheus.yml");
    if (!o->tsdb_path.n && !o->data_dir.n)
        o->tsdb_path = STR("data");
}

int cmd_server(int argc, char **argv)
{
    struct options o;
    struct err e = {0};
    _cleanup_buf_ struct buf notes = BUF_INIT(64 << 10);
    if (options_parse(argc, argv, &o, &notes, &e)) {
        fprintf(stderr, "hune server: %s\n", e.msg);
        return 2;
    }
    if (o.help) {
        _cleanup_buf_ struct buf b = BUF_INIT(64 << 10);
        options_help(&b, cmd_french());
        fputs(buf_cstr(&b), stdout);
        return 0;
    }
    if (o.version) {
        printf("hune %s\n", HUNE_VERSION);
        return 0;
    }
    struct str self = str_of(argv[0]);
    if (str_eq(str_sub(self, (size_t)(str_rchr(self, '/') + 1), self.n), STR("prometheus")))
        as_prometheus(&o);
    if (!o.n_listen)
        o.listen[o.n_listen++] = STR("127.0.0.1:4863");
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    enum log_level level = LOG_INFO;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (str_eqz(o.log_level, levels[i]))
            level = (enum log_level)i;
    log_setup(level, str_eq(o.log_format, STR("json")) ? LOG_JSON : LOG_LOGFMT, NULL);
    struct str rest = buf_view(&notes), line;
    while (str_line(&rest, &line))
        log_warn("flag without effect", KV_STR("note", line));
    return server_run(&o);
}
