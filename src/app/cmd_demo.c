// SPDX-License-Identifier: Apache-2.0
/* hune demo break|repair api: talks to examples/association/api over loopback. */
#include "app/cmd_int.h"

#include "net/client.h"
#include <stdio.h>

#define DEMO_API "http://127.0.0.1:4870/demo/"

static const struct {
    const char *word, *path, *en, *fr;
} breakdowns[] = {
    {"errors", "erreurs", "six requests of ten fail", "six requêtes sur dix échouent"},
    {"slow", "lenteur", "every answer takes one to two seconds", "chaque réponse prend une à deux secondes"},
    {"crash", "plantage", "the process ends at once", "le processus s'arrête aussitôt"},
};

struct answer {
    bool done;
    int error;
    long status;
};

static void finish(void *ctx, const struct http_response *r)
{
    struct answer *a = ctx;
    *a = (struct answer){.done = true, .error = r->error, .status = r->status};
}

static int tell(const char *path)
{
    _cleanup_buf_ struct buf url = BUF_INIT(200);
    buf_fmt(&url, "%s%s", DEMO_API, path);
    struct http_multi *m = http_multi_new(1);
    struct http_call *call;
    struct answer a = {0};
    struct err e = {0};
    struct http_request q = {.method = "POST", .url = buf_view(&url), .timeout_ms = 5000, .max_body = 65536};
    int r = http_multi_start(m, &q, finish, &a, &call, &e);
    while (r == 0 && !a.done)
        http_multi_poll(m, 100);
    http_multi_free(m);
    if (r || a.error || a.status != 200) {
        fprintf(stderr, "%s\n",
                cmd_text("hune demo: the demonstration does not answer; start it with: make demo",
                         "hune demo : la démonstration ne répond pas ; on la lance avec : make demo"));
        return 1;
    }
    return 0;
}

int cmd_demo(int argc, char **argv)
{
    bool api = argc >= 3 && strcmp(argv[2], "api") == 0;
    if (api && strcmp(argv[1], "repair") == 0 && argc == 3) {
        if (tell("aucune"))
            return 1;
        puts(cmd_text("The API works again: the alert resolves and the anomaly sheet gets its duration.",
                      "L'API fonctionne à nouveau : l'alerte se termine et la fiche d'anomalie reçoit sa durée."));
        return 0;
    }
    for (size_t i = 0; api && strcmp(argv[1], "break") == 0 && argc <= 4 && i < ARRAY_LEN(breakdowns); i++) {
        if (strcmp(argc == 4 ? argv[3] : "errors", breakdowns[i].word) == 0) {
            if (tell(breakdowns[i].path))
                return 1;
            printf("%s: %s.\n%s\n", breakdowns[i].word, cmd_text(breakdowns[i].en, breakdowns[i].fr),
                   cmd_text("Watch the page: alert, notification, anomaly sheet. Then: hune demo repair api",
                            "Regardez la page : alerte, notification, fiche d'anomalie. Puis : hune demo repair api"));
            return 0;
        }
    }
    bool help = argc >= 2 && strcmp(argv[1], "--help") == 0;
    fprintf(help ? stdout : stderr, "%s",
            cmd_text("hune demo break api [errors|slow|crash]   make the demonstration's API fail\n"
                     "hune demo repair api                       make it work again\n"
                     "The demonstration is started with: make demo\n",
                     "hune demo break api [errors|slow|crash]   faire échouer l'API de la démonstration\n"
                     "hune demo repair api                       la réparer\n"
                     "La démonstration se lance avec : make demo\n"));
    return help ? 0 : 2;
}
