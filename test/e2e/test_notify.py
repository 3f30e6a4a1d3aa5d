# SPDX-License-Identifier: Apache-2.0
"""Deliveries one can trust, with the real server: kill -9 at random moments loses no alert and no end, a receiver that hangs delays
nobody, and receivers that answer 503 with Retry-After or refuse for good are treated as they ask."""
import http.server
import json
import random
import socket
import threading
import time

from conftest import wait_for


class Web:
    """A scrape target with one flag per alert, and a webhook that remembers."""

    def __init__(self):
        self.flags, self.got, self.keys, self.refuse = {}, [], [], []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                text = "# TYPE flag gauge\n" + "".join(f'flag{{n="{k}"}} {v}\n' for k, v in sorted(web.flags.items()))
                self.reply(200, text.encode(), "text/plain; version=0.0.4")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if web.refuse:
                    status, headers = web.refuse.pop(0)
                    return self.reply(status, b"", "text/plain", headers)
                assert self.headers["Content-Type"] == "application/json" and self.headers["Idempotency-Key"]
                web.keys.append(self.headers["Idempotency-Key"])
                web.got.append((time.monotonic(), body))
                self.reply(200, b"", "text/plain")

            def reply(self, status, body, kind, headers=None):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for k, v in (headers or {}).items():
                    self.send_header(k, v)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *a):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def heard(self, n, status):
        return sum(a["labels"].get("n") == n and a["status"] == status for _, m in list(self.got) for a in m["alerts"])

    def close(self):
        self.server.shutdown()


def files(h, web, receivers, route="group_by: [n], group_wait: 200ms, group_interval: 1s"):
    h.file("rules.yml", "groups:\n- name: g\n  rules:\n  - {alert: Flag, expr: 'flag == 1', labels: {severity: warning}}\n")
    h.file("prometheus.yml", f"""
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: t, static_configs: [{{targets: ['127.0.0.1:{web.port}']}}]}}]
""")
    h.file("alertmanager.yml", f"route: {{receiver: r, {route}}}\nreceivers:\n{receivers}")
    return ["server", f"--config.file={h.root}/prometheus.yml", f"--alertmanager.config.file={h.root}/alertmanager.yml",
            f"--web.listen-address=127.0.0.1:{h.port}", f"--data.dir={h.data}"]


def test_kills_lose_nothing(hune_env):
    h, web, rnd = hune_env, Web(), random.Random(7)
    try:
        args = files(h, web, f"- name: r\n  webhook_configs: [{{url: 'http://127.0.0.1:{web.port}/'}}]\n")
        server = h.spawn(*args, bin=h.server_bin)
        h.wait_ready()
        rounds, kills = 10, 0
        for i in range(rounds):
            web.flags[str(i)] = 1
            if i:
                web.flags[str(i - 1)] = 0
            time.sleep(rnd.uniform(0.2, 2.2))
            server.kill()
            server.wait()
            kills += 1
            server = h.spawn(*args, bin=h.server_bin)
            h.wait_ready()
            wait_for(lambda: web.heard(str(i), "firing"), 30, what=f"alert {i}")
        web.flags[str(rounds - 1)] = 0
        for i in range(rounds):
            wait_for(lambda: web.heard(str(i), "resolved"), 30, what=f"the end of alert {i}")
        time.sleep(2)
        extra = sum(web.heard(str(i), s) - 1 for i in range(rounds) for s in ("firing", "resolved"))
        assert extra <= kills, f"{extra} messages too many after {kills} kills"
    finally:
        web.close()


def test_one_bad_receiver_delays_nobody(hune_env):
    h, web = hune_env, Web()
    hang = socket.socket()
    hang.bind(("127.0.0.1", 0))
    hang.listen(50)  # connects, never answers
    try:
        args = files(h, web, f"""- name: r
  webhook_configs:
  - {{url: 'http://127.0.0.1:{hang.getsockname()[1]}/', timeout: 20s}}
  - {{url: 'http://127.0.0.1:1/'}}
  - {{url: 'http://127.0.0.1:{web.port}/'}}
""")
        web.flags.update({str(i): 1 for i in range(20)})
        h.spawn(*args, bin=h.server_bin)
        h.wait_ready()
        wait_for(lambda: all(web.heard(str(i), "firing") for i in range(20)), 10, what="twenty alerts at the good receiver")
        failed = wait_for(lambda: [e for e in h.json("/api/hune/v1/events?limit=500")["events"] if e["kind"] == "notify.failed"], 20,
                          what="the failure in the journal")
        assert failed[0]["payload"]["receiver"] == "r" and failed[0]["payload"]["attempts"] >= 1
    finally:
        hang.close()
        web.close()


def test_refusals(hune_env):
    """503 with Retry-After is tried again after that long; 400 is not tried again by itself, the next flush does."""
    h, web = hune_env, Web()
    try:
        args = files(h, web, f"- name: r\n  webhook_configs: [{{url: 'http://127.0.0.1:{web.port}/'}}]\n",
                     "group_by: [n], group_wait: 100ms, group_interval: 8s")
        web.refuse = [(503, {"Retry-After": "2"})]
        web.flags["a"] = 1
        h.spawn(*args, bin=h.server_bin)
        h.wait_ready()
        start = time.monotonic()
        wait_for(lambda: not web.refuse, 10, what="the first try")
        first = time.monotonic()
        wait_for(lambda: web.heard("a", "firing"), 10, what="the second try")
        assert web.got[0][0] - first > 1.5 and web.got[0][0] - start < 10
        web.refuse = [(400, {})]
        web.flags["b"] = 1
        wait_for(lambda: not web.refuse, 10, what="the refused one")
        refused = time.monotonic()
        wait_for(lambda: web.heard("b", "firing"), 15, what="the next flush")
        assert time.monotonic() - refused > 5
    finally:
        web.close()
