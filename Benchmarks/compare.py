#!/usr/bin/env python3
"""Compares two executables: `room bench` of both in turns, one round each, so that what the machine does meanwhile
meets both. Ends as `room bench --check` does: with status 5 if a figure is worse than before by more than both spreads.

Histograms are left out: the figures are medians of rounds. All options that follow `--` are passed to `room bench`.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile


def measure(room, options, folder):
    """Returns the report of one round."""
    path = folder / "round.json"
    path.unlink(missing_ok=True)
    # Status 5: a backend has failed, the others are in the file. The comparison names what is missing.
    subprocess.run([room, "bench", *options, "--rounds", "1", "--json", str(path)], stdout=subprocess.DEVNULL)
    if not path.exists():
        sys.exit(f"{room} bench has measured nothing")
    return json.loads(path.read_text())


def merged(reports):
    """Returns one report of many rounds."""
    results = {}
    for report in reports:
        for result in report["results"]:
            key = (result["scenario"], result["subject"])
            result.pop("histogram", None)
            if key in results:
                results[key]["rounds"] += result["rounds"]
            else:
                results[key] = result
    for result in results.values():
        names = {name for figures in result["rounds"] for name in figures}
        result["metrics"] = {
            name: statistics.median(figures[name] for figures in result["rounds"] if name in figures)
            for name in names}
    run = dict(reports[0]["run"], rounds=len(reports))
    return dict(reports[0], run=run, results=list(results.values()))


def main():
    parser = argparse.ArgumentParser(
        usage="compare.py ROOM BEFORE [--rounds N] [--keep FOLDER] [-- OPTION...]", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", help="the executable of a release build")
    parser.add_argument("before", help="the one that it is compared with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", metavar="FOLDER", help="write before.json and now.json there")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        reports = {"before": [], "now": []}
        for number in range(options.rounds):
            for name, room in (("before", options.before), ("now", options.room)):
                print(f"… round {number + 1} of {options.rounds}, {name}", file=sys.stderr)
                reports[name].append(measure(room, arguments[end + 1:], pathlib.Path(temporary)))
        for name, rounds in reports.items():
            (folder / f"{name}.json").write_text(json.dumps(merged(rounds)))
        return subprocess.run(
            [options.room, "bench", "--from", str(folder / "now.json"), "--check", str(folder / "before.json")]
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
