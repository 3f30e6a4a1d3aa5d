#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""symbols.py BUILD: no two rooms define the same global symbol; they meet in one executable sooner or later."""
import pathlib
import subprocess
import sys

owners = {}
libs = sorted(pathlib.Path(sys.argv[1]).glob("src/*/libroom_*.a"))
for lib in libs:
    out = subprocess.run(["nm", "-g", "--defined-only", lib], text=True, capture_output=True, check=True).stdout
    for line in out.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in "TDBR" and not parts[2].startswith(("_Z", "__", "LLVM")):
            owners.setdefault(parts[2], set()).add(lib.stem.removeprefix("libroom_"))
twice = {name: sorted(rooms) for name, rooms in owners.items() if len(rooms) > 1}
for name, rooms in sorted(twice.items()):
    print(f"{name}: defined by {', '.join(rooms)}")
print(f"{len(owners)} symbols of {len(libs)} rooms")
sys.exit(bool(twice) or len(libs) < 5)
