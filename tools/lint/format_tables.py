#!/usr/bin/env python3
"""Copies the layout tables from the headers into FORMAT.md. Usage: format_tables.py [--top DIR] [--check] [--self-test]

Each layout is described once, in the comment on top of its header. This rewrites the part of FORMAT.md between the two
markers with those comments; --check changes nothing and fails when the part is stale. When a comment ends with a colon,
the first enum of more than one line behind it belongs to it and is copied too.
"""
import argparse
import glob
import os
import re
import sys
import textwrap

BEGIN = "<!-- layout tables: begin; written by tools/lint/format_tables.py, do not edit by hand -->"
END = "<!-- layout tables: end -->"
TITLES = {  # in the order a reader meets them; headers not named here follow by name
    "src/format/superblock.h": "Superblock",
    "src/format/journal_block.h": "Journal block",
    "src/format/checkpoint_record.h": "Checkpoint record",
    "src/format/block_ptr.h": "Pointer",
    "src/format/object_header.h": "Object header",
    "src/format/page.h": "Page",
    "src/format/node_header.h": "Node sections and run index",
    "src/format/blob.h": "Large values",
    "src/run/filter.h": "Filter",
}
NO_LAYOUT = {"src/format/record.h", "src/format/to_text.h"}  # in memory only
ENUM = re.compile(r"^enum \w+ \{\n.*?^\};", re.MULTILINE | re.DOTALL)


def table(text, name):
    """The top comment of a header without its marks, and the enum it announces."""
    if not text.startswith("/*") or "*/" not in text:
        raise SystemExit(f"{name}: there is no comment on top")
    comment, rest = text[2:].split("*/", 1)
    lines = [re.sub(r"^ ?\* ?", "", line) if number else line for number, line in enumerate(comment.split("\n"))]
    lines = [line.rstrip() for line in lines]
    body = "\n".join([lines[0].strip()] + lines[1:]).strip()
    if body.endswith(":"):
        found = ENUM.search(rest)
        if not found:
            raise SystemExit(f"{name}: the comment announces an enum, but none follows")
        entries = "\n".join(found.group(0).split("\n")[1:-1])
        body += "\n\n" + textwrap.indent(textwrap.dedent(entries), "  ")
    return body


def headers(top):
    found = {os.path.relpath(path, top).replace(os.sep, "/") for path in glob.glob(os.path.join(top, "src/format/*.h"))}
    found |= {path for path in TITLES if os.path.exists(os.path.join(top, path))}
    found = {path for path in found if not path.endswith("_private.h") and path not in NO_LAYOUT}
    order = list(TITLES)
    return sorted(found, key=lambda path: (order.index(path) if path in order else len(order), path))


def tables(top):
    parts = []
    for path in headers(top):
        with open(os.path.join(top, path), encoding="utf-8") as file:
            body = table(file.read(), path)
        name = os.path.basename(path)
        parts.append(f"### {TITLES[path]} ({name})\n" if path in TITLES else f"### {name}\n")
        parts.append(f"```text\n{body}\n```\n")
    return "\n".join(parts)


def rewritten(page, new):
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise SystemExit("FORMAT.md: the two markers must stand there once, in order")
    head, rest = page.split(BEGIN)
    return head + BEGIN + "\n\n" + new + "\n" + END + rest.split(END)[1]


def self_test():
    text = "/* A: one.\n *\n *   0  4 magic\n *\n * Tags: */\n#ifndef A\nenum one { A = 1 };\n\nenum tag {\n  X = 1, /* x */\n};\n"
    right = table(text, "a.h") == "A: one.\n\n  0  4 magic\n\nTags:\n\n  X = 1, /* x */"
    page = f"top\n{BEGIN}\nold\n{END}\nend\n"
    once = rewritten(page, "new\n")
    right = right and once == f"top\n{BEGIN}\n\nnew\n\n{END}\nend\n" and rewritten(once, "new\n") == once
    right = right and rewritten(once, "other\n") != once
    print("self-test: passed" if right else "self-test: FAILED")
    return 0 if right else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--top", default=os.path.dirname(os.path.dirname(here)), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="fail when FORMAT.md is stale, change nothing")
    parser.add_argument("--self-test", action="store_true", help="check this program")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    path = os.path.join(arguments.top, "FORMAT.md")
    with open(path, encoding="utf-8") as file:
        page = file.read()
    fresh = rewritten(page, tables(arguments.top))
    if arguments.check:
        if fresh != page:
            print("FORMAT.md: the layout tables are stale; run tools/lint/format_tables.py", file=sys.stderr)
        return 1 if fresh != page else 0
    if fresh != page:
        with open(path, "w", encoding="utf-8") as file:
            file.write(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
