#!/usr/bin/env python3
"""Makes a report of what wodan-bench-stores wrote: medians, ratios to each store, and a chart.

Usage: report.py RESULTS.json... [--markdown FILE] [--svg FILE] | --self-test

RESULTS.json is from wodan-bench-stores --benchmark_out=FILE --benchmark_out_format=json; of several files the last that
measured a workload counts. Without --markdown the report goes to standard output; with it, it replaces what stands in FILE between the lines
"<!-- measured: begin -->" and "<!-- measured: end -->".

A ratio is ours / theirs of the medians over the rounds of one run, in which the stores took turns; behind it the least and
the most that any one round gave. Above 1 we are ahead (time of reopening, bytes and memory: below 1).
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
OURS = "wodan"
# (workload, its counterpart on the other side, store it is compared with, least ratio, what the bound is about)
BOUNDS = (
    ("readrandom", "readrandom", "lmdb", 1.8, "readrandom, 1 thread"),
    ("readrandom-2", "readrandom", OURS, 1.8, "readrandom, 2 threads, against our own 1 thread"),
    ("readmissing", "readmissing", "lmdb", 2.0, "readmissing"),
    ("getmany-16", "readrandom", "lmdb", 5.0, "get_many of 16, against one by one"),
    ("readseq-compact", "readseq-compact", "lmdb", 3.0, "readseq after compaction"),
    ("readreverse-compact", "readreverse-compact", "lmdb", 2.0, "readreverse after compaction"),
    ("scan-100", "scan-100", "lmdb", 1.2, "scan of 100"),
    ("fillrandom", "fillrandom", "lmdb", 8.0, "fillrandom, buffered, 1,000 a transaction"),
    ("fillrandom", "fillrandom", "*", 5.0, "fillrandom, buffered, the fastest peer"),
    ("fillseq", "fillseq", "rocksdb", 4.0, "fillseq"),
    ("fillsync", "fillsync", "lmdb", 2.0, "fillsync, 1 thread"),
    ("fillsync", "fillsync", "rocksdb", 1.2, "fillsync, 1 thread"),
    ("fillsync-8", "fillsync-8", "rocksdb", 1.5, "fillsync, 8 threads"),
    ("ycsb-a", "ycsb-a", "*", 1.5, "YCSB A, the best peer"),
    ("ycsb-b", "ycsb-b", "*", 1.5, "YCSB B, the best peer"),
    ("readrandom-scarce", "readrandom-scarce", "rocksdb", 1.0, "random gets, memory for a quarter of the data"),
    ("readrandom-scarce", "readrandom-scarce", "lmdb", 1.0, "random gets, memory for a quarter of the data"),
) + tuple((work, work, peer, 1.5, f"values of 100 kB: {what}") for work, what in
          (("fill-100k", "fill, buffered"), ("overwrite-100k", "overwrite, buffered"), ("fillsync-100k", "put durably"), ("read-100k", "random gets, cached"))
          for peer in ("lmdb", "rocksdb"))
# (workload, counter, store, least theirs / ours, what)
COST_BOUNDS = (
    ("fillrandom", "bytes_written", "rocksdb", 2.0, "bytes written by fillrandom, settled; theirs / ours"),
    ("overwrite", "disk", "lmdb", 1.0, "space after overwrite; theirs / ours"),
)
# (workload, most bytes passed to write calls for a byte put, what); what is dirtied counts whole folios of the page cache
WRITTEN_BOUNDS = (
    ("fill-100k", 1.1, "values of 100 kB: bytes written a byte put, fill"),
    ("overwrite-100k", 1.1, "values of 100 kB: bytes written a byte put, overwrite"),
)


class Results:
    """slices[workload][store] = the counters of its rounds, in order."""

    def __init__(self):
        self.slices, self.context = {}, {}

    def add(self, document):
        self.context.update(document["context"])
        fresh = {}
        for row in document["benchmarks"]:
            if row.get("error_occurred"):
                raise SystemExit(f"report.py: {row['name']} failed: {row.get('error_message')}")
            workload, store = row["name"].split("/")[:2]
            fresh.setdefault(workload, {}).setdefault(store, []).append(row)
        self.slices.update(fresh)

    def stores(self):
        found = [name[len("store/"):] for name in self.context if name.startswith("store/")]
        return sorted(found, key=lambda name: (name != OURS, ("lmdb", "rocksdb", "leveldb", "sqlite").index(name) if name != OURS else 0))

    def title(self, store):
        return self.context["store/" + store].rsplit(" ", 1)[0]

    def values(self, workload, store, counter):
        return [row.get(counter, 0) for row in self.slices.get(workload, {}).get(store, [])]

    def median(self, workload, store, counter):
        values = self.values(workload, store, counter)
        return statistics.median(values) if values else None

    def cpu(self, workload, store):
        """Processor seconds an operation, of all threads."""
        rounds = self.slices.get(workload, {}).get(store, [])
        each = [row["cpu_seconds"] / row["operations"] for row in rounds if row.get("cpu_seconds") and row["operations"]]
        return statistics.median(each) if each else None

    def rate(self, workload, store):
        return self.median(workload, store, "items_per_second")


def short(number):
    if number is None:
        return "–"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            scaled = number / limit
            return f"{scaled:.2f} {unit}" if scaled < 10 else f"{scaled:.1f} {unit}" if scaled < 100 else f"{scaled:.0f} {unit}"
    return f"{number:.2g}" if number < 1 else f"{number:.0f}"


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}" if ours and theirs else "–"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def spread(results, workload, peer):
    """Least and most ratio of a single round."""
    pairs = zip(results.values(workload, OURS, "items_per_second"), results.values(workload, peer, "items_per_second"))
    each = [ours / theirs for ours, theirs in pairs if ours and theirs]
    return f" ({min(each):.2f}–{max(each):.2f})" if len(each) > 1 else ""


def rates(results):
    peers = [store for store in results.stores() if store != OURS]
    rows = []
    for workload in results.slices:
        if workload == "reopen":
            continue
        ours = results.rate(workload, OURS)
        row = [workload, results.context.get("workload/" + workload, ""), short(ours)]
        for peer in peers:
            theirs = results.rate(workload, peer)
            row.append(f"{short(theirs)}: **{ratio(ours, theirs)}**{spread(results, workload, peer)}" if ours and theirs else short(theirs))
        rows.append(row)
    head = ["workload", "what", results.title(OURS)] + [f"{results.title(peer)}: ratio (rounds)" for peer in peers]
    return table(head, rows)


def bounds(results):
    rows = []
    for workload, other, peer, least, what in BOUNDS:
        peers = [store for store in results.stores() if store != OURS] if peer == "*" else [peer]
        ours = results.rate(workload, OURS)
        theirs = {store: results.rate(other, store) for store in peers if results.rate(other, store)}
        if not ours or not theirs:
            continue
        best = max(theirs, key=theirs.get)
        reached = ours / theirs[best]
        rows.append([what, results.title(best), f"{least:g} ×", f"{reached:.2f} ×", "reached" if reached >= least else "missed",
                     ratio(results.cpu(other, best), results.cpu(workload, OURS))])
    for workload, counter, peer, least, what in COST_BOUNDS:
        ours, theirs = results.median(workload, OURS, counter), results.median(workload, peer, counter)
        if ours and theirs:
            rows.append([what, results.title(peer), f"{least:g} ×", f"{theirs / ours:.2f} ×", "reached" if theirs >= least * ours else "missed", "–"])
    for workload, most, what in WRITTEN_BOUNDS:
        put, written = results.median(workload, OURS, "bytes_put"), results.median(workload, OURS, "bytes_written")
        if put:
            rows.append([what, "–", f"at most {most:g}", f"{written / put:.2f}", "reached" if written <= most * put else "missed", "–"])
    return table(["work", "against", "at least", "measured", "", "by processor time"], rows) if rows else []


def processor(results):
    """Processor time an operation: what a busy machine disturbs less. All threads of the process count, those in the background too."""
    peers = [store for store in results.stores() if store != OURS]
    rows = []
    for workload in results.slices:
        ours = results.cpu(workload, OURS)
        if not ours:
            continue
        row = [workload, f"{ours * 1e9:,.0f}"]
        for peer in peers:
            theirs = results.cpu(workload, peer)
            row.append(f"{theirs * 1e9:,.0f}: **{theirs / ours:.2f}**" if theirs else "–")
        rows.append(row)
    return table(["workload", results.title(OURS)] + [f"{results.title(peer)}: ratio" for peer in peers], rows) if rows else []


def costs(results):
    """Bytes written per byte put, space, memory, seconds to settle, of the fills."""
    rows = []
    for workload in ("fillseq", "fillrandom-1", "fillrandom", "overwrite", "fillsync-100k", "fill-100k", "overwrite-100k"):
        for store in results.stores():
            put = results.median(workload, store, "bytes_put")
            if not put:
                continue
            median = lambda counter: results.median(workload, store, counter)
            rows.append([workload, results.title(store), f"{median('bytes_written') / put:.2f}", f"{median('device_written') / put:.2f}",
                         f"{median('disk') / 1e6:.1f} MB", f"{median('peak_memory') / 1e6:.0f} MB",
                         f"{median('settle_seconds'):.2f} s"])
    head = ["workload", "store", "written per byte put (calls)", "of it dirtied (pages)", "on disk", "peak memory", "settling"]
    return table(head, rows) if rows else []


def limit(results, workload, store):
    bytes_most = results.median(workload, store, "memory_limit")
    return f"{bytes_most / 1e6:.0f} MB" if bytes_most else "none"


def reads(results):
    """What a get costs at the device and in memory."""
    rows = []
    for workload in ("readrandom", "readrandom-scarce"):
        for store in results.stores():
            gets = results.median(workload, store, "operations")
            if not gets:
                continue
            fetched = [read / of for read, of in zip(results.values(workload, store, "device_read"), results.values(workload, store, "operations"))]
            rows.append([workload, results.title(store), f"{statistics.median(fetched):.0f}", f"{results.median(workload, store, 'peak_memory') / 1e6:.0f} MB", limit(results, workload, store)])
    return table(["workload", "store", "device bytes read a get", "peak memory", "limit, page cache included"], rows) if rows else []


def reopening(results):
    rows = [[results.title(store), f"{results.median('reopen', store, 'seconds') * 1e3:.1f} ms"] for store in results.stores()
            if results.slices.get("reopen", {}).get(store)]
    return table(["store", "open after the process was killed"], rows) if rows else []


def markdown(results):
    c = results.context
    lines = [f"Measured {c['date'][:10]} on {c['num_cpus']} processors of {c['mhz_per_cpu'] / 1000:.1f} GHz (load at the start {c['load_avg'][0]:.1f}): "
             f"{int(c['records']):,} records of 16 + {c['value']} bytes, "
             f"cache {short(int(c['cache']))}B, write buffers {short(int(c['write_buffer']))}B, {c['rounds']} rounds, slices of {c['slice_ms']} ms, seed {c['seed']}.", ""]
    lines += [f"- {c['store/' + store]}: {c['settings/' + store]}." for store in results.stores()]
    parts = (("### Operations a second", rates(results)), ("### Bounds", bounds(results)),
             ("### Processor time an operation, ns", processor(results)),
             ("### What fills cost", costs(results)), ("### What gets cost", reads(results)), ("### Reopening", reopening(results)))
    for heading, part in parts:
        if part:
            lines += ["", heading, ""] + part
    return "\n".join(lines) + "\n"


COLOURS = {"wodan": "#0b6e4f", "lmdb": "#c8553d", "rocksdb": "#588b8b", "leveldb": "#e0a458", "sqlite": "#8d99ae"}


def svg(results):
    """Bars: each store's median over ours, on a common scale from 0 to 1.5; what is longer is cut and told in figures."""
    stores, workloads = results.stores(), [w for w in results.slices if w != "reopen" and results.rate(w, OURS)]
    left, width, most, bar, gap = 170, 520, 1.5, 7, 8
    height = 60 + len(workloads) * (len(stores) * bar + gap)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{height}" font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="#fff"/><text x="8" y="16" font-size="13">Operations a second, as a share of Wodan\'s</text>']
    x = left
    for store in stores:
        out.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{COLOURS[store]}"/><text x="{x + 14}" y="35">{results.title(store)}</text>')
        x += 84
    y = 48
    for workload in workloads:
        ours = results.rate(workload, OURS)
        out.append(f'<text x="{left - 8}" y="{y + len(stores) * bar / 2 + 4:.0f}" text-anchor="end">{workload}</text>')
        for store in stores:
            theirs = results.rate(workload, store)
            if theirs:
                share = theirs / ours
                length = min(share, most) / most * width
                out.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 1}" fill="{COLOURS[store]}"/>')
                if share > most:
                    out.append(f'<text x="{left + width + 4}" y="{y + bar}" font-size="9">{share:.1f}</text>')
            y += bar
        y += gap
    one = left + width / most
    out.append(f'<line x1="{one:.0f}" y1="44" x2="{one:.0f}" y2="{height - 8}" stroke="#000" stroke-width="0.5" stroke-dasharray="3 3"/></svg>')
    return "\n".join(out) + "\n"


def replace_between(path, text):
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise SystemExit(f"report.py: {path} lacks the lines {BEGIN} and {END}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(old[: old.index(BEGIN) + len(BEGIN)] + "\n" + text + old[old.index(END):])


def self_test():
    def row(name, rate, **more):
        return {"name": name, "items_per_second": rate, "operations": 10, "seconds": 1, "cpu_seconds": 1 / rate, "settle_seconds": 1, **more}

    context = {"date": "2026-01-02T03:04:05", "num_cpus": 2, "mhz_per_cpu": 2000, "load_avg": [1], "records": "1000", "value": "100", "cache": "1000", "write_buffer": "1000",
               "rounds": "3", "slice_ms": "1", "seed": "1", "store/wodan": "Wodan 1", "store/lmdb": "LMDB 2", "settings/wodan": "a", "settings/lmdb": "b"}
    rows = [row(f"readrandom/{store}/{i}", rate) for i, pair in enumerate(((300, 100), (200, 100), (500, 200))) for store, rate in zip(("wodan", "lmdb"), pair)]
    rows += [row("fillrandom/wodan/0", 10, bytes_put=100, bytes_written=250, device_written=300, disk=1e6, peak_memory=2e6)]
    rows += [row("fill-100k/wodan/0", 10, bytes_put=100, bytes_written=104, device_written=105, disk=1e6, peak_memory=2e6)]
    results = Results()
    results.add({"context": context, "benchmarks": rows})
    text = markdown(results)
    cases = [("medians and ratio", "300 | 100: **3.00** (2.00–3.00)" in text), ("bound", "| readrandom, 1 thread | LMDB | 1.8 × | 3.00 × | reached | 3.00 |" in text),
             ("bytes bounded", "| at most 1.1 | 1.04 | reached |" in text),
             ("bytes per byte", "| fillrandom | Wodan | 2.50 | 3.00 | 1.0 MB |" in text), ("settled", "| 2 MB | 1.00 s |" in text), ("processor time", "333,333: " in text or "1,000,000: **3.00**" in text),
             ("chart", svg(results).count("<rect") == 1 + 2 + 2 + 1 + 1), ("units", [short(n) for n in (0.5, 12, 1234, 5.6e6, 2e8)] == ["0.5", "12", "1.23 k", "5.60 M", "200 M"])]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        replace_between(path, "new\n")
        with open(path, encoding="utf-8") as file:
            cases.append(("replaced", file.read() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"))
    for name, good in cases:
        if not good:
            print(f"self-test: {name} is wrong", file=sys.stderr)
    print(f"self-test: {sum(good for _, good in cases)} of {len(cases)} passed")
    return 0 if all(good for _, good in cases) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*")
    parser.add_argument("--markdown")
    parser.add_argument("--svg")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if not arguments.results:
        parser.error("no results")
    results = Results()
    for path in arguments.results:
        with open(path, encoding="utf-8") as file:
            results.add(json.load(file))
    if arguments.markdown:
        replace_between(arguments.markdown, markdown(results))
    else:
        print(markdown(results), end="")
    if arguments.svg:
        with open(arguments.svg, "w", encoding="utf-8") as file:
            file.write(svg(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
