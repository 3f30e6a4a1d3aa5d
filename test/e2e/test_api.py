# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the real server: routes and roles, hune's own API, Prometheus' envelope, remote write, live streams."""
import http.client
import json
import re
import socket
import struct
import time
import urllib.parse

import pytest
from conftest import SOURCE, wait_for


@pytest.fixture
def srv(hune_env):
    """hune server alone, with everything enabled that a flag enables."""
    conf = hune_env.file("prometheus.yml", "global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: {env: test}}\n"
                         "storage: {tsdb: {out_of_order_time_window: 3650d}}\n"
                         f"scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{hune_env.port}']}}]}}]\n")
    hune_env.spawn("server", f"--config.file={conf}", f"--data.dir={hune_env.data}", f"--web.listen-address=127.0.0.1:{hune_env.port}",
                   "--web.enable-remote-write-receiver", "--web.enable-lifecycle", "--web.enable-admin-api",
                   bin=hune_env.server_bin)
    hune_env.wait_ready()
    return hune_env


def post(h, path, body=None, **kw):
    status, headers, answer = h.http(path, method=kw.pop("method", "POST"), body={} if body is None else body, **kw)
    return status, json.loads(answer) if answer else None


# ---- routes ----

def doc_table():
    text = (SOURCE / "doc/reference/api-hune.md").read_text()
    return {(m, p): (role, "never anonymous" in rest) for m, p, role, rest in
            re.findall(r"^\| `(\w+) (/api/hune/v1/\S+)` \| (\w+)([^|]*)\|", text, re.M)}


def test_every_route_names_its_role_and_the_reference_knows_them(srv):
    routes = srv.json("/api/hune/v1/routes")["routes"]
    assert all(r["role"] in ("none", "viewer", "operator", "administrator") and r["doc"] for r in routes)
    own = {(r["method"], r["path"]): (r["role"], r["never_anonymous"]) for r in routes if r["path"].startswith("/api/hune/v1/")}
    assert own == doc_table()
    for r in routes:  # whoever may do anything without a credential is on this short list
        if r["role"] == "none":
            assert r["path"] in ("/-/healthy", "/-/ready", "/api/hune/v1/me", "/api/hune/v1/login", "/api/hune/v1/logout"), r
        if r["method"] != "GET" and r["role"] == "viewer":  # reads that Prometheus allows as POST
            assert re.match(r"/api/v1/(query|query_range|query_exemplars|format_query|parse_query|series|labels)$", r["path"]), r


def test_roles_are_demanded(srv):
    # /read has no engine here and /write speaks protobuf: everything else must refuse by role alone
    routes = srv.json("/api/hune/v1/routes")["routes"]
    srv("user", "add", "anna", "--role", "viewer", input="correct horse\n")
    token = srv("token", "add", "eyes", "--role", "viewer").stdout.strip()
    time.sleep(1.2)
    for r in routes:
        path = re.sub(r"\{\w+\*?\}", "1", r["path"])
        kw = {"method": r["method"], "body": None if r["method"] == "GET" else {}}
        if "stream" in path:
            continue
        none = srv.http(path, **kw)[0]
        junk = srv.http(path, headers={"Authorization": "Bearer junk"}, **kw)[0]
        good = srv.http(path, headers={"Authorization": f"Bearer {token}"}, **kw)[0]
        if r["role"] == "none":
            assert none != 401 or path.endswith("/login"), r
        else:
            assert none == 401 and junk == 401, (r, none, junk)
            assert good == 403 if r["role"] in ("operator", "administrator") else good not in (401, 403), (r, good)


def test_sign_in_and_out(srv):
    assert srv.json("/api/hune/v1/me")["role"] == "administrator"
    assert post(srv, "/api/hune/v1/processes/0/restart")[0] == 403  # anonymous, though administrator
    srv("user", "add", "anna", "--role", "operator", input="correct horse\n")
    wait_for(lambda: srv.json("/api/hune/v1/me")["role"] == "none", 5)
    wrong, unknown = (post(srv, "/api/hune/v1/login", {"user": u, "password": "x"}) for u in ("anna", "nobody"))
    assert wrong == unknown and wrong[0] == 401
    status, headers, _ = srv.http("/api/hune/v1/login", method="POST", body={"user": "anna", "password": "correct horse"})
    assert status == 200 and "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"]
    cookie = {"Cookie": headers["Set-Cookie"].split(";")[0]}
    own = {**cookie, "Origin": srv.url}
    me = srv.json("/api/hune/v1/me", headers=cookie)
    assert me["user"] == "anna" and me["may"] == {"change": True, "processes": True, "administer": False}
    assert srv.http("/api/hune/v1/overview", headers=cookie)[0] == 200
    new = {"title": "by hand"}
    assert post(srv, "/api/hune/v1/anomalies", new, headers=cookie)[0] == 403  # no Origin
    assert post(srv, "/api/hune/v1/anomalies", new, headers={**cookie, "Origin": "http://evil.example"})[0] == 403
    assert post(srv, "/api/hune/v1/anomalies", new, headers={**own, "Content-Type": "text/plain"})[0] == 415
    assert post(srv, "/api/hune/v1/anomalies", new, headers=own)[0] == 201
    assert post(srv, "/api/hune/v1/processes/0/restart", headers=own)[0] in (404, 503)  # allowed, but no keeper here
    assert srv.http("/api/hune/v1/logout", method="POST", body={}, headers=own)[0] == 204
    assert srv.http("/api/hune/v1/overview", headers=cookie)[0] == 401
    assert 429 in [post(srv, "/api/hune/v1/login", {"user": "anna", "password": f"w{i}"})[0] for i in range(12)]


def test_non_loopback_with_a_credential(hune_env):
    token = hune_env("token", "add", "t", "--role", "viewer").stdout.strip()
    hune_env.spawn("server", f"--data.dir={hune_env.data}", f"--web.listen-address=0.0.0.0:{hune_env.port}", bin=hune_env.server_bin)
    hune_env.wait_ready()
    assert hune_env.http("/api/v1/query?query=1")[0] == 401
    assert hune_env.http("/api/v1/query?query=1", headers={"Authorization": f"Bearer {token}"})[0] == 200


# ---- hune's own ----

def test_shapes(srv):
    o = srv.json("/api/hune/v1/overview")
    assert set(o) >= {"now_ms", "verdict", "alerts", "firing", "anomalies", "targets", "processes", "indicators", "events", "storage"}
    assert o["verdict"]["level"] == "ok" and o["verdict"]["fr"] == "Tout va bien"
    assert srv.json("/api/hune/v1/processes") == {"connected": False, "processes": []}
    assert srv.json("/api/hune/v1/status")["mode"] == "server"
    f = srv.json("/api/hune/v1/functions")
    assert any(x["name"] == "rate" and x["args"] == ["range-vector"] for x in f["functions"]) and "sum" in f["aggregations"]
    assert srv.json("/api/hune/v1/notifications")["notifications"] == []
    i = srv.json("/api/hune/v1/indicators")
    assert i["overall"]["uptime_ratio"] == 1 and i["objectives"]["recovery_ms"] == 300000
    assert srv.http("/api/hune/v1/indicators?from_ms=5&to_ms=4")[0] == 400
    assert srv.http("/api/hune/v1/events?limit=0")[0] == 400
    assert srv.http("/api/hune/v1/nothing")[0] == 404


def test_an_anomaly_by_hand(srv):
    status, a = post(srv, "/api/hune/v1/anomalies", {"title": "La page d'inscription est lente 🐢", "severity": "warning", "service": "web"})
    assert status == 201 and re.match(r"ANO-\d{8}-001$", a["id"]) and a["status"] == "open" and a["detection"] == "manual"
    at = f"/api/hune/v1/anomalies/{a['id']}"
    assert post(srv, at + "/notes", {"text": "vu par trois personnes"})[1]["timeline"][-1]["text"] == "vu par trois personnes"
    assert post(srv, at + "/notes", {})[0] == 400
    status, b = post(srv, at, {"assignee": "anna", "severity": "critical"}, method="PATCH")
    assert status == 200 and b["assignee"] == "anna" and b["severity"] == "critical"
    assert post(srv, at, {"severity": "enormous"}, method="PATCH")[0] == 400
    assert post(srv, at, {"rev": 1, "title": "x"}, method="PATCH")[0] == 409
    assert post(srv, at, b"[1]", method="PATCH")[0] == 400
    assert post(srv, at + "/resolve", {"root_cause": "un index manquait"})[1]["status"] == "resolved"
    assert post(srv, at + "/close", {})[1]["status"] == "closed"
    assert post(srv, at + "/resolve", {})[0] == 409
    assert post(srv, at + "/explode", {})[0] == 404
    assert post(srv, "/api/hune/v1/anomalies", {"severity": "info"})[0] == 400
    assert srv.http("/api/hune/v1/anomalies/ANO-20200101-001")[0] == 404
    rows = srv.json("/api/hune/v1/anomalies?status=closed")
    assert rows["total"] == 1 and rows["anomalies"][0]["id"] == a["id"]
    assert srv.json("/api/hune/v1/anomalies?closed=false")["total"] == 0
    kinds = [e["kind"] for e in srv.json(f"/api/hune/v1/events?kind=anomaly.&subject={a['id']}&ascending=true")["events"]]
    assert kinds[0] == "anomaly.opened" and "anomaly.resolved" in kinds and kinds[-1] == "anomaly.closed"


class Stream:
    """A server-sent event stream over a plain socket."""

    def __init__(self, h, path, headers=""):
        self.s = socket.create_connection(("127.0.0.1", h.port), timeout=10)
        self.s.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n".encode())
        self.text = ""

    def until(self, what):
        while what not in self.text:
            got = self.s.recv(65536).decode()
            if not got:
                pytest.fail(f"stream ended without {what!r}: {self.text[-2000:]}")
            self.text += got
        return self.text


def test_live_events(srv):
    s = Stream(srv, "/api/hune/v1/events/stream?kind=anomaly.")
    s.until("retry:")
    post(srv, "/api/hune/v1/anomalies", {"title": "first"})
    s.until('"kind":"anomaly.opened"')
    seq = re.search(r"^id: (\d+)$", s.text, re.M).group(1)
    s.s.close()
    post(srv, "/api/hune/v1/anomalies", {"title": "second"})
    s = Stream(srv, "/api/hune/v1/events/stream?kind=anomaly.", f"Last-Event-ID: {seq}\r\n")
    s.until("second")  # what was missed comes first
    assert "first" not in s.text
    post(srv, "/api/hune/v1/anomalies", {"title": "third"})
    s.until("third")
    ids = [int(x) for x in re.findall(r"^id: (\d+)$", s.text, re.M)]
    assert ids == sorted(set(ids))  # each once, in order
    assert srv.http("/api/hune/v1/events/stream?severity=huge")[0] == 400
    srv.http("/-/quit", method="POST", body=b"")
    s.until("event: bye")


def test_many_live_clients_are_bounded(srv):
    streams = [Stream(srv, "/api/hune/v1/events/stream") for _ in range(64)]
    for s in streams:
        s.until("retry:")
    assert srv.http("/api/hune/v1/events/stream")[0] == 503
    for s in streams[:32]:
        s.s.close()
    wait_for(lambda: b"503" not in (lambda x: (x.s.recv(100), x.s.close())[0])(Stream(srv, "/api/hune/v1/events/stream")), 5,
             what="room for a new stream")


# ---- Prometheus' API ----

def form(h, path, **args):
    status, headers, body = h.http(path, method="POST", body=urllib.parse.urlencode(args).encode(),
                                   headers={"Content-Type": "application/x-www-form-urlencoded"})
    return status, json.loads(body)


def test_envelope(srv):
    wait_for(lambda: srv.json("/api/v1/query?query=up")["data"]["result"], 10, what="a scrape")
    r = srv.json("/api/v1/query?query=up&stats=true")
    assert r["status"] == "success" and r["data"]["resultType"] == "vector" and r["data"]["result"][0]["value"][1] == "1"
    assert srv.json("/api/v1/query?query=1%2B1&time=1435781451.781")["data"] == {"resultType": "scalar", "result": [1435781451.781, "2"]}
    assert srv.json("/api/v1/query?query=vector(NaN)&time=2015-07-01T20:10:51.781Z")["data"]["result"][0]["value"] == [1435781451.781, "NaN"]
    assert form(srv, "/api/v1/query", query="sum(up)")[0] == 200
    bad = [("query", {"query": "sum("}), ("query", {}), ("query", {"query": "1", "time": "NaN"}), ("query", {"query": "1", "timeout": "x"}),
           ("query_range", {"query": "1", "start": 0, "end": 11001, "step": 1}), ("query_range", {"query": "1", "start": 0, "end": 1, "step": 0}),
           ("query_range", {"query": "1", "start": 1, "end": 0, "step": 1}), ("series", {}), ("series", {"match[]": "{"}),
           ("labels", {"limit": "x"}), ("label/a%00b/values", {})]
    for path, args in bad:
        status, _, body = srv.http(f"/api/v1/{path}?{urllib.parse.urlencode(args)}")
        got = json.loads(body)
        assert status == 400 and got["status"] == "error" and got["errorType"] == "bad_data" and got["error"], (path, args, got)
    status, got = form(srv, "/api/v1/query", query="up * on(none) group_left() {__name__=~'.+'} + on() up")
    assert status == 422 and got["errorType"] == "execution"
    for path in ("targets", "rules", "alerts", "alertmanagers", "metadata", "targets/metadata", "scrape_pools", "status/config", "status/flags",
                 "status/runtimeinfo", "status/buildinfo", "status/tsdb", "status/walreplay", "features", "notifications", "labels",
                 "label/job/values", "label/U__job/values", "series?match[]=up", "query_exemplars?query=up&start=0&end=1",
                 "format_query?query=up", "parse_query?query=up"):
        assert srv.json("/api/v1/" + path)["status"] == "success", path
    assert srv.json("/api/v1/label/job/values")["data"] == ["self"]
    t = srv.json("/api/v1/targets")["data"]["activeTargets"][0]
    assert t["health"] == "up" and t["labels"]["job"] == "self" and t["scrapePool"] == "self"
    assert b"hune_http_requests_total" in srv.http("/metrics")[2]
    line = srv.http("/federate?match[]=up")[2].decode().splitlines()[1]
    assert line.startswith('up{env="test", instance="') and ' 1 17' in line, line


def test_large_answers_stream(srv):
    t = int(time.time()) - 60
    body = b"".join(series({"__name__": "many", "i": str(i)}, [(float(k), (t + k) * 1000) for k in range(3)]) for i in range(5000))
    assert write(srv, body)[0] == 204
    r = srv.json(f"/api/v1/query_range?query=many&start={t}&end={t + 2}&step=1", timeout=60)
    assert len(r["data"]["result"]) == 5000 and len(r["data"]["result"][0]["values"]) == 3
    status, headers, packed = srv.http(f"/api/v1/query?query=many&time={t + 2}", headers={"Accept-Encoding": "gzip"}, timeout=60)
    import gzip
    assert status == 200 and len(json.loads(gzip.decompress(packed))["data"]["result"]) == 5000
    assert len(srv.json(f"/api/v1/query?query=many&time={t + 2}&limit=7")["data"]["result"]) == 7


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes((n & 0x7f | 0x80,))
        n >>= 7
    return out + bytes((n,))


def field(n, b):
    return varint(n << 3 | 2) + varint(len(b)) + b


def series(labels, samples):
    b = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    return field(1, b + b"".join(field(2, b"\x09" + struct.pack("<d", v) + b"\x10" + varint(t)) for v, t in samples))


def write(h, message, **headers):
    packed = varint(len(message))
    for i in range(0, len(message), 65536):
        part = message[i:i + 65536]
        packed += (bytes(((len(part) - 1) << 2,)) if len(part) < 61 else b"\xf4" + struct.pack("<H", len(part) - 1)) + part
    return h.http("/api/v1/write", method="POST", body=packed, timeout=60,
                  headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", **headers})


def test_remote_write(srv):
    now = int(time.time() * 1000)
    assert write(srv, series({"__name__": "pushed", "a": "é"}, [(1.5, now - 1000), (2.5, now)]))[0] == 204
    assert srv.json("/api/v1/query?query=pushed")["data"]["result"][0]["value"][1] == "2.5"
    assert write(srv, series({"__name__": "pushed", "a": "é"}, [(1.5, now - 1000), (2.5, now)]))[0] == 204  # again: fine
    assert write(srv, series({"__name__": "pushed", "a": "é"}, [(9, now)]))[0] == 400
    assert write(srv, b"\x0a\x03abc")[0] == 400
    assert write(srv, b"x", **{"Content-Type": "text/html"})[0] == 415
    assert write(srv, b"x", **{"Content-Encoding": "br"})[0] == 415
    assert srv.http("/api/v1/write")[0] == 405
    assert srv.http("/api/v1/write", method="POST", body=b"", headers={"Origin": "http://evil.example", "Content-Type": "x/y"})[0] == 403


def test_administration(srv):
    assert write(srv, series({"__name__": "gone"}, [(1, int(time.time() * 1000))]))[0] == 204
    assert srv.http("/api/v1/admin/tsdb/delete_series?match[]=gone", method="POST", body=b"")[0] == 204
    assert srv.json("/api/v1/query?query=gone")["data"]["result"] == []
    assert srv.http("/api/v1/admin/tsdb/delete_series", method="POST", body=b"")[0] == 400
    assert srv.http("/api/v1/admin/tsdb/clean_tombstones", method="POST", body=b"")[0] == 204
    name = post(srv, "/api/v1/admin/tsdb/snapshot", b"")[1]["data"]["name"]
    assert (srv.data / "snapshots" / name).is_dir()
    assert srv.http("/-/reload", method="POST", body=b"")[0] == 200
    srv.file("prometheus.yml", "scrape_configs: nonsense\n")
    assert srv.http("/-/reload", method="POST", body=b"")[0] == 500
    assert srv.json("/api/hune/v1/status")["config_ok"] is False


def test_what_is_not_enabled(hune_env):
    hune_env.spawn("server", f"--data.dir={hune_env.data}", f"--web.listen-address=127.0.0.1:{hune_env.port}", bin=hune_env.server_bin)
    hune_env.wait_ready()
    assert hune_env.http("/-/quit", method="POST", body=b"")[0] == 403
    assert hune_env.http("/-/reload", method="POST", body=b"")[0] == 403
    assert write(hune_env, series({"__name__": "x"}, [(1, 1)]))[0] == 404
    status, _, body = hune_env.http("/api/v1/admin/tsdb/clean_tombstones", method="POST", body=b"")
    assert status == 500 and json.loads(body)["error"] == "admin APIs disabled"


# ---- hostile bytes ----

def raw(h, data, timeout=4):
    s = socket.create_connection(("127.0.0.1", h.port), timeout=timeout)
    got = b""
    try:
        s.sendall(data)
        while True:
            part = s.recv(65536)
            if not part:
                break
            got += part
    except OSError:
        pass
    s.close()
    return got


HEAD = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
TAIL = b"GET /api/hune/v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SMUGGLED = [
    b"Content-Length: 7\r\nContent-Length: 50\r\n\r\nquery=1",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\nContent-Length: 7\r\n\r\nquery=1",
]


@pytest.mark.filterwarnings("ignore")
def test_hostile_bytes(srv):
    for form_ in SMUGGLED:
        got = raw(srv, HEAD + form_ + TAIL)
        assert got.count(b"HTTP/1.1 ") == 1 and got.startswith(b"HTTP/1.1 400"), (form_, got[:200])
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
                 b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(20000)) + b"\r\n"):
        got = raw(srv, data)
        assert got == b"" or got.startswith(b"HTTP/1.1 4") or got.startswith(b"HTTP/1.1 505"), (data[:60], got[:100])
    assert raw(srv, b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10737418240\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert b" 421 " in raw(srv, b"GET /api/v1/query?query=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    for path in (b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/assets/..%2f..%2fetc/passwd", b"/%00", b"//etc/passwd"):
        assert b"root:x:0" not in raw(srv, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    got = raw(srv, b"GET /%0d%0aSet-Cookie:%20x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"\nset-cookie" not in got.lower()
    status, headers, _ = srv.http("/")
    csp = headers["Content-Security-Policy"]
    assert status == 200 and "unsafe-inline" not in csp and "frame-ancestors 'none'" in csp
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert srv.http("/-/ready")[0] == 200


def test_abandoned_queries_stop(srv):
    heavy = urllib.parse.urlencode({"query": "sum_over_time(sum_over_time(vector(1)[1d:1s])[30d:1s])"})
    socks = []
    for _ in range(6):
        s = socket.create_connection(("127.0.0.1", srv.port), timeout=5)
        s.sendall(f"GET /api/v1/query?{heavy} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        socks.append(s)
    time.sleep(0.5)
    assert srv.http("/-/healthy", timeout=3)[0] == 200  # the HTTP threads are free
    for s in socks:
        s.close()

    def busy():
        m = re.search(rb"^hune_http_workers_busy (\S+)$", srv.http("/metrics")[2], re.M)
        return float(m.group(1))
    wait_for(lambda: busy() == 0, 10, what="the workers to stop")


# ---- processes, under a keeper ----

def test_processes_need_a_credential(hune):
    if hune("start", "--help", check=False).returncode != 0:
        pytest.skip("no process verbs")
    script = hune.file("app.sh", "#!/bin/sh\nn=0\nwhile :; do n=$((n+1)); echo line $n; sleep 0.2; done\n", 0o755)
    hune("start", script, "--name", "ticker")
    row = wait_for(lambda: next((p for p in hune.json("/api/hune/v1/processes")["processes"]
                                 if p["name"] == "ticker" and p["state"] == "online"), None), 10, what="the application")
    at = f"/api/hune/v1/processes/{row['id']}"
    assert post(hune, at + "/restart")[0] == 403
    assert "hune user add" in post(hune, at + "/restart")[1]["error"]
    eyes = {"Authorization": "Bearer " + hune("token", "add", "eyes", "--role", "viewer").stdout.strip()}
    hands = {"Authorization": "Bearer " + hune("token", "add", "hands", "--role", "operator").stdout.strip()}
    time.sleep(1.2)
    assert post(hune, at + "/restart", headers=eyes)[0] == 403
    assert post(hune, at + "/restart", headers={**hands, "Content-Type": "text/plain"})[0] == 415
    assert post(hune, at + "/restart", headers=hands) == (200, {"ok": True})
    new = wait_for(lambda: next((p for p in hune.json("/api/hune/v1/processes")["processes"]
                                 if p["name"] == "ticker" and p["state"] == "online" and p["pid"] != row["pid"]), None), 10)
    assert new["id"] == row["id"]
    assert post(hune, "/api/hune/v1/processes/999/stop", headers=hands)[0] in (404, 409)
    assert post(hune, at + "/explode", headers=hands)[0] == 404
    wait_for(lambda: any(x["text"].startswith("line ") for x in hune.json(at + "/logs?lines=5")["lines"]), 5)
    assert len(hune.json(at + "/logs?lines=2")["lines"]) == 2
    s = Stream(hune, at + "/logs/stream")
    s.until("event: line")
    s.until('"text":"line ')
    assert '"name":"ticker"' in s.text
    wait_for(lambda: any(e["actor"] == "hands" for e in hune.json("/api/hune/v1/events?kind=process.requested")["events"]), 5)
    assert post(hune, at + "/stop", headers=hands)[0] == 200
    wait_for(lambda: next(p for p in hune.json("/api/hune/v1/processes")["processes"] if p["name"] == "ticker")["state"] == "stopped", 10)
    o = hune.json("/api/hune/v1/overview")["processes"]
    assert o["connected"] is True and o["stopped"] == 1
