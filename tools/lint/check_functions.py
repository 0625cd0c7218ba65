#!/usr/bin/env python3
"""No function is longer than 70 lines, signature and closing brace included.

Usage: check_functions.py [--top DIR] [--self-test]

Reads C as clang-format leaves it: a function starts at the left margin, its signature ends with "{" and a "}" alone at
the left margin closes it. Each failure is one line "file:line: sentence"; exit 1 when there is any.
"""
import argparse
import os
import sys

LINES_MAX = 70
FOLDERS = ("src", "include", "tools", "fuzz", "examples")


def functions(lines):
    """(first line number, line count) of every function."""
    start = None  # of the text at the left margin that may become a function
    body = False
    for number, line in enumerate(lines, 1):
        line = line.rstrip()
        if body:
            if line == "}":
                yield start, number - start + 1
            if line.startswith("}"):
                body, start = False, None
        elif not line or line[0] in "#/*}" or line.endswith((";", "*/")):
            start = None
        else:
            start = start or number
            body = line.endswith("{")


def check(top):
    for folder in FOLDERS:
        for place, names, files in os.walk(os.path.join(top, folder)):
            names.sort()
            for name in sorted(files):
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.join(place, name)
                with open(path, encoding="utf-8") as file:
                    for number, count in functions(file.read().split("\n")):
                        if count > LINES_MAX:
                            yield f"{os.path.relpath(path, top)}:{number}: a function of {count} lines, more than {LINES_MAX}"


def self_test():
    def body(count):
        return ["  x();"] * count + ["}"]

    cases = [  # name, lines, what must be found
        ("one line", ["int f(void) { return 1; }"], []),
        ("at the limit", ["int f(void) {"] + body(68), [(1, 70)]),
        ("signature of two lines", ["", "static int f(int a,", "             int b) {"] + body(68), [(2, 71)]),
        ("table", ["static const int t[] = {"] + ["  1,"] * 100 + ["};", "int f(void) {"] + body(1), [(103, 3)]),
        ("struct", ["struct s {", "  int a;", "};"], []),
        ("inner block", ["int f(void) {", "  if (a) {", "  }"] + body(1), [(1, 5)]),
        ("after a comment", ["/* about", " * f */", "int f(void) {"] + body(1), [(3, 3)]),
        ("prototype first", ["int g(int a,", "      int b);", "int f(void) {"] + body(1), [(3, 3)]),
    ]
    failed = 0
    for name, lines, expected in cases:
        found = list(functions(lines))
        if found != expected:
            failed += 1
            print(f"self-test: {name}: expected {expected}, got {found}", file=sys.stderr)
    print(f"self-test: {len(cases) - failed} of {len(cases)} passed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--top", default=os.path.dirname(os.path.dirname(here)), help="the project's folder")
    parser.add_argument("--self-test", action="store_true", help="check this checker")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    found = list(check(arguments.top))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
