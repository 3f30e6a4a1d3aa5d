#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""text.py SOURCE: what every tracked text must keep: SPDX lines, no machine paths, no marks of unfinished work, links of
the documents that lead somewhere."""
import pathlib
import re
import subprocess
import sys

UNFINISHED = re.compile(r"\b(TO" r"DO(?!\(#\d+\))|FIX" r"ME|XX" r"X|HA" r"CK)\b")
PATHS = re.compile(r"(?<![\w.])/(wor" r"k|ro" r"ot)/[a-z]")


def main(source):
    tracked = subprocess.run(["git", "-C", source, "ls-files"], text=True, capture_output=True)
    names = tracked.stdout.split("\n") if tracked.returncode == 0 else []
    problems = []
    for name in filter(None, names):
        path = source / name
        if not path.is_file() or path.suffix in (".png", ".ico", ".woff2") or "/corpus/" in name or name.endswith("package-lock.json"):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if path.suffix in (".c", ".h", ".cc", ".ts", ".svelte") and "SPDX-License-Identifier" not in text[:200]:
            problems.append(f"{name}: no SPDX line")
        for number, line in enumerate(text.splitlines(), 1):
            if name.startswith(("src/", "web/src/")) and UNFINISHED.search(line):
                problems.append(f"{name}:{number}: unfinished: {line.strip()[:80]}")
            if PATHS.search(line) and not name.startswith("test/fuzz"):
                problems.append(f"{name}:{number}: machine path: {line.strip()[:80]}")
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
                if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                    problems.append(f"{name}: link to {target} leads nowhere")
    print("\n".join(problems) or f"{len(names)} files read")
    return bool(problems) or len(names) < 10


sys.exit(main(pathlib.Path(sys.argv[1])))
