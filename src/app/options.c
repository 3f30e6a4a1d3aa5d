// SPDX-License-Identifier: Apache-2.0
#include "app/options.h"

#include "base/format.h"
#include "base/parse.h"
#include "base/vec.h"

enum option_type {
    OPT_STR,
    OPT_BOOL,     /* --flag, --no-flag, --flag=true */
    OPT_DURATION, /* milliseconds */
    OPT_BYTES,
    OPT_INT,
    OPT_LISTEN, /* repeatable */
    OPT_NOTE,   /* Prometheus' flag without an effect here: a word with a value */
    OPT_NOTE_BOOL,
};

struct option_row {
    const char *name;
    enum option_type type;
    size_t offset;
    const char *dflt;    /* text, NULL = none */
    const char *allowed; /* words separated by '|', NULL = free */
    int64_t min, max;    /* numbers; both 0 = no bounds */
    const char *en, *fr; /* for OPT_NOTE: why it changes nothing (en only) */
};

#define AT(field) offsetof(struct options, field)
#define NOTE(n, why)                                                                                                   \
    {                                                                                                                  \
        .name = (n), .type = OPT_NOTE, .en = (why)                                                                     \
    }
#define NOTE_BOOL(n, why)                                                                                              \
    {                                                                                                                  \
        .name = (n), .type = OPT_NOTE_BOOL, .en = (why)                                                                \
    }

static const struct option_row rows[] = {
    {"config.file", OPT_STR, AT(config_file), NULL, NULL, 0, 0,
     "prometheus.yml or hune.yml; without it everything is on by itself",
     "prometheus.yml ou hune.yml ; sans lui, tout est actif de soi-même"},
    {"alertmanager.config.file", OPT_STR, AT(alertmanager_file), NULL, NULL, 0, 0,
     "alertmanager.yml: who is told of alerts", "alertmanager.yml : qui est prévenu des alertes"},
    {"data.dir", OPT_STR, AT(data_dir), NULL, NULL, 0, 0, "where everything is kept; else $HUNE_DATA_DIR, else ~/.hune",
     "où tout est gardé ; sinon $HUNE_DATA_DIR, sinon ~/.hune"},
    {"web.listen-address", OPT_LISTEN, AT(listen), "127.0.0.1:4863", NULL, 0, 0,
     "address of the page and the API; may be repeated", "adresse de la page et de l'API ; répétable"},
    {"web.external-url", OPT_STR, AT(external_url), NULL, NULL, 0, 0,
     "URL under which people reach this server (for links)", "URL par laquelle on atteint ce serveur (pour les liens)"},
    {"web.route-prefix", OPT_STR, AT(route_prefix), NULL, NULL, 0, 0,
     "path in front of every route; default: the path of --web.external-url",
     "chemin devant chaque route ; par défaut celui de --web.external-url"},
    {"web.config.file", OPT_STR, AT(web_config_file), NULL, NULL, 0, 0,
     "TLS, headers and users of the listener (Prometheus' web configuration)",
     "TLS, en-têtes et utilisateurs (configuration web de Prometheus)"},
    {"web.cors.origin", OPT_STR, AT(cors_origin), NULL, NULL, 0, 0,
     "regular expression of origins that may read the API from a browser; none by default",
     "expression des origines autorisées à lire l'API ; aucune par défaut"},
    {"web.enable-lifecycle", OPT_BOOL, AT(enable_lifecycle), "false", NULL, 0, 0,
     "POST /-/reload and /-/quit without a credential", "POST /-/reload et /-/quit sans authentification"},
    {"web.enable-admin-api", OPT_BOOL, AT(enable_admin_api), "false", NULL, 0, 0,
     "deleting series and snapshots over the API", "suppression de séries et copies par l'API"},
    {"web.enable-remote-write-receiver", OPT_BOOL, AT(enable_remote_write), "false", NULL, 0, 0,
     "accept remote write at /api/v1/write", "accepter remote write sur /api/v1/write"},
    {"web.max-connections", OPT_INT, AT(max_connections), "512", NULL, 8, 65536, "simultaneous connections",
     "connexions simultanées"},
    {"web.read-timeout", OPT_DURATION, AT(read_timeout_ms), "5m", NULL, 5000, 3600000,
     "an idle connection is closed after this time", "une connexion inactive est fermée après ce délai"},
    {"storage.tsdb.path", OPT_STR, AT(tsdb_path), NULL, NULL, 0, 0,
     "without --data.dir: keep everything in this folder", "sans --data.dir : tout garder dans ce dossier"},
    {"storage.tsdb.retention.time", OPT_DURATION, AT(retention_ms), NULL, NULL, 1000, 0,
     "how long samples are kept (15d)", "durée de conservation des mesures (15d)"},
    {"storage.tsdb.retention.size", OPT_BYTES, AT(retention_bytes), NULL, NULL, 1, 0, "how much disk samples may use",
     "place que les mesures peuvent prendre"},
    {"storage.tsdb.sync", OPT_STR, AT(sync), "1s", "1s|always|off", 0, 0,
     "against a power cut: at most the last second, nothing, or no promise",
     "coupure de courant : au plus la dernière seconde, rien, ou sans garantie"},
    {"query.lookback-delta", OPT_DURATION, AT(query_lookback_ms), "5m", NULL, 1, 0,
     "how far back an instant selector looks", "jusqu'où remonte un sélecteur instantané"},
    {"query.timeout", OPT_DURATION, AT(query_timeout_ms), "2m", NULL, 1, 0, "a query is ended after this time",
     "une requête est arrêtée après ce délai"},
    {"query.max-concurrency", OPT_INT, AT(query_max_concurrency), "20", NULL, 1, 10000, "queries at the same time",
     "requêtes simultanées"},
    {"query.max-samples", OPT_INT, AT(query_max_samples), "50000000", NULL, 1, 0, "samples one query may hold",
     "mesures qu'une requête peut tenir"},
    {"rules.alert.for-outage-tolerance", OPT_DURATION, AT(outage_tolerance_ms), "1h", NULL, 0, 0,
     "longest outage after which pending alerts are restored",
     "plus longue panne après laquelle les alertes en attente sont rétablies"},
    {"rules.alert.for-grace-period", OPT_DURATION, AT(grace_period_ms), "10m", NULL, 0, 0,
     "restored alerts wait at least this long", "attente minimale d'une alerte rétablie"},
    {"rules.alert.resend-delay", OPT_DURATION, AT(resend_delay_ms), "1m", NULL, 0, 0,
     "how often a firing alert is sent again", "fréquence de rappel d'une alerte active"},
    {"alertmanager.notification-queue-capacity", OPT_INT, AT(notify_queue), "10000", NULL, 10, 1000000,
     "alerts waiting for outside Alertmanagers", "alertes en attente des Alertmanager extérieurs"},
    {"language", OPT_STR, AT(language), "en", "en|fr", 0, 0, "language of default messages to people",
     "langue des messages par défaut"},
    {"log.level", OPT_STR, AT(log_level), "info", "debug|info|warn|error", 0, 0, "least severity that is logged",
     "gravité minimale journalisée"},
    {"log.format", OPT_STR, AT(log_format), "logfmt", "logfmt|json", 0, 0, "form of log lines",
     "forme des lignes du journal"},
    {"help", OPT_BOOL, AT(help), "false", NULL, 0, 0, "this text", "ce texte"},
    {"version", OPT_BOOL, AT(version), "false", NULL, 0, 0, "version", "version"},
    NOTE("enable-feature", "every feature of Prometheus that hune knows is on"),
    NOTE("web.page-title", "the page is hune's own"),
    NOTE("storage.tsdb.min-block-duration", "block sizes are chosen by the engine"),
    NOTE("storage.tsdb.max-block-duration", "block sizes are chosen by the engine"),
    NOTE("storage.tsdb.wal-segment-size", "the log's segments are sized by the engine"),
    NOTE("storage.tsdb.head-chunks-write-queue-size", "there is no such queue here"),
    NOTE("storage.tsdb.wal-compression-type", "the log is compact as it is"),
    NOTE("storage.tsdb.delay-compact-file.path", "nothing waits for such a file here"),
    NOTE("storage.remote.flush-deadline", "remote write as a client comes in a later version"),
    NOTE("storage.remote.read-sample-limit", "remote read comes in a later version"),
    NOTE("storage.remote.read-concurrent-limit", "remote read comes in a later version"),
    NOTE("storage.remote.read-max-bytes-in-frame", "remote read comes in a later version"),
    NOTE("config.auto-reload-interval", "reload with SIGHUP or POST /-/reload"),
    NOTE("web.max-notifications-subscribers", "limit sse_clients bounds event streams"),
    NOTE("web.user-assets", "the page is in the binary"),
    NOTE("web.console.templates", "console templates are not part of hune"),
    NOTE("web.console.libraries", "console templates are not part of hune"),
    NOTE("web.remote-write-receiver.accepted-protobuf-messages", "every message the receiver knows is accepted"),
    NOTE("rules.max-concurrent-evals", "groups are evaluated one after another on one thread"),
    NOTE("alertmanager.notification-batch-size", "batches follow the queue"),
    NOTE("auto-gomemlimit.ratio", "there is no garbage collector here"),
    NOTE_BOOL("auto-gomemlimit", "there is no garbage collector here"),
    NOTE_BOOL("auto-gomaxprocs", "threads are few and fixed"),
    NOTE_BOOL("storage.tsdb.no-lockfile", "the folder is always locked"),
    NOTE_BOOL("storage.tsdb.wal-compression", "the log is compact as it is"),
    NOTE_BOOL("storage.tsdb.allow-overlapping-blocks", "samples of any order are accepted already"),
    NOTE_BOOL("alertmanager.drain-notification-queue-on-shutdown", "the notifier inside keeps its state on disk"),
    NOTE_BOOL("web.enable-otlp-receiver", "OTLP comes in a later version"),
    NOTE_BOOL("config.auto-reload", "reload with SIGHUP or POST /-/reload"),
    NOTE_BOOL("agent", "agent mode comes in a later version; this runs as a full server"),
};

static void *field(struct options *o, const struct option_row *row)
{
    return (char *)o + row->offset;
}

static bool is_bool(const struct option_row *row)
{
    return row->type == OPT_BOOL || row->type == OPT_NOTE_BOOL;
}

static bool allowed(const char *words, struct str value)
{
    struct str rest = str_of(words), word;
    while (rest.n) {
        str_cut(rest, '|', &word, &rest);
        if (str_eq(word, value))
            return true;
    }
    return false;
}

static int bad_value(const struct option_row *row, struct str v, const char *want, struct err *e)
{
    err_set(e, "--%s: \"" STR_FMT "\" is not %s", row->name, STR_ARG(v), want);
    return -EINVAL;
}

static int set_number(const struct option_row *row, struct options *o, struct str v, struct err *e)
{
    int64_t n = 0;
    uint64_t u = 0;
    if (row->type == OPT_DURATION && !parse_duration_ms(v, &n))
        return bad_value(row, v, "a duration such as 15s, 2h or 15d", e);
    if (row->type == OPT_BYTES && (!parse_bytes(v, &u) || u > INT64_MAX))
        return bad_value(row, v, "a size such as 512MB or 10GB", e);
    if (row->type == OPT_INT && !parse_i64(v, &n))
        return bad_value(row, v, "a whole number", e);
    if (row->type == OPT_BYTES)
        n = (int64_t)u;
    if (n < row->min || (row->max && n > row->max)) {
        err_set(e, "--%s: \"" STR_FMT "\" is outside the allowed %lld to %lld%s", row->name, STR_ARG(v),
                (long long)row->min, (long long)(row->max ? row->max : INT64_MAX),
                row->type == OPT_DURATION ? " ms" : "");
        return -EINVAL;
    }
    *(int64_t *)field(o, row) = n;
    return 0;
}

static int set_value(const struct option_row *row, struct options *o, struct str v, struct buf *notes, struct err *e)
{
    switch (row->type) {
    case OPT_STR:
        if (row->allowed && !allowed(row->allowed, v)) {
            err_set(e, "--%s: \"" STR_FMT "\" is none of %s", row->name, STR_ARG(v), row->allowed);
            return -EINVAL;
        }
        *(struct str *)field(o, row) = v;
        return 0;
    case OPT_BOOL:
        return parse_bool(v, field(o, row)) ? 0 : bad_value(row, v, "true or false", e);
    case OPT_DURATION:
    case OPT_BYTES:
    case OPT_INT:
        return set_number(row, o, v, e);
    case OPT_LISTEN:
        if (o->n_listen == OPTION_LISTEN_MAX) {
            err_set(e, "--%s: at most %d addresses", row->name, OPTION_LISTEN_MAX);
            return -EINVAL;
        }
        o->listen[o->n_listen++] = v;
        return 0;
    case OPT_NOTE:
    case OPT_NOTE_BOOL:
        if (notes)
            buf_fmt(notes, "--%s has no effect: %s\n", row->name, row->en);
        return 0;
    }
    return 0;
}

static const struct option_row *find_row(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eqz(name, rows[i].name))
            return &rows[i];
    return NULL;
}

static int unknown(struct str name, struct err *e)
{
    const char *names[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        names[i] = rows[i].name;
    const char *near = str_nearest(name, names, ARRAY_LEN(rows));
    if (near)
        err_set(e, "unknown flag --" STR_FMT ", did you mean --%s?", STR_ARG(name), near);
    else
        err_set(e, "unknown flag --" STR_FMT " (--help lists them)", STR_ARG(name));
    return -EINVAL;
}

int options_parse(int argc, char **argv, struct options *o, struct buf *notes, struct err *e)
{
    *o = (struct options){0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].dflt && rows[i].type != OPT_LISTEN && set_value(&rows[i], o, str_of(rows[i].dflt), NULL, e))
            BUG("default of --%s: %s", rows[i].name, e->msg);
    for (int i = 1; i < argc; i++) {
        struct str arg = str_of(argv[i]), name, value;
        if (!str_starts(arg, STR("-")) || arg.n < 2) {
            err_set(e, "unexpected argument \"%s\": flags begin with --", argv[i]);
            return -EINVAL;
        }
        arg = str_sub(arg, str_starts(arg, STR("--")) ? 2 : 1, arg.n);
        if (str_eq(arg, STR("h")))
            arg = STR("help");
        bool has_value = str_cut(arg, '=', &name, &value);
        const struct option_row *row = find_row(name);
        bool negated =
            !row && str_starts(name, STR("no-")) && (row = find_row(str_sub(name, 3, name.n))) && is_bool(row);
        if (!row || (negated && has_value))
            return unknown(name, e);
        if (is_bool(row) && !has_value)
            value = negated ? STR("false") : STR("true");
        else if (!has_value) {
            if (++i >= argc) {
                err_set(e, "--%s wants a value", row->name);
                return -EINVAL;
            }
            value = str_of(argv[i]);
        }
        int r = set_value(row, o, value, notes, e);
        if (r)
            return r;
    }
    return 0;
}

void options_help(struct buf *b, bool french)
{
    buf_z(b,
          french
              ? "hune server : surveiller, dessiner, alerter — le serveur seul, comme l'est Prometheus\n\n"
                "  hune server                                      cette machine, sans configuration\n"
                "  hune server --config.file=prometheus.yml         exactement ce que dit le fichier\n"
                "  hune server --config.file=hune.yml               les fichiers que vous avez déjà, réunis\n\nOptions "
                ":\n"
              : "hune server: watch, draw, alert; the server alone, as Prometheus is\n\n"
                "  hune server                                      this machine, without configuration\n"
                "  hune server --config.file=prometheus.yml         exactly what the file says\n"
                "  hune server --config.file=hune.yml               the files you have already, together\n\nFlags:\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct option_row *r = &rows[i];
        if (r->type == OPT_NOTE || r->type == OPT_NOTE_BOOL)
            continue;
        buf_fmt(b, "  --%s%s%s\n        %s\n", r->name, r->dflt && !is_bool(r) ? "=" : "",
                r->dflt && !is_bool(r) ? r->dflt
                : is_bool(r)           ? ""
                                       : " VALUE",
                french ? r->fr : r->en);
    }
    buf_z(b, french
                 ? "\nLes autres options de Prometheus sont acceptées ; celles sans effet ici le disent au démarrage.\n"
                 : "\nPrometheus' other flags are accepted; those without an effect here say so at the start.\n");
}

void options_each(const struct options *o, void (*fn)(void *ctx, const char *name, struct str value), void *ctx)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct option_row *r = &rows[i];
        const void *f = (const char *)o + r->offset;
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        switch (r->type) {
        case OPT_STR:
            buf_str(&b, *(const struct str *)f);
            break;
        case OPT_BOOL:
            buf_z(&b, *(const bool *)f ? "true" : "false");
            break;
        case OPT_DURATION:
            format_duration_ms(&b, *(const int64_t *)f);
            break;
        case OPT_BYTES:
        case OPT_INT:
            buf_i64(&b, *(const int64_t *)f);
            break;
        case OPT_LISTEN:
            for (size_t k = 0; k < o->n_listen; k++)
                buf_fmt(&b, "%s" STR_FMT, k ? "," : "", STR_ARG(o->listen[k]));
            break;
        case OPT_NOTE:
        case OPT_NOTE_BOOL:
            continue;
        }
        fn(ctx, r->name, buf_view(&b));
    }
}

void options_reference(struct buf *b)
{
    buf_z(b, "| flag | default | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_fmt(b, "| `--%s` | %s | %s%s |\n", rows[i].name, rows[i].dflt ? rows[i].dflt : "",
                rows[i].type == OPT_NOTE || rows[i].type == OPT_NOTE_BOOL ? "accepted, no effect: " : "", rows[i].en);
}
