"""The runner, which `run` starts inside its own namespaces. See README.md."""

import argparse
import fnmatch
import json
import os
import pathlib
import platform
import signal
import statistics
import sys
import time

import fieldcases
import filerows
import links
import natprobe
from network import LabError
from report import markdown, verdict, write_table
from rows import ROWS
from session import STALL, Session, undisturbed


class Tools:
    def __init__(self, room, forwarder, folder):
        self.room = str(pathlib.Path(room).resolve())
        self.forwarder = str(pathlib.Path(forwarder).resolve())
        self.folder = pathlib.Path(folder).resolve()


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_row(row, tools, repeat):
    """The runs of a row. A run in which the harness itself stalled is repeated, at most twice."""
    def measure(number):
        try:
            session = Session(tools, tools.folder / row.name / str(number), row.kinds, row.policy)
            try:
                return session.measure(row.cause)
            finally:
                session.close()
        except LabError as error:
            return {"error": str(error)}

    def disturbance(run):
        if run.get("stall", 0) > STALL:
            return f"the harness stood still for {run['stall']:.2f} s"

    return undisturbed(row.name, repeat, 2, measure, disturbance, describe, say)


def describe(run):
    if "error" in run:
        return f"ERROR {run['error']}"
    shown = "never" if run["seconds"] is None else f"{run['seconds']:.3f} s"
    parts = [shown, f"lost {run['lost']}, doubled {run['doubled']}, disordered {run['disordered']}"]
    parts.append(f"paths {'+'.join(run['paths'])}, {run['restarts']} restarts, {run['rebuilds']} rebuilds")
    if run["healthy_gap"] is not None:
        parts.append(f"healthy gap {run['healthy_gap'] * 1000:.0f} ms")
    if run["noticed"] is not None:
        parts.append(f"noticed {run['noticed']:.1f} s, room whole {number(run['signaling'])}")
    if run["stall"] > STALL / 2:
        parts.append(f"harness stall {run['stall'] * 1000:.0f} ms")
    return "; ".join(parts)


def number(value):
    return "never" if value is None else f"{value:.2f} s"


def summarize(row, runs, timed):
    good = [run for run in runs if "error" not in run]
    seconds = [run["seconds"] for run in good]
    healed = [value for value in seconds if value is not None]
    summary = {
        "name": row.name, "title": row.title, "group": row.group, "asked": {"median": row.median, "worst": row.worst},
        "median": statistics.median(healed) if healed else None,
        "worst": max(healed) if healed and len(healed) == len(runs) else None,
        "never": len(runs) - len(healed),
        "errors": [run["error"] for run in runs if "error" in run],
    }
    for key in ("lost", "doubled", "disordered", "undelivered"):
        summary[key] = sum(run[key] for run in good)
    for key in ("healthy_gap", "noticed", "signaling"):
        values = [run[key] for run in good if run[key] is not None]
        summary[key] = max(values, default=None)
    for key in ("restarts", "rebuilds"):
        summary[key] = statistics.median(run[key] for run in good) if good else None
    summary["noticed_asked"] = row.noticed
    summary["paths_whole"] = all(run["paths_whole"] for run in good)
    summary["runs"] = runs
    summary["faults"] = verdict(summary, timed)
    return summary


def choose(patterns, short):
    if patterns:
        chosen = [row for row in ROWS
                  if any(fnmatch.fnmatch(row.name, p) or row.group == p for p in patterns.split(","))]
        if not chosen and not links.chosen(patterns, short):
            raise SystemExit(f"there is no row {patterns}: there is {', '.join(row.name for row in ROWS)}")
        return chosen
    return [row for row in ROWS if row.is_short] if short else ROWS


def main():
    parser = argparse.ArgumentParser(
        prog="Tests/NetworkLab/run", description="Outages in network namespaces, measured.")
    parser.add_argument("--room", required=True, help="the executable under test")
    parser.add_argument("--forwarder", required=True)
    parser.add_argument("--folder", required=True, help="for logs and traces, one folder per run")
    parser.add_argument("--rows", help="names, patterns, or groups (table, more, link), comma-separated")
    parser.add_argument(
        "--cases", nargs="?", const="*", metavar="PATTERN", help="only the field cases, or some of them")
    parser.add_argument("--short", action="store_true", help="the short table, each row once, and the field cases")
    parser.add_argument(
        "--file", action="store_true",
        help="a file is on its way through each outage instead of messages, once in each direction; neither links nor"
        " field cases")
    parser.add_argument("--repeat", type=int, help="runs per row; default 5, with --short 1")
    parser.add_argument(
        "--untimed", action="store_true", help="check only that everything recovers and nothing is lost, not the times")
    parser.add_argument("--json", help="write everything to this file")
    parser.add_argument("--markdown", help="write the table to this file")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for row in ROWS:
            print(f"{row.name:24} {row.group:6} {row.title}")
        for name, title in links.NAMES.items():
            print(f"{name:24} {'link':6} {title}")
        for case in fieldcases.load():
            print(f"{case.name:24} {'case':6} {case.title}")
        return 0
    # Also where a shell started this in the background, with the interrupt ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools = Tools(options.room, options.forwarder, options.folder)
    repeat = options.repeat or (1 if options.short or options.file else 5)
    started = time.monotonic()

    passed = failed = 0
    has_rows = options.rows is not None or options.cases is None
    for what, wrong in natprobe.check_all() if has_rows else ():
        passed, failed = passed + (not wrong), failed + bool(wrong)
        say(f"… {what}: {'; '.join(wrong) or 'as named'}")
    summaries, link_results, case_results, file_results = [], [], [], []
    try:
        if options.file:
            for row in choose(options.rows, options.short):
                file_results.append(filerows.measure(row, tools, repeat, say))
        elif has_rows:
            for row in choose(options.rows, options.short):
                summaries.append(summarize(row, run_row(row, tools, repeat), not options.untimed))
            for name in links.chosen(options.rows, options.short):
                link_results.append(links.measure(name, tools, repeat, say))
        if options.cases is not None or options.rows is None and not options.file:
            for case in fieldcases.load(options.cases or "*"):
                case_results.append(fieldcases.measure(case, tools, say))
    except KeyboardInterrupt:
        say("interrupted: the rows that were finished follow")
    skipped = sum(result["skipped"] for result in case_results)
    passed -= skipped
    for summary in summaries + link_results + case_results + file_results:
        passed, failed = passed + (not summary["faults"]), failed + bool(summary["faults"])
    write_table(summaries, link_results, case_results, file_results, sys.stdout)
    document = {
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release().split("-")[0], "load": os.getloadavg()},
        "repeat": repeat, "seconds": round(time.monotonic() - started), "rows": summaries, "links": link_results,
        "cases": case_results, "files": file_results,
    }
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    if options.markdown:
        pathlib.Path(options.markdown).write_text(markdown(document))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
