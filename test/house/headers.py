#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""headers.py SOURCE BUILD: every public header compiles alone (private ones too: they are read first by somebody)."""
import concurrent.futures
import json
import pathlib
import shlex
import subprocess
import sys


def main(source, build):
    commands = json.loads((build / "compile_commands.json").read_text())
    flags = set()
    for c in commands:
        if "/src/" in c["file"] and c["file"].endswith(".c"):
            flags.update(f for f in shlex.split(c["command"]) if f.startswith("-I") or f.startswith("-D"))
            words = shlex.split(c["command"])
            flags.update("-isystem" + words[i + 1] for i, w in enumerate(words) if w == "-isystem")
    headers = sorted(h for h in (source / "src").rglob("*.h") if h.name != "banned.h")

    def check(h):
        r = subprocess.run(["cc", "-std=gnu17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-xc", *sorted(flags), "-"],
                           input=f'#include "{h.relative_to(source / "src")}"\n', text=True, capture_output=True)
        return None if r.returncode == 0 else f"{h.relative_to(source)}\n{r.stderr}"

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems = [p for p in pool.map(check, headers) if p]
    print("\n".join(problems) or f"{len(headers)} headers compile alone")
    return bool(problems)


sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
