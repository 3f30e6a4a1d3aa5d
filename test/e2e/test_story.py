# SPDX-License-Identifier: Apache-2.0
"""The whole story with real processes: an application is killed, an alert goes pending and firing, a webhook and a mail
server are told, an anomaly opens; the application comes back, the alert resolves, people are told again, the anomaly
resolves, and MTTR is there."""
import email
import email.policy
import http.server
import json
import smtpd_sink
import threading
import time

from conftest import pick_port, wait_for

APP = r"""
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"# TYPE missions_open gauge\nmissions_open 3\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), H).serve_forever()
"""


class Hook:
    """A webhook receiver that refuses what a real one refuses: other methods, other types, bad JSON; and fails at first."""

    def __init__(self, fail_first=1):
        self.got, self.failed, self.keys = [], 0, []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not self.headers.get("Content-Type", "").startswith("application/json"):
                    return self.answer(415)
                message = json.loads(body)
                if hook.failed < fail_first:
                    hook.failed += 1
                    return self.answer(503)
                hook.got.append(message)
                self.answer(200)

            def answer(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *a):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def statuses(self, alert):
        return [a["status"] for m in self.got for a in m["alerts"] if a["labels"]["alertname"] == alert]

    def close(self):
        self.server.shutdown()


def test_from_the_kill_to_the_figures(hune_env):
    h = hune_env
    app_port = pick_port()
    hook, mail = Hook(), smtpd_sink.Sink()
    try:
        h.file("app.py", APP.replace("{port}", str(app_port)))
        h.file("rules.yml", """
groups:
- name: service
  rules:
  - alert: ApiDown
    expr: up{job="api"} == 0
    for: 2s
    labels: {severity: critical, service: api}
    annotations: {summary: "{{ $labels.instance }} does not answer"}
""")
        h.file("prometheus.yml", f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
- job_name: api
  file_sd_configs: [{{files: [targets.json], refresh_interval: 1s}}]
""")
        h.file("alertmanager.yml", f"""
global: {{smtp_smarthost: '127.0.0.1:{mail.port}', smtp_from: 'hune@example.org', smtp_require_tls: false}}
route: {{receiver: team, group_by: [alertname], group_wait: 1s, group_interval: 2s}}
receivers:
- name: team
  webhook_configs: [{{url: '{hook.url}'}}]
  email_configs: [{{to: 'team@example.org', send_resolved: true}}]
""")
        h.file("hune.yml", "hune: 1\nprometheus: prometheus.yml\nalertmanager: alertmanager.yml\nhost: false\ndefault_rules: false\ninterval: 1s\n")
        h.start(f"--config.file={h.root}/hune.yml")
        h("start", "app.py", "--name", "api")
        wait_for(lambda: h.http("/", url=f"http://127.0.0.1:{app_port}")[0] == 200, 20, what="the application")
        h.file("targets.json", json.dumps([{"targets": [f"127.0.0.1:{app_port}"]}]))

        def up():
            r = h.json("/api/v1/query?query=up%7Bjob%3D%22api%22%7D")["data"]["result"]
            return r and r[0]["value"][1]

        wait_for(lambda: up() == "1", 20, what="the target to be up")

        # The application stops; nobody restarts it, so the outage lasts.
        h("stop", "api")
        wait_for(lambda: any(a["state"] == "pending" for a in h.json("/api/v1/alerts")["data"]["alerts"]), 15, what="pending")
        wait_for(lambda: any(a["state"] == "firing" for a in h.json("/api/v1/alerts")["data"]["alerts"]), 15, what="firing")
        rows = wait_for(lambda: h.json("/api/hune/v1/anomalies")["anomalies"], 10, what="the anomaly")
        sheet = rows[0]
        assert sheet["id"].startswith("ANO-") and sheet["severity"] == "critical" and sheet["status"] == "open"
        assert sheet["detection"] == "automatic" and sheet["service"] == "api"
        wait_for(lambda: "firing" in hook.statuses("ApiDown"), 30, what="the webhook")
        assert hook.failed == 1, "the first delivery failed and was tried again"
        wait_for(lambda: mail.messages, 30, what="the mail")
        letter = email.message_from_string(mail.messages[0]["data"], policy=email.policy.default)
        assert "ApiDown" in letter.get_body(("plain",)).get_content() and "ApiDown" in letter.get_body(("html",)).get_content()
        assert mail.messages[0]["to"] == ["team@example.org"] and "does not answer" in letter["Subject"]

        # A person works on it.
        assert "note" not in h("anomaly", "note", sheet["id"], "looking into it").stderr
        full = h.json(f"/api/hune/v1/anomalies/{sheet['id']}")
        assert any("looking into it" in (line["summary"] + line["text"]) for line in full["timeline"])
        assert full["labels"]["alertname"] == "ApiDown"

        h("restart", "api")
        wait_for(lambda: up() == "1", 20, what="the target to be up again")
        wait_for(lambda: not h.json("/api/v1/alerts")["data"]["alerts"], 20, what="the alert to end")
        done = wait_for(lambda: next((a for a in h.json("/api/hune/v1/anomalies")["anomalies"] if a["status"] == "resolved"), None),
                        20, what="the anomaly to resolve")
        assert done["id"] == sheet["id"]
        wait_for(lambda: "resolved" in hook.statuses("ApiDown"), 30, what="the webhook to hear the end")
        wait_for(lambda: len(mail.messages) >= 2, 30, what="the second mail")

        overall = h.json("/api/hune/v1/indicators")["overall"]
        assert overall["incidents"] == 1 and overall["mttr_ms"] > 1000 and 0 < overall["uptime_ratio"] < 1
        h("anomaly", "close", sheet["id"])
        assert sheet["id"] in h("anomaly", "list").stdout or "closed" in h("anomaly", "show", sheet["id"]).stdout

        events = h.json("/api/hune/v1/events?limit=500")["events"]
        kinds = {e["kind"] for e in events}
        assert max(e["payload"]["attempts"] for e in events if e["kind"] == "notify.sent") == 2, "the event tells of the second try"
        wanted = {"alert.pending", "alert.firing", "alert.resolved", "anomaly.opened", "anomaly.resolved", "notify.sent",
                  "process.started", "server.started"}
        assert wanted - kinds == set()
        assert h.stop() == 0
    finally:
        hook.close()
        mail.close()


def test_alert_state_survives_a_restart(hune_env):
    """Firing before, firing after: no second anomaly, no second notification."""
    h = hune_env
    hook = Hook(fail_first=0)
    try:
        h.file("rules.yml", "groups:\n- name: g\n  rules:\n  - alert: Always\n    expr: vector(1)\n    for: 2s\n    labels: {severity: warning}\n")
        h.file("prometheus.yml", "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n")
        h.file("alertmanager.yml", f"route: {{receiver: r, group_wait: 500ms, group_interval: 1s}}\nreceivers:\n- name: r\n  webhook_configs: [{{url: '{hook.url}'}}]\n")
        args = [f"--config.file={h.root}/prometheus.yml", f"--alertmanager.config.file={h.root}/alertmanager.yml", f"--web.listen-address=127.0.0.1:{h.port}"]
        for _ in range(2):
            p = h.spawn("server", *args, bin=h.server_bin)
            h.wait_ready()
            wait_for(lambda: any(a["state"] == "firing" for a in h.json("/api/v1/alerts")["data"]["alerts"]), 20, what="firing")
            wait_for(lambda: hook.got, 20, what="the webhook")
            time.sleep(2)
            p.kill()
            p.wait()
        assert hook.statuses("Always") == ["firing"]
        h.spawn("server", *args, bin=h.server_bin)
        h.wait_ready()
        time.sleep(1.5)
        assert len(h.json("/api/hune/v1/anomalies")["anomalies"]) == 1
    finally:
        hook.close()
