"""Checks our side against foreign WebRTC stacks, once as offerer and once as answerer. Started by `run`, which prepares
what it needs and says what is missing.

Who offers is decided by the order of the participants' ids, which the server chooses at random: so the meeting is
repeated, in a new room with new members, until both roles have come.
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import random
import sys
import tempfile
import time

from processes import Browser, Failure, Process

FOLDER = pathlib.Path(__file__).parent
ROLES = ("offerer", "answerer")
# Within this many meetings both roles occur, except once in 16,000 times.
MEETINGS = 15
LARGE = 200_000
MAXIMUM = 262_144
MEGABYTES = 64
GRACE = 4
# Of a foreign peer: by what the meeting is called, and the options of its process.
VARIANTS = {
    "": {},
    "active in DTLS": {"setup": "active"},
    "passive in DTLS": {"setup": "passive", "timed": ""},
}


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

    def foreign(self, stack, room, host=False, echo=True, **options):
        name = f"{stack}-{'host' if host else 'guest'}"
        options |= ({"host": ""} if host else {}) | ({} if echo else {"no-echo": ""})
        if stack == "chromium":
            parameters = {"server": self.server, "room": room, "name": name, **options}
            return self.start(Browser(name, self.options.chromium, parameters, self.log(name)))
        arguments = [self.options.python, str(FOLDER / "peer.py"), stack, "--server", self.server]
        arguments += ["--room", room, "--name", name]
        for option, value in options.items():
            arguments += [f"--{option}"] + [value] * (value != "")
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
            self.run_all()
        except Failure as failure:
            self.failed += 1
            print(f"FAILED: the run: {failure}", flush=True)
        if self.failed:
            print(f"logs: {self.logs}")
        return self.failed == 0

    def run_all(self):
        if self.options.subject == "room":
            arguments = [self.options.room, "serve", "--host", "127.0.0.1", "--port", "0"]
            arguments += ["--session-key-file", "none", "--grace", str(GRACE)]
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

    def meet(self, stack):
        missing = self.options.missing.get(stack)
        if missing:
            self.skip(f"{stack}, both roles", missing)
            return
        for variant in VARIANTS:
            self.meet_in_both_roles(stack, lambda: Meeting(self, stack, variant))

    def meet_in_both_roles(self, who, make_meeting):
        """The ids decide who offers: there are meetings until ours has had both roles."""
        left = set(ROLES)
        for _ in range(MEETINGS):
            self.meetings += 1
            try:
                meeting = make_meeting()
                if meeting.role in left:
                    left.remove(meeting.role)
                    meeting.run()
            except Failure as failure:
                self.failed += 1
                print(f"FAILED: {who}: the meeting: {failure}", flush=True)
                return
            finally:
                self.stop_all()
            if not left:
                return
        self.skip(f"{who}, ours as {' and '.join(left)}", f"the role never came in {MEETINGS} meetings")


class Meeting:
    """Ours and one foreign peer in one room."""

    def __init__(self, interop, stack, variant):
        self.interop = interop
        self.stack = stack
        self.variant = variant
        room = f"interop-{os.getpid()}-{interop.meetings}"
        self.ours = interop.ours(room)
        self.us = self.ours.expect("the joined event", lambda e: e["event"] == "joined")["self"]
        self.foreign = interop.foreign(stack, room, **VARIANTS[variant])
        self.them = self.foreign.expect("the joined event", lambda e: e["event"] == "joined")["self"]
        self.role = "offerer" if self.us.encode() < self.them.encode() else "answerer"

    def run(self):
        title = f"{self.stack}, ours as {self.role}"
        if self.variant:
            self.run_variant(title)
            return
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
            ("every size up to the maximum, text and binary", self.sizes),
            (f"{MEGABYTES} MiB there and back, with a checksum", self.much),
            ("500 messages in order", self.many),
            ("ids of streams follow the roles in DTLS", self.parity),
            ("200 messages on an unordered channel", lambda: self.many_on("unordered")),
            ("200 messages on a lossy channel", lambda: self.many_on("lossy")),
            ("echo on an unordered channel", lambda: self.echo("unordered", "unordered")),
            ("echo on a lossy channel", lambda: self.echo("lossy", "lossy")),
            ("an ICE restart of ours under live data", lambda: self.restart(self.ours, self.them)),
            ("an ICE restart of theirs under live data", lambda: self.restart(self.foreign, self.us)),
            ("an ICE restart of ours whose candidates come late", self.late_restart),
            ("a channel that only theirs has", self.negotiated),
            ("a channel closed by theirs opens again", self.close_channel),
            ("leave", self.we_leave if self.role == "offerer" else self.they_leave),
        ]
        for name, body in checks:
            self.interop.check(f"{title}: {name}", body)

    def run_variant(self, title):
        def check():
            if self.stack == "libdatachannel" and self.role == "offerer" and self.variant == "passive in DTLS":
                raise Skip("the binding has no way to choose")
            self.connect()
            note = None if self.stack == "libdatachannel" else self.parity()
            for channel in ("reliable", "unordered", "lossy"):
                self.echo(channel, "one")
                self.echo(channel, bytes(20_000))
            return note

        is_good = self.interop.check(f"{title}: theirs {self.variant}", check)
        if is_good and self.variant == "passive in DTLS" and self.stack != "chromium":
            self.interop.check(f"{title}: abrupt death of theirs", self.they_die)

    # Checks

    def connect(self):
        self.ours.expect("a connected peer", self.is_peer(self.them, "connected"))
        self.foreign.expect("an open channel", lambda e: e["event"] == "opened" and e["peer"] == self.us)

    def echo(self, channel, data):
        ours, theirs = len(self.ours.events), len(self.foreign.events)
        self.send(channel, data)
        kind, size = ("text", len(data.encode())) if isinstance(data, str) else ("binary", len(data))
        is_it = lambda e: e["event"] == "received" and (e["kind"], e["bytes"]) == (kind, size)
        self.foreign.expect(f"word of {size} bytes of {kind}", is_it, theirs)
        is_echo = lambda e: e["event"] == "message" and e["from"] == self.them and e["channel"] == channel
        back = self.ours.expect("the echo", is_echo, ours)
        if content(back) != (data.encode() if isinstance(data, str) else data):
            raise Failure(f"the echo differs: {str(back)[:200]}")

    def many(self):
        since = len(self.ours.events)
        for i in range(500):
            self.send("reliable", f"many {i}")
        self.ours.expect("the last echo", lambda e: e["event"] == "message" and content(e) == b"many 499", since)
        self.compare_echoes([f"many {i}" for i in range(500)], since)

    def sizes(self):
        for size in (1, 1200, 16_384, 65_535, 65_536, MAXIMUM - 1, MAXIMUM):
            self.echo("reliable", "x" * size)
            self.echo("reliable", bytes(i * 7 % 256 for i in range(size)))
        self.echo("reliable", b"")
        self.echo("unordered", bytes(MAXIMUM))

    def much(self):
        """Each message waits for the echo of the one 16 before it: a browser's buffer is not larger."""
        since, pieces = len(self.ours.events), MEGABYTES * (1 << 20) // MAXIMUM
        randomness, expected, actual = random.Random(1), hashlib.sha256(), hashlib.sha256()
        arrived, index = 0, since
        start = time.monotonic()

        def take(event):
            nonlocal arrived
            if event["event"] == "message":
                actual.update(content(event))
                arrived += 1
            return event["event"] == "message"

        for number in range(pieces + 16):
            if number < pieces:
                piece = randomness.randbytes(MAXIMUM)
                expected.update(piece)
                self.send("reliable", piece)
            while arrived <= number - 16:
                event = self.ours.expect(f"echo {arrived}", lambda e: e["event"] == "message", index)
                index = self.ours.events.index(event, index) + 1
                take(event)
        if actual.digest() != expected.digest():
            raise Failure("the checksums differ")
        return f"{2 * MEGABYTES * (1 << 20) / (time.monotonic() - start) / 1e6:.1f} MB/s in all"

    def many_on(self, channel):
        """None comes twice; where nothing is lost below, none is missing either."""
        since = len(self.ours.events)
        for number in range(200):
            self.send(channel, f"{channel} {number}")
        deadline = time.monotonic() + 20
        while True:
            texts = [e["text"] for e in self.ours.events[since:] if e["event"] == "message"]
            if len(texts) >= 200 or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        expected = {f"{channel} {number}" for number in range(200)}
        if len(texts) != len(set(texts)) or not set(texts) <= expected:
            raise Failure(f"{len(texts)} messages came, {len(set(texts))} different ones")
        if channel != "lossy" and len(texts) < 200:
            raise Failure(f"{len(texts)} of 200 messages came")
        return f"{len(texts)} of 200"

    def parity(self):
        """RFC 8832 §6: the client of DTLS opens even streams. The offerer opens all of them here."""
        index = 0
        for _ in range(3):
            opening = self.foreign.expect("an open channel", lambda e: e["event"] == "opened", index)
            index = self.foreign.events.index(opening, index) + 1
        opened = [e for e in self.foreign.events if e["event"] == "opened" and e["peer"] == self.us]
        if any(e["id"] is None for e in opened):
            raise Skip("the binding does not tell the ids")
        is_even = opened[0]["client"] != (self.role == "offerer")
        if any((e["id"] % 2 == 0) != is_even for e in opened):
            raise Failure(f"the streams {[e['id'] for e in opened]} should be {'even' if is_even else 'odd'}")
        return f"ours is the {'server' if opened[0]['client'] else 'client'}, streams {sorted(e['id'] for e in opened)}"

    def negotiated(self):
        """A message on a stream that was never opened at ours is ignored."""
        if self.stack == "libdatachannel":
            raise Skip("the binding has no negotiated channels")
        since = len(self.ours.events)
        self.foreign.command(do="negotiated", peer=self.us, id=101, text="unheard")
        self.echo("reliable", "heard")
        self.echo("reliable", "heard again")
        if any(e.get("text") == "unheard" for e in self.ours.events[since:]):
            raise Failure("ours reported it")

    def close_channel(self):
        if self.interop.options.subject != "room":
            raise Skip("the clients of the tests open nothing again")
        since = len(self.foreign.events)
        self.foreign.command(do="close", peer=self.us, channel="room.plain")
        is_open = lambda e: e["event"] == "opened" and e["channel"] == "room.plain"
        self.foreign.expect("the channel again", is_open, since)
        self.echo("reliable", "again")

    def they_die(self):
        start = time.monotonic()
        self.foreign.kill()
        self.ours.expect("the news of the death", self.is_peer(self.them, "left"))
        return f"known after {time.monotonic() - start:.1f} s with a grace period of {GRACE} s"

    def restart(self, restarter, peer):
        """Messages continue while one side restarts ICE: none is lost, duplicated or reordered, and they move to a new
        path."""
        if self.stack not in ("chromium", "libwebrtc"):
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

    def late_restart(self):
        """A browser that meets a check before its candidate drops the path, if another one works."""
        if self.stack != "chromium":
            raise Skip("one stack is enough")
        if self.role == "offerer":
            raise Skip("the candidates of ours are there before the answer of theirs")
        # Each of them, one after the other.
        self.foreign.command(do="delay", milliseconds=70)
        try:
            return self.restart(self.ours, self.them)
        finally:
            self.foreign.command(do="delay", milliseconds=0)

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
    arguments.add_argument("--stacks", default="chromium,aiortc,libdatachannel,libwebrtc")
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
