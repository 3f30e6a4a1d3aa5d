// SPDX-License-Identifier: Apache-2.0
/* Templates that every configuration may call by Alertmanager's names. The wording is our own, the results are those
 * that files in use rely on (title, alert list, link). */
#include "notify/notify_int.h"

#define LIST                                                                                                           \
    "{{ range . }}Labels:\n{{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}\n{{ end }}Annotations:\n"      \
    "{{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}\n{{ end }}Source: {{ .GeneratorURL }}\n{{ end " \
    "}}"
#define BODY                                                                                                           \
    "{{ if gt (len .Alerts.Firing) 0 }}\nAlerts Firing:\n{{ template \"__text_alert_list\" .Alerts.Firing }}{{ end }}" \
    "{{ if gt (len .Alerts.Resolved) 0 }}\nAlerts Resolved:\n{{ template \"__text_alert_list\" .Alerts.Resolved }}{{ " \
    "end }}"
#define SAME(name, of) "{{ define \"" name "\" }}{{ template \"" of "\" . }}{{ end }}"
#define EMPTY(name) "{{ define \"" name "\" }}{{ end }}"

const char notify_default_templates[] =
    "{{ define \"__alertmanager\" }}Alertmanager{{ end }}"
    "{{ define \"__alertmanagerURL\" }}{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}{{ end }}"
    "{{ define \"__subject\" }}[{{ .Status | toUpper }}{{ if eq .Status \"firing\" }}:{{ .Alerts.Firing | len }}{{ end "
    "}}] "
    "{{ .GroupLabels.Values | join \" \" }} {{ if gt (len .CommonLabels) (len .GroupLabels) }}"
    "({{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}){{ end }}{{ end }}"
    "{{ define \"__description\" }}{{ end }}"
    "{{ define \"__text_alert_list\" }}" LIST "{{ end }}"
    "{{ define \"__text_body\" }}" BODY
    "{{ end }}" SAME("slack.default.title", "__subject") SAME("slack.default.titlelink", "__alertmanagerURL") SAME(
        "slack.default.username",
        "__alertmanager") "{{ define \"slack.default.fallback\" }}{{ template \"slack.default.title\" . }} | {{ "
                          "template \"slack.default.titlelink\" . }}{{ end }}"
                          "{{ define \"slack.default.color\" }}{{ if eq .Status \"firing\" }}danger{{ else }}good{{ "
                          "end }}{{ end }}" EMPTY("slack.default.pretext") EMPTY("slack.default.callbackid")
                              EMPTY("slack.default.text") EMPTY("slack.default.footer") EMPTY("slack.default.iconemoji")
                                  EMPTY("slack.default.iconurl") SAME("discord.default.title", "__subject")
                                      SAME("discord.default.message", "__text_body") EMPTY("discord.default.content")
                                          SAME("email.default.subject", "__subject") SAME(
                                              "email.default.text", "__text_body") SAME("pagerduty.default.description",
                                                                                        "__subject")
                                              SAME("pagerduty.default.client", "__alertmanager") SAME(
                                                  "pagerduty.default.clientURL",
                                                  "__alertmanagerURL") "{{ define \"pagerduty.default.instances\" }}{{ "
                                                                       "template \"__text_alert_list\" . }}{{ end "
                                                                       "}}" SAME("telegram.default.message",
                                                                                 "__text_body")
                                                                           SAME("sns.default.subject",
                                                                                "__subject") SAME("sns.default.message",
                                                                                                  "__text_body")
                                                                               SAME("webex.default.message",
                                                                                    "__text_body")
                                                                                   SAME("msteams.default.title",
                                                                                        "__subject")
                                                                                       SAME("msteamsv2.default.title",
                                                                                            "__subject");
