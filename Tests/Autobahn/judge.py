"""Runs Autobahn against the subjects and judges its reports. Started by `run`.

A case passes when Autobahn says OK, NON-STRICT or INFORMATIONAL of what the subject did, and OK or INFORMATIONAL of how
it closed. Known failures that are not this project's are listed in leftovers.txt, by subject and case, each with a
reason and a link.
"""

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
# Seconds for all cases of one subject. A quiet machine needs about 90, a busy one many times that.
LIMIT = 1800


class Child:
    """A process that prints LISTENING and a port."""

    def __init__(self, command, directory):
        self.log = open(directory / "listener.log", "w")
        self.process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.ports = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Reads the lines that Autobahn prints for each case: unread, they would block it."""
        for line in self.process.stdout:
            self.log.write(line)
            self.log.flush()
            if line.startswith("LISTENING "):
                self.ports.put(int(line.split()[1]))
        self.ports.put(None)

    def port(self):
        port = self.ports.get(timeout=120)
        if port is None:
            raise RuntimeError(f"{self.process.args} does not listen; see {self.log.name}")
        return port

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()


def specification(directory, cases, **more):
    path = directory / "spec.json"
    outdir = directory / "reports"
    path.write_text(
        json.dumps({"outdir": str(outdir), "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}, **more})
    )
    return path, outdir / "index.json"


def finish(command, log):
    """Runs to the end, or to the limit: then the reports show which case hangs."""
    with open(log, "w") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=LIMIT).returncode
    if status != 0:
        raise RuntimeError(f"{command} ended with {status}: {log.read_text()[-500:]}")


def run_backend(name, options, directory):
    """Autobahn is the server."""
    spec, index = specification(directory, options.cases, url="ws://127.0.0.1:9001")
    server = Child(
        [options.python, "-u", str(HERE / "wstest.py"), "-m", "fuzzingserver", "-u", "0", "-s", str(spec)], directory
    )
    try:
        url = f"ws://127.0.0.1:{server.port()}/"
        command = [str(options.build / "room"), "autobahn-client", "--signaling", name, "--server", url]
        finish(command, directory / "run.log")
    finally:
        server.end()
    return json.loads(index.read_text())[name]


def run_server(options, directory):
    """Autobahn is the client."""
    server = Child([str(options.build / "AutobahnEchoServer")], directory)
    try:
        spec, index = specification(
            directory, options.cases, servers=[{"agent": "server", "url": f"ws://127.0.0.1:{server.port()}"}]
        )
        finish(
            [options.python, "-u", str(HERE / "wstest.py"), "-m", "fuzzingclient", "-s", str(spec)],
            directory / "run.log",
        )
    finally:
        server.end()
    return json.loads(index.read_text())["server"]


def leftovers():
    known = {}
    for line in (HERE / "leftovers.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            subject, case, reason = line.split(None, 2)
            known[(subject, case)] = reason
    return known


def number(case):
    return [int(part) for part in case.split(".")]


def judge(subject, results, known, totals):
    for case in sorted(results, key=number):
        result = results[case]
        behaviour, close = result["behavior"], result["behaviorClose"]
        passed = behaviour in ("OK", "NON-STRICT", "INFORMATIONAL") and close in ("OK", "INFORMATIONAL")
        reason = known.get((subject, case))
        if passed:
            totals["passed"] += 1
            if behaviour == "NON-STRICT":
                totals["non-strict"] += 1
            if reason:
                print(f"note: {subject} {case} passed, though leftovers.txt lists it")
        elif reason:
            totals["skipped"] += 1
            print(f"SKIPPED: {subject} {case} is {behaviour}, closed {close}: {reason}")
        else:
            totals["failed"] += 1
            print(f"FAILED: {subject} {case} is {behaviour}, closed {close}")


def backends(options):
    lines = subprocess.run(
        [str(options.build / "room"), "plugins", "--json"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [(entry["name"], entry.get("reason")) for entry in map(json.loads, lines) if entry["kind"] == "signaling"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True)
    parser.add_argument("--build", required=True, type=Path)
    parser.add_argument("--reports", required=True, type=Path)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=CASES)
    parser.add_argument("subjects", nargs="*")
    options = parser.parse_args()
    options.python, options.build = os.path.abspath(options.python), options.build.resolve()
    there = dict(backends(options))
    subjects = options.subjects or [*there, "server"]
    known = leftovers()
    totals = {"passed": 0, "non-strict": 0, "failed": 0, "skipped": 0}
    for subject in subjects:
        if subject != "server" and there.get(subject):
            totals["skipped"] += 1
            print(f"SKIPPED: {subject}: {there[subject]}")
            continue
        directory = options.reports.resolve() / subject
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        start = time.monotonic()
        try:
            if subject == "server":
                results = run_server(options, directory)
            else:
                results = run_backend(subject, options, directory)
        except (RuntimeError, OSError, queue.Empty, KeyError, subprocess.TimeoutExpired) as error:
            totals["failed"] += 1
            print(f"FAILED: {subject}: {error}")
            continue
        judge(subject, results, known, totals)
        seconds = time.monotonic() - start
        print(f"{subject}: {len(results)} cases in {seconds:.0f} s; reports: {directory}/reports/index.html")
        sys.stdout.flush()
    if totals["non-strict"]:
        print(f"{totals['non-strict']} of those that passed are NON-STRICT")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    sys.exit(1 if totals["failed"] else 0)


main()
