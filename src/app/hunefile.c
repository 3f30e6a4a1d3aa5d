// SPDX-License-Identifier: Apache-2.0
#include "app/hunefile.h"

#include "base/limits.h"
#include "base/parse.h"

static const char *const languages[] = {"en", "fr", NULL};

#define AT(f) offsetof(struct hunefile, f)

static const struct config_row rows[] = {
    {.key = "hune",
     .type = CFG_INT,
     .offset = AT(version),
     .min = 1,
     .max = 1,
     .flags = CFG_REQUIRED,
     .doc = "Version of this format; tells hune.yml from a prometheus.yml"},
    {.key = "prometheus",
     .type = CFG_STR,
     .offset = AT(prometheus),
     .flags = CFG_PATH,
     .doc = "A prometheus.yml: what is scraped, which rules, which outside Alertmanagers"},
    {.key = "alertmanager",
     .type = CFG_STR,
     .offset = AT(alertmanager),
     .flags = CFG_PATH,
     .doc = "An alertmanager.yml: who is told of alerts"},
    {.key = "rules",
     .type = CFG_STRS,
     .offset = AT(rules),
     .flags = CFG_PATH | CFG_SCALAR_OK,
     .doc = "Rule files besides those that the Prometheus file names; patterns are allowed"},
    {.key = "default_rules",
     .type = CFG_BOOL,
     .offset = AT(default_rules),
     .dflt = "true",
     .doc = "The rules shipped with hune for a machine, a web service and hune itself"},
    {.key = "host", .type = CFG_BOOL, .offset = AT(host), .dflt = "true", .doc = "Watch this machine as job `node`"},
    {.key = "self",
     .type = CFG_BOOL,
     .offset = AT(self),
     .dflt = "true",
     .doc = "Watch hune and its applications as job `hune`"},
    {.key = "interval",
     .type = CFG_DURATION,
     .offset = AT(interval_ms),
     .dflt = "5s",
     .min = 1000,
     .max = 3600000,
     .doc = "How often this machine and hune itself are read"},
    {.key = "language",
     .type = CFG_ENUM,
     .offset = AT(language),
     .names = languages,
     .dflt = "en",
     .present_offset = AT(language_given),
     .doc = "Language of default messages to people"},
    {.key = "external_url",
     .type = CFG_STR,
     .offset = AT(external_url),
     .doc = "URL under which people reach this server, for links in messages"},
    {.key = "environment",
     .type = CFG_STR,
     .offset = AT(environment),
     .dflt = "production",
     .doc = "Environment of anomalies whose alert does not name one"},
    {.key = "limits",
     .type = CFG_MAP,
     .offset = AT(limits),
     .doc = "Limits by name (`hune limits` lists them); read at start only"},
};

static int check(struct config_ctx *c, const struct yaml_node *n, void *object)
{
    const struct hunefile *h = object;
    for (size_t i = 0; i < h->limits.n; i++) {
        int64_t v;
        bool known = false;
        for (size_t k = 0; k < LIMIT_COUNT && !known; k++) {
            const struct limit_row *row = &limit_rows[k];
            known = str_eqz(h->limits.v[i].key, row->name);
            if (known && (!parse_i64(h->limits.v[i].value, &v) || v < row->min || v > row->max))
                return config_fail(c, yaml_get(yaml_get(n, "limits"), row->name), "limits: %s: wants %lld to %lld %s",
                                   row->name, (long long)row->min, (long long)row->max, row->unit);
        }
        if (!known)
            return config_fail(c, yaml_get(n, "limits"),
                               "limits: no limit is called \"" STR_FMT "\" (hune limits lists them)",
                               STR_ARG(h->limits.v[i].key));
    }
    return 0;
}

const struct config_schema hunefile_schema = {.name = "hune.yml",
                                              .size = sizeof(struct hunefile),
                                              .rows = rows,
                                              .n = ARRAY_LEN(rows),
                                              .check = check,
                                              .doc = "The first key is `hune: 1`; paths start at the file's folder"};
