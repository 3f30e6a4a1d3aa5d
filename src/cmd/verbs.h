// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Verbs that `hune` hands to `hune-server` as they are: name, help in English, help in French. One row per verb; the
 * server's own table answers for flags and sub-verbs. */
#define SERVER_VERBS(X)                                                                                                \
    X("server", "the monitoring server in the foreground, without process manager (Prometheus' flags)",                \
      "le serveur de supervision au premier plan, sans gestion de processus (options de Prometheus)")                  \
    X("anomaly", "anomaly sheets: list, show, open, note, resolve, close ...",                                         \
      "fiches d'anomalie : list, show, open, note, resolve, close ...")                                                \
    X("events", "the journal of what happened", "le journal de ce qui s'est passé")                                    \
    X("indicators", "uptime, MTTD, MTTR, MTBF", "disponibilité, MTTD, MTTR, MTBF")                                     \
    X("check", "check config and rule files", "vérifier les fichiers de configuration et de règles")                   \
    X("limits", "every limit with its unit", "chaque limite avec son unité")                                           \
    X("user", "users: add, list, delete", "utilisateurs : add, list, delete")                                          \
    X("token", "access tokens: add, list, delete", "jetons d'accès : add, list, delete")                               \
    X("demo", "break and repair the demonstration (make demo)", "casser et réparer la démonstration (make demo)")
