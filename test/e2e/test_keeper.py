# SPDX-License-Identifier: Apache-2.0
"""The keeper, with the real binary: what users rely on when things go wrong."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest
from conftest import pid_alive, wait_for

TYPES = dict(OK=1, FAIL=2, PING=3, INFO=4, LIST=5, PROC=6, ADD=7, ACT=8, SUBSCRIBE=9, STATE=10, LOG=11, LOST=12, KILL=15,
             JOB=16, JOB_OUT=17, JOB_KILL=18, REPORT=19, SERVER_DIED=20, SERVER_ACT=21)
TEXT, ID, ACTION, TOPICS, EVENT, STREAM, BYTES, COUNT, SIGNAL, CODE = 1, 4, 6, 7, 8, 10, 11, 12, 14, 15
STATE, ADDRESS, INPUT, TIMEOUT_MS, NAME, ARG, ENV, CWD = 9, 29, 33, 34, 64, 66, 67, 68


class Client:
    """The control protocol, written a second time from its description."""

    def __init__(self, h):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(10)
        self.s.connect(str(h.data / "keeper" / "control.sock"))
        self.id = 0
        self.data = b""

    def send(self, kind, *fields):
        self.id += 1
        body = b""
        for tag, v in fields:
            v = struct.pack("<Q", v) if isinstance(v, int) else v if isinstance(v, bytes) else v.encode()
            body += struct.pack("<HI", tag, len(v)) + v
        self.s.sendall(struct.pack("<IHHI", len(body), TYPES[kind], 0, self.id) + body)
        return self.id

    def recv(self):
        """(type name, id, {tag: value or list}); None at the end."""
        while len(self.data) < 12 or len(self.data) < 12 + struct.unpack("<I", self.data[:4])[0]:
            got = self.s.recv(1 << 20)
            if not got:
                return None
            self.data += got
        n, kind, _, rid = struct.unpack("<IHHI", self.data[:12])
        body, self.data = self.data[12:12 + n], self.data[12 + n:]
        fields = {}
        while body:
            tag, k = struct.unpack("<HI", body[:6])
            fields.setdefault(tag, []).append(body[6:6 + k])
            body = body[6 + k:]
        return {v: k for k, v in TYPES.items()}.get(kind, kind), rid, fields

    def until(self, kind, rid=None):
        """All messages up to the first of this kind (and request)."""
        got = []
        while True:
            m = self.recv()
            assert m is not None, f"stream ended before {kind}; got {got}"
            got.append(m)
            if m[0] == "FAIL" and kind != "FAIL":
                pytest.fail(f"refused: {m[2].get(TEXT)}")
            if m[0] == kind and (rid is None or m[1] == rid):
                return got


def num(fields, tag, dflt=None):
    return struct.unpack("<Q", fields[tag][0])[0] if tag in fields else dflt


@pytest.fixture
def h(hune_env):
    hune_env.start("--no-server")
    return hune_env


def content(path):
    """The file's bytes; empty while it does not exist (between two steps of a rotation, say)."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def running(marker):
    """pids whose command line holds this text."""
    out = []
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                with open(f"/proc/{d}/cmdline", "rb") as f:
                    if marker.encode() in f.read().replace(b"\0", b" ") and pid_alive(int(d)) and int(d) != os.getpid():
                        out.append(int(d))
            except OSError:
                pass
    return out


# ---- verbs ----

def test_first_verb_starts_hune(hune_env):
    h = hune_env
    env = {"HUNE_NO_SERVER": "1"}
    assert h("list", check=False).returncode == 1
    assert h("ping", check=False).returncode == 1
    assert h("status", check=False).returncode == 3
    assert json.loads(h("jlist", check=False).stdout) == []
    r = h("start", "sleep 1000", "--name", "s", env=env)
    assert "in the background" in r.stderr and "logs" in r.stderr
    assert "s" in r.stdout and "online" in r.stdout
    assert h("ping").stdout.startswith("pong")
    assert "process manager only" in h("status").stdout
    pid = h.app("s")["pid"]
    assert h("pid", "s").stdout.strip() == str(pid)
    assert oct(os.stat(h.data).st_mode & 0o777) == "0o700"
    assert oct(os.stat(h.data / "keeper" / "control.sock").st_mode & 0o777) == "0o600"
    keeper = h.keeper_pid()
    h("kill")
    wait_for(lambda: not pid_alive(pid) and not pid_alive(keeper), what="everything gone")
    assert not (h.data / "keeper" / "apps").exists()


def test_second_keeper_is_refused(h):
    r = h("run", "--no-server", check=False)
    assert r.returncode == 1 and str(h.keeper_pid()) in r.stderr


def test_scripts_by_extension_and_arguments(h):
    h.file("a.py", "import sys, os, time\nprint(sys.argv[1:], os.environ['NODE_APP_INSTANCE'], os.environ['X'], flush=True)\ntime.sleep(1000)\n")
    h.file("b.sh", "echo shell $1 in $PWD\nexec sleep 1000\n")
    h.file("c", "#!/bin/sh\necho direct\nexec sleep 1000\n", 0o755)
    h.file("d", "not a program\n")
    h("start", "a.py", "-i", "2", "--env", "X=has space", "--", "--port", "80 80")
    h("start", "b.sh", "word", "--name", "shell", "--cwd", "/tmp")
    h("start", "./c", "--interpreter", "none")
    assert "not executable" in h("start", "d", check=False).stderr
    assert "no such file" in h("start", "nothing.js", check=False).stderr
    log = lambda n: (h.data / "logs" / f"{n}-out.log").read_text()
    wait_for(lambda: log("a").count("\n") == 2 and log("shell") and log("c"), what="logs")
    assert sorted(log("a").splitlines()) == ["['--port', '80 80'] 0 has space", "['--port', '80 80'] 1 has space"]
    assert log("shell") == "shell word in /tmp\n" and log("c") == "direct\n"
    rows = h.jlist()
    assert [r["name"] for r in rows] == ["a", "a", "shell", "c"]
    assert [r["pm2_env"]["exec_interpreter"] for r in rows] == ["python3", "python3", "bash", "none"]
    assert "already" in h("start", "./c", check=False).stderr
    h("stop", "c")
    assert h.app("c")["pm2_env"]["status"] == "stopped" and h.app("c")["pid"] == 0
    h("start", "c")
    assert h.app("c")["pm2_env"]["status"] == "online"
    old = h.app("shell")["pid"]
    h("restart", "shell")
    assert h.app("shell")["pid"] != old and not pid_alive(old) and h.app("shell")["pm2_env"]["restart_time"] == 1
    h("reset", "shell")
    assert h.app("shell")["pm2_env"]["restart_time"] == 0
    h("delete", "all")
    assert h.jlist() == [] and "no processes" in h("list").stdout


def test_secrets_stay_inside(h):
    h("start", "sleep 1000", "--name", "s", env={"TOKEN": "hunter2"})
    for verb in (["list"], ["jlist"], ["describe", "s"], ["status"], ["logs", "s", "--nostream"]):
        assert "hunter2" not in h(*verb).stdout
    assert "TOKEN=hunter2" in h("env", "s").stdout
    assert h.jlist()[0]["pm2_env"]["env"] == {}
    assert json.loads(h("jlist", "--with-env").stdout)[0]["pm2_env"]["env"]["TOKEN"] == "hunter2"
    assert "hunter2" not in (h.data / "logs" / "keeper.log").read_text()


def test_ecosystem_file(h):
    if not shutil.which("node"):
        pytest.skip("no node")
    h.file("app.js", "console.log(process.argv.slice(2).join('|'), process.env.PORT, process.env.NODE_ENV); setInterval(() => {}, 1000)\n")
    h.file("ecosystem.config.js", """module.exports = {apps: [
      {name: 'api', script: './app.js', args: ['--x', 'a b'], instances: 2, env: {PORT: 3000, NODE_ENV: 'production'}},
      {name: 'web', script: 'sleep', args: '1000', interpreter: 'none', max_restarts: 3, kill_timeout: 500},
      {name: 'skipped', script: 'sleep', args: '1000'}]}\n""")
    h("start", "ecosystem.config.js", "--only", "api,web")
    rows = h.jlist()
    assert [r["name"] for r in rows] == ["api", "api", "web"]
    assert rows[2]["pm2_env"]["max_restarts"] == 3 and rows[2]["pm2_env"]["kill_timeout"] == 500
    out = h.data / "logs" / "api-out.log"
    wait_for(lambda: out.exists() and out.read_text().count("\n") == 2, what="node output")
    assert out.read_text() == "--x|a b 3000 production\n" * 2
    h.file("broken.config.js", "module.exports = {apps: [\n")
    r = h("start", "broken.config.js", check=False)
    assert r.returncode == 1 and "SyntaxError" in r.stderr


def test_logs_verb(h):
    h.file("t.sh", "for i in 1 2 3 4 5; do echo line $i; done\necho bad >&2\nsleep 0.4\nwhile true; do echo tick; sleep 0.1; done\n")
    h("start", "t.sh")
    wait_for(lambda: "line 5" in h("logs", "t", "--nostream", "--raw").stdout, what="lines")
    assert h("logs", "t", "--nostream", "--err", "--raw").stdout == "bad\n"
    out = h("logs", "t", "--nostream", "--out", "--lines", "3", "--raw").stdout
    assert len(out.splitlines()) == 3
    p = h.spawn("logs", "t", "--lines", "0")
    text = h.root / f"spawn-{len(h.started) - 1}.out"
    wait_for(lambda: text.read_text().count("t#0 | tick\n") >= 3, what="following")
    p.terminate()
    p.wait(5)
    h("flush", "t")
    assert "line" not in (h.data / "logs" / "t-out.log").read_text()


def test_signal_and_describe(h):
    h.file("s.sh", "trap 'echo got usr1' USR1\nwhile true; do sleep 0.05; done\n")
    h("start", "s.sh")
    time.sleep(0.3)
    h("sendSignal", "SIGUSR1", "s")
    wait_for(lambda: "got usr1" in h("logs", "s", "--nostream").stdout, what="the signal's echo")
    assert "a signal" in h("sendSignal", "NONSENSE", "s", check=False).stderr
    h("start", "sh -c 'echo last words >&2; exit 3'", "--name", "dies", "--no-autorestart")
    wait_for(lambda: h.app("dies")["pm2_env"]["status"] == "stopped", what="its end")
    text = h("describe", "dies").stdout
    assert "exit code 3" in text and "last words" in text
    assert h.app("dies")["pm2_env"]["exit_code"] == 3
    assert h("stop", "nobody", check=False).returncode == 1


def test_unknown_verb_and_help(hune_env):
    h = hune_env
    r = h("strat", check=False)
    assert r.returncode == 2 and "did you mean: hune start" in r.stderr
    r = h("frobnicate", check=False)
    assert r.returncode == 2 and "hune help" in r.stderr
    assert h("--version").stdout.startswith("hune ")
    assert "Examples:" in h("help").stdout and h("help").stdout == h("--help").stdout
    verbs = [line.split()[0] for line in h("help").stdout.split("Processes:")[1].split("Monitoring:")[0].splitlines() if line.strip()]
    assert len(verbs) >= 15
    fr = {"LC_ALL": "fr_FR.UTF-8"}
    for v in ["run", *verbs]:
        en, french = h("help", v).stdout, h("help", v, env=fr).stdout
        assert "hune " + v in en and "Examples:" in en, v
        assert "Exemples" in french and french != en, v
        assert h(v, "--help").stdout == en, v
    assert "Pour commencer" in h("help", env=fr).stdout
    assert "verbe inconnu" in h("strat", env=fr, check=False).stderr
    assert "aucun hune" in h("status", env=fr, check=False).stderr
    assert h("list", "--bogus", check=False).returncode == 2
    assert h("start", check=False).returncode == 2
    assert h("start", "x", "--max-restarts", "many", check=False).returncode == 2


# ---- lives ----

def test_crash_restarts_with_back_off(h):
    h.file("loop.sh", "date +%s.%N >> stamps\nexit 1\n")
    h("start", "loop.sh", "--max-restarts", "6")
    wait_for(lambda: h.app("loop")["pm2_env"]["status"] == "errored", 15, what="giving up")
    stamps = [float(x) for x in (h.root / "stamps").read_text().split()]
    gaps = [b - a for a, b in zip(stamps, stamps[1:])]
    assert len(stamps) == 6
    for gap, want in zip(gaps, [0.1, 0.15, 0.225, 0.3375, 0.506]):
        assert want - 0.01 <= gap < want + 0.5
    assert "given up" in (h.data / "logs" / "keeper.log").read_text()
    r = h("restart", "loop")
    assert r.returncode == 0
    wait_for(lambda: len((h.root / "stamps").read_text().split()) >= 8, what="trying again")


def test_crash_of_a_stable_process_restarts_at_once(h):
    h.file("s.sh", "echo up\nexec sleep 1000\n")
    h("start", "s.sh", "--min-uptime", "100ms")
    pid = h.app("s")["pid"]
    time.sleep(0.4)
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_for(lambda: (h.app("s")["pid"] or pid) != pid, 3, 0.005, what="the restart")
    assert time.monotonic() - began < 1
    assert h.app("s")["pm2_env"]["restart_time"] == 1


def test_exit_codes_that_mean_stop(h):
    h("start", "sh -c 'exit 7'", "--name", "e", "--stop-exit-codes", "0,7")
    wait_for(lambda: h.app("e")["pm2_env"]["status"] == "stopped", what="stopping by code")


def test_stop_takes_the_whole_tree(h):
    tag = f"9{os.getpid()}"
    h.file("tree.sh", f"sleep {tag}1 &\nsh -c 'sleep {tag}2 & wait' &\nsetsid sleep {tag}3 &\n(setsid sh -c 'sleep {tag}4 & sleep {tag}5' &) &\nwait\n")
    h("start", "tree.sh")
    wait_for(lambda: all(running(f"sleep {tag}{i}") for i in range(1, 6)), what="the tree")
    time.sleep(0.2)
    h("stop", "tree")
    assert not running(f"sleep {tag}")


def test_stop_of_a_stubborn_process_escalates(h):
    h.file("stubborn.py", "import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: time.sleep(1)\n")
    h("start", "stubborn.py", "--kill-timeout", "600")
    wait_for(lambda: "up" in h("logs", "stubborn", "--nostream").stdout, what="its start")
    began = time.monotonic()
    h("stop", "stubborn")
    assert 0.5 < time.monotonic() - began < 3
    assert not running("stubborn.py") and "SIGKILL" in (h.data / "logs" / "keeper.log").read_text()


def test_kill_9_of_the_keeper_leaves_one_of_each(h):
    h.file("talk.sh", "i=0\nwhile true; do i=$((i+1)); echo $i; sleep 0.05; done\n")
    h.file("late.sh", "sleep 1\nexit 1\n")
    h("start", "talk.sh")
    h("start", "late.sh", "--name", "late")
    h("start", "sleep 1000", "--name", "idle", "-i", "2")
    h("stop", "idle")
    h("start", "sleep 1000", "--name", "other", "-i", "3")
    before = {(r["name"], r["pm_id"]): r["pid"] for r in h.jlist()}
    late = h.app("late")["pid"]
    time.sleep(0.3)
    h.keeper.send_signal(signal.SIGKILL)
    h.keeper.wait()
    wait_for(lambda: not pid_alive(late), what="the end of one while nobody looks")
    assert pid_alive(before[("talk", 0)])  # writing without a reader does not kill it
    h.start("--no-server")
    after = {(r["name"], r["pm_id"]): r["pid"] for r in h.jlist()}
    assert set(after) == set(before)
    for key, pid in before.items():
        if key[0] in ("talk", "other"):
            assert after[key] == pid, key
    assert [r["pm2_env"]["status"] for r in h.jlist() if r["name"] == "idle"] == ["stopped"] * 2
    assert h.app("late")["pid"] != late and h.app("late")["pm2_env"]["status"] in ("online", "waiting restart")
    # Not a line is missing: what it wrote meanwhile waited in the pipe.
    out = h.data / "logs" / "talk-out.log"
    wait_for(lambda: out.read_text().count("\n") > 20, what="its numbers")
    lines = [int(x) for x in out.read_text().splitlines(True) if x.endswith("\n")]
    assert lines == list(range(1, len(lines) + 1))
    # The adopted are managed like any other.
    h("stop", "other")
    assert not any(pid_alive(p) for k, p in before.items() if k[0] == "other")
    pid = h.app("talk")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: h.app("talk")["pid"] not in (0, pid), what="restart of an adopted process")
    assert h.stop() == 0
    assert not running("talk.sh")


def test_kill_9_in_a_restart_storm_leaves_no_doubles(h):
    tag = f"8{os.getpid()}"
    h.file("child.sh", f"exec sleep {tag}\n")
    for i in range(6):
        h("start", "child.sh", "--name", f"c{i}", "--min-uptime", "1ms")
    for _ in range(4):
        for pid in running(f"sleep {tag}"):
            os.kill(pid, signal.SIGKILL)
        h.keeper.send_signal(signal.SIGKILL)
        h.keeper.wait()
        h.start("--no-server")
        wait_for(lambda: all(r["pm2_env"]["status"] == "online" for r in h.jlist()), what="all online")
        time.sleep(0.1)
        pids = sorted(r["pid"] for r in h.jlist())
        wait_for(lambda: sorted(running(f"sleep {tag}")) == sorted(r["pid"] for r in h.jlist()), 5, what="one of each")
        assert len(pids) == 6


def test_verb_after_kill_9_brings_the_keeper_back(h):
    h("start", "sleep 1000", "--name", "s")
    pid = h.app("s")["pid"]
    h.keeper.send_signal(signal.SIGKILL)
    h.keeper.wait()
    r = h("list", env={"HUNE_NO_SERVER": "1"})
    assert "in the background" in r.stderr and h.app("s")["pid"] == pid


def test_damaged_state_is_survived(h):
    h("start", "sleep 1000", "--name", "s")
    pid = h.app("s")["pid"]
    h.keeper.send_signal(signal.SIGKILL)
    h.keeper.wait()
    (h.data / "keeper" / "apps").write_bytes(b"HUNEAPPS\1\0\0\0garbage that is no state at all")
    h.start("--no-server")
    assert h.jlist() == []
    wait_for(lambda: not pid_alive(pid), what="the orphan's end")  # nobody knows how to run it: no orphan stays
    assert "damaged" in h.output()


def test_save_and_resurrect(h):
    h("start", "sleep 1000", "--name", "a", "-i", "2", "--env", "V=1")
    h("start", "sleep 1000", "--name", "b")
    h("stop", "b")
    assert "2 applications" in h("save").stdout
    h("delete", "all")
    assert h("resurrect").returncode == 0
    assert [(r["name"], r["pm2_env"]["status"]) for r in h.jlist()] == [("a", "online"), ("a", "online"), ("b", "stopped")]
    assert "V=1" in h("env", "a").stdout
    assert "brought back 0" in h("resurrect").stdout
    assert h.stop() == 0
    h.start("--no-server")
    assert h.jlist() == []
    h("resurrect")
    assert len(h.jlist()) == 3


def test_sigterm_stops_applications_and_exits_zero(h):
    h.file("bye.sh", "trap 'echo bye; exit 0' INT\necho up\nwhile true; do sleep 0.05; done\n")
    h("start", "bye.sh", "-i", "3")
    wait_for(lambda: h("logs", "bye", "--nostream", "--raw").stdout.count("up") == 3, what="their start")
    pids = [r["pid"] for r in h.jlist()]
    assert h.stop() == 0
    assert not any(pid_alive(p) for p in pids)
    assert (h.data / "logs" / "bye-out.log").read_text().count("bye\n") == 3


# ---- logs ----

def test_flood_is_rotated_and_complete(h):
    n = 250000
    h.file("flood.py", f"import sys, time\nl = 'x' * 199\nfor i in range({n}): sys.stdout.write('%07d %s\\n' % (i, l))\nsys.stdout.flush()\ntime.sleep(1000)\n")
    h("start", "flood.py")
    slowest = 0.0

    def files():
        d = h.data / "logs"
        return sorted(d.glob("flood-out.*.log"), key=lambda p: int(p.name.split(".")[1])) + [d / "flood-out.log"]

    want = n * 208
    end = time.monotonic() + 60
    while sum(len(content(f)) for f in files()) < want:
        assert time.monotonic() < end
        began = time.monotonic()
        h("ping")
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0  # the control socket got its turns
    i = 0
    for f in files():
        with open(f) as lines:
            for line in lines:
                assert int(line[:7]) == i and len(line) == 208
                i += 1
    assert i == n and len(files()) > 4
    with open(f"/proc/{h.keeper_pid()}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    if not os.environ.get("HUNE_SANITIZED"):
        assert rss < 6 * 1024, rss


def test_budget_is_kept(hune_env):
    h = hune_env
    h.start("--no-server")
    c = Client(h)
    rid = c.send("ADD", (NAME, "b"), (ARG, "/usr/bin/python3"), (ARG, "-c"), (CWD, str(h.root)), (ENV, "PATH=/usr/bin:/bin"),
                 (ARG, "import time\nfor i in range(40000): print('%07d' % i + 'y' * 92)\nprint('end', flush=True)\ntime.sleep(1000)"),
                 (82, 1 << 20))
    c.until("OK", rid)
    log = h.data / "logs" / "b-out.log"
    wait_for(lambda: content(log).endswith(b"end\n"), what="its end")
    total = sum(f.stat().st_size for f in (h.data / "logs").glob("b-*.log"))
    assert 700 << 10 < total <= 1 << 20
    segments = sorted((h.data / "logs").glob("b-out.*.log"), key=lambda p: int(p.name.split(".")[1]))
    lines = "".join(f.read_text() for f in [*segments, log]).splitlines()[:-1]
    numbers = [int(x[:7]) for x in lines]
    assert numbers == list(range(numbers[0], 40000))  # the oldest went, nothing else


def test_line_without_end(h):
    h.file("long.py", "import sys, time\nfor i in range(64): sys.stdout.write('y' * 262144)\nsys.stdout.flush()\nprint()\nprint('done', flush=True)\ntime.sleep(1000)\n")
    h("start", "long.py")
    logs = h.data / "logs"
    wait_for(lambda: content(logs / "long-out.log")[-5:] == b"done\n", 20, what="the line's end")
    assert sum(f.stat().st_size for f in logs.glob("long-out*.log")) == 64 * 262144 + 6


# ---- the socket ----

def test_protocol_by_hand(h):
    c = Client(h)
    c.send("SUBSCRIBE", (TOPICS, 3))
    c.until("OK")
    rid = c.send("ADD", (NAME, "p"), (ARG, "/bin/sh"), (ARG, "-c"), (ARG, "echo hello; echo oops >&2; exec sleep 1000"), (CWD, "/"))
    got = c.until("OK", rid)
    pm_id = num(got[-1][2], ID)
    events, logs = [], {1: b"", 2: b""}
    while len(events) < 3 or logs != {1: b"hello\n", 2: b"oops\n"}:
        kind, _, f = c.recv()
        if kind == "STATE":
            events.append(num(f, EVENT))
        if kind == "LOG":
            logs[num(f, STREAM)] += f[BYTES][0]
    assert events == [8, 1, 2]  # added, started, online
    c.send("ACT", (ACTION, 2), (ID, pm_id))
    while True:
        kind, _, f = c.recv()
        if kind == "STATE" and num(f, EVENT) == 6:
            break
    for bad in [(("ACT", (ACTION, 99), (ID, pm_id))), (("ACT", (ACTION, 2), (ID, 12345))), (("ADD", (NAME, "a/b"), (ARG, "x"))),
                (("ADD", (NAME, "q"))), (("ADD", (NAME, "q"), (ARG, "x"), (CWD, "relative"))), (("ADD", (NAME, "p\0x"), (ARG, "x"))),
                (("ADD", (NAME, "q"), (ARG, "x"), (71, 0))), (("SERVER_ACT", (ACTION, 2)))]:
        rid = c.send(*bad)
        assert c.until("FAIL", rid)[-1][2][TEXT]
    assert len(h.jlist()) == 1


def test_hostile_bytes_end_the_connection_only(h):
    for junk in [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, struct.pack("<IHHI", 6, 3, 0, 1) + struct.pack("<HI", 1, 99),
                 struct.pack("<IHHI", 0, 3, 7, 1)]:
        c = Client(h)
        c.s.sendall(junk)
        assert c.recv() is None
    many = [Client(h) for _ in range(60)]
    for c in many:
        c.s.sendall(b"\0" * 3)  # half a head, and then silence
    assert h("ping").returncode == 0
    c = Client(h)
    c.s.sendall(struct.pack("<IHHI", 0, 999, 0, 5))
    assert c.recv()[0] == "FAIL"


def test_slow_reader_loses_logs_and_hears_of_it(h):
    c = Client(h)
    c.send("SUBSCRIBE", (TOPICS, 2))
    c.until("OK")
    h.file("much.py", "import sys, time\nfor i in range(100000): sys.stdout.write('z' * 99 + '\\n')\nsys.stdout.flush()\nwhile True:\n  time.sleep(0.1); print('tick', flush=True)\n")
    h("start", "much.py")
    wait_for(lambda: sum(f.stat().st_size for f in (h.data / "logs").glob("much-out*.log")) >= 10000000, 30, what="the output")
    got = lost = 0
    while got + lost < 10000000:
        kind, _, f = c.recv()
        if kind == "LOG":
            got += len(f[BYTES][0])
        elif kind == "LOST":
            lost += num(f, COUNT)
    assert lost > 0 and got > 0


def test_jobs(h):
    c = Client(h)
    rid = c.send("JOB", (ARG, "sh"), (ARG, "-c"), (ARG, "cat; echo err >&2; exit 5"), (INPUT, b"stdin " * 20000))
    got = c.until("OK", rid)
    out = b"".join(f[BYTES][0] for k, _, f in got if k == "JOB_OUT" and num(f, STREAM) == 1)
    err = b"".join(f[BYTES][0] for k, _, f in got if k == "JOB_OUT" and num(f, STREAM) == 2)
    assert out == b"stdin " * 20000 and err == b"err\n" and num(got[-1][2], CODE) == 5
    rid = c.send("JOB", (ARG, "no-such-program"))
    assert b"No such file" in c.until("FAIL", rid)[-1][2][TEXT][0]
    tag = f"7{os.getpid()}"
    rid = c.send("JOB", (ARG, "sh"), (ARG, "-c"), (ARG, f"setsid sleep {tag} & sleep {tag}"), (TIMEOUT_MS, 300))
    got = c.until("OK", rid)
    assert num(got[-1][2], SIGNAL) == 9 and num(got[-1][2], COUNT) == 1
    wait_for(lambda: not running(f"sleep {tag}"), what="the job's children")
    c.send("JOB", (ARG, "sleep"), (ARG, tag))
    wait_for(lambda: running(f"sleep {tag}"), what="a job")
    c.s.close()  # a job ends with whoever asked for it
    wait_for(lambda: not running(f"sleep {tag}"), what="its end")
    # A reader that pauses pauses the job, not the keeper; nothing is lost.
    c = Client(h)
    rid = c.send("JOB", (ARG, "head"), (ARG, "-c"), (ARG, "20000000"), (ARG, "/dev/zero"))
    time.sleep(0.5)
    got = c.until("OK", rid)
    assert sum(len(f[BYTES][0]) for k, _, f in got if k == "JOB_OUT") == 20000000


# ---- the server ----

SERVER = """#!/usr/bin/python3
import os, signal, sys, time
with open('{root}/server.pids', 'a') as f: f.write(str(os.getpid()) + ' ' + ' '.join(sys.argv[1:]) + '\\n')
def bye(*a):
    with open('{root}/server.bye', 'a') as f: f.write('x')
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print('serving', file=sys.stderr, flush=True)
if os.path.exists('{root}/usage'):
    print('bad.yml:1:1: no', file=sys.stderr, flush=True); sys.exit(2)
if os.path.exists('{root}/crash'):
    print('assertion failed: something', file=sys.stderr, flush=True); os.abort()
while True: time.sleep(1)
"""


@pytest.fixture
def hs(hune_env):
    """A hune whose server is a script that we can make crash."""
    h = hune_env
    bindir = h.root / "bin"
    bindir.mkdir()
    shutil.copy(h.bin, bindir / "hune")
    h.bin = bindir / "hune"
    h.file("bin/hune-server", SERVER.replace("{root}", str(h.root)), 0o755)
    return h


def start_with_server(h, *flags):
    h.keeper = h.spawn("run", *flags, stdout=h.log)
    wait_for(lambda: h("ping", check=False).returncode == 0, what="the keeper")


def server_pids(h):
    f = h.root / "server.pids"
    return [int(line.split()[0]) for line in f.read_text().splitlines()] if f.exists() else []


def test_server_crash_touches_no_application(hs):
    h = hs
    start_with_server(h, "--some.flag=1", "--data.dir", str(h.data))
    h("start", "sleep 1000", "--name", "s")
    app = h.app("s")["pid"]
    wait_for(lambda: server_pids(h), what="the server")
    assert "--data.dir=" + str(h.data) + " --some.flag=1" in (h.root / "server.pids").read_text()
    wait_for(lambda: "serving" in h.output(), what="its words on our terminal")
    (h.root / "crash").touch()
    os.kill(server_pids(h)[0], signal.SIGKILL)
    wait_for(lambda: len(server_pids(h)) >= 5, 20, what="restarts")
    (h.root / "crash").unlink()
    wait_for(lambda: pid_alive(server_pids(h)[-1]) and time.sleep(0.3) is None and pid_alive(server_pids(h)[-1]), 20, what="recovery")
    # The next server hears why the last one died, once.
    c = Client(h)
    c.send("SUBSCRIBE", (TOPICS, 4))
    died = c.until("SERVER_DIED")[-1][2]
    assert num(died, SIGNAL) == signal.SIGABRT and b"assertion failed: something" in died[TEXT][0]
    c.send("REPORT", (STATE, 2), (ADDRESS, "http://127.0.0.1:9999"), (TEXT, ""))
    c.until("OK")
    wait_for(lambda: "http://127.0.0.1:9999" in h.output(), what="the banner")
    status = h("status").stdout
    assert "online" in status and "http://127.0.0.1:9999" in status
    assert h.app("s")["pid"] == app
    assert len(h.jlist()) == 1
    assert "assertion failed" in (h.data / "logs" / "server.log").read_text()
    pid = server_pids(h)[-1]
    assert h.stop() == 0
    assert not pid_alive(pid) and not pid_alive(app) and (h.root / "server.bye").read_text() == "x"


def test_server_is_adopted_too(hs):
    h = hs
    start_with_server(h)
    wait_for(lambda: server_pids(h), what="the server")
    h.keeper.send_signal(signal.SIGKILL)
    h.keeper.wait()
    start_with_server(h)
    time.sleep(0.5)
    assert len(server_pids(h)) == 1 and pid_alive(server_pids(h)[0])
    h.keeper.send_signal(signal.SIGKILL)
    h.keeper.wait()
    start_with_server(h, "--other.flag")  # other flags: the old one ends, then a new one begins
    wait_for(lambda: len(server_pids(h)) == 2, what="the second server")
    assert not pid_alive(server_pids(h)[0])
    assert h.stop() == 0
    assert not pid_alive(server_pids(h)[1])


def test_refused_configuration_gives_the_prompt_back(hs):
    h = hs
    (h.root / "usage").touch()
    h.keeper = h.spawn("run", stdout=h.log)
    assert h.keeper.wait(10) == 2
    assert "bad.yml:1:1: no" in h.output()
    h.keeper = None
    # In the background there is no prompt to give back: applications go on, the server waits for SIGHUP.
    h("start", "sleep 1000", "--name", "s")
    wait_for(lambda: "configuration" in (h.data / "logs" / "keeper.log").read_text().split("in_background")[-1], what="the word")
    (h.root / "usage").unlink()
    n = len(server_pids(h))
    os.kill(h.keeper_pid(), signal.SIGHUP)
    wait_for(lambda: len(server_pids(h)) == n + 1 and pid_alive(server_pids(h)[-1]), what="the server's next try")
    assert h.app("s")["pm2_env"]["status"] == "online"


# ---- what it costs ----

def test_costs(h):
    for i in range(10):
        h("start", "sleep 1000", "--name", f"a{i}")
    with open(f"/proc/{h.keeper_pid()}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    times = []
    for _ in range(20):
        began = time.monotonic()
        subprocess.run([str(h.bin), "list"], env=h.env, stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - began)
    fds = len(os.listdir(f"/proc/{h.keeper_pid()}/fd"))
    for _ in range(10):
        h("restart", "all")
    assert len(os.listdir(f"/proc/{h.keeper_pid()}/fd")) <= fds + 2
    print(f"keeper with 10 applications: {rss} KiB resident; list: {sorted(times)[10] * 1000:.1f} ms")
    if not os.environ.get("HUNE_SANITIZED"):
        assert rss <= 3 * 1024
