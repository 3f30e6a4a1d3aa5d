// SPDX-License-Identifier: Apache-2.0
/* Templates that every configuration may call by the names Alertmanager has (0.34). The results are those that files in
 * use rely on: title, list of alerts, link. hune's own messages (message.c) do not come from here. */
#include "notify/notify_int.h"

#define DEFINE(name, text) "{{ define \"" name "\" }}" text "{{ end }}"
#define SAME(name, of) DEFINE(name, "{{ template \"" of "\" . }}")
#define EMPTY(name) DEFINE(name, "")
#define VALUES "{{ .CommonAnnotations.SortedPairs.Values | join \" \" }}\n"
#define IF_FIRING "{{ if gt (len .Alerts.Firing) 0 }}"
#define IF_RESOLVED "{{ if gt (len .Alerts.Resolved) 0 }}"
#define TITLES(kind) SAME(kind ".default.title", "__subject") SAME(kind ".default.titlelink", "__alertmanagerURL")

// clang-format off
const char notify_default_templates[] =
    DEFINE("__alertmanager", "Alertmanager")
    DEFINE("__alertmanagerURL", "{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}")
    DEFINE("__subject",
           "[{{ .Status | toUpper }}{{ if eq .Status \"firing\" }}:{{ .Alerts.Firing | len }}{{ end }}] "
           "{{ .GroupLabels.SortedPairs.Values | join \" \" }} "
           "{{ if gt (len .CommonLabels) (len .GroupLabels) }}({{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}){{ end }}")
    EMPTY("__description")
    DEFINE("__text_alert_list",
           "{{ range . }}Labels:\n{{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}\n{{ end }}"
           "Annotations:\n{{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}\n{{ end }}Source: {{ .GeneratorURL }}\n{{ end }}")
    DEFINE("__text_alert_list_markdown",
           "{{ range . }}\nLabels:\n{{ range .Labels.SortedPairs }}  - {{ .Name }} = {{ .Value }}\n{{ end }}"
           "\nAnnotations:\n{{ range .Annotations.SortedPairs }}  - {{ .Name }} = {{ .Value }}\n{{ end }}\nSource: {{ .GeneratorURL }}\n{{ end }}\n")
    DEFINE("__text_spaced",
           VALUES IF_FIRING "\nAlerts Firing:\n{{ template \"__text_alert_list\" .Alerts.Firing }}\n{{ end }}\n"
           IF_RESOLVED "\nAlerts Resolved:\n{{ template \"__text_alert_list\" .Alerts.Resolved }}\n{{ end }}\n")
    DEFINE("__text_tight",
           VALUES IF_FIRING "Alerts Firing:\n{{ template \"__text_alert_list\" .Alerts.Firing }}{{ end }}\n"
           IF_RESOLVED "Alerts Resolved:\n{{ template \"__text_alert_list\" .Alerts.Resolved }}{{ end }}")
    DEFINE("__text_markdown",
           "\n" IF_FIRING "\n# Alerts Firing:\n{{ template \"__text_alert_list_markdown\" .Alerts.Firing }}\n{{ end }}\n"
           IF_RESOLVED "\n# Alerts Resolved:\n{{ template \"__text_alert_list_markdown\" .Alerts.Resolved }}\n{{ end }}\n")
    DEFINE("__color", "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}")
    DEFINE("__fallback", "{{ template \"__subject\" . }} | {{ template \"__alertmanagerURL\" . }}")

    TITLES("slack") SAME("slack.default.username", "__alertmanager") SAME("slack.default.fallback", "__fallback")
    SAME("slack.default.color", "__color") EMPTY("slack.default.callbackid") EMPTY("slack.default.pretext") EMPTY("slack.default.text")
    EMPTY("slack.default.footer") EMPTY("slack.default.iconemoji") EMPTY("slack.default.iconurl")

    TITLES("rocketchat") SAME("rocketchat.default.alias", "__alertmanager") SAME("rocketchat.default.username", "__alertmanager")
    EMPTY("rocketchat.default.emoji") EMPTY("rocketchat.default.iconurl") EMPTY("rocketchat.default.text")

    TITLES("mattermost") SAME("mattermost.default.username", "__alertmanager") SAME("mattermost.default.fallback", "__fallback")
    SAME("mattermost.default.color", "__color") EMPTY("mattermost.default.text") EMPTY("mattermost.default.pretext")
    EMPTY("mattermost.default.iconurl") EMPTY("mattermost.default.iconemoji") EMPTY("mattermost.default.footer")

    SAME("discord.default.title", "__subject") SAME("discord.default.message", "__text_spaced") EMPTY("discord.default.content")
    SAME("email.default.subject", "__subject") SAME("email.default.text", "__text_spaced")

    SAME("pagerduty.default.description", "__subject") SAME("pagerduty.default.client", "__alertmanager")
    SAME("pagerduty.default.clientURL", "__alertmanagerURL") SAME("pagerduty.default.instances", "__text_alert_list")

    SAME("opsgenie.default.message", "__subject") SAME("opsgenie.default.description", "__text_tight") SAME("opsgenie.default.source", "__alertmanagerURL")

    SAME("victorops.default.state_message", "__text_tight") SAME("victorops.default.entity_display_name", "__subject")
    SAME("victorops.default.monitoring_tool", "__alertmanager")

    SAME("pushover.default.title", "__subject") SAME("pushover.default.message", "__text_spaced") SAME("pushover.default.url", "__alertmanagerURL")
    SAME("sns.default.subject", "__subject") SAME("sns.default.message", "__text_spaced")
    SAME("telegram.default.message", "__text_spaced") SAME("webex.default.message", "__text_spaced")

    SAME("wechat.default.message", "__text_tight") EMPTY("wechat.default.to_user") EMPTY("wechat.default.to_party") EMPTY("wechat.default.to_tag")
    EMPTY("wechat.default.agent_id") SAME("wechat.default.api_secret", "__description")

    SAME("msteams.default.title", "__subject") SAME("msteams.default.summary", "__subject") SAME("msteams.default.text", "__text_markdown")
    SAME("msteamsv2.default.title", "__subject") SAME("msteamsv2.default.text", "__text_markdown")

    SAME("jira.default.summary", "__subject") SAME("jira.default.description", "__text_markdown")
    DEFINE("jira.default.priority",
           "{{ $priority := \"\" }}{{ range .Alerts }}{{ $s := toLower .Labels.severity }}"
           "{{ if eq $s \"critical\" }}{{ $priority = \"High\" }}{{ else if and (eq $s \"warning\") (ne $priority \"High\") }}{{ $priority = \"Medium\" }}"
           "{{ else if and (eq $s \"info\") (eq $priority \"\") }}{{ $priority = \"Low\" }}{{ end }}{{ end }}{{ $priority }}")
    ;
// clang-format on
