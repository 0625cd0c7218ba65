#!/usr/bin/env python3
"""Removes what the engine's safety stands on, one at a time, and shows that a test notices.

Usage: tools/mutants.py                      the steps whose tests are short, and a slice of the guards that changes by the day
       tools/mutants.py --all                every step and every guard (some minutes, and the building; see --seconds, --results)
       tools/mutants.py --only REGEX         those whose name matches, as "page.c" or "checksum"
  --seconds N     starts no further mutant after N seconds; tells how many are left
  --results FILE  verdicts are kept there, and what was killed before is not tried again (until the file is removed)
  --build DIR     builds there and keeps it          --jobs N  (2)         --list  tells the names only
  --slice N       guards of the slice (9)            --seed N  of the slice (the day; CI: always the same)

Two kinds. The steps of tools/mutants.txt: the protocol's rules, each with its own change of the text and tests. The
guards: every flush and barrier, every comparison of checksums and every bound on what a device told, found in src/ by
tools/lint/check_guards.py. All guards are built once, each with a switch; a first run of a test tells which guards say
no in it (the flushes: are called), and only such tests are tried against a guard, those of ROOMS first.

Asserts are compiled out, so that a test has to notice, not an assert. Exit 1: a mutant survived or no longer applies, a
test fails without any, or the canary, which changes nothing, was not reported as surviving.
"""
import argparse
import datetime
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True  # nothing beside the sources
sys.path.insert(0, os.path.join(TOP, "tools/lint"))
import check_guards  # pylint: disable=wrong-import-position

FLAGS = "-std=c17 -D_GNU_SOURCE -DNDEBUG -O1 -w"
LIBS = "-lcmocka -lxxhash -llz4 -lpthread"
CALM = {"WODAN_CRASH_BUDGET": "16", "WODAN_CRASH_ROUNDS": "2"}
GUARDS_A_FILE = 256
NOBODY = -2  # the number of no guard
HANGS = "hangs"  # in place of an exit code
# What a program does to itself. Any other signal (killed for want of memory, say) came from the machine and says nothing.
OWN_SIGNALS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS)
ATTEMPTS = 3
# Of tools/ and bench/; or linked in a way of their own.
ELSEWHERE = ("test_text_formats", "test_json", "test_mirage", "test_paced_device", "test_api_faults")
# Tests that are told what to do.
ARGUMENTS = {"recipes": [os.path.join(TOP, "tests/repair")]}
# Some seconds: tried last.
SLOW = ("recipes", "test_format_hostile", "test_inspect_damage", "test_faults", "test_engine_memory", "test_engine_space",
        "test_tree_faults", "test_field_sweep", "test_type_confusion", "test_power_cut")
# Long, and no guard says no in them that says none in another.
LONG = ("test_brim", "test_bounds", "test_engine_budget", "test_workloads", "test_tree_random", "test_maintenance",
        "test_model", "test_history")
# Where a guard's file starts -> the tests that are likely to notice; then come all others.
ROOMS = {
    "src/base/wire": "test_wire test_block_ptr",
    "src/blob/": "test_blob test_large",
    "src/cache/": "test_values",
    "src/codec/": "test_compress test_check_findings",
    "src/check/": "test_check_findings test_check_tree test_hostile_run test_hostile_volume test_check recipes test_large",
    "src/dev/": "test_device test_dev_file test_protocol",
    "src/engine/checkpoint": "test_protocol",
    "src/engine/format": "test_format_crash",
    "src/engine/large": "test_large",
    "src/engine/open": "test_protocol test_faults",
    "src/engine/recovery": "test_protocol test_hostile_volume test_hostile_journal test_engine_open",
    "src/engine/write_path": "test_protocol",
    "src/format/block_ptr": "test_block_ptr test_format_hostile",
    "src/format/blob": "test_blob_format test_blob",
    "src/format/checkpoint_record": "test_checkpoint_record test_format_hostile",
    "src/format/journal_block": "test_journal_block test_format_hostile",
    "src/format/node_header": "test_node_header test_format_hostile",
    "src/format/object_header": "test_object_header test_format_hostile",
    "src/format/page": "test_page",
    "src/format/range": "test_range",
    "src/format/superblock": "test_superblock",
    "src/format/to_text": "test_to_text",
    "src/format/stored_page": "test_check_findings test_check",
    "src/inspect/copy": "test_image_copy test_hostile_run test_hostile_ring",
    "src/inspect/": "test_hostile_run test_hostile_ring test_hostile_volume test_inspect_damage",
    "src/io/": "test_run_lists test_run_damage test_node_image",
    "src/io/superblock_find": "test_superblock_find",
    "src/journal/ring_mount": "test_hostile_ring test_journal test_unproven test_repair_runs",
    "src/journal/": "test_hostile_ring test_journal test_unproven test_protocol test_hostile_journal",
    "src/repair/": "test_repair test_repair_runs test_repair_nodes test_check_findings recipes test_repair_crash",
    "src/run/": "test_run_lists test_hostile_run test_run_damage",
    "src/space/": "test_space",
    "src/tree/": "test_node_image test_walk test_tree",
}

GUARDS_H = """\
#ifndef GUARDS_H
#define GUARDS_H
#include <stdbool.h>
#include <stdint.h>
extern unsigned char guard_said[];
extern int guard_removed;
static inline bool guard_bad(int id, bool bad) {
  if (bad) guard_said[id] = 1;
  return bad && id != guard_removed;
}
static inline bool guard_good(int id, bool good) {
  if (!good) guard_said[id] = 1;
  return good || id == guard_removed;
}
static inline bool guard_call(int id) {
  guard_said[id] = 1;
  return id != guard_removed;
}
static inline uint64_t guard_bound(int id, bool bad, uint64_t right, uint64_t any) {
  if (bad) guard_said[id] = 1;
  return id == guard_removed ? any : right;
}
#endif
"""
GUARDS_C = """\
#include "guards.h"
#include <stdio.h>
#include <stdlib.h>
enum { COUNT = %d };
unsigned char guard_said[COUNT];
int guard_removed = -1;
__attribute__((constructor)) static void guards_start(void) {
  if (getenv("WODAN_GUARD")) guard_removed = atoi(getenv("WODAN_GUARD"));
}
__attribute__((destructor)) static void guards_end(void) {
  FILE *out = getenv("WODAN_GUARDS_SAID") ? fopen(getenv("WODAN_GUARDS_SAID"), "a") : NULL;
  for (int i = 0; out && i < COUNT; i++)
    if (guard_said[i]) fprintf(out, "%%d\\n", i);
  if (out) fclose(out);
}
"""
INSTEAD = {
    "bad": "guard_bad({id}, {text})",
    "good": "guard_good({id}, {text})",
    "call": "(guard_call({id}) ? {text} : 0)",
    "low": "guard_bound({id}, ({value}) < ({text}), {text}, 0)",
    "high": "guard_bound({id}, ({value}) > ({text}), {text}, UINT64_MAX)",
    "power": "guard_bound({id}, ({value}) & (({value}) - 1), {text}, false)",
}


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def write(path, text):
    """Leaves a file alone that says the same already, so that nothing is built again for it."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


# ---- steps: changes of the text ----


class Step:
    """An entry of tools/mutants.txt."""

    def __init__(self, name, tests):
        self.name, self.tests, self.edits = name, tests, []

    def sources(self):
        """path -> changed text; None when it does not apply any more."""
        texts = {}
        for path, before, after in self.edits:
            text = texts.get(path) or read(path)
            if text.count("\n".join(before)) != 1:
                return None
            texts[path] = text.replace("\n".join(before), "\n".join(after))
        return texts or None


def all_steps():
    steps = []
    for line in read("tools/mutants.txt").splitlines():
        head = re.match(r"\[(\w+)\] ([\w ]+?) -- ", line)
        if head:
            steps.append(Step(head[1], head[2].split()))
        elif line.startswith("@ "):
            steps[-1].edits.append((line[2:], [], []))
        elif line[:1] in ("-", "+") and steps:
            steps[-1].edits[-1][1 if line[0] == "-" else 2].append(line[1:])
    return steps


# ---- guards: all of them in one build, each with a switch ----


class Switch:
    """A guard with its number."""

    def __init__(self, guard, number, name):
        self.guard, self.number, self.name = guard, number, name


def all_switches():
    """[Switch], and path -> text with them in it."""
    switches, texts = [], {}
    for index, path in enumerate(check_guards.sources(TOP)):
        text, at, seen = read(path), index * GUARDS_A_FILE, {}
        guards = check_guards.guards_of(path, text)
        for i, guard in enumerate(guards):
            name = f"{path} {guard.kind}: {guard.text}"
            seen[name] = seen.get(name, 0) + 1
            switches.append(Switch(guard, at + i, name + (f" #{seen[name]}" if seen[name] > 1 else "")))
        assert len(guards) < GUARDS_A_FILE
        for i, guard in reversed(list(enumerate(guards))):
            new = INSTEAD[guard.how].format(id=at + i, text=text[guard.start:guard.end], value=guard.value)
            text = text[:guard.start] + new + text[guard.end:]
        texts[path] = text
    return switches, texts


# ---- building ----


class Build:
    def __init__(self, folder):
        self.folder = folder
        self.cc = os.environ.get("CC", "cc")
        self.tests = {}
        for place in ("unit", "crash", "corrupt"):
            for name in sorted(os.listdir(os.path.join(TOP, "tests", place))):
                if name.startswith("test_") and name.endswith(".c") and name[:-2] not in ELSEWHERE:
                    self.tests[name[:-2]] = f"tests/{place}/{name}"
        self.tests["recipes"] = "tests/repair/recipes.c"

    def lay_out(self, texts):
        """Copies of the sources with the switches in them, and a build.ninja that makes every test program."""
        count = (len(texts) + 1) * GUARDS_A_FILE
        write(f"{self.folder}/guards.h", GUARDS_H)
        write(f"{self.folder}/guards.c", GUARDS_C % count)
        there = {os.path.relpath(path, TOP) for path in self.paths(os.path.join(TOP, "src"))}
        for path in self.paths(f"{self.folder}/src"):
            if os.path.relpath(path, self.folder) not in there:
                os.remove(path)  # moved since the folder was made
        for path in there:
            write(f"{self.folder}/{path}", texts.get(path) or read(path))
        sources = sorted(p for p in self.paths(f"{self.folder}/src") if p.endswith(".c"))
        support = sorted(p for p in self.paths(f"{TOP}/tests/support") if p.endswith(".c"))
        lines = [f"flags = {FLAGS} -I{TOP}/include -I{self.folder}/src -I{TOP}/tests -I{TOP}/fuzz -include {self.folder}/guards.h",
                 "rule cc", f"  command = {self.cc} $flags -MMD -MF $out.d -c $in -o $out", "  depfile = $out.d",
                 "rule ar", "  command = rm -f $out && ar rcs $out $in",
                 "rule link", f"  command = {self.cc} -o $out $in {LIBS}"]
        # What puts checksums right, and what judges volumes of lies.
        support += [f"{TOP}/{path}" for path in ("fuzz/support/image_walk.c", "fuzz/support/image_judge.c",
                                                 "fuzz/support/meter.c", "fuzz/support/fail.c", "tests/corrupt/forge_judge.c")]
        objects = []
        for path in [f"{self.folder}/guards.c", *sources, *support]:
            objects.append("o/" + re.sub(r"[^\w.]", "_", os.path.relpath(path, self.folder)) + ".o")
            lines.append(f"build {objects[-1]}: cc {path}")
        lines.append(f"build lib.a: ar {' '.join(objects)}")
        for name, path in self.tests.items():
            lines += [f"build o/{name}.o: cc {TOP}/{path}", "  flags = $flags -O0", f"build {name}: link o/{name}.o lib.a"]
        write(f"{self.folder}/build.ninja", "\n".join(lines) + "\n")

    @staticmethod
    def paths(folder):
        return [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]

    def make(self, tests, jobs):
        subprocess.run(["ninja", "-C", self.folder, "-j", str(jobs), "--quiet", *tests], check=True)

    def make_step(self, step, test):
        """A program with a step's sources in front of the library; None: it does not compile."""
        flags = f"{FLAGS} -I{TOP}/include -I{TOP}/src -I{TOP}/tests".split()
        folder, changed = f"{self.folder}/steps/{step.name}", []
        for path, text in step.sources().items():
            source = f"{folder}/{os.path.basename(path)}"
            write(source, text)
            changed.append(source + ".o")
            if subprocess.run([self.cc, *flags, "-c", "-o", changed[-1], source], check=False).returncode:
                return None
        program = f"{folder}/{test}"
        made = subprocess.run([self.cc, "-o", program, f"{self.folder}/o/{test}.o", *changed, f"{self.folder}/lib.a",
                               *LIBS.split()], check=False)
        return program if made.returncode == 0 else None

    def run(self, program, limit, **more):
        """(exit code, seconds, the test case that failed, output). HANGS: it took too long, twice, the second time with three
        times as long. What a signal of the machine's ended is run again, ATTEMPTS times in all."""
        for _ in range(ATTEMPTS):
            ended = self.run_once(program, limit, **more)
            if ended[0] == HANGS:
                return self.run_once(program, 3 * limit, **more)
            if not from_outside(ended[0]):
                break
        return ended

    def run_once(self, program, limit, **more):
        start = time.monotonic()
        environment = {**os.environ, **CALM, "CMOCKA_TEST_ABORT": "1", **more}
        try:
            done = subprocess.run([program, *ARGUMENTS.get(os.path.basename(program), [])], env=environment, timeout=limit,
                                  cwd=self.folder, check=False, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            code, text = done.returncode, done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired:
            code, text = HANGS, ""
        failed = re.search(r"^(?:\[  FAILED  \]|FAIL) (?:test_\w*?__)?([\w-]+)", text, re.MULTILINE)
        began = re.findall(r"\[ RUN      \] (?:test_\w*?__)?(\w+)", text)
        case = failed[1] if failed else began[-1] if began and code else ""
        return code, time.monotonic() - start, case, text


# ---- trying ----


class Broken(Exception):
    pass


def from_outside(code):
    return code != HANGS and code < 0 and -code not in OWN_SIGNALS


class Trial:
    """What the tests do without a mutant, and the verdicts."""

    def __init__(self, build, results, jobs):
        self.build, self.results, self.jobs, self.known = build, results, jobs, {}
        self.building, self.locks = Lock(), {test: Lock() for test in build.tests}
        self.seconds, self.said = {}, {}
        if results and os.path.exists(results):
            with open(results, encoding="utf-8") as file:
                for line in file:
                    name, verdict = json.loads(line)
                    self.known[name] = verdict

    def ready(self, test):
        """Built, and run once without a mutant."""
        with self.locks[test]:
            if test not in self.seconds:
                with self.building:
                    self.build.make([test], self.jobs)
                self.first_run(test)

    def first_run(self, test):
        """Without a mutant it passes; which guards say no, and how long it takes. Kept as long as the program."""
        program, kept = f"{self.build.folder}/{test}", f"{self.build.folder}/{test}.said"
        if not os.path.exists(kept) or os.path.getmtime(kept) < os.path.getmtime(program):
            said = kept + ".new"
            open(said, "w", encoding="utf-8").close()
            code, seconds, case, text = self.build.run(program, 600, WODAN_GUARDS_SAID=said)
            if code:
                raise Broken(f"{test} fails without any mutant, in {case or 'no case of it'}:\n{text[-2000:]}")
            with open(said, "a", encoding="utf-8") as file:
                file.write(f"seconds {seconds:.3f}\n")
            os.replace(said, kept)
        with open(kept, encoding="utf-8") as file:
            lines = file.read().split("\n")
        self.said[test] = {int(line) for line in lines if line.isdigit()}
        self.seconds[test] = max(float(line.split()[1]) for line in lines if line.startswith("seconds"))

    def judge(self, tries):
        """(killed, sentence) over (test, program or None, environment); each test is ready."""
        start, tried = time.monotonic(), []
        for test, program, more in tries:
            if program is None:
                return False, "does not compile any more"
            code, _, case, _ = self.build.run(program, 10 + 10 * self.seconds[test], **more)
            if from_outside(code):
                return False, f"UNDECIDED: {test} was ended from outside {ATTEMPTS} times, by signal {-code}"
            if code:
                how = "" if code == -signal.SIGABRT else " (it hangs)" if code == HANGS else " (it crashes)" if code < 0 else ""
                return True, f"killed by {test}{', ' + case if case else ''}{how} in {time.monotonic() - start:.1f} s"
            tried.append(test)
        return False, f"SURVIVED {' '.join(tried)}" if tried else "SURVIVED: in no test it says no"

    def try_step(self, step):
        if step.sources() is None:
            return False, "no longer applies"

        def tries():
            for test in step.tests:
                self.ready(test)
                yield test, self.build.make_step(step, test), {}

        return self.judge(tries())

    def try_switch(self, switch):
        def tries():
            rooms = [tests for room, tests in ROOMS.items() if switch.guard.path.startswith(room)]
            likely = list(dict.fromkeys(" ".join(rooms).split()))
            others = [test for test in self.build.tests if test not in [*likely, *SLOW, *LONG]]
            for test in [*likely, *others, *SLOW]:
                self.ready(test)
                if switch.number in self.said[test]:
                    yield test, f"{self.build.folder}/{test}", {"WODAN_GUARD": str(switch.number)}

        return self.judge(tries())

    def verdict(self, mutant, deadline):
        """None: no time left."""
        name = mutant.name
        known = self.known.get(name)
        if known and known.startswith("killed"):
            return True, known
        if time.monotonic() > deadline:
            return None
        killed, sentence = self.try_step(mutant) if isinstance(mutant, Step) else self.try_switch(mutant)
        print(f"MUTANT {name}: {sentence}", flush=True)
        if self.results:
            with open(self.results, "a", encoding="utf-8") as file:
                file.write(json.dumps([name, sentence]) + "\n")
        return killed, sentence


# ---- what to try ----


def slice_of(switches, size, seed):
    """Of each kind alike, and of no file twice while there are others."""
    chance = random.Random(seed)
    chosen = []
    for kind in check_guards.KINDS:
        of_kind = [s for s in switches if s.guard.kind == kind]
        chance.shuffle(of_kind)
        first_of = {s.guard.path: s for s in reversed(of_kind)}
        of_kind = [*first_of.values(), *(s for s in of_kind if first_of[s.guard.path] is not s)]
        chosen += of_kind[:size // len(check_guards.KINDS)]
    return chosen


def count(trial, mutants, jobs, deadline):
    """Tries them; (killed, survivors, how many were not reached)."""
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(lambda mutant: (mutant, trial.verdict(mutant, deadline)), mutants))
    left = sum(1 for _, verdict in verdicts if verdict is None)
    survivors = [(mutant, verdict[1]) for mutant, verdict in verdicts if verdict and not verdict[0]]
    return sum(1 for _, verdict in verdicts if verdict and verdict[0]), survivors, left


def told(title, killed, survivors, left):
    print(f"{title}: {killed} killed, {len(survivors)} survived" + (f", {left} not tried" if left else ""))
    for mutant, sentence in survivors:
        print(f"  {mutant.name}: {sentence}")
    return not survivors


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", metavar="REGEX")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--results", metavar="FILE")
    parser.add_argument("--build", metavar="DIR")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--slice", type=int, default=9)
    parser.add_argument("--seed", type=int, default=datetime.date.today().toordinal())
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def main():
    asked, start = parsed(), time.monotonic()
    try:
        switches, texts = all_switches()
    except check_guards.Unclear as problem:
        print(problem, file=sys.stderr)
        return 1
    equivalent = [switch for switch in switches if switch.guard.why]
    switches = [switch for switch in switches if not switch.guard.why]
    steps = all_steps()
    if asked.only:
        steps, switches, equivalent = ([m for m in mutants if re.search(asked.only, m.name)]
                                       for mutants in (steps, switches, equivalent))
    elif not asked.all:
        switches = slice_of(switches, asked.slice, asked.seed)
        long = [step for step in steps if step.tests[0] in (*SLOW, *LONG)]
        steps = [step for step in steps if step not in long]
        print(f"a slice of the guards: tools/mutants.py --slice {asked.slice} --seed {asked.seed}")
        print(f"left to --all, their tests are long: {' '.join(step.name for step in long)}")
    if asked.list:
        print("\n".join(mutant.name for mutant in [*steps, *switches, *equivalent]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        build = Build(os.path.abspath(asked.build or folder))
        build.lay_out(texts)
        try:
            return all_tried(Trial(build, asked.results, asked.jobs), asked, start, steps, switches, equivalent)
        except Broken as problem:
            print(problem)
            return 1


def canary_survives(trial):
    """A mutant that changes nothing, and a test that the machine ends: who calls them killed would call anything killed."""
    trial.ready("test_wire")
    killed, sentence = trial.judge([("test_wire", f"{trial.build.folder}/test_wire", {"WODAN_GUARD": str(NOBODY)})])
    print(f"CANARY, which changes nothing: {sentence}", flush=True)
    ended = f"{trial.build.folder}/ended"
    write(ended, "#!/bin/sh\nkill -KILL $$\n")
    os.chmod(ended, 0o755)
    trial.seconds["ended"] = 0
    decided, sentence = trial.judge([("ended", ended, {})])
    print(f"CANARY, which the machine ends: {sentence}", flush=True)
    return not killed and not decided and sentence.startswith("UNDECIDED")


def all_tried(trial, asked, start, steps, switches, equivalent):
    trial.build.make(["lib.a"], asked.jobs)
    deadline = start + asked.seconds
    good = canary_survives(trial)
    for kind in check_guards.KINDS:
        of_kind = [switch for switch in switches if switch.guard.kind == kind]
        good = told(f"guards: {kind}", *count(trial, of_kind, asked.jobs, deadline)) and good
    good = told("steps", *count(trial, steps, asked.jobs, deadline)) and good
    print(f"equivalent, not tried: {len(equivalent)}")
    for switch in equivalent:
        print(f"  {switch.name}: {switch.guard.why}")
    print(f"{time.monotonic() - start:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
