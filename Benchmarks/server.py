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
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
GROUPS = ["joins", "churn", "signals", "idle", "tls", "comeback", "drain", "neighbour", "threads"]


def figure(title, unit, asked=None, least=True, digits=0):
    return {"title": title, "unit": unit, "asked": asked, "least": least, "digits": digits}


FIGURES = {
    "joins": figure("joins", "per core-second", 8500),
    "churn": figure("joins and leaves", "per core-second"),
    "signals": figure("relayed signals, 4 under way", "per core-second", 65_000),
    "signals_1": figure("relayed signals, 1 under way", "per core-second"),
    "signals_spread": figure("relayed signals, 10,000 a second, evenly", "per core-second"),
    "signals_ms": figure("a signal of these, 99 %", "ms", least=False, digits=1),
    "idle_memory": figure("memory of an idle client", "KiB", 5, least=False, digits=2),
    "idle_cpu": figure("8,000 idle clients", "% of a core", 5, least=False, digits=2),
    "tls_resumed": figure("TLS handshakes with resumption", "per core-second", 2500),
    "tls_share": figure("of them resumed, each ticket used once", "%", 98),
    "tls_full": figure("TLS handshakes without", "per core-second"),
    "tls_memory": figure("memory of an idle client over TLS", "KiB", least=False, digits=2),
    "comeback": figure("10,000 clients back after kill -9", "s", 3, least=False, digits=2),
    "comeback_refused": figure("of them refused for good", "", 0, least=False),
    "comeback_undelivered": figure("of 10,000 signals in whole rooms, not delivered", "", 0, least=False),
    "drain": figure("signals lost in a drain", "", 0, least=False),
    "drain_refused": figure("clients refused for good in a drain", "", 0, least=False),
    "drain_back": figure("all clients back after a drain", "s", least=False, digits=2),
    "neighbour_sockets": figure("slowest join beside a neighbour's sockets", "ms", 100, least=False, digits=1),
    "neighbour_handshakes": figure("slowest join beside its handshakes", "ms", 100, least=False, digits=1),
    "neighbour_rooms": figure("slowest join beside its rooms", "ms", 100, least=False, digits=1),
    "neighbour_failed": figure("joins refused or late beside it", "", 0, least=False),
    "threads_joins": figure("joins, two threads to one", "x", 1.7, digits=2),
    "threads_signals": figure("signals, two threads to one", "x", 1.7, digits=2),
}


class Failure(Exception):
    pass


class Server:
    """`room serve`, on one core unless it has more threads."""

    def __init__(self, bench, room, *flags, threads=1, port=0, state=None):
        self.bench = bench
        known = bench.flags(room)
        arguments = [room, "serve", "--port", str(port), "--no-page", "--maximum-rooms", "1000000",
                     "--session-key-file", str((state or bench.folder) / "session.key")]
        if "--threads" in known:
            arguments += ["--threads", str(threads)]
        if "--maximum-connections" in known:
            arguments += ["--maximum-connections", "40000"]
        arguments += [flag for flag in flags if flag.split("=")[0] in known]
        environment = dict(os.environ, STATE_DIRECTORY=str(state or bench.folder))
        pin = ["taskset", "-c", bench.server_core] if threads == 1 else []
        self.process = subprocess.Popen(
            pin + arguments, stdout=subprocess.PIPE, stderr=bench.log, text=True, env=environment)
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{room} serve ended at its start: see {bench.log.name}")
        event = json.loads(line)
        self.listening = time.monotonic()
        self.port = int(event["url"].rstrip("/").rsplit(":", 1)[1])
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Bench:
    def __init__(self, options):
        self.options = options
        self.server_core, self.load_core = options.cores.split(",")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="room-server-", dir=options.folder))
        self.log = (self.folder / "server.log").open("w")
        self.known = {}

    def flags(self, room):
        if room not in self.known:
            self.known[room] = subprocess.run([room, "serve", "--help"], capture_output=True, text=True).stdout
        return self.known[room]

    def start(self, mode, *arguments, server=None, nice=0, core=None):
        command = ["taskset", "-c", core or self.load_core, "nice", "-n", str(nice), self.options.load, mode]
        if server:
            command += ["--port", str(server.port), "--pid", str(server.pid)]
        return subprocess.Popen(
            command + [str(argument) for argument in arguments], stdout=subprocess.PIPE, text=True)

    def finish(self, process):
        output = process.communicate(timeout=300)[0]
        if process.returncode != 0:
            raise Failure(f"the load generator ended with {process.returncode}")
        return json.loads(output.strip().splitlines()[-1])

    def load(self, mode, *arguments, server):
        return self.finish(self.start(mode, *arguments, server=server))

    def clients(self, count, least=40):
        return max(int(count * self.options.scale) // 4 * 4, least)

    def seconds(self, count):
        return max(count * self.options.scale, 1)

    # The measurements: each returns figures by name, and keeps what the generator said.

    def joins(self, room):
        with Server(self, room) as server:
            found = self.load("joins", "--clients", self.clients(4000), "--seconds", self.seconds(3), server=server)
        return {"joins": found["per_cpu_s"]}, [found]

    def churn(self, room):
        with Server(self, room) as server:
            found = self.load("churn", "--clients", 128, "--seconds", self.seconds(4), server=server)
        return {"churn": found["per_cpu_s"]}, [found]

    def signals(self, room):
        found = []
        for window in (4, 1, 0):
            with Server(self, room) as server:
                found.append(self.load("signals", "--clients", self.clients(2000, 1000), "--window", window,
                                       "--interval", 0.2, "--seconds", self.seconds(5), server=server))
        return {"signals": found[0]["per_cpu_s"], "signals_1": found[1]["per_cpu_s"],
                "signals_spread": found[2]["per_cpu_s"], "signals_ms": found[2]["p99_ms"]}, found

    def idle(self, room):
        with Server(self, room) as server:
            found = self.load("idle", "--clients", self.clients(8000), "--seconds", self.seconds(30), "--spread", 5,
                              "--warm-up", 8, server=server)
        return {"idle_memory": found["kib_per_client"], "idle_cpu": found["cpu_percent"]}, [found]

    def tls(self, room):
        found = []
        for flags in (["--resume"], []):
            with Server(self, room, "--tls-self-signed") as server:
                found.append(self.load("handshakes", "--clients", 64, "--seconds", self.seconds(4), *flags,
                                       server=server))
        with Server(self, room, "--tls-self-signed") as server:
            found.append(self.load("idle", "--clients", self.clients(2000), "--tls", "--resume", "--seconds", 2,
                                   "--warm-up", 6, server=server))
        return {"tls_resumed": found[0]["per_cpu_s"],
                "tls_share": 100 * found[0]["resumed"] / max(found[0]["count"], 1),
                "tls_full": found[1]["per_cpu_s"], "tls_memory": found[2]["kib_per_client"]}, found

    def outage(self, room, mode, clients, seconds, end, *arguments, threads=1):
        """Clients that are in when their server ends, by `end`, and another one starts on its port and its state."""
        state = self.folder / f"state-{time.monotonic_ns()}"
        state.mkdir(mode=0o700)
        first = Server(self, room, state=state, threads=threads)
        process = self.start(mode, "--clients", clients, "--seconds", seconds, "--in-flight", 128, *arguments,
                             server=first)
        second = None
        try:
            ready = process.stdout.readline()
            if not ready:
                raise Failure("the clients never were ready")
            time.sleep(1)
            ended = time.monotonic()
            first.process.send_signal(end)
            if end == signal.SIGKILL:
                first.process.wait()
            while second is None:
                try:
                    second = Server(self, room, state=state, port=first.port, threads=threads)
                except Failure:
                    if time.monotonic() > ended + 10:
                        raise
            found = self.finish(process)
        finally:
            process.kill()
            first.kill()
            if second:
                second.kill()
        found["listening_after_s"] = second.listening - ended
        found["back_after_s"] = found["all_back_t"] - ended
        if found["back"] + found["refused_for_good"] < found["clients"]:
            found["back_after_s"] = float("inf")
        return found

    def comeback(self, room):
        found = self.outage(room, "comeback", self.clients(10_000), 30, signal.SIGKILL)
        return {"comeback": found["back_after_s"], "comeback_refused": found["refused_for_good"],
                "comeback_undelivered": found["undelivered"]}, [found]

    def drain(self, room):
        found = self.outage(room, "drain", self.clients(2000), 8, signal.SIGTERM, "--interval", 0.5)
        return {"drain": found["undelivered"], "drain_refused": found["refused_for_good"],
                "drain_back": found["back_after_s"]}, [found]

    def neighbour(self, room):
        figures, all_found, failed = {}, [], 0
        for kind in ("sockets", "handshakes", "rooms"):
            with Server(self, room, "--unlimited-address=none") as server:
                attack = self.start("attack", "--kind", kind, "--source", "127.0.0.2", "--clients", 12_000, "--members",
                                    1, "--in-flight", 256, "--seconds", self.seconds(10) + 2, server=server, nice=19)
                time.sleep(1)
                paced = self.load("paced", "--source", "127.0.0.1", "--clients", 200, "--members", 1, "--interval", 0.1,
                                  "--seconds", self.seconds(10), server=server)
                attack = self.finish(attack)
            all_found += [attack, paced]
            figures[f"neighbour_{kind}"] = paced["max_ms"] if paced["joined"] else float("inf")
            failed += paced["started"] - paced["joined"] + paced["unavailable"] + paced["errors"]
        return figures | {"neighbour_failed": failed}, all_found

    def threads(self, room):
        """What two threads do for each second of one of them, against one thread: both cores are the server's, and the
        generator takes what it needs of both. So it is the cost of sharing that is measured; the rate follows from it
        where the generator runs elsewhere."""
        if "--threads" not in self.flags(room):
            return {}, []
        figures, found = {}, []
        both = f"{self.server_core},{self.load_core}"
        for name, arguments in (
            ("joins", ["joins", "--clients", self.clients(4000), "--seconds", self.seconds(3)]),
            ("signals",
             ["signals", "--clients", self.clients(2000, 1000), "--window", 4, "--seconds", self.seconds(4)]),
        ):
            rates = []
            for threads in (1, 2):
                with Server(self, room, threads=threads) as server:
                    if threads == 1:
                        subprocess.run(["taskset", "-a", "-cp", both, str(server.pid)], check=True,
                                       stdout=subprocess.DEVNULL)
                    found.append(self.finish(self.start(*arguments, server=server, core=both)))
                found[-1]["threads"] = threads
                rates.append(found[-1]["per_cpu_s"])
            figures[f"threads_{name}"] = 2 * rates[1] / rates[0]
        return figures, found


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load": round(os.getloadavg()[0], 2)}


def passes(known, value):
    return known["asked"] is None or (value >= known["asked"] if known["least"] else value <= known["asked"])


def shown(known, value):
    return "–" if value is None else f"{value:,.{known['digits']}f}"


def table(results, names):
    """The rows of a table: for each figure the median of every executable, and the figure that is asked for."""
    rows = [["figure", "unit", *names, "asked", ""]]
    for key, known in FIGURES.items():
        values = [results[name].get(key) for name in names]
        if all(value is None for value in values):
            continue
        medians = [statistics.median(value) if value else None for value in values]
        asked = "" if known["asked"] is None else ("≥ " if known["least"] else "≤ ") + shown(known, known["asked"])
        mark = "" if known["asked"] is None or medians[0] is None else "yes" if passes(known, medians[0]) else "NO"
        rows.append([known["title"], known["unit"], *(shown(known, median) for median in medians), asked, mark])
    return rows


def printed(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) if column < 2 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def markdown(report, rows):
    lines = ["# The room server under load", "",
             "`make bench-server` writes this file: the server on one core, the load generator on the other;",
             f"medians of {report['run']['rounds']} rounds. The spread of the rounds is in the JSON file beside it.",
             "",
             ", ".join(f"{key} {value}" for key, value in report["machine"].items()) + ".", ""]
    for number, row in enumerate(rows):
        lines.append("| " + " | ".join(row) + " |")
        if number == 0:
            lines.append("|---|---|" + "---:|" * (len(row) - 3) + "---|")
    return "\n".join(lines) + "\n"


def worse_than(baseline, results, tolerance):
    """The figures that are worse than the baseline's by more than both spreads and the tolerance."""
    found = []
    for key, values in results.items():
        known, before = FIGURES[key], baseline.get(key)
        if not before:
            continue
        change = statistics.median(values) - statistics.median(before)
        loss = -change if known["least"] else change
        spread = max(values) - min(values) + max(before) - min(before)
        if loss > max(spread, tolerance * abs(statistics.median(before))):
            found.append(f"{known['title']}: {shown(known, statistics.median(before))} before, "
                         f"{shown(known, statistics.median(values))} now")
    return found + [f"{FIGURES[key]['title']}: missing" for key in baseline if key in FIGURES and key not in results]


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
