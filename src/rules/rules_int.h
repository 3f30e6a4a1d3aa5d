// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/map.h"
#include "rules/rules.h"
#include "template/template.h"
#include <pthread.h>

/* ---- as written ---- */

struct rule_pair { /* a label or an annotation */
    struct str name, value;
    struct template_set *set; /* NULL: no action in the text, used as it stands */
    struct str template_name;
};

struct rule_def {
    struct str record, alert, expr;
    int64_t for_ms, keep_firing_for_ms;
    struct config_map labels_map, annotations_map;
    bool has_for, has_keep, has_annotations;
    uint32_t line;
    struct rule_pair *labels, *annotations;
    size_t n_labels, n_annotations;
};

struct group_def {
    struct str name, file;
    int64_t interval_ms, limit, query_offset_ms;
    struct config_map labels;
    bool has_offset;
    struct config_list rule_list;
    struct rule_def *rules; /* = rule_list */
    size_t n_rules;
    struct str partial_response_strategy; /* Thanos' key in shared rule files: read and ignored */
    uint64_t content;                     /* hash of everything that matters */
    uint64_t identity;                    /* hash of file and name: the offset within the interval */
    uint32_t line;
};

struct rules_config {
    _Atomic int refs; /* running groups keep the generation they came from */
    struct arena *arena;
    struct group_def **groups;
    size_t n_groups, n_rules;
};

struct rules_config *rules_config_ref(struct rules_config *c);
/* One file within a context; appends to the vector. report: see struct rules_load. */
MUST_USE int rules_read_file(struct rules_config *c, const struct rules_file *f, const struct rules_load *l,
                             struct err *e);

#define RULE_TEMPLATE_NAME "rule"
extern const struct str
    rule_template_prefix; /* defines $labels, $value ... in front of each text, as Prometheus does */

/* ---- running ---- */

struct owned_labels { /* one malloc block: array and bytes */
    struct labels l;
    void *block;
};
struct owned_labels owned_labels(struct labels l);
void owned_labels_done(struct owned_labels *o);

struct prev_series { /* written by the last evaluation */
    struct owned_labels labels;
    uint64_t hash;
    series_ref ref;
    uint64_t gen;
};

struct active { /* one alert; states as in Prometheus' rules/alerting.go */
    struct owned_labels labels, annotations;
    uint64_t hash;
    enum rule_state state; /* RULE_INACTIVE = resolved, kept for a while to be sent again */
    double value;
    int64_t active_ms, fired_ms, resolved_ms, last_sent_ms, valid_until_ms, keep_since_ms; /* 0 = not */
    uint64_t gen; /* evaluation that returned it */
};

struct rule_state_s {
    const struct rule_def *def;
    VEC(struct prev_series) prev;
    struct idmap prev_index;
    uint64_t gen;
    VEC(struct active *) active;
    bool restored;
    enum rule_health health;
    char *last_error; /* owned, NULL = none */
    int64_t last_eval_ms;
    uint64_t eval_ns;
};

struct group {
    struct rules_config *config; /* a reference */
    const struct group_def *def;
    struct rule_state_s *rules;
    size_t n_rules;
    VEC(struct prev_series) orphans; /* series of rules that are gone: to be marked stale */
    int64_t next_ms, last_eval_ms;
    uint64_t eval_ns, evals, failures, iterations, missed, samples;
    unsigned evals_before_restore;
    char *label; /* "file;name" */
};

struct leaving { /* a group that a reload replaced or removed */
    struct group *group, *heir;
};

struct rules {
    struct rules_deps deps;
    struct arena *settings_arena;
    struct rules_settings settings;
    pthread_mutex_t
        mu; /* rank: leaf. Guards everything below that other threads read; the evaluation thread alone writes */
    pthread_cond_t cond;
    bool cond_init, running, stop;
    pthread_t thread;
    struct group **groups;
    size_t n_groups;
    VEC(struct leaving) leaving; /* of the evaluation thread alone */
    struct rules_config *pending;
    struct arena *pending_arena;
    struct rules_settings pending_settings;
    bool has_pending;
};

struct eval { /* one group at one time */
    struct rules *r;
    struct group *g;
    int64_t ts_ms;    /* of the evaluation */
    int64_t query_ms; /* ts minus the offset: what is asked and written */
};

void group_eval(struct rules *r, struct group *g, int64_t ts_ms);
void rule_free_state(struct rule_state_s *s, struct group *heir); /* heir takes the series as orphans; may be NULL */
void alerting_eval(struct eval *ev, struct rule_state_s *s, const struct query_result *q, struct arena *a);
void alerting_restore(struct eval *ev, struct rule_state_s *s);
/* Alerts of this name that were firing when the server went down and are not returned any more: taken over, so that the
 * next evaluation resolves them. Once all rules of that name are restored. */
void alerting_adopt(struct eval *ev, struct str alertname);
/* The rule goes away: its firing alerts are resolved now. */
void alerting_leave(struct eval *ev, struct rule_state_s *s);
void rule_fail(struct eval *ev, struct rule_state_s *s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Write rows of this evaluation and stale markers for series of the evaluation before that are missing. */
void rule_write(struct eval *ev, struct rule_state_s *s, const struct labels *l, const double *v,
                const struct histogram *const *h, size_t n);
/* `query` of templates. */
int rules_template_query(struct template_run *run, struct template_prom *p, struct str expr, struct tval *ret);
struct rule_host {             /* the host of templates while a rule is evaluated */
    struct template_prom prom; /* first */
    struct eval *ev;
};
