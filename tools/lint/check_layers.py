#!/usr/bin/env python3
"""Checks the shape of the source tree. Usage: check_layers.py [--top DIR] [--self-test]

Rules (each failure is one line "file:line: sentence"; exit 1 when there is any):
  floors    an #include in src/ or include/ points to a lower floor of layers.txt, or stays in its own folder
  private   a *_private.h is included only by files of its own folder
  system    <...> is the C standard library, <wodan/...>, or: an OS header in src/base and src/dev only, a codec
            library where CODEC_HEADERS says
  alone     every header compiles alone (with $CC, default cc)
  length    no source file has more than 800 lines
"""
import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile

LINES_MAX = 800
OS_FOLDERS = ("src/base", "src/dev")
# The simulator and the enumerator hash images and contents.
CODEC_HEADERS = {"xxhash.h": ("src/codec", "src/dev", "src/crash"), "xxh_x86dispatch.h": ("src/codec",), "lz4.h": ("src/codec",), "lz4hc.h": ("src/codec",)}
STANDARD = {
    name + ".h"
    for name in (
        "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg "
        "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
    ).split()
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SOURCE_FOLDERS = ("src", "include", "tools", "tests", "fuzz", "bench", "examples")
SOURCE_ENDINGS = (".c", ".h", ".cc", ".hpp", ".cpp", ".py", ".sh")


def read_floors(path):
    """Path of a folder or file -> its floor."""
    floors = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            for place in words[1:]:
                if place in floors:
                    raise SystemExit(f"{path}:{number}: {place} stands twice")
                floors[place] = int(words[0])
    return floors


def sources(top, folders):
    for folder in folders:
        for place, names, files in os.walk(os.path.join(top, folder)):
            names.sort()
            for name in sorted(files):
                if name.endswith(SOURCE_ENDINGS):
                    yield os.path.relpath(os.path.join(place, name), top).replace(os.sep, "/")


def place_of(path, floors):
    """The entry of layers.txt a file belongs to: itself, or the nearest folder above it; None when there is none."""
    place = path
    while place:
        if place in floors:
            return place
        place = os.path.dirname(place)
    return None


def resolve(top, path, quoted, angled):
    """The project file an #include names, or None for a system header."""
    if angled is not None:
        return "include/" + angled if angled.startswith("wodan/") else None
    for base in (os.path.dirname(path), "src"):
        candidate = os.path.normpath(os.path.join(base, quoted)).replace(os.sep, "/")
        if os.path.exists(os.path.join(top, candidate)):
            return candidate
    return "src/" + quoted


def check_system(path, name):
    folder = os.path.dirname(path)
    if name in STANDARD:
        return None
    if path.startswith("include/"):
        return f"a public header includes <{name}>, which is not the C standard library"
    if name in CODEC_HEADERS:
        return None if folder in CODEC_HEADERS[name] else f"<{name}> belongs to {' and '.join(CODEC_HEADERS[name])}"
    if folder in OS_FOLDERS:
        return None
    return f"<{name}> is no standard header; the operating system is reached through {' and '.join(OS_FOLDERS)}"


def check_project(path, target, floors):
    here, there = place_of(path, floors), place_of(target, floors)
    folder, other = os.path.dirname(path), os.path.dirname(target)
    if target.endswith("_private.h") and folder != other:
        return f"{target} is private to {other}"
    if here is None:
        return "this folder has no floor in layers.txt"
    if there is None:
        return f"{target} has no floor in layers.txt"
    if here == there or floors[there] < floors[here]:
        return None
    if folder == other:  # a file with a floor of its own, included by its neighbours or including them
        return f"points up to {target} of its own folder" if floors[there] > floors[here] else None
    way = "up" if floors[there] > floors[here] else "sideways"
    return f"points {way}: floor {floors[here]} ({here}) includes {target} (floor {floors[there]})"


def check_includes(top, floors):
    for path in sources(top, ("include", "src")):
        with open(os.path.join(top, path), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = resolve(top, path, *match.groups())
                problem = check_project(path, target, floors) if target else check_system(path, match.group(2))
                if problem:
                    yield f"{path}:{number}: {problem}"


def check_length(top):
    for path in sources(top, SOURCE_FOLDERS):
        with open(os.path.join(top, path), "rb") as file:
            count = sum(1 for _ in file)
        if count > LINES_MAX:
            yield f"{path}:{LINES_MAX}: {count} lines, more than {LINES_MAX}: probably two ideas"


def check_alone(top):
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-Iinclude", "-Isrc"]
    with tempfile.TemporaryDirectory() as folder:
        unit = os.path.join(folder, "alone.c")
        for path in sources(top, ("include", "src")):
            if not path.endswith(".h"):
                continue
            with open(unit, "w", encoding="utf-8") as file:
                file.write(f'#include "{os.path.join(os.path.abspath(top), path)}"\n')
            run = subprocess.run(compiler + flags + [unit], cwd=top, capture_output=True, text=True, check=False)
            if run.returncode:
                first = [line for line in run.stderr.splitlines() if "error" in line][:1]
                yield f"{path}:1: does not compile alone: {' '.join(first)}"


def check(top):
    floors = read_floors(os.path.join(top, "tools/lint/layers.txt"))
    return [*check_includes(top, floors), *check_length(top), *check_alone(top)]


def self_test():
    """A small tree with one fault of each kind, and the same tree without them."""
    good = {
        "tools/lint/layers.txt": "0 include/wodan\n1 src/base\n2 src/codec src/dev\n2 src/iter/plain.h\n3 src/format\n"
        "5 src/space src/iter\n",
        "include/wodan/a.h": "#include <stdint.h>\n",
        "src/base/b.h": "#include <pthread.h>\n#include <wodan/a.h>\n",
        "src/codec/c.c": '#include <xxhash.h>\n#include "base/b.h"\n',
        "src/iter/plain.h": "#include <wodan/a.h>\n",
        "src/iter/iter.h": '#include "iter/plain.h"\n',
        "src/format/f.h": '#include "iter/plain.h"\n',
        "src/space/s_private.h": '#include "format/f.h"\n',
        "src/space/s.c": '#include "s_private.h"\n',
    }
    faults = [  # file, content, what the report says
        ("src/base/b.h", '#include "format/f.h"\n', "points up"),
        ("src/space/s.c", '#include "iter/iter.h"\n', "points sideways"),
        ("src/iter/plain.h", '#include "iter/iter.h"\n', "points up"),
        ("src/iter/iter.h", '#include "space/s_private.h"\n', "is private"),
        ("src/format/f.h", "#include <unistd.h>\n", "no standard header"),
        ("src/format/f.h", "#include <xxhash.h>\n", "belongs to src/codec"),
        ("include/wodan/a.h", "#include <unistd.h>\n", "a public header"),
        ("src/other/o.h", "#include <stdint.h>\n#include <wodan/a.h>\n", "no floor"),
        ("src/format/f.h", "uint32_t f(void);\n", "compile alone"),
        ("src/format/f.h", "\n" * 801, "801 lines"),
    ]
    failed = 0
    for path, content, expected in [("src/base/b.h", good["src/base/b.h"], "")] + faults:
        with tempfile.TemporaryDirectory() as top:
            for name, text in {**good, path: content}.items():
                os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
                with open(os.path.join(top, name), "w", encoding="utf-8") as file:
                    file.write(text)
            found = check(top)
        right = not found if not expected else any(expected in line and line.startswith(path) for line in found)
        if not right:
            failed += 1
            print(f"self-test: {path} with {content[:40]!r}: expected {expected!r}, got {found}", file=sys.stderr)
    print(f"self-test: {len(faults) + 1 - failed} of {len(faults) + 1} passed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--top", default=os.path.dirname(os.path.dirname(here)), help="the project's folder")
    parser.add_argument("--self-test", action="store_true", help="check this checker")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    found = check(arguments.top)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
