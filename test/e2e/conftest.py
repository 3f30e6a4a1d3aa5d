# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test needs: the real binaries, a free loopback port, a data folder of its own, and a hune that is
stopped for certain when the test ends.

    def test_x(hune):                  # a keeper and its server, started on a free port
        hune.http("/-/healthy")        # (status, headers, body)
        hune("list").stdout            # a verb, with the same data folder

    def test_y(hune_env):              # nothing started yet
        hune_env.start("--no-server")
        hune_env.spawn("server", "--config.file=x.yml")   # another process of the same binary, stopped at the end
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HUNE_BUILD") or SOURCE / "build")
HUNE = BUILD / "hune"
SERVER = BUILD / "hune-server"


def pick_port():
    """A loopback port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(check, secs=10.0, step=0.02, what="condition"):
    """Poll until check() is true and return its value; fail after secs."""
    end = time.monotonic() + secs
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > end:
            pytest.fail(f"waited {secs} s for {what}")
        time.sleep(step)


def pid_alive(pid):
    """True while the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Hune:
    """A data folder, an address, and the processes started for one test."""

    def __init__(self, root, port):
        self.root = Path(root)
        self.data = self.root / "data"
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.bin = HUNE
        self.server_bin = SERVER
        self.keeper = None
        self.log = self.root / "hune.out"
        self.started = []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("HUNE_", "LC_", "LANG"))}
        self.env.update(HUNE_DATA_DIR=str(self.data), LC_ALL="C", HOME=str(self.root))

    def __call__(self, *args, check=True, timeout=60, env=None, cwd=None, input=None):
        """Run one verb to its end; fails the test on a non-zero exit status unless check=False."""
        r = subprocess.run([str(self.bin), *map(str, args)], env={**self.env, **(env or {})}, cwd=cwd or self.root,
                           input=input, stdin=None if input is not None else subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=timeout)
        if check and r.returncode != 0:
            pytest.fail(f"hune {' '.join(map(str, args))}: exit {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    def spawn(self, *args, bin=None, env=None, cwd=None, stdout=None):
        """Start a process of the binary (or of bin) in the background; it is ended with the test."""
        out = open(stdout or self.root / f"spawn-{len(self.started)}.out", "wb")
        p = subprocess.Popen([str(bin or self.bin), *map(str, args)], env={**self.env, **(env or {})}, cwd=cwd or self.root,
                             stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        out.close()
        self.started.append(p)
        return p

    def start(self, *flags, wait=True, env=None):
        """`hune run` with these flags; waits for the control socket, and for the server unless --no-server is given."""
        server = "--no-server" not in flags
        args = ["run", *flags]
        if server and not any(str(f).startswith("--web.listen-address") for f in flags):
            args.append(f"--web.listen-address=127.0.0.1:{self.port}")
        self.keeper = self.spawn(*args, env=env, stdout=self.log)
        if wait:
            wait_for(lambda: self.died_early() or self("ping", check=False).returncode == 0, 15, what="the keeper")
            if server:
                self.wait_ready()
        return self.keeper

    def died_early(self):
        if self.keeper and self.keeper.poll() is not None:
            pytest.fail(f"hune run: exit {self.keeper.returncode}\n{self.output()}")
        return False

    def wait_ready(self, secs=20, url=None):
        """Until GET /-/ready answers 200."""
        wait_for(lambda: self.died_early() or self.http("/-/ready", url=url)[0] == 200, secs, what="/-/ready")

    def stop(self, timeout=20):
        """SIGTERM to the keeper; returns its exit status."""
        if not self.keeper:
            return None
        if self.keeper.poll() is None:
            self.keeper.send_signal(signal.SIGTERM)
        code = self.keeper.wait(timeout)
        self.keeper = None
        return code

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def keeper_pid(self):
        try:
            return int((self.data / "keeper" / "keeper.pid").read_text().strip())
        except (OSError, ValueError):
            return None

    def jlist(self):
        return json.loads(self("jlist").stdout)

    def app(self, name, instance=0):
        """The jlist row of one application instance, or None."""
        rows = [r for r in self.jlist() if r["name"] == name]
        return rows[instance] if instance < len(rows) else None

    def http(self, path, method="GET", body=None, headers=None, url=None, timeout=10):
        """(status, headers, body bytes); status 0 when nothing answers."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        h = dict(headers or {})
        if data is not None and "Content-Type" not in h:
            h["Content-Type"] = "application/json"
        req = urllib.request.Request((url or self.url) + path, data=data, method=method, headers=h)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(req, timeout=timeout) as r:
                return r.status, dict(r.headers), r.read()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read()
        except OSError:
            return 0, {}, b""

    def json(self, path, **kw):
        status, _, body = self.http(path, **kw)
        if status != 200:
            pytest.fail(f"{path}: {status} {body[:500]!r}")
        return json.loads(body)

    def file(self, name, text, mode=0o644):
        """Write root/name; returns its path."""
        p = self.root / name
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text(text)
        p.chmod(mode)
        return p

    def end(self):
        """End everything this test started: the keeper through its verb, then what is left by pid."""
        pid = self.keeper_pid()
        if pid and pid_alive(pid):
            subprocess.run([str(self.bin), "kill"], env=self.env, cwd=self.root, stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=40)
        for p in self.started:
            if p.poll() is None:
                p.terminate()
                try:
                    p.wait(10)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        for d in os.listdir("/proc"):  # whatever still works inside our folder
            if d.isdigit() and int(d) != os.getpid():
                try:
                    if os.path.realpath(f"/proc/{d}/cwd").startswith(str(self.root) + "/") or \
                            os.path.realpath(f"/proc/{d}/cwd") == str(self.root):
                        os.kill(int(d), signal.SIGKILL)
                except OSError:
                    pass


@pytest.fixture
def free_port():
    return pick_port()


@pytest.fixture
def hune_bin():
    if not HUNE.exists():
        pytest.skip(f"{HUNE} is not built")
    return HUNE


@pytest.fixture
def data_dir(tmp_path):
    d = tmp_path / "data"
    d.mkdir(mode=0o700)
    return d


@pytest.fixture
def hune_env(hune_bin):
    """A Hune with nothing running yet. Its folder has a short name, because a socket path has 107 bytes at most."""
    root = tempfile.mkdtemp(prefix="hune-e2e-")
    h = Hune(root, pick_port())
    try:
        yield h
    finally:
        h.end()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def hune(hune_env):
    """A running keeper and server with default settings on a free port."""
    if not SERVER.exists():
        pytest.skip(f"{SERVER} is not built")
    hune_env.start()
    return hune_env
