# SPDX-License-Identifier: Apache-2.0
"""Scraping with the real server: file discovery, credentials, compression, limits, staleness, reload."""
import base64
import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import SOURCE, wait_for

BASIC = "Basic " + base64.b64encode(b"scraper:geheim").decode()


class Target:
    """A scripted exporter: routes[path] = (status, content type, text, zip?); remembers request headers by path."""

    def __init__(self):
        self.routes, self.seen = {}, {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0]
                outer.seen.setdefault(path, []).append((self.path, dict(self.headers)))
                status, kind, text, zipped = outer.routes.get(path, (404, "text/plain", "", False))
                if path == "/auth" and self.headers.get("Authorization") != BASIC:
                    status, text = 401, ""
                body = gzip.compress(text.encode()) if zipped else text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if zipped:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set(self, path, text, status=200, kind="text/plain; version=0.0.4", zipped=False):
        self.routes[path] = (status, kind, text, zipped)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def target():
    t = Target()
    yield t
    t.close()


@pytest.fixture
def server(hune_env):
    """start(config) runs `hune server` with it and returns a function that asks PromQL."""
    h = hune_env

    def start(text):
        config = h.file("prometheus.yml", text)
        h.proc = h.spawn("server", f"--config.file={config}", f"--storage.tsdb.path={h.root / 'tsdb'}",
                         f"--web.listen-address=127.0.0.1:{h.port}", "--web.enable-lifecycle")
        h.wait_ready()
        return h
    return start


def ask(h, query):
    from urllib.parse import quote
    rows = h.json("/api/v1/query?query=" + quote(query))["data"]["result"]
    return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in rows}


def value(h, query):
    rows = ask(h, query)
    return next(iter(rows.values())) if len(rows) == 1 else None


def test_jobs_of_all_kinds(server, target, tmp_path):
    target.set("/metrics", '# TYPE hits counter\nhits_total{job="theirs",path="/a"} 5\n', zipped=True)
    target.set("/auth", "secret_metric 1\n")
    target.set("/om", '# TYPE r counter\nr_total 3 # {trace_id="x"} 1\n# EOF\n', kind="application/openmetrics-text; version=1.0.0")
    target.set("/many", "".join(f"m{i} 1\n" for i in range(10)))
    target.set("/html", "<html>", kind="text/html")
    sd = tmp_path / "targets.json"
    sd.write_text(json.dumps([{"targets": [target.address], "labels": {"zone": "eu", "__metrics_path__": "/metrics"}}]))
    a = target.address
    h = server(f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- {{job_name: files, file_sd_configs: [{{files: ['{sd}']}}], params: {{q: [a b]}}}}
- {{job_name: auth, metrics_path: /auth, static_configs: [{{targets: ['{a}']}}], basic_auth: {{username: scraper, password: geheim}}}}
- {{job_name: wrong, metrics_path: /auth, static_configs: [{{targets: ['{a}']}}], basic_auth: {{username: scraper, password: no}}}}
- {{job_name: om, metrics_path: /om, static_configs: [{{targets: ['{a}']}}]}}
- {{job_name: limit, metrics_path: /many, sample_limit: 9, static_configs: [{{targets: ['{a}']}}]}}
- {{job_name: body, metrics_path: /many, body_size_limit: 20B, static_configs: [{{targets: ['{a}']}}]}}
- {{job_name: html, metrics_path: /html, static_configs: [{{targets: ['{a}']}}]}}
- {{job_name: dead, static_configs: [{{targets: ['127.0.0.1:1']}}]}}
""")
    wait_for(lambda: len(ask(h, "up")) == 8, what="every target asked once")
    up = {dict(k)["job"]: v for k, v in ask(h, "up").items()}
    assert up == {"files": 1, "auth": 1, "om": 1, "wrong": 0, "limit": 0, "body": 0, "html": 0, "dead": 0}
    assert value(h, 'hits_total{job="files",exported_job="theirs",zone="eu",path="/a"}') == 5
    assert value(h, "secret_metric") == 1
    assert value(h, "r_total") == 3
    assert ask(h, "m1") == {}
    path, headers = target.seen["/metrics"][0]
    assert path == "/metrics?q=a+b"
    assert "gzip" in headers["Accept-Encoding"]
    assert headers["Accept"].startswith("application/openmetrics-text;version=1.0.0")
    assert headers["X-Prometheus-Scrape-Timeout-Seconds"] == "0.200"
    errors = {t["labels"]["job"]: t["lastError"] for t in h.json("/api/v1/targets")["data"]["activeTargets"]}
    assert errors["files"] == ""
    assert "401" in errors["wrong"]
    assert errors["limit"] == "sample limit exceeded"
    assert errors["body"] == "body size limit exceeded"
    assert "text/html" in errors["html"]
    assert errors["dead"]
    assert "geheim" not in json.dumps(h.json("/api/v1/status/config"))
    # discovery follows the file
    sd.write_text("[]")
    wait_for(lambda: not [t for t in h.json("/api/v1/targets")["data"]["activeTargets"] if t["labels"]["job"] == "files"], what="the target to go")
    wait_for(lambda: ask(h, 'up{job="files"}') == {}, what="its series to end")


def test_series_end_when_they_vanish(server, target):
    target.set("/metrics", "a 1\nb 1\n")
    h = server(f"scrape_configs: [{{job_name: j, scrape_interval: 200ms, static_configs: [{{targets: ['{target.address}']}}]}}]")
    wait_for(lambda: value(h, "b") == 1, what="b")
    target.set("/metrics", "a 2\n")
    wait_for(lambda: ask(h, "b") == {} and value(h, "a") == 2, what="b to end")
    target.set("/metrics", "broken", status=500)
    wait_for(lambda: ask(h, "a") == {} and value(h, "up") == 0, what="a to end")
    target.set("/metrics", "a 3\n")
    wait_for(lambda: value(h, "a") == 3 and value(h, "up") == 1, what="a to be back")


def test_a_bad_configuration_changes_nothing(server, target):
    target.set("/metrics", "a 1\n")
    good = f"scrape_configs: [{{job_name: j, scrape_interval: 200ms, static_configs: [{{targets: ['{target.address}']}}]}}]"
    h = server(good)
    wait_for(lambda: value(h, "a") == 1, what="a")
    h.file("prometheus.yml", good.replace("scrape_interval", "scrape_intervall"))
    status, _, body = h.http("/-/reload", method="POST", body={})
    assert status >= 400
    assert b"scrape_intervall" in body and b"scrape_interval" in body and b"prometheus.yml:1:" in body
    n = len(target.seen["/metrics"])
    wait_for(lambda: len(target.seen["/metrics"]) > n, what="scraping to go on")
    h.file("prometheus.yml", good.replace("job_name: j", "job_name: k"))
    assert h.http("/-/reload", method="POST", body={})[0] == 200
    wait_for(lambda: ask(h, 'up{job="k"}'), what="the new job")
    wait_for(lambda: ask(h, 'up{job="j"}') == {}, what="the old job to end")


def test_exposition_corpus(hune_env):
    """The public corpus with its own runner, where it is at hand."""
    import subprocess
    kit = SOURCE.parent / "shared" / "conformance"
    if not (kit / "runners" / "expositiontest.py").exists():
        pytest.skip("no conformance kit")
    command = (f"{hune_env.bin} server --config.file={{config}} --storage.tsdb.path={{dir}} --web.listen-address=127.0.0.1:{{port}} "
               "--storage.tsdb.retention.time=100y --web.enable-remote-write-receiver")
    r = subprocess.run([sys.executable, str(kit / "runners" / "expositiontest.py"), str(kit / "exposition" / "cases"), "--server", command],
                       capture_output=True, text=True, timeout=200, env={**hune_env.env, "PYTHONDONTWRITEBYTECODE": "1"})
    assert r.returncode == 0, r.stdout + r.stderr
