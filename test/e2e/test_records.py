# SPDX-License-Identifier: Apache-2.0
"""Anomaly sheets, events and indicators through the verbs people type; nothing acknowledged is lost by kill -9."""
import json
import os
import signal

from conftest import wait_for


def server_pid(hune):
    """The server under the keeper: the child whose program is hune-server."""
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                with open(f"/proc/{d}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"hune-server") and any(str(hune.data).encode() in w for w in words):
                return int(d)
    return None


def test_a_sheet_from_its_opening_to_its_end(hune):
    assert "No anomaly is waiting" in hune("anomaly", "list").stdout
    out = hune("anomaly", "open", "Le formulaire plante", "--severity", "critical", "--service", "web",
               "detection=user_report").stdout
    ano = out.split(":")[0]
    assert ano.startswith("ANO-") and ano.endswith("-001")
    hune("anomaly", "note", "001", "je regarde")
    assert "in progress" in hune("anomaly", "assign", "001", "anna").stdout
    bad = hune("anomaly", "close", "001", check=False)
    assert bad.returncode == 1 and "resolve it first" in bad.stderr
    bad = hune("anomaly", "set", "001", "sevrity=critical", check=False)
    assert bad.returncode == 1 and 'did you mean "severity"' in bad.stderr
    hune("anomaly", "set", "001", 'actions:=[{"text":"train the team","owner":"anna","due":"2026-12-01"}]', "loss=partial")
    hune("anomaly", "resolve", "001", "--cause", "innerHTML", "--fix", "createElement", "deployed")
    shown = hune("anomaly", "show", ano).stdout
    for words in ("Le formulaire plante", "critical, resolved", "Assignee: anna", "Root cause: innerHTML", "je regarde",
                  "[ ] train the team", "Phases: detection"):
        assert words in shown, shown
    sheet = json.loads(hune("anomaly", "show", "001", "--json").stdout)
    assert sheet["status"] == "resolved" and sheet["phases"]["total_ms"] >= 0 and sheet["loss"] == "partial"
    assert "close" in hune("anomaly", "close", "001").stdout
    assert ano not in hune("anomaly", "list").stdout
    assert ano in hune("anomaly", "list", "--all").stdout
    assert "open" in hune("anomaly", "reopen", "001", "again").stdout
    french = hune("anomaly", "list", env={"LC_ALL": "fr_FR.UTF-8"}).stdout
    assert "GRAVITÉ" in french and "ouverte" in french
    kinds = [e["kind"] for e in json.loads(hune("events", "--kind", "anomaly.", "--json").stdout)["events"]]
    assert kinds[-1] == "anomaly.opened" and "anomaly.resolved" in kinds and "anomaly.closed" in kinds
    assert "anomaly.escalated" in kinds or wait_for(
        lambda: "anomaly.escalated" in hune("events", "--kind", "anomaly.").stdout, 15, 0.5, "the escalation")
    assert "was reopened" in hune("events", "--since", "1h").stdout
    figures = hune("indicators").stdout
    assert "web" in figures and ano in figures and "objective" in figures
    assert hune("anomaly", "list", "--nonsense", check=False).returncode == 2
    assert hune("anomaly", "lst", check=False).returncode == 2
    assert "Usage" in hune("anomaly", "--help").stdout and "Usage :" in hune("events", "--help", env={"LANG": "fr_FR", "LC_ALL": ""}).stdout


def test_control_characters_do_not_reach_the_terminal(hune):
    body = {"title": "a", "description": "x\u009b31mred\nsecond line"}
    status, _, text = hune.http("/api/hune/v1/anomalies", "POST", body)
    assert status == 201, text
    shown = hune("anomaly", "show", "001").stdout
    assert "\x1b" not in shown and "\u009b" not in shown and "second line" in shown
    status, _, text = hune.http("/api/hune/v1/anomalies", "POST", {"title": "a\u001b[31m"})
    assert status == 400 and b"title" in text


def test_no_server_is_told_in_words(hune_env):
    r = hune_env("anomaly", "list", "--url", f"http://127.0.0.1:{hune_env.port}", check=False)
    assert r.returncode == 1 and "hune run" in r.stderr


def test_what_was_acknowledged_survives_kill_9(hune):
    said = []
    for turn in range(4):
        for i in range(5):
            status, _, text = hune.http("/api/hune/v1/anomalies", "POST", {"title": f"t{turn}-{i}"})
            assert status == 201, text
            said.append(json.loads(text)["id"])
        pid = server_pid(hune)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server_pid(hune) not in (None, pid), 20, 0.1, "a new server")
        hune.wait_ready()
    have = [a["id"] for a in hune.json("/api/hune/v1/anomalies?limit=1000")["anomalies"]]
    assert sorted(have) == sorted(said) and len(set(have)) == 20
    seqs = [e["seq"] for e in hune.json("/api/hune/v1/events?limit=1000&ascending=true")["events"]]
    assert seqs == list(range(1, len(seqs) + 1))
    wait_for(lambda: "server.died" in hune("events", "--kind", "server.").stdout, 10, 0.3, "server.died")


def test_a_process_that_ends_becomes_events_and_metrics(hune):
    script = hune.file("app.sh", "#!/bin/sh\necho hello from app\nsleep 1.5\nexit 3\n", 0o755)
    hune("start", str(script), "--name", "shop")
    wait_for(lambda: "process.restarted" in hune("events", "--kind", "process.").stdout, 15, 0.3, "the restart")
    text = hune("events", "--kind", "process.", "--severity", "warning").stdout
    assert "shop#0 ended with code 3" in text
    metrics = hune.http("/metrics")[2].decode()
    assert 'hune_app_restarts_total{name="shop",instance="0",namespace="default"}' in metrics
    assert 'hune_app_exit_code{name="shop",instance="0",namespace="default"} 3' in metrics
    assert "hune_keeper_up 1" in metrics


def test_an_alert_opens_a_sheet_with_its_measurements(hune_env, free_port):
    hune = hune_env
    hune.file("rules.yml", """groups:
- name: g
  interval: 1s
  rules:
  - alert: InstanceDown
    expr: up{job="api"} == 0
    for: 2s
    labels: {severity: critical, service: api}
    annotations: {summary: "L'API {{ $labels.instance }} ne répond pas"}
""")
    hune.file("prometheus.yml", f"""global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
- job_name: api
  metrics_path: /metrics.txt
  static_configs: [{{targets: ["127.0.0.1:{free_port}"]}}]
""")
    hune.start(f"--config.file={hune.root}/prometheus.yml")
    got = wait_for(lambda: hune.json("/api/hune/v1/anomalies")["anomalies"], 20, 0.3, "the sheet")
    assert len(got) == 1 and got[0]["severity"] == "critical" and got[0]["service"] == "api"
    assert got[0]["title"].startswith("L'API 127.0.0.1")

    def measured():
        return hune.json("/api/hune/v1/anomalies/" + got[0]["id"])["measures"]
    m = wait_for(measured, 10, 0.3, "the measurements")
    assert m[0]["op"] == "==" and m[0]["threshold"] == "0" and m[0]["points"][-1][1] == "0"
    sheet = hune.json("/api/hune/v1/anomalies/" + got[0]["id"])
    assert sheet["phases"]["detection_ms"] >= 2000 and sheet["expr"] == 'up{job="api"} == 0'
    # The target comes up: the alert ends, the sheet resolves, there is an MTTR.
    web = hune.spawn("-m", "http.server", str(free_port), "--bind", "127.0.0.1", bin="/usr/bin/python3")
    hune.file("metrics.txt", "up_and_well 1\n")
    done = wait_for(lambda: [a for a in hune.json("/api/hune/v1/anomalies?status=resolved")["anomalies"]], 20, 0.3, "the end")
    assert done[0]["id"] == got[0]["id"]
    report = hune.json("/api/hune/v1/indicators?service=api")["overall"]
    assert report["incidents"] == 1 and report["mttr_ms"] > 2000 and report["uptime_ratio"] < 1
    assert web.poll() is None
