#!/usr/bin/env python3
"""Finds the guards of src/: what stands between a lying device and the caller. Usage: check_guards.py [--list] [--self-test]

A guard is a flush or barrier, a comparison of checksums, or a bound on something that a device told. tools/mutants.py
removes them one at a time and shows that a test notices; this finds them, and fails when one is not marked.

  found by name    device_flush(...), device_barrier(...), fdatasync(...), fsync(...), the ops behind them: kind barrier;
                   each row {"name", value, low, high, power} of a `struct rule`: kind bounds
  marked           a comment behind a statement, on the line where it ends:
    if (A || B) ...; /* guard: KIND */           A and B are refusals: removed by taking each for false
    return A && B;   /* guard: KIND */           also `x = A && B;`: A and B let pass: removed by taking each for true
    if (A) return 0; /* guard: KIND, passes */   an `if` that lets pass
    ... /* guard: KIND; equivalent [A]: WHY */   no test can tell A (all, without one) from nothing; counted apart
    ... /* no guard: WHY */                      looks like one and is none
  KIND is checksum or bounds. Groups in brackets are taken apart; what only looks at `status` is no guard.

Rules (each failure is one line "file:line: sentence"; exit 1 when there is any): in the library's sources
  corrupt   a call of status_corrupt, or of a function that only calls it, belongs to a marked statement
  compare   == and != on a checksum or hash belongs to a marked statement
  found     so does a call of check_found or run_found, that is of the check's verdicts
  refuse    in DOORS, `return false`, `failed = true` and `return "..."` belong to a marked statement
  prove     in PROVING, so does every other `return` of a function whose name ends in PROOFS, but of another's answer
  mark      every mark can be taken apart, and there are guards of each kind
"""
import argparse
import os
import re
import sys
from collections import namedtuple

KINDS = ("barrier", "checksum", "bounds")
LIBRARY = "src"
NOT_LIBRARY = re.compile(r"^src/crash/|/dev_sim\w*\.[ch]$|/dev_trace\.[ch]$")  # what measures is not measured
CORRUPT = {"status_corrupt", "run_corrupt"}  # and what only calls one of them in its own file
DOORS = re.compile(r"^src/(base/wire\.h|(format/(?!to_text\.c)\w+|io/\w+|tree/node_image|run/run_(load|read)|journal/ring_mount)\.c)$")
PROVING = re.compile(r"^src/((format|io|journal|run|space|check|inspect)/|tree/(node_image|walk)\.)")
PROOFS = re.compile(r"(_|^)(decode|validate|valid|fits|inside|fault|prove|sound|follows|continues|next_entry)$")
BARRIER = re.compile(r"\b(?:device_flush|device_barrier)\(|->(?:fdatasync|fsync)\(|->ops->(?:flush|barrier)\(")
COMPARED = re.compile(r"[.>](?:\w*_)?(?:hash|checksum)\s*[!=]=|[!=]=\s*(?:\w+(?:->|\.))+(?:\w*_)?(?:hash|checksum)\b|"
                      r"\bchecksum\([^;]*\)\s*[!=]=")
MARK = re.compile(r"/\* (no )?guard: (.*?) ?\*/", re.DOTALL)
WORDS = re.compile(r"(\w+)(, passes)?(?:; equivalent(?: (.+?))?: (.+))?$", re.DOTALL)

# start, end: of the text that is replaced; how: bad, good (expressions), call; low, high, power of a rule for `value`.
Guard = namedtuple("Guard", "path line kind text start end how why value", defaults=(None, None))


class Unclear(Exception):
    pass


def masked(text):
    """The text with comments, strings and preprocessor lines blank, at the same places."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0))
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.DOTALL)
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", blank, text, flags=re.MULTILINE)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def statement_start(code, end):
    """Where the statement that ends at `end` (behind its ; or {) starts."""
    depth, at = 0, end - 1
    while at > 0:
        char = code[at - 1]
        if char in ")]":
            depth += 1
        elif char in "([":
            depth -= 1
        elif depth == 0 and char in ";{}":
            break
        at -= 1
    return at


def closing(code, at):
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] in "([{") - (code[i] in ")]}")
        if depth == 0:
            return i + 1
    raise Unclear("brackets do not match")


def split(code, start, end, separator):
    """The parts of code[start:end] between separators outside brackets."""
    parts, depth, at = [], 0, start
    for i in range(start, end):
        depth += (code[i] in "([{") - (code[i] in ")]}")
        if depth == 0 and code.startswith(separator, i):
            parts.append((at, i))
            at = i + len(separator)
    return parts + [(at, end)]


def trimmed(code, start, end):
    while start < end and code[start].isspace():
        start += 1
    while start < end and code[end - 1].isspace():
        end -= 1
    return start, end


def bracketed(code, start, end):
    return code[start] == "(" and closing(code, start) == end


def operands(code, start, end, how):
    """[(start, end, how)]: the conditions of which each is a guard of its own."""
    start, end = trimmed(code, start, end)
    if bracketed(code, start, end):
        return operands(code, start + 1, end - 1, how)
    if code[start] == "!" and bracketed(code, *trimmed(code, start + 1, end)):
        return operands(code, start + 1, end, "good" if how == "bad" else "bad")
    apart, together = ("||", "&&") if how == "bad" else ("&&", "||")
    parts = split(code, start, end, apart)
    if len(parts) > 1:
        return [found for part in parts for found in operands(code, *part, how)]
    groups = [trimmed(code, *part) for part in split(code, start, end, together)]
    groups = [(s, e) for s, e in groups if len(groups) > 1 and bracketed(code, s, e) and
              len(split(code, s + 1, e - 1, apart)) > 1]
    if groups:
        return [found for group in groups for found in operands(code, *group, how)]
    return [] if re.fullmatch(r"!?\s*status(\s*(?:[!=]=|<)\s*0)?|!fault", code[start:end]) else [(start, end, how)]


def condition(code, start, end, passes):
    """(start, end, how) of what a statement decides by."""
    for loop in iter(lambda: re.match(r"\s*(?:for|while) \(", code[start:end]), None):
        start = closing(code, start + loop.end() - 1)
    ifs = [m.end() - 1 for m in re.finditer(r"\bif \(", code[start:end])]
    if ifs:
        at = start + ifs[-1]
        return at + 1, closing(code, at) - 1, "good" if passes else "bad"
    head = re.match(r"\s*return\b|[^=]*?[^=!<>]=(?!=)", code[start:end])
    if not head:
        raise Unclear("neither an if, a return nor an assignment")
    begin, stop = start + head.end(), end - 1
    choice = split(code, begin, stop, "?")
    if len(choice) == 1:
        return begin, stop, "good"
    then = code[choice[1][0]:choice[1][1]]
    return choice[0][0], choice[0][1], "good" if then.split(":")[0].strip() == "NULL" else "bad"


def marks(text, code):
    """[(match, start, end)]: each mark with the statement before it."""
    found = []
    for match in MARK.finditer(text):
        end = len(code[:match.start()].rstrip())
        if end == 0 or code[end - 1] not in ";{":
            raise Unclear(f"line {line_of(text, match.start())}: no statement ends before the mark")
        found.append((match, statement_start(code, end), end))
    return found


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


def marked_guards(path, text, code):
    for match, start, end in marks(text, code):
        if match[1]:
            continue
        line = line_of(text, match.start())
        words = WORDS.match(one_line(match[2]))
        if not words or words[1] not in KINDS:
            raise Unclear(f"line {line}: the mark is not understood")
        try:
            parts = operands(code, *condition(code, start, end, bool(words[2])))
        except Unclear as problem:
            raise Unclear(f"line {line}: {problem}") from None
        only = words[3]
        if not parts or (only and only not in [one_line(text[s:e]) for s, e, _ in parts]):
            raise Unclear(f"line {line}: the mark names no condition of its statement")
        for s, e, how in parts:
            shown = one_line(text[s:e])
            why = words[4] if words[4] and (not only or only == shown) else None
            yield Guard(path, line_of(text, s), words[1], shown, s, e, how, why)


def named_guards(path, text, code):
    for match in BARRIER.finditer(code):
        start = match.start()
        if re.search(r"\b(?:int|\*)\s*$", code[:start]):
            continue  # a declaration
        end = closing(code, match.end() - 1)
        while start and re.match(r"[\w>.-]", code[start - 1]):
            start -= 1
        yield Guard(path, line_of(text, start), "barrier", one_line(text[start:end]), start, end, "call")
    for match in re.finditer(r"const struct rule \w+(?:\[\])? = \{", code):
        stop = closing(code, match.end() - 1)
        for row in re.finditer(r'\{\s*"\w+",', text[match.end() - 1:stop]):
            at = match.end() - 1 + row.start()
            fields = [trimmed(code, *field) for field in split(code, at + 1, closing(code, at) - 1, ",")]
            name = one_line(text[at + 1:at + row.end() - row.start() - 1])
            for field, how in zip(fields[2:], ("low", "high", "power")):
                if text[field[0]:field[1]] not in ("false", "0"):  # nothing is below 0
                    shown = f"{name} {how} {one_line(text[field[0]:field[1]])}"
                    value = text[fields[1][0]:fields[1][1]]
                    yield Guard(path, line_of(text, field[0]), "bounds", shown, *field, how, None, value)


def guards_of(path, text):
    code = masked(text)
    found = [*marked_guards(path, text, code), *named_guards(path, text, code)]
    return sorted(found, key=lambda guard: guard.start)


def functions(code):
    """[(name, start, end)] of bodies at the margin, but of functions that return a struct."""
    for match in re.finditer(r"^\w[\w\s\*]*?\b(\w+)\([^;{}]*\)\s*\{", code, re.MULTILINE):
        if not re.match(r"(static )?(inline )?struct \w+ \w", match[0]):
            yield match[1], match.end() - 1, closing(code, match.end() - 1)


def suspects(path, text, code):
    """[(place, sentence)]: what must lie in a marked statement."""
    bodies = list(functions(code))
    plain = [(name, code[start:end]) for name, start, end in bodies if "if (" not in code[start:end]]
    verdicts = CORRUPT | {name for name, body in plain if re.search(r"\breturn status_corrupt\(", body)}
    calls = "|".join(sorted(verdicts))
    for match in re.finditer(rf"(?<![.>\w])(?:{calls})\(", code):
        inside = [name for name, start, end in bodies if start <= match.start() < end]
        if inside and inside[0] not in verdicts:
            yield match.start(), f"a verdict of corruption ({match[0]}...)) without a mark"
    for match in re.finditer(r"\b(?:check_found|run_found)\(", code):
        inside = [name for name, start, end in bodies if start <= match.start() < end]
        if inside and inside[0] not in ("check_found", "run_found"):
            yield match.start(), "a finding without a mark"
    for match in COMPARED.finditer(code):
        yield match.start(), "a comparison of checksums or hashes without a mark"
    if DOORS.match(path):
        for match in re.finditer(r"\breturn false;|\bfailed = true;", code):
            yield match.start(), f"a refusal ({match[0]}) without a mark"
        for match in re.finditer(r'\breturn "', text):
            if code.startswith("return", match.start()):
                yield match.start(), "a refusal (a sentence) without a mark"
    for name, start, end in bodies:
        if PROVING.match(path) and PROOFS.search(name):
            for match in re.finditer(r"\breturn (?!true;|NULL;|0;|status_nomem|status;)([^;]*);", code[start:end]):
                called = re.match(r"(\w+)\(", match[1])
                handed_on = called and PROOFS.search(called[1]) and closing(match[1], called.end() - 1) == len(match[1])
                if not handed_on:
                    yield start + match.start(), f"{name} decides here without a mark"


def unmarked(path, text):
    code = masked(text)
    covered = [(start, end if code[end - 1] == ";" else closing(code, end - 1)) for _, start, end in marks(text, code)]
    told = set()
    for at, sentence in suspects(path, text, code):
        line = line_of(text, at)
        if line not in told and not any(start <= at < end for start, end in covered):
            told.add(line)
            yield f"{path}:{line}: {sentence}"


def sources(top):
    for place, folders, names in os.walk(os.path.join(top, LIBRARY)):
        folders.sort()
        for name in sorted(names):
            path = os.path.relpath(os.path.join(place, name), top).replace(os.sep, "/")
            if name.endswith((".c", ".h")) and not NOT_LIBRARY.search(path):
                yield path


def all_guards(top):
    for path in sources(top):
        with open(os.path.join(top, path), encoding="utf-8") as file:
            text = file.read()
        try:
            yield from guards_of(path, text)
        except Unclear as problem:
            raise Unclear(f"{path}: {problem}") from None


def check(top):
    try:
        kinds = {guard.kind for guard in all_guards(top)}
    except Unclear as problem:
        yield str(problem)
        return
    for kind in KINDS:
        if kind not in kinds:
            yield f"src:1: there is no guard of kind {kind}"
    for path in sources(top):
        with open(os.path.join(top, path), encoding="utf-8") as file:
            yield from unmarked(path, file.read())


def self_test():
    """Guards found in small texts, and suspects that must be told."""
    door = "src/format/x.c"
    found = [  # statement, its guards
        ("if (a || b(c, d) || !e) return false; /* guard: bounds */", ["a", "b(c, d)", "!e"]),
        ("if (x && (y > 1 || z)) return false; /* guard: bounds */", ["y > 1", "z"]),
        ("if (x && y > 1) return false; /* guard: bounds */", ["x && y > 1"]),
        ("for (int i = 0; i < n; i++)\n    if (a[i] !=\n        b) return false; /* guard: bounds */", ["a[i] != b"]),
        ("return !r.failed && (a || b) && f(\"||\"); /* guard: bounds */", ["!r.failed", "a || b", 'f("||")']),
        ("for (i = 0; i < n; i++)\n    same = a[i] == b[i] && c;  /* guard: bounds */", ["a[i] == b[i]", "c"]),
        ("bool good = status == 0 && a == b; /* guard: checksum */", ["a == b"]),
        ("if (!status && h == checksum(1, p)) return 0; /* guard: checksum, passes */", ["h == checksum(1, p)"]),
        ("return same ? NULL : \"x\"; /* guard: bounds */", ["same"]),
        ("return device_flush(d, error);", ["device_flush(d, error)"]),
        ('const struct rule r = {"n", v, 1, 2 * F(3), false};', ['"n" low 1', '"n" high 2 * F(3)']),
        ("if (a) return false; /* no guard: memory */", []),
    ]
    told = [
        ("if (a) return false;", "refusal"),
        ("if (a) return status_corrupt(e, 1);", "verdict"),
        ("if (a->hash != b) x();", "comparison"),
        ("if (checksum(s, p, n) != b) x();", "comparison"),
        ('if (a) return "broken";', "refusal"),
        ("return a && b;", "decides"),
        ("if (a) return false; /* guard: bounds */", None),
        ("if (a) return false; /* no guard: memory */", None),
        ("return true;", None),
    ]
    failed = 0
    for statement, expected in found:
        got = [guard.text for guard in guards_of(door, f"static bool f(int a) {{\n  {statement}\n}}\n")]
        if got != expected:
            failed += 1
            print(f"self-test: {statement}: {got} instead of {expected}", file=sys.stderr)
    for statement, expected in told:
        got = list(unmarked(door, f"static bool x_decode(int a) {{\n  {statement}\n}}\n"))
        if bool(got) != bool(expected) or (expected and not any(expected in line for line in got)):
            failed += 1
            print(f"self-test: {statement}: {got} instead of {expected}", file=sys.stderr)
    for wrong in ("x++; /* guard: bounds */", "if (a) x(); /* guard: luck */",
                  "if (a) x(); /* guard: bounds; equivalent b: it is */"):
        try:
            guards_of(door, f"void f(void) {{\n  {wrong}\n}}\n")
            failed += 1
            print(f"self-test: {wrong}: accepted", file=sys.stderr)
        except Unclear:
            pass
    print(f"self-test: {'passed' if not failed else 'FAILED'}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--top", default=os.path.dirname(os.path.dirname(here)), help="the project's folder")
    parser.add_argument("--list", action="store_true", help="tell every guard")
    parser.add_argument("--self-test", action="store_true", help="check this checker")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if arguments.list:
        for guard in all_guards(arguments.top):
            print(f"{guard.path}:{guard.line}: {guard.kind}: {guard.text}{' (equivalent)' if guard.why else ''}")
        return 0
    found = list(check(arguments.top))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
