// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Verbs that `hune` hands to `hune-server` as they are: name, help in English, help in French. One row per verb; the
 * server's own table answers for flags and sub-verbs. */
#define SERVER_VERBS(X)                                                                                                 \
    X("server", "the monitoring server in the foreground, without process manager (Prometheus' flags)",                 \
      "le serveur de supervision au premier plan, sans gestion de processus (options de Prometheus)")                   \
    X("demo", "a small world to look at: services, alerts, an anomaly", "un petit monde à regarder : services, alertes, anomalie") \
    X("query", "ask with PromQL: instant, range, series, labels", "interroger en PromQL : instant, range, series, labels") \
    X("check", "check config, rules, metrics, alertmanager ...", "vérifier config, rules, metrics, alertmanager ...")   \
    X("test", "test rules", "tester des règles")                                                                        \
    X("alert", "alerts: list, add", "alertes : list, add")                                                              \
    X("silence", "silences: list, add, expire", "silences : list, add, expire")                                         \
    X("anomaly", "anomaly records: list, show, open, close ...", "fiches d'anomalie : list, show, open, close ...")     \
    X("user", "users: add, list, delete, password", "utilisateurs : add, list, delete, password")                       \
    X("token", "access tokens: add, list, delete", "jetons d'accès : add, list, delete")                                \
    X("tsdb", "the store: list, analyze, dump", "le stockage : list, analyze, dump")                                    \
    X("push", "push metrics", "envoyer des mesures")                                                                    \
    X("debug", "what a running server knows of itself", "ce qu'un serveur sait de lui-même")                            \
    X("promql", "format, label-matchers ...", "format, label-matchers ...")                                             \
    X("config", "show the configuration in force", "montrer la configuration en vigueur")                               \
    X("template", "render a notification template", "rendre un modèle de notification")                                 \
    X("cluster", "members of a pair", "membres d'une paire")                                                            \
    X("events", "the journal of what happened", "le journal de ce qui s'est passé")                                     \
    X("limits", "every limit with its unit", "chaque limite avec son unité")
