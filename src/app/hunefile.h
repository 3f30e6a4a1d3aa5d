// SPDX-License-Identifier: Apache-2.0
#pragma once
/* hune.yml: the files a team has already, named in one place, and what hune adds by itself. */
#include "config/config.h"

struct hunefile {
    int64_t version;
    struct str prometheus, alertmanager;
    struct config_strs rules;
    bool default_rules, host, self;
    int64_t interval_ms;
    int language; /* index into "en", "fr" */
    bool language_given;
    struct str external_url, environment;
    struct config_map limits;
};
extern const struct config_schema hunefile_schema;
