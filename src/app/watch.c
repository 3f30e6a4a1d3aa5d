// SPDX-License-Identifier: Apache-2.0
#include "app/watch.h"

#include "base/log.h"
#include <stdio.h>

#define RESEND_MS 60000
#define VOUCH_MS 300000 /* four resend intervals and a little, as rules do */

static const struct label labels[] = {{{"alertname", 9}, {"HuneReadOnly", 12}},
                                      {{"job", 3}, {"hune", 4}},
                                      {{"service", 7}, {"hune", 4}},
                                      {{"severity", 8}, {"critical", 8}}};

static void tell(struct watch *w, bool resolved, int64_t now)
{
    struct str reason = str_of(w->reason);
    const struct label notes[] = {
        {STR("description"), reason},
        {STR("description_fr"), reason},
        {STR("summary"), STR("hune cannot store samples; graphs and rules stand still until there is room again")},
        {STR("summary_fr"), STR("hune ne peut plus enregistrer de mesures ; graphes et règles sont figés jusqu'à ce "
                                "qu'il y ait de la place")},
    };
    struct alert a = {.labels = {.v = labels, .n = ARRAY_LEN(labels)},
                      .annotations = {.v = notes, .n = ARRAY_LEN(notes)},
                      .starts_ms = w->since_ms,
                      .ends_ms = resolved ? now : now + VOUCH_MS,
                      .updated_ms = now,
                      .resolved = resolved,
                      .value = 1};
    int r = w->alerts->put(w->alerts, &a, 1);
    if (r)
        log_error("alert not stored", KV_Z("alert", "HuneReadOnly"), KV_ERR(r));
    w->told_ms = now;
}

static void emit(struct watch *w, bool resolved)
{
    char fingerprint[17];
    snprintf(fingerprint, sizeof(fingerprint), "%016llx",
             (unsigned long long)labels_fingerprint((struct labels){.v = labels, .n = ARRAY_LEN(labels)}));
    struct event state = {.kind = resolved ? STR("server.writable") : STR("server.read_only"),
                          .severity = resolved ? SEV_INFO : SEV_CRITICAL,
                          .service = STR("hune"),
                          .subject = STR("tsdb"),
                          .actor = STR("hune"),
                          .summary = resolved ? STR("samples are stored again") : str_of(w->reason)};
    struct event alert = {.kind = resolved ? STR("alert.resolved") : STR("alert.firing"),
                          .severity = SEV_CRITICAL,
                          .service = STR("hune"),
                          .subject = str_of(fingerprint),
                          .actor = STR("hune"),
                          .summary = resolved ? STR("HuneReadOnly is resolved") : STR("HuneReadOnly is firing"),
                          .payload = STR("{\"labels\":{\"alertname\":\"HuneReadOnly\",\"job\":\"hune\",\"service\":"
                                         "\"hune\",\"severity\":\"critical\"},"
                                         "\"annotations\":{\"summary\":\"hune cannot store "
                                         "samples\"},\"value\":1,\"expr\":\"hune_tsdb_read_only == 1\"}")};
    /* The disk is full: the journal may not take it now. post() keeps trying; the log below is said in any case. */
    w->journal->post(w->journal, &state);
    w->journal->post(w->journal, &alert);
}

void watch_step(struct watch *w)
{
    struct tsdb_stats st;
    tsdb_stats(w->tsdb, &st);
    int64_t now = clock_now_ms(w->clock);
    if (st.read_only && !w->since_ms) {
        w->since_ms = now;
        snprintf(w->reason, sizeof(w->reason), "%s", st.reason);
        log_error("samples are refused: the store is read-only", KV_Z("reason", w->reason));
        emit(w, false);
        tell(w, false, now);
    } else if (st.read_only && now - w->told_ms >= RESEND_MS) {
        tell(w, false, now);
    } else if (!st.read_only && w->since_ms) {
        log_info("samples are stored again", KV_MS("read_only_for", now - w->since_ms));
        emit(w, true);
        tell(w, true, now);
        w->since_ms = 0;
    }
}
