// SPDX-License-Identifier: Apache-2.0
/* hune indicators: uptime, MTTD, MTTA, MTTR, MTBF beside their objectives, and the incidents behind them. */
#include "app/ask.h"
#include "app/cmd_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include <stdio.h>

static const char help_en[] =
    "Usage: hune indicators [--service NAME] [--since DURATION] [--json]\n\n"
    "Availability of each service over the last 30 days (or --since 7d, 24h ...):\n\n"
    "  uptime  (T - downtime) / T; T begins no earlier than hune's first event\n"
    "  MTTD    mean time from the beginning of the trouble to its detection\n"
    "  MTTA    from the detection until somebody took it\n"
    "  MTTR    from the beginning until users were well again\n"
    "  MTBF    (T - downtime) / incidents; without incidents: at least T\n\n"
    "An incident is an anomaly with loss `partial` or `total`, or a critical one whose loss nobody filled in.\n"
    "`hune anomaly set ID loss=none` takes one out of the figures.\n";
static const char help_fr[] =
    "Usage : hune indicators [--service NOM] [--since DURÉE] [--json]\n\n"
    "Disponibilité de chaque service sur 30 jours (ou --since 7d, 24h ...) :\n\n"
    "  uptime  (T - indisponibilité) / T ; T ne commence pas avant le premier événement de hune\n"
    "  MTTD    temps moyen du début de l'incident à sa détection\n"
    "  MTTA    de la détection à la prise en charge\n"
    "  MTTR    du début au rétablissement pour les usagers\n"
    "  MTBF    (T - indisponibilité) / incidents ; sans incident : au moins T\n\n"
    "Un incident est une anomalie dont la perte (loss) est `partial` ou `total`, ou critique sans perte renseignée.\n"
    "`hune anomaly set ID loss=none` en retire une des chiffres.\n";

static void put_mean(struct arena *a, const struct json *o, const char *key)
{
    struct str d = ask_duration(a, o, key);
    printf(" %10.*s", STR_ARG(d));
}

static void put_row(struct arena *a, const struct json *o, const char *name)
{
    printf("%-20.20s %9.4f%%", name, json_f64(o, "uptime_ratio", 1) * 100);
    printf(" %9lld", (long long)json_i64(o, "incidents", 0));
    put_mean(a, o, "mttd_ms");
    put_mean(a, o, "mtta_ms");
    put_mean(a, o, "mttr_ms");
    struct str mtbf = ask_duration(a, o, "mtbf_ms");
    printf(" %s%10.*s\n", json_bool(o, "mtbf_at_least", false) ? ">=" : "  ", STR_ARG(mtbf));
}

int cmd_indicators(int argc, char **argv)
{
    _cleanup_arena_ struct arena *arena = arena_new(0);
    struct ask a = {.arena = arena};
    _cleanup_buf_ struct buf path = BUF_INIT(4096);
    buf_z(&path, "/indicators?");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s%s", cmd_text(help_en, help_fr), cmd_text(ask_help_en, ask_help_fr));
            return 0;
        }
        int taken = ask_option(&a, argc, argv, &i);
        if (taken > 0)
            continue;
        bool bad = taken < 0;
        const char *v = bad ? NULL : ask_value("--service", argc, argv, &i, &bad);
        if (v) {
            buf_z(&path, "service=");
            ask_encode(&path, str_of(v));
            buf_putc(&path, '&');
            continue;
        }
        int64_t ms = 0;
        v = bad ? NULL : ask_value("--since", argc, argv, &i, &bad);
        if (v && parse_duration_ms(str_of(v), &ms) && ms > 0) {
            buf_fmt(&path, "from_ms=%lld&", (long long)(clock_now_ms(&clock_real) - ms));
            continue;
        }
        if (v)
            fprintf(stderr,
                    cmd_text("hune indicators: --since wants a duration such as 24h, 7d; found \"%s\"\n",
                             "hune indicators : --since attend une durée comme 24h, 7d ; trouvé « %s »\n"),
                    v);
        else if (!bad)
            fprintf(stderr, cmd_text("hune indicators: unknown option %s\n", "hune indicators : option inconnue %s\n"),
                    argv[i]);
        return 2;
    }
    const struct json *o;
    struct str text;
    if (ask_server(&a, "GET", buf_view(&path), STR(""), &o, &text))
        return 1;
    if (a.json) {
        printf(STR_FMT "\n", STR_ARG(text));
        return 0;
    }
    const struct json *all = json_get(o, "overall"), *v = json_get(o, "services"), *goal = json_get(o, "objectives");
    printf("%-20s %10s %9s %10s %10s %10s   %10s\n", "SERVICE", "UPTIME", "INCIDENTS", "MTTD", "MTTA", "MTTR", "MTBF");
    for (size_t i = 0; v && i < v->n; i++) {
        char *name = arena_strz(arena, json_str(&v->items[i], "service", STR("")));
        put_row(arena, &v->items[i], name);
    }
    put_row(arena, all,
            v && v->n ? cmd_text("all together", "tous ensemble")
                      : arena_strz(arena, json_str(all, "service", STR("-"))));
    printf("%-20s %9.4f%% %9s", cmd_text("objective", "objectif"), json_f64(goal, "uptime_ratio", 0) * 100, "");
    put_mean(arena, goal, "detection_ms");
    printf(" %10s", "");
    put_mean(arena, goal, "recovery_ms");
    struct str mtbf = ask_duration(arena, goal, "mtbf_ms");
    printf(" >=%10.*s\n", STR_ARG(mtbf));
    const struct json *list = json_get(all, "list");
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *x = &list->items[i];
        struct str id = json_str(x, "id", STR("")), when = ask_time(arena, x, "started_ms"),
                   down = ask_duration(arena, x, "down_ms");
        struct str service = json_str(x, "service", STR(""));
        printf("%s%-17.*s  " STR_FMT "  %9.*s  " STR_FMT "%s\n", i ? "" : "\n", STR_ARG(id), STR_ARG(when),
               STR_ARG(down), STR_ARG(service),
               json_bool(x, "ongoing", false) ? cmd_text("  (goes on)", "  (en cours)") : "");
    }
    return 0;
}
