#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""layers.py SOURCE ROOMS.TXT: read every #include of src/ and refuse one that the room's DEPS do not allow.

A room may include its own files and public headers of rooms that its DEPS name, or that those name in turn (what a
contract includes, its users see). Private headers (*_int.h) stay in their room. Every room has its README.md.
"""
import pathlib
import re
import sys

# Rooms with one header per concept instead of one header per room.
MANY_HEADERS = {"base", "sys", "codec", "model", "net", "config"}


def main(source, rooms_file):
    rooms = {}
    for line in pathlib.Path(rooms_file).read_text().split():
        name, floor, deps = line.split(":")
        rooms[name] = (int(floor), [d for d in deps.split(",") if d])

    def reach(name, seen):
        for dep in rooms[name][1]:
            if dep not in seen:
                seen.add(dep)
                reach(dep, seen)
        return seen

    problems = []
    for name in rooms:
        folder = source / "src" / name
        allowed = reach(name, {name})
        if not (folder / "README.md").exists():
            problems.append(f"src/{name}: no README.md")
        for path in sorted(folder.rglob("*.[ch]*")):
            if path.suffix not in (".c", ".h", ".cc"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not m:
                    continue
                where = f"{path.relative_to(source)}:{number}"
                parts = m.group(1).split("/")
                if len(parts) < 2:
                    problems.append(f"{where}: include by room: \"room/{parts[0]}\"")
                    continue
                room, header = parts[0], parts[-1]
                if room == name:
                    continue
                if room not in allowed:
                    problems.append(f"{where}: {name} may not include {m.group(1)}: its DEPS are {sorted(rooms[name][1])}")
                elif header.endswith("_int.h"):
                    problems.append(f"{where}: {m.group(1)} is private to {room}")
                elif room not in MANY_HEADERS and header != f"{room}.h":
                    problems.append(f"{where}: {room} has one public header, {room}/{room}.h")
    # Engines are blind to each other, whatever the floors say.
    for name, (floor, deps) in rooms.items():
        for dep in deps:
            if rooms[dep][0] >= floor:
                problems.append(f"{name} (floor {floor}) depends on {dep} (floor {rooms[dep][0]})")
    print("\n".join(problems) or f"{len(rooms)} rooms keep to their floors")
    return bool(problems)


sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
