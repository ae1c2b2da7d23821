"""The measurements of `server.py`: the server as a process, and what the load generator does to it."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

GROUPS = ["joins", "churn", "signals", "idle", "tls", "comeback", "drain", "neighbour", "threads"]


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
        return {"signals": found[0]["per_cpu_s"], "signals_kernel": found[0]["kernel_percent"],
                "signals_1": found[1]["per_cpu_s"], "signals_1_kernel": found[1]["kernel_percent"],
                "signals_spread": found[2]["per_cpu_s"], "signals_spread_kernel": found[2]["kernel_percent"],
                "signals_ms": found[2]["p99_ms"]}, found

    def idle(self, room):
        with Server(self, room) as server:
            found = self.load("idle", "--clients", self.clients(8000), "--seconds", self.seconds(15), "--spread", 5,
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
                                    1, "--in-flight", 256, "--seconds", self.seconds(8) + 2, server=server, nice=19)
                time.sleep(1)
                paced = self.load("paced", "--source", "127.0.0.1", "--clients", 200, "--members", 1, "--interval", 0.1,
                                  "--seconds", self.seconds(8), server=server)
                attack = self.finish(attack)
            all_found += [attack, paced]
            figures[f"neighbour_{kind}"] = paced["max_ms"] if paced["joined"] else float("inf")
            failed += paced["started"] - paced["joined"] + paced["unavailable"] + paced["errors"]
        return figures | {"neighbour_failed": failed}, all_found

    def threads(self, room):
        """What two threads do for each second of one of them, against one thread: both cores are the server's, and the
        generator takes what it needs of both. So it is the cost of sharing that is measured; the rate follows from it
        where the generator runs elsewhere. Half of the joins come in on the thread that is not their room's: all that
        two threads cost is counted as theirs (`threads_move`)."""
        if "--threads" not in self.flags(room):
            return {}, []
        figures, found = {}, []
        both = f"{self.server_core},{self.load_core}"
        for name, arguments in (
            ("joins", ["joins", "--clients", self.clients(4000), "--seconds", self.seconds(1.5)]),
            ("signals",
             ["signals", "--clients", self.clients(2000, 1000), "--window", 4, "--seconds", self.seconds(2)]),
        ):
            # What drifts meanwhile meets both.
            runs = [(threads, self.shared(room, threads, both, arguments)) for threads in (1, 2, 2, 1)]
            costs = [sum(run["cpu_s"] for threads, run in runs if threads == number)
                     / sum(run["count"] for threads, run in runs if threads == number) for number in (1, 2)]
            figures[f"threads_{name}"] = 2 * costs[0] / costs[1]
            if name == "joins":
                figures["threads_move"] = 2 * (costs[1] - costs[0]) * 1e6
            found += [run for _, run in runs]
        return figures, found

    def shared(self, room, threads, cores, arguments):
        """Runs the load against a server of so many threads on the same cores."""
        with Server(self, room, threads=threads) as server:
            if threads == 1:
                subprocess.run(["taskset", "-a", "-cp", cores, str(server.pid)], check=True, stdout=subprocess.DEVNULL)
            found = self.finish(self.start(*arguments, server=server, core=cores))
        return found | {"threads": threads}
