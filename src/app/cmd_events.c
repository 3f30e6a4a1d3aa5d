// SPDX-License-Identifier: Apache-2.0
/* hune events: the journal of the running server. */
#include "app/ask.h"
#include "app/cmd_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/utf8.h"
#include <stdio.h>
#include <unistd.h>

static const char help_en[] =
    "Usage: hune events [--kind PREFIX] [--service NAME] [--severity S] [--since DURATION] [--limit N] [--follow]\n\n"
    "What happened: alerts, processes, anomalies, notifications, configuration, log-ins. Oldest first.\n\n"
    "  --kind PREFIX    alert. process. anomaly. notify. server. config. auth. ... or a whole kind\n"
    "  --severity S     critical, warning or info: this and worse\n"
    "  --since D        not older than 30m, 2h, 7d\n"
    "  --follow, -f     stay and print what happens, until Ctrl-C\n";
static const char help_fr[] =
    "Usage : hune events [--kind PREFIXE] [--service NOM] [--severity S] [--since DURÉE] [--limit N] [--follow]\n\n"
    "Ce qui s'est passé : alertes, processus, anomalies, notifications, configuration, connexions. Du plus ancien\n"
    "au plus récent.\n\n"
    "  --kind PREFIXE   alert. process. anomaly. notify. server. config. auth. ... ou un genre entier\n"
    "  --severity S     critical, warning ou info : celle-ci et pire\n"
    "  --since D        pas plus vieux que 30m, 2h, 7d\n"
    "  --follow, -f     rester et afficher ce qui arrive, jusqu'à Ctrl-C\n";
static const char examples[] = "\n  hune events --kind alert. --since 24h\n  hune events -f --severity warning\n";

static void put_clean(struct str s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    utf8_scrub(&b, s);
    for (size_t i = 0; i < b.n; i++)
        putchar((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f ? ' ' : b.p[i]);
}

static void put_event(struct arena *a, const struct json *e)
{
    struct str when = ask_time(a, e, "t_ms"), sev = json_str(e, "severity", STR("")),
               kind = json_str(e, "kind", STR(""));
    printf(STR_FMT "  %-8.*s  %-18.*s  ", STR_ARG(when), STR_ARG(sev), STR_ARG(kind));
    put_clean(json_str(e, "summary", STR("")));
    putchar('\n');
}

int cmd_events(int argc, char **argv)
{
    _cleanup_arena_ struct arena *arena = arena_new(0);
    struct ask a = {.arena = arena};
    _cleanup_buf_ struct buf filter = BUF_INIT(4096);
    bool follow = false;
    const char *limit = "100";
    for (int i = 1; i < argc; i++) {
        static const char *const names[] = {"--kind", "--service", "--severity", "--q"};
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s%s%s", cmd_text(help_en, help_fr), cmd_text(ask_help_en, ask_help_fr), examples);
            return 0;
        }
        if (strcmp(argv[i], "--follow") == 0 || strcmp(argv[i], "-f") == 0) {
            follow = true;
            continue;
        }
        int taken = ask_option(&a, argc, argv, &i);
        bool bad = taken<0, found = taken> 0;
        const char *v = found || bad ? NULL : ask_value("--since", argc, argv, &i, &bad);
        if (v) {
            int64_t ms;
            if (!parse_duration_ms(str_of(v), &ms)) {
                fprintf(stderr,
                        cmd_text("hune events: --since wants a duration such as 30m, 2h, 7d; found \"%s\"\n",
                                 "hune events : --since attend une durée comme 30m, 2h, 7d ; trouvé « %s »\n"),
                        v);
                return 2;
            }
            buf_fmt(&filter, "&from_ms=%lld", (long long)(clock_now_ms(&clock_real) - ms));
            found = true;
        }
        if (!found && !bad && (v = ask_value("--limit", argc, argv, &i, &bad))) {
            limit = v;
            found = true;
        }
        for (size_t k = 0; k < ARRAY_LEN(names) && !found && !bad; k++)
            if ((v = ask_value(names[k], argc, argv, &i, &bad))) {
                buf_fmt(&filter, "&%s=", names[k] + 2);
                ask_encode(&filter, str_of(v));
                found = true;
            }
        if (!found) {
            if (!bad)
                fprintf(stderr, cmd_text("hune events: unknown option %s\n", "hune events : option inconnue %s\n"),
                        argv[i]);
            return 2;
        }
    }
    uint64_t last = 0;
    for (bool first = true; first || follow; first = false) {
        _cleanup_buf_ struct buf path = BUF_INIT(8192);
        const struct json *o;
        struct str text;
        _cleanup_arena_ struct arena *turn = arena_new(0);
        a.arena = first ? arena : turn;
        if (first)
            buf_fmt(&path, "/events?limit=%s", limit);
        else
            buf_fmt(&path, "/events?limit=1000&ascending=true&after=%llu", (unsigned long long)last);
        buf_str(&path, buf_view(&filter));
        if (ask_server(&a, "GET", buf_view(&path), STR(""), &o, &text))
            return 1;
        if (a.json && !follow) {
            printf(STR_FMT "\n", STR_ARG(text));
            return 0;
        }
        const struct json *v = json_get(o, "events");
        for (size_t i = 0; v && i < v->n; i++) {
            const struct json *e = &v->items[first ? v->n - 1 - i : i];
            last = MAX(last, (uint64_t)json_i64(e, "seq", 0));
            put_event(turn, e);
        }
        fflush(stdout);
        if (follow)
            usleep(500000);
    }
    return 0;
}
