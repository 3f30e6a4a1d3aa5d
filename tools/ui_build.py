#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Build the page (web/) into a folder: npm ci when the lock file changed, npm run build when a source changed.

Several build folders may run this at once: a lock on package-lock.json serialises them, and a result is kept by the
hash of its sources, so that the second folder copies what the first one made."""
import argparse
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

TOP = ("index.html", "package.json", "package-lock.json", ".npmrc", "vite.config.js", "svelte.config.js", "tsconfig.json")
KEEP = 4  # cached builds

NOTICE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>hune</title>
<p>This hune was built without its page (HUNE_UI=OFF). Its API answers under /api/v1 and /api/hune/v1.</p></html>
"""


def sources(web):
    files = [web / n for n in TOP if (web / n).exists()]
    for folder in ("src", "public"):
        files += [p for p in (web / folder).rglob("*") if p.is_file()]
    return sorted(files)


def digest(web):
    h = hashlib.sha256()
    for path in sources(web):
        data = path.read_bytes()
        h.update(f"{path.relative_to(web)}\0{len(data)}\0".encode())
        h.update(data)
    return h.hexdigest()[:24]


def run(argv, cwd):
    env = dict(os.environ, NO_UPDATE_NOTIFIER="1", NO_COLOR="1", CI="true")
    done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} failed in {cwd}:\n{done.stdout}\n"
                 "The page needs Node 18+ and the npm packages of web/package-lock.json; "
                 "cmake -DHUNE_UI=OFF builds hune without its page.")


def install(web, npm):
    """npm ci, once for each content of the lock file."""
    stamp = web / "node_modules" / ".hune-lock"
    want = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == want:
        return
    run([npm, "ci", "--no-audit", "--no-fund"], web)
    stamp.write_text(want)


def build(web, npm, out):
    with open(web / "package-lock.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(web, npm)
        cache = web / "node_modules" / ".cache" / "hune"
        made = cache / digest(web)
        if not (made / "index.html").exists():
            part = cache / "part"
            shutil.rmtree(part, ignore_errors=True)
            run([npm, "run", "build", "--", "--outDir", str(part), "--emptyOutDir", "--logLevel", "warn"], web)
            shutil.rmtree(made, ignore_errors=True)
            part.rename(made)
            for old in sorted((p for p in cache.iterdir() if p != made), key=lambda p: p.stat().st_mtime)[:-KEEP]:
                shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(made, out)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--web", type=pathlib.Path)
    ap.add_argument("--npm", default="npm")
    ap.add_argument("--out", type=pathlib.Path, required=True)
    ap.add_argument("--notice", action="store_true", help="no build: one page saying so")
    args = ap.parse_args()
    if args.notice:
        shutil.rmtree(args.out, ignore_errors=True)
        args.out.mkdir(parents=True)
        (args.out / "index.html").write_text(NOTICE)
        return
    build(args.web.resolve(), args.npm, args.out)


if __name__ == "__main__":
    main()
