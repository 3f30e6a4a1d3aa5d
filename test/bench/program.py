#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""program.py BUILD: figures of the whole program beside their targets, with the peers in the same run where they are
installed. Prints a table and writes BUILD/bench-program.json. Loopback only; everything it starts it stops."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

MIB = 1 << 20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as r:
            return r.status == 200
    except OSError:
        return False


def wait_ready(url, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answers(url):
            return True
        time.sleep(0.05)
    return False


def port_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def exec_to_ready_ms(argv, port, path, runs=5):
    """Milliseconds from fork to the first 200 of `path`, the least of some runs (the machine is shared)."""
    best = None
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as d:
            began = time.monotonic()
            p = subprocess.Popen([a.replace("{dir}", d) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while True:
                    with socket.socket() as s:
                        if s.connect_ex(("127.0.0.1", port)) == 0:
                            s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
                            if b" 200 " in s.recv(200)[:20]:
                                break
                    if p.poll() is not None or time.monotonic() - began > 20:
                        return None
                    time.sleep(0.0005)
                took = (time.monotonic() - began) * 1000
                best = took if best is None else min(best, took)
            finally:
                p.terminate()
                p.wait(20)
    return best


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


def cpu_s(pid):
    f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def children(pid):
    return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def main(build):
    rows = []

    def row(name, value, unit, target=None, peer=None, peer_name=""):
        rows.append({"name": name, "value": value, "unit": unit, "target": target, "peer": peer, "peer_name": peer_name})

    hune, server = build / "hune", build / "hune-server"
    have = {n: shutil.which(n) for n in ("prometheus", "prometheus-node-exporter", "prometheus-alertmanager")}

    with tempfile.TemporaryDirectory() as conf:
        empty = pathlib.Path(conf) / "prometheus.yml"
        empty.write_text("global:\n  scrape_interval: 15s\n")
        port = free_port()
        ready = exec_to_ready_ms([str(server), "server", f"--config.file={empty}", "--storage.tsdb.path={dir}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"], port, "/-/ready")
        peer = None
        if have["prometheus"]:
            pp = free_port()
            peer = exec_to_ready_ms([have["prometheus"], f"--config.file={empty}", "--storage.tsdb.path={dir}", f"--web.listen-address=127.0.0.1:{pp}", "--log.level=error"], pp, "/-/ready", 3)
        row("exec to ready", ready, "ms", 20, peer, "prometheus")

        # Idle server: nothing scraped, nothing collected.
        with tempfile.TemporaryDirectory() as d:
            port = free_port()
            p = subprocess.Popen([str(server), "server", f"--config.file={empty}", f"--storage.tsdb.path={d}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
            wait_ready(f"http://127.0.0.1:{port}/-/ready")
            time.sleep(8)
            row("server idle, resident", rss_mib(p.pid), "MiB", 12)
            p.terminate()
            p.wait(20)

    # Everything on: keeper, server, host and self collected; after a minute of collecting.
    with tempfile.TemporaryDirectory() as d:
        port = free_port()
        env = dict(os.environ, HUNE_DATA_DIR=d)
        k = subprocess.Popen([str(hune), "run", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"], env=env, stdout=subprocess.DEVNULL)
        wait_ready(f"http://127.0.0.1:{port}/-/ready")
        s = children(k.pid)[0]
        seconds = int(os.environ.get("HUNE_BENCH_SECONDS", "60"))
        begin = cpu_s(s) + cpu_s(k.pid)
        time.sleep(seconds)
        used = (cpu_s(s) + cpu_s(k.pid) - begin) / seconds
        row("keeper, resident", rss_mib(k.pid), "MiB", 3)
        peer = None
        if all(have.values()):
            with tempfile.TemporaryDirectory() as pd:
                procs, ports = [], [free_port() for _ in range(3)]
                pathlib.Path(pd, "p.yml").write_text(f"scrape_configs:\n- job_name: node\n  scrape_interval: 5s\n  static_configs:\n  - targets: ['127.0.0.1:{ports[1]}', '127.0.0.1:{ports[0]}']\n")
                pathlib.Path(pd, "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
                for argv in ([have["prometheus"], f"--config.file={pd}/p.yml", f"--storage.tsdb.path={pd}/d", f"--web.listen-address=127.0.0.1:{ports[0]}", "--log.level=error"],
                             [have["prometheus-node-exporter"], f"--web.listen-address=127.0.0.1:{ports[1]}", "--log.level=error"],
                             [have["prometheus-alertmanager"], f"--config.file={pd}/am.yml", f"--storage.path={pd}/a", f"--web.listen-address=127.0.0.1:{ports[2]}", "--cluster.listen-address=", "--log.level=error"]):
                    procs.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
                time.sleep(min(seconds, 45))
                peer = sum(rss_mib(p.pid) for p in procs)
                for p in procs:
                    p.send_signal(signal.SIGTERM)
                for p in procs:
                    p.wait(20)
        row("server with host and itself collected, resident", rss_mib(s), "MiB", 18, peer, "prometheus + node_exporter + alertmanager")
        row("CPU, everything on (keeper + server)", used * 100, "% of a core")

        # The page: bytes over the wire for the first view, compressed.
        paint = build.parent / "test" / "browser" / "paint.mjs"
        if paint.exists():
            r = subprocess.run(["node", str(paint), f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=120)
            if r.returncode == 0:
                got = json.loads(r.stdout.strip().splitlines()[-1])
                row("page: first paint", got["first_paint_ms"], "ms", 300)
                row("page: transferred, compressed", got["transferred_bytes"] / 1024, "KiB", 350)
            else:
                print(r.stderr, file=sys.stderr)
        k.terminate()
        k.wait(30)

    for r in rows:
        value = "-" if r["value"] is None else f"{r['value']:.1f}"
        target = "" if r["target"] is None else f"target <= {r['target']}"
        verdict = "" if r["target"] is None or r["value"] is None else ("ok" if r["value"] <= r["target"] else "MISSED")
        peer = "" if r["peer"] is None else f"{r['peer_name']}: {r['peer']:.1f} {r['unit']}"
        print(f"{r['name']:52} {value:>9} {r['unit']:12} {target:18} {verdict:7} {peer}")
    (build / "bench-program.json").write_text(json.dumps(rows, indent=1))


main(pathlib.Path(sys.argv[1]).resolve())
