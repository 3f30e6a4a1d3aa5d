# SPDX-License-Identifier: Apache-2.0
"""Bad input gets a clear error and loses nothing: files, flags, addresses, folders, requests."""
import json
import re
import socket

import pytest
from conftest import pick_port


def server(h, *flags):
    return h.spawn("server", *flags, f"--data.dir={h.data}", f"--web.listen-address=127.0.0.1:{h.port}", bin=h.server_bin)


def refused(h, *flags, env=None):
    """Start a server that must not start; its exit code and words."""
    p = h.spawn("server", *flags, bin=h.server_bin, env=env)
    out = h.root / f"spawn-{len(h.started) - 1}.out"
    code = p.wait(20)
    return code, out.read_text()


BAD_FILES = [
    ("prometheus.yml", "global:\n  scrape_intervall: 15s\n", r":2:3: .*scrape_intervall.*did you mean.*scrape_interval"),
    ("prometheus.yml", "global:\n  scrape_interval: fast\n", r":2:20: .*duration"),
    ("prometheus.yml", "scrape_configs:\n- job_name: a\n- job_name: a\n", r":3:\d+: .*a"),
    ("prometheus.yml", "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {target_label: x, regex: '('}\n", r":4:\d+: .*(regex|\()"),
    ("prometheus.yml", "a: [1\n", r":2:1: "),
    ("prometheus.yml", "scrape_configs:\n- job_name: a\n  hetzner_sd_configs: [{}]\n", r"hetzner"),
    ("hune.yml", "hune: 1\nprometheuss: x\n", r":2:1: .*did you mean.*prometheus"),
    ("hune.yml", "hune: 2\n", r":1:7: .*above the maximum 1"),
    ("hune.yml", "hune: 1\nlimits: {yaml_depth: 1}\n", r"yaml_depth.*8 to 1000"),
]


@pytest.mark.parametrize("name,text,want", BAD_FILES)
def test_bad_files_name_the_place(hune_env, name, text, want):
    path = hune_env.file(name, text)
    code, words = refused(hune_env, f"--config.file={path}", f"--data.dir={hune_env.data}")
    assert code == 2
    assert re.search(want, words), words
    check = hune_env("check", "config", path, check=False)
    assert check.returncode == 1 and re.search(want, check.stdout + check.stderr), check.stdout + check.stderr


def test_bad_rules_name_the_place(hune_env):
    rules = hune_env.file("rules.yml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(x[5m])\n")
    conf = hune_env.file("prometheus.yml", "rule_files: [rules.yml]\n")
    code, words = refused(hune_env, f"--config.file={conf}", f"--data.dir={hune_env.data}")
    assert code == 2 and re.search(r"rules\.yml:5:\d+: .*", words) and "parse error" in words, words
    assert hune_env("check", "rules", rules, check=False).returncode == 1


def test_unknown_flag_names_the_nearest(hune_env):
    code, words = refused(hune_env, "--storage.tsdb.retention.tim=1d")
    assert code == 2 and "did you mean --storage.tsdb.retention.time" in words
    code, words = refused(hune_env, "--query.timeout=soon")
    assert code == 2 and "duration" in words
    code, words = refused(hune_env, "--log.level=loud")
    assert code == 2 and "debug|info|warn|error" in words


def test_a_broken_reload_keeps_the_running_configuration(hune_env):
    h = hune_env
    conf = h.file("prometheus.yml", "global: {scrape_interval: 7s}\n")
    server(h, f"--config.file={conf}", "--web.enable-lifecycle")
    h.wait_ready()
    before = h.json("/api/v1/status/config")["data"]["yaml"]
    conf.write_text("global: {scrape_interval: never}\n")
    status, _, body = h.http("/-/reload", method="POST", body=b"")
    assert status == 500 and b"prometheus.yml:1:" in body, body
    assert h.json("/api/v1/status/config")["data"]["yaml"] == before
    assert h.json("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"] is False
    conf.write_text("global: {scrape_interval: 9s}\n")
    assert h.http("/-/reload", method="POST", body=b"")[0] == 200
    assert "9s" in h.json("/api/v1/status/config")["data"]["yaml"]


def test_second_hune_on_the_folder_names_the_first(hune_env):
    h = hune_env
    first = server(h)
    h.wait_ready()
    code, words = refused(h, f"--data.dir={h.data}", f"--web.listen-address=127.0.0.1:{pick_port()}")
    assert code != 0 and str(first.pid) in words, words


def test_port_in_use_names_the_owner(hune_env):
    h = hune_env
    with socket.socket() as s:
        s.bind(("127.0.0.1", h.port))
        s.listen()
        code, words = refused(h, f"--data.dir={h.data}", f"--web.listen-address=127.0.0.1:{h.port}")
    assert code != 0 and "python" in words and str(h.port) in words, words


def test_open_address_needs_a_credential(hune_env):
    h = hune_env
    code, words = refused(h, f"--data.dir={h.data}", f"--web.listen-address=0.0.0.0:{h.port}")
    assert code == 2 and "hune user add" in words, words
    assert h("user", "add", "anna", "--role", "administrator", input="a long password\na long password\n").returncode == 0
    p = h.spawn("server", f"--data.dir={h.data}", f"--web.listen-address=0.0.0.0:{h.port}", bin=h.server_bin)
    h.wait_ready()
    assert h.http("/api/v1/labels")[0] == 401
    token = h("token", "add", "robot", "--role", "viewer").stdout
    secret = re.search(r"\S{32,}", token).group(0)
    assert h.http("/api/v1/labels", headers={"Authorization": f"Bearer {secret}"})[0] == 200
    assert h.http("/api/hune/v1/anomalies", method="POST", body={"title": "x"}, headers={"Authorization": f"Bearer {secret}"})[0] == 403
    assert p.poll() is None


def raw(h, text):
    with socket.create_connection(("127.0.0.1", h.port), 5) as s:
        s.sendall(text.replace("\n", "\r\n").encode())
        s.settimeout(5)
        got = b""
        try:
            while True:
                part = s.recv(65536)
                if not part:
                    break
                got += part
        except TimeoutError:
            pass
        return got


def test_the_listener_refuses_what_browsers_and_smugglers_try(hune_env):
    h = hune_env
    server(h)
    h.wait_ready()
    host = f"Host: 127.0.0.1:{h.port}\n"
    post = "POST /api/hune/v1/anomalies HTTP/1.1\n" + host
    # DNS rebinding, foreign origin, form bodies
    assert h.http("/api/v1/labels", headers={"Host": "evil.example"})[0] in (400, 403, 421)
    assert h.http("/api/hune/v1/anomalies", method="POST", body={"title": "x"}, headers={"Origin": "http://evil.example"})[0] == 403
    assert h.http("/api/hune/v1/anomalies", method="POST", body=b"title=x", headers={"Content-Type": "application/x-www-form-urlencoded"})[0] == 415
    # The four smuggling forms: one answer, 400, connection closed.
    for head in ("Content-Length: 2\nContent-Length: 3\n", "Content-Length: 2\nTransfer-Encoding: chunked\n",
                 "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n", "Transfer-Encoding : chunked\n"):
        got = raw(h, post + "Content-Type: application/json\n" + head + "\n{}")
        assert got.startswith(b"HTTP/1.1 400") and got.count(b"HTTP/1.1") == 1, (head, got[:200])
    # Nothing starts a process for an anonymous request.
    assert h.http("/api/hune/v1/processes/0/restart", method="POST", body={})[0] in (401, 403)
    assert h.json("/api/hune/v1/anomalies")["anomalies"] == []
    assert json.loads(h.http("/api/hune/v1/anomalies", method="POST", body={"title": "seen by a person"})[2])["id"].startswith("ANO-")


def test_every_verb_in_help_answers(hune_env):
    h = hune_env
    text = h("help").stdout
    verbs = re.findall(r"^  ([a-zA-Z]+)  ", text, re.M)
    assert len(verbs) > 20
    for verb in verbs:
        r = h(verb, "--help", check=False)
        assert r.returncode == 0 and len(r.stdout) > 20, (verb, r)
        assert "not supported" not in r.stdout + r.stderr
    french = h("help", env={"LC_ALL": "fr_FR.UTF-8"}).stdout
    assert french != text and "processus" in french
    r = h("lisst", check=False)
    assert r.returncode == 2 and "list" in r.stderr
