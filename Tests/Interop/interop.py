"""Checks our side against foreign WebRTC stacks, once as offerer and once as answerer. Started by `run`, which prepares
what it needs and says what is missing.

Who offers is decided by the order of the participants' ids, which the server chooses at random: so the meeting is
repeated, in a new room with new members, until both roles have come.
"""

import argparse
import base64
import json
import os
import pathlib
import sys
import tempfile
import time

from processes import Browser, Failure, Process

FOLDER = pathlib.Path(__file__).parent
ROLES = ("offerer", "answerer")
# Within this many meetings both roles occur, except once in 16,000 times.
MEETINGS = 15
LARGE = 200_000


class Skip(Exception):
    """A check that cannot run here."""


class Interop:
    def __init__(self, options):
        self.options = options
        self.passed = self.failed = self.skipped = 0
        self.logs = pathlib.Path(tempfile.mkdtemp(prefix="interop-logs-"))
        self.started = []
        self.meetings = 0

    # Results

    def record(self, what, result, note=""):
        """Adds a line to the file from which `report.py` makes the table."""
        if self.options.results:
            with open(self.options.results, "a") as file:
                file.write(json.dumps({"what": what, "result": result, "note": note}) + "\n")

    def skip(self, what, why):
        self.skipped += 1
        self.record(what, "skipped", why)
        print(f"SKIPPED: {what}: {why}", flush=True)

    def check(self, what, body):
        """Runs one check; whether it held (or could not be made)."""
        start = time.monotonic()
        try:
            note = body()
        except Skip as reason:
            self.skip(what, str(reason))
            return True
        except Failure as failure:
            self.failed += 1
            self.record(what, "failed", str(failure))
            print(f"FAILED: {what}: {failure}", flush=True)
            return False
        self.passed += 1
        self.record(what, "ok", note or "")
        print(f"ok: {what} ({time.monotonic() - start:.2f} s{', ' + note if note else ''})", flush=True)
        return True

    # Ends

    def start(self, end):
        self.started.append(end)
        return end

    def stop_all(self):
        while self.started:
            self.started.pop().stop()

    def log(self, name):
        return self.logs / f"{name}-{self.meetings}.log"

    def foreign(self, stack, room, host=False, echo=True):
        name = f"{stack}-{'host' if host else 'guest'}"
        if stack == "chromium":
            parameters = {"server": self.server, "room": room, "name": name}
            parameters |= ({"host": ""} if host else {}) | ({} if echo else {"no-echo": ""})
            return self.start(Browser(name, self.options.chromium, parameters, self.log(name)))
        arguments = [self.options.python, str(FOLDER / "peer.py"), stack, "--server", self.server]
        arguments += ["--room", room, "--name", name] + ["--host"] * host + ["--no-echo"] * (not echo)
        return self.start(Process(name, arguments, self.log(name)))

    def ours(self, room):
        if self.options.subject != "room":
            return self.foreign(self.options.subject, room, host=True, echo=False)
        arguments = [
            self.options.room, "connect", room, "--name", "ours", "--as-host", "--json", "--server", self.server]
        arguments += ["--log-level", "trace"]
        return self.start(Process("ours", arguments, self.log("ours")))

    # The run

    def run(self):
        try:
            if self.options.subject == "room":
                arguments = [self.options.room, "serve", "--host", "127.0.0.1", "--port", "0"]
                arguments += ["--session-key-file", "none"]
            else:
                arguments = [self.options.python, str(FOLDER / "fake_server.py")]
            server = Process("server", arguments, self.log("server"))
            try:
                self.server = server.expect("the listening event", lambda e: e["event"] == "listening")["url"]
                for stack in self.options.stacks.split(","):
                    self.meet(stack)
            finally:
                self.stop_all()
                server.stop()
        except Failure as failure:
            self.failed += 1
            print(f"FAILED: the run: {failure}", flush=True)
        if self.failed:
            print(f"logs: {self.logs}")
        return self.failed == 0

    def meet(self, stack):
        missing = self.options.missing.get(stack)
        if missing:
            self.skip(f"{stack}, both roles", missing)
            return
        left = set(ROLES)
        for _ in range(MEETINGS):
            self.meetings += 1
            try:
                meeting = Meeting(self, stack)
                if meeting.role in left:
                    left.remove(meeting.role)
                    meeting.run()
            except Failure as failure:
                self.failed += 1
                print(f"FAILED: {stack}: the meeting: {failure}", flush=True)
                return
            finally:
                self.stop_all()
            if not left:
                return
        self.skip(f"{stack}, ours as {' and '.join(left)}", f"the role never came in {MEETINGS} meetings")


class Meeting:
    """Ours and one foreign peer in one room."""

    def __init__(self, interop, stack):
        self.interop = interop
        self.stack = stack
        self.sent = 0
        room = f"interop-{os.getpid()}-{interop.meetings}"
        self.ours = interop.ours(room)
        self.us = self.ours.expect("the joined event", lambda e: e["event"] == "joined")["self"]
        self.foreign = interop.foreign(stack, room)
        self.them = self.foreign.expect("the joined event", lambda e: e["event"] == "joined")["self"]
        self.role = "offerer" if self.us.encode() < self.them.encode() else "answerer"

    def run(self):
        title = f"{self.stack}, ours as {self.role}"
        if not self.interop.check(f"{title}: connect", self.connect):
            self.interop.skip(f"{title}: everything else", "it did not connect")
            return
        large = "".join(chr(0x41 + i % 26) for i in range(LARGE))
        checks = [
            ("echo of text", lambda: self.echo("reliable", "Grüße, 世界 🌍")),
            ("echo of binary", lambda: self.echo("reliable", bytes(range(256)))),
            ("echo of an empty text", lambda: self.echo("reliable", "")),
            ("echo of 200 kB of text", lambda: self.echo("reliable", large)),
            ("echo of 200 kB of binary", lambda: self.echo("reliable", bytes(i * 7 % 256 for i in range(LARGE)))),
            ("500 messages in order", self.many),
            ("echo on an unordered channel", lambda: self.echo("unordered", "unordered")),
            ("echo on a lossy channel", lambda: self.echo("lossy", "lossy")),
            ("an ICE restart of ours under live data", lambda: self.restart(self.ours, self.them)),
            ("an ICE restart of theirs under live data", lambda: self.restart(self.foreign, self.us)),
            ("leave", self.we_leave if self.role == "offerer" else self.they_leave),
        ]
        for name, body in checks:
            self.interop.check(f"{title}: {name}", body)

    # Checks

    def connect(self):
        self.ours.expect("a connected peer", self.is_peer(self.them, "connected"))
        self.foreign.expect("an open channel", lambda e: e["event"] == "opened" and e["peer"] == self.us)

    def echo(self, channel, data):
        ours = len(self.ours.events)
        self.send(channel, data)
        kind, size = ("text", len(data.encode())) if isinstance(data, str) else ("binary", len(data))
        arrival = self.arrival(self.sent)
        if (arrival["kind"], arrival["bytes"]) != (kind, size):
            raise Failure(f"{kind} of {size} bytes arrived as {arrival['kind']} of {arrival['bytes']} bytes")
        back = self.ours.expect("the echo", lambda e: e["event"] == "message" and e["from"] == self.them, ours)
        if content(back) != (data.encode() if isinstance(data, str) else data):
            raise Failure(f"the echo differs: {str(back)[:200]}")
        if back["channel"] != channel:
            raise Failure(f"the echo came on {back['channel']}, not on {channel}")

    def arrival(self, number):
        """The foreign peer's report of the message with this number, counted from 1 over all channels."""
        count = 0

        def is_it(event):
            nonlocal count
            count += event["event"] == "received" and event["peer"] == self.us
            return count == number

        return self.foreign.expect(f"word of message {number}", is_it)

    def many(self):
        since = len(self.ours.events)
        for i in range(500):
            self.send("reliable", f"many {i}")
        self.ours.expect("the last echo", lambda e: e["event"] == "message" and content(e) == b"many 499", since)
        self.compare_echoes([f"many {i}" for i in range(500)], since)

    def restart(self, restarter, peer):
        """Messages continue while one side restarts ICE: none is lost, duplicated or reordered, and they move to a new
        path."""
        if self.stack != "chromium":
            raise Skip(f"{self.stack} has no ICE restart")
        before, since, theirs = self.path(), len(self.ours.events), len(self.foreign.events)
        sent = self.stream(0, lambda: len(self.ours.events) > since)
        restarter.command(do="restart", peer=peer)
        is_negotiated = lambda e: e["event"] == "negotiated" and e["peer"] == self.us
        sent = self.stream(sent, lambda: any(map(is_negotiated, self.foreign.events[theirs:])))
        deadline = time.monotonic() + 15
        while True:
            after = self.path()
            if self.is_new_path(before, after):
                break
            if time.monotonic() > deadline:
                print(*self.pairs, sep="\n")
                raise Failure(f"data does not run over the new path: before {before}, after {after}")
            sent = self.stream(sent, lambda: True)
        sent = self.stream(sent, lambda: False, limit=sent + 20)
        last = f"live {sent - 1}".encode()
        self.ours.expect("the last echo", lambda e: e["event"] == "message" and content(e) == last, since)
        times = self.compare_echoes([f"live {i}" for i in range(sent)], since)
        gap = max(b - a for a, b in zip(times, times[1:]))
        return f"{sent} messages, longest gap {gap * 1000:.0f} ms"

    def stream(self, number, is_done, limit=None):
        """Sends a numbered message every 20 ms until something has happened; the next number."""
        deadline = time.monotonic() + 15
        while True:
            self.send("reliable", f"live {number}")
            number += 1
            if is_done() or (limit is not None and number >= limit):
                return number
            if time.monotonic() > deadline:
                raise Failure(f"nothing happened within 15 s of a restart{self.foreign.complaint()}")
            time.sleep(0.02)  # The rate of the data, not a wait for anything.

    def is_new_path(self, before, after):
        """Ours must have a new generation and a new address; a browser may keep a socket of the old one for it."""
        if self.interop.options.subject != "room":
            return after != before
        return after["remote"] not in (None, before["remote"])

    def path(self):
        since = len(self.foreign.events)
        self.foreign.command(do="path", peer=self.us)
        event = self.foreign.expect("the path event", lambda e: e["event"] == "path", since)
        self.pairs = event.get("pairs")
        return {"local": event.get("local"), "remote": event.get("remote")}

    def compare_echoes(self, expected, since):
        echoes = [e for e in self.ours.events[since:] if e["event"] == "message" and e["from"] == self.them]
        actual = [content(e).decode(errors="replace") for e in echoes]
        if actual != expected:
            common = min(len(actual), len(expected))
            wrong = next((i for i in range(common) if actual[i] != expected[i]), common)
            raise Failure(f"{len(expected)} sent, {len(actual)} echoed; the first difference is at {wrong}")
        return [e["t"] for e in echoes]

    def we_leave(self):
        self.ours.command(do="leave")
        self.ours.expect("the left event", lambda e: e["event"] == "left")
        self.foreign.expect("the news that we left", self.is_peer(self.us, "left"))
        if isinstance(self.ours, Process) and (status := self.ours.exit_status()) != 0:
            raise Failure(f"ours exited with status {status}")

    def they_leave(self):
        self.foreign.command(do="leave")
        self.ours.expect("the news that they left", self.is_peer(self.them, "left"))
        self.we_leave_alone()

    def we_leave_alone(self):
        self.ours.command(do="leave")
        self.ours.expect("the left event", lambda e: e["event"] == "left")

    # Helpers

    def send(self, channel, data):
        payload = {"text": data} if isinstance(data, str) else {"data": base64.b64encode(data).decode()}
        self.sent += 1
        self.ours.command(do="send", to=self.them, channel=channel, **payload)

    @staticmethod
    def is_peer(peer, state):
        return lambda e: e["event"] == "peer" and e["id"] == peer and e["state"] == state


def content(event):
    return event["text"].encode() if "text" in event else base64.b64decode(event["data"])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--room", help="our executable")
    arguments.add_argument("--python", help="the interpreter that has the foreign stacks")
    arguments.add_argument("--chromium", help="the browser's executable")
    arguments.add_argument("--stacks", default="chromium,aiortc,libdatachannel")
    arguments.add_argument("--missing", action="append", default=[], metavar="STACK=WHY")
    arguments.add_argument(
        "--subject", default="room", help="room, or a foreign stack in its place, with a model of the server")
    arguments.add_argument("--results", help="a file to which one line of JSON is added for each check")
    options = arguments.parse_args()
    options.missing = dict(text.split("=", 1) for text in options.missing)
    interop = Interop(options)
    is_good = interop.run()
    if interop.passed + interop.failed == 0:
        print("SKIPPED: every foreign peer is missing; nothing was checked")
    print(f"{interop.passed} passed, {interop.failed} failed, {interop.skipped} skipped", flush=True)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
