#!/usr/bin/env python3
"""Measures `room serve` under load on one machine: the server on one core, the load generator (reference/load) on the
other. Prints a table of the medians beside the figures that are asked for.

Figures per core-second divide by the processor time that the server has used, all threads, as the kernel counts it. So
they hold where the generator is the slower side too. With --against, two executables take turns in every round.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import resource
import shutil
import subprocess
import sys
import time

from server_figures import FIGURES, markdown, printed, shown, table, worse_than
from server_load import GROUPS, Bench, Failure

HERE = pathlib.Path(__file__).resolve().parent


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load": round(os.getloadavg()[0], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", help="the executable of a release build")
    parser.add_argument("--against", metavar="ROOM", help="another executable, in interleaved rounds")
    parser.add_argument("--load", default=str(HERE / ".build/reference-load"), help="the load generator")
    parser.add_argument("--only", metavar="GROUP,…", default=",".join(GROUPS), help=", ".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="of numbers of clients and durations; default: 1")
    parser.add_argument("--cores", default="0,1", help="the server's, and the generator's; default: 0,1")
    parser.add_argument("--folder", help="for keys and logs; default: the system's temporary one")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--add", action="store_true", help="these rounds are further ones of those in FILE")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--check", metavar="BASELINE", help="exit with 5 if a figure is worse than in this file")
    parser.add_argument("--tolerance", type=float, default=0.05)
    options = parser.parse_args()
    groups = options.only.split(",")
    if unknown := [group for group in groups if group not in GROUPS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 20_000 and options.scale >= 1:
        print(f"server: the hard limit of descriptors is {hard}: raise it to 20000 (ulimit -Hn)", file=sys.stderr)
    rooms = {"now": options.room} | ({"against": options.against} if options.against else {})
    results = {name: {} for name in rooms}
    said = {name: [] for name in rooms}
    bench, failures = Bench(options), []
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        for number in range(options.rounds):
            for group in groups:
                # Who is first changes with each round.
                for name, room in list(rooms.items())[:: 1 if number % 2 == 0 else -1]:
                    try:
                        figures, found = getattr(bench, group)(room)
                    except (Failure, subprocess.TimeoutExpired) as failure:
                        failures.append(f"{name}, {group}: {failure}")
                        print(f"server: {failures[-1]}", file=sys.stderr, flush=True)
                        continue
                    for key, value in figures.items():
                        results[name].setdefault(key, []).append(value)
                    said[name] += found
                    print(f"{number + 1} {name:8}", ", ".join(
                        f"{key} {shown(FIGURES[key], value)}" for key, value in figures.items()), flush=True)
    finally:
        bench.log.close()
        if failures:
            print((bench.folder / "server.log").read_text()[-2000:], file=sys.stderr)
        with contextlib.suppress(OSError):
            shutil.rmtree(bench.folder)
    earlier = pathlib.Path(options.json) if options.add and options.json else None
    if earlier and earlier.exists():
        before = json.loads(earlier.read_text())
        names = [name for name in ("now", "against") if name in results or name in before["results"]]
        results = {
            name: {key: before["results"].get(name, {}).get(key, []) + results.get(name, {}).get(key, [])
                   for key in FIGURES if any(key in known.get(name, {}) for known in (before["results"], results))}
            for name in names}
        options.rounds = max((len(values) for known in results.values() for values in known.values()), default=0)
        said = {name: before["generator"].get(name, []) + said.get(name, []) for name in names}
        failures = before["failures"] + failures
    report = {"machine": machine(), "run": {"began": began, "rounds": options.rounds, "scale": options.scale},
              "failures": failures, "results": results, "generator": said}
    rows = table(results, list(results))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, sort_keys=True) + "\n")
    if options.markdown:
        pathlib.Path(options.markdown).write_text(markdown(report, rows))
    print()
    printed(rows)
    worse = []
    if options.check:
        baseline = json.loads(pathlib.Path(options.check).read_text())["results"]["now"]
        worse = worse_than(baseline, results["now"], options.tolerance)
        for line in worse:
            print(f"worse: {line}", file=sys.stderr)
    sys.exit(1 if failures else 5 if worse else 0)


if __name__ == "__main__":
    main()
