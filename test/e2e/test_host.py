# SPDX-License-Identifier: Apache-2.0
"""The host collector beside Debian's node_exporter: the same names, types, labels and values, at the same moment."""
import re
import shutil
import subprocess
import urllib.request

import pytest

from conftest import BUILD, pick_port, wait_for

OURS = BUILD / "test" / "unit_host_collect"
THEIRS = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

# What only one of the two tells, with the reason.
ONLY_THEIRS = re.compile(
    r"^(go_|process_|promhttp_)"  # the exporter about itself
    r"|^node_exporter_build_info"  # tells which program collects
    r"|^node_scrape_collector_"  # the collectors differ in number
    r"|^node_textfile_"  # reading *.prom files is not the host collector's work here
    r"|^node_(dmi|edac|nvme|btrfs|xfs|zfs|bcache|bonding|infiniband|fibrechannel|ipvs|mdadm|md|nfs|nfsd|rapl|power_supply|tape|cpu_info|cpu_core_throttles|cpu_package_throttles)"
    r"|^node_disk_(ata|device_mapper|filesystem)")
ONLY_OURS = re.compile(r"^node_scrape_collector_|^node_exporter_build_info")
# Moving figures: how far the two may be apart, besides 2 % of the value.
SLACK = [
    (r"^node_(memory|filesystem|vmstat|sockstat|netstat|network|softnet|disk)_", 1e9),
    (r"_seconds_total$|node_time_seconds|node_pressure|node_schedstat|node_cpu", 5),
    (r"^node_(intr|context_switches|forks)_total|^node_entropy|^node_filefd|^node_procs|^node_nf_conntrack", 1e5),
    (r"^node_timex_(maxerror|estimated|offset|frequency|status)", 1e3),
    (r"^node_load", 2),
    (r"^node_arp|^node_udp", 1e5),
]


def parse(text):
    types, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif line and not line.startswith("#"):
            name, labels, value = LINE.match(line).groups()
            key = (name, tuple(sorted(LABEL.findall(labels or ""))))
            assert key not in samples, f"{key} is there twice"
            samples[key] = float(value)
    return types, samples


@pytest.fixture(scope="module")
def both():
    if not THEIRS:
        pytest.skip("node_exporter is not installed")
    if not OURS.exists():
        pytest.skip("unit_host_collect is not built")
    port = pick_port()
    # Upstream's defaults: Debian's build leaves out the loopback interface and whatever is mounted in /mnt and /media.
    peer = subprocess.Popen([THEIRS, f"--web.listen-address=127.0.0.1:{port}", "--collector.netdev.device-exclude=^$",
                             "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|"
                             "var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def get():
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
            except OSError:
                return None
        wait_for(get, what="node_exporter")
        theirs = get()
        ours = subprocess.run([OURS, "--print"], stdout=subprocess.PIPE, check=True, timeout=20).stdout.decode()
    finally:
        peer.terminate()
        peer.wait(10)
    return parse(theirs), parse(ours)


def test_nothing_is_missing(both):
    (_, theirs), (_, ours) = both
    missing = [k for k in theirs if k not in ours and not ONLY_THEIRS.match(k[0])]
    assert not missing, missing


def test_nothing_is_invented(both):
    (_, theirs), (_, ours) = both
    known = {n for n, _ in theirs}
    extra = [k for k in ours if k not in theirs and not ONLY_OURS.match(k[0])]
    assert not [k for k in extra if k[0] in known], extra  # a name of theirs with labels of our own
    assert not extra, extra


def test_types_agree(both):
    (theirs, _), (ours, _) = both
    wrong = {n: (k, ours[n]) for n, k in theirs.items() if n in ours and ours[n] != k and not ONLY_OURS.match(n)}
    assert not wrong, wrong


def test_values_agree(both):
    (_, theirs), (_, ours) = both
    wrong = []
    for key, want in theirs.items():
        if key not in ours or ONLY_OURS.match(key[0]):
            continue
        slack = max((s for p, s in SLACK if re.search(p, key[0])), default=0)
        if key[0].startswith(("node_memory_MemTotal", "node_filesystem_size", "node_network_mtu", "node_network_flags")):
            slack = 0
        if abs(ours[key] - want) > slack + (abs(want) * 0.02 if slack else 0):
            wrong.append((key, want, ours[key]))
    assert not wrong, wrong
