// SPDX-License-Identifier: Apache-2.0
/* hune anomaly: the sheets of the running server. */
#include "app/ask.h"
#include "app/cmd_int.h"

#include "base/mem.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "base/vec.h"
#include <stdio.h>

static const char help_en[] =
    "Usage: hune anomaly list [--status S] [--severity S] [--service NAME] [--all] [--limit N]\n"
    "       hune anomaly show ID\n"
    "       hune anomaly open TITLE [--severity S] [--service NAME] [FIELD=VALUE ...]\n"
    "       hune anomaly note ID TEXT\n"
    "       hune anomaly set ID FIELD=VALUE ...\n"
    "       hune anomaly assign ID NAME\n"
    "       hune anomaly resolve ID [--cause TEXT] [--fix TEXT] [TEXT]\n"
    "       hune anomaly close ID [TEXT]\n"
    "       hune anomaly reopen ID [TEXT]\n\n"
    "An anomaly sheet records what went wrong, who did what and when, the cause and the fix. Sheets open by\n"
    "themselves when a critical or warning alert fires and resolve when it ends; people open the others.\n"
    "The way of a sheet: open -> in_progress (somebody took it) -> resolved -> closed. ID is ANO-YYYYMMDD-NNN,\n"
    "or its end (003, 20250816-003) where that is enough to know it among the newest.\n\n"
    "  list             those not yet resolved; --all: every one\n"
    "  --severity S     critical, warning or info: this and worse\n"
    "  FIELD=VALUE      title, severity, priority (P1..P5), category, environment, loss (none, partial, total),\n"
    "                   description, symptoms, impact, root_cause, contributing, fix, fix_ref, checks, lessons,\n"
    "                   version, cost, users_affected, started_ms ...; FIELD:=JSON for lists: "
    "actions:='[{\"text\":\"...\"}]'\n";
static const char examples_en[] =
    "\nExamples:\n"
    "  hune anomaly list\n"
    "  hune anomaly open \"Sign-up form fails\" --severity critical --service web detection=user_report\n"
    "  hune anomaly assign ANO-20250816-003 anna\n"
    "  hune anomaly resolve ANO-20250816-003 --cause \"innerHTML with user input\" --fix \"createElement\"\n"
    "  hune anomaly set ANO-20250816-003 actions:='[{\"text\":\"train the "
    "team\",\"owner\":\"anna\",\"due\":\"2025-09-01\"}]'\n";
static const char help_fr[] =
    "Usage : hune anomaly list [--status S] [--severity S] [--service NOM] [--all] [--limit N]\n"
    "        hune anomaly show ID\n"
    "        hune anomaly open TITRE [--severity S] [--service NOM] [CHAMP=VALEUR ...]\n"
    "        hune anomaly note ID TEXTE\n"
    "        hune anomaly set ID CHAMP=VALEUR ...\n"
    "        hune anomaly assign ID NOM\n"
    "        hune anomaly resolve ID [--cause TEXTE] [--fix TEXTE] [TEXTE]\n"
    "        hune anomaly close ID [TEXTE]\n"
    "        hune anomaly reopen ID [TEXTE]\n\n"
    "Une fiche d'anomalie dit ce qui s'est mal passé, qui a fait quoi et quand, la cause et la correction. Les fiches\n"
    "s'ouvrent d'elles-mêmes quand une alerte critique ou un avertissement se déclenche et se résolvent quand elle\n"
    "se termine ; les personnes ouvrent les autres. Parcours : open -> in_progress (quelqu'un la prend) -> resolved "
    "->\n"
    "closed. ID est ANO-AAAAMMJJ-NNN, ou sa fin (003, 20250816-003) si elle suffit parmi les plus récentes.\n\n"
    "  list             celles qui ne sont pas résolues ; --all : toutes\n"
    "  --severity S     critical, warning ou info : celle-ci et pire\n"
    "  CHAMP=VALEUR     title, severity, priority (P1..P5), category, environment, loss (none, partial, total),\n"
    "                   description, symptoms, impact, root_cause, contributing, fix, fix_ref, checks, lessons,\n"
    "                   version, cost, users_affected, started_ms ... ; CHAMP:=JSON pour les listes\n";
static const char examples_fr[] =
    "\nExemples :\n"
    "  hune anomaly list\n"
    "  hune anomaly open \"Le formulaire plante\" --severity critical --service web detection=user_report\n"
    "  hune anomaly assign ANO-20250816-003 anna\n"
    "  hune anomaly resolve ANO-20250816-003 --cause \"innerHTML avec une saisie\" --fix \"createElement\"\n";

struct word {
    const char *id, *en, *fr;
};
static const struct word words[] = {
    {"open", "open", "ouverte"},   {"in_progress", "in progress", "en cours"}, {"resolved", "resolved", "résolue"},
    {"closed", "closed", "close"}, {"critical", "critical", "critique"},       {"warning", "warning", "avert."},
    {"info", "info", "info"},
};

static const char *word_of(struct str id)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eqz(id, words[i].id))
            return cmd_text(words[i].en, words[i].fr);
    return "-";
}

/* Text from sheets may hold anything: no control character reaches the terminal. */
static void put_text(struct str s, size_t width)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    utf8_scrub(&b, s);
    size_t columns = 0, i = 0;
    struct str clean = buf_view(&b);
    while (i < clean.n) {
        uint32_t cp;
        size_t n = utf8_decode(str_sub(clean, i, clean.n), &cp);
        if (!n)
            break;
        struct str one = str_make(clean.p + i, n);
        size_t w = utf8_width(one);
        if (width && columns + w > width)
            break;
        if (cp >= 0x20 && !(cp >= 0x7f && cp < 0xa0))
            fwrite(one.p, 1, n, stdout);
        else if (cp == '\n' && !width)
            fputs("\n    ", stdout);
        else
            putchar(' ');
        columns += w;
        i += n;
    }
    for (; columns < width; columns++)
        putchar(' ');
}

static int usage_error(const char *en, const char *fr)
{
    fprintf(stderr, "%s\n%s\n", cmd_text(en, fr),
            cmd_text("hune anomaly --help tells more.", "hune anomaly --help en dit plus."));
    return 2;
}

static int list(struct ask *a, int argc, char **argv)
{
    _cleanup_buf_ struct buf path = BUF_INIT(8192);
    buf_z(&path, "/anomalies?");
    bool all = false;
    for (int i = 2; i < argc; i++) {
        static const char *const names[] = {"--status", "--severity", "--service",    "--limit",
                                            "--q",      "--category", "--environment"};
        int taken = ask_option(a, argc, argv, &i);
        if (taken < 0)
            return 2;
        if (taken)
            continue;
        if (strcmp(argv[i], "--all") == 0) {
            all = true;
            continue;
        }
        bool bad = false, found = false;
        for (size_t k = 0; k < ARRAY_LEN(names) && !found; k++) {
            const char *v = ask_value(names[k], argc, argv, &i, &bad);
            if (bad)
                return 2;
            if (v) {
                buf_fmt(&path, "%s=", names[k] + 2);
                ask_encode(&path, str_of(v));
                buf_putc(&path, '&');
                all |= k == 0;
                found = true;
            }
        }
        if (!found)
            return usage_error("hune anomaly list: wants options only", "hune anomaly list : n'attend que des options");
    }
    buf_z(&path, all ? "" : "closed=false");
    const struct json *o;
    struct str text;
    if (ask_server(a, "GET", buf_view(&path), STR(""), &o, &text))
        return 1;
    if (a->json) {
        printf(STR_FMT "\n", STR_ARG(text));
        return 0;
    }
    const struct json *v = json_get(o, "anomalies");
    if (!v || !v->n) {
        puts(all ? cmd_text("No anomaly.", "Aucune anomalie.")
                 : cmd_text("No anomaly is waiting. (--all shows the resolved ones)",
                            "Aucune anomalie en attente. (--all montre les résolues)"));
        return 0;
    }
    static const struct {
        const char *en, *fr;
        size_t width;
    } heads[] = {{"ID", "ID", 17},           {"SEVERITY", "GRAVITÉ", 9},   {"STATUS", "ÉTAT", 12},
                 {"SERVICE", "SERVICE", 12}, {"DETECTED", "DÉTECTÉE", 19}, {"TITLE", "TITRE", 0}};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        put_text(str_of(cmd_text(heads[i].en, heads[i].fr)), heads[i].width);
        putchar(i + 1 < ARRAY_LEN(heads) ? ' ' : '\n');
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct json *x = &v->items[i];
        put_text(json_str(x, "id", STR("")), 17);
        putchar(' ');
        put_text(str_of(word_of(json_str(x, "severity", STR("")))), 9);
        putchar(' ');
        put_text(str_of(word_of(json_str(x, "status", STR("")))), 12);
        putchar(' ');
        put_text(json_str(x, "service", STR("")), 12);
        struct str when = ask_time(a->arena, x, "detected_ms");
        printf(" %-19.*s ", STR_ARG(when));
        put_text(json_str(x, "title", STR("")), 0);
        putchar('\n');
    }
    int64_t total = json_i64(o, "total", 0);
    if (total > (int64_t)v->n)
        printf(cmd_text("%lld of %lld; --limit N shows more\n", "%lld sur %lld ; --limit N en montre plus\n"),
               (long long)v->n, (long long)total);
    return 0;
}

static void show(struct ask *a, const struct json *o)
{
    static const struct {
        const char *key, *en, *fr;
    } rows[] = {
        {"service", "Service", "Service"},
        {"environment", "Environment", "Environnement"},
        {"category", "Category", "Catégorie"},
        {"priority", "Priority", "Priorité"},
        {"detection", "Detection", "Détection"},
        {"detected_by", "Detected by", "Détectée par"},
        {"assignee", "Assignee", "Responsable"},
        {"version", "Version", "Version"},
        {"expr", "Expression", "Expression"},
        {"loss", "Loss for users", "Perte pour les usagers"},
        {"description", "Description", "Description"},
        {"symptoms", "Symptoms", "Symptômes"},
        {"impact", "Impact", "Impact"},
        {"root_cause", "Root cause", "Cause racine"},
        {"contributing", "Contributing factors", "Facteurs contributifs"},
        {"fix", "Fix", "Correction"},
        {"fix_ref", "Commit or release", "Commit ou version"},
        {"checks", "Checks", "Vérifications"},
        {"lessons", "Lessons", "Leçons"},
        {"cost", "Cost", "Coût"},
    };
    static const struct {
        const char *key, *en, *fr;
    } phases[] = {
        {"detection_ms", "detection", "détection"},
        {"decision_ms", "decision", "décision"},
        {"stabilisation_ms", "stabilisation", "stabilisation"},
        {"resolution_ms", "resolution", "résolution"},
        {"total_ms", "detected to resolved", "de la détection à la résolution"},
    };
    put_text(json_str(o, "id", STR("")), 0);
    fputs("  ", stdout);
    put_text(json_str(o, "title", STR("")), 0);
    printf("\n%s, %s", word_of(json_str(o, "severity", STR(""))), word_of(json_str(o, "status", STR(""))));
    struct str since = ask_time(a->arena, o, "started_ms"), till = ask_time(a->arena, o, "resolved_ms");
    printf(cmd_text(", since " STR_FMT, ", depuis " STR_FMT), STR_ARG(since));
    if (!str_eqz(till, "-"))
        printf(cmd_text(", until " STR_FMT, ", jusqu'à " STR_FMT), STR_ARG(till));
    fputs("\n\n", stdout);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str v = json_str(o, rows[i].key, STR(""));
        if (!v.n)
            continue;
        printf("  %s: ", cmd_text(rows[i].en, rows[i].fr));
        put_text(v, 0);
        putchar('\n');
    }
    const struct json *ph = json_get(o, "phases");
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        struct str d = ask_duration(a->arena, ph, phases[i].key);
        if (str_eqz(d, "-"))
            continue;
        printf("%s%s " STR_FMT, any ? ", " : cmd_text("  Phases: ", "  Phases : "),
               cmd_text(phases[i].en, phases[i].fr), STR_ARG(d));
        any = true;
    }
    if (any)
        putchar('\n');
    const struct json *actions = json_get(o, "actions");
    for (size_t i = 0; actions && i < actions->n; i++) {
        const struct json *x = &actions->items[i];
        struct str st = json_str(x, "status", STR("todo"));
        printf("  [%s] ", str_eqz(st, "done") ? "x" : " ");
        put_text(json_str(x, "text", STR("")), 0);
        fputs("  ", stdout);
        put_text(json_str(x, "owner", STR("")), 0);
        putchar(' ');
        put_text(json_str(x, "due", STR("")), 0);
        putchar('\n');
    }
    const struct json *lines = json_get(o, "timeline");
    printf("\n%s\n", cmd_text("Timeline", "Chronologie"));
    for (size_t i = 0; lines && i < lines->n; i++) {
        const struct json *x = &lines->items[i];
        struct str when = ask_time(a->arena, x, "t_ms"), text = json_str(x, "text", STR(""));
        printf("  " STR_FMT "  ", STR_ARG(when));
        put_text(json_str(x, "actor", STR("")), 12);
        putchar(' ');
        put_text(text.n ? text : json_str(x, "summary", STR("")), 0);
        putchar('\n');
    }
}

/* "003" or "20250816-003" to the newest sheet that ends so; anything that looks whole goes through as it is. */
static int find_id(struct ask *a, const char *given, struct str *ret)
{
    struct str s = str_of(given);
    if (str_starts(s, STR("ANO"))) {
        *ret = s;
        return 0;
    }
    const struct json *o;
    if (ask_server(a, "GET", STR("/anomalies?limit=1000"), STR(""), &o, NULL))
        return 1;
    const struct json *v = json_get(o, "anomalies");
    for (size_t i = 0; v && s.n >= 3 && i < v->n; i++) {
        struct str id = json_str(&v->items[i], "id", STR(""));
        if (str_ends(id, s) && id.n > s.n && id.p[id.n - s.n - 1] == '-') {
            *ret = id;
            return 0;
        }
    }
    fprintf(stderr,
            cmd_text("hune: no anomaly ends with \"%s\"; `hune anomaly list --all` shows them\n",
                     "hune : aucune anomalie ne finit par « %s » ; `hune anomaly list --all` les montre\n"),
            given);
    return 1;
}

/* FIELD=VALUE as a string (whole numbers for *_ms and users_affected), FIELD:=JSON as it is. */
static bool put_assignment(struct jw *w, struct arena *arena, struct str arg)
{
    struct str key, value;
    if (!str_cut(arg, '=', &key, &value) || !key.n)
        return false;
    int64_t n;
    if (key.p[key.n - 1] == ':') {
        const struct json *o;
        struct err e = {0};
        if (json_parse(value, arena, &o, &e) != 0) {
            fprintf(stderr, STR_FMT " %s\n", STR_ARG(key), e.msg);
            return false;
        }
        jw_key_str(w, str_sub(key, 0, key.n - 1));
        jw_raw(w, value);
    } else if ((str_ends(key, STR("_ms")) || str_eqz(key, "users_affected")) && parse_i64(value, &n)) {
        jw_key_str(w, key);
        jw_i64(w, n);
    } else {
        jw_key_str(w, key);
        jw_str(w, value);
    }
    return true;
}

enum verb { V_SHOW, V_OPEN, V_NOTE, V_SET, V_ASSIGN, V_RESOLVE, V_CLOSE, V_REOPEN };

struct args {
    VEC(struct str) plain;  /* without options */
    VEC(struct str) fields; /* FIELD=VALUE of options and arguments */
};

static int read_args(struct ask *a, enum verb verb, int argc, char **argv, struct args *ret)
{
    static const struct {
        const char *name, *field;
        unsigned verbs;
    } options[] = {
        {"--severity", "severity", 1u << V_OPEN},
        {"--service", "service", 1u << V_OPEN | 1u << V_SET},
        {"--description", "description", 1u << V_OPEN},
        {"--cause", "root_cause", 1u << V_RESOLVE},
        {"--fix", "fix", 1u << V_RESOLVE},
        {"--fix-ref", "fix_ref", 1u << V_RESOLVE},
    };
    for (int i = 2; i < argc; i++) {
        int taken = ask_option(a, argc, argv, &i);
        if (taken < 0)
            return 2;
        if (taken)
            continue;
        bool found = false, bad = false;
        for (size_t k = 0; k < ARRAY_LEN(options) && !found; k++) {
            const char *v = options[k].verbs & (1u << verb) ? ask_value(options[k].name, argc, argv, &i, &bad) : NULL;
            if (bad)
                return 2;
            if (v) {
                vec_push(&ret->fields, arena_fmt(a->arena, "%s=%s", options[k].field, v));
                found = true;
            }
        }
        if (found)
            continue;
        struct str arg = str_of(argv[i]);
        if (str_starts(arg, STR("--"))) {
            fprintf(stderr, cmd_text("hune anomaly %s: unknown option %s\n", "hune anomaly %s : option inconnue %s\n"),
                    argv[1], argv[i]);
            return 2;
        }
        bool assigns = (verb == V_SET && ret->plain.n >= 1) || (verb == V_OPEN && ret->plain.n >= 1);
        if (assigns && str_chr(arg, '=') > 0)
            vec_push(&ret->fields, arg);
        else
            vec_push(&ret->plain, arg);
    }
    return 0;
}

static int act_with(struct ask *a, enum verb verb, struct args *args)
{
    static const char *const moves[] = {[V_RESOLVE] = "resolve", [V_CLOSE] = "close", [V_REOPEN] = "reopen"};
    size_t most = verb == V_SHOW || verb == V_OPEN || verb == V_SET ? 1 : 2,
           least = verb == V_NOTE || verb == V_ASSIGN ? 2 : 1;
    if (args->plain.n < least || args->plain.n > most || (verb == V_SET && !args->fields.n))
        return usage_error(
            "hune anomaly: wrong number of arguments (texts with blanks want quotes)",
            "hune anomaly : nombre d'arguments incorrect (un texte avec des espaces se met entre guillemets)");
    _cleanup_buf_ struct buf body = BUF_INIT(4 << 20), path = BUF_INIT(1024);
    struct jw w;
    jw_init(&w, &body);
    jw_obj(&w);
    for (size_t i = 0; i < args->fields.n; i++)
        if (!put_assignment(&w, a->arena, args->fields.v[i]))
            return usage_error("hune anomaly: wants FIELD=VALUE or FIELD:=JSON",
                               "hune anomaly : attend CHAMP=VALEUR ou CHAMP:=JSON");
    struct str id = STR("");
    if (verb == V_OPEN) {
        jw_kstr(&w, "title", args->plain.v[0]);
    } else if (find_id(a, args->plain.v[0].p, &id)) {
        return 1;
    }
    if (args->plain.n > 1)
        jw_kstr(&w, verb == V_ASSIGN ? "assignee" : "text", args->plain.v[1]);
    jw_end(&w);
    buf_z(&path, "/anomalies");
    if (id.n) {
        buf_putc(&path, '/');
        ask_encode(&path, id);
    }
    if (verb == V_NOTE)
        buf_z(&path, "/notes");
    else if (verb >= V_RESOLVE)
        buf_fmt(&path, "/%s", moves[verb]);
    const char *method = verb == V_SHOW ? "GET" : verb == V_SET || verb == V_ASSIGN ? "PATCH" : "POST";
    const struct json *o;
    struct str text;
    if (ask_server(a, method, buf_view(&path), verb == V_SHOW ? STR("") : buf_view(&body), &o, &text))
        return 1;
    if (a->json) {
        printf(STR_FMT "\n", STR_ARG(text));
    } else if (verb == V_SHOW) {
        show(a, o);
    } else {
        struct str now = json_str(o, "id", STR(""));
        printf(STR_FMT ": %s\n", STR_ARG(now), word_of(json_str(o, "status", STR(""))));
    }
    return 0;
}

static int act(struct ask *a, enum verb verb, int argc, char **argv)
{
    struct args args = {0};
    int r = read_args(a, verb, argc, argv, &args);
    if (r == 0)
        r = act_with(a, verb, &args);
    vec_done(&args.plain);
    vec_done(&args.fields);
    return r;
}

int cmd_anomaly(int argc, char **argv)
{
    static const char *const verbs[] = {"show", "open", "note", "set", "assign", "resolve", "close", "reopen", "list"};
    bool help = argc < 2;
    for (int i = 1; i < argc; i++)
        help |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    if (help) {
        FILE *f = argc < 2 ? stderr : stdout;
        fprintf(f, "%s%s%s", cmd_text(help_en, help_fr), cmd_text(ask_help_en, ask_help_fr),
                cmd_text(examples_en, examples_fr));
        return argc < 2 ? 2 : 0;
    }
    _cleanup_arena_ struct arena *arena = arena_new(0);
    struct ask a = {.arena = arena};
    if (strcmp(argv[1], "list") == 0 || strcmp(argv[1], "ls") == 0)
        return list(&a, argc, argv);
    for (size_t i = 0; i < ARRAY_LEN(verbs) - 1; i++)
        if (strcmp(argv[1], verbs[i]) == 0)
            return act(&a, (enum verb)i, argc, argv);
    const char *near = str_nearest(str_of(argv[1]), verbs, ARRAY_LEN(verbs));
    fprintf(stderr, cmd_text("hune anomaly: unknown word \"%s\"%s%s\n", "hune anomaly : mot inconnu « %s »%s%s\n"),
            argv[1], near ? cmd_text(", did you mean ", ", vouliez-vous dire ") : "", near ? near : "");
    return 2;
}
